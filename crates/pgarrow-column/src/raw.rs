//! The crate's one unsafe module.
//!
//! Everything else is safe code, and measured: a checked slice of constant size costs one comparison for each
//! value, which the processor predicts.

#![expect(unsafe_code, reason = "skips the second UTF-8 validation of a batch, see `Values::into_text`")]

use arrow_array::StringArray;
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

use crate::error::{RowError, ValueError};
use crate::spare::{Spare, capacity_bytes, make_room};

/// Bytes that are zeroed beyond those of a chunk: so many, or a quarter of those before.
const ZEROED_BYTES: usize = 32 << 10;

/// Values of variable width under construction: their bytes, cut at offsets.
///
/// Rows are checked a chunk at a time, while their bytes are in the cache. Checked rows cannot be changed,
/// only dropped: nobody outside of this module gets at their bytes and offsets.
pub(crate) struct Values {
    /// One more than the number of rows; starts at 0.
    offsets: Vec<i32>,
    /// Longer than the values: room for a chunk, zeroed once. The values end at the last offset.
    bytes: Vec<u8>,
    /// The first rows are UTF-8, each by itself. Their offsets do not decrease and are within the bytes.
    n_checked: usize,
    /// A check has failed since the last row was checked. It is repeated at the end, for the error.
    is_refused: bool,
}

/// Where the next values go.
pub(crate) struct Room<'a> {
    /// The bytes behind the last value.
    pub(crate) bytes: &'a mut [u8],
    /// The ends of the new values: to be filled, counting from `before`.
    pub(crate) ends: &'a mut [i32],
    /// Bytes of the values so far.
    pub(crate) before: usize,
}

impl Values {
    /// No values, in these buffers. The bytes in them need not be zero: they are overwritten before they are
    /// read.
    pub(crate) fn in_buffers(mut offsets: Vec<i32>, bytes: Vec<u8>) -> Self {
        offsets.clear();
        offsets.push(0);
        Self { offsets, bytes, n_checked: 0, is_refused: false }
    }

    /// All of `bytes`, cut at `offsets`, of which the first is 0.
    pub(crate) fn of(offsets: Vec<i32>, bytes: Vec<u8>) -> Self {
        Self { offsets, bytes, n_checked: 0, is_refused: false }
    }

