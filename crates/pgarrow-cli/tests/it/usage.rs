//! Errors that are found before anything connects.

use tempfile::TempDir;

use crate::support::{Ran, command, names, run};

fn pgarrow(args: &[&str]) -> Ran {
    let folder = TempDir::new().unwrap();
    let ran = run(command(folder.path()).args(args));
    assert!(names(folder.path()).is_empty());
    ran
}

/// Nothing listens there: a command that connects fails with 3.
const NOWHERE: &str = "postgres://u@127.0.0.1:1/d";

#[test]
fn options_that_contradict_each_other_or_do_nothing() {
    for (args, says) in [
        (&["--to", "none"][..], "give --table NAME or --query SQL"),
        (&["-t", "t", "-q", "select 1", "--to", "none"], "not both"),
        (&["-q", "select 1", "--query-file", "f", "--to", "none"], "not both"),
        (&["--query-file", "no-such-file", "--to", "none"], "no-such-file"),
        (&["-q", "select 1", "--columns", "a", "--to", "none"], "--columns is for --table"),
        (&["-q", "select 1", "--where", "a", "--to", "none"], "--where is for --table"),
        (&["-t", "t", "--param", "1", "--to", "none"], "--param is for queries"),
        (&["-t", "t"], "no output"),
        (&["-t", "t", "--to", "parquet"], "no output; give -o"),
        (&["-t", "t", "-o", "-"], "stdout needs a format"),
        (&["-t", "t", "-o", "x.csv"], "\"x.csv\" says no format"),
        (&["-t", "t", "-o", "x"], "says no format"),
        (&["-t", "t", "--to", "none", "-o", "x.parquet"], "--to none writes nothing"),
        (&["-t", "t", "--to", "none", "--compression", "zstd"], "leave out --compression"),
        (&["-t", "t", "--to", "none", "--row-group-rows", "5"], "--row-group-rows is for --to parquet"),
        (&["-t", "t", "-o", "x.arrow", "--row-group-rows", "5"], "--row-group-rows is for --to parquet"),
        (&["-t", "t", "-o", "x.arrow", "--compression", "gzip"], "choose none, lz4 or zstd"),
        (&["-t", "t", "-o", "x.parquet", "--compression", "lzo"], "choose zstd, snappy"),
        (&["-t", "t", "-o", "x.parquet", "--compression", "zstd:99"], "levels 1 to 22"),
        (&["-t", "t", "--to", "none", "--overwrite"], "--overwrite is for files"),
        (&["-t", "t", "-o", "x.parquet", "--report", "x.parquet"], "the same file"),
        (&["-t", "t", "-o", "x.parquet", "--columns", "a,,b"], "a,,b"),
        (&["-t", "t", "-o", "x.parquet", "--file-size", "1M"], "end the output's path with /"),
        (&["-t", "t", "--to", "none", "--file-size", "1M"], "--file-size is for folders"),
        (&["-t", "t", "-o", "out/", "--report", "out/r.json"], "--report would be in the folder"),
        (&["-t", "t", "-o", "out/", "--report", "./out/sub/r.json"], "--report would be in the folder"),
        (&["-t", "t", "-t", "u", "-o", "x.parquet"], "several tables need a folder"),
        (&["--schema", "s", "--to", "parquet", "-o", "-"], "several tables do not fit into stdout"),
        (&["-t", "t", "--schema", "s", "-q", "select 1", "--to", "none"], "not both"),
        (&["-t", "t", "-t", "u", "--to", "none", "--columns", "a"], "--columns: is for one --table"),
        (&["--schema", "s", "--to", "none", "--where", "a"], "--where: is for one --table"),
        (&["--schema", "s", "--to", "none", "--split-on", "a"], "--split-on names a column of one"),
        (&["--schema", "s", "--to", "none", "--ordered"], "--ordered is for outputs"),
        (&["--schema", "s", "--to", "none", "--param", "1"], "--param is for queries"),
        (
            &["-t", "t", "-t", "u", "--to", "none", "--where", "a > $1", "--param", "1"],
            "--where: is for one --table",
        ),
        (&["--slice", "{}", "-t", "t", "--to", "none"], "--slice says what is read"),
        (&["--slice", "{}", "-q", "select 1", "--to", "none"], "--slice says what is read"),
        (&["--slice", "{}", "--columns", "a", "--to", "none"], "--columns: a slice brings its own"),
        (&["--slice", "{}", "--to", "none"], "this is not a slice that can be read"),
        (&["--slice", "-", "--to", "none"], "stdin is empty"),
        (&["--slice", "no-such-file", "--to", "none"], "no-such-file"),
        (&["--slice", SLICE, "--to", "none", "--readers", "2"], "leave out --readers"),
        (&["--slice", SLICE, "--to", "none", "--ordered"], "leave out --ordered"),
        (&["--slice", SLICE, "--to", "none", "--split-on", "a"], "leave out --split-on"),
        (&["--slice", SLICE, "--to", "none", "--slice-bytes", "1M"], "leave out --slice-bytes"),
        (&["--slice", SLICE, "--to", "none", "--read-mode", "copy"], "leave out --read-mode"),
        (&["--slice", SLICE, "--to", "none", "--inconsistent"], "leave out --inconsistent"),
        (&["--slice", SLICE, "--to", "none", "--retries", "1"], "leave out --retries"),
        (&["--slice", SLICE, "--to", "none", "--lock-timeout", "1s"], "leave out --lock-timeout"),
        (&["--slice", SLICE, "--to", "none", "--only"], "--only: a slice says which tables it reads"),
        (&["-q", "select 1", "--to", "none", "--only"], "--only is for --table"),
        (&["-t", "t", "--to", "none", "--field-ids"], "--field-ids is for --to parquet"),
        (&["-t", "t", "-o", "x.arrow", "--field-ids"], "--field-ids is for --to parquet"),
        (&["-t", "t", "--to", "none", "--column", "a:text", "--column", "A:trim=true"], "names \"a\" twice"),
        (&["-t", "t", "--dry-run", "--report", "r.json"], "--dry-run writes nothing"),
        (&["-t", "t", "--dry-run", "-o", "x.csv"], "says no format"),
    ] {
        let ran = pgarrow(&[&["export", NOWHERE], args].concat());
        ran.assert_refused(2, &[says]);
    }
}

