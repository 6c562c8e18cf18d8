//! A server that violates the protocol, in every state of a session.

mod every_tag;
mod lengths;
mod loading;
mod outgoing;
mod reports;

use pgarrow_protocol::{Config, CopyOutStep, Error, RowStream, Session};

use crate::script::{Server, Step, logged_in, message, ready};

/// A state of the protocol: how a server brings the client there, what the client does, and which messages
/// are allowed.
pub(crate) struct State {
    pub(crate) name: &'static str,
    /// From the startup request on.
    script: fn() -> Vec<Step>,
    run: fn(&Config) -> Result<(), Error>,
    /// Tags after which the client continues, reports that the statement is no COPY, or is done.
    pub(crate) legal: &'static [u8],
}

impl State {
    /// The script up to this state.
    pub(crate) fn script(&self) -> Vec<Step> {
        (self.script)()
    }

    /// Connects, and brings the client to this state.
    pub(crate) fn run(&self, config: &Config) -> Result<(), Error> {
        (self.run)(config)
    }
}

/// Messages that may come at any time.
pub(crate) const ANY_TIME: &[u8] = b"NSAE";

pub(crate) fn description() -> Vec<u8> {
    message(b'T', b"\0\x01a\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\x01")
}

fn authentication_ok() -> Vec<u8> {
    message(b'R', &[0; 4])
}

fn begun() -> Vec<u8> {
    [message(b'C', b"BEGIN\0"), ready(b'T')].concat()
}

fn copy_began() -> Vec<u8> {
    message(b'H', &[1, 0, 1, 0, 1])
}

fn asked(answer: impl Into<Vec<u8>>) -> Vec<Step> {
    logged_in(vec![Step::Expect(b'Q'), Step::Send(answer.into())])
}

fn extended(tags: &[u8], answer: impl Into<Vec<u8>>) -> Vec<Step> {
    let steps = tags.iter().map(|tag| Step::Expect(*tag));
    logged_in(steps.chain([Step::Send(answer.into())]).collect())
}

fn declared(answer: impl Into<Vec<u8>>) -> Vec<Step> {
    logged_in(vec![Step::Expect(b'Q'), Step::Send(begun()), Step::Expect(b'Q'), Step::Send(answer.into())])
}

fn fetched(answer: impl Into<Vec<u8>>) -> Vec<Step> {
    let mut steps = declared([message(b'C', b"DECLARE CURSOR\0"), ready(b'T')].concat());
    steps.extend([Step::Expect(b'Q'), Step::Send(answer.into())]);
    steps
}

