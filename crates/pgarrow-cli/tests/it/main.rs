//! The command as a user meets it: run as a process, judged by its exit code, its messages and its files.
#![expect(clippy::panic, clippy::unwrap_used, reason = "test code fails by panicking")]

mod book;
mod demo;
mod errors;
mod folders;
mod holds;
mod html;
mod inspects;
mod jobs;
mod load_faults;
mod load_meets;
mod load_parts;
mod load_readers;
mod load_writers;
mod loads;
mod loads_own;
mod logs;
mod memory;
mod metrics;
mod names;
mod neighbours;
mod output;
mod pages;
mod parquet;
mod partitions;
mod plans;
mod progress;
mod readers;
mod reports;
mod server_to_server;
mod signals;
mod support;
mod types;
mod usage;
mod verifies;
mod verifies_elsewhere;
