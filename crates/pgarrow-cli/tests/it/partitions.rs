//! Files by partitions, as readers of Hive's layout take them.

use std::fs;
use std::path::{Path, PathBuf};

use pgarrow_testkit::{Capability, Python, require};
use serde_json::Value;

use crate::support::{Place, batches_of, parquet_rows};

/// Values that mean something else in paths, differ only in case, or look like numbers.
const HOSTILE: &str = r#"
    SET timezone = 'America/New_York';
    CREATE TABLE t AS SELECT g AS id,
        (ARRAY['eu', 'EU', 'Eu', 'é', 'É', '../x', '..', '/etc', 'a=b', '100%', '%2F', E'new\nline', 'a b ',
               'NULL', '007', '1.50', 'x''y\z', 'a:b*?"<>|', NULL])[1 + g % 19] AS region,
        CASE WHEN g % 7 > 0 THEN timestamptz '2025-12-31 23:30:00+00' + g * interval '7 minutes' END AS at,
        repeat(md5(g::text), 2) AS text
      FROM generate_series(1, 20000) AS g;
    ANALYZE;
"#;

/// Rows and sums of ids by a column of paths, read by pyarrow and by DuckDB.
const BY_REGION: &str = "
import sys, json, duckdb, pyarrow as pa, pyarrow.dataset as ds
root, form = sys.argv[1:]
parts = ds.partitioning(pa.schema([('region', pa.string())]), flavor='hive')
table = ds.dataset(root, format=form, partitioning=parts).to_table()
rows = table.group_by('region').aggregate([('id', 'count'), ('id', 'sum')]).to_pylist()
sides = [[[row['region'], row['id_count'], row['id_sum']] for row in rows]]
if form == 'parquet':
    files = f\"read_parquet('{root}/**/*.parquet', hive_partitioning = true, hive_types = {{'region': VARCHAR}})\"
    # It reads NULL as the text that stands for it.
    sql = f\"select nullif(region, '__HIVE_DEFAULT_PARTITION__'), count(*), sum(id)::int from {files} group by 1\"
    sides.append([list(row) for row in duckdb.sql(sql).fetchall()])
for side in sides:
    print(json.dumps(sorted(side, key = lambda row: (row[0] is None, row[0] or ''))))
";

const BY_HOUR: &str = "
import sys, json, pyarrow.dataset as ds
table = ds.dataset(sys.argv[1], partitioning='hive').to_table()
keys = ['at_year', 'at_month', 'at_day', 'at_hour']
rows = table.group_by(keys).aggregate([('id', 'count'), ('id', 'sum')]).to_pylist()
rows = [[row[key] for key in keys] + [row['id_count'], row['id_sum']] for row in rows]
print(json.dumps(sorted(rows, key = lambda row: [(value is None, value) for value in row])))
";

/// All data files below a folder.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let is_hidden = path.file_name().unwrap().to_str().unwrap().starts_with(['_', '.']);
            match path.is_dir() {
                true => folders.push(path),
                false if !is_hidden => files.push(path),
                false => {}
            }
        }
    }
    files.sort();
    files
}

impl Place {
    fn json(&self, sql: &str) -> Value {
        let text: String = self.database.client().query_one(sql, &[]).unwrap().get(0);
        serde_json::from_str(&text).unwrap()
    }
}

