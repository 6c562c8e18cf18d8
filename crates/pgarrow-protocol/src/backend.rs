//! The bodies of the messages a server sends, as far as they are needed here.
//!
//! ```text
//! R  Authentication     i32 method, then what the method needs
//! S  ParameterStatus    name\0 value\0
//! K  BackendKeyData     i32 pid, i32 secret
//! v  NegotiateProtocol  i32 version, i32 n, n × option\0
//! Z  ReadyForQuery      u8: I, T or E
//! C  CommandComplete    tag\0
//! T  RowDescription     i16 n, n × (name\0 u32 i16 u32 i16 i32 i16)
//! t  ParameterDescr.    i16 n, n × u32
//! D  DataRow            i16 n, n × (i32 length, bytes; -1 is null)
//! G, H  CopyResponse    u8 format, i16 n, n × i16
//! ```
//!
//! All of it goes through [`Cursor`]. Source:
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>.

use crate::cursor::{BodyError, Cursor};
use crate::describe::ColumnDescription;
use crate::session::TransactionStatus;

/// What the server asks for, or grants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Authentication {
    Ok,
    Cleartext,
    Md5 {
        salt: [u8; 4],
    },
    Sasl {
        mechanisms: Vec<String>,
    },
    SaslContinue(Vec<u8>),
    SaslFinal(Vec<u8>),
    /// By its number.
    Other(i32),
}

pub(crate) fn authentication(body: &[u8]) -> Result<Authentication, BodyError> {
    let mut cursor = Cursor::new(body);
    let request = match cursor.i32()? {
        0 => Authentication::Ok,
        3 => Authentication::Cleartext,
        5 => Authentication::Md5 { salt: cursor.take_array()? },
        10 => {
            let mut mechanisms = Vec::new();
            loop {
                let mechanism = cursor.text_lossy()?;
                if mechanism.is_empty() {
                    break Authentication::Sasl { mechanisms };
                }
                mechanisms.push(mechanism.into_owned());
            }
        }
        11 => Authentication::SaslContinue(cursor.take_rest().to_vec()),
        12 => Authentication::SaslFinal(cursor.take_rest().to_vec()),
        other => {
            cursor.take_rest();
            Authentication::Other(other)
        }
    };
    cursor.finish()?;
    Ok(request)
}

/// Name and value.
pub(crate) fn parameter_status(body: &[u8]) -> Result<(String, String), BodyError> {
    let mut cursor = Cursor::new(body);
    let name = cursor.text_lossy()?.into_owned();
    let value = cursor.text_lossy()?.into_owned();
    cursor.finish()?;
    Ok((name, value))
}

/// What a cancel request has to show: the process and its secret.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) struct BackendKey {
    pub(crate) pid: i32,
    pub(crate) secret: i32,
}

impl std::fmt::Debug for BackendKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackendKey").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// Exactly four bytes of secret, as in protocol 3.0.
pub(crate) fn backend_key(body: &[u8]) -> Result<BackendKey, BodyError> {
    let mut cursor = Cursor::new(body);
    let key = BackendKey { pid: cursor.i32()?, secret: cursor.i32()? };
    cursor.finish()?;
    Ok(key)
}

/// Checks a NegotiateProtocolVersion and says how many of our options the server does not know.
///
/// The version comes as a minor number or, from servers up to 17, as the full one. Protocol 3.0 has
/// nothing below it to fall back to, so any other version is nonsense.
pub(crate) fn negotiate(body: &[u8]) -> Result<usize, BodyError> {
    let mut cursor = Cursor::new(body);
    match cursor.i32()? {
        0 | PROTOCOL_3_0 => {}
        other => return Err(BodyError::Value(other)),
    }
    let count = cursor.i32()?;
    let n_options =
        usize::try_from(count).ok().filter(|&n| n <= cursor.remaining()).ok_or(BodyError::Count(count))?;
    for _ in 0..n_options {
        cursor.cstring()?;
    }
    cursor.finish()?;
    Ok(n_options)
}

const PROTOCOL_3_0: i32 = 3 << 16;

pub(crate) fn ready_for_query(body: &[u8]) -> Result<TransactionStatus, BodyError> {
    let mut cursor = Cursor::new(body);
    let status = match cursor.u8()? {
        b'I' => TransactionStatus::Idle,
        b'T' => TransactionStatus::InTransaction,
        b'E' => TransactionStatus::Failed,
        other => return Err(BodyError::Value(other.into())),
    };
    cursor.finish()?;
    Ok(status)
}

/// Checks that a CommandComplete is one; its tag.
pub(crate) fn command_complete(body: &[u8]) -> Result<&[u8], BodyError> {
    let mut cursor = Cursor::new(body);
    let tag = cursor.cstring()?;
    cursor.finish()?;
    Ok(tag)
}

