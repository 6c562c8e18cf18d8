//! A run goes on where a dead one has ended.

use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use pgarrow_testkit::{Capability, require};
use serde_json::Value;

use super::N_TABLES;
use crate::signals::send;
use crate::support::{Place, end_of, eventually, parquet_rows, run, start};

/// One reader sleeps here while the other reads all the rest.
const SLOW: &str = "CREATE VIEW public.slow AS SELECT g AS id FROM generate_series(1, 3) AS g, pg_sleep(600)";
const FAST: &str = "CREATE OR REPLACE VIEW public.slow AS SELECT g AS id FROM generate_series(1, 3) AS g";

impl Place {
    fn of_slow_job(hint: &str) -> Self {
        let place = Self::of_job(hint);
        place.database.execute(SLOW);
        let job = fs::read_to_string(place.path("job.toml")).unwrap();
        fs::write(place.path("job.toml"), job.replace("'public.t*'", "'public.t*', 'public.slow'")).unwrap();
        place
    }

    fn journal(&self) -> Option<(PathBuf, Value)> {
        let files = fs::read_dir(self.path("lake/_pgarrow/journals")).ok()?;
        // Not one that has no name yet: it would be gone with its writer.
        let is_journal = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
        let path = files.map(|file| file.unwrap().path()).find(is_journal)?;
        Some((path.clone(), serde_json::from_slice(&fs::read(path).ok()?).ok()?))
    }

    fn n_complete(&self) -> usize {
        self.journal().map_or(0, |(_, journal)| journal["tables"].as_array().unwrap().len())
    }

    /// Starts the job and waits until all tables are complete but the slow one.
    fn start_slow_job(&self, args: &[&str]) -> Child {
        let child = start(&mut self.job(&[&["run", "job.toml", "--readers", "2"], args].concat()));
        eventually("the others are complete", || self.n_complete() == N_TABLES);
        child
    }

    fn kill(&self, child: Child) {
        send(&child, Signal::SIGKILL);
        assert_eq!(end_of(child, 60).code, None);
        self.database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'pgarrow'",
        );
        self.database.execute(FAST);
    }

    fn rows_of(&self, name: &str) -> usize {
        let manifest = self.newest();
        let table =
            manifest["tables"].as_array().unwrap().iter().find(|table| table["name"] == name).unwrap();
        let files = table["files"].as_array().unwrap();
        files.iter().map(|file| parquet_rows(&self.path("lake").join(file["path"].as_str().unwrap()))).sum()
    }
}

#[test]
fn complete_tables_of_a_killed_run_are_kept() {
    require!(Capability::Server);
    let place = Place::of_slow_job("job_resumed");
    let child = place.start_slow_job(&[]);
    place.kill(child);
    let (_, journal) = place.journal().unwrap();
    let dead_run = journal["run_id"].as_str().unwrap();
    place.database.execute("INSERT INTO public.t1 VALUES (0, 'after'); ANALYZE");
    place.run_job(&[]).assert_refused(7, &["a run that is dead has left its lock"]);
    // Its snapshot is gone.
    place.run_job(&["--resume"]).assert_refused(
        2,
        &[dead_run, "its snapshot is gone", "of its tables are complete", "--allow-mixed-snapshots"],
    );
    assert_eq!(place.n_complete(), N_TABLES);
    let (flipped, bytes) = {
        let tables = journal["tables"].as_array().unwrap();
        let table = tables.iter().find(|table| table["name"] == "t2").unwrap();
        let path = place.path("lake").join(table["files"][0]["path"].as_str().unwrap());
        (path.clone(), fs::read(path).unwrap())
    };
    let mut damaged = bytes;
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&flipped, damaged).unwrap();

    let ran = place.run_job(&["--resume", "--allow-mixed-snapshots"]);
    ran.assert_said(0, "public.t2: its files are not what the dead run has written; it is read again");
    ran.assert_said(0, &format!("of run {dead_run} are kept"));
    run(&mut place.job(&["verify", "lake"])).assert_success();
    let manifest = place.newest();
    let tables = manifest["tables"].as_array().unwrap();
    assert_eq!(tables.len(), N_TABLES + 1);
    // Of the moment of the dead run; and of this one.
    assert_eq!((place.rows_of("t1"), place.rows_of("slow"), place.rows_of("t2")), (500, 3, 1000));
    for table in tables {
        let increment = &table["increments"][0];
        let name = table["name"].as_str().unwrap();
        let is_new = ["slow", "t2"].contains(&name) || increment["run_id"] == manifest["run_id"];
        let expected = if is_new { &manifest } else { &journal };
        assert_eq!(
            (&increment["run_id"], &increment["snapshot"]),
            (&expected["run_id"], &expected["snapshot"]),
            "{name}"
        );
    }
    let of_dead = |table: &&Value| table["increments"][0]["run_id"] == dead_run;
    let n_of_dead = tables.iter().filter(of_dead).count();
    assert_eq!(n_of_dead, N_TABLES - 1, "{ran:?}");
    // Nothing is left to go on from.
    assert!(place.journal().is_none());
    place.run_job(&["--resume"]).assert_success();
    assert_eq!(place.rows_of("t1"), 501);
}

