//! New rows since the run before: which rows a run reads of a table, and what the next one must know.
//!
//! ```text
//!  newest manifest ─ snapshot, columns, parts of the table ─┐
//!  server ─ its identity, parts now, largest value now ─────┼─▶ all rows, or a condition; the state of this run
//!  rule ────────────────────────────────────────────────────┘
//! ```
//!
//! **By transaction.** A row carries the transaction that wrote it (`xmin`, 32 bits). All that the last
//! snapshot did not see was written by transactions from the snapshot's own `xmin` on, which is its oldest
//! open one: subtransactions have higher numbers than their own, and are in no list that SQL can ask for. So
//! rows from that number on are read. Rows that the last snapshot did see may be among them. Numbers go
//! round: what is less than 2³¹ ahead of the last snapshot is new, and a larger gap is refused. Rows that are
//! older than 2³¹ transactions may come again. Parts that are no heaps, such as foreign tables, have no such
//! numbers and are read as a whole.
//!
//! **By column.** All rows from the largest value of the run before on, less the overlap.
//!
//! In both, a part that was attached since brings rows that were there before. It is read as a whole.
//!
//! What is asked before the snapshot is asked again under it; if it is something else then, the run fails.
//!
//! Rows that were deleted are not seen.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::{Duration, SystemTime};

use pgarrow_export::{
    Error, ErrorKind, ExportOptions, Message, Relation, RelationKind, Result, Run, Source, TextRows, message,
    option, quote_identifier,
};
use pgarrow_sink::hexadecimal;
use sha2::{Digest, Sha256};

use crate::growing::{Growing, Question, all_again, ask, refused};
use crate::identity::{Identity, Other, Transactions, oldest_and_next};
use crate::manifest::{
    Manifest, ManifestColumn, ManifestPartition, ManifestServer, ManifestTable, TableState,
};
use crate::partition::PartitionBy;
use crate::rules::{Finding, NullRows, Overlap, SchemaChange, TableRule};
use crate::subject::{JobQuery, JobSubject, Key};

/// Half of the numbers that transactions have. A larger gap between two runs cannot be told from the past.
const GAP_MAX: u64 = (1 << 31) - (1 << 20);

/// What a run does with a table.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) subject: JobSubject,
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) filter: Option<String>,
    /// `full`, `xmin` or `column`.
    pub(crate) mode: &'static str,
    /// The rows of earlier runs that stay.
    pub(crate) before: Option<ManifestTable>,
    pub(crate) state: Option<TableState>,
    /// Grows with each new version of the table's columns.
    pub(crate) version: u32,
    pub(crate) partition_by: PartitionBy,
    /// The columns have to be these when the table is planned.
    pub(crate) expected: Option<Vec<ManifestColumn>>,
}

/// A table or query that cannot be read, and why.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) key: Key,
    pub(crate) error: Error,
}

/// What is known of all tables of a run.
pub(crate) struct Known<'a> {
    /// The newest manifest.
    pub(crate) previous: Option<&'a Manifest>,
    /// Those before it, the newest first, as far as they have tables that failed since.
    pub(crate) earlier: &'a [Manifest],
    pub(crate) identity: &'a Identity,
    /// `None` if the server does not say.
    pub(crate) transactions: Option<&'a Transactions>,
    /// The columns that each table would have; only if some table has state.
    pub(crate) columns: &'a HashMap<Key, Vec<ManifestColumn>>,
    pub(crate) is_full: bool,
    pub(crate) extension: &'a str,
    /// Tables are read without those that inherit from them.
    pub(crate) only: bool,
}

/// The tables that a table consists of.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Parts {
    all: Vec<u32>,
    /// Those whose rows carry no transactions.
    without_xmin: Vec<u32>,
    /// Columns that rows have got without being written: by a default, when the column was added.
    given: Vec<String>,
}

