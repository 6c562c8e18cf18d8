//! `pgarrow load` with files of object stores and web servers.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::signal::Signal;
use pgarrow_testkit::emulator::s3_environment;
use pgarrow_testkit::front::{Fate, Front, Request};
use pgarrow_testkit::{Capability, Emulator, require};

use crate::loads::fingerprint;
use crate::signals::send;
use crate::stores::open;
use crate::support::{Place, Ran, assert_cancelled, end_of, eventually, run, start};
use crate::verifies_elsewhere::serve;

/// More than 8 MiB in every format: nothing makes hashes smaller. `b` is short or NULL.
const LARGE: &str = "CREATE TABLE large (id int8 NOT NULL, a bytea, at timestamptz, b text);
    INSERT INTO large SELECT g, sha512(g::text::bytea) || sha256(g::text::bytea),
        '2020-01-01'::timestamptz + g * interval '1 h', CASE WHEN g % 3 > 0 THEN (g % 10)::text END
        FROM generate_series(1, 120000) AS g; ANALYZE large";

const SMALL: &str =
    "CREATE TABLE small AS SELECT g AS id, g::numeric / 8 AS n FROM generate_series(1, 1000) AS g";

/// Puts a file of this machine into a bucket.
fn put(port: u16, file: &Path, url: &str) {
    let (folder, name) = url.rsplit_once('/').unwrap();
    let mut output = open(port, folder).create(name).unwrap();
    output.write_all(&fs::read(file).unwrap()).unwrap();
    output.publish().unwrap();
}

impl Place {
    fn load_from_s3(&self, port: u16, args: &[&str]) -> Ran {
        run(self.load_command(args).envs(s3_environment(port)))
    }

    /// Whether two tables have the same rows, at least one; the second is dropped.
    #[track_caller]
    fn assert_came(&self, from: &str, to: &str) {
        let (there, came) = (fingerprint(&self.database, from), fingerprint(&self.database, to));
        assert!(there.0 > 0 && there == came, "{from} has {there:?}, and {to} {came:?}");
        self.database.execute(&format!("DROP TABLE {to}"));
    }

    fn is_there(&self, table: &str) -> bool {
        let sql = "SELECT to_regclass($1) IS NOT NULL";
        self.database.client().query_one(sql, &[&table]).unwrap().get(0)
    }
}

#[test]
fn files_and_folders_of_an_object_store() {
    require!(Capability::Server);
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("loads");
    let place = Place::new("load_s3");
    place.database.execute(LARGE);
    place.database.execute(SMALL);
    let port = moto.port();
    for (name, more) in [
        ("large.parquet", &["--row-group-rows", "9000"][..]),
        ("one.parquet", &["--compression", "none", "--row-group-rows", "1000000"]),
        ("large.arrow", &[]),
        ("large.arrows", &[]),
    ] {
        place.export(&[&["-t", "large", "-o", name], more].concat()).assert_success();
        let path = place.path(name);
        assert!(path.metadata().unwrap().len() > 8 << 20, "{name} is read as a whole");
        let url = format!("s3://loads/a b/{name}");
        put(port, &path, &url);
        let report = format!("{name}.json");
        let args = [&url, "--into", "copy", "--mode", "create", "--report", &report];
        place.load_from_s3(port, &args).assert_said(0, "120,000 rows");
        place.assert_came("large", "copy");
        let report = fs::read_to_string(place.path(&report)).unwrap();
        assert!(!report.contains("canary"), "{report}");
    }
    // A folder has its files in the order of their names; what begins with an underscore has no rows.
    let parts = ["b.parquet", "a.parquet", "c.arrow"];
    for (index, part) in parts.iter().enumerate() {
        let query = format!("SELECT id, n FROM small WHERE id % 3 = {index}");
        place.export(&["--query", &query, "-o", part]).assert_success();
        put(port, &place.path(part), &format!("s3://loads/parts/{part}"));
    }
    open(port, "s3://loads/parts").replace("_SUCCESS", b"").unwrap();
    for url in ["s3://loads/parts", "s3://loads/parts/"] {
        place.load_from_s3(port, &[url, "--into", "copy", "--mode", "create"]).assert_success();
        place.assert_came("small", "copy");
    }
    // Files of both kinds, one after the other.
    let files = ["s3://loads/parts/b.parquet", "a.parquet", "s3://loads/parts/c.arrow"];
    place
        .load_from_s3(port, &[&files[..], &["--into", "copy", "--mode", "create"]].concat())
        .assert_success();
    place.assert_came("small", "copy");
    let dry = place.load_from_s3(port, &["s3://loads/parts", "--into", "small", "--dry-run"]);
    dry.assert_success();
    assert!(dry.stdout_text().contains("public.small, from 3 files"), "{}", dry.stdout_text());
}

