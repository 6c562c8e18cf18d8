//! The union of the slices is the table: count and rows, duplicates included.

use std::time::Duration;

use pgarrow_catalog::{
    Relation, RelationName, ResolvedColumn, explained_relations, leaves, query_columns, relations_of_schema,
    resolve, resolve_many, server_traits, table_columns, table_columns_of_many,
};
use pgarrow_protocol::{Config, Session};
use pgarrow_testkit::{Capability, Database, TestServer, require};
use pgarrow_types::PgColumn;

use crate::options::ExportOptions;
use crate::planner::select::Selection;
use crate::planner::{KeySource, Slices, Slicing, key_slices, reads_of_key_ranges, table_slices};
use crate::slice::SliceRange;
use crate::source::Source;

fn database(sql: &str) -> Database {
    let database = TestServer::shared().fresh_database("planning");
    database.execute(sql);
    database
}

fn session_of(url: &str) -> Session {
    let mut session = Session::connect(&Config::parse(Some(url)).unwrap()).unwrap();
    // As the keeper sets it: values in a form that every reader understands.
    session.execute("SET datestyle = 'ISO, YMD'; SET timezone = 'UTC'").unwrap();
    session
}

fn session(database: &Database) -> Session {
    session_of(database.url())
}

fn by_page() -> Slicing {
    Slicing { readers: 2, slice_bytes: Some(1), ..Slicing::default() }
}

fn named(session: &mut Session, name: &str) -> Relation {
    resolve(session, &RelationName::parse(name).unwrap()).unwrap()
}

/// The columns without choices.
fn plain(columns: Vec<ResolvedColumn>) -> Vec<PgColumn> {
    columns.into_iter().map(|column| column.column).collect()
}

/// The slices of a table, in the order in which the library plans them, and the statements that read them.
fn plan(session: &mut Session, name: &str, filter: Option<&str>, slicing: &Slicing) -> (Slices, Vec<String>) {
    let relation = named(session, name);
    let columns = plain(table_columns(session, &relation, slicing.only).unwrap());
    let slices = match slicing.split_on {
        Some(_) => {
            let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
            let mut leaves = leaves(session, &relation, &names).unwrap();
            leaves.retain(|leaf| !slicing.only || leaf.relation.oid == relation.oid);
            let traits = server_traits(session).unwrap();
            let reads = reads_of_key_ranges(session, &relation, &leaves, &traits, filter, slicing).unwrap();
            let source =
                KeySource::Relation { relation: &relation, reads: &reads, only: slicing.only, filter };
            key_slices(session, source, slicing).unwrap()
        }
        None => {
            let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
            let leaves = leaves(session, &relation, &names).unwrap();
            let traits = server_traits(session).unwrap();
            table_slices(session, &relation, &leaves, &traits, filter, slicing).unwrap()
        }
    };
    let selection = Selection::of_table(&relation, &columns, filter);
    let selects = slices.slices.iter().map(|slice| selection.select(slice)).collect();
    (slices, selects)
}

/// Asserts that the statements together return the rows of `expected`, each the same number of times.
#[track_caller]
fn assert_rows(session: &mut Session, selects: &[String], expected: &str) -> u64 {
    let union = selects.iter().map(|select| format!("({select})")).collect::<Vec<_>>().join(" UNION ALL ");
    let sql = format!(
        "SELECT (SELECT count(*) FROM ({union}) AS u), (SELECT count(*) FROM ({expected}) AS d), \
         (SELECT count(*) FROM (({union}) EXCEPT ALL ({expected})) AS e)"
    );
    let rows = session.query(&sql, &[]).unwrap();
    let number = |index| rows[0].text(index).unwrap().parse::<u64>().unwrap();
    assert_eq!((number(0), number(2)), (number(1), 0), "rows, and rows that should not be there");
    number(1)
}

/// Plans a table with slices of one page and compares. Returns the number of slices and the note.
#[track_caller]
fn check(database: &Database, name: &str, filter: Option<&str>) -> (usize, String) {
    let mut session = session(database);
    let (slices, selects) = plan(&mut session, name, filter, &by_page());
    let condition = filter.map(|filter| format!(" WHERE (\n{filter}\n)")).unwrap_or_default();
    assert_rows(&mut session, &selects, &format!("SELECT * FROM {name}{condition}"));
    (slices.slices.len(), slices.note.to_string())
}

