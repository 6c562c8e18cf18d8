//! Plans through the public API: which tables are read for a table, when leaves may not be read alone, and
//! slices that are read one by one.

mod tokens;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::RecordBatch;
use pgarrow::{Error, ErrorKind, ExportOptions, Run};
use pgarrow_testkit::postgres::Client;
use pgarrow_testkit::{Capability, require};

use crate::render;
use crate::support::{
    Role, assert_error, database, oracle, refusal, server_text, source, source_as, wait_until,
};

type Row = Vec<Option<String>>;

fn pages(n_readers: usize) -> ExportOptions {
    ExportOptions::default().with_readers(n_readers).with_slice_bytes(8192)
}

/// Reads a run and sorts its rows.
fn rows(run: Run) -> Result<Vec<Row>, Error> {
    let batches = Mutex::new(Vec::new());
    run.for_each_concurrently(|batch| {
        batches.lock().unwrap().push(batch);
        Ok(())
    })?;
    Ok(sorted(&batches.into_inner().unwrap()))
}

fn sorted(batches: &[RecordBatch]) -> Vec<Row> {
    let mut rows = render::rows(batches);
    rows.sort_unstable();
    rows
}

fn expected(client: &mut Client, sql: &str) -> Vec<Row> {
    let mut rows = server_text(client, sql);
    rows.sort_unstable();
    rows
}

/// The rows of each leaf.
const ROWS_OF_LEAF: usize = 1500;
const LEAVES: usize = 6;

/// Leaves of two or more pages; each row names its leaf. Every second leaf is attached; `state` says which.
fn leaves() -> String {
    let mut sql = String::from(
        "CREATE TABLE p (leaf int4, id int4, pad text) PARTITION BY LIST (leaf); \
         CREATE TABLE state (leaf int4 PRIMARY KEY, attached bool)",
    );
    for leaf in 0..LEAVES {
        sql.push_str(&format!(
            "; CREATE TABLE leaf{leaf} (leaf int4, id int4, pad text); \
             INSERT INTO leaf{leaf} SELECT {leaf}, g, repeat('x', 20) FROM generate_series(1, {ROWS_OF_LEAF}) AS g; \
             INSERT INTO state VALUES ({leaf}, {})",
            leaf % 2 == 0
        ));
        if leaf % 2 == 0 {
            sql.push_str(&format!("; ALTER TABLE p ATTACH PARTITION leaf{leaf} FOR VALUES IN ({leaf})"));
        }
    }
    sql
}

/// Attaches one leaf of a pair and detaches the other in one transaction.
fn swap(client: &mut Client, pair: usize, is_first_attached: bool) -> bool {
    let (mut on, mut off) = (2 * pair, 2 * pair + 1);
    if is_first_attached {
        std::mem::swap(&mut on, &mut off);
    }
    let sql = format!(
        "BEGIN; ALTER TABLE p ATTACH PARTITION leaf{on} FOR VALUES IN ({on}); \
         ALTER TABLE p DETACH PARTITION leaf{off}; \
         UPDATE state SET attached = leaf = {on} WHERE leaf IN ({on}, {off}); COMMIT"
    );
    let is_done = client.batch_execute(&sql).is_ok();
    if !is_done {
        client.batch_execute("ROLLBACK").unwrap();
    }
    is_done
}

