//! The options of a load.

use std::time::Duration;

use pgarrow_encode::Conversions;
use pgarrow_session::Holders;
use pgarrow_types::OpaqueColumns;
use serde::Serialize;

use crate::definition::{NeededTypes, PrimaryKey};

/// What happens to the target's existing rows, and whether the load creates the table.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LoadMode {
    /// The rows stay; the table must exist.
    #[default]
    Append,
    /// TRUNCATE removes the rows, in the transaction of the load; the table must exist.
    Truncate,
    /// The load creates the table from the schema; the table must not exist. If an Arrow type has more
    /// digits than any PostgreSQL type (nanoseconds), each value is checked.
    Create,
    /// The rows are gone when the load is complete: it fills a new table with the same definition, which
    /// takes the old one's place at the end. Until then, others read and write the old table. If the table
    /// does not exist, the load creates it.
    Replace,
    /// The rows stay, except those whose key is in the data: these become the data's row. See
    /// [`OnConflict`].
    Upsert,
}

impl LoadMode {
    /// Whether the load makes the table that its rows go into.
    pub fn makes_tables(self) -> bool {
        match self {
            Self::Create | Self::Replace => true,
            Self::Append | Self::Truncate | Self::Upsert => false,
        }
    }
}

/// How rows reach the table.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LoadMethod {
    /// By `COPY … FROM STDIN`, the fastest way.
    #[default]
    Copy,
    /// By INSERT of many rows at once, with bound parameters: for tables whose row security applies, for
    /// views that are updatable automatically or by rules, and for servers without COPY FROM.
    Insert,
    /// By COPY, and where PostgreSQL refuses that, by INSERT: where row security applies, and for views. Few
    /// rows are no reason for INSERT: even one takes no less time.
    Auto,
}

impl LoadMethod {
    /// COPY, where nothing speaks for INSERT.
    pub(crate) fn or_copy(self) -> Self {
        match self {
            Self::Auto => Self::Copy,
            Self::Copy | Self::Insert => self,
        }
    }
}

/// What happens to a row whose key is already in the table.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// The load fails.
    #[default]
    Error,
    /// The row is left out; the report says how many were.
    Skip,
    /// The existing row takes the new row's values, except in columns that the load does not have. The same
    /// key twice in one load is an error.
    Update,
}

/// Where a new table gets its types from.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum TypesFrom {
    /// From a field's metadata `pg.type`, if it has any; otherwise from its Arrow type.
    #[default]
    Metadata,
    /// From the Arrow types alone.
    Arrow,
}

/// What happens to values for an identity column.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum IdentityValues {
    /// They are loaded as they are, as COPY does. The column's sequence does not advance.
    #[default]
    Keep,
    /// They are left out, and the server generates new ones.
    Generate,
}

/// The options of a load: mode, conversions, and settings of the session.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct LoadOptions {
    pub(crate) mode: LoadMode,
    pub(crate) method: LoadMethod,
    pub(crate) conversions: Conversions,
    pub(crate) types_from: TypesFrom,
    pub(crate) identity: IdentityValues,
    pub(crate) add_columns: bool,
    /// The fields of the data to load; `None` for all.
    pub(crate) columns: Option<Vec<String>>,
    /// An earlier start with the same restart key created the table.
    pub(crate) was_made: bool,
    /// The columns that arrive in binary form, with their types.
    pub(crate) opaque: OpaqueColumns,
    pub(crate) on_conflict: Option<OnConflict>,
    pub(crate) key: Vec<String>,
    pub(crate) commit_every: Option<u64>,
    pub(crate) restart_key: Option<String>,
    pub(crate) reject: bool,
    pub(crate) reject_limit: Option<u64>,
    pub(crate) writers: Option<usize>,
    pub(crate) read_timeout: Option<Duration>,
    pub(crate) lock_timeout: Option<Duration>,
    pub(crate) role: Option<String>,
    pub(crate) settings: Vec<(String, String)>,
    /// The sessions of the export that the rows come from.
    pub(crate) holders: Option<Holders>,
    /// The load is one of several, which an export feeds one after another.
    pub(crate) is_of_set: bool,
    /// The table is truncated already.
    pub(crate) is_emptied: bool,
    /// The table is locked already, in the load's own transaction.
    pub(crate) is_locked: bool,
    /// No row is frozen.
    pub(crate) no_freeze: bool,
    /// VACUUM runs after the commit.
    pub(crate) vacuum: bool,
    /// ANALYZE never runs after the commit.
    pub(crate) no_analyze: bool,
    /// The types that a new table needs, and that may have to be made.
    pub(crate) types: Option<NeededTypes>,
    /// The primary key of a new table.
    pub(crate) primary_key: Option<PrimaryKey>,
}

