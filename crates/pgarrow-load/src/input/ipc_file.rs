//! Arrow IPC files: a footer at the end locates the messages.
//!
//! ```text
//!  "ARROW1" 00 00, messages, footer, u32 length of the footer, "ARROW1"
//! ```
//!
//! Source: <https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format>.

use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::read_footer_length;
use arrow_ipc::{Block, root_as_footer};
use arrow_schema::ArrowError;

use super::OpenFile;
use super::ipc::{CONTINUATION, Decoder, body_bytes, damaged, message, rows, schema};

/// Length of the footer and magic.
const TRAILER_BYTES: u64 = 10;

/// Opens a file of so many bytes. Its rows are counted beforehand if that is cheap: each batch states its
/// own.
pub(super) fn open(
    mut file: impl Read + Seek + 'static,
    file_bytes: u64,
    is_cheap: bool,
) -> Result<OpenFile, ArrowError> {
    let truncated = || damaged("it does not end as Arrow IPC files do; it may not be complete");
    let trailer_start = file_bytes.checked_sub(TRAILER_BYTES).ok_or_else(truncated)?;
    let mut trailer = [0; TRAILER_BYTES as usize];
    file.seek(SeekFrom::Start(trailer_start))?;
    file.read_exact(&mut trailer)?;
    let footer_bytes = read_footer_length(trailer).map_err(|_| truncated())?;
    let footer_start = trailer_start.checked_sub(footer_bytes as u64).ok_or_else(truncated)?;
    let footer = read_at(&mut file, footer_start, footer_bytes)?;
    let footer =
        root_as_footer(&footer).map_err(|error| damaged(&format!("its footer cannot be read: {error}")))?;
    let schema = schema(footer.schema().ok_or_else(|| damaged("its footer has no schema"))?)?;
    let blocks = footer.recordBatches().into_iter().flatten().map(|block| Place::of(block, footer_start));
    let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
    let mut decoder = Decoder::new(Arc::clone(&schema));
    for block in footer.dictionaries().into_iter().flatten() {
        let block = Place::of(block, footer_start)?;
        if block.read(&mut file, &mut decoder)?.is_some() {
            return Err(damaged("a message is a batch where a dictionary should be"));
        }
    }
    let n_rows = is_cheap.then(|| count(&mut file, &blocks)).transpose()?;
    let batches = blocks.into_iter().map(move |block| {
        let batch = block.read(&mut file, &mut decoder)?;
        batch.ok_or_else(|| damaged("a message is a dictionary where a batch should be"))
    });
    Ok(OpenFile { schema, rows: n_rows, batches: Box::new(batches) })
}

fn count(file: &mut (impl Read + Seek), blocks: &[Place]) -> Result<u64, ArrowError> {
    let mut n_rows = 0_u64;
    for block in blocks {
        let metadata = block.metadata(file)?;
        let batch_rows = rows(&message(flatbuffer(&metadata)?)?)?;
        n_rows = n_rows.checked_add(batch_rows).ok_or_else(|| damaged("it has too many rows"))?;
    }
    Ok(n_rows)
}

/// The position of a message in the file.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: u64,
    metadata_bytes: usize,
    body_bytes: usize,
}

impl Place {
    fn of(block: &Block, end: u64) -> Result<Self, ArrowError> {
        let place = || {
            let start = u64::try_from(block.offset()).ok()?;
            let metadata_bytes = usize::try_from(block.metaDataLength()).ok()?;
            let body_bytes = usize::try_from(block.bodyLength()).ok()?;
            let bytes = (metadata_bytes as u64).checked_add(body_bytes as u64)?;
            (start.checked_add(bytes)? <= end).then_some(Self { start, metadata_bytes, body_bytes })
        };
        place().ok_or_else(|| damaged("its footer names places outside of the file"))
    }

    fn metadata(&self, file: &mut (impl Read + Seek)) -> Result<Vec<u8>, ArrowError> {
        read_at(file, self.start, self.metadata_bytes)
    }

    fn read(
        &self,
        file: &mut (impl Read + Seek),
        decoder: &mut Decoder,
    ) -> Result<Option<RecordBatch>, ArrowError> {
        let metadata = self.metadata(file)?;
        let message = message(flatbuffer(&metadata)?)?;
        if body_bytes(&message)? > self.body_bytes as u64 {
            return Err(damaged("a message is longer than the footer says"));
        }
        let body = read_at(file, self.start + self.metadata_bytes as u64, self.body_bytes)?;
        decoder.read(&message, &Buffer::from_vec(body))
    }
}

/// A message's metadata after their length.
fn flatbuffer(metadata: &[u8]) -> Result<&[u8], ArrowError> {
    let flatbuffer = match metadata.strip_prefix(&CONTINUATION) {
        Some(rest) => rest.get(4..),
        None => metadata.get(4..),
    };
    flatbuffer.ok_or_else(|| damaged("a message is too short"))
}

/// Reads bytes whose position was checked against the file's length.
fn read_at(file: &mut (impl Read + Seek), start: u64, n_bytes: usize) -> Result<Vec<u8>, ArrowError> {
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::with_capacity(n_bytes);
    file.take(n_bytes as u64).read_to_end(&mut bytes)?;
    match bytes.len() == n_bytes {
        true => Ok(bytes),
        false => Err(damaged("it ends too early")),
    }
}
