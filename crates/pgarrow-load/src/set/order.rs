//! The order of loads: a table that foreign keys refer to comes before those that refer to it.

use pgarrow_catalog::RelationName;
use pgarrow_session::{Error, ErrorKind, Result};

/// Most tables that an error names.
const NAMES_MAX: usize = 5;

/// A foreign key between two tables of a set.
#[derive(Clone, Copy, Debug)]
pub(super) struct ForeignKey {
    pub(super) child: usize,
    pub(super) parent: usize,
    /// It can be checked at the end of the transaction.
    pub(super) can_wait: bool,
}

/// The indexes of the tables in an order in which they can be loaded: otherwise, in the order given.
///
/// # Errors
///
/// [`ErrorKind::Options`] for tables of one transaction without such an order.
pub(super) fn order(tables: &[RelationName], keys: &[ForeignKey], is_together: bool) -> Result<Vec<usize>> {
    let mut order = Vec::with_capacity(tables.len());
    let mut left: Vec<usize> = (0..tables.len()).collect();
    while !left.is_empty() {
        let waits = |child: usize, is_strict: bool| {
            keys.iter()
                .any(|key| key.child == child && left.contains(&key.parent) && (is_strict || !key.can_wait))
        };
        let is_free = |is_strict: bool| left.iter().position(|child| !waits(*child, is_strict));
        let next = is_free(true).or_else(|| is_free(false));
        let next = match next {
            Some(next) => next,
            None if is_together => return Err(circle(tables, &left)),
            // Each by itself may find its rows there.
            None => 0,
        };
        order.push(left.remove(next));
    }
    Ok(order)
}

fn circle(tables: &[RelationName], left: &[usize]) -> Error {
    let names = left.iter().filter_map(|index| tables.get(*index)).map(RelationName::quoted);
    let mut names: Vec<String> = names.take(NAMES_MAX).collect();
    if left.len() > NAMES_MAX {
        names.push(format!("{} more", left.len() - NAMES_MAX));
    }
    let text = format!(
        "foreign keys of the target's tables refer to one another in a circle, so no order of loading keeps them: {}",
        names.join(", ")
    );
    Error::new(ErrorKind::Options, text).advice(
        "ALTER TABLE … ALTER CONSTRAINT … DEFERRABLE lets one of them wait for the end; or drop it meanwhile",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(n: usize) -> Vec<RelationName> {
        (0..n).map(|index| RelationName::parse(&format!("s.t{index}")).unwrap()).collect()
    }

    fn key(child: usize, parent: usize, can_wait: bool) -> ForeignKey {
        ForeignKey { child, parent, can_wait }
    }

    #[test]
    fn those_referred_to_come_first_and_others_stay() {
        let keys = [key(0, 2, false), key(2, 3, true)];
        assert_eq!(order(&tables(5), &keys, true).unwrap(), [1, 3, 2, 0, 4]);
        assert_eq!(order(&tables(3), &[], true).unwrap(), [0, 1, 2]);
    }

    #[test]
    fn a_circle_is_an_error_unless_a_key_can_wait() {
        let circle = [key(0, 1, false), key(1, 0, false)];
        let error = order(&tables(3), &circle, true).unwrap_err().to_string();
        assert!(error.contains("in a circle") && error.contains("\"t0\", \"s\".\"t1\";"), "{error}");
        assert_eq!(order(&tables(3), &circle, false).unwrap(), [2, 0, 1]);
        let waits = [key(0, 1, false), key(1, 0, true)];
        assert_eq!(order(&tables(2), &waits, true).unwrap(), [1, 0]);
    }
}
