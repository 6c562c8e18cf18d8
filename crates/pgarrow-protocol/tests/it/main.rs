//! The protocol against scripted servers: what is legal, and above all what is not.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which are meant to panic")]

mod copy;
mod fuzz;
mod login;
mod rows;
mod script;
mod server;
mod statements;
mod tls;
