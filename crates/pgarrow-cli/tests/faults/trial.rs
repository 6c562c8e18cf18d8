//! One run of the command, with a fault, and the criteria that judge it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::arena::{Arena, CANARY};
pub(crate) use crate::expect::Expect;
use crate::running::program_in;
pub(crate) use crate::running::{ENDLESS, Ended, PROGRAM, Running};

/// The kind of output.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Parquet,
    Ipc,
    Folder,
}

pub(crate) const KINDS: [Kind; 3] = [Kind::Parquet, Kind::Ipc, Kind::Folder];

impl Kind {
    /// The value of `-o`.
    pub(crate) fn output(self) -> &'static str {
        match self {
            Self::Parquet => "x.parquet",
            Self::Ipc => "x.arrow",
            Self::Folder => "d/",
        }
    }

    fn name(self) -> &'static str {
        self.output().trim_end_matches('/')
    }
}

/// No run of these small exports may take more memory.
const MEMORY_MAX_KIB: u64 = 256 << 10;
/// The contents of an output that is to be replaced.
const OLD: &str = "old";

/// A folder, an output in it, and a name on the server. One run, then the judgement.
pub(crate) struct Trial<'a> {
    pub(crate) arena: &'a Arena,
    pub(crate) kind: Kind,
    pub(crate) folder: TempDir,
    pub(crate) url: String,
    /// Its `application_name`.
    pub(crate) name: String,
    is_replacing: bool,
    has_report: bool,
}

impl<'a> Trial<'a> {
    pub(crate) fn new(arena: &'a Arena, kind: Kind) -> Self {
        let (url, name) = arena.url_and_name();
        let folder = TempDir::new().unwrap();
        Self { arena, kind, folder, url, name, is_replacing: false, has_report: false }
    }

    /// Adds an older output, which the run has to replace.
    pub(crate) fn replacing(mut self) -> Self {
        self.is_replacing = true;
        match self.kind {
            Kind::Folder => {
                older_folder(&self.final_path(), "part-00000.parquet");
            }
            _ => fs::write(self.final_path(), OLD).unwrap(),
        }
        self.with_old_report()
    }

    /// With a report beside the output.
    pub(crate) fn with_report(mut self) -> Self {
        self.has_report = true;
        self.with_old_report()
    }

    fn with_old_report(self) -> Self {
        if self.has_report && self.is_replacing {
            fs::write(self.report_path(), OLD).unwrap();
        }
        self
    }

    fn report_path(&self) -> PathBuf {
        self.folder.path().join("r.json")
    }

    /// Connects to another address than the server's own.
    pub(crate) fn through(mut self, address: impl std::fmt::Display) -> Self {
        let (user, rest) = self.url.split_once('@').unwrap();
        let (_, rest) = rest.split_once('/').unwrap();
        self.url = format!("{user}@{address}/{rest}");
        self
    }

    pub(crate) fn final_path(&self) -> PathBuf {
        self.folder.path().join(self.kind.name())
    }

    /// The arguments: what to read, and where to write it.
    pub(crate) fn args(&self, what: &[&str]) -> Vec<String> {
        let mut args = vec!["export".to_owned(), self.url.clone()];
        args.extend(what.iter().map(|arg| (*arg).to_owned()));
        args.extend(["-o".to_owned(), self.kind.output().to_owned()]);
        if self.has_report {
            args.extend(["--report".to_owned(), "r.json".to_owned()]);
        }
        if self.is_replacing {
            args.push("--overwrite".to_owned());
        }
        args
    }

    /// The command in its folder.
    pub(crate) fn command(&self, what: &[&str]) -> Command {
        let mut command = self.program(PROGRAM);
        command.args(self.args(what));
        command
    }

