//! TLS against our own servers: what is checked, how it begins, and what a cancel request does.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use pgarrow_protocol::{Canceller, Config, CopyOutStep, ErrorKind, RowStream as _, Session, SslMode};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::script::{Server, Step, message, ready, welcome};

/// A file that is removed with its test.
pub(crate) struct RootFile(pub(crate) PathBuf);

impl RootFile {
    pub(crate) fn new(name: &str, pem: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pgarrow-{name}-{}-{count}.pem", std::process::id()));
        let mut options = std::fs::OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.write(true).create_new(true).open(&path).unwrap();
        file.write_all(pem.as_bytes()).unwrap();
        Self(path)
    }
}

impl Drop for RootFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;
pub(crate) type Tls = StreamOwned<ServerConnection, TcpStream>;
pub(crate) type Connection = Box<dyn FnOnce(&mut Tls) -> std::io::Result<()> + Send>;

pub(crate) fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server with TLS, not running yet.
pub(crate) struct TlsServer {
    config: ServerConfig,
    is_direct: bool,
}

impl TlsServer {
    /// With a certificate for `name`.
    pub(crate) fn new(authority: &Authority, name: &str) -> Self {
        Self::with_clients(authority, name, None)
    }

    /// Asks for certificates of clients, signed by `clients`.
    fn with_clients(authority: &Authority, name: &str, clients: Option<&Authority>) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = match clients {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.der().clone()).unwrap();
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                    .allow_unauthenticated()
                    .build()
                    .unwrap()
            }
        };
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Self { config, is_direct: false }
    }

    /// With this certificate, whatever it is.
    pub(crate) fn showing(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Self {
        let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
        let shown = Arc::new(CertifiedKey::new(vec![certificate], key));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
        Self { config, is_direct: false }
    }

    /// TLS from the first byte, with these protocols by ALPN.
    fn direct(mut self, protocols: &[&[u8]]) -> Self {
        self.is_direct = true;
        self.config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        self
    }

    /// Makes a handshake with each client and hands the stream to `connections`. Answers S first unless TLS
    /// is direct.
    pub(crate) fn start(self, connections: Vec<Connection>) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = Arc::new(self.config);
        let thread = std::thread::spawn(move || {
            for connection in connections {
                let (mut stream, _) = listener.accept().unwrap();
                if !self.is_direct {
                    let mut request = [0; 8];
                    stream.read_exact(&mut request).unwrap();
                    assert_eq!(request, *b"\0\0\0\x08\x04\xd2\x16\x2f");
                    stream.write_all(b"S").unwrap();
                }
                let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(session, stream);
                if connection(&mut stream).is_err() {
                    // One side refuses the other. The socket closes only after the client has read why: with
                    // unread bytes, the close would become a reset.
                    let _ = stream.sock.shutdown(std::net::Shutdown::Write);
                    let _ = std::io::copy(&mut stream.sock, &mut std::io::sink());
                }
            }
        });
        Running { port, thread }
    }
}

pub(crate) struct Running {
    port: u16,
    thread: JoinHandle<()>,
}

impl Running {
    pub(crate) fn config(&self, sslmode: &str, root: &RootFile, parameters: &str) -> Config {
        let conninfo = format!(
            "host=localhost hostaddr=127.0.0.1 port={} user=u sslmode={sslmode} sslrootcert={} {parameters}",
            self.port,
            root.0.display()
        );
        Config::parse_with(Some(&conninfo), &|_| None).unwrap()
    }

    pub(crate) fn join(self) {
        self.thread.join().unwrap();
    }
}

pub(crate) fn log_in(stream: &mut Tls) -> std::io::Result<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    stream.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize - 4])?;
    stream.write_all(&welcome())?;
    stream.flush()
}

fn cancelled(stream: &mut Tls) -> std::io::Result<()> {
    let mut request = [0; 16];
    stream.read_exact(&mut request)?;
    assert_eq!(request, *b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07\0\0\0\x09");
    Ok(())
}

#[test]
fn each_sslmode_checks_what_it_says() {
    let (ours, foreign) = (authority(), authority());
    let our_root = RootFile::new("ours", &ours.pem());
    let foreign_root = RootFile::new("foreign", &foreign.pem());
    let missing = RootFile(std::env::temp_dir().join("pgarrow-no-such-file.crt"));
    for (sslmode, root, name, is_ok) in [
        (SslMode::Require, &missing, "elsewhere", true),
        (SslMode::Require, &foreign_root, "localhost", false), // with a root it is verify-ca
        (SslMode::VerifyCa, &our_root, "elsewhere", true),
        (SslMode::VerifyCa, &foreign_root, "localhost", false),
        (SslMode::VerifyFull, &our_root, "localhost", true),
        (SslMode::VerifyFull, &our_root, "elsewhere", false),
        (SslMode::VerifyFull, &our_root, "127.0.0.1", false), // the certificate is for a name
        (SslMode::VerifyFull, &foreign_root, "localhost", false),
    ] {
        let server = TlsServer::new(&ours, name).start(vec![Box::new(log_in)]);
        match Session::connect(&server.config(sslmode.as_str(), root, "")) {
            Ok(session) => assert!(is_ok && session.is_encrypted(), "{sslmode} {name}"),
            Err(error) => {
                assert!(!is_ok, "{sslmode} {name}: {error}");
                assert_eq!(error.kind(), ErrorKind::Tls);
            }
        }
        server.join();
    }
}

#[test]
fn a_root_file_must_be_there_to_verify() {
    let missing = std::env::temp_dir().join("pgarrow-no-such-file.crt");
    let config =
        Config::parse_with(Some("host=localhost hostaddr=127.0.0.1 port=1 user=u"), &|_| None).unwrap();
    let config = config.with_sslmode(SslMode::VerifyCa).with_sslrootcert(missing);
    let error = Session::connect(&config).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.to_string().contains("does not exist"), "{error}");
}

