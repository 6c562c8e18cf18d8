//! Sends rows by INSERT, many in one statement, for tables and servers that COPY cannot load.
//!
//! ```text
//!  buffer of rows ──▶ values of n rows ──▶ Bind, Execute ──▶ … ──▶ Sync at the end, or before another n
//! ```
//!
//! All executions are sent without waiting in between. The size of the rows decides how many rows a
//! statement has.

use std::fmt::Write;
use std::time::{Duration, Instant};

use pgarrow_protocol::{Bulk, Session};

use crate::copied::{Copied, Failed};
use crate::queue::{Next, Queue};

/// The most parameters of a Bind message: their number has 16 bits.
const PARAMETERS_MAX: usize = 65_535;

/// Target bytes per statement: more gains nothing, and the server keeps all values of a statement in memory.
const STATEMENT_BYTES: usize = 64 << 10;

/// The most bytes per statement, for rows that are much larger than those before.
const STATEMENT_BYTES_MAX: usize = 16 << 20;

/// Precedes the values of a row in COPY: the number of values.
const ROW_HEADER_BYTES: usize = 2;

/// The statements that insert rows of one form.
#[derive(Clone, Debug)]
pub(crate) struct Inserts {
    /// Quoted and schema-qualified.
    pub(crate) table: String,
    pub(crate) columns: Vec<InsertColumn>,
}

/// A column that gets values.
#[derive(Clone, Debug)]
pub(crate) struct InsertColumn {
    /// Quoted.
    pub(crate) name: String,
    /// The parameter's type; 0 if the expression determines it.
    pub(crate) type_oid: u32,
    /// SQL before and after the parameter that makes the column's value from it.
    pub(crate) around: (String, String),
}

impl Inserts {
    /// The statement for this many rows. A table without columns gets one row per statement.
    fn sql(&self, rows: usize) -> String {
        if self.columns.is_empty() {
            return format!("INSERT INTO {} DEFAULT VALUES", self.table);
        }
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        // As COPY does: given values for an identity column are kept.
        let mut sql =
            format!("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ", self.table, names.join(", "));
        let mut parameter = 0_usize;
        for row in 0..rows {
            sql.push_str(if row == 0 { "(" } else { ", (" });
            for (index, column) in self.columns.iter().enumerate() {
                parameter += 1;
                let separator = if index == 0 { "" } else { ", " };
                let (before, behind) = &column.around;
                let _ = write!(sql, "{separator}{before}${parameter}{behind}");
            }
            sql.push(')');
        }
        sql
    }

    fn parameter_types(&self, rows: usize) -> Vec<u32> {
        let types: Vec<u32> = self.columns.iter().map(|column| column.type_oid).collect();
        types.repeat(rows)
    }

    /// How many rows of this size one statement should have.
    fn rows_per_statement(&self, chunk: &[u8]) -> usize {
        let Some(rows_max) = PARAMETERS_MAX.checked_div(self.columns.len()) else { return 1 };
        let rows = self.rows(chunk).count();
        let by_bytes = STATEMENT_BYTES.saturating_mul(rows) / chunk.len().max(1);
        by_bytes.clamp(1, rows_max)
    }

    fn rows<'a>(&self, chunk: &'a [u8]) -> Rows<'a> {
        Rows { bytes: chunk, n_columns: self.columns.len() }
    }
}

/// Iterates over the values of each row in a buffer of COPY rows.
struct Rows<'a> {
    bytes: &'a [u8],
    n_columns: usize,
}

impl<'a> Iterator for Rows<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.bytes.is_empty() {
            return None;
        }
        let rest = self.bytes.get(ROW_HEADER_BYTES..).unwrap_or_default();
        // A malformed row is sent as it is, so that the server refuses it and it is not lost.
        let length = row_length(rest, self.n_columns).unwrap_or(rest.len());
        let (row, rest) = rest.split_at_checked(length)?;
        self.bytes = rest;
        Some(row)
    }
}

