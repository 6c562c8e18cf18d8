//! The names of libpq's connection parameters, and which of them are supported.

use super::refuse;
use crate::error::Error;

/// A connection parameter that is supported.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Parameter {
    ApplicationName,
    ClientEncoding,
    ConnectTimeout,
    Dbname,
    FallbackApplicationName,
    Host,
    Keepalives,
    Options,
    Passfile,
    Password,
    Port,
    Sslmode,
    Sslrootcert,
    /// Only from `PGTZ`: libpq has no parameter for it.
    Timezone,
    User,
}

impl Parameter {
    /// The parameter that libpq calls `name`.
    ///
    /// An unknown name is repeated in the error only if it looks like one: a password with an
    /// unquoted space leaves its second half where a name is expected.
    pub(super) fn from_name(name: &str) -> Result<Self, Error> {
        Ok(match name {
            "application_name" => Self::ApplicationName,
            "client_encoding" => Self::ClientEncoding,
            "connect_timeout" => Self::ConnectTimeout,
            "dbname" => Self::Dbname,
            "fallback_application_name" => Self::FallbackApplicationName,
            "host" => Self::Host,
            "keepalives" => Self::Keepalives,
            "options" => Self::Options,
            "passfile" => Self::Passfile,
            "password" => Self::Password,
            "port" => Self::Port,
            "sslmode" => Self::Sslmode,
            "sslrootcert" => Self::Sslrootcert,
            "user" => Self::User,
            _ if UNSUPPORTED.contains(&name) => {
                return Err(refuse(format!("connection parameter {name} is not supported yet")));
            }
            _ if looks_like_a_name(name) => {
                return Err(refuse(format!("unknown connection parameter \"{name}\"")));
            }
            _ => {
                return Err(refuse(
                    "unknown connection parameter (values with spaces need single quotes; in a URI, characters \
                     such as @, /, ? and & must be percent-encoded)",
                ));
            }
        })
    }
}

fn looks_like_a_name(name: &str) -> bool {
    (1..=40).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// All that libpq knows besides.
///
/// Source: `PQconninfoOptions` in PostgreSQL's `src/interfaces/libpq/fe-connect.c`, 9.6 to 18.
const UNSUPPORTED: &[&str] = &[
    "authtype",
    "channel_binding",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "hostaddr",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_issuer",
    "oauth_scope",
    "replication",
    "require_auth",
    "requirepeer",
    "requiressl",
    "scram_client_key",
    "scram_server_key",
    "service",
    "servicefile",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "sslkeylogfile",
    "sslnegotiation",
    "sslpassword",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
    "tty",
];
