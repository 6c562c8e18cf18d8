//! `pgarrow report`: a run as one page of HTML, without scripts, and without anything from elsewhere.
//!
//! ```text
//!  report of an export or a run ─┐
//!  newest manifest of a folder ──┴─▶ Record ─▶ page: tiles, phases, curves, tables, files ─▶ -o FILE, or stdout
//! ```
//!
//! Text goes through `maud`, which escapes it: names of tables and columns may be anything. The page also
//! tells browsers to run no script and to load nothing.

mod chart;
mod input;
mod parts;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use pgarrow::{Cancel, Error, escape_control};
use pgarrow_sink::SinkError;

use self::input::Record;
use crate::console::Console;
use crate::exit::Failure;
use crate::flags::ReportFlags;
use crate::help;
use crate::outputs::open_file;
use crate::signals::{GRACE, Signals};
use crate::units;

const STYLE: &str = include_str!("html/style.css");

/// No script, no request: only the style that stands in the page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// Makes the page of a run.
pub(crate) fn report(flags: &ReportFlags, console: &Console) -> Result<(), Failure> {
    use std::io::Write;

    let signals = Signals::install(Cancel::new(), console.clone(), GRACE)?;
    let output = flags.output.as_deref();
    let output = output.map(|path| open_file(path, flags.overwrite, &signals)).transpose()?;
    let page = page(&Record::read(&flags.place)?).into_string();
    let (Some(mut output), Some(path)) = (output, &flags.output) else { return help::print(page.as_bytes()) };
    let written = output.write_all(page.as_bytes());
    written.map_err(|error| Error::from(SinkError::io("write", Some(path), error)))?;
    let published = output.publish().map_err(Error::from)?;
    published.warnings.iter().for_each(|warning| console.warn(warning));
    console.say(&format!("pgarrow: wrote {}", path.display()));
    Ok(())
}

fn page(run: &Record) -> Markup {
    let subject = run.subject.as_deref().map_or_else(|| "a run".to_owned(), escape_control);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "pgarrow: " (subject) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { (subject) (status(run)) }
                    (origin(run))
                    (tiles(run))
                    (parts::trouble(run))
                    (parts::failed(run))
                    (parts::warnings(run))
                    (parts::phases(run))
                    (parts::over_time(run))
                    (parts::readers(run))
                    (parts::memory(run))
                    (parts::tables(run))
                    (parts::loads(run))
                    (parts::columns_of_one(run))
                    (parts::files(run))
                    (ending(run))
                }
            }
        }
    }
}

fn status(run: &Record) -> Markup {
    match run.status.as_deref() {
        Some(status @ ("failed" | "incomplete")) => {
            html! { span.badge.bad { (status) ", exit code " (run.exit_code) } }
        }
        Some(status) if !run.failed.is_empty() => html! { span.badge.bad { (status) ", incomplete" } },
        Some(status) => html! { span.badge.good { (status) } },
        None => html! {},
    }
}

/// Where rows came from, when, and where they went.
fn origin(run: &Record) -> Markup {
    let server = &run.server;
    html! {
        p.soft {
            @if !server.database.is_empty() {
                "database " (escape_control(&server.database)) " at " (escape_control(&server.endpoint))
                @if let Some(version) = &server.version { ", PostgreSQL " (escape_control(version)) }
            }
            @if let Some(load) = &run.load {
                ", into " (escape_control(&load.target)) " of database " (escape_control(&load.server.database))
                " at " (escape_control(&load.server.endpoint))
                @if let Some(rows) = load.rows { " (" (units::counted(rows, "row")) ")" }
            }
        }
        p.soft {
            @if let Some(started) = &run.started { (started) }
            @if let Some(ended) = &run.ended { " to " (ended) }
        }
    }
}

fn tiles(run: &Record) -> Markup {
    let file_bytes = run.files.iter().map(|file| file.bytes).sum();
    let mut tiles: Vec<(String, &str)> = Vec::new();
    if run.status.as_deref() != Some("failed") {
        tiles.push((units::count(run.rows), "rows"));
    }
    if let Some(seconds) = run.seconds {
        tiles.extend([
            (units::seconds(seconds), "from the first COPY to the end"),
            (units::count(units::per_second(run.rows, seconds)), "rows a second"),
            (units::bytes(run.wire_bytes), "from the server"),
            (format!("{}/s", units::bytes(units::per_second(run.wire_bytes, seconds))), "from the server"),
        ]);
    }
    if !run.files.is_empty() {
        tiles.push((
            units::count(run.files.len() as u64),
            if run.files.len() == 1 { "file" } else { "files" },
        ));
        tiles.push((units::bytes(file_bytes), "in files"));
    }
    let n_at_work = run.readers.iter().filter(|reader| reader.slices > 0).count();
    if n_at_work > 0 {
        tiles.push((units::count(n_at_work as u64), "readers at work"));
    }
    if let Some(slices) = run.slices {
        tiles.push((units::count(slices), "slices"));
    }
    if let Some(bytes) = run.peak_memory_bytes {
        tiles.push((units::memory(bytes), "peak memory of the process"));
    }
    if let Some(seconds) = run.cpu_seconds {
        tiles.push((units::seconds(seconds), "of CPU time"));
    }
    html! {
        @if !tiles.is_empty() {
            div.tiles { @for (value, what) in &tiles { div { b { (value) } span { (what) } } } }
        }
    }
}

fn ending(run: &Record) -> Markup {
    html! {
        footer {
            @if let Some(snapshot) = &run.snapshot {
                p { "Snapshot " span.mono { (escape_control(snapshot)) } }
            }
            @if let Some(manifest) = &run.manifest { p { "Manifest " (manifest.number) } }
            @if let Some(run_id) = &run.run_id { p { "Run " span.mono { (escape_control(run_id)) } } }
            @if let Some(version) = &run.pgarrow_version { p { "pgarrow " (escape_control(version)) } }
        }
    }
}
