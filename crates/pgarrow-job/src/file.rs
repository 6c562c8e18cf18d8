//! `JOB.toml`: what a job file says, with the lines where it says so.
//!
//! ```toml
//! [source]
//! connection = "postgres://reader@${DB_HOST}/shop"
//! tables = ["sales.*", "public.customers"]
//! exclude_tables = ["sales.tmp_*"]
//!
//! [destination]
//! path = "lake"
//!
//! [options]
//! readers = 4
//! ```

use std::fmt;
use std::ops::Range;

use pgarrow_export::{Error, ErrorKind, Result};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::variables::expand;

/// The sections and keys of a job file, with what each is. Options are beside these: they are the caller's.
pub const KEYS: &[(&str, &str, &str)] = &[
    (
        "source",
        "connection",
        "the server: a URI, key=value pairs or a database; by default the PG* environment",
    ),
    ("source", "tables", "names and patterns as psql takes them: `sales.*`, `order_?`, `public.\"Odd\"`"),
    ("source", "exclude_tables", "patterns of tables to leave out"),
    ("destination", "path", "the folder; a relative one begins at the folder of the job file"),
    (
        "destination",
        "file_name",
        "the files' names below it: a template, by default `{schema}/{table}/part-{index:05}`",
    ),
    ("destination", "format", "`parquet`, `ipc` or `ipc-stream`; by default `parquet`"),
    ("destination", "success_file", "whether to write `_SUCCESS` at the end; by default no"),
];

/// A job file, read and checked for its form. No server was asked.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct JobFile {
    /// The file's name, for messages.
    pub name: String,
    /// The server; `None`: the environment says it.
    pub connection: Option<String>,
    /// Names and patterns.
    pub tables: Vec<String>,
    /// Patterns of what to leave out.
    pub exclude_tables: Vec<String>,
    /// Where files go.
    pub path: String,
    /// The template of files' names.
    pub file_name: Option<String>,
    /// The format's name.
    pub format: Option<String>,
    /// Whether there is a `_SUCCESS` at the end.
    pub success_file: bool,
    /// The options, in the order of the file.
    pub options: Vec<FileOption>,
}

/// An option of a job file.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FileOption {
    /// Its name as it is known, with `_` between words.
    pub name: String,
    /// Its values as text: one, or several for an option that may be repeated; none for a switch that is on.
    pub values: Vec<String>,
    /// The line where it stands, from 1.
    pub line: usize,
}

impl JobFile {
    /// Reads a job file. `known_options` are the names that options may have, with `_` between words. Variables
    /// in values, as in `${DB_HOST}`, are replaced by what `environment` has.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`], with the line: what is no TOML, keys and options that are not known (with the
    /// nearest one that is), values of another kind, and variables that are not set.
    pub fn parse(
        name: &str,
        text: &str,
        known_options: &[String],
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let reader = Reader { name, text, environment };
        let file = DeTable::parse(text).map_err(|error| {
            let place = error.span().map_or(0..0, |span| span);
            reader.error(place, error.message().trim())
        })?;
        let mut job = Self { name: name.to_owned(), ..Self::default() };
        for (section, content) in file.get_ref() {
            let DeValue::Table(content) = content.get_ref() else {
                let known = sections().map(str::to_owned).collect::<Vec<_>>();
                return Err(reader.unknown(section, "a section", &known));
            };
            match section.get_ref().as_ref() {
                "options" => job.read_options(&reader, content, known_options)?,
                known if sections().any(|section| section == known) => {
                    job.read_section(&reader, known, content)?;
                }
                _ => {
                    let known = sections().map(str::to_owned).collect::<Vec<_>>();
                    return Err(reader.unknown(section, "a section", &known));
                }
            }
        }
        let missing =
            [("source", "tables", job.tables.is_empty()), ("destination", "path", job.path.is_empty())];
        match missing.into_iter().find(|(.., is_missing)| *is_missing) {
            Some((section, key, _)) => {
                let text = format!("{name}: {key} is missing in section [{section}]");
                Err(Error::new(ErrorKind::Options, text))
            }
            None => Ok(job),
        }
    }

    fn read_section(&mut self, reader: &Reader<'_>, section: &str, content: &DeTable<'_>) -> Result<()> {
        for (key, value) in content {
            match (section, key.get_ref().as_ref()) {
                ("source", "connection") => self.connection = Some(reader.string(value)?),
                ("source", "tables") => self.tables = reader.strings(value)?,
                ("source", "exclude_tables") => self.exclude_tables = reader.strings(value)?,
                ("destination", "path") => self.path = reader.string(value)?,
                ("destination", "file_name") => self.file_name = Some(reader.string(value)?),
                ("destination", "format") => self.format = Some(reader.string(value)?),
                ("destination", "success_file") => self.success_file = reader.boolean(value)?,
                _ => {
                    let of_section = KEYS.iter().filter(|(known, ..)| *known == section);
                    let known = of_section.map(|(_, key, _)| (*key).to_owned()).collect::<Vec<_>>();
                    return Err(reader.unknown(key, &format!("a key of section [{section}]"), &known));
                }
            }
        }
        Ok(())
    }

    fn read_options(
        &mut self,
        reader: &Reader<'_>,
        content: &DeTable<'_>,
        known_options: &[String],
    ) -> Result<()> {
        for (key, value) in content {
            let name = key.get_ref().replace('-', "_");
            if !known_options.contains(&name) {
                return Err(reader.unknown(key, "an option", known_options));
            }
            let values = match value.get_ref() {
                DeValue::Boolean(false) => continue,
                DeValue::Boolean(true) => Vec::new(),
                // As in `set = { work_mem = "256MB" }`.
                DeValue::Table(pairs) => {
                    let pair = |(name, value): (&Spanned<_>, &Spanned<_>)| {
                        reader.text(value).map(|value| format!("{}={value}", name.get_ref()))
                    };
                    pairs.iter().map(pair).collect::<Result<_>>()?
                }
                DeValue::Array(values) => {
                    values.iter().map(|value| reader.text(value)).collect::<Result<_>>()?
                }
                _ => vec![reader.text(value)?],
            };
            self.options.push(FileOption { name, values, line: reader.line(&key.span()) });
        }
        Ok(())
    }
}

