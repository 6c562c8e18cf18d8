//! What a replaced table keeps: rights, owner, storage, sequences, statistics, foreign keys.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use pgarrow_export::ErrorKind;
use pgarrow_load::{LoadMode, LoadOptions};
use pgarrow_testkit::Database;

use crate::support::{database, load, load_batches, refusal, rows, value};

fn replacing() -> LoadOptions {
    LoadOptions::default().with_mode(LoadMode::Replace)
}

fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
    let x = Int64Array::from_iter_values(range);
    RecordBatch::try_from_iter([("x", Arc::new(x) as ArrayRef)]).unwrap()
}

/// The rights on a relation, including the owner's.
fn rights(database: &Database, relation: &str) -> Vec<Vec<Option<String>>> {
    let sql = format!(
        "SELECT a.grantee::regrole::text, a.privilege_type, a.is_grantable::text FROM pg_class c, \
           aclexplode(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\", c.relowner))) a \
         WHERE c.oid = '{relation}'::regclass ORDER BY 1, 2"
    );
    rows(database, &sql)
}

/// Regression: default rights were added to the old table's. If the owner's rights had never been changed,
/// all were revoked, and the owner could not read the table any more; or revoked rights of the owner came
/// back.
#[test]
fn rights_are_the_same_for_the_owner_too() {
    let database = database("replace_rights", "");
    let (owner, reader) = (format!("owner_{}", database.name()), format!("reader_{}", database.name()));
    // The default since PostgreSQL 15: before, every role may create tables there.
    database.execute(&format!(
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC; \
         CREATE ROLE {owner}; CREATE ROLE {reader}; GRANT CREATE ON SCHEMA public TO {owner}"
    ));
    let run = || {
        for (name, granted, defaults) in [
            ("untouched", "", true),
            ("untouched", "", false),
            ("revoked", "REVOKE DELETE, TRUNCATE ON t FROM CURRENT_USER", false),
            ("revoked", "REVOKE DELETE, TRUNCATE ON t FROM CURRENT_USER", true),
            (
                "granted",
                "GRANT SELECT ON t TO pg_monitor WITH GRANT OPTION; GRANT UPDATE (x) ON t TO pg_monitor",
                true,
            ),
            ("none", "REVOKE ALL ON t FROM CURRENT_USER", true),
        ] {
            for by in [owner.as_str(), "CURRENT_USER"] {
                // This owner may not even LOCK the table.
                if name == "none" && by == owner {
                    continue;
                }
                database.execute(&format!(
                    "SET ROLE {owner}; DROP TABLE IF EXISTS t; CREATE TABLE t (x int8, i int8 GENERATED ALWAYS AS IDENTITY); \
                     {granted}"
                ));
                if defaults {
                    database.execute(&format!(
                        "ALTER DEFAULT PRIVILEGES FOR ROLE {by} GRANT DELETE ON TABLES TO {reader}; \
                         ALTER DEFAULT PRIVILEGES FOR ROLE {by} GRANT USAGE ON SEQUENCES TO {reader}"
                    ));
                }
                let before = ["t", "t_i_seq"].map(|name| rights(&database, name));
                let options = match by {
                    "CURRENT_USER" => replacing(),
                    _ => replacing().with_role(&owner),
                };
                for _ in 0..2 {
                    let loaded = load_batches(&database, "t", options.clone(), &[numbers(0..3)]);
                    assert_eq!(loaded.unwrap().rows, 3, "{name}");
                    let after = ["t", "t_i_seq"].map(|name| rights(&database, name));
                    assert_eq!(after, before, "{name}, by {by}, {defaults}");
                }
                let owned = "SELECT string_agg(relowner::regrole::text, ' ') FROM pg_class \
                             WHERE relname IN ('t', 't_i_seq')";
                assert_eq!(value(&database, owned), format!("{owner} {owner}"));
                let readable = format!("SELECT has_table_privilege('{}', 't', 'SELECT')::text", owner);
                assert_eq!(value(&database, &readable), (name != "none").to_string(), "{name}");
                if defaults {
                    database.execute(&format!(
                        "ALTER DEFAULT PRIVILEGES FOR ROLE {by} REVOKE DELETE ON TABLES FROM {reader}; \
                         ALTER DEFAULT PRIVILEGES FOR ROLE {by} REVOKE USAGE ON SEQUENCES FROM {reader}"
                    ));
                }
            }
        }
        // A role that does not own the table gets the error at the start.
        database.execute(&format!("GRANT CREATE ON SCHEMA public TO {reader}; GRANT ALL ON t TO {reader}"));
        let options = replacing().with_role(&reader);
        let error = refusal(load_batches(&database, "t", options, &[numbers(0..3)]));
        assert!(error.to_string().contains("only its owner"), "{error}");
        // If the owner may not create tables there, the new table could not be given to the owner in the
        // end.
        database.execute(&format!("GRANT {owner} TO {reader}; REVOKE CREATE ON SCHEMA public FROM {owner}"));
        let options = replacing().with_role(&reader);
        let error = refusal(load(&database, "t", options).open(numbers(0..1).schema()));
        assert!(error.to_string().contains("cannot be given to"), "{error}");
    };
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    database.execute(&format!("DROP OWNED BY {reader}; DROP OWNED BY {owner}; DROP ROLE {owner}, {reader}"));
    ran.unwrap();
}

