//! A connection string and an environment: read or refused. Nothing of them that may be a password appears in
//! an error.
//!
//! ```text
//! input = connection string (NAME=value)*        separated by NUL
//! ```

use pgarrow_protocol::Config;

/// Stands for the password; no host name or user is likely to contain it.
const PASSWORD: &str = "q7!zV-password-9w#K";

pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.split('\0');
    let conninfo = parts.next().unwrap_or_default();
    let variables: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
    let environment = |name: &str| {
        let set =
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned());
        set.or_else(|| (name == "PGPASSWORD").then(|| PASSWORD.to_owned()))
    };
    let shown = match Config::parse_with(Some(conninfo), &environment) {
        Ok(config) => {
            assert!(!config.host().is_empty() && !config.user().is_empty() && config.port() > 0);
            format!("{config}\n{config:?}\n{}", config.endpoint())
        }
        Err(error) => format!("{error}\n{error:?}"),
    };
    if !text.contains(PASSWORD) {
        assert!(!shown.contains(PASSWORD), "the password is shown: {shown}");
    }
}
