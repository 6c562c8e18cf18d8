//! `Opened`: what a session has opened, for the proof at its end.

use std::collections::BTreeSet;

/// What a session has opened so far, as far as that was looked at.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// It has read what was not looked at since.
    pub(crate) is_unproven: bool,
    /// What functions have opened in it.
    pub(crate) beside: BTreeSet<u32>,
}
