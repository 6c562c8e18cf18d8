//! The progress of an export or load: a bar on a terminal, elsewhere a line now and then.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use pgarrow::{Plan, Progress};
use pgarrow_load::{LoadProgress, LoadStage};

use crate::console::{Console, LogFormat};
use crate::units;

const BAR_INTERVAL: Duration = Duration::from_millis(100);
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// How often to look whether a load reached a stage that is printed at once.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Shows the progress until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Dropped first, which ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts to show the progress of an export of the `plans`.
    pub(crate) fn of_export(console: &Console, progress: Arc<Progress>, plans: &[Arc<Plan>]) -> Self {
        Self::of_load_from(console, progress, plans, &Arc::default())
    }

    /// The same for rows that go into a table: `loading` is set once the load is open.
    pub(crate) fn of_load_from(
        console: &Console,
        progress: Arc<Progress>,
        plans: &[Arc<Plan>],
        loading: &Arc<OnceLock<Arc<LoadProgress>>>,
    ) -> Self {
        // If one table was never analysed, there is no total.
        let estimated_rows: Option<u64> = plans.iter().map(|plan| plan.estimated_rows()).sum();
        let total = estimated_rows.filter(|rows| *rows > 0).map_or(Total::Unknown, Total::Estimated);
        let n_slices = plans.iter().map(|plan| plan.n_slices() as u64).sum();
        let loading = Arc::clone(loading);
        let counts = move || Counts {
            stage: loading.get().map(|load| load.stage()),
            rejected: 0,
            rows: progress.rows(),
            bytes: progress.wire_bytes(),
            slices: progress.slices(),
            n_slices,
        };
        Self::start(console, counts, total)
    }

    /// Starts to show the counts; nothing at all when quiet.
    pub(crate) fn start(
        console: &Console,
        counts: impl Fn() -> Counts + Send + 'static,
        total: Total,
    ) -> Self {
        if console.is_quiet() {
            return Self { stop: None, thread: None };
        }
        let (stop, stopped) = mpsc::channel();
        let console = console.clone();
        let started = Instant::now();
        let watch = move || {
            let tick = |interval| stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout);
            if io::stderr().is_terminal() && console.form() == LogFormat::Text {
                show_bar(&console, counts, total, started, tick);
            } else {
                let (mut said, mut was_doing) = (started, None);
                while tick(LOOK_INTERVAL) {
                    let counts = counts();
                    let doing = doing(counts);
                    let is_new = doing.is_some() && counts.stage != was_doing;
                    was_doing = counts.stage;
                    if !is_new && said.elapsed() + LOOK_INTERVAL / 2 < LINE_INTERVAL {
                        continue;
                    }
                    said = Instant::now();
                    let line = doing.unwrap_or_else(|| {
                        let seconds = started.elapsed().as_secs_f64();
                        let line = line(counts.rows, counts.bytes, seconds, total);
                        format!("{line}{}{}", slices(counts), rejected(counts))
                    });
                    console.say(&format!("pgarrow: {line}"));
                }
            }
        };
        // Without a thread, the run goes on without progress.
        let thread = thread::Builder::new().name("pgarrow-progress".to_owned()).spawn(watch).ok();
        Self { stop: Some(stop), thread }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread is printed already, and does not concern the export.
            let _ = thread.join();
        }
    }
}

/// The progress of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Slices that are done.
    pub(crate) slices: u64,
    /// All slices; 0 if nothing is cut.
    pub(crate) n_slices: u64,
    /// Rows that a load leaves out.
    pub(crate) rejected: u64,
    /// The stage of a load.
    pub(crate) stage: Option<LoadStage>,
}

/// How many rows there will be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Total {
    Unknown,
    /// The server's estimate. Rows may pass it: then it grows.
    Estimated(u64),
    Exact(u64),
}

impl Total {
    /// The denominator at this number of rows: never less than `rows`. An estimate that is reached gets some
    /// room.
    fn at(self, rows: u64) -> Option<u64> {
        match self {
            Self::Unknown => None,
            Self::Estimated(estimate) if rows >= estimate => Some(rows + rows / 50 + 1),
            Self::Estimated(total) | Self::Exact(total) => Some(total),
        }
    }
}

