//! What becomes of values that Arrow cannot hold, as the user chose.

use pgarrow_types::{InfinityPolicy, LostDigitsPolicy, NanPolicy, OutOfRangePolicy, TypeOptions};

use crate::effect::Effect;
use crate::error::ValueError;

/// The choices about values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policies {
    infinity: InfinityPolicy,
    nan: NanPolicy,
    out_of_range: OutOfRangePolicy,
    lost_digits: LostDigitsPolicy,
}

/// What to do instead of an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Instead {
    Null(Effect),
    /// The nearest value that there is.
    Saturate(Effect),
}

impl From<&TypeOptions> for Policies {
    fn from(options: &TypeOptions) -> Self {
        let TypeOptions { infinity, nan, out_of_range, lost_digits, .. } = *options;
        Self { infinity, nan, out_of_range, lost_digits }
    }
}

impl Policies {
    /// Whether a value that is refused for this cause is to be rounded.
    pub(crate) fn rounds(self, cause: ValueError) -> bool {
        cause == ValueError::LostDigits && self.lost_digits == LostDigitsPolicy::Round
    }

    /// What the user chose for values that are refused for this cause.
    ///
    /// # Errors
    ///
    /// The cause, if that is what the user chose, or if it is none that a policy is about.
    pub(crate) fn instead(self, cause: ValueError) -> Result<Instead, ValueError> {
        match cause {
            ValueError::Infinite => match self.infinity {
                InfinityPolicy::Error => Err(cause),
                InfinityPolicy::Null => Ok(Instead::Null(Effect::InfinityNulled)),
                InfinityPolicy::Saturate => Ok(Instead::Saturate(Effect::InfinitySaturated)),
            },
            ValueError::NotANumber => match self.nan {
                NanPolicy::Error => Err(cause),
                NanPolicy::Null => Ok(Instead::Null(Effect::NanNulled)),
            },
            ValueError::OutOfRange => match self.out_of_range {
                OutOfRangePolicy::Error => Err(cause),
                OutOfRangePolicy::Null => Ok(Instead::Null(Effect::OutOfRangeNulled)),
                OutOfRangePolicy::Saturate => Ok(Instead::Saturate(Effect::OutOfRangeSaturated)),
            },
            _ => Err(cause),
        }
    }

    /// The same, applied: NULL or `nearest`.
    pub(crate) fn resolve<T>(
        self,
        cause: ValueError,
        nearest: impl FnOnce() -> T,
    ) -> Result<(Option<T>, Effect), ValueError> {
        Ok(match self.instead(cause)? {
            Instead::Null(effect) => (None, effect),
            Instead::Saturate(effect) => (Some(nearest()), effect),
        })
    }
}
