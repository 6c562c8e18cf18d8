//! The lines at the end of an export or load.

use pgarrow::{FileReport, Limit, Message, PagesReport, Phases, Plan, Report};
use pgarrow_job::ServerVerified;
use pgarrow_load::{LoadPhases, LoadReport, WriterReport};

use crate::console::Console;
use crate::units;
use crate::words;

/// A run that took less is too short to say where its time went.
const SECONDS_TO_EXPLAIN: f64 = 0.5;
/// Most files that are listed one by one.
const FILES_NAMED: usize = 4;
/// Most lines of what policies did to columns.
const EFFECTS_NAMED: usize = 20;
/// Most lines of reasons why tables were not read by pages.
const NOTES_NAMED: usize = 4;
/// The line for a pooler between pgarrow and the server.
const POOLER: &str =
    "read through a connection pooler: its limits of time and connections hold for exports, too";
/// A phase with a smaller share of the time is not named.
const SHARE_TO_NAME: f64 = 0.03;

/// How many rows a plan expects.
pub(crate) fn estimated_rows(plan: &Plan) -> String {
    plan.estimated_rows()
        .map_or_else(|| "size not known".to_owned(), |rows| format!("about {}", units::counted(rows, "row")))
}

/// The lines for an export: what was read, by pages or not, where the time went, whether through a pooler,
/// what policies did to values, and what was written. `n_readers` is the planned number of readers;
/// `wants_pages` says that the user asked for pages. `peak` says whether these lines have the peak memory, or
/// other lines about the same process.
pub(crate) fn lines(report: &Report, n_readers: usize, wants_pages: bool, peak: Peak) -> Vec<String> {
    let read = match peak {
        Peak::Said => {
            format!("{}: {}, {}", report.subject, reading(report), peak_memory(report.peak_memory_bytes))
        }
        Peak::Left => format!("{}: {}", report.subject, reading(report)),
    };
    let explains = report.seconds > SECONDS_TO_EXPLAIN || report.readers.len() > 1;
    std::iter::once(read)
        .chain(by_pages(report.pages.as_ref(), &report.page_notes, wants_pages))
        .chain(explains.then(|| explanation(report, n_readers)))
        .chain((report.server.through_pooler == Some(true)).then(|| POOLER.to_owned()))
        .chain(effects(report.effects_text()))
        .chain(files(&report.files))
        .collect()
}

/// Says what came of a comparison before the commit.
pub(crate) fn verified(verified: &ServerVerified, console: &Console) {
    let are = if verified.tables == 1 { "is" } else { "are" };
    console.say(&format!(
        "pgarrow: {} with {} {are} what the server has under the same snapshot",
        units::counted(verified.tables as u64, "table"),
        units::counted(verified.rows, "row")
    ));
    if !verified.not_compared.is_empty() {
        let n = units::counted(verified.not_compared.len() as u64, "table or column");
        console.warn(format!("not compared before the commit: {n}; the report says which"));
    }
}

/// What policies did to values; of very many columns, only the first ones.
fn effects(mut lines: Vec<String>) -> Vec<String> {
    let n_more = lines.len().saturating_sub(EFFECTS_NAMED);
    if n_more > 1 {
        lines.truncate(EFFECTS_NAMED);
        lines.push(format!(
            "{} more like these are in the report (--report FILE)",
            units::count(n_more as u64)
        ));
    }
    lines
}

/// `pages: 7,935 as they are stored, 65 by COPY (32 not all-visible, 33 with values out of line)`, and why
/// whole tables came by COPY. If no pages were read, the reasons are only for users who asked for pages: most
/// servers hand out none.
fn by_pages(pages: Option<&PagesReport>, notes: &[Message], wants_pages: bool) -> Vec<String> {
    let mut lines: Vec<String> = pages.map(pages_line).into_iter().collect();
    if pages.is_none() && !wants_pages {
        return lines;
    }
    lines
        .extend(notes.iter().take(NOTES_NAMED).map(|note| format!("not by pages: {}", words::message(note))));
    let n_more = notes.len().saturating_sub(NOTES_NAMED);
    if n_more > 0 {
        let n_more = units::count(n_more as u64);
        lines.push(format!("not by pages: {n_more} more are in the report (--report FILE)"));
    }
    lines
}

