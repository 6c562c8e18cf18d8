//! Plans each field: its column, its encoder, and the statements that carry it.

use arrow_schema::{Field, FieldRef, Schema};
use pgarrow_catalog::{TargetColumn, format_types, meant, quote_identifier};
use pgarrow_encode::{
    Conversions, EncodeError, EncodeTarget, Encoder, RefusalKind, RowEncoder, TypeTarget, make_encoder,
};
use pgarrow_protocol::Session;
use pgarrow_session::{Error, ErrorKind, Result, without_read_timeout};
use pgarrow_types::option::{CONVERSIONS, IDENTITY};
use pgarrow_types::{ColumnType, DeclaredType, Message, PgType, message, oid};

use crate::choice::is_of_rejects;
use crate::conflict;
use crate::create::is_made_of;
use crate::exact::{Look, made_of_others, needs_zone};
use crate::insert::{InsertColumn, Inserts};
use crate::names::Names;
use crate::options::{IdentityValues, LoadMethod, LoadOptions};
use crate::pipe::Transfer;
use crate::replace::Replacement;
use crate::report::LoadColumnReport;
use crate::staged_form::{StagedForm, as_text};
use crate::target::TargetTable;
use crate::trouble::{self, Trouble, Why};
use crate::upkeep::Upkeep;

/// A planned load: everything that is decided before the first byte is sent.
#[derive(Debug)]
pub(crate) struct LoadPlan {
    pub(crate) encoder: RowEncoder,
    /// Name and type of each encoded column, for errors.
    pub(crate) names: Vec<(String, String)>,
    /// `COPY … FROM STDIN`.
    pub(crate) copy: String,
    /// The INSERTs in place of COPY, if the options ask for them.
    pub(crate) inserts: Option<Inserts>,
    /// The staging table, if the load needs one: its creation, and the INSERT into the target.
    pub(crate) staging: Option<Staging>,
    /// The new table takes another table's place at the end.
    pub(crate) replacement: Option<Replacement>,
    /// The statement that gives a new table its primary key.
    pub(crate) key: Option<String>,
    /// The tables that its statements name.
    pub(crate) tables: Names,
    pub(crate) columns: Vec<LoadColumnReport>,
    pub(crate) warnings: Vec<Message>,
    /// What is done after the commit.
    pub(crate) upkeep: Option<Upkeep>,
}

impl LoadPlan {
    /// The column that a value was for, with its type. Never the value.
    pub(crate) fn place(&self, error: &EncodeError) -> String {
        match self.names.get(error.column) {
            Some((name, type_name)) => format!("column {name:?} ({type_name})"),
            None => "a column".to_owned(),
        }
    }

    /// How rows reach the table, or the staging table.
    pub(crate) fn transfer(&self) -> Transfer {
        self.transfer_then(None)
    }

    /// The same for a load of one transfer: unless rows come from a staging table, the proof comes next.
    pub(crate) fn transfer_of_all(&self) -> Transfer {
        self.transfer_then(self.staging.is_none().then(|| self.tables.question(&[])))
    }

    fn transfer_then(&self, then: Option<(String, [String; 2])>) -> Transfer {
        match &self.inserts {
            Some(inserts) => Transfer::Insert(inserts.clone()),
            None => Transfer::Copy { sql: self.copy.clone(), n_columns: self.encoder.columns(), then },
        }
    }
}

/// A table between COPY and the target. It holds text for types that only the server can parse, or rows
/// whose key may exist already, or the rows of several writers.
#[derive(Debug)]
pub(crate) struct Staging {
    /// Quoted, with its schema.
    table: String,
    pub(crate) create: String,
    /// The server parses text in UTC.
    in_utc: bool,
    insert: String,
    /// Rows whose key exists are left out.
    pub(crate) skips: bool,
}

