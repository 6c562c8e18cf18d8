//! Creates tables and columns for a load, with types from the metadata or from the Arrow types.

use std::fmt::Write;

use arrow_schema::{DataType, Field, FieldRef, Schema, TimeUnit};
use pgarrow_catalog::{
    NAME_BYTES_MAX, NamedType, Relation, RelationName, quote_identifier, quote_literal, relation, resolve,
    types_by_names,
};
use pgarrow_protocol::Session;
use pgarrow_session::{Error, ErrorKind, Result, without_read_timeout};
use pgarrow_types::option::{CREATE_TYPES, TYPES_FROM};
use pgarrow_types::{Hint, message};

use crate::names::{is_alone_held, opened, replaced};
use crate::options::{LoadOptions, TypesFrom};
use crate::transaction::server_error;

/// Creates the table: each field becomes a column with the field's type, NOT NULL and comment.
pub(crate) fn create(
    session: &mut Session,
    name: &RelationName,
    schema: &Schema,
    options: &LoadOptions,
    warnings: &mut Vec<String>,
) -> Result<Relation> {
    check_name(&name.name)?;
    if let Some(types) = &options.types {
        types.make(session)?;
    }
    let fields: Vec<FieldRef> =
        schema.fields().iter().filter(|field| options.takes(field)).cloned().collect();
    let columns = definitions(session, &fields, options, true, warnings)?;
    if let Some(key) = &options.primary_key {
        key.check(&fields, name)?;
    }
    let table = name.quoted();
    // A transaction of the caller may already have opened tables of this name in other schemas.
    let before: Vec<u32> = opened(session, &name.name)?.into_iter().map(|(oid, _)| oid).collect();
    let sql = format!("CREATE TABLE {table} ({})", columns.join(", "));
    session.execute(&sql).map_err(|error| server_error(error, &table))?;
    comment(session, &table, &fields)?;
    let made = resolve(session, name)?;
    // Without a schema, the name may resolve to a table in an earlier schema than the one where CREATE puts
    // tables.
    let made = relation(session, made.oid)?.ok_or_else(|| {
        Error::new(ErrorKind::Server, format!("{table} was made, and is not there; name its schema"))
    })?;
    match is_alone_held(session, &made, &before)? {
        true => Ok(made),
        // The load would fill a table that existed before.
        false => Err(replaced(&made, "made")),
    }
}

/// Adds these columns to the table. All may be NULL, because existing rows have no value for them.
pub(crate) fn add_columns(
    session: &mut Session,
    target: &Relation,
    fields: &[FieldRef],
    options: &LoadOptions,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let columns = definitions(session, fields, options, false, warnings)?;
    let actions: Vec<String> = columns.iter().map(|column| format!("ADD COLUMN {column}")).collect();
    let table = target.quoted();
    let sql = format!("ALTER TABLE {table} {}", actions.join(", "));
    session.execute(&sql).map_err(|error| server_error(error, &target.to_string()))?;
    comment(session, &table, fields)
}

/// Runs the statement of a key, which takes as long as sorting all rows.
pub(crate) fn add_key(session: &mut Session, statement: &str, target: &str) -> Result<()> {
    without_read_timeout(session, |session| session.execute(statement)).map_err(|error| {
        match error.sqlstate() {
            // Advice about the table's own name would mislead.
            Some("42P07") => {
                let advice =
                    "the target's schema has a relation of that name: rename it, or load into another schema";
                Error::without_advice(error).context(target).advice("nothing was loaded").advice(advice)
            }
            _ => server_error(error, target),
        }
    })
}

/// `"name" type NOT NULL`, for each field. What types the metadata means is asked about all of them at once.
fn definitions(
    session: &mut Session,
    fields: &[FieldRef],
    options: &LoadOptions,
    may_refuse_null: bool,
    warnings: &mut Vec<String>,
) -> Result<Vec<String>> {
    fields.iter().try_for_each(|field| check_name(field.name()))?;
    let named: Vec<Option<(String, i32)>> = fields.iter().map(|field| of_metadata(field, options)).collect();
    let wanted: Vec<(String, i32)> = named.iter().flatten().cloned().collect();
    let mut found = types_by_names(session, &wanted)?.into_iter();
    let mut columns = Vec::with_capacity(fields.len());
    for (field, named) in fields.iter().zip(named) {
        let printed = match named {
            Some(_) => Some(printed(field, found.next().flatten())?),
            None => None,
        };
        columns.push(definition(field, printed, may_refuse_null, warnings)?);
    }
    Ok(columns)
}

