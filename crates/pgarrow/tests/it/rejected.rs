//! Rows that are set aside: each row of the table is either in the output, with the server's values, or among
//! the rejected ones, with the server's text; never both, never half.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch};
use pgarrow::{Error, ErrorKind, ExportOptions, Extract, ReadMode, Report, Source, reject_schema};
use pgarrow_testkit::{Capability, Chance, Database, Fault, Proxy, TestServer, require};

use crate::pages_planning::{inspected, require_pages, vacuum};
use crate::support::{
    Export, assert_error, database, oracle, read, refusal, server_text, source, url, with_parameter,
};

/// A rejected row.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Rejected {
    table: Option<String>,
    partition: Option<String>,
    ctid: Option<String>,
    place: String,
    column: String,
    reason: String,
    row: Option<Vec<(String, Option<String>)>>,
}

impl Rejected {
    fn value(&self, column: &str) -> Option<&str> {
        let row = self.row.as_ref().unwrap_or_else(|| panic!("{self:?} has no text"));
        let value = row.iter().find(|(name, _)| name == column);
        value.unwrap_or_else(|| panic!("{self:?} has no {column}")).1.as_deref()
    }

    fn id(&self) -> i64 {
        self.value("id").unwrap().parse().unwrap()
    }
}

struct Sifted {
    kept: Export,
    rejected: Vec<Rejected>,
    report: Report,
}

impl Sifted {
    fn rejected_ids(&self) -> Vec<i64> {
        self.rejected.iter().map(Rejected::id).collect()
    }
}

fn rejects() -> ExportOptions {
    ExportOptions::default().with_reject(true)
}

