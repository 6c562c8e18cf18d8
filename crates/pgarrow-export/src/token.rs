//! From a token back to the planner's types.

use pgarrow_catalog::{Relation, RelationKind};
use pgarrow_types::PgColumn;

use crate::locks::is_lockable;
use crate::planner::PlannedSlice;
use crate::planner::select::Selection;
use crate::slice::{Slice, SliceSubject};

impl Slice {
    /// The token as a planned slice.
    pub(crate) fn planned(&self) -> PlannedSlice {
        let relations = match &self.subject {
            SliceSubject::Relations { reads, .. } => {
                reads.iter().map(|read| (Relation::from(&read.relation), read.only)).collect()
            }
            SliceSubject::Query(_) => Vec::new(),
        };
        PlannedSlice {
            relations,
            range: self.range.clone(),
            estimated_bytes: self.estimated_bytes,
            estimated_rows: self.estimated_rows,
        }
    }

    /// What to lock before the slice is read: exactly what its statement names, so that no table is locked
    /// that became a part of another one meanwhile.
    pub(crate) fn locks(&self) -> Vec<String> {
        let planned = self.planned();
        let lockable = planned.relations.iter().filter(|(relation, _)| is_lockable(relation.kind));
        let lock = |(relation, only): &(Relation, bool)| match *only && relation.kind == RelationKind::Table {
            true => format!("ONLY {}", relation.quoted()),
            false => relation.quoted(),
        };
        lockable.map(lock).collect()
    }

    /// The selection that reads it, with its columns as they are now.
    pub(crate) fn selection(&self, columns: &[PgColumn]) -> Selection {
        match &self.subject {
            SliceSubject::Relations { table, .. } => {
                let filter = self.filter.as_deref();
                let selection = Selection::of_table(&table.into(), columns, filter);
                // Values that were bound to a filter are literals in it.
                let may_be_shown = filter.is_none_or(|filter| !filter.contains('\''));
                if may_be_shown { selection.shown() } else { selection }
            }
            SliceSubject::Query(sql) => Selection::of_query(sql, columns),
        }
    }
}
