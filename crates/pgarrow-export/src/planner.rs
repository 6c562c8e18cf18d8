//! How an export is cut into slices: many and small, so that readers who take them from a queue end together.
//!
//! ```text
//!  table ──leaves──▶ may each leaf be read alone? ──yes──▶ sizes ──cut──▶ ranges of pages, small leaves
//!                                 └──no──▶ one slice, and the reason
//!  view, query, foreign table ──split_on──▶ bounds of a key ──▶ ranges of the key
//! ```
//!
//! Reading the leaves equals reading the parent only if policies and privileges allow it and a filter means
//! the same on a leaf: [`table_slices`] holds the rules.

pub(crate) mod cut;
mod filter;
mod key;
mod pages;
pub(crate) mod select;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use pgarrow_catalog::{
    Leaf, Relation, RelationKind, RelationSize, ServerTraits, relation_sizes, row_security_applies,
};
use pgarrow_protocol::Session;
use pgarrow_session::Result;
use pgarrow_types::option::SPLIT_ON;
use pgarrow_types::{Message, message};

pub(crate) use key::{KeySource, key_slices};
pub(crate) use pages::{PageTable, PageWish, PlanPages, WantedPages};

use crate::options::ExportOptions;
use crate::slice::SliceRange;
use cut::{Cut, Piece, cut};

/// Since PostgreSQL 14 a range of `ctid` is read without reading the whole table.
const TID_RANGE_SCAN: u32 = 140_000;

/// The most leaves that a range of a key names: the server processes a statement of many parts by recursion.
const LEAVES_OF_RANGE: usize = 1000;

const ONE_READER: &str = "there is one reader";

/// What to cut into, and how.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Slicing {
    /// How many connections will read.
    pub(crate) readers: usize,
    /// Bytes of a slice on the server's disk. Without it the size suits the number of readers.
    pub(crate) slice_bytes: Option<u64>,
    /// Slices are handed out in order, so they have one size and follow the order of pages.
    pub(crate) ordered: bool,
    /// The column whose values are cut into ranges, instead of pages.
    pub(crate) split_on: Option<String>,
    /// The relation's own rows, without those of its children.
    pub(crate) only: bool,
    /// It is one of many tables, none of which can be split on a column.
    pub(crate) is_of_many: bool,
}

impl Slicing {
    /// From the options of an export.
    pub(crate) fn of(options: &ExportOptions) -> Self {
        Self {
            readers: options.readers_wanted(),
            slice_bytes: options.slice_bytes,
            ordered: options.ordered,
            split_on: options.split_on.clone(),
            only: false,
            is_of_many: false,
        }
    }

    /// Advice for a relation that cannot be read by pages.
    fn split_on_advice(&self) -> Message {
        let front = if self.is_of_many { "export it by itself, and " } else { "" };
        message![front, "name a column to split on (", SPLIT_ON, ")"]
    }
}

/// A part of an export that is read by one statement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PlannedSlice {
    /// What is read, and whether without its children. Empty for a query.
    pub(crate) relations: Vec<(Relation, bool)>,
    /// Which part of the relation. For several relations, the whole.
    pub(crate) range: SliceRange,
    /// Bytes on the server's disk, about; 0 if that is not known.
    pub(crate) estimated_bytes: u64,
    /// Rows, about. A filter is not considered.
    pub(crate) estimated_rows: Option<u64>,
}

/// All slices of an export: every row is in exactly one of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Slices {
    pub(crate) slices: Vec<PlannedSlice>,
    /// How it was cut, or why not. One sentence without its full stop.
    pub(crate) note: Message,
    /// Why it is one slice, if it is; with advice where [`is_refused`](Self::is_refused).
    pub(crate) one_stream: Option<Message>,
    /// It cannot be cut as it stands, however large it is.
    pub(crate) is_refused: bool,
}

impl Slices {
    /// Several slices. `what` says of what.
    fn several(slices: Vec<PlannedSlice>, what: &str) -> Self {
        let note = format!("{} slices: {what}", slices.len());
        Self { slices, note: note.into(), one_stream: None, is_refused: false }
    }

    /// One slice for everything, since it is small or has one reader.
    pub(crate) fn one(relations: Vec<(Relation, bool)>, why: impl Into<Message>) -> Self {
        let slice =
            PlannedSlice { relations, range: SliceRange::Whole, estimated_bytes: 0, estimated_rows: None };
        Self::only_one(slice, why)
    }

    fn only_one(slice: PlannedSlice, why: impl Into<Message>) -> Self {
        let why = why.into();
        Self {
            slices: vec![slice],
            note: why.clone().behind("one stream: "),
            one_stream: Some(why),
            is_refused: false,
        }
    }

    /// Marks that it cannot be cut, however large it is.
    pub(crate) fn refused(self) -> Self {
        Self { is_refused: true, ..self }
    }

