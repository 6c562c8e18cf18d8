//! The library's messages in the command's words: options become flags, or arguments where a program that
//! embeds the command has named itself.

use std::sync::OnceLock;

use pgarrow::{
    CallName, Error, Hint, Message, Note, OptionName, PagesStatus, PlanReport, Report, call, option,
};
use pgarrow_load::LoadReport;

/// Set where the words are not those of a command line.
static TRANSLATION: OnceLock<Translation> = OnceLock::new();

/// Makes another text of a hint.
type Translation = fn(&Hint, &str) -> String;

/// From now on, the library's hints are said as `translation` says them, which gets the hint and the name of
/// its flag without dashes. For the whole process; the first call counts.
pub(crate) fn translate(translation: Translation) {
    let _ = TRANSLATION.set(translation);
}

/// The flag of an option.
pub(crate) fn flag(option: OptionName) -> String {
    format!("--{}", flag_name(option))
}

fn flag_name(option: OptionName) -> String {
    match option {
        option::CONVERSIONS => "convert".to_owned(),
        option::ENCODING => "encoding-policy".to_owned(),
        option::ENUMS => "enum".to_owned(),
        option::SETTING => "set".to_owned(),
        same => same.as_str().replace('_', "-"),
    }
}

/// The command that does the same as a call of the library.
fn command(call: CallName) -> &'static str {
    match call {
        call::INSTALL_PAGES => "pgarrow pages install",
        call::PAGES_STATUS => "pgarrow pages status",
        call::PLAN => "pgarrow plan",
        call::STDOUT => "-o -",
        same => same.as_str(),
    }
}

/// A message in the command's words.
pub(crate) fn message(message: &Message) -> String {
    message.with_words(&words)
}

/// An error in the command's words.
pub(crate) fn error(error: &Error) -> String {
    error.with_words(&words)
}

/// A hint as a user types it.
fn words(hint: &Hint) -> String {
    let (option, value) = (hint.option(), hint.value());
    if let Some(translate) = TRANSLATION.get() {
        return translate(hint, &option.map(flag_name).unwrap_or_default());
    }
    match (hint, option.map(flag).unwrap_or_default()) {
        (Hint::Call { call }, _) => format!("`{}`", command(*call)),
        (_, flag) if value.is_empty() => flag,
        // The user chose this value, so it needs quotes.
        (_, flag) if option == Some(option::RESTART_KEY) => format!("{flag} {}", shell_quoted(&value)),
        (_, flag) => format!("{flag} {value}"),
    }
}

/// A text as one word of a shell command.
fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Puts an export's report into the command's words, for people and for JSON.
pub(crate) fn report(report: &mut Report) {
    let Report { slicing, page_notes, tables, warnings, .. } = report;
    let of_tables = tables.iter_mut().flat_map(|table| &mut table.warnings);
    put([slicing].into_iter().chain(page_notes).chain(of_tables).chain(warnings));
}

/// Puts a load's report into the command's words.
pub(crate) fn load_report(report: &mut LoadReport) {
    put(&mut report.warnings);
}

/// A plan's report in the command's words.
pub(crate) fn plan(mut report: PlanReport) -> PlanReport {
    let PlanReport { slicing, page_notes, warnings, .. } = &mut report;
    put([slicing].into_iter().chain(page_notes).chain(warnings));
    report
}

/// The status of reading by pages, in the command's words.
pub(crate) fn pages_status(mut status: PagesStatus) -> PagesStatus {
    let of_tables = status.tables.iter_mut().flat_map(|table| &mut table.why_not);
    put(status.why_not.iter_mut().chain(&mut status.advice).chain(of_tables));
    status
}

/// Notes about columns, in the command's words.
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

    use pgarrow::message;

    use super::*;
    use crate::flags::described;

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
        flags_of(&described(), &mut known);
        let flags = option::ALL.iter().map(|option| flag(*option));
        assert_eq!(flags.filter(|flag| !known.contains(flag)).collect::<Vec<_>>(), Vec::<String>::new());
    }

    /// A call that the library names is a command, or a flag with its value.
    #[test]
    fn every_call_can_be_typed() {
        for call in call::ALL {
            let typed: Vec<&str> = command(*call).split(' ').collect();
            let mut known = &described();
            match typed.as_slice() {
                ["pgarrow", names @ ..] => {
                    for name in names {
                        known = known.find_subcommand(name).unwrap_or_else(|| panic!("{typed:?}"));
                    }
                }
                [flag, "-"] => {
                    let export = known.find_subcommand("export").unwrap();
                    let is_it = |short: char| *flag == format!("-{short}");
                    assert!(export.get_arguments().any(|argument| argument.get_short().is_some_and(is_it)));
                }
                _ => panic!("{typed:?}"),
            }
        }
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
