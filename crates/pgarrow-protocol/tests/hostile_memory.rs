//! How much memory a hostile server can make the client hold: memory grows with what was received and kept,
//! never with claimed lengths, and not with bytes that nothing keeps.
//!
//! A program of its own with one test, since it measures its whole process: the kernel's high-water mark of
//! resident memory (`VmHWM` of proc_pid_status(5)), set back before each case by writing 5 to
//! `/proc/self/clear_refs`.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which are meant to panic")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::Instant;

use pgarrow_protocol::{Config, CopyIn, CopyOutStep, Error, ErrorKind, Interrupter, Session};

/// More than the buffers of both sides and what an allocator may keep; less than any length that is claimed
/// below.
const ALLOWANCE_KIB: u64 = 12 * 1024;

/// Messages of a flood. `PGARROW_TEST_FLOOD` overrides the number.
const FLOOD: usize = 200_000;

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag], length.to_be_bytes().as_slice(), body].concat()
}

fn welcome() -> Vec<u8> {
    [message(b'R', &[0; 4]), message(b'S', b"client_encoding\0UTF8\0"), message(b'Z', b"I")].concat()
}

fn high_water_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// What the server sends on one connection: bytes, and then a flood.
struct Attack {
    name: &'static str,
    /// After the startup request.
    first: Vec<u8>,
    /// After the statement; `None` if the server does not wait for it.
    then: Option<Vec<u8>>,
    /// Sent `n_times` after that.
    flood: Vec<u8>,
    n_times: usize,
    /// At the end.
    last: Vec<u8>,
    run: fn(&Config) -> Result<(), Error>,
    expected: Result<(), ErrorKind>,
}

fn connect(config: &Config) -> Result<(), Error> {
    Session::connect(config).map(drop)
}

fn execute(config: &Config) -> Result<(), Error> {
    Session::connect(config)?.execute("select 1")
}

fn query(config: &Config) -> Result<(), Error> {
    Session::connect(config)?.query("select 1", &[]).map(drop)
}

fn copy(config: &Config) -> Result<(), Error> {
    let mut session = Session::connect(config)?;
    let mut copy = session.copy_out("copy t to stdout (format binary)")?;
    loop {
        while let Some(([b'd', length @ ..], rest)) = copy.buffered().split_first_chunk::<5>() {
            let n_bytes = u32::from_be_bytes(*length) as usize;
            if rest.len() + 4 < n_bytes {
                break;
            }
            copy.consume(n_bytes + 1);
        }
        if let CopyOutStep::Done { .. } = copy.advance()? {
            return Ok(());
        }
    }
}

/// Sends more than sockets hold, to a server that reads nothing until it has sent everything.
fn copy_in(config: &Config) -> Result<(), Error> {
    let mut session = Session::connect(config)?;
    let mut copy = session.copy_in("copy t from stdin")?;
    for _ in 0..1_000 {
        copy.write(&[b'x'; CopyIn::MESSAGE_BYTES])?;
    }
    copy.finish().map(drop)
}

/// The interrupter of a client that waits for bytes that never come; the server uses it after its last byte.
static INTERRUPTER: Mutex<Option<Interrupter>> = Mutex::new(None);

fn copy_until_interrupted(config: &Config) -> Result<(), Error> {
    let mut session = Session::connect(config)?;
    *INTERRUPTER.lock().unwrap() = Some(session.interrupter());
    session.copy_out("copy t to stdout (format binary)")?.advance().map(drop)
}

