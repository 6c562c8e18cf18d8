//! Folders that appear with all their files at once, and places they are refused at.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use pgarrow_sink::{NewFolder, Output, OutputFolder, SinkError, SinkErrorKind};

use crate::{MANIFEST, files, names};

#[test]
fn nothing_is_visible_before_publish() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("out");
    let folder = OutputFolder::create(&path, false).unwrap();
    let temporary = folder.temporary_path().to_owned();
    let name = temporary.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(name.starts_with(".out.pgarrow-"), "{name}");
    write(&folder, "a", b"hello").unwrap();
    assert_eq!(names(parent.path()), [name]);
    folder.publish().unwrap();
    assert_eq!(names(parent.path()), ["out"]);
    assert_eq!(fs::read(path.join("a")).unwrap(), b"hello");
    drop(folder);
    assert_eq!(files(&path), ["a"], "it is not ours to remove any more");
}

#[test]
fn modes_are_what_the_umask_allows() {
    let parent = tempfile::tempdir().unwrap();
    let (plain, path) = (parent.path().join("plain"), parent.path().join("out"));
    fs::create_dir(&plain).unwrap();
    fs::write(plain.join("a"), "").unwrap();
    publish(&path, false).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&path), mode(&plain));
    assert_eq!(mode(&path.join("ours")), mode(&plain.join("a")));
}

#[test]
fn many_files_are_synced_at_once() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("out");
    let folder = OutputFolder::create(&path, false).unwrap();
    for index in 0..1000 {
        write(&folder, &format!("{index}"), b"x").unwrap();
    }
    folder.publish().unwrap();
    assert_eq!(files(&path).len(), 1000);
}

#[test]
fn dropping_every_handle_removes_everything() {
    let parent = tempfile::tempdir().unwrap();
    let folder = OutputFolder::create(parent.path().join("out"), false).unwrap();
    let output = folder.file("open").unwrap();
    write(&folder, "complete", b"x").unwrap();
    drop(folder.clone());
    drop(folder);
    assert_eq!(names(parent.path()).len(), 1, "a file still uses it");
    drop(output);
    assert!(names(parent.path()).is_empty());
}

#[test]
fn what_is_unfinished_is_not_published() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("out");
    let folder = OutputFolder::create(&path, false).unwrap();
    let output = folder.file("a").unwrap();
    let error = folder.publish().unwrap_err();
    assert_eq!(error.kind(), SinkErrorKind::Incomplete);
    assert!(error.to_string().contains("has 1 unfinished files"), "{error}");
    // After a drop, its name is free again.
    drop(output);
    write(&folder, "a", b"second").unwrap();
    folder.publish().unwrap();
    assert_eq!(fs::read(path.join("a")).unwrap(), b"second");
    assert_eq!(folder.publish().unwrap_err().kind(), SinkErrorKind::Incomplete, "once");
    assert_eq!(folder.file("b").unwrap_err().kind(), SinkErrorKind::Incomplete);
}

#[test]
fn what_somebody_else_has_changed_is_not_published() {
    // As a sweeper does that sees no lock, for example one on another host.
    type Change = fn(&Path);
    let changes: [Change; 5] = [
        |folder| fs::remove_file(folder.join("a")).unwrap(),
        |folder| fs::write(folder.join("b"), b"shorter").unwrap(),
        |folder| fs::write(folder.join("b"), b"it is longer now").unwrap(),
        |folder| {
            fs::remove_file(folder.join("b")).unwrap();
            fs::create_dir(folder.join("b")).unwrap();
        },
        |folder| fs::remove_dir_all(folder).unwrap(),
    ];
    for change in changes {
        for is_replacing in [false, true] {
            let parent = tempfile::tempdir().unwrap();
            let path = parent.path().join("out");
            if is_replacing {
                publish(&path, false).unwrap();
            }
            let folder = OutputFolder::create(&path, true).unwrap();
            write(&folder, "a", b"").unwrap();
            write(&folder, "b", b"12345678").unwrap();
            change(folder.temporary_path());
            let error = folder.publish().unwrap_err();
            assert_eq!(error.kind(), SinkErrorKind::Incomplete, "{error}");
            assert!(error.to_string().contains("lost its file"), "{error}");
            drop(folder);
            let expected: &[&str] = if is_replacing { &["out"] } else { &[] };
            assert_eq!(names(parent.path()), expected);
            if is_replacing {
                assert_eq!(files(&path), ["ours"]);
            }
        }
    }
}

