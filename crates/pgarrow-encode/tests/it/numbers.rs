//! Numbers at the limits of their types, and one beyond.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{
    ArrayRef, Decimal32Array, Decimal64Array, Decimal128Array, Decimal256Array, Float16Array, Float32Array,
    Float64Array, Int32Array, Int64Array, PrimitiveArray, StringArray, UInt64Array,
};
use arrow_buffer::i256;
use arrow_schema::DataType;
use pgarrow_encode::{RefusalKind, ValueError};
use pgarrow_types::{NumericType, PgType};

use crate::support::{To, text_of};

type Value = Result<Option<Vec<u8>>, ValueError>;

/// Every integer at the limit of some type, and its neighbours.
fn edges() -> Vec<i128> {
    let ends = [7, 8, 15, 16, 31, 32, 63, 64].map(|bits| 1_i128 << bits);
    let around = |end: i128| [end - 1, end, end + 1, -end - 1, -end, -end + 1];
    let mut edges: Vec<i128> = ends.into_iter().flat_map(around).chain([0]).collect();
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// All edges that the type holds, and a NULL.
fn edges_of<A: ArrowPrimitiveType<Native: TryFrom<i128>>>() -> ArrayRef {
    let values = edges().into_iter().filter_map(|value| A::Native::try_from(value).ok());
    Arc::new(PrimitiveArray::<A>::from_iter([None].into_iter().chain(values.map(Some))))
}

#[test]
fn integers_fit_or_are_out_of_range() {
    // Bytes on the wire, and the smallest and largest value.
    let targets = [
        (PgType::Int2, 2, i16::MIN.into(), i16::MAX.into()),
        (PgType::Int4, 4, i32::MIN.into(), i32::MAX.into()),
        (PgType::Int8, 8, i64::MIN.into(), i64::MAX.into()),
        (PgType::Oid, 4, 0, u32::MAX.into()),
        (PgType::Xid8, 8, 0, u64::MAX.into()),
        (PgType::PgLsn, 8, 0, u64::MAX.into()),
    ];
    let decimals = |values: Vec<i128>| -> ArrayRef {
        Arc::new(Decimal128Array::from(values).with_precision_and_scale(38, 0).unwrap())
    };
    let large = edges().into_iter().map(i256::from_i128).chain([i256::MAX, i256::MIN]).collect::<Vec<_>>();
    let sources = [
        edges_of::<Int8Type>(),
        edges_of::<Int16Type>(),
        edges_of::<Int32Type>(),
        edges_of::<Int64Type>(),
        edges_of::<UInt8Type>(),
        edges_of::<UInt16Type>(),
        edges_of::<UInt32Type>(),
        edges_of::<UInt64Type>(),
        decimals(edges()),
        Arc::new(Decimal32Array::from(vec![999_999_999, -40_000]).with_precision_and_scale(9, 0).unwrap()),
        Arc::new(Decimal64Array::from(vec![1_i64 << 40, -1]).with_precision_and_scale(18, 0).unwrap()),
        Arc::new(Decimal256Array::from(large).with_precision_and_scale(76, 0).unwrap()),
    ];
    for (pg_type, width, min, max) in &targets {
        for source in &sources {
            let as_text = arrow_cast::cast(source, &DataType::Utf8).unwrap();
            let as_text = as_text.as_any().downcast_ref::<StringArray>().unwrap();
            let expected: Vec<Value> = as_text
                .iter()
                .map(|text| match text.map(|text| text.parse::<i128>().ok()) {
                    None => Ok(None),
                    Some(Some(value)) if (*min..=*max).contains(&value) => {
                        Ok(Some(value.to_be_bytes()[16 - width..].to_vec()))
                    }
                    Some(_) => Err(ValueError::OutOfRange),
                })
                .collect();
            let to = To::new(pg_type.clone());
            assert_eq!(to.clone().check().values(source), expected, "{} to {pg_type:?}", source.data_type());
            let all_fit = expected.iter().all(Result::is_ok);
            match to.refusal(source.data_type()) {
                None => assert!(all_fit, "{} to {pg_type:?}", source.data_type()),
                Some(refusal) => {
                    assert_eq!(refusal.kind, RefusalKind::NeedsCheck);
                    let is_decimal = source.data_type().is_decimal();
                    assert!(!all_fit || is_decimal, "{} to {pg_type:?}", source.data_type());
                }
            }
        }
        for none in [DataType::Float64, DataType::Boolean, DataType::Decimal128(9, 2), DataType::Date32] {
            let refusal = To::new(pg_type.clone()).round().refusal(&none).unwrap();
            assert_eq!(refusal.kind, RefusalKind::Mismatch, "{none}");
        }
    }
}

fn be4(value: f32) -> Value {
    Ok(Some(value.to_bits().to_be_bytes().to_vec()))
}

fn be8(value: f64) -> Value {
    Ok(Some(value.to_bits().to_be_bytes().to_vec()))
}

/// NaNs with unusual bits, which arithmetic would lose.
const NANS: [u32; 3] = [0x7f80_0001, 0xffc0_0123, 0x7fff_ffff];

#[test]
fn floats_of_the_same_width_keep_every_bit() {
    let usual = [0.0, -0.0, f32::MIN, f32::MAX, f32::MIN_POSITIVE, 1e-45, f32::INFINITY, f32::NEG_INFINITY];
    let values: Vec<f32> = usual.into_iter().chain(NANS.map(f32::from_bits)).collect();
    let array: ArrayRef = Arc::new(Float32Array::from(values.clone()));
    assert_eq!(To::new(PgType::Float4).values(&array), values.iter().map(|v| be4(*v)).collect::<Vec<_>>());

    let usual = [0.0, -0.0, f64::MIN, f64::MAX, 5e-324, f64::INFINITY, f64::NEG_INFINITY];
    let nans = [0x7ff0_0000_0000_0001, 0xfff8_0000_0000_0042].map(f64::from_bits);
    let values: Vec<f64> = usual.into_iter().chain(nans).collect();
    let array: ArrayRef = Arc::new(Float64Array::from(values.clone()));
    assert_eq!(To::new(PgType::Float8).values(&array), values.iter().map(|v| be8(*v)).collect::<Vec<_>>());
}

#[test]
fn floats_that_are_wider_or_narrower() {
    type Half = <Float16Type as ArrowPrimitiveType>::Native;
    let halves = [0.5, -0.0, 65504.0, f32::INFINITY].map(Half::from_f32);
    let halves: ArrayRef = Arc::new(Float16Array::from(halves.to_vec()));
    let same = [be4(0.5), be4(-0.0), be4(65504.0), be4(f32::INFINITY)];
    assert_eq!(To::new(PgType::Float4).values(&halves), same);
    let same = [be8(0.5), be8(-0.0), be8(65504.0), be8(f64::INFINITY)];
    assert_eq!(To::new(PgType::Float8).values(&halves), same);
    let singles: ArrayRef = Arc::new(Float32Array::from(vec![0.1, f32::MAX]));
    let same = [be8(f64::from(0.1_f32)), be8(f64::from(f32::MAX))];
    assert_eq!(To::new(PgType::Float8).values(&singles), same);

    let doubles: ArrayRef =
        Arc::new(Float64Array::from(vec![0.5, 0.1, 1e300, 1e-300, f64::NEG_INFINITY, -0.0, 3.5e38]));
    let to = To::new(PgType::Float4);
    assert_eq!(to.refusal(&DataType::Float64).unwrap().kind, RefusalKind::NeedsCheck);
    let out_of_range = || Err(ValueError::OutOfRange);
    let lost = || Err(ValueError::LostDigits);
    let infinite = || be4(f32::NEG_INFINITY);
    assert_eq!(
        to.clone().check().values(&doubles),
        [be4(0.5), lost(), out_of_range(), out_of_range(), infinite(), be4(-0.0), out_of_range()]
    );
    assert_eq!(
        to.clone().round().values(&doubles),
        [be4(0.5), be4(0.1), out_of_range(), out_of_range(), infinite(), be4(-0.0), out_of_range()]
    );
    let nan: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN]));
    let [Ok(Some(nan))] = &to.check().values(&nan)[..] else { panic!("NaN is a float4") };
    assert!(f32::from_be_bytes(nan[..].try_into().unwrap()).is_nan());
}