fn pages_line(pages: &PagesReport) -> String {
    let mut line = format!("pages: {} as they are stored", units::count(pages.read));
    if pages.judged > 0 {
        line.push_str(&format!(" ({} of them judged row by row)", units::count(pages.judged)));
    }
    if pages.copied > 0 {
        let reasons = pages.reasons.iter().map(|(reason, pages)| {
            let reason = match reason.as_str() {
                "not_all_visible" => "not all-visible",
                "undecided" => "not all-visible and undecided",
                "out_of_line" => "with values out of line",
                "unverified" => "not verified",
                "with_others" => "among those",
                other => other,
            };
            format!("{} {reason}", units::count(*pages))
        });
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        line.push_str(&format!(", {} by COPY ({reasons})", units::count(pages.copied)));
    }
    line
}

/// Whether to print the peak memory of the process, which is printed only once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peak {
    Said,
    /// Other lines have it.
    Left,
}

/// `peak memory 61.2 MiB`: of the whole process, as the system counts it. The report has the bytes that count
/// against --memory.
pub(crate) fn peak_memory(bytes: u64) -> String {
    format!("peak memory {}", units::memory(bytes))
}

/// `600,572 rows, 131.1 MB from the server in 0.81 s (741,000 rows/s, 161.9 MB/s)`.
pub(crate) fn reading(report: &Report) -> String {
    format!(
        "{}, {} from the server in {} ({} rows/s, {}/s)",
        units::counted(report.rows, "row"),
        units::bytes(report.wire_bytes),
        units::seconds(report.seconds),
        units::count(units::per_second(report.rows, report.seconds)),
        units::bytes(units::per_second(report.wire_bytes, report.seconds)),
    )
}

/// `2 readers, 55 slices; waiting for the server 71 %, decoding 12 %; the server is the limit: …`.
fn explanation(report: &Report, n_readers: usize) -> String {
    let at_work = report.readers.iter().filter(|reader| reader.slices > 0).count();
    let redone = match report.slices_redone {
        0 => String::new(),
        n_redone => format!(" ({} read again)", units::count(n_redone)),
    };
    let mut parts =
        vec![format!("{}, {}{redone}", readers(at_work, n_readers), units::counted(report.slices, "slice"),)];
    parts.extend(shares(&report.phases));
    parts.push(words::message(&report.limit.sentence()));
    parts.join("; ")
}

/// `2 readers`; `1 of 4 readers` where others could not connect, or came too late.
fn readers(at_work: usize, planned: usize) -> String {
    let of = if at_work < planned { format!("{at_work} of ") } else { String::new() };
    format!("{of}{}", units::counted(at_work.max(planned) as u64, "reader"))
}

/// `waiting for the server 71 %, decoding 12 %`, the largest first.
fn shares(phases: &Phases) -> Option<String> {
    of_total([
        ("connecting", phases.connect),
        ("planning", phases.plan),
        ("waiting for the server", phases.wait_for_server),
        ("receiving", phases.receive),
        ("decoding", phases.decode),
        ("encoding", phases.encode),
        ("writing", phases.write),
        ("waiting for the output", phases.wait_for_sink),
        ("waiting for memory", phases.wait_for_memory),
        ("committing", phases.commit),
    ])
}

