//! Files that are elsewhere: read in parts, some of them ahead.
//!
//! ```text
//!  RemoteFile::fetch(part) ─▶ part ─▶ window: the bytes that are there, and the next ones on their way
//! ```
//!
//! A window covers the file, or the values of one column in one row group: these are read in turns.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

/// The longest part that is asked for at once.
pub const PART_BYTES_MAX: usize = 8 << 20;

/// How many of the longest parts the windows of all columns have together at most, twice: for what is there,
/// and for what is on its way.
const AHEAD_PARTS: usize = 4;

/// Columns beyond some 500 have at least this much each.
const WINDOW_BYTES_MIN: usize = 64 << 10;

/// Waits for a part of a file. Dropping it instead stops the part.
pub type RemotePart = Box<dyn FnOnce() -> io::Result<Bytes> + Send>;

/// A file of a store or a server, which can be read in any order. It is one version of the file: when the
/// file is replaced meanwhile, reading fails.
pub trait RemoteFile: fmt::Debug + Send + Sync {
    /// A name for messages and restart keys: a URL without secrets.
    fn name(&self) -> &str;

    /// Its size in bytes.
    fn bytes(&self) -> u64;

    /// What tells this version from others, such as an `ETag`. `None` if nothing does.
    fn version(&self) -> Option<&str>;

    /// Asks for a part of at most [`PART_BYTES_MAX`], and does not wait for it: all its bytes, or an error
    /// with a text for people.
    fn fetch(&self, range: Range<u64>) -> RemotePart;
}

/// Reads a remote file. Clones share what was read.
#[derive(Clone)]
pub(super) struct RemoteReader {
    file: Arc<dyn RemoteFile>,
    /// The longest part, in bytes.
    part_bytes: usize,
    windows: Arc<Mutex<Windows>>,
}

struct Windows {
    /// The one of the whole file is the last.
    windows: Vec<Window>,
    /// Why reading has failed. What tries again does so in vain, and would wait long for it.
    failed: Option<(io::ErrorKind, String)>,
}

/// A part of the file of which some bytes are there.
struct Window {
    range: Range<u64>,
    /// How many bytes are asked for at once.
    step: u64,
    start: u64,
    bytes: Bytes,
    next: Option<(Range<u64>, RemotePart)>,
}

impl Window {
    fn new(range: Range<u64>, step: usize) -> Self {
        Self { start: range.start, range, step: step as u64, bytes: Bytes::new(), next: None }
    }

    /// The bytes from `start` on that are there, at least one. Asks for more behind them.
    fn at(&mut self, start: u64, file: &dyn RemoteFile) -> io::Result<Bytes> {
        let there = start.checked_sub(self.start).and_then(|skipped| usize::try_from(skipped).ok());
        if let Some(skipped) = there.filter(|skipped| *skipped < self.bytes.len()) {
            return Ok(self.bytes.slice(skipped..));
        }
        let (range, part) = match self.next.take() {
            Some((range, part)) if range.contains(&start) => (range, part),
            _ => {
                let range = start..self.range.end.min(start.saturating_add(self.step));
                (range.clone(), file.fetch(range))
            }
        };
        let skipped = usize::try_from(start - range.start).unwrap_or_default();
        let (start, end) = (range.start, range.end);
        let is_next = self.start.saturating_add(self.bytes.len() as u64) == start;
        // What was there goes before more comes.
        self.bytes = Bytes::new();
        let bytes = part()?;
        if bytes.len() as u64 != end - start {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (self.start, self.bytes) = (start, bytes);
        let next = end..self.range.end.min(end.saturating_add(self.step));
        // What jumps may not come back: only what goes on is read ahead.
        if !next.is_empty() && (is_next || start == self.range.start) {
            self.next = Some((next.clone(), file.fetch(next)));
        }
        Ok(self.bytes.slice(skipped..))
    }
}

impl RemoteReader {
    pub(super) fn new(file: Arc<dyn RemoteFile>) -> Self {
        Self::by_parts(file, PART_BYTES_MAX)
    }

    fn by_parts(file: Arc<dyn RemoteFile>, part_bytes: usize) -> Self {
        let whole = Window::new(0..file.bytes(), part_bytes);
        let windows = Windows { windows: vec![whole], failed: None };
        Self { file, part_bytes, windows: Arc::new(Mutex::new(windows)) }
    }

    /// Whether one part is the whole file.
    fn is_small(&self) -> bool {
        self.file.bytes() <= self.part_bytes as u64
    }

