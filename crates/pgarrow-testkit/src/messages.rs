//! Legal backend messages as bytes, for [scripts](crate::script).
//!
//! `pgwire` encodes them, so that a mistake of ours about the protocol is not repeated here.

use bytes::{Bytes, BytesMut};
use pgwire::messages::Message;
use pgwire::messages::copy::{CopyData, CopyDone, CopyOutResponse};
use pgwire::messages::data::{DataRow, FieldDescription, RowDescription};
use pgwire::messages::response::{
    CommandComplete, ErrorResponse, NoticeResponse, ReadyForQuery, TransactionStatus,
};
use pgwire::messages::startup::{Authentication, BackendKeyData, ParameterStatus, SecretKey};

fn encode(message: &impl Message) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes).expect("a legal message");
    bytes.to_vec()
}

/// `AuthenticationOk`.
pub fn authentication_ok() -> Vec<u8> {
    encode(&Authentication::Ok)
}

/// `AuthenticationCleartextPassword`.
pub fn authentication_cleartext() -> Vec<u8> {
    encode(&Authentication::CleartextPassword)
}

/// `AuthenticationMD5Password`.
pub fn authentication_md5(salt: [u8; 4]) -> Vec<u8> {
    encode(&Authentication::MD5Password(salt.to_vec()))
}

/// `AuthenticationSASL` with the names of mechanisms.
pub fn authentication_sasl(mechanisms: &[&str]) -> Vec<u8> {
    encode(&Authentication::SASL(mechanisms.iter().map(|&name| name.to_owned()).collect()))
}

/// `AuthenticationSASLContinue`.
pub fn authentication_sasl_continue(data: &[u8]) -> Vec<u8> {
    encode(&Authentication::SASLContinue(Bytes::copy_from_slice(data)))
}

/// `AuthenticationSASLFinal`.
pub fn authentication_sasl_final(data: &[u8]) -> Vec<u8> {
    encode(&Authentication::SASLFinal(Bytes::copy_from_slice(data)))
}

/// `ParameterStatus`.
pub fn parameter_status(name: &str, value: &str) -> Vec<u8> {
    encode(&ParameterStatus::new(name.to_owned(), value.to_owned()))
}

/// `BackendKeyData` of protocol 3.0.
pub fn backend_key_data(pid: i32, secret_key: i32) -> Vec<u8> {
    encode(&BackendKeyData::new(pid, SecretKey::I32(secret_key)))
}

/// `BackendKeyData` with a longer key, as protocol 3.2 has it.
pub fn backend_key_data_long(pid: i32, secret_key: &[u8]) -> Vec<u8> {
    encode(&BackendKeyData::new(pid, SecretKey::Bytes(Bytes::copy_from_slice(secret_key))))
}

/// `ReadyForQuery`, outside a transaction.
pub fn ready_for_query() -> Vec<u8> {
    encode(&ReadyForQuery::new(TransactionStatus::Idle))
}

/// `ReadyForQuery`, in a transaction.
pub fn ready_in_transaction() -> Vec<u8> {
    encode(&ReadyForQuery::new(TransactionStatus::Transaction))
}

/// `ReadyForQuery`, in a transaction that has failed.
pub fn ready_in_failed_transaction() -> Vec<u8> {
    encode(&ReadyForQuery::new(TransactionStatus::Error))
}

/// The messages of a server without a password, from the startup request to its first `ReadyForQuery`.
pub fn login() -> Vec<u8> {
    [
        authentication_ok(),
        parameter_status("server_version", "15.18"),
        parameter_status("server_encoding", "UTF8"),
        parameter_status("client_encoding", "UTF8"),
        parameter_status("integer_datetimes", "on"),
        parameter_status("standard_conforming_strings", "on"),
        backend_key_data(4711, 42),
        ready_for_query(),
    ]
    .concat()
}

