//! The place of the row at which an export stopped, and a SELECT that shows it.
//!
//! The SELECT is for people: it works in psql as it is. It names the range that was being read, and either a
//! test for the bad value or the number of rows of the range that come before, in COPY's order.

use pgarrow_catalog::{Relation, RelationKind, quote_identifier, quote_literal};

use super::{Origin, Selection, name_of};
use crate::planner::PlannedSlice;
use crate::slice::SliceRange;

/// A longer query would hide the message.
const QUERY_BYTES_MAX: usize = 2000;

/// The most relations of one slice that a message names.
const NAMED_MAX: usize = 3;

/// The most rows with such a value that the SELECT shows.
const SHOWN_MAX: usize = 10;

/// The part of an export that one statement reads.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) slice: PlannedSlice,
    /// If set, only the rows of the one relation from a line pointer of a page to before another page.
    pub(crate) tids: Option<((u64, u16), u64)>,
    /// Rows of the slice that earlier statements read.
    pub(crate) rows_before: u64,
}

/// What distinguishes the row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mark<'a> {
    /// A value of the column with this index fulfils `test`; `$` stands for the column.
    Value { column: usize, test: &'a str },
    /// This number of rows comes before.
    Behind(u64),
}

impl Part {
    /// The part in words, to follow `row 5`; empty for everything that is read. The message names `subject`
    /// already; `is_all`: there is no other slice.
    pub(crate) fn place(&self, subject: &str, is_all: bool) -> String {
        let of_leaf = |relations: &[(Relation, bool)]| match relations {
            [] => String::new(),
            _ if is_all => String::new(),
            [(relation, _)] if relation.to_string() == subject => String::new(),
            [(relation, _)] => format!(" of {relation}"),
            many => {
                let names = many.iter().take(NAMED_MAX).map(|(relation, _)| relation.to_string());
                let names = names.collect::<Vec<_>>().join(", ");
                match many.len().saturating_sub(NAMED_MAX) {
                    0 => format!(" of {names}"),
                    n_more => format!(" of {names} and {n_more} more, in this order"),
                }
            }
        };
        let range = match (self.tids, &self.slice.range) {
            (Some(((page, offset), _)), _) => format!(" from ctid ({page},{offset}) on"),
            (None, SliceRange::Whole) => String::new(),
            (None, SliceRange::Pages { from, .. }) => format!(" from ctid ({from},0) on"),
            (None, range @ SliceRange::Key { column, .. }) => {
                format!(" of those with {}", bounds(range, &quote_identifier(column)).join(" AND "))
            }
        };
        let leaf = match self.slice.range {
            // The range is one of the relation that the user named.
            SliceRange::Key { .. } => String::new(),
            SliceRange::Whole | SliceRange::Pages { .. } => of_leaf(&self.slice.relations),
        };
        format!("{leaf}{range}")
    }
}

impl Selection {
    /// Marks that the query or filter contains no bound values, so messages may repeat it.
    pub(crate) fn shown(mut self) -> Self {
        self.may_be_shown = true;
        self
    }

    /// A SELECT of all columns, or of the place alone, for the marked rows of a part. `None` if it does not
    /// fit one line, is too long, or would reveal bound values.
    pub(crate) fn show(&self, part: &Part, mark: Mark<'_>, place_alone: bool) -> Option<String> {
        match &self.from {
            Origin::Table { relation, filter } => {
                self.show_rows(relation, filter.as_deref(), part, mark, place_alone)
            }
            Origin::Query(_) if !self.may_be_shown => None,
            Origin::Query(query) => self.show_of_query(query, part, mark),
        }
    }

    fn show_rows(
        &self,
        relation: &Relation,
        filter: Option<&str>,
        part: &Part,
        mark: Mark<'_>,
        place_alone: bool,
    ) -> Option<String> {
        let filter = filter.map(|filter| if self.may_be_shown { in_one_line(filter) } else { None });
        let (test, end) = match mark {
            Mark::Value { column, test } => {
                let name = quote_identifier(&self.columns.get(column)?.name);
                (Some(test.replace('$', &name)), format!(" LIMIT {SHOWN_MAX}"))
            }
            Mark::Behind(0) => (None, " LIMIT 1".to_owned()),
            Mark::Behind(rows) => (None, format!(" OFFSET {rows} LIMIT 1")),
        };
        // Without the filter, a test also shows rows that were not read, but a row number would show another
        // row.
        let filter = match (filter, &test) {
            (None, _) => None,
            (Some(Some(filter)), _) => Some(format!("({filter})")),
            (Some(None), Some(_)) => None,
            (Some(None), None) => return None,
        };
        let (leaf, only) = match part.slice.relations.as_slice() {
            [(leaf, only)] => (leaf, *only),
            leaves if test.is_none() => {
                return self.show_of_leaves(relation, leaves, filter, part, &end, place_alone);
            }
            _ => (relation, false),
        };
        let has_tids = matches!(
            leaf.kind,
            RelationKind::Table | RelationKind::MaterializedView | RelationKind::PartitionedTable
        );
        let mut conditions = match (part.tids, &part.slice.range) {
            (Some((from, to)), _) => tids(from, Some((to, 0))),
            (None, SliceRange::Pages { from, to }) => tids((*from, 0), to.map(|to| (to, 0))),
            // These rows come in the order of their places, whoever else reads the table.
            (None, SliceRange::Whole) if has_tids && only && test.is_none() => tids((0, 0), None),
            (None, SliceRange::Whole) => Vec::new(),
            (None, range @ SliceRange::Key { column, .. }) => bounds(range, &quote_identifier(column)),
        };
        conditions.extend(test);
        conditions.extend(filter);
        let list = match (has_tids, only || leaf.kind == RelationKind::MaterializedView) {
            (true, true) => "ctid",
            (true, false) => "tableoid::regclass, ctid",
            (false, _) => "",
        };
        let list = match (list, place_alone) {
            ("", _) => "*".to_owned(),
            (list, true) => list.to_owned(),
            (list, false) => format!("{list}, *"),
        };
        let only = if only { "ONLY " } else { "" };
        let alias = match leaf.oid == relation.oid {
            true => String::new(),
            false => format!(" AS {}", quote_identifier(&relation.name)),
        };
        let table = leaf.quoted();
        Some(format!("SELECT {list} FROM {only}{table}{alias}{}{end}", super::where_clause(&conditions)))
    }

