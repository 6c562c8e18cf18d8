//! How heaps store the requested columns: `HeapLayout`, or why their pages are not read.
//!
//! ```text
//!  columns ──▶ base types, labels of enums ──▶ a StoredForm each ─┐
//!                                                                 ├──▶ HeapLayout ──▶ attmissingval values
//!  relations ──▶ pg_class, pg_attribute ──────────────────────────┘
//! ```

use std::sync::Arc;

use pgarrow_protocol::{Row, Session};
use pgarrow_types::{HeapLayout, PgColumn, StoredAttribute, StoredForm};

use super::forms::forms;
use super::missing::add_missing;
use super::{BLOCK_BYTES, PageAccess};
use crate::error::CatalogError;
use crate::texts::{array_of, parsed, text};

/// `FirstNormalObjectId` of PostgreSQL's `src/include/access/transam.h`: lower OIDs are catalogs, whose rows
/// do not depend on the transaction's snapshot alone.
const FIRST_NORMAL_OID: u32 = 16_384;

/// A relation that the export may read by pages.
#[derive(Clone, Debug, PartialEq)]
pub struct HeapTable {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Current pages of its main fork.
    pub pages: u64,
    /// `relallvisible`: the number of all-visible pages when VACUUM or ANALYZE last counted.
    pub all_visible: u64,
    /// Rows per page, as VACUUM or ANALYZE last counted them (`reltuples`, `relpages`). `None` if neither
    /// has run, or there were no rows.
    pub rows_per_page: Option<f64>,
    /// Columns that are not dropped.
    pub n_columns: usize,
    /// How it stores the columns, or all reasons why its pages are not read.
    pub layout: Result<Arc<HeapLayout>, Vec<String>>,
}

impl HeapTable {
    /// The share of all-visible pages, as far as the catalog knows; 0 for a table that was never vacuumed.
    pub fn visible_share(&self) -> f64 {
        match self.pages {
            0 => 0.0,
            // Both are below 2^32.
            pages => (self.all_visible as f64 / pages as f64).min(1.0),
        }
    }
}

/// How each of these relations stores the columns: [`heap_tables_of_many`] for one group, in its order.
///
/// # Errors
///
/// Errors of the server.
pub fn heap_tables(
    session: &mut Session,
    access: Option<&PageAccess>,
    relations: &[u32],
    columns: &[PgColumn],
) -> Result<Vec<HeapTable>, CatalogError> {
    let group = HeapGroup { relations: relations.to_vec(), columns };
    Ok(heap_tables_of_many(session, access, &[group])?.pop().unwrap_or_default())
}

/// Relations with the same requested columns.
#[derive(Clone, Debug)]
pub struct HeapGroup<'a> {
    /// Their `pg_class.oid`.
    pub relations: Vec<u32>,
    /// The columns, matched by name.
    pub columns: &'a [PgColumn],
}

