//! The options of an export: batches, types, readers, memory, and its sessions.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pgarrow_decode::BatchLimits;
use pgarrow_session::{Memory, Result, TransactionSettings};
use pgarrow_types::{ColumnOptions, IntervalForm, NumericForm, OpaqueColumns, TypeOptions};
use serde::{Deserialize, Serialize};

use crate::memory_policy;
use crate::under::SharedSnapshot;

/// How the run asks the server for rows.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ReadMode {
    /// Pages of the table's heap where that is possible and faster, COPY for the rest; SELECT if the server
    /// refuses COPY.
    #[default]
    Auto,
    /// `COPY … TO STDOUT (FORMAT binary)`.
    Copy,
    /// One SELECT, its rows in binary.
    Select,
    /// A cursor: some thousand rows at a time, so that the server never runs far ahead.
    Cursor,
    /// Pages of the table's heap as stored, decoded by the client, where that is possible; COPY for the rest.
    /// An error if the server hands out no pages at all, or the role may not read them. The rows and their
    /// order are those of COPY.
    Pages,
}

/// Who says which columns stay undecoded.
#[derive(Clone)]
pub(crate) struct OpaqueFrom(Arc<AskForOpaque>);

type AskForOpaque = dyn Fn() -> Result<OpaqueColumns> + Send + Sync;

impl fmt::Debug for OpaqueFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpaqueFrom")
    }
}

/// How an export is cut into batches, how types are mapped, how many readers there are, and the settings of
/// its sessions.
///
/// Every option has a default that suits an export of a table into Arrow in memory.
#[derive(Clone, Debug)]
#[must_use]
pub struct ExportOptions {
    pub(crate) limits: BatchLimits,
    pub(crate) types: TypeOptions,
    /// By column.
    pub(crate) columns: BTreeMap<String, ColumnOptions>,
    pub(crate) opaque: OpaqueColumns,
    /// Who will know them.
    pub(crate) opaque_from: Option<OpaqueFrom>,
    /// Single tables or queries have such columns, too.
    pub(crate) has_opaque_tables: bool,
    pub(crate) field_ids: bool,
    pub(crate) readers: Option<usize>,
    pub(crate) memory: Option<usize>,
    /// The memory of the source.
    pub(crate) shared_memory: Option<Memory>,
    /// The snapshot of another session, if tables are read under it.
    pub(crate) under: Option<SharedSnapshot>,
    pub(crate) ordered: bool,
    pub(crate) slice_bytes: Option<u64>,
    pub(crate) split_on: Option<String>,
    pub(crate) read_mode: ReadMode,
    pub(crate) inconsistent: bool,
    pub(crate) reject: bool,
    pub(crate) reject_limit: Option<u64>,
    pub(crate) retries: u32,
    pub(crate) read_timeout: Option<Duration>,
    pub(crate) lock_timeout: Option<Duration>,
    pub(crate) role: Option<String>,
    pub(crate) settings: Vec<(String, String)>,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self {
            limits: BatchLimits::default(),
            types: TypeOptions::default(),
            columns: BTreeMap::new(),
            opaque: OpaqueColumns::default(),
            opaque_from: None,
            has_opaque_tables: false,
            field_ids: false,
            readers: None,
            memory: None,
            shared_memory: None,
            under: None,
            ordered: false,
            slice_bytes: None,
            split_on: None,
            read_mode: ReadMode::default(),
            inconsistent: false,
            reject: false,
            reject_limit: None,
            retries: 3,
            read_timeout: None,
            lock_timeout: None,
            role: None,
            settings: Vec::new(),
        }
    }
}

impl ExportOptions {
    /// What decides which values are read, as a text to compare: types, role, settings. Not how fast, or in
    /// which batches.
    pub fn meaning(&self) -> String {
        let Self { types, columns, opaque, field_ids, inconsistent, reject, role, settings, .. } = self;
        let rows = if *reject { " reject" } else { "" };
        format!("{types:?} {columns:?} {opaque:?} {field_ids} {inconsistent} {role:?} {settings:?}{rows}")
    }

    /// Whether the precision of some numerics is found by reading them.
    pub fn scans_numerics(&self) -> bool {
        self.types.numeric == NumericForm::Scan
            || self.columns.values().any(|column| column.numeric == Some(NumericForm::Scan))
    }

    /// Rows per batch at most. Default: 65,536.
    ///
    /// [`with_batch_bytes`](Self::with_batch_bytes) may end a batch sooner. At least 1.
    pub fn with_batch_rows(mut self, batch_rows: usize) -> Self {
        self.limits.rows = batch_rows.max(1);
        self
    }

    /// A batch is full at this many bytes of Arrow data. Default: 8 MiB; at most 1 GiB.
    ///
    /// Checked every 256 rows. A single row larger than this still forms a batch. With little memory for each
    /// reader, batches are smaller.
    pub fn with_batch_bytes(mut self, batch_bytes: usize) -> Self {
        self.limits.bytes = batch_bytes;
        self
    }

