//! `Job`: what was typed, checked and ready to run. Nothing was connected to and nothing written yet.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use pgarrow::{Config, Error, ExportOptions, Extract, IntervalForm, Source, parse_column_list};
use pgarrow_sink_ipc::{IpcFormat, IpcOptions};
use pgarrow_sink_parquet::ParquetOptions;

use crate::exit::Failure;
use crate::flags::{ExportFlags, FormatName};

/// One export.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) connection: Config,
    subject: Subject,
    options: ExportOptions,
    pub(crate) destination: Destination,
    pub(crate) report: Option<PathBuf>,
    pub(crate) overwrite: bool,
}

#[derive(Debug)]
enum Subject {
    Table { name: String, columns: Option<Vec<String>>, filter: Option<String> },
    Query { sql: String, params: Vec<String> },
}

/// Where batches go.
#[derive(Debug)]
pub(crate) enum Destination {
    Nowhere,
    Output(Place, Format),
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Stdout,
    File(PathBuf),
}

#[derive(Debug)]
pub(crate) enum Format {
    Parquet(ParquetOptions),
    Ipc(IpcOptions),
}

impl Job {
    /// Describes the export to the library.
    pub(crate) fn extract<'a>(&self, source: &'a Source) -> Extract<'a> {
        let extract = match &self.subject {
            Subject::Table { name, columns, filter } => {
                let mut extract = source.table(name);
                if let Some(columns) = columns {
                    extract = extract.columns(columns);
                }
                match filter {
                    Some(filter) => extract.filter(filter),
                    None => extract,
                }
            }
            Subject::Query { sql, params } => {
                params.iter().fold(source.query(sql), |extract, value| extract.bind(Some(value)))
            }
        };
        extract.options(self.options.clone())
    }
}

impl TryFrom<ExportFlags> for Job {
    type Error = Failure;

    fn try_from(flags: ExportFlags) -> Result<Self, Failure> {
        let connection = flags.connection.as_deref().filter(|text| !text.trim().is_empty());
        let subject = subject(&flags)?;
        let destination = destination(&flags)?;
        let is_file = matches!(destination, Destination::Output(Place::File(_), _));
        if flags.overwrite && !is_file && flags.report.is_none() {
            return Err(Failure::options("--overwrite is for files, and none is written"));
        }
        if let (Some(report), Destination::Output(Place::File(output), _)) = (&flags.report, &destination)
            && report == output
        {
            return Err(Failure::options("--report and --output name the same file"));
        }
        Ok(Self {
            connection: Config::parse(connection).map_err(Error::from)?,
            subject,
            options: options(&flags, &destination),
            destination,
            report: flags.report,
            overwrite: flags.overwrite,
        })
    }
}

fn subject(flags: &ExportFlags) -> Result<Subject, Failure> {
    let sql =
        match (&flags.query, &flags.query_file) {
            (Some(_), Some(_)) => return Err(Failure::options("give --query or --query-file, not both")),
            (Some(sql), None) => Some(sql.clone()),
            (None, Some(path)) => Some(fs::read_to_string(path).map_err(|error| {
                Failure::options(format!("the query cannot be read from {path:?}: {error}"))
            })?),
            (None, None) => None,
        };
    match (&flags.table, sql) {
        (Some(_), Some(_)) => Err(Failure::options("give --table or a query, not both")),
        (None, None) => Err(Failure::options("nothing to export; give --table NAME or --query SQL")),
        (Some(name), None) => {
            if !flags.params.is_empty() {
                return Err(Failure::options("--param is for queries; write the value into --where"));
            }
            let columns = flags.columns.as_deref().map(parse_column_list).transpose();
            Ok(Subject::Table {
                name: name.clone(),
                columns: columns.map_err(|error| Failure::from(Error::from(error)))?,
                filter: flags.filter.clone(),
            })
        }
        (None, Some(sql)) => {
            let for_tables = [("--columns", flags.columns.is_some()), ("--where", flags.filter.is_some())];
            if let Some((name, _)) = for_tables.into_iter().find(|(_, is_given)| *is_given) {
                return Err(Failure::options(format!("{name} is for --table; write it into the query")));
            }
            Ok(Subject::Query { sql, params: flags.params.clone() })
        }
    }
}