#[test]
fn a_table_by_single_pages_uses_tid_range_scans() {
    require!(Capability::Server, Capability::VersionAtLeast(140_000));
    let database =
        database("CREATE TABLE t AS SELECT g AS a, repeat('x', 200) AS b FROM generate_series(1, 5000) g");
    let mut session = session(&database);
    let (slices, selects) = plan(&mut session, "t", Some("a > 0"), &by_page());
    assert!(slices.slices.len() > 100, "{}", slices.note);
    assert_eq!(slices.note, format!("{} slices: ranges of pages of public.t", slices.slices.len()));
    assert_eq!(assert_rows(&mut session, &selects, "SELECT * FROM t"), 5000);
    let ranges = slices.slices.iter().zip(&selects);
    for (_, select) in ranges.filter(|(slice, _)| !matches!(slice.range, SliceRange::Pages { from: 0, .. })) {
        let rows = session.query(&format!("EXPLAIN (FORMAT JSON) {select}"), &[]).unwrap();
        assert!(rows[0].text(0).unwrap().contains("Tid Range Scan"), "{select}");
    }
}

#[test]
fn tables_that_are_empty_or_nearly() {
    require!(Capability::Server, Capability::VersionAtLeast(140_000));
    let database = database(
        "CREATE TABLE none (a int4); CREATE TABLE zero (); CREATE TABLE nocolumns (); \
         INSERT INTO nocolumns DEFAULT VALUES; \
         CREATE TABLE holes AS SELECT g AS a, repeat('x', 500) AS b FROM generate_series(1, 2000) g; \
         DELETE FROM holes WHERE a % 400 <> 0; \
         CREATE TABLE wide (a int4, b text); ALTER TABLE wide ALTER b SET STORAGE EXTERNAL; \
         INSERT INTO wide SELECT g, repeat('y', 50000) FROM generate_series(1, 300) g; \
         CREATE TABLE grown AS SELECT g AS a, repeat('z', 900) AS b FROM generate_series(1, 10) g; ANALYZE grown; \
         INSERT INTO grown SELECT g, repeat('z', 900) FROM generate_series(11, 1000) g",
    );
    assert_eq!(check(&database, "none", None), (1, "one stream: public.none is small".to_owned()));
    assert!(check(&database, "holes", None).0 > 100);
    assert!(check(&database, "wide", None).0 > 1);
    assert!(check(&database, "grown", None).0 > 100, "pages are counted now, not when it was analysed");
    let mut session = session(&database);
    let (_, selects) = plan(&mut session, "nocolumns", None, &by_page());
    let rows = session.query(&format!("SELECT count(*) FROM ({}) AS q", selects[0]), &[]).unwrap();
    assert_eq!(rows[0].text(0), Some("1"));
}

