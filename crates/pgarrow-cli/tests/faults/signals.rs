//! F-40, F-41, F-44: signals in every phase. The rename's own window is in `syscalls`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use pgarrow_testkit::{Capability, Fault, Proxy, require};

use crate::arena::{Arena, Gate, eventually, table};
use crate::table::{Group, name};
use crate::trial::{ENDLESS, Expect, KINDS, Kind, Running, Trial};

const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// How soon a second signal ends the process. After the first one a run has 4.5 s to end by itself.
const AT_ONCE: Duration = Duration::from_secs(4);

/// Where a run stops, so that a signal comes in that phase.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The server has accepted the connection and sends nothing.
    Connect,
    /// The server was asked for TLS and does not answer.
    Tls,
    /// The server has asked for a password, has received it, and does not answer.
    Login,
    /// Another session has locked the table.
    Lock,
    /// The link is frozen while the catalog is read.
    Planning,
    /// The link of a reader is frozen while it takes over the snapshot.
    Import,
    /// One reader, which waits for the server.
    Waiting,
    /// Four readers, which wait for the server.
    Crew,
    /// One reader that receives rows.
    Streaming,
    /// The link is frozen after the last row.
    Ending,
}

const PHASES: [(Phase, &str); 10] = [
    (Phase::Connect, "P0 connecting"),
    (Phase::Tls, "P1 TLS"),
    (Phase::Login, "P2 login"),
    (Phase::Lock, "P3 waiting for a lock"),
    (Phase::Planning, "P3 planning"),
    (Phase::Import, "P4 readers' snapshots"),
    (Phase::Waiting, "P6 waiting for rows"),
    (Phase::Crew, "P6 four readers"),
    (Phase::Streaming, "P6 rows streaming"),
    (Phase::Ending, "P8 behind the last row"),
];

/// A server that takes one connection, sends one of the `answers` after each message, and then waits.
fn scripted(answers: Vec<Vec<u8>>) -> (u16, thread::JoinHandle<Option<TcpStream>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().ok()?;
        let mut buffer = [0; 1024];
        for answer in answers {
            let _ = stream.read(&mut buffer).ok()?;
            stream.write_all(&answer).ok()?;
        }
        let _ = stream.read(&mut buffer).ok()?;
        Some(stream)
    });
    (port, thread)
}

/// Brings a run into a phase, sends one or two signals, and judges the result.
fn interrupt(arena: &Arena, phase: Phase, kind: Kind, signal: Signal, is_twice: bool) -> Result<(), String> {
    let end = |mut running: Running| match is_twice {
        false => {
            running.send(signal);
            (running.end(5), Ok(()))
        }
        true => {
            let second = running.send_twice(signal);
            let ended = running.end(5);
            let took = second.elapsed();
            let is_prompt = took < AT_ONCE;
            (ended, if is_prompt { Ok(()) } else { Err(format!("the second signal took {took:?}")) })
        }
    };
    let code = 128 + signal as i32;
    let expect = Expect::failure(&[code]);
    // While nothing runs on the server yet, a signal ends the process at once, without a message. A second
    // signal does so always.
    let early = expect.clone().silent();
    let one = ["-t", "t", "--readers", "1"];
    let mut trial = Trial::new(arena, kind).replacing();
    match phase {
        Phase::Connect | Phase::Tls | Phase::Login => {
            let answers = match phase {
                // AuthenticationCleartextPassword.
                Phase::Login => vec![vec![b'R', 0, 0, 0, 8, 0, 0, 0, 3]],
                _ => Vec::new(),
            };
            let (port, server) = scripted(answers);
            trial = trial.through(format!("127.0.0.1:{port}"));
            if matches!(phase, Phase::Tls) {
                trial.url = trial.url.replace("sslmode=disable", "sslmode=require");
            }
            let running = trial.start(&mut trial.command(&one));
            // The server has read the client's last message.
            let stream = server.join().unwrap();
            let (ended, is_prompt) = end(running);
            drop(stream);
            trial.judge(&ended, &early).and(is_prompt)
        }
        Phase::Lock => {
            let running = trial.start(&mut trial.command(&["-t", "locked", "--readers", "1"]));
            eventually("it waits", || arena.sessions(&trial.name, "wait_event_type = 'Lock'") == 1);
            let (ended, is_prompt) = end(running);
            trial.judge(&ended, if is_twice { &early } else { &expect }).and(is_prompt)
        }
        Phase::Planning | Phase::Import | Phase::Ending => {
            let server = ([127, 0, 0, 1], arena.port()).into();
            // The keeper's connection freezes while it plans or ends; for the import, each reader's
            // connection freezes.
            let (first, later) = match phase {
                Phase::Planning => (Fault::FreezeAfterServerBytes(1500), Fault::None),
                Phase::Import => (Fault::None, Fault::FreezeAfterServerBytes(500)),
                _ => (Fault::FreezeAfterServerBytes(arena.session_bytes() - 20), Fault::None),
            };
            let proxy = Proxy::start_with(server, move |number| if number == 0 { first } else { later });
            trial = trial.through(proxy.address());
            let several = ["-t", "t", "--readers", "4", "--slice-bytes", "32K"];
            let what = if matches!(phase, Phase::Import) { &several[..] } else { &one };
            let frozen_after = match first {
                Fault::FreezeAfterServerBytes(n) => n,
                _ => 2000,
            };
            let running = trial.start(&mut trial.command(what));
            eventually("it is frozen", || {
                proxy.from_server_bytes() >= frozen_after
                    && (matches!(first, Fault::FreezeAfterServerBytes(_)) || proxy.n_connections() > 2)
            });
            let (ended, is_prompt) = end(running);
            drop(proxy);
            trial.judge(&ended, &early).and(is_prompt)
        }
        Phase::Waiting | Phase::Crew => {
            let gate = Gate::close(arena, &trial.name);
            let (readers, n_waiting) = if matches!(phase, Phase::Crew) { ("4", 4) } else { ("1", 1) };
            let what = ["-t", "t", "--readers", readers, "--slice-bytes", "32K", "--where", Gate::FILTER];
            let running = trial.start(&mut trial.command(&what));
            gate.wait(n_waiting);
            let (ended, is_prompt) = end(running);
            // The gate stays closed: the run has to cancel what the backends wait for.
            trial.judge(&ended, if is_twice { &early } else { &expect }).and(is_prompt)
        }
        Phase::Streaming => {
            let running = trial.start(&mut trial.command(&["-q", ENDLESS, "--memory", "64M"]));
            eventually("rows stream", || {
                arena.sessions(&trial.name, "state = 'active' AND query LIKE 'COPY%'") == 1
            });
            let (ended, is_prompt) = end(running);
            trial.judge(&ended, if is_twice { &early } else { &expect }).and(is_prompt)
        }
    }
}

