//! Modules that import each other in a circle cannot be understood, tested or moved one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::project::{packages, rust_files};

/// By nature: the dispatch over types calls the modules that it dispatches to.
const ALLOWED: [&str; 2] = ["pgarrow-column", "pgarrow-encode"];

type Imports = BTreeMap<String, BTreeSet<String>>;

/// The files of one top-level module: their text, each with the number of modules that it is below the
/// crate's root.
type Texts = Vec<(String, usize)>;

/// Which top-level module of a crate imports which others; one with its children counts as one.
fn imports(source: &Path) -> Imports {
    let mut modules: BTreeMap<String, Texts> = BTreeMap::new();
    let mut roots = String::new();
    for file in rust_files(source) {
        let inside = file.strip_prefix(source).expect("a file of the crate");
        let parts: Vec<String> =
            inside.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        if parts.iter().any(|part| part.starts_with("tests")) {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a source file");
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code: String = lines.flat_map(|line| [line, "\n"]).collect();
        let first = parts.first().expect("a name");
        match first.strip_suffix(".rs").unwrap_or(first) {
            "lib" | "main" => roots.push_str(&code),
            module => {
                let is_mod = parts.last().is_some_and(|last| last == "mod.rs");
                let depth = parts.len() - usize::from(is_mod);
                modules.entry(module.to_owned()).or_default().push((code, depth));
            }
        }
    }
    imports_of(&roots, &modules)
}

fn imports_of(roots: &str, modules: &BTreeMap<String, Texts>) -> Imports {
    // A name that the crate's root re-exports belongs to one of the modules.
    let mut owners: BTreeMap<String, String> =
        modules.keys().map(|name| (name.clone(), name.clone())).collect();
    for path in roots.split("use ").skip(1).flat_map(paths) {
        let mut names = path.split("::").skip_while(|name| ["crate", "self"].contains(name));
        if let (Some(module), Some(name)) = (names.next(), names.last())
            && modules.contains_key(module)
        {
            owners.entry(name.to_owned()).or_insert_with(|| module.to_owned());
        }
    }
    let of = |(module, texts): (&String, &Texts)| {
        let named = texts.iter().flat_map(|(text, depth)| names_below_root(text, *depth));
        let named = named.filter_map(|name| owners.get(&name).cloned()).filter(|owner| owner != module);
        (module.clone(), named.collect())
    };
    modules.iter().map(of).collect()
}

/// The names that follow the crate's root: behind `crate::`, or behind as many `super::` as the text is
/// modules below it.
fn names_below_root(text: &str, depth: usize) -> Vec<String> {
    let starts = ["crate::", "super::"].into_iter().flat_map(|start| text.match_indices(start));
    let starts = starts.filter(|(at, _)| {
        let before = &text[..*at];
        let before = before.strip_suffix("self::").unwrap_or(before);
        !before.ends_with(|c: char| is_of_name(c) || c == ':')
    });
    let below_root = |path: String| {
        let names: Vec<&str> = path.split("::").collect();
        let n_up = names.iter().take_while(|name| **name == "super").count();
        let above = if names.first() == Some(&"crate") { 1 } else { n_up };
        let is_at_root = names.first() == Some(&"crate") || n_up >= depth;
        names.get(above).filter(|_| is_at_root).map(|name| (*name).to_owned())
    };
    starts.flat_map(|(at, _)| paths(&text[at..])).filter_map(below_root).collect()
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// All paths in the path or tree of paths at the beginning of a text: in `a::{b, c::{d, e}}` there are three.
fn paths(text: &str) -> Vec<String> {
    let text = text.trim_start();
    if let Some(list) = text.strip_prefix('{') {
        return items(list).into_iter().flat_map(paths).collect();
    }
    let end = text.find(|c| !is_of_name(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match rest.strip_prefix("::") {
        Some(rest) => paths(rest).into_iter().map(|path| format!("{name}::{path}")).collect(),
        None => vec![name.to_owned()],
    }
}

/// The items between the commas of a list, up to its closing brace.
fn items(list: &str) -> Vec<&str> {
    let (mut items, mut start, mut n_open) = (Vec::new(), 0, 0_usize);
    for (at, c) in list.char_indices() {
        match c {
            '{' => n_open += 1,
            '}' if n_open > 0 => n_open -= 1,
            ',' | '}' if n_open == 0 => {
                // After the last comma there may be nothing.
                items.extend(Some(&list[start..at]).filter(|item| !item.trim().is_empty()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    items
}

/// The modules that reach themselves through imports.
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

/// Before, 25 of the 45 modules of exports imported each other in one circle, and 11 of those of loads.
#[test]
fn modules_stand_in_an_order() {
    for package in packages() {
        let source = package.folder.join("src");
        if !source.is_dir() || ALLOWED.contains(&package.name.as_str()) || package.name == "pgarrow-bench" {
            continue;
        }
        let imports = imports(&source);
        let found = in_circles(&imports);
        assert!(found.is_empty(), "{}: these modules import each other in a circle: {found:?}", package.name);
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

#[test]
fn every_way_to_import_is_seen() {
    let seen = |text: &str, depth| names_below_root(text, depth).join(" ");
    assert_eq!(seen("use crate::a::{b, c};\nfn f() -> crate::d::E {}", 1), "a a d");
    assert_eq!(
        seen("use crate::{\n    a::{b, c::{d, e}},\n    f,\n    g::H,\n};\nuse other::i;", 1),
        "a a a f g"
    );
    assert_eq!(seen("use super::a::B;\nuse super::{c::D, e};\nuse self::f::G;", 1), "a c e");
    // In a file of a child, one step up is the parent.
    assert_eq!(seen("use super::a::B;\nuse super::super::c;\nuse super::{d, super::e::F};", 2), "c e");
    assert_eq!(seen("pub(crate) struct A;\npub(super) struct B;\nuse my_crate::c;", 1), "");
}

#[test]
fn what_the_root_passes_on_is_an_import_of_where_it_stands() {
    let modules: BTreeMap<String, Texts> =
        [("a", "use crate::B;"), ("b", "use crate::a::A;"), ("c", "use crate::D;")]
            .into_iter()
            .map(|(name, text)| (name.to_owned(), vec![(text.to_owned(), 1)]))
            .collect();
    let imports = imports_of("mod a;\npub use a::A;\npub use b::{inner::B, C};\nuse c::D;\n", &modules);
    assert_eq!(in_circles(&imports), ["a", "b"]);
}
