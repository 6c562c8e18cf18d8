//! What an S3 has to do, with moto.

use std::io::Write;
use std::sync::Barrier;
use std::thread;

use pgarrow_sink::SinkErrorKind;
use pgarrow_store::Store;
use pgarrow_testkit::Emulator;
use pgarrow_testkit::front::{Fate, Front};

use crate::{noise, open, paths, read_all};

const MIB: usize = 1 << 20;

#[test]
fn objects_of_all_sizes_come_back() {
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("sizes");
    let store = open(moto.port(), "s3://sizes/lake/", &[]);
    assert_eq!(store.location(), "s3://sizes/lake");
    assert!(store.list("").unwrap().is_empty() && store.read("x").unwrap().is_none());
    let mut expected = Vec::new();
    for n_bytes in [0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 40 * MIB] {
        let bytes = noise(n_bytes);
        let path = format!("size/{n_bytes:08}");
        let mut output = store.create(&path).unwrap().with_sha256();
        assert_eq!(output.path().unwrap().to_str().unwrap(), format!("s3://sizes/lake/{path}"));
        // Neither parts nor buffers of what writes.
        for piece in bytes.chunks(333_333) {
            output.write_all(piece).unwrap();
        }
        assert!(store.read(&path).unwrap().is_none(), "{path} is there before it is published");
        let published = output.publish().unwrap();
        assert_eq!(published.bytes, n_bytes as u64);
        assert!(read_all(store.reader(&path).unwrap().unwrap()).unwrap() == bytes, "{path}");
        expected.push((path, n_bytes as u64));
    }
    assert_eq!(paths(&store, ""), expected);
    assert_eq!(paths(&store, "size"), expected);
    assert!(paths(&store, "siz").is_empty());
    assert_eq!(moto.n_uploads("sizes"), 0);
}

#[test]
fn files_are_made_once_replaced_and_removed() {
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("names");
    let store = open(moto.port(), "s3://names", &[]);
    let other = open(moto.port(), "s3://names/other", &[]);
    for path in ["a/b", "with space+%20&=?#.x", "ü/🦀"] {
        assert!(store.create_new(path, b"one").unwrap());
        assert!(!store.create_new(path, b"one").unwrap() && !store.create_new(path, b"two").unwrap());
        assert_eq!(store.read(path).unwrap().unwrap(), b"one");
        store.replace(path, b"three").unwrap();
        assert_eq!(store.read(path).unwrap().unwrap(), b"three");
        let error = store.create(path).unwrap_err();
        assert_eq!(error.kind(), SinkErrorKind::Exists);
        assert!(error.to_string().contains("s3://names/"), "{error}");
        assert_eq!(paths(&store, ""), [(path.to_owned(), 5)]);
        assert!(other.list("").unwrap().is_empty());
        let modified = store.list("").unwrap()[0].modified;
        assert!(modified.elapsed().is_ok_and(|ago| ago.as_secs() < 600), "{modified:?}");
        assert!(store.remove(path).unwrap() && !store.remove(path).unwrap());
    }
    for path in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a\\b", "."] {
        assert!(store.create(path).is_err() && store.read(path).is_err(), "{path}");
    }
}

#[test]
fn of_eight_that_make_an_object_one_wins() {
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("races");
    let front = Front::start(moto.port(), |_| Fate::Pass);
    let store = open(front.port(), "s3://races", &[]);
    for round in 0..10 {
        let path = format!("lock-{round}");
        let start = Barrier::new(8);
        let won: Vec<usize> = thread::scope(|scope| {
            let run = |number: usize| {
                let (store, path, start) = (&store, &path, &start);
                scope.spawn(move || {
                    start.wait();
                    // Also if all of them write the same.
                    let bytes = if round % 2 == 0 { "same".to_owned() } else { number.to_string() };
                    store.create_new(path, bytes.as_bytes()).unwrap().then_some(number)
                })
            };
            let threads: Vec<_> = (0..8).map(run).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(won.len(), 1, "{won:?}");
        if round % 2 == 1 {
            assert_eq!(store.read(&path).unwrap().unwrap(), won[0].to_string().as_bytes());
        }
    }
}

#[test]
fn a_dropped_upload_leaves_nothing() {
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("drops");
    let store = open(moto.port(), "s3://drops", &[]);
    for n_bytes in [100, 8 * MIB + 1, 30 * MIB] {
        let mut output = store.create("x").unwrap();
        output.write_all(&noise(n_bytes)).unwrap();
        output.flush().unwrap();
        assert_eq!(moto.n_uploads("drops"), usize::from(n_bytes > 8 * MIB));
        assert!(store.list("").unwrap().is_empty());
        drop(output);
        assert!(store.list("").unwrap().is_empty());
        assert_eq!(moto.n_uploads("drops"), 0);
    }
}

#[test]
fn a_store_works_inside_an_async_runtime() {
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("inside");
    let store = open(moto.port(), "s3://inside", &[]);
    let one_thread = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let several = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for (runtime, path) in [(one_thread, "a"), (several, "b")] {
        runtime.block_on(async {
            let mut output = store.create(path).unwrap();
            output.write_all(&noise(9 * MIB)).unwrap();
            output.publish().unwrap();
            assert_eq!(store.read(path).unwrap().unwrap().len(), 9 * MIB);
            drop(store.create("dropped").unwrap());
            assert!(store.remove(path).unwrap());
        });
    }
}

#[test]
fn a_bucket_that_is_not_there_is_said() {
    let Some(moto) = Emulator::s3() else { return };
    let store = open(moto.port(), "s3://missing-bucket/x", &[]);
    let error = store.replace("y", b"z").unwrap_err().to_string();
    assert!(error.contains("\"s3://missing-bucket/x/y\"") && error.contains("404 NoSuchBucket"), "{error}");
    let error = store.list("").unwrap_err().to_string();
    assert!(error.contains("\"s3://missing-bucket/x\"") && error.contains("404 NoSuchBucket"), "{error}");
}

#[test]
fn nobody_at_the_address_is_said() {
    let options = [("max_retries", "1"), ("timeout", "5s")];
    let error = open(1, "s3://bucket", &options).read("x").unwrap_err().to_string();
    assert!(error.contains("cannot be reached") && error.contains("AWS_ENDPOINT_URL"), "{error}");
    assert!(Store::open("s3://bucket/x").is_ok());
}
