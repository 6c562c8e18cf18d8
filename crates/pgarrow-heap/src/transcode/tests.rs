//! Values as a server stores them, beside those that it sends; then the same with random changes and damage.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::compressed::{decompress, raw_bytes};

mod written;

/// A line of `stored.tsv`: see `testdata/stored.sql`.
struct Pair {
    form: StoredForm,
    /// With its varlena header.
    in_tuple: Vec<u8>,
    sent: Vec<u8>,
    line: &'static str,
}

impl Pair {
    /// The content behind the varlena header, decompressed.
    fn stored(&self) -> Vec<u8> {
        if self.form.length_and_align().0 != -1 {
            return self.in_tuple.clone();
        }
        match self.in_tuple[0] {
            first if first & 1 == 1 => self.in_tuple[1..].to_vec(),
            first if first & 3 == 0 => self.in_tuple[4..].to_vec(),
            _ => {
                let mut out = Vec::new();
                decompress(&self.in_tuple[4..], &mut out).expect(self.line);
                assert_eq!(Ok(out.len()), raw_bytes(&self.in_tuple[4..]));
                out
            }
        }
    }
}

fn pairs() -> Vec<Pair> {
    let lines = || include_str!("../../testdata/stored.tsv").lines();
    let fields = |line: &'static str| line.split('\t').collect::<Vec<_>>();
    let labels = lines().map(fields).filter(|fields| fields[0] == "label");
    let labels = Arc::new(labels.map(|fields| (fields[2].parse().unwrap(), fields[3].to_owned())).collect());
    let values = lines().filter(|line| !line.starts_with("label\t"));
    let pair = |line| {
        let fields = fields(line);
        let form = form(fields[0], fields[1].parse().unwrap(), &labels);
        Pair { form, in_tuple: bytes(fields[2]), sent: bytes(fields[3]), line }
    };
    values.map(pair).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

fn form(name: &str, element_oid: u32, labels: &Arc<BTreeMap<u32, String>>) -> StoredForm {
    let array = |element| StoredForm::Array { element: Box::new(form(element, 0, labels)), element_oid };
    match name {
        "int2vector" => return array("smallint"),
        "oidvector" => return array("oid"),
        _ => {}
    }
    if let Some(element) = name.strip_suffix("[]") {
        return array(element);
    }
    match name.split('(').next().unwrap() {
        "boolean" | "\"char\"" => StoredForm::Bytes { length: 1, align: 1 },
        "smallint" => StoredForm::Number { width: 2 },
        "integer" | "oid" | "real" | "date" => StoredForm::Number { width: 4 },
        "bigint" | "xid8" | "pg_lsn" | "double precision" | "money" | "time" | "timestamp"
        | "timestamptz" => StoredForm::Number { width: 8 },
        "timetz" => StoredForm::Timetz,
        "interval" => StoredForm::Interval,
        "uuid" => StoredForm::Bytes { length: 16, align: 1 },
        "macaddr" => StoredForm::Bytes { length: 6, align: 4 },
        "macaddr8" => StoredForm::Bytes { length: 8, align: 4 },
        "name" => StoredForm::Name,
        "text" | "varchar" | "char" | "bytea" | "json" => StoredForm::Bytes { length: -1, align: 4 },
        "numeric" => StoredForm::Numeric,
        "jsonb" => StoredForm::Jsonb,
        "inet" => StoredForm::Inet { is_cidr: false },
        "cidr" => StoredForm::Inet { is_cidr: true },
        "bit" | "varbit" => StoredForm::Bits,
        "mood" => StoredForm::Enum(Arc::clone(labels)),
        "tid" => StoredForm::Tid,
        "point" => StoredForm::Doubles { count: 2 },
        "line" | "circle" => StoredForm::Doubles { count: 3 },
        "lseg" | "box" => StoredForm::Doubles { count: 4 },
        "path" => StoredForm::Path,
        "polygon" => StoredForm::Polygon,
        other => panic!("no form of {other}"),
    }
}

/// The bytes that `transcode` appends. Checks that it appends nothing for a refused value.
fn transcoded(form: &StoredForm, stored: &[u8]) -> Result<Vec<u8>, Corrupt> {
    let mut out = b"before".to_vec();
    let done = transcode(form, stored, &mut out);
    let appended = out.strip_prefix(b"before").expect("what was there is there").to_vec();
    assert!(done.is_ok() || appended.is_empty());
    done.map(|()| appended)
}

#[test]
fn what_a_server_stored_becomes_what_it_sent() {
    for pair in pairs() {
        let became = transcoded(&pair.form, &pair.stored());
        assert_eq!(became.as_deref(), Ok(pair.sent.as_slice()), "{}", pair.line);
    }
}

/// If the file is made again on a server that lacks something, the test must not silently prove less.
#[test]
fn the_values_of_the_server_are_of_every_kind() {
    let pairs = pairs();
    let name = |form: &StoredForm| format!("{form:?}").split([' ', '(']).next().unwrap().to_owned();
    let scalars: BTreeSet<_> = pairs.iter().map(|pair| name(&pair.form)).collect();
    let elements: BTreeSet<_> = pairs
        .iter()
        .filter_map(|pair| match &pair.form {
            StoredForm::Array { element, .. } => Some(name(element)),
            _ => None,
        })
        .collect();
    let forms =
        "Array Bits Bytes Doubles Enum Inet Interval Jsonb Name Number Numeric Path Polygon Tid Timetz";
    assert_eq!(scalars, forms.split(' ').map(str::to_owned).collect());
    assert_eq!(elements, scalars.iter().filter(|name| *name != "Array").cloned().collect());

    let varlena = || pairs.iter().filter(|pair| pair.form.length_and_align().0 == -1);
    let method = |pair: &Pair| pair.in_tuple[7] >> 6;
    let compressed = || varlena().filter(|pair| pair.in_tuple[0] & 3 == 2);
    assert!(compressed().any(|pair| method(pair) == 0), "pglz");
    assert!(compressed().any(|pair| method(pair) == 1), "lz4");
    assert!(varlena().any(|pair| pair.in_tuple[0] & 3 == 0), "headers of 4 bytes");
}

/// In a damaged page, the end of a tuple may cut a value anywhere.
#[test]
fn a_value_that_was_cut_is_refused_or_shorter() {
    for pair in pairs() {
        let stored = pair.stored();
        // Long values are cut at some places only, since each cut costs time in proportion to the bytes
        // before it.
        for n in (0..stored.len()).step_by(1 + stored.len() / 300) {
            if let Ok(became) = transcoded(&pair.form, &stored[..n]) {
                // An array may end with the padding for another value.
                let whole = matches!(pair.form, StoredForm::Array { .. }) && became == pair.sent;
                assert!(whole || became.len() < pair.sent.len(), "{n} bytes of {}", pair.line);
            }
        }
        if let Ok(became) = transcoded(&pair.form, &[stored.as_slice(), &[0; 9]].concat()) {
            let whole = matches!(pair.form, StoredForm::Jsonb);
            assert!(whole || became.len() > pair.sent.len(), "more than {}", pair.line);
        }
    }
}

#[test]
fn a_value_with_any_bit_wrong_is_refused_or_another() {
    for pair in pairs() {
        let mut stored = pair.stored();
        for bit in 0..8 * stored.len().min(60) {
            stored[bit / 8] ^= 1 << (bit % 8);
            transcoded(&pair.form, &stored).ok();
            stored[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn compressed_values_with_any_bit_wrong_are_refused_or_of_the_length_they_say() {
    let is_compressed = |pair: &Pair| pair.form.length_and_align().0 == -1 && pair.in_tuple[0] & 3 == 2;
    for pair in pairs().into_iter().filter(is_compressed) {
        let mut value = pair.in_tuple[4..].to_vec();
        for bit in 0..8 * value.len().min(120) {
            value[bit / 8] ^= 1 << (bit % 8);
            let mut out = b"before".to_vec();
            let n = if decompress(&value, &mut out).is_ok() { raw_bytes(&value).unwrap() } else { 0 };
            assert_eq!(out.len(), 6 + n);
            value[bit / 8] ^= 1 << (bit % 8);
        }
        for n in 0..value.len() {
            assert!(decompress(&value[..n], &mut Vec::new()).is_err(), "{n} bytes of {}", pair.line);
        }
    }
}

/// The bytes reserved for a value are limited by the present bytes of it.
#[test]
fn compressed_values_that_claim_more_than_can_be_are_refused() {
    let claim =
        |method: u32, raw: u32| raw_bytes(&[&((method << 30) | raw).to_le_bytes()[..], &[0; 10]].concat());
    let too_large = Err(Corrupt("a compressed value that claims to be larger than it can be"));
    assert_eq!(claim(0, 910), Ok(910));
    assert_eq!(claim(0, 911), too_large);
    assert_eq!(claim(1, 2550), Ok(2550));
    assert_eq!(claim(1, 2551), too_large);
    assert_eq!(claim(2, 1), Err(Corrupt("a value that is compressed by an unknown method")));
    assert_eq!(raw_bytes(&[0; 3]), Err(Corrupt("a compressed value without its size")));
}

fn refused(form: &StoredForm, stored: &[u8]) -> &'static str {
    transcoded(form, stored).expect_err("refused").0
}

/// Without one of the checks, each of these would pass as a value.
#[test]
fn values_that_postgresql_does_not_write_are_refused() {
    let labels = Arc::new(BTreeMap::from([(7, "seven".to_owned())]));
    assert_eq!(
        refused(&StoredForm::Enum(labels), &8_u32.to_le_bytes()),
        "a label of an enum that is not known"
    );
    assert_eq!(refused(&StoredForm::Name, &[b'a'; 64]), "a name without its end");
    assert_eq!(refused(&StoredForm::Numeric, &[0, 0x80, 0x10, 0x27]), "a numeric with a digit above 9999");
    assert_eq!(refused(&StoredForm::Numeric, &[0, 0x80, 1]), "a numeric with half of a digit");
    let special = "a special numeric that is none of the known ones";
    assert_eq!(refused(&StoredForm::Numeric, &[0, 0xe0]), special);
    assert_eq!(refused(&StoredForm::Numeric, &[1, 0xc0]), special);
    assert_eq!(refused(&StoredForm::Numeric, &[0, 0xc0, 1, 0]), special);
    let bits = "a string of bits with another number of bytes than it says";
    for n in [-1_i32, 0, 9] {
        assert_eq!(refused(&StoredForm::Bits, &[&n.to_le_bytes()[..], &[0xff]].concat()), bits);
    }
    for address in [&[2, 33, 1, 2, 3, 4][..], &[2, 8, 1, 2, 3], &[3, 8, 1, 2, 3, 4], &[10, 8, 1, 2, 3, 4]] {
        let inet = StoredForm::Inet { is_cidr: false };
        assert_eq!(refused(&inet, address), "an address of an unknown family or with another length");
    }
    let two_points = [&2_i32.to_le_bytes()[..], &[0; 8], &[0; 16]].concat();
    assert_eq!(refused(&StoredForm::Path, &two_points), "a value of another width than its type has");
    assert_eq!(refused(&StoredForm::Polygon, &[0xff; 36]), "fewer points than none");
    assert_eq!(
        refused(&StoredForm::Bytes { length: 2, align: 1 }, b"a"),
        "a value of another width than its type has"
    );
}

/// A claim of 2^28 values or of 2^31 elements must cost nothing.
#[test]
fn counts_are_held_against_what_there_is() {
    let array = |dimensions: &[i32], offset: u32, oid: u32, rest: &[u8]| {
        let element = Box::new(StoredForm::Number { width: 4 });
        let mut stored = i32::try_from(dimensions.len()).unwrap().to_le_bytes().to_vec();
        stored.extend(offset.to_le_bytes().into_iter().chain(oid.to_le_bytes()));
        stored.extend(dimensions.iter().chain(dimensions).flat_map(|n| n.to_le_bytes()));
        stored.extend(rest);
        transcoded(&StoredForm::Array { element, element_oid: 23 }, &stored)
    };
    let short = Err(Corrupt("an array that is shorter than it says"));
    assert_eq!(array(&[1], 0, 23, &[0; 4]).map(|became| became.len()), Ok(28));
    assert_eq!(array(&[i32::MAX], 0, 23, &[0; 4]), short);
    assert_eq!(array(&[i32::MAX], 32, 23, &[0; 4]), short);
    let count = Err(Corrupt("an array of too many elements, or of fewer than none"));
    assert_eq!(array(&[i32::MAX; 6], 0, 23, &[0; 4]), count);
    assert_eq!(array(&[-1], 0, 23, &[0; 4]), count);
    assert_eq!(array(&[1; 7], 0, 23, &[0; 4]), Err(Corrupt("an array of too many dimensions")));
    assert_eq!(array(&[1], 0, 25, &[0; 4]), Err(Corrupt("an array of elements of another type")));
    assert_eq!(
        array(&[1], 40, 23, &[1; 20]),
        Err(Corrupt("an array whose values are not behind its bitmap"))
    );
    assert_eq!(array(&[1], 0, 23, &[0; 12]), Err(Corrupt("an array that is longer than it says")));

    let jsonb = |words: &[u32]| {
        refused(&StoredForm::Jsonb, &words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>())
    };
    let short = "a container of jsonb that is shorter than its entries";
    assert_eq!(jsonb(&[0x4fff_ffff]), short);
    assert_eq!(jsonb(&[0x2fff_ffff, 0]), short);
    assert_eq!(jsonb(&[0x4000_0001, 0x0000_0001]), "a value of jsonb that is not inside of its container");
    assert_eq!(jsonb(&[0x6000_0000]), "a container of jsonb that is neither array nor object");
    assert_eq!(jsonb(&[0x5000_0001, 0x5000_0004, 0x4000_0000]), "a scalar of jsonb that is none");
    assert_eq!(jsonb(&[0x2000_0001, 0x4000_0000, 0x4000_0000]), "a key of jsonb that is no string");
    assert_eq!(jsonb(&[0x4000_0001, 0x7000_0000]), "a value of jsonb of an unknown kind");
    assert_eq!(jsonb(&[0x4000_0001, 0x0000_0001, 0]), "a string of jsonb with a NUL");
}

/// An exponent is shorter than its zeros: 600 numbers of 131,072 digits are 78 MB of text.
#[test]
fn what_becomes_too_large_is_left_to_the_server() {
    let many = |n: u32| {
        let mut stored = (0x4000_0000 | n).to_le_bytes().to_vec();
        stored.extend((0..n).flat_map(|_| 0x1000_000c_u32.to_le_bytes()));
        // Header, a sign and a scale of 0 in the long form, a weight of 32767, the digit 1; then the padding
        // for the next number.
        let number = [40_u8, 0, 0, 0, 0, 0, 0xff, 0x7f, 1, 0];
        stored.extend((0..n).flat_map(|_| number.into_iter().chain([0; 2])));
        transcoded(&StoredForm::Jsonb, &stored)
    };
    let one = many(1).expect("a number").len();
    assert_eq!(one, 1 + 1 + 4 * 32767 + 1 + 1);
    assert_eq!(many(600), Err(Corrupt("a value that is too large to be made here")));
}

/// 90,000 levels fit a page if compressed. They must exhaust neither a thread's stack nor the time.
#[test]
fn jsonb_of_too_many_levels_is_refused() {
    let nested = |levels: usize| {
        let mut stored = 0x4000_0000_u32.to_le_bytes().to_vec();
        for _ in 1..levels {
            let entry = 0x5000_0000 | u32::try_from(stored.len()).unwrap();
            stored.splice(0..0, 0x4000_0001_u32.to_le_bytes().into_iter().chain(entry.to_le_bytes()));
        }
        transcoded(&StoredForm::Jsonb, &stored)
    };
    assert_eq!(nested(500).map(|became| became.len()), Ok(1001));
    assert_eq!(nested(501), Err(Corrupt("jsonb of too many levels")));
    assert_eq!(nested(20_000), Err(Corrupt("jsonb of too many levels")));
}

proptest! {
    #[test]
    fn any_bytes_become_something_or_are_refused(stored in prop::collection::vec(any::<u8>(), 0..200)) {
        for form in forms() {
            transcoded(form, &stored).ok();
        }
        decompress(&stored, &mut Vec::new()).ok();
    }
}

/// The forms in `stored.tsv`.
fn forms() -> &'static [StoredForm] {
    static FORMS: std::sync::OnceLock<Vec<StoredForm>> = std::sync::OnceLock::new();
    FORMS.get_or_init(|| {
        let mut forms = Vec::new();
        for pair in pairs() {
            if !forms.contains(&pair.form) {
                forms.push(pair.form);
            }
        }
        forms
    })
}
