//! What one table is loaded from: files, or batches of a program that runs the command.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::SchemaRef;
use pgarrow::{Error, ErrorKind, Result};
use pgarrow_load::input::Input;

/// The rows to load, in batches.
pub(crate) enum Rows {
    Files(Box<Input>),
    Batches(Box<dyn RecordBatchReader + Send>),
}

impl Rows {
    pub(super) fn schema(&self) -> SchemaRef {
        match self {
            Self::Files(input) => Arc::clone(input.schema()),
            Self::Batches(batches) => batches.schema(),
        }
    }

    /// How many there are, if that is known beforehand.
    pub(super) fn rows(&self) -> Option<u64> {
        match self {
            Self::Files(input) => input.rows(),
            Self::Batches(_) => None,
        }
    }

    /// What messages call it.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Files(input) => input.name(),
            Self::Batches(_) => "the batches",
        }
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Files(input) => input.next(),
            Self::Batches(batches) => batches.next().map(|batch| {
                batch.map_err(|error| {
                    let text = format!("the batches could not be read: {error}");
                    Error::new(ErrorKind::Input, text).caused_by(error)
                })
            }),
        }
    }
}
