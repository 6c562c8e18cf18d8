//! The connection string, in three forms.
//!
//! ```text
//! uri        postgres[ql]://[user[:password]@][host][:port][,…][/dbname][?name=value&…]
//! key/value  name = value  name = 'value with spaces'  …     \ quotes one character
//! database   anything without `=`, as psql reads its first argument
//! ```
//!
//! No error repeats any part of the string, because any part of a mistyped string may be the
//! password.
//!
//! Source: <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING>;
//! `conninfo_parse` and `conninfo_uri_parse_options` in `src/interfaces/libpq/fe-connect.c`.

use super::parameter::{Values, from_name};
use super::refuse;
use crate::error::Error;

pub(super) fn read(conninfo: &str) -> Result<Values, Error> {
    if let Some(rest) = without_scheme(conninfo) {
        read_uri(rest)
    } else if conninfo.contains('=') {
        read_key_values(conninfo)
    } else {
        if conninfo.contains("://") {
            return Err(refuse(
                "the connection string begins like a URI of another kind: write postgres:// or postgresql://",
            ));
        }
        let dbname = Some(conninfo).filter(|name| !name.is_empty());
        Ok(dbname.map(|name| ("dbname", name.to_owned())).into_iter().collect())
    }
}

fn without_scheme(text: &str) -> Option<&str> {
    text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"))
}

fn read_uri(rest: &str) -> Result<Values, Error> {
    let mut values = Values::new();
    // As in libpq, a user name or password ends at the first @, and may hold anything but a slash.
    let head = rest.split('/').next().unwrap_or_default();
    let rest = match head.split_once('@') {
        // libpq differs: it would read a long user name, and the rest of the password as the host.
        Some((login, _)) if has_parameter(login) => {
            return Err(refuse(
                "the URI has an @ behind its parameters: in a value, @ must be percent-encoded as %40",
            ));
        }
        Some((login, _)) => {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            insert(&mut values, "user", user)?;
            insert(&mut values, "password", password)?;
            rest.get(login.len() + 1..).unwrap_or_default()
        }
        None => rest,
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (addresses, dbname) = rest.split_once('/').unwrap_or((rest, ""));
    if dbname.contains('@') || addresses.contains('@') {
        return Err(refuse(
            "the URI has an @ too many: characters such as @, / and : in a user name or password must be \
             percent-encoded",
        ));
    }
    let addresses = addresses.split(',').map(split_address).collect::<Result<Vec<_>, _>>()?;
    let (hosts, ports): (Vec<&str>, Vec<&str>) = addresses.into_iter().unzip();
    insert(&mut values, "host", &hosts.join(","))?;
    insert(&mut values, "port", &ports.join(","))?;
    insert(&mut values, "dbname", dbname)?;
    // As in libpq, one & may stand at the end. Elsewhere an & needs a parameter before it.
    let mut query = query;
    while !query.is_empty() {
        let (pair, more) = query.split_once('&').unwrap_or((query, ""));
        query = more;
        let Some((name, value)) = pair.split_once('=') else {
            return Err(refuse("a parameter in the URI has no value: write ?name=value"));
        };
        if value.contains('=') {
            return Err(refuse("a parameter in the URI has a second =: write it as %3D"));
        }
        let (name, value) = (decode(name)?, decode(value)?);
        // For URIs made for JDBC, as in libpq.
        let (name, value) = match (name.as_str(), value.as_str()) {
            ("ssl", "true") => ("sslmode", "require"),
            (name, value) => (name, value),
        };
        store(&mut values, name, value.to_owned())?;
    }
    Ok(values)
}

/// Stores a parameter by its name. The last value of a name counts.
fn store(values: &mut Values, name: &str, value: String) -> Result<(), Error> {
    // Older than sslmode. libpq still accepts it, with this meaning.
    if name == "requiressl" {
        let mode = if value.starts_with('1') { "require" } else { "prefer" };
        values.insert("sslmode", mode.to_owned());
    } else {
        values.insert(from_name(name)?, value);
    }
    Ok(())
}

/// Whether it contains something like `?user=`.
fn has_parameter(login: &str) -> bool {
    login
        .split(['?', '&'])
        .skip(1)
        .any(|pair| pair.split_once('=').is_some_and(|(name, _)| from_name(name).is_ok()))
}

/// Stores a part of a URI. As in libpq, an empty part counts as left out.
fn insert(values: &mut Values, name: &'static str, encoded: &str) -> Result<(), Error> {
    if !encoded.is_empty() {
        values.insert(name, decode(encoded)?);
    }
    Ok(())
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
fn split_address(address: &str) -> Result<(&str, &str), Error> {
    let Some(bracketed) = address.strip_prefix('[') else {
        return Ok(address.split_once(':').unwrap_or((address, "")));
    };
    let Some((host, rest)) = bracketed.split_once(']') else {
        return Err(refuse("the IPv6 address in the URI has no closing bracket"));
    };
    match rest.strip_prefix(':') {
        _ if host.is_empty() => Err(refuse("the IPv6 address in the URI is empty")),
        Some(port) => Ok((host, port)),
        None if rest.is_empty() => Ok((host, "")),
        None => Err(refuse("the IPv6 address in the URI is followed by something that is no port")),
    }
}

fn decode(encoded: &str) -> Result<String, Error> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err(refuse("the URI has a % without two hexadecimal digits after it"));
        };
        // Two hexadecimal digits always fit.
        match u8::try_from(high * 16 + low) {
            Ok(0) | Err(_) => return Err(refuse("the URI holds %00, a zero byte, which no value may have")),
            Ok(byte) => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| refuse("the URI holds a percent-encoded text that is not UTF-8"))
}

fn read_key_values(text: &str) -> Result<Values, Error> {
    let mut values = Values::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(values);
        }
        let mut name = String::new();
        while let Some(c) = chars.next_if(|&c| c != '=' && !c.is_ascii_whitespace()) {
            name.push(c);
        }
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        if chars.next() != Some('=') {
            return Err(refuse(
                "a part of the connection string has no = after it (values with spaces need single quotes)",
            ));
        }
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        let value =
            if chars.next_if_eq(&'\'').is_some() { quoted(&mut chars)? } else { unquoted(&mut chars) };
        if name == "dbname" && without_scheme(&value).is_some() {
            return Err(refuse("dbname is a URI: give the URI alone instead"));
        }
        store(&mut values, &name, value)?;
    }
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn quoted(chars: &mut Chars<'_>) -> Result<String, Error> {
    let mut value = String::new();
    loop {
        match chars.next() {
            Some('\'') => return Ok(value),
            Some('\\') => value.extend(chars.next()),
            Some(c) => value.push(c),
            None => return Err(refuse("a quoted value in the connection string has no closing quote")),
        }
    }
}

fn unquoted(chars: &mut Chars<'_>) -> String {
    let mut value = String::new();
    while let Some(c) = chars.next_if(|c| !c.is_ascii_whitespace()) {
        if c == '\\' {
            value.extend(chars.next());
        } else {
            value.push(c);
        }
    }
    value
}
