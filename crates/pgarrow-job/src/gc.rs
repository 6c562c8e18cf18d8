//! What runs left that never committed, found by their ids in the files' names; and what newer runs replaced.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use pgarrow_export::{Error, ErrorKind, Result};
use pgarrow_store::{Entry, Store};

use crate::journal::{Journal, is_journal};
use crate::lock;
use crate::manifest::{FOLDER, Manifest};

/// The characters of a run's id.
const ID_CHARS: usize = 32;

/// The endings of files that runs make.
const ENDINGS: [&str; 3] = [".parquet", ".arrow", ".arrows"];

/// What stands between the name of a file and the end of the name that it has until it is complete.
const TEMPORARY: &str = ".pgarrow-";

/// Files of runs that no manifest names, that are older than `older_than`, and whose run is not on. A lock
/// that a dead run has left protects its files until another run has taken its place.
///
/// With `keep`, also the manifests and files of the runs before the newest `keep` ones, as far as the
/// manifests are old enough, too. The manifests come first: removed in this order, no manifest ever names a
/// file that is gone.
///
/// # Errors
///
/// [`ErrorKind::Input`] if no run has ever been there; or the store, its lock or a manifest cannot be read:
/// then nothing is known to be garbage.
pub fn garbage(store: &Store, older_than: Duration, keep: Option<usize>) -> Result<Vec<Entry>> {
    // In this order: a run that commits meanwhile has its files in a manifest, or its lock was there.
    let entries = store.list("")?;
    let on = lock::holder_id(store)?;
    let manifests = Manifest::all(store)?;
    let of_jobs = format!("{FOLDER}/");
    if !entries.iter().any(|entry| entry.path.starts_with(&of_jobs)) {
        let text = format!("{} is no folder of a job: it has no {FOLDER}", store.location());
        return Err(Error::new(ErrorKind::Input, text));
    }
    let now = SystemTime::now();
    // A file of the future is young.
    let is_old = |entry: &Entry| now.duration_since(entry.modified).is_ok_and(|age| age >= older_than);
    let aged: HashSet<&str> =
        entries.iter().filter(|entry| is_old(entry)).map(|entry| entry.path.as_str()).collect();
    let n_old = keep.map_or(0, |keep| manifests.len().saturating_sub(keep.max(1)));
    let (old, kept) = manifests.split_at_checked(n_old).unwrap_or_default();
    let (old, young): (Vec<_>, Vec<_>) =
        old.iter().partition(|manifest| aged.contains(manifest.path().as_str()));
    let mut named: HashSet<&str> = kept.iter().chain(young).flat_map(Manifest::paths).collect();
    // A run that is on may go on with the files of a dead one, whose journal it has not read yet. Without
    // one, a young journal may be waiting for that.
    let journals = Journal::all(store)?;
    let is_needed = |path: &str| on.is_some() || !aged.contains(path);
    let needed = journals.iter().filter(|(path, _)| is_needed(path));
    named.extend(needed.flat_map(|(_, journal)| journal.files()));
    let superseded: HashSet<&str> = old.iter().flat_map(|manifest| manifest.paths()).collect();
    let old: HashSet<String> = old.iter().map(|manifest| manifest.path()).collect();
    let is_garbage = |entry: &Entry| {
        let path = entry.path.as_str();
        match path.starts_with(&of_jobs) {
            _ if !is_old(entry) => false,
            true if is_journal(path) => on.is_none(),
            true => old.contains(path),
            false if named.contains(path) => false,
            false if superseded.contains(path) => true,
            false => is_of_runs(path) && is_of_dead_run(path, on.as_deref()),
        }
    };
    let mut garbage: Vec<Entry> = entries.iter().filter(|entry| is_garbage(entry)).cloned().collect();
    garbage.sort_by_key(|entry| !entry.path.starts_with(&of_jobs));
    Ok(garbage)
}

/// Whether a file has the form of those that runs make, complete or not.
fn is_of_runs(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let complete = match name.strip_prefix('.') {
        Some(hidden) => hidden.rsplit_once(TEMPORARY).map(|(name, _)| name),
        None => Some(name),
    };
    complete.is_some_and(|name| ENDINGS.iter().any(|ending| name.ends_with(ending)))
}

/// Whether a run has made a file, and not the one that is on.
fn is_of_dead_run(path: &str, on: Option<&str>) -> bool {
    let mut ids = run_ids(path).peekable();
    ids.peek().is_some() && ids.all(|id| Some(id) != on)
}

/// What may be the id of a run in a path: 32 hexadecimal digits with no letter or digit beside them. The
/// values of partitions may have that form, too.
fn run_ids(path: &str) -> impl Iterator<Item = &str> {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|word| {
        word.len() == ID_CHARS && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn files_of_runs_are_known_by_ids_and_endings() {
        for (path, is_one) in [
            (format!("a/part-00000-{ID}.parquet"), true),
            (format!("a/.part-00000-{ID}.parquet.pgarrow-ab12CD"), true),
            (format!("{ID}/a.b.arrow"), true),
            (format!("a/{ID}_t.arrows"), true),
            (format!("t.{ID}.parquet"), true),
            (format!("t-{ID}-00001.parquet"), true),
            (format!("part-{ID}0.parquet"), false),
            (format!("part{ID}.parquet"), false),
            (format!("part-{}.parquet", ID.to_uppercase()), false),
            ("part-00000.parquet".to_owned(), false),
            // Files of others.
            (format!("{ID}.png"), false),
            (format!("cache/{ID}/x"), false),
            (format!(".{ID}.parquet"), false),
        ] {
            assert_eq!(is_of_runs(&path) && is_of_dead_run(&path, None), is_one, "{path}");
        }
        // A value of a partition is no run that is dead.
        let path = format!("t/md5=d41d8cd98f00b204e9800998ecf8427e/part-00000-{ID}.parquet");
        assert!(is_of_dead_run(&path, None) && !is_of_dead_run(&path, Some(ID)));
    }
}
