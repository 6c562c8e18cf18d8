//! TLS settings, and the methods by which a server may ask for a proof of identity.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::choice::{ChannelBinding, ProtocolVersion, SslCertMode, SslMode, SslNegotiation, TlsVersion};
use super::refuse;
use crate::error::Error;

/// Where trusted certificates come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum RootCert {
    /// `~/.postgresql/root.crt`
    Home,
    File(PathBuf),
    /// The operating system's trusted certificates.
    System,
}

/// Everything about TLS. Paths are as given; `None` means libpq's default in `~/.postgresql`.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct TlsSettings {
    pub(crate) mode: SslMode,
    pub(crate) negotiation: SslNegotiation,
    pub(crate) root_cert: RootCert,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// The password of an encrypted key. Never shown.
    pub(crate) key_password: Option<String>,
    pub(crate) cert_mode: SslCertMode,
    pub(crate) crl: Option<PathBuf>,
    pub(crate) crl_dir: Option<PathBuf>,
    /// Whether the host's name is announced to the server.
    pub(crate) sni: bool,
    pub(crate) min_version: Option<TlsVersion>,
    pub(crate) max_version: Option<TlsVersion>,
}

/// The methods by which a server may ask for a proof of identity, and other conditions for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct AuthSettings {
    pub(crate) channel_binding: ChannelBinding,
    pub(crate) require_auth: Option<RequireAuth>,
    /// The operating system's user that the server of a Unix socket must run as.
    pub(crate) require_peer: Option<String>,
    pub(crate) min_protocol: ProtocolVersion,
    pub(crate) max_protocol: ProtocolVersion,
}

/// A method of authentication, by its name in `require_auth`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum AuthMethod {
    /// The server asks for nothing.
    None,
    Password,
    Md5,
    ScramSha256,
    Gss,
    Sspi,
    Oauth,
}

impl AuthMethod {
    const ALL: [Self; 7] =
        [Self::None, Self::Password, Self::Md5, Self::ScramSha256, Self::Gss, Self::Sspi, Self::Oauth];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Password => "password",
            Self::Md5 => "md5",
            Self::ScramSha256 => "scram-sha-256",
            Self::Gss => "gss",
            Self::Sspi => "sspi",
            Self::Oauth => "oauth",
        }
    }
}

/// The methods that a server may use: those in the list, or all but those.
///
/// Source: <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-REQUIRE-AUTH>.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RequireAuth {
    methods: BTreeSet<AuthMethod>,
    is_negated: bool,
}

impl RequireAuth {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let mut methods = BTreeSet::new();
        let mut is_negated = None;
        for word in text.split(',') {
            let (negated, name) = word.strip_prefix('!').map_or((false, word), |name| (true, name));
            if *is_negated.get_or_insert(negated) != negated {
                return Err(refuse("require_auth mixes methods with and without !"));
            }
            let Some(method) = AuthMethod::ALL.into_iter().find(|method| method.as_str() == name) else {
                let known = AuthMethod::ALL.map(AuthMethod::as_str).join(", ");
                return Err(refuse(format!("require_auth names an unknown method, use {known}")));
            };
            if !methods.insert(method) {
                return Err(refuse(format!("require_auth names {name} twice")));
            }
        }
        Ok(Self { methods, is_negated: is_negated.unwrap_or_default() })
    }

    pub(crate) fn allows(&self, method: AuthMethod) -> bool {
        self.methods.contains(&method) != self.is_negated
    }
}

impl std::fmt::Display for RequireAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.is_negated { "!" } else { "" };
        let words: Vec<String> =
            self.methods.iter().map(|method| format!("{sign}{}", method.as_str())).collect();
        f.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_methods() {
        for (text, allowed, refused) in [
            ("scram-sha-256", AuthMethod::ScramSha256, AuthMethod::Md5),
            ("md5,none", AuthMethod::None, AuthMethod::Password),
            ("!password,!md5", AuthMethod::None, AuthMethod::Md5),
        ] {
            let list = RequireAuth::parse(text).unwrap();
            assert!(list.allows(allowed) && !list.allows(refused), "{text}");
        }
        for text in ["", "md5,", "md5,!none", "!md5,none", "MD5", "md5,md5", " md5", "kerberos"] {
            assert!(RequireAuth::parse(text).is_err(), "{text:?}");
        }
    }
}
