//! The bodies of messages from the server, as far as this crate needs them.
//!
//! ```text
//! R  Authentication     i32 method, then what the method needs
//! S  ParameterStatus    name\0 value\0
//! K  BackendKeyData     i32 pid, 4 bytes of secret; 4 to 256 since protocol 3.2
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

use crate::config::ProtocolVersion;
use crate::cursor::{BodyError, Cursor};

/// What the server asks for or grants.
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
    /// Another method, by its number.
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

/// The credentials of a cancel request: the process and its secret.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct BackendKey {
    pub(crate) pid: i32,
    pub(crate) secret: Vec<u8>,
}

impl std::fmt::Debug for BackendKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackendKey").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// Exactly four bytes of secret in protocol 3.0, four to 256 since 3.2.
pub(crate) fn backend_key(body: &[u8], protocol: ProtocolVersion) -> Result<BackendKey, BodyError> {
    let secret_bytes_max = match protocol {
        ProtocolVersion::V3_0 => 4,
        ProtocolVersion::V3_2 => 256,
    };
    let mut cursor = Cursor::new(body);
    let pid = cursor.i32()?;
    let secret = cursor.take_rest();
    if secret.len() < 4 {
        return Err(BodyError::Short);
    }
    match secret.len().checked_sub(secret_bytes_max) {
        None | Some(0) => Ok(BackendKey { pid, secret: secret.to_vec() }),
        Some(n_bytes) => Err(BodyError::Trailing(n_bytes)),
    }
}

/// The content of a NegotiateProtocolVersion.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Negotiation {
    /// The server speaks protocol 3 with this minor version.
    pub(crate) minor: i32,
    /// Options that we asked for and it does not know.
    pub(crate) n_options: usize,
}

/// The server sends the full version or, as the documentation up to 17 says, only the minor version.
pub(crate) fn negotiation(body: &[u8]) -> Result<Negotiation, BodyError> {
    let mut cursor = Cursor::new(body);
    let version = cursor.i32()?;
    let minor = match (version >> 16, version & 0xffff) {
        (0 | 3, minor) => minor,
        _ => return Err(BodyError::Value(version)),
    };
    let count = cursor.i32()?;
    let n_options =
        usize::try_from(count).ok().filter(|&n| n <= cursor.remaining()).ok_or(BodyError::Count(count))?;
    for _ in 0..n_options {
        cursor.cstring()?;
    }
    cursor.finish()?;
    Ok(Negotiation { minor, n_options })
}

/// Whether the session is in a transaction, by the last ReadyForQuery.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TransactionStatus {
    /// Not in a transaction block.
    Idle,
    /// In a transaction block.
    InTransaction,
    /// In a transaction block that failed: only ROLLBACK helps.
    Failed,
}

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

/// Checks a CommandComplete. Returns its tag.
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
    if digits.is_empty()
        || !digits.iter().all(u8::is_ascii_digit)
        || (digits.len() > 1 && digits.starts_with(b"0"))
    {
        return None; // `parse` would accept a sign and leading zeros
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The rows that a statement's tag counts; 0 for a statement that counts nothing; `None` if the statement
/// counts and its tag has no number.
///
/// Source: "CommandComplete" in <https://www.postgresql.org/docs/current/protocol-message-formats.html>.
pub(crate) fn counted_rows(tag: &[u8]) -> Option<u64> {
    counted(tag).map(|rows| rows.unwrap_or(0))
}

/// The same, with `Some(None)` for a statement that counts nothing.
pub(crate) fn counted(tag: &[u8]) -> Option<Option<u64>> {
    const COUNTING: [&[u8]; 7] = [b"DELETE", b"UPDATE", b"MERGE", b"SELECT", b"MOVE", b"FETCH", b"COPY"];
    let command = tag.split(|byte| *byte == b' ').next().unwrap_or_default();
    match command {
        // The number in between was an OID in old versions.
        b"INSERT" => tagged_rows(tag, b"INSERT 0 ").map(Some),
        _ if COUNTING.contains(&command) => {
            tag.strip_prefix(command).and_then(|rest| tagged_rows(rest, b" ")).map(Some)
        }
        _ => Some(None),
    }
}

/// One column of a result.
///
/// Source: "RowDescription" in
/// <https://www.postgresql.org/docs/current/protocol-message-formats.html>.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ColumnDescription {
    /// The server's name for it. May repeat, may be empty, and may hold control characters.
    pub name: String,
    /// The table whose column this is; 0 if it is computed.
    pub table_oid: u32,
    /// Its number in that table, from 1; 0 if it is computed.
    pub attribute_number: i16,
    /// OID of its type. For a column of a domain type, OID of the base type.
    pub type_oid: u32,
    /// `pg_type.typlen`; negative for types of variable width.
    pub type_length: i16,
    /// `pg_attribute.atttypmod`; -1 if the type has none.
    pub type_modifier: i32,
}

pub(crate) fn row_description(body: &[u8]) -> Result<Vec<ColumnDescription>, BodyError> {
    // Without the formats: they are those that we asked for, or 0 before a Bind.
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
    /// The overall format and the format of every column are binary.
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
mod tests;
