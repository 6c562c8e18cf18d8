//! Two million rows through each sink, read back by other programs and added up.

use pgarrow::ExportOptions;
use pgarrow_sink::{Output, Sink};
use pgarrow_sink_ipc::{IpcFormat, IpcOptions, IpcSink};
use pgarrow_sink_parquet::{ParquetOptions, ParquetSink};
use pgarrow_testkit::{Capability, Database, Python, require};

use crate::support::{database, oracle, server_text, source};

const N_ROWS: u64 = 2_000_000;

const TABLE: &str = "CREATE TYPE mood AS ENUM ('sad', 'ok', 'élated'); \
    CREATE UNLOGGED TABLE big AS SELECT g::int8 AS id, (g % 65536 - 32768)::int2 AS small, \
      CASE WHEN g % 11 <> 0 THEN ((g::int8 * 7919) % 1000000007)::numeric(15,2) / 100 END::numeric(15,2) AS price, \
      (g::numeric * 1000000000000000000000)::numeric(40,3) AS wide, \
      (g % 100000) / 4.0::float8 AS f, g % 3 = 0 AS flag, '1900-01-01'::date + g % 80000 AS day, \
      '1970-01-01'::timestamptz + g * interval '1.000001 s' AS moment, \
      CASE WHEN g % 5 <> 0 THEN 'né ' || g % 1000 || repeat('x', g % 20) END AS name, \
      md5(g::text)::uuid AS u, (enum_range(NULL::mood))[1 + g % 4] AS m, (g % 1000)::text::bytea AS b \
    FROM generate_series(1, 2000000) AS g";

/// One line of sums, which each program computes in its own way.
const SERVER: &str = "SELECT concat_ws(' ', count(*), sum(id), sum(small), sum(price), count(price), sum(wide), \
      sum(f)::int8, count(*) FILTER (WHERE flag), min(day), max(day), sum(extract(epoch FROM moment) * 1000000)::int8, \
      count(name), sum(length(name)), md5(string_agg(coalesce(name, '-'), ',' ORDER BY id)), \
      md5(string_agg(uuid_send(u), ''::bytea ORDER BY id)), count(m), count(*) FILTER (WHERE m = 'élated'), \
      sum(length(b))) FROM big";

const PYARROW: &str = r#"
import hashlib, sys, pyarrow as pa, pyarrow.compute as pc, pyarrow.parquet as pq
kind, path = sys.argv[1:]
if kind == "parquet":
    table = pq.read_table(path)
elif kind == "file":
    table = pa.ipc.open_file(path).read_all()
else:
    table = pa.ipc.open_stream(path).read_all()
table.validate(full=True)
c = {name: table[name] for name in table.column_names}
total = lambda name: pc.sum(c[name]).as_py()
epoch = pc.sum(c["moment"].cast(pa.int64())).as_py()
names = ",".join("-" if v is None else v for v in c["name"].to_pylist())
storage = lambda chunk: chunk.storage if hasattr(chunk, "storage") else chunk
uuids = b"".join(v for chunk in c["u"].chunks for v in storage(chunk).to_pylist())
moods = c["m"].cast(pa.string())
wide = total("wide")
print(table.num_rows, total("id"), total("small"), total("price"), len(c["price"]) - c["price"].null_count, wide,
      int(total("f")), total("flag"), pc.min(c["day"]).as_py(), pc.max(c["day"]).as_py(), epoch,
      len(c["name"]) - c["name"].null_count, pc.sum(pc.utf8_length(c["name"])).as_py(),
      hashlib.md5(names.encode()).hexdigest(), hashlib.md5(uuids).hexdigest(),
      len(moods) - moods.null_count, pc.sum(pc.equal(moods, "élated")).as_py(), pc.sum(pc.binary_length(c["b"])).as_py())
"#;

const DUCKDB: &str = r#"
import sys, duckdb
duckdb.sql("SET TimeZone = 'UTC'")
row = duckdb.sql(f"""SELECT count(*), sum(id), sum(small), sum(price), count(price), sum(f)::int64,
  count(*) FILTER (WHERE flag), min(day), max(day), sum(epoch_us(moment)), count(name), sum(length(name)),
  count(m), count(*) FILTER (WHERE m = 'élated'), sum(octet_length(b)), min(u), max(u)
  FROM '{sys.argv[1]}'""").fetchall()[0]
