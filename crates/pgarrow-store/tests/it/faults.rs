//! A network and a store that fail, in front of moto.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pgarrow_sink::SinkErrorKind;
use pgarrow_store::{Store, UPLOAD_MEMORY_BYTES};
use pgarrow_testkit::Emulator;
use pgarrow_testkit::front::{Fate, Front, Request, s3_error};

use crate::{SECRET, noise, open, paths, read_all};

const MIB: usize = 1 << 20;

/// An error as S3 answers it.
fn error(status: &str, code: &str) -> Fate {
    Fate::Answer(error_bytes(status, code))
}

fn error_bytes(status: &str, code: &str) -> Vec<u8> {
    s3_error(status, code, SECRET)
}

/// One of everything, below `path`.
fn use_all(store: &Store, path: &str, bytes: &[u8]) {
    assert!(store.create_new(&format!("{path}/lock"), b"mine").unwrap());
    let large = format!("{path}/large");
    let mut output = store.create(&large).unwrap();
    output.write_all(bytes).unwrap();
    output.publish().unwrap();
    assert!(read_all(store.reader(&large).unwrap().unwrap()).unwrap() == bytes);
    store.replace(&format!("{path}/small"), b"small").unwrap();
    let expected = [("large", bytes.len() as u64), ("lock", 4), ("small", 5)];
    assert_eq!(paths(store, path), expected.map(|(name, bytes)| (format!("{path}/{name}"), bytes)));
    assert!(store.remove(&large).unwrap());
    assert!(store.read(&large).unwrap().is_none());
}

/// Every request fails once, in each way, and all goes well all the same.
#[test]
fn what_fails_once_is_tried_again() {
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("faults");
    let bytes = noise(9 * MIB);
    let counting = Front::start(moto.port(), |_| Fate::Pass);
    use_all(&open(counting.port(), "s3://faults", &[]), "counting", &bytes);
    let n_requests = counting.n_requests();
    assert!(n_requests > 10, "{n_requests}");
    let fates = [
        ("500", error("500 Internal Server Error", "InternalError")),
        ("503", error("503 Slow Down", "SlowDown")),
        ("reset", Fate::Reset),
        ("answer lost", Fate::LoseAnswer),
    ];
    for (name, fate) in fates {
        for failing in 0..n_requests {
            let fate = fate.clone();
            let front = Front::start(moto.port(), move |request| match request.number == failing {
                true => fate.clone(),
                false => Fate::Pass,
            });
            let path = format!("{name}-{failing}");
            use_all(&open(front.port(), "s3://faults", &[]), &path, &bytes);
            assert!(front.n_requests() > n_requests, "request {failing} was not tried again after {name}");
        }
    }
}

/// A front where one request fails, the first that is like this.
fn failing_once(moto: &Emulator, method: &'static str, target: &'static str, fate: Fate) -> Front {
    let has_failed = AtomicBool::new(false);
    Front::start(moto.port(), move |request: &Request| {
        match request.is(method, target) && !has_failed.swap(true, Ordering::Relaxed) {
            true => fate.clone(),
            false => Fate::Pass,
        }
    })
}

#[test]
fn an_object_that_is_ours_after_a_lost_answer_is_found_to_be() {
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("doubt");
    let direct = open(moto.port(), "s3://doubt", &[]);
    let front = failing_once(moto, "PUT", "/lost", Fate::LoseAnswer);
    assert!(open(front.port(), "s3://doubt", &[]).create_new("lost", b"mine").unwrap());
    // The first try does not arrive, and then there is one of somebody else.
    for (path, theirs) in [("other", b"else"), ("longer", b"mine")] {
        direct.create_new(path, theirs).unwrap();
        let front = failing_once(moto, "PUT", "/", error("503 Slow Down", "SlowDown"));
        let bytes: &[u8] = if path == "longer" { b"mine too" } else { b"mine" };
        assert!(!open(front.port(), "s3://doubt", &[]).create_new(path, bytes).unwrap());
        assert_eq!(direct.read(path).unwrap().unwrap(), theirs);
    }
    // As S3 answers when another request for the name has not ended.
    let front = failing_once(moto, "PUT", "/", error("409 Conflict", "ConditionalRequestConflict"));
    assert!(open(front.port(), "s3://doubt", &[]).create_new("conflict", b"mine").unwrap());
    // The same bytes as another's are no reason to take its object for ours.
    assert!(!direct.create_new("conflict", b"mine").unwrap());
}

/// The answer to the completion of an upload is lost, and the next try is told that there is no such upload.
#[test]
fn an_upload_that_is_gone_was_completed_or_not() {
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("gone");
    let bytes = noise(9 * MIB);
    let gone = error_bytes("404 Not Found", "NoSuchUpload");
    for (path, fate, is_complete) in
        [("there", Fate::AnswerInstead(gone.clone()), true), ("missing", Fate::Answer(gone), false)]
    {
        let front = failing_once(moto, "POST", "?uploadId=", fate);
        let store = open(front.port(), "s3://gone", &[]);
        let mut output = store.create(path).unwrap();
        output.write_all(&bytes).unwrap();
        assert_eq!(output.publish().is_ok(), is_complete);
        assert_eq!(store.read(path).unwrap().map(|read| read == bytes), is_complete.then_some(true));
    }
}