    /// What an interval becomes. Default: [`IntervalForm::MonthDayNano`]; a Parquet file needs
    /// [`IntervalForm::Struct`].
    pub fn with_interval(mut self, interval: IntervalForm) -> Self {
        self.types.interval = interval;
        self
    }

    /// How types are mapped, for all columns. Replaces earlier choices,
    /// [`with_interval`](Self::with_interval) included.
    pub fn with_types(mut self, types: TypeOptions) -> Self {
        self.types = types;
        self
    }

    /// Choices for the column of this exact name. They override those of the run.
    ///
    /// A column that is not read, and a choice that means nothing for its type, are errors when the export is
    /// planned. With many tables, the choices hold for every column of this name.
    pub fn with_column(mut self, name: impl Into<String>, options: ColumnOptions) -> Self {
        self.columns.insert(name.into(), options);
        self
    }

    /// Leaves these columns undecoded, if another server accepts the same bytes for their types and no choice
    /// about values concerns them. They arrive as Binary, with the bytes of the type's send function.
    /// Default: none.
    ///
    /// For rows that go into another server (`pgarrow-load` says into which columns); see [`OpaqueColumns`].
    /// [`Plan::opaque`](crate::Plan::opaque) lists those that are. With [`ReadMode::Pages`], no column is
    /// left undecoded, since a heap stores another form.
    pub fn with_opaque(mut self, columns: OpaqueColumns) -> Self {
        self.opaque = columns;
        self
    }

    /// The same with columns that somebody will know: `ask` is called when names are looked up, before
    /// anything is locked. Its error is that of opening the export.
    ///
    /// So a target can be looked at while the source is: `pgarrow-load`'s `LookAhead` does that.
    pub fn with_opaque_from(
        mut self,
        ask: impl Fn() -> Result<OpaqueColumns> + Send + Sync + 'static,
    ) -> Self {
        self.opaque_from = Some(OpaqueFrom(Arc::new(ask)));
        self
    }

    /// Asks for the columns that stay undecoded, if somebody knows them.
    pub(crate) fn learn_opaque(&mut self) -> Result<()> {
        if let Some(OpaqueFrom(ask)) = self.opaque_from.take() {
            self.opaque = ask()?;
        }
        Ok(())
    }

    /// Puts a number into every field's metadata, as `PARQUET:field_id`: the number of a table's column in
    /// `pg_attribute`, which stays the same when other columns are added or dropped, or a column's place in a
    /// query. Default: no.
    ///
    /// A field inside a column has the column's number times 100,000 plus its own place in the column, depth
    /// first, from 1.
    pub fn with_field_ids(mut self, field_ids: bool) -> Self {
        self.field_ids = field_ids;
        self
    }

    /// Connections that read at once, at least 1. Default: as many as this machine has cores, at most 8.
    ///
    /// All of them read under one snapshot, which one more connection holds. There are never more of them
    /// than slices. With 1, the connection that holds the snapshot reads.
    pub fn with_readers(mut self, readers: usize) -> Self {
        self.readers = Some(readers.max(1));
        self
    }

    /// Bytes of memory for receive buffers, batches under construction, queues and row groups together.
    /// Default: a quarter of the machine's memory, at most 1 GiB; at least 16 MiB.
    ///
    /// Each column takes some of it in every reader; for a Parquet file, each should have 128 KiB. If that
    /// does not fit, there are fewer readers than asked for, and the report says so.
    ///
    /// With a memory that several runs share ([`Source::with_memory`](crate::Source::with_memory)), the run
    /// takes this much of it, as far as it is free.
    ///
    /// Not counted: code, stacks, what the allocator keeps, and batches that the caller has.
    pub fn with_memory(mut self, bytes: usize) -> Self {
        self.memory = Some(memory_policy::chosen_limit(bytes));
        self
    }

    /// Hands out slices in order: that of the table's pages, or of the column it is split on. Default: as
    /// they arrive.
    ///
    /// The same rows then make the same batches, and the same file.
    pub fn with_order(mut self, ordered: bool) -> Self {
        self.ordered = ordered;
        self
    }

    /// Whether the order of rows is kept.
    pub fn is_ordered(&self) -> bool {
        self.ordered
    }

    /// Bytes of a slice, as the table has them on disk. Default: from 64 MiB down to 4 MiB towards the end;
    /// 32 MiB in order.
    pub fn with_slice_bytes(mut self, slice_bytes: u64) -> Self {
        self.slice_bytes = Some(slice_bytes.max(1));
        self
    }

    /// Cuts the rows by this column, for views, foreign tables and queries, which have no pages. The exact
    /// name; its type is an integer, date, timestamp, uuid or text.
    pub fn with_split_on(mut self, column: impl Into<String>) -> Self {
        self.split_on = Some(column.into());
        self
    }

    /// How the run asks the server for rows. Default: [`ReadMode::Auto`].
    pub fn with_read_mode(mut self, read_mode: ReadMode) -> Self {
        self.read_mode = read_mode;
        self
    }

    /// Lets readers have snapshots of their own if they cannot share one. Default: that is an error.
    ///
    /// Rows that change meanwhile may then be of different moments, missing, or read twice.
    pub fn with_inconsistent(mut self, inconsistent: bool) -> Self {
        self.inconsistent = inconsistent;
        self
    }

