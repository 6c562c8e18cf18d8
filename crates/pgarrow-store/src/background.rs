//! The threads that talk to object stores. Callers wait for them on a channel, which also works in an async
//! runtime of theirs.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pgarrow_sink::{SinkError, SinkErrorKind};
use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;

/// Enough for requests: what they carry is encoded elsewhere.
const N_WORKERS: usize = 2;

/// How often a wait looks whether it shall end.
const LOOK: Duration = Duration::from_millis(20);

/// Whether those who wait for a store shall wait no longer.
pub(crate) type IsStopped = Arc<dyn Fn() -> bool + Send + Sync>;

/// Work that goes on elsewhere. Dropping it stops the work.
pub(crate) struct Task<T> {
    receiver: mpsc::Receiver<T>,
    abort: AbortHandle,
}

/// Starts work on the threads that all stores share.
pub(crate) fn start<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<Task<T>, SinkError> {
    let (sender, receiver) = mpsc::channel();
    let task = runtime()?.spawn(async move {
        // Nobody waits any more if the receiver is gone.
        let _ = sender.send(work.await);
    });
    Ok(Task { receiver, abort: task.abort_handle() })
}

impl<T> Task<T> {
    /// Waits for the end of the work.
    pub(crate) fn wait(self) -> Result<T, SinkError> {
        self.receiver.recv().map_err(|_| without_result())
    }

    /// Waits for the end of the work, or until nobody shall wait any more.
    pub(crate) fn wait_unless(self, is_stopped: Option<&IsStopped>) -> Result<T, SinkError> {
        let Some(is_stopped) = is_stopped else { return self.wait() };
        loop {
            match self.receiver.recv_timeout(LOOK) {
                Ok(result) => return Ok(result),
                Err(RecvTimeoutError::Disconnected) => return Err(without_result()),
                Err(RecvTimeoutError::Timeout) if is_stopped() => {
                    return Err(SinkError::new(SinkErrorKind::Io, "the wait for the store was stopped"));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

fn without_result() -> SinkError {
    SinkError::new(SinkErrorKind::Io, "a request to a store ended without a result; please report it")
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

fn runtime() -> Result<&'static Runtime, SinkError> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(N_WORKERS).thread_name("pgarrow-store").enable_all();
        builder.build().map_err(|error| error.to_string())
    });
    runtime.as_ref().map_err(|error| {
        SinkError::new(SinkErrorKind::Io, format!("no thread for object stores could be started: {error}"))
    })
}
