//! Servers that do not say whether pages can be read: rows come by COPY, unless the user asked for pages.

use std::sync::atomic::{AtomicBool, Ordering};

use pgarrow::{ErrorKind, ExportOptions, ReadMode, Slice, Source};
use pgarrow_testkit::{Capability, require};

use super::access::require_pages;
use super::{FUNCTION, all_pages, by, grant, inspected, pages, read, superuser, vacuum};
use crate::support::{Role, assert_error, source_as};

/// More than 1 MiB of rows that cost more by COPY than by the function.
const TABLE: &str = "CREATE TABLE e AS SELECT g AS a, g + 1 AS b, g + 2 AS c, g + 3 AS d, g + 4 AS e, g + 5 AS f \
                     FROM generate_series(1, 30000) AS g; ALTER TABLE e ADD COLUMN later int4 DEFAULT 7";

/// Reads it without asking for pages. Asserts that all rows come by COPY, with this reason.
#[track_caller]
fn assert_told(source: &Source, why: &str) {
    let (rows, report) = read(source.table("e").options(by(ReadMode::Auto))).unwrap();
    assert_eq!((rows.len(), pages(&report), report.read_mode), (30_000, (0, 0), ReadMode::Copy), "{why}");
    assert!(report.page_notes.len() == 1 && report.page_notes[0].contains(why), "{why}: {report:?}");
}

/// Opens a slice that was planned by pages, after `change`. Asserts that it comes by COPY, with this reason.
#[track_caller]
fn assert_slice_told(source: &Source, change: impl FnOnce(), why: &str) {
    let options =
        ExportOptions::default().with_read_mode(ReadMode::Pages).with_readers(2).with_slice_bytes(500_000);
    let mut run = source.table("e").options(options).open().unwrap();
    let slice: Slice = run.slices().unwrap().remove(0);
    assert_eq!(slice.read_mode, ReadMode::Pages);
    change();
    let is_read = AtomicBool::new(false);
    let (rows, report) = std::thread::scope(|scope| {
        let holding = scope.spawn(|| run.hold(|| !is_read.load(Ordering::SeqCst)));
        let read = read(source.slice(slice));
        is_read.store(true, Ordering::SeqCst);
        holding.join().unwrap().unwrap();
        read.unwrap()
    });
    assert!(!rows.is_empty() && pages(&report) == (0, 0));
    assert!(report.warnings.len() == 1 && report.warnings[0].contains(why), "{why}: {:?}", report.warnings);
}

#[test]
fn a_server_that_does_not_say_is_read_by_copy() {
    require_pages!();
    let database = inspected("unsaid", &format!("{TABLE}; {FUNCTION}"));
    vacuum(&database, "e");
    let role = Role::new(&database);
    database.execute(&format!("GRANT SELECT ON e TO \"{}\"", role.name));
    grant(&database, &role);
    let source = source_as(&database, &role.name);
    let (_, report) = read(source.table("e").options(by(ReadMode::Auto))).unwrap();
    assert!(all_pages(&report) > 128, "{report:?}");
    // An administrator revokes rights that everybody has. All but the last are needed before the queries
    // about the table.
    for (right, object) in [
        ("SELECT ON pg_catalog.pg_roles", "view pg_roles"),
        ("SELECT ON pg_catalog.pg_proc", "table pg_proc"),
        ("EXECUTE ON FUNCTION has_function_privilege(text, text)", "function has_function_privilege"),
        ("EXECUTE ON FUNCTION has_function_privilege(oid, text)", "function has_function_privilege"),
        ("EXECUTE ON FUNCTION array_send(anyarray)", "function array_send"),
    ] {
        let why = "the server does not say whether pages can be read: ";
        assert_slice_told(
            &source,
            || database.execute(&format!("REVOKE {right} FROM PUBLIC")),
            &format!("is read by COPY: {why}"),
        );
        assert_told(&source, why);
        assert_told(&source, &format!("permission denied for {object}"));
        // Many tables, too.
        let run = source.tables(["e"]).options(by(ReadMode::Auto)).open().unwrap();
        let report = run.for_each_with_plan(|_, _| Ok(())).unwrap();
        assert_eq!((report.rows, report.page_notes.len(), pages(&report)), (30_000, 1, (0, 0)));
        // With pages asked for, it is an error.
        let error = read(source.table("e").options(by(ReadMode::Pages))).unwrap_err();
        assert_error(&error, ErrorKind::Server, Some("42501"), &[object]);
        // Formerly, the status failed with this error instead of reporting it.
        if !right.contains("array_send") {
            let status = source.pages_status::<&str>(&[]).unwrap();
            assert!(!status.possible && status.why_not[0].contains(object), "{status:?}");
        }
        database.execute(&format!("GRANT {right} TO PUBLIC"));
    }
    // A right that only superusers need.
    database.execute("REVOKE SELECT ON pg_catalog.pg_depend FROM PUBLIC");
    let (_, report) = read(source.table("e").options(by(ReadMode::Auto))).unwrap();
    assert!(all_pages(&report) > 128, "{report:?}");
}

/// An extension whose library is missing or returns wrong pages.
#[test]
fn what_hands_out_pages_is_tried() {
    require_pages!();
    let database = inspected("tried", TABLE);
    vacuum(&database, "e");
    let source = superuser(&database);
    let (_, report) = read(source.table("e").options(by(ReadMode::Auto))).unwrap();
    assert!(all_pages(&report) > 128, "{report:?}");
    // The first 18 bytes of a header do not matter here.
    let page = |layout: &str, bytes: usize| {
        format!("decode(repeat('00', 18) || '{layout}' || repeat('00', {}), 'hex')", bytes - 20)
    };
    for (page, why) in [
        ("decode(to_hex(1 / (relname = '')::int), 'hex')".to_owned(), "hands out no page: "),
        (page("0420", 4096), "pages come with 4096 bytes, not 8192"),
        (page("2004", 8192), "the server is big-endian"),
        (page("0520", 8192), "another layout than version 4"),
    ] {
        database.execute(&format!(
            "CREATE OR REPLACE FUNCTION get_raw_page(relname text, fork text, blkno int8) RETURNS bytea \
             LANGUAGE sql AS $$SELECT {page}$$"
        ));
        assert_told(&source, why);
        assert!(source.pages_status::<&str>(&[]).unwrap().why_not[0].contains(why), "{why}");
        let error = read(source.table("e").options(by(ReadMode::Pages))).unwrap_err();
        assert_error(&error, ErrorKind::Options, None, &[why]);
    }
}
