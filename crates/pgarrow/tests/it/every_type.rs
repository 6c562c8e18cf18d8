//! A database with every type (`testdata/every_type.sql`) to Parquet and Arrow IPC, read back by pyarrow, and
//! compared with the server's text, column by column. DuckDB reads the Parquet files, too.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_ipc::reader::FileReader;
use arrow_schema::Schema;
use pgarrow::{
    ArrayForm, ErrorKind, ExportOptions, InfinityPolicy, IntervalForm, NanPolicy, OutOfRangePolicy, Plan,
    Report, TypeOptions,
};
use pgarrow_sink::{Output, Sink};
use pgarrow_sink_ipc::{IpcOptions, IpcSink};
use pgarrow_sink_parquet::{ParquetOptions, ParquetSink};
use pgarrow_testkit::{Capability, Database, Python, TestServer, require};

use crate::render::Renderer;
use crate::support::{assert_error, oracle, read, refusal, server_text, source};

pub(crate) fn every_type() -> Database {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/every_type.sql");
    let database = TestServer::shared().fresh_database("every");
    database.execute(&std::fs::read_to_string(path).unwrap());
    database
}

/// `--infinity null --nan null --out-of-range null --arrays shaped`, and intervals as Parquet has them.
fn choices(interval: IntervalForm) -> ExportOptions {
    ExportOptions::default().with_order(true).with_types(TypeOptions {
        infinity: InfinityPolicy::Null,
        nan: NanPolicy::Null,
        out_of_range: OutOfRangePolicy::Null,
        arrays: ArrayForm::Shaped,
        interval,
        ..TypeOptions::default()
    })
}

/// Exports the whole schema into `folder`: `numbers.parquet` and so on.
fn export(database: &Database, folder: &Path, extension: &str) -> Report {
    let is_parquet = extension == "parquet";
    let interval = if is_parquet { IntervalForm::Struct } else { IntervalForm::MonthDayNano };
    let source = source(database);
    let run = source.tables([""; 0]).schema("every_type").options(choices(interval)).open().unwrap();
    let make = |plan: &Plan| -> Result<Box<dyn Sink>, _> {
        let path = folder.join(&plan.relation().unwrap().name).with_extension(extension);
        let (output, schema) = (Output::file(path, false)?, plan.schema().clone());
        Ok(if is_parquet {
            Box::new(ParquetSink::create(output, schema, ParquetOptions::default())?)
        } else {
            Box::new(IpcSink::create(output, schema, IpcOptions::default())?)
        })
    };
    run.write_each(make).unwrap()
}

/// Reads and validates every file of a folder, and writes its values as Arrow files without compression.
const PYARROW: &str = r#"
import pathlib, sys, pyarrow as pa, pyarrow.parquet as pq
folder, found = map(pathlib.Path, sys.argv[1:])
for path in sorted(folder.iterdir()):
    table = pq.read_table(path) if path.suffix == ".parquet" else pa.ipc.open_file(path).read_all()
    for name in table.column_names:
        column = table[name]
        # 24:00:00 is a time in PostgreSQL and not in Arrow; years before 1 and after 9999 are none in Python.
        column.validate(full="time64" not in str(column.type))
        if not any(word in str(column.type) for word in ("time", "date", "interval")):
            column.to_pylist()
    with pa.ipc.new_file(found / (path.stem + ".arrow"), table.schema) as writer:
        writer.write_table(table)
print("read")
"#;

/// Reads every value of every Parquet file with DuckDB, and prints the number of values that are not NULL for
/// each column.
const DUCKDB: &str = r#"
import json, pathlib, sys, duckdb
duckdb.sql("SET TimeZone = 'UTC'")
found = {}
for path in pathlib.Path(sys.argv[1]).iterdir():
    names = [d[0] for d in duckdb.execute("SELECT * FROM read_parquet(?) LIMIT 0", [str(path)]).description]
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    # A text of each value is made, so that none is passed over.
    items = ", ".join(f"count({name}), max(length({name}::VARCHAR))" for name in quoted)
    found[path.stem] = duckdb.execute(f"SELECT {items} FROM read_parquet(?)", [str(path)]).fetchone()[::2]
print(json.dumps(found))
"#;

/// Compares what pyarrow found in a table with the server's text.
fn differences(
    database: &Database,
    renderer: &Renderer,
    table: &str,
    schema: &Schema,
    batches: &[RecordBatch],
) -> Vec<String> {
    let mut client = oracle(database);
    // A column's comment is the SQL for its values after the choices.
    let expressions = server_text(
        &mut client,
        &format!(
            "SELECT coalesce(col_description(attrelid, attnum), format('%I', attname)) FROM pg_attribute \
             WHERE attrelid = 'every_type.{table}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        ),
    );
    let list: Vec<_> = expressions.iter().map(|row| format!("({})", row[0].as_deref().unwrap())).collect();
    let expected = server_text(&mut client, &format!("SELECT {} FROM every_type.{table}", list.join(", ")));
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), expected.len(), "rows of {table}");
    assert_eq!(schema.fields().len(), list.len(), "columns of {table}");
    let mut differences = Vec::new();
    for (number, field) in schema.fields().iter().enumerate() {
        let mut rows = expected.iter();
        for batch in batches {
            for row in 0..batch.num_rows() {
                let server = &rows.next().unwrap()[number];
                let ours = renderer.text(field, batch.column(number), row);
                if ours != *server {
                    differences.push(format!(
                        "{table}.{} ({:.150}), row {row}: {server:.200?} is {ours:.200?}",
                        field.name(),
                        field.data_type()
                    ));
                }
            }
        }
    }
    differences
}

