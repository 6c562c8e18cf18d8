//! Values of a key column that cut its rows into ranges of about equal size.

use pgarrow_protocol::Session;

use crate::error::CatalogError;
use crate::name::quote_identifier;
use crate::relation::Relation;
use crate::texts::parsed;

/// The most bytes of a bound. A longer bound is left out, which joins two ranges.
const BOUND_BYTES_MAX: u32 = 1024;

/// The bounds that cut a key into ranges.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyBounds {
    /// The first value of every range except the first one, as text, ascending in the column's own order.
    pub bounds: Vec<String>,
    /// The share of rows whose key is NULL, from 0 to 1.
    pub null_fraction: f64,
    /// The number of rows, if they were counted.
    pub rows: Option<u64>,
}

/// Bounds of about `n_ranges` ranges, from the planner's statistics of a column: cheap, and as old as the
/// last ANALYZE. `None` if there are no statistics, or the role may not see them.
///
/// `key_type` is the SQL name of the column's type and goes into the statement unchanged. Without `only`,
/// the statistics of the relation's whole tree are preferred.
///
/// # Errors
///
/// Errors of the server.
pub fn statistic_bounds(
    session: &mut Session,
    relation: &Relation,
    only: bool,
    column: &str,
    key_type: &str,
    n_ranges: usize,
) -> Result<Option<KeyBounds>, CatalogError> {
    let only = if only { "AND NOT s.inherited" } else { "" };
    let from = format!(
        "FROM pg_catalog.pg_stats s \
         WHERE s.schemaname OPERATOR(pg_catalog.=) $1::pg_catalog.name \
           AND s.tablename OPERATOR(pg_catalog.=) $2::pg_catalog.name \
           AND s.attname OPERATOR(pg_catalog.=) $3::pg_catalog.name {only} \
         ORDER BY s.inherited DESC LIMIT 1"
    );
    let of_column = [Some(relation.schema.as_str()), Some(relation.name.as_str()), Some(column)];
    let rows = session.query(&format!("SELECT s.null_frac::pg_catalog.text {from}"), &of_column)?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let null_fraction: f64 = parsed(row, 0)?;
    let collate = collation(session, relation, column)?;
    // Each value once, in the order in which ranges compare. Common values have a frequency; histogram
    // values have none.
    let sql = format!(
        "WITH s AS (SELECT s.* {from}), point(v, w) AS ( \
           SELECT m.v, m.w FROM s, ROWS FROM ( \
             pg_catalog.unnest(s.most_common_vals::pg_catalog.text::pg_catalog.text[]), \
             pg_catalog.unnest(s.most_common_freqs::pg_catalog.float8[])) AS m(v, w) \
           UNION ALL \
           SELECT h.v, NULL FROM s, \
             pg_catalog.unnest(s.histogram_bounds::pg_catalog.text::pg_catalog.text[]) AS h(v)) \
         SELECT DISTINCT ON (p.v::{key_type} {collate}) p.v, p.w::pg_catalog.text FROM point p \
         WHERE pg_catalog.octet_length(p.v) OPERATOR(pg_catalog.<=) {BOUND_BYTES_MAX} \
         ORDER BY p.v::{key_type} {collate}, p.w"
    );
    let rows = session.query(&sql, &of_column)?;
    let points = rows.iter().filter_map(|row| row.text(0).map(|value| (value, weight(row.text(1)))));
    let bounds = weighted_bounds(&points.collect::<Vec<_>>(), null_fraction, n_ranges);
    Ok(Some(KeyBounds { bounds, null_fraction, rows: None }))
}

