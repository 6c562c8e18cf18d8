//! F-42, F-46 to F-48, F-69: killed at every system call, an error from every one of them, and their order.
//!
//! strace makes the faults, without a hook in the product. It does not execute a call at which it kills. It
//! counts calls by name and thread; in these exports, which one connection reads, the main thread makes all
//! calls but the waiting for signals.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use nix::libc;
use nix::sys::signal::Signal;
use pgarrow_testkit::{Capability, require};

use crate::arena::{Arena, eventually, table};
use crate::strace::{Call, counts, nth};
use crate::table::{Group, Name, is_whole, name};
use crate::trial::{Ended, Expect, KINDS, Kind, PROGRAM, Trial};

const WHAT: [&str; 5] = ["-t", "t", "--readers", "1", "--quiet"];

/// Calls that create, write or remove files. Each of them is tried; of the others a sample.
const FILE_CALLS: [&str; 22] = [
    "openat",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "syncfs",
    "flock",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "rmdir",
    "ftruncate",
    "getdents64",
    "fcntl",
    "lseek",
    "close",
    "statx",
];
const STRIDE: usize = 11;

/// The command under strace, which follows `rules` and writes its trace to `log`.
fn traced(trial: &Trial<'_>, log: &Path, rules: &[&str]) -> Command {
    let mut command = trial.program("strace");
    // Fast: the program does not stop at calls that are not traced. But then strace 6.1 injects no signals.
    if !rules.iter().any(|rule| rule.contains("signal=")) {
        command.arg("--seccomp-bpf");
    }
    command.args(["-f", "-y", "-o"]).arg(log).args(rules).arg(PROGRAM).args(trial.args(&WHAT));
    command
}

/// A clean export of this kind, and all calls that it makes, in order.
fn calls(arena: &Arena, kind: Kind, is_replacing: bool) -> (String, Vec<Call>) {
    let trial = make(arena, kind, is_replacing);
    let log = tempfile::NamedTempFile::new().unwrap();
    let ended = trial.run(&mut traced(&trial, log.path(), &[]), 60);
    assert!(ended.status.success(), "{ended:?}");
    let text = fs::read_to_string(log.path()).unwrap();
    (trial.folder.path().to_str().unwrap().to_owned(), text.lines().filter_map(Call::parse).collect())
}

fn make(arena: &Arena, kind: Kind, is_replacing: bool) -> Trial<'_> {
    let trial = Trial::new(arena, kind).with_report();
    if is_replacing { trial.replacing() } else { trial }
}

/// The places at which a call is tried.
fn places(call: &str, n_calls: usize, is_sample: bool) -> Vec<usize> {
    let is_every = is_whole() || FILE_CALLS.contains(&call) && !is_sample;
    (1..=n_calls).step_by(if is_every { 1 } else { STRIDE }).collect()
}

#[test]
fn a_kill_at_every_system_call() {
    require!(Capability::PrivateServer, Capability::Strace);
    let arena = Arena::new("kills", &table(50));
    // For each call, how often a kill was tried and how often it came.
    let n_killed = Mutex::new(BTreeMap::<String, (usize, usize)>::new());
    let group = Group::new("kills");
    for (kind, is_replacing) in [(Kind::Parquet, false), (Kind::Ipc, true), (Kind::Folder, true)] {
        let (_, calls) = calls(&arena, kind, is_replacing);
        let mut trials: Vec<(&str, usize)> = Vec::new();
        for (call, n_calls) in counts(&calls) {
            // The first execve is strace's own; at calls that end the process, a kill shows nothing.
            if call != "execve" {
                let is_sample =
                    kind == Kind::Ipc && !matches!(call, "write" | "fsync" | "renameat" | "renameat2");
                trials.extend(places(call, n_calls, is_sample).into_iter().map(|k| (call, k)));
            }
        }
        group.each(trials, |&(call, k)| {
            let trial = make(&arena, kind, is_replacing);
            let log = tempfile::NamedTempFile::new().unwrap();
            let rules = [format!("trace={call}"), format!("inject={call}:signal=KILL:when={k}")];
            let command = &mut traced(&trial, log.path(), &["-e", &rules[0], "-e", &rules[1]]);
            let ended = trial.run(command, 60);
            // Threads and memory differ a little from run to run: there may be no such call.
            let is_killed = !ended.status.success();
            let expect = if is_killed { Expect::killed() } else { Expect::success() };
            let mut n_killed = n_killed.lock().unwrap();
            let (tried, killed) = n_killed.entry(call.to_owned()).or_default();
            *tried += 1;
            *killed += usize::from(is_killed);
            drop(n_killed);
            let name = name(46, format!("killed at {}", kind_of(call)), format!("all, {kind:?}"));
            (name, format!("{call} {k}"), trial.judge(&ended, &expect))
        });
    }
    group.finish();
    let n_killed = n_killed.into_inner().unwrap();
    println!("kills tried and done: {n_killed:?}");
    let never: Vec<_> = n_killed
        .iter()
        .filter(|(call, (_, killed))| *killed == 0 && FILE_CALLS.contains(&call.as_str()))
        .collect();
    assert!(never.is_empty(), "nothing was killed at {never:?}");
    let of_files = n_killed.iter().filter(|(call, _)| FILE_CALLS.contains(&call.as_str()));
    let (tried, killed) = of_files.fold((0, 0), |sum, (_, (tried, killed))| (sum.0 + tried, sum.1 + killed));
    assert!(killed * 10 >= tried * 9, "{killed} of {tried} kills at calls for files came");
}

