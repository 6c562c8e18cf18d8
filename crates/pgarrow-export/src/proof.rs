//! The proof that every statement read what was planned, although each statement looks its tables up anew: by
//! name, in the newest catalog.
//!
//! ```text
//!  planning        the OIDs of what may be opened, as the snapshot sees it; all of it is locked
//!  every session   before it ends: what has it locked? a lock names what was opened, and stays so long
//!                  also after each slice that reads more than tables named ONLY
//!  the keeper      at the end: labels of enums; and, where locks cannot tell, schemas that were renamed
//! ```
//!
//! Locks are not enough in three cases: two planned relations have the same name and may have changed places;
//! pages were read by `get_raw_page`, which releases its lock; a session was lost with its locks. Then no
//! schema may have been renamed: only that can change the name of a locked relation.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pgarrow_catalog::{
    EndQuestions, FIRST_NORMAL_OID, Member, OpenedRelation, RelationKind, ServerTraits, ask_at_end, locked,
    opened_beside, renamed_labels, renamed_schemas, what_belongs,
};
use pgarrow_protocol::{Session, TransactionStatus};
use pgarrow_session::{Error, ErrorKind, Result};
use pgarrow_types::message;
use pgarrow_types::option::{SLICE_BYTES, SPLIT_ON};

use crate::keeper::Keeper;
use crate::opened::{End, Opened};
use crate::plan::{Plan, Reads};
use crate::reader_session::ReaderSession;

/// The most names that an error lists.
const NAMED_MAX: usize = 4;

/// What a run may open.
#[derive(Debug, Default)]
pub(crate) struct Proof {
    /// By `pg_class.oid`. `None` on a server that is not plain PostgreSQL: it is not asked.
    planned: Option<Vec<u32>>,
    /// Their names without schemas.
    names: HashSet<String>,
    /// Two of them have one name.
    has_namesakes: bool,
    /// The run reads one slice of a plan; other processes read the others.
    is_part: bool,
    /// What functions opened besides the planned relations, by plan: the same in every slice of a plan.
    beside: Vec<Mutex<Option<BTreeSet<u32>>>>,
    /// A session was lost, with the locks on what it had read.
    is_lost: AtomicBool,
    /// Each slice is proven by itself, as its table may count before the run has ended.
    is_of_each_slice: bool,
}

impl Proof {
    /// What these plans may open, including what the keeper's session has opened so far. `roots`: what had to
    /// be locked.
    ///
    /// Runs in the keeper's transaction, after its snapshot. `None` if the locked relations are others than
    /// `roots`.
    pub(crate) fn plan(
        keeper: &mut Keeper,
        plans: &[Plan],
        roots: &[u32],
        traits: &ServerTraits,
    ) -> Result<Option<Self>> {
        if let Some(under) = keeper.under.clone() {
            under.check(&mut keeper.reader.session, roots)?;
        }
        if !traits.is_plain_postgres || keeper.is_lock_unknown {
            return Ok(Some(Self::default()));
        }
        let pids = keeper.backend_pids();
        let held: HashSet<u32> = locked(&mut keeper.reader.session, &pids)?.into_iter().collect();
        // System tables need no lock: nobody replaces them.
        if roots.iter().any(|root| *root >= FIRST_NORMAL_OID && !held.contains(root)) {
            return Ok(None);
        }
        let has_statements = has_statements(plans.iter());
        let mut of_plans = roots.to_vec();
        if has_statements {
            // The statements have to open the same relations until the end as they open now.
            of_plans.extend(&held);
            of_plans.sort_unstable();
            of_plans.dedup();
        }
        let members = what_belongs(&mut keeper.reader.session, &of_plans, has_statements)?;
        keeper.locked_by_readers = locks_of_readers(keeper, plans, &members);
        let proof = Self::of(members, plans.len());
        // No reader reads through the holder's session, so what it opened does not matter; the check above
        // found what it lacks.
        match has_statements || proof.opened_beside(&mut keeper.reader.session)?.is_empty() {
            true => Ok(Some(proof)),
            false => Ok(None),
        }
    }