/// The length in bytes of this many values, with their length fields.
fn row_length(bytes: &[u8], n_columns: usize) -> Option<usize> {
    let mut rest = bytes;
    for _ in 0..n_columns {
        let (length, behind) = rest.split_first_chunk()?;
        // A NULL has a length of -1 and no bytes.
        rest = behind.get(usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0)..)?;
    }
    Some(bytes.len() - rest.len())
}

/// Inserts the rows of this queue. If the queue does not end with `Finish`, the caller rolls back.
pub(crate) fn insert(session: &mut Session, inserts: &Inserts, queue: &Queue) -> Result<Copied, Failed> {
    let mut copied = Copied::default();
    let Next::Rows(mut message) = queue.next() else { return Ok(copied) };
    let size = inserts.rows_per_statement(message.buffer.rows());
    let mut statement = Statement::begin(session, inserts, 0, size)?;
    let mut send = Duration::ZERO;
    loop {
        let started = Instant::now();
        let chunk = message.buffer.rows();
        let size = inserts.rows_per_statement(chunk);
        if size >= statement.size.saturating_mul(4) || statement.size >= size.saturating_mul(4) {
            let sent = statement.end()?.insert(session, inserts, &mut copied)?;
            statement = Statement::begin(session, inserts, sent, size)?;
        }
        for row in inserts.rows(chunk) {
            if statement.pending > 0 && statement.pending_bytes + row.len() > STATEMENT_BYTES_MAX {
                let sent = statement.end()?.insert(session, inserts, &mut copied)?;
                statement = Statement::begin(session, inserts, sent, size)?;
            }
            statement.push(row)?;
        }
        let took = started.elapsed();
        send += took;
        copied.times.add(took);
        copied.bytes += chunk.len() as u64;
        queue.sent(message);
        message = match queue.next() {
            Next::Rows(next) => next,
            Next::Finish => break,
            Next::Abandon => return Ok(copied),
        };
    }
    let started = Instant::now();
    statement.end()?.insert(session, inserts, &mut copied)?;
    copied.send = (send + started.elapsed()).saturating_sub(copied.blocked + copied.wait);
    Ok(copied)
}

/// A statement with a fixed number of rows, executed repeatedly.
struct Statement<'a> {
    bulk: Bulk<'a>,
    /// Rows per execution.
    size: usize,
    /// Rows sent before the first execution.
    rows_before: u64,
    executions: u64,
    /// Rows in the buffer and their bytes.
    pending: usize,
    pending_bytes: usize,
}

impl<'a> Statement<'a> {
    fn begin(
        session: &'a mut Session,
        inserts: &Inserts,
        rows_before: u64,
        size: usize,
    ) -> Result<Self, Failed> {
        let bulk = session.bulk(&inserts.sql(size), &inserts.parameter_types(size))?;
        Ok(Self { bulk, size, rows_before, executions: 0, pending: 0, pending_bytes: 0 })
    }

    /// Adds a row, and executes when the statement is full.
    fn push(&mut self, values: &[u8]) -> Result<(), Failed> {
        self.bulk.buffer().extend_from_slice(values);
        self.pending += 1;
        self.pending_bytes += values.len();
        if self.pending == self.size { self.execute() } else { Ok(()) }
    }

    fn execute(&mut self) -> Result<(), Failed> {
        let (rows_before, size) = (self.rows_before, self.size);
        self.bulk.execute().map_err(|error| failed(error, rows_before, size))?;
        self.executions += 1;
        (self.pending, self.pending_bytes) = (0, 0);
        Ok(())
    }

    /// Waits until all executions are done. Returns the rows that did not fill a statement.
    fn end(mut self) -> Result<Rest, Failed> {
        let buffer = self.bulk.buffer();
        let values = buffer.split_off(buffer.len().saturating_sub(self.pending_bytes));
        let (rows_before, size) = (self.rows_before, self.size);
        let (blocked, started) = (self.bulk.waited(), Instant::now());
        let counted = self.bulk.finish().map_err(|error| failed(error, rows_before, size))?;
        let waited = started.elapsed();
        let sent = rows_before + self.executions * size as u64;
        Ok(Rest { values, rows: self.pending, counted, sent, blocked, waited })
    }
}

