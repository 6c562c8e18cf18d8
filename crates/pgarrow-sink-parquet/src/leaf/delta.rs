//! The differences of neighbours, in as few bits as they need: `DELTA_BINARY_PACKED`.
//!
//! ```text
//! page  = varint(values of a block) varint(4) varint(values) zigzag(first value) block*
//! block = zigzag(smallest difference) width{4} part{4}
//! part  = differences from the smallest one, of `width` bits each
//! ```
//!
//! Source: <https://parquet.apache.org/docs/file-format/data-pages/encodings/>, "Delta Encoding".

use std::mem;

use crate::leaf::number::Number;
use crate::leaf::pack::{self, bits, pack_block};
use crate::leaf::runs::put_varint;

/// Parts of a block, each with a width of its own.
const PARTS: usize = 4;

/// Most values of a block.
const BLOCK_MAX: usize = 256;

/// Values of a page, encoded as they come.
pub(crate) struct Delta<T> {
    first: T,
    last: T,
    n: usize,
    /// The differences of the block in progress.
    block: Box<[i64; BLOCK_MAX]>,
    filled: usize,
    /// The blocks that are complete.
    body: Vec<u8>,
}

impl<T: Number> Delta<T> {
    /// Differences of a block: 128 of four bytes, 256 of eight.
    const BLOCK: usize = 32 * T::BYTES;

    pub(crate) fn new() -> Self {
        let (first, last) = (T::default(), T::default());
        Self { first, last, n: 0, block: Box::new([0; BLOCK_MAX]), filled: 0, body: Vec::new() }
    }

    pub(crate) fn extend(&mut self, mut values: &[T]) {
        if self.n == 0
            && let Some((first, rest)) = values.split_first()
        {
            (self.first, self.last, self.n) = (*first, *first, 1);
            values = rest;
        }
        while !values.is_empty() {
            let (now, later) = values.split_at(values.len().min(Self::BLOCK - self.filled));
            for (to, value) in self.block[self.filled..].iter_mut().zip(now) {
                *to = value.difference(self.last);
                self.last = *value;
            }
            self.filled += now.len();
            if self.filled == Self::BLOCK {
                self.end_block();
            }
            self.n += now.len();
            values = later;
        }
    }

    fn end_block(&mut self) {
        let block = &self.block[..mem::take(&mut self.filled)];
        let Some(first) = block.first() else { return };
        let smallest = block.iter().fold(*first, |smallest, difference| smallest.min(*difference));
        put_zigzag(smallest, &mut self.body);
        let widths = self.body.len();
        self.body.extend_from_slice(&[0; PARTS]);
        for (part, differences) in block.chunks(Self::BLOCK / PARTS).enumerate() {
            // A part that is begun is filled up.
            let mut all = [0_u64; BLOCK_MAX / PARTS];
            for (to, difference) in all.iter_mut().zip(differences) {
                *to = difference.wrapping_sub(smallest) as u64;
            }
            let width = bits(all.iter().fold(0, |all, difference| all | difference));
            self.body[widths + part] = width as u8;
            let blocks = all.as_chunks::<{ pack::BLOCK }>().0;
            for block in blocks.iter().take(Self::BLOCK / PARTS / pack::BLOCK) {
                pack_block(block, width, &mut self.body);
            }
        }
    }

    /// Appends the page's values, and begins anew.
    pub(crate) fn end_page(&mut self, out: &mut Vec<u8>) {
        self.end_block();
        put_varint(Self::BLOCK as u64, out);
        put_varint(PARTS as u64, out);
        put_varint(self.n as u64, out);
        put_zigzag(self.first.difference(T::default()), out);
        out.extend_from_slice(&self.body);
        self.body.clear();
        (self.first, self.last, self.n) = (T::default(), T::default(), 0);
    }

    /// About how many bytes the page's values take.
    pub(crate) fn page_bytes(&self) -> usize {
        self.body.len() + self.filled * T::BYTES
    }

    pub(crate) fn held_bytes(&self) -> usize {
        size_of_val(&*self.block) + self.body.capacity()
    }
}

/// Appends a number with its sign in the lowest bit.
fn put_zigzag(value: i64, out: &mut Vec<u8>) {
    put_varint((value << 1 ^ value >> 63) as u64, out);
}
