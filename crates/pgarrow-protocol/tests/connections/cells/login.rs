//! Users, and their proofs of identity.

use super::{SSLMODES, at_direct, at_plain, at_tls};
use crate::cell::{Cells, SECRET, percent, quoted};
use crate::world::{PASSWORDS, World};

pub(super) fn add(cells: &mut Cells, world: &World) {
    methods(cells, world);
    sources(cells, world);
    passfiles(cells, world);
    passwords(cells, world);
    binding(cells, world);
    required(cells, world);
    sockets(cells, world);
}

const ROLES: [&str; 9] =
    ["u_trust", "u_scram", "u_md5", "u_md5s", "u_password", "u_ident", "u_reject", "u_old", "u_nologin"];

/// Each method with the right secret, a wrong one and none, at each server.
fn methods(cells: &mut Cells, world: &World) {
    cells.group("methods");
    for role in ROLES.into_iter().chain(["u_empty", "u_nobody", "u_ssl", "u_nossl", "u_cert", "u_verify"]) {
        for (server, at) in [
            ("15", at_tls(world, role)),
            ("15 in clear", format!("{} sslmode=disable", at_tls(world, role))),
            ("17", at_direct(world, role)),
            ("18", at_plain(world, role)),
        ] {
            cells.add(format!("{server} {role} right"), format!("{at} password={SECRET}"));
            cells.add(format!("{server} {role} wrong"), format!("{at} password=canary-wrong"));
            cells.add(format!("{server} {role} none"), at.clone());
            cells.add(format!("{server} {role} empty"), format!("{at} password=''"));
        }
    }
    for role in ["u_low", "u_many", "u_high"] {
        cells.add(format!("17 iterations: {role}"), format!("{} password={SECRET}", at_direct(world, role)));
    }
}

/// Every place for a password.
fn sources(cells: &mut Cells, world: &World) {
    cells.group("sources of passwords");
    let port = world.tls.port();
    for role in ["u_scram", "u_md5", "u_password"] {
        for (is_right, secret) in [("right", SECRET), ("wrong", "canary-wrong")] {
            let at = at_tls(world, role);
            let name = |source: &str| format!("{role} {source} {is_right}");
            cells.add(name("PGPASSWORD"), at.clone()).env("PGPASSWORD", secret);
            cells
                .add(name("string over PGPASSWORD"), format!("{at} password={secret}"))
                .env("PGPASSWORD", "x");
            cells
                .add(name("empty string over PGPASSWORD"), format!("{at} password=''"))
                .env("PGPASSWORD", secret);
            cells.add(name("URI"), format!("postgres://{role}:{secret}@localhost:{port}/postgres"));
            let encoded = secret.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
            cells
                .add(name("URI encoded"), format!("postgres://{role}:{encoded}@localhost:{port}/postgres"))
                .secret(encoded);
            cells.add(
                name("URI parameter"),
                format!("postgres://localhost:{port}/postgres?user={role}&password={secret}"),
            );
            let line = format!("localhost:{port}:postgres:{role}:{secret}\n");
            for mode in [0o600, 0o400, 0o640, 0o644, 0o604, 0o700] {
                cells.add(name(&format!(".pgpass {mode:o}")), at.clone()).home(".pgpass", &line, mode);
            }
            cells
                .add(name("PGPASSWORD over .pgpass"), at.clone())
                .home(".pgpass", "*:*:*:*:x", 0o600)
                .env("PGPASSWORD", secret);
            let cell = cells.add(name("empty PGPASSWORD and .pgpass"), at.clone());
            cell.home(".pgpass", &line, 0o600).env("PGPASSWORD", "");
        }
    }
}

