//! `KnownTables`: what names meant in an earlier export. The next one need not look them up before it locks
//! them: it looks them up in its transaction, and begins anew if they mean something else by then.

use pgarrow_catalog::{Relation, ServerTraits};
use pgarrow_protocol::{ColumnDescription, Session};

/// The most entries of tables.
const TABLES_MAX: usize = 1024;
/// The most entries of queries. Texts with values in them are never asked about again.
const QUERIES_MAX: usize = 256;

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
    query: Option<String>,
}

impl NamesInUse {
    /// `names` as they were typed, or the text of a `query`, in transactions of `session` with this role and
    /// these settings. `None` if the server does not report its version, or neither is known.
    pub fn new(
        session: &Session,
        role: Option<&str>,
        settings: &[(String, String)],
        names: Vec<String>,
        query: Option<String>,
    ) -> Option<Self> {
        let server_version = session.parameter("server_version")?.to_owned();
        let is_any = !names.is_empty() || query.is_some();
        is_any.then(|| Self {
            server_version,
            role: role.map(str::to_owned),
            settings: settings.to_vec(),
            names,
            query,
        })
    }
}

/// What is known, by names, and of queries.
#[derive(Debug, Default)]
pub(crate) struct TablesByNames {
    of_names: Vec<(NamesInUse, KnownTables)>,
    of_queries: Vec<(NamesInUse, KnownTables)>,
}

impl TablesByNames {
    pub(crate) fn get(&self, names: &NamesInUse) -> Option<KnownTables> {
        let known = if names.query.is_some() { &self.of_queries } else { &self.of_names };
        known.iter().find(|(of, _)| of == names).map(|(_, tables)| tables.clone())
    }

    /// `None` forgets them.
    pub(crate) fn set(&mut self, names: NamesInUse, tables: Option<KnownTables>) {
        let (known, entries_max) = match names.query {
            Some(_) => (&mut self.of_queries, QUERIES_MAX),
            None => (&mut self.of_names, TABLES_MAX),
        };
        known.retain(|(of, _)| *of != names);
        if known.len() >= entries_max {
            known.remove(0);
        }
        known.extend(tables.map(|tables| (names, tables)));
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
            query: None,
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
        for n in 0..=TABLES_MAX {
            known.set(names(None, "a", &n.to_string()), Some(tables("1")));
        }
        assert_eq!(known.of_names.len(), TABLES_MAX);
        assert_eq!(known.get(&names(None, "a", "0")), None);
        assert!(known.get(&names(None, "a", "1")).is_some());
        // Queries that nobody sends again used to push the tables out.
        let query =
            |n: usize| NamesInUse { names: Vec::new(), query: Some(n.to_string()), ..names(None, "a", "") };
        for n in 0..=TABLES_MAX {
            known.set(query(n), Some(tables("2")));
        }
        assert_eq!((known.of_names.len(), known.of_queries.len()), (TABLES_MAX, QUERIES_MAX));
        assert_eq!((known.get(&query(0)), known.get(&query(TABLES_MAX))), (None, Some(tables("2"))));
        assert_eq!(known.get(&names(None, "a", "1")), Some(tables("1")));
    }
}
