//! Finds or creates the table to load, locks it, and reads its columns from the catalog.

use arrow_schema::{FieldRef, Schema};
use pgarrow_catalog::{
    CatalogError, Relation, RelationKind, RelationName, TargetColumn, WriteAccess, resolve, suggest,
    target_columns, write_access,
};
use pgarrow_protocol::Session;
use pgarrow_session::{Error, ErrorKind, Result, without_read_timeout};
use pgarrow_types::option::{ADD_COLUMNS, METHOD, MODE};
use pgarrow_types::{ColumnType, Hint, Message, OpaqueColumns, PgColumn, message};

use crate::choice::is_of_rejects;
use crate::create::{add_columns, create};
use crate::fresh::RowTraits;
use crate::names::{Names, replaced};
use crate::options::{LoadMethod, LoadMode, LoadOptions, OnConflict};
use crate::own_locks::{refuse_exclusive, refuse_to_replace, within_bounds};
use crate::replace::Replacement;
use crate::transaction::{server_error, server_error_after, with_outcome};
use crate::upkeep::Upkeep;

/// A table ready to load, in the session's transaction.
#[derive(Debug)]
pub(crate) struct TargetTable {
    pub(crate) relation: Relation,
    /// Schema and name as the user knows them.
    pub(crate) shown: String,
    /// The new table takes another table's place at the end.
    pub(crate) replacement: Option<Replacement>,
    /// The hidden table that several writers fill, if there is one.
    pub(crate) stage: Option<RelationName>,
    pub(crate) columns: Vec<TargetColumn>,
    /// The tables that the statements name, as they were when locked.
    pub(crate) names: Names,
    /// A trigger or ON CONFLICT may leave rows out.
    pub(crate) may_leave_out: bool,
    pub(crate) warnings: Vec<String>,
    /// The load has created it under its name.
    pub(crate) is_made: bool,
    /// How rows reach it: never [`LoadMethod::Auto`].
    pub(crate) method: LoadMethod,
    /// COPY can freeze its rows.
    pub(crate) freezes: bool,
    /// What is done after the commit.
    pub(crate) upkeep: Option<Upkeep>,
}

/// Finds or creates the table, and locks it: its columns cannot change until the transaction ends.
pub(crate) fn open(
    session: &mut Session,
    name: &RelationName,
    schema: &Schema,
    options: &LoadOptions,
) -> Result<TargetTable> {
    let mut warnings = Vec::new();
    let mode = match options.mode {
        // There is no table to replace.
        LoadMode::Replace if is_missing(session, name)? => LoadMode::Create,
        mode => mode,
    };
    let relation = match mode {
        LoadMode::Create => create(session, name, schema, options, &mut warnings)?,
        LoadMode::Append | LoadMode::Truncate | LoadMode::Upsert | LoadMode::Replace => find(session, name)?,
    };
    let shown = relation.to_string();
    // If the export does not read the table, the wait for its locks lasts as long as the user allows.
    let (replacement, method) = within_bounds(session, &relation, options, |session| {
        without_read_timeout(session, |session| take(session, &relation, mode, options))
    })?;
    let relation = replacement.as_ref().map_or(relation, |replacement| replacement.table().clone());
    let target = TargetTable {
        relation,
        shown,
        replacement,
        stage: None,
        columns: Vec::new(),
        names: Names::default(),
        may_leave_out: false,
        warnings,
        is_made: mode == LoadMode::Create,
        method,
        freezes: false,
        upkeep: None,
    };
    target.with_columns(session, name, schema, options)
}

/// Checks that the relation can be written to, and locks it; truncates it, or creates its replacement. All
/// of this may wait for other sessions.
fn take(
    session: &mut Session,
    relation: &Relation,
    mode: LoadMode,
    options: &LoadOptions,
) -> Result<(Option<Replacement>, LoadMethod)> {
    let failed = |error| server_error(error, &relation.to_string());
    if mode == LoadMode::Replace {
        refuse_to_replace(session, relation, options)?;
        let method = options.method.or_copy();
        return Replacement::begin(session, relation.clone()).map(|replacement| (Some(replacement), method));
    }
    let method = method_for(relation, write_access(session, relation)?, options)?;
    match mode {
        LoadMode::Truncate if options.is_emptied => lock(session, relation).map_err(failed)?,
        LoadMode::Truncate => {
            refuse_exclusive(session, relation, options, MODE.to("truncate"))?;
            let sql = truncate_sql(&relation.quoted());
            session.execute(&sql).map_err(|error| match error.sqlstate() {
                Some("0A000") => failed(error)
                    .advice("tables that refer to it would have to be emptied, too: load by another mode"),
                _ => failed(error),
            })?;
        }
        LoadMode::Append | LoadMode::Upsert if relation.kind != RelationKind::ForeignTable => {
            lock(session, relation).map_err(failed)?;
        }
        LoadMode::Append | LoadMode::Upsert | LoadMode::Create | LoadMode::Replace => {}
    }
    Ok((None, method))
}

