//! F-45, F-60, F-61, F-62, F-66: disks that are full, read-only or gone, and limits of the process.

use std::fs;
use std::process::Command;

use pgarrow_testkit::{Capability, require};
use tempfile::TempDir;

use crate::arena::{Arena, Gate, table};
use crate::table::{Group, name};
use crate::trial::{Expect, KINDS, Kind, PROGRAM, Trial};

/// Some hundred kilobytes in every format.
const ROWS: usize = 4000;
const WHAT: [&str; 5] = ["-t", "t", "--readers", "1", "--quiet"];

/// The command on a file system of its own, mounted with these options. The contents of the trial's folder
/// are copied there first, and back when the command ends.
fn mounted(trial: &Trial<'_>, mount_point: &TempDir, options: &str, what: &[&str]) -> Command {
    let script = r#"
        mount -t tmpfs -o "$1" tmpfs "$2" || exit 99
        kept=$PWD; cd "$2"; shift 2
        cp -a "$kept/." . && "$@"; code=$?
        find "$kept" -mindepth 1 -delete; cp -a . "$kept"
        exit $code"#;
    let mut command = trial.program("unshare");
    command.args(["-rm", "sh", "-c", script, "sh", options]).arg(mount_point.path()).arg(PROGRAM);
    command.args(trial.args(what));
    command
}

/// Pages of 4 KiB of a clean output, a manifest included.
fn output_pages(arena: &Arena, kind: Kind) -> usize {
    let trial = Trial::new(arena, kind).with_report();
    trial.export_cleanly().unwrap();
    let pages = |path: std::path::PathBuf| fs::metadata(path).unwrap().len().div_ceil(4096) as usize;
    match kind {
        Kind::Folder => {
            let parts = fs::read_dir(trial.final_path()).unwrap();
            parts.map(|entry| pages(entry.unwrap().path())).sum()
        }
        _ => pages(trial.final_path()),
    }
}

#[test]
fn disks_of_every_size() {
    require!(Capability::PrivateServer, Capability::MountNamespace);
    let arena = Arena::new("disk_sizes", &table(ROWS));
    let group = Group::new("disk_sizes");
    for kind in KINDS {
        let needed_pages = output_pages(&arena, kind);
        // Far below the needed pages, where the disk ends does not matter much; near them, each page does.
        let small = (1..needed_pages.saturating_sub(4)).step_by(if crate::table::is_whole() { 1 } else { 5 });
        let trials: Vec<(usize, bool)> = small
            .chain(needed_pages.saturating_sub(4).max(1)..=needed_pages + 4)
            .flat_map(|pages| [(pages, false), (pages, true)])
            .collect();
        group.each(trials, |&(n_pages, has_report)| {
            let mount_point = TempDir::new().unwrap();
            let trial = Trial::new(&arena, kind);
            let trial = if has_report { trial.with_report() } else { trial };
            let options = format!("size={}", n_pages * 4096);
            let ended = trial.run(&mut mounted(&trial, &mount_point, &options, &WHAT), 60);
            let is_enough = n_pages >= needed_pages + usize::from(has_report);
            let expect = match (is_enough, has_report) {
                (true, _) => Expect::success(),
                (false, false) => Expect::failure(&[7]).saying("No space left on device"),
                // Only the report may not fit.
                (false, true) => Expect::failure(&[7]).saying("No space left on device").at_the_end(),
            };
            let phase = if has_report { "P5–P11" } else { "P5–P10" };
            let name = name(60, "disk of N pages of 4 KiB", format!("{phase}, {kind:?}"));
            (name, format!("{n_pages} of {needed_pages}"), trial.judge(&ended, &expect))
        });
    }
    group.finish();
}

#[test]
fn disks_without_inodes() {
    require!(Capability::PrivateServer, Capability::MountNamespace);
    let arena = Arena::new("disk_inodes", &table(10));
    let group = Group::new("disk_inodes");
    for kind in KINDS {
        // The file system's own folder takes one; a folder of files takes itself and its manifest.
        let needed = if kind == Kind::Folder { 4 } else { 2 };
        for n_inodes in 1..=needed + 1 {
            let mount_point = TempDir::new().unwrap();
            let trial = Trial::new(&arena, kind);
            let options = format!("size=1m,nr_inodes={n_inodes}");
            let ended = trial.run(&mut mounted(&trial, &mount_point, &options, &WHAT), 60);
            let expect = match n_inodes >= needed {
                true => Expect::success(),
                false => Expect::failure(&[7]).saying("No space left on device"),
            };
            let result = trial.judge(&ended, &expect);
            group.note(&name(66, "no inode left", format!("P9, {kind:?}")), &n_inodes.to_string(), result);
        }
    }
    group.finish();
}

#[test]
fn a_full_device_and_files_that_may_not_grow() {
    require!(Capability::PrivateServer);
    let arena = Arena::new("full", &table(ROWS));
    let group = Group::new("full");
    for to in ["parquet", "ipc", "ipc-stream"] {
        // Also an output that fits into any buffer.
        for query in ["select 1 as a", "select * from t"] {
            let trial = Trial::new(&arena, Kind::Ipc);
            let mut command = trial.program("sh");
            command.args(["-c", "exec \"$@\" > /dev/full", "sh", PROGRAM, "export", &trial.url]);
            command.args(["-q", query, "--to", to, "-o", "-"]);
            let ended = trial.run(&mut command, 60);
            let expect = Expect::failure(&[7]).saying("No space left on device");
            group.note(
                &name(61, "/dev/full as stdout", format!("P6, P9, {to}")),
                query,
                trial.judge(&ended, &expect),
            );
        }
    }
    for kind in KINDS {
        for n_blocks in ["0", "1", "8", "32"] {
            let trial = Trial::new(&arena, kind).replacing();
            let mut command = trial.program("sh");
            // A process without the limit writes the messages: they go to a file, too.
            let script = r#"n=$1; shift
                code=$({ { (ulimit -f "$n"; exec "$@") 2>&1 >/dev/null; echo $? >&3; } | cat >&2; } 3>&1)
                exit "$code""#;
            command.args(["-c", script, "sh", n_blocks, PROGRAM]);
            command.args(trial.args(&WHAT));
            let ended = trial.run(&mut command, 60);
            let expect = Expect::failure(&[7]).saying("File too large");
            let name = name(45, "EFBIG from a limit (SIGXFSZ)", format!("P6–P9, {kind:?}"));
            group.note(&name, n_blocks, trial.judge(&ended, &expect));
        }
    }
    group.finish();
}

