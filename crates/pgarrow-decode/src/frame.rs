//! The one message that belongs to the stream: CopyData, or DataRow.
//!
//! ```text
//! 'd' or 'D' │ u32 length, itself included │ payload
//! ```

use crate::error::FramingError;

/// The tag of CopyData.
pub(crate) const COPY_DATA: u8 = b'd';

/// The tag of DataRow.
pub(crate) const DATA_ROW: u8 = b'D';

/// Bytes before a payload.
pub(crate) const HEADER_BYTES: usize = 5;

/// What is at the start of the received bytes.
#[derive(Debug)]
pub(crate) enum Frame<'a> {
    /// A whole message of the stream.
    Payload(&'a [u8]),
    /// The beginning of a message, or nothing.
    Partial,
    /// A message with another tag.
    Other,
}

/// Reads the first message of `bytes`; `data` is the tag of messages that hold the stream.
pub(crate) fn first_frame(bytes: &[u8], data: u8) -> Result<Frame<'_>, FramingError> {
    let Some((tag, rest)) = bytes.split_first() else {
        return Ok(Frame::Partial);
    };
    if *tag != data {
        return Ok(Frame::Other);
    }
    let Some((length, rest)) = rest.split_first_chunk::<4>() else {
        return Ok(Frame::Partial);
    };
    let length = u32::from_be_bytes(*length);
    let payload_bytes = length.checked_sub(4).ok_or(FramingError::MessageLength(length))?;
    Ok(rest.get(..payload_bytes as usize).map_or(Frame::Partial, Frame::Payload))
}

/// Bytes of the message at the start of `bytes`, if it belongs to the stream and is incomplete.
pub(crate) fn cut_off_frame(bytes: &[u8], data: u8) -> Option<usize> {
    let [tag, length @ ..] = bytes.first_chunk::<HEADER_BYTES>()?;
    let frame_bytes = 1 + u32::from_be_bytes(*length) as usize;
    (*tag == data && bytes.len() < frame_bytes).then_some(frame_bytes)
}