impl<'a> Known<'a> {
    /// The newest manifest that has a table, unless a run after it had the table no more.
    fn manifest_of(&self, relation: &Relation) -> Option<(&'a Manifest, &'a ManifestTable)> {
        for manifest in self.previous.into_iter().chain(self.earlier) {
            let is_this = |table: &&ManifestTable| table.is(&relation.schema, &relation.name);
            if let Some(table) = manifest.tables.iter().find(is_this) {
                return Some((manifest, table));
            }
            if !manifest.has_failed(&relation.schema, &relation.name) {
                return None;
            }
        }
        None
    }
}

impl Task {
    /// All rows of a table that the rule leaves.
    pub(crate) fn all(relation: &Relation, rule: &TableRule, version: u32) -> Self {
        Self {
            columns: rule.columns.clone(),
            filter: rule.filter.clone(),
            version,
            partition_by: rule.partitions(),
            ..Self::whole(JobSubject::Table(relation.clone()))
        }
    }

    /// All rows of a query.
    pub(crate) fn query(query: &JobQuery, partition_by: &PartitionBy) -> Self {
        Self { partition_by: partition_by.clone(), ..Self::whole(JobSubject::Query(query.clone())) }
    }

    fn whole(subject: JobSubject) -> Self {
        Self {
            subject,
            columns: None,
            filter: None,
            mode: "full",
            before: None,
            state: None,
            version: 1,
            partition_by: PartitionBy::default(),
            expected: None,
        }
    }

    /// The SHA-256 of a query's text.
    pub(crate) fn query_sha256(&self) -> Option<String> {
        match &self.subject {
            JobSubject::Query(query) => Some(sha256(&query.sql)),
            JobSubject::Table(_) => None,
        }
    }

    /// Those of all columns that are read, in that order.
    pub(crate) fn chosen(&self, all: &[ManifestColumn]) -> Vec<ManifestColumn> {
        match &self.columns {
            None => all.to_vec(),
            Some(names) => {
                let named = |name: &String| all.iter().find(|column| column.name == *name).cloned();
                names.iter().filter_map(named).collect()
            }
        }
    }
}

impl TableState {
    fn of(relation: &Relation, rule: &TableRule) -> Self {
        Self {
            relation_oid: relation.oid,
            filter_sha256: rule.filter.as_deref().map(sha256),
            ..Self::default()
        }
    }
}