#[test]
fn names_that_a_folder_refuses() {
    let parent = tempfile::tempdir().unwrap();
    let folder = OutputFolder::create(parent.path().join("out"), false).unwrap();
    for name in ["", ".", "..", ".hidden", "a/b", "/a", "a\\b", "a\0b", MANIFEST, "_PGARROW_manifest.json"] {
        assert_eq!(folder.file(name).unwrap_err().kind(), SinkErrorKind::Unsupported, "{name:?}");
    }
    write(&folder, "Users.parquet", b"x").unwrap();
    for name in ["Users.parquet", "users.parquet", "USERS.PARQUET"] {
        let error = folder.file(name).unwrap_err();
        assert_eq!(error.kind(), SinkErrorKind::Exists, "{error}");
    }
    // The system refuses it: nothing is left open, and the name is free.
    assert!(folder.file(&"x".repeat(256)).is_err());
    folder.publish().unwrap();
}

#[test]
fn places_that_are_refused() {
    let parent = tempfile::tempdir().unwrap();
    let at = |name: &str| parent.path().join(name);
    fs::create_dir(at("folder")).unwrap();
    fs::write(at("file"), "theirs").unwrap();
    symlink(at("folder"), at("link")).unwrap();
    symlink(at("nowhere"), at("dangling")).unwrap();
    fs::create_dir_all(at("deep/inner")).unwrap();
    let before = names(parent.path());
    for overwrite in [false, true] {
        for name in ["file", "link", "link/", "dangling"] {
            let error = refused(&at(name), overwrite);
            assert_eq!(error.kind(), SinkErrorKind::NotAFile, "{name}: {error}");
        }
        for path in ["", "/", "..", "/dev/null"] {
            assert_eq!(refused(Path::new(path), overwrite).kind(), SinkErrorKind::NotAFile, "{path}");
        }
        assert_eq!(refused(&at("missing/out"), overwrite).kind(), SinkErrorKind::Io);
    }
    assert_eq!(refused(&at("deep"), false).kind(), SinkErrorKind::Exists);
    let error = refused(&at("deep"), true);
    let says = "has a folder in it, \"inner\", and is never replaced";
    assert!(error.to_string().contains(says), "{error}");
    assert_eq!(names(parent.path()), before);
}

#[test]
fn an_empty_folder_is_taken_and_a_full_one_is_not() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("out");
    fs::create_dir(&path).unwrap();
    publish(&path, false).unwrap();
    assert_eq!(files(&path), ["ours"]);
    let error = refused(&path, false);
    assert_eq!(error.kind(), SinkErrorKind::Exists);
    assert!(error.to_string().ends_with("allow overwriting (option overwrite)"), "{error}");
}

#[test]
fn overwriting_replaces_all_of_a_folder_of_exports() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("out");
    publish(&path, false).unwrap();
    // Markers of the folder's users, and a file that says itself that it is an export's.
    fs::write(path.join("_SUCCESS"), "").unwrap();
    fs::write(path.join(".ours.crc"), "1234").unwrap();
    fs::write(path.join("known"), "x").unwrap();
    let folder = NewFolder::default().with_overwrite(true).with_is_ours(|path| path.ends_with("known"));
    let folder = folder.create(&path).unwrap();
    write(&folder, "newer", b"newer").unwrap();
    assert!(path.join("ours").exists(), "not before it is published");
    folder.publish().unwrap();
    assert_eq!(files(&path), ["newer"]);
    assert_eq!(names(parent.path()), ["out"]);
}

