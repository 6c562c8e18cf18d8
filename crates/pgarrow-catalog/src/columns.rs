//! The columns of a relation or of a query, with everything their decoders need.

use pgarrow_protocol::{ColumnDescription, Session};
use pgarrow_types::{DeclaredType, PgColumn, TypeOptions};

use crate::error::CatalogError;
use crate::relation::{Relation, RelationKind};
use crate::texts::{array_of, parsed, text};
use crate::types::{ResolvedType, TypeNote, TypeRef, dimensions, resolve_types};

/// Since PostgreSQL 18, `pg_constraint` shows whether NOT NULL was validated.
const NOT_NULL_CONSTRAINTS: u32 = 180_000;

/// A column, and what else the catalog says about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResolvedColumn {
    /// The column, with default options.
    pub column: PgColumn,
    /// The modifiers of its type and of the type's parts, with domains resolved.
    pub declared: DeclaredType,
    /// The declared type of an array's elements, even if the column's type is a domain.
    pub element_oid: Option<u32>,
    /// The element type as `format_type` prints it: the name in SQL on the session's search path.
    pub element_name: Option<String>,
    /// Why it is not read as its type.
    pub note: Option<TypeNote>,
}

/// The relation's columns in their order, without dropped ones, with generated ones.
///
/// A column is not nullable only if the catalog proves it for every row that a SELECT can return: NOT NULL
/// is declared in the table and in every child (before PostgreSQL 18 a child may drop it), is validated, and
/// none of these is a foreign table. A domain's NOT NULL proves nothing.
///
/// `only`: for the relation's own rows, regardless of the tables that inherit from it.
///
/// # Errors
///
/// Errors of the server.
pub fn table_columns(
    session: &mut Session,
    relation: &Relation,
    only: bool,
) -> Result<Vec<ResolvedColumn>, CatalogError> {
    let mut columns = table_columns_of_many(session, std::slice::from_ref(relation), only)?;
    Ok(columns.pop().unwrap_or_default())
}

/// The query of [`table_columns_of_many`].
pub(crate) fn columns_sql(server_version_num: u32, only: bool) -> String {
    let not_validated = if server_version_num >= NOT_NULL_CONSTRAINTS {
        "OR EXISTS (SELECT FROM pg_catalog.pg_constraint k \
           WHERE k.conrelid OPERATOR(pg_catalog.=) b.attrelid AND k.contype OPERATOR(pg_catalog.=) 'n' \
           AND k.conkey[1] OPERATOR(pg_catalog.=) b.attnum AND NOT k.convalidated)"
    } else {
        ""
    };
    // All rows of a partitioned table are in its partitions.
    let no_children = match only {
        true => {
            "JOIN pg_catalog.pg_class p ON p.oid OPERATOR(pg_catalog.=) t.oid \
               AND p.relkind OPERATOR(pg_catalog.=) 'p'"
        }
        false => "",
    };
    // `nullable` is computed once for all relations: per column, it would read the tree again each time.
    format!(
        "WITH RECURSIVE tree(root, oid) AS ( \
           SELECT r.oid, r.oid FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS r(oid) \
           UNION \
           SELECT t.root, i.inhrelid FROM tree t \
           JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) t.oid {no_children}), \
         nullable(root, attname) AS ( \
           SELECT DISTINCT t.root, b.attname FROM tree t \
           JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.oid \
           JOIN pg_catalog.pg_attribute b ON b.attrelid OPERATOR(pg_catalog.=) t.oid \
           WHERE b.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT b.attisdropped \
             AND (NOT b.attnotnull OR c.relkind OPERATOR(pg_catalog.=) 'f' {not_validated})) \
         SELECT r.n::pg_catalog.text, a.attname, a.atttypid::pg_catalog.text, a.atttypmod::pg_catalog.text, \
           pg_catalog.format_type(a.atttypid, a.atttypmod), x.attname IS NULL, d.description, \
           a.attnum::pg_catalog.text, a.attndims::pg_catalog.text \
         FROM pg_catalog.unnest($1::pg_catalog.oid[]) WITH ORDINALITY AS r(oid, n) \
         JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) r.oid \
         LEFT JOIN nullable x ON x.root OPERATOR(pg_catalog.=) a.attrelid \
           AND x.attname OPERATOR(pg_catalog.=) a.attname \
         LEFT JOIN pg_catalog.pg_description d ON d.objoid OPERATOR(pg_catalog.=) a.attrelid \
           AND d.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid \
           AND d.objsubid OPERATOR(pg_catalog.=) a.attnum::pg_catalog.int4 \
         WHERE a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped \
         ORDER BY r.n, a.attnum"
    )
}

/// The answer to the query for one relation whose OID is `$1`, if no other one says which of its columns may
/// be NULL; otherwise no rows. The server then neither reads nor plans a tree, which on a new connection
/// takes longer than the rest.
pub(crate) fn own_columns_sql(server_version_num: u32, only: bool) -> String {
    let validated = if server_version_num >= NOT_NULL_CONSTRAINTS {
        "AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k \
           WHERE k.conrelid OPERATOR(pg_catalog.=) a.attrelid AND k.contype OPERATOR(pg_catalog.=) 'n' \
           AND k.conkey[1] OPERATOR(pg_catalog.=) a.attnum AND NOT k.convalidated)"
    } else {
        ""
    };
    let childless = if only { "" } else { "AND NOT c.relhassubclass" };
    format!(
        "SELECT '1'::pg_catalog.text, a.attname, a.atttypid::pg_catalog.text, a.atttypmod::pg_catalog.text, \
           pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull {validated}, d.description, \
           a.attnum::pg_catalog.text, a.attndims::pg_catalog.text \
         FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid \
         LEFT JOIN pg_catalog.pg_description d ON d.objoid OPERATOR(pg_catalog.=) a.attrelid \
           AND d.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid \
           AND d.objsubid OPERATOR(pg_catalog.=) a.attnum::pg_catalog.int4 \
         WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid \
           AND c.relkind OPERATOR(pg_catalog.<>) ALL ('{{p,f}}'::pg_catalog.\"char\"[]) {childless} \
           AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped \
         ORDER BY a.attnum"
    )
}

