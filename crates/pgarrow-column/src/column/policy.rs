//! What happens to values that Arrow cannot hold, as the user chose.

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

/// The alternative to an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Instead {
    Null(Effect),
    /// The nearest value of the Arrow type.
    Saturate(Effect),
}

impl From<&TypeOptions> for Policies {
    fn from(options: &TypeOptions) -> Self {
        let TypeOptions { infinity, nan, out_of_range, lost_digits, .. } = *options;
        Self { infinity, nan, out_of_range, lost_digits }
    }
}

impl Policies {
    /// Whether a value that is refused for this cause should be rounded.
    pub(crate) fn rounds(self, cause: ValueError) -> bool {
        cause == ValueError::LostDigits && self.lost_digits == LostDigitsPolicy::Round
    }

    /// The user's choice for values that are refused for this cause.
    ///
    /// # Errors
    ///
    /// The cause, if the user chose an error, or if no policy is about this cause.
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

    /// Applies the choice: NULL or `nearest`.
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
