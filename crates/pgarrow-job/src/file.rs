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

use pgarrow_export::{Error, ErrorKind, Result};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::file_query::QuerySection;
use crate::keys::{KEYS, OF_FILES, OF_SERVERS};
use crate::reader::Reader;
use crate::rules::TableRule;

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
    /// Whether tables are read without those that inherit from them.
    pub only: bool,
    /// Where files go; empty if the job loads a server.
    pub path: String,
    /// The server that the tables are loaded into, instead of a path.
    pub target: Option<String>,
    /// The schema of all tables there; `None`: each has that of its source.
    pub into_schema: Option<String>,
    /// The template of files' names.
    pub file_name: Option<String>,
    /// The format's name.
    pub format: Option<String>,
    /// Whether there is a `_SUCCESS` at the end.
    pub success_file: bool,
    /// Whether files are compared with the server before they are committed.
    pub verify: bool,
    /// What is said of single tables, in its order.
    pub rules: Vec<TableRule>,
    /// The queries beside the tables.
    pub queries: Vec<QuerySection>,
    /// The options, by name.
    pub options: Vec<FileOption>,
}

/// An option that a job may have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownOption {
    /// Its name, with `_` between words.
    pub name: String,
    /// Whether it is on or off, and has no other value.
    pub is_switch: bool,
}

/// An option of a job file.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FileOption {
    /// Its name as it is known.
    pub name: String,
    /// What it is set to.
    pub value: OptionValue,
    /// The values as they stand in the file, with the names of variables and not with their values.
    pub written: Vec<String>,
    /// The line where it stands, from 1.
    pub line: usize,
}

/// What an option is set to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OptionValue {
    /// On or off.
    Switch(bool),
    /// One value as text, or several for an option that may be repeated.
    Values(Vec<String>),
}

impl JobFile {
    /// Reads a job file with options from `known_options`. Variables in values, as in `${DB_HOST}`, are
    /// replaced by what `environment` has.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`], with the line: what is no TOML, keys and options that are not known (with the
    /// nearest one that is), values of another kind, and variables that are not set.
    pub fn parse(
        name: &str,
        text: &str,
        known_options: &[KnownOption],
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let reader = Reader { name, text, environment };
        let file = DeTable::parse(text).map_err(|error| {
            let place = error.span().map_or(0..0, |span| span);
            reader.error(place, error.message().trim())
        })?;
        let mut job = Self { name: name.to_owned(), ..Self::default() };
        for (section, content) in file.get_ref() {
            if section.get_ref() == "table" {
                job.rules = reader.rules(content)?;
                continue;
            }
            if section.get_ref() == "query" {
                job.queries = reader.queries(content)?;
                continue;
            }
            let DeValue::Table(content) = content.get_ref() else {
                let name = section.get_ref();
                if sections().chain(["options"]).any(|known| known == name.as_ref()) {
                    return Err(reader.error(section.span(), format!("write [{name}], and its keys below")));
                }
                return Err(reader.unknown(section, "a section", sections()));
            };
            match section.get_ref().as_ref() {
                "options" => job.read_options(&reader, content, known_options)?,
                known if sections().any(|section| section == known) => {
                    job.read_section(&reader, known, content)?;
                }
                _ => {
                    return Err(reader.unknown(section, "a section", sections()));
                }
            }
        }
        let missing = [
            ("source", "tables", job.tables.is_empty() && job.queries.is_empty()),
            ("destination", "path, or connection,", job.path.is_empty() && job.target.is_none()),
        ];
        let refused = match (job.path.is_empty(), &job.target) {
            (_, None) => reader.refuse(file.get_ref(), OF_SERVERS, "is for a destination with a connection"),
            (true, Some(_)) => reader.refuse(file.get_ref(), OF_FILES, "is for a destination with a path"),
            (false, Some(_)) => {
                let path = &[("destination", "path")];
                reader.refuse(file.get_ref(), path, "and connection are two destinations; leave one out")
            }
        };
        refused?;
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
                ("source", "connection") => self.connection = Some(reader.filled(value)?),
                ("source", "tables") => self.tables = reader.strings(value)?,
                ("source", "exclude_tables") => self.exclude_tables = reader.strings(value)?,
                ("source", "only") => self.only = reader.boolean(value)?,
                ("destination", "path") => self.path = reader.filled(value)?,
                ("destination", "connection") => self.target = Some(reader.filled(value)?),
                ("destination", "into_schema") => self.into_schema = Some(reader.filled(value)?),
                ("destination", "file_name") => self.file_name = Some(reader.string(value)?),
                ("destination", "format") => self.format = Some(reader.string(value)?),
                ("destination", "verify") => self.verify = reader.boolean(value)?,
                ("destination", "success_file") => self.success_file = reader.boolean(value)?,
                _ => {
                    let of_section = KEYS.iter().filter(|(known, ..)| *known == section);
                    let known = of_section.map(|(_, key, _)| *key);
                    return Err(reader.unknown(key, &format!("a key of section [{section}]"), known));
                }
            }
        }
        Ok(())
    }

    fn read_options(
        &mut self,
        reader: &Reader<'_>,
        content: &DeTable<'_>,
        known_options: &[KnownOption],
    ) -> Result<()> {
        for (key, value) in content {
            let name = key.get_ref().replace('-', "_");
            let Some(known) = known_options.iter().find(|known| known.name == name) else {
                let known = known_options.iter().map(|known| known.name.as_str());
                return Err(reader.unknown(key, "an option", known));
            };
            if self.options.iter().any(|earlier| earlier.name == name) {
                return Err(reader.error(key.span(), format!("the option {name} is there twice")));
            }
            let line = reader.line(&key.span());
            if known.is_switch {
                let value = OptionValue::Switch(reader.boolean(value)?);
                self.options.push(FileOption { name, value, written: Vec::new(), line });
                continue;
            }
            let pairs: Vec<(String, String)> = match value.get_ref() {
                // As in `set = { work_mem = "256MB" }`.
                DeValue::Table(pairs) => {
                    let pair = |(name, value): (&Spanned<_>, &Spanned<_>)| {
                        let (value, written) = reader.text(value)?;
                        let name = name.get_ref();
                        Ok((format!("{name}={value}"), format!("{name}={written}")))
                    };
                    pairs.iter().map(pair).collect::<Result<_>>()?
                }
                DeValue::Array(values) => {
                    values.iter().map(|value| reader.text(value)).collect::<Result<_>>()?
                }
                _ => vec![reader.text(value)?],
            };
            if pairs.is_empty() {
                return Err(reader.error(value.span(), "the list is empty; leave the option out"));
            }
            let (values, written) = pairs.into_iter().unzip();
            self.options.push(FileOption { name, value: OptionValue::Values(values), written, line });
        }
        Ok(())
    }
}

