//! Servers that begin a COPY and then run a test's play.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver};

use pgarrow_protocol::{Config, Session};

use crate::script::{message, read_message, ready, welcome};
use crate::tls::{RootFile, TlsServer, authority, log_in};

pub(super) fn data(payload: &[u8]) -> Vec<u8> {
    message(b'd', payload)
}

pub(super) fn complete(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0").as_bytes())
}

pub(super) fn done() -> Vec<u8> {
    [complete("SELECT 1"), ready(b'I')].concat()
}

pub(super) fn error(severity: &str, sqlstate: &str) -> Vec<u8> {
    message(b'E', format!("S{severity}\0V{severity}\0C{sqlstate}\0Mbad\0\0").as_bytes())
}

pub(super) fn notice(n_bytes: usize) -> Vec<u8> {
    message(b'N', &[&b"SNOTICE\0VNOTICE\0C00000\0M"[..], &vec![b'n'; n_bytes], b"\0\0"].concat())
}

pub(super) const COPY: &str = "copy t from stdin";
pub(super) const STARTED: &[u8] = b"G\0\0\0\x0b\x01\0\x02\0\x01\0\x01";

/// Both directions of a connection, in plaintext or through TLS.
pub(super) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// What a server does after it has begun the COPY. The receiver's channel closes when the client has left.
pub(super) type Play = Box<dyn FnOnce(&mut dyn Stream, &Receiver<()>) -> std::io::Result<()> + Send>;

/// Runs `client` against a server that begins a COPY and goes on with `play`: in plaintext, and through TLS.
pub(super) fn both_ways(play: impl Fn() -> Play, client: impl Fn(&mut Session)) {
    in_the_clear(play(), &client);
    let ours = authority();
    let root = RootFile::new("copy-in", &ours.pem());
    let (stays, left) = mpsc::channel();
    let play = play();
    let server = TlsServer::new(&ours, "localhost").start(vec![Box::new(move |stream| {
        log_in(stream)?;
        begin(stream)?;
        play(stream, &left)
    })]);
    let mut session = Session::connect(&server.config("verify-full", &root, "")).unwrap();
    assert!(session.is_encrypted());
    client(&mut session);
    drop((session, stays));
    server.join();
}

pub(super) fn in_the_clear(play: Play, client: impl Fn(&mut Session)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stays, left) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener); // a cancel request finds no listener
        welcome_client(&mut stream);
        // If the client leaves early, its own assertions report why.
        let _ = begin(&mut stream).and_then(|()| play(&mut stream, &left));
    });
    let conninfo = format!("host=127.0.0.1 port={port} user=u sslmode=disable");
    let mut session = Session::connect(&Config::parse_with(Some(&conninfo), &|_| None).unwrap()).unwrap();
    client(&mut session);
    drop((session, stays));
    thread.join().unwrap();
}

pub(super) fn welcome_client(stream: &mut impl Stream) {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    stream.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize - 4]).unwrap();
    stream.write_all(&welcome()).unwrap();
}

pub(super) fn begin(stream: &mut dyn Stream) -> std::io::Result<()> {
    assert_eq!(read(stream)?.0, b'Q');
    say(stream, STARTED)
}

pub(super) fn say(stream: &mut dyn Stream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}

pub(super) fn read(mut stream: &mut dyn Stream) -> std::io::Result<(u8, Vec<u8>)> {
    read_message(&mut stream)
}

/// The next message that is no data, as a server reads on after it has refused a COPY.
pub(super) fn read_past_data(stream: &mut dyn Stream) -> std::io::Result<u8> {
    loop {
        match read(stream)?.0 {
            b'd' => {}
            tag => return Ok(tag),
        }
    }
}