/// a proxy on the way must not see the secret that cancels (libpq up to 16 sent it in clear). The
/// server fails on anything but a request for TLS, a handshake and then the secret, on both connections.
#[test]
fn the_cancel_request_uses_tls_too() {
    let ours = authority();
    let root = RootFile::new("cancel", &ours.pem());
    let server = TlsServer::new(&ours, "localhost").start(vec![Box::new(log_in), Box::new(cancelled)]);
    let session = Session::connect(&server.config("verify-full", &root, "")).unwrap();
    session.canceller().cancel(Canceller::DEADLINE).unwrap();
    server.join();
}

/// the second connection is as strict as the first.
#[test]
fn the_cancel_request_is_not_told_to_another_server() {
    let (ours, foreign) = (authority(), authority());
    let root = RootFile::new("other", &ours.pem());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let configs = [&ours, &foreign].map(|authority| Arc::new(TlsServer::new(authority, "localhost").config));
    let thread = std::thread::spawn(move || {
        for (config, is_real) in configs.into_iter().zip([true, false]) {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 8]).unwrap();
            stream.write_all(b"S").unwrap();
            let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
            if is_real {
                log_in(&mut stream).unwrap();
            } else {
                assert!(
                    stream.read(&mut [0; 16]).is_err(),
                    "nothing is told to a server that is not trusted"
                );
            }
        }
    });
    let running = Running { port, thread };
    let session = Session::connect(&running.config("verify-full", &root, "")).unwrap();
    let error = session.canceller().cancel(Canceller::DEADLINE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    running.join();
}

/// for a cancel request in the same way.
#[test]
fn direct_tls_needs_the_protocol_to_be_agreed_on() {
    let ours = authority();
    let root = RootFile::new("direct", &ours.pem());
    let server = TlsServer::new(&ours, "localhost")
        .direct(&[b"postgresql"])
        .start(vec![Box::new(log_in), Box::new(cancelled)]);
    let session = Session::connect(&server.config("verify-full", &root, "sslnegotiation=direct")).unwrap();
    session.canceller().cancel(Canceller::DEADLINE).unwrap();
    server.join();

    for (protocols, word) in [(&[][..], "did not agree"), (&[&b"h2"[..]][..], "ALPN")] {
        let server = TlsServer::new(&ours, "localhost").direct(protocols).start(vec![Box::new(log_in)]);
        let error =
            Session::connect(&server.config("verify-full", &root, "sslnegotiation=direct")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
        assert!(error.to_string().contains(word), "{error}");
        assert!(!error.to_string().contains("h2"), "{error}");
        server.join();
    }
}

/// the answers of servers before 17, and those of a lying server.
#[test]
fn direct_tls_with_a_server_that_has_none() {
    let fake = message(b'E', b"SFATAL\0C08P01\0Mcall +1 555\0\0");
    for answer in [fake, b"N".to_vec(), welcome()] {
        let server = Server::start(vec![vec![Step::Send(answer), Step::AwaitClose]]);
        let error =
            Session::connect(&server.config_with("sslmode=require sslnegotiation=direct")).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Tls), "{error}");
        assert!(
            error.to_string().contains("PostgreSQL 17") && !error.to_string().contains("call"),
            "{error}"
        );
        server.join();
    }
}

