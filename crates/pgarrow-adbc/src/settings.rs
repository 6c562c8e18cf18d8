//! The driver's own options, `pgarrow.<name>`: those of the command that have a meaning here, with its names
//! and its values. A database gives its options to its connections, and a connection to its statements.

use std::collections::BTreeMap;
use std::str::FromStr;

use pgarrow_export::ExportOptions;
use pgarrow_types::{ChoiceError, ColumnOptions, TypeOptions};

use crate::error::{Result, invalid_argument, not_implemented};
use crate::value::{refused, size};

/// What all these options begin with.
pub(crate) const PREFIX: &str = "pgarrow.";
const COLUMN: &str = "column.";

/// Options that are no choices about types.
const BATCH_ROWS: &str = "batch_rows";
const BATCH_BYTES: &str = "batch_bytes";
const MEMORY: &str = "memory";
const READERS: &str = "readers";
const SLICE_BYTES: &str = "slice_bytes";
const SPLIT_ON: &str = "split_on";
const PART_ROWS: &str = "whole_results";

/// The options that were set, by name without the prefix, as they were written.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Settings {
    set: BTreeMap<String, String>,
    /// Those that come from a connection or database. A choice there for a column that a result does not have
    /// means other results.
    inherited: BTreeMap<String, String>,
}

impl Settings {
    /// Sets an option; an empty text takes it back.
    ///
    /// # Errors
    ///
    /// There is no such option; the value is none that it has.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let Some(name) = key.strip_prefix(PREFIX) else {
            return Err(not_implemented(format!("there is no option {key}")));
        };
        let name = match name.strip_prefix(COLUMN) {
            Some(_) => name.to_owned(),
            None => name.replace('-', "_"),
        };
        if value.is_empty() {
            self.set.remove(&name);
            self.inherited.remove(&name);
            return Ok(());
        }
        let checked = apply(ExportOptions::default(), &mut TypeOptions::default(), &name, key, value);
        checked.map(drop)?;
        self.set.insert(name, value.to_owned());
        Ok(())
    }

    /// The value of an option, as it was written.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let name = key.strip_prefix(PREFIX)?;
        let name = if name.starts_with(COLUMN) { name.to_owned() } else { name.replace('-', "_") };
        self.set.get(&name).or_else(|| self.inherited.get(&name)).map(String::as_str)
    }

    /// Those of what is below.
    pub(crate) fn for_child(&self) -> Self {
        let mut inherited = self.inherited.clone();
        inherited.extend(self.set.clone());
        Self { set: BTreeMap::new(), inherited }
    }

    /// All as they are written, for a partition.
    pub(crate) fn all(&self) -> BTreeMap<String, String> {
        self.for_child().inherited
    }

    /// Those that a partition carries.
    ///
    /// # Errors
    ///
    /// As for [`set`](Self::set).
    pub(crate) fn of_partition(all: &BTreeMap<String, String>) -> Result<Self> {
        let mut settings = Self::default();
        for (name, value) in all {
            settings.set(&format!("{PREFIX}{name}"), value)?;
        }
        Ok(settings.for_child())
    }

    /// As options of an export. `has_column`: whether the result has a column of that name.
    ///
    /// # Errors
    ///
    /// As for [`set`](Self::set).
    pub(crate) fn options(&self, has_column: impl Fn(&str) -> bool) -> Result<ExportOptions> {
        let (mut options, mut types) = (ExportOptions::default(), TypeOptions::default());
        let other = |name: &&String| name.strip_prefix(COLUMN).is_none_or(&has_column);
        let inherited =
            self.inherited.iter().filter(|(name, _)| !self.set.contains_key(*name) && other(name));
        for (name, value) in inherited.chain(&self.set) {
            options = apply(options, &mut types, name, &format!("{PREFIX}{name}"), value)?;
        }
        Ok(options.with_types(types))
    }

    /// How many connections read a result, if that was chosen.
    pub(crate) fn readers(&self) -> Option<usize> {
        self.get(&format!("{PREFIX}{READERS}"))?.parse().ok()
    }

    /// Whether results come as a whole also inside of a transaction.
    pub(crate) fn has_whole_results(&self) -> bool {
        self.get(&format!("{PREFIX}{PART_ROWS}")) == Some("true")
    }
}

