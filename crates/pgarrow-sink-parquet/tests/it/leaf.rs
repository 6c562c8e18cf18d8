//! Columns that are encoded here, of every type: what is read back, and what the file says about its pages.
//! The parquet crate's reader and its writer are the oracles.

use std::cmp::Ordering;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::*;
use arrow_cast::cast;
use arrow_ord::ord::make_comparator;
use arrow_schema::{DataType, SortOptions};
use arrow_select::concat::concat;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::{BoundaryOrder, Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use pgarrow_sink_parquet::{ParquetColumnOptions, ParquetOptions};
use pgarrow_testkit::{Capability, Python, require};

use crate::read;

/// Writes a file, over one that may be there.
fn write(path: &Path, batches: &[RecordBatch], options: ParquetOptions) {
    if path.exists() {
        std::fs::remove_file(path).unwrap();
    }
    crate::write(path, batches, options);
}

/// Numbers that differ from run to run of `i`, and are the same in every run of the tests.
fn random(i: usize) -> u64 {
    let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ mixed >> 32
}

/// The number of a row.
type Value = fn(usize) -> u64;

/// Whether a row has no value.
type IsNull = fn(usize) -> bool;

/// Which numbers a column has in its rows.
const SHAPES: [(&str, Value); 7] = [
    ("the same", |_| 7),
    ("few", |i| random(i) % 5),
    ("runs", |i| random(i / 37) % 11),
    ("growing", |i| i as u64 * 3),
    ("shrinking", |i| u64::MAX - i as u64),
    ("any", random),
    ("extremes", |i| {
        [0, u64::MAX, 1 << 63, (1 << 63) - 1, 1, 1 << 31, (1 << 31) - 1][random(i) as usize % 7]
    }),
];

/// Which rows have no value.
const NULLS: [(&str, IsNull); 5] = [
    ("none", |_| false),
    ("all", |_| true),
    ("some", |i| random(i + 1_000_000).is_multiple_of(3)),
    ("few", |i| random(i + 2_000_000).is_multiple_of(97)),
    ("long runs", |i| i / 700 % 2 == 1),
];

/// Text of which no two numbers have the same, with first bytes that many share, and any characters.
fn text(number: u64) -> String {
    match number % 4 {
        0 => format!("{number}"),
        1 => format!("né {number:x}"),
        2 => format!("{}{number}", "long and the same ".repeat(4)),
        _ => format!("{}{number}", "🐘\u{10ffff}".repeat(number as usize % 11)),
    }
}

/// Columns of all types that are encoded here.
fn columns(n: usize, value: Value, is_null: IsNull) -> Vec<(&'static str, ArrayRef)> {
    let numbers = || (0..n).map(move |i| (!is_null(i)).then(|| value(i)));
    macro_rules! of {
        ($array:ty, $convert:expr) => {
            Arc::new(numbers().map(|number| number.map($convert)).collect::<$array>()) as ArrayRef
        };
    }
    let decimal = |digits: u8| {
        let most = 10_i128.pow(u32::from(digits));
        let signed = |number: u64| i128::from(number as i64) * 1_000_000_007 % most;
        let array: Decimal128Array = numbers().map(|number| number.map(signed)).collect();
        Arc::new(array.with_precision_and_scale(digits, 2).unwrap()) as ArrayRef
    };
    let bytes = |width: usize| {
        let value = |number: u64| number.to_be_bytes().into_iter().cycle().take(width).collect::<Vec<_>>();
        let values = numbers().map(|number| number.map(value));
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, width as i32).unwrap())
            as ArrayRef
    };
    // Rows without a value have a key that does not exist, or that of a label that is null.
    let labels = || {
        let labels = [Some("b"), Some(""), None, Some("né"), Some("a label of more than sixteen bytes")];
        let key = |(i, number): (usize, Option<u64>)| match number {
            Some(number) => [0, 1, 3, 4][number as usize % 4],
            None => [2, -5, 99][i % 3],
        };
        let keys: Vec<i32> = numbers().enumerate().map(key).collect();
        let valid = keys.iter().map(|key| (0..5).contains(key)).collect::<Vec<_>>();
        let keys = Int32Array::new(keys.into(), Some(valid.into()));
        Arc::new(DictionaryArray::new(keys, Arc::new(StringArray::from(labels.to_vec())))) as ArrayRef
    };
    let blob = |number: u64| {
        let mut blob = number.to_le_bytes().repeat(1 + number as usize % 12);
        blob.truncate(number as usize % 90);
        blob
    };
    vec![
        ("i8", of!(Int8Array, |number| number as i8)),
        ("i16", of!(Int16Array, |number| number as i16)),
        ("i32", of!(Int32Array, |number| number as i32)),
        ("i64", of!(Int64Array, |number| number as i64)),
        ("u8", of!(UInt8Array, |number| number as u8)),
        ("u16", of!(UInt16Array, |number| number as u16)),
        ("u32", of!(UInt32Array, |number| number as u32)),
        ("u64", of!(UInt64Array, |number| number)),
        ("date", of!(Date32Array, |number| number as i32)),
        ("time32", of!(Time32MillisecondArray, |number| (number % 86_400_000) as i32)),
        ("time64", of!(Time64MicrosecondArray, |number| (number % 86_400_000_000) as i64)),
        ("nanos", of!(Time64NanosecondArray, |number| (number % 86_400_000_000_000) as i64)),
        ("ms", of!(TimestampMillisecondArray, |number| number as i64)),
        ("us", of!(TimestampMicrosecondArray, |number| number as i64)),
        ("ns", of!(TimestampNanosecondArray, |number| number as i64)),
        ("f32", of!(Float32Array, |number| f32::from_bits(number as u32))),
        ("f64", of!(Float64Array, f64::from_bits)),
        ("zeros", of!(Float64Array, |number| [0.0, -0.0, f64::NAN][number as usize % 3])),
        ("bool", of!(BooleanArray, |number| number % 2 == 1)),
        ("decimal 9", decimal(9)),
        ("decimal 18", decimal(18)),
        ("decimal 19", decimal(19)),
        ("decimal 38", decimal(38)),
        ("uuid", bytes(16)),
        ("fixed 3", bytes(3)),
        ("fixed 20", bytes(20)),
        ("utf8", of!(StringArray, text)),
        ("large utf8", of!(LargeStringArray, text)),
        ("utf8 view", of!(StringViewArray, text)),
        ("binary", of!(BinaryArray, blob)),
        ("large binary", of!(LargeBinaryArray, blob)),
        ("binary view", of!(BinaryViewArray, blob)),
        ("labels", labels()),
    ]
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let columns = columns.into_iter().map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// The rows in batches of so many.
fn cut(batch: &RecordBatch, rows: usize) -> Vec<RecordBatch> {
    let starts = (0..batch.num_rows().max(1)).step_by(rows);
    starts.map(|start| batch.slice(start, rows.min(batch.num_rows() - start))).collect()
}

