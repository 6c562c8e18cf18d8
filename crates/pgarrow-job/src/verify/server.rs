//! The tables of a manifest held against the server, under one snapshot.
//!
//! ```text
//!  Opened::new ── one transaction, all tables planned and locked
//!       └─ compare(table) ── columns ─▶ counts and sums of the files ─▶ the same of the server
//!                               └ full: every row's hash
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow_schema::Schema;
use pgarrow_export::{
    Error, ErrorKind, ExportOptions, HeldSnapshot, Hint, Memory, Plan, Relation, Result, Run, Slice,
    SliceRelation, SliceRelationKind as Kind, SliceSnapshot, Source, Tables, message, quote_identifier,
};

use super::digest::Digest;
use super::files::CheckedFile;
use super::form::ComparedColumn;
use super::found::{NotCompared, ServerDifference, ServerVerified};
use super::full::{Full, Rows};
use super::sql::{RELATIONS_SQL, has_room_for_numbers, places_sql, send_functions_sql, sums_sql};
use super::tally::{ColumnSums, Sums, Tally};
use crate::manifest::{Manifest, ManifestTable};

/// What looking for every row takes at least: half of it is for the rows that come from the server.
const FULL_MEMORY_BYTES_MIN: usize = 2 * Memory::MIN_BYTES;

/// The tables on the server, held under one snapshot.
#[derive(Debug)]
pub(crate) struct Opened {
    source: Source,
    options: ExportOptions,
    /// `None`: none of the tables is there.
    held: Option<HeldSnapshot>,
    /// Of several connections; `None` on a standby, and if no rows are looked for.
    snapshot: Option<SliceSnapshot>,
    plans: HashMap<(String, String), Arc<Plan>>,
    digest: Digest,
    full: bool,
    found: ServerVerified,
}

/// A table in its files and on the server.
struct Sides<'a> {
    name: String,
    files: &'a [CheckedFile<'a>],
    schema: Arc<Schema>,
    columns: Vec<ComparedColumn>,
    from: String,
    place: &'static str,
}

impl Opened {
    /// Plans all tables of a manifest that the server has, and takes the snapshot. Tables that it has not
    /// are differences.
    pub(super) fn new(
        source: &Source,
        manifest: &Manifest,
        options: &ExportOptions,
        full: bool,
    ) -> Result<Self> {
        if full && options.memory_bytes() < FULL_MEMORY_BYTES_MIN {
            let text = format!("looking for every row takes {} MiB of memory", FULL_MEMORY_BYTES_MIN >> 20);
            let advice = message!["allow more (", Hint::memory(FULL_MEMORY_BYTES_MIN), ")"];
            return Err(Error::new(ErrorKind::Options, text).advice(advice));
        }
        // One session asks all.
        let options = &options.clone().with_readers(1);
        let digest = Digest::of_server(source, options)?;
        let there = relations(source)?;
        let is_there = |table: &&ManifestTable| there.contains(&(table.schema.clone(), table.name.clone()));
        let tables = manifest.tables.iter().filter(|table| table.query_sha256.is_none());
        let (there, gone): (Vec<_>, Vec<_>) = tables.partition(is_there);
        let mut found = ServerVerified { full, ..ServerVerified::default() };
        for table in gone {
            found.differences.push(ServerDifference::new(
                &table.to_string(),
                None,
                "it is not on the server".to_owned(),
            ));
        }
        let names = there
            .iter()
            .map(|table| format!("{}.{}", quote_identifier(&table.schema), quote_identifier(&table.name)));
        let only = there.iter().any(|table| table.only);
        let tables = (!there.is_empty()).then(|| source.tables(names).only(only));
        Self::open(source, tables, options, digest, found)
    }

    /// The tables of a run, under its own snapshot.
    pub(crate) fn of_run(
        source: &Source,
        run: &mut Run,
        only: bool,
        options: &ExportOptions,
    ) -> Result<Self> {
        let options = options.of_sessions().with_readers(1);
        let digest = Digest::of_server(source, &options)?;
        let snapshot = run.shared_snapshot()?;
        let names: Vec<String> =
            run.plans().iter().filter_map(|plan| plan.relation()).map(Relation::quoted).collect();
        let tables = (!names.is_empty()).then(|| source.tables(names).only(only).under(snapshot));
        Self::open(source, tables, &options, digest, ServerVerified::default())
    }

