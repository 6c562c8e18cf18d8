//! Jobs: many tables into one folder, committed by a manifest or not at all.

mod checked;
mod held;
mod incremental;
mod into_servers;
mod keep_going;
mod night;
mod partitions;
mod queries;
mod rejects;
mod resume;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use pgarrow_testkit::emulator::s3_environment;
use pgarrow_testkit::front::{Fate, Front, s3_error};
use pgarrow_testkit::{Capability, Emulator, Python, require};
use serde_json::Value;

use crate::signals::send;
use crate::support::{Place, Ran, command, end_of, eventually, parquet_rows, run, start};

/// Tables of every odd kind, and 20 plain ones.
const TABLES: &str = r#"
    CREATE SCHEMA sales; CREATE SCHEMA "Odd/..";
    CREATE TABLE sales.orders AS SELECT g AS id, md5(g::text) AS t FROM generate_series(1, 30000) AS g;
    CREATE TABLE sales.empty (a int, b text);
    CREATE TABLE sales.tmp_x AS SELECT 1 AS a;
    CREATE TABLE "Odd/.."."../etc/""x" AS SELECT 1 AS a;
    CREATE TABLE "Odd/.."."T" AS SELECT 1 AS a; CREATE TABLE "Odd/..".t AS SELECT 2 AS a;
    CREATE TABLE sales.parts (id int, at date) PARTITION BY RANGE (id);
    CREATE TABLE sales.parts_1 PARTITION OF sales.parts FOR VALUES FROM (0) TO (100);
    CREATE TABLE sales.parts_2 PARTITION OF sales.parts FOR VALUES FROM (100) TO (1000);
    INSERT INTO sales.parts SELECT g, date '2026-01-01' FROM generate_series(0, 999) AS g;
    CREATE VIEW sales.view AS SELECT 1 AS a;
    DO $$ BEGIN FOR i IN 1..20 LOOP
      EXECUTE format('CREATE TABLE public.t%s AS SELECT g AS id, g::text AS t FROM generate_series(1, %s) AS g', i, i * 500);
    END LOOP; END $$;
    ANALYZE;
"#;

/// What `sales.*`, `"Odd/.."."*"`… and `public.t*` have without `tmp_*`.
const N_TABLES: usize = 3 + 3 + 20;

impl Place {
    fn of_job(hint: &str) -> Self {
        let place = Self::new(hint);
        place.database.execute(TABLES);
        place.write_job("");
        place
    }

    /// Writes `job.toml`, with these lines at its end.
    fn write_job(&self, lines: &str) {
        let url = self.database.url();
        let job = format!(
            "[source]\nconnection = \"{url}\"\ntables = ['sales.*', '\"Odd/..\".*', 'public.t*']\n\
             exclude_tables = ['tmp_*']\n[destination]\npath = \"lake\"\nsuccess_file = true\n{lines}"
        );
        fs::write(self.path("job.toml"), job).unwrap();
    }

    pub(crate) fn job(&self, args: &[&str]) -> Command {
        let mut command = command(self.folder.path());
        command.args(args);
        command
    }

    fn run_job(&self, args: &[&str]) -> Ran {
        run(&mut self.job(&[&["run", "job.toml"], args].concat()))
    }

    fn manifests(&self) -> Vec<PathBuf> {
        let Ok(files) = fs::read_dir(self.path("lake/_pgarrow/manifests")) else { return Vec::new() };
        let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        paths.sort();
        paths
    }

    fn newest(&self) -> Value {
        serde_json::from_slice(&fs::read(self.manifests().last().unwrap()).unwrap()).unwrap()
    }

