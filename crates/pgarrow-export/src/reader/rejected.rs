//! Rows of a slice that were set aside: what the server prints for them, and where it has them.
//!
//! ```text
//!  decoder ── bytes of a row ─▶ waiting ── the stream ends ─▶ printed by the server ─▶ lines
//!                                                          └▶ counted off once more ──┘ │ the slice ends
//!                                                                                       ▼
//!                                                                                    receiver
//! ```
//!
//! The session is busy with its stream as long as that lasts, so rows wait until its end; they count as
//! memory. The server gets the very bytes back that it has sent, so the text is that of this row, whatever a
//! second query would find.

use std::collections::{BTreeMap, BTreeSet};

use pgarrow_decode::{CopyDecoder, DecodeError, RejectedRow};
use pgarrow_protocol::Session;
use pgarrow_session::{Error, ErrorKind, Result};

use crate::outlet::Outlet;
use crate::plan::Plan;
use crate::planner::select::find::Part;
use crate::progress::TableProgress;
use crate::reader::{Attempt, Reader};
use crate::refusal::{decode_error, row_of};
use crate::reject::{Counts, Found, Line, groups};

const SAVEPOINT: &str = "SAVEPOINT pgarrow_rejected";
const RELEASE: &str = "RELEASE SAVEPOINT pgarrow_rejected";
const ROLLBACK: &str = "ROLLBACK TO SAVEPOINT pgarrow_rejected";

/// The most rows that are counted off by one statement,
const LOCATED_ROWS: usize = 20_000;
/// and the bytes at which it gets no more of them.
const LOCATED_BYTES: usize = 16 << 20;

/// The most values that one statement prints,
const PRINTED_VALUES: usize = 8192;
/// and the bytes at which it gets no more of them.
const PRINTED_BYTES: usize = 1 << 20;
/// Texts and their way here, in multiples of the values' bytes.
const PRINTING_FACTOR: usize = 4;
/// A row above this size is not printed: its text may be four times as large, and an answer has a limit.
const ROW_BYTES_MAX: usize = 32 << 20;

/// The rows of the present slice that were set aside.
#[derive(Debug, Default)]
pub(super) struct SetAside {
    /// Of the present stream.
    waiting: Vec<RejectedRow>,
    /// Of streams that have ended.
    lines: Vec<Line>,
    bytes: usize,
    /// The largest that waits.
    largest: usize,
}

impl SetAside {
    /// Bytes of memory that the rows take, and that printing them will take.
    pub(super) fn allocated_bytes(&self) -> usize {
        let at_once = self.largest.max(self.bytes.min(PRINTED_BYTES)).min(ROW_BYTES_MAX);
        self.bytes + if self.waiting.is_empty() { 0 } else { PRINTING_FACTOR * at_once }
    }
}

