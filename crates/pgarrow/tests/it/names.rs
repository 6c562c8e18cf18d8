//! Names that change to other relations while an export reads by them: an error, and never rows of another
//! table.
//!
//! Formerly, every statement found its tables anew, in the newest catalog. Readers mixed the rows of two
//! tables or wrote those of the wrong one, and the run succeeded.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow_array::RecordBatch;
use pgarrow::{Error, ErrorKind, ExportOptions, Extract, ReadMode, Run, Slice, Source};
use pgarrow_testkit::{Capability, Database, Fault, Proxy, TestServer, require};

use crate::render;
use crate::support::{database, oracle, read, server_text, source, url, with_parameter};

/// Two tables of one name, in two schemas: large enough for many slices.
const TWO: &str = "CREATE SCHEMA live; CREATE SCHEMA stage; \
    CREATE TABLE live.t AS SELECT g AS id, 'live' AS origin, repeat('x', 300) AS pad FROM generate_series(1, 12000) AS g; \
    CREATE TABLE stage.t AS SELECT g AS id, 'stage' AS origin, repeat('x', 300) AS pad FROM generate_series(1, 12000) AS g; \
    ANALYZE live.t; ANALYZE stage.t";

const SWAP: &str = "BEGIN; ALTER SCHEMA live RENAME TO old; ALTER SCHEMA stage RENAME TO live; COMMIT";
const SWAP_BACK: &str = "BEGIN; ALTER SCHEMA live RENAME TO stage; ALTER SCHEMA old RENAME TO live; COMMIT";

fn small_slices(readers: usize) -> ExportOptions {
    ExportOptions::default().with_readers(readers).with_slice_bytes(1 << 18).with_batch_rows(400)
}

/// Reads all of it. Another session runs these statements at the batches with these numbers.
fn read_while(run: Run, database: &Database, meanwhile: &[(usize, &str)]) -> Result<Vec<RecordBatch>, Error> {
    let batches = Mutex::new(Vec::new());
    run.for_each_concurrently(|batch| {
        // Under a lock: no reader continues while the names change, and they change in this order.
        let mut batches = batches.lock().unwrap();
        for (_, sql) in meanwhile.iter().filter(|(at, _)| *at == batches.len()) {
            database.client().batch_execute(sql).unwrap();
        }
        batches.push(batch);
        Ok(())
    })?;
    Ok(batches.into_inner().unwrap())
}

fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let line = |row: Vec<Option<String>>| {
        row.into_iter().map(|value| value.unwrap_or_else(|| "∅".to_owned())).collect::<Vec<_>>().join("|")
    };
    render::rows(batches).into_iter().map(line).collect()
}

#[track_caller]
fn assert_opened(result: Result<Vec<RecordBatch>, Error>, words: &str) {
    match result {
        Ok(batches) => {
            panic!("{} rows of who knows what", batches.iter().map(RecordBatch::num_rows).sum::<usize>())
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Server, "{error}");
            assert!(words.split('|').any(|words| error.to_string().contains(words)), "{error}");
        }
    }
}

fn in_every_way(test: &str, what: impl Fn(&Source) -> Extract, modes: &[ReadMode]) {
    for (number, mode) in modes.iter().enumerate() {
        for readers in [1, 2] {
            for meanwhile in [&[(1, SWAP)][..], &[(1, SWAP), (12, SWAP_BACK)]] {
                let database = database(&format!("{test}{number}"), TWO);
                let here = source(&database);
                let options = small_slices(readers).with_read_mode(*mode);
                let run = what(&here).options(options).open().unwrap();
                assert!(run.plan().n_slices() > 8, "{}", run.plan().slicing());
                let result = read_while(run, &database, meanwhile);
                assert_opened(result, "something else was opened than what was planned");
            }
        }
    }
}

#[test]
fn schemas_that_change_places_while_a_table_is_read() {
    require!(Capability::Server);
    let modes = [ReadMode::Copy, ReadMode::Select, ReadMode::Cursor];
    in_every_way("swap", |source| source.table("live.t"), &modes);
}

#[test]
fn schemas_that_change_places_while_a_filter_is_applied() {
    require!(Capability::Server);
    in_every_way("swapfilter", |source| source.table("live.t").filter("t.id > 0"), &[ReadMode::Copy]);
}

