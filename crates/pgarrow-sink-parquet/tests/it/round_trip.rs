//! Every type that an export produces comes back unchanged.

use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder, MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Int32Type, Time64MicrosecondType};
use arrow_array::*;
use arrow_buffer::{NullBuffer, i256};
use arrow_schema::{DataType, Field, Fields, IntervalUnit, Schema};
use parquet::basic::{LogicalType, TimeUnit, Type as PhysicalType};
use pgarrow_sink::{Output, SinkErrorKind, SinkWriter, Stop};
use pgarrow_sink_parquet::{Compression, ParquetOptions, ParquetSink};

use crate::{metadata, read, write};

#[test]
fn primitive_types() {
    check(vec![
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("int2", Arc::new(Int16Array::from(vec![Some(i16::MIN), None, Some(i16::MAX)]))),
        ("int4", Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(i32::MAX)]))),
        ("int8", Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX)]))),
        ("tid offset", Arc::new(UInt16Array::from(vec![Some(0), None, Some(u16::MAX)]))),
        ("oid", Arc::new(UInt32Array::from(vec![Some(0), None, Some(u32::MAX)]))),
        ("xid8", Arc::new(UInt64Array::from(vec![Some(0), None, Some(u64::MAX)]))),
        ("half", Arc::new(float16([Some(1.5), None, Some(-0.0)]))),
        ("float4", Arc::new(Float32Array::from(vec![Some(f32::INFINITY), None, Some(-0.0)]))),
        ("float8", Arc::new(Float64Array::from(vec![Some(f64::MIN), None, Some(f64::INFINITY)]))),
    ]);
}

#[test]
fn not_a_number_keeps_its_bits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nan.parquet");
    let nan = f64::from_bits(0x7ff8_0000_0000_beef);
    write(&path, &[batch(vec![("f", Arc::new(Float64Array::from(vec![nan, -0.0])))])], Default::default());
    let found = read(&path).1.remove(0);
    let bits: Vec<_> =
        found.column(0).as_primitive::<types::Float64Type>().values().iter().map(|v| v.to_bits()).collect();
    assert_eq!(bits, [nan.to_bits(), (-0.0_f64).to_bits()]);
}

#[test]
fn times() {
    let micros = vec![Some(i64::MIN), None, Some(i64::MAX)];
    check(vec![
        ("date", Arc::new(Date32Array::from(vec![Some(-2_440_588), None, Some(2_145_031_948)]))),
        // 24:00:00 is legal in PostgreSQL.
        ("time", Arc::new(Time64MicrosecondArray::from(vec![Some(0), None, Some(86_400_000_000)]))),
        ("timestamp", Arc::new(TimestampMicrosecondArray::from(micros.clone()))),
        ("timestamptz", Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC"))),
        ("ms", Arc::new(TimestampMillisecondArray::from(vec![Some(-1), None, Some(1)]))),
        ("ns", Arc::new(TimestampNanosecondArray::from(vec![Some(-1), None, Some(1)]))),
    ]);
}

#[test]
fn decimals_of_every_width() {
    let narrow = vec![Some(-999_999_999), None, Some(999_999_999)];
    let wide = i256::from_i128(i128::MAX).checked_mul(i256::from_i128(1_000_000_000)).unwrap();
    check(vec![
        ("9", Arc::new(Decimal128Array::from(narrow.clone()).with_precision_and_scale(9, 2).unwrap())),
        ("15", Arc::new(Decimal128Array::from(narrow.clone()).with_precision_and_scale(15, 2).unwrap())),
        ("38", Arc::new(Decimal128Array::from(narrow).with_precision_and_scale(38, 38).unwrap())),
        (
            "76",
            Arc::new(
                Decimal256Array::from(vec![Some(wide), None, Some(i256::ZERO.wrapping_sub(wide))])
                    .with_precision_and_scale(76, 10)
                    .unwrap(),
            ),
        ),
    ]);
}

#[test]
fn text_and_bytes() {
    let text = vec![Some(""), None, Some("ünïcödé 🐘\u{0}x")];
    let bytes: Vec<Option<&[u8]>> = vec![Some(b""), None, Some(b"\x00\xff")];
    check(vec![
        ("utf8", Arc::new(StringArray::from(text.clone()))),
        ("large utf8", Arc::new(LargeStringArray::from(text.clone()))),
        ("utf8 view", Arc::new(StringViewArray::from(text))),
        ("binary", Arc::new(BinaryArray::from(bytes.clone()))),
        ("large binary", Arc::new(LargeBinaryArray::from(bytes.clone()))),
        ("binary view", Arc::new(BinaryViewArray::from(bytes))),
    ]);
}

#[test]
fn enums_come_back_as_dictionaries() {
    let values = Arc::new(StringArray::from(vec!["sad", "ok", "happy"]));
    let keys = Int32Array::from(vec![Some(2), None, Some(0)]);
    let mood = Arc::new(DictionaryArray::<Int32Type>::new(keys, values));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("enum.parquet");
    write(&path, &[batch(vec![("mood", mood.clone())])], Default::default());
    let (schema, batches) = read(&path);
    assert_eq!(schema.field(0).data_type(), mood.data_type());
    let found = batches[0].column(0).as_dictionary::<Int32Type>();
    let found: Vec<_> = found.downcast_dict::<StringArray>().unwrap().into_iter().collect();
    assert_eq!(found, [Some("happy"), None, Some("sad")]);
}

#[test]
fn nested_types() {
    // Named as they are in Parquet: see `nested` for others.
    let item = |data_type| Arc::new(Field::new("element", data_type, true));
    let mut list = ListBuilder::new(Int32Builder::new()).with_field(item(DataType::Int32));
    list.append_value([Some(1), None, Some(3)]);
    list.append_null();
    list.append_value([]);
    let names = ["key_value", "key", "value"].map(str::to_owned);
    let [entry, key, value] = names;
    let names = Some(MapFieldNames { entry, key, value });
    let mut map = MapBuilder::new(names, StringBuilder::new(), StringBuilder::new());
    map.keys().append_value("k");
    map.values().append_null();
    map.append(true).unwrap();
    map.append(false).unwrap();
    map.append(true).unwrap();
    let fields: Fields = vec![
        Field::new("lower", DataType::Int32, true),
        Field::new("empty", DataType::Boolean, false),
        Field::new("name", DataType::Utf8, true),
    ]
    .into();
    let children: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![Some(1), None, None])),
        Arc::new(BooleanArray::from(vec![true, false, false])),
        Arc::new(StringArray::from(vec![None, None, Some("x")])),
    ];
    let nulls = Some(NullBuffer::from(vec![true, false, true]));
    let numbers = Float32Array::from(vec![Some(1.0), Some(2.0), None, None, Some(3.0), None]);
    let nulls_of_vectors = Some(NullBuffer::from(vec![true, false, true]));
    let vectors = FixedSizeListArray::new(item(DataType::Float32), 2, Arc::new(numbers), nulls_of_vectors);
    check(vec![
        ("list", Arc::new(list.finish())),
        ("map", Arc::new(map.finish())),
        ("range", Arc::new(StructArray::new(fields, children, nulls))),
        ("vector", Arc::new(vectors)),
    ]);
}

