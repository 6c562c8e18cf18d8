//! Counting parts, so that a commit can tell a complete output from a partial one.

use std::sync::{Mutex, PoisonError};

use crate::error::{SinkError, SinkErrorKind};

/// How many parts were opened and finished, and how many rows the finished ones wrote.
///
/// Shared by a sink and its parts; one [`opened`](Self::opened) for each part and one
/// [`finished`](Self::finished) for each part that came to its end.
#[derive(Debug, Default)]
pub struct PartTally {
    counts: Mutex<Counts>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    opened: usize,
    finished: usize,
    rows: u64,
}

impl PartTally {
    /// Notes that a part was opened.
    pub fn opened(&self) {
        self.update(|counts| counts.opened += 1);
    }

    /// Notes that a part has appended everything it held, `rows` rows in all.
    pub fn finished(&self, rows: u64) {
        self.update(|counts| {
            counts.finished += 1;
            counts.rows += rows;
        });
    }

    /// Compares the parts with the rows that are in the output.
    ///
    /// # Errors
    ///
    /// [`SinkErrorKind::Incomplete`] if a part was not finished, or if the sum of the parts' rows is not
    /// `rows_in_output`.
    pub fn check(&self, rows_in_output: u64) -> Result<(), SinkError> {
        let Counts { opened, finished, rows } = self.update(|counts| *counts);
        if opened != finished {
            let unfinished = opened - finished;
            return Err(SinkError::new(
                SinkErrorKind::Incomplete,
                format!(
                    "{unfinished} of {opened} parts of the output were not finished; nothing was published"
                ),
            ));
        }
        if rows != rows_in_output {
            return Err(SinkError::new(
                SinkErrorKind::Incomplete,
                format!(
                    "the parts wrote {rows} rows, the output has {rows_in_output}; nothing was published"
                ),
            ));
        }
        Ok(())
    }

    fn update<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        // Each change is complete or was not begun, so counts behind a poisoned lock are still right; a part
        // that panicked stays unfinished and fails the commit.
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_add_up() {
        let tally = PartTally::default();
        assert!(tally.check(0).is_ok(), "no part at all is an empty output");
        tally.opened();
        tally.opened();
        tally.finished(2);
        assert_eq!(tally.check(2).unwrap_err().kind(), SinkErrorKind::Incomplete);
        tally.finished(3);
        assert!(tally.check(5).is_ok());
        let error = tally.check(6).unwrap_err();
        assert_eq!(error.to_string(), "the parts wrote 5 rows, the output has 6; nothing was published");
    }
}
