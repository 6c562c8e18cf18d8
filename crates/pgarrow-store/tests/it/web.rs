//! Web servers: they are read, and nothing else.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use pgarrow_sink::SinkErrorKind;
use pgarrow_store::Store;
use pgarrow_testkit::front::{Fate, Front, answer, header};

use crate::{noise, read_all};

const MIB: usize = 1 << 20;

/// Serves files, with pieces of them or without.
fn serve(files: &[(&str, Vec<u8>)], has_pieces: bool) -> Front {
    let files: BTreeMap<String, Vec<u8>> =
        files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.clone())).collect();
    Front::start(0, move |request| {
        let target = request.head.split(' ').nth(1).unwrap();
        let Some(bytes) = files.get(target) else {
            return Fate::Answer(answer("404 Not Found", "", b"no such file"));
        };
        let range = header(&request.head, "range").filter(|_| has_pieces);
        let Some(range) = range else {
            return Fate::Answer(answer("200 OK", "", bytes));
        };
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let first: usize = first.parse().unwrap();
        let last = last.parse::<usize>().unwrap().min(bytes.len().saturating_sub(1));
        if first >= bytes.len() {
            return Fate::Answer(answer("416 Range Not Satisfiable", "", b""));
        }
        let headers = format!("ETag: \"one\"\r\nContent-Range: bytes {first}-{last}/{}\r\n", bytes.len());
        Fate::Answer(answer("206 Partial Content", &headers, &bytes[first..=last]))
    })
}

#[test]
fn files_are_read_with_pieces_and_without() {
    let files = [("/lake/a/b", noise(20 * MIB)), ("/lake/empty", vec![]), ("/lake/%20%C3%BC", noise(10))];
    for has_pieces in [true, false] {
        let front = serve(&files, has_pieces);
        let store = Store::open(&format!("http://127.0.0.1:{}/lake/", front.port())).unwrap();
        for (path, bytes) in [("a/b", &files[0].1), ("empty", &files[1].1), (" ü", &files[2].1)] {
            let read = read_all(store.reader(path).unwrap().unwrap()).unwrap();
            assert!(read == *bytes, "{path}, {has_pieces}");
        }
        assert!(store.read("missing").unwrap().is_none());
    }
}

#[test]
fn an_answer_that_breaks_off_is_an_error() {
    let whole = answer("200 OK", "", &noise(20 * MIB));
    let front = Front::start(0, move |_| Fate::Answer(whole[..10 * MIB].to_vec()));
    let store = Store::open(&format!("http://127.0.0.1:{}", front.port())).unwrap();
    let error = read_all(store.reader("x").unwrap().unwrap()).unwrap_err();
    assert!(error.to_string().contains("broke"), "{error}");
}

#[test]
fn nothing_is_written_to_a_web_server() {
    let front = serve(&[], true);
    let location = format!("http://127.0.0.1:{}/x", front.port());
    let store = Store::open(&location).unwrap();
    for error in [
        store.create("y").unwrap_err(),
        store.create_new("y", b"").unwrap_err(),
        store.replace("y", b"").unwrap_err(),
        store.remove("y").unwrap_err(),
        store.list("").unwrap_err(),
    ] {
        assert_eq!(error.kind(), SinkErrorKind::Unsupported);
        assert!(error.to_string().contains("can only be read"), "{error}");
        assert!(error.to_string().contains(&location), "{error}");
    }
    assert_eq!(front.n_requests(), 0);
}

/// TLS has a provider of its cryptography, and what is no TLS is an error.
#[test]
fn a_server_without_tls_is_said() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            stream.unwrap().write_all(&answer("400 Bad Request", "", b"")).unwrap();
        }
    });
    let options = [("max_retries".to_owned(), "0".to_owned())];
    let store = Store::open_with(&format!("https://127.0.0.1:{port}"), &options).unwrap();
    let error = store.read("x").unwrap_err().to_string();
    assert!(error.contains("cannot be reached: received corrupt message"), "{error}");
}
