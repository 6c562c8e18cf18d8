//! Ranges of a key, for relations without readable pages: views, foreign tables, queries.
//!
//! Bounds decide only how evenly rows are spread. Every key is always in exactly one range: bounds ascend in
//! the order in which the ranges compare, the first range has no beginning and the last no end.

use pgarrow_catalog::{
    KeyBounds, Relation, RelationKind, leaves, meant, quantile_bounds, quote_identifier, relation_sizes,
    statistic_bounds, table_columns,
};
use pgarrow_protocol::Session;
use pgarrow_session::{Error, ErrorKind, Result, is_of_text};
use pgarrow_types::PgColumn;

use crate::planner::select::Selection;
use crate::planner::{PlannedSlice, Slices, Slicing, total};
use crate::slice::{KeyType, SliceRange};

/// Ranges for each reader: each range runs the whole view or query, which may cost as much as reading all of
/// it.
const RANGES_PER_READER: usize = 2;
/// Ranges where their order matters.
const RANGES_ORDERED: usize = 8;
/// Ranges of a key at most. Statistics have about a hundred bounds.
const RANGES_MAX: u64 = 1000;

/// What is cut into ranges of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeySource<'a> {
    /// A relation, with or without its children; and the relations read for it, each with or without its own
    /// children.
    Relation { relation: &'a Relation, reads: &'a [(Relation, bool)], only: bool, filter: Option<&'a str> },
    /// A query, and the columns of its result.
    Query { sql: &'a str, columns: &'a [PgColumn] },
}

/// Slices by ranges of the column that `slicing` names.
///
/// Runs in the keeper's transaction, after its snapshot. Without statistics that the role may see, it reads
/// the relation or query once.
///
/// # Errors
///
/// [`ErrorKind::Options`] if there is no such column, or several, or its type has no ranges; the server's
/// errors.
pub(crate) fn key_slices(session: &mut Session, source: KeySource<'_>, slicing: &Slicing) -> Result<Slices> {
    let name = slicing.split_on.as_deref().ok_or_else(|| refused("no column is named to split on"))?;
    let (key, relations) = match source {
        KeySource::Relation { relation, reads, only, .. } => {
            let columns = table_columns(session, relation, only)?;
            let Some(key) = columns.iter().find(|column| column.column.name == name) else {
                let known = columns.iter().map(|column| column.column.name.as_str());
                let text = format!("{relation} has no column {name:?} to split on{}", meant(name, known));
                return Err(refused(&text));
            };
            (key.column.clone(), reads.to_vec())
        }
        KeySource::Query { columns, .. } => (only_column(columns, name)?.clone(), Vec::new()),
    };
    let key_type = KeyType::of(&key).ok_or_else(|| {
        refused(&format!(
            "column {name:?} is of type {}, which cannot be split on; use a column of smallint, integer, bigint, \
             date, timestamp, uuid, text or varchar",
            key.type_name
        ))
    })?;
    let size = Size::of(session, source, name)?;
    let n_ranges = n_ranges(slicing, &size);
    if n_ranges <= 1 {
        return Ok(Slices::one(relations, "there is one reader").with_size(&size));
    }
    let (bounds, how) =
        bounds(session, source, &key, key_type, n_ranges).map_err(|error| match is_of_text(error.sqlstate()) {
            // The bounds are its values, and they come as text.
            true => refused(&format!(
                "column {name:?} holds text that is not valid in UTF-8, so it cannot be split on; split on another column"
            )),
            false => error,
        })?;
    let ranges = ranges(&bounds, key.nullable, n_ranges, name, key_type);
    if ranges.len() <= 1 {
        let why = format!("column {name:?} has too few values to split on");
        return Ok(Slices::one(relations, why).refused().with_size(&size));
    }
    let n_slices = ranges.len() as u64;
    let rows = bounds.rows.or(size.rows);
    let slices = ranges.into_iter().map(|range| PlannedSlice {
        relations: relations.clone(),
        range,
        estimated_bytes: size.bytes / n_slices,
        estimated_rows: rows.map(|rows| rows / n_slices),
    });
    let mut what = format!("ranges of column {name:?}, {how}");
    if let KeySource::Query { .. } = source {
        what.push_str(
            "; each runs the query, so its rows must not depend on chance (random(), LIMIT without a full ORDER BY)",
        );
    }
    Ok(Slices::several(slices.collect(), &what))
}

/// What is known about how much will be read.
#[derive(Debug, Default)]
struct Size {
    bytes: u64,
    rows: Option<u64>,
}

