//! Flags that several commands have: what is read, how it is planned, and in which session.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use pgarrow::{Config, parse_column_list, parse_column_path};
use pgarrow_job::{PartitionBy, PartitionKey};
use pgarrow_sink::SinkError;
use pgarrow_sink_parquet::{ParquetColumnOptions, SortColumn};

use super::types::{name_and_choices, repeated};
use crate::units::{parse_batch_bytes, parse_duration, parse_memory, parse_size};

#[derive(Args, Debug)]
pub(crate) struct WhatFlags {
    /// The server to read: postgres://USER@HOST/DB, or 'host=… dbname=…'. Default: the PG* environment
    ///
    /// A URI, key=value pairs or the name of a database, as psql takes them. What it leaves out comes from
    /// PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD, PGSSLMODE and the other variables that psql knows,
    /// passwords also from ~/.pgpass. A password in a command line is visible to other users of this machine.
    pub(crate) connection: Option<String>,

    /// What to read: tables or views, as with --table
    #[arg(value_name = "TABLE")]
    pub(crate) named: Vec<String>,

    /// Export this table or view; a name is folded to lower case unless it is "quoted". Repeatable
    ///
    /// With * or ? it is a pattern, as psql takes it: 'sales.*' stands for all tables and materialized views
    /// of that schema, 'order_?' for those that the search path finds.
    #[arg(long = "table", short, value_name = "[SCHEMA.]TABLE", help_heading = "What")]
    pub(crate) tables: Vec<String>,

    /// Leave out tables that match this pattern, as in 'sales.tmp_*'. Repeatable
    #[arg(long = "exclude-table", value_name = "PATTERN", help_heading = "What")]
    pub(crate) excluded: Vec<String>,

    /// Export all tables and materialized views of this schema; the exact name. Repeatable
    #[arg(long = "schema", value_name = "NAME", help_heading = "What")]
    pub(crate) schemas: Vec<String>,

    /// Export the rows of this query: one SELECT, VALUES, TABLE or WITH
    #[arg(long, short, value_name = "SQL", allow_hyphen_values = true, help_heading = "What")]
    pub(crate) query: Option<String>,

    /// Read the query from a file
    #[arg(long, value_name = "FILE", help_heading = "What")]
    pub(crate) query_file: Option<PathBuf>,

    /// Read only these columns of the table, in this order, as in a,"B". Default: all
    #[arg(long, value_name = "LIST", help_heading = "What")]
    pub(crate) columns: Option<String>,

    /// Read only the table's own rows, not those of the tables that inherit from it
    #[arg(long, help_heading = "What")]
    pub(crate) only: bool,

    /// Read only the rows of the table for which this SQL condition holds
    #[arg(long = "where", value_name = "CONDITION", allow_hyphen_values = true, help_heading = "What")]
    pub(crate) filter: Option<String>,

    /// Read at most this many rows of one table or query: the first ones that come, by one connection
    #[arg(long, value_name = "ROWS", help_heading = "What")]
    pub(crate) limit: Option<u64>,

