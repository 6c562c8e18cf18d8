//! Which heaps of a plan are read by pages, and why the others are not.
//!
//! ```text
//!  read mode, options ──▶ PageWish ─┐
//!                                   ├──candidates──▶ access, layouts, cost ──▶ PlanPages ──of()──▶ PageTable
//!  slices, columns ──▶ WantedPages ─┘
//! ```
//!
//! The reader decides about each page after it has arrived; the planner decides for which heaps to ask for
//! pages. It queries the server only if that is still open, and once for all plans of a run.

mod worth;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pgarrow_catalog::{
    CatalogError, HeapGroup, HeapTable, NEWEST_KNOWN, OLDEST_BY_PAGES, PageAccess, PageSource, Relation,
    RelationKind, ServerTraits, ask_about_pages, heap_tables_of_many, large_heap_pages, page_access,
};
use pgarrow_protocol::Session;
use pgarrow_session::{Error, ErrorKind, Result};
use pgarrow_types::call::{INSTALL_PAGES, PAGES_STATUS};
use pgarrow_types::option::{INCONSISTENT, READ_MODE, READERS, SPLIT_ON};
use pgarrow_types::{HeapLayout, Message, PgColumn, message};

use crate::options::{ExportOptions, ReadMode};
use crate::planner::PlannedSlice;
use crate::slice::SliceRange;
use worth::{is_worth_it, pays_for_trips};

/// Below this size, pages are not worthwhile, unless the user asked for them.
const SMALL_BYTES: u64 = 1 << 20;

const PAGE_BYTES: u64 = 8192;

/// Whether pages are wanted. Known before the transaction begins.
#[derive(Clone, Debug)]
pub(crate) enum PageWish {
    /// Pages are not wanted, or not possible for this reason.
    No(Option<Message>),
    /// Pages of large heaps where they cost less than COPY, if they are possible.
    Cheaper(Box<ServerTraits>),
    /// Pages of every heap, if they are possible: a slice was planned so.
    Planned(Box<ServerTraits>),
    /// Pages of every heap. They are possible.
    All(PageAccess),
}

impl Default for PageWish {
    fn default() -> Self {
        Self::No(None)
    }
}

impl PageWish {
    /// What `read_mode` wants. Runs outside of a transaction.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] if the user asked for pages that cannot be read, or that contradict another
    /// option; the server's errors.
    pub(crate) fn of(
        session: &mut Session,
        traits: &ServerTraits,
        options: &ExportOptions,
        read_mode: ReadMode,
        has_limit: bool,
    ) -> Result<Self> {
        let is_asked_for = match read_mode {
            ReadMode::Copy | ReadMode::Select | ReadMode::Cursor => return Ok(Self::default()),
            ReadMode::Auto => false,
            ReadMode::Pages => true,
        };
        let option = [
            (options.inconsistent, INCONSISTENT, "readers have snapshots of their own"),
            (options.split_on.is_some(), SPLIT_ON, "rows are cut by a column, and not by pages"),
        ];
        if has_limit {
            let why = "pages come whole, and a limit counts rows";
            return match is_asked_for {
                true => Err(Error::new(ErrorKind::Options, format!("{why}; leave it out, or read by COPY"))),
                false => Ok(Self::No(Some(why.into()))),
            };
        }
        if let Some((_, option, why)) = option.into_iter().find(|(is_set, ..)| *is_set) {
            let why = message![why, " (", option, ")"];
            if is_asked_for {
                let error = Error::new(ErrorKind::Options, why.behind("pages cannot be read: "));
                return Err(error.advice("leave it out, or read by COPY"));
            }
            return Ok(Self::No(Some(why)));
        }
        let version = session.server_version_num();
        if !is_asked_for && version > NEWEST_KNOWN {
            let text = format!(
                "the server is newer than PostgreSQL {}, the last that is known",
                NEWEST_KNOWN / 10_000
            );
            return Ok(Self::No(Some(text.into())));
        }
        if !is_asked_for && traits.is_plain_postgres {
            return Ok(Self::Cheaper(Box::new(traits.clone())));
        }
        // Servers that are not plain PostgreSQL are not queried: they may know no savepoints.
        match page_access(session, traits)? {
            Ok(access) => Ok(Self::All(access)),
            Err(why_not) if is_asked_for => Err(not_to_be_had(why_not)),
            Err(why_not) => Ok(Self::No(Some(Message::join(why_not, "; ")))),
        }
    }

