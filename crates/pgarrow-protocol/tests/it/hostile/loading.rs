//! The states of statements that load: COPY FROM STDIN, statements that count rows, and bulk statements.
//! `copy_in.rs` tests what may come while data is sent, `commit.rs` what is known of COMMIT.

use pgarrow_protocol::{Config, Error, Session};

use super::{State, asked, description, extended, parsed_and_bound};
use crate::script::{Step, message};

fn began() -> Vec<u8> {
    message(b'G', &[1, 0, 1, 0, 1])
}

fn executing(answer: impl Into<Vec<u8>>) -> Vec<Step> {
    extended(b"PBES", answer.into())
}

fn finish(config: &Config) -> Result<(), Error> {
    Session::connect(config)?.copy_in("copy t from stdin")?.finish().map(drop)
}

fn count(config: &Config) -> Result<(), Error> {
    Session::connect(config)?.execute_counted("insert into t select 1", &[]).map(drop)
}

fn bulk(config: &Config) -> Result<(), Error> {
    let mut session = Session::connect(config)?;
    let mut bulk = session.bulk("insert into t values (1)", &[])?;
    bulk.execute()?;
    bulk.finish().map(drop)
}

pub(super) fn states() -> Vec<State> {
    vec![
        State { name: "copy in", script: || asked(Vec::new()), run: finish, legal: b"GTHCI" },
        State {
            name: "copy in, closing",
            script: || asked(began()).into_iter().chain([Step::Expect(b'c')]).collect(),
            run: finish,
            legal: b"C",
        },
        State {
            name: "copy in, complete",
            script: || {
                let complete = Step::Send(message(b'C', b"COPY 0\0"));
                asked(began()).into_iter().chain([Step::Expect(b'c'), complete]).collect()
            },
            run: finish,
            legal: b"Z",
        },
        State {
            name: "counted, rows",
            script: || extended(b"PBDES", [parsed_and_bound(), description()].concat()),
            run: count,
            legal: b"DC",
        },
        State {
            name: "counted, no rows",
            script: || extended(b"PBDES", [parsed_and_bound(), message(b'n', b"")].concat()),
            run: count,
            legal: b"CIGH",
        },
        State { name: "bulk", script: || executing(Vec::new()), run: bulk, legal: b"1" },
        State { name: "bulk, parsed", script: || executing(message(b'1', b"")), run: bulk, legal: b"2" },
        State { name: "bulk, bound", script: || executing(parsed_and_bound()), run: bulk, legal: b"CI" },
        State {
            name: "bulk, executed",
            script: || executing([parsed_and_bound(), message(b'C', b"INSERT 0 1\0")].concat()),
            run: bulk,
            legal: b"Z",
        },
    ]
}
