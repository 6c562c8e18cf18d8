//! `char(n)` without its padding.
//!
//! Source: `bpcharsend` in PostgreSQL's `src/backend/utils/adt/varchar.c`. The padding has no meaning to
//! PostgreSQL itself: `bpchareq` leaves it out.

use crate::column::text_form::TextForm;
use crate::effect::Effect;
use crate::error::ValueError;

#[derive(Debug)]
pub(crate) struct Trimmed;

/// The value without the blanks at its end.
fn trimmed(wire: &[u8]) -> &[u8] {
    let end = wire.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    wire.get(..end).unwrap_or_default()
}

impl TextForm for Trimmed {
    const EXPANDS: bool = false;

    fn text_bytes_at_most(&self, wire: &[u8]) -> usize {
        wire.len()
    }

    fn print(&self, wire: &[u8], text: &mut Vec<u8>) -> Result<(), ValueError> {
        text.extend_from_slice(trimmed(wire));
        Ok(())
    }

    fn effect(&self, wire: &[u8]) -> Option<Effect> {
        (trimmed(wire).len() < wire.len()).then_some(Effect::Trimmed)
    }
}
