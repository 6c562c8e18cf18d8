//! Loads leave out rows that cannot be loaded, and only those.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use pgarrow_export::{Error, ErrorKind, Result};
use pgarrow_load::{Conversions, LoadMethod, LoadMode, LoadOptions, LoadReport};
use pgarrow_testkit::Database;

use crate::support::{database, fingerprint, load, refusal, value};

fn rejecting() -> LoadOptions {
    LoadOptions::default().with_reject(true)
}

fn batch(rows: &[(Option<i64>, &str)]) -> RecordBatch {
    let numbers: Int64Array = rows.iter().map(|(x, _)| *x).collect();
    let texts = StringArray::from_iter_values(rows.iter().map(|(_, s)| s));
    RecordBatch::try_from_iter_with_nullable([
        ("x", Arc::new(numbers) as ArrayRef, true),
        ("s", Arc::new(texts) as ArrayRef, true),
    ])
    .unwrap()
}

/// By row number: SQLSTATE and reason.
type Rejects = BTreeMap<u64, (Option<String>, String)>;

/// Loads the rows in batches of this size, and compares the rejected ones.
fn sift(
    database: &Database,
    options: LoadOptions,
    rows: &[(Option<i64>, &str)],
    batch_rows: usize,
) -> Result<(LoadReport, Rejects)> {
    let mut loading = load(database, "t", options).open(batch(&rows[..1]).schema())?;
    let schema = Arc::clone(loading.reject_schema().unwrap());
    let received = Arc::new(Mutex::new(Vec::new()));
    let receiver = Arc::clone(&received);
    loading.on_reject(move |batch| {
        receiver.lock().unwrap().push(batch.clone());
        Ok(())
    })?;
    for rows in rows.chunks(batch_rows) {
        loading.write(&batch(rows))?;
    }
    assert_eq!(loading.rows(), rows.len() as u64);
    let report = loading.finish()?;
    let mut rejects = Rejects::new();
    for batch in received.lock().unwrap().iter() {
        assert_eq!(batch.schema(), schema);
        let numbers = batch["pgarrow_row"].as_primitive::<UInt64Type>();
        for row in 0..batch.num_rows() {
            let number = numbers.value(row);
            let (x, s) = rows[number as usize - 1];
            let has = batch["x"].as_primitive::<arrow_array::types::Int64Type>();
            assert_eq!((batch["s"].as_string::<i32>().value(row), has.iter().nth(row).unwrap()), (s, x));
            let sqlstates = batch["pgarrow_sqlstate"].as_string::<i32>();
            let sqlstate = sqlstates.iter().nth(row).unwrap().map(str::to_owned);
            let reason = batch["pgarrow_reason"].as_string::<i32>().value(row).to_owned();
            assert!(rejects.last_key_value().is_none_or(|(last, _)| *last < number), "{number}");
            rejects.insert(number, (sqlstate, reason));
        }
    }
    assert_eq!(report.rows_rejected, rejects.len() as u64);
    assert_eq!(report.rows_sent + report.rows_rejected, rows.len() as u64);
    Ok((report, rejects))
}

/// The tables. [`expected`] repeats their rules to predict why the server refuses a row.
const TABLE: &str = "CREATE TABLE t (x int4 NOT NULL UNIQUE CHECK (x <> 13), s varchar(3)); INSERT INTO t VALUES (-5, 'was'); \
    CREATE TABLE p (x int4 PRIMARY KEY); INSERT INTO p SELECT generate_series(-10, 9000); \
    ALTER TABLE t ADD FOREIGN KEY (x) REFERENCES p DEFERRABLE INITIALLY DEFERRED; \
    CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
        IF NEW.x = 17 THEN RAISE 'not seventeen'; END IF; RETURN NEW; END $$; \
    CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()";

fn expected(rows: &[(Option<i64>, &str)]) -> BTreeMap<u64, Option<&'static str>> {
    let mut seen = vec![-5];
    let mut expected = BTreeMap::new();
    for (number, (x, s)) in (1..).zip(rows) {
        let why = match x {
            Some(x) if i32::try_from(*x).is_err() => Some(None),
            _ if s.len() > 3 => Some(Some("22001")),
            Some(17) => Some(Some("P0001")),
            None => Some(Some("23502")),
            Some(13) => Some(Some("23514")),
            Some(x) if seen.contains(x) => Some(Some("23505")),
            Some(x) if !(-10..=9000).contains(x) => Some(Some("23503")),
            Some(x) => {
                seen.push(*x);
                None
            }
        };
        if let Some(why) = why {
            expected.insert(number, why);
        }
    }
    expected
}