#[test]
fn hostile_values_are_read_back_by_pyarrow_and_duckdb() {
    require!(Capability::Server, Capability::Python);
    let place = Place::new("partitions");
    place.database.execute(HOSTILE);
    let expected = place.json(
        "SELECT json_agg(json_build_array(region, n, sum) ORDER BY region COLLATE \"C\")::text \
         FROM (SELECT region, count(*) AS n, sum(id) AS sum FROM t GROUP BY region) AS r",
    );
    let parts = ["-t", "t", "--partition-by", "region", "--slice-bytes", "64K", "--readers", "3"];
    for (args, form) in [
        (&["-o", "a/"][..], "parquet"),
        (&["-o", "b/", "--to", "ipc", "--batch-rows", "1000"], "ipc"),
        (&["-o", "c/", "--file-size", "1K", "--row-group-rows", "100", "--batch-rows", "3000"], "parquet"),
        (&["-o", "d/", "--memory", "16M", "--keep-partition-columns"], "parquet"),
    ] {
        place.export(&[&parts[..], args].concat()).assert_success();
        let folder = place.path(args[1].trim_end_matches('/'));
        // Nothing has left the folder, and every file lies in one of its folders.
        let files = files_below(&folder);
        assert!(files.iter().all(|file| file.parent().unwrap().parent().unwrap() == folder), "{files:?}");
        let folders: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        // 19 values and the manifest; none the same as another in lower case.
        assert_eq!(folders.len(), 20, "{folders:?}");
        let mut lower: Vec<_> = folders.iter().map(|name| name.to_str().unwrap().to_lowercase()).collect();
        lower.sort();
        lower.dedup();
        assert_eq!(lower.len(), 20, "{folders:?}");
        for side in Python::shared().run(BY_REGION, &[folder.to_str().unwrap(), form]).lines() {
            assert_eq!(serde_json::from_str::<Value>(side).unwrap(), expected, "{args:?}");
        }
        if form == "parquet" {
            let has_column = batches_of(&files[0])[0].schema().column_with_name("region").is_some();
            assert_eq!(has_column, args.contains(&"--keep-partition-columns"), "{args:?}");
        }
    }
    // Three readers have 57 files at most if none ends before its reader does; what fills a file is read by
    // any.
    assert!(files_below(&place.path("c")).len() > 100, "files end at their size");
    // An export takes the place of its own folder, and of no other.
    let again =
        ["-q", "select 1 as id, 'x' as region", "--partition-by", "region", "-o", "a/", "--overwrite"];
    fs::write(place.path("a/region=007/theirs.csv"), "x").unwrap();
    place.export(&again).assert_refused(7, &["\"region=007/theirs.csv\"", "never replaced"]);
    fs::remove_file(place.path("a/region=007/theirs.csv")).unwrap();
    place.export(&again).assert_success();
    assert_eq!(files_below(&place.path("a")), [place.path("a/region=x/part-00000.parquet")]);
    fs::create_dir(place.path("a/mine")).unwrap();
    place.export(&again).assert_refused(7, &["a folder in it, \"mine\""]);
}

#[test]
fn parts_of_moments_are_those_of_utc() {
    require!(Capability::Server, Capability::Python);
    let place = Place::new("partitions_hour");
    place.database.execute(HOSTILE);
    let expected = place.json(
        "SELECT json_agg(json_build_array(y, m, d, h, n, sum) ORDER BY y, m, d, h)::text FROM (SELECT \
           extract(year FROM at AT TIME ZONE 'UTC')::int AS y, extract(month FROM at AT TIME ZONE 'UTC')::int AS m, \
           extract(day FROM at AT TIME ZONE 'UTC')::int AS d, extract(hour FROM at AT TIME ZONE 'UTC')::int AS h, \
           count(*) AS n, sum(id) AS sum FROM t WHERE id < 1000 GROUP BY 1, 2, 3, 4) AS r",
    );
    let by = ["--partition-by", "year(at),month(at)", "--partition-by", "day(at),hour(at)", "-o", "a/"];
    let set = ["-t", "t", "--where", "id < 1000", "--set", "timezone=Asia/Tokyo"];
    place.export(&[&set[..], &by[..]].concat()).assert_success();
    let read = Python::shared().run(BY_HOUR, &[place.path("a").to_str().unwrap()]);
    assert_eq!(serde_json::from_str::<Value>(&read).unwrap(), expected);
    assert!(place.path("a/at_year=2026/at_month=1/at_day=1/at_hour=0").is_dir());
    // Several tables, one of them without rows.
    place.database.execute("CREATE TABLE u (at date, x int)");
    place.export(&["-t", "t", "-t", "u", "--partition-by", "month(at)", "-o", "b/"]).assert_success();
    let files = files_below(&place.path("b/public.u"));
    assert_eq!(files, [place.path("b/public.u/at_month=__HIVE_DEFAULT_PARTITION__/part-00000.parquet")]);
    assert_eq!(parquet_rows(&files[0]), 0);
    let rows: usize = files_below(&place.path("b/public.t")).iter().map(|file| parquet_rows(file)).sum();
    assert_eq!(rows, 20_000);
}