#[test]
fn a_resumed_run_that_fails_leaves_what_is_complete() {
    require!(Capability::Server);
    let place = Place::of_slow_job("job_fails_twice");
    let end_sessions = || {
        place.database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'pgarrow'",
        );
    };
    // Without --resume, a run that fails leaves nothing.
    let child = place.start_slow_job(&["--retries", "0"]);
    end_sessions();
    assert!(end_of(child, 60).code.is_some_and(|code| code != 0));
    assert!(place.journal().is_none() && place.data_files().is_empty());

    let child = place.start_slow_job(&["--retries", "0", "--resume"]);
    end_sessions();
    let ran = end_of(child, 60);
    assert!(ran.code.is_some_and(|code| code != 0));
    assert!(ran.stderr.contains("tables are complete and stay for a run that goes on (--resume)"), "{ran:?}");
    let n_complete = place.n_complete();
    assert_eq!(place.data_files().len(), n_complete);
    assert!(place.manifests().is_empty());

    // A run that goes on, and is killed: its journal has what it has kept.
    let child =
        start(&mut place.job(&["run", "job.toml", "--readers", "2", "--resume", "--allow-mixed-snapshots"]));
    eventually("it reads the slow one", || place.counts("state = 'active' AND query LIKE 'COPY%slow%'") == 1);
    let newest = || fs::read_dir(place.path("lake/_pgarrow/journals")).unwrap().count();
    eventually("it has a journal", || newest() == 2);
    // Files that a live run has kept are not garbage.
    let ran = run(&mut place.job(&["gc", "lake", "--older-than", "1s", "--delete"]));
    ran.assert_success();
    place.kill(child);
    let ran = place.run_job(&["--resume", "--allow-mixed-snapshots"]);
    ran.assert_said(0, "are kept");
    run(&mut place.job(&["verify", "lake"])).assert_success();
    assert_eq!(place.newest()["tables"].as_array().unwrap().len(), N_TABLES + 1);
    // gc knows journals.
    let left = place.path("lake/_pgarrow/journals/0123456789abcdef0123456789abcdef.json");
    fs::write(&left, "{}").unwrap();
    let ran = run(&mut place.job(&["gc", "lake", "--delete"]));
    assert!(left.exists() && ran.stdout.is_empty(), "{ran:?}");
    let two_days_ago = SystemTime::now() - Duration::from_secs(2 * 86_400);
    fs::File::options().write(true).open(&left).unwrap().set_modified(two_days_ago).unwrap();
    run(&mut place.job(&["gc", "lake", "--delete"])).assert_success();
    assert!(!left.exists());
}

