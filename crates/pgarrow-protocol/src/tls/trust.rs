//! Roots and revocation lists, and whether a chain leads to a root and no list revokes it.
//!
//! As with OpenSSL, a root is a certificate that signs itself. Other certificates in the root file only help
//! to find the way to a root. Roots count while they are valid, and may sign others only if they say that
//! they are authorities. With revocation lists, every issuer of the chain must have a list that is up to
//! date.
//!
//! Source: `initialize_SSL` in PostgreSQL's `src/interfaces/libpq/fe-secure-openssl.c`, and
//! openssl-verification-options(1).

use std::io::ErrorKind::{NotADirectory, NotFound};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime,
};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy, anchor_from_trusted_cert,
};

use super::certificate::Certificate;
use super::verifier::Distrust;
use super::{direct, refuse};
use crate::config::{Config, RootCert};
use crate::error::{Error, ErrorKind};
use crate::file::read_plain;

pub(super) struct Trust {
    roots: Vec<Root>,
    /// The other certificates of the root file.
    intermediates: Vec<CertificateDer<'static>>,
    /// `None`: revocation is not checked.
    lists: Option<Vec<CertRevocationList<'static>>>,
}

/// webpki checks such limits against the other names of a certificate, and not against its common name.
pub(super) type HasNameLimits = bool;

/// A certificate that is trusted.
pub(super) struct Root {
    pub(super) der: CertificateDer<'static>,
    pub(super) certificate: Certificate,
    /// Set if it may sign others.
    anchor: Option<TrustAnchor<'static>>,
}

impl Trust {
    /// Reads the files. Returns warnings about them, for people to read.
    pub(super) fn read(config: &Config) -> Result<(Self, Vec<String>), Error> {
        let certificates = if config.tls().root_cert == RootCert::System {
            // The places, and the variables SSL_CERT_FILE and SSL_CERT_DIR, are OpenSSL's.
            rustls_native_certs::load_native_certs().certs
        } else {
            root_file(config)?
        };
        let mut roots = Vec::new();
        let mut intermediates = Vec::new();
        for der in certificates {
            // A system's store may hold certificates that cannot be read; the others are still good.
            let Some(certificate) = Certificate::parse(&der) else { continue };
            if certificate.is_self_issued() {
                let anchor = if certificate.is_authority() && certificate.is_for_servers() {
                    anchor_from_trusted_cert(&der).ok().map(|anchor| anchor.to_owned())
                } else {
                    None
                };
                roots.push(Root { der, certificate, anchor });
            } else {
                intermediates.push(der);
            }
        }
        if roots.is_empty() && intermediates.is_empty() {
            return Err(refuse("no root certificate could be read"));
        }
        let mut warnings = Vec::new();
        let lists = revocation_lists(config, &mut warnings)?;
        Ok((Self { roots, intermediates, lists }, warnings))
    }

    /// Checks that the chain leads to a root, now, and that nothing in it is revoked. Returns whether an
    /// authority in it may sign for some names only.
    pub(super) fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        now: UnixTime,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Result<HasNameLimits, Distrust> {
        match self.check_chain(end_entity, sent, now, algorithms) {
            // A certificate of version 1, one with an authority's rights, or one that is itself trusted.
            Err(cause) if direct::may_help(&cause) => {
                let result = direct::check(end_entity, &self.roots, now, algorithms);
                if result.is_ok() && self.lists.is_some() {
                    return Err(Distrust::NoRevocation);
                }
                // The direct check accepts no authority with such limits.
                result.map(|()| false).map_err(|second| second.unwrap_or(Distrust::Chain(cause)))
            }
            result => result.map_err(Distrust::Chain),
        }
    }

