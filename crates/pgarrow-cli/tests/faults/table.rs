//! The table of faults: id | fault | phase | tried | survived.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;

use pgarrow_testkit::target::target_tmp;

/// The name of a fault in the table.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Name {
    /// The number behind `F-`.
    pub(crate) id: u32,
    pub(crate) fault: String,
    pub(crate) phase: String,
}

pub(crate) fn name(id: u32, fault: impl Into<String>, phase: impl Into<String>) -> Name {
    Name { id, fault: fault.into(), phase: phase.into() }
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    n_tried: usize,
    n_survived: usize,
}

/// The faults of one test. [`finish`](Self::finish) writes its rows, and fails if a fault was not survived.
#[derive(Debug)]
pub(crate) struct Group {
    test: &'static str,
    counts: Mutex<(BTreeMap<Name, Count>, Vec<String>)>,
}

/// Failures that are printed in full.
const FAILURES_SHOWN: usize = 12;

impl Group {
    pub(crate) fn new(test: &'static str) -> Self {
        Self { test, counts: Mutex::default() }
    }

    /// Notes the result of one trial. `which` tells it from others of the same name.
    pub(crate) fn note(&self, name: &Name, which: &str, result: Result<(), String>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.0.entry(name.clone()).or_default();
        count.n_tried += 1;
        match result {
            Ok(()) => count.n_survived += 1,
            Err(reason) => {
                counts.1.push(format!("F-{} {} ({}) {which}: {reason}", name.id, name.fault, name.phase))
            }
        }
    }

    /// Runs trials in several threads, and notes each.
    pub(crate) fn each<T: Send>(
        &self,
        trials: Vec<T>,
        run: impl Fn(&T) -> (Name, String, Result<(), String>) + Sync,
    ) {
        let queue = Mutex::new(trials.into_iter());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    while let Some(trial) = next() {
                        let (name, which, result) = run(&trial);
                        self.note(&name, &which, result);
                    }
                });
            }
        });
    }

    #[track_caller]
    pub(crate) fn finish(self) {
        let (counts, failures) = self.counts.into_inner().unwrap_or_else(PoisonError::into_inner);
        assert!(!counts.is_empty(), "{}: no fault was tried", self.test);
        let mut lines = String::new();
        for (Name { id, fault, phase }, Count { n_tried, n_survived }) in &counts {
            let _ = writeln!(lines, "F-{id:02} | {fault} | {phase} | {n_tried} | {n_survived}");
        }
        print!("\n{lines}");
        let folder = rows_folder();
        fs::write(folder.join(self.test), &lines).unwrap();
        assemble();
        if !failures.is_empty() {
            let shown: Vec<_> = failures.iter().take(FAILURES_SHOWN).map(String::as_str).collect();
            panic!("{} faults were not survived:\n{}", failures.len(), shown.join("\n"));
        }
    }
}

/// The number of threads: a trial mostly waits, for the server, for a deadline, for the disk.
const THREADS: usize = 4;

fn rows_folder() -> PathBuf {
    let folder = target_tmp().join("faults");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Writes `faults.txt` from the rows of all tests. Several processes may do so at once.
fn assemble() {
    let folder = rows_folder();
    let lock = File::create(folder.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let mut rows: Vec<String> = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        rows.extend(fs::read_to_string(entry.unwrap().path()).unwrap().lines().map(str::to_owned));
    }
    rows.sort();
    let sum = |column: usize| -> usize {
        rows.iter().filter_map(|row| row.split(" | ").nth(column)?.parse::<usize>().ok()).sum()
    };
    let total = format!("{} kinds | {} tried | {} survived", rows.len(), sum(3), sum(4));
    let text = format!("id | fault | phase | tried | survived\n{}\n{total}\n", rows.join("\n"));
    fs::write(folder.with_extension("txt"), text).unwrap();
    println!("faults so far: {total}");
}

/// Whether to run whole sweeps.
pub(crate) fn is_whole() -> bool {
    std::env::var_os("PGARROW_TEST_FAULTS").is_some_and(|value| value == "all")
}