fn destination(flags: &ExportFlags) -> Result<Destination, Failure> {
    let place = flags.output.as_ref().map(|path| match path.as_os_str() == "-" {
        true => Place::Stdout,
        false => Place::File(path.clone()),
    });
    let format = match (flags.to, &place) {
        (Some(format), _) => format,
        (None, Some(Place::File(path))) => by_extension(path)?,
        (None, Some(Place::Stdout)) => {
            return Err(Failure::options("stdout needs a format; give --to parquet, ipc or ipc-stream"));
        }
        (None, None) => return Err(Failure::options("no output; give -o PATH, -o - or --to none")),
    };
    if format != FormatName::Parquet && flags.row_group_rows.is_some() {
        return Err(Failure::options("--row-group-rows is for --to parquet"));
    }
    let (place, format) = match (format, place) {
        (FormatName::None, Some(_)) => {
            return Err(Failure::options("--to none writes nothing; leave out -o, or choose a format"));
        }
        (FormatName::None, None) if flags.compression.is_some() => {
            return Err(Failure::options("--to none writes nothing; leave out --compression"));
        }
        (FormatName::None, None) => return Ok(Destination::Nowhere),
        (_, None) => return Err(Failure::options("no output; give -o PATH, or -o - for stdout")),
        (FormatName::Parquet, Some(place)) => (place, Format::Parquet(parquet_options(flags)?)),
        (FormatName::Ipc, Some(place)) => (place, Format::Ipc(ipc_options(flags, IpcFormat::File)?)),
        (FormatName::IpcStream, Some(place)) => (place, Format::Ipc(ipc_options(flags, IpcFormat::Stream)?)),
    };
    if place == Place::Stdout && io::stdout().is_terminal() {
        return Err(Failure::options(
            "binary data would go to the terminal; redirect stdout, or give -o PATH",
        ));
    }
    Ok(Destination::Output(place, format))
}

fn by_extension(path: &Path) -> Result<FormatName, Failure> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    match extension.as_deref() {
        Some("parquet") => Ok(FormatName::Parquet),
        Some("arrow" | "feather" | "ipc") => Ok(FormatName::Ipc),
        Some("arrows") => Ok(FormatName::IpcStream),
        _ => Err(Failure::options(format!(
            "the ending of {path:?} says no format; give --to parquet, ipc or ipc-stream"
        ))),
    }
}

fn parquet_options(flags: &ExportFlags) -> Result<ParquetOptions, Failure> {
    let mut options = ParquetOptions::default();
    if let Some(text) = &flags.compression {
        options = options.with_compression(text.parse().map_err(Error::from)?);
    }
    if let Some(rows) = flags.row_group_rows {
        options = options.with_row_group_rows(rows);
    }
    Ok(options)
}

fn ipc_options(flags: &ExportFlags, format: IpcFormat) -> Result<IpcOptions, Failure> {
    let options = IpcOptions::default().with_format(format);
    match &flags.compression {
        Some(text) => Ok(options.with_compression(text.parse().map_err(Error::from)?)),
        None => Ok(options),
    }
}

fn options(flags: &ExportFlags, destination: &Destination) -> ExportOptions {
    let mut options = ExportOptions::default();
    // Parquet has no type for Arrow's intervals.
    if matches!(destination, Destination::Output(_, Format::Parquet(_))) {
        options = options.with_interval(IntervalForm::Struct);
    }
    if let Some(rows) = flags.batch_rows {
        options = options.with_batch_rows(rows);
    }
    if let Some(bytes) = flags.batch_bytes {
        options = options.with_batch_bytes(bytes);
    }
    if let Some(role) = &flags.role {
        options = options.with_role(role);
    }
    flags.settings.iter().fold(options, |options, (name, value)| options.with_setting(name, value))
}