#[test]
fn trees_of_inheritance_and_of_partitions() {
    require!(Capability::Server, Capability::VersionAtLeast(140_000));
    let database = database(
        "CREATE TABLE p (a int4, b text); CREATE TABLE c1 (c int4) INHERITS (p); CREATE TABLE c2 () INHERITS (p); \
         CREATE TABLE c3 () INHERITS (c1, c2); \
         INSERT INTO p SELECT g, repeat('p', 99) FROM generate_series(1, 500) g; \
         INSERT INTO c1 SELECT g, repeat('c', 99), g FROM generate_series(1, 500) g; \
         INSERT INTO c3 SELECT g, 'b', g FROM generate_series(1, 500) g; \
         CREATE TABLE e (k int4, junk int4, v text) PARTITION BY RANGE (k); ALTER TABLE e DROP junk; \
         CREATE TABLE e1 PARTITION OF e FOR VALUES FROM (0) TO (1000); \
         CREATE TABLE e2 (v text, gone int4, k int4); ALTER TABLE e2 DROP COLUMN gone; \
         ALTER TABLE e ATTACH PARTITION e2 FOR VALUES FROM (1000) TO (2000); \
         CREATE TABLE ed PARTITION OF e DEFAULT PARTITION BY RANGE (k); \
         CREATE TABLE ed1 PARTITION OF ed FOR VALUES FROM (2000) TO (3000); \
         INSERT INTO e SELECT g, repeat('v', g % 50) FROM generate_series(0, 2999) AS g; \
         CREATE TABLE nothing (k int4) PARTITION BY LIST (k)",
    );
    for (name, filter) in [
        ("p", None),
        ("p", Some("p.a > 100 AND b LIKE '%' -- p")),
        ("e", None),
        ("e", Some("e.k % 3 = 0 AND length(\"e\".v) > 3")),
    ] {
        let (n_slices, note) = check(&database, name, filter);
        assert!(n_slices > 4 || filter.is_some_and(|filter| filter.contains("--")), "{name}: {note}");
    }
    let mut session = session(&database);
    let only = Slicing { only: true, ..by_page() };
    let (slices, selects) = plan(&mut session, "p", None, &only);
    assert!(slices.slices.len() > 1);
    assert_eq!(assert_rows(&mut session, &selects, "SELECT * FROM ONLY p"), 500);
    let (slices, _) = plan(&mut session, "nothing", None, &by_page());
    assert_eq!(slices.note, "one stream: public.nothing has no rows of its own");
    let (_, note) = check(&database, "e", Some("e IS NOT NULL"));
    assert!(note.starts_with("one stream: the filter names public.e"), "{note}");
    // Small leaves together.
    let few = Slicing { readers: 2, slice_bytes: Some(200_000), ..Slicing::default() };
    let (slices, selects) = plan(&mut session, "e", Some("k > 5"), &few);
    assert!(slices.slices.iter().any(|slice| slice.relations.len() > 1) || slices.slices.len() == 1);
    assert_rows(&mut session, &selects, "SELECT * FROM e WHERE k > 5");
}

#[test]
fn names_that_need_quotes() {
    require!(Capability::Server, Capability::VersionAtLeast(140_000));
    let database = database(
        "CREATE SCHEMA \"a\"\"b\nc\"; CREATE TABLE \"a\"\"b\nc\".\"T\"\"; --\" (\"x\"\"\ny\" int4) \
           PARTITION BY HASH (\"x\"\"\ny\"); \
         CREATE TABLE \"a\"\"b\nc\".\"select\" PARTITION OF \"a\"\"b\nc\".\"T\"\"; --\" \
           FOR VALUES WITH (MODULUS 2, REMAINDER 0); \
         CREATE TABLE \"a\"\"b\nc\".\"p\nq\" PARTITION OF \"a\"\"b\nc\".\"T\"\"; --\" \
           FOR VALUES WITH (MODULUS 2, REMAINDER 1); \
         INSERT INTO \"a\"\"b\nc\".\"T\"\"; --\" SELECT g FROM generate_series(1, 2000) g",
    );
    let filter = "\"T\"\"; --\".\"x\"\"\ny\" % 2 = 0";
    assert!(check(&database, "\"a\"\"b\nc\".\"T\"\"; --\"", Some(filter)).0 > 4);
    let mut session = session(&database);
    let split = Slicing { split_on: Some("x\"\ny".to_owned()), readers: 3, ..Slicing::default() };
    let (slices, selects) = plan(&mut session, "\"a\"\"b\nc\".\"T\"\"; --\"", Some(filter), &split);
    assert!(slices.slices.len() > 1, "{}", slices.note);
    let expected = format!("SELECT * FROM \"a\"\"b\nc\".\"T\"\"; --\" WHERE {filter}");
    assert_eq!(assert_rows(&mut session, &selects, &expected), 1000);
}

