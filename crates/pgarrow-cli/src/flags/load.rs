//! Flags of a load: files, a target, and how far the two may differ.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

use super::SessionFlags;
use super::examples::{LOCK_HELP, READ_HELP};
use super::shared::parse_setting;
use super::short::{LOAD_SHORT, at_the_end, in_short_help};
use crate::console::ProgressForm;

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("outputs").args(["report", "reject"]).multiple(true)))]
#[command(mut_args(|arg| in_short_help(arg, &LOAD_SHORT)))]
#[command(mut_arg("into", |into| into.required_unless_present("into_schema")))]
#[command(mut_arg("key", |key| key.num_args(1)))]
#[command(mut_arg("lock_timeout", |lock| lock.help(LOCK_HELP).long_help(LOCK_HELP)))]
#[command(mut_arg("read_timeout", |read| read.long_help(READ_HELP)))]
#[command(mut_arg("log_format", at_the_end))]
pub(crate) struct LoadFlags {
    /// Parquet files, Arrow IPC files and streams; a folder for all its files; - for an IPC stream on stdin
    ///
    /// Several files are loaded one after the other and must have the same columns. In a folder, files whose
    /// names begin with a dot or an underscore are left out. Files and folders of object stores are named by
    /// URLs: s3://BUCKET/…, gs://BUCKET/…, az://CONTAINER/…, with credentials from the environment. So are
    /// files of web servers that everybody may read: https://HOST/….
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Load only these columns of the data, as in a,"B". Default: all
    ///
    /// Names are as in SQL: folded to lower case unless they are "quoted". Other columns of the data are left
    /// out; columns of the table that are not named get their defaults. The columns that --reject adds to
    /// rejected rows are left out without this option.
    #[arg(long, value_name = "LIST", help_heading = "What")]
    pub(crate) columns: Option<String>,

    /// The format. Default: by FILE's ending (.parquet; .arrow, .feather, .ipc; .arrows), or its first bytes
    #[arg(long, value_name = "FORMAT", help_heading = "What")]
    pub(crate) format: Option<InputFormatName>,

    #[command(flatten)]
    pub(crate) into: IntoFlags,

    /// Load a folder of tables, each into the table of its name in this schema; the exact name
    ///
    /// A folder of an export or a job: what its manifest names is loaded, and nothing else. Or a plain folder
    /// with TABLE.parquet, TABLE.arrow and so on, and folders TABLE/ with files of one table: what stands
    /// before the ending is the exact name. The folder may be in an object store. All tables are one
    /// transaction of the target, or with --keep-going each is one.
    #[arg(long, conflicts_with = "into", value_name = "NAME", help_heading = "Target")]
    pub(crate) into_schema: Option<String>,

    /// With --into-schema: commit each table by itself, and go on when one fails: exit code 1. Default: all
    /// or nothing
    ///
    /// The report has the errors of tables that failed. What is about the server still ends the load; the
    /// tables that are loaded by then stay.
    #[arg(long, requires = "into_schema", help_heading = "Target")]
    pub(crate) keep_going: bool,

    /// Accepted only to explain its refusal: files have the names of types, and not what they consist of.
    #[arg(long, hide = true)]
    pub(crate) create_types: bool,

    #[command(flatten)]
    pub(crate) parts: PartFlags,

    /// Write a report of the load to this file, as JSON
    ///
    /// A load that fails writes a report, too: with status, exit_code, error (kind, sqlstate, text) and the
    /// server.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) report: Option<PathBuf>,

    /// Replace the report, and the file of rejected rows, if they exist
    #[arg(long, requires = "outputs", help_heading = "Output")]
    pub(crate) overwrite: bool,

    /// Print which field would become which column, and load nothing
    ///
    /// The load does everything up to the first row and takes it back: locks, --mode truncate, --mode create,
    /// --add-columns. It does not look at restart marks.
    #[arg(long, conflicts_with = "report", help_heading = "Output")]
    pub(crate) dry_run: bool,

    /// Print only errors
    #[arg(long, short = 'Q', help_heading = "Output")]
    pub(crate) quiet: bool,

