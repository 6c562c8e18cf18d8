//! Files of exports, and those of others.

use std::fs::{self, File};
use std::sync::Arc;

use arrow_array::{Int32Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use pgarrow_sink_parquet::is_ours;

use crate::write;

#[test]
fn a_file_says_who_has_written_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let batch = RecordBatch::try_from_iter([("a", Arc::new(Int32Array::from(vec![1])) as _)]).unwrap();
    // Another program writes it again, with all the metadata: it does not count as an export's file.
    let mut schema = batch.schema().as_ref().clone();
    schema.metadata.insert("pg.table".to_owned(), "pgarrow version 1".to_owned());
    let batch = batch.with_schema(Arc::new(schema)).unwrap();
    write(&at("ours"), std::slice::from_ref(&batch), Default::default());
    assert!(is_ours(at("ours")));

    let mut other = ArrowWriter::try_new(File::create(at("other")).unwrap(), batch.schema(), None).unwrap();
    other.write(&batch).unwrap();
    other.close().unwrap();
    let whole = fs::read(at("ours")).unwrap();
    fs::write(at("cut"), &whole[..whole.len() - 1]).unwrap();
    fs::write(at("begun"), &whole[..8]).unwrap();
    fs::write(at("empty"), "").unwrap();
    fs::write(at("text"), "pgarrow version 1").unwrap();
    fs::create_dir(at("folder")).unwrap();
    for name in ["other", "cut", "begun", "empty", "text", "folder", "missing"] {
        assert!(!is_ours(at(name)), "{name}");
    }
}