    /// All slices in one, for one statement. `why` is the reason.
    pub(crate) fn in_one(self, why: &str) -> Self {
        let mut one = Self::one(Vec::new(), why);
        if let [whole] = one.slices.as_mut_slice() {
            whole.estimated_bytes = total(self.slices.iter().map(|slice| slice.estimated_bytes));
            whole.estimated_rows = self.slices.iter().map(|slice| slice.estimated_rows).sum();
            let mut seen = HashSet::new();
            let relations = self.slices.into_iter().flat_map(|slice| slice.relations);
            whole.relations = relations.filter(|(relation, _)| seen.insert(relation.oid)).collect();
        }
        one
    }

    fn with_sizes(mut self, sizes: &[RelationSize]) -> Self {
        if let [slice] = self.slices.as_mut_slice() {
            slice.estimated_bytes = total(sizes.iter().map(|size| size.bytes));
            slice.estimated_rows = sizes.iter().map(|size| size.estimated_rows).sum();
        }
        self
    }
}

/// A relation in one slice, as the user asked for it.
pub(crate) fn whole(relation: &Relation, only: bool, why: impl Into<Message>) -> Slices {
    Slices::one(vec![(relation.clone(), only)], why)
}

/// Whether a table without children can be read as `ONLY`, so that no table is read that becomes its child
/// after the snapshot.
pub(crate) fn can_be_read_alone(relation: &Relation, traits: &ServerTraits) -> bool {
    relation.kind == RelationKind::Table
        && traits.is_plain_postgres
        && traits.foreign_slicing_extension.is_none()
}

/// What the statements for ranges of a key read: each existing leaf alone, if that equals reading the
/// relation. Then no statement reads a leaf that is attached after the snapshot.
pub(crate) fn reads_of_key_ranges(
    session: &mut Session,
    relation: &Relation,
    leaves: &[Leaf],
    traits: &ServerTraits,
    filter: Option<&str>,
    slicing: &Slicing,
) -> Result<Vec<(Relation, bool)>> {
    let leaves: Vec<&Leaf> = leaves.iter().collect();
    let itself = |only| Ok(vec![(relation.clone(), only)]);
    let is_leaf = leaves.iter().any(|leaf| leaf.relation.oid == relation.oid);
    if leaves.len() <= 1 && is_leaf {
        return itself(slicing.only || can_be_read_alone(relation, traits));
    }
    if slicing.only
        || leaves.is_empty()
        || leaves.len() > LEAVES_OF_RANGE
        || refusal(session.server_version_num(), relation, &leaves, traits, filter, &Message::default())
            .is_some()
        || (!is_leaf && row_security_applies(session, relation)?)
    {
        return itself(slicing.only);
    }
    Ok(leaves.iter().map(|leaf| (leaf.relation.clone(), true)).collect())
}

/// Why there is nothing to cut.
fn few_pages(relation: &Relation, slices: &[PlannedSlice]) -> String {
    /// All bytes that are read, rows stored out of line included.
    const SMALL_BYTES: u64 = 8 << 20;
    match slices.iter().map(|slice| slice.estimated_bytes).sum::<u64>() {
        0..SMALL_BYTES => format!("{relation} is small"),
        _ => format!("{relation} has too few pages to be cut, since most of it is stored out of line"),
    }
}

/// The slices of a relation. `leaves` is what the catalog says is read for it.
///
/// Runs in the keeper's transaction, after its snapshot: it counts pages, and no row of the snapshot is on a
/// page that is added later.
///
/// # Errors
///
/// The server's.
pub(crate) fn table_slices(
    session: &mut Session,
    relation: &Relation,
    leaves: &[Leaf],
    traits: &ServerTraits,
    filter: Option<&str>,
    slicing: &Slicing,
) -> Result<Slices> {
    // With `only`, just the relation's own leaf is read, if it has one.
    let leaves: Vec<&Leaf> =
        leaves.iter().filter(|leaf| !slicing.only || leaf.relation.oid == relation.oid).collect();
    let oids: Vec<u32> = leaves.iter().map(|leaf| leaf.relation.oid).collect();
    let sizes = relation_sizes(session, &oids)?;
    let is_childless = matches!(leaves.as_slice(), [leaf] if leaf.relation.oid == relation.oid);
    let only = slicing.only || (is_childless && can_be_read_alone(relation, traits));
    let one = |why: Message| Ok(whole(relation, only, why).with_sizes(&sizes));
    let is_for_one = slicing.readers <= 1 && slicing.slice_bytes.is_none() && !slicing.ordered;
    if is_for_one && is_childless {
        return one(ONE_READER.into());
    }
    let split_on = slicing.split_on_advice();
    if let Some(why) = refusal(session.server_version_num(), relation, &leaves, traits, filter, &split_on) {
        return Ok(one(why)?.refused());
    }
    // A partitioned table has no leaf that is the table itself, but may have policies.
    let is_leaf = leaves.iter().any(|leaf| leaf.relation.oid == relation.oid);
    if !is_leaf && row_security_applies(session, relation)? {
        let why = split_on.behind(format!("row security applies to {relation}; "));
        return Ok(one(why)?.refused());
    }
    let has_ranges = session.server_version_num() >= TID_RANGE_SCAN;
    let pieces = leaves.iter().zip(&sizes).map(|(leaf, size)| Piece {
        pages: size.pages,
        bytes: size.bytes,
        rows: size.estimated_rows,
        by_pages: has_ranges && leaf.is_heap && leaf.is_wholly_readable && !is_for_one,
    });
    let cuts = cut(&pieces.collect::<Vec<_>>(), slicing);
    // One slice, too, names the existing leaves: it does not read a leaf that is attached after the snapshot.
    let slices: Vec<PlannedSlice> = cuts.into_iter().map(|cut| planned(cut, &leaves)).collect();
    if slices.len() <= 1 {
        let why = if is_for_one { ONE_READER.to_owned() } else { few_pages(relation, &slices) };
        return match slices.into_iter().next() {
            Some(slice) => Ok(Slices::only_one(slice, why)),
            None => one(why.into()),
        };
    }
    let by_pages = slices.iter().any(|slice| matches!(slice.range, SliceRange::Pages { .. }));
    let what = match (is_leaf && leaves.len() == 1, by_pages) {
        (true, _) => format!("ranges of pages of {relation}"),
        (false, true) => format!("ranges of pages of the {} tables of {relation}", leaves.len()),
        (false, false) => format!("the {} tables of {relation}", leaves.len()),
    };
    Ok(Slices::several(slices, &what))
}