    /// The value of the next parameter of the query or of --where: the first is $1. Repeatable
    #[arg(long = "param", value_name = "VALUE", allow_hyphen_values = true, help_heading = "What")]
    pub(crate) params: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct ReadingFlags {
    /// Connections that read at once, under one snapshot. Default: one for each core, at most 8
    ///
    /// One more connection holds the snapshot, unless there is only one reader. There are never more readers
    /// than slices, nor more than --memory allows, at 8M each; one connection reads a standby.
    #[arg(long, value_name = "N", value_parser = super::at_least_one, help_heading = "Reading")]
    pub(crate) readers: Option<usize>,

    /// Memory for buffers, batches, row groups, as in 512M; from 16M. Default: 1/4 of the machine's, up to 1G
    ///
    /// At the limit readers wait: they stop receiving, and the server stops sending. The program itself, and
    /// memory that its allocator keeps, do not count.
    #[arg(long, value_name = "SIZE", value_parser = parse_memory, help_heading = "Reading")]
    pub(crate) memory: Option<usize>,

    /// Keep the order of the table's pages, or of the --split-on column
    ///
    /// The same rows then make the same file, with any number of readers (but with the same --memory). Costs
    /// memory and some speed.
    #[arg(long, help_heading = "Reading")]
    pub(crate) ordered: bool,

    /// Cut the rows by this column: for views, foreign tables, queries, which one connection reads otherwise
    ///
    /// The column is an integer, date, timestamp, uuid or text, best with an index. The exact name. Rows with
    /// NULL in it are read, too.
    #[arg(long, value_name = "COLUMN", help_heading = "Reading")]
    pub(crate) split_on: Option<String>,

    /// Bytes of a slice on disk, as in 32M. Default: from 64M down to 4M towards the end; 32M with --ordered
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Reading")]
    pub(crate) slice_bytes: Option<u64>,

    /// How to read rows. Default: auto
    ///
    /// Pages are for servers that you run yourself: see pgarrow pages --help. The summary, the report and
    /// pgarrow plan say what was read by pages, and why the rest was not.
    #[arg(long, value_name = "MODE", help_heading = "Reading")]
    pub(crate) read_mode: Option<ReadModeName>,

    /// Let each reader take its own snapshot where the server cannot share one; otherwise that is an error
    ///
    /// Rows that change meanwhile may then come from different moments, be missing, or appear twice.
    #[arg(long, help_heading = "Reading")]
    pub(crate) inconsistent: bool,
}

#[derive(Args, Debug)]
pub(crate) struct FileFlags {
    /// Give each field its number in PostgreSQL as Parquet field id
    ///
    /// For programs that find fields by id. The number is the column's attnum, or its place in a query. A
    /// field inside a column has the column's number times 100000 plus its own place in the column, from 1.
    #[arg(long, help_heading = "Output")]
    pub(crate) field_ids: bool,

    /// Start another file in a folder when one has this size, as in 256M. Default: never
    ///
    /// Files are somewhat larger: a file ends where a row group or a batch does.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Output")]
    pub(crate) file_size: Option<u64>,

    /// Files in a folder for each value, as in region,'year(at)': region=eu/at_year=2026/. Repeatable
    ///
    /// As Hive has it, for readers of such folders. Columns of booleans, integers, decimals, text, dates and
    /// uuid; or year, month, day and hour of dates and timestamps, in UTC for timestamps with time zone. A
    /// name is folded to lower case unless it is "quoted". NULL is __HIVE_DEFAULT_PARTITION__. Each reader
    /// writes files of its own; if memory is short, a partition goes on in another file. Of several tables,
    /// each must have the columns.
    #[arg(long, value_name = "LIST", value_parser = parse_partitions, help_heading = "Output")]
    pub(crate) partition_by: Vec<PartitionList>,

    /// Also write the columns that --partition-by puts into paths. Default: files have all but those
    ///
    /// Readers take their values and types from the path then: text that looks like a number becomes one. In
    /// the file they are exact. Columns of which paths have only parts are always there.
    #[arg(long, help_heading = "Output")]
    pub(crate) keep_partition_columns: bool,

    /// zstd, snappy, gzip, brotli, lz4, none; with a level as in zstd:3. Default: parquet zstd:1, ipc none
    ///
    /// Levels: zstd 1 to 22, gzip 0 to 9, brotli 0 to 11. Arrow IPC has zstd, lz4 and none, without levels.
    #[arg(long, value_name = "CODEC[:LEVEL]", help_heading = "Output")]
    pub(crate) compression: Option<String>,

    /// Most rows in a Parquet row group. Default: 1048576; a row group also ends at 64 MiB
    #[arg(long, value_name = "ROWS", value_parser = super::at_least_one, help_heading = "Output")]
    pub(crate) row_group_rows: Option<usize>,

