//! What a text uses that may differ between sessions, as far as the text shows it.
//!
//! ```text
//!  updated >= now() - interval '1 day'       a moment: the keeper's own value can stand in its place
//!  created = 'today'                         read when the statement is, by each session for itself
//!  f(x) > 0, x.f, a <+> b, x::t              names, for the catalog to say what they are
//! ```

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::ops::Range;
use std::str::Chars;

use pgarrow_catalog::NamesOfText;
use pgarrow_session::Result;

use super::scanner::{Scanner, Token, TokenKind};

/// What a text uses.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Uses {
    /// The moments that the keeper's values can replace, in the order of the text.
    pub(crate) moments: Vec<Moment>,
    /// The other names in the text, for the catalog.
    pub(crate) names: NamesOfText,
    /// What differs, or may differ, whatever the catalog says.
    pub(crate) differing: Vec<String>,
}

/// A use of a function or key word for the start time of the transaction.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Moment {
    /// Its bytes in the text.
    pub(crate) range: Range<usize>,
    pub(crate) clock: Clock,
    /// The given number of digits of a second.
    pub(crate) precision: Option<u8>,
    /// It may give a column of the result its name.
    is_column: bool,
    /// It is called without a schema.
    pub(crate) is_unqualified_call: bool,
}

/// Functions and key words for the start time of the transaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Clock {
    Now,
    TransactionTimestamp,
    CurrentTimestamp,
    CurrentDate,
    CurrentTime,
    Localtimestamp,
    Localtime,
}

impl Clock {
    fn of_call(name: &str) -> Option<Self> {
        match name {
            "now" => Some(Self::Now),
            "transaction_timestamp" => Some(Self::TransactionTimestamp),
            _ => None,
        }
    }

    fn of_key_word(word: &str) -> Option<Self> {
        match word {
            "current_timestamp" => Some(Self::CurrentTimestamp),
            "current_date" => Some(Self::CurrentDate),
            "current_time" => Some(Self::CurrentTime),
            "localtimestamp" => Some(Self::Localtimestamp),
            "localtime" => Some(Self::Localtime),
            _ => None,
        }
    }

    /// The name of a result column from it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::TransactionTimestamp => "transaction_timestamp",
            Self::CurrentTimestamp => "current_timestamp",
            Self::CurrentDate => "current_date",
            Self::CurrentTime => "current_time",
            Self::Localtimestamp => "localtimestamp",
            Self::Localtime => "localtime",
        }
    }

    fn sql_type(self) -> &'static str {
        match self {
            Self::Now | Self::TransactionTimestamp | Self::CurrentTimestamp => "timestamptz",
            Self::CurrentDate => "date",
            Self::CurrentTime => "timetz",
            Self::Localtimestamp => "timestamp",
            Self::Localtime => "time",
        }
    }

    /// Any value of its type.
    pub(crate) fn example(self) -> &'static str {
        match self {
            Self::Now | Self::TransactionTimestamp | Self::CurrentTimestamp => "2000-01-01 00:00:00+00",
            Self::CurrentDate => "2000-01-01",
            Self::CurrentTime => "00:00:00+00",
            Self::Localtimestamp => "2000-01-01 00:00:00",
            Self::Localtime => "00:00:00",
        }
    }
}

impl Moment {
    /// The expression that asks the server for it.
    pub(crate) fn expression(&self) -> String {
        let name = match self.clock {
            Clock::Now | Clock::TransactionTimestamp => "pg_catalog.now()",
            clock => clock.name(),
        };
        format!("{name}{}", self.modifier())
    }

    /// The literal that replaces it. `value` is text from the server: digits, signs, letters, and no quote.
    fn literal(&self, value: &str) -> String {
        let literal = format!("'{value}'::pg_catalog.{}{}", self.clock.sql_type(), self.modifier());
        match self.is_column {
            // The column has the name of the function; a literal alone would give it the name of the type.
            true => format!("(SELECT {literal} AS {})", quoted(self.clock.name())),
            false => format!("({literal})"),
        }
    }

