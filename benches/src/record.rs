//! Results as JSON, to be kept in `benches/record/`.

use std::path::Path;

use serde::Serialize;

use crate::Result;

/// What a result was measured on.
#[derive(Debug, Serialize)]
struct Record<'a, T> {
    pgarrow_version: &'static str,
    what: &'a str,
    cores: usize,
    processor: String,
    results: &'a T,
}

/// Writes results, if a file was named.
pub(crate) fn write(path: Option<&Path>, what: &str, results: &impl Serialize) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let record =
        Record { pgarrow_version: env!("CARGO_PKG_VERSION"), what, cores, processor: processor(), results };
    std::fs::write(path, serde_json::to_string_pretty(&record)? + "\n")?;
    println!("written to {}", path.display());
    Ok(())
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    model.map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned()).unwrap_or_default()
}
