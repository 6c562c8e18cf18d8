//! `Job`: which tables, how, and into what files.

use pgarrow_export::{
    Error, ErrorKind, ExportOptions, Hint, Memory, Result, SharedSnapshot, message, option,
};
use pgarrow_store::Store;

use crate::format::Format;
use crate::layout::Layout;
use crate::partition::PartitionBy;
use crate::rules::TableRule;
use crate::subject::JobQuery;

/// What a run does: which tables, how, and into what files.
#[derive(Clone, Debug)]
pub struct Job {
    /// Names and patterns of tables, as psql takes them.
    pub tables: Vec<String>,
    /// Patterns of what to leave out.
    pub exclude_tables: Vec<String>,
    /// What is said of single tables. Where two rules say something about the same, the later one wins.
    pub rules: Vec<TableRule>,
    /// Queries beside the tables, under the same snapshot.
    pub queries: Vec<JobQuery>,
    /// Whether each table is read without the tables that inherit from it, which are read by themselves.
    pub only: bool,
    /// How to read.
    pub options: ExportOptions,
    /// What files are.
    pub format: Format,
    /// Their names.
    pub layout: Layout,
    /// By what files are partitioned, unless a rule says something else of their table.
    pub partition_by: PartitionBy,
    /// The bytes at which a file is complete and the table's next one begins; `None`: a file for each table.
    pub file_bytes: Option<u64>,
    /// Whether there is a `_SUCCESS` at the end.
    pub success_file: bool,
    /// Whether what was written is compared with the server before it is committed, under the run's snapshot.
    pub verify: bool,
    /// Whether the metadata of files say where rows come from, see [`Origin`](crate::Origin).
    pub origin: bool,
}

/// How a run treats what earlier ones have left.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// The place of a dead run is taken, whose lock is still there.
    pub take_over: bool,
    /// As before; and the tables that the dead run has complete are kept, if that is possible. If this run
    /// fails, its own complete tables stay for the next one.
    pub resume: bool,
    /// All tables are read under this snapshot, which another session holds.
    pub snapshot: Option<SharedSnapshot>,
    /// Kept tables may be of another moment than those that are read now.
    pub allow_mixed_snapshots: bool,
    /// All rows of all tables are read, also where only new ones would be.
    pub full: bool,
    /// A table that cannot be read does not end the run: the others are committed without it.
    pub keep_going: bool,
}

impl Job {
    /// The options without the memory that files take up on their way to a store.
    pub(crate) fn options_for(&self, store: &Store) -> Result<ExportOptions> {
        let (memory, of_file) = (self.options.memory_bytes(), store.file_memory_bytes());
        // A file for each reader, one whose last slice is read elsewhere, and one of the widest table.
        let n_files = self.options.readers_wanted().saturating_add(2);
        let on_their_way = of_file.saturating_mul(n_files);
        match memory.checked_sub(on_their_way) {
            Some(memory) if of_file > 0 && memory >= Memory::MIN_BYTES => {
                Ok(self.options.clone().with_memory(memory))
            }
            _ if of_file == 0 => Ok(self.options.clone()),
            _ => {
                let needed = on_their_way.saturating_add(Memory::MIN_BYTES);
                let text = format!(
                    "{n_files} files at a time take {} MiB on their way to {}, which leaves too little for reading",
                    on_their_way >> 20,
                    store.location()
                );
                let advice = message![
                    "allow more (",
                    Hint::memory(needed),
                    "), or fewer readers (",
                    option::READERS,
                    ")"
                ];
                Err(Error::new(ErrorKind::Options, text).advice(advice))
            }
        }
    }

    pub(crate) fn check_layout(&self) -> Result<()> {
        if self.file_bytes.is_some() && !self.layout.has_index() {
            let text = "a table may have several files, and their names no {index}; add it to the template";
            return Err(Error::new(ErrorKind::Options, text));
        }
        let of_rules = |rule: &TableRule| rule.partition_by.as_ref().is_some_and(|keys| !keys.is_empty());
        let has_partitions = self.partition_by.is_some() || self.rules.iter().any(of_rules);
        if has_partitions && self.options.is_ordered() {
            let text =
                "the order of all rows is kept, and partitions put them into other files; leave one out";
            return Err(Error::new(ErrorKind::Options, text));
        }
        if has_partitions && !(self.layout.has_index() && self.layout.has_folder_of_table()) {
            let text = "partitions are folders in a table's own folder, and have numbered files; write a template with \
                        {table} before a / and {index} behind it";
            return Err(Error::new(ErrorKind::Options, text));
        }
        Ok(())
    }
}
