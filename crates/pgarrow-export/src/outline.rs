//! What a user's SQL consists of, for callers that run it as it is.

use pgarrow_session::Result;

use crate::statement::{Scanner, Token, TokenKind};

/// An outline of one statement, or of several. The server alone knows what they really are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Outline {
    /// How many statements there are; those that are empty do not count.
    pub statements: usize,
    /// The first word, in capitals.
    pub command: String,
    /// One of the statements is a COPY between the server and its client.
    pub is_client_copy: bool,
    /// A word in it changes data, or may: INSERT, UPDATE, DELETE, MERGE, CALL, EXECUTE, DO, COPY.
    pub may_write: bool,
    /// The highest number of a placeholder.
    pub parameters: usize,
    /// The table, if it is nothing but rows of one.
    pub table: Option<TableRead>,
}

/// `TABLE name`, or `SELECT columns FROM name`, with or without a condition.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TableRead {
    /// The name, as it was written.
    pub name: String,
    /// The columns, as they were written; `None` for all.
    pub columns: Option<String>,
    /// The condition.
    pub filter: Option<String>,
    /// Without tables that inherit from it.
    pub only: bool,
}

/// Words that may change data.
const WRITING: [&str; 8] = ["INSERT", "UPDATE", "DELETE", "MERGE", "CALL", "EXECUTE", "DO", "COPY"];

/// Words after which a SELECT is more than some rows of one table.
const MORE: [&str; 20] = [
    "GROUP",
    "HAVING",
    "WINDOW",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "FETCH",
    "FOR",
    "JOIN",
    "NATURAL",
    "CROSS",
    "LEFT",
    "RIGHT",
    "INNER",
    "FULL",
    "TABLESAMPLE",
    "AS",
];

impl Outline {
    /// Looks at SQL.
    ///
    /// # Errors
    ///
    /// A string, name or comment that is not closed.
    pub fn of(sql: &str) -> Result<Self> {
        let mut outline = Self::default();
        let mut scanner = Scanner::new(sql);
        let mut first: Vec<Token> = Vec::new();
        let (mut is_begun, mut is_copy) = (false, false);
        while let Some(token) = scanner.next_token()? {
            match token.kind {
                TokenKind::Blank => continue,
                TokenKind::Semicolon => {
                    is_begun = false;
                    continue;
                }
                TokenKind::Placeholder(number) => outline.parameters = outline.parameters.max(number),
                TokenKind::Word => {
                    outline.may_write |= WRITING.contains(&word(sql, &token).as_str());
                }
                _ => {}
            }
            if token.kind == TokenKind::Word {
                let word = word(sql, &token);
                is_copy = if is_begun { is_copy } else { word == "COPY" };
                outline.is_client_copy |= is_copy && matches!(word.as_str(), "STDIN" | "STDOUT");
            } else if !is_begun {
                is_copy = false;
            }
            outline.statements += usize::from(!is_begun);
            is_begun = true;
            if outline.statements == 1 {
                first.push(token);
            }
        }
        let is_word = |token: &Token| token.kind == TokenKind::Word;
        // A query may begin with parentheses.
        if let Some(token) = first.iter().find(|token| token.kind != TokenKind::Open).filter(|t| is_word(t)) {
            outline.command = word(sql, token);
        }
        if outline.statements == 1 && outline.parameters == 0 {
            outline.table = table_read(sql, &first);
        }
        Ok(outline)
    }
}

fn word(sql: &str, token: &Token) -> String {
    sql.get(token.range.clone()).unwrap_or_default().to_ascii_uppercase()
}

