//! What sources may not contain: unsafe code, an allocator in a library, IO in a decoder.

use std::fs;

use crate::project::{packages, read, relative, root, rust_files};

/// The modules that may hold unsafe code.
const UNSAFE_MODULES: [&str; 3] = [
    "crates/pgarrow-cli/src/allocator.rs",
    "crates/pgarrow-column/src/raw.rs",
    "crates/pgarrow-protocol/src/sys.rs",
];

/// Crates that are bytes in, arrays out.
const PURE: [&str; 3] =
    ["crates/pgarrow-types/src", "crates/pgarrow-column/src", "crates/pgarrow-decode/src"];

/// Names that such a crate must not use.
const IMPURE: [&str; 9] = [
    "std::fs",
    "std::thread",
    "std::time",
    "std::env",
    "std::process",
    "TcpStream",
    "UnixStream",
    "Instant::",
    "SystemTime",
];

#[test]
fn unsafe_code_stands_in_three_modules() {
    let manifest = read("Cargo.toml");
    assert!(manifest.contains("\nunsafe_code = \"deny\""), "the workspace denies unsafe code");
    for package in packages() {
        let manifest = read(package.folder.join("Cargo.toml"));
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{} takes the workspace's lints",
            package.name
        );
        if !package.folder.starts_with(root().join("crates")) {
            continue;
        }
        let may_opt_out = UNSAFE_MODULES.iter().any(|path| root().join(path).starts_with(&package.folder));
        for path in &package.roots {
            let is_forbidden = read(path).lines().any(|line| line == "#![forbid(unsafe_code)]");
            // What the macros of pyo3 write is unsafe; what we write there is denied as everywhere.
            let is_of_python = package.name == "pgarrow-python";
            assert!(
                is_forbidden || may_opt_out || is_of_python,
                "{} says #![forbid(unsafe_code)]",
                relative(path)
            );
        }
        for path in rust_files(&package.folder.join("src")) {
            let name = relative(&path);
            let opts_out = read(&path).lines().any(|line| {
                let line = line.trim();
                line.contains("unsafe_code") && !line.starts_with("//") && line != "#![forbid(unsafe_code)]"
            });
            let is_allowed = UNSAFE_MODULES.contains(&name.as_str());
            assert_eq!(opts_out, is_allowed, "{name}: unsafe code is for {UNSAFE_MODULES:?}");
        }
    }
}

#[test]
fn only_programs_choose_an_allocator() {
    for package in packages() {
        for path in rust_files(&package.folder.join("src")) {
            let chooses = read(&path).lines().any(|line| line.trim() == "#[global_allocator]");
            // Nobody links Python's module: it is loaded, as a program is.
            let is_program = path.ends_with("main.rs") || package.name == "pgarrow-python";
            assert!(!chooses || is_program, "{} chooses an allocator for whoever uses it", relative(&path));
        }
    }
}

/// A new type that is forgotten where code decides by type must not compile.
#[test]
fn types_are_matched_where_wildcards_are_denied() {
    const LINT: &str = "deny(clippy::wildcard_enum_match_arm)";
    let mut n_matching = 0;
    for package in packages() {
        let is_denied = package.roots.iter().any(|root| read(root).contains(&format!("#![{LINT}]")));
        for path in rust_files(&package.folder.join("src")) {
            let (name, text) = (relative(&path), read(&path));
            let is_arm = |line: &str| line.trim_start_matches([' ', '|']).starts_with("PgType::");
            let matches = text.lines().any(|line| is_arm(line) && line.contains(" => "));
            let is_test = name.contains("/tests");
            assert!(!matches || is_test || is_denied || text.contains(LINT), "{name} says #[{LINT}]");
            n_matching += usize::from(matches && !is_test);
        }
    }
    assert!(n_matching > 5, "{n_matching}");
}

#[test]
fn decoders_do_no_io_spawn_nothing_and_read_no_clock() {
    for path in PURE.iter().flat_map(|folder| rust_files(&root().join(folder))) {
        let text = fs::read_to_string(&path).expect("a file");
        for word in IMPURE {
            assert!(!text.contains(word), "{} uses {word}", relative(&path));
        }
    }
}

/// rustdoc builds and links a program for each crate in which it looks for examples, even if there are none.
/// Crates without examples say so, and must not have examples, since these would never run.
#[test]
fn a_crate_without_doctests_has_no_examples_to_run() {
    /// Languages that rustdoc takes for Rust, as it does a block without one.
    const RUST: [&str; 5] = ["rust", "no_run", "ignore", "should_panic", "compile_fail"];
    for package in packages() {
        let manifest = read(package.folder.join("Cargo.toml"));
        if !manifest.contains("doctest = false") {
            continue;
        }
        for file in rust_files(&package.folder.join("src")) {
            let text = fs::read_to_string(&file).expect("a source file");
            let mut is_open = false;
            for line in text.lines().map(str::trim_start) {
                let comment = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")).map(str::trim);
                let Some(language) = comment.and_then(|comment| comment.strip_prefix("```")) else {
                    continue;
                };
                is_open = !is_open;
                let is_rust = language.is_empty() || language.split(',').any(|word| RUST.contains(&word));
                assert!(!is_open || !is_rust, "{}: an example that is not run", relative(&file));
            }
        }
    }
}