/// The types of the table's columns, by name; `None` if the load will create it. Expects an open
/// transaction.
pub(crate) fn column_types(
    session: &mut Session,
    name: &RelationName,
    options: &LoadOptions,
) -> Result<Option<OpaqueColumns>> {
    if options.mode == LoadMode::Replace && is_missing(session, name)? {
        return Ok(None);
    }
    let relation = find(session, name)?;
    let columns = target_columns(session, &relation)?.into_iter().map(|target| {
        let PgColumn { name, type_oid, type_modifier, .. } = target.column.column;
        (name, ColumnType { oid: type_oid, modifier: type_modifier })
    });
    Ok(Some(columns.collect()))
}

/// Finds and locks a table for a later transaction of the same load. `committed` rows of the data are
/// already committed.
pub(crate) fn open_again(
    session: &mut Session,
    name: &RelationName,
    schema: &Schema,
    options: &LoadOptions,
    committed: u64,
) -> Result<TargetTable> {
    look_again(session, name, schema, options, committed).map_err(|error| with_outcome(error, committed))
}

fn look_again(
    session: &mut Session,
    name: &RelationName,
    schema: &Schema,
    options: &LoadOptions,
    committed: u64,
) -> Result<TargetTable> {
    let relation = resolve(session, name).map_err(|error| match error {
        CatalogError::UnknownRelation { .. } => {
            Error::from(error).advice("it was dropped or renamed after rows were loaded into it")
        }
        _ => error.into(),
    })?;
    let shown = relation.to_string();
    let method = method_for(&relation, write_access(session, &relation)?, options)?;
    if relation.kind != RelationKind::ForeignTable {
        let locked = without_read_timeout(session, |session| lock(session, &relation));
        locked.map_err(|error| server_error_after(error, &shown, None, committed))?;
    }
    let target = TargetTable {
        relation,
        shown,
        replacement: None,
        stage: None,
        columns: Vec::new(),
        names: Names::default(),
        may_leave_out: false,
        warnings: Vec::new(),
        is_made: false,
        method,
        freezes: false,
        upkeep: None,
    };
    target.with_columns(session, name, schema, options)
}

impl TargetTable {
    /// Reads the columns, and adds missing ones if the options ask for it.
    fn with_columns(
        mut self,
        session: &mut Session,
        name: &RelationName,
        schema: &Schema,
        options: &LoadOptions,
    ) -> Result<Self> {
        // Between lookup and lock, another table may have taken the name.
        let named = self.replacement.as_ref().map_or(&self.relation, Replacement::replaced);
        if find(session, name)?.oid != named.oid {
            return Err(replaced(named, "looked up"));
        }
        let tables: Vec<&Relation> = match &self.replacement {
            Some(replacement) => vec![replacement.table(), replacement.replaced()],
            None => vec![&self.relation],
        };
        self.names = Names::of(session, &tables)?;
        let relation = &self.relation;
        self.columns = target_columns(session, relation)?;
        if options.add_columns {
            let is_there = |name: &str| self.columns.iter().any(|column| column.column.column.name == name);
            let is_missing =
                |field: &&FieldRef| !is_there(field.name()) && options.takes(field) && !is_of_rejects(field);
            let missing: Vec<_> = schema.fields().iter().filter(is_missing).cloned().collect();
            if !missing.is_empty() {
                let adding = Hint::Choice { option: ADD_COLUMNS, values: Vec::new() };
                refuse_exclusive(session, relation, options, adding)?;
                let warnings = &mut self.warnings;
                without_read_timeout(session, |session| {
                    add_columns(session, relation, &missing, options, warnings)
                })?;
                self.columns = target_columns(session, relation)?;
            }
        }
        let traits = RowTraits::of(session, relation)?;
        self.may_leave_out = traits.has_triggers || options.on_conflict()? != OnConflict::Error;
        self.freezes = options.freezes(session, relation, traits);
        let mut upkeep = Upkeep::of(named, &self.shown, options, traits.is_plain, traits.is_pooled);
        if options.is_locked {
            upkeep.learn(session)?;
        }
        self.upkeep = Some(upkeep);
        if self.method == LoadMethod::Insert {
            // The table behind a view may have triggers.
            self.may_leave_out |= relation.kind == RelationKind::View || has_insert_rules(session, relation)?;
        }
        Ok(self)
    }
}