#[test]
fn what_is_not_sliced_says_why() {
    require!(Capability::Server, Capability::Superuser, Capability::VersionAtLeast(140_000));
    let database = database(
        "CREATE TABLE t AS SELECT g AS a, 'x' AS b FROM generate_series(1, 5000) g; CREATE VIEW v AS SELECT * FROM t; \
         CREATE MATERIALIZED VIEW m AS SELECT * FROM t; \
         CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw; \
         CREATE FOREIGN TABLE f (a int4, b text) SERVER files OPTIONS (program 'echo 1,x', format 'csv'); \
         CREATE TABLE p (a int4, b text); CREATE TABLE c () INHERITS (p); \
         INSERT INTO c SELECT * FROM t; \
         ALTER FOREIGN TABLE f INHERIT p",
    );
    assert!(check(&database, "m", None).0 > 10, "a materialized view is a heap");
    assert_eq!(check(&database, "v", None).0, 1);
    let (n_slices, note) = check(&database, "v", None);
    assert_eq!(n_slices, 1);
    assert!(note.starts_with("one stream: public.v is a view; name a column"), "{note}");
    assert!(check(&database, "f", None).1.contains("is a foreign table"));
    assert!(check(&database, "p", None).0 > 10, "a foreign child is a slice of its own");
    let mut session = session(&database);
    let one = Slicing { readers: 1, ..Slicing::default() };
    assert_eq!(plan(&mut session, "t", None, &one).0.note, "one stream: there is one reader");
}

