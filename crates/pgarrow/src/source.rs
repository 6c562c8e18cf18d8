//! `Source`: a PostgreSQL database that exports are made of.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pgarrow_protocol::{Config, Session};

use crate::background;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::extract::{Extract, Tables};
use crate::slice::Slice;

/// A session that was idle for less than this is taken as it is, if it looks well.
const FRESH: Duration = Duration::from_secs(1);

/// How long an idle session may take to show that it works.
const CHECK_TIME: Duration = Duration::from_secs(5);

/// A PostgreSQL database.
///
/// Holds one session, which was opened to see that the database can be reached; the first export uses it,
/// later ones open their own, and so does the first if that session does not work any more. Cheap to keep; dropping it
/// closes the session.
#[derive(Debug)]
pub struct Source {
    config: Config,
    cancel: Cancel,
    /// And since when it is.
    idle: Mutex<Option<(Session, Instant)>>,
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
        Ok(Self { config, cancel, idle: Mutex::new(Some((session, Instant::now()))) })
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
        match self.idle() {
            Idle::Fresh(session) => Ok(session),
            Idle::Old(session) => working_or_new(&self.cancel, &self.config, Some(session)),
            Idle::None => working_or_new(&self.cancel, &self.config, None),
        }
    }

    /// The same, from async code.
    pub(crate) async fn session_in_background(&self) -> Result<Session> {
        let old = match self.idle() {
            Idle::Fresh(session) => return Ok(session),
            Idle::Old(session) => Some(session),
            Idle::None => None,
        };
        let (config, cancel) = (self.config.clone(), self.cancel.child());
        background::run(&cancel.clone(), move || working_or_new(&cancel, &config, old)).await
    }

    fn idle(&self) -> Idle {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((mut session, since)) = kept else { return Idle::None };
        match (session.is_usable(), since.elapsed() < FRESH) {
            (true, true) => Idle::Fresh(session),
            (true, false) => Idle::Old(session),
            (false, _) => Idle::None,
        }
    }
}

/// The session that a source has kept.
enum Idle {
    /// Nothing shows that it does not work.
    Fresh(Session),
    /// The same, but much may have happened.
    Old(Session),
    None,
}

/// The session, unless it does not work any more: nothing was begun on it, so nothing is lost with it.
fn working_or_new(cancel: &Cancel, config: &Config, old: Option<Session>) -> Result<Session> {
    if let Some(mut session) = old {
        let _attached = cancel.attach(&session);
        if session.check(CHECK_TIME).is_ok() {
            return Ok(session);
        }
    }
    cancel.connect_patiently(config)
}

fn parse(conninfo: &str) -> Result<Config> {
    Ok(Config::parse(Some(conninfo).filter(|text| !text.trim().is_empty()))?)
}
