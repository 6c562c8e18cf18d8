//! One suite that every sink has to pass, in any format. For tests only (feature `testing`).
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test suite fails by panicking")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use crate::error::{SinkError, SinkErrorKind};
use crate::output::Output;
use crate::outputs::Outputs;
use crate::sink::{Sink, Stop, Written};
use crate::writer::SinkWriter;

mod folders;
mod turns;

/// Makes a sink for outputs and a schema.
pub type Make<'a> = &'a dyn Fn(Outputs, SchemaRef) -> Result<Box<dyn Sink>, SinkError>;
/// Reads a published file back: its schema and its batches.
pub type Read<'a> = &'a dyn Fn(&Path) -> (SchemaRef, Vec<RecordBatch>);

/// Checks that a sink keeps what [`Sink`] and [`Part`](crate::Part) promise.
///
/// # Panics
///
/// If it does not.
pub fn check_sink(make: Make<'_>, read: Read<'_>) {
    written_rows_come_back(make, read);
    parts_write_side_by_side(make, read);
    an_empty_output_has_a_schema(make, read);
    dropped_without_commit_leaves_nothing(make);
    an_unfinished_part_fails_the_commit(make);
    an_existing_file_is_refused(make);
    overwriting_happens_at_the_commit(make, read);
    a_name_taken_during_the_run_is_refused(make);
    a_stream_gets_the_same_bytes(make);
    turns::check(make, read);
    folders::check(make, read);
}

fn written_rows_come_back(make: Make<'_>, read: Read<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let sink = make_file(make, &path);
    let mut part = sink.open_part(0).unwrap();
    for start in [0, 1000, 2000] {
        part.write(&batch(start, 1000)).unwrap();
    }
    part.write(&batch(3000, 0)).unwrap();
    assert_eq!(part.finish().unwrap().rows, 3000);
    assert_eq!(names(folder.path()).len(), 1, "only the temporary file before the commit");
    assert!(!path.exists());
    let written = sink.commit().unwrap();
    check_written(&written, &path, 3000);
    assert_eq!(names(folder.path()), ["out"]);
    assert_eq!(rows(read, &path), expected(0..3000));
}

fn parts_write_side_by_side(make: Make<'_>, read: Read<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let sink = make_file(make, &path);
    std::thread::scope(|scope| {
        for index in 0..2_usize {
            let sink = &sink;
            scope.spawn(move || {
                let mut part = sink.open_part(index).unwrap();
                for start in 0..10 {
                    part.write(&batch((index * 1000 + start * 100) as i64, 100)).unwrap();
                }
                assert_eq!(part.finish().unwrap().rows, 1000);
            });
        }
    });
    // A reader that found nothing to read.
    assert_eq!(sink.open_part(2).unwrap().finish().unwrap().rows, 0);
    check_written(&sink.commit().unwrap(), &path, 2000);
    assert_eq!(rows(read, &path), expected(0..2000));
}

fn an_empty_output_has_a_schema(make: Make<'_>, read: Read<'_>) {
    for parts in [0, 1] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let sink = make_file(make, &path);
        for index in 0..parts {
            assert_eq!(sink.open_part(index).unwrap().finish().unwrap().rows, 0);
        }
        check_written(&sink.commit().unwrap(), &path, 0);
        let (found, _) = read(&path);
        assert_eq!(found, schema());
        assert!(rows(read, &path).is_empty());
    }
}

fn dropped_without_commit_leaves_nothing(make: Make<'_>) {
    for finish in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let sink = make_file(make, &folder.path().join("out"));
        let mut part = sink.open_part(0).unwrap();
        part.write(&batch(0, 1000)).unwrap();
        if finish {
            part.finish().unwrap();
            drop(sink);
        } else {
            // The sink first: an unwinding run loop may drop them in any order.
            drop(sink);
            drop(part);
        }
        assert!(names(folder.path()).is_empty());
    }
}

fn an_unfinished_part_fails_the_commit(make: Make<'_>) {
    for dropped in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let sink = make_file(make, &folder.path().join("out"));
        let mut part = sink.open_part(0).unwrap();
        part.write(&batch(0, 10)).unwrap();
        let part = (!dropped).then_some(part);
        let Err(error) = sink.commit() else { panic!("committed with an unfinished part") };
        assert_eq!(error.kind(), SinkErrorKind::Incomplete, "{error:?}");
        drop(part);
        assert!(names(folder.path()).is_empty());
    }
}

