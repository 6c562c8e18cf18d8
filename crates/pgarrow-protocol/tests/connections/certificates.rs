//! Certificates for all cells, made when the test starts.

use std::path::Path;
use std::process::{Command, Stdio};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ED25519,
    RevokedCertParams, SerialNumber, date_time_ymd,
};

type Authority = CertifiedIssuer<'static, KeyPair>;

/// The password of the encrypted keys.
pub(crate) const KEY_SECRET: &str = "canary-of-the-key";

/// The generated files: for the server's data folder, and for clients.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    /// `NAME.crt` and `NAME.key` for each state of the server, and `client_ca.crt`.
    pub(crate) of_server: Vec<(String, String)>,
    /// Roots, revocation lists, and clients' certificates and keys.
    pub(crate) of_clients: Vec<(String, String)>,
}

fn named(common_name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.use_authority_key_identifier_extension = true;
    params
}

fn authority(common_name: &str) -> (CertificateParams, KeyPair) {
    let mut params = named(common_name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params, KeyPair::generate().unwrap())
}

fn root(common_name: &str) -> Authority {
    let (params, key) = authority(common_name);
    CertifiedIssuer::self_signed(params, key).unwrap()
}

/// An RSA key, which the library of the certificates cannot make.
fn rsa() -> KeyPair {
    let pem = openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-quiet"], "");
    KeyPair::from_pem(&pem).unwrap()
}

