//! Folders that appear with all their files at once, and places they are refused at.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use pgarrow_sink::{Output, OutputFolder, SinkError, SinkErrorKind};

use crate::names;

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
    assert_eq!(names(&path), ["a"], "it is not ours to remove any more");
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
    assert_eq!(names(&path).len(), 1000);
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
    // Given up instead, its name is free again.
    drop(output);
    write(&folder, "a", b"second").unwrap();
    folder.publish().unwrap();
    assert_eq!(fs::read(path.join("a")).unwrap(), b"second");
    assert_eq!(folder.publish().unwrap_err().kind(), SinkErrorKind::Incomplete, "once");
    assert_eq!(folder.file("b").unwrap_err().kind(), SinkErrorKind::Incomplete);
}

#[test]
fn what_somebody_else_has_changed_is_not_published() {
    // As a sweeper does that sees no lock: one that runs on another host, perhaps.
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
                assert_eq!(names(&path), ["ours"]);
            }
        }
    }
}

#[test]
fn names_that_a_folder_refuses() {
    let parent = tempfile::tempdir().unwrap();
    let folder = OutputFolder::create(parent.path().join("out"), false).unwrap();
    for name in ["", ".", "..", ".hidden", "a/b", "/a", "a\\b", "a\0b"] {
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
    assert!(error.to_string().contains("a folder with folders inside, which is never replaced"), "{error}");
    assert_eq!(names(parent.path()), before);
}

#[test]
fn an_empty_folder_is_taken_and_a_full_one_is_not() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("out");
    fs::create_dir(&path).unwrap();
    publish(&path, false).unwrap();
    assert_eq!(names(&path), ["ours"]);
    let error = refused(&path, false);
    assert_eq!(error.kind(), SinkErrorKind::Exists);
    assert!(error.to_string().ends_with("allow overwriting (--overwrite)"), "{error}");
}

#[test]
fn overwriting_replaces_all_of_a_folder() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("out");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("theirs"), "x").unwrap();
    let folder = OutputFolder::create(&path, true).unwrap();
    write(&folder, "ours", b"ours").unwrap();
    assert_eq!(names(&path), ["theirs"], "not before it is published");
    folder.publish().unwrap();
    assert_eq!(names(&path), ["ours"]);
    assert_eq!(names(parent.path()), ["out"]);
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
    assert_eq!(names(&path), ["a"]);
    assert_eq!(names(parent.path()), ["out"]);
}
