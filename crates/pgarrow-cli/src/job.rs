//! `ExportJob`: the flags, checked and ready to run. No connection is open, and nothing is written yet.

use std::path::{self, Path, PathBuf};

use pgarrow::{Config, ExportOptions, ReadMode, TypeOptions};
use pgarrow_job::{Compared, Format, JobFile, PartitionBy};

use crate::connecting::config;
use crate::destination::{self, Destination, Place, check_order, check_url, ending_warning, types_of_tables};
use crate::exit::Failure;
use crate::flags::{
    ExportFlags, FileFlags, HoldFlags, InspectFlags, JobOptions, PlanFlags, ReadModeName, ReadingFlags,
    RetryFlags, SessionFlags, TypeFlags, WhatFlags,
};
use crate::subject::{Single, Subject};

/// What is read, from where and how: the same for all commands that read.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) connection: Config,
    pub(crate) subject: Subject,
    pub(crate) options: ExportOptions,
    pub(crate) asked: Asked,
    /// The format of the output of a plan, if one is given: what it refuses is refused.
    pub(crate) format: Option<(Format, PartitionBy)>,
}

/// What the user asked for, and may not get.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pages: bool,
}

/// One export.
#[derive(Debug)]
pub(crate) struct ExportJob {
    pub(crate) reading: Reading,
    pub(crate) destination: Destination,
    pub(crate) overwrite: bool,
    /// Where rejected rows go, if they are left out.
    pub(crate) reject: Option<PathBuf>,
    pub(crate) is_ordered: bool,
    /// Whether files say where their rows come from.
    pub(crate) has_origin: bool,
    /// What is compared with the server before files are published, if that is asked for.
    pub(crate) verify: Option<Compared>,
    /// A warning about the options themselves.
    pub(crate) warning: Option<String>,
}

impl Reading {
    fn new(
        what: &WhatFlags,
        slice: Option<&str>,
        reading: &ReadingFlags,
        session: &SessionFlags,
    ) -> Result<Self, Failure> {
        let subject = Subject::new(what, slice)?;
        check_reading(&subject, reading, session)?;
        Ok(Self {
            connection: config(what.connection.as_deref(), &session.connecting)?,
            subject,
            options: options(reading, session),
            asked: Asked { pages: reading.read_mode == Some(ReadModeName::Pages) },
            format: None,
        })
    }

    /// Adds the choices about types. `unsaid` holds the choices that no flag makes.
    fn with_types(mut self, types: &TypeFlags, unsaid: TypeOptions) -> Result<Self, Failure> {
        self.options = with_types(self.options, types, unsaid)?;
        Ok(self)
    }
}

impl Reading {
    /// What a job reads for a server.
    pub(crate) fn of_job(file: &JobFile, flags: &JobOptions) -> Result<Self, Failure> {
        check_order(&flags.reading, &flags.how)?;
        Ok(Self {
            connection: config(file.connection.as_deref(), &flags.session.connecting)?,
            subject: Subject::Many {
                names: Vec::new(),
                patterns: file.tables.clone(),
                schemas: Vec::new(),
                excluded: file.exclude_tables.clone(),
                only: file.only,
            },
            options: options_of_job(flags, types_of_tables())?,
            asked: Asked { pages: flags.reading.read_mode == Some(ReadModeName::Pages) },
            format: None,
        })
    }
}

impl Asked {
    /// Whether the user asked for pages, and did not only allow them.
    pub(crate) fn for_pages(self) -> bool {
        self.pages
    }
}

impl TryFrom<&PlanFlags> for Reading {
    type Error = Failure;

    fn try_from(flags: &PlanFlags) -> Result<Self, Failure> {
        if flags.tokens.is_some() {
            let text = "tokens are read under a held snapshot; `pgarrow hold` writes them and holds it";
            return Err(Failure::options(text));
        }
        if flags.slice.is_some() {
            let text = "a slice is planned already; `pgarrow export --slice … --dry-run` shows it";
            return Err(Failure::options(text));
        }
        let reading = Self::new(&flags.what, None, &flags.reading, &flags.session)?;
        reading.with_types(&flags.types, TypeOptions::default())
    }
}

