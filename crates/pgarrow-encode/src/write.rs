//! Appends values: a length, then the bytes.

use crate::error::ValueError;

/// The length that stands for NULL.
pub(crate) const NULL: [u8; 4] = (-1_i32).to_be_bytes();

/// PostgreSQL's own limit of a value: `MaxAllocSize` in `src/include/utils/memutils.h`.
const BYTES_MAX: usize = 0x3fff_ffff;

/// A value of a fixed width.
#[inline]
pub(crate) fn fixed<const N: usize>(out: &mut Vec<u8>, bytes: [u8; N]) {
    // One append instead of two, since each append checks for room.
    let mut framed = [0; 32];
    if let Some((length, rest)) = framed.split_first_chunk_mut::<4>() {
        *length = (N as i32).to_be_bytes();
        if let Some(value) = rest.first_chunk_mut::<N>() {
            *value = bytes;
        }
    }
    const { assert!(N <= 28, "no wider value has one width") };
    out.extend_from_slice(framed.get(..4 + N).unwrap_or_default());
}

/// A byte, and the bytes behind it.
pub(crate) fn behind(out: &mut Vec<u8>, first: u8, bytes: &[u8]) -> Result<(), ValueError> {
    out.extend_from_slice(&length(bytes.len().saturating_add(1))?);
    out.push(first);
    out.extend_from_slice(bytes);
    Ok(())
}

/// A complete value.
#[inline]
pub(crate) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), ValueError> {
    out.extend_from_slice(&length(bytes.len())?);
    out.extend_from_slice(bytes);
    Ok(())
}

/// A value whose length is known only after it is written.
pub(crate) fn measured(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), ValueError>,
) -> Result<(), ValueError> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out)?;
    let written = length(out.len().saturating_sub(start).saturating_sub(4))?;
    if let Some(place) = out.get_mut(start..start.saturating_add(4)) {
        place.copy_from_slice(&written);
    }
    Ok(())
}

#[inline]
fn length(bytes: usize) -> Result<[u8; 4], ValueError> {
    match bytes <= BYTES_MAX {
        true => Ok((bytes as i32).to_be_bytes()),
        false => Err(ValueError::TooLarge),
    }
}
