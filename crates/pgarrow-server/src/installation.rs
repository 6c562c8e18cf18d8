//! An installed PostgreSQL: the folder of its programs, and their version.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::ServerError;

/// A PostgreSQL that can be started.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Installation {
    /// The folder of its programs.
    pub bin: PathBuf,
    /// The version that `postgres --version` prints.
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
    /// If a program is missing or `postgres --version` does not answer.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_postgres_prints_them() {
        let num = |text| Version::parse(text).map(|version| version.num());
        assert_eq!(num("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(150_018));
        assert_eq!(num("postgres (PostgreSQL) 18.6\n"), Some(180_006));
        assert_eq!(num("postgres (PostgreSQL) 19beta1\n"), Some(190_000));
        assert_eq!(num("postgres (PostgreSQL) 19devel\n"), Some(190_000));
        assert_eq!(num("postgres (PostgreSQL) 9.6.24\n"), None);
        assert_eq!(num("postgres (PostgreSQL) \n"), None);
        assert_eq!(num("psql (PostgreSQL) 15.18\n"), None);
        assert_eq!(num("postgres (PostgreSQL) 99999999999999.1\n"), None);
    }
}
