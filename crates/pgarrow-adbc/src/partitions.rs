//! Several readers, and partitions: slices of an export, under one snapshot.
//!
//! ```text
//!  execute_partitions   a session of its own: snapshot, slices ──▶ bytes, one for each slice
//!       └ the statement holds the snapshot until it is closed or executed again
//!  read_partition       another session, from any connection of any process: a slice ──▶ batches
//! ```
//!
//! The sessions that read are not the connection's own, so what only that one sees would be missing: they are
//! refused inside of a transaction, and when the session has temporary tables, settings or a role.

use std::collections::BTreeMap;

use adbc_core::PartitionedResult;
use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};
use pgarrow_export::driver::Outline;
use pgarrow_export::{BatchReader, Extract, HeldSnapshot, Slice, Source, parse_column_list};
use pgarrow_protocol::{Session, TransactionStatus};
use pgarrow_session::Cancel;
use serde::{Deserialize, Serialize};

use crate::error::{
    Result, for_reader, invalid_argument, invalid_state, not_implemented, of_engine, of_wire,
};
use crate::link::Link;
use crate::operation::Running;
use crate::settings::Settings;

/// The snapshot that partitions are read under. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Partitions {
    _snapshot: HeldSnapshot,
}

/// Options of how the slices are cut; they mean nothing for one of them.
const OF_PLANS: [&str; 4] = ["readers", "slice_bytes", "split_on", "whole_results"];

/// What a partition's bytes are: JSON.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Partition {
    pgarrow_partition: u32,
    /// The choices about types and batches with which it was planned.
    options: BTreeMap<String, String>,
    slice: String,
}

const VERSION: u32 = 1;

/// A read by sessions of its own.
pub(crate) struct Parallel<'a> {
    pub(crate) link: &'a Link,
    pub(crate) settings: &'a Settings,
    pub(crate) outline: &'a Outline,
}

