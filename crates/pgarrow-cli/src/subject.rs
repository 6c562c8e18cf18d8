//! `Subject`: what is read, from flags to a planned export.

use std::fs;
use std::io::{self, Read};

use pgarrow::{Error, ExportOptions, Extract, Run, SharedSnapshot, Slice, Source, Tables, parse_column_list};
use pgarrow_job::{Compared, Format, PartitionBy};

use crate::exit::Failure;
use crate::flags::WhatFlags;

/// What is read.
#[derive(Debug)]
pub(crate) enum Subject {
    One {
        single: Single,
        limit: Option<u64>,
    },
    /// Tables, those that match patterns, and all tables of schemas.
    Many {
        names: Vec<String>,
        patterns: Vec<String>,
        schemas: Vec<String>,
        excluded: Vec<String>,
        only: bool,
    },
}

#[derive(Debug)]
pub(crate) enum Single {
    Table {
        name: String,
        columns: Option<Vec<String>>,
        filter: Option<String>,
        /// The values of the filter's parameters.
        params: Vec<Option<String>>,
        /// Its own rows, without those of its children.
        only: bool,
    },
    Query {
        sql: String,
        params: Vec<Option<String>>,
    },
    Slice(Box<Slice>),
}

impl Subject {
    /// The subject that the flags name; an export may have a slice instead.
    pub(crate) fn new(flags: &WhatFlags, slice: Option<&str>) -> Result<Self, Failure> {
        let sql = query(flags)?;
        let names = names(&flags.named, &flags.tables)?;
        let is_table = !names.is_empty() || !flags.schemas.is_empty();
        if !flags.excluded.is_empty() && !is_table {
            return Err(Failure::options(
                "--exclude-table is for patterns and schemas; give --table or --schema",
            ));
        }
        match (slice, sql, is_table) {
            (None, None, false) => Err(nothing(flags)),
            (None, Some(_), true) => Err(Failure::options("give --table or a query, not both")),
            (Some(_), sql, is_table) if is_table || sql.is_some() => {
                Err(Failure::options("--slice says what is read; leave out --table, --schema and --query"))
            }
            (Some(token), ..) => {
                check_unused(flags, "a slice brings its own; leave it out")?;
                if flags.only {
                    return Err(Failure::options("--only: a slice says which tables it reads; leave it out"));
                }
                Ok(Self::One { single: Single::Slice(Box::new(read_slice(token)?)), limit: None })
            }
            (None, Some(sql), false) => {
                let for_tables =
                    [("--columns", flags.columns.is_some()), ("--where", flags.filter.is_some())];
                if flags.only {
                    return Err(Failure::options("--only is for --table; write ONLY into the query"));
                }
                if let Some((name, _)) = for_tables.into_iter().find(|(_, is_given)| *is_given) {
                    return Err(Failure::options(format!("{name} is for --table; write it into the query")));
                }
                let single = Single::Query { sql, params: values(flags) };
                Ok(Self::One { single, limit: flags.limit })
            }
            (None, None, true) => tables(flags, names),
        }
    }

    /// The same with these columns, by their exact names.
    pub(crate) fn with_columns(mut self, names: Vec<String>) -> Result<Self, Failure> {
        match &mut self {
            Self::One { single: Single::Table { columns, .. }, .. } => {
                *columns = Some(names);
                Ok(self)
            }
            _ => Err(Failure::options("--columns is for one --table; write them into the query")),
        }
    }

    /// The same with other values of its parameters, some of which may be NULL.
    pub(crate) fn with_params(mut self, values: Vec<Option<String>>) -> Self {
        if let Self::One { single: Single::Table { params, .. } | Single::Query { params, .. }, .. } =
            &mut self
        {
            *params = values;
        }
        self
    }

    pub(crate) fn is_many(&self) -> bool {
        matches!(self, Self::Many { .. })
    }

    /// The tables, if there may be several.
    pub(crate) fn tables(&self, source: &Source) -> Tables {
        let Self::Many { names, patterns, schemas, excluded, only } = self else {
            return source.tables::<String>([]);
        };
        let tables = source.tables(names).only(*only);
        let tables = schemas.iter().fold(tables, |tables, name| tables.schema(name));
        let tables = patterns.iter().fold(tables, |tables, pattern| tables.pattern(pattern));
        excluded.iter().fold(tables, |tables, pattern| tables.exclude(pattern))
    }

