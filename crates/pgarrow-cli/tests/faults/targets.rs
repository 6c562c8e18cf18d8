//! F-63, F-64, F-65, F-43: obstacles at an output's place, other writers of its name, and slow readers of it.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use pgarrow_testkit::{Capability, require};

use crate::arena::{Arena, Gate, eventually, table};
use crate::table::{Group, name};
use crate::trial::{Expect, KINDS, Kind, Trial, older_folder};

const WHAT: [&str; 5] = ["-t", "t", "--readers", "1", "--quiet"];

/// Something at the output's place.
struct Obstacle {
    what: &'static str,
    make: fn(&Path, &Path),
    /// Whether `--overwrite` replaces it.
    is_replaceable: bool,
}

/// The first path is the output's. The second one is a file elsewhere, which must stay unchanged.
const OBSTACLES: [Obstacle; 9] = [
    Obstacle { what: "a file", make: |at, _| fs::write(at, "old").unwrap(), is_replaceable: true },
    Obstacle { what: "a hard link", make: |at, file| fs::hard_link(file, at).unwrap(), is_replaceable: true },
    Obstacle { what: "a link to a file", make: |at, file| symlink(file, at).unwrap(), is_replaceable: true },
    Obstacle {
        what: "a dangling link",
        make: |at, _| symlink("/nowhere/at/all", at).unwrap(),
        is_replaceable: true,
    },
    Obstacle {
        what: "a link to a folder",
        make: |at, _| symlink("/tmp", at).unwrap(),
        is_replaceable: false,
    },
    Obstacle {
        what: "a link to a device",
        make: |at, _| symlink("/dev/null", at).unwrap(),
        is_replaceable: false,
    },
    Obstacle { what: "a folder", make: |at, _| fs::create_dir(at).unwrap(), is_replaceable: false },
    Obstacle {
        what: "a pipe",
        make: |at, _| nix::unistd::mkfifo(at, Mode::S_IRWXU).unwrap(),
        is_replaceable: false,
    },
    Obstacle {
        what: "a socket",
        make: |at, _| drop(std::os::unix::net::UnixListener::bind(at).unwrap()),
        is_replaceable: false,
    },
];

#[test]
fn what_is_in_the_way_of_a_file() {
    require!(Capability::PrivateServer);
    let arena = Arena::new("targets", &table(20));
    let group = Group::new("targets");
    for obstacle in &OBSTACLES {
        for kind in [Kind::Parquet, Kind::Ipc] {
            for is_overwriting in [false, true] {
                let trial = Trial::new(&arena, kind);
                let elsewhere =
                    tempfile::NamedTempFile::new_in(trial.folder.path().parent().unwrap()).unwrap();
                fs::write(elsewhere.path(), "mine").unwrap();
                (obstacle.make)(&trial.final_path(), elsewhere.path());
                let before = trial.final_path().symlink_metadata().unwrap();
                let what =
                    if is_overwriting { [&WHAT[..], &["--overwrite"]].concat() } else { WHAT.to_vec() };
                let ended = trial.run(&mut trial.command(&what), 30);
                let is_success = is_overwriting && obstacle.is_replaceable;
                let mut result = Ok(());
                if fs::read(elsewhere.path()).unwrap() != b"mine" {
                    result = Err("G-3: the file behind the link has changed".to_owned());
                }
                let expect = match is_success {
                    true => Expect::success(),
                    false => {
                        use std::os::unix::fs::MetadataExt;
                        let after = trial.final_path().symlink_metadata();
                        if !after
                            .is_ok_and(|after| after.ino() == before.ino() && after.mode() == before.mode())
                        {
                            result = Err("G-3: it is not what it was".to_owned());
                        }
                        // For the next run.
                        match before.is_dir() {
                            true => fs::remove_dir(trial.final_path()).unwrap(),
                            false => fs::remove_file(trial.final_path()).unwrap(),
                        }
                        Expect::failure(&[7]).saying(kind.output())
                    }
                };
                let fault = format!(
                    "{} in the way{}",
                    obstacle.what,
                    if is_overwriting { ", --overwrite" } else { "" }
                );
                group.note(&name(63, fault, "before P0"), "", result.and(trial.judge(&ended, &expect)));
            }
        }
    }
    group.finish();
}

