//! Text, and types that are read from their text.

use std::sync::Arc;

use arrow_array::types::Int8Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, DictionaryArray, FixedSizeBinaryArray, Int64Array,
    StringArray, StringViewArray, StructArray, UInt16Array, UInt32Array,
};
use arrow_schema::{DataType, Field, Fields};
use pgarrow_encode::{RefusalKind, ValueError};
use pgarrow_types::{EnumType, PgType, oid};

use crate::support::To;

fn texts(texts: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(texts.to_vec()))
}

fn bytes(value: &[u8]) -> Result<Option<Vec<u8>>, ValueError> {
    Ok(Some(value.to_vec()))
}

fn kind(to: &To, data_type: &DataType) -> Option<RefusalKind> {
    to.refusal(data_type).map(|refusal| refusal.kind)
}

/// Text that the type refuses, whatever conversions are allowed.
#[track_caller]
fn check_malformed(to: &To, malformed: &[&str]) {
    for text in malformed {
        let found = to.values(&texts(&[text]));
        assert!(matches!(found[..], [Err(ValueError::Malformed(_))]), "{text:?}: {found:?}");
    }
}

#[test]
fn text_has_no_zero_byte() {
    for pg_type in [PgType::Text, PgType::Bpchar, PgType::Json] {
        let to = To::new(pg_type);
        let array = texts(&["", "é", "a\0b", "\0", "c"]);
        let zero = Err(ValueError::ZeroByte);
        let expected = [bytes(b""), bytes("é".as_bytes()), zero.clone(), zero, bytes(b"c")];
        assert_eq!(to.values(&array), expected);
        // Only the slice's own bytes are checked, and all of them.
        assert_eq!(to.values(&array.slice(0, 2)), expected[..2]);
        assert_eq!(to.values(&array.slice(1, 3)), expected[1..4]);
        assert_eq!(to.values(&array.slice(4, 1)), expected[4..]);
        for layout in [DataType::LargeUtf8, DataType::Utf8View] {
            assert_eq!(to.values(&arrow_cast::cast(&array, &layout).unwrap()), expected, "{layout}");
        }
    }
}

#[test]
fn what_else_has_one_text() {
    let to = To::new(PgType::Text);
    let integers: ArrayRef = Arc::new(Int64Array::from(vec![Some(i64::MIN), None]));
    let bools: ArrayRef = Arc::new(BooleanArray::from(vec![true, false]));
    let decimals: ArrayRef =
        Arc::new(Decimal128Array::from(vec![-5, 12_345]).with_precision_and_scale(10, 3).unwrap());
    for array in [&integers, &bools, &decimals] {
        assert_eq!(kind(&to, array.data_type()), Some(RefusalKind::NeedsCheck));
    }
    let to = to.check();
    assert_eq!(to.values(&integers), [bytes(b"-9223372036854775808"), Ok(None)]);
    assert_eq!(to.values(&bools), [bytes(b"true"), bytes(b"false")]);
    assert_eq!(to.values(&decimals), [bytes(b"-0.005"), bytes(b"12.345")]);
    for none in [DataType::Float64, DataType::Date32] {
        assert_eq!(kind(&to.clone().round(), &none), Some(RefusalKind::Mismatch), "{none}");
    }
    // Text of an unknown encoding, exported as bytes.
    let array: ArrayRef = Arc::new(BinaryArray::from(vec![&b"\xe9"[..], b"\0"]));
    assert_eq!(to.values(&array), [bytes(b"\xe9"), Err(ValueError::ZeroByte)]);
    assert_eq!(
        To::new(PgType::Jsonb).check().values(&array),
        [bytes(b"\x01\xe9"), Err(ValueError::ZeroByte)]
    );
    assert_eq!(kind(&To::new(PgType::Text), &DataType::Binary), Some(RefusalKind::NeedsCheck));
    assert_eq!(kind(&To::new(PgType::Jsonb), &DataType::Binary), Some(RefusalKind::NeedsCheck));
}

#[test]
fn versions_stand_before_text() {
    for pg_type in [PgType::Jsonb, PgType::Ltree] {
        let found = To::new(pg_type).values(&texts(&["", "a.b", "\0"]));
        assert_eq!(found, [bytes(b"\x01"), bytes(b"\x01a.b"), Err(ValueError::ZeroByte)]);
    }
}

