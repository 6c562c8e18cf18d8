//! The bytes of one output: a file that appears all at once, stdout, or an embedder's writer.
//!
//! ```text
//! Output::file ─▶ write … write ─▶ publish: flush ─▶ fsync ─▶ rename ─▶ fsync of the folder
//!       │                             └ any failure: error, and the temporary file is removed
//!       └ `.<name>.pgarrow-XXXXXX` beside the target, O_EXCL, removed on drop
//! ```
//!
//! Buffering is done here and not by `BufWriter`, which writes on drop and swallows the error.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::error::{SinkError, SinkErrorKind};
use crate::hidden_file::HiddenFile;
use crate::hidden_folder::Entry;

/// Bytes gathered before a write to the system. Larger writes pass through.
const BUFFER_BYTES: usize = 128 * 1024;

/// Where the bytes of a format go, with a count of them.
///
/// After a failed write an output refuses all writes: it is unknown how many bytes reached the file, and a
/// file with a hole must not be published.
pub struct Output {
    place: Place,
    buffer: Vec<u8>,
    bytes: u64,
    digest: Option<Box<Sha256>>,
    failed: bool,
}

enum Place {
    File(File, HiddenFile),
    /// The caller gives it its name.
    Withheld(File, HiddenFile, Withheld),
    InFolder(File, Entry),
    Writer(Box<dyn Write + Send>),
    Upload(Box<dyn Upload>),
}

/// Bytes on their way to a place that is no file of this machine.
///
/// Dropped before [`complete`](Self::complete), it leaves nothing under its name.
pub trait Upload: Write + Send {
    /// The name it will have.
    fn path(&self) -> &Path;

    /// Waits until all bytes are stored, and makes them appear under their name.
    ///
    /// # Errors
    ///
    /// They could not be stored. Nothing has appeared then.
    fn complete(self: Box<Self>) -> Result<(), SinkError>;
}

/// A complete file that has not got its name yet, see [`Output::withheld`]. Dropping it removes the file.
#[derive(Clone, Debug, Default)]
pub struct Withheld {
    file: Arc<Mutex<Option<(File, HiddenFile)>>>,
}

impl Withheld {
    /// Makes the file durable and gives it its name. Returns a warning if its folder cannot be synced.
    ///
    /// # Errors
    ///
    /// [`Incomplete`](crate::SinkErrorKind::Incomplete) before the output was [completed](Output::publish),
    /// and for a second call; otherwise as for [`Output::publish`].
    pub fn publish(&self) -> Result<Option<String>, SinkError> {
        let taken = self.file.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (file, target) =
            taken.ok_or_else(|| SinkError::new(SinkErrorKind::Incomplete, "the output is not complete"))?;
        Ok(target.publish(&file)?.1)
    }

    fn keep(&self, file: File, target: HiddenFile) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = Some((file, target));
    }
}

/// The result of [`Output::publish`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Published {
    /// The file's name as the caller gave it; none for stdout and for an embedder's writer.
    pub path: Option<PathBuf>,
    /// Bytes written.
    pub bytes: u64,
    /// The SHA-256 of the bytes in hexadecimal digits, if [asked for](Output::with_sha256).
    pub sha256: Option<String>,
    /// Warnings about a complete output: that the folder's file system cannot make names durable.
    pub warnings: Vec<String>,
}

impl Output {
    /// Starts a file that will appear at `path` when it is published.
    ///
    /// The bytes go to a hidden temporary file in the same folder. An existing file is refused now, before
    /// anything is read, and again when publishing. With `overwrite`, publishing replaces it, and not
    /// earlier; its other hard links stay, and of a symbolic link the link itself is replaced, not its
    /// target. The file's mode is 0666 less the umask.
    ///
    /// Temporary files that killed processes left for the same name are removed; those of living processes
    /// are locked.
    ///
    /// # Errors
    ///
    /// [`Exists`](crate::SinkErrorKind::Exists), [`NotAFile`](crate::SinkErrorKind::NotAFile) for a folder,
    /// FIFO, device or socket, and the system's error if it cannot make a file in that folder.
    pub fn file(path: impl AsRef<Path>, overwrite: bool) -> Result<Self, SinkError> {
        let (target, file) = HiddenFile::create(path.as_ref(), overwrite)?;
        Ok(Self::new(Place::File(file, target)))
    }

    /// Writes to this process's stdout, past the line buffer of [`std::io::stdout`].
    ///
    /// Bytes that went out cannot be taken back: an export that fails has written part of its output, and
    /// only the exit code tells.
    ///
    /// # Errors
    ///
    /// Stdout is closed.
    pub fn stdout() -> Result<Self, SinkError> {
        let stdout = raw_stdout().map_err(|e| SinkError::io("open", None, e))?;
        Ok(Self::writer(stdout))
    }

    /// Writes to the embedding program's writer, which is flushed at the end and then dropped.
    pub fn writer(writer: impl Write + Send + 'static) -> Self {
        Self::new(Place::Writer(Box::new(writer)))
    }