fn parsed_and_bound() -> Vec<u8> {
    [message(b'1', b""), message(b'2', b"")].concat()
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

fn describe(config: &Config) -> Result<(), Error> {
    Session::connect(config)?.describe("select 1").map(drop)
}

fn copy(config: &Config) -> Result<(), Error> {
    let mut session = Session::connect(config)?;
    let mut copy = session.copy_out("copy t to stdout (format binary)")?;
    drain(&mut copy, b'd')
}

fn select(config: &Config) -> Result<(), Error> {
    let mut session = Session::connect(config)?;
    let mut rows = session.select_out("select a from t")?;
    drain(&mut rows, b'D')
}

fn cursor(config: &Config) -> Result<(), Error> {
    let mut session = Session::connect(config)?;
    session.execute("begin")?;
    let mut rows = session.cursor_out("select a from t", 1000)?;
    drain(&mut rows, b'D')
}

/// Reads to the end, as a decoder that takes every row.
pub(crate) fn drain(stream: &mut dyn RowStream, tag: u8) -> Result<(), Error> {
    loop {
        while let Some(([found, length @ ..], rest)) = stream.buffered().split_first_chunk::<5>() {
            let n_bytes = u32::from_be_bytes(*length) as usize;
            if *found != tag || n_bytes < 4 || rest.len() < n_bytes - 4 {
                break;
            }
            stream.consume(n_bytes + 1);
        }
        if let CopyOutStep::Done { .. } = stream.advance()? {
            return Ok(());
        }
    }
}

/// Every state in which the client waits for a message, from the first to the last of each kind of statement.
pub(crate) fn states() -> Vec<State> {
    let mut states = vec![
        State { name: "startup", script: || vec![Step::ExpectUntagged], run: connect, legal: b"R" },
        State {
            name: "authenticated",
            script: || vec![Step::ExpectUntagged, Step::Send(authentication_ok())],
            run: connect,
            legal: b"KZ",
        },
        State { name: "execute", script: || asked(Vec::new()), run: execute, legal: b"TCIGH" },
        State { name: "execute, rows", script: || asked(description()), run: execute, legal: b"DC" },
        State {
            name: "execute, complete",
            script: || asked(message(b'C', b"SET\0")),
            run: execute,
            legal: b"TCIGHZ",
        },
        State { name: "query", script: || extended(b"PBDES", Vec::new()), run: query, legal: b"1" },
        State {
            name: "query, parsed",
            script: || extended(b"PBDES", message(b'1', b"")),
            run: query,
            legal: b"2",
        },
        State {
            name: "query, bound",
            script: || extended(b"PBDES", parsed_and_bound()),
            run: query,
            legal: b"Tn",
        },
        State {
            name: "query, rows",
            script: || extended(b"PBDES", [parsed_and_bound(), description()].concat()),
            run: query,
            legal: b"DC",
        },
        State {
            name: "query, no rows",
            script: || extended(b"PBDES", [parsed_and_bound(), message(b'n', b"")].concat()),
            run: query,
            legal: b"CIGH",
        },
        State {
            name: "query, complete",
            script: || {
                let rows = [parsed_and_bound(), description(), message(b'C', b"SELECT 0\0")].concat();
                extended(b"PBDES", rows)
            },
            run: query,
            legal: b"Z",
        },
        State { name: "describe", script: || extended(b"PDS", Vec::new()), run: describe, legal: b"1" },
        State {
            name: "describe, parsed",
            script: || extended(b"PDS", message(b'1', b"")),
            run: describe,
            legal: b"t",
        },
        State {
            name: "describe, parameters",
            script: || extended(b"PDS", [message(b'1', b""), message(b't', b"\0\0")].concat()),
            run: describe,
            legal: b"Tn",
        },
        State {
            name: "describe, columns",
            script: || {
                extended(b"PDS", [message(b'1', b""), message(b't', b"\0\0"), message(b'n', b"")].concat())
            },
            run: describe,
            legal: b"Z",
        },
        State { name: "copy", script: || asked(Vec::new()), run: copy, legal: b"HTGCI" },
        State { name: "copy, streaming", script: || asked(copy_began()), run: copy, legal: b"dc" },
        State {
            name: "copy, closing",
            script: || asked([copy_began(), message(b'c', b"")].concat()),
            run: copy,
            legal: b"C",
        },
        State {
            name: "copy, complete",
            script: || asked([copy_began(), message(b'c', b""), message(b'C', b"COPY 0\0")].concat()),
            run: copy,
            legal: b"Z",
        },
        State { name: "select", script: || extended(b"PBDES", Vec::new()), run: select, legal: b"1" },
        State {
            name: "select, parsed",
            script: || extended(b"PBDES", message(b'1', b"")),
            run: select,
            legal: b"2",
        },
        State {
            name: "select, bound",
            script: || extended(b"PBDES", parsed_and_bound()),
            run: select,
            legal: b"Tn",
        },
        State {
            name: "select, rows",
            script: || extended(b"PBDES", [parsed_and_bound(), description()].concat()),
            run: select,
            legal: b"DC",
        },
        State {
            name: "select, complete",
            script: || {
                let rows = [parsed_and_bound(), description(), message(b'C', b"SELECT 0\0")].concat();
                extended(b"PBDES", rows)
            },
            run: select,
            legal: b"Z",
        },
        State { name: "cursor", script: || declared(Vec::new()), run: cursor, legal: b"C" },
        State {
            name: "cursor, declared",
            script: || declared(message(b'C', b"DECLARE CURSOR\0")),
            run: cursor,
            legal: b"Z",
        },
        State { name: "cursor, fetch", script: || fetched(Vec::new()), run: cursor, legal: b"T" },
        State { name: "cursor, rows", script: || fetched(description()), run: cursor, legal: b"DC" },
        State {
            name: "cursor, fetched",
            script: || fetched([description(), message(b'C', b"FETCH 0\0")].concat()),
            run: cursor,
            legal: b"Z",
        },
    ];
    states.extend(loading::states());
    states
}

/// Plays each script to one client. Returns the result of each.
pub(crate) fn against(state: &State, endings: Vec<Vec<Step>>) -> Vec<Result<(), Error>> {
    let n_endings = endings.len();
    let scripts = endings.into_iter().map(|ending| state.script().into_iter().chain(ending).collect());
    let server = Server::start(scripts.collect());
    let results = (0..n_endings).map(|_| state.run(&server.config())).collect();
    server.join();
    results
}

/// Otherwise the tests below would test less than their names say.
#[test]
fn every_state_is_reached() {
    for state in states() {
        let error = against(&state, vec![Vec::new()]).remove(0).expect_err(state.name);
        assert_eq!(error.kind(), pgarrow_protocol::ErrorKind::Closed, "{}: {error}", state.name);
    }
}