#[test]
fn the_manifest_names_the_run_and_its_files() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("out");
    let folder = NewFolder::default().with_run_id("the run").create(&path).unwrap();
    write(&folder, "b", b"12").unwrap();
    write(&folder, "a \"quoted\"", b"").unwrap();
    drop(folder.file("given up").unwrap());
    folder.publish().unwrap();
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(path.join(MANIFEST)).unwrap()).unwrap();
    let files = serde_json::json!([{"name": "a \"quoted\"", "bytes": 0}, {"name": "b", "bytes": 2}]);
    assert_eq!((&manifest["manifest_version"], &manifest["run_id"]), (&1.into(), &"the run".into()));
    assert_eq!((&manifest["files"], manifest["pgarrow_version"].is_string()), (&files, true));
}

/// Before, any folder without folders inside was removed, with all files of others.
#[test]
fn a_folder_with_anything_else_in_it_is_never_replaced() {
    type Put = fn(&Path);
    let puts: [(Put, &str); 11] = [
        (|at| fs::write(at.join("notes.txt"), "theirs").unwrap(), "\"notes.txt\""),
        (|at| fs::write(at.join("part-00001.parquet"), "theirs").unwrap(), "\"part-00001.parquet\""),
        (|at| fs::write(at.join("empty.parquet"), "").unwrap(), "\"empty.parquet\""),
        (|at| fs::write(at.join("ours"), "of another size").unwrap(), "\"ours\""),
        (|at| fs::create_dir(at.join("inner")).unwrap(), "\"inner\""),
        (|at| fs::create_dir(at.join("_delta_log")).unwrap(), "\"_delta_log\""),
        (|at| fs::create_dir(at.join(".git")).unwrap(), "\".git\""),
        (|at| symlink("ours", at.join("link")).unwrap(), "\"link\""),
        (|at| symlink("/nowhere", at.join(".link")).unwrap(), "\".link\""),
        (|at| nix::unistd::mkfifo(&at.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap(), "\"pipe\""),
        (
            |at| {
                fs::remove_file(at.join("ours")).unwrap();
                symlink("/etc/hostname", at.join("ours")).unwrap();
            },
            "\"ours\"",
        ),
    ];
    for (put, says) in puts {
        // Present at the beginning, or only at the end.
        for is_late in [false, true] {
            let parent = tempfile::tempdir().unwrap();
            let path = parent.path().join("out");
            publish(&path, false).unwrap();
            fs::write(path.join("_SUCCESS"), "").unwrap();
            let error = if is_late {
                let folder = OutputFolder::create(&path, true).unwrap();
                write(&folder, "newer", b"newer").unwrap();
                put(&path);
                folder.publish().unwrap_err()
            } else {
                put(&path);
                refused(&path, true)
            };
            let text = error.to_string();
            assert_eq!(error.kind(), SinkErrorKind::NotAFile, "{text}");
            assert!(text.contains(says) && text.contains("never replaced"), "{says}: {text}");
            let there = names(&path);
            assert!(there.contains(&"ours".to_owned()) && !there.contains(&"newer".to_owned()), "{there:?}");
            assert_eq!(names(parent.path()), ["out"], "{says}");
        }
    }
}

#[test]
fn a_folder_without_a_manifest_is_replaced_if_all_its_files_are_known() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("out");
    let create = || {
        let new = NewFolder::default().with_overwrite(true);
        new.with_is_ours(|path| fs::read(path).is_ok_and(|bytes| bytes == b"ours")).create(&path)
    };
    let publish_over = || {
        let folder = create()?;
        write(&folder, "newer", b"newer")?;
        folder.publish().map(drop)
    };
    // Hidden files alone do not make a folder an export's; empty ones may go.
    for (hidden, is_replaced) in [(".bashrc", false), ("_SUCCESS", true), (".gitkeep", true)] {
        fs::create_dir(&path).unwrap();
        fs::write(path.join(hidden), if is_replaced { "" } else { "theirs" }).unwrap();
        match publish_over() {
            Ok(()) => assert!(is_replaced, "{hidden}"),
            Err(error) => assert!(!is_replaced && error.to_string().contains(hidden), "{error}"),
        }
        assert_eq!(
            names(&path),
            [if is_replaced { MANIFEST } else { hidden }, "newer"][..1 + usize::from(is_replaced)]
        );
        fs::remove_dir_all(&path).unwrap();
    }
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a"), "ours").unwrap();
    fs::write(path.join("b"), "ours").unwrap();
    fs::write(path.join(".c"), "theirs").unwrap();
    fs::write(path.join(MANIFEST), "{\"files\": [").unwrap();
    fs::write(path.join("c"), "theirs").unwrap();
    let error = create().unwrap_err();
    assert!(error.to_string().contains("a file in it that no export has made, \"c\""), "{error}");
    fs::remove_file(path.join("c")).unwrap();
    publish_over().unwrap();
    assert_eq!(files(&path), ["newer"]);
}

