//! Flags of `pgarrow pages`.

use clap::{Args, Subcommand};

use super::{ConnectFlags, after, short_end};
use crate::exit;

#[derive(Debug, Subcommand)]
pub(crate) enum PagesCommand {
    /// Say whether this role can read pages on this server, of these tables, and every reason why not
    #[command(after_help = short_end("pages status"), after_long_help = exit::help())]
    Status(PagesStatusFlags),
    /// Install the function that hands out pages to roles that are no superusers; or print its SQL
    ///
    /// Run by a superuser, once in each database, from PostgreSQL 14 on, with the extension pageinspect (of PostgreSQL's
    /// contrib) on the server. The SQL is one transaction; its comments say what the function gives, to whom, and what
    /// of a table's pages remains visible beyond what SELECT shows. Installing again replaces the function, its owner and
    /// its rights for PUBLIC; what roles were granted stays.
    #[command(after_help = short_end("pages install"), after_long_help = after(INSTALL_EXAMPLES))]
    Install(PagesInstallFlags),
}

#[derive(Args, Debug)]
pub(crate) struct PagesStatusFlags {
    /// Where: postgres://USER@HOST/DB, or 'host=… dbname=…'. Default: the PG* environment
    pub(crate) connection: Option<String>,

    /// Also of these tables: the same as --table
    #[arg(value_name = "TABLE")]
    pub(crate) named: Vec<String>,

    /// Also of this table; a name is folded to lower case unless it is "quoted". Repeatable
    #[arg(long = "table", short, value_name = "[SCHEMA.]TABLE")]
    pub(crate) tables: Vec<String>,

    /// Print JSON
    ///
    /// An object with status_version (1), possible, source (pageinspect or function, if possible), automatic, why_not and
    /// tables; a table has table, possible, why_not, heaps, heaps_possible, pages and all_visible. Fields may be added
    /// within a version.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) connecting: ConnectFlags,
}

#[derive(Args, Debug)]
pub(crate) struct PagesInstallFlags {
    /// Where: postgres://USER@HOST/DB, or 'host=… dbname=…'. Default: the PG* environment
    pub(crate) connection: Option<String>,

    /// Let this role use the function; the exact name, and not public. Repeatable. Default: nobody more than before
    #[arg(long = "to", value_name = "ROLE", conflicts_with = "remove")]
    pub(crate) roles: Vec<String>,

    /// Print the SQL, with what there is to know of it, and connect to nothing
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
