//! What runs left that never committed, found by their ids in the files' names; and what newer runs replaced.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use pgarrow_export::Result;
use pgarrow_store::{Entry, Store};

use crate::lock;
use crate::manifest::{FOLDER, Manifest};

/// The characters of a run's id.
const ID_CHARS: usize = 32;

/// Files of runs that no manifest names, that are older than `older_than`, and whose run is not on. A lock that a
/// dead run has left protects its files until another run has taken its place.
///
/// With `keep`, also the manifests and files of the runs before the newest `keep` ones, the manifests first:
/// removed in this order, no manifest ever names a file that is gone.
///
/// # Errors
///
/// The store or a manifest cannot be read: then nothing is known to be garbage.
pub fn garbage(store: &Store, older_than: Duration, keep: Option<usize>) -> Result<Vec<Entry>> {
    // In this order: a run that commits meanwhile has its files in a manifest, or its lock was there.
    let entries = store.list("")?;
    let on = lock::holder_id(store)?;
    let manifests = Manifest::all(store)?;
    let n_old = keep.map_or(0, |keep| manifests.len().saturating_sub(keep.max(1)));
    let (old, kept) = manifests.split_at_checked(n_old).unwrap_or_default();
    let named: HashSet<&str> = kept.iter().flat_map(Manifest::paths).collect();
    let old: HashSet<String> = old.iter().map(Manifest::path).collect();
    let now = SystemTime::now();
    let is_garbage = |entry: &Entry| {
        // A file of the future is young.
        if !now.duration_since(entry.modified).is_ok_and(|age| age >= older_than) {
            return false;
        }
        if entry.path.starts_with(&format!("{FOLDER}/")) {
            return old.contains(&entry.path);
        }
        let name = entry.path.rsplit('/').next().unwrap_or_default();
        let Some(run_id) = run_id(name).or_else(|| entry.path.split('/').find_map(whole_id)) else {
            return false;
        };
        !named.contains(entry.path.as_str()) && on.as_deref() != Some(run_id)
    };
    let mut garbage: Vec<Entry> = entries.into_iter().filter(is_garbage).collect();
    garbage.sort_by_key(|entry| !entry.path.starts_with(FOLDER));
    Ok(garbage)
}

/// The id of a run in a file's name: 32 hexadecimal digits behind a `-`.
fn run_id(name: &str) -> Option<&str> {
    name.match_indices('-').rev().find_map(|(at, _)| {
        let behind = name.get(at.saturating_add(1)..)?;
        let id = behind.get(..ID_CHARS)?;
        let is_end = behind.get(ID_CHARS..).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        (is_end && is_id(id)).then_some(id)
    })
}

/// A part of a path that is the id of a run.
fn whole_id(part: &str) -> Option<&str> {
    (part.len() == ID_CHARS && is_id(part)).then_some(part)
}

fn is_id(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn ids_in_names() {
        for (name, is_one) in [
            (format!("part-00000-{ID}.parquet"), true),
            (format!(".part-00000-{ID}.parquet.pgarrow-ab12CD"), true),
            (format!("a-b-{ID}"), true),
            (format!("part-{ID}0.parquet"), false),
            (format!("part{ID}.parquet"), false),
            (format!("part-{}.parquet", ID.to_uppercase()), false),
            ("part-00000.parquet".to_owned(), false),
            ("x-ähnlich-0123456789abcdef0123456789abcdé".to_owned(), false),
        ] {
            assert_eq!(run_id(&name).is_some(), is_one, "{name}");
        }
        assert!(whole_id(ID).is_some() && whole_id("2026-01-31").is_none());
    }
}
