//! `ServerFacts`: what sessions of one server have shown, so that the next export need not try it again.
//!
//! Kept is what a server does as long as it has the same version and the same role asks: that it reads by
//! COPY, and that it hands out snapshots. Only what works is kept; what does not work is tried again, since
//! somebody may have seen to it.
//!
//! Not kept, but asked in every transaction, is what may change under one version: whether the server is a
//! standby (it may be promoted), which extensions the database has (one may be created, and move rows
//! elsewhere), which process answers, and so whether a pooler is in between. Nothing is kept behind a pooler,
//! whose next transaction may go to another server.
//!
//! What a role may do can be taken away. Then the export that relied on it fails, and the next one asks
//! again.

use pgarrow_protocol::Session;

/// Roles of which something is known, at most: a program that reads as each of its users asks again.
const ROLES_MAX: usize = 64;

/// What is known of a server and a role. `false`: nothing is known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ServerFacts {
    /// `COPY … TO STDOUT` was understood and allowed.
    pub has_copy: bool,
    /// `pg_export_snapshot()` has exported one.
    pub exports_snapshots: bool,
}

/// Of which server and role something is known. A server that was replaced by one of another version is
/// another one.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Known {
    server_version: String,
    /// Who its sessions act as, if not as their user.
    role: Option<String>,
}

/// What is known, by server and role.
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

/// `None` for a server that does not say which version it has: it may be any.
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