fn check(
    database: &Database,
    options: LoadOptions,
    rows: &[(Option<i64>, &str)],
    batch_rows: usize,
) -> Rejects {
    let expected = expected(rows);
    let (report, rejects) = sift(database, options, rows, batch_rows).unwrap();
    let found: BTreeMap<u64, Option<&str>> =
        rejects.iter().map(|(row, (sqlstate, _))| (*row, sqlstate.as_deref())).collect();
    assert_eq!(found, expected);
    assert_eq!(report.rows, (rows.len() - expected.len()) as u64);
    let good: i64 = (1_u64..)
        .zip(rows)
        .filter(|(number, _)| !expected.contains_key(number))
        .map(|(_, (x, _))| x.unwrap())
        .sum();
    let sql = "SELECT count(*) || ' ' || sum(x) FROM t";
    assert_eq!(value(database, sql), format!("{} {}", report.rows + 1, good - 5));
    rejects
}

const BAD: [(Option<i64>, &str); 8] = [
    (Some(13), "a"),
    (Some(-5), "a"),
    (Some(2), "a"),
    (Some(3), "long"),
    (None, "a"),
    (Some(17), "a"),
    (Some(1 << 40), "a"),
    (Some(9001), "a"),
];

#[test]
fn each_kind_of_bad_row_in_batches_of_every_size() {
    let database = database("reject_kinds", TABLE);
    let mut rows = vec![(Some(2), "a")];
    for (index, bad) in (0..).zip(BAD) {
        rows.extend((0..7).map(|n| (Some(100 + index * 7 + n), "ok")));
        rows.push(bad);
    }
    for method in [LoadMethod::Copy, LoadMethod::Insert] {
        for batch_rows in [1, 2, 3, 1000] {
            database.execute("DELETE FROM t WHERE x <> -5");
            let options = rejecting().with_conversions(Conversions::Check).with_method(method);
            let rejects = check(&database, options, &rows, batch_rows);
            assert_eq!(rejects.len(), BAD.len());
            let reasons: Vec<&str> = rejects.values().map(|(_, reason)| reason.as_str()).collect();
            assert!(reasons[2].contains("already exists"), "{reasons:?}");
            assert!(reasons[5].contains("not seventeen"), "{reasons:?}");
            assert!(reasons[6].starts_with("column \"x\" (integer): a value outside"), "{reasons:?}");
        }
    }
}

#[test]
fn all_rows_bad_none_bad_first_bad_last_bad() {
    let database = database("reject_ends", TABLE);
    let checked = || rejecting().with_conversions(Conversions::Check);
    let good: Vec<_> = (1000..6000).map(|x| (Some(x), "ok")).collect();
    assert!(check(&database, checked(), &good, 999).is_empty());
    database.execute("DELETE FROM t WHERE x <> -5");
    let mut ends = good.clone();
    ends.insert(0, (Some(13), "a"));
    ends.push((Some(17), "a"));
    let rejects = check(&database, checked(), &ends, 6000);
    assert_eq!(rejects.keys().copied().collect::<Vec<_>>(), [1, 5002]);
    database.execute("DELETE FROM t WHERE x <> -5");
    let mut bad: Vec<_> = (0..300).map(|_| (Some(-5), "a")).collect();
    bad.push((Some(1), "a"));
    assert_eq!(check(&database, checked(), &bad, 100).len(), 300);
    database.execute("DELETE FROM t WHERE x <> -5");
    let mut not_sent: Vec<_> = (0..9000).map(|_| (Some(1 << 40), "a")).collect();
    not_sent.push((Some(1), "a"));
    assert_eq!(check(&database, checked().with_reject_limit(9000), &not_sent, 5000).len(), 9000);
}

