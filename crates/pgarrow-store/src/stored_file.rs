//! A file of a store that is read in any order, as Parquet and Arrow IPC files are.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use pgarrow_sink::{SinkError, SinkErrorKind};

use crate::background::Task;
use crate::download::{Fetched, First, Streamed, Version, first_of_web};
use crate::patience::PIECE_BYTES;
use crate::remote::Remote;
use crate::trouble::Trouble;
use crate::{Place, Store, check_path};

/// One version of a file of an object store or a web server. Clones are the same file.
///
/// If the file is replaced while it is read, reading fails. Of web servers that cannot send parts of a file,
/// or do not say which version they send, a copy is made: a temporary file without a name, in the folder that
/// `TMPDIR` says.
#[derive(Clone)]
pub struct StoredFile {
    url: String,
    bytes: u64,
    version: Option<String>,
    at: At,
}

#[derive(Clone)]
enum At {
    Store(Version),
    Copy(Arc<File>),
}

/// A part of a file that is on its way. Dropping it stops that.
pub struct StoredPart(Part);

enum Part {
    Coming(Version, Task<Fetched>),
    There(Bytes),
}

impl StoredFile {
    /// The longest part that is asked for at once, in bytes.
    pub const PART_BYTES_MAX: usize = PIECE_BYTES;

    /// Opens the file at `path`, or with `""` the file that the store's own location names. `None` if there
    /// is nothing, and for a folder of this machine.
    ///
    /// # Errors
    ///
    /// The store cannot be asked, or a copy cannot be made.
    pub fn open(store: &Store, path: &str) -> Result<Option<Self>, SinkError> {
        if !path.is_empty() {
            check_path(path)?;
        }
        let Place::Remote(remote) = &store.place else { return Ok(None) };
        let url = remote.bucket().address().place(path);
        let object = remote.bucket().address().object(path)?;
        let bucket = remote.bucket().clone();
        if !remote.is_web() {
            let Some(meta) = bucket.head("read", path)? else { return Ok(None) };
            let version = Version { bucket, object, e_tag: meta.e_tag, size: meta.size };
            return Ok(Some(Self::of(url, version)));
        }
        Ok(match first_of_web(bucket, path, object)? {
            None => None,
            Some(First::Piece(version, ..)) => Some(Self::of(url, version)),
            Some(First::Whole(whole)) => Some(copied(remote, path, url, whole)?),
        })
    }

    fn of(url: String, version: Version) -> Self {
        Self { url, bytes: version.size, version: version.e_tag.clone(), at: At::Store(version) }
    }

    /// Where it is: a URL without secrets.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What tells this version from others (the `ETag`), if the store says it.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Asks for a part, of at most [`PART_BYTES_MAX`](Self::PART_BYTES_MAX), and does not wait for it.
    ///
    /// # Errors
    ///
    /// The part is too long, or not one of the file, or no request could be begun.
    pub fn fetch(&self, range: Range<u64>) -> Result<StoredPart, SinkError> {
        let n_bytes = range.end.checked_sub(range.start).and_then(|n_bytes| usize::try_from(n_bytes).ok());
        let n_bytes = n_bytes.filter(|n_bytes| range.end <= self.bytes && *n_bytes <= PIECE_BYTES);
        let Some(n_bytes) = n_bytes else {
            let text = format!("{:?} has no such part as bytes {range:?}", self.url);
            return Err(SinkError::new(SinkErrorKind::Io, text));
        };
        Ok(StoredPart(match &self.at {
            _ if n_bytes == 0 => Part::There(Bytes::new()),
            At::Store(version) => Part::Coming(version.clone(), version.fetch(range)?),
            At::Copy(file) => {
                let mut bytes = vec![0; n_bytes];
                let read = file.read_exact_at(&mut bytes, range.start);
                read.map_err(|error| copy_failed("read", &self.url, error))?;
                Part::There(bytes.into())
            }
        }))
    }
}

impl StoredPart {
    /// Waits for all of it.
    ///
    /// # Errors
    ///
    /// The store did not send it, also after tries, or has another version by now.
    pub fn wait(self) -> io::Result<Bytes> {
        match self.0 {
            Part::There(bytes) => Ok(bytes),
            Part::Coming(version, task) => {
                version.bucket.wait(task).map_err(io::Error::other)?.map_err(Trouble::into_io)
            }
        }
    }
}

/// A copy of what a web server sends as a whole.
fn copied(remote: &Remote, path: &str, url: String, mut whole: Streamed) -> Result<StoredFile, SinkError> {
    let mut file = tempfile::tempfile().map_err(|error| copy_failed("make", &url, error))?;
    let mut buffer = vec![0; 64 << 10];
    let mut bytes = 0;
    loop {
        let read = io::Read::read(&mut whole, &mut buffer).map_err(|error| {
            SinkError::io("read", Some(Path::new(&remote.bucket().address().place(path))), error)
        })?;
        let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else { break };
        file.write_all(chunk).map_err(|error| copy_failed("write", &url, error))?;
        bytes += read as u64;
    }
    Ok(StoredFile { url, bytes, version: None, at: At::Copy(Arc::new(file)) })
}

fn copy_failed(doing: &str, url: &str, error: io::Error) -> SinkError {
    let text = format!(
        "cannot {doing} a copy of {url:?}, whose server sends no parts of files: {error}; TMPDIR says where copies go"
    );
    SinkError::new(SinkErrorKind::Io, text)
}

impl fmt::Debug for StoredFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoredFile").field(&self.url).finish()
    }
}

impl fmt::Debug for StoredPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredPart").finish_non_exhaustive()
    }
}
