//! Many tables under one snapshot: asked for, locked and planned together, a few queries for all of them.

use std::collections::HashMap;
use std::time::Duration;

use pgarrow_catalog::{
    Relation, RelationKind, RelationName, RelationSize, ServerTraits, leaves, relation_sizes,
    relations_of_schema, resolve_many, table_columns_of_many,
};
use pgarrow_protocol::Session;

use crate::cancel::Cancel;
use crate::choose::{all_exist, choose};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::extract::TablesRequest;
use crate::keeper::Keeper;
use crate::locks::Held;
use crate::open::{Opening, PLANNINGS_MAX, are_held, is_table, plan, readers_of, refused};
use crate::options::ExportOptions;
use crate::plan::{Plan, add_pages};
use crate::planner::select::Selection;
use crate::planner::{Slicing, can_be_read_alone, table_slices, whole};
use crate::run::TablesRun;
use crate::scan::scan;

/// A table of less than this is one slice, without a look at what it consists of.
const SMALL_BYTES: u64 = 8 << 20;

impl TablesRequest {
    pub(crate) fn open(self, session: Session, connect: Duration, cancel: &Cancel) -> Result<TablesRun> {
        let _planning = tracing::info_span!(target: "pgarrow", "plan").entered();
        let attached = cancel.attach(&session);
        let opening = Opening::new(session, &self.options, connect, cancel);
        let opened = opening.and_then(|opening| self.open_tables(opening));
        drop(attached);
        Ok(TablesRun::new(opened.map_err(|error| cancel.told(error))?))
    }

    fn open_tables(&self, mut opening: Opening<'_>) -> Result<Engine> {
        if self.options.split_on.is_some() {
            return Err(refused("a column to split on belongs to one table"));
        }
        let traits = opening.traits.clone();
        let pages = opening.pages()?;
        let mut n_plannings = 0;
        loop {
            n_plannings += 1;
            let relations = self.relations(opening.session()?)?;
            if relations.is_empty() {
                return Err(refused("there are no tables to export"));
            }
            opening.options.readers = relations
                .iter()
                .fold(opening.options.readers, |wanted, relation| readers_of(relation, wanted));
            let slicing = opening.slicing();
            let held: Vec<Held> = relations.iter().map(|relation| Held::relation(relation, "*")).collect();
            let is_plain = relations.iter().all(|relation| is_table(relation.kind));
            let (session, opened) = opening.split();
            let mut keeper =
                Keeper::begin(session, &held, is_plain, &opened.options, opened.pooled, opened.cancel)?;
            match self.plan_tables(&mut keeper, &relations, &slicing, &traits, &opened.options)? {
                Some(mut plans) => {
                    add_pages(&mut keeper.session, &pages, &mut plans)?;
                    return Ok(Opening::engine(keeper, plans, opened));
                }
                None if n_plannings < PLANNINGS_MAX => {
                    opening = opened.reopen(keeper.give_up()?, traits.clone());
                }
                None => {
                    let text =
                        "tables were changed again and again while the export was planned; run it again";
                    return Err(Error::new(ErrorKind::Server, text));
                }
            }
        }
    }

    /// Plans tables that are locked. `None` if they, or what they consist of, are no longer what was locked.
    fn plan_tables(
        &self,
        keeper: &mut Keeper,
        relations: &[Relation],
        slicing: &Slicing,
        traits: &ServerTraits,
        options: &ExportOptions,
    ) -> Result<Option<Vec<Plan>>> {
        if self.relations(&mut keeper.session)? != relations {
            return Ok(None);
        }
        let columns = table_columns_of_many(&mut keeper.session, relations, self.only)?;
        let names = columns.iter().flatten().map(|column| column.column.name.as_str());
        all_exist(options, "these tables", names)?;
        let oids: Vec<u32> = relations.iter().map(|relation| relation.oid).collect();
        let sizes: HashMap<u32, RelationSize> =
            relation_sizes(&mut keeper.session, &oids)?.into_iter().map(|size| (size.oid, size)).collect();
        let mut plans = Vec::with_capacity(relations.len());
        for (relation, columns) in relations.iter().zip(columns) {
            let subject = relation.to_string();
            let mut chosen = choose(&mut keeper.session, &subject, columns, options)?;
            let selection = Selection::of_table(relation, &chosen.columns, None);
            let only = self.only && relation.kind != RelationKind::PartitionedTable;
            let size = sizes.get(&relation.oid);
            let is_small = relation.kind != RelationKind::PartitionedTable
                && size.is_some_and(|size| size.bytes < SMALL_BYTES && (only || !size.has_children));
            let slices = if is_small {
                let only = only || can_be_read_alone(relation, traits);
                let mut slices = whole(relation, only, &format!("{relation} is small"));
                if let ([slice], Some(size)) = (slices.slices.as_mut_slice(), size) {
                    slice.estimated_bytes = size.bytes;
                    slice.estimated_rows = size.estimated_rows;
                }
                slices
            } else {
                let names: Vec<String> = chosen.columns.iter().map(|column| column.name.clone()).collect();
                let mut leaves = leaves(&mut keeper.session, relation, &names)?;
                leaves.retain(|leaf| !only || leaf.relation.oid == relation.oid);
                if !are_held(keeper, relation, &leaves)? {
                    return Ok(None);
                }
                let slicing = Slicing { only, ..slicing.clone() };
                table_slices(&mut keeper.session, relation, &leaves, traits, None, &slicing)?
            };
            scan(&mut keeper.session, &mut chosen, &selection, only)?;
            if relations.len() > 1 {
                chosen.warnings.iter_mut().for_each(|warning| *warning = format!("{relation}: {warning}"));
            }
            plans.push(plan(subject, Some(relation), chosen, selection, slices, options, &keeper.facts));
        }
        Ok(Some(plans))
    }

    /// What was asked for, each once, in the order of asking.
    fn relations(&self, session: &mut Session) -> Result<Vec<Relation>> {
        let names = self.names.iter().map(|name| RelationName::parse(name));
        let names = names.collect::<std::result::Result<Vec<_>, _>>()?;
        let mut relations = resolve_many(session, &names)?;
        for schema in &self.schemas {
            let of_schema = relations_of_schema(session, schema)?;
            if of_schema.is_empty() {
                let text = format!("there is no table in a schema {schema:?} that could be exported");
                return Err(refused(&text));
            }
            relations.extend(of_schema);
        }
        let mut seen = std::collections::HashSet::new();
        relations.retain(|relation| seen.insert(relation.oid));
        Ok(relations)
    }
}
