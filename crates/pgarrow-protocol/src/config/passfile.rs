//! The password file, `~/.pgpass`.
//!
//! ```text
//! line  host:port:database:user:password     * matches anything, \: and \\ are : and \
//! ```
//!
//! The first line that matches wins. A file that others can read is not used.
//!
//! Source: <https://www.postgresql.org/docs/current/libpq-pgpass.html>; `passwordFromFile` in
//! PostgreSQL's `src/interfaces/libpq/fe-connect.c`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::hosts::SOCKET_DIRECTORIES;

pub(super) struct Passfile {
    text: String,
}

impl Passfile {
    /// Reads the file; fails without a warning if there is none.
    pub(super) fn read(path: &Path) -> Result<Self, Option<String>> {
        let Ok(metadata) = std::fs::metadata(path) else {
            return Err(None);
        };
        if !metadata.is_file() {
            return Err(Some(format!("password file {} is not a plain file and is ignored", path.display())));
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(Some(format!(
                "password file {} can be read by others and is ignored: run chmod 0600 on it",
                path.display()
            )));
        }
        match std::fs::read(path) {
            Ok(bytes) => Ok(Self { text: String::from_utf8_lossy(&bytes).into_owned() }),
            Err(cause) => {
                Err(Some(format!("password file {} cannot be read and is ignored: {cause}", path.display())))
            }
        }
    }

    pub(super) fn password(&self, host: &str, port: u16, dbname: &str, user: &str) -> Option<String> {
        let port = port.to_string();
        self.text.lines().find_map(|line| {
            let line = line.trim_end_matches('\r');
            if line.starts_with('#') {
                return None;
            }
            let (host_field, rest) = field(line)?;
            let (port_field, rest) = field(rest)?;
            let (dbname_field, rest) = field(rest)?;
            let (user_field, password) = field(rest)?;
            let matches = host_matches(host_field, host)
                && is_match(port_field, &port)
                && is_match(dbname_field, dbname)
                && is_match(user_field, user);
            // As in libpq, the text after another colon is not part of it.
            let password = unescape(field(password).map_or(password, |(password, _)| password));
            (matches && !password.is_empty()).then_some(password)
        })
    }
}

/// The name of a Unix socket is its directory, and `localhost` for the default directories.
fn host_matches(field: &str, host: &str) -> bool {
    is_match(field, host) || (SOCKET_DIRECTORIES.contains(&host) && is_match(field, "localhost"))
}

fn is_match(field: &str, value: &str) -> bool {
    field == "*" || unescape(field) == value
}

/// The text before the first `:` that is not escaped, and the text after it.
fn field(line: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (index, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => return Some((line.get(..index)?, line.get(index + 1..)?)),
            _ => {}
        }
    }
    None
}

fn unescape(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        text.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_match_as_in_libpq() {
        let passfile = Passfile {
            text: [
                "# db:5432:sales:ann:comment",
                "db:5432:sales:ann:first\r",
                "db:5432:sales:ann:second",
                "db:*:sales:bob:any\\:port\\\\",
                r"we\:ird:5432:d\\b:u\:ser:odd",
                "localhost:5432:*:*:local",
                "/run/pg:5433:*:*:socket",
                "too:few:fields",
                "db:5432:empty:ann:",
                "db:5432:more:ann:secret:more",
                "",
            ]
            .join("\n"),
        };
        for (host, port, dbname, user, password) in [
            ("db", 5432, "sales", "ann", Some("first")),
            ("db", 5433, "sales", "ann", None),
            ("db", 1, "sales", "bob", Some("any:port\\")),
            ("we:ird", 5432, "d\\b", "u:ser", Some("odd")),
            ("localhost", 5432, "x", "y", Some("local")),
            ("/var/run/postgresql", 5432, "x", "y", Some("local")),
            ("/run/pg", 5433, "x", "y", Some("socket")),
            ("/elsewhere", 5432, "x", "y", None),
            ("db", 5432, "more", "ann", Some("secret")),
            ("127.0.0.1", 5432, "x", "y", None),
            ("db", 5432, "empty", "ann", None),
        ] {
            assert_eq!(passfile.password(host, port, dbname, user).as_deref(), password, "{host} {port}");
        }
    }
}
