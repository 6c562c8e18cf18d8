//! A server that plays a script: one connection at a time, step by step, legal or not.

use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use pgarrow_protocol::Config;

pub(crate) enum Step {
    /// Reads one message with this tag and skips its body.
    Expect(u8),
    /// Reads the startup message, or another one without a tag, and skips it.
    ExpectUntagged,
    /// Reads exactly these bytes.
    ExpectBytes(Vec<u8>),
    Send(Vec<u8>),
    /// Sends in pieces of this many bytes.
    Slices(usize, Vec<u8>),
    /// Answers a SCRAM or md5 exchange.
    Run(fn(&mut TcpStream)),
    /// Waits until the client closes.
    AwaitClose,
}

pub(crate) struct Server {
    port: u16,
    thread: JoinHandle<()>,
}

impl Server {
    /// One script for each connection.
    pub(crate) fn start(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            // Kept open until the end, so that a client sees a close only where the script has one.
            for script in scripts {
                let (mut stream, _) = listener.accept().unwrap();
                stream.set_nodelay(true).unwrap();
                for step in script {
                    if play(&mut stream, step).is_err() {
                        break; // the client gave up; its own assertions report it
                    }
                }
            }
        });
        Self { port, thread }
    }

    pub(crate) fn config(&self) -> Config {
        self.config_with("sslmode=disable")
    }

    /// With these parameters added.
    pub(crate) fn config_with(&self, parameters: &str) -> Config {
        let conninfo =
            format!("host=127.0.0.1 port={} user=u dbname=d password=pencil {parameters}", self.port);
        Config::parse_with(Some(&conninfo), &|_| None).unwrap()
    }

    pub(crate) fn join(self) {
        self.thread.join().unwrap();
    }
}

fn play(stream: &mut TcpStream, step: Step) -> std::io::Result<()> {
    match step {
        Step::Expect(tag) => {
            let (found, _) = read_message(stream)?;
            assert_eq!(char::from(found), char::from(tag));
        }
        Step::ExpectUntagged => {
            read_body(stream)?;
        }
        Step::ExpectBytes(expected) => {
            let mut found = vec![0; expected.len()];
            stream.read_exact(&mut found)?;
            assert_eq!(found, expected);
        }
        Step::Send(bytes) => stream.write_all(&bytes)?,
        Step::Slices(n_bytes, bytes) => {
            for slice in bytes.chunks(n_bytes) {
                stream.write_all(slice)?;
            }
        }
        Step::Run(run) => run(stream),
        Step::AwaitClose => {
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
    Ok(())
}

pub(crate) fn read_message(stream: &mut impl Read) -> std::io::Result<(u8, Vec<u8>)> {
    let mut tag = [0];
    stream.read_exact(&mut tag)?;
    Ok((tag[0], read_body(stream)?))
}

fn read_body(stream: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
    stream.read_exact(&mut body)?;
    Ok(body)
}

pub(crate) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend_from_slice(&(u32::try_from(body.len()).unwrap() + 4).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// AuthenticationOk, parameters, key, ReadyForQuery.
pub(crate) fn welcome() -> Vec<u8> {
    [
        message(b'R', &[0, 0, 0, 0]),
        message(b'S', b"client_encoding\0UTF8\0"),
        message(b'S', b"server_version\x0015.18\0"),
        message(b'K', &[0, 0, 0, 7, 0, 0, 0, 9]),
        ready(b'I'),
    ]
    .concat()
}

pub(crate) fn ready(status: u8) -> Vec<u8> {
    message(b'Z', &[status])
}

/// A connection that is logged in and then goes on with `steps`.
pub(crate) fn logged_in(steps: Vec<Step>) -> Vec<Step> {
    let mut script = vec![Step::ExpectUntagged, Step::Send(welcome())];
    script.extend(steps);
    script
}
