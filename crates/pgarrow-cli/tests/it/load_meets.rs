//! What users of loads meet: files of rejected rows, keys that exist, and a slow server.

use std::fs::File;
use std::io::{BufRead, BufReader};

use arrow_array::RecordBatch;
use arrow_ipc::reader::FileReader;
use nix::sys::signal::Signal;
use pgarrow_testkit::{Capability, require};

use crate::signals::send;
use crate::support::{Place, assert_cancelled, end_of, eventually, start};

/// 2,500 rows.
const ROWS: &str = "select g::int8 as id, 'n' || g as note from generate_series(1, 2500) g";

impl Place {
    fn rows(&self, query: &str, file: &str) {
        self.export(&["-q", query, "--ordered", "-o", file, "--quiet"]).assert_success();
    }

    fn count(&self, table: &str) -> i64 {
        self.database.client().query_one(&format!("SELECT count(*) FROM {table}"), &[]).unwrap().get(0)
    }

    fn ipc(&self, name: &str) -> Vec<RecordBatch> {
        let file = File::open(self.path(name)).unwrap();
        FileReader::try_new(file, None).unwrap().map(Result::unwrap).collect()
    }
}

/// Before: "the table has no column "pgarrow_row"". Rejected rows could not be loaded without a query in
/// between.
#[test]
fn rejected_rows_are_loaded_as_they_are_when_the_table_was_mended() {
    require!(Capability::Server);
    let place = Place::new("again");
    place.database.execute("CREATE TABLE t (id int8 CHECK (id NOT IN (5, 6, 7)), note text)");
    place.rows(ROWS, "rows.parquet");
    place.load(&["rows.parquet", "--into", "t", "--reject", "bad.arrow"]).assert_success();
    assert_eq!(place.count("t"), 2497);
    // Some rows are still bad: the new file says why, beside the reasons of the old one.
    place.database.execute("ALTER TABLE t DROP CONSTRAINT t_id_check, ADD CHECK (id <> 6)");
    let ran = place.load(&["bad.arrow", "--into", "t", "--reject", "worse.arrow", "--add-columns"]);
    ran.assert_success();
    let says = "rows that a load has rejected; what says why is left out: \"pgarrow_row\", \"pgarrow_sqlstate\", \"pgarrow_reason\"\n";
    assert!(ran.stderr.contains(says), "{}", ran.stderr);
    assert_eq!(place.count("t"), 2499);
    let columns = place.ipc("worse.arrow")[0].schema();
    let names: Vec<&str> = columns.fields().iter().map(|field| field.name().as_str()).collect();
    let twice = ["pgarrow_row", "pgarrow_sqlstate", "pgarrow_reason"]
        .map(|name| [name.to_owned(), format!("{name}_")]);
    assert_eq!(names[..2], ["id", "note"]);
    assert!(twice.iter().flatten().all(|name| names.contains(&name.as_str())), "{names:?}");
    place.database.execute("ALTER TABLE t DROP CONSTRAINT t_id_check");
    place.load(&["worse.arrow", "--into", "t", "--mode", "replace"]).assert_success();
    assert_eq!(place.count("t WHERE id = 6 AND note = 'n6'"), 1);
    // A new table keeps the reasons.
    place.load(&["bad.arrow", "--into", "why", "--mode", "create"]).assert_success();
    assert_eq!(place.count("why WHERE pgarrow_sqlstate = '23514' AND pgarrow_row = id"), 3);
    place.load(&["bad.arrow", "--into", "why"]).assert_success();
    assert_eq!(place.count("why WHERE pgarrow_reason LIKE '%check%'"), 6);
}

