//! Which heaps of a plan are read by pages, and why the others are not.
//!
//! ```text
//!  read mode, server, role ──wish──▶ PageWish ─┐
//!                                              ├─plan──▶ PlanPages ──of(relation)──▶ PageTable
//!  slices, columns, catalog ───────────────────┘
//! ```
//!
//! Whether a page is read as such is decided when it is there, by the reader; here it is decided whom to ask for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use pgarrow_catalog::{
    HeapTable, NEWEST_KNOWN, PageAccess, Relation, RelationKind, ServerTraits, heap_tables,
    large_heap_pages, page_access,
};
use pgarrow_protocol::Session;
use pgarrow_types::{HeapLayout, PgColumn};

use crate::error::{Error, ErrorKind, Result};
use crate::options::{ExportOptions, ReadMode};
use crate::planner::PlannedSlice;
use crate::slice::SliceRange;

/// Bytes below which it is not worth while to ask for pages, unless that was asked for.
const SMALL_BYTES: u64 = 1 << 20;

/// Whether pages are wanted, and what hands them out; known before the transaction begins.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageWish {
    /// None if they are not wanted or not to be had.
    access: Option<PageAccess>,
    /// Small heaps, too.
    all: bool,
    /// Why they are not to be had.
    why_not: Vec<String>,
}

impl PageWish {
    /// What `read_mode` wishes for. Outside of a transaction.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] where pages were asked for and cannot be read, or contradict another option; the server's.
    pub(crate) fn of(
        session: &mut Session,
        traits: &ServerTraits,
        options: &ExportOptions,
        read_mode: ReadMode,
    ) -> Result<Self> {
        let is_asked_for = match read_mode {
            ReadMode::Copy | ReadMode::Select | ReadMode::Cursor => return Ok(Self::default()),
            ReadMode::Auto => false,
            ReadMode::Pages => true,
        };
        let option = [
            (options.inconsistent, "--inconsistent", "readers have snapshots of their own"),
            (options.split_on.is_some(), "--split-on", "rows are cut by a column, and not by pages"),
        ];
        if let Some((_, flag, why)) = option.into_iter().find(|(is_set, ..)| *is_set) {
            let why = format!("{why} ({flag})");
            if is_asked_for {
                let text = format!("pages cannot be read: {why}; leave it out, or read by COPY");
                return Err(Error::new(ErrorKind::Options, text));
            }
            return Ok(Self::without(why));
        }
        let version = session.server_version_num();
        if !is_asked_for && version > NEWEST_KNOWN {
            let text = format!(
                "the server is newer than PostgreSQL {}, the last that is known",
                NEWEST_KNOWN / 10_000
            );
            return Ok(Self::without(text));
        }
        match page_access(session, traits)? {
            Ok(access) => Ok(Self { access: Some(access), all: is_asked_for, why_not: Vec::new() }),
            Err(why_not) if is_asked_for => Err(not_to_be_had(&why_not)),
            Err(why_not) => Ok(Self { why_not, ..Self::default() }),
        }
    }

    /// For a slice that was planned to be read by pages: the same, but what is not possible is no error.
    pub(crate) fn of_token(session: &mut Session, traits: &ServerTraits) -> Result<Self> {
        Ok(match page_access(session, traits)? {
            Ok(access) => Self { access: Some(access), all: true, why_not: Vec::new() },
            Err(why_not) => Self { why_not, ..Self::default() },
        })
    }

    fn without(why: String) -> Self {
        Self { why_not: vec![why], ..Self::default() }
    }
}

fn not_to_be_had(why_not: &[String]) -> Error {
    let text = format!("pages cannot be read here: {}", why_not.join("; "));
    Error::new(ErrorKind::Options, text).advice(
        "`pgarrow pages status` says what is missing, and `pgarrow pages install` is for an administrator; \
         or leave --read-mode out",
    )
}

/// The heaps of a plan that are read by pages.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlanPages {
    access: Option<PageAccess>,
    /// By `pg_class.oid`.
    heaps: BTreeMap<u32, PlannedHeap>,
    /// Why not, or why not all: sentences without their full stop. Empty where pages were not wished for.
    pub(crate) why_not: Vec<String>,
}

#[derive(Clone, Debug)]
struct PlannedHeap {
    name: String,
    layout: Arc<HeapLayout>,
    visible_share: f64,
}

/// A heap that is read by pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageTable<'a> {
    /// What its pages are asked for with.
    pub(crate) access: &'a PageAccess,
    /// Where the plan's columns are.
    pub(crate) layout: &'a Arc<HeapLayout>,
    /// The share of its pages that were all-visible when VACUUM or ANALYZE looked: a first guess. 0 if none has.
    pub(crate) visible_share: f64,
}