impl Staging {
    /// Sets the time zone in which the transaction parses and prints text. Only if a column's text depends
    /// on it, because defaults and triggers see the zone, too.
    pub(crate) fn set_zone(&self, session: &mut Session) -> std::result::Result<(), pgarrow_protocol::Error> {
        if self.in_utc { session.execute("SET LOCAL TimeZone = 'UTC'") } else { Ok(()) }
    }

    /// Inserts its rows into the target. Returns how many. One statement inserts all rows, and the server is
    /// silent until it ends, so the read timeout does not apply.
    pub(crate) fn insert_from_staging(
        &self,
        session: &mut Session,
    ) -> std::result::Result<u64, pgarrow_protocol::Error> {
        without_read_timeout(session, |session| session.execute_counted(&self.insert, &[]))
    }
}

/// A column to send.
struct Sent {
    name: String,
    type_name: String,
    index: usize,
    encoder: Box<dyn Encoder>,
    /// The form in which it is sent, if not in the binary form of its own type.
    staged_form: Option<StagedForm>,
    /// The check for text that might say more than the type keeps.
    look: Option<Look>,
    /// Parsing or printing the text depends on the session's time zone.
    needs_zone: bool,
    type_oid: u32,
}

/// The name of the staging table. It is temporary, so only this session sees it.
pub(crate) const STAGING: &str = "pg_temp.pgarrow_load_staging";

/// Plans the load of batches with this schema.
///
/// # Errors
///
/// [`ErrorKind::Options`] with everything that does not fit: fields without a column, required columns
/// without a field, and types that cannot be converted.
pub(crate) fn plan(
    session: &mut Session,
    target: &TargetTable,
    schema: &Schema,
    options: &LoadOptions,
) -> Result<LoadPlan> {
    let relation = &target.relation;
    let (mut sent, mut columns) = (Vec::new(), Vec::new());
    let mut warnings: Vec<Message> = target.warnings.iter().map(Message::from).collect();
    let mut troubles = unknown_fields(schema, &target.columns, options);
    if let Some(name) = options.missing_column(schema) {
        let column = name.to_owned();
        troubles.push(Trouble { column, pg_type: None, arrow_type: None, why: Why::NotInData });
    }
    warnings.extend(reasons_left_out(schema, &target.columns, options).map(Message::from));
    for column in &target.columns {
        let is_of_it = |field: &Field| *field.name() == column.column.column.name && options.takes(field);
        let found = schema.fields().iter().enumerate().find(|(_, field)| is_of_it(field));
        let report = |how, field: Option<&Field>| LoadColumnReport {
            name: column.column.column.name.clone(),
            pg_type: column.column.column.type_name.clone(),
            arrow_type: field.map(|field| pgarrow_types::arrow_type(field.data_type())),
            how,
        };
        match found {
            Some((_, field)) if column.is_generated => {
                let text =
                    format!("column {:?} is generated by the server; its values are left out", field.name());
                warnings.push(text.into());
                columns.push(report("generated", None));
            }
            Some(_) if column.identity.is_some() && options.identity == IdentityValues::Generate => {
                columns.push(report("generated", None));
            }
            Some((index, field)) => match send(index, field, column, options) {
                Ok(column_sent) => {
                    if column.identity.is_some() {
                        warnings.push(message![
                            format!("identity column {:?} has the values of the data; ", field.name()),
                            "its sequence does not know of them (setval does that, or ",
                            IDENTITY.to("generate"),
                            ")"
                        ]);
                    }
                    let how = match column_sent.staged_form {
                        Some(_) => "text",
                        None if options.opaque.get(field.name()).is_some() => "undecoded",
                        None => "binary",
                    };
                    columns.push(report(how, Some(field)));
                    sent.push(column_sent);
                }
                Err(why) => troubles.push(Trouble {
                    column: name_of(column),
                    pg_type: Some(column.column.column.type_name.clone()),
                    arrow_type: Some(pgarrow_types::arrow_type(field.data_type())),
                    why,
                }),
            },
            None => {
                let name = &column.column.column.name;
                let is_filled = column.has_default || column.identity.is_some() || column.is_generated;
                if column.is_not_null && !is_filled {
                    troubles.push(Trouble {
                        column: name.clone(),
                        pg_type: Some(column.column.column.type_name.clone()),
                        arrow_type: None,
                        why: Why::Missing,
                    });
                }
                let how = if column.is_generated { "generated" } else { "default" };
                columns.push(report(how, None));
            }
        }
    }
    if !troubles.is_empty() {
        return Err(trouble::refusal(&troubles, &target.shown));
    }
    look_closer(session, &mut sent)?;
    let names: Vec<&str> = sent.iter().map(|sent| sent.name.as_str()).collect();
    let clause = conflict::clause(session, target, &names, options)?;
    let staging = staging(session, target, &sent, &clause, options)?;
    let copied = match &staging {
        Some(staging) => staging.table.clone(),
        None => relation.quoted(),
    };
    let list: Vec<String> = sent.iter().map(|sent| quote_identifier(&sent.name)).collect();
    // SQL has no empty column list; COPY without a list fits a row without columns.
    let list = if list.is_empty() { String::new() } else { format!(" ({})", list.join(", ")) };
    if list.is_empty() && !target.columns.is_empty() {
        let text = format!("the data has no column of {}", target.shown);
        return Err(Error::new(ErrorKind::Options, text));
    }
    let inserts = match target.method {
        LoadMethod::Copy | LoadMethod::Auto => None,
        LoadMethod::Insert => Some(inserts(session, &copied, &sent, staging.is_some())?),
    };
    let names = sent.iter().map(|sent| (sent.name.clone(), sent.type_name.clone())).collect();
    let encoders = sent.into_iter().map(|sent| (sent.index, sent.encoder)).collect();
    let encoder = RowEncoder::new(encoders)
        .map_err(|refusal| Error::new(ErrorKind::Options, format!("{}: {refusal}", target.shown)))?;
    // The staging table is not what anybody reads.
    let freeze = if target.freezes && staging.is_none() { ", FREEZE" } else { "" };
    let copy = format!("COPY {copied}{list} FROM STDIN (FORMAT binary{freeze})");
    Ok(LoadPlan {
        encoder,
        names,
        copy,
        inserts,
        staging,
        replacement: target.replacement.clone(),
        key: key_of_made(target, options),
        tables: target.names.clone(),
        columns,
        warnings,
        upkeep: target.upkeep.clone(),
    })
}

