//! How heaps keep the columns that are wanted: `HeapLayout`, or why their pages are not read.
//!
//! ```text
//!  columns ──▶ base types, labels of enums ──▶ a StoredForm each ─┐
//!                                                                 ├──▶ HeapLayout ──▶ values of attmissingval
//!  relations ──▶ pg_class, pg_attribute ──────────────────────────┘
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use pgarrow_protocol::{Row, Session};
use pgarrow_types::{EnumLabels, HeapLayout, PgColumn, PgType, StoredAttribute, StoredForm, oid};

use super::{BLOCK_BYTES, PageAccess, PageSource};
use crate::error::CatalogError;
use crate::relation::{parsed, text};
use crate::types::array_of;

/// `FirstNormalObjectId` of PostgreSQL's `src/include/access/transam.h`: below are the catalogs, whose rows are not
/// read by the transaction's snapshot alone.
const FIRST_NORMAL_OID: u32 = 16_384;

/// A relation that somebody wants to read by pages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeapTable {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Pages of its main fork now.
    pub pages: u64,
    /// `relallvisible`: how many pages were all-visible when VACUUM or ANALYZE looked.
    pub all_visible: u64,
    /// How it keeps the columns, or every reason why its pages are not read.
    pub layout: Result<Arc<HeapLayout>, Vec<String>>,
}

impl HeapTable {
    /// The share of its pages that are all-visible, as far as the catalog knows; of a table that was never vacuumed 0.
    pub fn visible_share(&self) -> f64 {
        match self.pages {
            0 => 0.0,
            // Both are below 2^32.
            pages => (self.all_visible as f64 / pages as f64).min(1.0),
        }
    }
}

/// How each of these relations keeps the columns, which are found by name, or why its pages are not read. In the
/// order of `relations`. Some queries, however many relations there are.
///
/// In the keeper's transaction, after its locks: what is asked here holds as long as they do.
///
/// # Errors
///
/// The server's.
pub fn heap_tables(
    session: &mut Session,
    access: &PageAccess,
    relations: &[u32],
    columns: &[PgColumn],
) -> Result<Vec<HeapTable>, CatalogError> {
    if relations.is_empty() {
        return Ok(Vec::new());
    }
    let forms = forms(session, columns)?;
    let mut heaps = heaps(session, relations)?;
    let attributes = attributes(session, relations)?;
    let mut found: Vec<Found> = heaps
        .iter_mut()
        .zip(attributes)
        .map(|(heap, attributes)| {
            let mut found = Found::new(&attributes, columns, &forms);
            let mut why_not = heap.why_not(access);
            why_not.append(&mut found.why_not);
            Found { why_not, ..found }
        })
        .collect();
    add_missing(session, relations, &mut found)?;
    let tables = heaps.into_iter().zip(found).map(|(heap, found)| HeapTable {
        oid: heap.oid,
        pages: heap.pages,
        all_visible: heap.all_visible,
        layout: match found.why_not.is_empty() {
            true => Ok(Arc::new(found.layout)),
            false => Err(found.why_not),
        },
    });
    Ok(tables.collect())
}

/// `pg_class`, as much of it as decides whether pages are read.
#[derive(Debug)]
struct Heap {
    oid: u32,
    pages: u64,
    all_visible: u64,
    /// Why not, whoever hands out the pages.
    why_not: Vec<String>,
    /// What the function of an administrator refuses beside that.
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
            function_why_not.push(
                "it has row security, and the function pgarrow.heap_page hands out none of it".to_owned(),
            );
        }
        if is_there && !is(8) {
            function_why_not.push("the session's user may not read all of it".to_owned());
        }
        let pages: u64 = parsed(row, 9)?;
        Ok(Self { oid, pages, all_visible: parsed(row, 10)?, why_not, function_why_not })
    }

    fn why_not(&mut self, access: &PageAccess) -> Vec<String> {
        let mut why_not = std::mem::take(&mut self.why_not);
        if access.source == PageSource::Function {
            why_not.append(&mut self.function_why_not);
        }
        why_not
    }
}

