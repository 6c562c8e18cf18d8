//! The SELECT of a slice.
//!
//! ```text
//!  a table           SELECT list FROM "s"."t" WHERE (filter)
//!  some pages        SELECT list FROM ONLY "s"."leaf" AS "t" WHERE ctid >= … AND ctid < … AND (filter)
//!  small leaves      SELECT … UNION ALL SELECT …
//!  a range of a key  SELECT list FROM "s"."t" WHERE (key >= … AND key < …) AND (filter)
//!  a query           the query, or SELECT list FROM (query) AS q (c1, c2, …) WHERE (c1 >= … AND c1 < …)
//! ```
//!
//! Operators name their schema, since the search path is the user's: the filter needs it. A filter and a
//! query have lines of their own, since they may end in a comment.

pub(crate) mod find;
mod locate;

use pgarrow_catalog::{Relation, quote_identifier, quote_literal};
use pgarrow_types::{PgColumn, PgType};

use crate::planner::PlannedSlice;
use crate::slice::{KeyType, SliceRange, SliceRead, SliceSubject};

/// What is read, as SQL: the part that all slices of an export share.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Selection {
    columns: Vec<Item>,
    from: Origin,
    /// Rows at most.
    limit: Option<u64>,
    /// The query or filter contains no bound values.
    may_be_shown: bool,
}

/// A column of the result.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Item {
    name: String,
    form: Form,
}

