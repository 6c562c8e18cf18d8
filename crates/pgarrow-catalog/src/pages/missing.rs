//! The values of attributes that older tuples lack: `attmissingval`, in COPY's binary form.

use pgarrow_protocol::Session;

use super::layout::Found;
use crate::error::CatalogError;
use crate::texts::{array_of, parsed};

/// Adds the values for tuples that are older than an attribute.
pub(super) fn add_missing(
    session: &mut Session,
    relations: &[u32],
    mut found: Vec<&mut Found>,
) -> Result<(), CatalogError> {
    let of_heap = |(relation, found): (usize, &&mut Found)| -> Vec<(usize, usize)> {
        match found.why_not.is_empty() {
            true => found.missing.iter().map(|index| (relation, *index)).collect(),
            false => Vec::new(),
        }
    };
    let wanted: Vec<(usize, usize)> = found.iter().enumerate().flat_map(of_heap).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let oids: Vec<u32> =
        wanted.iter().filter_map(|(relation, _)| relations.get(*relation).copied()).collect();
    let numbers: Vec<usize> = wanted.iter().map(|(_, index)| index + 1).collect();
    // The array of one element in binary form, so that no type is printed and parsed again.
    let sql = "SELECT r.n::pg_catalog.text, \
                 pg_catalog.encode(pg_catalog.array_send(a.attmissingval), 'hex') \
               FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.oid[]), pg_catalog.unnest($2::pg_catalog.int2[])) \
                 WITH ORDINALITY AS r(oid, attnum, n) \
               JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) r.oid \
                 AND a.attnum OPERATOR(pg_catalog.=) r.attnum";
    for row in &session.query(sql, &[Some(&array_of(&oids)), Some(&array_of(&numbers))])? {
        let number: usize = parsed(row, 0)?;
        let place = number.checked_sub(1).and_then(|place| wanted.get(place));
        let (relation, index) =
            place.ok_or(CatalogError::Unexpected("an attribute that was not asked about"))?;
        let attribute = found.get_mut(*relation).and_then(|found| found.layout.attributes.get_mut(*index));
        if let (Some(attribute), Some(array)) = (attribute, row.text(1)) {
            let value = bytes(array).and_then(|array| only_element(&array));
            attribute.missing = value.ok_or(CatalogError::Unexpected("an attmissingval of another form"))?;
        }
    }
    Ok(())
}

/// Decodes hexadecimal digits, two per byte.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    match hex.as_bytes().as_chunks() {
        (pairs, []) => pairs.iter().map(byte).collect(),
        _ => None,
    }
}

/// The element of an array of one element, as `array_send` writes it; `Some(None)` if it is NULL.
///
/// Source: `array_send` in PostgreSQL's `src/backend/utils/adt/arrayfuncs.c`: dimensions, flags, OID of the
/// element type, then length and lower bound of each dimension, then a length before each element.
fn only_element(array: &[u8]) -> Option<Option<Vec<u8>>> {
    const ONE: [u8; 4] = 1_i32.to_be_bytes();
    let (head, rest) = array.split_at_checked(20)?;
    if head.get(..4)? != ONE || head.get(12..16)? != ONE {
        return None;
    }
    let (length, element) = rest.split_at_checked(4)?;
    let length = i32::from_be_bytes(length.try_into().ok()?);
    match usize::try_from(length) {
        Ok(length) => (element.len() == length).then(|| Some(element.to_vec())),
        Err(_) => (length == -1 && element.is_empty()).then_some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An array of one dimension, without NULL, of int4.
    fn array(n_elements: i32, rest: &[u8]) -> Vec<u8> {
        let head = [1, 0, 23, n_elements, 1].map(i32::to_be_bytes).concat();
        [head.as_slice(), rest].concat()
    }

    #[test]
    fn an_element_is_found_whole_or_not_at_all() {
        assert_eq!(only_element(&array(1, &[0, 0, 0, 2, 7, 8])), Some(Some(vec![7, 8])));
        assert_eq!(only_element(&array(1, &[0, 0, 0, 0])), Some(Some(Vec::new())));
        assert_eq!(only_element(&array(1, &[0xff; 4])), Some(None));
        for (n_elements, rest) in [
            (2, &[0, 0, 0, 1, 7][..]),
            (1, &[0, 0, 0, 2, 7]),
            (1, &[0, 0, 0, 1, 7, 8]),
            (1, &[0xff; 5]),
            (1, &[0, 0]),
        ] {
            assert_eq!(only_element(&array(n_elements, rest)), None, "{n_elements} {rest:?}");
        }
        assert_eq!(only_element(&[0; 12]), None);
    }

    #[test]
    fn bytes_are_two_digits_each() {
        assert_eq!(bytes("00ff1A"), Some(vec![0, 255, 26]));
        assert_eq!(bytes(""), Some(Vec::new()));
        assert_eq!(bytes("001"), None);
        assert_eq!(bytes("zz"), None);
    }
}