/// Runs openssl, with `input` given on its standard input.
pub(crate) fn openssl(arguments: &[&str], input: &str) -> String {
    use std::io::Write as _;
    let mut command = Command::new("openssl");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn revocation_list(issuer: &Authority, serials: &[u64]) -> String {
    let revoked = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date_time_ymd(2020, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(2090, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).unwrap().pem().unwrap()
}

impl Certificates {
    pub(crate) fn make() -> Self {
        let ours = root("root of the servers");
        let foreign = root("root of somebody else");
        let clients = root("root of the clients");
        let (params, key) = authority("between");
        let between = CertifiedIssuer::signed_by(params, key, &ours).unwrap();

        let mut all = Self::default();
        all.servers(&ours, &foreign, &between);
        all.of_server.push(("client_ca.crt".to_owned(), clients.pem()));
        for (name, contents) in [
            ("root.crt", ours.pem()),
            ("foreign.crt", foreign.pem()),
            ("both.crt", foreign.pem() + &ours.pem()),
            ("between.crt", between.pem()),
            ("empty.crt", String::new()),
            ("garbage.crt", "this is no certificate\n".to_owned()),
            ("broken.crt", ours.pem().replace("MII", "MIJ")),
            ("none.crl", revocation_list(&ours, &[])),
            ("revoked.crl", revocation_list(&ours, &[666])),
            ("foreign.crl", revocation_list(&foreign, &[1])),
        ] {
            all.of_clients.push((name.to_owned(), contents));
        }
        all.clients(&clients, &foreign);
        all
    }

    fn server(&mut self, name: &str, certificate: String, key: &KeyPair) {
        self.of_server.push((format!("{name}.crt"), certificate));
        self.of_server.push((format!("{name}.key"), key.serialize_pem()));
    }

    fn servers(&mut self, ours: &Authority, foreign: &Authority, between: &Authority) {
        const NAMES: &[&str] = &["localhost", "db.test", "127.0.0.1"];
        let key = || KeyPair::generate().unwrap();
        let simple: [(&str, CertificateParams); 12] = [
            ("good", named("server", NAMES)),
            ("common_name", named("localhost", &[])),
            ("common_name_address", named("127.0.0.1", &[])),
            ("common_name_other_names", named("localhost", &["elsewhere.test"])),
            ("common_name_other_address", named("localhost", &["10.0.0.1"])),
            ("wildcard", named("server", &["*.wild.test"])),
            ("wildcard_top", named("server", &["*"])),
            ("upper_case", named("server", &["LOCALHOST"])),
            ("address", named("server", &["127.0.0.1"])),
            ("elsewhere", named("elsewhere.test", &["elsewhere.test"])),
            ("no_name", named("server", &[])),
            ("trailing_dot", named("server", &["localhost.", "db.test"])),
        ];
        for (name, params) in simple {
            let key = key();
            let certificate = params.signed_by(&key, ours).unwrap();
            self.server(name, certificate.pem(), &key);
        }
        let changed = |change: fn(&mut CertificateParams)| {
            let mut params = named("server", NAMES);
            change(&mut params);
            params
        };
        for (name, params) in [
            ("expired", changed(|params| params.not_after = date_time_ymd(2001, 1, 1))),
            ("not_yet", changed(|params| params.not_before = date_time_ymd(2090, 1, 1))),
            ("revoked", changed(|params| params.serial_number = Some(SerialNumber::from(666_u64)))),
            (
                "for_clients",
                changed(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
            ),
            (
                "for_servers",
                changed(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
            ),
        ] {
            let key = key();
            let certificate = params.signed_by(&key, ours).unwrap();
            self.server(name, certificate.pem(), &key);
        }
        let own = key();
        self.server("self_signed", named("server", NAMES).self_signed(&own).unwrap().pem(), &own);
        let of_foreign = key();
        let certificate = named("server", NAMES).signed_by(&of_foreign, foreign).unwrap();
        self.server("foreign", certificate.pem(), &of_foreign);
        let of_between = key();
        let leaf = named("server", NAMES).signed_by(&of_between, between).unwrap().pem();
        self.server("between_missing", leaf.clone(), &of_between);
        self.server("between", leaf + &between.pem(), &of_between);
        for (name, key) in [("ed25519", KeyPair::generate_for(&PKCS_ED25519).unwrap()), ("rsa", rsa())] {
            let certificate = named("server", NAMES).signed_by(&key, ours).unwrap();
            self.server(name, certificate.pem(), &key);
        }
    }

    fn clients(&mut self, clients: &Authority, foreign: &Authority) {
        let mut client = |name: &str, params: CertificateParams, issuer: &Authority, key: KeyPair| {
            let certificate = params.signed_by(&key, issuer).unwrap();
            self.of_clients.push((format!("{name}.crt"), certificate.pem()));
            self.of_clients.push((format!("{name}.key"), key.serialize_pem()));
        };
        let key = || KeyPair::generate().unwrap();
        client("cert", named("u_cert", &[]), clients, key());
        client("cert_rsa", named("u_cert", &[]), clients, rsa());
        client("cert_ed25519", named("u_cert", &[]), clients, KeyPair::generate_for(&PKCS_ED25519).unwrap());
        client("cert_other", named("somebody", &[]), clients, key());
        client("cert_foreign", named("u_cert", &[]), foreign, key());
        let mut expired = named("u_cert", &[]);
        expired.not_after = date_time_ymd(2001, 1, 1);
        client("cert_expired", expired, clients, key());
        let of =
            |all: &Self, name: &str| all.of_clients.iter().find(|(file, _)| file == name).unwrap().1.clone();
        let pem = of(self, "cert.key");
        let password = format!("pass:{KEY_SECRET}");
        let encrypted = openssl(&["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", &password], &pem);
        self.of_clients.push(("cert_encrypted.key".to_owned(), encrypted));
        self.of_clients.push(("cert_sec1.key".to_owned(), openssl(&["ec", "-outform", "PEM"], &pem)));
        let legacy = openssl(&["ec", "-aes256", "-passout", &password], &pem);
        self.of_clients.push(("cert_legacy.key".to_owned(), legacy));
        let rsa = of(self, "cert_rsa.key");
        self.of_clients.push(("cert_pkcs1.key".to_owned(), openssl(&["rsa", "-traditional"], &rsa)));
        let both = of(self, "cert.crt") + &pem;
        self.of_clients.push(("cert_both.pem".to_owned(), both));
        self.of_clients.push(("cert_chain.crt".to_owned(), of(self, "cert.crt") + &clients.pem()));
    }
}

/// The file name that OpenSSL expects in a folder of revocation lists.
pub(crate) fn hashed_name(list: &Path) -> String {
    let hash = openssl(&["crl", "-hash", "-noout", "-in", &list.display().to_string()], "");
    format!("{}.r0", hash.trim())
}
