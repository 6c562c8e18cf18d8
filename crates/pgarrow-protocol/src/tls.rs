//! TLS according to `sslmode` and its relatives.
//!
//! ```text
//!                             handshake    chain to a     name in the
//!  sslmode                    signatures   trusted root   certificate
//!  allow, prefer, require     yes          if there is    no
//!                                          a root file
//!  verify-ca                  yes          yes            no
//!  verify-full                yes          yes            yes
//!
//!  tls.rs           the settings, and one connection with them
//!  ├─ trust.rs        roots, revocation lists, and the check of a chain
//!  ├─ verifier.rs     rustls' verifier, which uses the others
//!  ├─ direct.rs       certificates that webpki does not take and OpenSSL does
//!  ├─ names.rs        whether a certificate is for a host
//!  ├─ identity.rs     the client's certificate and key
//!  └─ certificate.rs  what is read in certificates; the hash that SCRAM is bound to
//! ```
//!
//! Configurations are always made with `builder_with_provider`: without it rustls panics in programs that
//! contain two providers. Every connection makes a full handshake and resumes none, so that the server always
//! shows its certificate.
//!
//! OpenSSL, and so libpq, accepts these; this crate does not, on purpose or because rustls does not:
//!
//! - TLS 1.0 and 1.1; RSA keys below 2048 bits; DSA; elliptic curves other than P-256, P-384, X25519 and
//!   Ed25519; signatures with MD5, SHA-1 or SHA-224 in a chain that is checked.
//! - Certificates of version 1, or of an authority, as a server's own: only if a root itself has signed them,
//!   and not together with revocation lists.
//! - Revocation lists of version 1, delta and indirect ones; a revocation list that exists and cannot be read
//!   is an error, where libpq goes on without.
//! - Private keys encrypted in the old way ("Proc-Type: 4,ENCRYPTED"), and keys in hardware.
//!
//! Source: <https://www.postgresql.org/docs/current/libpq-ssl.html>.

mod certificate;
mod direct;
mod identity;
mod names;
mod trust;
mod verifier;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, SupportedProtocolVersion};

pub(crate) use self::certificate::end_point_hash;
pub(crate) use self::identity::CertificateUse;
use self::identity::Resolver;
use self::trust::Trust;
use self::verifier::{Distrust, Verifier};
use crate::config::{Config, SslMode, SslNegotiation, TlsVersion};
use crate::error::{Error, ErrorKind};

/// The protocol of ALPN, from PostgreSQL's `src/include/libpq/pqcomm.h`.
const ALPN: &[u8] = b"postgresql";

/// Everything for TLS to one host, read once; for a session and its cancel requests.
#[derive(Debug)]
pub(crate) struct TlsClient {
    config: ClientConfig,
    identity: Option<Arc<CertifiedKey>>,
    name: ServerName<'static>,
    is_direct: bool,
    warnings: Vec<String>,
}

impl TlsClient {
    /// Reads the files that `config` names. `sslmode` is the one that applies.
    pub(crate) fn new(config: &Config, sslmode: SslMode) -> Result<Arc<Self>, Error> {
        let settings = config.tls();
        let provider = Arc::new(ring::default_provider());
        let is_checked = sslmode >= SslMode::VerifyCa;
        // As in libpq, every sslmode uses a root file that exists.
        let has_roots = config.root_file().is_some_and(|path| path.exists());
        let (trust, warnings) = if is_checked || has_roots {
            Trust::read(config).map(|(trust, warnings)| (Some(trust), warnings))?
        } else {
            (None, Vec::new())
        };
        let host = match (sslmode, config.host_name()) {
            (SslMode::VerifyFull, Some(host)) => Some(host.to_owned()),
            (SslMode::VerifyFull, None) => {
                return Err(refuse(
                    "sslmode=verify-full needs a host name to check, and there is only an address: set host",
                ));
            }
            _ => None,
        };
        let verifier = Verifier::new(Arc::clone(&provider), trust, host);
        let identity = identity::read(config, &provider)?;
        let versions = versions(settings.min_version, settings.max_version)?;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(|cause| refuse(format!("TLS cannot be set up: {cause}")))?
            .dangerous() // the verifier obeys sslmode
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth(); // set for each connection
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = Resumption::disabled();
        client.enable_sni = settings.sni;
        let is_direct = settings.negotiation == SslNegotiation::Direct;
        Ok(Arc::new(Self { config: client, identity, name: server_name(config), is_direct, warnings }))
    }

    /// A connection before its handshake, and a record of whether it uses our certificate.
    pub(crate) fn connection(&self) -> Result<(ClientConnection, Arc<CertificateUse>), rustls::Error> {
        let certificate_use = Arc::new(CertificateUse::default());
        let mut config = self.config.clone();
        config.client_auth_cert_resolver =
            Arc::new(Resolver::new(self.identity.clone(), Arc::clone(&certificate_use)));
        Ok((ClientConnection::new(Arc::new(config), self.name.clone())?, certificate_use))
    }

