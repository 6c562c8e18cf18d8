//! Loads record batches into a table that the load creates.

#![expect(clippy::print_stdout, reason = "an example")]

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use pgarrow_load::{Load, LoadMode, LoadOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let batch = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![1, 2])) as _),
        ("name", Arc::new(StringArray::from(vec!["one", "two"])) as _),
    ])?;
    // An empty conninfo takes the connection from PGHOST, PGUSER and so on.
    let load = Load::into("", "numbers")?.options(LoadOptions::default().with_mode(LoadMode::Create));
    let mut loading = load.open(batch.schema())?;
    loading.write(&batch)?;
    let report = loading.finish()?;
    println!("{} rows in {}", report.rows, report.target);
    Ok(())
}