/// `CopyOutResponse`, binary, with this many columns.
pub fn copy_out_response(n_columns: u16) -> Vec<u8> {
    let columns = i16::try_from(n_columns).expect("a number of columns in 15 bits");
    encode(&CopyOutResponse::new(1, columns, vec![1; usize::from(n_columns)]))
}

/// `CopyData`.
pub fn copy_data(payload: &[u8]) -> Vec<u8> {
    encode(&CopyData::new(Bytes::copy_from_slice(payload)))
}

/// `CopyDone`.
pub fn copy_done() -> Vec<u8> {
    encode(&CopyDone::new())
}

/// `CommandComplete`, for example with `COPY 3`.
pub fn command_complete(tag: &str) -> Vec<u8> {
    encode(&CommandComplete::new(tag.to_owned()))
}

/// `RowDescription` of columns given as name and type OID, in text form.
pub fn row_description(columns: &[(&str, u32)]) -> Vec<u8> {
    let field = |&(name, oid): &(&str, u32)| FieldDescription::new(name.to_owned(), 0, 0, oid, -1, -1, 0);
    encode(&RowDescription::new(columns.iter().map(field).collect()))
}

/// `DataRow`; `None` is null.
pub fn data_row(values: &[Option<&[u8]>]) -> Vec<u8> {
    let body = crate::copy::tuple(values.iter().copied());
    // The values without the count, which pgwire writes itself.
    let n_values = i16::try_from(values.len()).expect("a number of values in 16 bits");
    encode(&DataRow::new(BytesMut::from(&body[2..]), n_values))
}

/// The answer to a simple query with text values: description, rows, `SELECT n`. Without `ReadyForQuery`.
pub fn result(columns: &[(&str, u32)], rows: &[&[Option<&str>]]) -> Vec<u8> {
    let mut bytes = row_description(columns);
    for row in rows {
        let values: Vec<Option<&[u8]>> = row.iter().map(|value| value.map(str::as_bytes)).collect();
        bytes.extend(data_row(&values));
    }
    bytes.extend(command_complete(&format!("SELECT {}", rows.len())));
    bytes
}

/// `ErrorResponse` with severity, SQLSTATE and message.
pub fn error_response(severity: &str, sqlstate: &str, message: &str) -> Vec<u8> {
    encode(&ErrorResponse::new(notice_fields(severity, sqlstate, message)))
}

/// `NoticeResponse` with severity, SQLSTATE and message.
pub fn notice_response(severity: &str, sqlstate: &str, message: &str) -> Vec<u8> {
    encode(&NoticeResponse::new(notice_fields(severity, sqlstate, message)))
}

fn notice_fields(severity: &str, sqlstate: &str, message: &str) -> Vec<(u8, String)> {
    vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', sqlstate.to_owned()),
        (b'M', message.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_the_documentation() {
        assert_eq!(authentication_ok(), b"R\0\0\0\x08\0\0\0\0");
        assert_eq!(ready_for_query(), b"Z\0\0\0\x05I");
        assert_eq!(copy_out_response(2), b"H\0\0\0\x0b\x01\0\x02\0\x01\0\x01");
        assert_eq!(copy_data(b"abc"), crate::copy::frame(b"abc"));
        assert_eq!(copy_done(), b"c\0\0\0\x04");
        assert_eq!(command_complete("COPY 3"), b"C\0\0\0\x0bCOPY 3\0");
        assert_eq!(backend_key_data(1, 2), b"K\0\0\0\x0c\0\0\0\x01\0\0\0\x02");
        assert_eq!(data_row(&[Some(b"a"), None]), b"D\0\0\0\x0f\0\x02\0\0\0\x01a\xff\xff\xff\xff");
        assert_eq!(parameter_status("a", "b"), b"S\0\0\0\x08a\0b\0");
        assert_eq!(error_response("ERROR", "57014", "no"), b"E\0\0\0\x1eSERROR\0VERROR\0C57014\0Mno\0\0");
    }
}