/// How a column is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    /// As it is.
    Plain,
    /// Cast to a type, in SQL.
    Cast(&'static str),
    /// As its type's output function prints it. A cast to text differs for some types: for `inet`, `bool` and
    /// `char(n)`; for `xml`, where it keeps a declaration of an encoding that the text no longer has; and for
    /// types with a cast of their owner.
    Printed,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Origin {
    Table { relation: Relation, filter: Option<String> },
    Query(String),
}

impl Selection {
    /// Columns of a table, and a condition for its rows.
    pub(crate) fn of_table(relation: &Relation, columns: &[PgColumn], filter: Option<&str>) -> Self {
        let from = Origin::Table { relation: relation.clone(), filter: filter.map(str::to_owned) };
        Self { columns: items(columns), from, limit: None, may_be_shown: false }
    }

    /// A query, and the columns of its result.
    pub(crate) fn of_query(query: &str, columns: &[PgColumn]) -> Self {
        let from = Origin::Query(query.to_owned());
        Self { columns: items(columns), from, limit: None, may_be_shown: false }
    }

    /// Limits the number of rows. Then there must be one slice.
    pub(crate) fn limited(self, limit: Option<u64>) -> Self {
        Self { limit, ..self }
    }

    /// Rows at most, if there is a limit.
    pub(crate) fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// The SELECT of a slice, without a COPY around it.
    pub(crate) fn select(&self, slice: &PlannedSlice) -> String {
        let select = self.select_all(slice);
        match self.limit {
            Some(limit) => format!("{select} LIMIT {limit}"),
            None => select,
        }
    }

    fn select_all(&self, slice: &PlannedSlice) -> String {
        match &self.from {
            Origin::Table { relation, filter } => {
                let list = self.list();
                let selects = slice.relations.iter().map(|(leaf, only)| {
                    let rows = rows_of_leaf(relation, filter.as_deref(), leaf, *only, &slice.range);
                    format!("SELECT {list} FROM {rows}")
                });
                selects.collect::<Vec<_>>().join(" UNION ALL ")
            }
            Origin::Query(query) => self.select_of_query(query, &slice.range),
        }
    }

    /// The SELECT of a relation's own rows from a line pointer of a page to before another page. Without a
    /// filter, as for all pages.
    pub(crate) fn select_tids(&self, relation: &Relation, from: (u64, u16), to: u64) -> String {
        let bounds = [tid_bound("ctid", ">=", from), tid_bound("ctid", "<", (to, 0))];
        format!("SELECT {} FROM ONLY {}{}", self.list(), relation.quoted(), where_clause(&bounds))
    }

    /// A SELECT of `of` applied to some columns, over all rows. `only`: over the relation's own rows.
    pub(crate) fn aggregate(&self, indices: &[usize], only: bool, of: impl Fn(&str) -> String) -> String {
        let named = |name_of: &dyn Fn(usize, &Item) -> String| {
            let columns = indices.iter().filter_map(|index| Some((*index, self.columns.get(*index)?)));
            columns.map(|(index, item)| of(&name_of(index, item))).collect::<Vec<_>>().join(", ")
        };
        match &self.from {
            Origin::Table { relation, filter } => {
                let list = named(&|_, item| quote_identifier(&item.name));
                let rows = rows_of_leaf(relation, filter.as_deref(), relation, only, &SliceRange::Whole);
                format!("SELECT {list} FROM {rows}")
            }
            Origin::Query(query) => {
                let list = named(&|index, _| name_of(index));
                let names: Vec<String> = (0..self.columns.len()).map(name_of).collect();
                format!("SELECT {list} FROM (\n{query}\n) AS q ({})", names.join(", "))
            }
        }
    }

    /// The SELECT list for columns of a table.
    pub(crate) fn list(&self) -> String {
        let items = self.columns.iter().map(|item| item.sql(&quote_identifier(&item.name)));
        items.collect::<Vec<_>>().join(", ")
    }

    /// The condition for the rows of a table, if there is one.
    pub(crate) fn filter(&self) -> Option<&str> {
        match &self.from {
            Origin::Table { filter, .. } => filter.as_deref(),
            Origin::Query(_) => None,
        }
    }

    /// The subject of a slice's token.
    pub(crate) fn subject(&self, slice: &PlannedSlice) -> SliceSubject {
        match &self.from {
            Origin::Table { relation, .. } => {
                let read = |(relation, only): &(Relation, bool)| SliceRead {
                    relation: relation.into(),
                    only: *only,
                };
                SliceSubject::Relations {
                    table: relation.into(),
                    reads: slice.relations.iter().map(read).collect(),
                }
            }
            Origin::Query(query) => SliceSubject::Query(query.clone()),
        }
    }

    fn select_of_query(&self, query: &str, range: &SliceRange) -> String {
        let key = match range {
            SliceRange::Key { column, .. } => self.columns.iter().position(|item| item.name == *column),
            _ => None,
        };
        let conditions = match key {
            Some(index) => conditions(range, &name_of(index)),
            None => Vec::new(),
        };
        let is_plain = self.columns.iter().all(|item| item.form == Form::Plain);
        if conditions.is_empty() && is_plain && self.limit.is_none() {
            return format!("\n{query}\n");
        }
        let names: Vec<String> = (0..self.columns.len()).map(name_of).collect();
        let items: Vec<String> = names.iter().zip(&self.columns).map(|(name, item)| item.sql(name)).collect();
        format!(
            "SELECT {} FROM (\n{query}\n) AS q ({}){}",
            items.join(", "),
            names.join(", "),
            where_clause(&conditions)
        )
    }
}

/// The columns of a query get new names: their own may be equal or missing.
fn name_of(index: usize) -> String {
    format!("c{}", index + 1)
}

impl Item {
    /// The column in its form.
    fn sql(&self, expression: &str) -> String {
        match self.form {
            Form::Plain => expression.to_owned(),
            Form::Cast(to) => format!("{expression}::{to}"),
            // IS NULL is true for a composite of nothing but NULLs, too; IS NOT DISTINCT FROM is not.
            Form::Printed => format!(
                "CASE WHEN {expression} IS DISTINCT FROM NULL THEN pg_catalog.concat({expression}) END"
            ),
        }
    }
}

fn items(columns: &[PgColumn]) -> Vec<Item> {
    let is_printed = |column: &PgColumn| matches!(column.pg_type, PgType::ServerText { .. });
    let form = |column: &PgColumn| match column.pg_type.server_cast() {
        Some(_) if is_printed(column) => Form::Printed,
        Some(cast) => Form::Cast(cast),
        None => Form::Plain,
    };
    let item = |column: &PgColumn| Item { name: column.name.clone(), form: form(column) };
    columns.iter().map(item).collect()
}

/// The text after FROM for one relation of a slice.
fn rows_of_leaf(
    relation: &Relation,
    filter: Option<&str>,
    leaf: &Relation,
    only: bool,
    range: &SliceRange,
) -> String {
    let mut conditions = match range {
        SliceRange::Key { column, .. } => conditions(range, &quote_identifier(column)),
        _ => conditions(range, "ctid"),
    };
    conditions.extend(filter.map(|filter| format!("(\n{filter}\n)")));
    let only = if only { "ONLY " } else { "" };
    // The filter may use the name of the relation that the user asked for.
    let alias = match leaf.oid == relation.oid {
        true => String::new(),
        false => format!(" AS {}", quote_identifier(&relation.name)),
    };
    format!("{only}{}{alias}{}", leaf.quoted(), where_clause(&conditions))
}

fn where_clause(conditions: &[String]) -> String {
    match conditions {
        [] => String::new(),
        _ => format!(" WHERE {}", conditions.join(" AND ")),
    }
}

/// The conditions for a row to be in the range of `expression`.
fn conditions(range: &SliceRange, expression: &str) -> Vec<String> {
    match range {
        SliceRange::Whole => Vec::new(),
        SliceRange::Pages { from, to } => {
            let bound = |operator: &str, page: u64| tid_bound(expression, operator, (page, 0));
            let from = (*from > 0).then(|| bound(">=", *from));
            from.into_iter().chain(to.map(|to| bound("<", to))).collect()
        }
        SliceRange::Key { pg_type, from, to, nulls, .. } => {
            let from = from.as_deref().map(|value| compare(expression, ">=", value, *pg_type));
            let to = to.as_deref().map(|value| compare(expression, "<", value, *pg_type));
            let bounds: Vec<String> = from.into_iter().chain(to).collect();
            let condition = match (bounds.is_empty(), nulls) {
                (false, true) => format!("({} OR {expression} IS NULL)", bounds.join(" AND ")),
                (false, false) => format!("({})", bounds.join(" AND ")),
                (true, _) => format!("({expression} IS NULL)"),
            };
            vec![condition]
        }
    }
}

/// A comparison with a place in a heap, a page and a line pointer. Comparisons of this form, and only ctid
/// with a constant, become a TID range scan.
fn tid_bound(expression: &str, operator: &str, (page, offset): (u64, u16)) -> String {
    format!("{expression} OPERATOR(pg_catalog.{operator}) '({page},{offset})'::pg_catalog.tid")
}

/// A comparison with a value. Text compares in the column's own collation, since a literal has none.
fn compare(expression: &str, operator: &str, value: &str, pg_type: KeyType) -> String {
    // No bound has a NUL byte: the server cannot send one, and a token with one is refused. Otherwise the
    // statement would be invalid, not a different one.
    let literal = quote_literal(value).unwrap_or_default();
    format!("{expression} OPERATOR(pg_catalog.{operator}) ({literal}::{})", pg_type.sql())
}