/// Bounds of about `n_ranges` ranges, from quantiles. Reads and sorts all keys once.
///
/// `select` is a SELECT of one column, the key, and `key_type` the SQL name of its type. Both go into the
/// statement unchanged.
///
/// # Errors
///
/// Errors of the server.
pub fn quantile_bounds(
    session: &mut Session,
    select: &str,
    key_type: &str,
    n_ranges: usize,
) -> Result<KeyBounds, CatalogError> {
    let fractions: Vec<String> =
        (1..n_ranges.max(1)).map(|number| (number as f64 / n_ranges as f64).to_string()).collect();
    let sql = format!(
        "WITH a AS ( \
           SELECT pg_catalog.count(*) AS n, pg_catalog.count(q.k) AS n_keys, \
             (pg_catalog.percentile_disc('{{{}}}'::pg_catalog.float8[]) \
               WITHIN GROUP (ORDER BY q.k::{key_type}))::pg_catalog.text[] AS bounds \
           FROM (\n{select}\n) AS q(k)) \
         SELECT a.n::pg_catalog.text, a.n_keys::pg_catalog.text, b.v \
         FROM a LEFT JOIN LATERAL pg_catalog.unnest(a.bounds) WITH ORDINALITY AS b(v, i) \
           ON pg_catalog.octet_length(b.v) OPERATOR(pg_catalog.<=) {BOUND_BYTES_MAX} \
         ORDER BY b.i",
        fractions.join(",")
    );
    let rows = session.query(&sql, &[])?;
    let row = rows.first().ok_or(CatalogError::Unexpected("no row where one must be"))?;
    let (n_rows, n_keys): (u64, u64) = (parsed(row, 0)?, parsed(row, 1)?);
    let mut bounds: Vec<String> = rows.iter().filter_map(|row| row.text(2)).map(str::to_owned).collect();
    bounds.dedup();
    let n_nulls = n_rows.saturating_sub(n_keys);
    let null_fraction = if n_rows == 0 { 0.0 } else { n_nulls as f64 / n_rows as f64 };
    Ok(KeyBounds { bounds, null_fraction, rows: Some(n_rows) })
}

/// The `COLLATE …` clause of a column; empty if its type has no collations.
fn collation(session: &mut Session, relation: &Relation, column: &str) -> Result<String, CatalogError> {
    let sql = "SELECT n.nspname, k.collname FROM pg_catalog.pg_attribute a \
               JOIN pg_catalog.pg_collation k ON k.oid OPERATOR(pg_catalog.=) a.attcollation \
               JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) k.collnamespace \
               WHERE a.attrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
                 AND a.attname OPERATOR(pg_catalog.=) $2::pg_catalog.name";
    let rows = session.query(sql, &[Some(&relation.oid.to_string()), Some(column)])?;
    let name = rows.first().and_then(|row| Some((row.text(0)?, row.text(1)?)));
    Ok(name.map_or_else(String::new, |(schema, name)| {
        format!("COLLATE {}.{}", quote_identifier(schema), quote_identifier(name))
    }))
}

fn weight(text: Option<&str>) -> Option<f64> {
    text.and_then(|text| text.parse().ok())
}

/// The first value of each of about `n_ranges` ranges of equal weight, except that of the first range.
/// Points without a weight share equally what weighted points and NULLs leave.
fn weighted_bounds(points: &[(&str, Option<f64>)], null_fraction: f64, n_ranges: usize) -> Vec<String> {
    let n_shares = points.iter().filter(|(_, weight)| weight.is_none()).count();
    let common: f64 = points.iter().filter_map(|(_, weight)| *weight).sum();
    let share = (1.0 - null_fraction - common).max(0.0) / n_shares.max(1) as f64;
    let weight_of = |weight: Option<f64>| weight.unwrap_or(share).max(f64::EPSILON);
    let total: f64 = points.iter().map(|(_, weight)| weight_of(*weight)).sum();
    let mut bounds = Vec::new();
    let (mut before, mut range) = (0.0, 0.0);
    for (value, weight) in points {
        // The weight before this point, in units of ranges.
        let reached = (before * n_ranges as f64 / total + 1e-9).floor();
        if reached > range {
            range = reached;
            bounds.push((*value).to_owned());
        }
        before += weight_of(*weight);
    }
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_equal_weight() {
        let values: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let points: Vec<_> = values.iter().map(|value| (value.as_str(), None)).collect();
        assert_eq!(weighted_bounds(&points, 0.0, 4), ["25", "50", "75"]);
        assert_eq!(weighted_bounds(&points, 0.0, 1), [""; 0]);
        assert_eq!(weighted_bounds(&points, 0.9, 2), ["50"], "NULLs have no place among keys");
        assert_eq!(weighted_bounds(&points, 0.0, 1000).len(), 99);
        assert_eq!(weighted_bounds(&[], 1.0, 4), [""; 0]);
    }

    #[test]
    fn a_common_value_is_a_range_by_itself() {
        let points = [("1", None), ("5", Some(0.8)), ("6", None), ("9", None)];
        assert_eq!(weighted_bounds(&points, 0.0, 4), ["6"]);
        let points = [("1", Some(0.4)), ("5", Some(0.1)), ("6", Some(0.5))];
        assert_eq!(weighted_bounds(&points, 0.0, 2), ["6"]);
    }
}
