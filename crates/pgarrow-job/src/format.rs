//! The formats of files, and the sinks that write them.

use std::io;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use pgarrow_export::{Error, ErrorKind, IntervalForm, Message, Plan, TypeOptions, message, option};
use pgarrow_sink::{Output, Outputs, Sink, SinkError, SinkErrorKind};
use pgarrow_sink_ipc::{IpcOptions, IpcSink};
use pgarrow_sink_parquet::{ParquetOptions, ParquetSink};

use crate::partition::{Keys, PartitionBy, PartitionFiles, PartitionSink};

/// A format of files, with its options.
#[derive(Clone, Debug)]
pub enum Format {
    /// Parquet.
    Parquet(ParquetOptions),
    /// Arrow IPC files.
    IpcFile(IpcOptions),
    /// Arrow IPC streams.
    IpcStream(IpcOptions),
}

impl Format {
    /// The ending of a file's name.
    pub fn extension(&self) -> &'static str {
        match self {
            Self::Parquet(_) => "parquet",
            Self::IpcFile(_) => "arrow",
            Self::IpcStream(_) => "arrows",
        }
    }

    /// The type options that hold where nothing else is chosen: Parquet has no type for Arrow's intervals.
    pub fn types(&self) -> TypeOptions {
        match self {
            Self::Parquet(_) => TypeOptions { interval: IntervalForm::Struct, ..TypeOptions::default() },
            Self::IpcFile(_) | Self::IpcStream(_) => TypeOptions::default(),
        }
    }

    /// Creates the sink. `notice` takes what the format had to change. Choices for columns that the schema
    /// does not have are for other tables, see [`unknown_column`](Self::unknown_column).
    ///
    /// # Errors
    ///
    /// The format does not have a type of the schema, or an output could not be begun.
    pub fn sink(
        &self,
        outputs: Outputs,
        schema: SchemaRef,
        notice: impl FnMut(String),
    ) -> Result<Box<dyn Sink>, SinkError> {
        Ok(match self {
            Self::Parquet(options) => {
                let of_others = options.missing_columns(&schema)?;
                let sink = ParquetSink::create(outputs, schema, options.clone().without_columns(&of_others))?;
                sink.warnings().into_iter().for_each(notice);
                Box::new(sink)
            }
            Self::IpcFile(options) | Self::IpcStream(options) => {
                let sink = IpcSink::create(outputs, schema, *options)?;
                sink.warnings().into_iter().for_each(notice);
                Box::new(sink)
            }
        })
    }

    /// The same for files by partitions.
    ///
    /// # Errors
    ///
    /// As for [`sink`](Self::sink); or the table cannot be partitioned so.
    pub fn sink_of_partitions(
        &self,
        by: &PartitionBy,
        subject: &str,
        schema: SchemaRef,
        files: PartitionFiles,
        mut notice: impl FnMut(String),
    ) -> Result<Box<dyn Sink>, SinkError> {
        let keys = self.keys(by, subject, &schema)?;
        let (format, in_files) = (self.clone(), Arc::clone(keys.in_files()));
        let make = move |output, notice: &mut dyn FnMut(String)| {
            format.sink(Outputs::single(output), Arc::clone(&in_files), notice)
        };
        let (make, is_sorted) = (Box::new(make), self.is_sorted());
        Ok(Box::new(PartitionSink::create(make, is_sorted, keys, schema, files, &mut notice)?))
    }

    fn keys(&self, by: &PartitionBy, subject: &str, schema: &SchemaRef) -> Result<Keys, SinkError> {
        Keys::new(by, subject, schema).map_err(|error| SinkError::of(SinkErrorKind::Unsupported, error))
    }

    /// Whether an order of rows is declared, which is checked.
    fn is_sorted(&self) -> bool {
        matches!(self, Self::Parquet(options) if options.is_sorted())
    }

    /// A choice for a column that is in none of what is read.
    ///
    /// # Errors
    ///
    /// There is one.
    pub fn unknown_column<'a>(&self, plans: impl IntoIterator<Item = &'a Plan>) -> Result<(), Error> {
        let Self::Parquet(options) = self else { return Ok(()) };
        let mut of_none: Option<Vec<Vec<String>>> = None;
        for plan in plans {
            // What Parquet does not take at all, another error says.
            let Ok(missing) = options.missing_columns(plan.schema()) else { return Ok(()) };
            match &mut of_none {
                Some(of_none) => of_none.retain(|path| missing.contains(path)),
                None => of_none = Some(missing),
            }
        }
        match of_none.and_then(|paths| paths.into_iter().next()) {
            Some(path) => {
                let text = format!(
                    "there is a choice for how column {:?} is written, and nothing that is read has such a column",
                    path.join(".")
                );
                let advice = message!["give its name as it is in the file (", option::PARQUET_COLUMN, ")"];
                Err(Error::new(ErrorKind::Options, text).advice(advice))
            }
            None => Ok(()),
        }
    }

    /// Whether the format takes what a plan reads, in partitions if there are any.
    ///
    /// # Errors
    ///
    /// As for [`sink`](Self::sink) and [`sink_of_partitions`](Self::sink_of_partitions).
    pub fn check(&self, plan: &Plan, by: &PartitionBy) -> Result<(), SinkError> {
        // This output discards its bytes.
        let outputs = Outputs::single(Output::writer(io::sink()));
        let schema = match by.is_some() {
            true => Arc::clone(self.keys(by, plan.subject(), plan.schema())?.in_files()),
            false => Arc::clone(plan.schema()),
        };
        self.sink(outputs, schema, drop).map(drop)
    }

    /// What the tables have that the format cannot take, found before any table is read; `by` says how each
    /// is partitioned.
    pub fn problems(&self, plans: &[Plan], by: &dyn Fn(&Plan) -> PartitionBy) -> Vec<Error> {
        let mut problems = Vec::new();
        problems.extend(self.unknown_column(plans).err());
        for plan in plans {
            let subject = plan.subject();
            if matches!(self, Self::Parquet(_)) && plan.schema().fields().is_empty() {
                let text = format!("{subject} has no columns, and Parquet no rows without columns");
                let advice = message![
                    "leave it out (",
                    option::EXCLUDE_TABLE,
                    "), or write Arrow IPC in place of Parquet"
                ];
                problems.push(Error::new(ErrorKind::Options, text).advice(advice));
                continue;
            }
            if let Err(error) = self.check(plan, &by(plan)) {
                problems.push(Error::from(error).context(subject));
            }
        }
        problems
    }
}

/// A warning, in one line, that numerics become text: readers of the file expect numbers. Not for rows that
/// go to a server, whose columns are numerics again.
pub fn numerics_as_text(plan: &Plan) -> Option<Message> {
    const NAMES_MAX: usize = 5;
    let names: Vec<String> = plan.numerics_as_text().map(|column| format!("{:?}", column.name)).collect();
    let shown = names.get(..NAMES_MAX).unwrap_or(&names).join(", ");
    let columns = match names.len() {
        0 => return None,
        1 => format!("column {shown} becomes"),
        2..=NAMES_MAX => format!("columns {shown} become"),
        n => format!("columns {shown} and {} more become", n.saturating_sub(NAMES_MAX)),
    };
    Some(message![
        format_args!("{columns} text: numeric without a precision that a decimal has; choose "),
        option::NUMERIC.to("scan"),
        " or decimal(P,S), or ",
        option::COLUMN.to("NAME:decimal(P,S)"),
        ", for numbers, or ",
        option::NUMERIC.to("text")
    ])
}
