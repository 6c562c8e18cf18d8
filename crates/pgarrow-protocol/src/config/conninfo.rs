//! The connection string: three forms of it.
//!
//! ```text
//! uri        postgres[ql]://[user[:password]@][host][:port][/dbname][?name=value&…]
//! key/value  name = value  name = 'value with spaces'  …     \ quotes one character
//! database   anything without `=`, as psql reads its first argument
//! ```
//!
//! No error repeats any part of the string, because any part of a mistyped string may be the
//! password.
//!
//! Source: <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING>;
//! `conninfo_parse` and `conninfo_uri_parse_options` in `src/interfaces/libpq/fe-connect.c`.

use std::collections::BTreeMap;

use super::parameter::Parameter;
use super::refuse;
use crate::error::Error;

pub(super) type Values = BTreeMap<Parameter, String>;

pub(super) fn read(conninfo: &str) -> Result<Values, Error> {
    if let Some(rest) = without_scheme(conninfo) {
        read_uri(rest)
    } else if conninfo.contains('=') {
        read_key_values(conninfo)
    } else {
        let dbname = Some(conninfo.trim()).filter(|name| !name.is_empty());
        Ok(dbname.map(|name| (Parameter::Dbname, name.to_owned())).into_iter().collect())
    }
}

fn without_scheme(text: &str) -> Option<&str> {
    text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"))
}

fn read_uri(rest: &str) -> Result<Values, Error> {
    let mut values = Values::new();
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, query),
        None => (rest, ""),
    };
    let (authority, dbname) = match rest.split_once('/') {
        Some((authority, dbname)) => (authority, dbname),
        None => (rest, ""),
    };
    let address = match authority.split_once('@') {
        Some((login, address)) => {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            insert(&mut values, Parameter::User, user)?;
            insert(&mut values, Parameter::Password, password)?;
            address
        }
        None => authority,
    };
    if dbname.contains('@') || address.contains('@') {
        return Err(refuse(
            "the URI has an @ too many: characters such as @, / and : in a user name or password must be \
             percent-encoded",
        ));
    }
    let (host, port) = split_address(address)?;
    insert(&mut values, Parameter::Host, host)?;
    insert(&mut values, Parameter::Port, port)?;
    insert(&mut values, Parameter::Dbname, dbname)?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(refuse("a parameter in the URI has no value: write ?name=value"));
        };
        let (name, value) = (decode(name)?, decode(value)?);
        // For the sake of URIs made for JDBC, as in libpq.
        let (name, value) = match (name.as_str(), value.as_str()) {
            ("ssl", "true") => ("sslmode", "require"),
            (name, value) => (name, value),
        };
        values.insert(Parameter::from_name(name)?, value.to_owned());
    }
    Ok(values)
}

/// Stores a part of a URI; as in libpq, a part that is empty is as good as left out.
fn insert(values: &mut Values, parameter: Parameter, encoded: &str) -> Result<(), Error> {
    if !encoded.is_empty() {
        values.insert(parameter, decode(encoded)?);
    }
    Ok(())
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
fn split_address(address: &str) -> Result<(&str, &str), Error> {
    if address.contains(',') {
        return Err(refuse("the URI names several hosts, which is not supported yet: give one"));
    }
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
        let parameter = Parameter::from_name(&name)?;
        if parameter == Parameter::Dbname && without_scheme(&value).is_some() {
            return Err(refuse("dbname is a URI: give the URI alone instead"));
        }
        values.insert(parameter, value);
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
