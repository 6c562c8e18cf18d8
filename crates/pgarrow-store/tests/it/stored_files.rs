//! Files that are read in any order, and stay one version of themselves.

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use pgarrow_sink::SinkErrorKind;
use pgarrow_store::{Store, StoredFile};
use pgarrow_testkit::front::{Fate, Front, answer, header};
use pgarrow_testkit::{Emulator, emulator};

use crate::noise;

const MIB: usize = 1 << 20;

fn read(file: &StoredFile, range: Range<usize>) -> Vec<u8> {
    file.fetch(range.start as u64..range.end as u64).unwrap().wait().unwrap().to_vec()
}

#[track_caller]
fn assert_parts(file: &StoredFile, bytes: &[u8]) {
    let n = bytes.len();
    assert_eq!(file.bytes(), n as u64);
    for range in [n - 8..n, 0..1, n / 2..n / 2 + 5, 0..n.min(8 * MIB), 7..7] {
        assert!(read(file, range.clone()) == bytes[range.clone()], "{range:?}");
    }
    // Several at once, and one that nobody waits for.
    let parts: Vec<_> = (0..4_u64).map(|at| file.fetch(at * 10..at * 10 + 10).unwrap()).collect();
    let read: Vec<u8> = parts.into_iter().skip(1).flat_map(|part| part.wait().unwrap()).collect();
    assert_eq!(read, bytes[10..40]);
    let n = n as u64;
    for range in [n..n + 1, 0..StoredFile::PART_BYTES_MAX as u64 + 1, u64::MAX - 1..u64::MAX] {
        assert!(file.fetch(range).is_err());
    }
}

fn store(port: u16, bucket: &str) -> Store {
    let options = emulator::s3_environment(port).map(|(name, value)| (name.to_ascii_lowercase(), value));
    Store::open_with(&format!("s3://{bucket}/lake"), &options).unwrap()
}

#[test]
fn objects_are_read_by_parts_of_one_version() {
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("parts");
    let store = store(moto.port(), "parts");
    let bytes = noise(20 * MIB);
    let mut output = store.create("a/b").unwrap();
    output.write_all(&bytes).unwrap();
    output.publish().unwrap();
    let file = StoredFile::open(&store, "a/b").unwrap().unwrap();
    assert_eq!(file.url(), "s3://parts/lake/a/b");
    assert!(file.version().is_some());
    assert_parts(&file, &bytes);
    assert!(StoredFile::open(&store, "a").unwrap().is_none());
    assert!(StoredFile::open(&store, "../x").is_err());
    // The store's own location may be a file's.
    let options =
        emulator::s3_environment(moto.port()).map(|(name, value)| (name.to_ascii_lowercase(), value));
    let own = Store::open_with("s3://parts/lake/a/b", &options).unwrap();
    assert_eq!(StoredFile::open(&own, "").unwrap().unwrap().url(), "s3://parts/lake/a/b");
    store.replace("a/b", b"other").unwrap();
    let error = file.fetch(0..1).unwrap().wait().unwrap_err();
    assert!(error.to_string().contains("the object was replaced meanwhile"), "{error}");
}

/// rclone ignores the condition that an object is still the same.
#[test]
fn another_version_is_noticed_where_conditions_are_ignored() {
    let Some(rclone) = Emulator::s3_without_conditions() else { return };
    rclone.make_bucket("partsr");
    let store = store(rclone.port(), "partsr");
    store.replace("x", &noise(100)).unwrap();
    let file = StoredFile::open(&store, "x").unwrap().unwrap();
    assert_parts(&file, &noise(100));
    store.replace("x", &noise(200)[100..]).unwrap();
    let error = file.fetch(0..1).unwrap().wait().unwrap_err();
    assert!(error.to_string().contains("the object was replaced meanwhile"), "{error}");
}

/// A web server whose one file has a mark of its version, sends parts, or neither.
fn serve(bytes: &[u8], mark: &'static str) -> (Front, Arc<AtomicBool>) {
    let (bytes, is_replaced) = (bytes.to_vec(), Arc::new(AtomicBool::new(false)));
    let for_front = Arc::clone(&is_replaced);
    let front = Front::start(0, move |request| {
        let mark = if for_front.load(Ordering::SeqCst) { "\"two\"" } else { mark };
        let range = header(&request.head, "range").filter(|_| !mark.is_empty());
        let Some(range) = range else { return Fate::Answer(answer("200 OK", "", &bytes)) };
        let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let first: usize = first.parse().unwrap();
        let last = last.parse::<usize>().unwrap().min(bytes.len() - 1);
        let headers = format!("ETag: {mark}\r\nContent-Range: bytes {first}-{last}/{}\r\n", bytes.len());
        Fate::Answer(answer("206 Partial Content", &headers, &bytes[first..=last]))
    });
    (front, is_replaced)
}

#[test]
fn files_of_web_servers_are_read_by_parts_or_copied() {
    let bytes = noise(9 * MIB);
    for mark in ["\"one\"", "W/\"weak\"", ""] {
        let (front, is_replaced) = serve(&bytes, mark);
        let store = Store::open(&format!("http://127.0.0.1:{}/a%20b.parquet", front.port())).unwrap();
        let file = StoredFile::open(&store, "").unwrap().unwrap();
        assert_eq!(file.version(), Some(mark).filter(|mark| mark.starts_with('"')));
        assert_parts(&file, &bytes);
        is_replaced.store(true, Ordering::SeqCst);
        match file.version() {
            // The server does not know the condition; what it sends says that it is another version.
            Some(_) => {
                let error = file.fetch(0..1).unwrap().wait().unwrap_err();
                assert!(error.to_string().contains("replaced meanwhile"), "{error}");
            }
            None => assert_parts(&file, &bytes),
        }
    }
}

#[test]
fn a_wait_that_is_stopped_ends() {
    let began = Instant::now();
    let is_stopped = Arc::new(AtomicBool::new(false));
    let of_front = Arc::clone(&is_stopped);
    let front = Front::start(0, move |_| {
        of_front.store(true, Ordering::SeqCst);
        Fate::Stall
    });
    let store = Store::open(&format!("http://127.0.0.1:{}/x", front.port())).unwrap();
    let store = store.stopped_when(move || is_stopped.load(Ordering::SeqCst));
    let error = StoredFile::open(&store, "").unwrap_err();
    assert_eq!(error.kind(), SinkErrorKind::Io);
    assert!(error.to_string().contains("stopped"), "{error}");
    assert!(began.elapsed().as_secs() < 25, "it has waited for the server");
}
