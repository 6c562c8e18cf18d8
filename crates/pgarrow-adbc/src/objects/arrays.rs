//! The tree of `get_objects` as one batch.

use std::sync::Arc;

use adbc_core::schemas::{
    COLUMN_SCHEMA, CONSTRAINT_SCHEMA, GET_OBJECTS_SCHEMA, OBJECTS_DB_SCHEMA_SCHEMA, TABLE_SCHEMA,
    USAGE_SCHEMA,
};
use arrow_array::{ArrayRef, BooleanArray, Int16Array, Int32Array, RecordBatch, new_null_array};
use arrow_schema::ArrowError;

use super::{Catalog, Column, Constraint, Schema, Table};
use crate::nest::{field, fields, lists, structs, texts};

type Result<T> = std::result::Result<T, ArrowError>;

/// `current`: the catalog of all columns that keys refer to.
pub(super) fn batch(current: &str, catalogs: &[Catalog]) -> Result<RecordBatch> {
    let schemas: Vec<&Schema> =
        catalogs.iter().flat_map(|catalog| catalog.schemas.iter().flatten()).collect();
    let lengths: Vec<_> = catalogs.iter().map(|catalog| catalog.schemas.as_ref().map(Vec::len)).collect();
    let schema = GET_OBJECTS_SCHEMA.clone();
    let names = texts(catalogs.iter().map(|catalog| Some(catalog.name.as_str())));
    let schemas = lists(schema.field(1).data_type(), &lengths, of_schemas(current, &schemas)?)?;
    RecordBatch::try_new(schema, vec![names, schemas])
}

fn of_schemas(current: &str, schemas: &[&Schema]) -> Result<ArrayRef> {
    let tables: Vec<&Table> = schemas.iter().flat_map(|schema| schema.tables.iter().flatten()).collect();
    let lengths: Vec<_> = schemas.iter().map(|schema| schema.tables.as_ref().map(Vec::len)).collect();
    let names = texts(schemas.iter().map(|schema| Some(schema.name.as_str())));
    let of = &OBJECTS_DB_SCHEMA_SCHEMA;
    let tables = lists(field(of, "db_schema_tables")?, &lengths, of_tables(current, &tables)?)?;
    structs(of, vec![names, tables])
}

fn of_tables(current: &str, tables: &[&Table]) -> Result<ArrayRef> {
    let inside = || tables.iter().map(|table| table.inside.as_ref());
    let columns: Vec<&Column> = inside().flatten().flat_map(|inside| &inside.columns).collect();
    let constraints: Vec<&Constraint> = inside().flatten().flat_map(|inside| &inside.constraints).collect();
    let n_columns: Vec<_> = inside().map(|inside| inside.map(|inside| inside.columns.len())).collect();
    let n_constraints: Vec<_> =
        inside().map(|inside| inside.map(|inside| inside.constraints.len())).collect();
    let of = &TABLE_SCHEMA;
    let columns = lists(field(of, "table_columns")?, &n_columns, of_columns(&columns)?)?;
    let constraints =
        lists(field(of, "table_constraints")?, &n_constraints, of_constraints(current, &constraints)?)?;
    let names = texts(tables.iter().map(|table| Some(table.name.as_str())));
    let kinds = texts(tables.iter().map(|table| Some(table.kind)));
    structs(of, vec![names, kinds, columns, constraints])
}

fn of_columns(columns: &[&Column]) -> Result<ArrayRef> {
    let numbers = |of: fn(&Column) -> Option<i32>| -> ArrayRef {
        Arc::new(columns.iter().map(|column| of(column)).collect::<Int32Array>())
    };
    let shorts = |of: fn(&Column) -> Option<i16>| -> ArrayRef {
        Arc::new(columns.iter().map(|column| of(column)).collect::<Int16Array>())
    };
    let flags = |of: fn(&Column) -> bool| -> ArrayRef {
        Arc::new(columns.iter().map(|column| Some(of(column))).collect::<BooleanArray>())
    };
    let of = &COLUMN_SCHEMA;
    let arrays = fields(of)?.iter().map(|field| match field.name().as_str() {
        "column_name" => texts(columns.iter().map(|column| Some(column.name.as_str()))),
        "ordinal_position" => numbers(|column| Some(column.number)),
        "remarks" => texts(columns.iter().map(|column| column.comment.as_deref())),
        "xdbc_type_name" => texts(columns.iter().map(|column| Some(column.type_name.as_str()))),
        "xdbc_column_size" => numbers(|column| column.size),
        "xdbc_decimal_digits" => shorts(|column| column.digits),
        "xdbc_num_prec_radix" => shorts(|column| column.radix),
        "xdbc_nullable" => shorts(|column| Some(column.is_nullable.into())),
        "xdbc_column_def" => texts(columns.iter().map(|column| column.default.as_deref())),
        "xdbc_is_nullable" => {
            texts(columns.iter().map(|column| Some(if column.is_nullable { "YES" } else { "NO" })))
        }
        "xdbc_is_autoincrement" => flags(|column| column.is_autoincrement),
        "xdbc_is_generatedcolumn" => flags(|column| column.is_generated),
        // Codes of JDBC and ODBC, which have no meaning of their own here.
        _ => new_null_array(field.data_type(), columns.len()),
    });
    let arrays = arrays.collect();
    structs(of, arrays)
}

fn of_constraints(current: &str, constraints: &[&Constraint]) -> Result<ArrayRef> {
    let of = &CONSTRAINT_SCHEMA;
    let lengths: Vec<_> = constraints.iter().map(|constraint| Some(constraint.columns.len())).collect();
    let columns =
        texts(constraints.iter().flat_map(|constraint| &constraint.columns).map(|name| Some(name.as_str())));
    let columns = lists(field(of, "constraint_column_names")?, &lengths, columns)?;
    let uses: Vec<_> = constraints.iter().flat_map(|constraint| constraint.uses.iter().flatten()).collect();
    let usage = structs(
        &USAGE_SCHEMA,
        vec![
            texts(uses.iter().map(|_| Some(current))),
            texts(uses.iter().map(|(schema, _, _)| Some(schema.as_str()))),
            texts(uses.iter().map(|(_, table, _)| Some(table.as_str()))),
            texts(uses.iter().map(|(_, _, column)| Some(column.as_str()))),
        ],
    )?;
    let lengths: Vec<_> =
        constraints.iter().map(|constraint| constraint.uses.as_ref().map(Vec::len)).collect();
    let usage = lists(field(of, "constraint_column_usage")?, &lengths, usage)?;
    let names = texts(constraints.iter().map(|constraint| Some(constraint.name.as_str())));
    let kinds = texts(constraints.iter().map(|constraint| Some(constraint.kind)));
    structs(of, vec![names, kinds, columns, usage])
}
