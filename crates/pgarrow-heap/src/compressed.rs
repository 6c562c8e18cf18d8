//! Values that are compressed inside their tuple.
//!
//! Source: `va_compressed` in `src/include/varatt.h`; `pglz_decompress` in `src/common/pg_lzcompress.c`;
//! `lz4_decompress_datum` in `src/backend/access/common/toast_compression.c`.

use std::fmt;

use lz4_flex::block;

/// PostgreSQL does not write such a value: the caller reads its page in another way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Corrupt(pub(crate) &'static str);

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// `VARLENA_EXTSIZE_BITS`: the bits of `va_tcinfo` that hold the size, below those of the method.
const SIZE_BITS: u32 = 30;
/// A tag of 3 bytes makes at most `PGLZ_MATCH_MAX` bytes; no other item makes more per byte.
const PGLZ_RATIO_MAX: usize = 273 / 3;
/// A byte of lz4 lengthens a match by this much at most.
const LZ4_RATIO_MAX: usize = 255;

/// `ToastCompressionId`.
#[derive(Clone, Copy)]
enum Method {
    Pglz,
    Lz4,
}

/// The method and the size in front of the compressed bytes, and the compressed bytes.
fn split(value: &[u8]) -> Result<(Method, usize, &[u8]), Corrupt> {
    let (info, data) = value.split_first_chunk().ok_or(Corrupt("a compressed value without its size"))?;
    let info = u32::from_le_bytes(*info);
    let (method, ratio_max) = match info >> SIZE_BITS {
        0 => (Method::Pglz, PGLZ_RATIO_MAX),
        1 => (Method::Lz4, LZ4_RATIO_MAX),
        _ => return Err(Corrupt("a value that is compressed by an unknown method")),
    };
    let raw = usize::try_from(info & ((1 << SIZE_BITS) - 1)).unwrap_or(usize::MAX);
    if raw > data.len().saturating_mul(ratio_max) {
        return Err(Corrupt("a compressed value that claims to be larger than it can be"));
    }
    Ok((method, raw, data))
}

/// Bytes that [`decompress`] makes of a value. A claim, but at most 255 times the compressed bytes.
#[cfg(test)]
pub(crate) fn raw_bytes(value: &[u8]) -> Result<usize, Corrupt> {
    split(value).map(|(_, raw, _)| raw)
}

/// Appends the decompressed value; nothing if it is corrupt.
///
/// `value` is the content behind the varlena header: `va_tcinfo`, then the compressed bytes.
pub(crate) fn decompress(value: &[u8], out: &mut Vec<u8>) -> Result<(), Corrupt> {
    let (method, raw, data) = split(value)?;
    let start = out.len();
    let done = match method {
        Method::Pglz => pglz(data, raw, out),
        Method::Lz4 => lz4(data, raw, out),
    };
    if done.is_err() {
        out.truncate(start);
    }
    done
}

fn lz4(data: &[u8], raw: usize, out: &mut Vec<u8>) -> Result<(), Corrupt> {
    let start = out.len();
    out.resize(start + raw, 0);
    match out.get_mut(start..).map(|room| block::decompress_into(data, room)) {
        Some(Ok(n)) if n == raw => Ok(()),
        _ => Err(Corrupt("a value that lz4 cannot decompress")),
    }
}

/// PostgreSQL's own method: a byte of flags for each eight items, the lowest bit first. An item is a literal
/// byte, or a tag that copies from the decompressed bytes:
///
/// ```text
/// 4 bits offset, high │ 4 bits length − 3 │ 8 bits offset, low │ (length 18 only) 8 bits more length
/// ```
///
/// A tag's source may overlap its result. The last tag may reach beyond the end and is cut there.
fn pglz(data: &[u8], raw: usize, out: &mut Vec<u8>) -> Result<(), Corrupt> {
    const SHORT: Corrupt = Corrupt("a value of pglz that ends too early");
    out.reserve(raw);
    let start = out.len();
    let end = start + raw;
    let mut rest = data;
    while let Some((flags, items)) = rest.split_first() {
        rest = items;
        for item in 0..8 {
            if rest.is_empty() || out.len() == end {
                break;
            }
            if flags >> item & 1 == 0 {
                let (byte, behind) = rest.split_first().ok_or(SHORT)?;
                rest = behind;
                out.push(*byte);
                continue;
            }
            let ([high, low], behind) = rest.split_first_chunk().ok_or(SHORT)?;
            rest = behind;
            let offset = usize::from(*high & 0xf0) << 4 | usize::from(*low);
            let mut length = usize::from(*high & 0x0f) + 3;
            if length == 18 {
                let (more, behind) = rest.split_first().ok_or(SHORT)?;
                rest = behind;
                length += usize::from(*more);
            }
            if offset == 0 || offset > out.len() - start {
                return Err(Corrupt("a value of pglz that repeats what it does not have"));
            }
            let from = out.len() - offset;
            let mut left = length.min(end - out.len());
            // The copied bytes repeat those before them, so each round can copy twice the bytes.
            while left > 0 {
                let n = left.min(out.len() - from);
                out.extend_from_within(from..from + n);
                left -= n;
            }
        }
        if out.len() == end {
            break;
        }
    }
    if out.len() == end && rest.is_empty() {
        Ok(())
    } else {
        Err(Corrupt("a value of pglz that is not as long as it says"))
    }
}
