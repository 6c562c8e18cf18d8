//! `KnownTables`: what names meant in an earlier export. The next one need not look them up before it locks
//! them: it looks them up in its transaction, and begins anew if they mean something else by then.

use pgarrow_catalog::{Relation, ServerTraits};
use pgarrow_protocol::{ColumnDescription, Session};

/// The most entries.
const ENTRIES_MAX: usize = 1024;

/// The traits of a server, and the relations that some names meant, or that a query read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownTables {
    /// The server's traits.
    pub traits: ServerTraits,
    /// The relations, in the order of the names; or those that a query reads.
    pub relations: Vec<Relation>,
    /// The columns of a query.
    pub columns: Vec<ColumnDescription>,
}

/// What decides what names mean to a session of the pool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamesInUse {
    server_version: String,
    role: Option<String>,
    settings: Vec<(String, String)>,
    names: Vec<String>,
}

impl NamesInUse {
    /// `names` as they were typed, or the text of a query, in transactions of `session` with this role and
    /// these settings. `None` if the server does not report its version, or no names are known.
    pub fn new(
        session: &Session,
        role: Option<&str>,
        settings: &[(String, String)],
        names: Vec<String>,
    ) -> Option<Self> {
        let server_version = session.parameter("server_version")?.to_owned();
        let is_any = !names.is_empty();
        is_any.then(|| Self {
            server_version,
            role: role.map(str::to_owned),
            settings: settings.to_vec(),
            names,
        })
    }
}

/// What is known, by names.
#[derive(Debug, Default)]
pub(crate) struct TablesByNames(Vec<(NamesInUse, KnownTables)>);

impl TablesByNames {
    pub(crate) fn get(&self, names: &NamesInUse) -> Option<KnownTables> {
        self.0.iter().find(|(of, _)| of == names).map(|(_, tables)| tables.clone())
    }

    /// `None` forgets them.
    pub(crate) fn set(&mut self, names: NamesInUse, tables: Option<KnownTables>) {
        self.0.retain(|(of, _)| *of != names);
        if self.0.len() >= ENTRIES_MAX {
            self.0.remove(0);
        }
        self.0.extend(tables.map(|tables| (names, tables)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(role: Option<&str>, search_path: &str, name: &str) -> NamesInUse {
        NamesInUse {
            server_version: "15.1".to_owned(),
            role: role.map(str::to_owned),
            settings: vec![("search_path".to_owned(), search_path.to_owned())],
            names: vec![name.to_owned()],
        }
    }

    fn tables(product: &str) -> KnownTables {
        let traits = ServerTraits {
            is_plain_postgres: true,
            product: product.to_owned(),
            in_recovery: false,
            block_bytes: 8192,
            foreign_slicing_extension: None,
            restricts_relation_kinds: true,
            backend_pid: None,
        };
        KnownTables { traits, relations: Vec::new(), columns: Vec::new() }
    }

    #[test]
    fn a_name_belongs_to_a_role_and_a_search_path() {
        let mut known = TablesByNames::default();
        known.set(names(None, "a", "t"), Some(tables("1")));
        known.set(names(None, "a", "t"), Some(tables("2")));
        assert_eq!(known.get(&names(None, "a", "t")), Some(tables("2")));
        for other in [names(Some("r"), "a", "t"), names(None, "b", "t"), names(None, "a", "u")] {
            assert_eq!(known.get(&other), None);
        }
        known.set(names(None, "a", "t"), None);
        assert_eq!(known.get(&names(None, "a", "t")), None);
    }

    #[test]
    fn the_names_that_were_seen_first_are_forgotten() {
        let mut known = TablesByNames::default();
        for n in 0..=ENTRIES_MAX {
            known.set(names(None, "a", &n.to_string()), Some(tables("1")));
        }
        assert_eq!(known.0.len(), ENTRIES_MAX);
        assert_eq!(known.get(&names(None, "a", "0")), None);
        assert!(known.get(&names(None, "a", "1")).is_some());
    }
}