#[test]
fn what_is_in_the_way_of_a_folder() {
    require!(Capability::PrivateServer);
    let arena = Arena::new("folder_targets", &table(20));
    let group = Group::new("folder_targets");
    let run = |what: &str, is_overwriting: bool, make: &dyn Fn(&Path), is_success: bool| {
        let trial = Trial::new(&arena, Kind::Folder);
        let at = trial.final_path();
        make(&at);
        let args = if is_overwriting { [&WHAT[..], &["--overwrite"]].concat() } else { WHAT.to_vec() };
        let ended = trial.run(&mut trial.command(&args), 30);
        let mut result = Ok(());
        if !is_success {
            if at.symlink_metadata().is_err() {
                result = Err("G-3: it is gone".to_owned());
            }
            match at.is_dir() && !at.is_symlink() {
                true => fs::remove_dir_all(&at).unwrap(),
                false => fs::remove_file(&at).unwrap(),
            }
        }
        let expect = if is_success { Expect::success() } else { Expect::failure(&[7]).saying("d/") };
        let fault = format!("{what} in the way{}", if is_overwriting { ", --overwrite" } else { "" });
        group.note(&name(63, fault, "before P0, Folder"), "", result.and(trial.judge(&ended, &expect)));
    };
    for is_overwriting in [false, true] {
        run("an empty folder", is_overwriting, &|at| fs::create_dir(at).unwrap(), true);
        let files = |at: &Path| older_folder(at, "part-00007.parquet");
        run("a folder of exports", is_overwriting, &files, is_overwriting);
        let others = |at: &Path| {
            fs::create_dir(at).unwrap();
            fs::write(at.join("thesis.tex"), "mine").unwrap();
        };
        run("a folder of other files", is_overwriting, &others, false);
        let foreign = |at: &Path| {
            older_folder(at, "part-00000.parquet");
            fs::write(at.join("part-00001.parquet"), "mine").unwrap();
        };
        run("a folder with a file that no export made", is_overwriting, &foreign, false);
        let nested = |at: &Path| fs::create_dir_all(at.join("inside")).unwrap();
        run("a folder with folders", is_overwriting, &nested, false);
        run("a link to a folder", is_overwriting, &|at| symlink("/tmp", at).unwrap(), false);
        run("a dangling link", is_overwriting, &|at| symlink("/nowhere/at/all", at).unwrap(), false);
        run("a file", is_overwriting, &|at| fs::write(at, "mine").unwrap(), false);
    }
    group.finish();
}

#[test]
fn two_runs_for_one_name() {
    require!(Capability::PrivateServer);
    let arena = Arena::new("two", &format!("{}; {}", table(200), Gate::SQL));
    let group = Group::new("two");
    let trials = KINDS.into_iter().flat_map(|kind| [(kind, false), (kind, true)]).collect();
    group.each(trials, |&(kind, is_overwriting)| {
        let trial = Trial::new(&arena, kind);
        let gate = Gate::close(&arena, &trial.name);
        let mut what = vec!["-t", "t", "--readers", "1", "--quiet", "--where", Gate::FILTER];
        if is_overwriting {
            what.push("--overwrite");
        }
        let running = trial.start(&mut trial.command(&what));
        gate.wait(1);
        // The second one is faster, and must not touch what the first one writes.
        let second = trial.export_cleanly();
        let is_fine = second.and_then(|()| arena.check(&trial.final_path()));
        gate.open();
        let ended = running.end(20);
        let expect = match is_overwriting {
            true => Expect::success(),
            false => Expect::failure(&[7]).saying("exists").at_the_end(),
        };
        let fault =
            format!("another run takes the name{}", if is_overwriting { ", --overwrite" } else { "" });
        let result = is_fine.map_err(|reason| format!("the second run: {reason}"));
        (name(65, fault, format!("P6, {kind:?}")), String::new(), result.and(trial.judge(&ended, &expect)))
    });
    group.finish();
}

/// Endless, and of bytes that no codec makes smaller: what is written shows that there is no reader.
const ENDLESS: &str =
    "select generate_series(1, 1000000000) as g, md5(random()::text) || md5(random()::text) as x";

#[test]
fn readers_of_stdout_that_are_slow_or_leave() {
    require!(Capability::PrivateServer);
    let arena = Arena::new("pipes", &table(20));
    let group = Group::new("pipes");
    let trials = vec![
        (0, "ipc-stream"),
        (100, "ipc-stream"),
        (100, "parquet"),
        (3_000_000, "ipc-stream"),
        (3_000_000, "ipc"),
    ];
    group.each(trials, |&(n_bytes, to)| {
        let trial = Trial::new(&arena, Kind::Ipc);
        let mut command = trial.program(crate::trial::PROGRAM);
        command
            .args(["export", &trial.url, "--quiet", "-q", ENDLESS, "--memory", "32M", "--to", to, "-o", "-"]);
        let (mut running, mut stdout) = crate::trial::Running::start_piped(&mut command);
        let mut buffer = vec![0; 30_000];
        let mut n_read = 0;
        let deadline = Instant::now() + Duration::from_secs(30);
        while n_read < n_bytes && Instant::now() < deadline {
            let room = buffer.len().min(n_bytes - n_read);
            n_read += stdout.read(&mut buffer[..room]).unwrap();
            running.look();
            if n_bytes > 1000 {
                // A megabyte and a half per second: the server has to wait for us.
                thread::sleep(Duration::from_millis(20));
            }
        }
        if n_bytes > 1000 {
            eventually("the server waits", || arena.sessions(&trial.name, "wait_event = 'ClientWrite'") == 1);
        }
        drop(stdout);
        let ended = running.end(20);
        let quiet = if ended.stderr.is_empty() { Ok(()) } else { Err(format!("it says {:?}", ended.stderr)) };
        let result = trial.judge(&ended, &Expect::failure(&[141]).silent()).and(quiet);
        let (id, fault) = match n_bytes {
            0..=1000 => (43, "the reader of stdout leaves"),
            _ => (64, "a slow reader of stdout, which leaves"),
        };
        (name(id, fault, format!("P6, {to}")), n_bytes.to_string(), result)
    });
    group.finish();
}
