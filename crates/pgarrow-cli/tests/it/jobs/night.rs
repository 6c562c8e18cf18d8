//! A database in nights: killed and resumed, then only new rows, with writers all the time. Whatever the
//! newest manifest says is what SELECT gave under the snapshot that it names.
//!
//! Rows carry the transaction that wrote them, and nothing is changed or deleted. So what a snapshot saw can
//! still be asked for: `pg_visible_in_snapshot`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use pgarrow_testkit::{Capability, Emulator, Python, require};

use crate::signals::send;
use crate::support::{Place, Ran, command, end_of, run, start};

/// What differs between a run of all tests and one of `PGARROW_TEST_FAULTS=all`.
struct Size {
    tables: u32,
    rows_max: u32,
    kills: u32,
}

impl Size {
    fn wanted() -> Self {
        match std::env::var_os("PGARROW_TEST_FAULTS").is_some_and(|faults| faults == "all") {
            true => Self { tables: 187, rows_max: 1_000_000, kills: 20 },
            false => Self { tables: 17, rows_max: 20_000, kills: 2 },
        }
    }
}

/// Tables `night.t1` and so on, among them empty ones, and one with `rows_max` rows; some with hostile names.
fn tables(size: &Size) -> String {
    let Size { tables, rows_max, .. } = size;
    format!(
        r#"CREATE SCHEMA night;
        CREATE FUNCTION night.name(i int) RETURNS text LANGUAGE sql IMMUTABLE AS $f$
          SELECT CASE i % 9 WHEN 1 THEN '../' WHEN 2 THEN 'ü "' WHEN 3 THEN 'T' ELSE 't' END || i $f$;
        DO $$ BEGIN FOR i IN 1..{tables} LOOP
          EXECUTE format('CREATE TABLE night.%I (id bigint PRIMARY KEY, tx xid8 DEFAULT pg_current_xact_id(), t text,
            at timestamptz DEFAULT now(), d numeric(12,2), list int[])', night.name(i));
          EXECUTE format('INSERT INTO night.%I SELECT g, DEFAULT, md5(g::text), DEFAULT, g / 4.0, ARRAY[g, NULL]
            FROM generate_series(1, %s) AS g', night.name(i),
            CASE WHEN i = 5 THEN {rows_max} WHEN i % 20 = 0 THEN {rows_max} / 20 WHEN i % 7 = 0 THEN 0 ELSE i * 5 END);
        END LOOP; END $$;
        CREATE SEQUENCE night.ids START 2000000; ANALYZE"#
    )
    .replace("g, DEFAULT, md5(g::text), DEFAULT,", "g, pg_current_xact_id(), md5(g::text), now(),")
}

/// Rows in three tables by one transaction, one of them by a subtransaction.
fn write(client: &mut pgarrow_testkit::postgres::Client, tables: u32, n: u32) {
    let names = [n * 7 % tables + 1, n * 11 % tables + 1, 5];
    let mut sql = "BEGIN".to_owned();
    for (at, number) in names.into_iter().enumerate() {
        let savepoint = if at == 1 { "; SAVEPOINT s" } else { "" };
        sql.push_str(&format!(
            "{savepoint}; DO $$ BEGIN EXECUTE format('INSERT INTO night.%I (id, t) VALUES (nextval(''night.ids''), ''new'')', \
             night.name({number})); END $$"
        ));
    }
    client.batch_execute(&format!("{sql}; COMMIT")).unwrap();
}

/// Each table's newest increment, rows, different ids and their sum, as the files of the newest manifest have
/// them.
const READ: &str = r#"
import json, sys
import pyarrow as pa, pyarrow.compute as pc, pyarrow.fs as fs, pyarrow.parquet as pq
place, port = sys.argv[1:]
store = fs.LocalFileSystem()
if port:
    store = fs.S3FileSystem(endpoint_override=f"127.0.0.1:{port}", scheme="http", access_key="someone",
                            secret_key="canary", region="us-east-1", allow_bucket_creation=False)
manifests = store.get_file_info(fs.FileSelector(place + "/_pgarrow/manifests", allow_not_found=True))
newest = max((info.path for info in manifests if info.path.endswith(".json")), default=None)
if newest:
    for table in json.loads(store.open_input_stream(newest).read())["tables"]:
        if table["schema"] != "night":
            continue
        ids = [pq.read_table(store.open_input_file(place + "/" + file["path"]), columns=["id"])["id"]
               for file in table["files"]]
        ids = pa.chunked_array([chunk for column in ids for chunk in column.chunks], pa.int64())
        different = pc.unique(ids)
        newest = table["increments"][-1]
        print(table["name"], newest["snapshot"], newest["mode"], len(ids), len(different),
              pc.sum(different).as_py() or 0, sep="\t")
"#;

/// Where a job of a night goes.
struct Night<'a> {
    place: &'a Place,
    store: Option<&'static Emulator>,
    size: &'a Size,
}

