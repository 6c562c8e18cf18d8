//! The six ways to use TLS.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// How TLS is used and how much of the certificate is checked, weakest first.
///
/// Unix sockets never use TLS.
///
/// Source: <https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION>.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS only if the server refuses without.
    Allow,
    /// TLS if the server has it; plaintext if it has not or the handshake fails. The default.
    Prefer,
    /// TLS or nothing; the certificate is not checked unless a root certificate is at hand.
    Require,
    /// TLS, and the certificate's chain must end at a trusted root.
    VerifyCa,
    /// As `VerifyCa`, and the certificate must be for the host.
    VerifyFull,
}

impl SslMode {
    /// The name libpq has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl FromStr for SslMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "disable" => Ok(Self::Disable),
            "allow" => Ok(Self::Allow),
            "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "verify-ca" => Ok(Self::VerifyCa),
            "verify-full" => Ok(Self::VerifyFull),
            _ => Err(Error::new(
                ErrorKind::Config,
                "sslmode is unknown, use one of disable, allow, prefer, require, verify-ca, verify-full",
            )),
        }
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
