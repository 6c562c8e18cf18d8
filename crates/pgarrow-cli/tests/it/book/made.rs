//! Parts of the book that are made from the code: options, exit codes, the fields of reports.
//!
//! A test compares them with the code, and rewrites them with `PGARROW_BLESS=1`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;

use pgarrow_testkit::{Capability, capability, require};
use serde_json::Value;
use tempfile::TempDir;

use super::{Shop, root};
use crate::support::{command, run};

/// The text between the marks of a page must be this.
#[track_caller]
fn assert_made(page: &str, name: &str, made: &str) {
    let path = root().join("docs/src").join(page);
    let (begin, end) =
        (format!("<!-- {name}: made by a test, see testdata/README.md -->\n"), format!("<!-- /{name} -->\n"));
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(&begin).unwrap();
    let (found, after) = rest.split_once(&end).unwrap();
    if std::env::var_os("PGARROW_BLESS").is_some_and(|value| value == "1") {
        fs::write(&path, format!("{before}{begin}{made}{end}{after}")).unwrap();
    } else {
        assert!(found == made, "docs/src/{page} is not as the code is: PGARROW_BLESS=1 writes\n{made}");
    }
}

/// `--help` of a command, and its exit codes.
fn help(subcommand: &str) -> (String, Vec<String>) {
    let folder = TempDir::new().unwrap();
    let mut pgarrow = command(folder.path());
    // The widest help.
    pgarrow.env("COLUMNS", "100").args(subcommand.split_whitespace()).arg("--help");
    let ran = run(&mut pgarrow);
    ran.assert_success();
    let text = ran.stdout_text();
    let (text, codes) = text.split_once("Exit codes:\n").unwrap_or((text, ""));
    let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
    (lines.join("\n"), codes.lines().map(str::to_owned).collect())
}

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<&str> {
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let names = list.lines().take_while(|line| !line.is_empty());
    let names =
        names.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").collect()
}

#[test]
fn the_options_are_those_of_the_program() {
    let (all, _) = help("");
    let (pages, _) = help("pages");
    let of_pages: Vec<String> = commands(&pages).iter().map(|name| format!("pages {name}")).collect();
    assert_eq!(of_pages, ["pages status", "pages install"]);
    let mut made = format!("\n## pgarrow\n\n```text\n{all}\n```\n");
    for name in commands(&all) {
        let parts = if name == "pages" { of_pages.as_slice() } else { &[] };
        for name in [name].into_iter().chain(parts.iter().map(String::as_str)) {
            write!(made, "\n## pgarrow {name}\n\n```text\n{}\n```\n", help(name).0).unwrap();
        }
    }
    for option in ["--readers", "--commit-every", "--until-eof", "--remove", "--scale"] {
        assert!(made.contains(option), "{option} is not there");
    }
    made.push('\n');
    assert_made("options.md", "options", &made);
}

#[test]
fn the_keys_of_job_files_are_those_that_are_read() {
    let mut made = "\n| section | key | what it is |\n|---|---|---|\n".to_owned();
    for (section, key, what) in pgarrow_job::KEYS {
        writeln!(made, "| `{section}` | `{key}` | {what} |").unwrap();
    }
    made.push('\n');
    assert_made("nightly.md", "keys", &made);
}

#[test]
fn the_exit_codes_are_those_of_the_program() {
    let (_, lines) = help("");
    let mut codes: Vec<(u8, String)> = Vec::new();
    for line in lines.iter().map(|line| line.trim()) {
        let code = line.split_once("  ").and_then(|(code, meaning)| Some((code.parse().ok()?, meaning)));
        match (code, codes.last_mut()) {
            (Some((code, meaning)), _) => codes.push((code, meaning.trim().to_owned())),
            // A long text continues in the next line.
            (None, Some((_, meaning))) => *meaning = format!("{meaning} {line}"),
            (None, None) => panic!("{line:?} is no exit code"),
        }
    }
    let mut made = "\n| code | meaning |\n|---|---|\n".to_owned();
    for (code, meaning) in &codes {
        writeln!(made, "| {code} | {meaning} |").unwrap();
    }
    assert!(codes.len() > 10 && codes.first().is_some_and(|(code, _)| *code == 0), "{lines:?}");
    // All commands have the same codes.
    assert_eq!(help("load").1, lines);
    made.push('\n');
    assert_made("exit-codes.md", "exit codes", &made);
}

