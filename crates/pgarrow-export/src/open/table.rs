//! The plan of one table: its columns, its rows and its slices.

use std::collections::HashSet;

use pgarrow_catalog::{
    Leaf, Relation, RelationKind, RelationSize, ResolvedColumn, ServerTraits, leaves, locked, meant,
    quote_identifier,
};
use pgarrow_protocol::Session;
use pgarrow_session::{Error, Result};
use pgarrow_types::option::ONLY;
use pgarrow_types::{PgColumn, message};

use super::fixed::{Fixed, Parts};
use super::opening::Opening;
use super::parameters::{bind, check_number};
use super::{ONE_LIMIT, Planner, plan, refused};
use crate::choose::Chosen;
use crate::facts::Facts;
use crate::keeper::{Keeper, exclude_by_constraints};
use crate::options::ExportOptions;
use crate::plan::Plan;
use crate::planner::select::Selection;
use crate::planner::{
    KeySource, Slices, Slicing, can_be_read_alone, key_slices, reads_of_key_ranges, table_slices, whole,
};
use crate::scan::scan;
use crate::source::extract::Request;
use crate::statement::Statement;

/// A table smaller than this is one slice, without a look at its leaves.
const SMALL_BYTES: u64 = 8 << 20;

/// A locked table and what is known about it.
pub(super) struct TableToPlan<'t> {
    pub(super) relation: &'t Relation,
    pub(super) chosen: Chosen,
    /// Its size with its own pages, if that is known already.
    pub(super) size: Option<&'t RelationSize>,
    pub(super) condition: Option<Fixed>,
    /// Something is wrong, so nothing will be read; the plan is only for the caller's check.
    pub(super) is_for_check: bool,
}

impl TableToPlan<'_> {
    /// The one slice of a table that is known to be small.
    fn small(&self, only: bool, planner: &Planner<'_>) -> Option<Slices> {
        let Self { relation, size, is_for_check, .. } = self;
        // A relation without pages of its own does not count as small.
        let is_small = matches!(relation.kind, RelationKind::Table | RelationKind::MaterializedView)
            && size.is_some_and(|size| size.bytes < SMALL_BYTES && (only || !size.has_children));
        if !is_small && !is_for_check {
            return None;
        }
        let only = only || can_be_read_alone(relation, planner.traits);
        let mut slices = whole(relation, only, format!("{relation} is small"));
        if let ([slice], Some(size)) = (slices.slices.as_mut_slice(), size) {
            slice.estimated_bytes = size.bytes;
            slice.estimated_rows = size.estimated_rows;
        }
        Some(slices)
    }
}

/// Which rows of a table are read.
pub(super) struct Rows {
    pub(super) parts: Parts,
    pub(super) selection: Selection,
    has_filter: bool,
}

impl Rows {
    fn filter(&self) -> Option<&str> {
        self.has_filter.then_some(self.parts.text.as_str())
    }
}

/// The tables that a relation consists of; with `only`, just the relation itself.
pub(super) fn leaves_of(
    session: &mut Session,
    relation: &Relation,
    columns: &[PgColumn],
    slicing: &Slicing,
) -> Result<Vec<Leaf>> {
    let mut names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    names.extend(slicing.split_on.clone());
    let mut leaves = leaves(session, relation, &names)?;
    leaves.retain(|leaf| !slicing.only || leaf.relation.oid == relation.oid);
    Ok(leaves)
}

impl Request {
    /// The filter, with as many parameters as it has values.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`](crate::ErrorKind::Options) if it is no condition, or their numbers differ.
    pub(super) fn parsed_filter(&self) -> Result<Option<Statement>> {
        let filter = self.filter.as_deref().map(Statement::parse_condition).transpose()?;
        match &filter {
            Some(filter) => check_number(filter, &self.parameters, "the filter")?,
            None if self.parameters.is_empty() => {}
            None => {
                return Err(refused("parameters are for queries and filters, and the table has no filter"));
            }
        }
        Ok(filter)
    }

    /// The filter with its bound values, tried out on the table.
    pub(super) fn condition(&self, opening: &mut Opening<'_>, relation: &Relation) -> Result<Option<Fixed>> {
        let Some(filter) = self.parsed_filter()? else {
            return Ok(None);
        };
        let described = condition_as_query("", relation, filter.text());
        let filter = bind(opening, &filter, &self.parameters, &described, "the filter")
            .map_err(|error| error.context("the filter cannot be used"))?;
        Fixed::of_filter(opening, filter.text(), relation).map(Some)
    }

