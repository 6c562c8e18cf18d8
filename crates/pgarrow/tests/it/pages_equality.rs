//! Heap pages against COPY: the same batches under the same snapshot, for any table.
//!
//! Tables of other tests are compared, too: `support::assert_table` and the differential test of types call
//! [`assert_same`].

pub(crate) mod compare;

use std::fs;
use std::path::Path;

use pgarrow::{
    ArrayForm, ColumnOptions, ExportOptions, InfinityPolicy, IntervalForm, NanPolicy, NumericForm,
    OutOfRangePolicy, ReadMode, StringForm, TypeOptions,
};
use pgarrow_testkit::{Capability, Database, TestServer, capability, require};

use crate::differential;
use crate::support::{database, server_text, source, wait_until, wait_until_no_sessions};
use compare::{Compared, Heaps, Held, Way, by_runs, pageinspect};

/// The default, and choices that change values, errors and Arrow types.
pub(crate) fn choices() -> [TypeOptions; 3] {
    let default = TypeOptions::default();
    let nulls = TypeOptions {
        infinity: InfinityPolicy::Null,
        nan: NanPolicy::Null,
        out_of_range: OutOfRangePolicy::Null,
        arrays: ArrayForm::Shaped,
        interval: IntervalForm::Struct,
        ..default
    };
    let others = TypeOptions {
        infinity: InfinityPolicy::Saturate,
        out_of_range: OutOfRangePolicy::Saturate,
        nan: NanPolicy::Null,
        numeric: NumericForm::Float64,
        strings: StringForm::View,
        trim: true,
        ..default
    };
    [default, nulls, others]
}

/// Reads a table in many ways by COPY and by pages, as it is and after VACUUM (FREEZE), and compares.
#[track_caller]
pub(crate) fn assert_same(database: &Database, table: &str) {
    assert_same_with(database, table, TypeOptions::default());
}

/// The same, with choices about types.
#[track_caller]
pub(crate) fn assert_same_with(database: &Database, table: &str, types: TypeOptions) {
    let plain = Way { types, ..Way::plain() };
    let ordered = Way { types, ..Way::in_slices(true) };
    let unordered = Way { types, ..Way::in_slices(false) };
    assert_ways(database, table, std::slice::from_ref(&ordered));
    freeze(database, table);
    assert_ways(database, table, &[plain, ordered, unordered]);
}

/// Makes all pages of a table and of its partitions and children all-visible.
///
/// A session's snapshot, for example that of a new session, may contain an unfinished transaction of any
/// database. Then VACUUM does not consider new rows visible to all.
pub(crate) fn freeze(database: &Database, table: &str) {
    // VACUUM of a parent leaves its children alone.
    let tree = format!(
        "WITH RECURSIVE tree AS (SELECT '{}'::regclass::oid AS oid UNION SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = oid) \
         SELECT string_agg(oid::regclass::text, ', ') FROM tree",
        table.replace('\'', "''")
    );
    let tree = server_text(&mut database.client(), &tree)[0][0].clone().unwrap();
    wait_until("all pages are all-visible", || {
        database.execute(&format!("VACUUM (FREEZE, DISABLE_PAGE_SKIPPING) {tree}"));
        let heaps = Heaps::of(database, table);
        // Since PostgreSQL 16, a heap grows by more pages than it uses at once; unused pages stay as they
        // are.
        heaps.all_visible + heaps.unused == heaps.blocks
    });
}

/// Compares in each of these ways, and asserts that pages were read where that is possible.
#[track_caller]
pub(crate) fn assert_ways(database: &Database, table: &str, ways: &[Way]) -> Compared {
    let heaps = Heaps::of(database, table);
    let source = source(database);
    let mut last = Compared::default();
    for way in ways {
        last = by_runs(&source, table, way).unwrap_or_else(|text| panic!("{table}, {way:?}: {text}"));
        assert_read(&last, heaps, &format!("{table}, {way:?}"));
    }
    last
}

