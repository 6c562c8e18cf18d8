//! Loads that commit in parts, that continue where they stopped, and that set bad rows aside.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Child;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_ipc::reader::FileReader;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgarrow_server::Server;
use pgarrow_testkit::postgres::{Client, NoTls};
use pgarrow_testkit::{Capability, Python, require, server_options, until_restarted};

use crate::loads::{fingerprint, fingerprint_by};
use crate::signals::send;
use crate::support::{Place, command, end_of, eventually, run, start};

/// 50,000 rows.
const ROWS: &str = "select g::int8 as id, repeat(md5(g::text), 4) as note from generate_series(1, 50000) g";

/// The marks of all loads: rows, and whether the load is complete.
fn marks(client: &mut Client) -> Vec<(i64, bool)> {
    let sql = "SELECT rows, is_complete FROM pgarrow_load_marks ORDER BY updated";
    let there = "SELECT to_regclass('pgarrow_load_marks') IS NOT NULL";
    if !client.query_one(there, &[]).unwrap().get::<_, bool>(0) {
        return Vec::new();
    }
    client.query(sql, &[]).unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// The row numbers in a file of rejected rows.
pub(crate) fn rejected(path: &Path) -> Vec<u64> {
    let batches: Vec<RecordBatch> =
        FileReader::try_new(File::open(path).unwrap(), None).unwrap().map(Result::unwrap).collect();
    let numbers = batches.iter().flat_map(|batch| batch["pgarrow_row"].as_primitive::<UInt64Type>().values());
    numbers.copied().collect()
}

const READ_REJECTS: &str = "
import sys, pyarrow as pa
rows = pa.ipc.open_file(sys.argv[1]).read_all()
print(','.join(rows.column_names))
for row in rows.to_pylist():
    print(row['pgarrow_row'], row['pgarrow_sqlstate'], row['id'], row['colour'], row['pgarrow_reason'], sep='|')
";

#[test]
fn bad_rows_are_set_aside_with_the_reasons() {
    require!(Capability::Server, Capability::Python);
    let place = Place::new("parts_reject");
    place.database.execute(
        "CREATE TYPE colour AS ENUM ('red', 'green'); \
         CREATE TABLE source AS SELECT g::int8 AS id, (ARRAY['red', 'green'])[g % 2 + 1]::colour AS colour, \
            ARRAY['a', g::text] AS tags FROM generate_series(1, 20000) g; \
         INSERT INTO source VALUES (77, 'red', NULL), (1::int8 << 40, 'green', '{x}'); \
         CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$; \
         CREATE TABLE t (id int4 PRIMARY KEY CHECK (id <> 12000), colour colour, tags text[]); \
         CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.id = 5) EXECUTE FUNCTION f()",
    );
    place.export(&["-t", "source", "--ordered", "-o", "s.arrow"]).assert_success();
    let args =
        ["s.arrow", "--into", "t", "--convert", "check", "--reject", "bad.arrow", "--report", "r.json"];
    let ran = place.load(&args);
    ran.assert_success();
    let warning = "warning: 4 of 20,002 rows (0.02 %) could not be loaded, and were written to \"bad.arrow\" with the reasons\n";
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    assert!(ran.stderr.contains("public.t: 19,998 rows, "), "{}", ran.stderr);
    let report: serde_json::Value = serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap();
    let counts = ["rows", "rows_rejected", "rows_before"].map(|name| report[name].as_u64().unwrap());
    assert_eq!(counts, [19_998, 4, 0]);
    // Only the rejected rows are missing.
    let sql = "SELECT count(*) FROM source s WHERE NOT EXISTS (SELECT FROM t WHERE t.id = s.id AND t.tags = s.tags)";
    assert_eq!(place.database.client().query_one(sql, &[]).unwrap().get::<_, i64>(0), 4);
    let text = Python::shared().run(READ_REJECTS, &[place.path("bad.arrow").to_str().unwrap()]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "id,colour,tags,pgarrow_row,pgarrow_sqlstate,pgarrow_reason");
    let starts = [
        "5|P0001|5|green|not this one",
        "12000|23514|12000|red|new row for relation",
        "20001|23505|77|red|duplicate key value",
        "20002|None|1099511627776|green|column \"id\" (integer): a value outside",
    ];
    assert_eq!(lines.len(), 1 + starts.len(), "{text}");
    for (line, start) in lines[1..].iter().zip(starts) {
        assert!(line.starts_with(start), "{text}");
    }

    // An existing file stays unchanged, and a load that fails writes none.
    let before = fingerprint(&place.database, "t");
    place.load(&args[..args.len() - 2]).assert_refused(7, &["bad.arrow", "exists"]);
    let args =
        ["s.arrow", "--into", "t", "--convert", "check", "--mode", "truncate", "--reject", "few.arrow"];
    let ran = place.load(&[&args[..], &["--reject-limit", "3"]].concat());
    ran.assert_refused(6, &["more than 3 rows cannot be loaded; row 2000", "nothing was loaded"]);
    assert!(!place.names().contains(&"few.arrow".to_owned()), "{:?}", place.names());
    assert_eq!(fingerprint(&place.database, "t"), before);
    place.load(&[&args[..], &["--reject-limit", "4"]].concat()).assert_success();
    // No row is bad: the file has no rows.
    place.export(&["-q", "select 100000 as id", "-o", "good.parquet"]).assert_success();
    let ran = place.load(&["good.parquet", "--into", "t", "--reject", "none.arrow"]);
    ran.assert_success();
    assert!(!ran.stderr.contains("could not"), "{}", ran.stderr);
    assert_eq!(rejected(&place.path("none.arrow")), [0_u64; 0]);
}

/// Before, it was a success with exit code 0 and an empty table.
#[test]
fn a_load_of_bad_rows_alone_has_failed() {
    require!(Capability::Server);
    let place = Place::new("parts_all_bad");
    place
        .database
        .execute("CREATE TABLE t (id int8, note text, CHECK (id < 0)); INSERT INTO t VALUES (-1, 'was')");
    place.export(&["-q", &ROWS.replace("50000", "500"), "-o", "rows.arrow"]).assert_success();
    let before = fingerprint(&place.database, "t");
    let args = ["rows.arrow", "--into", "t", "--mode", "truncate", "--reject", "bad.arrow"];
    let ran = place.load(&args);
    let says = ["none of the 500 rows could be loaded", "nothing was loaded", "\"bad.arrow\" has them"];
    ran.assert_refused(4, &says);
    assert_eq!(fingerprint(&place.database, "t"), before);
    assert_eq!(rejected(&place.path("bad.arrow")), (1..=500).collect::<Vec<_>>());
    // In parts, each part was committed.
    let ran = place.load(&[&args[..], &["--overwrite", "--commit-every", "200"]].concat());
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.stderr.contains("none of the 500 rows could be loaded"), "{}", ran.stderr);
    assert_eq!(marks(&mut place.database.client()), [(500, true)]);
    assert_eq!(fingerprint(&place.database, "t").0, 0);
    assert_eq!(rejected(&place.path("bad.arrow")).len(), 500);
}

