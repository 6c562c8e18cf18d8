//! Which crate imports which: checks the table of ARCHITECTURE.md against every Cargo.toml.

use std::collections::BTreeSet;

use crate::project::{packages, read};

/// A row of the table.
struct Row {
    name: String,
    /// `None`: any.
    imports: Option<BTreeSet<String>>,
    test_imports: Option<BTreeSet<String>>,
    /// Names of crates of others; `arrow-*` stands for all names that begin with `arrow-`.
    never: BTreeSet<String>,
}

#[test]
fn crates_import_of_ours_what_the_table_says() {
    let rows = table();
    let packages = packages();
    let ours: BTreeSet<String> = packages.iter().map(|package| package.name.clone()).collect();
    let in_table: BTreeSet<String> = rows.iter().map(|row| row.name.clone()).collect();
    let mut wrong: Vec<String> = Vec::new();
    wrong.extend(ours.difference(&in_table).map(|name| format!("{name} is not in the table")));
    wrong.extend(in_table.difference(&ours).map(|name| format!("{name} is in the table and does not exist")));
    for row in &rows {
        let Some(package) = packages.iter().find(|package| package.name == row.name) else { continue };
        let of_ours = |names: &BTreeSet<String>| names.intersection(&ours).cloned().collect::<BTreeSet<_>>();
        let imports = of_ours(&package.dependencies);
        // A crate's tests may import what the crate itself imports.
        let test_imports = &of_ours(&package.dev_dependencies) - &imports;
        for (what, found, allowed) in
            [("imports", &imports, &row.imports), ("imports in tests", &test_imports, &row.test_imports)]
        {
            let Some(allowed) = allowed else { continue };
            let name = &row.name;
            wrong.extend(
                found.difference(allowed).map(|one| format!("{name} {what} {one}: not in the table")),
            );
            wrong.extend(
                allowed
                    .difference(found)
                    .map(|one| format!("{name} no longer {what} {one}: take it out of the table")),
            );
        }
        for pattern in &row.never {
            let matches = |name: &&String| match pattern.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => *name == pattern,
            };
            wrong.extend(
                package.dependencies.iter().filter(matches).map(|one| format!("{} imports {one}", row.name)),
            );
        }
    }
    assert!(wrong.is_empty(), "ARCHITECTURE.md, \"The layering rule\":\n{}", wrong.join("\n"));
}

/// Tests may import crates made for tests, sinks, and crates without code of their own; the opposite
/// direction, to test a round trip; and, in the face, the crates below the export engine, whose tests are the
/// face's.
#[test]
fn tests_import_no_layer_that_the_crate_may_not() {
    for row in table() {
        for name in row.test_imports.into_iter().flatten() {
            let is_fit = matches!(name.as_str(), "pgarrow-server" | "pgarrow-testkit" | "pgarrow-types")
                || name.starts_with("pgarrow-sink-")
                || match row.name.as_str() {
                    "pgarrow-encode" => matches!(name.as_str(), "pgarrow-column" | "pgarrow-decode"),
                    "pgarrow-load" => name == "pgarrow-export",
                    "pgarrow" => matches!(
                        name.as_str(),
                        "pgarrow-catalog" | "pgarrow-column" | "pgarrow-decode" | "pgarrow-protocol"
                    ),
                    _ => false,
                };
            assert!(is_fit, "{}: its tests import {name}", row.name);
        }
    }
}

fn table() -> Vec<Row> {
    let text = read("ARCHITECTURE.md");
    let (_, section) = text.split_once("## The layering rule").expect("a section with the layering rule");
    let section = section.split("\n## ").next().unwrap_or_default();
    let lines = section.lines().filter(|line| line.starts_with("| `"));
    let rows: Vec<Row> = lines.map(row).collect();
    assert!(rows.len() > 5, "the table of the layering rule was not found");
    rows
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
    let [name, imports, test_imports, never] = cells[..] else { panic!("four cells: {line}") };
    let list = |cell: &str| match cell {
        "any" => None,
        "–" => Some(BTreeSet::new()),
        cell => Some(cell.split(',').map(|name| name.trim().trim_matches('`').to_owned()).collect()),
    };
    Row {
        name: name.trim_matches('`').to_owned(),
        imports: list(imports),
        test_imports: list(test_imports),
        never: list(never).expect("names of crates"),
    }
}
