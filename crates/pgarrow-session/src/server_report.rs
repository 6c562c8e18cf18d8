//! The server, as reports of exports and loads show it.

use pgarrow_protocol::Session;
use serde::Serialize;

/// The server of a report.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ServerReport {
    /// `host:port`, or the socket's path.
    pub endpoint: String,
    /// The database's name.
    pub database: String,
    /// `server_version`.
    pub version: String,
    /// `pg_postmaster_start_time()`; `None` for a load, which does not ask for it.
    pub started: Option<String>,
    /// Whether a connection pooler was in between: another server process answered than the one in the
    /// cancel key. `None` for a load, which does not ask for it.
    pub through_pooler: Option<bool>,
}

impl ServerReport {
    /// What a session knows without asking the server.
    pub fn of(session: &Session) -> Self {
        Self {
            endpoint: session.endpoint().to_owned(),
            database: session.config().dbname().to_owned(),
            version: session.parameter("server_version").unwrap_or_default().to_owned(),
            started: None,
            through_pooler: None,
        }
    }

    /// What an export knows of its server.
    pub fn new(
        endpoint: String,
        database: String,
        version: String,
        started: String,
        through_pooler: bool,
    ) -> Self {
        Self { endpoint, database, version, started: Some(started), through_pooler: Some(through_pooler) }
    }
}
