//! The low-water mark of a stream, as the wire has set it on its socket.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};

use super::*;

fn connected() -> (Wire, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (Wire::new(Socket::Tcp(client)).unwrap(), listener.accept().unwrap().0)
}

/// Receives `n_bytes`, consumes them, and returns the mark that the last read had.
fn receive(wire: &mut Wire, n_bytes: usize) -> usize {
    let mut low_water = 0;
    while wire.unread().len() < n_bytes {
        low_water = wire.low_water;
        assert_ne!(wire.fill().unwrap(), Fill::Eof);
        low_water = low_water.max(wire.low_water);
    }
    assert_eq!(wire.unread().len(), n_bytes);
    wire.consume(n_bytes);
    low_water
}

#[test]
fn a_stream_waits_for_what_is_wanted_at_once() {
    let (mut wire, mut server) = connected();
    wire.start_streaming().unwrap();
    server.write_all(&[1; 100]).unwrap();
    assert_eq!(receive(&mut wire, 100), 1, "nobody knows how much will come");
    for wanted in [3000, 1, 0, 5000] {
        wire.want_at_once(wanted);
        server.write_all(&vec![2; wanted.max(1)]).unwrap();
        assert_eq!(receive(&mut wire, wanted.max(1)), wanted.max(1));
        wire.stop_streaming().unwrap();
        assert_eq!(wire.low_water, 1);
        // The wish was for that stream.
        wire.start_streaming().unwrap();
        server.write_all(&[3; 10]).unwrap();
        assert_eq!(receive(&mut wire, 10), 1);
    }
}

/// A server that sends less than it should does not make the client wait for ever.
#[test]
fn what_is_wanted_need_not_come() {
    let (mut wire, mut server) = connected();
    wire.start_streaming().unwrap();
    for n_bytes in [10, 1, 2000] {
        wire.want_at_once(65_536);
        server.write_all(&vec![4; n_bytes]).unwrap();
        assert_eq!(receive(&mut wire, n_bytes), 65_536);
    }
    // No bytes for a while: then it waits for any.
    while wire.pace == Pace::Streaming {
        assert_eq!(wire.fill().unwrap(), Fill::Nothing);
    }
    assert_eq!((wire.pace, wire.low_water), (Pace::Waiting, 1));
    drop(server);
    assert_eq!(wire.fill().unwrap(), Fill::Eof);
}

/// More than there is room for is never waited for.
#[test]
fn a_mark_is_at_most_the_room() {
    let (mut wire, mut server) = connected();
    wire.start_streaming().unwrap();
    server.write_all(&[5; 10_000]).unwrap();
    while wire.unread().len() < 10_000 {
        wire.fill().unwrap();
    }
    wire.want_at_once(usize::MAX);
    server.write_all(&[6; 10]).unwrap();
    while wire.unread().len() < 10_010 {
        wire.fill().unwrap();
    }
    assert_eq!(wire.low_water, wire.buffer.free_tail().len() + 10);
}

/// Outside of a stream, and on Unix sockets, a wish changes nothing.
#[test]
fn without_a_stream_nothing_is_wanted() {
    let (mut wire, mut server) = connected();
    wire.want_at_once(1000);
    server.write_all(&[7; 10]).unwrap();
    assert_eq!(receive(&mut wire, 10), 1);
    let (client, mut server) = UnixStream::pair().unwrap();
    let mut wire = Wire::new(Socket::Unix(client)).unwrap();
    wire.start_streaming().unwrap();
    wire.want_at_once(1000);
    server.write_all(&[8; 10]).unwrap();
    assert_eq!((receive(&mut wire, 10), wire.pace), (1, Pace::Idle));
}
