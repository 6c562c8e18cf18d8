//! Tables under one snapshot: found, locked and planned together, with a few queries for all of them. One
//! table is planned in the same way as many, and may have columns, a filter, a limit and a key.

use std::collections::{HashMap, HashSet};

use pgarrow_catalog::{
    NamePattern, Relation, RelationName, RelationSize, matching, near_schema, not_readable, quote_identifier,
    relation_sizes, relations_of_pattern, relations_of_schema, resolve_many, suggest, table_columns_of_many,
};
use pgarrow_protocol::Session;
use pgarrow_session::{Error, ErrorKind, Result};

use super::fixed::Fixed;
use super::opening::Opening;
use super::parameters::{bind, check_number};
use super::table::{TableToPlan, condition_as_query, is_table, readers_of, refuse_of_others, refuse_only};
use super::{Planner, Subject, ToPlan, refused};
use crate::choose::{choose_and_say, not_there};
use crate::locks::Held;
use crate::plan::Plan;
use crate::planner::Slicing;
use crate::proof::Proof;
use crate::source::extract::{Check, Named, Request};
use crate::statement::Statement;

/// One table, or many.
pub(super) struct TablesSubject<'r> {
    pub(super) request: &'r Request,
    named: &'r Named,
    /// Only for one table.
    filter: Option<Statement>,
    /// The user asked for many tables, even if there is only one.
    is_many: bool,
}

/// What is known about tables before their transaction.
pub(super) struct FoundTables {
    relations: Vec<Relation>,
    /// The filter of the one table, with its values bound.
    condition: Option<Fixed>,
}

impl<'r> TablesSubject<'r> {
    /// One table, by its name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] for options that cannot be combined.
    pub(super) fn of_one(request: &'r Request, named: &'r Named) -> Result<Self> {
        let filter = request.filter.as_deref().map(Statement::parse_condition).transpose()?;
        match &filter {
            Some(filter) => check_number(filter, &request.parameters, "the filter")?,
            None if request.parameters.is_empty() => {}
            None => {
                return Err(refused("parameters are for queries and filters, and the table has no filter"));
            }
        }
        request.check_limit()?;
        Ok(Self { request, named, filter, is_many: false })
    }

    /// Many tables.
    ///
    /// # Errors
    ///
    /// As for [`of_one`](Self::of_one).
    pub(super) fn of_many(request: &'r Request, named: &'r Named) -> Result<Self> {
        match request.options.split_on.is_some() {
            true => Err(refused("a column to split on belongs to one table")),
            false => Ok(Self { request, named, filter: None, is_many: true }),
        }
    }

    /// The filter with its bound values, tried out on the table.
    pub(super) fn condition(&self, opening: &mut Opening<'_>, relation: &Relation) -> Result<Option<Fixed>> {
        let Some(filter) = &self.filter else {
            return Ok(None);
        };
        let described = condition_as_query("", relation, filter.text());
        let filter = bind(opening, filter, &self.request.parameters, &described, "the filter")
            .map_err(|error| error.context("the filter cannot be used"))?;
        Fixed::of_filter(opening, filter.text(), relation).map(Some)
    }

    /// The relations that can be found, if not all can. Errors about the rest go to `problems`.
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
        let Named { names, schemas, patterns, excluded, .. } = self.named;
        if names.len() + schemas.len() + patterns.len() == 1 || !is_of_names(&error) {
            return Err(error);
        }
        let mut found = Vec::new();
        let none = || Named { excluded: excluded.clone(), ..Named::default() };
        let of_names = names.iter().map(|name| Named { names: vec![name.clone()], ..none() });
        let of_schemas = schemas.iter().map(|schema| Named { schemas: vec![schema.clone()], ..none() });
        let of_patterns = patterns.iter().map(|pattern| Named { patterns: vec![pattern.clone()], ..none() });
        for one in of_names.chain(of_schemas).chain(of_patterns) {
            match relations(opening.session()?, &one) {
                Ok(relations) => found.extend(relations),
                Err(error) if is_of_names(&error) => problems.push(error),
                Err(error) => return Err(error),
            }
        }
        let mut seen = HashSet::new();
        found.retain(|relation| seen.insert(relation.oid));
        Ok(found)
    }
}