/// What cannot be read is an input's error (8), or a wrong option (2), and nothing is made.
#[test]
fn what_a_store_does_not_have_is_said() {
    require!(Capability::Server);
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("gaps");
    let place = Place::new("load_gaps");
    let port = moto.port();
    let load = |url: &str| place.load_from_s3(port, &[url, "--into", "copy", "--mode", "create"]);
    load("s3://gaps/none.parquet").assert_refused(8, &["s3://gaps/none.parquet", "there is no such file"]);
    load("s3://gaps/").assert_refused(8, &["s3://gaps", "there is no such file"]);
    load("s3://no-such-bucket/x").assert_refused(8, &["no-such-bucket"]);
    open(port, "s3://gaps").replace("deep/a/b.parquet", b"x").unwrap();
    load("s3://gaps/deep").assert_refused(8, &["s3://gaps/deep", "has a folder in it"]);
    open(port, "s3://gaps").replace("cut.parquet", b"PAR1 and no end").unwrap();
    load("s3://gaps/cut.parquet").assert_refused(8, &["s3://gaps/cut.parquet"]);
    open(port, "s3://gaps").replace("text.parquet", b"id,n\n1,2\n").unwrap();
    load("s3://gaps/text.parquet").assert_refused(8, &["s3://gaps/text.parquet"]);
    open(port, "s3://gaps").replace("empty.parquet", b"").unwrap();
    load("s3://gaps/empty.parquet").assert_refused(8, &["s3://gaps/empty.parquet"]);
    load("ftp://host/x").assert_refused(2, &["ftp"]);
    load("file:///tmp/x.parquet").assert_refused(2, &["leave out file://"]);
    load("postgres://me:canary@host/db").assert_refused(2, &["there is a connection"]);
    let front = Front::start(port, |_| {
        Fate::Answer(pgarrow_testkit::front::answer("403 Forbidden", "", b"<Code>AccessDenied</Code>"))
    });
    let ran =
        place.load_from_s3(front.port(), &["s3://gaps/x.parquet", "--into", "copy", "--mode", "create"]);
    ran.assert_refused(8, &["s3://gaps/x.parquet", "403"]);
    assert!(!place.is_there("copy"));
}

/// One version of a file is loaded, or none.
#[test]
fn a_file_that_is_replaced_meanwhile_is_not_loaded() {
    require!(Capability::Server);
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("replaced");
    let place = Place::new("load_replaced");
    place.database.execute(LARGE);
    place.export(&["-t", "large", "-o", "x.parquet", "--row-group-rows", "9000"]).assert_success();
    let url = "s3://replaced/x.parquet";
    let port = moto.port();
    put(port, &place.path("x.parquet"), url);
    // The first requests read the footer and the first row group.
    let n_parts = AtomicUsize::new(0);
    let front = Front::start(port, move |request: &Request| {
        if request.is("GET", "x.parquet") && n_parts.fetch_add(1, Ordering::SeqCst) == 6 {
            open(port, "s3://replaced").replace("x.parquet", b"another one").unwrap();
        }
        Fate::Pass
    });
    let load = || place.load_from_s3(front.port(), &[url, "--into", "copy", "--mode", "create"]);
    load().assert_refused(8, &[url, "replaced meanwhile"]);
    assert!(!place.is_there("copy"));
}

/// Lost answers and lost connections cost a try, and no load.
#[test]
fn a_store_that_fails_now_and_then() {
    require!(Capability::Server);
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("flaky");
    let place = Place::new("load_flaky");
    place.database.execute(LARGE);
    place.export(&["-t", "large", "-o", "x.parquet", "--row-group-rows", "9000"]).assert_success();
    put(moto.port(), &place.path("x.parquet"), "s3://flaky/x.parquet");
    let n_failed = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&n_failed);
    let front = Front::start(moto.port(), move |request: &Request| match request.number % 3 {
        1 if counted.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) => Fate::Reset,
        1 => Fate::AnswerInstead(pgarrow_testkit::front::answer("503 Slow Down", "", b"")),
        _ => Fate::Pass,
    });
    let ran =
        place.load_from_s3(front.port(), &["s3://flaky/x.parquet", "--into", "copy", "--mode", "create"]);
    ran.assert_success();
    assert!(n_failed.load(Ordering::SeqCst) > 2);
    place.assert_came("large", "copy");
}

