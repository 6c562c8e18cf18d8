//! Expressions that move to another server: what they cast to has another name there.

/// The expression with other names of types. A server prints a cast as `::` and the type's name; `names` are
/// pairs of what it prints and what takes its place. What stands in quotes stays.
pub(super) fn with_casts_to(expression: &str, names: &[(&str, String)]) -> String {
    let mut moved = String::with_capacity(expression.len());
    let mut rest = expression;
    while let Some(next) = rest.chars().next() {
        if let Some(type_name) = rest.strip_prefix("::") {
            moved.push_str("::");
            rest = type_name;
            let is_it =
                |(printed, _): &&(&str, String)| type_name.strip_prefix(printed).is_some_and(is_end_of_name);
            if let Some((printed, here)) = names.iter().find(is_it) {
                moved.push_str(here);
                rest = type_name.get(printed.len()..).unwrap_or_default();
            }
            continue;
        }
        // A quote in quotes is doubled, so it looks like the end and the next beginning.
        let length = match next {
            '\'' | '"' => rest.get(1..).and_then(|inner| inner.find(next)).map_or(rest.len(), |end| end + 2),
            other => other.len_utf8(),
        };
        moved.push_str(rest.get(..length).unwrap_or_default());
        rest = rest.get(length..).unwrap_or_default();
    }
    moved
}

/// Whether a name ends where this text begins.
fn is_end_of_name(rest: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.' | '"');
    !rest.starts_with(goes_on)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_casts_get_other_names() {
        let names = [("s.mood", "t.mood".to_owned()), ("\"a b\"", "\"C\".x".to_owned())];
        for (expression, expected) in [
            ("CHECK ((VALUE <> 'x'::s.mood))", "CHECK ((VALUE <> 'x'::t.mood))"),
            ("'s.mood'::text", "'s.mood'::text"),
            ("'it''s ::s.mood'::s.mood[]", "'it''s ::s.mood'::t.mood[]"),
            ("'x'::s.moods || 'y'::s.mood2", "'x'::s.moods || 'y'::s.mood2"),
            ("s.mood(1)::\"a b\"", "s.mood(1)::\"C\".x"),
            ("\"::s.mood\"(E'\\\\')::s.mood", "\"::s.mood\"(E'\\\\')::t.mood"),
            ("'unended ::s.mood", "'unended ::s.mood"),
            ("ä::", "ä::"),
        ] {
            assert_eq!(with_casts_to(expression, &names), expected);
        }
    }
}