    /// All files of the folder but those of the job itself.
    fn data_files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.path("lake")];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries {
                let path = entry.unwrap().path();
                match path.file_name().unwrap().to_str().unwrap() {
                    "_pgarrow" | "_SUCCESS" => {}
                    _ if path.is_dir() => folders.push(path),
                    _ => found.push(path),
                }
            }
        }
        found
    }

    /// The newest manifest has all rows of all tables, in files that have them.
    #[track_caller]
    fn assert_complete(&self) {
        self.assert_complete_with(N_TABLES);
    }

    #[track_caller]
    fn assert_complete_with(&self, n_tables: usize) {
        let manifest = self.newest();
        let tables = manifest["tables"].as_array().unwrap();
        assert_eq!(tables.len(), n_tables);
        let mut client = self.database.client();
        for table in tables {
            let (schema, name) = (table["schema"].as_str().unwrap(), table["name"].as_str().unwrap());
            let sql = format!("SELECT count(*) FROM \"{schema}\".\"{}\"", name.replace('"', "\"\""));
            let expected: i64 = client.query_one(&sql, &[]).unwrap().get(0);
            let files = table["files"].as_array().unwrap();
            let of = |file: &Value| parquet_rows(&self.path("lake").join(file["path"].as_str().unwrap()));
            let rows: usize = files.iter().map(of).sum();
            assert_eq!((rows as i64, table["rows"].as_i64()), (expected, Some(expected)), "{schema}.{name}");
        }
        let ran = run(&mut self.job(&["verify", "lake"]));
        ran.assert_said(0, "are what run");
    }
}

#[test]
fn a_run_is_committed_by_its_manifest() {
    require!(Capability::Server, Capability::Python);
    let place = Place::of_job("job");
    let ran = place.run_job(&["--report", "report.json"]);
    ran.assert_said(0, "26 tables, ");
    place.assert_complete();
    let manifest = place.newest();
    assert_eq!((manifest["number"].as_i64(), manifest["previous_run_id"].as_str()), (Some(1), None));
    assert!(manifest["snapshot"].as_str().unwrap().contains(':') && manifest["lsn"].is_string());
    let run_id = manifest["run_id"].as_str().unwrap();
    assert_eq!(fs::read_to_string(place.path("lake/_SUCCESS")).unwrap(), run_id);
    let report: Value = serde_json::from_slice(&fs::read(place.path("report.json")).unwrap()).unwrap();
    assert_eq!((&report["status"], &report["run_id"]), (&"complete".into(), &manifest["run_id"]));
    assert_eq!(report["manifest"], manifest);
    // Every file is below the folder, belongs to the run, and no lock is left.
    let files = place.data_files();
    assert_eq!(files.len(), N_TABLES);
    let of_run = |path: &PathBuf| path.to_str().unwrap().ends_with(&format!("-{run_id}.parquet"));
    assert!(files.iter().all(of_run), "{files:?}");
    assert_eq!(place.names(), ["job.toml", "lake", "report.json"]);
    assert!(!place.path("lake/_pgarrow/lock.json").exists());
    let tables = manifest["tables"].as_array().unwrap();
    let columns = |name: &str| {
        let table = tables.iter().find(|table| table["name"] == name).unwrap();
        table["files"][0]["columns"].to_string()
    };
    let of_ids = r#"{"max":"30000","min":"1","name":"id","nulls":0}"#;
    assert!(columns("orders").contains(of_ids), "{}", columns("orders"));
    let of_dates = r#"{"max":"2026-01-01","min":"2026-01-01","name":"at","nulls":0}"#;
    assert!(columns("parts").contains(of_dates), "{}", columns("parts"));
    let of_empty = r#"{"max":null,"min":null,"name":"a","nulls":0}"#;
    assert!(columns("empty").contains(of_empty), "{}", columns("empty"));
    const DUCKDB: &str = "
import sys, json, duckdb
lake = sys.argv[1]
manifest = json.load(open(sys.argv[2]))
orders = next(t for t in manifest['tables'] if t['name'] == 'orders')
files = [lake + '/' + f['path'] for f in orders['files']]
print(*duckdb.sql(f'select count(*), sum(id), count(distinct t) from read_parquet({files})').fetchall()[0])
";
    let lake = place.path("lake");
    let newest = place.manifests();
    let args = [lake.to_str().unwrap(), newest[0].to_str().unwrap()];
    assert_eq!(Python::shared().run(DUCKDB, &args).trim(), "30000 450015000 30000");

    // A folder of two jobs.
    let job = fs::read_to_string(place.path("job.toml")).unwrap();
    fs::write(place.path("other.toml"), job.replace("['sales.*', ", "['sales.orders', ")).unwrap();
    let ran = run(&mut place.job(&["check", "other.toml"]));
    ran.assert_success();

    // The next run is the next link; what the first has committed stays as it is.
    place.database.execute("DELETE FROM sales.orders WHERE id > 10");
    place.run_job(&["--quiet"]).assert_success();
    place.assert_complete();
    assert_eq!(place.newest()["previous_run_id"], run_id);
    assert_eq!(place.data_files().len(), 2 * N_TABLES);
    // With one run kept, the older one is removed, when it is old enough.
    let keep = ["gc", "lake", "--keep", "1", "--older-than", "10m", "--delete"];
    run(&mut place.job(&keep)).assert_said(0, "nothing was left behind");
    age(&place);
    run(&mut place.job(&keep)).assert_said(0, "removed 27 files");
    assert_eq!((place.data_files().len(), place.manifests().len()), (N_TABLES, 1));
    place.assert_complete();
}

