//! Where inputs are, and which format they have.

use std::fs::{self, File};
use std::io::{self, Cursor, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pgarrow_session::{Error, ErrorKind, Result};
use pgarrow_types::message;
use pgarrow_types::option::FORMAT;

use super::remote::{RemoteCursor, RemoteFile, RemoteReader};
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

/// A file, a folder of this machine, stdin, or a file that is elsewhere.
#[derive(Clone, Debug)]
pub struct InputFile(Named);

#[derive(Clone, Debug)]
enum Named {
    Path(PathBuf),
    Remote(Arc<dyn RemoteFile>),
}

/// A path; `-` is stdin.
impl<P: AsRef<Path> + ?Sized> From<&P> for InputFile {
    fn from(path: &P) -> Self {
        Self(Named::Path(path.as_ref().to_owned()))
    }
}

/// A path; `-` is stdin.
impl From<PathBuf> for InputFile {
    fn from(path: PathBuf) -> Self {
        Self(Named::Path(path))
    }
}

impl From<Arc<dyn RemoteFile>> for InputFile {
    fn from(file: Arc<dyn RemoteFile>) -> Self {
        Self(Named::Remote(file))
    }
}

/// Where an input is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Stdin,
    Path(PathBuf),
    Remote(Arc<dyn RemoteFile>),
}

/// Expands what was named into single places.
pub(super) fn places(files: impl IntoIterator<Item = impl Into<InputFile>>) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    for InputFile(named) in files.into_iter().map(Into::into) {
        match named {
            Named::Remote(file) => places.push(Place::Remote(file)),
            Named::Path(path) if path.as_os_str() == "-" => {
                if places.iter().any(|place| matches!(place, Place::Stdin)) {
                    return Err(Error::new(ErrorKind::Options, "stdin (-) is read once; name it once"));
                }
                places.push(Place::Stdin);
            }
            Named::Path(path) if path.is_dir() => {
                places.extend(files_of(&path)?.into_iter().map(Place::Path));
            }
            Named::Path(path) => places.push(Place::Path(path)),
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
            Self::Remote(file) => format!("{:?}", file.name()),
        }
    }

    /// Whether it can be opened more than once.
    pub(super) fn is_file(&self) -> bool {
        match self {
            Self::Stdin => false,
            Self::Path(path) => path.is_file(),
            Self::Remote(_) => true,
        }
    }

    /// Opens it, and reads its beginning.
    pub(super) fn open(&self, format: Option<InputFormat>) -> Result<OpenFile> {
        let name = self.name();
        let failed = |error: io::Error| input_error(&name, reason(&error));
        let path = match self {
            Self::Stdin => return stream(io::stdin(), &name, format),
            Self::Remote(file) => {
                let reader = RemoteReader::new(Arc::clone(file));
                let head = reader.head(file.bytes().min(HEAD_BYTES)).map_err(failed)?;
                let opened = match format_of(&name, Path::new(file.name()), &head, format)? {
                    InputFormat::Parquet => parquet::open(reader),
                    InputFormat::IpcFile => ipc_file::open(RemoteCursor::new(reader), file.bytes(), false),
                    InputFormat::IpcStream => ipc_stream::open(RemoteCursor::new(reader)),
                };
                return opened.map_err(|error| input_error(&name, plain(&error)));
            }
            Self::Path(path) => path,
        };
        let mut file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return stream(file, &name, format.or_else(|| InputFormat::of_name(path)));
        }
        let head = head(&mut file).map_err(failed)?;
        let format = format_of(&name, path, &head, format)?;
        file.rewind().map_err(failed)?;
        let opened = match format {
            InputFormat::Parquet => parquet::open(file),
            InputFormat::IpcFile => ipc_file::open(file, metadata.len(), true),
            InputFormat::IpcStream => ipc_stream::open(file),
        };
        opened.map_err(|error| input_error(&name, plain(&error)))
    }
}

/// The format that was chosen, or that the ending of a file's path says, or its first bytes.
fn format_of(name: &str, path: &Path, head: &[u8], format: Option<InputFormat>) -> Result<InputFormat> {
    if head.is_empty() {
        return Err(input_error(name, "the file is empty"));
    }
    let found = InputFormat::of_bytes(head);
    match (format.or_else(|| InputFormat::of_name(path)).or(found), found) {
        (Some(format), Some(found)) if format != found => {
            let (wanted, there, option) = (format.described(), found.described(), found.option());
            let text = format!("it should be {wanted}, and is {there} by its first bytes");
            Err(input_error(name, text).advice(message!["give ", FORMAT.to(option)]))
        }
        (Some(format), _) => Ok(format),
        (None, _) => {
            let text = format!("{name}: neither its name nor its first bytes say what it is");
            let formats = message!["give ", FORMAT.to("parquet|ipc|ipc-stream")];
            Err(Error::new(ErrorKind::Options, text).advice(formats))
        }
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

/// How many of the first bytes tell the format.
const HEAD_BYTES: u64 = 8;

/// The first bytes, or fewer if there are no more.
fn head(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    reader.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    Ok(head)
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => format!("it cannot be read: {error}"),
    }
}
