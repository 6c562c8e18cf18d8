//! How much of a server's certificate is checked.
//!
//! ```text
//!                             handshake    chain to a     name in
//!  sslmode                    signatures   trusted root   subjectAltName
//!  allow, prefer, require     yes          no             no
//!  verify-ca                  yes          yes            no
//!  verify-full                yes          yes            yes
//! ```
//!
//! The trusted roots are in `sslrootcert`, by default `~/.postgresql/root.crt`, or the operating
//! system's with `sslrootcert=system`. Always through `builder_with_provider`: without it rustls
//! panics in programs that contain two providers.
//!
//! A certificate that signs itself and stands in the root file is trusted as such: that is how
//! servers set up by hand look, and how OpenSSL treats them. Unlike libpq, the subject's common name
//! is not looked at.
//!
//! Source: <https://www.postgresql.org/docs/current/libpq-ssl.html>.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::config::{Config, RootCert, SslMode};
use crate::error::{Error, ErrorKind};

pub(crate) fn client_config(config: &Config, sslmode: SslMode) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(ring::default_provider());
    let trust = match sslmode {
        SslMode::VerifyCa | SslMode::VerifyFull => Some(Trust::read(config)?),
        SslMode::Disable | SslMode::Allow | SslMode::Prefer | SslMode::Require => None,
    };
    let verifier =
        Verifier { provider: Arc::clone(&provider), trust, checks_name: sslmode == SslMode::VerifyFull };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| Error::new(ErrorKind::Tls, format!("TLS cannot be set up: {cause}")))?;
    let client_config = builder
        .dangerous() // the verifier below does what sslmode says
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(client_config))
}

/// The name to announce and, with `verify-full`, to check.
pub(crate) fn server_name(config: &Config) -> Result<ServerName<'static>, Error> {
    match (ServerName::try_from(config.host().to_owned()), config.pinned()) {
        (Ok(name), _) => Ok(name),
        // A name that no certificate can hold; an address instead announces nothing.
        (Err(_), Some(address)) if config.sslmode() != SslMode::VerifyFull => Ok(address.ip().into()),
        (Err(_), _) => {
            let message = format!("host {} is no name that a certificate can be checked for", config.host());
            Err(Error::new(ErrorKind::Tls, message))
        }
    }
}

/// A failed handshake in words.
pub(crate) fn explain(cause: &io::Error) -> String {
    if cause.kind() == io::ErrorKind::UnexpectedEof {
        return "the server closed the connection".to_owned();
    }
    let cause = cause.to_string();
    if cause.contains("UnknownIssuer") || cause.contains("CaUsedAsEndEntity") {
        format!("{cause}: the certificate does not lead to a trusted root; see sslrootcert")
    } else {
        cause
    }
}

#[derive(Debug)]
struct Trust {
    roots: RootCertStore,
    /// The same certificates as they are, to recognise one that is also the server's own.
    certificates: Vec<CertificateDer<'static>>,
}

impl Trust {
    fn read(config: &Config) -> Result<Self, Error> {
        let refuse = |message: String| Error::new(ErrorKind::Tls, message);
        let certificates = if *config.sslrootcert() == RootCert::System {
            rustls_native_certs::load_native_certs().certs
        } else {
            let Some(path) = config.root_file() else {
                return Err(refuse(
                    "no root certificates: there is no home directory, set sslrootcert".to_owned(),
                ));
            };
            if !path.exists() {
                return Err(refuse(format!(
                    "root certificate file {} does not exist: provide it, use the system's with \
                     sslrootcert=system, or choose an sslmode that does not verify",
                    path.display()
                )));
            }
            CertificateDer::pem_file_iter(&path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|cause| refuse(format!("root certificate file {}: {cause}", path.display())))?
        };
        let mut roots = RootCertStore::empty();
        // A system's store may hold what webpki cannot read; the rest is still good.
        let (n_added, _) = roots.add_parsable_certificates(certificates.iter().cloned());
        if n_added == 0 {
            return Err(refuse("no root certificate could be read".to_owned()));
        }
        Ok(Self { roots, certificates })
    }
}

#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    trust: Option<Trust>,
    checks_name: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(trust) = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        match verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &trust.roots,
            intermediates,
            now,
            algorithms,
        ) {
            Ok(()) => {}
            // webpki looks at the dates before it complains about this.
            Err(cause) if is_authority_as_server(&cause) && trust.certificates.contains(end_entity) => {}
            Err(cause) => return Err(cause),
        }
        if self.checks_name {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// webpki's `CaUsedAsEndEntity`, which rustls has no name of its own for.
fn is_authority_as_server(cause: &rustls::Error) -> bool {
    match cause {
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
            format!("{other:?}").contains("CaUsedAsEndEntity")
        }
        _ => false,
    }
}
