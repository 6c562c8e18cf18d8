//! Decoding alone: COPY bytes in memory to batches.
//!
//! *hot*: one receive buffer of messages, repeated, as a socket delivers them: in the cache. *cold*: a stream
//! too large for any cache. Nanoseconds a row are the best of several rounds, since other work of the machine
//! only adds time; instructions a row (under valgrind) do not depend on other work.

use std::path::{Path, PathBuf};
use std::time::Instant;

use pgarrow_decode::{BatchLimits, CopyDecoder, StopReason};
use pgarrow_protocol::CopyOutStep;
use pgarrow_types::{PgColumn, PgType, TypeOptions};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::server::{Database, ServerFlags};
use crate::{instructions, record, types, workloads};

/// Bytes that are decoded at once, as the protocol's receive buffer holds them.
const RECEIVE_BYTES: usize = 256 << 10;

/// What to measure, and how much.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DecodeFlags {
    #[command(flatten)]
    server: ServerFlags,
    /// Only workloads and types whose name contains one of these
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Rows of each stream
    #[arg(long, default_value_t = 300_000)]
    rows: u64,
    /// Rounds; the best counts
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Count instructions as well (needs valgrind)
    #[arg(long)]
    instructions: bool,
    /// Where to write the results, as JSON: a folder such as benches/record
    #[arg(long)]
    record: Option<PathBuf>,
}

impl DecodeFlags {
    /// Short streams from an existing server.
    pub(crate) fn smoke(url: &str) -> Self {
        Self {
            server: ServerFlags { url: Some(url.to_owned()) },
            only: Vec::new(),
            rows: 1000,
            rounds: 1,
            instructions: false,
            record: None,
        }
    }
}

/// One stream's result.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Decoded {
    pub(crate) name: String,
    pub(crate) wire_bytes_a_row: f64,
    pub(crate) cold_ns_a_row: f64,
    pub(crate) hot_ns_a_row: f64,
    pub(crate) instructions_a_row: Option<f64>,
    /// Hot, on one core; as all rates, filled in for those who read the record.
    #[serde(default)]
    pub(crate) rows_per_second: f64,
    #[serde(default)]
    pub(crate) megabytes_per_second: f64,
}

impl Decoded {
    /// Rows and megabytes a second, hot; also of a record that was written without them.
    pub(crate) fn rates(&self) -> (f64, f64) {
        let rows = 1e9 / self.hot_ns_a_row;
        (rows, rows * self.wire_bytes_a_row / 1e6)
    }
}

/// A captured stream, with all that is needed to decode it again.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Capture {
    /// The types of its columns.
    pub(crate) columns: Vec<PgType>,
    pub(crate) rows: u64,
    /// CopyData messages, the first with the header.
    #[serde(skip)]
    pub(crate) messages: Vec<u8>,
}

pub(crate) fn run(flags: &DecodeFlags) -> Result<()> {
    let mut database = Database::open(&flags.server)?;
    database.execute(
        "DROP TYPE IF EXISTS bench_mood, bench_pair CASCADE; \
             CREATE TYPE bench_mood AS ENUM ('sad', 'ok', 'happy'); \
             CREATE TYPE bench_pair AS (id int, name text, price numeric(15,2))",
    )?;
    let scale = flags.rows as f64 / 6_000_000.0 * 1.2;
    let mut results = Vec::new();
    println!(
        "{:<26} {:>10} {:>9} {:>9} {:>12}",
        "in memory", "bytes/row", "cold ns", "hot ns", "instructions"
    );
    let wanted = |name: &str| flags.only.is_empty() || flags.only.iter().any(|only| name.contains(only));
    for workload in workloads::WORKLOADS {
        if wanted(workload.name) && !workload.is_many() {
            workload.prepare(&mut database, scale)?;
            let sql = format!("SELECT * FROM {} LIMIT {}", workload.table(scale), flags.rows);
            results.push(measure(flags, &mut database, workload.name, &sql)?);
        }
    }
    for (name, expression) in types::TYPES {
        if wanted(name) {
            let sql = format!("SELECT {expression} v FROM generate_series(1, {}) i", flags.rows);
            results.push(measure(flags, &mut database, name, &sql)?);
        }
    }
    let versions = record::versions(&mut database)?;
    record::write(flags.record.as_deref(), "decode", versions, &results)
}