impl PlanPages {
    /// Decides for each heap of these slices. `subject` is what was asked for.
    ///
    /// In the keeper's transaction, after its locks.
    ///
    /// # Errors
    ///
    /// The server's.
    pub(crate) fn plan(
        session: &mut Session,
        wish: &PageWish,
        subject: &str,
        columns: &[PgColumn],
        filter: Option<&str>,
        slices: &[PlannedSlice],
    ) -> Result<Self> {
        let Some(access) = &wish.access else {
            return Ok(Self { why_not: wish.why_not.clone(), ..Self::default() });
        };
        let mut pages = Self { access: Some(access.clone()), ..Self::default() };
        if filter.is_some() {
            pages.why_not.push(format!("{subject}: the server applies the filter, so rows come by COPY"));
            return Ok(pages);
        }
        let (candidates, why_not) = candidates(slices, wish.all);
        pages.why_not = why_not.into_iter().map(|why| format!("{subject}: {why}")).collect();
        let oids: Vec<u32> = candidates.iter().map(|relation| relation.oid).collect();
        let tables = heap_tables(session, Some(access), &oids, columns)?;
        let large_pages = match wish.all || oids.is_empty() {
            true => u64::MAX,
            false => large_heap_pages(session)?,
        };
        for (relation, table) in candidates.iter().zip(tables) {
            let visible_share = table.visible_share();
            let HeapTable { oid, layout, pages: n_pages, .. } = table;
            match layout {
                // Measured (benches/README.md): a range of pages displaces as much as a range of ctid does, and only a
                // scan of the whole nothing.
                Ok(_) if n_pages > large_pages && is_read_at_once(slices, relation) => {
                    let why = "it is larger than a quarter of shared_buffers, and one connection that reads all of it \
                               by COPY leaves the server's cache as it is";
                    pages.why_not.push(format!("{relation}: {why} (--read-mode pages, or more --readers)"));
                }
                Ok(layout) => {
                    let heap = PlannedHeap { name: relation.to_string(), layout, visible_share };
                    pages.heaps.insert(oid, heap);
                }
                Err(why_not) => pages.why_not.push(format!("{relation}: {}", why_not.join("; "))),
            }
        }
        Ok(pages)
    }

    /// The relation as one that is read by pages, if it is.
    pub(crate) fn of(&self, relation: &Relation) -> Option<PageTable<'_>> {
        let heap = self.heaps.get(&relation.oid)?;
        let access = self.access.as_ref()?;
        Some(PageTable { access, layout: &heap.layout, visible_share: heap.visible_share })
    }

    /// Whether anything of a slice is read by pages.
    pub(crate) fn has_some_of(&self, slice: &PlannedSlice) -> bool {
        slice.relations.iter().any(|(relation, _)| self.of(relation).is_some())
    }

    /// The relations that are read by pages.
    pub(crate) fn names(&self) -> Vec<String> {
        self.heaps.values().map(|heap| heap.name.clone()).collect()
    }
}

/// Whether one statement reads all of a relation.
fn is_read_at_once(slices: &[PlannedSlice], relation: &Relation) -> bool {
    let is_of = |slice: &&PlannedSlice| slice.relations.iter().any(|(of_slice, _)| of_slice.oid == relation.oid);
    slices.iter().filter(is_of).all(|slice| slice.range == SliceRange::Whole)
}

/// The relations of these slices that may be heaps of which every row is read; and why others are none.
fn candidates(slices: &[PlannedSlice], all: bool) -> (Vec<&Relation>, Vec<String>) {
    let mut bytes: BTreeMap<u32, (&Relation, u64, bool)> = BTreeMap::new();
    let mut why_not = Vec::new();
    let mut note = |why: String| {
        if !why_not.contains(&why) {
            why_not.push(why);
        }
    };
    for slice in slices {
        if matches!(slice.range, SliceRange::Key { .. }) {
            note("its rows are cut by a column, and not by pages".to_owned());
            continue;
        }
        for (relation, only) in &slice.relations {
            match relation.kind {
                RelationKind::Table if !only => {
                    note(format!("{relation} is read together with its children"));
                    continue;
                }
                RelationKind::Table | RelationKind::MaterializedView => {}
                kind => {
                    note(format!("{relation} is a {}", kind.as_str()));
                    continue;
                }
            }
            let of_relation = bytes.entry(relation.oid).or_insert((relation, 0, false));
            of_relation.1 = of_relation.1.saturating_add(slice.estimated_bytes);
            of_relation.2 |= slice.relations.len() > 1;
        }
    }
    let (mut candidates, mut n_small) = (Vec::new(), 0_usize);
    for (relation, bytes, is_grouped) in bytes.into_values() {
        match all || (bytes >= SMALL_BYTES && !is_grouped) {
            true => candidates.push(relation),
            false => n_small += 1,
        }
    }
    if n_small > 0 {
        let why = match (n_small, candidates.len()) {
            (1, 0) => "it is small".to_owned(),
            _ => format!("{n_small} of its tables are small"),
        };
        note(why);
    }
    (candidates, why_not)
}
