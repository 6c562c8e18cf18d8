//! Where a table's files are: templates of their names.
//!
//! | in a template | becomes |
//! |---|---|
//! | `{schema}`, `{table}` | the names, encoded so that they are one part of a path |
//! | `{date}` | the day on which the run began, in UTC: `2026-01-31` |
//! | `{run}` | the run's id |
//! | `{index}`, `{index:05}` | the number of the file, from 0; with at least that many digits |
//!
//! The run's id stands at the end of every name that does not have it otherwise: files of two runs never have
//! the same name, and what a dead run left is known by it.

use std::collections::HashMap;
use std::fmt::Write;

use pgarrow_export::{Error, ErrorKind, Result};
use pgarrow_sink::path_part_for;

/// Most bytes of a part of a path. File systems allow 255, and a file has a longer name until it is complete.
const PART_BYTES_MAX: usize = 230;

/// Most digits of an index.
const DIGITS_MAX: usize = 10;

/// A template of files' names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Layout {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Text(String),
    Schema,
    Table,
    Date,
    Run,
    Index { digits: usize },
}

impl Default for Layout {
    /// `{schema}/{table}/part-{index:05}`.
    fn default() -> Self {
        let text = |text: &str| Part::Text(text.to_owned());
        let parts = vec![Part::Schema, text("/"), Part::Table, text("/part-"), Part::Index { digits: 5 }];
        Self { parts }
    }
}

impl Layout {
    /// Reads a template. An ending, such as `.parquet`, is the format's and may be left out.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`]: a placeholder that there is not, no `{table}`, or a path that is not below its
    /// folder.
    pub fn parse(template: &str) -> Result<Self> {
        let refuse = |why: &str| {
            let text = format!("the template {template:?} of file names cannot be used: {why}");
            Err(Error::new(ErrorKind::Options, text))
        };
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((before, behind)) = rest.split_once('{') {
            push_text(&mut parts, before);
            let Some((name, behind)) = behind.split_once('}') else { return refuse("a { has no }") };
            parts.push(match name.split_once(':').unwrap_or((name, "")) {
                ("schema", "") => Part::Schema,
                ("table", "") => Part::Table,
                ("date", "") => Part::Date,
                ("run", "") => Part::Run,
                ("index", digits) => match digits.trim_start_matches('0').parse() {
                    Ok(digits @ 1..=DIGITS_MAX) => Part::Index { digits },
                    Err(_) if digits.is_empty() => Part::Index { digits: 1 },
                    _ => return refuse("write the digits of an index as in {index:05}"),
                },
                _ => return refuse("it may have {schema}, {table}, {date}, {run}, {index} and {index:05}"),
            });
            rest = behind;
        }
        push_text(&mut parts, rest);
        if !parts.contains(&Part::Table) {
            return refuse("without {table}, tables would have the same files");
        }
        if !parts.windows(2).all(|pair| pair.first().zip(pair.get(1)).is_none_or(|(a, b)| is_clear(a, b))) {
            return refuse("write something that is no digit between an {index} and what stands beside it");
        }
        let layout = Self { parts };
        let is_plain = |part: &str| {
            !part.is_empty() && !part.starts_with(['.', '_', '-']) && !part.contains(['\\', '\0'])
        };
        // Names of tables are encoded, so one example is as good as another.
        match layout.stem("s", "t", "2026-01-31", "run", 0).split('/').all(is_plain) {
            true => Ok(layout),
            false => refuse("a part of the path is empty, has a backslash, or begins with . _ or -"),
        }
    }

