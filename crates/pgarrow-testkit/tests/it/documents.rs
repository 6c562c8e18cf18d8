//! The documents, held against what they describe.

use crate::project::{packages, read};

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