/// Whether no relation has this name.
pub(crate) fn is_missing(session: &mut Session, name: &RelationName) -> Result<bool> {
    match resolve(session, name) {
        Ok(_) => Ok(false),
        Err(CatalogError::UnknownRelation { .. }) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn find(session: &mut Session, name: &RelationName) -> Result<Relation> {
    resolve(session, name).map_err(|error| match error {
        CatalogError::UnknownRelation { .. } => {
            Error::from(suggest(session, error)).advice(message![MODE.to("create"), " makes it"])
        }
        _ => error.into(),
    })
}

/// Whether the role may lock the table.
pub(crate) const MAY_LOCK: &str =
    "SELECT pg_catalog.has_table_privilege($1::pg_catalog.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')";

/// The statement that locks a table, by its quoted name.
pub(crate) fn lock_sql(table: &str) -> String {
    format!("LOCK TABLE {table} IN ROW EXCLUSIVE MODE")
}

/// The statement that empties a table, by its quoted name.
pub(crate) fn truncate_sql(table: &str) -> String {
    format!("TRUNCATE TABLE {table}")
}

/// The lock that COPY takes anyway, taken before the columns are read: so nobody can change them in between.
fn lock(session: &mut Session, relation: &Relation) -> std::result::Result<(), pgarrow_protocol::Error> {
    let rows = session.query(MAY_LOCK, &[Some(&relation.oid.to_string())])?;
    let table = relation.quoted();
    match rows.first().is_some_and(|row| row.text(0) == Some("t")) {
        true => session.execute(&lock_sql(&table)),
        // LOCK needs a right on the whole table, not only on columns. EXPLAIN locks the planned table and
        // runs nothing.
        false => session.query(&format!("EXPLAIN INSERT INTO {table} DEFAULT VALUES"), &[]).map(drop),
    }
}

/// How rows reach a relation that can be written to. COPY ignores rules, and INSERT does not, so INSERT is
/// chosen only where COPY is refused.
fn method_for(relation: &Relation, access: WriteAccess, options: &LoadOptions) -> Result<LoadMethod> {
    let WriteAccess { copy, insert, row_security, .. } = access;
    let method = match options.method {
        // What several writers bring comes by COPY first, in any case.
        LoadMethod::Auto if insert && (row_security || !copy) && !options.has_writers() => LoadMethod::Insert,
        other => other.or_copy(),
    };
    check_access(relation, access, method).map(|()| method)
}

fn check_access(relation: &Relation, access: WriteAccess, method: LoadMethod) -> Result<()> {
    let refuse = |why: Message| Err(Error::new(ErrorKind::Options, why.behind(format!("{relation} "))));
    let copies = method == LoadMethod::Copy;
    match (access, relation.kind) {
        (WriteAccess { insert: true, .. }, _) if !copies => Ok(()),
        (WriteAccess { row_security: true, .. }, _) if copies => refuse(message![
            "has row security, with which COPY does not work; load by INSERT (",
            METHOD.to("insert"),
            "), as its owner, or as a role with BYPASSRLS"
        ]),
        (WriteAccess { copy: true, .. }, _) if copies => Ok(()),
        (_, RelationKind::MaterializedView) => {
            refuse("is a materialized view: load the tables that it is made of, and refresh it".into())
        }
        (WriteAccess { insert: true, .. }, RelationKind::View) => refuse(message![
            "is a view without an INSTEAD OF INSERT trigger: load it by INSERT (",
            METHOD.to("insert"),
            "), or the table behind it"
        ]),
        (_, RelationKind::View) => refuse(
            "is a view that takes no INSERT, and has no INSTEAD OF trigger for it: load the table behind it"
                .into(),
        ),
        (_, kind) if copies => refuse(format!("is a {}, which COPY cannot load", kind.as_str()).into()),
        (_, kind) => refuse(format!("is a {}, which INSERT cannot load", kind.as_str()).into()),
    }
}

/// Whether the relation has rules for INSERT. With these, the server's count may be that of a rule's
/// statement. COPY ignores rules.
///
/// Source: "Rules and Command Status" in <https://www.postgresql.org/docs/current/rules-status.html>;
/// `ev_type` is a `CmdType` of `src/include/nodes/nodes.h`.
pub(crate) fn has_insert_rules(session: &mut Session, relation: &Relation) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_rewrite r \
                 WHERE r.ev_class OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
                   AND r.ev_type OPERATOR(pg_catalog.=) '3'::pg_catalog.\"char\")";
    let rows = session.query(sql, &[Some(&relation.oid.to_string())]).map_err(Error::without_advice)?;
    Ok(rows.first().is_some_and(|row| row.text(0) == Some("t")))
}
