//! Flags of `pgarrow pages`.

use clap::{Args, Subcommand};

use super::{ConnectFlags, after, short_end};
use crate::exit;

#[derive(Debug, Subcommand)]
pub(crate) enum PagesCommand {
    /// Show whether this role can read pages on this server, and of these tables, and every reason why not
    #[command(after_help = short_end("pages status"), after_long_help = exit::help())]
    Status(PagesStatusFlags),
    /// Install the function that hands out pages to roles that are not superusers, or print its SQL
    ///
    /// A superuser runs this once in each database, from PostgreSQL 14 on, with the extension pageinspect (of
    /// PostgreSQL's contrib) on the server. The SQL is one transaction; its comments say what the function
    /// gives, to whom, and what a table's pages hold beyond what SELECT shows. Installing again replaces the
    /// function, its owner and its rights for PUBLIC; rights that roles were granted stay.
    #[command(after_help = short_end("pages install"), after_long_help = after(INSTALL_EXAMPLES))]
    Install(PagesInstallFlags),
}

#[derive(Args, Debug)]
pub(crate) struct PagesStatusFlags {
    /// The server: postgres://USER@HOST/DB, or 'host=… dbname=…'. Default: the PG* environment
    pub(crate) connection: Option<String>,

    /// Check these tables, too: the same as --table
    #[arg(value_name = "TABLE")]
    pub(crate) named: Vec<String>,

    /// Check this table, too; a name is folded to lower case unless it is "quoted". Repeatable
    #[arg(long = "table", short, value_name = "[SCHEMA.]TABLE")]
    pub(crate) tables: Vec<String>,

    /// Print JSON
    ///
    /// An object with status_version (1), possible, source (pageinspect or function, if possible), automatic,
    /// why_not and tables; a table has table, possible, why_not, heaps, heaps_possible, pages and
    /// all_visible. Fields may be added within a version.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) connecting: ConnectFlags,
}

#[derive(Args, Debug)]
pub(crate) struct PagesInstallFlags {
    /// The server: postgres://USER@HOST/DB, or 'host=… dbname=…'. Default: the PG* environment
    pub(crate) connection: Option<String>,

    /// Let this role use the function; the exact name, and not public. Repeatable. Default: no further role
    #[arg(long = "to", value_name = "ROLE", conflicts_with = "remove")]
    pub(crate) roles: Vec<String>,

    /// Print the SQL with its explanations, and connect to no server
    #[arg(long)]
    pub(crate) print: bool,

    /// Remove what was installed
    #[arg(long)]
    pub(crate) remove: bool,

    #[command(flatten)]
    pub(crate) connecting: ConnectFlags,
}

const INSTALL_EXAMPLES: &str = "\
Examples:
  Read what it would do:
    pgarrow pages install --print --to reader | less

  Do it, for two roles:
    pgarrow pages install postgres://postgres@localhost/shop \\
        --to reader --to etl

  See what it has changed for one of them:
    pgarrow pages status postgres://reader@localhost/shop orders";
