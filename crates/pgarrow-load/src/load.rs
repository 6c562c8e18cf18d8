//! `Load`: the target of a load and its options.

use std::time::Instant;

use pgarrow_catalog::RelationName;
use pgarrow_protocol::{Answer, Config, Session};
use pgarrow_session::{AttachedSession, Cancel, Connection, Holders, Result};
use pgarrow_types::OpaqueColumns;

use crate::ahead;
use crate::definition::{NeededTypes, PrimaryKey};
use crate::kept::{Begun, Kept, Spent};
use crate::options::{LoadMode, LoadOptions};
use crate::owner::Owner;
use crate::target;
use crate::transaction::{begin, begin_sql, roll_back, take_back};

/// A load that has not begun.
#[derive(Clone, Debug)]
#[must_use]
pub struct Load {
    pub(crate) place: Place,
    pub(crate) cancel: Cancel,
    pub(crate) name: RelationName,
    pub(crate) options: LoadOptions,
}

/// Where the load's session comes from.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// The load connects itself.
    Server {
        config: Box<Config>,
        /// A session that has already looked at the table.
        kept: Kept,
    },
    /// A session of the caller; the load runs in its transaction.
    Connection(Connection),
}

impl Load {
    /// Into the table of this name, on the server that `conninfo` names.
    ///
    /// `conninfo` is a connection string as psql takes it: a URI (`postgres://user@host/db`), or `key=value`
    /// pairs. The `PG*` environment variables and `~/.pgpass` supply what it leaves out. `table` is a name
    /// as psql takes it: folded to lower case unless quoted, looked up on the search path unless it has a
    /// schema.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`](pgarrow_session::ErrorKind::Options) for a conninfo or name that cannot be
    /// used.
    pub fn into(conninfo: &str, table: &str) -> Result<Self> {
        let config = Config::parse(Some(conninfo).filter(|text| !text.trim().is_empty()))?;
        Self::with_config(config, table, Cancel::new())
    }

    /// The same with a parsed configuration. `cancel` stops the load from another thread.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`](pgarrow_session::ErrorKind::Options) for a name that cannot be used.
    pub fn with_config(config: Config, table: &str, cancel: Cancel) -> Result<Self> {
        let place = Place::Server { config: Box::new(config), kept: Kept::default() };
        Ok(Self { place, cancel, name: RelationName::parse(table)?, options: LoadOptions::default() })
    }

    /// Loads as part of the transaction that is open in this connection when the load is opened. The caller
    /// ends the transaction. Nobody else sees the rows before it commits.
    ///
    /// From then on the load has the connection, until it ends or is dropped. It sets a savepoint: if it
    /// fails, is cancelled or is dropped, the transaction is as before, and continues. Afterwards all
    /// settings are as before. Locks of a successful load last until the transaction ends. Deferred
    /// constraints are checked when the caller commits. The caller's timeouts apply.
    ///
    /// A load with several writers, in parts, with a restart key or with rejected rows cannot be part of a
    /// transaction. No load can be part of a transaction stricter than READ COMMITTED.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`](pgarrow_session::ErrorKind::Options) for a name that cannot be used.
    pub fn in_transaction(connection: &Connection, table: &str) -> Result<Self> {
        let (place, cancel) = (Place::Connection(connection.clone()), connection.cancel().child());
        Ok(Self { place, cancel, name: RelationName::parse(table)?, options: LoadOptions::default() })
    }

    /// Stops this load and all its clones, from any thread.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Sets the options.
    pub fn options(mut self, options: LoadOptions) -> Self {
        let holders = self.options.holders.take();
        self.options = LoadOptions { holders, ..options };
        self
    }

    /// The columns that an export into this table need not decode, because the table has the same types and
    /// accepts the same bytes: for `ExportOptions::with_opaque`. Connects, and reads the table's columns;
    /// [`open`](Self::open) uses the same connection, if it still works.
    ///
    /// Empty for a table that is created with Arrow's types, and for loads that reject rows, whose receiver
    /// must be able to read them.
    ///
    /// # Errors
    ///
    /// No connection; a table that does not exist, or cannot be read.
    pub fn opaque_columns(&self) -> Result<OpaqueColumns> {
        self.find_opaque(false)
    }

