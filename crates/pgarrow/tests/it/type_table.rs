//! The book's table of types equals what the library plans.

use std::path::Path;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, TimeUnit};
use pgarrow::{ColumnOptions, ExportOptions, IntervalForm, TypeOptions};
use pgarrow_sink_parquet::parquet_types;
use pgarrow_testkit::{Capability, TestServer, capability, require};

use crate::support::{server_text, source};

const BEGIN: &str = "<!-- types: made by a test, see testdata/README.md -->\n";
const END: &str = "<!-- /types -->\n";
const HEAD: &str = "| PostgreSQL | Arrow | Parquet | other choices |\n|---|---|---|---|\n";

/// A line of the table.
struct Row {
    /// The types, as in column declarations. One line covers all of them.
    types: &'static [&'static str],
    /// Additional text in the first cell.
    more: &'static str,
    /// The other choices for `--column NAME:…`, besides the policies and `text`.
    choices: &'static [&'static str],
    /// The extension that has them; empty for types of every server.
    extension: &'static str,
}

const fn row(types: &'static [&'static str], choices: &'static [&'static str]) -> Row {
    Row { types, more: "", choices, extension: "" }
}

const fn told(row: Row, more: &'static str) -> Row {
    Row { more, ..row }
}

const fn of(extension: &'static str, row: Row) -> Row {
    Row { extension, ..row }
}

const DECIMALS: &[&str] = &["float64"];
const TIMESTAMPS: &[&str] = &["timestamp-unit=ms", "timestamp-unit=ns"];
const ARRAYS: &[&str] = &["arrays=nested", "arrays=shaped"];

const ROWS: &[Row] = &[
    row(&["bool"], &[]),
    row(&["int2", "int4", "int8"], &[]),
    row(&["oid", "xid", "cid"], &[]),
    told(row(&["regclass", "regtype", "regproc"], &[]), ", … (`text` is the name)"),
    row(&["xid8", "pg_lsn"], &[]),
    row(&["float4", "float8"], &[]),
    told(row(&["numeric(15,2)"], DECIMALS), " and all up to 38 digits"),
    told(row(&["numeric(76,20)"], DECIMALS), " and all up to 76 digits"),
    told(row(&["numeric"], &["float64", "decimal(38,9)", "scan"]), ", also with more digits"),
    told(row(&["money"], &[]), ", with the digits of the server's `lc_monetary`"),
    row(
        &["text", "varchar", "name", "xml"],
        &["encoding-policy=replace", "encoding-policy=latin1", "encoding-policy=binary"],
    ),
    row(&["char(9)"], &["trim=true"]),
    row(&["\"char\"", "bit", "varbit"], &[]),
    row(&["inet", "cidr", "macaddr", "macaddr8"], &[]),
    row(&["bytea"], &[]),
    row(&["uuid"], &[]),
    row(&["json", "jsonb"], &[]),
    row(&["date"], &[]),
    row(&["time"], &[]),
    row(&["timetz"], &[]),
    row(&["timestamp"], TIMESTAMPS),
    row(&["timestamptz"], TIMESTAMPS),
    row(&["interval"], &["interval=struct", "interval=text"]),
    told(row(&["table_mood"], &["enum=text"]), "an enum"),
    told(row(&["table_price"], &[]), "a domain: as its base type, here numeric(10,2)"),
    told(row(&["int4[]"], ARRAYS), ": an array of any type"),
    row(&["int2vector", "oidvector"], &[]),
    told(row(&["table_pair"], &[]), "a composite (a int4, b text), or a whole row"),
    told(row(&["int4range"], &[]), ": a range of any type"),
    told(row(&["int4multirange"], &[]), ": a multirange of any type"),
    row(&["tid"], &[]),
    row(&["point"], &[]),
    row(&["line"], &[]),
    row(&["lseg"], &[]),
    row(&["box"], &[]),
    row(&["path"], &[]),
    row(&["polygon"], &[]),
    row(&["circle"], &[]),
    told(of("hstore", row(&["hstore"], &[])), ", but text in databases that are neither UTF8 nor SQL_ASCII"),
    of("citext", row(&["citext"], &[])),
    of("ltree", row(&["ltree", "lquery", "ltxtquery"], &[])),
    of("postgis", row(&["geometry", "geography"], &["geometry=ewkb"])),
    of("vector", row(&["vector(3)"], &[])),
    of("vector", row(&["halfvec(3)"], &[])),
    of("vector", row(&["vector", "halfvec"], &[])),
    of("vector", row(&["sparsevec"], &[])),
    told(
        row(&["tsvector", "tsquery", "jsonpath", "pg_snapshot", "aclitem"], &["unknown-types=error"]),
        ", and any other: the server's text, with a warning",
    ),
];

