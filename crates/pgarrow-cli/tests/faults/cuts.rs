//! F-1, F-2, F-3, F-12: the connection ends after any byte, or one bit is wrong.

use pgarrow_testkit::{Capability, Fault, Proxy, require};

use crate::arena::{Arena, table};
use crate::table::{Group, is_whole, name};
use crate::trial::{Expect, Kind, Trial};

/// What these trials read: little, by one connection.
const WHAT: [&str; 5] = ["-t", "t", "--readers", "1", "--quiet"];
/// The distance of the bytes in a sample; it divides nothing in the protocol.
const STRIDE: usize = 17;
/// Bytes at the end of a session that are all tried. COMMIT's answer is among them.
const END: u64 = 48;
/// Terminate, the client's last message: when it is sent, COMMIT is answered, and it may be lost.
const TERMINATE: u64 = 5;
/// Digits that the numbers of processes in statements may have more or fewer than in the session that was
/// counted: such numbers begin anew. Fewer than COMMIT has bytes, so most cuts within it are still told from
/// an end.
const DIGITS: u64 = 6;

/// Bytes that the server and the client send in a session without a fault. Over time a number may get a digit
/// more.
fn session(arena: &Arena) -> (u64, u64) {
    let proxy = Proxy::start(arena.port(), Fault::None);
    let trial = Trial::new(arena, Kind::Ipc).through(proxy.address());
    let ended = trial.run(&mut trial.command(&WHAT), 60);
    assert!(ended.status.success(), "{ended:?}");
    (proxy.from_server_bytes(), proxy.from_client_bytes())
}

fn places(n_bytes: u64, first: u64) -> Vec<u64> {
    let stride = if is_whole() { 1 } else { STRIDE };
    let from_end = n_bytes.saturating_sub(END);
    (first..from_end).step_by(stride).chain(from_end..=n_bytes).collect()
}

/// One trial through a proxy with this fault. It may succeed only if nothing that counts is missing.
fn cut(arena: &Arena, fault: Fault, is_end: impl FnOnce() -> bool) -> Result<(), String> {
    let proxy = Proxy::start(arena.port(), fault);
    let trial = Trial::new(arena, Kind::Ipc).through(proxy.address());
    let ended = trial.run(&mut trial.command(&WHAT), 30);
    drop(proxy);
    let expect = match ended.status.success() && is_end() {
        true => Expect::success(),
        // An answer that is cut in its middle may look like a broken protocol.
        false => Expect::failure(&[3, 5]).saying("127.0.0.1:"),
    };
    trial.judge(&ended, &expect)
}

#[test]
fn a_connection_that_ends_after_any_byte_of_the_server() {
    require!(Capability::PrivateServer);
    let arena = Arena::new("cut_server", &table(3));
    let (from_server, _) = session(&arena);
    let group = Group::new("cuts_server");
    let mut trials: Vec<(u64, bool)> = places(from_server, 0).into_iter().map(|n| (n, false)).collect();
    trials.extend(places(from_server, STRIDE as u64 / 2).into_iter().map(|n| (n, true)));
    group.each(trials, |&(n, is_reset)| {
        let (name, fault) = match is_reset {
            false => (name(1, "end after N bytes of the server", "all"), Fault::CloseAfterServerBytes(n)),
            true => (name(2, "reset after N bytes of the server", "all"), Fault::ResetAfterServerBytes(n)),
        };
        (name, format!("byte {n}"), cut(&arena, fault, || n >= session(&arena).0))
    });
    group.finish();
}

#[test]
fn a_connection_that_ends_after_any_byte_of_the_client() {
    require!(Capability::PrivateServer);
    let arena = Arena::new("cut_client", &table(3));
    let (_, from_client) = session(&arena);
    let group = Group::new("cuts_client");
    let mut trials: Vec<(u64, bool)> = places(from_client, 0).into_iter().map(|n| (n, false)).collect();
    trials.extend(places(from_client, STRIDE as u64 / 2).into_iter().map(|n| (n, true)));
    group.each(trials, |&(n, is_reset)| {
        let (name, fault) = match is_reset {
            false => (name(3, "end after N bytes of the client", "all"), Fault::CloseAfterClientBytes(n)),
            true => (name(3, "reset after N bytes of the client", "all"), Fault::ResetAfterClientBytes(n)),
        };
        (name, format!("byte {n}"), cut(&arena, fault, || n + TERMINATE + DIGITS >= session(&arena).1))
    });
    group.finish();
}

#[test]
fn a_bit_that_turns_over() {
    require!(Capability::PrivateServer);
    let arena = Arena::new("flip", &table(3));
    let (from_server, _) = session(&arena);
    let group = Group::new("flips");
    let stride = if is_whole() { 1 } else { 23 };
    let trials = (0..from_server).step_by(stride).collect();
    group.each(trials, |&n| {
        let proxy = Proxy::start(arena.port(), Fault::FlipServerByte(n));
        let trial = Trial::new(&arena, Kind::Ipc).through(proxy.address());
        let mut command = trial.command(&WHAT);
        // The bytes that a wrong length promises may never come.
        let mut running = trial.start(&mut command);
        let ended = match running.ends_within(2) {
            true => running.end(1),
            false => {
                proxy.reset_all();
                running.end(10)
            }
        };
        drop(proxy);
        // A wrong bit in a value looks like data: only TLS protects it. All other criteria have to hold.
        let name = name(12, "one bit of the server's turned over", "all");
        let result = trial.judge(&ended, &Expect::anything());
        (name, format!("byte {n}"), result)
    });
    group.finish();
}
