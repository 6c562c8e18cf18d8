//! `pgarrow load FOLDER/ --into-schema`: folders of exports and jobs, and plain ones, into a schema.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;

use nix::sys::signal::Signal;
use pgarrow_testkit::{Capability, require};
use serde_json::Value;

use crate::loads::fingerprint;
use crate::signals::send;
use crate::support::{Place, Ran, command, end_of, eventually, run, start};

/// Tables with hostile names, many rows, and none.
const SHOP: &str = r#"CREATE SCHEMA s; CREATE SCHEMA t;
    CREATE TYPE s.mood AS ENUM ('sad', 'it''s "ok"');
    CREATE TABLE s.orders (id int8 NOT NULL, note text, m s.mood, at timestamptz);
    INSERT INTO s.orders SELECT g, repeat(md5(g::text), 3), 'sad', '2020-01-01'::timestamptz + g * interval '1 h'
        FROM generate_series(1, 20000) g;
    CREATE TABLE s."Ta""ble; DROP TABLE x/.." ("co""l; --" int, "Ünï" text);
    INSERT INTO s."Ta""ble; DROP TABLE x/.." VALUES (1, 'a'), (2, NULL);
    CREATE TABLE s."a.b" (n numeric(12, 2)); INSERT INTO s."a.b" VALUES (1.25);
    CREATE TABLE s."A.b" (n int); INSERT INTO s."A.b" VALUES (3), (4);
    CREATE TABLE s.empty (a int, b text); ANALYZE"#;

const NAMES: [&str; 5] = ["orders", "\"Ta\"\"ble; DROP TABLE x/..\"", "\"a.b\"", "\"A.b\"", "empty"];

impl Place {
    fn shop(hint: &str) -> Self {
        let place = Self::new(hint);
        place.database.execute(SHOP);
        place
    }

    fn load_all(&self, folder: &str, more: &[&str]) -> Ran {
        self.load(&[&[folder, "--into-schema", "t"], more].concat())
    }

    fn start_load(&self, folder: &str, more: &[&str]) -> Child {
        start(&mut self.load_command(&[&[folder, "--into-schema", "t"], more].concat()))
    }

    fn execute(&self, sql: &str) {
        self.database.execute(sql);
    }

    fn n_of(&self, table: &str) -> i64 {
        fingerprint(&self.database, table).0
    }

    #[track_caller]
    fn assert_alike(&self) {
        for name in NAMES {
            let of = |schema: &str| fingerprint(&self.database, &format!("{schema}.{name}"));
            assert_eq!(of("t"), of("s"), "{name}");
        }
    }

    /// Tables in the schema that is loaded.
    fn n_tables(&self) -> i64 {
        let sql = "SELECT count(*) FROM pg_class WHERE relnamespace = 't'::regnamespace AND relkind = 'r'";
        self.database.client().query_one(sql, &[]).unwrap().get(0)
    }

    fn take_report(&self) -> Value {
        let report = serde_json::from_slice(&fs::read(self.path("r.json")).unwrap()).unwrap();
        fs::remove_file(self.path("r.json")).unwrap();
        report
    }
}

/// The newest file of a folder.
fn first_file(folder: &Path) -> PathBuf {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort_by_key(|path| path.metadata().unwrap().modified().unwrap());
    paths.pop().unwrap()
}

