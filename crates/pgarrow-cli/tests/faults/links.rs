//! F-4 to F-6, F-8, F-10, F-11: links that are slow, frozen or mute, and connections that are lost one by
//! one.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use pgarrow_testkit::{Capability, Fault, Proxy, require};

use crate::arena::{Arena, Gate, eventually, table};
use crate::table::{Group, name};
use crate::trial::{Expect, KINDS, Kind, Trial};

const WHAT: [&str; 5] = ["-t", "t", "--readers", "1", "--quiet"];

#[test]
fn links_that_are_slow_or_cut_into_slices() {
    require!(Capability::PrivateServer);
    let arena = Arena::new("slow_links", &table(300));
    let group = Group::new("slow_links");
    let mut trials = Vec::new();
    for kind in KINDS {
        for n_bytes in [1, 2, 3, 7, 64, 1000] {
            trials.push((kind, Fault::Slice(n_bytes), name(4, "bytes in slices", format!("all, {kind:?}"))));
        }
        trials.push((kind, Fault::Throttle(64_000), name(5, "64 kB/s", format!("all, {kind:?}"))));
    }
    group.each(trials, |(kind, fault, name)| {
        let proxy = Proxy::start(arena.port(), *fault);
        let trial = Trial::new(&arena, *kind).through(proxy.address());
        let ended = trial.run(&mut trial.command(&WHAT), 60);
        (name.clone(), format!("{fault:?}"), trial.judge(&ended, &Expect::success()))
    });
    group.finish();
}

/// How many bytes the server has sent when a session of one reader is in which phase.
const PHASES: [(u64, &str); 6] =
    [(0, "P0"), (20, "P2"), (600, "P3"), (2200, "P3–P5"), (9000, "P6"), (15_000, "P6")];

#[test]
fn links_that_freeze() {
    require!(Capability::PrivateServer);
    let arena = Arena::new("frozen_links", &table(1000));
    let group = Group::new("frozen_links");
    type Freeze = fn(u64) -> Fault;
    let freezes: [(&str, Freeze); 3] = [
        ("frozen in both directions", Fault::FreezeAfterServerBytes),
        ("the server is not heard", Fault::MuteServerAfter),
        // The LOCK is between 1,400 and 2,300 of its bytes; it waits for other locks as long as the lock
        // timeout says.
        ("the client is not heard", |n| Fault::MuteClientAfter(if n < 10_000 { n / 8 } else { 2500 })),
    ];
    let mut trials = Vec::new();
    for (fault, freeze) in freezes {
        for (n_bytes, phase) in PHASES {
            let is_connecting = n_bytes <= 20;
            let hows = if is_connecting { &["connect_timeout"][..] } else { &["SIGTERM", "--read-timeout"] };
            for how in hows {
                // The client's first bytes are its login, and connect_timeout covers that.
                if *how == "--read-timeout" && fault == "the client is not heard" && n_bytes < 2000 {
                    continue;
                }
                trials.push((fault, freeze(n_bytes), *how, phase));
            }
        }
    }
    group.each(trials, |&(fault, freeze, how, phase)| {
        let proxy = Proxy::start(arena.port(), freeze);
        let mut trial = Trial::new(&arena, Kind::Parquet).through(proxy.address());
        let mut what = WHAT.to_vec();
        if how == "connect_timeout" {
            trial.url = format!("{}&connect_timeout=2", trial.url);
        }
        if how == "--read-timeout" {
            what.extend([how, "1s"]);
        }
        let running = trial.start(&mut trial.command(&what));
        let (ended, expect) = match how {
            "connect_timeout" => (running.end(5), Expect::failure(&[3]).saying("127.0.0.1:")),
            "--read-timeout" => (running.end(10), Expect::failure(&[3]).saying("127.0.0.1:")),
            // No more bytes come, and there is no timeout: a signal ends the run, in bounded time.
            _ => {
                wait_until_nothing_moves(&proxy);
                running.send(Signal::SIGTERM);
                (running.end(5), Expect::failure(&[143]).silent())
            }
        };
        drop(proxy);
        (name(6, format!("{fault}, {how}"), phase), format!("{freeze:?}"), trial.judge(&ended, &expect))
    });
    group.finish();
}

