//! What a user could choose instead, as data. Errors, warnings and notes carry it; the program that shows
//! them chooses the words.
//!
//! ```text
//!  Hint::Choice { option: INFINITY, values: [null, saturate] }
//!    the library   infinity=null|saturate
//!    the command   its flag, and the values behind it
//! ```

use std::fmt;

/// An option of an export, a load or an output: the name of its `with_…` method, or of its field in
/// [`TypeOptions`](crate::TypeOptions). The constants are in [`option`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct OptionName(&'static str);

impl OptionName {
    /// The name, in lower case and with underscores.
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// A hint that one of these values helps. Several are separated by `|`.
    pub fn to(self, values: &str) -> Hint {
        Hint::Choice { option: self, values: values.split('|').map(str::to_owned).collect() }
    }
}

/// A call of this library that messages name: a function, or a method with its type. The constants are in
/// [`call`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CallName(&'static str);

impl CallName {
    /// The name, as rustdoc prints it.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

/// An option or call that helps, or decides. [`Display`](fmt::Display) names options as this library does.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Hint {
    /// An option of the run, and the values that help. Without values, the right value depends on the user.
    Choice {
        /// Which option.
        option: OptionName,
        /// One of them helps. Capitals are placeholders: `decimal(P,S)`.
        values: Vec<String>,
    },
    /// A choice for one column.
    Column {
        /// The column's name.
        column: String,
        /// In the syntax of [`ColumnOptions`](crate::ColumnOptions): `text`, `numeric=text`.
        choice: String,
    },
    /// A parameter of the server's session.
    Setting {
        /// The parameter's name.
        name: String,
        /// Its value. Capitals and `…` are placeholders.
        value: String,
    },
    /// More memory.
    Memory {
        /// The number of bytes that is enough, if it is known.
        needed: Option<u64>,
    },
    /// Another call of the library: it shows or does what is missing.
    Call {
        /// Which call.
        call: CallName,
    },
}

impl Hint {
    /// A choice for one column.
    pub fn column(column: &str, choice: impl Into<String>) -> Self {
        Self::Column { column: column.to_owned(), choice: choice.into() }
    }

    /// A parameter of the server's session.
    pub fn setting(name: &str, value: &str) -> Self {
        Self::Setting { name: name.to_owned(), value: value.to_owned() }
    }

    /// This amount of memory, in bytes.
    pub fn memory(needed: usize) -> Self {
        Self::Memory { needed: Some(needed as u64) }
    }

    /// The option that the hint is about. A call has none.
    pub fn option(&self) -> Option<OptionName> {
        match self {
            Self::Choice { option, .. } => Some(*option),
            Self::Column { .. } => Some(option::COLUMN),
            Self::Setting { .. } => Some(option::SETTING),
            Self::Memory { .. } => Some(option::MEMORY),
            Self::Call { .. } => None,
        }
    }

    /// The option's value as a user writes it: `null|saturate`, `total:text`. Empty where it depends on the
    /// user.
    pub fn value(&self) -> String {
        match self {
            Self::Choice { values, .. } => values.join("|"),
            Self::Column { column, choice } => format!("{}:{choice}", typed(column)),
            Self::Setting { name, value } => format!("{name}={value}"),
            // The sentence around it names the amount.
            Self::Memory { .. } | Self::Call { .. } => String::new(),
        }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.option().map_or("", OptionName::as_str);
        match (self, self.value()) {
            (Self::Call { call }, _) => write!(f, "`{}`", call.as_str()),
            (_, value) if value.is_empty() => write!(f, "option {name}"),
            (Self::Column { .. } | Self::Setting { .. }, value) => write!(f, "{name} {value}"),
            (Self::Choice { .. } | Self::Memory { .. }, value) => write!(f, "{name}={value}"),
        }
    }
}

impl From<CallName> for Hint {
    fn from(call: CallName) -> Self {
        Self::Call { call }
    }
}

/// A name as a user types it: quoted only where necessary.
fn typed(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let needs_quotes =
        name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_plain);
    if needs_quotes { format!("\"{}\"", name.replace('"', "\"\"")) } else { name.to_owned() }
}

/// The options that messages name.
pub mod option {
    use super::OptionName;

    macro_rules! options {
        ($($constant:ident, $name:literal, $what:literal;)*) => {
            $(
                #[doc = $what]
                pub const $constant: OptionName = OptionName($name);
            )*

            /// All of them. A program with its own names for options must know each.
            pub const ALL: &[OptionName] = &[$($constant),*];
        };
    }

