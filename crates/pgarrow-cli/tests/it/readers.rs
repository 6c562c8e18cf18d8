//! Several readers: the flags that say how to read, and what a run prints about it.

use std::fs;
use std::process::Command;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use nix::sys::signal::Signal;
use pgarrow_testkit::{Capability, require};

use crate::signals::send;
use crate::support::{
    NUMBERS, Place, Ran, assert_cancelled, command, end_of, eventually, run, start, stream,
};

/// The number of rows and the sum of their `id`, of an IPC stream on stdout.
#[track_caller]
fn totals(ran: &Ran) -> (usize, i64) {
    ran.assert_success();
    let ids: Vec<i64> = ids(ran);
    (ids.len(), ids.iter().sum())
}

fn ids(ran: &Ran) -> Vec<i64> {
    let batches = stream(&ran.stdout);
    let columns = batches.iter().map(|batch| batch.column_by_name("id").unwrap().as_primitive::<Int64Type>());
    columns.flat_map(|ids| ids.values().to_vec()).collect()
}

fn report(place: &Place) -> serde_json::Value {
    serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap()
}

#[test]
fn every_number_of_readers_and_every_way_to_read_finds_the_same_rows() {
    require!(Capability::Server);
    let place = Place::new("readers");
    place.database.execute(NUMBERS);
    place.database.execute("CREATE VIEW v AS SELECT * FROM t");
    let to_stdout = ["--to", "ipc-stream", "-o", "-", "--report", "r.json", "--overwrite"];
    for (args, n_readers) in [
        (&["-t", "t", "--readers", "1"][..], 1),
        (&["-t", "t", "--readers", "3", "--slice-bytes", "64K"], 3),
        (&["-t", "t", "--readers", "3", "--slice-bytes", "64K", "--memory", "24M"], 3),
        // A reader takes 8M at least.
        (&["-t", "t", "--readers", "9", "--slice-bytes", "64K", "--memory", "16M"], 2),
        (&["-t", "t", "--readers", "3", "--slice-bytes", "64K", "--read-mode", "copy"], 3),
        (&["-t", "t", "--readers", "3", "--slice-bytes", "64K", "--read-mode", "select"], 3),
        (&["-t", "t", "--readers", "3", "--slice-bytes", "64K", "--read-mode", "cursor"], 3),
        (&["-t", "t", "--readers", "3", "--slice-bytes", "64K", "--inconsistent"], 3),
        (&["-t", "t", "--readers", "3", "--slice-bytes", "64K", "--retries", "0"], 3),
        // One stream, unless there is a column to split on.
        (&["-t", "v", "--readers", "3"], 1),
        (&["-t", "v", "--readers", "3", "--split-on", "id"], 3),
        (&["-q", "select * from t where $1 > 0", "--param", "1", "--readers", "2", "--split-on", "id"], 2),
    ] {
        let ran = place.export(&[args, &to_stdout].concat());
        assert_eq!(totals(&ran), (20_000, 200_010_000), "{args:?}");
        let report = report(&place);
        assert_eq!(report["readers"].as_array().unwrap().len(), n_readers, "{args:?}");
        let rows =
            report["readers"].as_array().unwrap().iter().map(|reader| reader["rows"].as_u64().unwrap());
        assert_eq!(rows.sum::<u64>(), 20_000, "{args:?}");
        let mode = args.iter().position(|arg| *arg == "--read-mode").map_or("copy", |index| args[index + 1]);
        assert_eq!(report["read_mode"], mode);
        let has_explanation = ran.stderr.contains(&format!("{n_readers} readers, "));
        assert_eq!(has_explanation, n_readers > 1, "{}", ran.stderr);
    }
}

