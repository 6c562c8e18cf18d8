//! Files for readers that know version 1 only: what is in them, and what is refused.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use arrow_select::concat::concat_batches;
use parquet::basic::{Compression as Codec, ConvertedType, Encoding as Code};
use parquet::column::page::Page;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use pgarrow_sink::{Output, SinkErrorKind};
use pgarrow_sink_parquet::{Compression, ParquetOptions, ParquetSink};

use crate::columns::batch;
use crate::{metadata, read, write};

/// The kinds of the pages of a file, and the encodings of their values.
fn pages(path: &Path) -> (BTreeSet<&'static str>, BTreeSet<i32>) {
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let (mut kinds, mut encodings) = (BTreeSet::new(), BTreeSet::new());
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).unwrap();
        for column in 0..group.num_columns() {
            for page in group.get_column_page_reader(column).unwrap() {
                let page = page.unwrap();
                kinds.insert(match page {
                    Page::DataPage { .. } => "v1",
                    Page::DataPageV2 { .. } => "v2",
                    Page::DictionaryPage { .. } => "dictionary",
                });
                encodings.insert(page.encoding() as i32);
            }
        }
    }
    (kinds, encodings)
}

#[test]
fn pages_are_those_that_old_readers_know() {
    let folder = tempfile::tempdir().unwrap();
    let (compat, usual) = (folder.path().join("compat.parquet"), folder.path().join("usual.parquet"));
    let batches = [batch(0, 3000), batch(3000, 1), batch(3001, 2)];
    write(&compat, &batches, ParquetOptions::default().with_compat(true));
    write(&usual, &batches, ParquetOptions::default());
    assert_eq!(pages(&compat), (BTreeSet::from(["v1"]), BTreeSet::from([Code::PLAIN as i32])));
    // The test sees the others.
    let (kinds, encodings) = pages(&usual);
    assert!(kinds.contains("dictionary") && encodings.contains(&(Code::DELTA_BINARY_PACKED as i32)));
    let metadata = metadata(&compat);
    assert_eq!(metadata.file_metadata().version(), 1);
    let columns = metadata.row_group(0).columns();
    assert!(columns.iter().all(|column| column.compression() == Codec::SNAPPY));
    let [compat, usual] = [compat, usual].map(|path| {
        let (schema, batches) = read(&path);
        concat_batches(&schema, &batches).unwrap()
    });
    assert_eq!(compat, usual);
}

/// Large values are in other pages otherwise, and need more memory than there.
#[test]
fn large_values_are_in_pages_of_version_1() {
    let folder = tempfile::tempdir().unwrap();
    let large = "x".repeat(100_000);
    let text: ArrayRef = Arc::new(StringArray::from(vec![large.as_str(); 3]));
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
    let batch = RecordBatch::try_from_iter([("text", text), ("number", numbers)]).unwrap();
    for (compat, kind) in [(true, "v1"), (false, "v2")] {
        let path = folder.path().join(kind);
        write(&path, std::slice::from_ref(&batch), ParquetOptions::default().with_compat(compat));
        let (kinds, encodings) = pages(&path);
        assert!(kinds.contains(kind) && (!compat || kinds.len() == 1), "{kinds:?}");
        assert!(!compat || encodings == BTreeSet::from([Code::PLAIN as i32]), "{encodings:?}");
        assert_eq!(read(&path).1[0], batch);
    }
}