/// The tasks for these tables, and warnings; and what is wrong with the others: changes that their rules do
/// not allow, and states that do not belong to this server.
///
/// # Errors
///
/// The server cannot be asked.
pub(crate) fn tasks(
    source: &Source,
    options: &ExportOptions,
    tables: Vec<(Relation, TableRule)>,
    known: &Known<'_>,
) -> Result<(Vec<Task>, Vec<Message>, Vec<Failed>)> {
    let tables: Vec<_> = tables.into_iter().map(|(relation, rule)| (relation, without_nulls(rule))).collect();
    let by = |finding| tables.iter().filter(move |(_, rule)| rule.incremental.unwrap_or_default() == finding);
    let growing: Vec<u32> =
        by(Finding::Xmin).chain(by(Finding::Column)).map(|(relation, _)| relation.oid).collect();
    let mut parts = match growing.is_empty() {
        true => HashMap::new(),
        false => {
            let sql = parts_question(&growing, known.only);
            let answer = source.query_texts_with([sql.as_str()], options)?.into_iter().next();
            let mut parts = parts_of(answer.transpose()?.unwrap_or_default());
            add_given(source, options, &mut parts)?;
            parts
        }
    };
    let questions = by(Finding::Column).map(|(relation, rule)| {
        let state = known.manifest_of(relation).and_then(|(_, table)| table.state.as_ref());
        // Values of another column are not compared.
        let state = state.filter(|state| state.column == rule.column && table_is(state, relation));
        Question { relation, rule, before: state.and_then(|state| state.largest.as_deref()) }
    });
    let questions: Vec<Question<'_>> = questions.collect();
    let mut columns = match questions.is_empty() {
        true => HashMap::new(),
        false => ask(source, options, known.only, &questions)?,
    };
    let (mut tasks, mut warnings, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for (relation, rule) in &tables {
        let parts = parts.remove(&relation.oid).unwrap_or_default();
        let column = columns.remove(&relation.oid).transpose();
        match column.and_then(|column| task(relation, rule, parts, column, known, &mut warnings)) {
            Ok(task) => tasks.push(task),
            Err(error) => {
                let error = error.context(relation);
                failed.push(Failed { key: (relation.schema.clone(), relation.name.clone()), error });
            }
        }
    }
    if options.scans_numerics() && !growing.is_empty() {
        let text =
            "new rows alone do not say what precision a numeric has, so it cannot be found by reading them";
        let advice = message!["choose another form (", option::NUMERIC.to("text|float64"), ")"];
        return Err(Error::new(ErrorKind::Options, text).advice(advice));
    }
    Ok((tasks, warnings, failed))
}

/// Asks again what was asked before the snapshot, now under it.
///
/// # Errors
///
/// It is something else: a part was attached or detached in between, or the snapshot is older than that of
/// the run before.
pub(crate) fn check(run: &mut Run, tasks: &[Task], only: bool) -> Result<()> {
    let growing: Vec<(&Task, &TableState)> =
        tasks.iter().filter_map(|task| Some((task, task.state.as_ref()?))).collect();
    let oids: Vec<u32> = growing.iter().map(|(task, _)| task.subject.oid()).collect();
    if oids.is_empty() {
        return Ok(());
    }
    let mut now = parts_of(run.query_text(&parts_question(&oids, only))?);
    for (task, state) in &growing {
        let parts = now.remove(&task.subject.oid()).unwrap_or_default();
        // A table that is always read as a whole has noted no parts.
        if !state.parts.is_empty() && parts.all != state.parts {
            let text = format!("{} was changed while the run was planned; start it again", task.subject);
            return Err(Error::new(ErrorKind::Server, text));
        }
    }
    let next = oldest_and_next(run.snapshot()).map_or(u64::MAX, |(_, next)| next);
    for (task, _) in growing {
        let last = task.before.as_ref().and_then(|before| before.increments.last());
        if last.and_then(|last| oldest_and_next(&last.snapshot)).is_some_and(|(_, then)| next < then) {
            let text = format!(
                "{}: the snapshot is older than that of the run before, so older rows would take the place of newer ones; \
                 read from the same server each time",
                task.subject
            );
            return Err(Error::new(ErrorKind::Server, text));
        }
    }
    Ok(())
}

fn task(
    relation: &Relation,
    rule: &TableRule,
    parts: Parts,
    column: Option<Growing>,
    known: &Known<'_>,
    warnings: &mut Vec<Message>,
) -> Result<Task> {
    let finding = rule.incremental.unwrap_or_default();
    if finding == Finding::No {
        let state = TableState::of(relation, rule);
        return Ok(Task { state: rule.filter.is_some().then_some(state), ..Task::all(relation, rule, 1) });
    }
    if finding == Finding::Xmin
        && !matches!(relation.kind, RelationKind::Table | RelationKind::PartitionedTable)
    {
        return Err(refused("only tables have xmin; find its new rows by a column, or read it as a whole"));
    }
    if column.is_some() {
        warnings.extend(may_be_missed(relation, rule, known));
    } else if known.identity.system.is_none() {
        return Err(refused(
            "the role may not ask which server this is (pg_control_system), and transactions of two servers cannot be \
             told apart; grant it, or find new rows by a column",
        ));
    }
    if column.is_none() && known.transactions.is_none() {
        return Err(no_transactions());
    }
    let state = TableState {
        parts: parts.all.clone(),
        column: rule.column.clone().filter(|_| column.is_some()),
        largest: column.as_ref().and_then(|column| column.largest.clone()),
        ..TableState::of(relation, rule)
    };
    let of = known.manifest_of(relation);
    let version = of.map_or(1, |(_, before)| before.version);
    let full = |version| Task { state: Some(state.clone()), ..Task::all(relation, rule, version) };
    let Some((manifest, before)) = of else { return Ok(full(1)) };
    if known.is_full {
        return Ok(full(version));
    }
    let now_columns =
        known.columns.get(&JobSubject::Table(relation.clone()).key()).map(Vec::as_slice).unwrap_or_default();
    let is_smaller = column.as_ref().is_some_and(|column| column.is_smaller);
    let why = match why_full(relation, rule, before, &state, known.extension) {
        None if is_smaller => Some(Some("the largest value is smaller than in the run before".to_owned())),
        why => why,
    };
    if let Some(why) = why {
        if let Some(why) = why {
            warnings.push(format!("{relation}: all rows are read, since {why}").into());
        }
        return Ok(full(version));
    }
    let (Some(then), Some(last)) = (&before.state, before.increments.last()) else {
        return Ok(full(version));
    };
    is_same_server(&manifest.server, known.identity)?;

    let added = added(&before.columns, now_columns)?;
    let mut task = full(version);
    if !added.is_empty() {
        let names = added.iter().map(|column| format!("{:?}", column.name)).collect::<Vec<_>>().join(", ");
        match rule.on_schema_change.unwrap_or_default() {
            SchemaChange::Fail => {
                let text = format!("it has new columns since the run before: {names}");
                return Err(Error::new(ErrorKind::Options, text).advice(message![
                    "choose what becomes of them (on_schema_change in the job's file), or read all rows again (",
                    option::FULL,
                    ")"
                ]));
            }
            SchemaChange::Add if then.left_out_columns => {
                warnings.push(
                    format!("{relation}: all rows are read, since columns were left out so far: {names}")
                        .into(),
                );
                return Ok(full(version));
            }
            // In the files there are, they would be NULL.
            SchemaChange::Add if added.iter().any(|column| parts.given.contains(&column.name)) => {
                warnings.push(
                    format!("{relation}: all rows are read, since older rows have got a default in {names}")
                        .into(),
                );
                return Ok(full(version));
            }
            SchemaChange::Add => {}
            SchemaChange::Ignore => {
                warnings.push(format!("{relation}: new columns are left out: {names}").into());
                task.columns = Some(before.columns.iter().map(|column| column.name.clone()).collect());
            }
            SchemaChange::NewVersion => {
                warnings.push(
                    format!("{relation}: new columns make a new version, with all rows: {names}").into(),
                );
                return Ok(full(version.saturating_add(1)));
            }
        }
    }
    task.expected = Some(task.chosen(now_columns));
    let mut condition = match &column {
        Some(column) => column.condition(rule, then.largest.as_deref())?,
        None => since(&last.snapshot, known.transactions.ok_or_else(no_transactions)?)?,
    };
    let is_whole =
        |part: &&u32| !then.parts.contains(part) || (column.is_none() && parts.without_xmin.contains(part));
    let whole: Vec<String> = parts.all.iter().filter(is_whole).map(u32::to_string).collect();
    if !whole.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(
            condition,
            " OR tableoid OPERATOR(pg_catalog.=) ANY ('{{{}}}'::pg_catalog.oid[])",
            whole.join(",")
        );
    }
    if let Some(state) = &mut task.state {
        state.left_out_columns = then.left_out_columns || (!added.is_empty() && task.columns.is_some());
    }
    task.mode = if column.is_some() { "column" } else { "xmin" };
    task.filter = Some(match &rule.filter {
        Some(filter) => format!("(\n{filter}\n) AND ({condition})"),
        None => condition,
    });
    task.before = Some(before.clone());
    Ok(task)
}