/// How the relations of each group store its columns, or why their pages are not read; in the order of the
/// groups and of their relations. Needs a few queries, regardless of the number of groups.
///
/// Call it in the keeper's transaction after its locks: the results hold as long as the locks do. Without
/// `access`, restrictions of the page source are not checked.
///
/// # Errors
///
/// Errors of the server.
pub fn heap_tables_of_many(
    session: &mut Session,
    access: Option<&PageAccess>,
    groups: &[HeapGroup<'_>],
) -> Result<Vec<Vec<HeapTable>>, CatalogError> {
    let relations: Vec<u32> = groups.iter().flat_map(|group| group.relations.iter().copied()).collect();
    if relations.is_empty() {
        return Ok(groups.iter().map(|_| Vec::new()).collect());
    }
    // Columns are queried once per group that has relations.
    let wanted = groups.iter().filter(|group| !group.relations.is_empty());
    let columns: Vec<&PgColumn> = wanted.flat_map(|group| group.columns).collect();
    let mut forms = forms(session, &columns)?.into_iter();
    let mut heaps = heaps(session, &relations)?.into_iter();
    let mut attributes = attributes(session, &relations)?.into_iter();
    let mut tables: Vec<(Heap, usize, Found)> = Vec::with_capacity(relations.len());
    for group in groups.iter().filter(|group| !group.relations.is_empty()) {
        let forms: Vec<Option<StoredForm>> = forms.by_ref().take(group.columns.len()).collect();
        let of_group = heaps.by_ref().zip(attributes.by_ref()).take(group.relations.len());
        tables.extend(of_group.map(|(mut heap, attributes)| {
            let found = Found::new(&attributes, group.columns, &forms);
            let mut why_not = heap.why_not(access);
            why_not.extend(found.why_not);
            let n_columns = attributes.iter().filter(|attribute| !attribute.is_dropped).count();
            (heap, n_columns, Found { why_not, ..found })
        }));
    }
    add_missing(session, &relations, tables.iter_mut().map(|(.., found)| found).collect())?;
    let mut tables = tables.into_iter().map(|(heap, n_columns, found)| HeapTable {
        oid: heap.oid,
        pages: heap.pages,
        all_visible: heap.all_visible,
        rows_per_page: heap.rows_per_page,
        n_columns,
        layout: match found.why_not.is_empty() {
            true => Ok(Arc::new(found.layout)),
            false => Err(found.why_not),
        },
    });
    Ok(groups.iter().map(|group| tables.by_ref().take(group.relations.len()).collect()).collect())
}

/// The part of `pg_class` that decides whether pages are read.
#[derive(Debug)]
struct Heap {
    oid: u32,
    pages: u64,
    all_visible: u64,
    rows_per_page: Option<f64>,
    /// Reasons against reading pages, for any page source.
    why_not: Vec<String>,
    /// Further reasons for the administrator's function.
    function_why_not: Vec<String>,
}

impl Heap {
    fn of(row: &Row) -> Result<Self, CatalogError> {
        let is = |index| row.text(index) == Some("t");
        let mut why_not = Vec::new();
        let mut unless = |is_so: bool, why: &str| {
            if !is_so {
                why_not.push(why.to_owned());
            }
        };
        let oid = parsed(row, 0)?;
        let is_there = row.text(1).is_some();
        unless(is_there, "it is not there any more");
        if is_there {
            let (kind, persistence) = (row.text(1), row.text(3));
            unless(matches!(kind, Some("r" | "m")), "it is neither a table nor a materialized view");
            unless(is(2), "it is not stored in a heap");
            unless(matches!(persistence, Some("p" | "u")), "it is a temporary table");
            unless(oid >= FIRST_NORMAL_OID, "it is one of the system's own tables");
            unless(is(4), "it has not been populated");
            unless(!is(5), "row security applies to it");
            unless(is(6), "the role may not read all of it");
        }
        let mut function_why_not = Vec::new();
        if is(7) {
            function_why_not
                .push("it has row security, and the installed function hands out none of it".to_owned());
        }
        if is_there && !is(8) {
            function_why_not.push("the session's user may not read all of it".to_owned());
        }
        let pages: u64 = parsed(row, 9)?;
        let rows_per_page = row.text(11).map(|_| parsed(row, 11)).transpose()?;
        Ok(Self { oid, pages, all_visible: parsed(row, 10)?, rows_per_page, why_not, function_why_not })
    }

    fn why_not(&mut self, access: Option<&PageAccess>) -> Vec<String> {
        let mut why_not = std::mem::take(&mut self.why_not);
        if access.is_some_and(|access| !access.has_unmarked()) {
            why_not.append(&mut self.function_why_not);
        }
        why_not
    }
}

pub(super) fn heaps_sql() -> String {
    // 2 is HEAP_TABLE_AM_OID of src/include/catalog/pg_am.dat, which is fixed. Pages that are not
    // all-visible are read by a statement that names the table, which needs the right to use the schema.
    format!(
        "SELECT r.oid::pg_catalog.text, c.relkind, c.relam OPERATOR(pg_catalog.=) 2::pg_catalog.oid, \
           c.relpersistence, c.relispopulated, pg_catalog.row_security_active(c.oid), \
           pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') \
             AND pg_catalog.has_table_privilege(c.oid, 'SELECT'), \
           c.relrowsecurity OR c.relforcerowsecurity, \
           pg_catalog.has_schema_privilege(SESSION_USER, c.relnamespace, 'USAGE') \
             AND pg_catalog.has_table_privilege(SESSION_USER, c.oid, 'SELECT'), \
           (CASE WHEN c.relkind OPERATOR(pg_catalog.=) ANY ('{{r,m}}'::pg_catalog.\"char\"[]) \
             THEN COALESCE(pg_catalog.pg_relation_size(c.oid), 0) ELSE 0 END \
             OPERATOR(pg_catalog./) {BLOCK_BYTES})::pg_catalog.text, \
           COALESCE(c.relallvisible, 0)::pg_catalog.text, \
           CASE WHEN c.reltuples OPERATOR(pg_catalog.>) 0::pg_catalog.float4 \
               AND c.relpages OPERATOR(pg_catalog.>) 0 \
             THEN (c.reltuples::pg_catalog.float8 OPERATOR(pg_catalog./) c.relpages::pg_catalog.float8) \
               ::pg_catalog.text END \
         FROM pg_catalog.unnest($1::pg_catalog.oid[]) WITH ORDINALITY AS r(oid, n) \
         LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) r.oid \
         ORDER BY r.n"
    )
}

fn heaps(session: &mut Session, relations: &[u32]) -> Result<Vec<Heap>, CatalogError> {
    let rows = session.query(&heaps_sql(), &[Some(&array_of(relations))])?;
    if rows.len() != relations.len() {
        return Err(CatalogError::Unexpected("another number of relations than was asked about"));
    }
    rows.iter().map(Heap::of).collect()
}

/// The part of `pg_attribute` that locates values.
#[derive(Debug)]
struct Attribute {
    name: String,
    is_dropped: bool,
    type_oid: u32,
    length: i16,
    align: u8,
    /// Computed on read, and not stored.
    is_virtual: bool,
    has_missing: bool,
}

/// For [`attributes`].
pub(super) const ATTRIBUTES: &str = "SELECT r.n::pg_catalog.text, a.attnum::pg_catalog.text, a.attname, \
                 a.attisdropped, \
                 a.atttypid::pg_catalog.text, a.attlen::pg_catalog.text, a.attalign, \
                 a.attgenerated OPERATOR(pg_catalog.=) 'v', a.atthasmissing \
               FROM pg_catalog.unnest($1::pg_catalog.oid[]) WITH ORDINALITY AS r(oid, n) \
               JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) r.oid \
               WHERE a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 \
               ORDER BY r.n, a.attnum";

/// All attributes of each relation in their order, including dropped ones.
fn attributes(session: &mut Session, relations: &[u32]) -> Result<Vec<Vec<Attribute>>, CatalogError> {
    let mut attributes: Vec<Vec<Attribute>> = relations.iter().map(|_| Vec::new()).collect();
    for row in &session.query(ATTRIBUTES, &[Some(&array_of(relations))])? {
        let number: usize = parsed(row, 0)?;
        let of_relation = number.checked_sub(1).and_then(|index| attributes.get_mut(index));
        let of_relation =
            of_relation.ok_or(CatalogError::Unexpected("a relation that was not asked about"))?;
        if parsed::<usize>(row, 1)? != of_relation.len() + 1 {
            return Err(CatalogError::Unexpected("a relation without one of its attributes"));
        }
        let is = |index| row.text(index) == Some("t");
        of_relation.push(Attribute {
            name: text(row, 2)?,
            is_dropped: is(3),
            type_oid: parsed(row, 4)?,
            length: parsed(row, 5)?,
            align: align(row.text(6))?,
            is_virtual: is(7),
            has_missing: is(8),
        });
    }
    Ok(attributes)
}

/// `typalign` in bytes, on servers that align doubles to 8: `src/include/access/tupmacs.h`.
pub(super) fn align(letter: Option<&str>) -> Result<u8, CatalogError> {
    match letter {
        Some("c") => Ok(1),
        Some("s") => Ok(2),
        Some("i") => Ok(4),
        Some("d") => Ok(8),
        _ => Err(CatalogError::Unexpected("an alignment that there is not")),
    }
}

/// A layout under construction.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) layout: HeapLayout,
    pub(super) why_not: Vec<String>,
    /// Indexes of requested attributes that old tuples may lack.
    pub(super) missing: Vec<usize>,
}

