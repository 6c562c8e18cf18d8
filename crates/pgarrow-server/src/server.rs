//! A private PostgreSQL: started, ready, stopped, gone.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::cluster;
use crate::error::{Doing, ServerError};
use crate::find::find_or_fetch;
use crate::folder::Folder;
use crate::installation::Installation;
use crate::options::ServerOptions;
use crate::ready;
use crate::supervisor::Supervisor;

/// How long PostgreSQL may take until it answers.
const START_SECONDS: u64 = 60;

/// How often another port is tried when another process took ours first.
const PORT_TRIES: u32 = 5;

/// How much of the log an error quotes.
const LOG_LINES_IN_ERROR: usize = 20;

/// A running private PostgreSQL. Dropping it stops it and removes all its files.
#[derive(Debug)]
pub struct Server {
    supervisor: Supervisor,
    installation: Installation,
    password: Option<String>,
    port: u16,
    data: PathBuf,
    // Last: what the supervisor leaves behind is removed after it has ended.
    folder: Folder,
}

impl Server {
    /// Makes a fresh cluster and starts it: superuser `postgres`, UTF-8, on a free port of 127.0.0.1.
    ///
    /// Returns when the server takes connections. As root, it runs as the user `postgres` or `nobody`.
    ///
    /// # Errors
    ///
    /// When there is no PostgreSQL and none can be fetched, when `initdb` fails, or when the server does not
    /// answer within a minute; then with the end of its log.
    pub fn start(options: ServerOptions) -> Result<Self, ServerError> {
        options.check()?;
        let installation = match options.installation.clone() {
            Some(installation) => installation,
            None => find_or_fetch()?,
        };
        for _ in 1..PORT_TRIES {
            match Self::start_once(&installation, &options) {
                Err(ServerError::Start { log, .. }) if is_port_taken(&log) => {}
                result => return result,
            }
        }
        Self::start_once(&installation, &options)
    }

    fn start_once(installation: &Installation, options: &ServerOptions) -> Result<Self, ServerError> {
        let (folder, account) = Folder::create()?;
        cluster::create(folder.path(), account, installation, options)?;
        let log = create_log(folder.path(), account)?;
        let port = free_port()?;
        let supervisor = Supervisor::start(folder.path(), account, installation, port)?;
        let mut server = Self {
            supervisor,
            installation: installation.clone(),
            password: options.password.clone(),
            port,
            data: folder.path().join("data"),
            folder,
        };
        server.wait_until_ready(log, None)?;
        Ok(server)
    }

