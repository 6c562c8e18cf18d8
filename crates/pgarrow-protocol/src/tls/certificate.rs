//! The parts of certificates that webpki does not read.
//!
//! Nothing here decides about trust alone. The parser is lenient, since old certificates need it; webpki is
//! the strict one.

use std::time::Duration;

use rustls::pki_types::UnixTime;
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::asn1::{AnyRef, ContextSpecific, ObjectIdentifier as Oid};
use x509_cert::der::{Decode as _, Encode as _, Reader as _, SliceReader, TagNumber};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName};
use x509_cert::{AlgorithmIdentifier, Version};

const COMMON_NAME: Oid = Oid::new_unwrap("2.5.4.3");
const SERVER_AUTH: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.3.1");
const NAME_CONSTRAINTS: Oid = Oid::new_unwrap("2.5.29.30");
const ANY_USAGE: Oid = Oid::new_unwrap("2.5.29.37.0");
/// Extensions that are checked here, in certificates that webpki does not accept.
const KNOWN_EXTENSIONS: [Oid; 4] = [
    Oid::new_unwrap("2.5.29.15"), // keyUsage
    Oid::new_unwrap("2.5.29.17"), // subjectAltName
    Oid::new_unwrap("2.5.29.19"), // basicConstraints
    Oid::new_unwrap("2.5.29.37"), // extKeyUsage
];

/// A certificate, parsed.
pub(super) struct Certificate(CertificateInner<Raw>);

impl Certificate {
    pub(super) fn parse(der: &[u8]) -> Option<Self> {
        CertificateInner::from_der(der).ok().map(Self)
    }

    /// Issuer and subject have the same name: a root, or a certificate on its own.
    pub(super) fn is_self_issued(&self) -> bool {
        self.0.tbs_certificate().issuer() == self.0.tbs_certificate().subject()
    }

    pub(super) fn is_issued_by(&self, issuer: &Self) -> bool {
        self.0.tbs_certificate().issuer() == issuer.0.tbs_certificate().subject()
    }

    /// May sign others. Without basic constraints, as in OpenSSL, a certificate of version 1 may, and so may
    /// one whose key usage allows it.
    pub(super) fn is_authority(&self) -> bool {
        let key_usage = self.extension::<KeyUsage>();
        let may_sign =
            key_usage.as_ref().is_none_or(|usage| usage.as_ref().is_some_and(KeyUsage::key_cert_sign));
        let is_authority = match self.extension::<BasicConstraints>() {
            Some(Some(constraints)) => constraints.ca,
            Some(None) => false,
            None => self.is_version_1() || key_usage.is_some(),
        };
        is_authority && may_sign
    }

    pub(super) fn is_version_1(&self) -> bool {
        self.0.tbs_certificate().version() == Version::V1
    }

    /// Holds critical extensions, or limits for names, that are not checked here.
    pub(super) fn has_unknown_limits(&self) -> bool {
        self.has_name_limits()
            || self.0.tbs_certificate().extensions().is_some_and(|extensions| {
                extensions
                    .iter()
                    .any(|extension| extension.critical && !KNOWN_EXTENSIONS.contains(&extension.extn_id))
            })
    }

    /// May sign for some names only.
    pub(super) fn has_name_limits(&self) -> bool {
        let extensions = self.0.tbs_certificate().extensions();
        extensions.is_some_and(|extensions| {
            extensions.iter().any(|extension| extension.extn_id == NAME_CONSTRAINTS)
        })
    }

    /// May be a server's: it states no purposes, or this one among them.
    pub(super) fn is_for_servers(&self) -> bool {
        match self.extension::<ExtendedKeyUsage>() {
            None => true,
            Some(usage) => {
                usage.is_some_and(|usage| usage.0.contains(&SERVER_AUTH) || usage.0.contains(&ANY_USAGE))
            }
        }
    }

    pub(super) fn has_expired(&self, now: UnixTime) -> bool {
        let end = self.0.tbs_certificate().validity().not_after.to_unix_duration();
        Duration::from_secs(now.as_secs()) > end
    }

    pub(super) fn is_not_valid_yet(&self, now: UnixTime) -> bool {
        let start = self.0.tbs_certificate().validity().not_before.to_unix_duration();
        Duration::from_secs(now.as_secs()) < start
    }

    /// The bytes of the first common name of the subject.
    pub(super) fn common_name(&self) -> Option<&[u8]> {
        let subject = self.0.tbs_certificate().subject();
        subject.iter().find(|attribute| attribute.oid == COMMON_NAME).map(|name| name.value.value())
    }

