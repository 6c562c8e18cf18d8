//! Runs of equal numbers, and numbers of a few bits: how Parquet writes indexes of a dictionary and levels.
//!
//! ```text
//! repeated = varint(count << 1)        the value, in whole bytes
//! packed   = varint(groups << 1 | 1)   groups of eight numbers, `width` bytes each
//! ```
//!
//! Source: <https://parquet.apache.org/docs/file-format/data-pages/encodings/>, "RLE".

use crate::leaf::pack::pack;

const GROUP: usize = 8;

/// Appends numbers of `width` bits. Each has to fit them.
pub(crate) fn put(values: &[u32], width: u32, out: &mut Vec<u8>) {
    // Shorter runs take no more bytes among packed numbers: a run has two headers, its own and the next.
    let run_min = (GROUP * (3 + width.div_ceil(8) as usize)).div_ceil(width.max(1) as usize).max(GROUP);
    let mut rest = values;
    let mut packed = 0;
    while let Some(group) = rest.get(packed..packed + GROUP) {
        if group.iter().fold(0, |differ, value| differ | (value ^ group[0])) != 0 {
            packed += GROUP;
            continue;
        }
        let run = rest[packed..].iter().take_while(|value| **value == group[0]).count();
        // What is at the end need not be filled up.
        if run < run_min && packed + run < rest.len() {
            packed += run / GROUP * GROUP;
            continue;
        }
        put_packed(&rest[..packed], width, out);
        put_repeated(group[0], run, width, out);
        rest = &rest[packed + run..];
        packed = 0;
    }
    put_packed(rest, width, out);
}

fn put_packed(values: &[u32], width: u32, out: &mut Vec<u8>) {
    if !values.is_empty() {
        put_varint((values.len().div_ceil(GROUP) as u64) << 1 | 1, out);
        pack(values, width, out);
    }
}

fn put_repeated(value: u32, count: usize, width: u32, out: &mut Vec<u8>) {
    put_varint((count as u64) << 1, out);
    out.extend_from_slice(value.to_le_bytes().get(..width.div_ceil(8) as usize).unwrap_or_default());
}

/// Appends `n` bits of `bits`, the lowest of a byte first. There are no others in the last byte.
pub(crate) fn put_bits(bits: &[u8], n: usize, out: &mut Vec<u8>) {
    /// Shorter runs stay among the other bits.
    const RUN_BYTES_MIN: usize = 8;
    let whole = n / GROUP;
    let mut packed = 0;
    let mut at = 0;
    while at < whole {
        let byte = bits[at];
        let run = match byte {
            0 | u8::MAX => bits[at..whole].iter().take_while(|other| **other == byte).count(),
            _ => 1,
        };
        if run >= RUN_BYTES_MIN {
            put_packed_bits(&bits[packed..at], out);
            put_repeated(u32::from(byte & 1), run * GROUP, 1, out);
            packed = at + run;
        }
        at += run;
    }
    put_packed_bits(&bits[packed..n.div_ceil(GROUP)], out);
}

fn put_packed_bits(bits: &[u8], out: &mut Vec<u8>) {
    if !bits.is_empty() {
        put_varint((bits.len() as u64) << 1 | 1, out);
        out.extend_from_slice(bits);
    }
}

/// Appends `n` times the same bit.
pub(crate) fn put_same_bits(bit: bool, n: usize, out: &mut Vec<u8>) {
    put_repeated(u32::from(bit), n, 1, out);
}

/// Appends a number in groups of seven bits, the lowest first.
pub(crate) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
        }
        unreachable!()
    }

    /// Reads numbers back, one bit at a time; what fills the last group is left.
    fn numbers(mut bytes: &[u8], width: u32) -> Vec<u32> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let header = take_varint(&mut bytes);
            let count = (header >> 1) as usize;
            let size = if header & 1 == 1 { count * width as usize } else { width.div_ceil(8) as usize };
            let (now, rest) = bytes.split_at(size);
            bytes = rest;
            if header & 1 == 1 {
                let bit = |at: usize| u32::from(now[at / 8] >> (at % 8) & 1);
                let number =
                    |index: usize| (0..width as usize).map(|b| bit(index * width as usize + b) << b).sum();
                found.extend((0..count * GROUP).map(number).collect::<Vec<u32>>());
            } else {
                let mut value = [0; 4];
                value[..size].copy_from_slice(now);
                found.extend(std::iter::repeat_n(u32::from_le_bytes(value), count));
            }
        }
        found
    }

    /// Numbers of `width` bits, in runs of every length up to 40 and in none.
    fn samples(width: u32, n: usize) -> Vec<Vec<u32>> {
        let cut = |value: u64| if width == 0 { 0 } else { (value >> (64 - width)) as u32 };
        let random = |i: usize| cut((i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut samples: Vec<Vec<u32>> =
            (1..40).map(|run| (0..n).map(|index| random(index / run)).collect()).collect();
        let mixed = (0..n).map(|index| if index / 50 % 2 == 0 { random(7) } else { random(index) });
        samples.push(mixed.collect());
        samples
    }

    #[test]
    fn numbers_come_back() {
        for width in [0, 1, 2, 3, 6, 8, 9, 12, 16, 17, 32] {
            for n in [0, 1, 2, 7, 8, 9, 15, 16, 17, 33, 64, 65, 300] {
                for values in samples(width, n) {
                    let mut bytes = Vec::new();
                    put(&values, width, &mut bytes);
                    let found = numbers(&bytes, width);
                    assert_eq!(found[..n], values, "{width}, {n}");
                    assert!(found.len() < n + GROUP);
                    let plain = n.div_ceil(GROUP) * width as usize + 5;
                    assert!(bytes.len() <= plain, "{width}, {n}: {} > {plain}", bytes.len());
                }
            }
        }
    }

    #[test]
    fn bits_come_back() {
        for n in [0, 1, 7, 8, 9, 63, 64, 65, 127, 128, 129, 1000] {
            for values in samples(1, n) {
                let mut bits = vec![0; n.div_ceil(8)];
                for (index, value) in values.iter().enumerate() {
                    bits[index / 8] |= (*value as u8) << (index % 8);
                }
                let mut bytes = Vec::new();
                put_bits(&bits, n, &mut bytes);
                let found = numbers(&bytes, 1);
                assert!(found[..n] == values && found.len() < n + GROUP, "{n}");
            }
        }
        let mut bytes = Vec::new();
        put_same_bits(true, 300, &mut bytes);
        assert_eq!(numbers(&bytes, 1), [1; 300]);
    }

    #[test]
    fn one_value_is_one_run() {
        let mut bytes = Vec::new();
        put(&[5; 20_000], 3, &mut bytes);
        assert_eq!(bytes.len(), 4);
    }
}
