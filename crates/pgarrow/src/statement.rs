//! A user's statement: one, without its semicolon, with its placeholders found.
//!
//! COPY takes no parameters, and a statement in its parentheses can be neither two nor none. So the text is
//! read as PostgreSQL's scanner reads it, as far as that decides where strings, names and comments end.
//!
//! Source: <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>.

use std::ops::Range;

use crate::error::{Error, ErrorKind, Result};

/// One statement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Statement {
    text: String,
    placeholders: Vec<Placeholder>,
    /// Every parenthesis in it has its other one in it.
    is_enclosed: bool,
}

/// `$n` outside of strings, names and comments.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Placeholder {
    range: Range<usize>,
    number: usize,
}

impl Statement {
    /// Reads one statement; semicolons behind it are dropped.
    ///
    /// # Errors
    ///
    /// No statement, more than one, or a string, name or comment that is not closed.
    pub(crate) fn parse(sql: &str) -> Result<Self> {
        let mut scanner = Scanner { sql, at: 0 };
        let mut placeholders = Vec::new();
        let mut first_semicolon = None;
        let mut has_statement = false;
        let (mut depth, mut is_enclosed) = (0_usize, true);
        while let Some(token) = scanner.next_token()? {
            match token.kind {
                TokenKind::Blank => continue,
                TokenKind::Semicolon if has_statement => {
                    first_semicolon.get_or_insert(token.range.start);
                    continue;
                }
                TokenKind::Semicolon => continue,
                _ if first_semicolon.is_some() => {
                    return Err(refused(
                        "there is more than one statement; give one, others in runs of their own",
                    ));
                }
                TokenKind::Placeholder(number) => {
                    placeholders.push(Placeholder { range: token.range, number })
                }
                TokenKind::Open => depth += 1,
                TokenKind::Close => match depth.checked_sub(1) {
                    Some(outer) => depth = outer,
                    None => is_enclosed = false,
                },
                TokenKind::Other => {}
            }
            has_statement = true;
        }
        if !has_statement {
            return Err(refused("the statement is empty; give a SELECT"));
        }
        let text = sql.get(..first_semicolon.unwrap_or(sql.len())).unwrap_or_default();
        Ok(Self { text: text.to_owned(), placeholders, is_enclosed: is_enclosed && depth == 0 })
    }

    /// Reads a condition for the rows of a table, which will stand in parentheses, next to conditions of ours.
    ///
    /// # Errors
    ///
    /// As for [`parse`](Self::parse), named as those of the filter; a placeholder; a parenthesis that closes ours.
    pub(crate) fn parse_condition(sql: &str) -> Result<Self> {
        let condition = Self::parse(sql).map_err(|error| error.context("the filter"))?;
        if condition.n_parameters() > 0 {
            return Err(refused("the filter has a placeholder; only queries take parameters"));
        }
        if !condition.is_enclosed {
            return Err(refused(
                "the filter has a parenthesis that is not closed, or closes none of its own",
            ));
        }
        Ok(condition)
    }

    /// The statement's text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// How many parameters it takes: the highest number of a placeholder.
    pub(crate) fn n_parameters(&self) -> usize {
        self.placeholders.iter().map(|placeholder| placeholder.number).max().unwrap_or(0)
    }

    /// The statement with an SQL expression in the place of every placeholder. `expressions[0]` is `$1`.
    pub(crate) fn with_parameters(&self, expressions: &[String]) -> Self {
        let mut text = String::with_capacity(self.text.len());
        let mut from = 0;
        for Placeholder { range, number } in &self.placeholders {
            text.push_str(self.text.get(from..range.start).unwrap_or_default());
            text.push_str(expressions.get(number - 1).map_or("NULL", String::as_str));
            from = range.end;
        }
        text.push_str(self.text.get(from..).unwrap_or_default());
        Self { text, placeholders: Vec::new(), is_enclosed: self.is_enclosed }
    }
}