impl Found {
    fn new(attributes: &[Attribute], columns: &[PgColumn], forms: &[Option<StoredForm>]) -> Self {
        let stored = attributes.iter().map(|attribute| StoredAttribute {
            length: attribute.length,
            align: attribute.align,
            form: None,
            missing: None,
        });
        let layout = HeapLayout { attributes: stored.collect(), columns: Vec::with_capacity(columns.len()) };
        let mut found = Self { layout, why_not: Vec::new(), missing: Vec::new() };
        for (column, form) in columns.iter().zip(forms) {
            let is_it = |attribute: &Attribute| !attribute.is_dropped && attribute.name == column.name;
            let index = attributes.iter().position(is_it);
            let attribute = index.and_then(|index| Some((index, attributes.get(index)?)));
            if let Err(why) = found.add(attribute, column, form.as_ref()) {
                found.why_not.push(format!("column {:?} {why}", column.name));
            }
        }
        found
    }

    fn add(
        &mut self,
        attribute: Option<(usize, &Attribute)>,
        column: &PgColumn,
        form: Option<&StoredForm>,
    ) -> Result<(), String> {
        let (index, attribute) = attribute.ok_or("is not there")?;
        if attribute.is_virtual {
            return Err("is generated when it is read".to_owned());
        }
        if column.pg_type.server_cast().is_some() {
            return Err(format!("has the type {}, which is read as the server's text", column.type_name));
        }
        let form = form
            .ok_or_else(|| format!("has the type {}, whose stored form is not decoded", column.type_name))?;
        if attribute.type_oid != column.type_oid {
            return Err("has another type there".to_owned());
        }
        if (attribute.length, attribute.align) != form.length_and_align() {
            return Err(format!(
                "has the type {}, which is stored in another way than we know",
                column.type_name
            ));
        }
        if attribute.has_missing {
            self.missing.push(index);
        }
        if let Some(stored) = self.layout.attributes.get_mut(index) {
            stored.form = Some(form.clone());
        }
        self.layout.columns.push(index);
        Ok(())
    }
}