/// There was no way to leave out a column of a file.
#[test]
fn columns_of_the_data_that_are_not_wanted() {
    require!(Capability::Server);
    let place = Place::new("columns");
    place.database.execute("CREATE TABLE t (id int8, note text DEFAULT 'none', \"Of It\" int4)");
    // Rejected rows of an older version do not say which columns were added.
    let query = "select 1::int8 as id, 'x' as note, 2::int8 as pgarrow_row, 3 as \"Of It\"";
    place.rows(query, "old.arrow");
    place
        .load(&["old.arrow", "--into", "t"])
        .assert_refused(2, &["no column \"pgarrow_row\"", "--columns leaves it out"]);
    place.load(&["old.arrow", "--into", "t", "--columns", "ID,\"Of It\""]).assert_success();
    assert_eq!(place.count("t WHERE id = 1 AND note = 'none' AND \"Of It\" = 3"), 1);
    for mode in [&["--mode", "create"][..], &["--mode", "create", "--writers", "2"]] {
        place.database.execute("DROP TABLE IF EXISTS made");
        place
            .load(&[&["old.arrow", "--into", "made", "--columns", "id,note"], mode].concat())
            .assert_success();
        let sql = "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'made'::regclass AND attnum > 0";
        assert_eq!(place.database.client().query_one(sql, &[]).unwrap().get::<_, String>(0), "id,note");
    }
    let ran = place.load(&["old.arrow", "--into", "t", "--columns", "id,notes"]);
    ran.assert_refused(2, &["the data has no column \"notes\""]);
}

/// Before, the message was only "mend the data, or load it into a table without it".
#[test]
fn a_key_that_is_there_names_what_can_be_done() {
    require!(Capability::Server);
    let place = Place::new("keys");
    place
        .database
        .execute("CREATE TABLE t (id int8 PRIMARY KEY, note text); INSERT INTO t VALUES (7, 'was')");
    place.rows(ROWS, "rows.parquet");
    for writers in ["1", "2"] {
        let ran = place.load(&["rows.parquet", "--into", "t", "--writers", writers]);
        ran.assert_refused(
            4,
            &["23505", "nothing was loaded", "--on-conflict skip", "--mode upsert", "--key"],
        );
    }
    // The named options work.
    place.load(&["rows.parquet", "--into", "t", "--on-conflict", "skip"]).assert_success();
    assert_eq!(place.count("t WHERE note = 'was'"), 1);
    place.load(&["rows.parquet", "--into", "t", "--mode", "upsert"]).assert_success();
    assert_eq!((place.count("t"), place.count("t WHERE note = 'was'")), (2500, 0));
}

/// Before, each row of a file for the wrong table was tried, by two COPYs each, until the last one.
#[test]
fn rejecting_gives_up_when_the_first_thousand_are_bad() {
    require!(Capability::Server);
    let place = Place::new("all_bad");
    place.database.execute(
        "CREATE TABLE t (id int8, note text CHECK (note < 'a')); INSERT INTO t VALUES (0, 'A'); \
         CREATE TABLE small (id int2, note text)",
    );
    place.rows(ROWS, "rows.parquet");
    let load = |more: &[&str]| {
        let args =
            ["rows.parquet", "--into", "t", "--mode", "truncate", "--reject", "bad.arrow", "--overwrite"];
        place.load(&[&args, more].concat())
    };
    let rejected = || place.ipc("bad.arrow").iter().map(RecordBatch::num_rows).sum::<usize>();
    let says = [
        "none of the first 1000 rows could be loaded (row 1000: SQLSTATE 23514)",
        "--reject-limit",
        "nothing was loaded",
        "\"bad.arrow\" has them, with the reasons",
    ];
    load(&[]).assert_refused(4, &says);
    assert_eq!((rejected(), place.count("t")), (1000, 1));
    // With a limit, it goes on. Quietly: if it takes long, it would print its progress.
    let ran = load(&["--reject-limit", "2500", "--quiet"]);
    ran.assert_refused(4, &["none of the 2500 rows could be loaded", "nothing was loaded"]);
    assert_eq!(rejected(), 2500);
    // One good row is enough, at any place among them.
    for good in [1, 1000] {
        let query = format!(
            "select g::int8 as id, case when g = {good} then 'A' else 'n' end as note from generate_series(1, 1500) g"
        );
        place.rows(&query, &format!("good{good}.parquet"));
        let file = format!("good{good}.parquet");
        let ran = place.load(&[&file, "--into", "t", "--reject", "few.arrow", "--overwrite"]);
        ran.assert_success();
        assert!(ran.stderr.contains("1,499 of 1,500 rows (99.9 %) could not be loaded"), "{}", ran.stderr);
    }
    // The same for values that do not fit, for which no server is asked.
    place.rows(&ROWS.replace("g::int8", "100000 + g::int8"), "large.parquet");
    let args = ["large.parquet", "--into", "small", "--convert", "check", "--reject", "large.arrow"];
    place
        .load(&args)
        .assert_refused(4, &["(row 1000: column \"id\" (smallint): ", "\"large.arrow\" has them"]);
    // In parts: the rejected rows of committed parts stay rejected.
    let ran = load(&["--commit-every", "300"]);
    ran.assert_refused(4, &["none of the first 1000 rows", "the first 900 rows of the data are loaded"]);
    assert_eq!(rejected(), 900);
    // The next start begins with the rows after those.
    let ran = load(&["--commit-every", "300"]);
    ran.assert_refused(4, &["none of the first 1000 rows behind row 900 could be loaded (row 1900: "]);
}

