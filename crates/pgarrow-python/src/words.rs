//! Texts in the words of Python: arguments in place of flags.

use pgarrow::Hint;
use pgarrow_cli::embedded;

/// Flags whose arguments have other names.
const RENAMED: [(&str, &str); 8] = [
    ("output", "to"),
    ("to", "format"),
    ("tables", "table"),
    ("for", "hold_for"),
    ("settings", "set"),
    ("set", "set"),
    ("param", "params"),
    ("exclude-table", "exclude_table"),
];

/// From now on, hints name arguments.
pub(crate) fn install() {
    embedded::translate_hints(hint);
}

/// The argument of a flag, given without dashes.
pub(crate) fn argument(flag: &str) -> String {
    let renamed = RENAMED.iter().find(|(from, _)| *from == flag).map(|(_, to)| (*to).to_owned());
    renamed.unwrap_or_else(|| flag.replace('-', "_"))
}

/// A hint as one writes it: `numeric="text"`, `column={"total": "text"}`.
fn hint(hint: &Hint, flag: &str) -> String {
    let name = argument(flag);
    match hint {
        Hint::Column { column, choice } => format!("{name}={{{column:?}: {choice:?}}}"),
        Hint::Setting { name: setting, value } => format!("{name}={{{setting:?}: {value:?}}}"),
        Hint::Memory { .. } => name,
        Hint::Call { call } => format!("`{}`", call.as_str()),
        Hint::Choice { values, .. } => {
            let values: Vec<String> = values.iter().map(|value| format!("{name}={value:?}")).collect();
            if values.is_empty() { name } else { values.join(" or ") }
        }
        // Hints of kinds to come.
        other => format!("{name}={:?}", other.value()),
    }
}

/// A text of the command with its flags as arguments: `--batch-rows` becomes `batch_rows`, `-o` becomes `to`.
pub(crate) fn arguments(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let starts = !before.is_alphanumeric() && before != '-';
        let flag = rest.strip_prefix("--").map(flag_at).filter(|name| starts && !name.is_empty());
        if let Some(name) = flag {
            shown.push_str(&argument(name));
            rest = rest.get(2 + name.len()..).unwrap_or_default();
            before = 'x';
        } else if starts && short_flag(rest) {
            shown.push_str("to");
            rest = rest.get(2..).unwrap_or_default();
            before = 'x';
        } else {
            shown.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            before = first;
        }
    }
    shown
}

/// `-o`, as a word.
fn short_flag(text: &str) -> bool {
    text.strip_prefix("-o").is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-'))
}

/// The name that a text begins with.
fn flag_at(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_lowercase() || c == '-')).unwrap_or(text.len());
    text.get(..end).unwrap_or_default().trim_end_matches('-')
}