#[test]
fn schemas_that_change_places_while_pages_are_read() {
    require!(Capability::Server, Capability::Superuser, Capability::Extension("pageinspect"));
    for meanwhile in [&[(1, SWAP)][..], &[(1, SWAP), (6, SWAP_BACK)]] {
        for readers in [1, 2] {
            let database = database("swappages", &format!("CREATE EXTENSION pageinspect; {TWO}"));
            database.execute("VACUUM live.t");
            database.execute("VACUUM stage.t");
            let options = small_slices(readers).with_read_mode(ReadMode::Pages);
            let here = source(&database);
            let run = here.table("live.t").options(options).open().unwrap();
            // The lock for a page is released at once, so it proves nothing.
            assert_opened(
                read_while(run, &database, meanwhile),
                "a schema was renamed|something else was opened",
            );
        }
    }
}

#[test]
fn two_tables_of_one_name_that_change_places() {
    require!(Capability::Server);
    let swap = "BEGIN; ALTER SCHEMA live RENAME TO x; ALTER SCHEMA stage RENAME TO live; ALTER SCHEMA x RENAME TO stage; COMMIT";
    for meanwhile in [&[(1, swap)][..], &[(1, swap), (12, swap)]] {
        let database = database("namesakes", TWO);
        let run = source(&database).tables(["live.t", "stage.t"]).options(small_slices(2)).open().unwrap();
        let n_batches = Mutex::new(0);
        let result = run.for_each_with_plan(|_, _| {
            // Under a lock, as in `read_while`: two swaps at once would be a server error in the test.
            let mut n_batches = n_batches.lock().unwrap();
            for (_, sql) in meanwhile.iter().filter(|(at, _)| at == &*n_batches) {
                database.client().batch_execute(sql).unwrap();
            }
            *n_batches += 1;
            Ok(())
        });
        assert_opened(result.map(|_| Vec::new()), "a schema was renamed");
    }
}

#[test]
fn a_schema_whose_tables_are_read_one_after_the_other() {
    require!(Capability::Server);
    let views = "CREATE SCHEMA live; CREATE SCHEMA stage; \
        CREATE TABLE live.a AS SELECT 1 AS id; CREATE TABLE stage.a AS SELECT 2 AS id; \
        CREATE MATERIALIZED VIEW live.b AS SELECT 1 AS id; CREATE MATERIALIZED VIEW stage.b AS SELECT 2 AS id; \
        CREATE TABLE live.c AS SELECT 1 AS id; CREATE TABLE stage.c AS SELECT 2 AS id; \
        CREATE VIEW live.v AS SELECT 1 AS id FROM live.a; CREATE VIEW stage.v AS SELECT 2 AS id FROM stage.a";
    for (names, schema) in [(&[][..], Some("live")), (&["live.a", "live.v"], None)] {
        let database = database("swapschema", views);
        let here = source(&database);
        let tables = here.tables(names.iter().copied());
        let tables = match schema {
            Some(schema) => tables.schema(schema),
            None => tables,
        };
        let run = tables.options(ExportOptions::default().with_readers(1)).open().unwrap();
        let is_swapped = AtomicBool::new(false);
        let result = run.for_each_with_plan(|_, _| {
            if !is_swapped.swap(true, Ordering::SeqCst) {
                database.execute(SWAP);
            }
            Ok(())
        });
        assert_opened(result.map(|_| Vec::new()), "something else was opened");
    }
}

/// The proof of a run of one slice is asked behind its rows, and its transaction ends with the answer.
#[test]
fn the_only_slice_of_another_table() {
    require!(Capability::Server);
    let parts = "CREATE SCHEMA live; CREATE SCHEMA stage; \
        CREATE TABLE live.t (id int) PARTITION BY HASH (id); CREATE TABLE stage.t (id int) PARTITION BY HASH (id); \
        CREATE TABLE live.p PARTITION OF live.t FOR VALUES WITH (MODULUS 1, REMAINDER 0); \
        CREATE TABLE stage.p PARTITION OF stage.t FOR VALUES WITH (MODULUS 1, REMAINDER 0); \
        INSERT INTO live.t VALUES (1); INSERT INTO stage.t VALUES (2)";
    for (hint, sql) in [("swaponly", TWO), ("swapparts", parts)] {
        // Also if the rows come of all parts by one statement.
        for limit in [None, Some(100_000)] {
            let database = database(hint, sql);
            let here = source(&database);
            let table = here.table("live.t").options(ExportOptions::default().with_readers(1));
            let table = limit.into_iter().fold(table, Extract::limit);
            let run = table.open().unwrap();
            assert_eq!(run.plan().n_slices(), 1);
            database.execute(SWAP);
            assert_opened(run.for_each(|_| Ok(())).map(|_| Vec::new()), "something else was opened");
        }
    }
}

