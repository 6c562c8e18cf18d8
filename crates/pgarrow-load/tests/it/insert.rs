//! Loads by INSERT: for what COPY cannot load, with the same guarantees.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow_schema::{DataType, Field, Schema};
use pgarrow_export::{Cancel, Config, ErrorKind, SslMode};
use pgarrow_load::{IdentityValues, Load, LoadMethod, LoadMode, LoadOptions, OnConflict};

use crate::support::{database, fingerprint, load, load_batches, refusal, rows, value};

fn inserting() -> LoadOptions {
    LoadOptions::default().with_method(LoadMethod::Insert)
}

fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn numbers(values: impl IntoIterator<Item = i64>) -> RecordBatch {
    batch([("x", Arc::new(Int64Array::from_iter_values(values)) as _)])
}

fn texts(values: impl IntoIterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

#[test]
fn all_rows_arrive_whatever_the_batches_and_however_large_they_are() {
    let database = database("insert_many", "CREATE TABLE t (x int8, s text)");
    // Rows of one size, rows that grow and shrink, and a row larger than a statement among small ones.
    let forms: [fn(i64) -> usize; 3] = [
        |_| 3,
        |x| if (x / 7_000) % 2 == 0 { 0 } else { 3_000 },
        |x| if x == 15_000 { 20 << 20 } else { (x % 9) as usize },
    ];
    for (form, rows_per_batch) in
        [(0, 1), (0, 2), (0, 3), (0, 997), (0, 20_000), (1, 1_000), (2, 999), (2, 20_000)]
    {
        database.execute("TRUNCATE t");
        let n_rows = if rows_per_batch < 10 { 4_000 } else { 20_000 };
        let length = forms[form];
        let batch = |first: i64| {
            let range = first..(first + rows_per_batch).min(n_rows);
            let numbers = Int64Array::from_iter_values(range.clone());
            batch([("s", texts(range.map(|x| "x".repeat(length(x))))), ("x", Arc::new(numbers) as _)])
        };
        let mut loading = load(&database, "t", inserting()).open(batch(0).schema()).unwrap();
        for first in (0..n_rows).step_by(rows_per_batch as usize) {
            loading.write(&batch(first)).unwrap();
        }
        let report = loading.finish().unwrap();
        assert_eq!((report.rows, report.method), (n_rows as u64, LoadMethod::Insert));
        let bytes: usize = (0..n_rows).map(length).sum();
        let sql = "SELECT count(*) || ' ' || count(DISTINCT x) || ' ' || min(x) || ' ' || max(x) || ' ' || sum(length(s)) FROM t";
        assert_eq!(value(&database, sql), format!("{n_rows} {n_rows} 0 {} {bytes}", n_rows - 1));
        if form == 2 {
            assert_eq!(
                value(&database, "SELECT length(s)::text FROM t WHERE x = 15000"),
                (20 << 20).to_string()
            );
        }
    }
}

#[test]
fn tables_as_wide_as_they_can_be_and_without_columns() {
    let database = database("insert_width", "CREATE TABLE z ()");
    let list: Vec<_> = (0..1600).map(|index| format!("c{index} int2")).collect();
    database.execute(&format!("CREATE TABLE t ({})", list.join(", ")));
    let fields: Vec<_> =
        (0..1600).map(|index| Field::new(format!("c{index}"), DataType::Int16, true)).collect();
    // About ten rows of NULLs fill 64 KiB, fewer of other values; some rows are left for a rest.
    let column: ArrayRef =
        Arc::new(arrow_array::Int16Array::from_iter((0..157).map(|x| (x % 3 > 0).then_some(x))));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![column; 1600]).unwrap();
    let schema = batch.schema();
    let report = load_batches(&database, "t", inserting(), &[batch]).unwrap();
    assert_eq!(report.rows, 157);
    let sql = "SELECT count(c0) || ' ' || sum(c0) || ' ' || count(*) FILTER (WHERE c0 IS NOT DISTINCT FROM c1599) FROM t";
    let sum: i32 = (0..157).filter(|x| x % 3 > 0).sum();
    assert_eq!(value(&database, sql), format!("104 {sum} 157"));

    let options = RecordBatchOptions::new().with_row_count(Some(5));
    let empty = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options).unwrap();
    assert_eq!(load_batches(&database, "z", inserting(), &[empty.clone(), empty]).unwrap().rows, 10);
    assert_eq!(value(&database, "SELECT count(*)::text FROM z"), "10");
    let nothing = load(&database, "t", inserting()).open(schema).unwrap();
    assert_eq!(nothing.finish().unwrap().rows, 0);
}

