//! `pgarrow export --to postgres` of many tables: from one database into another.

use std::fs;
use std::process::Child;

use nix::sys::signal::Signal;
use pgarrow_testkit::{Capability, Database, TestServer, require};

use crate::loads::fingerprint;
use crate::signals::send;
use crate::support::{Place, Ran, end_of, eventually, start};

/// Two databases: the source is the place's own.
struct Two {
    place: Place,
    target: Database,
}

impl Two {
    fn new(hint: &str, source: &str, target: &str) -> Self {
        let two = Self {
            place: Place::new(hint),
            target: TestServer::shared().fresh_database(&format!("{hint}_to")),
        };
        two.place.database.execute(source);
        two.target.execute(target);
        two
    }

    fn start(&self, args: &[&str]) -> Child {
        let mut command = self.place.export_command(args);
        command.args(["--to", "postgres", "--target", self.target.url()]);
        start(&mut command)
    }

    fn copy(&self, args: &[&str]) -> Ran {
        end_of(self.start(args), 100)
    }

    /// The report of the last copy with `--report r.json`.
    fn report(&self) -> serde_json::Value {
        let path = self.place.path("r.json");
        let report = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        fs::remove_file(path).unwrap();
        report
    }

    /// Waits until the copy waits for a lock of the target.
    fn wait_for_lock(&self) {
        eventually("it waits for a lock", || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                       AND application_name = 'pgarrow' AND wait_event_type = 'Lock'";
            self.target.client().query_one(sql, &[]).unwrap().get::<_, i64>(0) == 1
        });
    }
}

fn text(database: &Database, sql: &str) -> String {
    database.client().query_one(sql, &[]).unwrap().get::<_, Option<String>>(0).unwrap_or_default()
}

fn count(database: &Database, table: &str) -> i64 {
    fingerprint(database, table).0
}

/// Twenty tables: hostile names, partitions, none or many rows, and types of all kinds in one another.
const SHOP: &str = r#"CREATE SCHEMA "So""urce"; SET search_path = "So""urce";
    CREATE TYPE "Mo""od" AS ENUM ('sad', 'it''s "ok"', E'back\\slash', 'ä');
    CREATE DOMAIN "Happy; DROP" AS "Mo""od" NOT NULL DEFAULT 'ä'
        CONSTRAINT "not ""sad" CHECK (VALUE::text <> 'sad');
    CREATE DOMAIN code AS varchar(5) COLLATE "C" CHECK (VALUE ~ '^[a-z]*$') CONSTRAINT short CHECK (length(VALUE) < 5);
    CREATE DOMAIN codes AS code[];
    CREATE DOMAIN amount AS numeric(10, 2);
    CREATE TYPE place AS ("La""t" float8, code code, name text COLLATE "POSIX", prices numeric(8, 3)[]);
    CREATE TYPE trip AS (legs place[], mood "Mo""od", amount amount);
    CREATE TABLE "enums" (id int PRIMARY KEY, m "Mo""od", h "Happy; DROP", all_of "Mo""od"[]);
    INSERT INTO "enums" SELECT g, 'it''s "ok"', E'back\\slash', ARRAY['ä', NULL]::"Mo""od"[] FROM generate_series(1, 50) g;
    CREATE TABLE "dom ains" (a code, b codes, c amount, CONSTRAINT "The ""Key" PRIMARY KEY (c, a));
    INSERT INTO "dom ains" SELECT chr(97 + g), ARRAY['x', 'yz'], g / 4.0 FROM generate_series(0, 20) g;
    CREATE TABLE trips (id int8, t trip, ts trip[]);
    INSERT INTO trips SELECT g, ROW(ARRAY[ROW(1.5, 'ab', 'x,"y', '{1.5,2}')::place, NULL], 'sad', 3)::trip,
        ARRAY[ROW(NULL, 'ä', 2.25)::trip] FROM generate_series(1, 30) g;
    CREATE TABLE parts (id int8, at date, PRIMARY KEY (at, id)) PARTITION BY RANGE (at);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
    CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
    INSERT INTO parts SELECT g, '2020-01-01'::date + g FROM generate_series(1, 700) g;
    CREATE TABLE "Ta""ble; DROP TABLE x" ("co""l; --" int, "Ünï" text, "select" text);
    INSERT INTO "Ta""ble; DROP TABLE x" VALUES (1, 'a', NULL), (2, E'b\n\\', '');
    CREATE TABLE "a.b" (x timestamptz, y interval, z numeric, w jsonb);
    INSERT INTO "a.b" VALUES ('infinity', '1 mon 2 days', 'NaN', '{"a": [1, 2.50]}'), ('2020-01-01', '-1 s', 1e50, 'null');
    CREATE TABLE large (id int8 PRIMARY KEY, note text);
    INSERT INTO large SELECT g, repeat(md5(g::text), 4) FROM generate_series(1, 40000) g;
    DO $$ BEGIN FOR i IN 1..13 LOOP
        EXECUTE format('CREATE TABLE "So""urce".%I (n int, t text)', repeat('é', 20) || i);
        EXECUTE format('INSERT INTO "So""urce".%I SELECT g, g FROM generate_series(1, %s) g',
            repeat('é', 20) || i, CASE i % 3 WHEN 0 THEN 0 ELSE i * 100 END);
    END LOOP; END $$; ANALYZE"#;

