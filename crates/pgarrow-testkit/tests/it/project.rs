//! The project as cargo and the file system see it.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A package of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    /// Names of its normal and build dependencies, of every platform; those for tests are apart.
    pub(crate) dependencies: BTreeSet<String>,
    pub(crate) dev_dependencies: BTreeSet<String>,
    /// The first file of each library and program.
    pub(crate) roots: Vec<PathBuf>,
}

/// The project's folder.
pub(crate) fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("two folders above");
    root.to_owned()
}

/// A file of the project.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()))
}

/// The workspace's packages. Asks cargo, which knows every way to write a dependency.
pub(crate) fn packages() -> Vec<Package> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON of cargo");
    let packages = metadata["packages"].as_array().expect("packages");
    packages.iter().map(package).collect()
}

fn package(json: &Value) -> Package {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let items = |name: &str| json[name].as_array().expect("a list").clone();
    let dependencies = |is_dev: bool| {
        let all = items("dependencies");
        all.iter().filter(|one| (one["kind"] == "dev") == is_dev).map(|one| text(&one["name"])).collect()
    };
    let is_product = |target: &&Value| {
        let kinds = target["kind"].as_array().expect("kinds");
        !["test", "bench", "example"].iter().any(|kind| kinds.contains(&Value::from(*kind)))
    };
    let targets = items("targets");
    let products: Vec<&Value> = targets.iter().filter(is_product).collect();
    Package {
        name: text(&json["name"]),
        folder: Path::new(&text(&json["manifest_path"])).parent().expect("a folder").to_owned(),
        dependencies: dependencies(false),
        dev_dependencies: dependencies(true),
        roots: products.iter().map(|target| PathBuf::from(text(&target["src_path"]))).collect(),
    }
}

/// Every Rust file below a folder.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let entries = fs::read_dir(folder).unwrap_or_else(|cause| panic!("{}: {cause}", folder.display()));
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The number of tests that a document names as `folder/file.rs::name`, below `crates/`, and those that are
/// missing.
pub(crate) fn named_tests(document: &str) -> (usize, Vec<String>) {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-./:".contains(c);
    let words = document.split(|c: char| !is_part(c));
    let names: BTreeSet<&str> = words.filter(|word| word.contains(".rs::")).collect();
    let missing = names.iter().filter(|name| !is_test(name)).map(|name| (*name).to_owned()).collect();
    (names.len(), missing)
}

/// Whether a file has a function of this name, with `#[test]` above it.
fn is_test(name: &str) -> bool {
    let Some((path, function)) = name.split_once("::") else { return false };
    let Ok(text) = fs::read_to_string(root().join("crates").join(path)) else { return false };
    let start = format!("fn {function}(");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(index, line)| {
        let above = lines.get(index.saturating_sub(4)..index).unwrap_or_default();
        line.starts_with(&start) && above.contains(&"#[test]")
    })
}

/// The path inside the project, for messages.
pub(crate) fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
