//! `pgarrow run` and `check` of jobs whose destination is a server.

use std::fs;

use pgarrow_testkit::{Capability, Database, TestServer, require};
use serde_json::Value;

use crate::loads::fingerprint;
use crate::support::{Place, Ran, run};

/// A job from the place's database to another one.
struct Copy {
    place: Place,
    target: Database,
}

const SHOP: &str = "CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('sad', 'ok');
    CREATE TABLE s.orders (id int8 PRIMARY KEY, at timestamptz, m s.mood, note text);
    INSERT INTO s.orders SELECT g, CASE g WHEN 1 THEN 'infinity' ELSE '2020-01-01'::timestamptz + g * interval '1 h' END,
        'ok', repeat('n', g % 50) FROM generate_series(1, 5000) AS g;
    CREATE TABLE s.lines (order_id int8 REFERENCES s.orders, n int, PRIMARY KEY (order_id, n));
    INSERT INTO s.lines SELECT g, n FROM generate_series(1, 1000) AS g, generate_series(1, 3) AS n;
    CREATE TABLE s.\"Odd; \"\"one\"\"\" (x numeric); INSERT INTO s.\"Odd; \"\"one\"\"\" VALUES ('NaN'), (1e40);
    CREATE TABLE s.tmp_1 (x int); ANALYZE";

impl Copy {
    fn new(hint: &str) -> Self {
        let place = Place::new(hint);
        place.database.execute(SHOP);
        let target = TestServer::shared().fresh_database(&format!("{hint}_to"));
        target.execute("CREATE SCHEMA t");
        Self { place, target }
    }

    /// Writes the job file: its sections behind the source.
    fn write(&self, destination: &str, rest: &str) {
        let (source, target) = (self.place.database.url(), self.target.url());
        let text = format!(
            "[source]\nconnection = \"{source}\"\ntables = ['s.*']\nexclude_tables = ['tmp_*']\n\
             [destination]\nconnection = \"{target}\"\n{destination}{rest}"
        );
        fs::write(self.place.path("job.toml"), text).unwrap();
    }

    fn run(&self, args: &[&str]) -> Ran {
        run(&mut self.place.job(&[&["run", "job.toml"], args].concat()))
    }

    fn check(&self, args: &[&str]) -> Ran {
        run(&mut self.place.job(&[&["check", "job.toml"], args].concat()))
    }

    fn report(&self) -> Value {
        serde_json::from_slice(&fs::read(self.place.path("r.json")).unwrap()).unwrap()
    }

    #[track_caller]
    fn assert_alike(&self, names: &[&str]) {
        for name in names {
            let there = fingerprint(&self.place.database, &format!("s.{name}"));
            assert_eq!(fingerprint(&self.target, &format!("t.{name}")), there, "{name}");
        }
    }

    fn n_tables(&self) -> i64 {
        let sql = "SELECT count(*) FROM pg_class WHERE relnamespace = 't'::regnamespace AND relkind = 'r'";
        self.target.client().query_one(sql, &[]).unwrap().get(0)
    }
}

const NAMES: [&str; 3] = ["orders", "lines", "\"Odd; \"\"one\"\"\""];