    /// Whether a table may have several files.
    pub fn has_index(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Index { .. }))
    }

    /// Whether each table has a folder that is named after it, and numbered files in there.
    pub(crate) fn has_folder_of_table(&self) -> bool {
        let place = |is_it: fn(&Part) -> bool| self.parts.iter().position(is_it);
        let last_slash =
            self.parts.iter().rposition(|part| matches!(part, Part::Text(text) if text.contains('/')));
        let table = place(|part| *part == Part::Table);
        let index = place(|part| matches!(part, Part::Index { .. }));
        matches!((table, last_slash, index), (Some(table), Some(slash), Some(index)) if table < slash && slash < index)
    }

    /// The path of a file, without its ending. `schema` and `table` are encoded already.
    fn stem(&self, schema: &str, table: &str, date: &str, run_id: &str, index: usize) -> String {
        let mut stem = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => stem.push_str(text),
                Part::Schema => stem.push_str(schema),
                Part::Table => stem.push_str(table),
                Part::Date => stem.push_str(date),
                Part::Run => stem.push_str(run_id),
                // Writing to a string cannot fail.
                Part::Index { digits } => drop(write!(stem, "{index:0digits$}")),
            }
        }
        if !self.parts.contains(&Part::Run) {
            stem.push('-');
            stem.push_str(run_id);
        }
        stem
    }
}

