//! What a user reads when something is wrong.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use pgarrow_server::{Server, ServerOptions};
use pgarrow_testkit::{Capability, TestServer, require};
use tempfile::TempDir;

use crate::support::{ENDLESS, Place, Ran, command, end_of, run, start};

#[test]
fn a_table_that_is_not_there() {
    require!(Capability::Server);
    let place = Place::new("unknown_table");
    for (name, says) in [("ordres", "\"ordres\""), ("\"Ordres\"", "\"Ordres\""), ("s.t", "s")] {
        place.export(&["-t", name, "-o", "x.parquet"]).assert_refused(2, &["there is no", says]);
    }
    place.export(&["-t", "a.b.c", "-o", "x.parquet"]).assert_refused(2, &["more than two parts"]);
    assert!(place.names().is_empty());
}

#[test]
fn a_column_that_is_not_there() {
    require!(Capability::Server);
    let place = Place::new("unknown_column");
    place.database.execute("CREATE TABLE t (a int, \"B\" int)");
    let ran = place.export(&["-t", "t", "--columns", "a,b", "-o", "x.parquet"]);
    ran.assert_refused(2, &["public.t has no column \"b\"", "it has \"a\", \"B\""]);
    assert!(place.names().is_empty());
}

#[test]
fn rights_that_are_not_there_and_those_of_columns() {
    require!(Capability::Server, Capability::Superuser);
    let place = Place::new("rights");
    let role = format!("role_of_{}", place.database.name());
    place.database.execute(&format!(
        "CREATE ROLE {role}; CREATE TABLE t AS SELECT 1 AS a, 2 AS secret; \
         CREATE TABLE closed AS SELECT 1 AS a; GRANT SELECT (a) ON t TO {role}"
    ));
    let export = |table, columns: &[&str]| {
        let args = ["-t", table, "--role", &role, "-o", "x.parquet", "--overwrite"];
        place.export(&[&args, columns].concat())
    };
    let says = ["permission denied for table", "SQLSTATE 42501", "grant SELECT"];
    export("closed", &[]).assert_refused(4, &says);
    export("t", &[]).assert_refused(4, &says);
    export("t", &["--columns", "a,secret"]).assert_refused(4, &says);
    assert!(place.names().is_empty());
    export("t", &["--columns", "a"]).assert_success();
    place.database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    export("t", &[]).assert_refused(4, &["role", "does not exist"]);
}