/// Contents of `.pgpass`, and which line counts.
fn passfiles(cells: &mut Cells, world: &World) {
    cells.group("passfile");
    let (port, at) = (world.tls.port(), at_tls(world, "u_scram"));
    let by_address = format!("host=127.0.0.1 port={port} user=u_scram dbname=postgres");
    let mixed = format!("host=localhost hostaddr=127.0.0.1 port={port} user=u_scram dbname=postgres");
    let socket =
        format!("host={} port={port} user=u_scram dbname=postgres", world.tls.socket_dir().display());
    let lines = [
        ("stars", format!("*:*:*:*:{SECRET}\n")),
        ("no end of line", format!("*:*:*:*:{SECRET}")),
        ("two ends", format!("*:*:*:*:{SECRET}\r\n")),
        ("host", format!("localhost:*:*:*:{SECRET}\n")),
        ("address", format!("127.0.0.1:*:*:*:{SECRET}\n")),
        ("upper case", format!("LOCALHOST:*:*:*:{SECRET}\n")),
        ("other port", format!("*:1:*:*:{SECRET}\n")),
        ("this port", format!("*:{port}:*:*:{SECRET}\n")),
        ("other database", format!("*:*:other:*:{SECRET}\n")),
        ("other user", format!("*:*:*:other:{SECRET}\n")),
        ("first counts", format!("*:*:*:*:canary-wrong\n*:*:*:*:{SECRET}\n")),
        ("second fits", format!("other:*:*:*:canary-wrong\n*:*:*:*:{SECRET}\n")),
        ("comment", format!("# *:*:*:*:canary-wrong\n\n*:*:*:*:{SECRET}\n")),
        ("spaces before", format!(" *:*:*:*:{SECRET}\n")),
        ("spaces behind", format!("*:*:*:*:{SECRET} \n")),
        ("escaped", "*:*:*:*:canary\\-s3\\same\n".to_owned()),
        ("escaped host", format!("local\\host:*:*:*:{SECRET}\n")),
        ("too few fields", format!("*:*:*:{SECRET}\n")),
        ("star in part", format!("local*:*:*:*:{SECRET}\n")),
        ("field more", format!("*:*:*:*:{SECRET}:more\n")),
        ("empty password", "*:*:*:*:\n".to_owned()),
        ("empty fields", format!("::::{SECRET}\n")),
        ("long line before", format!("#{}\n*:*:*:*:{SECRET}\n", "x".repeat(5000))),
        ("socket folder", format!("{}:*:*:*:{SECRET}\n", world.tls.socket_dir().display())),
        ("nothing", String::new()),
    ];
    for (name, line) in lines {
        for (place, at) in [("name", &at), ("address", &by_address), ("both", &mixed), ("socket", &socket)] {
            cells.add(format!("{name}, by {place}"), at).home(".pgpass", line.clone(), 0o600);
        }
    }
    let star = format!("*:*:*:*:{SECRET}\n");
    let cell = cells.add("passfile=", format!("{at} passfile={}/pass", world.file("missing")));
    cell.home(".pgpass", &star, 0o600);
    cells.add("passfile= a folder", format!("{at} passfile={}", world.file("lists_none")));
    cells
        .add("PGPASSFILE missing", at.clone())
        .env("PGPASSFILE", "/no/such/file")
        .home(".pgpass", &star, 0o600);
    cells.add("PGPASSFILE empty", at.clone()).env("PGPASSFILE", "").home(".pgpass", &star, 0o600);
    cells.add("passfile empty", format!("{at} passfile=''")).home(".pgpass", &star, 0o600);
    let dbname = format!("host=localhost port={port} user=u_scram");
    let line = format!("*:*:u_scram:*:{SECRET}\n");
    cells.add("database is the user's", dbname).home(".pgpass", line, 0o600);
    let line = format!("*:*:a\\:b:*:{SECRET}\n");
    let colon = format!("host=localhost port={port} user=u_scram dbname=a:b");
    cells.add("escaped colon", colon).home(".pgpass", line, 0o600);
}

