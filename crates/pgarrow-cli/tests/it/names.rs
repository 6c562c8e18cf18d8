//! Names that are wrong by a letter or by their place: the error says what was meant.

use std::fs;

use pgarrow_testkit::{Capability, require};

use crate::support::{Place, Ran, command, run};

fn place(hint: &str) -> Place {
    let place = Place::new(hint);
    place.database.execute(
        "CREATE SCHEMA sales; CREATE TABLE sales.orders (id int, \"orderDate\" date); \
         INSERT INTO sales.orders VALUES (1, '2026-01-01'); CREATE TABLE customers (id int, name text); \
         CREATE VIEW open_orders AS SELECT * FROM sales.orders",
    );
    place
}

/// `pgarrow COMMAND URL …`.
fn pgarrow(place: &Place, name: &str, args: &[&str]) -> Ran {
    run(command(place.folder.path()).args([name, place.database.url()]).args(args))
}

/// Before, the error said only that there is no such name.
#[test]
fn names_that_are_near_are_proposed() {
    require!(Capability::Server);
    let place = place("near_names");
    for (name, says) in [
        ("orders", "did you mean sales.orders?"),
        ("custmoers", "did you mean public.customers?"),
        ("public.custmoers", "did you mean public.customers?"),
        ("Customer", "did you mean public.customers?"),
        ("sales.ordres", "did you mean sales.orders?"),
        ("slaes.orders", "did you mean sales.orders?"),
        ("open_order", "did you mean public.open_orders?"),
        ("slaes.nothing_like_it", "there is no schema \"slaes\"; did you mean \"sales\"?"),
        ("nothing_like_it", "check the spelling and the schema"),
    ] {
        for args in [&["-t", name, "--to", "none"][..], &["-t", "sales.orders", "-t", name, "--to", "none"]] {
            place.export(args).assert_refused(2, &["there is no table", says]);
        }
    }
    place.export(&["--schema", "slaes", "--to", "none"]).assert_refused(2, &["did you mean \"sales\"?"]);
    pgarrow(&place, "plan", &["custmoers"]).assert_refused(2, &["did you mean public.customers?"]);
    let status =
        run(command(place.folder.path()).args(["pages", "status", place.database.url(), "custmoers"]));
    status.assert_refused(2, &["did you mean public.customers?"]);

    let of = |args: &[&str]| place.export(&[&["sales.orders", "--to", "none"], args].concat());
    of(&["--columns", "orderdate"])
        .assert_refused(2, &["no column \"orderdate\" (did you mean \"orderDate\"?)"]);
    of(&["--column", "orderDat:text"])
        .assert_refused(2, &["no such column", "(did you mean \"orderDate\"?)"]);
    of(&["--split-on", "di"]).assert_refused(2, &["no column \"di\" to split on"]);
    of(&["--split-on", "ID"]).assert_refused(2, &["to split on (did you mean \"id\"?)"]);
    let query = ["-q", "select id from sales.orders", "--to", "none", "--split-on", "Id"];
    place
        .export(&query)
        .assert_refused(2, &["the query has no column \"Id\" to split on (did you mean \"id\"?)"]);
    of(&["--reders", "2"]).assert_said(2, "'--readers'");

    place.export(&["customers", "-o", "x.parquet"]).assert_success();
    let load = |into: &str, args: &[&str]| {
        let file = ["load", "x.parquet", "--target", place.database.url(), "--into", into];
        run(command(place.folder.path()).args(file).args(args))
    };
    load("custmoers", &[]).assert_refused(2, &["did you mean public.customers?", "--mode create makes it"]);
    place.database.execute("CREATE TABLE clients (id int, nmae text)");
    load("clients", &[]).assert_refused(2, &["no column \"name\" (did you mean \"nmae\"?)"]);
}

