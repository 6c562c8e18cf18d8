//! Restart keys made from files, and files that have changed.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_ipc::writer::FileWriter;
use pgarrow_export::{ErrorKind, Result};
use pgarrow_load::input::Input;
use pgarrow_load::{LoadMode, LoadOptions, LoadReport, OnConflict};
use pgarrow_testkit::Database;

use crate::support::{database, load, refusal, value};

fn write(path: &Path, rows: i64) {
    let x = Arc::new(Int64Array::from_iter_values(0..rows)) as ArrayRef;
    let batch = RecordBatch::try_from_iter([("x", x)]).unwrap();
    let mut writer = FileWriter::try_new(File::create(path).unwrap(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
}

/// Loads the files in parts of ten rows under this key, or the files' own key. With `is_broken_off`, drops
/// the load instead of finishing it.
fn run(
    database: &Database,
    paths: &[&Path],
    key: Option<&str>,
    options: LoadOptions,
    is_broken_off: bool,
) -> Result<LoadReport> {
    let input = Input::open(paths, None).unwrap();
    let key = key.map_or_else(|| input.restart_key("t").unwrap(), str::to_owned);
    let options = options.with_commit_every(10).with_restart_key(key);
    let mut loading = load(database, "public.t", options).open(Arc::clone(input.schema()))?;
    for batch in input {
        loading.write(&batch.unwrap())?;
    }
    if is_broken_off {
        drop(loading);
        return Err(pgarrow_export::Error::new(ErrorKind::Sink, "broken off"));
    }
    loading.finish()
}

/// Regression: the file had another time and so another key without a mark, and its rows were added to those
/// already there.
#[test]
fn a_file_that_was_copied_again_doubles_no_rows() {
    let folder = tempfile::tempdir().unwrap();
    let [it_s, other] = ["it's here.arrow", "other.arrow"].map(|name| folder.path().join(name));
    write(&it_s, 25);
    write(&other, 5);
    let database = database("keys_files", "CREATE TABLE t (x int8)");
    let options = LoadOptions::default;
    run(&database, &[&it_s], None, options(), true).unwrap_err();
    let count = || value(&database, "SELECT count(*)::text FROM t");
    assert_eq!(count(), "20");
    let key = value(&database, "SELECT load FROM pgarrow_load_marks");

    let later = File::open(&it_s).unwrap().metadata().unwrap().modified().unwrap() + Duration::from_secs(1);
    File::options().write(true).open(&it_s).unwrap().set_modified(later).unwrap();
    let two = [it_s.as_path(), other.as_path()];
    for paths in [&two[..1], &two] {
        let error = refusal(run(&database, paths, None, options(), false));
        assert_eq!(error.kind(), ErrorKind::Options, "{error}");
        assert!(error.to_string().contains("public.t has the first 20 rows"), "{error}");
        assert!(error.to_string().contains(&format!("restart_key={key}")), "{error}");
        let doubled = key.replace('\'', "''");
        assert!(
            error.to_string().contains(&format!("pgarrow_load_marks WHERE load = '{doubled}'")),
            "{error}"
        );
    }
    assert_eq!(count(), "20");
    // Other files are not affected, a chosen key is the user's responsibility, and neither a truncated table
    // nor existing rows are doubled.
    database.execute("CREATE TABLE before AS TABLE t; CREATE TABLE marks AS TABLE pgarrow_load_marks");
    let as_before = "DELETE FROM t; INSERT INTO t TABLE before; DELETE FROM pgarrow_load_marks; \
         INSERT INTO pgarrow_load_marks TABLE marks";
    database.execute("ALTER TABLE t ADD UNIQUE (x)");
    let upsert = options().with_mode(LoadMode::Upsert).with_key(["x"]);
    let skip = options().with_on_conflict(OnConflict::Skip).with_key(["x"]);
    for (paths, key, options, rows) in [
        (&two[..1], None, options().with_mode(LoadMode::Truncate), 25),
        (&two[..1], None, upsert, 25),
        (&two[..1], None, skip, 25),
        (&two[..1], Some(key.as_str()), options(), 25),
    ] {
        run(&database, paths, key, options, false).unwrap();
        assert_eq!(count(), rows.to_string());
        database.execute(as_before);
    }
    database.execute("ALTER TABLE t DROP CONSTRAINT t_x_key");
    for (paths, key, rows) in [(&two[1..], None, 25), (&two[..1], Some("own"), 45)] {
        run(&database, paths, key, options(), false).unwrap();
        assert_eq!(count(), rows.to_string());
        database.execute(as_before);
    }
    // The other advice: delete the mark and start again.
    database.execute("DELETE FROM pgarrow_load_marks; TRUNCATE t");
    run(&database, &two[..1], None, options(), false).unwrap();
    assert_eq!(count(), "25");
}
