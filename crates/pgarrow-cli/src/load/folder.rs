//! The tables of a folder: which files have whose rows.
//!
//! ```text
//!  _pgarrow/manifests/       a job's place: the newest manifest says tables and files
//!  _pgarrow_manifest.json    an export's folder: the manifest says files, and these say whose rows they have
//!  neither                   TABLE.parquet, and TABLE/ with files
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use arrow_schema::SchemaRef;
use pgarrow::{Cancel, Error, ErrorKind};
use pgarrow_job::{Manifest, ManifestTable};
use pgarrow_load::input::{Input, InputFile, InputFormat};
use pgarrow_load::{NAME_BYTES_MAX, RelationName};

use super::folder_files::{Folder, TableFile};
use crate::exit::Failure;

/// What was found in a folder.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) tables: Vec<FolderTable>,
    /// All that keeps tables from being loaded.
    pub(crate) problems: Vec<Error>,
    pub(crate) warnings: Vec<String>,
}

/// A table of a folder.
#[derive(Debug)]
pub(crate) struct FolderTable {
    /// Its exact name.
    pub(crate) name: String,
    /// What its rows are of, for messages: the table that was read, or a file or folder.
    pub(crate) of: String,
    files: Vec<TableFile>,
}

impl FolderTable {
    /// What is different about its files.
    pub(crate) fn problems(&self) -> Vec<Error> {
        self.files.iter().filter_map(TableFile::problem).collect()
    }

    /// The schema of its rows, and how many there are, if its files state it.
    pub(crate) fn look(&self, format: Option<InputFormat>) -> Result<(SchemaRef, Option<u64>), Error> {
        Input::look(self.inputs()?, format)
    }

    /// Its rows. `schema` is what [`look`](Self::look) has found: what has changed since is an error.
    pub(crate) fn open(&self, format: Option<InputFormat>, schema: &SchemaRef) -> Result<Input, Error> {
        Error::all(self.problems()).map_or(Ok(()), Err)?;
        let input = Input::open(self.inputs()?, format)?;
        match input.schema() == schema {
            true => Ok(input),
            false => Err(input_error(format!("{}: its files were changed since the load began", self.of))),
        }
    }

    pub(crate) fn n_files(&self) -> usize {
        self.files.len()
    }

    fn inputs(&self) -> Result<Vec<InputFile>, Error> {
        self.files.iter().map(TableFile::input).collect()
    }
}

/// Finds the tables of a folder of this machine, or of a store.
pub(crate) fn find(place: &Path, format: Option<InputFormat>, cancel: &Cancel) -> Result<Found, Failure> {
    let folder = Folder::open(place, cancel)?;
    let of_export = folder.manifest_files("")?;
    let of_job = Manifest::newest(folder.store())?;
    let shown = folder.shown("");
    match (of_job, of_export) {
        (Some(_), Some(_)) => Err(input_error(format!(
            "{shown} has the manifests of a job and that of an export, and nothing says which of them counts"
        ))
        .into()),
        (Some(manifest), None) => Ok(of_manifest(&manifest, &folder)),
        // Files that are there belong to a run that is on, or has failed.
        (None, _) if folder.has_runs()? => {
            Err(input_error(format!("{shown} is the place of a job, and no run has committed there")).into())
        }
        (None, Some(files)) => Ok(of_files(&folder, files, format)),
        (None, None) => of_names(&folder),
    }
}

/// The tables of a job's newest run.
fn of_manifest(manifest: &Manifest, folder: &Folder) -> Found {
    let mut found = Found::default();
    for table in &manifest.tables {
        found.problems.extend(why_not(table));
        let mut files = Vec::with_capacity(table.files.len());
        for file in &table.files {
            match folder.named(&file.path, file.bytes) {
                Ok(file) => files.push(file),
                Err(error) => found.problems.push(error),
            }
        }
        found.tables.push(FolderTable { name: table.name.clone(), of: table.to_string(), files });
    }
    let failed = manifest.failed.iter().map(|failed| {
        let (schema, name, run) = (&failed.schema, &failed.name, &manifest.run_id);
        format!("{schema}.{name} is not in the folder: run {run} could not read it")
    });
    found.warnings.extend(failed);
    found
}

/// Why a table of a manifest cannot be loaded from its files alone.
fn why_not(table: &ManifestTable) -> Option<Error> {
    let mut left_out = table.partition_by.iter().filter(|by| by.part.is_none() && !by.in_files);
    if let Some(by) = left_out.next() {
        let text = format!("{table}: the column {:?} is in no file, but in paths only", by.column);
        let advice = "have the job write it, too: keep_partition_columns = true";
        return Some(Error::new(ErrorKind::Options, text).advice(advice));
    }
    let n_runs = table.increments.len();
    if n_runs > 1 {
        let text =
            format!("{table}: its rows are those of {n_runs} runs, and one may be there in several forms");
        let advice = "have a run read all rows again (pgarrow run --full), and load what it commits";
        return Some(Error::new(ErrorKind::Options, text).advice(advice));
    }
    None
}

