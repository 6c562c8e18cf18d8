//! `pgarrow load`, and exports into tables: rows come back unchanged, and targets stay unchanged after a
//! failure.

use std::fs::{self, File};
use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;

use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field, Schema};
use nix::sys::signal::Signal;
use pgarrow_testkit::postgres::Client;
use pgarrow_testkit::{Capability, Database, Fault, Proxy, TestServer, require};

use crate::signals::send;
use crate::support::{Place, Ran, assert_cancelled, command, end_of, eventually, run, start};

/// Types with all sorts of values, constraints and comments.
const SHOP: &str = "CREATE TYPE colour AS ENUM ('red', 'green'); \
    CREATE TABLE orders (id int8 PRIMARY KEY, small int2, amount numeric(12,2) NOT NULL, ratio float8, note text, \
        placed timestamptz, day date, code varchar(8), raw bytea, key uuid, doc jsonb, tags text[], paint colour, \
        ok bool, span interval); \
    COMMENT ON TABLE orders IS 'what was ordered'; COMMENT ON COLUMN orders.note IS 'as typed'; \
    INSERT INTO orders SELECT g, (g % 100)::int2, g * 1.37, CASE WHEN g % 5 = 0 THEN 'NaN' ELSE g / 7.0 END, \
        CASE WHEN g % 3 = 0 THEN NULL ELSE repeat('ä', g % 40) END, \
        '2000-01-01'::timestamptz + g * interval '1 hour 1 microsecond', '2000-01-01'::date + g, \
        left(md5(g::text), 8), decode(md5(g::text), 'hex'), md5(g::text)::uuid, \
        jsonb_build_object('g', g, 'n', NULL), ARRAY['a', NULL, g::text], \
        CASE WHEN g % 2 = 0 THEN 'red' ELSE 'green' END::colour, g % 4 = 0, g * interval '1 day 1 second' \
    FROM generate_series(1, 20000) g; \
    INSERT INTO orders (id, amount) VALUES (0, -9999999999.99); ANALYZE orders";

/// The number of rows that only one of the two tables has.
fn differences(database: &Database, one: &str, two: &str) -> i64 {
    let sql = format!(
        "SELECT count(*) FROM ((TABLE {one} EXCEPT ALL TABLE {two}) UNION ALL (TABLE {two} EXCEPT ALL TABLE {one})) AS d"
    );
    database.client().query_one(&sql, &[]).unwrap().get(0)
}

/// The number of rows, and a hash of them all.
pub(crate) fn fingerprint(database: &Database, table: &str) -> (i64, Option<String>) {
    fingerprint_by(&mut database.client(), table)
}

pub(crate) fn fingerprint_by(client: &mut Client, table: &str) -> (i64, Option<String>) {
    let sql = format!("SELECT count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM {table} AS t");
    let row = client.query_one(&sql, &[]).unwrap();
    (row.get(0), row.get(1))
}

fn text(database: &Database, sql: &str) -> Option<String> {
    database.client().query_one(sql, &[]).unwrap().get(0)
}

impl Place {
    /// `pgarrow load … --target URL` in the folder.
    pub(crate) fn load_command(&self, args: &[&str]) -> std::process::Command {
        let mut command = command(self.folder.path());
        command.arg("load").args(args).args(["--target", self.database.url()]);
        command
    }

    pub(crate) fn load(&self, args: &[&str]) -> Ran {
        run(&mut self.load_command(args))
    }
}

#[test]
fn what_was_exported_comes_back_by_every_format() {
    require!(Capability::Server);
    let place = Place::new("load_back");
    place.database.execute(SHOP);
    for file in ["x.parquet", "x.arrow", "x.arrows"] {
        place.export(&["-t", "orders", "-o", file, "--overwrite"]).assert_success();
        place.database.execute("DROP TABLE IF EXISTS back");
        let ran = place.load(&[file, "--into", "back", "--mode", "create"]);
        ran.assert_success();
        let first = ran.said()[0];
        assert!(
            first.starts_with("public.back: 20,001 rows, ") && first.contains(" to the server in "),
            "{first}"
        );
        assert!(ran.stdout.is_empty());
        assert_eq!(differences(&place.database, "orders", "back"), 0, "{file}");
    }
    // What a created table looks like.
    let types = |table: &str| {
        let sql = format!(
            "SELECT string_agg(format('%s %s %s', attname, format_type(atttypid, atttypmod), attnotnull), ', ' ORDER BY attnum) \
             FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0"
        );
        text(&place.database, &sql)
    };
    assert_eq!(types("back"), types("orders"));
    let comment = "SELECT col_description('back'::regclass, 5)";
    assert_eq!(text(&place.database, comment).as_deref(), Some("as typed"));
}