#[test]
fn a_load_from_a_store_that_stalls_ends_when_it_is_told_to() {
    require!(Capability::Server);
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("stops");
    let place = Place::new("load_stalls");
    place.database.execute(LARGE);
    place.export(&["-t", "large", "-o", "x.parquet", "--row-group-rows", "9000"]).assert_success();
    put(moto.port(), &place.path("x.parquet"), "s3://stops/x.parquet");
    // Before anything is known of the file, and in the middle of its rows.
    for first in [0, 8] {
        let (n_requests, is_stalled) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
        let for_front = Arc::clone(&is_stalled);
        let front = Front::start(moto.port(), move |_: &Request| {
            match n_requests.fetch_add(1, Ordering::SeqCst) >= first {
                true => {
                    for_front.store(true, Ordering::SeqCst);
                    Fate::Stall
                }
                false => Fate::Pass,
            }
        });
        let mut load = place.load_command(&["s3://stops/x.parquet", "--into", "copy", "--mode", "create"]);
        let child = start(load.envs(s3_environment(front.port())));
        eventually("the store does not answer", || is_stalled.load(Ordering::SeqCst));
        send(&child, Signal::SIGINT);
        let ran = end_of(child, 60);
        assert_eq!(ran.code, Some(130), "{first}: {ran:?}");
        // Without a session, there is nothing that would have to be ended.
        match first {
            0 => assert!(ran.stderr.starts_with("pgarrow: cancelled by SIGINT"), "{ran:?}"),
            _ => assert_cancelled(&ran, "SIGINT"),
        }
        eventually("the server has stopped", || place.database.n_sessions("pgarrow") == 0);
        assert!(!place.is_there("copy"));
    }
}

/// A mark names the object by its URL, version and size: what was loaded is not loaded twice, and another
/// version is not taken for it.
#[test]
fn a_load_in_parts_knows_the_version_of_an_object() {
    require!(Capability::Server);
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("marks");
    let place = Place::new("load_marks");
    place.database.execute(SMALL);
    place.database.execute("CREATE TABLE copy (LIKE small)");
    place.export(&["-t", "small", "-o", "x.parquet"]).assert_success();
    put(moto.port(), &place.path("x.parquet"), "s3://marks/x.parquet");
    let load = |port: u16| {
        place.load_from_s3(port, &["s3://marks/x.parquet", "--into", "copy", "--commit-every", "300"])
    };
    // The store refuses what comes later than the footer: whatever was committed counts.
    load(moto.port()).assert_success();
    load(moto.port()).assert_said(0, "nothing to do");
    assert_eq!(fingerprint(&place.database, "copy"), fingerprint(&place.database, "small"));
    place.export(&["--query", "SELECT id + 1000 AS id, n FROM small", "-o", "y.parquet"]).assert_success();
    put(moto.port(), &place.path("y.parquet"), "s3://marks/y.parquet");
    open(moto.port(), "s3://marks")
        .replace("x.parquet", &fs::read(place.path("y.parquet")).unwrap())
        .unwrap();
    load(moto.port()).assert_said(0, "1,000 rows");
    assert_eq!(fingerprint(&place.database, "copy").0, 2000);
}

/// Many web servers send files as a whole only: they are copied to this machine first.
#[test]
fn files_of_a_web_server_that_sends_no_parts() {
    require!(Capability::Server);
    let place = Place::new("load_web");
    place.database.execute(LARGE);
    let port = serve(place.folder.path().to_owned());
    let tmp = place.path("tmp");
    fs::create_dir(&tmp).unwrap();
    for name in ["large.parquet", "large.arrow", "large.arrows"] {
        place.export(&["-t", "large", "-o", name]).assert_success();
        let url = format!("http://127.0.0.1:{port}/{name}");
        let mut load = place.load_command(&[&url, "--into", "copy", "--mode", "create"]);
        run(load.env("TMPDIR", &tmp)).assert_success();
        place.assert_came("large", "copy");
        assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
        let mut load = place.load_command(&[&url, "--into", "copy", "--mode", "create"]);
        run(load.env("TMPDIR", "/nowhere")).assert_refused(8, &[&url, "TMPDIR says where copies go"]);
    }
    let missing = format!("http://127.0.0.1:{port}/none.parquet");
    place.load(&[&missing, "--into", "copy"]).assert_refused(8, &[&missing, "there is no such file"]);
    let host = format!("http://127.0.0.1:{port}/");
    place.load(&[&host, "--into", "copy"]).assert_refused(8, &["cannot be listed"]);
}

