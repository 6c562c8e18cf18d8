//! pyarrow and DuckDB read text without a dictionary, also pages without a value.

use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, RecordBatch, StringArray};
use pgarrow_sink_parquet::ParquetOptions;
use pgarrow_testkit::{Capability, Python, require};

use crate::{metadata, write};

const SCRIPT: &str = r#"
import sys, duckdb, pyarrow.parquet as pq
path = sys.argv[1]
def check(rows):
    for i, (text, data) in enumerate(rows):
        expected = None if 30_000 <= i < 90_000 else f"né {i * i:x}"
        assert (text, data) == (expected, expected and expected.encode()), (i, text, data)
    print(len(rows))
table = pq.read_table(path)
check(list(zip(*(column.to_pylist() for column in table.columns))))
check(duckdb.execute(f"SELECT * FROM '{path}'").fetchall())
value = f"né {99_999 ** 2:x}"
print(duckdb.execute(f"SELECT count(*) FROM '{path}' WHERE text = $1", [value]).fetchone()[0])
print(pq.read_table(path, filters=[("text", "==", value)]).num_rows)
"#;

#[test]
fn text_without_a_dictionary() {
    require!(Capability::Python);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.parquet");
    // The sample finds that a dictionary does not pay; later pages of 32,768 rows have no value at all.
    let values =
        || (0..100_000_u64).map(|i| (!(30_000..90_000).contains(&i)).then(|| format!("né {:x}", i * i)));
    let columns: [(&str, ArrayRef); 2] = [
        ("text", Arc::new(values().collect::<StringArray>())),
        (
            "bytes",
            Arc::new(
                values()
                    .collect::<Vec<_>>()
                    .iter()
                    .map(|v| v.as_deref().map(str::as_bytes))
                    .collect::<BinaryArray>(),
            ),
        ),
    ];
    write(&path, &[RecordBatch::try_from_iter(columns).unwrap()], ParquetOptions::default());
    for column in metadata(&path).row_group(0).columns() {
        let delta = parquet::basic::Encoding::DELTA_LENGTH_BYTE_ARRAY;
        assert!(column.encodings().any(|encoding| encoding == delta), "{column:?}");
    }
    assert_eq!(Python::shared().run(SCRIPT, &[path.to_str().unwrap()]).trim_end(), "100000\n100000\n1\n1");
}
