//! Patterns of names, as psql and `pg_dump` take them: `sales.*`, `order_?`, `"Odd Name"`.
//!
//! | in a pattern | means |
//! |---|---|
//! | `*` | any characters, also none |
//! | `?` | one character |
//! | `.` | separates the schema from the table |
//! | `"…"` | these characters as they are; `""` is a quote |
//! | another character | itself, folded to lower case; brackets and the like as in a regular expression |
//!
//! Source: `processSQLNamePattern` of PostgreSQL's `src/fe_utils/string_utils.c`, and the section "Patterns"
//! of psql's manual.

use pgarrow_protocol::Session;

use crate::error::CatalogError;
use crate::name::NameError;
use crate::relation::{Relation, relation_of};

/// A pattern of relations' names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamePattern {
    /// A regular expression of the server; `None`: whatever the search path finds.
    schema: Option<String>,
    /// A regular expression of the server.
    name: String,
    has_wildcard: bool,
}

impl NamePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// A quote without its end, more than one separating dot, or an empty name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let mut parts = vec![String::new()];
        let mut has_wildcard = false;
        let mut is_quoted = false;
        let mut characters = text.trim().chars().peekable();
        while let Some(c) = characters.next() {
            if c == '.' && !is_quoted {
                parts.push(String::new());
                continue;
            }
            let Some(part) = parts.last_mut() else { continue };
            match c {
                '"' if is_quoted && characters.peek() == Some(&'"') => {
                    characters.next();
                    part.push('"');
                }
                '"' => is_quoted = !is_quoted,
                '*' if !is_quoted => {
                    has_wildcard = true;
                    part.push_str(".*");
                }
                '?' if !is_quoted => {
                    has_wildcard = true;
                    part.push('.');
                }
                // A name may have it, and a regular expression would end there.
                '$' => part.push_str("\\$"),
                '|' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '.' | '^' | '\\' if is_quoted => {
                    part.push('\\');
                    part.push(c);
                }
                // The type of an array, in psql: never the beginning of a class.
                '[' if characters.peek() == Some(&']') => part.push_str("\\["),
                '|' | '+' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '\\' => {
                    has_wildcard = true;
                    part.push(c);
                }
                _ if is_quoted => part.push(c),
                _ => part.push(c.to_ascii_lowercase()),
            }
        }
        let refuse = |why| Err(NameError::of_pattern(text, why));
        if is_quoted {
            return refuse("a quote has no end");
        }
        if parts.iter().any(String::is_empty) {
            return refuse("a name is empty");
        }
        match parts.as_slice() {
            [name] => Ok(Self { schema: None, name: whole(name), has_wildcard }),
            [schema, name] => Ok(Self { schema: Some(whole(schema)), name: whole(name), has_wildcard }),
            _ => refuse("write SCHEMA.TABLE, with one dot"),
        }
    }

    /// Whether it may match several names.
    pub fn has_wildcard(&self) -> bool {
        self.has_wildcard
    }
}

/// An expression for a whole name.
fn whole(expression: &str) -> String {
    format!("^({expression})$")
}

/// The relations that hold their own rows and whose names match, by schema and name: tables, partitioned
/// tables, materialized views, as [`relations_of_schema`](crate::relations_of_schema) has them. A pattern
/// without a schema matches what the search path finds by its name alone. PostgreSQL's own schemas never
/// match.
///
/// # Errors
///
/// Errors of the server, also about a regular expression.
pub fn relations_of_pattern(
    session: &mut Session,
    pattern: &NamePattern,
) -> Result<Vec<Relation>, CatalogError> {
    let sql = "SELECT c.oid::pg_catalog.text, n.nspname, c.relname, c.relkind \
               FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
               WHERE c.relname OPERATOR(pg_catalog.~) $1::pg_catalog.text \
                 AND CASE WHEN $2::pg_catalog.text IS NULL THEN pg_catalog.pg_table_is_visible(c.oid) \
                          ELSE n.nspname OPERATOR(pg_catalog.~) $2::pg_catalog.text END \
                 AND n.nspname OPERATOR(pg_catalog.!~) '^(pg_|information_schema$)' \
                 AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,m}'::pg_catalog.\"char\"[]) \
                 AND NOT c.relispartition AND c.relpersistence OPERATOR(pg_catalog.<>) 't' \
               ORDER BY n.nspname, c.relname";
    let rows = session.query(sql, &[Some(&pattern.name), pattern.schema.as_deref()])?;
    rows.iter().map(relation_of).collect()
}

/// Which of these relations match: their OIDs. Relations of any kind. A pattern without a schema matches in
/// every schema: what is left out must not depend on a search path.
///
/// # Errors
///
/// As for [`relations_of_pattern`].
pub fn matching(
    session: &mut Session,
    pattern: &NamePattern,
    oids: &[u32],
) -> Result<Vec<u32>, CatalogError> {
    let sql = "SELECT c.oid::pg_catalog.text \
               FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
               WHERE c.oid OPERATOR(pg_catalog.=) ANY ($3::pg_catalog.oid[]) \
                 AND c.relname OPERATOR(pg_catalog.~) $1::pg_catalog.text \
                 AND ($2::pg_catalog.text IS NULL OR n.nspname OPERATOR(pg_catalog.~) $2::pg_catalog.text)";
    let oids = crate::texts::array_of(oids);
    let rows = session.query(sql, &[Some(&pattern.name), pattern.schema.as_deref(), Some(&oids)])?;
    Ok(rows.iter().filter_map(|row| row.text(0)?.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_psql() {
        for (text, schema, name, has_wildcard) in [
            ("orders", None, "^(orders)$", false),
            ("Sales.*", Some("^(sales)$"), "^(.*)$", true),
            ("s?les.ord*", Some("^(s.les)$"), "^(ord.*)$", true),
            (r#""Sales"."a.b*?""#, Some("^(Sales)$"), r"^(a\.b\*\?)$", false),
            (r#""a""b""#, None, "^(a\"b)$", false),
            ("a$b", None, r"^(a\$b)$", false),
            ("part_[0-9]+", None, "^(part_[0-9]+)$", true),
            (r#"x"Y"z"#, None, "^(xYz)$", false),
            ("ÄRZTE*", None, "^(Ärzte.*)$", true),
            ("a[]", None, r"^(a\[])$", true),
        ] {
            let expected =
                NamePattern { schema: schema.map(str::to_owned), name: name.to_owned(), has_wildcard };
            assert_eq!(NamePattern::parse(text), Ok(expected), "{text}");
        }
        for text in ["", "a.", ".b", "a.b.c", "\"a", "a..b", "\"\""] {
            assert!(NamePattern::parse(text).is_err(), "{text}");
        }
    }
}
