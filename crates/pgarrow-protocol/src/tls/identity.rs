//! The client's certificate and its key.
//!
//! | | given as | by default, if it exists |
//! |---|---|---|
//! | certificate, with those between it and the root | `sslcert` | `~/.postgresql/postgresql.crt` |
//! | key, with `sslpassword` as its password | `sslkey` | `~/.postgresql/postgresql.key` |
//!
//! As in libpq, no certificate is used if the file does not exist, even if it was named: the server decides
//! whether it needs one. A key that others can read is refused.
//!
//! Source: <https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-CLIENTCERT>.

use std::fs::File;
use std::io::ErrorKind::{NotADirectory, NotFound};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, SignatureScheme};

use super::refuse;
use crate::config::{Config, SslCertMode};
use crate::error::Error;
use crate::file::read_plain;

/// No key is longer than this.
const KEY_BYTES_MAX: u64 = 1024 * 1024;
const ENCRYPTED_BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const ENCRYPTED_END: &str = "-----END ENCRYPTED PRIVATE KEY-----";

/// Whether the client certificate was asked for and sent in one handshake.
#[derive(Debug, Default)]
pub(crate) struct CertificateUse {
    asked_for: AtomicBool,
    sent: AtomicBool,
}

impl CertificateUse {
    /// The server asked for a certificate.
    pub(crate) fn was_asked_for(&self) -> bool {
        self.asked_for.load(Ordering::Relaxed)
    }

    /// The server got a certificate.
    pub(crate) fn was_sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
    }
}

/// Hands out the certificate, and records that the server asked for it.
#[derive(Debug)]
pub(super) struct Resolver {
    identity: Option<Arc<CertifiedKey>>,
    certificate_use: Arc<CertificateUse>,
}

impl Resolver {
    pub(super) fn new(identity: Option<Arc<CertifiedKey>>, certificate_use: Arc<CertificateUse>) -> Self {
        Self { identity, certificate_use }
    }
}

impl ResolvesClientCert for Resolver {
    /// As in libpq, the server's hints about authorities are not checked: the server reports itself if it
    /// does not know ours.
    fn resolve(&self, _hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.certificate_use.asked_for.store(true, Ordering::Relaxed);
        let identity =
            self.identity.clone().filter(|identity| identity.key.choose_scheme(schemes).is_some())?;
        self.certificate_use.sent.store(true, Ordering::Relaxed);
        Some(identity)
    }

    fn has_certs(&self) -> bool {
        // True also without a certificate, so that we learn whether the server asks for one.
        true
    }
}

/// Certificate and key, if they exist and may be used.
pub(super) fn read(config: &Config, provider: &CryptoProvider) -> Result<Option<Arc<CertifiedKey>>, Error> {
    let settings = config.tls();
    if settings.cert_mode == SslCertMode::Disable {
        return Ok(None);
    }
    let Some(cert_path) = settings.cert.clone().or_else(|| config.tls_file("postgresql.crt")) else {
        return Ok(None);
    };
    match std::fs::metadata(&cert_path) {
        Ok(_) => {}
        Err(cause) if matches!(cause.kind(), NotFound | NotADirectory) => return Ok(None),
        Err(cause) => {
            return Err(refuse(format!("certificate file {}: {cause}", cert_path.display())));
        }
    }
    let refuse_cert = |cause: String| refuse(format!("certificate file {}: {cause}", cert_path.display()));
    let bytes = read_plain(&cert_path).map_err(|cause| refuse_cert(cause.to_string()))?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|cause| refuse_cert(cause.to_string()))?;
    if chain.is_empty() {
        return Err(refuse(format!("certificate file {} holds none", cert_path.display())));
    }
    let Some(key_path) = settings.key.clone().or_else(|| config.tls_file("postgresql.key")) else {
        return Err(refuse(format!(
            "there is a certificate, {}, and no private key: set sslkey",
            cert_path.display()
        )));
    };
    let key = read_key(&key_path, settings.key_password.as_deref(), &cert_path)?;
    match CertifiedKey::from_der(chain, key, provider) {
        Ok(identity) => Ok(Some(Arc::new(identity))),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(refuse(format!(
            "certificate {} does not belong to private key {}",
            cert_path.display(),
            key_path.display()
        ))),
        Err(cause) => Err(refuse(format!("private key {}: {cause}", key_path.display()))),
    }
}