impl Reader<'_> {
    /// Takes the rows that the decoder has left out.
    pub(super) fn set_aside(
        &mut self,
        plan: &Plan,
        decoder: &mut CopyDecoder,
        attempt: &mut Attempt,
        outlet: &mut dyn Outlet,
    ) -> Result<()> {
        let Some(rejects) = self.shared.rejects else { return Ok(()) };
        let (progress, plan_index) = (self.shared.progress, attempt.task.plan_index);
        let rows_of_table = || progress.tables().get(plan_index).map_or(0, TableProgress::rows);
        for row in decoder.take_rejected() {
            let rejected_of_table = progress.add_rejected(plan_index);
            attempt.rejected += 1;
            let of_others = rows_of_table().saturating_sub(attempt.rows);
            let counts = Counts {
                rejected: progress.rows_rejected(),
                rejected_of_table,
                kept_of_table: of_others + row.row.saturating_sub(attempt.rejected),
            };
            rejects.check(plan.subject(), counts, || {
                let column = plan.columns.get(row.column_index).map(|column| column.name.clone());
                let RejectedRow { column_index, cause, row, .. } = row;
                let error =
                    DecodeError::Value { column_index, column: column.unwrap_or_default(), row, cause };
                decode_error(plan, attempt.part.as_ref(), error)
            })?;
            self.aside.bytes += row.allocated_bytes();
            self.aside.largest = self.aside.largest.max(row.allocated_bytes());
            self.aside.waiting.push(row);
        }
        let base = self.base_bytes(decoder);
        self.make_room(plan, base, base, outlet)
    }

    /// Prints and finds the rows of a stream that has ended.
    pub(super) fn print_set_aside(
        &mut self,
        session: &mut Session,
        plan: &Plan,
        decoder: &CopyDecoder,
        attempt: &Attempt,
        outlet: &mut dyn Outlet,
    ) -> Result<()> {
        let part = attempt.part.as_ref();
        if self.aside.waiting.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.aside.waiting);
        session.execute(SAVEPOINT)?;
        for rows in groups(&waiting, RejectedRow::allocated_bytes, LOCATED_ROWS, LOCATED_BYTES) {
            let mut texts = Vec::with_capacity(rows.len());
            let n_rows = (PRINTED_VALUES / plan.columns.len().max(1)).max(1);
            for rows in groups(rows, RejectedRow::allocated_bytes, n_rows, PRINTED_BYTES) {
                self.print(session, plan, rows, &mut texts)?;
            }
            let mut places = self.locate(session, plan, part, rows, &texts)?;
            for (row, texts) in rows.iter().zip(texts) {
                let line = Line {
                    place: row_of(plan, part, row.row),
                    found: places.remove(&row.row),
                    column_index: row.column_index,
                    cause: row.cause,
                    texts,
                };
                self.aside.bytes += line.allocated_bytes();
                self.aside.lines.push(line);
            }
            let base = self.base_bytes(decoder);
            self.make_room(plan, base, base, outlet)?;
        }
        self.aside.largest = 0;
        self.aside.bytes -= waiting.iter().map(RejectedRow::allocated_bytes).sum::<usize>();
        session.execute(RELEASE)?;
        Ok(())
    }

    /// The slice is complete, and with it the rows that were set aside.
    pub(super) fn hand_out_set_aside(&mut self, plan: &Plan, outlet: &mut dyn Outlet) -> Result<()> {
        let SetAside { lines, .. } = std::mem::take(&mut self.aside);
        match self.shared.rejects {
            Some(rejects) if !lines.is_empty() => {
                // In the order of slices, if the output has them in it.
                outlet.wait_for_turn()?;
                rejects.hand_out(plan, &lines)
            }
            _ => Ok(()),
        }
    }

    /// Has the server print rows: `None` for a row that it does not print.
    fn print(
        &self,
        session: &mut Session,
        plan: &Plan,
        rows: &[RejectedRow],
        texts: &mut Vec<Option<Vec<Option<String>>>>,
    ) -> Result<()> {
        let (n_columns, types) = (plan.columns.len(), plan.value_types());
        if let [row] = rows
            && row.allocated_bytes() > ROW_BYTES_MAX
        {
            texts.push(None);
            return Ok(());
        }
        let values: Vec<Option<&[u8]>> = rows.iter().flat_map(RejectedRow::values).collect();
        let tuple = |index: usize| {
            let names = (1..=n_columns).map(|column| format!("${}", index * n_columns + column));
            format!("({})", names.collect::<Vec<_>>().join(", "))
        };
        let sql = format!("VALUES {}", (0..rows.len()).map(tuple).collect::<Vec<_>>().join(", "));
        let answer = session.query_values(&sql, &types.repeat(rows.len()), &values);
        match (self.of_values(session, answer)?, rows) {
            (Some(printed), _) if printed.len() == rows.len() => {
                let text = |row: &pgarrow_protocol::Row, column| row.text(column).map(str::to_owned);
                let of_row = |row| (0..n_columns).map(|column| text(row, column)).collect();
                texts.extend(printed.iter().map(|row| Some(of_row(row))));
            }
            (_, [] | [_]) => texts.push(None),
            (_, rows) => {
                let (first, second) = rows.split_at(rows.len() / 2);
                self.print(session, plan, first, texts)?;
                self.print(session, plan, second, texts)?;
            }
        }
        Ok(())
    }

    /// Where the server has rows, by their numbers in the slice. A row is found only if the value that was
    /// refused is the same there.
    fn locate(
        &self,
        session: &mut Session,
        plan: &Plan,
        part: Option<&Part>,
        rows: &[RejectedRow],
        texts: &[Option<Vec<Option<String>>>],
    ) -> Result<BTreeMap<u64, Found>> {
        let Some(part) = part else { return Ok(BTreeMap::new()) };
        let numbers: Vec<u64> = rows.iter().map(|row| row.row.saturating_sub(part.rows_before)).collect();
        let columns: BTreeSet<usize> = rows.iter().map(|row| row.column_index).collect();
        let columns: Vec<usize> = columns.into_iter().collect();
        let Some(sql) = plan.locate(part, &numbers, &columns) else { return Ok(BTreeMap::new()) };
        let answer = session.query(&sql, &[]);
        let Some(answer) = self.of_values(session, answer)? else { return Ok(BTreeMap::new()) };
        let mut found = BTreeMap::new();
        let wanted: BTreeMap<u64, _> = numbers.into_iter().zip(rows.iter().zip(texts)).collect();
        for row in answer {
            let number: Option<u64> = row.text(0).and_then(|text| text.parse().ok());
            let Some((wanted, texts)) = number.and_then(|number| wanted.get(&number)) else { continue };
            let refused = texts.as_ref().and_then(|texts| texts.get(wanted.column_index)?.as_deref());
            let there = columns.iter().position(|column| *column == wanted.column_index);
            let there = there.and_then(|index| row.text(3 + index));
            if let (Some(oid), Some(ctid), true) =
                (row.text(1), row.text(2), refused.is_some() && refused == there)
            {
                let partition = plan.partition(part, oid, row.text(3 + columns.len()));
                found.insert(wanted.row, Found { partition, ctid: ctid.to_owned() });
            }
        }
        Ok(found)
    }

    /// The answer to a question about values; `None` if the server refuses it for their sake.
    fn of_values<T>(
        &self,
        session: &mut Session,
        answer: Result<T, pgarrow_protocol::Error>,
    ) -> Result<Option<T>> {
        let error = match answer {
            Ok(answer) => return Ok(Some(answer)),
            Err(error) => Error::from(error),
        };
        // Connections, resources, and whoever stopped it, are not about values.
        let is_of_run = |state: &str| ["08", "53", "57"].iter().any(|class| state.starts_with(class));
        if error.kind() != ErrorKind::Server || error.sqlstate().is_none_or(is_of_run) {
            return Err(error.context("rows that were set aside"));
        }
        // Its text may have values.
        let sqlstate = error.sqlstate().unwrap_or_default();
        tracing::debug!(target: "pgarrow", sqlstate, "the server refuses a question about rows that were set aside");
        session.execute(ROLLBACK)?;
        Ok(None)
    }
}
