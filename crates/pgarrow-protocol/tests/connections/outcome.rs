//! The outcome of a cell, with psql and with us.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cell::{Cell, FACTS, Psql};
use crate::world::World;

pub(crate) const CONNECTED: &str = "cell connected: ";
pub(crate) const REFUSED: &str = "cell refused: ";
pub(crate) const END: &str = "cell end";

/// No cell takes longer, unless it hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// The outcome of one cell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// A session, and the server's facts about it.
    Connected(String),
    /// No session, and the reason.
    Refused(String),
    /// Neither: it crashed, or it hung. Never right.
    Broken(String),
}

impl Outcome {
    /// The same outcome, and the same facts of the session. The reasons of a refusal may differ: each program
    /// has its own wording.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Connected(one), Self::Connected(other)) => one == other,
            (Self::Refused(_), Self::Refused(_)) => true,
            _ => false,
        }
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Connected(facts) => format!("connected: {facts}"),
            Self::Refused(reason) => format!("refused: {reason}"),
            Self::Broken(what) => format!("BROKEN: {what}"),
        }
    }
}

/// The outcome with psql.
pub(crate) fn of_psql(world: &World, cell: &Cell, home: &Path) -> Outcome {
    let program = match cell.psql {
        Psql::Seventeen => world.psql_seventeen(),
        Psql::Eighteen => world.psql_eighteen(),
    };
    let mut command = Command::new(program);
    command.args(["-XAtqw", "-c", FACTS, "-d", &cell.conninfo]);
    match run(command, cell, home) {
        Err(outcome) => outcome,
        Ok((Some(0), stdout, _)) => Outcome::Connected(stdout.trim().to_owned()),
        Ok((Some(2), _, stderr)) => Outcome::Refused(one_line(&stderr)),
        Ok((code, stdout, stderr)) => Outcome::Broken(format!("{code:?} {}", one_line(&(stdout + &stderr)))),
    }
}

/// Our outcome, and our whole output, in which no secret may be.
pub(crate) fn of_ours(cell: &Cell, home: &Path) -> (Outcome, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "connects_as_a_cell_says", "--nocapture"]);
    command.env("CELL_CONNINFO", &cell.conninfo);
    let (stdout, stderr) = match run(command, cell, home) {
        Err(outcome) => return (outcome, String::new()),
        Ok((_, stdout, stderr)) => (stdout, stderr),
    };
    let between = |start: &str| Some(stdout.split_once(start)?.1.split_once(END)?.0.trim().to_owned());
    let outcome = match (between(CONNECTED), between(REFUSED)) {
        (Some(facts), None) => Outcome::Connected(facts),
        (None, Some(reason)) => Outcome::Refused(one_line(&reason)),
        _ => Outcome::Broken(one_line(&format!("{stdout} {stderr}"))),
    };
    (outcome, stdout + &stderr)
}

type Ended = (Option<i32>, String, String);

/// Runs a program in the cell's environment only, and ends it if it hangs.
fn run(mut command: Command, cell: &Cell, home: &Path) -> Result<Ended, Outcome> {
    let conninfo =
        command.get_envs().find_map(|(name, value)| (name == "CELL_CONNINFO").then_some(value?.to_owned()));
    command.env_clear().envs(conninfo.map(|value| ("CELL_CONNINFO", value)));
    command.env("HOME", home).envs(cell.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    // Both print a few lines, which fit into their pipes; it is enough to read them after the end.
    let deadline = Instant::now() + DEADLINE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Outcome::Broken(format!("it hung for {} s", DEADLINE.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    stdout.read_to_end(&mut out).unwrap();
    stderr.read_to_end(&mut err).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((status.code(), text(out), text(err)))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