    /// Leaves out rows with a value that Arrow cannot hold, where the export would stop: infinite dates, NaN
    /// in a decimal, timestamps out of range, and so on. Default: no.
    ///
    /// A row is there with all its values or not at all. [`Run::on_reject`](crate::Run::on_reject) receives
    /// the rows that were left out as the server prints them; [`Report::rows_rejected`](crate::Report) counts
    /// them. An export of which no row is left fails, and so does one that finds each of the first 1,000 rows
    /// of a table to be bad, unless it has a [limit](Self::with_reject_limit).
    ///
    /// Rows that were left out wait in memory until their slice is read, and count against
    /// [`with_memory`](Self::with_memory). The server uses no parallel workers, so that rows have an order by
    /// which they are found. Text that is not in the encoding of its database still stops the export.
    pub fn with_reject(mut self, reject: bool) -> Self {
        self.reject = reject;
        self
    }

    /// The export fails if more rows than this are left out, of all its tables. Default: no limit.
    pub fn with_reject_limit(mut self, rows: u64) -> Self {
        self.reject_limit = Some(rows);
        self
    }

    /// How often a reader connects again, or reads a slice again under the same snapshot, after its
    /// connection was lost or temporarily refused ([`Error::is_transient`](crate::Error::is_transient)).
    /// Default: 3.
    ///
    /// The pauses in between grow from a tenth of a second to ten seconds and vary at random.
    pub fn with_retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// How long the server may send nothing, not one byte, while a session waits for it. Default: for ever,
    /// since a query that sorts sends nothing for a long time.
    ///
    /// After that, the run asks the server to cancel the query, and the export ends with
    /// [`ErrorKind::Connection`](crate::ErrorKind::Connection). Waiting for a lock does not count; see
    /// [`with_lock_timeout`](Self::with_lock_timeout).
    pub fn with_read_timeout(mut self, read_timeout: Duration) -> Self {
        self.read_timeout = Some(read_timeout);
        self
    }

    /// How long an export waits for the locks on its tables. Default: for ever, as other readers do.
    ///
    /// After that, it ends with SQLSTATE 55P03 and names the processes that have the tables locked.
    pub fn with_lock_timeout(mut self, lock_timeout: Duration) -> Self {
        self.lock_timeout = Some(lock_timeout);
        self
    }

    /// Runs as this role (`SET ROLE`), which the connection's user must be a member of. The exact name.
    pub fn with_role(mut self, role: impl Into<String>) -> Self {
        self.role = Some(role.into());
        self
    }

    /// Sets a parameter of the server's session, such as `work_mem` or `search_path`.
    ///
    /// Planning refuses parameters that would change values (`client_encoding`, `DateStyle`, `IntervalStyle`,
    /// `extra_float_digits`, `bytea_output`, `standard_conforming_strings`). The setting holds only for the
    /// transactions of the export (`SET LOCAL`).
    pub fn with_setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// The settings of the export's transactions.
    pub(crate) fn transaction_settings(&self) -> TransactionSettings<'_> {
        TransactionSettings {
            role: self.role.as_deref(),
            parameters: &self.settings,
            lock_timeout: self.lock_timeout,
        }
    }

    /// The memory limit in bytes: the chosen one, or a quarter of the machine's memory, at most 1 GiB; at
    /// most what runs share.
    pub fn memory_bytes(&self) -> usize {
        let of_run = self.memory.unwrap_or_else(|| memory_policy::default_limit(machine_memory()));
        self.shared_memory.as_ref().map_or(of_run, |shared| of_run.min(shared.limit()))
    }

    /// Only what sets up sessions: role, timeouts, settings, and memory. Types and how to read are the
    /// defaults.
    pub fn of_sessions(&self) -> Self {
        let Self { memory, shared_memory, read_timeout, lock_timeout, role, settings, .. } = self.clone();
        Self { memory, shared_memory, read_timeout, lock_timeout, role, settings, ..Self::default() }
    }

    /// How many readers there may be, before the number of slices is known.
    pub fn readers_wanted(&self) -> usize {
        memory_policy::readers_before_planning(self.readers, cores(), self.memory_bytes())
    }
}

/// How many threads run at a time. Asked once: it takes several files of the system.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Bytes of memory that this process may use: the machine's, or its control group's if that is less. Asked
/// once, too.
fn machine_memory() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(ask_machine_memory)
}

fn ask_machine_memory() -> usize {
    let of_machine = of_machine().unwrap_or(2 << 30);
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let of_group =
        limits.iter().filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok()).min();
    of_group.map_or(of_machine, |of_group: usize| of_group.min(of_machine))
}

#[cfg(target_os = "linux")]
fn of_machine() -> Option<usize> {
    let info = nix::sys::sysinfo::sysinfo().ok()?;
    usize::try_from(info.ram_total()).ok()
}

#[cfg(not(target_os = "linux"))]
fn of_machine() -> Option<usize> {
    None
}
