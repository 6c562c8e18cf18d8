//! Targets that refuse, fail or are lost in the middle of a load: they stay as they were, and the error says
//! why.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgarrow_server::Server;
use pgarrow_testkit::postgres::{Client, NoTls};
use pgarrow_testkit::{Capability, Database, require, server_options, until_restarted};
use tempfile::TempDir;

use crate::loads::{fingerprint, fingerprint_by};
use crate::support::{Place, Ran, command, end_of, eventually, start};

/// Enough rows that they do not all fit into buffers.
const ROWS: &str = "select g::int8 as id, repeat(md5(g::text), 4) as note from generate_series(1, 50000) g";

/// The rows of a table before a load that fails.
pub(crate) const BEFORE: &str = "INSERT INTO t SELECT -g, 'was' FROM generate_series(1, 1000) g";

/// A database with a table `t (id, note)`, changed by `sql`, and a file with 50,000 rows.
fn place(hint: &str, sql: &str) -> Place {
    let place = Place::new(hint);
    place.database.execute("CREATE TABLE t (id int8, note text)");
    place.database.execute(sql);
    place.database.execute(BEFORE);
    place.export(&["-q", ROWS, "-o", "rows.arrows", "--quiet", "--overwrite"]).assert_success();
    place
}

/// Loads in both modes that find rows. The server refuses each with this SQLSTATE, and nothing changes.
#[track_caller]
fn assert_refused(place: &Place, sqlstate: &str, says: &[&str]) {
    let before = fingerprint(&place.database, "t");
    assert_eq!(before.0, 1000);
    for mode in ["append", "truncate"] {
        let report = ["--report", "r.json", "--overwrite"];
        let ran = place.load(&[&["rows.arrows", "--into", "t", "--mode", mode], &report[..]].concat());
        ran.assert_refused(4, &[&[sqlstate, "public.t", "nothing was loaded"], says].concat());
        assert_eq!(fingerprint(&place.database, "t"), before, "{mode}");
        assert_eq!(place.names(), ["r.json", "rows.arrows"], "{mode}");
        let report = fs::read(place.path("r.json")).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        assert_eq!((&report["status"], &report["exit_code"]), (&"failed".into(), &4.into()), "{report}");
        assert_eq!(
            (&report["error"]["sqlstate"], &report["target"]),
            (&sqlstate.into(), &"t".into()),
            "{report}"
        );
        fs::remove_file(place.path("r.json")).unwrap();
    }
    assert_ended(&place.database);
}

#[track_caller]
pub(crate) fn assert_ended(database: &Database) {
    eventually("no session is left", || database.n_sessions("pgarrow") == 0);
}

#[test]
fn constraints_that_the_last_row_breaks() {
    require!(Capability::Server);
    let raising = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
                   $$ BEGIN IF NEW.id = 50000 THEN RAISE 'never that' USING ERRCODE = 'PA001'; END IF; RETURN NEW; END $$; ";
    // A load reads what is committed, so only other code, such as a foreign server's, raises this.
    let serializing = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
                       $$ BEGIN RAISE 'in the way' USING ERRCODE = 'serialization_failure'; END $$; \
                       CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.id = 50000) EXECUTE FUNCTION f()";
    let before = format!("{raising} CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()");
    let after = format!("{raising} CREATE TRIGGER f AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()");
    for (sql, sqlstate, says) in [
        // Rows 1 and 50000 have the same remainder.
        ("CREATE UNIQUE INDEX ON t ((id % 49999))", "23505", &["row 50000"][..]),
        ("ALTER TABLE t ADD EXCLUDE USING btree ((id % 49999) WITH =)", "23P01", &["row 50000"]),
        ("ALTER TABLE t ADD CHECK (id <> 50000)", "23514", &["row 50000"]),
        (
            "CREATE DOMAIN small AS int8 CHECK (VALUE < 50000); ALTER TABLE t ALTER COLUMN id TYPE small",
            "23514",
            &[],
        ),
        (
            "CREATE TABLE p AS SELECT generate_series(-1000, 49999)::int8 AS id; \
             ALTER TABLE p ADD PRIMARY KEY (id); ALTER TABLE t ADD FOREIGN KEY (id) REFERENCES p",
            "23503",
            &[],
        ),
        (&before, "PA001", &["never that"]),
        (&after, "PA001", &["never that"]),
        (serializing, "40001", &["start the load again"]),
    ] {
        assert_refused(&place("load_last_row", sql), sqlstate, says);
    }
}