fn kind_of(call: &str) -> &str {
    if FILE_CALLS.contains(&call) { "each call for files" } else { "other calls" }
}

/// A call that fails, and with which errors.
struct Failing {
    call: &'static str,
    errors: &'static [&'static str],
}

/// Errors that end the run wherever they come; they are tried at every place of the call.
const FAILING: [Failing; 9] = [
    Failing { call: "write", errors: &["ENOSPC", "EIO", "EDQUOT", "EFBIG"] },
    Failing { call: "fsync", errors: &["EIO", "ENOSPC", "EDQUOT"] },
    Failing { call: "rename", errors: &["EIO", "ENOSPC", "EROFS"] },
    Failing { call: "renameat", errors: &["EIO", "ENOSPC", "EROFS"] },
    Failing { call: "renameat2", errors: &["EIO", "ENOSPC", "EROFS"] },
    Failing { call: "mkdir", errors: &["EIO", "ENOSPC", "EDQUOT"] },
    Failing { call: "sendto", errors: &["ECONNRESET", "EPIPE", "ETIMEDOUT"] },
    Failing { call: "connect", errors: &["ECONNREFUSED", "ENETUNREACH", "EADDRNOTAVAIL"] },
    Failing { call: "socket", errors: &["EMFILE", "ENOBUFS"] },
];

/// Errors after which a run may continue or end in order.
const TOLERATED: [Failing; 9] = [
    Failing { call: "openat", errors: &["EMFILE", "EACCES"] },
    Failing { call: "recvfrom", errors: &["ECONNRESET", "ETIMEDOUT"] },
    Failing { call: "flock", errors: &["ENOLCK", "EOPNOTSUPP", "EWOULDBLOCK"] },
    Failing { call: "getdents64", errors: &["EIO"] },
    Failing { call: "close", errors: &["EIO", "EINTR"] },
    Failing { call: "clone3", errors: &["EAGAIN"] },
    Failing { call: "setsockopt", errors: &["EINVAL", "ENOPROTOOPT"] },
    Failing { call: "statx", errors: &["EIO"] },
    Failing { call: "getcwd", errors: &["ENOENT"] },
];

/// Interruptions, after which the call is repeated.
const INTERRUPTED: [Failing; 4] = [
    Failing { call: "write", errors: &["EINTR"] },
    Failing { call: "sendto", errors: &["EINTR"] },
    Failing { call: "recvfrom", errors: &["EINTR"] },
    Failing { call: "poll", errors: &["EINTR"] },
];

/// Runs one export in which the call fails once, and returns its result and strace's calls.
fn fail(trial: &Trial<'_>, call: &str, error: &str, k: usize) -> (Ended, Vec<Call>) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let rules = [format!("trace={call}"), format!("inject={call}:error={error}:when={k}")];
    let ended = trial.run(&mut traced(trial, log.path(), &["-e", &rules[0], "-e", &rules[1]]), 60);
    let text = fs::read_to_string(log.path()).unwrap();
    (ended, text.lines().filter_map(Call::parse).collect())
}