impl TryFrom<&InspectFlags> for Reading {
    type Error = Failure;

    fn try_from(flags: &InspectFlags) -> Result<Self, Failure> {
        let reading = Self::new(&flags.what, None, &flags.reading, &flags.session)?;
        reading.with_types(&flags.types, TypeOptions::default())
    }
}

impl TryFrom<&HoldFlags> for Reading {
    type Error = Failure;

    fn try_from(flags: &HoldFlags) -> Result<Self, Failure> {
        let reading = Self::new(&flags.what, None, &flags.reading, &flags.session)?;
        flags.tokens.iter().try_for_each(|path| check_url("--tokens", path)).map(|()| reading)
    }
}

/// What `export --dry-run` plans. The output, if one is given, decides some types.
impl TryFrom<&ExportFlags> for Reading {
    type Error = Failure;

    fn try_from(flags: &ExportFlags) -> Result<Self, Failure> {
        if flags.report.is_some() {
            return Err(Failure::options("--dry-run writes nothing; leave out --report"));
        }
        if flags.output.is_some() || flags.to.is_some() {
            let ExportJob { reading, destination, .. } = ExportJob::try_from(flags)?;
            let by = destination.partitions();
            let format = match destination {
                Destination::Output(_, format) => Some((format, by)),
                Destination::Nowhere | Destination::Table(_) | Destination::Tables(_) => None,
            };
            return Ok(Self { format, ..reading });
        }
        Self::batches_of(flags)
    }
}

impl Reading {
    /// What an export hands out as batches, without an output.
    pub(crate) fn batches_of(flags: &ExportFlags) -> Result<Self, Failure> {
        reading_of(flags)?.with_types(&flags.types, TypeOptions::default())
    }
}

impl TryFrom<&ExportFlags> for ExportJob {
    type Error = Failure;

    fn try_from(flags: &ExportFlags) -> Result<Self, Failure> {
        let reading = reading_of(flags)?;
        let destination = Destination::new(flags, reading.subject.is_many())?;
        let reading = reading.with_types(&flags.types, destination.types())?;
        let is_ordered = flags.reading.ordered;
        if is_ordered && reading.subject.is_many() && matches!(destination, Destination::Nowhere) {
            return Err(Failure::options(
                "--ordered is for outputs; leave it out with several tables --to none",
            ));
        }
        let rejects = &flags.rejects;
        if flags.overwrite
            && destination.path().is_none()
            && flags.report.is_none()
            && rejects.reject.is_none()
        {
            return Err(Failure::options("--overwrite is for files, and none is written"));
        }
        if matches!(destination, Destination::Table(_) | Destination::Tables(_)) {
            check_target(flags)?;
        }
        let warning = ending_warning(flags);
        let (has_origin, reject) = (flags.files.origin, rejects.reject.clone());
        let verify = flags.verify.then(|| compared(flags, &reading.subject, &destination)).transpose()?;
        let overwrite = flags.overwrite;
        Ok(Self { warning, reading, destination, overwrite, reject, is_ordered, has_origin, verify })
    }
}

/// What a comparison with the server must know.
fn compared(flags: &ExportFlags, subject: &Subject, destination: &Destination) -> Result<Compared, Failure> {
    let refused = |why: &str| Err(Failure::options(format!("--verify {why}")));
    match destination {
        Destination::Output(Place::File(_) | Place::Folder(_), _) if destination.partitions().is_some() => {
            refused("is not for folders by values; a job compares those: `pgarrow run --verify`")
        }
        Destination::Output(Place::File(_) | Place::Folder(_), _) => match subject.compared() {
            Ok(_) if flags.reading.inconsistent => {
                refused("needs one snapshot; leave it out, or --inconsistent")
            }
            Ok(_) if flags.rejects.reject.is_some() => {
                refused("finds rows that are not in the files; leave it out, or --reject")
            }
            Ok(what) => Ok(what),
            Err(what) => refused(&format!("compares whole tables; leave it out, or {what}")),
        },
        _ => refused("reads files before they appear; leave it out, or write to a file or folder"),
    }
}

