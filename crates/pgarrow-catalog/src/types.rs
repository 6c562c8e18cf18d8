//! Types that are not built in: domains, enums, and whatever else there is.

use std::collections::HashMap;
use std::sync::Arc;

use pgarrow_protocol::Session;
use pgarrow_types::{EnumType, PgType, oid};

use crate::error::CatalogError;
use crate::relation::{parsed, text};

/// How deep domains may stand on domains.
const DOMAIN_DEPTH_MAX: usize = 64;

/// A type as an attribute or a result column names it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct TypeRef {
    pub(crate) oid: u32,
    pub(crate) type_modifier: i32,
}

/// `pg_type`, as much of it as decides how a value is read.
struct TypeRow {
    kind: String,
    base: TypeRef,
    /// The internal function that writes its binary form; empty if it is not internal, or there is none.
    send: String,
}

/// Resolves every type, asking the server only about those that are not built in.
pub(crate) fn resolve_types(session: &mut Session, types: &[TypeRef]) -> Result<Vec<PgType>, CatalogError> {
    let mut rows: HashMap<u32, TypeRow> = HashMap::new();
    let mut wanted: Vec<u32> = types.iter().map(|ty| ty.oid).collect();
    for _ in 0..DOMAIN_DEPTH_MAX {
        wanted.retain(|oid| PgType::from_builtin_oid(*oid, -1, 0).is_none() && !rows.contains_key(oid));
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.is_empty() {
            break;
        }
        let found = type_rows(session, &wanted)?;
        wanted = found.values().filter(|row| row.kind == "d").map(|row| row.base.oid).collect();
        rows.extend(found);
    }
    let enums = enum_types(session, rows.iter().filter(|(_, row)| row.kind == "e").map(|(oid, _)| *oid))?;
    let money_fraction_digits = match types.iter().any(|ty| base_type(*ty, &rows).oid == oid::MONEY) {
        true => money_fraction_digits(session)?,
        false => 0,
    };
    let resolve = |ty: &TypeRef| {
        let TypeRef { oid, type_modifier } = base_type(*ty, &rows);
        if let Some(builtin) = PgType::from_builtin_oid(oid, type_modifier, money_fraction_digits) {
            return builtin;
        }
        if let Some(labels) = enums.get(&oid) {
            return PgType::Enum(Arc::clone(labels));
        }
        match rows.get(&oid).map(|row| row.send.as_str()) {
            // citext, and whoever else borrows text's own function.
            Some("textsend" | "varcharsend" | "bpcharsend") => PgType::Text,
            _ => PgType::ServerText { warn: true },
        }
    };
    Ok(types.iter().map(resolve).collect())
}

/// Follows domains down to what they stand on. A cycle, which no server allows, ends at some type of it.
///
/// Source: `getBaseTypeAndTypmod` in PostgreSQL's `src/backend/utils/cache/lsyscache.c`.
fn base_type(ty: TypeRef, rows: &HashMap<u32, TypeRow>) -> TypeRef {
    let mut ty = ty;
    for _ in 0..DOMAIN_DEPTH_MAX {
        match rows.get(&ty.oid) {
            Some(row) if row.kind == "d" => ty = row.base,
            _ => break,
        }
    }
    ty
}

fn type_rows(session: &mut Session, oids: &[u32]) -> Result<HashMap<u32, TypeRow>, CatalogError> {
    let sql = "SELECT t.oid::pg_catalog.text, t.typtype, t.typbasetype::pg_catalog.text, \
                 t.typtypmod::pg_catalog.text, \
                 CASE WHEN l.lanname OPERATOR(pg_catalog.=) 'internal' THEN p.prosrc ELSE '' END \
               FROM pg_catalog.pg_type t \
               LEFT JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.typsend::pg_catalog.oid \
               LEFT JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang \
               WHERE t.oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[])";
    let rows = session.query(sql, &[Some(&array_of(oids))])?;
    rows.iter()
        .map(|row| {
            let base = TypeRef { oid: parsed(row, 2)?, type_modifier: parsed(row, 3)? };
            Ok((parsed(row, 0)?, TypeRow { kind: text(row, 1)?, base, send: text(row, 4)? }))
        })
        .collect()
}

fn enum_types(
    session: &mut Session,
    oids: impl Iterator<Item = u32>,
) -> Result<HashMap<u32, Arc<EnumType>>, CatalogError> {
    let oids: Vec<u32> = oids.collect();
    if oids.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = "SELECT e.enumtypid::pg_catalog.text, e.enumlabel FROM pg_catalog.pg_enum e \
               WHERE e.enumtypid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) \
               ORDER BY e.enumtypid, e.enumsortorder";
    let rows = session.query(sql, &[Some(&array_of(&oids))])?;
    // An enum may have no labels at all.
    let mut labels: HashMap<u32, Vec<String>> = oids.iter().map(|oid| (*oid, Vec::new())).collect();
    for row in &rows {
        labels.entry(parsed(row, 0)?).or_default().push(text(row, 1)?);
    }
    Ok(labels.into_iter().map(|(oid, labels)| (oid, Arc::new(EnumType { labels }))).collect())
}

/// Digits after the point of the session's `lc_monetary`, by which `money` is scaled.
fn money_fraction_digits(session: &mut Session) -> Result<u8, CatalogError> {
    let sql = "SELECT pg_catalog.scale((1::pg_catalog.int4)::pg_catalog.money::pg_catalog.numeric)::pg_catalog.text";
    let rows = session.query(sql, &[])?;
    let row = rows.first().ok_or(CatalogError::Unexpected("no row where one must be"))?;
    parsed(row, 0)
}

/// A PostgreSQL array in text.
pub(crate) fn array_of<T: std::fmt::Display>(values: &[T]) -> String {
    let values: Vec<String> = values.iter().map(T::to_string).collect();
    format!("{{{}}}", values.join(","))
}
