//! Names that exist already, and names that cannot be files.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::stat::Mode;
use pgarrow_sink::{Hint, Output, SinkError, SinkErrorKind, option};

use crate::names;

#[test]
fn what_is_no_file_is_refused_even_with_overwrite() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("folder")).unwrap();
    nix::unistd::mkfifo(&at("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
    let _listener = UnixListener::bind(at("socket")).unwrap();
    for (link, to) in [
        ("to folder", at("folder")),
        ("to fifo", at("fifo")),
        ("to device", "/dev/full".into()),
        ("like stdout", "/proc/self/fd/1".into()),
    ] {
        symlink(to, at(link)).unwrap();
    }
    let before = names(folder.path());
    let inside = before.iter().map(|name| at(name));
    let elsewhere = ["/dev/full", "/dev/null", "/", "..", ".", "", "missing/"].map(Into::into);
    for path in inside.chain(elsewhere) {
        for overwrite in [false, true] {
            let error = refused(&path, overwrite);
            assert_eq!(error.kind(), SinkErrorKind::NotAFile, "{path:?}: {error}");
            assert!(error.to_string().contains("write to stdout (`Output::stdout`)"), "{error}");
            assert_eq!(error.path(), Some(path.as_path()));
        }
    }
    assert_eq!(names(folder.path()), before);
}

#[test]
fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    for name in ["missing/x.parquet", "file/x.parquet"] {
        let error = refused(&folder.path().join(name), false);
        assert_eq!(error.kind(), SinkErrorKind::Io);
        assert!(error.to_string().ends_with("which does not exist; create it first"), "{error}");
    }
}

#[test]
fn an_existing_file_is_refused_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    fs::write(&path, "theirs").unwrap();
    let error = refused(&path, false);
    assert_eq!(error.kind(), SinkErrorKind::Exists);
    let expected = "exists; choose another name or allow overwriting (option overwrite)";
    assert_eq!(error.to_string(), format!("output {path:?} {expected}"));
    assert_eq!(error.message().hints().map(Hint::option).collect::<Vec<_>>(), [Some(option::OVERWRITE)]);
    assert_eq!(names(folder.path()), ["x.parquet"]);
}

#[test]
fn a_symbolic_link_is_replaced_and_never_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (behind, link) = (folder.path().join("behind"), folder.path().join("link"));
    for dangling in [false, true] {
        if dangling {
            fs::remove_file(&behind).unwrap();
        } else {
            fs::write(&behind, "theirs").unwrap();
        }
        let _ = fs::remove_file(&link);
        symlink(&behind, &link).unwrap();
        assert_eq!(refused(&link, false).kind(), SinkErrorKind::Exists);

        publish(&link, true).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
        assert_eq!(fs::read(&link).unwrap(), b"ours");
        assert_eq!(behind.exists(), !dangling);
        if !dangling {
            assert_eq!(fs::read(&behind).unwrap(), b"theirs");
        }
    }
}

#[test]
fn overwriting_leaves_other_hard_links_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    fs::write(&one, "theirs").unwrap();
    fs::hard_link(&one, &two).unwrap();
    publish(&one, true).unwrap();
    assert_eq!((fs::read(&one).unwrap(), fs::read(&two).unwrap()), (b"ours".to_vec(), b"theirs".to_vec()));
}

#[test]
fn a_name_that_changed_during_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    // Without overwriting nothing may be there, and with it no folder, FIFO or device.
    for overwrite in [false, true] {
        let output = Output::file(&path, overwrite).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(output.publish().unwrap_err().kind(), SinkErrorKind::NotAFile);
        assert_eq!(names(folder.path()), ["x"]);
        fs::remove_dir(&path).unwrap();
    }
}

#[test]
fn names_of_every_length_and_kind() {
    let folder = tempfile::tempdir().unwrap();
    let long = "x".repeat(255);
    let wide = "ü".repeat(127);
    let mut published: Vec<String> = Vec::new();
    for name in ["-leading", " spaces ", "new\nline", "quo\"te", long.as_str(), wide.as_str()] {
        publish(&folder.path().join(name), false).unwrap();
        published.push(name.to_owned());
    }
    published.sort();
    assert_eq!(names(folder.path()), published);
    refused(&folder.path().join("x".repeat(256)), false);
    refused(Path::new("nul\0byte"), false);
}

#[test]
fn a_name_that_is_not_utf8() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(std::ffi::OsStr::from_bytes(b"\xff\xfe.parquet"));
    publish(&path, false).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"ours");
}

#[track_caller]
fn refused(path: &Path, overwrite: bool) -> SinkError {
    Output::file(path, overwrite).unwrap_err()
}

fn publish(path: &Path, overwrite: bool) -> Result<(), SinkError> {
    let mut output = Output::file(path, overwrite)?;
    output.write_all(b"ours").unwrap();
    output.publish().map(drop)
}