fn heaps(session: &mut Session, relations: &[u32]) -> Result<Vec<Heap>, CatalogError> {
    // 2 is HEAP_TABLE_AM_OID of src/include/catalog/pg_am.dat, which cannot be changed. Pages that cannot be read as
    // such are named in a statement, which takes the right to use the schema.
    let sql = format!(
        "SELECT r.oid::pg_catalog.text, c.relkind, c.relam OPERATOR(pg_catalog.=) 2::pg_catalog.oid, \
           c.relpersistence, c.relispopulated, pg_catalog.row_security_active(c.oid), \
           pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') \
             AND pg_catalog.has_table_privilege(c.oid, 'SELECT'), \
           c.relrowsecurity, pg_catalog.has_table_privilege(SESSION_USER, c.oid, 'SELECT'), \
           (CASE WHEN c.relkind OPERATOR(pg_catalog.=) ANY ('{{r,m}}'::pg_catalog.\"char\"[]) \
             THEN COALESCE(pg_catalog.pg_relation_size(c.oid), 0) ELSE 0 END \
             OPERATOR(pg_catalog./) {BLOCK_BYTES})::pg_catalog.text, \
           COALESCE(c.relallvisible, 0)::pg_catalog.text \
         FROM pg_catalog.unnest($1::pg_catalog.oid[]) WITH ORDINALITY AS r(oid, n) \
         LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) r.oid \
         ORDER BY r.n"
    );
    let rows = session.query(&sql, &[Some(&array_of(relations))])?;
    if rows.len() != relations.len() {
        return Err(CatalogError::Unexpected("another number of relations than was asked about"));
    }
    rows.iter().map(Heap::of).collect()
}

/// `pg_attribute`, as much of it as says where values are.
#[derive(Debug)]
struct Attribute {
    name: String,
    is_dropped: bool,
    type_oid: u32,
    length: i16,
    align: u8,
    /// Made when it is read: it is not stored.
    is_virtual: bool,
    has_missing: bool,
}