#[test]
fn the_folder_of_an_export_comes_back() {
    require!(Capability::Server);
    let place = Place::shop("folders_export");
    for (out, more) in [
        ("p/", &[][..]),
        ("i/", &["--to", "ipc"]),
        ("many/", &["--file-size", "100K", "--row-group-rows", "2000"]),
    ] {
        place.export(&[&["--schema", "s", "-o", out], more].concat()).assert_success();
        // What the manifest does not have is never read.
        fs::write(place.path(&format!("{out}stray.parquet")), "no file of ours").unwrap();
        let ran = place.load_all(out, &["--mode", "create", "--report", "r.json"]);
        ran.assert_success();
        place.assert_alike();
        assert!(ran.stderr.contains("5 tables to database"), "{}", ran.stderr);
        assert!(ran.stderr.contains("t.orders: 20,000 rows"), "{}", ran.stderr);
        let report = place.take_report();
        assert_eq!((report["rows"].as_u64(), report["status"].as_str()), (Some(20_005), Some("complete")));
        assert_eq!(report["loads"].as_array().unwrap().len(), 5);
        assert_eq!(report["files"].as_u64().unwrap() > 5, out == "many/");
        place.load_all(out, &["--mode", "truncate"]).assert_success();
        place.assert_alike();
        place.load_all(out, &["--mode", "replace", "--keep-going"]).assert_success();
        place.assert_alike();
        place.execute("DROP SCHEMA t CASCADE; CREATE SCHEMA t");
    }
    // What would become of what, and nothing is made.
    let dry = place.load_all("p/", &["--mode", "create", "--dry-run"]);
    dry.assert_success();
    assert!(dry.stdout_text().contains("t.orders, from s.orders: 20,000 rows"), "{}", dry.stdout_text());
    assert_eq!(place.n_tables(), 0);
}

#[test]
fn the_place_of_a_job_has_what_its_newest_run_has_committed() {
    require!(Capability::Server);
    let place = Place::shop("folders_job");
    let job = |rule: &str| {
        let url = place.database.url();
        let text = format!(
            "[source]\nconnection = \"{url}\"\ntables = ['s.*']\n[destination]\npath = \"lake\"\n{rule}"
        );
        fs::write(place.path("job.toml"), text).unwrap();
        run(command(place.folder.path()).args(["run", "job.toml"])).assert_success();
    };
    // The place of a run that has committed nothing.
    fs::create_dir_all(place.path("lake/_pgarrow")).unwrap();
    place.load_all("lake", &["--mode", "create"]).assert_refused(8, &["no run has committed there"]);
    job("");
    place.execute("DELETE FROM s.orders WHERE id > 100");
    job("");
    place.load_all("lake", &["--mode", "create"]).assert_success();
    place.assert_alike();
    assert_eq!(place.n_of("t.orders"), 100);
    // A file that is gone is one of its table.
    let file = first_file(&place.path("lake/s/empty"));
    let bytes = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    place
        .load_all("lake", &["--mode", "truncate"])
        .assert_refused(8, &["is in the manifest, and is not there"]);
    let ran = place.load_all("lake", &["--mode", "truncate", "--keep-going"]);
    ran.assert_said(1, "1 of 5 tables failed; the others are loaded");
    assert!(ran.stderr.contains("failed: s.empty: "), "{}", ran.stderr);
    fs::write(&file, bytes).unwrap();
    // Rows of several runs, and columns that are in paths only.
    let growing = "[[table]]\nname = \"s.orders\"\nincremental = \"xmin\"\n";
    job(growing);
    place.execute("INSERT INTO s.orders VALUES (7000)");
    job(growing);
    place
        .load_all("lake", &["--mode", "truncate"])
        .assert_refused(2, &["s.orders: its rows are those of 2 runs", "pgarrow run --full"]);
    fs::remove_dir_all(place.path("lake")).unwrap();
    job("[[table]]\nname = \"s.orders\"\npartition_by = [\"m\"]\n");
    place
        .load_all("lake", &["--mode", "truncate"])
        .assert_refused(2, &["s.orders: the column \"m\" is in no file", "keep_partition_columns = true"]);
    assert_eq!(place.n_of("t.orders"), 100);
    fs::remove_dir_all(place.path("lake")).unwrap();
    job("[[table]]\nname = \"s.orders\"\npartition_by = [\"m\"]\nkeep_partition_columns = true\n");
    place.load_all("lake", &["--mode", "truncate"]).assert_success();
    place.assert_alike();
}

