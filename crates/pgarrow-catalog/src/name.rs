//! Names as psql takes them, and the only two functions that put foreign text into SQL.
//!
//! Source: <https://www.postgresql.org/docs/current/app-psql.html>, "Patterns", without the wildcards;
//! <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>, "Identifiers and Key Words".

use std::fmt;

use postgres_protocol::escape::{escape_identifier, escape_literal};

/// The most bytes of a name: `NAMEDATALEN` in `src/include/pg_config_manual.h`, less the zero byte. A server
/// cuts longer ones, and takes them for others. Whoever builds a server may choose another number.
pub const NAME_BYTES_MAX: usize = 63;

/// A relation's name, folded to lower case unless it was quoted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RelationName {
    /// The schema, if the user named one; otherwise the search path decides.
    pub schema: Option<String>,
    /// The relation itself.
    pub name: String,
}

/// Why a text is not a valid name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NameError(String);

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NameError {}

impl NameError {
    pub(crate) fn of_pattern(text: &str, why: &str) -> Self {
        Self(format!("the pattern {text:?} cannot be used: {why}"))
    }
}

impl RelationName {
    /// Reads `table`, `schema.table`, `"Table"`, `schema."Ta.ble"`.
    ///
    /// # Errors
    ///
    /// An empty part, an unfinished quote, or more than two parts.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let mut parts = Parser::new(text).parts('.')?;
        match (parts.pop(), parts.pop(), parts.pop()) {
            (Some(name), schema, None) => Ok(Self { schema, name }),
            _ => Err(NameError(format!(
                "the name {text:?} has more than two parts; name a table as table or schema.table \
                 and the database in the connection"
            ))),
        }
    }

    /// The name in SQL.
    pub fn quoted(&self) -> String {
        let name = quote_identifier(&self.name);
        match &self.schema {
            Some(schema) => format!("{}.{name}", quote_identifier(schema)),
            None => name,
        }
    }
}

/// Parses a list of column names, `a, "B", c`, folded like a relation's name.
///
/// # Errors
///
/// An empty name or an unfinished quote.
pub fn parse_column_list(text: &str) -> Result<Vec<String>, NameError> {
    Parser::new(text).parts(',')
}

/// Parses the name of a column, or of a field inside it: `a`, `address.city`, `"A.b".c`, folded like a
/// relation's name.
///
/// # Errors
///
/// An empty part or an unfinished quote.
pub fn parse_column_path(text: &str) -> Result<Vec<String>, NameError> {
    Parser::new(text).parts('.')
}

/// An identifier in SQL, always quoted.
pub fn quote_identifier(name: &str) -> String {
    escape_identifier(name)
}

/// A string literal in SQL. Safe with any `standard_conforming_strings`: a text with a backslash becomes an
/// `E''` literal. `None` for text with a NUL byte, which no literal can hold.
pub fn quote_literal(text: &str) -> Option<String> {
    (!text.contains('\0')).then(|| escape_literal(text))
}

/// An array of texts, in text form.
///
/// Source: <https://www.postgresql.org/docs/current/arrays.html>, "Array Input and Output Syntax".
pub(crate) fn text_array<S: AsRef<str>>(values: &[S]) -> String {
    let escaped = |value: &S| value.as_ref().replace('\\', "\\\\").replace('"', "\\\"");
    let values: Vec<String> = values.iter().map(|value| format!("\"{}\"", escaped(value))).collect();
    format!("{{{}}}", values.join(","))
}