#[test]
fn what_cannot_be_a_partition_is_refused() {
    require!(Capability::Server);
    let place = Place::new("partitions_refused");
    place.database.execute(
        "CREATE TABLE t AS SELECT 1 AS id, 0.5::float8 AS f, '{1}'::int[] AS a, now() AS at, now() AS \"At\", \
           2026 AS at_year, date '0044-03-15 BC' AS d, repeat('canary', 1000) AS long, '' AS empty, \
           '__HIVE_DEFAULT_PARTITION__' AS null_text, 'infinity'::date AS never",
    );
    let by = |list: &str| {
        place.export(&[
            "-t",
            "t",
            "--columns",
            "id,f,a,at,\"At\",at_year",
            "-o",
            "x/",
            "--partition-by",
            list,
        ])
    };
    for (list, says) in [
        ("f", "\"f\": its values (Float64) are no names of folders"),
        ("a", "are no names of folders"),
        ("at", "a timestamp has too many values; choose parts"),
        ("nowhere", "there is no column \"nowhere\""),
        ("hour(id)", "Int32 has no such part"),
        ("year(at)", "would be named \"at_year\" in paths"),
        ("month(at),month(\"At\")", "two folders named"),
        ("id,id", "two folders named"),
    ] {
        by(list).assert_refused(2, &["cannot be partitioned so", says, "--partition-by"]);
        assert!(place.names().is_empty(), "{list}");
    }
    by("week(at)").assert_said(2, "nothing to partition by");
    // Values are found while they are read; messages do not show them.
    for (column, says) in [
        ("long", "too long for the name of a folder"),
        ("empty", "the empty text"),
        ("null_text", "the text that stands for NULL"),
        ("d", "outside of the years 1 to 9999"),
    ] {
        let columns = format!("id,{column}");
        let ran = place.export(&["-t", "t", "--columns", &columns, "-o", "x/", "--partition-by", column]);
        ran.assert_refused(6, &["public.t: in 1 row of a batch", &format!("{column:?} has"), says]);
        assert!(!ran.stderr.contains("canary") && place.names().is_empty(), "{ran:?}");
    }
    let never = ["-t", "t", "--columns", "id,never", "-o", "x/", "--partition-by", "never"];
    place.export(&never).assert_refused(6, &["never"]);
    let id = ["-q", "select 1 as id", "--partition-by", "id"];
    place
        .export(&[&id[..], &["-o", "x/"]].concat())
        .assert_refused(2, &["no column for the files", "--keep-partition-columns"]);
    place
        .export(&[&id[..], &["-o", "x.parquet"]].concat())
        .assert_refused(2, &["--partition-by is for folders"]);
    place
        .export(&[&id[..], &["-o", "x/", "--ordered"]].concat())
        .assert_refused(2, &["--ordered", "--partition-by"]);
    let keep = ["-q", "select 1 as id", "-o", "x/", "--keep-partition-columns"];
    place.export(&keep).assert_refused(2, &["is for --partition-by"]);
    // In the middle, with files that are complete: none is left.
    let sql = "select g % 5 as k, 1 / (90000 - g) as x from generate_series(1, 100000) as g";
    let failing = ["-q", sql, "--partition-by", "k", "-o", "x/", "--batch-rows", "1000", "--file-size", "1K"];
    place.export(&failing).assert_refused(4, &["division by zero"]);
    assert!(place.names().is_empty(), "{:?}", place.names());
}

/// More partitions than files may be open, or than fit the memory: they go on in other files.
#[test]
fn many_partitions_in_little_memory() {
    require!(Capability::Server);
    let place = Place::new("partitions_many");
    place.database.execute(
        "CREATE TABLE t AS SELECT (g * 7919) % 1000 AS k, g AS id, md5(g::text) AS a, repeat('x', 400) AS b \
           FROM generate_series(1, 10000) AS g; ANALYZE",
    );
    let args = ["-t", "t", "--partition-by", "k", "-o", "x/", "--memory", "16M", "--readers", "2"];
    let ran = place.export(&[&args[..], &["--report", "report.json", "--slice-bytes", "256K"]].concat());
    ran.assert_success();
    let report: Value = serde_json::from_slice(&fs::read(place.path("report.json")).unwrap()).unwrap();
    assert!(report["memory_peak_bytes"].as_u64().is_none_or(|peak| peak <= 16 << 20), "{report}");
    let (mut rows, mut ids) = (0, 0_i64);
    let files = files_below(&place.path("x"));
    for file in &files {
        let folder = file.parent().unwrap().file_name().unwrap().to_str().unwrap();
        let k: i64 = folder.strip_prefix("k=").unwrap().parse().unwrap();
        for batch in batches_of(file) {
            let column = batch.column_by_name("id").unwrap();
            let column = column.as_any().downcast_ref::<arrow_array::Int32Array>().unwrap();
            for id in column.values() {
                assert_eq!(i64::from(*id) * 7919 % 1000, k);
                ids += i64::from(*id);
            }
            rows += batch.num_rows();
        }
    }
    assert_eq!((rows, ids), (10_000, 10_000 * 10_001 / 2));
    assert_eq!(fs::read_dir(place.path("x")).unwrap().count(), 1001);
    assert!(files.len() > 1000, "they go on in other files: {}", files.len());
}