/// Of each relation all attributes in their order, dropped ones included.
fn attributes(session: &mut Session, relations: &[u32]) -> Result<Vec<Vec<Attribute>>, CatalogError> {
    let sql = "SELECT r.n::pg_catalog.text, a.attnum::pg_catalog.text, a.attname, a.attisdropped, \
                 a.atttypid::pg_catalog.text, a.attlen::pg_catalog.text, a.attalign, \
                 a.attgenerated OPERATOR(pg_catalog.=) 'v', a.atthasmissing \
               FROM pg_catalog.unnest($1::pg_catalog.oid[]) WITH ORDINALITY AS r(oid, n) \
               JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) r.oid \
               WHERE a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 \
               ORDER BY r.n, a.attnum";
    let mut attributes: Vec<Vec<Attribute>> = relations.iter().map(|_| Vec::new()).collect();
    for row in &session.query(sql, &[Some(&array_of(relations))])? {
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

/// `typalign` in bytes, where doubles are aligned to 8: `src/include/access/tupmacs.h`.
fn align(letter: Option<&str>) -> Result<u8, CatalogError> {
    match letter {
        Some("c") => Ok(1),
        Some("s") => Ok(2),
        Some("i") => Ok(4),
        Some("d") => Ok(8),
        _ => Err(CatalogError::Unexpected("an alignment that there is not")),
    }
}

/// A layout on its way.
#[derive(Debug)]
struct Found {
    layout: HeapLayout,
    why_not: Vec<String>,
    /// Wanted attributes that tuples may be too old for, by their place.
    missing: Vec<usize>,
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

/// Adds what tuples that are older than an attribute have for it.
fn add_missing(session: &mut Session, relations: &[u32], found: &mut [Found]) -> Result<(), CatalogError> {
    let of_heap = |(relation, found): (usize, &Found)| -> Vec<(usize, usize)> {
        match found.why_not.is_empty() {
            true => found.missing.iter().map(|index| (relation, *index)).collect(),
            false => Vec::new(),
        }
    };
    let wanted: Vec<(usize, usize)> = found.iter().enumerate().flat_map(of_heap).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let oids: Vec<u32> =
        wanted.iter().filter_map(|(relation, _)| relations.get(*relation).copied()).collect();
    let numbers: Vec<usize> = wanted.iter().map(|(_, index)| index + 1).collect();
    // An array of one element, as COPY sends it: no type is printed and read again.
    let sql = "SELECT r.n::pg_catalog.text, \
                 pg_catalog.encode(pg_catalog.array_send(a.attmissingval), 'hex') \
               FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.oid[]), pg_catalog.unnest($2::pg_catalog.int2[])) \
                 WITH ORDINALITY AS r(oid, attnum, n) \
               JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) r.oid \
                 AND a.attnum OPERATOR(pg_catalog.=) r.attnum";
    for row in &session.query(sql, &[Some(&array_of(&oids)), Some(&array_of(&numbers))])? {
        let number: usize = parsed(row, 0)?;
        let place = number.checked_sub(1).and_then(|place| wanted.get(place));
        let (relation, index) =
            place.ok_or(CatalogError::Unexpected("an attribute that was not asked about"))?;
        let attribute = found.get_mut(*relation).and_then(|found| found.layout.attributes.get_mut(*index));
        if let (Some(attribute), Some(array)) = (attribute, row.text(1)) {
            let value = bytes(array).and_then(|array| only_element(&array));
            attribute.missing = value.ok_or(CatalogError::Unexpected("an attmissingval of another form"))?;
        }
    }
    Ok(())
}

/// Hexadecimal digits, two for each byte.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    match hex.as_bytes().as_chunks() {
        (pairs, []) => pairs.iter().map(byte).collect(),
        _ => None,
    }
}

/// The element of an array of one, as `array_send` writes it; `Some(None)` if it is NULL.
///
/// Source: `array_send` in PostgreSQL's `src/backend/utils/adt/arrayfuncs.c`: dimensions, flags, OID of the elements'
/// type, then length and lower bound of each dimension, then a length before each element.
fn only_element(array: &[u8]) -> Option<Option<Vec<u8>>> {
    const ONE: [u8; 4] = 1_i32.to_be_bytes();
    let (head, rest) = array.split_at_checked(20)?;
    if head.get(..4)? != ONE || head.get(12..16)? != ONE {
        return None;
    }
    let (length, element) = rest.split_at_checked(4)?;
    let length = i32::from_be_bytes(length.try_into().ok()?);
    match usize::try_from(length) {
        Ok(length) => (element.len() == length).then(|| Some(element.to_vec())),
        Err(_) => (length == -1 && element.is_empty()).then_some(None),
    }
}

/// How each column's values are kept; `None` if that is not known.
fn forms(session: &mut Session, columns: &[PgColumn]) -> Result<Vec<Option<StoredForm>>, CatalogError> {
    let bases = bases(session, columns)?;
    let labels = labels(session, columns, &bases)?;
    let form = |(column, base): (&PgColumn, Option<&Base>)| {
        let base = base.filter(|base| base.oid != oid::XML)?;
        let form = StoredForm::of(&column.pg_type, base.oid, &|oid| labels.get(&oid).cloned())?;
        // The column's own length and alignment are compared where the attribute is known.
        match &form {
            StoredForm::Array { element, .. } if element.length_and_align() != (base.length, base.align) => {
                None
            }
            _ => Some(form),
        }
    };
    Ok(columns.iter().zip(bases.iter()).map(|(column, base)| form((column, base.as_ref()))).collect())
}

/// What a type is, domains taken away; of an array, what its elements are.
#[derive(Clone, Copy, Debug)]
struct Base {
    oid: u32,
    length: i16,
    align: u8,
}

fn bases(session: &mut Session, columns: &[PgColumn]) -> Result<Vec<Option<Base>>, CatalogError> {
    // One array, one element: an array of domains over arrays ends at the second one.
    let sql = "WITH RECURSIVE walk(n, oid, depth, in_array) AS ( \
                 SELECT r.n, r.oid, 0, false \
                 FROM pg_catalog.unnest($1::pg_catalog.oid[]) WITH ORDINALITY AS r(oid, n) \
                 UNION ALL \
                 SELECT w.n, CASE WHEN s.is_domain THEN t.typbasetype ELSE t.typelem END, \
                   w.depth OPERATOR(pg_catalog.+) 1, w.in_array OR NOT s.is_domain \
                 FROM walk w \
                 JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) w.oid \
                 CROSS JOIN LATERAL (SELECT t.typtype OPERATOR(pg_catalog.=) 'd', \
                   t.typelem OPERATOR(pg_catalog.<>) 0::pg_catalog.oid \
                     AND t.typsend::pg_catalog.oid OPERATOR(pg_catalog.=) ANY (ARRAY[ \
                       'pg_catalog.array_send'::pg_catalog.regproc::pg_catalog.oid, \
                       'pg_catalog.int2vectorsend'::pg_catalog.regproc::pg_catalog.oid, \
                       'pg_catalog.oidvectorsend'::pg_catalog.regproc::pg_catalog.oid]) \
                 ) AS s(is_domain, is_array) \
                 WHERE s.is_domain OR (s.is_array AND NOT w.in_array)), \
               ended AS ( \
                 SELECT DISTINCT ON (w.n) w.n, w.oid FROM walk w ORDER BY w.n, w.depth DESC) \
               SELECT e.n::pg_catalog.text, t.oid::pg_catalog.text, t.typlen::pg_catalog.text, t.typalign \
               FROM ended e JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) e.oid";
    let oids: Vec<u32> = columns.iter().map(|column| column.type_oid).collect();
    let mut bases = vec![None; columns.len()];
    for row in &session.query(sql, &[Some(&array_of(&oids))])? {
        let number: usize = parsed(row, 0)?;
        let base = Base { oid: parsed(row, 1)?, length: parsed(row, 2)?, align: align(row.text(3))? };
        if let Some(of_column) = number.checked_sub(1).and_then(|index| bases.get_mut(index)) {
            *of_column = Some(base);
        }
    }
    Ok(bases)
}

/// The labels of the columns' enums, by the type's OID and the label's.
fn labels(
    session: &mut Session,
    columns: &[PgColumn],
    bases: &[Option<Base>],
) -> Result<HashMap<u32, EnumLabels>, CatalogError> {
    let is_enum = |pg_type: &PgType| match pg_type {
        PgType::Array(array) => matches!(array.element, PgType::Enum(_)),
        pg_type => matches!(pg_type, PgType::Enum(_)),
    };
    let of_enums = columns.iter().zip(bases).filter(|(column, _)| is_enum(&column.pg_type));
    let mut oids: Vec<u32> = of_enums.filter_map(|(_, base)| base.map(|base| base.oid)).collect();
    oids.sort_unstable();
    oids.dedup();
    if oids.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = "SELECT e.enumtypid::pg_catalog.text, e.oid::pg_catalog.text, e.enumlabel \
               FROM pg_catalog.pg_enum e \
               WHERE e.enumtypid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[])";
    // An enum may have no labels at all.
    let mut labels: HashMap<u32, BTreeMap<u32, String>> =
        oids.iter().map(|oid| (*oid, BTreeMap::new())).collect();
    for row in &session.query(sql, &[Some(&array_of(&oids))])? {
        labels.entry(parsed(row, 0)?).or_default().insert(parsed(row, 1)?, text(row, 2)?);
    }
    Ok(labels.into_iter().map(|(oid, labels)| (oid, Arc::new(labels))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An array of one dimension, without NULL, of int4.
    fn array(n_elements: i32, rest: &[u8]) -> Vec<u8> {
        let head = [1, 0, 23, n_elements, 1].map(i32::to_be_bytes).concat();
        [head.as_slice(), rest].concat()
    }

    #[test]
    fn an_element_is_found_whole_or_not_at_all() {
        assert_eq!(only_element(&array(1, &[0, 0, 0, 2, 7, 8])), Some(Some(vec![7, 8])));
        assert_eq!(only_element(&array(1, &[0, 0, 0, 0])), Some(Some(Vec::new())));
        assert_eq!(only_element(&array(1, &[0xff; 4])), Some(None));
        for (n_elements, rest) in [
            (2, &[0, 0, 0, 1, 7][..]),
            (1, &[0, 0, 0, 2, 7]),
            (1, &[0, 0, 0, 1, 7, 8]),
            (1, &[0xff; 5]),
            (1, &[0, 0]),
        ] {
            assert_eq!(only_element(&array(n_elements, rest)), None, "{n_elements} {rest:?}");
        }
        assert_eq!(only_element(&[0; 12]), None);
    }

    #[test]
    fn bytes_are_two_digits_each() {
        assert_eq!(bytes("00ff1A"), Some(vec![0, 255, 26]));
        assert_eq!(bytes(""), Some(Vec::new()));
        assert_eq!(bytes("001"), None);
        assert_eq!(bytes("zz"), None);
    }
}
