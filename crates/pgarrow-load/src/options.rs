//! How a load is made.

use std::time::Duration;

use pgarrow_encode::Conversions;
use pgarrow_session::Holders;
use pgarrow_types::OpaqueColumns;
use serde::Serialize;

/// What becomes of the rows that the target has, and whether it is made.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LoadMode {
    /// They stay; the table must be there.
    #[default]
    Append,
    /// They are removed by TRUNCATE, in the transaction of the load; the table must be there.
    Truncate,
    /// The table is made from the schema; it must not be there. Where Arrow's type has more digits than any of PostgreSQL's
    /// (nanoseconds), each value is looked at.
    Create,
    /// They are gone when the load is complete: it goes into a new table like this one, which takes its place at the end.
    /// Until then, the old one is read and written. A table that is not there is made.
    Replace,
    /// They stay, but for those whose key a row of the load has: these become that row. See [`OnConflict`].
    Upsert,
}

impl LoadMode {
    /// Whether the load makes the table that its rows go into.
    pub(crate) fn makes_tables(self) -> bool {
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
    /// By `COPY … FROM STDIN`, which is the fastest.
    #[default]
    Copy,
    /// By INSERT of many rows at once, with bound parameters: for tables whose row security applies, for views that are
    /// updatable by themselves or by rules, and for servers that know no COPY FROM.
    Insert,
}

/// What becomes of a row whose key the table has already.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// The load fails.
    #[default]
    Error,
    /// It is left out, and the report says how many were.
    Skip,
    /// The row that is there takes its values, but for those of columns that the load does not have. The same key twice in
    /// one load is an error.
    Update,
}

/// Where a table that is made gets its types from.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum TypesFrom {
    /// From the metadata `pg.type` of a field, where it has any; otherwise from its Arrow type.
    #[default]
    Metadata,
    /// From the Arrow types alone.
    Arrow,
}

/// What becomes of values for an identity column.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum IdentityValues {
    /// They are loaded as they are, as COPY does. The column's sequence does not learn of them.
    #[default]
    Keep,
    /// They are left out, and the server makes new ones.
    Generate,
}

/// How a load is made: mode, conversions, and the session it runs in.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct LoadOptions {
    pub(crate) mode: LoadMode,
    pub(crate) method: LoadMethod,
    pub(crate) conversions: Conversions,
    pub(crate) types_from: TypesFrom,
    pub(crate) identity: IdentityValues,
    pub(crate) add_columns: bool,
    /// The fields of the data that are loaded; all if none are named.
    pub(crate) columns: Option<Vec<String>>,
    /// The table was made by an earlier start with the same restart key.
    pub(crate) was_made: bool,
    /// The columns that arrive in binary form, with the types that they are of.
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
    /// Of the export that the rows come from.
    pub(crate) holders: Option<Holders>,
}

impl LoadOptions {
    /// What becomes of the target's rows. Default: [`LoadMode::Append`].
    pub fn with_mode(mut self, mode: LoadMode) -> Self {
        self.mode = mode;
        self
    }

    /// How rows reach the table. Default: [`LoadMethod::Copy`].
    pub fn with_method(mut self, method: LoadMethod) -> Self {
        self.method = method;
        self
    }

    /// How far Arrow's types may be from the target's. Default: [`Conversions::Widen`].
    pub fn with_conversions(mut self, conversions: Conversions) -> Self {
        self.conversions = conversions;
        self
    }

    /// Where a table that is made gets its types from. Default: [`TypesFrom::Metadata`].
    pub fn with_types_from(mut self, types_from: TypesFrom) -> Self {
        self.types_from = types_from;
        self
    }

    /// What becomes of values for identity columns. Default: [`IdentityValues::Keep`].
    pub fn with_identity(mut self, identity: IdentityValues) -> Self {
        self.identity = identity;
        self
    }

    /// Adds columns that the schema has and the target lacks. Default: false, which makes them an error.
    pub fn with_add_columns(mut self, add_columns: bool) -> Self {
        self.add_columns = add_columns;
        self
    }

    /// Loads only these columns of the data, by name. Default: all of them.
    ///
    /// Others are left out, as if the data did not have them. Columns that a load has added to the rows that it has rejected
    /// (see [`Loading::reject_schema`](crate::Loading::reject_schema)) are left out by themselves where the table has none
    /// of their names.
    pub fn with_columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// What becomes of rows whose key is there already. Default: [`OnConflict::Error`]; [`OnConflict::Update`] for
    /// [`LoadMode::Upsert`].
    ///
    /// With anything but an error, rows go through a temporary table and one INSERT … ON CONFLICT.
    pub fn with_on_conflict(mut self, on_conflict: OnConflict) -> Self {
        self.on_conflict = Some(on_conflict);
        self
    }