/// The sections of keys.
fn sections() -> impl Iterator<Item = &'static str> {
    ["source", "destination", "table", "query"].into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use pgarrow_load::LoadMode;

    use crate::rules::{Finding, NullRows, Overlap, SchemaChange};

    fn parse(text: &str) -> Result<JobFile> {
        let known = ["readers", "memory", "set", "trim", "column"];
        let known = known.map(|name| KnownOption { name: name.to_owned(), is_switch: name == "trim" });
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
        let shown = |option: &FileOption| match &option.value {
            OptionValue::Switch(is_on) => format!("{} {} {is_on}", option.line, option.name),
            OptionValue::Values(values) => format!("{} {} {}", option.line, option.name, values.join(",")),
        };
        let options: Vec<_> = job.options.iter().map(shown).collect();
        let expected =
            ["8 readers 4", "9 memory 1G", "10 trim true", "11 column a:text,b:text", "12 set work_mem=64MB"];
        let mut sorted = options;
        sorted.sort_by_key(|option| option.split(' ').next().and_then(|line| line.parse::<u32>().ok()));
        assert_eq!(sorted, expected);
        let option =
            |line: &str| parse(&format!("{JOB}[options]\n{line}\n")).map(|job| job.options[0].clone());
        assert_eq!(option("trim = false").unwrap().value, OptionValue::Switch(false));
        assert_eq!(option("readers = 0x1_0").unwrap().value, OptionValue::Values(vec!["16".to_owned()]));
        // A variable's value is not shown.
        let memory = option("memory = \"${DB_HOST}\"").unwrap();
        assert_eq!(memory.value, OptionValue::Values(vec!["db.example".to_owned()]));
        assert_eq!(memory.written, ["${DB_HOST}"]);
    }

    #[test]
    fn what_is_said_of_single_tables() {
        let text = format!(
            "{JOB}[[table]]\nname = \"*.*\"\nincremental = \"xmin\"\nfull_every = \"7d\"\n\
             [[table]]\nname = \"sales.orders\"\nincremental = \"column\"\ncolumn = \"id\"\noverlap = 100\n\
             nulls = \"never\"\non_schema_change = \"add\"\ncolumns = [\"id\"]\nfilter = \"id > 0\"\n"
        );
        let rules = parse(&text).unwrap().rules;
        let all = TableRule {
            incremental: Some(Finding::Xmin),
            full_every: Some(Duration::from_secs(7 * 24 * 3600)),
            ..TableRule::new("*.*")
        };
        let orders = TableRule {
            columns: Some(vec!["id".to_owned()]),
            filter: Some("id > 0".to_owned()),
            incremental: Some(Finding::Column),
            column: Some("id".to_owned()),
            overlap: Some(Overlap::Number(100)),
            nulls: Some(NullRows::Never),
            on_schema_change: Some(SchemaChange::Add),
            ..TableRule::new("sales.orders")
        };
        assert_eq!(rules, [all, orders]);
    }

    #[test]
    fn a_job_that_loads_a_server() {
        let text = format!(
            "{}into_schema = \"Copied\"\n[[table]]\nname = \"a\"\nmode = \"upsert\"\n",
            JOB.replace("path = \"lake\"", "connection = \"host=${DB_HOST} dbname=new\"")
        );
        let job = parse(&text).unwrap();
        assert_eq!(job.target.as_deref(), Some("host=db.example dbname=new"));
        assert_eq!((job.path.as_str(), job.into_schema.as_deref()), ("", Some("Copied")));
        assert_eq!(job.rules[0].mode, Some(LoadMode::Upsert));
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
            ("[source]\ntables = [\"a\"]\n", "path, or connection, is missing in section [destination]"),
            (&JOB.replace("\"lake\"", "\"\""), "line 5: the text is empty"),
            (
                &format!("{JOB}connection = \"host=new\"\n"),
                "line 5: path and connection are two destinations; leave one out",
            ),
            (
                &format!("{JOB}into_schema = \"s\"\n"),
                "line 6: into_schema is for a destination with a connection",
            ),
            (
                &format!("{JOB}[[table]]\nname = \"*\"\nmode = \"truncate\"\n"),
                "line 8: mode is for a destination with a connection",
            ),
            (
                &format!("{}verify = true\n", JOB.replace("path", "connection")),
                "line 6: verify is for a destination with a path",
            ),
            (
                &format!(
                    "{}[[table]]\nname = \"*\"\n[[table]]\nname = \"b\"\nnulls = \"never\"\n",
                    JOB.replace("path", "connection")
                ),
                "line 10: nulls is for a destination with a path",
            ),
            (
                &format!("{}[[table]]\nname = \"*\"\nmode = \"drop\"\n", JOB.replace("path", "connection")),
                "line 8: write one of append, truncate, create, replace, upsert",
            ),
            ("[destination]\npath = \"x\"\n", "tables is missing in section [source]"),
            ("[source\n", "line 1"),
            ("[table]\nname = \"t\"\n", "line 1: write [[table]], in two brackets"),
            (&format!("{JOB}[[table]]\ncolumns = [\"a\"]\n"), "name is missing in this section"),
            (
                &format!("{JOB}[[table]]\nname = \"t\"\nfilters = \"a\"\n"),
                "line 8: \"filters\" is not a key of section [[table]]; did you mean \"filter\"?",
            ),
            (
                &format!("{JOB}[[table]]\nname = \"t\"\nincremental = \"yes\"\n"),
                "line 8: write one of no, xmin, column",
            ),
            (&format!("{JOB}[[table]]\nname = \"t\"\noverlap = \"x\"\n"), "line 8: write a time"),
            (&format!("{JOB}[[table]]\nname = \"t\"\noverlap = -1\n"), "line 8: write 0 or more"),
            ("[[source]]\ntables = [\"a\"]\n", "line 1: write [source], and its keys below"),
            (&JOB.replace("postgres://${DB_HOST}/shop", " "), "line 2: the text is empty"),
            (&format!("{JOB}[options]\nreaders = false\n"), "line 7: write a value, and not true or false"),
            (&format!("{JOB}[options]\ntrim = []\n"), "line 7: write true or false"),
            (&format!("{JOB}[options]\nset = []\n"), "line 7: the list is empty"),
            (&format!("{JOB}[options]\nreaders = 1\nreaders = 2\n"), "line 8"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