/// Makes all files an hour old.
fn age(place: &Place) {
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let journals = fs::read_dir(place.path("lake/_pgarrow/journals")).into_iter().flatten();
    let journals = journals.map(|file| file.unwrap().path());
    for path in place.data_files().into_iter().chain(place.manifests()).chain(journals) {
        File::options().write(true).open(&path).unwrap().set_modified(hour_ago).unwrap();
    }
}

#[test]
fn a_run_that_fails_leaves_nothing() {
    require!(Capability::Server);
    let place = Place::of_job("job_fails");
    place.run_job(&[]).assert_success();
    let before = (place.newest(), place.data_files().len());
    // A value that Arrow does not have, in one table of many.
    place.database.execute("UPDATE sales.parts SET at = 'infinity' WHERE id = 900");
    let ran = place.run_job(&["--report", "report.json"]);
    ran.assert_refused(6, &["sales.parts", "infinit"]);
    assert_eq!((place.newest(), place.data_files().len()), before);
    assert!(!place.path("lake/_pgarrow/lock.json").exists());
    let report: Value = serde_json::from_slice(&fs::read(place.path("report.json")).unwrap()).unwrap();
    assert_eq!(report["status"], "failed");
    // A choice that the file, the environment or a flag makes.
    place.write_job("[options]\ninfinity = \"error\"\n");
    place.run_job(&[]).assert_refused(6, &["sales.parts"]);
    place.run_job(&["--infinity", "null"]).assert_success();
    run(place.job(&["run", "job.toml"]).env("PGARROW_INFINITY", "saturate")).assert_success();
    place.assert_complete();
    // All problems at once, before anything is read.
    place.database.execute("CREATE TABLE sales.nothing ()");
    place.write_job("[options]\nunknown_types = \"error\"\n");
    place.run_job(&[]).assert_refused(2, &["sales.nothing has no columns"]);
    run(&mut place.job(&["check", "job.toml"])).assert_refused(2, &["sales.nothing has no columns"]);
    let job =
        fs::read_to_string(place.path("job.toml")).unwrap().replace("'public.t*'", "'public.z*', 'nowhere'");
    fs::write(place.path("job.toml"), job).unwrap();
    let ran = place.run_job(&[]);
    ran.assert_said(2, "no table matches the pattern \"public.z*\"");
    ran.assert_said(2, "there is no table \"nowhere\"");
}

#[test]
fn killed_at_twenty_moments() {
    require!(Capability::Server);
    let place = Place::of_job("job_killed");
    let mut n_killed = 0;
    for moment in 0..20 {
        let again: &[&str] = match moment % 2 {
            0 => &["--take-over"],
            _ => &["--resume", "--allow-mixed-snapshots"],
        };
        let child = start(&mut place.job(&[&["run", "job.toml", "--readers", "2"], again].concat()));
        thread::sleep(Duration::from_millis(moment * 15));
        send(&child, Signal::SIGKILL);
        if end_of(child, 60).code.is_none() {
            n_killed += 1;
        }
        if !place.manifests().is_empty() {
            place.assert_complete();
        }
    }
    assert!(n_killed > 5, "{n_killed}");
    // A run that was killed with its lock is told, and nothing is taken from it silently.
    let lock = place.path("lake/_pgarrow/lock.json");
    if lock.exists() {
        place.run_job(&[]).assert_refused(7, &["a run that is dead has left its lock", "--take-over"]);
    }
    place.run_job(&["--take-over"]).assert_success();
    assert!(!lock.exists());
    // A lock that cannot be read may be of a living run.
    fs::write(&lock, "{").unwrap();
    place.run_job(&[]).assert_refused(7, &["another run is on", "cannot be read", "--take-over"]);
    run(&mut place.job(&["gc", "lake"])).assert_refused(7, &["is no lock"]);
    fs::remove_file(&lock).unwrap();
    place.assert_complete();
    age(&place);
    let ran = run(&mut place.job(&["gc", "lake", "--keep", "1", "--delete"]));
    ran.assert_success();
    // Young or old: the default is a day.
    run(&mut place.job(&["gc", "lake", "--keep", "1", "--delete", "--older-than", "30m"])).assert_success();
    assert_eq!(place.data_files().len(), N_TABLES);
    place.assert_complete();
}

