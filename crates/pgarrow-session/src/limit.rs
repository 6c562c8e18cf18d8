//! What held an export or a load back, in one word.

use pgarrow_types::{Hint, Message, message};
use serde::Serialize;

/// What an export or a load spent most of its time on, and so what a faster one would have to change.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Limit {
    /// The server produces rows, or takes them, no faster.
    Server,
    /// The server waits to send: the network is the limit.
    Network,
    /// One of the two: with one reader, nobody looks at what its backend waits for.
    ServerOrNetwork,
    /// This machine: receiving, decoding and encoding, or encoding and sending.
    Pgarrow,
    /// Writing the output: the disk, or the pipe; of a load, the server's disk, to commit.
    Output,
    /// Whoever takes the batches, or the order that was asked for.
    Consumer,
    /// The memory that was allowed.
    Memory,
    /// Of a load: whoever gives the batches.
    Input,
    /// Of a load: connecting and planning took longer than the rows.
    Start,
}

impl Limit {
    /// One line for people, about an export.
    pub fn sentence(self) -> Message {
        let text = match self {
            Self::Server => "the server is the limit: it sends rows no faster",
            Self::Network => "the network is the limit: the server waits to send",
            Self::ServerOrNetwork => "the server, or the network to it, is the limit: rows come no faster",
            Self::Pgarrow => "this machine's CPU is the limit: decoding and encoding",
            Self::Output => "the output is the limit: the disk or pipe takes bytes no faster",
            Self::Consumer => "the consumer is the limit: reading waited for it, or for the order",
            Self::Input => "the input is the limit: it gives rows no faster",
            Self::Start => "the beginning took longer than the rows",
            Self::Memory => {
                return message![
                    "memory is the limit: readers waited for it (",
                    Hint::Memory { needed: None },
                    ")"
                ];
            }
        };
        text.into()
    }
}