    /// Names the parts that are read next, in turns, each from its beginning to its end. What is there of
    /// others goes.
    pub(super) fn expect(&self, parts: impl ExactSizeIterator<Item = Range<u64>>) {
        let step = (AHEAD_PARTS * self.part_bytes / parts.len().max(1)).max(WINDOW_BYTES_MIN);
        let step = step.min(self.part_bytes);
        let is_small = self.is_small();
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(whole) = windows.windows.pop() else { return };
        windows.windows.clear();
        // One part has all of a small file.
        if !is_small {
            let parts = parts.filter(|part| !part.is_empty() && part.end <= self.file.bytes());
            windows.windows.extend(parts.map(|part| Window::new(part, step)));
        }
        let whole = if is_small { whole } else { Window::new(whole.range, self.part_bytes) };
        windows.windows.push(whole);
    }

    /// The bytes from `start` on that are there, at least one if the file has it.
    fn at(&self, start: u64) -> io::Result<Bytes> {
        if start >= self.file.bytes() {
            return Ok(Bytes::new());
        }
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((kind, text)) = &windows.failed {
            return Err(io::Error::new(*kind, text.clone()));
        }
        let window = windows.windows.iter_mut().find(|window| window.range.contains(&start));
        let bytes = window.map_or_else(|| Ok(Bytes::new()), |window| window.at(start, self.file.as_ref()));
        if let Err(error) = &bytes {
            windows.failed = Some((error.kind(), error.to_string()));
        }
        bytes
    }

    /// The first bytes, at most `n_bytes`; of a large file, nothing else is asked for.
    pub(super) fn head(&self, n_bytes: u64) -> io::Result<Bytes> {
        if self.is_small() {
            let bytes = self.at(0)?;
            let n_bytes = usize::try_from(n_bytes).unwrap_or(usize::MAX).min(bytes.len());
            return Ok(bytes.slice(..n_bytes));
        }
        self.file.fetch(0..n_bytes)()
    }
}

impl fmt::Debug for RemoteReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteReader").field(&self.file).finish()
    }
}

impl Length for RemoteReader {
    fn len(&self) -> u64 {
        self.file.bytes()
    }
}

impl ChunkReader for RemoteReader {
    type T = RemoteCursor;

    fn get_read(&self, start: u64) -> Result<RemoteCursor, ParquetError> {
        Ok(RemoteCursor { reader: self.clone(), position: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let short = || ParquetError::EOF("it ends too early".to_owned());
        let end = start.checked_add(length as u64).filter(|end| *end <= self.len()).ok_or_else(short)?;
        if length == 0 {
            return Ok(Bytes::new());
        }
        let said = |error: io::Error| ParquetError::General(error.to_string());
        let first = self.at(start).map_err(said)?;
        if first.len() >= length {
            return Ok(first.slice(..length));
        }
        // The length is a claim: memory grows as bytes come.
        let mut bytes = Vec::new();
        let mut rest = first;
        loop {
            let missing = usize::try_from(end - start).unwrap_or(usize::MAX) - bytes.len();
            bytes.extend_from_slice(rest.get(..missing).unwrap_or(&rest));
            if bytes.len() == length {
                return Ok(bytes.into());
            }
            rest = self.at(start + bytes.len() as u64).map_err(said)?;
            if rest.is_empty() {
                return Err(short());
            }
        }
    }
}

/// Reads on from a position.
#[derive(Debug)]
pub(super) struct RemoteCursor {
    reader: RemoteReader,
    position: u64,
}

impl RemoteCursor {
    pub(super) fn new(reader: RemoteReader) -> Self {
        Self { reader, position: 0 }
    }

    pub(super) fn len(&self) -> u64 {
        self.reader.len()
    }
}

impl Read for RemoteCursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut bytes = self.reader.at(self.position)?;
        let n_bytes = bytes.len().min(buffer.len());
        if let Some(buffer) = buffer.get_mut(..n_bytes) {
            bytes.copy_to_slice(buffer);
        }
        self.position += n_bytes as u64;
        Ok(n_bytes)
    }
}

impl Seek for RemoteCursor {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        let position = match position {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.len().checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of one range are meant")]
mod tests {
    use super::*;

    /// A file in memory, and what was asked for.
    #[derive(Debug)]
    struct Memory {
        bytes: Bytes,
        asked: Mutex<Vec<Range<u64>>>,
        /// From this byte on, reading fails.
        broken_from: u64,
    }

    impl Memory {
        fn new(bytes: Vec<u8>) -> Arc<Self> {
            Arc::new(Self { bytes: bytes.into(), asked: Mutex::new(Vec::new()), broken_from: u64::MAX })
        }

