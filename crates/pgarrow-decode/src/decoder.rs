//! `CopyDecoder`: received bytes in, batches out.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use pgarrow_column::{BufferReuse, CHUNK_ROWS, Column, Effects};

use crate::batch::{Batch, BatchLimits, ChunkSource, WireRows};
use crate::error::{ChunkRefused, DecodeError, FramingError};
use crate::frame::{COPY_DATA, DATA_ROW, Frame, HEADER_BYTES, first_frame};
use crate::sift::{RejectedRow, Sift, decode_one_by_one};
use crate::stitch::{Stitch, check_tuple};

/// Wire bytes of a chunk: a size that fits the second-level cache beside the columns' own buffers.
const CHUNK_BYTES: usize = 64 << 10;

/// After more chunks than this whose messages were not one tuple each, the decoder gives up the framed way.
const MISSES_MAX: u32 = 8;

/// Decodes one COPY stream.
///
/// ```text
///  received bytes ─▶ framed: rows by their messages ──────────────┐
///                 └▶ stitched: rows by walking their values ──────┴▶ columns ─▶ batch
/// ```
#[derive(Debug)]
pub struct CopyDecoder {
    pub(crate) batch: Batch,
    pub(crate) stitch: Stitch,
    /// Messages to stitch before the framed way is tried again.
    n_to_stitch: usize,
    /// Chunks for which the framed way failed.
    pub(crate) n_misses: u32,
    /// The tag of the messages that hold the rows.
    pub(crate) tag: u8,
    cursors: Box<[u32; CHUNK_ROWS]>,
    ends: Box<[u32; CHUNK_ROWS]>,
    pub(crate) failed: Option<DecodeError>,
    /// Values of a large row that must be decoded.
    pub(crate) scratch: Vec<u8>,
    /// The last call of `decode` stopped for a large row.
    pub(crate) is_large_next: bool,
    /// Rows with refused values, if they are left out.
    pub(crate) sift: Option<Sift>,
}

/// The result of [`CopyDecoder::decode`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// Bytes used: whole messages.
    pub used_bytes: usize,
    /// Why it stopped there.
    pub stop: StopReason,
}

/// Why the decoder stopped before the end of the bytes, or at it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StopReason {
    /// The rest is the beginning of a message. Receive more and call again.
    NeedMore,
    /// The rest begins with a message that is not part of the stream, and so not the decoder's.
    OtherMessage,
    /// The batch is full: [`CopyDecoder::flush`], then call again with the rest.
    BatchFull,
    /// The rest is the beginning of a message larger than [`LARGE_FRAME_BYTES`](crate::LARGE_FRAME_BYTES).
    /// Either receive all of it and call again, or let [`CopyDecoder::decode_large`] receive it into its
    /// columns.
    LargeRow {
        /// Bytes of the message with its header, as the header claims.
        bytes: usize,
    },
}

impl CopyDecoder {
    /// `columns` are those of `schema`, in its order.
    pub fn new(schema: SchemaRef, columns: Vec<Box<dyn Column>>, limits: BatchLimits) -> Self {
        Self::with_stitch(Stitch::copy(), COPY_DATA, Batch::new(schema, columns, limits))
    }

    /// For rows that come as DataRow messages (tag `D`), as a SELECT or a cursor sends them: a message is
    /// exactly one row, and there is neither header nor trailer.
    pub fn for_rows(schema: SchemaRef, columns: Vec<Box<dyn Column>>, limits: BatchLimits) -> Self {
        Self::with_stitch(Stitch::rows(), DATA_ROW, Batch::new(schema, columns, limits))
    }

    fn with_stitch(stitch: Stitch, tag: u8, batch: Batch) -> Self {
        Self {
            batch,
            stitch,
            n_to_stitch: 0,
            n_misses: 0,
            tag,
            cursors: Box::new([0; CHUNK_ROWS]),
            ends: Box::new([0; CHUNK_ROWS]),
            failed: None,
            scratch: Vec::new(),
            is_large_next: false,
            sift: None,
        }
    }

    /// Leaves out rows with a legal value that Arrow cannot hold
    /// ([`ValueError::is_of_legal_value`](pgarrow_column::ValueError::is_of_legal_value)) instead of stopping
    /// at them: [`take_rejected`](Self::take_rejected) has them. Take them after each call of
    /// [`decode`](Self::decode), since they count as memory.
    ///
    /// Text that is not UTF-8 still stops the decoder, because it is found when the batch is complete.
    #[must_use]
    pub fn rejecting(mut self) -> Self {
        self.sift = Some(Sift::default());
        self
    }

