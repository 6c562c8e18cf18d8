//! The statement that finds rows by their numbers in what was read.
//!
//! The rows of a heap come in the order of their places, as long as the server uses no parallel workers: see
//! `begin_statements`.

use pgarrow_catalog::{Relation, RelationKind, quote_identifier};
use pgarrow_types::PgColumn;

use super::find::Part;
use super::{Form, Origin, Selection, name_of, rows_of_leaf, tid_bound, where_clause};
use crate::slice::SliceRange;

/// `text` and `text[]`, as which the server sends what it has printed.
const TEXT_OID: u32 = 25;
const TEXT_ARRAY_OID: u32 = 1009;

impl Selection {
    /// A SELECT for rows with these numbers in the part: number, OID of the table that has the row, ctid, the
    /// columns with these indices, and the table's name. `None` if the order of rows is not that of a heap.
    pub(crate) fn locate(&self, part: &Part, numbers: &[u64], columns: &[usize]) -> Option<String> {
        let Origin::Table { relation, filter: None } = &self.from else { return None };
        if self.limit.is_some() || matches!(part.slice.range, SliceRange::Key { .. }) {
            return None;
        }
        let has_places = |(leaf, _): &(Relation, bool)| {
            matches!(
                leaf.kind,
                RelationKind::Table | RelationKind::MaterializedView | RelationKind::PartitionedTable
            )
        };
        if !part.slice.relations.iter().all(has_places) {
            return None;
        }
        let items = || columns.iter().filter_map(|index| Some((name_of(*index), self.columns.get(*index)?)));
        let inner: String =
            items().map(|(name, item)| format!(", {} AS {name}", quote_identifier(&item.name))).collect();
        let of_leaf = |(leaf, only): &(Relation, bool)| {
            let rows = match part.tids {
                Some((from, to)) => {
                    let bounds = [tid_bound("ctid", ">=", from), tid_bound("ctid", "<", (to, 0))];
                    format!("ONLY {}{}", leaf.quoted(), where_clause(&bounds))
                }
                None => rows_of_leaf(relation, None, leaf, *only, &part.slice.range),
            };
            format!("SELECT tableoid AS r, ctid AS t{inner} FROM {rows}")
        };
        let leaves = part.slice.relations.iter().map(of_leaf).collect::<Vec<_>>().join(" UNION ALL ");
        let outer: String = items().map(|(name, item)| format!(", {}", item.sql(&name))).collect();
        let numbers = numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        Some(format!(
            "SELECT n, r, t{outer}, r::pg_catalog.regclass \
             FROM (SELECT pg_catalog.row_number() OVER () AS n, * FROM ({leaves}) AS leaves) AS rows \
             JOIN pg_catalog.unnest('{{{numbers}}}'::pg_catalog.int8[]) AS wanted (w) ON n OPERATOR(pg_catalog.=) w"
        ))
    }

    /// The OIDs of the types in which values arrive.
    pub(crate) fn value_types(&self, columns: &[PgColumn]) -> Vec<u32> {
        let type_of = |(item, column): (&super::Item, &PgColumn)| match item.form {
            Form::Plain => column.type_oid,
            Form::Cast(to) if to.ends_with("[]") => TEXT_ARRAY_OID,
            Form::Cast(_) | Form::Printed => TEXT_OID,
        };
        self.columns.iter().zip(columns).map(type_of).collect()
    }
}
