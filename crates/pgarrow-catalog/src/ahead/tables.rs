//! Asks everything about relations in the transaction that locks them, in one round trip.
//!
//! ```text
//!  BEGIN; SET …; LOCK …; snapshot; name ▶ OID; columns; leaves; sizes; locked; members
//! ```
//!
//! The server executes the statements in this order, each as if it had come alone: neither BEGIN nor SET nor
//! LOCK takes a snapshot. So the order of locks and snapshot is the same as with a message for each.

use std::collections::BTreeSet;

use pgarrow_protocol::{Answer, Row, Session};

use super::{column_names, inlined, last_answers, run_all};
use crate::columns::{columns_sql, own_columns_sql};
use crate::error::CatalogError;
use crate::leaves::{ROW_SECURITY, SIZES, leaves_sql, own_leaf_sql};
use crate::name::{RelationName, quote_literal, text_array};
use crate::opened::{OWN_MEMBER, beside_sql, locked_sql, members_sql};
use crate::relation::{RESOLVE, Relation, RelationKind};
use crate::server::TRAITS;
use crate::texts::array_of;

/// What is executed when relations are opened, and what is asked then.
#[derive(Clone, Copy, Debug)]
pub struct TableQuestions<'a> {
    /// Ends the transaction that is open, if one is, begins another one and locks.
    pub begin: &'a str,
    /// Asks for the snapshot.
    pub snapshot: &'a str,
    /// The column of its answer with the process that answers.
    pub pid_index: usize,
    /// The relations were found, and the server's traits learned, in another transaction that this session
    /// has not seen: asks for both again.
    pub and_traits: bool,
    /// The names that [`resolve_many`](crate::resolve_many) will ask about; none if it will not be asked.
    pub names: &'a [RelationName],
    /// The relations that were found.
    pub relations: &'a [Relation],
    /// They are planned as many, with their sizes. One alone is planned with its leaves.
    pub are_many: bool,
    /// The columns to check rights on leaves for, in this order; `None` for all.
    pub columns: Option<&'a [String]>,
    /// Without the rows of children.
    pub only: bool,
    /// Planning opens nothing but these, so what is open now is what will be open then.
    pub and_open: bool,
}

