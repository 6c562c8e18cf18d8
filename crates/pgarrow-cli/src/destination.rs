//! Where batches go, and in which format: checked, and nothing made yet.

use std::io::{self, IsTerminal};
use std::path::{self, Path, PathBuf};

use clap::ValueEnum;
use pgarrow::{ArrayForm, Error, TypeOptions};
use pgarrow_job::{Format, PartitionBy};
use pgarrow_sink_ipc::{IpcFormat, IpcOptions};
use pgarrow_sink_parquet::ParquetOptions;

use crate::exit::Failure;
use crate::flags::{ExportFlags, FileFlags, FormatName, HowFlags, ReadingFlags, SortedBy};
use crate::into::{Into, IntoMany};

/// Where batches go.
#[derive(Debug)]
pub(crate) enum Destination {
    Nowhere,
    Output(Place, Format),
    /// A table of another server, or of the same one.
    Table(Box<Into>),
    /// A table there for each that is read.
    Tables(Box<IntoMany>),
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Stdout,
    File(PathBuf),
    Folder(Folder),
}

/// A folder of files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    /// The bytes at which a file is full.
    pub(crate) file_bytes: Option<u64>,
    /// By what the files are partitioned.
    pub(crate) partition_by: PartitionBy,
}

impl Destination {
    pub(crate) fn new(flags: &ExportFlags, is_many: bool) -> Result<Self, Failure> {
        if flags.to == Some(FormatName::Postgres) {
            check_table(flags)?;
            check_order(&flags.reading, &flags.into.how)?;
            return Ok(match is_many {
                true => Self::Tables(Box::new(IntoMany::try_from(flags)?)),
                false => Self::Table(Box::new(Into::try_from(flags)?)),
            });
        }
        if let Some(name) = flags.parts.any() {
            return Err(Failure::options(format!("{name} is for `pgarrow load`")));
        }
        let of_target = [("--into-schema", flags.into_schema.is_some()), ("--keep-going", flags.keep_going)];
        let of_target = of_target.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name);
        if let Some(name) = flags.into.any().or_else(|| flags.copying.any()).or(of_target) {
            return Err(Failure::options(format!("{name} is for --to postgres")));
        }
        let place = flags.output.as_deref().map(|path| place(path, Some(&flags.files))).transpose()?;
        check_partitions(flags, place.as_ref())?;
        if flags.files.file_size.is_some() && !matches!(place, Some(Place::Folder(_))) {
            let text = "--file-size is for folders; end the output's path with /, as in -o orders/";
            return Err(Failure::options(text));
        }
        let format = match (flags.to, &place) {
            (Some(format), _) => format,
            (None, Some(Place::File(path))) => format_of(path).ok_or_else(|| no_format(path))?,
            (None, Some(Place::Folder(folder))) => format_of(&folder.path).unwrap_or(FormatName::Parquet),
            (None, Some(Place::Stdout)) => {
                return Err(Failure::options("stdout needs a format; give --to parquet, ipc or ipc-stream"));
            }
            (None, None) => return Err(Failure::options("no output; give -o PATH, -o - or --to none")),
        };
        if let (true, Some(name)) = (format != FormatName::Parquet, flags.files.of_parquet()) {
            return Err(Failure::options(format!("--{name} is for --to parquet")));
        }
        let (place, format) = match (format, place) {
            (FormatName::None, Some(_)) => {
                return Err(Failure::options("--to none writes nothing; leave out -o, or choose a format"));
            }
            (FormatName::None, None) if flags.files.compression.is_some() => {
                return Err(Failure::options("--to none writes nothing; leave out --compression"));
            }
            (FormatName::None, None) if flags.files.origin => {
                return Err(Failure::options("--to none writes nothing; leave out --origin"));
            }
            (FormatName::None, None) => return Ok(Self::Nowhere),
            // Handled above.
            (FormatName::Postgres, _) => {
                return Err(Failure::options("--to postgres needs --into SCHEMA.TABLE"));
            }
            (_, None) => return Err(Failure::options("no output; give -o PATH, or -o - for stdout")),
            (FormatName::Parquet, Some(place)) => {
                (place, Format::Parquet(parquet_options(&flags.files, &flags.reading)?))
            }
            (FormatName::Ipc, Some(place)) => {
                (place, Format::IpcFile(ipc_options(&flags.files, IpcFormat::File)?))
            }
            (FormatName::IpcStream, Some(place)) => {
                (place, Format::IpcStream(ipc_options(&flags.files, IpcFormat::Stream)?))
            }
        };
        check_place(&place, flags, is_many)?;
        Ok(Self::Output(place, format))
    }

    /// The type options that hold without flags. Parquet has no type for Arrow's intervals; a table gets
    /// arrays with their dimensions and lower bounds.
    pub(crate) fn types(&self) -> TypeOptions {
        match self {
            Self::Output(_, format) => format.types(),
            Self::Table(_) | Self::Tables(_) => types_of_tables(),
            Self::Nowhere => TypeOptions::default(),
        }
    }

    /// By what the files are partitioned.
    pub(crate) fn partitions(&self) -> PartitionBy {
        match self {
            Self::Output(Place::Folder(folder), _) => folder.partition_by.clone(),
            Self::Output(Place::File(_) | Place::Stdout, _)
            | Self::Nowhere
            | Self::Table(_)
            | Self::Tables(_) => PartitionBy::default(),
        }
    }

    /// The path of the output, if it has one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Output(Place::File(path), _) => Some(path),
            Self::Output(Place::Folder(folder), _) => Some(&folder.path),
            Self::Output(Place::Stdout, _) | Self::Nowhere | Self::Table(_) | Self::Tables(_) => None,
        }
    }
}

