//! Searches JSON text for content that jsonb does not keep: the first value of a repeated key, and the sign
//! of minus zero.
//!
//! The server refuses invalid JSON itself.
//!
//! Source: `uniqueifyJsonbObject` in PostgreSQL's `src/backend/utils/adt/jsonb_util.c`, `jsonb_in_scalar` in
//! `jsonb.c` beside it; RFC 8259 for the text.

use std::ops::Range;

use super::json_value::MINUS_ZERO;
use crate::error::ValueError;

/// Checks that jsonb keeps the whole content of the text.
pub(super) fn look(text: &[u8]) -> Result<(), ValueError> {
    let mut scan = Scan { rest: text, keys: Vec::new(), places: Vec::new(), open: Vec::new() };
    while let Some((first, rest)) = scan.rest.split_first() {
        scan.rest = rest;
        match first {
            b'"' => scan.string(),
            b'-' => scan.negative_number()?,
            b'e' | b'E' if matches!(scan.rest, [b'-', ..]) => scan.rest = rest.get(1..).unwrap_or_default(),
            b'{' => scan.open.push(Open::Object { places: scan.places.len(), keys: scan.keys.len() }),
            b'[' => scan.open.push(Open::Array),
            b'}' | b']' => scan.close()?,
            _ => {}
        }
    }
    Ok(())
}

struct Scan<'a> {
    rest: &'a [u8],
    /// The keys of all open objects, one after the other.
    keys: Vec<u8>,
    /// The place of each key.
    places: Vec<Range<usize>>,
    open: Vec<Open>,
}

/// An array or object that has begun and not ended.
enum Open {
    Array,
    /// The lengths of `keys` and `places` before it.
    Object {
        places: usize,
        keys: usize,
    },
}

impl Scan<'_> {
    /// Reads on behind the first quote.
    fn string(&mut self) {
        let mut is_escaped = false;
        let mut has_escapes = false;
        let end = self.rest.iter().position(|byte| {
            let ends = *byte == b'"' && !is_escaped;
            is_escaped = *byte == b'\\' && !is_escaped;
            has_escapes |= is_escaped;
            ends
        });
        let Some((string, rest)) = end.and_then(|end| self.rest.split_at_checked(end)) else {
            self.rest = &[];
            return;
        };
        self.rest = rest.split_first().map_or(&[], |(_, rest)| rest);
        let is_key = self.rest.trim_ascii_start().first() == Some(&b':');
        if !is_key || !matches!(self.open.last(), Some(Open::Object { .. })) {
            return;
        }
        let start = self.keys.len();
        match has_escapes {
            true => unescape(string, &mut self.keys),
            false => self.keys.extend_from_slice(string),
        }
        self.places.push(start..self.keys.len());
    }

    fn close(&mut self) -> Result<(), ValueError> {
        let Some(Open::Object { places, keys }) = self.open.pop() else { return Ok(()) };
        let is_unique =
            self.places.get_mut(places..).is_none_or(|own| super::map::is_unique(own, &self.keys));
        self.places.truncate(places);
        self.keys.truncate(keys);
        if is_unique { Ok(()) } else { Err(ValueError::DuplicateKey) }
    }

    /// Reads on behind the sign.
    fn negative_number(&mut self) -> Result<(), ValueError> {
        let end = self.rest.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'.'));
        let (digits, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        match digits.contains(&b'0') && digits.iter().all(|digit| matches!(digit, b'0' | b'.')) {
            true => Err(MINUS_ZERO),
            false => Ok(()),
        }
    }
}

/// Appends the meaning of a string. For an invalid escape, appends its bytes.
fn unescape(string: &[u8], out: &mut Vec<u8>) {
    let mut rest = string;
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        let escaped = match (first, behind) {
            (b'\\', [b'u', behind @ ..]) => code_point(behind),
            (b'\\', [escaped, behind @ ..]) => Some((simple(*escaped), behind)),
            _ => None,
        };
        match escaped {
            Some((character, behind)) => {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = behind;
            }
            None => out.push(*first),
        }
    }
}

fn simple(escaped: u8) -> char {
    match escaped {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        other => char::from(other),
    }
}

/// Reads on behind `\u`: a character of four digits, or of two times four.
fn code_point(text: &[u8]) -> Option<(char, &[u8])> {
    let four = |text: &[u8]| {
        let mut digits = text.iter().map(|digit| char::from(*digit).to_digit(16));
        digits.try_fold(0, |all, digit| Some(all << 4 | digit?))
    };
    let (digits, rest) = text.split_at_checked(4)?;
    let high = four(digits)?;
    if !(0xd800..0xdc00).contains(&high) {
        return Some((char::from_u32(high)?, rest));
    }
    let (digits, rest) = rest.strip_prefix(b"\\u")?.split_at_checked(4)?;
    let low = four(digits)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
    Some((char::from_u32(0x10000 + ((high - 0xd800) << 10 | low))?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_there_twice() {
        for sound in [
            "",
            "1",
            "[]",
            "{}",
            r#"{"a":1}"#,
            r#"{"a":{"a":{"b":1}},"b":[{"a":1},{"a":2}]}"#,
            r#"["a","a"]"#,
            r#"{"a":"a","b":"a"}"#,
            r#"{"a\\":1,"a":2}"#,
            r#"{"":1," ":2}"#,
            r#"{"a":"\"a\":","b":1}"#,
            r#"{"é":1,"e":2}"#,
            r#"{ "a" : [ "x" , { "a" : "}" } ] , "b" : 0 }"#,
        ] {
            assert_eq!(look(sound.as_bytes()), Ok(()), "{sound}");
        }
        for twice in [
            r#"{"a":1,"a":1}"#,
            r#"[{"b":1},{"a":1, "b":[], "a" : 2}]"#,
            r#"{"a":{"b":1,"c":2,"b":3}}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"":1,"":2}"#,
            r#"{"\ud83d\ude00":1,"😀":2}"#,
            r#"{"\n":1,"\u000A":2}"#,
            r#"{"b":{"a":1},"a":[{"a":1}],"b":2}"#,
            r#"{"\/":1,"/":2}"#,
        ] {
            assert_eq!(look(twice.as_bytes()), Err(ValueError::DuplicateKey), "{twice}");
        }
    }

    #[test]
    fn minus_zero() {
        for sound in ["-1", "0", "0.0", "[-0.1,-10e-5]", "-00.1", r#"{"-0":"-0"}"#, "-", "1e-0", "[1E-0]"] {
            assert_eq!(look(sound.as_bytes()), Ok(()), "{sound}");
        }
        for lost in ["-0", " -0.00", "[1,-0e5]", r#"{"a":-0}"#] {
            assert_eq!(look(lost.as_bytes()), Err(MINUS_ZERO), "{lost}");
        }
    }

    #[test]
    fn what_is_no_json_is_left_to_the_server() {
        for text in [
            "{",
            "}",
            "]]}",
            "{\"",
            "{\"a",
            "\"\\",
            "{\"\\u12",
            "{\"\\ud83d\":1,\"\\ud83dx\":1}",
            "{]:1,\"a\":}",
            "\\",
        ] {
            assert_eq!(look(text.as_bytes()), Ok(()), "{text}");
        }
    }
}
