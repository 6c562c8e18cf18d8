//! Restart marks: a table beside the target records how far a load has come, and commits together with the
//! rows.
//!
//! ```text
//!  transaction: rows ─▶ mark: rows 1,000,000 ─▶ COMMIT     both are there, or neither
//!  second start: mark ─▶ 1,000,000 rows of the data are skipped
//! ```
//!
//! Two mechanisms keep two loads of one key apart. A session-level advisory lock refuses the second load at
//! once; it needs a session of its own, or a pooler in session mode. And a mark moves only from the value
//! that this load has left. So where the lock has no effect, the load that commits later is rolled back, and
//! no row is loaded twice.

mod key;
mod trust;

use pgarrow_catalog::{CatalogError, Relation, RelationName, quote_identifier, resolve};
use pgarrow_protocol::Session;
use pgarrow_session::{Error, ErrorKind, Result, without_read_timeout};

pub(crate) use key::{Stamp, restart_key};

use crate::names::opened;
use crate::options::LoadOptions;
use crate::transaction::{begin, commit};

/// The table's name; it is in the schema of the load's target.
const TABLE: &str = "pgarrow_load_marks";

/// How long the session of an earlier load may take to end, if no lock timeout is set. A server that still
/// rolls back a killed load does not count as a second load.
const LOCK_TIMEOUT: &str = "5s";

/// The mark of one load.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    /// Schema and name of the table of marks, quoted.
    table: String,
    key: String,
    /// Rows of the data that are loaded or rejected.
    pub(crate) rows: u64,
    pub(crate) is_complete: bool,
    /// The OIDs of the table of marks and of its schema.
    pub(crate) oid: u32,
    schema: u32,
    /// The target of an existing mark with this key.
    target: Option<String>,
}

/// Finds the mark of this key, once no other load holds it. Creates the table of marks if it is missing, and
/// commits that at once: in the load's own transaction, other loads would wait for it.
pub(crate) fn open(
    session: &mut Session,
    name: &RelationName,
    key: &str,
    options: &LoadOptions,
) -> Result<Mark> {
    begin(session, options)?;
    let (schema, target) = place(session, name)?;
    let oid = target.as_ref().map(|target| target.oid);
    let table = format!("{}.{TABLE}", quote_identifier(&schema));
    if !exists(session, &table)? {
        match session.execute(&create(&table)) {
            Ok(()) => commit(session).map_err(|error| before_rows(of_marks(error, &table)))?,
            // Another session has created it at the same time.
            Err(error) if matches!(error.sqlstate(), Some("23505" | "42P07")) => {
                session.execute("ROLLBACK").map_err(Error::without_advice)?;
            }
            Err(error) => return Err(of_marks(error, &table)),
        }
        begin(session, options)?;
    }
    trust::check(session, &schema, oid)?;
    lock(session, &table, key, options)?;
    let key_of = key.to_owned();
    let mut mark = Mark { table, key: key_of, rows: 0, is_complete: false, oid: 0, schema: 0, target: None };
    mark.read(session)?;
    if let Some(target) = &target
        && mark.is_new()
    {
        key::check_others(session, &mark.table, key, &target.to_string(), options)?;
    }
    // The OIDs identify the table of marks later, whatever its name means then.
    (mark.oid, mark.schema) = match opened(session, TABLE)?.as_slice() {
        [marks] => *marks,
        _ => return Err(mark.replaced()),
    };
    commit(session).map_err(|error| before_rows(of_marks(error, &mark.table)))?;
    Ok(mark)
}

/// Turns an unknown outcome into an ordinary error: this COMMIT contained no rows.
fn before_rows(error: Error) -> Error {
    match error.kind() {
        ErrorKind::OutcomeUnknown => {
            Error::new(ErrorKind::Connection, error.to_string()).advice("no row was sent yet: start again")
        }
        _ => error,
    }
}

