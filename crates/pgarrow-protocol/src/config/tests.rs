use std::collections::HashMap;

use proptest::prelude::*;

use super::read::os_user;
use super::*;

fn parse(conninfo: &str, environment: &[(&str, &str)]) -> Result<Config, Error> {
    let environment: HashMap<&str, &str> = environment.iter().copied().collect();
    Config::parse_with(Some(conninfo), &|name| environment.get(name).map(|value| (*value).to_owned()))
}

/// host, port, dbname, user, password
fn parts(config: &Config) -> (&str, u16, &str, &str, Option<&str>) {
    (config.host(), config.port(), config.dbname(), config.user(), config.password.as_deref())
}

#[test]
fn connection_strings() {
    let environment = &[("PGHOST", "envhost"), ("PGUSER", "envuser")];
    for (conninfo, expected) in [
        ("", ("envhost", 5432, "envuser", "envuser", None)),
        ("sales", ("envhost", 5432, "sales", "envuser", None)),
        ("postgres://", ("envhost", 5432, "envuser", "envuser", None)),
        ("postgresql:///sales", ("envhost", 5432, "sales", "envuser", None)),
        ("postgres://u:p%40%2F@h:1/d", ("h", 1, "d", "u", Some("p@/"))),
        ("postgres://u@h", ("h", 5432, "u", "u", None)),
        ("postgres://h?user=x&dbname=y", ("h", 5432, "y", "x", None)),
        ("postgres://[::1]:7/d", ("::1", 7, "d", "envuser", None)),
        ("postgres://[::1]", ("::1", 5432, "envuser", "envuser", None)),
        ("postgres://%2Frun%2Fpg/d", ("/run/pg", 5432, "d", "envuser", None)),
        ("postgres://u:1?2@h/d", ("h", 5432, "d", "u", Some("1?2"))),
        ("postgres://h:1,k:2/d", ("h", 1, "d", "envuser", None)),
        ("postgres:///d?host=/run/pg&port=6", ("/run/pg", 6, "d", "envuser", None)),
        ("host=h port=1 dbname=d user=u password=p", ("h", 1, "d", "u", Some("p"))),
        ("host = h  password = 'a b\\'c\\\\'", ("h", 5432, "envuser", "envuser", Some("a b'c\\"))),
        ("host=h password=a\\ b\\=", ("h", 5432, "envuser", "envuser", Some("a b="))),
        ("postgres://h/d?user=x&", ("h", 5432, "d", "x", None)),
        ("host=a host=b user=''", ("b", 5432, &os_user().unwrap(), &os_user().unwrap(), None)),
    ] {
        let config = parse(conninfo, environment).unwrap_or_else(|error| panic!("{conninfo}: {error}"));
        assert_eq!(parts(&config), expected, "{conninfo}");
    }
}

