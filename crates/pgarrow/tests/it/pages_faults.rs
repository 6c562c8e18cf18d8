//! An export by pages when pages stop coming, or when another session wants the heap.

use std::cell::Cell;

use pgarrow::{ErrorKind, ExportOptions, ReadMode};
use pgarrow_testkit::{Capability, require};

use crate::pages_planning::{all_pages, by, inspected, pages, read, require_pages, vacuum};
use crate::render;
use crate::support::{Role, lines, server_text, source, source_as};

/// Replaces the function that an administrator installs, and fails from block 100 on.
const FUNCTION: &str = "CREATE SCHEMA pgarrow; \
    CREATE FUNCTION pgarrow.heap_page(relation oid, block bigint) RETURNS bytea LANGUAGE plpgsql SECURITY DEFINER \
      SET search_path = pg_catalog, pg_temp AS $$ \
    BEGIN \
      IF block >= 100 THEN RAISE 'no more pages' USING ERRCODE = 'XX000'; END IF; \
      RETURN public.get_raw_page(relation::regclass::text, 'main', block); \
    END $$; \
    REVOKE EXECUTE ON FUNCTION pgarrow.heap_page FROM PUBLIC";

/// Formerly, an export failed if the function failed or was removed meanwhile, although COPY could continue.
#[test]
fn where_the_server_hands_out_no_more_pages_the_rest_comes_by_copy() {
    require_pages!();
    let sql = format!(
        "{FUNCTION}; CREATE TABLE e AS SELECT g AS id, repeat('x', 200) AS t FROM generate_series(1, 12000) AS g; \
         UPDATE e SET t = 'new' WHERE id % 1000 = 0"
    );
    let database = inspected("refused", &sql);
    vacuum(&database, "e");
    // From here on not all pages are all-visible.
    database.execute("UPDATE e SET t = 'newer' WHERE id IN (1500, 1501, 2500)");
    let role = Role::new(&database);
    database.execute(&format!(
        "GRANT USAGE ON SCHEMA pgarrow TO \"{0}\"; GRANT EXECUTE ON FUNCTION pgarrow.heap_page TO \"{0}\"; \
         GRANT SELECT ON e TO \"{0}\"",
        role.name
    ));
    let source = source_as(&database, &role.name);
    for readers in [1, 3] {
        for batch_rows in [7, 1_000, 65_536] {
            let options = |mode| {
                let options = ExportOptions::default().with_read_mode(mode).with_readers(readers);
                options.with_batch_rows(batch_rows).with_order(true).with_slice_bytes(1 << 20)
            };
            let (by_copy, _) = read(source.table("e").options(options(ReadMode::Copy))).unwrap();
            let (by_pages, report) = read(source.table("e").options(options(ReadMode::Pages))).unwrap();
            assert_eq!(by_pages, by_copy, "{readers} {batch_rows}");
            let (n_read, n_copied) = pages(&report);
            assert!(n_read > 20 && n_copied > 100, "{:?}", report.pages);
            let warnings = lines(&report.warnings);
            assert!(warnings.contains("public.e: the server handed out no more pages"), "{warnings}");
        }
    }
}

/// `get_raw_page` locks the heap only while it reads a page: formerly, a REFRESH in between waited for the
/// export, and the export for the REFRESH. LOCK refuses materialized views.
#[test]
fn a_reader_of_a_materialized_view_has_a_lock_of_its_own() {
    require_pages!();
    let database = inspected(
        "matview",
        "CREATE MATERIALIZED VIEW e AS SELECT g AS id, repeat('x', 200) AS t FROM generate_series(1, 9000) AS g",
    );
    vacuum(&database, "e");
    let mut client = database.client();
    let n_locked = Cell::new(0);
    let mut batches = Vec::new();
    let source = source(&database);
    let options = by(ReadMode::Pages).with_batch_rows(100);
    let report = source
        .table("e")
        .options(options)
        .open()
        .unwrap()
        .for_each(|batch| {
            if batches.is_empty() {
                // The holder's session, and the session that reads.
                let sql =
                    "SELECT count(DISTINCT pid) FROM pg_locks WHERE relation = 'e'::regclass AND granted";
                n_locked.set(server_text(&mut client, sql)[0][0].as_deref().unwrap().parse().unwrap());
                let refreshed =
                    client.batch_execute("SET lock_timeout = '100ms'; REFRESH MATERIALIZED VIEW e");
                let code = refreshed.unwrap_err().code().unwrap().code().to_owned();
                assert_eq!(code, "55P03");
            }
            batches.push(batch);
            Ok(())
        })
        .unwrap();
    assert_eq!(n_locked.get(), 2);
    assert_eq!((render::rows(&batches).len(), all_pages(&report) > 200), (9_000, true));
}

/// A statement timeout of the server ends the export, also by pages.
#[test]
fn a_cancelled_query_is_no_reason_to_go_on_by_copy() {
    require_pages!();
    let database = inspected(
        "cancelled",
        "CREATE TABLE e AS SELECT g AS id, repeat('x', 200) AS t FROM generate_series(1, 3000) AS g",
    );
    vacuum(&database, "e");
    database
        .execute(&FUNCTION.replace("RAISE 'no more pages' USING ERRCODE = 'XX000'", "PERFORM pg_sleep(60)"));
    let role = Role::new(&database);
    database.execute(&format!(
        "GRANT USAGE ON SCHEMA pgarrow TO \"{0}\"; GRANT EXECUTE ON FUNCTION pgarrow.heap_page TO \"{0}\"; \
         GRANT SELECT ON e TO \"{0}\"; ALTER TABLE e SET (autovacuum_enabled = off)",
        role.name
    ));
    database.execute("UPDATE e SET t = 'x'; UPDATE e SET t = 'y'");
    vacuum(&database, "e");
    let source = source_as(&database, &role.name);
    let options = by(ReadMode::Pages).with_setting("statement_timeout", "500ms");
    let error = read(source.table("e").options(options)).unwrap_err();
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Server, Some("57014")), "{error}");
}
