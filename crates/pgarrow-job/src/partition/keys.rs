//! What a table is partitioned by, found in its columns; and the rows of a batch by their partitions.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::{Schema, SchemaRef};
use arrow_select::take::take_record_batch;
use pgarrow_export::{Error, ErrorKind, Message, Result, message, option};
use pgarrow_sink::{SinkError, SinkErrorKind};

use super::folder::{Folders, NAME_BYTES_MAX, key_name};
use super::values::{Form, Values};
use super::{PartitionBy, PartitionKey, refused};

/// What a table is partitioned by.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    subject: String,
    keys: Vec<Key>,
    /// Of all columns, those that are in the files.
    kept: Vec<usize>,
    in_files: SchemaRef,
}

#[derive(Clone, Debug)]
struct Key {
    said: PartitionKey,
    index: usize,
    form: Form,
}

/// The rows of a batch that belong to one partition.
#[derive(Debug)]
pub(super) struct Group {
    /// Tells it from all others.
    pub(super) id: Box<[u8]>,
    pub(super) rows: Vec<u32>,
}

impl Keys {
    /// Finds the columns.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`]: a column that is not there, or whose values are no names; or nothing would be
    /// left for the files.
    pub(crate) fn new(by: &PartitionBy, subject: &str, schema: &Schema) -> Result<Self> {
        let (mut keys, mut names) = (Vec::with_capacity(by.keys.len()), HashSet::new());
        for said in &by.keys {
            let mut found =
                schema.fields().iter().enumerate().filter(|(_, field)| *field.name() == said.column);
            let (index, field) = match (found.next(), found.next()) {
                (Some(found), None) => found,
                (None, _) => return Err(refused(subject, format!("there is no column {:?}", said.column))),
                (Some(_), Some(_)) => {
                    return Err(refused(subject, format!("several columns are named {:?}", said.column)));
                }
            };
            let form = Form::of(said, field).map_err(|why| refused(subject, format!("{said}: {why}")))?;
            let name = said.name();
            // As readers have names: many do not tell their case.
            if !names.insert(name.to_lowercase()) {
                return Err(refused(subject, format!("there would be two folders named {name:?} in a path")));
            }
            let is_taken = |field: &Arc<arrow_schema::Field>| field.name().eq_ignore_ascii_case(&name);
            if said.part.is_some() && schema.fields().iter().any(is_taken) {
                let why = format!("{said} would be named {name:?} in paths, as one of the columns is");
                return Err(refused(subject, why));
            }
            if key_name(&name).len() > NAME_BYTES_MAX / 2 {
                return Err(refused(subject, format!("the name of {said} is too long for a folder")));
            }
            keys.push(Key { said: said.clone(), index, form });
        }
        let is_left_out =
            |index| !by.keep_columns && keys.iter().any(|key| key.index == index && key.said.part.is_none());
        let kept: Vec<usize> = (0..schema.fields().len()).filter(|index| !is_left_out(*index)).collect();
        if kept.is_empty() {
            let text: Message = message![
                format!("{subject}: partitions leave no column for the files; keep them there ("),
                option::KEEP_PARTITION_COLUMNS,
                ")"
            ];
            return Err(Error::new(ErrorKind::Options, text));
        }
        let in_files =
            schema.project(&kept).map_err(|error| Error::new(ErrorKind::Sink, error.to_string()))?;
        Ok(Self { subject: subject.to_owned(), keys, kept, in_files: Arc::new(in_files) })
    }

    /// The columns of the files.
    pub(crate) fn in_files(&self) -> &SchemaRef {
        &self.in_files
    }

    /// The names in paths, as they are meant.
    pub(super) fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.keys.iter().map(|key| key.said.name())
    }

    /// How many folders a path has.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    fn bind<'b>(&self, batch: &'b RecordBatch) -> Result<Vec<Values<'b>>, SinkError> {
        let values = self.keys.iter().map(|key| key.form.bind(batch.columns().get(key.index)?.as_ref()));
        values.collect::<Option<_>>().ok_or_else(|| {
            SinkError::new(
                SinkErrorKind::Encode,
                "a column of a partition has another type; please report it",
            )
        })
    }

    /// The rows of a batch by their partitions, in the order in which these come.
    pub(super) fn groups(&self, batch: &RecordBatch) -> Result<Vec<Group>, SinkError> {
        let values = self.bind(batch)?;
        let mut groups: Vec<Group> = Vec::new();
        let mut known: HashMap<Box<[u8]>, usize> = HashMap::new();
        let (mut id, mut last) = (Vec::new(), usize::MAX);
        for row in 0..batch.num_rows() {
            id.clear();
            values.iter().for_each(|values| values.append(row, &mut id));
            if groups.get(last).is_none_or(|group| *group.id != *id) {
                last = match known.get(id.as_slice()) {
                    Some(index) => *index,
                    None => {
                        known.insert(id.as_slice().into(), groups.len());
                        groups.push(Group { id: id.as_slice().into(), rows: Vec::new() });
                        groups.len().saturating_sub(1)
                    }
                };
            }
            if let (Some(group), Ok(row)) = (groups.get_mut(last), u32::try_from(row)) {
                group.rows.push(row);
            }
        }
        Ok(groups)
    }

    /// Those columns of a group's rows that are in the files.
    pub(super) fn rows_of(&self, batch: &RecordBatch, group: &Group) -> Result<RecordBatch, SinkError> {
        let failed = |error| SinkError::encode("take rows of a partition", None, error);
        let columns = batch.columns();
        let kept = self.kept.iter().filter_map(|index| columns.get(*index).cloned()).collect();
        let kept = RecordBatch::try_new(Arc::clone(&self.in_files), kept).map_err(failed)?;
        if group.rows.len() == kept.num_rows() {
            return Ok(kept);
        }
        take_record_batch(&kept, &UInt32Array::from(group.rows.clone())).map_err(failed)
    }

    /// The values and the folder of a group.
    ///
    /// # Errors
    ///
    /// A value that is no name, or too long for one. The text has neither it nor others.
    pub(super) fn place_of(
        &self,
        batch: &RecordBatch,
        group: &Group,
        folders: &Folders,
    ) -> Result<(Vec<Option<String>>, String), SinkError> {
        let row = group.rows.first().map_or(0, |row| *row as usize);
        let mut texts = Vec::with_capacity(self.keys.len());
        for (key, values) in self.keys.iter().zip(self.bind(batch)?) {
            texts.push(values.text(row).map_err(|unnamed| self.unnamed(key, group, unnamed.why()))?);
        }
        let names: Vec<String> = self.names().map(|name| key_name(&name)).collect();
        let folder = folders.of(&names, &texts).map_err(|index| {
            let why = "a value that is too long for the name of a folder";
            match self.keys.get(index) {
                Some(key) => self.unnamed(key, group, why),
                None => SinkError::new(SinkErrorKind::Encode, why),
            }
        })?;
        Ok((texts, folder))
    }

    fn unnamed(&self, key: &Key, group: &Group, why: &str) -> SinkError {
        let rows = match group.rows.len() {
            1 => "1 row".to_owned(),
            n => format!("{n} rows"),
        };
        let text = message![
            format!(
                "{}: in {rows} of a batch, column {:?} has {why}; partition by another column (",
                self.subject, key.said.column
            ),
            option::PARTITION_BY,
            "), or leave these rows out"
        ];
        SinkError::of(SinkErrorKind::Encode, Error::new(ErrorKind::Value, text))
    }

    /// The partition of a file without rows.
    pub(super) fn of_nulls(&self) -> Vec<Option<String>> {
        vec![None; self.len()]
    }
}
