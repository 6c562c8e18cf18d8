//! The tables of a folder: which files have whose rows.
//!
//! ```text
//!  _pgarrow/manifests/       a job's place: the newest manifest says tables and files
//!  _pgarrow_manifest.json    an export's folder: the manifest says files, and these say whose rows they have
//!  neither                   TABLE.parquet, and TABLE/ with files
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use arrow_schema::SchemaRef;
use pgarrow::{Error, ErrorKind};
use pgarrow_job::{LOCK, Manifest, ManifestTable};
use pgarrow_load::input::{Input, InputFormat};
use pgarrow_load::{NAME_BYTES_MAX, RelationName};
use pgarrow_sink::manifest_files;
use pgarrow_store::Store;

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

#[derive(Debug)]
struct TableFile {
    path: PathBuf,
    /// Its size, if a manifest has it.
    bytes: Option<u64>,
}

impl FolderTable {
    /// What is different about its files.
    pub(crate) fn problems(&self) -> Vec<Error> {
        self.files.iter().filter_map(TableFile::problem).collect()
    }

    /// The schema of its rows, and how many there are, if its files state it.
    pub(crate) fn look(&self, format: Option<InputFormat>) -> Result<(SchemaRef, Option<u64>), Error> {
        Input::look(&self.paths(), format)
    }

    /// Its rows. `schema` is what [`look`](Self::look) has found: what has changed since is an error.
    pub(crate) fn open(&self, format: Option<InputFormat>, schema: &SchemaRef) -> Result<Input, Error> {
        Error::all(self.problems()).map_or(Ok(()), Err)?;
        let input = Input::open(&self.paths(), format)?;
        match input.schema() == schema {
            true => Ok(input),
            false => Err(input_error(format!("{}: its files were changed since the load began", self.of))),
        }
    }

    pub(crate) fn n_files(&self) -> usize {
        self.files.len()
    }

    fn paths(&self) -> Vec<&Path> {
        self.files.iter().map(|file| file.path.as_path()).collect()
    }
}

impl TableFile {
    fn problem(&self) -> Option<Error> {
        let path = &self.path;
        let metadata = match path.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.bytes.is_some() => {
                return Some(input_error(format!("{path:?} is in the manifest, and is not there")));
            }
            Err(error) => return Some(unreadable(path, &error)),
        };
        match self.bytes {
            _ if !metadata.is_file() => Some(input_error(format!("{path:?} is no file"))),
            Some(bytes) if bytes != metadata.len() => {
                Some(input_error(format!("{path:?} has {} bytes, and had {bytes}", metadata.len())))
            }
            _ => None,
        }
    }
}

/// Finds the tables of a folder.
pub(crate) fn find(folder: &Path, format: Option<InputFormat>) -> Result<Found, Failure> {
    if !folder.is_dir() {
        return Err(Failure::options(format!(
            "--into-schema loads a folder of tables, and {folder:?} is none"
        )));
    }
    let Some(place) = folder.to_str() else {
        return Err(Failure::options(format!("{folder:?} is not named in UTF-8; use a path that is")));
    };
    let store = Store::open(place).map_err(Error::from)?;
    let of_export = manifest_files(folder).map_err(input_error)?;
    let of_job = Manifest::newest(&store)?;
    let has_runs = LOCK.split('/').next().is_some_and(|name| folder.join(name).exists());
    match (of_job, of_export) {
        (Some(_), Some(_)) => Err(input_error(format!(
            "{folder:?} has the manifests of a job and that of an export, and nothing says which of them counts"
        ))
        .into()),
        (Some(manifest), None) => Ok(of_manifest(&manifest, &store)),
        // Files that are there belong to a run that is on, or has failed.
        (None, _) if has_runs => {
            Err(input_error(format!("{folder:?} is the place of a job, and no run has committed there")).into())
        }
        (None, Some(files)) => Ok(of_files(folder, &store, files, format)),
        (None, None) => of_names(folder, &store),
    }
}