#[test]
fn a_stream_from_stdin_a_folder_and_several_files() {
    require!(Capability::Server);
    let place = Place::new("load_streams");
    place.database.execute(SHOP);
    place
        .export(&[
            "-t",
            "orders",
            "-o",
            "parts/",
            "--file-size",
            "100K",
            "--row-group-rows",
            "5000",
            "--readers",
            "1",
        ])
        .assert_success();
    assert!(fs::read_dir(place.path("parts")).unwrap().count() > 1);
    let ran = place.load(&["parts/", "--into", "from_folder", "--mode", "create", "--report", "r.json"]);
    ran.assert_success();
    assert_eq!(differences(&place.database, "orders", "from_folder"), 0);
    let report: serde_json::Value = serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap();
    assert_eq!((&report["rows"], &report["mode"]), (&20_001.into(), &"create".into()), "{report}");
    assert_eq!(report["target"], "public.from_folder");
    assert_eq!(report["columns"][0]["pg_type"], "bigint", "{report}");
    assert!(report["wire_bytes"].as_u64().unwrap() > 1_000_000, "{report}");
    assert!(report["phases"]["encode"].as_f64().unwrap() > 0.0, "{report}");
    assert!(report["batch_times"]["p99"].as_f64() >= report["batch_times"]["p50"].as_f64(), "{report}");
    // A report is not a file of rows, and is not overwritten.
    place.load(&["parts/", "--into", "from_folder", "--report", "r.json"]).assert_refused(7, &["exists"]);
    assert_eq!(fingerprint(&place.database, "from_folder").0, 20_001);

    // From one process to another, without a file in between.
    let mut export = place.export_command(&["-t", "orders", "--to", "ipc-stream", "-o", "-", "--quiet"]);
    let mut export = export.stdout(Stdio::piped()).spawn().unwrap();
    let mut load = place.load_command(&["-", "--into", "from_stdin", "--mode", "create"]);
    let ran = run(load.stdin(export.stdout.take().unwrap()));
    assert!(export.wait().unwrap().success());
    ran.assert_success();
    assert_eq!(differences(&place.database, "orders", "from_stdin"), 0);

    place.export(&["-t", "orders", "--where", "id < 100", "-o", "a.arrow"]).assert_success();
    place
        .export(&["-t", "orders", "--where", "id >= 100", "-o", "b.parquet", "--interval", "struct"])
        .assert_success();
    let refused = place.load(&["a.arrow", "b.parquet", "--into", "two", "--mode", "create"]);
    refused.assert_refused(8, &["\"b.parquet\": column \"span\" is Struct", "in \"a.arrow\""]);
    place.export(&["-t", "orders", "--where", "id >= 100", "-o", "b.arrows"]).assert_success();
    place.load(&["a.arrow", "b.arrows", "--into", "two", "--mode", "create"]).assert_success();
    assert_eq!(differences(&place.database, "orders", "two"), 0);
}