/// The rule with a filter that leaves out rows without a value, if it asks for that: in every run, also the
/// first.
fn without_nulls(mut rule: TableRule) -> TableRule {
    if let (Some(Finding::Column), Some(NullRows::Never), Some(column)) =
        (rule.incremental, rule.nulls, &rule.column)
    {
        let has_value = format!("{} IS NOT NULL", quote_identifier(column));
        rule.filter = Some(match &rule.filter {
            Some(filter) => format!("(\n{filter}\n) AND {has_value}"),
            None => has_value,
        });
    }
    rule
}

fn table_is(state: &TableState, relation: &Relation) -> bool {
    state.relation_oid == relation.oid
}

/// Why all rows of a table are read, if so; `Some(None)` if there is nothing to say about it.
fn why_full(
    relation: &Relation,
    rule: &TableRule,
    before: &ManifestTable,
    state: &TableState,
    extension: &str,
) -> Option<Option<String>> {
    // A run that read all rows of a table with a filter has noted the filter, and no parts.
    let Some(then) = before.state.as_ref().filter(|then| !then.parts.is_empty()) else {
        return Some(Some("the run before has noted nothing to go on from".to_owned()));
    };
    if then.relation_oid != relation.oid {
        return Some(Some("it is another table than in the run before".to_owned()));
    }
    if then.filter_sha256 != state.filter_sha256 {
        return Some(Some("its filter is another one".to_owned()));
    }
    if then.column != state.column {
        return Some(Some("its new rows are found in another way".to_owned()));
    }
    let ending = format!(".{extension}");
    if before.files.iter().any(|file| !file.path.ends_with(&ending)) {
        return Some(Some("its files have another format".to_owned()));
    }
    if before.partition_by != ManifestPartition::all_of(&rule.partitions()) {
        return Some(Some("its files are partitioned in another way".to_owned()));
    }
    let full = before.increments.iter().rev().find(|increment| increment.mode == "full");
    let Some(full) = full else { return Some(Some("nothing says when all were read".to_owned())) };
    let age = humantime::parse_rfc3339(&full.started)
        .ok()
        .and_then(|started| SystemTime::now().duration_since(started).ok());
    match (rule.full_every, age) {
        (Some(every), Some(age)) if age >= every => Some(None),
        (Some(_), None) => Some(None),
        _ => None,
    }
}

