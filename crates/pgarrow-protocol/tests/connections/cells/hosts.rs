//! The choice of the server: lists, kinds of session, balance.

use crate::cell::{Cells, SECRET};
use crate::world::World;

pub(super) fn add(cells: &mut Cells, world: &World) {
    lists(cells, world);
    targets(cells, world);
    balance(cells, world);
}

fn lists(cells: &mut Cells, world: &World) {
    cells.group("lists of hosts");
    let (tls, direct, plain, closed) =
        (world.tls.port(), world.direct.port(), world.plain.port(), world.closed_port);
    let socket = world.tls.socket_dir().display().to_string();
    let tail = "user=u_trust dbname=postgres";
    for text in [
        format!("host=localhost,localhost port={closed},{tls}"),
        format!("host=localhost,localhost port={tls},{closed}"),
        format!("host=localhost,localhost port={direct},{tls}"),
        format!("host=localhost,localhost port={tls}"),
        format!("host=localhost,localhost,localhost port={closed},{closed},{plain}"),
        format!("host=localhost,localhost port={closed},{closed}"),
        format!("host=localhost,localhost port={tls},{direct},{plain}"),
        format!("host=localhost port={tls},{direct}"),
        format!("host=localhost,localhost,localhost port={tls},{direct}"),
        format!("host=,localhost port={closed},{tls}"),
        format!("host=localhost, port={closed},{tls}"),
        format!("host=localhost,localhost port=,{tls}"),
        format!("host=no-such-host.invalid,localhost port={tls}"),
        format!("host=no-such-host.invalid port={tls}"),
        format!("host={socket},localhost port={tls}"),
        format!("host=/no/such/folder,localhost port={tls}"),
        format!("host=localhost,{socket} port={closed},{tls}"),
        format!("hostaddr=127.0.0.1 port={tls}"),
        format!("hostaddr=127.0.0.1,127.0.0.1 port={closed},{tls}"),
        format!("hostaddr=127.0.0.1,127.0.0.1 host=a,b port={closed},{tls}"),
        format!("hostaddr=127.0.0.1,127.0.0.1 host=a port={tls}"),
        format!("hostaddr=127.0.0.1 host=a,b port={tls}"),
        format!("hostaddr=,127.0.0.1 host=localhost,x port={closed},{tls}"),
        format!("hostaddr=localhost port={tls}"),
        format!("hostaddr=127.0.0.1 host={socket} port={tls}"),
        format!("hostaddr=::1 port={tls}"),
        format!("hostaddr=[::1] port={tls}"),
        format!("hostaddr='' host=localhost port={tls}"),
        format!("host='' hostaddr=127.0.0.1 port={tls}"),
        format!("host=::1 port={tls}"),
        format!("host=::1,127.0.0.1 port={tls}"),
        format!("host='localhost, localhost' port={closed},{tls}"),
        format!("host='localhost,localhost' port='{closed}, {tls}'"),
        "host=localhost port=0".to_owned(),
        "host=localhost port=65536".to_owned(),
        "host=localhost port=-1".to_owned(),
        "host=localhost port=x".to_owned(),
        format!("host=localhost port='{tls}x'"),
        format!("host=localhost port=' {tls} '"),
        format!("host=localhost port=+{tls}"),
        format!("host=localhost port=0{tls}"),
        format!("host=localhost port=0x{tls:x}"),
        format!("host=localhost port='{tls} {closed}'"),
        format!("host=localhost port=99999999999999999999{tls}"),
    ] {
        cells.add(text.clone(), format!("{text} {tail}"));
    }
    // A server that refuses ends the search; a server that is not there does not.
    for (role, secret) in
        [("u_scram", SECRET), ("u_scram", "canary-wrong"), ("u_reject", SECRET), ("nobody_here", "x")]
    {
        let at = format!("host=localhost,localhost user={role} dbname=postgres password={secret}");
        cells.add(format!("{role} {secret}, closed first"), format!("{at} port={closed},{tls}"));
        cells.add(format!("{role} {secret}, open first"), format!("{at} port={tls},{direct}"));
    }
    let at = format!("host=localhost,localhost port={plain},{tls} user=u_trust dbname=postgres");
    for mode in ["require", "verify-full", "prefer"] {
        cells.add(format!("no TLS first, {mode}"), format!("{at} sslmode={mode}"));
    }
    let at = format!("host=localhost,localhost port={tls},{direct} user=u_trust");
    cells.add("no such database first", format!("{at} dbname=nowhere"));
    let passwords = format!("localhost:{tls}:*:*:canary-wrong\nlocalhost:{direct}:*:*:{SECRET}\n");
    let at = format!("host=localhost,localhost port={closed},{direct} user=u_scram dbname=postgres");
    cells.add("a passfile line for each host", at).home(".pgpass", passwords, 0o600);
    cells
        .add("PGHOST and PGPORT lists", tail)
        .env("PGHOST", "localhost,localhost")
        .env("PGPORT", format!("{closed},{direct}"));
    cells.add("PGHOSTADDR", tail).env("PGHOSTADDR", "127.0.0.1").env("PGPORT", direct.to_string());
    cells
        .add("PGHOSTADDR over a host", format!("host=no-such-host.invalid {tail}"))
        .env("PGHOSTADDR", "127.0.0.1")
        .env("PGPORT", direct.to_string());
    cells
        .add("a host over PGHOST, port of the environment", format!("host=localhost {tail}"))
        .env("PGHOST", "no-such-host.invalid")
        .env("PGPORT", direct.to_string());
    cells
        .add("more ports in the environment than hosts", format!("host=localhost {tail}"))
        .env("PGPORT", format!("{direct},{tls}"));
}