#[test]
fn a_client_certificate_is_shown_where_it_is_asked_for() {
    fn with_certificate(stream: &mut Tls) -> std::io::Result<()> {
        log_in(stream)?;
        assert_eq!(stream.conn.peer_certificates().map(<[_]>::len), Some(1));
        Ok(())
    }
    fn without(stream: &mut Tls) -> std::io::Result<()> {
        log_in(stream)?;
        assert!(stream.conn.peer_certificates().is_none());
        Ok(())
    }
    let (ours, clients) = (authority(), authority());
    let root = RootFile::new("client-root", &ours.pem());
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["u".to_owned()]).unwrap().signed_by(&key, &clients).unwrap();
    let cert_file = RootFile::new("client-cert", &certificate.pem());
    let key_file = RootFile::new("client-key", &key.serialize_pem());
    let other_key = RootFile::new("client-other", &KeyPair::generate().unwrap().serialize_pem());
    let files = format!("sslcert={} sslkey={}", cert_file.0.display(), key_file.0.display());
    type Case = (&'static str, fn(&mut Tls) -> std::io::Result<()>);
    let cases: [Case; 3] = [
        ("sslcertmode=allow", with_certificate),
        ("sslcertmode=require", with_certificate),
        ("sslcertmode=disable", without),
    ];
    for (mode, connection) in cases {
        let server =
            TlsServer::with_clients(&ours, "localhost", Some(&clients)).start(vec![Box::new(connection)]);
        Session::connect(&server.config("verify-full", &root, &format!("{files} {mode}")))
            .unwrap_or_else(|error| panic!("{mode}: {error}"));
        server.join();
    }

    // A certificate of an unknown issuer; with TLS 1.3 the server reports it after the handshake.
    let foreign = CertificateParams::new(vec!["u".to_owned()]).unwrap().signed_by(&key, &ours).unwrap();
    let foreign = RootFile::new("client-foreign", &foreign.pem());
    for version in ["TLSv1.2", "TLSv1.3"] {
        let server =
            TlsServer::with_clients(&ours, "localhost", Some(&clients)).start(vec![Box::new(log_in)]);
        let parameters = format!(
            "sslcert={} sslkey={} ssl_max_protocol_version={version} ssl_min_protocol_version={version}",
            foreign.0.display(),
            key_file.0.display()
        );
        let error = Session::connect(&server.config("verify-full", &root, &parameters)).unwrap_err();
        assert!(error.to_string().contains("refuses the client certificate"), "{version}: {error}");
        server.join();
    }

    // If these are wrong, nothing is sent.
    let refused = |parameters: &str| {
        let conninfo = format!("host=localhost hostaddr=127.0.0.1 user=u sslmode=require {parameters}");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = Config::parse_with(Some(&conninfo), &|_| None).unwrap();
        let error = Session::connect(&config.with_port(listener.local_addr().unwrap().port())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
        error.to_string()
    };
    let cert = cert_file.0.display();
    let error = refused(&format!("sslcert={cert} sslkey={}", other_key.0.display()));
    assert!(error.contains("does not belong to"), "{error}");
    let error = refused(&format!("sslcert={cert} sslkey=/nowhere/at.all"));
    assert!(error.contains("does not exist"), "{error}");
    let error = refused(&format!("sslcert={cert} sslkey=/dev/null"));
    assert!(error.contains("no regular file"), "{error}");
    // Formerly it was opened before it was looked at, and a pipe without a writer was waited for.
    let pipe = cert_file.0.with_extension("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = refused(&format!("sslcert={cert} sslkey={}", pipe.display()));
    std::fs::remove_file(&pipe).unwrap();
    assert!(error.contains("no regular file"), "{error}");
    let mut permissions = std::fs::metadata(&key_file.0).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    std::fs::set_permissions(&key_file.0, permissions).unwrap();
    let error = refused(&files);
    assert!(error.contains("chmod 600"), "{error}");
}

/// A large message goes from rustls straight into its place, also if one record holds bytes before and behind
/// it.
#[test]
fn a_large_row_is_received_through_tls() {
    fn copy(stream: &mut Tls) -> std::io::Result<()> {
        log_in(stream)?;
        let mut header = [0; 5];
        stream.read_exact(&mut header)?;
        stream.read_exact(&mut vec![
            0;
            u32::from_be_bytes([header[1], header[2], header[3], header[4]])
                as usize
                - 4
        ])?;
        let end = [message(b'c', b""), message(b'C', b"COPY 2\0"), ready(b'I')].concat();
        let answer = [message(b'H', &[1, 0, 1, 0, 1]), message(b'd', b"small"), message(b'd', &large()), end];
        stream.write_all(&answer.concat())?;
        stream.flush()
    }
    fn large() -> Vec<u8> {
        (0..2_000_000_u32).map(|n| (n % 241) as u8).collect()
    }
    let ours = authority();
    let root = RootFile::new("large", &ours.pem());
    let server = TlsServer::new(&ours, "localhost").start(vec![Box::new(copy)]);
    let mut session = Session::connect(&server.config("verify-full", &root, "")).unwrap();
    let mut copy = session.copy_out("copy t to stdout (format binary)").unwrap();
    let mut small = [0; 10];
    copy.receive(&mut small).unwrap();
    assert_eq!(&small[5..], b"small");
    let mut message = vec![0; 5 + 2_000_000];
    let (front, rest) = message.split_at_mut(123_456);
    copy.receive(front).unwrap();
    copy.receive(rest).unwrap();
    assert!(message[5..] == large());
    assert_eq!(copy.advance().unwrap(), CopyOutStep::Done { rows: 2 });
    drop(copy);
    server.join();
}