#[test]
fn a_job_loads_a_server_every_night() {
    require!(Capability::Server);
    let copy = Copy::new("job_copy");
    let first = "[options]\nmode = \"create\"\ncreate_types = true\nkey = true\nreaders = 2\n";
    copy.write("into_schema = \"t\"\n", first);
    // Nothing stays of a check.
    let checked = copy.check(&[]);
    checked.assert_success();
    let lines = "s.orders to \"t\".\"orders\": 4 columns, about 5,000 rows\n";
    assert!(checked.stdout_text().contains(lines), "{}", checked.stdout_text());
    assert!(
        checked.stdout_text().ends_with("3 tables can be read and loaded\n"),
        "{}",
        checked.stdout_text()
    );
    assert_eq!(copy.n_tables(), 0);
    let ran = copy.run(&["--report", "r.json", "--metrics", "m.prom"]);
    ran.assert_said(0, "3 tables to database");
    copy.assert_alike(&NAMES);
    let key = "SELECT count(*) FROM pg_constraint WHERE contype = 'p' AND connamespace = 't'::regnamespace";
    assert_eq!(copy.target.client().query_one(key, &[]).unwrap().get::<_, i64>(0), 2);
    let report = copy.report();
    assert_eq!((report["status"].as_str(), report["rows"].as_u64()), (Some("complete"), Some(8002)));
    assert_eq!(report["loads"].as_array().unwrap().len(), 3);
    assert!(fs::read_to_string(copy.place.path("m.prom")).unwrap().contains("pgarrow_run_rows"));
    // The next nights: each table by its own mode. Flags win over the file.
    copy.place.database.execute(
        "DELETE FROM s.lines WHERE order_id < 10; UPDATE s.orders SET note = 'new' WHERE id < 5; \
         INSERT INTO s.orders VALUES (6000, now(), 'sad', NULL); TRUNCATE s.\"Odd; \"\"one\"\"\"; \
         INSERT INTO s.\"Odd; \"\"one\"\"\" VALUES (7)",
    );
    let rules = "[[table]]\nname = \"s.orders\"\nmode = \"upsert\"\n[options]\nmode = \"append\"\n";
    copy.write("into_schema = \"t\"\n", rules);
    copy.check(&["--mode", "truncate"]).assert_success();
    copy.run(&["--mode", "truncate"]).assert_said(0, "3 tables to database");
    copy.assert_alike(&NAMES);
    // An order that is gone on the source stays: it is not among the rows.
    copy.place.database.execute("DELETE FROM s.orders WHERE id = 6000");
    copy.run(&["--mode", "truncate"]).assert_success();
    assert_eq!(fingerprint(&copy.target, "t.orders").0, 5001);
    let effective = copy.check(&["--effective", "--mode", "truncate"]);
    assert!(effective.stdout_text().contains("mode = truncate  # flag"), "{}", effective.stdout_text());
}

#[test]
fn some_columns_and_rows_and_queries() {
    require!(Capability::Server);
    let copy = Copy::new("job_copy_some");
    let rest = "[[table]]\nname = \"orders\"\ncolumns = [\"id\", \"at\"]\nfilter = \"id % 2 = 0\"\n\
         [[query]]\nname = \"per_day\"\nsql = \"\"\"SELECT date_trunc('day', at) AS day, sum(id) AS sum FROM s.orders GROUP BY 1\"\"\"\n\
         [options]\nmode = \"create\"\n";
    copy.write("into_schema = \"t\"\n", rest);
    copy.target.execute("CREATE TYPE t.mood AS ENUM ('sad', 'ok')");
    let checked = copy.check(&[]);
    checked.assert_success();
    assert!(
        checked.stdout_text().ends_with("3 tables, 1 query can be read and loaded\n"),
        "{}",
        checked.stdout_text()
    );
    copy.run(&["--report", "r.json"]).assert_said(0, "4 tables to database");
    let some = "(SELECT id, at FROM s.orders WHERE id % 2 = 0)";
    assert_eq!(fingerprint(&copy.target, "t.orders"), fingerprint(&copy.place.database, some));
    // A moment that Arrow does not have comes over, too: it is not decoded.
    let days = "(SELECT date_trunc('day', at) AS day, sum(id) AS sum FROM s.orders GROUP BY 1)";
    assert_eq!(fingerprint(&copy.target, "t.per_day"), fingerprint(&copy.place.database, days));
    assert_eq!(copy.report()["loads"].as_array().unwrap().len(), 4);
    // Without a schema, nothing says where a query goes.
    copy.write("", rest);
    copy.run(&[]).assert_refused(2, &["the query \"per_day\" has no schema to go to", "into_schema"]);
}

