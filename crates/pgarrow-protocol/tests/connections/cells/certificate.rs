//! Certificates of servers and of clients, and revocation.

use super::{SSLMODES, at_tls};
use crate::cell::{Cells, SECRET};
use crate::certificates::KEY_SECRET;
use crate::world::World;

pub(super) fn add(cells: &mut Cells, world: &World) {
    servers(cells, world);
    revoked(cells, world);
    clients(cells, world);
}

fn servers(cells: &mut Cells, world: &World) {
    cells.group("server certificate");
    let (port, root) = (world.tls.port(), world.file("root.crt"));
    for state in [
        "good",
        "common_name",
        "common_name_address",
        "common_name_other_names",
        "common_name_other_address",
        "wildcard",
        "wildcard_top",
        "upper_case",
        "address",
        "elsewhere",
        "no_name",
        "trailing_dot",
        "expired",
        "not_yet",
        "for_clients",
        "for_servers",
        "self_signed",
        "foreign",
        "between_missing",
        "between",
        "ed25519",
        "rsa",
    ] {
        for mode in ["prefer", "require", "verify-ca", "verify-full"] {
            for host in ["host=localhost", "host=127.0.0.1", "host=db.test hostaddr=127.0.0.1"] {
                let to = format!("{host} port={port} user=u_trust dbname=postgres sslmode={mode}");
                let conninfo = format!("{to} sslrootcert={root}");
                cells.add(format!("{state} {mode} {host}"), conninfo).state(state);
            }
        }
        for (mode, root) in
            [("require", "none"), ("verify-ca", "foreign.crt"), ("verify-full", "between.crt")]
        {
            let to = format!("host=localhost port={port} user=u_trust dbname=postgres sslmode={mode}");
            let conninfo = format!("{to} sslrootcert={}", world.file(root));
            cells.add(format!("{state} {mode}, root {root}"), conninfo).state(state);
        }
    }
    for host in ["a.wild.test", "a.b.wild.test", "wild.test", "A.WILD.TEST", "*.wild.test", "a.wild.test."] {
        let to = format!("host={host} hostaddr=127.0.0.1 port={port} user=u_trust dbname=postgres");
        let conninfo = format!("{to} sslmode=verify-full sslrootcert={root}");
        cells.add(format!("wildcard for {host}"), conninfo).state("wildcard");
    }
    for host in ["LOCALHOST", "localhost.", "127.0.0.1", "127.1", "2130706433", "0x7f.1", "::ffff:127.0.0.1"]
    {
        let to = format!("host={host} port={port} user=u_trust dbname=postgres");
        cells.add(format!("good for {host}"), format!("{to} sslmode=verify-full sslrootcert={root}"));
        cells.add(format!("require for {host}"), format!("{to} sslmode=require"));
    }
    let to = format!("hostaddr=127.0.0.1 port={port} user=u_trust dbname=postgres");
    for mode in SSLMODES {
        cells.add(format!("hostaddr alone {mode}"), format!("{to} sslmode={mode} sslrootcert={root}"));
    }
    for key in ["ed25519", "rsa", "good"] {
        for binding in ["disable", "prefer", "require"] {
            let at = at_tls(world, "u_scram");
            let conninfo = format!("{at} sslmode=require password={SECRET} channel_binding={binding}");
            cells.add(format!("{key} channel_binding={binding}"), conninfo).state(key);
        }
    }
}

fn revoked(cells: &mut Cells, world: &World) {
    cells.group("revocation");
    for state in ["good", "revoked", "between"] {
        for mode in ["prefer", "require", "verify-ca", "verify-full"] {
            for list in ["none.crl", "revoked.crl", "foreign.crl", "no-such.crl", "garbage.crt", "empty.crt"]
            {
                let roots = format!("sslmode={mode} sslrootcert={}", world.file("root.crt"));
                let conninfo = format!("{} {roots} sslcrl={}", at_tls(world, "u_trust"), world.file(list));
                cells.add(format!("{state} {mode} {list}"), conninfo).state(state);
            }
            for folder in ["lists_none", "lists_revoked", "no-such-folder"] {
                let roots = format!("sslmode={mode} sslrootcert={}", world.file("root.crt"));
                let conninfo =
                    format!("{} {roots} sslcrldir={}", at_tls(world, "u_trust"), world.file(folder));
                cells.add(format!("{state} {mode} folder {folder}"), conninfo).state(state);
            }
        }
        let at = at_tls(world, "u_trust");
        let verify = format!("{at} sslmode=verify-full sslrootcert={}", world.file("root.crt"));
        for list in ["none.crl", "revoked.crl", "garbage.crt"] {
            cells
                .add(format!("{state} PGSSLCRL {list}"), &verify)
                .state(state)
                .env("PGSSLCRL", world.file(list));
            let cell = cells.add(format!("{state} home {list}"), &verify).state(state);
            cell.home(".postgresql/root.crl", world.contents(list), 0o644);
            let cell = cells.add(format!("{state} home {list}, require"), format!("{at} sslmode=require"));
            cell.state(state).home(".postgresql/root.crl", world.contents(list), 0o644);
        }
        let none = format!("{at} sslmode=require sslcrl={}", world.file("revoked.crl"));
        cells.add(format!("{state} no root, list"), none).state(state);
        let both = format!("{verify} sslcrl={}", world.file("none.crl"));
        let both = format!("{both} sslcrldir={}", world.file("lists_revoked"));
        cells.add(format!("{state} list and folder"), both).state(state);
    }
}

