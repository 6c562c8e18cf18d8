//! What the catalog says: objects, schemas of tables, statistics, and what driver and server are.

use std::collections::HashSet;

use adbc_core::error::Status;
use adbc_core::options::{InfoCode, ObjectDepth, OptionDatabase};
use adbc_core::schemas::{
    GET_INFO_SCHEMA, GET_OBJECTS_SCHEMA, GET_STATISTIC_NAMES_SCHEMA, GET_STATISTICS_SCHEMA,
    GET_TABLE_TYPES_SCHEMA,
};
use adbc_core::{Connection as _, Database as _, Driver as _};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int16Type, Int32Type, UInt32Type};
use arrow_array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow_schema::DataType;
use pgarrow_adbc::{PgarrowConnection, PgarrowDriver};
use pgarrow_testkit::{Capability, require};

use crate::support::{collect, connection, state};

const TABLES: &str = "
    CREATE SCHEMA shop; CREATE SCHEMA other;
    CREATE TABLE shop.customers (id serial PRIMARY KEY, name varchar(40) NOT NULL, CHECK (name <> ''));
    COMMENT ON COLUMN shop.customers.name IS 'as they write it';
    CREATE TABLE shop.orders (
        id int8 GENERATED ALWAYS AS IDENTITY, customer int4 REFERENCES shop.customers (id),
        total numeric(12,2) DEFAULT 0, twice numeric GENERATED ALWAYS AS (total * 2) STORED,
        UNIQUE (customer, total));
    CREATE VIEW shop.totals AS SELECT customer, sum(total) FROM shop.orders GROUP BY customer;
    CREATE TABLE other.parts (a int) PARTITION BY RANGE (a);
    INSERT INTO shop.customers (name) SELECT 'n' || g FROM generate_series(1, 1000) AS g; ANALYZE shop.customers";

/// The items of the first list of a column.
fn items(list: &ArrayRef, index: usize) -> StructArray {
    list.as_list::<i32>().value(index).as_struct().clone()
}

