//! Reads a table in batches: `cargo run --example read_table -- postgres://me@localhost/shop orders`

#![expect(clippy::print_stdout, reason = "an example")]

use pgarrow::{Result, Source};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let connection = arguments.next().unwrap_or_default();
    let table = arguments.next().unwrap_or_else(|| "pg_catalog.pg_class".to_owned());

    let source = Source::connect_blocking(&connection)?;
    let mut rows = 0;
    for batch in source.table(table).reader()? {
        let batch = batch?; // an arrow RecordBatch
        rows += batch.num_rows();
    }
    println!("{rows} rows");
    Ok(())
}
