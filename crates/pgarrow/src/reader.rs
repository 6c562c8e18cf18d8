//! The loop that reads one COPY: receive, decode, hand out; and what makes its end one.

use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;
use pgarrow_column::{ValueError, make_column};
use pgarrow_decode::{BatchLimits, CopyDecoder, DecodeError, Stop};
use pgarrow_protocol::{CopyOutStep, Session};
use pgarrow_types::TypeOptions;

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::Plan;

/// How far an export is. Read it from any thread.
#[derive(Debug, Default)]
pub struct Progress {
    rows: AtomicU64,
    wire_bytes: AtomicU64,
    batches: AtomicU64,
}

impl Progress {
    /// Rows decoded.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Bytes of the COPY stream received, message headers included.
    pub fn wire_bytes(&self) -> u64 {
        self.wire_bytes.load(Ordering::Relaxed)
    }

    /// Batches handed out.
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }
}

/// What is read, how, and who watches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) limits: BatchLimits,
    pub(crate) types: &'a TypeOptions,
    pub(crate) progress: &'a Progress,
    pub(crate) cancel: &'a Cancel,
}

impl Reading<'_> {
    /// Reads the whole COPY and hands every batch to `consume`. Rows read.
    ///
    /// Returns `Ok` only after the stream's trailer, CopyDone, a tag `COPY n` with as many rows as were
    /// decoded, and ReadyForQuery. A batch that was handed out before an error is part of nothing.
    pub(crate) fn read(
        self,
        session: &mut Session,
        mut consume: impl FnMut(RecordBatch) -> Result<()>,
    ) -> Result<u64> {
        let columns = self.plan.columns.iter().map(|column| make_column(&column.pg_type, self.types, 0));
        let mut decoder = CopyDecoder::new(self.plan.schema.clone(), columns.collect(), self.limits);
        let read = self.read_stream(session, &mut decoder, &mut consume);
        // Whatever went wrong after a cancel went wrong because of it.
        let n_server_rows = read.map_err(|error| match self.cancel.is_requested() {
            true => cancelled(),
            false => error,
        })?;
        let n_rows = decoder.rows();
        if !decoder.is_complete() {
            return Err(self.broken("the COPY stream ended without its trailer"));
        }
        if n_rows != n_server_rows {
            return Err(
                self.broken(&format!("{n_rows} rows were decoded, but the server sent {n_server_rows}"))
            );
        }
        Ok(n_rows)
    }

    fn read_stream(
        &self,
        session: &mut Session,
        decoder: &mut CopyDecoder,
        consume: &mut impl FnMut(RecordBatch) -> Result<()>,
    ) -> Result<u64> {
        let mut copy = session.copy_out(&self.plan.copy_statement).map_err(|error| {
            let is_syntax = error.sqlstate() == Some("42601");
            let error = Error::from(error);
            match is_syntax {
                true => error
                    .advice("only what can stand in COPY (…) can be exported: SELECT, VALUES, TABLE, WITH"),
                false => error,
            }
        })?;
        if copy.column_count() != self.plan.columns.len() {
            return Err(self.broken("the COPY stream has another number of columns than the plan"));
        }
        loop {
            let decoded = decoder.decode(copy.buffered()).map_err(|error| self.decode_error(error))?;
            copy.consume(decoded.used_bytes);
            if decoded.stop == Stop::BatchFull {
                self.hand_out(decoder, consume)?;
                continue;
            }
            self.progress.rows.store(decoder.rows(), Ordering::Relaxed);
            let step = copy.advance()?;
            self.progress.wire_bytes.store(copy.bytes_received(), Ordering::Relaxed);
            if let CopyOutStep::Done { rows } = step {
                // Only now: the last batch is handed out when it is certain that it is the last.
                self.hand_out(decoder, consume)?;
                return Ok(rows);
            }
        }
    }

    fn hand_out(
        &self,
        decoder: &mut CopyDecoder,
        consume: &mut impl FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        if self.cancel.is_requested() {
            return Err(cancelled());
        }
        let Some(batch) = decoder.flush().map_err(|error| self.decode_error(error))? else {
            return Ok(());
        };
        self.progress.rows.store(decoder.rows(), Ordering::Relaxed);
        self.progress.batches.fetch_add(1, Ordering::Relaxed);
        consume(batch)
    }

    fn broken(&self, what: &str) -> Error {
        Error::new(ErrorKind::Protocol, format!("{}: {what}; the export is not complete", self.plan.subject))
    }

    /// Says where: table, column, type and row; and what to do.
    fn decode_error(&self, error: DecodeError) -> Error {
        let subject = &self.plan.subject;
        let type_of =
            |index: usize| self.plan.columns.get(index).map_or("", |column| column.type_name.as_str());
        match error {
            DecodeError::Value { column_index, column, row, cause } => {
                let pg_type = type_of(column_index);
                let text = format!("{subject}, column {column:?} ({pg_type}), row {row}: {cause}");
                let error = Error::new(ErrorKind::Value, text);
                match cause {
                    ValueError::Infinite | ValueError::NotANumber | ValueError::OutOfRange => {
                        error.advice("cast the column to text in a query to keep every value")
                    }
                    ValueError::Utf8 => error.advice("read the column as bytea in a query (convert_to)"),
                    ValueError::BatchTooLarge => error.advice("make batches smaller (--batch-bytes)"),
                    _ => error.advice(
                        "the server, or something between, broke the binary format; please report it",
                    ),
                }
            }
            DecodeError::UnexpectedNull { .. } => Error::new(ErrorKind::Value, format!("{subject}: {error}"))
                .advice("read the table with a query"),
            _ => Error::new(ErrorKind::Protocol, format!("{subject}: {error}")),
        }
    }
}

/// The caller's own wish.
pub(crate) fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the export was cancelled")
}
