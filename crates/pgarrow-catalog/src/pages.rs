//! Where this session gets pages of heaps from, and the queries for them.
//!
//! ```text
//!  superuser, extension pageinspect ──▶ get_raw_page ──────┐
//!                                                          ├──▶ PageAccess ──select──▶ SELECT of pages
//!  any role, function of an administrator ──▶ heap_pages ──┘
//! ```

mod ahead;
mod forms;
mod layout;
mod missing;

use pgarrow_protocol::{Row, Session};
use pgarrow_types::call::INSTALL_PAGES;
use pgarrow_types::{Message, message};

use crate::error::CatalogError;
use crate::name::quote_identifier;
use crate::relation::Relation;
use crate::server::ServerTraits;
use crate::texts::parsed;

pub use ahead::ask_about_pages;
pub use layout::{HeapGroup, HeapTable, heap_tables, heap_tables_of_many};

/// The first version whose pages are read: earlier ones cannot scan the remaining pages by ranges of `ctid`.
pub const OLDEST_BY_PAGES: u32 = 140_000;

/// The newest version whose pages and stored values are known here.
pub const NEWEST_KNOWN: u32 = 189_999;

/// Bytes of a page. Other page sizes have other limits, and are very rare.
pub(crate) const BLOCK_BYTES: u32 = 8192;

/// Bytes of a page's header: `SizeOfPageHeaderData` of PostgreSQL's `src/include/storage/bufpage.h`.
const HEADER_BYTES: u32 = 24;
/// The offset of the lower half of `pd_flags` on a little-endian server; same file.
const FLAGS_AT: u32 = 10;
/// `PD_ALL_VISIBLE`; same file.
const ALL_VISIBLE: u32 = 0x0004;

/// The offset of `pd_pagesize_version`; same file.
const LAYOUT_AT: u32 = 18;
/// Its value: 8192 bytes, with `PG_PAGE_LAYOUT_VERSION` 4 in the low byte, little-endian; same file.
const LAYOUT: [u32; 2] = [0x04, 0x20];

/// For [`of_build`]. With `old_snapshot_threshold`, VACUUM may mark a page all-visible that our snapshot sees
/// differently; it was removed in PostgreSQL 17.
const BUILD: &str = "SELECT pg_catalog.current_setting('old_snapshot_threshold', true), \
                 pg_catalog.has_function_privilege('pg_catalog.pg_control_init()', 'EXECUTE'), \
                 pg_catalog.current_setting('is_superuser')";

/// For [`of_build`], if the role may ask.
const ALIGNMENT: &str = "SELECT c.max_data_alignment::pg_catalog.text FROM pg_catalog.pg_control_init() AS c";

/// For [`inspect`]: only the extension's own function with these argument types, which exist since version
/// 1.9.
const INSPECT: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_extension e \
                   WHERE e.extname OPERATOR(pg_catalog.=) 'pageinspect'), \
                 (SELECT n.nspname FROM pg_catalog.pg_extension e \
                  JOIN pg_catalog.pg_depend d ON d.refobjid OPERATOR(pg_catalog.=) e.oid \
                    AND d.refclassid OPERATOR(pg_catalog.=) \
                      'pg_catalog.pg_extension'::pg_catalog.regclass::pg_catalog.oid \
                    AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid \
                    AND d.deptype OPERATOR(pg_catalog.=) 'e' \
                  JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.objid \
                  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace \
                  WHERE e.extname OPERATOR(pg_catalog.=) 'pageinspect' \
                    AND p.proname OPERATOR(pg_catalog.=) 'get_raw_page' \
                    AND p.proargtypes::pg_catalog.text OPERATOR(pg_catalog.=) '25 25 20' \
                    AND p.prorettype OPERATOR(pg_catalog.=) 17::pg_catalog.oid)";