/// The columns that were added.
///
/// # Errors
///
/// A column of before is gone, is another one of that name, or has another type.
fn added<'c>(before: &[ManifestColumn], now: &'c [ManifestColumn]) -> Result<Vec<&'c ManifestColumn>> {
    for column in before {
        let name = &column.name;
        let is_other =
            |now: &ManifestColumn| column.attnum != 0 && now.attnum != 0 && column.attnum != now.attnum;
        match now.iter().find(|candidate| candidate.name == *name) {
            None => return Err(all_again(&format!("its column {name:?} is gone since the run before"))),
            Some(other) if is_other(other) => {
                return Err(all_again(&format!("its column {name:?} is another one than in the run before")));
            }
            Some(same) if same.pg_type == column.pg_type && same.arrow_type == column.arrow_type => {}
            Some(other) => {
                return Err(all_again(&format!(
                    "its column {name:?} was {} ({}), and is {} ({}) now",
                    column.pg_type, column.arrow_type, other.pg_type, other.arrow_type
                )));
            }
        }
    }
    let is_new = |column: &&ManifestColumn| before.iter().all(|earlier| earlier.name != column.name);
    Ok(now.iter().filter(is_new).collect())
}

/// Whether transactions and values of the run before are those of this server.
fn is_same_server(then: &ManifestServer, now: &Identity) -> Result<()> {
    Err(all_again(match now.differs_from(then) {
        None => return Ok(()),
        Some(Other::Database) => {
            "this is another server or database than in the run before, and its transactions have other numbers"
        }
        Some(Other::Timeline) => {
            "the server was promoted or recovered since the run before, so that two transactions may have had one \
             number"
        }
    }))
}

