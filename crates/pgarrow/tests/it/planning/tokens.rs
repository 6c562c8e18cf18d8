//! Slices as tokens: every kind of them, read one by one while the run is held; and tokens that somebody has changed.

use std::sync::atomic::{AtomicBool, Ordering};

use pgarrow::{ErrorKind, ExportOptions, KeyType, ReadMode, Run, Slice, SliceRange, SliceSubject, Source};
use pgarrow_testkit::{Capability, Database, require};

use super::{Row, expected, pages, sorted};
use crate::support::{assert_error, database, oracle, query_lines, read, source};

/// A column of every type that can be cut into ranges, with NULLs, extremes, and text that needs quotes.
const KEYS: &str = "CREATE TABLE e AS SELECT g AS id, (g % 300)::int2 AS k_int2, CASE WHEN g % 9 <> 0 THEN g * 7 END AS k_int4, \
      g::int8 * 3000000000 - 1000000000000 AS k_int8, \
      CASE g WHEN 1 THEN date '-infinity' WHEN 2 THEN '4713-01-01 BC' WHEN 3 THEN 'infinity' ELSE date '2000-01-01' + g % 700 END AS k_date, \
      CASE g WHEN 1 THEN timestamp '-infinity' WHEN 3 THEN 'infinity' ELSE timestamp '0044-03-15 12:00 BC' + g * interval '37 days 1.000001 s' END AS k_timestamp, \
      CASE WHEN g % 3 = 0 THEN timestamptz '2020-01-01' + g * interval '61 min' END AS k_timestamptz, \
      md5(g::text)::uuid AS k_uuid, \
      CASE g % 11 WHEN 0 THEN '' WHEN 1 THEN '''; DROP TABLE e; --' || g WHEN 2 THEN '\\\\x' || g WHEN 3 THEN 'ä' || g \
        WHEN 4 THEN E'a\\nb' || g WHEN 5 THEN NULL ELSE md5(g::text) END AS k_text, \
      (CASE WHEN g % 2 = 0 THEN 'Z' ELSE 'a' END || g)::varchar(20) COLLATE \"C\" AS k_varchar \
    FROM generate_series(1, 4000) AS g; CREATE VIEW v AS SELECT * FROM e; ANALYZE e";

/// Reads a run's tokens one by one, elsewhere, while it is held and others change what they read.
fn one_by_one(database: &Database, mut run: Run, change: &str) -> (Vec<Slice>, Vec<Row>) {
    let tokens: Vec<String> = run.slices().unwrap().iter().map(|slice| slice.to_json().unwrap()).collect();
    database.execute(change);
    let is_read = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let holding = scope.spawn(|| run.hold(|| !is_read.load(Ordering::SeqCst)));
        let there = source(database);
        let mut batches = Vec::new();
        let slices: Vec<Slice> = tokens.iter().map(|token| Slice::from_json(token).unwrap()).collect();
        let exports: Vec<_> = slices.iter().map(|slice| read(there.slice(slice.clone()))).collect();
        // Also when one of them failed.
        is_read.store(true, Ordering::SeqCst);
        for export in exports {
            batches.extend(export.unwrap().batches);
        }
        holding.join().unwrap().unwrap();
        (slices, sorted(&batches))
    })
}

const CHANGE: &str = "DELETE FROM e WHERE id % 2 = 0; UPDATE e SET id = -id WHERE id % 3 = 0";
const UNDO: &str = "TRUNCATE e; INSERT INTO e SELECT * FROM saved";