    /// TLS begins with the first byte. The server must agree to PostgreSQL's protocol by ALPN.
    pub(crate) fn is_direct(&self) -> bool {
        self.is_direct
    }

    /// Weaknesses, for people to read.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn refuse(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Tls, message)
}

/// The name to announce. An address is never announced, and neither is a name that no certificate can hold.
fn server_name(config: &Config) -> ServerName<'static> {
    let name = config.host_name().and_then(|host| ServerName::try_from(host.to_owned()).ok());
    name.unwrap_or_else(|| ServerName::from(IpAddr::from(Ipv4Addr::UNSPECIFIED)))
}

/// The versions from `min` to `max`. As in libpq, `min` is 1.2 by default.
fn versions(
    min: Option<TlsVersion>,
    max: Option<TlsVersion>,
) -> Result<Vec<&'static SupportedProtocolVersion>, Error> {
    let min = min.unwrap_or(TlsVersion::V1_2);
    let is_in = |version| min <= version && max.is_none_or(|max| version <= max);
    let versions: Vec<_> = [(TlsVersion::V1_2, &TLS12), (TlsVersion::V1_3, &TLS13)]
        .into_iter()
        .filter(|(version, _)| is_in(*version))
        .map(|(_, version)| version)
        .collect();
    if versions.is_empty() {
        let message = "ssl_min_protocol_version and ssl_max_protocol_version leave no version of TLS: 1.2 and 1.3 are \
                       supported";
        return Err(Error::new(ErrorKind::Config, message));
    }
    Ok(versions)
}

/// A failed handshake in our own words, without text from the server.
pub(crate) fn explain(cause: &io::Error) -> String {
    if cause.kind() == io::ErrorKind::UnexpectedEof {
        return "the server closed the connection".to_owned();
    }
    if let Some(what) = refused_certificate(cause) {
        return what;
    }
    match cause.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(other))) => {
            match other.0.downcast_ref::<Distrust>() {
                Some(distrust) => distrust.to_string(),
                None => cause.to_string(),
            }
        }
        Some(
            rustls::Error::NoApplicationProtocol
            | rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol),
        ) => "the server does not agree to speak PostgreSQL (by ALPN) on this port".to_owned(),
        Some(rustls::Error::AlertReceived(alert)) => format!("the server ended the handshake ({alert:?})"),
        Some(rustls::Error::InvalidMessage(_)) => format!("the server does not speak TLS here ({cause})"),
        _ => cause.to_string(),
    }
}

/// Whether the server ended TLS because of our certificate. With TLS 1.3 this shows only after the handshake.
pub(crate) fn refused_certificate(cause: &io::Error) -> Option<String> {
    use AlertDescription::{
        BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked, CertificateUnknown,
        DecryptError, UnknownCA, UnsupportedCertificate,
    };
    let rustls::Error::AlertReceived(alert) = cause.get_ref()?.downcast_ref::<rustls::Error>()? else {
        return None;
    };
    let is_about_it = matches!(
        alert,
        BadCertificate
            | CertificateExpired
            | CertificateRequired
            | CertificateRevoked
            | CertificateUnknown
            | DecryptError
            | UnknownCA
            | UnsupportedCertificate
    );
    is_about_it.then(|| {
        format!("the server refuses the client certificate, or that there is none ({alert:?}): see sslcert and sslkey")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_versions() {
        use TlsVersion::{V1_0, V1_1, V1_2, V1_3};
        for (min, max, n_versions) in [
            (None, None, 2),
            (Some(V1_0), None, 2),
            (Some(V1_2), Some(V1_2), 1),
            (Some(V1_3), None, 1),
            (None, Some(V1_3), 2),
        ] {
            assert_eq!(versions(min, max).unwrap().len(), n_versions, "{min:?} {max:?}");
        }
        for (min, max) in [(None, Some(V1_1)), (Some(V1_0), Some(V1_1)), (Some(V1_3), Some(V1_2))] {
            assert_eq!(versions(min, max).unwrap_err().kind(), ErrorKind::Config, "{min:?} {max:?}");
        }
    }

    #[test]
    fn addresses_are_not_announced() {
        for (host, is_announced) in [
            ("db.example", true),
            ("under_score", true),
            ("127.0.0.1", false),
            ("::1", false),
            ("no name at all", false),
        ] {
            let config = Config::parse_with(Some(&format!("host='{host}' user=u")), &|_| None).unwrap();
            assert_eq!(matches!(server_name(&config), ServerName::DnsName(_)), is_announced, "{host}");
        }
    }
}
