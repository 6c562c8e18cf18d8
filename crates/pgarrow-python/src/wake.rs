//! How an event loop learns that something has moved: a socket becomes readable. No thread of ours enters the
//! interpreter for that.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Weak};
use std::task::{self, Waker};

use pyo3::prelude::*;

use crate::errors::state;

/// A file descriptor that becomes readable when it is time to ask again.
#[pyclass(frozen, module = "pgarrow_engine._native")]
pub(crate) struct Wake {
    reader: UnixStream,
    writer: Arc<Writer>,
}

/// The writing end. Who keeps it beyond a poll has it weakly: it is a file descriptor.
pub(crate) struct Writer(UnixStream);

impl task::Wake for Writer {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // A full buffer is as readable as can be; without a reader, nobody wants to know.
        let _ = (&self.0).write(&[1]);
    }
}

#[pymethods]
impl Wake {
    #[new]
    fn new() -> PyResult<Self> {
        let pair = UnixStream::pair().and_then(|(reader, writer)| {
            reader.set_nonblocking(true)?;
            writer.set_nonblocking(true)?;
            Ok((reader, writer))
        });
        let (reader, writer) = pair.map_err(|error| state(&format!("no pair of sockets: {error}")))?;
        Ok(Self { reader, writer: Arc::new(Writer(writer)) })
    }

    /// For `loop.add_reader`.
    fn fileno(&self) -> RawFd {
        self.reader.as_raw_fd()
    }

    /// Makes it unreadable, until the next time.
    fn clear(&self) {
        let mut bytes = [0; 64];
        while (&self.reader).read(&mut bytes).is_ok_and(|n_bytes| n_bytes > 0) {}
    }
}

impl Wake {
    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.writer))
    }

    pub(crate) fn writer(&self) -> Weak<Writer> {
        Arc::downgrade(&self.writer)
    }
}

/// Event loops that wait for the same thing, each with a `Wake` of its own.
#[derive(Default)]
pub(crate) struct Sleepers(Vec<Weak<Writer>>);

impl Sleepers {
    pub(crate) fn add(&mut self, writer: Weak<Writer>) {
        // Those of tasks that were cancelled are gone.
        self.0.retain(|kept| kept.strong_count() > 0 && !kept.ptr_eq(&writer));
        self.0.push(writer);
    }

    pub(crate) fn wake(&mut self) {
        for writer in self.0.drain(..).filter_map(|writer| writer.upgrade()) {
            Waker::from(writer).wake();
        }
    }
}
