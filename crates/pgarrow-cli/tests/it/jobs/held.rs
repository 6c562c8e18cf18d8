//! Jobs under a snapshot that another process holds.

use std::fs;
use std::process::Child;

use nix::sys::signal::Signal;
use pgarrow_testkit::{Capability, require};
use serde_json::Value;

use crate::signals::send;
use crate::support::{Place, end_of, eventually, start};

/// Waits until the test lets go of a lock. Nothing of it needs a change of a table that somebody holds.
const WAITS: &str = "[[query]]\nname = 'waits'\n\
    sql = 'SELECT 1 AS id FROM (SELECT pg_advisory_xact_lock_shared(42)) AS l'\n\
    [[query]]\nname = 'count'\nsql = 'SELECT count(*) AS n FROM t1'\n";

const TABLES: &str = "DO $$ BEGIN FOR i IN 1..5 LOOP \
    EXECUTE format('CREATE TABLE t%s AS SELECT g AS id, g::text AS t FROM generate_series(1, %s) AS g', i, i * 500); \
    END LOOP; END $$; CREATE MATERIALIZED VIEW m AS SELECT * FROM t2; ANALYZE";

/// Five tables, a materialized view, and the query `count`.
const N_FAST: usize = 7;

impl Place {
    fn of_held_job(hint: &str) -> Self {
        let place = Self::new(hint);
        place.database.execute(TABLES);
        place.write_queries("'public.t*', 'public.m'", WAITS);
        place
    }

    pub(super) fn start_hold(&self, args: &[&str], tokens: &str) -> Child {
        let mut hold = self.job(&["hold", self.database.url(), "--tokens", tokens]);
        let child = start(hold.args(args));
        eventually("the tokens are there", || self.path(tokens).exists());
        child
    }

    fn hold_all(&self, tokens: &str) -> Child {
        self.start_hold(&["-t", "public.t*", "-t", "public.m"], tokens)
    }

    /// Starts a run, kills it when all is complete but the query that waits, and returns its journal.
    fn kill_waiting_run(&self, args: &[&str]) -> Value {
        let child = start(&mut self.job(&[&["run", "job.toml", "--readers", "2"], args].concat()));
        let n_complete = || {
            let journals = self.all_journals();
            journals.first().map_or(0, |journal| journal["tables"].as_array().unwrap().len())
        };
        eventually("the others are complete", || n_complete() == N_FAST);
        send(&child, Signal::SIGKILL);
        assert_eq!(end_of(child, 60).code, None);
        self.database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'advisory' \
             AND datname = current_database()",
        );
        self.all_journals().remove(0)
    }

    fn all_journals(&self) -> Vec<Value> {
        let Ok(files) = fs::read_dir(self.path("lake/_pgarrow/journals")) else { return Vec::new() };
        let paths = files.map(|file| file.unwrap().path());
        let paths = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.filter_map(|path| serde_json::from_slice(&fs::read(path).ok()?).ok()).collect()
    }
}

#[test]
fn a_run_goes_on_under_the_snapshot_that_is_still_held() {
    require!(Capability::Server);
    let place = Place::of_held_job("job_held");
    let holder = place.hold_all("tokens.jsonl");
    let mut client = place.database.client();
    client
        .batch_execute("INSERT INTO t1 VALUES (0, 'after the snapshot'); SELECT pg_advisory_lock(42)")
        .unwrap();

    let dead = place.kill_waiting_run(&["--snapshot", "tokens.jsonl"]);
    client.batch_execute("SELECT pg_advisory_unlock(42)").unwrap();

    // Nothing but this snapshot will do.
    place.run_job(&["--resume"]).assert_refused(
        2,
        &["its snapshot is gone", "7 of its tables are complete", "--allow-mixed-snapshots"],
    );
    let other = place.hold_all("other.jsonl");
    place
        .run_job(&["--resume", "--snapshot", "other.jsonl"])
        .assert_refused(2, &["its snapshot is not the held one", "7 of its tables are complete"]);
    // The same name and the same transactions, of a server that was started at another time.
    let tokens = fs::read_to_string(place.path("tokens.jsonl")).unwrap();
    let mut token: Value = serde_json::from_str(tokens.lines().next().unwrap()).unwrap();
    token["source"]["server_started"] = "2001-01-01 00:00:00+00".into();
    let ran = place.run_job(&["--resume", "--snapshot", &token.to_string()]);
    assert!(matches!(ran.code, Some(2 | 4)), "{ran:?}");
    assert!(place.manifests().is_empty());

    let ran = place.run_job(&["--resume", "--snapshot", "tokens.jsonl"]);
    ran.assert_said(0, "7 tables of run");
    ran.assert_said(0, "are kept, and are of the snapshot that this run reads, too");
    let manifest = place.newest();
    let tables = manifest["tables"].as_array().unwrap();
    assert_eq!(tables.len(), N_FAST + 1);
    assert_eq!(manifest["snapshot"], dead["snapshot"]);
    for table in tables {
        let increment = &table["increments"][0];
        assert_eq!(increment["snapshot"], manifest["snapshot"], "{table}");
        let expected = if table["name"] == "waits" { &manifest["run_id"] } else { &dead["run_id"] };
        assert_eq!(&increment["run_id"], expected, "{table}");
    }
    let rows = |name: &str| tables.iter().find(|table| table["name"] == name).unwrap()["rows"].as_u64();
    assert_eq!((rows("t1"), rows("m"), rows("waits")), (Some(500), Some(1000), Some(1)));
    assert!(place.all_journals().is_empty());
    // Under the snapshot, as a whole, by one connection and by several.
    for readers in ["1", "3"] {
        place.run_job(&["--snapshot", "tokens.jsonl", "--readers", readers]).assert_success();
        assert_eq!(place.newest()["snapshot"], manifest["snapshot"]);
        let newest = place.newest();
        let t1 = newest["tables"].as_array().unwrap().iter().find(|table| table["name"] == "t1").unwrap();
        assert_eq!(t1["rows"].as_u64(), Some(500));
    }

    for holder in [holder, other] {
        send(&holder, Signal::SIGTERM);
        end_of(holder, 20).assert_success();
    }
    let n_manifests = place.manifests().len();
    place.run_job(&["--snapshot", "tokens.jsonl"]).assert_refused(4, &["its holder is gone"]);
    assert_eq!(place.manifests().len(), n_manifests);
}

