//! A description says what a later open plans.

use std::time::Duration;

use pgarrow::{
    ColumnForm, ColumnOptions, Description, Error, ErrorKind, ExportOptions, Extract, NumericForm, Plan,
    Source, TypeOptions,
};
use pgarrow_testkit::{Capability, require};

use crate::every_type::every_type;
use crate::support::{
    APPLICATION, Role, assert_error, block_on, database, query_lines, source, source_as,
    wait_until_no_sessions,
};

/// At least four slices of everything that has pages.
fn options() -> ExportOptions {
    ExportOptions::default().with_readers(2).with_slice_bytes(32 << 10)
}

/// Asserts that a description equals the plan, or is refused with the error of opening.
#[track_caller]
fn assert_same(what: &str, extract: Extract) -> Option<Description> {
    let described = extract.describe();
    let opened = extract.open();
    match (described, opened) {
        (Ok(described), Ok(run)) => {
            assert_is(what, &described, run.plan());
            Some(described)
        }
        (Err(described), Err(opened)) => {
            assert_eq!(described.to_string(), opened.to_string(), "{what}");
            None
        }
        (described, opened) => panic!("{what}: {:?}, but {:?}", described.err(), opened.err()),
    }
}

#[track_caller]
fn assert_is(what: &str, described: &Description, plan: &Plan) {
    assert_eq!(described.schema, *plan.schema(), "{what}");
    let planned = plan.report(None);
    assert_eq!(described.subject, planned.subject, "{what}");
    assert_eq!(format!("{:?}", described.columns), format!("{:?}", planned.columns), "{what}");
    assert_eq!(described.slicing, planned.slicing, "{what}");
    assert_eq!(format!("{:?}", described.slices), format!("{:?}", planned.slices), "{what}");
    for warning in &described.warnings {
        assert!(planned.warnings.contains(warning), "{what}: {warning}");
    }
    if plan.relation().is_some() {
        assert_eq!(described.estimated_rows, planned.estimated_rows, "{what}");
    }
}

#[test]
fn every_type_and_every_catalog_is_described_as_it_is_opened() {
    require!(Capability::Server);
    let database = every_type();
    let source = source(&database);
    let sql = "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c \
               JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'v', 'm', 'p') \
               AND n.nspname IN ('every_type', 'pg_catalog', 'information_schema') \
               AND c.relname NOT IN ('pg_locks', 'pg_statistic_ext_data') ORDER BY 1";
    let names = query_lines(&database, sql);
    assert!(names.len() > 100, "{names:?}");
    let mut n_described = 0;
    for name in &names {
        let table = source.table(name).options(options());
        n_described += usize::from(assert_same(name, table).is_some());
        // A query has the same columns, but all are nullable.
        if name.starts_with("every_type") {
            let query = source.query(format!("SELECT * FROM {name} -- all of it"));
            assert_same(name, query.options(options()));
        }
    }
    assert!(n_described > 100, "{n_described} of {names:?}");
}

const TABLES: &str = "
    CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TYPE pair AS (a int, m mood); CREATE DOMAIN price AS numeric(10, 2);
    CREATE TABLE e AS SELECT g AS id, md5(g::text) AS t, ARRAY[g] AS a, 'a'::mood AS m, g::price AS p,
      ROW(g, 'b')::pair AS r, NULL::jsonpath AS j, g::numeric AS n FROM generate_series(1, 5000) AS g;
    ALTER TABLE e ALTER id SET NOT NULL; CREATE TABLE never (a int NOT NULL, b money);
    CREATE TABLE child () INHERITS (e); INSERT INTO child SELECT * FROM e LIMIT 2000;
    CREATE TABLE p (id int NOT NULL, t text) PARTITION BY HASH (id);
    CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    INSERT INTO p SELECT id, t FROM ONLY e; CREATE VIEW v AS SELECT id, t FROM e; CREATE TABLE none ();
    CREATE MATERIALIZED VIEW mv AS SELECT id, t FROM e; CREATE SEQUENCE s;
    CREATE SCHEMA \"Odd $2 'name\"; CREATE TABLE \"Odd $2 'name\".\"a \"\"$1\\b\" (\"c $1\" int);
    ANALYZE";