#[test]
fn leaves_that_come_and_go_while_an_export_is_planned() {
    require!(Capability::Server);
    let database = database("comeandgo", &leaves());
    let is_over = AtomicBool::new(false);
    let (n_swaps, sets) = std::thread::scope(|scope| {
        let swapping = scope.spawn(|| {
            let mut client = database.client();
            client.batch_execute("SET lock_timeout = '20ms'").unwrap();
            let (mut is_first_attached, mut n_swaps) = ([true; LEAVES / 2], 0);
            while !is_over.load(Ordering::SeqCst) {
                for (pair, is_first) in is_first_attached.iter_mut().enumerate() {
                    if swap(&mut client, pair, *is_first) {
                        *is_first = !*is_first;
                        n_swaps += 1;
                    }
                }
            }
            n_swaps
        });
        let source = source(&database);
        let exports = catch_unwind(AssertUnwindSafe(|| {
            let mut sets = HashSet::new();
            let mut n_refused = 0;
            for round in 0..60 {
                let options =
                    if round % 2 == 0 { pages(1 + round % 4) } else { pages(1).with_slice_bytes(1 << 20) };
                let mut run = match source.table("p").options(options).open() {
                    Ok(run) => run,
                    // Another session changed the table during every attempt to plan.
                    Err(error) => {
                        assert!(error.to_string().contains("again and again"), "round {round}: {error}");
                        n_refused += 1;
                        continue;
                    }
                };
                let snapshot = run.slices().unwrap()[0].snapshot.clone().unwrap().exported;
                let mut control = oracle(&database);
                let begin =
                    format!("BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '{snapshot}'");
                control.batch_execute(&begin).unwrap();
                let attached: BTreeSet<String> =
                    server_text(&mut control, "SELECT leaf FROM state WHERE attached")
                        .into_iter()
                        .filter_map(|mut row| row.swap_remove(0))
                        .collect();
                control.batch_execute("COMMIT").unwrap();
                let mut n_rows: HashMap<String, HashSet<String>> = HashMap::new();
                for mut row in rows(run).unwrap() {
                    let (id, leaf) = (row.swap_remove(1).unwrap(), row.swap_remove(0).unwrap());
                    assert!(n_rows.entry(leaf).or_default().insert(id), "round {round}: a row came twice");
                }
                let read: BTreeSet<String> = n_rows.keys().cloned().collect();
                assert_eq!(read, attached, "round {round}: leaves of another moment");
                assert!(
                    n_rows.values().all(|ids| ids.len() == ROWS_OF_LEAF),
                    "round {round}: part of a leaf"
                );
                sets.insert(read);
            }
            assert!(n_refused < 30, "{n_refused} of 60 exports could not be planned");
            sets
        }));
        is_over.store(true, Ordering::SeqCst);
        let n_swaps = swapping.join().unwrap();
        (n_swaps, exports.unwrap_or_else(|panic| resume_unwind(panic)))
    });
    assert!(
        n_swaps > 5 && sets.len() > 1,
        "{n_swaps} swaps, {} sets of leaves: nothing was tested",
        sets.len()
    );
}

#[test]
fn a_leaf_that_is_attached_after_the_snapshot_is_not_read() {
    require!(Capability::Server);
    let tree = "CREATE TABLE e (a int4, b text) PARTITION BY RANGE (a); \
                CREATE TABLE e1 PARTITION OF e FOR VALUES FROM (0) TO (5000); \
                CREATE TABLE late (a int4, b text)";
    let attach = "ALTER TABLE e ATTACH PARTITION late FOR VALUES FROM (5000) TO (9000)";
    let inherits = "CREATE TABLE e (a int4, b text); CREATE TABLE e1 () INHERITS (e); \
                    CREATE TABLE late (a int4, b text)";
    for (tree, attach) in [(tree, attach), (inherits, "ALTER TABLE late INHERIT e")] {
        let fill = "INSERT INTO e1 SELECT g, repeat('x', 30) FROM generate_series(1, 3000) AS g; \
                    INSERT INTO late SELECT g + 5000, b FROM generate_series(1, 1000) AS g, e1 WHERE a = g";
        let database = database("late", &format!("{tree}; {fill}"));
        for options in [
            ExportOptions::default().with_readers(1),
            ExportOptions::default().with_readers(3),
            pages(1),
            pages(3),
        ] {
            let run = source(&database).table("e").options(options).open().unwrap();
            let slicing = run.plan().slicing().to_owned();
            // In this snapshot, the moved rows are still in `e1`.
            database.execute(&format!("{attach}; DELETE FROM e1 WHERE a <= 1000"));
            assert_eq!(rows(run).unwrap().len(), 3000, "{slicing}");
            let undo = "INSERT INTO e1 SELECT a - 5000, b FROM late; ALTER TABLE";
            let detach = match attach.contains("INHERIT") {
                true => "late NO INHERIT e",
                false => "e DETACH PARTITION late",
            };
            database.execute(&format!("{undo} {detach}"));
        }
    }
}