/// For [`function`]: it is trusted only if a superuser owns it, and is not used in a superuser's session,
/// whose rights it would not need.
const FUNCTION: &str = "SELECT (SELECT r.rolsuper FROM pg_catalog.pg_roles r \
                  WHERE r.rolname OPERATOR(pg_catalog.=) SESSION_USER), \
                 f.prosecdef, f.rolsuper, f.is_usable, f.proretset \
               FROM (SELECT 1) AS one \
               LEFT JOIN (SELECT p.prosecdef, r.rolsuper, p.proretset, \
                   pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
                     AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE') AS is_usable \
                 FROM pg_catalog.pg_namespace n \
                 JOIN pg_catalog.pg_proc p ON p.pronamespace OPERATOR(pg_catalog.=) n.oid \
                 JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) p.proowner \
                 WHERE n.nspname OPERATOR(pg_catalog.=) 'pgarrow' \
                   AND (p.proname OPERATOR(pg_catalog.=) 'heap_pages' AND p.proretset \
                       AND p.proargtypes::pg_catalog.text OPERATOR(pg_catalog.=) '26 20 20' \
                     OR p.proname OPERATOR(pg_catalog.=) 'heap_page' AND NOT p.proretset \
                       AND p.proargtypes::pg_catalog.text OPERATOR(pg_catalog.=) '26 20') \
                   AND p.prorettype OPERATOR(pg_catalog.=) 17::pg_catalog.oid \
                   AND p.prokind OPERATOR(pg_catalog.=) 'f') AS f ON true \
               ORDER BY f.proretset DESC";

/// The function that returns pages to this session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PageSource {
    /// `get_raw_page` of the extension pageinspect, for a superuser.
    Inspect {
        /// The schema of the extension's function.
        schema: String,
    },
    /// `pgarrow.heap_pages`, installed by an administrator.
    Function,
    /// `pgarrow.heap_page`, its predecessor, which checks all rights again for each page.
    FunctionOfOnePage,
}

/// The most pages that one call of `pgarrow.heap_pages` is asked for. Measured: all of them stay in the
/// processor's cache until they are sent; with more, a page costs more.
const PAGES_OF_A_CALL: u64 = 16;

/// How this session can read pages of heaps.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PageAccess {
    /// The function that returns them.
    pub source: PageSource,
}

impl PageAccess {
    /// Whether the source also hands out pages that are not all-visible. The function does not: deleted rows
    /// and those of transactions that were rolled back are on them, and nobody else than a superuser may see
    /// these.
    pub fn has_unmarked(&self) -> bool {
        matches!(self.source, PageSource::Inspect { .. })
    }

    /// The SELECT of the pages `from..to` of a relation's heap, in their order: one column of type `bytea`,
    /// with the whole page if it is all-visible or if `wants_unmarked`, otherwise only its header.
    ///
    /// The arguments have exactly the function's types, so no other function of that name and schema can
    /// match.
    pub fn select(&self, relation: &Relation, from: u64, to: u64, wants_unmarked: bool) -> String {
        // A block number has 32 bits.
        let last = i128::from(to) - 1;
        let oid = relation.oid;
        let page = match &self.source {
            PageSource::Function => {
                return format!(
                    "SELECT pgarrow.heap_pages({oid}::pg_catalog.oid, b.block, \
                     least(b.block OPERATOR(pg_catalog.+) {}::pg_catalog.int8, ({last})::pg_catalog.int8)) \
                     FROM pg_catalog.generate_series({from}::pg_catalog.int8, ({last})::pg_catalog.int8, \
                     {PAGES_OF_A_CALL}::pg_catalog.int8) AS b(block)",
                    PAGES_OF_A_CALL - 1
                );
            }
            PageSource::FunctionOfOnePage => format!("pgarrow.heap_page({oid}::pg_catalog.oid, b.block)"),
            // It takes a name, so the statement looks up the relation's current name: a schema can be renamed
            // although the relation is locked.
            PageSource::Inspect { schema } => format!(
                "{}.get_raw_page((SELECT {oid}::pg_catalog.oid::pg_catalog.regclass::pg_catalog.text), \
                 'main'::pg_catalog.text, b.block)",
                quote_identifier(schema)
            ),
        };
        let blocks = format!(
            "FROM pg_catalog.generate_series({from}::pg_catalog.int8, ({last})::pg_catalog.int8) AS b(block)"
        );
        if wants_unmarked {
            return format!("SELECT {page} {blocks}");
        }
        // Without OFFSET, the page would be read once for each mention in the SELECT.
        format!(
            "SELECT CASE WHEN (pg_catalog.get_byte(p.page, {FLAGS_AT}) OPERATOR(pg_catalog.&) {ALL_VISIBLE}) \
             OPERATOR(pg_catalog.<>) 0 THEN p.page \
             ELSE pg_catalog.substring(p.page, 1, {HEADER_BYTES}) END \
             FROM (SELECT {page} AS page {blocks} OFFSET 0) AS p"
        )
    }