#[test]
fn every_type_that_is_written_has_a_converted_type_or_needs_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("types.parquet");
    let utc = Some("UTC".into());
    let json = [("ARROW:extension:name", "arrow.json"), ("ARROW:extension:metadata", "")];
    let json = json.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let types = [
        (DataType::Int16, ConvertedType::INT_16),
        (DataType::UInt16, ConvertedType::UINT_16),
        (DataType::Timestamp(TimeUnit::Microsecond, utc.clone()), ConvertedType::TIMESTAMP_MICROS),
        (DataType::Timestamp(TimeUnit::Microsecond, None), ConvertedType::TIMESTAMP_MICROS),
        (DataType::Timestamp(TimeUnit::Millisecond, utc), ConvertedType::TIMESTAMP_MILLIS),
        (DataType::Time64(TimeUnit::Microsecond), ConvertedType::TIME_MICROS),
        (DataType::Date32, ConvertedType::DATE),
        (DataType::Decimal128(9, 2), ConvertedType::DECIMAL),
        (DataType::Decimal128(38, 2), ConvertedType::DECIMAL),
        (DataType::Utf8, ConvertedType::UTF8),
        (DataType::Int64, ConvertedType::NONE),
        (DataType::Float64, ConvertedType::NONE),
        (DataType::Binary, ConvertedType::NONE),
    ];
    let fields = types.iter().enumerate().map(|(i, (it, _))| Field::new(format!("c{i}"), it.clone(), true));
    let mut fields: Vec<Field> = fields.collect();
    fields.push(Field::new("json", DataType::Utf8, true).with_metadata(json.into()));
    let batch = RecordBatch::new_empty(Arc::new(Schema::new(fields)));
    write(&path, &[batch], ParquetOptions::default().with_compat(true));
    let metadata = metadata(&path);
    let found = metadata.file_metadata().schema_descr().columns().iter().map(|it| it.converted_type());
    let expected = types.iter().map(|(_, converted)| *converted).chain([ConvertedType::JSON]);
    assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn what_old_readers_would_take_for_something_else() {
    let refused = |data_type: DataType, options: ParquetOptions| {
        let schema = Arc::new(Schema::new(vec![Field::new("a b", data_type, true)]));
        let sink = ParquetSink::create(Output::writer(std::io::sink()), schema, options.with_compat(true));
        let error = sink.unwrap_err();
        assert_eq!(error.kind(), SinkErrorKind::Unsupported);
        error.to_string()
    };
    let list = |data_type| DataType::List(Arc::new(Field::new("item", data_type, true)));
    for (data_type, says) in [
        (
            DataType::Timestamp(TimeUnit::Nanosecond, None),
            "no timestamps in nanoseconds; choose another unit",
        ),
        (DataType::UInt32, "negative ones; read it as text (column \"a b\":text)"),
        (DataType::UInt64, "negative ones"),
        (DataType::Float16, "do not have its type; read it as text (column \"a b\":text)"),
        (list(DataType::Float16), "\"a b.list.element\""),
        (DataType::Time64(TimeUnit::Nanosecond), "do not have its type"),
    ] {
        let text = refused(data_type, ParquetOptions::default());
        assert!(text.starts_with("column \"a b") && text.contains(says), "{text}");
    }
    for compression in [Compression::Zstd(1), Compression::Brotli(1), Compression::Lz4] {
        let text = refused(DataType::Int32, ParquetOptions::default().with_compression(compression));
        assert!(text.contains("choose snappy, gzip or none"), "{text}");
    }
    for (choice, says) in [
        ("encoding=delta-binary-packed", "column \"a b\": encoding delta-binary-packed is not for readers"),
        ("encoding=byte-stream-split", "choose plain"),
        ("encoding=dictionary", "encoding dictionary is not"),
        ("encoding=plain,dictionary=true", "encoding dictionary is not"),
        ("compression=zstd", "compression zstd:1 is not"),
    ] {
        let options = ParquetOptions::default().with_column(["a b"], choice.parse().unwrap());
        let text = refused(DataType::Int32, options);
        assert!(text.contains(says), "{text}");
    }
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int32, true)]));
    for choice in ["encoding=plain", "dictionary=false", "compression=gzip,statistics=none", "bloom=0.1"] {
        let options = ParquetOptions::default().with_column(["a"], choice.parse().unwrap());
        let options = options.with_compat(true).with_compression(Compression::Gzip(6));
        ParquetSink::create(Output::writer(std::io::sink()), schema.clone(), options).unwrap();
    }
}