/// Regression: all of these were silently lost.
#[test]
fn storage_sequences_and_statistics_stay() {
    let sql = "CREATE SCHEMA s; CREATE ACCESS METHOD pile TYPE TABLE HANDLER heap_tableam_handler; \
        CREATE TABLE t (x int8, i int8 GENERATED ALWAYS AS IDENTITY, y text, CONSTRAINT k PRIMARY KEY (x)) USING pile \
          WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.00001, toast.autovacuum_enabled = off, \
            toast.autovacuum_vacuum_threshold = 17); \
        CREATE INDEX e ON t (x, (y || 'x'), (x + 1)); \
        ALTER INDEX e ALTER COLUMN 2 SET STATISTICS 23, ALTER COLUMN 3 SET STATISTICS 0; ALTER TABLE t CLUSTER ON e; \
        GRANT USAGE ON SEQUENCE t_i_seq TO pg_monitor; COMMENT ON SEQUENCE t_i_seq IS 'numbers'; \
        CREATE STATISTICS s.st (ndistinct) ON x, y FROM t; ALTER STATISTICS s.st SET STATISTICS 19; \
        CREATE STATISTICS se ON (x + 1), (y || 'x') FROM t; ALTER STATISTICS se OWNER TO pg_monitor; \
        COMMENT ON INDEX e IS 'e'; COMMENT ON STATISTICS s.st IS 'st'";
    let database = database("replace_lost", sql);
    let definition = || {
        rows(
            &database,
            "SELECT 'table', a.amname, c.reloptions::text, t.reloptions::text FROM pg_class c JOIN pg_am a ON a.oid = c.relam \
               JOIN pg_class t ON t.oid = c.reltoastrelid WHERE c.oid = 't'::regclass \
             UNION ALL SELECT 'index', indexrelid::regclass::text, indisclustered::text, \
               (SELECT string_agg(coalesce(attstattarget, -1)::text, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = indexrelid) \
             FROM pg_index WHERE indrelid = 't'::regclass \
             UNION ALL SELECT 'sequence', relacl::text, obj_description(oid, 'pg_class'), relowner::regrole::text \
             FROM pg_class WHERE oid = 't_i_seq'::regclass \
             UNION ALL SELECT 'statistics', stxnamespace::regnamespace || '.' || stxname, stxowner::regrole::text, \
               concat(coalesce(stxstattarget, -1), obj_description(oid, 'pg_statistic_ext'), pg_get_statisticsobjdef(oid)) \
             FROM pg_statistic_ext ORDER BY 1, 2",
        )
    };
    let before = definition();
    assert_eq!(before.len(), 6, "{before:?}");
    assert!(format!("{before:?}").contains("autovacuum_vacuum_threshold=17"), "{before:?}");
    for _ in 0..2 {
        load_batches(&database, "t", replacing(), &[numbers(0..5)]).unwrap();
        assert_eq!(definition(), before);
    }
}

/// Regression: a NOT VALID key checks every new row of the old table, but checked none of the loaded rows in
/// the new one.
#[test]
fn a_foreign_key_that_was_never_validated_looks_at_every_row() {
    let sql = "CREATE TABLE p (x int8 PRIMARY KEY); INSERT INTO p VALUES (1), (2); CREATE TABLE t (x int8); \
        INSERT INTO t VALUES (77); ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (x) REFERENCES p ON DELETE CASCADE NOT VALID";
    let database = database("replace_not_valid", sql);
    let error = refusal(load_batches(&database, "t", replacing(), &[numbers(1..4)]));
    assert_eq!(error.sqlstate(), Some("23503"), "{error}");
    assert_eq!(value(&database, "SELECT string_agg(x::text, ' ') FROM t"), "77");
    load_batches(&database, "t", replacing(), &[numbers(1..3)]).unwrap();
    let key = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'f'";
    assert_eq!(value(&database, key), "FOREIGN KEY (x) REFERENCES p(x) ON DELETE CASCADE");
    // PostgreSQL 18 has keys that are NOT ENFORCED.
    if database
        .client()
        .query_one("SELECT current_setting('server_version_num')::int >= 180000", &[])
        .unwrap()
        .get(0)
    {
        database.execute("ALTER TABLE t ALTER CONSTRAINT f NOT ENFORCED");
        load_batches(&database, "t", replacing(), &[numbers(1..4)]).unwrap();
        assert!(value(&database, key).ends_with("NOT ENFORCED"));
    }
}

