//! Runs the command and waits for things to happen.

use std::fs::{self, File};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
pub(crate) use pgarrow_testkit::eventually;
use pgarrow_testkit::{Database, TestServer};
use tempfile::TempDir;

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let stderr = String::from_utf8(output.stderr).unwrap();
        Self { code: output.status.code(), stdout: output.stdout, stderr }
    }
}

impl Ran {
    pub(crate) fn stdout_text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// The lines on stderr without those of progress, which appear on slow machines and failed tests.
    pub(crate) fn said(&self) -> Vec<&str> {
        let is_progress = |line: &&str| {
            line.starts_with("pgarrow: ") && (line.contains(" rows/s") || line.contains(" sent; the "))
        };
        self.stderr.lines().filter(|line| !is_progress(line)).collect()
    }

    /// Asserts a failure with this code, one line on stderr that has all of these parts, and nothing on
    /// stdout.
    #[track_caller]
    pub(crate) fn assert_refused(&self, code: i32, says: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        let said = self.said();
        assert!(said.len() == 1 && said[0].starts_with("pgarrow: "), "{}", self.stderr);
        for part in says {
            assert!(said[0].contains(part), "{part:?} is not in {}", self.stderr);
        }
        assert!(self.stdout.is_empty());
    }

    /// Asserts a failure with this code, and a text among others on stderr.
    #[track_caller]
    pub(crate) fn assert_said(&self, code: i32, says: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.stderr.contains(says), "{says:?} is not in {}", self.stderr);
    }

    #[track_caller]
    pub(crate) fn assert_success(&self) {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
    }
}

/// A database and an empty folder to work in.
pub(crate) struct Place {
    pub(crate) database: Database,
    pub(crate) folder: TempDir,
}

impl Place {
    pub(crate) fn new(hint: &str) -> Self {
        Self { database: TestServer::shared().fresh_database(hint), folder: TempDir::new().unwrap() }
    }

    /// `pgarrow export URL …` in the folder.
    pub(crate) fn export_command(&self, args: &[&str]) -> Command {
        let mut command = command(self.folder.path());
        command.args(["export", self.database.url()]).args(args);
        command
    }

    pub(crate) fn export(&self, args: &[&str]) -> Ran {
        run(&mut self.export_command(args))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// All names, also of hidden files.
    pub(crate) fn names(&self) -> Vec<String> {
        names(self.folder.path())
    }

    /// Starts an export and waits until the server sends it.
    pub(crate) fn start_copy(&self, args: &[&str]) -> Child {
        let child = start(&mut self.export_command(args));
        eventually("the COPY runs", || self.counts("state = 'active' AND query LIKE 'COPY%'") == 1);
        child
    }

    /// Sessions of pgarrow in the database for which a condition on `pg_stat_activity` holds.
    pub(crate) fn counts(&self, condition: &str) -> i64 {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'pgarrow' AND ({condition})"
        );
        self.database.client().query_one(&sql, &[]).unwrap().get(0)
    }
}

/// An export that takes longer than any test. In FROM, the server would first write all the numbers to its
/// disk.
pub(crate) const ENDLESS: &str = "select generate_series(1, 1000000000) as g, repeat('x', 100) as x";

/// A table `t` of several MB: `id` from 1 to 20,000 in the order of its pages, `down` the other way round.
pub(crate) const NUMBERS: &str = "CREATE TABLE t (id int8 NOT NULL, down int8, text text); \
     INSERT INTO t SELECT g, 20000 - g, repeat(md5(g::text), 4) FROM generate_series(1, 20000) g; ANALYZE t";

/// The command, in a folder, without the environment's connection.
pub(crate) fn command(folder: &Path) -> Command {
    program(env!("CARGO_BIN_EXE_pgarrow"), folder)
}

/// The same for any program.
pub(crate) fn program(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") && !name.as_encoded_bytes().starts_with(b"PGARROW_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).env("HOME", folder).stdin(Stdio::null());
    command
}

pub(crate) fn run(command: &mut Command) -> Ran {
    command.output().unwrap().into()
}

pub(crate) fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for the end, which must come within `seconds`.
#[track_caller]
pub(crate) fn end_of(mut child: Child, seconds: u64) -> Ran {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("still running after {seconds} s: {:?}", Ran::from(child.wait_with_output().unwrap()));
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap().into()
}

pub(crate) fn parquet_rows(path: &Path) -> usize {
    batches_of(path).iter().map(RecordBatch::num_rows).sum()
}

/// The batches of a Parquet file.
pub(crate) fn batches_of(path: &Path) -> Vec<RecordBatch> {
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

/// The batches of an IPC stream.
pub(crate) fn stream(bytes: &[u8]) -> Vec<RecordBatch> {
    StreamReader::try_new(Cursor::new(bytes), None).unwrap().map(Result::unwrap).collect()
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The export's files in a folder: those that its manifest has, and no others.
#[track_caller]
pub(crate) fn parts(folder: &Path) -> Vec<String> {
    const MANIFEST: &str = "_pgarrow_manifest.json";

    let manifest = fs::read(folder.join(MANIFEST)).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(
        (&manifest["manifest_version"], manifest["run_id"].as_str().map(str::len)),
        (&1.into(), Some(32))
    );
    let files = manifest["files"].as_array().unwrap().iter();
    let files =
        files.map(|file| (file["name"].as_str().unwrap().to_owned(), file["bytes"].as_u64().unwrap()));
    let files: Vec<_> = files.collect();
    let there = names(folder).into_iter().filter(|name| name != MANIFEST);
    let there: Vec<_> =
        there.map(|name| (name.clone(), fs::metadata(folder.join(&name)).unwrap().len())).collect();
    assert_eq!(files, there);
    files.into_iter().map(|(name, _)| name).collect()
}

/// Asserts the message of a run that a signal of this process stopped.
#[track_caller]
pub(crate) fn assert_cancelled(ran: &Ran, signal: &str) {
    let (first, last) = ran.stderr.split_once('\n').unwrap();
    assert_eq!(first, "pgarrow: cancelling…");
    // The process's name is that of a thread, or of the test's program.
    let says = format!("pgarrow: cancelled by {signal} from process {} (", std::process::id());
    assert!(last.starts_with(&says) && last.lines().count() == 1, "{says:?}: {}", ran.stderr);
}