#[test]
fn a_plain_folder_has_tables_by_their_names() {
    require!(Capability::Server);
    let place = Place::shop("folders_plain");
    fs::create_dir(place.path("tables")).unwrap();
    place.export(&["-t", "s.orders", "-o", "tables/orders/", "--readers", "2"]).assert_success();
    place.export(&["-t", "s.\"a.b\"", "-o", "tables/a.b.parquet"]).assert_success();
    place.export(&["-t", "s.\"A.b\"", "-o", "tables/A.b.arrow"]).assert_success();
    fs::create_dir(place.path("tables/empty")).unwrap();
    place.export(&["-t", "s.empty", "-o", "tables/empty/one.arrows"]).assert_success();
    place.export(&["-t", "s.empty", "-o", "tables/empty/two.parquet"]).assert_success();
    let hostile = "tables/\"; DROP SCHEMA t CASCADE; --.parquet";
    place.export(&["-t", "s.\"A.b\"", "-o", hostile]).assert_success();
    fs::write(place.path("tables/_SUCCESS"), "").unwrap();
    fs::write(place.path("tables/.hidden"), "").unwrap();
    // A folder of an export, beside which there are files that it has not written.
    fs::write(place.path("tables/orders/stray"), "").unwrap();
    place.load_all("tables", &["--mode", "create"]).assert_success();
    for name in ["orders", "\"a.b\"", "\"A.b\"", "empty"] {
        let of = |schema: &str| fingerprint(&place.database, &format!("{schema}.{name}"));
        assert_eq!(of("t"), of("s"), "{name}");
    }
    assert_eq!(place.n_of("t.\"\"\"; DROP SCHEMA t CASCADE; --\""), 2);
    assert_eq!(place.n_tables(), 5);
    // All that is wrong, at once.
    fs::write(place.path("tables/bad.parquet"), "PAR1 and no more").unwrap();
    fs::write(place.path("tables/README"), "text").unwrap();
    fs::write(place.path("tables/orders.parquet"), "").unwrap();
    fs::create_dir_all(place.path("tables/deep/er")).unwrap();
    fs::create_dir(place.path("tables/none")).unwrap();
    fs::write(place.path(&format!("tables/{}.parquet", "x".repeat(64))), "").unwrap();
    let ran = place.load_all("tables", &["--mode", "truncate"]);
    for says in [
        "6 problems",
        "bad.parquet",
        "README\": neither its name nor its first bytes say what it is",
        "are both of a table \"orders\"",
        "has a folder in it",
        "has no files",
        "has at most 63 bytes",
    ] {
        assert!(ran.code != Some(0) && ran.stderr.contains(says), "{says:?} is not in {}", ran.stderr);
    }
    assert_eq!(place.n_of("t.orders"), 20_000);
}

#[test]
fn files_that_are_not_what_the_manifest_says() {
    require!(Capability::Server);
    let place = Place::shop("folders_changed");
    place.export(&["--schema", "s", "-o", "f/"]).assert_success();
    let manifest = fs::read_to_string(place.path("f/_pgarrow_manifest.json")).unwrap();
    let path = |name: &str| place.path(&format!("f/{name}"));
    let whole = fs::read(path("s.orders.parquet")).unwrap();
    fs::write(path("s.orders.parquet"), &whole[..whole.len() - 1]).unwrap();
    fs::remove_file(path("s.empty.parquet")).unwrap();
    let ran = place.load_all("f", &["--mode", "create"]);
    ran.assert_said(8, "2 problems");
    for says in ["s.empty.parquet\" is in the manifest, and is not there", "bytes, and had"] {
        assert!(ran.stderr.contains(says), "{says:?} is not in {}", ran.stderr);
    }
    // A manifest that names what is elsewhere, or is none.
    fs::write(place.path("secret.parquet"), &whole).unwrap();
    for (manifest, says) in [
        (manifest.replace("s.orders.parquet", "../secret.parquet"), "is damaged"),
        (manifest.replace("s.orders.parquet", "/etc/passwd"), "is damaged"),
        ("{}".to_owned(), "cannot be read, or is none of an export"),
        (manifest.replace("\"manifest_version\": 1", "\"manifest_version\": 9"), "use a newer pgarrow"),
    ] {
        fs::write(path("_pgarrow_manifest.json"), manifest).unwrap();
        place.load_all("f", &["--mode", "create"]).assert_said(8, says);
    }
    assert_eq!(place.n_tables(), 0);
    // Rows of a query are of no table, and two tables of one name do not go into one schema.
    place.export(&["-q", "select 1 as a", "-o", "q/"]).assert_success();
    place.load_all("q", &[]).assert_refused(2, &["does not say which table", "--into"]);
    place.execute("CREATE SCHEMA u; CREATE TABLE u.empty (x int)");
    place.export(&["-t", "?.empty", "-o", "two/"]).assert_success();
    place.load_all("two", &[]).assert_refused(2, &["s.empty and u.empty would both go to"]);
    place.export(&["-t", "s.orders", "-o", "by/", "--partition-by", "m"]).assert_success();
    place.load_all("by", &[]).assert_refused(2, &["partitions have \"m\" in their paths"]);
}