impl Night<'_> {
    fn to(&self) -> &'static str {
        if self.store.is_some() { "s3://nights/lake" } else { "lake" }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = command(self.place.folder.path());
        command.args(args);
        if let Some(store) = self.store {
            command.envs(store.environment());
        }
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        run(&mut self.command(&[&["run", "night.toml"], args].concat()))
    }

    fn write_job(&self, lines: &str) {
        let job = format!(
            "[source]\nconnection = \"{}\"\ntables = ['night.*', 'every_type.*']\n\
             [destination]\npath = \"{}\"\n\
             [options]\nreaders = 2\nmemory = \"128M\"\nfile_size = \"8M\"\n\
             infinity = \"null\"\nnan = \"null\"\nout_of_range = \"null\"\narrays = \"shaped\"\n{lines}",
            self.place.database.url(),
            self.to()
        );
        fs::write(self.place.path("night.toml"), job).unwrap();
    }

    /// The newest manifest, if there is one, has each table as its snapshot saw it, and `is_once`: each row
    /// once. Returns how the tables' newest increments were read, by the tables' names.
    #[track_caller]
    fn assert_as_seen(&self, is_once: bool) -> BTreeMap<String, String> {
        let port = self.store.map_or(String::new(), |store| store.port().to_string());
        let place = match self.store {
            Some(_) => "nights/lake".to_owned(),
            None => self.place.path("lake").to_str().unwrap().to_owned(),
        };
        let read = Python::shared().run(READ, &[&place, &port]);
        let mut client = self.place.database.client();
        let mut found = BTreeMap::new();
        for line in read.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [name, snapshot, mode, rows, ids, sum] = fields[..] else { panic!("{line:?}") };
            let quoted = name.replace('"', "\"\"");
            let sql = format!(
                "SELECT count(*), coalesce(sum(id), 0)::int8 FROM night.\"{quoted}\" \
                 WHERE pg_visible_in_snapshot(tx, '{snapshot}')"
            );
            let row = client.query_one(&sql, &[]).unwrap();
            let seen = (row.get::<_, i64>(0).to_string(), row.get::<_, i64>(1).to_string());
            assert_eq!((ids, sum), (seen.0.as_str(), seen.1.as_str()), "{name}: {snapshot}");
            assert!(!is_once || rows == ids, "{name} has rows twice: {rows}, {ids}");
            found.insert(name.to_owned(), mode.to_owned());
        }
        assert!(found.is_empty() || found.len() == self.size.tables as usize, "{} tables", found.len());
        found
    }

    fn nights(&self) {
        self.write_job("");
        let begun = Instant::now();
        self.run(&[]).assert_success();
        let whole = begun.elapsed();
        assert!(!self.assert_as_seen(true).is_empty());

        let mut n_killed = 0;
        for n in 0..self.size.kills {
            // All over the time that a run takes, in no order.
            let moment = whole.mul_f64(f64::from(n) * 0.618 % 1.0);
            let again: &[&str] = match n % 2 {
                0 => &["--take-over"],
                _ => &["--resume", "--allow-mixed-snapshots"],
            };
            let child = start(&mut self.command(&[&["run", "night.toml"], again].concat()));
            thread::sleep(moment);
            send(&child, Signal::SIGKILL);
            n_killed += u32::from(end_of(child, 300).code.is_none());
            self.assert_as_seen(true);
            self.run(&["--resume", "--allow-mixed-snapshots"]).assert_success();
            assert!(!self.assert_as_seen(true).is_empty());
        }
        assert!(n_killed > 0, "each run was over before it was killed");

        self.write_job("[[table]]\nname = 'night.*'\nincremental = 'xmin'\n");
        for n in 0..3 {
            self.run(&[]).assert_success();
            let found = self.assert_as_seen(n == 0);
            run(&mut self.command(&["verify", self.to()])).assert_success();
            let mode = if n == 0 { "full" } else { "xmin" };
            assert!(found.values().all(|found| found == mode), "{n}: {found:?}");
        }
    }

    /// Nobody writes now, so the files are what the server has.
    fn assert_same(&self) {
        self.run(&["--full"]).assert_success();
        let full = ["verify", self.to(), self.place.database.url(), "--full", "--memory", "128M"];
        run(&mut self.command(&full)).assert_said(0, "are what the server has");
    }
}

fn nights_to(hint: &str, store: Option<&'static Emulator>) {
    let size = Size::wanted();
    let place = Place::new(hint);
    let types = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/every_type.sql");
    place.database.execute(&fs::read_to_string(types).unwrap());
    place.database.execute(&tables(&size));
    let night = Night { place: &place, store, size: &size };
    let is_over = AtomicBool::new(false);
    let result = thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = place.database.client();
            let mut n = 0;
            while !is_over.load(Ordering::Relaxed) {
                write(&mut client, size.tables, n);
                n += 1;
                // A writer as there are many, and not all that the machine can do.
                thread::sleep(Duration::from_millis(10));
            }
            n
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| night.nights()));
        is_over.store(true, Ordering::Relaxed);
        result
    });
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    night.assert_same();
}

#[test]
fn nights_in_a_folder() {
    require!(Capability::Server, Capability::Python);
    nights_to("nights", None);
}

#[test]
fn nights_in_an_object_store() {
    require!(Capability::Server, Capability::Python);
    let Some(moto) = Emulator::s3() else { return };
    moto.make_bucket("nights");
    nights_to("nights_s3", Some(moto));
}
