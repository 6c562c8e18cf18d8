//! How often the server is queried: known facts are not queried again.

use pgarrow::{Error, ExportOptions, Extract, PoolOptions, ReadMode, Report, Source};
use pgarrow_testkit::{Capability, Database, Fault, Proxy, TestServer, require};

use crate::pages_planning::{require_pages, vacuum};
use crate::support::{Role, database, url_as, with_parameter};

const TABLE: &str = "CREATE TABLE e AS SELECT g AS id, g::text AS t FROM generate_series(1, 1000) AS g";

/// A source with a pool, behind a proxy that counts.
struct Counted {
    proxy: Proxy,
    source: Source,
}

impl Counted {
    fn new(database: &Database) -> Self {
        Self::of_url(database.url())
    }

    fn of_url(url: &str) -> Self {
        let port = TestServer::shared().private().expect("the test requires a private server").port();
        let proxy = Proxy::start(port, Fault::None);
        let url = with_parameter(&proxy.url_of(url), "sslmode=disable");
        let source = Source::connect_blocking(&url).unwrap();
        Self { proxy, source: source.with_pool(PoolOptions::default().with_idle_max(4)) }
    }

    /// The result of `run` and its number of round trips.
    fn trips<T>(&self, run: impl FnOnce(&Source) -> T) -> (T, u64) {
        let before = self.proxy.n_round_trips();
        let result = run(&self.source);
        (result, self.proxy.n_round_trips() - before)
    }

    fn export(&self, options: &ExportOptions) -> (Result<Report, Error>, u64) {
        self.trips(|source| source.table("e").options(options.clone()).open()?.for_each(|_| Ok(())))
    }
}

/// The first export also asks what names mean, whether the server exports snapshots and whether it knows
/// COPY.
#[test]
fn what_is_known_of_a_server_is_not_asked_again() {
    require!(Capability::PrivateServer);
    let database = database("facts", TABLE);
    let counted = Counted::new(&database);
    let options = ExportOptions::default().with_memory(64 << 20);
    let (first, of_first) = counted.export(&options);
    let (second, of_second) = counted.export(&options);
    let (third, of_third) = counted.export(&options);
    assert_eq!([first, second, third].map(|report| report.unwrap().rows), [1000; 3]);
    assert_eq!((of_first, of_second, of_third), (3, 2, 2));
    // A clone knows it, too; another role does not.
    let (_, of_clone) =
        counted.trips(|source| source.clone().table("e").open().unwrap().for_each(|_| Ok(())));
    assert_eq!(of_clone, of_second);
    let (_, of_role) = counted.export(&options.clone().with_role("postgres"));
    assert_eq!(of_role, of_first);
    assert_eq!(counted.export(&options.with_role("postgres")).1, of_second);
}

/// After a right is revoked, one export fails, and the next one asks the server again.
#[test]
fn what_is_no_longer_so_is_forgotten() {
    require!(Capability::PrivateServer);
    let sql = format!("{TABLE}; INSERT INTO e SELECT g, md5(g::text) FROM generate_series(1, 300000) AS g");
    let database = database("facts gone", &sql);
    let role = Role::new(&database);
    database.execute(&format!("GRANT SELECT ON e TO \"{}\"", role.name));
    let counted = Counted::of_url(&url_as(&database, &role.name));
    let options = ExportOptions::default().with_slice_bytes(1 << 20);
    let is_shared = |report: &Report| report.readers.len() > 1;
    let first = counted.export(&options).0.unwrap();
    if !is_shared(&first) {
        // With one core, there is only one reader, and snapshots are not shared.
        return;
    }
    database.execute("REVOKE EXECUTE ON FUNCTION pg_catalog.pg_export_snapshot() FROM PUBLIC");
    let refused = counted.export(&options).0.unwrap_err();
    assert_eq!(refused.sqlstate(), Some("42501"), "{refused}");
    let alone = counted.export(&options).0.unwrap();
    assert!(!is_shared(&alone));
    assert!(alone.warnings.iter().any(|warning| warning.contains("hands out no snapshot")), "{alone:?}");
    // A missing right is tried again each time.
    database.execute("GRANT EXECUTE ON FUNCTION pg_catalog.pg_export_snapshot() TO PUBLIC");
    assert!(is_shared(&counted.export(&options).0.unwrap()));
}

