//! Shows ten rows of a table, counts all of them, and prints the export's warnings: `cargo run --example
//! preview_table -- postgres://me@localhost/shop orders`

#![expect(clippy::print_stdout, reason = "an example")]

use pgarrow::{PoolOptions, Result, Source};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let connection = arguments.next().unwrap_or_default();
    let table = arguments.next().unwrap_or_else(|| "pg_catalog.pg_class".to_owned());

    // One session is kept, so that the second export does not connect again.
    let source = Source::connect_blocking(&connection)?.with_pool(PoolOptions::default().with_idle_max(1));

    let mut reader = source.table(&table).limit(10).reader()?;
    for batch in reader.by_ref() {
        println!("{:?}", batch?);
    }
    for warning in reader.report().into_iter().flat_map(|report| &report.warnings) {
        println!("warning: {warning}");
    }

    // Without columns, an export only counts rows.
    let none: [&str; 0] = [];
    let report = source.table(&table).columns(none).open()?.for_each(|_| Ok(()))?;
    println!("{} rows", report.rows);
    Ok(())
}