impl LoadOptions {
    /// What happens to the target's rows. Default: [`LoadMode::Append`].
    pub fn with_mode(mut self, mode: LoadMode) -> Self {
        self.mode = mode;
        self
    }

    /// How rows reach the table. Default: [`LoadMethod::Copy`].
    pub fn with_method(mut self, method: LoadMethod) -> Self {
        self.method = method;
        self
    }

    /// Which conversions from Arrow's types to the target's are allowed. Default: [`Conversions::Widen`].
    pub fn with_conversions(mut self, conversions: Conversions) -> Self {
        self.conversions = conversions;
        self
    }

    /// Where a new table gets its types from. Default: [`TypesFrom::Metadata`].
    pub fn with_types_from(mut self, types_from: TypesFrom) -> Self {
        self.types_from = types_from;
        self
    }

    /// What happens to values for identity columns. Default: [`IdentityValues::Keep`].
    pub fn with_identity(mut self, identity: IdentityValues) -> Self {
        self.identity = identity;
        self
    }

    /// Adds columns that the schema has and the target lacks. Default: false; such columns are then an
    /// error.
    pub fn with_add_columns(mut self, add_columns: bool) -> Self {
        self.add_columns = add_columns;
        self
    }

    /// Loads only these columns of the data, by name. Default: all.
    ///
    /// Other columns are left out, as if the data did not have them. Columns that an earlier load added to
    /// its rejected rows (see [`Loading::reject_schema`](crate::Loading::reject_schema)) are left out
    /// automatically if the table has no columns of these names.
    pub fn with_columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// What happens to rows whose key is already there. Default: [`OnConflict::Error`]; for
    /// [`LoadMode::Upsert`], [`OnConflict::Update`].
    ///
    /// Unless it is an error, rows go through a temporary table and one INSERT … ON CONFLICT.
    pub fn with_on_conflict(mut self, on_conflict: OnConflict) -> Self {
        self.on_conflict = Some(on_conflict);
        self
    }

    /// The columns of the unique key that identifies rows. Default: the primary key; to skip rows, any
    /// unique key.
    pub fn with_key<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.key = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Commits after every `rows` rows of the data. Default: a load is one transaction.
    ///
    /// Needs a [restart key](Self::with_restart_key): if a load fails, its committed rows stay, and the next
    /// start with the key continues after them. Others see committed rows at once. The first transaction
    /// also truncates or creates the table. In an upsert, the same key in two parts is no error: the later
    /// row stays. Not for [`LoadMode::Replace`], which is always one transaction, and not for exports
    /// ([`Loading::into_sink`](crate::Loading::into_sink)).
    pub fn with_commit_every(mut self, rows: u64) -> Self {
        self.commit_every = Some(rows);
        self
    }

    /// Loads the data of this key only once. Default: no key.
    ///
    /// Each commit also writes the number of finished rows to the table `pgarrow_load_marks` in the target's
    /// schema; the load creates that table if it is missing. A later load with the key skips this many rows
    /// of its data, which must be the same in the same order. If the mark says that everything is loaded, it
    /// does nothing. So after [`ErrorKind::OutcomeUnknown`](pgarrow_session::ErrorKind::OutcomeUnknown),
    /// start again. After its row is deleted, a load starts from the beginning.
    ///
    /// An advisory lock of the session refuses a second load of the same key at the same time. Behind a
    /// pooler in transaction mode, the lock may outlast the load: connect past the pooler, or use session
    /// mode.
    ///
    /// [`Input::restart_key`](crate::input::Input::restart_key) makes a key from the target's name, the
    /// files' names, and the times they were written.
    pub fn with_restart_key(mut self, key: impl Into<String>) -> Self {
        self.restart_key = Some(key.into());
        self
    }

    /// Leaves out rows that cannot be loaded, and loads the others. Default: false; such rows then fail the
    /// load.
    ///
    /// It leaves out rows with values that their columns cannot hold, and rows that the server refuses
    /// because of their data: SQLSTATE 22…, 23…, P0001 (raised by triggers), 44000 (views), 42501 if a
    /// policy refuses the row, 42601 if the server cannot parse text, for example as a tsvector. It finds
    /// them by halving batches under savepoints. [`Loading::on_reject`](crate::Loading::on_reject) receives
    /// them. Constraints that could be checked at COMMIT are checked batch by batch. A load whose rows are
    /// all rejected fails, unless parts of it are committed; so does a load whose first 1,000 rows are all
    /// rejected, unless it has a [limit](Self::with_reject_limit).
    pub fn with_reject(mut self, reject: bool) -> Self {
        self.reject = reject;
        self
    }

    /// The load fails if more rows than this are rejected. Default: no limit, but a load gives up if each of
    /// its first 1,000 rows is bad.
    pub fn with_reject_limit(mut self, rows: u64) -> Self {
        self.reject_limit = Some(rows);
        self
    }

