//! What went wrong with a store, in words without secrets.
//!
//! Errors of `object_store` have URLs with their queries, and whole answers of servers: for a wrong signature
//! that is what was signed. So texts are made anew, of what is known to be harmless.

use std::error::Error;
use std::fmt;
use std::io;

use object_store::client::{HttpError, HttpErrorKind};
use pgarrow_sink::{SinkError, SinkErrorKind};

use crate::address::Kind;

/// The longest code of a store that is repeated: `ConditionalRequestConflict` is one.
const CODE_BYTES: usize = 64;

const NOT_UNDERSTOOD: &str = "the store's answer was not understood";

/// What stores say when credentials were good and are no more. S3 says so with a status of 400, others with
/// 403.
///
/// Sources: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>,
/// <https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>.
const EXPIRED: [&str; 3] = ["ExpiredToken", "TokenRefreshRequired", "ExpiredTokenException"];

/// Where clouds hand out credentials to their machines.
const CREDENTIAL_PLACES: [&str; 3] =
    ["://169.254.169.254", "://169.254.170.2", "://metadata.google.internal"];

/// Why a request failed.
#[derive(Debug)]
pub(crate) struct Trouble {
    what: What,
    kind: Kind,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum What {
    /// The store's answer: its HTTP status, and the code that some stores add.
    Status(u16, Option<String>),
    /// No answer.
    Transport(HttpErrorKind, String),
    /// No end in all the time that there was.
    Late,
    /// Credentials could not be had.
    Credentials,
    /// Something that the client did not understand, or does not do.
    Other(&'static str),
}

impl Trouble {
    pub(crate) fn of(kind: Kind, error: &object_store::Error) -> Self {
        Self { what: what(error), kind }
    }

    pub(crate) fn late(kind: Kind) -> Self {
        Self { what: What::Late, kind }
    }

    /// An answer that says something else than it should.
    pub(crate) fn odd(kind: Kind) -> Self {
        Self { what: What::Other(NOT_UNDERSTOOD), kind }
    }

    /// Whether the next try may go well, and the request may have reached the store.
    pub(crate) fn is_passing(&self) -> bool {
        match &self.what {
            // 501 says that the store does not do this, now or later.
            What::Status(status, _) => matches!(status, 408 | 429 | 500 | 502..),
            What::Transport(..) | What::Late => true,
            What::Credentials | What::Other(_) => false,
        }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self.what, What::Status(404, _))
    }

    fn is_refusal(&self) -> bool {
        matches!(self.what, What::Status(401 | 403, _) | What::Credentials) || self.is_expired()
    }

    /// Whether the credentials were good once. S3 answers 400 then, others 401 without a reason.
    fn is_expired(&self) -> bool {
        matches!(&self.what, What::Status(_, Some(code)) if EXPIRED.contains(&code.as_str()))
    }

    /// The next step.
    fn hint(&self) -> &'static str {
        if self.is_expired() {
            return "the credentials have expired: renew them, and start again";
        }
        match (&self.what, self.kind) {
            (What::Status(401 | 403, _) | What::Credentials, kind) => kind.credentials_hint(),
            (What::Status(404, _), Kind::S3) => "check the bucket's name, AWS_REGION and AWS_ENDPOINT_URL",
            (What::Status(404, _), _) => "check the name of the bucket or container",
            (What::Status(300..=399, _), Kind::S3) => "AWS_REGION has to be the bucket's",
            (What::Status(412, _), _) => "the object was replaced meanwhile",
            (What::Status(429 | 503, _), _) => "it is asked for too much at once: try again later",
            (What::Status(501, _), _) => "the store does not do this",
            (What::Status(408 | 500.., _), _) => "try again later",
            (What::Status(..), _) => "check the name and the settings of the store",
            (What::Transport(HttpErrorKind::Connect, _), Kind::S3) => {
                "check the network, AWS_REGION and AWS_ENDPOINT_URL"
            }
            (What::Transport(..) | What::Late, _) => {
                "check the network and the store's address, and try again"
            }
            (What::Other(_), _) => "check the settings of the store",
        }
    }

    /// As an error about something that was done to a file.
    pub(crate) fn into_sink_error(self, doing: &str, place: &str) -> SinkError {
        let kind = match self.is_refusal() {
            true => SinkErrorKind::Permission,
            false => SinkErrorKind::Io,
        };
        SinkError::new(kind, format!("cannot {doing} {place:?}: {self}"))
    }

