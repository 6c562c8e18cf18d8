//! `Facts`: what is known about the server and the snapshot of an export.

use pgarrow_session::{Pooled, ServerReport};

/// What is known once the snapshot is taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// `host:port`, or the socket's path.
    pub(crate) endpoint: String,
    /// The server is behind a network.
    pub(crate) is_remote: bool,
    /// The database's name.
    pub(crate) database: String,
    /// `pg_current_snapshot()`.
    pub(crate) snapshot: String,
    /// `pg_export_snapshot()`, once the snapshot is shared.
    pub(crate) exported: Option<String>,
    /// `pg_postmaster_start_time()` in UTC, whatever the session's time zone.
    pub(crate) server_start: String,
    /// `server_version`.
    pub(crate) server_version: String,
    /// `pg_backend_pid()`: behind a pooler, it differs from the number that the session got at its start.
    pub(crate) backend_pid: Option<i32>,
    /// Whether a pooler is in between.
    pub(crate) pooled: Pooled,
}

impl Facts {
    /// The server, for reports.
    pub(crate) fn server(&self) -> ServerReport {
        let Self { endpoint, database, server_version, server_start, pooled, .. } = self.clone();
        ServerReport::new(endpoint, database, server_version, server_start, pooled.is_pooled())
    }
}
