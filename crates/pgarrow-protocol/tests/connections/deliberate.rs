//! Where we differ from psql, and why. Each entry has to differ, in exactly its number of cells.

use Way::{Refused, Session};

use crate::outcome::Outcome;

/// How a cell ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    Session,
    Refused,
}

impl Way {
    fn is(self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Refused(_) => self == Self::Refused,
            Outcome::Connected(_) => self == Self::Session,
            Outcome::Broken(_) => false,
        }
    }
}

/// Cells that differ on purpose.
#[derive(Debug)]
pub(crate) struct Deliberate {
    /// The group; empty: any.
    pub(crate) group: &'static str,
    /// Parts of the names of the cells; none: every cell of the group.
    pub(crate) names: &'static [&'static str],
    pub(crate) psql: Way,
    pub(crate) ours: Way,
    pub(crate) n_cells: usize,
    pub(crate) reason: &'static str,
}

impl Deliberate {
    /// Whether it is about this cell, which is known to differ.
    pub(crate) fn covers(&self, group: &str, name: &str, psql: &Outcome, ours: &Outcome) -> bool {
        (self.group.is_empty() || self.group == group)
            && (self.names.is_empty() || self.names.iter().any(|part| name.contains(part)))
            && self.psql.is(psql)
            && self.ours.is(ours)
    }
}

const UTF8: &str = "every session is UTF-8, since values are decoded as UTF-8; a warning says so";
const SOCKET: &str =
    "no host is the socket that is there, else localhost; libpq has one folder for sockets built in";
const OWN_NAME: &str = "psql puts its name in the place of the string's, which libpq would keep";

const fn deliberate(
    group: &'static str,
    names: &'static [&'static str],
    (psql, ours): (Way, Way),
    n_cells: usize,
    reason: &'static str,
) -> Deliberate {
    Deliberate { group, names, psql, ours, n_cells, reason }
}

pub(crate) const DELIBERATE: &[Deliberate] = &[
    deliberate("client_encoding", &["LATIN1", "auto"], (Session, Session), 4, UTF8),
    deliberate("client_encoding", &["nonsense"], (Refused, Session), 1, UTF8),
    deliberate("environment", &["PGCLIENTENCODING=auto"], (Session, Session), 1, UTF8),
    deliberate("environment", &["PGCLIENTENCODING=nonsense"], (Refused, Session), 1, UTF8),
    deliberate("lists of hosts", &["host=localhost, port"], (Refused, Session), 1, SOCKET),
    deliberate("URI", &["localhost:CLOSED,:15/postgres"], (Refused, Session), 2, SOCKET),
    deliberate("key=value", &["alone \"host=\""], (Refused, Session), 1, SOCKET),
    deliberate("session", &["fallback_application_name"], (Session, Session), 3, OWN_NAME),
    deliberate("key=value", &["fallback_application_name=y"], (Session, Session), 1, OWN_NAME),
    deliberate(
        "numbers",
        &["socket ", "off "],
        (Session, Refused),
        63,
        "a number that cannot be read is an error also where it would not be used",
    ),
    deliberate(
        "numbers",
        &["keepalives_idle=", "keepalives_interval=", "keepalives_count="],
        (Refused, Session),
        6,
        "zero is the system's own value, as the manual says; libpq hands it to Linux, which refuses it",
    ),
    deliberate(
        "services",
        &["long line"],
        (Refused, Session),
        2,
        "lines of a service file may be longer than libpq's 1,024 bytes",
    ),
    deliberate(
        "server certificate",
        &["good for 127.1", "good for 2130706433", "good for 0x7f.1"],
        (Session, Refused),
        3,
        "a certificate is checked for addresses in their usual spelling only",
    ),
    deliberate(
        "revocation",
        &["garbage.crt", "empty.crt"],
        (Session, Refused),
        30,
        "a revocation list that cannot be read is an error; libpq goes on without it",
    ),
    deliberate(
        "client certificate",
        &["cert_legacy.key password"],
        (Session, Refused),
        1,
        "keys that are encrypted in OpenSSL's own way, with MD5, are not read; the error says how to convert them",
    ),
    deliberate(
        "methods",
        &["iterations: u_high"],
        (Session, Refused),
        1,
        "a server that asks for more iterations of SCRAM's hash than the cap is refused: it could ask for hours",
    ),
    deliberate(
        "require_auth",
        &["\"!oauth\""],
        (Refused, Session),
        2,
        "a name of libpq 18, which psql 17 does not know",
    ),
    deliberate(
        "require_auth",
        &["\"\""],
        (Refused, Session),
        2,
        "an empty require_auth is none; libpq then refuses every server that asks for anything",
    ),
    deliberate(
        "protocol versions",
        &["oauth_issuer", "sslkeylogfile"],
        (Session, Refused),
        2,
        "what is not done here is refused, also where nothing would come of it: OAuth, keys of sessions in files",
    ),
    deliberate(
        "protocol versions",
        &["servicefile=x"],
        (Refused, Session),
        1,
        "a name of libpq 19, without a service",
    ),
];