/// A type in reports, as its source defines it.
enum Item {
    Fields(Vec<Field>),
    /// Its values, as JSON has them.
    Values(Vec<String>),
}

struct Field {
    name: String,
    kind: String,
    meaning: String,
    /// The field is left out if it is empty.
    may_lack: bool,
}

type Items = BTreeMap<String, Item>;

/// The public structs and enums of these files, with their comments.
fn items(files: &[&str]) -> Items {
    let mut items = Items::new();
    for file in files {
        let text = fs::read_to_string(root().join("crates").join(file)).unwrap();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let name = ["pub struct ", "pub enum "].iter().find_map(|start| line.strip_prefix(start));
            let Some(name) = name.and_then(|name| name.strip_suffix(" {")) else { continue };
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "}").map(str::trim).collect();
            let item = match line.starts_with("pub enum") {
                true => Item::Values(body.iter().filter_map(|line| value(line)).collect()),
                false => Item::Fields(fields(&body)),
            };
            items.insert(name.to_owned(), item);
        }
    }
    items
}

/// `ServerOrNetwork,` is `server_or_network`.
fn value(line: &str) -> Option<String> {
    let name = line.strip_suffix(',')?;
    let is_name = name.starts_with(char::is_uppercase) && name.chars().all(char::is_alphanumeric);
    let mut text = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(c.to_lowercase());
    }
    is_name.then_some(text)
}

fn fields(body: &[&str]) -> Vec<Field> {
    let (mut fields, mut said, mut may_lack, mut is_left_out) = (Vec::new(), Vec::new(), false, false);
    for line in body {
        if let Some(text) = line.strip_prefix("/// ") {
            said.push(text);
        } else if *line == "#[serde(skip)]" {
            is_left_out = true;
        } else if line.starts_with("#[serde(skip_serializing_if") {
            may_lack = true;
        } else if let Some((name, kind)) = line.strip_prefix("pub ").and_then(|line| line.split_once(": ")) {
            let meaning = said.join(" ").replace('|', "\\|");
            let kind = kind.trim_end_matches(',').to_owned();
            if !is_left_out {
                fields.push(Field { name: name.to_owned(), kind, meaning, may_lack });
            }
            (said, may_lack, is_left_out) = (Vec::new(), false, false);
        }
    }
    fields
}

impl Field {
    /// The type of the value, or of its items, and the mark for several items.
    fn of_what(&self) -> (&str, &'static str) {
        let inner = |start: &str| self.kind.strip_prefix(start).and_then(|rest| rest.strip_suffix('>'));
        match (inner("Vec<"), inner("Option<")) {
            (Some(item), _) => (item, "[]"),
            (_, Some(item)) => (item, ""),
            _ => (&self.kind, ""),
        }
    }

    fn value(&self, items: &Items) -> String {
        let (kind, many) = self.of_what();
        let one = match kind {
            "String" | "&'static str" | "Message" => "text".to_owned(),
            "u32" | "u64" | "usize" | "f64" => "number".to_owned(),
            "bool" => "true or false".to_owned(),
            "BTreeMap<String, u64>" => "numbers by name".to_owned(),
            other => match items.get(other) {
                Some(Item::Values(values)) => {
                    let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
                    values.join(", ")
                }
                Some(Item::Fields(_)) => "object".to_owned(),
                None => panic!("{}: {other} is not known", self.name),
            },
        };
        let one = if many.is_empty() { one } else { format!("list of {one}s").replace("texts", "text") };
        let or_null = if self.kind.starts_with("Option<") && !self.may_lack { " or null" } else { "" };
        let may_lack = if self.may_lack { ", may be missing" } else { "" };
        format!("{one}{or_null}{may_lack}")
    }
}

