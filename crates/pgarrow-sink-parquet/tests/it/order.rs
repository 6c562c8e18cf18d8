//! A declared order: it is in the metadata, and rows that are in another one fail the part.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    FixedSizeBinaryArray, Int32Array, RecordBatch, StringArray, StringViewArray, TimestampMicrosecondArray,
    UInt64Array, new_null_array,
};
use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};
use parquet::file::metadata::SortingColumn;
use pgarrow_sink::{Output, SinkError, SinkErrorKind, SinkWriter, Stop};
use pgarrow_sink_parquet::{ParquetOptions, ParquetSink, SortColumn};

use crate::columns::batch;
use crate::{metadata, write};

fn one(array: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("a", array, true)]).unwrap()
}

fn open(schema: Arc<Schema>, options: ParquetOptions) -> SinkWriter<'static> {
    let sink = ParquetSink::create(Output::writer(std::io::sink()), schema, options).unwrap();
    SinkWriter::new(Box::new(sink), Stop::default())
}

/// Writes rows in batches of a size; the error is that of the first batch that is refused.
fn in_batches(rows: &RecordBatch, size: usize, options: ParquetOptions) -> Result<(), SinkError> {
    let sink = open(rows.schema(), options);
    let mut part = sink.open_part(0).unwrap();
    for start in (0..rows.num_rows()).step_by(size) {
        part.write(&rows.slice(start, size.min(rows.num_rows() - start)))?;
    }
    part.finish().map(drop)
}

fn by(columns: impl IntoIterator<Item = SortColumn>) -> ParquetOptions {
    ParquetOptions::default().with_sorted_by(columns)
}

/// Every sequence of four of NULL, 1 and 2, in every order and every size of batches, against a definition
/// of order that shares nothing with the check.
#[test]
fn every_short_sequence() {
    let values = [None, Some(1), Some(2)];
    let mut n_refused = 0;
    for number in 0..81_usize {
        let row = |place: u32| values[number / 3_usize.pow(place) % 3];
        let rows: Vec<Option<i32>> = (0..4).map(row).collect();
        for (descending, nulls_first) in [(false, false), (false, true), (true, false), (true, true)] {
            // The place of a value, first to last.
            let rank = |value: Option<i32>| match (value, descending) {
                (None, _) => {
                    if nulls_first {
                        0
                    } else {
                        9
                    }
                }
                (Some(value), false) => value,
                (Some(value), true) => 5 - value,
            };
            let wrong = (1..4).find(|row| rank(rows[row - 1]) > rank(rows[*row]));
            let column = SortColumn::new("a").with_descending(descending).with_nulls_first(nulls_first);
            let batch = one(Arc::new(Int32Array::from(rows.clone())));
            for size in 1..=4 {
                let found = in_batches(&batch, size, by([column.clone()]));
                let Some(row) = wrong else {
                    found.unwrap();
                    continue;
                };
                n_refused += 1;
                let error = found.unwrap_err();
                assert_eq!(error.kind(), SinkErrorKind::Encode);
                let text = error.to_string();
                let says = format!("the output stream is not sorted: by column \"a\", row {} of", row + 1);
                assert!(text.starts_with(&says), "{rows:?}: {text}");
            }
        }
    }
    assert!(n_refused > 500, "{n_refused}");
}

