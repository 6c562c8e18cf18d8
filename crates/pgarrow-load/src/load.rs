//! `Load`: where batches are to go, and how.

use std::sync::{Arc, Mutex, PoisonError};

use pgarrow_catalog::RelationName;
use pgarrow_protocol::{Config, Session};
use pgarrow_session::{Cancel, Connection, Holders, IdleSession, Result};
use pgarrow_types::OpaqueColumns;

use crate::options::{LoadMode, LoadOptions, TypesFrom};
use crate::owner::Owner;
use crate::target;
use crate::transaction::{begin, roll_back, take_back};

/// A load that nothing was done for yet.
#[derive(Clone, Debug)]
#[must_use]
pub struct Load {
    pub(crate) place: Place,
    pub(crate) cancel: Cancel,
    pub(crate) name: RelationName,
    pub(crate) options: LoadOptions,
}

/// Where its session comes from.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// The load connects itself.
    Server {
        config: Box<Config>,
        /// Which has looked at the table.
        idle: Arc<Mutex<Option<IdleSession>>>,
    },
    /// A session of the caller, in whose transaction the load is.
    Connection(Connection),
}

impl Load {
    /// Into the table of this name, on the server that `conninfo` names.
    ///
    /// `conninfo` is what psql takes: a URI (`postgres://user@host/db`), or `key=value` pairs; what it leaves out comes from
    /// the `PG*` environment variables and `~/.pgpass`. `table` is taken as psql takes a name: folded to lower case unless
    /// it is quoted, looked up on the search path unless it has a schema.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`](pgarrow_session::ErrorKind::Options) for texts that cannot be used.
    pub fn into(conninfo: &str, table: &str) -> Result<Self> {
        let config = Config::parse(Some(conninfo).filter(|text| !text.trim().is_empty()))?;
        Self::with_config(config, table, Cancel::new())
    }

    /// The same, connecting as configured. `cancel` stops it, from another thread.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`](pgarrow_session::ErrorKind::Options) for a name that cannot be used.
    pub fn with_config(config: Config, table: &str, cancel: Cancel) -> Result<Self> {
        let place = Place::Server { config: Box::new(config), idle: Arc::default() };
        Ok(Self { place, cancel, name: RelationName::parse(table)?, options: LoadOptions::default() })
    }

    /// As a part of the transaction that is open in this connection when the load is opened, and that the
    /// caller ends. Nobody else sees the rows before it is committed.
    ///
    /// The load has the connection from then on until it has ended or was dropped. It sets a savepoint: when
    /// it fails, is cancelled or dropped, the transaction is as it was before, and goes on. All settings are
    /// then what they were. Locks of a load that has succeeded are held until the transaction ends.
    /// Constraints that are checked late are checked when the caller commits. The caller's timeouts hold.
    ///
    /// A load in several writers, in parts, with a restart key or with rejected rows cannot be a part of a
    /// transaction; nor can any be of one that is stricter than READ COMMITTED.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`](pgarrow_session::ErrorKind::Options) for a name that cannot be used.
    pub fn in_transaction(connection: &Connection, table: &str) -> Result<Self> {
        let (place, cancel) = (Place::Connection(connection.clone()), connection.cancel().child());
        Ok(Self { place, cancel, name: RelationName::parse(table)?, options: LoadOptions::default() })
    }

    /// Stops this load, and all that are made of it by clones, from any thread.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// How it is made.
    pub fn options(mut self, options: LoadOptions) -> Self {
        let holders = self.options.holders.take();
        self.options = LoadOptions { holders, ..options };
        self
    }

    /// Which columns of an export into this table need not be decoded, since the table has the same types and takes the
    /// same bytes: for `ExportOptions::with_opaque`. Connects, and looks at the
    /// table; [`open`](Self::open) goes on with the connection, if it still works.
    ///
    /// None for a table that is made of Arrow's types, and where rejected rows are to be read by somebody.
    ///
    /// # Errors
    ///
    /// No connection; a table that is not there, or cannot be looked at.
    pub fn opaque_columns(&self) -> Result<OpaqueColumns> {
        let Self { cancel, name, options, .. } = self;
        let is_made = match options.mode {
            LoadMode::Create => true,
            LoadMode::Append | LoadMode::Truncate | LoadMode::Upsert | LoadMode::Replace => false,
        };
        let of_made = || match options.types_from {
            TypesFrom::Metadata => OpaqueColumns::all(),
            TypesFrom::Arrow => OpaqueColumns::default(),
        };
        if options.reject {
            return Ok(OpaqueColumns::default());
        }
        if is_made {
            return Ok(of_made());
        }
        let types = match &self.place {
            Place::Server { config, idle } => self.look(config, idle)?,
            Place::Connection(connection) => {
                let mut options = options.clone();
                let (mut session, owner) = Owner::enter(connection, &mut options, cancel)?;
                let types = target::column_types(&mut session, name, &options);
                owner.roll_back(session, None);
                types.map_err(|error| cancel.cancelled_or(error))?
            }
        };
        Ok(types.unwrap_or_else(of_made))
    }

    /// Looks at the table in a transaction of its own.
    fn look(&self, config: &Config, idle: &Mutex<Option<IdleSession>>) -> Result<Option<OpaqueColumns>> {
        let Self { cancel, name, options, .. } = self;
        let mut session = connect(config, idle, cancel)?;
        let _attached = cancel.attach(&session);
        session.set_read_timeout(options.read_timeout);
        let looked = begin(&mut session, options);
        let types = match looked.and_then(|()| target::column_types(&mut session, name, options)) {
            Ok(types) => types,
            Err(error) => {
                roll_back(session);
                return Err(cancel.cancelled_or(error));
            }
        };
        if let Some(session) = take_back(session) {
            *idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(IdleSession::new(session));
        }
        Ok(types)
    }

    /// The columns of the batches hold the binary form of values of these types, where another server sent it: what
    /// `Plan::opaque` says of an export that was told [`opaque_columns`](Self::opaque_columns).
    /// Nothing that a schema says makes a column one of them.
    pub fn with_opaque(mut self, columns: OpaqueColumns) -> Self {
        self.options.opaque = columns;
        self
    }

    /// Of the rows of an export whose locks these sessions hold (`Run::holders`), and which may read the very table that they
    /// go into. Where such a load would wait for a lock of the export itself, it is refused when it is opened.
    pub fn fed_by(mut self, holders: Holders) -> Self {
        self.options.holders = Some(holders);
        self
    }
}

/// The session that has looked at the table, or a new one.
pub(crate) fn connect(
    config: &Config,
    idle: &Mutex<Option<IdleSession>>,
    cancel: &Cancel,
) -> Result<Session> {
    let idle = idle.lock().unwrap_or_else(PoisonError::into_inner).take();
    match idle.and_then(|idle| idle.working(cancel)) {
        Some(session) => Ok(session),
        None => cancel.connect_patiently(config),
    }
}
