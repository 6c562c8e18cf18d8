//! From server to server, through the public interface alone.

use pgarrow::load::{Load, LoadMode, LoadOptions};
use pgarrow::{ErrorKind, ExportOptions, copy_table};
use pgarrow_testkit::{Capability, require};

use crate::support::{database, source, url};

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