#[test]
fn constraints_that_are_looked_at_when_all_is_committed() {
    require!(Capability::Server);
    for (sql, sqlstate) in [
        (
            "ALTER TABLE t ADD COLUMN k int8 GENERATED ALWAYS AS (id % 49999) STORED, \
             ADD UNIQUE (k) DEFERRABLE INITIALLY DEFERRED",
            "23505",
        ),
        (
            "CREATE TABLE p AS SELECT generate_series(-1000, 49999)::int8 AS id; ALTER TABLE p ADD PRIMARY KEY (id); \
             ALTER TABLE t ADD FOREIGN KEY (id) REFERENCES p DEFERRABLE INITIALLY DEFERRED",
            "23503",
        ),
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE 'never that' USING ERRCODE = 'PA001'; END $$; \
             CREATE CONSTRAINT TRIGGER f AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
             WHEN (NEW.id = 50000) EXECUTE FUNCTION f()",
            "PA001",
        ),
    ] {
        assert_refused(&place("load_deferred", sql), sqlstate, &[]);
    }
}

/// A load that has sent all but the end of its rows, and waits for more.
struct Waiting {
    child: std::process::Child,
    stdin: ChildStdin,
    rest: Vec<u8>,
}

impl Waiting {
    fn start(place: &Place, args: &[&str]) -> Self {
        let load = Self::start_as(&mut place.load_command(&[&["-", "--into", "t"], args].concat()), place);
        eventually("the COPY runs", || place.counts("state = 'active' AND query LIKE 'COPY%'") == 1);
        load
    }

    fn start_as(load: &mut Command, place: &Place) -> Self {
        let mut bytes = fs::read(place.path("rows.arrows")).unwrap();
        // The last batch begins before that.
        let rest = bytes.split_off(bytes.len() - 1000);
        let mut child = start(load.stdin(Stdio::piped()));
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&bytes).unwrap();
        Self { child, stdin, rest }
    }

    /// Sends the rest of the rows, and returns the result.
    fn end(self) -> Ran {
        let Self { child, mut stdin, rest } = self;
        // A load that has failed reads no more.
        let _ = stdin.write_all(&rest);
        drop(stdin);
        end_of(child, 30)
    }
}

#[test]
fn a_backend_that_is_ended_in_the_middle() {
    require!(Capability::Server, Capability::Superuser);
    let place = place("load_ended", "SELECT");
    let before = fingerprint(&place.database, "t");
    for (function, sqlstate) in [("pg_terminate_backend", "57P01"), ("pg_cancel_backend", "57014")] {
        for mode in ["append", "truncate"] {
            let load = Waiting::start(&place, &["--mode", mode]);
            let sql = format!(
                "SELECT {function}(pid) FROM pg_stat_activity \
                 WHERE datname = current_database() AND query LIKE 'COPY%' AND pid <> pg_backend_pid()"
            );
            assert!(place.database.client().query_one(&sql, &[]).unwrap().get::<_, bool>(0));
            let ran = load.end();
            assert!(matches!(ran.code, Some(3 | 4)), "{ran:?}");
            assert!(
                ran.stderr.contains(sqlstate) && ran.stderr.contains("nothing was loaded"),
                "{}",
                ran.stderr
            );
            assert_ended(&place.database);
            assert_eq!(fingerprint(&place.database, "t"), before);
        }
    }
    // Without a fault, the same load succeeds.
    Waiting::start(&place, &[]).end().assert_success();
    assert_eq!(fingerprint(&place.database, "t").0, 51_000);
}