#[test]
fn extension_types_become_logical_types() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("extensions.parquet");
    let uuid = FixedSizeBinaryArray::try_from_iter([[7_u8; 16]].iter()).unwrap();
    let extended = |field: Field, pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        field.with_metadata(pairs.collect())
    };
    let fields = vec![
        extended(
            Field::new("u", DataType::FixedSizeBinary(16), true),
            &[("ARROW:extension:name", "arrow.uuid"), ("pg.type", "uuid")],
        ),
        extended(
            Field::new("j", DataType::Utf8, true),
            &[("ARROW:extension:name", "arrow.json"), ("ARROW:extension:metadata", ""), ("pg.type", "jsonb")],
        ),
    ];
    let schema = Arc::new(Schema::new(fields));
    let columns: Vec<ArrayRef> = vec![Arc::new(uuid), Arc::new(StringArray::from(vec!["{\"a\": 1}"]))];
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    write(&path, std::slice::from_ref(&batch), Default::default());
    let (found, batches) = read(&path);
    assert_eq!(found, schema);
    assert_eq!(batches, [batch]);
    let metadata = metadata(&path);
    let columns = metadata.file_metadata().schema_descr().columns().to_vec();
    assert_eq!(columns[0].logical_type_ref(), Some(&LogicalType::Uuid));
    assert_eq!(columns[1].logical_type_ref(), Some(&LogicalType::Json));
}

#[test]
fn the_footer_says_what_it_should() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("footer.parquet");
    let array = TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC");
    let field = Field::new("at", array.data_type().clone(), false);
    let pairs = [("pg.table", "public.t"), ("pg.server_version", "180001")];
    let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let schema = Arc::new(Schema::new_with_metadata(vec![field], pairs.clone().into()));
    let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(array)]).unwrap();
    write(&path, &[batch], Default::default());

    let metadata = metadata(&path);
    let file = metadata.file_metadata();
    let version = concat!("pgarrow version ", env!("CARGO_PKG_VERSION"));
    assert_eq!(file.created_by(), Some(version));
    let keys: Vec<_> = file.key_value_metadata().unwrap().iter().map(|pair| pair.key.as_str()).collect();
    assert_eq!(keys, ["pg.server_version", "pg.table", "ARROW:schema"]);
    let column = file.schema_descr().column(0);
    assert_eq!(column.physical_type(), PhysicalType::INT64);
    let utc = LogicalType::Timestamp(parquet::basic::TimestampType {
        is_adjusted_to_u_t_c: true,
        unit: TimeUnit::MICROS,
    });
    assert_eq!(column.logical_type_ref(), Some(&utc));
    assert_eq!(read(&path).0, schema);
}