#[test]
fn an_error_in_the_middle_leaves_nothing_or_the_others() {
    require!(Capability::Server);
    let place = Place::shop("folders_error");
    place.export(&["--schema", "s", "-o", "f/"]).assert_success();
    place.load_all("f", &["--mode", "create"]).assert_success();
    place.execute("TRUNCATE t.orders, t.\"A.b\", t.\"a.b\"; ALTER TABLE t.orders ADD CHECK (id < 19900)");
    // All that does not fit, before the first row.
    place.execute("ALTER TABLE t.\"A.b\" ALTER n TYPE date USING NULL; ALTER TABLE t.\"a.b\" RENAME n TO m");
    let ran = place.load_all("f", &[]);
    ran.assert_said(2, "2 problems");
    assert!(ran.stderr.contains("\"A.b\"") && ran.stderr.contains("\"a.b\""), "{}", ran.stderr);
    place.execute(
        "DROP TABLE t.\"A.b\", t.\"a.b\"; CREATE TABLE t.\"A.b\" (n int); CREATE TABLE t.\"a.b\" (n numeric)",
    );
    for mode in ["append", "truncate"] {
        let ran = place.load_all("f", &["--mode", mode, "--report", "r.json"]);
        ran.assert_refused(4, &["t.orders", "23514", "nothing was loaded"]);
        assert_eq!(["t.orders", "t.\"A.b\""].map(|table| place.n_of(table)), [0, 0]);
        assert_eq!(place.take_report()["status"], "failed");
    }
    let ran = place.load_all("f", &["--keep-going", "--report", "r.json"]);
    ran.assert_said(1, "1 of 5 tables failed; the others are loaded");
    assert!(ran.stderr.contains("failed: s.orders: "), "{}", ran.stderr);
    assert_eq!(["t.orders", "t.\"A.b\""].map(|table| place.n_of(table)), [0, 2]);
    let report = place.take_report();
    let n_loads = report["loads"].as_array().unwrap().len();
    assert_eq!((report["failed"][0]["table"].as_str(), n_loads), (Some("s.orders"), 4));
    assert_eq!((&report["status"], &report["exit_code"]), (&"incomplete".into(), &1.into()));
    // A table that the target lacks; and a file that is gone, whose table nothing says.
    place.execute("DROP TABLE t.\"a.b\"; TRUNCATE t.\"A.b\", t.empty");
    place.load_all("f", &["--keep-going"]).assert_said(1, "2 of 5 tables failed");
    assert_eq!(["t.orders", "t.\"A.b\""].map(|table| place.n_of(table)), [0, 2]);
    fs::remove_file(place.path("f/s.empty.parquet")).unwrap();
    place.load_all("f", &["--keep-going"]).assert_said(8, "is not there");
}