fn an_existing_file_is_refused(make: Make<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    fs::write(&path, "theirs").unwrap();
    let made = Output::file(&path, false).and_then(|output| make(output.into(), schema()));
    let Err(error) = made else { panic!("an existing file was accepted") };
    assert_eq!(error.kind(), SinkErrorKind::Exists, "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), b"theirs");
    assert_eq!(names(folder.path()), ["out"]);
}

fn overwriting_happens_at_the_commit(make: Make<'_>, read: Read<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    fs::write(&path, "old").unwrap();
    let sink = writer(make(Output::file(&path, true).unwrap().into(), schema()).unwrap());
    let mut part = sink.open_part(0).unwrap();
    part.write(&batch(0, 10)).unwrap();
    part.finish().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"old");
    sink.commit().unwrap();
    assert_eq!(rows(read, &path), expected(0..10));
    assert_eq!(names(folder.path()), ["out"]);
}

fn a_name_taken_during_the_run_is_refused(make: Make<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let sink = make_file(make, &path);
    fs::write(&path, "theirs").unwrap();
    let Err(error) = sink.commit() else { panic!("another program's file was replaced") };
    assert_eq!(error.kind(), SinkErrorKind::Exists, "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), b"theirs");
    assert_eq!(names(folder.path()), ["out"]);
}

fn a_stream_gets_the_same_bytes(make: Make<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let copy = folder.path().join("copy");
    let stream = fs::File::create(&copy).unwrap();
    for output in [Output::file(&path, false).unwrap(), Output::writer(stream)] {
        let sink = writer(make(output.into(), schema()).unwrap());
        let mut part = sink.open_part(0).unwrap();
        part.write(&batch(0, 10)).unwrap();
        part.finish().unwrap();
        let written = sink.commit().unwrap();
        assert_eq!((written.rows, written.files.len()), (10, 1));
        assert_eq!(written.bytes, fs::metadata(&path).unwrap().len());
    }
    assert_eq!(fs::read(&path).unwrap(), fs::read(&copy).unwrap());
}

fn make_file(make: Make<'_>, path: &Path) -> SinkWriter<'static> {
    writer(make(Output::file(path, false).unwrap().into(), schema()).unwrap())
}

fn writer(sink: Box<dyn Sink>) -> SinkWriter<'static> {
    SinkWriter::new(sink, Stop::default())
}

fn check_written(written: &Written, path: &Path, rows: u64) {
    let [file] = written.files.as_slice() else { panic!("one file, not {:?}", written.files) };
    assert_eq!((written.rows, file.rows), (rows, rows));
    assert_eq!(file.path.as_deref(), Some(path));
    assert_eq!(written.bytes, file.bytes);
    assert_eq!(file.bytes, fs::metadata(path).unwrap().len());
}

fn schema() -> SchemaRef {
    let metadata = [("pg.table".to_owned(), "public.t".to_owned())].into();
    let id = Field::new("id", DataType::Int64, false)
        .with_metadata([("pg.type".to_owned(), "bigint".to_owned())].into());
    Arc::new(Schema::new_with_metadata(vec![id, Field::new("name", DataType::Utf8, true)], metadata))
}

fn batch(start: i64, rows: i64) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(start..start + rows));
    let names: ArrayRef = Arc::new((start..start + rows).map(name_of).collect::<StringArray>());
    RecordBatch::try_new(schema(), vec![ids, names]).unwrap()
}

fn name_of(id: i64) -> Option<String> {
    (id % 7 != 0).then(|| format!("name {id}"))
}

fn expected(ids: std::ops::Range<i64>) -> Vec<(i64, Option<String>)> {
    ids.map(|id| (id, name_of(id))).collect()
}

/// The rows of a file, sorted by id: parts may append in any order.
fn rows(read: Read<'_>, path: &Path) -> Vec<(i64, Option<String>)> {
    let mut rows = rows_in_order(read, path);
    rows.sort_unstable();
    rows
}

fn rows_in_order(read: Read<'_>, path: &Path) -> Vec<(i64, Option<String>)> {
    let mut rows = Vec::new();
    for batch in read(path).1 {
        let ids = batch.column(0).as_primitive::<Int64Type>();
        let names = batch.column(1).as_string::<i32>();
        rows.extend(ids.values().iter().zip(names).map(|(id, name)| (*id, name.map(str::to_owned))));
    }
    rows
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
