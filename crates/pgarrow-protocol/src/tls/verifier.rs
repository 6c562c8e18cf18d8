//! Answers rustls' questions about the server's certificate, with the reason for a refusal.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, PeerMisbehaved, SignatureScheme};
use webpki::RawPublicKeyEntity;

use super::certificate::Certificate;
use super::names;
use super::trust::Trust;

#[derive(Debug)]
pub(super) struct Verifier {
    provider: Arc<CryptoProvider>,
    /// `None`: any certificate is accepted.
    trust: Option<Trust>,
    /// The host that the certificate has to be for.
    host: Option<String>,
}

impl Verifier {
    pub(super) fn new(provider: Arc<CryptoProvider>, trust: Option<Trust>, host: Option<String>) -> Self {
        Self { provider, trust, host }
    }

    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Distrust> {
        let Some(trust) = &self.trust else { return Ok(()) };
        let has_name_limits =
            trust.check(end_entity, sent, now, self.provider.signature_verification_algorithms.all)?;
        if let Some(host) = &self.host {
            let certificate = Certificate::parse(end_entity).ok_or(Distrust::Unreadable)?;
            names::check(&certificate, host, !has_name_limits).map_err(Distrust::Name)?;
        }
        Ok(())
    }

    /// rustls itself reads only certificates of version 3, even if nothing in them is checked.
    fn check_handshake(
        &self,
        message: &[u8],
        certificate: &Certificate,
        signed: &DigitallySignedStruct,
        is_tls13: bool,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // TLS 1.3 has no signatures of PKCS #1 v1.5.
        if is_tls13 && !is_of_tls13(signed.scheme) {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        let schemes = self.provider.signature_verification_algorithms.mapping;
        let Some((_, algorithms)) = schemes.iter().find(|(scheme, _)| *scheme == signed.scheme) else {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        };
        let key =
            SubjectPublicKeyInfoDer::from(certificate.public_key().ok_or(CertificateError::BadEncoding)?);
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateError::BadEncoding)?;
        // In TLS 1.3 the scheme also names the curve; the first algorithm is the one with that curve.
        let n_algorithms = if is_tls13 { 1 } else { algorithms.len() };
        if algorithms
            .iter()
            .take(n_algorithms)
            .any(|algorithm| key.verify_signature(*algorithm, message, signed.signature()).is_ok())
        {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }
}

/// Source: RFC 8446, 4.2.3.
fn is_of_tls13(scheme: SignatureScheme) -> bool {
    matches!(
        scheme,
        SignatureScheme::ECDSA_NISTP256_SHA256
            | SignatureScheme::ECDSA_NISTP384_SHA384
            | SignatureScheme::ECDSA_NISTP521_SHA512
            | SignatureScheme::ED25519
            | SignatureScheme::ED448
            | SignatureScheme::RSA_PSS_SHA256
            | SignatureScheme::RSA_PSS_SHA384
            | SignatureScheme::RSA_PSS_SHA512
    )
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.check(end_entity, intermediates, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(distrust) => Err(CertificateError::Other(OtherError(Arc::new(distrust))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match Certificate::parse(certificate).filter(Certificate::is_version_1) {
            Some(old) => self.check_handshake(message, &old, signed, false),
            None => verify_tls12_signature(
                message,
                certificate,
                signed,
                &self.provider.signature_verification_algorithms,
            ),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match Certificate::parse(certificate).filter(Certificate::is_version_1) {
            Some(old) => self.check_handshake(message, &old, signed, true),
            None => verify_tls13_signature(
                message,
                certificate,
                signed,
                &self.provider.signature_verification_algorithms,
            ),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Why a certificate is not trusted. It repeats nothing from the certificate, which may be anybody's.
#[derive(Debug)]
pub(super) enum Distrust {
    Chain(webpki::Error),
    Expired {
        is_root: bool,
    },
    NotValidYet {
        is_root: bool,
    },
    Purpose,
    /// Revocation lists do not apply to such certificates.
    NoRevocation,
    Unreadable,
    Name(String),
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = |is_root: &bool| if *is_root { "root" } else { "server's" };
        match self {
            Self::Chain(webpki::Error::UnknownIssuer) => f.write_str(
                "the server's certificate does not lead to a valid trusted root: see sslrootcert; or the server does \
                 not send a certificate between the two",
            ),
            Self::Chain(webpki::Error::CertExpired { .. }) => f.write_str("a certificate of the server has expired"),
            Self::Chain(webpki::Error::CertNotValidYet { .. }) => {
                f.write_str("a certificate of the server is not valid yet: is the clock right?")
            }
            Self::Chain(webpki::Error::CertRevoked) => {
                f.write_str("a certificate of the server was revoked, by a list of sslcrl or sslcrldir")
            }
            Self::Chain(webpki::Error::UnknownRevocationStatus) => f.write_str(
                "there is no revocation list of one of the issuers: sslcrl or sslcrldir must hold one of each",
            ),
            Self::Chain(webpki::Error::CrlExpired { .. }) => {
                f.write_str("a revocation list of sslcrl or sslcrldir is out of date")
            }
            Self::Chain(webpki::Error::CaUsedAsEndEntity) => f.write_str(
                "the server's certificate is an authority's, which no root has signed directly",
            ),
            Self::Chain(webpki::Error::UnsupportedCertVersion) => f.write_str(
                "the server's certificate is of version 1, and no root has signed it directly",
            ),
            Self::Chain(
                webpki::Error::RequiredEkuNotFoundContext(_) | webpki::Error::EmptyEkuExtension,
            )
            | Self::Purpose => f.write_str("the server's certificate is not meant for servers"),
            // The variants' names. Variants that hold bytes of the certificate are handled above; the others
            // hold only numbers.
            Self::Chain(cause) => write!(f, "the server's certificate is refused: {cause}"),
            Self::Expired { is_root } => write!(f, "the {} certificate has expired", whose(is_root)),
            Self::NotValidYet { is_root } => {
                write!(f, "the {} certificate is not valid yet: is the clock right?", whose(is_root))
            }
            Self::NoRevocation => f.write_str(
                "the server's certificate is of a kind for which revocation lists are not looked at: one of version 3 \
                 that is no authority's is needed",
            ),
            Self::Unreadable => f.write_str("the server's certificate cannot be read"),
            Self::Name(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Distrust {}
