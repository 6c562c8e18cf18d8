//! Whether there is TLS, of which version, and how it begins.

use super::{SSLMODES, at_direct, at_plain, at_tls};
use crate::cell::{Cells, SECRET};
use crate::world::World;

pub(super) fn add(cells: &mut Cells, world: &World) {
    modes_and_roots(cells, world);
    rules_of_the_server(cells, world);
    negotiation(cells, world);
    versions(cells, world);
    others(cells, world);
}

/// Each sslmode, with each kind of root, at a server with TLS and one without.
fn modes_and_roots(cells: &mut Cells, world: &World) {
    cells.group("sslmode, sslrootcert");
    let file = |name: &str| format!(" sslrootcert={}", world.file(name));
    for (server, at) in [("TLS", at_tls(world, "u_trust")), ("no TLS", at_plain(world, "u_trust"))] {
        for mode in SSLMODES {
            let with = format!("{at} sslmode={mode}");
            for (root, text) in [
                ("none", String::new()),
                ("right", file("root.crt")),
                ("foreign", file("foreign.crt")),
                ("both", file("both.crt")),
                ("a server's certificate", file("cert.crt")),
                ("missing", file("no-such-file.crt")),
                ("empty file", file("empty.crt")),
                ("garbage", file("garbage.crt")),
                ("broken", file("broken.crt")),
                ("a folder", file("lists_none")),
                ("empty value", " sslrootcert=''".to_owned()),
                ("system", " sslrootcert=system".to_owned()),
            ] {
                cells.add(format!("{server} {mode} {root}"), format!("{with}{text}"));
            }
            for (name, root) in
                [("right", "root.crt"), ("foreign", "foreign.crt"), ("garbage", "garbage.crt")]
            {
                let cell = cells.add(format!("{server} {mode} home {name}"), with.clone());
                cell.home(".postgresql/root.crt", world.contents(root), 0o644);
            }
        }
        cells.add(format!("{server}, no sslmode"), at.clone());
        cells.add(format!("{server}, no sslmode, root right"), format!("{at}{}", file("root.crt")));
        cells.add(format!("{server}, no sslmode, root foreign"), format!("{at}{}", file("foreign.crt")));
        for root in ["root.crt", "foreign.crt"] {
            cells
                .add(format!("{server} system, {root} in SSL_CERT_FILE"), format!("{at} sslrootcert=system"))
                .env("SSL_CERT_FILE", world.file(root));
        }
        for mode in ["REQUIRE", "Require", " require", "verify_full", "on", "1", ""] {
            cells.add(format!("{server} sslmode {mode:?}"), format!("{at} sslmode='{mode}'"));
        }
        for mode in SSLMODES {
            cells.add(format!("{server} PGSSLMODE {mode}"), at.clone()).env("PGSSLMODE", mode);
        }
        cells.add(format!("{server} PGSSLMODE bad"), at.clone()).env("PGSSLMODE", "full");
        cells.add(format!("{server} PGSSLMODE empty"), at.clone()).env("PGSSLMODE", "");
        cells.add(format!("{server} PGREQUIRESSL"), at.clone()).env("PGREQUIRESSL", "1");
        cells.add(format!("{server} requiressl"), format!("{at} requiressl=1"));
        cells
            .add(format!("{server} PGSSLROOTCERT"), format!("{at} sslmode=verify-ca"))
            .env("PGSSLROOTCERT", world.file("root.crt"));
        cells
            .add(format!("{server} PGSSLROOTCERT foreign"), format!("{at} sslmode=verify-ca"))
            .env("PGSSLROOTCERT", world.file("foreign.crt"));
    }
}

/// Roles that the server accepts only with TLS, or only without it.
fn rules_of_the_server(cells: &mut Cells, world: &World) {
    cells.group("hostssl, hostnossl");
    for mode in SSLMODES {
        for user in ["u_ssl", "u_nossl", "u_sslscram", "u_reject", "nobody_at_all"] {
            let root = world.file("root.crt");
            for (server, at) in [("15", at_tls(world, user)), ("17", at_direct(world, user))] {
                let conninfo = format!("{at} sslmode={mode} sslrootcert={root} password={SECRET}");
                cells.add(format!("{server} {mode} {user}"), conninfo);
            }
        }
    }
}

