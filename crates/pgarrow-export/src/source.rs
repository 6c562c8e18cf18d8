//! `Source`: a PostgreSQL database that exports are made of.

pub(crate) mod extract;

use pgarrow_protocol::Config;
use pgarrow_session::{Cancel, Memory, Pool, PoolOptions, Result, background};

use crate::options::ExportOptions;
use crate::slice::Slice;

pub use extract::{Extract, NamedQuery, TableSelection, Tables};

/// A PostgreSQL database. Clones are the same source, for any thread.
///
/// Holds one session, which was opened to see that the database can be reached; the first export uses it,
/// later ones open their own, and so does the first if that session does not work any more. With a
/// [pool](Self::with_pool), exports leave their sessions to the next ones. Cheap to keep; dropping the last
/// clone closes what is idle.
#[derive(Clone, Debug)]
pub struct Source {
    pool: Pool,
    cancel: Cancel,
    memory: Option<Memory>,
}

impl Source {
    /// Connects, from async code of any runtime.
    ///
    /// `conninfo` is what psql takes: a URI (`postgres://user@host/db`), or `key=value` pairs. What it leaves
    /// out comes from the `PG*` environment variables and `~/.pgpass`; an empty text leaves out everything.
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

    /// Connects as configured. From now on, `cancel` stops everything that is done with the source.
    ///
    /// With a [connect timeout](Config::with_connect_timeout), a server that is starting up or has no
    /// connection left is tried again until the timeout has passed.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    pub fn connect_blocking_with(config: Config, cancel: Cancel) -> Result<Self> {
        let session = cancel.connect_patiently(&config)?;
        Ok(Self { pool: Pool::new(session, PoolOptions::default()), cancel, memory: None })
    }

    /// Keeps the sessions of exports that ended well for the next ones. By default none is kept: on the
    /// server, an idle session is one connection less for others.
    ///
    /// Settings of an export hold for its transactions only, so nothing of one is seen by the next. Behind a
    /// pooler, such as PgBouncer, readers connect anew: the pooler has the pool.
    #[must_use]
    pub fn with_pool(self, options: PoolOptions) -> Self {
        Self { pool: self.pool.with_options(options), ..self }
    }

    /// Runs of this source take their memory from `memory`, which other sources may share. By default each
    /// run has a limit of its own.
    ///
    /// A run reserves its share when it begins to read, and gives it back when it has ended or was dropped.
    /// It takes half of what is free, or, with
    /// [`ExportOptions::with_memory`](crate::ExportOptions::with_memory), up to that limit as far as it is
    /// free. A row that needs more takes it from what is free then.
    ///
    /// No run waits for memory that another one has: it would hold its snapshot meanwhile, and a caller that
    /// reads several runs in turn would wait for ever. A run that does not get what it needs (16 MiB, or more
    /// for many columns) ends with [`ErrorKind::Options`](crate::ErrorKind::Options) before it reads
    /// anything. For many runs at once, give each [`with_memory`](crate::ExportOptions::with_memory), and
    /// begin as many as fit: [`Memory::free`] says how much is left.
    #[must_use]
    pub fn with_memory(self, memory: &Memory) -> Self {
        Self { memory: Some(memory.clone()), ..self }
    }

    /// An export of a table, view or any other relation that SELECT reads. `name` means the same as in psql:
    /// folded to lower case unless it is quoted, looked up on the search path unless it has a schema.
    pub fn table(&self, name: impl Into<String>) -> Extract {
        Extract::of_table(self.clone(), name.into())
    }

    /// An export of a query: one SELECT, VALUES, TABLE or WITH.
    pub fn query(&self, sql: impl Into<String>) -> Extract {
        Extract::of_query(self.clone(), sql.into())
    }

    /// An export of many tables under one snapshot. Names mean the same as for [`table`](Self::table); see
    /// [`Tables::schema`] for all tables of a schema.
    pub fn tables<S: Into<String>>(&self, names: impl IntoIterator<Item = S>) -> Tables {
        Tables::new(self.clone(), names.into_iter().map(Into::into).collect())
    }

    /// An export of one slice that another run has planned, and for which it holds the snapshot
    /// ([`Run::slices`](crate::Run::slices), [`Run::hold`](crate::Run::hold)).
    ///
    /// A token does not say how types are mapped: batches of several slices fit together if all are read with
    /// the same [options](Extract::options).
    pub fn slice(&self, slice: Slice) -> Extract {
        Extract::of_slice(self.clone(), slice)
    }

    /// The cancel that stops the exports of this source.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// The same source for calls that `cancel` stops, and nothing else does: a
    /// [child](Cancel::child) of [`cancel`](Self::cancel) is what most callers want.
    #[must_use]
    pub fn stopped_by(&self, cancel: Cancel) -> Self {
        Self { cancel, ..self.clone() }
    }

    /// How it connects, pinned to the address that answered.
    pub fn config(&self) -> &Config {
        self.pool.config()
    }

    /// Adds what the source sets to the options of a run.
    pub(crate) fn complete(&self, options: &mut ExportOptions) {
        options.shared_memory.clone_from(&self.memory);
    }

    /// Its sessions.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }
}

fn parse(conninfo: &str) -> Result<Config> {
    Ok(Config::parse(Some(conninfo).filter(|text| !text.trim().is_empty()))?)
}