/// Every export asks for the extension that moves rows elsewhere: with a kept answer, it could miss rows.
#[test]
fn an_extension_that_came_meanwhile_is_seen() {
    require!(Capability::PrivateServer);
    let database = database("facts extension", TABLE);
    let counted = Counted::new(&database);
    let slicing = || {
        let options = ExportOptions::default().with_readers(2).with_slice_bytes(8192);
        counted.source.table("e").options(options).open().unwrap().plan().slicing().to_string()
    };
    assert!(slicing().contains("ranges of pages"), "{}", slicing());
    // As CREATE EXTENSION would, if there were one.
    database.execute(
        "INSERT INTO pg_catalog.pg_extension SELECT 99999, 'timescaledb', extowner, extnamespace, false, '1', NULL, NULL \
         FROM pg_catalog.pg_extension WHERE extname = 'plpgsql'",
    );
    assert!(slicing().contains("timescaledb"), "{}", slicing());
}

/// One to begin and to ask about the server, and one for everything under the snapshot.
#[test]
fn opening_a_slice_takes_two_round_trips() {
    require!(Capability::PrivateServer);
    let sql = format!("{TABLE}; CREATE VIEW v AS TABLE e; CREATE INDEX ON e (id); ANALYZE");
    let database = database("opening slices", &sql);
    let counted = Counted::new(&database);
    let tokens = |extract: Extract| {
        let options = ExportOptions::default().with_readers(2).with_slice_bytes(8192);
        let mut held = extract.options(options).open().unwrap().into_held();
        (held.slices().unwrap(), held)
    };
    let (of_pages, pages_held) = tokens(counted.source.table("e"));
    let (of_view, view_held) = tokens(counted.source.table("v"));
    assert!(of_pages.len() > 2);
    // The first session of the pool, and what is known of the server.
    counted.export(&ExportOptions::default().with_readers(1)).0.unwrap();
    for slice in of_pages.iter().take(3).chain(&of_view) {
        let (run, trips) = counted.trips(|source| source.slice(slice.clone()).open().unwrap());
        assert_eq!(trips, 2);
        assert!(run.for_each(|_| Ok(())).unwrap().rows > 0);
    }
    // A snapshot that is gone is an error in the same words as before. Dropped only, a holder's session ends
    // when the server comes to it, and until then its snapshot can be imported.
    pages_held.release().unwrap();
    view_held.release().unwrap();
    let error = counted.source.slice(of_pages[0].clone()).open().unwrap_err();
    assert!(error.to_string().contains("its holder is gone"), "{error}");
}

/// One for a table, two for a query, once it is known whether the server exports snapshots.
#[test]
fn describing_takes_one_round_trip_for_a_table_and_two_for_a_query() {
    require!(Capability::PrivateServer);
    let sql = format!(
        "{TABLE}; CREATE TABLE p (id int, t text) PARTITION BY HASH (id); CREATE VIEW v AS TABLE e; \
         CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1); INSERT INTO p TABLE e; \
         CREATE TYPE mood AS ENUM ('a'); CREATE TABLE moods (m mood, a int[]); ANALYZE"
    );
    let database = database("describing", &sql);
    let counted = Counted::new(&database);
    let describe = |extract: &dyn Fn(&Source) -> Extract| {
        let (described, trips) = counted.trips(|source| extract(source).describe());
        (described.unwrap().schema.fields().len(), trips)
    };
    let (_, first) = describe(&|source| source.table("e"));
    // BEGIN, the snapshot, ROLLBACK.
    assert!(first == 4 || first == 1, "{first}");
    for name in ["e", "p", "v", "public.e"] {
        assert_eq!(describe(&|source| source.table(name)), (2, 1), "{name}");
        assert_eq!(describe(&|source| source.table(name).columns(["t"])), (1, 1), "{name}");
        assert_eq!(describe(&|source| source.table(name).limit(5)), (2, 1), "{name}");
        let sql = format!("SELECT id, t, now() FROM {name} WHERE id > 5 -- some");
        assert_eq!(describe(&|source| source.query(&sql)), (3, 2), "{name}");
    }
    for readers in [1, 8] {
        let options = || ExportOptions::default().with_readers(readers).with_slice_bytes(8192);
        assert_eq!(describe(&|source| source.table("p").options(options())), (2, 1));
        assert_eq!(describe(&|source| source.table("e").only(true).options(options())), (2, 1));
    }
    // BEGIN; the types, their labels, their casts; the elements' types; ROLLBACK.
    let (_, of_types) = describe(&|source| source.table("moods"));
    assert!((4..=7).contains(&of_types), "{of_types}");
}

/// The round trips of an export: before its first batch, and in all.
fn of_export(counted: &Counted, run: pgarrow::Run, before: u64) -> (u64, u64) {
    let first = std::sync::Mutex::new(None);
    let report = run.for_each_with_plan(|_, _| {
        first.lock().unwrap().get_or_insert_with(|| counted.proxy.n_round_trips() - before);
        Ok(())
    });
    report.unwrap();
    (first.into_inner().unwrap().unwrap(), counted.proxy.n_round_trips() - before)
}

