//! What was typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::exit;
use crate::units::parse_bytes;

/// Data out of PostgreSQL into Arrow: Parquet files, Arrow IPC files and streams.
///
/// pgarrow reads a table or a query through COPY in one read-only transaction with one snapshot, and decodes it
/// straight into Arrow. An output appears only when all of it is there: an export that fails leaves no file behind.
#[derive(Debug, Parser)]
#[command(name = "pgarrow", version, max_term_width = 100, after_help = exit::help())]
pub(crate) struct Flags {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Export a table or a query
    #[command(after_help = exit::help(), after_long_help = after_export())]
    Export(Box<ExportFlags>),
    /// Show it on data made here: start a private PostgreSQL, load TPC-H, export it, check the files
    #[command(after_help = exit::help())]
    Demo(DemoFlags),
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write a page for every command into a folder
    Man {
        /// The folder; without it, the page of pgarrow goes to stdout
        dir: Option<PathBuf>,
    },
}

#[derive(Args, Debug)]
pub(crate) struct ExportFlags {
    /// Where from: postgres://USER@HOST/DB, or 'host=… dbname=…'. Default: the PG* environment
    ///
    /// A URI, key=value pairs or the name of a database, as psql takes them. What it leaves out comes from PGHOST,
    /// PGPORT, PGDATABASE, PGUSER, PGPASSWORD, PGSSLMODE and the other variables that psql knows, passwords also
    /// from ~/.pgpass. A password in a command line is visible to other users of this machine.
    pub(crate) connection: Option<String>,

    /// Export this table or view; a name is folded to lower case unless it is "quoted"
    #[arg(long, short, value_name = "[SCHEMA.]TABLE", help_heading = "What")]
    pub(crate) table: Option<String>,

    /// Export the rows of this query: one SELECT, VALUES, TABLE or WITH
    #[arg(long, short, value_name = "SQL", allow_hyphen_values = true, help_heading = "What")]
    pub(crate) query: Option<String>,

    /// Read the query from a file
    #[arg(long, value_name = "FILE", help_heading = "What")]
    pub(crate) query_file: Option<PathBuf>,

    /// Only these columns of the table, in this order, as in a,"B". Default: all
    #[arg(long, value_name = "LIST", help_heading = "What")]
    pub(crate) columns: Option<String>,

    /// Only the rows of the table for which this SQL condition holds
    #[arg(long = "where", value_name = "CONDITION", allow_hyphen_values = true, help_heading = "What")]
    pub(crate) filter: Option<String>,

    /// The value of the query's next parameter: the first is $1. Repeatable
    #[arg(long = "param", value_name = "VALUE", allow_hyphen_values = true, help_heading = "What")]
    pub(crate) params: Vec<String>,

    /// Where to: a file, or - for stdout
    #[arg(long, short, value_name = "PATH", help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,

    /// The format. Default: by the ending of PATH (.parquet; .arrow, .feather, .ipc; .arrows)
    #[arg(long, value_name = "FORMAT", help_heading = "Output")]
    pub(crate) to: Option<FormatName>,

    /// zstd, snappy, gzip, brotli, lz4, none; with a level as in zstd:3. Default: parquet zstd:1, ipc none
    ///
    /// Levels: zstd 1 to 22, gzip 0 to 9, brotli 0 to 11. Arrow IPC has zstd, lz4 and none, without levels.
    #[arg(long, value_name = "CODEC[:LEVEL]", help_heading = "Output")]
    pub(crate) compression: Option<String>,

    /// Rows of a Parquet row group at most. Default: 1048576; one also ends at 64 MiB
    #[arg(long, value_name = "ROWS", value_parser = at_least_one, help_heading = "Output")]
    pub(crate) row_group_rows: Option<usize>,

    /// Rows of a record batch at most. Default: 65536
    #[arg(long, value_name = "ROWS", value_parser = at_least_one, help_heading = "Output")]
    pub(crate) batch_rows: Option<usize>,

    /// Bytes of Arrow data from which on a batch is full, as in 512K or 8M. Default: 8M
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, help_heading = "Output")]
    pub(crate) batch_bytes: Option<usize>,

    /// Replace the output if it exists, at the end and at once; the report too
    #[arg(long, help_heading = "Output")]
    pub(crate) overwrite: bool,

    /// Write a report of the run to this file, as JSON
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) report: Option<PathBuf>,

    /// Say nothing but errors
    #[arg(long, short = 'Q', help_heading = "Output")]
    pub(crate) quiet: bool,

    /// Run as this role (SET ROLE); the exact name
    #[arg(long, value_name = "NAME", help_heading = "Session")]
    pub(crate) role: Option<String>,

    /// Set a parameter of the server's session, such as work_mem=256MB. Repeatable
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_setting, help_heading = "Session")]
    pub(crate) settings: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum FormatName {
    /// A Parquet file
    Parquet,
    /// An Arrow IPC file, also known as Feather 2
    Ipc,
    /// An Arrow IPC stream, fit for pipes
    IpcStream,
    /// Nothing: decode and discard, to measure
    None,
}

#[derive(Args, Debug)]
pub(crate) struct DemoFlags {
    /// How much data: 1 is 6 million lineitems, 1.3 GB from the server
    #[arg(long, value_name = "FACTOR", default_value_t = 0.1, value_parser = parse_scale)]
    pub(crate) scale: f64,

    /// The folder for the files. Default: pgarrow-demo, where files of an earlier demo are replaced
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// Replace lineitem.parquet and lineitem.arrow also in DIR
    #[arg(long, requires = "dir")]
    pub(crate) overwrite: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err("write a whole number from 1 on".to_owned()),
    }
}

fn parse_scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if (0.001..=100.0).contains(&scale) => Ok(scale),
        _ => Err("write a number from 0.001 to 100".to_owned()),
    }
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE, as in work_mem=256MB".to_owned()),
    }
}

fn after_export() -> String {
    format!("{EXAMPLES}\n\n{}", exit::help())
}

const EXAMPLES: &str = "\
Examples:
  A table to Parquet, and to an Arrow file:
    pgarrow export postgres://me@localhost/shop --table orders -o orders.parquet
    pgarrow export 'host=/var/run/postgresql dbname=shop' --table sales.orders -o orders.arrow

  Some of it, with a connection from PGHOST, PGDATABASE and PGUSER:
    pgarrow export --table orders --columns 'id,\"orderDate\",total' --where 'total > 100' -o some.parquet

  A query with a parameter, to another program:
    pgarrow export mydb --query 'select * from orders where placed >= $1' --param 2026-01-01 \\
        --to ipc-stream -o - | python3 -c 'import sys, pyarrow as pa; print(pa.ipc.open_stream(sys.stdin.buffer).read_all())'

  How fast is it without an output:
    pgarrow export mydb --table orders --to none";
