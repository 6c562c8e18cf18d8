//! From server to server, through the public interface alone.

use std::sync::Mutex;

use pgarrow::load::{Load, LoadMode, LoadOptions};
use pgarrow::{Error, ErrorKind, ExportOptions, OpaqueColumns, copy_table};
use pgarrow_testkit::{Capability, require};

use crate::support::{database, source, url, wait_until_no_sessions};

#[test]
fn a_table_is_copied_or_nothing_is() {
    require!(Capability::Server);
    let (from, to) = (
        database(
            "copy from",
            "CREATE TABLE t AS SELECT g AS id, int4range(g, g + 1) AS span, ARRAY[g, NULL] AS list \
             FROM generate_series(1, 20000) AS g",
        ),
        database("copy to", "CREATE TABLE u (id int CHECK (id < 20000), span int4range, list int[])"),
    );
    let source = source(&from);
    let into = |table: &str, mode| {
        let options = LoadOptions::default().with_mode(mode);
        Load::into(&url(&to), table).unwrap().options(options)
    };
    let two = || ExportOptions::default().with_readers(2).with_slice_bytes(256 << 10);
    let copied = copy_table(source.table("t").options(two()), into("t", LoadMode::Create)).unwrap();
    assert_eq!((copied.export.rows, copied.load.rows), (20_000, 20_000));
    let sum = "SELECT md5(string_agg(t::text, ';' ORDER BY id)) FROM t";
    let of = |database: &pgarrow_testkit::Database| {
        database.client().query_one(sum, &[]).unwrap().get::<_, String>(0)
    };
    assert_eq!(of(&from), of(&to));

    let refused = copy_table(source.table("t").options(two()), into("u", LoadMode::Append)).unwrap_err();
    assert_eq!((refused.kind(), refused.sqlstate()), (ErrorKind::Server, Some("23514")), "{refused}");
    let count = to.client().query_one("SELECT count(*) FROM u", &[]).unwrap().get::<_, i64>(0);
    assert_eq!(count, 0);
}

/// Somebody else knows which columns stay undecoded, and may have failed to find out.
#[test]
fn columns_that_somebody_will_know() {
    require!(Capability::Server);
    let database = database("copy opaque", "CREATE TABLE t (id int, span int4range)");
    let source = source(&database);
    let all = || source.table("t").with_opaque_from(|| Ok(OpaqueColumns::all()));
    let schema = source.table("t").with_opaque(OpaqueColumns::all()).open().unwrap().schema().clone();
    assert_eq!(all().open().unwrap().schema(), &schema);
    assert_eq!(all().describe().unwrap().schema, schema);
    assert_ne!(source.table("t").open().unwrap().schema(), &schema);

    let failed = || Err(Error::new(ErrorKind::Connection, "nobody knows"));
    let extract = || source.table("t").with_opaque_from(failed);
    for error in [extract().open().unwrap_err(), extract().describe().unwrap_err()] {
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Connection, "nobody knows"));
    }
    let unknown = copy_table(source.table("t"), Load::into(&url(&database), "u").unwrap()).unwrap_err();
    assert!(unknown.to_string().starts_with("there is no table \"u\""), "{unknown}");
}

/// A target may have to be waited for, and whoever has it locked may want the source next. A query used to be
/// explained before, which locks what it reads.
#[test]
fn nothing_is_locked_while_a_target_is_looked_at() {
    require!(Capability::Server);
    let database = database("copy unlocked", "CREATE TABLE t (id int)");
    let source = source(&database);
    let query = || source.query("SELECT id FROM t WHERE id > 0");
    for extract in [source.table("t"), query(), query().options(ExportOptions::default().with_readers(1))] {
        let client = Mutex::new(database.client());
        let run = extract.with_opaque_from(move || {
            let sql = "SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass";
            let n_locks = client.lock().unwrap().query_one(sql, &[]).unwrap().get::<_, i64>(0);
            assert_eq!(n_locks, 0);
            Ok(OpaqueColumns::default())
        });
        assert_eq!(run.open().unwrap().schema().fields().len(), 1);
        // What it has locked then is not the next one's.
        wait_until_no_sessions(&database);
    }
}
