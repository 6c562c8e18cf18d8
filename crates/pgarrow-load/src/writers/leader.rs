//! The leader: the one session that changes the target, in one transaction, which is open from the beginning to the end.

use std::fmt::Write;

use pgarrow_catalog::quote_identifier;
use pgarrow_protocol::Session;
use pgarrow_session::{AttachedSession, Error, ErrorKind, Result};

use crate::names::{Names, Proof};
use crate::options::LoadOptions;
use crate::replace::Replacement;
use crate::transaction::{ROLLBACK_TIME, roll_back, server_error};

use crate::hidden::{Hidden, NAME_BYTES_MAX};

#[derive(Debug)]
pub(crate) struct Leader {
    pub(crate) session: Session,
    pub(crate) hidden: Hidden,
    pub(crate) goal: Goal,
    /// What its statements name.
    pub(crate) names: Names,
    /// Schema and name of the target.
    pub(crate) target: String,
    pub(crate) options: LoadOptions,
    pub(crate) attached: Option<AttachedSession>,
}

/// What becomes of the hidden table at the end.
#[derive(Debug)]
pub(crate) enum Goal {
    /// It gets this name.
    Create(String),
    /// It takes another's place.
    Replace(Box<Replacement>),
    /// Its rows are inserted into the target, and it is dropped.
    Insert,
}

impl Leader {
    /// Makes the hidden table the target, or drops it if its rows are there by now: within the transaction.
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
                names.prove(session, Proof::Schemas, &self.target, &[])
            }
            Goal::Replace(replacement) => {
                session.execute(&hidden.unhide()).map_err(failed)?;
                replacement.finish(session)
            }
            Goal::Insert => session.execute(&format!("DROP TABLE {table}")).map_err(failed),
        }
    }

    /// Takes everything back: the target is as it was, and the hidden table gone. The error, with what else is to be known.
    pub(crate) fn take_back(mut self, error: Error) -> Error {
        // Who leaves meanwhile has to say that nobody knows what became of COMMIT: it is asked of the sessions that are
        // attached. This one is broken, and can do nothing that a cancel request would stop.
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
    /// What is left over, and why.
    pub(crate) fn undo(self) -> std::result::Result<(), String> {
        let Self { mut session, hidden, target, options, attached, .. } = self;
        // Who is cancelled has to clean up all the same.
        drop(attached);
        let config = session.config().clone().with_connect_timeout(Some(ROLLBACK_TIME));
        session.set_read_timeout(Some(ROLLBACK_TIME));
        let mut why = None;
        // A connection that is broken, or that a late cancel request has hit, is followed by another one.
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

    /// Ends it after its transaction.
    pub(crate) fn close(self) {
        drop(self.attached);
        self.session.close();
    }
}

/// Gives the constraints of NOT NULL the names that the server would have made of the table's own. They have names since
/// PostgreSQL 18.
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

/// What the server calls it: both names cut by turns, the longer one first; a number behind if that is taken.
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
