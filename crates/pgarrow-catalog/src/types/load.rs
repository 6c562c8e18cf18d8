//! The queries that load types and all their parts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pgarrow_protocol::{Row, Session};
use pgarrow_types::{EnumType, PgType, ServerTypes, oid};

use super::{AttributeRow, LEVELS_MAX, Shape, TypeRef, TypeRow, Types};
use crate::error::CatalogError;
use crate::name::quote_identifier;
use crate::texts::{array_of, parsed, text};

/// The first version with multiranges and `pg_range.rngmultitypid`.
const MULTIRANGES: u32 = 140_000;

/// The first version with `INTERVAL_NOBEGIN` and `INTERVAL_NOEND`: before, the same bits are a finite
/// interval.
const INFINITE_INTERVALS: u32 = 170_000;

/// Loads the parts of these types, level by level, and everything else needed to resolve them.
pub(super) fn load(session: &mut Session, types: &[TypeRef]) -> Result<Types, CatalogError> {
    let is_converted =
        session.parameter("server_encoding").is_some_and(|name| !matches!(name, "UTF8" | "SQL_ASCII"));
    let has_infinite_intervals = session.server_version_num() >= INFINITE_INTERVALS;
    let server = ServerTypes { has_infinite_intervals, ..ServerTypes::default() };
    let mut loaded = Types { is_converted, server, ..Types::default() };
    let mut seen: HashSet<TypeRef> = HashSet::new();
    let mut level: Vec<TypeRef> = types.to_vec();
    // Deeper types stay unknown, and types that contain them are read as text.
    for _ in 0..LEVELS_MAX {
        level.retain(|ty| seen.insert(*ty));
        if level.is_empty() {
            break;
        }
        loaded.add_rows(session, &level)?;
        loaded.add_attributes(session, &level)?;
        level = level.iter().flat_map(|ty| loaded.parts(*ty)).collect();
    }
    loaded.add_enums(session)?;
    loaded.add_casts(session)?;
    if seen.iter().any(|ty| ty.oid == oid::MONEY) {
        loaded.server.money_fraction_digits = money_fraction_digits(session)?;
    }
    loaded.add_crs(session, &seen)?;
    Ok(loaded)
}

impl Types {
    /// The direct parts of a type.
    fn parts(&self, ty: TypeRef) -> Vec<TypeRef> {
        let plain = |oid| TypeRef { oid, type_modifier: -1, dimensions: 0 };
        match self.rows.get(&ty.oid).map(|row| &row.shape) {
            Some(Shape::Domain(base)) => vec![*base],
            Some(Shape::Array(element)) => {
                vec![TypeRef { type_modifier: ty.type_modifier, ..plain(*element) }]
            }
            Some(Shape::Range(subtype) | Shape::Multirange(subtype)) => vec![plain(*subtype)],
            Some(Shape::Composite(relation)) => {
                self.attributes.get(relation).into_iter().flatten().map(|row| row.ty).collect()
            }
            _ => Vec::new(),
        }
    }

    fn add_rows(&mut self, session: &mut Session, level: &[TypeRef]) -> Result<(), CatalogError> {
        let is_unknown = |oid: &u32| {
            PgType::from_builtin_oid(*oid, -1, ServerTypes::default()).is_none()
                && !self.rows.contains_key(oid)
        };
        let oids = distinct(level.iter().map(|ty| ty.oid).filter(is_unknown));
        if oids.is_empty() {
            return Ok(());
        }
        let is_range_of = match session.server_version_num() >= MULTIRANGES {
            true => "t.oid OPERATOR(pg_catalog.=) ANY (ARRAY[r.rngtypid, r.rngmultitypid])",
            false => "t.oid OPERATOR(pg_catalog.=) r.rngtypid",
        };
        let sql = format!(
            "SELECT t.oid::pg_catalog.text, t.typtype, t.typbasetype::pg_catalog.text, \
               t.typtypmod::pg_catalog.text, t.typndims::pg_catalog.text, t.typelem::pg_catalog.text, \
               t.typrelid::pg_catalog.text, r.rngsubtype::pg_catalog.text, \
               pg_catalog.format_type(t.oid, NULL), l.lanname, p.prosrc, e.extname, \
               pg_catalog.format_type(t.typelem, NULL), f.internal, f.in_extension \
             FROM pg_catalog.pg_type t \
             LEFT JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.typsend::pg_catalog.oid \
             LEFT JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang \
             LEFT JOIN pg_catalog.pg_range r ON {is_range_of} \
             LEFT JOIN pg_catalog.pg_depend d \
               ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid \
               AND d.objid OPERATOR(pg_catalog.=) t.oid AND d.deptype OPERATOR(pg_catalog.=) 'e' \
             LEFT JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid \
             CROSS JOIN LATERAL ( \
               SELECT pg_catalog.string_agg( \
                   CASE WHEN fl.lanname OPERATOR(pg_catalog.=) 'internal' THEN fp.prosrc ELSE '' END, ' ' ORDER BY u.n \
                 ) AS internal, \
                 pg_catalog.bool_and(EXISTS ( \
                   SELECT FROM pg_catalog.pg_depend fd \
                   WHERE fd.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid \
                     AND fd.objid OPERATOR(pg_catalog.=) fp.oid AND fd.deptype OPERATOR(pg_catalog.=) 'e' \
                     AND fd.refobjid OPERATOR(pg_catalog.=) d.refobjid)) AS in_extension \
               FROM pg_catalog.unnest(ARRAY[t.typinput::pg_catalog.oid, t.typoutput::pg_catalog.oid, \
                 t.typreceive::pg_catalog.oid, t.typsend::pg_catalog.oid]) WITH ORDINALITY AS u(oid, n) \
               LEFT JOIN pg_catalog.pg_proc fp ON fp.oid OPERATOR(pg_catalog.=) u.oid \
               LEFT JOIN pg_catalog.pg_language fl ON fl.oid OPERATOR(pg_catalog.=) fp.prolang \
             ) AS f \
             WHERE t.oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[])"
        );
        for row in &session.query(&sql, &[Some(&array_of(&oids))])? {
            let element_name = row.text(12).unwrap_or_default().to_owned();
            let row_of_type = TypeRow { name: text(row, 8)?, element_name, shape: shape(row)? };
            self.rows.insert(parsed(row, 0)?, row_of_type);
        }
        Ok(())
    }