fn negotiation(cells: &mut Cells, world: &World) {
    cells.group("sslnegotiation");
    let root = world.file("root.crt");
    for (server, at) in [
        ("15", at_tls(world, "u_scram")),
        ("17", at_direct(world, "u_scram")),
        ("18 without TLS", at_plain(world, "u_scram")),
    ] {
        let at = format!("{at} password={SECRET}");
        for how in ["postgres", "direct", "Direct", ""] {
            cells.add(format!("{server} {how:?}"), format!("{at} sslnegotiation='{how}'"));
            for mode in SSLMODES {
                let conninfo = format!("{at} sslnegotiation='{how}' sslmode={mode} sslrootcert={root}");
                cells.add(format!("{server} {how:?} {mode}"), conninfo);
            }
        }
        cells
            .add(format!("{server} direct system"), format!("{at} sslnegotiation=direct sslrootcert=system"));
        cells.add(format!("{server} direct require"), format!("{at} sslnegotiation=direct sslmode=require"));
        cells
            .add(format!("{server} PGSSLNEGOTIATION"), format!("{at} sslmode=require"))
            .env("PGSSLNEGOTIATION", "direct");
    }
    let socket = format!("host={} port={}", world.direct.socket_dir().display(), world.direct.port());
    for mode in SSLMODES {
        let conninfo = format!("{socket} user=u_trust dbname=postgres sslnegotiation=direct sslmode={mode}");
        cells.add(format!("17 socket direct {mode}"), conninfo);
    }
}

fn versions(cells: &mut Cells, world: &World) {
    cells.group("TLS versions");
    let all = ["", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3", "tlsv1.3", "SSLv3", "1.2"];
    let at = at_tls(world, "u_trust");
    for minimum in all {
        for maximum in all {
            let limits = format!("ssl_min_protocol_version='{minimum}' ssl_max_protocol_version='{maximum}'");
            cells.add(format!("{minimum:?} {maximum:?}"), format!("{at} sslmode=require {limits}"));
        }
    }
    for version in ["TLSv1.2", "TLSv1.3"] {
        for state in ["tls12", "tls13"] {
            for which in ["min", "max"] {
                for mode in ["prefer", "require"] {
                    let limit = format!("ssl_{which}_protocol_version={version}");
                    let conninfo = format!("{at} sslmode={mode} {limit}");
                    cells.add(format!("{state} {limit} {mode}"), conninfo).state(state);
                }
            }
        }
        for name in ["PGSSLMINPROTOCOLVERSION", "PGSSLMAXPROTOCOLVERSION"] {
            let conninfo = format!("{at} sslmode=require");
            cells.add(format!("tls12 {name} {version}"), conninfo).env(name, version).state("tls12");
        }
    }
    for state in ["tls12", "tls13"] {
        for binding in ["prefer", "require", "disable"] {
            let at = at_tls(world, "u_scram");
            let conninfo = format!("{at} password={SECRET} sslmode=require channel_binding={binding}");
            cells.add(format!("{state} channel_binding={binding}"), conninfo).state(state);
        }
    }
}

fn others(cells: &mut Cells, world: &World) {
    cells.group("other TLS parameters");
    for (server, at) in [
        ("15", at_tls(world, "u_trust")),
        ("17", at_direct(world, "u_trust")),
        ("18 without TLS", at_plain(world, "u_trust")),
    ] {
        for text in [
            "sslsni=0",
            "sslsni=1",
            "sslsni=2",
            "sslsni=''",
            "sslcompression=0",
            "sslcompression=1",
            "sslcompression=x",
            "gssencmode=disable",
            "gssencmode=prefer",
            "gssencmode=require",
            "gssencmode=bad",
            "gssencmode=''",
            "gssdelegation=0",
            "gssdelegation=1",
            "krbsrvname=postgres",
            "krbsrvname=other",
            "gsslib=gssapi",
        ] {
            cells.add(format!("{server} {text}"), format!("{at} {text}"));
            cells.add(format!("{server} require {text}"), format!("{at} sslmode=require {text}"));
        }
        for (name, value) in [
            ("PGSSLSNI", "0"),
            ("PGSSLSNI", "x"),
            ("PGGSSENCMODE", "disable"),
            ("PGGSSENCMODE", "require"),
            ("PGKRBSRVNAME", "postgres"),
            ("PGSSLCOMPRESSION", "1"),
        ] {
            cells.add(format!("{server} {name}={value}"), at.clone()).env(name, value);
        }
    }
    let socket = format!("host={} port={}", world.tls.socket_dir().display(), world.tls.port());
    for mode in SSLMODES {
        cells.add(format!("socket {mode}"), format!("{socket} user=u_trust dbname=postgres sslmode={mode}"));
        let root = world.file("no-such-file.crt");
        let conninfo = format!("{socket} user=u_trust dbname=postgres sslmode={mode} sslrootcert={root}");
        cells.add(format!("socket {mode} missing root"), conninfo);
    }
    cells.add("socket system", format!("{socket} user=u_trust dbname=postgres sslrootcert=system"));
    cells.add(
        "socket gssencmode=require",
        format!("{socket} user=u_trust dbname=postgres gssencmode=require"),
    );
}
