//! The environment, numbers, settings of a session, and versions of the protocol.

use super::{at_direct, at_plain, at_tls};
use crate::cell::{Cells, SECRET, percent};
use crate::world::World;

pub(super) fn add(cells: &mut Cells, world: &World) {
    environment(cells, world);
    numbers(cells, world);
    sessions(cells, world);
    protocols(cells, world);
}

/// Each variable of libpq, with a good value, a bad one and none.
fn environment(cells: &mut Cells, world: &World) {
    cells.group("environment");
    let at = at_tls(world, "u_trust");
    for (name, values) in [
        ("PGHOST", &["no-such-host.invalid", "", "/no/such/folder"][..]),
        ("PGHOSTADDR", &["127.0.0.1", "", "x"]),
        ("PGPORT", &["1", "", "x"]),
        ("PGDATABASE", &["nowhere", ""]),
        ("PGUSER", &["nobody", ""]),
        ("PGPASSWORD", &["canary-x", ""]),
        ("PGPASSFILE", &["/no/such/file", ""]),
        ("PGREQUIREAUTH", &["none", "md5", "", "x"]),
        ("PGCHANNELBINDING", &["disable", "prefer", "require", "", "x"]),
        ("PGOPTIONS", &["-c work_mem=77MB", "", "-c nonsense=1", "-c work_mem=x", "--work_mem=77MB", "x"]),
        ("PGAPPNAME", &["theirs", "", "ü"]),
        ("PGSSLMODE", &["require", "", "x"]),
        ("PGSSLCERT", &["/no/such/file", ""]),
        ("PGSSLKEY", &["/no/such/file", ""]),
        ("PGSSLROOTCERT", &["/no/such/file", "", "system"]),
        ("PGSSLCRL", &["/no/such/file", ""]),
        ("PGSSLCRLDIR", &["/no/such/folder", ""]),
        ("PGSSLSNI", &["0", "1", ""]),
        ("PGREQUIREPEER", &["nobody", ""]),
        ("PGSSLMINPROTOCOLVERSION", &["TLSv1.2", "", "x"]),
        ("PGSSLMAXPROTOCOLVERSION", &["TLSv1.2", "", "x"]),
        ("PGGSSENCMODE", &["disable", "prefer", "", "x"]),
        ("PGKRBSRVNAME", &["postgres", ""]),
        ("PGGSSLIB", &["gssapi", ""]),
        ("PGGSSDELEGATION", &["0", "1", ""]),
        ("PGCONNECT_TIMEOUT", &["10", "0", "-1", "", "x"]),
        ("PGCLIENTENCODING", &["UTF8", "utf-8", "unicode", "", "nonsense", "auto"]),
        ("PGTARGETSESSIONATTRS", &["any", "read-only", "", "x"]),
        ("PGLOADBALANCEHOSTS", &["random", "", "x"]),
        ("PGDATESTYLE", &["German", "", "nonsense"]),
        ("PGTZ", &["Asia/Tokyo", "", "Nowhere/Nothing"]),
        ("PGGEQO", &["off", "", "nonsense"]),
        ("PGSYSCONFDIR", &["/no/such/folder", ""]),
        ("PGLOCALEDIR", &["/no/such/folder", ""]),
        ("PGSERVICEFILE", &["/no/such/file", ""]),
        ("PGREALM", &["x"]),
        ("PGNOSUCHVARIABLE", &["x"]),
    ] {
        for value in values {
            cells.add(format!("{name}={value}"), at.clone()).env(name, *value);
        }
    }
    // The variable counts if the string leaves the parameter out.
    for (name, value) in [
        ("PGDATABASE", "with space"),
        ("PGDATABASE", "postgres"),
        ("PGDATABASE", "a=b"),
        ("PGDATABASE", "postgres://localhost/postgres"),
        ("PGUSER", "u_ro"),
    ] {
        let user = if name == "PGUSER" { "dbname=postgres" } else { "user=u_trust" };
        let conninfo = format!("host=localhost port={} {user}", world.tls.port());
        cells.add(format!("{name}={value} alone"), conninfo).env(name, value);
    }
    let cell = cells.add("all of it", "");
    cell.env("PGHOST", "localhost").env("PGPORT", world.tls.port().to_string()).env("PGUSER", "u_scram");
    cell.env("PGPASSWORD", SECRET).env("PGDATABASE", "postgres").env("PGSSLMODE", "verify-full");
    cell.env("PGSSLROOTCERT", world.file("root.crt")).env("PGCHANNELBINDING", "require");
    cell.env("PGREQUIREAUTH", "scram-sha-256").env("PGAPPNAME", "all of it").env("PGTZ", "UTC");
    cells
        .add("USER is not asked", format!("host=localhost port={} dbname=postgres", world.tls.port()))
        .env("USER", "u_trust");
    cells.group("client_encoding");
    for value in ["UTF8", "utf8", "UTF-8", "utf_8", "Unicode", "'UTF8'", "''", "auto", "nonsense"] {
        cells.add(value, format!("{at} client_encoding={value}"));
    }
    cells.add("LATIN1", format!("{at} client_encoding=LATIN1"));
    cells.add("LATIN1 in PGCLIENTENCODING", at.clone()).env("PGCLIENTENCODING", "LATIN1");
    cells.add("LATIN1 in options", format!("{at} options='-c client_encoding=LATIN1'"));
}

