//! One run at a time in a store: `_pgarrow/lock.json`.
//!
//! The lock is a courtesy to people: a second run fails at once, and does not read for hours first. What
//! decides is the manifest, whose number only one run creates. A store that replaces what must not be there
//! would let two runs create it, so each run sees first whether its own lock withstands that.
//!
//! A run's lock changes every few seconds. Whether a run is dead is seen by watching its lock for longer than
//! that, without comparing any clocks; or at once, if its process ran on this machine and is gone.

use std::fs;
use std::process;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::{Pid, gethostname};
use pgarrow_export::{Cancel, Error, ErrorKind, Message, Result, message, option};
use pgarrow_store::Store;
use serde::{Deserialize, Serialize};

use crate::units::utc_now;

/// The lock's path in its store.
pub const LOCK: &str = "_pgarrow/lock.json";

/// How often a run shows that it lives.
const BEAT: Duration = Duration::from_secs(5);

/// A lock that does not change for this long belongs to a dead run.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// How often a lock is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Who runs.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Holder {
    run_id: String,
    host: String,
    /// What tells whether a process id means the same here.
    machine: String,
    process_id: i32,
    started: String,
    /// Grows while the run lives.
    beat: u64,
}

/// The lock of a run, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    store: Store,
    run_id: String,
    /// Dropped first, which ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Lock {
    /// Takes the lock. With `take_over`, that of a dead run, too.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Sink`]: another run is on, or was; the text says which.
    pub(crate) fn take(store: &Store, run_id: &str, take_over: bool, cancel: &Cancel) -> Result<Self> {
        let mut holder = Holder {
            run_id: run_id.to_owned(),
            host: host(),
            machine: machine(),
            process_id: i32::try_from(process::id()).unwrap_or(i32::MAX),
            started: utc_now(),
            beat: 0,
        };
        if !store.create_new(LOCK, &json(&holder)?)? {
            let other = store.read(LOCK)?;
            match &other {
                Some(other) if !take_over => return Err(is_on(store, other).advice(wait_or_take_over())),
                Some(other) => wait_for_death(store, other, cancel)?,
                // It ended meanwhile.
                None => {}
            }
            store.remove(LOCK)?;
            if !store.create_new(LOCK, &json(&holder)?)? {
                return Err(is_on(store, &store.read(LOCK)?.unwrap_or_default()).advice(wait_or_take_over()));
            }
        }
        check_conditions(store, &mut holder)?;
        let (stop, stopped) = mpsc::channel();
        let beat = {
            let (store, mut holder) = (store.clone(), holder);
            move || {
                while stopped.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                    holder.beat = holder.beat.saturating_add(1);
                    // Whoever took the lock over keeps it. A store that fails now may work for the next beat.
                    if read(&store)
                        .is_ok_and(|there| there.is_some_and(|there| there.run_id == holder.run_id))
                    {
                        let _ = json(&holder).and_then(|json| Ok(store.replace(LOCK, &json)?));
                    }
                }
            }
        };
        let spawned = thread::Builder::new().name("pgarrow-lock".to_owned()).spawn(beat);
        let thread = spawned.map_err(|error| {
            Error::new(ErrorKind::Sink, "no thread can be started for the run's lock").caused_by(error)
        })?;
        Ok(Self { store: store.clone(), run_id: run_id.to_owned(), stop: Some(stop), thread: Some(thread) })
    }

    /// Checks that nobody has taken the lock over.
    pub(crate) fn check(&self) -> Result<()> {
        match self.is_ours()? {
            true => Ok(()),
            false => {
                let text = format!(
                    "the lock of this run in {} was taken over or removed; nothing was committed",
                    self.store.location()
                );
                Err(Error::new(ErrorKind::Sink, text))
            }
        }
    }

    /// Whether nobody has taken the lock over.
    ///
    /// # Errors
    ///
    /// The store cannot be asked.
    pub(crate) fn is_ours(&self) -> Result<bool> {
        Ok(read(&self.store)?.is_some_and(|there| there.run_id == self.run_id))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        // What stays behind is reported by the next run.
        if self.check().is_ok() {
            let _ = self.store.remove(LOCK);
        }
    }
}

