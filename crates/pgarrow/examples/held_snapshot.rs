//! Plans a table, holds its snapshot, and reads its slices as other processes would: `cargo run --example
//! held_snapshot -- postgres://me@localhost/shop orders`

#![expect(clippy::print_stdout, reason = "an example")]

use pgarrow::{PoolOptions, Result, Slice, Source};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let connection = arguments.next().unwrap_or_default();
    let table = arguments.next().unwrap_or_else(|| "pg_catalog.pg_class".to_owned());

    let source = Source::connect_blocking(&connection)?.with_pool(PoolOptions::default().with_idle_max(1));
    let mut held = source.table(&table).open()?.into_held();
    // A token is text: send it to any process that can connect to the same server.
    let tokens: Vec<String> = held.slices()?.iter().map(Slice::to_json).collect::<Result<_>>()?;

    let mut rows = 0;
    for token in &tokens {
        // The other process.
        let slice = Slice::from_json(token)?;
        rows += source.slice(slice).open()?.for_each(|_| Ok(()))?.rows;
        // Back here: does the snapshot still exist?
        held.check()?;
    }
    held.release()?;
    println!("{rows} rows in {} slices of one moment", tokens.len());
    Ok(())
}
