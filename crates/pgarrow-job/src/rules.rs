//! What is read of single tables, and whether again or only what is new: the sections `[[table]]` of a job
//! file.

use std::time::Duration;

use pgarrow_export::{Error, ErrorKind, Result};
use pgarrow_load::LoadMode;

use crate::partition::{PartitionBy, PartitionKey};

/// What a job says of the tables that match a pattern. What is not said is as in the rules before.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct TableRule {
    /// A name or pattern, as psql takes it; without a schema, in any.
    pub pattern: String,
    /// Only these columns.
    pub columns: Option<Vec<String>>,
    /// Only the rows for which this condition holds.
    pub filter: Option<String>,
    /// What becomes of the rows of its target, if the job loads a server.
    pub mode: Option<LoadMode>,
    /// Whether only new rows are read, and how they are found.
    pub incremental: Option<Finding>,
    /// The column that grows, for [`Finding::Column`].
    pub column: Option<String>,
    /// How far below the largest value of the run before the next one begins.
    pub overlap: Option<Overlap>,
    /// The rows without a value in that column.
    pub nulls: Option<NullRows>,
    /// How old the last full read may be.
    pub full_every: Option<Duration>,
    /// What becomes of columns that were added.
    pub on_schema_change: Option<SchemaChange>,
    /// By what its files are partitioned; empty: they are not.
    pub partition_by: Option<Vec<PartitionKey>>,
    /// Whether columns that stand in the paths of partitions are in the files, too.
    pub keep_partition_columns: Option<bool>,
}

/// How new rows are found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Finding {
    /// They are not: each run reads all rows.
    #[default]
    No,
    /// By the transactions that wrote them (`xmin`).
    Xmin,
    /// By a column that grows.
    Column,
}

/// How far below the largest value of the run before the next one begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Overlap {
    /// For integers.
    Number(u64),
    /// For moments, and for the time in a UUID of version 7.
    Time(Duration),
}

/// The rows without a value in the column that grows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum NullRows {
    /// They come with every run.
    #[default]
    Always,
    /// They are left out.
    Never,
}

/// What becomes of columns that were added since the run before.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum SchemaChange {
    /// The run fails.
    #[default]
    Fail,
    /// New files have them, and older ones read NULL.
    Add,
    /// They are left out, with a warning.
    Ignore,
    /// All rows are read again, into a folder of their own.
    NewVersion,
}

impl TableRule {
    /// The words for [`incremental`](Self::incremental).
    pub(crate) const FINDINGS: &[(&str, Finding)] =
        &[("no", Finding::No), ("xmin", Finding::Xmin), ("column", Finding::Column)];
    /// The words for [`mode`](Self::mode).
    pub(crate) const MODES: &[(&str, LoadMode)] = &[
        ("append", LoadMode::Append),
        ("truncate", LoadMode::Truncate),
        ("create", LoadMode::Create),
        ("replace", LoadMode::Replace),
        ("upsert", LoadMode::Upsert),
    ];
    /// The words for [`nulls`](Self::nulls).
    pub(crate) const NULLS: &[(&str, NullRows)] = &[("always", NullRows::Always), ("never", NullRows::Never)];
    /// The words for [`on_schema_change`](Self::on_schema_change).
    pub(crate) const CHANGES: &[(&str, SchemaChange)] = &[
        ("fail", SchemaChange::Fail),
        ("add", SchemaChange::Add),
        ("ignore", SchemaChange::Ignore),
        ("new_version", SchemaChange::NewVersion),
    ];

    /// A rule that says nothing.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self { pattern: pattern.into(), ..Self::default() }
    }

    /// By what the files are partitioned.
    pub(crate) fn partitions(&self) -> PartitionBy {
        PartitionBy {
            keys: self.partition_by.clone().unwrap_or_default(),
            keep_columns: self.keep_partition_columns.unwrap_or_default(),
        }
    }

    /// What these rules say together: of two that say something about the same, the later one.
    pub(crate) fn together<'r>(name: &str, rules: impl Iterator<Item = &'r Self>) -> Result<Self> {
        let mut all = Self::new(name);
        for rule in rules.cloned() {
            all = Self {
                pattern: all.pattern,
                columns: rule.columns.or(all.columns),
                filter: rule.filter.or(all.filter),
                mode: rule.mode.or(all.mode),
                incremental: rule.incremental.or(all.incremental),
                column: rule.column.or(all.column),
                overlap: rule.overlap.or(all.overlap),
                nulls: rule.nulls.or(all.nulls),
                full_every: rule.full_every.or(all.full_every),
                on_schema_change: rule.on_schema_change.or(all.on_schema_change),
                partition_by: rule.partition_by.or(all.partition_by),
                keep_partition_columns: rule.keep_partition_columns.or(all.keep_partition_columns),
            };
        }
        if all.incremental == Some(Finding::Column) && all.column.is_none() {
            let text = format!("{name}: to find new rows by a column, say which one: column = \"…\"");
            return Err(Error::new(ErrorKind::Options, text));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_rule_wins_where_both_say_something() {
        let all = TableRule { incremental: Some(Finding::Xmin), ..TableRule::new("*.*") };
        let one = TableRule {
            columns: Some(vec!["a".to_owned()]),
            incremental: Some(Finding::No),
            ..TableRule::new("s.t")
        };
        let together = TableRule::together("s.t", [&all, &one].into_iter()).unwrap();
        assert_eq!(together, one);
        let together = TableRule::together("s.t", [&one, &all].into_iter()).unwrap();
        assert_eq!((together.columns, together.incremental), (one.columns, Some(Finding::Xmin)));
        let lacks = TableRule { incremental: Some(Finding::Column), ..TableRule::new("*") };
        let error = TableRule::together("s.t", [&lacks].into_iter()).unwrap_err().to_string();
        assert!(error.contains("s.t: to find new rows by a column"), "{error}");
    }
}
