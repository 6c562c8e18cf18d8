//! Object stores that do less than they should, or stop doing it.

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;
use pgarrow_store::Store;
use pgarrow_testkit::emulator::s3_environment;
use pgarrow_testkit::front::{Fate, Front, Request};
use pgarrow_testkit::{Capability, Emulator, require};

use crate::signals::send;
use crate::support::{Place, Ran, assert_cancelled, end_of, eventually, run, start};

/// Five tables, none of them large.
const TABLES: &str = "DO $$ BEGIN FOR i IN 1..5 LOOP
    EXECUTE format('CREATE TABLE t%s AS SELECT g AS id FROM generate_series(1, %s) AS g', i, i * 100);
    END LOOP; END $$";

impl Place {
    fn of_store(hint: &str, url: &str) -> Self {
        let place = Self::new(hint);
        place.database.execute(TABLES);
        let source = place.database.url();
        let job = format!(
            "[source]\nconnection = \"{source}\"\ntables = ['t*']\n[destination]\npath = \"{url}\"\n"
        );
        fs::write(place.path("job.toml"), job).unwrap();
        place
    }

    fn with_s3(&self, port: u16, args: &[&str]) -> Ran {
        run(self.job(args).envs(s3_environment(port)))
    }
}

/// The store at this port, for the test itself.
pub(crate) fn open(port: u16, url: &str) -> Store {
    let options = s3_environment(port).map(|(name, value)| (name.to_ascii_lowercase(), value));
    Store::open_with(url, &options).unwrap()
}

/// A program that is no S3 of Amazon's, and none that was made for tests. It answers 200 for parts of
/// objects, which was taken for an error.
#[test]
fn a_lake_that_rclone_serves_is_compared() {
    require!(Capability::Server);
    let Some(rclone) = Emulator::s3_without_conditions() else { return };
    rclone.make_bucket("crosscheck");
    let place = Place::of_store("store_rclone", "lake");
    run(&mut place.job(&["run", "job.toml"])).assert_success();
    let store = open(rclone.port(), "s3://crosscheck/lake");
    let lake = Store::open(place.path("lake").to_str().unwrap()).unwrap();
    for entry in lake.list("").unwrap() {
        let mut output = store.create(&entry.path).unwrap();
        output.write_all(&lake.read(&entry.path).unwrap().unwrap()).unwrap();
        output.publish().unwrap();
    }
    let verify = || place.with_s3(rclone.port(), &["verify", "s3://crosscheck/lake", place.database.url()]);
    verify().assert_said(0, "5 tables with 1,500 rows are what the server has");
    let entries = store.list("").unwrap();
    let file = entries.iter().find(|entry| entry.path.ends_with(".parquet")).unwrap();
    let mut bytes = store.read(&file.path).unwrap().unwrap();
    bytes[10] ^= 1;
    store.replace(&file.path, &bytes).unwrap();
    verify().assert_said(10, "1 file differs");
}

/// Formerly, the process was ended when a grace was over, in the middle of what it did: the copy of a file
/// stayed.
#[test]
fn a_comparison_with_a_store_that_stalls_ends_when_it_is_told_to() {
    require!(Capability::Server);
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("stalling");
    let place = Place::of_store("store_stalls", "s3://stalling/lake");
    place.with_s3(moto.port(), &["run", "job.toml"]).assert_success();
    let copies = place.path("copies");
    fs::create_dir(&copies).unwrap();
    for stalling in ["manifests/0", ".parquet"] {
        let is_stalled = Arc::new(AtomicBool::new(false));
        let for_front = Arc::clone(&is_stalled);
        let front = Front::start(moto.port(), move |request: &Request| match request.is("GET", stalling) {
            true => {
                for_front.store(true, Ordering::SeqCst);
                Fate::Stall
            }
            false => Fate::Pass,
        });
        let mut verify = place.job(&["verify", "s3://stalling/lake", place.database.url()]);
        let child = start(verify.envs(s3_environment(front.port())).env("TMPDIR", &copies));
        eventually("the store is asked and does not answer", || is_stalled.load(Ordering::SeqCst));
        if stalling == ".parquet" {
            eventually("a copy is begun", || fs::read_dir(&copies).unwrap().count() == 1);
        }
        send(&child, Signal::SIGINT);
        let ran = end_of(child, 60);
        assert_eq!(ran.code, Some(130), "{ran:?}");
        assert_cancelled(&ran, "SIGINT");
        assert_eq!(fs::read_dir(&copies).unwrap().count(), 0, "a copy was left behind");
    }
}