fn attacks() -> Vec<Attack> {
    let flood = std::env::var("PGARROW_TEST_FLOOD").map_or(FLOOD, |text| text.parse().unwrap());
    let copy_began = message(b'H', &[1, 0, 1, 0, 1]);
    let copy_over = [message(b'c', b""), message(b'C', b"COPY 0\0"), message(b'Z', b"I")].concat();
    let done = [message(b'C', b"SET\0"), message(b'Z', b"I")].concat();
    let notice = message(b'N', &[&b"SNOTICE\0C00000\0M"[..], &[b'x'; 100], b"\0\0"].concat());
    let large_notice = message(b'N', &[&b"SNOTICE\0C00000\0M"[..], &vec![0xff; 1_000_000], b"\0\0"].concat());
    let parameter = message(b'S', b"application_name\0other\0");
    let notification = message(b'A', b"\0\0\0\x07channel\0payload\0");
    let small = |name, flood: Vec<u8>, run, first: Vec<u8>, last: Vec<u8>| Attack {
        name,
        first: welcome(),
        then: Some(first),
        flood: flood.repeat(1000),
        n_times: 0,
        last,
        run,
        expected: Ok(()),
    };
    let mut attacks = vec![
        small("notices", notice.clone(), execute, Vec::new(), done.clone()),
        small("parameters", parameter.clone(), execute, Vec::new(), done.clone()),
        small("notifications", notification, execute, Vec::new(), done.clone()),
        small("empty CopyData", message(b'd', b""), copy, copy_began.clone(), copy_over.clone()),
        small("notices in a COPY", notice.clone(), copy, copy_began.clone(), copy_over.clone()),
        small("empty statements", message(b'I', b""), execute, Vec::new(), done.clone()),
    ];
    attacks.iter_mut().for_each(|attack| attack.n_times = flood / 1000);
    attacks.push(Attack {
        flood: notice.repeat(1000),
        n_times: flood / 1000,
        then: None,
        first: Vec::new(),
        last: welcome(),
        ..small("notices before the login", Vec::new(), connect, Vec::new(), Vec::new())
    });
    attacks.push(Attack {
        flood: large_notice,
        n_times: 200,
        ..small("notices of a megabyte", Vec::new(), execute, Vec::new(), done.clone())
    });
    let endless: Vec<u8> = message(b'A', &vec![b'x'; 1_000_000]);
    attacks.push(Attack {
        flood: endless.clone(),
        n_times: usize::MAX,
        expected: Err(ErrorKind::Protocol),
        ..small("notifications without end", Vec::new(), execute, Vec::new(), Vec::new())
    });
    attacks.push(Attack {
        flood: endless.clone(),
        n_times: usize::MAX,
        expected: Err(ErrorKind::Protocol),
        ..small("notifications without end in a COPY", Vec::new(), copy, copy_began.clone(), Vec::new())
    });
    let copy_in_began = message(b'G', &[1, 0, 1, 0, 1]);
    attacks.push(Attack {
        n_times: flood / 1000,
        // Too early: before the end of the data.
        expected: Err(ErrorKind::Protocol),
        ..small(
            "notices while data is sent",
            notice,
            copy_in,
            copy_in_began.clone(),
            message(b'C', b"COPY 0\0"),
        )
    });
    attacks.push(Attack {
        flood: endless,
        n_times: usize::MAX,
        expected: Err(ErrorKind::Protocol),
        ..small(
            "notifications without end while data is sent",
            Vec::new(),
            copy_in,
            copy_in_began.clone(),
            Vec::new(),
        )
    });
    let distinct: Vec<u8> = (0..20_000_u32)
        .flat_map(|n| message(b'S', format!("p{n}\0{}\0", "v".repeat(1000)).as_bytes()))
        .collect();
    attacks.push(Attack {
        flood: distinct,
        n_times: 1,
        ..small("parameters of 20,000 names", Vec::new(), execute, Vec::new(), done)
    });
    // Claimed lengths, and their results.
    let claims = |name, first: Vec<u8>, then: Option<Vec<u8>>, run, kind| Attack {
        name,
        first,
        then,
        flood: vec![b'x'; 64 << 10],
        n_times: 2000,
        last: Vec::new(),
        run,
        expected: Err(kind),
    };
    let huge = |tag: u8| [tag, 0x3f, 0xff, 0xff, 0xff].to_vec();
    attacks.push(claims("a gigabyte before the login", huge(b'd'), None, connect, ErrorKind::Protocol));
    attacks.push(claims(
        "a megabyte of error before the login",
        [b'E', 0, 0x10, 0, 0].to_vec(),
        None,
        connect,
        ErrorKind::Protocol,
    ));
    for (name, run) in
        [("execute", execute as fn(&Config) -> Result<(), Error>), ("query", query), ("copy", copy)]
    {
        attacks.push(claims(name, welcome(), Some(huge(b'D')), run, ErrorKind::Protocol));
    }
    attacks.push(claims("data for no COPY", welcome(), Some(huge(b'd')), execute, ErrorKind::Protocol));
    attacks.push(claims(
        "a row in a COPY",
        welcome(),
        Some([copy_began.clone(), huge(b'D')].concat()),
        copy,
        ErrorKind::Protocol,
    ));
    for (name, tag) in [("a row while data is sent", b'D'), ("data while data is sent", b'd')] {
        let said = [copy_in_began.clone(), huge(tag)].concat();
        attacks.push(claims(name, welcome(), Some(said), copy_in, ErrorKind::Protocol));
    }
    attacks.push(claims(
        "data behind CopyDone",
        welcome(),
        Some([copy_began.clone(), message(b'c', b""), huge(b'd')].concat()),
        copy,
        ErrorKind::Protocol,
    ));
    // The case of the slow reader: a gigabyte is claimed, a megabyte comes, and then nothing.
    attacks.push(Attack {
        n_times: 16,
        ..claims(
            "a gigabyte that does not come",
            welcome(),
            Some([copy_began, huge(b'd')].concat()),
            copy_until_interrupted,
            ErrorKind::Interrupted,
        )
    });
    attacks
}

fn read_untagged(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
    stream.read_exact(&mut body)
}

/// The server's side. In some cases the client leaves in the middle on purpose.
fn play(stream: &mut TcpStream, attack: &Attack) -> std::io::Result<()> {
    read_untagged(stream)?;
    stream.write_all(&attack.first)?;
    if let Some(then) = &attack.then {
        let mut tag = [0];
        stream.read_exact(&mut tag)?;
        read_untagged(stream)?;
        stream.write_all(then)?;
    }
    for _ in 0..attack.n_times {
        stream.write_all(&attack.flood)?;
    }
    stream.write_all(&attack.last)?;
    if let Some(interrupter) = INTERRUPTER.lock().unwrap().take() {
        interrupter.interrupt();
    }
    let _ = stream.read_to_end(&mut Vec::new());
    Ok(())
}

#[test]
fn memory_grows_with_what_is_kept_and_not_with_what_is_claimed() {
    for attack in attacks() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let conninfo = format!("host=127.0.0.1 port={port} user=u dbname=d sslmode=disable");
        let config = Config::parse_with(Some(&conninfo), &|_| None).unwrap();
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = high_water_kib();
        let begun = Instant::now();
        let result = std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = play(&mut stream, &attack);
            });
            (attack.run)(&config)
        });
        let grown = high_water_kib().saturating_sub(before);
        let result = result.map_err(|error| error.kind());
        println!("{}: {grown} KiB more, {:?}", attack.name, begun.elapsed());
        assert_eq!(result, attack.expected, "{}", attack.name);
        assert!(grown < ALLOWANCE_KIB, "{}: {grown} KiB more than before", attack.name);
    }
}
