//! What will be read: resolved columns, schema and slices; nothing is read yet.

use std::collections::HashMap;

use arrow_schema::{Schema, SchemaRef};
use pgarrow_catalog::{Relation, RelationKind};
use pgarrow_protocol::Session;
use pgarrow_session::Result;
use pgarrow_types::{Message, OpaqueColumns, PgColumn, schema};
use serde::Serialize;

use crate::choose::{Chosen, is_text_for_want_of_a_decimal};
use crate::column_report::ColumnReport;
use crate::facts::Facts;
use crate::field_ids::numbered;
use crate::options::ReadMode;
use crate::planner::select::Selection;
use crate::planner::select::find::{Mark, Part};
use crate::planner::{PageWish, PlanPages, PlannedSlice, Slices, WantedPages};
use crate::slice::{Slice, SliceRange};
use crate::under::{SliceSnapshot, SliceSource};

/// What the statements of a plan's slices read. It decides what they may open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reads {
    /// Tables, each named ONLY: the statements open nothing else.
    Tables,
    /// Relations with their children.
    Trees,
    /// A user's text or a view, which may call functions that read more.
    Statements,
}

impl Reads {
    fn of(relation: Option<&Relation>, selection: &Selection, slices: &[PlannedSlice]) -> Self {
        let is_worded = relation.is_none_or(|relation| relation.kind == RelationKind::View);
        match is_worded || selection.filter().is_some() {
            true => Self::Statements,
            false if slices.iter().flat_map(|slice| &slice.relations).all(|(_, only)| *only) => Self::Tables,
            false => Self::Trees,
        }
    }
}

/// One slice of one plan.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Task {
    pub(crate) plan_index: usize,
    pub(crate) slice_index: usize,
}

/// A planned export: what is read, as what, and in which slices.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) subject: String,
    /// The name of a query beside tables.
    pub(crate) query_name: Option<String>,
    pub(crate) relation: Option<Relation>,
    pub(crate) columns: Vec<PgColumn>,
    /// For each column that is an array, the name of its element type in SQL.
    pub(crate) element_names: Vec<Option<String>>,
    /// The columns that are not decoded.
    opaque: OpaqueColumns,
    /// The fingerprint of the columns in the catalog.
    fingerprint: String,
    pub(crate) schema: SchemaRef,
    /// The condition for the rows of a relation.
    pub(crate) filter: Option<String>,
    /// What all slices share. May contain values that were bound to a query.
    selection: Selection,
    pub(crate) slices: Vec<PlannedSlice>,
    pub(crate) reads: Reads,
    /// How it was cut into slices, or why not.
    pub(crate) slicing: Message,
    /// Why there is only one slice, if so.
    pub(crate) one_stream: Option<Message>,
    /// There cannot be more slices, whatever their size.
    pub(crate) is_refused: bool,
    pub(crate) estimated_rows: Option<u64>,
    pub(crate) warnings: Vec<Message>,
    /// What is read by pages.
    pub(crate) pages: PlanPages,
}

impl Plan {
    pub(crate) fn new(
        subject: String,
        relation: Option<Relation>,
        chosen: Chosen,
        schema: SchemaRef,
        selection: Selection,
        slices: Slices,
    ) -> Self {
        let Chosen { columns, warnings, element_names, opaque, fingerprint } = chosen;
        let Slices { slices, note: slicing, one_stream, is_refused } = slices;
        let warnings = warnings.into_iter().map(Message::from).collect();
        let estimated_rows = slices.iter().map(|slice| slice.estimated_rows).sum();
        let filter = selection.filter().map(str::to_owned);
        let reads = Reads::of(relation.as_ref(), &selection, &slices);
        Self {
            subject,
            query_name: None,
            relation,
            columns,
            element_names,
            opaque,
            fingerprint,
            schema,
            filter,
            selection,
            slices,
            reads,
            slicing,
            one_stream,
            is_refused,
            estimated_rows,
            warnings,
            pages: PlanPages::default(),
        }
    }

    /// What is read, in words: `public.orders`, `the query`, or `query daily_totals`.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The table, if one is read.
    pub fn relation(&self) -> Option<&Relation> {
        self.relation.as_ref()
    }