fn sections() -> impl Iterator<Item = &'static str> {
    ["source", "destination", "options"].into_iter()
}

struct Reader<'a> {
    name: &'a str,
    text: &'a str,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Reader<'_> {
    fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        before.matches('\n').count().saturating_add(1)
    }

    fn error(&self, span: Range<usize>, text: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Options, format!("{}, line {}: {text}", self.name, self.line(&span)))
    }

    fn unknown(&self, key: &Spanned<impl AsRef<str>>, what: &str, known: &[String]) -> Error {
        let name = key.get_ref().as_ref();
        let near = nearest(name, known).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        self.error(key.span(), format!("{name:?} is not {what}{near}"))
    }

    fn string(&self, value: &Spanned<DeValue<'_>>) -> Result<String> {
        match value.get_ref() {
            DeValue::String(text) => {
                expand(text, self.environment).map_err(|why| self.error(value.span(), why))
            }
            _ => Err(self.error(value.span(), "write a text in quotes")),
        }
    }

    fn strings(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>> {
        match value.get_ref() {
            DeValue::Array(values) => values.iter().map(|value| self.string(value)).collect(),
            _ => Err(self.error(value.span(), "write a list of texts, as in [\"a\", \"b\"]")),
        }
    }

    fn boolean(&self, value: &Spanned<DeValue<'_>>) -> Result<bool> {
        match value.get_ref() {
            DeValue::Boolean(is_so) => Ok(*is_so),
            _ => Err(self.error(value.span(), "write true or false")),
        }
    }

    /// Any single value as text.
    fn text(&self, value: &Spanned<DeValue<'_>>) -> Result<String> {
        match value.get_ref() {
            DeValue::String(_) => self.string(value),
            DeValue::Integer(number) => Ok(number.as_str().replace('_', "")),
            DeValue::Float(number) => Ok(number.as_str().to_owned()),
            DeValue::Boolean(is_so) => Ok(is_so.to_string()),
            _ => Err(self.error(value.span(), "write one value, or a list of them")),
        }
    }
}

/// The known name that was probably meant.
pub(crate) fn nearest<'k>(name: &str, known: &'k [String]) -> Option<&'k str> {
    // As clap has it.
    const ALIKE: f64 = 0.7;
    let alike = known.iter().map(|known| (strsim::jaro(name, known), known.as_str()));
    let nearest = alike.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (nearest.0 > ALIKE).then_some(nearest.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<JobFile> {
        let known = ["readers", "memory", "set", "trim", "column"].map(str::to_owned);
        let environment = |name: &str| (name == "DB_HOST").then(|| "db.example".to_owned());
        JobFile::parse("JOB.toml", text, &known, &environment)
    }

    const JOB: &str = "[source]\nconnection = \"postgres://${DB_HOST}/shop\"\ntables = [\"sales.*\"]\n\
                       [destination]\npath = \"lake\"\n";

    #[test]
    fn a_job_with_options_of_every_kind() {
        let text = format!(
            "{JOB}success_file = true\n[options]\nreaders = 4\nmemory = \"1G\"\ntrim = true\n\
             column = [\"a:text\", \"b:text\"]\nset = {{ work_mem = \"64MB\" }}\n"
        );
        let job = parse(&text).unwrap();
        assert_eq!(job.connection.as_deref(), Some("postgres://db.example/shop"));
        assert_eq!((job.tables.as_slice(), job.path.as_str()), (&["sales.*".to_owned()][..], "lake"));
        assert!(job.success_file);
        let options: Vec<_> = job
            .options
            .iter()
            .map(|FileOption { name, values, line }| format!("{line} {name} {}", values.join(",")))
            .collect();
        let expected =
            ["8 readers 4", "9 memory 1G", "10 trim ", "11 column a:text,b:text", "12 set work_mem=64MB"];
        let mut sorted = options;
        sorted.sort_by_key(|option| option.split(' ').next().and_then(|line| line.parse::<u32>().ok()));
        assert_eq!(sorted, expected);
        assert!(parse(&format!("{JOB}[options]\ntrim = false\n")).unwrap().options.is_empty());
    }

    #[test]
    fn errors_name_the_line_and_the_nearest_key() {
        for (text, why) in [
            (
                "[source]\ntable = 1\n",
                "JOB.toml, line 2: \"table\" is not a key of section [source]; did you mean \"tables\"?",
            ),
            ("[sources]\n", "line 1: \"sources\" is not a section; did you mean \"source\"?"),
            ("x = 1\n", "line 1: \"x\" is not a section"),
            (
                &format!("{JOB}[options]\n\nreader = 4\n"),
                "line 8: \"reader\" is not an option; did you mean \"readers\"?",
            ),
            (&JOB.replace("[\"sales.*\"]", "\"sales.*\""), "line 3: write a list of texts"),
            (&JOB.replace("\"lake\"", "1"), "line 5: write a text in quotes"),
            (&JOB.replace("DB_HOST", "DB_PORT"), "line 2: the variable DB_PORT is not set"),
            ("[source]\ntables = [\"a\"]\n", "path is missing in section [destination]"),
            ("[destination]\npath = \"x\"\n", "tables is missing in section [source]"),
            ("[source\n", "line 1"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
