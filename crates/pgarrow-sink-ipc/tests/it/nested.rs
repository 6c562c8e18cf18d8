//! Types inside types, above all dictionaries, which are messages of their own.

use std::sync::Arc;

use arrow_array::builder::{
    LargeListBuilder, LargeStringBuilder, MapBuilder, StringBuilder, StringViewBuilder,
};
use arrow_array::types::Float16Type;
use arrow_array::*;
use arrow_buffer::{NullBuffer, OffsetBuffer, i256};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use pgarrow_sink::{Output, SinkErrorKind, SinkWriter, Stop};
use pgarrow_sink_ipc::{IpcCompression, IpcFormat, IpcOptions, IpcSink};
use pgarrow_testkit::{Capability, Python, require};

use crate::{FORMATS, moods, read, write};

fn mood_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

/// Lists, structs and maps of one enum, and another enum beside them: four dictionaries.
fn schema() -> SchemaRef {
    let pair = vec![field("mood", mood_type()), field("n", DataType::Int32)];
    let entries: Fields =
        vec![Field::new("keys", DataType::Utf8, false), field("values", mood_type())].into();
    let entries = Field::new("entries", DataType::Struct(entries), false);
    Arc::new(Schema::new(vec![
        field("list", DataType::List(Arc::new(field("item", mood_type())))),
        field("struct", DataType::Struct(pair.into())),
        field("map", DataType::Map(Arc::new(entries), false)),
        field("flag", mood_type()),
    ]))
}

/// Three rows: two values, NULL, and an empty value. Each batch has its own dictionaries, as each reader
/// does.
fn batch(labels: &[&str]) -> RecordBatch {
    let schema = schema();
    let keys = [Some(1), None, Some(0)];
    let nulls = || Some(NullBuffer::from(vec![true, false, true]));
    let child = |index: usize| match schema.field(index).data_type() {
        DataType::List(child) | DataType::Map(child, _) => Some(Arc::clone(child)),
        _ => None,
    };
    let fields = |data_type: &DataType| match data_type {
        DataType::Struct(fields) => Some(fields.clone()),
        _ => None,
    };
    let [item, entry] = [0, 2].map(|index| child(index).unwrap());
    let offsets = || OffsetBuffer::from_lengths([3, 0, 0]);
    let list = ListArray::new(item, offsets(), moods(labels, &keys), nulls());
    let pair = fields(schema.field(1).data_type()).unwrap();
    let numbers = Arc::new(Int32Array::from(vec![1, 2, 3]));
    let structs = StructArray::new(pair, vec![moods(labels, &keys), numbers], nulls());
    let pair = fields(entry.data_type()).unwrap();
    let names = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    let entries = StructArray::new(pair, vec![names, moods(labels, &keys)], None);
    let map = MapArray::new(entry, offsets(), entries, nulls(), false);
    let flag = moods(&["no", "yes"], &[Some(1), None, Some(0)]);
    let columns: Vec<ArrayRef> = vec![Arc::new(list), Arc::new(structs), Arc::new(map), flag];
    RecordBatch::try_new(schema, columns).unwrap()
}

#[test]
fn enums_inside_of_types_come_back() {
    let folder = tempfile::tempdir().unwrap();
    for format in FORMATS {
        let path = folder.path().join(format!("{format:?}"));
        let whole = batch(&["sad", "happy"]);
        let batches = [whole.clone(), whole.slice(1, 2), whole.slice(2, 1), batch(&["sad", "happy"])];
        write(&path, whole.schema(), &batches, format).unwrap();
        assert_eq!(read(&path, format), (whole.schema(), batches.to_vec()));
        // One dictionary for each place, with any number of batches.
        let bytes = std::fs::read(&path).unwrap();
        let count = |text: &[u8]| bytes.windows(text.len()).filter(|window| *window == text).count();
        assert_eq!((count(b"sadhappy"), count(b"noyes")), (3, 1), "{format:?}");
    }
}

#[test]
fn a_label_that_was_added_inside_of_a_type() {
    let folder = tempfile::tempdir().unwrap();
    let batches = [batch(&["sad", "happy"]), batch(&["sad", "happy", "new"])];
    let path = folder.path().join("stream");
    write(&path, schema(), &batches, IpcFormat::Stream).unwrap();
    assert_eq!(read(&path, IpcFormat::Stream).1, batches);

    let path = folder.path().join("file");
    let error = write(&path, schema(), &batches, IpcFormat::File).unwrap_err();
    assert_eq!(error.kind(), SinkErrorKind::Encode);
    let text = error.to_string();
    assert!(text.starts_with("a label was added to the enum of a column (\"list\", \"struct\""), "{text}");
    assert!(!path.exists());
}

