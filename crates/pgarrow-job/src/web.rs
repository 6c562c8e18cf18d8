//! The newest manifest where files cannot be listed: on a web server.

use pgarrow_export::Result;

/// Manifests of removed runs that are passed over before the first one: a run in each night of three years.
const GONE_MAX: u64 = 1000;

/// The greatest number that is there; `None` if there is none.
///
/// Manifests are numbered from 1 on, and `gc` removes the oldest ones: from the first that is there, all are
/// there up to the newest. So the first is looked for one by one, and the newest by doubling steps.
pub(crate) fn newest_number(is_there: impl Fn(u64) -> Result<bool>) -> Result<Option<u64>> {
    let mut first = 1;
    while !is_there(first)? {
        if first > GONE_MAX {
            return Ok(None);
        }
        first += 1;
    }
    // `newest` is there.
    let (mut newest, mut step) = (first, 1_u64);
    while is_there(newest.saturating_add(step))? {
        newest = newest.saturating_add(step);
        step = step.saturating_mul(2);
    }
    while step > 1 {
        step /= 2;
        if is_there(newest.saturating_add(step))? {
            newest = newest.saturating_add(step);
        }
    }
    Ok(Some(newest))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_newest_is_found_with_few_questions() {
        for (first, last, asked_max) in
            [(1, 1, 3), (1, 2, 5), (1, 3, 5), (1, 7, 8), (1, 365, 20), (394, 400, 403), (1000, 1000, 1002)]
        {
            let n_asked = Cell::new(0);
            let is_there = |number| {
                n_asked.set(n_asked.get() + 1);
                Ok((first..=last).contains(&number))
            };
            assert_eq!(newest_number(is_there).unwrap(), Some(last), "{first}..={last}");
            assert!(n_asked.get() <= asked_max, "{first}..={last}: {} questions", n_asked.get());
        }
        assert_eq!(newest_number(|_| Ok(false)).unwrap(), None);
    }
}
