//! A server's messages in SCRAM: no server without the password is trusted, whatever it sends.
//!
//! ```text
//! input = challenge 0x1e outcome          ${nonce} in the challenge is ours
//! ```

use std::os::unix::net::UnixStream;

use pgarrow_protocol::{ErrorKind, Session};

use super::server::{self, message, read_body, read_message, send};

/// Counts above this cost time and test nothing else.
const COUNT_MAX: u64 = 4_096;

pub(crate) fn check(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0x1e);
    let (challenge, outcome) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if takes_long(challenge) {
        return;
    }
    let (challenge, outcome) = (challenge.to_vec(), outcome.to_vec());
    let play = move |stream: &mut UnixStream| {
        read_body(stream)?;
        send(stream, &message(b'R', &[&10_i32.to_be_bytes()[..], b"SCRAM-SHA-256\0\0"].concat()))?;
        let first = read_message(stream)?;
        let at = first.windows(3).position(|window| window == b",r=")?;
        let nonce = first.get(at + 3..)?;
        let challenge = match challenge.windows(8).position(|window| window == b"${nonce}") {
            Some(at) => [&challenge[..at], nonce, &challenge[at + 8..]].concat(),
            None => challenge,
        };
        send(stream, &message(b'R', &[&11_i32.to_be_bytes()[..], &challenge].concat()))?;
        read_message(stream)?;
        send(stream, &message(b'R', &[&12_i32.to_be_bytes()[..], &outcome].concat()))?;
        let welcome =
            [message(b'R', &[0; 4]), message(b'S', b"client_encoding\0UTF8\0"), message(b'Z', b"I")];
        send(stream, &welcome.concat())
    };
    let error = server::with(Box::new(play), |config| match Session::connect(config) {
        Ok(_) => panic!("a server that does not know the password was believed"),
        Err(error) => error,
    });
    assert!(matches!(error.kind(), ErrorKind::Auth | ErrorKind::Protocol), "{error}");
    let shown = error.to_string();
    assert!(!shown.contains("pencil") && !shown.chars().any(char::is_control), "{shown:?}");
}

/// Whether the count may be accepted and is large.
fn takes_long(challenge: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(challenge) else { return false };
    let counts = text.split(',').filter_map(|field| field.strip_prefix("i="));
    counts
        .filter_map(|count| count.parse::<u64>().ok())
        .any(|count| count > COUNT_MAX && count <= 100_000_000)
}