/// Types without a dictionary, three rows of each.
fn plain() -> RecordBatch {
    type Half = <Float16Type as ArrowPrimitiveType>::Native;
    let halves = Float16Array::from_iter_values([0.5, 1.0, 0.0, 0.0, -2.0, 65504.0].map(Half::from_f32));
    let nulls = || Some(NullBuffer::from(vec![true, false, true]));
    let item = |data_type: DataType| Arc::new(field("item", data_type));
    let vectors = FixedSizeListArray::new(item(DataType::Float16), 2, Arc::new(halves), nulls());
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringViewBuilder::new());
    map.keys().append_value("k");
    map.values().append_value("a text of more than twelve bytes");
    map.append(true).unwrap();
    map.append(false).unwrap();
    map.append(true).unwrap();
    let wide = i256::from_i128(i128::MAX).checked_mul(i256::from_i128(1000)).unwrap();
    let wide = Decimal256Array::from(vec![Some(wide), None, Some(i256::ZERO)]);
    let views = BinaryViewArray::from(vec![Some(&b"more than twelve bytes"[..]), None, Some(b"")]);
    let mut large = LargeListBuilder::new(LargeStringBuilder::new());
    large.append_value([Some("x"), None]);
    large.append_null();
    large.append_value(std::iter::empty::<Option<&str>>());
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("vectors", Arc::new(vectors)),
        ("map", Arc::new(map.finish())),
        ("wide", Arc::new(wide.with_precision_and_scale(50, 3).unwrap())),
        ("views", Arc::new(views)),
        ("large", Arc::new(large.finish())),
        // A composite type without attributes.
        ("nothing", Arc::new(StructArray::new_empty_fields(3, nulls()))),
        ("oid", Arc::new(UInt32Array::from(vec![Some(u32::MAX), None, Some(0)]))),
    ];
    let fields = columns.iter().map(|(name, array)| field(name, array.data_type().clone()));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns.into_iter().map(|(_, array)| array).collect()).unwrap()
}

#[test]
fn what_has_no_dictionary_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let whole = plain();
    let batches = [whole.clone(), whole.slice(1, 2), whole.slice(0, 1)];
    for format in FORMATS {
        let path = folder.path().join(format!("{format:?}"));
        write(&path, whole.schema(), &batches, format).unwrap();
        assert_eq!(read(&path, format), (whole.schema(), batches.to_vec()));
    }
}

#[test]
fn types_that_are_too_deep_for_readers_are_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    for (depth, is_read) in [(60, true), (61, false)] {
        let wrapped = |inner, _| DataType::Struct(vec![field("a", inner)].into());
        let data_type = (0..depth).fold(DataType::Int32, wrapped);
        let schema = Arc::new(Schema::new(vec![field("x", data_type)]));
        let path = folder.path().join(depth.to_string());
        write(&path, schema.clone(), &[RecordBatch::new_empty(schema.clone())], IpcFormat::File).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        assert_eq!(arrow_ipc::reader::FileReader::try_new_buffered(file, None).is_ok(), is_read, "{depth}");
        let output = Output::file(folder.path().join("other"), false).unwrap();
        let sink = IpcSink::create(output, schema, IpcOptions::default()).unwrap();
        assert_eq!(sink.warnings().is_empty(), is_read, "{:?}", sink.warnings());
    }
}

const PYARROW: &str = r#"
import sys, pyarrow as pa
kind, path = sys.argv[1:]
reader = pa.ipc.open_file(path) if kind == "File" else pa.ipc.open_stream(path)
table = reader.read_all()
table.validate(full=True)
for name in table.column_names:
    values = table[name].to_pylist()
    print(name, values[:3], values == values[:3] * (len(values) // 3))
"#;

/// Two parts in turn, as two readers write.
#[test]
fn pyarrow_reads_what_several_parts_wrote() {
    require!(Capability::Python);
    let folder = tempfile::tempdir().unwrap();
    for format in FORMATS {
        for compression in [IpcCompression::None, IpcCompression::Zstd] {
            for (name, make, printed) in [
                ("enums", (|| batch(&["sad", "happy"])) as fn() -> RecordBatch, ENUMS),
                ("plain", plain, PLAIN),
            ] {
                let path = folder.path().join(format!("{name}{format:?}{compression}"));
                let options = IpcOptions::default().with_format(format).with_compression(compression);
                let output = Output::file(&path, false).unwrap();
                let sink = IpcSink::create(output, make().schema(), options).unwrap();
                let sink = SinkWriter::new(Box::new(sink), Stop::default());
                let mut parts = [0, 1].map(|index| sink.open_part(index).unwrap());
                for step in 0..6 {
                    parts[step % 2].write(&make()).unwrap();
                }
                for part in parts {
                    part.finish().unwrap();
                }
                sink.commit().unwrap();
                let args = [&*format!("{format:?}"), path.to_str().unwrap()];
                assert_eq!(Python::shared().run(PYARROW, &args), printed.trim_start(), "{args:?}");
            }
        }
    }
}

const ENUMS: &str = r#"
list [['happy', None, 'sad'], None, []] True
struct [{'mood': 'happy', 'n': 1}, None, {'mood': 'sad', 'n': 3}] True
map [[('a', 'happy'), ('b', None), ('c', 'sad')], None, []] True
flag ['yes', None, 'no'] True
"#;

const PLAIN: &str = r#"
vectors [[0.5, 1.0], None, [-2.0, 65504.0]] True
map [[('k', 'a text of more than twelve bytes')], None, []] True
wide [Decimal('170141183460469231731687303715884105727.000'), None, Decimal('0.000')] True
views [b'more than twelve bytes', None, b''] True
large [['x', None], None, []] True
nothing [{}, None, {}] True
oid [4294967295, None, 0] True
"#;