    /// The columns that the user asked for, quoted; or `*`.
    pub(super) fn select_list(&self) -> String {
        match &self.columns {
            Some(names) => names.iter().map(|name| quote_identifier(name)).collect::<Vec<_>>().join(", "),
            None => "*".to_owned(),
        }
    }

    /// Plans a table. `None` if a part of it is not locked.
    pub(super) fn plan_table(
        &self,
        planner: &mut Planner<'_>,
        mut table: TableToPlan<'_>,
    ) -> Result<Option<Plan>> {
        let relation = table.relation;
        let only = self.only && relation.kind != RelationKind::PartitionedTable;
        let condition = table.condition.take();
        let Planner { keeper, slicing, traits, .. } = planner;
        let rows = self.rows(
            &mut keeper.reader.session,
            relation,
            &table.chosen.columns,
            condition,
            slicing,
            traits,
        )?;
        let slices = match table.small(only, planner) {
            Some(slices) => slices,
            None => match self.cut(planner, &table, only, &rows)? {
                Some(slices) => slices,
                None => return Ok(None),
            },
        };
        let TableToPlan { mut chosen, is_for_check, .. } = table;
        let Planner { keeper, options, .. } = planner;
        let slices = rows.parts.hold(slices, options, &mut chosen.warnings);
        if !is_for_check {
            scan(&mut keeper.reader.session, &mut chosen, &rows.selection, only)?;
        }
        Ok(Some(self.plan_of(relation, chosen, rows, slices, options, &keeper.reader.facts)))
    }

    /// Which rows of a relation are read, after the server has checked the filter.
    pub(super) fn rows(
        &self,
        session: &mut Session,
        relation: &Relation,
        columns: &[PgColumn],
        condition: Option<Fixed>,
        slicing: &Slicing,
        traits: &ServerTraits,
    ) -> Result<Rows> {
        if let Some(condition) = &condition {
            let list = Selection::of_table(relation, columns, None).list();
            check_filter(session, &list, relation, condition.text())?;
        }
        let has_filter = condition.is_some();
        let has_parts = has_filter || (relation.kind == RelationKind::View && slicing.split_on.is_some());
        let parts = match has_parts {
            true => condition.unwrap_or_default().fix(session, Some(relation), traits)?,
            false => Parts::default(),
        };
        let filter = has_filter.then_some(parts.text.as_str());
        let selection = Selection::of_table(relation, columns, filter).limited(self.limit);
        let selection = if self.parameters.is_empty() { selection.shown() } else { selection };
        Ok(Rows { parts, selection, has_filter })
    }

    /// A table's plan. Its number of rows is estimated only as far as filter and limit allow that.
    pub(super) fn plan_of(
        &self,
        relation: &Relation,
        chosen: Chosen,
        rows: Rows,
        slices: Slices,
        options: &ExportOptions,
        facts: &Facts,
    ) -> Plan {
        let Rows { selection, has_filter, .. } = rows;
        let subject = relation.to_string();
        let mut plan = plan(subject, Some(relation), chosen, selection, slices, options, facts);
        if has_filter {
            plan.estimated_rows = None;
        }
        plan.estimated_rows = plan.estimated_rows.map(|rows| rows.min(self.limit.unwrap_or(u64::MAX)));
        plan
    }

    /// Cuts a table by its leaves. `None` if one of them is not locked.
    fn cut(
        &self,
        planner: &mut Planner<'_>,
        table: &TableToPlan<'_>,
        only: bool,
        rows: &Rows,
    ) -> Result<Option<Slices>> {
        let TableToPlan { relation, chosen, .. } = table;
        let Planner { keeper, slicing, traits, options, .. } = planner;
        let slicing = Slicing { only, ..slicing.clone() };
        let leaves = leaves_of(&mut keeper.reader.session, relation, &chosen.columns, &slicing)?;
        if !are_held(keeper, relation, &leaves)? {
            return Ok(None);
        }
        let is_set = options.transaction_settings().sets("constraint_exclusion");
        let Keeper { reader, begin, .. } = &mut **keeper;
        let exclude = |session: &mut Session| match is_set {
            true => Ok(()),
            false => exclude_by_constraints(session, begin),
        };
        self.slices(&mut reader.session, relation, &leaves, rows, &slicing, traits, exclude).map(Some)
    }

