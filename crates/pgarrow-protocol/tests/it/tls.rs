//! TLS with certificates made for the occasion: every sslmode against every kind.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use pgarrow_protocol::{Canceller, Config, CopyOutStep, ErrorKind, RowStream as _, Session, SslMode};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::script::{message, ready, welcome};

/// A file that goes away with its test.
struct RootFile(PathBuf);

impl RootFile {
    fn new(name: &str, pem: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pgarrow-{name}-{}.crt", std::process::id()));
        std::fs::write(&path, pem).unwrap();
        Self(path)
    }
}

impl Drop for RootFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn server_config(authority: &CertifiedIssuer<'static, KeyPair>, name: &str) -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    Arc::new(config)
}

type Tls = StreamOwned<ServerConnection, TcpStream>;

/// Answers S, shakes hands and hands the stream to each of `connections` in turn.
fn serve(
    config: Arc<ServerConfig>,
    connections: Vec<fn(&mut Tls) -> std::io::Result<()>>,
) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        for connection in connections {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 8]).unwrap();
            stream.write_all(b"S").unwrap();
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let _ = connection(&mut StreamOwned::new(session, stream)); // the client may refuse us
        }
    });
    (port, thread)
}

fn log_in(stream: &mut Tls) -> std::io::Result<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    stream.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize - 4])?;
    stream.write_all(&welcome())?;
    stream.flush()
}

fn config(port: u16, sslmode: SslMode, root: &RootFile) -> Config {
    let conninfo = format!("host=localhost port={port} user=u");
    let config = Config::parse_with(Some(&conninfo), &|_| None).unwrap();
    config.with_host("127.0.0.1").with_sslmode(sslmode).with_sslrootcert(&root.0)
}

#[test]
fn each_sslmode_checks_what_it_says() {
    let (ours, foreign) = (authority(), authority());
    let our_root = RootFile::new("ours", &ours.pem());
    let foreign_root = RootFile::new("foreign", &foreign.pem());
    let missing = RootFile(std::env::temp_dir().join("pgarrow-no-such-file.crt"));
    for (sslmode, root, name, is_ok) in [
        (SslMode::Require, &missing, "elsewhere", true),
        (SslMode::Require, &foreign_root, "127.0.0.1", false), // with a root it is verify-ca
        (SslMode::VerifyCa, &our_root, "elsewhere", true),
        (SslMode::VerifyCa, &foreign_root, "127.0.0.1", false),
        (SslMode::VerifyFull, &our_root, "127.0.0.1", true),
        (SslMode::VerifyFull, &our_root, "elsewhere", false),
        (SslMode::VerifyFull, &foreign_root, "127.0.0.1", false),
    ] {
        let (port, thread) = serve(server_config(&ours, name), vec![log_in]);
        match Session::connect(&config(port, sslmode, root)) {
            Ok(session) => assert!(is_ok && session.is_encrypted(), "{sslmode} {name}"),
            Err(error) => {
                assert!(!is_ok, "{sslmode} {name}: {error}");
                assert_eq!(error.kind(), ErrorKind::Tls);
            }
        }
        thread.join().unwrap();
    }
}

#[test]
fn a_root_file_must_be_there_to_verify() {
    let missing = RootFile(std::env::temp_dir().join("pgarrow-no-such-file.crt"));
    let error = Session::connect(&config(1, SslMode::VerifyCa, &missing)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.to_string().contains("does not exist"), "{error}");
}

/// A proxy on the way must not see the secret that cancels (libpq up to 16 sent it in clear).
#[test]
fn the_cancel_request_uses_tls_too() {
    fn cancelled(stream: &mut Tls) -> std::io::Result<()> {
        let mut request = [0; 16];
        stream.read_exact(&mut request)?;
        assert_eq!(request, *b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07\0\0\0\x09");
        Ok(())
    }
    let ours = authority();
    let root = RootFile::new("cancel", &ours.pem());
    let (port, thread) = serve(server_config(&ours, "127.0.0.1"), vec![log_in, cancelled]);
    let session = Session::connect(&config(port, SslMode::VerifyFull, &root)).unwrap();
    session.canceller().cancel(Canceller::DEADLINE).unwrap();
    thread.join().unwrap();
}

/// A large message goes from rustls straight into its place, with what comes before and behind it in one record.
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
    let (port, thread) = serve(server_config(&ours, "127.0.0.1"), vec![copy]);
    let mut session = Session::connect(&config(port, SslMode::VerifyFull, &root)).unwrap();
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
    thread.join().unwrap();
}