    /// How a column is written to Parquet: encoding=plain,compression=zstd:9,bloom=0.01. Repeatable
    ///
    /// encoding: plain, dictionary, delta-binary-packed, delta-length-byte-array, delta-byte-array or
    /// byte-stream-split. dictionary: true or false. compression: as above. statistics: none, chunk or page.
    /// bloom: a bloom filter with this share of false positives; bloom-values: the most different values of a
    /// row group, by default its rows. A name is folded to lower case unless it is "quoted"; dots lead into
    /// structs, lists and maps, as in address.city or tags.list.element. With several tables, it holds for
    /// each that has the column.
    #[arg(long = "parquet-column", value_name = "NAME:KEY=VALUE", value_parser = parse_parquet_column, help_heading = "Output")]
    pub(crate) parquet_columns: Vec<(Vec<String>, ParquetColumnOptions)>,

    /// Write Parquet for readers that know version 1 of the format only
    ///
    /// Plain values in data pages V1, without dictionaries, in snappy unless --compression says gzip or none.
    /// Every type but uuid has its converted type. What such readers would take for something else is an
    /// error: timestamps in nanoseconds, unsigned integers of 32 and 64 bits (oid, xid8), half floats.
    #[arg(long, help_heading = "Output")]
    pub(crate) parquet_compat: bool,

    /// Put into the metadata of files where their rows come from, and when
    ///
    /// The database, the snapshot, the version of pgarrow, the id of the run, its start, and whether it was a
    /// table or a query; never a query's text. The table and the server's version are there anyway. Such
    /// files differ from run to run, also with --ordered.
    #[arg(long, help_heading = "Output")]
    pub(crate) origin: bool,

    /// Declare the order in which rows come, as in 'day desc, id', and check it: for Parquet's metadata
    ///
    /// Nothing is sorted: use ORDER BY in a query, or --ordered with --split-on. Rows of a row group that are
    /// in another order fail the run. Each column may have asc or desc, and nulls first or nulls last, as in
    /// ORDER BY. Text goes by its bytes, as in COLLATE "C", labels of enums as text. Floats, geometries and
    /// columns that are made of others are refused. A name is folded to lower case unless it is "quoted". Of
    /// several tables, each must have the columns.
    #[arg(long, value_name = "LIST", value_parser = parse_order, help_heading = "Output")]
    pub(crate) sorted_by: Option<SortedBy>,

    /// Most rows in a record batch. Default: 65536
    #[arg(long, value_name = "ROWS", value_parser = super::at_least_one, help_heading = "Output")]
    pub(crate) batch_rows: Option<usize>,

