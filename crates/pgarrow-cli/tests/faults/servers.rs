//! F-20, F-21, F-25, F-26, F-28 to F-31, F-34: backends that are ended, servers that stop, and servers that
//! refuse.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgarrow_server::Server;
use pgarrow_testkit::{Capability, Fault, Proxy, require, server_options, until_restarted};

use crate::arena::{Arena, Gate, eventually, table};
use crate::links::wait_until_nothing_moves;
use crate::table::{Group, name};
use crate::trial::{Expect, KINDS, Kind, Trial};

/// The sessions that a fault is for, as conditions on `pg_stat_activity`. Readers wait at the gate, the
/// keeper does not.
const WHO: [(&str, &str); 2] =
    [("a reader", "wait_event = 'advisory'"), ("the keeper", "wait_event IS DISTINCT FROM 'advisory'")];

/// Several readers, which wait at the gate.
fn crew(retries: &str) -> Vec<&str> {
    vec![
        "-t",
        "t",
        "--readers",
        "3",
        "--slice-bytes",
        "32K",
        "--quiet",
        "--where",
        Gate::FILTER,
        "--retries",
        retries,
    ]
}

#[test]
fn backends_that_are_terminated_or_cancelled() {
    require!(Capability::PrivateServer);
    let arena = Arena::new("ended", &format!("{}; {}", table(4000), Gate::SQL));
    let group = Group::new("ended");
    let mut trials = Vec::new();
    for kind in KINDS {
        for who in WHO {
            for (id, function) in [(20, "pg_terminate_backend"), (21, "pg_cancel_backend")] {
                for retries in ["0", "3"] {
                    trials.push((kind, who, id, function, retries));
                }
            }
        }
    }
    group.each(trials, |&(kind, (who, condition), id, function, retries)| {
        let trial = Trial::new(&arena, kind);
        let gate = Gate::close(&arena, &trial.name);
        let running = trial.start(&mut trial.command(&crew(retries)));
        gate.wait(3);
        let pid = arena.pids(&trial.name, condition)[0];
        arena.client().execute(&format!("SELECT {function}({pid})"), &[]).unwrap();
        eventually("it has an effect", || {
            arena.ask(&format!(
                "SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'advisory'"
            )) == 0
        });
        gate.open();
        let ended = running.end(30);
        let expect = match (id, who) {
            // The cancel was meant to stop the run, whatever the retries.
            (21, "a reader") => Expect::failure(&[4]).saying("57014"),
            // The keeper is idle, so a cancel finds nothing to cancel, unless it comes while the keeper asks
            // something.
            (21, _) => Expect::failure(&[0, 4]),
            (20, "a reader") if retries != "0" => Expect::failure(&[0, 3, 4]),
            _ => Expect::failure(&[3, 4]),
        };
        let fault = format!("{function} of {who}, --retries {retries}");
        (name(id, fault, format!("P6, {kind:?}")), String::new(), trial.judge(&ended, &expect))
    });
    group.finish();
}

#[test]
fn a_backend_that_is_stopped_for_a_while() {
    require!(Capability::PrivateServer);
    let arena = Arena::new("backend_stopped", &format!("{}; {}", table(4000), Gate::SQL));
    let group = Group::new("backend_stopped");
    let trials = KINDS.into_iter().flat_map(|kind| WHO.map(|who| (kind, who))).collect();
    group.each(trials, |&(kind, (who, condition))| {
        let trial = Trial::new(&arena, kind);
        let gate = Gate::close(&arena, &trial.name);
        let mut running = trial.start(&mut trial.command(&crew("0")));
        gate.wait(3);
        let pid = Pid::from_raw(arena.pids(&trial.name, condition)[0]);
        kill(pid, Signal::SIGSTOP).unwrap();
        gate.open();
        let has_ended = running.ends_within(2);
        kill(pid, Signal::SIGCONT).unwrap();
        let result = match has_ended {
            true => Err("it did not wait".to_owned()),
            false => trial.judge(&running.end(20), &Expect::success()),
        };
        (
            name(34, format!("SIGSTOP of {who}'s backend, SIGCONT"), format!("P6, {kind:?}")),
            String::new(),
            result,
        )
    });
    group.finish();
}

/// A server of the test's own.
fn server(settings: &[(&str, &str)]) -> Server {
    let options =
        settings.iter().fold(server_options(), |options, (name, value)| options.setting(*name, *value));
    Server::start(options).unwrap()
}

