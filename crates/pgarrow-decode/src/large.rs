//! Large rows: values received once, straight into their columns.
//!
//! ```text
//!  socket ─▶ frame header, count, lengths ─▶ here
//!         ├▶ values above 64 KiB that need no decoding ─▶ the end of their column
//!         └▶ all other values ─▶ scratch ─▶ decoded as a chunk of one row
//! ```
//!
//! Memory for claimed bytes is allocated as they arrive, and the rest is reserved once a part has arrived.

use pgarrow_column::{RowError, ValueError};

use crate::decoder::{CopyDecoder, StopReason};
use crate::error::{DecodeError, FramingError};
use crate::frame::{COPY_DATA, HEADER_BYTES, cut_off_frame};
use crate::stitch::{COPY_HEADER_BYTES, check_tuple, value_bytes};

/// A message above this size, with its header, need not be in one buffer before it is decoded.
pub const LARGE_FRAME_BYTES: usize = 256 << 10;

/// A value above this size is received into its column.
const LARGE_VALUE_BYTES: usize = 64 << 10;

/// The most bytes that are allocated before any byte has arrived. Later it is half of the arrived bytes, so
/// that growth does not copy the value many times.
const STEP_BYTES: usize = 1 << 20;

/// Once this fraction of a value has arrived, the rest is reserved. Growing by halves would need nearly twice
/// the value's memory at the end.
const BELIEVED_FROM: usize = 32;

/// Where the bytes of a large row come from.
pub trait LargeSource {
    /// Why there are no more bytes.
    type Error;

    /// Fills `target` with the next bytes of the stream. The first are those at which
    /// [`CopyDecoder::decode`] stopped: the message's header.
    ///
    /// # Errors
    ///
    /// The bytes cannot be received.
    fn receive(&mut self, target: &mut [u8]) -> Result<(), Self::Error>;
}

/// Why a large row was not decoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LargeError<E> {
    /// The stream is broken or a value cannot be represented.
    Decode(DecodeError),
    /// The source has failed.
    Source(E),
}

/// Errors inside a row, before its number is known.
enum Fault<E> {
    Framing(FramingError),
    Value { column_index: usize, cause: ValueError },
    Source(E),
}

impl<E> From<FramingError> for Fault<E> {
    fn from(cause: FramingError) -> Self {
        Self::Framing(cause)
    }
}

/// One message, being received.
struct Message<'a, S> {
    source: &'a mut S,
    /// Bytes still to come.
    left: usize,
}

impl<S: LargeSource> Message<'_, S> {
    fn receive(&mut self, target: &mut [u8]) -> Result<(), Fault<S::Error>> {
        self.left = self.left.checked_sub(target.len()).ok_or(FramingError::RowMessage)?;
        self.source.receive(target).map_err(Fault::Source)
    }

    fn receive_array<const N: usize>(&mut self) -> Result<[u8; N], Fault<S::Error>> {
        let mut array = [0; N];
        self.receive(&mut array)?;
        Ok(array)
    }

    /// Appends `n_bytes` to `bytes`, as they arrive.
    fn receive_onto(&mut self, bytes: &mut Vec<u8>, n_bytes: usize) -> Result<(), Fault<S::Error>> {
        let mut arrived = 0;
        while arrived < n_bytes {
            let step = step_bytes(arrived, n_bytes);
            if is_believed(arrived, n_bytes) {
                bytes.reserve_exact(n_bytes - arrived);
            }
            let start = bytes.len();
            bytes.reserve_exact(step);
            bytes.resize(start + step, 0);
            self.receive(bytes.get_mut(start..).unwrap_or_default())?;
            arrived += step;
        }
        Ok(())
    }
}

/// How much room to make next for a value of which `arrived` bytes are here.
fn step_bytes(arrived: usize, n_bytes: usize) -> usize {
    (arrived / 2).max(STEP_BYTES).min(n_bytes - arrived)
}

/// Whether enough of a value is here to reserve the rest.
fn is_believed(arrived: usize, n_bytes: usize) -> bool {
    arrived > 0 && arrived >= n_bytes / BELIEVED_FROM
}

impl CopyDecoder {
    /// Whether a large row comes next, or the batch should end before it.
    pub(crate) fn large_row(&mut self, bytes: &[u8]) -> Option<StopReason> {
        let frame_bytes = cut_off_frame(bytes, self.tag).filter(|bytes| *bytes > LARGE_FRAME_BYTES)?;
        // If earlier messages were not rows, the next one may be no row either.
        if self.n_misses > 0 || !(self.stitch.is_at_tuple() || self.stitch.is_at_header()) {
            return None;
        }
        if self.batch.ends_before(frame_bytes) {
            return Some(StopReason::BatchFull);
        }
        self.is_large_next = true;
        Some(StopReason::LargeRow { bytes: frame_bytes })
    }