/// All that is wrong is said at once, before the first row; and nothing is loaded.
#[test]
fn what_cannot_be_loaded_is_said_beforehand() {
    require!(Capability::Server);
    let copy = Copy::new("job_copy_wrong");
    copy.target.execute(
        "CREATE TABLE t.orders (id int8, at timestamptz, m text, note int4); CREATE TABLE t.lines (order_id int8)",
    );
    copy.write("into_schema = \"t\"\n", "");
    for ran in [copy.run(&[]), copy.check(&[])] {
        ran.assert_refused(2, &["there is no table \"t\".\"Odd; \"\"one\"\"\""]);
    }
    copy.target.execute("CREATE TABLE t.\"Odd; \"\"one\"\"\" (x numeric)");
    for ran in [copy.run(&[]), copy.check(&[])] {
        ran.assert_said(2, "t.orders: column \"note\" is integer");
        ran.assert_said(2, "t.lines: the table has no column \"n\"");
    }
    assert_eq!(fingerprint(&copy.target, "t.orders").0, 0);
    // Where each table is committed by itself, the others are loaded.
    let ran = copy.run(&["--keep-going", "--report", "r.json"]);
    ran.assert_said(1, "2 of 3 tables failed; the others are loaded");
    assert_eq!(copy.report()["status"], "incomplete");
    copy.assert_alike(&["\"Odd; \"\"one\"\"\""]);
    // So is what is left of tables that cannot be read, or are not there.
    copy.target.execute("DROP SCHEMA t CASCADE; CREATE SCHEMA t");
    copy.place
        .database
        .execute("CREATE VIEW s.bad AS SELECT 1 / (id - 1) AS x FROM s.orders; DROP TABLE s.lines");
    let (source, target) = (copy.place.database.url(), copy.target.url());
    let text = format!(
        "[source]\nconnection = \"{source}\"\ntables = ['s.lines', 's.orders', 's.bad']\n[destination]\n\
         connection = \"{target}\"\ninto_schema = \"t\"\n[options]\nmode = \"create\"\ncreate_types = true\n"
    );
    fs::write(copy.place.path("job.toml"), text).unwrap();
    copy.run(&[]).assert_refused(2, &["there is no table \"s\".\"lines\""]);
    let ran = copy.run(&["--keep-going", "--report", "r.json"]);
    ran.assert_said(1, "2 of 3 tables failed; the others are loaded");
    copy.assert_alike(&["orders"]);
    let failed: Vec<Value> = copy.report()["failed"].as_array().unwrap().clone();
    let failed: Vec<&str> = failed.iter().filter_map(|failed| failed["table"].as_str()).collect();
    assert_eq!(failed, ["s.lines", "s.bad"]);
}

#[test]
fn options_and_keys_that_do_not_go_with_the_destination() {
    require!(Capability::Server);
    let copy = Copy::new("job_copy_options");
    for (destination, rest, args, says) in [
        ("path = \"lake\"\n", "", &[][..], "path and connection are two destinations"),
        ("format = \"ipc\"\n", "", &[], "format is for a destination with a path"),
        (
            "",
            "[[table]]\nname = \"*\"\nincremental = \"xmin\"\n",
            &[],
            "incremental is for a destination with a path",
        ),
        ("", "[options]\ncompression = \"zstd\"\n", &[], "the option compression is for files"),
        ("", "", &["--file-size", "1M"], "the option file_size is for files"),
        ("", "", &["--writers", "2"], "--writers commit each table by itself; add --keep-going"),
        (
            "",
            "",
            &["--keep-going", "--ordered", "--writers", "2"],
            "several --writers load rows in any order",
        ),
        ("", "", &["--create-types"], "--create-types is for tables that are made"),
        ("", "", &["--types-from", "arrow"], "the option types_from is for columns that are made"),
        ("", "", &["--verify"], "--verify is for jobs that write files"),
        ("", "", &["--resume"], "--resume is for jobs that write files"),
    ] {
        copy.write(destination, rest);
        copy.run(args).assert_refused(2, &[says]);
    }
    let source = copy.place.database.url();
    let text =
        format!("[source]\nconnection = \"{source}\"\ntables = ['s.*']\n[destination]\npath = \"lake\"\n");
    fs::write(copy.place.path("job.toml"), text).unwrap();
    copy.run(&["--mode", "truncate"])
        .assert_refused(2, &["the option mode is for a destination with a connection"]);
    copy.run(&["--key"]).assert_refused(2, &["the option key is for a destination with a connection"]);
    assert_eq!(copy.place.names(), ["job.toml"]);
}

/// Rows of the held moment, though the table has others by now.
#[test]
fn a_held_snapshot_goes_into_a_server() {
    require!(Capability::Server);
    let copy = Copy::new("job_copy_held");
    let before = fingerprint(&copy.place.database, "s.orders");
    let mut hold = copy.place.start_hold(&["-t", "s.*"], "tokens.jsonl");
    copy.place.database.execute("DELETE FROM s.orders WHERE id > 2000");
    copy.write("into_schema = \"t\"\n", "[options]\nmode = \"create\"\ncreate_types = true\n");
    copy.run(&["--snapshot", "tokens.jsonl"]).assert_success();
    hold.kill().unwrap();
    hold.wait().unwrap();
    assert_eq!(fingerprint(&copy.target, "t.orders"), before);
}
