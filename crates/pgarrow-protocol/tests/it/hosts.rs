//! Several hosts: which are tried, which is chosen, and how long each may take.

use std::collections::HashSet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use pgarrow_protocol::{Config, ErrorKind, Interrupter, Session};
use pgarrow_testkit::{Script, ScriptedServer, Step, messages};

/// A login, with the parameters that the server reports.
fn server(parameters: &[(&str, &str)]) -> ScriptedServer {
    let said = parameters.iter().flat_map(|(name, value)| messages::parameter_status(name, value));
    let login = [
        messages::authentication_ok(),
        messages::parameter_status("client_encoding", "UTF8"),
        said.collect(),
        messages::backend_key_data(1, 2),
        messages::ready_for_query(),
    ];
    Script::new().then(Step::ExpectStartup).send(login.concat()).then(Step::ExpectEnd).start()
}

fn refusing(sqlstate: &str) -> ScriptedServer {
    Script::new()
        .then(Step::ExpectStartup)
        .send(messages::error_response("FATAL", sqlstate, "not now"))
        .start()
}

/// A port of this machine without a listener.
fn nobody() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn config(ports: &[u16], more: &str) -> Config {
    let hosts = vec!["127.0.0.1"; ports.len()].join(",");
    let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    let conninfo = format!("host={hosts} port={ports} user=u sslmode=disable {more}");
    Config::parse_with(Some(&conninfo), &|name| (name == "HOME").then(|| "/nonexistent".to_owned())).unwrap()
}

const PRIMARY: [(&str, &str); 2] = [("default_transaction_read_only", "off"), ("in_hot_standby", "off")];
const STANDBY: [(&str, &str); 2] = [("default_transaction_read_only", "off"), ("in_hot_standby", "on")];
const READ_ONLY: [(&str, &str); 2] = [("default_transaction_read_only", "on"), ("in_hot_standby", "off")];

#[test]
fn the_first_that_answers_is_taken_and_kept() {
    let second = server(&PRIMARY);
    let session = Session::connect(&config(&[nobody(), second.port(), nobody()], "")).unwrap();
    assert_eq!(session.endpoint(), format!("127.0.0.1:{}", second.port()));
    // A second session of the same config must not end at another server.
    assert_eq!(session.config().endpoint(), session.endpoint());
    drop(session);
    second.finish();
}