/// A killed backend brings the whole server down, which then recovers from its log.
#[test]
fn a_server_that_crashes_in_the_middle() {
    require!(Capability::Server);
    // Otherwise a commit just before the crash may not be in the log yet, and is lost with or without a load.
    let options = server_options().setting("synchronous_commit", "on");
    let server = Server::start(options).unwrap();
    let connect = || Client::connect(&server.url(), NoTls);
    connect().unwrap().batch_execute("CREATE TABLE t (id int8, note text)").unwrap();
    connect().unwrap().batch_execute(BEFORE).unwrap();
    let before = fingerprint_by(&mut connect().unwrap(), "t");
    let place = place("load_crash", "SELECT");
    for mode in ["append", "truncate"] {
        let args = ["load", "-", "--into", "t", "--mode", mode, "--target", &server.url()];
        let mut load = command(place.folder.path());
        let load = Waiting::start_as(load.args(args), &place);
        let sql = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COPY%'";
        let mut client = connect().unwrap();
        eventually("the COPY runs", || client.query(sql, &[]).unwrap().len() == 1);
        let pid: i32 = client.query_one(sql, &[]).unwrap().get(0);
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        let ran = load.end();
        assert!(matches!(ran.code, Some(3 | 4)), "{ran:?}");
        assert!(ran.stderr.contains("nothing was loaded"), "{}", ran.stderr);
        until_restarted(client, &server.url());
        assert_eq!(fingerprint_by(&mut connect().unwrap(), "t"), before);
    }
}

#[test]
fn timeouts_of_the_target() {
    require!(Capability::Server, Capability::Superuser);
    let place = place("load_timeouts", "SELECT");
    let before = fingerprint(&place.database, "t");
    // The timeouts of role and database are for people's statements.
    let name = place.database.name();
    // A later session would have a millisecond, too.
    let mut early = place.database.client();
    early.batch_execute(&format!("ALTER DATABASE {name} SET statement_timeout = '1ms'")).unwrap();
    for setting in ["statement_timeout=1ms", "STATEMENT_TIMEOUT=1ms"] {
        let ran = place.load(&["rows.arrows", "--into", "t", "--set", setting]);
        // A timeout that passes just when its statement ends is told as the next one's cancelling.
        ran.assert_refused(4, &["57014", "canceling statement due to"]);
        assert_ended(&place.database);
    }
    early.batch_execute(&format!("ALTER DATABASE {name} RESET statement_timeout")).unwrap();
    assert_eq!(fingerprint(&place.database, "t"), before);
    // A lock that another session has.
    let mut client = place.database.client();
    let mut transaction = client.transaction().unwrap();
    transaction.batch_execute("LOCK TABLE t IN SHARE MODE").unwrap();
    let ran = place.load(&["rows.arrows", "--into", "t", "--lock-timeout", "1s"]);
    ran.assert_refused(4, &["55P03", "public.t"]);
    transaction.rollback().unwrap();
    // Long enough for the statement that says otherwise, and not for the rows.
    early
        .batch_execute(&format!(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RETURN NEW; END $$; \
             CREATE TRIGGER slow BEFORE INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION slow(); \
             ALTER DATABASE {name} SET statement_timeout = '500ms'"
        ))
        .unwrap();
    place.load(&["rows.arrows", "--into", "t"]).assert_success();
    early.batch_execute(&format!("ALTER DATABASE {name} RESET statement_timeout")).unwrap();
    assert_eq!(fingerprint(&place.database, "t").0, 51_000);
}