#[test]
fn connection_strings_that_are_refused() {
    for (conninfo, word) in [
        ("port=1,2", "2 ports for 1"),
        ("host=a,b hostaddr=::1", "2 hosts and 1 addresses"),
        ("hostaddr=name", "no IP address"),
        ("port=0", "port"),
        ("port=65536", "port"),
        ("postgres://u:p/w@h/d", "@ too many"),
        ("postgres://u:p@w@h/d", "@ too many"),
        ("postgres://h:port/d", "percent-encoded"),
        ("postgres://[::1/d", "bracket"),
        ("postgres://[::1]x/d", "no port"),
        ("postgres://[]/d", "empty"),
        ("postgres://%zz/d", "hexadecimal"),
        ("postgres://h%00/d", "zero byte"),
        ("postgres://h%ff/d", "UTF-8"),
        ("postgres://h?user", "no value"),
        ("host=h dbname='postgres://x'", "dbname is a URI"),
        ("host=h password=a b", "no ="),
        ("host=h password='a", "closing quote"),
        ("sslmode=maybe", "sslmode"),
        ("sslmode=''", "sslmode"),
        ("postgres://h?sslmode=", "sslmode"),
        ("connect_timeout=''", "connect_timeout"),
        ("keepalives=''", "keepalives"),
        ("gssencmode=''", "GSSAPI"),
        ("postgres://h?&", "no value"),
        ("postgres://h?user=a&&dbname=b", "no value"),
        ("service=''", "defined in no service file"),
        ("connect_timeout=soon", "connect_timeout"),
        ("connect_timeout=2147483648", "connect_timeout"),
        ("keepalives=yes", "keepalives"),
        ("keepalives_idle=1h", "keepalives_idle"),
        ("user=a\0b", "zero byte"),
        ("options=a\0b", "zero byte"),
        ("nonsense=1", "unknown connection parameter \"nonsense\""),
        ("service=x", "defined in no service file"),
        ("service=x servicefile=/nonexistent/file", "does not exist"),
        ("target_session_attrs=writable", "target_session_attrs is unknown"),
        ("load_balance_hosts=1", "load_balance_hosts"),
        ("channel_binding=yes", "channel_binding"),
        ("require_auth=md5,!none", "require_auth"),
        ("sslcertmode=x", "sslcertmode"),
        ("ssl_min_protocol_version=3", "ssl_min_protocol_version"),
        ("ssl_max_protocol_version=TLSv1.1", "below"),
        ("max_protocol_version=3.1", "max_protocol_version is unknown"),
        ("min_protocol_version=latest max_protocol_version=3.0", "below"),
        ("gssencmode=require", "GSSAPI"),
        ("oauth_issuer=x", "OAuth"),
        ("replication=database", "replication"),
        ("sslnegotiation=direct", "too weak"),
        ("postgre://u:p@h/d", "another kind"),
        ("postgres://h?user=u&password=p@ss", "percent-encoded as %40"),
        ("service=x servicefile=/dev/zero", "no plain file"),
        ("sslrootcert=system sslmode=require", "too weak"),
    ] {
        let error = parse(conninfo, &[]).expect_err(conninfo);
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(word), "{conninfo}: {error}");
    }
}

#[test]
fn the_environment_stands_behind_the_connection_string() {
    let environment = &[
        ("PGHOST", "h"),
        ("PGPORT", "1"),
        ("PGDATABASE", "d"),
        ("PGUSER", "u"),
        ("PGPASSWORD", "p"),
        ("PGAPPNAME", "a"),
        ("PGOPTIONS", "-c x=1"),
        ("PGSSLMODE", "verify-full"),
        ("PGCONNECT_TIMEOUT", "3"),
        ("PGTZ", "UTC"),
        ("PGGSSENCMODE", "disable"),
        ("PGTARGETSESSIONATTRS", "any"),
        ("PGSSLCERT", ""),
    ];
    let config = parse("", environment).unwrap();
    assert_eq!(parts(&config), ("h", 1, "d", "u", Some("p")));
    assert_eq!((config.application_name(), config.options()), ("a", Some("-c x=1")));
    assert_eq!(config.sslmode(), SslMode::VerifyFull);
    assert_eq!(config.session_parameters(), [("TimeZone", "UTC".to_owned())]);
    assert_eq!(config.connect_timeout(), Some(Duration::from_secs(3)));
    assert_eq!(parse("host=x port=2", environment).unwrap().endpoint(), "x:2");
}

#[test]
fn what_is_older_than_its_successor() {
    for (conninfo, mode) in
        [("requiressl=1", SslMode::Require), ("sslmode=require requiressl=0", SslMode::Prefer)]
    {
        assert_eq!(parse(conninfo, &[]).unwrap().sslmode(), mode, "{conninfo}");
    }
    assert_eq!(parse("", &[("PGREQUIRESSL", "1")]).unwrap().sslmode(), SslMode::Require);
}

#[test]
fn a_name_may_be_empty() {
    assert_eq!(parse("application_name=''", &[("PGAPPNAME", "x")]).unwrap().application_name(), "");
    assert_eq!(parse("application_name='' fallback_application_name=y", &[]).unwrap().application_name(), "");
    assert_eq!(parse("fallback_application_name=y", &[]).unwrap().application_name(), "y");
}

