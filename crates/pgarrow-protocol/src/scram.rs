//! The client's side of SCRAM-SHA-256: takes the server's bytes, returns ours. It uses no socket, so tests
//! can feed it random input.
//!
//! ```text
//!  client-first   <gs2>,n=,r=OURS
//!  server-first   r=OURS+THEIRS,s=SALT,i=COUNT        all of it checked before anything is computed
//!  client-final   c=BINDING,r=OURS+THEIRS,p=PROOF
//!  server-final   v=SIGNATURE   or   e=REASON
//!
//!  gs2   n                          no channel binding: there is no TLS, or it is not wanted
//!        y                          we could bind, but the server did not offer it: the server notices if
//!                                   its offer was removed on the way
//!        p=tls-server-end-point     bound to the server's certificate
//! ```
//!
//! The server chooses how much work we have. [`ITERATIONS_MAX`] limits it to well below a second. libpq has
//! no limit, and a server could keep it busy for an hour (CVE-2026-42198). Small counts are the server's
//! choice and accepted.
//!
//! Source: RFC 5802, RFC 7677, RFC 5929 section 4, and
//! <https://www.postgresql.org/docs/current/sasl-authentication.html>.

use std::borrow::Cow;
use std::fmt;

use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

use crate::text::shortened;

/// The most iterations of the hash that are done; PostgreSQL's default is 4,096.
///
/// The same number as in `postgres-protocol`, which does the hashing.
pub(crate) const ITERATIONS_MAX: u32 = 100_000;

/// What we say about channel binding and prove with it.
#[derive(Clone, Eq, PartialEq)]
pub(crate) enum Binding {
    /// Not possible, or not wanted.
    None,
    /// Possible, but the server did not offer it.
    NotOffered,
    /// The hash of the server's certificate.
    ServerEndPoint(Vec<u8>),
}

/// One run of SCRAM. After an error, every call returns an error.
pub(crate) struct Scram {
    inner: ScramSha256,
    /// Our part of the nonce.
    nonce: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum State {
    First,
    Challenged,
    Done,
}

/// Why the server is not trusted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ScramError {
    /// The message is not one of SCRAM. Holds what is wrong with it.
    Malformed(String),
    /// The nonce is not a continuation of ours.
    Nonce,
    /// The number of iterations, as the server wrote it: digits only.
    Iterations(String),
    /// The server reports an error. Escaped.
    Server(String),
    /// The signature does not prove knowledge of the password.
    Signature,
    /// The call is out of order.
    Order,
}

impl Scram {
    pub(crate) fn new(password: &str, binding: Binding) -> Self {
        let binding = match binding {
            Binding::None => ChannelBinding::unsupported(),
            Binding::NotOffered => ChannelBinding::unrequested(),
            Binding::ServerEndPoint(hash) => ChannelBinding::tls_server_end_point(hash),
        };
        let inner = ScramSha256::new(hmac_key(password).as_bytes(), binding);
        let first = inner.message();
        // The nonce is the last attribute, and holds no comma.
        let start = first.iter().rposition(|&byte| byte == b',').map_or(0, |comma| comma + 1);
        let nonce = first.get(start..).and_then(|last| last.strip_prefix(b"r=")).unwrap_or_default().to_vec();
        Self { inner, nonce, state: State::First }
    }

    /// The client's first message.
    pub(crate) fn first(&self) -> &[u8] {
        if self.state == State::First { self.inner.message() } else { &[] }
    }

    /// The client's final message. Takes a while: see [`ITERATIONS_MAX`].
    pub(crate) fn answer(&mut self, challenge: &[u8]) -> Result<&[u8], ScramError> {
        if std::mem::replace(&mut self.state, State::Done) != State::First {
            return Err(ScramError::Order);
        }
        check_challenge(challenge, &self.nonce)?;
        // The cause repeats characters of the challenge.
        self.inner.update(challenge).map_err(|cause| malformed(shortened(&cause.to_string())))?;
        self.state = State::Challenged;
        Ok(self.inner.message())
    }