#[test]
fn an_error_from_every_system_call() {
    require!(Capability::PrivateServer, Capability::Strace);
    let arena = Arena::new("errors", &table(50));
    let group = Group::new("errors");
    for (kind, is_replacing) in [(Kind::Parquet, true), (Kind::Ipc, false), (Kind::Folder, true)] {
        let (folder, calls) = calls(&arena, kind, is_replacing);
        let counts = counts(&calls);
        let mut trials: Vec<(&str, &str, usize, Expect)> = Vec::new();
        for (rows, expect) in [
            (&FAILING[..], Expect::failure(&[3, 7])),
            (&TOLERATED[..], Expect::whatever().at_the_end()),
            (&INTERRUPTED[..], Expect::success()),
        ] {
            for Failing { call, errors } in rows {
                for k in 1..=counts.get(call).copied().unwrap_or(0) {
                    let found = nth(&calls, call, k);
                    // Without its libraries the program does not begin, so calls of the dynamic linker are
                    // not ours.
                    let is_ours = match *call {
                        "openat" | "statx" => found.text.contains(&folder) || found.text.contains("/proc"),
                        // The standard library panics if closing a folder fails that was read. A panic
                        // unwinds and cleans up, and no known file system gives that error.
                        "close" => {
                            ["/.x.", "/.r.json.", "/part-"].iter().any(|name| found.path().contains(name))
                        }
                        _ => true,
                    };
                    // The bytes are in their place at these calls: at the folder's sync, and at all calls for
                    // the report.
                    let is_late = found.path() == folder || is_about_report(&calls, call, k);
                    let expect = match (is_late, kind) {
                        (false, _) => expect.clone(),
                        // The older folder has lost its name; if it cannot be removed, the run says so, and
                        // the next run removes it.
                        (true, Kind::Folder) => expect.clone().at_the_end().leaving_temporaries(),
                        (true, _) => expect.clone().at_the_end(),
                    };
                    for error in errors.iter().filter(|_| is_ours && !is_goodbye(found)) {
                        trials.push((call, error, k, expect.clone()));
                    }
                }
            }
        }
        group.each(trials, |(call, error, k, expect)| {
            let trial = make(&arena, kind, is_replacing);
            let (ended, seen) = fail(&trial, call, error, *k);
            let result = trial.judge(&ended, expect).and_then(|()| not_synced_again(&seen));
            (name(47, format!("{error} from {call}"), format!("all, {kind:?}")), format!("{k}"), result)
        });
    }
    group.finish();
}

