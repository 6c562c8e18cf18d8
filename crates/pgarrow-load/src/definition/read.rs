//! The catalog queries about types that somebody has made, and about primary keys.

use std::collections::HashMap;

use pgarrow_session::{Error, ErrorKind, Result};

use super::{Ask, Check, Kind, PrimaryKey, TypeDefinition, TypeUse};

/// The types that can be made again, among those that `roots` (a query of OIDs) need: enums, domains and
/// composites that belong to no extension and to no table.
pub(super) fn types(roots: &str, ask: &mut Ask<'_>) -> Result<Vec<TypeDefinition>> {
    let made = made(roots);
    let rows = ask(&format!(
        "{made} SELECT t.oid::pg_catalog.text, n.nspname::pg_catalog.text, t.typname::pg_catalog.text, \
           pg_catalog.format_type(t.oid, NULL), t.typtype::pg_catalog.text, t.typnotnull::pg_catalog.text, \
           pg_catalog.pg_get_expr(t.typdefaultbin, 0::pg_catalog.oid), {base} \
         FROM made d JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) d.oid \
         JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace \
         LEFT JOIN pg_catalog.pg_type b ON b.oid OPERATOR(pg_catalog.=) t.typbasetype \
         LEFT JOIN pg_catalog.pg_collation o ON o.oid OPERATOR(pg_catalog.=) t.typcollation \
           AND t.typcollation OPERATOR(pg_catalog.<>) b.typcollation \
         LEFT JOIN pg_catalog.pg_namespace m ON m.oid OPERATOR(pg_catalog.=) o.collnamespace \
         ORDER BY 2, 3",
        base = used("t.typtypmod"),
    ))?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let mut labels: HashMap<u32, Vec<String>> = HashMap::new();
    for row in ask(&format!(
        "{made} SELECT e.enumtypid::pg_catalog.text, e.enumlabel::pg_catalog.text FROM made d \
         JOIN pg_catalog.pg_enum e ON e.enumtypid OPERATOR(pg_catalog.=) d.oid ORDER BY e.enumtypid, e.enumsortorder"
    ))? {
        labels.entry(number(&row, 0)?).or_default().push(text(&row, 1)?);
    }
    let mut attributes: HashMap<u32, Vec<(String, TypeUse)>> = HashMap::new();
    for row in ask(&format!(
        "{made} SELECT t.oid::pg_catalog.text, a.attname::pg_catalog.text, {attribute} \
         FROM made d JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) d.oid \
         JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) t.typrelid \
           AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped \
         JOIN pg_catalog.pg_type b ON b.oid OPERATOR(pg_catalog.=) a.atttypid \
         LEFT JOIN pg_catalog.pg_collation o ON o.oid OPERATOR(pg_catalog.=) a.attcollation \
           AND a.attcollation OPERATOR(pg_catalog.<>) b.typcollation \
         LEFT JOIN pg_catalog.pg_namespace m ON m.oid OPERATOR(pg_catalog.=) o.collnamespace \
         WHERE t.typtype OPERATOR(pg_catalog.=) 'c'::pg_catalog.\"char\" ORDER BY t.oid, a.attnum",
        attribute = used("a.atttypmod"),
    ))? {
        let attribute = (text(&row, 1)?, type_use(&row, 2)?);
        attributes.entry(number(&row, 0)?).or_default().push(attribute);
    }
    let mut checks: HashMap<u32, Vec<Check>> = HashMap::new();
    for row in ask(&format!(
        "{made} SELECT k.contypid::pg_catalog.text, k.conname::pg_catalog.text, \
           pg_catalog.pg_get_constraintdef(k.oid) FROM made d \
         JOIN pg_catalog.pg_constraint k ON k.contypid OPERATOR(pg_catalog.=) d.oid \
         WHERE k.contype OPERATOR(pg_catalog.=) 'c' ORDER BY k.contypid, k.conname"
    ))? {
        let check = Check { name: text(&row, 1)?, definition: text(&row, 2)? };
        checks.entry(number(&row, 0)?).or_default().push(check);
    }
    rows.iter()
        .map(|row| {
            let oid = number(row, 0)?;
            let kind = match text(row, 4)?.as_str() {
                "e" => Kind::Enum { labels: labels.remove(&oid).unwrap_or_default() },
                "c" => Kind::Composite { attributes: attributes.remove(&oid).unwrap_or_default() },
                _ => Kind::Domain {
                    base: type_use(row, 7)?,
                    not_null: text(row, 5)? == "true",
                    default: row.get(6).cloned().flatten(),
                    checks: checks.remove(&oid).unwrap_or_default(),
                },
            };
            Ok(TypeDefinition {
                oid,
                schema: text(row, 1)?,
                name: text(row, 2)?,
                printed: text(row, 3)?,
                kind,
            })
        })
        .collect()
}