    /// Receives and decodes the message at which [`decode`](Self::decode) stopped with
    /// [`StopReason::LargeRow`]. Does nothing if the last call of `decode` did not stop there.
    ///
    /// Takes exactly the message from `source`, whose next bytes are those that `decode` did not use.
    /// Arriving bytes are kept once. Memory ahead of them is at most 1 MiB or half of the arrived bytes, and
    /// at most 32 times the arrived bytes are reserved. Usually the batch is full then; the next `decode`
    /// reports it.
    ///
    /// # Errors
    ///
    /// As for [`decode`](Self::decode), or the error of `source`. After any error the batch is as it was
    /// before the row. After an error of the source the stream has lost its place, so only
    /// [`flush`](Self::flush) and [`restart`](Self::restart) make sense.
    pub fn decode_large<S: LargeSource>(&mut self, source: &mut S) -> Result<(), LargeError<S::Error>> {
        if let Some(error) = &self.failed {
            return Err(LargeError::Decode(error.clone()));
        }
        if !std::mem::take(&mut self.is_large_next) {
            return Ok(());
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let result = self.decode_large_message(source, &mut scratch);
        // One oversized value should not hold its memory for the rest of the run.
        if scratch.capacity() <= STEP_BYTES {
            self.scratch = scratch;
        }
        result.map_err(|fault| {
            self.batch.take_back();
            let error = match fault {
                Fault::Source(error) => return LargeError::Source(error),
                Fault::Framing(cause) => self.framing_error(cause),
                Fault::Value { column_index, cause } => {
                    self.batch.value_error(column_index, RowError { row: self.batch.rows(), cause })
                }
            };
            self.failed = Some(error.clone());
            LargeError::Decode(error)
        })
    }

    fn decode_large_message<S: LargeSource>(
        &mut self,
        source: &mut S,
        scratch: &mut Vec<u8>,
    ) -> Result<(), Fault<S::Error>> {
        let mut message = Message { source, left: HEADER_BYTES };
        let [tag, length @ ..] = message.receive_array::<HEADER_BYTES>()?;
        let length = u32::from_be_bytes(length);
        if tag != self.tag {
            return Err(FramingError::RowMessage.into());
        }
        message.left = length.checked_sub(4).ok_or(FramingError::MessageLength(length))? as usize;
        if self.sift.is_some() {
            return self.receive_whole(&mut message);
        }
        if self.stitch.is_at_header() {
            let extension_bytes = self.stitch.take_header(message.receive_array::<COPY_HEADER_BYTES>()?)?;
            scratch.clear();
            message.receive_onto(scratch, extension_bytes)?;
        }
        let before = message.left;
        let n_columns = self.batch.n_columns();
        match i16::from_be_bytes(message.receive_array()?) {
            -1 if self.tag == COPY_DATA => return Err(FramingError::AfterTrailer.into()),
            found if usize::try_from(found) != Ok(n_columns) => {
                return Err(FramingError::ValueCount { expected: n_columns, found }.into());
            }
            _ => {}
        }
        for column_index in 0..n_columns {
            self.receive_value(&mut message, column_index, scratch)?;
        }
        let tuple_bytes = before - message.left;
        self.receive_rest(&mut message, scratch)?;
        self.batch.end_row(tuple_bytes);
        Ok(())
    }

    /// Receives a message for the stitched way: a row that is left out has to be there as a whole.
    fn receive_whole<S: LargeSource>(&mut self, message: &mut Message<'_, S>) -> Result<(), Fault<S::Error>> {
        let bytes = self.stitch.receiving();
        let before = bytes.len();
        message.receive_onto(bytes, message.left)?;
        if self.tag != COPY_DATA {
            check_tuple(bytes.get(before..).unwrap_or_default(), self.batch.n_columns())?;
        }
        Ok(())
    }

    fn receive_value<S: LargeSource>(
        &mut self,
        message: &mut Message<'_, S>,
        column_index: usize,
        scratch: &mut Vec<u8>,
    ) -> Result<(), Fault<S::Error>> {
        let in_column = |cause| Fault::Value { column_index, cause };
        let length = message.receive_array::<4>()?;
        let n_bytes = value_bytes(length)?.unwrap_or(0);
        if n_bytes > message.left {
            return Err(FramingError::RowMessage.into());
        }
        if n_bytes > LARGE_VALUE_BYTES {
            let column = self.batch.column_mut(column_index).map_err(in_column)?;
            let mut arrived = 0;
            while arrived < n_bytes {
                let step = step_bytes(arrived, n_bytes);
                if is_believed(arrived, n_bytes) {
                    column.expect_large(n_bytes - arrived);
                }
                let Some(room) = column.begin_large(step).map_err(in_column)? else { break };
                message.receive(room)?;
                arrived += step;
            }
            if arrived == n_bytes {
                return column.end_large().map_err(in_column);
            }
        }
        scratch.clear();
        scratch.extend_from_slice(&length);
        message.receive_onto(scratch, n_bytes)?;
        self.batch.decode_value(column_index, scratch).map_err(in_column)
    }

    /// The bytes behind the first tuple of the message. They are legal in a COPY, and unusual.
    fn receive_rest<S: LargeSource>(
        &mut self,
        message: &mut Message<'_, S>,
        scratch: &mut Vec<u8>,
    ) -> Result<(), Fault<S::Error>> {
        if message.left == 0 {
            return Ok(());
        }
        if self.tag != COPY_DATA {
            return Err(FramingError::RowMessage.into());
        }
        self.n_misses += 1;
        while message.left > 0 {
            scratch.clear();
            message.receive_onto(scratch, message.left.min(LARGE_VALUE_BYTES))?;
            self.stitch.push(scratch)?;
        }
        Ok(())
    }
}
