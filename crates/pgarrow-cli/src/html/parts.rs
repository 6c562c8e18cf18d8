//! The parts of the page: each is empty if the run has nothing to say about it.

use std::collections::BTreeMap;

use maud::{Markup, html};
use pgarrow::{Limit, escape_control};

use super::chart::{bar, curve, levels, rates};
use super::input::{Column, Record, TableOf};
use crate::{units, words};

/// Most files that are listed; of more, the largest.
const FILES_MAX: usize = 200;

/// The phases: their names in the report, and in words. Those that only wait are marked.
const PHASES: [(&str, &str, bool); 10] = [
    ("connect", "connecting", false),
    ("plan", "planning", false),
    ("wait_for_server", "waiting for the server", true),
    ("receive", "receiving", false),
    ("decode", "decoding", false),
    ("encode", "encoding", false),
    ("write", "writing", false),
    ("wait_for_sink", "waiting for the output", true),
    ("wait_for_memory", "waiting for memory", true),
    ("commit", "committing", false),
];

pub(super) fn trouble(run: &Record) -> Markup {
    let Some(trouble) = &run.error else { return html! {} };
    html! {
        h2 { "Why it failed" }
        div.notes.bad {
            p { (lines(&trouble.text)) }
            p.soft {
                (escape_control(&trouble.kind))
                @if let Some(sqlstate) = &trouble.sqlstate { ", SQLSTATE " (escape_control(sqlstate)) }
            }
        }
    }
}

/// The tables that the run went on without.
pub(super) fn failed(run: &Record) -> Markup {
    html! {
        @if !run.failed.is_empty() {
            h2 { (units::counted(run.failed.len() as u64, "table")) " failed" }
            div.notes.bad {
                ul {
                    @for failed in &run.failed {
                        li { b { (escape_control(&failed.table)) } ": " (lines(&failed.error)) }
                    }
                }
            }
        }
    }
}

/// The tables of another server that the rows went to.
pub(super) fn loads(run: &Record) -> Markup {
    let longest = run.loads.iter().map(|load| load.seconds).fold(0.0, f64::max);
    html! {
        @if let Some(first) = run.loads.first() {
            h2 {
                (units::counted(run.loads.len() as u64, "table")) " loaded into database "
                (escape_control(&first.server.database)) " at " (escape_control(&first.server.endpoint))
            }
            div.wide {
                table {
                    tr {
                        th { "table" } th { "mode" } th.n { "rows" } th.n { "to the server" } th.n { "seconds" } th {}
                    }
                    @for load in &run.loads {
                        tr {
                            td.name {
                                (escape_control(&load.target))
                                @for warning in &load.warnings { p.soft { (lines(warning)) } }
                            }
                            td { (escape_control(&load.mode)) }
                            td.n { (units::count(load.rows.unwrap_or_default())) }
                            td.n { (units::bytes(load.wire_bytes)) }
                            td.n { (format!("{:.3}", load.seconds)) }
                            td.bars { (bar(load.seconds, longest, "work")) }
                        }
                    }
                }
            }
        }
    }
}

/// Messages of several lines stay so; other control characters are escaped.
fn lines(text: &str) -> String {
    text.lines().map(escape_control).collect::<Vec<_>>().join("\n")
}

pub(super) fn warnings(run: &Record) -> Markup {
    html! {
        @if !run.warnings.is_empty() {
            h2 { (units::counted(run.warnings.len() as u64, "warning")) }
            div.notes { ul { @for warning in &run.warnings { li { (lines(warning)) } } } }
        }
    }
}

