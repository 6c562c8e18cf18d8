//! The public API of `pgarrow` as a text, which a change of the API has to change:
//! `crates/pgarrow/public-api.txt`.
//!
//! The names are those that `pgarrow` re-exports; their declarations are parsed from the sources of their
//! crates. `PGARROW_BLESS=1` rewrites the text.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::visit_mut::{self, VisitMut};
use syn::{Attribute, Fields, File, ImplItem, Item, ItemImpl, ItemUse, TraitItem, Type, UseTree, Visibility};

use crate::project::{read, root, rust_files};

const FILE: &str = "crates/pgarrow/public-api.txt";

/// The modules of the face, and the crates whose names they re-export.
const MODULES: [(&str, &str); 5] = [
    ("", "pgarrow-export"),
    ("load", "pgarrow-load"),
    ("sink", "pgarrow-sink"),
    ("ipc", "pgarrow-sink-ipc"),
    ("parquet", "pgarrow-sink-parquet"),
];

/// The public items of a crate, by name: what declares them, then what they can do.
type Index = BTreeMap<String, Vec<Item>>;

fn index(krate: &str) -> Index {
    let mut index = Index::new();
    for path in rust_files(&root().join("crates").join(krate).join("src")) {
        if path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests")) {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source file");
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for item in file.items {
            if let Some((name, item)) = shown(item) {
                index.entry(name).or_default().push(item);
            }
        }
    }
    for items in index.values_mut() {
        items.sort_by_key(|item| (matches!(item, Item::Impl(_)), text(std::slice::from_ref(item))));
    }
    index
}

/// The public part of an item, and the name of its type.
fn shown(mut item: Item) -> Option<(String, Item)> {
    Strip.visit_item_mut(&mut item);
    let is_public = |visibility: &Visibility| matches!(visibility, Visibility::Public(_));
    let name = match &mut item {
        Item::Struct(one) if is_public(&one.vis) => {
            private_fields_aside(&mut one.fields);
            one.ident.to_string()
        }
        Item::Enum(one) if is_public(&one.vis) => one.ident.to_string(),
        Item::Trait(one) if is_public(&one.vis) => one.ident.to_string(),
        Item::Fn(one) if is_public(&one.vis) => one.sig.ident.to_string(),
        Item::Const(one) if is_public(&one.vis) => one.ident.to_string(),
        Item::Type(one) if is_public(&one.vis) => one.ident.to_string(),
        Item::Mod(one) if is_public(&one.vis) && one.content.is_some() => one.ident.to_string(),
        Item::Impl(one) => public_part(one)?,
        Item::Macro(one) => match &one.ident {
            Some(ident) => {
                one.mac.tokens = TokenStream::new();
                ident.to_string()
            }
            // A macro of ours that declares a type: the first name in it.
            None => {
                one.mac.tokens = without_attributes(one.mac.tokens.clone());
                let tokens: Vec<TokenTree> = one.mac.tokens.clone().into_iter().collect();
                tokens.windows(2).find_map(|pair| match pair {
                    [TokenTree::Ident(name), _] if name.to_string().starts_with(char::is_uppercase) => {
                        Some(name.to_string())
                    }
                    _ => None,
                })?
            }
        },
        _ => return None,
    };
    Some((name, item))
}

/// Tokens without their documentation.
fn without_attributes(tokens: TokenStream) -> TokenStream {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let is_attribute = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#')
            && matches!(tokens.peek(), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket);
        match token {
            _ if is_attribute => drop(tokens.next()),
            TokenTree::Group(group) => {
                let inner = without_attributes(group.stream());
                kept.push(TokenTree::Group(Group::new(group.delimiter(), inner)));
            }
            other => kept.push(other),
        }
    }
    kept.into_iter().collect()
}

fn private_fields_aside(fields: &mut Fields) {
    let is_public = |field: &syn::Field| matches!(field.vis, Visibility::Public(_));
    match fields {
        Fields::Named(named) => {
            named.named = named.named.iter().filter(|one| is_public(one)).cloned().collect()
        }
        // Their number is private.
        Fields::Unnamed(unnamed) if !unnamed.unnamed.iter().all(is_public) => unnamed.unnamed.clear(),
        Fields::Unnamed(_) | Fields::Unit => {}
    }
}

/// Keeps what others can call, and returns the type's name.
fn public_part(one: &mut ItemImpl) -> Option<String> {
    let Type::Path(path) = one.self_ty.as_ref() else { return None };
    let name = path.path.segments.last()?.ident.to_string();
    if one.trait_.is_some() {
        one.items.clear();
        return Some(name);
    }
    one.items.retain(|item| match item {
        ImplItem::Fn(one) => matches!(one.vis, Visibility::Public(_)),
        ImplItem::Const(one) => matches!(one.vis, Visibility::Public(_)),
        _ => false,
    });
    (!one.items.is_empty()).then_some(name)
}

/// Removes documentation, bodies and values; attributes that matter to callers stay.
struct Strip;

