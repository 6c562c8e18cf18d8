//! `pgarrow report`: one page of a run that holds whatever names there are, and nothing from elsewhere.

use std::fs;

use pgarrow_testkit::{Capability, require};

use crate::support::{NUMBERS, Place, Ran, command, run};

/// Names that would be markup, an attribute's end, an entity, and a comment's end.
const HOSTILE: [&str; 3] =
    ["<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "&lt;b&gt; --> </style><svg onload=x>"];

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn pgarrow(place: &Place, args: &[&str]) -> Ran {
    run(command(place.folder.path()).args(args))
}

/// The page of a report, which must be whole and by itself.
#[track_caller]
fn page(place: &Place, of: &str) -> String {
    let ran = pgarrow(place, &["report", of]);
    ran.assert_success();
    let page = ran.stdout_text().to_owned();
    assert!(page.starts_with("<!DOCTYPE html><html lang=\"en\">") && page.ends_with("</html>"), "{page}");
    let policy = "content=\"default-src 'none'; style-src 'unsafe-inline'\"";
    assert!(page.contains(policy));
    for wrong in
        ["<script", "<img", "<link", "<iframe", "://", "@import", "url(", "onload=x>", "onerror=alert(1)>"]
    {
        assert!(!page.contains(wrong), "{wrong:?} is in {page}");
    }
    // Every element is closed in its order.
    let mut open: Vec<&str> = Vec::new();
    for part in page.split('<').skip(1) {
        let name = part.split(|c: char| c.is_whitespace() || c == '>').next().unwrap();
        match name.strip_prefix('/') {
            _ if name == "!DOCTYPE" || name == "meta" => {}
            Some(closed) => assert_eq!(open.pop(), Some(closed), "{part}"),
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
    page
}

#[test]
fn hostile_names_are_text_and_everything_is_in_the_page() {
    require!(Capability::Server);
    let place = Place::new("page");
    place.database.execute(NUMBERS);
    for (index, name) in HOSTILE.iter().enumerate() {
        let (table, column) = (quoted(name), quoted(name));
        place.database.execute(&format!(
            "CREATE TABLE {table} AS SELECT 'infinity'::date AS {column}, {index} AS n FROM generate_series(1, 9)"
        ));
    }
    let args = ["-t", "*", "--infinity", "null", "-o", "out/", "--report", "r.json", "--readers", "2"];
    place.export(&args).assert_success();
    let text = page(&place, "r.json");
    for name in HOSTILE {
        // As a table, as a column, and as far as it is in the name of a file.
        assert!(text.matches(&escaped(name)).count() >= 2, "{name} is not in {text}");
    }
    for part in [
        "<h1>4 tables<span",
        "complete</span>",
        "20,027</b>",
        "Where the time went",
        "waiting for the server",
        "Over time",
        "Bytes from the server",
        "Readers",
        "public.t",
        "infinity_nulled: 9",
        "File sizes",
        "public.t.parquet",
        "prefers-color-scheme: dark",
        "@media print",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    // To a file, which is replaced only if asked for.
    let to_file = ["report", "r.json", "-o", "r.html"];
    pgarrow(&place, &to_file).assert_success();
    assert_eq!(fs::read_to_string(place.path("r.html")).unwrap(), text);
    pgarrow(&place, &to_file).assert_refused(7, &["\"r.html\" exists", "--overwrite"]);
    pgarrow(&place, &[&to_file[..], &["--overwrite"]].concat()).assert_success();
}

#[test]
fn a_failure_has_a_page_that_says_why() {
    require!(Capability::Server);
    let place = Place::new("page_failed");
    let query = format!("select 1/0 as {}", quoted(HOSTILE[0]));
    let ran = place.export(&["-q", &query, "--to", "none", "--report", "r.json"]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    let text = page(&place, "r.json");
    for part in ["failed, exit code 4", "division by zero", "SQLSTATE 22012", place.database.name()] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert!(!text.contains("Where the time went") && !text.contains("rows a second"), "{text}");
}

#[test]
fn a_folder_of_a_job_has_a_page_of_its_newest_manifest() {
    require!(Capability::Server);
    let place = Place::new("page_job");
    place.database.execute(NUMBERS);
    let job = format!(
        "[source]\nconnection = \"{}\"\ntables = ['t']\n[destination]\npath = \"lake\"\n",
        place.database.url()
    );
    fs::write(place.path("job.toml"), job).unwrap();
    fs::create_dir(place.path("lake")).unwrap();
    pgarrow(&place, &["report", "lake"]).assert_refused(8, &["lake: no run has committed anything there"]);
    for _ in 0..2 {
        pgarrow(&place, &["run", "job.toml", "--report", "r.json"]).assert_success();
    }
    for of in ["lake", "lake/_pgarrow/manifests/00000002.json", "r.json"] {
        let text = page(&place, of);
        for part in ["Manifest 2", "20,000", "public/t/part-00000", place.database.name(), "down", "bigint"] {
            assert!(text.contains(part), "{part:?} of {of} is not in {text}");
        }
        assert_eq!(text.contains("Where the time went"), of == "r.json", "{of}");
    }
    // The page of a run without some of its tables said "complete", in green.
    place.database.execute("CREATE VIEW v AS SELECT 1 / (n - 3) AS m FROM generate_series(1, 9) AS n");
    let with_failure = fs::read_to_string(place.path("job.toml")).unwrap().replace("['t']", "['t', 'v']");
    fs::write(place.path("job.toml"), with_failure).unwrap();
    pgarrow(&place, &["run", "job.toml", "--keep-going", "--report", "r.json"])
        .assert_said(1, "1 of 2 tables failed");
    for (of, badge) in
        [("lake", "committed, incomplete</span>"), ("r.json", "incomplete, exit code 1</span>")]
    {
        let text = page(&place, of);
        for part in ["1 table failed", "public.v", "division by zero", badge] {
            assert!(text.contains(part), "{part:?} of {of} is not in {text}");
        }
    }
}

#[test]
fn tables_that_went_into_a_server_have_a_list() {
    require!(Capability::Server);
    let place = Place::new("page_servers");
    place.database.execute(NUMBERS);
    place.database.execute(
        "CREATE TABLE v AS SELECT 1 AS n; CREATE SCHEMA copy; \
         CREATE TABLE copy.t (LIKE public.t); CREATE TABLE copy.v (n int CHECK (n > 5))",
    );
    let url = place.database.url();
    let args = ["export", url, "-t", "public.*", "--to", "postgres", "--target", url];
    let args = [&args[..], &["--into-schema", "copy", "--keep-going", "--report", "r.json"]].concat();
    pgarrow(&place, &args).assert_said(1, "1 of 2 tables failed");
    let text = page(&place, "r.json");
    for part in
        ["1 table loaded into database", "copy.t", "20,000", "1 table failed", "incomplete, exit code 1"]
    {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[test]
fn what_is_no_report_is_refused_without_a_word_of_it() {
    require!(Capability::Server);
    let place = Place::new("page_refused");
    place.database.execute(NUMBERS);
    place.export(&["t", "-o", "t.parquet"]).assert_success();
    let target = ["--target", place.database.url(), "--into", "public.u", "--mode", "create"];
    let load = [&["load", "t.parquet", "--report", "load.json"], &target[..]].concat();
    pgarrow(&place, &load).assert_success();
    place.export(&["-t", "public.*", "-o", "out/"]).assert_success();
    place.database.execute("CREATE SCHEMA copy");
    let target = ["--target", place.database.url(), "--into-schema", "copy", "--mode", "create"];
    pgarrow(&place, &[&["load", "out/", "--report", "loads.json"], &target[..]].concat()).assert_success();
    fs::write(place.path("other.json"), r#"{"secret": "canary"}"#).unwrap();
    fs::write(place.path("broken.json"), r#"{"report_version": 3, "rows": "canary"}"#).unwrap();
    for (file, says) in [
        ("load.json", "the report of a load"),
        ("loads.json", "the report of a load"),
        ("other.json", "is no report"),
        ("broken.json", "from line 1 on"),
        ("t.parquet", "is no report"),
        ("missing.json", "cannot be read"),
    ] {
        let ran = pgarrow(&place, &["report", file, "-o", "x.html"]);
        ran.assert_refused(8, &[file, says]);
        assert!(!ran.stderr.contains("canary") && !place.names().contains(&"x.html".to_owned()), "{ran:?}");
    }
}