/// Every field of a type, and of the types in it, by its path.
fn all_fields<'a>(items: &'a Items, name: &str, prefix: &str) -> Vec<(String, &'a Field)> {
    let Some(Item::Fields(fields)) = items.get(name) else { return Vec::new() };
    let with_parts = fields.iter().map(|field| {
        let (kind, many) = field.of_what();
        let path = format!("{prefix}{}{many}", field.name);
        let parts = all_fields(items, kind, &format!("{path}."));
        [(path, field)].into_iter().chain(parts)
    });
    with_parts.flatten().collect()
}

fn table(items: &Items, fields: &[(String, &Field)]) -> String {
    let mut made = "| field | value | meaning |\n|---|---|---|\n".to_owned();
    for (path, field) in fields {
        writeln!(made, "| `{path}` | {} | {} |", field.value(items), field.meaning).unwrap();
    }
    made
}

fn export_items() -> Items {
    items(&[
        "pgarrow-export/src/report.rs",
        "pgarrow-export/src/progress/samples.rs",
        "pgarrow-session/src/limit.rs",
        "pgarrow-session/src/server_report.rs",
        "pgarrow-export/src/pages_tally.rs",
        "pgarrow-export/src/phases.rs",
        "pgarrow-export/src/column_report.rs",
        "pgarrow-export/src/file_report.rs",
        "pgarrow-export/src/options.rs",
    ])
}

fn load_items() -> Items {
    items(&[
        "pgarrow-load/src/report.rs",
        "pgarrow-load/src/upkeep.rs",
        "pgarrow-session/src/limit.rs",
        "pgarrow-session/src/server_report.rs",
        "pgarrow-load/src/options.rs",
    ])
}

#[test]
fn the_fields_of_reports_are_those_of_the_sources() {
    let (export, load) = (export_items(), load_items());
    let (of_export, of_load) = (all_fields(&export, "Report", ""), all_fields(&load, "LoadReport", ""));
    assert!(of_export.len() > 60 && of_load.len() > 50, "{} and {}", of_export.len(), of_load.len());
    let mut made = format!("\n## Of an export\n\n{}\n", table(&export, &of_export));
    made += "With `--to postgres` there is `load`, an object with all the fields of a load. With many tables, it is \
             `loads`, a list of\nsuch objects, one for each table that was loaded.\n\n";
    writeln!(made, "## Of a load\n\n{}", table(&load, &of_load)).unwrap();
    assert_made("report.md", "report", &made);
}

/// The paths of a value's fields, as the page has them. Maps of numbers by name are one field.
fn paths(value: &Value, prefix: &str, found: &mut BTreeSet<String>) {
    let Value::Object(fields) = value else { return };
    for (name, value) in fields {
        let path = format!("{prefix}{name}");
        if matches!(name.as_str(), "reasons" | "effects") {
            found.insert(path);
            continue;
        }
        if let Value::Array(list) = value {
            list.iter().for_each(|item| paths(item, &format!("{path}[]."), found));
            found.insert(format!("{path}[]"));
        } else {
            paths(value, &format!("{path}."), found);
            found.insert(path);
        }
    }
}

/// The fields of every report that the library's source does not have.
const OF_EVERY_REPORT: [&str; 5] = ["status", "exit_code", "run_id", "started", "ended"];