#[test]
fn integers_as_floats() {
    let array: ArrayRef = Arc::new(Int64Array::from(vec![1 << 53, (1 << 53) + 1, i64::MIN, i64::MAX]));
    let to = To::new(PgType::Float8);
    assert_eq!(to.refusal(&DataType::Int64).unwrap().kind, RefusalKind::NeedsCheck);
    let (two53, min) = (be8(9_007_199_254_740_992.0), be8(-9_223_372_036_854_775_808.0));
    let lost = || Err(ValueError::LostDigits);
    assert_eq!(to.clone().check().values(&array), [two53.clone(), lost(), min.clone(), lost()]);
    let max = be8(9_223_372_036_854_775_808.0);
    assert_eq!(to.clone().round().values(&array), [two53.clone(), two53, min, max]);

    let array: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX, 1 << 63]));
    let half = || be4(9_223_372_036_854_775_808.0);
    assert_eq!(To::new(PgType::Float4).check().values(&array), [lost(), half()]);
    assert_eq!(To::new(PgType::Float4).round().values(&array), [be4(18_446_744_073_709_551_616.0), half()]);

    let array: ArrayRef = Arc::new(Int32Array::from(vec![i32::MIN, i32::MAX, 16_777_217]));
    assert_eq!(to.values(&array), [be8(i32::MIN.into()), be8(i32::MAX.into()), be8(16_777_217.0)]);
    assert_eq!(To::new(PgType::Float4).check().values(&array), [be4(-2_147_483_648.0), lost(), lost()]);
    assert!(To::new(PgType::Float4).refusal(&DataType::Int32).is_some());
    assert!(To::new(PgType::Float4).refusal(&DataType::UInt16).is_none());
}