/// A type in a few characters: `Struct{x, y: Float64}`.
fn arrow(field: &Field) -> String {
    let text = match field.data_type() {
        DataType::Struct(fields) => format!("Struct{{{}}}", parts(fields)),
        DataType::List(item) => format!("List<{}>", arrow(item)),
        DataType::FixedSizeList(item, n) => format!("FixedSizeList({n})<{}>", arrow(item)),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(entries) => format!("Map<{}, {}>", arrow(&entries[0]), arrow(&entries[1])),
            other => panic!("a map of {other}"),
        },
        DataType::Timestamp(unit, zone) => {
            let zone = zone.as_deref().map_or_else(String::new, |zone| format!(", {zone}"));
            format!("Timestamp({}{zone})", unit_text(*unit))
        }
        DataType::Time64(unit) => format!("Time64({})", unit_text(*unit)),
        other => other.to_string(),
    };
    match field.metadata().get("ARROW:extension:name") {
        Some(extension) => format!("{text} [{extension}]"),
        None => text,
    }
}

/// `x, y: Float64, z: Int32`.
fn parts(fields: &arrow_schema::Fields) -> String {
    let mut text = String::new();
    for (place, field) in fields.iter().enumerate() {
        let part = arrow(field);
        let is_last_of_its_type = fields.get(place + 1).is_none_or(|next| arrow(next) != part);
        text += field.name();
        text += &if is_last_of_its_type { format!(": {part}, ") } else { ", ".to_owned() };
    }
    text.trim_end_matches(", ").to_owned()
}

fn unit_text(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Microsecond => "µs",
        _ => "another unit",
    }
}

/// Texts in order, each once.
fn distinct(texts: impl IntoIterator<Item = String>) -> String {
    let mut found: Vec<String> = Vec::new();
    for text in texts {
        if !found.contains(&text) {
            found.push(text);
        }
    }
    found.join(", ")
}

/// The line for a row.
fn line(row: &Row, plan: impl Fn(ExportOptions) -> Vec<Field>) -> String {
    let names = if row.types[0].starts_with("table_") { String::new() } else { row.types.join(", ") };
    let fields = plan(ExportOptions::default());
    let for_parquet = TypeOptions { interval: IntervalForm::Struct, ..TypeOptions::default() };
    let parquet = Arc::new(Schema::new(plan(ExportOptions::default().with_types(for_parquet))));
    let parquet = parquet_types(&parquet).unwrap();
    for choice in row.choices {
        let options: ColumnOptions = choice.parse().unwrap();
        if *choice == "unknown-types=error" {
            continue;
        }
        let chosen = plan(ExportOptions::default().with_column("v0", options));
        // Dropped padding and replaced bytes do not change the type.
        let may_be_same = choice.starts_with("trim")
            || (choice.starts_with("encoding") && !choice.ends_with("binary"))
            || choice.starts_with("geometry")
            || *choice == "arrays=nested"
            || *choice == "scan";
        assert!(may_be_same || chosen[0].data_type() != fields[0].data_type(), "{names}: {choice}");
    }
    let choices: Vec<_> = row.choices.iter().map(|choice| format!("`{choice}`")).collect();
    let (more, arrow) = (row.more, distinct(fields.iter().map(arrow)));
    // As code, so that angle brackets are no HTML.
    format!("| {names}{more} | `{arrow}` | `{}` | {} |\n", distinct(parquet), choices.join(", "))
}

#[test]
fn the_books_table_of_types_is_what_is_planned() {
    require!(Capability::Server);
    let bless = std::env::var_os("PGARROW_BLESS").is_some_and(|value| value == "1");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/types.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    let database = TestServer::shared().fresh_database("typetable");
    database.execute(
        "CREATE TYPE table_mood AS ENUM ('a'); CREATE DOMAIN table_price AS numeric(10,2); \
         CREATE TYPE table_pair AS (a int4, b text)",
    );
    let test = capability::test_name("type_table");
    let mut made = HEAD.to_owned();
    for (number, row) in ROWS.iter().enumerate() {
        if !row.extension.is_empty() {
            if !capability::require(Capability::Extension(row.extension), &test) {
                // Keep the line that a server with the extension made.
                made += table.lines().nth(number + 2).unwrap_or_default();
                made += "\n";
                continue;
            }
            database.execute(&format!("CREATE EXTENSION IF NOT EXISTS {}", row.extension));
        }
        let columns: Vec<_> = row.types.iter().enumerate().map(|(n, name)| format!("v{n} {name}")).collect();
        let name = format!("t{number}");
        database.execute(&format!("CREATE TABLE {name} ({})", columns.join(", ")));
        let source = source(&database);
        made += &line(row, |options| {
            let run = source.table(name.as_str()).options(options).open().unwrap();
            run.schema().fields().iter().map(|field| field.as_ref().clone()).collect()
        });
    }
    if bless {
        std::fs::write(&path, format!("{before}{BEGIN}{made}{END}{after}")).unwrap();
    }
    assert!(bless || made == table, "the book's table of types is not:\n{made}");
    let n_types =
        server_text(&mut database.client(), "SELECT count(*) FROM pg_class WHERE relname ~ '^t[0-9]+$'");
    assert!(n_types[0][0].as_deref().unwrap().parse::<usize>().unwrap() > 35);
}