fn measure(flags: &DecodeFlags, database: &mut Database, name: &str, sql: &str) -> Result<Decoded> {
    let capture = capture(database, sql)?;
    check_against_server(database, &capture, sql)?;
    let per_row = |seconds: f64, rows: u64| seconds * 1e9 / rows as f64;
    let best = |decode: &dyn Fn() -> Result<u64>| -> Result<f64> {
        let mut best = f64::INFINITY;
        for _ in 0..flags.rounds.max(1) {
            let started = Instant::now();
            let rows = decode()?;
            best = best.min(per_row(started.elapsed().as_secs_f64(), rows));
        }
        Ok(best)
    };
    let times = if flags.rounds > 1 { 40 } else { 2 };
    let mut result = Decoded {
        name: name.to_owned(),
        wire_bytes_a_row: capture.messages.len() as f64 / capture.rows.max(1) as f64,
        cold_ns_a_row: best(&|| decode_once(&capture))?,
        hot_ns_a_row: best(&|| decode_again_and_again(&capture, times))?,
        instructions_a_row: match flags.instructions {
            true => Some(instructions::count(&capture)?),
            false => None,
        },
        rows_per_second: 0.0,
        megabytes_per_second: 0.0,
    };
    (result.rows_per_second, result.megabytes_per_second) = result.rates();
    let instructions = result.instructions_a_row.map(|count| format!("{count:.1}")).unwrap_or_default();
    println!(
        "{:<26} {:>10.1} {:>9.2} {:>9.2} {:>12}",
        result.name, result.wire_bytes_a_row, result.cold_ns_a_row, result.hot_ns_a_row, instructions
    );
    Ok(result)
}

/// Takes a COPY's messages from the wire unchanged.
fn capture(database: &mut Database, sql: &str) -> Result<Capture> {
    let plan = pgarrow::Source::connect_blocking(database.url())?.query(sql).open()?.plan().clone();
    let columns = plan.columns().iter().map(|column| column.pg_type.clone()).collect();
    let items = plan.columns().iter().map(|column| {
        let cast = column.pg_type.server_cast().map(|cast| format!("::{cast}"));
        pgarrow::quote_identifier(&column.name) + &cast.unwrap_or_default()
    });
    let select = items.collect::<Vec<_>>().join(", ");
    let mut copy = database
        .session()
        .copy_out(&format!("COPY (SELECT {select} FROM ({sql}) t) TO STDOUT (FORMAT binary)"))?;
    let mut messages = Vec::new();
    let rows = loop {
        let mut end = 0;
        let bytes = copy.buffered();
        while let Some([b'd', a, b, c, d]) = bytes.get(end..).and_then(<[u8]>::first_chunk::<5>) {
            let next = end + 1 + u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            if next > bytes.len() {
                break;
            }
            end = next;
        }
        messages.extend_from_slice(bytes.get(..end).unwrap_or_default());
        copy.consume(end);
        if let CopyOutStep::Done { rows } = copy.advance()? {
            break rows;
        }
    };
    Ok(Capture { columns, rows, messages })
}

/// Checks that the captured stream has the same rows as the query through the library, to the last value.
fn check_against_server(database: &Database, capture: &Capture, sql: &str) -> Result<()> {
    let mut batches = Vec::new();
    decode_into(capture, &mut |batch| batches.push(batch))?;
    let source = pgarrow::Source::connect_blocking(database.url())?;
    let rows: u64 = source.query(sql).open()?.for_each(|_| Ok(()))?.rows;
    let decoded: usize = batches.iter().map(arrow_array::RecordBatch::num_rows).sum();
    if rows != decoded as u64 || capture.rows != rows {
        return Err(format!("{decoded} rows were decoded, the server has {rows}").into());
    }
    for batch in &batches {
        for column in batch.columns() {
            arrow_array::Array::to_data(column).validate_full()?;
        }
    }
    Ok(())
}