#[test]
fn what_fails_for_good_is_an_error_without_secrets() {
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("refusals");
    for (status, code, kind) in [
        ("403 Forbidden", "SignatureDoesNotMatch", SinkErrorKind::Permission),
        ("503 Slow Down", "SlowDown", SinkErrorKind::Io),
        ("400 Bad Request", "InvalidArgument", SinkErrorKind::Io),
        ("400 Bad Request", "ExpiredToken", SinkErrorKind::Permission),
        ("501 Not Implemented", "NotImplemented", SinkErrorKind::Io),
    ] {
        let is_failing = Arc::new(AtomicBool::new(false));
        let for_front = Arc::clone(&is_failing);
        let front = Front::start(moto.port(), move |_| match for_front.load(Ordering::Relaxed) {
            true => error(status, code),
            false => Fate::Pass,
        });
        let store = open(front.port(), "s3://refusals/x", &[("max_retries", "2")]);
        let mut output = store.create("y").unwrap();
        is_failing.store(true, Ordering::Relaxed);
        let bytes = noise(30 * MIB);
        let error = output.write_all(&bytes).and_then(|()| output.flush()).unwrap_err();
        let texts = [
            error.to_string(),
            output.publish().unwrap_err().to_string(),
            store.create("z").unwrap_err().to_string(),
            store.create_new("z", b"").unwrap_err().to_string(),
            store.replace("z", b"").unwrap_err().to_string(),
            store.reader("z").map(drop).unwrap_err().to_string(),
            store.list("").unwrap_err().to_string(),
            store.remove("z").unwrap_err().to_string(),
        ];
        assert_eq!(store.replace("z", b"").unwrap_err().kind(), kind);
        let number = status.split(' ').next().unwrap();
        for (number_of_text, text) in texts.iter().enumerate() {
            // HEAD has no body, and so no code; a failed output says no more than that.
            assert!(text.contains(number) || number_of_text == 1, "{text}");
            assert!(!text.contains(SECRET) && !text.contains('?') && !text.contains("127.0.0.1"), "{text}");
        }
        assert!(texts[4].contains(code) && texts[4].contains("\"s3://refusals/x/z\""), "{}", texts[4]);
        is_failing.store(false, Ordering::Relaxed);
        assert!(store.list("").unwrap().is_empty());
    }
}

/// No parts are taken: memory is bounded, writing waits, and ends in time.
#[test]
fn an_upload_that_stalls_holds_little_and_ends() {
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("stalls");
    let n_parts = Arc::new(AtomicUsize::new(0));
    let for_front = Arc::clone(&n_parts);
    let front = Front::start(moto.port(), move |request| match request.is("PUT", "partNumber=") {
        true => {
            for_front.fetch_add(1, Ordering::Relaxed);
            Fate::Stall
        }
        false => Fate::Pass,
    });
    let limits = [("timeout", "3s"), ("retry_timeout", "6s"), ("max_retries", "1")];
    let store = open(front.port(), "s3://stalls", &limits);
    let mut output = store.create("x").unwrap();
    let piece = noise(MIB);
    let mut n_bytes = 0;
    let error = loop {
        match output.write_all(&piece) {
            Ok(()) => n_bytes += piece.len(),
            Err(error) => break error,
        }
    };
    // What is accepted and not sent is held. A piece more would be too much.
    assert_eq!(n_bytes, UPLOAD_MEMORY_BYTES);
    assert!(error.to_string().contains("did not answer in time"), "{error}");
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    // Two at a time, each of them twice at most.
    assert!((2..=4).contains(&n_parts.load(Ordering::Relaxed)));
    drop(output);
    assert_eq!(moto.n_uploads("stalls"), 0);
}

#[test]
fn a_reader_that_stalls_ends() {
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("slow");
    let front = Front::start(moto.port(), |request| match request.is("GET", "/slow/x") {
        true => Fate::Stall,
        false => Fate::Pass,
    });
    let limits = [("timeout", "2s"), ("retry_timeout", "4s"), ("max_retries", "1")];
    // What is to be answered has its time on a busy machine.
    open(front.port(), "s3://slow", &[]).replace("x", &noise(100)).unwrap();
    let store = open(front.port(), "s3://slow", &limits);
    let error = read_all(store.reader("x").unwrap().unwrap()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}

#[test]
fn a_reader_does_not_mix_versions_or_end_early() {
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("versions");
    let store = open(moto.port(), "s3://versions", &[]);
    store.replace("x", &noise(30 * MIB)).unwrap();
    let mut reader = store.reader("x").unwrap().unwrap();
    store.replace("x", &vec![0; 30 * MIB]).unwrap();
    let mut buffer = vec![0; MIB];
    let error = loop {
        match reader.read(&mut buffer) {
            Ok(0) => panic!("the end of an object that is no longer there"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("was replaced meanwhile"), "{error}");
    assert!(reader.read(&mut buffer).is_err());
}
