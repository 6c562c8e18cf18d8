//! Values that these tests write as PostgreSQL stores them, and the expected results, computed in a slower
//! way.

use pgarrow_types::StoredForm;
use proptest::prelude::*;

use super::transcoded;
use crate::compressed::{decompress, raw_bytes};

/// A number whose first digit is not zero.
#[derive(Clone, Debug)]
struct Number {
    is_negative: bool,
    weight: i16,
    dscale: u16,
    digits: Vec<u16>,
}

fn numbers(weights: std::ops::Range<i16>, dscales: std::ops::Range<u16>) -> impl Strategy<Value = Number> {
    let digits = (1_u16..10_000, prop::collection::vec(0_u16..10_000, 0..12));
    (any::<bool>(), weights, dscales, digits).prop_map(
        |(is_negative, weight, dscale, (first, mut digits))| {
            digits.insert(0, first);
            Number { is_negative, weight, dscale, digits }
        },
    )
}

impl Number {
    fn long(&self) -> Vec<u8> {
        let mut stored = ((u16::from(self.is_negative) * 0x4000) | self.dscale).to_le_bytes().to_vec();
        stored.extend(self.weight.to_le_bytes());
        stored.extend(self.digits.iter().flat_map(|digit| digit.to_le_bytes()));
        stored
    }

    fn short(&self) -> Option<Vec<u8>> {
        let fits = self.dscale < 64 && (-64..64).contains(&self.weight);
        let weight = u16::from_le_bytes(self.weight.to_le_bytes()) & 0x7f;
        let header = 0x8000 | (u16::from(self.is_negative) * 0x2000) | self.dscale.wrapping_shl(7) | weight;
        let digits = self.digits.iter().flat_map(|digit| digit.to_le_bytes());
        fits.then(|| header.to_le_bytes().into_iter().chain(digits).collect())
    }

    fn sent(&self) -> Vec<u8> {
        let mut sent = u16::try_from(self.digits.len()).unwrap().to_be_bytes().to_vec();
        sent.extend(self.weight.to_be_bytes());
        sent.extend((u16::from(self.is_negative) * 0x4000).to_be_bytes());
        sent.extend(self.dscale.to_be_bytes());
        sent.extend(self.digits.iter().flat_map(|digit| digit.to_be_bytes()));
        sent
    }

    /// The decimal digit of 10 to the `power`.
    fn decimal(&self, power: i32) -> char {
        let index = i32::from(self.weight) - power.div_euclid(4);
        let digit =
            usize::try_from(index).ok().and_then(|index| self.digits.get(index)).copied().unwrap_or(0);
        let power = u32::try_from(power.rem_euclid(4)).unwrap();
        char::from(b'0' + u8::try_from(digit / 10_u16.pow(power) % 10).unwrap())
    }

    fn text(&self) -> String {
        let whole: String =
            (0..4 * (i32::from(self.weight) + 1)).rev().map(|power| self.decimal(power)).collect();
        let whole = whole.trim_start_matches('0');
        let fraction: String = (1..=i32::from(self.dscale)).map(|place| self.decimal(-place)).collect();
        let sign = if self.is_negative { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{sign}{}{point}{fraction}", if whole.is_empty() { "0" } else { whole })
    }
}

#[derive(Clone, Debug)]
enum Tree {
    Null,
    Bool(bool),
    String(String),
    Number(Number),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

fn trees() -> impl Strategy<Value = Tree> {
    let string = || "[a-c\"\\\\\n\u{1}é🙂]{0,5}".prop_map(String::from);
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::Bool),
        string().prop_map(Tree::String),
        numbers(-3..4, 0..20).prop_map(Tree::Number),
    ];
    leaf.prop_recursive(4, 120, 40, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..80).prop_map(Tree::Array),
            prop::collection::vec((string(), inner), 0..40).prop_map(Tree::Object),
        ]
    })
}

