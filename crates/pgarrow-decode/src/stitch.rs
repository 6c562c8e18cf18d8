//! The careful way: joins payloads, and finds rows by walking the lengths of their values.

use crate::error::FramingError;

/// `PGCOPY\n\377\r\n\0`.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags and the extension's length.
pub(crate) const COPY_HEADER_BYTES: usize = 19;
/// Bits 16 to 31 change how the rest is read; bits 0 to 15 may be ignored.
const CRITICAL_FLAGS: u32 = 0xffff_0000;
/// No version has ever written an extension.
const EXTENSION_BYTES_MAX: u32 = 1 << 20;

/// Bytes of the stream that are not decoded yet, and the position in them.
///
/// Bytes may come one by one: no value is walked twice.
#[derive(Debug)]
pub(crate) struct Stitch {
    bytes: Vec<u8>,
    /// Where the first row that was not handed out starts.
    start: usize,
    /// The position at the beginning of a stream.
    begins_at: Position,
    position: Position,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Position {
    Header,
    /// Extension bytes still to be skipped.
    Extension(usize),
    /// Before a tuple's count of values.
    Tuple,
    /// Inside the tuple at `start`: the offset of the next value's length, and values to come.
    Values {
        at: usize,
        n_left: usize,
    },
    Trailer,
}

/// A row in the stitched bytes: offset of its first value's length, and of its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StitchedRow {
    pub(crate) first_value: usize,
    pub(crate) end: usize,
}

impl Stitch {
    /// For a COPY stream.
    pub(crate) fn copy() -> Self {
        Self { bytes: Vec::new(), start: 0, begins_at: Position::Header, position: Position::Header }
    }

    /// For rows that are messages of their own: no header, no trailer.
    pub(crate) fn rows() -> Self {
        Self { begins_at: Position::Tuple, position: Position::Tuple, ..Self::copy() }
    }

    /// Forgets its bytes: another stream begins.
    pub(crate) fn restart(&mut self) {
        self.bytes.clear();
        self.start = 0;
        self.position = self.begins_at;
    }

    /// Bytes of memory held.
    pub(crate) fn allocated_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Takes the bytes of one payload.
    pub(crate) fn push(&mut self, payload: &[u8]) -> Result<(), FramingError> {
        if self.position == Position::Trailer && !payload.is_empty() {
            return Err(FramingError::AfterTrailer);
        }
        self.bytes.extend_from_slice(payload);
        Ok(())
    }

