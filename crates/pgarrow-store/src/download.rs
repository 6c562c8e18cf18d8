//! Reading an object: in pieces where a store can, the next one on its way while one is read.

use std::io::{self, Read};
use std::ops::Range;

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, ObjectStoreExt};
use pgarrow_sink::SinkError;
use tokio::time::timeout;

use crate::background::{self, Task};
use crate::bucket::{Bucket, found};
use crate::patience::PIECE_BYTES;
use crate::trouble::Trouble;

pub(crate) type Fetched = Result<Bytes, Trouble>;
type Stream = BoxStream<'static, object_store::Result<Bytes>>;

/// What is at `path`; `None` for nothing.
pub(crate) fn open(
    bucket: Bucket,
    path: &str,
    object: Path,
) -> Result<Option<Box<dyn Read + Send>>, SinkError> {
    // Not every web server answers HEAD, and not every one has pieces.
    if bucket.is_web() {
        return open_web(bucket, path, object);
    }
    let Some(meta) = bucket.head("read", path)? else { return Ok(None) };
    let of = Version { bucket, object, e_tag: meta.e_tag, size: meta.size };
    let pieces = Pieces { of, next_byte: 0 };
    let mut reader = Pieced { pieces, current: Bytes::new(), next: None };
    reader.next = reader.pieces.fetch()?;
    Ok(Some(careful(reader)))
}

fn open_web(bucket: Bucket, path: &str, object: Path) -> Result<Option<Box<dyn Read + Send>>, SinkError> {
    Ok(match first_of_web(bucket, path, object)? {
        None => None,
        Some(First::Piece(of, next_byte, current)) => {
            let mut reader = Pieced { pieces: Pieces { of, next_byte }, current, next: None };
            reader.next = reader.pieces.fetch()?;
            Some(careful(reader))
        }
        Some(First::Whole(whole)) => Some(careful(whole)),
    })
}

/// What a web server sends first: a piece of a known version, or the whole. `None` for nothing.
pub(crate) fn first_of_web(bucket: Bucket, path: &str, object: Path) -> Result<Option<First>, SinkError> {
    let (store, wanted) = (bucket.store(), object.clone());
    let first = bucket.run("read", path, PIECE_BYTES, async move {
        let range = GetRange::Bounded(0..PIECE_BYTES as u64);
        match store.get_opts(&wanted, GetOptions::new().with_range(Some(range))).await {
            // Without a mark of its version, pieces could be of several.
            Ok(result) if result.meta.e_tag.as_ref().is_some_and(|mark| !mark.starts_with("W/")) => {
                let (meta, range) = (result.meta.clone(), result.range.clone());
                Ok(Some(Answer::Piece(meta, range.end, result.bytes().await?)))
            }
            // An empty file has no first piece, and a server without pieces sends the whole.
            _ => Ok(found(store.get(&wanted).await)?.map(Answer::Whole)),
        }
    })?;
    Ok(first.map(|first| match first {
        Answer::Piece(meta, next_byte, bytes) => {
            First::Piece(Version { bucket, object, e_tag: meta.e_tag, size: meta.size }, next_byte, bytes)
        }
        Answer::Whole(result) => {
            let missing = result.meta.size;
            let stream = Some(result.into_stream());
            First::Whole(Streamed { bucket, stream, current: Bytes::new(), missing })
        }
    }))
}

enum Answer {
    Piece(object_store::ObjectMeta, u64, Bytes),
    Whole(GetResult),
}

pub(crate) enum First {
    /// The first bytes, and where the next ones begin.
    Piece(Version, u64, Bytes),
    Whole(Streamed),
}

/// An object of one version.
#[derive(Clone)]
pub(crate) struct Version {
    pub(crate) bucket: Bucket,
    pub(crate) object: Path,
    pub(crate) e_tag: Option<String>,
    pub(crate) size: u64,
}

