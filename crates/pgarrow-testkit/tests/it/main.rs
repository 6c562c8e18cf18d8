//! Rules of the whole project that no compiler checks: which crate imports which, where unsafe code may be,
//! what the lock file may hold, what texts may say, and that the documents are true.

#![expect(clippy::expect_used, clippy::panic, reason = "test code, which fails by panicking")]

mod circles;
mod documents;
mod layering;
mod lock_file;
mod project;
mod public_api;
mod reliability;
mod sources;
mod texts;