fn key_of_made(target: &TargetTable, options: &LoadOptions) -> Option<String> {
    let key = options.primary_key.as_ref().filter(|_| target.is_made)?;
    Some(key.statement(&target.relation.quoted()))
}

/// A warning about fields of rejected rows that are not loaded.
fn reasons_left_out(schema: &Schema, columns: &[TargetColumn], options: &LoadOptions) -> Option<String> {
    let is_there = |name: &String| columns.iter().any(|column| column.column.column.name == *name);
    let of_rejects = |field: &&FieldRef| is_of_rejects(field) && options.takes(field);
    let left_out = schema.fields().iter().filter(of_rejects).map(|field| field.name());
    let names: Vec<String> =
        left_out.filter(|name| !is_there(name)).map(|name| format!("{name:?}")).collect();
    let names = names.join(", ");
    (!names.is_empty())
        .then(|| format!("the data are rows that a load has rejected; what says why is left out: {names}"))
}

fn unknown_fields(schema: &Schema, columns: &[TargetColumn], options: &LoadOptions) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    for (index, field) in schema.fields().iter().enumerate().filter(|(_, field)| options.takes(field)) {
        let name = field.name();
        let names = || columns.iter().map(|column| column.column.column.name.as_str());
        let why = if schema.fields().iter().take(index).any(|before| before.name() == name) {
            Why::Twice
        } else if !names().any(|has| has == name) && !is_of_rejects(field) {
            // Suggest only names that the data does not have already.
            let free = names().filter(|has| schema.fields().iter().all(|field| field.name() != has));
            Why::Unknown { meant: meant(name, free) }
        } else {
            continue;
        };
        let arrow_type = Some(pgarrow_types::arrow_type(field.data_type()));
        troubles.push(Trouble { column: name.clone(), pg_type: None, arrow_type, why });
    }
    troubles
}

