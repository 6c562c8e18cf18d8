//! The examples of the README and of the crate's documentation, run as a user would run them.

use std::path::Path;
use std::process::{Command, Output};

use pgarrow_testkit::{Capability, Database, require};

use crate::support::{database, url};

const ORDERS: &str = "CREATE TABLE orders AS SELECT g AS id, 'é' AS item, 9.99::numeric(10,2) AS price \
                      FROM generate_series(1, 70000) AS g";

fn run(example: &str, database: &Database, table: &str) -> Output {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // For the whole workspace, as `cargo test` has built it: for one package alone, the dependencies have
    // other features and would be built again.
    command.args(["run", "--quiet", "--locked", "--example", example, "--"]);
    // The variables that cargo sets for this test's own package. Build scripts read them: with them, ring and
    // everything that depends on it is built again, here and in the next build.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command.arg(url(database)).arg(table).current_dir(workspace).output().unwrap()
}

/// The lines that an example prints for the orders. Also asserts that it fails for a missing table and names
/// it.
fn printed(example: &str) -> Vec<String> {
    let database = database("example", ORDERS);
    let output = run(example, &database, "orders");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let failed = run(example, &database, "nothing");
    assert!(!failed.status.success());
    assert!(String::from_utf8_lossy(&failed.stderr).contains("nothing"));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_example_of_the_readme_counts_rows() {
    require!(Capability::Server);
    assert_eq!(printed("read_table"), ["70000 rows"]);
}

#[test]
fn the_example_of_the_documentation_prints_schema_and_batches() {
    require!(Capability::Server);
    let lines = printed("stream_table");
    assert!(lines[0].contains("id") && lines[0].contains("Decimal128(10, 2)"), "{lines:?}");
    assert_eq!(lines[1..], ["65536 rows", "4464 rows"]);
}

#[test]
fn a_preview_has_ten_rows_and_counts_all() {
    require!(Capability::Server);
    let lines = printed("preview_table");
    assert_eq!(lines.last().map(String::as_str), Some("70000 rows"));
    assert!(lines.concat().contains("row_count: 10"), "{lines:?}");
}

#[test]
fn slices_of_a_held_snapshot_are_read() {
    require!(Capability::Server);
    let lines = printed("held_snapshot");
    assert!(
        lines[0].starts_with("70000 rows in ") && lines[0].ends_with(" slices of one moment"),
        "{lines:?}"
    );
}

/// A format of one's own within the promised size: the contract of a sink is small and stays small.
#[test]
fn a_sink_of_sixty_lines_writes_csv_in_the_order_of_the_table() {
    require!(Capability::Server);
    let lines = printed("csv_sink");
    assert_eq!(lines[..2], ["id,item,price", "1,é,9.99"]);
    let ids = lines[1..].iter().map(|line| line.split(',').next().unwrap().parse::<i32>().unwrap());
    assert!(ids.eq(1..=70_000), "in order, each once");
    let source = include_str!("../../examples/csv_sink.rs");
    let sink = source.split("fn main").next().unwrap();
    assert!(sink.lines().count() <= 60, "{} lines", sink.lines().count());
}

#[test]
fn a_stream_is_loaded() {
    require!(Capability::Server);
    assert_eq!(printed("load_stream"), ["70000 rows in public.orders_copy"]);
}

#[test]
fn loads_are_parts_of_a_transaction() {
    require!(Capability::Server);
    assert_eq!(printed("load_in_transaction"), ["as expected: true", "3 rows"]);
}