    /// Finds the opaque columns. `begins`: if the table can be locked at once, the load's transaction begins,
    /// and stays open for [`open`](Self::open).
    pub(crate) fn find_opaque(&self, begins: bool) -> Result<OpaqueColumns> {
        let Self { cancel, name, options, .. } = self;
        let is_made = match options.mode {
            LoadMode::Create => true,
            LoadMode::Append | LoadMode::Truncate | LoadMode::Upsert | LoadMode::Replace => false,
        };
        let of_made = || options.opaque_of_made();
        if options.reject {
            return Ok(OpaqueColumns::default());
        }
        if is_made {
            return Ok(of_made());
        }
        let types = match &self.place {
            Place::Server { config, kept } => self.look(config, kept, begins)?,
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

    /// Reads the table's columns: in a separate transaction, or in the load's own, which `begins`.
    fn look(&self, config: &Config, kept: &Kept, begins: bool) -> Result<Option<OpaqueColumns>> {
        let ask = |session: &mut Session| self.ask(session, begins);
        let (session, _attached, (types, answers)) = self.asked(config, kept, ask)?;
        if !answers.is_empty() {
            self.keep_begun(kept, session, answers)?;
        } else if let Some(session) = take_back(session) {
            kept.keep_idle(session);
        }
        Ok(types)
    }

    /// Connects, and begins the load's transaction if the table can be locked at once. Both stay open for
    /// [`open`](Self::open).
    pub(crate) fn begin_early(&self) -> Result<()> {
        // The caller's connection is open, and its transaction has begun.
        let Place::Server { config, kept } = &self.place else { return Ok(()) };
        self.options.check()?;
        let ask = |session: &mut Session| self.ask_at_once(session);
        let (session, _attached, answers) = self.asked(config, kept, ask)?;
        match answers.is_empty() {
            true => kept.keep_idle(session),
            false => self.keep_begun(kept, session, answers)?,
        }
        Ok(())
    }

    /// Connects and asks. The time that it takes is the load's.
    fn asked<T>(
        &self,
        config: &Config,
        kept: &Kept,
        ask: impl FnOnce(&mut Session) -> Result<T>,
    ) -> Result<(Session, AttachedSession, T)> {
        let Self { cancel, options, .. } = self;
        let started = Instant::now();
        let mut session = kept.take(config, cancel)?;
        let connect = started.elapsed();
        let attached = cancel.attach(&session);
        session.set_read_timeout(options.read_timeout);
        match ask(&mut session) {
            Ok(answer) => {
                kept.spend(Spent { connect, ask: started.elapsed().saturating_sub(connect) });
                Ok((session, attached, answer))
            }
            Err(error) => {
                session.forget_answers();
                roll_back(session);
                Err(cancel.cancelled_or(error))
            }
        }
    }

    fn keep_begun(&self, kept: &Kept, mut session: Session, answers: Vec<Answer>) -> Result<()> {
        session.forget_answers();
        let (name, mode) = (self.name.clone(), self.options.mode);
        let begin = begin_sql(&session, &self.options)?;
        kept.keep_begun(Begun { session, begin, name, mode, answers });
        Ok(())
    }

    /// All answers for opening the load, in its transaction, if it could begin at once.
    fn ask_at_once(&self, session: &mut Session) -> Result<Vec<Answer>> {
        match self.options.has_writers() || self.options.is_batchwise() {
            true => Ok(Vec::new()),
            false => ahead::ask_at_once(session, &self.name, &self.options),
        }
    }

    /// The types of the table's columns; and all answers for opening the load, if its transaction has begun.
    fn ask(&self, session: &mut Session, begins: bool) -> Result<(Option<OpaqueColumns>, Vec<Answer>)> {
        let Self { name, options, .. } = self;
        let begun = if begins { self.ask_at_once(session)? } else { Vec::new() };
        let answers = match begun.is_empty() {
            true => ahead::ask_about_columns(session, name, options)?,
            false => begun.clone(),
        };
        session.keep_answers(answers);
        begin(session, options)?;
        Ok((target::column_types(session, name, options)?, begun))
    }

    /// These columns of the batches hold the binary form of values of these types, as another server sent
    /// it. `Plan::opaque` of an export with these [`opaque_columns`](Self::opaque_columns) lists them. A
    /// schema alone never marks a column this way.
    pub fn with_opaque(mut self, columns: OpaqueColumns) -> Self {
        self.options.opaque = columns;
        self
    }

    /// What a table that the load creates takes over from the table that the rows come from:
    /// [`LoadOptions::with_types`] and [`LoadOptions::with_primary_key`].
    pub fn defined_by(mut self, types: Option<NeededTypes>, key: Option<PrimaryKey>) -> Self {
        self.options.types = types.or(self.options.types);
        self.options.primary_key = key.or(self.options.primary_key);
        self
    }

    /// The rows come from an export whose sessions hold these locks (`Run::holders`), and which may read the
    /// target itself. If the load would wait for a lock of that export, opening it fails.
    pub fn fed_by(mut self, holders: Holders) -> Self {
        self.options.holders = Some(holders);
        self
    }
}
