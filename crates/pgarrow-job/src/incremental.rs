//! New rows since the run before: which rows a run reads of a table, and what the next one must know.
//!
//! ```text
//!  newest manifest ─ snapshot, columns, parts of the table ─┐
//!  server ─ its identity, parts now, largest value now ─────┼─▶ all rows, or a condition; the state of this run
//!  rule ────────────────────────────────────────────────────┘
//! ```
//!
//! **By transaction.** A row carries the transaction that wrote it (`xmin`, 32 bits). All that the last snapshot did
//! not see was written by transactions from the snapshot's own `xmin` on, which is its oldest open one:
//! subtransactions have higher numbers than their own, and are in no list that SQL can ask for. So rows from that
//! number on are read. Rows that the last snapshot did see may be among them. Numbers go round: what is less than 2³¹
//! ahead of the last snapshot is new, and a larger gap is refused. Rows that are older than 2³¹ transactions may come
//! again.
//!
//! A partition that was attached since brings rows that were written before. It is read as a whole.
//!
//! **By column.** All rows from the largest value of the run before on, less the overlap. The largest value is asked
//! for before the snapshot is taken, so rows that come in between are read twice rather than not at all.
//!
//! Rows that were deleted are not seen.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::{Duration, SystemTime};

use pgarrow_export::{
    Error, ErrorKind, ExportOptions, Message, Relation, RelationKind, Result, Source, message, option,
    quote_identifier,
};
use pgarrow_sink::hexadecimal;
use sha2::{Digest, Sha256};

use crate::manifest::{Manifest, ManifestColumn, ManifestTable, TableState};
use crate::rules::{Finding, NullRows, Overlap, SchemaChange, TableRule};

/// Half of the numbers that transactions have. A larger gap between two runs cannot be told from the past.
const GAP_MAX: u64 = (1 << 31) - (1 << 20);

/// A server, as far as the numbers of its transactions depend on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    /// `pg_control_system().system_identifier`.
    pub(crate) system: Option<String>,
    /// The timeline: another one after each promotion.
    pub(crate) timeline: Option<String>,
    /// The next transaction, with its epoch.
    next: u64,
    /// The open transactions, with their epochs.
    open: Vec<u64>,
    /// For how long the oldest one that has written something is open, as far as the role may see it.
    oldest: Option<Duration>,
}

/// What a run does with a table.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) relation: Relation,
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) filter: Option<String>,
    /// `full`, `xmin` or `column`.
    pub(crate) mode: &'static str,
    /// The rows of earlier runs that stay.
    pub(crate) before: Option<ManifestTable>,
    pub(crate) state: Option<TableState>,
    /// Grows with each new version of the table's columns.
    pub(crate) version: u32,
    /// The columns have to be these when the table is planned.
    pub(crate) expected: Option<Vec<ManifestColumn>>,
}

/// A table that cannot be read, and why.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) relation: Relation,
    pub(crate) error: Error,
}

/// What is known of all tables of a run.
pub(crate) struct Known<'a> {
    /// The newest manifest.
    pub(crate) previous: Option<&'a Manifest>,
    /// Those before it, the newest first, as far as they have tables that failed since.
    pub(crate) earlier: &'a [Manifest],
    pub(crate) identity: &'a Identity,
    /// The columns that each table would have, by OID; only if some table has state.
    pub(crate) columns: &'a HashMap<u32, Vec<ManifestColumn>>,
    pub(crate) is_full: bool,
    pub(crate) extension: &'a str,
}