        fn take_asked(&self) -> Vec<Range<u64>> {
            std::mem::take(&mut self.asked.lock().unwrap())
        }
    }

    impl RemoteFile for Memory {
        fn name(&self) -> &str {
            "memory://x"
        }

        fn bytes(&self) -> u64 {
            self.bytes.len() as u64
        }

        fn version(&self) -> Option<&str> {
            None
        }

        fn fetch(&self, range: Range<u64>) -> RemotePart {
            self.asked.lock().unwrap().push(range.clone());
            let is_broken = range.end > self.broken_from;
            let bytes = self.bytes.slice(range.start as usize..range.end as usize);
            Box::new(move || if is_broken { Err(io::Error::other("the store broke")) } else { Ok(bytes) })
        }
    }

    fn some_bytes(n_bytes: usize) -> Vec<u8> {
        (0..n_bytes).map(|index| (index * 7 + index / 256) as u8).collect()
    }

    #[test]
    fn every_part_size_gives_the_same_bytes() {
        let bytes = some_bytes(100);
        for part_bytes in 1..=101 {
            let reader = RemoteReader::by_parts(Memory::new(bytes.clone()), part_bytes);
            let mut cursor = RemoteCursor::new(reader.clone());
            let mut read = Vec::new();
            cursor.read_to_end(&mut read).unwrap();
            assert_eq!(read, bytes, "{part_bytes}");
            // In turns, as columns are read, and across the ends of windows.
            reader.expect([0..40, 40..41, 41..100, 100..200, 7..7].into_iter());
            for offset in 0..30 {
                for (start, length) in [(offset, 10), (40, 1), (41 + offset, 29), (90, 10), (0, 100)] {
                    let found = reader.get_bytes(start as u64, length).unwrap();
                    assert_eq!(found, bytes[start..start + length], "{part_bytes}, {start}, {length}");
                }
            }
            assert!(reader.get_bytes(1, 100).is_err() && reader.get_bytes(u64::MAX, 2).is_err());
            cursor.seek(SeekFrom::End(-1)).unwrap();
            assert_eq!(cursor.read(&mut [0; 5]).unwrap(), 1);
            assert_eq!(cursor.read(&mut [0; 5]).unwrap(), 0);
            assert_eq!(reader.head(8).unwrap(), bytes[..8.min(bytes.len())], "{part_bytes}");
        }
    }

    #[test]
    fn what_goes_on_is_read_ahead_and_what_jumps_is_not() {
        let file = Memory::new(some_bytes(100));
        let reader = RemoteReader::by_parts(Arc::clone(&file) as _, 10);
        // The footer and the first bytes of a large file.
        reader.get_bytes(92, 8).unwrap();
        assert_eq!(file.take_asked(), [92..100]);
        reader.head(8).unwrap();
        assert_eq!(file.take_asked(), [0..8]);
        reader.expect([0..30, 30..60].into_iter());
        for start in [0, 30, 5, 35] {
            reader.get_bytes(start, 5).unwrap();
        }
        assert_eq!(file.take_asked(), [0..10, 10..20, 30..40, 40..50]);
        reader.get_bytes(10, 5).unwrap();
        assert_eq!(file.take_asked(), [20..30]);
        reader.get_bytes(20, 10).unwrap();
        assert_eq!(file.take_asked(), []);
    }

    #[test]
    fn a_small_file_is_asked_for_once() {
        let file = Memory::new(some_bytes(100));
        let reader = RemoteReader::by_parts(Arc::clone(&file) as _, 100);
        reader.head(8).unwrap();
        reader.get_bytes(92, 8).unwrap();
        reader.expect([0..30, 30..60].into_iter());
        reader.get_bytes(30, 10).unwrap();
        assert_eq!(file.take_asked(), [0..100]);
    }

    #[test]
    fn what_has_failed_is_not_tried_again() {
        let file =
            Arc::new(Memory { broken_from: 50, ..Arc::into_inner(Memory::new(some_bytes(100))).unwrap() });
        let reader = RemoteReader::by_parts(Arc::clone(&file) as _, 10);
        let mut read = Vec::new();
        let error = RemoteCursor::new(reader.clone()).read_to_end(&mut read).unwrap_err();
        assert_eq!((read.len(), error.to_string().as_str()), (50, "the store broke"));
        file.take_asked();
        assert!(reader.get_bytes(0, 5).unwrap_err().to_string().contains("the store broke"));
        assert_eq!(file.take_asked(), []);
    }
}