    /// The name of a query that is read beside tables ([`Tables::query`](crate::Tables::query)).
    pub fn query_name(&self) -> Option<&str> {
        self.query_name.as_deref()
    }

    /// The columns in their order.
    pub fn columns(&self) -> &[PgColumn] {
        &self.columns
    }

    /// The columns with numerics that become text, since they declare no precision that a decimal has and the
    /// user chose nothing for them. [`NumericForm`](crate::NumericForm) has the choices.
    pub fn numerics_as_text(&self) -> impl Iterator<Item = &PgColumn> {
        self.columns.iter().filter(|column| is_text_for_want_of_a_decimal(column))
    }

    /// Whether the number of rows is limited.
    pub(crate) fn has_limit(&self) -> bool {
        self.selection.limit().is_some()
    }

    /// The columns that are left undecoded
    /// ([`ExportOptions::with_opaque`](crate::ExportOptions::with_opaque)), with the types of their bytes.
    pub fn opaque(&self) -> &OpaqueColumns {
        &self.opaque
    }

    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many slices there are. Each is read by one statement.
    pub fn n_slices(&self) -> usize {
        self.slices.len()
    }

    /// How the rows were cut into slices; or why not, and what to do about it. One sentence without its full
    /// stop.
    pub fn slicing(&self) -> &Message {
        &self.slicing
    }

    /// How many rows there will be, for a whole table that was analysed.
    pub fn estimated_rows(&self) -> Option<u64> {
        self.estimated_rows
    }

    /// What the user should know: columns that are read as text, weak connections.
    pub fn warnings(&self) -> &[Message] {
        &self.warnings
    }

    /// The plan as it is printed. `snapshot` is `pg_current_snapshot()`, if one was taken.
    pub fn report(&self, snapshot: Option<&str>) -> PlanReport {
        let slices = self.slices.iter().enumerate().map(|(index, slice)| PlanSlice {
            index,
            relations: slice.relations.iter().map(|(relation, _)| relation.to_string()).collect(),
            range: slice.range.clone(),
            estimated_bytes: slice.estimated_bytes,
            estimated_rows: slice.estimated_rows,
        });
        PlanReport {
            subject: self.subject.clone(),
            columns: ColumnReport::of(&self.schema, &self.columns),
            snapshot: snapshot.map(str::to_owned),
            slicing: self.slicing.clone(),
            slices: slices.collect(),
            estimated_rows: self.estimated_rows,
            pages: self.pages.names(),
            page_notes: self.pages.why_not.clone(),
            warnings: self.warnings.clone(),
        }
    }

    /// The slices, in the order of their rows.
    pub(crate) fn slices(&self) -> &[PlannedSlice] {
        &self.slices
    }

    /// The SELECT of a slice, without a COPY around it.
    pub(crate) fn select(&self, slice: &PlannedSlice) -> String {
        self.selection.select(slice)
    }

    /// A SELECT that shows rows of a part, for people; see [`Selection::show`].
    pub(crate) fn show(&self, part: &Part, mark: Mark<'_>, place_alone: bool) -> Option<String> {
        self.selection.show(part, mark, place_alone)
    }

    /// A SELECT that finds rows by their numbers in a part; see [`Selection::locate`].
    pub(crate) fn locate(&self, part: &Part, numbers: &[u64], columns: &[usize]) -> Option<String> {
        self.selection.locate(part, numbers, columns)
    }

    /// The OIDs of the types in which values arrive, by column.
    pub(crate) fn value_types(&self) -> Vec<u32> {
        self.selection.value_types(&self.columns)
    }

    /// The name of the table with this OID, which has a row of the part; `None` if it is the one that was
    /// named. `name`: what the server calls it.
    pub(crate) fn partition(&self, part: &Part, oid: &str, name: Option<&str>) -> Option<String> {
        let oid: Option<u32> = oid.parse().ok();
        if self.relation.as_ref().map(|relation| relation.oid) == oid {
            return None;
        }
        let known = part.slice.relations.iter().find(|(relation, _)| Some(relation.oid) == oid);
        known.map(|(relation, _)| relation.to_string()).or_else(|| name.map(str::to_owned))
    }

