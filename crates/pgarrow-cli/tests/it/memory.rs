//! `--memory` holds for the whole process, with any number of columns and any size of a value.
//!
//! These are the corners of a matrix; `just bench-memory` runs all of it.

use std::fs;

use pgarrow_testkit::{Capability, require};
use serde_json::Value;

use crate::support::Place;

const MIB: u64 = 1 << 20;

/// Memory of a process beside `--memory`: code, stacks, what the allocator keeps.
const BESIDE: u64 = 64 * MIB;

/// Columns and rows of the tables.
const TABLES: [(u64, u64); 4] = [(1, 300_000), (16, 800_000), (300, 30_000), (1600, 6_000)];

/// Tables `w1`, `w16`, `w300` and `w1600` of integers: keys, few values, scattered ones.
fn place() -> Place {
    let place = Place::new("matrix");
    for (n_columns, n_rows) in TABLES {
        let names: Vec<String> = (0..n_columns).map(|n| format!("c{n} int4")).collect();
        let value = |n: u64| match n % 4 {
            0 => "g".to_owned(),
            1 => format!("g % {}", 7 + n),
            // Differences of a product would all be the same, and a column of them would take almost no
            // bytes.
            _ => format!("hashint4(g + {n})"),
        };
        let values: Vec<String> = (0..n_columns).map(value).collect();
        let (names, values) = (names.join(", "), values.join(", "));
        place.database.execute(&format!(
            "CREATE UNLOGGED TABLE w{n_columns} ({names}); \
             INSERT INTO w{n_columns} SELECT {values} FROM generate_series(1, {n_rows}) AS g"
        ));
    }
    place
}

/// One export, with slices small enough that all readers get some. Returns its report; none if it was
/// refused.
#[track_caller]
fn export(place: &Place, n_columns: u64, readers: u64, mib: u64, format: &str) -> Option<Value> {
    let (table, readers, memory) = (format!("w{n_columns}"), readers.to_string(), format!("{mib}M"));
    let mut args = vec!["-t", &table, "--readers", &readers, "--memory", &memory, "--slice-bytes", "1M"];
    args.extend(["--to", format, "--report", "r.json", "--overwrite"]);
    if format != "none" {
        args.extend(["-o", "out"]);
    }
    let ran = place.export(&args);
    if ran.code == Some(2) && format == "parquet" {
        assert!(16 + n_columns * 64 / 1024 > mib, "refused too early: {}", ran.stderr);
        assert!(ran.stderr.contains(" MiB of memory in this format, and the limit is "), "{}", ran.stderr);
        return None;
    }
    ran.assert_success();
    let report: Value = serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap();
    let n_rows = TABLES.iter().find(|(columns, _)| *columns == n_columns).unwrap().1;
    assert_eq!(report["rows"], n_rows, "{args:?}");
    let resident = report["peak_memory_bytes"].as_u64().unwrap();
    let most = mib * MIB + BESIDE;
    assert!(resident <= most, "{args:?}: {} of {} MiB are resident", resident / MIB, most / MIB);
    Some(report)
}

/// Before, 300 integer columns took 1,039 MB with `--memory 64M`, and 1,500 of them 2,025 MB.
#[test]
fn resident_memory_is_what_was_allowed() {
    require!(Capability::Server);
    let place = place();
    for (n_columns, _) in TABLES {
        for readers in [1, 8] {
            // For 16 columns, the memory that the allocator kept was too much.
            for mib in if n_columns == 16 { [32, 64] } else { [32, 1024] } {
                for format in ["none", "ipc", "parquet"] {
                    export(&place, n_columns, readers, mib, format);
                }
            }
        }
    }
}