#[test]
fn a_deadlock_that_ends_the_load() {
    require!(Capability::Server, Capability::Superuser);
    let sql = "CREATE TABLE u (); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
               $$ BEGIN LOCK TABLE u; RETURN NEW; END $$; \
               CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.id = 50000) EXECUTE FUNCTION f()";
    let place = place("load_deadlock", sql);
    let before = fingerprint(&place.database, "t");
    // The session that waits last detects the deadlock; the other one would look after an hour.
    let mut other = place.database.client();
    other.batch_execute("SET deadlock_timeout = '1h'; BEGIN; LOCK TABLE u").unwrap();
    let load = Waiting::start(&place, &["--set", "deadlock_timeout=50ms"]);
    let other = std::thread::spawn(move || {
        other.batch_execute("LOCK TABLE t; ROLLBACK").unwrap();
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("the other one waits", || {
        place.database.client().query_one(waits, &[]).unwrap().get::<_, i64>(0) == 1
    });
    let ran = load.end();
    ran.assert_refused(4, &["40P01", "start the load again", "nothing was loaded"]);
    other.join().unwrap();
    assert_ended(&place.database);
    assert_eq!(fingerprint(&place.database, "t"), before);
}

/// A file system of a few MiB, until it is dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// For files of the server's user; `None` where mounting is not allowed.
    fn mount(database: &Database) -> Option<Self> {
        let folder = TempDir::new_in("/tmp").unwrap();
        let data: String = database.client().query_one("SHOW data_directory", &[]).unwrap().get(0);
        let owner = fs::metadata(data).ok()?;
        let options = format!("size=4m,mode=0700,uid={},gid={}", owner.uid(), owner.gid());
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(folder.path().join("disk")).unwrap();
        let disk = Self(folder);
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(disk.path()).output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then_some(disk)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("disk")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

#[test]
fn a_target_whose_disk_is_full() {
    require!(Capability::Server, Capability::Superuser, Capability::PrivateServer);
    let sql = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS \
               $$ BEGIN RAISE 'no place' USING ERRCODE = '53100'; END $$; \
               CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.id = 50000) EXECUTE FUNCTION f()";
    let place = place("load_full", sql);
    let says = ["53100", "make room there"];
    assert_refused(&place, "53100", &says);
    // And a disk that is full: the table's files are on one of 4 MiB, and the rows take 7.
    let Some(disk) = SmallDisk::mount(&place.database) else {
        eprintln!("no file system can be mounted here: the disk is full by word of a trigger only");
        return;
    };
    let tablespace = format!("{}_small", place.database.name());
    place.database.execute(&format!("CREATE TABLESPACE {tablespace} LOCATION '{}'", disk.path().display()));
    place.database.execute("DROP TRIGGER f ON t");
    place.database.execute("VACUUM FULL t");
    place.database.execute(&format!("ALTER TABLE t SET TABLESPACE {tablespace}"));
    let refused = std::panic::catch_unwind(|| {
        assert_refused(&place, "53100", &[&says[..], &["No space left on device"]].concat());
    });
    // A tablespace with files cannot be dropped.
    place.database.execute("DROP TABLE t");
    place.database.execute(&format!("DROP TABLESPACE {tablespace}"));
    refused.unwrap();
}

/// The source is stopped by a cancel request; it has no end to wait for.
#[test]
fn a_target_that_refuses_stops_its_source() {
    require!(Capability::Server);
    let place = place("load_endless", "ALTER TABLE t ADD CHECK (id < 50000)");
    let before = fingerprint(&place.database, "t");
    // In FROM, the server would first write all the numbers to its disk.
    let query = "select generate_series(1, 1000000000)::int8 as id, repeat('x', 100) as note";
    let args = ["-q", query, "--to", "postgres", "--target", place.database.url(), "--into", "t"];
    let ran = end_of(start(&mut place.export_command(&args)), 30);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.stderr.contains("23514") && ran.stderr.contains("nothing was loaded"), "{}", ran.stderr);
    assert_ended(&place.database);
    assert_eq!(fingerprint(&place.database, "t"), before);
}