/// Whether it is clear where an index begins and ends: table `t` with file 10 is not `t1` with file 0.
fn is_clear(a: &Part, b: &Part) -> bool {
    let is_apart = |beside: &Part, edge: fn(&str) -> Option<char>| match beside {
        Part::Text(text) => !edge(text).is_some_and(|c| c.is_ascii_digit()),
        _ => false,
    };
    match (a, b) {
        (before, Part::Index { .. }) => is_apart(before, |text| text.chars().next_back()),
        (Part::Index { .. }, behind) => is_apart(behind, |text| text.chars().next()),
        _ => true,
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
}

/// The files of one run.
#[derive(Clone, Debug)]
pub(crate) struct FileNames {
    layout: Layout,
    date: String,
    run_id: String,
    extension: String,
    /// By schema and table: their parts of paths.
    tables: HashMap<(String, String), (String, String)>,
    /// The tables whose columns have a version of their own, and which.
    versions: HashMap<(String, String), u32>,
}

impl FileNames {
    /// The names for the files of these tables. Names that differ only in upper and lower case differ in more
    /// than that afterwards: some file systems do not tell them apart.
    pub(crate) fn new(
        layout: &Layout,
        date: &str,
        run_id: &str,
        extension: &str,
        tables: &[(&str, &str)],
    ) -> Result<Self> {
        let ending = format!(".{extension}");
        let mut layout = layout.clone();
        if let Some(Part::Text(text)) = layout.parts.last_mut()
            && let Some(stem) = text.strip_suffix(&ending)
        {
            *text = stem.to_owned();
        }
        let mut names = Self {
            layout,
            date: date.to_owned(),
            run_id: run_id.to_owned(),
            extension: extension.to_owned(),
            tables: HashMap::new(),
            versions: HashMap::new(),
        };
        let mut seen: HashMap<String, usize> = HashMap::new();
        let parts = |(schema, table): (&str, &str), capitals| {
            (path_part_for(schema, capitals), path_part_for(table, capitals))
        };
        for table in tables {
            let (schema, table) = parts(*table, true);
            *seen.entry(format!("{schema}/{table}").to_lowercase()).or_default() += 1;
        }
        for table in tables {
            let (of_schema, of_table) = parts(*table, true);
            let n_alike = seen.get(&format!("{of_schema}/{of_table}").to_lowercase());
            let encoded = if n_alike == Some(&1) { (of_schema, of_table) } else { parts(*table, false) };
            names.tables.insert((table.0.to_owned(), table.1.to_owned()), encoded);
        }
        let mut first: HashMap<String, (&str, &str)> = HashMap::new();
        for table in tables {
            let path = names.path(table.0, table.1, 0).to_lowercase();
            if let Some(part) = path.split('/').find(|part| part.len() > PART_BYTES_MAX) {
                let text = format!(
                    "{}.{} would have a file whose name is too long for file systems: {} bytes; use {{schema}} and \
                     {{table}} as parts of their own",
                    table.0,
                    table.1,
                    part.len()
                );
                return Err(Error::new(ErrorKind::Options, text));
            }
            if let Some(other) = first.insert(path, *table) {
                let text = format!(
                    "{}.{} and {}.{} would have the same files; name them with {{schema}} and {{table}}",
                    other.0, other.1, table.0, table.1
                );
                return Err(Error::new(ErrorKind::Options, text));
            }
        }
        Ok(names)
    }

    /// The files of a table go into a folder for this version of its columns. No name of a table has a `=`.
    pub(crate) fn set_version(&mut self, schema: &str, table: &str, version: u32) {
        if version > 1 {
            self.versions.insert((schema.to_owned(), table.to_owned()), version);
        }
    }

    /// The same for a file of a partition, which has this path in the table's folder.
    pub(crate) fn path_in(&self, schema: &str, table: &str, partition: &str, index: usize) -> String {
        let path = self.path(schema, table, index);
        match path.rsplit_once('/') {
            Some((folder, name)) => format!("{folder}/{partition}/{name}"),
            None => format!("{partition}/{path}"),
        }
    }

    /// The path of a table's file with this number.
    pub(crate) fn path(&self, schema: &str, table: &str, index: usize) -> String {
        let key = (schema.to_owned(), table.to_owned());
        let parts = self.tables.get(&key).cloned();
        let (schema, mut table) =
            parts.unwrap_or_else(|| (path_part_for(schema, false), path_part_for(table, false)));
        if let Some(version) = self.versions.get(&key) {
            // Writing to a string cannot fail.
            let _ = write!(table, "/version={version}");
        }
        let stem = self.layout.stem(&schema, &table, &self.date, &self.run_id, index);
        format!("{stem}.{}", self.extension)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(template: &str, tables: &[(&str, &str)]) -> Result<Vec<String>> {
        let names = FileNames::new(&Layout::parse(template)?, "2026-01-31", "RUN", "parquet", tables)?;
        Ok(tables.iter().map(|(schema, table)| names.path(schema, table, 7)).collect())
    }

    #[test]
    fn names_of_tables_in_paths() {
        for (template, expected) in [
            ("{schema}/{table}/part-{index:05}", "sales/orders/part-00007-RUN.parquet"),
            ("{table}.parquet", "orders-RUN.parquet"),
            ("{table}_{index}.x", "orders_7.x-RUN.parquet"),
            ("{date}/{run}/{schema}.{table}", "2026-01-31/RUN/sales.orders.parquet"),
            ("x/{table}-{index}", "x/orders-7-RUN.parquet"),
        ] {
            assert_eq!(names(template, &[("sales", "orders")]).unwrap(), [expected], "{template}");
        }
    }

    #[test]
    fn hostile_names_stay_in_the_folder_and_apart() {
        let tables = [
            ("..", "/etc"),
            ("a", ".."),
            ("a", "_x"),
            ("a.b", "c"),
            ("a", "T"),
            ("a", "t"),
            ("x", "\u{0}\\"),
        ];
        let paths = names("{schema}/{table}", &tables).unwrap();
        for path in &paths {
            let is_plain = |part: &str| !part.is_empty() && !part.starts_with(['.', '_', '-']);
            assert!(path.split('/').count() == 2 && path.split('/').all(is_plain), "{path}");
        }
        let mut folded: Vec<_> = paths.iter().map(|path| path.to_lowercase()).collect();
        folded.sort();
        folded.dedup();
        assert_eq!(folded.len(), tables.len(), "{paths:?}");
        let long = "ä".repeat(60);
        let error = names("{schema}.{table}", &[(&long, &long)]).unwrap_err().to_string();
        assert!(error.contains("too long"), "{error}");
        let error = names("{table}", &[("a", "t"), ("b", "t")]).unwrap_err().to_string();
        assert!(error.contains("a.t and b.t would have the same files"), "{error}");
    }

    #[test]
    fn templates_that_cannot_be_used() {
        for template in [
            "",
            "{schema}",
            "{tabel}",
            "{table",
            "../{table}",
            "/{table}",
            "a//{table}",
            "{table}/",
            ".{table}",
            "_x/{table}",
            "{table}\\x",
            "{index:99999999999}{table}",
            "{index:x}{table}",
            "{schema:3}{table}",
            "{table}{index}",
            "{table}-1{index}",
            "{index}{table}",
            "{index}0{table}",
        ] {
            assert!(Layout::parse(template).is_err(), "{template}");
        }
        assert_eq!(Layout::parse("{schema}/{table}/part-{index:05}").unwrap(), Layout::default());
        assert!(Layout::parse("{table}-{index:05}").unwrap().has_index());
        assert!(!Layout::parse("{table}").unwrap().has_index());
    }
}
