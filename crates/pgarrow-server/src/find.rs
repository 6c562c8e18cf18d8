//! Finds an installed PostgreSQL.
//!
//! In this order: the folder that `PGARROW_PG_BIN` names · Debian's versioned folders, the highest first ·
//! `pg_config --bindir` · `postgres` on the PATH · the wheel that was fetched before. A folder counts if it
//! holds both `postgres` and `initdb` and if `postgres --version` answers.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::error::ServerError;
use crate::fetch;
use crate::installation::{Installation, Origin};

/// Finds an installed PostgreSQL, or one that was fetched before. `None` if there is none.
///
/// # Errors
///
/// If `PGARROW_PG_BIN` names a folder without a usable one: a folder that the user names is never replaced by
/// another.
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

/// The places to search; a value, so that tests can use other places.
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
        // A link from a common folder may have no initdb beside it; the real file has.
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
