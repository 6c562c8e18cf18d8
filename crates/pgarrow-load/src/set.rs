//! `LoadSet`: loads of many tables of one server, together in one transaction, or each by itself.
//!
//! ```text
//!  connect ─▶ look (what is there, in which order) ─▶ begin ─▶ load(table) … one after another ─▶ commit
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use pgarrow_catalog::{Relation, RelationName, resolve};
use pgarrow_protocol::{Config, Session};
use pgarrow_session::{
    Cancel, Connection, Error, ErrorKind, Holders, Lent, Result, must_be_in_transaction, without_read_timeout,
};
use pgarrow_types::option::MODE;
use pgarrow_types::{Message, OpaqueColumns, message};

use crate::kept::Kept;
use crate::load::{Load, Place};
use crate::options::{LoadMode, LoadOptions};
use crate::own_locks::{is_of_here, refuse_exclusive};
use crate::progress::{LoadProgress, LoadStage};
use crate::report::LoadReport;
use crate::set::order::{ForeignKey, order};
use crate::target;
use crate::transaction::{begin, server_error};

mod order;

/// Loads of many tables of one server.
///
/// Either all are one transaction, over one connection: all tables are loaded, or none. Or each is a
/// transaction of its own. One is loaded after another, in the order that [`look`](Self::look) gives.
#[derive(Debug)]
pub struct LoadSet {
    config: Config,
    connection: Connection,
    cancel: Cancel,
    options: LoadOptions,
    /// The modes of tables that have their own, by their quoted names.
    modes: HashMap<String, LoadMode>,
    is_together: bool,
    progress: Arc<LoadProgress>,
}

/// What a [`LoadSet`] found of its tables.
#[derive(Debug)]
#[non_exhaustive]
pub struct LookedAt {
    /// The indexes of the tables, in the order in which they can be loaded: those that foreign keys refer to
    /// first.
    pub order: Vec<usize>,
    /// By table: the columns that an export need not decode ([`Load::opaque_columns`]), or why it cannot be
    /// loaded.
    pub tables: Vec<Result<OpaqueColumns>>,
}

impl LoadSet {
    /// Connects. `options` are those of all loads; `cancel` stops all of them. `is_together`: they are one
    /// transaction.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] for options that contradict one another, or that loads in one transaction
    /// cannot have; no connection.
    pub fn connect(config: &Config, options: LoadOptions, is_together: bool, cancel: Cancel) -> Result<Self> {
        options.check()?;
        if is_together {
            options.check_within_transaction()?;
        }
        let connection = Connection::connect_with(config, cancel.clone())?;
        let options = LoadOptions { is_of_set: true, ..options };
        Ok(Self {
            config: config.clone(),
            connection,
            cancel,
            options,
            modes: HashMap::new(),
            is_together,
            progress: Arc::default(),
        })
    }

    /// Loads a table by another mode than that of the options.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] for a mode that contradicts the options.
    pub fn with_mode(mut self, table: &RelationName, mode: LoadMode) -> Result<Self> {
        let options = self.options.clone().with_mode(mode);
        options.check()?;
        if self.is_together {
            options.check_within_transaction()?;
        }
        self.modes.insert(table.quoted(), mode);
        Ok(self)
    }

    /// How a table is loaded.
    fn options_of(&self, table: &RelationName) -> LoadOptions {
        let options = self.options.clone();
        self.modes.get(&table.quoted()).into_iter().fold(options, |options, mode| options.with_mode(*mode))
    }

    /// The progress of the transaction that all loads are part of: its last stages are those of its COMMIT.
    pub fn progress(&self) -> &Arc<LoadProgress> {
        &self.progress
    }

    /// Looks at the tables, in a transaction that is rolled back.
    ///
    /// # Errors
    ///
    /// Errors of the server. [`ErrorKind::Options`] for tables of one transaction whose foreign keys form a
    /// circle and cannot be deferred.
    pub fn look(&self, tables: &[RelationName]) -> Result<LookedAt> {
        let mut looked = Vec::with_capacity(tables.len());
        let mut keys = Vec::new();
        self.with_session(|session| {
            begin(session, &self.options)?;
            for name in tables {
                let columns = self.look_at(session, name);
                if columns.as_ref().is_err_and(|error| error.kind() != ErrorKind::Options) {
                    // The error has ended the transaction, or the connection.
                    let _ = session.execute("ROLLBACK");
                    begin(session, &self.options)?;
                }
                looked.push(columns);
            }
            keys = foreign_keys(session, tables)?;
            session.execute("ROLLBACK").map_err(Error::without_advice)
        })?;
        Ok(LookedAt { order: order(tables, &keys, self.is_together)?, tables: looked })
    }