fn numbers(cells: &mut Cells, world: &World) {
    cells.group("numbers");
    let values = [
        "0",
        "1",
        "10",
        "-1",
        "''",
        "x",
        "1x",
        "' 5 '",
        "+5",
        "0x10",
        "1.5",
        "2147483647",
        "2147483648",
        "99999999999999999999",
    ];
    for name in [
        "connect_timeout",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
    ] {
        for value in values {
            let at = at_tls(world, "u_trust");
            cells.add(format!("{name}={value}"), format!("{at} {name}={value}"));
            if name != "connect_timeout" {
                let folder = world.tls.socket_dir().display().to_string();
                let socket = format!("host={folder} port={} user=u_trust dbname=postgres", world.tls.port());
                cells.add(format!("socket {name}={value}"), format!("{socket} {name}={value}"));
                cells.add(format!("off {name}={value}"), format!("{at} {name}={value} keepalives=0"));
            }
        }
    }
    for value in ["1", "2", "0", "-1"] {
        let at = format!("host=localhost port={} user=u_trust dbname=postgres", world.closed_port);
        cells.add(format!("closed connect_timeout={value}"), format!("{at} connect_timeout={value}"));
    }
}

fn sessions(cells: &mut Cells, world: &World) {
    cells.group("session");
    for (server, at) in [
        ("15", at_tls(world, "u_trust")),
        ("17", at_direct(world, "u_trust")),
        ("18", at_plain(world, "u_trust")),
    ] {
        for text in [
            "options='-c work_mem=77MB'",
            "options='-c work_mem=77MB -c geqo=off'",
            "options='-cwork_mem=77MB'",
            "options='--work-mem=77MB'",
            "options='-c statement_timeout=5s'",
            "options='-c TimeZone=Asia/Tokyo'",
            "options='-c DateStyle=German'",
            "options='-c application_name=by\\\\ option'",
            "options='-c nonsense=1'",
            "options='-c a.b=1'",
            "options='nonsense'",
            "options=''",
            "options='-c log_statement=all'",
            "options='-c role=u_ro'",
            "options='-c default_transaction_read_only=on'",
            "application_name=x",
            "application_name=''",
            "application_name=psql",
            "application_name='with \\'quotes\\' and \\\\'",
            "application_name=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "application_name=\u{1f511}",
            "fallback_application_name=x",
            "dbname=nowhere",
            "dbname='with space'",
            "dbname=template0",
            "dbname=POSTGRES",
            "user=U_TRUST",
            "user='no such'",
            "replication=off",
            "replication=0",
            "replication=''",
        ] {
            cells.add(format!("{server} {text}"), format!("{at} {text}"));
        }
        let long = "x".repeat(12_000);
        cells.add(format!("{server} a long name"), format!("{at} application_name={long}"));
    }
    cells.add("percent in a name", format!("{} application_name={}", at_tls(world, "u_trust"), percent("ü")));
}

/// Versions of the protocol, which psql knows from 18 on.
fn protocols(cells: &mut Cells, world: &World) {
    cells.group("protocol versions");
    let values = ["", "3.0", "3.1", "3.2", "latest", "3.3", "4.0", "3", "x", "Latest"];
    for (server, port) in [("15", world.tls.port()), ("17", world.direct.port()), ("18", world.plain.port())]
    {
        let at = format!("host=localhost port={port} user=u_trust dbname=postgres sslmode=disable");
        for minimum in values {
            for maximum in values {
                let limits = format!("min_protocol_version='{minimum}' max_protocol_version='{maximum}'");
                cells.add(format!("{server} {minimum:?} {maximum:?}"), format!("{at} {limits}")).eighteen();
            }
        }
        for name in ["PGMINPROTOCOLVERSION", "PGMAXPROTOCOLVERSION"] {
            for value in ["3.0", "3.2", "latest", "x", ""] {
                cells.add(format!("{server} {name}={value}"), at.clone()).env(name, value).eighteen();
            }
        }
        let scram = format!("host=localhost port={port} user=u_scram dbname=postgres password={SECRET}");
        for value in ["3.0", "3.2"] {
            let conninfo = format!("{scram} sslmode=disable max_protocol_version={value}");
            cells.add(format!("{server} SCRAM {value}"), conninfo).eighteen();
        }
    }
    let at = at_plain(world, "u_trust");
    for text in
        ["oauth_issuer=x", "scram_client_key=x", "scram_server_key=x", "sslkeylogfile=x", "servicefile=x"]
    {
        cells.add(text, format!("{at} {text}")).eighteen();
    }
}
