//! One connection to try.

/// The password of all roles that need one and have no special one. It must never show up in our output.
pub(crate) const SECRET: &str = "canary-s3same";

/// Facts of a session, as the server sees them. Both programs' own names count as the same name.
pub(crate) const FACTS: &str = "SELECT concat_ws(' ', current_user, 'in', current_database(), 'on', \
    coalesce(inet_server_port()::text, 'a socket'), 'by', \
    coalesce((SELECT version || coalesce(' as ' || client_dn, '') FROM pg_stat_ssl \
    WHERE pid = pg_backend_pid() AND ssl), 'plain text'), 'as', \
    CASE WHEN current_setting('application_name') IN ('psql', 'pgarrow') THEN 'the program' \
    ELSE quote_literal(current_setting('application_name')) END, \
    current_setting('work_mem'), current_setting('TimeZone'), current_setting('DateStyle'), \
    current_setting('geqo'), current_setting('statement_timeout'), current_setting('client_encoding'), \
    pg_is_in_recovery(), current_setting('transaction_read_only'))";

/// The psql that a cell is compared with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Psql {
    /// With TLS.
    Seventeen,
    /// Knows the parameters of version 18, and no TLS.
    Eighteen,
}

/// A file in the home of a cell.
#[derive(Clone, Debug)]
pub(crate) struct HomeFile {
    pub(crate) path: String,
    pub(crate) contents: String,
    pub(crate) mode: u32,
}

/// A connection string with its whole environment.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) order: usize,
    pub(crate) group: &'static str,
    pub(crate) name: String,
    pub(crate) conninfo: String,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) home: Vec<HomeFile>,
    /// For the server with TLS: the certificate it shows, and other changes.
    pub(crate) state: &'static str,
    pub(crate) psql: Psql,
    /// Texts that must not be in any message of ours.
    pub(crate) secrets: Vec<String>,
}

impl Cell {
    pub(crate) fn env(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn home(&mut self, path: &str, contents: impl Into<String>, mode: u32) -> &mut Self {
        self.home.push(HomeFile { path: path.to_owned(), contents: contents.into(), mode });
        self
    }

    pub(crate) fn state(&mut self, state: &'static str) -> &mut Self {
        self.state = state;
        self
    }

    pub(crate) fn eighteen(&mut self) -> &mut Self {
        self.psql = Psql::Eighteen;
        self
    }

    pub(crate) fn secret(&mut self, secret: impl Into<String>) -> &mut Self {
        self.secrets.push(secret.into());
        self
    }
}

/// The cells, while they are collected.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    group: &'static str,
    pub(crate) all: Vec<Cell>,
}

impl Cells {
    /// Later cells belong to `group`.
    pub(crate) fn group(&mut self, group: &'static str) {
        self.group = group;
    }

    pub(crate) fn add(&mut self, name: impl Into<String>, conninfo: impl Into<String>) -> &mut Cell {
        self.all.push(Cell {
            order: self.all.len(),
            group: self.group,
            name: name.into(),
            conninfo: conninfo.into(),
            environment: Vec::new(),
            home: Vec::new(),
            state: "good",
            psql: Psql::Seventeen,
            secrets: vec![SECRET.to_owned(), "canary".to_owned()],
        });
        self.all.last_mut().unwrap()
    }
}

/// A value for a list of `key=value`.
pub(crate) fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A value for a URI.
pub(crate) fn percent(value: &str) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    })
}
