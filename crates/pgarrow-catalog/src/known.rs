//! The types of results that a session has had before, so that only new ones need queries.

use std::collections::HashMap;

use pgarrow_protocol::{ColumnDescription, Session};
use pgarrow_types::oid;

use crate::columns::{ResolvedColumn, query_columns};
use crate::error::CatalogError;
use crate::opened::FIRST_NORMAL_OID;

/// The most types that are remembered: a session that makes types all the time must not grow for ever.
const TYPES_MAX: usize = 4096;

/// `money[]`.
const MONEY_ARRAY: u32 = 791;

/// What the catalog says about types, by OID and modifier. For results of one session.
#[derive(Debug, Default)]
pub struct KnownTypes {
    types: HashMap<(u32, i32), ResolvedColumn>,
}

impl KnownTypes {
    /// The columns of a query, as [`query_columns`] has them. Only types that are not known need queries;
    /// these use the unnamed statement, and so take the place of one that was parsed before: the flag says
    /// whether there were any.
    ///
    /// # Errors
    ///
    /// Errors of the server.
    pub fn columns(
        &mut self,
        session: &mut Session,
        described: &[ColumnDescription],
    ) -> Result<(Vec<ResolvedColumn>, bool), CatalogError> {
        let mut unknown: Vec<ColumnDescription> = Vec::new();
        for column in described {
            let is_same = |other: &ColumnDescription| key(other) == key(column);
            if !self.types.contains_key(&key(column)) && !unknown.iter().any(is_same) {
                unknown.push(column.clone());
            }
        }
        let has_asked = !unknown.is_empty();
        if has_asked {
            let found = query_columns(session, &unknown)?;
            if self.types.len() + found.len() > TYPES_MAX {
                self.types.clear();
                if unknown.len() < described.len() {
                    return Ok((query_columns(session, described)?, true));
                }
            }
            self.types.extend(unknown.iter().map(key).zip(found));
        }
        let columns = described.iter().zip(1..).map(|(column, number)| {
            let known = self.types.get(&key(column));
            let mut known = known.ok_or(CatalogError::Unexpected("no answer about a type"))?.clone();
            known.column.name.clone_from(&column.name);
            known.column.number = number;
            Ok(known)
        });
        Ok((columns.collect::<Result<_, CatalogError>>()?, has_asked))
    }

    /// Forgets what statements can change: types that users make, and the digits of `money`.
    pub fn forget_changeable(&mut self) {
        let is_fixed = |type_oid| type_oid < FIRST_NORMAL_OID && type_oid != oid::MONEY;
        self.types.retain(|(type_oid, _), _| is_fixed(*type_oid) && *type_oid != MONEY_ARRAY);
    }
}

fn key(column: &ColumnDescription) -> (u32, i32) {
    (column.type_oid, column.type_modifier)
}