/// The rows in a tag that is exactly `COPY <u64>`.
pub(crate) fn copy_rows(tag: &[u8]) -> Option<u64> {
    tagged_rows(tag, b"COPY ")
}

/// The rows in a tag that is exactly `command`, with its space, and a `u64`.
pub(crate) fn tagged_rows(tag: &[u8], command: &[u8]) -> Option<u64> {
    let digits = tag.strip_prefix(command)?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None; // `parse` would take a sign
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

pub(crate) fn row_description(body: &[u8]) -> Result<Vec<ColumnDescription>, BodyError> {
    // Without the formats: what was asked for, or 0 if nothing was bound yet.
    described_row(body).map(|(columns, _)| columns)
}

/// How many columns a RowDescription has, and whether all of them come in binary.
pub(crate) fn row_formats(body: &[u8]) -> Result<CopyFormats, BodyError> {
    let (columns, is_binary) = described_row(body)?;
    Ok(CopyFormats { n_columns: columns.len(), is_binary })
}

fn described_row(body: &[u8]) -> Result<(Vec<ColumnDescription>, bool), BodyError> {
    let mut is_binary = true;
    let mut cursor = Cursor::new(body);
    let n_columns = cursor.count(19)?; // an empty name and six numbers
    let mut columns = Vec::with_capacity(n_columns);
    for _ in 0..n_columns {
        columns.push(ColumnDescription {
            name: cursor.text_lossy()?.into_owned(),
            table_oid: cursor.u32()?,
            attribute_number: cursor.i16()?,
            type_oid: cursor.u32()?,
            type_length: cursor.i16()?,
            type_modifier: cursor.i32()?,
        });
        is_binary &= cursor.i16()? == 1;
    }
    cursor.finish()?;
    Ok((columns, is_binary))
}

pub(crate) fn parameter_description(body: &[u8]) -> Result<Vec<u32>, BodyError> {
    let mut cursor = Cursor::new(body);
    // The one count that uses all 16 bits: a statement may have 65,535 parameters.
    let n_parameters = usize::from(u16::from_be_bytes(cursor.take_array()?));
    if n_parameters.saturating_mul(4) > cursor.remaining() {
        return Err(BodyError::Short);
    }
    let types = (0..n_parameters).map(|_| cursor.u32()).collect::<Result<Vec<u32>, BodyError>>()?;
    cursor.finish()?;
    Ok(types)
}

/// The values of a row; `None` is null.
pub(crate) fn data_row(body: &[u8]) -> Result<Vec<Option<&[u8]>>, BodyError> {
    let mut cursor = Cursor::new(body);
    let n_values = cursor.count(4)?;
    let mut values = Vec::with_capacity(n_values);
    for _ in 0..n_values {
        values.push(match cursor.i32()? {
            -1 => None,
            length => {
                let n_bytes = usize::try_from(length).map_err(|_| BodyError::Count(length))?;
                Some(cursor.take(n_bytes)?)
            }
        });
    }
    cursor.finish()?;
    Ok(values)
}

/// Formats of columns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct CopyFormats {
    pub(crate) n_columns: usize,
    /// The overall format and that of every column is binary.
    pub(crate) is_binary: bool,
}