/// Regression: a missing right REFERENCES was reported after all rows were sent, with the advice to grant
/// INSERT.
#[test]
fn a_foreign_key_that_may_not_be_made_is_told_before() {
    let sql = "CREATE TABLE p (x int8 PRIMARY KEY); INSERT INTO p VALUES (1), (2); CREATE TABLE t (x int8 REFERENCES p)";
    let database = database("replace_references", sql);
    let owner = format!("owner_{}", database.name());
    database.execute(&format!(
        "CREATE ROLE {owner}; GRANT CREATE ON SCHEMA public TO {owner}; ALTER TABLE t OWNER TO {owner}"
    ));
    let run = || {
        let options = replacing().with_role(&owner);
        let error = refusal(load(&database, "t", options.clone()).open(numbers(1..3).schema()));
        assert_eq!(error.kind(), ErrorKind::Options, "{error}");
        let text = error.to_string();
        assert!(
            text.contains("foreign keys refer to public.p") && text.contains("GRANT REFERENCES"),
            "{text}"
        );
        // The right is revoked after the load has begun.
        database.execute(&format!("GRANT REFERENCES (x) ON p TO {owner}"));
        let mut loading = load(&database, "t", options.clone()).open(numbers(1..3).schema()).unwrap();
        loading.write(&numbers(1..3)).unwrap();
        database.execute(&format!("REVOKE REFERENCES (x) ON p FROM {owner}"));
        let error = refusal(loading.finish());
        assert_eq!(error.sqlstate(), Some("42501"), "{error}");
        let text = error.to_string();
        assert!(text.contains("the right REFERENCES") && !text.contains("INSERT"), "{text}");
        database.execute(&format!("GRANT REFERENCES ON p TO {owner}"));
        assert_eq!(load_batches(&database, "t", options, &[numbers(1..3)]).unwrap().rows, 2);
    };
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    database.execute(&format!("DROP OWNED BY {owner}; DROP ROLE {owner}"));
    ran.unwrap();
}

/// Regression: the catalog has such a key for each partition, too. All of them were created, and no row was
/// in all partitions.
#[test]
fn a_foreign_key_to_a_partitioned_table_is_one_key() {
    let sql = "CREATE TABLE p (x int8 PRIMARY KEY) PARTITION BY LIST (x); CREATE TABLE p_1 PARTITION OF p FOR VALUES IN (1); \
        CREATE TABLE p_2 PARTITION OF p FOR VALUES IN (2); INSERT INTO p VALUES (1), (2); \
        CREATE TABLE t (x int8 CONSTRAINT f REFERENCES p)";
    let database = database("replace_partitioned", sql);
    let keys = "SELECT string_agg(concat_ws(' ', confrelid::regclass, pg_get_constraintdef(oid)), ', ' ORDER BY confrelid) \
        FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'f'";
    let before = value(&database, keys);
    assert!(before.contains("p_2 "), "{before}");
    for _ in 0..2 {
        assert_eq!(load_batches(&database, "t", replacing(), &[numbers(1..3)]).unwrap().rows, 2);
        assert_eq!(value(&database, keys), before);
    }
    let error = refusal(load_batches(&database, "t", replacing(), &[numbers(1..4)]));
    assert_eq!(error.sqlstate(), Some("23503"), "{error}");
}

/// Regression: a table in the database's default tablespace was created where the role's settings say.
#[test]
fn the_tablespace_stays() {
    let database = database("replace_space", "CREATE TABLE t (x int8 PRIMARY KEY, y text)");
    let space = format!("space_{}", database.name());
    let mut client = database.client();
    for sql in [
        "SET allow_in_place_tablespaces = on".to_owned(),
        format!("CREATE TABLESPACE {space} LOCATION ''"),
        format!("ALTER DATABASE {} SET default_tablespace = '{space}'", database.name()),
        format!("CREATE TABLE u (x int8, y text) TABLESPACE {space}"),
        "CREATE INDEX e ON u (x)".to_owned(),
        format!("CREATE INDEX f ON u (x, y) TABLESPACE {space}"),
    ] {
        client.batch_execute(&sql).unwrap();
    }
    let run = || {
        let spaces = "SELECT string_agg(concat_ws(' ', c.relname, s.spcname), ', ' ORDER BY c.relname) FROM pg_class c \
            LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace WHERE c.relname IN ('t', 't_pkey', 'u', 'e', 'f')";
        let before = format!("e, f {space}, t, t_pkey, u {space}");
        assert_eq!(value(&database, spaces), before);
        assert_eq!(value(&database, "SELECT current_setting('default_tablespace')"), space);
        for table in ["t", "u"] {
            load_batches(&database, table, replacing(), &[numbers(0..3)]).unwrap();
        }
        assert_eq!(value(&database, spaces), before);
    };
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    client.batch_execute("DROP TABLE t, u").unwrap();
    client.batch_execute(&format!("DROP TABLESPACE {space}")).unwrap();
    ran.unwrap();
}
