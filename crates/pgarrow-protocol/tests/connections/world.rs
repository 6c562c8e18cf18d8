//! The servers, their roles and files, and the homes of cells.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pgarrow_testkit::pgarrow_server::{Installation, Server, fetch, fetch_with_tls, find_or_fetch};
use pgarrow_testkit::postgres::{Client, NoTls};
use pgarrow_testkit::server_options;

use crate::cell::{HomeFile, SECRET};
use crate::certificates::{Certificates, hashed_name};

/// Roles with a password that needs care, and their passwords.
pub(crate) const PASSWORDS: &[(&str, &str)] = &[
    ("p_space", "two words canary"),
    ("p_edges", " canary "),
    ("p_quote", "it's \"canary\" \\ here"),
    ("p_uri", "c@n:a/r?y&x=#%41+canary"),
    ("p_colon", "canary:with:colons\\"),
    ("p_soft_hyphen", "canary I\u{ad}X"),
    ("p_roman", "canary \u{2168}"),
    ("p_ordinal", "canary \u{aa}"),
    ("p_composed", "canary é"),
    ("p_decomposed", "canary e\u{301}"),
    ("p_wide_space", "canary\u{a0}x\u{3000}y"),
    ("p_control", "canary a\u{7}b"),
    ("p_bidirectional", "canary \u{627}1"),
    ("p_arabic", "\u{627}\u{628}"),
    ("p_unassigned", "canary \u{378}"),
    ("p_private_use", "canary \u{e000}"),
    ("p_emoji", "canary 🔑"),
    ("p_only_mapped_away", "\u{ad}"),
    (
        "p_long",
        "canary-long-canary-long-canary-long-canary-long-canary-long-canary-long-canary-long-canary-long-",
    ),
];

/// Everything that cells connect to.
#[derive(Debug)]
pub(crate) struct World {
    /// With TLS, of the tests' usual version: Debian's 15.
    pub(crate) tls: Server,
    /// 17, with TLS that may begin at once.
    pub(crate) direct: Server,
    /// 18, without TLS.
    pub(crate) plain: Server,
    /// A server in recovery, which trusts every user.
    pub(crate) standby: Server,
    /// A port without a listener.
    pub(crate) closed_port: u16,
    /// The user of this process.
    pub(crate) os_user: String,
    seventeen: Installation,
    eighteen: Installation,
    folder: PathBuf,
    n_homes: AtomicUsize,
}

impl World {
    pub(crate) fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("pgarrow-connections-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let (seventeen, eighteen) = (fetch_with_tls().unwrap(), fetch().unwrap());
        let made = Certificates::make();
        for (name, contents) in &made.of_clients {
            write(&folder.join(name), contents, 0o600);
        }
        for (name, lists) in [("lists_none", ["none.crl"]), ("lists_revoked", ["revoked.crl"])] {
            fs::create_dir(folder.join(name)).unwrap();
            for list in lists {
                let list = folder.join(list);
                fs::copy(&list, folder.join(name).join(hashed_name(&list))).unwrap();
            }
        }
        let os_user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        let os_user = os_user.trim().to_owned();
        let with_tls = |installation: Installation| {
            let mut options = server_options().installation(installation).hba(rules(&os_user, true));
            for (name, contents) in &made.of_server {
                options = options.file(name.as_str(), contents.as_bytes());
            }
            for (name, value) in [
                ("ssl", "on"),
                ("ssl_cert_file", "good.crt"),
                ("ssl_key_file", "good.key"),
                ("ssl_ca_file", "client_ca.crt"),
                ("pgarrow.state", ""),
            ] {
                options = options.setting(name, value);
            }
            Server::start(options).unwrap()
        };
        let found = find_or_fetch().unwrap();
        let plain = server_options().installation(eighteen.clone()).hba(rules(&os_user, false));
        let standby = server_options().installation(found.clone()).file("standby.signal", "");
        let world = Self {
            tls: with_tls(found),
            direct: with_tls(seventeen.clone()),
            plain: Server::start(plain).unwrap(),
            standby: Server::start(standby).unwrap(),
            closed_port: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port(),
            os_user,
            seventeen,
            eighteen,
            folder,
            n_homes: AtomicUsize::new(0),
        };
        let counts = format!(
            "SET scram_iterations = 1; CREATE ROLE u_low LOGIN PASSWORD '{SECRET}'; \
             SET scram_iterations = 100000; CREATE ROLE u_many LOGIN PASSWORD '{SECRET}'; \
             SET scram_iterations = 100001; CREATE ROLE u_high LOGIN PASSWORD '{SECRET}'"
        );
        admin(&world.direct).batch_execute(&counts).unwrap();
        for server in [&world.tls, &world.direct, &world.plain] {
            admin(server).batch_execute(&roles(&world.os_user)).unwrap();
            for name in ["with space", "a=b", "quo'te\\", "ü"] {
                admin(server).batch_execute(&format!("CREATE DATABASE \"{name}\"")).unwrap();
            }
            for name in ["u_trust", "u_scram"] {
                admin(server).batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
            }
        }
        world
    }

    pub(crate) fn psql_seventeen(&self) -> PathBuf {
        self.seventeen.program("psql")
    }