    /// The slices of a relation. `before_keys` is called before the ranges of a key are read in several
    /// tables.
    #[expect(clippy::too_many_arguments, reason = "what is known of a table before it is cut")]
    pub(super) fn slices(
        &self,
        session: &mut Session,
        relation: &Relation,
        leaves: &[Leaf],
        rows: &Rows,
        slicing: &Slicing,
        traits: &ServerTraits,
        before_keys: impl FnOnce(&mut Session) -> Result<()>,
    ) -> Result<Slices> {
        let (only, filter) = (slicing.only, rows.filter());
        match &slicing.split_on {
            _ if self.limit.is_some() => {
                Ok(whole(relation, only || can_be_read_alone(relation, traits), ONE_LIMIT))
            }
            Some(_) => {
                let reads = reads_of_key_ranges(session, relation, leaves, traits, filter, slicing)?;
                if reads.len() > 1 {
                    before_keys(session)?;
                }
                key_slices(session, KeySource::Relation { relation, reads: &reads, only, filter }, slicing)
            }
            None => table_slices(session, relation, leaves, traits, filter, slicing),
        }
    }

    /// The columns that the user asked for, in that order.
    pub(super) fn chosen(
        &self,
        relation: &Relation,
        mut all: Vec<ResolvedColumn>,
    ) -> Result<Vec<ResolvedColumn>> {
        let Some(names) = &self.columns else {
            return Ok(all);
        };
        let known =
            all.iter().map(|column| quote_identifier(&column.column.name)).collect::<Vec<_>>().join(", ");
        let mut chosen = Vec::with_capacity(names.len());
        for name in names {
            if chosen.iter().any(|column: &ResolvedColumn| column.column.name == *name) {
                return Err(refused(&format!("column {name:?} is named twice")));
            }
            let Some(index) = all.iter().position(|column| column.column.name == *name) else {
                let names = all.iter().map(|column| column.column.name.as_str());
                return Err(refused(&format!(
                    "{relation} has no column {name:?}{}; it has {known}",
                    meant(name, names)
                )));
            };
            chosen.push(all.remove(index));
        }
        Ok(chosen)
    }
}

/// Asks the server whether a filter is valid for this relation, so that errors name the filter, not COPY.
pub(super) fn check_filter(
    session: &mut Session,
    select_list: &str,
    relation: &Relation,
    filter: &str,
) -> Result<()> {
    let described = session.describe(&condition_as_query(select_list, relation, filter));
    described.map_err(|error| Error::from(error).context("the filter cannot be used"))?;
    Ok(())
}

/// A query for the rows that fulfil a condition.
pub(super) fn condition_as_query(select_list: &str, relation: &Relation, condition: &str) -> String {
    format!("SELECT {select_list} FROM {} WHERE (\n{condition}\n)", relation.quoted())
}

/// Whether all tables that belong to a relation in this snapshot were locked before it was taken. One that
/// was attached in between may have been rewritten since.
fn are_held(keeper: &mut Keeper, relation: &Relation, leaves: &[Leaf]) -> Result<bool> {
    if leaves.iter().all(|leaf| leaf.relation.oid == relation.oid) {
        return Ok(true);
    }
    let pids = keeper.backend_pids();
    let held: HashSet<u32> = locked(&mut keeper.reader.session, &pids)?.into_iter().collect();
    Ok(leaves.iter().all(|leaf| held.contains(&leaf.relation.oid)))
}

/// Refuses to read a partitioned table without its partitions.
pub(super) fn refuse_only(relation: &Relation, only: bool) -> Result<()> {
    if !only || relation.kind != RelationKind::PartitionedTable {
        return Ok(());
    }
    let text =
        format!("{relation} is a partitioned table, which has no rows of its own: all are in its partitions");
    Err(refused(&text).advice(message!["leave out ", ONLY, ", or name a partition"]))
}

/// How many readers a relation may have: a temporary table exists for its own session only.
pub(super) fn readers_of(relation: &Relation, wanted: Option<usize>) -> Option<usize> {
    if relation.is_temporary() { Some(1) } else { wanted }
}

pub(super) fn is_table(kind: RelationKind) -> bool {
    matches!(kind, RelationKind::Table | RelationKind::PartitionedTable)
}

/// Refuses a temporary table of another session: its rows are in that session's memory. PostgreSQL 17.10
/// reads what is in the file, without an error.
pub(super) fn refuse_of_others(session: &mut Session, relation: &Relation) -> Result<()> {
    if !relation.is_temporary() {
        return Ok(());
    }
    let sql = "SELECT pg_catalog.pg_is_other_temp_schema(c.relnamespace)::pg_catalog.text \
               FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid";
    let rows = session.query(sql, &[Some(&relation.oid.to_string())])?;
    if rows.first().is_none_or(|row| row.text(0) != Some("true")) {
        return Ok(());
    }
    let text = format!("{relation} is a temporary table of another session, and only that one can read it");
    Err(Error::as_server("0A000", text).advice("copy it into a table that is not temporary"))
}