/// Schema-free names of the tables of a schema, quoted.
fn tables(database: &Database, schema: &str) -> Vec<String> {
    let sql = "SELECT quote_ident(relname) FROM pg_class WHERE relnamespace = (SELECT oid FROM pg_namespace \
               WHERE nspname = $1) AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY 1";
    database.client().query(sql, &[&schema]).unwrap().iter().map(|row| row.get(0)).collect()
}

#[test]
fn a_schema_with_its_types_and_keys() {
    require!(Capability::Server);
    let two = Two::new("servers_all", SHOP, r#"CREATE SCHEMA "Tar""get""#);
    let all = tables(&two.place.database, "So\"urce");
    assert_eq!(all.len(), 20);
    for (readers, mode) in [("4", "create"), ("1", "replace")] {
        let args =
            ["--schema", "So\"urce", "--into-schema", "Tar\"get", "--mode", mode, "--readers", readers];
        let ran = two.copy(
            &[
                &args[..],
                &["--create-types", "--key", "--report", "r.json", "--slice-bytes", "64K", "--memory", "16M"],
            ]
            .concat(),
        );
        ran.assert_success();
        assert_eq!(tables(&two.target, "Tar\"get"), all);
        for table in &all {
            let (from, to) = (format!("\"So\"\"urce\".{table}"), format!("\"Tar\"\"get\".{table}"));
            assert_eq!(fingerprint(&two.target, &to), fingerprint(&two.place.database, &from), "{table}");
            assert!(ran.stderr.contains(table.trim_matches('"')), "{table} is not in {}", ran.stderr);
        }
        assert!(ran.stderr.contains("20 tables to database"), "{}", ran.stderr);
        let report = two.report();
        assert_eq!(report["loads"].as_array().unwrap().len(), 20);
        assert_eq!(
            report["rows"],
            50 + 21 + 30 + 700 + 2 + 2 + 40_000 + (1 + 2 + 4 + 5 + 7 + 8 + 10 + 11 + 13) * 100
        );
        if mode == "create" {
            two.target.execute("DROP TABLE \"Tar\"\"get\".large, \"Tar\"\"get\".enums");
        }
    }
    let keys = "SELECT string_agg(conname || ' ' || pg_get_constraintdef(oid), '; ' ORDER BY conname) \
                FROM pg_constraint WHERE contype = 'p' AND conparentid = 0";
    assert_eq!(text(&two.target, keys), text(&two.place.database, keys));
    let types = r#"SELECT string_agg(concat_ws(' ', typname, typtype, typnotnull, pg_get_expr(typdefaultbin, 0), format_type(typbasetype, typtypmod),
          (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid),
          (SELECT string_agg(attname || format_type(atttypid, atttypmod) || attcollation, ',' ORDER BY attnum)
            FROM pg_attribute WHERE attrelid = t.typrelid),
          (SELECT string_agg(conname || pg_get_constraintdef(oid), ',' ORDER BY conname) FROM pg_constraint
            WHERE contypid = t.oid)), E'\n' ORDER BY typname)
        FROM pg_type t LEFT JOIN pg_class c ON c.oid = typrelid
        WHERE typnamespace = (SELECT oid FROM pg_namespace WHERE nspname IN ('So"urce', 'Tar"get'))
          AND (typtype IN ('e', 'd') OR relkind = 'c')"#;
    let moved = text(&two.place.database, types).replace("\"So\"\"urce\"", "\"Tar\"\"get\"");
    assert_eq!(text(&two.target, types), moved);
    assert_eq!(moved.lines().count(), 7);
}