impl VisitMut for Strip {
    fn visit_attributes_mut(&mut self, attributes: &mut Vec<Attribute>) {
        let stays = ["non_exhaustive", "must_use", "derive", "cfg"];
        attributes.retain(|one| stays.iter().any(|name| one.path().is_ident(name)));
    }

    fn visit_block_mut(&mut self, block: &mut syn::Block) {
        block.stmts.clear();
    }

    fn visit_trait_item_mut(&mut self, item: &mut TraitItem) {
        visit_mut::visit_trait_item_mut(self, item);
    }
}

fn text(items: &[Item]) -> String {
    let file = File { shebang: None, attrs: Vec::new(), items: items.to_vec() };
    prettyplease::unparse(&file).replace(" {}\n", ";\n")
}

/// The names that a crate re-exports, with the crate and the name there.
fn exported(krate: &str) -> BTreeSet<(String, String, String)> {
    let file = syn::parse_file(&read(format!("crates/{krate}/src/lib.rs"))).expect("Rust");
    let mut names = BTreeSet::new();
    for item in file.items {
        if let Item::Use(ItemUse { vis: Visibility::Public(_), tree, .. }) = item {
            walk(krate, &mut Vec::new(), &tree, &mut names);
        }
    }
    names
}

fn walk(krate: &str, path: &mut Vec<String>, tree: &UseTree, names: &mut BTreeSet<(String, String, String)>) {
    let home = |path: &[String]| match path.first() {
        Some(first) if first.starts_with("pgarrow_") => first.replace('_', "-"),
        _ => krate.to_owned(),
    };
    match tree {
        UseTree::Path(one) => {
            path.push(one.ident.to_string());
            walk(krate, path, &one.tree, names);
            path.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| walk(krate, path, tree, names)),
        UseTree::Name(one) => {
            names.insert((one.ident.to_string(), home(path), one.ident.to_string()));
        }
        UseTree::Rename(one) => {
            names.insert((one.rename.to_string(), home(path), one.ident.to_string()));
        }
        UseTree::Glob(_) => {
            let inner = home(path);
            assert_ne!(inner, krate, "a module is re-exported by its names");
            names.extend(exported(&inner));
        }
    }
}

fn public_api() -> String {
    let mut indices: BTreeMap<String, Index> = BTreeMap::new();
    let mut made = String::from(
        "# What pgarrow shows, made by a test: see crates/pgarrow-testkit/tests/it/public_api.rs.\n",
    );
    // Its own items: crates that are re-exported as a whole are in `MODULES`.
    let is_own =
        |(_, home, name): &(String, String, String)| home == "pgarrow" && !name.starts_with("pgarrow_");
    let face: BTreeSet<_> = exported("pgarrow").into_iter().filter(is_own).collect();
    let modules = MODULES.iter().map(|(module, krate)| (*module, exported(krate)));
    for (module, names) in modules.chain([("", face)]) {
        for (shown, home, name) in names {
            let index = indices.entry(home.clone()).or_insert_with(|| index(&home));
            let path = if module.is_empty() { "pgarrow".to_owned() } else { format!("pgarrow::{module}") };
            made.push_str(&format!("\n## {path}::{shown}\n\n"));
            match index.get(&name) {
                Some(items) => made.push_str(&text(items)),
                None => panic!("{home} re-exports {name}, and declares no public item of that name"),
            }
        }
    }
    made
}

#[test]
fn what_embedders_see_is_what_is_written_down() {
    let made = public_api();
    if std::env::var_os("PGARROW_BLESS").is_some_and(|value| value == "1") {
        fs::write(root().join(FILE), &made).expect("the file");
    }
    let written = read(FILE);
    let differing = made.lines().zip(written.lines()).find(|(made, written)| made != written);
    assert!(
        made == written,
        "{FILE} is not what the sources say; PGARROW_BLESS=1 writes it anew. The first difference: {differing:?}"
    );
}

/// A change of a signature shows; one of a body or of a private field does not.
#[test]
fn what_is_seen_and_what_is_not() {
    let seen = |source: &str| {
        let file = syn::parse_file(source).expect("Rust");
        text(&file.items.into_iter().filter_map(shown).map(|(_, item)| item).collect::<Vec<_>>())
    };
    let before = seen(
        "/// Text.\npub struct A { pub a: u8, b: u8 } impl A { pub fn f(&self) -> u8 { self.b } fn g() {} }",
    );
    let same = seen("pub struct A { pub a: u8, c: u64 } impl A { pub fn f(&self) -> u8 { 1 } }");
    assert_eq!(before, same);
    let other = seen("pub struct A { pub a: u8 } impl A { pub fn f(&self) -> u16 { 1 } }");
    assert_ne!(before, other);
    assert_ne!(
        before,
        seen("#[non_exhaustive] pub struct A { pub a: u8 } impl A { pub fn f(&self) -> u8 { 1 } }")
    );
}