    fn look_at(&self, session: &mut Session, name: &RelationName) -> Result<OpaqueColumns> {
        let options = self.options_of(name);
        let is_made = match options.mode {
            LoadMode::Create | LoadMode::Replace => target::is_missing(session, name)?,
            LoadMode::Append | LoadMode::Truncate | LoadMode::Upsert => false,
        };
        if is_made {
            check_schema(session, name)?;
            return Ok(options.opaque_of_made());
        }
        if options.mode == LoadMode::Create {
            let text = format!("{} is there already", shown(name));
            return Err(Error::new(ErrorKind::Options, text)
                .advice(message!["drop it, or choose another mode: ", MODE.to("append|truncate|replace")]));
        }
        Ok(target::column_types(session, name, &options)?.unwrap_or_else(|| options.opaque_of_made()))
    }

    /// Begins. Tables of one transaction that are to be truncated are truncated here, all at once: so they
    /// may refer to one another. `holders`: the sessions of the export that the rows come from
    /// (`Run::holders`); `None` if they come from elsewhere.
    ///
    /// # Errors
    ///
    /// Errors of the server. [`ErrorKind::Options`] for tables to truncate that the export itself reads.
    pub fn begin(&mut self, tables: &[RelationName], holders: Option<Holders>) -> Result<()> {
        self.options.holders = holders;
        self.with_session(|session| {
            begin(session, &self.options)?;
            must_be_in_transaction(session, "a load of several tables")?;
            // Loads that come later cannot tell the export any more.
            if let Some(holders) = &self.options.holders
                && is_of_here(session, holders)?
            {
                holders.give_up_waiting();
            }
            if !self.is_together {
                return session.execute("ROLLBACK").map_err(Error::without_advice);
            }
            // Those that can be deferred are checked by COMMIT.
            session.execute("SET CONSTRAINTS ALL DEFERRED").map_err(Error::without_advice)?;
            self.truncate(session, tables)
        })
    }

    /// Truncates those of the tables that are to be emptied.
    fn truncate(&self, session: &mut Session, tables: &[RelationName]) -> Result<()> {
        let mut relations: Vec<Relation> = Vec::with_capacity(tables.len());
        for name in tables {
            let options = self.options_of(name);
            if options.mode != LoadMode::Truncate {
                continue;
            }
            let relation = resolve(session, name)?;
            refuse_exclusive(session, &relation, &options, MODE.to("truncate"))?;
            relations.push(relation);
        }
        if relations.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = relations.iter().map(Relation::quoted).collect();
        let sql = format!("TRUNCATE TABLE {}", names.join(", "));
        let truncated = without_read_timeout(session, |session| session.execute(&sql));
        truncated.map_err(|error| match error.sqlstate() {
            Some("0A000") => server_error(error, "the tables to truncate")
                .advice("load the tables that refer to them, too, or load by another mode"),
            _ => server_error(error, "the tables to truncate"),
        })
    }

    /// The load of a table. Of a set in one transaction, one load at a time can be open.
    pub fn load(&self, table: &RelationName) -> Load {
        let (place, cancel) = match self.is_together {
            true => (Place::Connection(self.connection.clone()), self.connection.cancel().child()),
            false => {
                let config = Box::new(self.config.clone());
                (Place::Server { config, kept: Kept::default() }, self.cancel.child())
            }
        };
        let options = self.options_of(table);
        let is_emptied = self.is_together && options.mode == LoadMode::Truncate;
        let options = LoadOptions { is_emptied, ..options };
        Load { place, cancel, name: table.clone(), options }
    }

