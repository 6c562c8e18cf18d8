//! Tests of the file handling that all sinks share.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

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

/// The same for a published folder, without its manifest.
#[track_caller]
fn files(folder: &Path) -> Vec<String> {
    let mut names = names(folder);
    let manifest = names.iter().position(|name| name == MANIFEST).expect("a manifest");
    names.remove(manifest);
    names
}

const MANIFEST: &str = "_pgarrow_manifest.json";
