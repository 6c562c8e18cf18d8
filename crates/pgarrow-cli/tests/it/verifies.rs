//! `pgarrow verify` with a server: everything that can differ is found, and said where.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use pgarrow_testkit::{Capability, require};
use serde_json::Value;

use crate::signals::send;
use crate::support::{Place, Ran, command, end_of, eventually, run, start};

pub(crate) const FORMATS: [&str; 3] = ["parquet", "ipc", "ipc-stream"];

/// Tables of several kinds, with names that would be SQL, paths or names of our own if nobody took care.
pub(crate) const TABLES: &str = r#"
    CREATE SCHEMA shop; CREATE SCHEMA "Odd/..";
    CREATE DOMAIN shop.cents AS int CHECK (VALUE >= 0);
    CREATE TABLE shop.orders AS SELECT g AS id, (g * 7) % 10007 AS other, md5(g::text) AS t,
        (g::numeric / 4)::numeric(12,2) AS price, date '2020-01-01' + g % 1000 AS at, g::shop.cents AS cents,
        CASE g % 3 WHEN 0 THEN NULL ELSE ARRAY[g, NULL, 1] END AS list FROM generate_series(1, 5000) AS g;
    CREATE TABLE shop.empty (a int, b text, c int[]);
    CREATE TABLE shop.parts (id int, at date) PARTITION BY RANGE (id);
    CREATE TABLE shop.parts_1 PARTITION OF shop.parts FOR VALUES FROM (0) TO (100);
    CREATE TABLE shop.parts_2 PARTITION OF shop.parts FOR VALUES FROM (100) TO (1000);
    INSERT INTO shop.parts SELECT g, date '2026-01-01' FROM generate_series(0, 999) AS g;
    CREATE TABLE shop.parent (id int); CREATE TABLE shop.child () INHERITS (shop.parent);
    INSERT INTO shop.parent VALUES (1); INSERT INTO shop.child VALUES (2), (2);
    CREATE TABLE "Odd/.."."../etc/""x" (h0 int, r text, place text, "sel""ect; --" int[], " " bool, n0 numeric(5,2));
    INSERT INTO "Odd/.."."../etc/""x" VALUES (1, '-', NULL, '{1}', true, 1.5), (1, NULL, '-', '{NULL}', NULL, NULL);
    CREATE VIEW shop.view AS SELECT id, t FROM shop.orders WHERE id < 10;
    ANALYZE;
"#;

const NAMES: &str = r#"'shop.*', 'shop.view', '"Odd/..".*'"#;

impl Place {
    /// Runs a job of these tables, with these lines at the end of its file.
    pub(crate) fn run_job_of(&self, tables: &str, format: &str, lines: &str) {
        let url = self.database.url();
        let job = format!(
            "[source]\nconnection = \"{url}\"\ntables = [{tables}]\n[destination]\npath = \"lake\"\n\
             format = \"{format}\"\n{lines}"
        );
        fs::write(self.path("verify.toml"), job).unwrap();
        run(command(self.folder.path()).args(["run", "verify.toml"])).assert_success();
    }

    /// Compares with the server.
    fn verify(&self, args: &[&str]) -> Ran {
        run(command(self.folder.path()).args(["verify", "lake", self.database.url()]).args(args))
    }

    fn verify_json(&self, args: &[&str]) -> Value {
        serde_json::from_slice(&self.verify(&[args, &["--json"]].concat()).stdout).unwrap()
    }

    /// Asserts that everything is the same, but for values that are not compared.
    #[track_caller]
    fn assert_same(&self, says: &str) {
        let ran = self.verify(&["--full"]);
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout_text(), ran.stderr);
        assert!(ran.stderr.contains(says), "{says}: {}{}", ran.stdout_text(), ran.stderr);
    }

    /// Asserts that these lines are all that differs, with and without a look at each row.
    #[track_caller]
    fn assert_differs(&self, sums: &[&str], rows: &[&str]) {
        let ran = self.verify(&[]);
        ran.assert_said(11, "the table may have changed since");
        assert_eq!(ran.stdout_text().lines().collect::<Vec<_>>(), sums);
        let ran = self.verify(&["--full"]);
        ran.assert_said(11, "the table may have changed since");
        let expected: Vec<_> = sums.iter().chain(rows).copied().collect();
        let found: Vec<String> = ran.stdout_text().lines().map(without_run).collect();
        assert_eq!(found, expected);
    }
}