#[test]
fn what_can_be_asked_for_is_described_as_it_is_opened() {
    require!(Capability::Server);
    let database = database("described", TABLES);
    let source = source(&database);
    let split = || options().with_split_on("id");
    let names = ["e", "never", "p", "v", "none", "mv", "\"Odd $2 'name\".\"a \"\"$1\\b\""];
    for name in names {
        let described = assert_same(name, source.table(name).options(options()));
        assert!(described.is_some(), "{name}");
        assert_same(name, source.table(name));
        assert_same(name, source.table(name).only(true).options(options()));
        assert_same(name, source.table(name).limit(3).options(options()));
        assert_same(name, source.table(name).options(split()));
        assert_same(name, source.table(name).columns(["t", "id"]).options(options().with_order(true)));
        assert_same(name, source.table(name).filter("id > 17 -- some").options(options()));
        assert_same(name, source.table(name).filter("id > random()").options(split()));
        assert_same(name, source.table(name).filter("nothing = 1"));
    }
    let field_ids = || ExportOptions::default().with_field_ids(true);
    assert_same("field ids", source.table("e").options(field_ids()));
    let text = ColumnOptions { form: Some(ColumnForm::Text), ..ColumnOptions::default() };
    assert_same("a choice", source.table("e").options(options().with_column("n", text.clone())));
    assert_same("a choice for nothing", source.table("e").options(options().with_column("x", text)));
    for name in ["s", "nothing", "nowhere.nothing", "pg_catalog", "e.e.e", ""] {
        assert_same(name, source.table(name));
    }
    for sql in [
        "SELECT id, m, now() AS t FROM e WHERE id > 5",
        "VALUES (1, 'a')",
        "TABLE p",
        "SELECT nothing FROM e",
        "WITH w AS (SELECT 1 AS id) SELECT * FROM w",
        "SELECT $1::int AS id",
        "SELEC",
        "SELECT 1 AS a; SELECT 2",
        "SELECT",
    ] {
        assert_same(sql, source.query(sql));
        assert_same(sql, source.query(sql).limit(1));
        assert_same(sql, source.query(sql).options(split()));
        assert_same(sql, source.query(sql).bind(Some(1)));
    }
    assert_same("columns of a query", source.query("TABLE e").columns(["id"]));
    // As another role: what it may read and what it may not.
    let role = Role::new(&database);
    database
        .execute(&format!("GRANT SELECT ON p, v TO \"{0}\"; GRANT SELECT (id) ON e TO \"{0}\"", role.name));
    let of_role = source_as(&database, &role.name);
    for name in ["p", "v"] {
        assert_same(name, of_role.table(name).columns(["id"]).options(options()));
        assert_same(name, source.table(name).options(options().with_role(&role.name)));
    }
    let path = || options().with_setting("search_path", "\"Odd $2 'name\"");
    assert!(assert_same("a path", source.table("\"a \"\"$1\\b\"").options(path())).is_some());
    assert_same(
        "a setting that is refused",
        source.table("e").options(options().with_setting("DateStyle", "SQL")),
    );
}

#[test]
fn sizes_are_estimated() {
    require!(Capability::Server);
    let database = database("sizes", TABLES);
    let source = source(&database);
    let table = source.table("e").only(true).options(options()).describe().unwrap();
    let bytes: u64 = query_lines(
        &database,
        "SELECT pg_table_size('e') - pg_relation_size('e', 'fsm') \
                                              - pg_relation_size('e', 'vm')",
    )[0]
    .parse()
    .unwrap();
    let rows = table.estimated_rows.unwrap();
    assert!(rows.abs_diff(5000) <= table.slices.len() as u64 * 64, "{rows}");
    let estimated = table.estimated_bytes.unwrap();
    assert!(estimated.abs_diff(bytes) <= 16 << 10, "{estimated} of {bytes}");
    assert!(table.slices.len() > 3, "{:?}", table.slices);
    assert_eq!(table.slices.iter().map(|slice| slice.estimated_bytes).sum::<u64>(), estimated);
    let query = source.query("SELECT id FROM ONLY e").describe().unwrap();
    assert_eq!((query.estimated_rows, query.estimated_bytes), (Some(5000), Some(20_000)));
    let query = source.query("SELECT id FROM ONLY e").limit(10).describe().unwrap();
    assert_eq!((query.estimated_rows, query.estimated_bytes), (Some(10), Some(40)));
    let view = source.table("v").describe().unwrap();
    assert_eq!((view.estimated_rows, view.estimated_bytes), (None, None));
    let never = source.table("never").describe().unwrap();
    assert_eq!((never.estimated_rows, never.estimated_bytes), (Some(0), Some(0)));
}

#[test]
fn what_only_reading_finds_out_is_refused() {
    require!(Capability::Server);
    let database = database("undescribed", TABLES);
    let source = source(&database);
    let scan = TypeOptions { numeric: NumericForm::Scan, ..TypeOptions::default() };
    let extract = source.table("e").options(ExportOptions::default().with_types(scan));
    assert_error(
        &extract.describe().unwrap_err(),
        ErrorKind::Options,
        None,
        &["column \"n\"", "decimal(P,S)"],
    );
    assert!(extract.columns(["id", "t"]).describe().is_ok());
    let slice = source.table("e").open().unwrap().slices().unwrap().remove(0);
    assert_error(&source.slice(slice).describe().unwrap_err(), ErrorKind::Options, None, &["slice"]);
}

/// A description waits for a locked table as long as the lock timeout allows.
#[test]
fn nothing_is_left_on_the_server() {
    require!(Capability::Server);
    let database = database("unlocked", TABLES);
    let source = source(&database);
    let transactions = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{APPLICATION}' \
         AND datname = current_database() AND pid <> pg_backend_pid() AND (state <> 'idle' OR backend_xmin IS NOT NULL OR xact_start IS NOT NULL)"
    );
    let describe = |source: &Source| -> Result<usize, Error> {
        let table = source.table("e").describe()?;
        let query = block_on(source.query("TABLE p").describe_async())?;
        let split = source.table("v").options(options().with_split_on("id")).describe()?;
        Ok(table.slices.len() + query.slices.len() + split.slices.len())
    };
    assert!(describe(&source).unwrap() > 2);
    assert_eq!(query_lines(&database, &transactions), ["0"]);
    // The session is kept for the next description: they do not open one each.
    let sessions = transactions.replace("AND (state", "AND (true OR state");
    assert_eq!(query_lines(&database, &sessions), ["1"]);
    let mut client = database.client();
    let mut locking = client.transaction().unwrap();
    locking.batch_execute("LOCK TABLE p IN ACCESS EXCLUSIVE MODE").unwrap();
    let impatient = || ExportOptions::default().with_lock_timeout(Duration::from_millis(50));
    for extract in [source.table("p"), source.query("TABLE p")] {
        let error = extract.options(impatient()).describe().unwrap_err();
        assert_error(&error, ErrorKind::Server, Some("55P03"), &[]);
    }
    locking.rollback().unwrap();
    drop(source);
    wait_until_no_sessions(&database);
}