    /// A row by its number in several leaves, which are read in order.
    fn show_of_leaves(
        &self,
        relation: &Relation,
        leaves: &[(Relation, bool)],
        filter: Option<String>,
        part: &Part,
        end: &str,
        place_alone: bool,
    ) -> Option<String> {
        let mut conditions = match &part.slice.range {
            range @ SliceRange::Key { column, .. } => bounds(range, &quote_identifier(column)),
            SliceRange::Whole | SliceRange::Pages { .. } => Vec::new(),
        };
        conditions.extend(filter);
        // By name, since leaves may have their columns in another order.
        let names = self.columns.iter().map(|item| format!(", {}", quote_identifier(&item.name)));
        let names = if place_alone { String::new() } else { names.collect() };
        let alias = quote_identifier(&relation.name);
        let of_leaf = |(leaf, only): &(Relation, bool)| {
            let (only, condition) = (if *only { "ONLY " } else { "" }, super::where_clause(&conditions));
            format!(
                "SELECT tableoid::regclass, ctid{names} FROM {only}{} AS {alias}{condition}",
                leaf.quoted()
            )
        };
        let text = leaves.iter().map(of_leaf).collect::<Vec<_>>().join(" UNION ALL ") + end;
        (text.len() <= QUERY_BYTES_MAX).then_some(text)
    }

    fn show_of_query(&self, query: &str, part: &Part, mark: Mark<'_>) -> Option<String> {
        let query = in_one_line(query.trim_end().trim_end_matches(';'))?;
        let names: Vec<&str> = self.columns.iter().map(|item| item.name.as_str()).collect();
        // The query's column names may be equal.
        let are_unique =
            (1..).zip(&names).all(|(next, name)| !names.iter().skip(next).any(|other| other == name));
        let name_of = |index: usize| match names.get(index) {
            Some(name) if are_unique => quote_identifier(name),
            _ => name_of(index),
        };
        let mut conditions = match &part.slice.range {
            range @ SliceRange::Key { column, .. } => {
                names.iter().position(|name| name == column).map(|index| bounds(range, &name_of(index)))?
            }
            SliceRange::Whole | SliceRange::Pages { .. } => Vec::new(),
        };
        let end = match mark {
            Mark::Value { column, test } => {
                conditions.push(test.replace('$', &name_of(column)));
                format!(" LIMIT {SHOWN_MAX}")
            }
            Mark::Behind(0) => " LIMIT 1".to_owned(),
            Mark::Behind(rows) => format!(" OFFSET {rows} LIMIT 1"),
        };
        let list = match are_unique || conditions.is_empty() {
            true => String::new(),
            false => format!(" ({})", (0..names.len()).map(name_of).collect::<Vec<_>>().join(", ")),
        };
        let text = format!("SELECT * FROM ({query}) AS q{list}{}{end}", super::where_clause(&conditions));
        (text.len() <= QUERY_BYTES_MAX).then_some(text)
    }
}

/// The bounds of places in a heap.
fn tids(from: (u64, u16), to: Option<(u64, u16)>) -> Vec<String> {
    let bound = |operator: &str, (page, offset): (u64, u16)| format!("ctid {operator} '({page},{offset})'");
    std::iter::once(bound(">=", from)).chain(to.map(|to| bound("<", to))).collect()
}

/// The bounds of keys.
fn bounds(range: &SliceRange, name: &str) -> Vec<String> {
    let SliceRange::Key { from, to, nulls, .. } = range else { return Vec::new() };
    let bound = |operator: &str, value: &String| {
        format!("{name} {operator} {}", quote_literal(value).unwrap_or_default())
    };
    let bounds: Vec<String> =
        from.iter().map(|from| bound(">=", from)).chain(to.iter().map(|to| bound("<", to))).collect();
    match (bounds.is_empty(), nulls) {
        (false, false) => bounds,
        (false, true) => vec![format!("({} OR {name} IS NULL)", bounds.join(" AND "))],
        (true, _) => vec![format!("{name} IS NULL")],
    }
}

/// The same SQL without line ends; `None` if a line end may matter: in a literal, or as the end of a comment.
fn in_one_line(sql: &str) -> Option<String> {
    let has_lines = sql.contains(['\n', '\r', '\u{c}', '\u{b}']);
    let may_matter = sql.contains("--") || sql.contains(['\'', '"', '$']);
    let sql = sql.trim();
    if sql.contains("--")
        || (has_lines && may_matter)
        || sql.chars().any(|c| c.is_control() && !c.is_whitespace())
    {
        return None;
    }
    Some(sql.replace(|c: char| c.is_control(), " "))
}
