//! Every row of the files against every row of the server, as multisets, in bounded memory.
//!
//! ```text
//!  pass 1 of n   the files' rows whose hash is in the first n-th ─▶ how often each is there
//!                the server's rows, in the same range ─▶ one less; what is not there is only on the server
//!                what is left is only in the files
//!  pass 2 …
//! ```

use std::collections::HashMap;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_schema::Schema;
use pgarrow_export::{Cancel, Error, ErrorKind, Result, Run};

use super::digest::{Digest, Hash};
use super::files::CheckedFile;
use super::form::ComparedColumn;
use super::found::FileRow;
use super::tally::hash_rows;

/// Rows that are named at most, for each side.
const ROWS_NAMED: usize = 10;

/// Memory of a row of the files: an entry of the map, while the map grows.
const ROW_BYTES: u64 = 112;

/// The rows of a table's files.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    pub(super) files: &'a [CheckedFile<'a>],
    pub(super) schema: &'a Schema,
    pub(super) columns: &'a [ComparedColumn],
    pub(super) digest: Digest,
    pub(super) cancel: &'a Cancel,
}

/// What only one side has.
#[derive(Debug, Default)]
pub(super) struct Full {
    pub(super) n_in_files: u64,
    pub(super) n_on_server: u64,
    /// The first ones.
    pub(super) in_files: Vec<FileRow>,
    pub(super) on_server: Vec<String>,
}

/// Rows of one hash in the files.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// How many of them the server has not had so far.
    count: u64,
    /// The last of them: which file, and its number there.
    last: (usize, u64),
}

impl Full {
    /// Compares. `rows` is the number of rows in the files; `query` begins to read the server's rows, as
    /// [`places_sql`](super::sql::places_sql) has them.
    ///
    /// # Errors
    ///
    /// What stops the reading of either side.
    pub(super) fn compare(
        of_files: &Rows<'_>,
        rows: u64,
        memory_bytes: usize,
        query: impl Fn() -> Result<Run>,
    ) -> Result<Self> {
        let fit = (memory_bytes as u64 / ROW_BYTES).max(1);
        let n_passes = rows.div_ceil(fit).max(1);
        let mut full = Self::default();
        let mut left: Vec<(usize, u64)> = Vec::new();
        for pass in 0..n_passes {
            let is_of_pass = |hash: &Hash| pass_of(hash, n_passes) == pass;
            let mut entries = of_files.entries(is_of_pass)?;
            query()?.for_each(|batch| {
                let columns = (batch.columns().first(), batch.columns().get(1));
                let (Some(hashes), Some(places)) = columns else { return Err(unexpected()) };
                let hashes = hashes.as_binary_opt::<i32>().ok_or_else(unexpected)?;
                let places = places.as_string_opt::<i32>().ok_or_else(unexpected)?;
                for (row, hash) in hashes.iter().enumerate() {
                    let hash = Hash::try_from(hash.unwrap_or_default()).map_err(|_| unexpected())?;
                    if !is_of_pass(&hash) {
                        continue;
                    }
                    match entries.get_mut(&hash) {
                        Some(entry) if entry.count > 0 => entry.count = entry.count.saturating_sub(1),
                        _ => {
                            full.n_on_server = full.n_on_server.saturating_add(1);
                            if full.on_server.len() < ROWS_NAMED && places.is_valid(row) {
                                full.on_server.push(places.value(row).to_owned());
                            }
                        }
                    }
                }
                Ok(())
            })?;
            for entry in entries.into_values().filter(|entry| entry.count > 0) {
                full.n_in_files = full.n_in_files.saturating_add(entry.count);
                left.push(entry.last);
            }
            left.sort_unstable();
            left.truncate(ROWS_NAMED);
        }
        let row = |(file, row): (usize, u64)| {
            let path = of_files.files.get(file)?.known.path.clone();
            Some(FileRow { path, row })
        };
        full.in_files = left.into_iter().filter_map(row).collect();
        Ok(full)
    }
}

impl Rows<'_> {
    /// The rows whose hashes are wanted.
    fn entries(&self, is_wanted: impl Fn(&Hash) -> bool) -> Result<HashMap<Hash, Entry>> {
        let mut entries: HashMap<Hash, Entry> = HashMap::new();
        for (index, file) in self.files.iter().enumerate() {
            let mut number = 0_u64;
            file.each_batch(self.schema, self.cancel, |batch| {
                hash_rows(batch, self.columns, self.digest, |_, hash| {
                    number = number.saturating_add(1);
                    if is_wanted(&hash) {
                        let entry = entries.entry(hash).or_default();
                        *entry = Entry { count: entry.count.saturating_add(1), last: (index, number) };
                    }
                })
            })?;
        }
        Ok(entries)
    }
}

/// Which pass a hash belongs to.
fn pass_of(hash: &Hash, n_passes: u64) -> u64 {
    let head = hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let scaled = u128::from(head).wrapping_mul(n_passes.into()) >> 64;
    u64::try_from(scaled).unwrap_or(0)
}

fn unexpected() -> Error {
    Error::new(ErrorKind::Protocol, "hashes and places of rows have other types; please report it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hash_belongs_to_one_pass() {
        for n_passes in [1, 2, 3, 7, 1000] {
            for head in [0, 1, u64::MAX / 3, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
                let mut hash = Hash::default();
                hash[..8].copy_from_slice(&head.to_be_bytes());
                let pass = pass_of(&hash, n_passes);
                assert!(pass < n_passes, "{head}: pass {pass} of {n_passes}");
            }
            assert_eq!(pass_of(&Hash::default(), n_passes), 0);
            assert_eq!(pass_of(&[0xff; 16], n_passes), n_passes - 1);
        }
    }
}