/// Executes and asks what opening these relations will: afterwards the transaction is open, with its locks
/// and under its snapshot. `None` if the server refuses a statement: then no transaction is open.
///
/// Asked are [`server_traits`](crate::server_traits), [`resolve_many`](crate::resolve_many),
/// [`table_columns_of_many`](crate::table_columns_of_many), [`leaves`](crate::leaves),
/// [`relation_sizes`](crate::relation_sizes), [`row_security_applies`](crate::row_security_applies),
/// [`locked`](crate::locked), [`what_belongs`](crate::what_belongs) and
/// [`opened_beside`](crate::opened_beside). What a table with children needs besides is asked later.
///
/// # Errors
///
/// Errors that end the session, and those of a lock that was not granted.
pub fn ask_about_tables(
    session: &mut Session,
    questions: &TableQuestions<'_>,
) -> Result<Option<Vec<Answer>>, CatalogError> {
    let TableQuestions { begin, snapshot, pid_index, and_traits, names, relations, are_many, .. } =
        *questions;
    let oids: Vec<u32> = relations.iter().map(|relation| relation.oid).collect();
    let names_asked = text_array(&names.iter().map(RelationName::quoted).collect::<Vec<_>>());
    let Some(names_literal) = quote_literal(&names_asked) else { return Ok(None) };
    // As literals: an array of numbers has no quote in it.
    let oids_literal = format!("'{}'", array_of(&oids));
    let columns_sql = columns_sql(session.server_version_num(), questions.only);

    let mut script = vec![begin.to_owned(), snapshot.to_owned()];
    if and_traits {
        script.push(TRAITS.to_owned());
    }
    if !names.is_empty() {
        script.push(inlined(RESOLVE, &[&names_literal]));
    }
    let own = Own::of(session, questions, relations);
    let of_tree = inlined(&columns_sql, &[&oids_literal]);
    script.push(own.as_ref().map_or_else(|| of_tree.clone(), |own| own.columns.clone()));
    let alone = match relations {
        [relation] if !are_many => Some(Alone::new(session, questions, relation)),
        _ => None,
    };
    match &alone {
        Some(Some(alone)) => {
            script.push(own.as_ref().map_or_else(|| alone.leaves.clone(), |own| own.leaf.clone()));
            script.extend(alone.others.iter().cloned());
        }
        // A name of a column that cannot be a literal.
        Some(None) => return Ok(None),
        None => script.push(inlined(SIZES, &[&oids_literal])),
    }
    let members = questions.and_open.then(|| Members::new(relations, &oids_literal));
    if let Some(members) = &members {
        script.push(members.locked.clone());
        script.push(own.as_ref().map_or_else(|| members.members.clone(), |own| own.member.clone()));
    }

    let n_asked = script.len() - 1;
    let Some(rows) = run_all(session, &script)? else { return Ok(None) };
    // `begin` is several statements.
    let mut rows = last_answers(rows, n_asked)?;
    let mut next = || rows.next().unwrap_or_default();

    let snapshot_rows = next();
    let pid = snapshot_rows.first().and_then(|row| row.text(pid_index)).unwrap_or_default().to_owned();
    let mut answers = vec![Answer::new(snapshot, &[], snapshot_rows)];
    if and_traits {
        answers.push(Answer::new(TRAITS, &[], next()));
    }
    if !names.is_empty() {
        answers.push(Answer::new(RESOLVE, &[Some(&names_asked)], next()));
    }
    let mut columns = next();
    let mut leaves = if alone.is_some() { next() } else { Vec::new() };
    let sizes = next();
    let policies = matches!(&alone, Some(Some(alone)) if alone.has_policies).then(&mut next);
    let mut of_members = members.as_ref().map(|_| (next(), next()));
    // A table with children, or without columns.
    let own_rows = [Some(&columns), Some(&leaves), of_members.as_ref().map(|(_, members)| members)];
    if own.is_some() && own_rows.into_iter().flatten().any(Vec::is_empty) {
        let mut again = vec![of_tree];
        again.extend(alone.iter().flatten().map(|alone| alone.leaves.clone()));
        again.extend(members.iter().map(|members| members.members.clone()));
        let Some(rows) = run_all(session, &again)? else { return Ok(None) };
        let mut rows = last_answers(rows, again.len())?;
        (columns, leaves) = (rows.next().unwrap_or_default(), rows.next().unwrap_or_default());
        if let Some((_, members)) = &mut of_members {
            *members = rows.next().unwrap_or_default();
        }
    }
    if let (Some(Some(alone)), Some(oid)) = (&alone, oids.first()) {
        alone.take(*oid, &columns, questions, (leaves, sizes, policies), &mut answers);
    } else {
        answers.push(Answer::new(SIZES, &[Some(&array_of(&oids))], sizes));
    }
    answers.push(Answer::new(columns_sql, &[Some(&array_of(&oids))], columns));
    if let (Some(members), Some(rows)) = (members, of_members) {
        members.take(&oids, &pid, rows, &mut answers);
    }
    Ok(Some(answers))
}

/// What is asked instead about a table that is planned alone, as most are: neither children nor partitions
/// are looked for. If it has any, the answers have no rows.
struct Own {
    columns: String,
    leaf: String,
    member: String,
}

impl Own {
    fn of(session: &Session, questions: &TableQuestions<'_>, relations: &[Relation]) -> Option<Self> {
        let [relation] = relations else { return None };
        if questions.are_many || relation.kind != RelationKind::Table {
            return None;
        }
        let oid = format!("{}::pg_catalog.oid", relation.oid);
        let names = column_names(questions.columns, &oid)?;
        let columns_sql = own_columns_sql(session.server_version_num(), questions.only);
        Some(Self {
            columns: inlined(&columns_sql, &[&oid]),
            leaf: inlined(&own_leaf_sql(), &[&oid, &names]),
            member: inlined(OWN_MEMBER, &[&oid]),
        })
    }
}

/// What is asked about a relation that is planned alone.
struct Alone {
    leaves_sql: String,
    has_policies: bool,
    leaves: String,
    /// Sizes, and policies if they are asked for.
    others: Vec<String>,
}

