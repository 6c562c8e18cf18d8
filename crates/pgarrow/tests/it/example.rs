//! The example of the README and of the crate's documentation, run as a user would run it.

use std::process::Command;

use pgarrow_testkit::{Capability, require};

use crate::support::{database, url};

#[test]
fn the_example_prints_schema_and_batches() {
    require!(Capability::Server);
    let database = database(
        "example",
        "CREATE TABLE orders AS SELECT g AS id, 'é' AS item, 9.99::numeric(10,2) AS price FROM generate_series(1, 70000) AS g",
    );
    let run = |table: &str| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["run", "--quiet", "--package", "pgarrow", "--example", "read_table", "--"]);
        command.arg(url(&database)).arg(table).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap()
    };
    let output = run("orders");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines[0].contains("id") && lines[0].contains("Decimal128(10, 2)"), "{printed}");
    assert_eq!(lines[1..], ["65536 rows", "4464 rows"]);
    let output = run("nothing");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing"));
}