    /// The source in one word: `pageinspect` or `function`.
    pub fn as_str(&self) -> &'static str {
        match self.source {
            PageSource::Inspect { .. } => "pageinspect",
            PageSource::Function | PageSource::FunctionOfOnePage => "function",
        }
    }
}

/// The number of pages from which on a sequential scan of a heap uses a small ring of buffers, so that it
/// evicts nothing else from the server's cache: a quarter of `shared_buffers`.
///
/// Source: `initscan` in PostgreSQL's `src/backend/access/heap/heapam.c`.
///
/// # Errors
///
/// Errors of the server.
pub fn large_heap_pages(session: &mut Session) -> Result<u64, CatalogError> {
    let rows = session.query(&large_heap_sql(), &[])?;
    parsed(rows.first().ok_or(CatalogError::Unexpected("no row where one must be"))?, 0)
}

fn large_heap_sql() -> String {
    format!(
        "SELECT (pg_catalog.pg_size_bytes(pg_catalog.current_setting('shared_buffers')) \
         OPERATOR(pg_catalog./) (4 OPERATOR(pg_catalog.*) {BLOCK_BYTES}))::pg_catalog.text"
    )
}

/// How this role can read pages of heaps on this server, or all reasons why it cannot, in words.
///
/// Call it outside a transaction, or after a savepoint: a missing right aborts the transaction, whatever
/// this returns.
///
/// # Errors
///
/// Errors of the server.
pub fn page_access(
    session: &mut Session,
    traits: &ServerTraits,
) -> Result<Result<PageAccess, Vec<Message>>, CatalogError> {
    let mut why_not: Vec<Message> = of_server(session, traits).into_iter().map(Message::from).collect();
    if !traits.is_plain_postgres || session.server_version_num() < OLDEST_BY_PAGES {
        // Its catalogs may differ.
        return Ok(Err(why_not));
    }
    let (is_superuser, of_build) = of_build(session)?;
    why_not.extend(of_build.into_iter().map(Message::from));
    // Each branch reads only the catalogs that it needs, because hardened servers revoke rights on others.
    let source = match is_superuser {
        true => inspect(session)?,
        false => function(session)?,
    };
    match source {
        // The extension's schema may be there without its library.
        Ok(PageSource::Inspect { schema }) if why_not.is_empty() => match page_of_catalog(session, &schema) {
            Ok(None) => return Ok(Ok(PageAccess { source: PageSource::Inspect { schema } })),
            Ok(Some(why)) => why_not.push(why.into()),
            Err(error) if error.is_refusal() => {
                why_not.push(format!("the extension pageinspect hands out no page: {error}").into());
            }
            Err(error) => return Err(error),
        },
        Ok(source) if why_not.is_empty() => return Ok(Ok(PageAccess { source })),
        Ok(_) => {}
        Err(missing) => why_not.push(missing),
    }
    Ok(Err(why_not))
}