#[test]
fn a_second_run_fails_at_once() {
    require!(Capability::Server);
    let place = Place::of_job("job_twice");
    let mut client = place.database.client();
    let mut blocking = client.transaction().unwrap();
    blocking.batch_execute("LOCK TABLE sales.orders").unwrap();
    let first = start(&mut place.job(&["run", "job.toml"]));
    eventually("the first has its lock", || place.path("lake/_pgarrow/lock.json").exists());
    place.run_job(&[]).assert_refused(7, &["another run is on", "--take-over"]);
    // It lives, so its place is not taken.
    place.run_job(&["--take-over"]).assert_refused(7, &["another run is on", "it lives"]);
    blocking.rollback().unwrap();
    end_of(first, 60).assert_success();
    place.assert_complete();
    // Whose lock was taken away does not commit.
    let mut blocking = client.transaction().unwrap();
    blocking.batch_execute("LOCK TABLE sales.orders").unwrap();
    let second = start(&mut place.job(&["run", "job.toml"]));
    // Before that, it may still try whether the store keeps its lock, and would make it again.
    eventually("the second reads", || place.counts("wait_event_type = 'Lock'") > 0);
    fs::remove_file(place.path("lake/_pgarrow/lock.json")).unwrap();
    blocking.rollback().unwrap();
    end_of(second, 60).assert_refused(7, &["taken over or removed", "nothing was committed"]);
    // Whoever has taken its place may go on with its files, so it leaves them. `gc` removes them later.
    assert_eq!((place.manifests().len(), place.data_files().len()), (1, 2 * N_TABLES));
    age(&place);
    run(&mut place.job(&["gc", "lake", "--older-than", "30m", "--delete"])).assert_success();
    assert_eq!(place.data_files().len(), N_TABLES);
    place.assert_complete();
}

#[test]
fn files_that_changed_are_found() {
    require!(Capability::Server);
    let place = Place::of_job("job_verify");
    run(&mut place.job(&["gc", "."])).assert_refused(8, &["is no folder of a job"]);
    run(&mut place.job(&["verify", "lake"])).assert_refused(8, &["no manifest", "no run has committed"]);
    place.run_job(&[]).assert_success();
    let files = place.data_files();
    let verify = |says: &str| {
        let ran = run(&mut place.job(&["verify", "lake"]));
        ran.assert_said(10, "from what run");
        assert!(ran.stdout_text().contains(says), "{says}: {}", ran.stdout_text());
        let ran = run(&mut place.job(&["verify", "lake", "--json"]));
        assert_eq!(ran.code, Some(10));
        let json: Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert!(!json["differences"].as_array().unwrap().is_empty());
    };
    let (one, two) = (&files[0], &files[1]);
    let bytes = fs::read(one).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    for (changed, says) in [
        (flipped, "another SHA-256"),
        (bytes[..bytes.len() - 1].to_vec(), "bytes, and had"),
        (fs::read(two).unwrap().repeat(2), "bytes, and had"),
        (Vec::new(), "it has 0 bytes"),
    ] {
        fs::write(one, changed).unwrap();
        verify(says);
    }
    fs::remove_file(one).unwrap();
    verify("it is not there");
    fs::write(one, bytes).unwrap();
    place.assert_complete();
}