fn with_index(path: &Path) -> Arc<ParquetMetaData> {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    ArrowReaderMetadata::load(&File::open(path).unwrap(), options).unwrap().metadata().clone()
}

/// Options for all columns that there are.
fn for_all(batch: &RecordBatch, options: ParquetOptions, column: &str) -> ParquetOptions {
    let choose = |options: ParquetOptions, name: &str, choice: &str| {
        options.with_column([name], choice.parse::<ParquetColumnOptions>().unwrap())
    };
    batch.schema().fields().iter().fold(options, |options, field| match column {
        "dictionary=true" if has_no_dictionary(field.data_type()) => options,
        _ => choose(options, field.name(), column),
    })
}

fn has_no_dictionary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Boolean | DataType::FixedSizeBinary(_) => true,
        DataType::Decimal128(digits, _) => *digits > 18,
        _ => false,
    }
}

/// Compares a file with the rows that were written: values, NULLs, statistics and page indexes.
#[track_caller]
fn check(path: &Path, whole: &RecordBatch, what: &str) {
    let (schema, found) = read(path);
    assert_eq!(schema, whole.schema(), "{what}");
    for (index, expected) in whole.columns().iter().enumerate() {
        let found: Vec<&dyn Array> = found.iter().map(|batch| batch.column(index).as_ref()).collect();
        if !found.is_empty() {
            // Bit by bit: NaN is not the same as itself.
            let found = concat(&found).unwrap();
            assert_eq!(&bits(&found), &bits(expected), "{what}, {}", schema.field(index).name());
        }
    }
    let metadata = with_index(path);
    for (index, column) in whole.columns().iter().enumerate() {
        let column = match column.data_type() {
            DataType::Dictionary(..) => &bits(column),
            _ => column,
        };
        check_statistics(&metadata, index, column, what);
    }
}