    /// Another program, such as one that runs the command, in the folder.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>) -> Command {
        program_in(self.folder.path(), program)
    }

    /// Starts the command; see [`Running`].
    pub(crate) fn start(&self, command: &mut Command) -> Running {
        Running::start(command)
    }

    /// Runs the command to its end, within `seconds`.
    pub(crate) fn run(&self, command: &mut Command, seconds: u64) -> Ended {
        self.start(command).end(seconds)
    }

    /// A run without any fault, which replaces what is there.
    pub(crate) fn export_cleanly(&self) -> Result<(), String> {
        let (url, _) = self.arena.url_and_name();
        let mut command = self.program(PROGRAM);
        command.args(["export", &url, "-t", "t", "--quiet", "--overwrite", "-o", self.kind.output()]);
        if self.has_report {
            command.args(["--report", "r.json"]);
        }
        let ended = self.run(&mut command, 60);
        match ended.status.code() {
            Some(0) => Ok(()),
            _ => Err(format!("{}: {}", ended.status, ended.stderr)),
        }
    }

    /// G-1 to G-8.
    pub(crate) fn judge(&self, ended: &Ended, expect: &Expect) -> Result<(), String> {
        self.judge_all(ended, expect).map_err(|reason| {
            format!("{reason}; {} after {:?}, stderr: {:?}", ended.status, ended.took, ended.stderr)
        })
    }

    fn judge_all(&self, ended: &Ended, expect: &Expect) -> Result<(), String> {
        if ended.is_late {
            return Err("G-6: it did not end by itself in time".to_owned());
        }
        if ended.memory_kib > MEMORY_MAX_KIB {
            return Err(format!("G-7: {} KiB of memory", ended.memory_kib));
        }
        let is_success = self.judge_code(ended, expect)?;
        self.judge_words(ended, expect, is_success)?;
        self.arena.is_left(&self.name)?;
        self.judge_files(expect, is_success)?;
        // G-8, and the second half of G-4: the next run removes what a killed run left.
        self.export_cleanly().map_err(|reason| format!("G-8: the next run fails: {reason}"))?;
        self.arena.check(&self.final_path()).map_err(|reason| format!("G-8: {reason}"))?;
        if self.has_report {
            self.judge_report(&Expect::success(), true).map_err(|reason| format!("G-8: {reason}"))?;
        }
        match self.others() {
            others if others.is_empty() => Ok(()),
            others => Err(format!("G-4: the next run leaves {others:?}")),
        }
    }

    /// The same if the server is gone for good: without looking at it, and without a next run.
    pub(crate) fn judge_without_server(&self, ended: &Ended, expect: &Expect) -> Result<(), String> {
        if ended.is_late {
            return Err("G-6: it did not end by itself in time".to_owned());
        }
        let is_success = self.judge_code(ended, expect)?;
        self.judge_words(ended, expect, is_success)?;
        self.judge_files(expect, is_success)
            .map_err(|reason| format!("{reason}; {}, stderr: {:?}", ended.status, ended.stderr))
    }

    fn judge_code(&self, ended: &Ended, expect: &Expect) -> Result<bool, String> {
        if expect.is_killed {
            return match ended.status.signal() {
                Some(9) => Ok(false),
                // A shell that ran the killed process exits with 128 + 9; the kill may also have come too
                // late.
                None if matches!(ended.status.code(), Some(137)) => Ok(false),
                _ => Err("G-1: it was not killed".to_owned()),
            };
        }
        match ended.status.code() {
            Some(0) if !expect.codes.contains(&0) => Err("G-1: success".to_owned()),
            Some(code) if expect.codes.is_empty() || expect.codes.contains(&code) => Ok(code == 0),
            Some(101) => Err("G-1: it panicked".to_owned()),
            _ => Err(format!("G-1: not one of the exit codes {:?}", expect.codes)),
        }
    }

    fn judge_words(&self, ended: &Ended, expect: &Expect, is_success: bool) -> Result<(), String> {
        let has_canary = |bytes: &[u8]| bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
        if has_canary(&ended.stdout) || has_canary(ended.stderr.as_bytes()) {
            return Err("G-2: it says the password".to_owned());
        }
        for path in files(self.folder.path()) {
            if has_canary(&fs::read(&path).unwrap_or_default()) {
                return Err(format!("G-2: the password is in {}", path.display()));
            }
        }
        if is_success || expect.is_anything || expect.is_killed || expect.is_silent {
            return Ok(());
        }
        let last = ended.stderr.lines().last().unwrap_or_default();
        if !last.starts_with("pgarrow: ") {
            return Err(format!("G-2: the last line is {last:?}"));
        }
        if ended.status.code() == Some(4) && !last.contains("SQLSTATE ") {
            return Err("G-2: the server refused, and no SQLSTATE is said".to_owned());
        }
        match expect.says.iter().find(|text| !last.contains(*text)) {
            Some(text) => Err(format!("G-2: {text:?} is not said")),
            None => Ok(()),
        }
    }

    /// G-3: the old state or the new one. G-4: nothing else.
    fn judge_files(&self, expect: &Expect, is_success: bool) -> Result<(), String> {
        if is_success && !expect.is_anything {
            self.arena.check(&self.final_path()).map_err(|reason| format!("G-1: success, but {reason}"))?;
        } else if is_success {
            crate::arena::read(&self.final_path()).map_err(|reason| format!("G-1: success, but {reason}"))?;
        } else if let Err(why_not_old) = self.is_old() {
            let is_new = expect.may_be_published && self.arena.check(&self.final_path()).is_ok();
            if !is_new {
                return Err(format!("G-3: {why_not_old}"));
            }
        }
        if self.has_report {
            self.judge_report(expect, is_success)?;
        }
        let others = self.others();
        let is_fine = |name: &String| expect.leaves_temporaries && is_temporary(name);
        match others.iter().all(is_fine) {
            true => Ok(()),
            false => Err(format!("G-4: left behind: {others:?}")),
        }
    }

    /// G-3 for the report: the report of the failure, or none or the old one if it could not be written; the
    /// report of success if the output may be in place.
    fn judge_report(&self, expect: &Expect, is_success: bool) -> Result<(), String> {
        let report = match fs::read(self.report_path()) {
            Ok(report) => report,
            Err(_) if !self.is_replacing && !is_success => return Ok(()),
            Err(error) => return Err(format!("G-3: no report: {error}")),
        };
        if self.is_replacing && !is_success && report == OLD.as_bytes() {
            return Ok(());
        }
        let report: serde_json::Value = serde_json::from_slice(&report)
            .map_err(|error| format!("G-3: the report is not whole: {error}"))?;
        if !is_success && report["status"] == "failed" {
            return Ok(());
        }
        if !is_success && !expect.may_be_published {
            return Err("G-3: a report of success of what failed".to_owned());
        }
        match report["rows"].as_u64() {
            Some(n_rows) if n_rows == self.arena.n_rows() => Ok(()),
            n_rows => Err(format!("G-3: the report says {n_rows:?} rows")),
        }
    }

    /// Whether the output is unchanged.
    fn is_old(&self) -> Result<(), String> {
        let path = self.final_path();
        let file = if self.kind == Kind::Folder { path.join("part-00000.parquet") } else { path.clone() };
        match (self.is_replacing, path.symlink_metadata().is_ok()) {
            (false, false) => Ok(()),
            (false, true) => Err(format!("{} is there", path.display())),
            (true, _) if fs::read(file).is_ok_and(|bytes| bytes == OLD.as_bytes()) => Ok(()),
            (true, _) => Err(format!("{} is not what it was", path.display())),
        }
    }

    /// The names in the folder beside the output and a report.
    fn others(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != self.kind.name() && !(self.has_report && name == "r.json"))
            .collect();
        names.sort();
        names
    }
}

/// A folder as an earlier export left it, with one file.
pub(crate) fn older_folder(folder: &Path, name: &str) {
    fs::create_dir(folder).unwrap();
    fs::write(folder.join(name), OLD).unwrap();
    let manifest = serde_json::json!({
        "manifest_version": 1,
        "pgarrow_version": "0.1.0",
        "run_id": "older",
        "files": [{"name": name, "bytes": OLD.len()}],
    });
    fs::write(folder.join("_pgarrow_manifest.json"), manifest.to_string()).unwrap();
}

/// `.NAME.pgarrow-XXXXXX`.
fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.rsplit_once(".pgarrow-").is_some_and(|(_, end)| end.len() == 6)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}
