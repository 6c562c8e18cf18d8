//! Values that are kept compressed inside of their tuple.

use std::fmt;

/// A value that is not as PostgreSQL writes it: whoever has it reads its page in another way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Corrupt(pub(crate) &'static str);

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
