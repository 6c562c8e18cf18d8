//! What policies did to values, in numbers and in words.

use std::collections::BTreeMap;

use pgarrow_decode::{Effect, Effects};

use super::Report;
use crate::column_report::ColumnReport;

impl Report {
    /// What policies did to values, one line for each column and policy: `column "d": 3 infinities became
    /// NULL`. With many tables, each line begins with the table.
    pub fn effects_text(&self) -> Vec<String> {
        let of_one = self.columns.iter().flat_map(|column| lines(None, column));
        let of_tables = self
            .tables
            .iter()
            .flat_map(|table| table.columns.iter().flat_map(|column| lines(Some(&table.table), column)));
        of_one.chain(of_tables).collect()
    }
}

/// The counts that are not 0, by their names in the report.
pub(super) fn counts(effects: &Effects) -> BTreeMap<String, u64> {
    effects.iter().map(|(effect, count)| (words(effect).key.to_owned(), count)).collect()
}

fn lines<'a>(table: Option<&'a str>, column: &'a ColumnReport) -> impl Iterator<Item = String> + 'a {
    let counted = Effect::ALL.into_iter().filter_map(|effect| {
        let words = words(effect);
        Some((words, *column.effects.get(words.key)?))
    });
    counted.map(move |(words, count)| {
        let table = table.map(|table| format!("{table}, ")).unwrap_or_default();
        let what = if count == 1 { words.one } else { words.many };
        format!("{table}column {:?}: {count} {what} {}", column.name, words.fate)
    })
}

/// The words for an effect.
#[derive(Clone, Copy)]
struct Words {
    key: &'static str,
    one: &'static str,
    many: &'static str,
    fate: &'static str,
}

fn words(effect: Effect) -> Words {
    let words = |key, one, many, fate| Words { key, one, many, fate };
    let extreme = "became the largest or smallest value";
    match effect {
        Effect::InfinityNulled => words("infinity_nulled", "infinity", "infinities", "became NULL"),
        Effect::InfinitySaturated => words("infinity_saturated", "infinity", "infinities", extreme),
        Effect::NanNulled => words("nan_nulled", "NaN or infinity", "NaN or infinities", "became NULL"),
        Effect::OutOfRangeNulled => {
            words("out_of_range_nulled", "value out of range", "values out of range", "became NULL")
        }
        Effect::OutOfRangeSaturated => {
            words("out_of_range_saturated", "value out of range", "values out of range", extreme)
        }
        Effect::TextReplaced => {
            words("text_replaced", "text", "texts", "had bytes replaced that are not UTF-8")
        }
        Effect::Trimmed => words("trimmed", "value", "values", "lost padding"),
        Effect::LowerBoundDropped => {
            let many = "arrays that do not count from 1";
            words("lower_bound_dropped", "array that does not count from 1", many, "became lists that do")
        }
        Effect::EndOfDay => words("end_of_day", "time", "times", "of 24:00:00, which strict readers refuse"),
        Effect::Rounded => words("rounded", "value", "values", "lost digits, rounded to those that are kept"),
        // A new effect gets a name of its own with the change that adds it.
        _ => words("other", "value", "values", "became another one"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_effect_has_a_name_and_a_sentence() {
        let mut effects = Effects::default();
        Effect::ALL.into_iter().zip(1..).for_each(|(effect, count)| effects.add(effect, count));
        let effects = counts(&effects);
        assert_eq!(effects.len(), Effect::ALL.len());
        assert!(!effects.contains_key("other"));
        let column = ColumnReport {
            name: "d".to_owned(),
            pg_type: String::new(),
            arrow_type: String::new(),
            nullable: true,
            effects,
        };
        let of_one: Vec<String> = lines(None, &column).collect();
        assert_eq!(of_one[0], "column \"d\": 1 infinity became NULL");
        assert_eq!(of_one[7], "column \"d\": 8 arrays that do not count from 1 became lists that do");
        assert_eq!(of_one[8], "column \"d\": 9 times of 24:00:00, which strict readers refuse");
        assert_eq!(of_one[9], "column \"d\": 10 values lost digits, rounded to those that are kept");
        let of_table: Vec<String> = lines(Some("s.t"), &column).collect();
        assert_eq!(of_table[1], "s.t, column \"d\": 2 infinities became the largest or smallest value");
    }
}