/// Passwords that have to be prepared or quoted.
fn passwords(cells: &mut Cells, world: &World) {
    cells.group("odd passwords");
    for (role, password) in PASSWORDS {
        let spellings = [
            (*password).to_owned(),
            password.replace('\u{ad}', ""),
            password.replace('\u{2168}', "IX").replace('\u{aa}', "a"),
            password.replace("e\u{301}", "é"),
            password.replace('é', "e\u{301}"),
            password.replace(['\u{a0}', '\u{3000}'], " "),
            password.trim().to_owned(),
            password.to_uppercase(),
        ];
        for (index, spelling) in spellings.iter().enumerate() {
            if spellings[..index].contains(spelling) {
                continue;
            }
            for (server, port) in [("15", world.tls.port()), ("17", world.direct.port())] {
                let at = format!("host=localhost port={port} user={role} dbname=postgres");
                let name = format!("{server} {role} {spelling:?}");
                cells.add(format!("{name} string"), format!("{at} password={}", quoted(spelling)));
            }
            let port = world.tls.port();
            let at = format!("host=localhost port={port} user={role} dbname=postgres");
            let name = format!("{role} {spelling:?}");
            cells.add(format!("{name} environment"), at.clone()).env("PGPASSWORD", spelling).secret(spelling);
            let secret = percent(spelling);
            cells
                .add(format!("{name} URI"), format!("postgres://{role}:{secret}@localhost:{port}/postgres"))
                .secret(secret);
            let line = format!("*:*:*:*:{}\n", spelling.replace('\\', "\\\\").replace(':', "\\:"));
            cells.add(format!("{name} passfile"), at).home(".pgpass", line, 0o600);
        }
    }
}

/// `channel_binding`, with and without TLS, for each method.
fn binding(cells: &mut Cells, world: &World) {
    cells.group("channel_binding");
    for role in ROLES.into_iter().chain(["u_cert"]) {
        for binding in ["disable", "prefer", "require"] {
            for (server, at) in [
                ("15 TLS", format!("{} sslmode=require", at_tls(world, role))),
                ("15 in clear", format!("{} sslmode=disable", at_tls(world, role))),
                ("17 direct", format!("{} sslmode=require sslnegotiation=direct", at_direct(world, role))),
                ("18", at_plain(world, role)),
            ] {
                let mut conninfo = format!("{at} channel_binding={binding} password={SECRET}");
                if role == "u_cert" {
                    let (certificate, key) = (world.file("cert.crt"), world.file("cert.key"));
                    conninfo.push_str(&format!(" sslcert={certificate} sslkey={key}"));
                }
                cells.add(format!("{server} {role} {binding}"), conninfo);
            }
        }
    }
    for binding in ["Require", "on", "", " require"] {
        let at = at_tls(world, "u_scram");
        cells.add(format!("{binding:?}"), format!("{at} password={SECRET} channel_binding='{binding}'"));
    }
    for binding in ["require", "bad", ""] {
        let at = format!("{} sslmode=disable password={SECRET}", at_tls(world, "u_scram"));
        cells.add(format!("PGCHANNELBINDING {binding:?}"), at).env("PGCHANNELBINDING", binding);
    }
}

/// `require_auth`, for each method.
fn required(cells: &mut Cells, world: &World) {
    cells.group("require_auth");
    for role in ROLES.into_iter().chain(["u_cert"]) {
        for (server, at) in [
            ("15", format!("{} sslmode=require", at_tls(world, role))),
            ("17 in clear", format!("{} sslmode=disable", at_direct(world, role))),
        ] {
            for methods in [
                "password",
                "md5",
                "gss",
                "sspi",
                "scram-sha-256",
                "none",
                "!password",
                "!md5",
                "!scram-sha-256",
                "!none",
                "password,md5",
                "md5,scram-sha-256",
                "!password,!md5",
                "none,scram-sha-256",
                "!none,!scram-sha-256",
            ] {
                let mut conninfo = format!("{at} require_auth={methods} password={SECRET}");
                if role == "u_cert" {
                    let (certificate, key) = (world.file("cert.crt"), world.file("cert.key"));
                    conninfo.push_str(&format!(" sslcert={certificate} sslkey={key}"));
                }
                cells.add(format!("{server} {role} {methods}"), conninfo);
            }
        }
    }
    let at = format!("{} password={SECRET}", at_tls(world, "u_scram"));
    for methods in [
        "",
        "bad",
        "!bad",
        "md5,!password",
        "!md5,password",
        "md5,md5",
        "!md5,!md5",
        "MD5",
        "scram-sha-256,",
        ",scram-sha-256",
        "scram-sha-256, md5",
        " scram-sha-256",
        "scram-sha-256-plus",
        "oauth",
        "!oauth",
        "!",
        ",",
        "none,none",
        "creds",
        "scram-sha-256,password,md5,none,gss,sspi",
    ] {
        cells.add(format!("list {methods:?}"), format!("{at} require_auth='{methods}'"));
        cells.add(format!("PGREQUIREAUTH {methods:?}"), at.clone()).env("PGREQUIREAUTH", methods);
    }
    for (name, text) in [
        ("wrong password", "require_auth=scram-sha-256 password=canary-wrong"),
        (
            "binding",
            "require_auth=scram-sha-256 channel_binding=require sslmode=require password=canary-s3same",
        ),
        ("binding, md5", "require_auth=md5 channel_binding=require sslmode=require password=canary-s3same"),
        (
            "binding, in clear",
            "require_auth=scram-sha-256 channel_binding=require sslmode=disable password=canary-s3same",
        ),
    ] {
        cells.add(name, format!("{} {text}", at_tls(world, "u_scram")));
    }
}