/// Where the time went, and what the limit was.
pub(super) fn phases(run: &Record) -> Markup {
    let Some(phases) = &run.phases else { return html! {} };
    let total: f64 = phases.values().sum();
    let seconds = |name: &str| phases.get(name).copied().unwrap_or_default();
    html! {
        h2 { "Where the time went" }
        p { (sentence(run)) }
        table {
            tr { th { "phase" } th.n { "seconds" } th.n { "share" } th {} }
            @for (name, what, is_wait) in PHASES {
                @if seconds(name) > 0.0 {
                    tr {
                        td { (what) }
                        td.n { (format!("{:.3}", seconds(name))) }
                        td.n { (format!("{:.1} %", seconds(name) * 100.0 / total)) }
                        td.bars { (bar(seconds(name), total, kind(is_wait))) }
                    }
                }
            }
        }
        p.key { "The sum over all readers." i.work {} "work" i.wait {} "waiting" }
        @if let Some(slicing) = &run.slicing { p.soft { (lines(slicing)) } }
        @for note in &run.page_notes { p.soft { "not by pages: " (lines(note)) } }
        @if let Some(mode) = &run.read_mode { p.soft { "read mode: " (escape_control(mode)) } }
        @if run.slices_redone > 0 {
            p.soft { (units::counted(run.slices_redone, "slice")) " read again after a connection was lost" }
        }
    }
}

fn kind(is_wait: bool) -> &'static str {
    if is_wait { "wait" } else { "work" }
}

/// What a faster run would have to change.
fn sentence(run: &Record) -> String {
    let all = [
        Limit::Server,
        Limit::Network,
        Limit::ServerOrNetwork,
        Limit::Pgarrow,
        Limit::Output,
        Limit::Consumer,
        Limit::Memory,
    ];
    let named = run.limit.as_deref().and_then(|name| {
        all.into_iter().find(|limit| serde_json::to_value(limit).is_ok_and(|value| value == name))
    });
    named.map(|limit| words::message(&limit.sentence())).unwrap_or_default()
}

/// Throughput and memory over time.
pub(super) fn over_time(run: &Record) -> Markup {
    if run.samples.len() < 2 {
        return html! {};
    }
    let samples = &run.samples;
    let per_second = |words: fn(u64) -> String| move |value| format!("{}/s", words(value));
    html! {
        h2 { "Over time" }
        (curve("Bytes from the server", &rates(samples, |it| it.wire_bytes), per_second(units::bytes)))
        (curve("Rows", &rates(samples, |it| it.rows), per_second(units::count)))
        (curve("Memory within the limit", &levels(samples, |it| it.memory_bytes), units::memory))
    }
}

pub(super) fn readers(run: &Record) -> Markup {
    if run.readers.len() < 2 {
        return html! {};
    }
    let waits = |phases: &BTreeMap<String, f64>| -> f64 {
        PHASES.iter().filter(|(_, _, is_wait)| *is_wait).filter_map(|(name, ..)| phases.get(*name)).sum()
    };
    let longest = run.readers.iter().map(|it| it.phases.values().sum::<f64>()).fold(0.0, f64::max);
    html! {
        h2 { "Readers" }
        table {
            tr { th.n { "reader" } th.n { "slices" } th.n { "rows" } th.n { "from the server" }
                th { "work" } th { "waiting" } }
            @for (index, reader) in run.readers.iter().enumerate() {
                @let waited = waits(&reader.phases);
                @let worked = reader.phases.values().sum::<f64>() - waited;
                tr {
                    td.n { (index + 1) }
                    td.n { (units::count(reader.slices)) }
                    td.n { (units::count(reader.rows)) }
                    td.n { (units::bytes(reader.wire_bytes)) }
                    td.bars { (units::seconds(worked)) (bar(worked, longest, "work")) }
                    td.bars { (units::seconds(waited)) (bar(waited, longest, "wait")) }
                }
            }
        }
    }
}

pub(super) fn memory(run: &Record) -> Markup {
    let Some(memory) = &run.memory else { return html! {} };
    html! {
        h2 { "Memory" }
        p {
            (units::memory(memory.peak_bytes)) " of " (units::memory(memory.limit_bytes)) " were used at most; "
            (waits(memory.waits)) ", and "
            (units::counted(memory.row_groups_ended_early, "row group")) " ended early for it. "
            "Of " (units::counted(memory.buffers_allocated + memory.buffers_reused, "buffer"))
            ", " (units::count(memory.buffers_reused)) " had been used before."
        }
    }
}

fn waits(number: u64) -> String {
    match number {
        0 => "no reader waited for memory".to_owned(),
        number => format!("readers waited for memory {}", units::counted(number, "time")),
    }
}

