//! Limits on what an authority may sign for, and on the wait for bytes of TLS.

use std::io::Write as _;
use std::time::Duration;

use pgarrow_protocol::{ErrorKind, Interrupter, Session};
use rcgen::{BasicConstraints, CertificateParams, DnType, GeneralSubtree, IsCa, KeyPair, NameConstraints};
use rustls::pki_types::PrivateKeyDer;

use crate::tls::{Authority, RootFile, TlsServer, authority, log_in};

/// A server of `issuer` whose certificate has no names but the common name `localhost`.
fn with_common_name(issuer: &Authority) -> TlsServer {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "localhost");
    let certificate = params.signed_by(&key, issuer).unwrap();
    TlsServer::showing(certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
}

/// Earlier behaviour: webpki checks such limits against the other names only, so an authority for
/// `lab.invalid` could make a server for any host by its common name.
#[test]
fn an_authority_for_some_names_cannot_sign_for_others_by_the_common_name() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("lab.invalid".to_owned())],
        excluded_subtrees: Vec::new(),
    });
    let limited = Authority::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let unlimited = authority();
    for (issuer, is_taken) in [(&limited, false), (&unlimited, true)] {
        let root = RootFile::new("limits", &issuer.pem());
        let server = with_common_name(issuer).start(vec![Box::new(log_in)]);
        let result = Session::connect(&server.config("verify-full", &root, ""));
        match is_taken {
            true => drop(result.unwrap()),
            false => assert_eq!(result.unwrap_err().kind(), ErrorKind::Tls),
        }
        server.join();
    }
}

/// Earlier behaviour: while single bytes of a record came, the clock and the interrupter were not checked.
#[test]
fn a_record_that_comes_byte_by_byte_can_be_interrupted() {
    let ours = authority();
    let root = RootFile::new("slow", &ours.pem());
    let server = TlsServer::new(&ours, "localhost").start(vec![Box::new(|stream| {
        log_in(stream)?;
        // The head of a record of 16 KiB, and then a byte now and then until the client leaves.
        stream.sock.write_all(&[23, 3, 3, 0x40, 0])?;
        loop {
            stream.sock.write_all(&[0])?;
            std::thread::sleep(Duration::from_millis(10));
        }
    })]);
    let interrupter = Interrupter::default();
    let handle = interrupter.clone();
    let config = server.config("verify-full", &root, "");
    let mut session = Session::connect_interruptible(&config, &interrupter).unwrap();
    handle.interrupt();
    let error = session.execute("select 1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    drop(session);
    server.join();
}