/// Formerly, a run that came to itself after another one had taken its place removed its files, which the
/// other one had kept and committed.
#[test]
fn a_run_whose_place_was_taken_leaves_its_files() {
    require!(Capability::Server);
    let place = Place::of_slow_job("job_comes_back");
    let first = place.start_slow_job(&["--retries", "0"]);
    // As another run does, which has seen no beat for long enough.
    fs::remove_file(place.path("lake/_pgarrow/lock.json")).unwrap();
    let job = fs::read_to_string(place.path("job.toml")).unwrap();
    fs::write(place.path("job.toml"), job.replace(", 'public.slow'", "")).unwrap();
    let second = place.run_job(&["--resume", "--allow-mixed-snapshots"]);
    second.assert_said(0, "are kept");
    place.database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name = 'pgarrow'",
    );
    assert!(end_of(first, 60).code.is_some_and(|code| code != 0));
    place.assert_complete();
}

/// Formerly, the files of a dead run were garbage until the run that goes on with them had written a journal.
#[test]
fn files_of_a_dead_run_are_no_garbage_while_another_one_begins() {
    require!(Capability::Server);
    let place = Place::of_slow_job("job_gc_between");
    let child = place.start_slow_job(&[]);
    place.kill(child);
    let mut client = place.database.client();
    let mut blocking = client.transaction().unwrap();
    blocking.batch_execute("LOCK TABLE sales.orders").unwrap();
    let again = start(&mut place.job(&["run", "job.toml", "--resume", "--allow-mixed-snapshots"]));
    eventually("it waits for the table", || place.counts("wait_event_type = 'Lock'") > 0);
    super::age(&place);
    // But for the file that was not complete.
    run(&mut place.job(&["gc", "lake", "--older-than", "30m", "--delete"])).assert_success();
    assert_eq!(place.data_files().len(), N_TABLES);
    blocking.rollback().unwrap();
    end_of(again, 60).assert_said(0, "are kept");
    place.assert_complete_with(N_TABLES + 1);
}

#[test]
fn what_was_read_in_another_way_is_not_kept() {
    require!(Capability::Server);
    for (change, says) in [
        ("[options]\ninterval = 'text'", "the job's options or types are others"),
        ("format = 'ipc'", "the job's options or types are others"),
    ] {
        let place = Place::of_slow_job("job_other_options");
        let child = place.start_slow_job(&[]);
        place.kill(child);
        let job = fs::read_to_string(place.path("job.toml")).unwrap();
        fs::write(place.path("job.toml"), format!("{job}{change}\n")).unwrap();
        // There is nothing to lose, so nothing is refused.
        place.run_job(&["--resume"]).assert_said(0, says);
        let manifest = place.newest();
        let tables = manifest["tables"].as_array().unwrap();
        assert!(tables.iter().all(|table| table["increments"][0]["run_id"] == manifest["run_id"]));
    }
}

/// A table that the dead run has written into other folders would not fit the rest.
#[test]
fn complete_tables_in_partitions_are_kept_unless_these_are_others() {
    require!(Capability::Server);
    let place = Place::of_slow_job("job_resumed_partitions");
    let write = |column: &str| {
        let job = fs::read_to_string(place.path("job.toml")).unwrap();
        let (head, _) = job.split_once("[[table]]").unwrap_or((&job, ""));
        let rule = format!("[[table]]\nname = 'sales.parts'\npartition_by = ['{column}']\n");
        fs::write(place.path("job.toml"), format!("{head}{rule}")).unwrap();
    };
    write("at");
    let child = place.start_slow_job(&[]);
    place.kill(child);
    let (_, journal) = place.journal().unwrap();
    let dead_run = journal["run_id"].as_str().unwrap().to_owned();
    let of = |table: &str| {
        let manifest = place.newest();
        let tables = manifest["tables"].as_array().unwrap().clone();
        tables.into_iter().find(|found| found["name"] == table).unwrap()
    };
    write("month(at)");
    place.run_job(&["--resume", "--allow-mixed-snapshots"]).assert_success();
    assert_eq!(of("orders")["increments"][0]["run_id"], dead_run.as_str());
    assert_ne!(of("parts")["increments"][0]["run_id"], dead_run.as_str());
    assert_eq!((place.rows_of("parts"), place.rows_of("orders")), (1000, 30_000));
    run(&mut place.job(&["verify", "lake"])).assert_success();
}