impl Parallel<'_> {
    /// Plans the statement's rows as partitions.
    pub(crate) fn partitions(
        &self,
        sql: &str,
        has_values: bool,
        cancel: &Cancel,
    ) -> Result<(Partitions, PartitionedResult)> {
        let run = self.extract(sql, has_values, cancel)?.open().map_err(of_engine)?;
        let schema = run.schema().as_ref().clone();
        let mut snapshot = run.into_held();
        let mut options = self.settings.all();
        options.retain(|name, _| !OF_PLANS.contains(&name.as_str()));
        let mut partitions = Vec::new();
        for slice in snapshot.slices().map_err(of_engine)? {
            let slice = slice.to_json().map_err(of_engine)?;
            let partition = Partition { pgarrow_partition: VERSION, options: options.clone(), slice };
            partitions
                .push(serde_json::to_vec(&partition).map_err(|error| invalid_argument(error.to_string()))?);
        }
        Ok((Partitions { _snapshot: snapshot }, PartitionedResult { partitions, schema, rows_affected: -1 }))
    }

    /// Reads the statement's rows with several sessions.
    pub(crate) fn reader(
        &self,
        sql: &str,
        has_values: bool,
        cancel: &Cancel,
        running: [Running; 2],
    ) -> Result<Box<dyn RecordBatchReader + Send + 'static>> {
        let reader = self.extract(sql, has_values, cancel)?.reader().map_err(of_engine)?;
        Ok(Box::new(PartitionReader { reader, _running: running.into() }))
    }

    fn extract(&self, sql: &str, has_values: bool, cancel: &Cancel) -> Result<Extract> {
        if has_values || self.outline.parameters > 0 {
            return Err(not_implemented(
                "several sessions read no statement with bound values: write them into it",
            ));
        }
        if self.outline.may_write {
            return Err(not_implemented(format!(
                "several sessions read one snapshot, and change nothing: {} is for one",
                self.outline.command
            )));
        }
        let search_path = self.link.with(|session| self.check_session(session))?;
        let mut options = self.settings.options(|_| true)?;
        if let Some(path) = search_path {
            options = options.with_setting("search_path", path);
        }
        let source = Source::connect_blocking_with(self.link.config().clone(), cancel.clone());
        let source = source.map_err(of_engine)?;
        let extract = match &self.outline.table {
            Some(table) => {
                let mut extract = source.table(&table.name).only(table.only);
                if let Some(columns) = &table.columns {
                    let columns = parse_column_list(columns);
                    extract = extract.columns(columns.map_err(|why| invalid_argument(why.to_string()))?);
                }
                match &table.filter {
                    Some(filter) => extract.filter(filter),
                    None => extract,
                }
            }
            None => source.query(sql),
        };
        Ok(extract.options(options))
    }

    /// Refuses what other sessions would not see. Returns the search path, if the session has its own: that
    /// can be passed on.
    fn check_session(&self, session: &mut Session) -> Result<Option<String>> {
        if !self.link.autocommit() || session.transaction_status() != TransactionStatus::Idle {
            return Err(invalid_state(
                "several sessions cannot read what a transaction sees: end it, and turn autocommit on",
            ));
        }
        let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c \
               WHERE c.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()), \
             (SELECT pg_catalog.string_agg(s.name, ', ' ORDER BY s.name) FROM pg_catalog.pg_settings s \
               WHERE s.source OPERATOR(pg_catalog.=) 'session' AND NOT (s.name OPERATOR(pg_catalog.=) ANY \
                 (ARRAY['search_path', 'application_name', 'default_transaction_isolation', \
                   'default_transaction_read_only', 'transaction_isolation', 'transaction_read_only', \
                   'transaction_deferrable']))), \
             current_user OPERATOR(pg_catalog.<>) session_user \
               OR pg_catalog.current_setting('role') OPERATOR(pg_catalog.<>) 'none' \
               OR session_user OPERATOR(pg_catalog.<>) (SELECT pg_catalog.pg_get_userbyid(a.usesysid) \
                 FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) a), \
             (SELECT s.setting FROM pg_catalog.pg_settings s WHERE s.name OPERATOR(pg_catalog.=) 'search_path' \
               AND s.source OPERATOR(pg_catalog.=) 'session')";
        let rows = session.query(sql, &[]).map_err(of_wire)?;
        let text = |index| rows.first().and_then(|row| row.text(index));
        let state = match (text(0), text(1), text(2)) {
            (Some("t"), _, _) => "temporary tables".to_owned(),
            (_, Some(names), _) => format!("settings of its own ({names})"),
            (_, _, Some("t")) => "another role".to_owned(),
            _ => return Ok(text(3).map(str::to_owned)),
        };
        Err(invalid_state(format!(
            "the connection's session has {state}, which the sessions that read would not have; use a connection without, or one \
             reader"
        )))
    }
}

/// Reads a partition, whichever connection has planned it.
pub(crate) fn read(
    link: &Link,
    bytes: &[u8],
    cancel: &Cancel,
) -> Result<Box<dyn RecordBatchReader + Send + 'static>> {
    let refused = |why: &str| invalid_argument(format!("this is no partition of this driver: {why}"));
    let partition: Partition = serde_json::from_slice(bytes).map_err(|error| refused(&error.to_string()))?;
    if partition.pgarrow_partition != VERSION {
        return Err(refused("it is of another version"));
    }
    let slice = Slice::from_json(&partition.slice).map_err(of_engine)?;
    let options = Settings::of_partition(&partition.options)?.options(|_| true)?;
    let running = link.operation().begins(cancel);
    let read = Source::connect_blocking_with(link.config().clone(), cancel.clone())
        .and_then(|source| source.slice(slice).options(options).reader());
    let reader = read.map_err(of_engine)?;
    Ok(Box::new(PartitionReader { reader, _running: vec![running] }))
}

/// Batches of an export, with errors of this driver.
struct PartitionReader {
    reader: BatchReader,
    /// It can be stopped as long as it is there.
    _running: Vec<Running>,
}

impl Iterator for PartitionReader {
    type Item = std::result::Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.reader.next()?;
        Some(next.map_err(|error| match error {
            ArrowError::ExternalError(error) => match error.downcast::<pgarrow_session::Error>() {
                Ok(error) => for_reader(of_engine(*error)),
                Err(error) => ArrowError::ExternalError(error),
            },
            error => error,
        }))
    }
}

impl RecordBatchReader for PartitionReader {
    fn schema(&self) -> SchemaRef {
        self.reader.schema()
    }
}