#[test]
fn a_wrong_password_is_said_and_not_repeated() {
    require!(Capability::Server);
    let server = Server::start(ServerOptions::new().password("right-canary")).unwrap();
    let folder = TempDir::new().unwrap();
    let export = |connection: &str, args: &[&str]| {
        run(command(folder.path()).args(["export", connection, "--to", "none", "-q", "select 1"]).args(args))
    };
    let wrong = server.url().replace("right-canary", "wrong-canary");
    let ran = export(&wrong, &[]);
    ran.assert_refused(4, &["password authentication failed for user \"postgres\"", "28P01"]);
    assert!(!ran.stderr.contains("canary"), "{}", ran.stderr);

    export(&server.url(), &[]).assert_success();
    assert!(!export(&server.url(), &[]).stderr.contains("canary"));
    // The error for a connection in a wrong place does not repeat it, either.
    for args in
        [vec![wrong.as_str()], vec!["--to", &wrong], vec!["--batch-rows", &wrong], vec!["--set", &wrong]]
    {
        let ran = export(&server.url(), &args);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(!ran.stderr.contains("canary"), "{}", ran.stderr);
    }
    // No password at all, and one from the environment.
    let without = server.url().replace(":right-canary", "");
    export(&without, &[]).assert_refused(4, &["asks for a password and none is given", "~/.pgpass"]);
    // A password file that is ignored since others can read it: the warning comes even if the file would not
    // help.
    let passfile = folder.path().join(".pgpass");
    fs::write(&passfile, "*:*:*:*:right-canary\n").unwrap();
    fs::set_permissions(&passfile, fs::Permissions::from_mode(0o640)).unwrap();
    let warning = format!(
        "password file {} can be read by others and is ignored: run chmod 0600 on it",
        passfile.display()
    );
    let ran = export(&without, &[]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    let lines = ran.said();
    assert_eq!(lines[0], format!("pgarrow: warning: {warning}"));
    assert!(
        lines.len() == 2 && lines[1].contains("asks for a password") && lines[1].contains(&warning),
        "{}",
        ran.stderr
    );
    for (name, args) in [
        ("inspect", &["inspect", &without, "-q", "select 1"][..]),
        ("plan", &["plan", &without, "-q", "select 1"]),
        ("hold", &["hold", &without, "-q", "select 1"]),
        ("pages", &["pages", "status", &without]),
        ("load", &["load", "x.arrow", "--target", &without, "--into", "t"]),
        (
            "target",
            &[
                "export",
                &server.url(),
                "-q",
                "select 1 as a",
                "--to",
                "postgres",
                "--target",
                &without,
                "--into",
                "t",
            ],
        ),
    ] {
        if name == "load" {
            export_file(&folder, &server.url());
        }
        let ran = run(command(folder.path()).args(args));
        assert_eq!(ran.code, Some(4), "{name}: {ran:?}");
        assert!(ran.stderr.contains(&format!("warning: {warning}")), "{name}: {}", ran.stderr);
    }
    fs::set_permissions(&passfile, fs::Permissions::from_mode(0o600)).unwrap();
    let ran = export(&without, &[]);
    ran.assert_success();
    assert!(!ran.stderr.contains("password file"), "{}", ran.stderr);
    fs::remove_file(passfile).unwrap();
    let mut with_environment = command(folder.path());
    with_environment.env("PGPASSWORD", "right-canary").args(["export", &without]);
    run(with_environment.args(["--to", "none", "-q", "select 1"])).assert_success();
}

/// A file to load.
fn export_file(folder: &TempDir, url: &str) {
    run(command(folder.path()).args(["export", url, "-q", "select 1 as a", "-o", "x.arrow"]))
        .assert_success();
}

#[test]
fn a_server_that_is_not_there() {
    let folder = TempDir::new().unwrap();
    // Bound and closed again: no process listens at this port.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://u:canary@127.0.0.1:{port}/d");
    let ran = run(command(folder.path()).args(["export", &url, "-t", "t", "-o", "x.parquet"]));
    ran.assert_refused(3, &[&format!("cannot connect to 127.0.0.1:{port}"), "refused"]);
    assert!(!ran.stderr.contains("canary"));
    let ran = run(command(folder.path()).args(["export", "host=/nowhere", "-t", "t", "--to", "none"]));
    ran.assert_refused(3, &["/nowhere/.s.PGSQL.5432"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn an_output_that_cannot_be_is_found_out_before_connecting() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("there.parquet"), "mine").unwrap();
    fs::create_dir(folder.path().join("folder.parquet")).unwrap();
    let export = |args: &[&str]| {
        run(command(folder.path()).args(["export", "postgres://u@127.0.0.1:1/d", "-t", "t"]).args(args))
    };
    export(&["-o", "there.parquet"]).assert_refused(7, &["\"there.parquet\" exists", "--overwrite"]);
    export(&["-o", "folder.parquet"]).assert_refused(7, &["is a folder"]);
    export(&["-o", "no/x.parquet"]).assert_refused(7, &["does not exist", "create it first"]);
    export(&["-o", "x.parquet", "--report", "there.parquet"]).assert_refused(7, &["exists"]);
    // Connecting comes after that, and the file is unchanged.
    export(&["-o", "there.parquet", "--overwrite"]).assert_refused(3, &["cannot connect"]);
    assert_eq!(fs::read_to_string(folder.path().join("there.parquet")).unwrap(), "mine");
    assert_eq!(crate::support::names(folder.path()), ["folder.parquet", "there.parquet"]);
}

#[test]
fn a_disk_that_is_full() {
    require!(Capability::Server);
    let place = Place::new("disk_full");
    // Random, so that no codec makes it small.
    let query = "select md5(g::text) from generate_series(1, 20000) g";
    for to in ["parquet", "ipc", "ipc-stream"] {
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" > /dev/full", "sh", env!("CARGO_BIN_EXE_pgarrow"), "export"]);
        command.args([place.database.url(), "-q", query, "--to", to, "-o", "-"]);
        run(&mut command).assert_refused(7, &["No space left on device", "free some space"]);

        // A limit on the size of files stands for a disk that fills up; its signal must not end the process.
        let mut command = Command::new("sh");
        command.current_dir(place.folder.path());
        command.args(["-c", "ulimit -f 8; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_pgarrow"), "export"]);
        command.args([place.database.url(), "-q", query, "--to", to, "-o", "x"]);
        run(&mut command).assert_refused(7, &["\"x\"", "File too large"]);
        assert!(place.names().is_empty(), "{to}: {:?}", place.names());
    }
}

