//! Every message in every state.

use super::*;

const OPEN: TransactionStatus = TransactionStatus::InTransaction;
const CURSOR: Mode = Mode::Cursor { fetch_rows: 2 };
/// Two columns, both binary.
const DESCRIPTION: &[u8] =
    b"\0\x02a\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\x01b\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\x01";

#[derive(Clone, Copy)]
enum Event {
    Message(u8, &'static [u8]),
    Ready,
}
use Event::{Message, Ready};

fn machine(mode: Mode, events: &[Event]) -> Machine {
    let mut machine = Machine::new(mode, OPEN);
    for event in events {
        match event {
            Message(tag, body) => machine.step(*tag, body).unwrap(),
            Ready => drop(machine.ready(OPEN).unwrap()),
        }
    }
    machine
}

/// A machine in each state: its name, the tags it accepts, and whether ReadyForQuery may come.
fn machines() -> Vec<(Machine, &'static str, &'static [u8], bool)> {
    let select = [
        Message(b'1', b""),
        Message(b'2', b""),
        Message(b'T', DESCRIPTION),
        Message(b'C', b"SELECT 3\0"),
        Ready,
    ];
    let cursor = [
        Message(b'C', b"DECLARE CURSOR\0"),
        Ready,
        Message(b'T', DESCRIPTION),
        Message(b'C', b"FETCH 1\0"),
        Ready,
        Message(b'C', b"CLOSE CURSOR\0"),
        Ready,
    ];
    vec![
        (machine(Mode::Select, &select[..0]), "parse", b"1E", false),
        (machine(Mode::Select, &select[..1]), "bind", b"2E", false),
        (machine(Mode::Select, &select[..2]), "describe", b"TE", false),
        (machine(Mode::Select, &select[..3]), "streaming", b"DCE", false),
        (machine(Mode::Select, &select[..4]), "tagged", b"E", true),
        (machine(Mode::Select, &select), "done", b"", false),
        (machine(Mode::Select, &[Message(b'E', b"")]), "failed", b"", false),
        (machine(CURSOR, &cursor[..0]), "declare", b"CE", false),
        (machine(CURSOR, &cursor[..1]), "declared", b"E", true),
        (machine(CURSOR, &cursor[..2]), "fetch", b"TE", false),
        (machine(CURSOR, &cursor[..3]), "streaming", b"DCE", false),
        (machine(CURSOR, &cursor[..4]), "tagged", b"E", true),
        (machine(CURSOR, &cursor[..5]), "close", b"CE", false),
        (machine(CURSOR, &cursor[..6]), "closed", b"E", true),
        (machine(CURSOR, &cursor), "done", b"", false),
    ]
}

#[test]
fn every_tag_in_every_state() {
    for tag in 0..=u8::MAX {
        for (mut machine, state, accepted, _) in machines() {
            let body: &[u8] = match (tag, state) {
                (b'T', _) => DESCRIPTION,
                (b'C', "declare") => b"DECLARE CURSOR\0",
                (b'C', "close") => b"CLOSE CURSOR\0",
                (b'C', _) if machine.mode == CURSOR => b"FETCH 2\0",
                (b'C', _) => b"SELECT 2\0",
                _ => b"",
            };
            let before = machine.state;
            let result = machine.step(tag, body);
            assert_eq!(result.is_ok(), accepted.contains(&tag), "{} in {state}", Tag(tag));
            if result.is_err() {
                assert_eq!(machine.state, before);
            }
        }
    }
}

#[test]
fn ready_comes_only_where_something_was_completed() {
    for (mut machine, state, _, may_be_ready) in machines() {
        assert_eq!(machine.ready(OPEN).is_ok(), may_be_ready, "{state}");
    }
}

#[test]
fn the_transaction_must_be_as_before() {
    for status in [TransactionStatus::Idle, TransactionStatus::Failed] {
        for (mut machine, state, _, _) in machines() {
            assert!(machine.ready(status).is_err(), "{state}");
        }
    }
}

#[test]
fn fetches_are_added_up_until_one_has_fewer_rows() {
    let mut machine = machine(CURSOR, &[Message(b'C', b"DECLARE CURSOR\0"), Ready]);
    for (tag, next) in
        [(&b"FETCH 2\0"[..], Next::Fetch), (b"FETCH 2\0", Next::Fetch), (b"FETCH 0\0", Next::Close)]
    {
        machine.step(b'T', DESCRIPTION).unwrap();
        machine.step(b'C', tag).unwrap();
        assert_eq!(machine.ready(OPEN), Ok(next));
    }
    machine.step(b'C', b"CLOSE CURSOR\0").unwrap();
    assert_eq!(machine.ready(OPEN), Ok(Next::Done { rows: 4 }));
    assert_eq!(machine.done(), Some(4));
}

#[test]
fn tags_that_are_no_number_of_rows() {
    let begun = [Message(b'1', b""), Message(b'2', b""), Message(b'T', DESCRIPTION)];
    for tag in [
        &b"SELECT\0"[..],
        b"SELECT x\0",
        b"SELECT -1\0",
        b"FETCH 1\0",
        b"COPY 1\0",
        b"INSERT 0 1\0",
        b"",
        b"SELECT 1",
    ] {
        assert!(machine(Mode::Select, &begun).step(b'C', tag).is_err(), "{tag:?}");
    }
    let begun = [Message(b'C', b"DECLARE CURSOR\0"), Ready, Message(b'T', DESCRIPTION)];
    // More rows than the FETCH asked for are no success, either.
    for tag in [&b"FETCH\0"[..], b"FETCH 3\0", b"SELECT 1\0", b"CLOSE CURSOR\0"] {
        assert!(machine(CURSOR, &begun).step(b'C', tag).is_err(), "{tag:?}");
    }
    assert!(machine(CURSOR, &[]).step(b'C', b"DECLARE\0").is_err());
    let begun = [&begun[..], &[Message(b'C', b"FETCH 1\0"), Ready]].concat();
    assert!(machine(CURSOR, &begun).step(b'C', b"CLOSE\0").is_err());
}

#[test]
fn descriptions_that_are_not_binary_or_change() {
    let mut text = DESCRIPTION.to_vec();
    *text.last_mut().unwrap() = 0;
    let begun = [Message(b'1', b""), Message(b'2', b"")];
    assert!(machine(Mode::Select, &begun).step(b'T', &text).unwrap_err().0.contains("text"));
    assert!(machine(Mode::Select, &begun).step(b'T', &DESCRIPTION[..9]).is_err());
    let begun = [
        Message(b'C', b"DECLARE CURSOR\0"),
        Ready,
        Message(b'T', DESCRIPTION),
        Message(b'C', b"FETCH 2\0"),
        Ready,
    ];
    let error = machine(CURSOR, &begun).step(b'T', b"\0\0").unwrap_err();
    assert!(error.0.contains("0 columns after 2"), "{}", error.0);
    assert_eq!(machine(CURSOR, &begun).n_columns(), 2);
}