fn texts(of: &StructArray, name: &str) -> Vec<Option<String>> {
    of.column_by_name(name).unwrap().as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

fn plain(of: &StructArray, name: &str) -> Vec<String> {
    texts(of, name).into_iter().flatten().collect()
}

/// The row of this name.
fn at(of: &StructArray, column: &str, name: &str) -> usize {
    plain(of, column).iter().position(|found| found == name).unwrap()
}

fn objects(
    connection: &PgarrowConnection,
    depth: ObjectDepth,
    [catalog, schema, table, column]: [Option<&str>; 4],
    types: Option<Vec<&str>>,
) -> RecordBatch {
    let reader = connection.get_objects(depth, catalog, schema, table, types, column).unwrap();
    assert_eq!(reader.schema(), *GET_OBJECTS_SCHEMA);
    collect(reader).unwrap()
}

/// The schemas of the session's own catalog.
fn schemas(batch: &RecordBatch, database: &str) -> StructArray {
    let names = batch.column(0).as_string::<i32>();
    let index = names.iter().position(|name| name == Some(database)).unwrap();
    items(batch.column(1), index)
}

#[test]
fn objects_at_every_depth() {
    require!(Capability::Server);
    let (server, connection) = connection("objects");
    server.execute(TABLES);
    let none = [None; 4];
    let catalogs = objects(&connection, ObjectDepth::Catalogs, none, None);
    assert!(catalogs.num_rows() >= 2);
    assert_eq!(catalogs.column(1).null_count(), catalogs.num_rows());
    let of_schemas = schemas(&objects(&connection, ObjectDepth::Schemas, none, None), server.name());
    assert!(plain(&of_schemas, "db_schema_name").contains(&"pg_catalog".to_owned()));
    assert_eq!(of_schemas.column(1).null_count(), of_schemas.len());

    let of_schemas = schemas(&objects(&connection, ObjectDepth::Tables, none, None), server.name());
    let tables = items(of_schemas.column(1), at(&of_schemas, "db_schema_name", "shop"));
    assert_eq!(plain(&tables, "table_name"), ["customers", "orders", "totals"]);
    assert_eq!(plain(&tables, "table_type"), ["table", "table", "view"]);
    assert_eq!(tables.column(2).null_count() + tables.column(3).null_count(), 6);

    let of_schemas = schemas(&objects(&connection, ObjectDepth::All, none, None), server.name());
    let tables = items(of_schemas.column(1), at(&of_schemas, "db_schema_name", "shop"));
    let orders = at(&tables, "table_name", "orders");
    let columns = items(tables.column(2), orders);
    assert_eq!(plain(&columns, "column_name"), ["id", "customer", "total", "twice"]);
    let numbers = columns.column_by_name("ordinal_position").unwrap().as_primitive::<Int32Type>().clone();
    assert_eq!(numbers.values(), &[1, 2, 3, 4]);
    assert_eq!(plain(&columns, "xdbc_type_name"), ["bigint", "integer", "numeric(12,2)", "numeric"]);
    assert_eq!(plain(&columns, "xdbc_is_nullable"), ["NO", "YES", "YES", "YES"]);
    let size = columns.column_by_name("xdbc_column_size").unwrap().as_primitive::<Int32Type>().clone();
    assert_eq!(size.iter().collect::<Vec<_>>(), [Some(64), Some(32), Some(12), None]);
    let digits = columns.column_by_name("xdbc_decimal_digits").unwrap().as_primitive::<Int16Type>().clone();
    assert_eq!(digits.value(2), 2);
    let flags = |name: &str| -> Vec<bool> {
        columns.column_by_name(name).unwrap().as_boolean().iter().flatten().collect()
    };
    assert_eq!(flags("xdbc_is_autoincrement"), [true, false, false, false]);
    assert_eq!(flags("xdbc_is_generatedcolumn"), [false, false, false, true]);
    assert_eq!(texts(&columns, "xdbc_column_def")[2].as_deref(), Some("0"));
    let constraints = items(tables.column(3), orders);
    assert_eq!(plain(&constraints, "constraint_type"), ["FOREIGN KEY", "UNIQUE"]);
    let key = items(constraints.column_by_name("constraint_column_usage").unwrap(), 0);
    assert_eq!(plain(&key, "fk_catalog"), [server.name()]);
    assert_eq!(
        (plain(&key, "fk_table"), plain(&key, "fk_column_name")),
        (vec!["customers".into()], vec!["id".into()])
    );
    let unique = constraints.column_by_name("constraint_column_names").unwrap().as_list::<i32>().value(1);
    assert_eq!(unique.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["customer", "total"]);
    let customers = at(&tables, "table_name", "customers");
    let columns = items(tables.column(2), customers);
    assert_eq!(texts(&columns, "remarks"), [None, Some("as they write it".to_owned())]);
    assert_eq!(plain(&items(tables.column(3), customers), "constraint_type"), ["CHECK", "PRIMARY KEY"]);
}

#[test]
fn objects_with_filters() {
    require!(Capability::Server);
    let (server, connection) = connection("filters");
    server.execute(TABLES);
    let all = ObjectDepth::All;
    // A pattern of names stays a pattern: `_` stands for one character, `\_` for itself.
    let name = server.name().replace('_', "\\_");
    let found = objects(&connection, all, [Some(&name), Some("sh%"), Some("c_stomers"), Some("n%")], None);
    assert_eq!(found.num_rows(), 1);
    let of_schemas = schemas(&found, server.name());
    assert_eq!(plain(&of_schemas, "db_schema_name"), ["shop"]);
    let tables = items(of_schemas.column(1), 0);
    assert_eq!(plain(&tables, "table_name"), ["customers"]);
    assert_eq!(plain(&items(tables.column(2), 0), "column_name"), ["name"]);
    let types = Some(vec!["view", "partitioned_table"]);
    let of_schemas = schemas(
        &objects(&connection, ObjectDepth::Tables, [None, Some("%"), None, None], types),
        server.name(),
    );
    let of = |name: &str| {
        plain(&items(of_schemas.column(1), at(&of_schemas, "db_schema_name", name)), "table_name")
    };
    assert_eq!((of("shop"), of("other")), (vec!["totals".to_owned()], vec!["parts".to_owned()]));
    assert_eq!(objects(&connection, all, [Some(""), None, None, None], None).num_rows(), 0);
    let nothing =
        schemas(&objects(&connection, all, [None, Some("'; DROP --"), None, None], None), server.name());
    assert_eq!(nothing.len(), 0);
}

#[test]
fn schemas_of_tables() {
    require!(Capability::Server);
    let (server, connection) = connection("table_schema");
    server.execute(TABLES);
    let schema = connection.get_table_schema(Some(server.name()), Some("shop"), "orders").unwrap();
    assert_eq!(schema.metadata()["pg.table"], "shop.orders");
    // The choices of a database are for all tables that have the column.
    let choice = (OptionDatabase::Other("pgarrow.column.total".to_owned()), "text".into());
    let uri = (OptionDatabase::Uri, server.url().into());
    let database = PgarrowDriver.new_database_with_opts([uri, choice]).unwrap();
    let chosen = database.new_connection().unwrap();
    let with_choice = chosen.get_table_schema(None, Some("shop"), "orders").unwrap();
    assert_eq!(*with_choice.field(2).data_type(), DataType::Utf8);
    chosen.get_table_schema(None, Some("shop"), "customers").unwrap();
    assert_eq!(*schema.field(2).data_type(), DataType::Decimal128(12, 2));
    assert!(!schema.field(0).is_nullable() && schema.field(1).is_nullable());
    assert_eq!(connection.get_table_schema(None, Some(""), "pg_class").unwrap().field(0).name(), "oid");
    let error = connection.get_table_schema(None, Some("shop"), "nothing").unwrap_err();
    assert_eq!((error.status, state(&error).as_str()), (Status::NotFound, "42P01"), "{error}");
    let error = connection.get_table_schema(Some("postgres"), None, "pg_class").unwrap_err();
    assert_eq!(error.status, Status::InvalidArguments);
}

#[test]
fn info_types_and_statistics() {
    require!(Capability::Server);
    let (server, connection) = connection("info");
    server.execute(TABLES);
    let reader = connection.get_info(None).unwrap();
    assert_eq!(reader.schema(), *GET_INFO_SCHEMA);
    let info = collect(reader).unwrap();
    let codes = info.column(0).as_primitive::<UInt32Type>().values().to_vec();
    assert_eq!(codes, [0, 1, 3, 4, 100, 101, 102, 103]);
    let some = HashSet::from([InfoCode::VendorName, InfoCode::DriverAdbcVersion, InfoCode::Other(12_345)]);
    let info = collect(connection.get_info(Some(some)).unwrap()).unwrap();
    assert_eq!(info.num_rows(), 2);
    let values = info.column(1).as_union();
    assert_eq!(values.value(0).as_string::<i32>().value(0), "PostgreSQL");

    let types = connection.get_table_types().unwrap();
    assert_eq!(types.schema(), *GET_TABLE_TYPES_SCHEMA);
    assert!(collect(types).unwrap().num_rows() >= 4);
    let names = connection.get_statistic_names().unwrap();
    assert_eq!(names.schema(), *GET_STATISTIC_NAMES_SCHEMA);
    assert_eq!(names.count(), 1);

    let reader = connection.get_statistics(None, Some("shop"), Some("custom%"), true).unwrap();
    assert_eq!(reader.schema(), *GET_STATISTICS_SCHEMA);
    let found = collect(reader).unwrap();
    let of_schema = items(found.column(1), 0);
    let statistics = items(of_schema.column(1), 0);
    let columns = texts(&statistics, "column_name");
    assert_eq!(columns[0], None);
    assert!(columns.contains(&Some("name".to_owned())));
    let keys = statistics.column_by_name("statistic_key").unwrap().as_primitive::<Int16Type>().clone();
    assert_eq!(keys.value(0), 6);
    let values = statistics.column_by_name("statistic_value").unwrap().as_union();
    assert_eq!(values.value(0).as_primitive::<Float64Type>().value(0), 1000.0);
    let nothing = connection.get_statistics(None, Some("nowhere"), None, false).unwrap();
    assert_eq!(collect(nothing).unwrap().num_rows(), 0);
}