fn clients(cells: &mut Cells, world: &World) {
    cells.group("client certificate");
    let files = |certificate: &str, key: &str| {
        format!(" sslcert={} sslkey={}", world.file(certificate), world.file(key))
    };
    for user in ["u_cert", "u_verify", "u_full", "u_scram", "u_trust"] {
        let at = format!("{} password={SECRET} sslmode=require", at_tls(world, user));
        cells.add(format!("{user} none"), at.clone());
        for name in ["cert", "cert_rsa", "cert_ed25519", "cert_other", "cert_foreign", "cert_expired"] {
            let conninfo = format!("{at}{}", files(&format!("{name}.crt"), &format!("{name}.key")));
            cells.add(format!("{user} {name}"), conninfo);
        }
        for (name, text) in [
            ("sec1", files("cert.crt", "cert_sec1.key")),
            ("pkcs1", files("cert_rsa.crt", "cert_pkcs1.key")),
            ("both in one", files("cert_both.pem", "cert_both.pem")),
            ("chain", files("cert_chain.crt", "cert.key")),
            ("key of another", files("cert.crt", "cert_other.key")),
            ("missing certificate", files("no-such.crt", "cert.key")),
            ("missing key", files("cert.crt", "no-such.key")),
            ("garbage certificate", files("garbage.crt", "cert.key")),
            ("garbage key", files("cert.crt", "garbage.crt")),
            ("key is a folder", files("cert.crt", "lists_none")),
            ("certificate alone", format!(" sslcert={}", world.file("cert.crt"))),
            ("key alone", format!(" sslkey={}", world.file("cert.key"))),
            ("empty", " sslcert='' sslkey=''".to_owned()),
        ] {
            cells.add(format!("{user} {name}"), format!("{at}{text}"));
        }
    }
    let at = format!("{} sslmode=require", at_tls(world, "u_cert"));
    for key in ["cert_encrypted.key", "cert_legacy.key", "cert.key"] {
        let with = format!("{at}{}", files("cert.crt", key));
        cells.add(format!("{key} no password"), with.clone());
        cells.add(format!("{key} password"), format!("{with} sslpassword={KEY_SECRET}")).secret(KEY_SECRET);
        cells.add(format!("{key} wrong password"), format!("{with} sslpassword=canary-wrong"));
        cells.add(format!("{key} empty password"), format!("{with} sslpassword=''"));
    }
    let (certificate, key) = (world.contents("cert.crt"), world.contents("cert.key"));
    for mode in [0o600, 0o400, 0o640, 0o644, 0o660, 0o604, 0o620] {
        let cell = cells.add(format!("home, key {mode:o}"), at.clone());
        cell.home(".postgresql/postgresql.crt", &certificate, 0o644);
        cell.home(".postgresql/postgresql.key", &key, mode);
    }
    cells.add("home, no key", at.clone()).home(".postgresql/postgresql.crt", &certificate, 0o644);
    cells.add("home, no certificate", at.clone()).home(".postgresql/postgresql.key", &key, 0o600);
    let cell = cells.add("home, garbage", at.clone());
    cell.home(".postgresql/postgresql.crt", "garbage", 0o644).home(".postgresql/postgresql.key", &key, 0o600);
    let cell = cells.add("home, key of the environment", at.clone());
    cell.home(".postgresql/postgresql.crt", &certificate, 0o644).env("PGSSLKEY", world.file("cert.key"));
    let cell = cells.add("environment", at.clone());
    cell.env("PGSSLCERT", world.file("cert.crt")).env("PGSSLKEY", world.file("cert.key"));
    for mode in ["disable", "allow", "prefer"] {
        let conninfo = format!("{} sslmode={mode}{}", at_tls(world, "u_cert"), files("cert.crt", "cert.key"));
        cells.add(format!("sslmode {mode}"), conninfo);
        let conninfo =
            format!("{} sslmode={mode}{}", at_tls(world, "u_trust"), files("cert.crt", "no-such.key"));
        cells.add(format!("sslmode {mode} missing key"), conninfo);
    }
    for (role, text) in [("u_cert", ""), ("u_trust", ""), ("u_verify", "password=canary-s3same")] {
        for mode in ["disable", "allow", "require", "prefer", ""] {
            let at = format!("{} sslmode=require sslcertmode='{mode}' {text}", at_tls(world, role));
            cells.add(
                format!("sslcertmode {mode:?} {role}"),
                format!("{at}{}", files("cert.crt", "cert.key")),
            );
            cells.add(format!("sslcertmode {mode:?} {role} no certificate"), at.clone());
            let cell = cells.add(format!("sslcertmode {mode:?} {role} home"), at);
            cell.home(".postgresql/postgresql.crt", &certificate, 0o644);
            cell.home(".postgresql/postgresql.key", &key, 0o600);
        }
        cells
            .add(format!("PGSSLCERTMODE {role}"), format!("{} sslmode=require {text}", at_tls(world, role)))
            .env("PGSSLCERTMODE", "require");
    }
}