    /// How to show the progress, on stderr
    #[arg(
        long,
        value_name = "FORM",
        default_value = "auto",
        hide_default_value = true,
        help_heading = "Output"
    )]
    pub(crate) progress: ProgressForm,

    #[command(flatten)]
    pub(crate) session: SessionFlags,
}

// Loads in parts, and rows that cannot be loaded.
#[derive(Args, Debug)]
pub(crate) struct PartFlags {
    /// Commit after every ROWS rows. Default: the whole load is one transaction
    ///
    /// Committed rows stay if the load fails, and the same command continues after them: each part also
    /// commits the number of rows done to the table pgarrow_load_marks beside the target, which the load
    /// creates if it is missing. No row is doubled or lost. Truncating or creating the table is part of the
    /// first transaction.
    #[arg(long, value_name = "ROWS", value_parser = rows, help_heading = "Parts and bad rows")]
    pub(crate) commit_every: Option<u64>,

    /// Load the rows under this key once. Default with --commit-every: made of table, files and columns
    ///
    /// A second load of the same rows under the same key continues where the first one ended, and does
    /// nothing if the first one was complete. The default key knows files by name, size and time of change;
    /// stdin needs a key. Without --commit-every, the load is one transaction that happens once, even if its
    /// outcome is unknown (exit code 9): start it again.
    #[arg(long, value_name = "KEY", help_heading = "Parts and bad rows")]
    pub(crate) restart_key: Option<String>,

    /// Leave out bad rows, and write them and the reasons to this Arrow IPC file. Default: one fails the load
    ///
    /// Bad rows are those with values that their columns cannot hold, and those that the server refuses for
    /// their data: constraints, triggers that raise, policies. The file has the columns of the data, and
    /// pgarrow_row (from 1), pgarrow_sqlstate and pgarrow_reason, which may quote values. It appears when the
    /// rows are committed, even if no row was bad. If a load with --commit-every fails, the file has the bad
    /// rows of the committed parts, and the same command adds the others. If all rows are bad, or each of the
    /// first 1,000, nothing is loaded, and the exit code is 4. When the rows are mended, load the file as it
    /// is: a load leaves out the columns that --reject added.
    #[arg(long, value_name = "FILE", help_heading = "Parts and bad rows")]
    pub(crate) reject: Option<PathBuf>,

    /// Fail if more rows are bad. Default: no limit, but a load fails if its first 1,000 rows are all bad
    #[arg(long, value_name = "ROWS", requires = "reject", help_heading = "Parts and bad rows")]
    pub(crate) reject_limit: Option<u64>,
}

// The same flags for an export, which refuses them and says why.
#[derive(Args, Debug)]
pub(crate) struct NoPartFlags {
    #[arg(long, value_name = "ROWS", hide = true)]
    commit_every: Option<String>,
    #[arg(long, value_name = "KEY", hide = true)]
    restart_key: Option<String>,
}

impl NoPartFlags {
    /// The name of an option that was given.
    pub(crate) fn any(&self) -> Option<&'static str> {
        let given =
            [("--commit-every", self.commit_every.is_some()), ("--restart-key", self.restart_key.is_some())];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
    }
}

impl PartFlags {
    /// The name of an option that was given.
    pub(crate) fn any(&self) -> Option<&'static str> {
        let given = [
            ("--commit-every", self.commit_every.is_some()),
            ("--restart-key", self.restart_key.is_some()),
            ("--reject", self.reject.is_some()),
            ("--reject-limit", self.reject_limit.is_some()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
    }
}

fn rows(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err("write a whole number from 1 on".to_owned()),
    }
}

// The target table, and how it is loaded.
#[derive(Args, Clone, Debug)]
pub(crate) struct IntoFlags {
    /// The server to load into: postgres://USER@HOST/DB, or 'host=… dbname=…'. Default: the PG* environment
    ///
    /// An export with a connection for its source needs this option as well.
    ///
    /// A URI, key=value pairs or the name of a database, as psql takes them. A password in a command line is
    /// visible to other users of this machine; ~/.pgpass and PGPASSWORD are not.
    #[arg(long, value_name = "CONNECTION", help_heading = "Target")]
    pub(crate) target: Option<String>,

