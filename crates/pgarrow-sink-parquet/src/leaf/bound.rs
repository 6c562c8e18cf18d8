//! Smallest and largest values for statistics and page indexes, and how long ones are cut.

use std::cmp::Ordering;

/// A smallest or largest value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Bound {
    Flag(bool),
    Int32(i32),
    Int64(i64),
    Float(f32),
    Double(f64),
    Bytes(Vec<u8>),
}

/// How values of a column are compared, beyond what their type says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Order {
    /// Integers with a sign, floats, and bytes as such.
    Natural,
    /// Integers whose sign is the highest bit of a number.
    Unsigned,
    /// Bytes of one length that are an integer with a sign, the highest byte first.
    SignedBytes,
}

impl Bound {
    /// The value as page indexes have it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Flag(flag) => vec![u8::from(*flag)],
            Self::Int32(value) => value.to_le_bytes().to_vec(),
            Self::Int64(value) => value.to_le_bytes().to_vec(),
            Self::Float(value) => value.to_le_bytes().to_vec(),
            Self::Double(value) => value.to_le_bytes().to_vec(),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }

    /// Bytes that it holds besides itself.
    pub(crate) fn held_bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.capacity(),
            Self::Flag(_) | Self::Int32(_) | Self::Int64(_) | Self::Float(_) | Self::Double(_) => 0,
        }
    }

    pub(crate) fn is_less(&self, other: &Self, order: Order) -> bool {
        let compared = match (self, other) {
            (Self::Flag(one), Self::Flag(two)) => one.cmp(two),
            (Self::Int32(one), Self::Int32(two)) => match order {
                Order::Unsigned => (*one as u32).cmp(&(*two as u32)),
                _ => one.cmp(two),
            },
            (Self::Int64(one), Self::Int64(two)) => match order {
                Order::Unsigned => (*one as u64).cmp(&(*two as u64)),
                _ => one.cmp(two),
            },
            (Self::Float(one), Self::Float(two)) => return one < two,
            (Self::Double(one), Self::Double(two)) => return one < two,
            (Self::Bytes(one), Self::Bytes(two)) => match order {
                Order::SignedBytes => is_positive(one).cmp(&is_positive(two)).then_with(|| one.cmp(two)),
                _ => one.cmp(two),
            },
            // A column has one type.
            _ => Ordering::Equal,
        };
        compared == Ordering::Less
    }
}

fn is_positive(bytes: &[u8]) -> bool {
    bytes.first().is_none_or(|first| *first < 0x80)
}

/// How a bound is cut: [`cut_lower`] or [`cut_upper`].
pub(crate) type Cut = fn(Vec<u8>, usize, bool) -> (Vec<u8>, bool);

/// A value that is not larger, of at most `length` bytes, and whether it is another one. Of UTF-8, whole
/// characters stay.
pub(crate) fn cut_lower(mut bytes: Vec<u8>, length: usize, is_text: bool) -> (Vec<u8>, bool) {
    if bytes.len() <= length {
        return (bytes, false);
    }
    match start_of_character(&bytes, length).filter(|start| is_text && *start > 0) {
        Some(start) => bytes.truncate(start),
        None => bytes.truncate(length),
    }
    // The page index keeps it: not the memory of the whole value.
    bytes.shrink_to_fit();
    (bytes, true)
}

/// A value that is not smaller, of at most `length` bytes, and whether it is another one. There is none for
/// bytes that are all the largest ones; those stay.
pub(crate) fn cut_upper(bytes: Vec<u8>, length: usize, is_text: bool) -> (Vec<u8>, bool) {
    if bytes.len() <= length {
        return (bytes, false);
    }
    let larger = match is_text {
        true => larger_text(&bytes, length),
        false => larger_bytes(&bytes[..length]),
    };
    larger.map_or((bytes, false), |larger| (larger, true))
}

/// Where the character begins that has the byte at `at`, or is behind what is cut there.
fn start_of_character(bytes: &[u8], at: usize) -> Option<usize> {
    const CONTINUES: std::ops::Range<u8> = 0x80..0xc0;
    (0..=at).rev().find(|at| bytes.get(*at).is_some_and(|byte| !CONTINUES.contains(byte)))
}