    fn modifier(&self) -> String {
        self.precision.map_or_else(String::new, |precision| format!("({precision})"))
    }
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

impl Uses {
    /// # Errors
    ///
    /// The scanner's errors about the text.
    pub(crate) fn of(sql: &str) -> Result<Self> {
        let mut scanner = Scanner::new(sql);
        let mut tokens = Vec::new();
        while let Some(token) = scanner.next_token()? {
            if token.kind != TokenKind::Blank {
                tokens.push(token);
            }
        }
        let mut reader =
            Reading { sql, tokens: &tokens, uses: Self::default(), levels: vec![Level::default()] };
        let mut at = 0;
        while at < tokens.len() {
            at = reader.read(at);
        }
        Ok(reader.uses.in_order())
    }

    /// The text with a literal in place of every moment. `values`: one for each moment.
    pub(crate) fn with_values<S: AsRef<str>>(&self, sql: &str, values: &[S]) -> String {
        let mut text = String::with_capacity(sql.len());
        let mut from = 0;
        for (moment, value) in self.moments.iter().zip(values) {
            text.push_str(sql.get(from..moment.range.start).unwrap_or_default());
            text.push_str(&moment.literal(value.as_ref()));
            from = moment.range.end;
        }
        text.push_str(sql.get(from..).unwrap_or_default());
        text
    }

    /// Each name once.
    fn in_order(mut self) -> Self {
        fn once<T: Ord>(all: &mut Vec<T>) {
            *all = std::mem::take(all).into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        }
        once(&mut self.names.calls);
        once(&mut self.names.attributes);
        once(&mut self.names.names);
        once(&mut self.names.operators);
        once(&mut self.differing);
        self
    }
}

/// The position in a statement, for each pair of parentheses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Level {
    clause: Clause,
    /// There is a SELECT on this level.
    is_query: bool,
    /// After a comma, another table follows.
    in_from: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Clause {
    #[default]
    Expression,
    /// The SELECT list.
    Target,
    /// The FROM list.
    From,
}

/// Words that an expression may follow. After any other name, parentheses would be its arguments.
const BEFORE_EXPRESSION: [&str; 42] = [
    "all",
    "and",
    "any",
    "asymmetric",
    "between",
    "both",
    "by",
    "case",
    "distinct",
    "else",
    "escape",
    "except",
    "for",
    "from",
    "having",
    "ilike",
    "in",
    "intersect",
    "is",
    "leading",
    "like",
    "limit",
    "not",
    "offset",
    "on",
    "or",
    "passing",
    "placing",
    "return",
    "select",
    "similar",
    "some",
    "symmetric",
    "then",
    "to",
    "trailing",
    "union",
    "using",
    "values",
    "when",
    "where",
    "zone",
];

/// Words after which parentheses are not a function's arguments.
const NO_FUNCTIONS: [&str; 13] = [
    "as", "cast", "cross", "exists", "filter", "full", "inner", "join", "lateral", "left", "outer", "over",
    "row",
];

struct Reading<'a> {
    sql: &'a str,
    tokens: &'a [Token],
    uses: Uses,
    levels: Vec<Level>,
}