/// Runs `test` in the session of a role with `grants` only, then drops the role.
fn with_role(database: &Database, grants: &str, test: impl FnOnce(&mut Session)) {
    let role = format!("r_{}", database.name());
    let role = role.get(..60).unwrap_or(&role);
    let grants = grants.replace("ROLE", &format!("\"{role}\""));
    database
        .execute(&format!("CREATE ROLE \"{role}\"; GRANT USAGE ON SCHEMA public TO \"{role}\"; {grants}"));
    let mut session = session(database);
    session.execute(&format!("SET ROLE \"{role}\"; SET row_security = off")).unwrap();
    test(&mut session);
    session.close();
    database.execute(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
}

const HIDDEN: &str = "one stream: the role may not read public.p2 by itself, only through public.p; GRANT SELECT on it, and \
                      USAGE on its schema, or name a column to split on (option split_on)";

#[test]
fn rights_and_policies_decide_whether_leaves_are_named() {
    require!(Capability::Server, Capability::Superuser, Capability::VersionAtLeast(140_000));
    let database = database(
        "CREATE TABLE p (a int4, b text) PARTITION BY RANGE (a); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (3000); \
         CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (3000) TO (9000); \
         INSERT INTO p SELECT g, 'x' FROM generate_series(1, 5000) g; \
         CREATE TABLE t AS SELECT * FROM p; \
         CREATE TABLE q (LIKE p) PARTITION BY RANGE (a); CREATE TABLE q1 PARTITION OF q DEFAULT; \
         ALTER TABLE q ENABLE ROW LEVEL SECURITY; CREATE TABLE s (LIKE p) PARTITION BY RANGE (a); \
         CREATE TABLE s1 PARTITION OF s DEFAULT; ALTER TABLE s1 ENABLE ROW LEVEL SECURITY",
    );
    let grants = "GRANT SELECT ON p, p1, q, q1, s, s1 TO ROLE; GRANT SELECT (a, b) ON t TO ROLE";
    with_role(&database, grants, |session| {
        let mut note = |name: &str| plan(session, name, None, &by_page()).0.note;
        assert_eq!(note("p"), HIDDEN);
        assert!(note("t").starts_with("one stream: the role may read only columns of public.t"));
        let of_policies = |name: &str| {
            format!(
                "one stream: row security applies to public.{name}; name a column to split on (option split_on)"
            )
        };
        assert_eq!(note("q"), of_policies("q"));
        assert_eq!(note("s"), of_policies("s1"));
        let (_, selects) = plan(session, "p", None, &by_page());
        assert_eq!(assert_rows(session, &selects, "SELECT * FROM p"), 5000);
        let (_, selects) = plan(session, "t", None, &by_page());
        assert_eq!(assert_rows(session, &selects, "SELECT a, b FROM t"), 5000);
    });
    // Columns of a leaf are enough to read it whole, but not by pages, and not for a filter.
    with_role(&database, "GRANT SELECT ON p, p1 TO ROLE; GRANT SELECT (a, b) ON p2 TO ROLE", |session| {
        let (slices, selects) = plan(session, "p", None, &by_page());
        assert!(slices.slices.len() > 10, "{}", slices.note);
        assert_rows(session, &selects, "SELECT * FROM p");
        let (slices, _) = plan(session, "p", Some("a > 1"), &by_page());
        assert_eq!(slices.note, HIDDEN);
    });
}

#[test]
fn keys_of_every_type() {
    require!(Capability::Server);
    let database = database(
        "CREATE DOMAIN positive AS int4 CHECK (VALUE > 0); \
         CREATE TABLE t AS SELECT CASE WHEN g % 7 <> 0 THEN (g % 100)::int2 END AS i2, g AS i4, \
           (g * 10000000000)::int8 AS i8, CASE WHEN g % 3 = 0 THEN date '2020-01-01' + g WHEN g = 1 THEN 'infinity' \
             WHEN g = 2 THEN date '0044-03-15 BC' END AS d, \
           timestamp '2020-01-01' + g * interval '1.5 hours' AS ts, now() + g * interval '1 minute' AS tz, \
           md5(g::text)::uuid AS u, CASE WHEN g % 5 > 0 THEN E'it''s \\\\ ' || chr(65 + g % 60) || g END AS s, \
           ('k' || g % 3)::varchar(9) AS few, CASE WHEN g < 2700 THEN 0 ELSE g END AS skewed, NULL::int4 AS nulls, \
           abs(g) + 1::positive AS dom FROM generate_series(1, 3000) g; \
         ALTER TABLE t ALTER dom TYPE positive; CREATE VIEW v AS SELECT * FROM t",
    );
    let mut session = session(&database);
    let keys = ["i2", "i4", "i8", "d", "ts", "tz", "u", "s", "few", "skewed", "nulls", "dom"];
    for analysed in [false, true] {
        if analysed {
            database.execute("ANALYZE t");
        }
        for (name, key) in keys.iter().flat_map(|key| [("t", key), ("v", key)]) {
            let slicing = Slicing { readers: 4, split_on: Some((*key).to_owned()), ..Slicing::default() };
            let (slices, selects) = plan(&mut session, name, Some("i4 <> 17"), &slicing);
            assert_eq!(assert_rows(&mut session, &selects, "SELECT * FROM t WHERE i4 <> 17"), 2999, "{key}");
            assert!(
                slices.slices.len() >= 3 || matches!(*key, "few" | "nulls" | "skewed"),
                "{key}: {}",
                slices.note
            );
            let by_statistics = slices.note.contains("statistics");
            assert!(by_statistics == (analysed && name == "t") || *key == "nulls", "{key}: {}", slices.note);
        }
        let slicing = Slicing { readers: 4, split_on: Some("i4".to_owned()), ..Slicing::default() };
        let (_, selects) = plan(&mut session, "t", None, &slicing);
        for select in &selects {
            let rows = session.query(&format!("SELECT count(*) FROM ({select}) AS q"), &[]).unwrap();
            let n_rows: i64 = rows[0].text(0).unwrap().parse().unwrap();
            assert!((250..=500).contains(&n_rows), "eight even ranges of 3000 rows, but {n_rows}");
        }
    }
    let relation = named(&mut session, "t");
    for (column, word) in [("no", "no column"), ("b", "no column")] {
        let slicing = Slicing { readers: 4, split_on: Some(column.to_owned()), ..Slicing::default() };
        let reads = [(relation.clone(), false)];
        let source = KeySource::Relation { relation: &relation, reads: &reads, only: false, filter: None };
        let error = key_slices(&mut session, source, &slicing).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn texts_of_a_collation_that_takes_different_texts_for_equal() {
    require!(Capability::Server, Capability::Icu);
    let database = database(
        "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
         CREATE TABLE t AS SELECT CASE WHEN g % 2 = 0 THEN chr(97 + g % 26) ELSE chr(65 + g % 26) END \
           COLLATE nocase AS s, g FROM generate_series(1, 2000) g; \
         CREATE TABLE analysed AS SELECT * FROM t; ANALYZE analysed",
    );
    let mut session = session(&database);
    for name in ["t", "analysed"] {
        let slicing = Slicing { readers: 4, split_on: Some("s".to_owned()), ..Slicing::default() };
        let (slices, selects) = plan(&mut session, name, None, &slicing);
        assert!(slices.slices.len() > 4, "{}", slices.note);
        assert_eq!(assert_rows(&mut session, &selects, "SELECT s, g FROM t"), 2000);
    }
}

#[test]
fn queries_by_a_column_of_their_result() {
    require!(Capability::Server);
    let database =
        database("CREATE TABLE t AS SELECT g AS a, NULLIF(g % 4, 0) AS b FROM generate_series(1, 999) g");
    let mut session = session(&database);
    let sql = "SELECT a, b AS \"K\", a AS twice, b AS twice, '(1,2)'::tsvector AS p FROM t -- all";
    let described = session.describe(sql).unwrap().columns.unwrap();
    let columns = plain(query_columns(&mut session, &described).unwrap());
    let split =
        |column: &str| Slicing { readers: 3, split_on: Some(column.to_owned()), ..Slicing::default() };
    for column in ["a", "K"] {
        let source = KeySource::Query { sql, columns: &columns };
        let slices = key_slices(&mut session, source, &split(column)).unwrap();
        assert!(slices.slices.len() > 2 && slices.note.contains("was run once"), "{}", slices.note);
        let selection = Selection::of_query(sql, &columns);
        let selects: Vec<String> = slices.slices.iter().map(|slice| selection.select(slice)).collect();
        let expected = "SELECT a, b, a, b, '''(1,2)'''::text FROM t";
        assert_eq!(assert_rows(&mut session, &selects, expected), 999);
    }
    for (column, word) in [("twice", "several"), ("none", "no column"), ("p", "cannot be split on")] {
        let source = KeySource::Query { sql, columns: &columns };
        let error = key_slices(&mut session, source, &split(column)).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn what_queries_and_schemas_read() {
    require!(Capability::Server);
    let database = database(
        "CREATE TABLE a (x int4 NOT NULL, y text); COMMENT ON COLUMN a.y IS 'why'; \
         CREATE TABLE b (x int4) PARTITION BY LIST (x); CREATE TABLE b1 PARTITION OF b DEFAULT; \
         CREATE VIEW v AS SELECT * FROM a; CREATE MATERIALIZED VIEW m AS SELECT 1 AS one; CREATE SEQUENCE s",
    );
    let mut session = session(&database);
    let names = |relations: &[Relation]| relations.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
    let sql =
        "WITH w AS MATERIALIZED (SELECT x FROM v) SELECT w.x FROM w, b WHERE w.x IN (SELECT one FROM m) -- c";
    assert_eq!(names(&explained_relations(&mut session, sql).unwrap()), ["a", "b1", "m"]);
    let relations = relations_of_schema(&mut session, "public").unwrap();
    assert_eq!(names(&relations), ["a", "b", "m"]);
    let columns = table_columns_of_many(&mut session, &relations, false).unwrap();
    for (relation, columns) in relations.iter().zip(&columns) {
        assert_eq!(*columns, table_columns(&mut session, relation, false).unwrap());
    }
    let [x, y] = &plain(columns[0].clone())[..] else { panic!("{columns:?}") };
    assert_eq!((x.nullable, y.nullable, y.comment.as_deref()), (false, true, Some("why")));
    let parse = |name| RelationName::parse(name).unwrap();
    let found = resolve_many(&mut session, &[parse("m"), parse("public.a"), parse("m")]).unwrap();
    assert_eq!(names(&found), ["m", "a", "m"]);
    let error = resolve_many(&mut session, &[parse("a"), parse("nowhere")]).unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[test]
fn a_temporary_table_is_read_by_its_own_session() {
    require!(Capability::Server);
    let database = database("CREATE TABLE plain AS SELECT 1 AS a");
    let source = Source::connect_blocking(database.url()).unwrap();
    // As a pooler hands a session on.
    let rows = |name: &str| {
        let mut session = session(&database);
        session
            .execute("CREATE TEMPORARY TABLE mine AS SELECT g AS a FROM generate_series(1, 5000) g")
            .unwrap();
        let options = ExportOptions::default().with_readers(4).with_slice_bytes(8192);
        let extract = source.table(name).options(options);
        let run =
            extract.into_request().open(source.pool(), session, Duration::ZERO, source.cancel()).unwrap();
        (run.readers(), run.for_each(|_| Ok(())).unwrap().rows)
    };
    assert_eq!((rows("mine"), rows("plain")), ((1, 5000), (1, 1)));
}