/// The first characters, with the last one that has a next one of the same length replaced by it.
fn larger_text(bytes: &[u8], length: usize) -> Option<Vec<u8>> {
    let start = start_of_character(bytes, length)?;
    let text = str::from_utf8(bytes.get(..start)?).ok()?;
    let mut kept = text.chars();
    while let Some(last) = kept.next_back() {
        // `char` leaves out the surrogates, which text cannot have.
        let next = (last..=char::MAX).nth(1).filter(|next| next.len_utf8() == last.len_utf8());
        if let Some(next) = next {
            let mut larger = kept.as_str().to_owned();
            larger.push(next);
            return Some(larger.into_bytes());
        }
    }
    None
}

/// The bytes up to the last one that can grow, which does.
fn larger_bytes(bytes: &[u8]) -> Option<Vec<u8>> {
    let last = bytes.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut larger = bytes[..=last].to_vec();
    larger[last] += 1;
    Some(larger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_text_stay_text() {
        for (text, length, lower, upper) in [
            ("abc", 3, "abc", "abc"),
            ("abcd", 3, "abc", "abd"),
            // The character that is cut is left out.
            ("aé", 2, "a", "b"),
            ("aéx", 3, "aé", "aê"),
            ("a🐘", 4, "a", "b"),
            // The last ASCII character has no next one of one byte.
            ("a\u{7f}x", 2, "a\u{7f}", "b"),
            // Between them are the surrogates.
            ("\u{d7ff}x", 3, "\u{d7ff}", "\u{e000}"),
            ("\u{7f}\u{7f}x", 2, "\u{7f}\u{7f}", "\u{7f}\u{7f}x"),
            ("\u{10ffff}\u{10ffff}", 4, "\u{10ffff}", "\u{10ffff}\u{10ffff}"),
            ("\u{7ff}\u{10ffff}x", 6, "\u{7ff}\u{10ffff}", "\u{7ff}\u{10ffff}x"),
        ] {
            let found = (
                cut_lower(text.as_bytes().to_vec(), length, true),
                cut_upper(text.as_bytes().to_vec(), length, true),
            );
            let expected =
                ((lower.as_bytes().to_vec(), lower != text), (upper.as_bytes().to_vec(), upper != text));
            assert_eq!(found, expected, "{text:?}, {length}");
            assert!(lower <= text && text <= upper);
        }
    }

    #[test]
    fn bounds_of_bytes() {
        let cut = |bytes: &[u8], length| {
            (cut_lower(bytes.to_vec(), length, false), cut_upper(bytes.to_vec(), length, false))
        };
        assert_eq!(cut(b"ab", 2), ((b"ab".to_vec(), false), (b"ab".to_vec(), false)));
        assert_eq!(cut(b"abc", 2), ((b"ab".to_vec(), true), (b"ac".to_vec(), true)));
        assert_eq!(cut(b"a\xffc", 2), ((b"a\xff".to_vec(), true), (b"b".to_vec(), true)));
        assert_eq!(
            cut(b"\xff\xff\x00", 2),
            ((b"\xff\xff".to_vec(), true), (b"\xff\xff\x00".to_vec(), false))
        );
        // Bytes that only look like the rest of a character.
        assert_eq!(cut(b"\x80\x80\x80", 2), ((b"\x80\x80".to_vec(), true), (b"\x80\x81".to_vec(), true)));
    }

    #[test]
    fn every_order() {
        let bytes = |value: i32| Bound::Bytes(value.to_be_bytes().to_vec());
        let values = [i32::MIN, -256, -2, -1, 0, 1, 255, 256, i32::MAX];
        for one in values {
            for two in values {
                assert_eq!(bytes(one).is_less(&bytes(two), Order::SignedBytes), one < two);
                assert_eq!(bytes(one).is_less(&bytes(two), Order::Natural), (one as u32) < two as u32);
                assert_eq!(Bound::Int32(one).is_less(&Bound::Int32(two), Order::Natural), one < two);
                let unsigned = (one as u32) < two as u32;
                assert_eq!(Bound::Int32(one).is_less(&Bound::Int32(two), Order::Unsigned), unsigned);
                let (one, two) = (i64::from(one), i64::from(two));
                assert_eq!(Bound::Int64(one).is_less(&Bound::Int64(two), Order::Unsigned), unsigned);
            }
        }
        assert!(Bound::Flag(false).is_less(&Bound::Flag(true), Order::Natural));
        assert!(!Bound::Double(-0.0).is_less(&Bound::Double(0.0), Order::Natural));
    }
}