#[test]
fn modes_append_truncate_and_create() {
    require!(Capability::Server);
    let place = Place::new("load_modes");
    place.database.execute("CREATE TABLE t (x int8 NOT NULL); INSERT INTO t SELECT generate_series(1, 10)");
    place.export(&["-t", "t", "-o", "t.parquet"]).assert_success();
    place.load(&["t.parquet", "--into", "t"]).assert_success();
    assert_eq!(fingerprint(&place.database, "t").0, 20);
    place.load(&["t.parquet", "--into", "public.t", "--mode", "truncate"]).assert_success();
    assert_eq!(fingerprint(&place.database, "t").0, 10);
    let before = fingerprint(&place.database, "t");
    let ran = place.load(&["t.parquet", "--into", "t", "--mode", "create"]);
    assert!(matches!(ran.code, Some(2 | 4)), "{ran:?}");
    assert!(ran.stderr.contains("exists") && ran.stderr.contains("--mode append"), "{}", ran.stderr);
    assert_eq!(fingerprint(&place.database, "t"), before);
    place.export(&["-q", "select 1::int8 as x where false", "-o", "empty.parquet"]).assert_success();
    let ran = place.load(&["empty.parquet", "--into", "empty", "--mode", "create"]);
    ran.assert_success();
    assert!(ran.stderr.starts_with("public.empty: 0 rows, "), "{}", ran.stderr);
    assert_eq!(fingerprint(&place.database, "empty").0, 0);
    place.load(&["t.parquet", "--into", "u"]).assert_refused(2, &["there is no", "\"u\"", "--mode create"]);
    place.load(&["t.parquet", "--into", "no.u", "--mode", "create"]).assert_refused(4, &["\"no\""]);
    // The environment counts if nothing else is given.
    let mut by_environment = command(place.folder.path());
    let config = place.database.url().parse::<pgarrow_testkit::postgres::Config>().unwrap();
    let [pgarrow_testkit::postgres::config::Host::Tcp(host)] = config.get_hosts() else { panic!("a host") };
    by_environment.env("PGHOST", host).env("PGPORT", config.get_ports()[0].to_string());
    by_environment.env("PGDATABASE", place.database.name()).env("PGUSER", config.get_user().unwrap());
    if let Some(password) = config.get_password() {
        by_environment.env("PGPASSWORD", std::str::from_utf8(password).unwrap());
    }
    run(by_environment.args(["load", "t.parquet", "--into", "t", "--quiet"])).assert_success();
    assert_eq!(fingerprint(&place.database, "t").0, 20);
}

#[test]
fn replaced_and_merged() {
    require!(Capability::Server);
    let place = Place::new("load_merge");
    place.database.execute(
        "CREATE TABLE t (id int8 PRIMARY KEY, note text); INSERT INTO t VALUES (1, 'one'), (2, 'two')",
    );
    let values = "select * from (values (2::int8, 'zwei'::text), (3, 'drei')) as v(id, note)";
    place.export(&["-q", values, "-o", "v.parquet"]).assert_success();
    let load = |args: &[&str]| place.load(&[&["v.parquet", "--into", "t"], args].concat());
    let notes = || text(&place.database, "SELECT string_agg(note, ' ' ORDER BY id) FROM t").unwrap();
    let ran = load(&[]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.stderr.contains("23505"), "{}", ran.stderr);
    load(&["--on-conflict", "skip"]).assert_success();
    assert_eq!(notes(), "one two drei");
    load(&["--mode", "upsert", "--key", "id"]).assert_success();
    assert_eq!(notes(), "one zwei drei");
    load(&["--mode", "upsert", "--key", "ID,,"]).assert_refused(2, &["ID,,"]);
    load(&["--mode", "upsert", "--key", "note"]).assert_refused(2, &["note"]);
    assert_eq!(notes(), "one zwei drei");
    load(&["--mode", "replace"]).assert_success();
    assert_eq!(notes(), "zwei drei");
}

#[test]
fn what_copy_cannot_load_is_inserted() {
    require!(Capability::Server);
    let place = Place::new("load_method");
    place.database.execute("CREATE TABLE t (id int8); CREATE VIEW v AS SELECT id FROM t WHERE id < 1000");
    place.export(&["-q", "select generate_series(1, 500)::int8 as id", "-o", "v.parquet"]).assert_success();
    place.load(&["v.parquet", "--into", "v"]).assert_refused(2, &["view", "--method insert"]);
    place.load(&["v.parquet", "--into", "v", "--method", "insert", "--report", "r.json"]).assert_success();
    let sum = text(&place.database, "SELECT count(*) || ' ' || sum(id) FROM t").unwrap();
    assert_eq!(sum, "500 125250");
    let report = std::fs::read_to_string(place.folder.path().join("r.json")).unwrap();
    assert!(report.contains("\"method\": \"insert\""), "{report}");
    place.load(&["v.parquet", "--into", "v", "--method", "auto"]).assert_success();
    assert_eq!(text(&place.database, "SELECT count(*)::text FROM t").unwrap(), "1000");
}