#[test]
fn decimals_as_floats_survive_the_way_back() {
    let decimals = |values: Vec<i128>, scale| -> ArrayRef {
        Arc::new(Decimal128Array::from(values).with_precision_and_scale(38, scale).unwrap())
    };
    let to = To::new(PgType::Float8);
    assert_eq!(to.refusal(&DataType::Decimal128(15, 2)).unwrap().kind, RefusalKind::NeedsCheck);
    let array =
        decimals(vec![0, 10, -1, 123_456_789_012_345_678_901_i128, 100_000_000_000_000_000_000_000], 2);
    let lost = || Err(ValueError::LostDigits);
    assert_eq!(to.clone().check().values(&array), [be8(0.0), be8(0.1), be8(-0.01), lost(), be8(1e21)]);
    let rounded = be8(1_234_567_890_123_456_789.01);
    assert_eq!(to.clone().round().values(&array), [be8(0.0), be8(0.1), be8(-0.01), rounded, be8(1e21)]);
    assert_eq!(
        To::new(PgType::Float4).check().values(&decimals(vec![1_234_567_890, 1], 9)),
        [lost(), be4(1e-9)]
    );

    let large = i256::from(10).checked_pow(70).unwrap();
    let large: ArrayRef = Arc::new(
        Decimal256Array::from(vec![large, large.wrapping_add(i256::from(1))])
            .with_precision_and_scale(76, 0)
            .unwrap(),
    );
    assert_eq!(to.clone().check().values(&large), [be8(1e70), lost()]);
    assert_eq!(to.round().values(&large), [be8(1e70), be8(1e70)]);
    assert_eq!(
        To::new(PgType::Float4).round().values(&large),
        [Err(ValueError::OutOfRange), Err(ValueError::OutOfRange)]
    );
}

/// `numeric(precision, scale)`, or `numeric`.
pub(crate) fn numeric(declared: Option<(u16, i16)>) -> To {
    To::new(PgType::Numeric(match declared {
        None => NumericType::Unconstrained,
        Some((precision, scale)) => NumericType::Declared { precision, scale },
    }))
}

/// Checks that the written values are read as these texts.
#[track_caller]
fn check_numeric(to: &To, array: &ArrayRef, expected: &[Result<&str, ValueError>]) {
    let found: Vec<_> =
        to.values(array).into_iter().map(|value| value.map(|value| text_of(&value.unwrap()))).collect();
    let expected: Vec<_> = expected.iter().map(|text| text.map(str::to_owned)).collect();
    assert_eq!(found, expected, "{to:?}");
}

