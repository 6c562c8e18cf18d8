//! The queries of `get_objects`. Every name is qualified, so that no search path changes what they mean.

use std::collections::HashMap;

use adbc_core::options::ObjectDepth;
use pgarrow_protocol::{Row, Session};

use super::{Catalog, Column, Constraint, Inside, Schema, Table, Wanted};
use crate::error::{Result, of_wire};
use crate::tables::KINDS;

/// Whether a name is like the pattern `$n`, if there is one.
fn like(name: &str, number: usize) -> String {
    format!(
        "(${number}::pg_catalog.text IS NULL OR {name} OPERATOR(pg_catalog.~~) ${number}::pg_catalog.text)"
    )
}

fn query(session: &mut Session, sql: &str, parameters: &[Option<&str>]) -> Result<Vec<Row>> {
    session.query(sql, parameters).map_err(of_wire)
}

fn owned(row: &Row, index: usize) -> String {
    row.text(index).unwrap_or_default().to_owned()
}

fn number<T: std::str::FromStr>(row: &Row, index: usize) -> Option<T> {
    row.text(index)?.parse().ok()
}

fn is_true(row: &Row, index: usize) -> bool {
    row.text(index) == Some("t")
}

/// The name of the session's own catalog, and all that are wanted.
pub(super) fn catalogs(session: &mut Session, wanted: &Wanted<'_>) -> Result<(String, Vec<Catalog>)> {
    let sql = format!(
        "SELECT d.datname, d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database(), \
           pg_catalog.current_database() \
         FROM pg_catalog.pg_database d WHERE d.datallowconn AND {} ORDER BY 1",
        like("d.datname", 1)
    );
    let rows = query(session, &sql, &[wanted.catalog])?;
    let current = rows.first().map(|row| owned(row, 2)).unwrap_or_default();
    let mut catalogs = Vec::new();
    for row in &rows {
        let schemas = match (wanted.depth, is_true(row, 1)) {
            (ObjectDepth::Catalogs, _) => None,
            (_, true) => Some(schemas(session, wanted)?),
            (_, false) => Some(Vec::new()),
        };
        catalogs.push(Catalog { name: owned(row, 0), schemas });
    }
    Ok((current, catalogs))
}

fn schemas(session: &mut Session, wanted: &Wanted<'_>) -> Result<Vec<Schema>> {
    // Temporary schemas of other sessions and those of TOAST tables are nobody's business.
    let sql = format!(
        "SELECT n.oid::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n \
         WHERE n.nspname OPERATOR(pg_catalog.!~) '^pg_toast' \
           AND (n.nspname OPERATOR(pg_catalog.!~) '^pg_temp_' \
             OR n.oid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) AND {} ORDER BY 2",
        like("n.nspname", 1)
    );
    let rows = query(session, &sql, &[wanted.schema])?;
    let mut tables = match wanted.depth {
        ObjectDepth::Schemas => None,
        _ => Some(tables(session, wanted)?),
    };
    let schemas = rows.iter().map(|row| {
        let of_schema = tables.as_mut().map(|tables| tables.remove(&owned(row, 0)).unwrap_or_default());
        Schema { name: owned(row, 1), tables: of_schema }
    });
    Ok(schemas.collect())
}

/// By the OID of their schema.
fn tables(session: &mut Session, wanted: &Wanted<'_>) -> Result<HashMap<String, Vec<Table>>> {
    let is_wanted = |name: &&str| wanted.types.is_none_or(|types| types.contains(name));
    let kinds: String = KINDS.iter().filter(|(_, name)| is_wanted(name)).map(|(kind, _)| *kind).collect();
    let sql = format!(
        "SELECT c.oid::pg_catalog.text, n.oid::pg_catalog.text, c.relname, c.relkind \
         FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
         WHERE pg_catalog.strpos($3::pg_catalog.text, c.relkind::pg_catalog.text) OPERATOR(pg_catalog.>) 0 \
           AND {} AND {} ORDER BY c.relname, c.oid",
        like("n.nspname", 1),
        like("c.relname", 2)
    );
    let rows = query(session, &sql, &[wanted.schema, wanted.table, Some(&kinds)])?;
    let mut inside = match wanted.depth {
        ObjectDepth::Tables => None,
        _ => {
            let oids: Vec<String> = rows.iter().map(|row| owned(row, 0)).collect();
            Some(inside(session, wanted, &format!("{{{}}}", oids.join(",")))?)
        }
    };
    let mut tables: HashMap<String, Vec<Table>> = HashMap::new();
    for row in &rows {
        let of_table = inside.as_mut().map(|inside| inside.remove(&owned(row, 0)).unwrap_or_default());
        let relkind = row.text(3).and_then(|text| text.chars().next());
        let kind = KINDS.iter().find(|(kind, _)| Some(*kind) == relkind).map_or("table", |(_, name)| name);
        tables.entry(owned(row, 1)).or_default().push(Table { name: owned(row, 2), kind, inside: of_table });
    }
    Ok(tables)
}

/// Columns and constraints, by the OID of their table.
fn inside(session: &mut Session, wanted: &Wanted<'_>, oids: &str) -> Result<HashMap<String, Inside>> {
    let mut inside: HashMap<String, Inside> = HashMap::new();
    for (table, column) in columns(session, wanted, oids)? {
        inside.entry(table).or_default().columns.push(column);
    }
    for (table, constraint) in constraints(session, oids)? {
        inside.entry(table).or_default().constraints.push(constraint);
    }
    Ok(inside)
}