fn bits(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        // Every row group has its own labels.
        DataType::Dictionary(_, values) => cast(array, values).unwrap(),
        DataType::Float32 => {
            Arc::new(array.as_primitive::<Float32Type>().unary::<_, types::UInt32Type>(f32::to_bits))
        }
        DataType::Float64 => {
            Arc::new(array.as_primitive::<Float64Type>().unary::<_, types::UInt64Type>(f64::to_bits))
        }
        _ => Arc::clone(array),
    }
}

/// Recomputes what the file says about pages and row groups.
#[track_caller]
fn check_statistics(metadata: &ParquetMetaData, index: usize, column: &ArrayRef, what: &str) {
    let schema = parquet::arrow::parquet_to_arrow_schema(
        metadata.file_metadata().schema_descr(),
        metadata.file_metadata().key_value_metadata(),
    )
    .unwrap();
    let name = schema.field(index).name();
    let what = format!("{what}, {name}");
    let converter =
        StatisticsConverter::try_new(name, &schema, metadata.file_metadata().schema_descr()).unwrap();
    let (column_index, offset_index) = (metadata.column_index().unwrap(), metadata.offset_index().unwrap());
    let mut row = 0;
    for (group, of_group) in metadata.row_groups().iter().enumerate() {
        let rows = of_group.num_rows() as usize;
        let values = column.slice(row, rows);
        let statistics = of_group.column(index).statistics().unwrap();
        assert_eq!(statistics.null_count_opt(), Some(values.null_count() as u64), "{what}");
        let mins = converter.row_group_mins([of_group]).unwrap();
        let maxs = converter.row_group_maxes([of_group]).unwrap();
        check_bounds(&mins, &maxs, 0, &values, &what);
        assert_eq!(of_group.column(index).num_values(), rows as i64);

        let locations = offset_index[group][index].page_locations();
        let starts: Vec<usize> = locations.iter().map(|page| page.first_row_index as usize).collect();
        let end = |page: usize| starts.get(page + 1).copied().unwrap_or(rows);
        assert_eq!(starts.first(), Some(&0), "{what}");
        let groups = [group];
        let mins = converter.data_page_mins(column_index, offset_index, &groups).unwrap();
        let maxs = converter.data_page_maxes(column_index, offset_index, &groups).unwrap();
        let nulls = converter.data_page_null_counts(column_index, offset_index, &groups).unwrap();
        let known = column_index[group][index].get_boundary_order();
        if known.is_some() {
            let pages = starts.iter().enumerate().map(|(page, start)| *start..end(page));
            assert_eq!(known, Some(boundary_order(&values, pages)), "{what}");
        }
        for (page, start) in starts.iter().enumerate() {
            let values = values.slice(*start, end(page) - start);
            let known = column_index[group][index].get_boundary_order();
            if known.is_some() {
                assert_eq!(nulls.value(page), values.null_count() as u64, "{what}");
                check_bounds(&mins, &maxs, page, &values, &what);
            } else {
                // Only a page of NaN has nothing to say.
                let is_float = matches!(values.data_type(), DataType::Float32 | DataType::Float64);
                assert!(is_float, "{what}");
            }
        }
        row += rows;
    }
    assert_eq!(row, column.len());
}

