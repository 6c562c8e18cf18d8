//! What the catalog could not tell.

use std::fmt;

use pgarrow_protocol::{Error, escape_control};

/// Why a name or a type could not be resolved.
#[derive(Debug)]
#[non_exhaustive]
pub enum CatalogError {
    /// The server, or the connection to it.
    Protocol(Error),
    /// There is no such relation, or the role may not see its schema.
    UnknownRelation {
        /// The name as it was resolved, quoted.
        name: String,
        /// What it may have meant, or what would let the role see it: of [`suggest`](crate::suggest).
        hint: Option<String>,
    },
    /// The role may not use the relation's schema.
    SchemaRefused {
        /// The schema's name.
        schema: String,
        /// What the server says.
        error: Error,
    },
    /// The relation's kind cannot be read: an index, a sequence, a composite type.
    NotReadable {
        /// The relation's name, quoted.
        name: String,
        /// What it is.
        what: &'static str,
    },
    /// The statement returns no rows, so there is nothing to export.
    ReturnsNothing,
    /// The catalog said something it never says.
    Unexpected(&'static str),
}

/// `query_canceled` of <https://www.postgresql.org/docs/current/errcodes-appendix.html>: by somebody, or by a timeout.
const QUERY_CANCELED: &str = "57014";

impl CatalogError {
    /// Whether the server gives no answer to this question, while the session goes on and nobody has cancelled it:
    /// it refused the statement, or said something it never says.
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