#[test]
fn a_slice_whose_name_is_another_tables() {
    require!(Capability::Server);
    let database = database("swapslice", TWO);
    let there = source(&database);
    let what: [fn(&Source) -> Extract; 3] = [
        |source| source.table("live.t"),
        |source| source.table("live.t").filter("id > 5"),
        |source| source.query("SELECT id, origin FROM live.t"),
    ];
    for what in what {
        let mut run = what(&there).options(small_slices(1)).open().unwrap();
        let tokens: Vec<String> =
            run.slices().unwrap().iter().map(|slice| slice.to_json().unwrap()).collect();
        let is_read = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let holding = scope.spawn(|| run.hold(|| !is_read.load(Ordering::SeqCst)));
            database.execute(SWAP);
            for token in &tokens {
                let read = read(there.slice(Slice::from_json(token).unwrap())).map(|export| export.batches);
                assert_opened(read, "something else was opened");
            }
            database.execute(SWAP_BACK);
            for token in &tokens {
                let export = read(there.slice(Slice::from_json(token).unwrap())).unwrap();
                assert!(export.lines().iter().all(|line| !line.contains("stage")));
            }
            is_read.store(true, Ordering::SeqCst);
            holding.join().unwrap().unwrap();
        });
    }
}

#[test]
fn a_table_that_comes_earlier_on_the_search_path() {
    require!(Capability::Server);
    let sql = "CREATE SCHEMA early; CREATE TABLE q AS SELECT g AS id, repeat('x', 300) AS pad FROM generate_series(1, 12000) AS g";
    let take = "CREATE TABLE early.q (id int4, pad text)";
    let leave = "ALTER TABLE early.q RENAME TO gone";
    for meanwhile in [&[(1, take)][..], &[(1, take), (32, leave)], &[(1, take), (2, leave)]] {
        let database = database("path", sql);
        let options = ExportOptions::default()
            .with_readers(2)
            .with_batch_rows(200)
            .with_split_on("id")
            .with_setting("search_path", "early, public");
        let here = source(&database);
        let run = here.query("SELECT * FROM q").options(options).open().unwrap();
        assert!(run.plan().n_slices() > 2, "{}", run.plan().slicing());
        let (n_batches, n_rows) = (Mutex::new(0), AtomicUsize::new(0));
        let result = run.for_each_concurrently(|batch| {
            n_rows.fetch_add(batch.num_rows(), Ordering::SeqCst);
            // Under a lock: no reader continues meanwhile.
            let mut number = n_batches.lock().unwrap();
            *number += 1;
            for (_, sql) in meanwhile.iter().filter(|(at, _)| *at == *number - 1) {
                // This waits in vain for a session that has it open.
                let _ = database.client().batch_execute(&format!("SET lock_timeout = '50ms'; {sql}"));
            }
            Ok(())
        });
        match result {
            // It was detached before any reader read it.
            Ok(_) if meanwhile.len() > 1 => assert_eq!(n_rows.into_inner(), 12_000),
            result => assert_opened(
                result.map(|_| Vec::new()),
                "something else was opened than what was planned: early.q",
            ),
        }
    }
}

