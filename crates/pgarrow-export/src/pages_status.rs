//! Whether tables can be read by pages of their heaps, as a plan would decide; for people and as JSON.

use pgarrow_catalog::{
    HeapTable, NEWEST_KNOWN, OLDEST_BY_PAGES, PageAccess, PageSource, Relation, RelationName, heap_tables,
    leaves, page_access, server_traits, table_columns,
};
use pgarrow_protocol::Session;
use pgarrow_session::Result;
use pgarrow_types::call::INSTALL_PAGES;
use pgarrow_types::{Message, PgColumn, message};
use serde::Serialize;

use crate::open::known;
use crate::report::notes::grouped;
use crate::source::Source;

/// What is possible for this role on this server, and why no more is. See
/// [`Source::pages_status`](crate::Source::pages_status).
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PagesStatus {
    /// Whether this role can read pages on this server at all.
    pub possible: bool,
    /// What hands out pages: `pageinspect`, or the installed `function`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Whether [`ReadMode::Auto`](crate::ReadMode::Auto) reads them, too. On servers that are newer than the
    /// known versions, it does not.
    pub automatic: bool,
    /// Every reason why pages are not possible, or not automatic.
    pub why_not: Vec<Message>,
    /// What would make pages cost the server less, if anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<Message>,
    /// The tables that were asked about.
    pub tables: Vec<TablePages>,
}

/// A table of a [`PagesStatus`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TablePages {
    /// `public.orders`.
    pub table: String,
    /// Whether it can be read by pages, with all columns; of a table with partitions or children, whether all
    /// of them can. Reasons that hold for every table are in [`PagesStatus::why_not`].
    pub possible: bool,
    /// Every reason why not.
    pub why_not: Vec<Message>,
    /// The heaps that it consists of: partitions and children.
    pub heaps: u64,
    /// The heaps that can be read by pages.
    pub heaps_possible: u64,
    /// The current number of pages of all its heaps.
    pub pages: u64,
    /// Pages that were all-visible at the last VACUUM or ANALYZE.
    pub all_visible: u64,
}

impl Source {
    /// Whether this role can read pages of heaps on this server ([`ReadMode::Pages`](crate::ReadMode::Pages))
    /// and of these tables, with every reason why not. Names mean the same as for [`table`](Self::table).
    /// Blocks.
    ///
    /// # Errors
    ///
    /// A name that cannot be read, or the server's.
    pub fn pages_status<S: AsRef<str>>(&self, tables: &[S]) -> Result<PagesStatus> {
        self.with_session(|session| pages_status(session, tables))
    }
}

/// Looks at server, role and tables. Runs outside of a transaction.
fn pages_status<S: AsRef<str>>(session: &mut Session, tables: &[S]) -> Result<PagesStatus> {
    let traits = server_traits(session)?;
    let (access, mut why_not) = match page_access(session, &traits) {
        Ok(Ok(access)) => (Some(access), Vec::new()),
        Ok(Err(why_not)) => (None, why_not),
        Err(error) if error.is_refusal() => {
            (None, vec![format!("the server does not say whether pages can be read: {error}").into()])
        }
        Err(error) => return Err(error.into()),
    };
    let is_known = session.server_version_num() <= NEWEST_KNOWN;
    if !is_known {
        let text = format!(
            "the server is newer than PostgreSQL {}, so its pages are read only if they are asked for",
            NEWEST_KNOWN / 10_000
        );
        why_not.push(text.into());
    }
    let mut of_tables = Vec::with_capacity(tables.len());
    for name in tables {
        let relation = known(session, &RelationName::parse(name.as_ref())?)?;
        of_tables.push(match tells_of_tables(traits.is_plain_postgres, session.server_version_num()) {
            true => of_table(session, access.as_ref(), &relation)?,
            false => TablePages::none(&relation, why_not.clone()),
        });
    }
    Ok(PagesStatus {
        possible: access.is_some(),
        source: access.as_ref().map(|access| access.as_str().to_owned()),
        automatic: access.is_some() && is_known,
        advice: access.as_ref().and_then(advice).into_iter().collect(),
        why_not,
        tables: of_tables,
    })
}

/// What would make pages cost the server less.
fn advice(access: &PageAccess) -> Option<Message> {
    match access.source {
        PageSource::FunctionOfOnePage => Some(message![
            "the installed function is that of an older version, which costs the server more: a superuser installs the \
             new one (",
            INSTALL_PAGES,
            "), and who was granted the old one has it"
        ]),
        PageSource::Function | PageSource::Inspect { .. } => None,
    }
}

/// Whether the server has the catalogs that say what is possible for a table.
fn tells_of_tables(is_plain_postgres: bool, version: u32) -> bool {
    is_plain_postgres && version >= OLDEST_BY_PAGES
}

fn of_table(session: &mut Session, access: Option<&PageAccess>, relation: &Relation) -> Result<TablePages> {
    let columns = table_columns(session, relation, false)?;
    let columns: Vec<PgColumn> = columns.into_iter().map(|column| column.column).collect();
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let leaves = leaves(session, relation, &names)?;
    if leaves.is_empty() {
        return Ok(TablePages::none(relation, vec!["it has no rows of its own".into()]));
    }
    let oids: Vec<u32> = leaves.iter().map(|leaf| leaf.relation.oid).collect();
    let heaps = heap_tables(session, access, &oids, &columns)?;
    let mut status = TablePages::none(relation, Vec::new());
    for (leaf, heap) in leaves.iter().zip(heaps) {
        let HeapTable { pages, all_visible, layout, .. } = heap;
        status.heaps += 1;
        status.pages = status.pages.saturating_add(pages);
        status.all_visible = status.all_visible.saturating_add(all_visible);
        match layout {
            Ok(_) => status.heaps_possible += 1,
            Err(why_not) if leaves.len() == 1 => {
                status.why_not.extend(why_not.into_iter().map(Message::from))
            }
            Err(why_not) => status.why_not.push(format!("{}: {}", leaf.relation, why_not.join("; ")).into()),
        }
    }
    status.possible = status.heaps_possible == status.heaps;
    Ok(status)
}

impl TablePages {
    /// [`why_not`](Self::why_not) for people: a reason that several partitions have is one line.
    pub fn why_not_text(&self) -> Vec<String> {
        let n_tables = usize::try_from(self.heaps).unwrap_or(usize::MAX);
        grouped(&self.why_not, n_tables, Some(&self.table)).iter().map(Message::to_string).collect()
    }

    fn none(relation: &Relation, why_not: Vec<Message>) -> Self {
        Self {
            table: relation.to_string(),
            possible: false,
            why_not,
            heaps: 0,
            heaps_possible: 0,
            pages: 0,
            all_visible: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::tells_of_tables;

    /// Formerly, servers before 14 were queried, and their errors did not help.
    #[test]
    fn tables_of_servers_that_are_too_old_or_none_are_not_asked_about() {
        let servers = [(true, 140_000), (true, 139_999), (true, 120_022), (false, 150_000)];
        assert_eq!(
            servers.map(|(plain, version)| tells_of_tables(plain, version)),
            [true, false, false, false]
        );
    }
}