#[test]
fn a_job_file_that_init_writes_runs() {
    require!(Capability::Server);
    let place = Place::of_job("job_init");
    let ran = run(&mut place.job(&["init", place.database.url(), "-o", "made/new.toml"]));
    assert_ne!(ran.code, Some(0), "there is no folder");
    fs::create_dir(place.path("made")).unwrap();
    let init = ["init", place.database.url(), "--exclude-table", "*.tmp_*", "-o", "made/new.toml"];
    run(&mut place.job(&init)).assert_said(0, "next: pgarrow check");
    run(&mut place.job(&init)).assert_refused(7, &["exists"]);
    run(&mut place.job(&["check", "made/new.toml"])).assert_success();
    run(&mut place.job(&["run", "made/new.toml"])).assert_said(0, "26 tables");
    // A path of the file begins at the file.
    assert!(place.path("made/lake/_SUCCESS").exists() && !place.path("lake").exists());
    let text = fs::read_to_string(place.path("made/new.toml")).unwrap();
    assert!(
        text.contains("\"sales.orders\", # about 30000 rows") && text.contains(r#"../etc/\"\"x"#),
        "{text}"
    );
}

#[test]
fn options_come_from_flags_the_environment_and_the_file() {
    require!(Capability::Server);
    let place = Place::of_job("job_options");
    place.write_job(
        "[options]\nreaders = 3\nmemory = \"100M\"\nslice_bytes = \"1M\"\nset = { work_mem = \"8MB\" }\n",
    );
    let mut check = place.job(&["check", "job.toml", "--effective", "--slice-bytes", "2M"]);
    let ran = run(check.env("PGARROW_MEMORY", "64M").env("PGARROW_TRIM", "true"));
    ran.assert_success();
    let expected = "memory = 64M  # PGARROW_MEMORY\nreaders = 3  # job.toml, line 9\nset = work_mem=8MB  # job.toml, \
                    line 12\nslice_bytes = 2M  # flag\ntrim = true  # PGARROW_TRIM\n";
    assert_eq!(ran.stdout_text(), expected);
    // Readers that cannot be are those of the last word.
    run(place.job(&["run", "job.toml", "--readers", "1"]).env("PGARROW_READERS", "2")).assert_success();
    for (lines, variable, args, says) in [
        ("[options]\nreaders = 0\n", "", &[][..], "job.toml, line 9: invalid value '0'"),
        (
            "[options]\nreader = 1\n",
            "",
            &[],
            "job.toml, line 9: \"reader\" is not an option; did you mean \"readers\"?",
        ),
        ("[options]\nsplit_on = \"id\"\n", "", &[], "job.toml, line 9: \"split_on\" is not an option"),
        ("", "many", &[], "PGARROW_READERS: invalid value 'many'"),
        ("", "", &["--readers", "none"], "invalid value 'none'"),
        ("format = \"csv\"\n", "", &[], "the format \"csv\" is not parquet, ipc or ipc-stream"),
        (
            "format = \"ipc\"\n[options]\nrow_group_rows = 5\n",
            "",
            &[],
            "row_group_rows is for the format parquet",
        ),
        ("file_name = \"{schema}\"\n", "", &[], "without {table}"),
        ("file_name = \"{table}\"\n[options]\nfile_size = \"1M\"\n", "", &[], "no {index}"),
        ("file_name = \"x/{table}/../y\"\n", "", &[], "cannot be used"),
    ] {
        place.write_job(lines);
        let mut job = place.job(&[&["run", "job.toml"], args].concat());
        if !variable.is_empty() {
            job.env("PGARROW_READERS", variable);
        }
        let ran = run(&mut job);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(says), "{says}: {}", ran.stderr);
    }
    // The last word wins as a whole, and secrets of variables are not shown.
    place.write_job("[options]\ntrim = true\nset = [\"work_mem=${CANARY}\"]\ncolumn = [\"a:text\"]\n");
    let mut check = place.job(&["check", "job.toml", "--effective", "--column", "b:text"]);
    let ran = run(check.env("CANARY", "9MB").env("PGARROW_TRIM", "false"));
    let expected = "column = b:text  # flag\nset = work_mem=${CANARY}  # job.toml, line 10\ntrim = false  # PGARROW_TRIM\n";
    assert_eq!(ran.stdout_text(), expected);
    place.write_job("[options]\nreaders = \"${CANARY}\"\n");
    let ran = run(place.job(&["run", "job.toml"]).env("CANARY", "canary"));
    ran.assert_refused(2, &["job.toml, line 9: what its variables have is no value for readers"]);
    assert!(!ran.stderr.contains("canary"), "{}", ran.stderr);
    place.write_job("");
    place.run_job(&["--report", "job.toml"]).assert_refused(2, &["--report and the job file"]);
    place.run_job(&["--report", "lake/r.json"]).assert_refused(2, &["in the folder of the job"]);
    place.run_job(&["nothing"]).assert_said(2, "unexpected argument 'nothing'");
    run(&mut place.job(&["run", "none.toml"])).assert_refused(2, &["none.toml", "cannot be read"]);
    // URLs of stores, and secrets in them.
    place.write_job("file_name = \"x/{table}/../y\"\n");
    let job =
        fs::read_to_string(place.path("job.toml")).unwrap().replace("\"lake\"", "\"ftp://me:canary@h/x\"");
    fs::write(place.path("job.toml"), job.replace("x/{table}/../y", "{table}")).unwrap();
    let ran = place.run_job(&[]);
    assert!(ran.code != Some(0) && !ran.stderr.contains("canary"), "{ran:?}");
}

