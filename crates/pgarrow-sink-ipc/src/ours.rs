//! Whether an export wrote a file: the schema of such a file says where its rows are from.
//!
//! Arrow IPC has no place for the name of the program that writes it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use arrow_ipc::reader::read_footer_length;
use arrow_ipc::{Schema, root_as_footer, root_as_message};

/// The prefix of the keys that exports put into the metadata of a schema, as in `pg.server_version`.
const KEY_PREFIX: &str = "pg.";

/// Length of the footer, and magic.
const TRAILER_BYTES: u64 = 10;

/// Two words before a stream's first message: a mark, and the message's length.
const PREFIX_BYTES: u64 = 8;

const CONTINUATION: [u8; 4] = [0xff; 4];

/// Whether an export of any version wrote a file, as Arrow IPC file or stream: the metadata of its schema
/// have a key that begins with `pg.`.
///
/// A file that cannot be read does not count as an export's.
pub fn is_ours(path: impl AsRef<Path>) -> bool {
    let Ok(mut file) = File::open(path) else { return false };
    footer_is_ours(&mut file).or_else(|_| stream_is_ours(&mut file)).unwrap_or(false)
}

fn footer_is_ours(file: &mut File) -> io::Result<bool> {
    let trailer_start = file.metadata()?.len().checked_sub(TRAILER_BYTES).ok_or_else(damaged)?;
    let mut trailer = [0; TRAILER_BYTES as usize];
    file.seek(SeekFrom::Start(trailer_start))?;
    file.read_exact(&mut trailer)?;
    let footer_bytes = read_footer_length(trailer).map_err(|_| damaged())? as u64;
    let footer_start = trailer_start.checked_sub(footer_bytes).ok_or_else(damaged)?;
    let footer = read_at(file, footer_start, footer_bytes)?;
    let footer = root_as_footer(&footer).map_err(|_| damaged())?;
    Ok(footer.schema().is_some_and(names_us))
}

fn stream_is_ours(file: &mut File) -> io::Result<bool> {
    let file_bytes = file.metadata()?.len();
    let prefix = read_at(file, 0, PREFIX_BYTES)?;
    let (Some(length), true) = (prefix.last_chunk::<4>(), prefix.starts_with(&CONTINUATION)) else {
        return Err(damaged());
    };
    let length = u64::from(u32::from_le_bytes(*length));
    if length > file_bytes {
        return Err(damaged());
    }
    let message = read_at(file, PREFIX_BYTES, length)?;
    let message = root_as_message(&message).map_err(|_| damaged())?;
    Ok(message.header_as_schema().is_some_and(names_us))
}

fn names_us(schema: Schema<'_>) -> bool {
    let mut pairs = schema.custom_metadata().into_iter().flatten();
    pairs.any(|pair| pair.key().is_some_and(|key| key.starts_with(KEY_PREFIX)))
}

/// Reads this many bytes, and fails if the file has fewer.
fn read_at(file: &mut File, start: u64, n_bytes: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(n_bytes).read_to_end(&mut bytes)?;
    match bytes.len() as u64 == n_bytes {
        true => Ok(bytes),
        false => Err(damaged()),
    }
}

fn damaged() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
