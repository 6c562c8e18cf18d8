//! `ServerFacts`: what sessions have learned about a server, so that the next export need not test it again.
//!
//! Facts are kept if they hold as long as version and role stay the same: that the server can COPY, and that
//! it exports snapshots. Only positive facts are kept. Negative ones are tested again, because an
//! administrator may have fixed the cause.
//!
//! Other facts can change under one version, so every transaction asks for them: whether the server is a
//! standby (it may be promoted), which extensions the database has (one may be created, and store rows
//! elsewhere), which process answers, and so whether a pooler is in between. Behind a pooler nothing is
//! kept, because the next transaction may go to another server.
//!
//! A right of a role can be revoked. Then the export that relied on it fails, and the next one tests again.

use pgarrow_protocol::Session;

/// The most roles to keep facts for: a program that reads as each of its many users tests again.
const ROLES_MAX: usize = 64;

/// Known facts about a server and a role. `false`: not known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ServerFacts {
    /// The server understood and allowed `COPY … TO STDOUT`.
    pub has_copy: bool,
    /// `pg_export_snapshot()` exported a snapshot.
    pub exports_snapshots: bool,
}

impl ServerFacts {
    /// What is known by either.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            has_copy: self.has_copy || other.has_copy,
            exports_snapshots: self.exports_snapshots || other.exports_snapshots,
        }
    }
}

/// The server version and role that facts belong to. A server with another version counts as another server.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Known {
    server_version: String,
    /// The role that sessions act as, if it is not their user.
    role: Option<String>,
}

/// Facts by server version and role.
#[derive(Debug, Default)]
pub(crate) struct FactsByRole(Vec<(Known, ServerFacts)>);

impl FactsByRole {
    pub(crate) fn get(&self, session: &Session, role: Option<&str>) -> ServerFacts {
        known(session, role).and_then(|known| self.find(&known)).unwrap_or_default()
    }

    pub(crate) fn set(&mut self, session: &Session, role: Option<&str>, facts: ServerFacts) {
        if let Some(known) = known(session, role) {
            self.insert(known, facts);
        }
    }

    fn find(&self, known: &Known) -> Option<ServerFacts> {
        self.0.iter().find(|(of, _)| of == known).map(|(_, facts)| *facts)
    }

    fn insert(&mut self, known: Known, facts: ServerFacts) {
        self.0.retain(|(of, _)| *of != known);
        if self.0.len() >= ROLES_MAX {
            self.0.remove(0);
        }
        self.0.push((known, facts));
    }
}

/// `None` if the server does not report its version.
fn known(session: &Session, role: Option<&str>) -> Option<Known> {
    Some(Known {
        server_version: session.parameter("server_version")?.to_owned(),
        role: role.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(version: &str, role: &str) -> Known {
        Known { server_version: version.to_owned(), role: Some(role.to_owned()) }
    }

    #[test]
    fn what_is_known_belongs_to_a_version_and_a_role() {
        let mut facts = FactsByRole::default();
        let both = ServerFacts { has_copy: true, exports_snapshots: true };
        facts.insert(role("15.1", "a"), ServerFacts { has_copy: true, ..ServerFacts::default() });
        facts.insert(role("15.1", "a"), both);
        assert_eq!(facts.find(&role("15.1", "a")), Some(both));
        assert_eq!(facts.find(&role("15.1", "b")), None);
        assert_eq!(facts.find(&role("15.2", "a")), None);
        assert_eq!(facts.0.len(), 1);
    }

    #[test]
    fn the_role_that_was_seen_first_is_forgotten() {
        let mut facts = FactsByRole::default();
        for n in 0..=ROLES_MAX {
            facts.insert(role("15.1", &n.to_string()), ServerFacts::default());
        }
        assert_eq!(facts.0.len(), ROLES_MAX);
        assert_eq!(facts.find(&role("15.1", "0")), None);
        assert!(facts.find(&role("15.1", "1")).is_some());
    }
}