print(*row)
"#;

const SERVER_FOR_DUCKDB: &str = "SELECT concat_ws(' ', count(*), sum(id), sum(small), sum(price), count(price), \
      sum(f)::int8, count(*) FILTER (WHERE flag), min(day), max(day), sum(extract(epoch FROM moment) * 1000000)::int8, \
      count(name), sum(length(name)), count(m), count(*) FILTER (WHERE m = 'élated'), sum(length(b)), \
      min(u::text COLLATE \"C\"), max(u::text COLLATE \"C\")) FROM big";

fn server_line(database: &Database, sql: &str) -> String {
    server_text(&mut oracle(database), sql)[0][0].clone().unwrap()
}

#[test]
fn two_million_rows_through_every_sink_and_back() {
    require!(Capability::Server, Capability::Python);
    let database = database("sinks", TABLE);
    let expected = server_line(&database, SERVER);
    let folder = tempfile::tempdir().unwrap();
    for kind in ["parquet", "file", "stream"] {
        let path = folder.path().join(format!("big.{kind}"));
        let options = ExportOptions::default().with_readers(3).with_order(true);
        let run = source(&database).table("big").options(options).open().unwrap();
        assert!(run.plan().n_slices() > 3);
        let (output, schema) = (Output::file(&path, false).unwrap(), run.schema().clone());
        let ipc = |format| IpcOptions::default().with_format(format);
        let sink: Box<dyn Sink> = match kind {
            "parquet" => Box::new(ParquetSink::create(output, schema, ParquetOptions::default()).unwrap()),
            "file" => Box::new(IpcSink::create(output, schema, ipc(IpcFormat::File)).unwrap()),
            _ => Box::new(IpcSink::create(output, schema, ipc(IpcFormat::Stream)).unwrap()),
        };
        let report = run.write_to(sink).unwrap();
        assert_eq!((report.rows, report.files.len()), (N_ROWS, 1));
        assert_eq!(report.files[0].bytes, path.metadata().unwrap().len());
        let path = path.to_str().unwrap();
        assert_eq!(Python::shared().run(PYARROW, &[kind, path]).trim_end(), expected, "pyarrow, {kind}");
        if kind == "parquet" {
            let expected = server_line(&database, SERVER_FOR_DUCKDB);
            assert_eq!(Python::shared().run(DUCKDB, &[path]).trim_end(), expected, "duckdb");
        }
    }
}

#[test]
fn an_export_that_fails_leaves_no_file() {
    require!(Capability::Server);
    let database = database("nofile", "");
    let folder = tempfile::tempdir().unwrap();
    for (name, n_rows) in [("early.parquet", 10), ("late.parquet", 200_000)] {
        let path = folder.path().join(name);
        let sql = format!("SELECT 1 / ({n_rows} - g) FROM generate_series(1, {n_rows}) AS g");
        let run = source(&database)
            .query(sql)
            .options(ExportOptions::default().with_batch_rows(1000))
            .open()
            .unwrap();
        let output = Output::file(&path, false).unwrap();
        let sink = ParquetSink::create(output, run.schema().clone(), ParquetOptions::default()).unwrap();
        assert_eq!(run.write_to(Box::new(sink)).unwrap_err().sqlstate(), Some("22012"));
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_table_without_columns_is_refused_by_parquet_and_kept_by_ipc() {
    require!(Capability::Server);
    let database = database("nocolumns", "CREATE TABLE e (); INSERT INTO e DEFAULT VALUES");
    let folder = tempfile::tempdir().unwrap();
    let run = source(&database).table("e").open().unwrap();
    let output = Output::file(folder.path().join("e.parquet"), false).unwrap();
    ParquetSink::create(output, run.schema().clone(), ParquetOptions::default()).unwrap_err();
    let output = Output::file(folder.path().join("e.arrow"), false).unwrap();
    let sink = IpcSink::create(output, run.schema().clone(), IpcOptions::default()).unwrap();
    assert_eq!(run.write_to(Box::new(sink)).unwrap().rows, 1);
}