/// A token of a query.
const SLICE: &str = r#"{"version":2,"source":{"endpoint":"h:5432","database":"d","server_started":"now"},
    "snapshot":null,"subject":{"query":"select 1"},"columns":["a"],"filter":null,"range":"whole",
    "read_mode":"copy","schema_fingerprint":"","estimated_bytes":0,"estimated_rows":null,"index":0,"of":1}"#;

#[test]
fn plans_and_holds_that_cannot_be() {
    for (args, says) in [
        (&["plan", NOWHERE][..], "nothing to export"),
        (&["plan", NOWHERE, "-t", "t", "--tokens", "x"], "`pgarrow hold` writes them"),
        (&["inspect", NOWHERE], "nothing to export"),
        (&["inspect", NOWHERE, "-t", "t", "--column", "a:text", "--column", "a:scan"], "names \"a\" twice"),
        (&["hold", NOWHERE], "nothing to export"),
    ] {
        pgarrow(args).assert_refused(2, &[says]);
    }
    pgarrow(&["plan", NOWHERE, "-t", "t"]).assert_refused(3, &["cannot connect"]);
    pgarrow(&["hold", NOWHERE, "-t", "t", "--tokens", "x"]).assert_refused(3, &["cannot connect"]);
    for args in [["-t", "t", "--for", "2 days"], ["-t", "t", "--for", "0s"]] {
        let ran = pgarrow(&[&["hold", NOWHERE], &args[..]].concat());
        assert_eq!(ran.code, Some(2));
        assert!(ran.stderr.contains("as in 30s, 10m or 2h"), "{}", ran.stderr);
    }
}

/// Before, both said that they read no rows, or none but for --numeric scan.
#[test]
fn help_says_what_reads_rows() {
    for command in ["plan", "inspect"] {
        let ran = pgarrow(&[command, "--help"]);
        let help = ran.stdout_text().split_whitespace().collect::<Vec<_>>().join(" ");
        for what in ["--numeric scan, --column NAME:scan", "--split-on reads the keys once"] {
            assert!(help.contains(what), "{command}: {help}");
        }
    }
}