#[test]
fn slices_of_every_kind_of_key() {
    require!(Capability::Server);
    let database = database("keys", &format!("{KEYS}; CREATE TABLE saved AS SELECT * FROM e"));
    let all = expected(&mut oracle(&database), "SELECT id FROM e");
    for (column, key_type, in_query) in [
        ("id", KeyType::Int4, true),
        ("k_int2", KeyType::Int2, true),
        ("k_int4", KeyType::Int4, true),
        ("k_int8", KeyType::Int8, true),
        // Infinite keys have their place in the order, and none in Arrow.
        ("k_date", KeyType::Date, false),
        ("k_timestamp", KeyType::Timestamp, false),
        ("k_timestamptz", KeyType::Timestamptz, true),
        ("k_uuid", KeyType::Uuid, true),
        ("k_text", KeyType::Text, true),
        ("k_varchar", KeyType::Text, true),
    ] {
        let options = ExportOptions::default().with_readers(3).with_split_on(column);
        let source = source(&database);
        // By statistics; by quantiles of the view's keys; by those of the query's.
        let mut extracts = vec![source.table("e").columns(["id"]), source.table("v").columns(["id"])];
        if in_query {
            let sql = format!("SELECT e.id AS first, e.{column} FROM e, (VALUES (1)) AS one");
            extracts.push(source.query(sql));
        }
        for extract in extracts {
            let run = extract.options(options.clone()).open().unwrap();
            let what = format!("{column}: {}", run.plan().slicing());
            let (slices, rows) = one_by_one(&database, run, CHANGE);
            let is_key = |slice: &Slice| matches!(&slice.range, SliceRange::Key { pg_type, .. } if *pg_type == key_type);
            assert!(slices.len() > 2 && slices.iter().all(is_key), "{what}");
            let mut ids: Vec<Row> = rows.into_iter().map(|mut row| vec![row.swap_remove(0)]).collect();
            ids.sort_unstable();
            assert!(ids == all, "{what}");
            database.execute(UNDO);
        }
    }
}

#[test]
fn slices_of_pages_of_leaves_and_of_all() {
    require!(Capability::Server);
    let database = database(
        "kinds",
        "CREATE TABLE e AS SELECT g AS id, repeat('x', g % 90) AS t FROM generate_series(1, 3000) AS g; \
         CREATE TABLE saved AS SELECT * FROM e; CREATE TABLE p (id int4, t text) PARTITION BY HASH (id); \
         DO $$ BEGIN FOR i IN 0..9 LOOP EXECUTE format('CREATE TABLE p%s PARTITION OF p FOR VALUES WITH (MODULUS 10, \
         REMAINDER %s)', i, i); END LOOP; END $$; INSERT INTO p SELECT * FROM e",
    );
    let is_pages = |slice: &Slice| matches!(slice.range, SliceRange::Pages { .. });
    let n_read = |slice: &Slice| match &slice.subject {
        SliceSubject::Relations { reads, .. } => reads.len(),
        SliceSubject::Query(_) => 0,
    };
    let source = source(&database);
    let by_pages = |mode| pages(2).with_read_mode(mode);
    for mode in [ReadMode::Copy, ReadMode::Select, ReadMode::Cursor] {
        let filter = "e.id % 5 <> 0 -- not all";
        let run = source.table("e").filter(filter).options(by_pages(mode)).open().unwrap();
        let (slices, rows) = one_by_one(&database, run, CHANGE);
        // The first and the last of all pages have no bound.
        assert!(slices.len() > 5 && slices.iter().all(is_pages), "{}", slices.len());
        assert!(
            rows == expected(&mut oracle(&database), "SELECT * FROM saved WHERE id % 5 <> 0"),
            "{mode:?}"
        );
        database.execute(UNDO);
    }
    // Leaves of some pages each, several in a slice.
    let options = ExportOptions::default().with_readers(2).with_slice_bytes(100_000);
    let run = source.table("p").options(options).open().unwrap();
    let (slices, rows) = one_by_one(&database, run, "DELETE FROM p WHERE id % 2 = 0");
    assert!(slices.len() > 1 && slices.iter().any(|slice| n_read(slice) > 1), "{slices:?}");
    assert!(rows == expected(&mut oracle(&database), "SELECT * FROM saved"));
    // All of it.
    let one = ExportOptions::default().with_readers(1);
    for extract in [source.table("e"), source.query("SELECT id, t FROM e;")] {
        let run = extract.options(one.clone()).open().unwrap();
        let (slices, rows) = one_by_one(&database, run, CHANGE);
        assert!(slices.len() == 1 && slices[0].range == SliceRange::Whole);
        assert!(rows == expected(&mut oracle(&database), "SELECT * FROM saved"));
        database.execute(UNDO);
    }
}