fn name_of(column: &TargetColumn) -> String {
    column.column.column.name.clone()
}

/// Plans how a field's values are sent to a column.
fn send(
    index: usize,
    field: &Field,
    column: &TargetColumn,
    options: &LoadOptions,
) -> std::result::Result<Sent, Why> {
    let resolved = &column.column;
    let (name, type_name) = (&resolved.column.name, &resolved.column.type_name);
    if !column.may_insert {
        return Err(Why::MayNotInsert);
    }
    let target = EncodeTarget {
        name: name.clone(),
        pg_type: resolved.column.pg_type.clone(),
        declared: resolved.declared.clone(),
        type_name: type_name.clone(),
    };
    let conversions = match is_made_of(field, type_name, options) {
        true => options.conversions.max(Conversions::Check),
        false => options.conversions,
    };
    let sent = |encoder, staged_form| Sent {
        name: name.clone(),
        type_name: type_name.clone(),
        index,
        encoder,
        staged_form,
        look: None,
        needs_zone: false,
        type_oid: resolved.column.type_oid,
    };
    if let Some(source) = options.opaque.get(name) {
        let here = ColumnType { oid: resolved.column.type_oid, modifier: resolved.column.type_modifier };
        let encoder = as_is(field).filter(|_| source.goes_into(here));
        // The column's type has changed since the export was planned.
        return Ok(sent(encoder.ok_or(Why::Changed)?, None));
    }
    if let PgType::Array(array) = &target.pg_type
        && array.is_vector
    {
        // An array of numbers has the same bytes, even when it is empty. NULLs and further dimensions are
        // refused, because the vector's text form cannot express them.
        if let Ok(encoder) = target.encoder(field, conversions) {
            let numbers =
                if array.element == PgType::Int2 { "pg_catalog.int2[]" } else { "pg_catalog.oid[]" };
            return Ok(sent(encoder, Some(StagedForm::Numbers(numbers))));
        }
    }
    let refusal = match target.encoder(field, conversions) {
        Ok(encoder) => return Ok(sent(encoder, None)),
        Err(refusal) => refusal,
    };
    let advice = match refusal.kind {
        RefusalKind::NeedsServer => match as_text(field) {
            Some((encoder, staged_form)) => {
                let is_exact = target.type_target(field, conversions).conversions < Conversions::Round;
                let by_element = matches!(staged_form, StagedForm::Texts);
                let look = Look::at(&target.pg_type, &target.declared, by_element).filter(|_| is_exact);
                let needs_zone = needs_zone(&target.pg_type, resolved.column.type_oid);
                return Ok(Sent { look, needs_zone, ..sent(encoder, Some(staged_form)) });
            }
            None => Message::default(),
        },
        RefusalKind::NeedsCheck => {
            message![" (", CONVERSIONS.to("check"), " allows it, and looks at every value)"]
        }
        RefusalKind::NeedsRound => message![" (", CONVERSIONS.to("round"), " allows it, and rounds)"],
        _ => Message::default(),
    };
    Err(Why::Type(advice.behind(refusal.to_string())))
}

/// Passes on the bytes that another server's send function made, for the same type's receive function.
fn as_is(field: &Field) -> Option<Box<dyn Encoder>> {
    let (pg_type, declared) = (PgType::Bytea, DeclaredType::new(oid::BYTEA, -1));
    let target = TypeTarget { pg_type: &pg_type, declared: &declared, conversions: Conversions::default() };
    make_encoder(field, target).ok()
}

