//! What the library says, as the command says it: options are flags.

use pgarrow::{Error, Hint, Message, Note, OptionName, PlanReport, Report, option};
use pgarrow_load::LoadReport;

/// The flag of an option.
pub(crate) fn flag(option: OptionName) -> String {
    let name = match option {
        option::CONVERSIONS => "convert",
        option::ENCODING => "encoding-policy",
        option::ENUMS => "enum",
        option::SETTING => "set",
        same => return format!("--{}", same.as_str().replace('_', "-")),
    };
    format!("--{name}")
}

/// A message in the command's words.
pub(crate) fn message(message: &Message) -> String {
    message.with_words(&words)
}

/// An error in the command's words.
pub(crate) fn error(error: &Error) -> String {
    error.with_words(&words)
}

/// A hint as one would type it.
fn words(hint: &Hint) -> String {
    let (flag, value) = (flag(hint.option()), hint.value());
    match hint.option() {
        _ if value.is_empty() => flag,
        // It is a name of somebody's choice.
        option::RESTART_KEY => format!("{flag} {}", shell_quoted(&value)),
        _ => format!("{flag} {value}"),
    }
}

/// One word of a command.
fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// An export's report, for people and for JSON.
pub(crate) fn report(report: &mut Report) {
    let Report { slicing, page_notes, warnings, .. } = report;
    put([slicing].into_iter().chain(page_notes).chain(warnings));
}

/// A load's.
pub(crate) fn load_report(report: &mut LoadReport) {
    put(&mut report.warnings);
}

/// A plan's.
pub(crate) fn plan(mut report: PlanReport) -> PlanReport {
    let PlanReport { slicing, page_notes, warnings, .. } = &mut report;
    put([slicing].into_iter().chain(page_notes).chain(warnings));
    report
}

/// What there is to know of columns.
pub(crate) fn notes(mut notes: Vec<Note>) -> Vec<Note> {
    put(notes.iter_mut().filter_map(|note| note.option.as_mut()));
    notes
}

fn put<'a>(messages: impl IntoIterator<Item = &'a mut Message>) {
    messages.into_iter().for_each(|text| *text = message(text).into());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;
    use pgarrow::message;

    use super::*;
    use crate::flags::Flags;

    fn flags_of(command: &clap::Command, found: &mut BTreeSet<String>) {
        found.extend(
            command.get_arguments().filter_map(|argument| Some(format!("--{}", argument.get_long()?))),
        );
        command.get_subcommands().for_each(|command| flags_of(command, found));
    }

    /// An option that the library names is one that can be typed.
    #[test]
    fn every_option_is_a_flag() {
        let mut known = BTreeSet::new();
        flags_of(&Flags::command(), &mut known);
        let flags = option::ALL.iter().map(|option| flag(*option));
        assert_eq!(flags.filter(|flag| !known.contains(flag)).collect::<Vec<_>>(), Vec::<String>::new());
    }

    #[test]
    fn hints_are_as_one_types_them() {
        let key = Hint::Choice { option: option::RESTART_KEY, values: vec!["it's".to_owned()] };
        let said = message![
            "choose ",
            option::ENCODING.to("replace|binary"),
            ", ",
            Hint::column("Of It", "text"),
            ", ",
            Hint::setting("a", "b"),
            ", ",
            Hint::memory(1),
            " or ",
            key
        ];
        let expected = "choose --encoding-policy replace|binary, --column \"Of It\":text, --set a=b, --memory or \
                        --restart-key 'it'\\''s'";
        assert_eq!(super::message(&said), expected);
    }
}