#[test]
fn decimals_as_numerics() {
    let decimals = |values: Vec<i128>, precision, scale| -> ArrayRef {
        Arc::new(Decimal128Array::from(values).with_precision_and_scale(precision, scale).unwrap())
    };
    let any = numeric(None);
    let array = decimals(vec![0, 1, -1, 100, 12_345, -99_999], 5, 2);
    check_numeric(&any, &array, &["0.00", "0.01", "-0.01", "1.00", "123.45", "-999.99"].map(Ok));
    let array = decimals(vec![0, 12, -340], 5, -3);
    check_numeric(&any, &array, &["0", "12000", "-340000"].map(Ok));
    let max = 10_i128.pow(38) - 1;
    let array = decimals(vec![max, -max, 1], 38, 38);
    let nines = "0.99999999999999999999999999999999999999";
    check_numeric(
        &any,
        &array,
        &[Ok(nines), Ok(&format!("-{nines}")), Ok("0.00000000000000000000000000000000000001")],
    );
    check_numeric(&any, &decimals(vec![max], 38, 0), &[Ok(&"9".repeat(38))]);

    // numeric(5,2): values that fit, one value too large, one digit too many.
    let to = numeric(Some((5, 2)));
    assert!(to.refusal(&DataType::Decimal128(5, 2)).is_none());
    assert!(to.refusal(&DataType::Decimal128(4, 1)).is_none());
    for wider in [DataType::Decimal128(6, 2), DataType::Decimal128(5, 3), DataType::Decimal128(5, 1)] {
        assert_eq!(to.refusal(&wider).unwrap().kind, RefusalKind::NeedsCheck, "{wider}");
    }
    let (out, lost) = (Err(ValueError::OutOfRange), Err(ValueError::LostDigits));
    let array = decimals(vec![99_999, 100_000, -99_999, -100_000], 6, 2);
    check_numeric(&to.clone().check(), &array, &[Ok("999.99"), out, Ok("-999.99"), out]);
    let array = decimals(vec![1_230, 1_234, 1_235, -1_235, 999_994, 999_995, 999_990, 1_000_000], 7, 3);
    let checked = [Ok("1.23"), lost, lost, lost, lost, lost, Ok("999.99"), out];
    check_numeric(&to.clone().check(), &array, &checked);
    let rounded = ["1.23", "1.23", "1.24", "-1.24", "999.99"].map(Ok);
    check_numeric(&to.clone().round(), &array, &[&rounded[..], &[out, Ok("999.99"), out]].concat());
    check_numeric(&to.clone().check(), &decimals(vec![12], 2, -1), &[Ok("120.00")]);
    check_numeric(&to.clone().check(), &decimals(vec![12], 2, -2), &[out]);

    // Digits before the point are rounded away, and a point to the left of all digits.
    let to = numeric(Some((3, -6)));
    let array = decimals(vec![1_000_000, 1_499_999, 1_500_000, 999_000_000, 999_500_000], 38, 0);
    check_numeric(&to.clone().check(), &array, &[Ok("1000000"), lost, lost, Ok("999000000"), lost]);
    check_numeric(&to.round(), &array, &[Ok("1000000"), Ok("1000000"), Ok("2000000"), Ok("999000000"), out]);
    let to = numeric(Some((3, 7)));
    let array = decimals(vec![999, 1_000, 0], 7, 7);
    check_numeric(&to.clone().check(), &array, &[Ok("0.0000999"), out, Ok("0.0000000")]);
    check_numeric(&to.clone().check(), &decimals(vec![0, 1], 2, 2), &[Ok("0.0000000"), out]);
    // All digits are behind the kept ones.
    let array = decimals(vec![max, -max, 0], 38, 38);
    let to = numeric(Some((5, -5)));
    check_numeric(&to.clone().check(), &array, &[lost, lost, Ok("0")]);
    check_numeric(&to.round(), &array, &["0", "0", "0"].map(Ok));
}