    /// For a slice that was planned to be read by pages: if that is not possible, it is no error.
    pub(crate) fn of_token(traits: &ServerTraits) -> Self {
        Self::Planned(Box::new(traits.clone()))
    }
}

fn not_to_be_had(why_not: Vec<Message>) -> Error {
    let text = Message::join(why_not, "; ").behind("pages cannot be read here: ");
    Error::new(ErrorKind::Options, text).advice(message![
        PAGES_STATUS,
        " says what is missing, and ",
        INSTALL_PAGES,
        " is for an administrator; or leave ",
        READ_MODE,
        " out"
    ])
}

/// The heaps of a plan that are read by pages.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlanPages {
    access: Option<PageAccess>,
    /// By `pg_class.oid`.
    heaps: BTreeMap<u32, PlannedHeap>,
    /// Why no heap, or not every heap, is read by pages: sentences without their full stop. Empty if pages
    /// were not wanted.
    pub(crate) why_not: Vec<Message>,
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
    /// How to ask for its pages.
    pub(crate) access: &'a PageAccess,
    /// Where the plan's columns are.
    pub(crate) layout: &'a Arc<HeapLayout>,
    /// The share of pages that were all-visible at the last VACUUM or ANALYZE: a first guess. 0 without
    /// either.
    pub(crate) visible_share: f64,
}

/// A plan whose heaps may be read by pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WantedPages<'a> {
    /// What the user asked for, in words.
    pub(crate) subject: &'a str,
    pub(crate) columns: &'a [PgColumn],
    pub(crate) filter: Option<&'a str>,
    pub(crate) slices: &'a [PlannedSlice],
}

impl PlanPages {
    /// Decides for each heap of these plans, which belong to one run. The result is in the order of the
    /// plans.
    ///
    /// Runs in the keeper's transaction, after its locks.
    ///
    /// # Errors
    ///
    /// The server's errors; unless the user asked for pages, only those that end the session, and a
    /// cancellation.
    pub(crate) fn plan(
        session: &mut Session,
        wish: &PageWish,
        wanted: &[WantedPages<'_>],
    ) -> Result<Vec<Self>> {
        // Without a network, a long answer says that the machine is busy.
        let trip = session.shortest_trip().filter(|_| session.config().is_remote());
        let (candidates, mut plans): (Vec<Vec<&Relation>>, Vec<Self>) =
            wanted.iter().map(|wanted| wanted.candidates(wish, trip)).unzip();
        if candidates.iter().all(Vec::is_empty) {
            return Ok(plans);
        }
        let is_weighed = matches!(wish, PageWish::Cheaper(_));
        let found = match wish {
            PageWish::No(_) => return Ok(plans),
            PageWish::All(access) => Ok(Found::of(session, access.clone(), is_weighed, wanted, &candidates)?),
            PageWish::Cheaper(traits) | PageWish::Planned(traits) => {
                let groups = groups(wanted, &candidates);
                unless_refused(session, traits, &groups, |session| {
                    Ok(match page_access(session, traits)? {
                        Ok(access) => Ok(Found::of(session, access, is_weighed, wanted, &candidates)?),
                        Err(why_not) => Err(why_not),
                    })
                })?
            }
        };
        let with_candidates = plans.iter_mut().zip(wanted).zip(candidates).filter(|(_, of)| !of.is_empty());
        match found {
            Err(why_not) => {
                with_candidates.for_each(|((plan, _), _)| plan.why_not.extend(why_not.iter().cloned()));
            }
            Ok(Found { access, tables, large_pages }) => {
                let tables = tables.into_iter().filter(|tables| !tables.is_empty());
                let is_remote = session.config().is_remote();
                for (((plan, wanted), candidates), tables) in with_candidates.zip(tables) {
                    for (relation, table) in candidates.into_iter().zip(tables) {
                        let by_copy = match is_weighed {
                            true => wanted.why_copy(relation, &table, &access, large_pages, is_remote),
                            false => None,
                        };
                        plan.add(relation, table, by_copy);
                    }
                    plan.access = Some(access.clone());
                }
            }
        }
        Ok(plans)
    }

    /// Adds a heap, unless its pages cannot be read or `by_copy` says why it is read by COPY.
    fn add(&mut self, relation: &Relation, table: HeapTable, by_copy: Option<Message>) {
        let visible_share = table.visible_share();
        match (table.layout, by_copy) {
            (Err(why_not), _) => self.why_not.push(format!("{relation}: {}", why_not.join("; ")).into()),
            (Ok(_), Some(why)) => self.why_not.push(why.behind(format!("{relation}: "))),
            (Ok(layout), None) => {
                let heap = PlannedHeap { name: relation.to_string(), layout, visible_share };
                self.heaps.insert(table.oid, heap);
            }
        }
    }

    /// How the relation is read by pages, if it is.
    pub(crate) fn of(&self, relation: &Relation) -> Option<PageTable<'_>> {
        let heap = self.heaps.get(&relation.oid)?;
        let access = self.access.as_ref()?;
        Some(PageTable { access, layout: &heap.layout, visible_share: heap.visible_share })
    }

