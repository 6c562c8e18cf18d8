//! From what was asked for to a planned export in its transaction.
//!
//! ```text
//!  Request ─▶ session ─▶ find: names ─▶ Keeper: lock, snapshot ─▶ plan: columns, slices ─▶ Engine
//!                          ▲                                        │
//!                          └── tables were changed between the two ─┘
//! ```
//!
//! One loop plans everything except slices of another process's plan. One table is planned in the same way as
//! many.

mod describe;
mod fixed;
mod opening;
mod parameters;
mod query;
mod slice;
mod table;
mod tables;

use std::sync::Arc;
use std::time::Duration;

use pgarrow_catalog::{Relation, RelationName, ServerTraits, relation, resolve, server_traits, suggest};
use pgarrow_protocol::Session;
use pgarrow_session::{Cancel, Error, ErrorKind, Pool, Result};

use crate::ahead::Ahead;
use crate::choose::Chosen;
use crate::facts::Facts;
use crate::keeper::{Keeper, begin_ahead};
use crate::locks::Held;
use crate::options::ExportOptions;
use crate::plan::{Plan, add_pages, arrow_schema};
use crate::planner::select::Selection;
use crate::planner::{PageWish, Slices, Slicing};
use crate::proof::Proof;
use crate::run::Run;
use crate::source::extract::{Named, Request, What};
use opening::{LookedUp, Opening, Planned};
use query::QuerySubject;
pub(crate) use tables::find_tables;
use tables::{TablesSubject, names};

/// How often planning is tried when tables are attached or replaced meanwhile.
const PLANNINGS_MAX: u32 = 5;

/// Why an export with a limit is one slice.
const ONE_LIMIT: &str = "it has a limit, which counts the rows of one statement";

/// What is planned in a transaction that holds it: tables, or a query.
trait Subject {
    /// What is known about it before that transaction.
    type Found;

    /// Finds out what is read. Runs outside of the export's transaction.
    fn find(&self, opening: &mut Opening<'_>) -> Result<ToPlan<Self::Found>>;

    /// Plans what is locked. `None` if the subject no longer reads that.
    fn plan(&self, planner: &mut Planner<'_>, found: Self::Found) -> Result<Option<(Vec<Plan>, Proof)>>;
}

/// What was found, and what has to be locked.
struct ToPlan<Found> {
    found: Found,
    held: Vec<Held>,
    /// What planning will ask, as far as that is known.
    ahead: Option<Ahead>,
    /// Only tables are read, by statements without a user's text; and the server can forbid views.
    no_views: bool,
    slicing: Slicing,
    /// What is wrong with a part of it: planning may find more problems in the rest.
    problems: Vec<Error>,
    /// The subject and its verb, for the error that it keeps changing: `public.orders was`, `tables were`.
    subject_was: String,
}

/// What planning needs once all is locked.
struct Planner<'a> {
    keeper: &'a mut Keeper,
    slicing: &'a Slicing,
    traits: &'a ServerTraits,
    options: &'a ExportOptions,
    problems: Vec<Error>,
}

impl Request {
    /// What will be looked up first. A name or a statement that is wrong is reported then.
    fn looked_up(&self) -> LookedUp {
        let names = match &self.what {
            What::Table(name) => RelationName::parse(name).into_iter().collect(),
            What::Tables(named) => names(named).unwrap_or_default(),
            What::Query(sql) => return self.looked_up_for_query(sql),
            What::Slice(_) => Vec::new(),
        };
        // Tables alone, and all rows of them.
        let is_plain = match &self.what {
            What::Table(_) => true,
            What::Tables(named) => named.selections.is_empty() && named.queries.is_empty(),
            What::Query(_) | What::Slice(_) => false,
        };
        LookedUp { names, may_be_known: self.filter.is_none() && is_plain, ..LookedUp::default() }
    }

    pub(crate) fn open(
        self,
        pool: &Pool,
        session: Session,
        connect: Duration,
        cancel: &Cancel,
    ) -> Result<Run> {
        let _planning = tracing::info_span!(target: "pgarrow", "plan").entered();
        let attached = cancel.attach(&session);
        let mut options = self.options.clone();
        if let What::Slice(_) = self.what {
            // A slice is one stream: what several readers need is not probed.
            options.readers.get_or_insert(1);
        }
        // To look a query up locks what it reads, and a target may have to be waited for.
        let learned = match self.what {
            What::Query(_) => options.learn_opaque(),
            What::Table(_) | What::Tables(_) | What::Slice(_) => Ok(()),
        };
        let first = |session, looked_up: &LookedUp| {
            let mut opening = Opening::new(pool, session, &options, looked_up, connect, cancel)?;
            opening.prepared.options.learn_opaque()?;
            Ok(opening)
        };
        let mut looked_up = self.looked_up();
        let opening = learned.and_then(|()| first(session, &looked_up));
        looked_up.may_be_known = false;
        let planned = opening.and_then(|opening| self.plan(opening)).and_then(|planned| match planned {
            Planned::Outdated(session) => first(*session, &looked_up).and_then(|opening| self.plan(opening)),
            planned => Ok(planned),
        });
        let engine = planned.and_then(|planned| match planned {
            Planned::Engine(engine) => Ok(*engine),
            Planned::Outdated(_) => {
                let text = "nothing was known and it is outdated; please report it";
                Err(Error::new(ErrorKind::Protocol, text))
            }
        });
        drop(attached);
        Run::new(engine.map_err(|error| cancel.cancelled_or(error))?)
    }