/// Tables of one folder, elsewhere, and what of it is refused.
#[test]
fn folders_of_tables_elsewhere() {
    require!(Capability::Server);
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("folders");
    let port = moto.port();
    let place = Place::new("load_folders_elsewhere");
    place.database.execute("CREATE SCHEMA t");
    place.database.execute(SMALL);
    place.database.execute("CREATE TABLE \"Odd, \"\"one\"\"\" AS SELECT 7 AS x");
    let load = |folder: &str, more: &[&str]| {
        place.load_from_s3(port, &[&[folder, "--into-schema", "t", "--mode", "create"], more].concat())
    };
    let assert_came = || {
        place.assert_came("public.small", "t.small");
        place.assert_came("public.\"Odd, \"\"one\"\"\"", "t.\"Odd, \"\"one\"\"\"");
    };
    // A job's, in a store and on the web. A job that has not committed has nothing.
    for url in ["s3://folders/lake", "web"] {
        let text = format!(
            "[source]\nconnection = \"{}\"\ntables = ['public.*']\n[destination]\npath = \"{url}\"\n",
            place.database.url()
        );
        fs::write(place.path("job.toml"), text).unwrap();
        run(place.job(&["run", "job.toml"]).envs(s3_environment(port))).assert_success();
    }
    load("s3://folders/lake", &[]).assert_said(0, "2 tables");
    assert_came();
    load("s3://folders/lake", &["--keep-going"]).assert_success();
    assert_came();
    let dry = load("s3://folders/lake", &["--dry-run"]);
    dry.assert_success();
    assert!(dry.stdout_text().contains("t.small"), "{}", dry.stdout_text());
    let web = format!("http://127.0.0.1:{}/web", serve(place.folder.path().to_owned()));
    let from_web = |folder: &str| place.load(&[folder, "--into-schema", "t", "--mode", "create"]);
    from_web(&web).assert_success();
    assert_came();
    // An export's, which is copied there with its manifest, and a plain one.
    place.export(&["--schema", "public", "-o", "out/"]).assert_success();
    let lake = open(port, "s3://folders/out");
    for name in crate::support::names(&place.path("out")) {
        lake.replace(&name, &fs::read(place.path("out").join(&name)).unwrap()).unwrap();
    }
    lake.replace("stray.parquet", b"no file of ours").unwrap();
    load("s3://folders/out", &[]).assert_success();
    assert_came();
    place.export(&["-t", "small", "-o", "small.parquet"]).assert_success();
    place.export(&["-t", "\"Odd, \"\"one\"\"\"", "-o", "odd.arrow"]).assert_success();
    put(port, &place.path("small.parquet"), "s3://folders/plain/small/part.parquet");
    put(port, &place.path("odd.arrow"), "s3://folders/plain/Odd, \"one\".arrow");
    load("s3://folders/plain/", &[]).assert_success();
    assert_came();
    // What is missing, or was replaced, is told before a row is loaded.
    let file =
        crate::support::names(&place.path("out")).into_iter().find(|name| name.contains("small")).unwrap();
    lake.replace(&file, b"other").unwrap();
    load("s3://folders/out", &[]).assert_refused(8, &[&file, "has 5 bytes, and had"]);
    lake.remove(&file).unwrap();
    load("s3://folders/out", &[]).assert_refused(8, &[&file, "is in the manifest, and is not there"]);
    open(port, "s3://folders/begun").replace("_pgarrow/lock", b"").unwrap();
    load("s3://folders/begun", &[]).assert_refused(8, &["s3://folders/begun", "no run has committed there"]);
    load("s3://folders/nothing", &[]).assert_refused(8, &["s3://folders/nothing", "has no files of tables"]);
    from_web(&web.replace("/web", "/nothing")).assert_refused(8, &["cannot be listed"]);
    assert!(!place.is_there("t.small"));
}