/// A load in parts of 7,000 rows that waits at row 30,000 for another transaction.
struct Stuck {
    place: Place,
    child: Child,
    blocker: Client,
}

/// The rejected rows.
const BAD: [u64; 5] = [5007, 15_007, 25_007, 35_007, 45_007];

const PARTS: [&str; 8] =
    ["rows.parquet", "--into", "t", "--commit-every", "7000", "--reject", "bad.arrow", "--quiet"];

const TABLE: &str = "CREATE TABLE t (id int8 PRIMARY KEY CHECK (id % 10000 <> 5007), note text)";

/// The table's contents at the end.
const WANTED: &str = "CREATE TABLE wanted AS SELECT g::int8 AS id, repeat(md5(g::text), 4) AS note \
     FROM generate_series(1, 50000) g WHERE g % 10000 <> 5007";

impl Stuck {
    fn start(place: Place, target: &str) -> Self {
        let mut blocker = Client::connect(target, NoTls).unwrap();
        blocker.batch_execute("BEGIN; INSERT INTO t VALUES (30000, 'somebody else')").unwrap();
        let mut client = Client::connect(target, NoTls).unwrap();
        let mut load = command(place.folder.path());
        let child = start(load.arg("load").args(PARTS).args(["--target", target]));
        eventually("it waits", || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND \
                       application_name = 'pgarrow' AND wait_event_type = 'Lock'";
            client.query_one(sql, &[]).unwrap().get::<_, i64>(0) == 1
        });
        assert_eq!(marks(&mut client), [(28_000, false)]);
        Self { place, child, blocker }
    }
}