/// The tokens are those of one statement, without blanks.
fn table_read(sql: &str, tokens: &[Token]) -> Option<TableRead> {
    let is = |token: &Token, text: &str| token.kind == TokenKind::Word && word(sql, token) == text;
    let text = |tokens: &[Token]| {
        let (first, last) = (tokens.first()?, tokens.last()?);
        sql.get(first.range.start..last.range.end).map(str::to_owned)
    };
    let (columns, mut rest) = match tokens.split_first()? {
        (first, rest) if is(first, "TABLE") => (None, rest),
        (first, rest) if is(first, "SELECT") => {
            let from = rest.iter().position(|token| is(token, "FROM"))?;
            let (list, rest) = rest.split_at_checked(from)?;
            let is_all = matches!(list, [star] if word(sql, star) == "*");
            let columns = if is_all { None } else { Some(plain_list(sql, list).then(|| text(list))??) };
            (columns, rest.get(1..)?)
        }
        _ => return None,
    };
    let only = rest.first().is_some_and(|token| is(token, "ONLY"));
    if only {
        rest = rest.get(1..)?;
    }
    let end = rest.iter().position(|token| is(token, "WHERE")).unwrap_or(rest.len());
    let (name, filter) = rest.split_at_checked(end)?;
    if !is_name(sql, name) {
        return None;
    }
    let filter = match filter.get(1..) {
        None => None,
        Some(filter) => {
            let is_more =
                |token: &Token| token.kind == TokenKind::Word && MORE.contains(&word(sql, token).as_str());
            if filter.iter().any(is_more) {
                return None;
            }
            Some(text(filter)?)
        }
    };
    Some(TableRead { name: text(name)?, columns, filter, only })
}

/// `a, "B", c`.
fn plain_list(sql: &str, list: &[Token]) -> bool {
    let is_comma = |token: &Token| word(sql, token) == ",";
    let is_column =
        |item: &[Token]| matches!(item, [one] if matches!(one.kind, TokenKind::Word | TokenKind::QuotedName));
    list.split(is_comma).all(is_column)
}

/// `name` or `schema.name`.
fn is_name(sql: &str, tokens: &[Token]) -> bool {
    let is_part = |token: &Token| matches!(token.kind, TokenKind::Word | TokenKind::QuotedName);
    match tokens {
        [name] => is_part(name),
        [schema, dot, name] => is_part(schema) && word(sql, dot) == "." && is_part(name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(sql: &str) -> Option<(String, Option<String>, Option<String>, bool)> {
        let read = Outline::of(sql).unwrap().table?;
        Some((read.name, read.columns, read.filter, read.only))
    }

    #[test]
    fn statements_and_commands() {
        for (sql, statements, command, copies, writes) in [
            ("", 0, "", false, false),
            (" ; -- nothing\n;", 0, "", false, false),
            ("select 1;", 1, "SELECT", false, false),
            ("/* a */ (Select 1)", 1, "SELECT", false, false),
            ("select ';'; select $$;$$", 2, "SELECT", false, false),
            ("with a as (insert into t values (1) returning 1) select * from a", 1, "WITH", false, true),
            ("copy t from stdin", 1, "COPY", true, true),
            ("copy t to '/tmp/x'", 1, "COPY", false, true),
            ("copy (select 1) to STDOUT (format binary)", 1, "COPY", true, true),
            ("select 1; copy t from stdin", 2, "SELECT", true, true),
            ("copy t to '/tmp/x'; select stdin", 2, "COPY", false, true),
        ] {
            let outline = Outline::of(sql).unwrap();
            let found =
                (outline.statements, outline.command.as_str(), outline.is_client_copy, outline.may_write);
            assert_eq!(found, (statements, command, copies, writes), "{sql}");
        }
        assert_eq!(Outline::of("select $1, $12, '$99'").unwrap().parameters, 12);
        assert!(Outline::of("select 'a").is_err());
    }

    #[test]
    fn rows_of_one_table() {
        let owned = |text: &str| Some(text.to_owned());
        let t = "t".to_owned();
        assert_eq!(table("TABLE t"), Some((t.clone(), None, None, false)));
        assert_eq!(table("select * from only t;"), Some((t.clone(), None, None, true)));
        assert_eq!(
            table("select a, \"B\" from s.\"T\" where a > 1 and (b = 2)"),
            Some(("s.\"T\"".to_owned(), owned("a, \"B\""), owned("a > 1 and (b = 2)"), false))
        );
        for sql in [
            "select * from t order by a",
            "select * from t where a = 1 order by a",
            "select * from t, u",
            "select * from t as u",
            "select * from t u",
            "select a + 1 from t",
            "select a b from t",
            "select distinct a from t",
            "select * from f(1)",
            "select * from t where a = $1",
            "select * from a.b.c",
            "select 1",
            "select * from t; select 1",
        ] {
            assert_eq!(table(sql), None, "{sql}");
        }
    }
}
