//! Golden COPY streams: `testdata/copy/<name>.{sql,bin,expect}`; what they are is told in `testdata/README.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use pgarrow_column::make_column;
use pgarrow_decode::{BatchLimits, CopyDecoder, Stop};
use pgarrow_testkit::{Capability, TestServer, copy, require};
use pgarrow_types::{EnumType, PgColumn, PgType, TypeOptions, schema};

use crate::render;
use crate::support::source;

/// Digits after the point of money in the locale that the streams were made in.
const MONEY_FRACTION_DIGITS: u8 = 2;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/copy")
}

/// The paths of all streams, without their endings.
fn names() -> Vec<PathBuf> {
    let files = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path());
    let mut names: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|ending| ending == "sql"))
        .map(|path| path.with_extension(""))
        .collect();
    names.sort();
    assert!(names.len() > 30, "{}", names.len());
    names
}

/// What has to be executed first, and the query: what comes behind the last empty line.
fn sql(name: &Path) -> (String, String) {
    let text = fs::read_to_string(name.with_extension("sql")).unwrap();
    let (setup, query) = text.trim().rsplit_once("\n\n").unwrap_or(("", text.trim()));
    (setup.to_owned(), query.to_owned())
}

/// The line of `.expect` that says how a column is read: name, OID, type modifier, labels of an enum, type, Arrow.
fn header(column: &PgColumn) -> String {
    let labels = match &column.pg_type {
        PgType::Enum(enum_type) => serde_json::to_string(&enum_type.labels).unwrap(),
        _ => "-".to_owned(),
    };
    // The OID of a type that is not built in differs from database to database.
    let oid = if labels == "-" { column.type_oid } else { 0 };
    let arrow = column.pg_type.data_type(&TypeOptions::default());
    let (name, modifier, pg_type) = (&column.name, column.type_modifier, &column.type_name);
    format!("column\t{name}\t{oid}\t{modifier}\t{labels}\t{pg_type}\t{arrow}")
}

fn column(header: &str) -> PgColumn {
    let [_, name, oid, modifier, labels, type_name, _] = header.split('\t').collect::<Vec<_>>()[..] else {
        panic!("no header of a column: {header}");
    };
    let (type_oid, type_modifier) = (oid.parse().unwrap(), modifier.parse().unwrap());
    let pg_type = match labels {
        "-" => PgType::from_builtin_oid(type_oid, type_modifier, MONEY_FRACTION_DIGITS).unwrap(),
        labels => PgType::Enum(Arc::new(EnumType { labels: serde_json::from_str(labels).unwrap() })),
    };
    let (name, type_name) = (name.to_owned(), type_name.to_owned());
    PgColumn {
        name,
        pg_type,
        type_oid,
        type_modifier,
        type_name,
        nullable: true,
        comment: None,
        number: 1,
        options: TypeOptions::default(),
    }
}

/// Columns and rows as text.
fn expectation(columns: &[PgColumn], batches: &[RecordBatch]) -> String {
    let mut text = String::new();
    for column in columns {
        writeln!(text, "{}", header(column)).unwrap();
    }
    for row in render::rows(batches) {
        let values: Vec<String> = row
            .into_iter()
            .map(|value| value.map_or_else(|| "NULL".to_owned(), |value| format!("{value:?}")))
            .collect();
        writeln!(text, "row\t{}", values.join("\t")).unwrap();
    }
    text
}

/// Decodes a stream that comes in pieces of so many bytes, into batches of so many rows.
fn decode(columns: &[PgColumn], stream: &[u8], piece_bytes: usize, batch_rows: usize) -> Vec<RecordBatch> {
    let options = TypeOptions::default();
    let schema = Arc::new(schema(columns, Default::default()));
    let decoders = columns.iter().map(|column| make_column(&column.pg_type, &options, 0)).collect();
    let limits = BatchLimits { rows: batch_rows, ..BatchLimits::default() };
    let mut decoder = CopyDecoder::new(schema, decoders, limits);
    let messages: Vec<u8> = stream.chunks(piece_bytes).flat_map(copy::frame).collect();
    let (mut at, mut batches) = (0, Vec::new());
    loop {
        let progress = decoder.decode(&messages[at..]).unwrap();
        at += progress.used_bytes;
        if progress.stop != Stop::BatchFull {
            break;
        }
        batches.extend(decoder.flush().unwrap());
    }
    batches.extend(decoder.flush().unwrap());
    assert!(at == messages.len() && decoder.is_complete());
    batches
}

#[test]
fn every_golden_stream_decodes_to_what_was_expected() {
    for name in names() {
        let expected = fs::read_to_string(name.with_extension("expect")).unwrap();
        let stream = fs::read(name.with_extension("bin")).unwrap();
        let headers = expected.lines().filter(|line| line.starts_with("column\t"));
        let columns: Vec<PgColumn> = headers.map(column).collect();
        for piece_bytes in [1, 2, 7, 64, usize::MAX] {
            for batch_rows in [1, 2, 3, 1024] {
                let batches = decode(&columns, &stream, piece_bytes, batch_rows);
                let found = expectation(&columns, &batches);
                // The enum's OID is not in the file.
                assert_eq!(found, expected, "{}, {piece_bytes} bytes, {batch_rows} rows", name.display());
            }
        }
    }
}

#[test]
fn every_golden_stream_is_what_the_server_sends() {
    require!(Capability::Server);
    let bless = std::env::var_os("PGARROW_BLESS").is_some_and(|value| value == "1");
    let database = TestServer::shared().fresh_database("golden");
    for name in names() {
        let (setup, query) = sql(&name);
        database.execute(&setup);
        let stream = database.copy_binary(&query);
        if bless {
            let run = source(&database).query(&query).open().unwrap();
            let columns = run.plan().columns().to_vec();
            let mut batches = Vec::new();
            run.for_each(|batch| {
                batches.push(batch);
                Ok(())
            })
            .unwrap();
            fs::write(name.with_extension("expect"), expectation(&columns, &batches)).unwrap();
            fs::write(name.with_extension("bin"), &stream).unwrap();
        }
        assert_eq!(fs::read(name.with_extension("bin")).unwrap(), stream, "{}", name.display());
    }
}
