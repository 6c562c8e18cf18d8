//! The messages we send, encoded by pgwire.
//!
//! ```text
//! Outgoing   message · message · message      one buffer, sent as a whole
//! ```
//!
//! pgwire refuses a message above its type's limit (1 GiB at most), so no length field can wrap around and
//! smuggle a second message in (CVE-2024-27304). It does not check for a zero byte inside a string, which
//! would end the string early; this module refuses it.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-message-formats.html>.

use bytes::{Bytes, BytesMut};
use pgwire::messages::Message;
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::copy::CopyFail;
use pgwire::messages::extendedquery::{Bind, Close, Describe, Execute, Parse, Sync};
use pgwire::messages::simplequery::Query;
use pgwire::messages::startup::{
    Password, SASLInitialResponse, SASLResponse, SecretKey, SslRequest, Startup,
};
use pgwire::messages::terminate::Terminate;

use crate::backend::BackendKey;
use crate::config::{Config, ProtocolVersion};
use crate::error::{Error, ErrorKind};
use crate::execution::Execution;

/// Messages on their way out.
#[derive(Default)]
pub(crate) struct Outgoing {
    bytes: BytesMut,
}

/// Without the bytes, which may hold a password.
impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing").field("n_bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl Outgoing {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    fn push(&mut self, message: &impl Message) -> Result<(), Error> {
        let end = self.bytes.len();
        message.encode(&mut self.bytes).map_err(|cause| {
            self.bytes.truncate(end);
            Error::new(ErrorKind::Config, format!("message not sent: {cause}"))
        })
    }

    /// The startup message: the newest protocol that is allowed, and only what the session needs.
    pub(crate) fn startup(&mut self, config: &Config) -> Result<(), Error> {
        let mut startup = Startup::new();
        startup.protocol_number_minor = match config.auth().max_protocol {
            ProtocolVersion::V3_0 => 0,
            ProtocolVersion::V3_2 => 2,
        };
        let mut set = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                startup.parameters.insert(name.to_owned(), value.to_owned());
            }
        };
        set("user", Some(config.user()));
        set("database", Some(config.dbname()));
        set("client_encoding", Some("UTF8"));
        set("application_name", Some(config.application_name()));
        set("options", config.options());
        for (name, value) in config.session_parameters() {
            set(name, Some(value));
        }
        self.push(&startup)
    }

    pub(crate) fn ssl_request(&mut self) -> Result<(), Error> {
        self.push(&SslRequest::new())
    }

    pub(crate) fn cancel_request(&mut self, key: &BackendKey) -> Result<(), Error> {
        let secret = SecretKey::Bytes(Bytes::copy_from_slice(&key.secret));
        self.push(&CancelRequest::new(key.pid, secret))
    }

    pub(crate) fn password(&mut self, password: &str) -> Result<(), Error> {
        no_zero_byte("password", password)?;
        self.push(&Password::new(password.to_owned()))
    }

    pub(crate) fn sasl_initial_response(&mut self, mechanism: &str, data: &[u8]) -> Result<(), Error> {
        self.push(&SASLInitialResponse::new(mechanism.to_owned(), Some(Bytes::copy_from_slice(data))))
    }

    pub(crate) fn sasl_response(&mut self, data: &[u8]) -> Result<(), Error> {
        self.push(&SASLResponse::new(Bytes::copy_from_slice(data)))
    }

    pub(crate) fn query(&mut self, sql: &str) -> Result<(), Error> {
        no_zero_byte("statement", sql)?;
        self.push(&Query::new(sql.to_owned()))
    }

    /// Parse of the unnamed statement; the server infers the types of the parameters.
    pub(crate) fn parse(&mut self, sql: &str) -> Result<(), Error> {
        self.parse_typed(sql, &[])
    }

    /// As [`parse`](Self::parse), with the OIDs of the parameters' types, at most 65,535 of them.
    pub(crate) fn parse_typed(&mut self, sql: &str, types: &[u32]) -> Result<(), Error> {
        self.parse_named("", sql, types)
    }

    /// As [`parse_typed`](Self::parse_typed), of a statement with this name; an empty one is the unnamed.
    pub(crate) fn parse_named(&mut self, name: &str, sql: &str, types: &[u32]) -> Result<(), Error> {
        no_zero_byte("statement", sql)?;
        if u16::try_from(types.len()).is_err() {
            return Err(too_many_parameters());
        }
        self.push(&Parse::new(named(name), sql.to_owned(), types.to_vec()))
    }

    /// Bind to the unnamed portal, each value and column in the format that it has.
    pub(crate) fn bind_execution(&mut self, execution: &Execution<'_>) -> Result<(), Error> {
        let Execution { statement, parameters, text_columns, .. } = execution;
        if u16::try_from(parameters.len()).is_err() {
            return Err(too_many_parameters());
        }
        let formats = parameters.iter().map(|parameter| i16::from(parameter.is_binary)).collect();
        let values = parameters.iter().map(|parameter| parameter.value.map(Bytes::copy_from_slice)).collect();
        // One format holds for all columns.
        let columns = match text_columns.contains(&true) {
            true => text_columns.iter().map(|is_text| i16::from(!is_text)).collect(),
            false => vec![1],
        };
        self.push(&Bind::new(None, named(statement), formats, values, columns))
    }

    /// Bind to the unnamed portal: text in, text out.
    pub(crate) fn bind(&mut self, parameters: &[Option<&str>]) -> Result<(), Error> {
        if u16::try_from(parameters.len()).is_err() {
            return Err(too_many_parameters());
        }
        let parameters =
            parameters.iter().map(|value| value.map(|text| Bytes::copy_from_slice(text.as_bytes())));
        self.push(&Bind::new(None, None, Vec::new(), parameters.collect(), Vec::new()))
    }

    /// Bind to the unnamed portal: no parameters in, all columns out in binary.
    pub(crate) fn bind_binary(&mut self) -> Result<(), Error> {
        self.push(&Bind::new(None, None, Vec::new(), Vec::new(), vec![1]))
    }

    /// Bind to the unnamed portal: binary in, text out.
    pub(crate) fn bind_values(&mut self, values: &[Option<&[u8]>]) -> Result<(), Error> {
        if u16::try_from(values.len()).is_err() {
            return Err(too_many_parameters());
        }
        let values = values.iter().map(|value| value.map(Bytes::copy_from_slice));
        self.push(&Bind::new(None, None, vec![1], values.collect(), Vec::new()))
    }

    pub(crate) fn describe_statement(&mut self) -> Result<(), Error> {
        self.push(&Describe::new(b'S', None))
    }

    pub(crate) fn describe_portal(&mut self) -> Result<(), Error> {
        self.push(&Describe::new(b'P', None))
    }

    pub(crate) fn describe_named(&mut self, statement: &str) -> Result<(), Error> {
        self.push(&Describe::new(b'S', named(statement)))
    }

    pub(crate) fn close_statement(&mut self, statement: &str) -> Result<(), Error> {
        self.push(&Close::new(b'S', named(statement)))
    }

    pub(crate) fn close_portal(&mut self) -> Result<(), Error> {
        self.push(&Close::new(b'P', None))
    }

    /// So many rows of the unnamed portal; `None` for all of them.
    pub(crate) fn execute_part(&mut self, rows: Option<u32>) -> Result<(), Error> {
        let rows = rows.map_or(0, |rows| i32::try_from(rows).unwrap_or(i32::MAX));
        self.push(&Execute::new(None, rows))
    }

    /// All rows of the unnamed portal.
    pub(crate) fn execute(&mut self) -> Result<(), Error> {
        self.push(&Execute::new(None, 0))
    }

    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        self.push(&Sync::new())
    }

    pub(crate) fn copy_fail(&mut self, reason: &str) -> Result<(), Error> {
        no_zero_byte("reason", reason)?;
        self.push(&CopyFail::new(reason.to_owned()))
    }

    pub(crate) fn terminate(&mut self) -> Result<(), Error> {
        self.push(&Terminate::new())
    }
}

