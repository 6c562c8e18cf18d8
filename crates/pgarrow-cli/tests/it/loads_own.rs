//! Exports into the very table that they read: what would wait for itself is refused at once, and the rest
//! works.

use pgarrow_testkit::{Capability, TestServer, require};

use crate::support::{Place, Ran, end_of, start};

/// A tree of tables, each with rows, and a table and view beside.
const TREE: &str = "CREATE TABLE t (x int8, y text) PARTITION BY LIST (x); \
    CREATE TABLE t_1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE t_2 PARTITION OF t FOR VALUES IN (2); \
    CREATE TABLE plain (x int8 PRIMARY KEY, y text); CREATE TABLE other (x int8, y text); \
    CREATE VIEW v AS SELECT x, y FROM plain; \
    CREATE MATERIALIZED VIEW m AS SELECT 1::int8 AS x, 'm'::text AS y; \
    INSERT INTO t VALUES (1, 'a'), (2, 'b'), (2, 'c'); INSERT INTO plain VALUES (1, 'a'), (2, 'b'), (3, 'c')";

/// `pgarrow export URL … --to postgres --target URL …`. The time limit ends an export that waits for itself.
fn export(place: &Place, args: &[&str]) -> Ran {
    let mut command = place.export_command(args);
    command.args(["--to", "postgres", "--target", place.database.url()]);
    end_of(start(&mut command), 100)
}

fn rows(place: &Place, table: &str) -> String {
    let sql = format!("SELECT coalesce(string_agg(x || y, ' ' ORDER BY x, y), '-') FROM {table}");
    place.database.client().query_one(&sql, &[]).unwrap().get(0)
}

/// Before, all of these hung, and so did all other readers of the table.
#[test]
fn what_would_wait_for_itself_is_told_at_once() {
    require!(Capability::Server);
    let place = Place::new("load_own");
    place.database.execute(TREE);
    let distinct = "select distinct * from plain";
    let wide = "select *, 1 as z from plain";
    for (what, into, how, reads) in [
        (
            &["-q", distinct][..],
            "plain",
            &["--mode", "truncate"][..],
            "public.plain is read by this very export,",
        ),
        (&["-q", distinct], "plain", &["--mode", "truncate", "--dry-run"], "public.plain is read"),
        (&["-t", "plain"], "plain", &["--mode", "truncate"], "public.plain is read"),
        (
            &["-t", "plain"],
            "public.plain",
            &["--mode", "truncate", "--method", "insert"],
            "public.plain is read",
        ),
        (&["-q", wide], "plain", &["--add-columns"], "--add-columns would wait"),
        (&["-q", wide], "plain", &["--add-columns", "--dry-run"], "--add-columns would wait"),
        (&["-q", wide], "plain", &["--add-columns", "--mode", "upsert"], "--add-columns would wait"),
        (&["-t", "plain"], "plain", &["--mode", "truncate", "--writers", "2"], "public.plain is read"),
        // Truncating a table empties its partitions, too, and reading it reads them.
        (
            &["-t", "t_2"],
            "t",
            &["--mode", "truncate"],
            "public.t is read by this very export (of it, public.t_2)",
        ),
        (&["-t", "t"], "t_1", &["--mode", "truncate"], "public.t_1 is read"),
        (&["-t", "t"], "t", &["--mode", "truncate"], "public.t is read"),
        (&["-q", "select x + 1 as x, y from t"], "t_1", &["--mode", "truncate"], "public.t_1 is read"),
        (&["-t", "v"], "plain", &["--mode", "truncate"], "public.plain is read"),
        (
            &["-q", "select m.x, p.y from m, plain p"],
            "plain",
            &["--mode", "truncate"],
            "public.plain is read",
        ),
    ] {
        let ran = export(&place, &[what, &["--into", into], how].concat());
        ran.assert_refused(2, &[reads, "for ever; --mode replace makes the table anew", "export to a file"]);
        assert_eq!(
            (rows(&place, "t"), rows(&place, "plain")),
            ("1a 2b 2c".to_owned(), "1a 2b 3c".to_owned())
        );
    }
}

/// The ways out that the refusal names.
#[test]
fn what_does_not_wait_for_itself_works() {
    require!(Capability::Server);
    let place = Place::new("load_own_ways");
    place.database.execute(&format!("{TREE}; DROP VIEW v"));
    let changed = "select x, y || '!' as y from plain";
    export(&place, &["-q", changed, "--into", "plain", "--mode", "replace", "--dry-run"]).assert_success();
    assert_eq!(rows(&place, "plain"), "1a 2b 3c");
    for how in
        [&["--readers", "1"][..], &["--readers", "4"], &["--writers", "2", "--dry-run"], &["--writers", "2"]]
    {
        let ran = export(&place, &[&["-t", "plain", "--into", "plain", "--mode", "replace"], how].concat());
        ran.assert_success();
        assert_eq!(rows(&place, "plain"), "1a 2b 3c");
    }
    export(&place, &["-q", changed, "--into", "plain", "--mode", "replace"]).assert_success();
    assert_eq!(rows(&place, "plain"), "1a! 2b! 3c!");
    let wider = "select x, y, 7 as z from plain";
    export(&place, &["-q", wider, "--into", "plain", "--mode", "replace", "--add-columns"]).assert_success();
    export(&place, &["-q", "select x, y || z as y from plain", "--into", "plain", "--mode", "upsert"])
        .assert_success();
    assert_eq!(rows(&place, "plain"), "1a!7 2b!7 3c!7");
    export(&place, &["-t", "t", "--into", "t"]).assert_success();
    assert_eq!(rows(&place, "t"), "1a 1a 2b 2b 2c 2c");
    // A table that is not read is emptied; the parent's own rows are not the child's.
    export(&place, &["-t", "plain", "--columns", "x,y", "--into", "other", "--mode", "truncate"])
        .assert_success();
    export(&place, &["-t", "t_1", "--into", "t_2", "--mode", "truncate", "--dry-run"]).assert_success();
    assert_eq!(rows(&place, "other"), "1a!7 2b!7 3c!7");
    // A table of another database is not the same one.
    let elsewhere = TestServer::shared().fresh_database("load_own_other");
    elsewhere.execute("CREATE TABLE plain (x int8, y text, z int)");
    let mut command = place.export_command(&["-t", "plain", "--into", "plain", "--mode", "truncate"]);
    command.args(["--to", "postgres", "--target", elsewhere.url()]);
    end_of(start(&mut command), 100).assert_success();
}