/// All but the types, which depend on the destination, too.
fn reading_of(flags: &ExportFlags) -> Result<Reading, Failure> {
    let mut reading = Reading::new(&flags.what, flags.slice.as_deref(), &flags.reading, &flags.session)?;
    let is_slice = matches!(reading.subject, Subject::One { single: Single::Slice(_), .. });
    if is_slice && flags.retrying.retries.is_some() {
        return Err(for_slices("--retries"));
    }
    reading.options = with_batches(reading.options, &flags.files, &flags.retrying);
    reading.options = flags.rejects.applied_to(reading.options);
    Ok(reading)
}

/// The options of one of a job's runs.
pub(crate) fn options_of_job(flags: &JobOptions, unsaid: TypeOptions) -> Result<ExportOptions, Failure> {
    let options = options(&flags.reading, &flags.session);
    with_types(with_batches(options, &flags.files, &flags.retrying), &flags.types, unsaid)
}

/// Adds how batches are cut, and how often a lost connection is made again.
fn with_batches(options: ExportOptions, files: &FileFlags, retrying: &RetryFlags) -> ExportOptions {
    let mut options = options.with_field_ids(files.field_ids);
    if let Some(rows) = files.batch_rows {
        options = options.with_batch_rows(rows);
    }
    if let Some(bytes) = files.batch_bytes {
        options = options.with_batch_bytes(bytes);
    }
    if let Some(retries) = retrying.retries {
        options = options.with_retries(retries);
    }
    options
}

/// Adds the choices about types. `unsaid` holds the choices that no flag makes.
fn with_types(
    options: ExportOptions,
    types: &TypeFlags,
    unsaid: TypeOptions,
) -> Result<ExportOptions, Failure> {
    if let Some(name) = types.repeated_column() {
        let text = format!("--column names {name:?} twice; give its choices together, separated by commas");
        return Err(Failure::options(text));
    }
    let options = options.with_types(types.options(unsaid));
    let columns = types.by_column.iter().cloned();
    Ok(columns.fold(options, |options, (name, column)| options.with_column(name, column)))
}

/// Refuses options that do not go with what is read.
fn check_reading(subject: &Subject, flags: &ReadingFlags, session: &SessionFlags) -> Result<(), Failure> {
    match subject {
        Subject::One { single: Single::Slice(_), .. } => {
            let given = [
                ("--readers", flags.readers.is_some()),
                ("--ordered", flags.ordered),
                ("--split-on", flags.split_on.is_some()),
                ("--slice-bytes", flags.slice_bytes.is_some()),
                ("--read-mode", flags.read_mode.is_some()),
                ("--inconsistent", flags.inconsistent),
                // The keeper has the locks.
                ("--lock-timeout", session.lock_timeout.is_some()),
            ];
            match given.into_iter().find(|(_, is_given)| *is_given) {
                Some((name, _)) => Err(for_slices(name)),
                None => Ok(()),
            }
        }
        Subject::Many { .. } if flags.split_on.is_some() => Err(Failure::options(
            "--split-on names a column of one --table or query; leave it out for several",
        )),
        _ => Ok(()),
    }
}

fn for_slices(name: &str) -> Failure {
    Failure::options(format!("a slice is read as it was planned, by one connection; leave out {name}"))
}