/// By column (`numbers.date`) and effect (`infinity_nulled`): the count.
type Counts = BTreeMap<(String, String), u64>;

fn counted_by_sql(database: &Database) -> Counts {
    let sql = "SELECT \"column\", effect, n FROM every_type.counts WHERE n > 0";
    let rows = server_text(&mut oracle(database), sql).into_iter().map(|row| row.into_iter().flatten());
    let row = |mut row: std::iter::Flatten<std::vec::IntoIter<Option<String>>>| {
        let mut next = || row.next().unwrap();
        ((next(), next()), next().parse().unwrap())
    };
    rows.map(row).collect()
}

fn counted_by_us(report: &Report) -> Counts {
    let mut counts = Counts::new();
    for table in &report.tables {
        for column in &table.columns {
            let name = format!("{}.{}", table.table.strip_prefix("every_type.").unwrap(), column.name);
            for (effect, n) in &column.effects {
                counts.insert((name.clone(), effect.clone()), *n);
            }
        }
    }
    counts
}

#[test]
fn every_type_to_parquet_and_ipc_is_read_by_pyarrow_as_the_server_prints_it() {
    // A decimal with a negative scale came with PostgreSQL 15.
    require!(Capability::VersionAtLeast(150_000), Capability::Python);
    let database = every_type();
    let renderer = Renderer::of(&database);
    let mut failures = Vec::new();
    for extension in ["parquet", "arrow"] {
        let (folder, found) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let report = export(&database, folder.path(), extension);
        assert!(report.tables.len() > 20, "{}", report.tables.len());
        assert_eq!(counted_by_us(&report), counted_by_sql(&database), "{extension}");
        let arguments = [folder.path().to_str().unwrap(), found.path().to_str().unwrap()];
        assert_eq!(Python::shared().run(PYARROW, &arguments), "read\n");
        let mut n_values = BTreeMap::new();
        for table in &report.tables {
            let name = table.table.strip_prefix("every_type.").unwrap();
            let found = File::open(found.path().join(name).with_extension("arrow")).unwrap();
            let reader = FileReader::try_new(found, None).unwrap();
            let schema = reader.schema();
            let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
            let differences = differences(&database, &renderer, name, &schema, &batches);
            failures.extend(differences.into_iter().map(|difference| format!("{extension}: {difference}")));
            let n_valid = |column: &ArrayRef| column.len() - column.null_count();
            let of_column = |column: usize| batches.iter().map(|batch| n_valid(batch.column(column))).sum();
            n_values.insert(name.to_owned(), (0..schema.fields().len()).map(of_column).collect());
        }
        if extension == "parquet" {
            let by_duckdb = Python::shared().run(DUCKDB, &[arguments[0]]);
            let by_duckdb: BTreeMap<String, Vec<usize>> = serde_json::from_str(&by_duckdb).unwrap();
            assert_eq!(by_duckdb, n_values, "DuckDB and pyarrow");
        }
    }
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn without_choices_each_refused_value_stops_its_table_and_names_the_way_out() {
    require!(Capability::VersionAtLeast(150_000));
    let database = every_type();
    let mut refused: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (column, effect) in counted_by_sql(&database).into_keys() {
        let option = match effect.as_str() {
            "infinity_nulled" => "infinity=null|saturate",
            "nan_nulled" => "nan=null",
            "out_of_range_nulled" => "out_of_range=null|saturate",
            _ => continue,
        };
        refused.entry(column).or_default().push(option);
    }
    refused.insert("arrays.int4".to_owned(), vec!["arrays=shaped"]);
    refused.insert("arrays.text".to_owned(), vec!["arrays=shaped"]);
    for (name, options) in &refused {
        let (table, column) = name.split_once('.').unwrap();
        let error = refusal(source(&database).table(format!("every_type.{table}")).columns([column]));
        let advice = format!("column {column}:text");
        assert_error(&error, ErrorKind::Value, None, &[&format!("every_type.{table}"), "row ", &advice]);
        assert!(options.iter().any(|option| error.to_string().contains(option)), "{name}: {error}");
    }
    // All other columns are read as they are, with one query for each table.
    let sql = "SELECT c.relname, string_agg(quote_ident(a.attname), ',' ORDER BY a.attnum) FROM pg_class AS c \
               JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
               WHERE c.relnamespace = 'every_type'::regnamespace AND c.relkind = 'r' GROUP BY 1";
    for row in server_text(&mut oracle(&database), sql) {
        let (table, columns) = (row[0].clone().unwrap(), row[1].clone().unwrap());
        let columns: Vec<_> = columns.split(',').map(|name| name.trim_matches('"').to_owned()).collect();
        let columns = columns.into_iter().filter(|name| !refused.contains_key(&format!("{table}.{name}")));
        let export = read(source(&database).table(format!("every_type.{table}")).columns(columns));
        export.unwrap_or_else(|error| panic!("{table}: {error}"));
    }
}
