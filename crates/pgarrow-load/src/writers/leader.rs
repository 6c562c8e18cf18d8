//! The leader: the only session that changes the target, in one transaction from the beginning to the end of
//! the load.

use std::fmt::Write;

use pgarrow_catalog::{NAME_BYTES_MAX, quote_identifier};
use pgarrow_protocol::Session;
use pgarrow_session::{AttachedSession, Error, ErrorKind, Result};

use crate::create::add_key;
use crate::names::{Names, Proof};
use crate::options::LoadOptions;
use crate::replace::Replacement;
use crate::transaction::{ROLLBACK_TIME, roll_back, server_error};

use crate::hidden::Hidden;

#[derive(Debug)]
pub(crate) struct Leader {
    pub(crate) session: Session,
    pub(crate) hidden: Hidden,
    pub(crate) goal: Goal,
    /// The tables that its statements name.
    pub(crate) names: Names,
    /// Schema and name of the target.
    pub(crate) target: String,
    pub(crate) options: LoadOptions,
    pub(crate) attached: Option<AttachedSession>,
}

/// What happens to the hidden table at the end.
#[derive(Debug)]
pub(crate) enum Goal {
    /// It gets this name.
    Create(String),
    /// It takes another table's place.
    Replace(Box<Replacement>),
    /// Its rows are inserted into the target, and it is dropped.
    Insert,
}

impl Leader {
    /// Within the transaction, makes the hidden table the target, or drops it if its rows are already in the
    /// target.
    pub(crate) fn settle(&mut self) -> Result<()> {
        let (hidden, session) = (&self.hidden, &mut self.session);
        let failed = |error| server_error(error, &self.target);
        let table = hidden.relation.quoted();
        match &self.goal {
            Goal::Create(name) => {
                let names = Names::of(session, &[&hidden.relation])?;
                session.execute(&hidden.unhide()).map_err(failed)?;
                rename_not_nulls(session, hidden, name).map_err(failed)?;
                let rename = format!("ALTER TABLE {table} RENAME TO {}", quote_identifier(name));
                session.execute(&rename).map_err(failed)?;
                if let Some(key) = &self.options.primary_key {
                    let schema = quote_identifier(&hidden.relation.schema);
                    let statement = key.statement(&format!("{schema}.{}", quote_identifier(name)));
                    add_key(session, &statement, &self.target)?;
                }
                names.prove(session, Proof::Schemas, &self.target, &[])
            }
            Goal::Replace(replacement) => {
                session.execute(&hidden.unhide()).map_err(failed)?;
                replacement.finish(session)
            }
            Goal::Insert => session.execute(&format!("DROP TABLE {table}")).map_err(failed),
        }
    }

    /// Rolls everything back: the target is as before, and the hidden table is dropped. Returns the error,
    /// with what is left over.
    pub(crate) fn take_back(mut self, error: Error) -> Error {
        // If the program stops meanwhile, it asks the attached sessions whether a COMMIT has an unknown
        // outcome, so this session stays attached. It is broken, so a cancel request cannot stop anything in
        // it.
        let _committing = match error.kind() {
            ErrorKind::OutcomeUnknown => self.attached.take(),
            _ => None,
        };
        match self.undo() {
            Ok(()) => error,
            Err(left) => error.advice(left),
        }
    }

