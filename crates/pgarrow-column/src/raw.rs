//! The crate's one unsafe module.
//!
//! Everything else is safe code, and measured: a checked slice of constant size costs one comparison for each
//! value, which the processor predicts.

#![expect(unsafe_code, reason = "skips the second UTF-8 validation of a batch, see `utf8_array`")]

use arrow_array::StringArray;
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

use crate::error::{RowError, ValueError};

/// A string array over `values`, cut at `offsets`, after one pass that proves it is UTF-8.
///
/// `offsets` starts at 0, does not decrease and ends at `values.len()`: checked here.
///
/// # Errors
///
/// [`ValueError::Utf8`] with the first row that is not UTF-8.
pub(crate) fn utf8_array(
    offsets: Vec<i32>,
    values: Vec<u8>,
    nulls: Option<NullBuffer>,
) -> Result<StringArray, RowError> {
    check_utf8(&offsets, &values)?;
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    // SAFETY: `check_utf8` proved that `values` is UTF-8 and that no offset lies inside a character,
    //   and that offsets are within `values`; `OffsetBuffer::new` panics unless they do not decrease.
    //   A null buffer of another length than the offsets would be a bug of the column; it is checked
    //   in debug builds by the constructor.
    // GAIN: the checked constructor validates with the standard library's scalar code: on text that
    //   is not ASCII that pass costs more than the decoding. See the workload `mixed` in benches/.
    Ok(unsafe { StringArray::new_unchecked(offsets, Buffer::from_vec(values), nulls) })
}

/// Proves that every value is UTF-8: the whole buffer is, and no value starts inside a character.
fn check_utf8(offsets: &[i32], values: &[u8]) -> Result<(), RowError> {
    if offsets.last().copied().and_then(|end| usize::try_from(end).ok()) != Some(values.len()) {
        return Err(RowError { row: 0, cause: ValueError::BatchTooLarge });
    }
    if values.is_ascii() {
        return Ok(());
    }
    let starts_inside_character = |offset: &i32| {
        let byte = usize::try_from(*offset).ok().and_then(|at| values.get(at));
        // 10xxxxxx continues a character.
        byte.is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000)
    };
    if simdutf8::basic::from_utf8(values).is_ok() && !offsets.iter().any(starts_inside_character) {
        return Ok(());
    }
    // Some value is not UTF-8: find it, for the error.
    let row = offsets.windows(2).position(|ends| {
        let range = ends.first().zip(ends.last());
        let range = range.and_then(|(a, b)| Some(usize::try_from(*a).ok()?..usize::try_from(*b).ok()?));
        range.and_then(|range| values.get(range)).is_none_or(|value| std::str::from_utf8(value).is_err())
    });
    Err(RowError { row: row.unwrap_or(0), cause: ValueError::Utf8 })
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;
    use proptest::prelude::*;

    use super::*;

    /// The same without unsafe code: the constructor that checks everything.
    fn twin(offsets: Vec<i32>, values: Vec<u8>, nulls: Option<NullBuffer>) -> Option<StringArray> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        StringArray::try_new(offsets, Buffer::from_vec(values), nulls).ok()
    }

    /// Pieces of text and of other bytes, cut between and inside characters.
    fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let text = "[ -~]{0,40}|[a-zäß日本🦀\u{0}\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}]{0,20}";
        let text = text.prop_map(String::into_bytes);
        let half = proptest::sample::select(vec![
            b"\xc3".to_vec(),
            b"\xa9".to_vec(),
            b"\xe2\x82".to_vec(),
            b"\xac".to_vec(),
            b"\xf0\x9f".to_vec(),
            b"\xa6\x80".to_vec(),
            b"\xc0\x80".to_vec(),
            b"\xed\xa0\x80".to_vec(),
            b"\xf4\x90\x80\x80".to_vec(),
            b"\xff".to_vec(),
        ]);
        proptest::collection::vec(prop_oneof![8 => text, 1 => half], 0..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_not_checked_again_is_what_the_checking_twin_makes(
            pieces in pieces(),
            n_together in 1..4_usize,
            nulls in proptest::collection::vec(any::<bool>(), 40),
        ) {
            let mut offsets = vec![0];
            let mut bytes = Vec::new();
            for together in pieces.chunks(n_together) {
                bytes.extend(together.concat());
                offsets.push(bytes.len() as i32);
            }
            let nulls = NullBuffer::from(nulls[..offsets.len() - 1].to_vec());
            let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
            let ours = utf8_array(offsets.clone(), bytes.clone(), nulls.clone());
            prop_assert_eq!(ours.ok(), twin(offsets, bytes, nulls));
        }
    }

    fn array(values: &[&[u8]]) -> Result<StringArray, RowError> {
        let mut offsets = vec![0];
        let mut bytes = Vec::new();
        for value in values {
            bytes.extend_from_slice(value);
            offsets.push(bytes.len() as i32);
        }
        utf8_array(offsets, bytes, None)
    }

    #[test]
    fn text_of_any_script_passes() {
        let values = ["", "plain", "naïve", "日本語", "🦀", ""];
        let bytes: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        let array = array(&bytes).unwrap();
        assert_eq!(array.iter().flatten().collect::<Vec<_>>(), values);
        array.to_data().validate_full().unwrap();
    }

    /// The two halves of one character in neighbouring rows are valid UTF-8 together and invalid alone.
    #[test]
    fn a_character_cut_between_rows_is_found() {
        let error = array(&[b"ok", b"caf\xc3", b"\xa9"]).unwrap_err();
        assert_eq!(error, RowError { row: 1, cause: ValueError::Utf8 });
    }

    #[test]
    fn the_first_bad_row_is_named() {
        for bad in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82"] {
            let error = array(&[b"a", "é".as_bytes(), bad, b"\xfe"]).unwrap_err();
            assert_eq!(error, RowError { row: 2, cause: ValueError::Utf8 });
        }
    }
}