fn named(name: &str) -> Option<String> {
    (!name.is_empty()).then(|| name.to_owned())
}

fn too_many_parameters() -> Error {
    Error::new(ErrorKind::Config, "a statement takes at most 65,535 parameters")
}

fn no_zero_byte(what: &str, text: &str) -> Result<(), Error> {
    if text.contains('\0') {
        return Err(Error::new(
            ErrorKind::Config,
            format!("the {what} holds a zero byte, which PostgreSQL cannot take"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(push: impl FnOnce(&mut Outgoing) -> Result<(), Error>) -> Vec<u8> {
        let mut outgoing = Outgoing::new();
        push(&mut outgoing).unwrap();
        outgoing.bytes().to_vec()
    }

    #[test]
    fn startup_sends_protocol_3_0_and_utf8() {
        let config = Config::parse_with(Some("user=u dbname=d host=h"), &|_| None).unwrap();
        let bytes = sent(|outgoing| outgoing.startup(&config));
        assert_eq!(&bytes[4..8], [0, 3, 0, 0]);
        assert_eq!(
            String::from_utf8_lossy(&bytes[8..]),
            "application_name\0pgarrow\0client_encoding\0UTF8\0database\0d\0user\0u\0\0"
        );
    }

    #[test]
    fn the_newest_protocol_that_may_be_spoken_is_asked_for() {
        let conninfo = "user=u host=h max_protocol_version=3.2";
        let config = Config::parse_with(Some(conninfo), &|_| None).unwrap();
        assert_eq!(&sent(|outgoing| outgoing.startup(&config))[4..8], [0, 3, 0, 2]);
    }

    #[test]
    fn small_messages_byte_for_byte() {
        assert_eq!(sent(Outgoing::ssl_request), b"\0\0\0\x08\x04\xd2\x16\x2f");
        let key = BackendKey { pid: 1, secret: b"\xff\xff\xff\xfe".to_vec() };
        assert_eq!(
            sent(|outgoing| outgoing.cancel_request(&key)),
            b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\xff\xff\xff\xfe"
        );
        let key = BackendKey { pid: 1, secret: vec![7; 256] };
        let request = sent(|outgoing| outgoing.cancel_request(&key));
        assert_eq!(&request[..12], b"\0\0\x01\x0c\x04\xd2\x16\x2e\0\0\0\x01");
        assert_eq!(request[12..], [7; 256]);
        assert_eq!(sent(|outgoing| outgoing.query("select")), b"Q\0\0\0\x0bselect\0");
        assert_eq!(sent(|outgoing| outgoing.copy_fail("why")), b"f\0\0\0\x08why\0");
        assert_eq!(sent(Outgoing::terminate), b"X\0\0\0\x04");
        assert_eq!(
            sent(|outgoing| outgoing.bind(&[Some("a"), None])),
            b"B\0\0\0\x15\0\0\0\0\0\x02\0\0\0\x01a\xff\xff\xff\xff\0\0"
        );
        assert_eq!(
            sent(|outgoing| outgoing.bind_values(&[Some(b"a"), None])),
            b"B\0\0\0\x17\0\0\0\x01\0\x01\0\x02\0\0\0\x01a\xff\xff\xff\xff\0\0"
        );
        assert_eq!(sent(Outgoing::bind_binary), b"B\0\0\0\x0e\0\0\0\0\0\0\0\x01\0\x01");
    }

    #[test]
    fn zero_bytes_do_not_reach_the_wire() {
        let mut outgoing = Outgoing::new();
        assert!(outgoing.query("select '\0'").is_err());
        assert!(outgoing.parse("select '\0'").is_err());
        assert!(outgoing.password("a\0b").is_err());
        assert!(outgoing.bytes().is_empty());
    }
}
