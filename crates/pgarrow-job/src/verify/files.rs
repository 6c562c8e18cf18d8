//! The files of a table: their bytes held against the manifest, and their rows.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Fields, Schema, SchemaRef};
use pgarrow_export::{Cancel, Error, ErrorKind, Result};
use pgarrow_load::input::{Input, InputFormat};
use pgarrow_sink::{SinkError, hexadecimal};
use pgarrow_store::Store;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::constant::Constant;
use super::form::plain;
use crate::manifest::{ManifestFile, ManifestTable};

/// Bytes read at once.
const BUFFER_BYTES: usize = 1 << 20;

/// A file whose bytes were read.
#[derive(Debug)]
pub(super) struct CheckedFile<'a> {
    pub(super) known: &'a ManifestFile,
    pub(super) bytes: u64,
    pub(super) sha256: String,
    /// Where it is on this machine, to read its rows.
    place: Option<PathBuf>,
    /// Holds what came from elsewhere.
    _copy: Option<TempDir>,
    /// The columns that are in its path only.
    constants: Vec<Constant>,
}

impl<'a> CheckedFile<'a> {
    /// Reads all bytes of a file; `None` if it is not there. To read its rows later, a file of another
    /// machine is copied to this one's folder for temporary files.
    pub(super) fn read(
        store: &Store,
        known: &'a ManifestFile,
        for_rows: bool,
        cancel: &Cancel,
    ) -> Result<Option<Self>> {
        let Some(mut reader) = store.reader(&known.path)? else { return Ok(None) };
        let mut place = store.local_path(&known.path)?;
        let mut copy = None;
        if for_rows && place.is_none() {
            let folder = TempDir::new().map_err(|error| SinkError::io("create", None, error))?;
            // An ending tells the format.
            let name = known.path.rsplit('/').next().unwrap_or(&known.path);
            let path = folder.path().join(name);
            let file =
                File::create_new(&path).map_err(|error| SinkError::io("create", Some(&path), error))?;
            (place, copy) = (Some(path), Some((folder, file)));
        }
        let mut digest = Sha256::new();
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut bytes = 0_u64;
        loop {
            if cancel.is_requested() {
                return Err(cancel.error());
            }
            let failed = |error| SinkError::io("read", Some(Path::new(&known.path)), error);
            let n = reader.read(&mut buffer).map_err(failed)?;
            let Some(read @ [_, ..]) = buffer.get(..n) else { break };
            digest.update(read);
            bytes = bytes.saturating_add(n as u64);
            if let Some((folder, file)) = &mut copy {
                file.write_all(read).map_err(|error| SinkError::io("write", Some(folder.path()), error))?;
            }
        }
        let sha256 = hexadecimal(&digest.finalize());
        Ok(Some(Self {
            known,
            bytes,
            sha256,
            place,
            _copy: copy.map(|(folder, _)| folder),
            constants: Vec::new(),
        }))
    }

    /// A file of this machine whose rows are read, and its bytes not by themselves.
    pub(super) fn at(known: &'a ManifestFile, place: PathBuf) -> Self {
        let (bytes, sha256) = (known.bytes, known.sha256.clone());
        Self { known, bytes, sha256, place: Some(place), _copy: None, constants: Vec::new() }
    }

    /// Has its rows come with the columns that are in its path only.
    ///
    /// # Errors
    ///
    /// The manifest does not say their values; why.
    pub(super) fn put_back(&mut self, table: &ManifestTable) -> Result<(), String> {
        self.constants = Constant::all_of(table, self.known)?;
        Ok(())
    }

    /// How its bytes differ from those that were written.
    pub(super) fn difference(&self) -> Option<String> {
        if self.bytes != self.known.bytes {
            Some(format!("it has {} bytes, and had {}", self.bytes, self.known.bytes))
        } else if self.sha256 != self.known.sha256 {
            Some("its bytes are not those that were written: another SHA-256".to_owned())
        } else {
            None
        }
    }

    /// Opens it for its rows.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Input`] for a file that is damaged.
    pub(super) fn open(&self, cancel: &Cancel) -> Result<Input> {
        let path = self.place.clone().unwrap_or_default();
        let format = InputFormat::of_name(Path::new(&self.known.path));
        Ok(Input::open(&[path], format)?.with_cancel(cancel.clone()))
    }

    /// The columns of its rows.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub(super) fn schema(&self, cancel: &Cancel) -> Result<SchemaRef> {
        Ok(self.with_constants(self.open(cancel)?.schema()))
    }

    fn with_constants(&self, in_file: &SchemaRef) -> SchemaRef {
        if self.constants.is_empty() {
            return Arc::clone(in_file);
        }
        let constants = self.constants.iter().map(|constant| &constant.field);
        Arc::new(Schema::new(in_file.fields().iter().chain(constants).cloned().collect::<Fields>()))
    }

    /// Hands all batches to `take`. Returns the number of rows.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Input`] for a file that is damaged, or has other columns than `schema`; what `take`
    /// returns.
    pub(super) fn each_batch(
        &self,
        schema: &Schema,
        cancel: &Cancel,
        mut take: impl FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<u64> {
        let input = self.open(cancel)?;
        let whole = self.with_constants(input.schema());
        if !is_alike(&whole, schema) {
            return Err(Error::new(ErrorKind::Input, "it has other columns than the table's first file"));
        }
        let mut rows = 0_u64;
        for batch in input {
            let mut batch = batch?;
            if !self.constants.is_empty() {
                let constants = self.constants.iter().map(|constant| constant.rows(batch.num_rows()));
                let columns = batch.columns().iter().cloned().map(Some).chain(constants);
                let columns = columns.collect::<Option<Vec<_>>>();
                let whole =
                    columns.and_then(|columns| RecordBatch::try_new(Arc::clone(&whole), columns).ok());
                batch = whole.ok_or_else(|| {
                    Error::new(ErrorKind::Input, "the columns of its path do not go with its rows")
                })?;
            }
            take(&batch)?;
            rows = rows.saturating_add(batch.num_rows() as u64);
        }
        Ok(rows)
    }
}

/// Whether two files have the same columns.
fn is_alike(one: &Schema, other: &Schema) -> bool {
    let (one, other) = (one.fields(), other.fields());
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| {
            one.name() == other.name() && plain(one.data_type()) == plain(other.data_type())
        })
}
