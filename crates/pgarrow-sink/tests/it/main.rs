//! Tests of the file handling that all sinks share.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod folder;
mod output;
mod targets;

use std::fs;
use std::path::Path;

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