impl Size {
    fn of(session: &mut Session, source: KeySource<'_>, key: &str) -> Result<Self> {
        let KeySource::Relation { relation, only, .. } = source else {
            return Ok(Self::default());
        };
        if relation.kind == RelationKind::View {
            return Ok(Self::default());
        }
        let leaves = leaves(session, relation, &[key.to_owned()])?;
        let leaves = leaves.iter().map(|leaf| leaf.relation.oid);
        let oids: Vec<u32> = leaves.filter(|oid| !only || *oid == relation.oid).collect();
        let sizes = relation_sizes(session, &oids)?;
        Ok(Self {
            bytes: total(sizes.iter().map(|size| size.bytes)),
            rows: sizes.iter().map(|size| size.estimated_rows).sum(),
        })
    }
}

impl Slices {
    fn with_size(mut self, size: &Size) -> Self {
        for slice in &mut self.slices {
            slice.estimated_bytes = size.bytes;
            slice.estimated_rows = size.rows;
        }
        self
    }
}

/// The number of ranges: enough for readers to end about together, or slices of the size that the user chose.
fn n_ranges(slicing: &Slicing, size: &Size) -> usize {
    let by_readers = match slicing.readers {
        // With an order, the files must be the same for any number of readers.
        _ if slicing.ordered => RANGES_ORDERED,
        0 | 1 => 1,
        readers => readers.saturating_mul(RANGES_PER_READER),
    };
    match slicing.slice_bytes {
        Some(bytes) if size.bytes > 0 => {
            let n_ranges = size.bytes.div_ceil(bytes.max(1)).clamp(1, RANGES_MAX);
            usize::try_from(n_ranges).unwrap_or(by_readers)
        }
        _ => by_readers,
    }
}

/// The bounds, and where they are from.
fn bounds(
    session: &mut Session,
    source: KeySource<'_>,
    key: &PgColumn,
    key_type: KeyType,
    n_ranges: usize,
) -> Result<(KeyBounds, &'static str)> {
    let column = std::slice::from_ref(key);
    let (selection, what) = match source {
        KeySource::Relation { relation, reads, only, filter } => {
            let known = statistic_bounds(session, relation, only, &key.name, key_type.sql(), n_ranges)?;
            if let Some(bounds) = known.filter(|bounds| !bounds.bounds.is_empty()) {
                return Ok((bounds, "balanced by the server's statistics"));
            }
            let whole = PlannedSlice {
                relations: reads.to_vec(),
                range: SliceRange::Whole,
                estimated_bytes: 0,
                estimated_rows: None,
            };
            let select = Selection::of_table(relation, column, filter).select(&whole);
            (select, "balanced by quantiles, for which its keys were read once")
        }
        KeySource::Query { sql, columns } => {
            let names: Vec<String> = (1..=columns.len()).map(|number| format!("c{number}")).collect();
            let index = columns.iter().position(|column| column.name == key.name).unwrap_or_default();
            let name = names.get(index).map_or("", String::as_str);
            let select = format!("SELECT {name} FROM (\n{sql}\n) AS s ({})", names.join(", "));
            (select, "balanced by quantiles, for which the query was run once")
        }
    };
    Ok((quantile_bounds(session, &selection, key_type.sql(), n_ranges)?, what))
}

/// The ranges between bounds, with NULL keys in one of them.
fn ranges(
    bounds: &KeyBounds,
    nullable: bool,
    n_ranges: usize,
    column: &str,
    pg_type: KeyType,
) -> Vec<SliceRange> {
    let key = |from: Option<&String>, to: Option<&String>, nulls: bool| SliceRange::Key {
        column: column.to_owned(),
        pg_type,
        from: from.cloned(),
        to: to.cloned(),
        nulls,
    };
    let bounds_of = &bounds.bounds;
    if bounds_of.is_empty() {
        return vec![SliceRange::Whole];
    }
    // Many NULLs have a slice of their own; few are read with the lowest keys.
    let nulls_apart = nullable && bounds.null_fraction > 1.0 / n_ranges as f64;
    let froms = std::iter::once(None).chain(bounds_of.iter().map(Some));
    let tos = bounds_of.iter().map(Some).chain(std::iter::once(None));
    let ranges = froms.zip(tos).map(|(from, to)| key(from, to, nullable && !nulls_apart && from.is_none()));
    ranges.chain(nulls_apart.then(|| key(None, None, true))).collect()
}

/// The one column of this name.
fn only_column<'a>(columns: &'a [PgColumn], name: &str) -> Result<&'a PgColumn> {
    let mut named = columns.iter().filter(|column| column.name == name);
    match (named.next(), named.next()) {
        (Some(column), None) => Ok(column),
        (None, _) => {
            let names = columns.iter().map(|column| quote_identifier(&column.name)).collect::<Vec<_>>();
            let near = meant(name, columns.iter().map(|column| column.name.as_str()));
            let text =
                format!("the query has no column {name:?} to split on{near}; it has {}", names.join(", "));
            Err(refused(&text))
        }
        (Some(_), Some(_)) => Err(refused(&format!("several columns of the query are named {name:?}"))),
    }
}

fn refused(why: &str) -> Error {
    Error::new(ErrorKind::Options, why)
}