/// How smallest and largest values of pages follow one another, without pages of NULLs.
fn boundary_order(values: &ArrayRef, pages: impl Iterator<Item = Range<usize>>) -> BoundaryOrder {
    let compare = make_comparator(values, values, SortOptions::default()).unwrap();
    // Both zeros are the same, and each stands for the other where it is a bound.
    let compare = |one: usize, two: usize| match is_zero(values, one) && is_zero(values, two) {
        true => Ordering::Equal,
        false => compare(one, two),
    };
    let bounds = pages.filter_map(|page| {
        let rows = || page.clone().filter(|row| values.is_valid(*row) && !is_nan(values, *row));
        let min = rows().min_by(|one, two| compare(*one, *two))?;
        Some((min, rows().max_by(|one, two| compare(*one, *two))?))
    });
    let bounds: Vec<_> = bounds.collect();
    let never = |refused: Ordering| {
        let is_refused = |(one, two): &((usize, usize), (usize, usize))| {
            compare(one.0, two.0) == refused || compare(one.1, two.1) == refused
        };
        !bounds.iter().copied().zip(bounds.iter().copied().skip(1)).any(|pair| is_refused(&pair))
    };
    match (never(Ordering::Greater), never(Ordering::Less)) {
        (true, _) => BoundaryOrder::ASCENDING,
        (false, true) => BoundaryOrder::DESCENDING,
        (false, false) => BoundaryOrder::UNORDERED,
    }
}

fn is_nan(values: &ArrayRef, row: usize) -> bool {
    match values.data_type() {
        DataType::Float32 => values.as_primitive::<Float32Type>().value(row).is_nan(),
        DataType::Float64 => values.as_primitive::<Float64Type>().value(row).is_nan(),
        _ => false,
    }
}

fn is_zero(values: &ArrayRef, row: usize) -> bool {
    match values.data_type() {
        DataType::Float32 => values.as_primitive::<Float32Type>().value(row) == 0.0,
        DataType::Float64 => values.as_primitive::<Float64Type>().value(row) == 0.0,
        _ => false,
    }
}

/// Checks smallest and largest value of a page or a row group.
#[track_caller]
fn check_bounds(mins: &ArrayRef, maxs: &ArrayRef, at: usize, values: &ArrayRef, what: &str) {
    let has_order = |row: &usize| values.is_valid(*row) && !is_nan(values, *row);
    let rows: Vec<usize> = (0..values.len()).filter(has_order).collect();
    for (bounds, beyond) in [(mins, Ordering::Greater), (maxs, Ordering::Less)] {
        if rows.is_empty() {
            assert!(bounds.is_null(at), "{what}");
            continue;
        }
        assert!(bounds.is_valid(at), "{what}");
        let compare = make_comparator(bounds, values, SortOptions::default()).unwrap();
        assert!(rows.iter().all(|row| compare(at, *row) != beyond), "{what}: {bounds:?}");
        // Of zeros, the negative one is the smallest and the positive one the largest, whichever are there.
        let is_there = |row: &usize| {
            compare(at, *row) == Ordering::Equal || (is_zero(bounds, at) && is_zero(values, *row))
        };
        if is_zero(bounds, at) && values.data_type() == &DataType::Float64 {
            let negative = bounds.as_primitive::<Float64Type>().value(at).is_sign_negative();
            assert_eq!(negative, beyond == Ordering::Greater, "{what}");
        }
        assert!(rows.iter().any(is_there) || length(bounds, at) >= 56, "{what}: {bounds:?}");
    }
}

/// Bytes of text and bytes, which are cut at 64.
fn length(array: &ArrayRef, row: usize) -> usize {
    match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).len(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).len(),
        DataType::Utf8View => array.as_string_view().value(row).len(),
        DataType::Binary => array.as_binary::<i32>().value(row).len(),
        DataType::LargeBinary => array.as_binary::<i64>().value(row).len(),
        DataType::BinaryView => array.as_binary_view().value(row).len(),
        _ => 0,
    }
}

#[test]
fn values_and_statistics_of_every_type() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.parquet");
    for (shape, value) in SHAPES {
        for (nulls, is_null) in NULLS {
            let whole = batch(columns(3000, value, is_null));
            let uncompressed = "dictionary=false,compression=none";
            for choice in ["dictionary=true", "dictionary=false", "encoding=plain", uncompressed] {
                let options = for_all(&whole, ParquetOptions::default(), choice);
                // Pages of a few rows, and row groups that end within a batch.
                let options = options.with_data_page_bytes(900).with_row_group_rows(2100);
                write(&path, &cut(&whole, 1300), options);
                check(&path, &whole, &format!("{shape}, nulls: {nulls}, {choice}"));
            }
        }
    }
}