#[test]
fn a_query_whose_text_has_changed_is_read_again() {
    require!(Capability::Server);
    let place = Place::of_held_job("job_query_changed");
    let mut client = place.database.client();
    client.batch_execute("SELECT pg_advisory_lock(42)").unwrap();
    let dead = place.kill_waiting_run(&[]);
    client.batch_execute("SELECT pg_advisory_unlock(42)").unwrap();
    // The text itself is nowhere.
    assert!(!dead.to_string().contains("count(*)"), "{dead}");
    place.write_queries("'public.t*', 'public.m'", &WAITS.replace("count(*)", "count(id)"));
    place.run_job(&["--resume"]).assert_refused(2, &["6 of its tables are complete"]);
    let ran = place.run_job(&["--resume", "--allow-mixed-snapshots"]);
    ran.assert_said(0, "6 tables of run");
    ran.assert_said(0, "are of the moment that it has read");
    let manifest = place.newest();
    for table in manifest["tables"].as_array().unwrap() {
        let is_new = ["waits", "count"].contains(&table["name"].as_str().unwrap());
        let expected = if is_new { &manifest["run_id"] } else { &dead["run_id"] };
        assert_eq!(&table["increments"][0]["run_id"], expected, "{table}");
    }
}

/// Formerly, nothing read under a held snapshot but slices of tables that its holder has locked. Between the
/// snapshot and the lock of a run, a table may be truncated, and be empty without an error.
#[test]
fn tables_that_are_not_held_are_refused() {
    require!(Capability::Server);
    let place = Place::of_held_job("job_not_held");
    let holder = place.start_hold(&["-t", "public.t1"], "one.jsonl");
    place.database.execute("TRUNCATE t2");
    place
        .run_job(&["--snapshot", "one.jsonl"])
        .assert_refused(2, &["has not locked what is to be read", "t2", "hold the snapshot of all tables"]);
    // Also what only a query reads.
    place.write_queries("'public.t1'", "[[query]]\nname = 'q'\nsql = 'SELECT * FROM t3'\n");
    place.run_job(&["--snapshot", "one.jsonl"]).assert_refused(2, &["has not locked", "(t3)"]);
    // Refreshed since: the holder cannot lock it by LOCK, and only its file says so.
    place.write_queries("'public.t1', 'public.m'", "");
    place.run_job(&["--snapshot", "one.jsonl"]).assert_success();
    place.database.execute("REFRESH MATERIALIZED VIEW m");
    place.run_job(&["--snapshot", "one.jsonl"]).assert_refused(2, &["has not locked", "(m)"]);
    // Made since.
    place.database.execute("CREATE TABLE t9 AS SELECT 1 AS id");
    place.write_queries("'public.t1', 'public.t9'", "");
    place.run_job(&["--snapshot", "one.jsonl"]).assert_refused(2, &["t9"]);
    // What the next run must know would be of another moment.
    place.write_queries("'public.t1'", "[[table]]\nname = 'public.t1'\nincremental = 'xmin'\n");
    place.run_job(&["--snapshot", "one.jsonl"]).assert_refused(2, &["only new rows", "--snapshot"]);
    // What is no token, and tokens of two snapshots.
    place.write_queries("'public.t1'", "");
    let other = place.start_hold(&["-t", "public.t1"], "other.jsonl");
    let both =
        ["one.jsonl", "other.jsonl"].map(|name| fs::read_to_string(place.path(name)).unwrap()).concat();
    fs::write(place.path("both.jsonl"), both).unwrap();
    fs::write(place.path("empty.jsonl"), "\n").unwrap();
    for (tokens, says) in [
        ("both.jsonl", "tokens of several snapshots"),
        ("empty.jsonl", "is empty"),
        ("nowhere.jsonl", "cannot be read"),
        ("job.toml", "this is not a slice that can be read"),
    ] {
        place.run_job(&["--snapshot", tokens]).assert_refused(2, &[says]);
    }
    assert_eq!(place.manifests().len(), 1);
    place.run_job(&["--snapshot", "other.jsonl"]).assert_success();
    for holder in [holder, other] {
        send(&holder, Signal::SIGTERM);
        end_of(holder, 20).assert_success();
    }
}
