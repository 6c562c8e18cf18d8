//! How often the server is queried: known facts are not queried again.

use pgarrow::{Error, ExportOptions, Extract, PoolOptions, Report, Source};
use pgarrow_testkit::{Capability, Database, Fault, Proxy, TestServer, require};

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

/// Without a number of readers, the server is asked once whether it exports snapshots, and once whether it
/// knows COPY.
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
    let asked = if std::thread::available_parallelism().unwrap().get() > 1 { 2 } else { 1 };
    assert_eq!(of_first - of_second, asked, "{of_first}, {of_second}");
    assert_eq!(of_third, of_second);
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
    // An export of the same table takes many more: locks, a snapshot, proofs.
    let (_, of_export) = counted.export(&ExportOptions::default().with_readers(1));
    assert!(of_export > 8, "{of_export}");
}
