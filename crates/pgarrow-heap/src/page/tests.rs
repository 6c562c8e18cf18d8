//! The quick way to find tuples against the careful one.

use proptest::prelude::*;

use super::*;

const BLOCK: u32 = 0x0002_0007;
const VISIBLE: u16 = XMIN_COMMITTED | XMAX_INVALID;

/// A tuple of a page: bytes of data, attributes, whether it has a NULL bitmap, `t_infomask` without that.
type Made = (usize, u16, bool, u16);

fn page(tuples: &[Made]) -> Vec<u8> {
    let mut page = vec![0; PAGE_BYTES];
    let mut set = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
    let mut upper = PAGE_BYTES;
    for (index, (data_bytes, attributes, has_null, flags)) in tuples.iter().enumerate() {
        let bitmap_bytes = if *has_null { usize::from(*attributes).div_ceil(8) } else { 0 };
        let data_offset = (23 + bitmap_bytes).next_multiple_of(8);
        let length = data_offset + data_bytes;
        upper = (upper - length) / 8 * 8;
        let pointer = upper as u32 | LP_NORMAL << 15 | (length as u32) << 17;
        set(24 + 4 * index, &pointer.to_le_bytes());
        set(upper + 12, &((BLOCK >> 16) as u16).to_le_bytes());
        set(upper + 14, &(BLOCK as u16).to_le_bytes());
        set(upper + 16, &(index as u16 + 1).to_le_bytes());
        set(upper + 18, &attributes.to_le_bytes());
        set(upper + 20, &(flags | u16::from(*has_null)).to_le_bytes());
        set(upper + 22, &[data_offset as u8]);
    }
    set(10, &ALL_VISIBLE.to_le_bytes());
    set(12, &(24 + 4 * tuples.len() as u16).to_le_bytes());
    set(14, &(upper as u16).to_le_bytes());
    set(16, &8192_u16.to_le_bytes());
    set(18, &SIZE_AND_VERSION.to_le_bytes());
    page
}

fn carefully(page: &[u8], attributes_max: usize) -> Result<Vec<Tuple>, Refusal> {
    let mut found = Vec::new();
    tuples(page, BLOCK, attributes_max, |tuple| found.push(tuple)).map(|()| found)
}

/// The quick way, as far as it goes: what it finds, the careful way finds, too.
fn quickly(page: &[u8], attributes_max: usize) -> Option<()> {
    const START: u32 = 1000;
    let mut slots = [[7; 300]; 3];
    let [bases, ends, bitmaps] = &mut slots;
    let alike = alike(page, (BLOCK, START), attributes_max, (bases, ends, bitmaps))?;
    let expected = carefully(page, attributes_max).unwrap();
    assert_eq!(alike.tuples, expected.len());
    for (index, tuple) in expected.iter().enumerate() {
        assert_eq!(usize::from(tuple.number), index + 1);
        assert_eq!(tuple.attributes, alike.attributes);
        assert_eq!((bases[index], ends[index]), (START + tuple.start, START + tuple.end));
        assert_eq!(bitmaps[index], if tuple.bitmap > 0 { START + tuple.bitmap } else { 0 });
    }
    assert_eq!(alike.data_min, expected.iter().map(|tuple| tuple.end - tuple.start).min().unwrap());
    assert_eq!(alike.has_bitmaps, expected.iter().any(|tuple| tuple.bitmap > 0));
    Some(())
}

fn made() -> impl Strategy<Value = Vec<Made>> {
    // Pages without any NULL are found in a way of their own.
    let tuple = |attributes: u16, has_nulls: bool| {
        (0..90_usize, Just(attributes), any::<bool>().prop_map(move |any| any && has_nulls), Just(VISIBLE))
    };
    (0..20_u16, any::<bool>()).prop_flat_map(move |(attributes, has_nulls)| {
        prop::collection::vec(tuple(attributes, has_nulls), 1..60)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_usual_page_is_found_quickly(made in made()) {
        prop_assert!(quickly(&page(&made), 20).is_some());
    }

    /// A page with anything else is left to the careful way, or found to be the same.
    #[test]
    fn a_page_with_changed_bytes_is_the_same_or_left(
        made in made(),
        changes in prop::collection::vec((0..4_u8, any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut page = page(&made);
        let lower = 24 + 4 * made.len();
        let first = usize::from(u16::from_le_bytes([page[14], page[15]]));
        for (place, at, value) in changes {
            let at = match place {
                0 => at.index(24),
                1 => 24 + at.index(lower - 24),
                _ => first + at.index(PAGE_BYTES - first),
            };
            page[at] ^= value;
        }
        let _ = quickly(&page, 20);
    }
}

/// Every bit of the header, of a line pointer and of a tuple's header, one after the other.
#[test]
fn a_page_with_any_bit_changed_is_the_same_or_left() {
    for has_null in [true, false] {
        any_bit_changed(&page(&[
            (40, 9, has_null, VISIBLE),
            (30, 9, false, VISIBLE),
            (20, 9, has_null, VISIBLE),
        ]));
    }
}

fn any_bit_changed(good: &[u8]) {
    assert!(quickly(good, 9).is_some());
    let first = usize::from(u16::from_le_bytes([good[14], good[15]]));
    let second = usize::from(u16::from_le_bytes([good[28], good[29]]) & 0x7fff);
    let mut n_left = 0;
    for at in (0..36).chain(first..first + 32).chain(second..second + 24).chain(PAGE_BYTES - 72..PAGE_BYTES) {
        for bit in 0..8 {
            let mut changed = good.to_vec();
            changed[at] ^= 1 << bit;
            n_left += usize::from(quickly(&changed, 9).is_none());
        }
    }
    assert!(n_left > 200, "{n_left}");
}

#[test]
fn what_is_not_alike_is_left() {
    let usual = (8, 3, false, VISIBLE);
    assert!(quickly(&page(&[usual; 3]), 3).is_some());
    // Locked rows, all of them or some; another number of attributes; more than the table has.
    let locked = (8, 3, false, XMIN_COMMITTED | XMAX_LOCK_ONLY);
    assert!(quickly(&page(&[locked; 3]), 3).is_some());
    assert!(quickly(&page(&[usual, locked]), 3).is_none());
    assert!(quickly(&page(&[usual, (8, 2, false, VISIBLE)]), 3).is_none());
    assert!(quickly(&page(&[usual; 3]), 2).is_none());
    // No rows, too many, not all of a page, the first one of another page.
    assert!(quickly(&page(&[]), 3).is_none());
    assert!(quickly(&page(&[(0, 0, false, VISIBLE); TUPLES_MAX]), 3).is_some());
    let usual = page(&[usual; 3]);
    assert!(quickly(&usual[..PAGE_BYTES - 1], 3).is_none());
    assert!(quickly(&[&usual[..], &[0]].concat(), 3).is_none());
    let mut moved = usual;
    let last = PAGE_BYTES - 32;
    moved[last + 16] = 9;
    assert!(quickly(&moved, 3).is_none());
    assert_eq!(carefully(&moved, 3).unwrap().len(), 3);
    // Fewer slots than tuples.
    let slots = (&mut [0; 2][..], &mut [0; 2][..], &mut [0; 2][..]);
    assert_eq!(alike(&page(&[(8, 3, false, VISIBLE); 3]), (BLOCK, 0), 3, slots), None);
}
