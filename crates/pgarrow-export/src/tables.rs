//! Many tables under one snapshot: asked for, locked and planned together, a few queries for all of them.

use std::collections::HashMap;
use std::time::Duration;

use pgarrow_catalog::{
    Relation, RelationKind, RelationName, RelationSize, ServerTraits, leaves, near_schema, not_readable,
    quote_identifier, relation_sizes, relations_of_schema, resolve_many, suggest, table_columns_of_many,
};
use pgarrow_protocol::Session;
use pgarrow_session::{Cancel, Error, ErrorKind, Pool, Result};

use crate::choose::{choose_and_say, not_there};
use crate::engine::Engine;
use crate::keeper::Keeper;
use crate::locks::Held;
use crate::open::{Opening, PLANNINGS_MAX, are_held, is_table, plan, readers_of, refuse_of_others, refused};
use crate::options::ExportOptions;
use crate::plan::{Plan, add_pages};
use crate::planner::select::Selection;
use crate::planner::{Slicing, can_be_read_alone, table_slices, whole};
use crate::proof::Proof;
use crate::run::TablesRun;
use crate::scan::scan;
use crate::source::extract::{Check, TablesRequest};

/// A table of less than this is one slice, without a look at what it consists of.
const SMALL_BYTES: u64 = 8 << 20;

impl TablesRequest {
    pub(crate) fn open(
        self,
        pool: &Pool,
        session: Session,
        connect: Duration,
        cancel: &Cancel,
    ) -> Result<TablesRun> {
        let _planning = tracing::info_span!(target: "pgarrow", "plan").entered();
        let attached = cancel.attach(&session);
        let opening = Opening::new(session, &self.options, connect, cancel);
        let opened = opening.and_then(|opening| self.open_tables(opening));
        drop(attached);
        let mut engine = opened.map_err(|error| cancel.told(error))?;
        engine.job.pool = Some(pool.clone());
        Ok(TablesRun::new(engine))
    }

