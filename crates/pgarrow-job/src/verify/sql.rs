//! The statements that make the server count and hash.
//!
//! Functions and operators name their schema, since the search path is the user's.

use super::digest::{Digest, summand_sql};
use super::form::ComparedColumn;

/// The most columns of a subquery: `MaxTupleAttributeNumber` in PostgreSQL's
/// `src/include/access/htup_details.h`, and some room.
const COLUMNS_MAX: usize = 1600;

/// Names and send functions of a relation's columns.
pub(super) fn send_functions_sql(relation: u32) -> String {
    format!(
        "SELECT a.attname, pg_catalog.format('%I.%I', n.nspname, p.proname) \
         FROM pg_catalog.pg_attribute AS a \
         JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) a.atttypid \
         JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) t.typsend::pg_catalog.oid \
         JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace \
         WHERE a.attrelid OPERATOR(pg_catalog.=) {relation}::pg_catalog.oid \
         AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped"
    )
}

/// All tables of the database, and what else can be read: schema and name.
pub(super) const RELATIONS_SQL: &str = "SELECT n.nspname, c.relname FROM pg_catalog.pg_class AS c \
     JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
     WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f}'::pg_catalog.\"char\"[])";

/// Whether smallest, largest and sum of numbers fit into the statement.
pub(super) fn has_room_for_numbers(columns: &[ComparedColumn]) -> bool {
    let n_numbers = columns.iter().filter(|column| column.numbers.is_some()).count();
    columns.len().saturating_add(n_numbers) < COLUMNS_MAX
}

/// Counts and sums of a table, one in each row: rows, the sum of their hashes; of each column its values, and
/// the sum of their hashes if it is compared; then of each column with numbers the smallest, the largest, the
/// sum.
pub(super) fn sums_sql(from: &str, columns: &[ComparedColumn], digest: Digest, with_numbers: bool) -> String {
    let mut items = vec![
        "pg_catalog.count(*)::pg_catalog.text".to_owned(),
        format!("pg_catalog.sum({})::pg_catalog.text", summand_sql("r")),
    ];
    let mut numbers = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        items.push(format!("pg_catalog.count(h{index})::pg_catalog.text"));
        if column.form.is_ok() {
            let summand = summand_sql(&format!("h{index}"));
            items.push(format!("pg_catalog.sum({summand})::pg_catalog.text"));
        }
        if let Some(form) = column.numbers.filter(|_| with_numbers) {
            numbers.extend(form.sql(&format!("n{index}")));
        }
    }
    items.extend(numbers);
    let rows = rows_sql(from, columns, digest, with_numbers, None);
    format!("SELECT pg_catalog.unnest(ARRAY[{}]) FROM ({rows}) AS rows", items.join(", "))
}

/// The hash of each row as 16 bytes, and where the row is, as text.
pub(super) fn places_sql(from: &str, columns: &[ComparedColumn], digest: Digest, place: &str) -> String {
    let rows = rows_sql(from, columns, digest, false, Some(place));
    format!("SELECT pg_catalog.decode(r, 'hex') AS hash, place FROM ({rows}) AS rows")
}

/// For each row: `h0`, `h1` … the hashes of its values, or '' where a value is not compared; `r` the hash of
/// the row; `n0` … its numbers; `place`.
fn rows_sql(
    from: &str,
    columns: &[ComparedColumn],
    digest: Digest,
    with_numbers: bool,
    place: Option<&str>,
) -> String {
    let (mut list, mut compared, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (index, column) in columns.iter().enumerate() {
        let quoted = column.quoted();
        names.push(format!("h{index}"));
        match &column.form {
            Ok(form) => {
                list.push(format!("{} AS h{index}", digest.sql(&form.sql)));
                compared.push(format!("h{index}"));
            }
            Err(_) => list.push(format!("CASE WHEN {quoted} IS DISTINCT FROM NULL THEN '' END AS h{index}")),
        }
        if with_numbers && column.numbers.is_some() {
            list.push(format!("{quoted} AS n{index}"));
            names.push(format!("n{index}"));
        }
    }
    if let Some(place) = place {
        list.push(format!("{place} AS place"));
        names.push("place".to_owned());
    }
    let of_row =
        format!("pg_catalog.array_to_string(ARRAY[{}]::pg_catalog.text[], '', '-')", compared.join(", "));
    names.push(format!("{} AS r", digest.sql(&format!("pg_catalog.textsend({of_row})"))));
    // Without OFFSET, the planner would merge the queries, and each hash would be computed twice.
    format!("SELECT {} FROM (SELECT {} FROM {from} OFFSET 0) AS hashes", names.join(", "), list.join(", "))
}