#[test]
fn statements_that_cannot_be_exported() {
    require!(Capability::Server);
    let place = Place::new("statements");
    place.database.execute("CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 10) g");
    let refused = |sql: &str, code: i32, says: &[&str]| {
        place.export(&["-q", sql, "-o", "x.parquet"]).assert_refused(code, says);
        assert!(place.names().is_empty());
    };
    refused("create table u ()", 2, &["returns no rows", "give a SELECT"]);
    refused("", 2, &["empty"]);
    refused("select 1; select 2", 2, &["more than one statement"]);
    refused("show all", 4, &["only what can stand in COPY", "SELECT, VALUES, TABLE, WITH"]);
    refused("insert into t values (1) returning a", 4, &["read-only transaction", "25006"]);
    refused("selec 1", 4, &["syntax error at or near \"selec\""]);
    refused("select 'a", 2, &["quote that is not closed"]);
    refused("select $1", 2, &["takes 1 parameters", "0 were given"]);
    refused("select 1 / (7 - a) from t", 4, &["division by zero", "22012"]);
    refused("select 'infinity'::timestamp as t", 6, &["the query", "\"t\"", "row 1", "--infinity null"]);
    let ran = place.export(&["-t", "t", "--where", "b > 1", "-o", "x.parquet"]);
    ran.assert_refused(4, &["the filter cannot be used", "column \"b\" does not exist"]);
    // A carriage return ends a comment, too: before, there were two conditions, and row 7 came from every
    // slice.
    let ran = place.export(&["-t", "t", "--where", "a < 5 --\r) OR (a = 7", "-o", "x.parquet"]);
    ran.assert_refused(2, &["the filter has a parenthesis"]);
    let ran = place.export(&["-t", "t", "--set", "no_such=1", "-o", "x.parquet"]);
    ran.assert_refused(4, &["unrecognized configuration parameter"]);
    assert!(place.names().is_empty());
}

#[test]
fn a_query_that_fails_when_most_is_read() {
    require!(Capability::Server);
    let place = Place::new("fails_late");
    let query = "select 1 / (300000 - g) from generate_series(1, 400000) g";
    for to in ["parquet", "ipc", "ipc-stream"] {
        let ran = place.export(&["-q", query, "--to", to, "-o", "x"]);
        ran.assert_refused(4, &["division by zero"]);
        assert!(place.names().is_empty());
    }
    // Bytes that went to stdout cannot be taken back; the exit code tells.
    let ran = place.export(&["-q", query, "--to", "ipc-stream", "-o", "-"]);
    assert_eq!(ran.code, Some(4));
    assert!(!ran.stdout.is_empty());
}

#[test]
fn a_backend_that_is_terminated_in_the_middle() {
    require!(Capability::Server);
    let place = Place::new("terminated");
    let child = place.start_copy(&["-q", ENDLESS, "-o", "x.parquet"]);
    place.database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name = 'pgarrow'",
    );
    let ran: Ran = end_of(child, 20);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    // A backend that waits to send when it is terminated sends no message: it could only wait again
    // (`ProcessClientWriteInterrupt` in PostgreSQL's src/backend/tcop/postgres.c).
    let said =
        ["terminating connection", "closed the connection"].iter().any(|text| ran.stderr.contains(text));
    assert!(said, "{}", ran.stderr);
    assert!(place.names().is_empty());
}