    /// What a comparison with the server must know. The error is what keeps tables from being read whole.
    pub(crate) fn compared(&self) -> Result<Compared, &'static str> {
        match self {
            Self::Many { only, .. } => Ok(Compared { only: *only, columns_chosen: false }),
            Self::One { limit: Some(_), .. } => Err("--limit"),
            Self::One { single: Single::Table { filter: Some(_), .. }, .. } => Err("--where"),
            Self::One { single: Single::Table { only, columns, .. }, .. } => {
                Ok(Compared { only: *only, columns_chosen: columns.is_some() })
            }
            Self::One { single: Single::Query { .. }, .. } => Err("the query"),
            Self::One { single: Single::Slice(_), .. } => Err("--slice"),
        }
    }

    /// Whether each of several tables is read without those that inherit from it.
    pub(crate) fn is_only(&self) -> bool {
        matches!(self, Self::Many { only: true, .. })
    }

    /// Plans the export.
    ///
    /// What is read is checked against the format of the output, and its partitions.
    pub(crate) fn open(
        &self,
        source: &Source,
        options: ExportOptions,
        format: Option<(&Format, &PartitionBy)>,
    ) -> Result<Run, Failure> {
        Ok(match self {
            Self::One { single, limit } => {
                let extract = single.extract(source).options(options);
                let extract = limit.iter().fold(extract, |extract, rows| extract.limit(*rows));
                let run = extract.open()?;
                if let Some((format, by)) = format {
                    format.unknown_column([run.plan().as_ref()])?;
                    format.check(run.plan(), by).map_err(Error::from)?;
                }
                run
            }
            Self::Many { .. } => {
                let tables = self.tables(source);
                let tables = match format {
                    Some((format, by)) => {
                        let (format, by) = (format.clone(), by.clone());
                        tables.check(move |plans| format.problems(plans, &|_| by.clone()))
                    }
                    None => tables,
                };
                tables.options(options).open()?
            }
        })
    }
}

impl Single {
    /// The export as the library takes it.
    pub(crate) fn extract(&self, source: &Source) -> Extract {
        match self {
            Self::Table { name, columns, filter, params, only } => {
                let mut extract = source.table(name).only(*only);
                if let Some(columns) = columns {
                    extract = extract.columns(columns);
                }
                if let Some(filter) = filter {
                    extract = extract.filter(filter);
                }
                bind(extract, params)
            }
            Self::Query { sql, params } => bind(source.query(sql), params),
            Self::Slice(slice) => source.slice(slice.as_ref().clone()),
        }
    }
}

/// Binds the values of its parameters.
fn bind(extract: Extract, params: &[Option<String>]) -> Extract {
    params.iter().fold(extract, |extract, value| extract.bind(value.as_ref()))
}

/// A command line has no NULL.
fn values(flags: &WhatFlags) -> Vec<Option<String>> {
    flags.params.iter().cloned().map(Some).collect()
}

fn query(flags: &WhatFlags) -> Result<Option<String>, Failure> {
    match (&flags.query, &flags.query_file) {
        (Some(_), Some(_)) => Err(Failure::options("give --query or --query-file, not both")),
        (Some(sql), None) => Ok(Some(sql.clone())),
        (None, Some(path)) => fs::read_to_string(path)
            .map(Some)
            .map_err(|error| Failure::options(format!("the query cannot be read from {path:?}: {error}"))),
        (None, None) => Ok(None),
    }
}

/// All named tables, behind the connection and by --table. The error for a connection among them does not
/// repeat it.
pub(crate) fn names(named: &[String], tables: &[String]) -> Result<Vec<String>, Failure> {
    let names: Vec<String> = named.iter().chain(tables).cloned().collect();
    let is_connection =
        |name: &String| !name.starts_with('"') && (name.contains("://") || name.contains('='));
    match names.iter().any(is_connection) {
        true => Err(Failure::options(
            "there is a connection where a table's name stands; give one connection, before the tables",
        )),
        false => Ok(names),
    }
}

/// The error for an export of nothing. One word is a database, as in psql, and was perhaps meant as a table.
fn nothing(flags: &WhatFlags) -> Failure {
    const GIVE: &str = "give --table NAME or --query SQL";
    let is_name = |text: &&str| !text.trim().is_empty() && !text.contains("://") && !text.contains('=');
    match flags.connection.as_deref().filter(is_name) {
        Some(name) => Failure::options(format!(
            "nothing to export; {GIVE}: {name:?} was taken for a database, and the connection comes before the table, \
             as in `pgarrow export DATABASE {name}`, or `--table {name}` with PGDATABASE"
        )),
        None => Failure::options(format!("nothing to export; {GIVE}")),
    }
}

fn tables(flags: &WhatFlags, names: Vec<String>) -> Result<Subject, Failure> {
    if !flags.params.is_empty() && flags.filter.is_none() {
        return Err(Failure::options(
            "--param is for queries and --where: there is no $1 that it is the value of",
        ));
    }
    let (patterns, names): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| is_pattern(name));
    if let ([name], [], []) = (names.as_slice(), patterns.as_slice(), flags.schemas.as_slice()) {
        if !flags.excluded.is_empty() {
            return Err(Failure::options(
                "--exclude-table is for patterns and schemas, and one table is named",
            ));
        }
        let columns = flags.columns.as_deref().map(parse_column_list).transpose();
        let single = Single::Table {
            name: name.clone(),
            columns: columns.map_err(|error| Failure::from(Error::from(error)))?,
            filter: flags.filter.clone(),
            params: values(flags),
            only: flags.only,
        };
        return Ok(Subject::One { single, limit: flags.limit });
    }
    check_unused(flags, "is for one --table; several are read whole")?;
    let (schemas, excluded) = (flags.schemas.clone(), flags.excluded.clone());
    Ok(Subject::Many { names, patterns, schemas, excluded, only: flags.only })
}

