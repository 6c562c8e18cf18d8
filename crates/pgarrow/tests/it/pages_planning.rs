//! Which tables are read by pages: which roles may ask for pages, how heaps store columns, and that every
//! reason against pages is reported. `pages_equality` compares the values with COPY.

mod access;
mod layouts;
mod refusals;
mod worth;

pub(crate) use access::require_pages;
use pgarrow::{Error, ExportOptions, Extract, ReadMode, Report, Source, TablePages};
use pgarrow_testkit::Database;

use crate::render;
use crate::support::{Role, database, lines, server_text, source, wait_until};

pub(crate) type Rows = Vec<Vec<Option<String>>>;

/// A database with pageinspect, and what `sql` makes in it.
pub(crate) fn inspected(hint: &str, sql: &str) -> Database {
    let database = database(hint, "CREATE EXTENSION pageinspect");
    database.execute(sql);
    database
}

pub(crate) fn by(read_mode: ReadMode) -> ExportOptions {
    ExportOptions::default().with_read_mode(read_mode).with_readers(1)
}

/// The rows in order, and the report.
pub(crate) fn read(extract: Extract) -> Result<(Rows, Report), Error> {
    let mut batches = Vec::new();
    let report = extract.open()?.for_each(|batch| {
        batches.push(batch);
        Ok(())
    })?;
    Ok((render::rows(&batches), report))
}

/// How many pages were decoded as stored, and how many were asked for but came by COPY.
pub(crate) fn pages(report: &Report) -> (u64, u64) {
    report.pages.as_ref().map_or((0, 0), |pages| (pages.read, pages.copied))
}

/// How many pages were decoded as stored. Asserts that none came by COPY.
#[track_caller]
pub(crate) fn all_pages(report: &Report) -> u64 {
    let (n_read, n_copied) = pages(report);
    assert_eq!(n_copied, 0, "{:?}, {:?}", report.pages, report.page_notes);
    n_read
}

/// Reads a table by pages and by COPY with the source's role. Asserts equal rows and returns the report of
/// the pages.
#[track_caller]
pub(crate) fn both(source: &Source, table: &str) -> Report {
    let (by_copy, _) = read(source.table(table).options(by(ReadMode::Copy))).unwrap();
    let (by_pages, report) = read(source.table(table).options(by(ReadMode::Pages))).unwrap();
    assert_eq!(by_pages, by_copy, "{table}: {report:?}");
    report
}

/// Asserts that a table is read by COPY, for this reason.
#[track_caller]
pub(crate) fn assert_copied(source: &Source, table: &str, why: &str) {
    let report = both(source, table);
    assert_eq!((pages(&report), report.read_mode), ((0, 0), ReadMode::Copy), "{table}: {report:?}");
    let notes = lines(&report.page_notes);
    assert!(notes.contains(why), "{table}: {why:?} is missing in: {notes}");
}

/// The status of one table.
#[track_caller]
pub(crate) fn status(source: &Source, table: &str) -> TablePages {
    source.pages_status(&[table]).unwrap().tables.pop().unwrap()
}

/// Vacuums tables until all their pages are all-visible: a backend of another test that starts meanwhile can
/// prevent that.
#[track_caller]
pub(crate) fn vacuum(database: &Database, tables: &str) {
    let names = tables.replace(", ", "','");
    let sql = format!(
        "SELECT count(*) FROM unnest(ARRAY['{names}']::regclass[]) AS t(oid) \
         CROSS JOIN LATERAL (SELECT t.oid UNION SELECT relid FROM pg_partition_tree(t.oid)) AS l(oid) \
         JOIN pg_class c ON c.oid = l.oid \
         WHERE c.relkind <> 'p' AND c.relallvisible <> pg_relation_size(c.oid) / 8192"
    );
    let mut client = database.client();
    wait_until("all pages are all-visible", || {
        client.batch_execute(&format!("VACUUM {tables}")).unwrap();
        server_text(&mut client, &sql)[0][0].as_deref() == Some("0")
    });
}

/// A function that hands out pages, in place of the one that an administrator installs. It hands out all
/// pages, since this is not its test.
const FUNCTION: &str = "CREATE SCHEMA pgarrow; \
    CREATE FUNCTION pgarrow.heap_page(relation oid, block bigint) RETURNS bytea LANGUAGE sql SECURITY DEFINER \
      SET search_path = pg_catalog, pg_temp \
      AS $$SELECT public.get_raw_page(relation::regclass::text, 'main', block)$$; \
    REVOKE EXECUTE ON FUNCTION pgarrow.heap_page FROM PUBLIC";

/// Lets a role use the function.
fn grant(database: &Database, role: &Role<'_>) {
    database.execute(&format!(
        "GRANT USAGE ON SCHEMA pgarrow TO \"{0}\"; GRANT EXECUTE ON FUNCTION pgarrow.heap_page TO \"{0}\"",
        role.name
    ));
}

/// What the server prints for a table, in the order of its pages.
fn printed(database: &Database, list: &str, table: &str) -> Rows {
    server_text(&mut crate::support::oracle(database), &format!("SELECT {list} FROM {table}"))
}

/// A source with the superuser's role.
fn superuser(database: &Database) -> Source {
    source(database)
}