#[test]
fn types_that_are_missing_or_differ() {
    require!(Capability::Server);
    let source = "CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('a', 'b', 'c'); CREATE DOMAIN s.d AS int CHECK (VALUE > 0); \
                  CREATE TYPE s.pair AS (x int, y text); CREATE TABLE s.a (m s.mood); CREATE TABLE s.b (d s.d); \
                  CREATE TABLE s.c (p s.pair); INSERT INTO s.a VALUES ('b'); INSERT INTO s.c VALUES ((1, 'x'))";
    let two = Two::new("servers_types", source, "CREATE SCHEMA s");
    let copy = |more: &[&str]| two.copy(&[&["--schema", "s", "--mode", "create"], more].concat());
    copy(&[]).assert_said(2, "which the target does not have; make the type there first");
    assert!(copy(&[]).stderr.contains("--create-types"));
    for (there, says) in [
        (
            "CREATE TYPE s.mood AS ENUM ('a', 'c', 'b')",
            "\"mood\" is there, and differs from the source's: its label 2 is",
        ),
        ("CREATE TYPE s.mood AS ENUM ('a', 'b')", "it lacks the label 3 \"c\""),
        ("CREATE TYPE s.mood AS ENUM ('a', 'b', 'c', 'd')", "it also has the label 4 \"d\""),
        ("CREATE DOMAIN s.mood AS text", "it is another kind of type"),
        ("CREATE TABLE s.mood (a int)", "it is another kind of type"),
        (
            "CREATE DOMAIN s.d AS int CHECK (VALUE > 1)",
            "its check is CHECK ((VALUE > 1)) here, and CHECK ((VALUE > 0)) there",
        ),
        ("CREATE DOMAIN s.d AS bigint CHECK (VALUE > 0)", "its base type is bigint here, and integer there"),
        ("CREATE DOMAIN s.d AS int NOT NULL CHECK (VALUE > 0)", "its null is NOT NULL here"),
        ("CREATE TYPE s.pair AS (x int, z text)", "its attribute 2 is \"z\" text here, and \"y\" text there"),
    ] {
        two.target.execute(there);
        let ran = copy(&["--create-types"]);
        ran.assert_said(2, says);
        assert_eq!(tables(&two.target, "s").len(), usize::from(there.contains("TABLE")), "{there}");
        two.target.execute("DROP SCHEMA s CASCADE; CREATE SCHEMA s");
    }
    // Those that are the same stay.
    two.target
        .execute("CREATE TYPE s.mood AS ENUM ('a', 'b', 'c'); CREATE DOMAIN s.d AS int CHECK (VALUE > 0)");
    copy(&["--create-types"]).assert_success();
    assert_eq!(fingerprint(&two.target, "s.c"), fingerprint(&two.place.database, "s.c"));
    // One table, of the schema that its name says.
    two.target.execute("CREATE SCHEMA t");
    let one = ["-t", "s.c", "--mode", "create", "--create-types"];
    two.copy(&[&one[..], &["--into", "t.c"]].concat()).assert_success();
    assert_eq!(
        text(
            &two.target,
            "SELECT format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = 't.c'::regclass \
                                  AND attnum = 1"
        ),
        "t.pair"
    );
    let query = ["-q", "select 1 as a", "--mode", "create", "--into", "t.q", "--create-types"];
    two.copy(&query).assert_refused(2, &["a query has no types"]);
}

