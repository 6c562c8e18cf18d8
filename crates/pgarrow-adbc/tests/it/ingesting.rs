//! Bulk ingestion.

use std::sync::Arc;

use adbc_core::error::{Error, Status};
use adbc_core::options::{IngestMode, OptionConnection, OptionStatement, OptionValue};
use adbc_core::{Connection as _, Optionable as _, Statement as _};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, RecordBatchIterator, StringArray};
use arrow_schema::ArrowError;
use pgarrow_adbc::PgarrowConnection;
use pgarrow_testkit::{Capability, require};

use crate::support::{connection, number, rows, run, state, text};

fn batch(n: i64) -> RecordBatch {
    let ids: ArrayRef = Arc::new((0..n).collect::<Int64Array>());
    let names: ArrayRef =
        Arc::new((0..n).map(|i| (i % 3 > 0).then(|| format!("n{i}"))).collect::<StringArray>());
    RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("name", names, true)]).unwrap()
}

fn ingest(
    connection: &mut PgarrowConnection,
    mode: IngestMode,
    options: &[(OptionStatement, &str)],
) -> Result<Option<i64>, Error> {
    let mut statement = connection.new_statement().unwrap();
    statement.set_option(OptionStatement::TargetTable, "It".into())?;
    statement.set_option(OptionStatement::IngestMode, OptionValue::from(mode))?;
    for (key, value) in options {
        statement.set_option(key.clone(), (*value).into())?;
    }
    statement.bind(batch(100))?;
    statement.execute_update()
}

#[test]
fn every_mode() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("modes");
    let connection = &mut connection;
    let count = "SELECT count(*) FROM \"It\"";
    let error = ingest(connection, IngestMode::Append, &[]).unwrap_err();
    assert_eq!((error.status, state(&error).as_str()), (Status::NotFound, "42P01"));
    assert_eq!(ingest(connection, IngestMode::Create, &[]).unwrap(), Some(100));
    assert_eq!(
        text(connection, "SELECT pg_typeof(id)::text || pg_typeof(name) FROM \"It\" LIMIT 1"),
        "biginttext"
    );
    let error = ingest(connection, IngestMode::Create, &[]).unwrap_err();
    assert_eq!((error.status, state(&error).as_str()), (Status::AlreadyExists, "42P07"));
    assert_eq!(ingest(connection, IngestMode::Append, &[]).unwrap(), Some(100));
    assert_eq!(ingest(connection, IngestMode::CreateAppend, &[]).unwrap(), Some(100));
    assert_eq!(number(connection, count), 300);
    assert_eq!(ingest(connection, IngestMode::Replace, &[]).unwrap(), Some(100));
    assert_eq!(number(connection, count), 100);
    run(connection, "DROP TABLE \"It\"").unwrap();
    assert_eq!(ingest(connection, IngestMode::CreateAppend, &[]).unwrap(), Some(100));
    assert_eq!(ingest(connection, IngestMode::Replace, &[]).unwrap(), Some(100));
    // Another shape.
    run(connection, "DROP TABLE \"It\"; CREATE TABLE \"It\" (other date)").unwrap();
    let error = ingest(connection, IngestMode::Append, &[]).unwrap_err();
    assert_eq!(error.status, Status::AlreadyExists, "{error}");
    assert_eq!(number(connection, count), 0);
}

#[test]
fn schemas_catalogs_and_temporary_tables() {
    require!(Capability::Server);
    let (server, mut connection) = connection("targets");
    let connection = &mut connection;
    run(connection, "CREATE SCHEMA \"Other\"").unwrap();
    let schema = (OptionStatement::TargetDbSchema, "Other");
    let catalog = (OptionStatement::TargetCatalog, server.name());
    ingest(connection, IngestMode::Create, &[schema.clone(), catalog]).unwrap();
    assert_eq!(number(connection, "SELECT count(*) FROM \"Other\".\"It\""), 100);
    let elsewhere = (OptionStatement::TargetCatalog, "postgres");
    let error = ingest(connection, IngestMode::Create, &[elsewhere]).unwrap_err();
    assert_eq!(error.status, Status::InvalidArguments);
    let temporary = (OptionStatement::Temporary, "true");
    ingest(connection, IngestMode::Create, std::slice::from_ref(&temporary)).unwrap();
    assert_eq!(number(connection, "SELECT count(*) FROM pg_temp.\"It\""), 100);
    ingest(connection, IngestMode::Replace, std::slice::from_ref(&temporary)).unwrap();
    ingest(connection, IngestMode::Append, std::slice::from_ref(&temporary)).unwrap();
    assert_eq!(number(connection, "SELECT count(*) FROM \"It\""), 200);
    let error = ingest(connection, IngestMode::Create, &[temporary, schema]).unwrap_err();
    assert_eq!(error.status, Status::InvalidArguments);
}