#[test]
fn backends_that_are_killed() {
    require!(Capability::PrivateServer);
    let server = server(&[]);
    let arena = Arena::on(&server.url(), &format!("{}; {}", table(4000), Gate::SQL));
    let group = Group::new("killed");
    for kind in KINDS {
        for (who, condition) in WHO.into_iter().chain([("somebody else", "")]) {
            let trial = Trial::new(&arena, kind);
            let gate = Gate::close(&arena, &trial.name);
            let running = trial.start(&mut trial.command(&crew("0")));
            gate.wait(3);
            let mut other = arena.client();
            let pid: i32 = match condition {
                "" => other.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0),
                condition => arena.pids(&trial.name, condition)[0],
            };
            let witness = arena.client();
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
            let ended = running.end(20);
            gate.open();
            // The server ends all sessions and starts again by itself.
            until_restarted(witness, &server.url());
            let expect = Expect::failure(&[3, 4]).saying("127.0.0.1:");
            let name = name(25, format!("kill -9 of {who}'s backend"), format!("P6, {kind:?}"));
            group.note(&name, "", trial.judge(&ended, &expect));
        }
    }
    group.finish();
}

fn is_up(server: &Server) -> bool {
    let mut psql =
        pgarrow_testkit::postgres::Client::connect(&server.url(), pgarrow_testkit::postgres::NoTls);
    psql.as_mut().is_ok_and(|client| client.simple_query("SELECT 1").is_ok())
}

#[test]
fn servers_that_stop() {
    require!(Capability::PrivateServer);
    let mut server = server(&[]);
    let arena = Arena::on(&server.url(), &format!("{}; {}", table(4000), Gate::SQL));
    let group = Group::new("stopping");
    for (kind, readers) in [(Kind::Parquet, "1"), (Kind::Ipc, "3"), (Kind::Folder, "3")] {
        for retries in ["0", "3"] {
            let trial = Trial::new(&arena, kind);
            let gate = Gate::close(&arena, &trial.name);
            let what = [
                "-t",
                "t",
                "--readers",
                readers,
                "--slice-bytes",
                "32K",
                "--quiet",
                "--where",
                Gate::FILTER,
                "--retries",
                retries,
            ];
            let running = trial.start(&mut trial.command(&what));
            gate.wait(readers.parse().unwrap());
            // Immediate shutdown, and back with the same data: a run that continues would mix two snapshots.
            server.crash_and_restart().unwrap();
            let ended = running.end(30);
            gate.open();
            let expect = Expect::failure(&[3, 4]).saying("127.0.0.1:");
            let name = name(
                26,
                format!("stop -m immediate and start, --retries {retries}"),
                format!("P6, {kind:?}"),
            );
            group.note(&name, readers, trial.judge(&ended, &expect));
        }
    }
    group.finish();
}

#[test]
fn servers_that_are_shut_down() {
    require!(Capability::PrivateServer);
    let group = Group::new("shut_down");
    // TERM is a smart shutdown, which lets the run complete; INT is a fast one. The server is gone after it.
    for (signal, mode) in [("TERM", "smart"), ("INT", "fast")] {
        for readers in ["1", "3"] {
            let server = server(&[]);
            let sql = format!("{}; {}", table(1000), Gate::SQL);
            let arena = Arena::on(&server.url(), &sql);
            let trial = Trial::new(&arena, Kind::Parquet);
            let gate = Gate::close(&arena, &trial.name);
            let what = [
                "-t",
                "t",
                "--readers",
                readers,
                "--slice-bytes",
                "32K",
                "--quiet",
                "--where",
                Gate::FILTER,
                "--retries",
                "0",
            ];
            let running = trial.start(&mut trial.command(&what));
            gate.wait(readers.parse().unwrap());
            server.signal(signal).unwrap();
            // Otherwise the gate might open before the server handles its signal.
            eventually("it refuses new sessions", || !is_up(&server));
            gate.open();
            let ended = running.end(30);
            drop(server);
            let expect = match mode {
                "smart" => Expect::success(),
                _ => Expect::failure(&[3, 4]).saying("127.0.0.1:"),
            };
            let name = name(26, format!("stop -m {mode}"), "P6, Parquet");
            group.note(&name, readers, trial.judge_without_server(&ended, &expect));
        }
    }
    group.finish();
}

