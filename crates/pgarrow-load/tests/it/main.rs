//! Loads into real servers.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which fail by panicking")]

mod commit_every;
mod conflict;
mod create;
mod every_type;
mod exact;
mod failures;
mod fresh;
mod in_transaction;
mod insert;
mod loading;
mod look_ahead;
mod marks_trust;
mod opaque;
mod own_locks;
mod pooler;
mod read_timeout;
mod reject;
mod replace;
mod replace_locks;
mod replace_meanwhile;
mod replace_whole;
mod restart_keys;
mod round_trips;
mod support;
mod swaps;
mod upkeep;
mod writers;