/// Before, a user of `-o ./` was then in a folder that no longer existed.
#[test]
fn the_current_folder_is_never_replaced() {
    // Cargo runs tests in the package's folder. Its contents are not the reason for the refusal.
    let here = std::env::current_dir().unwrap();
    for path in [Path::new("./"), Path::new("."), &here] {
        for overwrite in [false, true] {
            let error = refused(path, overwrite);
            assert!(error.to_string().contains("is the current folder, which is never replaced"), "{error}");
        }
    }
}

#[test]
fn a_place_that_changed_during_the_run() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("out");
    for (overwrite, is_file) in [(false, false), (false, true), (true, true)] {
        let folder = OutputFolder::create(&path, overwrite).unwrap();
        write(&folder, "ours", b"ours").unwrap();
        if is_file {
            fs::write(&path, "theirs").unwrap();
        } else {
            fs::create_dir(&path).unwrap();
            fs::write(path.join("theirs"), "").unwrap();
        }
        folder.publish().unwrap_err();
        assert_eq!(names(parent.path()), ["out"]);
        if is_file {
            assert_eq!(fs::read(&path).unwrap(), b"theirs");
            fs::remove_file(&path).unwrap();
        } else {
            assert_eq!(names(&path), ["theirs"]);
            fs::remove_dir_all(&path).unwrap();
        }
    }
}

#[test]
fn a_file_of_a_folder_is_an_output_like_others() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("out");
    let folder = OutputFolder::create(&path, false).unwrap();
    let mut output = folder.file("a").unwrap();
    assert_eq!(output.path(), Some(path.join("a").as_path()));
    assert_eq!(output.temporary_path(), None);
    output.write_all(&[7; 300_000]).unwrap();
    let published = output.publish().unwrap();
    assert_eq!((published.path, published.bytes), (Some(path.join("a")), 300_000));
    folder.publish().unwrap();
    assert_eq!(fs::read(path.join("a")).unwrap(), [7; 300_000]);
}

fn write(folder: &OutputFolder, name: &str, bytes: &[u8]) -> Result<(), SinkError> {
    let mut output: Output = folder.file(name)?;
    output.write_all(bytes).unwrap();
    output.publish().map(drop)
}

fn publish(path: &Path, overwrite: bool) -> Result<(), SinkError> {
    let folder = OutputFolder::create(path, overwrite)?;
    write(&folder, "ours", b"ours")?;
    folder.publish().map(drop)
}

#[track_caller]
fn refused(path: &Path, overwrite: bool) -> SinkError {
    OutputFolder::create(path, overwrite).unwrap_err()
}

#[test]
fn a_folder_that_a_killed_process_left_is_removed_and_that_of_a_living_one_is_not() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("out");
    let alive = OutputFolder::create(&path, false).unwrap();
    write(&alive, "a", b"a").unwrap();
    let dead = parent.path().join(".out.pgarrow-dead01");
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join("part-00000.parquet"), "half").unwrap();
    let other = OutputFolder::create(&path, false).unwrap();
    assert!(!dead.exists());
    assert!(alive.temporary_path().exists() && other.temporary_path().exists());
    drop(other);
    alive.publish().unwrap();
    assert_eq!(files(&path), ["a"]);
    assert_eq!(names(parent.path()), ["out"]);
}