/// A line with a file's name as it is without the run's id.
fn without_run(line: &str) -> String {
    match (line.find("/part-00000-"), line.find("\", row")) {
        (Some(from), Some(to)) => format!("{}{}", &line[..from], &line[to..]),
        _ => line.to_owned(),
    }
}

/// Every type that there is: what no choice has changed is compared, and is the same.
#[test]
fn every_type() {
    require!(Capability::Server);
    let place = Place::new("verify_types");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/every_type.sql");
    place.database.execute(&fs::read_to_string(path).unwrap());
    for format in FORMATS {
        let choices =
            "[options]\ninfinity = \"null\"\nnan = \"null\"\nout_of_range = \"null\"\narrays = \"shaped\"\n";
        place.run_job_of("'every_type.*'", format, choices);
        place.assert_same("but for the values of");
        // The only reason is that a choice has changed values.
        let json = place.verify_json(&[]);
        let not_compared = json["server"]["not_compared"].as_array().unwrap();
        let is_changed =
            |it: &Value| it["why"].as_str().unwrap().contains("a choice about types has changed");
        assert!(!not_compared.is_empty() && not_compared.iter().all(is_changed), "{not_compared:?}");
    }
}

#[test]
fn tables_of_every_kind_are_the_same() {
    require!(Capability::Server);
    let place = Place::new("verify_same");
    place.database.execute(TABLES);
    // Arrays whose form on the server is another than a list's: counted from 0; NULLs that are gone.
    place.database.execute(
        "CREATE TABLE shop.lists (a int[], b text[], c shop.cents[]);
         INSERT INTO shop.lists VALUES ('[0:1]={1,2}', '{a,NULL}', '{1,NULL}'), ('{}', '{}', '{}'), (NULL, NULL, NULL);
         UPDATE shop.lists SET b[2] = 'b', c[2] = 5 WHERE a IS NOT NULL AND cardinality(a) > 0",
    );
    for format in FORMATS {
        place.run_job_of(NAMES, format, "");
        // The tables that inherit are read with their parents, and by themselves.
        place.assert_same("8 tables with 6,019 rows are what the server has\n");
        place.run_job_of("'shop.lists'", format, "[options]\narrays = \"shaped\"\n");
        place.assert_same("1 table with 3 rows are what the server has\n");
        place.run_job_of(NAMES, format, "[options]\ntrim = true\nfile_size = \"20K\"\nbatch_rows = 500\n");
        place.assert_same("8 tables with 6,019 rows are what the server has\n");
    }
    place.run_job_of(NAMES, "parquet", "");
    let job = fs::read_to_string(place.path("verify.toml")).unwrap();
    fs::write(place.path("verify.toml"), job.replace("[destination]", "only = true\n[destination]")).unwrap();
    run(command(place.folder.path()).args(["run", "verify.toml"])).assert_success();
    place.assert_same("8 tables with 6,017 rows are what the server has\n");
}

/// Of a table that a job reads in part, what can be compared is; files of several runs are not a table's
/// rows.
#[test]
fn tables_that_are_read_in_part() {
    require!(Capability::Server);
    let place = Place::new("verify_part");
    place.database.execute(
        "CREATE TABLE t AS SELECT g AS a, g AS b FROM generate_series(1, 10) AS g; CREATE TABLE u AS TABLE t;
         CREATE TABLE v AS TABLE t",
    );
    let rules = "[[table]]\nname = \"t\"\ncolumns = [\"a\"]\n[[table]]\nname = \"u\"\nfilter = \"a > 5\"\n\
                 [[table]]\nname = \"v\"\nincremental = \"xmin\"\n";
    place.run_job_of("'t', 'u', 'v'", "parquet", rules);
    place.assert_same("2 tables with 20 rows are what the server has\n");
    place.database.execute("UPDATE v SET b = 0 WHERE a = 1; UPDATE t SET b = 0 WHERE a = 1");
    run(command(place.folder.path()).args(["run", "verify.toml"])).assert_success();
    place.assert_same("1 table with 10 rows are what the server has\n");
    let json = place.verify_json(&[]);
    let not_compared = json["server"]["not_compared"].as_array().unwrap();
    let tables: Vec<_> = not_compared.iter().map(|it| it["table"].as_str().unwrap()).collect();
    assert_eq!(tables, ["public.u", "public.v"]);
    place.database.execute("UPDATE t SET a = 0 WHERE a = 1");
    place.assert_said_of("a", "other values; another smallest value; another sum");
}

