//! An HTTP server of this process, in front of an object store: it answers itself, passes on, or fails.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Fate {
    /// Passed on.
    Pass,
    /// This is the answer.
    Answer(Vec<u8>),
    /// The request is passed on, and this is the answer all the same.
    AnswerInstead(Vec<u8>),
    /// The connection is reset before the request is passed on.
    Reset,
    /// The request is passed on, and the connection reset instead of an answer.
    LoseAnswer,
    /// Nothing is read any more, and nothing answered.
    Stall,
}

/// A request, without its body.
#[derive(Debug)]
pub struct Request {
    /// How many came before.
    pub number: usize,
    /// The request line and the headers.
    pub head: String,
}

impl Request {
    /// Whether it has this method, and this in its target.
    pub fn is(&self, method: &str, part_of_target: &str) -> bool {
        let mut words = self.head.split(' ');
        words.next() == Some(method) && words.next().is_some_and(|target| target.contains(part_of_target))
    }
}

type Judge = dyn Fn(&Request) -> Fate + Send + Sync;

struct Shared {
    judge: Box<Judge>,
    backend: u16,
    n_requests: AtomicUsize,
    /// moto looks whether an object is there and makes it in two steps: what depends on it being one, as with
    /// every real store, goes one by one.
    turn: Mutex<()>,
    is_over: AtomicBool,
}

/// A running server. It ends when it is dropped.
#[derive(Debug)]
pub struct Front {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Front {
    /// Starts one in front of the server at port `backend`.
    pub fn start(backend: u16, judge: impl Fn(&Request) -> Fate + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let shared = Arc::new(Shared {
            judge: Box::new(judge),
            backend,
            n_requests: AtomicUsize::new(0),
            turn: Mutex::new(()),
            is_over: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if for_thread.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&for_thread);
                // A client may go at any time.
                thread::spawn(move || stream.and_then(|stream| shared.serve(stream)));
            }
        });
        Self { port, shared, thread: Some(thread) }
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many requests have come.
    pub fn n_requests(&self) -> usize {
        self.shared.n_requests.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("backend", &self.backend).finish_non_exhaustive()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// One request; then the connection ends.
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let (head, mut body) = read_head(&mut client)?;
        let number = self.n_requests.fetch_add(1, Ordering::Relaxed);
        let request = Request { number, head };
        let fate = (self.judge)(&request);
        if matches!(fate, Fate::Stall) {
            while !self.is_over.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(20));
            }
            return Ok(());
        }
        if matches!(fate, Fate::Reset) {
            return reset(client);
        }
        let n_bytes = body_bytes(&request.head);
        let begun = body.len();
        body.resize(n_bytes.max(begun), 0);
        client.read_exact(&mut body[begun..])?;
        if let Fate::Answer(answer) = &fate {
            return client.write_all(answer);
        }
        let answer = self.pass_on(&request.head, &body)?;
        match fate {
            Fate::LoseAnswer => reset(client),
            Fate::AnswerInstead(answer) => client.write_all(&answer),
            _ => client.write_all(&answer),
        }
    }

    fn pass_on(&self, head: &str, body: &[u8]) -> io::Result<Vec<u8>> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut backend = TcpStream::connect((Ipv4Addr::LOCALHOST, self.backend))?;
        let is_left_out = |line: &str| {
            line.is_empty() || line.starts_with("connection:") || line == "authorization: bearer"
        };
        let is_kept = |line: &&str| !is_left_out(line.to_ascii_lowercase().trim());
        let lines: Vec<&str> = head.split("\r\n").filter(is_kept).map(as_s3).collect();
        // moto wants to see that there is a token, and takes any.
        let is_signed = |line: &&str| line.to_ascii_lowercase().starts_with("authorization: aws");
        let token = if lines.iter().any(is_signed) { "" } else { "Authorization: Bearer x\r\n" };
        let head = format!("{}\r\n{token}Connection: close\r\n\r\n", lines.join("\r\n"));
        backend.write_all(head.as_bytes())?;
        backend.write_all(body)?;
        let mut answer = Vec::new();
        backend.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

/// What Google's requests have in other words than those of S3.
fn as_s3(line: &str) -> &str {
    match line {
        "x-goog-if-generation-match: 0" => "If-None-Match: *",
        _ => line,
    }
}

/// The head of a request, and what came with it of the body.
fn read_head(client: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), body));
        }
        match client.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n_bytes => bytes.extend_from_slice(&buffer[..n_bytes]),
        }
    }
}

fn body_bytes(head: &str) -> usize {
    header(head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// The value of a header.
pub fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

fn reset(client: TcpStream) -> io::Result<()> {
    SockRef::from(&client).set_linger(Some(Duration::ZERO))
}

/// An answer with a body.
pub fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// An error as S3 answers it. Its message has `message` in it.
pub fn s3_error(status: &str, code: &str, message: &str) -> Vec<u8> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    answer(status, "Content-Type: application/xml\r\n", body.as_bytes())
}