#[test]
fn variables_that_ask_for_what_is_not_there_are_named() {
    for (name, value) in [("PGGSSENCMODE", "require"), ("PGGSSLIB", "sspi")] {
        let error = parse("host=h", &[(name, value)]).expect_err(name);
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn every_variable_has_its_parameter() {
    let variables = [
        ("PGHOSTADDR", "10.0.0.1"),
        ("PGHOST", "h"),
        ("PGSSLCERT", "c"),
        ("PGSSLKEY", "k"),
        ("PGSSLCRL", "l"),
        ("PGSSLCRLDIR", "d"),
        ("PGSSLSNI", "0"),
        ("PGSSLCERTMODE", "require"),
        ("PGSSLMODE", "require"),
        ("PGSSLNEGOTIATION", "direct"),
        ("PGSSLMINPROTOCOLVERSION", "tlsv1.3"),
        ("PGSSLMAXPROTOCOLVERSION", "TLSv1.3"),
        ("PGTARGETSESSIONATTRS", "read-write"),
        ("PGLOADBALANCEHOSTS", "random"),
        ("PGREQUIREAUTH", "!password"),
        ("PGCHANNELBINDING", "require"),
        ("PGREQUIREPEER", "postgres"),
        ("PGMINPROTOCOLVERSION", "3.2"),
        ("PGMAXPROTOCOLVERSION", "latest"),
        ("PGDATESTYLE", "ISO"),
        ("PGGEQO", "off"),
        ("PGTZ", "default"),
    ];
    let config = parse("keepalives_idle=1 keepalives_count=2 tcp_user_timeout=3", &variables).unwrap();
    assert_eq!(config.first_host().unwrap().address, Some([10, 0, 0, 1].into()));
    let tls = config.tls();
    assert_eq!(tls.cert.as_deref(), Some(Path::new("c")));
    assert_eq!(tls.key.as_deref(), Some(Path::new("k")));
    assert_eq!(tls.crl.as_deref(), Some(Path::new("l")));
    assert_eq!(tls.crl_dir.as_deref(), Some(Path::new("d")));
    assert!(!tls.sni);
    assert_eq!((tls.mode, tls.negotiation), (SslMode::Require, SslNegotiation::Direct));
    assert_eq!((tls.min_version, tls.max_version), (Some(TlsVersion::V1_3), Some(TlsVersion::V1_3)));
    assert_eq!(tls.cert_mode, SslCertMode::Require);
    let auth = config.auth();
    assert_eq!((auth.min_protocol, auth.max_protocol), (ProtocolVersion::V3_2, ProtocolVersion::V3_2));
    assert_eq!(auth.channel_binding, ChannelBinding::Require);
    assert_eq!(auth.require_peer.as_deref(), Some("postgres"));
    assert!(!auth.require_auth.as_ref().unwrap().allows(AuthMethod::Password));
    assert_eq!(config.target_session_attrs(), TargetSessionAttrs::ReadWrite);
    assert_eq!(config.load_balance_hosts(), LoadBalanceHosts::Random);
    let session = config.session_parameters();
    assert_eq!(session, [("DateStyle", "ISO".to_owned()), ("geqo", "off".to_owned())]);
    let keepalives = config.keepalives();
    assert_eq!((keepalives.idle, keepalives.count), (Duration::from_secs(1), 2));
    assert_eq!(keepalives.user_timeout, Some(Duration::from_millis(3)));
    assert_eq!(parse("host=h", &[("PGREQUIRESSL", "1")]).unwrap().sslmode(), SslMode::Require);
}

#[test]
fn a_service_stands_between_the_string_and_the_environment() {
    let home = std::env::temp_dir().join(format!("pgarrow-service-{}", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join(".pg_service.conf"), "[s]\nhost=fromservice\nport=7\npassword=x y\n").unwrap();
    let home_text = home.to_str().unwrap();
    let environment =
        &[("HOME", home_text), ("PGHOST", "e"), ("PGPORT", "8"), ("PGUSER", "u"), ("PGSERVICE", "s")];
    let config = parse("port=9", environment).unwrap();
    assert_eq!(parts(&config), ("fromservice", 9, "u", "u", Some("x y")));
    let system = &[("PGSYSCONFDIR", home_text), ("PGUSER", "u"), ("HOME", "/nonexistent")];
    assert!(parse("service=s", system).is_err());
    std::fs::rename(home.join(".pg_service.conf"), home.join("pg_service.conf")).unwrap();
    assert_eq!(parse("service=s", system).unwrap().endpoint(), "fromservice:7");
    std::fs::remove_dir_all(&home).unwrap();
}

#[test]
fn several_hosts_have_passwords_of_their_own() {
    let home = std::env::temp_dir().join(format!("pgarrow-passwords-{}", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    let file = home.join("passwords");
    std::fs::write(&file, "a:1:*:u:one\nb:2:*:u:two\n10.0.0.3:*:*:u:three\n").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let conninfo = format!("host=a,b, hostaddr=,,10.0.0.3 port=1,2,3 user=u passfile='{}'", file.display());
    let config = parse(&conninfo, &[]).unwrap();
    let found: Vec<_> =
        config.each_host().iter().map(|host| (host.endpoint(), host.resolved_password())).collect();
    let expected = [("a:1", "one"), ("b:2", "two"), ("10.0.0.3:3", "three")];
    assert_eq!(found, expected.map(|(endpoint, password)| (endpoint.to_owned(), Some(password.to_owned()))));
    assert_eq!(config.endpoint(), "a:1,b:2,10.0.0.3:3");
    std::fs::remove_dir_all(&home).unwrap();
}

#[test]
fn defaults_are_those_of_libpq() {
    let config = parse("host=h user=u", &[]).unwrap();
    assert_eq!((config.sslmode(), config.connect_timeout()), (SslMode::Prefer, None));
    assert_eq!(config.application_name(), "pgarrow");
    assert_eq!(parse("host=h sslrootcert=system", &[]).unwrap().sslmode(), SslMode::VerifyFull);
    assert_eq!(parse("host=h connect_timeout=0", &[]).unwrap().connect_timeout(), None);
    assert_eq!(parse("postgres://h?ssl=true", &[]).unwrap().sslmode(), SslMode::Require);
    let fallback = parse("host=h fallback_application_name=f", &[]).unwrap();
    assert_eq!(fallback.application_name(), "f");
}

#[test]
fn weak_settings_are_warned_about() {
    for (conninfo, n_warnings) in [
        ("host=db.example", 1),
        ("host=db.example sslmode=disable", 1),
        ("host=db.example sslmode=require", 0),
        ("host=localhost", 0),
        ("host=127.0.0.1 sslmode=disable", 0),
        ("host=/tmp", 0),
        ("host=localhost client_encoding=LATIN1", 1),
        ("host=localhost sslcompression=1", 1),
    ] {
        let config = parse(conninfo, &[("HOME", "/nonexistent")]).unwrap();
        assert_eq!(config.warnings().len(), n_warnings, "{conninfo}");
    }
}

#[test]
fn setters_are_checked_before_connecting() {
    let config = parse("host=h user=u", &[]).unwrap();
    assert!(config.clone().with_user("a\0database\0x").check().is_err());
    assert!(config.clone().with_host("a,b").check().is_err());
    assert!(config.clone().with_options("x".repeat(20_000)).check().is_err());
    assert!(config.clone().with_sslrootcert("system").check().is_err());
    assert_eq!(config.with_user("v").dbname(), "v");
}

/// An unquoted or unencoded password ends up where names and ports are expected.
#[test]
fn no_error_repeats_a_mistyped_password() {
    for conninfo in [
        "host=h password=abc Zecret9",
        "host=h password=abc Zecret9=x",
        "postgres://u:ab/Zecret9@h/d",
        "postgres://u:Zecret9/x",
        "postgre://u:Zecret9@h/x",
        "postgres://h?user=u&password=p@Zecret9",
        "postgres://h?user=u&password=Zecret9@x",
        "postgres://u:Zecret9@x@h/d",
        "postgres://u:%Zecret9@h/d",
        "host=h password='Zecret9",
    ] {
        let error = parse(conninfo, &[]).expect_err(conninfo);
        assert!(!format!("{error} {error:?}").contains("Zecret9"), "{conninfo}: {error}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(conninfo in "(postgres://)?[a-z:/@?&=%\\[\\]'\\\\ ,0-9\u{0}\u{e9}]{0,60}") {
        let _ = parse(&conninfo, &[]);
    }

    #[test]
    fn the_password_is_never_shown(password in "[A-Z0-9%@:/?# ]{12,20}") {
        let quoted = format!("host=h user=u password='{password}'");
        let encoded: String = password.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for conninfo in [quoted, format!("postgres://u:{encoded}@h/d")] {
            let config = parse(&conninfo, &[]).unwrap();
            prop_assert_eq!(config.password.as_deref(), Some(password.as_str()));
            let shown = format!("{config} {config:?}");
            prop_assert!(!shown.contains(&password));
        }
    }
}
