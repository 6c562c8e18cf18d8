//! The protocol against scripted servers: legal messages, and above all illegal ones.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which are meant to panic")]

mod auth;
mod bulk;
mod commit;
mod copy;
mod copy_in;
mod fuzz;
mod hostile;
mod hosts;
mod login;
mod login_versions;
mod rows;
mod script;
mod server;
mod statements;
mod tls;
mod tls_limits;
mod tls_old;
