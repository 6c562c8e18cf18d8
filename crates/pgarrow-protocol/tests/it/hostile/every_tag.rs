//! All 256 tags in every state: a tag that is not allowed ends the session at once, and nothing panics or
//! hangs.

use pgarrow_protocol::ErrorKind;

use super::{ANY_TIME, State, against, description, states};
use crate::script::{Step, message, ready};

/// A message with this tag, well-formed where that is possible, so that only its place is wrong.
fn well_formed(state: &State, tag: u8) -> Vec<u8> {
    let body: &[u8] = match tag {
        b'R' => &[0; 4],
        b'K' => &[0, 0, 0, 7, 0, 0, 0, 9],
        b'S' => b"TimeZone\0UTC\0",
        b'A' => b"\0\0\0\x07channel\0payload\0",
        b'N' => b"SNOTICE\0VNOTICE\0C00000\0Mhello\0\0",
        b'E' => b"SFATAL\0VFATAL\0C57P01\0Mbye\0\0",
        b'T' => return description(),
        b't' => b"\0\0",
        b'D' => b"\0\x01\xff\xff\xff\xff",
        b'G' | b'H' | b'W' => &[1, 0, 1, 0, 1],
        b'v' => &[0; 8],
        b'C' if state.name.starts_with("copy") => b"COPY 0\0",
        b'C' if state.name == "cursor" => b"DECLARE CURSOR\0",
        b'C' if state.name.starts_with("cursor") => b"FETCH 0\0",
        b'C' => b"SELECT 0\0",
        b'Z' => return ready(if state.name.starts_with("cursor") { b'T' } else { b'I' }),
        b'd' => b"x",
        _ => b"",
    };
    message(tag, body)
}

#[test]
fn every_tag_in_every_state() {
    for state in states() {
        // Whether the startup may negotiate depends on the requested version; `login.rs` tests it.
        let tags: Vec<u8> = (0..=u8::MAX)
            .filter(|tag| *tag != b'v' || !matches!(state.name, "startup" | "authenticated"))
            .collect();
        let endings = tags.iter().map(|tag| vec![Step::Send(well_formed(&state, *tag))]).collect();
        for (tag, result) in tags.iter().zip(against(&state, endings)) {
            let name = format!("{:?} in {}: {result:?}", char::from(*tag), state.name);
            let may_come = state.legal.contains(tag) || ANY_TIME.contains(tag);
            match result.map_err(|error| error.kind()) {
                // The session continued and met the end of the connection, or the statement is of another
                // kind.
                Err(ErrorKind::Closed | ErrorKind::Config) => assert!(may_come, "{name}"),
                Err(ErrorKind::Server) => assert_eq!(*tag, b'E', "{name}"),
                Err(ErrorKind::Protocol) => assert!(!may_come, "{name}"),
                Ok(()) => assert!(state.legal.contains(tag), "{name}"),
                Err(_) => panic!("{name}"),
            }
        }
    }
}

/// The same, with only the first five bytes: the client refuses a tag that is not allowed before its body
/// comes.
#[test]
fn what_cannot_come_is_not_waited_for() {
    for state in states() {
        for tag in [b'd', b'D'] {
            if state.legal.contains(&tag) {
                continue;
            }
            let header = [tag, 0x3f, 0xff, 0xff, 0xff].to_vec();
            let error =
                against(&state, vec![vec![Step::Send(header), Step::AwaitClose]]).remove(0).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{}: {error}", state.name);
        }
    }
}

/// Every tag in every state, with a wrong body: too short, and too long.
#[test]
fn bodies_that_lie_in_every_state() {
    for state in states() {
        for tag in state.legal.iter().chain(ANY_TIME) {
            let whole = well_formed(&state, *tag);
            let body = whole.get(5..).unwrap_or_default();
            let shorter = (0..body.len()).map(|n_bytes| body[..n_bytes].to_vec());
            let longer = [[body, &[0]].concat(), [body, &[0xff; 40]].concat(), vec![0xff; 64]];
            let bodies: Vec<Vec<u8>> = shorter.chain(longer).collect();
            let endings = bodies.iter().map(|body| vec![Step::Send(message(*tag, body))]).collect();
            for (body, result) in bodies.iter().zip(against(&state, endings)) {
                let name = format!("{:?} in {} with {body:?}", char::from(*tag), state.name);
                let error = result.expect_err(&name);
                match error.kind() {
                    ErrorKind::Protocol => {}
                    ErrorKind::Server => assert_eq!(*tag, b'E', "{name}: {error}"),
                    // An unknown method of authentication.
                    ErrorKind::Auth => assert_eq!(*tag, b'R', "{name}: {error}"),
                    _ => assert!(is_passed_over(&state, *tag), "{name}: {error}"),
                }
            }
        }
    }
}

/// Bodies that the client does not check: notices, whose form is free; notifications; data, which the decoder
/// checks; and messages that only show that the statement is of another kind.
fn is_passed_over(state: &State, tag: u8) -> bool {
    match tag {
        b'N' | b'A' | b'D' | b'd' | b'I' | b'G' => true,
        b'C' => matches!(state.name, "copy" | "copy in"),
        b'H' => state.name != "copy",
        b'T' => matches!(state.name, "copy" | "copy in") || state.name.starts_with("execute"),
        _ => false,
    }
}
