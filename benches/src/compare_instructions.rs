//! Instructions a row of two revisions of the command: whole exports and loads, at two sizes.
//!
//! The kernel's are not counted, nor those of waiting for it, so they hardly depend on the machine or its
//! other work: two runs of one program differ by some thousandths.

use crate::Result;
use crate::command::check_pages;
use crate::compare::{LoadFrom, Side, Work};
use crate::instructions::Counter;
use crate::load_table::Rows;
use crate::server::Database;
use crate::verdict::Verdict;
use crate::workloads::Workload;

/// Rows of the smaller and of the larger run.
const ROWS: [u64; 2] = [20_000, 200_000];
/// A count changes if it does so by this much.
const THRESHOLD: f64 = 0.01;

/// An export: a name, `--to`, and flags.
type Export = (&'static str, &'static str, &'static [&'static str]);

/// One reader, so that its work is the same in each run.
pub(crate) const EXPORTS: [Export; 5] = [
    ("COPY → none", "none", &["--readers=1", "--read-mode=copy"]),
    ("COPY → parquet", "parquet", &["--readers=1", "--read-mode=copy"]),
    ("COPY → ipc", "ipc", &["--readers=1", "--read-mode=copy"]),
    ("pages → none", "none", &["--readers=1", "--read-mode=pages"]),
    ("SELECT → none", "none", &["--readers=1", "--read-mode=select"]),
];

/// Instructions a row of one export or load.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Counted {
    pub(crate) name: String,
    pub(crate) a: f64,
    pub(crate) b: f64,
}

impl Counted {
    /// B's change relative to A.
    fn ratio(&self) -> f64 {
        self.b / self.a - 1.0
    }

    pub(crate) fn verdict(&self) -> Verdict {
        match self.ratio() {
            ratio if ratio > THRESHOLD => Verdict::Worse,
            ratio if ratio < -THRESHOLD => Verdict::Better,
            _ => Verdict::Same,
        }
    }
}

/// Counts exports and loads of one workload.
pub(crate) fn measure(
    database: &mut Database,
    counter: Counter,
    workload: &Workload,
    sides: [Side<'_>; 2],
    exports: &[Export],
    loads: &[LoadFrom],
) -> Result<Vec<Counted>> {
    measure_rows(database, counter, workload, sides, exports, loads, ROWS)
}

/// The same with other sizes.
pub(crate) fn measure_rows(
    database: &mut Database,
    counter: Counter,
    workload: &Workload,
    sides: [Side<'_>; 2],
    exports: &[Export],
    loads: &[LoadFrom],
    sizes: [u64; 2],
) -> Result<Vec<Counted>> {
    database.execute("CREATE EXTENSION IF NOT EXISTS pageinspect")?;
    let psql = database.psql();
    let [small, large] = sizes;
    // The table of loads is the larger one's, and like that of the smaller.
    let tables =
        [Rows::prepare(database, workload, small, &psql)?, Rows::prepare(database, workload, large, &psql)?];
    let mut all = Vec::new();
    let mut count = |name: &str, works: [Work<'_>; 2]| -> Result<()> {
        let [a, b] = sides.map(|side| -> Result<f64> {
            let mut counts = [0.0; 2];
            for ((work, rows), count) in works.iter().zip(&tables).zip(&mut counts) {
                let prepared = work.prepare(database, side)?;
                *count = counter.count(&prepared.command)?;
                let report = prepared.report(rows.count)?;
                if work.reads_pages() {
                    check_pages(&report)?;
                }
            }
            let [small_count, large_count] = counts;
            Ok((large_count - small_count) / (large - small) as f64)
        });
        all.push(Counted { name: name.to_owned(), a: a?, b: b? });
        Ok(())
    };
    for (name, to, flags) in exports {
        count(name, tables.each_ref().map(|rows| Work::Export(&rows.table, to, flags)))?;
    }
    for from in loads {
        let files = tables.each_ref().map(|rows| from.file(rows));
        count(&format!("load {}", from.name()), files.each_ref().map(|file| Work::Load(file)))?;
    }
    Ok(all)
}

pub(crate) fn print(workload: &str, all: &[Counted]) {
    println!("\n{workload}, instructions a row\n{:<24} {:>10} {:>10} {:>9}", "", "A", "B", "change");
    for counted in all {
        let remark = match counted.verdict() {
            Verdict::Worse => "WORSE",
            Verdict::Better => "better",
            Verdict::Same | Verdict::Unknown => "",
        };
        let ratio = format!("{:+.1} %", counted.ratio() * 100.0);
        println!("{:<24} {:>10.1} {:>10.1} {ratio:>9}  {remark}", counted.name, counted.a, counted.b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_hundred_is_a_change() {
        let verdict = |a: f64, b: f64| Counted { name: String::new(), a, b }.verdict();
        assert_eq!(verdict(1000.0, 1009.0), Verdict::Same);
        assert_eq!(verdict(1000.0, 1011.0), Verdict::Worse);
        assert_eq!(verdict(1000.0, 985.0), Verdict::Better);
    }
}