/// Asserts that all pages were decoded as stored, if all are all-visible and all their values are decoded.
#[track_caller]
pub(crate) fn assert_read(compared: &Compared, heaps: Heaps, about: &str) {
    if heaps.must_all_be_read() && compared.error.is_none() {
        assert_eq!((compared.pages, compared.copied), (heaps.blocks, 0), "{about}: {heaps:?}, {compared:?}");
    }
}

fn every_type() -> (Database, Vec<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/every_type.sql");
    let database = TestServer::shared().fresh_database("pages_every");
    database.execute(&fs::read_to_string(path).unwrap());
    let sql = "SELECT c.oid::regclass::text FROM pg_class AS c WHERE relkind IN ('r', 'm', 'p') \
               AND relnamespace = 'every_type'::regnamespace ORDER BY 1";
    let tables = server_text(&mut database.client(), sql).into_iter().map(|row| row[0].clone().unwrap());
    let tables = tables.collect::<Vec<_>>();
    assert!(tables.len() > 12, "{tables:?}");
    (database, tables)
}

#[test]
fn every_table_of_every_type() {
    // A decimal with a negative scale came with PostgreSQL 15.
    require!(
        Capability::Superuser,
        Capability::Extension("pageinspect"),
        Capability::VersionAtLeast(150_000)
    );
    let (database, tables) = every_type();
    let mut n_errors = 0;
    for table in &tables {
        for types in choices() {
            assert_same_with(&database, table, types);
            for batch_rows in [1, 2, 3] {
                let way = Way { types, batch_rows, ..Way::plain() };
                n_errors += usize::from(assert_ways(&database, table, &[way]).error.is_some());
            }
        }
    }
    assert!(n_errors > 0, "values that stop the run are among them");
}

#[test]
fn columns_one_by_one_and_in_other_orders() {
    // A decimal with a negative scale came with PostgreSQL 15.
    require!(
        Capability::Superuser,
        Capability::Extension("pageinspect"),
        Capability::VersionAtLeast(150_000)
    );
    let (database, tables) = every_type();
    database.execute("VACUUM (FREEZE)");
    pageinspect(&database);
    let types = choices()[1];
    for table in &tables {
        let sql = format!(
            "SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped \
             ORDER BY attnum DESC"
        );
        let names: Vec<String> = server_text(&mut database.client(), &sql)
            .into_iter()
            .map(|row| row[0].clone().unwrap())
            .collect();
        let alone = names.iter().map(|name| vec![name.clone()]);
        let ways: Vec<Way> = alone
            .chain([names.clone()])
            .map(|columns| Way { columns: Some(columns), types, ..Way::plain() })
            .collect();
        let source = source(&database);
        for way in &ways {
            by_runs(&source, table, way).unwrap_or_else(|text| panic!("{table}, {way:?}: {text}"));
        }
    }
}

#[test]
fn the_queries_of_the_golden_streams_as_tables() {
    require!(Capability::Superuser, Capability::Extension("pageinspect"));
    let test = capability::test_name("pages_equality");
    let database = TestServer::shared().fresh_database("pages_golden");
    let mut n_tables = 0;
    for (number, name) in crate::golden::names().into_iter().enumerate() {
        let sql = crate::golden::sql(&name);
        if !crate::golden::can_make(&sql, &test) {
            continue;
        }
        database.execute(&sql.setup);
        let create = format!("CREATE TABLE g{number} AS {}", sql.query);
        if database.client().batch_execute(&create).is_err() {
            // A pseudo-type, or two columns of one name.
            continue;
        }
        n_tables += 1;
        assert_same_with(&database, &format!("g{number}"), sql.choices.apply(TypeOptions::default()));
    }
    assert!(n_tables > 80, "{n_tables}");
}

/// Compares a table. `is_all_read`: all of its pages must be decoded as stored after VACUUM (FREEZE).
#[track_caller]
fn assert_made(hint: &str, sql: &str, is_all_read: bool) {
    let database = database(hint, sql);
    assert_same(&database, "e");
    let heaps = Heaps::of(&database, "e");
    let compared = assert_ways(&database, "e", &[Way::plain()]);
    assert!(compared.pages > 0 && heaps.blocks > 0, "{compared:?}");
    assert_eq!(compared.copied == 0, is_all_read, "{heaps:?}, {compared:?}");
}