#[test]
fn an_ingestion_is_part_of_the_transaction_and_never_ends_it() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("part");
    let connection = &mut connection;
    run(connection, "CREATE TABLE log (a int)").unwrap();
    connection.set_option(OptionConnection::AutoCommit, "false".into()).unwrap();
    run(connection, "INSERT INTO log VALUES (1)").unwrap();
    ingest(connection, IngestMode::Create, &[]).unwrap();
    // One that fails leaves the transaction as it was.
    ingest(connection, IngestMode::Create, &[]).unwrap_err();
    assert_eq!(number(connection, "SELECT count(*) FROM \"It\""), 100);
    ingest(connection, IngestMode::Replace, &[]).unwrap();
    connection.rollback().unwrap();
    assert_eq!(number(connection, "SELECT count(*) FROM log"), 0);
    assert_eq!(number(connection, "SELECT count(*) FROM pg_class WHERE relname = 'It'"), 0);
    connection.rollback().unwrap();
    let key = OptionConnection::IsolationLevel;
    let level = "adbc.connection.transaction.isolation.serializable";
    connection.set_option(key, level.into()).unwrap();
    let error = ingest(connection, IngestMode::Create, &[]).unwrap_err();
    assert_eq!(error.status, Status::InvalidState);
    connection.rollback().unwrap();
    connection.set_option(OptionConnection::AutoCommit, "true".into()).unwrap();
    assert_eq!(ingest(connection, IngestMode::Create, &[]).unwrap(), Some(100));
}

#[test]
fn a_stream_that_fails_leaves_nothing() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("failing");
    let mut statement = connection.new_statement().unwrap();
    statement.set_option(OptionStatement::TargetTable, "t".into()).unwrap();
    assert_eq!(statement.execute_update().unwrap_err().status, Status::InvalidState);
    let bad = Err(ArrowError::ComputeError("broken".to_owned()));
    let stream = RecordBatchIterator::new([Ok(batch(10)), bad], batch(1).schema());
    statement.bind_stream(Box::new(stream)).unwrap();
    let error = statement.execute_update().unwrap_err();
    assert!(error.status == Status::IO && error.message.contains("broken"), "{error}");
    assert_eq!(number(&mut connection, "SELECT count(*) FROM pg_class WHERE relname = 't'"), 0);
    // What execute does, execute_update does, too.
    statement.bind(batch(10)).unwrap();
    assert_eq!(statement.execute().unwrap().count(), 0);
    assert_eq!(number(&mut connection, "SELECT count(*) FROM t"), 10);
    assert_eq!(statement.get_option_double(OptionStatement::Progress).unwrap(), 10.0);
}

#[test]
fn what_a_select_gives_goes_in_again_with_its_types() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("again");
    run(&mut connection, "CREATE TYPE mood AS ENUM ('sad', 'ok')").unwrap();
    let sql =
        "SELECT 'ok'::mood AS a, 1.5::numeric(10,3) AS b, '{\"x\": 1}'::jsonb AS c, '1 day'::interval AS d";
    let data = rows(&mut connection, sql).unwrap();
    let mut statement = connection.new_statement().unwrap();
    statement.set_option(OptionStatement::TargetTable, "t".into()).unwrap();
    statement.bind(data).unwrap();
    statement.execute_update().unwrap();
    let types = text(
        &mut connection,
        "SELECT string_agg(format_type(atttypid, atttypmod), ' ' ORDER BY attnum) \
         FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0",
    );
    assert_eq!(types, "mood numeric(10,3) jsonb interval");
}

#[test]
fn a_statement_that_is_used_again_goes_where_it_is_told() {
    require!(Capability::Server);
    let (_server, mut connection) = connection("used_again");
    // As cursors of Python have it, which do not take back the schema of the ingestion before.
    let mut statement = connection.new_statement().unwrap();
    let mut ingest = |table: &str, schema: Option<&str>, temporary: bool| -> Result<Option<i64>, Error> {
        statement.set_option(OptionStatement::TargetTable, table.into())?;
        if let Some(schema) = schema {
            statement.set_option(OptionStatement::TargetDbSchema, schema.into())?;
        }
        statement.set_option(OptionStatement::Temporary, temporary.to_string().as_str().into())?;
        statement.bind(batch(1))?;
        statement.execute_update()
    };
    ingest("a", Some("public"), false).unwrap();
    ingest("b", None, true).unwrap();
    ingest("c", Some("public"), false).unwrap();
    ingest("d", None, false).unwrap();
    let error = ingest("e", Some("public"), true).unwrap_err();
    assert_eq!(error.status, Status::InvalidArguments);
    ingest("e", None, false).unwrap();
    let sql = "SELECT string_agg(relname, '' ORDER BY relname) FROM pg_class \
               WHERE relname IN ('a', 'b', 'c', 'd', 'e') AND relpersistence = 'p'";
    assert_eq!(text(&mut connection, sql), "acde");
}