/// Why several connections cannot read a relation in parts, decided without a query.
fn refusal(
    server_version_num: u32,
    relation: &Relation,
    leaves: &[&Leaf],
    traits: &ServerTraits,
    filter: Option<&str>,
    split_on: &Message,
) -> Option<Message> {
    let or_split = |why: String| Some(message![why, "; ", split_on]);
    match relation.kind {
        RelationKind::View => return or_split(format!("{relation} is a view")),
        RelationKind::ForeignTable if leaves.len() <= 1 => {
            return or_split(format!("{relation} is a foreign table"));
        }
        _ => {}
    }
    if !traits.is_plain_postgres {
        return or_split(format!("{} is not plain PostgreSQL", traits.product));
    }
    if let Some(extension) = &traits.foreign_slicing_extension {
        return or_split(format!("tables of the extension {extension} keep rows elsewhere"));
    }
    if let Some(leaf) = leaves.iter().find(|leaf| leaf.row_security) {
        return or_split(format!("row security applies to {}", leaf.relation));
    }
    match leaves {
        [] => Some(format!("{relation} has no rows of its own").into()),
        [leaf] if leaf.relation.oid == relation.oid => {
            if !leaf.is_wholly_readable {
                return or_split(format!("the role may read only columns of {relation}"));
            }
            if !leaf.is_heap {
                return or_split(format!("{relation} is not stored in a heap"));
            }
            match server_version_num < TID_RANGE_SCAN {
                true => or_split("the server is older than PostgreSQL 14".to_owned()),
                false => None,
            }
        }
        _ => {
            // The columns of a filter are not known, so it needs them all.
            let may_read = |leaf: &Leaf| match filter {
                Some(_) => leaf.is_wholly_readable,
                None => leaf.is_readable,
            };
            let mut hidden = leaves.iter().filter(|leaf| !may_read(leaf));
            if let Some(leaf) = hidden.next() {
                let (more, on, schemas) = match hidden.count() {
                    0 => (String::new(), "it", "its schema"),
                    n_more => {
                        (format!(" and {n_more} more of the tables of {relation}"), "them", "their schemas")
                    }
                };
                let text = format!(
                    "the role may not read {}{more} by itself, only through {relation}; GRANT SELECT on {on}, and USAGE \
                     on {schemas}, or ",
                    leaf.relation
                );
                return Some(message![text, split_on]);
            }
            let whole_row = filter.is_some_and(|filter| filter::may_name_whole_row(filter, &relation.name));
            whole_row.then(|| {
                let text = format!(
                    "the filter names {relation} other than for a column, and its tables' rows differ; name columns \
                     in it, or "
                );
                message![text, split_on]
            })
        }
    }
}

fn planned(cut: Cut, leaves: &[&Leaf]) -> PlannedSlice {
    let relations = cut.pieces.iter().filter_map(|index| leaves.get(*index));
    let range = match cut.pages {
        Some((from, to)) => SliceRange::Pages { from, to },
        None => SliceRange::Whole,
    };
    PlannedSlice {
        relations: relations.map(|leaf| (leaf.relation.clone(), true)).collect(),
        range,
        estimated_bytes: cut.bytes,
        estimated_rows: cut.rows,
    }
}

/// A saturating sum.
fn total(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}