/// Before, at 100 %, nothing seemed to happen while the INSERT ran; and a stopped load said only "cancelled",
/// so the user had to look what was in the table.
#[test]
fn an_upsert_shows_that_it_merges_and_a_cancelled_load_says_what_is_loaded() {
    require!(Capability::Server);
    let place = Place::new("merging");
    place.database.execute("CREATE TABLE t (id int8 PRIMARY KEY, note text)");
    place.rows(ROWS, "rows.parquet");
    let mut blocker = place.database.client();
    blocker.batch_execute("BEGIN; INSERT INTO t VALUES (100, 'somebody else')").unwrap();
    let from_server = [
        "export",
        place.database.url(),
        "-t",
        "source",
        "--to",
        "postgres",
        "--target",
        place.database.url(),
    ];
    place
        .database
        .execute("CREATE TABLE source AS SELECT g::int8 AS id, 'n' AS note FROM generate_series(1, 2500) g");
    let into = ["--into", "t", "--mode", "upsert"];
    for is_export in [false, true] {
        let mut command = match is_export {
            false => place.load_command(&[&["rows.parquet"], &into[..]].concat()),
            true => {
                let mut command = crate::support::command(place.folder.path());
                command.args(from_server).args(into);
                command
            }
        };
        let mut child = start(&mut command);
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut next = || {
            let mut line = String::new();
            stderr.read_line(&mut line).unwrap();
            line
        };
        assert_eq!(next(), "pgarrow: 2,500 rows sent; the server merges them into the table\n");
        send(&child, Signal::SIGINT);
        assert_eq!(next(), "pgarrow: cancelling…\n");
        let last = next();
        assert!(last.starts_with("pgarrow: cancelled by SIGINT from process "), "{last}");
        assert!(last.ends_with("; nothing was loaded\n"), "{last}");
        assert_eq!(end_of(child, 10).code, Some(130));
        eventually("its session has ended", || place.database.n_sessions("pgarrow") == 0);
    }
    // Also before the first row was sent.
    blocker.batch_execute("ROLLBACK; BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE").unwrap();
    let child = start(&mut place.load_command(&["rows.parquet", "--into", "t"]));
    eventually("it waits", || place.counts("wait_event_type = 'Lock'") == 1);
    send(&child, Signal::SIGTERM);
    let ran = end_of(child, 10);
    assert_eq!(ran.code, Some(143));
    assert_cancelled(&ran, "SIGTERM");
    assert!(ran.stderr.ends_with("; nothing was loaded\n"), "{}", ran.stderr);
}
