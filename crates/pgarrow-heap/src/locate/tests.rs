//! Values that may be NULL: the ways without branches against the careful one.

use proptest::prelude::*;

use super::*;

const ATTRIBUTES: [(i16, u32); 6] = [(4, 3), (-1, 3), (8, 7), (1, 0), (-1, 3), (2, 1)];

fn attribute(index: usize) -> WantedAttribute {
    let (length, mask) = ATTRIBUTES[index];
    WantedAttribute { length, mask, column: Some(index), has_missing: false }
}

/// The bytes of a tuple: its NULL bitmap at 8, if it has one, and its data at 16.
fn tuple(values: &[Option<Vec<u8>>], has_bitmap: bool) -> Vec<u8> {
    let mut bytes = vec![0; 16];
    for (index, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        bytes[8] |= 1 << index;
        let (length, mask) = ATTRIBUTES[index];
        let align = |bytes: &mut Vec<u8>| bytes.resize(bytes.len().next_multiple_of(mask as usize + 1), 0);
        match usize::try_from(length) {
            Ok(length) => {
                align(&mut bytes);
                bytes.extend(value.iter().copied().chain(std::iter::repeat(9)).take(length));
            }
            Err(_) if value.len() < 127 => {
                bytes.push((value.len() as u8 + 1) << 1 | 1);
                bytes.extend(value);
            }
            Err(_) => {
                align(&mut bytes);
                bytes.extend((4 * (value.len() as u32 + 4)).to_le_bytes());
                bytes.extend(value);
            }
        }
    }
    if !has_bitmap {
        bytes[8] = 0x55;
    }
    bytes
}

type Found = (Vec<u32>, Vec<u32>, bool, bool);

/// Locates all attributes, up to the first that is refused.
fn locate(bytes: &[u8], (bases, ends, bitmaps): (&[u32], &[u32], &[u32]), carefully: bool) -> Vec<Found> {
    let others = vec![Other { attributes: 6, number: 1 }; bases.len()];
    let mut cursors = bases.to_vec();
    let mut tuples = Located { bytes, bases, ends, bitmaps, others: &others, cursors: &mut cursors };
    let mut all = Vec::new();
    for index in 0..ATTRIBUTES.len() {
        let attribute = attribute(index);
        let mut places = Places::default();
        let located = match (attribute.fixed(), carefully) {
            (_, true) => tuples.careful(index, &attribute, true, &mut places),
            (Some(length), false) => tuples.nullable(index, &attribute, length, &mut places),
            (None, false) => tuples.nullable_varlena(index, &attribute, &mut places),
        };
        if located.is_err() {
            break;
        }
        all.push((places.starts, places.lengths, places.has_nulls, places.is_special));
    }
    all
}

fn values() -> impl Strategy<Value = (Vec<Option<Vec<u8>>>, bool)> {
    let length = prop_oneof![4 => 0..20_usize, 1 => 120..135_usize];
    let value = prop::option::of(length.prop_map(|length| vec![b'v'; length]));
    (prop::collection::vec(value, 6), any::<bool>()).prop_map(|(mut values, has_bitmap)| {
        if !has_bitmap {
            values.iter_mut().for_each(|value| *value = Some(value.take().unwrap_or_default()));
        }
        (values, has_bitmap)
    })
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_may_be_null_is_located_as_the_careful_way_does(
        rows in prop::collection::vec(values(), 0..8),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let (mut bytes, mut bases, mut ends, mut bitmaps) = (vec![0; 8], Vec::new(), Vec::new(), Vec::new());
        for (values, has_bitmap) in &rows {
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            let start = bytes.len() as u32;
            bytes.extend(tuple(values, *has_bitmap));
            bases.push(start + 16);
            ends.push(bytes.len() as u32);
            bitmaps.push(if *has_bitmap { start + 8 } else { 0 });
        }
        let is_changed = !changes.is_empty();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let carefully = locate(&bytes, (&bases, &ends, &bitmaps), true);
        let found = locate(&bytes, (&bases, &ends, &bitmaps), false);
        prop_assert_eq!(&found, &carefully);
        if !is_changed {
            prop_assert_eq!(found.len(), ATTRIBUTES.len());
            for (index, (starts, lengths, has_nulls, _)) in found.iter().enumerate() {
                let is_null = |row: usize| rows[row].0[index].is_none();
                prop_assert_eq!(*has_nulls, (0..rows.len()).any(is_null));
                for row in 0..rows.len() {
                    prop_assert_eq!(starts[row] == STORED_NULL, is_null(row));
                    if let (Some(value), true) = (&rows[row].0[index], !lengths.is_empty()) {
                        let (start, length) = (starts[row] as usize, lengths[row] as usize);
                        prop_assert_eq!(&bytes[start..start + length], &value[..]);
                    }
                }
            }
        }
    }
}
