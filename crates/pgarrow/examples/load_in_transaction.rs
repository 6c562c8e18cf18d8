//! Two loads and a statement in one transaction: all of it is committed, or nothing. `cargo run --example
//! load_in_transaction -- postgres://me@localhost/shop orders`

#![expect(clippy::print_stdout, reason = "an example")]

use std::sync::Arc;

use pgarrow::arrow::array::{Int32Array, RecordBatch, RecordBatchIterator};
use pgarrow::load::{Connection, Load};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (conninfo, table) =
        arguments.next().zip(arguments.next()).ok_or("usage: load_in_transaction CONNECTION TABLE")?;
    let batch = |ids: Vec<i32>| RecordBatch::try_from_iter([("id", Arc::new(Int32Array::from(ids)) as _)]);

    let connection = Connection::connect(&conninfo)?;
    connection.begin()?;
    connection.execute(&format!("DELETE FROM {table} WHERE id > 69998"))?;

    // For batches in memory: open the load, write to it, finish it.
    let first = batch(vec![70_001, 70_002])?;
    let mut loading = Load::in_transaction(&connection, &table)?.open(first.schema())?;
    loading.write(&first)?;
    let mut rows = loading.finish()?.rows;

    // A reader of batches is loaded in one call.
    let second = batch(vec![70_003])?;
    let reader = RecordBatchIterator::new([Ok(second)], first.schema());
    rows += Load::in_transaction(&connection, &table)?.load_reader(reader)?.rows;

    // A load that fails leaves the transaction as it was, so the transaction continues.
    let failed = Load::in_transaction(&connection, "no_such_table")?.open(first.schema());
    println!("as expected: {}", failed.is_err());

    // Other sessions see none of it before this.
    connection.commit()?;
    println!("{rows} rows");
    Ok(())
}