#[test]
fn servers_without_a_connection_left() {
    require!(Capability::PrivateServer);
    let server = server(&[("max_connections", "9"), ("superuser_reserved_connections", "0")]);
    let arena = Arena::on(&server.url(), &format!("{}; {}", table(4000), Gate::SQL));
    let only_ours = || {
        eventually("all others are gone", || {
            arena.ask("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'") == 1
        });
    };
    let group = Group::new("connections");
    for kind in KINDS {
        // One connection is the arena's, and one the gate's.
        for n_left in 0..=6_usize {
            // Backends of the run before may still be exiting.
            only_ours();
            let proxy = Proxy::start(arena.port(), Fault::None);
            let trial = Trial::new(&arena, kind).through(proxy.address());
            let gate = Gate::close(&arena, &trial.name);
            let held: Vec<_> = (n_left..7).map(|_| arena.client()).collect();
            let what = [
                "-t",
                "t",
                "--readers",
                "4",
                "--slice-bytes",
                "32K",
                "--where",
                Gate::FILTER,
                "--retries",
                "0",
            ];
            let running = trial.start(&mut trial.command(&what));
            if n_left > 0 {
                // Each reader that has a connection waits with the slice it took: when the last one connects,
                // slices are left.
                gate.wait(i64::try_from(n_left.saturating_sub(1).clamp(1, 4)).unwrap());
                wait_until_nothing_moves(&proxy);
            }
            // Closing the gate's connection would give the run one more.
            let ended = if n_left == 0 {
                let ended = running.end(30);
                gate.open();
                ended
            } else {
                gate.open();
                running.end(30)
            };
            drop((held, proxy));
            only_ours();
            let expect =
                if n_left == 0 { Expect::failure(&[3, 4]).saying("53300") } else { Expect::success() };
            let fewer = n_left > 0 && n_left < 5 && !ended.stderr.contains("warning");
            let result = trial.judge(&ended, &expect).and(match fewer {
                true => Err(format!("fewer readers, and nothing is said: {}", ended.stderr)),
                false => Ok(()),
            });
            group.note(
                &name(28, "too many connections", format!("P0–P4, {kind:?}")),
                &n_left.to_string(),
                result,
            );
        }
    }
    group.finish();
}

#[test]
fn servers_that_run_out_of_something() {
    require!(Capability::PrivateServer, Capability::Superuser);
    let sql =
        "CREATE FUNCTION deep(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN deep(i + 1); END $$";
    let arena = Arena::new("resources", &format!("{}; {sql}", table(100)));
    let group = Group::new("resources");
    let wide = format!("select {}", ["1"; 1700].join(", "));
    let cases: [(u32, &str, &str, &str, &str); 5] = [
        (
            29,
            "temp_file_limit (53400)",
            "temp_file_limit=1MB",
            "select g, md5(g::text) from generate_series(1, 200000) g order by 2",
            "53400",
        ),
        (
            22,
            "statement_timeout (57014)",
            "statement_timeout=200ms",
            "select pg_sleep(0.01), g from generate_series(1, 100000) g",
            "57014",
        ),
        (30, "stack depth (54001)", "max_stack_depth=100kB", "select deep(1)", "54001"),
        (30, "too many columns (54011)", "work_mem=4MB", &wide, "54011"),
        (36, "rights lost", "role=pg_monitor", "select * from t", "42501"),
    ];
    for (id, fault, setting, query, sqlstate) in cases {
        for kind in KINDS {
            let trial = Trial::new(&arena, kind).replacing();
            let ended = trial.run(&mut trial.command(&["-q", query, "--set", setting, "--retries", "3"]), 60);
            let expect = Expect::failure(&[4]).saying(sqlstate);
            group.note(&name(id, fault, format!("P6, {kind:?}")), "", trial.judge(&ended, &expect));
        }
    }
    group.finish();
}

#[test]
fn a_table_with_a_corrupt_page() {
    require!(Capability::PrivateServer);
    let mut server = server(&[]);
    let arena = Arena::on(&server.url(), &format!("{}; CREATE TABLE bad AS SELECT * FROM t", table(4000)));
    let path =
        arena.client().query_one("SELECT pg_relation_filepath('bad')", &[]).unwrap().get::<_, String>(0);
    let path = server.data_dir().join(path);
    let mut bytes = fs::read(&path).unwrap();
    // The header of the third page: a page that no server can have written.
    bytes[3 * 8192 + 12..3 * 8192 + 20].fill(0xff);
    // The server has the page in memory until it starts again, and does not write it back.
    fs::write(&path, &bytes).unwrap();
    server.crash_and_restart().unwrap();
    let group = Group::new("corrupt");
    for kind in KINDS {
        for readers in ["1", "3"] {
            let trial = Trial::new(&arena, kind).replacing();
            let what =
                ["-t", "bad", "--readers", readers, "--slice-bytes", "32K", "--quiet", "--retries", "3"];
            let ended = trial.run(&mut trial.command(&what), 30);
            let expect = Expect::failure(&[4]).saying("XX001").saying("bad");
            group.note(
                &name(31, "a corrupt page (XX001)", format!("P6, {kind:?}")),
                readers,
                trial.judge(&ended, &expect),
            );
        }
    }
    group.finish();
}
