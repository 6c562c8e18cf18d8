//! Blocking work for async callers, without a runtime: a thread and a channel.

use tokio::sync::oneshot;

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};

/// Runs `work` in a thread of its own. Dropping the future before it is done cancels the work.
pub async fn run<T: Send + 'static>(
    cancel: &Cancel,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = oneshot::channel();
    spawn("pgarrow", move || {
        // Nobody waits any more if the future was dropped.
        let _ = sender.send(work());
    })?;
    let mut guard = CancelOnDrop(Some(cancel));
    let result = receiver.await;
    guard.0 = None;
    result.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Protocol, "a thread of the export ended without a result"))
    })
}

/// Starts a named thread.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<std::thread::JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map_err(|error| Error::new(ErrorKind::Connection, format!("no thread could be started: {error}")))
}

struct CancelOnDrop<'a>(Option<&'a Cancel>);

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(cancel) = self.0 {
            cancel.cancel_for("the drop of its future before the end");
        }
    }
}