#[test]
fn decimals_of_256_bits_and_integers_as_numerics() {
    let large = i256::from(10).checked_pow(76).unwrap().wrapping_sub(i256::from(1));
    let nines = "9".repeat(76);
    let decimals = |values: Vec<i256>, scale| -> ArrayRef {
        Arc::new(Decimal256Array::from(values).with_precision_and_scale(76, scale).unwrap())
    };
    let array = decimals(vec![large, large.wrapping_neg(), i256::from(5)], 0);
    check_numeric(&numeric(None), &array, &[Ok(&nines), Ok(&format!("-{nines}")), Ok("5")]);
    let array = decimals(vec![large, i256::from(-5)], 76);
    let five = format!("-0.{}5", "0".repeat(75));
    check_numeric(&numeric(None), &array, &[Ok(&format!("0.{nines}")), Ok(&five)]);
    let to = numeric(Some((76, 75)));
    check_numeric(&to.clone().check(), &array, &[Err(ValueError::LostDigits), Err(ValueError::LostDigits)]);
    let one = format!("1.{}", "0".repeat(75));
    let small = format!("-0.{}1", "0".repeat(74));
    check_numeric(&to.round(), &array, &[Ok(&one), Ok(&small)]);

    let array: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX, 0, 10_000]));
    let all = ["-9223372036854775808", "9223372036854775807", "0", "10000"].map(Ok);
    check_numeric(&numeric(None), &array, &all);
    assert!(numeric(Some((19, 0))).refusal(&DataType::Int64).is_none());
    assert_eq!(numeric(Some((18, 0))).refusal(&DataType::Int64).unwrap().kind, RefusalKind::NeedsCheck);
    assert_eq!(numeric(Some((20, 2))).refusal(&DataType::Int64).unwrap().kind, RefusalKind::NeedsCheck);
    let array: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX, 999]));
    check_numeric(&numeric(Some((4, 1))).check(), &array, &[Err(ValueError::OutOfRange), Ok("999.0")]);
    let small: ArrayRef = Arc::new(Decimal32Array::from(vec![-123]).with_precision_and_scale(9, 1).unwrap());
    check_numeric(&numeric(None), &small, &[Ok("-12.3")]);
    let small: ArrayRef = Arc::new(Decimal64Array::from(vec![-123]).with_precision_and_scale(18, 4).unwrap());
    check_numeric(&numeric(None), &small, &[Ok("-0.0123")]);
}

#[test]
fn texts_as_numerics() {
    let texts = |texts: &[&str]| -> ArrayRef { Arc::new(StringArray::from(texts.to_vec())) };
    let (out, lost) = (Err(ValueError::OutOfRange), Err(ValueError::LostDigits));
    let long = format!("{}.{}", "7".repeat(131_072), "3".repeat(16_383));
    let same =
        ["0", "0.00", "-1", "0.000067", "12345.678901234567890", "NaN", "Infinity", "-Infinity", &long];
    check_numeric(&numeric(None), &texts(&same), &same.map(Ok));
    let array = texts(&["+5", ".5", "5.", "-0", "-0.0", "00012.50", "1e3", "1.50E-3", "12e+1", "1.5e0"]);
    let read = ["5", "0.5", "5", "0", "0.0", "12.50", "1000", "0.00150", "120", "1.5"];
    check_numeric(&numeric(None), &array, &read.map(Ok));
    let too_long = format!("1{}", "0".repeat(131_072));
    let too_small = format!("0.{}1", "0".repeat(16_383));
    let array = texts(&[&too_long, &too_small, "1e131072", "1e-16384", "0e999999999", "1e1999999999"]);
    check_numeric(&numeric(None), &array, &[out, lost, out, lost, Ok("0"), out]);
    for malformed in
        ["", "-", ".", "e5", "1e", "1e+", "1.2.3", "1,5", " 1", "1 ", "nan", "inf", "0x1F", "--1", "１"]
    {
        let found = numeric(None).values(&texts(&[malformed]));
        assert!(matches!(found[..], [Err(ValueError::Malformed(_))]), "{malformed:?}: {found:?}");
    }

    let to = numeric(Some((10, 2)));
    assert_eq!(to.refusal(&DataType::Utf8).unwrap().kind, RefusalKind::NeedsCheck);
    let nines = format!("0.{}", "9".repeat(60));
    let zeros = format!("1.5{}", "0".repeat(60));
    let array = texts(&["1.5", "1.005", "99999999.99", "100000000", "NaN", "Infinity", &nines, &zeros]);
    check_numeric(
        &to.clone().check(),
        &array,
        &[Ok("1.50"), lost, Ok("99999999.99"), out, Ok("NaN"), out, lost, Ok("1.50")],
    );
    let rounded = [Ok("1.50"), Ok("1.01"), Ok("99999999.99"), out, Ok("NaN"), out, Ok("1.00"), Ok("1.50")];
    check_numeric(&to.round(), &array, &rounded);
    // A carry through all 45 digits.
    let array = texts(&[&format!("{}.5", "9".repeat(45)), &format!("{}.4", "9".repeat(45))]);
    let (one, nines) = (format!("1{}", "0".repeat(45)), "9".repeat(45));
    check_numeric(&numeric(Some((46, 0))).round(), &array, &[Ok(&one), Ok(&nines)]);
    check_numeric(&numeric(Some((45, 0))).round(), &array, &[out, Ok(&nines)]);
}

