//! Stores that are not S3: Azure's with Azurite, and Google's with moto, since its requests are nearly those
//! of S3.

use std::io::Write;

use pgarrow_sink::SinkErrorKind;
use pgarrow_store::Store;
use pgarrow_testkit::Emulator;
use pgarrow_testkit::emulator::AZURE_ACCOUNT;
use pgarrow_testkit::front::{Fate, Front};

use crate::{noise, paths, read_all};

const MIB: usize = 1 << 20;

/// One of everything.
fn use_all(store: &Store) {
    assert!(store.list("").unwrap().is_empty() && store.read("a").unwrap().is_none());
    assert!(store.create_new("a/lock +%ü", b"one").unwrap());
    assert!(!store.create_new("a/lock +%ü", b"one").unwrap());
    for n_bytes in [0, 100, 20 * MIB] {
        let bytes = noise(n_bytes);
        let mut output = store.create("a/x").unwrap();
        output.write_all(&bytes).unwrap();
        output.publish().unwrap();
        assert!(read_all(store.reader("a/x").unwrap().unwrap()).unwrap() == bytes);
        assert!(store.create("a/x").is_err());
        assert_eq!(paths(store, ""), [("a/lock +%ü".to_owned(), 3), ("a/x".to_owned(), n_bytes as u64)]);
        assert!(store.remove("a/x").unwrap() && !store.remove("a/x").unwrap());
    }
    let mut output = store.create("dropped").unwrap();
    output.write_all(&noise(20 * MIB)).unwrap();
    drop(output);
    store.replace("a/lock +%ü", b"two").unwrap();
    assert_eq!(store.read("a/lock +%ü").unwrap().unwrap(), b"two");
    assert_eq!(paths(store, ""), [("a/lock +%ü".to_owned(), 3)]);
}

fn options(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn google_is_asked_as_s3_is() {
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("google");
    let front = Front::start(moto.port(), |_| Fate::Pass);
    let key = format!(
        r#"{{"private_key": "-", "private_key_id": "-", "client_email": "-", "disable_oauth": true,
            "gcs_base_url": "http://127.0.0.1:{}"}}"#,
        front.port()
    );
    let options = options(&[("google_service_account_key", &key)]);
    use_all(&Store::open_with("gs://google/x", &options).unwrap());
    assert_eq!(moto.n_uploads("google"), 0);
}

#[test]
fn azure_does_what_s3_does() {
    let Some(azurite) = Emulator::azure() else { return };
    let [account, key] = AZURE_ACCOUNT;
    let endpoint = format!("http://127.0.0.1:{}/{account}", azurite.port());
    let options = options(&[
        ("azure_storage_endpoint", &endpoint),
        ("azure_storage_account_name", account),
        ("azure_storage_account_key", key),
    ]);
    use_all(&Store::open_with("az://container/x", &options).unwrap());
    let wrong =
        [options.as_slice(), &[("azure_storage_account_key".to_owned(), "Y2FuYXJ5".to_owned())]].concat();
    let store = Store::open_with("az://container/wrong", &wrong).unwrap();
    let error = store.replace("x", b"y").unwrap_err();
    assert_eq!(error.kind(), SinkErrorKind::Permission);
    let error = error.to_string();
    assert!(error.contains("403 AuthorizationFailure") && !error.contains("Y2FuYXJ5"), "{error}");
}
