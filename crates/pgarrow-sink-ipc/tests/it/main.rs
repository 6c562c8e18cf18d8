//! Tests of the Arrow IPC sink, read back with arrow's readers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod nested;
mod ours;
mod readers;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{Int32Builder, ListBuilder};
use arrow_array::types::Int32Type;
use arrow_array::*;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef};
use pgarrow_sink::{Output, Sink, SinkError, SinkErrorKind, SinkWriter, Stop, Written, conformance};
use pgarrow_sink_ipc::{IpcCompression, IpcFormat, IpcOptions, IpcSink};

const FORMATS: [IpcFormat; 2] = [IpcFormat::File, IpcFormat::Stream];

#[test]
fn keeps_the_promises_of_a_sink() {
    for format in FORMATS {
        for compression in [IpcCompression::None, IpcCompression::Lz4, IpcCompression::Zstd] {
            let options = IpcOptions::default().with_format(format).with_compression(compression);
            let make = |output, schema| {
                let sink = IpcSink::create(output, schema, options)?;
                Ok(Box::new(sink) as Box<dyn Sink>)
            };
            conformance::check_sink(&make, &|path| read(path, format));
        }
    }
}

#[test]
fn types_come_back() {
    let mut list = ListBuilder::new(Int32Builder::new());
    list.append_value([Some(1), None]);
    list.append_null();
    let fields: Fields = vec![Field::new("months", DataType::Int32, true)].into();
    let parts: ArrayRef = Arc::new(StructArray::new(
        fields,
        vec![Arc::new(Int32Array::from(vec![Some(1), None]))],
        Some(vec![true, false].into()),
    ));
    let interval = arrow_array::types::IntervalMonthDayNano::new(-1, 2, 3);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("text", Arc::new(StringArray::from(vec![Some(""), None]))),
        ("view", Arc::new(StringViewArray::from(vec![Some("a text of more than twelve bytes"), None]))),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(&b"\x00"[..]), None]))),
        ("time", Arc::new(Time64MicrosecondArray::from(vec![Some(86_400_000_000), None]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(1), None]).with_timezone("UTC"))),
        ("interval", Arc::new(IntervalMonthDayNanoArray::from(vec![Some(interval), None]))),
        ("decimal", Arc::new(Decimal256Array::from(vec![None, None]))),
        ("mood", moods(&["sad", "happy"], &[Some(1), None])),
        ("list", Arc::new(list.finish())),
        ("struct", parts),
        // Arrow finds columns by position: a repeated name stays.
        ("text", Arc::new(StringArray::from(vec![Some("b"), None]))),
    ];
    let fields = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
    let schema = Arc::new(Schema::new_with_metadata(
        fields.collect::<Vec<_>>(),
        [("pg.table".to_owned(), "public.t".to_owned())].into(),
    ));
    let columns = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        write(&path, schema.clone(), &[batch.clone(), batch.slice(1, 1)], format).unwrap();
        assert_eq!(read(&path, format), (schema.clone(), vec![batch.clone(), batch.slice(1, 1)]));
    }
}

#[test]
fn a_table_without_columns_keeps_its_rows() {
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let options = RecordBatchOptions::new().with_row_count(Some(3));
        let schema = Arc::new(Schema::empty());
        let batch = RecordBatch::try_new_with_options(schema.clone(), vec![], &options).unwrap();
        let written = write(&path, schema, &[batch.clone(), batch], format).unwrap();
        assert_eq!(written.rows, 6);
        assert_eq!(read(&path, format).1.iter().map(RecordBatch::num_rows).sum::<usize>(), 6);
    }
}

#[test]
fn an_enum_shares_one_dictionary() {
    let folder = tempfile::tempdir().unwrap();
    let schema = moods_schema();
    let labels: ArrayRef = Arc::new(StringArray::from(vec!["sad", "happy"]));
    let batches: Vec<_> = (0..50)
        .map(|i| {
            let keys = Int32Array::from(vec![i % 2; 10]);
            let mood = DictionaryArray::<Int32Type>::new(keys, labels.clone());
            RecordBatch::try_new(schema.clone(), vec![Arc::new(mood)]).unwrap()
        })
        .collect();
    for format in FORMATS {
        let path = folder.path().join(format!("{format:?}"));
        write(&path, schema.clone(), &batches, format).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let dictionaries = bytes.windows(8).filter(|window| window == b"sadhappy").count();
        assert_eq!(dictionaries, 1, "{format:?}");
        assert_eq!(read(&path, format).1, batches);
    }
}