    /// Sends bytes elsewhere.
    pub fn upload(upload: impl Upload + 'static) -> Self {
        Self::new(Place::Upload(Box::new(upload)))
    }

    /// Also computes the SHA-256 of the bytes, see [`Published::sha256`].
    #[must_use]
    pub fn with_sha256(mut self) -> Self {
        self.digest = Some(Box::default());
        self
    }

    /// Leaves it to the caller to give the file its name: [`publish`](Self::publish) only completes it then,
    /// under its [temporary name](Self::temporary_path). An output that is not a [`file`](Self::file) is
    /// returned as it is.
    #[must_use]
    pub fn withheld(mut self) -> (Self, Withheld) {
        let withheld = Withheld::default();
        self.place = match self.place {
            Place::File(file, target) => Place::Withheld(file, target, withheld.clone()),
            other => other,
        };
        (self, withheld)
    }

    /// A file in a folder that is published as a whole.
    pub(crate) fn in_folder(file: File, entry: Entry) -> Self {
        Self::new(Place::InFolder(file, entry))
    }

    fn new(place: Place) -> Self {
        // The buffer grows with what is written: most of a thousand small files never need all of it.
        Self { place, buffer: Vec::new(), bytes: 0, digest: None, failed: false }
    }

    /// The name the output will have; none for stdout and for an embedder's writer.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::File(_, target) | Place::Withheld(_, target, _) => Some(target.given()),
            Place::InFolder(_, entry) => Some(entry.given()),
            Place::Upload(upload) => Some(upload.path()),
            Place::Writer(_) => None,
        }
    }

    /// The hidden file that holds the bytes until they are published; none without such a file, or if its
    /// folder is hidden ([`OutputFolder::temporary_path`](crate::OutputFolder::temporary_path)).
    ///
    /// For programs that may have to end without dropping the output, as at a second Ctrl-C: they remove the
    /// file.
    pub fn temporary_path(&self) -> Option<&Path> {
        match &self.place {
            Place::File(_, target) | Place::Withheld(_, target, _) => Some(target.temporary()),
            Place::InFolder(..) | Place::Writer(_) | Place::Upload(_) => None,
        }
    }

    /// Bytes written so far, buffered ones included.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Completes the output: flushes it, makes a file durable, and gives the file its name. A file of an
    /// [`OutputFolder`](crate::OutputFolder) is only closed: publishing the folder does the rest for all
    /// files at once.
    ///
    /// # Errors
    ///
    /// Any failure on the way, an earlier failed write included. A file is not published then and its
    /// temporary file is removed, with one exception: when only the sync of the folder fails, the complete
    /// file is in place and a power failure may undo the rename.
    pub fn publish(mut self) -> Result<Published, SinkError> {
        self.flush().map_err(|e| SinkError::io("write", self.path(), e))?;
        let (path, warning) = match self.place {
            Place::File(file, target) => {
                let (path, warning) = target.publish(&file)?;
                (Some(path), warning)
            }
            Place::Withheld(file, target, withheld) => {
                let path = target.given().to_owned();
                withheld.keep(file, target);
                (Some(path), None)
            }
            Place::InFolder(_, entry) => (Some(entry.complete(self.bytes)), None),
            Place::Upload(upload) => {
                let path = upload.path().to_owned();
                upload.complete()?;
                (Some(path), None)
            }
            Place::Writer(_) => (None, None),
        };
        let sha256 = self.digest.map(|digest| hexadecimal(&digest.finalize()));
        Ok(Published { path, bytes: self.bytes, sha256, warnings: warning.into_iter().collect() })
    }

    fn inner(&mut self) -> &mut dyn Write {
        match &mut self.place {
            Place::File(file, _) | Place::Withheld(file, ..) | Place::InFolder(file, _) => file,
            Place::Writer(writer) => writer,
            Place::Upload(upload) => upload,
        }
    }

    /// Runs one step of writing; after a failure there are no more steps.
    fn step(&mut self, step: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("an earlier write failed"));
        }
        let result = step(self);
        self.failed = result.is_err();
        result
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        // Taken out so that a failure in the middle can never write the same bytes twice.
        let mut buffer = std::mem::take(&mut self.buffer);
        self.inner().write_all(&buffer)?;
        buffer.clear();
        self.buffer = buffer;
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.step(|output| {
            if output.buffer.len() + bytes.len() > BUFFER_BYTES {
                output.write_buffer()?;
            }
            if bytes.len() >= BUFFER_BYTES {
                output.inner().write_all(bytes)?;
            } else {
                output.buffer.extend_from_slice(bytes);
            }
            output.bytes += bytes.len() as u64;
            if let Some(digest) = &mut output.digest {
                digest.update(bytes);
            }
            Ok(())
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.step(|output| {
            output.write_buffer()?;
            output.inner().flush()
        })
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("path", &self.path())
            .field("bytes", &self.bytes)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// Bytes in hexadecimal digits, as checksums are written.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(unix)]
fn raw_stdout() -> io::Result<File> {
    use std::os::fd::AsFd;
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

#[cfg(not(unix))]
fn raw_stdout() -> io::Result<io::Stdout> {
    Ok(io::stdout())
}
