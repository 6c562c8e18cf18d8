//! Bits in Arrow's order: least significant first, one for each row.

use arrow_buffer::{BooleanBuffer, Buffer};

/// Bits under construction.
///
/// Columns decode a chunk to `bool`s, which are cheaper to write in a loop. Here they are packed, eight at a
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
        let (eights, rest) = bools.as_chunks::<8>();
        let mut last = [false; 8];
        if let Some(last) = last.get_mut(..rest.len()) {
            last.copy_from_slice(rest);
        }
        let packed = eights.iter().chain((!rest.is_empty()).then_some(&last)).map(|eight| pack(*eight));
        self.append_packed(packed, bools.len());
    }

    pub(crate) fn append_ones(&mut self, n: usize) {
        let last = (!n.is_multiple_of(8)).then(|| 0xff >> (8 - n % 8));
        self.append_packed(std::iter::repeat_n(0xff, n / 8).chain(last), n);
    }

    /// Appends `n` bits. The bits behind them in the last byte are zero.
    fn append_packed(&mut self, packed: impl Iterator<Item = u8>, n: usize) {
        let used = self.len % 8;
        self.len += n;
        self.bytes.reserve(n / 8 + 2);
        match self.bytes.pop() {
            Some(mut last) if used > 0 => {
                for byte in packed {
                    self.bytes.push(last | byte << used);
                    last = byte >> (8 - used);
                }
                self.bytes.push(last);
                // The last byte may already have had room for all bits.
                self.bytes.truncate(self.len.div_ceil(8));
            }
            last => {
                self.bytes.extend(last);
                self.bytes.extend(packed);
            }
        }
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

/// Packs eight bits; the first is the least significant.
fn pack(eight: [bool; 8]) -> u8 {
    // The product has bit k × 8 of the first factor at bit 56 + k, and nothing carries into those bits.
    let [a, b, c, d, e, f, g, h] = eight;
    let ones =
        u64::from_le_bytes([a.into(), b.into(), c.into(), d.into(), e.into(), f.into(), g.into(), h.into()]);
    ones.wrapping_mul(0x0102_0408_1020_4080).to_be_bytes()[0]
}

#[cfg(test)]
mod tests {
    use arrow_buffer::BooleanBufferBuilder;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_byte_is_packed_as_it_is() {
        for byte in 0..=255_u8 {
            assert_eq!(pack(std::array::from_fn(|bit| byte >> bit & 1 == 1)), byte);
        }
    }

    proptest! {
        /// The oracle is Arrow's own builder.
        #[test]
        fn appending_and_truncating_is_what_arrow_does(
            steps in prop::collection::vec((prop::collection::vec(any::<bool>(), 0..40), 0..30_usize, 0..100_usize), 1..12)
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