    fn open_tables(&self, mut opening: Opening<'_>) -> Result<Engine> {
        if self.options.split_on.is_some() {
            return Err(refused("a column to split on belongs to one table"));
        }
        let traits = opening.traits.clone();
        let pages = opening.pages(false)?;
        let mut n_plannings = 0;
        loop {
            n_plannings += 1;
            let mut problems = Vec::new();
            let mut relations = match self.relations(opening.session()?) {
                Ok(relations) => relations,
                Err(error) => self.one_by_one(&mut opening, error, &mut problems)?,
            };
            if relations.is_empty() && problems.is_empty() {
                return Err(refused("there are no tables to export"));
            }
            if traits.is_plain_postgres {
                leave_out_hidden(opening.session()?, &mut relations, &mut problems)?;
            }
            leave_out_of_others(opening.session()?, &mut relations, &mut problems)?;
            if relations.is_empty() {
                return Err(Error::all(problems).unwrap_or_else(nothing_wrong));
            }
            opening.options.readers = relations
                .iter()
                .fold(opening.options.readers, |wanted, relation| readers_of(relation, wanted));
            let slicing = Slicing { is_of_many: true, ..opening.slicing() };
            let held: Vec<Held> = relations.iter().map(|relation| Held::relation(relation, "*")).collect();
            let is_plain = relations.iter().all(|relation| is_table(relation.kind));
            let (session, opened) = opening.split();
            let begun =
                Keeper::begin(session, &held, is_plain, &opened.options, opened.pooled, opened.cancel);
            let mut keeper = match begun {
                Ok(keeper) => keeper,
                Err(error) if problems.is_empty() => return Err(error),
                // Such as a lock that is not to be had: it is not wanted any more.
                Err(_) => return Err(Error::all(problems).unwrap_or_else(nothing_wrong)),
            };
            let options = &opened.options;
            let planned =
                self.plan_tables(&mut keeper, &relations, &slicing, &traits, options, &mut problems)?;
            if let (Some((plans, _)), Some(Check(check))) = (&planned, &self.check) {
                problems.extend(check(plans));
            }
            if let Some(error) = Error::all(problems) {
                return Err(error);
            }
            match planned {
                Some((mut plans, proof)) => {
                    add_pages(&mut keeper.session, &pages, &mut plans)?;
                    return Ok(Opening::engine(keeper, plans, proof, opened));
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

    /// What can be found of what was asked for, where not all of it can: what is wrong with the rest goes to `problems`.
    fn one_by_one(
        &self,
        opening: &mut Opening<'_>,
        error: Error,
        problems: &mut Vec<Error>,
    ) -> Result<Vec<Relation>> {
        let is_of_names = |error: &Error| match error.kind() {
            ErrorKind::Options => true,
            ErrorKind::Server => error.sqlstate().is_some_and(|state| state.starts_with("42")),
            _ => false,
        };
        if self.names.len() + self.schemas.len() == 1 || !is_of_names(&error) {
            return Err(error);
        }
        let mut found = Vec::new();
        let of_names = self.names.iter().map(|name| (vec![name.clone()], Vec::new()));
        let of_schemas = self.schemas.iter().map(|schema| (Vec::new(), vec![schema.clone()]));
        for (names, schemas) in of_names.chain(of_schemas) {
            let one = Self { names, schemas, ..self.clone() };
            match one.relations(opening.session()?) {
                Ok(relations) => found.extend(relations),
                Err(error) if is_of_names(&error) => problems.push(error),
                Err(error) => return Err(error),
            }
        }
        let mut seen = std::collections::HashSet::new();
        found.retain(|relation| seen.insert(relation.oid));
        Ok(found)
    }

    /// Plans tables that are locked. `None` if they, or what they consist of, are no longer what was locked. What is wrong
    /// with a table goes to `problems`; from then on, plans have a schema and one slice.
    fn plan_tables(
        &self,
        keeper: &mut Keeper,
        relations: &[Relation],
        slicing: &Slicing,
        traits: &ServerTraits,
        options: &ExportOptions,
        problems: &mut Vec<Error>,
    ) -> Result<Option<(Vec<Plan>, Proof)>> {
        if problems.is_empty() && self.relations(&mut keeper.session)? != relations {
            return Ok(None);
        }
        let columns = table_columns_of_many(&mut keeper.session, relations, self.only)?;
        let names = columns.iter().flatten().map(|column| column.column.name.as_str());
        problems.extend(not_there(options, "these tables", names));
        let oids: Vec<u32> = relations.iter().map(|relation| relation.oid).collect();
        let sizes: HashMap<u32, RelationSize> =
            relation_sizes(&mut keeper.session, &oids)?.into_iter().map(|size| (size.oid, size)).collect();
        let mut plans = Vec::with_capacity(relations.len());
        for (relation, columns) in relations.iter().zip(columns) {
            let subject = relation.to_string();
            let n_before = problems.len();
            let mut chosen = choose_and_say(&mut keeper.session, &subject, columns, options, problems)?;
            if problems.len() > n_before {
                continue;
            }
            let selection = Selection::of_table(relation, &chosen.columns, None);
            let only = self.only && relation.kind != RelationKind::PartitionedTable;
            let size = sizes.get(&relation.oid);
            // What has no pages of its own is not small, however much it is.
            let is_small = matches!(relation.kind, RelationKind::Table | RelationKind::MaterializedView)
                && size.is_some_and(|size| size.bytes < SMALL_BYTES && (only || !size.has_children));
            let slices = if is_small || !problems.is_empty() {
                let only = only || can_be_read_alone(relation, traits);
                let mut slices = whole(relation, only, format!("{relation} is small"));
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
            if problems.is_empty() {
                scan(&mut keeper.session, &mut chosen, &selection, only)?;
            }
            if relations.len() > 1 {
                chosen.warnings.iter_mut().for_each(|warning| *warning = format!("{relation}: {warning}"));
            }
            plans.push(plan(subject, Some(relation), chosen, selection, slices, options, &keeper.facts));
        }
        let proof = Proof::plan(keeper, &plans, &oids, traits)?;
        Ok(proof.map(|proof| (plans, proof)))
    }

    /// What was asked for, each once, in the order of asking.
    fn relations(&self, session: &mut Session) -> Result<Vec<Relation>> {
        let names = self.names.iter().map(|name| RelationName::parse(name));
        let names = names.collect::<std::result::Result<Vec<_>, _>>()?;
        let mut relations = resolve_many(session, &names).map_err(|error| suggest(session, error))?;
        for schema in &self.schemas {
            let of_schema = relations_of_schema(session, schema)?;
            if of_schema.is_empty() {
                let near = near_schema(session, schema)?.map(|near| format!("; did you mean {near:?}?"));
                let text = format!(
                    "there is no table in a schema {schema:?} that could be exported{}",
                    near.unwrap_or_default()
                );
                return Err(refused(&text));
            }
            relations.extend(of_schema);
        }
        let mut seen = std::collections::HashSet::new();
        relations.retain(|relation| seen.insert(relation.oid));
        Ok(relations)
    }
}

/// Leaves out what the role may not read, and says so. The server would say it of one only.
fn leave_out_hidden(
    session: &mut Session,
    relations: &mut Vec<Relation>,
    problems: &mut Vec<Error>,
) -> Result<()> {
    let oids: Vec<u32> = relations.iter().map(|relation| relation.oid).collect();
    let hidden: HashMap<u32, bool> = not_readable(session, &oids)?.into_iter().collect();
    relations.retain(|relation| {
        let Some(is_of_schema) = hidden.get(&relation.oid) else { return true };
        let schema = quote_identifier(&relation.schema);
        let text = match is_of_schema {
            true => format!(
                "permission denied for schema {schema} of {relation}; GRANT USAGE ON SCHEMA {schema} to the role"
            ),
            false => {
                let quoted = relation.quoted();
                format!("permission denied for table {relation}; GRANT SELECT ON {quoted} to the role")
            }
        };
        problems.push(Error::not_permitted(text));
        false
    });
    Ok(())
}

/// Leaves out temporary tables of other sessions, and says so.
fn leave_out_of_others(
    session: &mut Session,
    relations: &mut Vec<Relation>,
    problems: &mut Vec<Error>,
) -> Result<()> {
    let mut kept = Vec::with_capacity(relations.len());
    for relation in relations.drain(..) {
        match refuse_of_others(session, &relation) {
            Ok(()) => kept.push(relation),
            Err(error) if error.sqlstate() == Some("0A000") => problems.push(error),
            Err(error) => return Err(error),
        }
    }
    *relations = kept;
    Ok(())
}

fn nothing_wrong() -> Error {
    Error::new(ErrorKind::Protocol, "nothing was planned; please report it")
}