    /// The same without an error.
    ///
    /// # Errors
    ///
    /// The table that is left over, and why.
    pub(crate) fn undo(self) -> std::result::Result<(), String> {
        let Self { mut session, hidden, target, options, attached, .. } = self;
        // The cleanup also runs after a cancel.
        drop(attached);
        let config = session.config().clone().with_connect_timeout(Some(ROLLBACK_TIME));
        session.set_read_timeout(Some(ROLLBACK_TIME));
        let mut why = None;
        // If the connection is broken, or a late cancel request hits it, a new connection takes over.
        if session.execute("ROLLBACK").is_ok() {
            match hidden.remove(&mut session, &options) {
                Ok(()) => {
                    session.close();
                    return Ok(());
                }
                Err(failed) => why = Some(failed),
            }
        }
        roll_back(session);
        let again = Session::connect(&config).map_err(Error::without_advice).and_then(|mut session| {
            session.set_read_timeout(Some(ROLLBACK_TIME));
            let removed = hidden.remove(&mut session, &options);
            roll_back(session);
            removed
        });
        let why = match (again, why) {
            (Ok(()), _) => return Ok(()),
            (Err(_), Some(why)) | (Err(why), None) => why,
        };
        Err(format!(
            "{} is left over ({why}): the next load into {target} with several writers removes it, or DROP TABLE",
            hidden.relation
        ))
    }

    /// Closes the session after its transaction.
    pub(crate) fn close(self) {
        drop(self.attached);
        self.session.close();
    }
}

/// Renames NOT NULL constraints as the server would have named them for the final table name. They have
/// names since PostgreSQL 18.
fn rename_not_nulls(
    session: &mut Session,
    hidden: &Hidden,
    name: &str,
) -> std::result::Result<(), pgarrow_protocol::Error> {
    let sql = "SELECT k.conname, a.attname FROM pg_catalog.pg_constraint k \
               JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) k.conrelid \
                 AND a.attnum OPERATOR(pg_catalog.=) ANY (k.conkey) \
               WHERE k.conrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
                 AND k.contype OPERATOR(pg_catalog.=) 'n' ORDER BY a.attnum";
    let relation = &hidden.relation;
    let rows = session.query(sql, &[Some(&relation.oid.to_string())])?;
    let mut taken: Vec<String> = Vec::new();
    let mut statements = String::new();
    for row in &rows {
        let (Some(from), Some(column)) = (row.text(0), row.text(1)) else { continue };
        let mut number = 0;
        let to = loop {
            let to = not_null_name(name, column, number);
            number += 1;
            if !taken.contains(&to) {
                break to;
            }
        };
        let _ = write!(
            statements,
            "ALTER TABLE {} RENAME CONSTRAINT {} TO {}; ",
            relation.quoted(),
            quote_identifier(from),
            quote_identifier(&to)
        );
        taken.push(to);
    }
    match statements.is_empty() {
        true => Ok(()),
        false => session.execute(&statements),
    }
}

/// The name that the server chooses: shortens the longer of both names first, and appends a number if the
/// name is taken.
///
/// Source: `makeObjectName` and `ChooseConstraintName` in PostgreSQL's `src/backend/commands/indexcmds.c` and
/// `src/backend/catalog/pg_constraint.c`.
fn not_null_name(table: &str, column: &str, number: usize) -> String {
    let label = if number == 0 { "not_null".to_owned() } else { format!("not_null{number}") };
    let room = NAME_BYTES_MAX.saturating_sub(label.len() + 2);
    let (mut of_table, mut of_column) = (table.len(), column.len());
    while of_table + of_column > room {
        match of_table > of_column {
            true => of_table -= 1,
            false => of_column -= 1,
        }
    }
    let cut = |name: &str, bytes| name.get(..name.floor_char_boundary(bytes)).unwrap_or_default().to_owned();
    format!("{}_{}_{label}", cut(table, of_table), cut(column, of_column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_the_server_makes_them() {
        assert_eq!(not_null_name("t", "x", 0), "t_x_not_null");
        assert_eq!(not_null_name("t", "x", 2), "t_x_not_null2");
        let long = not_null_name(&"a".repeat(63), "x", 0);
        assert_eq!(long, format!("{}_x_not_null", "a".repeat(52)));
        let both = not_null_name(&"a".repeat(63), &"b".repeat(63), 0);
        assert_eq!(both, format!("{}_{}_not_null", "a".repeat(27), "b".repeat(26)));
        assert!(not_null_name(&"ä".repeat(31), "x", 0).len() <= NAME_BYTES_MAX);
    }
}