#[test]
fn what_is_no_token_is_refused() {
    require!(Capability::Server);
    let database = database("broken", "CREATE TABLE e AS SELECT g AS id FROM generate_series(1, 3000) AS g");
    let mut run = source(&database).table("e").filter("id > 0").options(pages(2)).open().unwrap();
    let token = run.slices().unwrap()[1].to_json().unwrap();
    for end in 0..token.len() {
        let error = Slice::from_json(&token[..end]).unwrap_err();
        assert_error(&error, ErrorKind::Options, None, &["not a slice"]);
    }
    for (from, to) in [
        ("\"version\":2", "\"version\":1"),
        ("\"version\":2", "\"version\":2,\"more\":1"),
        ("\"index\":1", "\"index\":4000000000"),
        ("\"index\":1", "\"index\":-1"),
        ("\"table\"", "\"sequence\""),
        ("\"pages\"", "\"lines\""),
        ("\"copy\"", "\"program\""),
        ("\"id > 0\"", "\"id > 0\\u0000\""),
    ] {
        assert!(token.contains(from), "{from} is in {token}");
        let error = Slice::from_json(&token.replacen(from, to, 1)).unwrap_err();
        assert_error(&error, ErrorKind::Options, None, &["not a slice"]);
    }
}

/// A run that is held, its slices, and what a changed one of them is told.
struct Changed<'a> {
    there: Source,
    slice: Slice,
    database: &'a Database,
}

impl Changed<'_> {
    /// Asserts that a slice is refused, with one of these words.
    #[track_caller]
    fn assert_refused(&self, change: impl FnOnce(&mut Slice), words: &[&str]) {
        let mut slice = self.slice.clone();
        change(&mut slice);
        assert_ne!(slice, self.slice);
        let text = match read(self.there.slice(slice)) {
            Ok(export) => panic!("{} rows were read", export.n_rows()),
            Err(error) => error.to_string(),
        };
        assert!(words.iter().any(|word| text.contains(word)), "{text}");
        assert_eq!(query_lines(self.database, "SELECT count(*) FROM e"), ["3000"], "after: {text}");
    }
}

const TWO_TABLES: &str = "CREATE TABLE e AS SELECT g AS id, 'e' AS t FROM generate_series(1, 3000) AS g; \
    CREATE TABLE f AS SELECT 1 AS id, 'secret' AS t";

fn relation(slice: &mut Slice) -> &mut pgarrow::SliceRelation {
    match &mut slice.subject {
        SliceSubject::Relations { table, .. } => table,
        SliceSubject::Query(sql) => panic!("{sql}"),
    }
}

#[test]
fn a_token_of_another_moment_server_or_table_is_refused() {
    require!(Capability::Server);
    let database = database("changed", TWO_TABLES);
    let here = source(&database);
    let mut run = here.table("e").options(pages(2)).open().unwrap();
    let slice = run.slices().unwrap().swap_remove(0);
    let changed = Changed { there: source(&database), slice, database: &database };
    // Of another moment: somebody has written since, and a second run holds what came of it.
    database.execute("UPDATE f SET id = 2");
    let mut other = here.table("f").open().unwrap();
    let later = other.slices().unwrap()[0].snapshot.clone().unwrap();
    changed.assert_refused(
        |slice| slice.snapshot.as_mut().unwrap().exported.clone_from(&later.exported),
        &["another snapshot"],
    );
    changed.assert_refused(
        |slice| slice.snapshot.as_mut().unwrap().current.clone_from(&later.current),
        &["another snapshot"],
    );
    let nobodys =
        |slice: &mut Slice| slice.snapshot.as_mut().unwrap().exported = "0000000F-FFFFFFF0-1".to_owned();
    changed.assert_refused(nobodys, &["its holder is gone"]);
    for path in ["../../postgresql.conf", "1'; DROP TABLE e; --", ""] {
        changed.assert_refused(
            |slice| slice.snapshot.as_mut().unwrap().exported = path.to_owned(),
            &["pg_export_snapshot"],
        );
    }
    let started = |slice: &mut Slice| slice.source.server_started = "2020-01-01 00:00:00+00".to_owned();
    changed.assert_refused(started, &["another server"]);
    // Of another table, under the same number or the same name.
    let not_the_same = &["not what it was"];
    changed.assert_refused(|slice| relation(slice).oid += 1, not_the_same);
    changed.assert_refused(|slice| relation(slice).name = "f".to_owned(), not_the_same);
    changed.assert_refused(|slice| relation(slice).schema = "pg_catalog".to_owned(), not_the_same);
    let is_view = |slice: &mut Slice| relation(slice).kind = pgarrow::SliceRelationKind::View;
    changed.assert_refused(is_view, not_the_same);
    // Of other columns.
    changed.assert_refused(|slice| slice.columns = vec!["t".to_owned()], &["columns are not what they were"]);
    changed.assert_refused(|slice| slice.columns = vec!["id\" FROM f; --".to_owned()], &["has no column"]);
    changed.assert_refused(
        |slice| slice.schema_fingerprint = "0".repeat(64),
        &["columns are not what they were"],
    );
    // And the one it was made of is read, whatever the time zone there.
    let options = ExportOptions::default().with_setting("TimeZone", "Asia/Kathmandu");
    assert!(read(changed.there.slice(changed.slice.clone()).options(options)).unwrap().n_rows() > 0);
}

