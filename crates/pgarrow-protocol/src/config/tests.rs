use std::collections::HashMap;

use proptest::prelude::*;

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
        ("postgres:///d?host=/run/pg&port=6", ("/run/pg", 6, "d", "envuser", None)),
        ("host=h port=1 dbname=d user=u password=p", ("h", 1, "d", "u", Some("p"))),
        ("host = h  password = 'a b\\'c\\\\'", ("h", 5432, "envuser", "envuser", Some("a b'c\\"))),
        ("host=h password=a\\ b\\=", ("h", 5432, "envuser", "envuser", Some("a b="))),
        ("host=a host=b user=''", ("b", 5432, &os_user().unwrap(), &os_user().unwrap(), None)),
    ] {
        let config = parse(conninfo, environment).unwrap_or_else(|error| panic!("{conninfo}: {error}"));
        assert_eq!(parts(&config), expected, "{conninfo}");
    }
}

#[test]
fn connection_strings_that_are_refused() {
    for (conninfo, word) in [
        ("host=a,b", "several hosts"),
        ("postgres://a,b/d", "several hosts"),
        ("port=1,2", "several hosts"),
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
        ("client_encoding=LATIN1", "client_encoding"),
        ("connect_timeout=soon", "connect_timeout"),
        ("keepalives=2", "keepalives"),
        ("user=a\0b", "zero byte"),
        ("options=a\0b", "zero byte"),
        ("nonsense=1", "unknown connection parameter \"nonsense\""),
        ("service=x", "service is not supported yet"),
        ("sslcert=x", "sslcert is not supported yet"),
        ("hostaddr=1.2.3.4", "hostaddr is not supported yet"),
        ("target_session_attrs=any", "target_session_attrs is not supported yet"),
        ("channel_binding=require", "channel_binding is not supported yet"),
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
    assert_eq!((config.sslmode(), config.timezone()), (SslMode::VerifyFull, Some("UTC")));
    assert_eq!(config.connect_timeout(), Some(Duration::from_secs(3)));
    assert_eq!(parse("host=x port=2", environment).unwrap().endpoint(), "x:2");
}

#[test]
fn variables_that_would_change_the_connection_are_named() {
    for (name, value) in [
        ("PGSERVICE", "x"),
        ("PGHOSTADDR", "1.2.3.4"),
        ("PGSSLCERT", "x"),
        ("PGSSLKEY", "x"),
        ("PGSSLCRL", "x"),
        ("PGTARGETSESSIONATTRS", "read-write"),
        ("PGREQUIREAUTH", "scram-sha-256"),
        ("PGCHANNELBINDING", "require"),
        ("PGSSLNEGOTIATION", "direct"),
        ("PGGSSENCMODE", "require"),
        ("PGREQUIREPEER", "postgres"),
        ("PGLOADBALANCEHOSTS", "random"),
        ("PGCLIENTENCODING", "LATIN1"),
    ] {
        let error = parse("host=h", &[(name, value)]).expect_err(name);
        assert!(error.to_string().contains(name.trim_start_matches("PGCLIENTENCODING")), "{error}");
    }
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
    assert_eq!(default_host(1, |path| path == Path::new("/tmp/.s.PGSQL.1")), "/tmp");
    assert_eq!(default_host(1, |_| true), "/var/run/postgresql");
    assert_eq!(default_host(1, |_| false), "localhost");
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
        "postgres://u:1?Zecret9@h/d",
        "postgres://u:1?Zecret9=@h/d",
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