    /// Whether the server has proven that it knows the password.
    pub(crate) fn finish(&mut self, outcome: &[u8]) -> Result<(), ScramError> {
        if std::mem::replace(&mut self.state, State::Done) != State::Challenged {
            return Err(ScramError::Order);
        }
        if let Some(reason) = outcome.strip_prefix(b"e=") {
            return Err(ScramError::Server(shortened(&String::from_utf8_lossy(reason))));
        }
        if !outcome.starts_with(b"v=") {
            return Err(malformed("neither a signature nor an error"));
        }
        self.inner.finish(outcome).map_err(|_| ScramError::Signature)
    }
}

/// SASLprep leaves nothing of some passwords. PostgreSQL uses such a password as it is, on both sides;
/// `postgres-protocol` uses an empty one. A zero byte at its end makes SASLprep refuse it, so
/// `postgres-protocol` also uses it as it is. HMAC pads keys with zeros to 64 bytes, so the key is the same.
///
/// Source: `pg_saslprep` in PostgreSQL's `src/common/saslprep.c`; RFC 3454 table B.1; RFC 2104.
fn hmac_key(password: &str) -> Cow<'_, str> {
    let vanishes = |c: char| {
        matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{1806}' | '\u{180b}'..='\u{180d}' | '\u{200b}'..='\u{200d}' | '\u{2060}'
                | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        )
    };
    if !password.is_empty() && password.len() < 64 && password.chars().all(vanishes) {
        Cow::Owned(format!("{password}\0"))
    } else {
        Cow::Borrowed(password)
    }
}

fn malformed(what: impl Into<String>) -> ScramError {
    ScramError::Malformed(what.into())
}

/// `r=` nonce `,s=` salt `,i=` count, and nothing else: extensions begin with `m=`, and a client must
/// understand them.
fn check_challenge(challenge: &[u8], our_nonce: &[u8]) -> Result<(), ScramError> {
    let text = std::str::from_utf8(challenge).map_err(|_| malformed("it is not UTF-8"))?;
    let mut attributes = text.split(',');
    let mut next = |name: &str| {
        attributes
            .next()
            .and_then(|attribute| attribute.strip_prefix(name))
            .ok_or_else(|| malformed(format!("{name} is not where it should be")))
    };
    let nonce = next("r=")?.as_bytes();
    if nonce.len() <= our_nonce.len() || !nonce.starts_with(our_nonce) {
        return Err(ScramError::Nonce);
    }
    if next("s=")?.is_empty() {
        return Err(malformed("the salt is empty"));
    }
    let count = next("i=")?;
    if attributes.next().is_some() {
        return Err(malformed("something follows the number of iterations"));
    }
    if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed("the number of iterations is no number"));
    }
    match count.parse::<u32>() {
        Ok(0) => Err(malformed("the number of iterations is 0")),
        Ok(1..=ITERATIONS_MAX) => Ok(()),
        _ => Err(ScramError::Iterations(count.chars().take(20).collect())),
    }
}