/// Whether a name has a wildcard of psql's outside quotes.
fn is_pattern(name: &str) -> bool {
    let mut is_quoted = false;
    name.chars().any(|c| {
        is_quoted ^= c == '"';
        !is_quoted && matches!(c, '*' | '?')
    })
}

/// Refuses options for one table or query.
fn check_unused(flags: &WhatFlags, why: &str) -> Result<(), Failure> {
    let given = [
        ("--columns", flags.columns.is_some()),
        ("--where", flags.filter.is_some()),
        ("--limit", flags.limit.is_some()),
        ("--param", !flags.params.is_empty()),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => Err(Failure::options(format!("{name}: {why}"))),
        None => Ok(()),
    }
}

/// The token itself, or where it is: `-` is stdin, anything else a file.
fn read_slice(text: &str) -> Result<Slice, Failure> {
    let (token, place) = read_tokens(text, "--slice")?;
    parse_slice(&token, &place)
}

/// The snapshot that tokens of `pgarrow hold` are of: given as for a slice, but there may be several.
pub(crate) fn held_snapshot(text: &str) -> Result<SharedSnapshot, Failure> {
    let (tokens, place) = read_tokens(text, "--snapshot")?;
    let mut held: Option<SharedSnapshot> = None;
    // A token may have any layout, if it is alone.
    let slices = match Slice::from_json(tokens.trim()) {
        Ok(slice) => vec![slice],
        Err(_) => {
            let lines = tokens.lines().filter(|line| !line.trim().is_empty());
            lines.map(Slice::from_json).collect::<Result<_, _>>()?
        }
    };
    for slice in slices {
        let snapshot = slice
            .shared_snapshot()
            .ok_or_else(|| Failure::options(format!("{place}: the token has no snapshot that is held")))?;
        match &held {
            Some(held) if !held.is_same(&snapshot) => {
                let text = format!("{place} has tokens of several snapshots; give those of one");
                return Err(Failure::options(text));
            }
            _ => held = Some(snapshot),
        }
    }
    held.ok_or_else(|| Failure::options(format!("{place} is empty; it should have tokens of `pgarrow hold`")))
}

/// A text with tokens, and where it was.
fn read_tokens(text: &str, flag: &str) -> Result<(String, String), Failure> {
    if text.trim_start().starts_with('{') {
        return Ok((text.to_owned(), flag.to_owned()));
    }
    let refused = |error: io::Error, from: &str| {
        Failure::options(format!("{flag}: the token cannot be read from {from}: {error}"))
    };
    if text == "-" {
        let mut token = String::new();
        let read = io::stdin().lock().take(TOKENS_BYTES_MAX).read_to_string(&mut token);
        read.map_err(|error| refused(error, "stdin"))?;
        return Ok((token, "stdin".to_owned()));
    }
    let place = format!("{text:?}");
    let token = fs::File::open(text).and_then(|file| io::read_to_string(file.take(TOKENS_BYTES_MAX)));
    Ok((token.map_err(|error| refused(error, &place))?, place))
}

/// More than any token; a file of several tokens is recognised by its first lines.
const TOKENS_BYTES_MAX: u64 = 64 << 20;

fn parse_slice(text: &str, place: &str) -> Result<Slice, Failure> {
    let lines = text.lines().filter(|line| !line.trim().is_empty()).take(2).collect::<Vec<_>>();
    match lines.as_slice() {
        [] => Err(Failure::options(format!("{place} is empty; it should be a token of `pgarrow hold`"))),
        [line, _] if Slice::from_json(line).is_ok() => Err(Failure::options(format!(
            "{place} has several slices; give one, as `sed -n 1p FILE | pgarrow export … --slice -` does"
        ))),
        _ => Ok(Slice::from_json(text.trim())?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = r#"{"version":2,"source":{"endpoint":"h:5432","database":"d","server_started":"now"},
        "snapshot":null,"subject":{"query":"select 1"},"columns":["a"],"filter":null,"range":"whole",
        "read_mode":"copy","schema_fingerprint":"","estimated_bytes":0,"estimated_rows":null,"index":0,"of":1}"#;

    #[test]
    fn a_slice_may_have_any_layout_and_is_one() {
        let slice = read_slice(TOKEN).unwrap();
        assert_eq!(slice.columns, ["a"]);
        let line = slice.to_json().unwrap();
        assert_eq!(parse_slice(&format!("\n{line}\n\n"), "x").unwrap(), slice);
        let several = parse_slice(&format!("{line}\n{line}\n"), "stdin").unwrap_err().to_string();
        assert!(several.starts_with("stdin has several slices; give one"), "{several}");
        assert!(parse_slice(" \n", "stdin").unwrap_err().to_string().starts_with("stdin is empty"));
        for text in ["{", "{}", "no-such-file"] {
            assert!(read_slice(text).is_err(), "{text}");
        }
    }
}