/// Reasons against reading pages that are known without a query.
fn of_server(session: &Session, traits: &ServerTraits) -> Vec<String> {
    let mut why_not = Vec::new();
    if !traits.is_plain_postgres {
        why_not.push(format!("{} is not plain PostgreSQL", traits.product));
    }
    if session.server_version_num() < OLDEST_BY_PAGES {
        why_not.push("the server is older than PostgreSQL 14".to_owned());
    }
    if let Some(extension) = &traits.foreign_slicing_extension {
        why_not.push(format!("tables of the extension {extension} keep rows elsewhere"));
    }
    if traits.in_recovery {
        why_not.push("the server is a standby, where pages do not say what a snapshot sees".to_owned());
    }
    if traits.block_bytes != BLOCK_BYTES {
        why_not.push(format!("the server's pages have {} bytes, not {BLOCK_BYTES}", traits.block_bytes));
    }
    match session.parameter("server_encoding") {
        Some("UTF8") => {}
        encoding => {
            why_not.push(format!("the database's encoding is {}, not UTF8", encoding.unwrap_or("unknown")));
        }
    }
    why_not
}

/// Whether the role is a superuser, and reasons against reading pages from the server's build and settings.
fn of_build(session: &mut Session) -> Result<(bool, Vec<String>), CatalogError> {
    let mut why_not = Vec::new();
    let rows = session.query(BUILD, &[])?;
    let row = rows.first().ok_or(CatalogError::Unexpected("no row where one must be"))?;
    let is_superuser = row.text(2) == Some("on");
    if let Some(threshold) = row.text(0).filter(|threshold| *threshold != "-1") {
        why_not.push(format!("old_snapshot_threshold is {threshold}, not -1"));
    }
    if row.text(1) != Some("t") {
        why_not.push("the role may not ask how the server was built (pg_control_init)".to_owned());
        return Ok((is_superuser, why_not));
    }
    match session.query(ALIGNMENT, &[])?.first().and_then(|row| row.text(0)) {
        Some("8") => {}
        alignment => {
            let alignment = alignment.unwrap_or("unknown");
            why_not.push(format!("the server aligns values to {alignment} bytes, not 8"));
        }
    }
    Ok((is_superuser, why_not))
}

/// The page source of a superuser, or what is missing.
fn inspect(session: &mut Session) -> Result<Result<PageSource, Message>, CatalogError> {
    let rows = session.query(INSPECT, &[])?;
    let row = rows.first().ok_or(CatalogError::Unexpected("no row where one must be"))?;
    let missing = match (row.text(1), row.text(0)) {
        (Some(schema), _) => return Ok(Ok(PageSource::Inspect { schema: schema.to_owned() })),
        (None, Some("t")) => {
            "the extension pageinspect is older than 1.9 (ALTER EXTENSION pageinspect UPDATE)"
        }
        (None, _) => "the extension pageinspect is not installed (CREATE EXTENSION pageinspect)",
    };
    Ok(Err(missing.into()))
}

fn page_of_catalog_sql(schema: &str) -> String {
    format!(
        "SELECT pg_catalog.length(p.page)::pg_catalog.text, \
           pg_catalog.get_byte(p.page, {LAYOUT_AT})::pg_catalog.text, \
           pg_catalog.get_byte(p.page, {LAYOUT_AT} OPERATOR(pg_catalog.+) 1)::pg_catalog.text \
         FROM (SELECT {}.get_raw_page('pg_catalog.pg_class'::pg_catalog.text, 'main'::pg_catalog.text, \
           0::pg_catalog.int8) AS page OFFSET 0) AS p",
        quote_identifier(schema)
    )
}