pub(crate) fn copy_response(body: &[u8]) -> Result<CopyFormats, BodyError> {
    let mut cursor = Cursor::new(body);
    let overall = cursor.u8()?;
    if overall > 1 {
        return Err(BodyError::Value(overall.into()));
    }
    let n_columns = cursor.count(2)?;
    let mut is_binary = overall == 1;
    for _ in 0..n_columns {
        match cursor.i16()? {
            0 => is_binary = false,
            1 => {}
            other => return Err(BodyError::Value(other.into())),
        }
    }
    cursor.finish()?;
    Ok(CopyFormats { n_columns, is_binary })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_exact_copy_tag_counts() {
        for (tag, rows) in [
            (&b"COPY 0"[..], Some(0)),
            (b"COPY 7", Some(7)),
            (b"COPY 18446744073709551615", Some(u64::MAX)),
            (b"COPY 18446744073709551616", None),
            (b"COPY", None),
            (b"COPY ", None),
            (b"COPY x", None),
            (b"COPY +5", None),
            (b"COPY -5", None),
            (b"COPY 5 ", None),
            (b"COPY  5", None),
            (b"copy 5", None),
            (b"SELECT 5", None),
            (b"", None),
        ] {
            assert_eq!(copy_rows(tag), rows, "{:?}", String::from_utf8_lossy(tag));
        }
    }

    #[test]
    fn row_descriptions_that_lie() {
        let one = b"\0\x01a\0\0\0\0\x05\0\x02\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0";
        let columns = row_description(one).unwrap();
        assert_eq!(columns.len(), 1);
        assert_eq!((columns[0].name.as_str(), columns[0].table_oid, columns[0].type_oid), ("a", 5, 23));
        assert_eq!(columns[0].type_modifier, -1);
        for n_bytes in 0..one.len() {
            assert!(row_description(&one[..n_bytes]).is_err(), "{n_bytes}");
        }
        assert!(row_description(b"\xff\xff").is_err());
        assert!(row_description(b"\x7f\xff").is_err());
        let mut trailing = one.to_vec();
        trailing.push(0);
        assert_eq!(row_description(&trailing), Err(BodyError::Trailing(1)));
    }

    #[test]
    fn data_rows_that_lie() {
        assert_eq!(data_row(b"\0\x02\xff\xff\xff\xff\0\0\0\x01x"), Ok(vec![None, Some(&b"x"[..])]));
        for body in [
            &b""[..],
            b"\0",
            b"\0\x01",
            b"\xff\xff",
            b"\0\x01\xff\xff\xff\xfe",
            b"\0\x01\x7f\xff\xff\xff",
            b"\0\x01\0\0\0\x02x",
            b"\0\x01\0\0\0\x01xy",
        ] {
            assert!(data_row(body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn copy_responses_that_lie() {
        assert_eq!(
            copy_response(b"\x01\0\x02\0\x01\0\x01"),
            Ok(CopyFormats { n_columns: 2, is_binary: true })
        );
        assert_eq!(copy_response(b"\x01\0\0"), Ok(CopyFormats { n_columns: 0, is_binary: true }));
        assert!(!copy_response(b"\0\0\x01\0\0").unwrap().is_binary);
        assert!(!copy_response(b"\x01\0\x02\0\x01\0\0").unwrap().is_binary);
        for body in [
            &b""[..],
            b"\x01",
            b"\x01\xff\xff",
            b"\x01\0\x01",
            b"\x01\0\x01\0\x02",
            b"\x02\0\0",
            b"\x01\0\0\0",
        ] {
            assert!(copy_response(body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn protocol_negotiation_is_bounded() {
        assert_eq!(negotiate(b"\0\0\0\0\0\0\0\x01_pq_.x\0"), Ok(1));
        assert_eq!(negotiate(b"\0\x03\0\0\0\0\0\0"), Ok(0));
        for body in [
            &b"\0\0\0\0\x7f\xff\xff\xff"[..],
            b"\0\0\0\0\xff\xff\xff\xff",
            b"\0\0\0\0\0\0\0\x01open",
            b"\0\x03\0\x02\0\0\0\0",
            b"\0\x02\0\0\0\0\0\0",
            b"\0\0\0",
        ] {
            assert!(negotiate(body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn authentication_requests() {
        assert_eq!(authentication(b"\0\0\0\0"), Ok(Authentication::Ok));
        assert_eq!(authentication(b"\0\0\0\x05abcd"), Ok(Authentication::Md5 { salt: *b"abcd" }));
        assert_eq!(authentication(b"\0\0\0\x07"), Ok(Authentication::Other(7)));
        assert_eq!(
            authentication(b"\0\0\0\x0aSCRAM-SHA-256\0\0"),
            Ok(Authentication::Sasl { mechanisms: vec!["SCRAM-SHA-256".to_owned()] })
        );
        for body in [
            &b""[..],
            b"\0\0\0",
            b"\0\0\0\0x",
            b"\0\0\0\x05abc",
            b"\0\0\0\x0aSCRAM",
            b"\0\0\0\x0aSCRAM\0",
            b"\0\0\0\x0a\0x",
        ] {
            assert!(authentication(body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn small_bodies() {
        assert_eq!(parameter_status(b"a\0b\0"), Ok(("a".to_owned(), "b".to_owned())));
        assert!(parameter_status(b"a\0b").is_err());
        assert!(backend_key(b"\0\0\0\x01\0\0\0\x02").is_ok());
        assert!(backend_key(b"\0\0\0\x01\0\0\0").is_err());
        assert!(backend_key(b"\0\0\0\x01\0\0\0\x02\0").is_err());
        assert_eq!(ready_for_query(b"I"), Ok(TransactionStatus::Idle));
        assert!(ready_for_query(b"").is_err());
        assert!(ready_for_query(b"X").is_err());
        assert!(ready_for_query(b"II").is_err());
        assert_eq!(parameter_description(b"\0\x01\0\0\0\x17"), Ok(vec![23]));
        assert!(parameter_description(b"\xff\xff\0\0\0\x17").is_err());
        assert_eq!(command_complete(b"COPY 1\0"), Ok(&b"COPY 1"[..]));
        assert!(command_complete(b"COPY 1").is_err());
        assert!(command_complete(b"").is_err());
        assert!(command_complete(b"COPY 1\0\0").is_err());
    }
}