#[test]
fn all_that_does_not_fit_is_told_before_the_first_row() {
    require!(Capability::Server);
    let place = Place::new("load_misfits");
    place.database.execute(
        "CREATE TABLE source AS SELECT 1::int8 AS a, 'x'::text AS b, true AS c, 1.5::float8 AS d, 2 AS extra; \
         CREATE TABLE t (a int4, b uuid, c bool, d numeric(10,1), needed int NOT NULL)",
    );
    place.export(&["-t", "source", "-o", "s.parquet"]).assert_success();
    // Before, one line had all of them.
    let ran = place.load(&["s.parquet", "--into", "t"]);
    ran.assert_said(2, "cannot be loaded into public.t: 5 columns do not fit");
    for (name, says) in [
        ("a", "--convert check"),
        ("b", "uuid"),
        ("d", "--convert round"),
        ("extra", "--add-columns"),
        ("needed", "must not be NULL"),
    ] {
        let is_of = |line: &&str| line.starts_with(&format!("  {name} ")) && line.contains(says);
        assert_eq!(ran.stderr.lines().filter(is_of).count(), 1, "{name}: {}", ran.stderr);
    }
    // With what the messages propose, the load works.
    place.database.execute("ALTER TABLE t DROP COLUMN needed, ALTER COLUMN b TYPE text");
    let args = ["s.parquet", "--into", "t", "--convert", "round", "--add-columns"];
    place.load(&args).assert_success();
    assert_eq!(text(&place.database, "SELECT t::text FROM t").as_deref(), Some("(1,x,t,1.5,2)"));
    // For values that do not fit, the error names row and column, and nothing is loaded.
    place.database.execute("TRUNCATE t; INSERT INTO source SELECT 1::int8 << 40, 'secret', true, 1, 1");
    place.export(&["-t", "source", "-o", "s.parquet", "--overwrite"]).assert_success();
    let ran = place.load(&args);
    ran.assert_refused(6, &["public.t, column \"a\" (integer), row 2", "nothing was loaded"]);
    assert_eq!(fingerprint(&place.database, "t").0, 0);
}

#[test]
fn a_dry_run_says_what_would_be_made_of_what() {
    require!(Capability::Server);
    let place = Place::new("load_dry");
    place.database.execute("CREATE TABLE t (x int8, note text DEFAULT 'none'); INSERT INTO t VALUES (1)");
    place.export(&["-q", "select 5::int4 as x", "-o", "x.parquet"]).assert_success();
    let before = fingerprint(&place.database, "t");
    for mode in ["append", "truncate"] {
        let ran = place.load(&["x.parquet", "--into", "t", "--mode", mode, "--dry-run"]);
        ran.assert_success();
        let lines: Vec<&str> = ran.stdout_text().lines().collect();
        assert_eq!(lines[0], "public.t, from \"x.parquet\": 1 row", "{lines:?}");
        let x: Vec<&str> = lines[3].split_whitespace().collect();
        assert_eq!(x, ["x", "bigint", "Int32", "binary"], "{lines:?}");
        assert_eq!(fingerprint(&place.database, "t"), before);
    }
    place.load(&["x.parquet", "--into", "new", "--mode", "create", "--dry-run"]).assert_success();
    assert_eq!(text(&place.database, "SELECT to_regclass('new')::text"), None);
    let ran = place.load(&["x.parquet", "--into", "no_such_table", "--dry-run"]);
    ran.assert_refused(2, &["there is no"]);
    eventually("no session is left", || place.database.n_sessions("pgarrow") == 0);
}