    /// How many connections load at once, each with its own COPY. Default: 1. With more, an extra connection
    /// keeps the target locked.
    ///
    /// As with one connection, everything is loaded or nothing: writers commit rows to a table beside the
    /// target that has a hidden name and that nobody else has rights to. In [`LoadMode::Create`] and
    /// [`LoadMode::Replace`] it then takes the target's name. In the other modes it is UNLOGGED, and the
    /// last transaction inserts its rows into the target, so the server writes them twice. The role needs
    /// the right to CREATE in the target's schema. If a load is killed, the next load into the target that
    /// has several writers, or replaces it, removes the hidden table. A publication FOR ALL TABLES publishes
    /// the rows of a table created under a hidden name.
    ///
    /// Rows for a partitioned table go through the parent, and the server routes them. The order of rows in
    /// the table is arbitrary. Cannot be combined with [`with_commit_every`](Self::with_commit_every),
    /// [`with_restart_key`](Self::with_restart_key) and [`with_reject`](Self::with_reject).
    pub fn with_writers(mut self, writers: usize) -> Self {
        self.writers = Some(writers);
        self
    }

    /// How long the server may send nothing, or take no byte, while the load waits for it. Default: no
    /// limit. Waits for table locks, for COMMIT, and for INSERT from a staging table are not limited; waits
    /// inside COPY itself are.
    pub fn with_read_timeout(mut self, time: Duration) -> Self {
        self.read_timeout = Some(time);
        self
    }

    /// How long to wait for a lock that another session holds. Default: no limit.
    pub fn with_lock_timeout(mut self, time: Duration) -> Self {
        self.lock_timeout = Some(time);
        self
    }

    /// Makes types that a new table needs and the target lacks, as they are on the server that the rows come
    /// from. Default: a missing type is an error.
    pub fn with_types(mut self, types: NeededTypes) -> Self {
        self.types = Some(types);
        self
    }

    /// Gives a table that the load creates a primary key, when all rows are there. Default: none. Not for
    /// loads in parts.
    pub fn with_primary_key(mut self, key: PrimaryKey) -> Self {
        self.primary_key = Some(key);
        self
    }

    /// Freezes the rows of a table that the load makes or empties: `COPY … WITH (FREEZE)`. Default: true.
    ///
    /// Their pages are all-visible at once, as VACUUM leaves them: no later VACUUM writes them again, and an
    /// export can read them as stored. After the commit, transactions with an older snapshot see the rows,
    /// too, although they should not; with TRUNCATE alone, they would see an empty table.
    ///
    /// Only where PostgreSQL allows it, in versions that mark the pages (14 and later): one COPY straight
    /// into a table, in the transaction that makes or empties it. So not by several writers, in parts after
    /// the first, for rejected rows, partitioned tables, rows that go through a staging table, or in a
    /// transaction of the caller. And not with BEFORE triggers for rows, with which no page is marked.
    pub fn with_freeze(mut self, freeze: bool) -> Self {
        self.no_freeze = !freeze;
        self
    }

    /// Runs VACUUM on the table after the commit. Default: false.
    ///
    /// For rows that the load could not [freeze](Self::with_freeze): it marks their pages as all-visible. A
    /// failure is a warning of the report, since the rows are committed: the server skips a table that is not
    /// the role's own, for example. It waits for locks as long as the [options](Self::with_lock_timeout) say,
    /// and otherwise for 10 s. In a transaction of the caller it does not run, and a warning says so.
    pub fn with_vacuum(mut self, vacuum: bool) -> Self {
        self.vacuum = vacuum;
        self
    }

    /// Runs ANALYZE on the table after the commit, where its rows are new to the planner. Default: true.
    ///
    /// That is after a load that makes, empties or replaces the table; and after another one of more rows
    /// than autovacuum's threshold for the table (`autovacuum_analyze_threshold` and
    /// `autovacuum_analyze_scale_factor`, which the table may have of its own), unless the table has
    /// `autovacuum_enabled = false`. Failures and locks are as for [`with_vacuum`](Self::with_vacuum). Not
    /// for views, foreign tables, temporary tables, and in a transaction of the caller.
    pub fn with_analyze(mut self, analyze: bool) -> Self {
        self.no_analyze = !analyze;
        self
    }

    /// The columns that an export into a table that is made need not decode.
    pub(crate) fn opaque_of_made(&self) -> OpaqueColumns {
        match self.types_from {
            TypesFrom::Metadata => OpaqueColumns::all(),
            TypesFrom::Arrow => OpaqueColumns::default(),
        }
    }

    /// The role that loads, set by SET LOCAL ROLE.
    pub fn with_role(mut self, role: impl Into<String>) -> Self {
        self.role = Some(role.into());
        self
    }

    /// A parameter of the session, set by SET LOCAL. Call it again for further parameters.
    pub fn with_setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }
}