/// Unix sockets, and the user of the operating system.
fn sockets(cells: &mut Cells, world: &World) {
    cells.group("sockets");
    for (server, port, folder) in [
        ("15", world.tls.port(), world.tls.socket_dir()),
        ("17", world.direct.port(), world.direct.socket_dir()),
        ("18", world.plain.port(), world.plain.socket_dir()),
    ] {
        let folder = folder.display().to_string();
        let at = format!("host={folder} port={port} dbname=postgres");
        cells.add(format!("{server} peer, default user"), at.clone());
        cells.add(format!("{server} peer"), format!("{at} user={}", quoted(&world.os_user)));
        cells.add(format!("{server} peer, another"), format!("{at} user=u_peer"));
        for role in ["u_trust", "u_scram", "u_md5", "u_password", "u_reject"] {
            cells.add(format!("{server} {role}"), format!("{at} user={role} password={SECRET}"));
            cells.add(format!("{server} {role} none"), format!("{at} user={role}"));
            let binding = format!("{at} user={role} password={SECRET} channel_binding=require");
            cells.add(format!("{server} {role} binding"), binding);
        }
        for peer in ["postgres", "nobody", "root", "no-such-user", ""] {
            cells.add(
                format!("{server} requirepeer={peer:?}"),
                format!("{at} user=u_trust requirepeer='{peer}'"),
            );
            cells
                .add(format!("{server} PGREQUIREPEER={peer:?}"), format!("{at} user=u_trust"))
                .env("PGREQUIREPEER", peer);
        }
        let encoded = percent(&folder);
        cells.add(format!("{server} URI"), format!("postgres://u_trust@{encoded}:{port}/postgres"));
        cells.add(
            format!("{server} URI parameter"),
            format!("postgres://u_trust@/postgres?host={folder}&port={port}"),
        );
        cells
            .add(format!("{server} PGHOST"), "user=u_trust dbname=postgres")
            .env("PGHOST", &folder)
            .env("PGPORT", port.to_string());
        cells.add(
            format!("{server} slash"),
            format!("host={folder}/ port={port} user=u_trust dbname=postgres"),
        );
        cells.add(
            format!("{server} other port"),
            format!("host={folder} port=1 user=u_trust dbname=postgres"),
        );
        for mode in SSLMODES {
            cells.add(format!("{server} sslmode={mode}"), format!("{at} user=u_trust sslmode={mode}"));
        }
    }
    cells.add("requirepeer over TCP", format!("{} requirepeer=nobody", at_tls(world, "u_trust")));
    cells.add("no folder", "host=/no/such/folder user=u_trust dbname=postgres");
    cells.add("abstract", "host=@pgarrow-no-such-socket user=u_trust dbname=postgres");
    cells.add("too long", format!("host=/{} user=u_trust dbname=postgres", "x".repeat(200)));
}
