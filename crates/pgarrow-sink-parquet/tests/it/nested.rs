//! Types inside lists, structs and maps: their Parquet schema, and how independent readers read them.

use std::sync::Arc;

use arrow_array::builder::{
    FixedSizeBinaryBuilder, LargeListBuilder, LargeStringBuilder, ListBuilder, MapBuilder, StringBuilder,
    StringDictionaryBuilder, StringViewBuilder, UInt64Builder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Int32Type};
use arrow_array::*;
use arrow_buffer::{NullBuffer, i256};
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema};
use parquet::basic::{LogicalType, Repetition};
use parquet::schema::types::Type;
use pgarrow_sink_parquet::{ParquetOptions, parquet_types};
use pgarrow_testkit::{Capability, Python, require};

use crate::{metadata, read, write};

fn item(data_type: DataType) -> FieldRef {
    Arc::new(Field::new("item", data_type, true))
}

/// Three rows of every form of nesting: a value, NULL, and something empty or NULL inside.
fn columns() -> Vec<(&'static str, ArrayRef)> {
    let mut moods = ListBuilder::new(StringDictionaryBuilder::<Int32Type>::new());
    moods.append_value([Some("sad"), None, Some("ok"), Some("sad")]);
    moods.append_null();
    moods.append_value(std::iter::empty::<Option<&str>>());

    let mut views = ListBuilder::new(StringViewBuilder::new());
    views.append_value([Some("a text of more than twelve bytes"), Some("é")]);
    views.append_null();
    views.append_value([None::<&str>]);

    let mut large = LargeListBuilder::new(LargeStringBuilder::new());
    large.append_value([Some("x"), None]);
    large.append_null();
    large.append_value(std::iter::empty::<Option<&str>>());

    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    map.keys().append_value("k");
    map.values().append_null();
    map.keys().append_value("");
    map.values().append_value("v");
    map.append(true).unwrap();
    map.append(false).unwrap();
    map.append(true).unwrap();

    let mut matrix = ListBuilder::new(ListBuilder::new(UInt64Builder::new()));
    matrix.values().append_value([Some(1), Some(u64::MAX)]);
    matrix.values().append_value([None, Some(0)]);
    matrix.append(true);
    matrix.append(false);
    matrix.append(true);

    let uuid = [("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())].into();
    let uuid_item = Field::new("item", DataType::FixedSizeBinary(16), true).with_metadata(uuid);
    let mut uuids = ListBuilder::new(FixedSizeBinaryBuilder::new(16)).with_field(uuid_item);
    uuids.values().append_value([7; 16]).unwrap();
    uuids.append(true);
    uuids.append(false);
    uuids.append(true);

    type Half = <Float16Type as ArrowPrimitiveType>::Native;
    let halves = [0.5, 1.0, 0.0, 0.0, -2.0, 65504.0].map(Half::from_f32);
    let halves = Float16Array::from_iter_values(halves);
    let nulls = Some(NullBuffer::from(vec![true, false, true]));
    let halves = FixedSizeListArray::new(item(DataType::Float16), 2, Arc::new(halves), nulls);

    vec![
        ("moods", Arc::new(moods.finish())),
        ("views", Arc::new(views.finish())),
        ("large", Arc::new(large.finish())),
        ("map", Arc::new(map.finish())),
        ("matrix", Arc::new(matrix.finish())),
        ("uuids", Arc::new(uuids.finish())),
        ("halves", Arc::new(halves)),
        ("ranges", ranges()),
    ]
}

/// Lists of structs, as multiranges and arrays of composites are.
fn ranges() -> ArrayRef {
    let wide = i256::from_i128(i128::MAX).checked_mul(i256::from_i128(1000)).unwrap();
    let wide = Decimal256Array::from(vec![Some(wide), None]).with_precision_and_scale(50, 3).unwrap();
    let labels = Arc::new(StringArray::from(vec!["sad", "ok"]));
    let mood = DictionaryArray::<Int32Type>::new(Int32Array::from(vec![Some(1), None]), labels);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None]).with_timezone("UTC"))),
        ("wide", Arc::new(wide)),
        ("mood", Arc::new(mood)),
        ("block", Arc::new(UInt32Array::from(vec![Some(u32::MAX), None]))),
        ("offset", Arc::new(UInt16Array::from(vec![Some(u16::MAX), None]))),
    ];
    let fields: Fields =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let structs =
        StructArray::new(fields.clone(), columns.into_iter().map(|(_, array)| array).collect(), None);
    let nulls = Some(NullBuffer::from(vec![true, false, true]));
    let offsets = arrow_buffer::OffsetBuffer::from_lengths([2, 0, 0]);
    Arc::new(ListArray::new(item(DataType::Struct(fields)), offsets, Arc::new(structs), nulls))
}