const THREE: &str = "CREATE SCHEMA s; CREATE TABLE s.a (id int8, t text); CREATE TABLE s.b (id int8, t text); \
    CREATE TABLE s.c (id int8, t text); INSERT INTO s.a SELECT g, g FROM generate_series(1, 3000) g; \
    INSERT INTO s.b SELECT g, g FROM generate_series(1, 2000) g; INSERT INTO s.c SELECT g, g FROM generate_series(1, 10) g";
const THREE_EMPTY: &str = "CREATE SCHEMA s; CREATE TABLE s.a (id int8, t text); CREATE TABLE s.b (id int8, t text); \
    CREATE TABLE s.c (id int8, t text)";

fn counts(database: &Database) -> [i64; 3] {
    ["s.a", "s.b", "s.c"].map(|table| count(database, table))
}

#[test]
fn an_error_in_the_middle_leaves_nothing_or_the_others() {
    require!(Capability::Server);
    let two = Two::new("servers_error", THREE, THREE_EMPTY);
    two.target.execute("ALTER TABLE s.b ADD CHECK (id < 1900); INSERT INTO s.a VALUES (0)");
    for readers in ["1", "3"] {
        for mode in ["append", "truncate"] {
            let args = ["-t", "s.*", "--mode", mode, "--readers", readers, "--report", "r.json"];
            let ran = two.copy(&args);
            ran.assert_refused(4, &["s.b", "23514", "nothing was loaded"]);
            assert_eq!(counts(&two.target), [1, 0, 0], "{mode}");
            assert_eq!(two.report()["status"], "failed");
        }
        let args =
            ["-t", "s.*", "--keep-going", "--mode", "truncate", "--readers", readers, "--report", "r.json"];
        let ran = two.copy(&args);
        ran.assert_said(1, "1 of 3 tables failed; the others are loaded");
        assert!(ran.stderr.contains("failed: s.b: "), "{}", ran.stderr);
        assert_eq!(counts(&two.target), [3000, 0, 10]);
        let report = two.report();
        assert_eq!(
            (report["failed"][0]["table"].as_str(), report["loads"].as_array().unwrap().len()),
            (Some("s.b"), 2)
        );
        assert_eq!((&report["rows"], &report["status"]), (&3010.into(), &"incomplete".into()));
        two.target.execute("TRUNCATE s.a, s.c; INSERT INTO s.a VALUES (0)");
    }
    // Values on the source, a column that the target lacks, and a table that it lacks.
    two.place.database.execute(
        "ALTER TABLE s.c ADD x int; CREATE TABLE s.d (id int8); CREATE TABLE s.e (n numeric); INSERT INTO s.e VALUES (1), (1e12)",
    );
    two.target.execute("ALTER TABLE s.b DROP CONSTRAINT b_id_check; CREATE TABLE s.e (n numeric(9, 2))");
    let args = ["-t", "s.*", "--exclude-table", "s.d", "--convert", "check"];
    two.copy(&args).assert_said(2, "s.c");
    two.copy(&["-t", "s.*"]).assert_said(2, "\"s\".\"d\"");
    assert_eq!(counts(&two.target), [1, 0, 0]);
    let ran =
        two.copy(&["-t", "s.*", "--keep-going", "--convert", "check", "--readers", "2", "--writers", "2"]);
    ran.assert_said(1, "3 of 5 tables failed");
    assert_eq!(counts(&two.target), [3001, 2000, 0]);
    assert_eq!(count(&two.target, "s.e"), 0);
    assert_eq!(two.place.names().len(), 0);
}