#[test]
fn few_file_descriptors() {
    require!(Capability::PrivateServer);
    let arena = Arena::new("descriptors", &table(ROWS));
    let group = Group::new("descriptors");
    let trials = KINDS.into_iter().flat_map(|kind| (3..32).map(move |n_files| (kind, n_files))).collect();
    group.each(trials, |&(kind, n_files)| {
        let trial = Trial::new(&arena, kind);
        let mut command = trial.program("sh");
        command.args(["-c", "ulimit -n \"$1\"; shift; exec \"$@\"", "sh", &n_files.to_string(), PROGRAM]);
        command.args(trial.args(&["-t", "t", "--readers", "4", "--slice-bytes", "64K", "--quiet"]));
        let ended = trial.run(&mut command, 60);
        let says_why = ended.status.success()
            || ended.stderr.contains("oo many open files")
            // The dynamic linker's words, if it cannot even open the program's libraries.
            || ended.stderr.contains("Error 24");
        let result = trial.judge(&ended, &Expect::whatever().or(127)).and(match says_why {
            true => Ok(()),
            false => Err(format!("G-2: it does not say why: {}", ended.stderr)),
        });
        (name(66, "ulimit -n N (EMFILE)", format!("P0–P10, {kind:?}")), n_files.to_string(), result)
    });
    group.finish();
}

#[test]
fn folders_that_may_not_be_written_to() {
    require!(Capability::PrivateServer, Capability::MountNamespace);
    let arena = Arena::new("read_only", &table(10));
    let group = Group::new("read_only");
    for kind in KINDS {
        for is_replacing in [false, true] {
            let make = || {
                let trial = Trial::new(&arena, kind);
                if is_replacing { trial.replacing() } else { trial }
            };
            let trial = make();
            let script =
                r#"mount --bind . . && mount -o remount,bind,ro . && cd "$PWD" || exit 99; exec "$@""#;
            let mut command = trial.program("unshare");
            command.args(["-rm", "sh", "-c", script, "sh", PROGRAM]).args(trial.args(&WHAT));
            let ended = trial.run(&mut command, 60);
            let expect = Expect::failure(&[7]).saying("Read-only file system");
            let name_of = |fault: &str| name(62, fault, format!("P9, {kind:?}"));
            group.note(&name_of("read-only file system"), "", trial.judge(&ended, &expect));

            let trial = make();
            let set_mode = |mode| {
                let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
                fs::set_permissions(trial.folder.path(), permissions).unwrap();
            };
            set_mode(0o555);
            // Root may write everywhere, unless it drops capabilities.
            let mut command = trial.program("setpriv");
            command.args(["--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all", PROGRAM]);
            if !nix::unistd::Uid::effective().is_root() {
                command = trial.program(PROGRAM);
            }
            let ended = trial.run(command.args(trial.args(&WHAT)), 60);
            set_mode(0o755);
            let expect = Expect::failure(&[7]).saying("Permission denied").saying("check the rights");
            group.note(&name_of("no right to write"), "", trial.judge(&ended, &expect));
        }
    }
    group.finish();
}

#[test]
fn a_folder_that_goes_away() {
    require!(Capability::PrivateServer);
    let arena = Arena::new("vanishing", &format!("{}; {}", table(200), Gate::SQL));
    let group = Group::new("vanishing");
    let trials = KINDS.into_iter().flat_map(|kind| [(kind, false), (kind, true)]).collect();
    group.each(trials, |&(kind, is_renamed)| {
        let trial = Trial::new(&arena, kind);
        let gate = Gate::close(&arena, &trial.name);
        let running = trial.start(&mut trial.command(&[
            "-t",
            "t",
            "--readers",
            "1",
            "--quiet",
            "--where",
            Gate::FILTER,
        ]));
        gate.wait(1);
        let folder = trial.folder.path();
        let aside = folder.with_extension("aside");
        match is_renamed {
            true => fs::rename(folder, &aside).unwrap(),
            false => fs::remove_dir_all(folder).unwrap(),
        }
        gate.open();
        let ended = running.end(20);
        let is_made_again = folder.exists();
        match is_renamed {
            true => fs::rename(&aside, folder).unwrap(),
            false => fs::create_dir(folder).unwrap(),
        }
        // The run cannot find what was moved away, and so cannot remove it: the next run does.
        let expect = Expect::failure(&[7]).saying("No such file");
        let expect = if is_renamed { expect.leaving_temporaries() } else { expect };
        let result = trial.judge(&ended, &expect).and(match is_made_again {
            true => Err("the folder was made again".to_owned()),
            false => Ok(()),
        });
        let fault = if is_renamed { "folder renamed" } else { "folder removed" };
        (name(62, fault, format!("P6, {kind:?}")), String::new(), result)
    });
    group.finish();
}
