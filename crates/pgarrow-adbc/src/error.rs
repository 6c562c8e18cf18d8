//! Our errors as ADBC's: a status, the SQLSTATE, the place, and the text with this driver's names of options.

use std::os::raw::c_char;

use adbc_core::error::{Error, Status};
use arrow_schema::ArrowError;
use pgarrow_catalog::CatalogError;
use pgarrow_session::ErrorKind;
use pgarrow_types::{Hint, option};

pub(crate) type Result<T> = adbc_core::error::Result<T>;

pub(crate) fn invalid_argument(text: impl Into<String>) -> Error {
    Error::with_message_and_status(text, Status::InvalidArguments)
}

pub(crate) fn invalid_state(text: impl Into<String>) -> Error {
    Error::with_message_and_status(text, Status::InvalidState)
}

pub(crate) fn not_implemented(text: impl Into<String>) -> Error {
    Error::with_message_and_status(text, Status::NotImplemented)
}

pub(crate) fn not_found(text: impl Into<String>) -> Error {
    Error::with_message_and_status(text, Status::NotFound)
}

/// ADBC's form of an error of the engine.
pub(crate) fn of_engine(error: pgarrow_session::Error) -> Error {
    let mut converted = Error::with_message_and_status(error.with_words(&words), status(&error));
    // What the server calls a statement that was cancelled, also if it had no time to.
    let state = error.sqlstate().or((error.kind() == ErrorKind::Cancelled).then_some("57014"));
    if let Some(state) = state {
        converted.sqlstate = sqlstate(state);
    }
    if names_no_relation(&error) {
        converted.status = Status::NotFound;
        converted.sqlstate = sqlstate("42P01");
    }
    let place = error.place();
    let row = place.row.map(|row| row.to_string());
    let parts = [
        ("pgarrow.schema", &place.schema),
        ("pgarrow.table", &place.table),
        ("pgarrow.column", &place.column),
        ("pgarrow.row", &row),
    ];
    let details = parts
        .into_iter()
        .filter_map(|(key, value)| value.as_ref().map(|value| (key.to_owned(), value.clone().into_bytes())));
    converted.details = Some(details.collect()).filter(|details: &Vec<_>| !details.is_empty());
    converted
}

/// Whether a relation does not exist, which was found out before the server was asked to read it.
fn names_no_relation(error: &pgarrow_session::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<CatalogError>());
    matches!(cause, Some(CatalogError::UnknownRelation { .. }))
}

/// The same for an error of the protocol, without the advice for exports.
pub(crate) fn of_wire(error: pgarrow_protocol::Error) -> Error {
    of_engine(pgarrow_session::Error::without_advice(error))
}

/// The same for an error of the catalog.
pub(crate) fn of_catalog(error: CatalogError) -> Error {
    of_engine(error.into())
}

/// For readers of batches, whose errors are Arrow's: the text alone reaches a foreign caller. So it has the
/// SQLSTATE, as all errors of the server have.
pub(crate) fn for_reader(error: Error) -> ArrowError {
    ArrowError::ExternalError(Box::new(error))
}

/// The error with an SQLSTATE.
pub(crate) fn with_state(error: Error, state: &str) -> Error {
    Error { sqlstate: sqlstate(state), ..error }
}

/// The five characters.
fn sqlstate(text: &str) -> [c_char; 5] {
    let mut state: [c_char; 5] = [0; 5];
    for (place, byte) in state.iter_mut().zip(text.bytes()) {
        *place = byte as c_char;
    }
    state
}

/// An option as this driver has it: `pgarrow.infinity=null|saturate`.
fn words(hint: &Hint) -> String {
    let name = |name: &str| match name {
        "enums" => "pgarrow.enum".to_owned(),
        "encoding" => "pgarrow.encoding_policy".to_owned(),
        name => format!("pgarrow.{name}"),
    };
    match hint {
        Hint::Column { column, choice } => format!("pgarrow.column.{column}={choice}"),
        Hint::Setting { name, value } => format!("SET {name} = {value}"),
        hint => match (hint.option(), hint.value()) {
            (Some(option), value) if value.is_empty() => format!("option {}", name(option.as_str())),
            (Some(option), _) if option == option::MODE => hint.to_string(),
            (Some(option), value) => format!("{}={value}", name(option.as_str())),
            (None, _) => hint.to_string(),
        },
    }
}

