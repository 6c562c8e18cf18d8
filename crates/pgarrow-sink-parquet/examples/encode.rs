//! Measures encoding: TPC-H `lineitem` in memory to Parquet that is discarded, by one thread.
//!
//! ```text
//! cargo run --release -p pgarrow-sink-parquet --example encode -- [SCALE] [ROUNDS]
//! ```
//!
//! For all columns together and for each alone: ns of CPU a row (the best round), bytes a row in the file,
//! and the most bytes that the part held. This includes compression and all else that a row group needs, but
//! not making the batches.
#![expect(clippy::print_stdout, reason = "a program that measures prints what it measured")]

use std::error::Error;
use std::io;
use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, Date32Array, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow_schema::{Field, Schema};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use pgarrow_sink::{Output, SinkWriter, Stop};
use pgarrow_sink_parquet::{ParquetOptions, ParquetSink};
use tpchgen::generators::{LineItem, LineItemGenerator};

// The allocator of the command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As the reader cuts batches: at this many rows, or at 8 MiB, which here comes later.
const BATCH_ROWS: usize = 32 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let scale: f64 = args.next().map_or(Ok(0.2), |arg| arg.parse())?;
    let rounds: usize = args.next().map_or(Ok(5), |arg| arg.parse())?;

    let items: Vec<_> = LineItemGenerator::new(scale, 1, 1).iter().collect();
    let batches = items.chunks(BATCH_ROWS).map(batch).collect::<Result<Vec<_>, _>>()?;
    let rows = items.len();
    drop(items);
    println!("{:16} {:>8} {:>10} {:>12}", "column", "ns/row", "bytes/row", "held MiB");
    report("all", rows, &batches, rounds)?;
    let schema = batches[0].schema();
    for (index, field) in schema.fields().iter().enumerate() {
        let column = batches.iter().map(|batch| batch.project(&[index])).collect::<Result<Vec<_>, _>>()?;
        report(field.name(), rows, &column, rounds)?;
    }
    Ok(())
}

fn report(name: &str, rows: usize, batches: &[RecordBatch], rounds: usize) -> Result<(), Box<dyn Error>> {
    let mut best = f64::INFINITY;
    let (mut bytes, mut held) = (0, 0);
    for _ in 0..rounds {
        let begun = cpu()?;
        (bytes, held) = encode(batches)?;
        best = best.min((cpu()? - begun) as f64 * 1000.0 / rows as f64);
    }
    let (bytes, held) = (bytes as f64 / rows as f64, held as f64 / f64::from(1 << 20));
    println!("{name:16} {best:8.1} {bytes:10.2} {held:12.1}");
    Ok(())
}

/// Returns the bytes of the file and the most that the part held.
fn encode(batches: &[RecordBatch]) -> Result<(u64, usize), Box<dyn Error>> {
    let output = Output::writer(io::sink());
    let sink = ParquetSink::create(output, batches[0].schema(), ParquetOptions::default())?;
    let sink = SinkWriter::new(Box::new(sink), Stop::default());
    let mut part = sink.open_part(0)?;
    let mut held = 0;
    for batch in batches {
        part.write(batch)?;
        held = held.max(part.held_bytes());
    }
    part.finish()?;
    Ok((sink.commit()?.bytes, held))
}

/// Microseconds of CPU that this process has used.
fn cpu() -> Result<i64, nix::Error> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = |time: TimeVal| time.num_microseconds();
    Ok(micros(usage.user_time()) + micros(usage.system_time()))
}

fn batch(items: &[LineItem<'_>]) -> Result<RecordBatch, arrow_schema::ArrowError> {
    let long = |value: fn(&LineItem<'_>) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(items.iter().map(value)))
    };
    let money = |value: fn(&LineItem<'_>) -> i64| -> Result<ArrayRef, arrow_schema::ArrowError> {
        let values = items.iter().map(|item| i128::from(value(item)));
        Ok(Arc::new(Decimal128Array::from_iter_values(values).with_precision_and_scale(15, 2)?))
    };
    let date = |value: fn(&LineItem<'_>) -> i32| -> ArrayRef {
        Arc::new(Date32Array::from_iter_values(items.iter().map(value)))
    };
    // char(n) comes padded with blanks.
    let text = |width: usize, value: for<'a> fn(&'a LineItem<'_>) -> &'a str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(items.iter().map(|item| format!("{:width$}", value(item)))))
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("l_orderkey", long(|item| item.l_orderkey)),
        ("l_partkey", long(|item| item.l_partkey)),
        ("l_suppkey", long(|item| item.l_suppkey)),
        ("l_linenumber", Arc::new(Int32Array::from_iter_values(items.iter().map(|item| item.l_linenumber)))),
        ("l_quantity", money(|item| item.l_quantity * 100)?),
        ("l_extendedprice", money(|item| item.l_extendedprice.0)?),
        ("l_discount", money(|item| item.l_discount.0)?),
        ("l_tax", money(|item| item.l_tax.0)?),
        ("l_returnflag", text(1, |item| item.l_returnflag)),
        ("l_linestatus", text(1, |item| item.l_linestatus)),
        ("l_shipdate", date(|item| item.l_shipdate.to_unix_epoch())),
        ("l_commitdate", date(|item| item.l_commitdate.to_unix_epoch())),
        ("l_receiptdate", date(|item| item.l_receiptdate.to_unix_epoch())),
        ("l_shipinstruct", text(25, |item| item.l_shipinstruct)),
        ("l_shipmode", text(10, |item| item.l_shipmode)),
        ("l_comment", text(0, |item| item.l_comment)),
    ];
    let fields = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), false));
    let schema = Schema::new(fields.collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, column)| column).collect())
}
