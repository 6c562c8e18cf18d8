//! How two types of one name differ.

/// What a type is: pairs of a word and a text.
type Form = [(&'static str, String)];

/// The first difference of a type that is `found` from the `wanted` one. `moved`: the schema of the wanted one, and the
/// schema that takes its place here, which texts of checks and defaults may name.
pub(super) fn difference(wanted: &Form, found: &Form, moved: Option<(&str, &str)>) -> Option<String> {
    let is_same = |wanted: &str, found: &str| {
        let named = |schema: &str| format!("{}.", printed(schema));
        wanted == found || moved.is_some_and(|(from, to)| wanted.replace(&named(from), &named(to)) == found)
    };
    for index in 0..wanted.len().max(found.len()) {
        let number = |word: &str| match word {
            "label" | "attribute" => format!("{word} {}", index + 1),
            word => word.to_owned(),
        };
        match (wanted.get(index), found.get(index)) {
            (Some((word, wanted)), Some((other, found))) if word == other => {
                if !is_same(wanted, found) {
                    return Some(format!("its {} is {found} here, and {wanted} there", number(word)));
                }
            }
            (Some((word, wanted)), None) => {
                return Some(format!("it lacks the {} {wanted}", number(word)));
            }
            (None, Some((word, found))) => {
                return Some(format!("it also has the {} {found}", number(word)));
            }
            _ => return Some("it is another kind of type".to_owned()),
        }
    }
    None
}

/// A schema as the server prints it in front of a name.
fn printed(schema: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    match schema.chars().all(is_plain) && !schema.starts_with(|c: char| c.is_ascii_digit()) {
        true => schema.to_owned(),
        false => pgarrow_catalog::quote_identifier(schema),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_told() {
        let labels =
            |labels: &[&str]| labels.iter().map(|label| ("label", (*label).to_owned())).collect::<Vec<_>>();
        let of = |wanted: &[&str], found: &[&str]| difference(&labels(wanted), &labels(found), None);
        assert_eq!(of(&["a", "b"], &["a", "b"]), None);
        assert_eq!(of(&["a", "b"], &["a", "c"]).as_deref(), Some("its label 2 is c here, and b there"));
        assert_eq!(of(&["a", "b"], &["a"]).as_deref(), Some("it lacks the label 2 b"));
        assert_eq!(of(&["a"], &["a", "b"]).as_deref(), Some("it also has the label 2 b"));
        let check = |text: &str| vec![("check", text.to_owned())];
        let (wanted, found) = (check("CHECK (VALUE <> 'a'::s.mood)"), check("CHECK (VALUE <> 'a'::t.mood)"));
        assert!(difference(&wanted, &found, None).is_some());
        assert_eq!(difference(&wanted, &found, Some(("s", "t"))), None);
        assert_eq!(difference(&labels(&["a"]), &wanted, None).as_deref(), Some("it is another kind of type"));
    }
}
