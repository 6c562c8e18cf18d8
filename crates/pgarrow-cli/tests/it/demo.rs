//! The demo, from nothing to checked files and back to nothing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;

use nix::sys::signal::Signal;
use pgarrow_testkit::{Capability, require};
use tempfile::TempDir;

use crate::signals::send;
use crate::support::{command, end_of, eventually, names, run, start};

const SCALE: [&str; 3] = ["demo", "--scale", "0.001"];

#[test]
fn a_demo_and_the_same_again() {
    require!(Capability::Server);
    let (folder, temp) = (TempDir::new().unwrap(), shared_temp());
    let demo = |args: &[&str]| {
        let mut demo = command(folder.path());
        // Settings for other servers must not reach the demo's.
        demo.env("PGSSLMODE", "verify-full").env("PGPORT", "1").env("TMPDIR", temp.path());
        run(demo.args(SCALE).args(args))
    };
    // The same command twice: the second run replaces the files of the first.
    for _ in 0..2 {
        let ran = demo(&[]);
        ran.assert_success();
        let text = ran.stdout_text();
        for part in [
            "PostgreSQL ",
            "loaded TPC-H at scale 0.001: ",
            "exported public.lineitem: 6,005 rows, ",
            "peak memory ",
            "pgarrow-demo/lineitem.parquet: ",
            "pgarrow-demo/lineitem.arrow: ",
            "checked against the server: both files have its 6,005 rows, its sums of 8 numeric columns",
            " export postgres://USER@HOST/DATABASE --table TABLE",
            "from 'pgarrow-demo/lineitem.parquet'",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        // Each export printed one, and both were the same process's.
        assert_eq!(text.matches("peak memory").count(), 1, "{text}");
        // Before, nothing was printed from the start of the server until all was loaded.
        let doing = [
            "starting a private server",
            "loading the eight tables of TPC-H at scale 0.001, about ",
            "running VACUUM",
            "exporting public.lineitem to lineitem.parquet",
            "checking both files",
        ];
        let said =
            doing.map(|doing| ran.stderr.find(doing).unwrap_or_else(|| panic!("{doing:?}: {}", ran.stderr)));
        assert!(said.is_sorted(), "{}", ran.stderr);
        assert_eq!(names(folder.path()), ["pgarrow-demo"]);
        assert_eq!(names(&folder.path().join("pgarrow-demo")), ["lineitem.arrow", "lineitem.parquet"]);
        assert!(names(temp.path()).is_empty(), "{:?}", names(temp.path()));
    }

    // Even its own folder may have the user's files.
    let arrow = folder.path().join("pgarrow-demo/lineitem.arrow");
    fs::write(&arrow, "mine").unwrap();
    demo(&[]).assert_refused(7, &["lineitem.arrow\" is no file of an earlier demo", "--dir"]);
    assert_eq!(fs::read_to_string(&arrow).unwrap(), "mine");

    // A folder of the user: its files stay, unless the user asks to replace them.
    let parquet = folder.path().join("mine/lineitem.parquet");
    fs::create_dir(folder.path().join("mine")).unwrap();
    fs::write(&parquet, "mine").unwrap();
    demo(&["--dir", "mine"]).assert_refused(7, &["lineitem.parquet\" exists", "--overwrite"]);
    assert_eq!(fs::read_to_string(&parquet).unwrap(), "mine");
    assert_eq!(names(&folder.path().join("mine")), ["lineitem.parquet"]);
    demo(&["--dir", "mine", "--overwrite"]).assert_success();
    assert!(fs::read(&parquet).unwrap().starts_with(b"PAR1"));
}

#[test]
fn a_demo_that_is_interrupted_leaves_no_server_and_no_folder() {
    require!(Capability::Server);
    // At its first line, when the server is about to start, and at its second, when the data are loaded.
    for n_lines in [1, 2] {
        let (folder, temp) = (TempDir::new().unwrap(), shared_temp());
        let mut child = start(command(folder.path()).env("TMPDIR", temp.path()).args(SCALE));
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        for _ in 0..n_lines {
            stdout.read_line(&mut String::new()).unwrap();
        }
        send(&child, Signal::SIGINT);
        let ran = end_of(child, 20);
        assert_eq!(ran.code, Some(130), "{ran:?}");
        assert!(ran.stderr.contains("pgarrow: cancelled by SIGINT from process "), "{}", ran.stderr);
        assert!(names(folder.path()).is_empty(), "{:?}", names(folder.path()));
        // A server has its folder there while it lives.
        eventually("the server is gone", || names(temp.path()).is_empty());
    }
}

#[test]
fn a_demo_without_a_postgresql() {
    let folder = TempDir::new().unwrap();
    let ran = run(command(folder.path()).env("PGARROW_PG_BIN", "/nowhere").args(SCALE));
    ran.assert_refused(1, &["no usable PostgreSQL in /nowhere"]);
    assert!(names(folder.path()).is_empty());
    let ran = run(command(folder.path()).args(SCALE).args(["--dir", "no/such/folder"]));
    ran.assert_refused(7, &["no/such/folder"]);
}

/// A folder for temporary files that the user of a server may enter, too.
fn shared_temp() -> TempDir {
    let temp = tempfile::Builder::new().prefix("t").tempdir_in("/tmp").unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(temp.path() as &Path, open).unwrap();
    temp
}