impl Reading<'_> {
    fn kind(&self, at: usize) -> Option<TokenKind> {
        self.tokens.get(at).map(|token| token.kind)
    }

    fn text(&self, at: usize) -> &str {
        let token = self.tokens.get(at);
        token.and_then(|token| self.sql.get(token.range.clone())).unwrap_or_default()
    }

    /// A word without quotes, in lower case, as the server compares it.
    fn word(&self, at: usize) -> Option<String> {
        (self.kind(at) == Some(TokenKind::Word)).then(|| self.text(at).to_ascii_lowercase())
    }

    /// A name, with or without quotes.
    fn name(&self, at: usize) -> Option<String> {
        match self.kind(at)? {
            TokenKind::QuotedName => {
                let text = self.text(at);
                Some(text.get(1..text.len() - 1).unwrap_or_default().replace("\"\"", "\""))
            }
            _ => self.word(at),
        }
    }

    fn is_other(&self, at: usize, text: &str) -> bool {
        self.kind(at) == Some(TokenKind::Other) && self.text(at) == text
    }

    fn level(&mut self) -> Option<&mut Level> {
        self.levels.last_mut()
    }

    fn clause(&self) -> Clause {
        self.levels.last().map_or(Clause::Expression, |level| level.clause)
    }

    fn set(&mut self, clause: Clause) {
        if let Some(level) = self.level() {
            level.clause = clause;
        }
    }

    /// Reads the token at `at`. Returns where to continue.
    fn read(&mut self, at: usize) -> usize {
        match self.kind(at) {
            Some(TokenKind::Open) => self.open(at),
            // The whole text is a level that no parenthesis closes.
            Some(TokenKind::Close) if self.levels.len() > 1 => {
                self.levels.pop();
            }
            Some(TokenKind::Other)
                if self.is_other(at, ",") && self.levels.last().is_some_and(|level| level.in_from) =>
            {
                self.set(Clause::From);
            }
            Some(TokenKind::Operator) => {
                let operator = self.text(at).to_owned();
                self.uses.names.operators.push(operator);
            }
            Some(TokenKind::Text) => self.read_string(at),
            Some(TokenKind::EscapedName) => {
                self.differs("a name whose characters may be written by their numbers (U&\"…\")");
            }
            Some(TokenKind::Word | TokenKind::QuotedName) => return self.read_name(at),
            _ => {}
        }
        at + 1
    }

    fn differs(&mut self, what: &str) {
        self.uses.differing.push(what.to_owned());
    }

    fn open(&mut self, at: usize) {
        let before = at.checked_sub(1);
        let is_call = before.is_some_and(|before| match self.word(before) {
            Some(word) => {
                !BEFORE_EXPRESSION.contains(&word.as_str()) && !NO_FUNCTIONS.contains(&word.as_str())
            }
            None => matches!(self.kind(before), Some(TokenKind::QuotedName | TokenKind::EscapedName)),
        });
        let clause = if is_call { Clause::Expression } else { self.clause() };
        self.levels.push(Level { clause, is_query: false, in_from: clause == Clause::From });
    }

    /// Reads a name and what belongs to it.
    fn read_name(&mut self, at: usize) -> usize {
        let Some(name) = self.name(at) else {
            return at + 1;
        };
        let follows_dot = at > 0 && self.is_other(at - 1, ".");
        let word = self.word(at).filter(|_| !follows_dot);
        let is_label = at > 0 && self.word(at - 1).as_deref() == Some("as");
        if let Some(word) = word.as_deref().filter(|_| !is_label) {
            self.read_clause(at, word);
            if let Some(clock) = Clock::of_key_word(word) {
                return self.read_key_word(at, clock);
            }
        }
        self.uses.names.names.push(name.clone());
        if self.kind(at + 1) != Some(TokenKind::Open) {
            if follows_dot {
                self.uses.names.attributes.push(name);
            }
            return at + 1;
        }
        let schema = if follows_dot { at.checked_sub(2).and_then(|at| self.name(at)) } else { None };
        // Of three names, the first is the database; a value has no such place.
        let is_known_place = !follows_dot || schema.is_some() && !(at > 2 && self.is_other(at - 3, "."));
        let is_of_catalog = schema.as_deref().is_none_or(|schema| schema == "pg_catalog");
        let clock = Clock::of_call(&name).filter(|_| is_of_catalog && is_known_place);
        if let (Some(clock), Some(TokenKind::Close)) = (clock, self.kind(at + 2)) {
            let from = if follows_dot { at - 2 } else { at };
            self.moment(from, at + 2, clock, None, !follows_dot);
            return at + 3;
        }
        if name == "current_setting" && self.string(at + 2).as_deref() == Some("application_name") {
            self.differs("application_name");
        }
        let n_arguments = self.n_arguments(at + 1);
        self.uses.names.calls.push((schema.unwrap_or_default(), name, n_arguments));
        at + 1
    }

    fn read_clause(&mut self, at: usize, word: &str) {
        let before = |n: usize| at.checked_sub(n).and_then(|at| self.word(at));
        match word {
            "select" => {
                if let Some(level) = self.level() {
                    *level = Level { clause: Clause::Target, is_query: true, in_from: false };
                }
            }
            // IS DISTINCT FROM, EXTRACT(… FROM …) and the like have no tables.
            "from" => {
                let is_comparison = before(1).as_deref() == Some("distinct")
                    && matches!(before(2).as_deref(), Some("is" | "not"));
                if !is_comparison
                    && let Some(level) = self.level()
                    && level.is_query
                {
                    (level.clause, level.in_from) = (Clause::From, true);
                }
            }
            "join" | "lateral" => self.set(Clause::From),
            // Also the ON of DISTINCT ON.
            "on" | "using" if !self.levels.last().is_some_and(|level| level.in_from) => {}
            "on" | "using" => self.set(Clause::Expression),
            "group" if before(1).as_deref() == Some("within") => {}
            "where" | "group" | "having" | "window" | "order" | "limit" | "offset" | "fetch" | "values"
            | "union" | "intersect" | "except" => {
                if let Some(level) = self.level() {
                    (level.clause, level.in_from) = (Clause::Expression, false);
                }
            }
            _ => {}
        }
    }

    fn read_key_word(&mut self, at: usize, clock: Clock) -> usize {
        if self.kind(at + 1) != Some(TokenKind::Open) || clock == Clock::CurrentDate {
            self.moment(at, at, clock, None, false);
            return at + 1;
        }
        let precision = self.text(at + 2).parse::<u32>().ok();
        match (precision, self.kind(at + 3)) {
            (Some(precision), Some(TokenKind::Close)) => {
                // The server reduces more digits to six, with a warning.
                let precision = u8::try_from(precision.min(6)).ok();
                self.moment(at, at + 3, clock, precision, false);
                at + 4
            }
            _ => {
                self.differs(&clock.name().to_ascii_uppercase());
                at + 1
            }
        }
    }

    /// Notes a moment between two tokens.
    fn moment(
        &mut self,
        from: usize,
        to: usize,
        clock: Clock,
        precision: Option<u8>,
        is_unqualified_call: bool,
    ) {
        let may_follow = from.checked_sub(1).is_none_or(|before| match self.word(before) {
            Some(word) => BEFORE_EXPRESSION.contains(&word.as_str()),
            None => !matches!(self.kind(before), Some(TokenKind::QuotedName | TokenKind::EscapedName)),
        });
        let (Some(first), Some(last)) = (self.tokens.get(from), self.tokens.get(to)) else {
            return;
        };
        let range = first.range.start..last.range.end;
        // A literal cannot replace a table.
        if !may_follow || self.clause() == Clause::From {
            let text = format!("{}, where no value can stand for it", clock.name());
            return self.differs(&text);
        }
        let follows_operator = from > 0 && self.kind(from - 1) == Some(TokenKind::Operator);
        let precedes_operator = self.kind(to + 1) == Some(TokenKind::Operator);
        let is_cast = from > 1 && self.word(from - 2).as_deref() == Some("cast");
        let is_named = match self.word(to + 1).as_deref() {
            Some("as") => !is_cast,
            next => next == Some("at"),
        };
        let is_column =
            self.clause() == Clause::Target && !follows_operator && !precedes_operator && !is_named;
        self.uses.moments.push(Moment { range, clock, precision, is_column, is_unqualified_call });
    }

    /// The number of arguments from this parenthesis to its closing one.
    fn n_arguments(&self, open: usize) -> usize {
        let (mut depth, mut n_commas) = (0_usize, 0);
        for at in open..self.tokens.len() {
            match self.kind(at) {
                Some(TokenKind::Open) => depth += 1,
                Some(TokenKind::Close) => depth -= 1,
                Some(TokenKind::Other) if depth == 1 && self.is_other(at, ",") => n_commas += 1,
                Some(TokenKind::Other) if self.is_other(at, "[") => depth += 1,
                Some(TokenKind::Other) if self.is_other(at, "]") => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return if at == open + 1 { 0 } else { n_commas + 1 };
            }
        }
        n_commas + 1
    }

    /// The text of the string at `at`, if it is one and its text is known.
    fn string(&self, at: usize) -> Option<String> {
        (self.kind(at) == Some(TokenKind::Text)).then(|| string_text(self.text(at))).flatten()
    }

    fn read_string(&mut self, at: usize) {
        match self.string(at) {
            Some(text) => {
                if let Some(word) = time_word(&text) {
                    self.differs(&format!("'{word}'"));
                }
            }
            None => self.differs("a string whose characters may be written by their numbers (U&'…')"),
        }
    }
}

