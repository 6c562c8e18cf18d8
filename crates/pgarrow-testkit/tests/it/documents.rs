//! Checks the documents against what they describe.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::project::{named_tests, packages, read, relative, root, rust_files};

/// Most columns of a line of prose.
const WIDTH_MAX: usize = 110;

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

/// Before, a release had the lines of all functions, only for profiles: 128 MB instead of 24.
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

/// Every promise names tests, and they exist.
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

/// The tests named in the document on what holds an export exist, too; it says what nothing holds.
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

/// What people read first stays short.
#[test]
fn readme_and_its_neighbours_are_short() {
    for (name, bytes_max) in
        [("README.md", 8 << 10), ("ARCHITECTURE.md", 16 << 10), ("CONTRIBUTING.md", 2 << 10)]
    {
        let bytes = read(name).len();
        assert!(bytes <= bytes_max, "{name} has {bytes} bytes, {bytes_max} at most");
    }
}

/// The pages of the book, below `docs/src`.
fn pages() -> BTreeSet<String> {
    let entries = fs::read_dir(root().join("docs/src")).expect("a book");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
    names.filter(|name| name.ends_with(".md") && name != "SUMMARY.md").collect()
}

/// Documents that are written by hand, by their paths in the project.
fn documents() -> Vec<String> {
    let first = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"];
    let others = [
        "benches/README.md",
        "testdata/README.md",
        "crates/pgarrow/docs/guarantees.md",
        "crates/pgarrow/docs/what-holds-an-export.md",
    ];
    let pages = pages().into_iter().map(|name| format!("docs/src/{name}"));
    first.into_iter().chain(others).map(str::to_owned).chain(pages).collect()
}

/// The lines that are neither code nor made by a test, with their numbers.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let (mut is_code, mut is_made) = (false, false);
    let lines = text.lines().enumerate().filter(|(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        is_made = (is_made || line.contains(": made by a test")) && !line.starts_with("<!-- /");
        !is_code && !is_made && !is_fence
    });
    lines.map(|(number, line)| (number + 1, line)).collect()
}

/// A table's line cannot be broken, and neither can a word, such as a link.
#[test]
fn prose_is_at_most_110_columns_wide() {
    let mut wide = Vec::new();
    for path in documents() {
        let text = read(&path);
        for (number, line) in prose(&text) {
            let is_one_word = !line.trim().trim_start_matches("- ").contains(' ');
            if line.chars().count() > WIDTH_MAX && !line.starts_with('|') && !is_one_word {
                wide.push(format!("{path}:{number}"));
            }
        }
    }
    assert!(wide.is_empty(), "wider than {WIDTH_MAX} columns: {wide:#?}");
}

/// rustfmt leaves comments as they are. Diagrams and tables cannot be broken.
#[test]
fn comments_are_at_most_110_columns_wide() {
    let mut wide = Vec::new();
    for path in packages().iter().flat_map(|package| rust_files(&package.folder)) {
        let (text, mut is_diagram) = (read(&path), false);
        for (number, line) in text.lines().enumerate() {
            let comment = line.trim_start();
            let is_fence = comment.contains("```");
            is_diagram = comment.starts_with("//") && (is_diagram ^ is_fence);
            let is_comment = comment.starts_with("//") && !is_diagram && !comment.contains("| ");
            if is_comment && line.chars().count() > WIDTH_MAX {
                wide.push(format!("{}:{}", relative(&path), number + 1));
            }
        }
    }
    assert!(wide.is_empty(), "wider than {WIDTH_MAX} columns: {wide:#?}");
}

/// The targets of the links of a text.
fn links(text: &str) -> Vec<String> {
    let lines = prose(text).into_iter().map(|(_, line)| line);
    let links = lines.flat_map(|line| line.split("](").skip(1).filter_map(|rest| rest.split(')').next()));
    links.map(str::to_owned).collect()
}

/// The anchors of the headings of a text.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).into_iter().filter(|(_, line)| line.starts_with('#'));
    let anchor = |line: &str| {
        let kept = line.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().replace(' ', "-")
    };
    headings.map(|(_, line)| anchor(line)).collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    let mut n_links = 0;
    for path in documents().into_iter().chain(["docs/src/SUMMARY.md".to_owned()]) {
        let text = read(&path);
        let folder = root().join(&path).parent().expect("a folder").to_owned();
        for link in links(&text) {
            if link.contains("://") {
                continue;
            }
            n_links += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { root().join(&path) } else { folder.join(file) };
            let has_anchor = || {
                anchor.is_empty() || anchors(&fs::read_to_string(&target).expect("a page")).contains(anchor)
            };
            if !target.exists() || !has_anchor() {
                wrong.push(format!("{path}: {link}"));
            }
            // The book is built from its own folder alone, with the pictures in it.
            let is_in_book = file.is_empty() || pages().contains(file) || is_picture_of_the_book(file);
            if path.starts_with("docs/src/") && !is_in_book {
                wrong.push(format!("{path}: {link} is not in the book"));
            }
        }
    }
    assert!(wrong.is_empty(), "links that lead nowhere: {wrong:#?}");
    assert!(n_links > 40, "only {n_links} links were found");
}

/// Whether a link of a page leads to a picture beside it.
fn is_picture_of_the_book(file: &str) -> bool {
    [".png", ".svg"].iter().any(|ending| file.ends_with(ending)) && !file.contains('/')
}

#[test]
fn the_summary_of_the_book_has_every_page_once() {
    let listed = links(&read("docs/src/SUMMARY.md"));
    let distinct: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(distinct, pages());
    assert_eq!(distinct.len(), listed.len(), "a page is there twice");
}

/// A page that includes a missing file is built without it.
#[test]
fn what_the_book_includes_is_there() {
    let mut n_included = 0;
    for page in pages() {
        let path = Path::new("docs/src").join(&page);
        let text = read(&path);
        assert!(text.starts_with("# ") || text.starts_with("{{#include "), "{page} has no title");
        for rest in text.split("{{#include ").skip(1) {
            let name = rest.split("}}").next().unwrap_or_default();
            let included = root().join("docs/src").join(name);
            assert!(included.is_file(), "{}: {name}", relative(&root().join(&path)));
            n_included += 1;
        }
    }
    assert!(n_included > 3, "only {n_included} files are included");
}

#[test]
fn anchors_are_those_of_headings() {
    let text = "# A page\n\n## Rights to `pages`, and more\n\n```sh\n# no heading\n```\n[x](a.md#b) [y](c)\n";
    let expected = ["a-page", "rights-to-pages-and-more"];
    assert_eq!(anchors(text), expected.map(str::to_owned).into());
    assert_eq!(links(text), ["a.md#b", "c"]);
}
