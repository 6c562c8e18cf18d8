//! Numbers of a few bits each, one after the other, as all of Parquet's encodings have them: the lowest bits
//! first.

/// Numbers that are packed at a time. They take `4 * width` bytes.
pub(crate) const BLOCK: usize = 32;

/// Packs numbers of `width` bits behind `out`, filled up with zeros to a multiple of eight. Each has to fit
/// its bits.
pub(crate) fn pack(values: &[u32], width: u32, out: &mut Vec<u8>) {
    let mut block = [0; BLOCK];
    for values in values.chunks(BLOCK) {
        for (to, value) in block.iter_mut().zip(values) {
            *to = u64::from(*value);
        }
        block[values.len()..].fill(0);
        let length = out.len() + values.len().div_ceil(8) * width as usize;
        pack_block(&block, width, out);
        out.truncate(length);
    }
}

/// Packs one block of numbers of at most 64 bits.
pub(crate) fn pack_block(values: &[u64; BLOCK], width: u32, out: &mut Vec<u8>) {
    let width = width as usize;
    if let Some(pack) = BY_WIDTH.get(width) {
        let mut bytes = [0; BLOCK * size_of::<u64>()];
        pack(values, &mut bytes);
        out.extend_from_slice(&bytes[..4 * width]);
    }
}

/// How many bits a number takes.
pub(crate) fn bits(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

type Pack = fn(&[u64; BLOCK], &mut [u8; BLOCK * size_of::<u64>()]);

/// With the width as a constant, every shift and every word is one, too.
fn pack_width<const WIDTH: usize>(values: &[u64; BLOCK], bytes: &mut [u8; BLOCK * size_of::<u64>()]) {
    let mut words = [0; BLOCK];
    macro_rules! put {
        ($($index:literal)*) => {$(
            let (word, shift) = ($index * WIDTH / 64, $index * WIDTH % 64);
            if WIDTH > 0 {
                words[word] |= values[$index] << shift;
            }
            if shift + WIDTH > 64 {
                words[word + 1] |= values[$index] >> (64 - shift);
            }
        )*};
    }
    put!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
    let places = bytes.as_chunks_mut::<{ size_of::<u64>() }>().0;
    for (place, word) in places.iter_mut().zip(words).take(WIDTH.div_ceil(2)) {
        *place = word.to_le_bytes();
    }
}

macro_rules! by_width {
    ($($width:literal)*) => { [$(pack_width::<$width>),*] };
}

#[rustfmt::skip]
const BY_WIDTH: [Pack; 65] = by_width!(
    0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38
    39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64
);

#[cfg(test)]
mod tests {
    use super::*;

    /// The bits of all numbers, one by one.
    fn expected(values: &[u64], width: u32) -> Vec<u8> {
        let mut bytes = vec![0_u8; (values.len() * width as usize).div_ceil(8)];
        for (index, value) in values.iter().enumerate() {
            for bit in 0..width as usize {
                let at = index * width as usize + bit;
                bytes[at / 8] |= u8::from(value >> bit & 1 == 1) << (at % 8);
            }
        }
        bytes
    }

    fn random(seed: usize, width: u32) -> u64 {
        let random = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(seed as u32 % 64);
        if width == 0 { 0 } else { random >> (64 - width) }
    }

    #[test]
    fn blocks_of_every_width() {
        for width in 0..=64 {
            let values: [u64; BLOCK] = std::array::from_fn(|index| random(index, width));
            let mut out = vec![7];
            pack_block(&values, width, &mut out);
            assert_eq!(out[1..], expected(&values, width), "{width}");
        }
    }

    #[test]
    fn any_number_of_values() {
        for width in [0, 1, 2, 3, 7, 8, 9, 17, 31, 32] {
            for n in 0..100 {
                let values: Vec<u64> = (0..n).map(|index| random(index, width)).collect();
                let narrow: Vec<u32> = values.iter().map(|value| *value as u32).collect();
                let mut out = vec![7];
                pack(&narrow, width, &mut out);
                let mut filled = values.clone();
                filled.resize(n.next_multiple_of(8), 0);
                assert_eq!(out[1..], expected(&filled, width), "{width}, {n}");
            }
        }
    }

    #[test]
    fn bits_of_a_number() {
        assert_eq!([0, 1, 2, 3, 4, 255, 256, u64::MAX].map(bits), [0, 1, 2, 2, 3, 8, 9, 64]);
    }
}