/// `printed`: the type that the metadata names.
fn definition(
    field: &Field,
    printed: Option<String>,
    may_refuse_null: bool,
    warnings: &mut Vec<String>,
) -> Result<String> {
    let name = quote_identifier(field.name());
    let type_name = match printed {
        Some(type_name) => type_name,
        None => {
            let type_name = of_arrow(field).map_err(|why| {
                let text = format!("column {:?} cannot be made: {why}", field.name());
                Error::new(ErrorKind::Options, text).advice("make the table first, and load into it")
            })?;
            let (name, data_type) = (field.name(), field.data_type());
            if is_json(data_type) {
                warnings.push(format!("column {name:?} ({data_type}) becomes jsonb"));
            } else if may_be_ragged(data_type) {
                warnings.push(format!(
                    "column {name:?} ({data_type}) becomes {type_name}: all lists in a list must have one length, and none may \
                     be empty or NULL; a column of jsonb, in a table that is made first, takes any"
                ));
            }
            type_name
        }
    };
    let not_null = if may_refuse_null && !field.is_nullable() { " NOT NULL" } else { "" };
    Ok(format!("{name} {type_name}{not_null}"))
}

/// The name of the type in the field's metadata, as it is here, and the modifier.
fn of_metadata(field: &Field, options: &LoadOptions) -> Option<(String, i32)> {
    let metadata = match options.types_from {
        TypesFrom::Metadata => field.metadata(),
        TypesFrom::Arrow => return None,
    };
    let name = metadata.get("pg.type")?;
    let type_modifier = metadata.get("pg.typmod").and_then(|text| text.parse().ok()).unwrap_or(-1);
    let made = options.types.as_ref().and_then(|types| types.name_here(name));
    Some((made.unwrap_or_else(|| name.clone()), type_modifier))
}

/// The type that was found, as this server prints it: text from a file never becomes SQL.
fn printed(field: &Field, found: Option<NamedType>) -> Result<String> {
    let (_, printed) = found.ok_or_else(|| {
        let name = field.metadata().get("pg.type").map_or("", String::as_str);
        let text = format!(
            "column {:?} is of type {name:?} by its metadata, which the target does not have",
            field.name()
        );
        let advice = message![
            "make the type there first (an extension may have it), let a load from a server make enums, domains and \
             composites (",
            CREATE_TYPES,
            "), put its schema on the search path (",
            Hint::setting("search_path", "…"),
            "), or let Arrow's types decide (",
            TYPES_FROM.to("arrow"),
            ")"
        ];
        Error::new(ErrorKind::Options, text).advice(advice)
    })?;
    Ok(printed)
}

fn comment(session: &mut Session, table: &str, fields: &[FieldRef]) -> Result<()> {
    let mut sql = String::new();
    for field in fields {
        let Some(comment) = field.metadata().get("pg.comment") else { continue };
        let literal = quote_literal(comment).ok_or_else(|| {
            let text = format!("the comment of column {:?} has a zero byte", field.name());
            Error::new(ErrorKind::Options, text)
        })?;
        let _ = write!(sql, "COMMENT ON COLUMN {table}.{} IS {literal}; ", quote_identifier(field.name()));
    }
    match sql.is_empty() {
        true => Ok(()),
        false => session.execute(&sql).map_err(|error| server_error(error, table)),
    }
}

/// The server would truncate a longer name, and two columns could get the same name.
fn check_name(name: &str) -> Result<()> {
    let why = match name.len() {
        0 => "is empty",
        1..=NAME_BYTES_MAX if name.contains('\0') => "has a zero byte",
        1..=NAME_BYTES_MAX => return Ok(()),
        _ => "has more than 63 bytes",
    };
    Err(Error::new(ErrorKind::Options, format!("the name {name:?} {why}, which PostgreSQL does not take")))
}

/// Whether `type_name` is the type that the load itself chooses for the field's Arrow type, in a load that
/// creates tables or columns. Then values with more digits than PostgreSQL's type are checked one by one:
/// the user did not choose the type, so could not choose one that holds all digits.
pub(crate) fn is_made_of(field: &Field, type_name: &str, options: &LoadOptions) -> bool {
    let plain = |name: &str| name.strip_prefix("pg_catalog.").unwrap_or(name).to_owned();
    let makes = options.mode.makes_tables() || options.was_made || options.add_columns;
    makes && of_arrow(field).is_ok_and(|made| plain(&made) == plain(type_name))
}

