//! Exports that compare what they have written with the server before it appears.

use std::fs;

use pgarrow_testkit::{Capability, require};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{NUMBERS, Place, command, eventually, names, run};

const TABLES: &str = "CREATE SCHEMA shop; CREATE TYPE mood AS ENUM ('calm', 'wild'); \
    CREATE TABLE shop.many (id int, at timestamptz, n numeric(10, 2), text text, u uuid, a int[], m mood); \
    INSERT INTO shop.many SELECT g, now(), g / 3.0, md5(g::text), md5(g::text)::uuid, ARRAY[g, NULL], 'wild' \
      FROM generate_series(1, 5000) AS g; \
    CREATE TABLE shop.empty (id int); CREATE TABLE shop.child (b int) INHERITS (shop.empty); \
    INSERT INTO shop.child VALUES (1, 2); ANALYZE";

/// Other values each time it is read.
const SHIFTING: &str = "CREATE VIEW shifting AS SELECT id, random() AS r FROM t";

fn report(place: &Place) -> Value {
    serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap()
}

#[test]
fn an_output_appears_if_the_server_has_the_same() {
    require!(Capability::Server);
    let place = Place::new("export_checked");
    place.database.execute(NUMBERS);
    place.database.execute(TABLES);
    let one = "1 table with 20,000 rows is what the server has under the same snapshot";
    for (output, more) in [
        ("a.parquet", &[][..]),
        ("b.arrow", &[]),
        ("c.arrows", &["--origin"]),
        ("no ending", &["--to", "parquet", "--ordered"]),
        ("no ending at all", &["--to", "ipc-stream"]),
        ("folder/", &["--readers", "3", "--slice-bytes", "128K", "--file-size", "50K"]),
        ("ordered.arrow/", &["--to", "ipc", "--ordered"]),
        ("a.parquet", &["--overwrite", "--readers", "3", "--slice-bytes", "128K"]),
    ] {
        let args = [&["-t", "t", "-o", output, "--verify"], more].concat();
        place.export(&args).assert_said(0, one);
    }
    let files =
        ["a.parquet", "b.arrow", "c.arrows", "folder", "no ending", "no ending at all", "ordered.arrow"];
    assert_eq!(place.names(), files);
    assert!(place.path("folder/_pgarrow_manifest.json").exists());
    // Many tables; columns; without children.
    let args = ["--schema", "shop", "-o", "shop/", "--verify", "--report", "r.json"];
    place.export(&args).assert_said(0, "3 tables with 5,002 rows are what the server has");
    let verified = &report(&place)["verified"];
    assert_eq!((verified["tables"].as_u64(), verified["rows"].as_u64()), (Some(3), Some(5002)));
    for (args, n_rows) in [
        (&["-t", "shop.many", "--columns", "u,at"][..], "5,000 rows"),
        (&["-t", "shop.empty"], "1 row "),
        (&["-t", "shop.empty", "--only"], "0 rows"),
        (&["-t", "shop.em*", "-t", "shop.many", "--only"], "5,000 rows"),
    ] {
        let ran = place.export(&[args, &["-o", "some.parquet/", "--overwrite", "--verify"]].concat());
        ran.assert_said(0, n_rows);
    }
    // What a choice has changed is not compared, and that is said.
    place.database.execute("CREATE TABLE odd AS SELECT 'infinity'::date AS d, 1 AS id");
    let args = ["-t", "odd", "--infinity", "null", "-o", "odd.parquet", "--verify", "--report", "odd.json"];
    place.export(&args).assert_said(0, "not compared before the commit: 1 ");
    eventually("no session is left", || place.database.n_sessions("pgarrow") == 0);
}

#[test]
fn an_output_that_differs_does_not_appear() {
    require!(Capability::Server);
    let place = Place::new("export_differs");
    place.database.execute(NUMBERS);
    place.database.execute(SHIFTING);
    place.export(&["-t", "t", "-o", "old.parquet"]).assert_success();
    place.export(&["-t", "t", "-o", "old/"]).assert_success();
    let before = fs::read(place.path("old.parquet")).unwrap();
    for (what, output) in [
        (&["-t", "shifting"][..], "old.parquet"),
        (&["-t", "shifting"], "new.arrow"),
        (&["-t", "shifting"], "old/"),
        (&["-t", "shifting", "-t", "t"], "old/"),
        (&["-t", "shifting", "-t", "t"], "new/"),
    ] {
        let args = [what, &["-o", output, "--overwrite", "--verify", "--report", "r.json"]].concat();
        let ran = place.export(&args);
        ran.assert_said(
            11,
            "not what the server has under the same snapshot: public.shifting, column \"r\": ",
        );
        ran.assert_said(11, "nothing was published");
        let failed = report(&place);
        assert_eq!(
            (&failed["status"], &failed["error"]["kind"]),
            (&"failed".into(), &"server_differs".into())
        );
        // Nothing is left, and what was there before is as it was.
        assert_eq!(place.names(), ["old", "old.parquet", "r.json"], "{what:?} {output}");
    }
    assert!(fs::read(place.path("old.parquet")).unwrap() == before);
    eventually("no session is left", || place.database.n_sessions("pgarrow") == 0);
}

#[test]
fn what_is_not_compared_is_refused() {
    let folder = TempDir::new().unwrap();
    for (args, says) in [
        (
            &["-q", "select 1", "-o", "x.parquet"][..],
            "--verify compares whole tables; leave it out, or the query",
        ),
        (&["-t", "t", "--where", "id > 1", "-o", "x.parquet"], "leave it out, or --where"),
        (&["-t", "t", "--limit", "5", "-o", "x.parquet"], "leave it out, or --limit"),
        (&["-t", "t", "-o", "-", "--to", "parquet"], "--verify reads files before they appear"),
        (&["-t", "t", "--to", "none"], "--verify reads files before they appear"),
        (&["-t", "t", "-o", "x.parquet", "--inconsistent"], "leave it out, or --inconsistent"),
        (&["-t", "t", "-o", "x/", "--partition-by", "id"], "pgarrow run --verify"),
        (&["-t", "t", "-o", "x.parquet", "--reject", "r.arrow"], "leave it out, or --reject"),
    ] {
        let ran =
            run(command(folder.path()).args(["export", "postgresql://localhost/x", "--verify"]).args(args));
        ran.assert_refused(2, &[says]);
    }
    assert!(names(folder.path()).is_empty());
}