macro_rules! made {
    ($($test:ident: $is_all_read:literal, $sql:expr;)*) => {$(
        #[test]
        fn $test() {
            require!(Capability::Superuser, Capability::Extension("pageinspect"));
            assert_made(stringify!($test), $sql, $is_all_read);
        }
    )*};
}

made! {
    rows_with_and_without_null_bitmaps: true,
        "CREATE TABLE e AS SELECT g AS a, CASE WHEN g % 3 > 0 THEN g::int2 END AS b, g::text AS c, \
           CASE WHEN g % 2 = 0 THEN g::int8 END AS d, g % 2 = 0 AS e, CASE WHEN g % 5 > 0 THEN repeat('x', g % 200) END AS f, \
           g::float8 AS g, (g % 99)::\"char\" AS h, CASE WHEN g % 7 = 0 THEN g * 1.01 END AS i FROM generate_series(1, 3000) AS g";
    rows_of_nothing: true, "CREATE TABLE e (a int4, b text); INSERT INTO e SELECT FROM generate_series(1, 1000)";
    texts_of_all_lengths_around_the_headers_of_varlena: true,
        "CREATE TABLE e AS SELECT g, repeat('é', g) AS t, repeat('x', 120 + g) AS u, decode(repeat('ab', g), 'hex') AS b \
         FROM generate_series(0, 300) AS g";
    values_that_are_compressed_in_place: true,
        "CREATE TABLE e (t text, b bytea, j jsonb, a int4[], n numeric); ALTER TABLE e ALTER t SET STORAGE MAIN, ALTER b SET STORAGE MAIN, \
           ALTER j SET STORAGE MAIN, ALTER a SET STORAGE MAIN, ALTER n SET STORAGE MAIN; \
         INSERT INTO e SELECT repeat('abc é', 100 * g), convert_to(repeat(g::text, 900), 'UTF8'), jsonb_build_object('k', repeat('v', 300 * g)), \
           array_fill(g, ARRAY[900]), (repeat('12', 1500) || '.5')::numeric FROM generate_series(1, 60) AS g";
    values_that_are_out_of_line_in_some_pages: false,
        "CREATE TABLE e (g int4, t text); ALTER TABLE e ALTER t SET STORAGE EXTERNAL; \
         INSERT INTO e SELECT g, CASE WHEN g = 1500 THEN repeat('long', 2000) ELSE 'short' || g END FROM generate_series(1, 3000) AS g";
    columns_that_were_added_and_dropped: true,
        "CREATE TABLE e (a int4, gone text, b int2); INSERT INTO e SELECT g, g::text, g FROM generate_series(1, 900) AS g; \
         ALTER TABLE e ADD c text DEFAULT 'was not there', ADD d numeric(10,2) DEFAULT 1.50, ADD e int4[] DEFAULT '{1,NULL}', \
           ADD f timestamptz DEFAULT '2000-01-01 00:00+00', ADD g bool DEFAULT true, ADD h jsonb DEFAULT '{\"a\": 1}'; \
         INSERT INTO e SELECT g, g::text, g FROM generate_series(1, 300) AS g; ALTER TABLE e DROP gone, ADD i int8, ADD j uuid; \
         INSERT INTO e (a, i) SELECT g, g FROM generate_series(1, 300) AS g; ALTER TABLE e DROP d";
    rows_that_were_updated_in_place: true,
        "CREATE TABLE e (a int4, t text) WITH (fillfactor = 40); INSERT INTO e SELECT g, g::text FROM generate_series(1, 3000) AS g; \
         UPDATE e SET t = t || '!' WHERE a % 3 = 0; UPDATE e SET t = t || '?' WHERE a % 6 = 0; DELETE FROM e WHERE a % 5 = 0; \
         UPDATE e SET a = -a WHERE a % 7 = 0";
    partitions_that_order_their_columns_differently: true,
        "CREATE TABLE e (k int4, v text) PARTITION BY RANGE (k); CREATE TABLE e1 PARTITION OF e FOR VALUES FROM (0) TO (1000); \
         CREATE TABLE e2 (v text, junk int4, k int4); ALTER TABLE e2 DROP COLUMN junk; \
         ALTER TABLE e ATTACH PARTITION e2 FOR VALUES FROM (1000) TO (2000); CREATE TABLE ed PARTITION OF e DEFAULT; \
         INSERT INTO e SELECT g, repeat('v', g % 50) FROM generate_series(0, 2500) AS g";
    parents_and_children: true,
        "CREATE TABLE e (a int4, t text); CREATE TABLE child (b int4) INHERITS (e); CREATE TABLE grandchild (c text) INHERITS (child); \
         INSERT INTO e SELECT g, g::text FROM generate_series(1, 900) AS g; INSERT INTO child SELECT g, g::text, g FROM generate_series(1, 900) AS g; \
         INSERT INTO grandchild SELECT g, NULL, g, g::text FROM generate_series(1, 900) AS g";
    materialized_views: true,
        "CREATE MATERIALIZED VIEW e AS SELECT g AS a, g::text AS t FROM generate_series(1, 3000) AS g";
    unlogged_tables: true,
        "CREATE UNLOGGED TABLE e AS SELECT g AS a, g::text AS t FROM generate_series(1, 3000) AS g";
    generated_columns_that_are_stored: true,
        "CREATE TABLE e (a int4, b int4 GENERATED ALWAYS AS (a * 2) STORED); INSERT INTO e SELECT g FROM generate_series(1, 900) AS g";
    a_hundred_columns: true, &wide_table();
}

