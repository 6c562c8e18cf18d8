//! Files by partitions: a folder for each value of some columns, as Hive has it.
//!
//! ```text
//!  batch ─▶ Keys: rows by their values ─▶ for each partition: rows gathered ─▶ file being written ─▶ complete
//!                                           └ memory or files short: the largest, or the one not used for longest,
//!                                             is completed, and continued in a new file
//! ```
//!
//! Each reader has files of its own. [`PartitionBy`] is what a user says, `Keys` the same for the columns of
//! one table, `folder` has the names, and `sink` and `part` do the work.

mod date;
mod folder;
mod keys;
mod part;
mod sink;
mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use pgarrow_export::{Error, ErrorKind, Message, Result, message, option, parse_column_list};
use serde::{Deserialize, Serialize};

pub(crate) use self::keys::Keys;
pub use self::sink::PartitionFiles;
pub(crate) use self::sink::PartitionSink;

/// By what the files of a table are partitioned, the outermost folder first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PartitionBy {
    /// What the folders stand for. None: there are no partitions.
    pub keys: Vec<PartitionKey>,
    /// Whether columns that folders stand for are in the files, too.
    pub keep_columns: bool,
}

/// What the folders of one level stand for: the values of a column, or a part of its dates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PartitionKey {
    /// The column.
    pub column: String,
    /// The part; `None`: the whole value.
    pub part: Option<DatePart>,
}

/// The values of a partition by their names in paths; `None` for NULL.
pub type PartitionValues = BTreeMap<String, Option<String>>;

/// A part of a date.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DatePart {
    /// The year, from 1 to 9999.
    Year,
    /// The month, from 1.
    Month,
    /// The day of the month, from 1.
    Day,
    /// The hour, from 0. Of a timestamp with time zone, in UTC.
    Hour,
}

impl DatePart {
    const ALL: [Self; 4] = [Self::Year, Self::Month, Self::Day, Self::Hour];

    const fn word(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Day => "day",
            Self::Hour => "hour",
        }
    }
}

impl PartitionKey {
    /// Its name in paths, before it is encoded: `region`, `created_at_year`.
    pub fn name(&self) -> String {
        match self.part {
            None => self.column.clone(),
            Some(part) => format!("{}_{}", self.column, part.word()),
        }
    }

    /// Reads a list, as in `region, year(created_at)`. Names are folded to lower case unless they are
    /// "quoted".
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`]: an item that is none.
    pub fn parse_list(text: &str) -> Result<Vec<Self>> {
        let mut is_quoted = false;
        let items = text.split(|c| {
            is_quoted ^= c == '"';
            c == ',' && !is_quoted
        });
        items.map(str::parse).collect()
    }
}

impl FromStr for PartitionKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = || {
            let text = format!(
                "{text:?} is nothing to partition by; write a column, or a part of its dates: year(NAME), month(NAME), \
                 day(NAME) or hour(NAME)"
            );
            Error::new(ErrorKind::Options, text)
        };
        let trimmed = text.trim();
        let called = trimmed.strip_suffix(')').and_then(|text| text.split_once('('));
        let (part, name) = match called {
            Some((word, name)) if !word.contains('"') => {
                let word = word.trim().to_ascii_lowercase();
                let part = DatePart::ALL.into_iter().find(|part| part.word() == word).ok_or_else(refused)?;
                (Some(part), name)
            }
            _ if !trimmed.starts_with('"') && trimmed.contains(['(', ')']) => return Err(refused()),
            _ => (None, trimmed),
        };
        let [column] = <[String; 1]>::try_from(parse_column_list(name).map_err(|_| refused())?)
            .map_err(|_| refused())?;
        Ok(Self { column, part })
    }
}

/// As it is written: `region`, `year("At")`.
impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            None => write!(f, "{:?}", self.column),
            Some(part) => write!(f, "{}({:?})", part.word(), self.column),
        }
    }
}

impl PartitionBy {
    /// Whether there are partitions.
    pub fn is_some(&self) -> bool {
        !self.keys.is_empty()
    }
}

/// An error about what to partition by.
fn refused(subject: &str, why: impl fmt::Display) -> Error {
    let text: Message =
        message![format!("{subject} cannot be partitioned so: {why} ("), option::PARTITION_BY, ")"];
    Error::new(ErrorKind::Options, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_partition_by_as_it_is_written() {
        let keys =
            PartitionKey::parse_list("Region, YEAR(created_at) ,\"A,b\",month( \"C(d)\" ),\"x(y)\"").unwrap();
        let key = |column: &str, part| PartitionKey { column: column.to_owned(), part };
        let expected = [
            key("region", None),
            key("created_at", Some(DatePart::Year)),
            key("A,b", None),
            key("C(d)", Some(DatePart::Month)),
            key("x(y)", None),
        ];
        assert_eq!(keys, expected);
        assert_eq!(keys[1].name(), "created_at_year");
        for text in ["", "a,", "a b(c)", "week(a)", "year(a", "year()", "year(a,b)", "a)", "\"a"] {
            let error = PartitionKey::parse_list(text).unwrap_err().to_string();
            assert!(error.contains("nothing to partition by"), "{text}: {error}");
        }
    }
}
