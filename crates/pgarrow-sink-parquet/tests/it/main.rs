//! Tests of the Parquet sink, read back with the parquet crate's reader.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod columns;
mod compat;
mod geo;
mod leaf;
mod nested;
mod order;
mod ours;
mod readers;
mod round_trip;
mod row_groups;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::ParquetMetaData;
use pgarrow_sink::{Output, Sink, SinkWriter, Stop, Written, conformance};
use pgarrow_sink_parquet::{ParquetOptions, ParquetSink};

#[test]
fn keeps_the_promises_of_a_sink() {
    let make = |output, schema| {
        let sink = ParquetSink::create(output, schema, ParquetOptions::default())?;
        Ok(Box::new(sink) as Box<dyn Sink>)
    };
    conformance::check_sink(&make, &read);
}

/// Writes batches through one part and publishes them at `path`.
fn write(path: &Path, batches: &[RecordBatch], options: ParquetOptions) -> Written {
    let output = Output::file(path, false).unwrap();
    let sink = ParquetSink::create(output, batches[0].schema(), options).unwrap();
    let sink = SinkWriter::new(Box::new(sink), Stop::default());
    let mut part = sink.open_part(0).unwrap();
    for batch in batches {
        part.write(batch).unwrap();
    }
    part.finish().unwrap();
    sink.commit().unwrap()
}

fn read(path: &Path) -> (SchemaRef, Vec<RecordBatch>) {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let schema = builder.schema().clone();
    (schema, builder.build().unwrap().map(Result::unwrap).collect())
}

fn metadata(path: &Path) -> Arc<ParquetMetaData> {
    let file = File::open(path).unwrap();
    ArrowReaderMetadata::load(&file, Default::default()).unwrap().metadata().clone()
}
