//! Python with pyarrow, duckdb, pyiceberg and deltalake: independent readers of the files and streams we
//! write.
//!
//! The environment is made once and kept; test processes that start at the same time wait for the one that
//! makes it. Where it cannot be made (no Python, no network),
//! [`Capability::Python`](crate::Capability::Python) is missing.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::target::target_tmp;

/// The packages that are installed.
const PACKAGES: [&str; 5] =
    ["pyarrow==26.0.1", "duckdb==2.0.0", "pyiceberg==0.12.0", "sqlalchemy==2.1.9", "deltalake==1.6.6"];

/// What says that they can be used.
const IMPORTS: &str = "import pyarrow.parquet, duckdb, pyiceberg.catalog.sql, deltalake";

/// A Python interpreter with the packages that tests need.
#[derive(Debug)]
pub struct Python {
    program: PathBuf,
}

impl Python {
    /// The interpreter that all tests share.
    ///
    /// # Panics
    ///
    /// When there is none. A test that can be left out says so first: `require!(Capability::Python)`.
    pub fn shared() -> &'static Self {
        Self::try_shared().unwrap_or_else(|reason| panic!("no Python for tests: {reason}"))
    }

    /// As [`shared`](Self::shared), with the reason when there is none.
    ///
    /// # Errors
    ///
    /// When the environment is not there and cannot be made.
    pub fn try_shared() -> Result<&'static Self, String> {
        static SHARED: OnceLock<Result<Python, String>> = OnceLock::new();
        SHARED.get_or_init(Self::prepare).as_ref().map_err(Clone::clone)
    }

    fn prepare() -> Result<Self, String> {
        let folder = match env::var_os("PGARROW_TEST_VENV") {
            Some(folder) if !folder.is_empty() => PathBuf::from(folder),
            // Named after its contents: another version is another environment.
            _ => target_tmp().join(format!("python-{}", PACKAGES.join("-").replace("==", "-"))),
        };
        Self::prepare_in(&folder)
    }

    fn prepare_in(folder: &Path) -> Result<Self, String> {
        let python = Self { program: folder.join("bin/python") };
        if python.has_packages() {
            return Ok(python);
        }
        // A lock of the system: it ends with the process that holds it, however that ends.
        let lock = folder.with_extension("lock");
        let lock =
            File::create(&lock).map_err(|cause| format!("cannot create {}: {cause}", lock.display()))?;
        lock.lock().map_err(|cause| format!("cannot lock {}: {cause}", folder.display()))?;
        if python.has_packages() {
            return Ok(python);
        }
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let mut pip = Command::new(&python.program);
        pip.args(["-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"])
            .args(PACKAGES);
        run(&mut pip)?;
        // Checked as a test uses it, not as pip sees it.
        python.try_run(IMPORTS, &[])?;
        fs::write(python.marker(), PACKAGES.join("\n")).map_err(|cause| cause.to_string())?;
        Ok(python)
    }

    /// Whether everything is installed in the wanted versions.
    fn has_packages(&self) -> bool {
        fs::read_to_string(self.marker()).is_ok_and(|found| found == PACKAGES.join("\n"))
            || self.program.is_file() && self.imports_packages()
    }

    fn imports_packages(&self) -> bool {
        let script = format!(
            "{IMPORTS}\nimport sys, importlib.metadata as m\n\
             for package in sys.argv[1:]:\n    \
             name, version = package.split('==')\n    assert m.version(name) == version"
        );
        self.try_run(&script, &PACKAGES).is_ok()
    }

    /// The file that says that the environment is complete; importing to find out takes half a second.
    fn marker(&self) -> PathBuf {
        self.program.with_file_name("pgarrow-packages.txt")
    }

    /// The interpreter, for tests that need more than [`run`](Self::run).
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs a script, which finds `args` in `sys.argv[1:]`, and returns what it printed.
    ///
    /// # Panics
    ///
    /// When the script fails, with what it printed to stderr.
    #[track_caller]
    pub fn run(&self, script: &str, args: &[&str]) -> String {
        self.try_run(script, args).unwrap_or_else(|reason| panic!("python: {reason}"))
    }

    /// As [`run`](Self::run), without the panic.
    ///
    /// # Errors
    ///
    /// What a script that failed printed to stderr.
    pub fn try_run(&self, script: &str, args: &[&str]) -> Result<String, String> {
        // -I: neither the test's folder nor PYTHONPATH decides what is imported.
        run(Command::new(&self.program).args(["-I", "-c", script]).args(args))
    }
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|cause| format!("{} cannot be run: {cause}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Capability, require};

    #[test]
    fn scripts_run_and_see_their_arguments() {
        require!(Capability::Python);
        let python = Python::shared();
        let printed = python
            .run("import sys, pyarrow, duckdb; print(sys.argv[1:], pyarrow.__version__)", &["a b", "c"]);
        assert_eq!(printed, "['a b', 'c'] 26.0.1\n");
        assert_eq!(python.run("import duckdb; print(duckdb.sql('select 42').fetchall()[0][0])", &[]), "42\n");
    }

    #[test]
    fn a_script_that_fails_says_why() {
        require!(Capability::Python);
        let reason = Python::shared().try_run("raise ValueError('because')", &[]).unwrap_err();
        assert!(reason.contains("ValueError: because"), "{reason}");
    }

    #[test]
    fn without_an_environment_there_is_a_reason() {
        let reason = run(&mut Command::new("/nonexistent/python")).unwrap_err();
        assert!(reason.contains("cannot be run"), "{reason}");
    }
}