/// Regression: such a load succeeded, and had emptied the table.
#[test]
fn a_load_all_of_whose_rows_are_bad_has_failed() {
    let database = database("reject_all", TABLE);
    let before = fingerprint(&database, "t");
    let checked = || rejecting().with_conversions(Conversions::Check).with_mode(LoadMode::Truncate);
    for x in [13, 1 << 40] {
        let rows: Vec<_> = (0..5000).map(|_| (Some(x), "a")).collect();
        let told = || checked().with_reject_limit(5000);
        for (options, n_rows) in [
            (checked(), "first 1000"),
            (told(), "5000"),
            (checked().with_restart_key("all"), "first 1000"),
            (told().with_restart_key("all"), "5000"),
        ] {
            let error = refusal(sift(&database, options, &rows, 3000));
            assert_eq!(error.kind(), ErrorKind::Server);
            let text = error.to_string();
            assert!(text.contains(&format!("none of the {n_rows} rows could be loaded")), "{text}");
            assert!(text.contains("; nothing was loaded"), "{text}");
            assert!(!text.contains("not final"), "{text}");
            assert_eq!(fingerprint(&database, "t"), before);
        }
    }
}

/// Regression: these errors have SQLSTATEs with a second meaning, and failed the load.
#[test]
fn policies_views_and_syntax_of_values() {
    let sql = "CREATE TABLE base (x int8, s text); CREATE VIEW t AS SELECT x, s FROM base WHERE x < 100 WITH CHECK OPTION";
    let database = database("reject_view", sql);
    let rows: Vec<(Option<i64>, &str)> = (90..110).map(|x| (Some(x), "a")).collect();
    let (report, rejects) = sift(&database, rejecting().with_method(LoadMethod::Insert), &rows, 20).unwrap();
    assert_eq!(report.rows, 10);
    assert!(rejects.values().all(|(sqlstate, _)| sqlstate.as_deref() == Some("44000")), "{rejects:?}");

    let role = format!("rows_{}", database.name());
    database.execute(&format!(
        "DROP VIEW t; CREATE TABLE t (x int8, s text); ALTER TABLE t ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY p ON t FOR INSERT WITH CHECK (x < 100); CREATE ROLE \"{role}\"; GRANT INSERT, SELECT ON t TO \"{role}\""
    ));
    let options = || rejecting().with_method(LoadMethod::Insert).with_role(role.as_str());
    let (report, rejects) = sift(&database, options(), &rows, 20).unwrap();
    assert_eq!(report.rows, 10);
    assert!(rejects.values().all(|(sqlstate, _)| sqlstate.as_deref() == Some("42501")), "{rejects:?}");
    // A missing right is not about a row.
    database.execute(
        "CREATE TABLE log (x int8); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
            $$ BEGIN INSERT INTO log VALUES (NEW.x); RETURN NEW; END $$; \
         CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.x = 95) EXECUTE FUNCTION f()",
    );
    let error = refusal(sift(&database, options(), &rows, 20));
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Server, Some("42501")));
    database.execute(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));

    database.execute("DROP TABLE t; CREATE TABLE t (x int8, s tsvector)");
    let rows = [(Some(1), "good"), (Some(2), "'bad"), (Some(3), "good")];
    let (report, rejects) = sift(&database, rejecting(), &rows, 3).unwrap();
    assert_eq!((report.rows, rejects.keys().copied().collect::<Vec<_>>()), (2, vec![2]));
    assert_eq!(rejects[&2].0.as_deref(), Some("42601"));
    // A wrong statement in a function is not about a row, either.
    database.execute(
        "CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SELEC 1'; RETURN NEW; END $$; \
         CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.x = 2) EXECUTE FUNCTION g()",
    );
    let error = refusal(sift(&database, rejecting(), &[(Some(1), "a"), (Some(2), "a")], 2));
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Server, Some("42601")));
}

#[test]
fn one_bad_row_costs_two_copies_for_each_halving() {
    // A sequence is not reset by a rollback to a savepoint.
    let sql = "CREATE TABLE t (x int8 CHECK (x <> 1234), s text); CREATE SEQUENCE n; \
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('n'); RETURN NULL; END $$; \
        CREATE TRIGGER t BEFORE INSERT ON t EXECUTE FUNCTION f()";
    let database = database("reject_cost", sql);
    let rows: Vec<_> = (0..8192).map(|x| (Some(x), "a")).collect();
    assert_eq!(sift(&database, rejecting(), &rows, 8192).unwrap().1.len(), 1);
    let n_copies: u32 = value(&database, "SELECT last_value::text FROM n").parse().unwrap();
    // Two batches of 4,096 rows, and twelve halvings of one.
    assert!((2 + 12..=2 + 24).contains(&n_copies), "{n_copies}");
}