#[test]
fn what_cannot_be_read_has_a_code_of_its_own() {
    require!(Capability::Server);
    let place = Place::new("load_unreadable");
    place.database.execute("CREATE TABLE t (x int8); INSERT INTO t VALUES (1)");
    let before = fingerprint(&place.database, "t");
    place
        .export(&[
            "-q",
            "select g::int8 as x, repeat('y', 100) as y from generate_series(1, 50000) g",
            "-o",
            "x.arrows",
        ])
        .assert_success();
    let bytes = fs::read(place.path("x.arrows")).unwrap();
    place.database.execute("ALTER TABLE t ADD COLUMN y text");
    let before = (before.0, fingerprint(&place.database, "t").1);
    fs::write(place.path("cut.arrows"), &bytes[..bytes.len() - 8]).unwrap();
    place
        .load(&["cut.arrows", "--into", "t"])
        .assert_refused(8, &["\"cut.arrows\": it ends without its end mark", "nothing was loaded"]);
    fs::write(place.path("half.parquet"), "PAR1").unwrap();
    place.load(&["half.parquet", "--into", "t"]).assert_refused(8, &["\"half.parquet\": "]);
    place.load(&["no.parquet", "--into", "t"]).assert_refused(8, &["\"no.parquet\": there is no such file"]);
    place.load(&["-", "--into", "t"]).assert_refused(8, &["stdin: it is empty"]);
    let mut from_file = place.load_command(&["-", "--into", "t"]);
    let ran = run(from_file.stdin(File::open(place.path("half.parquet")).unwrap()));
    ran.assert_refused(2, &["stdin: a Parquet file is read from its end"]);
    // The stream of an export that failed half way lacks rows.
    let half = "select g::int8 as x, 1 / (1000000 - g) || 'y' as y from generate_series(1, 1000000) g";
    let mut export = place.export_command(&["-q", half, "--to", "ipc-stream", "-o", "-", "--quiet"]);
    let mut export = export.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let ran = run(place.load_command(&["-", "--into", "t"]).stdin(export.stdout.take().unwrap()));
    assert_eq!(export.wait().unwrap().code(), Some(4));
    assert_eq!(ran.code, Some(8), "{ran:?}");
    assert!(ran.stderr.contains("its writer may have failed"), "{}", ran.stderr);
    assert_eq!(fingerprint(&place.database, "t"), before);
}

/// What a load asks while its file is opened, it does not ask at its end. A pipe may keep the server waiting,
/// and so nothing begins before it speaks.
#[test]
fn a_load_begins_while_its_file_is_opened() {
    require!(Capability::PrivateServer);
    let place = Place::new("loads_early");
    place.database.execute("CREATE TABLE t AS SELECT generate_series(1, 100) AS x; CREATE TABLE u (LIKE t)");
    place.export(&["-t", "t", "--to", "ipc-stream", "-o", "rows.arrows"]).assert_success();
    // It is not this one that `-` means.
    fs::write(place.path("-"), "no rows").unwrap();
    let trips = |file: &str| {
        let proxy = Proxy::start(TestServer::shared().private().unwrap().port(), Fault::None);
        let url = proxy.url_of(place.database.url());
        let load = ["load", file, "--format", "ipc-stream", "--target", &url, "--into", "u"];
        let mut command = command(place.folder.path());
        command.args(load).stdin(File::open(place.path("rows.arrows")).unwrap());
        run(&mut command).assert_success();
        eventually("the connection is closed", || proxy.n_open() == 0);
        proxy.n_round_trips()
    };
    // On a busy machine, what was begun may be over before the file is open.
    let of_file = (0..3).map(|_| trips("rows.arrows")).min().unwrap();
    assert_eq!(of_file + 1, trips("-"));
    assert_eq!(
        place.database.client().query_one("SELECT count(*) FROM u", &[]).unwrap().get::<_, i64>(0),
        400
    );
}

/// The server is connected to while a file is opened. If both fail, the file is the error, as it was when it
/// was opened first.
#[test]
fn a_file_that_cannot_be_read_is_the_error_whatever_the_server_says() {
    let place = tempfile::TempDir::new().unwrap();
    std::fs::write(place.path().join("rows.parquet"), "PAR1 and nothing of a table PAR1").unwrap();
    let nowhere = ["--target", "postgres://u@127.0.0.1:1/d", "--into", "t"];
    for file in ["rows.parquet", "missing.parquet", "."] {
        let ran = run(command(place.path()).args(["load", file]).args(nowhere));
        assert_eq!(ran.code, Some(8), "{ran:?}");
        assert!(!ran.stderr.contains("cannot connect"), "{ran:?}");
    }
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
    let file = File::create(place.path().join("good.arrow")).unwrap();
    FileWriter::try_new(file, &schema).unwrap().finish().unwrap();
    let ran = run(command(place.path()).args(["load", "good.arrow"]).args(nowhere));
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.stderr.contains("cannot connect"), "{ran:?}");
}