/// The message of a load that has come this far.
const GOES_ON: [&str; 2] = ["the first 28000 rows of the data are loaded", "the same command"];

#[test]
fn a_load_in_parts_that_is_killed_goes_on_and_doubles_nothing() {
    require!(Capability::Server, Capability::Superuser);
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum End {
        Interrupt,
        Kill,
        Backend,
    }
    for end in [End::Interrupt, End::Kill, End::Backend] {
        let place = Place::new("parts_killed");
        place.database.execute(&format!("{TABLE}; {WANTED}"));
        place
            .export(&["-q", ROWS, "-o", "rows.parquet", "--row-group-rows", "3000", "--quiet"])
            .assert_success();
        let target = place.database.url().to_owned();
        let Stuck { place, child, mut blocker } = Stuck::start(place, &target);
        match end {
            End::Interrupt => send(&child, Signal::SIGINT),
            End::Kill => send(&child, Signal::SIGKILL),
            End::Backend => {
                let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                           WHERE datname = current_database() AND application_name = 'pgarrow'";
                place.database.execute(sql);
            }
        }
        let ran = end_of(child, 30);
        match end {
            End::Interrupt => assert_eq!(ran.code, Some(130), "{ran:?}"),
            End::Kill => assert_eq!(ran.code, None, "{ran:?}"),
            End::Backend => assert!(matches!(ran.code, Some(3 | 4)), "{ran:?}"),
        }
        // The backend of a killed process waits for its lock before it notices that the client is gone.
        blocker.batch_execute("ROLLBACK").unwrap();
        eventually("its session has ended", || place.database.n_sessions("pgarrow") == 0);
        let sql = "SELECT count(*) FROM t";
        assert_eq!(blocker.query_one(sql, &[]).unwrap().get::<_, i64>(0), 27_997, "{end:?}");
        if end == End::Kill {
            // The killed process could not publish it.
            assert!(!place.path("bad.arrow").exists());
        } else {
            assert!(!ran.stderr.contains("nothing was loaded"), "{}", ran.stderr);
            for says in GOES_ON.iter().chain(&["\"bad.arrow\" has the 3 rows that were rejected so far"]) {
                assert!(ran.stderr.contains(says), "{says} is not in {}", ran.stderr);
            }
            assert_eq!(rejected(&place.path("bad.arrow")), BAD[..3], "{end:?}");
        }
        // The same command.
        let mut load = command(place.folder.path());
        let ran = run(load.arg("load").args(&PARTS[..7]).args(["--target", &target, "--report", "r.json"]));
        ran.assert_success();
        let report: serde_json::Value =
            serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap();
        let counts = ["rows", "rows_rejected", "rows_before"].map(|name| report[name].as_u64().unwrap());
        assert_eq!(counts, [21_998, 2, 28_000], "{end:?}");
        assert!(
            ran.stderr.contains("earlier starts of this load have dealt with the first 28,000 rows"),
            "{}",
            ran.stderr
        );
        if end == End::Kill {
            assert!(ran.stderr.contains("will have none of the rows that earlier starts"), "{}", ran.stderr);
            assert_eq!(rejected(&place.path("bad.arrow")), BAD[3..]);
        } else {
            assert!(
                ran.stderr
                    .contains("2 of 22,000 rows (0.009 %) could not be loaded, besides 3 of earlier starts"),
                "{}",
                ran.stderr
            );
            assert_eq!(rejected(&place.path("bad.arrow")), BAD);
        }
        assert_eq!(fingerprint(&place.database, "t"), fingerprint(&place.database, "wanted"));
        // Once more: nothing happens, and the file of rejected rows stays.
        let before = fs::read(place.path("bad.arrow")).unwrap();
        let ran = run(load.args(["--overwrite"]));
        ran.assert_success();
        assert!(ran.stderr.contains("nothing to do, all 50,000 rows were loaded"), "{}", ran.stderr);
        assert_eq!(fs::read(place.path("bad.arrow")).unwrap(), before);
        assert_eq!(fingerprint(&place.database, "t"), fingerprint(&place.database, "wanted"));
    }
}