#[test]
fn bytes_and_uuids() {
    let array: ArrayRef = Arc::new(BinaryArray::from(vec![&b""[..], b"\0\xff"]));
    for layout in [DataType::Binary, DataType::LargeBinary, DataType::BinaryView] {
        let array = arrow_cast::cast(&array, &layout).unwrap();
        assert_eq!(To::new(PgType::Bytea).values(&array), [bytes(b""), bytes(b"\0\xff")], "{layout}");
    }
    let uuid = *b"0123456789abcdef";
    let array: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter([uuid].into_iter()).unwrap());
    assert_eq!(To::new(PgType::Bytea).values(&array), [bytes(&uuid)]);
    assert_eq!(To::new(PgType::Uuid).values(&array), [bytes(&uuid)]);
    assert_eq!(
        kind(&To::new(PgType::Uuid).round(), &DataType::FixedSizeBinary(15)),
        Some(RefusalKind::Mismatch)
    );
    assert_eq!(kind(&To::new(PgType::Uuid), &DataType::Utf8), Some(RefusalKind::NeedsCheck));
    let to = To::new(PgType::Uuid).check();
    assert_eq!(to.values(&texts(&["{30313233-3435-3637-3839-616263646566}"])), [bytes(&uuid)]);
    check_malformed(&to, &["", "30313233-3435-3637-3839-61626364656"]);
}

#[test]
fn labels_of_an_enum() {
    let labels = ["sad", "ok", ""].map(str::to_owned).to_vec();
    let to = To::new(PgType::Enum(Arc::new(EnumType { labels })));
    let label = Err(ValueError::Label);
    assert_eq!(
        to.values(&texts(&["ok", "", "Ok", "ok "])),
        [bytes(b"ok"), bytes(b""), label.clone(), label.clone()]
    );
    let values: ArrayRef =
        Arc::new(StringViewArray::from(vec![Some("sad"), Some("happy"), None, Some("ok")]));
    let keys = [Some(3), Some(0), Some(3), None, Some(2), Some(1), Some(1)].into_iter().collect();
    let array: ArrayRef = Arc::new(DictionaryArray::<Int8Type>::new(keys, values));
    let expected = [bytes(b"ok"), bytes(b"sad"), bytes(b"ok"), Ok(None), Ok(None), label.clone(), label];
    assert_eq!(to.values(&array), expected);
    assert_eq!(to.values(&array.slice(2, 4)), expected[2..6]);
    assert_eq!(kind(&to.round(), &DataType::Int32), Some(RefusalKind::Mismatch));
}

#[test]
fn bits() {
    let to = To::new(PgType::Bit);
    let found = to.values(&texts(&["", "1", "00000001", "101010101"]));
    let expected = [&b"\0\0\0\0"[..], b"\0\0\0\x01\x80", b"\0\0\0\x08\x01", b"\0\0\0\x09\xaa\x80"].map(bytes);
    assert_eq!(found, expected);
    check_malformed(&to, &["2", "01 ", "0x1", "é"]);
}