/// Bloom filters are there from the first row of a row group on: fewer readers read, or none.
#[test]
fn bloom_filters_are_part_of_the_memory() {
    require!(Capability::Server);
    let place = place();
    let columns: Vec<String> = (0..8).map(|n| format!("c{n}:bloom=0.01")).collect();
    let flags: Vec<&str> = columns.iter().flat_map(|column| ["--parquet-column", column]).collect();
    let run = |memory: &str| {
        let args = ["-t", "w16", "--readers", "4", "--memory", memory, "--slice-bytes", "1M", "-o", "out"];
        let more = ["--to", "parquet", "--report", "r.json", "--overwrite"];
        place.export(&[&args[..], &more, &flags].concat())
    };
    // Eight filters for a million values each take 16 MiB.
    for (memory, mib, n_readers) in [("64M", 64, 1), ("192M", 192, 2)] {
        run(memory).assert_success();
        let report: Value = serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap();
        assert_eq!(report["rows"], 800_000);
        assert_eq!(report["readers"].as_array().unwrap().len(), n_readers, "{memory}");
        let resident = report["peak_memory_bytes"].as_u64().unwrap();
        assert!(resident <= mib * MIB + BESIDE, "{memory}: {} MiB are resident", resident / MIB);
        let groups = report["files"][0]["row_groups"].as_u64().unwrap();
        assert!(groups <= 12, "{memory}: {groups} row groups");
    }
    run("32M")
        .assert_refused(2, &["columns need 3", "MiB of memory in this format, and the limit is 32 MiB"]);
}

/// Before, every step of the encoding became a row group: 811 of 240 rows, in a file of 274 MB instead of
/// 1.7.
#[test]
fn files_of_wide_tables_are_no_larger_for_little_memory() {
    require!(Capability::Server);
    let place = place();
    let size = |report: &Value| report["files"][0]["bytes"].as_u64().unwrap();
    let groups = |report: &Value| report["files"][0]["row_groups"].as_u64().unwrap();
    let plenty = export(&place, 300, 1, 1024, "parquet").unwrap();
    assert_eq!((groups(&plenty), &plenty["memory"]["row_groups_ended_early"]), (1, &0.into()));
    let enough = export(&place, 300, 8, 256, "parquet").unwrap();
    assert!(size(&enough) * 10 <= size(&plenty) * 12, "{} and {}", size(&enough), size(&plenty));
    let little = export(&place, 300, 8, 32, "parquet").unwrap();
    assert!(size(&little) * 10 <= size(&plenty) * 12, "{} and {}", size(&little), size(&plenty));
    let early = little["memory"]["row_groups_ended_early"].as_u64().unwrap();
    assert!(early > 0 && early <= groups(&little), "{early} of {}", groups(&little));
    assert_eq!(little["readers"].as_array().unwrap().len(), 1);
    let warnings = little["warnings"].as_array().unwrap();
    let said = "1 reader instead of 4: 300 columns take much memory in each";
    assert!(warnings.iter().any(|warning| warning.as_str().unwrap().contains(said)), "{warnings:?}");
}

/// Before, it took 255 MiB under `--memory 96M`.
#[test]
fn one_value_of_a_hundred_megabytes() {
    require!(Capability::Server);
    let place = Place::new("value");
    // Stored without compression, which would take long.
    place.database.execute(
        "CREATE TABLE v (b bytea); ALTER TABLE v ALTER b SET STORAGE EXTERNAL; \
         INSERT INTO v SELECT string_agg(sha512(int4send(g)), '') FROM generate_series(1, 1562500) AS g",
    );
    let value = 100_000_000;
    let run = |format: &str, bytes: u64| {
        let memory = format!("{}M", bytes / MIB);
        let mut args =
            vec!["-t", "v", "--memory", &memory, "--to", format, "--report", "r.json", "--overwrite"];
        if format != "none" {
            args.extend(["-o", "out"]);
        }
        place.export(&args)
    };
    for (format, tenths) in [("none", 13), ("ipc-stream", 13), ("ipc", 23), ("parquet", 33)] {
        let needed = value / 10 * tenths;
        let ran = run(format, needed + 16 * MIB);
        ran.assert_success();
        let report: Value = serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap();
        let resident = report["peak_memory_bytes"].as_u64().unwrap();
        let most = needed + BESIDE;
        assert!(resident <= most, "{format}: {} of {} MiB are resident", resident / MIB, most / MIB);
        let refused = run(format, value + MIB);
        refused.assert_refused(
            2,
            &["public.v: the next rows need ", " MiB of memory at once", "limit is 96 MiB"],
        );
    }
}
