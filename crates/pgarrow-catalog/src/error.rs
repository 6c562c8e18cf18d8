//! Errors of catalog queries.

use std::fmt;

use pgarrow_protocol::{Error, escape_control};

/// Why a name or a type could not be resolved.
#[derive(Debug)]
#[non_exhaustive]
pub enum CatalogError {
    /// An error of the server or of the connection.
    Protocol(Error),
    /// The relation does not exist, or the role may not see its schema.
    UnknownRelation {
        /// The name as it was resolved, quoted.
        name: String,
        /// A similar name, or the right that would let the role see it; set by [`suggest`](crate::suggest).
        hint: Option<String>,
    },
    /// The role may not use the relation's schema.
    SchemaRefused {
        /// The schema's name.
        schema: String,
        /// The server's error.
        error: Error,
    },
    /// The relation's kind cannot be read: an index, a sequence, a composite type.
    NotReadable {
        /// The relation's name, quoted.
        name: String,
        /// The relation's kind, in words.
        what: &'static str,
    },
    /// The statement returns no rows, so there is nothing to export.
    ReturnsNothing,
    /// The catalog gave an answer that should be impossible.
    Unexpected(&'static str),
}

/// `query_canceled` of <https://www.postgresql.org/docs/current/errcodes-appendix.html>: by a user, or by a
/// timeout.
const QUERY_CANCELED: &str = "57014";

impl CatalogError {
    /// Whether only this question failed, while the session continues and nobody has cancelled it: the
    /// server refused the statement, or gave an impossible answer.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Protocol(error) => error
                .server_error()
                .is_some_and(|error| error.severity == "ERROR" && error.sqlstate != QUERY_CANCELED),
            Self::Unexpected(_) => true,
            Self::UnknownRelation { .. }
            | Self::SchemaRefused { .. }
            | Self::NotReadable { .. }
            | Self::ReturnsNothing => false,
        }
    }
}

impl fmt::Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(error) => error.fmt(f),
            Self::UnknownRelation { name, hint: Some(hint) } => {
                write!(f, "there is no table {}; {}", escape_control(name), escape_control(hint))
            }
            Self::SchemaRefused { error, .. } => error.fmt(f),
            Self::UnknownRelation { name, hint: None } => write!(
                f,
                "there is no table {}; check the spelling and the schema (names are folded to lower case \
                 unless they are quoted, as in psql)",
                escape_control(name)
            ),
            Self::NotReadable { name, what } => {
                write!(f, "{} is {what}, which has no rows to export", escape_control(name))
            }
            Self::ReturnsNothing => f.write_str(
                "the statement returns no rows, so there is nothing to export; give a SELECT, VALUES, TABLE or WITH",
            ),
            Self::Unexpected(what) => write!(f, "the catalog's answer cannot be used: {what}"),
        }
    }
}

impl std::error::Error for CatalogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Protocol(error) | Self::SchemaRefused { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl From<Error> for CatalogError {
    fn from(error: Error) -> Self {
        Self::Protocol(error)
    }
}
