//! What a load is made of: files, a target, and how far the two may differ.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

use super::SessionFlags;

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("outputs").args(["report", "reject"]).multiple(true)))]
pub(crate) struct LoadFlags {
    /// Parquet files, Arrow IPC files and streams; a folder for all the files in it; - for an IPC stream from stdin
    ///
    /// Several are loaded one after the other and must have the same columns. Of a folder, names that begin with a dot or an
    /// underscore are left out.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Load only these columns of the data, as in a,"B". Default: all
    ///
    /// Names are as in SQL: folded to lower case unless they are "quoted". The others are left out; columns of the table
    /// that are not named have their defaults. What a load has added to the rows of --reject is left out by itself.
    #[arg(long, value_name = "LIST", help_heading = "What")]
    pub(crate) columns: Option<String>,

    /// The format. Default: by the ending of FILE (.parquet; .arrow, .feather, .ipc; .arrows), or its first bytes
    #[arg(long, value_name = "FORMAT", help_heading = "What")]
    pub(crate) format: Option<InputFormatName>,

    #[command(flatten)]
    pub(crate) into: IntoFlags,

    #[command(flatten)]
    pub(crate) parts: PartFlags,

    /// Write a report of the load to this file, as JSON
    ///
    /// Also of one that fails: with status, exit_code, error (kind, sqlstate, text) and the server.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) report: Option<PathBuf>,

    /// Replace the report, and the file of rejected rows, if they exist
    #[arg(long, requires = "outputs", help_heading = "Output")]
    pub(crate) overwrite: bool,

    /// Print what would be made of what, and load nothing
    ///
    /// Everything up to the first row is done, and taken back: locks, --mode truncate, --mode create, --add-columns. Restart
    /// marks are not looked at.
    #[arg(long, conflicts_with = "report", help_heading = "Output")]
    pub(crate) dry_run: bool,

    /// Say nothing but errors
    #[arg(long, short = 'Q', help_heading = "Output")]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) session: SessionFlags,
}

/// What is loaded when not all of it can be, or not at once.
#[derive(Args, Debug)]
pub(crate) struct PartFlags {
    /// Commit after so many rows, and again. Default: all of the load is one transaction
    ///
    /// What is committed stays if the load fails, and the same command goes on behind it: with each part, the number of
    /// rows that are done is committed to the table pgarrow_load_marks beside the target, which is made if it is missing. No
    /// row is doubled or lost. Truncating the table, or making it, is part of the first transaction.
    #[arg(long, value_name = "ROWS", value_parser = rows, help_heading = "Parts and bad rows")]
    pub(crate) commit_every: Option<u64>,

    /// What is loaded under this key is loaded once. Default with --commit-every: made of the table, the files and the columns
    ///
    /// A second load of the same rows under the same key goes on where the first one has ended, and does nothing if that
    /// was complete. Files are known by name, size and time of change; stdin needs a key. Without --commit-every, the
    /// load is one transaction that happens once, also if nobody knows what became of it (exit code 9): start it again.
    #[arg(long, value_name = "KEY", help_heading = "Parts and bad rows")]
    pub(crate) restart_key: Option<String>,

    /// Leave out the rows that cannot be loaded, and write them to this Arrow IPC file with the reasons. Default: one fails the load
    ///
    /// Bad are values that their columns cannot hold, and rows that the server refuses for their data: constraints, triggers
    /// that raise, policies. The file has the columns of the data, and pgarrow_row (from 1), pgarrow_sqlstate and
    /// pgarrow_reason, which may quote values. It appears when the rows are committed, also if none was bad. If a load with
    /// --commit-every fails, it has the bad rows of the parts that are committed, and the same command adds the others.
    /// If all rows are bad, or each of the first 1,000, nothing is loaded, and the exit code is 4. When they are mended, the
    /// file is loaded as it is: the columns behind are left out.
    #[arg(long, value_name = "FILE", help_heading = "Parts and bad rows")]
    pub(crate) reject: Option<PathBuf>,

    /// Fail if more rows than these are bad. Default: no limit, but for a load whose first 1,000 rows are all bad
    #[arg(long, value_name = "ROWS", requires = "reject", help_heading = "Parts and bad rows")]
    pub(crate) reject_limit: Option<u64>,
}

/// The same typed at an export, which cannot have them. Whoever looks for them is told why.
#[derive(Args, Debug)]
pub(crate) struct NoPartFlags {
    #[arg(long, value_name = "ROWS", hide = true)]
    commit_every: Option<String>,
    #[arg(long, value_name = "KEY", hide = true)]
    restart_key: Option<String>,
    #[arg(long, value_name = "FILE", hide = true)]
    reject: Option<String>,
    #[arg(long, value_name = "ROWS", hide = true)]
    reject_limit: Option<String>,
}

