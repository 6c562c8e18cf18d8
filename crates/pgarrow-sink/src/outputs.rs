//! What a sink is created with: one output, or a series of files in a folder.

use std::fmt;

use crate::error::SinkError;
use crate::folder::OutputFolder;
use crate::output::Output;

/// The files of one sink.
///
/// | made by | files | the sink's commit |
/// |---|---|---|
/// | [`single`](Self::single) | one file, stdout or a writer | publishes it |
/// | [`folder`](Self::folder) | `part-00000.parquet`, … | completes them and publishes the folder |
/// | [`withheld_folder`](Self::withheld_folder) | the same | completes them; the folder's owner publishes |
/// | [`in_folder`](Self::in_folder) | `NAME`, or a series | completes them; the folder's owner publishes |
/// | [`numbered`](Self::numbered) | what the caller begins | completes them |
#[derive(Debug)]
pub struct Outputs {
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Single(Output),
    Series(Series),
}

/// How the files of a folder are cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FolderOptions {
    /// The bytes at which a file is completed and the next one begun. Checked after each row group or batch,
    /// so files are a little larger. Default: never.
    pub file_bytes: Option<u64>,
    /// How many files are written at a time. The part with index `i` appends to lane `i % lanes`. With as
    /// many lanes as readers, each reader has files of its own and does not wait; with one lane all parts
    /// share a sequence of files. Default: 1. Zero means the same.
    pub lanes: usize,
}

impl Default for FolderOptions {
    fn default() -> Self {
        Self { file_bytes: None, lanes: 1 }
    }
}

impl Outputs {
    /// One output.
    pub fn single(output: Output) -> Self {
        Self { kind: Kind::Single(output) }
    }

    /// A folder of its own: files `part-00000` with the format's extension, numbered in the order in which
    /// they are begun. The sink's commit publishes the folder.
    pub fn folder(folder: OutputFolder, options: FolderOptions) -> Self {
        Self::parts(folder, options, true)
    }

    /// The same, but the folder's owner publishes it: the sink's commit completes the files.
    pub fn withheld_folder(folder: OutputFolder, options: FolderOptions) -> Self {
        Self::parts(folder, options, false)
    }

    fn parts(folder: OutputFolder, options: FolderOptions, is_owned: bool) -> Self {
        let files = Files::InFolder { folder, stem: "part".to_owned(), extension: None };
        Self { kind: Kind::Series(Series { files, options, is_owned }) }
    }

    /// Files that `make` begins, by their numbers from 0. The sink's commit completes them, and whoever made
    /// them publishes the whole.
    pub fn numbered(
        make: impl Fn(usize) -> Result<Output, SinkError> + Send + Sync + 'static,
        options: FolderOptions,
    ) -> Self {
        Self { kind: Kind::Series(Series { files: Files::Made(Box::new(make)), options, is_owned: false }) }
    }

    /// A table among others in a folder: the file `name`. If `options` ask for more than one file, the files
    /// of a `name` that is `STEM.EXTENSION` are `STEM-00000.EXTENSION`, …. The sink's commit completes the
    /// files; the folder's owner publishes the folder, once.
    ///
    /// # Errors
    ///
    /// As for [`OutputFolder::file`].
    pub fn in_folder(folder: &OutputFolder, name: &str, options: FolderOptions) -> Result<Self, SinkError> {
        if options.file_bytes.is_none() && options.lanes <= 1 {
            return Ok(Self::single(folder.file(name)?));
        }
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        let (stem, extension) = (stem.to_owned(), Some(extension.to_owned()));
        let files = Files::InFolder { folder: folder.clone(), stem, extension };
        Ok(Self { kind: Kind::Series(Series { files, options, is_owned: false }) })
    }
}

impl From<Output> for Outputs {
    fn from(output: Output) -> Self {
        Self::single(output)
    }
}

/// Numbered files of one sink.
#[derive(Debug)]
pub(crate) struct Series {
    files: Files,
    pub(crate) options: FolderOptions,
    /// Whether the sink's commit publishes the folder.
    pub(crate) is_owned: bool,
}

/// What begins the files of a series.
enum Files {
    InFolder {
        folder: OutputFolder,
        stem: String,
        /// None: the format's extension.
        extension: Option<String>,
    },
    Made(Box<MakeFile>),
}

type MakeFile = dyn Fn(usize) -> Result<Output, SinkError> + Send + Sync;

impl Series {
    /// Begins the file with this number.
    pub(crate) fn file(&self, number: usize, format_extension: &str) -> Result<Output, SinkError> {
        match &self.files {
            Files::InFolder { folder, stem, extension } => {
                match extension.as_deref().unwrap_or(format_extension) {
                    "" => folder.file(&format!("{stem}-{number:05}")),
                    extension => folder.file(&format!("{stem}-{number:05}.{extension}")),
                }
            }
            Files::Made(make) => make(number),
        }
    }

    /// The folder of the files, if it is published as a whole.
    pub(crate) fn folder(&self) -> Option<&OutputFolder> {
        match &self.files {
            Files::InFolder { folder, .. } => Some(folder),
            Files::Made(_) => None,
        }
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InFolder { folder, .. } => f.debug_tuple("InFolder").field(&folder.path()).finish(),
            Self::Made(_) => f.write_str("Made"),
        }
    }
}
