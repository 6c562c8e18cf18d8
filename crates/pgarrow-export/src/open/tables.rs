//! Tables under one snapshot: found, locked and planned together, with a few questions for all of them. One
//! table is planned in the same way as many, and may have columns, a filter, a limit and a key. Beside many,
//! there may be queries.

use std::collections::{HashMap, HashSet};

use pgarrow_catalog::{
    NamePattern, Relation, RelationName, RelationSize, matching, near_schema, not_readable, quote_identifier,
    relation_sizes, relations_of_pattern, relations_of_schema, resolve_many, suggest, table_columns_of_many,
};
use pgarrow_protocol::Session;
use pgarrow_session::{Error, ErrorKind, Result};
use pgarrow_types::{NumericForm, OpaqueColumns, PgColumn};

use super::fixed::Fixed;
use super::opening::Opening;
use super::query::{FoundQuery, QueryToPlan};
use super::table::{TableToPlan, is_table, readers_of, refuse_of_others, refuse_only};
use super::{Planner, Subject, ToPlan, refused};
use crate::ahead::{Ahead, TablesAhead};
use crate::choose::{choose_and_say, not_there};
use crate::locks::Held;
use crate::options::ExportOptions;
use crate::plan::Plan;
use crate::planner::Slicing;
use crate::proof::Proof;
use crate::settings::look_up;
use crate::source::extract::{Check, Named, Request, TableSelection};

/// One table, or many.
pub(super) struct TablesSubject<'r> {
    pub(super) request: &'r Request,
    named: &'r Named,
    /// The user asked for many tables, even if there is only one.
    is_many: bool,
    queries: Vec<QueryToPlan<'r>>,
}

/// What is known about tables before their transaction.
pub(super) struct FoundTables {
    relations: Vec<Relation>,
    /// What is read of those of which not all is read, by OID.
    selected: HashMap<u32, Request>,
    /// The filters of those that have one, with their values bound, by OID.
    conditions: HashMap<u32, Fixed>,
    /// Of each query.
    queries: Vec<FoundQuery>,
}

impl<'r> TablesSubject<'r> {
    /// One table, by its name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] for options that cannot be combined.
    pub(super) fn of_one(request: &'r Request, named: &'r Named) -> Result<Self> {
        request.parsed_filter()?;
        request.check_limit()?;
        Ok(Self { request, named, is_many: false, queries: Vec::new() })
    }

    /// Many tables.
    ///
    /// # Errors
    ///
    /// As for [`of_one`](Self::of_one).
    pub(super) fn of_many(request: &'r Request, named: &'r Named) -> Result<Self> {
        if request.options.split_on.is_some() {
            return Err(refused("a column to split on belongs to one table"));
        }
        let (mut queries, mut problems, mut names) = (Vec::new(), Vec::new(), HashSet::new());
        for query in &named.queries {
            if !names.insert(query.name.as_str()) {
                problems.push(refused(&format!("two queries have the name {:?}", query.name)));
            }
            match QueryToPlan::named(request, query) {
                Ok(query) => queries.push(query),
                Err(error) => problems.push(error),
            }
        }
        Error::all(problems).map_or(Ok(Self { request, named, is_many: true, queries }), Err)
    }

    /// The tables are those of the names, and nothing else.
    fn are_all_by_name(&self) -> bool {
        let Named { schemas, patterns, excluded, .. } = self.named;
        schemas.is_empty() && patterns.is_empty() && excluded.is_empty()
    }