#[test]
fn floats_as_numerics_are_rounded_to_their_shortest_digits() {
    for conversions in [numeric(None), numeric(None).check()] {
        assert_eq!(conversions.refusal(&DataType::Float64).unwrap().kind, RefusalKind::NeedsRound);
    }
    let array: ArrayRef =
        Arc::new(Float64Array::from(vec![0.1, -2.5, 1e20, f64::NAN, f64::NEG_INFINITY, 1e-7]));
    let read = ["0.1", "-2.5", "100000000000000000000", "NaN", "-Infinity", "0.0000001"];
    check_numeric(&numeric(None).round(), &array, &read.map(Ok));
    let array: ArrayRef = Arc::new(Float32Array::from(vec![0.1, 16_777_216.0]));
    check_numeric(&numeric(Some((10, 2))).round(), &array, &[Ok("0.10"), Ok("16777216.00")]);
}

#[test]
fn money_is_a_count_of_its_smallest_unit() {
    let money = |fraction_digits| To::new(PgType::Money { fraction_digits });
    let decimals = |values: Vec<i128>, precision, scale| -> ArrayRef {
        Arc::new(Decimal128Array::from(values).with_precision_and_scale(precision, scale).unwrap())
    };
    let units = |units: i64| -> Value { Ok(Some(units.to_be_bytes().to_vec())) };
    let (out, lost) = (Err(ValueError::OutOfRange), Err(ValueError::LostDigits));
    let (min, max) = (i128::from(i64::MIN), i128::from(i64::MAX));
    let array = decimals(vec![min, max, min - 1, max + 1, 0], 19, 2);
    let same = [units(i64::MIN), units(i64::MAX), out.clone(), out.clone(), units(0)];
    assert_eq!(money(2).values(&array), same);
    assert_eq!(money(0).check().values(&decimals(vec![150, 100], 5, 2)), [lost, units(1)]);
    assert_eq!(
        money(0).round().values(&decimals(vec![150, -150, 149], 5, 2)),
        [units(2), units(-2), units(1)]
    );
    assert_eq!(money(3).check().values(&decimals(vec![1, -7], 5, 0)), [units(1_000), units(-7_000)]);
    assert_eq!(money(2).refusal(&DataType::Decimal128(20, 2)).unwrap().kind, RefusalKind::NeedsCheck);
    assert_eq!(money(2).refusal(&DataType::Decimal128(19, 3)).unwrap().kind, RefusalKind::NeedsCheck);
    assert_eq!(money(2).round().refusal(&DataType::Int64).unwrap().kind, RefusalKind::Mismatch);
    // 1.00 and a half more, in 256 bits.
    let one = i256::from(10).checked_pow(70).unwrap();
    let half = i256::from(5).checked_mul(i256::from(10).checked_pow(67).unwrap()).unwrap();
    let array: ArrayRef = Arc::new(
        Decimal256Array::from(vec![one, one.wrapping_add(half), i256::from(-1)])
            .with_precision_and_scale(76, 70)
            .unwrap(),
    );
    assert_eq!(
        money(2).check().values(&array),
        [units(100), Err(ValueError::LostDigits), Err(ValueError::LostDigits)]
    );
    assert_eq!(money(2).round().values(&array), [units(100), units(101), units(0)]);
}
