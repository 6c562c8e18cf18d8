//! What is seen of an export while it runs: a bar on a terminal, a line now and then elsewhere.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use pgarrow::{Plan, Progress};

use crate::console::Console;
use crate::units;

const BAR_INTERVAL: Duration = Duration::from_millis(100);
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Shows the progress until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Dropped first, which ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts to show how far the `plans` are; nothing at all when quiet.
    pub(crate) fn start(console: &Console, progress: Arc<Progress>, plans: &[Arc<Plan>]) -> Self {
        if console.is_quiet() {
            return Self { stop: None, thread: None };
        }
        // One table that was never analysed, and the sum is no estimate.
        let estimated_rows: Option<u64> = plans.iter().map(|plan| plan.estimated_rows()).sum();
        let n_slices = plans.iter().map(|plan| plan.n_slices() as u64).sum();
        let (stop, stopped) = mpsc::channel();
        let console = console.clone();
        let estimate = Estimate(estimated_rows.filter(|rows| *rows > 0));
        let started = Instant::now();
        let watch = move || {
            let tick = |interval| stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout);
            if io::stderr().is_terminal() {
                show_bar(&console, &progress, (estimate, n_slices), started, tick);
            } else {
                while tick(LINE_INTERVAL) {
                    let seconds = started.elapsed().as_secs_f64();
                    let (rows, wire_bytes) = (progress.rows(), progress.wire_bytes());
                    let line = line(rows, wire_bytes, seconds, estimate);
                    console.say(&format!("pgarrow: {line}{}", slices(progress.slices(), n_slices)));
                }
            }
        };
        // Without a thread, the export runs all the same.
        let thread = thread::Builder::new().name("pgarrow-progress".to_owned()).spawn(watch).ok();
        Self { stop: Some(stop), thread }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed, and is none of the export's business.
            let _ = thread.join();
        }
    }
}

/// How many rows there will be. The server's own guess, so it may be passed: then it grows.
#[derive(Clone, Copy, Debug)]
struct Estimate(Option<u64>);

impl Estimate {
    /// The denominator when there are `rows` already: never less, and with room while they still come.
    fn total(self, rows: u64) -> Option<u64> {
        self.0.map(|estimate| if rows < estimate { estimate } else { rows + rows / 50 + 1 })
    }
}

fn show_bar(
    console: &Console,
    progress: &Progress,
    (estimate, n_slices): (Estimate, u64),
    started: Instant,
    tick: impl Fn(Duration) -> bool,
) {
    let bar = ProgressBar::new(estimate.0.unwrap_or(0));
    let template = match estimate.0 {
        Some(_) => "{bar:20} {percent:>3}%  {msg}, {eta} left",
        None => "{spinner} {msg}",
    };
    // A template that cannot be read would be a mistake of ours: indicatif's own bar then does.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    console.set_bar(Some(bar.clone()));
    while tick(BAR_INTERVAL) {
        let (rows, wire_bytes) = (progress.rows(), progress.wire_bytes());
        if let Some(total) = estimate.total(rows) {
            bar.set_length(total);
        }
        bar.set_position(rows);
        let seconds = started.elapsed().as_secs_f64();
        let rate = units::count(units::per_second(rows, seconds));
        bar.set_message(format!(
            "{}, {}, {rate} rows/s{}",
            units::counted(rows, "row"),
            units::bytes(wire_bytes),
            slices(progress.slices(), n_slices)
        ));
        bar.tick();
    }
    console.set_bar(None);
    bar.finish_and_clear();
}

/// `1,234,567 rows (12 % of about 10,000,000), 250.1 MB, 410,000 rows/s, 83.2 MB/s`.
fn line(rows: u64, wire_bytes: u64, seconds: f64, estimate: Estimate) -> String {
    let share = match estimate.total(rows) {
        Some(total) => format!(" ({} % of about {})", percent(rows, total), units::count(total)),
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

/// `, 12 of 55 slices`; nothing where there is one.
fn slices(n_done: u64, n_slices: u64) -> String {
    match n_slices {
        0 | 1 => String::new(),
        _ => format!(", {} of {} slices", units::count(n_done), units::count(n_slices)),
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
            let total = Estimate(Some(100)).total(rows).unwrap();
            assert!(total > rows && percent(rows, total) < 100, "{rows} of {total}");
        }
        assert_eq!(Estimate(None).total(5), None);
    }

    #[test]
    fn a_line_with_and_without_a_denominator() {
        let with = line(1_234_567, 250_100_000, 3.0, Estimate(Some(10_000_000)));
        assert_eq!(with, "1,234,567 rows (12 % of about 10,000,000), 250.1 MB, 411,522 rows/s, 83.4 MB/s");
        assert_eq!(line(0, 0, 0.0, Estimate(None)), "0 rows, 0 B, 0 rows/s, 0 B/s");
        assert_eq!((slices(0, 1), slices(12, 1_055)), (String::new(), ", 12 of 1,055 slices".to_owned()));
    }
}