/// Refuses a report, metrics or rejected rows that have the output's path, or are in the output folder.
pub(crate) fn check_reports(flags: &ExportFlags) -> Result<(), Failure> {
    let outputs =
        [("--report", &flags.report), ("--metrics", &flags.metrics), ("--reject", &flags.rejects.reject)];
    check_apart(outputs)?;
    for (option, path) in outputs {
        let Some(path) = path else { continue };
        check_url(option, path)?;
        let Some(output) = flags.output.as_ref().filter(|output| output.as_os_str() != "-") else { continue };
        let (path, output_place) = (real(path), real(output));
        match destination::place(output, None)? {
            Place::Folder(_) if path.starts_with(&output_place) => {
                return Err(Failure::options(format!(
                    "{option} would be in the folder of --output; put it beside"
                )));
            }
            _ if path == output_place => {
                return Err(Failure::options(format!("{option} and --output name the same file")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses outputs of which two are the same file.
pub(crate) fn check_apart(outputs: [(&str, &Option<PathBuf>); 3]) -> Result<(), Failure> {
    let [one, two, three] = outputs;
    for ((option, path), (other, other_path)) in [(one, two), (one, three), (two, three)] {
        check_beside(&format!("{option} and {other}"), path.as_deref(), other_path.as_deref())?;
    }
    Ok(())
}

/// Refuses two outputs that are the same file.
pub(crate) fn check_beside(options: &str, one: Option<&Path>, two: Option<&Path>) -> Result<(), Failure> {
    match (one.map(real), two.map(real)) {
        (Some(one), Some(two)) if one == two => {
            Err(Failure::options(format!("{options} name the same file")))
        }
        _ => Ok(()),
    }
}

/// The absolute path with the links to its folder resolved. If the name itself is a link, the link is what is
/// replaced.
pub(crate) fn real(path: &Path) -> PathBuf {
    let absolute = path::absolute(path).unwrap_or_default();
    // The innermost folder that exists is resolved.
    let real = absolute.ancestors().skip(1).find_map(|folder| {
        let rest = absolute.strip_prefix(folder).ok()?;
        Some(folder.canonicalize().ok()?.join(rest))
    });
    real.unwrap_or(absolute)
}

/// Refuses an export with a connection for its source and none for its target: the environment's server is
/// hardly meant.
fn check_target(flags: &ExportFlags) -> Result<(), Failure> {
    let is_given = |connection: &Option<String>| {
        connection.as_deref().is_some_and(|connection| !connection.trim().is_empty())
    };
    match is_given(&flags.what.connection) && !is_given(&flags.into.target) {
        true => Err(Failure::options(
            "a connection is given for the source and none for the target, which PGHOST and so on would then name; \
             give --target CONNECTION, also if it is the same server",
        )),
        false => Ok(()),
    }
}

fn options(reading: &ReadingFlags, session: &SessionFlags) -> ExportOptions {
    let mut options =
        ExportOptions::default().with_order(reading.ordered).with_inconsistent(reading.inconsistent);
    if let Some(readers) = reading.readers {
        options = options.with_readers(readers);
    }
    if let Some(bytes) = reading.memory {
        options = options.with_memory(bytes);
    }
    if let Some(column) = &reading.split_on {
        options = options.with_split_on(column);
    }
    if let Some(bytes) = reading.slice_bytes {
        options = options.with_slice_bytes(bytes);
    }
    if let Some(mode) = reading.read_mode {
        options = options.with_read_mode(match mode {
            ReadModeName::Auto => ReadMode::Auto,
            ReadModeName::Copy => ReadMode::Copy,
            ReadModeName::Select => ReadMode::Select,
            ReadModeName::Cursor => ReadMode::Cursor,
            ReadModeName::Pages => ReadMode::Pages,
        });
    }
    with_session(options, session)
}

/// Adds the role, the timeouts and the settings of the session.
pub(crate) fn with_session(mut options: ExportOptions, session: &SessionFlags) -> ExportOptions {
    if let Some(time) = session.read_timeout {
        options = options.with_read_timeout(time);
    }
    if let Some(time) = session.lock_timeout {
        options = options.with_lock_timeout(time);
    }
    if let Some(role) = &session.role {
        options = options.with_role(role);
    }
    session.settings.iter().fold(options, |options, (name, value)| options.with_setting(name, value))
}