/// Adds one option.
fn apply(
    options: ExportOptions,
    types: &mut TypeOptions,
    name: &str,
    key: &str,
    value: &str,
) -> Result<ExportOptions> {
    if let Some(column) = name.strip_prefix(COLUMN) {
        let of_column: ColumnOptions = choice(key, value)?;
        return match column {
            "" => Err(refused(key, "name a column, as in pgarrow.column.total")),
            column => Ok(options.with_column(column, of_column)),
        };
    }
    let bytes = || {
        let bytes = size(key, value)?;
        usize::try_from(bytes).map_err(|_| refused(key, "that is more than this machine can address"))
    };
    match name {
        "infinity" => types.infinity = choice(key, value)?,
        "nan" => types.nan = choice(key, value)?,
        "out_of_range" => types.out_of_range = choice(key, value)?,
        "lost_digits" => types.lost_digits = choice(key, value)?,
        "numeric" => types.numeric = choice(key, value)?,
        "interval" => types.interval = choice(key, value)?,
        "arrays" => types.arrays = choice(key, value)?,
        "enum" => types.enums = choice(key, value)?,
        "trim" => {
            types.trim = value.parse().map_err(|_| refused(key, "write true or false"))?;
        }
        "strings" => types.strings = choice(key, value)?,
        "timestamp_unit" => types.timestamp_unit = choice(key, value)?,
        "encoding_policy" => types.encoding = choice(key, value)?,
        "unknown_types" => types.unknown_types = choice(key, value)?,
        "geometry" => types.geometry = choice(key, value)?,
        BATCH_ROWS => return Ok(options.with_batch_rows(count(key, value)?)),
        BATCH_BYTES => return Ok(options.with_batch_bytes(bytes()?)),
        MEMORY => return Ok(options.with_memory(bytes()?)),
        READERS => return Ok(options.with_readers(count(key, value)?)),
        SLICE_BYTES => return Ok(options.with_slice_bytes(size(key, value)?)),
        SPLIT_ON => return Ok(options.with_split_on(value)),
        PART_ROWS => {
            let _: bool = value.parse().map_err(|_| refused(key, "write true or false"))?;
        }
        _ => return Err(not_implemented(format!("there is no option {key}"))),
    }
    Ok(options)
}

fn choice<T: FromStr<Err = ChoiceError>>(key: &str, value: &str) -> Result<T> {
    value.parse().map_err(|why| refused(key, &format!("{why}")))
}

fn count(key: &str, value: &str) -> Result<usize> {
    let count: Option<usize> = value.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| invalid_argument(format!("option {key}: write a number from 1 on")))
}

#[cfg(test)]
mod tests {
    use adbc_core::error::Status;

    use super::*;

    #[test]
    fn every_choice_of_types_is_an_option() {
        let mut settings = Settings::default();
        for (key, value) in [
            ("pgarrow.infinity", "null"),
            ("pgarrow.nan", "null"),
            ("pgarrow.out_of_range", "saturate"),
            ("pgarrow.lost-digits", "round"),
            ("pgarrow.numeric", "decimal(20,4)"),
            ("pgarrow.interval", "struct"),
            ("pgarrow.arrays", "shaped"),
            ("pgarrow.enum", "text"),
            ("pgarrow.trim", "true"),
            ("pgarrow.strings", "view"),
            ("pgarrow.timestamp_unit", "ns"),
            ("pgarrow.encoding_policy", "replace"),
            ("pgarrow.unknown_types", "error"),
            ("pgarrow.geometry", "ewkb"),
            ("pgarrow.column.a", "text"),
            ("pgarrow.batch_rows", "10"),
            ("pgarrow.batch_bytes", "1M"),
            ("pgarrow.memory", "64M"),
            ("pgarrow.readers", "2"),
            ("pgarrow.slice_bytes", "8M"),
            ("pgarrow.split_on", "id"),
            ("pgarrow.whole_results", "true"),
        ] {
            settings.set(key, value).unwrap();
            assert_eq!(settings.get(key), Some(value));
        }
        assert_eq!(settings.get("pgarrow.lost_digits"), Some("round"));
        assert_eq!(settings.readers(), Some(2));
        let back = Settings::of_partition(&settings.all()).unwrap();
        assert_eq!(back.options(|_| true).unwrap().meaning(), settings.options(|_| true).unwrap().meaning());
    }

    #[test]
    fn what_is_no_option_is_refused() {
        let mut settings = Settings::default();
        for (key, value, status) in [
            ("colour", "red", Status::NotImplemented),
            ("pgarrow.colour", "red", Status::NotImplemented),
            ("pgarrow.numeric", "red", Status::InvalidArguments),
            ("pgarrow.column.a", "red", Status::InvalidArguments),
            ("pgarrow.column.", "text", Status::InvalidArguments),
            ("pgarrow.batch_rows", "0", Status::InvalidArguments),
            ("pgarrow.batch_bytes", "many", Status::InvalidArguments),
            ("pgarrow.trim", "yes", Status::InvalidArguments),
        ] {
            assert_eq!(settings.set(key, value).unwrap_err().status, status, "{key}");
        }
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn columns_of_other_results_are_no_error_in_a_connection() {
        let mut connection = Settings::default();
        connection.set("pgarrow.column.a", "text").unwrap();
        let mut statement = connection.for_child();
        let meaning = |settings: &Settings| settings.options(|name| name == "b").unwrap().meaning();
        assert_eq!(meaning(&statement), meaning(&Settings::default()));
        statement.set("pgarrow.column.a", "text").unwrap();
        assert_ne!(meaning(&statement), meaning(&Settings::default()));
    }
}