    /// Whether rows were left out that were not taken yet.
    pub fn has_rejected(&self) -> bool {
        self.sift.as_ref().is_some_and(|sift| !sift.is_empty())
    }

    /// The rows that were left out since the last call, in their order.
    pub fn take_rejected(&mut self) -> Vec<RejectedRow> {
        self.sift.as_mut().map(Sift::take).unwrap_or_default()
    }

    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        self.batch.schema()
    }

    /// Rows decoded so far, flushed or not. With [`rows_rejected`](Self::rows_rejected), compare it with the
    /// server's `COPY n`.
    pub fn rows(&self) -> u64 {
        self.batch.total_rows()
    }

    /// Rows that were left out so far; see [`rejecting`](Self::rejecting).
    pub fn rows_rejected(&self) -> u64 {
        self.batch.rows_left_out()
    }

    /// Begins another stream of the same columns, with the same buffers and the sizes that the columns have
    /// learnt.
    ///
    /// Rows that were not flushed are dropped, and after an error the decoder can be used again.
    pub fn restart(&mut self) {
        self.batch.restart();
        self.stitch.restart();
        (self.n_to_stitch, self.n_misses) = (0, 0);
        self.failed = None;
        self.is_large_next = false;
        self.take_rejected();
    }

    /// Begins another stream. Its rows follow the present ones, flushed or not.
    pub fn continue_with_stream(&mut self) {
        self.stitch.restart();
        (self.n_to_stitch, self.n_misses) = (0, 0);
        self.is_large_next = false;
    }

    /// Whether the batch is full. It must be flushed before more is decoded.
    pub fn is_full(&self) -> bool {
        self.batch.is_full()
    }

    /// Whether batches are exact, as in [`BatchLimits::exact`].
    pub fn is_exact(&self) -> bool {
        self.batch.is_exact()
    }

    /// Rows that the next chunk may have; 0 if the batch is full.
    pub fn chunk_rows(&self) -> usize {
        if self.batch.is_full() { 0 } else { self.batch.chunk_rows() }
    }

    /// Decodes rows that do not come from the stream: `n_rows` of them, at most
    /// [`chunk_rows`](Self::chunk_rows). Returns how many it accepted: at least one, fewer than all if the
    /// others do not fit the batch.
    ///
    /// # Errors
    ///
    /// A value was refused. None of the rows was accepted, and the decoder can go on.
    pub fn decode_chunk(
        &mut self,
        n_rows: usize,
        source: &mut impl ChunkSource,
    ) -> Result<usize, ChunkRefused> {
        if self.failed.is_some() || n_rows == 0 {
            return Err(ChunkRefused);
        }
        self.batch.decode(n_rows, source).map_err(|_| ChunkRefused)
    }

    /// Changes the limit of Arrow bytes from here on, as in [`BatchLimits::bytes`]. The batch under
    /// construction may be full at once. The end of an exact batch then also depends on the time of this
    /// call.
    pub fn set_batch_bytes(&mut self, bytes: usize) {
        self.batch.set_bytes(bytes);
    }

    /// Bytes of memory that the decoder holds: the batch under construction, spare buffers, and received
    /// bytes that are not decoded.
    pub fn allocated_bytes(&self) -> usize {
        self.batch.allocated_bytes()
            + self.stitch.allocated_bytes()
            + self.scratch.capacity()
            + self.sift.as_ref().map_or(0, Sift::allocated_bytes)
            + 2 * size_of::<[u32; CHUNK_ROWS]>()
    }

    /// Takes a batch of this decoder back, to build others in its buffers. Buffers that are still in use
    /// elsewhere stay untouched.
    pub fn recycle(&mut self, batch: RecordBatch) {
        self.batch.recycle(batch);
    }

    /// How often batches were built in buffers that came back.
    pub fn reuse(&self) -> BufferReuse {
        self.batch.reuse()
    }

    /// What policies did to values of each column, in its order, in batches that were handed out since the
    /// last call.
    pub fn take_effects(&mut self) -> Vec<Effects> {
        self.batch.take_effects()
    }

    /// Whether the trailer has been decoded. A stream without it was cut off. For streams without a trailer
    /// ([`for_rows`](Self::for_rows)): whether all given bytes are decoded.
    pub fn is_complete(&self) -> bool {
        self.stitch.is_complete()
    }

    /// Decodes whole messages of the stream from `bytes`. Returns how many bytes it used.
    ///
    /// `bytes` are messages as they came from the socket, less than 4 GiB, starting where the last call
    /// stopped. The caller keeps an incomplete message at the end, and passes it again with more behind it.
    ///
    /// No part of a tuple is visible until all of it is decoded.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the stream is broken or a value cannot be represented. The decoder is then
    /// finished: later calls, also of [`flush`](Self::flush), give the same error.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<Progress, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.is_large_next = false;
        self.decode_messages(bytes).inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// Hands out the decoded rows as a batch; `None` if there are none.
    ///
    /// # Errors
    ///
    /// Errors that are found once per batch: invalid UTF-8, and NULL in columns declared NOT NULL.
    pub fn flush(&mut self) -> Result<Option<RecordBatch>, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.batch.finish().inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn decode_messages(&mut self, bytes: &[u8]) -> Result<Progress, DecodeError> {
        let mut used_bytes = 0;
        loop {
            // Bytes that are already here come first: a message may hold more rows than a batch.
            self.decode_stitched()?;
            if self.batch.is_full() {
                return Ok(Progress { used_bytes, stop: StopReason::BatchFull });
            }
            let rest = bytes.get(used_bytes..).unwrap_or_default();
            if let Some(stop) = self.large_row(rest) {
                return Ok(Progress { used_bytes, stop });
            }
            if self.n_to_stitch == 0 && self.stitch.is_at_tuple() {
                let framed_bytes = self.decode_framed(rest);
                if framed_bytes > 0 {
                    used_bytes += framed_bytes;
                    continue;
                }
            }
            let (stitched_bytes, stop) = self.push_messages(rest)?;
            if stitched_bytes == 0 {
                return Ok(Progress { used_bytes, stop });
            }
            used_bytes += stitched_bytes;
        }
    }

    /// The fast way: decodes a chunk of messages, each of which is exactly one tuple. Returns the used bytes;
    /// 0 if there is no such message, or if the chunk needs the stitched way.
    fn decode_framed(&mut self, bytes: &[u8]) -> usize {
        let (mut n_rows, mut end) = self.find_rows(bytes);
        if self.batch.is_exact() {
            (n_rows, end) = self.cut_exactly(n_rows, end);
        }
        let (Some(cursors), Some(ends)) = (self.cursors.get_mut(..n_rows), self.ends.get(..n_rows)) else {
            return 0;
        };
        if n_rows == 0 {
            return 0;
        }
        // Only up to here, so that no value is read from bytes that may still change.
        let chunk = bytes.get(..end).unwrap_or_default();
        match self.batch.decode(n_rows, &mut WireRows::new(chunk, cursors, ends, HEADER_BYTES)) {
            Ok(n_taken) if n_taken < n_rows => ends.get(n_taken - 1).map_or(0, |end| *end as usize),
            Ok(_) => end,
            // Either a message is not one tuple, or a value is refused. The stitched way finds out.
            Err(error) => {
                // A chunk with a row that is left out says nothing about the messages.
                self.n_misses += u32::from(self.sift.is_none() || !error.is_of_legal_value());
                self.n_to_stitch = if self.n_misses > MISSES_MAX { usize::MAX } else { n_rows };
                0
            }
        }
    }

    /// Pass 0: walks messages that may each be one tuple and notes where their values start and end. Returns
    /// their number, and the end of the last one.
    fn find_rows(&mut self, bytes: &[u8]) -> (usize, usize) {
        let Ok(n_columns) = u16::try_from(self.batch.n_columns()) else {
            return (0, 0);
        };
        let n_max = self.batch.chunk_rows();
        let tag = self.tag;
        let mut at = 0;
        let mut n_rows = 0;
        for (cursor, end) in self.cursors.iter_mut().zip(self.ends.iter_mut()).take(n_max) {
            let Some([found, l0, l1, l2, l3, c0, c1]) = bytes.get(at..).and_then(<[u8]>::first_chunk::<7>)
            else {
                break;
            };
            let length = u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize;
            let next = at + 1 + length;
            // The trailer also counts as a tuple, with another count.
            if *found != tag
                || length < 6
                || next > bytes.len()
                || u16::from_be_bytes([*c0, *c1]) != n_columns
            {
                break;
            }
            let (Ok(first_value), Ok(row_end)) = (u32::try_from(at + HEADER_BYTES + 2), u32::try_from(next))
            else {
                break;
            };
            *cursor = first_value;
            *end = row_end;
            n_rows += 1;
            at = next;
            if at >= CHUNK_BYTES {
                break;
            }
        }
        (n_rows, at)
    }

    /// Cuts a chunk behind the row with which an exact batch has its most wire bytes.
    fn cut_exactly(&self, n_rows: usize, end: usize) -> (usize, usize) {
        let wire_room = self.batch.wire_room();
        let ends = self.ends.iter().take(n_rows).map(|end| *end as usize).zip(1..);
        let mut full = ends.filter(|(end, n_rows)| end - n_rows * HEADER_BYTES >= wire_room);
        full.next().map_or((n_rows, end), |(end, n_rows)| (n_rows, end))
    }

    /// The careful way, first half: takes payloads until there is a chunk of them. Returns the used bytes,
    /// and why it stopped.
    fn push_messages(&mut self, bytes: &[u8]) -> Result<(usize, StopReason), DecodeError> {
        let mut used_bytes = 0;
        loop {
            let rest = bytes.get(used_bytes..).unwrap_or_default();
            let payload = match first_frame(rest, self.tag).map_err(|cause| self.framing_error(cause))? {
                Frame::Payload(payload) => payload,
                Frame::Partial => return Ok((used_bytes, StopReason::NeedMore)),
                Frame::Other => return Ok((used_bytes, StopReason::OtherMessage)),
            };
            if self.tag == DATA_ROW
                && let Err(cause) = check_tuple(payload, self.batch.n_columns())
            {
                // The rows before the large one are decoded first.
                return if used_bytes > 0 {
                    Ok((used_bytes, StopReason::NeedMore))
                } else {
                    Err(self.framing_error(cause))
                };
            }
            self.stitch.push(payload).map_err(|cause| self.framing_error(cause))?;
            used_bytes += HEADER_BYTES + payload.len();
            self.n_to_stitch = self.n_to_stitch.saturating_sub(usize::from(self.n_to_stitch != usize::MAX));
            if self.n_to_stitch == 0 || self.stitch.held_bytes() >= CHUNK_BYTES {
                return Ok((used_bytes, StopReason::NeedMore));
            }
        }
    }

    /// The careful way, second half: decodes the whole rows that were put together.
    fn decode_stitched(&mut self) -> Result<(), DecodeError> {
        while !self.batch.is_full() {
            let n_max = self.batch.chunk_rows();
            let end_min = self.batch.wire_room().min(CHUNK_BYTES);
            let mut n_rows = 0;
            let mut end = 0;
            let mut broken = None;
            for (cursor, row_end) in self.cursors.iter_mut().zip(self.ends.iter_mut()).take(n_max) {
                let row = match self.stitch.next_row(end, self.batch.n_columns()) {
                    Ok(Some(row)) => row,
                    Ok(None) => break,
                    Err(cause) => {
                        broken = Some(cause);
                        break;
                    }
                };
                let (Ok(first_value), Ok(at_end)) = (u32::try_from(row.first_value), u32::try_from(row.end))
                else {
                    break;
                };
                *cursor = first_value;
                *row_end = at_end;
                end = row.end;
                n_rows += 1;
                if end >= end_min {
                    break;
                }
            }
            if let (Some(cursors), Some(ends), 1..) =
                (self.cursors.get_mut(..n_rows), self.ends.get(..n_rows), n_rows)
            {
                let chunk = self.stitch.bytes().get(..end).unwrap_or_default();
                let decoded = self.batch.decode(n_rows, &mut WireRows::new(chunk, cursors, ends, 0));
                let n_taken = match (decoded, &mut self.sift) {
                    (Err(error), Some(sift)) if error.is_of_legal_value() => {
                        decode_one_by_one(&mut self.batch, chunk, ends, sift)?
                    }
                    (decoded, _) => decoded.map_err(|error| self.batch.chunk_error(error))?,
                };
                if n_taken < n_rows {
                    // The rows behind these are found again.
                    end = ends.get(n_taken - 1).map_or(0, |end| *end as usize);
                    broken = None;
                    self.stitch.go_back();
                }
            }
            self.stitch.consume(end);
            if let Some(cause) = broken {
                return Err(self.framing_error(cause));
            }
            if n_rows == 0 {
                break;
            }
        }
        Ok(())
    }

    pub(crate) fn framing_error(&self, cause: FramingError) -> DecodeError {
        DecodeError::Framing { row: self.batch.next_row_number(), cause }
    }
}

#[cfg(test)]
mod tests;
