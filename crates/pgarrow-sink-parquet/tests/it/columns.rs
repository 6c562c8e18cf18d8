//! Choices for single columns: what the file then has, what is refused, and what filters cost.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray, StructArray,
};
use arrow_schema::{DataType, Field};
use arrow_select::concat::concat_batches;
use parquet::basic::{Compression as Codec, Encoding as Code};
use parquet::file::metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaDataReader};
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};
use pgarrow_sink::{Output, SinkError, SinkErrorKind, SinkWriter, Stop};
use pgarrow_sink_parquet::{
    BloomFilter, Compression, Encoding, ParquetColumnOptions, ParquetOptions, ParquetSink,
};

use crate::{metadata, read, write};

/// Each physical type, a struct and a list; every seventh value is NULL.
pub(crate) fn batch(start: i32, rows: i32) -> RecordBatch {
    let numbers = || (start..start + rows).map(|i| (i % 7 != 0).then_some(i));
    let text = |number: Option<i32>| number.map(|i| format!("https://example.com/of/{}", i % 1000));
    let bytes = numbers().map(|number| number.map(|i| i128::from(i).to_be_bytes()));
    let city: ArrayRef = Arc::new(numbers().map(text).collect::<StringArray>());
    let zip: ArrayRef = Arc::new(numbers().collect::<Int32Array>());
    let fields = vec![Field::new("city", DataType::Utf8, true), Field::new("zip", DataType::Int32, true)];
    let mut lists =
        ListBuilder::new(Int32Builder::new()).with_field(Field::new("element", DataType::Int32, true));
    numbers().for_each(|number| lists.append_value([number, Some(1)]));
    let decimals: Decimal128Array = numbers().map(|number| number.map(i128::from)).collect();
    let columns: [(&str, ArrayRef); 9] = [
        ("flag", Arc::new(numbers().map(|number| number.map(|i| i % 2 == 0)).collect::<BooleanArray>())),
        ("small", Arc::new(numbers().collect::<Int32Array>())),
        ("id", Arc::new(numbers().map(|number| number.map(i64::from)).collect::<Int64Array>())),
        ("ratio", Arc::new(numbers().map(|number| number.map(f64::from)).collect::<Float64Array>())),
        ("url", Arc::new(numbers().map(text).collect::<StringArray>())),
        ("key", Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(bytes, 16).unwrap())),
        ("price", Arc::new(decimals.with_precision_and_scale(30, 2).unwrap())),
        ("address", Arc::new(StructArray::new(fields.into(), vec![city, zip], None))),
        ("tags", Arc::new(lists.finish())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn of(text: &str) -> ParquetColumnOptions {
    text.parse().unwrap()
}

fn chunk(path: &Path, column: &str) -> ColumnChunkMetaData {
    let metadata = metadata(path);
    let columns = metadata.row_group(0).columns();
    columns.iter().find(|it| it.column_path().string() == column).unwrap().clone()
}

fn refused(path: &[&str], options: ParquetColumnOptions) -> SinkError {
    let options = ParquetOptions::default().with_column(path.iter().copied(), options);
    let error =
        ParquetSink::create(Output::writer(std::io::sink()), batch(0, 1).schema(), options).unwrap_err();
    assert_eq!(error.kind(), SinkErrorKind::Unsupported);
    error
}

/// Every encoding of every type is in the file as it was chosen, and the values come back; or it is refused
/// with those that there are.
#[test]
fn every_encoding_of_every_type() {
    let folder = tempfile::tempdir().unwrap();
    let columns = ["flag", "small", "id", "ratio", "url", "key", "price", "address.zip", "tags.list.element"];
    let mut n_written = 0;
    for (index, column) in columns.iter().enumerate() {
        for encoding in Encoding::ALL {
            let path: Vec<&str> = column.split('.').collect();
            let options = ParquetColumnOptions::default().with_encoding(*encoding);
            let file = folder.path().join(format!("{index}-{encoding}.parquet"));
            let given = ParquetOptions::default().with_column(path.iter().copied(), options);
            let output = Output::writer(std::io::sink());
            if let Err(error) = ParquetSink::create(output, batch(0, 1).schema(), given.clone()) {
                let text = error.to_string();
                assert!(text.starts_with(&format!("column {column:?}: ")), "{text}");
                assert!(text.contains(&format!("has no encoding {encoding}; choose plain")), "{text}");
                continue;
            }
            n_written += 1;
            // Of the numbers, many are new, so that there is no dictionary unless it is chosen.
            let batches = [batch(0, 3000), batch(3000, 1), batch(3001, 2)];
            write(&file, &batches, given);
            let all = concat_batches(&batches[0].schema(), &batches).unwrap();
            let (schema, found) = read(&file);
            let found = concat_batches(&schema, &found).unwrap();
            assert_eq!(found.columns(), all.columns(), "{column} {encoding}");
            let chunk = chunk(&file, column);
            let code = match encoding {
                Encoding::Plain => Code::PLAIN,
                Encoding::Dictionary => Code::RLE_DICTIONARY,
                Encoding::DeltaBinaryPacked => Code::DELTA_BINARY_PACKED,
                Encoding::DeltaLengthByteArray => Code::DELTA_LENGTH_BYTE_ARRAY,
                Encoding::DeltaByteArray => Code::DELTA_BYTE_ARRAY,
                Encoding::ByteStreamSplit => Code::BYTE_STREAM_SPLIT,
                other => panic!("{other}"),
            };
            let mask = chunk.encodings_mask();
            assert!(mask.is_set(code), "{column} {encoding}: {:?}", chunk.encodings().collect::<Vec<_>>());
            assert_eq!(chunk.dictionary_page_offset().is_some(), *encoding == Encoding::Dictionary);
        }
    }
    // 1 boolean; 4 for each of four columns of integers; 3 float; 4 text; 3 for each of two fixed lengths.
    assert_eq!(n_written, 1 + 4 * 4 + 3 + 4 + 3 * 2);
}

#[test]
fn a_dictionary_that_is_full_continues_in_the_encoding() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("full.parquet");
    let text = StringArray::from_iter_values((0..60_000).map(|i| format!("a value like no other: {i:040}")));
    let batch = RecordBatch::try_from_iter([("text", Arc::new(text) as ArrayRef)]).unwrap();
    let options = of("encoding=delta-byte-array,dictionary=true");
    write(&file, std::slice::from_ref(&batch), ParquetOptions::default().with_column(["text"], options));
    let mask = *chunk(&file, "text").encodings_mask();
    assert!(mask.is_set(Code::RLE_DICTIONARY) && mask.is_set(Code::DELTA_BYTE_ARRAY));
    let (schema, found) = read(&file);
    assert_eq!(concat_batches(&schema, &found).unwrap().columns(), batch.columns());
}

#[test]
fn compression_and_statistics_of_a_column() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.parquet");
    let options = ParquetOptions::default()
        .with_column(["url"], of("compression=gzip:9,statistics=none"))
        .with_column(["id"], of("compression=none,statistics=chunk"))
        .with_column(["address", "city"], of("dictionary=true"));
    write(&file, &[batch(0, 100)], options);
    let url = chunk(&file, "url");
    assert!(matches!(url.compression(), Codec::GZIP(_)), "{:?}", url.compression());
    assert!(url.statistics().is_none());
    let id = chunk(&file, "id");
    assert_eq!(id.compression(), Codec::UNCOMPRESSED);
    assert!(id.statistics().is_some());
    assert!(chunk(&file, "address.city").dictionary_page_offset().is_some());
    let other = chunk(&file, "small");
    assert!(matches!(other.compression(), Codec::ZSTD(_)) && other.statistics().is_some());
    // The column index is what pages have.
    let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
    let metadata = reader.parse_and_finish(&File::open(&file).unwrap()).unwrap();
    let has_index = |column: &str| {
        let position =
            metadata.row_group(0).columns().iter().position(|it| it.column_path().string() == column);
        metadata.row_group(0).column(position.unwrap()).column_index_offset().is_some()
    };
    assert!(has_index("small") && !has_index("id") && !has_index("url"));
}