    /// Bytes of Arrow data at which a batch is full, as in 512K or 8M. Default: 8M
    #[arg(long, value_name = "BYTES", value_parser = parse_batch_bytes, help_heading = "Output")]
    pub(crate) batch_bytes: Option<usize>,
}

impl FileFlags {
    /// The name of a flag that is for Parquet alone, if one is given.
    pub(crate) fn of_parquet(&self) -> Option<&'static str> {
        let given = [
            ("row-group-rows", self.row_group_rows.is_some()),
            ("field-ids", self.field_ids),
            ("parquet-column", !self.parquet_columns.is_empty()),
            ("parquet-compat", self.parquet_compat),
            ("sorted-by", self.sorted_by.is_some()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
    }

    /// The name of a flag that is for files, and not for batches as such, if one is given.
    pub(crate) fn of_files(&self) -> Option<&'static str> {
        let given = [
            ("--compression", self.compression.is_some()),
            ("--row-group-rows", self.row_group_rows.is_some()),
            ("--file-size", self.file_size.is_some()),
            ("--partition-by", !self.partition_by.is_empty()),
            ("--keep-partition-columns", self.keep_partition_columns),
            ("--field-ids", self.field_ids),
            ("--parquet-column", !self.parquet_columns.is_empty()),
            ("--parquet-compat", self.parquet_compat),
            ("--origin", self.origin),
            ("--sorted-by", self.sorted_by.is_some()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
    }

    /// By what files are partitioned.
    pub(crate) fn partitions(&self) -> PartitionBy {
        let keys = self.partition_by.iter().flat_map(|PartitionList(keys)| keys.iter().cloned()).collect();
        PartitionBy { keys, keep_columns: self.keep_partition_columns }
    }

    /// The path of a column that has choices in two flags.
    pub(crate) fn repeated_column(&self) -> Option<String> {
        repeated(&self.parquet_columns).map(|path| path.join("."))
    }
}

/// `NAME:KEY=VALUE,…`.
fn parse_parquet_column(text: &str) -> Result<(Vec<String>, ParquetColumnOptions), String> {
    let form = "write NAME:KEY=VALUE, as in url:encoding=delta-byte-array";
    let (name, options) = name_and_choices(text).ok_or(form)?;
    let path = parse_column_path(name).map_err(|error| error.to_string())?;
    let options = options.parse().map_err(|error: SinkError| error.to_string())?;
    Ok((path, options))
}

/// A list of what to partition by.
#[derive(Clone, Debug)]
pub(crate) struct PartitionList(pub(crate) Vec<PartitionKey>);

/// `region,year(at)`.
fn parse_partitions(text: &str) -> Result<PartitionList, String> {
    PartitionKey::parse_list(text).map(PartitionList).map_err(|error| error.to_string())
}

/// The columns of an order.
#[derive(Clone, Debug)]
pub(crate) struct SortedBy(pub(crate) Vec<SortColumn>);

/// `a, "B" desc nulls first`, as in ORDER BY.
fn parse_order(text: &str) -> Result<SortedBy, String> {
    let mut is_quoted = false;
    let columns = text.split(|c| {
        is_quoted ^= c == '"';
        c == ',' && !is_quoted
    });
    columns.map(parse_sort_column).collect::<Result<_, _>>().map(SortedBy)
}

fn parse_sort_column(text: &str) -> Result<SortColumn, String> {
    let mut is_quoted = false;
    let end = text.trim_start().find(|c: char| {
        is_quoted ^= c == '"';
        c.is_whitespace() && !is_quoted
    });
    let (name, words) = text.trim_start().split_at(end.unwrap_or(text.trim_start().len()));
    let names = parse_column_list(name).map_err(|error| error.to_string())?;
    let [name] = <[String; 1]>::try_from(names).map_err(|_| format!("{name:?} is not one column"))?;
    let words: Vec<String> = words.split_whitespace().map(str::to_ascii_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (descending, nulls) = match words.as_slice() {
        ["desc", nulls @ ..] => (true, nulls),
        ["asc", nulls @ ..] | nulls => (false, nulls),
    };
    let nulls_first = match nulls {
        // As PostgreSQL has it: NULLs are larger than any value.
        [] => descending,
        ["nulls", "first"] => true,
        ["nulls", "last"] => false,
        _ => return Err(format!("{text:?}: write NAME, and asc or desc, and nulls first or nulls last")),
    };
    Ok(SortColumn::new(name).with_descending(descending).with_nulls_first(nulls_first))
}

#[derive(Args, Debug)]
pub(crate) struct RetryFlags {
    /// How often a reader that lost its connection reads its slice again. Default: 3
    ///
    /// It connects again and reads under the same snapshot. It also tries again when the server has no
    /// connection for it, or is starting up or shutting down. Other failures end the export at once: what the
    /// server refuses, values, outputs, timeouts. The pauses grow from 0.1 to 10 seconds.
    #[arg(long, value_name = "N", help_heading = "Reading")]
    pub(crate) retries: Option<u32>,
}

#[derive(Args, Debug)]
pub(crate) struct SessionFlags {
    /// Run as this role (SET ROLE); the exact name
    #[arg(long, value_name = "NAME", help_heading = "Session")]
    pub(crate) role: Option<String>,

    /// Set a parameter of the server's session, such as work_mem=256MB. Repeatable
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_setting, help_heading = "Session")]
    pub(crate) settings: Vec<(String, String)>,

    #[command(flatten)]
    pub(crate) connecting: ConnectFlags,

    /// How long the server may send nothing while the run waits for it, as in 10m. Default: for ever
    ///
    /// A query that sorts sends nothing for long, so choose a longer time. After this time, the run asks the
    /// server to cancel, and fails with exit code 3. TCP's keepalives notice a lost network without this
    /// option. Waiting for the locks of tables does not count; what COPY itself waits for does.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Session")]
    pub(crate) read_timeout: Option<Duration>,

    /// How long to wait for the locks that keep tables as they are, as in 30s. Default: for ever
    ///
    /// They are the weakest there are: they exclude only sessions that rewrite, truncate or drop a table.
    /// After this time, the run fails with exit code 4 and names the processes that hold locks on the tables.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Session")]
    pub(crate) lock_timeout: Option<Duration>,
}

#[derive(Args, Debug)]
pub(crate) struct ConnectFlags {
    /// How long connecting may take, as in 10s. Default: connect_timeout, PGCONNECT_TIMEOUT, or for ever
    ///
    /// Connecting covers the name, TCP, TLS and login. With several hosts and addresses, each has this time.
    /// If a server is starting up, or has no connection left, the run tries again until the time has passed;
    /// without a limit that is an error at once.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Session")]
    pub(crate) connect_timeout: Option<Duration>,
}

impl ConnectFlags {
    /// The connection, with the flags that were typed beside its string.
    pub(crate) fn applied_to(&self, connection: Config) -> Config {
        match self.connect_timeout {
            Some(time) => connection.with_connect_timeout(Some(time)),
            None => connection,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum ReadModeName {
    /// Pages where the server hands them out and they pay, otherwise COPY; SELECT if the server refuses COPY
    Auto,
    /// COPY in binary
    Copy,
    /// One SELECT, its rows in binary
    Select,
    /// A cursor: some thousand rows at a time
    Cursor,
    /// Pages of tables as they are stored, COPY for the rest; an error where the server hands out none
    Pages,
}

pub(super) fn parse_setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE, as in work_mem=256MB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_parquet_and_their_choices() {
        for (text, path) in [
            ("Url:encoding=plain", vec!["url"]),
            ("address . City : encoding=plain", vec!["address", "city"]),
            (r#""a:b.c".d:encoding=plain"#, vec!["a:b.c", "d"]),
            ("tags.list.element:encoding=plain", vec!["tags", "list", "element"]),
        ] {
            let (found, options) = parse_parquet_column(text).unwrap();
            assert_eq!(found, path);
            assert_eq!(options, "encoding=plain".parse().unwrap());
        }
        for (text, why) in [
            ("url", "write NAME:KEY=VALUE"),
            ("", "write NAME:KEY=VALUE"),
            (":encoding=plain", "empty"),
            ("a..b:encoding=plain", "empty"),
            ("\"a:encoding=plain", "NAME:KEY=VALUE"),
            ("a:plain", "write KEY=VALUE"),
            ("a:bloom=2", "between 0 and 1"),
        ] {
            let error = parse_parquet_column(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn orders() {
        let order = |text: &str| parse_order(text).unwrap().0;
        let a = || SortColumn::new("a");
        assert_eq!(order("A"), [a()]);
        assert_eq!(order(" a  ASC "), [a()]);
        assert_eq!(order("a nulls first"), [a().with_nulls_first(true)]);
        assert_eq!(order("a desc"), [a().with_descending(true).with_nulls_first(true)]);
        assert_eq!(order("a desc Nulls Last"), [a().with_descending(true)]);
        assert_eq!(
            order(r#"a asc nulls last,"B, ""desc"  DESC"#),
            [a(), SortColumn::new("B, \"desc").with_descending(true).with_nulls_first(true)]
        );
        for (text, why) in [
            ("", "empty"),
            ("a,", "empty"),
            (",a", "empty"),
            ("a down", "write NAME, and asc or desc"),
            ("a desc asc", "write NAME"),
            ("a nulls", "write NAME"),
            ("a nulls first desc", "write NAME"),
            ("\"a", "quote"),
        ] {
            let error = parse_order(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