#[test]
fn an_enum_that_grew_during_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let schema = moods_schema();
    let batches = [
        RecordBatch::try_new(schema.clone(), vec![moods(&["sad"], &[Some(0)])]).unwrap(),
        RecordBatch::try_new(schema.clone(), vec![moods(&["sad", "new"], &[Some(1)])]).unwrap(),
    ];
    let path = folder.path().join("stream");
    write(&path, schema.clone(), &batches, IpcFormat::Stream).unwrap();
    assert_eq!(read(&path, IpcFormat::Stream).1, batches);

    let path = folder.path().join("file");
    let error = write(&path, schema, &batches, IpcFormat::File).unwrap_err();
    assert_eq!(error.kind(), SinkErrorKind::Encode);
    let text = error.to_string();
    assert!(text.starts_with("a label was added to the enum of a column (\"mood\") while"), "{text}");
    assert!(text.ends_with("read enums as text (enums=text), or run the export again"), "{text}");
    assert!(!path.exists());
}

#[test]
fn a_failed_write_ends_the_output_for_all_parts() {
    let schema = moods_schema();
    let batch = RecordBatch::try_new(schema.clone(), vec![moods(&["sad"], &[Some(0); 4096])]).unwrap();
    for format in FORMATS {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let options = IpcOptions::default().with_format(format);
        let sink = IpcSink::create(Output::writer(full), schema.clone(), options).unwrap();
        let sink = SinkWriter::new(Box::new(sink), Stop::default());
        let (mut one, mut two) = (sink.open_part(0).unwrap(), sink.open_part(1).unwrap());
        let error = std::iter::repeat_with(|| one.write(&batch)).find_map(Result::err).unwrap();
        assert_eq!(error.kind(), SinkErrorKind::DiskFull, "{error:?}");
        assert_eq!(two.write(&batch).unwrap_err().kind(), SinkErrorKind::Incomplete);
        two.finish().unwrap();
        assert!(sink.commit().is_err());
    }
}

#[test]
fn a_full_disk_shows_even_when_all_fits_into_the_buffer() {
    for format in FORMATS {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let options = IpcOptions::default().with_format(format);
        let sink = IpcSink::create(Output::writer(full), moods_schema(), options).unwrap();
        let error = Box::new(sink).commit().unwrap_err();
        assert_eq!(error.kind(), SinkErrorKind::DiskFull, "{error:?}");
    }
}

fn write(
    path: &Path,
    schema: SchemaRef,
    batches: &[RecordBatch],
    format: IpcFormat,
) -> Result<Written, SinkError> {
    let output = Output::file(path, false)?;
    let sink = IpcSink::create(output, schema, IpcOptions::default().with_format(format))?;
    let sink = SinkWriter::new(Box::new(sink), Stop::default());
    let mut part = sink.open_part(0)?;
    for batch in batches {
        part.write(batch)?;
    }
    part.finish()?;
    sink.commit()
}

fn read(path: &Path, format: IpcFormat) -> (SchemaRef, Vec<RecordBatch>) {
    let file = File::open(path).unwrap();
    match format {
        IpcFormat::Stream => {
            let reader = StreamReader::try_new_buffered(file, None).unwrap();
            (reader.schema(), reader.map(Result::unwrap).collect())
        }
        _ => {
            let reader = FileReader::try_new_buffered(file, None).unwrap();
            (reader.schema(), reader.map(Result::unwrap).collect())
        }
    }
}

fn moods(labels: &[&str], keys: &[Option<i32>]) -> ArrayRef {
    let labels = Arc::new(StringArray::from(labels.to_vec()));
    Arc::new(DictionaryArray::<Int32Type>::new(Int32Array::from(keys.to_vec()), labels))
}

fn moods_schema() -> SchemaRef {
    let mood = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    Arc::new(Schema::new(vec![Field::new("mood", mood, true)]))
}