impl Tree {
    fn text(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::String(string) => quoted(string),
            Self::Number(number) => number.text(),
            Self::Array(values) => {
                format!("[{}]", values.iter().map(Self::text).collect::<Vec<_>>().join(", "))
            }
            Self::Object(pairs) => {
                let pair = |(key, value): &(String, Self)| format!("{}: {}", quoted(key), value.text());
                format!("{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// Whole values; a scalar is in its own array.
    fn stored(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Array(_) | Self::Object(_) => _ = self.write(&mut out),
            scalar => write_container(0x5000_0001, &[scalar], &mut out),
        }
        out
    }

    /// As `convertJsonbValue`: aligns by the bytes written before, since the value's start. Returns the kind
    /// of its entry.
    fn write(&self, out: &mut Vec<u8>) -> u32 {
        let count = |n: usize| u32::try_from(n).unwrap();
        match self {
            Self::Null => 0x4000_0000,
            Self::Bool(false) => 0x2000_0000,
            Self::Bool(true) => 0x3000_0000,
            Self::String(string) => {
                out.extend(string.as_bytes());
                0
            }
            Self::Number(number) => {
                let stored = number.short().unwrap();
                out.resize(out.len().next_multiple_of(4), 0);
                out.extend((count(stored.len() + 4) << 2).to_le_bytes());
                out.extend(stored);
                0x1000_0000
            }
            Self::Array(values) => {
                write_container(0x4000_0000 | count(values.len()), &values.iter().collect::<Vec<_>>(), out);
                0x5000_0000
            }
            Self::Object(pairs) => {
                let keys: Vec<_> = pairs.iter().map(|(key, _)| Self::String(key.clone())).collect();
                let children: Vec<_> = keys.iter().chain(pairs.iter().map(|(_, value)| value)).collect();
                write_container(0x2000_0000 | count(pairs.len()), &children, out);
                0x5000_0000
            }
        }
    }
}

fn write_container(header: u32, children: &[&Tree], out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(header.to_le_bytes());
    let entries = out.len();
    out.resize(entries + 4 * children.len(), 0);
    let data = out.len();
    for (index, child) in children.iter().enumerate() {
        let before = out.len();
        let kind = child.write(out);
        // `JB_OFFSET_STRIDE`
        let entry = if index % 32 == 0 {
            0x8000_0000 | kind | u32::try_from(out.len() - data).unwrap()
        } else {
            kind | u32::try_from(out.len() - before).unwrap()
        };
        out[entries + 4 * index..][..4].copy_from_slice(&entry.to_le_bytes());
    }
}

fn quoted(string: &str) -> String {
    let escape = |c: char| match c {
        '"' => "\\\"".to_owned(),
        '\\' => "\\\\".to_owned(),
        '\n' => "\\n".to_owned(),
        '\u{1}' => "\\u0001".to_owned(),
        c => c.to_string(),
    };
    format!("\"{}\"", string.chars().map(escape).collect::<String>())
}

/// An array, with a bitmap if it has a NULL. `write` writes each value after its alignment.
fn array(oid: u32, values: &[Option<Vec<u8>>], align: usize) -> Vec<u8> {
    let has_null = values.iter().any(Option::is_none);
    let bitmap = if has_null { values.len().div_ceil(8) } else { 0 };
    let begin = (24 + bitmap).next_multiple_of(8);
    // With a varlena header, which is removed at the end.
    let mut out = vec![0; begin];
    out[4..8].copy_from_slice(&1_i32.to_le_bytes());
    out[8..12].copy_from_slice(&(if has_null { u32::try_from(begin).unwrap() } else { 0 }).to_le_bytes());
    out[12..16].copy_from_slice(&oid.to_le_bytes());
    out[16..20].copy_from_slice(&u32::try_from(values.len()).unwrap().to_le_bytes());
    out[20..24].copy_from_slice(&1_i32.to_le_bytes());
    for (index, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        if has_null {
            out[24 + index / 8] |= 1 << (index % 8);
        }
        out.extend(value);
        out.resize(out.len().next_multiple_of(align), 0);
    }
    out.split_off(4)
}

fn array_sent(oid: u32, values: &[Option<Vec<u8>>]) -> Vec<u8> {
    let has_null = i32::from(values.iter().any(Option::is_none));
    let mut sent = [1_i32.to_be_bytes(), has_null.to_be_bytes(), oid.to_be_bytes()].concat();
    sent.extend(u32::try_from(values.len()).unwrap().to_be_bytes().into_iter().chain(1_i32.to_be_bytes()));
    for value in values {
        sent.extend(value.as_ref().map_or(-1, |value| i32::try_from(value.len()).unwrap()).to_be_bytes());
        sent.extend(value.iter().flatten());
    }
    sent
}

/// The simplest to write, not the smallest result: searches the longest match everywhere.
fn pglz(raw: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(raw.len()).unwrap().to_le_bytes().to_vec();
    let mut at = 0;
    while at < raw.len() {
        let flags = out.len();
        out.push(0);
        for item in 0..8 {
            if at == raw.len() {
                break;
            }
            let same = |from: usize| {
                raw[at..].iter().zip(&raw[from..]).take(273).take_while(|(a, b)| a == b).count()
            };
            let longest = (at.saturating_sub(4095)..at).map(|from| (same(from), at - from)).max();
            match longest {
                Some((length @ 3.., offset)) => {
                    out[flags] |= 1 << item;
                    let high = u8::try_from(offset >> 8 << 4).unwrap();
                    out.extend([high | u8::try_from(length.min(18) - 3).unwrap(), offset.to_le_bytes()[0]]);
                    if length >= 18 {
                        out.push(u8::try_from(length - 18).unwrap());
                    }
                    at += length;
                }
                _ => {
                    out.push(raw[at]);
                    at += 1;
                }
            }
        }
    }
    out
}

proptest! {
    #[test]
    fn numbers_are_sent_from_both_forms(
        number in prop_oneof![numbers(-70..70, 0..70), numbers(i16::MIN..i16::MAX, 0..0x3fff)]
    ) {
        prop_assert_eq!(transcoded(&StoredForm::Numeric, &number.long()), Ok(number.sent()));
        if let Some(short) = number.short() {
            prop_assert_eq!(transcoded(&StoredForm::Numeric, &short), Ok(number.sent()));
        }
    }

    #[test]
    fn numbers_of_jsonb_are_printed_with_all_their_digits(
        number in prop_oneof![numbers(-5..5, 0..30), numbers(-300..300, 0..2000)]
    ) {
        let stored = number.long();
        let mut jsonb = [0x5000_0001_u32, 0x1000_0000 | u32::try_from(stored.len() + 4).unwrap()].map(u32::to_le_bytes).concat();
        jsonb.extend((u32::try_from(stored.len() + 4).unwrap() << 2).to_le_bytes());
        jsonb.extend(stored);
        let text = [b"\x01", number.text().as_bytes()].concat();
        prop_assert_eq!(transcoded(&StoredForm::Jsonb, &jsonb), Ok(text));
    }

    #[test]
    fn documents_are_printed(tree in trees()) {
        let text = [b"\x01", tree.text().as_bytes()].concat();
        prop_assert_eq!(transcoded(&StoredForm::Jsonb, &tree.stored()), Ok(text));
    }

    #[test]
    fn arrays_of_numbers_are_sent(values in prop::collection::vec(prop::option::of(any::<i64>()), 1..70)) {
        let of = |bytes: fn(i64) -> [u8; 8]| -> Vec<_> {
            values.iter().map(|value| value.map(|value| bytes(value).to_vec())).collect()
        };
        let form = StoredForm::Array { element: Box::new(StoredForm::Number { width: 8 }), element_oid: 20 };
        let stored = array(20, &of(i64::to_le_bytes), 8);
        prop_assert_eq!(transcoded(&form, &stored), Ok(array_sent(20, &of(i64::to_be_bytes))));
    }

    /// Values in arrays have headers of 4 bytes; headers of 1 byte are read, too.
    #[test]
    fn arrays_of_text_are_sent(values in prop::collection::vec(prop::option::of((any::<bool>(), "[a-z]{0,9}")), 1..70)) {
        let with_header = |(is_short, text): &(bool, String)| {
            let bytes = u32::try_from(text.len()).unwrap();
            let header = ((bytes + 4) << 2).to_le_bytes();
            let short = [u8::try_from(bytes + 1).unwrap() << 1 | 1];
            [if *is_short { &short[..] } else { &header[..] }, text.as_bytes()].concat()
        };
        let stored: Vec<_> = values.iter().map(|value| value.as_ref().map(with_header)).collect();
        let sent: Vec<_> =
            values.iter().map(|value| value.as_ref().map(|(_, text)| text.as_bytes().to_vec())).collect();
        let element = Box::new(StoredForm::Bytes { length: -1, align: 4 });
        let form = StoredForm::Array { element, element_oid: 25 };
        prop_assert_eq!(transcoded(&form, &array(25, &stored, 4)), Ok(array_sent(25, &sent)));
    }

    #[test]
    fn what_was_compressed_comes_back(raw in prop::collection::vec(0_u8..3, 1..900), n in 1_usize..8) {
        let raw = raw.repeat(n);
        let lz4_info = ((1 << 30) | u32::try_from(raw.len()).unwrap()).to_le_bytes();
        for value in [pglz(&raw), [&lz4_info[..], &lz4_flex::block::compress(&raw)].concat()] {
            let mut out = b"before".to_vec();
            prop_assert_eq!(decompress(&value, &mut out), Ok(()));
            prop_assert_eq!(&out[..6], b"before");
            prop_assert_eq!(&out[6..], &raw);
            prop_assert_eq!(raw_bytes(&value), Ok(raw.len()));
        }
    }
}
