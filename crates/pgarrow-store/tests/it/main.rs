//! Object stores against servers: moto as an S3, and servers of this process for HTTP and for faults.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clouds;
mod faults;
mod s3;
mod stored_files;
mod web;

use std::io::Read;

use pgarrow_store::Store;

/// Never in a text.
const SECRET: &str = "canary0123456789";

/// A store in a bucket, through the server at this port.
fn open(port: u16, location: &str, options: &[(&str, &str)]) -> Store {
    let endpoint = format!("http://127.0.0.1:{port}");
    let all = [
        ("aws_endpoint_url", endpoint.as_str()),
        ("aws_access_key_id", "test"),
        ("aws_secret_access_key", SECRET),
        ("aws_region", "us-east-1"),
    ];
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Store::open_with(location, &all.iter().chain(options).map(owned).collect::<Vec<_>>()).unwrap()
}

/// Bytes that differ everywhere.
fn noise(n_bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ n_bytes as u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..n_bytes.div_ceil(8)).flat_map(|_| next()).take(n_bytes).collect()
}

/// Reads in pieces of odd sizes.
fn read_all(mut reader: Box<dyn Read + Send>) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = vec![0; 77_777];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(all),
            n_bytes => all.extend_from_slice(&buffer[..n_bytes]),
        }
    }
}

fn paths(store: &Store, folder: &str) -> Vec<(String, u64)> {
    store.list(folder).unwrap().into_iter().map(|entry| (entry.path, entry.bytes)).collect()
}
