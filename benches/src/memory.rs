//! Resident memory of the command over a matrix: columns × readers × `--memory` × format.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::server::{Database, ServerFlags};
use crate::{Result, command, record};

const MIB: u64 = 1 << 20;

/// The memory that a process may have beside `--memory`.
const BESIDE_MIB: u64 = 64;

/// With less memory than this, 16 MiB and 64 KiB a column, one reader may refuse a table of this many
/// columns.
fn may_be_refused(columns: u64, memory_mib: u64) -> bool {
    memory_mib * MIB < 16 * MIB + columns * 64 * 1024
}

/// Which cells to measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct MemoryFlags {
    #[command(flatten)]
    server: ServerFlags,
    /// The command
    #[arg(long, default_value = "target/release/pgarrow")]
    program: PathBuf,
    /// Columns of the tables, all of them integers
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 63, 64, 300, 1600])]
    columns: Vec<u64>,
    /// --readers
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8])]
    readers: Vec<u64>,
    /// --memory, in MiB
    #[arg(long, value_delimiter = ',', default_values_t = [32, 64, 256, 1024])]
    memory: Vec<u64>,
    /// --to
    #[arg(long, value_delimiter = ',', default_values = ["none", "ipc", "parquet"])]
    to: Vec<String>,
    /// Values of a table
    #[arg(long, default_value_t = 60_000_000)]
    values: u64,
    /// A folder to write the results to
    #[arg(long)]
    record: Option<PathBuf>,
}

impl MemoryFlags {
    /// A corner of the matrix.
    pub(crate) fn smoke(url: &str, program: &Path) -> Self {
        Self {
            server: ServerFlags { url: Some(url.to_owned()) },
            program: program.to_owned(),
            columns: vec![64],
            readers: vec![2],
            memory: vec![32],
            to: ["none", "ipc", "parquet"].map(str::to_owned).to_vec(),
            values: 64 * 5000,
            record: None,
        }
    }
}

/// One run.
#[derive(Clone, Debug, Serialize)]
struct Cell {
    columns: u64,
    readers: u64,
    memory_mib: u64,
    to: String,
    /// None if the run was refused, and so are the fields below.
    resident_mib: Option<u64>,
    readers_at_work: Option<usize>,
    file_bytes: Option<u64>,
    row_groups: Option<u64>,
    row_groups_ended_early: Option<u64>,
}

impl Cell {
    fn is_within(&self) -> bool {
        match self.resident_mib {
            Some(resident) => resident <= self.memory_mib + BESIDE_MIB,
            None => may_be_refused(self.columns, self.memory_mib),
        }
    }
}

/// Measures all cells. Returns whether every cell is within its limit.
pub(crate) fn run(flags: &MemoryFlags) -> Result<bool> {
    let mut database = Database::open(&flags.server)?;
    let mut cells = Vec::new();
    for columns in &flags.columns {
        let rows = (flags.values / columns).clamp(1, 4_000_000);
        make(&mut database, *columns, rows)?;
        println!("\n{columns} columns, {rows} rows: resident MiB\n");
        println!(
            "| to | readers |{}",
            flags.memory.iter().map(|m| format!(" {m} MiB |")).collect::<String>()
        );
        println!("|---|---:|{}", "---:|".repeat(flags.memory.len()));
        for to in &flags.to {
            for readers in &flags.readers {
                let mut line = format!("| {to} | {readers} |");
                for memory_mib in &flags.memory {
                    let cell = measure(flags, database.url(), [*columns, *readers, *memory_mib, rows], to)?;
                    line.push_str(&text(&cell));
                    cells.push(cell);
                }
                println!("{line}");
            }
        }
        database.execute(&format!("DROP TABLE bench_memory_{columns}"))?;
    }
    let over = cells.iter().filter(|cell| !cell.is_within()).count();
    println!("\n{} cells, {over} of them above their limit and {BESIDE_MIB} MiB", cells.len());
    let versions = record::versions(&mut database)?;
    record::write(flags.record.as_deref(), "memory", versions, &cells)?;
    Ok(over == 0)
}

/// Makes a table whose columns have keys, few values, scattered values and long runs, in turn.
fn make(database: &mut Database, columns: u64, rows: u64) -> Result<()> {
    let value = |n: u64| match n % 4 {
        0 => "g".to_owned(),
        1 => format!("g % {}", 7 + n),
        2 => format!("(g::int8 * {} % 2147483647)::int4", 2_654_435_761 + 2 * n),
        _ => format!("g / {n}"),
    };
    let names: Vec<String> = (0..columns).map(|n| format!("c{n} int4")).collect();
    let values: Vec<String> = (0..columns).map(value).collect();
    database.execute(&format!(
        "DROP TABLE IF EXISTS bench_memory_{columns}; CREATE UNLOGGED TABLE bench_memory_{columns} ({}); \
         INSERT INTO bench_memory_{columns} SELECT {} FROM generate_series(1, {rows}) AS g",
        names.join(", "),
        values.join(", ")
    ))
}

fn measure(
    flags: &MemoryFlags,
    url: &str,
    [columns, readers, memory_mib, rows]: [u64; 4],
    to: &str,
) -> Result<Cell> {
    let options =
        [format!("--readers={readers}"), format!("--memory={memory_mib}M"), "--slice-bytes=2M".into()];
    let table = format!("bench_memory_{columns}");
    let mut cell = Cell {
        columns,
        readers,
        memory_mib,
        to: to.to_owned(),
        resident_mib: None,
        readers_at_work: None,
        file_bytes: None,
        row_groups: None,
        row_groups_ended_early: None,
    };
    let report = match command::export(&flags.program, url, &table, to, &options, rows) {
        Ok(report) => report,
        Err(error) if error.to_string().contains("MiB of memory in this format") => return Ok(cell),
        Err(error) => return Err(error),
    };
    let number = |path: &str| report.pointer(path).and_then(Value::as_u64);
    cell.resident_mib = number("/peak_memory_bytes").map(|bytes| bytes.div_ceil(MIB));
    cell.readers_at_work = report.get("readers").and_then(Value::as_array).map(Vec::len);
    cell.file_bytes = number("/files/0/bytes");
    cell.row_groups = number("/files/0/row_groups");
    cell.row_groups_ended_early = number("/memory/row_groups_ended_early");
    Ok(cell)
}

/// ` 61 (2 readers, 1.7 MB in 4) |`: resident memory, and for a file its size and row groups.
fn text(cell: &Cell) -> String {
    let Some(resident) = cell.resident_mib else { return " refused |".to_owned() };
    let mut notes = Vec::new();
    if let Some(at_work) = cell.readers_at_work.filter(|at_work| *at_work as u64 != cell.readers) {
        notes.push(format!("{at_work} at work"));
    }
    if let (Some(bytes), Some(groups)) = (cell.file_bytes, cell.row_groups) {
        notes.push(format!("{:.1} MB in {groups}", bytes as f64 / 1e6));
    }
    let mark = if cell.is_within() { "" } else { " OVER" };
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
    format!(" {resident}{mark}{notes} |")
}
