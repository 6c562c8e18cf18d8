//! The module's tests are in Python: `tests/python/test_*.py`, one Rust test for each file. They run in the
//! environment that `PGARROW_TEST_WHEEL` names, against a server of the testkit.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are not in tests themselves")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pgarrow_testkit::program::wheel_python;
use pgarrow_testkit::{Capability, TestServer, require};

/// Runs a file of tests, and fails with what pytest says.
#[track_caller]
fn pytest(file: &str) {
    let python = wheel_python().unwrap();
    let server = TestServer::shared();
    let output = Command::new(python)
        .args(["-m", "pytest", "-q", "--no-header", "-rs", "-p", "no:cacheprovider", file])
        .current_dir(folder())
        // What is tested is what was installed, and nothing is written beside the sources.
        .env_remove("PYTHONPATH")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PGARROW_TEST_DSN", server.url())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{file}: {}\n{said}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    // Shown with --nocapture, and when something was left out.
    println!("{}", said.trim_end());
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python")
}

macro_rules! files {
    ($($capability:ident: $($name:ident),+;)+) => {
        /// The files that a test of this program runs.
        const FILES: &[&str] = &[$($(concat!(stringify!($name), ".py")),+),+];

        $($(
            #[test]
            fn $name() {
                require!(Capability::Server, Capability::$capability);
                pytest(concat!(stringify!($name), ".py"));
            }
        )+)+
    };
}

files! {
    Wheel: test_read, test_write, test_interrupts, test_types, test_book, test_adbc;
    Clusters: test_spark, test_spark_profile, test_spark_writer, test_ray, test_dask;
}

/// A file that nobody runs tests nothing.
#[test]
fn every_file_of_tests_is_run() {
    let there: BTreeSet<String> = folder()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("test_") && name.ends_with(".py"))
        .collect();
    assert_eq!(there, FILES.iter().map(|name| (*name).to_owned()).collect());
}