    fn plan(&self, mut opening: Opening<'_>) -> Result<Planned> {
        match &self.what {
            What::Table(name) => {
                let named = Named { names: vec![name.clone()], ..Named::default() };
                let subject = TablesSubject::of_one(self, &named)?;
                let pages = opening.pages(self.limit.is_some())?;
                plan_held(&subject, opening, &pages)
            }
            What::Tables(named) => {
                if self.options.under.is_some() && self.options.inconsistent {
                    return Err(refused(
                        "the snapshot is held by another session, so readers have none of their own",
                    ));
                }
                let subject = TablesSubject::of_many(self, named)?;
                let pages = opening.pages(false)?;
                plan_held(&subject, opening, &pages)
            }
            What::Query(sql) => {
                let subject = QuerySubject::new(self, sql, &mut opening)?;
                plan_held(&subject, opening, &PageWish::default())
            }
            What::Slice(slice) => Ok(Planned::Engine(Box::new(self.open_slice(opening, slice)?))),
        }
    }

    /// Refuses what cannot be combined with a limit.
    fn check_limit(&self) -> Result<()> {
        match self.limit.is_some() && self.options.split_on.is_some() {
            true => {
                Err(refused("a limit is for one statement: leave out the column to split on, or the limit"))
            }
            false => Ok(()),
        }
    }
}

/// Locks what a subject reads, takes the snapshot and plans. Begins again if the relations changed meanwhile.
fn plan_held<S: Subject>(subject: &S, mut opening: Opening<'_>, pages: &PageWish) -> Result<Planned> {
    let mut n_plannings = 0;
    loop {
        n_plannings += 1;
        let found = subject.find(&mut opening);
        let (mut session, mut prepared) = opening.split();
        session.forget_answers();
        let is_known = std::mem::take(&mut prepared.is_known);
        let ToPlan { found, held, ahead, no_views, slicing, problems, subject_was } = match found {
            // Perhaps only what was known makes it an error.
            Err(_) if is_known => return Ok(prepared.outdated(session)),
            found => found?,
        };
        let (options, traits) = (&prepared.options, &prepared.traits);
        let may_lock = traits.is_plain_postgres
            && problems.is_empty()
            && (!held.is_empty() || ahead.is_some())
            && held.iter().all(|held| held.is_lockable);
        let asked = match may_lock && (ahead.is_some() || !is_known) {
            true => begin_ahead(&mut session, ahead.as_ref(), &held, no_views, options),
            false => Ok(false),
        };
        if is_known && asked.as_ref().is_ok_and(|was_asked| !was_asked) {
            return Ok(prepared.outdated(session));
        }
        // Tables that cannot be opened in one go would only be tried in vain.
        let is_quick = asked.as_ref().is_ok_and(|was_asked| *was_asked);
        let begun = asked
            .and_then(|_| Keeper::begin(session, &held, no_views, options, prepared.pooled, prepared.cancel));
        let mut keeper = match begun {
            Ok(keeper) => keeper,
            // For example, a lock was not available. Problems found before go first.
            Err(error) => return Err(Error::all(problems).unwrap_or(error)),
        };
        if is_known && server_traits(&mut keeper.reader.session)? != *traits {
            return Ok(prepared.outdated(keeper.give_up()?));
        }
        let mut planner = Planner { keeper: &mut keeper, slicing: &slicing, traits, options, problems };
        let planned = subject.plan(&mut planner, found)?;
        keeper.reader.session.forget_answers();
        match planned {
            Some((mut plans, proof)) => {
                add_pages(&mut keeper.reader.session, pages, &mut plans)?;
                prepared.keep_tables(ahead.filter(|_| is_quick));
                return Ok(Planned::Engine(Box::new(prepared.engine(keeper, plans, proof))));
            }
            None if is_known => return Ok(prepared.outdated(keeper.give_up()?)),
            // Names of now do not mean what they meant then, and never will.
            None if prepared.options.under.is_some() => {
                let text = format!("{subject_was} changed since the held snapshot was taken; hold a new one");
                return Err(Error::new(ErrorKind::Options, text));
            }
            None if n_plannings < PLANNINGS_MAX => {
                opening = Opening::reopen(keeper.give_up()?, prepared);
            }
            None => {
                let text = format!(
                    "{subject_was} changed again and again while the export was planned; run it again"
                );
                return Err(Error::new(ErrorKind::Server, text));
            }
        }
    }
}

/// A plan with its schema.
fn plan(
    subject: String,
    relation: Option<&Relation>,
    chosen: Chosen,
    selection: Selection,
    slices: Slices,
    options: &ExportOptions,
    facts: &Facts,
) -> Plan {
    let schema = Arc::new(arrow_schema(&chosen.columns, relation, &facts.server_version, options.field_ids));
    Plan::new(subject, relation.cloned(), chosen, schema, selection, slices)
}

/// Whether a relation is still the planned one: another may have taken its place between planning a slice and
/// locking it.
fn is_unchanged(session: &mut Session, planned: &Relation) -> Result<bool> {
    Ok(relation(session, planned.oid)?.as_ref() == Some(planned))
}

/// Finds a relation. An error suggests what its name may have meant.
pub(crate) fn known(session: &mut Session, name: &RelationName) -> Result<Relation> {
    Ok(resolve(session, name).map_err(|error| suggest(session, error))?)
}

fn refused(why: &str) -> Error {
    Error::new(ErrorKind::Options, why)
}
