//! `pgarrow hold` and `export --slice`: one snapshot, many processes.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use pgarrow_testkit::{Capability, require};

use crate::signals::send;
use crate::support::{NUMBERS, Place, command, end_of, eventually, parquet_rows, start};

impl Place {
    fn hold_command(&self, args: &[&str]) -> Command {
        let mut command = command(self.folder.path());
        command.args(["hold", self.database.url()]).args(args);
        command
    }

    /// Starts to hold, and waits for the tokens. `export --slice` reads each of them.
    pub(crate) fn hold(&self, args: &[&str]) -> (Child, Vec<String>) {
        let child = start(self.hold_command(args).args(["--tokens", "tokens.jsonl"]));
        eventually("the tokens are there", || self.path("tokens.jsonl").exists());
        let tokens = fs::read_to_string(self.path("tokens.jsonl")).unwrap();
        (child, tokens.lines().map(str::to_owned).collect())
    }
}

#[test]
fn two_processes_at_a_time_read_what_was_there() {
    require!(Capability::Server);
    let place = Place::new("hold");
    place.database.execute(NUMBERS);
    let (holder, tokens) = place.hold(&["-t", "t", "--where", "id > 10", "--slice-bytes", "256K"]);
    assert!(tokens.len() > 3, "{}", tokens.len());
    // Changes from now on are not in the snapshot.
    place.database.execute("DELETE FROM t WHERE id % 2 = 0; INSERT INTO t VALUES (1000000, 0, 'late')");
    let (evens, odds): (Vec<_>, Vec<_>) = tokens.iter().enumerate().partition(|(index, _)| index % 2 == 0);
    let read_all = |slices: Vec<(usize, &String)>| {
        for (index, token) in slices {
            let output = format!("{index}.parquet");
            place.export(&["--slice", token, "-o", &output, "--quiet"]).assert_success();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| read_all(evens));
        scope.spawn(|| read_all(odds));
    });
    let rows: usize =
        (0..tokens.len()).map(|index| parquet_rows(&place.path(&format!("{index}.parquet")))).sum();
    assert_eq!(rows, 19_990);

    // A token by itself in a file, or on stdin; several are refused.
    fs::write(place.path("one.json"), &tokens[0]).unwrap();
    let ran = place.export(&["--slice", "one.json", "-o", "slice/"]);
    ran.assert_success();
    assert_eq!(parquet_rows(&place.path("slice/part-00000.parquet")), parquet_rows(&place.path("0.parquet")));
    let stdin = |name: &str| {
        let mut export = place.export_command(&["--slice", "-", "--to", "none"]);
        end_of(start(export.stdin(fs::File::open(place.path(name)).unwrap())), 20)
    };
    stdin("one.json").assert_success();
    stdin("tokens.jsonl").assert_refused(2, &["stdin has several slices"]);
    place
        .export(&["--slice", "tokens.jsonl", "--to", "none"])
        .assert_refused(2, &["several slices", "give one"]);

    send(&holder, Signal::SIGTERM);
    let ran = end_of(holder, 5);
    ran.assert_success();
    assert!(ran.stderr.contains(&format!("; {} slices, a token a line", tokens.len())), "{}", ran.stderr);
    assert!(ran.stderr.contains("let go of the snapshot of public.t after "), "{}", ran.stderr);
    // The snapshot is gone with its holder.
    let ran = place.export(&["--slice", &tokens[0], "-o", "late.parquet"]);
    assert_ne!(ran.code, Some(0));
    assert!(ran.stderr.contains("snapshot"), "{}", ran.stderr);
    assert!(!place.path("late.parquet").exists());
}

#[test]
fn a_hold_ends_as_it_was_told() {
    require!(Capability::Server);
    let place = Place::new("hold_ends");
    place.database.execute(NUMBERS);
    // Tokens on stdout, which closes after them, while the snapshot is held.
    for signal in [Signal::SIGINT, Signal::SIGHUP] {
        let mut holder = start(&mut place.hold_command(&["-q", "select * from t", "--split-on", "id"]));
        let mut tokens = String::new();
        holder.stdout.take().unwrap().read_to_string(&mut tokens).unwrap();
        assert!(tokens.lines().count() > 1 && tokens.lines().all(|line| line.starts_with('{')), "{tokens}");
        let token = tokens.lines().next().unwrap();
        place.export(&["--slice", token, "--to", "none"]).assert_success();
        assert!(holder.try_wait().unwrap().is_none());
        send(&holder, signal);
        end_of(holder, 5).assert_success();
    }
    // After a time. /dev/null on stdin does not end it, unless the user asks for that.
    let ran = end_of(start(&mut place.hold_command(&["-t", "t", "--for", "1s"])), 20);
    ran.assert_success();
    assert!(ran.stderr.contains(" for 1s, ") && ran.stderr.contains("let go of "), "{}", ran.stderr);
    let ran = end_of(start(&mut place.hold_command(&["-t", "t", "--until-eof", "--quiet"])), 20);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    // When the program that holds the other end of stdin ends.
    let mut holder = place.hold_command(&["-t", "t", "--until-eof"]);
    let mut holder = start(holder.stdin(Stdio::piped()));
    let mut line = String::new();
    let mut stderr = BufReader::new(holder.stderr.take().unwrap());
    stderr.read_line(&mut line).unwrap();
    assert!(line.starts_with("pgarrow: holding the snapshot of public.t until stdin ends"), "{line}");
    assert!(holder.try_wait().unwrap().is_none());
    drop(holder.stdin.take());
    end_of(holder, 5).assert_success();
    eventually("no session is left", || place.database.n_sessions("pgarrow") == 0);
}

#[test]
fn a_hold_that_breaks_and_one_that_cannot_begin() {
    require!(Capability::Server, Capability::Superuser);
    let place = Place::new("hold_breaks");
    place.database.execute(NUMBERS);
    let (holder, _) = place.hold(&["-t", "t"]);
    place.database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name = 'pgarrow'",
    );
    let ran = end_of(holder, 20);
    assert!(matches!(ran.code, Some(3 | 4)), "{ran:?}");
    assert!(ran.stderr.contains("the held snapshot was lost"), "{}", ran.stderr);

    let hold = |args: &[&str]| end_of(start(&mut place.hold_command(args)), 20);
    hold(&["-t", "t", "--tokens", "tokens.jsonl"]).assert_refused(7, &["exists", "--overwrite"]);
    hold(&["-t", "t", "--tokens", "tokens.jsonl", "--overwrite", "--for", "1s"]).assert_success();
    hold(&["-t", "nothing"]).assert_refused(2, &["there is no table \"nothing\""]);
    assert_eq!(place.names(), ["tokens.jsonl"]);
}
