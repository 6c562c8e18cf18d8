//! pyarrow reads what several parts wrote: blocks, dictionaries, compression.

use std::path::Path;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use pgarrow_sink::{Output, SinkWriter, Stop};
use pgarrow_sink_ipc::{IpcCompression, IpcFormat, IpcOptions, IpcSink};
use pgarrow_testkit::{Capability, Python, require};

use crate::FORMATS;

/// Reads every batch by its own place in the footer, if there is one.
const PYARROW: &str = r#"
import sys, pyarrow as pa
kind, path = sys.argv[1:]
if kind == "File":
    file = pa.ipc.open_file(path)
    batches = [file.get_batch(index) for index in reversed(range(file.num_record_batches))]
else:
    batches = list(pa.ipc.open_stream(path))
rows = sorted(row for batch in batches for row in zip(*(column.to_pylist() for column in batch.columns)))
for batch in batches:
    batch.validate(full=True)
print(len(batches), len(rows), all(row == (i, f"né {i}", ["sad", "happy"][i % 2]) for i, row in enumerate(rows)))
"#;

#[test]
fn pyarrow_reads_what_several_parts_wrote() {
    require!(Capability::Python);
    let folder = tempfile::tempdir().unwrap();
    for format in FORMATS {
        for compression in [IpcCompression::None, IpcCompression::Lz4, IpcCompression::Zstd] {
            let path = folder.path().join(format!("{format:?}{compression}"));
            write(&path, format, compression);
            let args = [&*format!("{format:?}"), path.to_str().unwrap()];
            assert_eq!(Python::shared().run(PYARROW, &args).trim_end(), "8 4000 True", "{args:?}");
        }
    }
}

/// Two parts in turn, 4 batches of 500 rows each, with dictionaries that are equal but not the same.
fn write(path: &Path, format: IpcFormat, compression: IpcCompression) {
    let options = IpcOptions::default().with_format(format).with_compression(compression);
    let output = Output::file(path, false).unwrap();
    let sink = IpcSink::create(output, batch(0).schema(), options).unwrap();
    let sink = SinkWriter::new(Box::new(sink), Stop::default());
    let mut parts = [0, 1].map(|index| sink.open_part(index).unwrap());
    for step in 0..8 {
        parts[step % 2].write(&batch(step * 500)).unwrap();
    }
    for part in parts {
        part.finish().unwrap();
    }
    sink.commit().unwrap();
}

fn batch(start: usize) -> RecordBatch {
    let rows = start..start + 500;
    let labels: ArrayRef = Arc::new(StringArray::from(vec!["sad", "happy"]));
    let keys = Int32Array::from_iter_values(rows.clone().map(|row| row as i32 % 2));
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(Int64Array::from_iter_values(rows.clone().map(|row| row as i64)))),
        ("name", Arc::new(StringArray::from_iter_values(rows.map(|row| format!("né {row}"))))),
        ("mood", Arc::new(DictionaryArray::<Int32Type>::new(keys, labels))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}