    /// The table to load; a name is folded to lower case unless it is "quoted"
    #[arg(long, value_name = "[SCHEMA.]TABLE", help_heading = "Target")]
    pub(crate) into: Option<String>,

    #[command(flatten)]
    pub(crate) how: HowFlags,

    /// The columns of the rows' unique key, as in a,"B". Default: the primary key; to skip, any unique key
    ///
    /// With --mode create, and with --mode replace where there is no table yet: the primary key of the new
    /// table, which is made when all rows are there. An export may leave the list out: then it is the primary
    /// key of the table that is read, with its name.
    #[arg(long, value_name = "LIST", help_heading = "Target")]
    pub(crate) key: Option<Option<String>>,
}

// How tables are loaded, whatever they are.
#[derive(Args, Clone, Debug)]
pub(crate) struct HowFlags {
    /// What becomes of the table's rows, and whether the load creates the table. Default: append
    #[arg(long, value_name = "MODE", help_heading = "Target")]
    pub(crate) mode: Option<ModeName>,

    /// How rows reach the table. Default: copy
    #[arg(long, value_name = "HOW", help_heading = "Target")]
    pub(crate) method: Option<MethodName>,

    /// Connections that load at once, each by a COPY of its own. Default: 1
    ///
    /// The load is still all or nothing. Rows are committed to a table with a hidden name beside the target.
    /// At the end, that table takes the target's place (--mode create, replace), or one INSERT copies its
    /// rows into the target (all other modes; the server writes the rows twice). The role needs the right to
    /// CREATE in the target's schema, and the load needs one connection more. Rows come in any order. If a
    /// load is killed, its hidden table stays until the next load of the target with --writers or --mode
    /// replace removes it. Not with --commit-every, --restart-key, --reject and --ordered.
    #[arg(long, value_name = "N", value_parser = super::at_least_one, help_heading = "Target")]
    pub(crate) writers: Option<usize>,

    /// What becomes of a row whose key is already in the table. Default: error; update with --mode upsert
    ///
    /// With skip and update, rows go through a temporary table and one INSERT … ON CONFLICT.
    #[arg(long, value_name = "WHAT", help_heading = "Target")]
    pub(crate) on_conflict: Option<ConflictName>,

    /// How far the data's types may differ from the columns' types. Default: widen
    #[arg(long, value_name = "HOW", help_heading = "Target")]
    pub(crate) convert: Option<ConvertName>,

    /// Where a new table, or an added column, gets its types from. Default: metadata
    #[arg(long, value_name = "SOURCE", help_heading = "Target")]
    pub(crate) types_from: Option<TypesFromName>,

    /// What becomes of values for identity columns. Default: keep
    #[arg(long, value_name = "WHICH", help_heading = "Target")]
    pub(crate) identity: Option<IdentityName>,

    /// Add columns that the data have and the table lacks. Default: they are an error
    #[arg(long, help_heading = "Target")]
    pub(crate) add_columns: bool,

    /// Do not freeze the rows of a table that is made or emptied. Default: frozen where PostgreSQL allows it
    ///
    /// With --mode create, truncate and replace, one COPY WITH (FREEZE) leaves the pages as VACUUM would:
    /// no VACUUM has to write them again, and an export can read them as stored. But transactions whose
    /// snapshot is older than the load see its rows after the commit, which breaks the rules of MVCC.
    /// Never frozen, with or without this option: partitioned tables, several --writers, --commit-every,
    /// --reject, tables that are emptied together with others, rows that the server has to convert or
    /// merge, and tables with BEFORE triggers for rows.
    #[arg(long, help_heading = "Target")]
    pub(crate) no_freeze: bool,

    /// Run VACUUM on the table after the commit
    ///
    /// For rows that are not frozen: it marks their pages all-visible, so that an export can read them as
    /// stored. A failure is a warning, since the rows are committed. Without --lock-timeout, it waits 10
    /// s for the table's lock.
    #[arg(long, help_heading = "Target")]
    pub(crate) vacuum: bool,

