//! Rows whose key is already in the table.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use pgarrow_export::ErrorKind;
use pgarrow_load::{LoadMode, LoadOptions, OnConflict};
use pgarrow_testkit::Database;

use crate::support::{database, fingerprint, load, load_batches, refusal, value};

fn batch(rows: &[(i64, &str)]) -> RecordBatch {
    let x = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
    let y = StringArray::from_iter_values(rows.iter().map(|row| row.1));
    RecordBatch::try_from_iter([("y", Arc::new(y) as ArrayRef), ("x", Arc::new(x) as ArrayRef)]).unwrap()
}

fn shown(database: &Database) -> String {
    value(database, "SELECT string_agg(x || coalesce(y, '-') || z, ' ' ORDER BY x) FROM t")
}

const TABLE: &str = "CREATE TABLE t (x int8 PRIMARY KEY, y text, z text DEFAULT 'z', u int8 UNIQUE DEFERRABLE); \
                     INSERT INTO t VALUES (1, 'a', 'kept'), (2, 'b', 'kept')";

fn upserting() -> LoadOptions {
    LoadOptions::default().with_mode(LoadMode::Upsert)
}

#[test]
fn rows_take_the_place_of_those_with_their_key() {
    let database = database("upsert", TABLE);
    let report =
        load_batches(&database, "t", upserting(), &[batch(&[(2, "B")]), batch(&[(3, "C")])]).unwrap();
    assert_eq!((report.rows, report.warnings.len()), (2, 0), "{:?}", report.warnings);
    assert_eq!(shown(&database), "1akept 2Bkept 3Cz");
    let options = upserting().with_key(["x"]);
    load_batches(&database, "t", options, &[batch(&[(1, "A")])]).unwrap();
    assert_eq!(shown(&database), "1Akept 2Bkept 3Cz");
}

#[test]
fn rows_whose_key_is_there_are_skipped_and_counted() {
    let database = database("skip", TABLE);
    for options in [LoadOptions::default(), upserting(), LoadOptions::default().with_key(["x"])] {
        let options = options.with_on_conflict(OnConflict::Skip);
        let report =
            load_batches(&database, "t", options, &[batch(&[(1, "A"), (3, "C"), (3, "D")])]).unwrap();
        assert_eq!(report.rows_sent, 3);
        assert_eq!(report.warnings.len(), 1, "{:?}", report.warnings);
        assert_eq!(shown(&database), "1akept 2bkept 3Cz");
    }
    // A conflict on any of the table's keys.
    database.execute("CREATE TABLE k (x int8 PRIMARY KEY, y text UNIQUE); INSERT INTO k VALUES (1, 'a')");
    let options = LoadOptions::default().with_on_conflict(OnConflict::Skip);
    load_batches(&database, "k", options, &[batch(&[(2, "a"), (1, "b"), (3, "c")])]).unwrap();
    assert_eq!(value(&database, "SELECT string_agg(x || y, ' ' ORDER BY x) FROM k"), "1a 3c");
}

#[test]
fn a_key_twice_in_the_data_and_conflicts_that_are_errors() {
    let database = database("upsert_twice", TABLE);
    let before = fingerprint(&database, "t");
    let error = refusal(load_batches(&database, "t", upserting(), &[batch(&[(3, "C"), (3, "D")])]));
    assert_eq!(error.sqlstate(), Some("21000"));
    assert!(error.to_string().contains("the same key twice"), "{error}");
    let error =
        refusal(load_batches(&database, "t", LoadOptions::default(), &[batch(&[(3, "C"), (1, "D")])]));
    assert_eq!(error.sqlstate(), Some("23505"));
    assert_eq!(fingerprint(&database, "t"), before);
}