/// Users could not tell it from a cancel of pgarrow.
#[test]
fn a_statement_that_somebody_cancels_on_the_server() {
    require!(Capability::Server);
    let place = Place::new("cancelled_there");
    for (how, says) in [
        (
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity \
          WHERE datname = current_database() AND application_name = 'pgarrow'",
            "pg_cancel_backend",
        ),
        ("", "statement_timeout"),
    ] {
        let timeout = ["--set", "statement_timeout=300"];
        let of_server = if how.is_empty() { &timeout[..] } else { &[] };
        let args = [&["-q", ENDLESS, "-o", "x.parquet"], of_server].concat();
        let child = match how {
            "" => start(&mut place.export_command(&args)),
            how => {
                let child = place.start_copy(&args);
                place.database.execute(how);
                child
            }
        };
        let ran = end_of(child, 20);
        ran.assert_refused(4, &["SQLSTATE 57014", says]);
        assert!(place.names().is_empty());
    }
}

/// A script that tries again at 3 repeated wrong passwords, and gave up when the server was restarted.
#[test]
fn exit_codes_say_whether_another_attempt_may_help() {
    let folder = TempDir::new().unwrap();
    for (sqlstate, code) in [
        ("08000", 3),
        ("08006", 3),
        ("08P01", 4),
        ("28000", 4),
        ("28P01", 4),
        ("3D000", 4),
        ("42501", 4),
        ("53300", 3),
        ("53400", 4),
        ("55000", 4),
        ("57P01", 3),
        ("57P02", 3),
        ("57P03", 3),
        ("57P04", 4),
        ("XX000", 4),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("postgres://u@{}/d?sslmode=disable", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4];
            stream.read_exact(&mut head).unwrap();
            let mut startup = vec![0; u32::from_be_bytes(head) as usize - 4];
            stream.read_exact(&mut startup).unwrap();
            let fields = format!("SFATAL\0VFATAL\0C{sqlstate}\0Mnot today\0\0");
            let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
            stream.write_all(&[&b"E"[..], &length, fields.as_bytes()].concat()).unwrap();
        });
        let ran = run(command(folder.path()).args(["export", &url, "-q", "select 1", "--to", "none"]));
        server.join().unwrap();
        ran.assert_refused(code, &["not today", sqlstate]);
    }
}

#[test]
fn names_that_would_steer_a_terminal() {
    require!(Capability::Server);
    let place = Place::new("hostile");
    let name = "\"\u{1b}]0;owned\u{7}\u{202e}\nt\"";
    place.database.execute(&format!("CREATE TABLE {name} (\"c\u{9b}31m\" tsvector)"));
    for args in [["-t", name, "--to", "none"], ["-t", "\"\u{1b}[2J\"", "--to", "none"]] {
        let ran = place.export(&args);
        assert!(!ran.stderr.replace('\n', "").contains(char::is_control), "{:?}", ran.stderr);
        assert!(!ran.stderr.contains('\u{202e}'), "{:?}", ran.stderr);
        assert!(ran.stderr.contains("\\u{1b}"), "{:?}", ran.stderr);
    }
    let raise = "select 1 / 0 as \"\u{1b}[31m\"";
    let ran = place.export(&["-q", raise, "-o", "\u{1b}[31m.parquet", "--columns", "\u{1b}"]);
    assert!(!ran.stderr.replace('\n', "").contains(char::is_control), "{:?}", ran.stderr);
}

#[test]
fn another_server_than_the_one_that_was_named_is_never_used() {
    require!(Capability::Server);
    let folder = TempDir::new().unwrap();
    let ran = run(command(folder.path())
        .env("PGHOST", "/nowhere")
        .args(["export", "-q", "select 1", "--to", "none"]));
    ran.assert_refused(3, &["/nowhere"]);
    let url = format!("{}?gssencmode=require", TestServer::shared().url());
    let ran = run(command(folder.path()).args(["export", &url, "-q", "select 1", "--to", "none"]));
    ran.assert_refused(2, &["gssencmode"]);
}