#[test]
fn a_token_without_a_snapshot_still_belongs_to_its_database() {
    require!(Capability::Server);
    let database = database("ownmoment", TWO_TABLES);
    let options = pages(2).with_inconsistent(true);
    let mut run = source(&database).table("e").options(options).open().unwrap();
    let mut slice = run.slices().unwrap().swap_remove(0);
    drop(run);
    slice.snapshot = None;
    assert!(read(source(&database).slice(slice.clone())).unwrap().n_rows() > 0);
    let changed = Changed { there: source(&database), slice, database: &database };
    let started = |slice: &mut Slice| slice.source.server_started = "2020-01-01 00:00:00+00".to_owned();
    changed.assert_refused(started, &["another server"]);
    changed.assert_refused(|slice| slice.source.database = "other".to_owned(), &["database"]);
}

#[test]
fn sql_in_a_token_gets_no_further_than_a_condition_a_key_or_a_query() {
    require!(Capability::Server);
    let database = database("injected", TWO_TABLES);
    let here = source(&database);
    let mut run = here.table("e").filter("id > 0").options(pages(2)).open().unwrap();
    let slice = run.slices().unwrap().swap_remove(0);
    let changed = Changed { there: source(&database), slice, database: &database };
    for filter in [
        "true)) TO STDOUT (FORMAT binary); COMMIT; DROP TABLE e; --",
        "true; DROP TABLE e",
        "true) UNION ALL SELECT id, t FROM f WHERE (true",
        "true) OR (true",
        "id = $1",
        "(true",
        "'open",
        "secret = 1",
    ] {
        changed.assert_refused(|slice| slice.filter = Some(filter.to_owned()), &["the filter"]);
    }
    let lines = |filter: &str| here.table("e").filter(filter).options(pages(2)).open();
    assert!(lines("true) OR (true").is_err(), "it would be true for every row of every slice");

    let options = ExportOptions::default().with_readers(2).with_split_on("id");
    let mut run = here.table("e").options(options.clone()).open().unwrap();
    let slice = run.slices().unwrap().swap_remove(0);
    let changed = Changed { there: source(&database), slice, database: &database };
    let key = |slice: &mut Slice, with: &dyn Fn(&mut String, &mut Option<String>)| match &mut slice.range {
        SliceRange::Key { column, to, .. } => with(column, to),
        other => panic!("{other:?}"),
    };
    changed.assert_refused(
        |slice| key(slice, &|_, to| *to = Some("1'::int4) OR (true".to_owned())),
        &["invalid input syntax"],
    );
    changed.assert_refused(
        |slice| key(slice, &|column, _| *column = "id\" > 0) OR (\"id".to_owned()),
        &["does not exist"],
    );

    let mut run = here.query("SELECT id FROM e").options(options).open().unwrap();
    let slice = run.slices().unwrap().swap_remove(0);
    let changed = Changed { there: source(&database), slice, database: &database };
    for (query, word) in [
        ("SELECT id FROM e; DROP TABLE e", "more than one"),
        ("SELECT id FROM e) TO STDOUT (FORMAT binary); COMMIT; DROP TABLE e; --", "more than one"),
        ("SELECT id FROM e) AS q (c1) --", "syntax error"),
        ("DELETE FROM e RETURNING id", "syntax error"),
        ("DROP TABLE e", "no rows"),
        ("SELECT id FROM e WHERE id = $1", "parameter"),
    ] {
        let is_changed = |slice: &mut Slice| slice.subject = SliceSubject::Query(query.to_owned());
        changed.assert_refused(is_changed, &[word]);
    }
}