fn targets(cells: &mut Cells, world: &World) {
    cells.group("target_session_attrs");
    let (tls, standby, direct, closed) =
        (world.tls.port(), world.standby.port(), world.direct.port(), world.closed_port);
    for attrs in [
        "any",
        "read-write",
        "read-only",
        "primary",
        "standby",
        "prefer-standby",
        "",
        "Any",
        "master",
        "any,any",
    ] {
        for (name, ports) in [
            ("primary", format!("{tls}")),
            ("standby", format!("{standby}")),
            ("primary, standby", format!("{tls},{standby}")),
            ("standby, primary", format!("{standby},{tls}")),
            ("closed, primary, standby", format!("{closed},{tls},{standby}")),
            ("closed, standby, primary", format!("{closed},{standby},{tls}")),
            ("primary, primary", format!("{tls},{direct}")),
            ("standby, closed", format!("{standby},{closed}")),
            ("primary, closed", format!("{tls},{closed}")),
            ("closed", format!("{closed}")),
        ] {
            let hosts = vec!["localhost"; ports.split(',').count()].join(",");
            let at = format!("host={hosts} port={ports} user=postgres dbname=postgres");
            // The standby has no other role, and the others trust this one from 127.0.0.1.
            let at = format!("{at} hostaddr={} ", hosts.replace("localhost", "127.0.0.1"));
            cells.add(format!("{attrs:?} {name}"), format!("{at} target_session_attrs='{attrs}'"));
        }
        for (name, port) in [("15", tls), ("17", direct), ("18", world.plain.port())] {
            let at = format!("host=localhost port={port} user=u_ro dbname=postgres");
            cells.add(
                format!("{attrs:?} {name} read-only role"),
                format!("{at} target_session_attrs='{attrs}'"),
            );
            let options = "options='-c default_transaction_read_only=on'";
            let at = format!("host=localhost port={port} user=u_trust dbname=postgres {options}");
            cells.add(format!("{attrs:?} {name} options"), format!("{at} target_session_attrs='{attrs}'"));
            let at = format!("host=localhost port={port} user=u_scram password=canary-wrong dbname=postgres");
            cells.add(format!("{attrs:?} {name} refused"), format!("{at} target_session_attrs='{attrs}'"));
        }
        let at = format!("hostaddr=127.0.0.1 port={standby} user=postgres dbname=postgres");
        cells.add(format!("PGTARGETSESSIONATTRS {attrs:?}"), at).env("PGTARGETSESSIONATTRS", attrs);
    }
    let at = format!("hostaddr=127.0.0.1,127.0.0.1 port={standby},{tls} user=nobody_here dbname=postgres");
    cells.add("refused first, read-write", format!("{at} target_session_attrs=read-write"));
    let at = format!("hostaddr=127.0.0.1,127.0.0.1 port={tls},{standby} user=nobody_here dbname=postgres");
    cells.add("refused, then standby", format!("{at} target_session_attrs=standby"));
}

fn balance(cells: &mut Cells, world: &World) {
    cells.group("load_balance_hosts");
    let (tls, closed) = (world.tls.port(), world.closed_port);
    for how in ["disable", "random", "", "Random", "roundrobin"] {
        let text = format!("load_balance_hosts='{how}' user=u_trust dbname=postgres");
        cells.add(format!("{how:?} one host"), format!("host=localhost port={tls} {text}"));
        cells.add(
            format!("{how:?} one is open"),
            format!("host=localhost,localhost,localhost port={closed},{tls},{closed} {text}"),
        );
        cells.add(
            format!("{how:?} none is open"),
            format!("host=localhost,localhost port={closed},{closed} {text}"),
        );
        cells
            .add(
                format!("PGLOADBALANCEHOSTS {how:?}"),
                format!("host=localhost port={tls} user=u_trust dbname=postgres"),
            )
            .env("PGLOADBALANCEHOSTS", how);
    }
}
