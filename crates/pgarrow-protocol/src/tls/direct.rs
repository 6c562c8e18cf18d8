//! Server certificates that OpenSSL accepts and webpki does not: certificates of version 1, certificates with
//! the rights of an authority, and certificates that are themselves in the root file.
//!
//! ```text
//! openssl req -x509 …                       an authority by default, used as the server's own certificate
//! openssl x509 -req -CA root.crt …          version 1 before OpenSSL 3.2, as in PostgreSQL's documentation
//! ```
//!
//! Accepted only if a root has signed the certificate directly, and neither has extensions that this module
//! does not know. It checks one signature, the dates of both and the usages of both.

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime};
use webpki::RawPublicKeyEntity;

use super::certificate::Certificate;
use super::trust::Root;
use super::verifier::Distrust;

/// Whether webpki's error is about such a certificate.
pub(super) fn may_help(cause: &webpki::Error) -> bool {
    matches!(
        cause,
        webpki::Error::CaUsedAsEndEntity
            | webpki::Error::UnsupportedCertVersion
            | webpki::Error::UnknownIssuer
    )
}

/// `Err(None)`: webpki's error says it all.
pub(super) fn check(
    end_entity: &CertificateDer<'_>,
    roots: &[Root],
    now: UnixTime,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<(), Option<Distrust>> {
    let Some(certificate) = Certificate::parse(end_entity) else { return Err(None) };
    let is_root_itself = |root: &&Root| root.der.as_ref() == end_entity.as_ref();
    let is_exotic = certificate.is_version_1() || certificate.is_authority();
    let mut issuers = roots.iter().filter(|root| {
        is_root_itself(root)
            || (is_exotic
                && root.certificate.is_authority()
                && root.certificate.is_for_servers()
                && !root.certificate.has_unknown_limits()
                && certificate.is_issued_by(&root.certificate))
    });
    let Some(root) = issuers.find(|root| is_signed_by(&certificate, &root.certificate, algorithms)) else {
        return Err(None);
    };
    for (certificate, is_root) in [(&certificate, false), (&root.certificate, true)] {
        if certificate.has_expired(now) {
            return Err(Some(Distrust::Expired { is_root }));
        }
        if certificate.is_not_valid_yet(now) {
            return Err(Some(Distrust::NotValidYet { is_root }));
        }
    }
    if certificate.has_unknown_limits() || !certificate.is_for_servers() {
        return Err(Some(Distrust::Purpose));
    }
    Ok(())
}

fn is_signed_by(
    certificate: &Certificate,
    issuer: &Certificate,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> bool {
    let (Some((message, signature)), Some(algorithm), Some(key)) =
        (certificate.signed(), certificate.signature_algorithm(), issuer.public_key())
    else {
        return false;
    };
    let key = SubjectPublicKeyInfoDer::from(key);
    let Ok(key) = RawPublicKeyEntity::try_from(&key) else { return false };
    // One identifier has several algorithms, such as one for each curve.
    algorithms
        .iter()
        .filter(|known| known.signature_alg_id().as_ref() == algorithm)
        .any(|known| key.verify_signature(*known, &message, signature).is_ok())
}