/// The leaf is attached while the export has its lock on the parent and waits for another lock.
#[test]
fn a_leaf_that_is_attached_between_lock_and_snapshot_is_locked_too() {
    require!(Capability::Server);
    let database = database(
        "between",
        "CREATE TABLE p (a int4) PARTITION BY RANGE (a); CREATE TABLE q AS SELECT 1 AS a; \
         CREATE TABLE late AS SELECT g AS a FROM generate_series(1, 1000) AS g",
    );
    let attach = "ALTER TABLE p ATTACH PARTITION late FOR VALUES FROM (0) TO (2000)";
    let source = source(&database);
    let while_waiting_for = |table: &str, open: &(dyn Fn() -> Run + Sync)| {
        let mut other = database.client();
        other.batch_execute(&format!("BEGIN; LOCK TABLE {table}")).unwrap();
        let opened = std::thread::scope(|scope| {
            let opening = scope.spawn(open);
            let mut client = database.client();
            let sql =
                format!("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass");
            wait_until("the export waits", || server_text(&mut client, &sql)[0][0].as_deref() == Some("1"));
            client.batch_execute(attach).unwrap();
            other.batch_execute("COMMIT").unwrap();
            opening.join().unwrap()
        });
        let truncate =
            database.client().batch_execute("SET lock_timeout = '50ms'; TRUNCATE late").unwrap_err();
        assert_eq!(truncate.code().unwrap().code(), "55P03", "{table}");
        opened
    };

    // Many tables, one without a leaf so far.
    let opened = while_waiting_for("q", &|| source.tables(["p", "q"]).open().unwrap());
    assert_eq!(n_rows(opened), 1001);
    // A table with another leaf, by pages and by a key.
    database.execute(
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (2000) TO (9000); INSERT INTO p VALUES (3000)",
    );
    for options in [pages(2), ExportOptions::default().with_readers(2).with_split_on("a")] {
        database.execute("ALTER TABLE p DETACH PARTITION late");
        let open = || source.table("p").options(options.clone()).open().unwrap();
        assert_eq!(n_rows(while_waiting_for("p1", &open)), 1001);
    }
}

/// Reads an export of one table or of many.
fn n_rows(run: Run) -> u64 {
    run.for_each_with_plan(|_, _| Ok(())).unwrap().rows
}

#[test]
fn policies_of_a_parent_or_a_leaf_make_it_one_stream() {
    require!(Capability::Server, Capability::Superuser);
    let database = database(
        "policies",
        "CREATE TABLE p (a int4, b text) PARTITION BY RANGE (a); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (2000); \
         CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (2000) TO (9000); \
         INSERT INTO p SELECT g, repeat('x', 50) FROM generate_series(1, 4000) AS g",
    );
    let role = Role::new(&database);
    let name = &role.name;
    database.execute(&format!("GRANT SELECT ON p, p1, p2 TO \"{name}\""));
    let open = |options| source_as(&database, name).table("p").options(options).open();
    let policies_on = |n_readers| pages(n_readers).with_setting("row_security", "on");
    let as_role = || {
        let mut client = oracle(&database);
        client.batch_execute(&format!("SET ROLE \"{name}\"")).unwrap();
        client
    };
    let run = open(pages(3)).unwrap();
    assert!(run.plan().n_slices() > 10, "{}", run.plan().slicing());
    assert_eq!(rows(run).unwrap().len(), 4000);

    // A leaf's policy does not apply to reading the parent.
    database.execute("ALTER TABLE p1 ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON p1 USING (a % 2 = 0)");
    for options in [pages(3), policies_on(3)] {
        let run = open(options).unwrap();
        assert_eq!(run.plan().n_slices(), 1);
        assert!(
            run.plan().slicing().contains("row security applies to public.p1"),
            "{}",
            run.plan().slicing()
        );
        assert_eq!(rows(run).unwrap(), expected(&mut as_role(), "SELECT * FROM p"));
    }

    // The parent's policy does; and unless the user asks for it, no policy filters rows.
    database.execute("ALTER TABLE p1 DISABLE ROW LEVEL SECURITY; ALTER TABLE p ENABLE ROW LEVEL SECURITY");
    database.execute("CREATE POLICY tenth ON p USING (a % 10 = 0)");
    let run = open(policies_on(3)).unwrap();
    assert!(run.plan().slicing().contains("row security applies to public.p"), "{}", run.plan().slicing());
    assert_eq!(run.plan().n_slices(), 1);
    let found = rows(run).unwrap();
    assert_eq!((found.len(), found), (400, expected(&mut as_role(), "SELECT * FROM p")));
    let error = refusal(source_as(&database, name).table("p").options(pages(3)));
    assert_error(&error, ErrorKind::Server, Some("42501"), &["row-level security", "row_security=on"]);
    // Its owner is not subject to it.
    let run = source(&database).table("p").options(pages(3)).open().unwrap();
    assert!(run.plan().n_slices() > 10, "{}", run.plan().slicing());
    assert_eq!(rows(run).unwrap().len(), 4000);
}

