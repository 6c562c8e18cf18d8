//! Which server it is, and how far its transactions are.

use std::time::Duration;

use pgarrow_export::{Error, ErrorKind, ExportOptions, Result, Run, Source};

use crate::manifest::ManifestServer;

/// What is asked, each as one value: system, timeline, database, snapshot, seconds of the oldest transaction.
const QUESTIONS: [&str; 5] = [
    "SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()",
    // On a standby, the control file has the timeline of its last restart point, which may be an older one.
    "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() \
     THEN (SELECT GREATEST(timeline_id, (SELECT received_tli FROM pg_catalog.pg_stat_get_wal_receiver())) \
       FROM pg_catalog.pg_control_checkpoint())::pg_catalog.text \
     ELSE ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))\
     ::pg_catalog.bit(32)::pg_catalog.int4::pg_catalog.text END",
    "SELECT pg_catalog.current_database()::pg_catalog.text",
    "SELECT pg_catalog.txid_current_snapshot()::pg_catalog.text",
    // Prepared transactions are in no session.
    "SELECT pg_catalog.max(extract(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) since))\
     ::pg_catalog.float8::pg_catalog.text FROM ( \
       SELECT xact_start AS since FROM pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL \
         AND datname OPERATOR(pg_catalog.=) pg_catalog.current_database() \
       UNION ALL SELECT prepared FROM pg_catalog.pg_prepared_xacts \
         WHERE database OPERATOR(pg_catalog.=) pg_catalog.current_database()) AS open",
];

/// A server, as far as the numbers of its transactions depend on it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Identity {
    /// `pg_control_system().system_identifier`; `None` if the role may not ask.
    pub(crate) system: Option<String>,
    /// The timeline: another one after each promotion.
    pub(crate) timeline: Option<String>,
    pub(crate) database: Option<String>,
}

/// How far the transactions of a server are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transactions {
    /// The next one, with its epoch.
    pub(crate) next: u64,
    /// The oldest open one.
    pub(crate) oldest: u64,
    /// For how long the oldest one that has written something is open, as far as the role may see it.
    pub(crate) open_for: Option<Duration>,
}

/// In what a server is another one than that of an earlier run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Other {
    /// The cluster or the database.
    Database,
    /// It was promoted or recovered since.
    Timeline,
}

impl Identity {
    /// In what the server that a run has met is another one; `None` if it is this one.
    pub(crate) fn differs_from(&self, then: &ManifestServer) -> Option<Other> {
        let is_other_database = self.database.as_ref().is_some_and(|database| *database != then.database);
        if then.system_identifier != self.system || is_other_database {
            return Some(Other::Database);
        }
        (then.timeline != self.timeline).then_some(Other::Timeline)
    }

    /// Asks the server. What the role may not ask stays unknown.
    pub(crate) fn of(source: &Source, options: &ExportOptions) -> Result<(Self, Option<Transactions>)> {
        let mut answers = Vec::new();
        for answer in source.query_texts_with(QUESTIONS, options)? {
            answers.push(match answer {
                Ok(rows) => rows.into_iter().flatten().flatten().next(),
                // A right, a function or a view that there is not.
                Err(error)
                    if error.sqlstate().is_some_and(|state| state.starts_with("42") || state == "0A000") =>
                {
                    None
                }
                Err(error) => return Err(error),
            });
        }
        let mut answers = answers.into_iter();
        let mut next = || answers.next().flatten();
        let identity = Self { system: next(), timeline: next(), database: next() };
        let snapshot = next().unwrap_or_default();
        let seconds = next().and_then(|text| text.parse::<f64>().ok());
        let open_for = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let known = oldest_and_next(&snapshot);
        Ok((identity, known.map(|(oldest, next)| Transactions { next, oldest, open_for })))
    }

    /// Asks again under the run's snapshot: it must be the server that was asked before.
    ///
    /// # Errors
    ///
    /// It is another one, or it was promoted meanwhile.
    pub(crate) fn check(&self, run: &mut Run) -> Result<()> {
        let known = [&self.system, &self.timeline, &self.database];
        for (question, known) in QUESTIONS.iter().zip(known) {
            let Some(known) = known else { continue };
            let now = run.query_text(question)?.into_iter().flatten().flatten().next();
            if now.as_ref() != Some(known) {
                let text = "another server has answered than the one that was asked first, or it was promoted meanwhile; \
                            start the run again";
                return Err(Error::new(ErrorKind::Server, text));
            }
        }
        Ok(())
    }
}

/// Of `xmin:xmax:xip,…`: the oldest open transaction, and the next one.
pub(crate) fn oldest_and_next(snapshot: &str) -> Option<(u64, u64)> {
    let mut parts = snapshot.splitn(3, ':');
    let (oldest, next) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let mut open = parts.next()?.split(',').filter(|text| !text.is_empty());
    open.all(|text| text.parse::<u64>().is_ok()).then_some((oldest, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_as_the_server_prints_them() {
        for (text, expected) in [
            ("100:200:", Some((100, 200))),
            ("100:200:100,150", Some((100, 200))),
            ("4294967396:4294967400:4294967396", Some((4_294_967_396, 4_294_967_400))),
            ("100:200", None),
            ("100:x:", None),
            ("", None),
            ("100:200:1,2:3", None),
        ] {
            assert_eq!(oldest_and_next(text), expected, "{text}");
        }
    }
}