impl fmt::Display for ScramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "the server's SCRAM message is malformed: {what}"),
            Self::Nonce => write!(f, "the server's SCRAM nonce does not continue ours"),
            Self::Iterations(count) => write!(
                f,
                "the server asks for {count} iterations of SCRAM's hash and at most {ITERATIONS_MAX} are done: lower \
                 scram_iterations on the server and set the password again"
            ),
            Self::Server(reason) => write!(f, "the server reports an error of SCRAM: {reason}"),
            Self::Signature => write!(
                f,
                "the server could not prove that it knows the password: its SCRAM signature is wrong"
            ),
            Self::Order => write!(f, "a SCRAM message came out of order"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(scram: &Scram, rest: &str) -> Vec<u8> {
        [b"r=", scram.nonce.as_slice(), rest.as_bytes()].concat()
    }

    #[test]
    fn the_first_message_says_what_is_possible() {
        for (binding, header) in [
            (Binding::None, "n,,n=,r="),
            (Binding::NotOffered, "y,,n=,r="),
            (Binding::ServerEndPoint(vec![1]), "p=tls-server-end-point,,n=,r="),
        ] {
            let scram = Scram::new("pencil", binding);
            assert!(scram.first().starts_with(header.as_bytes()));
            assert!(scram.nonce.len() >= 18 && scram.first().ends_with(&scram.nonce));
        }
    }

    #[test]
    fn a_password_that_vanishes_is_used_as_it_is() {
        assert_eq!(hmac_key("\u{ad}"), "\u{ad}\0");
        for password in ["", "pencil", "pen\u{ad}cil", "\u{a0}"] {
            assert_eq!(hmac_key(password), password);
        }
    }

    #[test]
    fn nonces_are_not_used_twice() {
        assert_ne!(Scram::new("", Binding::None).nonce, Scram::new("", Binding::None).nonce);
    }

    #[test]
    fn the_hash_of_the_certificate_is_in_the_answer() {
        let mut scram = Scram::new("pencil", Binding::ServerEndPoint(b"hash".to_vec()));
        let challenge = challenge(&scram, "x,s=c2FsdA==,i=1");
        let answer = scram.answer(&challenge).unwrap();
        // base64 of "p=tls-server-end-point,,hash"
        assert!(answer.starts_with(b"c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsaGFzaA==,r="));
    }

    /// A-48: the server decides how much work an attacker has.
    #[test]
    fn counts_from_one_to_the_bound_are_accepted() {
        for count in [1, 2, 4095, 4096, ITERATIONS_MAX] {
            let mut scram = Scram::new("pencil", Binding::None);
            let challenge = challenge(&scram, &format!("x,s=c2FsdA==,i={count}"));
            assert!(scram.answer(&challenge).is_ok(), "{count}");
        }
    }

    /// A-47.
    #[test]
    fn challenges_that_are_not_acceptable() {
        for (rest, word) in [
            ("x,s=c2FsdA==,i=2147483647", "2147483647 iterations"),
            ("x,s=c2FsdA==,i=100001", "at most 100000"),
            ("x,s=c2FsdA==,i=99999999999999999999999999", "99999999999999999999 iterations"),
            ("x,s=c2FsdA==,i=0", "is 0"),
            ("x,s=c2FsdA==,i=-1", "no number"),
            ("x,s=c2FsdA==,i=+1", "no number"),
            ("x,s=c2FsdA==,i=", "no number"),
            ("x,s=c2FsdA==,i=4096x", "no number"),
            ("x,s=c2FsdA==,i=4096,m=1", "follows"),
            ("x,m=ext,s=c2FsdA==,i=4096", "s= is not"),
            ("x,s=c2FsdA==", "i= is not"),
            ("x,s=,i=4096", "salt is empty"),
            ("x,s=!,i=4096", "malformed"),
            ("x,s=c2FsdA,i=4096", "malformed"),
            (",s=c2FsdA==,i=4096", "nonce"),
        ] {
            let mut scram = Scram::new("pencil", Binding::None);
            let challenge = challenge(&scram, rest);
            let error = scram.answer(&challenge).map(<[u8]>::to_vec).unwrap_err().to_string();
            assert!(error.contains(word), "{rest}: {error}");
            assert_eq!(scram.answer(&challenge), Err(ScramError::Order), "{rest}");
            assert_eq!(scram.finish(b"v=AAAA"), Err(ScramError::Order), "{rest}");
        }
        for challenge in
            [&b""[..], b"r=", b"r=other,s=c2FsdA==,i=4096", b"m=x,r=y", b"\xff", b"e=other-error"]
        {
            assert!(Scram::new("pencil", Binding::None).answer(challenge).is_err(), "{challenge:?}");
        }
    }

    #[test]
    fn outcomes_that_are_not_acceptable() {
        let megabyte = [b"v=".to_vec(), vec![b'A'; 1 << 20]].concat();
        for (outcome, word) in [
            (&b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="[..], "could not prove"),
            (b"v=", "could not prove"),
            (b"v=!", "could not prove"),
            (b"", "neither"),
            (b"x=y", "neither"),
            (b"e=other\x1b[31m", "other\\u{1b}[31m"),
            (&megabyte, "could not prove"),
        ] {
            let mut scram = Scram::new("pencil", Binding::None);
            let challenge = challenge(&scram, "x,s=c2FsdA==,i=1");
            scram.answer(&challenge).unwrap();
            let error = scram.finish(outcome).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
            assert_eq!(scram.finish(outcome), Err(ScramError::Order));
        }
    }
}
