//! A table of restart marks that another role has created first.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use pgarrow_export::{ErrorKind, Result};
use pgarrow_load::{LoadOptions, LoadReport};
use pgarrow_testkit::Database;

use crate::support::{database, load_batches, refusal, value};

const MARKS: &str = "CREATE TABLE pgarrow_load_marks (load text PRIMARY KEY, target text NOT NULL, rows int8 NOT NULL, \
    is_complete bool NOT NULL, updated timestamptz NOT NULL)";

fn run(database: &Database, role: Option<&str>) -> Result<LoadReport> {
    let x = Int64Array::from_iter_values(0..10);
    let rows = RecordBatch::try_from_iter([("x", Arc::new(x) as ArrayRef)]).unwrap();
    let options = LoadOptions::default().with_commit_every(4).with_restart_key("key");
    let options = match role {
        Some(role) => options.with_role(role),
        None => options,
    };
    load_batches(database, "t", options, &[rows])
}

/// Regression: its trigger ran with the rights of the loading role, for example a superuser, and a mark in
/// it claimed rows that were not there.
#[test]
fn marks_of_somebody_else_are_not_trusted() {
    let database = database("marks_trust", "CREATE TABLE t (x int8); GRANT ALL ON SCHEMA public TO PUBLIC");
    let [other, group, user] = ["other", "group", "user"].map(|name| format!("{name}_{}", database.name()));
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        database.execute(&format!(
            "CREATE ROLE \"{other}\"; CREATE ROLE \"{group}\"; CREATE ROLE \"{user}\" IN ROLE \"{group}\"; \
             GRANT ALL ON t TO PUBLIC; SET ROLE \"{other}\"; {MARKS}; GRANT ALL ON pgarrow_load_marks TO PUBLIC; \
             CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
               'BEGIN GRANT pg_read_all_data TO \"{other}\"; RETURN NEW; END'; \
             INSERT INTO pgarrow_load_marks VALUES ('key', 'public.t', 10, true, now()); \
             CREATE TRIGGER g BEFORE INSERT ON pgarrow_load_marks FOR EACH ROW EXECUTE FUNCTION f()"
        ));
        let gained = format!("SELECT pg_has_role('{other}', 'pg_read_all_data', 'USAGE')::text");
        for role in [None, Some(user.as_str())] {
            let error = refusal(run(&database, role));
            assert_eq!(error.kind(), ErrorKind::Options, "{error}");
            assert!(error.to_string().contains(&format!("belongs to \"{other}\"")), "{error}");
            assert_eq!(value(&database, &gained), "false");
            // The same with the right definition: its owner still controls its rows.
            database.execute("DROP TRIGGER IF EXISTS g ON pgarrow_load_marks");
        }
        // A table with a wrong definition, whoever owns it.
        for made in [
            "CREATE VIEW pgarrow_load_marks AS SELECT ''::text AS load, ''::text AS target, 1::int8 AS rows, false AS is_complete, \
             now() AS updated".to_owned(),
            MARKS.replace("CREATE TABLE", "CREATE UNLOGGED TABLE"),
            MARKS.replace("rows int8 NOT NULL", "rows int8 NOT NULL DEFAULT 7"),
            MARKS.replace("rows int8 NOT NULL", "rows int8 NOT NULL CHECK (rows > -1)"),
            MARKS.replace("rows int8 NOT NULL", "rows int4 NOT NULL"),
            MARKS.replace(" NOT NULL)", " NOT NULL, more text)"),
            format!("{MARKS}; CREATE INDEX ON pgarrow_load_marks (lower(target))"),
            format!("{MARKS}; CREATE RULE r AS ON INSERT TO pgarrow_load_marks DO ALSO NOTIFY n"),
            format!("{MARKS}; CREATE TRIGGER g BEFORE INSERT ON pgarrow_load_marks FOR EACH ROW EXECUTE FUNCTION f()"),
            format!("{MARKS}; ALTER TABLE pgarrow_load_marks ENABLE ROW LEVEL SECURITY"),
            format!("{MARKS}; CREATE TABLE child () INHERITS (pgarrow_load_marks)"),
        ] {
            database.execute(&format!("DROP TABLE pgarrow_load_marks; {made}"));
            let error = refusal(run(&database, None));
            assert!(error.to_string().contains("not as it is made"), "{made}: {error}");
            database.execute(
                "\
                 DO $$BEGIN IF (SELECT relkind = 'v' FROM pg_class WHERE oid = 'pgarrow_load_marks'::regclass) \
                   THEN DROP VIEW pgarrow_load_marks; ELSE DROP TABLE pgarrow_load_marks CASCADE; END IF; END$$; \
                 CREATE TABLE pgarrow_load_marks ()",
            );
        }
        assert_eq!(value(&database, "SELECT count(*)::text FROM t"), "0");
        // Trusted owners: the target's owner, the schema's, a role that the loader is a member of,
        // superusers.
        for (owner, loader) in [(&other, None), (&group, Some(user.as_str())), (&user, Some(user.as_str()))] {
            let of_target = if loader.is_none() { owner } else { "CURRENT_USER" };
            let of_target =
                if of_target == "CURRENT_USER" { of_target.to_owned() } else { format!("\"{of_target}\"") };
            database.execute(&format!(
                "ALTER TABLE t OWNER TO {of_target}; TRUNCATE t; DROP TABLE pgarrow_load_marks; {MARKS}; \
                 ALTER TABLE pgarrow_load_marks OWNER TO \"{owner}\""
            ));
            assert_eq!(run(&database, loader).unwrap().rows, 10);
            database.execute("ALTER TABLE t OWNER TO CURRENT_USER");
        }
        database.execute(&format!(
            "ALTER SCHEMA public OWNER TO \"{group}\"; TRUNCATE t, pgarrow_load_marks; \
             ALTER TABLE pgarrow_load_marks OWNER TO \"{user}\""
        ));
        assert_eq!(run(&database, None).unwrap().rows, 10);
        database.execute("ALTER SCHEMA public OWNER TO pg_database_owner");
    }));
    database.execute(&format!(
        "DROP OWNED BY \"{user}\"; DROP OWNED BY \"{group}\"; DROP OWNED BY \"{other}\" CASCADE; \
         DROP ROLE \"{user}\", \"{group}\", \"{other}\""
    ));
    ran.unwrap();
}