    /// Whether any relation of a slice is read by pages.
    pub(crate) fn has_some_of(&self, slice: &PlannedSlice) -> bool {
        slice.relations.iter().any(|(relation, _)| self.of(relation).is_some())
    }

    /// Whether the server looks the heap up by name for every page and releases its lock after it.
    pub(crate) fn are_by_name(&self) -> bool {
        let is_by_name = |access: &PageAccess| matches!(access.source, PageSource::Inspect { .. });
        !self.heaps.is_empty() && self.access.as_ref().is_some_and(is_by_name)
    }

    /// The relations that are read by pages.
    pub(crate) fn names(&self) -> Vec<String> {
        self.heaps.values().map(|heap| heap.name.clone()).collect()
    }
}

/// What the server says about candidates.
struct Found {
    access: PageAccess,
    /// For each plan, the tables of its candidates.
    tables: Vec<Vec<HeapTable>>,
    /// A heap with more pages is large for the server's cache; matters if pages are weighed against COPY.
    large_pages: u64,
}

impl Found {
    fn of(
        session: &mut Session,
        access: PageAccess,
        is_weighed: bool,
        wanted: &[WantedPages<'_>],
        candidates: &[Vec<&Relation>],
    ) -> Result<Self, CatalogError> {
        let tables = heap_tables_of_many(session, Some(&access), &groups(wanted, candidates))?;
        let large_pages = if is_weighed { large_heap_pages(session)? } else { u64::MAX };
        Ok(Self { access, tables, large_pages })
    }
}

/// The candidates of each plan, and its columns.
fn groups<'a>(wanted: &[WantedPages<'a>], candidates: &[Vec<&Relation>]) -> Vec<HeapGroup<'a>> {
    let group = |(wanted, candidates): (&WantedPages<'a>, &Vec<&Relation>)| HeapGroup {
        relations: candidates.iter().map(|relation| relation.oid).collect(),
        columns: wanted.columns,
    };
    wanted.iter().zip(candidates).map(group).collect()
}