    /// Waits for an answer. `previous`, the process before a restart, does not count.
    fn wait_until_ready(&mut self, mut log: LogFile, previous: Option<u32>) -> Result<(), ServerError> {
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS);
        let failed = |reason: &str, log: &mut LogFile| {
            Err(ServerError::Start {
                reason: reason.to_owned(),
                log: last_lines(&log.read(), LOG_LINES_IN_ERROR),
            })
        };
        loop {
            // Asked first: a server that ends just after it was ready is seen in the next round.
            if self.supervisor.has_ended() {
                return failed("it ended by itself", &mut log);
            }
            // The pid file tells our server from another one on the same port.
            let pid = self.postmaster_if_ready();
            if pid.is_some() && pid != previous && ready::answers(self.port) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return failed(&format!("it did not answer within {START_SECONDS} seconds"), &mut log);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The process id from `postmaster.pid`, once the server has written that it is ready.
    ///
    /// Source: `src/include/utils/pidfile.h`; `pg_ctl -w` relies on the same line.
    fn postmaster_if_ready(&self) -> Option<u32> {
        let text = fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
        let mut lines = text.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        let status = lines.nth(6)?;
        (status.trim() == "ready").then_some(pid)
    }

    /// `postgres://postgres@127.0.0.1:PORT/postgres`, with the password if one was set.
    pub fn url(&self) -> String {
        self.url_for("postgres")
    }

    /// The URL of another database of this server.
    pub fn url_for(&self, database: &str) -> String {
        let password = self.password.as_deref().map(|text| format!(":{}", percent(text))).unwrap_or_default();
        format!("postgres://postgres{password}@127.0.0.1:{}/{}", self.port, percent(database))
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The password of the user `postgres`, if one is asked for.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// The folder of the Unix socket. Only the server's user can enter it.
    pub fn socket_dir(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder of the cluster.
    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// As PostgreSQL's `server_version_num`: 150018 is 15.18.
    pub fn version_num(&self) -> u32 {
        self.installation.version.num()
    }

    /// The PostgreSQL that is running.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// All that the server has logged. Empty once it is gone.
    pub fn log(&self) -> String {
        fs::read(self.folder.path().join("log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The process id of the postmaster, the parent of all backends. `None` when it is gone.
    pub fn postmaster_pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok()
    }

    /// Stops the server: connections are ended, and everything is removed when this returns.
    ///
    /// # Errors
    ///
    /// When it could not be stopped in time.
    pub fn stop(mut self) -> Result<(), ServerError> {
        self.supervisor.ask_to_stop();
        self.supervisor.wait().doing(|| "stop PostgreSQL".to_owned())
    }

    /// Ends the server as a crash would, for good: no message to clients, no checkpoint. Its data are gone.
    ///
    /// # Errors
    ///
    /// When the signal could not be sent or the server did not end in time.
    pub fn kill(&mut self) -> Result<(), ServerError> {
        self.signal("QUIT")?;
        self.supervisor.wait().doing(|| "kill PostgreSQL".to_owned())
    }

    /// Crashes the server and starts it again, with the same data (after recovery) on the same port.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn crash_and_restart(&mut self) -> Result<(), ServerError> {
        let previous = self.postmaster_pid();
        let again = self.folder.path().join("again");
        fs::write(&again, "").doing(|| format!("write {}", again.display()))?;
        self.signal("QUIT")?;
        let log = LogFile::open(&self.folder.path().join("log"))?;
        self.wait_until_ready(log, previous)
    }

    /// Sends a signal to the postmaster: `HUP` makes it read its configuration again.
    ///
    /// # Errors
    ///
    /// When it is gone.
    pub fn signal(&self, name: &str) -> Result<(), ServerError> {
        let doing = || format!("send SIG{name} to PostgreSQL");
        let pid = self
            .postmaster_pid()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it is not running"))
            .doing(doing)?;
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(pid.to_string())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .doing(doing)?;
        if status.success() { Ok(()) } else { Err(io::Error::other("it is not running")).doing(doing) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.supervisor.ask_to_stop();
        // A destructor cannot report an error; the folder is removed in any case.
        let _ = self.supervisor.wait();
    }
}

/// The server's log, held open: the supervisor removes the folder before we can read why it did.
struct LogFile(fs::File);

impl LogFile {
    fn open(path: &Path) -> Result<Self, ServerError> {
        fs::File::open(path).map(Self).doing(|| format!("open {}", path.display()))
    }

    fn read(&mut self) -> String {
        let mut bytes = Vec::new();
        // What cannot be read is left out of an error that is already being reported.
        let _ = io::Read::read_to_end(&mut self.0, &mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn create_log(folder: &Path, account: Account) -> Result<LogFile, ServerError> {
    let path = folder.join("log");
    fs::File::create_new(&path).doing(|| format!("create {}", path.display()))?;
    account.own(&path)?;
    LogFile::open(&path)
}

/// A port that is free now. It may be taken before PostgreSQL binds it; then the start is tried again.
fn free_port() -> Result<u16, ServerError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .doing(|| "find a free port".to_owned())
}

fn is_port_taken(log: &str) -> bool {
    log.contains("could not create any TCP/IP sockets") || log.contains("Address already in use")
}

fn last_lines(log: &str, n_lines: usize) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines.get(lines.len().saturating_sub(n_lines)..).unwrap_or_default().join("\n")
}

/// Percent-encodes the characters that have a meaning in a URL.
fn percent(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_survives_any_name_and_password() {
        assert_eq!(percent("a b/ü%@:"), "a%20b%2F%C3%BC%25%40%3A");
        assert_eq!(percent("plain-1._~"), "plain-1._~");
    }

    #[test]
    fn an_error_quotes_the_end_of_the_log() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a\n", 2), "a");
        assert_eq!(last_lines("", 2), "");
    }
}