/// Pairs of a smaller and a larger value of each type.
#[test]
fn the_order_of_each_type() {
    let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let decimals = |values: [i128; 2]| {
        Arc::new(Decimal128Array::from(values.to_vec()).with_precision_and_scale(38, 2).unwrap())
    };
    let uuids = |values: [[u8; 16]; 2]| Arc::new(FixedSizeBinaryArray::try_from_iter(values.iter()).unwrap());
    let long = format!("{}b", "x".repeat(40));
    let pairs: Vec<ArrayRef> = vec![
        Arc::new(BooleanArray::from(vec![false, true])),
        Arc::new(Int32Array::from(vec![-1, 1])),
        Arc::new(UInt64Array::from(vec![1, u64::MAX])),
        Arc::new(Date32Array::from(vec![-1, 1])),
        Arc::new(TimestampMicrosecondArray::from(vec![-1, 1]).with_timezone("UTC")),
        decimals([-1, 1]),
        decimals([-(10_i128.pow(37)), 10_i128.pow(20)]),
        // By bytes: capitals come first, and what is above ASCII last.
        Arc::new(StringArray::from(vec!["B", "a"])),
        Arc::new(StringArray::from(vec!["z", "é"])),
        Arc::new(StringArray::from(vec!["", "a"])),
        Arc::new(StringViewArray::from(vec!["x", &long])),
        Arc::new(BinaryArray::from(vec![&[0x7f][..], &[0x80]])),
        uuids([[0x7f; 16], [0x80; 16]]),
        // Labels of an enum as text, whatever their keys.
        Arc::new(DictionaryArray::<Int32Type>::new(
            vec![1, 0].into(),
            Arc::new(StringArray::from(vec!["small", "large"])),
        )),
    ];
    assert_eq!(pairs[4].data_type(), &micros);
    for pair in pairs {
        let data_type = pair.data_type().clone();
        let turned: [ArrayRef; 2] = [pair.slice(1, 1), pair.slice(0, 1)];
        let turned = arrow_select::concat::concat(&turned.each_ref().map(AsRef::as_ref)).unwrap();
        let twice = arrow_select::concat::concat(&[&pair.slice(0, 1), &pair.slice(0, 1)]).unwrap();
        for (descending, right, wrong) in [(false, &pair, &turned), (true, &turned, &pair)] {
            let options = || by([SortColumn::new("a").with_descending(descending)]);
            for size in [1, 2] {
                in_batches(&one(right.clone()), size, options()).unwrap();
                in_batches(&one(twice.clone()), size, options()).unwrap();
                let error = in_batches(&one(wrong.clone()), size, options()).unwrap_err().to_string();
                assert!(error.contains("row 2 of"), "{data_type}: {error}");
                let is_text = error.contains("as in COLLATE \"C\"");
                let has_text =
                    matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::Dictionary(..));
                assert_eq!(is_text, has_text, "{data_type}: {error}");
            }
        }
    }
}

/// Batches may each have a dictionary of their own.
#[test]
fn labels_of_two_dictionaries_are_compared_as_text() {
    let of = |labels: Vec<&str>| {
        let keys: Vec<i32> = vec![0; labels.len().min(1)];
        one(Arc::new(DictionaryArray::<Int32Type>::new(keys.into(), Arc::new(StringArray::from(labels)))))
    };
    let sink = open(of(vec!["b"]).schema(), by([SortColumn::new("a")]));
    let mut part = sink.open_part(0).unwrap();
    part.write(&of(vec!["b", "z"])).unwrap();
    part.write(&of(vec!["c", "a"])).unwrap();
    assert!(part.write(&of(vec!["a", "z"])).unwrap_err().to_string().contains("row 3 of"));
}

#[test]
fn later_columns_count_among_equals_only() {
    let rows = |rows: &[(i32, Option<&str>)]| {
        let a: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int32Array>());
        let b: ArrayRef = Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>());
        RecordBatch::try_from_iter_with_nullable([("a", a, true), ("b", b, true)]).unwrap()
    };
    let order =
        || by([SortColumn::new("a"), SortColumn::new("b").with_descending(true).with_nulls_first(true)]);
    for size in [1, 2, 3, 10] {
        let sorted = [(1, None), (1, Some("b")), (1, Some("a")), (2, Some("c")), (2, Some("c")), (3, None)];
        in_batches(&rows(&sorted), size, order()).unwrap();
        for (unsorted, says) in [
            (&[(1, Some("a")), (1, Some("canary"))][..], "by column \"b\", row 2 of"),
            (&[(1, Some("a")), (1, None)], "by column \"b\", row 2 of"),
            (&[(1, None), (2, None), (2, None), (1, None)], "by column \"a\", row 4 of"),
        ] {
            let error = in_batches(&rows(unsorted), size, order()).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("canary"), "{error}");
            assert!(error.contains("ORDER BY") && error.contains("option sorted_by"), "{error}");
        }
    }
}