/// The type options of rows that go into tables: arrays come with their dimensions and lower bounds.
pub(crate) fn types_of_tables() -> TypeOptions {
    TypeOptions { arrays: ArrayForm::Shaped, ..TypeOptions::default() }
}

pub(crate) fn place(path: &Path, files: Option<&FileFlags>) -> Result<Place, Failure> {
    if path.as_os_str() == "-" {
        return Ok(Place::Stdout);
    }
    check_url("-o", path)?;
    Ok(match path.to_string_lossy().ends_with(path::is_separator) {
        true => Place::Folder(Folder {
            path: path.to_owned(),
            file_bytes: files.and_then(|files| files.file_size),
            partition_by: files.map(FileFlags::partitions).unwrap_or_default(),
        }),
        false => Place::File(path.to_owned()),
    })
}

/// Refuses a URL, which would become a folder of that name here. It may hold a secret, so the message does
/// not repeat it.
pub(crate) fn check_url(option: &str, path: &Path) -> Result<(), Failure> {
    let text = path.to_string_lossy();
    let Some((scheme, _)) = text.split_once("://") else { return Ok(()) };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c));
    match is_scheme {
        false => Ok(()),
        true if scheme.eq_ignore_ascii_case("file") => {
            Err(Failure::options(format!("{option} takes a path of this machine; leave out {scheme}://")))
        }
        true => Err(Failure::options(format!(
            "{option} takes a path of this machine, and {scheme}://… is none; write there with a program that can, as in \
             `pgarrow export … --to parquet -o - | aws s3 cp - s3://BUCKET/NAME`"
        ))),
    }
}

/// The warning if the ending of the output's name promises another format than is written: programs that go
/// by the ending fail to open it.
pub(crate) fn ending_warning(flags: &ExportFlags) -> Option<String> {
    let (format, path) = (flags.to?, flags.output.as_deref()?);
    let promised = format_of(path).filter(|promised| *promised != format)?;
    let name = |format: FormatName| format.to_possible_value().map(|value| value.get_name().to_owned());
    Some(format!(
        "{path:?} has the ending of {}, and {} is written to it, as --to says",
        name(promised)?,
        name(format)?
    ))
}

fn check_place(place: &Place, flags: &ExportFlags, is_many: bool) -> Result<(), Failure> {
    match place {
        Place::Folder(_) => Ok(()),
        Place::File(path) if is_many => Err(Failure::options(format!(
            "several tables need a folder; end {path:?} with /, or give --to none"
        ))),
        Place::Stdout if is_many => {
            Err(Failure::options("several tables do not fit into stdout; give a folder, as in -o shop/"))
        }
        Place::File(path) if path.is_dir() => {
            Err(Failure::output(format!("output {path:?} is a folder; end it with / for a folder of files")))
        }
        Place::Stdout if !flags.dry_run && io::stdout().is_terminal() => {
            Err(Failure::options("binary data would go to the terminal; redirect stdout, or give -o PATH"))
        }
        Place::Stdout | Place::File(_) => Ok(()),
    }
}

/// Refuses partitions that do not go with the output.
fn check_partitions(flags: &ExportFlags, place: Option<&Place>) -> Result<(), Failure> {
    if flags.files.keep_partition_columns && flags.files.partition_by.is_empty() {
        return Err(Failure::options("--keep-partition-columns is for --partition-by; leave it out"));
    }
    if !flags.files.partition_by.is_empty() && !matches!(place, Some(Place::Folder(_))) {
        let text = "--partition-by is for folders; end the output's path with /, as in -o orders/";
        return Err(Failure::options(text));
    }
    match flags.reading.ordered && !flags.files.partition_by.is_empty() {
        true => Err(Failure::options(
            "--ordered keeps the order of all rows, and --partition-by puts them into other files; leave one out",
        )),
        false => Ok(()),
    }
}

