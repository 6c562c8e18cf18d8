//! Bits in Arrow's order: least significant first, one for each row.

use arrow_buffer::{BooleanBuffer, Buffer};

use crate::chunk::CHUNK_ROWS;

/// Bits under construction.
///
/// Columns decode a chunk to `bool`s, which are cheaper to write in a loop. Here they are packed, a word at a
/// time.
#[derive(Debug, Default)]
pub(crate) struct Bits {
    /// The bits behind `len` in the last byte are zero.
    bytes: Vec<u8>,
    len: usize,
}

impl Bits {
    /// Uses this buffer and drops its content.
    pub(crate) fn in_buffer(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        Self { bytes, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn capacity_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    pub(crate) fn append_slice(&mut self, bools: &[bool]) {
        for bools in bools.chunks(CHUNK_ROWS) {
            // First to bytes, many at a time: eight of them are then one load.
            let mut ones = [0; CHUNK_ROWS];
            for (one, bool) in ones.iter_mut().zip(bools) {
                *one = u8::from(*bool);
            }
            let words = ones.as_chunks::<64>().0.iter().map(|ones| {
                let (eights, _) = ones.as_chunks::<8>();
                eights.iter().rev().fold(0, |word, eight| word << 8 | u64::from(pack(*eight)))
            });
            self.append_words(words.take(bools.len().div_ceil(64)), bools.len());
        }
    }

    pub(crate) fn append_ones(&mut self, n: usize) {
        let last = (!n.is_multiple_of(64)).then(|| !0 >> (64 - n % 64));
        self.append_words(std::iter::repeat_n(!0, n / 64).chain(last), n);
    }

    /// Appends `n` bits. The bits behind them in the last word are zero.
    fn append_words(&mut self, words: impl Iterator<Item = u64>, n: usize) {
        let used = self.len % 8;
        let mut carried = match used {
            0 => 0,
            _ => self.bytes.pop().map_or(0, u64::from),
        };
        self.len += n;
        self.bytes.reserve(n / 8 + 10);
        for word in words {
            self.bytes.extend_from_slice(&(carried | word << used).to_le_bytes());
            carried = word >> 1 >> (63 - used);
        }
        let [carried, ..] = carried.to_le_bytes();
        self.bytes.push(carried);
        self.bytes.truncate(self.len.div_ceil(8));
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        if len >= self.len {
            return;
        }
        self.len = len;
        self.bytes.truncate(len.div_ceil(8));
        if let (Some(last), used @ 1..) = (self.bytes.last_mut(), len % 8) {
            *last &= 0xff >> (8 - used);
        }
    }

    pub(crate) fn finish(&mut self) -> BooleanBuffer {
        let Self { bytes, len } = std::mem::take(self);
        BooleanBuffer::new(Buffer::from_vec(bytes), 0, len)
    }
}

/// Packs eight bytes of 0 or 1; the first is the least significant.
fn pack(eight: [u8; 8]) -> u8 {
    // The product has bit k × 8 of the first factor at bit 56 + k, and nothing carries into those bits.
    u64::from_le_bytes(eight).wrapping_mul(0x0102_0408_1020_4080).to_be_bytes()[0]
}

#[cfg(test)]
mod tests {
    use arrow_buffer::BooleanBufferBuilder;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_byte_is_packed_as_it_is() {
        for byte in 0..=255_u8 {
            assert_eq!(pack(std::array::from_fn(|bit| byte >> bit & 1)), byte);
        }
    }

    proptest! {
        /// The oracle is Arrow's own builder.
        #[test]
        fn appending_and_truncating_is_what_arrow_does(
            steps in prop::collection::vec(
                (
                    prop_oneof![
                        prop::collection::vec(any::<bool>(), 0..40),
                        prop::collection::vec(any::<bool>(), 0..600),
                    ],
                    prop_oneof![0..30_usize, 0..300_usize],
                    0..100_usize,
                ),
                1..12,
            )
        ) {
            let (mut bits, mut expected) = (Bits::default(), BooleanBufferBuilder::new(0));
            for (bools, ones, cut) in steps {
                bits.append_slice(&bools);
                expected.append_slice(&bools);
                bits.append_ones(ones);
                expected.append_n(ones, true);
                let len = bits.len().saturating_sub(cut / 3);
                bits.truncate(len);
                expected.truncate(len);
            }
            prop_assert_eq!(bits.finish(), expected.finish());
            prop_assert_eq!(bits.len(), 0);
        }
    }
}