/// Formerly, the rows of a partition that was attached while ranges of a key were read came with the ranges
/// that were read afterwards.
#[test]
fn a_part_that_is_attached_while_ranges_of_a_key_are_read() {
    require!(Capability::Server);
    let rows = "INSERT INTO p SELECT g, repeat('x', 200) FROM generate_series(0, 9999) AS g; \
        INSERT INTO late SELECT g, 'late' FROM generate_series(10000, 19999) AS g; ANALYZE p";
    let partitioned = "CREATE TABLE p (id int4 NOT NULL, pad text) PARTITION BY RANGE (id); \
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (5000); \
        CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (5000) TO (10000); \
        CREATE TABLE late (id int4 NOT NULL, pad text)";
    let inherited = "CREATE TABLE p (id int4 NOT NULL, pad text); CREATE TABLE p1 () INHERITS (p); \
        CREATE TABLE late (id int4 NOT NULL, pad text)";
    let trees = [
        (
            partitioned,
            "ALTER TABLE p ATTACH PARTITION late FOR VALUES FROM (10000) TO (20000)",
            "SET lock_timeout = '50ms'; ALTER TABLE p DETACH PARTITION late",
        ),
        (inherited, "ALTER TABLE late INHERIT p", "SET lock_timeout = '50ms'; ALTER TABLE late NO INHERIT p"),
    ];
    for (tree, attach, detach) in trees {
        for with_detach in [false, true] {
            for what in ["table", "filter", "view", "query"] {
                let database =
                    database("attach", &format!("{tree}; {rows}; CREATE VIEW v AS SELECT * FROM p"));
                let expected =
                    server_text(&mut oracle(&database), "SELECT count(*) FROM p")[0][0].clone().unwrap();
                let options =
                    ExportOptions::default().with_readers(2).with_batch_rows(100).with_split_on("id");
                let here = source(&database);
                let extract = match what {
                    "table" => here.table("p"),
                    "filter" => here.table("p").filter("id >= 0"),
                    "view" => here.table("v"),
                    _ => here.query("SELECT * FROM p"),
                };
                let run = extract.options(options).open().unwrap();
                assert!(run.plan().n_slices() > 2, "{}", run.plan().slicing());
                let (n_batches, n_rows) = (Mutex::new(0), AtomicUsize::new(0));
                let result = run.for_each_concurrently(|batch| {
                    n_rows.fetch_add(batch.num_rows(), Ordering::SeqCst);
                    // Under a lock: no reader continues meanwhile.
                    let mut number = n_batches.lock().unwrap();
                    *number += 1;
                    match *number - 1 {
                        1 => database.client().batch_execute(attach).unwrap(),
                        30 if with_detach => drop(database.client().batch_execute(detach)),
                        _ => {}
                    }
                    Ok(())
                });
                match (what, result) {
                    ("table" | "filter", result) => {
                        result.unwrap();
                        assert_eq!(n_rows.load(Ordering::SeqCst).to_string(), expected, "{what}, {tree}");
                    }
                    // The bounds of the later ranges may exclude it, or it was detached before any reader
                    // read it.
                    (_, Ok(_)) if tree.contains("PARTITION") || with_detach => {
                        assert_eq!(n_rows.load(Ordering::SeqCst).to_string(), expected, "{what}, {tree}");
                    }
                    // A range that did not open it may have been compared with one that did.
                    (_, result) => assert_opened(
                        result.map(|_| Vec::new()),
                        "something else was opened|is not the same in all of its slices",
                    ),
                }
            }
        }
    }
}

#[test]
fn ranges_of_a_key_name_each_leaf_where_that_is_the_same() {
    require!(Capability::Server);
    let database = database(
        "leafranges",
        "CREATE TABLE p (v text, id int8, only_here int4) PARTITION BY RANGE (id); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (3000); \
         CREATE TABLE p2 (junk int4, id int8, v text, only_here int4); ALTER TABLE p2 DROP COLUMN junk; \
         ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (3000) TO (9000); \
         CREATE TABLE pd PARTITION OF p DEFAULT; \
         INSERT INTO p SELECT 'v' || g, NULLIF(g, 77), g FROM generate_series(0, 9999) AS g; ANALYZE p",
    );
    let expected = crate::support::query_lines(&database, "SELECT * FROM p ORDER BY only_here");
    let options = ExportOptions::default().with_readers(3).with_split_on("id");
    let mut run = source(&database).table("p").options(options.clone()).open().unwrap();
    assert!(run.plan().n_slices() > 4, "{}", run.plan().slicing());
    let tokens = run.slices().unwrap();
    let json = tokens[1].to_json().unwrap();
    assert!(json.matches("\"only\":true").count() == 3, "{json}");
    let mut found = Vec::new();
    let is_read = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let holding = scope.spawn(|| run.hold(|| !is_read.load(Ordering::SeqCst)));
        for token in &tokens {
            let token = Slice::from_json(&token.to_json().unwrap()).unwrap();
            found.extend(read(source(&database).slice(token)).unwrap().lines());
        }
        is_read.store(true, Ordering::SeqCst);
        holding.join().unwrap().unwrap();
    });
    let number = |line: &String| line.rsplit('|').next().unwrap().parse::<u32>().unwrap();
    found.sort_by_key(number);
    assert_eq!(found, expected);
    let run = source(&database).table("p").options(options).open().unwrap();
    let mut found = lines(&read_while(run, &database, &[]).unwrap());
    found.sort_by_key(number);
    assert_eq!(found, expected);
}

