//! The bottleneck of an export or a load, in one word.

use pgarrow_types::{Hint, Message, message};
use serde::Serialize;

/// What an export or a load spent most of its time on: to be faster, it would have to change this.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Limit {
    /// The server: it sends or takes rows no faster.
    Server,
    /// The network: the server waits to send.
    Network,
    /// One of the two: with one reader, nothing observes what its backend waits for.
    ServerOrNetwork,
    /// This machine: receiving, decoding and encoding, or encoding and sending.
    Pgarrow,
    /// Writing the output: the disk, or the pipe; for a load, the commit on the server's disk.
    Output,
    /// The consumer of the batches, or the requested order of slices.
    Consumer,
    /// The memory limit.
    Memory,
    /// Loads only: the producer of the batches.
    Input,
    /// Loads only: connecting and planning took longer than the rows.
    Start,
}

impl Limit {
    /// One line for users, about an export.
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