/// The word in a text that an input function of a date or time type resolves when it reads it.
///
/// Source: `datetktbl` in PostgreSQL's `src/backend/utils/adt/datetime.c`. There, punctuation only separates
/// words.
fn time_word(text: &str) -> Option<&'static str> {
    /// The longest text that can be a time: `MAXDATELEN` of PostgreSQL's `src/include/utils/datetime.h`.
    const BYTES_MAX: usize = 128;
    const WORDS: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];
    if text.len() > BYTES_MAX {
        return None;
    }
    let words = || text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let found = words().find_map(|word| WORDS.into_iter().find(|known| word.eq_ignore_ascii_case(known)))?;
    // A time of day and a time zone may be next to it, but no sentence.
    let n_others = words().filter(|word| word.starts_with(char::is_alphabetic)).count() - 1;
    (n_others <= 3).then_some(found)
}

/// The value of a string. `None` for `U&'…'`, where the escape character may be any.
fn string_text(literal: &str) -> Option<String> {
    if let Some(rest) = literal.strip_prefix('$') {
        let tag_length = rest.find('$')? + 2;
        return literal.get(tag_length..literal.len().checked_sub(tag_length)?).map(str::to_owned);
    }
    let quote = literal.find('\'')?;
    let prefix = literal.get(..quote)?;
    if prefix.eq_ignore_ascii_case("u&") {
        return None;
    }
    let is_escaped = prefix.eq_ignore_ascii_case("e");
    let (mut text, mut chars) = (String::new(), literal.get(quote + 1..)?.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '\'' if chars.next_if_eq(&'\'').is_some() => text.push('\''),
            // Skips to the next part, if there is one. Only comments in between can contain quotes.
            '\'' => {
                while let Some(c) = chars.next() {
                    match c {
                        '\'' => break,
                        '-' => while chars.next_if(|c| !matches!(c, '\n' | '\r')).is_some() {},
                        _ => {}
                    }
                }
            }
            '\\' if is_escaped => text.push(escaped(&mut chars)?),
            c => text.push(c),
        }
    }
    Some(text)
}

/// The character after a backslash. If a number is only a part of a character, the result belongs to no word
/// that this module looks for.
fn escaped(chars: &mut Peekable<Chars<'_>>) -> Option<char> {
    let character = |number: Option<u32>| number.and_then(char::from_u32).unwrap_or('\u{fffd}');
    if let Some(octal) = number(chars, 3, 8) {
        return Some(character(Some(octal & 0xff)));
    }
    Some(match chars.next()? {
        'x' => character(number(chars, 2, 16)),
        'u' => character(number(chars, 4, 16)),
        'U' => character(number(chars, 8, 16)),
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        c => c,
    })
}

/// A number of at most `n_max` digits.
fn number(chars: &mut Peekable<Chars<'_>>, n_max: usize, radix: u32) -> Option<u32> {
    let mut digits = String::new();
    while let Some(digit) = chars.next_if(|c| digits.len() < n_max && c.is_digit(radix)) {
        digits.push(digit);
    }
    u32::from_str_radix(&digits, radix).ok()
}
