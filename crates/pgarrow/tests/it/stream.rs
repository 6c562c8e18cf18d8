//! Batches for embedders: with a runtime and without one, in all sizes.

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatchReader};
use futures_util::{StreamExt, TryStreamExt};
use pgarrow::{ExportOptions, Source};
use pgarrow_testkit::{Capability, assert_batches_equal, require};

use crate::support::{block_on, database, oracle, read, server_text, source, url};

const ROWS: &str = "SELECT g AS id, CASE WHEN g % 3 > 0 THEN g::text END AS t, g / 7.0::float8 AS f, \
                    CASE WHEN g % 5 = 0 THEN NULL ELSE md5(g::text)::bytea END AS b FROM generate_series(1, 1000) AS g";

#[test]
fn a_stream_without_any_runtime() {
    require!(Capability::Server);
    let database = database("noruntime", "");
    let expected = read(source(&database).query(ROWS)).unwrap();
    let batches = block_on(async {
        let source = Source::connect(&url(&database)).await.unwrap();
        let stream = source.query(ROWS).stream().await.unwrap();
        assert_eq!(stream.schema(), expected.schema);
        stream.try_collect::<Vec<_>>().await.unwrap()
    });
    assert_batches_equal(&expected.batches, &batches);
}

#[test]
fn streams_under_tokio() {
    require!(Capability::Server);
    let database = database("tokio", "");
    let expected = read(source(&database).query(ROWS)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let batches = runtime.block_on(async {
        let source = Source::connect(&url(&database)).await.unwrap();
        let (one, other) = (source.query(ROWS).stream(), source.query(ROWS).stream());
        // In one thread: neither may block the other.
        let (one, other) = futures_util::future::join(one, other).await;
        let (one, other) = (one.unwrap().try_collect::<Vec<_>>(), other.unwrap().try_collect::<Vec<_>>());
        let (one, other) = futures_util::future::join(one, other).await;
        assert_batches_equal(&one.unwrap(), &expected.batches);
        other.unwrap()
    });
    assert_batches_equal(&expected.batches, &batches);
}

#[test]
fn a_stream_may_move_between_threads() {
    require!(Capability::Server);
    fn is_send<T: Send + 'static>(value: T) -> T {
        value
    }
    let database = database("moves", "");
    let mut stream = is_send(block_on(source(&database).query(ROWS).stream()).unwrap());
    let n_rows = std::thread::spawn(move || {
        let mut n_rows = 0;
        while let Some(batch) = block_on(stream.next()) {
            n_rows += batch.unwrap().num_rows();
        }
        assert!(block_on(stream.next()).is_none(), "the end stays the end");
        n_rows
    });
    assert_eq!(n_rows.join().unwrap(), 1000);
}

#[test]
fn a_reader_is_a_record_batch_reader() {
    require!(Capability::Server);
    fn rows(reader: impl RecordBatchReader) -> (usize, usize) {
        let n_columns = reader.schema().fields().len();
        (n_columns, reader.map(|batch| batch.unwrap().num_rows()).sum())
    }
    let database = database("reader", "");
    assert_eq!(rows(source(&database).query(ROWS).reader().unwrap()), (4, 1000));
}

#[test]
fn batches_of_every_size_hold_the_same_rows() {
    require!(Capability::Server);
    let database = database("sizes", "");
    let expected = read(source(&database).query(ROWS)).unwrap();
    assert_eq!(expected.batches.len(), 1);
    for batch_rows in [0, 1, 2, 3, 255, 256, 257, 999, 1000, 1001] {
        let options = ExportOptions::default().with_batch_rows(batch_rows);
        let export = read(source(&database).query(ROWS).options(options)).unwrap();
        let sizes: Vec<usize> = export.batches.iter().map(|batch| batch.num_rows()).collect();
        let (last, full) = sizes.split_last().unwrap();
        assert!(full.iter().all(|rows| *rows == batch_rows.max(1)) && *last >= 1, "{batch_rows}: {sizes:?}");
        assert_batches_equal(&expected.batches, &export.batches);
    }
}

#[test]
fn batches_end_at_their_bytes() {
    require!(Capability::Server);
    let database = database("bytes", "");
    let sql = "SELECT g, repeat('x', 1000) FROM generate_series(1, 10000) AS g";
    let expected = read(source(&database).query(sql)).unwrap();
    for (batch_bytes, n_rows_max) in [(1, 256), (300_000, 512), (1 << 20, 1280)] {
        let options = ExportOptions::default().with_batch_bytes(batch_bytes);
        let export = read(source(&database).query(sql).options(options)).unwrap();
        let largest = export.batches.iter().map(|batch| batch.num_rows()).max().unwrap();
        assert!(largest <= n_rows_max, "{batch_bytes} bytes: {largest} rows");
        assert_batches_equal(&expected.batches, &export.batches);
    }
}

#[test]
fn a_row_larger_than_every_buffer() {
    require!(Capability::Server);
    let database = database("large", "");
    let sql = "SELECT 1 AS id, 'small' AS t UNION ALL SELECT 2, repeat('é', 10 * 1024 * 1024) UNION ALL SELECT 3, 'small'";
    let options = ExportOptions::default().with_batch_bytes(1 << 20);
    let export = read(source(&database).query(sql).options(options)).unwrap();
    let lengths: Vec<usize> = export
        .batches
        .iter()
        .flat_map(|batch| {
            batch.column(1).as_string::<i32>().iter().flatten().map(str::len).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(lengths, [5, 20 << 20, 5]);
}

#[test]
fn columns_of_nulls() {
    require!(Capability::Server);
    let database = database(
        "nulls",
        "CREATE TABLE e AS SELECT NULL::int4 AS a, NULL::text AS b, NULL::numeric(10,2) AS c, NULL::uuid AS d, \
           NULL::timetz AS f, NULL::bool AS h, CASE WHEN g % 1000 = 0 THEN g END AS i \
         FROM generate_series(1, 10000) AS g",
    );
    let expected = server_text(&mut oracle(&database), "SELECT * FROM e");
    for batch_rows in [1000, 65_536] {
        let options = ExportOptions::default().with_batch_rows(batch_rows);
        let export = read(source(&database).table("e").options(options)).unwrap();
        export.assert_is(&expected);
        assert_eq!(export.batches[0].column(0).null_count(), export.batches[0].num_rows());
    }
}

#[test]
fn progress_can_be_watched() {
    require!(Capability::Server);
    let database = database("progress", "");
    let mut reader = source(&database)
        .query(ROWS)
        .options(ExportOptions::default().with_batch_rows(100))
        .reader()
        .unwrap();
    reader.next().unwrap().unwrap();
    assert!(reader.progress().rows() >= 100 && reader.progress().batches() >= 1);
    assert_eq!(reader.by_ref().map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 900);
    assert_eq!((reader.progress().rows(), reader.progress().batches()), (1000, 10));
    assert!(reader.progress().wire_bytes() > 10_000);
}
