//! `Source`: a PostgreSQL database that exports are made of.

pub(crate) mod extract;

use std::sync::{Mutex, PoisonError};

use pgarrow_protocol::{Config, Session};
use pgarrow_session::{Cancel, IdleSession, Looked, OldSession, Result, background};

use crate::slice::Slice;

pub use extract::{Extract, Tables};

/// A PostgreSQL database.
///
/// Holds one session, which was opened to see that the database can be reached; the first export uses it,
/// later ones open their own, and so does the first if that session does not work any more. Cheap to keep; dropping it
/// closes the session.
#[derive(Debug)]
pub struct Source {
    config: Config,
    cancel: Cancel,
    idle: Mutex<Option<IdleSession>>,
}

impl Source {
    /// Connects, from async code of any runtime.
    ///
    /// `conninfo` is what psql takes: a URI (`postgres://user@host/db`), or `key=value` pairs. What it leaves out
    /// comes from the `PG*` environment variables and `~/.pgpass`; an empty text leaves out everything.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`](crate::ErrorKind::Options) for a text that cannot be used,
    /// [`ErrorKind::Connection`](crate::ErrorKind::Connection) if the server cannot be reached or refuses.
    pub async fn connect(conninfo: &str) -> Result<Self> {
        let config = parse(conninfo)?;
        let cancel = Cancel::new();
        background::run(&cancel.clone(), move || Self::connect_blocking_with(config, cancel)).await
    }

    /// Connects, waiting. Otherwise as [`connect`](Self::connect).
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    pub fn connect_blocking(conninfo: &str) -> Result<Self> {
        Self::connect_blocking_with(parse(conninfo)?, Cancel::new())
    }

    /// Connects as configured. `cancel` stops whatever is done with the source, from now on.
    ///
    /// With a [connect timeout](Config::with_connect_timeout), a server that is starting up or has no connection left is
    /// asked again until it has passed.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    pub fn connect_blocking_with(config: Config, cancel: Cancel) -> Result<Self> {
        let session = cancel.connect_patiently(&config)?;
        let config = session.config().clone();
        Ok(Self { config, cancel, idle: Mutex::new(Some(IdleSession::new(session))) })
    }

    /// An export of a table, view or whatever else a SELECT reads. `name` is taken as psql takes it: folded to
    /// lower case unless it is quoted, looked up on the search path unless it has a schema.
    pub fn table(&self, name: impl Into<String>) -> Extract<'_> {
        Extract::of_table(self, name.into())
    }

    /// An export of a query: one SELECT, VALUES, TABLE or WITH.
    pub fn query(&self, sql: impl Into<String>) -> Extract<'_> {
        Extract::of_query(self, sql.into())
    }

    /// An export of many tables under one snapshot. Names are taken as for [`table`](Self::table); see
    /// [`Tables::schema`] for all tables of a schema.
    pub fn tables<S: Into<String>>(&self, names: impl IntoIterator<Item = S>) -> Tables<'_> {
        Tables::new(self, names.into_iter().map(Into::into).collect())
    }

    /// An export of one slice, which another run has planned and holds the snapshot for
    /// ([`Run::slices`](crate::Run::slices), [`Run::hold`](crate::Run::hold)).
    ///
    /// A token does not say how types are mapped: batches of several slices fit together if all are read with the same
    /// [options](Extract::options).
    pub fn slice(&self, slice: Slice) -> Extract<'_> {
        Extract::of_slice(self, slice)
    }

    /// What stops the exports of this source.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// How it connects, pinned to the address that answered.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The idle session, if it works, or a new one.
    pub(crate) fn session(&self) -> Result<Session> {
        match self.look() {
            Looked::Fresh(session) => Ok(session),
            Looked::Old(session) => working_or_new(&self.cancel, &self.config, Some(session)),
            Looked::Lost => working_or_new(&self.cancel, &self.config, None),
        }
    }

    /// The same, from async code.
    pub(crate) async fn session_in_background(&self) -> Result<Session> {
        let old = match self.look() {
            Looked::Fresh(session) => return Ok(session),
            Looked::Old(session) => Some(session),
            Looked::Lost => None,
        };
        let (config, cancel) = (self.config.clone(), self.cancel.child());
        background::run(&cancel.clone(), move || working_or_new(&cancel, &config, old)).await
    }

    fn look(&self) -> Looked {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.map_or(Looked::Lost, IdleSession::look)
    }
}

fn working_or_new(cancel: &Cancel, config: &Config, old: Option<OldSession>) -> Result<Session> {
    match old.and_then(|session| session.working(cancel)) {
        Some(session) => Ok(session),
        None => cancel.connect_patiently(config),
    }
}

fn parse(conninfo: &str) -> Result<Config> {
    Ok(Config::parse(Some(conninfo).filter(|text| !text.trim().is_empty()))?)
}