#[test]
fn one_moment_and_one_transaction() {
    require!(Capability::Server);
    let two = Two::new("servers_moment", THREE, THREE_EMPTY);
    for readers in ["1", "3"] {
        let mut client = two.target.client();
        let mut transaction = client.transaction().unwrap();
        transaction.batch_execute("LOCK TABLE s.b IN ACCESS EXCLUSIVE MODE").unwrap();
        let child = two.start(&["--schema", "s", "--readers", readers]);
        two.wait_for_lock();
        // One of three tables is in the transaction, and nobody sees it.
        assert_eq!([count(&two.target, "s.a"), count(&two.target, "s.c")], [0, 0]);
        two.place.database.execute("UPDATE s.b SET t = 'later'; DELETE FROM s.c; INSERT INTO s.a VALUES (0)");
        transaction.rollback().unwrap();
        end_of(child, 100).assert_success();
        assert_eq!(counts(&two.target), [3000, 2000, 10]);
        assert_eq!(text(&two.target, "SELECT count(*)::text FROM s.b WHERE t = 'later'"), "0");
        two.target.execute("TRUNCATE s.a, s.b, s.c");
        two.place.database.execute(
            "UPDATE s.b SET t = id; DELETE FROM s.a WHERE id = 0; INSERT INTO s.c SELECT g, g FROM generate_series(1, 10) g",
        );
    }
}

#[test]
fn a_signal_or_a_kill_between_two_tables() {
    require!(Capability::Server);
    let two = Two::new("servers_signal", THREE, THREE_EMPTY);
    // The COPY into it waits, and nothing that looks at the table before.
    two.target.execute(
        "CREATE FUNCTION s.waits() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END $$; \
         CREATE TRIGGER waits BEFORE INSERT ON s.b EXECUTE FUNCTION s.waits()",
    );
    for (more, signal, code, says, left) in [
        (&[][..], Signal::SIGINT, Some(130), "nothing was loaded", 0),
        (&["--keep-going"], Signal::SIGINT, Some(130), "one table is loaded as a whole", 3000),
        (&[], Signal::SIGKILL, None, "", 0),
        (&["--keep-going"], Signal::SIGKILL, None, "", 3000),
    ] {
        let mut client = two.target.client();
        let mut transaction = client.transaction().unwrap();
        transaction.batch_execute("SELECT pg_advisory_xact_lock(42)").unwrap();
        let child = two.start(&[&["--schema", "s", "--readers", "2"], more].concat());
        two.wait_for_lock();
        send(&child, signal);
        let ran = end_of(child, 20);
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
        transaction.rollback().unwrap();
        for database in [&two.target, &two.place.database] {
            eventually("the server has stopped", || database.n_sessions("pgarrow") == 0);
        }
        assert_eq!(counts(&two.target), [left, 0, 0], "{more:?} {signal}");
        two.target.execute("TRUNCATE s.a");
    }
}