#[test]
fn fewer_readers_than_asked_for_are_said() {
    require!(Capability::Server, Capability::Superuser);
    let place = Place::new("fewer");
    place.database.execute(NUMBERS);
    let args = ["-t", "t", "--slice-bytes", "64K", "--readers", "3"];
    let ran = place.export(&[&args[..], &["--memory", "16M", "--to", "none"]].concat());
    ran.assert_success();
    let warning = "warning: 2 connections read instead of 3: 16 MiB of memory are enough for no more, and 3 need 24 MiB \
                   (--memory)\n";
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);

    // Two connections: one holds the snapshot, one reads.
    let role = format!("role_of_{}", place.database.name());
    place
        .database
        .execute(&format!("CREATE ROLE {role} LOGIN CONNECTION LIMIT 2; GRANT SELECT ON t TO {role}"));
    let url = place.database.url();
    let url = format!("{url}{}user={role}", if url.contains('?') { '&' } else { '?' });
    let args = [&["export", &url], &args[..], &["--to", "none"]].concat();
    let mut said = Vec::new();
    // On a busy machine, one reader may have read all before the others are refused, and nobody minds.
    while said.len() < 10 && said.last().is_none_or(|n_warnings| *n_warnings == 0) {
        let ran = run(command(place.folder.path()).args(&args));
        ran.assert_success();
        assert!(ran.stderr.contains("\n1 of 3 readers, "), "{}", ran.stderr);
        said.push(ran.stderr.matches("pgarrow: warning: fewer connections than asked for: ").count());
        eventually("no session is left", || place.database.n_sessions("pgarrow") == 0);
    }
    place.database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    assert_eq!(said.last(), Some(&1), "{said:?}");
}

/// Before, `--readers 4` on a view, or on a partitioned table whose partitions the role may not read, gave
/// one reader and no message.
#[test]
fn fewer_readers_for_what_cannot_be_cut_are_said_with_the_way_out() {
    require!(Capability::Server, Capability::Superuser);
    let place = Place::new("uncut");
    let role = format!("role_of_{}", place.database.name());
    place.database.execute(NUMBERS);
    place.database.execute(&format!(
        "CREATE VIEW v AS SELECT * FROM t; \
         CREATE TABLE p (id int8, down int8, text text) PARTITION BY RANGE (id); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10000); \
         CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10000) TO (30000); INSERT INTO p SELECT * FROM t; \
         CREATE TABLE few AS SELECT 1 AS id; ALTER TABLE few ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY all_rows ON few USING (true); \
         CREATE ROLE {role} LOGIN; GRANT SELECT ON t, v, p, few TO {role}"
    ));
    let url = place.database.url();
    let url = format!("{url}{}user={role}", if url.contains('?') { '&' } else { '?' });
    let warnings = |args: &[&str]| -> Vec<String> {
        let args = [&["export", &url, "--memory", "1G"], args].concat();
        let ran = run(command(place.folder.path()).args(args));
        ran.assert_success();
        let lines = ran.stderr.lines().filter_map(|line| line.strip_prefix("pgarrow: warning: "));
        lines.filter(|line| line.contains("connection")).map(str::to_owned).collect()
    };
    let none = ["--to", "none"];
    for (args, says) in [
        (
            &["-t", "v", "--readers", "4"][..],
            &[
                "one connection reads instead of 4: public.v is a view; name a column to split on (--split-on)",
            ][..],
        ),
        (
            &["-q", "select * from t", "--readers", "2"],
            &[
                "one connection reads instead of 2: it is a query; name a column of it to split on (--split-on)",
            ],
        ),
        (
            &["-t", "p", "--readers", "4", "--slice-bytes", "64K"],
            &[
                "one connection reads instead of 4: the role may not read public.p1 and 1 more of the tables of public.p by \
               itself, only through public.p; GRANT SELECT on them, and USAGE on their schemas, or name a column to \
               split on (--split-on)",
            ],
        ),
        (
            &["-t", "few", "--readers", "4", "--set", "row_security=on"],
            &[
                "one connection reads instead of 4: row security applies to public.few; name a column to split on (--split-on)",
            ],
        ),
        (
            &["-t", "t", "--readers", "4"],
            &[
                "one connection reads instead of 4: public.t is small; smaller slices are for more (--slice-bytes)",
            ],
        ),
        (
            &["-t", "t", "-t", "v", "--readers", "4"],
            &[
                "2 connections read instead of 4: the 2 tables are cut into 2 slices",
                "one connection reads public.v: public.v is a view; export it by itself, and name a column to split on \
                 (--split-on)",
            ],
        ),
        (
            &["-t", "t", "-t", "p", "--readers", "4"],
            &[
                "2 connections read instead of 4: the 2 tables are cut into 2 slices",
                "one connection reads public.p: the role may not read public.p1 and 1 more of the tables of public.p by \
                 itself, only through public.p; GRANT SELECT on them, and USAGE on their schemas, or export it by \
                 itself, and name a column to split on (--split-on)",
            ],
        ),
        // As many readers as the user asked for, or, without a number, as there is work for.
        (&["-t", "v", "--readers", "4", "--split-on", "id"], &[]),
        (&["-t", "t", "--readers", "4", "--slice-bytes", "64K"], &[]),
        (&["-t", "v"], &[]),
        (&["-t", "p"], &[]),
        (&["-t", "v", "--readers", "1"], &[]),
    ] {
        assert_eq!(warnings(&[args, &none].concat()), says, "{args:?}");
    }
    // The proposed way out works.
    place.database.execute(&format!("GRANT SELECT ON p1, p2 TO {role}"));
    let granted = warnings(&[
        "-t",
        "p",
        "--readers",
        "4",
        "--slice-bytes",
        "64K",
        "--to",
        "none",
        "--report",
        "r.json",
    ]);
    place.database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    assert_eq!(granted, [""; 0]);
    assert_eq!(report(&place)["readers"].as_array().unwrap().len(), 4);
    // Four slices need four readers.
    let ran = place.export(&[
        "-t",
        "t",
        "--readers",
        "50",
        "--memory",
        "1G",
        "--slice-bytes",
        "1M",
        "--to",
        "none",
    ]);
    ran.assert_success();
    let says = " connections read instead of 50: public.t is cut into ";
    assert!(ran.stderr.contains(says), "{}", ran.stderr);
    // A slice is planned already.
    let ran =
        place.export(&["-t", "t", "--readers", "4", "--slice-bytes", "64K", "--to", "none", "--ordered"]);
    ran.assert_success();
    assert!(!ran.stderr.contains("instead of"), "{}", ran.stderr);
}