/// What functions open must be the same for all slices, and nothing with a planned name.
#[test]
fn what_functions_read_while_a_query_is_split() {
    require!(Capability::Server);
    let sql = "CREATE SCHEMA live; CREATE SCHEMA stage; \
        CREATE TABLE live.rate AS SELECT 1 AS r; CREATE TABLE stage.rate AS SELECT 2 AS r; \
        CREATE FUNCTION rate(int4) RETURNS int4 LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN (SELECT r FROM live.rate); END'; \
        CREATE TABLE e AS SELECT g AS id, repeat('x', 200) AS pad FROM generate_series(1, 6000) AS g; ANALYZE e";
    for (meanwhile, is_well) in [(&[][..], true), (&[(1, SWAP)], false)] {
        let database = database("functions", sql);
        let options = ExportOptions::default().with_readers(2).with_batch_rows(100).with_split_on("id");
        let here = source(&database);
        let run = here.query("SELECT id, rate(id) AS rate FROM e").options(options).open().unwrap();
        assert!(run.plan().n_slices() > 2, "{}", run.plan().slicing());
        match (is_well, read_while(run, &database, meanwhile)) {
            (true, result) => {
                assert_eq!(result.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 6000)
            }
            (false, result) => assert_opened(result, "opened"),
        }
    }
}

/// A lost session takes its locks, and with them the proof, along: then no schema may have been renamed.
#[test]
fn a_lost_reader_and_a_schema_that_was_touched() {
    require!(Capability::PrivateServer);
    let port = TestServer::shared().private().unwrap().port();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    for (meanwhile, is_well) in [(&[][..], true), (&[(1, SWAP), (2, SWAP_BACK)], false)] {
        let database = database("lostproof", TWO);
        let proxy = Proxy::start_with(address, |connection| match connection {
            1 => Fault::ResetAfterServerBytes(700_000),
            _ => Fault::None,
        });
        let url = with_parameter(&proxy.url_of(&url(&database)), "sslmode=disable");
        let here = Source::connect_blocking(&url).unwrap();
        let run = here.table("live.t").options(small_slices(2)).open().unwrap();
        match (is_well, read_while(run, &database, meanwhile)) {
            (true, result) => assert!(lines(&result.unwrap()).iter().all(|line| line.contains("|live|"))),
            (false, result) => assert_opened(result, "a schema was renamed|something else was opened"),
        }
    }
}

/// Formerly, one value came with two labels in one file.
#[test]
fn a_label_that_is_renamed_while_values_are_read() {
    require!(Capability::Server);
    let sql = "CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN feeling AS mood; \
        CREATE TYPE person AS (name text, moods mood[]); \
        CREATE TABLE e AS SELECT g AS id, 'sad'::mood AS a, ARRAY['glad'::mood] AS b, 'sad'::feeling AS c, \
          ROW('x', ARRAY['sad'::mood])::person AS d, repeat('x', 200) AS pad FROM generate_series(1, 6000) AS g; ANALYZE e";
    let rename = "ALTER TYPE mood RENAME VALUE 'sad' TO 'unhappy'";
    let back = "ALTER TYPE mood RENAME VALUE 'unhappy' TO 'sad'";
    let add = "ALTER TYPE mood ADD VALUE 'so so' BEFORE 'glad'";
    let cases: [(&[(usize, &str)], bool); 4] =
        [(&[], true), (&[(1, rename)], false), (&[(1, rename), (12, back)], false), (&[(1, add)], true)];
    for (meanwhile, is_well) in cases {
        for column in ["a", "b", "c", "d", "pad", "a::text"] {
            let database = database("labels", sql);
            let here = source(&database);
            let extract = match column {
                "a::text" => here.query("SELECT id, a::text AS a FROM e"),
                column => here.table("e").columns(["id", column]),
            };
            let run = extract.options(small_slices(2).with_batch_rows(100)).open().unwrap();
            let result = read_while(run, &database, meanwhile);
            match is_well || column == "pad" {
                true => assert_eq!(result.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 6000),
                false => assert_opened(result, "labels of mood were renamed"),
            }
        }
    }
}