fn of_table(counted: &Counted, extract: impl FnOnce(&Source) -> Extract) -> (u64, u64) {
    let before = counted.proxy.n_round_trips();
    let run = extract(&counted.source).open().unwrap();
    of_export(counted, run, before)
}

/// New: one to look up, one to lock and to plan, one for COPY and the end behind it. Later, what names mean
/// is known: it is looked up again, but in the transaction. Before, the end was one more.
#[test]
fn an_export_takes_three_round_trips_before_its_first_row_and_two_once_the_table_is_known() {
    require!(Capability::PrivateServer);
    let sql = format!(
        "{TABLE}; CREATE TABLE p (id int, t text) PARTITION BY HASH (id); CREATE VIEW v AS TABLE e; \
         CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1); INSERT INTO p TABLE e; ANALYZE"
    );
    let database = database("export trips", &sql);
    for (name, first, later) in [("e", (3, 3), (2, 2)), ("public.e", (3, 3), (2, 2)), ("p", (3, 3), (2, 2))] {
        let counted = Counted::new(&database);
        assert_eq!(of_table(&counted, |source| source.table(name)), first, "{name}");
        for _ in 0..2 {
            assert_eq!(of_table(&counted, |source| source.table(name)), later, "{name}");
        }
        assert_eq!(of_table(&counted, |source| source.table(name).columns(["t"])), later, "{name}");
        // What a statement for a whole tree has opened is asked behind it. Before, that took one more.
        assert_eq!(of_table(&counted, |source| source.table(name).limit(5)), later, "{name}");
        // Another role may mean another table.
        let of_role = || ExportOptions::default().with_role("postgres");
        assert_eq!(of_table(&counted, |source| source.table(name).options(of_role())), first, "{name}");
        assert_eq!(of_table(&counted, |source| source.table(name).options(of_role())), later, "{name}");
    }
    // What functions of a view have opened is asked after its rows.
    let counted = Counted::new(&database);
    let (first, all) = of_table(&counted, |source| source.table("v"));
    assert!(first <= 3 && all <= 5, "{first}, {all}");
    let (first, all) = of_table(&counted, |source| source.table("v"));
    assert!(first <= 2 && all <= 4, "{first}, {all}");
}

/// New: one to look up, one to lock and to plan, one for COPY and for what it has opened; then the end.
/// Later, what the query reads is known. Before, it was explained and described step by step: twelve.
#[test]
fn a_query_takes_three_round_trips_before_its_first_batch_and_two_once_it_is_known() {
    require!(Capability::PrivateServer);
    let sql = format!("{TABLE}; CREATE VIEW v AS TABLE e");
    let database = database("query trips", &sql);
    // With tables, labels of enums are asked for in the transaction; without, it ends with the question
    // before.
    for (sql, of_end) in [
        ("SELECT id, t FROM e WHERE id < 100", 2),
        ("SELECT id, t FROM v -- some", 2),
        ("SELECT 1 AS one;", 1),
    ] {
        let counted = Counted::new(&database);
        let trips = || of_table(&counted, |source| source.query(sql));
        assert_eq!(trips(), (3, 3 + of_end), "{sql}");
        for _ in 0..2 {
            assert_eq!(trips(), (2, 2 + of_end), "{sql}");
        }
    }
}

/// Two more: to learn the names of the parameters' types, and to explain the query with values. Before:
/// thirteen.
#[test]
fn a_query_with_parameters_takes_five_round_trips_before_its_first_batch() {
    require!(Capability::PrivateServer);
    let database = database("parameter trips", TABLE);
    let counted = Counted::new(&database);
    let sql = "SELECT id, t FROM e WHERE id < $1 AND t <> $2";
    let trips = || of_table(&counted, |source| source.query(sql).bind(Some("100")).bind(Some("it's")));
    assert_eq!([trips(), trips()], [(5, 7), (5, 7)]);
}

/// Before, each question about pages took one: ten to plan.
#[test]
fn planning_pages_takes_three_round_trips_more_than_copy() {
    require!(Capability::PrivateServer);
    require_pages!();
    let sql =
        "CREATE TABLE large AS SELECT g AS id, repeat('x', 100) AS t FROM generate_series(1, 20000) AS g";
    let database = database("page trips", sql);
    let trips = |read_mode: ReadMode| {
        let counted = Counted::new(&database);
        let open = || {
            let options = ExportOptions::default().with_read_mode(read_mode).with_readers(1);
            counted.source.table("large").options(options).open().unwrap()
        };
        open().for_each(|_| Ok(())).unwrap();
        let (run, of_planning) = counted.trips(|_| open());
        let n_by_pages = run.plan().report(None).pages.len();
        let (report, of_reading) = counted.trips(|_| run.for_each(|_| Ok(())));
        assert_eq!(report.unwrap().rows, 20_000);
        (n_by_pages, of_planning, of_reading)
    };
    let (_, planning_copy, reading_copy) = trips(ReadMode::Copy);
    // Without the extension, one to ask and one to go on.
    assert_eq!(trips(ReadMode::Auto), (0, planning_copy + 2, reading_copy));
    database.execute("CREATE EXTENSION pageinspect");
    vacuum(&database, "large");
    let (n_by_pages, planning, reading) = trips(ReadMode::Auto);
    // The size of the heap, savepoint and release, two windows in place of one COPY; and the end, which was
    // three (pageinspect takes a name: what was opened, what was renamed, COMMIT), and which has one.
    assert_eq!((n_by_pages, planning, reading), (1, planning_copy + 3, reading_copy + 5));
}

