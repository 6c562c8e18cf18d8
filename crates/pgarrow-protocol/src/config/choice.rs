//! Parameters whose values are words.

use std::fmt;
use std::str::FromStr;

use super::refuse;
use crate::error::Error;

/// An enum whose variants are words of libpq, with `as_str`, `FromStr` and `Display`.
macro_rules! choice {
    (
        $(#[$meta:meta])* $vis:vis enum $name:ident, $parameter:literal {
            $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        $vis enum $name {
            $($(#[$variant_meta])* $variant,)+
        }

        impl $name {
            /// libpq's name for it.
            $vis fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(refuse(format!(
                        concat!($parameter, " is unknown, use one of {}"),
                        [$($word),+].join(", "),
                    ))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

choice! {
    /// How TLS is used and how much of the certificate is checked, weakest first.
    ///
    /// Unix sockets never use TLS.
    ///
    /// Source: <https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION>.
    pub enum SslMode, "sslmode" {
        /// Never TLS.
        Disable = "disable",
        /// TLS only if the server refuses plaintext.
        Allow = "allow",
        /// TLS if the server has it; plaintext if it has none, or if the handshake or the login over TLS
        /// fails. The default.
        Prefer = "prefer",
        /// TLS or an error; the certificate is checked only if a root certificate exists.
        Require = "require",
        /// TLS, and the certificate's chain must end at a trusted root.
        VerifyCa = "verify-ca",
        /// As `VerifyCa`, and the certificate must be for the host.
        VerifyFull = "verify-full",
    }
}

choice! {
    /// How TLS begins: after a request for it, or at once (PostgreSQL 17 and later).
    pub(crate) enum SslNegotiation, "sslnegotiation" {
        /// After SSLRequest and one byte from the server.
        Postgres = "postgres",
        /// With the first byte; the server must agree to the protocol `postgresql` by ALPN.
        Direct = "direct",
    }
}

choice! {
    /// Whether a client certificate is sent.
    pub(crate) enum SslCertMode, "sslcertmode" {
        /// Never, even if one exists.
        Disable = "disable",
        /// If the server asks for one and one exists. The default.
        Allow = "allow",
        /// The server must ask for it.
        Require = "require",
    }
}

choice! {
    /// Whether SCRAM is bound to the TLS connection it runs in.
    pub(crate) enum ChannelBinding, "channel_binding" {
        /// Never.
        Disable = "disable",
        /// Where the server offers it. The default.
        Prefer = "prefer",
        /// Always: any other request of the server is refused.
        Require = "require",
    }
}

choice! {
    /// Versions of the frontend/backend protocol.
    pub(crate) enum ProtocolVersion, "protocol version" {
        /// Since PostgreSQL 7.4.
        V3_0 = "3.0",
        /// Since PostgreSQL 18: cancel keys of up to 256 bytes.
        V3_2 = "3.2",
    }
}

choice! {
    /// The condition for a session to be used.
    pub(crate) enum TargetSessionAttrs, "target_session_attrs" {
        /// Anything.
        Any = "any",
        /// Transactions may write by default.
        ReadWrite = "read-write",
        /// Transactions are read-only by default.
        ReadOnly = "read-only",
        /// Not in recovery.
        Primary = "primary",
        /// In recovery.
        Standby = "standby",
        /// In recovery if one of the hosts is; else anything.
        PreferStandby = "prefer-standby",
    }
}

choice! {
    /// In which order hosts and addresses are tried.
    pub(crate) enum LoadBalanceHosts, "load_balance_hosts" {
        /// As they are given.
        Disable = "disable",
        /// In random order.
        Random = "random",
    }
}

/// Versions of TLS. The first two are too old to be supported here; a range may still name them.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum TlsVersion {
    V1_0,
    V1_1,
    V1_2,
    V1_3,
}

impl TlsVersion {
    /// `parameter` names it in the error. As in libpq, case does not matter.
    pub(crate) fn parse(text: &str, parameter: &str) -> Result<Self, Error> {
        let known = [
            ("TLSv1", Self::V1_0),
            ("TLSv1.1", Self::V1_1),
            ("TLSv1.2", Self::V1_2),
            ("TLSv1.3", Self::V1_3),
        ];
        known
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .map(|(_, version)| version)
            .ok_or_else(|| {
                refuse(format!("{parameter} is unknown, use one of TLSv1, TLSv1.1, TLSv1.2, TLSv1.3"))
            })
    }
}