/// Reads a page that always exists. Returns why such pages cannot be used, if so.
fn page_of_catalog(session: &mut Session, schema: &str) -> Result<Option<String>, CatalogError> {
    let rows = session.query(&page_of_catalog_sql(schema), &[])?;
    let row = rows.first().ok_or(CatalogError::Unexpected("no row where one must be"))?;
    let bytes: u32 = parsed(row, 0)?;
    let layout = [parsed(row, 1)?, parsed(row, 2)?];
    Ok(match (bytes, layout) {
        (BLOCK_BYTES, LAYOUT) => None,
        (BLOCK_BYTES, [high, low]) if [low, high] == LAYOUT => {
            Some("the server is big-endian, and pages are as its memory is".to_owned())
        }
        (BLOCK_BYTES, _) => Some("the server's pages have another layout than version 4".to_owned()),
        (bytes, _) => Some(format!("pages come with {bytes} bytes, not {BLOCK_BYTES}")),
    })
}

/// Whether the function in a row of [`FUNCTION`] can be used.
fn may_use(row: &Row) -> bool {
    (1..=3).all(|column| row.text(column) == Some("t"))
}

/// Whether the administrator's function can be used, or what is missing.
fn function(session: &mut Session) -> Result<Result<PageSource, Message>, CatalogError> {
    let rows = session.query(FUNCTION, &[])?;
    // Of two that may be used, the newer one; otherwise the reason is that of the newer one.
    let row = rows.iter().find(|row| may_use(row)).or(rows.first());
    let row = row.ok_or(CatalogError::Unexpected("no row where one must be"))?;
    let (name, source) = match row.text(4) {
        Some("f") => ("heap_page", PageSource::FunctionOfOnePage),
        _ => ("heap_pages", PageSource::Function),
    };
    let missing = match (row.text(0), row.text(1), row.text(2), row.text(3)) {
        (Some("f"), Some("t"), Some("t"), Some("t")) => return Ok(Ok(source)),
        (Some("f"), None, ..) => {
            let text = "the role is no superuser, and the function pgarrow.heap_pages is not installed (";
            return Ok(Err(message![text, INSTALL_PAGES, ")"]));
        }
        (Some("f"), Some("t"), Some("t"), _) => {
            format!("the role may not execute the function pgarrow.{name}")
        }
        (Some("f"), Some("t"), ..) => {
            format!("the function pgarrow.{name} is not owned by a superuser, so it is not used")
        }
        (Some("f"), ..) => format!("the function pgarrow.{name} is not SECURITY DEFINER, so it is not used"),
        _ => format!(
            "the role is no superuser, but the session's user is one, and the function pgarrow.{name} is not for \
             superusers"
        ),
    };
    Ok(Err(missing.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relation::RelationKind;

    #[test]
    fn no_name_breaks_out_of_its_quotes() {
        let relation = Relation {
            oid: 16_400,
            schema: "it's \"s\"".to_owned(),
            name: "t\\".to_owned(),
            kind: RelationKind::Table,
        };
        let inspect = PageAccess { source: PageSource::Inspect { schema: "ex\"t".to_owned() } };
        let function = PageAccess { source: PageSource::Function };
        let before = PageAccess { source: PageSource::FunctionOfOnePage };
        for wants_unmarked in [false, true] {
            let select = inspect.select(&relation, 7, 9, wants_unmarked);
            assert!(select.contains("\"ex\"\"t\".get_raw_page("), "{select}");
            assert!(select.contains("(SELECT 16400::pg_catalog.oid::"), "{select}");
            assert_eq!(select.contains("CASE"), !wants_unmarked, "{select}");
            let select = function.select(&relation, 7, 9, wants_unmarked);
            assert!(select.contains("pgarrow.heap_pages(16400::pg_catalog.oid, b.block, "), "{select}");
            assert!(select.contains("generate_series(7::pg_catalog.int8, (8)::"), "{select}");
            let select = before.select(&relation, 7, 9, wants_unmarked);
            assert!(select.contains("pgarrow.heap_page(16400::pg_catalog.oid, b.block)"), "{select}");
        }
        assert!(inspect.has_unmarked() && !function.has_unmarked());
    }
}
