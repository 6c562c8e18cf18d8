//! The tokens of an SQL text, as PostgreSQL's scanner finds them with `standard_conforming_strings` on.
//!
//! ```text
//!  id < 10 --\r) OR (id = 7      a comment ends at a line feed or a carriage return
//!  'a' --…\n 'b'                 one string, and E'a'\n'b' one with backslash escapes in both parts
//!  $a$ … $b$ … $a$               ends with its own tag
//!  /* /* */ */                   comments nest
//!  a+--b   a*/*b*/               an operator ends where a comment begins
//!  a$$b    e1'…'                 a name takes all that can be of a name; only then quotes begin
//! ```
//!
//! Where versions differ, this accepts what the more generous one accepts: the server refuses the rest. Like
//! PostgreSQL, it works on bytes: only ASCII decides, and all other bytes may belong to a name.
//!
//! Source: PostgreSQL's `src/backend/parser/scan.l`, of versions 14 to 18.

use std::ops::Range;

use pgarrow_session::{Error, ErrorKind, Result};

/// The kind of a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TokenKind {
    /// White space or a comment.
    Blank,
    /// `;`
    Semicolon,
    /// `$n`
    Placeholder(usize),
    /// `(`
    Open,
    /// `)`
    Close,
    /// A name or key word without quotes.
    Word,
    /// A name in quotes.
    QuotedName,
    /// A name in quotes that may contain escaped characters: `U&"…"`.
    EscapedName,
    /// A string with any kind of quotes, including its parts on following lines.
    Text,
    /// A number.
    Number,
    /// An operator of any length; `*` too. Not comma, dot, colon, bracket or `::`.
    Operator,
    /// Any other single character; each colon of `::`.
    Other,
}

/// A token of the text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    /// Its bytes.
    pub(crate) range: Range<usize>,
}

/// Splits a text into tokens.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    sql: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(sql: &'a str) -> Self {
        Self { sql, at: 0 }
    }

    /// The next token. All tokens together are the whole text.
    ///
    /// # Errors
    ///
    /// A string, name or comment that is not closed, a NUL byte, a number directly before a quote.
    pub(crate) fn next_token(&mut self) -> Result<Option<Token>> {
        let start = self.at;
        let rest = self.sql.get(start..).unwrap_or_default();
        let bytes = rest.as_bytes();
        let second = bytes.get(1).copied();
        let Some(first) = bytes.first().copied() else {
            return Ok(None);
        };
        let (length, kind) = match first {
            b'\0' => return Err(refused("the statement has a NUL byte")),
            b';' => (1, TokenKind::Semicolon),
            b'(' => (1, TokenKind::Open),
            b')' => (1, TokenKind::Close),
            first if is_space(first) => (1, TokenKind::Blank),
            b'-' if second == Some(b'-') => (line_comment_length(bytes), TokenKind::Blank),
            b'/' if second == Some(b'*') => (comment_length(bytes)?, TokenKind::Blank),
            b'\'' => (string_length(bytes, false)?, TokenKind::Text),
            b'e' | b'E' if second == Some(b'\'') => {
                (1 + string_length(bytes.get(1..).unwrap_or_default(), true)?, TokenKind::Text)
            }
            b'b' | b'B' | b'x' | b'X' | b'n' | b'N' if second == Some(b'\'') => {
                (1 + string_length(bytes.get(1..).unwrap_or_default(), false)?, TokenKind::Text)
            }
            b'u' | b'U' if second == Some(b'&') && bytes.get(2) == Some(&b'\'') => {
                (2 + string_length(bytes.get(2..).unwrap_or_default(), false)?, TokenKind::Text)
            }
            b'u' | b'U' if second == Some(b'&') && bytes.get(2) == Some(&b'"') => {
                (2 + name_length(bytes.get(2..).unwrap_or_default())?, TokenKind::EscapedName)
            }
            b'"' => (name_length(bytes)?, TokenKind::QuotedName),
            b'$' => dollar(rest)?,
            first if starts_name(first) => (run(bytes, is_of_name), TokenKind::Word),
            first if first.is_ascii_digit() => (number_length(bytes)?, TokenKind::Number),
            first if is_of_operator(first) => (operator_length(bytes), TokenKind::Operator),
            _ => (1, TokenKind::Other),
        };
        self.at = start + length;
        Ok(Some(Token { kind, range: start..self.at }))
    }
}

fn refused(why: &str) -> Error {
    Error::new(ErrorKind::Options, why)
}

/// Vertical tabs are white space since version 16, and an error before.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0B | 0x0C)
}

fn ends_line(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Letters, underscore, and every byte beyond ASCII.
fn starts_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii()
}