#[test]
fn keys_that_cannot_be_used() {
    let sql = format!("{TABLE}; CREATE TABLE n (x int8, y text); CREATE UNIQUE INDEX ON n (x) WHERE x > 0");
    let database = database("upsert_keys", &sql);
    let rows = [batch(&[(1, "A")])];
    for (table, options, word) in [
        ("n", upserting(), "no primary key"),
        ("n", upserting().with_key(["x"]), "can be used: none"),
        ("t", upserting().with_key(["u"]), "can be used: (x)"),
        ("t", upserting().with_key(["x", "y"]), "no unique key of the columns (x, y)"),
        ("t", LoadOptions::default().with_key(["x"]), "a key is for rows"),
        ("t", upserting().with_on_conflict(OnConflict::Error), "append them"),
    ] {
        let error = refusal(load_batches(&database, table, options, &rows));
        assert_eq!(error.kind(), ErrorKind::Options, "{error}");
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
    let without_key = [rows[0].project(&[0]).unwrap()];
    let error = refusal(load_batches(&database, "t", upserting(), &without_key));
    assert!(error.to_string().contains("\"x\""), "{error}");
}

#[test]
fn a_table_of_keys_alone_and_identities() {
    let sql = "CREATE TABLE k (x int8, y text, PRIMARY KEY (y, x)); INSERT INTO k VALUES (1, 'a'); \
               CREATE TABLE i (x int8 GENERATED ALWAYS AS IDENTITY, y text PRIMARY KEY); INSERT INTO i (y) VALUES ('a')";
    let database = database("upsert_odd", sql);
    load_batches(&database, "k", upserting(), &[batch(&[(1, "a"), (2, "a")])]).unwrap();
    assert_eq!(value(&database, "SELECT string_agg(x || y, ' ' ORDER BY x) FROM k"), "1a 2a");
    // GENERATED ALWAYS: existing rows keep their numbers.
    load_batches(&database, "i", upserting(), &[batch(&[(7, "a"), (8, "b")])]).unwrap();
    assert_eq!(value(&database, "SELECT string_agg(x || y, ' ' ORDER BY x) FROM i"), "1a 8b");
}

/// Regression: the error came from the server only after all rows were sent, and the advice was to grant
/// INSERT.
#[test]
fn rights_are_looked_at_before() {
    let database = database("upsert_rights", TABLE);
    let role = format!("merger_{}", database.name());
    database.execute(&format!("CREATE ROLE \"{role}\"; GRANT INSERT ON t TO \"{role}\""));
    let upserting = || upserting().with_role(&role);
    let skipping = || upserting().with_on_conflict(OnConflict::Skip).with_key(["x"]);
    let rows = [batch(&[(2, "B"), (3, "C")])];
    let refused = |options: LoadOptions| {
        let error = refusal(load(&database, "t", options).open(rows[0].schema()));
        assert_eq!(error.kind(), ErrorKind::Options, "{error}");
        error.to_string()
    };
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let text = refused(upserting());
        assert!(text.contains("GRANT SELECT (\"x\", \"y\"), UPDATE (\"y\") ON"), "{text}");
        assert!(refused(skipping()).contains("GRANT SELECT (\"x\") ON"));
        database.execute(&format!("GRANT SELECT (x), UPDATE (y) ON t TO \"{role}\""));
        let text = refused(upserting());
        assert!(text.contains("GRANT SELECT (\"y\") ON"), "{text}");
        // The rights that the error names are those that the server checks, and they suffice.
        let any_key = LoadOptions::default().with_role(&role).with_on_conflict(OnConflict::Skip);
        for options in [skipping(), any_key] {
            let refused_by_server = load_batches(&database, "t", options, &rows);
            assert!(!format!("{refused_by_server:?}").contains("42501"), "{refused_by_server:?}");
        }
        let insert = "INSERT INTO t (x, y) VALUES (2, 'B') ON CONFLICT (x) DO UPDATE SET y = EXCLUDED.y";
        let by_hand = |sql: &str| {
            let mut client = database.client();
            client.batch_execute(&format!("SET ROLE \"{role}\"")).unwrap();
            client.batch_execute(sql).map_err(|error| error.code().unwrap().code().to_owned())
        };
        assert_eq!(by_hand(insert), Err("42501".to_owned()));
        database.execute(&format!("GRANT SELECT (y) ON t TO \"{role}\""));
        assert_eq!(by_hand(insert), Ok(()));
        load_batches(&database, "t", upserting(), &rows).unwrap();
    }));
    database.execute(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
    ran.unwrap();
    assert_eq!(shown(&database), "1akept 2Bkept 3Cz");
}