    /// Commits the transaction that all loads are part of; does nothing if each has its own.
    ///
    /// # Errors
    ///
    /// Errors of the server, such as a deferred constraint: nothing was loaded then.
    /// [`ErrorKind::OutcomeUnknown`] if the connection is lost meanwhile.
    pub fn commit(&self) -> Result<()> {
        if !self.is_together {
            return Ok(());
        }
        if self.cancel.is_requested() {
            return Err(self.cancel.error());
        }
        self.progress.enter(LoadStage::Committing);
        match self.connection.commit() {
            Ok(()) => {
                self.progress.enter(LoadStage::Committed);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => Err(error),
            Err(error) => {
                self.progress.enter(LoadStage::Sending);
                Err(error.advice("nothing was loaded"))
            }
        }
    }

    /// After the commit: VACUUM and ANALYZE, as the options say, of the tables that were loaded together.
    /// Those that were committed by themselves have had it. What came of it is added to the reports.
    ///
    /// Returns the warnings that were added: no failure undoes what is committed.
    pub fn tend(&self, reports: &mut [LoadReport]) -> Vec<Message> {
        let mut warnings = Vec::new();
        let to_do = |report: &mut LoadReport| report.to_do.take();
        match Lent::of(&self.connection) {
            Ok((lent, mut session)) => {
                let attached = self.cancel.attach(&session);
                for report in reports {
                    if let Some(upkeep) = to_do(report) {
                        let tended = upkeep.run(&mut session, report.rows, &self.cancel, &self.progress);
                        warnings.extend(report.add_upkeep(tended));
                    }
                }
                drop(attached);
                lent.give_back(session);
            }
            Err(error) => {
                for report in reports {
                    if let Some(upkeep) = to_do(report) {
                        warnings.extend(report.add_upkeep(upkeep.not_begun(&error)));
                    }
                }
            }
        }
        warnings
    }

    /// Runs work in the connection's session.
    fn with_session<T>(&self, work: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        let (lent, mut session) = Lent::of(&self.connection)?;
        let attached = self.cancel.attach(&session);
        session.set_read_timeout(self.options.read_timeout);
        let done = work(&mut session).map_err(|error| self.cancel.cancelled_or(error));
        drop(attached);
        lent.give_back(session);
        done
    }
}

/// The table as users write it.
fn shown(name: &RelationName) -> String {
    name.quoted()
}

/// A table that is to be made needs its schema.
fn check_schema(session: &mut Session, name: &RelationName) -> Result<()> {
    let Some(schema) = &name.schema else { return Ok(()) };
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace n \
               WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.name)";
    let rows = session.query(sql, &[Some(schema)]).map_err(Error::without_advice)?;
    match rows.first().is_some_and(|row| row.text(0) == Some("t")) {
        true => Ok(()),
        false => {
            let quoted = pgarrow_catalog::quote_identifier(schema);
            let text: Message =
                format!("{} cannot be made: the target has no schema {quoted}", shown(name)).into();
            Err(Error::new(ErrorKind::Options, text).advice(format!("CREATE SCHEMA {quoted}")))
        }
    }
}

/// The foreign keys between these tables.
fn foreign_keys(session: &mut Session, tables: &[RelationName]) -> Result<Vec<ForeignKey>> {
    let sql = "SELECT DISTINCT cn.nspname, c.relname, pn.nspname, p.relname, k.condeferrable \
               FROM pg_catalog.pg_constraint k \
               JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.conrelid \
               JOIN pg_catalog.pg_namespace cn ON cn.oid OPERATOR(pg_catalog.=) c.relnamespace \
               JOIN pg_catalog.pg_class p ON p.oid OPERATOR(pg_catalog.=) k.confrelid \
               JOIN pg_catalog.pg_namespace pn ON pn.oid OPERATOR(pg_catalog.=) p.relnamespace \
               WHERE k.contype OPERATOR(pg_catalog.=) 'f'";
    let rows = session.query(sql, &[]).map_err(Error::without_advice)?;
    let index = |schema: Option<&str>, name: Option<&str>| {
        let is_it =
            |table: &RelationName| table.schema.as_deref() == schema && Some(table.name.as_str()) == name;
        tables.iter().position(is_it)
    };
    let key = |row: &pgarrow_protocol::Row| {
        let (child, parent) = (index(row.text(0), row.text(1))?, index(row.text(2), row.text(3))?);
        let can_wait = row.text(4) == Some("t");
        (child != parent).then_some(ForeignKey { child, parent, can_wait })
    };
    Ok(rows.iter().filter_map(key).collect())
}