/// Everything about them is asked together; then one for each COPY.
#[test]
fn many_tables_take_one_round_trip_each() {
    require!(Capability::PrivateServer);
    let tables = |n| (0..n).map(|index| format!("t{index}")).collect::<Vec<_>>();
    let create = |name: &String| format!("CREATE TABLE {name} AS SELECT g FROM generate_series(1, 10) AS g");
    let sql = tables(40).iter().map(create).collect::<Vec<_>>().join("; ");
    let database = database("trips of many", &sql);
    let trips = |n: usize| {
        let counted = Counted::new(&database);
        let options = || ExportOptions::default().with_readers(1);
        let export = || {
            let before = counted.proxy.n_round_trips();
            let run = counted.source.tables(tables(n)).options(options()).open().unwrap();
            of_export(&counted, run, before)
        };
        (export(), export())
    };
    let (few, many) = (trips(20), trips(40));
    assert_eq!((few.0.0, few.1.0), (4, 2));
    assert_eq!((many.0.0, many.1.0), (4, 2));
    assert_eq!(many.0.1 - few.0.1, 20);
    assert_eq!(many.1.1 - few.1.1, 20);
}

/// What is known of a table is only where to look first.
#[test]
fn a_known_table_that_has_changed_is_read_as_it_is() {
    require!(Capability::PrivateServer);
    let sql = format!("{TABLE}; CREATE SCHEMA other");
    let database = database("known tables", &sql);
    let counted = Counted::new(&database);
    let read = || {
        let options = ExportOptions::default().with_readers(1).with_setting("search_path", "other, public");
        let run = counted.source.table("e").options(options).open()?;
        let names: Vec<String> = run.schema().fields().iter().map(|field| field.name().clone()).collect();
        Ok::<_, Error>((names.join(" "), run.for_each(|_| Ok(()))?.rows))
    };
    let changes: &[(&str, &str, u64)] = &[
        ("SELECT 1", "id t", 1000),
        ("ALTER TABLE e ADD u int; DELETE FROM e WHERE id = 1", "id t u", 999),
        ("ALTER TABLE e RENAME t TO w", "id w u", 999),
        ("ALTER TABLE e ALTER u TYPE text", "id w u", 999),
        ("DROP TABLE e; CREATE TABLE e AS SELECT 1 AS one", "one", 1),
        ("CREATE TABLE other.e AS SELECT 1 AS a, 2 AS b", "a b", 1),
        ("ALTER SCHEMA other RENAME TO another", "one", 1),
        ("ALTER TABLE e RENAME TO f; CREATE VIEW e AS SELECT one, 5 AS five FROM f", "one five", 1),
        ("DROP VIEW e; CREATE MATERIALIZED VIEW e AS SELECT 7 AS seven", "seven", 1),
        ("DROP MATERIALIZED VIEW e; CREATE TABLE e (p int) PARTITION BY LIST (p)", "p", 0),
        ("CREATE TABLE e1 PARTITION OF e FOR VALUES IN (1); INSERT INTO e VALUES (1)", "p", 1),
    ];
    for (sql, columns, rows) in changes {
        for statement in sql.split("; ") {
            database.execute(statement);
        }
        for _ in 0..2 {
            assert_eq!(read().unwrap(), ((*columns).to_owned(), *rows), "{sql}");
        }
    }
    database.execute("DROP TABLE e");
    for _ in 0..2 {
        assert_eq!(read().unwrap_err().kind(), pgarrow::ErrorKind::Options);
    }
    database.execute("CREATE TABLE e AS SELECT 1 AS one");
    assert_eq!(read().unwrap().1, 1);
    // The server is another one meanwhile, as far as tables are concerned.
    database.execute(
        "INSERT INTO pg_catalog.pg_extension SELECT 99999, 'timescaledb', extowner, extnamespace, false, '1', NULL, NULL \
         FROM pg_catalog.pg_extension WHERE extname = 'plpgsql'",
    );
    assert_eq!(read().unwrap().1, 1);
}
