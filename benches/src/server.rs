//! The server the suite runs against: a private one, or the user's.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use pgarrow_protocol::{Config, CopyIn, Session};
use pgarrow_server::{Server, ServerOptions};

use crate::Result;

/// `USER_HZ`, which is 100 on every architecture that Linux still has, whatever the kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;

/// The server of the tables.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ServerFlags {
    /// A PostgreSQL to use (tables bench_* are made in it and stay). Default: a private one, removed at the
    /// end. It has to let this user in without a password: the drains cannot log in otherwise
    #[arg(long, env = "PGARROW_BENCH_URL")]
    pub(crate) url: Option<String>,
}

/// A session for preparing and checking, and the server behind it.
#[derive(Debug)]
pub(crate) struct Database {
    session: Session,
    url: String,
    /// Stops when this is dropped.
    server: Option<Server>,
    /// The postmaster's children when only this session was there: its own processes, and ours.
    children: BTreeSet<u32>,
    /// How contenders reach the server, if not by `url`.
    read_url: Option<String>,
}

impl Database {
    pub(crate) fn open(flags: &ServerFlags) -> Result<Self> {
        match &flags.url {
            Some(url) => Self::connect(url.clone(), None),
            None => Self::private(Self::options()),
        }
    }

    /// The options of a private server. Everything in memory: the suite measures the wire, not the disk.
    pub(crate) fn options() -> ServerOptions {
        ServerOptions::new().shared_buffers("3GB").setting("max_parallel_workers_per_gather", "0")
    }

    /// A private server.
    pub(crate) fn private(options: ServerOptions) -> Result<Self> {
        let server = Server::start(options)?;
        Self::connect(server.url(), Some(server))
    }

    fn connect(url: String, server: Option<Server>) -> Result<Self> {
        let mut session = Session::connect(&Config::parse(Some(&url))?)?;
        session.execute("SET client_min_messages = warning; SET TIME ZONE 'UTC'")?;
        let children =
            server.as_ref().and_then(Server::postmaster_pid).map_or_else(BTreeSet::new, children_of);
        Ok(Self { session, url, server, children, read_url: None })
    }

    /// The psql of the server's own installation, or of one that is found on this machine; else that of the
    /// `PATH`, which may be a wrapper that takes longer than a small load.
    pub(crate) fn psql(&self) -> PathBuf {
        let own = self.server.as_ref().map(|server| server.installation().clone());
        let installation = own.or_else(|| pgarrow_server::find().ok().flatten());
        let psql = installation.map(|installation| installation.program("psql"));
        psql.filter(|psql| psql.is_file()).unwrap_or_else(|| PathBuf::from("psql"))
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The URL by which contenders read.
    pub(crate) fn read_url(&self) -> &str {
        self.read_url.as_deref().unwrap_or(&self.url)
    }

    /// Has contenders read by another URL from now on: over TLS, or through a proxy.
    pub(crate) fn read_by(&mut self, url: Option<String>) {
        self.read_url = url;
    }

    /// The port, if the server is the suite's own.
    pub(crate) fn port(&self) -> Option<u16> {
        self.server.as_ref().map(Server::port)
    }

    /// The URL of the server's Unix socket, if the server is the suite's own.
    pub(crate) fn socket_url(&self) -> Option<String> {
        let server = self.server.as_ref()?;
        let (folder, port) = (server.socket_dir().display(), server.port());
        let database = self.url.rsplit('/').next()?.split('?').next()?;
        Some(format!("postgres://postgres@/{database}?host={folder}&port={port}"))
    }

    /// CPU time, in seconds, of all backends that have ended, when only this session is left; none if the
    /// server is not the suite's own.
    ///
    /// A backend leaves `pg_stat_activity` before its process ends, and its time counts once the postmaster
    /// has waited for it: so this waits until the process is gone.
    ///
    /// Source: `cutime` and `cstime` of the postmaster, in proc(5).
    pub(crate) fn backends_cpu_seconds(&mut self) -> Result<Option<f64>> {
        let Some(pid) = self.server.as_ref().and_then(Server::postmaster_pid) else { return Ok(None) };
        const OTHERS: &str = "SELECT count(*)::text FROM pg_stat_activity \
            WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.value(OTHERS)?.is_none_or(|others| others != "0")
            || children_of(pid).difference(&self.children).any(|child| !is_autovacuum(*child))
        {
            if Instant::now() > deadline {
                return Err("a session of the last run does not end".into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The second field is a name in parentheses, which may contain anything; cutime is the 16th.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| -> Result<f64> { Ok(fields.get(index).ok_or("no such field")?.parse()?) };
        Ok(Some((ticks(13)? + ticks(14)?) / TICKS_PER_SECOND))
    }

    pub(crate) fn execute(&mut self, sql: &str) -> Result<()> {
        Ok(self.session.execute(sql)?)
    }

    /// The first value of the first row.
    pub(crate) fn value(&mut self, sql: &str) -> Result<Option<String>> {
        let rows = self.session.query(sql, &[])?;
        Ok(rows.first().and_then(|row| row.text(0)).map(str::to_owned))
    }

    /// All values of the first row.
    pub(crate) fn row(&mut self, sql: &str) -> Result<Vec<Option<String>>> {
        let rows = self.session.query(sql, &[])?;
        let row = rows.first().ok_or("no row")?;
        Ok((0..row.len()).map(|index| row.text(index).map(str::to_owned)).collect())
    }

    pub(crate) fn copy_in(&mut self, sql: &str) -> Result<CopyIn<'_>> {
        Ok(self.session.copy_in(sql)?)
    }

    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.session
    }
}

/// The processes that this one is the parent of, those included that have ended and were not waited for.
fn children_of(parent: u32) -> BTreeSet<u32> {
    let mut children = BTreeSet::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The parent is the second field after the name in parentheses.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let found = fields.split_whitespace().nth(1).and_then(|pid| pid.parse::<u32>().ok());
        if found == Some(parent) {
            children.insert(pid);
        }
    }
    children
}

/// Whether a process is the server's own and comes and goes as it likes.
fn is_autovacuum(pid: u32) -> bool {
    let title = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&title).contains("autovacuum")
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_child_is_one_until_it_was_waited_for() {
        let this = std::process::id();
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert!(children_of(this).contains(&child.id()));
        assert!(!children_of(child.id()).contains(&this));
        drop(child.stdin.take());
        let pid = child.id();
        child.wait().unwrap();
        assert!(!children_of(this).contains(&pid));
    }
}
