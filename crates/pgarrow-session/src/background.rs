//! Blocking work for async callers, without a runtime: a thread and a channel.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use futures_core::Stream;
use tokio::sync::{Semaphore, oneshot};

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};

/// How often a wait for an item checks for a cancel.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Runs `work` in a separate thread. Dropping the future early cancels the work.
pub async fn run<T: Send + 'static>(
    cancel: &Cancel,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = oneshot::channel();
    spawn("pgarrow", move || {
        // The receiver is gone if the future was dropped.
        let _ = sender.send(work());
    })?;
    let mut guard = CancelOnDrop(Some(cancel));
    let result = receiver.await;
    guard.0 = None;
    result.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Protocol, "a thread ended without a result; please report it"))
    })
}

/// Runs `work` in a separate thread, which takes the items of `stream`. The caller's task polls the stream;
/// at most one item waits for the thread. Ends when the work ends, which may be before the stream ends.
///
/// Dropping the future early cancels the work, and [`Items::receive`] returns an error.
pub async fn run_with<S, T>(
    cancel: &Cancel,
    stream: S,
    work: impl FnOnce(Items<S::Item>) -> Result<T> + Send + 'static,
) -> Result<T>
where
    S: Stream,
    S::Item: Send + 'static,
    T: Send + 'static,
{
    let (sender, receiver) = mpsc::channel();
    let room = Arc::new(Semaphore::new(1));
    let items = Items { receiver, room: Arc::clone(&room), cancel: cancel.clone() };
    let mut working = pin!(run(cancel, move || work(items)));
    let mut sending = pin!(send_all(stream, sender, room));
    let mut is_sent = false;
    poll_fn(|context| {
        if !is_sent && sending.as_mut().poll(context).is_ready() {
            is_sent = true;
        }
        working.as_mut().poll(context)
    })
    .await
}

/// Sends all items, and then `None`: a dropped sender alone would not show that the stream has ended.
async fn send_all<S: Stream>(stream: S, sender: mpsc::Sender<Option<S::Item>>, room: Arc<Semaphore>) {
    let mut stream = pin!(stream);
    // Acquired before an item is made. Fails if the thread is gone and takes no more items.
    while let Ok(permit) = room.acquire().await {
        permit.forget();
        let item = poll_fn(|context| stream.as_mut().poll_next(context)).await;
        let is_end = item.is_none();
        if sender.send(item).is_err() || is_end {
            return;
        }
    }
}

/// The items of a stream, for the thread that takes them.
#[derive(Debug)]
pub struct Items<T> {
    receiver: mpsc::Receiver<Option<T>>,
    /// Permits to put an item into the channel.
    room: Arc<Semaphore>,
    cancel: Cancel,
}

impl<T> Items<T> {
    /// Waits for the next item; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Cancelled`] if the work is cancelled, or the stream was dropped before its end.
    pub fn receive(&mut self) -> Result<Option<T>> {
        loop {
            match self.receiver.recv_timeout(LOOK_INTERVAL) {
                Ok(item) => {
                    self.room.add_permits(1);
                    return Ok(item);
                }
                Err(RecvTimeoutError::Timeout) if self.cancel.is_requested() => {
                    return Err(self.cancel.error());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let text = "cancelled by the drop of a stream before its end";
                    return Err(Error::new(ErrorKind::Cancelled, text));
                }
            }
        }
    }
}

impl<T> Drop for Items<T> {
    fn drop(&mut self) {
        self.room.close();
    }
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