/// The schema of the target, or the schema where it would be created; and the table, if it exists.
fn place(session: &mut Session, name: &RelationName) -> Result<(String, Option<Relation>)> {
    match resolve(session, name) {
        Ok(relation) if relation.is_temporary() => {
            let text = "a temporary table ends with its session: a load into it has no restart mark";
            return Err(Error::new(ErrorKind::Options, text));
        }
        Ok(relation) => return Ok((relation.schema.clone(), Some(relation))),
        Err(CatalogError::UnknownRelation { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    if let Some(schema) = &name.schema {
        return Ok((schema.clone(), None));
    }
    let rows = session.query("SELECT pg_catalog.current_schema()", &[]).map_err(Error::without_advice)?;
    rows.first().and_then(|row| row.text(0)).map(|schema| (schema.to_owned(), None)).ok_or_else(|| {
        let text = "there is no schema on the search path; name the target's schema";
        Error::new(ErrorKind::Options, text)
    })
}

fn exists(session: &mut Session, table: &str) -> Result<bool> {
    let sql = "SELECT pg_catalog.to_regclass($1) IS NOT NULL";
    let rows = session.query(sql, &[Some(table)]).map_err(Error::without_advice)?;
    Ok(rows.first().is_some_and(|row| row.text(0) == Some("t")))
}

fn create(table: &str) -> String {
    format!(
        "CREATE TABLE {table} (load pg_catalog.text PRIMARY KEY, target pg_catalog.text NOT NULL, \
         rows pg_catalog.int8 NOT NULL, is_complete pg_catalog.bool NOT NULL, updated pg_catalog.timestamptz NOT NULL); \
         COMMENT ON TABLE {table} IS 'How far loads by pgarrow have come. Without its row, a load starts anew.'"
    )
}

/// Takes the advisory lock of the key, which lasts until the session ends.
fn lock(session: &mut Session, table: &str, key: &str, options: &LoadOptions) -> Result<()> {
    if options.lock_timeout.is_none() {
        session
            .execute(&format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
            .map_err(Error::without_advice)?;
    }
    let sql = "SELECT pg_catalog.pg_advisory_lock(pg_catalog.hashtextextended($1, 0))";
    let key = format!("{table} {key}");
    match without_read_timeout(session, |session| session.query(sql, &[Some(&key)])) {
        Ok(_) => Ok(()),
        Err(error) if error.sqlstate() == Some("55P03") => {
            let error =
                Error::without_advice(error).context("another load with the same restart key goes on");
            Err(error.advice("wait for its end, or stop it; nothing was loaded"))
        }
        Err(error) => Err(Error::without_advice(error)),
    }
}

impl Mark {
    fn read(&mut self, session: &mut Session) -> Result<()> {
        let sql = format!(
            "SELECT rows::pg_catalog.text, is_complete::pg_catalog.text, target FROM {} \
             WHERE load OPERATOR(pg_catalog.=) $1",
            self.table
        );
        let rows = session.query(&sql, &[Some(&self.key)]).map_err(|error| of_marks(error, &self.table))?;
        let Some(row) = rows.first() else { return Ok(()) };
        let n_rows = row.text(0).and_then(|text| text.parse().ok());
        self.rows = n_rows.ok_or_else(|| {
            let text = format!("the mark in {} has no number of rows that can be", self.table);
            Error::new(ErrorKind::Server, text).advice("delete it to load from the start")
        })?;
        self.is_complete = row.text(1) == Some("true");
        self.target = row.text(2).map(str::to_owned);
        Ok(())
    }

    /// Whether nothing is loaded under this key yet.
    pub(crate) fn is_new(&self) -> bool {
        self.rows == 0 && !self.is_complete
    }

    /// Checks that the mark belongs to this target and is in its schema. `schema`: the OID of the target's
    /// schema.
    pub(crate) fn check_target(&self, target: &str, schema: Option<u32>) -> Result<()> {
        match &self.target {
            _ if schema.is_some_and(|schema| schema != self.schema) => Err(self.replaced()),
            Some(marked) if marked != target => {
                let text = format!(
                    "this restart key is that of a load into {marked}, and this one is into {target}"
                );
                Err(Error::new(ErrorKind::Options, text).advice("choose another key"))
            }
            _ => Ok(()),
        }
    }

    fn replaced(&self) -> Error {
        let text = format!("{} was replaced by another table while it was looked up", self.table);
        Error::new(ErrorKind::Server, text).advice("start again")
    }

    /// Records in the open transaction that this many rows of the data are done.
    ///
    /// # Errors
    ///
    /// The mark is not what this load has left: another load has moved it.
    pub(crate) fn advance(
        &mut self,
        session: &mut Session,
        target: &str,
        rows: u64,
        is_complete: bool,
    ) -> Result<()> {
        let sql = format!(
            "INSERT INTO {} AS m (load, target, rows, is_complete, updated) \
             VALUES ($1, $2, $3, $4, pg_catalog.clock_timestamp()) \
             ON CONFLICT (load) DO UPDATE SET rows = EXCLUDED.rows, is_complete = EXCLUDED.is_complete, \
                 updated = EXCLUDED.updated \
             WHERE m.rows OPERATOR(pg_catalog.=) $5::pg_catalog.int8 AND NOT m.is_complete",
            self.table
        );
        let complete = if is_complete { "true" } else { "false" };
        let (now, before) = (rows.to_string(), self.rows.to_string());
        let parameters = [Some(self.key.as_str()), Some(target), Some(&now), Some(complete), Some(&before)];
        let changed =
            session.execute_counted(&sql, &parameters).map_err(|error| of_marks(error, &self.table))?;
        if changed != 1 {
            let text = format!(
                "another load with the same restart key has moved its mark in {}; what this one has sent since its \
                 last commit was taken back",
                self.table
            );
            return Err(Error::new(ErrorKind::Server, text));
        }
        (self.rows, self.is_complete) = (rows, is_complete);
        Ok(())
    }

    /// Advice for errors: how to load from the start.
    pub(crate) fn advice(&self) -> String {
        format!(
            "to load all of it from the start, delete its mark: DELETE FROM {} WHERE load = …",
            self.table
        )
    }
}

fn of_marks(error: pgarrow_protocol::Error, table: &str) -> Error {
    let is_right = error.sqlstate() == Some("42501");
    let error = Error::without_advice(error).context(format!("the restart marks, {table}"));
    match is_right {
        true => error.advice(format_args!(
            "let the role CREATE in that schema; or make the table for it, and grant SELECT, INSERT and UPDATE on it: {}",
            create(table)
        )),
        false => error,
    }
}
