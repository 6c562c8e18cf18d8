//! Blocking work in a thread of its own, as a future.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use pgarrow::{Cancel, Error, ErrorKind};
use pgarrow_cli::embedded::{Problem, Result};
use tokio::sync::oneshot;

/// Work that is being done. Dropped before its end, it is cancelled.
#[derive(Debug)]
pub(crate) struct Task<T> {
    receiver: oneshot::Receiver<Result<T>>,
    cancel: Cancel,
    is_over: bool,
}

impl<T: Send + 'static> Task<T> {
    /// Starts `work`, which ends soon after `cancel` is called.
    pub(crate) fn start(cancel: &Cancel, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<Self> {
        let (sender, receiver) = oneshot::channel();
        let run = move || {
            let result =
                catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(lost("a call panicked")));
            // Nobody wants it if the task was dropped.
            drop(sender.send(result));
        };
        let thread = thread::Builder::new().name("pgarrow".to_owned()).spawn(run);
        thread.map_err(|error| {
            Error::new(ErrorKind::Connection, format!("no thread could be started: {error}"))
        })?;
        Ok(Self { receiver, cancel: cancel.clone(), is_over: false })
    }

    /// What stops it.
    pub(crate) fn cancel(&self) -> &Cancel {
        &self.cancel
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.receiver).poll(context);
        self.is_over = polled.is_ready();
        polled.map(|result| result.unwrap_or_else(|_| Err(lost("a call has ended without a result"))))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if !self.is_over {
            self.cancel.cancel_for("the drop of a call before its end");
        }
    }
}

fn lost(what: &str) -> Problem {
    Error::new(ErrorKind::Protocol, format!("{what}; please report it")).into()
}