/// Before, the advice was SELECT, which a role without USAGE may have already.
#[test]
fn a_schema_that_may_not_be_used() {
    require!(Capability::Server, Capability::Superuser);
    let place = place("no_usage");
    let role = format!("role_of_{}", place.database.name());
    place.database.execute(&format!(
        "CREATE ROLE {role}; GRANT SELECT, INSERT ON sales.orders TO {role}; \
         CREATE FUNCTION secret() RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE ALL ON FUNCTION secret() FROM PUBLIC"
    ));
    let export = |args: &[&str]| place.export(&[args, &["--role", &role, "--to", "none"]].concat());
    let denied = ["permission denied for schema sales", "grant USAGE on schema \"sales\" to this role"];
    for args in [&["-t", "sales.orders"][..], &["-t", "sales.orders", "-t", "sales.other"]] {
        let ran = export(args);
        denied.iter().for_each(|says| ran.assert_said(4, says));
        assert!(!ran.stderr.contains("SELECT"), "{}", ran.stderr);
    }
    export(&["orders"])
        .assert_refused(2, &["there is sales.orders", "grant USAGE on schema \"sales\" to it"]);
    let query = export(&["-q", "select * from sales.orders"]);
    query.assert_refused(4, &["permission denied for schema sales", "grant USAGE on the schema"]);
    export(&["-q", "select secret()"]).assert_refused(4, &["for function secret", "grant EXECUTE on it"]);
    place.export(&["-q", "select 1 as id", "-o", "x.arrow"]).assert_success();
    let load =
        ["load", "x.arrow", "--target", place.database.url(), "--into", "sales.orders", "--role", &role];
    run(command(place.folder.path()).args(load)).assert_refused(4, &denied);
    place.database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

/// Before, a second word was an error of usage.
#[test]
fn a_table_behind_the_connection() {
    require!(Capability::Server);
    let place = place("behind");
    place.export(&["sales.orders", "-o", "x.parquet"]).assert_success();
    place.export(&["sales.orders", "customers", "-t", "open_orders", "-o", "all/"]).assert_success();
    let mut names: Vec<String> = crate::support::names(&place.path("all"));
    names.retain(|name| name.ends_with(".parquet"));
    assert_eq!(names, ["public.customers.parquet", "public.open_orders.parquet", "sales.orders.parquet"]);
    for name in ["plan", "inspect"] {
        let ran = pgarrow(&place, name, &["sales.orders"]);
        ran.assert_success();
        assert!(ran.stdout_text().contains("sales.orders"), "{name}");
    }
    pgarrow(&place, "hold", &["sales.orders", "--tokens", "t", "--for", "1s"]).assert_success();
    let status =
        run(command(place.folder.path()).args(["pages", "status", place.database.url(), "sales.orders"]));
    assert!(status.stdout_text().contains("sales.orders"), "{status:?}");
    place.export(&["customers", "-q", "select 1", "--to", "none"]).assert_refused(2, &["not both"]);
    // The error for a connection among the names does not repeat it, and it is not looked up as a table.
    let ran = place.export(&["postgres://u:canary@h/d", "--to", "none"]);
    ran.assert_refused(2, &["a connection where a table's name stands"]);
    assert!(!ran.stderr.contains("canary"), "{}", ran.stderr);
}

#[test]
fn one_word_is_a_database_and_that_is_said() {
    let folder = tempfile::TempDir::new().unwrap();
    let export =
        |args: &[&str]| run(command(folder.path()).arg("export").args(args).args(["-o", "x.parquet"]));
    export(&["sales.orders"]).assert_refused(
        2,
        &["\"sales.orders\" was taken for a database", "pgarrow export DATABASE sales.orders"],
    );
    // The error does not repeat what may hold a password.
    for connection in ["postgres://u:canary@h/d", "host=h password=canary"] {
        let ran = export(&[connection]);
        ran.assert_refused(2, &["nothing to export"]);
        assert!(!ran.stderr.contains("canary"), "{}", ran.stderr);
    }
}

/// Before, `s3://bucket/x.parquet` became a file in a folder `s3:`, or the error said that this folder does
/// not exist.
#[test]
fn urls_are_no_outputs() {
    let folder = tempfile::TempDir::new().unwrap();
    fs::create_dir_all(folder.path().join("s3:/bucket")).unwrap();
    let nowhere = "postgres://u@127.0.0.1:1/d";
    for args in [
        &["export", nowhere, "t", "-o", "s3://bucket/x.parquet"][..],
        &["export", nowhere, "t", "-o", "s3://bucket/x/"],
        &["export", nowhere, "t", "--to", "none", "--report", "s3://bucket/r.json"],
        &["export", nowhere, "t", "--dry-run", "-o", "s3://bucket/x.parquet"],
        &["hold", nowhere, "t", "--tokens", "s3://bucket/t"],
        &["load", "x.parquet", "--into", "t", "--report", "s3://bucket/r.json"],
        &["load", "x.parquet", "--into", "t", "--reject", "s3://bucket/r.arrow"],
    ] {
        run(command(folder.path()).args(args))
            .assert_refused(2, &["takes a path of this machine", "s3://… is none"]);
    }
    assert!(crate::support::names(&folder.path().join("s3:/bucket")).is_empty());
}

/// Before, users who opened the file by its name read that it is damaged.
#[test]
fn an_ending_that_promises_another_format() {
    require!(Capability::Server);
    let place = place("endings");
    let warning = "warning: \"x.parquet\" has the ending of parquet, and ipc is written to it";
    for args in [&["--dry-run"][..], &[]] {
        let ran = place.export(&[&["customers", "--to", "ipc", "-o", "x.parquet"], args].concat());
        ran.assert_success();
        assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    }
    let ran = place.export(&["customers", "--to", "ipc-stream", "-o", "x.arrow/"]);
    assert!(ran.stderr.contains("has the ending of ipc, and ipc-stream is written"), "{}", ran.stderr);
    for args in [["parquet", "y.parquet"], ["ipc", "y.feather"], ["ipc", "y"], ["parquet", "y/"]] {
        let ran = place.export(&["customers", "--to", args[0], "-o", args[1]]);
        assert!(!ran.stderr.contains("warning"), "{args:?}: {}", ran.stderr);
    }
}

/// Before, all of it was one line.
#[test]
fn many_columns_that_do_not_fit_are_a_table() {
    require!(Capability::Server);
    let place = place("mismatches");
    let query = "select 'a' as one, 'b' as two, 'c' as three, 1 as four";
    place.export(&["-q", query, "-o", "x.arrow"]).assert_success();
    place.database.execute("CREATE TABLE t (one int, two date, three uuid, five int NOT NULL)");
    let load = ["load", "x.arrow", "--target", place.database.url(), "--into", "t"];
    let ran = run(command(place.folder.path()).args(load));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let lines = ran.said();
    assert_eq!(
        lines[0], "pgarrow: this cannot be loaded into public.t: 5 columns do not fit",
        "{}",
        ran.stderr
    );
    assert!(lines[1].starts_with("  column  in the table  in the data  what is wrong"), "{}", ran.stderr);
    for (name, says) in [("one", "integer"), ("four", "--add-columns adds it"), ("five", "must not be NULL")]
    {
        let line = lines.iter().find(|line| line.starts_with(&format!("  {name} ")));
        assert!(line.is_some_and(|line| line.contains(says)), "{name}: {}", ran.stderr);
    }
    // As JSON it is one message.
    let ran = run(command(place.folder.path()).args(load).args(["--log-format", "json"]));
    let line: serde_json::Value = serde_json::from_str(ran.stderr.lines().last().unwrap()).unwrap();
    assert!(line["message"].as_str().unwrap().lines().count() > 4, "{line}");
}