/// Nothing said whether the order of the pages in their index was the one that they have.
#[test]
fn pages_are_in_the_order_that_their_index_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("order.parquet");
    let up: Value = |i| i as u64 * 3;
    let down: Value = |i| 100_000 - i as u64;
    for (value, expected) in [
        (up, BoundaryOrder::ASCENDING),
        (down, BoundaryOrder::DESCENDING),
        (|_| 7, BoundaryOrder::ASCENDING),
        (random, BoundaryOrder::UNORDERED),
    ] {
        for (nulls, is_null) in NULLS {
            let whole = batch(columns(3000, value, is_null));
            for choice in ["dictionary=true", "dictionary=false"] {
                let options = for_all(&whole, ParquetOptions::default(), choice);
                write(&path, &cut(&whole, 1300), options.with_data_page_bytes(900));
                let what = format!("{expected}, nulls: {nulls}, {choice}");
                check(&path, &whole, &what);
                let metadata = with_index(&path);
                for name in ["i32", "i64", "u64", "us", "decimal 18", "uuid"] {
                    let of_column =
                        &metadata.column_index().unwrap()[0][whole.schema().index_of(name).unwrap()];
                    let has_pages = nulls != "all" && of_column.num_pages() > 3;
                    let expected = if has_pages { expected } else { BoundaryOrder::ASCENDING };
                    if has_pages || nulls == "all" {
                        assert_eq!(of_column.get_boundary_order(), Some(expected), "{what}, {name}");
                    }
                }
            }
        }
    }
}

#[test]
fn any_number_of_rows_in_any_batches_and_pages() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sizes.parquet");
    for rows in [1, 2, 3, 8, 31, 33, 65, 129, 257, 300] {
        let whole = batch(columns(rows, |i| random(i) % 40, |i| random(i).is_multiple_of(5)));
        for batch_rows in [1, 2, 3, rows] {
            for page_bytes in [0, 1, 2, 3, 50, 1 << 20] {
                let options = ParquetOptions::default().with_data_page_bytes(page_bytes);
                write(&path, &cut(&whole, batch_rows), options);
                check(&path, &whole, &format!("{rows} rows by {batch_rows}, pages of {page_bytes}"));
            }
        }
    }
}

/// Dictionaries that become too large, in the middle of a batch and of a page, with NULLs and without.
#[test]
fn dictionaries_that_are_full() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("full.parquet");
    for (nulls, is_null) in NULLS {
        let whole = batch(columns(60_000, random, is_null));
        let options = for_all(&whole, ParquetOptions::default(), "dictionary=true");
        // 128 KiB for each dictionary.
        let options = options.with_row_group_bytes(8 << 20).with_row_group_rows(50_000);
        write(&path, &cut(&whole, 7001), options.with_data_page_bytes(20_000));
        check(&path, &whole, nulls);
        if nulls == "none" {
            let metadata = with_index(&path);
            for (name, rest) in [
                ("i64", Encoding::DELTA_BINARY_PACKED),
                ("date", Encoding::DELTA_BINARY_PACKED),
                ("decimal 18", Encoding::DELTA_BINARY_PACKED),
                ("f64", Encoding::PLAIN),
                ("utf8 view", Encoding::DELTA_LENGTH_BYTE_ARRAY),
                ("binary", Encoding::DELTA_LENGTH_BYTE_ARRAY),
            ] {
                let column = metadata.row_group(0).column(whole.schema().index_of(name).unwrap());
                let encodings: Vec<_> = column.encodings().collect();
                assert!(encodings.contains(&rest) && encodings.contains(&Encoding::RLE_DICTIONARY), "{name}");
            }
        }
    }
}

#[test]
fn the_same_rows_make_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let whole = batch(columns(50_000, |i| random(i) % 9000, |i| random(i).is_multiple_of(11)));
    for choice in ["dictionary=true", "dictionary=false"] {
        let files = [1000, 1024, 4099, 50_000].map(|batch_rows| {
            let path = folder.path().join(format!("{batch_rows}.parquet"));
            write(&path, &cut(&whole, batch_rows), for_all(&whole, ParquetOptions::default(), choice));
            std::fs::read(path).unwrap()
        });
        assert!(files.iter().all(|file| *file == files[0]), "{choice}");
    }
}

/// The same columns as the parquet crate's own writer makes them.
fn write_by_crate(path: &Path, whole: &RecordBatch) {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_coerce_types(true)
        .set_statistics_enabled(EnabledStatistics::Page)
        .build();
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), whole.schema(), Some(properties)).unwrap();
    writer.write(whole).unwrap();
    writer.close().unwrap();
}