    /// The SELECT of a relation's own rows from a line pointer of a page up to another page, without a COPY
    /// around it.
    pub(crate) fn select_tids(&self, relation: &Relation, from: (u64, u16), to: u64) -> String {
        self.selection.select_tids(relation, from, to)
    }

    /// Every slice as a token for other processes, with the snapshot if it was exported. `planned`: the OIDs
    /// of all relations that may be opened.
    pub(crate) fn tokens(&self, facts: &Facts, read_mode: ReadMode, planned: &[u32]) -> Vec<Slice> {
        let source = SliceSource::of(facts);
        let snapshot = facts
            .exported
            .as_ref()
            .map(|exported| SliceSnapshot { exported: exported.clone(), current: facts.snapshot.clone() });
        let columns: Vec<String> = self.columns.iter().map(|column| column.name.clone()).collect();
        let opens = if self.reads == Reads::Statements { planned } else { &[] };
        // There are at most some hundred thousand: see `cut`.
        let of = u32::try_from(self.slices.len()).unwrap_or(u32::MAX);
        let tokens = (0..of).zip(&self.slices).map(|(index, slice)| Slice {
            version: Slice::VERSION,
            source: source.clone(),
            snapshot: snapshot.clone(),
            subject: self.selection.subject(slice),
            opens: opens.to_vec(),
            columns: columns.clone(),
            filter: self.filter.clone(),
            range: slice.range.clone(),
            read_mode: if self.pages.has_some_of(slice) { ReadMode::Pages } else { read_mode },
            schema_fingerprint: self.fingerprint.clone(),
            estimated_bytes: slice.estimated_bytes,
            estimated_rows: slice.estimated_rows,
            index,
            of,
        });
        tokens.collect()
    }
}

/// Decides for all plans of a run what is read by pages. Runs in the keeper's transaction, after its locks.
pub(crate) fn add_pages(session: &mut Session, wish: &PageWish, plans: &mut [Plan]) -> Result<()> {
    let wanted = plans.iter().map(|plan| WantedPages {
        subject: &plan.subject,
        columns: &plan.columns,
        filter: plan.filter.as_deref(),
        slices: &plan.slices,
    });
    let pages = PlanPages::plan(session, wish, &wanted.collect::<Vec<_>>())?;
    for (plan, pages) in plans.iter_mut().zip(pages) {
        plan.pages = pages;
    }
    Ok(())
}

/// A plan as it is printed, and what `pgarrow plan` writes as JSON.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PlanReport {
    /// What is read, in words.
    pub subject: String,
    /// The columns in their order.
    pub columns: Vec<ColumnReport>,
    /// `pg_current_snapshot()`, if one was taken.
    pub snapshot: Option<String>,
    /// How the rows were cut into slices, or why not.
    pub slicing: Message,
    /// The slices, in the order of their rows.
    pub slices: Vec<PlanSlice>,
    /// How many rows there will be, about, if that is known.
    pub estimated_rows: Option<u64>,
    /// The tables that are read by pages of their heaps.
    pub pages: Vec<String>,
    /// Why tables are not read by pages, if pages would be read where possible.
    pub page_notes: Vec<Message>,
    /// What the user should know.
    pub warnings: Vec<Message>,
}

/// A slice of a [`PlanReport`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PlanSlice {
    /// Which one, from 0.
    pub index: usize,
    /// The relations that it reads. None for a query.
    pub relations: Vec<String>,
    /// Which part of them.
    pub range: SliceRange,
    /// Bytes on the server's disk, about; 0 if that is not known.
    pub estimated_bytes: u64,
    /// Rows, about, if that is known. A filter is not considered.
    pub estimated_rows: Option<u64>,
}

/// The Arrow schema, with the metadata that is the same for every run of the export.
pub(crate) fn arrow_schema(
    columns: &[PgColumn],
    relation: Option<&Relation>,
    server_version: &str,
    field_ids: bool,
) -> Schema {
    let mut metadata = HashMap::from([("pg.server_version".to_owned(), server_version.to_owned())]);
    if let Some(relation) = relation {
        metadata.insert("pg.table".to_owned(), relation.to_string());
    }
    let schema = schema(columns, metadata);
    match field_ids {
        true => Schema::new_with_metadata(numbered(&schema.fields, columns), schema.metadata),
        false => schema,
    }
}