    /// What a slice from another process's plan may open: the relations it names, and those the planner found
    /// besides.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] if the names now belong to other relations.
    pub(crate) fn of_slice(
        keeper: &mut Keeper,
        roots: &[u32],
        and_of_views: bool,
        is_part: bool,
        traits: &ServerTraits,
    ) -> Result<Self> {
        if !traits.is_plain_postgres {
            return Ok(Self::default());
        }
        let members = what_belongs(&mut keeper.reader.session, roots, and_of_views)?;
        let proof = Self { is_part, ..Self::of(members, 1) };
        proof.refuse(&proof.opened_beside(&mut keeper.reader.session)?)?;
        Ok(proof)
    }

    fn of(members: Vec<Member>, n_plans: usize) -> Self {
        let n_members = members.len();
        let planned = members.iter().map(|member| member.oid).collect();
        let names: HashSet<String> = members.into_iter().map(|member| member.name).collect();
        Self {
            planned: Some(planned),
            has_namesakes: names.len() < n_members,
            names,
            is_part: false,
            beside: (0..n_plans).map(|_| Mutex::default()).collect(),
            is_lost: AtomicBool::new(false),
            is_of_each_slice: false,
        }
    }

    /// From here on, each slice is proven by itself before its last rows are handed out.
    pub(crate) fn prove_each_slice(&mut self) {
        self.is_of_each_slice = true;
    }

    /// The OIDs that other processes need to prove the same. Empty if nothing is proven.
    pub(crate) fn planned(&self) -> &[u32] {
        self.planned.as_deref().unwrap_or_default()
    }

    /// What was opened besides what was planned. A table of an extension counts only if a planned name could
    /// mean it.
    fn opened_beside(&self, session: &mut Session) -> Result<Vec<OpenedRelation>> {
        let Some(planned) = &self.planned else {
            return Ok(Vec::new());
        };
        let mut opened = opened_beside(session, planned)?;
        opened.retain(|relation| !relation.is_of_extension || self.names.contains(&relation.name));
        Ok(opened)
    }