impl Task {
    /// All rows of a table that the rule leaves.
    pub(crate) fn all(relation: &Relation, rule: &TableRule, version: u32) -> Self {
        Self {
            relation: relation.clone(),
            columns: rule.columns.clone(),
            filter: rule.filter.clone(),
            mode: "full",
            before: None,
            state: None,
            version,
            expected: None,
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

impl Identity {
    pub(crate) fn of(source: &Source, options: &ExportOptions) -> Result<Self> {
        let one = |sql: &str| -> Result<Vec<Option<String>>> {
            Ok(source.query_text_with(sql, options)?.into_iter().next().unwrap_or_default())
        };
        // The role may not be allowed to ask, or the server is not plain PostgreSQL.
        let if_any = |sql: &str| one(sql).ok().and_then(|row| row.into_iter().next().flatten());
        let snapshot = one("SELECT pg_catalog.txid_current_snapshot()::pg_catalog.text")?;
        let snapshot = snapshot.into_iter().next().flatten().unwrap_or_default();
        let (_, next, open) = parts_of(&snapshot).ok_or_else(|| {
            Error::new(
                ErrorKind::Protocol,
                "the server says what its snapshot is in a form that is not known",
            )
        })?;
        let oldest = if_any(
            "SELECT pg_catalog.max(extract(epoch FROM pg_catalog.clock_timestamp() - xact_start))::pg_catalog.float8 \
             FROM pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL \
             AND datname OPERATOR(pg_catalog.=) pg_catalog.current_database()",
        );
        let seconds = oldest.and_then(|text| text.parse::<f64>().ok());
        Ok(Self {
            system: if_any("SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()"),
            timeline: if_any(
                "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() \
                 THEN (SELECT timeline_id::pg_catalog.text FROM pg_catalog.pg_control_checkpoint()) \
                 ELSE ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), \
                 1, 8))::pg_catalog.bit(32)::pg_catalog.int4::pg_catalog.text END",
            ),
            next,
            open,
            oldest: seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        })
    }
}

/// The tasks for these tables, and warnings; and what is wrong with the others: changes that their rules do not
/// allow, and states that do not belong to this server.
///
/// # Errors
///
/// The server cannot be asked.
pub(crate) fn tasks(
    source: &Source,
    options: &ExportOptions,
    tables: Vec<(Relation, TableRule)>,
    known: &Known<'_>,
    only: bool,
) -> Result<(Vec<Task>, Vec<Message>, Vec<Failed>)> {
    let finding = |rule: &TableRule| rule.incremental.unwrap_or_default();
    let growing: Vec<_> = tables.iter().filter(|(_, rule)| finding(rule) != Finding::No).collect();
    let oids: Vec<u32> = growing.iter().map(|(relation, _)| relation.oid).collect();
    let mut parts = if oids.is_empty() { HashMap::new() } else { parts(source, options, &oids, only)? };
    let columns = growing.iter().filter_map(|(relation, rule)| match (finding(rule), &rule.column) {
        (Finding::Column, Some(column)) => Some((relation, column.as_str())),
        _ => None,
    });
    let mut largest = largest(source, options, &columns.collect::<Vec<_>>())?;
    let (mut tasks, mut warnings, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for (relation, rule) in tables {
        let now = Now {
            parts: parts.remove(&relation.oid).unwrap_or_default(),
            largest: largest.remove(&relation.oid),
        };
        match task(&relation, &rule, now, known, &mut warnings) {
            Ok(task) => tasks.push(task),
            Err(error) => {
                let error = error.context(&relation);
                failed.push(Failed { relation, error });
            }
        }
    }
    Ok((tasks, warnings, failed))
}

/// A table as it is now.
struct Now {
    parts: Vec<u32>,
    /// The column that grows: its type, and its largest value.
    largest: Option<(String, Option<String>)>,
}

fn task(
    relation: &Relation,
    rule: &TableRule,
    now: Now,
    known: &Known<'_>,
    warnings: &mut Vec<Message>,
) -> Result<Task> {
    let finding = rule.incremental.unwrap_or_default();
    let rule = &without_nulls(rule);
    if finding == Finding::No {
        let state = TableState::of(relation, rule);
        return Ok(Task { state: rule.filter.is_some().then_some(state), ..Task::all(relation, rule, 1) });
    }
    if finding == Finding::Xmin
        && !matches!(relation.kind, RelationKind::Table | RelationKind::PartitionedTable)
    {
        return Err(refused("only tables have xmin; find its new rows by a column, or read it as a whole"));
    }
    let column = match (finding, &now.largest) {
        (Finding::Column, Some((type_name, largest))) => {
            Some(Growing::new(rule, type_name, largest.as_deref())?)
        }
        _ => None,
    };
    if column.is_some() {
        warnings.extend(may_be_missed(relation, rule, known));
    }
    let state = TableState {
        parts: now.parts,
        column: rule.column.clone().filter(|_| column.is_some()),
        largest: column.as_ref().and_then(|column| column.largest.clone()),
        ..TableState::of(relation, rule)
    };
    let of = known.manifest_of(relation);
    let before = of.map(|(_, table)| table);
    let version = before.map_or(1, |before| before.version);
    let full = |version| Task { state: Some(state.clone()), ..Task::all(relation, rule, version) };
    let Some(before) = before else { return Ok(full(1)) };
    if known.is_full {
        return Ok(full(version));
    }
    if let Some(why) = why_full(relation, rule, before, &state, known.extension) {
        if let Some(why) = why {
            warnings.push(format!("{relation}: all rows are read, since {why}").into());
        }
        return Ok(full(version));
    }
    let (Some(then), Some(last)) = (&before.state, before.increments.last()) else {
        return Ok(full(version));
    };

    let now_columns = known.columns.get(&relation.oid).map(Vec::as_slice).unwrap_or_default();
    let added = added(&before.columns, now_columns)?;
    let mut task = full(version);
    if !added.is_empty() {
        let names = added.join(", ");
        match rule.on_schema_change.unwrap_or_default() {
            SchemaChange::Fail => {
                let text = format!("it has new columns since the run before: {names}");
                let error = Error::new(ErrorKind::Options, text);
                return Err(error.advice(message![
                    "choose what becomes of them (on_schema_change in the job's file), or read all rows again (",
                    option::FULL,
                    ")"
                ]));
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
    let condition = match &column {
        Some(column) => column.condition(rule, then.largest.as_deref())?,
        None => since(&last.snapshot, of.map(|(manifest, _)| manifest), then, &state, known)?,
    };
    if let Some(column) = &column
        && let Some(largest) = then.largest.as_deref()
        && let Some(state) = &mut task.state
    {
        // Rows may have been deleted; what is asked for next time must not grow by that.
        state.largest = Some(column.larger(largest));
    }
    task.mode = if column.is_some() { "column" } else { "xmin" };
    task.filter = Some(match &rule.filter {
        Some(filter) => format!("(\n{filter}\n) AND ({condition})"),
        None => condition,
    });
    task.before = Some(before.clone());
    Ok(task)
}

/// The rule with a filter that leaves out rows without a value, if it asks for that: in every run, also the first.
fn without_nulls(rule: &TableRule) -> TableRule {
    let mut rule = rule.clone();
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

/// The names of columns that were added.
///
/// # Errors
///
/// A column of before is gone, or has another type.
fn added(before: &[ManifestColumn], now: &[ManifestColumn]) -> Result<Vec<String>> {
    for column in before {
        let name = &column.name;
        match now.iter().find(|candidate| candidate.name == *name) {
            None => {
                return Err(all_again(&format!("its column {name:?} is gone since the run before")));
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
    Ok(now.iter().filter(is_new).map(|column| format!("{:?}", column.name)).collect())
}

/// The condition for rows that a snapshot may not have seen.
fn since(
    snapshot: &str,
    of: Option<&Manifest>,
    then: &TableState,
    now: &TableState,
    known: &Known<'_>,
) -> Result<String> {
    let server = of.map(|manifest| &manifest.server);
    let was = |get: fn(&crate::ManifestServer) -> Option<&String>| server.and_then(get);
    let system = was(|server| server.system_identifier.as_ref());
    if system != known.identity.system.as_ref() {
        return Err(all_again(
            "this is another server than in the run before, and its transactions have other numbers",
        ));
    }
    if was(|server| server.timeline.as_ref()) != known.identity.timeline.as_ref() {
        return Err(all_again(
            "the server was promoted or recovered since the run before, so that two transactions may have had one number",
        ));
    }
    let Some((oldest, next, _)) = parts_of(snapshot) else {
        return Err(all_again("the snapshot of the run before cannot be read"));
    };
    if known.identity.next < next {
        return Err(all_again(
            "the server has fewer transactions behind it than in the run before, so it was set back",
        ));
    }
    if known.identity.next.saturating_sub(oldest) >= GAP_MAX {
        return Err(all_again(
            "there were 2³¹ transactions since the run before, and their numbers have gone round",
        ));
    }
    let oldest = oldest & u64::from(u32::MAX);
    // A row's own number, less the oldest one that may be new, in 32 bits. 1 and 2 are for rows that are older than
    // all numbers.
    let number = "xmin::pg_catalog.text::pg_catalog.int8";
    let mut condition = format!(
        "{number} OPERATOR(pg_catalog.>) 2 AND (({number} OPERATOR(pg_catalog.-) {oldest}) OPERATOR(pg_catalog.&) \
         4294967295) OPERATOR(pg_catalog.<) 2147483648"
    );
    let new: Vec<String> =
        now.parts.iter().filter(|part| !then.parts.contains(part)).map(u32::to_string).collect();
    if !new.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(
            condition,
            " OR tableoid OPERATOR(pg_catalog.=) ANY ('{{{}}}'::pg_catalog.oid[])",
            new.join(",")
        );
    }
    Ok(condition)
}

/// A column that grows, as it is now.
struct Growing {
    kind: Kind,
    largest: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Integer,
    /// The name of the type.
    Moment(&'static str),
    Uuid,
}

impl Growing {
    fn new(rule: &TableRule, type_name: &str, largest: Option<&str>) -> Result<Self> {
        let kind = match type_name {
            "smallint" | "integer" | "bigint" => Kind::Integer,
            "timestamp without time zone" => Kind::Moment("timestamp"),
            "timestamp with time zone" => Kind::Moment("timestamptz"),
            "date" => Kind::Moment("date"),
            "uuid" => Kind::Uuid,
            other => {
                return Err(refused(&format!(
                    "its new rows cannot be found by a column of type {other}: it takes an integer, a date, a timestamp \
                     or a UUID of version 7"
                )));
            }
        };
        match (kind, rule.overlap) {
            (Kind::Integer, Some(Overlap::Time(_))) => {
                return Err(refused("its column is an integer, so the overlap is a number, as in 1000"));
            }
            (Kind::Moment(_) | Kind::Uuid, Some(Overlap::Number(_))) => {
                return Err(refused("its column has moments, so the overlap is a time, as in \"10m\""));
            }
            _ => {}
        }
        // The version is the 13th digit.
        if let (Kind::Uuid, Some(uuid)) = (kind, largest)
            && uuid.as_bytes().get(14) != Some(&b'7')
        {
            return Err(refused("its UUIDs do not grow: they are of another version than 7"));
        }
        Ok(Self { kind, largest: largest.map(str::to_owned) })
    }

    /// The condition for rows since the run that had this largest value.
    fn condition(&self, rule: &TableRule, largest: Option<&str>) -> Result<String> {
        let column = quote_identifier(rule.column.as_deref().unwrap_or_default());
        let Some(largest) = largest else {
            // Nothing was there: all that is there now is new.
            return Ok("true".to_owned());
        };
        let unreadable = || all_again("the largest value of the run before cannot be read");
        let from = match self.kind {
            Kind::Integer => {
                let overlap = match rule.overlap {
                    Some(Overlap::Number(number)) => i128::from(number),
                    _ => 0,
                };
                let largest: i128 = largest.parse().map_err(|_| unreadable())?;
                largest.saturating_sub(overlap).max(i128::from(i64::MIN)).to_string()
            }
            Kind::Moment(name) => {
                if !largest.chars().all(|c| c.is_ascii_alphanumeric() || " +-:.".contains(c)) {
                    return Err(unreadable());
                }
                let micros = overlap_time(rule).as_micros();
                format!(
                    "('{largest}'::pg_catalog.{name} OPERATOR(pg_catalog.-) \
                     '{micros} microseconds'::pg_catalog.interval)::pg_catalog.{name}"
                )
            }
            Kind::Uuid => format!("'{}'::pg_catalog.uuid", uuid_from(largest, overlap_time(rule))?),
        };
        let from = match self.kind {
            Kind::Integer => format!("'{from}'::pg_catalog.int8"),
            _ => from,
        };
        let condition = format!("{column} OPERATOR(pg_catalog.>=) {from}");
        Ok(match rule.nulls.unwrap_or_default() {
            NullRows::Always => format!("{condition} OR {column} IS NULL"),
            NullRows::Never => condition,
        })
    }

    /// The larger one of this value and that of the run before.
    fn larger(&self, before: &str) -> String {
        let Some(now) = &self.largest else { return before.to_owned() };
        let is_larger = match self.kind {
            Kind::Integer => now.parse::<i128>().ok() >= before.parse::<i128>().ok(),
            Kind::Uuid => now.as_str() >= before,
            // Moments have several forms, before Christ and with more than four digits of a year. If rows were
            // deleted, more rows come again.
            Kind::Moment(_) => true,
        };
        if is_larger { now.clone() } else { before.to_owned() }
    }
}

fn overlap_time(rule: &TableRule) -> Duration {
    match rule.overlap {
        Some(Overlap::Time(time)) => time,
        _ => Duration::ZERO,
    }
}

/// The smallest UUID of version 7 of that much time before (RFC 9562, 5.7: 48 bits of milliseconds).
fn uuid_from(uuid: &str, overlap: Duration) -> Result<String> {
    let digits: String = uuid.chars().filter(|c| *c != '-').take(12).collect();
    let millis = u64::from_str_radix(&digits, 16)
        .map_err(|_| all_again("the largest value of the run before cannot be read"))?;
    let from = millis.saturating_sub(u64::try_from(overlap.as_millis()).unwrap_or(u64::MAX));
    let digits = format!("{from:012x}");
    let (high, low) = digits.split_at_checked(8).unwrap_or_default();
    Ok(format!("{high}-{low}-0000-0000-000000000000"))
}

/// A warning that rows of a transaction that was open for long may be missed.
fn may_be_missed(relation: &Relation, rule: &TableRule, known: &Known<'_>) -> Option<Message> {
    let Identity { open, oldest, .. } = known.identity;
    let overlap = match rule.overlap {
        Some(Overlap::Time(time)) => Some(time),
        Some(Overlap::Number(1..)) => None,
        Some(Overlap::Number(0)) | None => Some(Duration::ZERO),
    };
    let then = known.previous.and_then(|previous| {
        let (_, next, _) = parts_of(&previous.snapshot)?;
        let started = humantime::parse_rfc3339(&previous.started).ok()?;
        Some((next, SystemTime::now().duration_since(started).ok()?))
    });
    // It was open in the run before, and is still: as far as the role may not see since when.
    let since_then = then.filter(|(next, _)| open.iter().any(|open| open < next)).map(|(_, age)| age);
    let age = (*oldest).max(since_then)?;
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

/// The tables that these consist of now, by OID.
fn parts(
    source: &Source,
    options: &ExportOptions,
    oids: &[u32],
    only: bool,
) -> Result<HashMap<u32, Vec<u32>>> {
    let list = oids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    // A partitioned table has its rows in its partitions, whatever else is left out.
    let sql = format!(
        "WITH RECURSIVE tree(root, oid) AS ( \
           SELECT o.oid, o.oid FROM pg_catalog.unnest('{{{list}}}'::pg_catalog.oid[]) AS o(oid) \
           UNION SELECT t.root, i.inhrelid FROM tree t \
           JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) t.oid \
           JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.oid \
           WHERE {} OR c.relkind OPERATOR(pg_catalog.=) 'p') \
         SELECT root::pg_catalog.text, oid::pg_catalog.text FROM tree ORDER BY root, oid",
        !only
    );
    let mut parts: HashMap<u32, Vec<u32>> = HashMap::new();
    for row in source.query_text_with(&sql, options)? {
        let mut numbers = row.iter().map(|text| text.as_deref().and_then(|text| text.parse().ok()));
        if let (Some(Some(root)), Some(Some(part))) = (numbers.next(), numbers.next()) {
            parts.entry(root).or_default().push(part);
        }
    }
    Ok(parts)
}

/// The types and the largest values of columns that grow, by the tables' OIDs.
fn largest(
    source: &Source,
    options: &ExportOptions,
    columns: &[(&Relation, &str)],
) -> Result<HashMap<u32, (String, Option<String>)>> {
    let mut largest = HashMap::new();
    if columns.is_empty() {
        return Ok(largest);
    }
    let pair = |(relation, column): &(&Relation, &str)| {
        format!("({}::pg_catalog.oid, {})", relation.oid, literal(column))
    };
    let pairs = columns.iter().map(pair).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT c.oid::pg_catalog.text, pg_catalog.format_type(CASE WHEN t.typtype OPERATOR(pg_catalog.=) 'd' \
           THEN t.typbasetype ELSE t.oid END, NULL) \
         FROM (VALUES {pairs}) AS c(oid, name) \
         JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid \
           AND a.attname OPERATOR(pg_catalog.=) c.name::pg_catalog.name AND a.attnum OPERATOR(pg_catalog.>) 0 \
           AND NOT a.attisdropped \
         JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid"
    );
    let mut types: HashMap<u32, String> = HashMap::new();
    for row in source.query_text_with(&sql, options)? {
        if let [Some(oid), Some(name)] = row.as_slice()
            && let Ok(oid) = oid.parse()
        {
            types.insert(oid, name.clone());
        }
    }
    let mut questions = Vec::new();
    for (relation, column) in columns {
        let Some(type_name) = types.get(&relation.oid) else {
            return Err(refused(&format!("{relation} has no column {column:?} to find new rows by")));
        };
        let quoted = quote_identifier(column);
        // What is infinite comes with every run, as it is above every value.
        let is_finite = match type_name.starts_with("timestamp") || type_name == "date" {
            true => format!("pg_catalog.isfinite({quoted})"),
            false => format!("{quoted} IS NOT NULL"),
        };
        // JSON has moments as ISO 8601, whatever the session's settings are.
        questions.push(format!(
            "SELECT {}, (SELECT pg_catalog.to_json({quoted}) OPERATOR(pg_catalog.#>>) '{{}}' FROM {} \
             WHERE {is_finite} ORDER BY {quoted} DESC LIMIT 1)",
            relation.oid,
            relation.quoted()
        ));
    }
    for row in source.query_text_with(&questions.join(" UNION ALL "), options)? {
        let mut texts = row.into_iter();
        if let (Some(Some(oid)), Some(value)) = (texts.next(), texts.next())
            && let Ok(oid) = oid.parse::<u32>()
            && let Some(type_name) = types.remove(&oid)
        {
            largest.insert(oid, (type_name, value));
        }
    }
    Ok(largest)
}

/// `xmin:xmax:xip,…`: the oldest open transaction, the next one, and the open ones.
fn parts_of(snapshot: &str) -> Option<(u64, u64, Vec<u64>)> {
    let mut parts = snapshot.splitn(3, ':');
    let (oldest, next) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let open = parts.next()?.split(',').filter(|text| !text.is_empty()).map(str::parse);
    Some((oldest, next, open.collect::<std::result::Result<_, _>>().ok()?))
}

fn literal(text: &str) -> String {
    // With standard_conforming_strings, which every session of ours has; a backslash would need E''.
    format!("E'{}'", text.replace('\\', r"\\").replace('\'', "''"))
}

fn sha256(text: &str) -> String {
    hexadecimal(&Sha256::digest(text.as_bytes()))
}

/// What the run before has left is of no use.
fn all_again(why: &str) -> Error {
    refused(why).advice(message!["read all rows again (", option::FULL, ")"])
}

fn refused(why: &str) -> Error {
    Error::new(ErrorKind::Options, why)
}

#[cfg(test)]
mod tests {
    use pgarrow_export::ServerReport;

    use super::*;
    use crate::ManifestServer;

    /// The condition for rows since a snapshot, on a server whose next transaction is `next`.
    fn condition(snapshot: &str, next: u64) -> Result<String> {
        let report =
            ServerReport::new("e".to_owned(), "d".to_owned(), "15".to_owned(), "t".to_owned(), false);
        let manifest: Manifest = serde_json::from_value(serde_json::json!({
            "manifest_version": 1, "pgarrow_version": "1", "number": 1, "run_id": "r", "previous_run_id": null,
            "started": "2026-01-01T00:00:00.000Z", "ended": "2026-01-01T00:00:00.000Z",
            "server": ManifestServer::from(&report), "snapshot": snapshot, "lsn": null, "tables": []
        }))
        .unwrap();
        let identity = Identity { next, ..Identity::default() };
        let known = Known {
            previous: Some(&manifest),
            earlier: &[],
            identity: &identity,
            columns: &HashMap::new(),
            is_full: false,
            extension: "parquet",
        };
        let parts = |parts: &[u32]| TableState { parts: parts.to_vec(), ..TableState::default() };
        since(snapshot, Some(&manifest), &parts(&[1, 2]), &parts(&[2, 3]), &known)
    }

    #[test]
    fn transactions_are_counted_from_the_oldest_that_was_open() {
        let of = condition("100:200:100,150", 300).unwrap();
        assert!(
            of.contains("OPERATOR(pg_catalog.-) 100)") && of.contains("ANY ('{3}'::pg_catalog.oid[])"),
            "{of}"
        );
        // In the second epoch, rows have the lower half of the number.
        let of = condition("4294967396:4294967400:", 4_294_967_500).unwrap();
        assert!(of.contains("OPERATOR(pg_catalog.-) 100)"), "{of}");
        assert!(condition("100:200:", 100 + GAP_MAX - 1).is_ok());
        for (snapshot, next, says) in [
            ("100:200:", 100 + GAP_MAX, "have gone round"),
            ("100:200:", 199, "was set back"),
            ("100:200", 300, "cannot be read"),
            ("100:x:", 300, "cannot be read"),
            ("", 300, "cannot be read"),
            ("100:200:1,,2:3", 300, "cannot be read"),
        ] {
            let error = condition(snapshot, next).unwrap_err().to_string();
            assert!(error.contains(says), "{snapshot}: {error}");
        }
    }

    #[test]
    fn an_overlap_of_uuids_goes_back_in_time() {
        let uuid = "01930000-0b00-7abc-8def-0123456789ab";
        for (millis, from) in [
            (0, "01930000-0b00-0000-0000-000000000000"),
            (1, "01930000-0aff-0000-0000-000000000000"),
            (0xb01, "0192ffff-ffff-0000-0000-000000000000"),
            (u64::MAX, "00000000-0000-0000-0000-000000000000"),
        ] {
            assert_eq!(uuid_from(uuid, Duration::from_millis(millis)).unwrap(), from);
        }
        assert!(uuid_from("no UUID at all", Duration::ZERO).is_err());
    }

    #[test]
    fn values_of_a_column_that_grows() {
        let rule = |overlap| TableRule {
            column: Some("The \"key".to_owned()),
            overlap,
            nulls: Some(NullRows::Never),
            ..TableRule::new("t")
        };
        let integers = |overlap, largest: &str| {
            let rule = rule(Some(Overlap::Number(overlap)));
            Growing::new(&rule, "bigint", None).unwrap().condition(&rule, Some(largest))
        };
        let condition = integers(5, "100").unwrap();
        assert_eq!(condition, "\"The \"\"key\" OPERATOR(pg_catalog.>=) '95'::pg_catalog.int8");
        assert!(integers(u64::MAX, "-9223372036854775808").unwrap().contains("'-9223372036854775808'"));
        assert!(integers(1, "x").is_err());
        let rule = rule(Some(Overlap::Time(Duration::from_millis(1500))));
        let moments = Growing::new(&rule, "timestamp with time zone", None).unwrap();
        let condition = moments.condition(&rule, Some("2026-01-01T00:00:00+00:00")).unwrap();
        assert!(condition.contains("'1500000 microseconds'::pg_catalog.interval)::pg_catalog.timestamptz"));
        // A manifest that somebody else has written adds nothing to the statement.
        assert!(moments.condition(&rule, Some("x' OR true --")).is_err());
        // Nothing was there, so all is new.
        assert_eq!(moments.condition(&rule, None).unwrap(), "true");
        for (kind, now, before, expected) in [
            ("bigint", Some("9"), "10", "10"),
            ("bigint", Some("11"), "10", "11"),
            ("bigint", None, "10", "10"),
            ("date", Some("2026-01-01"), "2026-01-02", "2026-01-01"),
        ] {
            let growing = Growing::new(&TableRule::new("t"), kind, now).unwrap();
            assert_eq!(growing.larger(before), expected);
        }
    }

    #[test]
    fn columns_that_were_added_or_are_gone() {
        let column = |name: &str, pg_type: &str| -> ManifestColumn {
            let json = serde_json::json!({"name": name, "pg_type": pg_type, "arrow_type": pg_type, "nullable": true});
            serde_json::from_value(json).unwrap()
        };
        let before = [column("a", "int4"), column("b", "text")];
        assert!(added(&before, &before).unwrap().is_empty());
        let now = [column("c", "x"), column("b", "text"), column("a", "int4")];
        assert_eq!(added(&before, &now).unwrap(), ["\"c\""]);
        assert!(added(&before, &before[..1]).unwrap_err().to_string().contains("\"b\" is gone"));
        let now = [column("a", "int2"), column("b", "text")];
        assert!(added(&before, &now).unwrap_err().to_string().contains("\"a\" was int4 (int4), and is int2"));
    }
}