/// The tables of an export's folder, which its files tell.
fn of_files(folder: &Folder, files: Vec<(String, u64)>, format: Option<InputFormat>) -> Found {
    let mut found = Found::default();
    if files.is_empty() {
        let problem = format!("the manifest of {} has no files", folder.shown(""));
        found.problems.push(input_error(problem));
    }
    let mut tables: BTreeMap<String, FolderTable> = BTreeMap::new();
    for (name, bytes) in files {
        let of = folder.named(&name, bytes).and_then(|file| match file.problem() {
            Some(problem) => Err(problem),
            None => Ok((table_of(&file, &name, format)?, file)),
        });
        match of {
            Ok(((of, table), file)) => {
                let none = FolderTable { name: table.name, of: of.clone(), files: Vec::new() };
                tables.entry(of).or_insert(none).files.push(file);
            }
            Err(problem) => found.problems.push(problem),
        }
    }
    found.tables = tables.into_values().collect();
    found
}

/// The table whose rows a file of an export has, as the file says it, and parsed.
fn table_of(
    file: &TableFile,
    name: &str,
    format: Option<InputFormat>,
) -> Result<(String, RelationName), Error> {
    let (schema, _) = Input::look([file.input()?], format)?;
    let shown = file.shown();
    let folders = name.split('/').rev().skip(1);
    let keys = folders.filter_map(|folder| folder.split_once('=').map(|(key, _)| key));
    let mut missing = keys.filter(|key| schema.field_with_name(key).is_err());
    if let Some(key) = missing.next() {
        let text = format!(
            "{shown}: partitions have {key:?} in their paths, and files do not say what that is of a table"
        );
        let advice = "a job's manifest says it: use `pgarrow run` with keep_partition_columns = true";
        return Err(Error::new(ErrorKind::Options, text).advice(advice));
    }
    let Some(of) = schema.metadata().get("pg.table") else {
        let text = format!("{shown} does not say which table its rows are of, as files of queries do not");
        return Err(Error::new(ErrorKind::Options, text).advice("load it by itself, with --into"));
    };
    match RelationName::parse(of) {
        Ok(table) => Ok((of.clone(), table)),
        Err(error) => Err(input_error(format!("{shown}: what it says of its table is no name: {error}"))),
    }
}

/// The tables of a plain folder, by the names of files and folders.
fn of_names(folder: &Folder) -> Result<Found, Failure> {
    let mut found = Found::default();
    let mut tables: BTreeMap<String, FolderTable> = BTreeMap::new();
    for entry in folder.entries("")? {
        let of = entry.shown;
        let Some(name) = entry.name else {
            found.problems.push(input_error(format!("{of} is not named in UTF-8")));
            continue;
        };
        let (table, files) = match entry.is_folder {
            true => (name.clone(), files_below(folder, &name)),
            false => (without_ending(&name), Ok(vec![folder.found(&name)])),
        };
        let files = match files {
            Ok(files) => files,
            Err(problem) => {
                found.problems.push(problem);
                continue;
            }
        };
        if table.len() > NAME_BYTES_MAX {
            let text = format!("{of}: a name of PostgreSQL has at most {NAME_BYTES_MAX} bytes");
            found.problems.push(Error::new(ErrorKind::Options, text));
            continue;
        }
        if let Some(other) = tables.get(&table) {
            let text = format!("{} and {of} are both of a table {table:?}", other.of);
            let problem = Error::new(ErrorKind::Options, text);
            found
                .problems
                .push(problem.advice(format!("put them into one folder, {}", folder.shown(&table))));
            continue;
        }
        tables.insert(table.clone(), FolderTable { name: table, of, files });
    }
    if tables.is_empty() && found.problems.is_empty() {
        found.problems.push(input_error(format!("{} has no files of tables", folder.shown(""))));
    }
    found.tables = tables.into_values().collect();
    Ok(found)
}

/// The files of one table's folder: those of its manifest, if it has one.
fn files_below(folder: &Folder, name: &str) -> Result<Vec<TableFile>, Error> {
    let shown = folder.shown(name);
    let mut files = Vec::new();
    if let Some(known) = folder.manifest_files(name)? {
        for (file, bytes) in known {
            if file.contains('/') {
                let text =
                    format!("{shown} has partitions, which a folder of tables does not say the columns of");
                return Err(Error::new(ErrorKind::Options, text));
            }
            files.push(folder.named(&format!("{name}/{file}"), bytes)?);
        }
    } else {
        for entry in folder.entries(name)? {
            if entry.is_folder {
                let text =
                    format!("{shown} is the folder of one table, and has a folder in it: {}", entry.shown);
                return Err(input_error(text));
            }
            match entry.name {
                Some(file) => files.push(folder.found(&format!("{name}/{file}"))),
                None => return Err(input_error(format!("{} is not named in UTF-8", entry.shown))),
            }
        }
    }
    match files.is_empty() {
        true => Err(input_error(format!("the folder {shown} has no files"))),
        false => Ok(files),
    }
}

/// A file's name without an ending that says its format.
fn without_ending(name: &str) -> String {
    let path = Path::new(name);
    let stem = InputFormat::of_name(path).and_then(|_| path.file_stem()?.to_str());
    stem.unwrap_or(name).to_owned()
}

fn input_error(text: impl ToString) -> Error {
    Error::new(ErrorKind::Input, text.to_string())
}
