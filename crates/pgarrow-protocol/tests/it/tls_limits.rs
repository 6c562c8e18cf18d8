//! Limits on what an authority may sign for, and the wait for bytes of TLS.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use pgarrow_protocol::{CopyOutStep, ErrorKind, Interrupter, Session};
use rcgen::{BasicConstraints, CertificateParams, DnType, GeneralSubtree, IsCa, KeyPair, NameConstraints};
use rustls::pki_types::PrivateKeyDer;

use crate::script::{message, ready};
use crate::tls::{Authority, RootFile, Tls, TlsServer, authority, log_in};

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

/// A COPY of 3 MB becomes a stream: the low-water mark counts bytes of records, and what is left at the end
/// is less than a record or a mark. Afterwards the server waits for each answer.
#[test]
fn a_stream_through_tls_in_records_of_any_size() {
    fn payload() -> Vec<u8> {
        (0..3_000_000_u32).map(|n| (n % 251) as u8).collect()
    }
    fn query(stream: &mut Tls) -> std::io::Result<()> {
        let mut header = [0; 5];
        stream.read_exact(&mut header)?;
        let [tag, length @ ..] = header;
        assert_eq!(tag, b'Q');
        stream.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize - 4])
    }
    let ours = authority();
    let root = RootFile::new("stream", &ours.pem());
    for record_bytes in [777, 8192, 16_384] {
        let server = TlsServer::new(&ours, "localhost").start(vec![Box::new(move |stream| {
            log_in(stream)?;
            query(stream)?;
            let mut answer = message(b'H', &[1, 0, 1, 0, 1]);
            for piece in payload().chunks(1000) {
                answer.extend(message(b'd', piece));
            }
            answer.extend([message(b'c', b""), message(b'C', b"COPY 3000\0"), ready(b'I')].concat());
            for record in answer.chunks(record_bytes) {
                stream.write_all(record)?;
            }
            stream.flush()?;
            for _ in 0..3 {
                query(stream)?;
                stream.write_all(&[message(b'C', b"SELECT 1\0"), ready(b'I')].concat())?;
                stream.flush()?;
            }
            Ok(())
        })]);
        let mut session = Session::connect(&server.config("verify-full", &root, "")).unwrap();
        let mut copy = session.copy_out("copy t to stdout (format binary)").unwrap();
        let mut received = Vec::new();
        let rows = loop {
            if let CopyOutStep::Done { rows } = copy.advance().unwrap() {
                break rows;
            }
            while let [b'd', a, b, c, d, rest @ ..] = copy.buffered() {
                let n_bytes = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
                let Some(body) = rest.get(..n_bytes) else { break };
                received.extend_from_slice(body);
                copy.consume(5 + n_bytes);
            }
        };
        drop(copy);
        assert_eq!(rows, 3000, "{record_bytes}");
        assert!(received == payload(), "{record_bytes}");
        for _ in 0..3 {
            session.execute("select 1").unwrap();
        }
        drop(session);
        server.join();
    }
}