    /// Plans these tables, and takes the snapshot.
    fn open(
        source: &Source,
        tables: Option<Tables>,
        options: &ExportOptions,
        digest: Digest,
        found: ServerVerified,
    ) -> Result<Self> {
        let full = found.full;
        let open = |tables: Tables| Ok::<_, Error>(tables.options(options.clone()).open()?.into_held());
        let mut held = tables.map(open).transpose()?;
        let snapshot = match &mut held {
            Some(held) if full => match held.slices() {
                Ok(slices) => slices.into_iter().next().and_then(|slice| slice.snapshot),
                // Snapshots of a standby are not shared.
                Err(error) if error.kind() == ErrorKind::Options => None,
                Err(error) => return Err(error),
            },
            _ => None,
        };
        let mut plans = HashMap::new();
        for plan in held.iter().flat_map(HeldSnapshot::plans) {
            if let Some(relation) = plan.relation() {
                plans.insert((relation.schema.clone(), relation.name.clone()), Arc::clone(plan));
            }
        }
        let (source, options) = (source.clone(), options.clone());
        Ok(Self { source, options, held, snapshot, plans, digest, full, found })
    }

    /// Compares the rows of a table's files with those of the server: all of them, or those for which a
    /// condition holds. Returns what is wrong with the files themselves, by their paths; then the table is
    /// not compared.
    pub(super) fn compare(
        &mut self,
        table: &ManifestTable,
        files: &[CheckedFile<'_>],
        condition: Option<&str>,
    ) -> Result<Vec<(String, String)>> {
        if table.query_sha256.is_some() {
            self.leave_out(table, "it is a query");
            return Ok(Vec::new());
        }
        let key = (table.schema.clone(), table.name.clone());
        let Some(plan) = self.plans.get(&key).map(Arc::clone) else { return Ok(Vec::new()) };
        let cancel = self.source.cancel().clone();
        let rejected = match condition {
            Some(_) => table.increments.last().map_or(0, |last| last.rows_rejected),
            None => table.rows_rejected(),
        };
        let why = match files.first() {
            _ if rejected > 0 => Err(format!("{rejected} of its rows were rejected, and are in no file")),
            None if condition.is_some() => return self.compare_none(table, &plan, condition),
            _ if condition.is_none() && table.increments.len() > 1 => {
                Err("its files are of several runs, so a row may be there in several forms".to_owned())
            }
            _ if condition.is_none() && table.filtered => {
                Err("the job reads only the rows for which a condition holds".to_owned())
            }
            None => Err("there is no file of it".to_owned()),
            Some(first) => Ok(first),
        };
        let first = match why {
            Ok(first) => first,
            Err(why) => {
                self.leave_out(table, &why);
                return Ok(Vec::new());
            }
        };
        let schema = match first.schema(&cancel) {
            Ok(schema) => schema,
            Err(error) => return self.unreadable(table, first, error),
        };
        let sides = self.sides(table, &plan, files, schema, condition)?;
        let mut tally = Tally::new(&sides.columns);
        let mut wrong = Vec::new();
        for file in files {
            let add = |batch: &_| tally.add(batch, &sides.columns, self.digest);
            match file.each_batch(&sides.schema, &cancel, add) {
                Ok(rows) if rows != file.known.rows => {
                    let what = format!("it has {rows} rows, and had {}", file.known.rows);
                    wrong.push((file.known.path.clone(), what));
                }
                Ok(_) => {}
                Err(error) => {
                    wrong.extend(self.unreadable(table, file, error)?);
                    return Ok(wrong);
                }
            }
        }
        self.compare_sums(&sides, &tally)?;
        if self.full {
            self.compare_rows(&sides, tally.rows)?;
        }
        self.found.tables = self.found.tables.saturating_add(1);
        self.found.rows = self.found.rows.saturating_add(tally.rows);
        Ok(wrong)
    }

    /// Compares a table of which no row is new.
    fn compare_none(
        &mut self,
        table: &ManifestTable,
        plan: &Plan,
        condition: Option<&str>,
    ) -> Result<Vec<(String, String)>> {
        let name = table.to_string();
        let relation = plan.relation().ok_or_else(|| odd(&name))?;
        let from = from(table, relation, condition);
        let answer = self.ask(&name, &format!("SELECT pg_catalog.count(*)::pg_catalog.text FROM {from}"))?;
        let rows = answer.into_iter().flatten().flatten().next().ok_or_else(|| odd(&name))?;
        if rows != "0" {
            let what = format!("rows: 0 in the files, {rows} on the server");
            self.found.differences.push(ServerDifference::new(&name, None, what));
        }
        self.found.tables = self.found.tables.saturating_add(1);
        Ok(Vec::new())
    }

    /// Ends the transaction.
    ///
    /// # Errors
    ///
    /// The snapshot was lost before, or names may have meant other tables meanwhile.
    pub(super) fn end(self) -> Result<ServerVerified> {
        if let Some(held) = self.held {
            held.release()?;
        }
        Ok(self.found)
    }

    /// Notes that a table is not compared.
    pub(super) fn leave_out(&mut self, table: &ManifestTable, why: &str) {
        let (table, why) = (table.to_string(), why.to_owned());
        self.found.not_compared.push(NotCompared { table, column: None, why });
    }

    /// A file whose rows cannot be read.
    fn unreadable(
        &mut self,
        table: &ManifestTable,
        file: &CheckedFile<'_>,
        error: Error,
    ) -> Result<Vec<(String, String)>> {
        if error.kind() != ErrorKind::Input {
            return Err(error);
        }
        self.leave_out(table, "a file of it cannot be read");
        Ok(vec![(file.known.path.clone(), format!("its rows cannot be read: {error}"))])
    }

    /// The columns that both sides have, and how each is compared.
    fn sides<'f>(
        &mut self,
        table: &ManifestTable,
        plan: &Plan,
        files: &'f [CheckedFile<'f>],
        schema: Arc<Schema>,
        condition: Option<&str>,
    ) -> Result<Sides<'f>> {
        let name = table.to_string();
        let relation = plan.relation().ok_or_else(|| odd(&name))?;
        let sends: HashMap<String, String> = self
            .ask(&name, &send_functions_sql(relation.oid))?
            .into_iter()
            .filter_map(|row| match <[_; 2]>::try_from(row) {
                Ok([Some(column), Some(send)]) => Some((column, send)),
                _ => None,
            })
            .collect();
        let mut columns = Vec::new();
        for column in plan.columns() {
            let known = table.columns.iter().find(|known| known.name == column.name);
            let Some(field) = schema.column_with_name(&column.name) else {
                if table.columns_chosen {
                    continue;
                }
                let what = "it is on the server, and not in the files".to_owned();
                self.found.differences.push(ServerDifference::new(&name, Some(&column.name), what));
                continue;
            };
            if let Some(known) = known.filter(|known| known.pg_type != column.type_name) {
                let what = format!("it is {} now, and was {}", column.type_name, known.pg_type);
                self.found.differences.push(ServerDifference::new(&name, Some(&column.name), what));
            }
            let send = sends.get(&column.name).map(String::as_str);
            let compared = ComparedColumn::new(column, send, field, known);
            if let Err(why) = &compared.form {
                let (table, column) = (name.clone(), Some(column.name.clone()));
                self.found.not_compared.push(NotCompared { table, column, why: why.clone() });
            }
            columns.push(compared);
        }
        for field in schema.fields() {
            if plan.columns().iter().all(|column| column.name != *field.name()) {
                let what = "it is in the files, and not on the server".to_owned();
                self.found.differences.push(ServerDifference::new(&name, Some(field.name()), what));
            }
        }
        let kind = SliceRelation::from(relation).kind;
        let from = from(table, relation, condition);
        let place = match kind {
            Kind::Table | Kind::PartitionedTable | Kind::MaterializedView => {
                "pg_catalog.concat(tableoid::pg_catalog.regclass, ' ', ctid)"
            }
            Kind::View | Kind::ForeignTable => "NULL::pg_catalog.text",
        };
        Ok(Sides { name, files, schema, columns, from, place })
    }

    /// Counts, and sums of hashes.
    fn compare_sums(&mut self, sides: &Sides<'_>, tally: &Tally) -> Result<()> {
        let with_numbers = has_room_for_numbers(&sides.columns);
        let answer =
            self.ask(&sides.name, &sums_sql(&sides.from, &sides.columns, self.digest, with_numbers))?;
        let there = Sums::of_answer(answer, &sides.columns, with_numbers).ok_or_else(|| odd(&sides.name))?;
        let here = tally.sums(&sides.columns);
        let before = self.found.differences.len();
        if here.rows != there.rows {
            let what = format!("rows: {} in the files, {} on the server", here.rows, there.rows);
            self.found.differences.push(ServerDifference::new(&sides.name, None, what));
        }
        let nulls = |rows: &str, sums: &ColumnSums| {
            let (rows, values) = (rows.parse::<u64>().ok()?, sums.n_values.parse::<u64>().ok()?);
            rows.checked_sub(values)
        };
        for ((column, of_files), of_server) in sides.columns.iter().zip(&here.columns).zip(&there.columns) {
            let mut what = Vec::new();
            let (nulls_here, nulls_there) = (nulls(&here.rows, of_files), nulls(&there.rows, of_server));
            if let (Some(nulls_here), Some(nulls_there)) = (nulls_here, nulls_there)
                && !(nulls_there..=nulls_there.saturating_add(column.n_nulled)).contains(&nulls_here)
            {
                what.push(format!("NULLs: {nulls_here} in the files, {nulls_there} on the server"));
            }
            if of_files.sum != of_server.sum {
                what.push("other values".to_owned());
            }
            if with_numbers {
                let (one, other) = (&of_files.numbers, &of_server.numbers);
                // A sum that is too wide for us is not compared.
                let is_known = one.sum.is_some() || one.smallest.is_none();
                for (word, is_other) in [
                    ("smallest value", one.smallest != other.smallest),
                    ("largest value", one.largest != other.largest),
                    ("sum", is_known && one.sum != other.sum),
                ] {
                    if is_other {
                        what.push(format!("another {word}"));
                    }
                }
            }
            if !what.is_empty() {
                self.found.differences.push(ServerDifference::new(
                    &sides.name,
                    Some(&column.name),
                    what.join("; "),
                ));
            }
        }
        if self.found.differences.len() == before && here.row_sum != there.row_sum {
            let what = "the columns have the same values, but in other rows".to_owned();
            self.found.differences.push(ServerDifference::new(&sides.name, None, what));
        }
        Ok(())
    }

    /// Every row, by its hash.
    fn compare_rows(&mut self, sides: &Sides<'_>, rows: u64) -> Result<()> {
        let cancel = self.source.cancel().clone();
        let memory_bytes = self.options.memory_bytes() / 2;
        let options = self.options.clone().with_memory(memory_bytes);
        let sql = places_sql(&sides.from, &sides.columns, self.digest, sides.place);
        let rows_of = Rows {
            files: sides.files,
            schema: &sides.schema,
            columns: &sides.columns,
            digest: self.digest,
            cancel: &cancel,
        };
        let query = || {
            let query = self.source.query(&sql).options(options.clone());
            let Some(snapshot) = &self.snapshot else { return query.open() };
            // A query's token, under the snapshot of all tables.
            let token = query.open()?.slices()?.into_iter().next().ok_or_else(|| odd(&sides.name))?;
            let token = Slice { snapshot: Some(snapshot.clone()), ..token };
            self.source.slice(token).options(options.clone()).open()
        };
        let full = Full::compare(&rows_of, rows, memory_bytes, query)
            .map_err(|error| error.context(format!("{}, row by row", sides.name)))?;
        let counts = [(full.n_in_files, "in the files"), (full.n_on_server, "on the server")];
        let said = counts.iter().filter(|(count, _)| *count > 0).map(|(count, place)| match count {
            1 => format!("1 row is only {place}"),
            count => format!("{count} rows are only {place}"),
        });
        let what: Vec<String> = said.collect();
        if !what.is_empty() {
            self.found.differences.push(ServerDifference {
                file_rows: full.in_files,
                server_rows: full.on_server,
                ..ServerDifference::new(&sides.name, None, what.join(", "))
            });
        }
        Ok(())
    }

    fn ask(&mut self, table: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let held = self.held.as_mut().ok_or_else(|| odd(table))?;
        held.query_text(sql).map_err(|error| error.context(table))
    }
}

/// The rows of a table that are compared, as SQL has it behind FROM.
fn from(table: &ManifestTable, relation: &Relation, condition: Option<&str>) -> String {
    let only = table.only && SliceRelation::from(relation).kind == Kind::Table;
    let from = format!("{}{}", if only { "ONLY " } else { "" }, relation.quoted());
    match condition {
        Some(condition) => format!("{from} WHERE ({condition})"),
        None => from,
    }
}

/// Everything of the database that has rows.
fn relations(source: &Source) -> Result<HashSet<(String, String)>> {
    let rows = source.query_text(RELATIONS_SQL)?;
    let names = rows.into_iter().filter_map(|row| match <[_; 2]>::try_from(row) {
        Ok([Some(schema), Some(name)]) => Some((schema, name)),
        _ => None,
    });
    Ok(names.collect())
}

fn odd(table: &str) -> Error {
    Error::new(
        ErrorKind::Protocol,
        format!("{table}: the server answered what was not asked; please report it"),
    )
}