#[test]
fn a_run_says_where_its_time_went() {
    require!(Capability::Server);
    let place = Place::new("phases");
    place.database.execute(NUMBERS);
    let args = ["-t", "t", "--readers", "2", "--slice-bytes", "64K", "--memory", "32M", "-o", "x.parquet"];
    let ran = place.export(&[&args[..], &["--report", "r.json"]].concat());
    ran.assert_success();
    // On a busy machine, one of them may find nothing left: "1 of 2 readers".
    let line = ran.stderr.lines().find(|line| line.contains("2 readers, ")).unwrap();
    for part in [" slices; ", " %", " is the limit: "] {
        assert!(line.contains(part), "{part:?} is not in {line}");
    }
    // Before, there were two: the peak of the process, and the peak of what counts against --memory.
    assert_eq!(ran.stderr.matches("iB").count(), 1, "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("peak memory").count(), 1, "{}", ran.stderr);
    let report = report(&place);
    // Before, only loads reported rates.
    let (rows, bytes, seconds) =
        (&report["rows"], &report["wire_bytes"], report["seconds"].as_f64().unwrap());
    for (rate, of) in [("rows_per_second", rows), ("bytes_per_second", bytes)] {
        let expected = of.as_f64().unwrap() / seconds;
        let rate = report[rate].as_f64().unwrap();
        assert!(rate > 0.0 && (rate - expected).abs() <= expected * 1e-9, "{rate} and not {expected}");
    }
    assert!(report["slices"].as_u64().unwrap() > 4, "{report}");
    assert_eq!(report["memory"]["limit_bytes"], 32 << 20);
    assert!(report["memory"]["peak_bytes"].as_u64().unwrap() <= 32 << 20);
    assert!(report["memory"]["peak_bytes"].as_u64().unwrap() > 0);
    let phases = ["connect", "plan", "decode", "encode", "commit"];
    for phase in phases {
        assert!(report["phases"][phase].as_f64().unwrap() > 0.0, "{phase}");
    }
    let of_readers = report["readers"].as_array().unwrap().iter();
    let decode: f64 = of_readers.map(|reader| reader["phases"]["decode"].as_f64().unwrap()).sum();
    assert!((decode - report["phases"]["decode"].as_f64().unwrap()).abs() < 1e-6);
    let limits = ["server", "network", "server_or_network", "pgarrow", "output", "consumer", "memory"];
    assert!(limits.contains(&report["limit"].as_str().unwrap()), "{report}");
    // One reader and little time: nothing to explain.
    let ran = place.export(&["-q", "select 1", "--to", "none"]);
    assert_eq!(ran.said().len(), 1, "{}", ran.stderr);
}

#[test]
fn an_order_that_is_asked_for_is_kept_and_makes_the_same_file() {
    require!(Capability::Server);
    let place = Place::new("ordered");
    place.database.execute(NUMBERS);
    let slices = ["-t", "t", "--ordered", "--slice-bytes", "64K"];
    for readers in ["1", "3"] {
        let args = [&slices[..], &["--readers", readers, "--to", "ipc-stream", "-o", "-"]].concat();
        let ran = place.export(&args);
        ran.assert_success();
        assert_eq!(ids(&ran), (1..=20_000).collect::<Vec<i64>>());
        let name = format!("{readers}.parquet");
        place.export(&[&slices[..], &["--readers", readers, "-o", &name]].concat()).assert_success();
        place.export(&[&slices[..], &["--readers", readers, "--to", "none"]].concat()).assert_success();
    }
    assert!(fs::read(place.path("1.parquet")).unwrap() == fs::read(place.path("3.parquet")).unwrap());
    // The order of the --split-on column, too.
    let args =
        ["-t", "t", "--ordered", "--split-on", "down", "--readers", "3", "--to", "ipc-stream", "-o", "-"];
    let ran = place.export(&args);
    ran.assert_success();
    let (ids, n_rows) = (ids(&ran), 20_000);
    assert_eq!(ids.len(), n_rows);
    assert!(ids[0] > ids[n_rows - 1], "slices go up by `down`, so `id` goes down from slice to slice");
}

#[test]
fn an_order_is_kept_within_little_memory() {
    require!(Capability::Server);
    let place = Place::new("ordered_memory");
    place.database.execute(
        "CREATE TABLE t AS SELECT g::int8 AS id, repeat(md5(g::text), 4) AS text FROM generate_series(1, 250000) g",
    );
    // More Arrow data than memory, in more than one slice, with any number of readers.
    let args = ["-t", "t", "--ordered", "--memory", "16M"];
    for readers in ["1", "2"] {
        let name = format!("{readers}.parquet");
        place.export(&[&args[..], &["--readers", readers, "-o", &name]].concat()).assert_success();
    }
    assert!(fs::read(place.path("1.parquet")).unwrap() == fs::read(place.path("2.parquet")).unwrap());
}

#[test]
fn a_reader_that_loses_its_connection() {
    require!(Capability::Server, Capability::Superuser);
    let place = Place::new("retries");
    place.database.execute(NUMBERS);
    // Takes some seconds: the filter waits at every row.
    let slow = ["-t", "t", "--where", "id > 3000 or pg_sleep(0.001) is not null", "--slice-bytes", "64K"];
    let export = |retries: &[&str]| {
        let args =
            [&slow[..], &["--readers", "2", "--to", "none", "--report", "r.json", "--overwrite"], retries];
        let child = start(&mut place.export_command(&args.concat()));
        let is_reading = "state = 'active' AND query LIKE 'COPY%pg_sleep%'";
        eventually("a reader reads", || place.counts(is_reading) > 0);
        place.database.execute(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'pgarrow' AND {is_reading} LIMIT 1"
        ));
        end_of(child, 60)
    };
    let ran = export(&[]);
    ran.assert_success();
    let report = report(&place);
    assert_eq!((&report["rows"], &report["slices_redone"]), (&20_000.into(), &1.into()));
    assert!(ran.stderr.contains("(1 read again)"), "{}", ran.stderr);
    let ran = export(&["--retries", "0"]);
    assert!(matches!(ran.code, Some(3 | 4)), "{ran:?}");
}