struct Parser<'a> {
    text: &'a str,
    rest: std::iter::Peekable<std::str::Chars<'a>>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, rest: text.chars().peekable() }
    }

    fn parts(mut self, separator: char) -> Result<Vec<String>, NameError> {
        let mut parts = vec![self.part(separator)?];
        while self.rest.next().is_some() {
            parts.push(self.part(separator)?);
        }
        Ok(parts)
    }

    /// Parses up to a separator, which is not consumed. Quoted and unquoted pieces may follow each other, as
    /// in psql.
    fn part(&mut self, separator: char) -> Result<String, NameError> {
        let mut part = String::new();
        let mut was_quoted = false;
        // White space around a name is not part of it; inside, it ends an unquoted name.
        let mut pending_space = String::new();
        while let Some(c) = self.rest.next_if(|c| *c != separator) {
            match c {
                '"' => {
                    was_quoted = true;
                    part.push_str(&std::mem::take(&mut pending_space));
                    self.quoted(&mut part)?;
                }
                c if c.is_whitespace() && part.is_empty() && !was_quoted => {}
                c if c.is_whitespace() => pending_space.push(c),
                '\0' => return Err(NameError(format!("the name {:?} has a NUL byte", self.text))),
                c => {
                    part.push_str(&std::mem::take(&mut pending_space));
                    part.push(c.to_ascii_lowercase());
                }
            }
        }
        if part.is_empty() {
            return Err(NameError(format!("the name {:?} has an empty part", self.text)));
        }
        Ok(part)
    }

    /// Parses from after an opening quote up to the closing one. Two quotes stand for one.
    fn quoted(&mut self, part: &mut String) -> Result<(), NameError> {
        while let Some(c) = self.rest.next() {
            match c {
                '"' if self.rest.next_if_eq(&'"').is_none() => return Ok(()),
                '\0' => return Err(NameError(format!("the name {:?} has a NUL byte", self.text))),
                c => part.push(c),
            }
        }
        Err(NameError(format!("the name {:?} has a quote that is not closed", self.text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Option<String>, String) {
        let name = RelationName::parse(text).unwrap();
        (name.schema, name.name)
    }

    #[test]
    fn names_are_folded_unless_quoted() {
        assert_eq!(parsed("Orders"), (None, "orders".into()));
        assert_eq!(parsed("\"Orders\""), (None, "Orders".into()));
        assert_eq!(parsed("Sales.Orders"), (Some("sales".into()), "orders".into()));
        assert_eq!(parsed("\"Sa.les\".\"Or\"\"ders\""), (Some("Sa.les".into()), "Or\"ders".into()));
        assert_eq!(parsed(" a . b "), (Some("a".into()), "b".into()));
        assert_eq!(parsed("\" \""), (None, " ".into()));
        assert_eq!(parsed("ÄB"), (None, "Äb".into()));
        assert_eq!(parsed("we\"I\"rd"), (None, "weIrd".into()));
    }

    #[test]
    fn names_that_are_none() {
        for text in ["", " ", ".", "a.", ".a", "a..b", "\"", "\"a", "a.b.c", "\"\"", "a\0", "\"a\0\""] {
            RelationName::parse(text).unwrap_err();
        }
    }

    #[test]
    fn column_lists() {
        assert_eq!(parse_column_list("A, \"B,c\" ,d").unwrap(), ["a", "B,c", "d"]);
        parse_column_list("a,,b").unwrap_err();
        parse_column_list("a,").unwrap_err();
        assert_eq!(parse_column_path("Address . \"City.\"").unwrap(), ["address", "City."]);
        parse_column_path("a..b").unwrap_err();
    }

    #[test]
    fn arrays_of_texts() {
        assert_eq!(text_array::<&str>(&[]), "{}");
        assert_eq!(text_array(&["a", "", "NULL", "b\"\\,{}"]), r#"{"a","","NULL","b\"\\,{}"}"#);
    }

    #[test]
    fn quoting() {
        assert_eq!(RelationName::parse("s.\"T\"\"x\"").unwrap().quoted(), "\"s\".\"T\"\"x\"");
        assert_eq!(quote_literal("it's").as_deref(), Some("'it''s'"));
        assert_eq!(quote_literal("a\\b").as_deref(), Some(" E'a\\\\b'"));
        assert_eq!(quote_literal("a\0b"), None);
    }
}
