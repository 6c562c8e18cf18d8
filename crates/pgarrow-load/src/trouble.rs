//! Differences between data and table, for people: as a sentence, or as a table if there are many.

use pgarrow_protocol::escape_control;
use pgarrow_session::{Error, ErrorKind};
use pgarrow_types::option::{ADD_COLUMNS, COLUMNS};
use pgarrow_types::{Message, message};

/// One difference.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// The column's name, or the field's.
    pub(crate) column: String,
    /// The column's type in the table.
    pub(crate) pg_type: Option<String>,
    /// The field's type in the data.
    pub(crate) arrow_type: Option<String>,
    pub(crate) why: Why,
}

/// Why a column does not fit.
#[derive(Debug)]
pub(crate) enum Why {
    /// The data has two fields of this name.
    Twice,
    /// The table has no such column. `meant`: a hint at the likely name, or empty.
    Unknown { meant: String },
    /// The data lacks a column that the user chose.
    NotInData,
    /// The data lacks a column that must not be NULL.
    Missing,
    /// The role may not INSERT into it.
    MayNotInsert,
    /// Its type changed since the load was planned.
    Changed,
    /// The types cannot be converted.
    Type(Message),
}

/// More differences than this become a table.
const LINE_MAX: usize = 2;

impl Trouble {
    /// The difference as part of a sentence.
    fn sentence(&self) -> Message {
        let name = &self.column;
        let text = match &self.why {
            Why::Twice => format!("the data has two columns {name:?}"),
            Why::Unknown { .. } => {
                return self.remark().behind(format!("the table has no column {name:?}"));
            }
            Why::NotInData => format!("the data has no column {name:?}"),
            Why::Missing => format!("column {name:?} must not be NULL, and the data has no such column"),
            Why::MayNotInsert => format!("the role may not INSERT into column {name:?}"),
            Why::Changed => {
                format!("column {name:?} became another type while the load was planned; start again")
            }
            Why::Type(why) => {
                let [pg_type, arrow_type] =
                    [&self.pg_type, &self.arrow_type].map(|of| of.as_deref().unwrap_or("-"));
                let types = format!("column {name:?} is {pg_type}, and {arrow_type} in the data: ");
                return why.clone().behind(types);
            }
        };
        text.into()
    }

    /// The difference as the last cell of a row with the column and both types.
    fn remark(&self) -> Message {
        let text = match &self.why {
            Why::Twice => "the data has this column twice",
            Why::Unknown { meant } if !meant.is_empty() => meant.as_str(),
            Why::Unknown { .. } => {
                return message![" (", ADD_COLUMNS, " adds it, ", COLUMNS, " leaves it out)"];
            }
            Why::NotInData => "the data has no such column",
            Why::Missing => "must not be NULL, and has no default",
            Why::MayNotInsert => "the role may not INSERT into it",
            Why::Changed => "became another type while the load was planned; start again",
            Why::Type(why) => return why.clone(),
        };
        text.into()
    }

    /// The column and both types, and the remark.
    fn cells(&self) -> ([String; 3], Message) {
        let of = |side: &Option<String>| side.as_deref().map_or_else(|| "-".to_owned(), shortened);
        let remark = match &self.why {
            Why::Unknown { .. } => self.remark().behind("the table has no such column"),
            _ => self.remark(),
        };
        // Escaped before the widths are measured.
        let cells = [self.column.clone(), of(&self.pg_type), of(&self.arrow_type)];
        (cells.map(|cell| escape_control(&cell)), remark)
    }
}

/// The error with all differences.
pub(crate) fn refusal(troubles: &[Trouble], target: &str) -> Error {
    if troubles.len() <= LINE_MAX {
        let sentences = Message::join(troubles.iter().map(Trouble::sentence), "; ");
        let text = sentences.behind(format!("this cannot be loaded into {target}: "));
        return Error::new(ErrorKind::Options, text);
    }
    let text = format!("this cannot be loaded into {target}: {} columns do not fit", troubles.len());
    Error::new(ErrorKind::Options, text).with_problems(table(troubles))
}

/// The beginning of a long type name, so that the row fits into a line.
fn shortened(type_name: &str) -> String {
    const CHARS_MAX: usize = 40;
    match type_name.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", type_name.get(..end).unwrap_or_default()),
        None => type_name.to_owned(),
    }
}

/// The lines of the table, with a header.
fn table(troubles: &[Trouble]) -> Vec<Message> {
    let head = (["column", "in the table", "in the data"].map(str::to_owned), "what is wrong".into());
    let rows: Vec<_> = std::iter::once(head).chain(troubles.iter().map(Trouble::cells)).collect();
    let width = |index: usize| rows.iter().map(|(cells, _)| cells[index].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let line = |([name, pg_type, arrow_type], why): &([String; 3], Message)| {
        let [first, second, third] = widths;
        why.clone().behind(format!("{name:first$}  {pg_type:second$}  {arrow_type:third$}  "))
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(column: &str, pg_type: Option<&str>, arrow_type: Option<&str>, why: Why) -> Trouble {
        let [pg_type, arrow_type] = [pg_type, arrow_type].map(|of| of.map(str::to_owned));
        Trouble { column: column.to_owned(), pg_type, arrow_type, why }
    }

    /// Regression: all differences were one line, and among three hundred columns nobody found the wrong
    /// one.
    #[test]
    fn few_are_a_sentence_and_many_a_table() {
        let unknown = || Why::Unknown { meant: " (did you mean \"name\"?)".to_owned() };
        let mut troubles = vec![
            trouble("nmae", None, Some("Utf8"), unknown()),
            trouble("id", Some("integer"), Some("Utf8"), Why::Type("text is no number".into())),
        ];
        let few = refusal(&troubles, "public.t");
        assert!(few.problems().is_empty(), "{few}");
        assert!(few.to_string().contains("no column \"nmae\" (did you mean"), "{few}");
        assert!(
            few.to_string().ends_with("column \"id\" is integer, and Utf8 in the data: text is no number")
        );

        assert_eq!(shortened(&"ü".repeat(41)), format!("{}…", "ü".repeat(40)));
        assert_eq!(shortened(&"ü".repeat(40)), "ü".repeat(40));
        troubles.push(trouble("ü\n", Some("timestamp with time zone"), None, Why::Missing));
        let many = refusal(&troubles, "public.t");
        assert!(
            many.to_string()
                .starts_with("this cannot be loaded into public.t: 3 columns do not fit\n  column ")
        );
        let expected = [
            "column  in the table              in the data  what is wrong",
            "nmae    -                         Utf8         the table has no such column (did you mean \"name\"?)",
            "id      integer                   Utf8         text is no number",
            "ü\\u{a}  timestamp with time zone  -            must not be NULL, and has no default",
        ];
        assert_eq!(many.problems(), expected, "{many}");
        assert_eq!(many.to_string().lines().count(), 5);
    }
}