fn refused(why: &str) -> Error {
    Error::new(ErrorKind::Options, why)
}

#[derive(Debug, Eq, PartialEq)]
enum TokenKind {
    /// White space or a comment.
    Blank,
    Semicolon,
    Placeholder(usize),
    Open,
    Close,
    Other,
}

struct Token {
    kind: TokenKind,
    range: Range<usize>,
}

struct Scanner<'a> {
    sql: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        self.sql.get(self.at..).unwrap_or_default()
    }

    fn next_token(&mut self) -> Result<Option<Token>> {
        let start = self.at;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(None);
        };
        let (length, kind) = match first {
            '\0' => return Err(refused("the statement has a NUL byte")),
            ';' => (1, TokenKind::Semicolon),
            '(' => (1, TokenKind::Open),
            ')' => (1, TokenKind::Close),
            c if c.is_ascii_whitespace() => (1, TokenKind::Blank),
            '-' if rest.starts_with("--") => (rest.find('\n').unwrap_or(rest.len()), TokenKind::Blank),
            '/' if rest.starts_with("/*") => (comment_length(rest)?, TokenKind::Blank),
            '\'' => (quoted_length(rest, '\'', false)?, TokenKind::Other),
            '"' => (quoted_length(rest, '"', false)?, TokenKind::Other),
            'e' | 'E' if rest.get(1..).is_some_and(|rest| rest.starts_with('\'')) => {
                let rest = rest.get(1..).unwrap_or_default();
                (1 + quoted_length(rest, '\'', true)?, TokenKind::Other)
            }
            '$' => dollar(rest)?,
            c if is_identifier_start(c) => {
                let is_part = |c: char| is_identifier_start(c) || c.is_ascii_digit() || c == '$';
                (rest.find(|c| !is_part(c)).unwrap_or(rest.len()), TokenKind::Other)
            }
            // A number swallows what follows it, so that no `$1` is seen in `1$1`, which is an error anyway.
            c if c.is_ascii_digit() => {
                let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
                (rest.find(|c| !is_part(c)).unwrap_or(rest.len()), TokenKind::Other)
            }
            c => (c.len_utf8(), TokenKind::Other),
        };
        self.at += length;
        Ok(Some(Token { kind, range: start..self.at }))
    }
}

/// Letters, underscore, and every character beyond ASCII, as PostgreSQL's scanner has it.
fn is_identifier_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

/// Of a quoted piece with its quotes, two of which inside stand for one.
fn quoted_length(text: &str, quote: char, backslash_escapes: bool) -> Result<usize> {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if backslash_escapes => {
                chars.next();
            }
            c if c == quote && chars.next_if(|(_, c)| *c == quote).is_none() => return Ok(at + 1),
            _ => {}
        }
    }
    Err(refused("the statement has a quote that is not closed"))
}

/// Of a comment, which may hold others.
fn comment_length(text: &str) -> Result<usize> {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0, 0);
    loop {
        match bytes.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            Some(_) => at += 1,
            None => return Err(refused("the statement has a comment that is not closed")),
        }
        if depth == 0 {
            return Ok(at);
        }
    }
}