fn read_key(path: &Path, password: Option<&str>, cert_path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let refuse = |what: &str| refuse(format!("private key {} {what}", path.display()));
    // First: opening a pipe would wait for its other end.
    let file = match std::fs::metadata(path).map(|metadata| metadata.is_file()) {
        Ok(true) => File::open(path),
        Ok(false) => return Err(refuse("is no regular file")),
        Err(cause) if cause.kind() == NotFound => {
            let what =
                format!("does not exist, and there is a certificate, {}: set sslkey", cert_path.display());
            return Err(refuse(&what));
        }
        Err(cause) => Err(cause),
    };
    let file = file.map_err(|cause| refuse(&format!("cannot be read: {cause}")))?;
    // Metadata of the open file: that file cannot be replaced any more.
    let metadata = file.metadata().map_err(|cause| refuse(&format!("cannot be read: {cause}")))?;
    if !metadata.is_file() {
        return Err(refuse("is no regular file"));
    }
    if !is_private(metadata.mode(), metadata.uid()) {
        return Err(refuse(
            "can be used by others than its owner: chmod 600, or at most 640 if it is root's",
        ));
    }
    let mut bytes = Vec::new();
    file.take(KEY_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(|cause| refuse(&format!("cannot be read: {cause}")))?;
    parse_key(&bytes, password).map_err(|what| refuse(&what))
}

/// A group may read root's files: systems share keys among servers that way.
///
/// Source: `pgtls_open_client` and the functions it calls in PostgreSQL's
/// `src/interfaces/libpq/fe-secure-openssl.c`. The owner of other files does not matter, since such files
/// could not be read.
fn is_private(mode: u32, owner: u32) -> bool {
    let forbidden = if owner == 0 { 0o037 } else { 0o077 };
    mode & forbidden == 0
}

/// PKCS#8, PKCS#1 or SEC1, in PEM or DER. An error says what is wrong and never repeats the content.
fn parse_key(bytes: &[u8], password: Option<&str>) -> Result<PrivateKeyDer<'static>, String> {
    const NOT_READ: &str = "holds no key that can be read: PKCS#8, PKCS#1 and SEC1 can, in PEM or DER";
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.contains("-----BEGIN "));
    let Some(text) = text else {
        if let Ok(encrypted) = EncryptedPrivateKeyInfoRef::try_from(bytes) {
            return decrypt(&encrypted, password);
        }
        return PrivateKeyDer::try_from(bytes).map(|key| key.clone_key()).map_err(|_| NOT_READ.to_owned());
    };
    if let Some(start) = text.find(ENCRYPTED_BEGIN) {
        let rest = text.get(start..).unwrap_or_default();
        let end = rest.find(ENCRYPTED_END).map_or(rest.len(), |end| end + ENCRYPTED_END.len());
        let section = rest.get(..end).unwrap_or_default();
        let (_, document) = SecretDocument::from_pem(section).map_err(|_| NOT_READ.to_owned())?;
        let encrypted =
            EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| NOT_READ.to_owned())?;
        return decrypt(&encrypted, password);
    }
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(
            "is encrypted in an old way that is not supported: `openssl pkcs8 -topk8 -in OLD -out NEW` writes the new \
             one"
            .to_owned(),
        );
    }
    PrivateKeyDer::from_pem_slice(bytes).map_err(|_| NOT_READ.to_owned())
}

fn decrypt(
    encrypted: &EncryptedPrivateKeyInfoRef<'_>,
    password: Option<&str>,
) -> Result<PrivateKeyDer<'static>, String> {
    let Some(password) = password else {
        return Err("is encrypted: set sslpassword".to_owned());
    };
    let document = encrypted.decrypt(password).map_err(|_| {
        "cannot be decrypted: sslpassword is wrong, or its encryption is not PBES2 with AES or 3DES"
            .to_owned()
    })?;
    Ok(PrivateKeyDer::from(PrivatePkcs8KeyDer::from(document.as_bytes().to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    ///
    #[test]
    fn who_may_read_a_key() {
        for (mode, owner, is_fine) in [
            (0o600, 1000, true),
            (0o400, 1000, true),
            (0o700, 1000, true),
            (0o640, 1000, false),
            (0o604, 1000, false),
            (0o610, 1000, false),
            (0o640, 0, true),
            (0o660, 0, false),
            (0o650, 0, false),
            (0o644, 0, false),
            (0o100_600, 0, true),
        ] {
            assert_eq!(is_private(mode, owner), is_fine, "{mode:o} {owner}");
        }
    }

    #[test]
    fn keys_that_cannot_be_read() {
        for (bytes, word) in [
            (&b""[..], "no key"),
            (b"\xff\xfe", "no key"),
            (b"-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n", "no key"),
            (b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "no key"),
            (b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "no key"),
            (b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n", "pkcs8 -topk8"),
        ] {
            assert!(parse_key(bytes, Some("x")).unwrap_err().contains(word), "{bytes:?}");
        }
    }
}
