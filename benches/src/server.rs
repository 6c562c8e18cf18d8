//! The server the suite runs against: a private one, or the user's.

use pgarrow_protocol::{Config, CopyIn, Session};
use pgarrow_server::{Server, ServerOptions};

use crate::Result;

/// Where the tables are.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ServerFlags {
    /// A PostgreSQL to use (tables bench_* are made in it and stay). Default: a private one, removed at the end.
    /// It has to let this user in without a password: the drains have no other way of logging in
    #[arg(long, env = "PGARROW_BENCH_URL")]
    pub(crate) url: Option<String>,
}

/// A session for preparing and checking, and the server behind it.
#[derive(Debug)]
pub(crate) struct Database {
    session: Session,
    url: String,
    /// Stops with this.
    _server: Option<Server>,
}

impl Database {
    pub(crate) fn open(flags: &ServerFlags) -> Result<Self> {
        let (url, server) = match &flags.url {
            Some(url) => (url.clone(), None),
            None => {
                // Everything in memory: the wire is to be measured, not the disk.
                let options = ServerOptions::new()
                    .shared_buffers("3GB")
                    .setting("max_parallel_workers_per_gather", "0");
                let server = Server::start(options)?;
                (server.url(), Some(server))
            }
        };
        let mut session = Session::connect(&Config::parse(Some(&url))?)?;
        session.execute("SET client_min_messages = warning; SET TIME ZONE 'UTC'")?;
        Ok(Self { session, url, _server: server })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn execute(&mut self, sql: &str) -> Result<()> {
        Ok(self.session.execute(sql)?)
    }

    /// The first value of the first row.
    pub(crate) fn value(&mut self, sql: &str) -> Result<Option<String>> {
        let rows = self.session.query(sql, &[])?;
        Ok(rows.first().and_then(|row| row.text(0)).map(str::to_owned))
    }

    /// All values of the first row.
    pub(crate) fn row(&mut self, sql: &str) -> Result<Vec<Option<String>>> {
        let rows = self.session.query(sql, &[])?;
        let row = rows.first().ok_or("no row")?;
        Ok((0..row.len()).map(|index| row.text(index).map(str::to_owned)).collect())
    }

    pub(crate) fn copy_in(&mut self, sql: &str) -> Result<CopyIn<'_>> {
        Ok(self.session.copy_in(sql)?)
    }

    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.session
    }
}
