//! The options of a private server.

use std::path::PathBuf;

use crate::error::ServerError;
use crate::installation::Installation;

/// How a private server is set up. The defaults suit tests: fast, not durable, trusting local connections.
///
/// With the default (`trust`), every user of this machine can connect to the port as superuser. Set a
/// [`password`](Self::password) on a machine with other users.
#[derive(Clone, Debug)]
#[must_use]
pub struct ServerOptions {
    pub(crate) installation: Option<Installation>,
    pub(crate) password: Option<String>,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) hba: String,
    pub(crate) files: Vec<(String, Vec<u8>)>,
    pub(crate) cluster_cache: Option<PathBuf>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            installation: None,
            password: None,
            settings: Vec::new(),
            hba: String::new(),
            files: Vec::new(),
            cluster_cache: None,
        }
    }

    /// Keeps the result of `initdb` in this folder, one cluster for each PostgreSQL, and starts from a copy
    /// of it.
    ///
    /// For callers that start many servers. Default: every server runs an `initdb` of its own. A server with
    /// a [`password`](Self::password) always does, since the password is part of the cluster.
    pub fn cluster_cache(self, folder: impl Into<PathBuf>) -> Self {
        Self { cluster_cache: Some(folder.into()), ..self }
    }

    /// Runs this PostgreSQL. Default: what [`find_or_fetch`](crate::find_or_fetch) returns.
    pub fn installation(self, installation: Installation) -> Self {
        Self { installation: Some(installation), ..self }
    }

    /// Asks for this password (SCRAM-SHA-256) on every connection. Default: no password.
    pub fn password(self, password: impl Into<String>) -> Self {
        Self { password: Some(password.into()), ..self }
    }

    /// PostgreSQL's buffer cache, for example `256MB`. Default: `128MB`.
    pub fn shared_buffers(self, size: impl Into<String>) -> Self {
        self.setting("shared_buffers", size)
    }

    /// Sets one parameter of `postgresql.conf`. The last of several values for a name counts, also against
    /// our defaults. The port, the addresses and the socket folder cannot be changed.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Puts lines before the others of `pg_hba.conf`, where the first that matches counts.
    ///
    /// The lines at the end let every user in from this machine, with the password if one is set.
    pub fn hba(mut self, lines: impl AsRef<str>) -> Self {
        self.hba.push_str(lines.as_ref());
        self.hba.push('\n');
        self
    }

    /// Writes a file into the data folder, readable by the server's user alone: a certificate, a key.
    ///
    /// `name` is a plain file name, and settings can refer to it as it is (`ssl_key_file`, `server.key`).
    pub fn file(mut self, name: impl Into<String>, contents: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.into(), contents.into()));
        self
    }

    /// Refuses options that break a configuration file or leave the data folder.
    pub(crate) fn check(&self) -> Result<(), ServerError> {
        for (name, value) in &self.settings {
            let is_name =
                !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
            if !is_name || value.contains(['\n', '\r', '\0']) {
                return Err(ServerError::Option {
                    reason: format!("setting {name:?} cannot be written to postgresql.conf"),
                });
            }
        }
        for (name, _) in &self.files {
            if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
                return Err(ServerError::Option { reason: format!("{name:?} is not a plain file name") });
            }
        }
        match &self.password {
            Some(password) if password.is_empty() || password.contains(['\n', '\r', '\0']) => {
                Err(ServerError::Option {
                    reason: "a password must be one line, and not an empty one".to_owned(),
                })
            }
            _ => Ok(()),
        }
    }

    /// What is appended to `postgresql.conf`: our defaults, then the caller's settings.
    pub(crate) fn conf(&self) -> String {
        let ours = [
            // Nothing here has to survive a crash of the machine.
            ("fsync", "off"),
            ("synchronous_commit", "off"),
            ("full_page_writes", "off"),
            // No checkpoint in the middle of a load or a measurement.
            ("max_wal_size", "4GB"),
            ("checkpoint_timeout", "1h"),
            ("shared_buffers", "128MB"),
            // The same answers everywhere.
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
            ("log_line_prefix", "%m [%p] %a "),
        ];
        let theirs = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut conf = String::from("\n# pgarrow\n");
        for (name, value) in ours.into_iter().chain(theirs) {
            // postgresql.conf: quotes are doubled, and backslashes are escapes in quoted values.
            let value = value.replace('\\', "\\\\").replace('\'', "''");
            conf.push_str(&format!("{name} = '{value}'\n"));
        }
        conf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_quoted_and_come_after_ours() {
        let conf = ServerOptions::new().setting("fsync", "on").setting("search_path", r"it's \ here").conf();
        assert!(conf.find("fsync = 'off'").unwrap() < conf.find("fsync = 'on'").unwrap());
        assert!(conf.contains(r"search_path = 'it''s \\ here'"), "{conf}");
    }

    #[test]
    fn what_would_break_a_file_is_refused() {
        assert!(ServerOptions::new().setting("a", "b\nc = 1").check().is_err());
        assert!(ServerOptions::new().setting("a = 1\nb", "c").check().is_err());
        assert!(ServerOptions::new().file("../../outside", "").check().is_err());
        assert!(ServerOptions::new().password("").check().is_err());
        assert!(
            ServerOptions::new().setting("a.b_c", "d").file("server.key", "").password("p").check().is_ok()
        );
    }
}