/// Rows that did not fill a statement.
struct Rest {
    values: Vec<u8>,
    rows: usize,
    /// Rows that the server counted so far.
    counted: u64,
    /// Rows sent so far.
    sent: u64,
    /// How long the server took no bytes.
    blocked: Duration,
    /// How long the end was waited for.
    waited: Duration,
}

impl Rest {
    /// Inserts the rest with its own statement, and adds up the results. Returns how many rows were sent in
    /// all.
    fn insert(self, session: &mut Session, inserts: &Inserts, copied: &mut Copied) -> Result<u64, Failed> {
        copied.rows += self.counted;
        copied.blocked += self.blocked;
        copied.wait += self.waited;
        if self.rows == 0 {
            return Ok(self.sent);
        }
        let mut statement = Statement::begin(session, inserts, self.sent, self.rows)?;
        statement.bulk.buffer().extend_from_slice(&self.values);
        statement.execute()?;
        let end = statement.end()?;
        copied.rows += end.counted;
        copied.blocked += end.blocked;
        copied.wait += end.waited;
        Ok(end.sent)
    }
}

/// Adds the rows of the execution that failed, if the error names one.
fn failed(error: pgarrow_protocol::Error, rows_before: u64, size: usize) -> Failed {
    let place = error.failed_execution().map(|execution| {
        let first = rows_before + execution * size as u64 + 1;
        match size {
            0 | 1 => format!("row {first}"),
            _ => format!("one of the rows {first} to {}", first + size as u64 - 1),
        }
    });
    Failed::Refused { error, place, at_start: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inserts(n_columns: usize) -> Inserts {
        let column = |index| InsertColumn {
            name: format!("c{index}"),
            type_oid: 20,
            around: match index {
                1 => ("CAST(".to_owned(), "::text AS xml)".to_owned()),
                _ => Default::default(),
            },
        };
        Inserts { table: "t".to_owned(), columns: (0..n_columns).map(column).collect() }
    }

    #[test]
    fn statements() {
        assert_eq!(
            inserts(2).sql(2),
            "INSERT INTO t (c0, c1) OVERRIDING SYSTEM VALUE VALUES ($1, CAST($2::text AS xml)), ($3, CAST($4::text AS xml))"
        );
        assert_eq!(inserts(2).parameter_types(2), [20; 4]);
        assert_eq!(inserts(0).sql(1), "INSERT INTO t DEFAULT VALUES");
    }

    #[test]
    fn rows_are_cut_where_they_end() {
        let rows = [&b"\0\x02\0\0\0\x01a\xff\xff\xff\xff"[..], b"\0\x02\0\0\0\0\0\0\0\x02bc"].concat();
        let cut: Vec<_> = inserts(2).rows(&rows).collect();
        assert_eq!(cut, [&b"\0\0\0\x01a\xff\xff\xff\xff"[..], b"\0\0\0\0\0\0\0\x02bc"]);
        // A malformed row does not end the iteration.
        assert_eq!(inserts(2).rows(b"\0\x02\0\0\0\x09a").collect::<Vec<_>>(), [b"\0\0\0\x09a"]);
        assert_eq!(inserts(0).rows(&[0; 6]).count(), 3);
    }

    #[test]
    fn as_many_rows_as_parameters_and_bytes_allow() {
        let rows_of = |n_columns: usize, value_bytes: usize| {
            let length = i32::try_from(value_bytes).unwrap().to_be_bytes();
            let value = [length.as_slice(), &vec![0; value_bytes]].concat();
            let row =
                [&u16::try_from(n_columns).unwrap().to_be_bytes()[..], &value.repeat(n_columns)].concat();
            inserts(n_columns).rows_per_statement(&row.repeat(7))
        };
        assert_eq!(rows_of(1, 0), STATEMENT_BYTES / 6);
        assert_eq!(rows_of(1600, 1), 8);
        assert_eq!(rows_of(5, STATEMENT_BYTES), 1);
        assert_eq!(rows_of(0, 0), 1);
    }
}