    fn add_attributes(&mut self, session: &mut Session, level: &[TypeRef]) -> Result<(), CatalogError> {
        let relation = |ty: &TypeRef| match self.rows.get(&ty.oid)?.shape {
            Shape::Composite(relation) if !self.attributes.contains_key(&relation) => Some(relation),
            _ => None,
        };
        let oids = distinct(level.iter().filter_map(relation));
        if oids.is_empty() {
            return Ok(());
        }
        let sql = "SELECT a.attrelid::pg_catalog.text, a.attname, a.atttypid::pg_catalog.text, \
                     a.atttypmod::pg_catalog.text, a.attndims::pg_catalog.text, \
                     pg_catalog.format_type(a.atttypid, a.atttypmod) \
                   FROM pg_catalog.pg_attribute a \
                   WHERE a.attrelid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) \
                     AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped \
                   ORDER BY a.attrelid, a.attnum";
        let rows = session.query(sql, &[Some(&array_of(&oids))])?;
        self.attributes.extend(oids.into_iter().map(|oid| (oid, Vec::new())));
        for row in &rows {
            let ty = TypeRef {
                oid: parsed(row, 2)?,
                type_modifier: parsed(row, 3)?,
                dimensions: dimensions(row, 4)?,
            };
            let attribute = AttributeRow { name: text(row, 1)?, ty, type_name: text(row, 5)? };
            self.attributes.entry(parsed(row, 0)?).or_default().push(attribute);
        }
        Ok(())
    }

    fn add_enums(&mut self, session: &mut Session) -> Result<(), CatalogError> {
        let enums = self.rows.iter().filter(|(_, row)| matches!(row.shape, Shape::Enum));
        let oids = distinct(enums.map(|(oid, _)| *oid));
        if oids.is_empty() {
            return Ok(());
        }
        let sql = "SELECT e.enumtypid::pg_catalog.text, e.enumlabel FROM pg_catalog.pg_enum e \
                   WHERE e.enumtypid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) \
                   ORDER BY e.enumtypid, e.enumsortorder";
        let rows = session.query(sql, &[Some(&array_of(&oids))])?;
        // An enum may have no labels at all.
        let mut labels: HashMap<u32, Vec<String>> = oids.into_iter().map(|oid| (oid, Vec::new())).collect();
        for row in &rows {
            labels.entry(parsed(row, 0)?).or_default().push(text(row, 1)?);
        }
        self.enums = labels.into_iter().map(|(oid, labels)| (oid, Arc::new(EnumType { labels }))).collect();
        Ok(())
    }

    /// Element types that become text by their own cast, and not as they are printed.
    ///
    /// Source: `find_coercion_pathway` in PostgreSQL's `src/backend/parser/parse_coerce.c`: a cast of an
    /// array is that of its elements, and one of a domain that of its base type.
    fn add_casts(&mut self, session: &mut Session) -> Result<(), CatalogError> {
        let elements = self.rows.values().filter_map(|row| match row.shape {
            Shape::Array(element) => Some(self.element_base(element)),
            _ => None,
        });
        let oids = distinct(elements);
        if oids.is_empty() {
            return Ok(());
        }
        let sql = "SELECT c.castsource::pg_catalog.text FROM pg_catalog.pg_cast c \
                   WHERE c.casttarget OPERATOR(pg_catalog.=) 'pg_catalog.text'::pg_catalog.regtype::pg_catalog.oid \
                     AND c.castmethod OPERATOR(pg_catalog.<>) 'i' \
                     AND c.castsource OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[])";
        for row in &session.query(sql, &[Some(&array_of(&oids))])? {
            self.casts.insert(parsed(row, 0)?);
        }
        Ok(())
    }