impl Version {
    /// Asks for a part of it, of at most [`PIECE_BYTES`]. If there is another version by then, that fails.
    pub(crate) fn fetch(&self, range: Range<u64>) -> Result<Task<Fetched>, SinkError> {
        let n_bytes = range.end - range.start;
        let options =
            GetOptions::new().with_range(Some(GetRange::Bounded(range))).with_if_match(self.e_tag.clone());
        let (bucket, store, object) = (self.bucket.clone(), self.bucket.store(), self.object.clone());
        let e_tag = self.e_tag.clone();
        let fetched = bucket.in_time(PIECE_BYTES, async move {
            let result = store.get_opts(&object, options).await?;
            // Not every server knows the condition.
            if e_tag.is_some() && result.meta.e_tag != e_tag {
                let (path, source) = (object.to_string(), "another version".into());
                return Err(object_store::Error::Precondition { path, source });
            }
            result.bytes().await
        });
        let work = async move {
            match fetched.await? {
                bytes if bytes.len() as u64 == n_bytes => Ok(bytes),
                _ => Err(bucket.odd()),
            }
        };
        background::start(work)
    }
}

/// An object, and how far it was asked for.
struct Pieces {
    of: Version,
    next_byte: u64,
}

impl Pieces {
    /// Asks for the next piece; `None` after the last.
    fn fetch(&mut self) -> Result<Option<Task<Fetched>>, SinkError> {
        let end = self.of.size.min(self.next_byte + PIECE_BYTES as u64);
        if self.next_byte == end {
            return Ok(None);
        }
        let task = self.of.fetch(self.next_byte..end)?;
        self.next_byte = end;
        Ok(Some(task))
    }
}

struct Pieced {
    pieces: Pieces,
    current: Bytes,
    next: Option<Task<Fetched>>,
}

impl Read for Pieced {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() && !buffer.is_empty() {
            let Some(next) = self.next.take() else { return Ok(0) };
            let fetched = self.pieces.of.bucket.wait(next).map_err(io::Error::other)?;
            self.current = fetched.map_err(Trouble::into_io)?;
            self.next = self.pieces.fetch().map_err(io::Error::other)?;
        }
        Ok(take(&mut self.current, buffer))
    }
}

/// An answer as it comes.
pub(crate) struct Streamed {
    bucket: Bucket,
    stream: Option<Stream>,
    current: Bytes,
    missing: u64,
}

impl Read for Streamed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !buffer.is_empty() {
            let Some(mut stream) = self.stream.take() else { return Ok(0) };
            let limit = self.bucket.patience().request;
            let step = async move {
                let next = timeout(limit, stream.next()).await;
                (stream, next)
            };
            let stepped = background::start(step).and_then(|task| self.bucket.wait(task));
            let (stream, next) = stepped.map_err(io::Error::other)?;
            match next {
                Ok(Some(Ok(bytes))) => {
                    self.missing = self.missing.saturating_sub(bytes.len() as u64);
                    self.current = bytes;
                    self.stream = Some(stream);
                }
                Ok(None) if self.missing == 0 => return Ok(0),
                Ok(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(Some(Err(error))) => return Err(self.bucket.trouble(&error).into_io()),
                Err(_) => return Err(self.bucket.late().into_io()),
            }
        }
        Ok(take(&mut self.current, buffer))
    }
}

/// Fails for good: after an error, the end of what was read so far would look like the end of the object.
struct Careful<R> {
    reader: R,
    has_failed: bool,
}

fn careful(reader: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(Careful { reader, has_failed: false })
}

impl<R: Read> Read for Careful<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.has_failed {
            return Err(io::Error::other("an earlier read failed"));
        }
        let result = self.reader.read(buffer);
        self.has_failed = result.is_err();
        result
    }
}

fn take(bytes: &mut Bytes, buffer: &mut [u8]) -> usize {
    let n_bytes = bytes.len().min(buffer.len());
    bytes.copy_to_slice(&mut buffer[..n_bytes]);
    n_bytes
}