#[test]
fn policies_decide_about_each_row() {
    let sql = "CREATE TABLE t (x int8); ALTER TABLE t ENABLE ROW LEVEL SECURITY; \
               CREATE POLICY p ON t FOR INSERT WITH CHECK (x < 5000)";
    let database = database("insert_policies", sql);
    let role = format!("inserter_{}", database.name());
    database.execute(&format!("CREATE ROLE \"{role}\"; GRANT INSERT ON t TO \"{role}\""));
    let copied = load_batches(&database, "t", LoadOptions::default().with_role(&role), &[numbers(0..1)]);
    let loaded = load_batches(&database, "t", inserting().with_role(&role), &[numbers(0..5000)]);
    let refused = load_batches(&database, "t", inserting().with_role(&role), &[numbers(0..5001)]);
    database.execute(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
    assert!(refusal(copied).to_string().contains("method=insert"));
    assert_eq!(loaded.unwrap().rows, 5000);
    let error = refusal(refused);
    assert_eq!(error.sqlstate(), Some("42501"), "{error}");
    assert!(
        error.to_string().contains("policies") && error.to_string().contains("nothing was loaded"),
        "{error}"
    );
    assert_eq!(value(&database, "SELECT count(*)::text FROM t"), "5000");
}

#[test]
fn views() {
    let sql = "CREATE TABLE t (x int8, y text DEFAULT 'y', i int8 GENERATED ALWAYS AS IDENTITY); \
               CREATE VIEW v AS SELECT x, i FROM t WHERE x < 1000 WITH CHECK OPTION; \
               CREATE VIEW g AS SELECT sum(x) AS x FROM t; \
               CREATE VIEW r AS SELECT sum(x) AS x FROM t; \
               CREATE RULE r AS ON INSERT TO r DO INSTEAD INSERT INTO t (x) VALUES (NEW.x); \
               CREATE TABLE q (x int8); CREATE RULE q AS ON INSERT TO q WHERE NEW.x >= 7 DO INSTEAD NOTHING";
    let database = database("insert_views", sql);
    let column = |value| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
    let error = refusal(load_batches(&database, "v", LoadOptions::default(), &[numbers(0..1)]));
    assert!(error.to_string().contains("method=insert"), "{error}");
    assert_eq!(load_batches(&database, "v", inserting(), &[numbers(0..1000)]).unwrap().rows, 1000);
    // A given value for the identity column behind the view is kept, as with COPY into the table.
    let identity = batch([("x", column(-1)), ("i", column(7777))]);
    assert_eq!(load_batches(&database, "v", inserting(), &[identity]).unwrap().rows, 1);
    assert_eq!(value(&database, "SELECT y || i FROM t WHERE x = -1"), "y7777");
    let error = refusal(load_batches(&database, "v", inserting(), &[numbers(0..1001)]));
    assert_eq!(error.sqlstate(), Some("44000"), "{error}");
    assert_eq!(value(&database, "SELECT count(*)::text FROM t"), "1001");
    let error = refusal(load_batches(&database, "g", inserting(), &[numbers(0..1)]));
    assert!(error.kind() == ErrorKind::Options && error.to_string().contains("takes no INSERT"), "{error}");
    assert_eq!(load_batches(&database, "r", inserting(), &[numbers([5, 6])]).unwrap().rows, 2);
    assert_eq!(value(&database, "SELECT count(*)::text FROM t"), "1003");
    let report = load_batches(&database, "q", inserting(), &[numbers(0..10)]).unwrap();
    assert_eq!((report.rows, report.rows_sent), (7, 10));
    assert!(
        report.warnings.iter().any(|warning| warning.contains("3 of 10 rows were left out")),
        "{report:?}"
    );
}

#[test]
fn columns_that_the_server_fills_and_values_for_identities() {
    let sql = "CREATE TABLE t (x int8, i int8 GENERATED ALWAYS AS IDENTITY, j int8 GENERATED BY DEFAULT AS IDENTITY, \
               g int8 GENERATED ALWAYS AS (x * 2) STORED, d text DEFAULT 'd')";
    let database = database("insert_filled", sql);
    let column = |value| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
    load_batches(&database, "t", inserting(), &[numbers(1..2)]).unwrap();
    let all = [batch([("x", column(3)), ("i", column(70)), ("j", column(80)), ("g", column(90))])];
    load_batches(&database, "t", inserting(), &all).unwrap();
    load_batches(&database, "t", inserting().with_identity(IdentityValues::Generate), &all).unwrap();
    let shown: Vec<_> =
        rows(&database, "SELECT t::text FROM t ORDER BY x, i").into_iter().flatten().flatten().collect();
    assert_eq!(shown, ["(1,1,1,2,d)", "(3,2,2,6,d)", "(3,70,80,6,d)"]);
}

#[test]
fn text_that_only_the_server_can_read_needs_no_table_in_between() {
    let sql = "CREATE DOMAIN v AS varchar(3); CREATE TABLE t (x tsvector, o oidvector, w v, y varchar(2))";
    let database = database("insert_text", sql);
    let vectors = |values: Vec<Option<u32>>| {
        Arc::new(arrow_array::ListArray::from_iter_primitive::<arrow_array::types::UInt32Type, _, _>([
            Some(values),
            Some(Vec::new()),
        ])) as ArrayRef
    };
    let batch_of = |w: &str| {
        batch([
            ("x", texts(["b:1 a".to_owned(), String::new()])),
            ("o", vectors(vec![Some(3), Some(u32::MAX)])),
            ("w", texts(["abc".to_owned(), w.to_owned()])),
            ("y", texts(["y".to_owned(), "yz".to_owned()])),
        ])
    };
    let role = format!("no_temp_{}", database.name());
    database.execute(&format!(
        "REVOKE TEMPORARY ON DATABASE \"{}\" FROM PUBLIC; CREATE ROLE \"{role}\"; GRANT INSERT ON t TO \"{role}\"",
        database.name()
    ));
    let loaded = load_batches(&database, "t", inserting().with_role(&role), &[batch_of("d")]);
    database.execute(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
    let report = loaded.unwrap();
    let how: Vec<_> = report.columns.iter().map(|column| column.how).collect();
    assert_eq!((report.rows, how), (2, vec!["text", "text", "binary", "binary"]));
    let shown: Vec<_> =
        rows(&database, "SELECT t::text FROM t ORDER BY w").into_iter().flatten().flatten().collect();
    assert_eq!(shown, ["(\"'a' 'b':1\",\"3 4294967295\",abc,y)", "(\"\",\"\",d,yz)"]);
    let before = fingerprint(&database, "t");
    let error = refusal(load_batches(&database, "t", inserting(), &[batch_of("abcd")]));
    // The type's receive function refuses the parameter.
    assert_eq!(error.sqlstate(), Some("22001"), "{error}");
    assert_eq!(fingerprint(&database, "t"), before);
}

#[test]
fn rows_whose_key_is_there() {
    let sql = "CREATE TABLE t (x int8 PRIMARY KEY, s text, v tsvector); INSERT INTO t VALUES (1, 'was', 'a')";
    let database = database("insert_conflict", sql);
    let batch = batch([
        ("x", Arc::new(Int64Array::from(vec![1, 2])) as _),
        ("s", texts(["is".to_owned(), "is".to_owned()])),
        ("v", texts(["b".to_owned(), "c".to_owned()])),
    ]);
    let skipping = inserting().with_on_conflict(OnConflict::Skip);
    let report = load_batches(&database, "t", skipping, std::slice::from_ref(&batch)).unwrap();
    assert_eq!((report.rows, report.rows_sent), (1, 2));
    load_batches(&database, "t", inserting().with_mode(LoadMode::Upsert), &[batch]).unwrap();
    let shown: Vec<_> =
        rows(&database, "SELECT t::text FROM t ORDER BY x").into_iter().flatten().flatten().collect();
    assert_eq!(shown, ["(1,is,'b')", "(2,is,'c')"]);
}

#[test]
fn what_the_server_refuses_leaves_the_target_as_it_was() {
    let sql = "CREATE TABLE p (x int8 PRIMARY KEY); INSERT INTO p SELECT generate_series(0, 29999); \
               CREATE TABLE t (x int8 UNIQUE CHECK (x <> 15000)); INSERT INTO t VALUES (-1); \
               CREATE TABLE d (x int8 REFERENCES p DEFERRABLE INITIALLY DEFERRED); INSERT INTO d VALUES (1)";
    let database = database("insert_refused", sql);
    let unchanged = |table: &str, sqlstate: &str, place: &str, batches: &[RecordBatch]| {
        let before = fingerprint(&database, table);
        for mode in [LoadMode::Append, LoadMode::Truncate] {
            let error = refusal(load_batches(&database, table, inserting().with_mode(mode), batches));
            assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Server, Some(sqlstate)), "{error}");
            assert!(error.to_string().contains(place), "{place}: {error}");
            assert!(error.to_string().contains("nothing was loaded"), "{error}");
            assert_eq!(fingerprint(&database, table), before);
        }
    };
    // Rows have 14 bytes in COPY's form, and statements about 64 KiB.
    let in_one = (64 << 10) / 14;
    let first = 15_000 / in_one * in_one + 1;
    let place = format!("one of the rows {first} to {}", first + in_one - 1);
    unchanged("t", "23514", &place, &[numbers(0..30_000)]);
    // In the rest, which is a separate statement.
    let first = 14_999 / in_one * in_one + 1;
    unchanged(
        "t",
        "23505",
        &format!("one of the rows {first} to 15001"),
        &[numbers(0..15_000), numbers(3..4)],
    );
    // At COMMIT: only the last row is bad, and the check comes after all rows.
    unchanged("d", "23503", "public.d", &[numbers(0..30_001)]);
}