    /// Do not run ANALYZE after the commit. Default: it runs where the planner knows little of the new rows
    ///
    /// That is after --mode create, truncate and replace, and after other loads of more rows than
    /// autovacuum's threshold for the table, unless autovacuum is off for it. A failure is a warning.
    #[arg(long, help_heading = "Target")]
    pub(crate) no_analyze: bool,
}

impl IntoFlags {
    /// The name of an option that was given.
    pub(crate) fn any(&self) -> Option<&'static str> {
        let given = [
            ("--target", self.target.is_some()),
            ("--into", self.into.is_some()),
            ("--key", self.key.is_some()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name).or_else(|| self.how.any())
    }
}

// What is said only of rows that come from a server.
#[derive(Args, Clone, Debug)]
pub(crate) struct CopyFlags {
    /// Make the enums, domains and composites that a new table needs, if the target lacks them
    ///
    /// With --mode create, and with --mode replace where there is no table yet. They are made in the schema
    /// of the new table if that is named by --into-schema, --into or into_schema, and otherwise in one of the
    /// same name as on the source. A type that is there and differs is an error. Checks and defaults of
    /// domains are taken over as the source prints them.
    #[arg(long, help_heading = "Target")]
    pub(crate) create_types: bool,

    /// Load as this role (SET ROLE); the exact name. From server to server
    #[arg(long, value_name = "NAME", help_heading = "Target")]
    pub(crate) target_role: Option<String>,

    /// Set a parameter of the target's session. From server to server. Repeatable
    #[arg(long = "target-set", value_name = "NAME=VALUE", value_parser = parse_setting, help_heading = "Target")]
    pub(crate) target_settings: Vec<(String, String)>,
}

impl CopyFlags {
    /// The name of an option that was given.
    pub(crate) fn any(&self) -> Option<&'static str> {
        let given = [
            ("--create-types", self.create_types),
            ("--target-role", self.target_role.is_some()),
            ("--target-set", !self.target_settings.is_empty()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
    }
}

impl HowFlags {
    /// The name of an option that was given.
    pub(crate) fn any(&self) -> Option<&'static str> {
        let given = [
            ("--mode", self.mode.is_some()),
            ("--method", self.method.is_some()),
            ("--writers", self.writers.is_some()),
            ("--on-conflict", self.on_conflict.is_some()),
            ("--convert", self.convert.is_some()),
            ("--types-from", self.types_from.is_some()),
            ("--identity", self.identity.is_some()),
            ("--add-columns", self.add_columns),
            ("--no-freeze", self.no_freeze),
            ("--vacuum", self.vacuum),
            ("--no-analyze", self.no_analyze),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum InputFormatName {
    /// Parquet files
    Parquet,
    /// Arrow IPC files, also known as Feather 2
    Ipc,
    /// Arrow IPC streams
    IpcStream,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum ModeName {
    /// The rows stay; the table must exist
    Append,
    /// TRUNCATE removes the rows, in the same transaction; the table must exist
    Truncate,
    /// The load creates the table from the schema of the data; it must not exist
    Create,
    /// The load fills a new table like this one, which takes its place at the end: the old rows are then gone
    Replace,
    /// The rows stay, except that a new row updates the row with the same key
    Upsert,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum MethodName {
    /// By COPY, which is the fastest
    Copy,
    /// By INSERT of many rows at once: for row security, for views, and for servers without COPY … FROM
    Insert,
    /// By COPY, and by INSERT where row security applies, or into a view
    Auto,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum ConflictName {
    /// The load fails
    Error,
    /// The row is left out, and counted
    Skip,
    /// The row in the table takes the new values; the same key twice in one load is an error
    Update,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum ConvertName {
    /// Only where no value of the field's type can be lost, as int32 to bigint
    Widen,
    /// Also where some values do not fit: each value is checked, and one that does not fit is an error
    Check,
    /// Like check, but digits that the column does not have are rounded away, as the server rounds
    Round,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum TypesFromName {
    /// From the metadata pg.* that exports write; from the Arrow types where there is none
    Metadata,
    /// From the Arrow types alone
    Arrow,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum IdentityName {
    /// The values are loaded as they are; the column's sequence does not advance
    Keep,
    /// The values are left out, and the server makes new ones
    Generate,
}