#[test]
fn rows_of_24_mb_under_a_hard_limit_of_the_process() {
    require!(Capability::Server);
    let place = Place::new("hard_limit");
    place.database.execute(
        "CREATE TABLE t AS SELECT g AS id, repeat(md5(g::text), 750000) AS x FROM generate_series(1, 27) g",
    );
    // Rows of 24 MB, 648 MB in all. The limit is for address space, in KiB, and includes what else a program
    // needs.
    let export = |memory: &str, args: &[&str]| {
        let mut bash = Command::new("bash");
        bash.current_dir(place.folder.path());
        bash.args(["-c", "ulimit -v 560000; exec \"$@\"", "bash", env!("CARGO_BIN_EXE_pgarrow"), "export"]);
        run(bash.arg(place.database.url()).args(["-t", "t", "--memory", memory]).args(args))
    };
    for name in ["x.arrow", "x.parquet"] {
        let ran = export("128M", &["-o", name, "--report", "r.json", "--overwrite"]);
        ran.assert_success();
        let report = report(&place);
        assert_eq!(report["rows"], 27);
        assert!(report["memory"]["peak_bytes"].as_u64().unwrap() <= 128 << 20, "{}", report["memory"]);
    }
    assert!(fs::metadata(place.path("x.arrow")).unwrap().len() > 630_000_000);
    // The error for a row that does not fit names the option to change.
    let ran = export("32M", &["-o", "y.parquet"]);
    ran.assert_refused(2, &["of memory at once", "--memory"]);
    assert_eq!(place.names(), ["r.json", "x.arrow", "x.parquet"]);
}