/// The tables, the longest first; those whose time is not known, the largest.
pub(super) fn tables(run: &Record) -> Markup {
    if run.tables.is_empty() {
        return html! {};
    }
    let mut tables: Vec<&TableOf> = run.tables.iter().collect();
    let seconds = |table: &TableOf| table.seconds.unwrap_or_default();
    tables
        .sort_by(|one, two| seconds(two).total_cmp(&seconds(one)).then(two.file_bytes.cmp(&one.file_bytes)));
    let longest = tables.iter().map(|table| seconds(table)).fold(0.0, f64::max);
    let has_time = longest > 0.0;
    html! {
        h2 { (units::counted(tables.len() as u64, "table")) }
        div.wide {
            table {
                tr {
                    th { "table" } th.n { "rows" }
                    @if has_time { th.n { "from the server" } }
                    th.n { "slices" } th.n { "files" } th.n { "in files" }
                    @if has_time { th.n { "seconds" } th {} }
                }
                @for table in tables {
                    tr.of {
                        td.name { (escape_control(&table.table)) }
                        td.n { (units::count(table.rows)) }
                        @if has_time { td.n { (units::bytes(table.wire_bytes)) } }
                        td.n { (units::count(table.slices)) }
                        td.n { (units::count(table.files)) }
                        td.n { (units::bytes(table.file_bytes)) }
                        @if has_time {
                            td.n { (format!("{:.3}", seconds(table))) }
                            td.bars { (bar(seconds(table), longest, "work")) }
                        }
                    }
                    tr.more {
                        td colspan=(if has_time { 8 } else { 5 }) {
                            @for warning in &table.warnings { p.soft { (lines(warning)) } }
                            (columns(&table.columns, false))
                        }
                    }
                }
            }
        }
        @if has_time { p.key { "Tables are read at the same time: their seconds may be more than the run took." } }
    }
}

pub(super) fn columns_of_one(run: &Record) -> Markup {
    html! {
        @if !run.columns.is_empty() { h2 { "Columns" } (columns(&run.columns, true)) }
    }
}

/// The columns, to be opened by who wants to see them, or open already.
fn columns(columns: &[Column], is_open: bool) -> Markup {
    html! {
        @if !columns.is_empty() {
            details open[is_open] {
                summary { (units::counted(columns.len() as u64, "column")) }
                table {
                    tr { th { "column" } th { "type" } th { "in Arrow" } th { "NULL" } th { "changed values" } }
                    @for column in columns {
                        tr {
                            td.mono { (escape_control(&column.name)) }
                            td.mono { (escape_control(&column.pg_type)) }
                            td.mono { (escape_control(&column.arrow_type)) }
                            td { (if column.nullable { "may be" } else { "never" }) }
                            td {
                                @for (effect, count) in &column.effects {
                                    (escape_control(effect)) ": " (units::count(*count)) " "
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The sizes of files, the largest first.
pub(super) fn files(run: &Record) -> Markup {
    if run.files.is_empty() {
        return html! {};
    }
    let mut files = run.files.clone();
    files.sort_by(|one, two| two.bytes.cmp(&one.bytes).then_with(|| one.path.cmp(&two.path)));
    let largest = files.first().map_or(0, |file| file.bytes) as f64;
    let n_more = files.len().saturating_sub(FILES_MAX);
    let median = files.get(files.len() / 2).map_or(0, |file| file.bytes);
    html! {
        h2 { "File sizes" }
        @if files.len() > 2 {
            p.soft { "the largest " (units::bytes(largest as u64)) ", half of them " (units::bytes(median))
                " or more" }
        }
        div.wide {
            table {
                tr { th { "file" } th.n { "rows" } th.n { "row groups" } th.n { "size" } th {} }
                @for file in files.iter().take(FILES_MAX) {
                    tr {
                        td.name.mono { (escape_control(file.path.as_deref().unwrap_or("stdout"))) }
                        td.n { (units::count(file.rows)) }
                        td.n { @if let Some(n_groups) = file.row_groups { (units::count(n_groups)) } }
                        td.n { (units::bytes(file.bytes)) }
                        td.bars { (bar(file.bytes as f64, largest, "work")) }
                    }
                }
            }
        }
        @if n_more > 0 { p.soft { "and " (units::counted(n_more as u64, "smaller file")) } }
    }
}