#[test]
fn rights_on_columns_or_on_the_parent_alone_make_it_one_stream() {
    require!(Capability::Server, Capability::Superuser);
    let database = database(
        "rights",
        "CREATE TABLE p (a int4, b text, secret int4) PARTITION BY RANGE (a); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (2000); \
         CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (2000) TO (9000); \
         INSERT INTO p SELECT g, repeat('x', 50), g FROM generate_series(1, 4000) AS g; \
         CREATE TABLE e AS SELECT * FROM p",
    );
    let role = Role::new(&database);
    let name = &role.name;
    database.execute(&format!("GRANT SELECT (a, b) ON p, e TO \"{name}\""));
    let all = expected(&mut oracle(&database), "SELECT a, b FROM p");
    let assert_one_stream = |table: &str, why: &str| {
        let extract = source_as(&database, name);
        let run = extract.table(table).columns(["a", "b"]).options(pages(3)).open().unwrap();
        assert!(run.plan().slicing().contains(why), "{}", run.plan().slicing());
        assert_eq!(run.plan().n_slices(), 1);
        assert!(rows(run).unwrap() == all, "{table}");
    };
    assert_one_stream("p", "may not read public.p1");
    assert_one_stream("e", "only columns of public.e");
    // One leaf is not enough.
    database.execute(&format!("GRANT SELECT ON p, p1 TO \"{name}\""));
    assert_one_stream("p", "may not read public.p2");
    let error = refusal(source_as(&database, name).table("e").options(pages(3)));
    assert_error(&error, ErrorKind::Server, Some("42501"), &["columns that the role may read"]);
    // With rights on columns of every leaf, leaves can be read alone, but not by pages.
    database.execute(&format!(
        "REVOKE SELECT ON p1 FROM \"{name}\"; GRANT SELECT (a, b) ON p1, p2 TO \"{name}\""
    ));
    let run = source_as(&database, name).table("p").columns(["a", "b"]).options(pages(3)).open().unwrap();
    assert_eq!(run.plan().n_slices(), 2, "{}", run.plan().slicing());
    assert!(rows(run).unwrap() == all);
}

#[test]
fn trees_of_several_levels() {
    require!(Capability::Server);
    let fill = |table: &str, from: usize, list: &str| {
        format!(
            "INSERT INTO {table} ({list}) SELECT g, repeat('x', g % 40) FROM generate_series({from}, {from} + 1500) AS g"
        )
    };
    // `twice` has two parents, `far` another order of columns, and one that is gone.
    let inherits = format!(
        "CREATE TABLE e (a int4, b text); CREATE TABLE c1 (x int4) INHERITS (e); CREATE TABLE c2 (y text) INHERITS (e); \
         CREATE TABLE twice () INHERITS (c1, c2); CREATE TABLE far (junk text, b text, z int4, a int4); \
         ALTER TABLE far DROP COLUMN junk; ALTER TABLE far INHERIT e; CREATE TABLE empty () INHERITS (far); \
         {}; {}; {}; {}; {}",
        fill("e", 0, "a, b"),
        fill("c1", 10_000, "a, b"),
        fill("c2", 20_000, "a, b"),
        fill("twice", 30_000, "a, b"),
        fill("far", 40_000, "a, b"),
    );
    let partitions = format!(
        "CREATE TABLE e (a int4, b text) PARTITION BY RANGE (a); \
         CREATE TABLE low PARTITION OF e FOR VALUES FROM (0) TO (20000) PARTITION BY HASH (b); \
         CREATE TABLE low0 PARTITION OF low FOR VALUES WITH (MODULUS 2, REMAINDER 0); \
         CREATE TABLE low1 PARTITION OF low FOR VALUES WITH (MODULUS 2, REMAINDER 1) PARTITION BY RANGE (a); \
         CREATE TABLE low1a PARTITION OF low1 FOR VALUES FROM (0) TO (500); \
         CREATE TABLE low1b PARTITION OF low1 DEFAULT; CREATE TABLE rest (b text, a int4); \
         ALTER TABLE e ATTACH PARTITION rest DEFAULT; {}; {}",
        fill("e", 0, "a, b"),
        fill("e", 30_000, "a, b"),
    );
    for (name, sql) in [("inherits", inherits), ("levels", partitions)] {
        let database = database(name, &sql);
        for (table, filter) in
            [("e", None), ("e", Some("e.a % 3 = 0 AND length(b) > 2")), ("e", Some("e IS NOT NULL"))]
        {
            let sql = format!("SELECT * FROM {table} WHERE {}", filter.unwrap_or("true"));
            let all = expected(&mut oracle(&database), &sql);
            assert!(all.len() > 900, "{name}: {sql}");
            for options in
                [ExportOptions::default().with_readers(1), ExportOptions::default().with_readers(2), pages(3)]
            {
                let source = source(&database);
                let extract = source.table(table).options(options);
                let extract = match filter {
                    Some(filter) => extract.filter(filter),
                    None => extract,
                };
                let run = extract.open().unwrap();
                let slicing = run.plan().slicing().to_owned();
                assert!(rows(run).unwrap() == all, "{name}, {filter:?}: {slicing}");
            }
        }
    }
}
