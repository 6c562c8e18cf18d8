//! `Load`: where batches are to go, and how.

use std::sync::{Arc, Mutex, PoisonError};

use pgarrow_catalog::RelationName;
use pgarrow_protocol::{Config, Session};
use pgarrow_session::{Cancel, Holders, IdleSession, Result};
use pgarrow_types::OpaqueColumns;

use crate::options::{LoadMode, LoadOptions, TypesFrom};
use crate::target;
use crate::transaction::{roll_back, take_back};

/// A load that nothing was done for yet.
#[derive(Clone, Debug)]
#[must_use]
pub struct Load {
    pub(crate) config: Config,
    pub(crate) cancel: Cancel,
    pub(crate) name: RelationName,
    pub(crate) options: LoadOptions,
    /// Which has looked at the table.
    idle: Arc<Mutex<Option<IdleSession>>>,
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
        let (name, options) = (RelationName::parse(table)?, LoadOptions::default());
        Ok(Self { config, cancel, name, options, idle: Arc::default() })
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
        let mut session = self.session()?;
        let _attached = cancel.attach(&session);
        session.set_read_timeout(options.read_timeout);
        let types = match target::column_types(&mut session, name, options) {
            Ok(types) => types,
            Err(error) => {
                roll_back(session);
                return Err(cancel.told(error));
            }
        };
        if let Some(session) = take_back(session) {
            *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(IdleSession::new(session));
        }
        Ok(types.unwrap_or_else(of_made))
    }

    /// The one that has looked at the table, or a new one.
    pub(crate) fn session(&self) -> Result<Session> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        match idle.and_then(|idle| idle.working(&self.cancel)) {
            Some(session) => Ok(session),
            None => self.cancel.connect_patiently(&self.config),
        }
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
