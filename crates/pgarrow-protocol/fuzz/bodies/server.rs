//! The server of the targets that use a socket: one for each process, on a Unix socket, one connection at a
//! time.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use pgarrow_protocol::Config;

/// What the server does with its next connection.
pub(crate) type Play = Box<dyn FnOnce(&mut UnixStream) -> Option<()> + Send>;

static NEXT: Mutex<Option<Play>> = Mutex::new(None);

/// Held during one input: all inputs share the server.
static TURN: Mutex<()> = Mutex::new(());

/// Lets the server run `play` with the client's connection, to its end or until the client leaves.
pub(crate) fn with<T>(play: Play, client: impl FnOnce(&Config) -> T) -> T {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    *NEXT.lock().unwrap_or_else(PoisonError::into_inner) = Some(play);
    client(config())
}

fn config() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let folder: PathBuf = std::env::temp_dir().join(format!("pgarrow-frames-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for a socket");
        let path = folder.join(".s.PGSQL.5432");
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a socket");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let play = NEXT.lock().unwrap_or_else(PoisonError::into_inner).take();
                let _ = play.and_then(|play| play(&mut stream));
                let _ = stream.shutdown(std::net::Shutdown::Write);
                // Until the client leaves, so that it reads all that was sent.
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
            }
        });
        let conninfo =
            format!("host={} port=5432 user=u dbname=d password=pencil connect_timeout=20", folder.display());
        Config::parse_with(Some(&conninfo), &|_| None).expect("a connection string")
    })
}

/// A length, which counts itself, and the bytes after it.
pub(crate) fn read_body(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).ok()?.checked_sub(4)?];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

/// A message with its tag.
pub(crate) fn read_message(stream: &mut UnixStream) -> Option<Vec<u8>> {
    stream.read_exact(&mut [0]).ok()?;
    read_body(stream)
}

pub(crate) fn send(stream: &mut UnixStream, bytes: &[u8]) -> Option<()> {
    stream.write_all(bytes).ok()
}

pub(crate) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}
