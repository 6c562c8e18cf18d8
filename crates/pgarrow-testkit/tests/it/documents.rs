//! The documents, held against what they describe.

use crate::project::{named_tests, packages, read};

/// The README's example is a program that the tests compile and run.
#[test]
fn the_example_of_the_readme_is_the_example() {
    let example = read("crates/pgarrow/examples/read_table.rs");
    let readme = read("README.md");
    let blocks = readme.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next());
    let blocks: Vec<&str> = blocks.collect();
    let [block] = blocks[..] else { panic!("README.md has one block of Rust, not {}", blocks.len()) };
    assert_eq!(block.trim(), example.trim(), "README.md and crates/pgarrow/examples/read_table.rs");
}

#[test]
fn the_map_has_every_crate() {
    let text = read("ARCHITECTURE.md");
    let (_, map) = text.split_once("## The map").expect("a map");
    let map = map.split("\n## ").next().unwrap_or_default();
    for package in packages() {
        assert!(map.contains(&format!("**`{}`**", package.name)), "{} is not on the map", package.name);
    }
}

/// The README says which Rust is needed; Cargo.toml says it to cargo.
#[test]
fn the_readme_names_the_rust_version() {
    let manifest = read("Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("a version");
    assert!(read("README.md").contains(&format!("Rust {}", version.trim_matches('"'))));
}

/// A release had the lines of all functions, for profiles alone: 128 MB instead of 24.
#[test]
fn what_people_get_has_no_debug_information_and_profiles_have() {
    let manifest = read("Cargo.toml");
    let profile = |name: &str| {
        let (_, rest) = manifest.split_once(&format!("[profile.{name}]\n")).expect("such a profile");
        rest.split("\n[").next().unwrap_or_default().to_owned()
    };
    let release = profile("release");
    assert!(release.contains("debug = false") && release.contains("strip = \"debuginfo\""), "{release}");
    let profiling = profile("profiling");
    for line in ["inherits = \"release\"", "debug = \"line-tables-only\"", "strip = \"none\""] {
        assert!(profiling.contains(line), "{line} is not in {profiling}");
    }
    let recipe = read("justfile");
    let (_, recipe) = recipe.split_once("bench-profile *args:\n").expect("a recipe");
    let recipe = recipe.lines().next().unwrap_or_default();
    assert!(recipe.contains("cargo run --profile profiling "), "{recipe}");
}

/// What is promised is held by tests that exist.
#[test]
fn the_guarantees_name_tests() {
    let text = read("crates/pgarrow/docs/guarantees.md");
    let (n_named, missing) = named_tests(&text);
    assert!(n_named > 50, "only {n_named} tests are named");
    assert!(missing.is_empty(), "tests that are not there: {missing:#?}");
    let promises = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise"));
    for promise in promises {
        assert!(promise.contains(".rs::"), "no test holds: {promise}");
    }
}

/// So do the tests that show what holds an export; what nothing holds is said.
#[test]
fn what_holds_an_export_names_tests() {
    let text = read("crates/pgarrow/docs/what-holds-an-export.md");
    let (n_named, missing) = named_tests(&text);
    assert!(n_named > 20, "only {n_named} tests are named");
    assert!(missing.is_empty(), "tests that are not there: {missing:#?}");
}

#[test]
fn a_test_that_is_not_there_is_found_out() {
    let here = "pgarrow-testkit/tests/it/documents.rs";
    let text = format!("`{here}::the_map_has_every_crate`, `{here}::no_such_test`, `{here}::read`");
    let (n_named, missing) = named_tests(&text);
    assert_eq!((n_named, missing.len()), (3, 2));
}