/// A killed backend brings the whole server down.
#[test]
fn a_load_in_parts_whose_server_crashes_goes_on() {
    require!(Capability::Server);
    let options = server_options().setting("synchronous_commit", "on");
    let server = Server::start(options).unwrap();
    let connect = || Client::connect(&server.url(), NoTls);
    connect().unwrap().batch_execute(&format!("{TABLE}; {WANTED}")).unwrap();
    let place = Place::new("parts_crash");
    place.export(&["-q", ROWS, "-o", "rows.parquet", "--quiet"]).assert_success();
    let Stuck { place, child, blocker } = Stuck::start(place, &server.url());
    let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgarrow'";
    let pid: i32 = connect().unwrap().query_one(sql, &[]).unwrap().get(0);
    let witness = connect().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let ran = end_of(child, 30);
    assert!(matches!(ran.code, Some(3 | 4)), "{ran:?}");
    assert!(GOES_ON.iter().all(|says| ran.stderr.contains(says)), "{}", ran.stderr);
    drop(blocker);
    until_restarted(witness, &server.url());
    let mut load = command(place.folder.path());
    run(load.arg("load").args(PARTS).args(["--target", &server.url()])).assert_success();
    let mut client = connect().unwrap();
    assert_eq!(fingerprint_by(&mut client, "t"), fingerprint_by(&mut client, "wanted"));
    assert_eq!(rejected(&place.path("bad.arrow")), BAD);
}

/// Before, every input that could not be read was reported with "nothing was loaded".
#[test]
fn a_file_that_cannot_be_read_behind_parts_that_are_committed() {
    require!(Capability::Server);
    let place = Place::new("parts_damaged");
    place.database.execute("CREATE TABLE t (id int8 PRIMARY KEY, note text)");
    place.export(&["-q", ROWS, "--ordered", "-o", "rows.arrows", "--batch-rows", "1000"]).assert_success();
    let bytes = fs::read(place.path("rows.arrows")).unwrap();
    let load = |file: &str, key: &[&str]| {
        place.load(&[&[file, "--into", "t", "--commit-every", "7000"], key].concat())
    };
    fs::write(place.path("cut.arrows"), &bytes[..bytes.len() - 8]).unwrap();
    let ran = load("cut.arrows", &["--restart-key", "rows"]);
    ran.assert_refused(
        8,
        &["the first 49000 rows of the data are loaded", "the same command goes on behind them"],
    );
    assert!(!ran.stderr.contains("nothing was loaded"));
    // With the whole file, the load continues. Without the key, it is another file, whose rows are in the
    // table already.
    load("rows.arrows", &["--restart-key", "rows"]).assert_success();
    assert_eq!(fingerprint(&place.database, "t").0, 50_000);
    load("rows.arrows", &[]).assert_refused(4, &["23505", "nothing was loaded"]);
    // Rows from stdin have nothing that identifies them.
    let mut stdin = place.load_command(&["-", "--into", "t", "--commit-every", "7000"]);
    let ran = run(stdin.stdin(File::open(place.path("rows.arrows")).unwrap()));
    ran.assert_refused(2, &["stdin", "--restart-key"]);
    place.database.execute("TRUNCATE t");
    let mut stdin =
        place.load_command(&["-", "--into", "t", "--commit-every", "7000", "--restart-key", "pipe"]);
    run(stdin.stdin(File::open(place.path("rows.arrows")).unwrap())).assert_success();
    assert_eq!(fingerprint(&place.database, "t").0, 50_000);
}

#[test]
fn a_key_without_parts_and_a_dry_run() {
    require!(Capability::Server);
    let place = Place::new("parts_once");
    place.database.execute("CREATE TABLE t (id int8, note text)");
    place.export(&["-q", ROWS, "-o", "rows.arrow"]).assert_success();
    let dry = ["rows.arrow", "--into", "t", "--commit-every", "100", "--reject", "bad.arrow", "--dry-run"];
    place.load(&dry).assert_success();
    assert_eq!(marks(&mut place.database.client()), []);
    assert_eq!(place.names(), ["rows.arrow"]);
    for rows in [50_000, 0] {
        let ran = place.load(&["rows.arrow", "--into", "t", "--restart-key", "once"]);
        ran.assert_success();
        assert_eq!(ran.stderr.contains("nothing to do"), rows == 0, "{}", ran.stderr);
        assert_eq!(fingerprint(&place.database, "t").0, 50_000);
    }
    assert_eq!(marks(&mut place.database.client()), [(50_000, true)]);
}

