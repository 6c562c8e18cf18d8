//! The sections `[[query]]` of a job file.

use pgarrow_export::Result;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::keys::KEYS;
use crate::reader::Reader;

/// A query, as a job file has it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct QuerySection {
    /// Its name.
    pub name: String,
    /// Its text, or where that is.
    pub text: QueryText,
    /// The column of its result to split on.
    pub split_on: Option<String>,
    /// The line where its text is said, from 1.
    pub line: usize,
}

/// Where the text of a query is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum QueryText {
    /// In the job file.
    Sql(String),
    /// In this file, from the job file's folder on.
    File(String),
}

impl Reader<'_> {
    pub(crate) fn queries(&self, content: &Spanned<DeValue<'_>>) -> Result<Vec<QuerySection>> {
        self.sections("query", content, |section, keys| self.query(section, keys))
    }

    fn query(&self, section: &Spanned<DeValue<'_>>, keys: &DeTable<'_>) -> Result<QuerySection> {
        let (mut name, mut text, mut split_on) = (None, None, None);
        for (key, value) in keys {
            let of_key = match key.get_ref().as_ref() {
                "name" => {
                    name = Some(self.filled(value)?);
                    continue;
                }
                "split_on" => {
                    split_on = Some(self.filled(value)?);
                    continue;
                }
                "sql" => QueryText::Sql(self.filled(value)?),
                "file" => QueryText::File(self.filled(value)?),
                "columns" | "filter" => {
                    return Err(self.error(key.span(), "this is for tables; write it into the query"));
                }
                "incremental" | "column" | "overlap" | "nulls" | "full_every" | "on_schema_change" => {
                    let text = "this is for tables: each run reads all rows of a query, since nothing says which of them \
                                are new";
                    return Err(self.error(key.span(), text));
                }
                _ => {
                    let known = KEYS.iter().filter(|(of, ..)| *of == "query").map(|(_, key, _)| *key);
                    return Err(self.unknown(key, "a key of section [[query]]", known));
                }
            };
            if text.is_some() {
                return Err(self.error(key.span(), "a query has sql or file, and not both"));
            }
            text = Some((of_key, self.line(&key.span())));
        }
        let missing = |key| self.error(section.span(), format!("{key} is missing in this section [[query]]"));
        let name = name.ok_or_else(|| missing("name"))?;
        let (text, line) = text.ok_or_else(|| missing("sql, or file,"))?;
        Ok(QuerySection { name, text, split_on, line })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobFile;

    fn parse(queries: &str) -> Result<Vec<QuerySection>> {
        let job = format!("[destination]\npath = \"lake\"\n{queries}");
        let environment = |name: &str| (name == "REGION").then(|| "north".to_owned());
        JobFile::parse("JOB.toml", &job, &[], &environment).map(|job| job.queries)
    }

    #[test]
    fn queries_with_their_text_or_a_file() {
        let queries = parse(
            "[[query]]\nname = \"a\"\nsql = \"select '${REGION}'\"\nsplit_on = \"id\"\n\
             [[query]]\nname = \"b\"\nfile = \"b.sql\"\n",
        );
        let section = |name: &str, text, split_on: Option<&str>, line| QuerySection {
            name: name.to_owned(),
            text,
            split_on: split_on.map(str::to_owned),
            line,
        };
        let expected = [
            section("a", QueryText::Sql("select 'north'".to_owned()), Some("id"), 5),
            section("b", QueryText::File("b.sql".to_owned()), None, 9),
        ];
        assert_eq!(queries.unwrap(), expected);
    }

    #[test]
    fn what_a_query_cannot_have() {
        for (text, why) in [
            ("[query]\nname = \"a\"\n", "line 3: write [[query]], in two brackets"),
            ("[[query]]\nsql = \"select 1\"\n", "line 3: name is missing in this section [[query]]"),
            ("[[query]]\nname = \"a\"\n", "line 3: sql, or file, is missing"),
            (
                "[[query]]\nname = \"a\"\nsql = \"select 1\"\nfile = \"a.sql\"\n",
                "a query has sql or file, and not both",
            ),
            ("[[query]]\nname = \"a\"\nincremental = \"xmin\"\n", "line 5: this is for tables: each run"),
            ("[[query]]\nname = \"a\"\nfilter = \"x\"\n", "line 5: this is for tables; write it into"),
            ("[[query]]\nname = \"a\"\nsplit-on = \"x\"\n", "did you mean \"split_on\"?"),
            ("", "tables is missing in section [source]"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