    /// As an error of a write; who writes adds the place.
    pub(crate) fn into_io(self) -> io::Error {
        let (kind, of_sink) = match &self.what {
            _ if self.is_refusal() => (io::ErrorKind::PermissionDenied, SinkErrorKind::Permission),
            What::Late | What::Transport(HttpErrorKind::Timeout, _) => {
                (io::ErrorKind::TimedOut, SinkErrorKind::Io)
            }
            _ => (io::ErrorKind::Other, SinkErrorKind::Io),
        };
        io::Error::new(kind, SinkError::new(of_sink, self.to_string()))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Status(status, Some(code)) => write!(f, "the store answered {status} {code}")?,
            What::Status(status, None) => write!(f, "the store answered {status}")?,
            What::Transport(HttpErrorKind::Timeout, _) | What::Late => {
                f.write_str("the store did not answer in time")?;
            }
            What::Transport(HttpErrorKind::Connect, cause) => {
                write!(f, "the store cannot be reached: {cause}")?;
            }
            What::Transport(_, cause) => write!(f, "the connection to the store broke: {cause}")?,
            What::Credentials => f.write_str("no credentials were found")?,
            What::Other(text) => f.write_str(text)?,
        }
        write!(f, "; {}", self.hint())?;
        match (&self.what, self.kind) {
            (What::Status(403, _), Kind::S3) if !self.is_expired() => {
                f.write_str(" (without s3:ListBucket, S3 answers 403 for what is not there)")
            }
            _ => Ok(()),
        }
    }
}

fn what(error: &object_store::Error) -> What {
    let text = error.to_string();
    if CREDENTIAL_PLACES.iter().any(|place| text.contains(place)) {
        return What::Credentials;
    }
    if let Some(status) = status(&text) {
        return What::Status(status, code(&text));
    }
    if let Some((kind, cause)) = transport(error) {
        return What::Transport(kind, cause);
    }
    match error {
        object_store::Error::NotFound { .. } => What::Status(404, None),
        object_store::Error::AlreadyExists { .. } => What::Status(409, None),
        object_store::Error::Precondition { .. } => What::Status(412, None),
        object_store::Error::PermissionDenied { .. } => What::Status(403, None),
        object_store::Error::Unauthenticated { .. } => What::Status(401, None),
        object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. } => {
            What::Other("the store does not do this")
        }
        // What `object_store` says of a redirect without a place.
        _ if text.contains("without LOCATION") => What::Status(301, None),
        _ => What::Other(NOT_UNDERSTOOD),
    }
}

/// The HTTP status in a text of `object_store`, which has it nowhere else.
fn status(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

/// The code in the XML of an answer, as in `<Code>AccessDenied</Code>`.
fn code(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_plain = code.len() <= CODE_BYTES && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_plain.then(|| code.to_owned())
}

/// The innermost cause of a request without an answer: it is the system's, or that of TLS.
fn transport(error: &object_store::Error) -> Option<(HttpErrorKind, String)> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(http) = error.downcast_ref::<HttpError>() {
            let mut cause: &dyn Error = http;
            while let Some(inner) = cause.source() {
                cause = inner;
            }
            return Some((http.kind(), cause.to_string()));
        }
        source = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn texts_have_status_code_and_next_step_and_nothing_else() {
        let text = "Error performing PUT http://h/b/x?X-Amz-Signature=canary in 1s - Server returned \
                    non-2xx status code: 403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code>\
                    <StringToSign>canary</StringToSign><AWSAccessKeyId>canary</AWSAccessKeyId></Error>";
        let found = Trouble::of(Kind::S3, &error(text)).into_sink_error("write", "s3://b/x");
        assert_eq!(found.kind(), SinkErrorKind::Permission);
        let found = found.to_string();
        let expected = "cannot write \"s3://b/x\": the store answered 403 SignatureDoesNotMatch; check AWS_";
        assert!(found.starts_with(expected) && !found.contains("canary"), "{found}");
        // A code that is none.
        assert_eq!(code("<Code>a canary</Code>"), None);
        let found = Trouble::of(Kind::S3, &error("canary")).to_string();
        assert!(!found.contains("canary"), "{found}");
    }

    #[test]
    fn credentials_that_have_expired_are_told_from_wrong_ones() {
        for (kind, text, expected) in [
            (Kind::S3, "status code: 403 Forbidden: <Code>ExpiredToken</Code>", "renew them"),
            (Kind::S3, "status code: 400 Bad Request: <Code>ExpiredToken</Code>", "renew them"),
            (Kind::S3, "status code: 403 Forbidden", "whether they have expired (without s3:ListBucket"),
            (Kind::S3, "status code: 403 Forbidden: <Code>AccessDenied</Code>", "what they may do"),
            (Kind::Google, "status code: 401 Unauthorized", "whether they have expired"),
            (Kind::Azure, "status code: 401 Unauthorized", "whether they have expired"),
        ] {
            let found = Trouble::of(kind, &error(text));
            assert!(found.is_refusal() && !found.is_passing(), "{text}");
            assert!(found.to_string().contains(expected), "{found}");
        }
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let is_passing =
            |status: u16| Trouble::of(Kind::Azure, &error(&format!("status code: {status} x"))).is_passing();
        assert!([408, 429, 500, 502, 503].into_iter().all(is_passing));
        assert!(![301, 400, 401, 403, 404, 409, 412, 501].into_iter().any(is_passing));
        let is_refused = Trouble::of(Kind::S3, &error("Error performing PUT http://169.254.169.254/latest"));
        assert!(!is_refused.is_passing() && is_refused.is_refusal());
    }
}