/// The columns of each of these relations, as for [`table_columns`]. Needs a few queries, regardless of the
/// number of relations.
///
/// # Errors
///
/// Errors of the server.
pub fn table_columns_of_many(
    session: &mut Session,
    relations: &[Relation],
    only: bool,
) -> Result<Vec<Vec<ResolvedColumn>>, CatalogError> {
    if relations.is_empty() {
        return Ok(Vec::new());
    }
    let sql = columns_sql(session.server_version_num(), only);
    let oids: Vec<u32> = relations.iter().map(|relation| relation.oid).collect();
    let rows = session.query(&sql, &[Some(&array_of(&oids))])?;
    let types = rows
        .iter()
        .map(|row| {
            let dimensions = dimensions(row, 8)?;
            Ok(TypeRef { oid: parsed(row, 2)?, type_modifier: parsed(row, 3)?, dimensions })
        })
        .collect::<Result<Vec<_>, CatalogError>>()?;
    let resolved = resolve_types(session, &types)?;
    let mut columns = vec![Vec::new(); relations.len()];
    for ((row, ty), resolved) in rows.iter().zip(types).zip(resolved) {
        let number: usize = parsed(row, 0)?;
        let index = number.checked_sub(1).filter(|index| *index < relations.len());
        let index = index.ok_or(CatalogError::Unexpected("a relation that was not asked about"))?;
        let kind = relations.get(index).map(|relation| relation.kind);
        let may_prove = matches!(kind, Some(RelationKind::Table | RelationKind::PartitionedTable));
        if let Some(columns) = columns.get_mut(index) {
            let ResolvedType { pg_type, declared, element_oid, element_name, note } = resolved;
            let column = PgColumn {
                name: text(row, 1)?,
                pg_type,
                type_oid: ty.oid,
                type_modifier: ty.type_modifier,
                type_name: text(row, 4)?,
                nullable: !(may_prove && row.text(5) == Some("t")),
                comment: row.text(6).map(str::to_owned),
                number: parsed(row, 7)?,
                options: TypeOptions::default(),
            };
            columns.push(ResolvedColumn { column, declared, element_oid, element_name, note });
        }
    }
    Ok(columns)
}

/// The columns of a query, from its description. All are nullable, because nothing proves otherwise.
///
/// # Errors
///
/// Errors of the server.
pub fn query_columns(
    session: &mut Session,
    described: &[ColumnDescription],
) -> Result<Vec<ResolvedColumn>, CatalogError> {
    let types: Vec<TypeRef> = described
        .iter()
        .map(|column| TypeRef { oid: column.type_oid, type_modifier: column.type_modifier, dimensions: 0 })
        .collect();
    let resolved = resolve_types(session, &types)?;
    let names =
        format_types(session, &types.iter().map(|ty| (ty.oid, ty.type_modifier)).collect::<Vec<_>>())?;
    let columns = described.iter().zip(types).zip(resolved).zip(names).zip(1..);
    let columns = columns.map(|((((column, ty), resolved), type_name), number)| {
        let ResolvedType { pg_type, declared, element_oid, element_name, note } = resolved;
        let column = PgColumn {
            name: column.name.clone(),
            pg_type,
            type_oid: ty.oid,
            type_modifier: ty.type_modifier,
            type_name,
            nullable: true,
            comment: None,
            number,
            options: TypeOptions::default(),
        };
        ResolvedColumn { column, declared, element_oid, element_name, note }
    });
    Ok(columns.collect())
}

/// The query of [`format_types`].
pub(crate) const FORMAT_TYPES: &str = "SELECT pg_catalog.format_type(($1::pg_catalog.oid[])[i], ($2::pg_catalog.int4[])[i]) \
     FROM pg_catalog.generate_series(1, $3::pg_catalog.int4) AS s(i) ORDER BY i";

/// The parameters of that query.
pub(crate) fn format_types_parameters(types: &[(u32, i32)]) -> [String; 3] {
    let (oids, modifiers): (Vec<u32>, Vec<i32>) = types.iter().copied().unzip();
    [array_of(&oids), array_of(&modifiers), types.len().to_string()]
}

/// Each type, given by OID and type modifier, as `format_type` prints it: the name in SQL on the session's
/// search path.
///
/// # Errors
///
/// Errors of the server.
pub fn format_types(session: &mut Session, types: &[(u32, i32)]) -> Result<Vec<String>, CatalogError> {
    if types.is_empty() {
        return Ok(Vec::new());
    }
    let parameters = format_types_parameters(types);
    let rows =
        session.query(FORMAT_TYPES, &parameters.each_ref().map(|parameter| Some(parameter.as_str())))?;
    if rows.len() != types.len() {
        return Err(CatalogError::Unexpected("another number of types than was asked about"));
    }
    rows.iter().map(|row| text(row, 0)).collect()
}
