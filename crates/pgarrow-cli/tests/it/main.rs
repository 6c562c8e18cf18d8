//! The command as a user meets it: run as a process, judged by its exit code, its messages and what it leaves.

mod demo;
mod errors;
mod output;
mod signals;
mod support;
mod usage;
