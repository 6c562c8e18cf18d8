//! `LookAhead`: a load looks at its table in a thread of its own, while the source of its rows is opened.
//!
//! ```text
//!  thread   connect ─▶ BEGIN, lock, all questions ─▶ columns ─▶ waits ─▶ ROLLBACK, if nobody has come
//!                                                       │         ▲
//!  source   connect ─▶ names ───────────────────────────┴▶ plan ──┴▶ Load::open goes on in the transaction
//! ```

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use pgarrow_session::{Cancel, Error, ErrorKind, Result};
use pgarrow_types::OpaqueColumns;

use crate::load::{Load, Place};

/// How long the transaction stays open for the load. The source may have to wait for a lock behind a session
/// that waits for this one, which no server can see. And nobody should have to wait long for a load that has
/// not begun.
const HELD: Duration = Duration::from_millis(500);

/// A look at a load's table, which has begun: see [`Load::look_ahead`] and [`Load::begin_ahead`]. Dropping it
/// ends it, and does not wait until the server has let the table go.
#[derive(Debug)]
pub struct LookAhead {
    answered: Mutex<Receiver<Result<OpaqueColumns>>>,
    /// What was answered.
    columns: OnceLock<Result<OpaqueColumns>>,
    /// Stops only the look.
    cancel: Cancel,
    #[expect(dead_code, reason = "held for its drop, for which the thread waits")]
    held: Sender<Infallible>,
}

impl Load {
    /// Finds the [`opaque_columns`](Self::opaque_columns) in another thread, while the caller opens the
    /// source.
    ///
    /// If the load appends or upserts, its transaction begins already, with the table locked as for the load.
    /// [`open`](Self::open) goes on in it, without asking again. If nobody opens this load within half a
    /// second after the look, or the look is dropped, the transaction is rolled back. Then, and wherever the
    /// lock is not free, the load is opened as after `opaque_columns`. A load in a transaction of the caller
    /// looks before this returns.
    pub fn look_ahead(&self) -> LookAhead {
        self.ahead(Self::find_opaque)
    }

    /// The same for a source whose values are all decoded, such as files: nothing is asked but what
    /// [`open`](Self::open) wants to know, and no column is to be left undecoded. It connects, whatever the
    /// load does with its table. Wait for [`LookAhead::columns`] before the load is opened.
    pub fn begin_ahead(&self) -> LookAhead {
        self.ahead(|load, begins| {
            if begins {
                load.begin_early()?;
            }
            Ok(OpaqueColumns::default())
        })
    }

    /// Looks in another thread; `look` is told whether the transaction may begin.
    fn ahead(&self, look: fn(&Self, bool) -> Result<OpaqueColumns>) -> LookAhead {
        let cancel = self.cancel.child();
        if let Place::Connection(_) = self.place {
            // The caller's connection is free again when this returns.
            return LookAhead::known(cancel, look(self, false));
        }
        let (answer, answered) = channel();
        let (held, over) = channel::<Infallible>();
        let mut load = self.clone();
        load.cancel = cancel.clone();
        let looking = move || {
            let looked = look(&load, true);
            let may_be_opened = looked.is_ok();
            let _ = answer.send(looked);
            if may_be_opened {
                let _ = over.recv_timeout(HELD);
            }
            if let Place::Server { kept, .. } = &load.place {
                kept.release();
            }
        };
        let thread = thread::Builder::new().name("pgarrow-target".to_owned()).spawn(looking);
        match thread {
            Ok(_) => LookAhead { answered: Mutex::new(answered), columns: OnceLock::new(), cancel, held },
            // There is no further thread.
            Err(_) => LookAhead::known(cancel, look(self, false)),
        }
    }
}

impl LookAhead {
    fn known(cancel: Cancel, columns: Result<OpaqueColumns>) -> Self {
        Self { answered: Mutex::new(channel().1), columns: columns.into(), cancel, held: channel().0 }
    }

    /// The columns, as soon as they are known; none of [`Load::begin_ahead`].
    ///
    /// # Errors
    ///
    /// As for [`Load::opaque_columns`]; of `begin_ahead`, no connection, and options that contradict one
    /// another.
    pub fn columns(&self) -> Result<OpaqueColumns> {
        let receive = || {
            let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
            let text = "the thread that looks at the target has panicked; please report it";
            answered.recv().unwrap_or_else(|_| Err(Error::new(ErrorKind::Protocol, text)))
        };
        self.columns.get_or_init(receive).as_ref().cloned().map_err(Error::duplicate)
    }
}

impl Drop for LookAhead {
    fn drop(&mut self) {
        self.cancel.cancel_for("whoever gave up the load");
    }
}