    pub(crate) fn psql_eighteen(&self) -> PathBuf {
        self.eighteen.program("psql")
    }

    /// The path of a file that was made for clients.
    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// The content of such a file.
    pub(crate) fn contents(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap()
    }

    /// A home with these files and no others.
    pub(crate) fn home(&self, files: &[HomeFile]) -> PathBuf {
        let home = self.folder.join(format!("home-{}", self.n_homes.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&home).unwrap();
        for file in files {
            let path = home.join(&file.path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            write(&path, &file.contents, file.mode);
        }
        home
    }

    /// Makes the server with TLS show another certificate; or `tls12`, `tls13`: the good one, and only that
    /// version.
    pub(crate) fn set_state(&mut self, state: &str) {
        let (certificate, version) = match state {
            "tls12" => ("good", "TLSv1.2"),
            "tls13" => ("good", "TLSv1.3"),
            certificate => (certificate, ""),
        };
        let minimum = if version == "TLSv1.3" { "TLSv1.3" } else { "TLSv1.2" };
        let mut client = admin(&self.tls);
        for (name, value) in [
            ("ssl_cert_file", format!("{certificate}.crt")),
            ("ssl_key_file", format!("{certificate}.key")),
            ("ssl_max_protocol_version", version.to_owned()),
            ("ssl_min_protocol_version", minimum.to_owned()),
            // Only to show that all settings are in force.
            ("pgarrow.state", state.to_owned()),
        ] {
            client.batch_execute(&format!("ALTER SYSTEM SET {name} = '{value}'")).unwrap();
        }
        client.batch_execute("SELECT pg_reload_conf()").unwrap();
        // The postmaster reads its settings, then its certificate, then takes connections again.
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let row =
                admin(&self.tls).query_one("SELECT current_setting('pgarrow.state', true)", &[]).unwrap();
            if row.get::<_, Option<String>>(0).as_deref() == Some(state) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "the server does not take the state {state}: {}",
                self.tls.log()
            );
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn admin(server: &Server) -> Client {
    Client::connect(&server.url(), NoTls).unwrap()
}

fn write(path: &Path, contents: &str, mode: u32) {
    fs::write(path, contents).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// `pg_hba.conf`: the method of a role is in its name.
fn rules(os_user: &str, has_tls: bool) -> String {
    let mut rules = String::from("host all postgres 127.0.0.1/32 trust\n");
    for (role, method) in [
        ("u_trust,u_ro", "trust"),
        ("u_scram,u_old,u_nobody,u_nologin,u_empty", "scram-sha-256"),
        ("u_md5,u_md5s", "md5"),
        ("u_password", "password"),
        ("u_ident", "ident"),
        ("u_reject", "reject"),
        ("u_low,u_many,u_high", "scram-sha-256"),
    ] {
        rules.push_str(&format!("local all {role} {method}\nhost all {role} all {method}\n"));
    }
    for (role, _) in PASSWORDS {
        rules.push_str(&format!("host all {role} all scram-sha-256\n"));
    }
    rules.push_str("host all p_clear all password\nhost all u_nossl all trust\n");
    rules.push_str(&format!("local all \"{os_user}\",u_peer peer\n"));
    if has_tls {
        // Above the rules for the same roles without TLS, which would match first.
        rules.insert_str(
            0,
            "hostnossl all u_ssl all reject\nhostssl all u_ssl all trust\nhostssl all u_nossl all reject\n\
             hostssl all u_sslscram all scram-sha-256\nhostnossl all u_sslscram all reject\n\
             hostssl all u_cert all cert\nhostssl all u_verify all scram-sha-256 clientcert=verify-ca\n\
             hostssl all u_full all scram-sha-256 clientcert=verify-full\n",
        );
    }
    rules.push_str("host all all all reject\nlocal all all reject");
    rules
}

/// The SQL that makes the roles.
fn roles(os_user: &str) -> String {
    let mut sql = String::new();
    for role in ["u_trust", "u_ssl", "u_nossl", "u_cert", "u_ident", "u_reject", "u_peer", "u_empty"] {
        sql.push_str(&format!("CREATE ROLE {role} LOGIN;\n"));
    }
    sql.push_str(&format!("CREATE ROLE \"{os_user}\" LOGIN;\n"));
    sql.push_str("CREATE ROLE u_ro LOGIN; ALTER ROLE u_ro SET default_transaction_read_only = on;\n");
    for role in ["u_scram", "u_md5s", "u_password", "u_verify", "u_full", "u_sslscram", "p_clear"] {
        sql.push_str(&format!("CREATE ROLE {role} LOGIN PASSWORD '{SECRET}';\n"));
    }
    sql.push_str(&format!("CREATE ROLE u_old LOGIN PASSWORD '{SECRET}' VALID UNTIL '2001-01-01';\n"));
    sql.push_str(&format!("CREATE ROLE u_nologin NOLOGIN PASSWORD '{SECRET}';\n"));
    for (role, password) in PASSWORDS {
        sql.push_str(&format!("CREATE ROLE {role} LOGIN PASSWORD '{}';\n", password.replace('\'', "''")));
    }
    sql.push_str(&format!("SET password_encryption = 'md5'; CREATE ROLE u_md5 LOGIN PASSWORD '{SECRET}';\n"));
    sql
}
