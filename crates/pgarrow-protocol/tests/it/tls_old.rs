//! Certificates that OpenSSL accepts and webpki does not: certificates of version 1, as `openssl x509 -req`
//! makes them, and certificates with the rights of an authority.

use std::process::Command;
use std::sync::Arc;

use pgarrow_protocol::{ErrorKind, Session};
use pgarrow_testkit::{Capability, require};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::tls::{RootFile, TlsServer, authority, log_in};

fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// PostgreSQL's documentation makes such certificates, and OpenSSL before 3.2 does by default.
#[test]
fn a_certificate_of_version_1_signed_by_a_root() {
    require!(Capability::Program("openssl"));
    let folder = std::env::temp_dir().join(format!("pgarrow-version-1-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str| folder.join(name).display().to_string();
    for name in ["root", "server"] {
        let (key, request, subject) = (file(&format!("{name}.key")), file(&format!("{name}.csr")), {
            format!("/CN={}", if name == "server" { "localhost" } else { name })
        });
        let new = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", &key, "-out", &request];
        openssl(&[&new[..], &["-subj", &subject]].concat());
    }
    // Both are of version 1: there is no file of extensions.
    let (root, csr, key) = (file("root.crt"), file("root.csr"), file("root.key"));
    openssl(&["x509", "-req", "-in", &csr, "-signkey", &key, "-out", &root, "-days", "2"]);
    let (certificate, csr) = (file("server.crt"), file("server.csr"));
    let sign = ["x509", "-req", "-in", &csr, "-CA", &root, "-CAkey", &key, "-CAcreateserial", "-days", "2"];
    openssl(&[&sign[..], &["-out", &certificate]].concat());

    let root = RootFile::new("version-1", &std::fs::read_to_string(&root).unwrap());
    let foreign = RootFile::new("version-1-foreign", &authority().pem());
    let missing = RootFile(folder.join("nowhere"));
    for (sslmode, root, versions, is_ok) in [
        ("require", &missing, "TLSv1.2", true),
        ("require", &missing, "TLSv1.3", true),
        ("verify-ca", &root, "TLSv1.2", true),
        ("verify-full", &root, "TLSv1.3", true),
        ("verify-ca", &foreign, "TLSv1.3", false),
    ] {
        let certificate = CertificateDer::from_pem_file(&certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
        let server = TlsServer::showing(certificate, key).start(vec![Box::new(log_in)]);
        let parameters = format!("ssl_min_protocol_version={versions} ssl_max_protocol_version={versions}");
        match Session::connect(&server.config(sslmode, root, &parameters)) {
            Ok(session) => assert!(is_ok && session.is_encrypted(), "{sslmode} {versions}"),
            Err(error) => assert!(!is_ok && error.kind() == ErrorKind::Tls, "{sslmode} {versions}: {error}"),
        }
        server.join();
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_certificate_with_the_rights_of_an_authority() {
    let ours = authority();
    let root = RootFile::new("authority", &ours.pem());
    let make = |signer: &Issuer<'_, KeyPair>| {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), signer).unwrap()
    };
    let by_root = make(&ours);
    let by_another = make(&by_root);
    for (name, leaf, is_ok) in [("by a root", &by_root, true), ("by another", &by_another, false)] {
        let key = PrivateKeyDer::try_from(leaf.key().serialize_der()).unwrap();
        let server = TlsServer::showing(leaf.der().clone(), key).start(vec![Box::new(log_in)]);
        let result = Session::connect(&server.config("verify-full", &root, ""));
        assert_eq!(result.is_ok(), is_ok, "{name}: {result:?}");
        drop(result);
        server.join();
    }
    // Self-signed, and in the root file, as on a server that was set up by hand.
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let itself = Arc::new(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap());
    for (root, is_ok) in [(RootFile::new("itself", &itself.pem()), true), (root, false)] {
        let key = PrivateKeyDer::try_from(itself.key().serialize_der()).unwrap();
        let server = TlsServer::showing(itself.der().clone(), key).start(vec![Box::new(log_in)]);
        let result = Session::connect(&server.config("verify-full", &root, ""));
        assert_eq!(result.is_ok(), is_ok, "{result:?}");
        drop(result);
        server.join();
    }
}