#[test]
fn values_that_cannot_be_read() {
    for (args, says) in [
        (&["--batch-rows", "0"][..], "from 1 on"),
        (&["--batch-bytes", "8X"], "as in 8M"),
        (&["--batch-bytes", "2G"], "1 byte to 1G"),
        (&["--row-group-rows", "many"], "from 1 on"),
        (&["--readers", "0"], "from 1 on"),
        (&["--memory", "15M"], "at least 16M"),
        (&["--file-size", "0"], "1 byte to 1024T"),
        (&["--slice-bytes", "x"], "as in 8M"),
        (&["--read-mode", "psychic"], "auto, copy, select, cursor, pages"),
        (&["--retries", "often"], "--retries"),
        (&["--set", "work_mem"], "NAME=VALUE"),
        (&["--infinity", "zero"], "error, null, saturate"),
        (&["--nan", "saturate"], "error, null"),
        (&["--out-of-range", "wrap"], "error, null, saturate"),
        (&["--numeric", "decimal(77,0)"], "write exact, text, float64, scan or decimal(P,S)"),
        (&["--interval", "iso"], "month-day-nano, struct, text"),
        (&["--arrays", "flat"], "list, nested, shaped"),
        (&["--enum", "int"], "dictionary, text"),
        (&["--strings", "utf16"], "utf8, large, view"),
        (&["--timestamp-unit", "s"], "us, ms, ns"),
        (&["--encoding-policy", "guess"], "error, replace, latin1, binary"),
        (&["--unknown-types", "skip"], "text, error"),
        (&["--geometry", "json"], "wkb, ewkb"),
        (&["--column", "a"], "write NAME:TYPE, as in total:decimal(20,4)"),
        (&["--column", "a:txt"], "no choice for a column"),
        (&["--to", "csv"], "parquet, ipc, ipc-stream, postgres, none"),
        (&["--frobnicate"], "--frobnicate"),
    ] {
        let ran = pgarrow(&[&["export", NOWHERE, "-t", "t"], args].concat());
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(says), "{says:?} is not in {}", ran.stderr);
    }
    for scale in ["0", "-1", "1e9", "NaN", "x"] {
        assert_eq!(pgarrow(&["demo", "--scale", scale]).code, Some(2));
    }
}

#[test]
fn a_connection_that_cannot_be_read() {
    let secret = "postgres://u:canary@h:notaport/d";
    let ran = pgarrow(&["export", secret, "-t", "t", "--to", "none"]);
    ran.assert_refused(2, &["port is not a number"]);
    assert!(!ran.stderr.contains("canary"));
    pgarrow(&["export", "gssencmode=require", "-t", "t", "--to", "none"])
        .assert_refused(2, &["gssencmode", "GSSAPI"]);
}

#[test]
fn help_lists_every_exit_code_and_gives_examples() {
    for args in [
        &["--help"][..],
        &["export", "--help"],
        &["demo", "--help"],
        &["plan", "--help"],
        &["hold", "--help"],
        &["inspect", "--help"],
        &["load", "--help"],
        &["pages", "--help"],
        &["pages", "status", "--help"],
        &["pages", "install", "--help"],
    ] {
        let ran = pgarrow(args);
        ran.assert_success();
        let codes = ran.stdout_text().split("Exit codes:").nth(1).unwrap();
        let listed: Vec<u8> =
            codes.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
        assert_eq!(listed, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 129, 130, 141, 143], "{args:?}");
    }
    let help = pgarrow(&["export", "--help"]);
    for part in ["Examples:", "postgres://", "PGHOST", "~/.pgpass", "--row-group-rows", "[SCHEMA.]TABLE"] {
        assert!(help.stdout_text().contains(part), "{part}");
    }
    for part in ["\nTypes:\n", "--numeric <FORM>", "decimal(P,S)", "[possible values: error, null, saturate]"]
    {
        assert!(help.stdout_text().contains(part), "{part}");
    }
    let help = pgarrow(&["load", "--help"]);
    for part in ["Examples:", "--into <[SCHEMA.]TABLE>", "--dry-run", "Checks, triggers and --mode truncate"]
    {
        assert!(help.stdout_text().contains(part), "{part}");
    }
    assert!(!help.stdout_text().contains("They are the weakest there are"));
    assert!(pgarrow(&["--version"]).stdout_text().starts_with("pgarrow "));
    assert_eq!(pgarrow(&[]).code, Some(2));
}

const COMMANDS: [&[&str]; 12] = [
    &[],
    &["export"],
    &["load"],
    &["plan"],
    &["inspect"],
    &["hold"],
    &["pages"],
    &["pages", "status"],
    &["pages", "install"],
    &["demo"],
    &["completions"],
    &["man"],
];

