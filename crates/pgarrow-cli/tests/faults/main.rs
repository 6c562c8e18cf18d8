//! Faults, and whether the command survives them: no wrong output on disk, nothing left here or on the
//! server.
//!
//! ```text
//! Arena    a server, a table, and what a clean export of it is
//! Trial    one run of the command in a folder of its own: started, interfered with, ended, judged
//! Group    the trials of one test, as rows of the table of faults: id | fault | phase | tried | survived
//! ```
//!
//! The same criteria, G-1 to G-8, judge every trial ([`Trial::judge`](trial::Trial::judge)). Each test writes
//! its rows; `faults.txt` in target/tmp is all of them. `PGARROW_TEST_FAULTS=all` makes the sweeps whole;
//! otherwise they are samples.
#![expect(clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "test code fails by panicking")]

mod arena;
mod expect;
mod running;
mod strace;
mod table;
mod trial;

mod cuts;
mod disk;
mod links;
mod servers;
mod signals;
mod syscalls;
mod targets;