#[test]
fn statistics_are_those_of_the_parquet_crate() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["ours", "theirs"].map(|name| folder.path().join(name));
    for (shape, value) in SHAPES {
        for (nulls, is_null) in NULLS {
            let whole = batch(columns(20_000, value, is_null));
            write(&paths[0], &cut(&whole, 4096), ParquetOptions::default());
            write_by_crate(&paths[1], &whole);
            let [ours, theirs] = [&paths[0], &paths[1]].map(|path| with_index(path));
            for (index, field) in whole.schema().fields().iter().enumerate() {
                let what = format!("{shape}, nulls: {nulls}, {}", field.name());
                let [one, two] = [&ours, &theirs].map(|metadata| metadata.row_group(0).column(index));
                assert_eq!(one.column_descr(), two.column_descr(), "{what}");
                assert_eq!(one.statistics(), two.statistics(), "{what}");
                assert_eq!(one.definition_level_histogram(), two.definition_level_histogram(), "{what}");
                assert_eq!(
                    one.unencoded_byte_array_data_bytes(),
                    two.unencoded_byte_array_data_bytes(),
                    "{what}"
                );
                let of_pages =
                    |metadata: &Arc<ParquetMetaData>| metadata.column_index().unwrap()[0][index].clone();
                // Both have one page, except of long text, and of NaN nothing is known.
                let [one, two] = [of_pages(&ours), of_pages(&theirs)];
                let is_known = [&one, &two].map(|index| index.get_boundary_order().is_some());
                assert_eq!(is_known[0], is_known[1], "{what}");
                if is_known[0] && one.num_pages() == two.num_pages() {
                    assert_eq!(one, two, "{what}");
                }
            }
        }
    }
}

/// Pages ended at 20,000 rows and at 1 MiB exactly. Those of the parquet crate's writer, which looks between
/// pieces, ended later. So its files were smaller.
#[test]
fn files_are_not_larger_than_those_of_the_parquet_crate() {
    const ROWS: usize = 6 * 32_768;
    let folder = tempfile::tempdir().unwrap();
    let paths = ["ours", "theirs"].map(|name| folder.path().join(name));
    let texts = |text: &dyn Fn(usize) -> Option<String>| -> ArrayRef {
        Arc::new((0..ROWS).map(text).collect::<StringArray>())
    };
    let hex = |i: usize| format!("{:016x}{:016x}", random(i), random(i + 7_000_000));
    let columns: [(&str, ArrayRef); 7] = [
        ("key", Arc::new(Int64Array::from_iter_values((0..ROWS).map(|i| i as i64)))),
        ("price", Arc::new(Int64Array::from_iter_values((0..ROWS).map(|i| random(i) as i64 % 1_000_000)))),
        ("score", Arc::new(Float64Array::from_iter_values((0..ROWS).map(|i| random(i) as f64 / 7.0)))),
        ("name", texts(&|i| Some(format!("name {i}")))),
        ("hash", texts(&|i| Some(hex(i)))),
        ("body", texts(&|i| Some(hex(i).repeat(1 + i % 8)))),
        ("some", texts(&|i| (i % 7 > 0).then(|| format!("{:x}", random(i))))),
    ];
    let whole = batch(columns.to_vec());
    let batches = cut(&whole, 32_768);
    write(&paths[0], &batches, for_all(&whole, ParquetOptions::default(), "dictionary=false"));

    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Page);
    for field in whole.schema().fields() {
        properties = match field.data_type() {
            DataType::Utf8 => properties
                .set_column_encoding(field.name().as_str().into(), Encoding::DELTA_LENGTH_BYTE_ARRAY),
            DataType::Float64 => properties,
            _ => properties.set_column_encoding(field.name().as_str().into(), Encoding::DELTA_BINARY_PACKED),
        };
    }
    let file = File::create(&paths[1]).unwrap();
    let mut writer = ArrowWriter::try_new(file, whole.schema(), Some(properties.build())).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.close().unwrap();

    let [ours, theirs] = [&paths[0], &paths[1]].map(|path| with_index(path));
    let mut both = [0, 0];
    for (index, field) in whole.schema().fields().iter().enumerate() {
        let [one, two] = [&ours, &theirs].map(|metadata| metadata.row_group(0).column(index));
        assert_eq!(
            one.encodings().collect::<Vec<_>>(),
            two.encodings().collect::<Vec<_>>(),
            "{}",
            field.name()
        );
        let [one, two] = [one, two].map(|column| column.compressed_size());
        // A page of less than 16 KB, as the crate's last one may be, is compressed with other parameters.
        let (most, name) = (two + two / 1000, field.name());
        assert!(one <= most, "{name}: {one} bytes, by the crate {two}");
        both[0] += one;
        both[1] += two;
    }
    assert!(both[0] <= both[1], "{both:?}");
}