#[test]
fn network_addresses() {
    let inet = To::new(PgType::Inet);
    let mut cidr = inet.clone();
    cidr.declared.base_oid = oid::CIDR;
    assert_eq!(
        inet.values(&texts(&["10.1.2.3/8", "10.1.2.3"])),
        [bytes(&[2, 8, 0, 4, 10, 1, 2, 3]), bytes(&[2, 32, 0, 4, 10, 1, 2, 3])]
    );
    assert_eq!(
        cidr.values(&texts(&["10.0.0.0/8", "0.0.0.0/0"])),
        [bytes(&[2, 8, 1, 4, 10, 0, 0, 0]), bytes(&[2, 0, 1, 4, 0, 0, 0, 0])]
    );
    let v6 =
        |bits, end: [u8; 6]| bytes(&[&[3, bits, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &end].concat());
    let found = inet.values(&texts(&["::1", "::ffff:1.2.3.4/128", "::/0"]));
    assert_eq!(found, [v6(128, [0, 0, 0, 0, 0, 1]), v6(128, [255, 255, 1, 2, 3, 4]), v6(0, [0; 6])]);
    let malformed = [
        "",
        "/8",
        "1.2.3",
        "1.2.3.4/",
        "1.2.3.4/33",
        "1.2.3.4/+8",
        "1.2.3.4/8/8",
        "::/129",
        "fe80::1%eth0",
        "1.2.3.4 ",
        "1.2.3.4/256",
    ];
    check_malformed(&inet, &malformed);
}

#[test]
fn hardware_addresses() {
    let six = To::new(PgType::Macaddr);
    assert_eq!(six.values(&texts(&["08:00:2b:01:02:Ff"])), [bytes(&[8, 0, 0x2b, 1, 2, 0xff])]);
    check_malformed(
        &six,
        &[
            "",
            "08:00:2b:01:02",
            "08:00:2b:01:02:03:04:05",
            "08-00-2b-01-02-03",
            "08:00:2b:01:02:0g",
            "8:0:2b:1:2:3",
        ],
    );
    let eight = To::new(PgType::Macaddr8);
    assert_eq!(eight.values(&texts(&["08:00:2b:01:02:03:04:05"])), [bytes(&[8, 0, 0x2b, 1, 2, 3, 4, 5])]);
    check_malformed(&eight, &["08:00:2b:01:02:03"]);
}

#[test]
fn places_of_rows() {
    let fields = Fields::from(vec![
        Field::new("block", DataType::UInt32, true),
        Field::new("offset", DataType::UInt16, true),
    ]);
    let blocks = Arc::new(UInt32Array::from(vec![Some(u32::MAX), Some(1), None]));
    let offsets = Arc::new(UInt16Array::from(vec![Some(u16::MAX), None, Some(2)]));
    let array: ArrayRef = Arc::new(StructArray::new(fields, vec![blocks, offsets], None));
    let null = Err(ValueError::NullPart);
    assert_eq!(To::new(PgType::Tid).values(&array), [bytes(&[0xff; 6]), null.clone(), null]);
}

#[test]
fn text_that_only_the_server_reads() {
    let tsvector = To::new(PgType::ServerText { warn: true });
    for text in [DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View] {
        assert_eq!(kind(&tsvector, &text), Some(RefusalKind::NeedsServer));
        for pg_type in [
            PgType::Bool,
            PgType::Int4,
            PgType::Bytea,
            PgType::Interval { has_infinities: true },
            PgType::Money { fraction_digits: 2 },
            PgType::Tid,
        ] {
            let to = To::new(pg_type);
            assert_eq!(kind(&to, &text), Some(RefusalKind::NeedsCheck), "{to:?}");
            assert_eq!(kind(&to.clone().check(), &text), Some(RefusalKind::NeedsServer), "{to:?}");
        }
    }
    assert_eq!(kind(&tsvector.round(), &DataType::Int32), Some(RefusalKind::Mismatch));
}

/// `varchar_input` silently cuts excess blanks, and reports its own error for other excess characters.
#[test]
fn blanks_that_a_varchar_would_lose() {
    let texts = ["ab   ", "ab ", "   ", "    ", "äöü ", "äö ", "abcd", "abcd ", "abc\t", ""];
    let lost = ["ab   ", "    ", "äöü "];
    let mut to = To::new(PgType::Text).modifier(7);
    to.declared.base_oid = oid::VARCHAR;
    let array: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
    let expected = |is_lost: bool, text: &str| match is_lost {
        true => Err(ValueError::LostBlanks),
        false => Ok(Some(text.as_bytes().to_vec())),
    };
    let of_varchar: Vec<_> = texts.iter().map(|text| expected(lost.contains(text), text)).collect();
    let all: Vec<_> = texts.iter().map(|text| expected(false, text)).collect();
    assert_eq!(to.values(&array), of_varchar);
    assert_eq!(to.clone().check().values(&array), of_varchar);
    assert_eq!(to.clone().round().values(&array), all);
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values(texts));
    assert_eq!(to.clone().check().values(&bytes), of_varchar);
    // Without a length, and as char(n), whose blanks have no meaning.
    assert_eq!(to.clone().modifier(-1).values(&array), all);
    to.declared.base_oid = oid::BPCHAR;
    to.pg_type = PgType::Bpchar;
    assert_eq!(to.values(&array), all);
}

/// `xml_recv` trusts the declared encoding: the two bytes of é once became two characters of ISO 8859-1.
#[test]
fn xml_that_declares_another_encoding() {
    let mut to = To::new(PgType::Text);
    to.declared.base_oid = oid::XML;
    for sound in [
        "<a>é</a>",
        "<?xml version=\"1.0\"?><a encoding=\"latin1\"/>",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><a>é</a>",
        "<?xml version='1.0' encoding = 'utf8' standalone='yes'?><a/>",
        "<?xml-stylesheet encoding='latin1'?><a/>",
        "",
    ] {
        assert_eq!(to.values(&texts(&[sound])), [bytes(sound.as_bytes())], "{sound}");
    }
    for wrong in [
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>é</a>",
        "<?xml version='1.0' encoding='latin1' standalone='no'?><a/>",
        "<?xml version='1.0' encoding=latin1?><a/>",
        "<?xml version='1.0' encoding",
    ] {
        // Rounding is for digits only.
        for to in [to.clone(), to.clone().round()] {
            let found = to.values(&texts(&[wrong])).remove(0);
            assert!(matches!(found, Err(ValueError::Malformed(_))), "{wrong}: {found:?}");
        }
    }
    assert!(To::new(PgType::Text).values(&texts(&["<?xml encoding='latin1'?>"])).remove(0).is_ok());
}

/// Of {"a":1,"a":2} jsonb kept the 2, and of -0.0 the 0.0.
#[test]
fn json_that_jsonb_does_not_keep() {
    let array = texts(&[r#"{"a":1,"a":2}"#, r#"{"a":-0.0}"#, r#"{"a":0}"#]);
    let sound = bytes(b"\x01{\"a\":0}");
    let expected = [Err(ValueError::DuplicateKey), Err(ValueError::Invalid("minus zero")), sound];
    let to = To::new(PgType::Jsonb);
    assert_eq!(to.values(&array), expected);
    let of_bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values([r#"{"a":1,"a":2}"#]));
    assert_eq!(to.clone().check().values(&of_bytes), expected[..1]);
    // With rounding allowed, the user accepts the server's result. json keeps the text.
    assert!(to.round().values(&array).iter().all(Result::is_ok));
    assert!(To::new(PgType::Json).values(&array).iter().all(Result::is_ok));
}