fn batch() -> RecordBatch {
    let columns = columns();
    let fields = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns.into_iter().map(|(_, array)| array).collect()).unwrap()
}

#[test]
fn types_in_words() {
    assert_eq!(
        parquet_types(&batch().schema()).unwrap(),
        [
            "LIST<BYTE_ARRAY (STRING)>",
            "LIST<BYTE_ARRAY (STRING)>",
            "LIST<BYTE_ARRAY (STRING)>",
            "MAP<BYTE_ARRAY (STRING), BYTE_ARRAY (STRING)>",
            "LIST<LIST<INT64 (INTEGER(64,false))>>",
            "LIST<FIXED_LEN_BYTE_ARRAY(16) (UUID)>",
            "LIST<FIXED_LEN_BYTE_ARRAY(2) (FLOAT16)>",
            "LIST<STRUCT<at: INT64 (TIMESTAMP(MICROS,true)), wide: FIXED_LEN_BYTE_ARRAY(21) (DECIMAL(50,3)), \
             mood: BYTE_ARRAY (STRING), block: INT32 (INTEGER(32,false)), offset: INT32 (INTEGER(16,false))>>",
        ]
    );
}

/// The rules of parquet-java and readers like it: no repeated group without a list or a map around it, and
/// the specification's names.
#[test]
fn groups_are_as_the_specification_wants_them() {
    fn check(parquet: &Type) {
        assert_ne!(parquet.get_basic_info().repetition(), Repetition::REPEATED, "{parquet:?}");
        if parquet.is_primitive() {
            return;
        }
        let fields = parquet.get_fields();
        let names = |group: &Type| -> Vec<String> {
            group.get_fields().iter().map(|field| field.name().to_owned()).collect()
        };
        match parquet.get_basic_info().logical_type_ref() {
            None => fields.iter().for_each(|field| check(field)),
            Some(annotation) => {
                let (middle, inner) = match annotation {
                    LogicalType::List => ("list", vec!["element"]),
                    LogicalType::Map => ("key_value", vec!["key", "value"]),
                    other => panic!("a group that is a {other:?}"),
                };
                assert_eq!(
                    (names(parquet), names(&fields[0])),
                    (vec![middle.to_owned()], inner.into_iter().map(str::to_owned).collect())
                );
                assert_eq!(fields[0].get_basic_info().repetition(), Repetition::REPEATED);
                fields[0].get_fields().iter().for_each(|field| check(field));
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nested.parquet");
    write(&path, &[batch()], Default::default());
    metadata(&path).file_metadata().schema().get_fields().iter().for_each(|field| check(field));
}

#[test]
fn values_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nested.parquet");
    let whole = batch();
    let slices: Vec<_> = (0..whole.num_rows()).map(|row| whole.slice(row, 1)).collect();
    for batches in [std::slice::from_ref(&whole), &slices] {
        let path = path.with_extension(batches.len().to_string());
        write(&path, batches, Default::default());
        let (schema, found) = read(&path);
        for (field, expected) in schema.fields().iter().zip(whole.schema().fields()) {
            assert!(
                field.data_type().equals_datatype(&without_dictionaries(expected.data_type())),
                "{field:?}"
            );
        }
        let found = &found[0];
        assert_eq!(found.num_rows(), whole.num_rows());
        // The same children, under Parquet's names.
        for name in ["views", "matrix", "uuids"] {
            let [found, expected] =
                [found, &whole].map(|batch| batch.column_by_name(name).unwrap().as_list::<i32>());
            assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{name}");
        }
        let moods = found.column_by_name("moods").unwrap().as_list::<i32>().values().as_string::<i32>();
        assert_eq!(moods.iter().collect::<Vec<_>>(), [Some("sad"), None, Some("ok"), Some("sad")]);
        let map =
            |batch: &RecordBatch| format!("{:?}", batch.column_by_name("map").unwrap().as_map().values());
        assert_eq!(map(found), map(&whole));
    }
}

/// The types that the file has inside lists and structs.
fn without_dictionaries(data_type: &DataType) -> DataType {
    let plain = |field: &FieldRef| {
        Arc::new(field.as_ref().clone().with_data_type(without_dictionaries(field.data_type())))
    };
    match data_type {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        DataType::List(item) => DataType::List(plain(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain).collect()),
        other => other.clone(),
    }
}

/// One line for each column, as pyarrow and DuckDB print it.
const SCRIPT: &str = r#"
import sys, duckdb, pyarrow.parquet as pq
path = sys.argv[1]
duckdb.sql("SET TimeZone = 'UTC'")
table = pq.read_table(path)
table.validate(full=True)
file = pq.ParquetFile(path)
assert file.read().equals(table)
for column in table.column_names:
    assert file.read(columns=[column]).equals(table.select([column]))
for name in table.column_names:
    print(name, table[name].to_pylist())
for name in table.column_names:
    print(name, [row[0] for row in duckdb.sql(f"SELECT {name}::VARCHAR FROM '{path}'").fetchall()])
"#;

#[test]
fn independent_readers_agree() {
    require!(Capability::Python);
    let folder = tempfile::tempdir().unwrap();
    // In row groups of one row, too: before, `ParquetFile.read()` failed for such a file with "Nested data
    // conversions not implemented for chunked array outputs", since the dictionaries of nested enums were in
    // the embedded schema.
    for row_group_rows in [1, 1_000] {
        let path = folder.path().join(format!("{row_group_rows}.parquet"));
        write(&path, &[batch()], ParquetOptions::default().with_row_group_rows(row_group_rows));
        assert_eq!(metadata(&path).num_row_groups(), if row_group_rows == 1 { 3 } else { 1 });
        let printed = Python::shared().run(SCRIPT, &[path.to_str().unwrap()]);
        assert_eq!(printed, PRINTED.trim_start());
    }
}

/// (DuckDB's decimals end at 38 digits; it reads wider ones as doubles.)
const PRINTED: &str = r#"
moods [['sad', None, 'ok', 'sad'], None, []]
views [['a text of more than twelve bytes', 'é'], None, [None]]
large [['x', None], None, []]
map [[('k', None), ('', 'v')], None, []]
matrix [[[1, 18446744073709551615], [None, 0]], None, []]
uuids [[UUID('07070707-0707-0707-0707-070707070707')], None, []]
halves [[0.5, 1.0], None, [-2.0, 65504.0]]
ranges [[{'at': datetime.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=zoneinfo.ZoneInfo(key='UTC')), 'wide': Decimal('170141183460469231731687303715884105727.000'), 'mood': 'ok', 'block': 4294967295, 'offset': 65535}, {'at': None, 'wide': None, 'mood': None, 'block': None, 'offset': None}], None, []]
moods ['[sad, NULL, ok, sad]', None, '[]']
views ['[a text of more than twelve bytes, é]', None, '[NULL]']
large ['[x, NULL]', None, '[]']
map ["{k=NULL, ''=v}", None, '{}']
matrix ['[[1, 18446744073709551615], [NULL, 0]]', None, '[]']
uuids ['[07070707-0707-0707-0707-070707070707]', None, '[]']
halves ['[0.5, 1.0]', None, '[-2.0, 65504.0]']
ranges ["[{'at': '1969-12-31 23:59:59.999999+00', 'wide': 1.7014118346046923e+38, 'mood': ok, 'block': 4294967295, 'offset': 65535}, {'at': NULL, 'wide': NULL, 'mood': NULL, 'block': NULL, 'offset': NULL}]", None, '[]']
"#;

#[test]
fn field_ids_of_nested_fields() {
    let with_id =
        |field: Field, id: i32| field.with_metadata([("PARQUET:field_id".to_owned(), id.to_string())].into());
    let inner: Fields = vec![with_id(Field::new("x", DataType::Int32, true), 100_002)].into();
    let list = with_id(Field::new("item", DataType::Struct(inner), true), 100_001);
    let entries: Fields = vec![
        with_id(Field::new("keys", DataType::Utf8, false), 200_001),
        with_id(Field::new("values", DataType::Utf8, true), 200_002),
    ]
    .into();
    let entries = Arc::new(Field::new("entries", DataType::Struct(entries), false));
    let schema = Arc::new(Schema::new(vec![
        with_id(Field::new("l", DataType::List(Arc::new(list)), true), 1),
        with_id(Field::new("m", DataType::Map(entries, false), true), 2),
    ]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ids.parquet");
    write(&path, &[RecordBatch::new_empty(schema)], Default::default());

    fn ids(parquet: &Type, found: &mut Vec<(String, i32)>) {
        let info = parquet.get_basic_info();
        if info.has_id() {
            found.push((info.name().to_owned(), info.id()));
        }
        if !parquet.is_primitive() {
            parquet.get_fields().iter().for_each(|field| ids(field, found));
        }
    }
    let mut found = Vec::new();
    let metadata = metadata(&path);
    metadata.file_metadata().schema().get_fields().iter().for_each(|field| ids(field, &mut found));
    let expected =
        [("l", 1), ("element", 100_001), ("x", 100_002), ("m", 2), ("key", 200_001), ("value", 200_002)];
    assert_eq!(found, expected.map(|(name, id)| (name.to_owned(), id)));
}
