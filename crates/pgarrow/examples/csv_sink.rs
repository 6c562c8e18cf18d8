//! A format of one's own, in 60 lines: a table as CSV, to a file or to stdout, by two readers and in the
//! table's order.
//! `cargo run --example csv_sink -- postgres://me@localhost/shop orders orders.csv`

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use arrow_csv::WriterBuilder;
use pgarrow::arrow::array::RecordBatch;
use pgarrow::sink::{Chunk, Chunks, Output, Part, Sink, SinkError, Stop, Written, WrittenFile};
use pgarrow::{ExportOptions, Result, Source};

/// All readers share it: it appends, and publishes the file once it is complete.
struct CsvSink(Mutex<(Output, u64)>);

/// Each reader has one: it encodes, without a lock.
struct CsvPart;

impl Part for CsvPart {
    fn write(&mut self, batch: &RecordBatch, chunks: &mut Chunks<'_>) -> Result<(), SinkError> {
        let mut lines = Vec::new();
        let encoded = WriterBuilder::new().with_header(false).build(&mut lines).write(batch);
        encoded.map_err(|error| SinkError::encode("encode a batch as CSV", None, error))?;
        chunks.push(Chunk::new(batch.num_rows() as u64, lines.capacity(), lines))
    }

    /// Text is larger than Arrow's numbers, and its vector doubles as it grows.
    fn working_bytes(&self, batch_bytes: usize) -> usize {
        batch_bytes.saturating_mul(8)
    }
}

impl Sink for CsvSink {
    fn open_part(&self) -> Result<Box<dyn Part>, SinkError> {
        Ok(Box::new(CsvPart))
    }

    fn append(&self, _lane: usize, chunk: Chunk, _stop: &Stop) -> Result<(), SinkError> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (output, rows) = &mut *file;
        *rows += chunk.rows();
        let lines: Vec<u8> = chunk.into_encoded()?;
        output.write_all(&lines).map_err(|error| SinkError::io("write", output.path(), error))
    }

    fn commit(self: Box<Self>) -> Result<Written, SinkError> {
        let (output, rows) = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(WrittenFile::of(output.publish()?, rows).into())
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let connection = arguments.next().unwrap_or_default();
    let table = arguments.next().unwrap_or_else(|| "pg_catalog.pg_class".to_owned());

    let options = ExportOptions::default().with_readers(2).with_order(true);
    let run = Source::connect_blocking(&connection)?.table(&table).options(options).open()?;
    let mut output = match arguments.next() {
        Some(path) => Output::file(path, false)?,
        None => Output::stdout()?,
    };
    let header = RecordBatch::new_empty(run.schema().clone());
    WriterBuilder::new().build(&mut output).write(&header)?;
    run.write_to(Box::new(CsvSink(Mutex::new((output, 0)))))?;
    Ok(())
}