fn show_bar(
    console: &Console,
    counts: impl Fn() -> Counts,
    total: Total,
    started: Instant,
    tick: impl Fn(Duration) -> bool,
) {
    let bar = ProgressBar::new(total.at(0).unwrap_or(0));
    let template = match total.at(0) {
        Some(_) => "{bar:20} {percent:>3}%  {msg}, {eta} left",
        None => "{spinner} {msg}",
    };
    // An invalid template would be our mistake; then indicatif's own bar does.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    console.set_bar(Some(bar.clone()));
    while tick(BAR_INTERVAL) {
        let counts = counts();
        let rows = counts.rows;
        if let Some(total) = total.at(rows) {
            bar.set_length(total);
        }
        bar.set_position(rows);
        let seconds = started.elapsed().as_secs_f64();
        let rate = units::count(units::per_second(rows, seconds));
        bar.set_message(doing(counts).unwrap_or_else(|| {
            format!(
                "{}, {}, {rate} rows/s{}{}",
                units::counted(rows, "row"),
                units::bytes(counts.bytes),
                slices(counts),
                rejected(counts)
            )
        }));
        bar.tick();
    }
    console.set_bar(None);
    bar.finish_and_clear();
}

/// `1,234,567 rows (12 % of about 10,000,000), 250.1 MB, 410,000 rows/s, 83.2 MB/s`.
fn line(rows: u64, wire_bytes: u64, seconds: f64, total: Total) -> String {
    let about = if matches!(total, Total::Exact(_)) { "" } else { "about " };
    let share = match total.at(rows) {
        Some(total) => format!(" ({} % of {about}{})", percent(rows, total), units::count(total)),
        None => String::new(),
    };
    format!(
        "{}{share}, {}, {} rows/s, {}/s",
        units::counted(rows, "row"),
        units::bytes(wire_bytes),
        units::count(units::per_second(rows, seconds)),
        units::bytes(units::per_second(wire_bytes, seconds)),
    )
}

/// `, 12 of 55 slices`; empty if there is at most one.
fn slices(counts: Counts) -> String {
    match counts.n_slices {
        0 | 1 => String::new(),
        n_slices => format!(", {} of {} slices", units::count(counts.slices), units::count(n_slices)),
    }
}

/// `, 12 rejected (0.04 %)`; empty if none was.
fn rejected(counts: Counts) -> String {
    match counts.rejected {
        0 => String::new(),
        rejected => {
            format!(", {} rejected ({})", units::count(rejected), units::share(rejected, counts.rows))
        }
    }
}

/// What a load does after all rows are sent: the counts then stay the same, however long it takes.
fn doing(counts: Counts) -> Option<String> {
    let rows = units::counted(counts.rows, "row");
    match counts.stage? {
        LoadStage::Merging => Some(format!("{rows} sent; the server merges them into the table")),
        LoadStage::Replacing => Some(format!("{rows} sent; the new table takes the old one's place")),
        LoadStage::Committing => Some(format!("{rows} sent; the server commits them")),
        _ => None,
    }
}

fn percent(rows: u64, total: u64) -> u64 {
    (u128::from(rows) * 100 / u128::from(total.max(1))).try_into().unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_that_is_passed_grows() {
        for rows in [0, 1, 99, 100, 101, 150, 1_000_000] {
            let total = Total::Estimated(100).at(rows).unwrap();
            assert!(total > rows && percent(rows, total) < 100, "{rows} of {total}");
        }
        assert_eq!((Total::Unknown.at(5), Total::Exact(5).at(5)), (None, Some(5)));
    }

    #[test]
    fn a_line_with_and_without_a_denominator() {
        let with = line(1_234_567, 250_100_000, 3.0, Total::Estimated(10_000_000));
        assert_eq!(with, "1,234,567 rows (12 % of about 10,000,000), 250.1 MB, 411,522 rows/s, 83.4 MB/s");
        assert_eq!(line(5, 10, 1.0, Total::Exact(10)), "5 rows (50 % of 10), 10 B, 5 rows/s, 10 B/s");
        assert_eq!(line(0, 0, 0.0, Total::Unknown), "0 rows, 0 B, 0 rows/s, 0 B/s");
        let of = |slices, n_slices| super::slices(Counts { slices, n_slices, ..Counts::default() });
        assert_eq!((of(0, 1), of(12, 1_055)), (String::new(), ", 12 of 1,055 slices".to_owned()));
    }
}