#[test]
fn all_that_failed_are_told() {
    let ports = [nobody(), nobody()];
    let error = Session::connect(&config(&ports, "")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    for port in ports {
        assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    }
}

#[test]
fn a_server_that_starts_up_is_passed_over_and_one_that_refuses_is_not() {
    let (starting, good) = (refusing("57P03"), server(&PRIMARY));
    let session = Session::connect(&config(&[starting.port(), good.port()], "")).unwrap();
    assert_eq!(session.config().port(), good.port());
    drop(session);
    starting.finish();
    good.finish();

    // A wrong password for one host must not go to the next.
    let refusing = refusing("28P01");
    let error = Session::connect(&config(&[refusing.port(), nobody()], "")).unwrap_err();
    assert_eq!(error.sqlstate(), Some("28P01"));
    refusing.finish();
}

#[test]
fn sessions_that_are_not_what_is_wanted_are_passed_over() {
    for (wanted, servers, taken) in [
        ("any", [STANDBY, PRIMARY], Some(0)),
        ("read-write", [STANDBY, PRIMARY], Some(1)),
        ("read-write", [READ_ONLY, STANDBY], None),
        ("read-only", [PRIMARY, READ_ONLY], Some(1)),
        ("read-only", [PRIMARY, STANDBY], Some(1)),
        ("primary", [STANDBY, READ_ONLY], Some(1)),
        ("standby", [PRIMARY, STANDBY], Some(1)),
        ("standby", [PRIMARY, READ_ONLY], None),
        ("prefer-standby", [PRIMARY, STANDBY], Some(1)),
    ] {
        let servers = servers.map(|parameters| server(&parameters));
        let ports = servers.each_ref().map(ScriptedServer::port);
        let result = Session::connect(&config(&ports, &format!("target_session_attrs={wanted}")));
        match taken {
            Some(index) => assert_eq!(result.unwrap().config().port(), ports[index], "{wanted}"),
            None => {
                let error = result.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
                assert!(error.to_string().contains(&format!("target_session_attrs is {wanted}")), "{error}");
            }
        }
        servers.into_iter().for_each(|server| drop(server.finish_however()));
    }
}

#[test]
fn without_a_standby_anything_is_preferred_to_nothing() {
    let login = [
        messages::authentication_ok(),
        messages::parameter_status("client_encoding", "UTF8"),
        messages::parameter_status("in_hot_standby", "off"),
        messages::ready_for_query(),
    ];
    let script = Script::new().then(Step::ExpectStartup).send(login.concat()).then(Step::ExpectEnd);
    // Two passes: one for a standby, and one for any server.
    let server = ScriptedServer::start(vec![script.clone(), script]);
    let session = Session::connect(&config(&[server.port()], "target_session_attrs=prefer-standby"));
    assert_eq!(session.unwrap().config().port(), server.port());
    assert_eq!(server.finish_all().len(), 2);
}

#[test]
fn an_old_server_is_asked_what_it_is() {
    // Before PostgreSQL 14, servers do not report these.
    let answer = messages::result(&[("transaction_read_only", 25)], &[&[Some("on")]]);
    let prepared = [b'1', 0, 0, 0, 4, b'2', 0, 0, 0, 4];
    let server = "PBDES"
        .bytes()
        .fold(Script::new().login(), Script::expect_message)
        .send([&prepared[..], &answer, &messages::ready_for_query()].concat())
        .then(Step::ExpectEnd)
        .start();
    let error = Session::connect(&config(&[server.port()], "target_session_attrs=read-write")).unwrap_err();
    assert!(error.to_string().contains("read-only"), "{error}");
    server.finish_however();
}

#[test]
fn chance_spreads_sessions_over_hosts() {
    let servers: Vec<ScriptedServer> = (0..2)
        .map(|_| {
            let script = Script::new().login().then(Step::ExpectEnd);
            ScriptedServer::start(vec![script; 64])
        })
        .collect();
    let ports: Vec<u16> = servers.iter().map(ScriptedServer::port).collect();
    let config = config(&ports, "load_balance_hosts=random");
    let mut taken = HashSet::new();
    // The chance that 64 sessions go to one of two hosts is 2 to the power of -63.
    for _ in 0..64 {
        taken.insert(Session::connect(&config).unwrap().config().port());
        if taken.len() == 2 {
            break;
        }
    }
    assert_eq!(taken.len(), 2);
    servers.into_iter().for_each(|server| drop(server.finish_however()));
}

#[test]
fn each_address_has_the_whole_timeout_and_no_more() {
    // Accepts the connection and sends nothing: the timeout is not only for TCP.
    let silent = Script::new().then(Step::ExpectStartup).then(Step::Stall).start();
    let good = server(&PRIMARY);
    let started = Instant::now();
    let session = Session::connect(&config(&[silent.port(), good.port()], "connect_timeout=1")).unwrap();
    assert_eq!(session.config().port(), good.port());
    assert!(started.elapsed() >= Duration::from_secs(1));
    drop(session);
    silent.finish_however();
    good.finish();

    let silent = Script::new().then(Step::ExpectStartup).then(Step::Stall).start();
    let error = Session::connect(&config(&[silent.port()], "connect_timeout=1")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    silent.finish_however();
}

#[test]
fn a_connection_that_is_never_accepted_can_be_interrupted() {
    // A listener whose queue is full takes no further connection, as a black hole does.
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(stream);
    }
    let error = Session::connect(&config(&[address.port()], "connect_timeout=1")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");

    let interrupter = Interrupter::default();
    let handle = interrupter.clone();
    let config = config(&[address.port()], "");
    let connecting = std::thread::spawn(move || Session::connect_interruptible(&config, &interrupter));
    handle.interrupt();
    assert_eq!(connecting.join().unwrap().unwrap_err().kind(), ErrorKind::Interrupted);
}

#[test]
fn hostaddr_is_where_and_host_is_whom() {
    let server = server(&PRIMARY);
    let conninfo =
        format!("host=no-such-host.invalid hostaddr=127.0.0.1 port={} user=u sslmode=disable", server.port());
    let session = Session::connect(&Config::parse_with(Some(&conninfo), &|_| None).unwrap()).unwrap();
    assert_eq!(session.config().host(), "no-such-host.invalid");
    drop(session);
    server.finish();
}

#[test]
fn a_name_that_nobody_has() {
    let conninfo = "host=no-such-host.invalid user=u connect_timeout=20";
    let error = Session::connect(&Config::parse_with(Some(conninfo), &|_| None).unwrap()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Connect | ErrorKind::Timeout), "{error}");
    assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
}

/// Poolers that require TLS, and servers without a line for a user, report it with their own codes.
#[test]
fn prefer_and_allow_try_the_other_way_after_any_refusal() {
    for mode in ["allow", "prefer"] {
        for sqlstate in ["08P01", "28000", "28P01", "53300"] {
            let refusing = Script::new().then(Step::ExpectStartup).send(messages::error_response(
                "FATAL",
                sqlstate,
                "SSL required",
            ));
            let no_tls = Script::new()
                .then(Step::ExpectBytes(8))
                .send(*b"N")
                .then(Step::ExpectStartup)
                .send(messages::error_response("FATAL", sqlstate, "SSL required"));
            // prefer: N, refused, then once more in plaintext; allow: refused, then with TLS, also refused.
            let second = match mode {
                "prefer" => Script::new().login().then(Step::ExpectEnd),
                _ => Script::new().then(Step::ExpectBytes(8)).send(*b"N"),
            };
            let first = if mode == "prefer" { no_tls } else { refusing };
            let server = ScriptedServer::start(vec![first, second]);
            let config = config(&[server.port()], "").with_sslmode(mode.parse().unwrap());
            let result = Session::connect(&config);
            match mode {
                "prefer" => drop(result.unwrap()),
                _ => assert_eq!(result.unwrap_err().sqlstate(), Some(sqlstate)),
            }
            assert_eq!(server.finish_however().len(), 2, "{mode} {sqlstate}");
        }
    }
    // 57P03: the server is not ready, for no user.
    let server = refusing("57P03");
    let config = config(&[server.port()], "").with_sslmode(pgarrow_protocol::SslMode::Allow);
    assert_eq!(Session::connect(&config).unwrap_err().sqlstate(), Some("57P03"));
    server.finish();
}