/// Refuses several writers for rows in order.
pub(crate) fn check_order(reading: &ReadingFlags, how: &HowFlags) -> Result<(), Failure> {
    match reading.ordered && how.writers.is_some_and(|writers| writers > 1) {
        true => Err(Failure::options(
            "several --writers load rows in any order; leave out --ordered, or --writers",
        )),
        false => Ok(()),
    }
}

/// Refuses options that do not go with a table as the output.
fn check_table(flags: &ExportFlags) -> Result<(), Failure> {
    if let Some(name) = flags.parts.any() {
        let text = format!(
            "{name} is for `pgarrow load`: an export that is started again reads other rows in another order, and nothing \
             could tell which of them are loaded or were rejected; export to a file, and load that"
        );
        return Err(Failure::options(text));
    }
    if flags.rejects.reject.is_some() {
        let text = "--reject is for exports to files, and --to postgres writes none: export to a file, and load that";
        return Err(Failure::options(text));
    }
    match flags.output.as_ref().map(|_| "-o").or_else(|| flags.files.of_files()) {
        Some(name) => Err(Failure::options(format!("{name} is for files, and --to postgres writes none"))),
        None => Ok(()),
    }
}

/// The format by the ending of the file's name.
pub(crate) fn format_of(path: &Path) -> Option<FormatName> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    match extension.as_deref() {
        Some("parquet") => Some(FormatName::Parquet),
        Some("arrow" | "feather" | "ipc") => Some(FormatName::Ipc),
        Some("arrows") => Some(FormatName::IpcStream),
        _ => None,
    }
}

fn no_format(path: &Path) -> Failure {
    Failure::options(format!("the ending of {path:?} says no format; give --to parquet, ipc or ipc-stream"))
}

/// With `--ordered`, this many row groups fit into the memory.
const ORDERED_GROUPS: usize = 16;
/// The limit of a row group's bytes of Arrow data, however much memory there is.
const ROW_GROUP_BYTES: usize = 64 << 20;

pub(crate) fn parquet_options(files: &FileFlags, reading: &ReadingFlags) -> Result<ParquetOptions, Failure> {
    let mut options = ParquetOptions::default().with_compat(files.parquet_compat);
    if let Some(text) = &files.compression {
        options = options.with_compression(text.parse().map_err(Error::from)?);
    }
    if let Some(rows) = files.row_group_rows {
        options = options.with_row_group_rows(rows);
    }
    if let Some(column) = files.repeated_column() {
        let text = format!(
            "--parquet-column names {column:?} twice; give its choices together, separated by commas"
        );
        return Err(Failure::options(text));
    }
    if let Some(SortedBy(columns)) = &files.sorted_by {
        options = options.with_sorted_by(columns.iter().cloned());
    }
    for (path, column) in &files.parquet_columns {
        options = options.with_column(path, *column);
    }
    // With `--ordered`, a row group does not end early for lack of memory: its end must depend on the rows
    // alone.
    if let (true, Some(memory)) = (reading.ordered, reading.memory) {
        options = options.with_row_group_bytes((memory / ORDERED_GROUPS).min(ROW_GROUP_BYTES));
    }
    Ok(options)
}

pub(crate) fn ipc_options(files: &FileFlags, format: IpcFormat) -> Result<IpcOptions, Failure> {
    let mut options = IpcOptions::default().with_format(format);
    if let Some(text) = &files.compression {
        options = options.with_compression(text.parse().map_err(Error::from)?);
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_ends_in_a_separator_is_a_folder() {
        let folder = |path: &str| {
            let partition_by = PartitionBy::default();
            Place::Folder(Folder { path: path.into(), file_bytes: None, partition_by })
        };
        let place = |path: &Path, files| super::place(path, files).unwrap();
        assert_eq!(place(Path::new("out/"), None), folder("out/"));
        assert_eq!(place(Path::new("a/b.arrow/"), None), folder("a/b.arrow/"));
        assert_eq!(place(Path::new("a/b.arrow"), None), Place::File("a/b.arrow".into()));
        assert_eq!(place(Path::new("-"), None), Place::Stdout);
        assert_eq!(format_of(Path::new("a/b.arrow/")), Some(FormatName::Ipc));
        assert_eq!(format_of(Path::new("a/b/")), None);
    }

    /// URLs became folders of these names before.
    #[test]
    fn urls_are_no_paths() {
        for url in
            ["s3://bucket/x.parquet", "S3://b/", "https://u:canary@h/x", "abfss://c@a/x", "file:///tmp/x"]
        {
            let error = place(Path::new(url), None).unwrap_err().to_string();
            assert!(
                error.starts_with("-o takes a path of this machine") && !error.contains("canary"),
                "{error}"
            );
        }
        for path in ["./s3://b/x.parquet", "a b://c.parquet", "://x.parquet", "c:/x.parquet"] {
            assert!(place(Path::new(path), None).is_ok(), "{path}");
        }
    }
}