    /// Where the bytes of a payload go as they arrive. No trailer has been seen.
    pub(crate) fn receiving(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The bytes that are not decoded.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Whether the next payload starts a tuple, and no byte is held.
    pub(crate) fn is_at_tuple(&self) -> bool {
        self.position == Position::Tuple && self.start == self.bytes.len()
    }

    /// Whether no byte of a COPY stream has been seen.
    pub(crate) fn is_at_header(&self) -> bool {
        self.position == Position::Header && self.start == self.bytes.len()
    }

    /// Takes a COPY stream's header that was received apart. Returns the bytes of the extension that follows.
    pub(crate) fn take_header(&mut self, header: [u8; COPY_HEADER_BYTES]) -> Result<usize, FramingError> {
        let extension_bytes = extension_bytes(header)?;
        self.position = Position::Tuple;
        Ok(extension_bytes)
    }

    /// The trailer has been seen; without a trailer, the last row.
    pub(crate) fn is_complete(&self) -> bool {
        self.position == Position::Trailer || (self.begins_at == Position::Tuple && self.is_at_tuple())
    }

    /// Bytes held.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Finds the next whole row from `from`, an offset in [`bytes`](Self::bytes); `None` if it has
    /// not arrived, or the stream is complete. Skips the header.
    pub(crate) fn next_row(
        &mut self,
        from: usize,
        n_columns: usize,
    ) -> Result<Option<StitchedRow>, FramingError> {
        loop {
            match self.position {
                Position::Header => {
                    let Some(header) = self.bytes().first_chunk::<COPY_HEADER_BYTES>() else {
                        // A stream that cannot become a COPY stream is refused at its first wrong byte.
                        return match self.bytes().iter().zip(SIGNATURE).all(|(a, b)| a == b) {
                            true => Ok(None),
                            false => Err(FramingError::Signature),
                        };
                    };
                    self.position = Position::Extension(extension_bytes(*header)?);
                    self.start += COPY_HEADER_BYTES;
                }
                Position::Extension(to_skip) => {
                    let skipped = to_skip.min(self.held_bytes());
                    self.start += skipped;
                    if skipped < to_skip {
                        self.position = Position::Extension(to_skip - skipped);
                        return Ok(None);
                    }
                    self.position = Position::Tuple;
                }
                Position::Tuple => {
                    let Some(count) = self.bytes().get(from..).and_then(<[u8]>::first_chunk::<2>) else {
                        return Ok(None);
                    };
                    match i16::from_be_bytes(*count) {
                        -1 => {
                            if self.held_bytes() > from + 2 {
                                return Err(FramingError::AfterTrailer);
                            }
                            self.position = Position::Trailer;
                            return Ok(None);
                        }
                        found if usize::try_from(found) != Ok(n_columns) => {
                            return Err(FramingError::ValueCount { expected: n_columns, found });
                        }
                        _ => self.position = Position::Values { at: from + 2, n_left: n_columns },
                    }
                }
                Position::Values { at, n_left: 0 } => {
                    self.position = Position::Tuple;
                    return Ok(Some(StitchedRow { first_value: from + 2, end: at }));
                }
                Position::Values { at, n_left } => {
                    let Some(length) = self.bytes().get(at..).and_then(<[u8]>::first_chunk::<4>) else {
                        return Ok(None);
                    };
                    let end = at + 4 + value_bytes(*length)?.unwrap_or(0);
                    if end > self.held_bytes() {
                        return Ok(None);
                    }
                    self.position = Position::Values { at: end, n_left: n_left - 1 };
                }
                Position::Trailer => return Ok(None),
            }
        }
    }

    /// Searches again from the end of an earlier row.
    pub(crate) fn go_back(&mut self) {
        self.position = Position::Tuple;
    }

    /// Forgets the first `n_bytes` of [`bytes`](Self::bytes): rows that are decoded.
    pub(crate) fn consume(&mut self, n_bytes: usize) {
        if let Position::Values { at, n_left } = self.position {
            self.position = Position::Values { at: at.saturating_sub(n_bytes), n_left };
        }
        self.start = (self.start + n_bytes).min(self.bytes.len());
        if self.position == Position::Trailer {
            self.start = self.bytes.len();
        }
        // Moving the rest to the front costs time in proportion to the rest, so it waits until that is the
        // smaller part.
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        // One oversized row should not hold its memory for the rest of the run.
        if self.bytes.is_empty() && self.bytes.capacity() > 1 << 20 {
            self.bytes = Vec::new();
        }
    }
}

/// Checks that a message is exactly one tuple.
pub(crate) fn check_tuple(message: &[u8], n_columns: usize) -> Result<(), FramingError> {
    let (count, mut rest) = message.split_first_chunk::<2>().ok_or(FramingError::RowMessage)?;
    let found = i16::from_be_bytes(*count);
    if usize::try_from(found) != Ok(n_columns) {
        return Err(FramingError::ValueCount { expected: n_columns, found });
    }
    for _ in 0..n_columns {
        let (length, after) = rest.split_first_chunk::<4>().ok_or(FramingError::RowMessage)?;
        rest = match value_bytes(*length)? {
            None => after,
            Some(n_bytes) => after.get(n_bytes..).ok_or(FramingError::RowMessage)?,
        };
    }
    if rest.is_empty() { Ok(()) } else { Err(FramingError::RowMessage) }
}

/// A value's length; `None` if it is NULL.
pub(crate) fn value_bytes(length: [u8; 4]) -> Result<Option<usize>, FramingError> {
    match i32::from_be_bytes(length) {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| FramingError::ValueLength(length)),
    }
}

/// Checks a header. Returns the bytes of its extension.
fn extension_bytes(header: [u8; COPY_HEADER_BYTES]) -> Result<usize, FramingError> {
    let (signature, rest) = header.split_at(SIGNATURE.len());
    if signature != SIGNATURE {
        return Err(FramingError::Signature);
    }
    let (flags, extension) = rest.split_at(4);
    let word = |bytes: &[u8]| bytes.iter().fold(0, |word: u32, byte| word << 8 | u32::from(*byte));
    let (flags, extension) = (word(flags), word(extension));
    if flags & CRITICAL_FLAGS != 0 {
        return Err(FramingError::CriticalFlags(flags));
    }
    if extension > EXTENSION_BYTES_MAX {
        return Err(FramingError::Extension(extension));
    }
    Ok(extension as usize)
}