/// Before, only the first problem of the first table was reported, and what a file cannot hold was found in
/// the middle of the run, at that table's turn.
#[test]
fn what_is_wrong_with_many_tables_is_said_at_once() {
    require!(Capability::Server, Capability::Superuser);
    let place = Place::new("atonce");
    let role = format!("role_of_{}", place.database.name());
    place.database.execute(&format!(
        "CREATE SCHEMA s; CREATE SCHEMA hidden; CREATE TABLE hidden.h (id int); \
         CREATE TABLE s.good AS SELECT g AS id FROM generate_series(1, 1000) g; \
         CREATE TABLE s.secret (id int); CREATE TABLE s.secret2 (id int); \
         CREATE TABLE s.some (id int, hidden int); \
         CREATE TABLE s.odd (id int, a aclitem, b aclitem); CREATE TABLE s.bare (); \
         CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA s TO {role}; \
         GRANT SELECT ON ALL TABLES IN SCHEMA s TO {role}; REVOKE SELECT ON s.secret, s.secret2, s.some FROM {role}; \
         GRANT SELECT (id) ON s.some TO {role}"
    ));
    let url = place.database.url();
    let url = format!("{url}{}user={role}", if url.contains('?') { '&' } else { '?' });
    let export = |args: &[&str]| {
        let args = [&["export", &url, "-o", "out/"], args].concat();
        run(command(place.folder.path()).args(args))
    };
    let of_schema = [
        "permission denied for table s.secret; GRANT SELECT ON \"s\".\"secret\" to the role",
        "permission denied for table s.secret2; GRANT SELECT ON \"s\".\"secret2\" to the role",
        "permission denied for table s.some; GRANT SELECT ON \"s\".\"some\" to the role",
        "there is a choice for column \"no\", but no such column of these tables is read",
        "s.odd, column \"a\" of type aclitem cannot be decoded",
        "s.odd, column \"b\" of type aclitem cannot be decoded",
        "s.bare has no columns, and Parquet no rows without columns",
    ];
    let choices = ["--unknown-types", "error", "--column", "no:text"];
    let ran = export(&[&["--schema", "s"][..], &choices].concat());
    let lines = ran.said();
    assert_eq!(lines[0], "pgarrow: 7 problems, and nothing was read:", "{}", ran.stderr);
    assert_eq!(lines.len(), 8, "{}", ran.stderr);
    for says in of_schema {
        assert_eq!(
            lines.iter().filter(|line| line.starts_with("  ") && line.contains(says)).count(),
            1,
            "{says}: {ran:?}"
        );
    }
    assert_eq!((ran.code, place.names().len()), (Some(4), 0), "{:?}", place.names());

    // Names that do not exist, or cannot be read, are reported with the rest.
    let ran = export(&[
        "-t",
        "s.nowhere",
        "-t",
        "s.good",
        "-t",
        "hidden.h",
        "-t",
        "s.secret",
        "-t",
        "s.odd.too.many",
    ]);
    let lines = ran.said();
    assert_eq!(lines[0], "pgarrow: 4 problems, and nothing was read:", "{}", ran.stderr);
    for says in [
        "there is no table \"s\".\"nowhere\"",
        "permission denied for schema hidden",
        "s.secret",
        "more than two parts",
    ] {
        assert!(lines.iter().any(|line| line.starts_with("  ") && line.contains(says)), "{says}: {ran:?}");
    }
    assert_eq!(ran.code, Some(2));

    // A single problem is reported as always; all columns of one table at once.
    let ran = export(&["-t", "s.good", "-t", "s.secret"]);
    ran.assert_refused(4, &["permission denied for table s.secret"]);
    let ran = export(&["-t", "s.odd", "--unknown-types", "error"]);
    assert_eq!((ran.code, ran.said().len()), (Some(2), 3), "{}", ran.stderr);
    assert!(place.names().is_empty(), "{:?}", place.names());

    // The list of a hundred problems is cut short; without problems, everything is read.
    let tables: Vec<String> =
        (0..100).map(|number| format!("CREATE TABLE s.t{number} (a aclitem);")).collect();
    place.database.execute(&tables.join(" "));
    let ran = place.export(&["--schema", "s", "--unknown-types", "error", "-o", "out/"]);
    assert_eq!(ran.said().len(), 52, "{}", ran.stderr);
    assert!(ran.stderr.contains("\n  and ") && ran.stderr.ends_with(" more\n"), "{}", ran.stderr);
    export(&["-t", "s.good", "-t", "s.odd"]).assert_success();
    assert_eq!(place.names(), ["out"]);
    place.database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