#[test]
fn a_load_that_is_dropped_or_cancelled_leaves_nothing() {
    let database = database("insert_dropped", "CREATE TABLE t (x int8); INSERT INTO t VALUES (1)");
    let before = fingerprint(&database, "t");
    let truncating = || inserting().with_mode(LoadMode::Truncate);
    let mut loading = load(&database, "t", truncating()).open(numbers(0..1).schema()).unwrap();
    loading.write(&numbers(0..100_000)).unwrap();
    drop(loading);
    assert_eq!(fingerprint(&database, "t"), before);

    let cancel = Cancel::new();
    let config = Config::parse(Some(database.url())).unwrap();
    let cancelled = Load::with_config(config, "t", cancel.clone()).unwrap().options(truncating());
    let mut loading = cancelled.open(numbers(0..1).schema()).unwrap();
    loading.write(&numbers(0..100_000)).unwrap();
    cancel.cancel();
    let error = loop {
        match loading.write(&numbers(0..100_000)) {
            Ok(()) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    drop(loading);
    assert_eq!(fingerprint(&database, "t"), before);
}

/// The address of a relay that turns COPY into an unknown word.
fn without_copy(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let server = TcpStream::connect(server).unwrap();
        let (mut from_server, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut from_server, &mut to_client));
        let (mut client, mut server) = (client, server);
        let mut buffer = vec![0; 64 << 10];
        loop {
            let n_bytes = client.read(&mut buffer).unwrap_or_default();
            if n_bytes == 0 {
                break;
            }
            if let Some(start) = buffer[..n_bytes].windows(5).position(|bytes| bytes == b"COPY ") {
                buffer[start..start + 4].copy_from_slice(b"COPI");
            }
            server.write_all(&buffer[..n_bytes]).unwrap();
        }
        let _ = server.shutdown(Shutdown::Both);
    });
    address
}

#[test]
fn a_server_that_knows_no_copy() {
    let database = database("insert_no_copy", "CREATE TABLE t (x int8)");
    let config = Config::parse(Some(database.url())).unwrap();
    let server = (config.host(), config.port()).to_socket_addrs().unwrap().next().unwrap();
    let load = |options: LoadOptions| {
        let relay = without_copy(server);
        let config = config.clone().with_host(relay.ip().to_string()).with_port(relay.port());
        let load = Load::with_config(config.with_sslmode(SslMode::Disable), "t", Cancel::new()).unwrap();
        let mut loading = load.options(options).open(numbers(0..1).schema())?;
        loading.write(&numbers(0..10))?;
        loading.finish()
    };
    let error = refusal(load(LoadOptions::default()));
    assert_eq!(error.sqlstate(), Some("42601"), "{error}");
    assert!(error.to_string().ends_with("where COPY is not possible, method=insert is"), "{error}");
    assert_eq!(load(inserting()).unwrap().rows, 10);
    assert_eq!(value(&database, "SELECT count(*)::text FROM t"), "10");
}
