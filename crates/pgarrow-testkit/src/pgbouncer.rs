//! PgBouncer in front of a server: a connection pooler as in production.
//!
//! Our own process, with a configuration in a folder of its own. If we are root, which PgBouncer refuses, it
//! runs as an unprivileged user. It trusts every client.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use postgres::{Client, NoTls, SimpleQueryMessage};

/// How long PgBouncer may take to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where Debian installs it, and where others do.
const PROGRAMS: [&str; 3] = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"];

/// Ends PgBouncer when our end of the pipe is closed, also by the end of this process, however that comes.
const SUPERVISOR: &str = r#"exec 3<&0
"$@" </dev/null 3<&- &
process=$!
(cat <&3 >/dev/null; kill -KILL $process 2>/dev/null) &
exec 3<&-
wait $process"#;

/// A running PgBouncer. Dropping it ends it.
#[derive(Debug)]
pub struct PgBouncer {
    process: Child,
    folder: PathBuf,
    port: u16,
}

impl PgBouncer {
    /// Starts one in front of the databases of a server on this machine. `settings` are lines of its
    /// configuration, such as `pool_mode = transaction`.
    ///
    /// # Panics
    ///
    /// When it cannot be started. A test that can be left out says so first:
    /// `require!(Capability::PgBouncer)`.
    pub fn start(server_port: u16, settings: &str) -> Self {
        let program = program().unwrap_or_else(|reason| panic!("no PgBouncer: {reason}"));
        // A port may be taken between looking and using it.
        for _ in 0..5 {
            if let Some(started) = Self::try_start(&program, server_port, settings) {
                return started;
            }
        }
        panic!("PgBouncer does not start");
    }

    fn try_start(program: &Path, server_port: u16, settings: &str) -> Option<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        drop(listener);
        // Not below target/: another user has to reach it.
        let folder = std::env::temp_dir().join(format!("pgarrow-pgbouncer-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for PgBouncer");
        let account = unprivileged();
        let file = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).expect("a file for PgBouncer");
            if let Some((uid, gid)) = account {
                chown(&path, Some(uid), Some(gid)).expect("another owner");
            }
            path
        };
        file("users.txt", "\"postgres\" \"\"\n");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {0}/users.txt\n\
             admin_users = postgres\nlogfile = {0}/log\n{settings}\n",
            folder.display()
        );
        let configuration = file("pgbouncer.ini", &text);
        if let Some((uid, gid)) = account {
            chown(&folder, Some(uid), Some(gid)).expect("another owner");
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("other permissions");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SUPERVISOR, "pgbouncer"]).arg(program).arg("-q").arg(&configuration);
        command.current_dir(&folder).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((uid, gid)) = account {
            command.uid(uid).gid(gid);
        }
        let process = command.spawn().expect("a process for PgBouncer");
        let mut started = Self { process, folder, port };
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Some(started);
            }
            if started.process.try_wait().expect("a child").is_some() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("PgBouncer does not answer: {}", started.log());
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database, through it.
    ///
    /// # Panics
    ///
    /// When `url` is not a URL with a user.
    pub fn url_of(&self, url: &str) -> String {
        let (front, rest) = url.split_once('@').expect("a URL with a user");
        let address_bytes = rest.find(['/', '?']).unwrap_or(rest.len());
        let (_, rest) = rest.split_at(address_bytes);
        let separator = if rest.contains('?') { '&' } else { '?' };
        format!("{front}@127.0.0.1:{}{rest}{separator}sslmode=disable", self.port)
    }

    /// Runs a command of its console, such as `PAUSE` or `SHOW POOLS`; the rows of its answer as text.
    ///
    /// # Panics
    ///
    /// When it refuses.
    pub fn console(&self, command: &str) -> Vec<Vec<Option<String>>> {
        let url = format!("postgres://postgres@127.0.0.1:{}/pgbouncer", self.port);
        let mut client = Client::connect(&url, NoTls).expect("PgBouncer's console");
        let messages = client.simple_query(command).unwrap_or_else(|cause| panic!("{command}: {cause:?}"));
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
            }
            _ => None,
        });
        rows.collect()
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = fs::File::open(self.folder.join("log")) {
            let length = file.metadata().map_or(0, |metadata| metadata.len());
            let _ = file.seek(SeekFrom::Start(length.saturating_sub(4096)));
            let _ = file.read_to_string(&mut text);
        }
        text
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The program.
pub(crate) fn program() -> Result<PathBuf, String> {
    let found = PROGRAMS.iter().map(PathBuf::from).find(|path| path.exists());
    found.ok_or_else(|| format!("none of {} is there", PROGRAMS.join(", ")))
}

/// User and group to run as, if we are root.
fn unprivileged() -> Option<(u32, u32)> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    ["postgres", "nobody"].iter().find_map(|name| {
        let mut fields =
            passwd.lines().find(|line| line.starts_with(&format!("{name}:")))?.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}
