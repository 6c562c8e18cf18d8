//! Whether a filter means the same on a table's leaves as on the table.
//!
//! A leaf is read under its parent's name, so `orders.id` is the same column. A whole row is not:
//! `orders::text` has the leaf's columns in the leaf's order, and `public.orders.id` is not there at all.

use pgarrow_catalog::NAME_BYTES_MAX;

/// Whether a filter may name a table other than in `table.column`.
///
/// Looks only at the text and does not know strings and comments. So it may be true without need, which costs
/// only parallel reading.
pub(crate) fn may_name_whole_row(filter: &str, table: &str) -> bool {
    let filter = filter.to_ascii_lowercase();
    let table = table.to_ascii_lowercase();
    // An identifier may consist of escaped characters.
    if filter.contains("u&\"") {
        return true;
    }
    let quoted = table.replace('"', "\"\"");
    let occurs = |name: &str| {
        !name.is_empty()
            && filter.match_indices(name).any(|(at, _)| {
                let (before, rest) = filter.split_at(at);
                !is_harmless(before, rest.get(name.len()..).unwrap_or_default(), name)
            })
    };
    occurs(&table) || occurs(&quoted)
}

/// Whether the name between these texts is a part of another name, or qualifies a column.
fn is_harmless(before: &str, after: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
    let is_inside = before.ends_with(is_part) || after.starts_with(is_part);
    // A name of full length may be the beginning of a longer one that the server cuts.
    if is_inside {
        return name.len() < NAME_BYTES_MAX - 3;
    }
    let before = before.strip_suffix('"').unwrap_or(before).trim_end();
    let after = after.strip_prefix('"').unwrap_or(after).trim_start();
    let column = after.strip_prefix('.').map(str::trim_start);
    let is_column = column.is_some_and(|column| column.starts_with(|c| is_part(c) || c == '"'));
    is_column && !before.ends_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_a_table() {
        for filter in [
            "a > 1",
            "orders.a > 1",
            "Orders . a > 1 AND \"orders\".\"b\" = 2",
            "reorders > 1 AND orders_2 < 3 AND orders$ IS NULL AND \u{e9}orders = 1",
            "(orders.a) IS NOT NULL",
        ] {
            assert!(!may_name_whole_row(filter, "orders"), "{filter}");
        }
        assert!(!may_name_whole_row("\"it\"\"s\".a = 1", "it\"s"));
    }

    #[test]
    fn whole_rows_and_other_uses() {
        for filter in [
            "orders IS NOT NULL",
            "ORDERS::text = ''",
            "(orders).a = 1",
            "f(orders.*)",
            "orders . * IS NULL",
            "public.orders.a = 1",
            "\"public\" . \"orders\".a = 1",
            "a = (SELECT max(a) FROM orders)",
            "U&\"\\006frders\" IS NULL",
            "orders/* */.a = 1",
        ] {
            assert!(may_name_whole_row(filter, "orders"), "{filter}");
        }
        assert!(may_name_whole_row("\"it\"\"s\" IS NULL", "it\"s"));
        let longest = "o".repeat(NAME_BYTES_MAX);
        assert!(may_name_whole_row(&format!("{longest}xyz IS NULL"), &longest));
    }
}