    /// The columns of the unique key that tells rows apart. Default: those of the primary key; to skip rows, any unique key.
    pub fn with_key<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.key = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Commits after so many rows of the data, and again. Default: all of a load is one transaction.
    ///
    /// Needs a [restart key](Self::with_restart_key): what a load has committed stays when it fails, and the next start
    /// with the key goes on behind it. Rows that were committed are seen by others at once. Truncating the table, or
    /// making it, is part of the first transaction. In an upsert, the same key in two parts is no error: the later row
    /// stays. Not for [`LoadMode::Replace`], which is one transaction by its nature, and not for exports ([`Loading::into_sink`](crate::Loading::into_sink)).
    pub fn with_commit_every(mut self, rows: u64) -> Self {
        self.commit_every = Some(rows);
        self
    }

    /// Whatever is loaded under this key is loaded once. Default: none.
    ///
    /// With each commit the number of rows that are done is written to the table `pgarrow_load_marks` in the target's
    /// schema, which is made if it is missing. A later load with the key skips so many rows of its data, which must be the
    /// same in the same order; nothing is done if the mark says that all is loaded. That is also the answer after
    /// [`ErrorKind::OutcomeUnknown`](pgarrow_session::ErrorKind::OutcomeUnknown): start again. Deleting the mark's row makes it a
    /// new load.
    ///
    /// Two loads of one key at once are refused, by an advisory lock of the session. Behind a pooler that takes sessions
    /// apart (transaction mode) that lock may stay when the load has ended: connect past it, or use session mode.
    ///
    /// [`Input::restart_key`](crate::input::Input::restart_key) makes one of the target's name, the files' names, and when they
    /// were written.
    pub fn with_restart_key(mut self, key: impl Into<String>) -> Self {
        self.restart_key = Some(key.into());
        self
    }

    /// Leaves out the rows that cannot be loaded, and loads the others. Default: false, with which they fail the load.
    ///
    /// Left out are rows with values that their columns cannot hold, and those that the server refuses for their data:
    /// SQLSTATE 22…, 23…, P0001, which triggers raise, 44000 of views, 42501 if a policy refuses the row, 42601 if it is text
    /// that the server cannot read, as a tsvector. They are found by halving batches under savepoints.
    /// [`Loading::on_reject`](crate::Loading::on_reject) receives them. Constraints that could be checked at COMMIT are
    /// checked batch by batch. A load all of whose rows are rejected fails, unless parts of it are committed; so does one
    /// whose first 1,000 rows are all rejected, unless it has a [limit](Self::with_reject_limit).
    pub fn with_reject(mut self, reject: bool) -> Self {
        self.reject = reject;
        self
    }

    /// The load fails if more rows than these are rejected. Default: no limit, but a load that finds its first 1,000 rows bad,
    /// each of them, gives up.
    pub fn with_reject_limit(mut self, rows: u64) -> Self {
        self.reject_limit = Some(rows);
        self
    }

    /// How many connections load at once, each by a COPY of its own. Default: 1. With more, one more has the target locked.
    ///
    /// All of it or nothing is loaded as with one: rows are committed to a table beside the target that has a hidden name and
    /// that nobody else has rights to. In [`LoadMode::Create`] and [`LoadMode::Replace`] it then takes the target's name; in
    /// the other modes it is an UNLOGGED one whose rows the last transaction inserts into the target, so that the server
    /// writes them twice. The role has to have the right to CREATE in the target's schema. What a load that was killed leaves
    /// there is removed by the next one into the target that has several writers, or replaces it. A publication FOR ALL TABLES
    /// publishes the rows of a table that is made under its hidden name.
    ///
    /// Into a partitioned table rows go through it, and the server routes them. Rows come into the table in any order. Not
    /// together with [`with_commit_every`](Self::with_commit_every), [`with_restart_key`](Self::with_restart_key) and
    /// [`with_reject`](Self::with_reject).
    pub fn with_writers(mut self, writers: usize) -> Self {
        self.writers = Some(writers);
        self
    }

    /// How long the server may keep silent, or take no byte, while it is waited for. Default: no limit. Locks of tables,
    /// COMMIT, and bringing rows on from a staging table are waited for beyond it; what COPY itself waits for is not.
    pub fn with_read_timeout(mut self, time: Duration) -> Self {
        self.read_timeout = Some(time);
        self
    }

    /// How long to wait for a lock of somebody else. Default: no limit.
    pub fn with_lock_timeout(mut self, time: Duration) -> Self {
        self.lock_timeout = Some(time);
        self
    }

    /// The role that loads, by SET LOCAL ROLE.
    pub fn with_role(mut self, role: impl Into<String>) -> Self {
        self.role = Some(role.into());
        self
    }

    /// A parameter of the session, by SET LOCAL. May be called again for another one.
    pub fn with_setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }
}