/// The condition for rows that a snapshot may not have seen.
fn since(snapshot: &str, now: &Transactions) -> Result<String> {
    let Some((oldest, next)) = oldest_and_next(snapshot) else {
        return Err(all_again("the snapshot of the run before cannot be read"));
    };
    if now.next < next {
        return Err(all_again(
            "the server has fewer transactions behind it than in the run before, so it was set back",
        ));
    }
    if now.next.saturating_sub(oldest) >= GAP_MAX {
        return Err(all_again(
            "there were 2³¹ transactions since the run before, and their numbers have gone round",
        ));
    }
    let oldest = oldest & u64::from(u32::MAX);
    // A row's own number, less the oldest one that may be new, in 32 bits. 1 and 2 are for rows that are
    // older than all numbers.
    let number = "xmin::pg_catalog.text::pg_catalog.int8";
    Ok(format!(
        "{number} OPERATOR(pg_catalog.>) 2 AND (({number} OPERATOR(pg_catalog.-) {oldest}) OPERATOR(pg_catalog.&) \
         4294967295) OPERATOR(pg_catalog.<) 2147483648"
    ))
}

/// A warning that rows of a transaction that was open for long may be missed.
fn may_be_missed(relation: &Relation, rule: &TableRule, known: &Known<'_>) -> Option<Message> {
    let Transactions { oldest, open_for, .. } = known.transactions?;
    let overlap = match rule.overlap {
        Some(Overlap::Time(time)) => Some(time),
        Some(Overlap::Number(1..)) => None,
        Some(Overlap::Number(0)) | None => Some(Duration::ZERO),
    };
    let then = known.previous.and_then(|previous| {
        let (_, next) = oldest_and_next(&previous.snapshot)?;
        let started = humantime::parse_rfc3339(&previous.started).ok()?;
        Some((next, SystemTime::now().duration_since(started).ok()?))
    });
    // It was open in the run before, and is still: as far as the role may not see since when, and on a
    // standby.
    let since_then = then.filter(|(next, _)| oldest < next).map(|(_, age)| age);
    let age = (*open_for).max(since_then)?;
    if overlap.is_some_and(|overlap| age <= overlap) || (overlap.is_none() && since_then.is_none()) {
        return None;
    }
    let age = humantime::format_duration(Duration::from_secs(age.as_secs()));
    Some(
        format!(
            "{relation}: a transaction that has written something has been open for {age}, longer than the overlap; if \
             it has written here, the next runs may miss those rows; choose a longer overlap, or incremental = \"xmin\""
        )
        .into(),
    )
}

/// Which tables these consist of, and whether their rows carry transactions.
fn parts_question(oids: &[u32], only: bool) -> String {
    let list = oids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    // A partitioned table has its rows in its partitions, whatever else is left out.
    format!(
        "WITH RECURSIVE tree(root, oid) AS ( \
           SELECT o.oid, o.oid FROM pg_catalog.unnest('{{{list}}}'::pg_catalog.oid[]) AS o(oid) \
           UNION SELECT t.root, i.inhrelid FROM tree t \
           JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) t.oid \
           JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.oid \
           WHERE {} OR c.relkind OPERATOR(pg_catalog.=) 'p') \
         SELECT t.root::pg_catalog.text, t.oid::pg_catalog.text, \
           (c.relkind OPERATOR(pg_catalog.=) 'p' OR a.amname IS NOT DISTINCT FROM 'heap')::pg_catalog.text \
         FROM tree t JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.oid \
         LEFT JOIN pg_catalog.pg_am a ON a.oid OPERATOR(pg_catalog.=) c.relam ORDER BY t.root, t.oid",
        !only
    )
}

