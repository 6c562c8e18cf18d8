//! The driver against real servers: by its Rust interface, and as a library that a driver manager loads.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

mod binds;
mod cancelling;
mod catalog;
mod ingesting;
mod loaded;
mod matrix;
mod partitioned;
mod support;
mod transactions;
mod types;
