//! Lengths that cannot be true, in every state. The server sends only the header: a client that trusts it
//! would wait for ever.

use pgarrow_protocol::ErrorKind;

use super::{against, states};
use crate::script::Step;

/// The types of messages that a server may send in any state, and some that it may not.
const TAGS: &[u8] = b"RSKZCTtDdcHGWENA123nIsvV\0\x1b\xff";

/// The largest length of a tag, as in PostgreSQL's own clients.
fn length_max(tag: u8, is_logged_in: bool) -> u32 {
    match tag {
        _ if !is_logged_in => 30_000,
        b'd' | b'D' => 0x3fff_ffff,
        b'T' => 16 << 20,
        b'E' | b'N' | b'A' => 1 << 20,
        _ => 30_000,
    }
}

#[test]
fn lengths_that_cannot_be_true_in_any_state() {
    for state in states() {
        let is_logged_in = !matches!(state.name, "startup" | "authenticated");
        let headers = TAGS.iter().flat_map(|tag| {
            let max = length_max(*tag, is_logged_in);
            let lengths = [0, 1, 3, max + 1, 500_000_000.max(max + 1), 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
            lengths.map(|length| [&[*tag][..], &u32::to_be_bytes(length)].concat())
        });
        let headers: Vec<Vec<u8>> = headers.collect();
        let endings = headers.iter().map(|header| vec![Step::Send(header.clone()), Step::AwaitClose]);
        for (header, result) in headers.iter().zip(against(&state, endings.collect())) {
            let error = result.expect_err(state.name);
            assert_eq!(error.kind(), ErrorKind::Protocol, "{header:?} in {}: {error}", state.name);
            assert!(error.to_string().contains("lost sync"), "{header:?} in {}: {error}", state.name);
        }
    }
}
