//! Columns that read stored values, beside the same columns that read values as COPY sends them.

use pgarrow_types::{NumericType, PgType, StoredAttribute, StoredForm};
use proptest::prelude::*;

use crate::pages::{Page, Table, attribute, number, text};

/// A type whose stored values columns read themselves, its stored form, and some values.
fn types() -> Vec<(PgType, StoredAttribute, BoxedStrategy<Vec<u8>>)> {
    let fixed = |length: i16, align| attribute(length, align, Some(StoredForm::Bytes { length, align }));
    let days = prop_oneof![any::<i32>(), -1_000..1_000, Just(i32::MIN), Just(i32::MAX)];
    let micros = prop_oneof![any::<i64>(), -1_000..1_000_i64, Just(i64::MIN), Just(i64::MAX)];
    let within_a_day = 0..=86_400_000_000_i64;
    let numeric = |precision, scale| PgType::Numeric(NumericType::Declared { precision, scale });
    let of_numeric = || attribute(-1, 4, Some(StoredForm::Numeric));
    let bytes = |n| prop::collection::vec(any::<u8>(), n).boxed();
    let interval = (any::<i32>(), -1_000..1_000_i32, any::<i32>())
        .prop_map(|(a, b, c)| [&i64::from(a).to_le_bytes()[..], &b.to_le_bytes(), &c.to_le_bytes()].concat());
    vec![
        (PgType::Int2, number(2), bytes(2)),
        (PgType::Int4, number(4), bytes(4)),
        (PgType::Int8, number(8), bytes(8)),
        (PgType::Oid, number(4), bytes(4)),
        (PgType::Xid8, number(8), bytes(8)),
        (PgType::Float4, number(4), bytes(4)),
        (PgType::Float8, number(8), bytes(8)),
        (PgType::Money { fraction_digits: 2 }, number(8), bytes(8)),
        (PgType::Date, number(4), days.prop_map(|days| days.to_le_bytes().to_vec()).boxed()),
        (PgType::Timestamp, number(8), micros.prop_map(|micros| micros.to_le_bytes().to_vec()).boxed()),
        (PgType::Time, number(8), within_a_day.prop_map(|micros| micros.to_le_bytes().to_vec()).boxed()),
        (PgType::Bool, fixed(1, 1), (0..=2_u8).prop_map(|byte| vec![byte.min(1)]).boxed()),
        (PgType::Uuid, fixed(16, 1), bytes(16)),
        (
            PgType::Interval { has_infinities: true },
            attribute(16, 8, Some(StoredForm::Interval)),
            interval.boxed(),
        ),
        (PgType::Text, text(), "[a-zé日]{0,30}".prop_map(String::into_bytes).boxed()),
        (PgType::Bpchar, text(), "[a-z]{1,3} {0,9}".prop_map(String::into_bytes).boxed()),
        (PgType::Bytea, text(), prop::collection::vec(any::<u8>(), 0..100).boxed()),
        (numeric(15, 2), of_numeric(), short_numeric().boxed()),
        (numeric(38, 10), of_numeric(), short_numeric().boxed()),
        (numeric(50, 3), of_numeric(), short_numeric().boxed()),
        (PgType::Numeric(NumericType::Unconstrained), of_numeric(), short_numeric().boxed()),
    ]
}

/// `NumericShort`: sign, dscale and weight in 16 bits, then digits.
fn short_numeric() -> impl Strategy<Value = Vec<u8>> {
    let digit = prop_oneof![0..10_000_u16, Just(0), Just(9_999), (0..100_u16).prop_map(|d| 100 * d)];
    let wrong = prop_oneof![19 => 0..10_000_u16, 1 => any::<u16>()];
    let digits = prop_oneof![prop::collection::vec(digit, 0..4), prop::collection::vec(wrong, 0..7)];
    (any::<bool>(), 0..12_u16, -3..4_i16, digits).prop_map(|(is_negative, dscale, weight, digits)| {
        let header = 0x8000 | u16::from(is_negative) << 13 | dscale << 7 | weight as u16 & 0x7f;
        std::iter::once(header).chain(digits).flat_map(u16::to_le_bytes).collect()
    })
}

/// A row of some values, or NULLs.
fn data(attribute: &StoredAttribute, values: &[Option<Vec<u8>>]) -> (Option<Vec<u8>>, Vec<u8>) {
    let (mut bytes, mut nulls) = (Vec::new(), vec![0_u8; values.len().div_ceil(8)]);
    for (index, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        nulls[index / 8] |= 1 << (index % 8);
        if attribute.length == -1 {
            bytes.push((value.len() as u8 + 1) << 1 | 1);
        } else {
            bytes.resize(bytes.len().next_multiple_of(attribute.align.into()), 0);
        }
        bytes.extend(value);
    }
    (values.contains(&None).then_some(nulls), bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]
    /// In exact batches all values are read as COPY sends them. Values that are refused there are refused
    /// here.
    #[test]
    fn stored_values_are_what_is_sent_of_them(
        (pg_type, attribute, rows) in prop::sample::select((0..types().len()).collect::<Vec<_>>()).prop_flat_map(|index| {
            let (pg_type, attribute, value) = types().swap_remove(index);
            let value = prop_oneof![9 => value.prop_map(Some), 1 => Just(None)];
            let row = [value.clone(), value];
            (Just(pg_type), Just(attribute), prop::collection::vec(row, 1..40))
        }),
        no_nulls in any::<bool>(),
    ) {
        let mut page = Page::new(1);
        let mut n_rows = 0;
        for row in &rows {
            if no_nulls && row.contains(&None) {
                continue;
            }
            let (nulls, data) = data(&attribute, row);
            page.tuple(2, nulls.as_deref(), &data);
            n_rows += 1;
        }
        let attributes = vec![attribute.clone(), attribute];
        let mut table = Table::new(attributes, vec![(0, pg_type.clone()), (1, pg_type)]);
        let stored = table.read(&[super::page_of(&page, 1)], 0);
        table.limits.exact = true;
        let sent = table.read(&[page], 0);
        prop_assert_eq!(&stored.rows, &sent.rows);
        prop_assert_eq!(&stored.refused, &sent.refused);
        prop_assert!(stored.rows.len() == n_rows || stored.refused == [(1, 0)]);
    }
}
