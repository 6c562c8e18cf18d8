//! How two types of one name differ.

/// What a type is: pairs of a word and a text.
type Form = [(&'static str, String)];

/// The first difference of a type that is `found` from the `wanted` one.
pub(super) fn difference(wanted: &Form, found: &Form) -> Option<String> {
    for index in 0..wanted.len().max(found.len()) {
        let number = |word: &str| match word {
            "label" | "attribute" => format!("{word} {}", index + 1),
            word => word.to_owned(),
        };
        match (wanted.get(index), found.get(index)) {
            (Some((word, wanted)), Some((other, found))) if word == other => {
                if wanted != found {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_told() {
        let labels =
            |labels: &[&str]| labels.iter().map(|label| ("label", (*label).to_owned())).collect::<Vec<_>>();
        let of = |wanted: &[&str], found: &[&str]| difference(&labels(wanted), &labels(found));
        assert_eq!(of(&["a", "b"], &["a", "b"]), None);
        assert_eq!(of(&["a", "b"], &["a", "c"]).as_deref(), Some("its label 2 is c here, and b there"));
        assert_eq!(of(&["a", "b"], &["a"]).as_deref(), Some("it lacks the label 2 b"));
        assert_eq!(of(&["a"], &["a", "b"]).as_deref(), Some("it also has the label 2 b"));
        let check = vec![("check", "CHECK (true)".to_owned())];
        assert_eq!(difference(&labels(&["a"]), &check).as_deref(), Some("it is another kind of type"));
    }
}
