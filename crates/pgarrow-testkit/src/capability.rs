//! What a server or a machine may lack, and how a test says that it needs it.
//!
//! Servers differ: one was built without TLS, another without XML, a third must not be crashed. A test names
//! what it needs, in its first line:
//!
//! ```no_run
//! use pgarrow_testkit::{Capability, require};
//!
//! fn xml_is_text() {
//!     require!(Capability::Xml, Capability::VersionAtLeast(140_000));
//!     // …
//! }
//! ```
//!
//! A test that is left out says so on stderr, adds a line to the list that the project's checks count and
//! print, and fails when `PGARROW_TEST_REQUIRE=all`. No server has every version, and pgvector comes with the
//! newest only: with `PGARROW_TEST_NEWER=apart`, tests that need either may be left out, and have to run with
//! another server.

use std::env;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{Ipv6Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use crate::python::Python;
use crate::server::TestServer;
use crate::target::target_tmp;

/// Something a test needs and cannot take for granted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Capability {
    /// A PostgreSQL at all: found, fetched, or named by `PGARROW_TEST_DB_URL`.
    Server,
    /// A server of our own, which a test may crash, configure and look into.
    PrivateServer,
    /// The user of [`TestServer::url`] is a superuser.
    Superuser,
    /// This `server_version_num` or a higher one: 160000 is 16.0.
    VersionAtLeast(u32),
    /// The server was built with TLS.
    Tls,
    /// The server was built with libxml.
    Xml,
    /// The server was built with ICU.
    Icu,
    /// The server can compress stored values with lz4.
    LzCompression,
    /// This extension can be created.
    Extension(&'static str),
    /// The server's system has this locale.
    Locale(&'static str),
    /// This machine has an IPv6 loopback address.
    Ipv6,
    /// This many GiB of memory are free, for the server and the test together.
    MemoryGib(u64),
    /// Python with pyarrow and duckdb; see [`Python`].
    Python,
    /// strace, and permission to use it on our own processes.
    Strace,
    /// Permission to mount file systems that no other process sees (`unshare`).
    MountNamespace,
    /// This program on the PATH.
    Program(&'static str),
    /// This program beside those of the server, which is a private one.
    ServerProgram(&'static str),
    /// PostgreSQL 17 with TLS and psql, whatever the server of the tests is; fetched when it is not in the
    /// cache.
    Psql,
    /// The newest PostgreSQL, whatever the server of the tests is; fetched when it is not in the cache.
    Newest,
    /// The program PgBouncer, a pooler.
    PgBouncer,
    /// The program moto_server, an S3.
    Moto,
    /// The program rclone, another S3.
    Rclone,
    /// The program azurite-blob, Azure's store of objects.
    Azurite,
    /// A Python environment with pgarrow's wheel and the packages that read what it hands out: `just
    /// test-wheel` makes one.
    Wheel,
    /// The same, for tests that start clusters of Spark, Ray and Dask, which take minutes.
    Clusters,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("a PostgreSQL server"),
            Self::PrivateServer => f.write_str("a private server"),
            Self::Superuser => f.write_str("a superuser"),
            Self::VersionAtLeast(num) => write!(f, "PostgreSQL {}.{} or newer", num / 10_000, num % 10_000),
            Self::Tls => f.write_str("a server with TLS"),
            Self::Xml => f.write_str("a server with XML"),
            Self::Icu => f.write_str("a server with ICU"),
            Self::LzCompression => f.write_str("a server with lz4"),
            Self::Extension(name) => write!(f, "the extension {name}"),
            Self::Locale(name) => write!(f, "the locale {name}"),
            Self::Ipv6 => f.write_str("IPv6"),
            Self::MemoryGib(gib) => write!(f, "{gib} GiB of memory"),
            Self::Python => f.write_str("Python with pyarrow and duckdb"),
            Self::Strace => f.write_str("strace"),
            Self::MountNamespace => f.write_str("a mount namespace"),
            Self::Program(name) => write!(f, "the program {name}"),
            Self::ServerProgram(name) => write!(f, "the server's program {name}"),
            Self::Psql => f.write_str("the wheel with psql 17"),
            Self::Newest => f.write_str("the wheel with the newest PostgreSQL"),
            Self::PgBouncer => f.write_str("PgBouncer"),
            Self::Moto => f.write_str("moto"),
            Self::Rclone => f.write_str("rclone"),
            Self::Azurite => f.write_str("Azurite"),
            Self::Wheel => f.write_str("the wheel"),
            Self::Clusters => f.write_str("the wheel, and time for clusters"),
        }
    }
}

impl Capability {
    /// Checks whether the capability is there.
    ///
    /// # Errors
    ///
    /// The reason, if it is not.
    pub fn probe(self) -> Result<(), String> {
        match self {
            Self::Server => TestServer::try_shared().map(|_| ()),
            Self::PrivateServer => match TestServer::try_shared()?.private() {
                Some(_) => Ok(()),
                None => Err("PGARROW_TEST_DB_URL names another one".to_owned()),
            },
            Self::VersionAtLeast(num) => match TestServer::try_shared()?.version_num() {
                found if found >= num => Ok(()),
                found => Err(format!("it is {}.{}", found / 10_000, found % 10_000)),
            },
            Self::Superuser => {
                holds("SELECT rolsuper FROM pg_roles WHERE rolname = current_user", "the user is not one")
            }
            Self::Tls => holds(
                "SELECT setting <> '' FROM pg_settings WHERE name = 'ssl_library'",
                "it was built without a TLS library",
            ),
            Self::Xml => holds("SELECT xmlparse(document '<a/>') IS NOT NULL", "it was built without libxml"),
            Self::Icu => holds(
                "SELECT EXISTS (SELECT FROM pg_collation WHERE collname = 'und-x-icu')",
                "it has no collation of ICU",
            ),
            Self::LzCompression => holds(
                "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'",
                "it was built without lz4",
            ),
            Self::Extension(name) => holds(
                &format!("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = '{name}')"),
                "the server does not have it",
            ),
            Self::Locale(name) => holds(
                &format!("SELECT set_config('lc_monetary', '{name}', true) <> ''"),
                "the server does not have it",
            ),
            Self::Ipv6 => {
                TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).map(|_| ()).map_err(|cause| cause.to_string())
            }
            Self::MemoryGib(gib) => match available_kib() {
                Some(kib) if kib >> 20 >= gib => Ok(()),
                Some(kib) => Err(format!("{} GiB are free", kib >> 20)),
                None => Err("/proc/meminfo does not tell how much is free".to_owned()),
            },
            Self::Python => Python::try_shared().map(|_| ()),
            Self::Strace => {
                runs("strace", &["-f", "-o", "/dev/null", "--seccomp-bpf", "-e", "trace=fsync", "true"])
            }
            Self::MountNamespace => runs("unshare", &["-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]),
            Self::Program(name) => {
                let path = env::var_os("PATH").unwrap_or_default();
                match env::split_paths(&path).any(|folder| folder.join(name).is_file()) {
                    true => Ok(()),
                    false => Err("it is not on the PATH".to_owned()),
                }
            }
            Self::ServerProgram(name) => match TestServer::try_shared()?.private() {
                Some(server) if server.installation().program(name).is_file() => Ok(()),
                _ => Err("it does not come with the server".to_owned()),
            },
            Self::Psql => pgarrow_server::fetch_with_tls().map(|_| ()).map_err(|cause| cause.to_string()),
            Self::Newest => pgarrow_server::fetch().map(|_| ()).map_err(|cause| cause.to_string()),
            Self::PgBouncer => crate::pgbouncer::program().map(|_| ()),
            Self::Moto => crate::program::moto().map(|_| ()),
            Self::Rclone => crate::program::rclone().map(|_| ()),
            Self::Azurite => crate::program::azurite().map(|_| ()),
            Self::Wheel => crate::program::wheel_python().map(|_| ()),
            Self::Clusters => match env::var_os("PGARROW_TEST_CLUSTERS").is_some_and(|value| value == "none")
            {
                true => Err("PGARROW_TEST_CLUSTERS=none".to_owned()),
                false => crate::program::wheel_python().map(|_| ()),
            },
        }
    }
}

/// Whether a program can be run and succeeds.
fn runs(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    match output.map_err(|cause| format!("{program} cannot be run: {cause}"))? {
        output if output.status.success() => Ok(()),
        output => Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// `MemAvailable` of Linux, in KiB.
fn available_kib() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Whether a query's one value is true.
fn holds(sql: &str, reason: &str) -> Result<(), String> {
    let row = TestServer::try_shared()?.client().query_opt(sql, &[]).map_err(|cause| {
        match cause.as_db_error() {
            Some(error) => error.message().to_owned(),
            None => cause.to_string(),
        }
    })?;
    match row.and_then(|row| row.get::<_, Option<bool>>(0)) {
        Some(true) => Ok(()),
        _ => Err(reason.to_owned()),
    }
}

/// Returns from the calling test when a capability is missing. See the [module](crate::capability).
#[macro_export]
macro_rules! require {
    ($($capability:expr),+ $(,)?) => {
        let test = $crate::capability::test_name(concat!(module_path!(), ", line ", line!()));
        if !($($crate::capability::require($capability, &test))&&+) {
            return;
        }
    };
}

/// Whether a test can run. If not, this prints and records it, and fails if everything is required.
///
/// # Panics
///
/// When the capability is missing and `PGARROW_TEST_REQUIRE=all`.
#[must_use = "a test whose needs are not met has to return"]
pub fn require(capability: Capability, test: &str) -> bool {
    let Err(reason) = capability.probe() else { return true };
    // One line, whatever the reason contains: lines are counted.
    let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = format!("left out: {test} needs {capability}: {reason}");
    eprintln!("{line}");
    write_down(&line);
    let is = |name, wanted: &str| env::var_os(name).is_some_and(|value| value == wanted);
    let is_for_newer = matches!(capability, Capability::VersionAtLeast(_) | Capability::Extension("vector"));
    if is("PGARROW_TEST_REQUIRE", "all") && !(is_for_newer && is("PGARROW_TEST_NEWER", "apart")) {
        panic!("PGARROW_TEST_REQUIRE=all, but {line}");
    }
    false
}

/// The name of the running test, or `place` when the test harness runs tests on its main thread.
pub fn test_name(place: &str) -> String {
    match thread::current().name() {
        Some(name) if name != "main" => name.to_owned(),
        _ => place.to_owned(),
    }
}

/// The file that lists the tests that were left out, one line each. The caller removes it before a run.
pub fn left_out_file() -> PathBuf {
    env::var_os("PGARROW_TEST_LEFT_OUT").map_or_else(|| target_tmp().join("left-out.txt"), PathBuf::from)
}

fn write_down(line: &str) {
    let path = left_out_file();
    // One write to a file opened for appending: lines of several test processes do not mix.
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
        .unwrap_or_else(|cause| panic!("cannot write {}: {cause}", path.display()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_what_every_server_has() {
        require!(Capability::Server);
        assert_eq!(Capability::VersionAtLeast(100_000).probe(), Ok(()));
        assert_eq!(Capability::Extension("plpgsql").probe(), Ok(()));
        assert!(Capability::Extension("no such extension").probe().is_err());
        assert!(Capability::VersionAtLeast(9_990_000).probe().unwrap_err().starts_with("it is "));
    }

    #[test]
    fn every_probe_ends_with_an_answer() {
        require!(Capability::Server);
        for capability in [
            Capability::PrivateServer,
            Capability::Superuser,
            Capability::Tls,
            Capability::Xml,
            Capability::Icu,
            Capability::LzCompression,
            Capability::Ipv6,
            Capability::MemoryGib(1),
            Capability::MemoryGib(1 << 20),
            Capability::Strace,
            Capability::MountNamespace,
            Capability::Program("sh"),
            Capability::Program("no-such-program"),
        ] {
            let answer = capability.probe();
            assert!(answer.is_ok() || !answer.unwrap_err().is_empty(), "{capability}");
        }
    }

    #[test]
    fn a_test_knows_its_name() {
        let name = test_name("elsewhere");
        assert!(name.ends_with("a_test_knows_its_name") || name == "elsewhere", "{name}");
    }
}