    fn refuse<'o>(&self, opened: impl IntoIterator<Item = &'o OpenedRelation>) -> Result<()> {
        let names: Vec<&str> = opened.into_iter().map(|relation| relation.printed.as_str()).collect();
        if names.is_empty() {
            return Ok(());
        }
        let more = if names.len() > NAMED_MAX { ", …" } else { "" };
        let named = names.into_iter().take(NAMED_MAX).collect::<Vec<_>>().join(", ");
        let text = format!(
            "something else was opened than what was planned: {named}{more}; names were given to other tables meanwhile \
             (a schema that was renamed, a table of the same name earlier on the search path), or a table was attached"
        );
        Err(not_to_be_used(text))
    }

    /// Before a session begins a slice: proves what it has read so far, if the slice is a statement that is
    /// checked by itself.
    pub(crate) fn before_slice(
        &self,
        session: &mut Session,
        opened: &mut Opened,
        reads: Reads,
    ) -> Result<()> {
        match reads {
            Reads::Statements if opened.is_unproven => self.session(session, opened),
            _ => Ok(()),
        }
    }

    /// The planned relations, if what else is open is the next question after this slice: in
    /// [`after_slice`](Self::after_slice), or in [`end`](Self::end) if that comes next.
    pub(crate) fn asks_after(&self, plan: &Plan, ends_run: bool) -> Option<&[u32]> {
        match plan.reads {
            Reads::Tables if !self.is_of_each_slice && !ends_run => None,
            Reads::Tables | Reads::Trees | Reads::Statements => self.planned.as_deref(),
        }
    }

    /// After a slice was read and its end confirmed, before its last rows are handed out.
    pub(crate) fn after_slice(
        &self,
        session: &mut Session,
        opened: &mut Opened,
        plan_index: usize,
        plan: &Plan,
    ) -> Result<()> {
        match plan.reads {
            Reads::Tables if !self.is_of_each_slice => opened.is_unproven = true,
            Reads::Tables | Reads::Trees => self.session(session, opened)?,
            Reads::Statements => self.statement(session, opened, plan_index, plan)?,
        }
        match &self.planned {
            Some(planned) if self.is_of_each_slice => self.meanings(session, planned, &[plan]),
            _ => Ok(()),
        }
    }

    /// A statement may open what was planned, and what functions open: the same for every slice, and nothing
    /// that a name in the statement could mean.
    fn statement(
        &self,
        session: &mut Session,
        opened: &mut Opened,
        plan_index: usize,
        plan: &Plan,
    ) -> Result<()> {
        let beside = self.opened_beside(session)?;
        // This process does not know what functions open for the plan's other slices.
        self.refuse(beside.iter().filter(|relation| self.is_part || self.names.contains(&relation.name)))?;
        let oids: BTreeSet<u32> = beside.iter().map(|relation| relation.oid).collect();
        if plan.n_slices() > 1
            && let Some(seen) = self.beside.get(plan_index)
        {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let first = seen.get_or_insert_with(|| oids.clone());
            let differing: BTreeSet<u32> = first.symmetric_difference(&oids).copied().collect();
            drop(seen);
            if !differing.is_empty() {
                // For what only other slices have opened, no name is known here.
                self.refuse(beside.iter().filter(|relation| differing.contains(&relation.oid)))?;
                let text = "what functions of the statement read is not the same in all of its slices, so it cannot be \
                            shown that they belong together";
                return Err(Error::new(ErrorKind::Server, text).advice(message![
                    "read it with one statement: leave out ",
                    SPLIT_ON,
                    " and ",
                    SLICE_BYTES
                ]));
            }
        }
        opened.beside.extend(oids);
        opened.is_unproven = false;
        Ok(())
    }

    /// Before a session ends: checks that it opened nothing besides what is known.
    pub(crate) fn session(&self, session: &mut Session, opened: &mut Opened) -> Result<()> {
        if opened.end == End::Asked && !session.has_answer_behind() {
            return Err(over());
        }
        let beside = self.opened_beside(session)?;
        self.refuse(beside.iter().filter(|relation| !opened.beside.contains(&relation.oid)))?;
        opened.is_unproven = false;
        if opened.end == End::Asked {
            opened.end = End::Done;
        }
        Ok(())
    }

    /// The same for a session that is asked nothing else. Its transaction ends.
    pub(crate) fn session_and_commit(&self, session: &mut Session, opened: &mut Opened) -> Result<()> {
        if let Some(planned) = &self.planned {
            must_be_open(session)?;
            let questions = EndQuestions { planned, and_commit: true, ..EndQuestions::default() };
            let answers = ask_at_end(session, &questions)?;
            session.keep_answers(answers);
        }
        self.session(session, opened)
    }

    /// Notes that a session was lost with its locks. `has_delivered`: rows of its slice went out.
    pub(crate) fn lose(&self, opened: &Opened, has_delivered: bool) {
        if opened.is_unproven || has_delivered {
            self.is_lost.store(true, Ordering::Release);
        }
    }

    /// The last part of the proof, before the keeper's transaction ends.
    pub(crate) fn end(&self, keeper: &mut Keeper, plans: &[Arc<Plan>]) -> Result<()> {
        let Some(planned) = &self.planned else {
            return Ok(());
        };
        let plans: Vec<&Plan> = plans.iter().map(Arc::as_ref).collect();
        let and_commit = keeper.ends_alone();
        let ReaderSession { session, opened, .. } = &mut keeper.reader;
        match opened.end {
            End::Done => Ok(()),
            End::Asked => self.session(session, opened),
            End::Later => {
                must_be_open(session)?;
                let and_schemas = self.must_ask_schemas(&plans);
                let (types, relations) = labelled(planned, &plans);
                let types = types.as_slice();
                let questions = EndQuestions { planned, and_schemas, types, relations, and_commit };
                let answers = ask_at_end(session, &questions)?;
                session.keep_answers(answers);
                self.session(session, opened)?;
                self.meanings(session, planned, &plans)
            }
        }
    }

    /// Whether the proof of a run of one slice only asks what is open, as it does right behind the slice.
    pub(crate) fn ends_with_beside(&self, plan: &Plan) -> bool {
        !self.is_of_each_slice && !self.must_ask_meanings(&[plan])
    }

    /// Whether [`meanings`](Self::meanings) queries the server.
    fn must_ask_meanings(&self, plans: &[&Plan]) -> bool {
        let mut types = plans.iter().flat_map(|plan| plan.columns.iter().map(|column| column.type_oid));
        self.must_ask_schemas(plans)
            || has_statements(plans.iter().copied())
            || types.any(|oid| oid >= FIRST_NORMAL_OID)
    }

    fn must_ask_schemas(&self, plans: &[&Plan]) -> bool {
        let is_by_name = plans.iter().any(|plan| plan.pages.are_by_name());
        self.has_namesakes || is_by_name || self.is_lost.load(Ordering::Acquire)
    }

    /// What locks cannot tell: that the names of planned relations meant the same all the time, and the
    /// labels of enums. Any session that has the snapshot can ask.
    fn meanings(&self, session: &mut Session, planned: &[u32], plans: &[&Plan]) -> Result<()> {
        if self.must_ask_schemas(plans) {
            let renamed = renamed_schemas(session, planned)?;
            if !renamed.is_empty() {
                let text = format!(
                    "a schema was renamed, or granted, while its tables were read ({}), so it cannot be shown that every \
                     statement has read the same tables",
                    renamed.join(", ")
                );
                return Err(not_to_be_used(text));
            }
        }
        let (types, of_relations) = labelled(planned, plans);
        let renamed = renamed_labels(session, &types, of_relations)?;
        if !renamed.is_empty() {
            let text = format!(
                "labels of {} were renamed while values were read, so that one value may have come with two labels",
                renamed.join(", ")
            );
            return Err(not_to_be_used(text));
        }
        Ok(())
    }
}