impl Alone {
    /// `None` if a name of a column cannot be a literal.
    fn new(session: &Session, questions: &TableQuestions<'_>, relation: &Relation) -> Option<Self> {
        let oid = format!("{}::pg_catalog.oid", relation.oid);
        let names = column_names(questions.columns, &oid)?;
        let leaves_sql = leaves_sql(session.server_version_num());
        let leaves = inlined(&leaves_sql, &[&oid, &names]);
        // The rows of a partitioned table are in others. Of most tables, all rows are in themselves.
        let is_partitioned = relation.kind == RelationKind::PartitionedTable;
        let sized = match is_partitioned {
            true => format!("ARRAY(SELECT l.oid::pg_catalog.oid FROM ({leaves}) AS l)"),
            false => format!("ARRAY[{oid}]"),
        };
        let mut others = vec![inlined(SIZES, &[&sized])];
        if is_partitioned {
            others.push(inlined(ROW_SECURITY, &[&oid]));
        }
        Some(Self { leaves_sql, has_policies: is_partitioned, leaves, others })
    }

    fn take(
        &self,
        oid: u32,
        columns: &[Row],
        questions: &TableQuestions<'_>,
        (leaves, sizes, policies): (Vec<Row>, Vec<Row>, Option<Vec<Row>>),
        answers: &mut Vec<Answer>,
    ) {
        let oid_text = oid.to_string();
        let names = match questions.columns {
            Some(names) => names.to_vec(),
            None => columns.iter().filter_map(|row| row.text(1).map(str::to_owned)).collect(),
        };
        let of_leaves: Vec<u32> = leaves
            .iter()
            .filter_map(|row| row.text(0)?.parse().ok())
            .filter(|leaf| !questions.only || *leaf == oid)
            .collect();
        // If there are others, their sizes are asked for later.
        if sizes.iter().filter_map(|row| row.text(0)?.parse::<u32>().ok()).eq(of_leaves.iter().copied()) {
            answers.push(Answer::new(SIZES, &[Some(&array_of(&of_leaves))], sizes));
        }
        answers.push(Answer::new(
            self.leaves_sql.as_str(),
            &[Some(&oid_text), Some(&text_array(&names))],
            leaves,
        ));
        if let Some(policies) = policies {
            answers.push(Answer::new(ROW_SECURITY, &[Some(&oid_text)], policies));
        }
    }
}

/// What is asked to prove that the locked relations are the planned ones.
struct Members {
    and_of_views: bool,
    has_parts: bool,
    locked_sql: String,
    members_sql: String,
    /// What is locked.
    locked: String,
    /// What belongs to it.
    members: String,
}

impl Members {
    fn new(relations: &[Relation], oids: &str) -> Self {
        let and_of_views = relations.iter().any(|relation| relation.kind == RelationKind::View);
        let (locked_sql, members_sql) = (locked_sql(), members_sql(and_of_views));
        let locked = inlined(&locked_sql, &["NULL"]);
        let roots = match and_of_views {
            true => format!(
                "ARRAY(SELECT r.oid FROM pg_catalog.unnest({oids}::pg_catalog.oid[]) AS r(oid) \
                 UNION SELECT l.oid::pg_catalog.oid FROM ({locked}) AS l)"
            ),
            false => oids.to_owned(),
        };
        let members = inlined(&members_sql, &[&roots]);
        let has_parts = relations.iter().any(|relation| relation.kind != RelationKind::Table);
        Self { and_of_views, has_parts, locked_sql, members_sql, locked, members }
    }

    fn take(
        &self,
        oids: &[u32],
        pid: &str,
        (locked, members): (Vec<Row>, Vec<Row>),
        answers: &mut Vec<Answer>,
    ) {
        let parsed = |rows: &[Row]| -> BTreeSet<u32> {
            rows.iter().filter_map(|row| row.text(0)?.parse().ok()).collect()
        };
        let of_locks = parsed(&locked);
        let mut roots: Vec<u32> = oids.to_vec();
        if self.and_of_views {
            roots.extend(&of_locks);
            roots.sort_unstable();
            roots.dedup();
        } else {
            // To most tables, only they themselves belong. If there is more, what is open is asked again.
            let planned = if self.has_parts { parsed(&members) } else { oids.iter().copied().collect() };
            // What is open is what is locked: if nothing else is, nobody needs to ask for its name.
            if of_locks.is_subset(&planned) {
                let planned = array_of(&planned.into_iter().collect::<Vec<_>>());
                answers.push(Answer::new(beside_sql(), &[None, Some(&planned)], Vec::new()));
            }
        }
        let pids = format!("{{{pid}}}");
        // Asked for once by the plan of a table with parts, and once by the proof.
        for _ in 0..2 {
            answers.push(Answer::new(self.locked_sql.as_str(), &[Some(&pids)], locked.clone()));
        }
        answers.push(Answer::new(self.members_sql.as_str(), &[Some(&array_of(&roots))], members));
    }
}