#[test]
fn tables_in_several_files_and_other_formats() {
    require!(Capability::Server, Capability::Python);
    let place = Place::of_job("job_files");
    place.write_job("file_name = \"{date}/{run}/{schema}.{table}-{index:03}\"\n[options]\nfile_size = \"100K\"\nrow_group_rows = 2000\n");
    place.run_job(&[]).assert_success();
    place.assert_complete();
    let manifest = place.newest();
    let orders =
        manifest["tables"].as_array().unwrap().iter().find(|table| table["name"] == "orders").unwrap();
    let files = orders["files"].as_array().unwrap();
    assert!(files.len() > 2, "{orders}");
    let path = files[1]["path"].as_str().unwrap();
    assert!(path.starts_with("2") && path.ends_with("/sales.orders-001.parquet"), "{path}");

    place.write_job("format = \"ipc\"\n");
    place.run_job(&[]).assert_success();
    let manifest = place.newest();
    let paths =
        manifest["tables"].as_array().unwrap().iter().flat_map(|table| table["files"].as_array().unwrap());
    let paths: Vec<_> = paths.map(|file| file["path"].as_str().unwrap()).collect();
    assert!(paths.len() == N_TABLES && paths.iter().all(|path| path.ends_with(".arrow")), "{paths:?}");
    const PYARROW: &str = "
import sys, pyarrow.ipc as ipc
print(ipc.open_file(sys.argv[1]).read_all().num_rows)
";
    let orders = paths.iter().find(|path| path.contains("orders")).unwrap();
    let orders = place.path("lake").join(Path::new(orders));
    assert_eq!(Python::shared().run(PYARROW, &[orders.to_str().unwrap()]).trim(), "30000");
}

/// Formerly two runs could have committed there at once: each of them would have made its lock and its
/// manifest.
#[test]
fn a_store_that_ignores_conditions_is_refused() {
    require!(Capability::Server);
    let Some(rclone) = Emulator::s3_without_conditions() else { return };
    rclone.make_bucket("jobs");
    let place = Place::of_job("job_rclone");
    let job = fs::read_to_string(place.path("job.toml")).unwrap().replace("\"lake\"", "\"s3://jobs/lake\"");
    fs::write(place.path("job.toml"), job).unwrap();
    for args in [&["run", "job.toml"][..], &["run", "job.toml", "--take-over"]] {
        let ran = run(place.job(args).envs(rclone.environment()));
        ran.assert_refused(7, &["s3://jobs/lake", "ignores conditional writes", "nothing was written"]);
        // Neither a lock nor a file.
        let gc = run(place.job(&["gc", "s3://jobs/lake"]).envs(rclone.environment()));
        assert!(!gc.stderr.contains("another run"), "{gc:?}");
        assert!(rclone.names("jobs").is_empty(), "{:?}", rclone.names("jobs"));
    }
}

