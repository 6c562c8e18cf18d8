//! Where inputs are, and which format they have.

use std::fs::{self, File};
use std::io::{self, Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use pgarrow_session::{Error, ErrorKind, Result};
use pgarrow_types::message;
use pgarrow_types::option::FORMAT;

use super::{OpenFile, input_error, ipc_file, ipc_stream, parquet, plain};

/// The format of a file or stream.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum InputFormat {
    /// A Parquet file.
    Parquet,
    /// An Arrow IPC file, also known as Feather 2.
    IpcFile,
    /// An Arrow IPC stream, also from a pipe.
    IpcStream,
}

impl InputFormat {
    /// The format by the name's ending: `.parquet`; `.arrow`, `.feather`, `.ipc`; `.arrows`.
    pub fn of_name(path: &Path) -> Option<Self> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("parquet") => Some(Self::Parquet),
            Some("arrow" | "feather" | "ipc") => Some(Self::IpcFile),
            Some("arrows") => Some(Self::IpcStream),
            _ => None,
        }
    }

    /// The format by the first bytes. Streams from before Arrow 0.15 have no such mark.
    ///
    /// Sources:
    /// <https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc>,
    /// <https://parquet.apache.org/docs/file-format/>.
    fn of_bytes(head: &[u8]) -> Option<Self> {
        match head {
            [b'P', b'A', b'R', b'1', ..] => Some(Self::Parquet),
            [b'A', b'R', b'R', b'O', b'W', b'1', ..] => Some(Self::IpcFile),
            [0xff, 0xff, 0xff, 0xff, ..] => Some(Self::IpcStream),
            _ => None,
        }
    }

    /// The name with its article.
    fn described(self) -> &'static str {
        match self {
            Self::Parquet => "a Parquet file",
            Self::IpcFile => "an Arrow IPC file",
            Self::IpcStream => "an Arrow IPC stream",
        }
    }

    fn option(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::IpcFile => "ipc",
            Self::IpcStream => "ipc-stream",
        }
    }
}

/// Where an input is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Place {
    Stdin,
    Path(PathBuf),
}

/// Expands the paths into single places.
pub(super) fn places(paths: &[impl AsRef<Path>]) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    for path in paths.iter().map(AsRef::as_ref) {
        if path.as_os_str() == "-" {
            if places.contains(&Place::Stdin) {
                return Err(Error::new(ErrorKind::Options, "stdin (-) is read once; name it once"));
            }
            places.push(Place::Stdin);
        } else if path.is_dir() {
            places.extend(files_of(path)?.into_iter().map(Place::Path));
        } else {
            places.push(Place::Path(path.to_owned()));
        }
    }
    Ok(places)
}

/// The files of a folder in the order of their names. Names that begin with a dot or an underscore are
/// skipped: by convention these files hold no rows.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error: io::Error| input_error(&format!("{folder:?}"), reason(&error));
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if matches!(entry.file_name().as_encoded_bytes().first(), Some(b'.' | b'_')) {
            continue;
        }
        if path.is_dir() {
            let text = "it has a folder in it, which is not looked into; name the folders one by one";
            return Err(input_error(&format!("{folder:?}"), text));
        }
        files.push(path);
    }
    if files.is_empty() {
        return Err(input_error(&format!("{folder:?}"), "the folder has no files"));
    }
    files.sort_unstable();
    Ok(files)
}

impl Place {
    /// The name for messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Stdin => "stdin".to_owned(),
            Self::Path(path) => format!("{path:?}"),
        }
    }

    /// Whether it can be opened more than once.
    pub(super) fn is_file(&self) -> bool {
        matches!(self, Self::Path(path) if path.is_file())
    }

    /// Opens it, and reads its beginning.
    pub(super) fn open(&self, format: Option<InputFormat>) -> Result<OpenFile> {
        let name = self.name();
        let failed = |error: io::Error| input_error(&name, reason(&error));
        let path = match self {
            Self::Stdin => return stream(io::stdin(), &name, format),
            Self::Path(path) => path,
        };
        let mut file = File::open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return stream(file, &name, format.or_else(|| InputFormat::of_name(path)));
        }
        let head = head(&mut file).map_err(failed)?;
        let found = InputFormat::of_bytes(&head);
        if head.is_empty() {
            return Err(input_error(&name, "the file is empty"));
        }
        let format = format.or_else(|| InputFormat::of_name(path)).or(found);
        match (format, found) {
            (Some(format), Some(found)) if format != found => {
                let (wanted, there, option) = (format.described(), found.described(), found.option());
                let text = format!("it should be {wanted}, and is {there} by its first bytes");
                return Err(input_error(&name, text).advice(message!["give ", FORMAT.to(option)]));
            }
            _ => {}
        }
        file.rewind().map_err(failed)?;
        let opened = match format {
            Some(InputFormat::Parquet) => parquet::open(file),
            Some(InputFormat::IpcFile) => ipc_file::open(file),
            Some(InputFormat::IpcStream) => ipc_stream::open(file),
            None => {
                let text = format!("{name}: neither its name nor its first bytes say what it is");
                let formats = message!["give ", FORMAT.to("parquet|ipc|ipc-stream")];
                return Err(Error::new(ErrorKind::Options, text).advice(formats));
            }
        };
        opened.map_err(|error| input_error(&name, plain(&error)))
    }
}

/// Opens an input that can be read only once, from the beginning.
fn stream(mut reader: impl Read + 'static, name: &str, format: Option<InputFormat>) -> Result<OpenFile> {
    let head = head(&mut reader).map_err(|error| input_error(name, reason(&error)))?;
    if head.is_empty() {
        return Err(input_error(name, "it is empty; an Arrow IPC stream has a schema at least"));
    }
    let found = InputFormat::of_bytes(&head);
    if let Some(format @ (InputFormat::Parquet | InputFormat::IpcFile)) = found.or(format) {
        let text = format!(
            "{name}: {} is read from its end, which a pipe does not allow; write it to a file and load that, or pipe an IPC stream",
            format.described()
        );
        return Err(Error::new(ErrorKind::Options, text));
    }
    ipc_stream::open(Cursor::new(head).chain(reader)).map_err(|error| input_error(name, plain(&error)))
}

/// The first 8 bytes, or fewer if there are no more.
fn head(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(8);
    reader.by_ref().take(8).read_to_end(&mut head)?;
    Ok(head)
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => format!("it cannot be read: {error}"),
    }
}