/// Terminate is sent at the very end, and may be lost.
fn is_goodbye(call: &Call) -> bool {
    call.name == "sendto" && call.text.contains(r#""X\0\0\0\4""#)
}

/// Whether the call comes after the output has its name.
fn is_about_report(calls: &[Call], name: &str, k: usize) -> bool {
    let main = calls[0].pid;
    let is_rename = |call: &Call| call.name.starts_with("rename") && !call.text.contains("r.json");
    let Some(published) = calls.iter().position(is_rename) else { return false };
    let place = calls.iter().enumerate().filter(|(_, call)| call.pid == main && call.name == name).nth(k - 1);
    place.is_some_and(|(place, _)| place > published)
}

/// After a sync failed once, the data is lost, and a second sync would succeed without it. The report of the
/// failure has a name of its own, and the same folder is synced for it.
fn not_synced_again(calls: &[Call]) -> Result<(), String> {
    let failed = calls.iter().position(|call| call.name == "fsync" && call.text.contains("(INJECTED)"));
    let Some(failed) = failed else { return Ok(()) };
    let is_of_report = |place: usize| {
        let before = calls[failed + 1..place].iter().rfind(|call| call.name == "fsync");
        before.is_some_and(|call| call.path().contains("/.r.json."))
    };
    let again = (failed + 1..calls.len()).find(|&place| {
        let call = &calls[place];
        call.name == "fsync" && call.path() == calls[failed].path() && !is_of_report(place)
    });
    match again {
        Some(place) => Err(format!("{} is synced again after that failed", calls[place].path())),
        None => Ok(()),
    }
}

#[test]
fn everything_is_synced_before_it_gets_its_name() {
    require!(Capability::PrivateServer, Capability::Strace);
    let arena = Arena::new("order", &table(50));
    let group = Group::new("order");
    for kind in KINDS {
        for is_replacing in [false, true] {
            let (folder, calls) = calls(&arena, kind, is_replacing);
            let name = name(48, "order: write, sync, rename, sync of the folder", format!("all, {kind:?}"));
            group.note(&name, if is_replacing { "replacing" } else { "new" }, check_order(&folder, &calls));
        }
    }
    group.finish();
}

fn check_order(folder: &str, calls: &[Call]) -> Result<(), String> {
    let renames: Vec<usize> =
        (0..calls.len()).filter(|place| calls[*place].name.starts_with("rename")).collect();
    if renames.len() != 2 {
        return Err(format!(
            "{} files or folders get a name, and not the output and the report",
            renames.len()
        ));
    }
    for place in renames {
        let temporary = calls[place].text.split('"').nth(1).unwrap_or_default();
        let touches = |call: &Call| call.path().starts_with(temporary);
        let (before, after) = calls.split_at(place);
        let mut unsynced: Vec<&str> = Vec::new();
        for call in before.iter().filter(|call| touches(call)) {
            match call.name.as_str() {
                "write" | "pwrite64" | "ftruncate" => unsynced.push(call.path()),
                "fsync" | "fdatasync" => unsynced.retain(|path| *path != call.path()),
                _ => {}
            }
        }
        if !unsynced.is_empty() {
            return Err(format!("{unsynced:?} gets its name before it is synced"));
        }
        if !before.iter().any(|call| call.name == "fsync" && call.path() == temporary) {
            return Err(format!("{temporary} is never synced"));
        }
        if after.iter().any(|call| call.name.contains("write") && touches(call)) {
            return Err(format!("{temporary} is written to after it got its name"));
        }
        let next = after.iter().skip(1).find(|call| call.name.starts_with("rename") || call.name == "fsync");
        if next.is_none_or(|call| call.name != "fsync" || call.path() != folder) {
            return Err(format!("after {} the folder is not synced: {next:?}", calls[place].text));
        }
    }
    Ok(())
}

#[test]
fn a_folder_that_cannot_be_synced_is_told_once() {
    require!(Capability::PrivateServer, Capability::Strace);
    let arena = Arena::new("no_sync", &table(50));
    let group = Group::new("no_sync");
    for kind in KINDS {
        // The file is synced before; in a folder of files, the file and the manifest.
        let k = if kind == Kind::Folder { 3 } else { 2 };
        let trial = Trial::new(&arena, kind);
        let log = tempfile::NamedTempFile::new().unwrap();
        let inject = format!("inject=fsync:error=EINVAL:when={k}+");
        let mut command = trial.program("strace");
        command
            .args(["-f", "--seccomp-bpf", "-e", "trace=fsync", "-e", &inject, "-o"])
            .arg(log.path())
            .arg(PROGRAM);
        // Not quiet.
        command.args(trial.args(&WHAT[..4]));
        let ended = trial.run(&mut command, 60);
        let n_said = ended.stderr.matches("warning: the folder of the output cannot be synced").count();
        let said = if n_said != 1 { Err(format!("said {n_said} times: {}", ended.stderr)) } else { Ok(()) };
        let result = trial.judge(&ended, &Expect::success()).and(said);
        group.note(&name(69, "EINVAL from the sync of a folder", format!("P10, {kind:?}")), "", result);
    }
    group.finish();
}

/// The number of the call that a process is in; -1 while it runs.
fn current_call(pid: u32) -> i64 {
    let text = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(-1)
}

#[test]
fn a_signal_in_the_window_of_the_rename() {
    require!(Capability::PrivateServer, Capability::Strace);
    let arena = Arena::new("window", &table(50));
    let group = Group::new("window");
    let numbers = [libc::SYS_rename, libc::SYS_renameat, libc::SYS_renameat2];
    let mut trials = Vec::new();
    for kind in KINDS {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            for (call, when) in [
                ("fsync", "delay_enter"),
                ("rename,renameat,renameat2", "delay_enter"),
                ("rename,renameat,renameat2", "delay_exit"),
            ] {
                for is_twice in [false, true] {
                    trials.push((kind, signal, call, when, is_twice));
                }
            }
        }
    }
    group.each(trials, |&(kind, signal, call, when, is_twice)| {
        let trial = make(&arena, kind, true);
        let log = tempfile::NamedTempFile::new().unwrap();
        let inject = format!("inject={call}:{when}=1500000:when=1");
        let mut command = trial.program("strace");
        // -D: our child is the command itself, and strace its grandchild.
        command.args(["-D", "-f", "--seccomp-bpf", "-e", &format!("trace={call}"), "-e", &inject, "-o"]);
        command.arg(log.path()).arg(PROGRAM).args(trial.args(&WHAT[..4]));
        let mut running = trial.start(&mut command);
        let pid = running.child.id();
        eventually("it is in the call", || {
            let number = current_call(pid);
            if call == "fsync" { number == libc::SYS_fsync } else { numbers.contains(&number) }
        });
        // `signals` tests how soon the second one ends the process: here strace holds the process for the
        // whole delay.
        if is_twice {
            running.send_twice(signal);
        } else {
            running.send(signal);
        }
        let ended = running.end(6);
        let code = 128 + signal as i32;
        let name = Name {
            id: 42,
            fault: format!("{signal}{}", if is_twice { " twice" } else { "" }),
            phase: format!("P10, {kind:?}"),
        };
        // If the name is given and the signal comes too late, the run succeeds.
        let expect = Expect::failure(&[0, code]).at_the_end().silent();
        (name, format!("{when} {call}"), trial.judge(&ended, &expect))
    });
    group.finish();
}
