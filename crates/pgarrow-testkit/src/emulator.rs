//! Servers that behave as object stores: moto and rclone as S3, Azurite as Azure's. They keep objects in
//! memory.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::capability::{self, Capability};
use crate::program;

/// How long one may take to begin: they import much.
const PATIENCE: Duration = Duration::from_secs(60);

/// What stands for the port in options.
const PORT: &str = "{port}";

/// The account at Azurite, and its key.
pub const AZURE_ACCOUNT: [&str; 2] = ["account", "Y2FuYXJ5MDEyMzQ1Njc4OQ=="];

/// The signature of the one request with which we make a container. Its date is signed, and always the same.
const CONTAINER_SIGNATURE: &str = "v+yXCIMiu19tWn4zc96MRrfCfpjexme9T0tzT3eg3Qo=";

/// Ends the program when our end of the pipe is closed, also by the end of this process, however that comes.
const SUPERVISOR: &str = r#"exec 3<&0
"$@" </dev/null 3<&- &
process=$!
(cat <&3 >/dev/null; kill -KILL $process 2>/dev/null) &
exec 3<&-
wait $process"#;

/// A running server. It ends with this process.
#[derive(Debug)]
pub struct Emulator {
    process: Child,
    port: u16,
}

impl Emulator {
    /// The S3 that all tests of this process share; `None` leaves the calling test out, as
    /// [`require!`](crate::require) does. It checks no credentials.
    pub fn s3() -> Option<&'static Self> {
        static SHARED: OnceLock<Emulator> = OnceLock::new();
        let start = || Self::start(program::moto(), &["-H", "127.0.0.1", "-p", PORT]);
        is_wanted(Capability::Moto).then(|| SHARED.get_or_init(start))
    }

    /// As [`s3`](Self::s3), rclone's, which ignores conditions: a request to make an object that must not be
    /// there replaces the one that is.
    pub fn s3_without_conditions() -> Option<&'static Self> {
        static SHARED: OnceLock<Emulator> = OnceLock::new();
        let address = format!("127.0.0.1:{PORT}");
        let start = || Self::start(program::rclone(), &["serve", "s3", "--addr", &address, ":memory:"]);
        is_wanted(Capability::Rclone).then(|| SHARED.get_or_init(start))
    }

    /// As [`s3`](Self::s3), Azure's, with one account and in it one container: `container`.
    pub fn azure() -> Option<&'static Self> {
        static SHARED: OnceLock<Emulator> = OnceLock::new();
        let start = || {
            let options = [
                "--silent",
                "--disableTelemetry",
                "--inMemoryPersistence",
                "--skipApiVersionCheck",
                "--blobPort",
                PORT,
            ];
            let started = Self::start(program::azurite(), &options);
            let [account, _] = AZURE_ACCOUNT;
            let headers = format!(
                "x-ms-date: Sat, 01 Jan 2000 00:00:00 GMT\r\nx-ms-version: 2021-08-06\r\n\
                 Authorization: SharedKey {account}:{CONTAINER_SIGNATURE}\r\n"
            );
            let answer = started.ask("PUT", &format!("/{account}/container?restype=container"), &headers);
            assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
            started
        };
        is_wanted(Capability::Azurite).then(|| SHARED.get_or_init(start))
    }

    /// Starts a program with these options, in which [`PORT`] stands for the port.
    fn start(program: Result<PathBuf, String>, options: &[&str]) -> Self {
        let program = program.unwrap_or_else(|reason| panic!("no program: {reason}"));
        // A port may be taken between looking and using it.
        let started = (0..5).find_map(|_| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            let port = listener.local_addr().expect("a bound socket has an address").port();
            drop(listener);
            let mut command = Command::new("/bin/sh");
            command.args(["-c", SUPERVISOR, "emulator"]).arg(&program);
            command.args(options.iter().map(|option| option.replace(PORT, &port.to_string())));
            command.env("AZURITE_ACCOUNTS", AZURE_ACCOUNT.join(":"));
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            let process = command.spawn().expect("a process");
            Self { process, port }.answering()
        });
        started.unwrap_or_else(|| panic!("{} does not start", program.display()))
    }

    /// Waits until it answers; `None` if it has ended.
    fn answering(mut self) -> Option<Self> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return Some(self);
            }
            if self.process.try_wait().expect("a child").is_some() {
                return None;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("an emulator does not answer");
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The environment in which a program finds this S3.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        s3_environment(self.port)
    }

    /// Makes a bucket of S3.
    ///
    /// # Panics
    ///
    /// When that is refused.
    pub fn make_bucket(&self, name: &str) {
        let answer = self.ask("PUT", &format!("/{name}"), "");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// The names of the objects in a bucket of S3.
    ///
    /// # Panics
    ///
    /// When they are not said.
    pub fn names(&self, bucket: &str) -> Vec<String> {
        let answer = self.ask("GET", &format!("/{bucket}?list-type=2"), "");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let keys = answer.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        keys.map(str::to_owned).collect()
    }

    /// How many uploads in parts have begun in a bucket of S3, and neither been completed nor removed.
    ///
    /// # Panics
    ///
    /// When that is not said.
    pub fn n_uploads(&self, bucket: &str) -> usize {
        let answer = self.ask("GET", &format!("/{bucket}?uploads"), "");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer.matches("<UploadId>").count()
    }

    /// The answer to a request without a body.
    fn ask(&self, method: &str, target: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("a connection");
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: 0\r\n{headers}\
             Connection: close\r\n\r\n",
            self.port
        );
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// The environment in which a program finds the S3 at a port of this machine.
pub fn s3_environment(port: u16) -> [(&'static str, String); 5] {
    [
        ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_REGION", "eu-central-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "someone".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "canary".to_owned()),
    ]
}

fn is_wanted(capability: Capability) -> bool {
    capability::require(capability, &capability::test_name("a test of object stores"))
}
