//! Why an output could not be written, where, and what to do next.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use pgarrow_types::Message;

/// What stopped a sink. One pointer wide.
///
/// The text is complete: fact, place, next step. [`source`](Error::source) gives the cause to programs; its
/// text is already part of this one.
pub struct SinkError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: SinkErrorKind,
    text: Message,
    path: Option<PathBuf>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What kind of thing stopped a sink.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SinkErrorKind {
    /// There is something under the output's name already, and overwriting was not allowed.
    Exists,
    /// The output's name cannot be a file: a folder, FIFO, device or socket, or no name at all. For a folder
    /// of files: the name cannot be a folder.
    NotAFile,
    /// No space left, or over the quota.
    DiskFull,
    /// Not allowed to write there, or the file system is read-only.
    Permission,
    /// The reader of stdout left.
    BrokenPipe,
    /// A batch could not be encoded.
    Encode,
    /// The format cannot hold this schema, or an option asks for what does not exist.
    Unsupported,
    /// Parts were not finished, or rows do not add up.
    Incomplete,
    /// Any other failure of reading or writing.
    Io,
}

impl SinkError {
    /// Makes an error from its kind and its text.
    pub fn new(kind: SinkErrorKind, text: impl Into<Message>) -> Self {
        Self(Box::new(Inner { kind, text: text.into(), path: None, source: None }))
    }

    /// Makes an error from a failed operation on `path` (none: stdout, or an embedder's writer).
    ///
    /// `doing` is what was tried, as in "write" or "rename".
    pub fn io(doing: &str, path: Option<&Path>, source: io::Error) -> Self {
        let kind = kind_of(&source);
        let place = match path {
            Some(path) => format!("output {path:?}"),
            None => "the output stream".to_owned(),
        };
        let next = match kind {
            SinkErrorKind::DiskFull => "; free some space or choose another place",
            // A store that refuses is no folder, and its text says what to do.
            SinkErrorKind::Permission if !is_said(&source) => "; check the rights of the folder",
            SinkErrorKind::BrokenPipe => "; its reader stopped before the end",
            _ => "",
        };
        Self(Box::new(Inner {
            kind,
            text: format!("cannot {doing} {place}: {source}{next}").into(),
            path: path.map(Path::to_owned),
            source: Some(Box::new(source)),
        }))
    }

    /// Makes an error from what a format's writer reported while it wrote to `path`.
    ///
    /// If an I/O error is the reason, it decides the kind; otherwise the batch could not be encoded.
    pub fn encode(doing: &str, path: Option<&Path>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = source.into();
        match io_cause(source.as_ref()) {
            // An io::Error cannot be cloned or moved out of its wrapper: kind and text are what matters.
            Some(io_error) => {
                let io_error = match io_error.raw_os_error() {
                    Some(code) => io::Error::from_raw_os_error(code),
                    None => io::Error::new(io_error.kind(), io_error.to_string()),
                };
                Self::io(doing, path, io_error)
            }
            None => Self(Box::new(Inner {
                kind: SinkErrorKind::Encode,
                text: format!("cannot {doing}: {source}").into(),
                path: path.map(Path::to_owned),
                source: Some(source),
            })),
        }
    }

    /// Makes an error from what a sink's own destination reported, such as a server. Its text is this one's.
    pub fn of(kind: SinkErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = source.into();
        Self(Box::new(Inner { kind, text: source.to_string().into(), path: None, source: Some(source) }))
    }

    /// Adds the output this is about.
    #[must_use]
    pub fn with_path(mut self, path: &Path) -> Self {
        self.0.path = Some(path.to_owned());
        self
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> SinkErrorKind {
        self.0.kind
    }

    /// The text, for callers that have other names for options.
    pub fn message(&self) -> &Message {
        &self.0.text
    }

    /// The output this is about; none for stdout and for errors that concern no file.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.text)
    }
}

impl fmt::Debug for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkError")
            .field("kind", &self.0.kind)
            .field("text", &self.0.text.to_string())
            .field("path", &self.0.path)
            .field("source", &self.0.source)
            .finish()
    }
}

impl Error for SinkError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

fn kind_of(error: &io::Error) -> SinkErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            SinkErrorKind::DiskFull
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => SinkErrorKind::Permission,
        io::ErrorKind::BrokenPipe => SinkErrorKind::BrokenPipe,
        _ => SinkErrorKind::Io,
    }
}

/// Whether the text of an I/O error is one of ours, with its next step.
fn is_said(source: &io::Error) -> bool {
    source.get_ref().is_some_and(|error| error.is::<SinkError>())
}

/// The I/O error behind an error of a format's writer, if there is one.
fn io_cause<'a>(error: &'a (dyn Error + Send + Sync + 'static)) -> Option<&'a io::Error> {
    let mut error: &'a (dyn Error + 'static) = error;
    loop {
        if let Some(io_error) = error.downcast_ref::<io::Error>() {
            return Some(io_error);
        }
        // arrow keeps its I/O error beside the text instead of behind `source`.
        if let Some(arrow_schema::ArrowError::IoError(_, io_error)) = error.downcast_ref() {
            return Some(io_error);
        }
        error = error.source()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_decides_the_kind() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let arrow = arrow_schema::ArrowError::IoError("text".to_owned(), full());
        let nested = arrow_schema::ArrowError::ExternalError(Box::new(full()));
        for error in [
            SinkError::io("write", None, full()),
            SinkError::encode("write", None, arrow),
            SinkError::encode("write", None, nested),
        ] {
            assert_eq!(error.kind(), SinkErrorKind::DiskFull, "{error:?}");
            assert!(error.source().is_some());
        }
        let other = arrow_schema::ArrowError::ComputeError("no".to_owned());
        assert_eq!(SinkError::encode("write", None, other).kind(), SinkErrorKind::Encode);
    }

    #[test]
    fn text_has_fact_place_and_next_step() {
        let error = SinkError::io(
            "write",
            Some(Path::new("/tmp/x.parquet")),
            io::Error::from(io::ErrorKind::BrokenPipe),
        );
        assert_eq!(
            error.to_string(),
            "cannot write output \"/tmp/x.parquet\": broken pipe; its reader stopped before the end"
        );
        assert_eq!(error.path(), Some(Path::new("/tmp/x.parquet")));
        // Formerly, an object store that refused was said to be a folder.
        let denied = io::ErrorKind::PermissionDenied;
        let of = |source| SinkError::io("write", None, source).to_string();
        let of_store = SinkError::new(SinkErrorKind::Permission, "the store answered 403; do this");
        assert_eq!(
            of(io::Error::new(denied, of_store)),
            "cannot write the output stream: the store answered 403; do this"
        );
        // What makes files adds their names to the system's errors.
        for of_folder in [denied.into(), io::Error::new(denied, "Permission denied at path x")] {
            assert!(of(of_folder).ends_with("check the rights of the folder"));
        }
    }
}
