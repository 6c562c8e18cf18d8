//! `Savepoint`: a part of the caller's transaction, with its own settings.
//!
//! ```text
//!  caller: BEGIN … ─▶ SAVEPOINT, note settings, SET LOCAL … ─▶ work ─▶ reset settings, RELEASE ─▶ caller …
//!                                                                └ failed ─▶ ROLLBACK TO, RELEASE ─▶ caller
//! ```
//!
//! RELEASE alone would keep the settings for the rest of the transaction. ROLLBACK TO restores them itself.

use std::time::Duration;

use pgarrow_protocol::{Session, TransactionStatus};

use crate::error::{Error, ErrorKind, Result};
use crate::settings::TransactionSettings;

/// Parameters that are recorded besides those set here, because the work may set them later.
const MAY_BE_SET: [&str; 3] = ["lock_timeout", "TimeZone", "default_tablespace"];

/// The savepoint's name. A savepoint of the caller with the same name is visible again after the release.
const NAME: &str = "pgarrow_load";

/// A savepoint, and the settings before it.
#[derive(Debug)]
pub struct Savepoint {
    /// Name and value, in the order in which they are restored. `None`: the parameter had no value.
    before: Vec<(String, Option<String>)>,
}

impl Savepoint {
    /// Sets a savepoint in the open transaction, and then the settings. `beside`: our parameters for this
    /// kind of work, which the user may set, too. The caller's timeouts stay, unless `settings` has a lock
    /// timeout.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] if no transaction is open, if it has failed, is stricter than READ COMMITTED,
    /// or is read-only. Errors of the server. The transaction is then as before.
    pub fn begin(
        session: &mut Session,
        settings: &TransactionSettings<'_>,
        beside: &[(&str, &str)],
    ) -> Result<Self> {
        let refuse = |text: &str, advice: &str| Err(Error::new(ErrorKind::Options, text).advice(advice));
        match session.transaction_status() {
            TransactionStatus::InTransaction => {}
            TransactionStatus::Idle => return refuse("the connection has no open transaction", "begin one"),
            TransactionStatus::Failed => {
                let text = "the transaction of the connection has failed before";
                return refuse(text, "roll it back, as a whole or to a savepoint");
            }
        }
        let (set, names) = settings.within(beside)?;
        session.execute(&format!("SAVEPOINT {NAME}")).map_err(Error::without_advice)?;
        let begun = Self::note(session, names).and_then(|savepoint| {
            session.execute(set.trim_start_matches("; ")).map_err(Error::without_advice)?;
            Ok(savepoint)
        });
        begun.inspect_err(|_| Self::roll_back(session, ROLLBACK_TIME))
    }

    /// Checks the transaction, and records the parameters that will be set.
    fn note(session: &mut Session, mut names: Vec<String>) -> Result<Self> {
        let kind = ["transaction_isolation", "transaction_read_only"];
        names.extend(MAY_BE_SET.map(str::to_owned));
        // The role comes last: parameters that only this role may set must be restored first.
        names.retain(|name| !name.eq_ignore_ascii_case("role"));
        names.push("role".to_owned());
        let all: Vec<Option<&str>> =
            kind.into_iter().chain(names.iter().map(String::as_str)).map(Some).collect();
        let value = |index| format!("pg_catalog.current_setting(${index}::pg_catalog.text, true)");
        let values: Vec<String> = (1..=all.len()).map(value).collect();
        let rows = session.query(&format!("SELECT {}", values.join(", ")), &all);
        let rows = rows.map_err(Error::without_advice)?;
        let value = |index: usize| rows.first().and_then(|row| row.text(index));
        if !matches!(value(0), Some("read committed" | "read uncommitted")) {
            let text = format!("the transaction is {}", value(0).unwrap_or_default().to_uppercase());
            return Err(Error::new(ErrorKind::Options, text).advice(
                "a load needs READ COMMITTED: it reads the catalog when it has locked the table, and an older \
                 snapshot may show another table",
            ));
        }
        if value(1) == Some("on") {
            let text = "the transaction only reads";
            return Err(Error::new(ErrorKind::Options, text).advice("begin one that is READ WRITE"));
        }
        let before = names.into_iter().enumerate();
        let before = before.map(|(index, name)| (name, value(index + kind.len()).map(str::to_owned)));
        Ok(Self { before: before.collect() })
    }

    /// The caller's value of a parameter, if it was recorded.
    pub fn before(&self, name: &str) -> Option<&str> {
        self.before.iter().find(|(noted, _)| noted.eq_ignore_ascii_case(name))?.1.as_deref()
    }

    /// Makes the work part of the transaction, and restores its settings.
    ///
    /// # Errors
    ///
    /// Errors of the server. The caller must then roll back.
    pub fn release(&self, session: &mut Session) -> Result<()> {
        // Unchanged parameters are not set again, because the role may lack the right.
        let set_back = |index: usize| {
            let (name, value) = (2 * index + 1, 2 * index + 2);
            format!(
                "CASE WHEN coalesce(pg_catalog.current_setting(${name}::pg_catalog.text, true), '') \
                   OPERATOR(pg_catalog.<>) ${value}::pg_catalog.text \
                 THEN pg_catalog.set_config(${name}::pg_catalog.text, ${value}::pg_catalog.text, true) END"
            )
        };
        let columns: Vec<String> = (0..self.before.len()).map(set_back).collect();
        let values = self.before.iter();
        let values =
            values.flat_map(|(name, value)| [Some(name.as_str()), Some(value.as_deref().unwrap_or(""))]);
        let values: Vec<Option<&str>> = values.collect();
        session.query(&format!("SELECT {}", columns.join(", ")), &values).map_err(Error::without_advice)?;
        session.execute(&format!("RELEASE SAVEPOINT {NAME}")).map_err(Error::without_advice)
    }

    /// Rolls back to the savepoint, settings included. If that fails, the transaction has failed, and the
    /// next statement reports it.
    pub fn roll_back(session: &mut Session, within: Duration) {
        let read_timeout = session.read_timeout();
        session.set_read_timeout(Some(within));
        let sql = format!("ROLLBACK TO SAVEPOINT {NAME}; RELEASE SAVEPOINT {NAME}");
        let mut rolled_back = session.execute(&sql);
        // A late cancel request was meant for the work that is rolled back, so try again.
        if matches!(&rolled_back, Err(error) if error.sqlstate() == Some("57014")) {
            rolled_back = session.execute(&sql);
        }
        session.set_read_timeout(read_timeout);
        if let Err(error) = rolled_back {
            tracing::warn!(target: "pgarrow", "not rolled back to the savepoint: {error}");
        }
    }
}

/// How long the server may take to roll back the savepoint when setting it up has failed.
const ROLLBACK_TIME: Duration = Duration::from_secs(5);