/// As many columns as a table can have, and none.
#[test]
fn the_most_columns_and_none() {
    require!(Capability::Server);
    let place = Place::new("verify_wide");
    place.database.execute(
        "DO $$ BEGIN
           EXECUTE (SELECT 'CREATE TABLE wide (' || string_agg(format('c%s int4', g), ', ' ORDER BY g) || ')'
             FROM generate_series(0, 1599) AS g);
           EXECUTE (SELECT 'INSERT INTO wide VALUES (' || string_agg(g::text, ', ' ORDER BY g) || ')'
             FROM generate_series(0, 1599) AS g);
         END $$;
         INSERT INTO wide VALUES (1); INSERT INTO wide VALUES (NULL);
         CREATE TABLE nothing (); INSERT INTO nothing SELECT; INSERT INTO nothing SELECT",
    );
    for format in ["ipc", "ipc-stream"] {
        place.run_job_of("'wide', 'nothing'", format, "");
        place.assert_same("2 tables with 5 rows are what the server has\n");
    }
    place.database.execute("UPDATE wide SET c1599 = 0 WHERE c1599 = 1599; DELETE FROM nothing");
    let text = place.verify(&["--full"]).stdout_text().to_owned();
    for line in [
        "public.wide, column \"c1599\": other values",
        "public.wide: 1 row is only in the files, 1 row is only on the server",
        "public.nothing: rows: 2 in the files, 0 on the server",
        "public.nothing: 2 rows are only in the files",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn choices_about_types() {
    require!(Capability::Server);
    let place = Place::new("verify_choices");
    place.database.execute(
        "CREATE TYPE mood AS ENUM ('sad', 'ok');
         CREATE TABLE v (free numeric, f numeric, s numeric(6,2), i interval, at timestamp, c char(4), m mood, ip inet,
             b bool, big int8, x xml, k \"char\", j jsonb);
         INSERT INTO v VALUES (1.50, 0.25, 2.5, '1 mon 2 days', '2020-01-01 00:00:01', 'ab', 'ok', '::1', true,
             9223372036854775807, NULL, 'a', '{\"a\": 1}'), (2, 1, NULL, NULL, NULL, '', NULL, '10.0.0.0/8', NULL,
             9223372036854775807, NULL, NULL, NULL)",
    );
    for format in FORMATS {
        place.run_job_of(
            "'v'",
            format,
            "[options]\ntrim = true\ncolumn = [\"free:decimal(20,4)\", \"f:float64\", \"i:interval=text\", \
             \"at:timestamp-unit=ms\", \"b:text\", \"s:text\"]\nstrings = \"large\"\nenum = \"text\"\n",
        );
        place.assert_same("1 table with 2 rows are what the server has, but for the values of 3 columns");
        let json = place.verify_json(&[]);
        let of = |it: &Value| it["column"].as_str().unwrap().to_owned();
        let not_compared: Vec<_> =
            json["server"]["not_compared"].as_array().unwrap().iter().map(of).collect();
        assert_eq!(not_compared, ["free", "f", "at"]);
    }
    // Numbers are compared whatever they became, and NULLs always.
    place.database.execute("UPDATE v SET free = 3 WHERE free = 2");
    place.assert_said_of("free", "another largest value; another sum");
    place.database.execute("UPDATE v SET free = 2 WHERE free = 3; UPDATE v SET f = NULL WHERE f = 1");
    place.assert_said_of("f", "NULLs: 0 in the files, 1 on the server");
}

impl Place {
    #[track_caller]
    fn assert_said_of(&self, column: &str, what: &str) {
        let json = self.verify_json(&[]);
        let differences = json["server"]["differences"].as_array().unwrap();
        assert_eq!(differences.len(), 1, "{json}");
        assert_eq!((&differences[0]["column"], &differences[0]["what"]), (&column.into(), &what.into()));
    }
}

#[test]
fn what_the_server_has_changed_is_found() {
    require!(Capability::Server);
    for format in FORMATS {
        let place = Place::new("verify_changed");
        place.database.execute(TABLES);
        // In the order of the table's pages: row 17 of the file has id 17.
        place.run_job_of(
            r#"'shop.orders', 'shop.parts', 'shop.empty', '"Odd/..".*'"#,
            format,
            "[options]\nordered = true\n",
        );
        let orders = |row: u32| format!("  only in the files: \"shop/orders\", row {row}");
        let sql = |sql: &str| place.database.execute(sql);
        place.assert_same("4 tables with 6,002 rows are what the server has\n");

        // A missing row. Those before and behind it stay where they are.
        sql(
            "CREATE TABLE kept AS SELECT * FROM shop.orders WHERE id = 17; DELETE FROM shop.orders WHERE id = 17",
        );
        let ran = place.verify(&["--full"]);
        let text = ran.stdout_text();
        assert!(text.contains("shop.orders: rows: 5000 in the files, 4999 on the server\n"), "{text}");
        assert!(text.contains("shop.orders, column \"id\": other values; another sum\n"), "{text}");
        assert!(text.contains("shop.orders, column \"list\": other values\n"), "{text}");
        assert!(text.contains("shop.orders: 1 row is only in the files\n"), "{text}");
        let lines: Vec<String> = text.lines().map(without_run).collect();
        assert!(lines.contains(&orders(17)), "{text}");
        // It is there again, in another place.
        sql("INSERT INTO shop.orders TABLE kept");
        place.assert_same("6,002 rows are what the server has\n");

        // A row that is there twice.
        sql("INSERT INTO shop.orders TABLE kept");
        let json = place.verify_json(&["--full"]);
        let last = json["server"]["differences"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["what"], "1 row is only on the server", "{json}");
        assert!(last["server_rows"][0].as_str().unwrap().starts_with("shop.orders ("), "{json}");
        sql("DELETE FROM shop.orders WHERE ctid = (SELECT max(ctid) FROM shop.orders)");

        // Another value, and another column's value.
        sql("UPDATE shop.orders SET t = 'x' WHERE id = 100");
        place.assert_differs(
            &["shop.orders, column \"t\": other values"],
            &[
                "shop.orders: 1 row is only in the files, 1 row is only on the server",
                &orders(100),
                &place.on_server("shop.orders", "id = 100"),
            ],
        );
        sql("UPDATE shop.orders SET t = md5(id::text), other = id WHERE id = 100");
        place.assert_differs(
            &["shop.orders, column \"other\": other values; another sum"],
            &[
                "shop.orders: 1 row is only in the files, 1 row is only on the server",
                &orders(100),
                &place.on_server("shop.orders", "id = 100"),
            ],
        );
        sql("UPDATE shop.orders SET other = 700 WHERE id = 100");

        // Two values that changed places: no column's sums differ.
        sql("UPDATE shop.orders SET t = md5((201 - id)::text) WHERE id IN (100, 101)");
        let places = ["100", "101"].map(|id| place.on_server("shop.orders", &format!("id = {id}")));
        let ran = place.verify(&["--full"]);
        let lines: Vec<String> = ran.stdout_text().lines().map(without_run).collect();
        assert_eq!(lines[0], "shop.orders: the columns have the same values, but in other rows");
        assert_eq!(lines[1], "shop.orders: 2 rows are only in the files, 2 rows are only on the server");
        assert_eq!(lines[2..4], [orders(100), orders(101)]);
        assert!(places.iter().all(|place| lines[4..].contains(place)) && lines.len() == 6, "{lines:?}");
        sql("UPDATE shop.orders SET t = md5(id::text) WHERE id IN (100, 101)");

        // NULL, in a list too; a partition; a table with an odd name.
        sql("UPDATE shop.orders SET price = NULL WHERE id = 1; UPDATE shop.orders SET list[2] = 0 WHERE id = 2;
             UPDATE shop.parts SET at = at + 1 WHERE id = 500;
             UPDATE \"Odd/..\".\"../etc/\"\"x\" SET r = '', place = '--' WHERE r IS NULL;
             INSERT INTO shop.empty VALUES (NULL, NULL, NULL)");
        let ran = place.verify(&["--full"]);
        let text = ran.stdout_text();
        for line in [
            "shop.orders, column \"price\": NULLs: 0 in the files, 1 on the server; other values; another smallest \
             value; another sum",
            "shop.orders, column \"list\": other values",
            "shop.parts, column \"at\": other values; another largest value",
            &place.on_server("shop.parts_2", "id = 500"),
            "Odd/...../etc/\"x, column \"r\": NULLs: 1 in the files, 0 on the server; other values",
            "Odd/...../etc/\"x, column \"place\": other values",
            "shop.empty: rows: 0 in the files, 1 on the server",
            "shop.empty, column \"a\": NULLs: 0 in the files, 1 on the server",
            "  only on the server: shop.empty (0,1)",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }

        // Tables and columns that came, went and changed.
        sql("DROP TABLE shop.empty; ALTER TABLE shop.parts ADD COLUMN new int; ALTER TABLE shop.orders DROP COLUMN price,
             ALTER COLUMN cents TYPE int8");
        let text = place.verify(&[]).stdout_text().to_owned();
        for line in [
            "shop.empty: it is not on the server",
            "shop.parts, column \"new\": it is on the server, and not in the files",
            "shop.orders, column \"price\": it is in the files, and not on the server",
            "shop.orders, column \"cents\": it is bigint now, and was shop.cents",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}

impl Place {
    /// The line that names a row of the server.
    fn on_server(&self, table: &str, condition: &str) -> String {
        let sql = format!("SELECT ctid::text FROM {table} WHERE {condition}");
        let ctid: String = self.database.client().query_one(&sql, &[]).unwrap().get(0);
        format!("  only on the server: {table} {ctid}")
    }

    /// The only file of a table.
    fn file_of(&self, table: &str) -> PathBuf {
        let files: Vec<_> = fs::read_dir(self.path("lake").join(table)).unwrap().collect();
        assert_eq!(files.len(), 1);
        files[0].as_ref().unwrap().path()
    }
}

#[test]
fn files_that_are_damaged_are_said_by_their_names() {
    require!(Capability::Server);
    for format in FORMATS {
        let place = Place::new("verify_damaged");
        place.database.execute(TABLES);
        place.run_job_of("'shop.orders', 'shop.parts'", format, "");
        let file = place.file_of("shop/orders");
        let bytes = fs::read(&file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        // A flipped bit of the values: the file is said in any case.
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 3] ^= 1;
        for (changed, says) in [
            (flipped, "another SHA-256"),
            (bytes[..bytes.len() / 2].to_vec(), "bytes, and had"),
            (bytes[..bytes.len() - 1].to_vec(), "its rows cannot be read"),
            (Vec::new(), "it has 0 bytes"),
        ] {
            fs::write(&file, changed).unwrap();
            for args in [&[][..], &["--full"]] {
                let ran = place.verify(args);
                ran.assert_said(10, "from what run");
                let is_said = |line: &str| line.contains(name) && line.contains(says);
                assert!(ran.stdout_text().lines().any(is_said), "{says}: {}", ran.stdout_text());
                // The other table was compared nevertheless.
                assert!(!ran.stdout_text().contains("shop.parts"), "{}", ran.stdout_text());
            }
        }
        fs::remove_file(&file).unwrap();
        place.verify(&[]).assert_said(10, "from what run");
        fs::write(&file, &bytes).unwrap();
        place.assert_same("2 tables with 6,000 rows");
    }
}

/// Whoever could write the files could write their checksums, too: rows still are what the server has, or
/// not.
#[test]
fn rows_are_counted_whatever_the_manifest_says() {
    require!(Capability::Server);
    let place = Place::new("verify_forged");
    place.database.execute("CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 10) AS g");
    place.run_job_of("'t'", "ipc", "");
    let (path, manifest) = (place.file_of("public/t"), "lake/_pgarrow/manifests/00000001.json");
    let (first, kept) = (fs::read(place.path(manifest)).unwrap(), fs::read(&path).unwrap());
    fs::remove_dir_all(place.path("lake")).unwrap();
    place.database.execute("INSERT INTO t VALUES (10)");
    place.run_job_of("'t'", "ipc", "");
    let other = fs::read(place.file_of("public/t")).unwrap();
    assert_ne!(kept, other);
    // The manifest of the second run, with the first one's number of rows.
    let mut second: Value = serde_json::from_slice(&fs::read(place.path(manifest)).unwrap()).unwrap();
    assert_ne!(first, fs::read(place.path(manifest)).unwrap());
    second["tables"][0]["rows"] = 10.into();
    second["tables"][0]["files"][0]["rows"] = 10.into();
    fs::write(place.path(manifest), second.to_string()).unwrap();
    run(command(place.folder.path()).args(["verify", "lake"])).assert_success();
    let ran = place.verify(&[]);
    ran.assert_said(10, "1 file differs");
    assert!(ran.stdout_text().contains("it has 11 rows, and had 10"), "{}", ran.stdout_text());
}

/// More rows than fit: several passes find the same as one.
#[test]
fn rows_that_do_not_fit_memory() {
    require!(Capability::Server);
    let place = Place::new("verify_passes");
    place.database.execute("CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 200000) AS g");
    place.run_job_of("'t'", "parquet", "");
    place.database.execute("UPDATE t SET a = -a WHERE a % 10000 = 0; DELETE FROM t WHERE a = 5");
    let one = place.verify_json(&["--full"]);
    let several = place.verify_json(&["--full", "--memory", "32M"]);
    place.verify(&["--full", "--memory", "16M"]).assert_refused(2, &["32 MiB", "--memory"]);
    let last = |json: &Value| json["server"]["differences"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last(&one)["what"], "21 rows are only in the files, 20 rows are only on the server");
    assert_eq!(last(&one)["file_rows"].as_array().unwrap().len(), 10);
    assert_eq!(last(&one)["server_rows"].as_array().unwrap().len(), 10);
    assert_eq!(last(&one)["what"], last(&several)["what"]);
    assert_eq!(last(&one)["file_rows"], last(&several)["file_rows"]);
}

#[test]
fn a_role_without_md5() {
    require!(Capability::Server);
    let place = Place::new("verify_fips");
    let name: String =
        place.database.client().query_one("SELECT current_database()::text", &[]).unwrap().get(0);
    let role = format!("{name}_role");
    place.database.execute(&format!(
        "CREATE TABLE t AS SELECT g AS a, g::text AS b FROM generate_series(1, 10) AS g; CREATE ROLE \"{role}\";
         GRANT SELECT ON t TO \"{role}\"; REVOKE EXECUTE ON FUNCTION pg_catalog.md5(bytea) FROM PUBLIC"
    ));
    place.run_job_of("'t'", "parquet", "");
    place.verify(&["--full", "--role", &role]).assert_said(0, "1 table with 10 rows are what the server has");
    // There is a second hash, and no third.
    place.database.execute("REVOKE EXECUTE ON FUNCTION pg_catalog.sha256(bytea) FROM PUBLIC");
    let ran = place.verify(&["--role", &role]);
    place.database.execute(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
    ran.assert_said(4, "sha256");
}

#[test]
fn ctrl_c_ends_the_servers_work() {
    require!(Capability::Server);
    let place = Place::new("verify_stopped");
    place.database.execute("CREATE VIEW slow AS SELECT 1 AS a");
    place.run_job_of("'slow'", "parquet", "");
    place.database.execute("CREATE OR REPLACE VIEW slow AS SELECT 1 AS a WHERE pg_sleep(600) IS NOT NULL");
    let child = start(command(place.folder.path()).args(["verify", "lake", place.database.url()]));
    eventually("the server counts", || place.counts("state = 'active' AND wait_event = 'PgSleep'") == 1);
    send(&child, Signal::SIGINT);
    assert_eq!(end_of(child, 20).code, Some(130));
    eventually("the server has stopped", || place.counts("state = 'active'") == 0);
}

#[test]
fn flags_that_need_a_server() {
    let place = tempfile::TempDir::new().unwrap();
    for flag in [&["--full"][..], &["--memory", "64M"], &["--role", "x"], &["--connect-timeout", "1s"]] {
        let ran = run(command(place.path()).args(["verify", "lake"]).args(flag));
        assert_eq!(ran.code, Some(2), "{ran:?}");
    }
    let ran = run(command(place.path()).args(["verify", "lake", "host=/nowhere"]));
    assert_eq!(ran.code, Some(3), "{ran:?}");
}