#[test]
fn foreign_keys_between_the_targets() {
    require!(Capability::Server);
    let source = "CREATE SCHEMA s; CREATE TABLE s.a (id int PRIMARY KEY, c int); CREATE TABLE s.b (id int PRIMARY KEY, a int); \
        CREATE TABLE s.c (id int PRIMARY KEY); INSERT INTO s.c SELECT g FROM generate_series(1, 500) g; \
        INSERT INTO s.a SELECT g, g FROM generate_series(1, 500) g; INSERT INTO s.b SELECT g, g FROM generate_series(1, 500) g";
    let target = "CREATE SCHEMA s; CREATE TABLE s.c (id int PRIMARY KEY); \
        CREATE TABLE s.a (id int PRIMARY KEY, c int REFERENCES s.c); \
        CREATE TABLE s.b (id int PRIMARY KEY, a int REFERENCES s.a)";
    let two = Two::new("servers_keys", source, target);
    // A child sorts before its parent, and both are loaded.
    two.copy(&["--schema", "s", "--readers", "3"]).assert_success();
    assert_eq!(counts(&two.target), [500; 3]);
    two.copy(&["--schema", "s", "--mode", "truncate"]).assert_success();
    assert_eq!(counts(&two.target), [500; 3]);
    two.copy(&["-t", "s.a", "-t", "s.c", "--mode", "truncate"])
        .assert_said(4, "load the tables that refer to them, too");
    two.target.execute("TRUNCATE s.a, s.b, s.c; ALTER TABLE s.c ADD CHECK (id < 400)");
    // What refers to a table that failed fails with it.
    two.copy(&["--schema", "s", "--keep-going"]).assert_said(1, "3 of 3 tables failed");
    assert_eq!(counts(&two.target), [0; 3]);
    two.target.execute(
        "ALTER TABLE s.c DROP CONSTRAINT c_id_check; ALTER TABLE s.c ADD FOREIGN KEY (id) REFERENCES s.b",
    );
    let ran = two.copy(&["--schema", "s"]);
    ran.assert_refused(2, &["refer to one another in a circle", "\"s\".\"a\"", "DEFERRABLE"]);
    two.target.execute("ALTER TABLE s.c ALTER CONSTRAINT c_id_fkey DEFERRABLE");
    two.copy(&["--schema", "s"]).assert_success();
    assert_eq!(counts(&two.target), [500; 3]);
    // A key that COMMIT checks.
    two.target.execute("TRUNCATE s.a, s.b, s.c");
    two.place.database.execute("DELETE FROM s.b WHERE id = 7");
    two.copy(&["--schema", "s"]).assert_said(4, "nothing was loaded");
    assert_eq!(counts(&two.target), [0; 3]);
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_read() {
    require!(Capability::Server);
    let source = "CREATE SCHEMA s; CREATE TABLE s.a (id int); CREATE SCHEMA u; CREATE TABLE u.a (id int); \
                  INSERT INTO s.a VALUES (1); INSERT INTO u.a VALUES (2)";
    let two = Two::new("servers_refused", source, "CREATE SCHEMA t; CREATE TABLE t.b (id int)");
    let refused = |args: &[&str], says: &str| two.copy(args).assert_refused(2, &[says]);
    refused(
        &["-t", "?.a", "--into-schema", "t", "--mode", "create"],
        "s.a and u.a would both go to \"t\".\"a\"",
    );
    refused(&["--schema", "s", "--into", "t.a"], "--into names one table");
    refused(&["--schema", "s", "--writers", "2"], "add --keep-going, or leave out --writers");
    refused(&["--schema", "s", "--into-schema", "t"], "--mode create makes it");
    refused(&["--schema", "s", "--into-schema", "x", "--mode", "create"], "the target has no schema \"x\"");
    refused(
        &["--schema", "s", "--key", "--into-schema", "t"],
        "--key without columns is the key of a table that is made",
    );
    refused(
        &["--schema", "s", "--into-schema", "t", "--mode", "create", "--key", "id"],
        "--key with columns is for one table",
    );
    refused(&["--schema", "s", "--create-types"], "--create-types is for tables that are made");
    refused(&["-t", "s.a", "--into", "t.a", "--keep-going"], "--keep-going is for several tables");
    let dry = two.copy(&["--schema", "s", "--into-schema", "t", "--mode", "create", "--dry-run"]);
    dry.assert_success();
    assert!(dry.stdout_text().starts_with("s.a to \"t\".\"a\": 1 column, "), "{}", dry.stdout_text());
    let missing = ["--schema", "s", "--into-schema", "x", "--mode", "create", "--dry-run"];
    refused(&missing, "the target has no schema \"x\"");
    assert_eq!(tables(&two.target, "t"), ["b"]);
    // Both, by their own schemas; and one table by its schema alone.
    two.target.execute("CREATE SCHEMA s; CREATE SCHEMA u");
    two.copy(&["-t", "?.a", "--mode", "create"]).assert_success();
    assert_eq!([count(&two.target, "s.a"), count(&two.target, "u.a")], [1, 1]);
    two.copy(&["-t", "s.a", "--into-schema", "t", "--mode", "create"]).assert_success();
    two.copy(&["-t", "?.a", "--mode", "create"]).assert_said(2, "2 problems, and nothing was read:");
}

#[test]
fn into_another_schema_of_the_same_database() {
    require!(Capability::Server);
    let place = Place::new("servers_same");
    place.database.execute(THREE);
    place.database.execute("CREATE SCHEMA t");
    let target = place.database.url().to_owned();
    let copy = |args: &[&str]| {
        let to = ["--schema", "s", "--to", "postgres", "--target", &target, "--readers", "3"];
        end_of(start(&mut place.export_command(&[&to[..], args].concat())), 100)
    };
    copy(&["--into-schema", "t", "--mode", "create"]).assert_success();
    for mode in ["append", "truncate", "replace"] {
        copy(&["--into-schema", "t", "--mode", mode]).assert_success();
    }
    assert_eq!(count(&place.database, "t.a"), 3000);
    copy(&["--mode", "truncate"]).assert_said(2, "is read by this very export");
    copy(&["--mode", "replace"]).assert_said(2, "it cannot be replaced before");
    assert_eq!(counts(&place.database), [3000, 2000, 10]);
}

#[test]
fn keys_of_one_table() {
    require!(Capability::Server);
    let source = "CREATE TABLE a (x int, \"Y\" text, z int, CONSTRAINT \"its key\" PRIMARY KEY (\"Y\", x)); \
                  INSERT INTO a SELECT g, g, g FROM generate_series(1, 3000) g; CREATE TABLE twice (x int); \
                  INSERT INTO twice VALUES (1), (1)";
    let two = Two::new("servers_key", source, "");
    let key = |table: &str| {
        text(
            &two.target,
            &format!(
                "SELECT string_agg(conname || ' ' || pg_get_constraintdef(oid), ';') FROM pg_constraint \
                                    WHERE contype = 'p' AND conrelid = '{table}'::regclass"
            ),
        )
    };
    let create = |more: &[&str]| two.copy(&[&["--mode", "create"], more].concat());
    create(&["-t", "a", "--into", "b", "--key"]).assert_success();
    assert_eq!(key("b"), "its key PRIMARY KEY (\"Y\", x)");
    // Names of indexes are those of the schema.
    create(&["-t", "a", "--into", "c", "--key"])
        .assert_said(4, "the target's schema has a relation of that name");
    create(&["-t", "a", "--into", "c", "--key", "z"]).assert_success();
    assert_eq!(key("c"), "c_pkey PRIMARY KEY (z)");
    create(&["-t", "a", "--into", "d", "--key", "x,\"Y\"", "--writers", "2"]).assert_success();
    assert_eq!(key("d"), "d_pkey PRIMARY KEY (x, \"Y\")");
    create(&["-t", "twice", "--into", "e", "--key", "x"]).assert_said(4, "23505");
    create(&["-t", "a", "--into", "e", "--columns", "z", "--key", "--key"])
        .assert_said(2, "cannot be used multiple times");
    create(&["-t", "a", "--into", "e", "--columns", "z", "--key"])
        .assert_refused(2, &["the data has no column \"Y\""]);
    create(&["-q", "select 1 as x", "--into", "e", "--key"])
        .assert_refused(2, &["a query has no types and no key"]);
    create(&["-q", "select 1 as x", "--into", "e", "--key", "x"]).assert_success();
    assert_eq!(key("e"), "e_pkey PRIMARY KEY (x)");
    // A table that is there keeps its own key.
    two.copy(&["-t", "a", "--into", "c", "--mode", "replace", "--key"]).assert_success();
    assert_eq!(key("c"), "c_pkey PRIMARY KEY (z)");
}