/// Finds columns that were added with a default, which rows of before have without having been written.
fn add_given(source: &Source, options: &ExportOptions, parts: &mut HashMap<u32, Parts>) -> Result<()> {
    let all: Vec<String> = parts.values().flat_map(|parts| &parts.all).map(u32::to_string).collect();
    let sql = format!(
        "SELECT attrelid::pg_catalog.text, attname FROM pg_catalog.pg_attribute WHERE atthasmissing \
         AND attrelid OPERATOR(pg_catalog.=) ANY ('{{{}}}'::pg_catalog.oid[])",
        all.join(",")
    );
    for row in
        source.query_texts_with([sql.as_str()], options)?.into_iter().next().transpose()?.unwrap_or_default()
    {
        if let [Some(oid), Some(name)] = row.as_slice()
            && let Ok(oid) = oid.parse::<u32>()
        {
            let of = parts.values_mut().filter(|parts| parts.all.contains(&oid));
            of.for_each(|parts| parts.given.push(name.clone()));
        }
    }
    Ok(())
}

fn parts_of(rows: TextRows) -> HashMap<u32, Parts> {
    let mut parts: HashMap<u32, Parts> = HashMap::new();
    for row in rows {
        let mut texts = row.into_iter().map(Option::unwrap_or_default);
        let mut text = || texts.next().unwrap_or_default();
        if let (Ok(root), Ok(part)) = (text().parse(), text().parse::<u32>()) {
            let of_root: &mut Parts = parts.entry(root).or_default();
            of_root.all.push(part);
            if text() != "true" {
                of_root.without_xmin.push(part);
            }
        }
    }
    parts
}

pub(crate) fn sha256(text: &str) -> String {
    hexadecimal(&Sha256::digest(text.as_bytes()))
}

fn no_transactions() -> Error {
    refused("the server does not say which transactions are open; find its new rows by a column")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_are_counted_from_the_oldest_that_was_open() {
        let condition = |snapshot, next| since(snapshot, &Transactions { next, ..Transactions::default() });
        assert!(condition("100:200:100,150", 300).unwrap().contains("OPERATOR(pg_catalog.-) 100)"));
        // In the second epoch, rows have the lower half of the number.
        let of = condition("4294967396:4294967400:", 4_294_967_500).unwrap();
        assert!(of.contains("OPERATOR(pg_catalog.-) 100)"), "{of}");
        assert!(condition("100:200:", 100 + GAP_MAX - 1).is_ok());
        for (snapshot, next, says) in [
            ("100:200:", 100 + GAP_MAX, "have gone round"),
            ("100:200:", 199, "was set back"),
            ("100:200", 300, "cannot be read"),
        ] {
            let error = condition(snapshot, next).unwrap_err().to_string();
            assert!(error.contains(says), "{snapshot}: {error}");
        }
    }

    #[test]
    fn columns_that_were_added_or_are_gone() {
        let column = |name: &str, pg_type: &str, attnum: u16| -> ManifestColumn {
            let json = serde_json::json!({
                "name": name, "pg_type": pg_type, "arrow_type": pg_type, "nullable": true, "attnum": attnum
            });
            serde_json::from_value(json).unwrap()
        };
        let before = [column("a", "int4", 1), column("b", "text", 2)];
        assert!(added(&before, &before).unwrap().is_empty());
        let now = [column("c", "x", 3), column("b", "text", 2), column("a", "int4", 1)];
        assert_eq!(added(&before, &now).unwrap(), [&now[0]]);
        assert!(added(&before, &before[..1]).unwrap_err().to_string().contains("\"b\" is gone"));
        let now = [column("a", "int2", 1), column("b", "text", 2)];
        assert!(added(&before, &now).unwrap_err().to_string().contains("\"a\" was int4 (int4), and is int2"));
        // Dropped, and added again.
        let now = [column("a", "int4", 3), column("b", "text", 2)];
        assert!(added(&before, &now).unwrap_err().to_string().contains("\"a\" is another one"));
    }
}