fn wide_table() -> String {
    let columns: Vec<String> = (0..100)
        .map(|column| match column % 4 {
            0 => format!("CASE WHEN (g + {column}) % 3 = 0 THEN g::int2 END AS c{column}"),
            1 => format!("CASE WHEN (g + {column}) % 5 > 0 THEN g::text END AS c{column}"),
            2 => format!("(g + {column})::int8 AS c{column}"),
            _ => format!("(g + {column}) % 2 = 0 AS c{column}"),
        })
        .collect();
    format!("CREATE TABLE e AS SELECT {} FROM generate_series(1, 500) AS g", columns.join(", "))
}

#[test]
fn values_that_lz4_has_compressed_in_place() {
    require!(Capability::Superuser, Capability::Extension("pageinspect"), Capability::LzCompression);
    let sql = "CREATE TABLE e (t text COMPRESSION lz4, j jsonb COMPRESSION lz4); INSERT INTO e \
               SELECT repeat('abc é', 100 * g), jsonb_build_object('k', repeat('v', 300 * g)) FROM generate_series(1, 60) AS g";
    assert_made("lz4", sql, true);
}

#[test]
fn an_infinite_date_is_the_same_error_in_the_same_row() {
    require!(Capability::Superuser, Capability::Extension("pageinspect"));
    let database = database(
        "pages_infinite",
        "CREATE TABLE e AS SELECT g, CASE g WHEN 2345 THEN 'infinity' ELSE date '2000-01-01' + g END AS d \
         FROM generate_series(1, 5000) AS g",
    );
    freeze(&database, "e");
    for batch_rows in [1, 3, 1000, 65_536] {
        let compared = assert_ways(&database, "e", &[Way { batch_rows, ..Way::plain() }]);
        let error = compared.error.expect("the date stops the run");
        assert!(error.contains("row 2345"), "{error}");
    }
    let slices = Way { slice_bytes: Some(8192), ..Way::plain() };
    let source = source(&database);
    for way in [Way { readers: 3, ..slices }, Way::plain()] {
        let held = Held::new(&source, "e", &way).unwrap();
        let error = held.compare(&source, false).unwrap().error.expect("the date stops one slice");
        assert!(error.contains("row "), "{error}");
    }
    let null = Way { types: choices()[1], ..Way::plain() };
    assert_eq!(assert_ways(&database, "e", &[null]).error, None);
}