/// What a caller should make of the error.
fn status(error: &pgarrow_session::Error) -> Status {
    if let Some(state) = error.sqlstate() {
        return status_of(state, error.is_timeout());
    }
    match error.kind() {
        ErrorKind::Options => Status::InvalidArguments,
        ErrorKind::Connection if error.is_timeout() => Status::Timeout,
        ErrorKind::Connection | ErrorKind::OutcomeUnknown | ErrorKind::Input => Status::IO,
        // It wants a proof of identity that nobody gave, or has rolled back what had failed.
        ErrorKind::Server => Status::Unauthenticated,
        ErrorKind::Value => Status::InvalidData,
        ErrorKind::Cancelled => Status::Cancelled,
        ErrorKind::Protocol | ErrorKind::Sink | ErrorKind::Differs => Status::Internal,
        _ => Status::Unknown,
    }
}

/// By the class of the SQLSTATE, and single codes that mean something else than their class.
///
/// Source: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn status_of(state: &str, is_timeout: bool) -> Status {
    match state {
        "57014" if is_timeout => Status::Timeout,
        "57014" => Status::Cancelled,
        "55P03" => Status::Timeout,
        "42501" => Status::Unauthorized,
        // Of a table, column, function, object, schema, database, prepared statement, cursor.
        "42P01" | "42703" | "42883" | "42704" | "3F000" | "3D000" | "26000" | "34000" => Status::NotFound,
        // A table, object, function, schema, database, column, cursor, prepared statement.
        "42P07" | "42710" | "42723" | "42P06" | "42P04" | "42701" | "42P03" | "42P05" => {
            Status::AlreadyExists
        }
        _ => match state.get(..2) {
            Some("08" | "53" | "57" | "58") => Status::IO,
            Some("0A") => Status::NotImplemented,
            Some("22" | "21") => Status::InvalidData,
            Some("23" | "44") => Status::Integrity,
            Some("24" | "25" | "2D" | "3B" | "40" | "55") => Status::InvalidState,
            Some("28") => Status::Unauthenticated,
            Some("42" | "54") => Status::InvalidArguments,
            Some("XX") => Status::Internal,
            _ => Status::Unknown,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_a_status() {
        for (state, expected) in [
            ("42P01", Status::NotFound),
            ("42601", Status::InvalidArguments),
            ("23505", Status::Integrity),
            ("22012", Status::InvalidData),
            ("57014", Status::Cancelled),
            ("57P01", Status::IO),
            ("25P02", Status::InvalidState),
            ("28P01", Status::Unauthenticated),
            ("P0001", Status::Unknown),
            ("", Status::Unknown),
        ] {
            assert_eq!(status_of(state, false), expected, "{state}");
        }
        assert_eq!(status_of("57014", true), Status::Timeout);
    }

    #[test]
    fn errors_have_their_state_and_place() {
        let place = pgarrow_session::Place::default().with_table("s", "t").with_row(3);
        let error = pgarrow_session::Error::as_server("42501", "no".to_owned()).at(place);
        let converted = of_engine(error);
        assert_eq!(converted.sqlstate.map(|c| c as u8), *b"42501");
        assert_eq!(converted.status, Status::Unauthorized);
        let details = converted.details.unwrap();
        assert_eq!(details.last(), Some(&("pgarrow.row".to_owned(), b"3".to_vec())));
    }

    #[test]
    fn options_have_the_names_of_this_driver() {
        assert_eq!(words(&option::INFINITY.to("null|saturate")), "pgarrow.infinity=null|saturate");
        assert_eq!(words(&option::ENCODING.to("replace")), "pgarrow.encoding_policy=replace");
        assert_eq!(words(&Hint::column("a", "text")), "pgarrow.column.a=text");
    }
}
