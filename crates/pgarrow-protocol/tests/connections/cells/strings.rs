//! Connection strings as such, and service files.

use super::at_tls;
use crate::cell::{Cells, SECRET};
use crate::world::World;

pub(super) fn add(cells: &mut Cells, world: &World) {
    uris(cells, world);
    lists(cells, world);
    services(cells, world);
}

fn uris(cells: &mut Cells, world: &World) {
    cells.group("URI");
    let (tls, closed, direct) = (world.tls.port(), world.closed_port, world.direct.port());
    for rest in [
        format!("u_trust@localhost:{tls}/postgres"),
        format!("u_trust@localhost:{tls}"),
        format!("u_trust@localhost:{tls}/"),
        format!("u_trust@localhost:{tls}?dbname=postgres"),
        format!("u_trust@localhost:{tls}/?dbname=postgres"),
        format!("u_trust@localhost:{tls}/u_scram?dbname=postgres"),
        format!("u_trust@127.0.0.1:{tls}/postgres"),
        format!("u_trust@[::1]:{tls}/postgres"),
        format!("u_trust@[127.0.0.1]:{tls}/postgres"),
        format!("u_trust@[]:{tls}/postgres"),
        format!("u_trust@[::1:{tls}/postgres"),
        format!("u_trust@[::1]x:{tls}/postgres"),
        format!("u_trust@::1:{tls}/postgres"),
        format!("u_trust@localhost:/postgres?port={tls}"),
        format!("u_trust@:{tls}/postgres?host=localhost"),
        format!("u_trust@/postgres?host=localhost&port={tls}"),
        format!("@localhost:{tls}/postgres?user=u_trust"),
        format!(":@localhost:{tls}/postgres?user=u_trust"),
        format!("u_trust:@localhost:{tls}/postgres"),
        format!("localhost:{tls}/postgres?user=u_trust"),
        format!("u%5Ftrust@localhost:{tls}/postgres"),
        format!("u%5ftrust@%6cocalhost:{tls}/%70ostgres"),
        format!("u_trust@localhost:%3{tls}/postgres"),
        format!("u_trust@localhost:{tls}/with%20space"),
        format!("u_trust@localhost:{tls}/with+space"),
        format!("u_trust@localhost:{tls}/with space"),
        format!("u_trust@localhost:{tls}/a%3Db"),
        format!("u_trust@localhost:{tls}/a=b"),
        format!("u_trust@localhost:{tls}/%C3%BC"),
        format!("u_trust@localhost:{tls}/ü"),
        format!("u_trust@localhost:{tls}/%zz"),
        format!("u_trust@localhost:{tls}/%4"),
        format!("u_trust@localhost:{tls}/%"),
        format!("u_trust@localhost:{tls}/%00"),
        format!("u_trust@localhost:{tls}/postgres%00x"),
        format!("u_trust@localhost:{tls}/postgres/more"),
        format!("u_trust@localhost:{tls}/postgres?"),
        format!("u_trust@localhost:{tls}/postgres?&"),
        format!("u_trust@localhost:{tls}/postgres?sslmode=require"),
        format!("u_trust@localhost:{tls}/postgres?sslmode=require&"),
        format!("u_trust@localhost:{tls}/postgres?&sslmode=require"),
        format!("u_trust@localhost:{tls}/postgres?sslmode=require&&application_name=x"),
        format!("u_trust@localhost:{tls}/postgres?ssl=true"),
        format!("u_trust@localhost:{tls}/postgres?ssl=TRUE"),
        format!("u_trust@localhost:{tls}/postgres?ssl=false"),
        format!("u_trust@localhost:{tls}/postgres?ssl=1"),
        format!("u_trust@localhost:{tls}/postgres?sslmode"),
        format!("u_trust@localhost:{tls}/postgres?sslmode="),
        format!("u_trust@localhost:{tls}/postgres?=require"),
        format!("u_trust@localhost:{tls}/postgres?sslmode=a=b"),
        format!("u_trust@localhost:{tls}/postgres?unknown=1"),
        format!("u_trust@localhost:{tls}/postgres?SSLMODE=require"),
        format!("u_trust@localhost:{tls}/postgres?ssl%6Dode=require"),
        format!("u_trust@localhost:{tls}/postgres?application_name=a%20b%26c%3Dd"),
        format!("u_trust@localhost:{tls}/postgres?application_name=a+b"),
        format!("u_trust@localhost:{tls}/postgres?application_name=a&application_name=b"),
        format!("u_trust@localhost:{tls}/postgres?application_name=a#b"),
        format!("u_trust@localhost:{tls}/postgres?application_name=a;b"),
        format!("u_trust@localhost:{tls}/postgres?application_name=ü"),
        format!("u_trust@localhost:{tls}/postgres?user=u_ro"),
        format!("u_trust@localhost:{tls}/postgres?host=127.0.0.1"),
        format!("u_trust@localhost:{tls}/postgres?port={closed}"),
        format!("u_trust@localhost:{tls}/postgres?hostaddr=127.0.0.1"),
        format!("u_trust@localhost:{tls}/postgres?service=nowhere"),
        format!("u_trust@localhost:{tls}/postgres?options=-c%20work_mem%3D77MB"),
        format!("u_trust@localhost:{tls}/postgres?options=-c work_mem=77MB"),
        format!("u_trust@localhost:{closed},localhost:{tls}/postgres"),
        format!("u_trust@localhost,localhost:{tls}/postgres"),
        format!("u_trust@localhost:{closed},:{tls}/postgres"),
        format!("u_trust@localhost:{tls},/postgres"),
        format!("u_trust@,localhost:{tls}/postgres"),
        format!("u_trust@localhost:{closed},127.0.0.1:{tls},localhost:{direct}/postgres"),
        format!("u_trust@localhost:{closed},[::1]:{closed},127.0.0.1:{tls}/postgres"),
        format!("u_trust@localhost:{tls}:{closed}/postgres"),
        "u_trust@localhost:x/postgres".to_owned(),
        "u_trust@localhost:0/postgres".to_owned(),
        "u_trust@localhost:65536/postgres".to_owned(),
        format!("u_trust@local%00host:{tls}/postgres"),
        format!("u_trust@localhost%2C127.0.0.1:{closed}/postgres"),
        format!("u_scram:{SECRET}@localhost:{tls}/postgres"),
        format!("u_scram:{SECRET}@x@localhost:{tls}/postgres"),
        format!("u_scram:can/ary@localhost:{tls}/postgres"),
        format!("u_scram:can?ary@localhost:{tls}/postgres"),
        format!("u_scram:can#ary@localhost:{tls}/postgres"),
        format!("u_scram:canary%zz@localhost:{tls}/postgres"),
        format!("u_scram:canary%00@localhost:{tls}/postgres"),
        format!("u_scram:canary space@localhost:{tls}/postgres"),
        String::new(),
        "/".to_owned(),
        "?".to_owned(),
        "@".to_owned(),
        format!(" u_trust@localhost:{tls}/postgres"),
        format!("u_trust@localhost:{tls}/postgres "),
    ] {
        for scheme in ["postgres", "postgresql"] {
            cells.add(format!("{scheme}://{rest}"), format!("{scheme}://{rest}"));
        }
    }
    for scheme in ["POSTGRES", "Postgresql", "postgis", "pg", "http", " postgres", "postgresql+x"] {
        let conninfo = format!("{scheme}://u_trust@localhost:{tls}/postgres");
        cells.add(format!("scheme {scheme:?}"), conninfo);
    }
    cells.add("one slash", format!("postgres:/u_trust@localhost:{tls}/postgres"));
}