    /// How many there are.
    pub(crate) fn rows(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Where they end; behind all checked rows, whatever the later offsets are.
    pub(crate) fn end(&self) -> usize {
        let end = self.offsets.last().max(self.offsets.get(self.n_checked));
        end.and_then(|end| usize::try_from(*end).ok()).unwrap_or(0)
    }

    /// Bytes that values may take without [`grow_to`](Self::grow_to), those so far included.
    pub(crate) fn room_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is allocated for bytes.
    pub(crate) fn has_no_buffer(&self) -> bool {
        self.bytes.capacity() == 0
    }

    pub(crate) fn allocated_bytes(&self) -> usize {
        capacity_bytes(&self.offsets) + capacity_bytes(&self.bytes)
    }

    /// Bytes of Arrow data.
    pub(crate) fn arrow_bytes(&self) -> usize {
        self.end() + size_of_val(self.offsets.as_slice())
    }

    /// Makes room for `length` bytes in all. Zeroes some more, if that is allocated anyway: not again for
    /// every chunk, and little that a small batch never uses, since each page of memory that is written to
    /// for the first time costs a microsecond or more.
    #[cold]
    pub(crate) fn grow_to(&mut self, length: usize, length_max: usize) {
        let additional = length.saturating_sub(self.bytes.len());
        make_room(&mut self.bytes, additional);
        let zeroed = length.saturating_add(ZEROED_BYTES.max(length / 4));
        let zeroed = self.bytes.capacity().min(zeroed).min(length_max).max(length);
        if zeroed > self.bytes.len() {
            self.bytes.resize(zeroed, 0);
        }
    }

    /// The same for exactly `length` bytes.
    pub(crate) fn grow_exactly_to(&mut self, length: usize) {
        if length > self.bytes.len() {
            self.reserve_exactly(length);
            self.bytes.resize(length, 0);
        }
    }

    /// Allocates for `length` bytes in all, and writes to none of them.
    pub(crate) fn reserve_exactly(&mut self, length: usize) {
        self.bytes.reserve_exact(length.saturating_sub(self.bytes.len()));
    }

    /// Allocates for an expected number of rows and bytes.
    pub(crate) fn foresee(&mut self, offsets: (&mut Spare<i32>, usize), bytes: (&mut Spare<u8>, usize)) {
        let ((spare_offsets, n_offsets), (spare_bytes, n_bytes)) = (offsets, bytes);
        spare_bytes.foresee(&mut self.bytes, n_bytes);
        spare_offsets.foresee(&mut self.offsets, n_offsets);
    }

    /// The bytes behind the last value.
    pub(crate) fn free(&mut self) -> &mut [u8] {
        let end = self.end();
        self.bytes.get_mut(end..).unwrap_or_default()
    }

    /// Appends `n_rows` rows, which `fill` writes.
    #[inline(always)]
    pub(crate) fn append<R>(&mut self, n_rows: usize, fill: impl FnOnce(Room<'_>) -> R) -> R {
        let (before, first) = (self.end(), self.offsets.len());
        make_room(&mut self.offsets, n_rows);
        self.offsets.resize(first + n_rows, 0);
        let bytes = self.bytes.get_mut(before..).unwrap_or_default();
        let ends = self.offsets.get_mut(first..).unwrap_or_default();
        fill(Room { bytes, ends, before })
    }

    /// Drops all rows behind the first `rows`.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows.saturating_add(1));
        self.n_checked = self.n_checked.min(rows);
        self.is_refused = false;
    }

    /// Checks the rows that are not checked yet, while they are in the cache. What is wrong with them shows
    /// at the end.
    pub(crate) fn check_in_cache(&mut self) {
        if !self.is_refused {
            self.is_refused = self.check().is_err();
        }
    }

    /// Whether all rows are known to be UTF-8.
    pub(crate) fn is_checked(&self) -> bool {
        self.n_checked == self.rows()
    }

    fn check(&mut self) -> Result<(), RowError> {
        let offsets = self.offsets.get(self.n_checked..).unwrap_or_default();
        check_utf8(offsets, &self.bytes).map_err(|row| {
            let cause = ValueError::Utf8;
            RowError { row: self.n_checked + row, cause }
        })?;
        self.n_checked = self.rows();
        Ok(())
    }

    /// Offsets, and the bytes up to the last of them.
    pub(crate) fn into_parts(mut self) -> (Vec<i32>, Vec<u8>) {
        self.bytes.truncate(self.end());
        (self.offsets, self.bytes)
    }

    /// A string array, once every row is checked.
    ///
    /// # Errors
    ///
    /// [`ValueError::Utf8`] with the first row that is not UTF-8.
    pub(crate) fn into_text(mut self, nulls: Option<NullBuffer>) -> Result<StringArray, RowError> {
        self.check()?;
        let n_rows = self.rows();
        if nulls.as_ref().is_some_and(|nulls| nulls.len() != n_rows) {
            return Err(RowError { row: 0, cause: ValueError::Length });
        }
        let (offsets, bytes) = self.into_parts();
        // SAFETY: `check` has looked at all rows: there is a first offset, which is 0 (see there), and none
        //   is smaller than the one before it.
        // GAIN: that pass over the offsets of a whole batch, which are out of the cache by now.
        let offsets = unsafe { OffsetBuffer::new_unchecked(ScalarBuffer::from(offsets)) };
        // SAFETY: `check` proved of all rows that they are UTF-8, each by itself, and within the bytes. Since
        //   a row was checked, its bytes and its offsets were not changed: `append` and `free` give out what
        //   is behind the last row. There are as many nulls as rows.
        // GAIN: the checked constructor validates with the standard library's scalar code: on text that
        //   is not ASCII that pass costs more than the decoding. See the workload `mixed` in benches/.
        Ok(unsafe { StringArray::new_unchecked(offsets, Buffer::from_vec(bytes), nulls) })
    }
}

/// Proves that every value is UTF-8: all of their bytes are, and no value starts inside a character. The
/// offsets do not decrease and are within the bytes. Otherwise returns the row of the first that is not.
fn check_utf8(offsets: &[i32], bytes: &[u8]) -> Result<(), usize> {
    let ends = offsets.first().zip(offsets.last());
    let ends = ends.and_then(|(a, b)| Some(usize::try_from(*a).ok()?..usize::try_from(*b).ok()?));
    let values = ends.and_then(|ends| bytes.get(ends)).ok_or(0_usize)?;
    let decreases = |pair: (&i32, &i32)| pair.0 > pair.1;
    let pairs = offsets.iter().zip(offsets.get(1..).unwrap_or_default());
    if pairs.fold(false, |any, pair| any | decreases(pair)) {
        return Err(0);
    }
    if values.is_ascii() {
        return Ok(());
    }
    let starts_inside_character = |offset: &i32| {
        let byte = usize::try_from(*offset).ok().and_then(|at| bytes.get(at));
        // 10xxxxxx continues a character.
        byte.is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000)
    };
    // What is behind the last value may be anything.
    let starts = offsets.split_last().map_or(&[][..], |(_, starts)| starts);
    let starts = starts.iter().filter(|start| Some(*start) != offsets.last());
    if simdutf8::basic::from_utf8(values).is_ok() && !starts.into_iter().any(starts_inside_character) {
        return Ok(());
    }
    // Some value is not UTF-8: find it, for the error.
    let row = offsets.windows(2).position(|ends| {
        let range = ends.first().zip(ends.last());
        let range = range.and_then(|(a, b)| Some(usize::try_from(*a).ok()?..usize::try_from(*b).ok()?));
        range.and_then(|range| bytes.get(range)).is_none_or(|value| std::str::from_utf8(value).is_err())
    });
    Err(row.unwrap_or(0))
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