#[test]
fn slices_as_tokens_while_rows_change() {
    require!(Capability::Superuser, Capability::Extension("pageinspect"));
    let database = database(
        "pages_tokens",
        "CREATE TABLE e AS SELECT g, g::text AS t FROM generate_series(1, 20000) AS g",
    );
    freeze(&database, "e");
    let source = source(&database);
    let heaps = Heaps::of(&database, "e");
    for is_whole in [false, true] {
        let held = Held::new(&source, "e", &Way { slice_bytes: Some(128 << 10), readers: 3, ..Way::plain() })
            .unwrap();
        let held = if is_whole { held.into_whole() } else { held };
        let before = held.compare(&source, false).unwrap();
        assert_eq!(before.rows, 20_000);
        if !is_whole {
            assert_eq!((before.pages, before.copied), (heaps.blocks, 0));
        }
        database.execute(
            "UPDATE e SET t = 'new' WHERE g % 1000 = 1; DELETE FROM e WHERE g BETWEEN 5000 AND 6000; INSERT INTO e SELECT 1, 'more' \
             FROM generate_series(1, 5000)",
        );
        database.execute("VACUUM (FREEZE) e");
        let after = held.compare(&source, false).unwrap();
        assert_eq!(after.rows, 20_000, "the snapshot is held");
        assert!(
            after.judged + after.copied > 0 && after.pages - after.judged < heaps.blocks,
            "changed pages are not read as they are: {after:?}"
        );
        drop(held);
        wait_until_no_sessions(&database);
        database.execute("TRUNCATE e; INSERT INTO e SELECT g, g::text FROM generate_series(1, 20000) AS g");
        freeze(&database, "e");
    }
}

#[test]
fn values_of_every_type_and_arrays_of_them() {
    require!(Capability::Superuser, Capability::Extension("pageinspect"));
    let database = differential::database_of_types();
    let usable = differential::usable(&database);
    let mut n_without_arrays = 0;
    for (number, generator) in &usable {
        let sql = differential::create_values(*number, generator);
        let arrays = format!(
            "CREATE TABLE a{number} AS SELECT g, CASE abs(g) % 9 WHEN 3 THEN NULL WHEN 4 THEN '{{}}' ELSE ARRAY[v, NULL, v] END AS a, \
               array_fill(v, '{{1,2}}', '{{0,-7}}') AS s FROM v{number}"
        );
        database.execute(&sql);
        // Domains over arrays have no array by this expression.
        n_without_arrays += usize::from(database.client().batch_execute(&arrays).is_err());
    }
    assert!(n_without_arrays < 5, "{n_without_arrays}");
    database.execute("VACUUM (FREEZE)");
    pageinspect(&database);
    let source = source(&database);
    let mut n_read = 0;
    for (number, generator) in &usable {
        let tables = [format!("v{number}"), format!("a{number}")];
        let is_there = |table: &&String| {
            let row = database.client().query_one("SELECT to_regclass($1) IS NOT NULL", &[*table]);
            row.unwrap().get::<_, bool>(0)
        };
        for table in tables.iter().filter(is_there) {
            for types in choices() {
                let way = Way { types, batch_rows: 61, ..Way::plain() };
                let compared = by_runs(&source, table, &way)
                    .unwrap_or_else(|text| panic!("{} ({table}), {way:?}: {text}", generator.pg_type));
                n_read += u64::from(compared.pages > 0);
            }
        }
        assert_ways(&database, &format!("v{number}"), &[Way::plain()]);
    }
    assert!(n_read > 200, "{n_read}");
}

#[test]
fn copy_is_what_it_was() {
    require!(Capability::Superuser, Capability::Extension("pageinspect"));
    let database = database("pages_copy", "CREATE TABLE e AS SELECT g FROM generate_series(1, 2000) AS g");
    freeze(&database, "e");
    let options =
        ExportOptions::default().with_read_mode(ReadMode::Copy).with_column("g", ColumnOptions::default());
    let report = source(&database).table("e").options(options).open().unwrap().for_each(|_| Ok(())).unwrap();
    assert_eq!(report.read_mode, ReadMode::Copy);
    assert_eq!(report.pages.map_or(0, |pages| pages.read), 0);
}
