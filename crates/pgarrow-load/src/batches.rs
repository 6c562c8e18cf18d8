//! Loads of all that a reader or a stream gives.

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::SchemaRef;
use futures_core::Stream;
use pgarrow_session::background::{self, Items};
use pgarrow_session::{Error, ErrorKind, Result};

use crate::load::Load;
use crate::loading::Loading;
use crate::report::LoadReport;
use crate::transaction::with_outcome;

impl Load {
    /// Loads all batches of a reader. Waits; from async code, call [`load_stream`](Self::load_stream).
    ///
    /// Where the reader is that of an export from the same server, say so ([`fed_by`](Self::fed_by)).
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open), [`write`](Loading::write) and [`finish`](Loading::finish).
    /// [`ErrorKind::Input`] for an error of the reader, which is the `source()` of this one. The target is
    /// then as it was, or as the last commit has left it.
    pub fn load_reader(self, mut reader: impl RecordBatchReader) -> Result<LoadReport> {
        let loading = self.open(reader.schema())?;
        load_all(loading, || Ok(reader.next()))
    }

    /// Loads all batches of a stream, from async code of any runtime: a thread of its own encodes and sends
    /// them, one batch behind the stream.
    ///
    /// Dropping the future before it is done takes the load back soon after. Only a commit that is on its way
    /// may still succeed.
    ///
    /// # Errors
    ///
    /// As for [`load_reader`](Self::load_reader). A load that fails does not wait for the stream's next
    /// batch.
    pub async fn load_stream<S, E>(mut self, schema: SchemaRef, stream: S) -> Result<LoadReport>
    where
        S: Stream<Item = Result<RecordBatch, E>> + Send,
        E: std::error::Error + Send + Sync + 'static,
    {
        // The drop of this future stops this load, and no other one that is made of the same.
        self.cancel = self.cancel.child();
        let cancel = self.cancel.clone();
        let load = move |mut batches: Items<_>| load_all(self.open(schema)?, || batches.receive());
        background::run_with(&cancel, stream, load).await
    }
}

/// Loads what `next` gives. An error of its own is one of who waits for it; that inside one of the data.
fn load_all<E: std::error::Error + Send + Sync + 'static>(
    mut loading: Loading,
    mut next: impl FnMut() -> Result<Option<Result<RecordBatch, E>>>,
) -> Result<LoadReport> {
    if loading.is_complete() {
        return loading.finish();
    }
    while let Some(batch) = next().map_err(|error| loading.end.explain(error))? {
        match batch {
            Ok(batch) => loading.write(&batch)?,
            Err(error) => {
                let text = format!("{}: its batches could not be read: {error}", loading.target());
                let failed = Error::new(ErrorKind::Input, text).caused_by(error);
                return Err(with_outcome(failed, loading.rows_committed()));
            }
        }
    }
    loading.finish()
}
