//! The service file: connection parameters under a name.
//!
//! ```text
//! # comment
//! [name]
//! host=db.example        the text before the first = is the parameter, the text after it the value
//! ```
//!
//! The file is `servicefile` or `~/.pg_service.conf`, then `pg_service.conf` in the system's folder
//! (`PGSYSCONFDIR`, or the folder of Debian's libpq).
//!
//! Source: <https://www.postgresql.org/docs/current/libpq-pgservice.html>; `parseServiceInfo` in
//! PostgreSQL's `src/interfaces/libpq/fe-connect.c`.

use std::path::{Path, PathBuf};

use super::parameter::{Values, from_name};
use super::refuse;
use crate::error::Error;
use crate::file::read_plain;

const SYSTEM_DIRECTORY: &str = "/etc/postgresql-common";

/// Adds the parameters of the service that `values` name, if they name one, where `values` lack them.
pub(super) fn add_service(
    values: &mut Values,
    home: Option<&Path>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(), Error> {
    let Some(service) = values.remove("service") else { return Ok(()) };
    let chosen = values.remove("servicefile").map(PathBuf::from);
    let of_user = match &chosen {
        Some(path) if !path.exists() => {
            return Err(refuse(format!("service file \"{}\" does not exist", path.display())));
        }
        Some(path) => Some(path.clone()),
        None => home.map(|home| home.join(".pg_service.conf")),
    };
    let directory = environment("PGSYSCONFDIR").filter(|path| !path.is_empty());
    let of_system = Path::new(directory.as_deref().unwrap_or(SYSTEM_DIRECTORY)).join("pg_service.conf");
    for path in of_user.into_iter().chain([of_system]).filter(|path| path.exists()) {
        let bytes = read_plain(&path)
            .map_err(|cause| refuse(format!("service file {} cannot be read: {cause}", path.display())))?;
        let found = read_group(&String::from_utf8_lossy(&bytes), &service).map_err(|(line, what)| {
            refuse(format!("service file {}, line {line}: {what}", path.display()))
        })?;
        if let Some(found) = found {
            for (name, value) in found {
                values.entry(name).or_insert(value);
            }
            return Ok(());
        }
    }
    Err(refuse("the service is defined in no service file: see PGSERVICEFILE, or ~/.pg_service.conf"))
}

/// The parameters under `[service]`; none if there is no such group. An error holds the line's number, the
/// first being 1.
fn read_group(text: &str, service: &str) -> Result<Option<Values>, (usize, String)> {
    let mut found: Option<Values> = None;
    for (index, line) in text.lines().enumerate() {
        let fail = |what: String| (index + 1, what);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(group) = line.strip_prefix('[') {
            if found.is_some() {
                return Ok(found);
            }
            // As in libpq, the text after the bracket does not matter.
            if group.strip_prefix(service).is_some_and(|rest| rest.starts_with(']')) {
                found = Some(Values::new());
            }
            continue;
        }
        let Some(values) = &mut found else { continue };
        if line.starts_with("ldap") {
            return Err(fail("services in an LDAP directory are not supported".to_owned()));
        }
        let Some((name, value)) = line.split_once('=') else {
            return Err(fail("there is no = in it".to_owned()));
        };
        if matches!(name, "service" | "servicefile") {
            return Err(fail(format!("a service cannot name a {name} of its own")));
        }
        let name = from_name(name).map_err(|error| fail(error.to_string()))?;
        values.entry(name).or_insert_with(|| value.to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups() {
        let text = "# comment\nhost=nobody\n[a]\nhost=one\n  port=1  \nhost=two\n\n[b] x\nport=2\npassword=a b=c\n[b]\nport=3\n[bc]\n";
        let group =
            |name| read_group(text, name).unwrap().map(|values| values.into_iter().collect::<Vec<_>>());
        assert_eq!(group("a"), Some(vec![("host", "one".to_owned()), ("port", "1".to_owned())]));
        assert_eq!(group("b"), Some(vec![("password", "a b=c".to_owned()), ("port", "2".to_owned())]));
        assert_eq!(group("bc"), Some(Vec::new()));
        assert_eq!(group("c"), None);
    }

    #[test]
    fn lines_that_are_refused() {
        for (line, word) in [
            ("host", "no ="),
            ("host = x", "unknown connection parameter"),
            ("nonsense=Zecret", "\"nonsense\""),
            ("service=x", "of its own"),
            ("ldap://x", "LDAP"),
        ] {
            let (number, what) = read_group(&format!("[s]\n{line}\n"), "s").expect_err(line);
            assert_eq!(number, 2);
            assert!(what.contains(word) && !what.contains("Zecret"), "{line}: {what}");
            // Lines of another service are not checked.
            assert!(read_group(&format!("[s]\n{line}\n[t]\n"), "t").is_ok());
        }
    }
}