    fn check_chain(
        &self,
        end_entity: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        now: UnixTime,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Result<HasNameLimits, webpki::Error> {
        let certificate = EndEntityCert::try_from(end_entity)?;
        let valid = self
            .roots
            .iter()
            .filter(|root| !root.certificate.has_expired(now) && !root.certificate.is_not_valid_yet(now));
        let anchors: Vec<TrustAnchor<'_>> = valid.filter_map(|root| root.anchor.clone()).collect();
        let intermediates: Vec<CertificateDer<'_>> =
            sent.iter().chain(&self.intermediates).map(|der| CertificateDer::from(der.as_ref())).collect();
        let lists: Vec<&CertRevocationList<'_>> = self.lists.iter().flatten().collect();
        let revocation = match &self.lists {
            None => None,
            Some(_) => {
                let builder = RevocationOptionsBuilder::new(&lists)
                    .map_err(|_| webpki::Error::UnknownRevocationStatus)?
                    .with_depth(RevocationCheckDepth::Chain)
                    .with_status_policy(UnknownStatusPolicy::Deny)
                    .with_expiration_policy(ExpirationPolicy::Enforce);
                Some(builder.build())
            }
        };
        let usage = KeyUsage::server_auth();
        let path = certificate.verify_for_usage(
            algorithms,
            &anchors,
            &intermediates,
            now,
            usage,
            revocation,
            None,
        )?;
        let mut between = path.intermediate_certificates();
        Ok(path.anchor().name_constraints.is_some()
            || between.any(|authority| {
                Certificate::parse(&authority.der()).is_none_or(|authority| authority.has_name_limits())
            }))
    }
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust").field("n_roots", &self.roots.len()).finish_non_exhaustive()
    }
}

fn root_file(config: &Config) -> Result<Vec<CertificateDer<'static>>, Error> {
    let Some(path) = config.root_file() else {
        return Err(refuse("no root certificates: there is no home directory, set sslrootcert"));
    };
    if !path.exists() {
        return Err(refuse(format!(
            "root certificate file {} does not exist: provide it, use the system's with sslrootcert=system, or choose \
             an sslmode that does not verify",
            path.display()
        )));
    }
    let refuse = |cause: String| refuse(format!("root certificate file {}: {cause}", path.display()));
    let bytes = read_plain(&path).map_err(|cause| refuse(cause.to_string()))?;
    CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|cause| refuse(cause.to_string()))
}

/// The lists of `sslcrl` and `sslcrldir`. As in libpq, it is no error if they do not exist.
fn revocation_lists(
    config: &Config,
    warnings: &mut Vec<String>,
) -> Result<Option<Vec<CertRevocationList<'static>>>, Error> {
    let settings = config.tls();
    let file = match (&settings.crl, &settings.crl_dir) {
        (Some(path), _) => Some(path.clone()),
        (None, None) => config.tls_file("root.crl"),
        (None, Some(_)) => None,
    };
    let mut lists = Vec::new();
    if let Some(path) = &file {
        if path.exists() {
            lists.extend(read_lists(path)?);
        } else {
            if settings.crl.is_some() {
                warnings.push(format!(
                    "sslcrl={} does not exist: revoked certificates are accepted",
                    path.display()
                ));
            }
            return Ok(None);
        }
    }
    if let Some(folder) = &settings.crl_dir {
        for path in hashed_files(folder)? {
            lists.extend(read_lists(&path)?);
        }
    }
    Ok((file.is_some() || settings.crl_dir.is_some()).then_some(lists))
}

fn read_lists(path: &Path) -> Result<Vec<CertRevocationList<'static>>, Error> {
    // No failure of TLS: `prefer` must not go on in plaintext because a file of ours is broken.
    let refuse =
        |cause: String| Error::new(ErrorKind::Config, format!("revocation list {}: {cause}", path.display()));
    let bytes = read_plain(path).map_err(|cause| refuse(cause.to_string()))?;
    let ders: Vec<CertificateRevocationListDer<'static>> =
        CertificateRevocationListDer::pem_slice_iter(&bytes)
            .collect::<Result<_, _>>()
            .map_err(|cause| refuse(cause.to_string()))?;
    if ders.is_empty() {
        return Err(refuse("it holds none".to_owned()));
    }
    ders.iter()
        .map(|der| match OwnedCertRevocationList::from_der(der) {
            Ok(list) => Ok(CertRevocationList::from(list)),
            Err(webpki::Error::UnsupportedCrlVersion) => Err(refuse(
                "it is of version 1 and must be of version 2, with a number (crlnumber)".to_owned(),
            )),
            Err(cause) => Err(refuse(cause.to_string())),
        })
        .collect()
}

/// `HASH.rN`, the names that `openssl rehash` gives; the hash itself is not checked.
fn hashed_files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) if matches!(cause.kind(), NotFound | NotADirectory) => return Ok(Vec::new()),
        Err(cause) => {
            return Err(Error::new(ErrorKind::Config, format!("sslcrldir {}: {cause}", folder.display())));
        }
    };
    let is_hashed = |name: &str| {
        name.split_once(".r").is_some_and(|(hash, number)| {
            hash.len() == 8
                && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
                && !number.is_empty()
                && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_hashed))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    Ok(paths)
}