    /// Other names of the subject; `None` if they cannot be read.
    pub(super) fn alternative_names(&self) -> Option<Vec<AlternativeName>> {
        let names = match self.extension::<SubjectAltName>() {
            None => return Some(Vec::new()),
            Some(names) => names?.0,
        };
        let known = names.into_iter().filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(AlternativeName::Dns(name.as_bytes().to_vec())),
            GeneralName::IpAddress(address) => Some(AlternativeName::Address(address.as_bytes().to_vec())),
            _ => None,
        });
        Some(known.collect())
    }

    pub(super) fn public_key(&self) -> Option<Vec<u8>> {
        self.0.tbs_certificate().subject_public_key_info().to_der().ok()
    }

    pub(super) fn signature_algorithm(&self) -> Option<Vec<u8>> {
        // Without the sequence around it, as webpki has it.
        let der = self.0.signature_algorithm().to_der().ok()?;
        Some(AnyRef::from_der(&der).ok()?.value().to_vec())
    }

    /// The signed bytes, and the signature.
    pub(super) fn signed(&self) -> Option<(Vec<u8>, &[u8])> {
        Some((self.0.tbs_certificate().to_der().ok()?, self.0.signature().as_bytes()?))
    }

    /// `Some(None)`: the extension is there and cannot be read, or is there twice.
    fn extension<'a, T: x509_cert::der::Decode<'a> + x509_cert::der::oid::AssociatedOid>(
        &'a self,
    ) -> Option<Option<T>> {
        match self.0.tbs_certificate().get_extension::<T>() {
            Ok(found) => found.map(|(_, extension)| Some(extension)),
            Err(_) => Some(None),
        }
    }
}

/// A name of one of the two kinds that hosts have.
pub(super) enum AlternativeName {
    Dns(Vec<u8>),
    /// 4 or 16 bytes, or an invalid address.
    Address(Vec<u8>),
}

/// The hash of a server's certificate that SCRAM is bound to, `tls-server-end-point`.
///
/// The hash is that of the certificate's own signature, with SHA-256 in place of MD5 and SHA-1. Ed25519 has
/// none, and no standard says what to do then; PostgreSQL and libpq fail.
///
/// Source: RFC 5929, section 4.1.
pub(crate) fn end_point_hash(certificate: &[u8]) -> Result<Vec<u8>, &'static str> {
    let parsed = Certificate::parse(certificate).ok_or("it cannot be read")?;
    let algorithm = parsed.0.signature_algorithm();
    let hash = match algorithm.oid.to_string().as_str() {
        "1.2.840.113549.1.1.10" => pss_hash(algorithm).ok_or("its signature's parameters cannot be read")?,
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" => Hash::Sha256,
        "1.2.840.113549.1.1.11" | "1.2.840.10045.4.3.2" => Hash::Sha256,
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Hash::Sha384,
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Hash::Sha512,
        "1.2.840.113549.1.1.14" | "1.2.840.10045.4.3.1" => Hash::Sha224,
        _ => return Err("its signature's algorithm has no hash"),
    };
    Ok(match hash {
        Hash::Sha224 => Sha224::digest(certificate).to_vec(),
        Hash::Sha256 => Sha256::digest(certificate).to_vec(),
        Hash::Sha384 => Sha384::digest(certificate).to_vec(),
        Hash::Sha512 => Sha512::digest(certificate).to_vec(),
    })
}

#[derive(Clone, Copy)]
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// The hash that the parameters of RSASSA-PSS name; SHA-1 if they name none.
///
/// Source: RFC 4055, section 3.1.
fn pss_hash(algorithm: &AlgorithmIdentifier) -> Option<Hash> {
    let parameters = algorithm.parameters.as_ref()?;
    let mut reader = SliceReader::new(parameters.value()).ok()?;
    if reader.is_finished() {
        return Some(Hash::Sha256); // in place of SHA-1
    }
    let hash = ContextSpecific::<AlgorithmIdentifier>::decode_explicit(&mut reader, TagNumber(0)).ok()?;
    match hash.map(|hash| hash.value.oid.to_string()).as_deref() {
        None | Some("1.3.14.3.2.26" | "2.16.840.1.101.3.4.2.1") => Some(Hash::Sha256),
        Some("2.16.840.1.101.3.4.2.2") => Some(Hash::Sha384),
        Some("2.16.840.1.101.3.4.2.3") => Some(Hash::Sha512),
        Some("2.16.840.1.101.3.4.2.4") => Some(Hash::Sha224),
        Some(_) => None,
    }
}
