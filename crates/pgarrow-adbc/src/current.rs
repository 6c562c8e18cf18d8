//! Options of a connection that the server knows: its database and schema, isolation level, read only.

use adbc_core::constants;
use pgarrow_catalog::quote_identifier;
use pgarrow_protocol::{Session, TransactionStatus};

use crate::error::{Result, invalid_argument, invalid_state, not_found, not_implemented, of_wire};

/// One text of the server.
fn text(session: &mut Session, sql: &str) -> Result<Option<String>> {
    let rows = session.query(sql, &[]).map_err(of_wire)?;
    Ok(rows.first().and_then(|row| row.text(0)).map(str::to_owned))
}

pub(crate) fn catalog(session: &mut Session) -> Result<String> {
    Ok(text(session, "SELECT pg_catalog.current_database()")?.unwrap_or_default())
}

pub(crate) fn set_catalog(session: &mut Session, wanted: &str) -> Result<()> {
    let current = catalog(session)?;
    match current == wanted {
        true => Ok(()),
        false => Err(not_implemented(format!(
            "the connection is to {current:?}, and a session of PostgreSQL stays in its database: connect to {wanted:?}"
        ))),
    }
}

pub(crate) fn schema(session: &mut Session) -> Result<String> {
    text(session, "SELECT pg_catalog.current_schema()")?
        .ok_or_else(|| not_found("no schema of the search path exists"))
}

/// The schema alone is searched from now on, besides PostgreSQL's own.
pub(crate) fn set_schema(session: &mut Session, schema: &str) -> Result<()> {
    let sql = "SELECT n.oid::pg_catalog.text FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) $1";
    let rows = session.query(sql, &[Some(schema)]).map_err(of_wire)?;
    if rows.is_empty() {
        return Err(not_found(format!("there is no schema {schema:?}")));
    }
    session.execute(&format!("SET search_path TO {}", quote_identifier(schema))).map_err(of_wire)
}

pub(crate) fn is_read_only(session: &mut Session) -> Result<bool> {
    Ok(text(session, "SELECT pg_catalog.current_setting('default_transaction_read_only')")?.as_deref()
        == Some("on"))
}

pub(crate) fn set_read_only(session: &mut Session, is_read_only: bool) -> Result<()> {
    outside_of_transaction(session)?;
    let access = if is_read_only { "READ ONLY" } else { "READ WRITE" };
    session.execute(&format!("SET SESSION CHARACTERISTICS AS TRANSACTION {access}")).map_err(of_wire)
}

/// The isolation levels of ADBC, and PostgreSQL's for them. Its REPEATABLE READ is snapshot isolation.
///
/// Source: <https://www.postgresql.org/docs/current/transaction-iso.html>.
const LEVELS: [(&str, &str); 5] = [
    (constants::ADBC_OPTION_ISOLATION_LEVEL_READ_UNCOMMITTED, "read uncommitted"),
    (constants::ADBC_OPTION_ISOLATION_LEVEL_READ_COMMITTED, "read committed"),
    (constants::ADBC_OPTION_ISOLATION_LEVEL_REPEATABLE_READ, "repeatable read"),
    (constants::ADBC_OPTION_ISOLATION_LEVEL_SNAPSHOT, "repeatable read"),
    (constants::ADBC_OPTION_ISOLATION_LEVEL_SERIALIZABLE, "serializable"),
];

pub(crate) fn isolation(session: &mut Session) -> Result<String> {
    let level = text(session, "SELECT pg_catalog.current_setting('default_transaction_isolation')")?;
    let known = LEVELS.iter().find(|(_, name)| Some(*name) == level.as_deref());
    known.map(|(level, _)| (*level).to_owned()).ok_or_else(|| not_found("the isolation level is not known"))
}

pub(crate) fn set_isolation(session: &mut Session, level: &str) -> Result<()> {
    outside_of_transaction(session)?;
    if level == constants::ADBC_OPTION_ISOLATION_LEVEL_DEFAULT {
        return session.execute("RESET default_transaction_isolation").map_err(of_wire);
    }
    if level == constants::ADBC_OPTION_ISOLATION_LEVEL_LINEARIZABLE {
        return Err(not_implemented(
            "PostgreSQL has no linearizable transactions: serializable is its strictest",
        ));
    }
    let Some((_, name)) = LEVELS.iter().find(|(known, _)| *known == level) else {
        return Err(invalid_argument(format!("there is no isolation level {level:?}")));
    };
    session
        .execute(&format!("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {name}"))
        .map_err(of_wire)
}

/// A rollback would take the setting back, and the open transaction keeps what it has.
fn outside_of_transaction(session: &Session) -> Result<()> {
    match session.transaction_status() {
        TransactionStatus::Idle => Ok(()),
        TransactionStatus::InTransaction | TransactionStatus::Failed => {
            Err(invalid_state("a transaction is open: commit it, or roll it back, first"))
        }
    }
}
