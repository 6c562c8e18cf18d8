//! The progress of an export or load: bars on a terminal, elsewhere a line now and then, or lines of JSON.
//!
//! ```text
//!  Work ── counts, tables being read ─┬─ live:  a line for each table, and a bar for the whole
//!                                     ├─ plain: a line every ten seconds
//!                                     ├─ json:  an object every second, and one at the end
//!                                     └─ asked: the same object, for the program that runs the command
//! ```

mod json;
mod tables;
mod work;

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ::console::Term;
use indicatif::{ProgressBar, ProgressStyle};
use pgarrow_load::LoadStage;

pub(crate) use self::work::{Counts, Total, Work};
use crate::console::{Console, Shown, Tell};
use crate::units;

const BAR_INTERVAL: Duration = Duration::from_millis(100);
const LINE_INTERVAL: Duration = Duration::from_secs(10);
const JSON_INTERVAL: Duration = Duration::from_secs(1);
/// How often to look whether a load reached a stage that is printed at once.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Lines of the terminal that tables leave free: for the bar, and for what stands above.
const LINES_LEFT: usize = 2;

/// Shows the progress until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Dropped first, which ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Whoever asks it is told how far the run is.
    asked: Option<Console>,
}

impl Watch {
    /// Starts to show how far the work is, as the user chose.
    pub(crate) fn start(console: &Console, work: Work) -> Self {
        let shown = console.progress();
        let started = Instant::now();
        if shown == Shown::Nothing {
            return Self { stop: None, thread: None, asked: None };
        }
        if shown == Shown::Asked {
            let tell = move || json::line(&work, started.elapsed().as_secs_f64(), false);
            console.set_tell(Some(Tell(Box::new(tell))));
            return Self { stop: None, thread: None, asked: Some(console.clone()) };
        }
        let (stop, stopped) = mpsc::channel();
        let console = console.clone();
        let watch = move || {
            let tick = |interval| stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout);
            match shown {
                Shown::Nothing | Shown::Asked => {}
                Shown::Live => show_bar(&console, &work, started, tick),
                Shown::Plain => say_lines(&console, &work, started, tick),
                Shown::Json => write_json(&console, &work, started, tick),
            }
        };
        // Without a thread, the run goes on without progress.
        let thread = thread::Builder::new().name("pgarrow-progress".to_owned()).spawn(watch).ok();
        Self { stop: Some(stop), thread, asked: None }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(console) = self.asked.take() {
            console.set_tell(None);
        }
        if let Some(thread) = self.thread.take() {
            // A panic of the thread is printed already, and does not concern the export.
            let _ = thread.join();
        }
    }
}

fn say_lines(console: &Console, work: &Work, started: Instant, tick: impl Fn(Duration) -> bool) {
    let (mut said, mut was_doing) = (started, None);
    while tick(LOOK_INTERVAL) {
        let counts = work.counts();
        let doing = doing(counts);
        let is_new = doing.is_some() && counts.stage != was_doing;
        was_doing = counts.stage;
        if !is_new && said.elapsed() + LOOK_INTERVAL / 2 < LINE_INTERVAL {
            continue;
        }
        said = Instant::now();
        let line = doing.unwrap_or_else(|| {
            let seconds = started.elapsed().as_secs_f64();
            let line = line(counts.rows, counts.bytes, seconds, work.total());
            format!("{line}{}{}{}", slices(counts), tables(work), rejected(counts))
        });
        console.say(&format!("pgarrow: {line}"));
    }
}

fn write_json(console: &Console, work: &Work, started: Instant, tick: impl Fn(Duration) -> bool) {
    let write = |is_last| {
        let line = json::line(work, started.elapsed().as_secs_f64(), is_last);
        line.iter().for_each(|line| console.write(line));
    };
    while tick(JSON_INTERVAL) {
        write(false);
    }
    write(true);
}

fn show_bar(console: &Console, work: &Work, started: Instant, tick: impl Fn(Duration) -> bool) {
    let total = work.total();
    let bar = ProgressBar::new(total.at(0).unwrap_or(0));
    let template = match total.at(0) {
        Some(_) => "{prefix}{bar:20} {percent:>3}%  {msg}, {eta} left",
        None => "{prefix}{spinner} {msg}",
    };
    // An invalid template would be our mistake; then indicatif's own bar does.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    console.set_bar(Some(bar.clone()));
    while tick(BAR_INTERVAL) {
        let counts = work.counts();
        let rows = counts.rows;
        if let Some(total) = total.at(rows) {
            bar.set_length(total);
        }
        bar.set_position(rows);
        let seconds = started.elapsed().as_secs_f64();
        let rate = units::count(units::per_second(rows, seconds));
        bar.set_message(doing(counts).unwrap_or_else(|| {
            format!(
                "{}, {}, {rate} rows/s{}{}{}",
                units::counted(rows, "row"),
                units::bytes(counts.bytes),
                slices(counts),
                tables(work),
                rejected(counts)
            )
        }));
        // The terminal may be another size by now.
        let (height, width) = Term::stderr().size();
        let height = usize::from(height).saturating_sub(LINES_LEFT);
        let lines = tables::lines(&work.tables(), height, usize::from(width));
        bar.set_prefix(lines.iter().map(|line| format!("{line}\n")).collect::<String>());
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

/// `, 3 of 26 tables`; empty if there is only one.
fn tables(work: &Work) -> String {
    let n_tables = work.n_tables();
    n_tables
        .map(|(read, all)| format!(", {} of {} tables", units::count(read), units::count(all)))
        .unwrap_or_default()
}

/// `, 12 rejected (0.04 %)`; empty if none was.
fn rejected(counts: Counts) -> String {
    match counts.rejected {
        0 => String::new(),
        rejected => {
            format!(", {} rejected ({})", units::count(rejected), units::share(rejected, counts.given))
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
        LoadStage::Tending => Some(format!("{rows} committed; the server looks through the table")),
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
    fn a_line_with_and_without_a_denominator() {
        let with = line(1_234_567, 250_100_000, 3.0, Total::Estimated(10_000_000));
        assert_eq!(with, "1,234,567 rows (12 % of about 10,000,000), 250.1 MB, 411,522 rows/s, 83.4 MB/s");
        assert_eq!(line(5, 10, 1.0, Total::Exact(10)), "5 rows (50 % of 10), 10 B, 5 rows/s, 10 B/s");
        assert_eq!(line(0, 0, 0.0, Total::Unknown), "0 rows, 0 B, 0 rows/s, 0 B/s");
        let of = |slices, n_slices| super::slices(Counts { slices, n_slices, ..Counts::default() });
        assert_eq!((of(0, 1), of(12, 1_055)), (String::new(), ", 12 of 1,055 slices".to_owned()));
    }
}