/// Large values have neither a dictionary nor statistics, unless they are chosen.
#[test]
fn a_choice_wins_over_what_large_values_suggest() {
    let folder = tempfile::tempdir().unwrap();
    let large = "x".repeat(100_000);
    let text: ArrayRef = Arc::new(StringArray::from(vec![large.as_str(); 3]));
    let batch = RecordBatch::try_from_iter([("a", text.clone()), ("b", text)]).unwrap();
    let file = folder.path().join("large.parquet");
    let options = of("encoding=delta-byte-array,statistics=chunk,dictionary=true");
    write(&file, std::slice::from_ref(&batch), ParquetOptions::default().with_column(["a"], options));
    let (a, b) = (chunk(&file, "a"), chunk(&file, "b"));
    assert!(a.statistics().is_some() && a.dictionary_page_offset().is_some());
    assert!(b.statistics().is_none() && b.dictionary_page_offset().is_none());
    assert_eq!(read(&file).1[0].columns(), batch.columns());
}

#[test]
fn bloom_filters_know_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bloom.parquet");
    let options = ParquetOptions::default()
        .with_row_group_rows(1000)
        .with_column(["id"], of("bloom=0.01"))
        .with_column(["url"], of("bloom=0.001,bloom-values=500,dictionary=true"))
        .with_column(["address", "zip"], of("bloom=0.05"));
    write(&file, &[batch(0, 700), batch(700, 1300)], options);
    let properties = ReaderProperties::builder().set_read_bloom_filter(true).build();
    let options = ReadOptionsBuilder::new().with_reader_properties(properties).build();
    let reader = SerializedFileReader::new_with_options(File::open(&file).unwrap(), options).unwrap();
    for group in 0..2 {
        let group_reader = reader.get_row_group(group).unwrap();
        let filter_of = |name: &str| {
            let columns = reader.metadata().row_group(group).columns();
            let position = columns.iter().position(|it| it.column_path().string() == name).unwrap();
            group_reader.get_column_bloom_filter(position)
        };
        let id = filter_of("id").unwrap();
        let start = group as i64 * 1000;
        let there = (start..start + 1000).filter(|i| i % 7 != 0);
        assert!(there.clone().all(|i| id.check(&i)));
        let false_positives = (10_000..20_000_i64).filter(|i| id.check(i)).count();
        assert!(false_positives < 300, "{false_positives}");
        assert!(filter_of("url").unwrap().check(&"https://example.com/of/2"));
        assert!(!filter_of("url").unwrap().check(&"https://example.com/of/none"));
        assert!(filter_of("address.zip").is_some());
        assert!(filter_of("small").is_none());
    }
}

