//! Where row groups end, what they hold in memory, and which encoding their columns get.

use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::basic::{Encoding, Type as PhysicalType};
use pgarrow_sink::{Output, SinkErrorKind, SinkWriter, Stop};
use pgarrow_sink_parquet::{ParquetOptions, ParquetSink};

use crate::{metadata, read, write};

#[test]
fn rows_end_a_row_group_exactly() {
    for (batch_rows, rows, expected) in [
        (&[10_usize, 10, 10][..], 7, vec![7, 7, 7, 7, 2]),
        (&[7, 7], 7, vec![7, 7]),
        (&[1, 1, 1], 2, vec![2, 1]),
        (&[100], 1, vec![1; 100]),
        (&[3, 0, 3], 100, vec![6]),
        // Zero would mean no row group at all.
        (&[2], 0, vec![1, 1]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("groups.parquet");
        let mut start = 0;
        let batches: Vec<_> = batch_rows
            .iter()
            .map(|rows| {
                start += rows;
                ids(start - rows, *rows)
            })
            .collect();
        let written = write(&path, &batches, ParquetOptions::default().with_row_group_rows(rows));
        assert_eq!(groups(&path), expected);
        assert_eq!(written.files[0].row_groups, Some(expected.len()));
        let found: Vec<_> = read(&path).1;
        let found: usize = found.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(found, start);
    }
}

/// Before, rows from all places of a table shared a row group, whose smallest and largest values were
/// useless.
#[test]
fn rows_of_another_place_begin_a_row_group() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("places.parquet");
    let sink = ParquetSink::create(
        Output::file(&path, false).unwrap(),
        ids(0, 1).schema(),
        ParquetOptions::default(),
    );
    let sink = SinkWriter::new(Box::new(sink.unwrap()), Stop::default());
    let mut part = sink.open_part(0).unwrap();
    // Without rows before or in between, there is no row group.
    part.jump().unwrap();
    part.write(&ids(500, 20)).unwrap();
    part.write(&ids(520, 10)).unwrap();
    part.jump().unwrap();
    part.jump().unwrap();
    part.write(&ids(0, 7)).unwrap();
    part.jump().unwrap();
    assert_eq!(part.finish().unwrap().rows, 37);
    sink.commit().unwrap();
    assert_eq!(groups(&path), [30, 7]);
}

#[test]
fn bytes_end_a_row_group_and_bound_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bytes.parquet");
    // Incompressible enough: each text differs from the others.
    let text = (0..2010_u64).map(|i| format!("{:x}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(40));
    let column: ArrayRef = Arc::new(StringArray::from_iter_values(text));
    let batch = RecordBatch::try_from_iter([("text", column)]).unwrap();
    let cap = 64 * 1024;
    let options = ParquetOptions::default()
        .with_compression("none".parse().unwrap())
        .with_data_page_bytes(8 * 1024)
        .with_row_group_bytes(cap);
    let sink = ParquetSink::create(Output::file(&path, false).unwrap(), batch.schema(), options).unwrap();
    let sink = SinkWriter::new(Box::new(sink), Stop::default());
    let mut part = sink.open_part(0).unwrap();
    assert_eq!(part.held_bytes(), 0);
    let mut held_max = 0;
    for _ in 0..3 {
        part.write(&batch).unwrap();
        held_max = held_max.max(part.held_bytes());
    }
    // The fixed memory of a column's writer comes on top.
    assert!(0 < held_max && held_max < cap * 3 / 2 + 40 * 1024, "{held_max}");
    assert_eq!(part.finish().unwrap().rows, 6030);
    sink.commit().unwrap();
    let groups = groups(&path);
    assert!(groups.len() > 10, "{groups:?}");
    assert_eq!(groups.iter().sum::<i64>(), 6030);
}

#[test]
fn dictionaries_where_they_pay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dictionary.parquet");
    let n = 40_000_u64;
    let random = |i: u64| (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let ints = |f: &dyn Fn(u64) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values((0..n).map(|i| f(i) as i64)))
    };
    let text = |f: &dyn Fn(u64) -> u64| -> ArrayRef {
        Arc::new(StringArray::from_iter_values((0..n).map(|i| format!("text {}", f(i)))))
    };
    let columns = [
        ("key", ints(&|i| i / 4), false),
        ("price", ints(&random), false),
        ("comment", text(&random), false),
        ("flag", text(&|i| random(i) % 3), true),
        ("quantity", ints(&|i| random(i) % 50), true),
        ("day", ints(&|i| random(i) % 2500), true),
        ("all the same", ints(&|_| 7), true),
    ];
    let batch = columns.iter().map(|(name, column, _)| (*name, column.clone()));
    write(&path, &[RecordBatch::try_from_iter(batch).unwrap()], ParquetOptions::default());
    let metadata = metadata(&path);
    for (column, (name, _, expected)) in metadata.row_group(0).columns().iter().zip(columns) {
        let found = column.encodings().any(|encoding| encoding == Encoding::RLE_DICTIONARY);
        assert_eq!(found, expected, "{name}");
        let delta = column.encodings().any(|encoding| encoding == Encoding::DELTA_BINARY_PACKED);
        assert_eq!(delta, !expected && column.column_type() == PhysicalType::INT64, "{name}");
    }
}

#[test]
fn pages_without_values_in_columns_without_a_dictionary() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nulls.parquet");
    // The sample finds that a dictionary does not pay; later pages of 32,768 rows have no value at all.
    let value = |i: i64| (!(30_000..90_000).contains(&i)).then_some(i * i);
    let column: ArrayRef = Arc::new((0..100_000).map(value).collect::<Int64Array>());
    let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
    write(&path, std::slice::from_ref(&batch), ParquetOptions::default());
    let found: Vec<_> = read(&path).1;
    let found = found.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().iter());
    assert!(found.eq((0..100_000).map(value)));
}

#[test]
fn full_output_anywhere_is_an_error() {
    let batch = ids(0, 1000);
    let bytes = {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("x"), std::slice::from_ref(&batch), ParquetOptions::default()).bytes
    };
    for room in 0..=bytes {
        let output = Output::writer(Full { room });
        let result = (|| {
            let sink = ParquetSink::create(output, batch.schema(), ParquetOptions::default())?;
            let sink = SinkWriter::new(Box::new(sink), Stop::default());
            let mut part = sink.open_part(0)?;
            part.write(&batch)?;
            part.finish()?;
            sink.commit()
        })();
        match result {
            Ok(written) => assert_eq!((room, written.bytes), (bytes, bytes)),
            Err(error) => {
                assert!(room < bytes && error.kind() == SinkErrorKind::DiskFull, "{room}: {error:?}")
            }
        }
    }
}

/// A disk with room for some bytes.
struct Full {
    room: u64,
}

impl std::io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let taken = self.room.min(bytes.len() as u64);
        self.room -= taken;
        if taken == 0 && !bytes.is_empty() {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        Ok(taken as usize)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn ids(start: usize, rows: usize) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values((start..start + rows).map(|i| i as i64)));
    RecordBatch::try_from_iter([("id", column)]).unwrap()
}

fn groups(path: &Path) -> Vec<i64> {
    metadata(path).row_groups().iter().map(|group| group.num_rows()).collect()
}