#[test]
fn a_signal_between_two_tables() {
    require!(Capability::Server);
    let place = Place::new("folders_signal");
    place.execute(
        "CREATE SCHEMA s; CREATE SCHEMA t; CREATE TABLE s.a AS SELECT g FROM generate_series(1, 3000) g; \
         CREATE TABLE s.b AS TABLE s.a; CREATE TABLE t.a (LIKE s.a); CREATE TABLE t.b (LIKE s.b)",
    );
    place.export(&["--schema", "s", "-o", "f/"]).assert_success();
    let waits = "wait_event_type = 'Lock'";
    for (more, signal, code, left) in [
        (&[][..], Signal::SIGINT, Some(130), 0),
        (&["--keep-going"], Signal::SIGINT, Some(130), 3000),
        (&[], Signal::SIGKILL, None, 0),
        (&["--keep-going"], Signal::SIGKILL, None, 3000),
    ] {
        let mut client = place.database.client();
        let mut transaction = client.transaction().unwrap();
        transaction.batch_execute("LOCK TABLE t.b IN ACCESS EXCLUSIVE MODE").unwrap();
        let child = place.start_load("f", more);
        eventually("it waits for a lock", || place.counts(waits) == 1);
        send(&child, signal);
        let ran = end_of(child, 20);
        assert_eq!(ran.code, code, "{ran:?}");
        if signal == Signal::SIGINT {
            let says = if left == 0 { "nothing was loaded" } else { "one table is loaded as a whole" };
            assert!(ran.stderr.contains(says), "{}", ran.stderr);
        }
        transaction.rollback().unwrap();
        eventually("the server has stopped", || place.counts("true") == 0);
        assert_eq!([place.n_of("t.a"), place.n_of("t.b")], [left, 0], "{more:?} {signal}");
        place.execute("TRUNCATE t.a");
    }
}

#[test]
fn what_cannot_be_is_refused() {
    require!(Capability::Server);
    let place = Place::shop("folders_refused");
    place.export(&["--schema", "s", "-o", "f/"]).assert_success();
    let refused = |more: &[&str], says: &str| place.load_all("f", more).assert_refused(2, &[says]);
    refused(&["--writers", "2"], "add --keep-going, or leave out --writers");
    refused(&["--key", "id"], "files do not say which key a table has");
    refused(&["--columns", "id"], "--columns is for one table");
    refused(&["--commit-every", "5"], "--commit-every is for one table");
    refused(&["--create-types", "--mode", "create"], "files have the names of types");
    refused(&["--report", "f/r.json"], "--report would be in the folder that is loaded");
    refused(&["more"], "--into-schema loads one folder");
    place.load_all("f/s.orders.parquet", &[]).assert_refused(2, &["a folder of tables"]);
    place
        .load(&["f", "--into", "x", "--keep-going"])
        .assert_refused(2, &["--keep-going is for --into-schema"]);
    place
        .load(&["f", "--into-schema", "x", "--mode", "create"])
        .assert_said(2, "the target has no schema \"x\"");
    // Foreign keys decide the order.
    place.execute(
        "CREATE TABLE s.z (id int8 PRIMARY KEY); INSERT INTO s.z SELECT g FROM generate_series(1, 20000) g; \
         CREATE TABLE t.z (LIKE s.z INCLUDING ALL); CREATE TABLE t.orders (LIKE s.orders); \
         ALTER TABLE t.orders ADD FOREIGN KEY (id) REFERENCES t.z",
    );
    place.export(&["-t", "s.orders", "-t", "s.z", "-o", "keys/"]).assert_success();
    place.load_all("keys", &[]).assert_success();
    place.load_all("keys", &["--mode", "truncate"]).assert_success();
    assert_eq!([place.n_of("t.orders"), place.n_of("t.z")], [20_000; 2]);
    // Upserts have each table's own primary key; writers are for tables by themselves.
    place
        .load_all("keys", &["--mode", "truncate", "--keep-going", "--writers", "2"])
        .assert_said(1, "1 of 2 tables");
}