#[test]
fn a_signal_while_several_read() {
    require!(Capability::Server);
    let place = Place::new("several_interrupted");
    place.database.execute(NUMBERS);
    let filter = "pg_sleep(0.01) is not null";
    let args = ["-t", "t", "--where", filter, "--slice-bytes", "64K", "--readers", "3", "-o", "out/"];
    let child = start(&mut place.export_command(&args));
    eventually("all read", || place.counts("state = 'active' AND query LIKE 'COPY%pg_sleep%'") == 3);
    assert_eq!(place.names().len(), 1, "a temporary folder");
    send(&child, Signal::SIGINT);
    let ran = end_of(child, 5);
    assert_eq!(ran.code, Some(130));
    assert_cancelled(&ran, "SIGINT");
    assert!(place.names().is_empty(), "{:?}", place.names());
    eventually("the server has stopped", || place.database.n_sessions("pgarrow") == 0);
}

/// A preview: before, analysts had to write a query for it.
#[test]
fn a_limit_is_for_one_table_or_query() {
    require!(Capability::Server);
    let place = Place::new("limit");
    place.database.execute(NUMBERS);
    let to_stdout = ["--to", "ipc-stream", "-o", "-"];
    for (args, rows) in [
        (&["-t", "t", "--limit", "5"][..], 5),
        (&["-t", "t", "--limit", "0"], 0),
        (&["-t", "t", "--limit", "5", "--readers", "3", "--slice-bytes", "64K"], 5),
        (&["-t", "t", "--limit", "5", "--where", "id > 19998"], 2),
    ] {
        assert_eq!(totals(&place.export(&[args, &to_stdout].concat())).0, rows, "{args:?}");
    }
    let query = ["-q", "select id from t order by id desc", "--limit", "2"];
    assert_eq!(totals(&place.export(&[&query[..], &to_stdout].concat())), (2, 39_999));
    for (args, words) in [
        (&["-t", "t", "-t", "pg_class", "--limit", "5", "-o", "d/"][..], "--limit: is for one --table"),
        (&["-t", "t", "--limit", "5", "--split-on", "id", "--to", "none"], "a limit is for one statement"),
    ] {
        place.export(args).assert_refused(2, &[words]);
    }
}
