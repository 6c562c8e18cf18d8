//! Rows that are neighbours in a table are neighbours in its files, with any number of readers.

use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::statistics::Statistics;
use pgarrow_testkit::{Capability, require};

use crate::support::{Place, stream};

const N_ROWS: i64 = 400_000;

/// A table that was loaded day by day, of about 60 MB.
const DAYS: &str = "CREATE UNLOGGED TABLE t AS SELECT g::int8 AS id, '2020-01-01'::date + g / 500 AS day, \
       repeat(md5(g::text), 3) AS text FROM generate_series(0, 399999) AS g; ANALYZE t";

/// For each row group of a file: its rows, and the smallest and largest value of its first column, an `int8`.
fn groups(path: &Path) -> Vec<(i64, i64, i64)> {
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let group = |group: &parquet::file::metadata::RowGroupMetaData| {
        let Some(Statistics::Int64(ids)) = group.column(0).statistics() else { panic!("no statistics") };
        (group.num_rows(), *ids.min_opt().unwrap(), *ids.max_opt().unwrap())
    };
    reader.metadata().row_groups().iter().map(group).collect()
}

fn median_span(groups: &[(i64, i64, i64)]) -> i64 {
    let mut spans: Vec<i64> = groups.iter().map(|(_, min, max)| max - min).collect();
    spans.sort_unstable();
    spans[spans.len() / 2]
}

/// Before, every reader took the next slice of all: each row group had rows from the whole table, so its
/// smallest and largest day were the table's, and no reader of the file could skip a row group.
#[test]
fn row_groups_keep_the_neighbourhood_of_their_rows() {
    require!(Capability::Server);
    let place = Place::new("neighbours");
    place.database.execute(DAYS);
    let args = ["-t", "t", "--row-group-rows", "7000", "-o", "x.parquet", "--overwrite"];
    place.export(&[&args[..], &["--readers", "1"]].concat()).assert_success();
    let alone = groups(&place.path("x.parquet"));
    assert_eq!(median_span(&alone), 6999);
    for (n_readers, more) in [
        (2, &[][..]),
        (8, &[]),
        (8, &["--read-mode", "copy"]),
        (8, &["--slice-bytes", "256K"]),
        (3, &["--slice-bytes", "256K", "--memory", "24M"]),
    ] {
        let ran = place.export(&[&args[..], &["--readers", &n_readers.to_string()], more].concat());
        ran.assert_success();
        let mut found = groups(&place.path("x.parquet"));
        assert_eq!(found.iter().map(|(rows, ..)| rows).sum::<i64>(), N_ROWS);
        assert!(median_span(&found) <= 2 * median_span(&alone), "{n_readers} readers {more:?}: {found:?}");
        // Each row group is a run of rows without a gap, so the file has them all.
        for (rows, min, max) in &found {
            assert_eq!(max - min + 1, *rows, "{n_readers} readers {more:?}");
        }
        found.sort_unstable_by_key(|(_, min, _)| *min);
        assert!(found.windows(2).all(|pair| pair[0].2 + 1 == pair[1].1), "{found:?}");
        // A row group ends early where a reader moves elsewhere in the table: a few times for each reader.
        let n_early = found.iter().filter(|(rows, ..)| *rows < 7000).count();
        let is_short = more.contains(&"--memory");
        assert!(is_short || n_early <= 4 * n_readers, "{n_readers} readers {more:?}: {n_early} end early");
    }
}

/// Batches end where slices do, so a reader that moves elsewhere needs no signal.
#[test]
fn batches_keep_the_neighbourhood_of_their_rows() {
    require!(Capability::Server);
    let place = Place::new("batches");
    place.database.execute(DAYS);
    let args = ["-t", "t", "--readers", "8", "--slice-bytes", "256K", "--to", "ipc-stream", "-o", "-"];
    let ran = place.export(&args);
    ran.assert_success();
    let mut n_rows = 0;
    for batch in stream(&ran.stdout) {
        let ids = batch.column(0).as_primitive::<Int64Type>().values();
        assert!(ids.windows(2).all(|pair| pair[0] + 1 == pair[1]));
        n_rows += ids.len();
    }
    assert_eq!(n_rows, 400_000);
}

/// Before, partitions were read in the order of their sizes.
#[test]
fn row_groups_of_partitions_keep_the_neighbourhood_too() {
    require!(Capability::Server);
    let place = Place::new("leaves");
    // Partitions of very different sizes, small ones among them, made in the order of their days.
    let borders = [0_i64, 100, 90_000, 90_500, 91_000, 200_000, 350_000, 350_100, 400_000];
    let parts: String = borders
        .windows(2)
        .map(|pair| {
            format!("CREATE TABLE p{0} PARTITION OF p FOR VALUES FROM ({0}) TO ({1});", pair[0], pair[1])
        })
        .collect();
    place.database.execute(&format!(
        "{DAYS}; CREATE TABLE p (id int8, day date, text text) PARTITION BY RANGE (id); {parts} INSERT INTO p SELECT * FROM t"
    ));
    for more in [&[][..], &["--slice-bytes", "512K"]] {
        let args =
            ["-t", "p", "--row-group-rows", "7000", "-o", "x.parquet", "--overwrite", "--readers", "4"];
        place.export(&[&args[..], more].concat()).assert_success();
        let found = groups(&place.path("x.parquet"));
        assert_eq!(found.iter().map(|(rows, ..)| rows).sum::<i64>(), N_ROWS);
        for (rows, min, max) in &found {
            assert_eq!(max - min + 1, *rows, "{more:?}");
        }
    }
}

/// Of many tables, each keeps its own neighbourhood, and its own file.
#[test]
fn row_groups_of_many_tables_keep_the_neighbourhood_too() {
    require!(Capability::Server);
    let place = Place::new("tables");
    place.database.execute(&format!(
        "{DAYS}; CREATE TABLE u AS SELECT * FROM t WHERE id < 150000; CREATE TABLE v AS SELECT * FROM t WHERE id < 10"
    ));
    let args = ["-t", "t", "-t", "u", "-t", "v", "--row-group-rows", "7000", "-o", "out/", "--readers", "4"];
    place.export(&args).assert_success();
    for (name, n_rows) in [("t", N_ROWS), ("u", 150_000), ("v", 10)] {
        let path = place.path("out").join(format!("public.{name}.parquet"));
        let found = groups(&path);
        assert_eq!(found.iter().map(|(rows, ..)| rows).sum::<i64>(), n_rows);
        for (rows, min, max) in &found {
            assert_eq!(max - min + 1, *rows, "{name}");
        }
    }
}