fn lists(cells: &mut Cells, world: &World) {
    cells.group("key=value");
    let at = format!("host=localhost port={} user=u_trust", world.tls.port());
    for text in [
        "dbname=postgres",
        "dbname = postgres",
        "dbname= postgres",
        "  dbname  =  postgres  ",
        "\tdbname\n=\r\npostgres\n",
        "dbname='postgres'",
        "dbname='post''gres'",
        "dbname='postgres",
        "dbname=postgres'",
        "dbname=post'gres'",
        "dbname='postgres'application_name=x",
        "dbname='postgres' application_name=x",
        "dbname='with space'",
        "dbname=with\\ space",
        "dbname=with space",
        "dbname=a=b",
        "dbname='a=b'",
        "dbname='quo\\'te\\\\'",
        "dbname=quo\\'te\\\\",
        "dbname='quo'te\\'",
        "dbname=\\postgres",
        "dbname='\\p\\ostgres'",
        "dbname=postgres\\",
        "dbname='postgres\\",
        "dbname='postgres\\'",
        "dbname=ü",
        "dbname=''",
        "dbname=",
        "dbname",
        "dbname=postgres dbname=u_trust",
        "dbname=nowhere dbname=postgres",
        "dbname=postgres sslmode",
        "dbname=postgres =x",
        "dbname=postgres unknown=1",
        "dbname=postgres UNKNOWN=1",
        "dbname=postgres DBNAME=x",
        "DBNAME=postgres",
        "dbname=postgres application_name=",
        "dbname=postgres application_name= user=u_ro",
        "dbname=postgres application_name='a b'",
        "dbname=postgres application_name='ü'",
        "dbname=postgres application_name=\"a\"",
        "dbname=postgres,",
        "dbname=postgres, application_name=x",
        "dbname=postgres;application_name=x",
        "dbname=postgres # application_name=x",
        "dbname='host=localhost'",
        "dbname=postgres://u_ro@localhost/postgres",
        "dbname=postgres sslkeylogfile=/tmp/x",
        "dbname=postgres authtype=x",
        "dbname=postgres tty=x",
        "dbname=postgres replication=false",
        "dbname=postgres fallback_application_name=y",
        "dbname=postgres fallback_application_name=y application_name=z",
        "dbname=postgres user=''",
        "dbname=postgres password=canary secret",
        "dbname=postgres password=canary'secret",
        "dbname=postgres password='canary secret",
        "dbname=postgres password=canary more=secret",
    ] {
        cells.add(text, format!("{at} {text}"));
    }
    for text in
        ["", " ", "=", "'", "postgres", "u_trust", "host", "host=", "=localhost", "postgres://", "with space"]
    {
        let cell = cells.add(format!("alone {text:?}"), text);
        cell.env("PGHOST", "localhost").env("PGPORT", world.tls.port().to_string()).env("PGUSER", "u_trust");
    }
}