/// The types whose labels come with the rows, and the relations whose types may do so.
fn labelled<'p>(planned: &'p [u32], plans: &[&Plan]) -> (Vec<u32>, &'p [u32]) {
    let types = plans.iter().flat_map(|plan| plan.columns.iter().map(|column| column.type_oid));
    let types: BTreeSet<u32> = types.collect();
    // Statements may turn labels into text.
    let of_relations = if has_statements(plans.iter().copied()) { planned } else { &[] };
    (types.into_iter().collect(), of_relations)
}

/// Locks end with their transaction: behind it, nothing wrong would be found.
fn must_be_open(session: &Session) -> Result<()> {
    match session.transaction_status() {
        TransactionStatus::Idle => Err(over()),
        TransactionStatus::InTransaction | TransactionStatus::Failed => Ok(()),
    }
}

fn over() -> Error {
    let text = "the transaction was over before its end, so it cannot be shown what its statements have read";
    not_to_be_used(text.to_owned())
}

fn not_to_be_used(text: String) -> Error {
    Error::new(ErrorKind::Server, text).advice("what has come is not to be used; run the export again")
}

/// Whether the run reads a user's statement or a view.
fn has_statements<'p>(mut plans: impl Iterator<Item = &'p Plan>) -> bool {
    plans.any(|plan| plan.reads == Reads::Statements)
}

/// What readers lock before they read: exactly what their statements name, so that they lock no table that
/// became a part of another one after the snapshot.
fn locks_of_readers(keeper: &Keeper, plans: &[Plan], members: &[Member]) -> Vec<String> {
    let readable: HashSet<u32> =
        members.iter().filter(|member| member.is_readable).map(|member| member.oid).collect();
    let mut locks = Vec::new();
    let mut seen = HashSet::new();
    for plan in plans {
        if plan.relation.is_none() {
            return keeper.locked.clone();
        }
        for (relation, only) in plan.slices.iter().flat_map(|slice| &slice.relations) {
            if !seen.insert((relation.oid, *only)) {
                continue;
            }
            let quoted = relation.quoted();
            match only {
                true if relation.kind == RelationKind::Table && readable.contains(&relation.oid) => {
                    locks.push(format!("ONLY {quoted}"));
                }
                false if keeper.locked.contains(&quoted) => locks.push(quoted),
                _ => {}
            }
        }
    }
    locks
}
