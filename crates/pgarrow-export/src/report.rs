//! `Report`: the result of an export, for people and as JSON.

mod effects;
pub(crate) mod notes;

use std::sync::Arc;
use std::time::Duration;

use pgarrow_decode::Effects;
use pgarrow_session::{Error, Limit, ProcessUsage, ServerReport, per_second};
use pgarrow_sink::Written;
use pgarrow_types::Message;
use serde::Serialize;

use crate::budget::Budget;
use crate::column_report::ColumnReport;
use crate::crew::Done;
use crate::facts::Facts;
use crate::file_report::FileReport;
use crate::options::ReadMode;
use crate::pages_tally::{PagesReport, PagesTally};
use crate::phases::Phases;
use crate::plan::Plan;
use crate::progress::{Progress, Sample, TableProgress};
use crate::reader::Tally;

/// The result of an export. Serialises to the JSON that `pgarrow export --report` writes.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The version of this report's form. Fields may be added within a version.
    pub report_version: u32,
    /// The version of pgarrow.
    pub pgarrow_version: &'static str,
    /// What was read: `public.orders`, `the query`, or `12 tables`.
    pub subject: String,
    /// The server.
    pub server: ServerReport,
    /// `pg_current_snapshot()`: the moment that was read.
    pub snapshot: String,
    /// Rows, as decoded, as the server counted them, and as written.
    pub rows: u64,
    /// Rows that were left out, since Arrow cannot hold one of their values. They are not in `rows`.
    pub rows_rejected: u64,
    /// Bytes of the COPY stream, message headers included.
    pub wire_bytes: u64,
    /// Record batches.
    pub batches: u64,
    /// From the start of the COPY to the end of the output, in seconds.
    pub seconds: f64,
    /// Rows a second, over all of it.
    pub rows_per_second: f64,
    /// Bytes from the server a second, over all of it.
    pub bytes_per_second: f64,
    /// CPU time of this process since it started, in seconds.
    pub cpu_seconds: f64,
    /// The peak memory of this process, in bytes.
    pub peak_memory_bytes: u64,
    /// How rows were read: `pages` if any page was decoded as stored.
    pub read_mode: ReadMode,
    /// Pages of heaps, if any were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages: Option<PagesReport>,
    /// Why tables were read entirely by COPY, if pages would have been read where possible; each reason once:
    /// `public.orders: it is small`, `12 of 40 tables (public.orders and 11 more): it is small`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub page_notes: Vec<Message>,
    /// Slices.
    pub slices: u64,
    /// Slices that were read again after a connection was lost.
    pub slices_redone: u64,
    /// Repeated attempts of readers to connect or to read: `slices_redone`, and connections that failed at
    /// first.
    pub retries: u64,
    /// Why there were this many slices.
    pub slicing: Message,
    /// Where the time went, all readers together.
    pub phases: Phases,
    /// What a faster run would have to change.
    pub limit: Limit,
    /// Every reader by itself.
    pub readers: Vec<ReaderReport>,
    /// Memory within the limit.
    pub memory: MemoryReport,
    /// How far the run was over time: some hundred samples at most, the last one at its end.
    pub samples: Vec<Sample>,
    /// What was written.
    pub files: Vec<FileReport>,
    /// The columns, their types, and what policies did to values. Empty for many tables, which have their
    /// own.
    pub columns: Vec<ColumnReport>,
    /// The tables, if there are many.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<TableReport>,
    /// The tables that failed, if the run was to go on without them
    /// ([`Run::keep_going`](crate::Run::keep_going)).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedTable>,
    /// What the user should know.
    pub warnings: Vec<Message>,
}

/// A table that failed.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FailedTable {
    /// The table: `public.orders`.
    pub table: String,
    /// Why.
    pub error: Message,
}

impl FailedTable {
    /// A table that failed, and why.
    pub fn new(table: impl Into<String>, error: impl Into<Message>) -> Self {
        Self { table: table.into(), error: error.into() }
    }
}