#[test]
fn bad_rows_of_text_that_the_server_reads() {
    let database = database("reject_text", "CREATE TABLE t (x int8, s tsvector CHECK (s <> 'bad'))");
    let rows: Vec<(Option<i64>, &str)> =
        (0..9000).map(|x| (Some(x), if x % 2900 == 7 { "bad" } else { "good" })).collect();
    let (report, rejects) = sift(&database, rejecting(), &rows, 4000).unwrap();
    assert_eq!((report.rows, rejects.len()), (8996, 4));
    assert!(rejects.values().all(|(sqlstate, _)| sqlstate.as_deref() == Some("23514")), "{rejects:?}");
    // Rows of one batch do not appear again with the next batch.
    assert_eq!(value(&database, "SELECT count(*) || ' ' || count(DISTINCT x) FROM t"), "8996 8996");
}

#[test]
fn rows_that_are_skipped_are_not_rejected() {
    let sql = "CREATE TABLE t (x int8 PRIMARY KEY, s varchar(3)); INSERT INTO t VALUES (1, 'was')";
    let database = database("reject_upsert", sql);
    let rows = [(Some(1), "new"), (Some(2), "long"), (Some(3), "a"), (Some(3), "b")];
    let (report, rejects) = sift(&database, rejecting().with_mode(LoadMode::Upsert), &rows, 4).unwrap();
    assert_eq!((report.rows, rejects.into_keys().collect::<Vec<_>>()), (3, vec![2]));
    assert_eq!(value(&database, "SELECT string_agg(x || s, ' ' ORDER BY x) FROM t"), "1new 3b");
}

#[test]
fn what_is_not_about_rows_fails_the_load() {
    let sql = "CREATE TABLE t (x int8 UNIQUE, s text); INSERT INTO t VALUES (1, 'was'); \
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
            IF NEW.x = 7 THEN RAISE 'disk' USING ERRCODE = '53100'; END IF; RETURN NEW; END $$; \
        CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()";
    let database = database("reject_fatal", sql);
    let before = fingerprint(&database, "t");
    let error = refusal(sift(&database, rejecting(), &[(Some(1), "secret"), (Some(7), "secret")], 2));
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Server, Some("53100")));
    assert!(error.to_string().contains("nothing was loaded"), "{error}");
    assert!(error.to_string().contains("not final"), "{error}");
    assert_eq!(fingerprint(&database, "t"), before);

    let rows = [(Some(1), "secret"), (Some(2), "a"), (Some(1), "secret"), (Some(1), "secret")];
    let error = refusal(sift(&database, rejecting().with_reject_limit(2), &rows, 4));
    assert_eq!(error.kind(), ErrorKind::Value);
    assert!(error.to_string().contains("more than 2 rows") && error.to_string().contains("row 4"), "{error}");
    assert_eq!(fingerprint(&database, "t"), before);
    assert_eq!(sift(&database, rejecting().with_reject_limit(3), &rows, 4).unwrap().1.len(), 3);
}

#[test]
fn a_receiver_that_fails_and_options_that_contradict() {
    let database = database("reject_options", "CREATE TABLE t (x int8 UNIQUE, s text)");
    let rows = batch(&[(Some(1), "a"), (Some(1), "a")]);
    let mut loading = load(&database, "t", rejecting()).open(rows.schema()).unwrap();
    loading.on_reject(|_| Err(Error::new(ErrorKind::Sink, "no room"))).unwrap();
    loading.write(&rows).unwrap();
    assert!(refusal(loading.finish()).to_string().starts_with("no room"));
    assert_eq!(value(&database, "SELECT count(*)::text FROM t"), "0");
    for options in [LoadOptions::default().with_reject_limit(1), LoadOptions::default().with_commit_every(1)]
    {
        assert_eq!(refusal(load(&database, "t", options).open(rows.schema())).kind(), ErrorKind::Options);
    }
    let loading = load(&database, "t", rejecting()).open(rows.schema()).unwrap();
    assert_eq!(refusal(loading.into_sink()).kind(), ErrorKind::Options);
}
