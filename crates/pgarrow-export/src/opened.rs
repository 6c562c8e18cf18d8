//! `Opened`: what a session has opened, for the proof at its end.

use std::collections::BTreeSet;

/// What a session has opened so far, as far as it was checked.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// It has read something since the last check.
    pub(crate) is_unproven: bool,
    /// What functions opened in it.
    pub(crate) beside: BTreeSet<u32>,
    /// When its transaction ends.
    pub(crate) end: End,
}

/// When a transaction ends that was only read in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum End {
    /// When somebody says so.
    #[default]
    Later,
    /// With the question of the proof, which was sent behind the rows. The answer is not received yet.
    Asked,
    /// It has ended with that answer.
    Done,
}
