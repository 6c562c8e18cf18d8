//! Loads all batches of a reader or a stream.

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
    /// Loads all batches of a reader. Blocks; from async code, call [`load_stream`](Self::load_stream).
    ///
    /// If the reader reads an export from the same server, call [`fed_by`](Self::fed_by) first.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open), [`write`](Loading::write) and [`finish`](Loading::finish).
    /// [`ErrorKind::Input`] if the reader fails; the reader's error is its `source()`. The target is then as
    /// it was, or as the last commit left it.
    pub fn load_reader(self, mut reader: impl RecordBatchReader) -> Result<LoadReport> {
        let loading = self.open(reader.schema())?;
        load_all(loading, || Ok(reader.next()))
    }

    /// Loads all batches of a stream, from async code of any runtime. A separate thread encodes and sends
    /// them, one batch behind the stream.
    ///
    /// Dropping the future early rolls the load back soon after. A commit that is already on its way may
    /// still succeed.
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
        // Dropping this future stops only this load, not others cloned from the same `Load`.
        self.cancel = self.cancel.child();
        let cancel = self.cancel.clone();
        let load = move |mut batches: Items<_>| load_all(self.open(schema)?, || batches.receive());
        background::run_with(&cancel, stream, load).await
    }
}

/// Loads what `next` gives. Its outer error comes from waiting for a batch, its inner error from the data.
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