    options! {
        ADD_COLUMNS, "add_columns", "Of a load: columns that the table does not have.";
        ALLOW_MIXED_SNAPSHOTS, "allow_mixed_snapshots", "Of a job: whether tables may be of several moments.";
        ARRAYS, "arrays", "What arrays become.";
        BATCH_BYTES, "batch_bytes", "How large batches are.";
        COLUMN, "column", "Choices for one column.";
        COLUMNS, "columns", "Which columns.";
        COMMIT_EVERY, "commit_every", "Of a load: how many rows are committed together.";
        CONVERSIONS, "conversions", "Of a load: what may be done to values.";
        CREATE_TYPES, "create_types", "Of a load: whether it makes the types of a new table.";
        ENCODING, "encoding", "What becomes of text that is not UTF-8.";
        ENUMS, "enums", "What enums become.";
        EXCLUDE_TABLE, "exclude_table", "Tables that are left out.";
        FORMAT, "format", "Of a load: what files are.";
        FULL, "full", "Of a job: whether all rows are read, also where only new ones would be.";
        GEOMETRY, "geometry", "What geometries become.";
        IDENTITY, "identity", "Of a load: who numbers rows.";
        INCONSISTENT, "inconsistent", "Readers with snapshots of their own.";
        INFINITY, "infinity", "What becomes of infinities.";
        INTERVAL, "interval", "What intervals become.";
        KEEP_PARTITION_COLUMNS, "keep_partition_columns", "Of an output: columns of partitions, in files, too.";
        KEY, "key", "Of a load: what tells rows apart.";
        LOCK_TIMEOUT, "lock_timeout", "How long to wait for locks.";
        LOST_DIGITS, "lost_digits", "What becomes of digits that are not kept.";
        MEMORY, "memory", "How much memory a run may take.";
        METHOD, "method", "Of a load: by which statement.";
        MODE, "mode", "Of a load: what becomes of rows that are there.";
        NAN, "nan", "What becomes of NaN.";
        NUMERIC, "numeric", "What numerics become.";
        ONLY, "only", "A table without its children.";
        ON_CONFLICT, "on_conflict", "Of a load: what becomes of rows whose key is there.";
        OUT_OF_RANGE, "out_of_range", "What becomes of values out of range.";
        OVERWRITE, "overwrite", "Of an output: whether it may take the place of another one.";
        PARQUET_COLUMN, "parquet_column", "Of an output: how one column is written to Parquet.";
        PARTITION_BY, "partition_by", "Of an output: by what its files are partitioned.";
        READERS, "readers", "How many connections read.";
        READ_MODE, "read_mode", "How rows are asked for.";
        REJECT_LIMIT, "reject_limit", "How many rows may be bad.";
        RESTART_KEY, "restart_key", "Of a load: by what it is known when it is started again.";
        RESUME, "resume", "Of a job: whether it goes on where a run that is dead has ended.";
        SETTING, "setting", "A parameter of the server's session.";
        SLICE_BYTES, "slice_bytes", "How large slices are.";
        SNAPSHOT, "snapshot", "Of a job: the held snapshot that its tables are read under.";
        SORTED_BY, "sorted_by", "Of an output: the order in which rows come.";
        SPLIT_ON, "split_on", "The column whose ranges are the slices.";
        TAKE_OVER, "take_over", "Of a job: whether it takes the place of a run that is dead.";
        TIMESTAMP_UNIT, "timestamp_unit", "The unit of timestamps.";
        TRIM, "trim", "Whether the blanks that pad a text are cut.";
        TYPES_FROM, "types_from", "Of a load: what says which types columns have.";
        UNKNOWN_TYPES, "unknown_types", "What becomes of types that are not decoded.";
        WRITERS, "writers", "Of a load: how many connections load.";
    }
}

/// The calls that messages name.
pub mod call {
    use super::CallName;

    /// Allows roles that are no superusers to read pages.
    pub const INSTALL_PAGES: CallName = CallName("install_pages_sql");
    /// Whether tables can be read by pages, and the reason if not.
    pub const PAGES_STATUS: CallName = CallName("Source::pages_status");
    /// What a run would read.
    pub const PLAN: CallName = CallName("Run::plan");
    /// Writes to standard output.
    pub const STDOUT: CallName = CallName("Output::stdout");

    /// All of them. A program with its own names for calls must know each.
    pub const ALL: &[CallName] = &[INSTALL_PAGES, PAGES_STATUS, PLAN, STDOUT];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_in_the_librarys_words() {
        let needed = Some(1 << 20);
        for (hint, words) in [
            (option::INFINITY.to("null|saturate"), "infinity=null|saturate"),
            (Hint::Choice { option: option::SPLIT_ON, values: Vec::new() }, "option split_on"),
            (Hint::column("total", "numeric=text"), "column total:numeric=text"),
            (Hint::column("Of \"It\"", "text"), "column \"Of \"\"It\"\"\":text"),
            (Hint::setting("row_security", "on"), "setting row_security=on"),
            (Hint::Memory { needed }, "option memory"),
            (call::PLAN.into(), "`Run::plan`"),
        ] {
            assert_eq!(hint.to_string(), words);
        }
    }

    #[test]
    fn every_option_and_call_has_a_name_of_its_own() {
        let mut names = option::ALL.to_vec();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), option::ALL.len());
        let is_plain = |c: char| c.is_ascii_lowercase() || c == '_';
        assert!(names.iter().all(|name| name.as_str().chars().all(is_plain)), "{names:?}");
        let mut calls = call::ALL.to_vec();
        calls.sort();
        calls.dedup();
        assert_eq!(calls.len(), call::ALL.len());
    }
}