impl Capture {
    fn decoder(&self) -> CopyDecoder {
        let options = TypeOptions::default();
        let pg_columns: Vec<PgColumn> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, pg_type)| PgColumn {
                name: format!("c{index}"),
                pg_type: pg_type.clone(),
                type_oid: 0,
                type_modifier: -1,
                type_name: String::new(),
                nullable: true,
                comment: None,
                number: 0,
                options,
            })
            .collect();
        let schema = pgarrow_types::schema(&pg_columns, std::collections::HashMap::new());
        let columns =
            pg_columns.iter().map(|column| pgarrow_column::make_column(&column.pg_type, &options, 0));
        CopyDecoder::new(std::sync::Arc::new(schema), columns.collect(), BatchLimits::default())
    }

    /// Writes the stream, and what is needed to read it, for another process.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        std::fs::write(path.with_extension("json"), serde_json::to_string(self)?)?;
        Ok(std::fs::write(path, &self.messages)?)
    }

    pub(crate) fn load(path: &Path) -> Result<Self> {
        let mut capture: Self = serde_json::from_str(&std::fs::read_to_string(path.with_extension("json"))?)?;
        capture.messages = std::fs::read(path)?;
        Ok(capture)
    }
}

/// Decodes the whole stream, in pieces of the receive buffer's size.
pub(crate) fn decode_once(capture: &Capture) -> Result<u64> {
    decode_into(capture, &mut drop)
}

fn decode_into(capture: &Capture, consume: &mut dyn FnMut(arrow_array::RecordBatch)) -> Result<u64> {
    let mut decoder = capture.decoder();
    let (mut from, mut to) = (0, 0);
    while to < capture.messages.len() {
        to = capture.messages.len().min(from + RECEIVE_BYTES.max(2 * (to - from)));
        loop {
            let progress = decoder.decode(capture.messages.get(from..to).unwrap_or_default())?;
            from += progress.used_bytes;
            if progress.stop != StopReason::BatchFull {
                break;
            }
            decoder.flush()?.into_iter().for_each(&mut *consume);
        }
    }
    decoder.flush()?.into_iter().for_each(&mut *consume);
    if !decoder.is_complete() || decoder.rows() != capture.rows {
        return Err("the captured stream was not decoded to its end".into());
    }
    Ok(decoder.rows())
}

/// Decodes the first message, and then, `times` times, the messages after it that fit a receive buffer.
pub(crate) fn decode_again_and_again(capture: &Capture, times: usize) -> Result<u64> {
    let mut decoder = capture.decoder();
    let messages = capture.messages.as_slice();
    let length_at = |at: usize| {
        let length = messages.get(at + 1..at + 5).and_then(|bytes| bytes.first_chunk::<4>());
        length.map(|length| 1 + u32::from_be_bytes(*length) as usize)
    };
    let first = length_at(0).ok_or("an empty stream")?;
    decoder.decode(messages.get(..first).unwrap_or_default())?;
    let mut end = first;
    while let Some(length) = length_at(end) {
        // Not the trailer, which is 2 bytes.
        if end + length - first > RECEIVE_BYTES || length == 7 {
            break;
        }
        end += length;
    }
    let window = messages.get(first..end).unwrap_or_default();
    for _ in 0..times {
        let mut from = 0;
        while from < window.len() {
            let progress = decoder.decode(window.get(from..).unwrap_or_default())?;
            from += progress.used_bytes;
            if progress.stop == StopReason::BatchFull {
                decoder.flush()?;
            }
        }
    }
    Ok(decoder.rows())
}