/// Before, the process ended with exit code 130 and said nothing about the table.
#[test]
fn a_signal_while_the_server_commits() {
    require!(Capability::Server, Capability::Superuser);
    // A COMMIT that no cancel request stops.
    let sql = "CREATE TABLE t (id int8, note text); \
         CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             LOOP BEGIN PERFORM pg_sleep(100); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$; \
         CREATE CONSTRAINT TRIGGER f AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
             WHEN (NEW.id = 1) EXECUTE FUNCTION f()";
    for (is_export, is_sent_twice) in [(false, true), (false, false), (true, true)] {
        let place = Place::new("parts_commit");
        place.database.execute(sql);
        place.export(&["-q", ROWS, "-o", "rows.arrow"]).assert_success();
        let mut load = match is_export {
            true => place.export_command(&[
                "-q",
                ROWS,
                "--to",
                "postgres",
                "--target",
                place.database.url(),
                "--into",
                "t",
            ]),
            false => place.load_command(&["rows.arrow", "--into", "t"]),
        };
        let mut child = start(&mut load);
        // In the function: before, a cancel request could come between it and the beginning of the COMMIT.
        let commits = "state = 'active' AND query = 'COMMIT' AND wait_event = 'PgSleep'";
        eventually("it commits", || place.counts(commits) == 1);
        send(&child, Signal::SIGINT);
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        stderr.read_line(&mut text).unwrap();
        assert_eq!(text, "pgarrow: cancelling…\n");
        if is_sent_twice {
            send(&child, Signal::SIGINT);
        }
        let ran = end_of(child, 15);
        stderr.read_to_string(&mut text).unwrap();
        assert_eq!(ran.code, Some(9), "{text}");
        assert!(text.contains("COMMIT was under way: the rows may be in the table or not"), "{text}");
        place.database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'pgarrow'",
        );
        eventually("its session has ended", || place.database.n_sessions("pgarrow") == 0);
    }
}

/// Before, the load ended with "cancelled" and exit code 130 although the rows were in the table: the signal
/// came too late for COMMIT, and was reported as the reason why the report could not be written.
#[test]
fn a_signal_that_comes_too_late_is_not_why_a_report_fails() {
    require!(Capability::Server, Capability::Superuser);
    // A COMMIT that no cancel request stops, and that continues when the test lets it.
    let sql = "CREATE TABLE t (id int8, note text); \
         CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             LOOP BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; \
             EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$; \
         CREATE CONSTRAINT TRIGGER f AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
             WHEN (NEW.id = 1) EXECUTE FUNCTION f()";
    for (is_export, what) in [(false, "load"), (true, "export")] {
        let place = Place::new("parts_late");
        place.database.execute(sql);
        let query = "select g::int8 as id, 'x' as note from generate_series(1, 5) g";
        place.export(&["-q", query, "-o", "rows.arrow"]).assert_success();
        let to = ["--into", "t", "--report", "r.json"];
        let mut load = match is_export {
            true => {
                let from = ["-q", query, "--to", "postgres", "--target", place.database.url()];
                place.export_command(&[&from[..], &to].concat())
            }
            false => place.load_command(&[&["rows.arrow"], &to[..]].concat()),
        };
        let mut other = place.database.client();
        other.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(4711)").unwrap();
        let mut child = start(&mut load);
        eventually("it commits", || place.counts("wait_event = 'advisory' AND query = 'COMMIT'") == 1);
        send(&child, Signal::SIGINT);
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        stderr.read_line(&mut text).unwrap();
        assert_eq!(text, "pgarrow: cancelling…\n");
        // A file cannot take a folder's place.
        fs::create_dir(place.path("r.json")).unwrap();
        other.batch_execute("COMMIT").unwrap();
        let ran = end_of(child, 15);
        stderr.read_to_string(&mut text).unwrap();
        assert_eq!(ran.code, Some(7), "{text}");
        let says = format!("pgarrow: the {what} is complete, but its report is not");
        assert!(text.contains(&says) && !text.contains("cancelled"), "{text}");
        assert_eq!(fingerprint(&place.database, "t").0, 5);
    }
}