fn of_batch(batch: &RecordBatch) -> Vec<Rejected> {
    assert_eq!(batch.schema(), reject_schema());
    let text = |column: &str, row: usize| {
        let column = batch.column_by_name(column).unwrap().as_string::<i32>();
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    let rows = batch.column_by_name("row").unwrap().as_map();
    let of_row = |row: usize| {
        let entries = rows.value(row);
        let (names, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
        let names = names.iter().map(|name| name.unwrap().to_owned());
        names.zip(values.iter().map(|value| value.map(str::to_owned))).collect()
    };
    let rejected = |row: usize| Rejected {
        table: text("schema", row).map(|schema| format!("{schema}.{}", text("table", row).unwrap())),
        partition: text("partition", row),
        ctid: text("ctid", row),
        place: text("place", row).unwrap(),
        column: text("column", row).unwrap(),
        reason: text("reason", row).unwrap(),
        row: rows.is_valid(row).then(|| of_row(row)),
    };
    (0..batch.num_rows()).map(rejected).collect()
}

fn sift(extract: Extract) -> Result<Sifted, Error> {
    let rejected = Arc::new(Mutex::new(Vec::new()));
    let (receiver, mut batches) = (Arc::clone(&rejected), Vec::new());
    let run = extract.open()?.on_reject(move |batch| {
        receiver.lock().unwrap().extend(of_batch(batch));
        Ok(())
    })?;
    let schema = Arc::clone(run.schema());
    let report = run.for_each(|batch| {
        batches.push(batch);
        Ok(())
    })?;
    let rejected = rejected.lock().unwrap().clone();
    let kept = Export { schema, batches, warnings: Vec::new() };
    assert_eq!((report.rows, report.rows_rejected), (kept.n_rows() as u64, rejected.len() as u64));
    Ok(Sifted { kept, rejected, report })
}

/// Bad rows at the beginning and the end of chunks and batches, next to each other, and with several bad
/// values.
const BAD: [i64; 12] = [1, 2, 3, 7, 256, 257, 512, 513, 769, 1100, 1535, 1536];

fn small_table() -> Database {
    let database = database(
        "rejected",
        "CREATE TYPE mood AS ENUM ('good', 'bad \"one\"'); CREATE DOMAIN days AS date; \
         CREATE TYPE pair AS (d date, t text); \
         CREATE TABLE t (id int8 PRIMARY KEY, d date, ts timestamptz, n numeric(10,2), a int[], r daterange, \
                         m mood, dd days, p pair, t text, b bytea, f float8); \
         INSERT INTO t SELECT g, date '2020-01-01' + g::int, timestamptz '2020-01-01 10:00:00.5+02' + g * interval '1 s', g / 4.0, ARRAY[g], \
                daterange('2020-01-01', '2021-01-01'), 'good', '2000-01-01', ROW(date '2020-01-01', 'x'::text)::pair, \
                CASE WHEN g % 3 = 0 THEN NULL ELSE repeat('text ', (g % 9)::int) END, '\\x0001ff', g / 3.0 \
                FROM generate_series(1, 1536) g; \
         UPDATE t SET d = 'infinity' WHERE id IN (1, 256, 1100); UPDATE t SET n = 'NaN' WHERE id IN (2, 257, 1100); \
         UPDATE t SET ts = '-infinity' WHERE id IN (3, 512, 1100); UPDATE t SET a = '{{1,2},{3,4}}' WHERE id IN (7, 513); \
         UPDATE t SET r = '[2020-01-01,infinity]' WHERE id = 769; UPDATE t SET dd = 'infinity', m = 'bad \"one\"' WHERE id = 1535; \
         UPDATE t SET p = ('-infinity', E'a \"quoted\"\\\\, (text)\\n') WHERE id = 1536",
    );
    // In the order of the keys.
    database.execute("CLUSTER t USING t_pkey");
    vacuum(&database, "t");
    database
}

#[test]
fn every_row_is_kept_or_rejected_whole() {
    require!(Capability::Server);
    let database = small_table();
    let mut client = oracle(&database);
    let is_bad = format!("id IN ({})", BAD.map(|id| id.to_string()).join(","));
    let good = server_text(&mut client, &format!("SELECT * FROM t WHERE NOT {is_bad} ORDER BY id"));
    let bad = server_text(&mut client, &format!("SELECT *, ctid FROM t WHERE {is_bad} ORDER BY id"));
    let columns = ["d", "n", "ts", "a", "d", "n", "ts", "a", "r", "d", "dd", "p"];
    let check = |sifted: &Sifted, name: &str| {
        sifted.kept.assert_is(&good);
        assert_eq!(sifted.rejected_ids(), BAD, "{name}");
        for ((rejected, bad), column) in sifted.rejected.iter().zip(&bad).zip(columns) {
            let (values, ctid) = bad.split_at(bad.len() - 1);
            let found = rejected.row.iter().flatten().map(|(_, value)| value.clone());
            assert_eq!(found.collect::<Vec<_>>(), values, "{name}");
            assert_eq!((&rejected.ctid, &rejected.partition), (&ctid[0], &None), "{name}");
            assert_eq!((rejected.column.as_str(), rejected.table.as_deref()), (column, Some("public.t")));
        }
        let reasons = [0, 1, 3].map(|index| sifted.rejected[index].reason.as_str());
        assert_eq!(
            reasons,
            [
                "an infinite value, which the Arrow type cannot hold",
                "NaN or an infinity, which a decimal cannot hold",
                "an array of 2 dimensions, which a list cannot hold"
            ]
        );
    };
    for batch_rows in [1, 2, 3, 256, 65_536] {
        for (readers, slice_bytes) in [(1, 1 << 30), (3, 20_000)] {
            let options = rejects().with_batch_rows(batch_rows).with_readers(readers).with_order(true);
            let options = options.with_slice_bytes(slice_bytes);
            for mode in [ReadMode::Copy, ReadMode::Select, ReadMode::Cursor, ReadMode::Auto] {
                let name = format!("{batch_rows} rows, {readers} readers, {mode:?}");
                let sifted = sift(source(&database).table("t").options(options.clone().with_read_mode(mode)));
                let sifted = sifted.unwrap_or_else(|error| panic!("{name}: {error}"));
                check(&sifted, &name);
                let n_full =
                    sifted.kept.batches.iter().filter(|batch| batch.num_rows() == batch_rows).count();
                assert!(batch_rows > 3 || n_full + 40 > 1524 / batch_rows, "{name}: {n_full} full batches");
            }
        }
    }
    // Without the option, the first bad row stops the export, and nobody is told of rows.
    let error = refusal(source(&database).table("t").options(ExportOptions::default().with_readers(1)));
    assert_error(&error, ErrorKind::Value, None, &["column \"d\" (date)", "infinite"]);
    let run = source(&database).table("t").open().unwrap();
    assert_error(&run.on_reject(|_| Ok(())).unwrap_err(), ErrorKind::Options, None, &["rejects no rows"]);
    // Nobody has to listen.
    let export = read(source(&database).table("t").options(rejects())).unwrap();
    assert_eq!(export.n_rows(), 1524);
}

/// What has no ctid that could be known: the text of the row is there all the same.
#[test]
fn rows_of_queries_views_and_ranges_of_a_key() {
    require!(Capability::Server);
    let database = small_table();
    database.execute("CREATE VIEW v AS SELECT id, d, n, n AS n2 FROM t");
    let query = "SELECT id, d, n, n FROM t ORDER BY random()";
    let by_key = || rejects().with_split_on("id").with_slice_bytes(2000).with_readers(3);
    let source = source(&database);
    for (name, extract, is_table) in [
        ("a query", source.query(query).options(rejects()), false),
        ("a view", source.table("v").options(rejects()), false),
        ("a view by key", source.table("v").options(by_key()), false),
        ("a query by key", source.query("SELECT id, d, n FROM t").options(by_key()), false),
        ("a table by key", source.table("t").columns(["id", "d", "n"]).options(by_key()), true),
        (
            "some rows",
            source.table("t").columns(["id", "d", "n"]).filter("id < 9999").options(rejects()),
            true,
        ),
    ] {
        let sifted = sift(extract).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut ids = sifted.rejected_ids();
        ids.sort_unstable();
        assert_eq!(ids, [1, 2, 256, 257, 1100], "{name}");
        assert_eq!(sifted.kept.n_rows(), 1531, "{name}");
        for rejected in &sifted.rejected {
            assert_eq!(rejected.ctid, None, "{name}: {rejected:?}");
            assert!(rejected.place.starts_with("row "), "{name}: {rejected:?}");
            let wanted = if is_table { Some("public.t") } else { rejected.table.as_deref() };
            assert_eq!(rejected.table.as_deref(), wanted);
            let is_date = rejected.column == "d";
            let found = rejected.value(if is_date { "d" } else { "n" });
            assert_eq!(found, Some(if is_date { "infinity" } else { "NaN" }), "{name}");
        }
    }
}

#[test]
fn rows_of_partitions_and_children() {
    require!(Capability::Server);
    let database = database(
        "rejected_leaves",
        "CREATE TABLE p (id int8, d date) PARTITION BY RANGE (id); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (5000); \
         CREATE TABLE \"P 2\" (d date, junk int, id int8); ALTER TABLE \"P 2\" DROP junk; \
         ALTER TABLE p ATTACH PARTITION \"P 2\" FOR VALUES FROM (5000) TO (100000); \
         INSERT INTO p SELECT g, '2020-01-01' FROM generate_series(1, 9000) g; \
         UPDATE p SET d = '-infinity' WHERE id IN (1, 4999, 5000, 9000); \
         CREATE TABLE parent (id int8, d date); CREATE TABLE child (more int) INHERITS (parent); \
         INSERT INTO parent VALUES (1, 'infinity'), (2, '2020-01-01'); INSERT INTO child VALUES (3, 'infinity', 1); \
         ANALYZE p, p1, \"P 2\", parent, child",
    );
    let small = || rejects().with_slice_bytes(64 << 10).with_readers(2);
    for (table, options, wanted) in [
        ("p", rejects(), &[1, 4999, 5000, 9000][..]),
        ("p", small(), &[1, 4999, 5000, 9000]),
        ("p", small().with_read_mode(ReadMode::Copy), &[1, 4999, 5000, 9000]),
        ("parent", rejects(), &[1, 3]),
    ] {
        let mut sifted = sift(source(&database).table(table).options(options)).unwrap();
        sifted.rejected.sort_by_key(Rejected::id);
        assert_eq!(sifted.rejected_ids(), wanted, "{table}");
        for rejected in &sifted.rejected {
            // The place names the very row.
            let leaf = rejected.partition.as_deref().unwrap_or(table);
            let ctid = rejected.ctid.as_deref().unwrap();
            let leaf = if leaf == "public.P 2" { "\"P 2\"" } else { leaf };
            let sql = format!("SELECT id FROM ONLY {leaf} WHERE ctid = '{ctid}'");
            let found = server_text(&mut oracle(&database), &sql);
            assert_eq!(found, [[Some(rejected.id().to_string())]], "{rejected:?}");
        }
        assert_eq!(sifted.report.rows + wanted.len() as u64, if table == "p" { 9000 } else { 3 });
    }
}

/// Rows that are too large for the buffer, before, at and behind bad ones.
#[test]
fn large_rows() {
    require!(Capability::Server);
    let database = database(
        "rejected_large",
        "CREATE TABLE l AS SELECT g::int8 AS id, \
             CASE WHEN g % 4 = 2 THEN date 'infinity' ELSE date '2020-01-01' END AS d, \
             repeat(chr(64 + g), CASE WHEN g IN (2, 3, 6, 7, 8) THEN 900000 ELSE 10 END) AS t \
         FROM generate_series(1, 12) AS g",
    );
    for mode in [ReadMode::Copy, ReadMode::Select, ReadMode::Cursor, ReadMode::Auto] {
        for ordered in [false, true] {
            let options = rejects().with_read_mode(mode).with_readers(1).with_order(ordered);
            let sifted = sift(source(&database).table("l").options(options)).unwrap();
            assert_eq!(sifted.rejected_ids(), [2, 6, 10], "{mode:?}");
            let lengths: Vec<usize> =
                sifted.rejected.iter().map(|row| row.value("t").unwrap().len()).collect();
            assert_eq!(lengths, [900_000, 900_000, 10], "{mode:?}");
            assert!(sifted.rejected.iter().all(|row| row.ctid.is_some()));
            let good = "SELECT * FROM l WHERE id % 4 <> 2 ORDER BY id";
            sifted.kept.assert_is(&server_text(&mut oracle(&database), good));
        }
    }
    // They wait in memory, which is limited.
    let many = "SELECT g::int8 AS id, CASE WHEN g = 1 THEN date '2020-01-01' ELSE date 'infinity' END AS d, \
                repeat('x', 400000) AS t FROM generate_series(1, 100) g";
    let options = rejects().with_memory(16 << 20).with_reject_limit(1000).with_readers(1);
    let error = sift(source(&database).query(many).options(options)).map(|sifted| sifted.report).unwrap_err();
    assert_error(&error, ErrorKind::Options, None, &["of memory at once", "allow more memory"]);
    let options = rejects().with_memory(256 << 20).with_reject_limit(1000).with_readers(1);
    assert_eq!(sift(source(&database).query(many).options(options)).unwrap().rejected.len(), 99);
}

#[test]
fn limits() {
    require!(Capability::Server);
    let database = small_table();
    let with_limit = |limit| rejects().with_reject_limit(limit).with_readers(1);
    let table = |options| source(&database).table("t").options(options);
    for limit in [0, 1, 11] {
        let error = sift(table(with_limit(limit))).map(|sifted| sifted.report).unwrap_err();
        let text = match limit {
            0 => "no row may be rejected",
            1 => "more than 1 row is bad",
            _ => "more than 11 rows are bad",
        };
        // It says where the next one is, and what helps.
        assert_error(&error, ErrorKind::Value, None, &[text, "public.t, column ", "row ", "choose "]);
    }
    assert_eq!(sift(table(with_limit(12))).unwrap().rejected.len(), 12);
    assert_eq!(sift(table(rejects().with_reject_limit(12).with_readers(3))).unwrap().rejected.len(), 12);
    // The first thousand.
    let bad_until = |n_bad: usize, n_rows: usize| {
        let query = format!(
            "SELECT g::int8 AS id, CASE WHEN g <= {n_bad} THEN date 'infinity' ELSE date '2020-01-01' END AS d \
             FROM generate_series(1, {n_rows}) g"
        );
        source(&database).query(query)
    };
    let error = sift(bad_until(1000, 2000).options(rejects())).map(|sifted| sifted.report).unwrap_err();
    let words = ["each of the first 1000 rows is bad", "row 1000", "reject_limit=ROWS"];
    assert_error(&error, ErrorKind::Value, None, &words);
    assert_eq!(sift(bad_until(999, 2000).options(rejects())).unwrap().rejected.len(), 999);
    assert_eq!(sift(bad_until(1500, 2000).options(with_limit(1500))).unwrap().rejected.len(), 1500);
    // No row is left.
    for (n_bad, text) in [(1, "the only row was rejected"), (5, "all 5 rows were rejected")] {
        let error = sift(bad_until(n_bad, n_bad).options(rejects())).map(|sifted| sifted.report).unwrap_err();
        assert_error(&error, ErrorKind::Value, None, &[text]);
    }
    assert_eq!(sift(bad_until(0, 0).options(rejects())).unwrap().rejected.len(), 0);
    // Whoever receives rows can refuse them.
    let run = table(rejects()).open().unwrap();
    let run = run.on_reject(|_| Err(Error::new(ErrorKind::Sink, "no room"))).unwrap();
    assert_error(&run.for_each(|_| Ok(())).unwrap_err(), ErrorKind::Sink, None, &["no room"]);
}

/// What the server does not take back: the row has no text, and its place says where it is.
#[test]
fn values_that_the_server_does_not_print() {
    require!(Capability::Server);
    let database = database(
        "rejected_unprinted",
        "CREATE DOMAIN plus AS int; CREATE TABLE u (id int8, d date, x plus); \
         INSERT INTO u VALUES (1, 'infinity', 1), (2, 'infinity', -1), (3, '2020-01-01', -1), (4, 'infinity', 4); \
         ALTER DOMAIN plus ADD CHECK (VALUE > 0) NOT VALID",
    );
    let sifted = sift(source(&database).table("u").options(rejects())).unwrap();
    let rows: Vec<_> = sifted.rejected.iter().map(|row| row.row.as_ref().map(|_| row.id())).collect();
    assert_eq!(rows, [Some(1), None, Some(4)]);
    assert_eq!(sifted.rejected[1].place, "row 2");
    assert_eq!(sifted.kept.lines(), ["3|2020-01-01|-1"]);
}

/// A page with a bad row comes by COPY, in its place; the others as they are stored.
#[test]
fn rows_among_pages() {
    require_pages!();
    let database = inspected(
        "rejected_pages",
        "CREATE TABLE w AS SELECT g::int8 AS id, CASE WHEN g % 3000 IN (0, 1) THEN date 'infinity' ELSE date '2020-01-01' END AS d, \
             repeat('x', 100) AS b FROM generate_series(1, 30000) AS g",
    );
    vacuum(&database, "w");
    let bad = "SELECT id, ctid FROM w WHERE NOT isfinite(d) ORDER BY id";
    let bad = server_text(&mut oracle(&database), bad);
    let good = server_text(&mut oracle(&database), "SELECT * FROM w WHERE isfinite(d) ORDER BY id");
    for (readers, slice_bytes) in [(1, 1 << 30), (3, 256 << 10)] {
        let options = rejects().with_read_mode(ReadMode::Pages).with_readers(readers).with_order(true);
        let options = options.with_slice_bytes(slice_bytes).with_batch_rows(700);
        let sifted = sift(source(&database).table("w").options(options)).unwrap();
        sifted.kept.assert_is(&good);
        let of = |row: &Rejected| vec![Some(row.id().to_string()), row.ctid.clone()];
        assert_eq!(sifted.rejected.iter().map(of).collect::<Vec<_>>(), bad);
        let pages = sifted.report.pages.unwrap();
        assert!(pages.read > 0 && pages.copied > 0, "{pages:?}");
    }
}

/// Each row comes once, kept or rejected, however often connections break.
#[test]
fn lost_connections_lose_and_double_no_row() {
    require!(Capability::PrivateServer);
    const N_ROWS: i64 = 30_000;
    let database = database(
        "rejected_retries",
        &format!(
            "CREATE TABLE e AS SELECT g::int8 AS id, CASE WHEN g % 97 = 0 THEN date 'infinity' ELSE date '2020-01-01' END AS d, \
             repeat('x', 100) AS b FROM generate_series(1, {N_ROWS}) AS g"
        ),
    );
    let port = TestServer::shared().private().unwrap().port();
    let mut n_redone = 0;
    for run in 0..12 {
        let fault = move |index: usize| {
            // The first connection is the keeper's.
            let mut chance = Chance::new((run * 1000 + index) as u64);
            match index > 0 && chance.is(40) {
                true => Fault::CloseAfterServerBytes(chance.within(0, 1_500_000)),
                false => Fault::None,
            }
        };
        let proxy = Proxy::start_with((Ipv4Addr::LOCALHOST, port).into(), fault);
        let url = with_parameter(&proxy.url_of(&url(&database)), "sslmode=disable");
        let options =
            rejects().with_readers(3).with_slice_bytes(512 << 10).with_batch_rows(1000).with_retries(10);
        let sifted = sift(Source::connect_blocking(&url).unwrap().table("e").options(options));
        let sifted = sifted.unwrap_or_else(|error| panic!("run {run}: {error}"));
        let mut seen: BTreeMap<i64, usize> = BTreeMap::new();
        let kept =
            sifted.kept.batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values());
        kept.for_each(|id| *seen.entry(*id).or_default() += usize::from(id % 97 != 0));
        for rejected in &sifted.rejected {
            *seen.entry(rejected.id()).or_default() += usize::from(rejected.id() % 97 == 0);
            assert!(rejected.ctid.is_some());
        }
        assert!(seen.keys().copied().eq(1..=N_ROWS) && seen.values().all(|n| *n == 1), "run {run}");
        n_redone += sifted.report.slices_redone;
    }
    assert!(n_redone > 0);
}
