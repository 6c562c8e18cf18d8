//! VACUUM and ANALYZE after the commit.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use pgarrow_load::{
    Connection, Load, LoadMethod, LoadMode, LoadOptions, LoadReport, LoadSet, LoadStage, RelationName,
};
use pgarrow_protocol::Config;
use pgarrow_session::Cancel;
use pgarrow_testkit::{Capability, Database, require};

use crate::support::{creating, database, eventually, load, load_batches, value};

fn numbers(rows: i64) -> RecordBatch {
    RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from_iter_values(0..rows)) as ArrayRef)]).unwrap()
}

fn mode(mode: LoadMode) -> LoadOptions {
    LoadOptions::default().with_mode(mode)
}

fn load_rows(database: &Database, table: &str, options: LoadOptions, rows: i64) -> LoadReport {
    let report = load_batches(database, table, options, &[numbers(rows)]).unwrap();
    assert_eq!(report.rows, rows as u64);
    report
}

/// The planner's number of rows: 0 or less if it knows none.
fn known_rows(database: &Database, table: &str) -> i64 {
    value(database, &format!("SELECT reltuples::int8::text FROM pg_class WHERE oid = '{table}'::regclass"))
        .parse()
        .unwrap()
}

fn warnings(report: &LoadReport) -> String {
    report.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A table that autovacuum leaves alone does not change its statistics by itself.
const TABLE: &str = "CREATE TABLE t (x int8)";

#[test]
fn a_table_that_is_made_or_emptied_is_analyzed() {
    let database = database("upkeep", TABLE);
    for (options, table) in [
        (creating(), "made"),
        (creating().with_writers(2), "made_by_two"),
        (creating().with_commit_every(400).with_restart_key("made"), "made_in_parts"),
        (mode(LoadMode::Truncate), "t"),
        (mode(LoadMode::Replace), "t"),
        (mode(LoadMode::Replace).with_writers(2), "t"),
        (mode(LoadMode::Truncate).with_writers(2), "t"),
        (mode(LoadMode::Truncate).with_reject(true), "t"),
    ] {
        if table == "t" {
            database.execute("DROP TABLE t; CREATE TABLE t (x int8)");
        }
        let report = load_rows(&database, table, options.clone(), 1000);
        assert!(report.upkeep.analyzed && !report.upkeep.vacuumed, "{options:?}: {report:?}");
        assert_eq!(known_rows(&database, table), 1000, "{options:?}");
        assert_eq!(warnings(&report), "");
    }
    database.execute("DROP TABLE t");
    let report = load_rows(&database, "t", creating().with_analyze(false), 1000);
    assert_eq!(report.upkeep, Default::default());
    assert!(known_rows(&database, "t") < 1);
    // A rehearsal and an empty load of the same.
    load(&database, "dry", creating()).open(numbers(1).schema()).unwrap().rehearse().unwrap();
    assert!(load_rows(&database, "t", mode(LoadMode::Truncate), 0).upkeep.analyzed);
}

/// The threshold of autovacuum, with the settings of the table.
#[test]
fn a_table_that_is_added_to_is_analyzed_after_many_rows() {
    let of_table = "autovacuum_analyze_threshold = 10, autovacuum_analyze_scale_factor = 0.5";
    let sql = format!(
        "CREATE TABLE t (x int8) WITH ({of_table}); CREATE TABLE off (x int8) WITH (autovacuum_enabled = false); \
         CREATE TABLE parted (x int8) PARTITION BY RANGE (x); \
         CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (1000000); \
         INSERT INTO part SELECT generate_series(1, 1000); ANALYZE part; CREATE VIEW v AS TABLE t"
    );
    let database = database("upkeep_append", &sql);
    let is_analyzed = |table: &str, options: LoadOptions, rows| {
        let report = load_rows(&database, table, options, rows);
        assert_eq!(warnings(&report), "");
        report.upkeep.analyzed
    };
    let append = LoadOptions::default;
    // Read each time: autovacuum may come by.
    let limit = |table: &str, base: f64, scale: f64| {
        (base + scale * known_rows(&database, table).max(0) as f64).floor() as i64
    };
    assert!(!is_analyzed("t", append(), limit("t", 10.0, 0.5)));
    assert!(!is_analyzed("t", append().with_analyze(false), limit("t", 10.0, 0.5) + 1));
    assert!(is_analyzed("t", append(), limit("t", 10.0, 0.5) + 1));
    assert!(known_rows(&database, "t") > 30);
    assert!(!is_analyzed("t", append(), limit("t", 10.0, 0.5)));
    let in_parts = append().with_commit_every(10).with_restart_key("k");
    assert!(is_analyzed("t", in_parts, limit("t", 10.0, 0.5) + 1));
    assert!(is_analyzed("t", append().with_writers(2), 1000));
    assert!(!is_analyzed("off", append(), 10_000));
    assert!(!is_analyzed("v", append().with_method(LoadMethod::Insert), 10_000));
    // The rows of the partitions count, until the partitioned table has been analyzed itself.
    assert!(!is_analyzed("parted", append(), limit("part", 50.0, 0.1)));
    assert!(is_analyzed("parted", append(), limit("part", 50.0, 0.1) + 1));
    assert!(known_rows(&database, "parted") > 1200);
    // Its own settings are no longer those of the server.
    database.execute("DROP TABLE t CASCADE; CREATE TABLE t (x int8 PRIMARY KEY)");
    assert!(is_analyzed("t", mode(LoadMode::Upsert), 51));
}

#[test]
fn vacuum_marks_the_pages_of_rows_that_are_added() {
    require!(Capability::Superuser);
    require!(Capability::Extension("pageinspect"));
    let sql = format!(
        "CREATE EXTENSION pageinspect; {TABLE}; CREATE TABLE parted (x int8) PARTITION BY RANGE (x); \
        CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (1000000)"
    );
    let database = database("upkeep_vacuum", &sql);
    let is_marked = |table: &str| {
        let sql = format!(
            "SELECT bool_and(h.flags & 4 <> 0)::text FROM generate_series(0, \
             pg_relation_size('{table}') / current_setting('block_size')::int8 - 1) AS b, \
             page_header(get_raw_page('{table}', 'main', b::int)) AS h"
        );
        value(&database, &sql) == "true"
    };
    // VACUUM marks no page of a commit that may still be lost.
    let vacuuming = || LoadOptions::default().with_vacuum(true).with_setting("synchronous_commit", "on");
    for (table, stored, options, in_parts) in [
        ("t", "t", vacuuming(), false),
        ("t", "t", vacuuming().with_writers(2), false),
        ("t", "t", vacuuming(), true),
        ("parted", "part", vacuuming(), false),
    ] {
        load_rows(&database, stored, LoadOptions::default().with_analyze(false), 1000);
        assert!(!is_marked(stored));
        let mut round = 0;
        // A backend of another test that begins meanwhile keeps VACUUM from marking pages.
        eventually("all pages are marked", || {
            round += 1;
            let options = match in_parts {
                true => options.clone().with_commit_every(500).with_restart_key(format!("k {round}")),
                false => options.clone(),
            };
            let report = load_rows(&database, table, options, 1000);
            assert!(report.upkeep.vacuumed, "{}", warnings(&report));
            is_marked(stored)
        });
    }
    let report = load_rows(&database, "t", vacuuming().with_analyze(false), 1000);
    assert!(report.upkeep.vacuumed && !report.upkeep.analyzed && report.upkeep.seconds > 0.0);
    assert!(load_rows(&database, "t", mode(LoadMode::Truncate).with_vacuum(true), 1000).upkeep.analyzed);
}

/// The rows are committed: what the server does not do is a warning.
#[test]
fn what_fails_after_the_commit_is_a_warning() {
    let database = database("upkeep_fails", TABLE);
    let role = format!("loader_{}", database.name());
    database.execute(&format!("CREATE ROLE \"{role}\"; GRANT INSERT, SELECT ON t TO \"{role}\""));
    let as_role = || LoadOptions::default().with_role(&role);
    for (options, statement) in
        [(as_role().with_vacuum(true), "VACUUM"), (as_role().with_vacuum(true).with_analyze(false), "VACUUM")]
    {
        let report = load_rows(&database, "t", options, 1000);
        let text = warnings(&report);
        assert!(
            text.starts_with(&format!("public.t: the rows are committed, but {statement} says: ")),
            "{text}"
        );
        assert!(!report.upkeep.analyzed && !report.upkeep.vacuumed);
    }
    database.execute(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
    assert_eq!(value(&database, "SELECT count(*)::text FROM t"), "2000");

    let mut holder = database.client();
    holder.batch_execute("BEGIN; LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE").unwrap();
    let patient = || LoadOptions::default().with_lock_timeout(Duration::from_millis(50));
    for options in [patient(), patient().with_vacuum(true)] {
        let report = load_rows(&database, "t", options, 10_000);
        let text = warnings(&report);
        assert!(text.contains("the rows are committed, but") && text.contains("lock timeout"), "{text}");
    }
    assert_eq!(value(&database, "SELECT count(*)::text FROM t"), "22000");
}

/// A role that may not analyze a table was warned after each load of many rows. Autovacuum does it.
#[test]
fn a_role_that_may_not_analyze_leaves_it_to_autovacuum() {
    let database = database("upkeep_rights", TABLE);
    let [reader, owner, member, keeper] =
        ["reader", "owner", "member", "keeper"].map(|role| format!("{role}_{}", database.name()));
    database.execute(&format!(
        "CREATE ROLE \"{reader}\"; CREATE ROLE \"{owner}\"; CREATE ROLE \"{member}\" IN ROLE \"{owner}\"; \
         CREATE ROLE \"{keeper}\"; ALTER TABLE t OWNER TO \"{owner}\"; \
         GRANT INSERT, SELECT ON t TO \"{reader}\", \"{keeper}\""
    ));
    let has_right =
        value(&database, "SELECT current_setting('server_version_num')").parse::<u32>().unwrap() >= 170_000;
    if has_right {
        database.execute(&format!("GRANT MAINTAIN ON t TO \"{keeper}\""));
    }
    for (role, is_analyzed) in [(&reader, false), (&owner, true), (&member, true), (&keeper, has_right)] {
        let rows = 1000 + known_rows(&database, "t").max(0);
        let report = load_rows(&database, "t", LoadOptions::default().with_role(role), rows);
        assert_eq!((report.upkeep.analyzed, warnings(&report).as_str()), (is_analyzed, ""), "{role}");
    }
    let roles = [reader, owner, member, keeper].map(|role| format!("\"{role}\"")).join(", ");
    database.execute(&format!("DROP OWNED BY {roles}; DROP ROLE {roles}"));
}

#[test]
fn a_cancel_after_the_commit_stops_only_what_comes_then() {
    let database = database("upkeep_cancel", TABLE);
    let mut holder = database.client();
    holder.batch_execute("BEGIN; LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE").unwrap();
    for vacuum in [false, true] {
        let patient = LoadOptions::default().with_lock_timeout(Duration::from_secs(600)).with_vacuum(vacuum);
        let load = load(&database, "t", patient);
        let cancel = load.cancel().clone();
        let mut loading = load.open(numbers(1).schema()).unwrap();
        let progress = Arc::clone(loading.progress());
        loading.write(&numbers(10_000)).unwrap();
        let finishing = thread::spawn(move || loading.finish());
        let waits = "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() \
                     AND wait_event_type = 'Lock' AND query ~ '^(ANALYZE|VACUUM)'";
        eventually("it waits for the lock", || value(&database, waits) == "1");
        assert_eq!(progress.stage(), LoadStage::Tending);
        assert!(progress.stage().is_committed());
        cancel.cancel();
        let report = finishing.join().unwrap().unwrap();
        let text = warnings(&report);
        assert!(text.contains("the rows are committed, but") && text.ends_with("was stopped"), "{text}");
    }
    assert_eq!(value(&database, "SELECT count(*)::text FROM t"), "20000");
}

#[test]
fn a_caller_who_commits_does_it_himself() {
    let database = database("upkeep_part", TABLE);
    let connection = Connection::connect(database.url()).unwrap();
    connection.begin().unwrap();
    let run = |options: LoadOptions| {
        let mut loading =
            Load::in_transaction(&connection, "t").unwrap().options(options).open(numbers(1).schema());
        loading.as_mut().unwrap().write(&numbers(1000)).unwrap();
        loading.unwrap().finish().unwrap()
    };
    assert_eq!(warnings(&run(mode(LoadMode::Truncate))), "");
    let report = run(LoadOptions::default().with_vacuum(true));
    assert!(warnings(&report).contains("VACUUM is not possible in a transaction of the caller"));
    connection.commit().unwrap();
    assert!(known_rows(&database, "t") < 1);
}

#[test]
fn tables_of_one_transaction_are_analyzed_after_its_commit() {
    let database = database("upkeep_set", TABLE);
    let config = Config::parse(Some(database.url())).unwrap();
    let loaded = |names: [&str; 2], cancel: &Cancel| {
        let tables = names.map(|name| RelationName::parse(name).unwrap());
        let options = mode(LoadMode::Create).with_vacuum(names[0] == "c");
        let mut set = LoadSet::connect(&config, options, true, cancel.clone()).unwrap();
        set.begin(&tables, None).unwrap();
        let reports = tables.each_ref().map(|table| {
            let mut loading = set.load(table).open(numbers(1).schema()).unwrap();
            loading.write(&numbers(1000)).unwrap();
            loading.finish().unwrap()
        });
        set.commit().unwrap();
        (set, reports)
    };
    for names in [["a", "b"], ["c", "d"]] {
        let (set, mut reports) = loaded(names, &Cancel::new());
        assert!(known_rows(&database, names[0]) < 1);
        assert_eq!(set.tend(&mut reports).len(), 0);
        for (name, report) in names.iter().zip(&reports) {
            assert!(report.upkeep.analyzed, "{report:?}");
            assert_eq!(known_rows(&database, name), 1000);
        }
        // Once.
        set.tend(&mut reports);
    }
    let cancel = Cancel::new();
    let (set, mut reports) = loaded(["e", "f"], &cancel);
    cancel.cancel();
    let warned = set.tend(&mut reports);
    assert_eq!(warned.len(), 2);
    assert_eq!(warnings(&reports[1]), "public.f: the rows are committed, but ANALYZE was stopped");
    assert_eq!(value(&database, "SELECT count(*)::text FROM f"), "1000");
}