#[test]
fn reports_have_the_fields_that_the_page_has() {
    require!(Capability::PrivateServer);
    let shop = Shop::new();
    shop.with_orders();
    shop.execute("me", "shop", "CREATE TABLE odd AS SELECT 'infinity'::date AS d FROM generate_series(1, 9)");
    // Notes on pages are about tables that could be read by pages.
    let has_pages = capability::require(Capability::Extension("pageinspect"), "book::made");
    if has_pages {
        shop.execute("postgres", "shop", "CREATE EXTENSION pageinspect");
        shop.execute("postgres", "shop", "VACUUM orders");
    }
    let report = |args: &str| {
        shop.shell("reports", &format!("pgarrow {args} --report r.json --overwrite"));
        read(&shop, "r.json")
    };
    shop.shell(
        "reports",
        "pgarrow init shop -t orders -o shop.toml && pgarrow run shop.toml --report job.json",
    );
    // An infinite date is no date of Arrow's.
    shop.shell(
        "reports",
        "pgarrow init postgres://postgres@localhost/shop -t orders -t odd --path half -o half.toml\n\
         pgarrow run half.toml --keep-going --report half.json || test $? -eq 1",
    );
    let admin = "export postgres://postgres@localhost/shop";
    let read_by_pages = if has_pages { "--read-mode pages" } else { "" };
    let exports = [
        report(&format!("{admin} orders -o orders.parquet --readers 2 {read_by_pages}")),
        report(&format!("{admin} odd --infinity null -o odd.parquet")),
        report(&format!("{admin} odd orders --infinity null -o two/")),
        read(&shop, "job.json"),
        read(&shop, "half.json"),
        report("export shop orders --to postgres --target new_shop --into public.orders --mode create"),
    ];
    let load =
        report("load orders.parquet --target new_shop --into public.orders --mode truncate --writers 2");

    let documented = |fields: Vec<(String, &Field)>| -> BTreeSet<String> {
        let every = OF_EVERY_REPORT.iter().map(|name| (*name).to_owned());
        fields.into_iter().map(|(path, _)| path).chain(every).collect()
    };
    let (of_export, of_load) = (export_items(), load_items());
    let of_export = documented(all_fields(&of_export, "Report", ""));
    let of_load = documented(all_fields(&of_load, "LoadReport", ""));

    let (mut in_exports, mut in_loads) = (BTreeSet::new(), BTreeSet::new());
    paths(&load, "", &mut in_loads);
    for export in exports {
        let mut found = BTreeSet::new();
        paths(&export, "", &mut found);
        found.remove("load");
        // Its own page has what a manifest has.
        found.retain(|path| !path.starts_with("manifest"));
        let (inner, outer): (Vec<_>, Vec<_>) = found.into_iter().partition(|path| path.starts_with("load."));
        in_exports.extend(outer);
        in_loads.extend(inner.iter().filter_map(|path| path.strip_prefix("load.")).map(str::to_owned));
    }
    let unknown: Vec<_> = in_exports.difference(&of_export).chain(in_loads.difference(&of_load)).collect();
    assert!(unknown.is_empty(), "not in docs/src/report.md: {unknown:?}");
    let unseen = of_export.difference(&in_exports).chain(of_load.difference(&in_loads));
    let unseen: Vec<_> = unseen.filter(|path| has_pages || !path.starts_with("page")).collect();
    assert!(unseen.is_empty(), "in no report: {unseen:?}");
}

/// They are few, so they are in the page by hand.
#[test]
fn reports_of_failures_have_the_fields_that_the_page_has() {
    require!(Capability::PrivateServer);
    let shop = Shop::new();
    shop.with_orders();
    let page = fs::read_to_string(root().join("docs/src/report.md")).unwrap();
    let (page, _) = page.split_once("<!-- report: ").unwrap();
    for args in [
        "export shop --query 'select 1/0' --to none",
        "export shop missing --to postgres --target new_shop --into public.t",
        "load orders.parquet --target shop --into public.missing",
    ] {
        shop.shell("failures", "test -e orders.parquet || pgarrow export shop orders -o orders.parquet");
        shop.shell("failures", &format!("! pgarrow {args} --report r.json --overwrite"));
        let report = read(&shop, "r.json");
        let mut found = BTreeSet::new();
        paths(&report, "", &mut found);
        for whole in ["error", "server", "load", "load.server"] {
            found.remove(whole);
        }
        let missing: Vec<_> = found.iter().filter(|path| !page.contains(&format!("`{path}`"))).collect();
        assert!(missing.is_empty() && found.len() > 8, "not in docs/src/report.md: {missing:?} of {found:?}");
    }
}

fn read(shop: &Shop, name: &str) -> Value {
    serde_json::from_slice(&fs::read(shop.folder.path().join(name)).unwrap()).unwrap()
}
