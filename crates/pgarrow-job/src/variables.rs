//! Variables of the environment in the values of a job file: `${NAME}`.

/// Replaces `${NAME}` by the variable's value. `$${` is a `${`.
///
/// # Errors
///
/// Says which variable is not set, or that a name has no end.
pub(crate) fn expand(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = behind;
            continue;
        }
        expanded.push_str(before);
        let (name, behind) =
            behind.split_once('}').ok_or("a ${ has no }; write $${ for the two characters")?;
        let value = environment(name).ok_or_else(|| format!("the variable {name} is not set"))?;
        expanded.push_str(&value);
        rest = behind;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_once() {
        let environment = |name: &str| (name == "A").then(|| "${A}".to_owned());
        for (text, expected) in [
            ("", Ok("")),
            ("a $ b", Ok("a $ b")),
            ("x${A}y${A}", Ok("x${A}y${A}")),
            ("$${A}", Ok("${A}")),
            ("$$$${A}", Ok("$$${A}")),
            ("${B}", Err("the variable B is not set")),
            ("${A", Err("a ${ has no }; write $${ for the two characters")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(expand(text, &environment), expected, "{text}");
        }
    }
}