#[test]
fn signals_in_every_phase() {
    require!(Capability::PrivateServer);
    let sql = format!("{}; {}; CREATE TABLE locked (a int)", table(4000), Gate::SQL);
    let arena = Arena::new("signals", &sql);
    let mut locker = arena.client();
    let mut lock = locker.transaction().unwrap();
    lock.batch_execute("LOCK TABLE locked IN ACCESS EXCLUSIVE MODE").unwrap();
    let group = Group::new("signals");
    let mut trials = Vec::new();
    for (index, (phase, phase_name)) in PHASES.into_iter().enumerate() {
        for (shift, signal) in SIGNALS.into_iter().enumerate() {
            // A second signal comes only where nothing can be cancelled, or where the server notices by
            // itself: elsewhere it may overtake the request to cancel, and the backend would wait on.
            let can_be_twice =
                matches!(phase, Phase::Planning | Phase::Import | Phase::Ending | Phase::Streaming);
            for is_twice in [false, true].into_iter().take(if can_be_twice { 2 } else { 1 }) {
                trials.push((phase, phase_name, KINDS[(index + shift) % KINDS.len()], signal, is_twice));
            }
        }
    }
    group.each(trials, |&(phase, phase_name, kind, signal, is_twice)| {
        let name = match is_twice {
            false => name(40, signal.as_str(), phase_name),
            true => name(41, format!("{signal} twice"), phase_name),
        };
        (name, format!("{kind:?}"), interrupt(&arena, phase, kind, signal, is_twice))
    });
    group.finish();
}

#[test]
fn a_client_that_is_stopped_for_a_while() {
    require!(Capability::PrivateServer);
    let arena = Arena::new("stopped", &format!("{}; {}", table(4000), Gate::SQL));
    let group = Group::new("stopped");
    let trials = KINDS.into_iter().flat_map(|kind| ["1", "4"].map(|readers| (kind, readers))).collect();
    group.each(trials, |&(kind, readers)| {
        let trial = Trial::new(&arena, kind);
        let gate = Gate::close(&arena, &trial.name);
        let what =
            ["-t", "t", "--readers", readers, "--slice-bytes", "32K", "--quiet", "--where", Gate::FILTER];
        let running = trial.start(&mut trial.command(&what));
        gate.wait(readers.parse().unwrap());
        running.send(Signal::SIGSTOP);
        gate.open();
        // The server sends what it can; the stopped client reads nothing.
        eventually("the server has done what it could", || {
            arena.sessions(&trial.name, "state = 'active' AND wait_event = 'advisory'") == 0
        });
        running.send(Signal::SIGCONT);
        let result = trial.judge(&running.end(20), &Expect::success());
        (name(44, "SIGSTOP of the client, SIGCONT", format!("P6, {kind:?}")), readers.to_owned(), result)
    });
    group.finish();
}