/// Before, `export -h` was 170 lines, exit codes and all.
#[test]
fn short_help_is_one_screen() {
    for of in COMMANDS {
        let ran = pgarrow(&[of, &["-h"]].concat());
        ran.assert_success();
        let (help, whole) = (ran.stdout_text(), pgarrow(&[of, &["--help"]].concat()));
        let n_lines = help.lines().count();
        assert!(n_lines <= 40, "{of:?}: {n_lines} lines\n{help}");
        let widest = help.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 100, "{of:?}: {widest} columns\n{help}");
        assert!(help.contains("--help"), "{of:?}: {help}");
        assert!(whole.stdout_text().lines().count() > n_lines, "{of:?}");
    }
    let ran = pgarrow(&["export", "-h"]);
    for part in
        ["[CONNECTION]", "--table", "--query", "--output", "--to", "--readers", "pgarrow export --help"]
    {
        assert!(ran.stdout_text().contains(part), "{part}: {}", ran.stdout_text());
    }
    let n_options = ran.stdout_text().lines().filter(|line| line.trim_start().starts_with('-')).count();
    assert!((10..=14).contains(&n_options), "{n_options} options\n{}", ran.stdout_text());
}

/// Before, lines were up to 130 columns wide: a terminal of 80 broke them, and pasting them did something
/// else.
#[test]
fn examples_can_be_pasted_from_eighty_columns() {
    let mut n_examples = 0;
    for of in COMMANDS {
        let ran = pgarrow(&[of, &["--help"]].concat());
        let Some((_, examples)) = ran.stdout_text().split_once("Examples:\n") else { continue };
        let examples = examples.split("Exit codes:").next().unwrap();
        n_examples += 1;
        for line in examples.lines() {
            assert!(line.chars().count() < 80, "{of:?}: {line}");
        }
        // A command that continues in the next line says so, and any other line is a whole command.
        let commands = examples.lines().filter(|line| line.starts_with("    "));
        for (line, next) in commands.clone().zip(commands.skip(1)) {
            let goes_on = next.starts_with("        ");
            let ends_open = line.ends_with('\\') || line.ends_with('|');
            assert_eq!(goes_on, ends_open, "{of:?}: {line}\n{next}");
        }
    }
    assert_eq!(n_examples, 6);
}

/// Before, every shell offered options that exist only to be refused with a reason.
#[test]
fn completions_offer_what_commands_take() {
    let fish = pgarrow(&["completions", "fish"]);
    let offered = |command: &str, option: &str| {
        let of = |line: &&str| {
            line.contains(&format!("subcommand {command}\"")) && line.contains(&format!("-l {option} "))
        };
        fish.stdout_text().lines().filter(of).count()
    };
    for (command, option, is_offered) in [
        ("export", "readers", true),
        ("export", "target-role", true),
        ("export", "log-format", true),
        ("export", "commit-every", false),
        ("export", "restart-key", false),
        ("export", "reject", true),
        ("export", "reject-limit", true),
        ("load", "commit-every", true),
        ("load", "reject", true),
        ("plan", "tokens", false),
        ("plan", "slice", false),
        ("plan", "schema", true),
        ("hold", "schema", true),
        ("hold", "tokens", true),
    ] {
        let says = fish.stdout_text();
        assert_eq!(offered(command, option) > 0, is_offered, "{command} --{option}: {says}");
    }
    let bash = pgarrow(&["completions", "bash"]);
    let hold = bash
        .stdout_text()
        .split("pgarrow__hold)\n")
        .nth(1)
        .or_else(|| bash.stdout_text().split("pgarrow__subcmd__hold)\n").nth(1));
    let hold = hold.unwrap().lines().next().unwrap();
    assert!(hold.contains("--tokens") && !hold.contains("--output"), "{hold}");
}

#[test]
fn completions_and_manual_pages() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = pgarrow(&["completions", shell]);
        ran.assert_success();
        assert!(ran.stdout_text().contains("row-group-rows"), "{shell}");
        assert!(ran.stdout_text().contains("until-eof"), "{shell}");
        assert!(ran.stdout_text().contains("month-day-nano"), "{shell}");
    }
    let ran = pgarrow(&["man"]);
    ran.assert_success();
    assert!(ran.stdout_text().contains(".TH pgarrow"));

    let folder = TempDir::new().unwrap();
    run(command(folder.path()).args(["man", "."])).assert_success();
    let pages = names(folder.path());
    for page in [
        "pgarrow.1",
        "pgarrow-export.1",
        "pgarrow-plan.1",
        "pgarrow-inspect.1",
        "pgarrow-hold.1",
        "pgarrow-load.1",
        "pgarrow-demo.1",
    ] {
        assert!(pages.iter().any(|name| name == page), "{pages:?}");
    }
    let ran = run(command(folder.path()).args(["man", "no/such/folder"]));
    ran.assert_refused(7, &["no/such/folder"]);
}
