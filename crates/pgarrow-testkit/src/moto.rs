//! moto: a server that behaves as S3, for the tests of object stores. It keeps objects in memory and checks no
//! credentials.

use std::env;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::capability::{self, Capability};

/// How long moto may take to begin: it imports much.
const PATIENCE: Duration = Duration::from_secs(60);

/// The name of its program.
const PROGRAM: &str = "moto_server";

/// Ends the program when our end of the pipe is closed, also by the end of this process, however that comes.
const SUPERVISOR: &str = r#"exec 3<&0
"$@" </dev/null 3<&- &
process=$!
(cat <&3 >/dev/null; kill -KILL $process 2>/dev/null) &
exec 3<&-
wait $process"#;

/// A running moto. It ends with this process.
#[derive(Debug)]
pub struct Moto {
    _process: Child,
    port: u16,
}

impl Moto {
    /// The one that all tests of this process share; `None` leaves the calling test out, as
    /// [`require!`](crate::require) does.
    pub fn for_test() -> Option<&'static Self> {
        let test = capability::test_name("a test of object stores");
        capability::require(Capability::Moto, &test).then(Self::shared)
    }

    fn shared() -> &'static Self {
        static SHARED: OnceLock<Moto> = OnceLock::new();
        SHARED.get_or_init(|| {
            let program = program().unwrap_or_else(|reason| panic!("no moto: {reason}"));
            // A port may be taken between looking and using it.
            (0..5).find_map(|_| Self::try_start(&program)).expect("moto starts")
        })
    }

    fn try_start(program: &PathBuf) -> Option<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        drop(listener);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SUPERVISOR, "moto"]).arg(program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut started = Self { _process: command.spawn().expect("a process for moto"), port };
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Some(started);
            }
            if started._process.try_wait().expect("a child").is_some() {
                return None;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("moto does not answer");
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes a bucket.
    ///
    /// # Panics
    ///
    /// When moto refuses.
    pub fn make_bucket(&self, name: &str) {
        let answer = self.ask("PUT", &format!("/{name}"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// How many uploads in parts have begun in a bucket, and neither been completed nor removed.
    pub fn n_uploads(&self, bucket: &str) -> usize {
        let answer = self.ask("GET", &format!("/{bucket}?uploads"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer.matches("<UploadId>").count()
    }

    /// The answer to a request without a body.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn ask(&self, method: &str, target: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("moto");
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.port
        );
        stream.write_all(request.as_bytes()).expect("a request to moto");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer of moto");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// The program: what `PGARROW_TEST_MOTO` names, or one on the PATH.
pub(crate) fn program() -> Result<PathBuf, String> {
    if let Some(named) = env::var_os("PGARROW_TEST_MOTO").filter(|name| !name.is_empty()) {
        let named = PathBuf::from(named);
        return match named.is_file() {
            true => Ok(named),
            false => Err(format!("PGARROW_TEST_MOTO names {}, which is not there", named.display())),
        };
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join(PROGRAM)).find(|program| program.is_file());
    found.ok_or_else(|| format!("{PROGRAM} is not on the PATH, and PGARROW_TEST_MOTO does not name it"))
}