/// The tables of a job's newest run.
fn of_manifest(manifest: &Manifest, store: &Store) -> Found {
    let mut found = Found::default();
    for table in &manifest.tables {
        found.problems.extend(why_not(table));
        let mut files = Vec::with_capacity(table.files.len());
        for file in &table.files {
            match local(store, &file.path) {
                Ok(path) => files.push(TableFile { path, bytes: Some(file.bytes) }),
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
fn of_files(folder: &Path, store: &Store, files: Vec<(String, u64)>, format: Option<InputFormat>) -> Found {
    let mut found = Found::default();
    if files.is_empty() {
        found.problems.push(input_error(format!("the manifest of {folder:?} has no files")));
    }
    let mut tables: BTreeMap<String, FolderTable> = BTreeMap::new();
    for (name, bytes) in files {
        let file = local(store, &name).map(|path| TableFile { path, bytes: Some(bytes) });
        let of = file.and_then(|file| match file.problem() {
            Some(problem) => Err(problem),
            None => Ok((table_of(&file.path, &name, format)?, file)),
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
fn table_of(path: &Path, name: &str, format: Option<InputFormat>) -> Result<(String, RelationName), Error> {
    let (schema, _) = Input::look(&[path], format)?;
    let folders = name.split('/').rev().skip(1);
    let keys = folders.filter_map(|folder| folder.split_once('=').map(|(key, _)| key));
    let mut missing = keys.filter(|key| schema.field_with_name(key).is_err());
    if let Some(key) = missing.next() {
        let text = format!(
            "{path:?}: partitions have {key:?} in their paths, and files do not say what that is of a table"
        );
        let advice = "a job's manifest says it: use `pgarrow run` with keep_partition_columns = true";
        return Err(Error::new(ErrorKind::Options, text).advice(advice));
    }
    let Some(of) = schema.metadata().get("pg.table") else {
        let text = format!("{path:?} does not say which table its rows are of, as files of queries do not");
        return Err(Error::new(ErrorKind::Options, text).advice("load it by itself, with --into"));
    };
    match RelationName::parse(of) {
        Ok(table) => Ok((of.clone(), table)),
        Err(error) => Err(input_error(format!("{path:?}: what it says of its table is no name: {error}"))),
    }
}

/// The tables of a plain folder, by the names of files and folders.
fn of_names(folder: &Path, store: &Store) -> Result<Found, Failure> {
    let mut found = Found::default();
    let mut tables: BTreeMap<String, FolderTable> = BTreeMap::new();
    for (path, name) in entries(folder)? {
        let Some(name) = name else {
            found.problems.push(input_error(format!("{path:?} is not named in UTF-8")));
            continue;
        };
        let (table, files) = match path.is_dir() {
            true => (name.clone(), files_below(&path, &name, store)),
            false => (without_ending(&path, &name), Ok(vec![TableFile { path, bytes: None }])),
        };
        let files = match files {
            Ok(files) => files,
            Err(problem) => {
                found.problems.push(problem);
                continue;
            }
        };
        let of = format!("{:?}", folder.join(&name));
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
                .push(problem.advice(format!("put them into one folder, {:?}", folder.join(&table))));
            continue;
        }
        tables.insert(table.clone(), FolderTable { name: table, of, files });
    }
    if tables.is_empty() && found.problems.is_empty() {
        found.problems.push(input_error(format!("{folder:?} has no files of tables")));
    }
    found.tables = tables.into_values().collect();
    Ok(found)
}

/// The files of one table's folder: those of its manifest, if it has one.
fn files_below(folder: &Path, name: &str, store: &Store) -> Result<Vec<TableFile>, Error> {
    let mut files = Vec::new();
    if let Some(known) = manifest_files(folder).map_err(input_error)? {
        for (file, bytes) in known {
            if file.contains('/') {
                let text = format!(
                    "{folder:?} has partitions, which a folder of tables does not say the columns of"
                );
                return Err(Error::new(ErrorKind::Options, text));
            }
            files.push(TableFile { path: local(store, &format!("{name}/{file}"))?, bytes: Some(bytes) });
        }
    } else {
        for (path, _) in entries(folder)? {
            if path.is_dir() {
                let text = format!("{folder:?} is the folder of one table, and has a folder in it: {path:?}");
                return Err(input_error(text));
            }
            files.push(TableFile { path, bytes: None });
        }
    }
    match files.is_empty() {
        true => Err(input_error(format!("the folder {folder:?} has no files"))),
        false => Ok(files),
    }
}

/// What is in a folder, in the order of names, with names in UTF-8. By convention, names that begin with a dot or
/// an underscore hold no rows.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, Option<String>)>, Error> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        let name = entry.file_name();
        if !matches!(name.as_encoded_bytes().first(), Some(b'.' | b'_')) {
            entries.push((entry.path(), name.into_string().ok()));
        }
    }
    entries.sort_unstable();
    Ok(entries)
}

/// A file's name without an ending that says its format.
fn without_ending(path: &Path, name: &str) -> String {
    let stem = InputFormat::of_name(path).and_then(|_| path.file_stem()?.to_str());
    stem.unwrap_or(name).to_owned()
}

/// The place of a file that a manifest names: it cannot be outside of the folder.
fn local(store: &Store, path: &str) -> Result<PathBuf, Error> {
    match store.local_path(path) {
        Ok(Some(path)) => Ok(path),
        Ok(None) => Err(input_error(format!("{path:?} is not on this machine"))),
        Err(error) => Err(input_error(format!("the manifest of {} is damaged: {error}", store.location()))),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    input_error(format!("{path:?} cannot be read: {error}"))
}

fn input_error(text: impl ToString) -> Error {
    Error::new(ErrorKind::Input, text.to_string())
}