/// The type that holds every value of the field's Arrow type, except nanoseconds.
///
/// Type names are qualified with pg_catalog, so the search path does not matter; names that the grammar
/// itself knows need no schema.
fn of_arrow(field: &Field) -> std::result::Result<String, String> {
    let extension = field.metadata().get("ARROW:extension:name").map(String::as_str);
    Ok(match (extension, field.data_type()) {
        (Some("arrow.uuid"), DataType::FixedSizeBinary(16)) => "pg_catalog.uuid".to_owned(),
        (Some("arrow.json"), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => {
            "pg_catalog.json".to_owned()
        }
        (_, data_type) => of_data_type(data_type)?,
    })
}

fn of_data_type(data_type: &DataType) -> std::result::Result<String, String> {
    Ok(match data_type {
        DataType::Null => "pg_catalog.text",
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint",
        DataType::Int32 | DataType::UInt16 => "integer",
        DataType::Int64 | DataType::UInt32 => "bigint",
        DataType::UInt64 => "numeric(20,0)",
        DataType::Float16 | DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => {
            return Ok(numeric(*p, *s));
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "pg_catalog.text",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "pg_catalog.bytea"
        }
        DataType::Date32 | DataType::Date64 => "pg_catalog.date",
        DataType::Time32(_) | DataType::Time64(_) => "time without time zone",
        DataType::Timestamp(_, None) => "timestamp without time zone",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Duration(
            TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond,
        )
        | DataType::Interval(_) => "interval",
        DataType::Dictionary(_, values) => return of_data_type(values),
        DataType::RunEndEncoded(_, values) => return of_arrow(values),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => return of_items(item),
        DataType::Struct(_) | DataType::Map(..) => "pg_catalog.jsonb",
        DataType::Union(..) => return Err("PostgreSQL has no type for unions".to_owned()),
    }
    .to_owned())
}

/// An array type; for lists of lists the same array type, for lists of structs jsonb.
fn of_items(item: &Field) -> std::result::Result<String, String> {
    if is_json(item.data_type()) {
        return Ok("pg_catalog.jsonb".to_owned());
    }
    let of_item = of_arrow(item)?;
    Ok(match of_item.ends_with("[]") {
        true => of_item,
        false => format!("{of_item}[]"),
    })
}

/// Whether the type becomes jsonb, because a PostgreSQL type for it would have to be created first.
fn is_json(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(_) | DataType::Map(..) => true,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => is_json(item.data_type()),
        _ => false,
    }
}

/// Whether these are nested lists whose inner lists may differ in length, be empty or be NULL.
fn may_be_ragged(data_type: &DataType) -> bool {
    let item = |data_type: &DataType| match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => Some(FieldRef::clone(item)),
        _ => None,
    };
    let mut list = item(data_type);
    while let Some(inner) = list {
        let is_even = match inner.data_type() {
            DataType::FixedSizeList(_, length) => *length > 0 && !inner.is_nullable(),
            other => item(other).is_none(),
        };
        if !is_even {
            return true;
        }
        list = item(inner.data_type());
    }
    false
}

/// The numeric type of a decimal. PostgreSQL knows negative scales only since version 15, so the precision
/// is widened instead.
fn numeric(precision: u8, scale: i8) -> String {
    let precision = i32::from(precision) - i32::from(scale).min(0);
    format!("numeric({},{})", precision.max(i32::from(scale)), scale.max(0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn arrow_types_as_columns() {
        let list = |item| DataType::List(Arc::new(Field::new("item", item, true)));
        for (data_type, expected) in [
            (DataType::UInt8, "smallint"),
            (DataType::UInt64, "numeric(20,0)"),
            (DataType::Decimal128(10, 2), "numeric(10,2)"),
            (DataType::Decimal256(3, -4), "numeric(7,0)"),
            (DataType::Decimal128(2, 5), "numeric(5,5)"),
            (DataType::Timestamp(TimeUnit::Second, Some("Asia/Tokyo".into())), "timestamp with time zone"),
            (list(DataType::Int32), "integer[]"),
            (list(list(DataType::Utf8View)), "pg_catalog.text[]"),
            (list(DataType::Struct(Vec::<Field>::new().into())), "pg_catalog.jsonb"),
            (
                DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::LargeUtf8)),
                "pg_catalog.text",
            ),
        ] {
            assert_eq!(of_data_type(&data_type).unwrap(), expected, "{data_type}");
        }
    }

    #[test]
    fn lists_that_may_differ() {
        let list = |item: DataType| DataType::List(Arc::new(Field::new("item", item, true)));
        let fixed = |item: DataType, nullable, length| {
            DataType::FixedSizeList(Arc::new(Field::new("item", item, nullable)), length)
        };
        let of_fixed = |nullable, length| {
            DataType::List(Arc::new(Field::new("item", fixed(DataType::Int8, true, length), nullable)))
        };
        for (data_type, expected) in [
            (DataType::Int8, false),
            (list(DataType::Int8), false),
            (list(list(DataType::Int8)), true),
            (of_fixed(false, 3), false),
            (of_fixed(true, 3), true),
            (of_fixed(false, 0), true),
            (fixed(list(DataType::Int8), false, 2), true),
        ] {
            assert_eq!(may_be_ragged(&data_type), expected, "{data_type}");
        }
    }

    #[test]
    fn names_that_the_server_would_change() {
        assert!(check_name("ä").is_ok() && check_name(&"a".repeat(63)).is_ok());
        for name in ["", "a\0b", &"a".repeat(64), &"ä".repeat(32)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}
