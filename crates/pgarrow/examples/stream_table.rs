//! Reads a table as a stream of Arrow record batches, under any async runtime or none.
#![expect(clippy::print_stdout, reason = "an example shows what it reads")]

use futures_util::TryStreamExt;
use pgarrow::Source;

async fn stream_table(conninfo: &str, table: &str) -> pgarrow::Result<()> {
    let source = Source::connect(conninfo).await?;
    let mut stream = source.table(table).stream().await?;
    println!("{}", stream.schema());
    // The table was read as a whole only if this ends without an error.
    while let Some(batch) = stream.try_next().await? {
        println!("{} rows", batch.num_rows());
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (conninfo, table) =
        arguments.next().zip(arguments.next()).ok_or("usage: stream_table CONNECTION TABLE")?;
    // Any executor does: pgarrow needs none of its own.
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    Ok(runtime.block_on(stream_table(&conninfo, &table))?)
}
