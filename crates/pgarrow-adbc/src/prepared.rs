//! `Prepared`: a statement that the server has parsed, and what its rows become.
//!
//! ```text
//!  prepare()      Parse under a name, once; each execution is one round trip
//!  execute()      Parse unnamed and describe, then run: two round trips, since the types of the result decide
//!                 in which format each column is asked for. Executed again, the text goes along: one
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use pgarrow_catalog::ResolvedColumn;
use pgarrow_export::driver::ResultColumns;
use pgarrow_protocol::{ColumnDescription, Description, Execution, Parameter, Portal, Session};

use crate::error::{Result, of_catalog, of_engine, of_wire};
use crate::link::Link;
use crate::settings::Settings;

/// A statement keeps it, and a result that executes it again with other values.
pub(crate) type SharedPrepared = Arc<Mutex<Prepared>>;

/// Locked, for one call.
pub(crate) fn of(shared: &SharedPrepared) -> MutexGuard<'_, Prepared> {
    // Each change is complete or was not begun, even after a panic.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
pub(crate) struct Prepared {
    link: Arc<Link>,
    /// Empty for the unnamed statement.
    name: String,
    sql: String,
    /// The types that were asked for; the server has inferred the others.
    types: Vec<u32>,
    /// The types of the parameters when none was asked for.
    inferred: Vec<u32>,
    pub(crate) description: Description,
    epoch: u64,
    /// The unnamed statement is still this one.
    is_parsed: bool,
    /// With the settings for which it was made.
    columns: Option<(Settings, ResultColumns)>,
}

impl Prepared {
    pub(crate) fn new(
        link: &Arc<Link>,
        session: &mut Session,
        sql: &str,
        is_named: bool,
        types: &[u32],
    ) -> Result<Self> {
        let name = if is_named { link.new_name() } else { String::new() };
        let epoch = link.epoch();
        let closed = link.take_closed();
        let description = session.prepare(&name, sql, types, &closed).map_err(of_wire)?;
        Ok(Self {
            link: Arc::clone(link),
            name,
            sql: sql.to_owned(),
            types: types.to_vec(),
            inferred: description.parameters.clone(),
            description,
            epoch,
            is_parsed: true,
            columns: None,
        })
    }

    /// The same statement with other types of its parameters; those that are left out are inferred.
    pub(crate) fn with_types(&self, session: &mut Session, types: &[u32]) -> Result<Self> {
        let mut other = Self::new(&self.link, session, &self.sql, self.is_named(), types)?;
        other.inferred.clone_from(&self.inferred);
        Ok(other)
    }

    /// The types that its parameters have when none is asked for.
    pub(crate) fn inferred(&self) -> &[u32] {
        &self.inferred
    }

    /// The types that were asked for.
    pub(crate) fn types(&self) -> &[u32] {
        &self.types
    }

    pub(crate) fn is_named(&self) -> bool {
        !self.name.is_empty()
    }

    /// Whether it is this text, and nothing was run since that may have changed what it means.
    pub(crate) fn is_of(&self, sql: &str) -> bool {
        self.sql == sql && self.epoch == self.link.epoch()
    }

    /// What its rows become; `None` if it returns none.
    pub(crate) fn columns(
        &mut self,
        session: &mut Session,
        settings: &Settings,
    ) -> Result<Option<ResultColumns>> {
        let Some(described) = &self.description.columns else { return Ok(None) };
        if let Some((of_settings, columns)) = &self.columns
            && of_settings == settings
        {
            return Ok(Some(columns.clone()));
        }
        let options = settings
            .options(|name| described.iter().any(|column: &ColumnDescription| column.name == name))?;
        let columns = ResultColumns::of(session, described, &mut self.link.types(), &options);
        let columns = columns.map_err(of_engine)?;
        self.is_parsed &= !columns.has_asked();
        self.columns = Some((settings.clone(), columns.clone()));
        Ok(Some(columns))
    }

    /// Its parameters, as the catalog knows their types.
    pub(crate) fn parameters(&mut self, session: &mut Session) -> Result<Vec<ResolvedColumn>> {
        let parameters: Vec<ColumnDescription> =
            (1..).zip(&self.description.parameters).map(parameter).collect();
        let (resolved, has_asked) = self.link.types().columns(session, &parameters).map_err(of_catalog)?;
        self.is_parsed &= !has_asked;
        Ok(resolved)
    }

    /// The Arrow schema of its parameters: their names are `$1`, `$2`, …, and a type that is not decoded is
    /// unknown.
    pub(crate) fn parameter_schema(&mut self, session: &mut Session) -> Result<Schema> {
        let fields = self.parameters(session)?.into_iter().map(|parameter| match parameter.note {
            Some(_) => Field::new(parameter.column.name, DataType::Null, true),
            None => parameter.column.field(),
        });
        Ok(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// Runs it. `part_rows`: the rows of the first part; `None` for all.
    pub(crate) fn run(
        &mut self,
        session: &mut Session,
        parameters: &[Parameter<'_>],
        text_columns: &[bool],
        part_rows: Option<u32>,
    ) -> Result<Portal> {
        // Whatever else uses the session takes the place of the unnamed statement, so the text goes along
        // from the second time on.
        let is_parsed = self.is_named() || std::mem::take(&mut self.is_parsed);
        let portal = session.run(&Execution {
            statement: &self.name,
            parse: (!is_parsed).then_some((self.sql.as_str(), self.types.as_slice())),
            columns: self.description.columns.as_deref(),
            parameters,
            text_columns,
            part_rows,
            ..Execution::default()
        });
        portal.map_err(|error| {
            // "cached plan must not change result type", and what we say about the same; a function, or a
            // pooler, has deallocated it.
            if matches!(error.sqlstate(), Some("0A000" | "26000") | None) {
                self.link.forget();
            }
            of_wire(error)
        })
    }

    /// Runs it, and lets its rows come as texts, since nobody looks at them.
    pub(crate) fn run_for_no_rows(
        &mut self,
        session: &mut Session,
        parameters: &[Parameter<'_>],
    ) -> Result<Portal> {
        let texts = [true];
        self.run(session, parameters, &texts, None)
    }

    /// Something else was run, or may have been, which ends the unnamed statement.
    pub(crate) fn is_no_longer_parsed(&mut self) {
        self.is_parsed = false;
    }

    /// Types for a statement with parameters that is executed many times at once.
    pub(crate) fn parameter_oids(&self) -> &[u32] {
        &self.description.parameters
    }

    /// The schema of the rows, or that of no columns.
    pub(crate) fn schema(columns: Option<&ResultColumns>) -> SchemaRef {
        columns.map_or_else(|| Arc::new(Schema::empty()), |columns| Arc::clone(columns.schema()))
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if self.is_named() {
            self.link.close_later(std::mem::take(&mut self.name));
        }
    }
}

/// A parameter as the description of a column, for the catalog.
fn parameter((number, oid): (usize, &u32)) -> ColumnDescription {
    ColumnDescription {
        name: format!("${number}"),
        table_oid: 0,
        attribute_number: 0,
        type_oid: *oid,
        type_length: 0,
        type_modifier: -1,
    }
}