    /// What the queries read. Those that the server does not take go to `problems`.
    fn find_queries(&self, opening: &mut Opening<'_>, problems: &mut Vec<Error>) -> Result<Vec<FoundQuery>> {
        let mut found = Vec::with_capacity(self.queries.len());
        for query in &self.queries {
            let of_query = match query.try_out(opening) {
                Ok(()) => query.find(opening).map_err(|error| error.context(&query.subject)),
                Err(error) => Err(error),
            };
            match of_query {
                Ok(of_query) => found.push(of_query),
                Err(error) if is_of_text(&error) => problems.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// What is read of the tables that the caller's patterns choose, by OID.
    fn selected(&self, session: &mut Session, relations: &[Relation]) -> Result<HashMap<u32, Request>> {
        let mut selected = HashMap::new();
        let oids: Vec<u32> = relations.iter().map(|relation| relation.oid).collect();
        for (pattern, TableSelection { columns, filter, parameters }) in &self.named.selections {
            let matching = match NamePattern::parse(pattern)? {
                parsed if parsed.has_wildcard() => matching(session, &parsed, &oids)?,
                _ => named_so(relations, &RelationName::parse(pattern)?),
            };
            if matching.is_empty() {
                let text = format!(
                    "columns or rows are chosen for {pattern:?}, and no table of the export matches it"
                );
                return Err(refused(&text));
            }
            for oid in matching {
                let request = Request {
                    columns: columns.clone(),
                    filter: filter.clone(),
                    parameters: parameters.clone(),
                    ..self.request.clone()
                };
                if selected.insert(oid, request).is_some() {
                    let relation = relations.iter().find(|relation| relation.oid == oid);
                    let name = relation.map(Relation::to_string).unwrap_or_default();
                    let text =
                        format!("two patterns choose columns or rows of {name}, the second is {pattern:?}");
                    return Err(refused(&text));
                }
            }
        }
        Ok(selected)
    }
}

impl Subject for TablesSubject<'_> {
    type Found = FoundTables;

    fn find(&self, opening: &mut Opening<'_>) -> Result<ToPlan<FoundTables>> {
        let mut problems = Vec::new();
        // Locks, and the questions behind them, show whether it is still so.
        let known = opening.prepared.known.take().map(|known| known.relations);
        let is_known = known.is_some();
        let found = match known {
            Some(known) => Ok(known),
            None => relations(opening.session()?, self.named),
        };
        let mut relations = match found {
            Ok(relations) => relations,
            Err(error) => {
                let (options, named) = (opening.prepared.options.clone(), self.named);
                one_by_one(named, opening.session()?, &options, error, &mut problems)?
            }
        };
        if relations.is_empty() && problems.is_empty() && self.queries.is_empty() {
            return Err(refused("there are no tables to export"));
        }
        // For one table, the server reports that itself.
        if self.is_many && opening.prepared.traits.is_plain_postgres && !is_known {
            leave_out_hidden(opening.session()?, &mut relations, &mut problems)?;
        }
        if relations.iter().any(Relation::is_temporary) {
            leave_out_of_others(opening.session()?, &mut relations, &mut problems)?;
        }
        let queries = self.find_queries(opening, &mut problems)?;
        match relations.first() {
            Some(first) => refuse_only(first, self.request.only && !self.is_many)?,
            None if queries.is_empty() => {
                return Err(Error::all(problems).unwrap_or_else(nothing_wrong));
            }
            None => {}
        }
        let readers = opening.prepared.options.readers;
        opening.prepared.options.readers =
            relations.iter().fold(readers, |wanted, relation| readers_of(relation, wanted));
        let selected = match self.named.selections.is_empty() {
            true => HashMap::new(),
            false => self.selected(opening.session()?, &relations)?,
        };
        let request_of = |relation: &Relation| selected.get(&relation.oid).unwrap_or(self.request);
        let mut conditions = HashMap::new();
        for relation in &relations {
            match request_of(relation).condition(opening, relation) {
                Ok(condition) => conditions.extend(condition.map(|condition| (relation.oid, condition))),
                Err(error) if self.is_many && error.kind() == ErrorKind::Options => {
                    problems.push(error.context(relation));
                }
                Err(error) if self.is_many => return Err(error.context(relation)),
                Err(error) => return Err(error),
            }
        }
        let held = |relation: &Relation| Held::relation(relation, &request_of(relation).select_list());
        let mut held: Vec<Held> = relations.iter().map(held).collect();
        let mut seen: HashSet<String> = held.iter().map(|held| held.quoted.clone()).collect();
        for (query, found) in self.queries.iter().zip(&queries) {
            held.extend(query.held(found).into_iter().filter(|held| seen.insert(held.quoted.clone())));
        }
        let ExportOptions { types, columns, .. } = &opening.prepared.options;
        let may_scan = types.numeric == NumericForm::Scan || !columns.is_empty();
        // A name that cannot be read is among the problems.
        let ahead = names(self.named).ok().map(|names| TablesAhead {
            names,
            relations: relations.clone(),
            are_many: self.is_many,
            columns: self.request.columns.clone(),
            only: self.request.only,
            opens_no_more: conditions.is_empty()
                && opening.prepared.options.split_on.is_none()
                && (relations.iter().all(|relation| is_table(relation.kind)) || !may_scan),
            is_known,
            may_be_known: self.are_all_by_name(),
        });
        let may_ask = opening.prepared.traits.is_plain_postgres
            && problems.is_empty()
            && queries.is_empty()
            && held.iter().all(|held| held.is_lockable);
        let first = relations.first().filter(|_| !self.is_many);
        Ok(ToPlan {
            held,
            ahead: ahead.filter(|_| may_ask).map(Ahead::Tables),
            no_views: opening.prepared.traits.restricts_relation_kinds
                && conditions.is_empty()
                && queries.is_empty()
                && relations.iter().all(|relation| is_table(relation.kind)),
            slicing: Slicing { is_of_many: self.is_many, ..opening.slicing() },
            problems,
            subject_was: first.map_or("tables were".to_owned(), |first| format!("{first} was")),
            found: FoundTables { relations, selected, conditions, queries },
        })
    }

    /// Plans locked tables. `None` if they or their parts are no longer what was locked.
    ///
    /// Reports all problems at once. After the first one, plans have only a schema and one slice, for the
    /// caller's check.
    fn plan(&self, planner: &mut Planner<'_>, found: FoundTables) -> Result<Option<(Vec<Plan>, Proof)>> {
        let FoundTables { relations: planned, selected, mut conditions, queries } = found;
        let request_of = |relation: &Relation| selected.get(&relation.oid).unwrap_or(self.request);
        let mut problems = std::mem::take(&mut planner.problems);
        let session = &mut planner.keeper.reader.session;
        // Other relations may have taken their names between resolving and locking.
        if problems.is_empty() && relations(session, self.named)? != planned {
            return Ok(None);
        }
        let columns = table_columns_of_many(session, &planned, self.request.only)?;
        let columns =
            planned.iter().zip(columns).map(|(relation, all)| request_of(relation).chosen(relation, all));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        // Those that the server does not take are among the problems.
        let mut of_queries = Vec::new();
        let has_all_queries = queries.len() == self.queries.len();
        if has_all_queries {
            for (query, found) in self.queries.iter().zip(queries) {
                let columns = query.columns(session).map_err(|error| error.context(&query.subject))?;
                of_queries.push((query, found, columns));
            }
        }
        let all = columns.iter().chain(of_queries.iter().map(|(_, _, columns)| columns));
        let names = all.flatten().map(|column| column.column.name.as_str());
        let subject = planned.first().filter(|_| !self.is_many).map(Relation::to_string);
        let subject = subject.as_deref().unwrap_or("these tables");
        if has_all_queries {
            problems.extend(not_there(planner.options, subject, names));
        }
        let oids: Vec<u32> = planned.iter().map(|relation| relation.oid).collect();
        // Of many tables, most are small. For one table, its leaves say how large it is.
        let sizes = if self.is_many { relation_sizes(session, &oids)? } else { Vec::new() };
        let sizes: HashMap<u32, RelationSize> = sizes.into_iter().map(|size| (size.oid, size)).collect();
        let mut plans = Vec::with_capacity(planned.len());
        for (relation, columns) in planned.iter().zip(columns) {
            let n_before = problems.len();
            let (session, subject) = (&mut planner.keeper.reader.session, relation.to_string());
            let opaque = self.named.opaque.get(&(relation.schema.clone(), relation.name.clone()));
            let options = with_opaque(planner.options, opaque);
            let options = options.as_ref().unwrap_or(planner.options);
            let chosen = choose_and_say(session, &subject, columns, options, &mut problems)?;
            // Without a caller's check, no plans are needed after a problem.
            if problems.len() > n_before || (!problems.is_empty() && self.named.check.is_none()) {
                continue;
            }
            let table = TableToPlan {
                relation,
                chosen,
                size: sizes.get(&relation.oid),
                condition: conditions.remove(&relation.oid),
                is_for_check: !problems.is_empty(),
            };
            let request = request_of(relation);
            let planned = request.plan_table(planner, table).map_err(|error| match request.filter {
                Some(_) if self.is_many => error.context(relation),
                _ => error,
            });
            match planned? {
                Some(plan) => plans.push(plan),
                None => return Ok(None),
            }
        }
        let mut roots = oids;
        for (query, found, columns) in of_queries {
            let n_before = problems.len();
            let keys: Vec<PgColumn> = columns.iter().map(|column| column.column.clone()).collect();
            let (session, subject) = (&mut planner.keeper.reader.session, &query.subject);
            let named = self.named.queries.iter().find(|named| named.subject() == *subject);
            let opaque = named.map(|named| &named.opaque).filter(|columns| !columns.is_empty());
            let options = with_opaque(planner.options, opaque);
            let options = options.as_ref().unwrap_or(planner.options);
            let chosen = choose_and_say(session, subject, columns, options, &mut problems)?;
            if problems.len() > n_before || (!problems.is_empty() && self.named.check.is_none()) {
                continue;
            }
            roots.extend(found.roots());
            let planned = query.plan(planner, found, &keys, chosen, !problems.is_empty());
            match planned.map_err(|error| error.context(subject))? {
                Some(plan) => plans.push(plan),
                None => return Ok(None),
            }
        }
        if planned.len().saturating_add(self.queries.len()) > 1 {
            for plan in &mut plans {
                let subject = plan.subject.clone();
                plan.warnings.iter_mut().for_each(|warning| {
                    *warning = std::mem::take(warning).behind(format!("{subject}: "));
                });
            }
        }
        let proof = match problems.is_empty() {
            true => match Proof::plan(planner.keeper, &plans, &roots, planner.traits)? {
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

/// The options for a table or query that has columns of its own to be left undecoded.
fn with_opaque(options: &ExportOptions, of_one: Option<&OpaqueColumns>) -> Option<ExportOptions> {
    of_one.map(|columns| options.clone().with_opaque(columns.clone()))
}

/// Whether an error is about the text of a query, or what it names, so that others may be planned
/// nevertheless.
fn is_of_text(error: &Error) -> bool {
    let is_so = |state: &str| ["42", "0A", "22"].iter().any(|class| state.starts_with(class));
    match error.kind() {
        ErrorKind::Options => true,
        ErrorKind::Server => error.sqlstate().is_some_and(is_so),
        _ => false,
    }
}

/// Those of the relations that have a name; without a schema, in any.
fn named_so(relations: &[Relation], name: &RelationName) -> Vec<u32> {
    let is_so = |relation: &&Relation| {
        relation.name == name.name && name.schema.as_ref().is_none_or(|schema| relation.schema == *schema)
    };
    relations.iter().filter(is_so).map(|relation| relation.oid).collect()
}

/// The relations that can be found, if not all can. Errors about the rest go to `problems`.
fn one_by_one(
    named: &Named,
    session: &mut Session,
    options: &ExportOptions,
    error: Error,
    problems: &mut Vec<Error>,
) -> Result<Vec<Relation>> {
    let is_of_names = |error: &Error| match error.kind() {
        ErrorKind::Options => true,
        ErrorKind::Server => error.sqlstate().is_some_and(|state| state.starts_with("42")),
        _ => false,
    };
    let Named { names, schemas, patterns, excluded, .. } = named;
    if names.len() + schemas.len() + patterns.len() == 1 || !is_of_names(&error) {
        return Err(error);
    }
    let mut found = Vec::new();
    let none = || Named { excluded: excluded.clone(), ..Named::default() };
    let of_names = names.iter().map(|name| Named { names: vec![name.clone()], ..none() });
    let of_schemas = schemas.iter().map(|schema| Named { schemas: vec![schema.clone()], ..none() });
    let of_patterns = patterns.iter().map(|pattern| Named { patterns: vec![pattern.clone()], ..none() });
    for one in of_names.chain(of_schemas).chain(of_patterns) {
        // What was refused has ended the transaction.
        look_up(session, options)?;
        match relations(session, &one) {
            Ok(relations) => found.extend(relations),
            Err(error) if is_of_names(&error) => problems.push(error),
            Err(error) => return Err(error),
        }
    }
    let mut seen = HashSet::new();
    found.retain(|relation| seen.insert(relation.oid));
    Ok(found)
}

/// The tables that a request names, each with the indexes of the patterns that match it.
///
/// # Errors
///
/// One error with the problems of all names.
pub(crate) fn find_tables(
    session: &mut Session,
    named: &Named,
    patterns: &[String],
    options: &ExportOptions,
) -> Result<Vec<(Relation, Vec<usize>)>> {
    let mut problems = Vec::new();
    look_up(session, options)?;
    let found = match relations(session, named) {
        Ok(relations) => relations,
        Err(error) => one_by_one(named, session, options, error, &mut problems)?,
    };
    if let Some(error) = Error::all(problems) {
        return Err(error);
    }
    let oids: Vec<u32> = found.iter().map(|relation| relation.oid).collect();
    let mut tables: Vec<_> = found.into_iter().map(|relation| (relation, Vec::new())).collect();
    for (index, pattern) in patterns.iter().enumerate() {
        let matching = matching(session, &NamePattern::parse(pattern)?, &oids)?;
        let is_matching = |relation: &Relation| matching.contains(&relation.oid);
        tables.iter_mut().filter(|(relation, _)| is_matching(relation)).for_each(|(_, of)| of.push(index));
    }
    Ok(tables)
}

fn patterns(named: &Named) -> Result<Vec<NamePattern>> {
    Ok(named
        .patterns
        .iter()
        .map(|pattern| NamePattern::parse(pattern))
        .collect::<std::result::Result<_, _>>()?)
}

/// The names without wildcards.
pub(crate) fn names(named: &Named) -> Result<Vec<RelationName>> {
    let typed = named.patterns.iter().zip(patterns(named)?);
    let plain = typed.filter(|(_, pattern)| !pattern.has_wildcard()).map(|(name, _)| name);
    let names = named.names.iter().chain(plain).map(|name| RelationName::parse(name));
    Ok(names.collect::<std::result::Result<_, _>>()?)
}

/// The relations that the user named, each once, in that order.
fn relations(session: &mut Session, named: &Named) -> Result<Vec<Relation>> {
    let patterns = patterns(named)?;
    let patterns = named.patterns.iter().zip(&patterns).filter(|(_, pattern)| pattern.has_wildcard());
    let mut relations = resolve_many(session, &names(named)?).map_err(|error| suggest(session, error))?;
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