fn is_of_name(byte: u8) -> bool {
    starts_name(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn is_of_operator(byte: u8) -> bool {
    b"~!@#^&|`?+-*/%<>=".contains(&byte)
}

/// The number of leading bytes that fulfil `is_one`.
fn run(bytes: &[u8], is_one: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|byte| !is_one(*byte)).unwrap_or(bytes.len())
}

fn line_comment_length(bytes: &[u8]) -> usize {
    run(bytes, |byte| !ends_line(byte))
}

/// The length of a comment, which may contain others.
fn comment_length(bytes: &[u8]) -> Result<usize> {
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

/// The length of a string from its quote on, including all parts on following lines.
fn string_length(bytes: &[u8], backslash_escapes: bool) -> Result<usize> {
    let mut at = 1;
    loop {
        match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b'\\'), Some(_)) if backslash_escapes => at += 2,
            (Some(b'\''), Some(b'\'')) => at += 2,
            (Some(b'\''), _) => match continued(bytes.get(at + 1..).unwrap_or_default()) {
                Some(length) => at += 1 + length,
                None => return Ok(at + 1),
            },
            (Some(_), _) => at += 1,
            (None, _) => return Err(refused("the statement has a quote that is not closed")),
        }
    }
}

/// How far after a string's quote the next part begins, its quote included. White space and line comments
/// with at least one line end are in between.
fn continued(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut has_line_end) = (0, false);
    loop {
        match bytes.get(at) {
            Some(byte) if is_space(*byte) => {
                has_line_end |= ends_line(*byte);
                at += 1;
            }
            Some(b'-') if bytes.get(at + 1) == Some(&b'-') => {
                at += line_comment_length(bytes.get(at..).unwrap_or_default());
            }
            Some(b'\'') if has_line_end => return Some(at + 1),
            _ => return None,
        }
    }
}

/// The length of a name with its quotes. Two quotes inside stand for one.
fn name_length(bytes: &[u8]) -> Result<usize> {
    let mut at = 1;
    loop {
        match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b'"'), Some(b'"')) => at += 2,
            (Some(b'"'), _) => return Ok(at + 1),
            (Some(_), _) => at += 1,
            (None, _) => return Err(refused("the statement has a quote that is not closed")),
        }
    }
}

/// The length of a number without sign, point or exponent's sign, and of a name directly after it: two tokens
/// before version 15, an error since.
fn number_length(bytes: &[u8]) -> Result<usize> {
    let n_digits = run(bytes, |byte| byte.is_ascii_digit() || byte == b'_');
    let rest = bytes.get(n_digits..).unwrap_or_default();
    let n_more = if rest.first().is_some_and(|byte| starts_name(*byte)) { run(rest, is_of_name) } else { 0 };
    // In `1e'`, older servers take the letter as part of the string. No valid statement has a number directly
    // before a string.
    match rest.get(n_more) {
        Some(b'\'') => Err(refused("the statement has a number directly before a quote")),
        _ => Ok(n_digits + n_more),
    }
}

/// The length of an operator: it ends before a comment, and not with a sign, unless it contains a character
/// that no operator of standard SQL has.
fn operator_length(bytes: &[u8]) -> usize {
    let all = bytes.get(..run(bytes, is_of_operator)).unwrap_or_default();
    let comment = all.windows(2).position(|pair| pair == b"--" || pair == b"/*");
    let operator = all.get(..comment.unwrap_or(all.len())).unwrap_or_default();
    if operator.iter().any(|byte| b"~!@#^&|`?%".contains(byte)) {
        return operator.len();
    }
    let n_signs = operator.iter().rev().take_while(|byte| matches!(byte, b'+' | b'-')).count();
    (operator.len() - n_signs).max(1)
}

/// `$1`, or `$tag$…$tag$`, or a lone dollar sign.
fn dollar(text: &str) -> Result<(usize, TokenKind)> {
    let bytes = text.as_bytes();
    let rest = bytes.get(1..).unwrap_or_default();
    let n_digits = run(rest, |byte| byte.is_ascii_digit());
    if n_digits > 0 {
        let number = text.get(1..1 + n_digits).and_then(|digits| digits.parse().ok());
        let number = number.filter(|number| (1..=65_535).contains(number));
        let number = number.ok_or_else(|| refused("the statement has a placeholder outside $1 to $65535"))?;
        return Ok((1 + n_digits, TokenKind::Placeholder(number)));
    }
    let tag_length = run(rest, |byte| starts_name(byte) || byte.is_ascii_digit());
    if rest.get(tag_length) != Some(&b'$') {
        return Ok((1, TokenKind::Other));
    }
    let (delimiter, body) = text.split_at(tag_length + 2);
    match body.find(delimiter) {
        Some(at) => Ok((delimiter.len() + at + delimiter.len(), TokenKind::Text)),
        None => Err(refused("the statement has a dollar quote that is not closed")),
    }
}