#[test]
fn what_a_column_cannot_have() {
    let bloom = ParquetColumnOptions::default().with_bloom_filter(BloomFilter::new(0.01));
    let share = |share| ParquetColumnOptions::default().with_bloom_filter(BloomFilter::new(share));
    for (path, options, says) in [
        (&["flag"][..], bloom, "column \"flag\": a boolean has no bloom filter"),
        (&["tags", "list", "element"], bloom, "this one has lists"),
        (&["tags"], bloom, "column \"tags\" is made of others"),
        (&["address"], of("compression=none"), "of their own: address.city, address.zip"),
        (&["nothing"], bloom, "no such column is written; there are flag, small, id,"),
        (&["id", "x"], bloom, "options for column \"id.x\", but no such column"),
        (&["address.city"], bloom, "no such column"),
        (&["ID"], bloom, "no such column"),
        (&[], bloom, "made of others"),
        (&["key"], of("dictionary=true"), "FIXED_LEN_BYTE_ARRAY has no dictionary"),
        (&["flag"], of("dictionary=true"), "BOOLEAN has no dictionary"),
        (&["id"], of("encoding=dictionary,dictionary=false"), "leave out one of them"),
        (&["url"], of("encoding=byte-stream-split"), "choose plain, dictionary, delta-length-byte-array"),
        (&["id"], share(0.0), "between 0 and 1"),
        (&["id"], share(1.0), "between 0 and 1"),
        (&["id"], share(f64::NAN), "between 0 and 1"),
        (&["id"], of("bloom=0.01,bloom-values=200000000"), "larger than 128 MiB"),
        (&["id"], of("bloom=0.01,bloom-values=18446744073709551615"), "larger than 128 MiB"),
        (
            &["id"],
            ParquetColumnOptions::default().with_compression(Compression::Zstd(99)),
            "column \"id\": compression zstd:99: no such level",
        ),
    ] {
        let error = refused(path, options).to_string();
        assert!(error.contains(says), "{path:?}: {error}");
    }
}

#[test]
fn columns_that_a_file_does_not_have_can_be_left_out() {
    let schema = batch(0, 1).schema();
    let options = ParquetOptions::default()
        .with_column(["id"], of("statistics=none"))
        .with_column(["of another table"], of("statistics=none"))
        .with_column(["address", "country"], of("statistics=none"))
        .with_column(["address"], of("statistics=none"));
    let missing = options.missing_columns(&schema).unwrap();
    assert_eq!(missing, [vec!["address", "country"], vec!["of another table"]]);
    let options = options.without_columns(&missing);
    assert_eq!(options.missing_columns(&schema).unwrap(), Vec::<Vec<String>>::new());
    let error = ParquetSink::create(Output::writer(std::io::sink()), schema, options).unwrap_err();
    assert!(error.to_string().contains("made of others"), "{error}");
}

/// What filters take while a row group is open is in what a part says that it holds, and in what it wants.
#[test]
fn the_memory_of_bloom_filters_counts() {
    let held = |options: ParquetOptions| {
        let schema = batch(0, 1).schema();
        let sink = ParquetSink::create(Output::writer(std::io::sink()), schema, options).unwrap();
        let sink = SinkWriter::new(Box::new(sink), Stop::default());
        let wanted = sink.part_bytes();
        let mut part = sink.open_part(0).unwrap();
        let (idle, needed) = (part.held_bytes(), part.working_bytes(1000));
        part.write(&batch(0, 10)).unwrap();
        let held = part.held_bytes();
        part.finish().unwrap();
        (wanted, idle, needed, held)
    };
    // A million values at 0.01 are 1.2 MiB, and 2 MiB as a power of two. At 0.001 and 65,536 values: 128 KiB.
    let filters = 2 * (2 << 20) + (128 << 10);
    let (wanted, idle, needed, held_without) = held(ParquetOptions::default());
    let with = ParquetOptions::default()
        .with_column(["id"], of("bloom=0.01"))
        .with_column(["address", "city"], of("bloom=0.01"))
        .with_column(["url"], of("bloom=0.001,bloom-values=65536"));
    let (wanted_with, idle_with, needed_with, held_with) = held(with);
    assert_eq!((idle, idle_with), (0, 0));
    assert_eq!(wanted_with - wanted, 4 * filters, "so that there is room for values");
    assert_eq!(needed_with - needed, filters);
    assert_eq!(held_with - held_without, filters);
}