/// Checks that the store makes no object in the place of another, by trying that with the lock of this run.
///
/// Each try has other bytes: the same ones would count as ours. If the first try makes a lock, a run that
/// took over the same place may have removed ours just then; a second one that makes another shows the store.
///
/// # Errors
///
/// [`ErrorKind::Sink`]: it does. The lock is removed.
fn check_conditions(store: &Store, holder: &mut Holder) -> Result<()> {
    for _ in 0..2 {
        holder.beat = holder.beat.saturating_add(1);
        if !store.create_new(LOCK, &json(holder)?)? {
            return Ok(());
        }
    }
    let text = format!(
        "{} ignores conditional writes: asked to make {LOCK} only if it is not there, it replaced the one that \
         was; two runs could commit at once, so nothing was written",
        store.location()
    );
    let _ = store.remove(LOCK);
    Err(Error::new(ErrorKind::Sink, text)
        .advice("use a store, or a version of it, that knows `If-None-Match`"))
}

/// The run that has the lock, dead or alive.
///
/// # Errors
///
/// The lock cannot be read: it is not known whether a run is on.
pub(crate) fn holder_id(store: &Store) -> Result<Option<String>> {
    Ok(read(store)?.map(|holder| holder.run_id))
}

fn read(store: &Store) -> Result<Option<Holder>> {
    let Some(json) = store.read(LOCK)? else { return Ok(None) };
    match serde_json::from_slice(&json) {
        Ok(holder) => Ok(Some(holder)),
        Err(_) => {
            Err(Error::new(ErrorKind::Sink, format!("the lock {LOCK} in {} is no lock", store.location())))
        }
    }
}

fn json(holder: &Holder) -> Result<Vec<u8>> {
    serde_json::to_vec(holder)
        .map_err(|error| Error::new(ErrorKind::Sink, "the lock has no form").caused_by(error))
}

/// The error about a lock with these bytes.
fn is_on(store: &Store, lock: &[u8]) -> Error {
    let location = store.location();
    let text = match serde_json::from_slice::<Holder>(lock) {
        Ok(Holder { run_id, host, process_id, started, .. }) if is_gone(lock) => format!(
            "a run that is dead has left its lock in {location}: {run_id}, process {process_id} on {host}, since {started}"
        ),
        Ok(Holder { run_id, host, process_id, started, .. }) => format!(
            "another run is on in {location}: {run_id}, process {process_id} on {host}, since {started}"
        ),
        Err(_) => format!("another run is on in {location}; its lock {LOCK} cannot be read"),
    };
    Error::new(ErrorKind::Sink, text)
}

/// Whether the run was a process of this machine that is no more.
fn is_gone(lock: &[u8]) -> bool {
    serde_json::from_slice::<Holder>(lock).is_ok_and(|other| {
        other.machine == machine() && kill(Pid::from_raw(other.process_id), None) == Err(Errno::ESRCH)
    })
}

fn wait_or_take_over() -> Message {
    message!["wait for its end, or, if it is dead, take its place (", option::TAKE_OVER.to(""), ")"]
}

/// Waits until it is certain that the run of this lock is dead.
fn wait_for_death(store: &Store, lock: &[u8], cancel: &Cancel) -> Result<()> {
    let begun = Instant::now();
    while !is_gone(lock) && begun.elapsed() < DEAD_AFTER {
        if !cancel.pause(LOOK) {
            return Err(cancel.error());
        }
        match store.read(LOCK)? {
            Some(there) if there != lock => {
                return Err(is_on(store, &there).advice("it lives, so its place was not taken"));
            }
            Some(_) => {}
            None => return Ok(()),
        }
    }
    Ok(())
}

fn host() -> String {
    gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The start of this machine, and the namespace of its process ids: containers may share a host's name.
fn machine() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{} {} {}", host(), boot.trim(), namespace.display())
}