/// S3 answers 400 then, which said "check the name and the settings of the store".
#[test]
fn credentials_that_expire_end_the_run_and_it_is_resumed() {
    require!(Capability::Server);
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("expiring");
    let is_expired = Arc::new(AtomicBool::new(false));
    let n_stored = AtomicUsize::new(0);
    let for_front = Arc::clone(&is_expired);
    let front = Front::start(moto.port(), move |request| {
        // The lock comes first, and is tried twice more.
        if request.is("PUT", ".parquet") && n_stored.fetch_add(1, Ordering::Relaxed) == 9 {
            for_front.store(true, Ordering::Relaxed);
        }
        match for_front.load(Ordering::Relaxed) {
            true => Fate::Answer(s3_error("400 Bad Request", "ExpiredToken", "canary")),
            false => Fate::Pass,
        }
    });
    let place = Place::of_job("job_expiring");
    let job = fs::read_to_string(place.path("job.toml")).unwrap();
    fs::write(place.path("job.toml"), job.replace("\"lake\"", "\"s3://expiring/lake\"")).unwrap();
    let with_s3 = |args: &[&str]| run(place.job(args).envs(s3_environment(front.port())));
    let ran = with_s3(&["run", "job.toml", "--readers", "1"]);
    ran.assert_refused(7, &["s3://expiring/lake/", "400 ExpiredToken", "renew them, and start again"]);
    // It sent people to the rights of a folder, and said nothing of what was complete.
    ran.assert_said(7, "tables that are complete are there for a run that goes on (--resume)");
    assert!(!ran.stderr.contains("canary") && !ran.stderr.contains("rights of the folder"), "{ran:?}");
    // Its lock is there, as nothing can be removed, and so are its complete tables.
    is_expired.store(false, Ordering::Relaxed);
    with_s3(&["run", "job.toml"]).assert_refused(7, &["a run that is dead has left its lock"]);
    let ran = with_s3(&["run", "job.toml", "--resume", "--allow-mixed-snapshots"]);
    ran.assert_said(0, "26 tables, ");
    with_s3(&["verify", "s3://expiring/lake"]).assert_said(0, "26 files with ");
}

#[test]
fn a_job_goes_to_an_object_store() {
    require!(Capability::Server);
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("jobs");
    let place = Place::of_job("job_s3");
    let job = fs::read_to_string(place.path("job.toml")).unwrap().replace("\"lake\"", "\"s3://jobs/lake\"");
    fs::write(place.path("job.toml"), job).unwrap();
    let with_s3 = |args: &[&str]| {
        let mut command = place.job(args);
        command.envs(moto.environment());
        command
    };
    run(&mut with_s3(&["verify", "s3://jobs/lake"]))
        .assert_refused(8, &["s3://jobs/lake", "no run has committed"]);
    // Files take up memory on their way.
    let ran = run(&mut with_s3(&["run", "job.toml", "--memory", "64M", "--readers", "8"]));
    ran.assert_refused(2, &["on their way to s3://jobs/lake", "--memory", "--readers"]);
    run(&mut with_s3(&["run", "job.toml"])).assert_said(0, "26 tables, ");
    run(&mut with_s3(&["verify", "s3://jobs/lake"])).assert_said(0, "26 files with ");
    assert!(!place.path("s3:").exists());
    // Killed wherever it is: never half a manifest, and the next run takes over.
    for moment in 0..5 {
        let child = start(&mut with_s3(&["run", "job.toml", "--take-over"]));
        thread::sleep(Duration::from_millis(100 + moment * 150));
        send(&child, Signal::SIGKILL);
        end_of(child, 60);
        run(&mut with_s3(&["verify", "s3://jobs/lake"])).assert_said(0, "26 files with ");
    }
    // A run that fails removes what it has stored.
    place.database.execute("UPDATE sales.parts SET at = 'infinity' WHERE id = 900");
    run(&mut with_s3(&["run", "job.toml", "--take-over"])).assert_refused(6, &["sales.parts"]);
    run(&mut with_s3(&["run", "job.toml", "--infinity", "null"])).assert_said(0, "26 tables, ");
    let ran = run(&mut with_s3(&["gc", "s3://jobs/lake", "--keep", "1", "--older-than", "24h", "--delete"]));
    ran.assert_said(0, "nothing was left behind");
    run(&mut with_s3(&["verify", "s3://jobs/lake"])).assert_said(0, "26 files with ");
    let ran = run(&mut with_s3(&["verify", "s3://nowhere/lake"]));
    assert_eq!(ran.code, Some(7), "{ran:?}");
    assert!(ran.stderr.contains("s3://nowhere/lake") && !ran.stderr.contains("canary"), "{}", ran.stderr);
}