/// Of columns that the parquet crate encodes, pages had up to twice as many bytes as the option says.
#[test]
fn pages_of_nested_columns_are_not_larger_than_the_option_says() {
    const PAGE_BYTES: usize = 64 << 10;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nested.parquet");
    let mut lists = ListBuilder::new(StringBuilder::new());
    for i in 0..20_000 {
        lists.values().append_value(text(i));
        lists.values().append_value(format!("{i}").repeat(40));
        lists.append(true);
    }
    let lists: ArrayRef = Arc::new(lists.finish());
    let whole = batch(vec![("lists", lists)]);
    let options = ParquetOptions::default().with_compression("none".parse().unwrap());
    write(&path, &cut(&whole, 4096), options.with_data_page_bytes(PAGE_BYTES));
    let metadata = with_index(&path);
    let pages = metadata.offset_index().unwrap()[0][0].page_locations();
    assert!(pages.len() > 10, "{}", pages.len());
    let largest = pages.iter().map(|page| page.compressed_page_size as usize).max().unwrap();
    // Levels come on top.
    assert!(largest <= PAGE_BYTES * 9 / 8, "{largest}");
}

const SCRIPT: &str = r#"
import sys, duckdb, pyarrow.compute as pc, pyarrow.parquet as pq
ours, theirs = sys.argv[1:]
one, two = pq.read_table(ours), pq.read_table(theirs)
assert one.schema.equals(two.schema)
for name in one.column_names:
    # NaN is not the same as itself, so floats are compared as text.
    pair = [table.column(name).to_pylist() for table in (one, two)]
    assert repr(pair[0]) == repr(pair[1]), name
for name in one.column_names:
    rows = [duckdb.execute(f'SELECT "{name}" FROM \'{path}\'').fetchall() for path in (ours, theirs)]
    assert repr(rows[0]) == repr(rows[1]), name
    # Which pages may have it is decided by what the file says about them.
    for at in (0, 1234, 9999, 29_999):
        value = one.column(name)[at]
        # pyarrow cannot filter views and labels.
        is_known = value.is_valid and value.as_py() == value.as_py()
        if not is_known or name.endswith("view") or name == "labels":
            continue
        wanted = pc.field(name) == value
        counts = [pq.read_table(path, columns=[name], filters=wanted).num_rows for path in (ours, theirs)]
        assert counts[0] == counts[1] > 0, (name, value, counts)
print(one.num_rows)
"#;

#[test]
fn other_readers_read_every_type() {
    require!(Capability::Python);
    let folder = tempfile::tempdir().unwrap();
    let paths = ["ours.parquet", "theirs.parquet"].map(|name| folder.path().join(name));
    for (value, choice) in [(random as Value, "dictionary=true"), (|i| random(i) % 3000, "dictionary=false")]
    {
        // Dates and moments that Python has.
        let columns = columns(30_000, value, |i| random(i).is_multiple_of(7));
        let columns =
            columns.into_iter().filter(|(name, _)| !matches!(*name, "date" | "ms" | "us" | "ns" | "nanos"));
        let whole = batch(columns.collect());
        let options = for_all(&whole, ParquetOptions::default(), choice).with_row_group_bytes(8 << 20);
        write(&paths[0], &cut(&whole, 9999), options.with_data_page_bytes(30_000));
        write_by_crate(&paths[1], &whole);
        let paths = [&paths[0], &paths[1]].map(|path| path.to_str().unwrap());
        assert_eq!(Python::shared().run(SCRIPT, &paths).trim_end(), "30000");
    }
}