#[test]
fn every_compression_is_readable_and_deterministic() {
    let folder = tempfile::tempdir().unwrap();
    let batch = batch(vec![("id", Arc::new(Int64Array::from_iter_values((0..5000).map(|i| i / 3))))]);
    for name in ["none", "snappy", "lz4", "gzip:1", "brotli:1", "zstd", "zstd:3"] {
        let compression: Compression = name.parse().unwrap();
        let paths = ["a", "b"].map(|copy| folder.path().join(format!("{copy}-{name}.parquet")));
        for path in &paths {
            let options = ParquetOptions::default().with_compression(compression);
            write(path, std::slice::from_ref(&batch), options);
        }
        assert_eq!(read(&paths[0]).1.iter().map(RecordBatch::num_rows).sum::<usize>(), 5000, "{name}");
        assert_eq!(std::fs::read(&paths[0]).unwrap(), std::fs::read(&paths[1]).unwrap(), "{name}");
    }
}

#[test]
fn repeated_names_are_readable_and_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("names.parquet");
    let columns: [ArrayRef; 2] =
        [Arc::new(Int32Array::from(vec![1])), Arc::new(StringArray::from(vec!["x"]))];
    let schema = Arc::new(Schema::new(vec![
        Field::new("a", DataType::Int32, false),
        Field::new("a", DataType::Utf8, false),
    ]));
    let batch = RecordBatch::try_new(schema.clone(), columns.to_vec()).unwrap();
    let sink = ParquetSink::create(Output::file(&path, false).unwrap(), schema, Default::default()).unwrap();
    assert_eq!(sink.warnings().len(), 1);
    let sink = SinkWriter::new(Box::new(sink), Stop::default());
    let mut part = sink.open_part(0).unwrap();
    part.write(&batch).unwrap();
    part.finish().unwrap();
    sink.commit().unwrap();
    let (schema, batches) = read(&path);
    assert_eq!((schema.field(0).name().as_str(), schema.field(1).name().as_str()), ("a", "a_2"));
    assert_eq!(batches[0].columns(), columns);
}

#[test]
fn dots_in_names_do_not_split_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dots.parquet");
    let batch =
        batch(vec![("a.b", Arc::new(Int32Array::from(vec![1]))), ("a", Arc::new(Int32Array::from(vec![2])))]);
    write(&path, std::slice::from_ref(&batch), Default::default());
    assert_eq!(read(&path).1, [batch]);
}

#[test]
fn refused_schemas_and_batches() {
    let folder = tempfile::tempdir().unwrap();
    let create = |fields: Vec<Field>| {
        let output = Output::file(folder.path().join("x.parquet"), false).unwrap();
        ParquetSink::create(output, Arc::new(Schema::new(fields)), ParquetOptions::default())
    };
    let interval = Field::new("i", DataType::Interval(IntervalUnit::MonthDayNano), true);
    assert_eq!(create(vec![interval]).unwrap_err().kind(), SinkErrorKind::Unsupported);
    assert_eq!(create(vec![]).unwrap_err().kind(), SinkErrorKind::Unsupported);
    assert!(folder.path().read_dir().unwrap().next().is_none(), "a refusal leaves no temporary file");

    let sink = create(vec![Field::new("a", DataType::Int32, false)]).unwrap();
    let sink = SinkWriter::new(Box::new(sink), Stop::default());
    let mut part = sink.open_part(0).unwrap();
    for (column, says) in [
        (Arc::new(Int64Array::from(vec![1])) as ArrayRef, "is Int64, in the output it is Int32"),
        (Arc::new(Int32Array::from(vec![None])), "may be null"),
    ] {
        let error = part.write(&batch(vec![("a", column)])).unwrap_err();
        assert_eq!(error.kind(), SinkErrorKind::Encode);
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// Writes columns of three rows, whole and in slices, and compares types and values after reading them back.
#[track_caller]
fn check(columns: Vec<(&str, ArrayRef)>) {
    let folder = tempfile::tempdir().unwrap();
    let whole = batch(columns);
    let slices: Vec<_> = (0..whole.num_rows()).map(|row| whole.slice(row, 1)).collect();
    for (name, batches) in [("whole", std::slice::from_ref(&whole)), ("slices", &slices)] {
        let path = folder.path().join(name);
        let written = write(&path, batches, ParquetOptions::default());
        assert_eq!(written.rows, whole.num_rows() as u64);
        let (schema, found) = read(&path);
        assert_eq!(schema, whole.schema());
        assert_eq!(found, std::slice::from_ref(&whole));
    }
    // The last value of a time, which PostgreSQL allows and strict readers do not, is written unchanged.
    if let Some(time) = whole.column_by_name("time") {
        assert_eq!(time.as_primitive::<Time64MicrosecondType>().value(2), 86_400_000_000);
    }
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| {
        let nullable = array.is_nullable();
        (name, array, nullable)
    }))
    .unwrap()
}

fn float16<const N: usize>(values: [Option<f32>; N]) -> Float16Array {
    type Half = <Float16Type as ArrowPrimitiveType>::Native;
    values.into_iter().map(|value| value.map(Half::from_f32)).collect()
}
