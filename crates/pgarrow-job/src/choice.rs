//! Which tables a job reads, and what its rules say of each; and which of them can be planned.

use pgarrow_export::{Error, ErrorKind, ExportOptions, Relation, Result, Run, Source, Tables};

use crate::rules::TableRule;

/// The tables of a job: names and patterns, and what its rules say of them.
#[derive(Clone, Copy, Debug)]
pub struct TableChoice<'j> {
    /// Names and patterns of tables, as psql takes them.
    pub tables: &'j [String],
    /// Patterns of what to leave out.
    pub exclude_tables: &'j [String],
    /// What is said of single tables. Where two rules say something about the same, the later one wins.
    pub rules: &'j [TableRule],
    /// Whether each table is read without the tables that inherit from it, which are read by themselves.
    pub only: bool,
}

/// What was found of a [`TableChoice`].
#[derive(Debug)]
pub struct ChosenTables {
    /// The tables, each with what the rules say of it.
    pub tables: Vec<(Relation, TableRule)>,
    /// The names that stand for no table, if the others are read without: with the errors.
    pub missing: Vec<(String, Error)>,
}

impl TableChoice<'_> {
    /// Asks the server for the tables. With `keep_going`, names that stand for no table are among what was
    /// found.
    ///
    /// # Errors
    ///
    /// As for [`Tables::find`]; and [`ErrorKind::Options`] for a rule that is about no table.
    pub fn find(&self, source: &Source, options: &ExportOptions, keep_going: bool) -> Result<ChosenTables> {
        let patterns: Vec<String> = self.rules.iter().map(|rule| rule.pattern.clone()).collect();
        let of = |tables: &[String]| self.named(source, options, tables);
        let mut missing = Vec::new();
        let found = match of(self.tables).find(&patterns) {
            Err(error) if keep_going && !ends_run(&error) => {
                let mut there = Vec::new();
                for table in self.tables {
                    match of(std::slice::from_ref(table)).find(&[]) {
                        Ok(_) => there.push(table.clone()),
                        Err(error) if ends_run(&error) => return Err(error),
                        Err(error) => missing.push((table.clone(), error)),
                    }
                }
                // What is wrong is about all of them together.
                if missing.is_empty() {
                    return Err(error);
                }
                of(&there).find(&patterns)?
            }
            found => found?,
        };
        // What is not there may be what a rule is about.
        let unused = |index: &usize| found.iter().all(|(_, matching)| !matching.contains(index));
        if let Some(index) = (0..patterns.len()).find(unused).filter(|_| missing.is_empty()) {
            let pattern = patterns.get(index).map(String::as_str).unwrap_or_default();
            let text =
                format!("a section [[table]] is about {pattern:?}, and no table of the job matches it");
            return Err(Error::new(ErrorKind::Options, text));
        }
        let rule = |(relation, matching): (Relation, Vec<usize>)| {
            let rules = matching.iter().filter_map(|index| self.rules.get(*index));
            let rule = TableRule::together(&relation.to_string(), rules)?;
            Ok((relation, rule))
        };
        Ok(ChosenTables { tables: found.into_iter().map(rule).collect::<Result<_>>()?, missing })
    }

    /// These names and patterns.
    fn named(&self, source: &Source, options: &ExportOptions, patterns: &[String]) -> Tables {
        let none: [&str; 0] = [];
        let tables = patterns.iter().fold(source.tables(none), |tables, pattern| tables.pattern(pattern));
        let tables = self.exclude_tables.iter().fold(tables, |tables, pattern| tables.exclude(pattern));
        tables.only(self.only).options(options.clone())
    }
}

/// What was planned, and what could not be.
#[derive(Debug)]
pub struct Opened<T> {
    /// The plans, under one snapshot.
    pub run: Run,
    /// What it reads.
    pub planned: Vec<T>,
    /// What it does not, and why.
    pub failed: Vec<(T, Error)>,
}

/// Plans tables and queries under one snapshot; with `keep_going`, those that can be read.
///
/// # Errors
///
/// Those of planning. With `keep_going`, when nothing can be read, or what is wrong is about all of them.
pub fn open_those_that_can<T>(
    items: Vec<T>,
    keep_going: bool,
    open: impl Fn(&[T]) -> Result<Run>,
) -> Result<Opened<T>> {
    let error = match open(&items) {
        Ok(run) => return Ok(Opened { run, planned: items, failed: Vec::new() }),
        Err(error) if !keep_going || ends_run(&error) => return Err(error),
        Err(error) => error,
    };
    let (mut failed, mut planned) = (Vec::new(), Vec::new());
    for item in items {
        match open(std::slice::from_ref(&item)) {
            Ok(_) => planned.push(item),
            Err(error) if ends_run(&error) => return Err(error),
            Err(error) => failed.push((item, error)),
        }
    }
    // Nothing can be read, or what is wrong is about all of them together.
    if planned.is_empty() || failed.is_empty() {
        return Err(error);
    }
    let run = open(&planned)?;
    Ok(Opened { run, planned, failed })
}

/// Whether an error is not about one table, so that the others cannot be read either.
fn ends_run(error: &Error) -> bool {
    error.is_transient() || !matches!(error.kind(), ErrorKind::Options | ErrorKind::Server | ErrorKind::Sink)
}
