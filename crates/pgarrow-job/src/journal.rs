//! What a run has complete before it has ended: `_pgarrow/journals/RUN.json`. After a crash, `--resume`
//! begins there.
//!
//! A journal is written anew with each table that is complete, by a thread of its own. Tables that are
//! complete while it writes come with the next writing. Readers of data never look at it.

use std::collections::HashSet;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use pgarrow_export::{Error, ErrorKind, Result, SharedSnapshot};
use pgarrow_store::Store;
use serde::{Deserialize, Serialize};

use crate::manifest::{FOLDER, ManifestServer, ManifestTable};

const JOURNALS: &str = "_pgarrow/journals";

/// The complete tables of a run that has not committed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Journal {
    pub(crate) run_id: String,
    /// The run that had committed before.
    pub(crate) previous_run_id: Option<String>,
    pub(crate) started: String,
    pub(crate) server: ManifestServer,
    pub(crate) snapshot: String,
    /// Whose snapshot it is, if another session holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held: Option<SharedSnapshot>,
    /// The SHA-256 of what decides which values its tables have.
    pub(crate) options_sha256: String,
    pub(crate) tables: Vec<ManifestTable>,
}

impl Journal {
    /// The newest journal that goes on from `previous_run_id`; `None` if there is none with tables.
    pub(crate) fn newest(store: &Store, previous_run_id: Option<&str>) -> Result<Option<Self>> {
        // One that cannot be read is as good as none: it was never needed for what is committed.
        let journals = Self::all(store)?.into_iter().map(|(_, journal)| journal);
        let of_this = journals.filter(|journal| {
            journal.previous_run_id.as_deref() == previous_run_id && !journal.tables.is_empty()
        });
        Ok(of_this.max_by(|a, b| a.started.cmp(&b.started)))
    }

    /// All journals that can be read, with their paths.
    pub(crate) fn all(store: &Store) -> Result<Vec<(String, Self)>> {
        let mut journals = Vec::new();
        // What a dead run was about to write has another ending.
        for path in paths(store)?.into_iter().filter(|path| path.ends_with(".json")) {
            let json = store.read(&path)?;
            journals.extend(json.and_then(|json| Some((path, serde_json::from_slice(&json).ok()?))));
        }
        Ok(journals)
    }

    /// Removes the journal of a run that has failed. What cannot be removed, `gc` finds.
    pub(crate) fn remove(store: &Store, run_id: &str) {
        let _ = store.remove(&path(run_id));
    }

    /// Removes the journals of all runs: a run has committed, so nothing goes on from where they began. What
    /// cannot be removed, `gc` finds.
    pub(crate) fn remove_all(store: &Store) {
        for path in paths(store).unwrap_or_default() {
            let _ = store.remove(&path);
        }
    }

    /// Whether a table of it was read under this snapshot. The text of a snapshot alone does not say so: a
    /// server that was started anew, or another one, may come to the same.
    pub(crate) fn is_under(&self, held: Option<&SharedSnapshot>, table: &ManifestTable) -> bool {
        let is_same = self.held.as_ref().zip(held).is_some_and(|(then, now)| then.is_same(now));
        is_same && table.increments.last().is_some_and(|increment| increment.snapshot == self.snapshot)
    }

    /// The files of the complete tables.
    pub(crate) fn files(&self) -> HashSet<&str> {
        self.tables.iter().flat_map(|table| &table.files).map(|file| file.path.as_str()).collect()
    }
}

/// Whether a path is that of a journal.
pub(crate) fn is_journal(path: &str) -> bool {
    path.strip_prefix(JOURNALS).is_some_and(|rest| rest.starts_with('/'))
}

/// Writes a run's journal while the run is on.
pub(crate) struct Writer {
    sender: Mutex<Option<Sender<ManifestTable>>>,
    thread: Mutex<Option<JoinHandle<Journal>>>,
}

impl Writer {
    /// Begins with the tables that the journal has already, which may be those of an earlier run.
    ///
    /// # Errors
    ///
    /// The store cannot be written to.
    pub(crate) fn start(store: Store, journal: Journal) -> Result<Self> {
        if !journal.tables.is_empty() {
            store.replace(&path(&journal.run_id), &json_of(&journal)?)?;
        }
        let (sender, receiver) = mpsc::channel();
        let write = move || keep(&store, journal, &receiver);
        let spawned = thread::Builder::new().name("pgarrow-journal".to_owned()).spawn(write);
        let thread = spawned.map_err(|error| {
            Error::new(ErrorKind::Sink, "no thread can be started for the run's journal").caused_by(error)
        })?;
        Ok(Self { sender: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) })
    }

    /// Notes a complete table. Does not wait.
    pub(crate) fn add(&self, table: ManifestTable) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        // Without a receiver, the thread has panicked: the run goes on, and has no journal.
        if let Some(sender) = sender.as_ref() {
            let _ = sender.send(table);
        }
    }

    /// Waits until all is written. Returns what was noted; `None` if the thread has panicked, or was ended
    /// before.
    pub(crate) fn end(&self) -> Option<Journal> {
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread?.join().ok()
    }
}

fn keep(store: &Store, mut journal: Journal, tables: &Receiver<ManifestTable>) -> Journal {
    while let Ok(table) = tables.recv() {
        journal.tables.push(table);
        journal.tables.extend(tables.try_iter());
        // A store that fails now may work for the next table; the run itself will say what is wrong with it.
        let _ = json_of(&journal).and_then(|json| Ok(store.replace(&path(&journal.run_id), &json)?));
    }
    journal
}

fn json_of(journal: &Journal) -> Result<Vec<u8>> {
    serde_json::to_vec(journal)
        .map_err(|error| Error::new(ErrorKind::Sink, "the journal has no form").caused_by(error))
}

fn paths(store: &Store) -> Result<Vec<String>> {
    let entries = store.list(FOLDER)?;
    Ok(entries.into_iter().map(|entry| entry.path).filter(|path| is_journal(path)).collect())
}

fn path(run_id: &str) -> String {
    format!("{JOURNALS}/{run_id}.json")
}