/// The shares that are large enough to name.
fn of_total<const N: usize>(mut phases: [(&'static str, f64); N]) -> Option<String> {
    let total: f64 = phases.iter().map(|(_, seconds)| seconds).sum();
    phases.sort_by(|(_, one), (_, two)| two.total_cmp(one));
    let named = phases.iter().map(|(name, seconds)| (name, seconds / total));
    let named = named.filter(|(_, share)| *share >= SHARE_TO_NAME);
    let named: Vec<String> = named.map(|(name, share)| format!("{name} {:.0} %", share * 100.0)).collect();
    (!named.is_empty()).then(|| named.join(", "))
}

/// One of many tables that were loaded.
pub(crate) fn table_line(report: &LoadReport) -> String {
    format!(
        "{}: {}, {} to the server",
        report.target,
        units::counted(report.rows, "row"),
        units::bytes(report.wire_bytes)
    )
}

/// What was loaded, where the time went, and how long batches took: a line each.
pub(crate) fn load_lines(report: &LoadReport) -> Vec<String> {
    let mut lines = vec![format!(
        "{}: {}, {} to the server in {} ({} rows/s, {}/s), {}; database {} at {}",
        report.target,
        units::counted(report.rows, "row"),
        units::bytes(report.wire_bytes),
        units::seconds(report.seconds),
        units::count(units::per_second(report.rows_sent, report.seconds)),
        units::bytes(units::per_second(report.wire_bytes, report.seconds)),
        peak_memory(report.peak_memory_bytes),
        report.server.database,
        report.server.endpoint,
    )];
    if report.rows_before > 0 {
        let before = units::counted(report.rows_before, "row");
        lines.push(format!("earlier starts of this load have dealt with the first {before} of the data"));
    }
    if report.seconds > SECONDS_TO_EXPLAIN {
        let phases = &report.phases;
        lines.extend(load_shares(phases).map(|shares| format!("{shares}; {}", load_limit(report.limit))));
    }
    if report.batches > 1 {
        let times = report.batch_times;
        lines.push(format!(
            "{} batches: half of them within {}, 99 of 100 within {}, the slowest {}",
            units::count(report.batches),
            millis(times.p50),
            millis(times.p99),
            millis(times.max),
        ));
    }
    lines.extend(writers(&report.writers));
    if report.upkeep.seconds > SECONDS_TO_EXPLAIN {
        lines.push(format!(
            "{} after the commit, for VACUUM or ANALYZE",
            units::seconds(report.upkeep.seconds)
        ));
    }
    lines
}

/// `4 writers: 14,213 to 16,002 rows each, 21.4 MB/s to 25.0 MB/s; 99 of 100 buffers sent within 3.1 ms`.
fn writers(writers: &[WriterReport]) -> Option<String> {
    let rows = writers.iter().map(|writer| writer.rows);
    let (fewest, most) = (rows.clone().min()?, rows.max()?);
    let speeds = writers.iter().map(|writer| units::per_second(writer.wire_bytes, writer.seconds));
    let (slowest, fastest) = (speeds.clone().min()?, speeds.max()?);
    let p99 = writers.iter().map(|writer| writer.buffer_times.p99).fold(0.0, f64::max);
    Some(format!(
        "{}: {} to {} rows each, {}/s to {}/s; 99 of 100 buffers sent within {}",
        units::counted(writers.len() as u64, "writer"),
        units::count(fewest),
        units::count(most),
        units::bytes(slowest),
        units::bytes(fastest),
        millis(p99),
    ))
}

/// The line for a load that was complete before it began.
pub(crate) fn nothing_to_do(report: &LoadReport) -> String {
    format!(
        "{}: nothing to do, {} loaded under this restart key before; another --restart-key loads them again",
        report.target,
        match report.rows_before {
            1 => "the row was".to_owned(),
            rows => format!("all {} rows were", units::count(rows)),
        }
    )
}

/// The line for rows that a load rejected: `rows` of the `given` ones now, and `earlier` ones by earlier
/// starts.
pub(crate) fn rejected(rows: u64, given: u64, earlier: u64, file: &str) -> Option<String> {
    match (rows, earlier) {
        (_, 0) => rejected_by(rows, given, "loaded", file),
        _ => Some(format!(
            "{} could not be loaded, besides {} of earlier starts; {file} has them all, with the reasons",
            of_given(rows, given),
            units::count(earlier)
        )),
    }
}

/// The line for rows that an export rejected.
pub(crate) fn not_exported(report: &Report, file: &str) -> Option<String> {
    rejected_by(report.rows_rejected, report.rows + report.rows_rejected, "exported", file)
}

fn rejected_by(rows: u64, given: u64, what: &str, file: &str) -> Option<String> {
    let were = if rows == 1 { "was" } else { "were" };
    let text = || {
        let now = of_given(rows, given);
        format!("{now} could not be {what}, and {were} written to {file} with the reasons")
    };
    (rows > 0).then(text)
}

/// `12 of 30,000 rows (0.04 %)`.
fn of_given(rows: u64, given: u64) -> String {
    let share = if rows == 0 { String::new() } else { format!(" ({})", units::share(rows, given)) };
    format!("{} of {}{share}", units::count(rows), units::counted(given, "row"))
}

/// Rows are sent while others are encoded, so sending has no share of the whole time.
fn load_shares(phases: &LoadPhases) -> Option<String> {
    of_total([
        ("connecting", phases.connect),
        ("planning", phases.plan),
        ("waiting for the input", phases.wait_for_input),
        ("encoding", phases.encode),
        ("waiting for rows to be sent", phases.wait_for_send),
        ("waiting for the server", phases.wait_for_server),
        ("committing", phases.commit),
    ])
}

/// The text for what held the load back.
fn load_limit(limit: Limit) -> String {
    let text = match limit {
        Limit::Input => "the input is the limit: the server waits for rows to be read",
        Limit::Pgarrow => "this machine is the limit: the server waits for rows to be encoded and sent",
        Limit::Server => "the server is the limit: it takes rows no faster",
        Limit::Output => "the server's disk is the limit: it takes its time to commit",
        other => return other.sentence().to_string(),
    };
    text.to_owned()
}

/// `1.2 ms`.
fn millis(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1000.0)
}

/// A line for each file; if there are many, one for all of them.
fn files(files: &[FileReport]) -> Vec<String> {
    if files.len() <= FILES_NAMED {
        return files.iter().map(file).collect();
    }
    let bytes = files.iter().map(|file| file.bytes).sum();
    let folder = files.first().and_then(|file| file.path.as_deref()?.rsplit_once('/'));
    let folder = folder.map_or(String::new(), |(folder, _)| format!("{folder}/: "));
    vec![format!("{folder}{}, {}", units::counted(files.len() as u64, "file"), units::bytes(bytes))]
}

/// `lineitem.parquet: 21.4 MB, 1 row group`.
pub(crate) fn file(file: &FileReport) -> String {
    let groups = file.row_groups.and_then(|n_groups| u64::try_from(n_groups).ok());
    let groups = groups.map(|n_groups| format!(", {}", units::counted(n_groups, "row group")));
    let name = file.path.as_deref().unwrap_or("stdout");
    format!("{name}: {}{}", units::bytes(file.bytes), groups.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_the_time_the_largest_first() {
        let mut phases = Phases::default();
        assert_eq!(shares(&phases), None);
        phases.decode = 12.0;
        phases.wait_for_server = 86.0;
        phases.plan = 2.0;
        assert_eq!(shares(&phases).as_deref(), Some("waiting for the server 86 %, decoding 12 %"));
    }

    #[test]
    fn of_many_effects_the_first_ones() {
        let lines = |n: usize| (0..n).map(|index| index.to_string()).collect::<Vec<_>>();
        assert_eq!(effects(lines(EFFECTS_NAMED + 1)), lines(EFFECTS_NAMED + 1));
        let many = effects(lines(1600));
        assert_eq!(many.len(), EFFECTS_NAMED + 1);
        assert_eq!(many[EFFECTS_NAMED], "1,580 more like these are in the report (--report FILE)");
    }

    #[test]
    fn readers_that_read_nothing_are_not_counted() {
        assert_eq!(
            [readers(1, 1), readers(4, 4), readers(1, 4)],
            ["1 reader", "4 readers", "1 of 4 readers"]
        );
    }
}