    /// The meaning of the geometries' SRIDs, as far as this role may read it.
    fn add_crs(&mut self, session: &mut Session, seen: &HashSet<TypeRef>) -> Result<(), CatalogError> {
        let srids = distinct(seen.iter().filter_map(|ty| self.srid(*ty)).filter(|srid| *srid != 0));
        if srids.is_empty() {
            return Ok(());
        }
        let sql = "SELECT n.nspname, c.relname FROM pg_catalog.pg_extension e \
                   JOIN pg_catalog.pg_depend d ON d.refobjid OPERATOR(pg_catalog.=) e.oid \
                     AND d.refclassid OPERATOR(pg_catalog.=) \
                       'pg_catalog.pg_extension'::pg_catalog.regclass::pg_catalog.oid \
                     AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid \
                     AND d.deptype OPERATOR(pg_catalog.=) 'e' \
                   JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) d.objid \
                   JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
                   WHERE e.extname OPERATOR(pg_catalog.=) 'postgis' \
                     AND c.relname OPERATOR(pg_catalog.=) 'spatial_ref_sys' \
                     AND c.relkind OPERATOR(pg_catalog.=) 'r' \
                     AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
                     AND pg_catalog.has_table_privilege(c.oid, 'SELECT') \
                     AND NOT pg_catalog.row_security_active(c.oid)";
        let rows = session.query(sql, &[])?;
        let Some(table) = rows.first() else {
            return Ok(());
        };
        let sql = format!(
            "SELECT srid::pg_catalog.text, auth_name, auth_srid::pg_catalog.text FROM {}.{} \
             WHERE srid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.int4[])",
            quote_identifier(&text(table, 0)?),
            quote_identifier(&text(table, 1)?),
        );
        for row in &session.query(&sql, &[Some(&array_of(&srids))])? {
            if let (Some(authority), Some(code)) = (row.text(1), row.text(2)) {
                self.crs.insert(parsed(row, 0)?, format!("{authority}:{code}"));
            }
        }
        Ok(())
    }
}

/// Input, output, receive and send functions of types whose binary form is that of arrays.
///
/// Source: `src/include/catalog/pg_type.dat`.
const ARRAYS: [&str; 3] = [
    "array_in array_out array_recv array_send",
    "int2vectorin int2vectorout int2vectorrecv int2vectorsend",
    "oidvectorin oidvectorout oidvectorrecv oidvectorsend",
];

/// The same functions of text types: citext uses those of text, under its own names.
const TEXTS: [&str; 3] = [
    "textin textout textrecv textsend",
    "varcharin varcharout varcharrecv varcharsend",
    "bpcharin bpcharout bpcharrecv bpcharsend",
];

/// The shape from the columns that `add_rows` selects.
fn shape(row: &Row) -> Result<Shape, CatalogError> {
    let element: u32 = parsed(row, 5)?;
    let subtype = || parsed(row, 7);
    let (language, send) = (row.text(9).unwrap_or_default(), row.text(10).unwrap_or_default());
    // All four functions define a value, not only the send function.
    let functions = row.text(13).unwrap_or_default();
    Ok(match row.text(1) {
        Some("d") => Shape::Domain(TypeRef {
            oid: parsed(row, 2)?,
            type_modifier: parsed(row, 3)?,
            dimensions: dimensions(row, 4)?,
        }),
        Some("c") => Shape::Composite(parsed(row, 6)?),
        Some("e") => Shape::Enum,
        Some("r") => Shape::Range(subtype()?),
        Some("m") => Shape::Multirange(subtype()?),
        // Only some types with elements have the binary form of arrays: a point has two elements, too.
        _ if element != 0 && ARRAYS.contains(&functions) => Shape::Array(element),
        Some("b") if TEXTS.contains(&functions) => Shape::Text,
        Some("b") if language == "c" => match row.text(11) {
            Some(extension) if row.text(14) == Some("t") => {
                Shape::OfExtension { extension: extension.to_owned(), symbol: send.to_owned() }
            }
            _ => Shape::Opaque,
        },
        _ => Shape::Opaque,
    })
}

/// Declared dimensions. The server does not enforce them, so an impossible number counts as none.
pub(crate) fn dimensions(row: &Row, index: usize) -> Result<u8, CatalogError> {
    let dimensions: i32 = parsed(row, index)?;
    // MAXDIM of PostgreSQL's src/include/utils/array.h.
    Ok(u8::try_from(dimensions).ok().filter(|dimensions| *dimensions <= 6).unwrap_or(0))
}

/// The fraction digits of the session's `lc_monetary`, which scale `money`.
fn money_fraction_digits(session: &mut Session) -> Result<u8, CatalogError> {
    let sql = "SELECT pg_catalog.scale((1::pg_catalog.int4)::pg_catalog.money::pg_catalog.numeric)::pg_catalog.text";
    let rows = session.query(sql, &[])?;
    let row = rows.first().ok_or(CatalogError::Unexpected("no row where one must be"))?;
    parsed(row, 0)
}

fn distinct<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}
