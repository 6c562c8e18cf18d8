//! What Cargo.lock may hold: one Arrow, and nothing that needs OpenSSL or cmake to build.

use std::collections::BTreeMap;

use crate::project::read;

/// The version that DataFusion, ADBC and pyo3-arrow share at this time; see the workspace's Cargo.toml.
const ARROW_MAJOR: &str = "59.";

const REFUSED: [&str; 6] = ["openssl", "openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys", "cmake"];

const LOCK_FILES: [&str; 5] = [
    "Cargo.lock",
    "crates/pgarrow-decode/fuzz/Cargo.lock",
    "crates/pgarrow-encode/fuzz/Cargo.lock",
    "crates/pgarrow-heap/fuzz/Cargo.lock",
    "crates/pgarrow-protocol/fuzz/Cargo.lock",
];

#[test]
fn there_is_one_arrow() {
    for path in LOCK_FILES {
        let packages = packages(path);
        for (name, versions) in &packages {
            if name == "arrow" || name == "parquet" || name.starts_with("arrow-") {
                let is_right = matches!(&versions[..], [one] if one.starts_with(ARROW_MAJOR));
                assert!(is_right, "{path}: {name} {versions:?}, wanted one of {ARROW_MAJOR}x");
            }
        }
    }
    assert!(packages("Cargo.lock").contains_key("arrow-array"));
}

#[test]
fn nothing_needs_openssl_or_cmake() {
    for path in LOCK_FILES {
        for name in packages(path).keys() {
            assert!(!REFUSED.contains(&name.as_str()), "{path}: {name} is not wanted here");
        }
    }
}

/// Names and versions.
fn packages(path: &str) -> BTreeMap<String, Vec<String>> {
    let text = read(path);
    let mut packages: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for block in text.split("[[package]]").skip(1) {
        let value = |key: &str| {
            let mut values = block.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
            values.next().expect("a name and a version").trim_matches('"').to_owned()
        };
        packages.entry(value("name")).or_default().push(value("version"));
    }
    packages
}