impl NoPartFlags {
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

/// Which table, and how it is loaded.
#[derive(Args, Debug)]
pub(crate) struct IntoFlags {
    /// The server that is loaded: postgres://USER@HOST/DB, or 'host=… dbname=…'. Default: the PG* environment
    ///
    /// An export that is given a connection for its source has to be given this as well.
    ///
    /// A URI, key=value pairs or the name of a database, as psql takes them. A password in a command line is visible to
    /// other users of this machine; ~/.pgpass and PGPASSWORD are not.
    #[arg(long, value_name = "CONNECTION", help_heading = "Target")]
    pub(crate) target: Option<String>,

    /// The table that is loaded; a name is folded to lower case unless it is "quoted"
    #[arg(long, value_name = "[SCHEMA.]TABLE", help_heading = "Target")]
    pub(crate) into: Option<String>,

    /// What becomes of the rows that the table has, and whether it is made. Default: append
    #[arg(long, value_name = "MODE", help_heading = "Target")]
    pub(crate) mode: Option<ModeName>,

    /// How rows reach the table. Default: copy
    #[arg(long, value_name = "HOW", help_heading = "Target")]
    pub(crate) method: Option<MethodName>,

    /// Connections that load at once, each by a COPY of its own. Default: 1
    ///
    /// Still all or nothing: rows are committed to a table beside the target that has a hidden name, which at the end takes the
    /// target's place (--mode create, replace), or whose rows one INSERT brings on (all other modes, where the
    /// server writes them twice). It needs the right to CREATE in the target's schema, and one connection more. Rows come in any
    /// order. What a load that was killed has left there, the next one into the table with --writers or --mode replace removes.
    /// Not with --commit-every, --restart-key, --reject and --ordered.
    #[arg(long, value_name = "N", value_parser = super::at_least_one, help_heading = "Target")]
    pub(crate) writers: Option<usize>,

    /// What becomes of a row whose key the table has already. Default: error; update with --mode upsert
    ///
    /// With skip and update, rows go through a temporary table and one INSERT … ON CONFLICT.
    #[arg(long, value_name = "WHAT", help_heading = "Target")]
    pub(crate) on_conflict: Option<ConflictName>,

    /// The columns of the unique key that tells rows apart, as in a,"B". Default: the primary key; to skip, any unique key
    #[arg(long, value_name = "LIST", help_heading = "Target")]
    pub(crate) key: Option<String>,

    /// How far types may differ from the columns'. Default: widen
    #[arg(long, value_name = "HOW", help_heading = "Target")]
    pub(crate) convert: Option<ConvertName>,

    /// Where a table that is made, or a column that is added, has its types from. Default: metadata
    #[arg(long, value_name = "SOURCE", help_heading = "Target")]
    pub(crate) types_from: Option<TypesFromName>,

    /// What becomes of values for identity columns. Default: keep
    #[arg(long, value_name = "WHICH", help_heading = "Target")]
    pub(crate) identity: Option<IdentityName>,

    /// Add columns that the data have and the table lacks. Default: that is an error
    #[arg(long, help_heading = "Target")]
    pub(crate) add_columns: bool,
}

impl IntoFlags {
    /// The name of an option that was given.
    pub(crate) fn any(&self) -> Option<&'static str> {
        let given = [
            ("--target", self.target.is_some()),
            ("--into", self.into.is_some()),
            ("--mode", self.mode.is_some()),
            ("--method", self.method.is_some()),
            ("--writers", self.writers.is_some()),
            ("--on-conflict", self.on_conflict.is_some()),
            ("--key", self.key.is_some()),
            ("--convert", self.convert.is_some()),
            ("--types-from", self.types_from.is_some()),
            ("--identity", self.identity.is_some()),
            ("--add-columns", self.add_columns),
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
    /// They stay; the table must be there
    Append,
    /// They are removed by TRUNCATE, in the same transaction; the table must be there
    Truncate,
    /// The table is made from the schema of the data; it must not be there
    Create,
    /// They are gone when all is loaded: rows go into a new table like this one, which takes its place at the end
    Replace,
    /// They stay, but for those whose key a new row has: these become that row
    Upsert,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum MethodName {
    /// By COPY, which is the fastest
    Copy,
    /// By INSERT of many rows at once: for row security, for views, and for servers without COPY … FROM
    Insert,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum ConflictName {
    /// The load fails
    Error,
    /// It is left out, and counted
    Skip,
    /// The row that is there takes its values; the same key twice in one load is an error
    Update,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum ConvertName {
    /// Only where no value of the field's type can be lost, as int32 to bigint
    Widen,
    /// Also where some values do not fit, and each is looked at: one that does not is an error
    Check,
    /// Digits that the column does not have are rounded away, too, as the server rounds; all else is an error
    Round,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum TypesFromName {
    /// From what exports note in the metadata pg.*; from the Arrow types where there are none
    Metadata,
    /// From the Arrow types alone
    Arrow,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum IdentityName {
    /// They are loaded as they are; the column's sequence does not learn of them
    Keep,
    /// They are left out, and the server makes new ones
    Generate,
}