/// A reader of a [`Report`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ReaderReport {
    /// Slices it read.
    pub slices: u64,
    /// Rows it read.
    pub rows: u64,
    /// Bytes it received for them.
    pub wire_bytes: u64,
    /// Where its time went.
    pub phases: Phases,
}

/// The memory of a [`Report`]: what counted against the limit, and the measures to stay within it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MemoryReport {
    /// The limit, in bytes. With a memory that runs share: the most that this run reserved at once.
    pub limit_bytes: u64,
    /// The most that was used at once.
    pub peak_bytes: u64,
    /// How often pressure rose or fell by a level.
    pub level_changes: u64,
    /// How often a reader waited for memory.
    pub waits: u64,
    /// Row groups that ended early because memory was short: parts of an output that had to pass on what they
    /// held.
    pub row_groups_ended_early: u64,
    /// Value buffers that were allocated for batches.
    pub buffers_allocated: u64,
    /// Value buffers that were used again.
    pub buffers_reused: u64,
}

/// A table of a [`Report`] of many.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TableReport {
    /// `public.orders`.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// Its rows that were left out.
    pub rows_rejected: u64,
    /// Bytes received for them.
    pub wire_bytes: u64,
    /// Its slices.
    pub slices: usize,
    /// From the start of its first slice to the end of its last one, in seconds. Tables are read at the same
    /// time, so the sum may be more than the run took.
    pub seconds: f64,
    /// Its files; 0 if there are none.
    pub files: usize,
    /// The size of its files.
    pub file_bytes: u64,
    /// Its columns, their types, and what policies did to values.
    pub columns: Vec<ColumnReport>,
    /// What the user should know about it. The warnings of the report have these, too.
    pub warnings: Vec<Message>,
}

/// What a report is made of.
#[derive(Debug)]
pub(crate) struct Summary<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) plans: &'a [Arc<Plan>],
    pub(crate) progress: &'a Progress,
    pub(crate) elapsed: Duration,
    pub(crate) done: &'a Done,
    pub(crate) phases: Phases,
    pub(crate) budget: &'a Budget,
    pub(crate) read_mode: ReadMode,
    pub(crate) written: Vec<Written>,
}