#[test]
fn flags_that_cannot_be() {
    let place = tempfile::TempDir::new().unwrap();
    let pgarrow = |args: &[&str]| run(command(place.path()).args(args));
    const NOWHERE: &str = "postgres://u@127.0.0.1:1/d";
    let export = |args: &[&str]| pgarrow(&[&["export", NOWHERE, "-t", "t"], args].concat());
    for (args, says) in [
        (&["--to", "postgres"][..], "give --into"),
        (&["--to", "postgres", "--into", "t", "-o", "x.parquet"], "-o is for files"),
        (&["--to", "postgres", "--into", "t", "--compression", "zstd"], "--compression is for files"),
        (&["--to", "postgres", "--into", "t", "--file-size", "1M"], "--file-size is for files"),
        (&["--to", "postgres", "--into", "t", "-t", "u"], "--into names one table"),
        (
            &["--to", "postgres", "--into", "t", "--target", NOWHERE, "--overwrite"],
            "--overwrite is for files",
        ),
        // Before, rows went into whatever PGHOST named.
        (&["--to", "postgres", "--into", "t"], "give --target CONNECTION"),
        (&["--to", "postgres", "--into", "t", "--target", " "], "give --target CONNECTION"),
        (&["--to", "postgres", "--into", "t", "--dry-run"], "give --target CONNECTION"),
        (&["--to", "none", "--into", "t"], "--into is for --to postgres"),
        (&["-o", "x.parquet", "--target", NOWHERE], "--target is for --to postgres"),
        (&["-o", "x.parquet", "--mode", "create"], "--mode is for --to postgres"),
        (&["-o", "x.parquet", "--target-role", "r"], "--target-role is for --to postgres"),
        (&["-o", "x.parquet", "--target-set", "a=b"], "--target-set is for --to postgres"),
        (&["-o", "x.parquet", "--add-columns"], "--add-columns is for --to postgres"),
        (&["-o", "x.parquet", "--convert", "check"], "--convert is for --to postgres"),
        (
            &["--to", "postgres", "--into", "t", "--commit-every", "5"],
            "--commit-every is for `pgarrow load`: an export that",
        ),
        (&["--to", "postgres", "--into", "t", "--restart-key", "k"], "export to a file, and load that"),
        (&["--to", "postgres", "--into", "t", "--reject", "r.arrow"], "--reject is for exports to files"),
        (
            &["--to", "postgres", "--into", "t", "--types-from", "arrow"],
            "--types-from is for columns that are made",
        ),
    ] {
        export(args).assert_refused(2, &[says]);
    }
    let ran = pgarrow(&["load", "x.parquet"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("--into"), "{ran:?}");
    let ran = pgarrow(&["load", "--into", "t"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("FILE"), "{ran:?}");
    let ran = pgarrow(&["load", "postgres://u:canary@h/d", "x.parquet", "--into", "t"]);
    ran.assert_refused(2, &["--target CONNECTION"]);
    assert!(!ran.stderr.contains("canary"));
    let ran = pgarrow(&["load", "x.parquet", "--into", "t", "--dry-run", "--report", "r.json"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("--report"), "{ran:?}");
    std::fs::write(place.path().join("x.arrow"), "mine").unwrap();
    let ran = pgarrow(&["load", "x.arrow", "--into", "t", "--report", "./x.arrow", "--overwrite"]);
    ran.assert_refused(2, &["--report names a file that is loaded"]);
    for (args, says) in [
        (&["--types-from", "arrow"][..], "--types-from is for columns that are made"),
        (&["--mode", "upsert", "--types-from", "arrow"], "--types-from is for columns that are made"),
        (&["--mode", "replace", "--commit-every", "5"], "replaced as a whole"),
        (&["--restart-key", ""], "a restart key is neither empty"),
        (&["--reject", "./x.arrow"], "--reject names a file that is loaded"),
        (&["--reject", "a.arrow", "--report", "./a.arrow"], "are the same file"),
    ] {
        let ran = pgarrow(&[&["load", "x.arrow", "--into", "t", "--target", NOWHERE], args].concat());
        ran.assert_refused(2, &[says]);
    }
    for args in [&["--commit-every", "0"][..], &["--reject-limit", "5"], &["--overwrite"]] {
        let ran = pgarrow(&[&["load", "x.arrow", "--into", "t"], args].concat());
        assert!(ran.code == Some(2) && ran.stderr.contains(args[0]), "{ran:?}");
    }
    // The file is checked before the server.
    let ran = pgarrow(&["load", "x.parquet", "--into", "t", "--target", NOWHERE]);
    ran.assert_refused(8, &["there is no such file"]);
    pgarrow(&["load", "x.parquet", "--into", "a.b.c"]).assert_refused(8, &["no such file"]);
}

/// Before, paths were compared as text, and a report overwrote rows that had just been loaded.
#[test]
fn outputs_that_are_inputs_by_another_name() {
    require!(Capability::Server);
    let place = Place::new("load_outputs");
    fs::create_dir(place.path("data")).unwrap();
    place.export(&["-q", "select 1 as x", "-o", "data/a.parquet"]).assert_success();
    std::os::unix::fs::symlink("data/a.parquet", place.path("link.json")).unwrap();
    let before = fs::read(place.path("data/a.parquet")).unwrap();
    for (file, report) in [
        ("data/", "data/a.parquet"),
        ("data/../data/a.parquet", "data/a.parquet"),
        ("data/a.parquet", "link.json"),
    ] {
        for option in ["--report", "--reject"] {
            let ran = place.load(&[file, "--into", "t", "--mode", "create", option, report, "--overwrite"]);
            ran.assert_refused(2, &[option, "names a file that is loaded"]);
        }
    }
    let ran = place.load(&["data/", "--into", "t", "--mode", "create", "--reject", "data/bad.arrow"]);
    ran.assert_refused(2, &["--reject would be in a folder that is loaded"]);
    assert_eq!(fs::read(place.path("data/a.parquet")).unwrap(), before);
    assert_eq!(crate::support::names(&place.path("data")), ["a.parquet"]);
    // Lists whose elements have other names, as formats and writers differ: before, the second file failed in
    // the middle.
    place.export(&["-q", "select array[1, 2] as x", "-o", "l.parquet"]).assert_success();
    place.export(&["-q", "select array[3] as x", "-o", "l.arrow"]).assert_success();
    place.load(&["l.parquet", "l.arrow", "--into", "l", "--mode", "create"]).assert_success();
    assert_eq!(fingerprint(&place.database, "l").0, 2);
}

#[test]
fn from_server_to_server() {
    require!(Capability::Server);
    let place = Place::new("load_source");
    place.database.execute(SHOP);
    place.database.execute(
        "CREATE TABLE odd (a int[], b numeric, c text); \
         INSERT INTO odd VALUES ('[0:1]={1,2}', 1.50, 'x'), ('{{1,2},{3,NULL}}', 123456789012345678901234567890.5, NULL), ('{}', NULL, '')",
    );
    let target = TestServer::shared().fresh_database("load_target");
    target.execute("CREATE TYPE colour AS ENUM ('red', 'green')");
    let to = |table: &str, args: &[&str]| {
        let into = ["-t", table, "--to", "postgres", "--target", target.url(), "--into", table];
        place.export(&[&into, args].concat())
    };
    for readers in ["1", "4"] {
        target.execute("DROP TABLE IF EXISTS orders");
        let ran =
            to("orders", &["--mode", "create", "--readers", readers, "--report", "r.json", "--overwrite"]);
        ran.assert_success();
        assert!(ran.stderr.contains("public.orders: 20,001 rows"), "{}", ran.stderr);
        assert!(
            ran.stderr.contains(" from the server in ") && ran.stderr.contains(" to the server in "),
            "{}",
            ran.stderr
        );
        assert_eq!(fingerprint(&target, "orders"), fingerprint(&place.database, "orders"));
        let report: serde_json::Value =
            serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap();
        assert_eq!((&report["rows"], &report["load"]["rows"]), (&20_001.into(), &20_001.into()), "{report}");
        assert_eq!(report["load"]["server"]["database"], target.name());
    }
    let ran = to("orders", &["--mode", "append", "--dry-run"]);
    ran.assert_success();
    let text = ran.stdout_text();
    assert!(text.contains("slices\n") && text.contains("public.orders, from public.orders: rows"), "{text}");
    assert_eq!(fingerprint(&target, "orders").0, 20_001);
    // Arrays keep their lower bounds and dimensions, numerics their digits.
    to("odd", &["--mode", "create"]).assert_success();
    assert_eq!(fingerprint(&target, "odd"), fingerprint(&place.database, "odd"));
    // A source that fails half way.
    let before = fingerprint(&target, "odd");
    let half = "select null::int[] as a, 1 / (1000000 - g)::numeric as b, 'y' as c from generate_series(1, 1000000) g";
    let args =
        ["-q", half, "--to", "postgres", "--target", target.url(), "--into", "odd", "--mode", "truncate"];
    let ran = place.export(&args);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.stderr.contains("22012"), "{}", ran.stderr);
    assert_eq!(fingerprint(&target, "odd"), before);
    // A target that refuses the last row: the error is the target's.
    target.execute("ALTER TABLE orders ADD CHECK (id <> 20000)  NOT VALID");
    let before = fingerprint(&target, "orders");
    let ran = to("orders", &["--mode", "truncate"]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.stderr.contains("23514") && ran.stderr.contains("nothing was loaded"), "{}", ran.stderr);
    assert_eq!(fingerprint(&target, "orders"), before);
    for database in [&place.database, &target] {
        eventually("no session is left", || database.n_sessions("pgarrow") == 0);
    }
}

#[test]
fn a_signal_in_the_middle_of_a_load() {
    require!(Capability::Server);
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let place = Place::new("load_signal");
        place.database.execute("CREATE TABLE t (x int8); INSERT INTO t SELECT generate_series(1, 100000)");
        let before = fingerprint(&place.database, "t");
        place.export(&["-t", "t", "-o", "t.arrows"]).assert_success();
        let bytes = fs::read(place.path("t.arrows")).unwrap();
        let mut load = place.load_command(&["-", "--into", "t", "--mode", "truncate", "--report", "r.json"]);
        let mut child = start(load.stdin(Stdio::piped()));
        // All but the end: the load waits for more.
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&bytes[..bytes.len() - 8]).unwrap();
        eventually("the COPY runs", || place.counts("state = 'active' AND query LIKE 'COPY%'") == 1);
        send(&child, signal);
        let ran = end_of(child, 5);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert_cancelled(&ran, signal.as_str());
        assert!(ran.stderr.ends_with("; nothing was loaded\n"), "{}", ran.stderr);
        drop(stdin);
        eventually("the server has stopped", || place.database.n_sessions("pgarrow") == 0);
        assert_eq!(fingerprint(&place.database, "t"), before);
        assert_eq!(place.names(), ["r.json", "t.arrows"]);
    }
}