/// Each row group is in order; between them, nothing is said.
#[test]
fn a_row_group_begins_anew() {
    let numbers = |numbers: &[i32]| one(Arc::new(Int32Array::from(numbers.to_vec())));
    let rows = numbers(&[5, 6, 1, 2, 0, 9]);
    let order = || by([SortColumn::new("a")]);
    for size in [1, 2, 3, 6] {
        in_batches(&rows, size, order().with_row_group_rows(2)).unwrap();
        let error = in_batches(&rows, size, order().with_row_group_rows(3)).unwrap_err();
        assert!(error.to_string().contains("row 3 of"), "{error}");
        // Rows of earlier row groups are counted.
        let rows = numbers(&[5, 6, 1, 2, 9, 0]);
        let error = in_batches(&rows, size, order().with_row_group_rows(2)).unwrap_err();
        assert!(error.to_string().contains("row 6 of"), "{error}");
    }
    let sink = open(rows.schema(), order());
    let mut part = sink.open_part(0).unwrap();
    part.write(&numbers(&[5, 6])).unwrap();
    part.jump().unwrap();
    part.write(&numbers(&[])).unwrap();
    part.write(&numbers(&[1, 2])).unwrap();
    part.write(&numbers(&[])).unwrap();
    assert!(part.write(&numbers(&[1])).unwrap_err().to_string().contains("row 5 of"));
}

#[test]
fn the_order_is_in_the_metadata_of_each_row_group() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sorted.parquet");
    // Of the columns before "tags", the last is made of two.
    let rows = batch(1, 6);
    let order = [
        SortColumn::new("small"),
        SortColumn::new("price").with_nulls_first(true),
        SortColumn::new("key").with_descending(true),
    ];
    write(&path, std::slice::from_ref(&rows), by(order).with_row_group_rows(2));
    let column = |column_idx, descending, nulls_first| SortingColumn { column_idx, descending, nulls_first };
    let expected = vec![column(1, false, false), column(6, false, true), column(5, true, false)];
    for group in metadata(&path).row_groups() {
        assert_eq!(group.sorting_columns(), Some(&expected));
    }
    let plain = folder.path().join("plain.parquet");
    write(&plain, &[rows], ParquetOptions::default());
    assert_eq!(metadata(&plain).row_group(0).sorting_columns(), None);

    // A place behind a struct is that of the leaf.
    let inner =
        Fields::from(vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Int32, true)]);
    let schema = Arc::new(Schema::new(vec![
        Field::new("s", DataType::Struct(inner), true),
        Field::new("a", DataType::Int32, true),
    ]));
    let path = folder.path().join("behind.parquet");
    let columns = schema.fields().iter().map(|field| new_null_array(field.data_type(), 3)).collect();
    let rows = RecordBatch::try_new(schema, columns).unwrap();
    write(&path, &[rows], by([SortColumn::new("a")]));
    assert_eq!(metadata(&path).row_group(0).sorting_columns(), Some(&vec![column(2, false, false)]));
}

#[test]
fn what_has_no_order() {
    let wkb = [("ARROW:extension:name".to_owned(), "geoarrow.wkb".to_owned())];
    let floats = [DataType::Float64, DataType::Float32, DataType::Float16];
    let floats = floats.into_iter().enumerate().map(|(i, it)| Field::new(format!("f{i}"), it, true));
    let mut fields: Vec<Field> = floats.collect();
    fields.push(Field::new("geometry", DataType::Binary, true).with_metadata(wkb.into()));
    fields.extend(batch(0, 1).schema().fields().iter().map(|field| field.as_ref().clone()));
    let schema = Arc::new(Schema::new(fields));
    for (names, says) in [
        (&["f0"][..], "column \"f0\", whose floats have no order that all readers agree on"),
        (&["f1"], "floats"),
        (&["f2"], "floats"),
        (&["geometry"], "geometries have no order"),
        (&["address"], "made of others"),
        (&["tags"], "made of others"),
        (&["nothing"], "column \"nothing\", and no such column is written"),
        (&["address.city"], "no such column"),
        (&[""], "no such column"),
        (&["id", "small", "id"], "column \"id\", which is named twice"),
    ] {
        let options = by(names.iter().map(|name| SortColumn::new(*name)));
        let error =
            ParquetSink::create(Output::writer(std::io::sink()), schema.clone(), options).unwrap_err();
        assert_eq!(error.kind(), SinkErrorKind::Unsupported);
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// A long key of the last row is kept, and counts.
#[test]
fn the_memory_of_the_last_row_counts() {
    let long: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1 << 20)]));
    let rows = one(long);
    let held = |options| {
        let sink = open(rows.schema(), options);
        let mut part = sink.open_part(0).unwrap();
        part.write(&rows).unwrap();
        part.held_bytes()
    };
    let more = held(by([SortColumn::new("a")])) - held(ParquetOptions::default());
    assert_eq!(more.cmp(&(1 << 20)), Ordering::Greater, "{more}");
    assert!(more < (1 << 20) + 1000, "{more}");
}