/// What `ask` finds about these, or the server's refusal; the transaction goes on either way.
fn unless_refused<T>(
    session: &mut Session,
    traits: &ServerTraits,
    groups: &[HeapGroup<'_>],
    ask: impl FnOnce(&mut Session) -> Result<Result<T, Vec<Message>>, CatalogError>,
) -> Result<Result<T, Vec<Message>>> {
    const SAVEPOINT: &str = "SAVEPOINT pgarrow_pages";
    let answers = match traits.is_plain_postgres && session.server_version_num() >= OLDEST_BY_PAGES {
        true => ask_about_pages(session, SAVEPOINT, groups)?,
        false => {
            session.execute(SAVEPOINT)?;
            Vec::new()
        }
    };
    let answer = match session.with_answers(answers, ask) {
        Ok(answer) => answer,
        Err(error) if error.is_refusal() => {
            Err(vec![format!("the server does not say whether pages can be read: {error}").into()])
        }
        Err(error) => return Err(error.into()),
    };
    match &answer {
        Ok(_) => session.execute("RELEASE SAVEPOINT pgarrow_pages")?,
        Err(_) => {
            session.execute("ROLLBACK TO SAVEPOINT pgarrow_pages; RELEASE SAVEPOINT pgarrow_pages")?;
        }
    }
    Ok(answer)
}

impl<'a> WantedPages<'a> {
    /// The relations that may be read by pages, decided without a query; and a plan that says why the others
    /// are not.
    fn candidates(&self, wish: &PageWish, trip: Option<Duration>) -> (Vec<&'a Relation>, PlanPages) {
        let (candidates, why_not) = match (wish, self.filter) {
            (PageWish::No(why), _) => (Vec::new(), why.iter().cloned().collect()),
            (_, Some(_)) => {
                let why = format!("{}: the server applies the filter, so rows come by COPY", self.subject);
                (Vec::new(), vec![why.into()])
            }
            (wish, None) => {
                let weighs = |size: &Size| {
                    pays_for_trips(size.bytes / PAGE_BYTES, size.rows, self.columns.len(), trip)
                };
                let (candidates, why_not) = match wish {
                    PageWish::Cheaper(_) => candidates(self.slices, Some(&weighs)),
                    PageWish::No(_) | PageWish::Planned(_) | PageWish::All(_) => {
                        candidates(self.slices, None)
                    }
                };
                let why_not = why_not.into_iter().map(|why| format!("{}: {why}", self.subject).into());
                (candidates, why_not.collect())
            }
        };
        (candidates, PlanPages { why_not, ..PlanPages::default() })
    }

    /// Why COPY is better for a heap, if it is.
    fn why_copy(
        &self,
        relation: &Relation,
        table: &HeapTable,
        access: &PageAccess,
        large_pages: u64,
        is_remote: bool,
    ) -> Option<Message> {
        // Measured (benches/README.md): reading a range of pages displaces as much of the cache as a range of
        // ctid; only a scan of the whole table displaces nothing.
        if table.pages > large_pages && is_read_at_once(self.slices, relation) {
            return Some(message![
                "it is larger than a quarter of shared_buffers, and one connection that reads all of it by COPY leaves \
                 the server's cache as it is (",
                READ_MODE.to("pages"),
                ", or several connections: ",
                READERS,
                ")"
            ]);
        }
        let is_worth_it = is_worth_it(table, self.columns.len(), &access.source, is_remote);
        (!is_worth_it).then(|| {
            message![
                "its pages hold too little of what is wanted to be worth it (",
                READ_MODE.to("pages"),
                " reads them all the same)"
            ]
        })
    }
}

/// Whether one statement reads all of a relation.
fn is_read_at_once(slices: &[PlannedSlice], relation: &Relation) -> bool {
    let is_of =
        |slice: &&PlannedSlice| slice.relations.iter().any(|(of_slice, _)| of_slice.oid == relation.oid);
    slices.iter().filter(is_of).all(|slice| slice.range == SliceRange::Whole)
}

/// What the slices of a plan read of a relation.
#[derive(Clone, Copy, Debug)]
struct Size {
    bytes: u64,
    /// `None` if that is not known of every slice.
    rows: Option<u64>,
    /// Whether a slice reads other relations, too.
    is_grouped: bool,
}

/// The relations of these slices that may be heaps read in full, and why the others are not. `pays_for_trips`
/// says whether a heap is large enough for this line; `None` if all are wanted.
fn candidates<'a>(
    slices: &'a [PlannedSlice],
    pays_for_trips: Option<&dyn Fn(&Size) -> bool>,
) -> (Vec<&'a Relation>, Vec<String>) {
    let mut sizes: BTreeMap<u32, (&Relation, Size)> = BTreeMap::new();
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
                _ if relation.is_temporary() => {
                    note(format!("{relation} is a temporary table"));
                    continue;
                }
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
            let none = Size { bytes: 0, rows: Some(0), is_grouped: false };
            let (_, size) = sizes.entry(relation.oid).or_insert((relation, none));
            size.bytes = size.bytes.saturating_add(slice.estimated_bytes);
            size.rows = size.rows.zip(slice.estimated_rows).map(|(rows, more)| rows.saturating_add(more));
            size.is_grouped |= slice.relations.len() > 1;
        }
    }
    let (mut candidates, mut n_small, mut n_for_line) = (Vec::new(), 0_usize, 0_usize);
    for (relation, size) in sizes.into_values() {
        match pays_for_trips {
            Some(_) if size.bytes < SMALL_BYTES || size.is_grouped => n_small += 1,
            Some(pays) if !pays(&size) => n_for_line += 1,
            Some(_) | None => candidates.push(relation),
        }
    }
    if n_for_line > 0 {
        let which = match (n_for_line, n_small + candidates.len()) {
            (1, 0) => "it is".to_owned(),
            _ => format!("{n_for_line} of its tables are"),
        };
        note(format!("{which} too small to be worth the further round trips of this line"));
    }
    if n_small > 0 {
        let why = match (n_small, n_for_line + candidates.len()) {
            (1, 0) => "it is small".to_owned(),
            _ => format!("{n_small} of its tables are small"),
        };
        note(why);
    }
    (candidates, why_not)
}