#[test]
fn a_signal_while_a_load_waits_for_a_lock() {
    require!(Capability::Server);
    let place = Place::new("load_locked");
    place.database.execute("CREATE TABLE t (x int8)");
    place.export(&["-t", "t", "-o", "t.parquet"]).assert_success();
    let mut client = place.database.client();
    let mut transaction = client.transaction().unwrap();
    transaction.batch_execute("LOCK TABLE t IN SHARE MODE").unwrap();
    for mode in ["append", "truncate"] {
        let child = start(&mut place.load_command(&["t.parquet", "--into", "t", "--mode", mode]));
        eventually("it waits", || place.counts("wait_event_type = 'Lock'") == 1);
        send(&child, Signal::SIGTERM);
        assert_eq!(end_of(child, 5).code, Some(143));
        eventually("nobody waits any more", || place.database.n_sessions("pgarrow") == 0);
    }
    transaction.rollback().unwrap();
}

#[test]
fn a_signal_stops_source_and_target() {
    require!(Capability::Server);
    let place = Place::new("load_signal_source");
    let target = TestServer::shared().fresh_database("load_signal_target");
    target.execute("CREATE TABLE t (g int, x text); INSERT INTO t VALUES (1, 'was')");
    let before = fingerprint(&target, "t");
    let query = crate::support::ENDLESS;
    let args = ["-q", query, "--to", "postgres", "--target", target.url(), "--into", "t"];
    let child = start(&mut place.export_command(&args));
    let sql = "SELECT count(*) FROM pg_stat_progress_copy WHERE tuples_processed > 1000 AND datname = current_database()";
    eventually("rows arrive", || target.client().query_one(sql, &[]).unwrap().get::<_, i64>(0) == 1);
    send(&child, Signal::SIGINT);
    let ran = end_of(child, 10);
    assert_eq!(ran.code, Some(130), "{ran:?}");
    for database in [&place.database, &target] {
        eventually("the server has stopped", || database.n_sessions("pgarrow") == 0);
    }
    assert_eq!(fingerprint(&target, "t"), before);
}