/// `$1`, or `$tag$…$tag$`, or a lone dollar sign.
fn dollar(text: &str) -> Result<(usize, TokenKind)> {
    let rest = text.get(1..).unwrap_or_default();
    let n_digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    if n_digits > 0 {
        let number = rest.get(..n_digits).and_then(|digits| digits.parse().ok());
        let number = number.filter(|number| (1..=65_535).contains(number));
        let number = number.ok_or_else(|| refused("the statement has a placeholder outside $1 to $65535"))?;
        return Ok((1 + n_digits, TokenKind::Placeholder(number)));
    }
    let is_tag = |c: char| is_identifier_start(c) || c.is_ascii_digit();
    let tag_length = rest.find(|c| !is_tag(c)).unwrap_or(rest.len());
    if !rest.get(tag_length..).is_some_and(|rest| rest.starts_with('$')) {
        return Ok((1, TokenKind::Other));
    }
    let (delimiter, body) = text.split_at(tag_length + 2);
    match body.find(delimiter) {
        Some(at) => Ok((delimiter.len() + at + delimiter.len(), TokenKind::Other)),
        None => Err(refused("the statement has a dollar quote that is not closed")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_semicolon_behind_the_statement_is_dropped_and_comments_stay() {
        let text = |sql| Statement::parse(sql).unwrap().text().to_owned();
        assert_eq!(text("select 1"), "select 1");
        assert_eq!(text("select 1;"), "select 1");
        assert_eq!(text("select 1 ; ; -- done\n /* all */ "), "select 1 ");
        assert_eq!(text("select ';' -- a;b"), "select ';' -- a;b");
        assert_eq!(text("; select 1"), "; select 1");
    }

    #[test]
    fn semicolons_inside_of_things_end_nothing() {
        for sql in [
            "select ';select'';'",
            "select E'\\';' , e'\\\\'",
            "select \"a;b\"\";\"",
            "select $$;$$, $a$;$$;$a$, $ä1$;$ä1$",
            "select /* ; /* ; */ ; */ 1",
            "select U&'\\0041;', B'0', n';'",
            "select a$b$;$ from t".trim_end_matches(";$ from t"),
        ] {
            Statement::parse(sql).unwrap();
        }
    }

    #[test]
    fn one_statement_and_no_less() {
        for sql in ["", " ", ";", "-- only this", "/* */;"] {
            assert!(Statement::parse(sql).unwrap_err().to_string().contains("empty"), "{sql}");
        }
        for sql in ["select 1; select 2", "select 1;;drop table t;", "select '';x"] {
            assert!(Statement::parse(sql).unwrap_err().to_string().contains("more than one"), "{sql}");
        }
        for sql in
            ["select '", "select \"a", "select /* /* */", "select $$ $", "select E'\\'", "select $a$ $b$"]
        {
            assert!(Statement::parse(sql).unwrap_err().to_string().contains("not closed"), "{sql}");
        }
        Statement::parse("select 1\0").unwrap_err();
    }

    #[test]
    fn placeholders_are_found_only_where_they_are_some() {
        let statement = Statement::parse("select $1, '$2', \"$3\", a$4, $$ $5 $$, $2::int -- $6").unwrap();
        assert_eq!(statement.n_parameters(), 2);
        let bound = statement.with_parameters(&["(x)".to_owned(), "(y)".to_owned()]);
        assert_eq!(bound.text(), "select (x), '$2', \"$3\", a$4, $$ $5 $$, (y)::int -- $6");
        Statement::parse("select $0").unwrap_err();
        Statement::parse("select $99999999999999999999").unwrap_err();
    }

    #[test]
    fn a_condition_stays_within_its_parentheses() {
        for sql in ["a = (1)", "(a) OR (b)", "a = ')' AND \")(\" /* ) */ -- (", "a IN (SELECT f($$)$$))"] {
            Statement::parse_condition(sql).unwrap();
        }
        for sql in ["true) OR (true", "a = 1)", "(a = 1", "true) UNION ALL (SELECT 1", ")("] {
            let error = Statement::parse_condition(sql).unwrap_err();
            assert!(error.to_string().contains("parenthesis"), "{sql}");
        }
        for sql in ["a = $1", "true; DROP TABLE e", "", "'open"] {
            assert!(Statement::parse_condition(sql).unwrap_err().to_string().contains("the filter"), "{sql}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(sql in "[-a-z$0-9';\"/*\\\\ \n\u{e4}\u{1f980}]{0,40}") {
            if let Ok(statement) = Statement::parse(&sql) {
                prop_assert!(sql.starts_with(statement.text()));
            }
        }
    }
}
