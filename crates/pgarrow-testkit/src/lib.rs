//! For tests only: scripted servers, a fault proxy, a COPY byte writer, batch comparison, real servers.
//!
//! ```text
//! TestServer   a real PostgreSQL, one for each test process, and an independent client to prepare tables
//! Capability   what a server or a machine may lack; what is left out is printed and counted
//! CopyWriter   COPY binary streams, in every packing the protocol allows
//! Script       an in-process server that plays bytes
//! Proxy        a faulty network between a client and a server
//! PgBouncer    a connection pooler in front of a server
//! Emulator     a server that behaves as S3 or as Azure
//! Chance       numbers that depend on nothing but a seed
//! fuzz         what must hold for any bytes, on seeds and on random changes of them
//! compare      batches as sequences of rows
//! Python       pyarrow and duckdb, as readers of what we wrote
//! ```
//!
//! Environment:
//!
//! | variable                | meaning                                                                     |
//! |-------------------------|-----------------------------------------------------------------------------|
//! | `PGARROW_TEST_DB_URL`   | use this server (a superuser's URL) instead of a private one                |
//! | `PGARROW_TEST_SERVER`   | `none`: tests that need a server are left out                               |
//! | `PGARROW_PG_BIN`        | the programs of the private server                                          |
//! | `PGARROW_TEST_REQUIRE`  | `all`: a test that is left out fails                                        |
//! | `PGARROW_TEST_NEWER`    | `apart`: except tests for a newer server or pgvector: they run with another |
//! | `PGARROW_TEST_LEFT_OUT` | the file that lists what was left out; default `left-out.txt` in target/tmp |
//! | `PGARROW_TEST_CELLS`    | the cells of the table of connections that have this in their names         |
//! | `PGARROW_FUZZ_INPUTS`   | how many random inputs each fuzz target gets; default 20,000                |
//! | `PGARROW_TEST_FAULTS`   | `all`: sweeps of faults try every place, and not a sample                   |
//! | `PGARROW_TEST_SEED`     | any text: other random values of types; a number: the first heap history    |
//! | `PGARROW_TEST_VENV`     | a Python environment to use or to make; default in target/tmp               |
//! | `PGARROW_TEST_MOTO`     | the program moto_server; default the one on the PATH                        |
//! | `PGARROW_TEST_RCLONE`   | the program rclone; default the one on the PATH                             |
//! | `PGARROW_TEST_AZURITE`  | the program azurite-blob; default the one on the PATH                       |
//! | `PGARROW_TEST_WHEEL`    | the Python of an environment with the wheel: see `just test-wheel`          |
//! | `PGARROW_TEST_CLUSTERS` | `none`: tests with clusters of Spark, Ray and Dask are left out             |
#![forbid(unsafe_code)]
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "this is test code: it fails by panicking and speaks to whoever runs the tests"
)]

pub mod capability;
pub mod chance;
pub mod compare;
pub mod copy;
pub mod emulator;
pub mod front;
pub mod fuzz;
pub mod messages;
pub mod pgbouncer;
pub mod program;
pub mod proxy;
pub mod python;
pub mod script;
pub mod server;
pub mod target;
pub mod wait;

pub use capability::Capability;
pub use chance::Chance;
pub use compare::assert_batches_equal;
pub use copy::{CopyWriter, Packing};
pub use emulator::Emulator;
pub use pgbouncer::PgBouncer;
pub use proxy::{Fault, Proxy};
pub use python::Python;
pub use script::{Script, ScriptedServer, Step};
pub use server::{Database, TestServer, server_options};
pub use wait::{eventually, until_restarted};

/// Servers beside the shared one, for tests that need several.
pub use pgarrow_server;
/// The independent client, so that tests need no dependency of their own for it.
pub use postgres;
