//! The outcomes of all cells, side by side.

use std::fmt::Write as _;

use pgarrow_testkit::target::target_tmp;

use crate::cell::Cell;
use crate::deliberate::{DELIBERATE, Deliberate};
use crate::outcome::Outcome;

/// One cell and its outcomes.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) order: usize,
    group: &'static str,
    name: String,
    shown: String,
    theirs: Outcome,
    ours: Outcome,
    leaked: bool,
}

impl Entry {
    pub(crate) fn new(cell: &Cell, theirs: Outcome, (ours, said): (Outcome, String)) -> Self {
        let mut shown = cell.conninfo.clone();
        for (name, value) in &cell.environment {
            let _ = write!(shown, " {name}={value}");
        }
        for file in &cell.home {
            let _ = write!(shown, " ~/{} ({:o})", file.path, file.mode);
        }
        Self {
            order: cell.order,
            group: cell.group,
            name: cell.name.clone(),
            shown,
            leaked: cell.secrets.iter().any(|secret| !secret.is_empty() && said.contains(secret.as_str())),
            theirs,
            ours,
        }
    }

    fn is_equal(&self) -> bool {
        self.theirs.is_like(&self.ours)
    }

    fn deliberate(&self) -> Option<usize> {
        let covers = |one: &Deliberate| one.covers(self.group, &self.name, &self.theirs, &self.ours);
        if self.is_equal() { None } else { DELIBERATE.iter().position(covers) }
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Table {
    entries: Vec<Entry>,
}

impl Table {
    pub(crate) fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|entry| entry.order);
        Self { entries }
    }

    /// Prints the totals, and writes every cell to `connections.txt` in target/tmp.
    pub(crate) fn print(&self) {
        let mut text = format!(
            "{:<24} {:>6} {:>9} {:>8} {:>6} {:>10}\n",
            "group", "cells", "connected", "refused", "equal", "deliberate"
        );
        let mut groups: Vec<&str> = Vec::new();
        for entry in &self.entries {
            if !groups.contains(&entry.group) {
                groups.push(entry.group);
            }
        }
        for group in groups.into_iter().map(Some).chain([None]) {
            let of_group: Vec<&Entry> =
                self.entries.iter().filter(|entry| group.is_none_or(|group| entry.group == group)).collect();
            let count = |is: &dyn Fn(&Entry) -> bool| of_group.iter().filter(|entry| is(entry)).count();
            let _ = writeln!(
                text,
                "{:<24} {:>6} {:>9} {:>8} {:>6} {:>10}",
                group.unwrap_or("all"),
                of_group.len(),
                count(&|entry| matches!(entry.theirs, Outcome::Connected(_))),
                count(&|entry| matches!(entry.theirs, Outcome::Refused(_))),
                count(&Entry::is_equal),
                count(&|entry| entry.deliberate().is_some()),
            );
        }
        println!("{text}");
        text.push_str("\ndeliberate differences\n");
        for one in DELIBERATE {
            let group = if one.group.is_empty() { "all" } else { one.group };
            let _ = writeln!(text, "  {} cells of {group} {:?}: {}", one.n_cells, one.names, one.reason);
        }
        for entry in &self.entries {
            let _ = writeln!(
                text,
                "\n{} {}: {}\n  {}\n  psql     {}\n  pgarrow  {}",
                if entry.is_equal() { "=" } else { "≠" },
                entry.group,
                entry.name,
                entry.shown,
                entry.theirs.text(),
                entry.ours.text()
            );
        }
        std::fs::write(target_tmp().join("connections.txt"), text).unwrap();
    }

    /// Checks that every cell is equal or deliberately different, that every deliberate difference exists,
    /// and that no secret appears.
    pub(crate) fn check(&self, is_whole: bool) {
        let mut wrong = Vec::new();
        for entry in &self.entries {
            let is_broken = [&entry.theirs, &entry.ours].iter().any(|one| matches!(one, Outcome::Broken(_)));
            let says = match (entry.is_equal(), entry.deliberate()) {
                _ if entry.leaked => "a secret was said",
                _ if is_broken => "no answer",
                (false, None) => "they differ",
                _ => continue,
            };
            wrong.push(format!(
                "{}: {}: {says}\n  {}\n  psql     {}\n  pgarrow  {}",
                entry.group,
                entry.name,
                entry.shown,
                entry.theirs.text(),
                entry.ours.text()
            ));
        }
        for (index, one) in DELIBERATE.iter().enumerate() {
            let found = self.entries.iter().filter(|entry| entry.deliberate() == Some(index)).count();
            if is_whole && found != one.n_cells {
                wrong.push(format!("{found} cells differ on purpose, and not {}: {one:?}", one.n_cells));
            }
        }
        assert!(wrong.is_empty(), "{} cells are wrong:\n\n{}", wrong.len(), wrong.join("\n\n"));
    }
}
