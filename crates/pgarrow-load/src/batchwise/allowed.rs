//! Which options can be combined, and which of them remain for a second start.

use pgarrow_session::{Error, ErrorKind, Result};

use crate::marks::Mark;
use crate::options::{LoadMode, LoadOptions};

impl LoadOptions {
    /// Whether a load needs more than one transaction with one COPY.
    pub(crate) fn is_batchwise(&self) -> bool {
        self.commit_every.is_some() || self.restart_key.is_some() || self.reject
    }

    /// Refuses options that contradict one another. [`Load::open`](crate::Load::open) checks this before it
    /// connects.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`].
    pub fn check(&self) -> Result<()> {
        let refuse = |text: &str| Err(Error::new(ErrorKind::Options, text));
        if self.commit_every == Some(0) {
            return refuse("a load cannot be committed every 0 rows");
        }
        if self.commit_every.is_some() && self.restart_key.is_none() {
            return refuse(
                "a load that is committed in parts needs a restart key, so that a second start goes on behind them",
            );
        }
        if self.commit_every.is_some() && self.mode == LoadMode::Replace {
            return refuse("a table is replaced as a whole: it cannot be committed in parts");
        }
        if self.restart_key.as_deref().is_some_and(|key| key.is_empty() || key.contains('\0')) {
            return refuse("a restart key is neither empty nor has a zero byte");
        }
        if self.reject_limit.is_some() && !self.reject {
            return refuse("a limit of rejected rows is for loads that reject rows");
        }
        if self.primary_key.is_some()
            && (self.commit_every.is_some() || self.restart_key.is_some() || self.reject)
        {
            return refuse(
                "a primary key is made when all rows are there: not by a load in parts, or with rejected rows",
            );
        }
        if self.types.is_some() && self.has_writers() {
            return refuse(
                "types are made in the transaction of one writer; load by one, or make the types first",
            );
        }
        self.check_writers()
    }
}

/// The options after the mark was read: a second start does not truncate, create or replace again.
pub(crate) fn restarted(mut options: LoadOptions, mark: Option<&Mark>) -> LoadOptions {
    if mark.is_some_and(|mark| !mark.is_new()) {
        options.was_made = options.mode.makes_tables();
        options.mode = match options.mode {
            LoadMode::Truncate | LoadMode::Create | LoadMode::Replace => LoadMode::Append,
            mode => mode,
        };
    }
    options
}