/// The primary key of a table.
pub(super) fn primary_key(table: u32, ask: &mut Ask<'_>) -> Result<Option<PrimaryKey>> {
    let rows = ask(&format!(
        "SELECT k.conname::pg_catalog.text, a.attname::pg_catalog.text FROM pg_catalog.pg_constraint k \
         CROSS JOIN LATERAL pg_catalog.unnest(k.conkey) WITH ORDINALITY AS c(attnum, place) \
         JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) k.conrelid \
           AND a.attnum OPERATOR(pg_catalog.=) c.attnum \
         WHERE k.conrelid OPERATOR(pg_catalog.=) {table}::pg_catalog.oid \
           AND k.contype OPERATOR(pg_catalog.=) 'p' ORDER BY c.place"
    ))?;
    let Some(first) = rows.first() else { return Ok(None) };
    let name = Some(text(first, 0)?);
    Ok(Some(PrimaryKey { name, columns: rows.iter().map(|row| text(row, 1)).collect::<Result<_>>()? }))
}

/// `WITH needed (…), made (oid)`: the types that can be made again.
///
/// A type of variable length with elements is an array.
fn made(roots: &str) -> String {
    format!(
        "WITH RECURSIVE needed(oid) AS ({roots} UNION \
           SELECT s.next FROM needed d JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) d.oid \
           CROSS JOIN LATERAL ( \
             SELECT t.typelem WHERE t.typlen OPERATOR(pg_catalog.=) (-1)::pg_catalog.int2 \
               AND t.typelem OPERATOR(pg_catalog.<>) 0::pg_catalog.oid \
             UNION ALL SELECT t.typbasetype WHERE t.typtype OPERATOR(pg_catalog.=) 'd'::pg_catalog.\"char\" \
             UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a \
               WHERE t.typtype OPERATOR(pg_catalog.=) 'c'::pg_catalog.\"char\" \
                 AND a.attrelid OPERATOR(pg_catalog.=) t.typrelid \
                 AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped) AS s(next)), \
         made(oid) AS (SELECT t.oid FROM needed d JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) d.oid \
           JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace \
           LEFT JOIN pg_catalog.pg_class r ON r.oid OPERATOR(pg_catalog.=) t.typrelid \
           WHERE t.typtype OPERATOR(pg_catalog.=) ANY ('{{e,d,c}}'::pg_catalog.\"char\"[]) \
             AND n.nspname OPERATOR(pg_catalog.<>) ALL ('{{pg_catalog,information_schema}}'::pg_catalog.name[]) \
             AND (t.typrelid OPERATOR(pg_catalog.=) 0::pg_catalog.oid \
               OR r.relkind OPERATOR(pg_catalog.=) 'c'::pg_catalog.\"char\") \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend p \
               WHERE p.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid \
                 AND p.objid OPERATOR(pg_catalog.=) t.oid \
                 AND p.deptype OPERATOR(pg_catalog.=) 'e'::pg_catalog.\"char\"))"
    )
}

/// The columns that [`type_use`] takes: of the type `b`, the collation `o` and its schema `m`.
fn used(modifier: &str) -> String {
    format!(
        "CASE WHEN b.typtype OPERATOR(pg_catalog.=) 'b'::pg_catalog.\"char\" AND b.typlen OPERATOR(pg_catalog.=) (-1)::pg_catalog.int2 \
           AND b.typelem OPERATOR(pg_catalog.<>) 0::pg_catalog.oid THEN b.typelem ELSE b.oid END::pg_catalog.text, \
         (b.typtype OPERATOR(pg_catalog.=) 'b'::pg_catalog.\"char\" AND b.typlen OPERATOR(pg_catalog.=) (-1)::pg_catalog.int2 \
           AND b.typelem OPERATOR(pg_catalog.<>) 0::pg_catalog.oid)::pg_catalog.text, \
         pg_catalog.format_type(b.oid, NULL), {modifier}::pg_catalog.text, m.nspname::pg_catalog.text, \
         o.collname::pg_catalog.text"
    )
}

fn type_use(row: &[Option<String>], from: usize) -> Result<TypeUse> {
    let collation = (row.get(from + 4).cloned().flatten(), row.get(from + 5).cloned().flatten());
    Ok(TypeUse {
        oid: number(row, from)?,
        is_array: text(row, from + 1)? == "true",
        printed: text(row, from + 2)?,
        modifier: text(row, from + 3)?.parse().map_err(|_| unexpected())?,
        collation: collation.0.zip(collation.1),
    })
}

fn text(row: &[Option<String>], index: usize) -> Result<String> {
    row.get(index).cloned().flatten().ok_or_else(unexpected)
}

fn number(row: &[Option<String>], index: usize) -> Result<u32> {
    text(row, index)?.parse().map_err(|_| unexpected())
}

fn unexpected() -> Error {
    Error::new(
        ErrorKind::Protocol,
        "the catalog describes a type in a way that is not known; please report it",
    )
}
