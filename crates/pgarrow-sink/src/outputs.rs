//! What a sink is created with: one output, or a series of files in a folder.

use crate::error::SinkError;
use crate::folder::OutputFolder;
use crate::output::Output;

/// The files of one sink.
///
/// | made by | files | the sink's commit |
/// |---|---|---|
/// | [`single`](Self::single) | one file, stdout or a writer | publishes it |
/// | [`folder`](Self::folder) | `part-00000.parquet`, … | completes them and publishes the folder |
/// | [`in_folder`](Self::in_folder) | `NAME`, or a series | completes them; the folder's owner publishes |
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
        let series = Series { folder, stem: "part".to_owned(), extension: None, options, is_owned: true };
        Self { kind: Kind::Series(series) }
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
        let series = Series { folder: folder.clone(), stem, extension, options, is_owned: false };
        Ok(Self { kind: Kind::Series(series) })
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
    pub(crate) folder: OutputFolder,
    stem: String,
    /// None: the format's extension.
    extension: Option<String>,
    pub(crate) options: FolderOptions,
    /// Whether the sink's commit publishes the folder.
    pub(crate) is_owned: bool,
}

impl Series {
    /// Begins the file with this number.
    pub(crate) fn file(&self, number: usize, extension: &str) -> Result<Output, SinkError> {
        let stem = &self.stem;
        match self.extension.as_deref().unwrap_or(extension) {
            "" => self.folder.file(&format!("{stem}-{number:05}")),
            extension => self.folder.file(&format!("{stem}-{number:05}.{extension}")),
        }
    }
}