/// Checks only those unknown types that are built from other types.
fn look_closer(session: &mut Session, sent: &mut [Sent]) -> Result<()> {
    let unknown =
        sent.iter().filter(|sent| sent.look == Some(Look::IfMadeOfOthers)).map(|sent| sent.type_oid);
    let made = made_of_others(session, &unknown.collect::<Vec<_>>())?;
    for sent in sent.iter_mut().filter(|sent| sent.look == Some(Look::IfMadeOfOthers)) {
        sent.look = match sent.staged_form {
            _ if !made.contains(&sent.type_oid) => None,
            Some(StagedForm::Texts) => Some(Look::PrintedElements),
            _ => Some(Look::Printed),
        };
    }
    Ok(())
}

/// The staging table, if a column is sent as text, rows may exist already, or several writers load.
fn staging(
    session: &mut Session,
    target: &TargetTable,
    sent: &[Sent],
    on_conflict: &str,
    options: &LoadOptions,
) -> Result<Option<Staging>> {
    let needs_zone = sent.iter().any(|sent| sent.needs_zone);
    // INSERT can cast without a staging table, unless the text is checked or parsed in a set zone.
    let is_direct = match target.method {
        LoadMethod::Insert => !needs_zone && sent.iter().all(|sent| sent.look.is_none()),
        LoadMethod::Copy | LoadMethod::Auto => sent.iter().all(|sent| sent.staged_form.is_none()),
    };
    if is_direct && on_conflict.is_empty() && target.stage.is_none() {
        return Ok(None);
    }
    let names = plain_types(session, sent)?;
    let (mut columns, mut values) = (Vec::new(), Vec::new());
    for (index, (sent, plain)) in sent.iter().zip(names).enumerate() {
        let name = quote_identifier(&sent.name);
        match sent.staged_form {
            Some(staged_form) => {
                let check = sent.look.map(|look| look.check(index, &sent.name, &sent.type_name, &plain));
                columns.push(format!("{name} {}{}", staged_form.type_name(), check.unwrap_or_default()));
                values.push(staged_form.expression(&name, &plain));
            }
            None => {
                columns.push(format!("{name} {}", sent.type_name));
                values.push(name);
            }
        }
    }
    let list: Vec<String> = sent.iter().map(|sent| quote_identifier(&sent.name)).collect();
    let columns = columns.join(", ");
    let (table, create) = match &target.stage {
        Some(stage) => (stage.quoted(), format!("CREATE UNLOGGED TABLE {} ({columns})", stage.quoted())),
        None => (STAGING.to_owned(), format!("CREATE TEMPORARY TABLE {STAGING} ({columns}) ON COMMIT DROP")),
    };
    let is_users = |(name, _): &(String, _)| name.trim().eq_ignore_ascii_case("TimeZone");
    let in_utc = needs_zone && !options.settings.iter().any(is_users);
    // As COPY does: given values for an identity column are kept.
    let insert = format!(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {table}{on_conflict}",
        target.relation.quoted(),
        list.join(", "),
        values.join(", ")
    );
    Ok(Some(Staging { table, create, in_utc, insert, skips: on_conflict.ends_with("DO NOTHING") }))
}

/// The types' names without modifiers: a cast to varchar(3) would truncate, but the assignment that follows
/// refuses.
fn plain_types(session: &mut Session, sent: &[Sent]) -> Result<Vec<String>> {
    let types: Vec<(u32, i32)> = sent.iter().map(|sent| (sent.type_oid, -1)).collect();
    Ok(format_types(session, &types)?)
}

/// The INSERT into the table, or into the staging table, which needs no casts.
fn inserts(session: &mut Session, table: &str, sent: &[Sent], is_staged: bool) -> Result<Inserts> {
    let mut columns = Vec::new();
    for (sent, plain) in sent.iter().zip(plain_types(session, sent)?) {
        let (type_oid, around) = match sent.staged_form {
            Some(staged_form) if is_staged => (0, (String::new(), format!("::{}", staged_form.type_name()))),
            Some(staged_form) => (0, staged_form.around(&plain)),
            None => (sent.type_oid, Default::default()),
        };
        columns.push(InsertColumn { name: quote_identifier(&sent.name), type_oid, around });
    }
    Ok(Inserts { table: table.to_owned(), columns })
}