    fn config() -> ProptestConfig {
        ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() }
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
        #![proptest_config(config())]

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
            let ours = Values::of(offsets.clone(), bytes.clone()).into_text(nulls.clone());
            prop_assert_eq!(ours.ok(), twin(offsets, bytes, nulls));
        }
    }

    fn append(values: &mut Values, pieces: &[Vec<u8>]) {
        let bytes = pieces.concat();
        values.grow_to(values.end() + bytes.len(), usize::MAX);
        values.append(pieces.len(), |room| {
            room.bytes[..bytes.len()].copy_from_slice(&bytes);
            let mut end = room.before;
            for (slot, piece) in room.ends.iter_mut().zip(pieces) {
                end += piece.len();
                *slot = end as i32;
            }
        });
    }

    proptest! {
        #![proptest_config(config())]

        /// Chunks are appended, checked or not, and taken back. The buffers have other bytes before.
        #[test]
        fn what_is_checked_in_parts_is_what_the_twin_makes(
            chunks in proptest::collection::vec((pieces(), 0..6_usize, any::<bool>()), 0..6),
        ) {
            let mut values = Values::in_buffers(vec![7, 7], vec![0xff; 50]);
            let mut expected: Vec<Vec<u8>> = Vec::new();
            for (pieces, n_back, checks) in chunks {
                append(&mut values, &pieces);
                expected.extend(pieces);
                if checks {
                    values.check_in_cache();
                }
                expected.truncate(expected.len().saturating_sub(n_back));
                values.truncate(expected.len());
                prop_assert_eq!(values.rows(), expected.len());
                prop_assert_eq!(values.end(), expected.concat().len());
            }
            let mut offsets = vec![0];
            let ends = expected.iter().scan(0, |end, piece| { *end += piece.len() as i32; Some(*end) });
            offsets.extend(ends);
            let first_bad = expected.iter().position(|piece| std::str::from_utf8(piece).is_err());
            let ours = values.into_text(None);
            prop_assert_eq!(ours.as_ref().err().map(|error| error.row), first_bad);
            prop_assert_eq!(ours.ok(), twin(offsets, expected.concat(), None));
        }
    }

    /// Whatever a column does wrong: a row that was checked stays as it was.
    #[test]
    fn nobody_gets_at_what_was_checked() {
        for wrong_end in [i32::MIN, -1, 0, 1, i32::MAX] {
            let mut values = Values::in_buffers(Vec::new(), Vec::new());
            append(&mut values, &["é".into(), "ü".into()]);
            values.check_in_cache();
            assert!(values.is_checked());
            values.append(1, |room| room.ends.fill(wrong_end));
            values.check_in_cache();
            assert!(!values.is_checked());
            values.free().fill(0xff);
            values.append(1, |room| {
                room.bytes.fill(0xff);
                room.ends.fill(1);
            });
            values.truncate(2);
            let array = values.into_text(None).unwrap();
            assert_eq!(array.iter().flatten().collect::<Vec<_>>(), ["é", "ü"], "{wrong_end}");
            array.to_data().validate_full().unwrap();
        }
    }

    #[test]
    fn nulls_of_another_number_are_refused() {
        let mut values = Values::in_buffers(Vec::new(), Vec::new());
        append(&mut values, &["a".into(), "b".into()]);
        let nulls = Some(NullBuffer::from(vec![true]));
        assert_eq!(values.into_text(nulls).unwrap_err().cause, ValueError::Length);
    }

    fn array(values: &[&[u8]]) -> Result<StringArray, RowError> {
        let mut offsets = vec![0];
        let mut bytes = Vec::new();
        for value in values {
            bytes.extend_from_slice(value);
            offsets.push(bytes.len() as i32);
        }
        Values::of(offsets, bytes).into_text(None)
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
