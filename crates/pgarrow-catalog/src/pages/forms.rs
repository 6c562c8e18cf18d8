//! How column values are stored: base types and labels of enums.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use pgarrow_protocol::Session;
use pgarrow_types::{EnumLabels, PgColumn, PgType, Stored, StoredForm, Structure, oid};

use super::layout::align;
use crate::error::CatalogError;
use crate::texts::{array_of, parsed, text};

/// The stored form of each column's values; `None` if it is not known.
pub(super) fn forms(
    session: &mut Session,
    columns: &[&PgColumn],
) -> Result<Vec<Option<StoredForm>>, CatalogError> {
    let bases = bases(session, columns)?;
    let labels = labels(session, columns, &bases)?;
    let form = |(column, base): (&&PgColumn, Option<&Base>)| {
        let base = base.filter(|base| base.oid != oid::XML)?;
        let form = StoredForm::of(&column.pg_type, base.oid, &|oid| labels.get(&oid).cloned())?;
        // The column's own length and alignment are compared once the attribute is known.
        match &form {
            StoredForm::Array { element, .. } if element.length_and_align() != (base.length, base.align) => {
                None
            }
            _ => Some(form),
        }
    };
    Ok(columns.iter().zip(bases.iter()).map(|(column, base)| form((column, base.as_ref()))).collect())
}

/// The base type behind domains; for an array, the base type of its elements.
#[derive(Clone, Copy, Debug)]
struct Base {
    oid: u32,
    length: i16,
    align: u8,
}

/// For [`bases`]. Follows only one array: an array of domains over arrays ends at the second array.
pub(super) const BASES: &str = "WITH RECURSIVE walk(n, oid, depth, in_array) AS ( \
                 SELECT r.n, r.oid, 0, false \
                 FROM pg_catalog.unnest($1::pg_catalog.oid[]) WITH ORDINALITY AS r(oid, n) \
                 UNION ALL \
                 SELECT w.n, CASE WHEN s.is_domain THEN t.typbasetype ELSE t.typelem END, \
                   w.depth OPERATOR(pg_catalog.+) 1, w.in_array OR NOT s.is_domain \
                 FROM walk w \
                 JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) w.oid \
                 CROSS JOIN LATERAL (SELECT t.typtype OPERATOR(pg_catalog.=) 'd', \
                   t.typelem OPERATOR(pg_catalog.<>) 0::pg_catalog.oid \
                     AND t.typsend::pg_catalog.oid OPERATOR(pg_catalog.=) ANY (ARRAY[ \
                       'pg_catalog.array_send'::pg_catalog.regproc::pg_catalog.oid, \
                       'pg_catalog.int2vectorsend'::pg_catalog.regproc::pg_catalog.oid, \
                       'pg_catalog.oidvectorsend'::pg_catalog.regproc::pg_catalog.oid]) \
                 ) AS s(is_domain, is_array) \
                 WHERE s.is_domain OR (s.is_array AND NOT w.in_array)), \
               ended AS ( \
                 SELECT DISTINCT ON (w.n) w.n, w.oid FROM walk w ORDER BY w.n, w.depth DESC) \
               SELECT e.n::pg_catalog.text, t.oid::pg_catalog.text, t.typlen::pg_catalog.text, t.typalign \
               FROM ended e JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) e.oid";

fn bases(session: &mut Session, columns: &[&PgColumn]) -> Result<Vec<Option<Base>>, CatalogError> {
    let oids: Vec<u32> = columns.iter().map(|column| column.type_oid).collect();
    let mut bases = vec![None; columns.len()];
    for row in &session.query(BASES, &[Some(&array_of(&oids))])? {
        let number: usize = parsed(row, 0)?;
        let base = Base { oid: parsed(row, 1)?, length: parsed(row, 2)?, align: align(row.text(3))? };
        if let Some(of_column) = number.checked_sub(1).and_then(|index| bases.get_mut(index)) {
            *of_column = Some(base);
        }
    }
    Ok(bases)
}

/// The labels of the columns' enums, by the OIDs of type and label.
fn labels(
    session: &mut Session,
    columns: &[&PgColumn],
    bases: &[Option<Base>],
) -> Result<HashMap<u32, EnumLabels>, CatalogError> {
    let is_label = |pg_type: &PgType| pg_type.descriptor().stored == Stored::Label;
    let is_enum = |pg_type: &PgType| match pg_type.structure() {
        Structure::Array(array) => is_label(&array.element),
        Structure::Plain | Structure::Composite(_) | Structure::Range(_) | Structure::Multirange(_) => {
            is_label(pg_type)
        }
    };
    let of_enums = columns.iter().zip(bases).filter(|(column, _)| is_enum(&column.pg_type));
    let mut oids: Vec<u32> = of_enums.filter_map(|(_, base)| base.map(|base| base.oid)).collect();
    oids.sort_unstable();
    oids.dedup();
    if oids.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = "SELECT e.enumtypid::pg_catalog.text, e.oid::pg_catalog.text, e.enumlabel \
               FROM pg_catalog.pg_enum e \
               WHERE e.enumtypid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[])";
    // An enum may have no labels at all.
    let mut labels: HashMap<u32, BTreeMap<u32, String>> =
        oids.iter().map(|oid| (*oid, BTreeMap::new())).collect();
    for row in &session.query(sql, &[Some(&array_of(&oids))])? {
        labels.entry(parsed(row, 0)?).or_default().insert(parsed(row, 1)?, text(row, 2)?);
    }
    Ok(labels.into_iter().map(|(oid, labels)| (oid, Arc::new(labels))).collect())
}
