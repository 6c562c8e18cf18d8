//! A user's statement: exactly one, without its semicolon, with its placeholders.
//!
//! COPY takes no parameters, and its parentheses must hold exactly one statement. So this module splits the
//! text as PostgreSQL's scanner does.

pub(crate) mod held;
mod scanner;
#[cfg(test)]
mod tests;
pub(crate) mod uses;

use std::ops::Range;

pub(crate) use scanner::{Scanner, Token, TokenKind};

use pgarrow_session::{Error, ErrorKind, Result};

/// One statement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Statement {
    text: String,
    placeholders: Vec<Placeholder>,
    /// All its parentheses are balanced.
    is_enclosed: bool,
}

/// `$n` outside of strings, names and comments.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Placeholder {
    range: Range<usize>,
    number: usize,
}

impl Statement {
    /// Reads one statement and drops semicolons after it.
    ///
    /// # Errors
    ///
    /// No statement, more than one, or a string, name or comment that is not closed.
    pub(crate) fn parse(sql: &str) -> Result<Self> {
        let mut scanner = Scanner::new(sql);
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
                TokenKind::Word
                | TokenKind::QuotedName
                | TokenKind::EscapedName
                | TokenKind::Text
                | TokenKind::Number
                | TokenKind::Operator
                | TokenKind::Other => {}
            }
            has_statement = true;
        }
        if !has_statement {
            return Err(refused("the statement is empty; give a SELECT"));
        }
        let text = sql.get(..first_semicolon.unwrap_or(sql.len())).unwrap_or_default();
        Ok(Self { text: text.to_owned(), placeholders, is_enclosed: is_enclosed && depth == 0 })
    }

    /// Reads a condition for the rows of a table. It will be in parentheses, next to other conditions.
    ///
    /// # Errors
    ///
    /// As for [`parse`](Self::parse), with the filter as context; also unbalanced parentheses.
    pub(crate) fn parse_condition(sql: &str) -> Result<Self> {
        let condition = Self::parse(sql).map_err(|error| error.context("the filter"))?;
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

    /// The statement with an SQL expression in place of every placeholder. `expressions[0]` is `$1`.
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
