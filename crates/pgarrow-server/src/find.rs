//! Finds an installed PostgreSQL.
//!
//! In this order: the folder that `PGARROW_PG_BIN` names · Debian's versioned folders, the highest first ·
//! `pg_config --bindir` · `postgres` on the PATH · the wheel that was fetched before. A folder counts when it
//! holds both `postgres` and `initdb` and when `postgres --version` answers.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::ServerError;
use crate::fetch;

/// A PostgreSQL that can be started.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Installation {
    /// The folder of its programs.
    pub bin: PathBuf,
    /// What `postgres --version` says.
    pub version: Version,
    /// Where it was found.
    pub origin: Origin,
}

/// Where an [`Installation`] was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Origin {
    /// `PGARROW_PG_BIN`.
    Environment,
    /// Debian's versioned folders.
    Debian,
    /// `pg_config --bindir`.
    PgConfig,
    /// `postgres` on the PATH.
    Path,
    /// The wheel in the cache.
    Cache,
    /// A folder that the caller named.
    Caller,
}

/// A PostgreSQL version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Version {
    text: String,
    num: u32,
}

impl Version {
    /// As PostgreSQL's `server_version_num`: 150018 is 15.18.
    pub fn num(&self) -> u32 {
        self.num
    }

    /// The first number: 15 of 15.18.
    pub fn major(&self) -> u32 {
        self.num / 10_000
    }

    /// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, also `18beta1`.
    fn parse(output: &str) -> Option<Self> {
        let text = output.trim().strip_prefix("postgres (PostgreSQL) ")?.split_whitespace().next()?;
        let (major, rest) = split_number(text)?;
        // Betas have no minor number and count as 0, as in PostgreSQL itself.
        let minor = rest.strip_prefix('.').and_then(split_number).map_or(0, |(minor, _)| minor);
        if !(10..1000).contains(&major) || minor >= 10_000 {
            return None;
        }
        Some(Self { text: text.to_owned(), num: major * 10_000 + minor })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn split_number(text: &str) -> Option<(u32, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, rest))
}

impl Installation {
    /// The PostgreSQL whose programs are in `bin`.
    ///
    /// # Errors
    ///
    /// When a program is missing or `postgres --version` does not answer.
    pub fn at(bin: impl Into<PathBuf>) -> Result<Self, ServerError> {
        Self::with_origin(bin.into(), Origin::Caller)
    }

    pub(crate) fn with_origin(bin: PathBuf, origin: Origin) -> Result<Self, ServerError> {
        match version_of(&bin) {
            Ok(version) => Ok(Self { bin, version, origin }),
            Err(reason) => Err(ServerError::Installation { bin, reason }),
        }
    }

    /// The path of one of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

fn version_of(bin: &Path) -> Result<Version, String> {
    for program in ["postgres", "initdb"] {
        if !bin.join(program).is_file() {
            return Err(format!("there is no {program} in it"));
        }
    }
    let output = Command::new(bin.join("postgres"))
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|cause| format!("postgres cannot be run: {cause}"))?;
    if !output.status.success() {
        return Err(format!("postgres --version failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let stdout = String::from_utf8_lossy(&output.stdout);
    Version::parse(&stdout).ok_or_else(|| format!("postgres --version says {:?}", stdout.trim()))
}

/// Finds an installed PostgreSQL, or one that was fetched before. `None` when there is none.
///
/// # Errors
///
/// When `PGARROW_PG_BIN` names a folder that does not hold a usable one: what was asked for explicitly is
/// never replaced by something else.
pub fn find() -> Result<Option<Installation>, ServerError> {
    Places::of_this_process().find()
}

/// Finds a PostgreSQL, or fetches the pinned one.
///
/// # Errors
///
/// As [`find`] and [`fetch`](fetch::fetch).
pub fn find_or_fetch() -> Result<Installation, ServerError> {
    match find()? {
        Some(installation) => Ok(installation),
        None => fetch::fetch(),
    }
}

/// Where to look; a value, so that tests can look elsewhere.
struct Places {
    explicit: Option<OsString>,
    debian: PathBuf,
    path: OsString,
    caches: Vec<PathBuf>,
}

impl Places {
    fn of_this_process() -> Self {
        Self {
            explicit: env::var_os("PGARROW_PG_BIN").filter(|value| !value.is_empty()),
            debian: PathBuf::from("/usr/lib/postgresql"),
            path: env::var_os("PATH").unwrap_or_default(),
            caches: fetch::caches(),
        }
    }

    fn find(&self) -> Result<Option<Installation>, ServerError> {
        if let Some(bin) = &self.explicit {
            return Installation::with_origin(PathBuf::from(bin), Origin::Environment).map(Some);
        }
        Ok(self.debian().or_else(|| self.pg_config()).or_else(|| self.on_path()).or_else(|| self.cached()))
    }

    fn debian(&self) -> Option<Installation> {
        let folders = fs::read_dir(&self.debian).ok()?;
        folders
            .filter_map(|entry| {
                Installation::with_origin(entry.ok()?.path().join("bin"), Origin::Debian).ok()
            })
            .max_by_key(|installation| installation.version.num())
    }

    fn pg_config(&self) -> Option<Installation> {
        let program = self.program_on_path("pg_config")?;
        let output = Command::new(program).arg("--bindir").stdin(Stdio::null()).output().ok()?;
        let bin = String::from_utf8(output.stdout).ok()?;
        Installation::with_origin(PathBuf::from(bin.trim_end()), Origin::PgConfig).ok()
    }

    fn on_path(&self) -> Option<Installation> {
        let program = self.program_on_path("postgres")?;
        // A link from a common folder says nothing of initdb; beside the real file it is there.
        let real = fs::canonicalize(&program).ok()?;
        [program, real].iter().find_map(|program| {
            let bin = program.parent()?.to_owned();
            Installation::with_origin(bin, Origin::Path).ok()
        })
    }

    fn cached(&self) -> Option<Installation> {
        self.caches.iter().find_map(|cache| fetch::cached_in(cache))
    }

    fn program_on_path(&self, name: &str) -> Option<PathBuf> {
        env::split_paths(&self.path).map(|folder| folder.join(name)).find(|program| program.is_file())
    }
}

#[cfg(test)]
mod tests;
