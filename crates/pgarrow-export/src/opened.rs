//! `Opened`: what a session has opened, for the proof at its end.

use std::collections::BTreeSet;

/// What a session has opened so far, as far as it was checked.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// It has read something since the last check.
    pub(crate) is_unproven: bool,
    /// What functions opened in it.
    pub(crate) beside: BTreeSet<u32>,
}