fn services(cells: &mut Cells, world: &World) {
    cells.group("services");
    let port = world.tls.port();
    let one = format!("host=localhost\nport={port}\nuser=u_trust\ndbname=postgres\n");
    let good =
        format!("# a comment\n\n[other]\nhost=no-such-host.invalid\n\n[here]\n{one}\n[last]\nhost=x\n");
    let whole = [
        ("good", good.clone()),
        (
            "password",
            format!(
                "[here]\nhost=localhost\nport={port}\nuser=u_scram\ndbname=postgres\npassword={SECRET}\n"
            ),
        ),
        (
            "wrong password",
            format!("[here]\nhost=localhost\nport={port}\nuser=u_scram\npassword=canary-wrong\n"),
        ),
        ("unknown parameter", format!("[here]\n{one}unknown=1\n")),
        ("upper case", format!("[here]\n{one}SSLMODE=require\n")),
        ("nested", format!("[here]\nservice=other\n[other]\n{one}")),
        ("no equals sign", format!("[here]\n{one}nonsense\n")),
        ("spaces", format!("  [here]  \n  host = localhost\n{one}")),
        ("spaces around values", format!("[here]\n{one}application_name= x y \n")),
        ("quotes", format!("[here]\n{one}application_name='x'\n")),
        ("comment behind", format!("[here]\n{one}application_name=x # y\n")),
        ("carriage returns", format!("[here]\n{one}application_name=x\n").replace('\n', "\r\n")),
        ("no end of line", format!("[here]\n{one}application_name=x")),
        ("twice", format!("[here]\n{one}[here]\nhost=no-such-host.invalid\n")),
        ("twice the same", format!("[here]\n{one}application_name=a\napplication_name=b\n")),
        ("empty value", format!("[here]\n{one}sslmode=\n")),
        ("broken elsewhere", format!("[other]\nnonsense\n[here]\n{one}")),
        ("unknown elsewhere", format!("[other]\nunknown=1\n[here]\n{one}")),
        ("broken behind", format!("[here]\n{one}[other]\nnonsense\n")),
        ("open bracket", format!("[here\n{one}")),
        ("case of the name", format!("[HERE]\n{one}")),
        ("prefix", format!("[here and there]\n{one}")),
        ("ldap", "[here]\nldap://localhost:1/dc=x?y?one?(cn=z)\n".to_owned()),
        ("long line", format!("[here]\n# {}\n{one}", "x".repeat(2000))),
        ("empty file", String::new()),
        ("bad value", format!("[here]\n{one}sslmode=full\n")),
    ];
    for (name, contents) in whole {
        cells.add(format!("home: {name}"), "service=here").home(".pg_service.conf", contents.clone(), 0o644);
        let cell = cells.add(format!("PGSERVICE: {name}"), "");
        cell.env("PGSERVICE", "here").home(".pg_service.conf", contents, 0o644);
    }
    let mut with = |name: &str, conninfo: &str| {
        let cell = cells.add(name, conninfo);
        cell.home(".pg_service.conf", good.clone(), 0o644);
        cell.clone()
    };
    with("unknown service", "service=nowhere");
    with("empty service", "service=''");
    with("string over service", "service=here application_name=mine dbname=u_trust");
    with("string before service", "application_name=mine service=here");
    with("URI", "postgres://?service=here");
    with("URI with host", "postgres://no-such-host.invalid?service=here");
    let mut environment = |name: &str, conninfo: &str, variables: &[(&str, String)]| {
        let cell = cells.add(name, conninfo);
        cell.home(".pg_service.conf", good.clone(), 0o644);
        for (name, value) in variables {
            cell.env(name, value.as_str());
        }
    };
    let text = |value: &str| value.to_owned();
    environment("service over environment", "service=here", &[("PGHOST", text("no-such-host.invalid"))]);
    environment("environment fills", "service=here", &[("PGAPPNAME", text("from the environment"))]);
    environment("service= over PGSERVICE", "service=here", &[("PGSERVICE", text("other"))]);
    environment("PGSERVICE unknown", "", &[("PGSERVICE", text("nowhere"))]);
    environment("PGSERVICE empty", &at_tls(world, "u_trust"), &[("PGSERVICE", text(""))]);
    environment("PGSERVICEFILE missing", "service=here", &[("PGSERVICEFILE", text("/no/such/file"))]);
    environment("PGSERVICEFILE garbage", "service=here", &[("PGSERVICEFILE", world.file("garbage.crt"))]);
    environment("PGSERVICEFILE empty", "service=here", &[("PGSERVICEFILE", text(""))]);
    environment("PGSYSCONFDIR", "service=here", &[("PGSYSCONFDIR", text("/no/such/folder"))]);
    cells.add("no file", "service=here");
    cells.add("no file, PGSERVICE", at_tls(world, "u_trust")).env("PGSERVICE", "here");
    cells
        .add("servicefile is of 18", "service=here servicefile=/no/such/file")
        .home(".pg_service.conf", good.clone(), 0o644)
        .eighteen();
}