impl Subject for TablesSubject<'_> {
    type Found = FoundTables;

    fn find(&self, opening: &mut Opening<'_>) -> Result<ToPlan<FoundTables>> {
        let mut problems = Vec::new();
        let mut relations = match relations(opening.session()?, self.named) {
            Ok(relations) => relations,
            Err(error) => self.one_by_one(opening, error, &mut problems)?,
        };
        if relations.is_empty() && problems.is_empty() {
            return Err(refused("there are no tables to export"));
        }
        // For one table, the server reports that itself.
        if self.is_many && opening.prepared.traits.is_plain_postgres {
            leave_out_hidden(opening.session()?, &mut relations, &mut problems)?;
        }
        leave_out_of_others(opening.session()?, &mut relations, &mut problems)?;
        let Some(first) = relations.first() else {
            return Err(Error::all(problems).unwrap_or_else(nothing_wrong));
        };
        refuse_only(first, self.request.only && !self.is_many)?;
        let readers = opening.prepared.options.readers;
        opening.prepared.options.readers =
            relations.iter().fold(readers, |wanted, relation| readers_of(relation, wanted));
        let condition = self.condition(opening, first)?;
        let select_list = match &self.request.columns {
            Some(names) => names.iter().map(|name| quote_identifier(name)).collect::<Vec<_>>().join(", "),
            None => "*".to_owned(),
        };
        Ok(ToPlan {
            held: relations.iter().map(|relation| Held::relation(relation, &select_list)).collect(),
            no_views: opening.prepared.traits.restricts_relation_kinds
                && condition.is_none()
                && relations.iter().all(|relation| is_table(relation.kind)),
            slicing: Slicing { is_of_many: self.is_many, ..opening.slicing() },
            problems,
            subject_was: if self.is_many { "tables were".to_owned() } else { format!("{first} was") },
            found: FoundTables { relations, condition },
        })
    }

    /// Plans locked tables. `None` if they or their parts are no longer what was locked.
    ///
    /// Reports all problems at once. After the first one, plans have only a schema and one slice, for the
    /// caller's check.
    fn plan(&self, planner: &mut Planner<'_>, found: FoundTables) -> Result<Option<(Vec<Plan>, Proof)>> {
        let FoundTables { relations: planned, mut condition } = found;
        let mut problems = std::mem::take(&mut planner.problems);
        let session = &mut planner.keeper.reader.session;
        // Other relations may have taken their names between resolving and locking.
        if problems.is_empty() && relations(session, self.named)? != planned {
            return Ok(None);
        }
        let columns = table_columns_of_many(session, &planned, self.request.only)?;
        let columns = planned.iter().zip(columns).map(|(relation, all)| self.request.chosen(relation, all));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let names = columns.iter().flatten().map(|column| column.column.name.as_str());
        let subject = planned.first().filter(|_| !self.is_many).map(Relation::to_string);
        let subject = subject.as_deref().unwrap_or("these tables");
        problems.extend(not_there(planner.options, subject, names));
        let oids: Vec<u32> = planned.iter().map(|relation| relation.oid).collect();
        // Of many tables, most are small. For one table, its leaves say how large it is.
        let sizes = if self.is_many { relation_sizes(session, &oids)? } else { Vec::new() };
        let sizes: HashMap<u32, RelationSize> = sizes.into_iter().map(|size| (size.oid, size)).collect();
        let mut plans = Vec::with_capacity(planned.len());
        for (relation, columns) in planned.iter().zip(columns) {
            let n_before = problems.len();
            let (session, subject) = (&mut planner.keeper.reader.session, relation.to_string());
            let chosen = choose_and_say(session, &subject, columns, planner.options, &mut problems)?;
            // Without a caller's check, no plans are needed after a problem.
            if problems.len() > n_before || (!problems.is_empty() && self.named.check.is_none()) {
                continue;
            }
            let table = TableToPlan {
                relation,
                chosen,
                size: sizes.get(&relation.oid),
                condition: condition.take(),
                is_for_check: !problems.is_empty(),
            };
            match self.request.plan_table(planner, table)? {
                Some(plan) => plans.push(plan),
                None => return Ok(None),
            }
        }
        if let [_, _, ..] = planned.as_slice() {
            for plan in &mut plans {
                let subject = plan.subject.clone();
                plan.warnings.iter_mut().for_each(|warning| {
                    *warning = std::mem::take(warning).behind(format!("{subject}: "));
                });
            }
        }
        let proof = match problems.is_empty() {
            true => match Proof::plan(planner.keeper, &plans, &oids, planner.traits)? {
                Some(proof) => proof,
                None => return Ok(None),
            },
            false => Proof::default(),
        };
        if let Some(Check(check)) = &self.named.check {
            problems.extend(check(&plans));
        }
        Error::all(problems).map_or(Ok(Some((plans, proof))), Err)
    }
}

/// The relations that the user named, each once, in that order.
fn relations(session: &mut Session, named: &Named) -> Result<Vec<Relation>> {
    let patterns = named.patterns.iter().map(|pattern| NamePattern::parse(pattern));
    let patterns = patterns.collect::<std::result::Result<Vec<_>, _>>()?;
    let typed = named.patterns.iter().zip(&patterns);
    let (patterns, plain): (Vec<_>, Vec<_>) = typed.partition(|(_, pattern)| pattern.has_wildcard());
    let plain = plain.into_iter().map(|(name, _)| name);
    let names = named.names.iter().chain(plain).map(|name| RelationName::parse(name));
    let names = names.collect::<std::result::Result<Vec<_>, _>>()?;
    let mut relations = resolve_many(session, &names).map_err(|error| suggest(session, error))?;
    for schema in &named.schemas {
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
    for (typed, pattern) in patterns {
        let of_pattern = relations_of_pattern(session, pattern)?;
        if of_pattern.is_empty() {
            return Err(refused(&format!("no table matches the pattern {typed:?}")));
        }
        relations.extend(of_pattern);
    }
    let mut seen = HashSet::new();
    relations.retain(|relation| seen.insert(relation.oid));
    for pattern in &named.excluded {
        let oids: Vec<u32> = relations.iter().map(|relation| relation.oid).collect();
        let excluded = matching(session, &NamePattern::parse(pattern)?, &oids)?;
        relations.retain(|relation| !excluded.contains(&relation.oid));
    }
    Ok(relations)
}

/// Leaves out tables that the role may not read and reports them all. The server would name only one.
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

/// Leaves out temporary tables of other sessions and reports them.
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
