//! Loads a stream of record batches into a table that is made for it, under any async runtime or none:
//! `cargo run --example load_stream -- postgres://me@localhost/shop orders` copies `orders` to `orders_copy`.

#![expect(clippy::print_stdout, reason = "an example")]

use futures_util::StreamExt;
use pgarrow::load::{Load, LoadMode, LoadOptions};
use pgarrow::{Result, Source};

async fn copy(conninfo: &str, table: &str) -> Result<()> {
    // Any stream of batches works; this one comes from an export.
    let run = Source::connect(conninfo).await?.table(table).open_async().await?;
    let holders = run.holders();
    let stream = run.into_stream()?;
    let schema = stream.schema();
    // It can be changed like any other stream.
    let batches = stream.filter(|batch| {
        let is_wanted = !batch.as_ref().is_ok_and(|batch| batch.num_rows() == 0);
        async move { is_wanted }
    });

    let options = LoadOptions::default().with_mode(LoadMode::Create);
    let load = Load::into(conninfo, &format!("{table}_copy"))?.options(options).fed_by(holders);
    // Dropping this future rolls the load back.
    let report = load.load_stream(schema, batches).await?;
    println!("{} rows in {}", report.rows, report.target);
    Ok(())
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (conninfo, table) =
        arguments.next().zip(arguments.next()).ok_or("usage: load_stream CONNECTION TABLE")?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    Ok(runtime.block_on(copy(&conninfo, &table))?)
}