/// Waits until the counts of a proxy stay the same for a while, after its first bytes. The while is shorter
/// than a second: a run with several readers asks that often who waits for its tables.
pub(crate) fn wait_until_nothing_moves(proxy: &Proxy) {
    let (mut last, mut since) = ((0, 0), Instant::now());
    eventually("nothing moves", || {
        let now = (proxy.from_server_bytes(), proxy.from_client_bytes());
        if now != last || now.1 == 0 {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() >= Duration::from_millis(600)
    });
}

#[test]
fn servers_that_take_the_connection_and_say_nothing() {
    require!(Capability::PrivateServer);
    let arena = Arena::new("silent", &table(10));
    let group = Group::new("silent");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    for (parameter, phase) in [("connect_timeout=2", "P0"), ("connect_timeout=2&sslmode=require", "P1")] {
        let mut trial = Trial::new(&arena, Kind::Ipc).through(address);
        trial.url = format!("{}&{parameter}", trial.url.replace("&sslmode=disable", "&sslmode=prefer"));
        if phase == "P1" {
            trial.url = trial.url.replace("&sslmode=prefer", "");
        }
        let ended = trial.run(&mut trial.command(&WHAT), 4);
        let expect = Expect::failure(&[3]).saying(address.to_string());
        group.note(
            &name(8, "accepts and says nothing, connect_timeout", phase),
            "",
            trial.judge(&ended, &expect),
        );
    }
    group.finish();
}

#[test]
fn one_of_several_readers_is_lost() {
    require!(Capability::PrivateServer);
    let arena = Arena::new("lost_reader", &format!("{}; {}", table(4000), Gate::SQL));
    let group = Group::new("lost_reader");
    let mut trials = Vec::new();
    for kind in KINDS {
        for retries in ["0", "3"] {
            for is_reset in [false, true] {
                trials.push((kind, retries, is_reset));
            }
        }
    }
    group.each(trials, |&(kind, retries, is_reset)| {
        // The first connection is the keeper's. The third one, a reader's, is cut while it reads.
        let fault = if is_reset { Fault::ResetAfterServerBytes } else { Fault::CloseAfterServerBytes };
        let server = ([127, 0, 0, 1], arena.port()).into();
        let proxy = Proxy::start_with(server, move |number| match number {
            2 => fault(14_000),
            _ => Fault::None,
        });
        let trial = Trial::new(&arena, kind).through(proxy.address());
        let gate = Gate::close(&arena, &trial.name);
        let what = [
            "-t",
            "t",
            "--readers",
            "4",
            "--slice-bytes",
            "32K",
            "--quiet",
            "--where",
            Gate::FILTER,
            "--retries",
            retries,
        ];
        let running = trial.start(&mut trial.command(&what));
        // Each reader has a slice and none of its rows: the connection is lost in the middle of a slice,
        // before any batch is full.
        gate.wait(4);
        gate.open();
        let ended = running.end(30);
        let n_connections = proxy.n_connections();
        drop(proxy);
        let (expect, is_lost) = match retries {
            "0" => (Expect::failure(&[3]).saying("127.0.0.1:"), true),
            // The keeper, four readers, and the reader that connects again.
            _ => (Expect::success(), n_connections > 5),
        };
        let result = trial.judge(&ended, &expect);
        let result = result.and(if is_lost { Ok(()) } else { Err("no connection was lost".to_owned()) });
        let fault = format!("one of 4 readers lost, --retries {retries}");
        (name(10, fault, format!("P6, {kind:?}")), format!("reset: {is_reset}"), result)
    });
    group.finish();
}

#[test]
fn cancel_requests_that_do_not_arrive() {
    require!(Capability::PrivateServer);
    let arena = Arena::new("no_cancel", &format!("{}; {}", table(200), Gate::SQL));
    let group = Group::new("no_cancel");
    let ways = [
        ("cancel connection frozen", Fault::FreezeAfterServerBytes(0)),
        ("cancel connection closed at once", Fault::CloseAfterClientBytes(0)),
        ("cancel connection reset", Fault::ResetAfterClientBytes(3)),
    ];
    let trials = KINDS.into_iter().flat_map(|kind| ways.map(|way| (kind, way))).collect();
    group.each(trials, |&(kind, (fault, on_cancel))| {
        let server = ([127, 0, 0, 1], arena.port()).into();
        let proxy =
            Proxy::start_with(server, move |number| if number == 0 { Fault::None } else { on_cancel });
        let trial = Trial::new(&arena, kind).through(proxy.address());
        let gate = Gate::close(&arena, &trial.name);
        let running =
            trial.start(&mut trial.command(&["-t", "t", "--readers", "1", "--where", Gate::FILTER]));
        gate.wait(1);
        running.send(Signal::SIGINT);
        // The server cannot stop at a cancel that does not reach it; it notices when it has something to
        // send.
        let ended = running.end(5);
        gate.open();
        drop(proxy);
        let expect = Expect::failure(&[130]).saying("cancel");
        (name(11, fault, format!("P6, {kind:?}")), String::new(), trial.judge(&ended, &expect))
    });
    group.finish();
}

#[test]
fn the_whole_network_goes_away() {
    require!(Capability::PrivateServer);
    let arena = Arena::new("network_gone", &format!("{}; {}", table(4000), Gate::SQL));
    let group = Group::new("network_gone");
    // The number of readers, and how many of them certainly read by then: the others may still connect, or
    // import a snapshot that was lost with the keeper.
    let cases = [("1", 1), ("4", 4), ("4", 1)];
    let trials = KINDS.into_iter().flat_map(|kind| cases.map(|case| (kind, case))).collect();
    group.each(trials, |&(kind, (readers, n_reading))| {
        let proxy = Proxy::start(arena.port(), Fault::None);
        let trial = Trial::new(&arena, kind).through(proxy.address());
        let gate = Gate::close(&arena, &trial.name);
        let what =
            ["-t", "t", "--readers", readers, "--slice-bytes", "32K", "--quiet", "--where", Gate::FILTER];
        let running = trial.start(&mut trial.command(&what));
        gate.wait(n_reading);
        if readers != "1" {
            eventually("all readers are there", || proxy.n_connections() >= 5);
        }
        drop(proxy);
        let ended = running.end(20);
        gate.open();
        let expect = Expect::failure(&[3]).saying("127.0.0.1:");
        (
            name(2, "all connections reset, and nobody listens", format!("P6, {kind:?}")),
            format!("{n_reading} of {readers} read"),
            trial.judge(&ended, &expect),
        )
    });
    group.finish();
}
