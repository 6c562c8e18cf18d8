//! Writing and publishing: what is visible when, and that no failure goes unseen.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use pgarrow_sink::{Output, SinkErrorKind};

use crate::names;

#[test]
fn nothing_is_visible_before_publish() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let mut output = Output::file(&path, false).unwrap();
    output.write_all(b"hello").unwrap();
    output.flush().unwrap();
    let [temp] = names(folder.path()).try_into().unwrap();
    assert!(temp.starts_with(".x.parquet.pgarrow-"), "{temp}");
    let published = output.publish().unwrap();
    assert_eq!((published.path.as_deref(), published.bytes), (Some(path.as_path()), 5));
    assert_eq!(names(folder.path()), ["x.parquet"]);
    assert_eq!(fs::read(&path).unwrap(), b"hello");
}

#[test]
fn writes_of_all_sizes_arrive_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut output = Output::file(&path, false).unwrap();
    let mut rest = bytes.as_slice();
    for size in [1, 131_071, 1, 131_072, 7, 131_073, 0, 300_000, 5].into_iter().cycle() {
        let (piece, after) = rest.split_at(rest.len().min(size));
        output.write_all(piece).unwrap();
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(output.bytes(), 1_000_000);
    output.publish().unwrap();
    assert!(fs::read(&path).unwrap() == bytes);
}

#[test]
fn dropping_removes_the_temporary_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut output = Output::file(folder.path().join("x"), false).unwrap();
    output.write_all(&[7; 500_000]).unwrap();
    drop(output);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn the_mode_is_what_the_umask_allows() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    fs::write(&plain, "").unwrap();
    let path = folder.path().join("x");
    Output::file(&path, false).unwrap().publish().unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&path), mode(&plain));
}

#[test]
fn one_of_two_wins_a_name() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let outputs = [b"a", b"b"].map(|text| {
            let mut output = Output::file(&path, false).unwrap();
            output.write_all(text).unwrap();
            output
        });
        let results = std::thread::scope(|scope| {
            outputs.map(|output| scope.spawn(|| output.publish())).map(|thread| thread.join().unwrap())
        });
        let lost: Vec<_> = results.into_iter().filter_map(Result::err).collect();
        assert_eq!(lost.len(), 1, "exactly one loses");
        assert_eq!(lost[0].kind(), SinkErrorKind::Exists, "{:?}", lost[0]);
        assert_eq!(names(folder.path()), ["x"]);
    }
}

#[test]
fn a_folder_removed_during_the_run_is_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let mut output = Output::file(inner.join("x"), false).unwrap();
    output.write_all(b"hello").unwrap();
    fs::remove_dir_all(&inner).unwrap();
    assert_eq!(output.publish().unwrap_err().kind(), SinkErrorKind::Io);
    assert!(!inner.exists());
}

#[test]
fn a_device_that_is_full() {
    for bytes in [1, 1_000_000] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut output = Output::writer(full);
        let error = match output.write_all(&vec![0; bytes]) {
            // Small enough for the buffer: the failure has to come from publishing.
            Ok(()) => output.publish().unwrap_err().kind(),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::StorageFull);
                assert!(output.publish().is_err(), "a failed output is never published");
                continue;
            }
        };
        assert_eq!(error, SinkErrorKind::DiskFull);
    }
}

#[test]
fn a_pipe_whose_reader_left() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut output = Output::writer(writer);
    output.write_all(b"hello").unwrap();
    let error = output.publish().unwrap_err();
    assert_eq!(error.kind(), SinkErrorKind::BrokenPipe);
    assert!(error.to_string().starts_with("cannot write the output stream"), "{error}");
}

#[test]
fn after_a_failure_nothing_is_written_any_more() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let mut output = Output::writer(FailsOnce { log: Arc::clone(&log), failed: false });
    output.write_all(&[1; 200_000]).unwrap_err();
    output.write_all(b"more").unwrap_err();
    output.flush().unwrap_err();
    assert!(output.publish().is_err());
    assert!(log.lock().unwrap().is_empty(), "a gap must not be followed by more bytes");
}

/// Fails the first write and would take the others.
struct FailsOnce {
    log: Arc<Mutex<Vec<u8>>>,
    failed: bool,
}

impl Write for FailsOnce {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !std::mem::replace(&mut self.failed, true) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.log.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn stdout_gets_the_bytes() {
    // Runs itself again: only another process has a stdout that can be looked at.
    const CHILD: &str = "PGARROW_SINK_TEST_STDOUT";
    const BYTES: &[u8] = b"first\x00\xff line\nsecond";
    if std::env::var_os(CHILD).is_some() {
        let mut output = Output::stdout().unwrap();
        assert_eq!(output.path(), None);
        output.write_all(BYTES).unwrap();
        assert_eq!(output.publish().unwrap().bytes, BYTES.len() as u64);
        return;
    }
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "output::stdout_gets_the_bytes", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(child.status.success());
    assert!(child.stdout.windows(BYTES.len()).any(|window| window == BYTES));
}

#[test]
fn what_a_killed_process_left_is_removed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let alive = Output::file(&path, false).unwrap();
    let of_alive = alive.temporary_path().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    // Forgotten, but for the lock, as if its process had been killed.
    for name in [".x.parquet.pgarrow-dead01", ".y.parquet.pgarrow-dead02", ".x.parquet.pgarrow-dead", "mine"]
    {
        fs::write(folder.path().join(name), "left").unwrap();
    }
    let elsewhere = folder.path().join("elsewhere");
    fs::write(&elsewhere, "mine").unwrap();
    std::os::unix::fs::symlink(&elsewhere, folder.path().join(".x.parquet.pgarrow-link01")).unwrap();
    nix::unistd::mkfifo(&folder.path().join(".x.parquet.pgarrow-fifo01"), nix::sys::stat::Mode::S_IRWXU)
        .unwrap();

    let mut output = Output::file(&path, false).unwrap();
    let found = names(folder.path());
    assert!(!found.contains(&".x.parquet.pgarrow-dead01".to_owned()), "{found:?}");
    for name in [
        of_alive.as_str(),
        ".y.parquet.pgarrow-dead02",
        ".x.parquet.pgarrow-dead",
        ".x.parquet.pgarrow-link01",
        ".x.parquet.pgarrow-fifo01",
        "elsewhere",
        "mine",
    ] {
        assert!(found.iter().any(|found| found == name), "{name} is not in {found:?}");
    }
    output.write_all(b"whole").unwrap();
    output.publish().unwrap();
    drop(alive);
    assert_eq!(fs::read(&path).unwrap(), b"whole");
}
