//! Modules that import each other in a circle cannot be understood, tested or moved one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::project::{packages, rust_files};

/// By nature: what dispatches over types calls what is dispatched to.
const ALLOWED: [&str; 2] = ["pgarrow-column", "pgarrow-encode"];

/// Crates that still have circles. One that has none any more leaves this list.
const STILL: [&str; 8] = [
    "pgarrow-catalog",
    "pgarrow-cli",
    "pgarrow-protocol",
    "pgarrow-server",
    "pgarrow-sink",
    "pgarrow-sink-ipc",
    "pgarrow-sink-parquet",
    "pgarrow-types",
];

type Imports = BTreeMap<String, BTreeSet<String>>;

/// Which top-level module of a crate imports which others; one with its children counts as one.
fn imports(source: &Path) -> Imports {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for file in rust_files(source) {
        let inside = file.strip_prefix(source).expect("a file of the crate");
        let first = inside.components().next().expect("a name").as_os_str().to_string_lossy();
        let module = first.strip_suffix(".rs").unwrap_or(&first).to_owned();
        let is_test = inside.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests"));
        if module == "lib" || module == "main" || is_test {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a source file");
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        texts.entry(module).or_default().extend(lines.flat_map(|line| [line, "\n"]));
    }
    let modules: BTreeSet<&String> = texts.keys().collect();
    let of = |(module, text): (&String, &String)| {
        let named = text.split("crate::").skip(1).flat_map(first_names);
        let named = named.filter(|name| *name != module && modules.contains(&(*name).to_owned()));
        (module.clone(), named.map(str::to_owned).collect())
    };
    texts.iter().map(of).collect()
}

/// What `crate::` names: one module, or several in braces.
fn first_names(rest: &str) -> Vec<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let first = |text: &'_ str| text.find(|c| !is_name(c)).unwrap_or(text.len());
    match rest.strip_prefix('{') {
        None => vec![&rest[..first(rest)]],
        Some(list) => {
            let list = list.split('}').next().unwrap_or_default();
            list.split(',').map(|name| name.trim()).map(|name| &name[..first(name)]).collect()
        }
    }
}

/// The modules that reach themselves.
fn in_circles(imports: &Imports) -> Vec<&str> {
    let reaches_itself = |start: &&String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![*start]);
        while let Some(module) = next.pop() {
            for imported in imports.get(module).into_iter().flatten() {
                if imported == *start {
                    return true;
                }
                if seen.insert(imported) {
                    next.push(imported);
                }
            }
        }
        false
    };
    imports.keys().filter(reaches_itself).map(String::as_str).collect()
}

/// Of the 45 modules that exports had, 25 imported each other in one circle, and 11 of those of loads.
#[test]
fn modules_stand_in_an_order() {
    for package in packages() {
        let source = package.folder.join("src");
        if !source.is_dir() || ALLOWED.contains(&package.name.as_str()) || package.name == "pgarrow-bench" {
            continue;
        }
        let imports = imports(&source);
        let found = in_circles(&imports);
        assert_eq!(
            !found.is_empty(),
            STILL.contains(&package.name.as_str()),
            "{}: these modules import each other in a circle: {found:?}",
            package.name
        );
    }
}

#[test]
fn a_circle_is_found() {
    let of = |pairs: &[(&str, &str)]| -> Imports {
        let mut imports = Imports::new();
        for (from, to) in pairs {
            imports.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        imports
    };
    assert!(in_circles(&of(&[("a", "b"), ("b", "c"), ("a", "c")])).is_empty());
    assert_eq!(in_circles(&of(&[("a", "b"), ("b", "c"), ("c", "b"), ("d", "a")])), ["b", "c"]);
}