fn columns(session: &mut Session, wanted: &Wanted<'_>, oids: &str) -> Result<Vec<(String, Column)>> {
    // Sizes as information_schema.columns has them: digits of numbers, characters of texts.
    let sql = format!(
        "SELECT a.attrelid::pg_catalog.text, a.attname, a.attnum::pg_catalog.text, \
           pg_catalog.col_description(a.attrelid, a.attnum::pg_catalog.int4), \
           pg_catalog.format_type(a.atttypid, a.atttypmod), \
           CASE WHEN a.atttypid OPERATOR(pg_catalog.=) 1700::pg_catalog.oid AND a.atttypmod OPERATOR(pg_catalog.>) 3 \
               THEN ((a.atttypmod OPERATOR(pg_catalog.-) 4) OPERATOR(pg_catalog.>>) 16) OPERATOR(pg_catalog.&) 65535 \
             WHEN a.atttypid OPERATOR(pg_catalog.=) ANY (ARRAY[1042, 1043]::pg_catalog.oid[]) \
               AND a.atttypmod OPERATOR(pg_catalog.>) 3 THEN a.atttypmod OPERATOR(pg_catalog.-) 4 \
             WHEN a.atttypid OPERATOR(pg_catalog.=) 21::pg_catalog.oid THEN 16 \
             WHEN a.atttypid OPERATOR(pg_catalog.=) 23::pg_catalog.oid THEN 32 \
             WHEN a.atttypid OPERATOR(pg_catalog.=) 20::pg_catalog.oid THEN 64 \
             WHEN a.atttypid OPERATOR(pg_catalog.=) 700::pg_catalog.oid THEN 24 \
             WHEN a.atttypid OPERATOR(pg_catalog.=) 701::pg_catalog.oid THEN 53 END, \
           CASE WHEN a.atttypid OPERATOR(pg_catalog.=) 1700::pg_catalog.oid AND a.atttypmod OPERATOR(pg_catalog.>) 3 \
               THEN (a.atttypmod OPERATOR(pg_catalog.-) 4) OPERATOR(pg_catalog.&) 2047 \
             WHEN a.atttypid OPERATOR(pg_catalog.=) ANY (ARRAY[20, 21, 23]::pg_catalog.oid[]) THEN 0 END, \
           CASE WHEN a.atttypid OPERATOR(pg_catalog.=) 1700::pg_catalog.oid THEN 10 \
             WHEN a.atttypid OPERATOR(pg_catalog.=) ANY (ARRAY[20, 21, 23, 700, 701]::pg_catalog.oid[]) THEN 2 END, \
           a.attnotnull, pg_catalog.pg_get_expr(d.adbin, d.adrelid), \
           a.attidentity OPERATOR(pg_catalog.<>) '' OR coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid) \
             OPERATOR(pg_catalog.~~) 'nextval(%', false), \
           a.attgenerated OPERATOR(pg_catalog.<>) '' \
         FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d \
           ON d.adrelid OPERATOR(pg_catalog.=) a.attrelid AND d.adnum OPERATOR(pg_catalog.=) a.attnum \
         WHERE a.attrelid OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.oid[]) \
           AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped AND {} \
         ORDER BY a.attrelid, a.attnum",
        like("a.attname", 1)
    );
    let rows = query(session, &sql, &[wanted.column, Some(oids)])?;
    let column = |row: &Row| Column {
        name: owned(row, 1),
        number: number(row, 2).unwrap_or_default(),
        comment: row.text(3).map(str::to_owned),
        type_name: owned(row, 4),
        size: number(row, 5),
        digits: number(row, 6),
        radix: number(row, 7),
        is_nullable: !is_true(row, 8),
        default: row.text(9).map(str::to_owned),
        is_autoincrement: is_true(row, 10),
        is_generated: is_true(row, 11),
    };
    Ok(rows.iter().map(|row| (owned(row, 0), column(row))).collect())
}

fn constraints(session: &mut Session, oids: &str) -> Result<Vec<(String, Constraint)>> {
    // A row for each column of a constraint.
    let sql = "SELECT k.conrelid::pg_catalog.text, k.oid::pg_catalog.text, k.conname, k.contype, a.attname, \
                 n.nspname, c.relname, b.attname \
               FROM pg_catalog.pg_constraint k \
               LEFT JOIN LATERAL ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey)) \
                 WITH ORDINALITY AS u(own, other, n) ON true \
               LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) k.conrelid \
                 AND a.attnum OPERATOR(pg_catalog.=) u.own \
               LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.confrelid \
               LEFT JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
               LEFT JOIN pg_catalog.pg_attribute b ON b.attrelid OPERATOR(pg_catalog.=) k.confrelid \
                 AND b.attnum OPERATOR(pg_catalog.=) u.other \
               WHERE k.conrelid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) \
                 AND k.contype OPERATOR(pg_catalog.=) ANY (ARRAY['c', 'f', 'p', 'u']::\"char\"[]) \
               ORDER BY k.conrelid, k.conname, k.oid, u.n";
    let rows = query(session, sql, &[Some(oids)])?;
    let mut constraints: Vec<(String, Constraint)> = Vec::new();
    let mut last = None;
    for row in &rows {
        if last != row.text(1) {
            last = row.text(1);
            let kind = match row.text(3) {
                Some("p") => "PRIMARY KEY",
                Some("u") => "UNIQUE",
                Some("f") => "FOREIGN KEY",
                _ => "CHECK",
            };
            let uses = (kind == "FOREIGN KEY").then(Vec::new);
            constraints
                .push((owned(row, 0), Constraint { name: owned(row, 2), kind, columns: Vec::new(), uses }));
        }
        let Some((_, constraint)) = constraints.last_mut() else { continue };
        constraint.columns.extend(row.text(4).map(str::to_owned));
        if let (Some(uses), Some(column)) = (&mut constraint.uses, row.text(7)) {
            uses.push((owned(row, 5), owned(row, 6), column.to_owned()));
        }
    }
    Ok(constraints)
}