impl Report {
    pub(crate) fn new(summary: Summary<'_>) -> Self {
        let Summary { facts, plans, progress, elapsed, done, phases, budget, read_mode, written } = summary;
        let ProcessUsage { cpu_seconds, peak_memory_bytes } = ProcessUsage::now();
        // Outputs are written by plan, if each plan has its own.
        let of_plan = |index: usize| written.get(index).filter(|_| written.len() == plans.len());
        let (subject, slicing, columns, tables) = match plans {
            [plan] => {
                let effects = done.effects.first().map_or(&[][..], Vec::as_slice);
                let columns = columns_read(plan, effects);
                (plan.subject().to_owned(), plan.slicing().clone(), columns, Vec::new())
            }
            plans => {
                let read = plans.iter().zip(&done.rows).zip(&done.effects).zip(progress.tables());
                let tables = read.enumerate().map(|(index, (((plan, rows), effects), progress))| {
                    table(plan, *rows, effects, progress, of_plan(index))
                });
                let tables: Vec<TableReport> = tables.collect();
                let n_slices: usize = tables.iter().map(|table| table.slices).sum();
                let slicing = format!("{n_slices} slices of {} tables", plans.len());
                (format!("{} tables", plans.len()), slicing.into(), Vec::new(), tables)
            }
        };
        let sum = |of: fn(&Tally) -> u64| done.tallies.iter().map(of).sum::<u64>();
        let pages = done.tallies.iter().fold(PagesTally::default(), |mut sum, tally| {
            sum += tally.pages;
            sum
        });
        let warnings = plans.iter().flat_map(|plan| plan.warnings()).chain(&done.warnings);
        let (rows, wire_bytes, seconds) =
            (done.rows.iter().sum(), progress.wire_bytes(), elapsed.as_secs_f64());
        let mut report = Self {
            report_version: 3,
            pgarrow_version: env!("CARGO_PKG_VERSION"),
            subject,
            server: facts.server(),
            snapshot: facts.snapshot.clone(),
            rows,
            rows_rejected: progress.rows_rejected(),
            wire_bytes,
            batches: progress.batches(),
            seconds,
            rows_per_second: per_second(rows, seconds),
            bytes_per_second: per_second(wire_bytes, seconds),
            cpu_seconds,
            peak_memory_bytes,
            read_mode: if pages.read > 0 { ReadMode::Pages } else { read_mode },
            pages: pages.report(),
            page_notes: notes::of_plans(plans),
            slices: sum(|tally| tally.slices),
            slices_redone: sum(|tally| tally.redone),
            retries: sum(|tally| tally.retries),
            slicing,
            phases,
            limit: phases.limit(waits_for_us(facts.is_remote, done.server_waits_for_us)),
            readers: done.tallies.iter().map(reader).collect(),
            memory: MemoryReport {
                limit_bytes: budget.limit_peak() as u64,
                peak_bytes: budget.peak() as u64,
                level_changes: budget.level_changes(),
                waits: budget.waits(),
                row_groups_ended_early: sum(|tally| tally.ended_early),
                buffers_allocated: sum(|tally| tally.buffers_allocated),
                buffers_reused: sum(|tally| tally.buffers_reused),
            },
            files: written.into_iter().flat_map(|written| written.files).map(FileReport::from).collect(),
            samples: progress.samples(elapsed),
            columns,
            tables,
            failed: done
                .failed
                .iter()
                .filter_map(|(index, error)| failed(plans.get(*index)?, error))
                .collect(),
            warnings: Vec::new(),
        };
        for warning in warnings {
            if !report.warnings.contains(warning) {
                report.warnings.push(warning.clone());
            }
        }
        report
    }
}

fn reader(tally: &Tally) -> ReaderReport {
    let Tally { phases, rows, wire_bytes, slices, .. } = *tally;
    ReaderReport { slices, rows, wire_bytes, phases }
}

fn table(
    plan: &Plan,
    rows: u64,
    effects: &[Effects],
    progress: &TableProgress,
    written: Option<&Written>,
) -> TableReport {
    let files = written.map_or(&[][..], |written| &written.files);
    TableReport {
        table: plan.subject().to_owned(),
        rows,
        rows_rejected: progress.rows_rejected(),
        wire_bytes: progress.wire_bytes(),
        slices: plan.slices.len(),
        seconds: progress.seconds(),
        files: files.len(),
        file_bytes: files.iter().map(|file| file.bytes).sum(),
        columns: columns_read(plan, effects),
        warnings: plan.warnings().to_vec(),
    }
}

fn failed(plan: &Plan, error: &Error) -> Option<FailedTable> {
    Some(FailedTable { table: plan.subject().to_owned(), error: error.message().clone() })
}

/// The share of time in which backends waited for the client. Without a network in between, it is 0.
fn waits_for_us(is_remote: bool, share: Option<f64>) -> Option<f64> {
    if is_remote { share } else { Some(0.0) }
}

/// The columns of a plan, after the reading.
fn columns_read(plan: &Plan, effects: &[Effects]) -> Vec<ColumnReport> {
    let mut columns = ColumnReport::of(plan.schema(), plan.columns());
    for (column, effects) in columns.iter_mut().zip(effects) {
        column.effects = effects::counts(effects);
    }
    columns
}

#[cfg(test)]
mod waiting {
    use super::waits_for_us;

    /// Formerly, the report named the network as the limit where there was none.
    #[test]
    fn there_is_no_network_to_a_local_server() {
        assert_eq!([waits_for_us(false, Some(0.9)), waits_for_us(false, None)], [Some(0.0); 2]);
        assert_eq!([waits_for_us(true, Some(0.9)), waits_for_us(true, None)], [Some(0.9), None]);
    }
}
