//! What is said at the end of an export.

use pgarrow::{FileReport, Report};

use crate::units;

/// What was read, and what was written: a line each.
pub(crate) fn lines(report: &Report) -> Vec<String> {
    std::iter::once(format!("{}: {}", report.subject, reading(report)))
        .chain(report.files.iter().map(file))
        .collect()
}

/// `600,572 rows, 131.1 MB from the server in 0.81 s (741,000 rows/s, 161.9 MB/s), peak memory 61.2 MiB`.
pub(crate) fn reading(report: &Report) -> String {
    format!(
        "{}, {} from the server in {} ({} rows/s, {}/s), peak memory {}",
        units::counted(report.rows, "row"),
        units::bytes(report.wire_bytes),
        units::seconds(report.seconds),
        units::count(units::per_second(report.rows, report.seconds)),
        units::bytes(units::per_second(report.wire_bytes, report.seconds)),
        units::memory(report.peak_memory_bytes),
    )
}

/// `lineitem.parquet: 21.4 MB, 1 row group`.
pub(crate) fn file(file: &FileReport) -> String {
    let groups = file.row_groups.and_then(|n_groups| u64::try_from(n_groups).ok());
    let groups = groups.map(|n_groups| format!(", {}", units::counted(n_groups, "row group")));
    let name = file.path.as_deref().unwrap_or("stdout");
    format!("{name}: {}{}", units::bytes(file.bytes), groups.unwrap_or_default())
}
