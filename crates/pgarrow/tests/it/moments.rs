//! Time and other things that differ between sessions: all parts of an export have one value, or there is one
//! part.

use std::collections::BTreeMap;
use std::sync::Mutex;

use arrow_array::RecordBatch;
use pgarrow::{ExportOptions, Extract, Run, Slice, SliceSubject, Source};
use pgarrow_catalog::{DIFFER, INDIFFERENT};
use pgarrow_testkit::{Capability, Database, require};

use crate::render;
use crate::support::{database, oracle, query_lines, read, server_text, source};

/// Rows from half a minute ago to some minutes ahead, some 600 microseconds apart, in no order: wherever a
/// reader reads, the time at which it begins is between two rows.
const TABLE: &str = "CREATE TABLE e AS SELECT g AS id, now() - interval '30 s' + g * interval '200 us' AS at, g % 3 AS b \
    FROM (SELECT i * 7919::int8 % 1000003 AS g FROM generate_series(1, 1000002, 3) AS i) AS s; ANALYZE e";

fn parts(n_readers: usize) -> ExportOptions {
    ExportOptions::default().with_readers(n_readers).with_slice_bytes(64 << 10)
}

/// All batches of all readers.
fn collect(run: Run) -> Vec<RecordBatch> {
    let batches = Mutex::new(Vec::new());
    run.for_each_concurrently(|batch| {
        batches.lock().unwrap().push(batch);
        Ok(())
    })
    .unwrap();
    batches.into_inner().unwrap()
}

/// The first column's values, sorted.
fn numbers(batches: &[RecordBatch]) -> Vec<i64> {
    let first = |row: Vec<Option<String>>| row[0].as_deref().unwrap().parse().unwrap();
    let mut numbers: Vec<i64> = render::rows(batches).into_iter().map(first).collect();
    numbers.sort_unstable();
    numbers
}

/// Asserts that there are some rows but not all, and that none is missing below the last one.
#[track_caller]
fn assert_is_of_one_moment(database: &Database, numbers: &[i64]) {
    let last = numbers.last().expect("no rows are of the past");
    let below =
        query_lines(database, &format!("SELECT count(*), (SELECT max(id) FROM e) FROM e WHERE id <= {last}"));
    let (count, max) = below[0].split_once('|').unwrap();
    assert_eq!(numbers.len().to_string(), count, "rows below the last one");
    assert_ne!(last.to_string(), max, "all rows: nothing was tried");
}

fn query_of(slice: &Slice) -> Option<&str> {
    match &slice.subject {
        SliceSubject::Query(sql) => Some(sql),
        SliceSubject::Relations { .. } => slice.filter.as_deref(),
    }
}

/// Formerly, 106 to 547 rows were missing below the largest: each reader had a time of its own.
#[test]
fn a_filter_by_time_means_one_time_for_all_readers() {
    require!(Capability::Server);
    let database = database("moment", TABLE);
    let source = source(&database);
    for filter in [
        "at <= now()",
        "e.at<=transaction_timestamp ( /* ( */ )and b>=0",
        "at BETWEEN pg_catalog.now() - interval '1 day' AND \"now\"()",
        "at <= CURRENT_TIMESTAMP(6)",
        "at::timestamp <= localtimestamp",
        "at <= (SELECT x.now FROM (SELECT now()) AS x)",
    ] {
        let run = source.table("e").filter(filter).options(parts(4)).open().unwrap();
        assert!(run.plan().n_slices() > 10, "{filter}: {}", run.plan().slicing());
        assert_eq!(run.plan().warnings(), [] as [String; 0], "{filter}");
        assert_is_of_one_moment(&database, &numbers(&collect(run)));
    }
}

/// A token contains the time of its plan, however late it is read.
#[test]
fn tokens_carry_the_time_of_their_plan() {
    require!(Capability::Server);
    let database = database("moment_tokens", TABLE);
    let source = source(&database);
    let query = "SELECT id, now() AS n FROM e WHERE at <= now()";
    let extracts = [
        source.table("e").filter("at <= now()").options(parts(2)),
        source.query(query).options(ExportOptions::default().with_split_on("id").with_readers(2)),
    ];
    for extract in extracts {
        let mut run = extract.open().unwrap();
        let tokens = run.slices().unwrap();
        assert!(tokens.len() > 1);
        let mut batches = Vec::new();
        for token in &tokens {
            let text = query_of(token).unwrap();
            assert!(!text.contains("now()") && text.contains("::pg_catalog.timestamptz"), "{text}");
            let token = Slice::from_json(&token.to_json().unwrap()).unwrap();
            batches.extend(read(source.slice(token)).unwrap().batches);
        }
        assert_is_of_one_moment(&database, &numbers(&batches));
    }
}

/// Asserts that all rows of all slices have the values of the session that holds the snapshot.
fn assert_same_everywhere(source: &Source, query: &str) -> BTreeMap<String, usize> {
    let options = ExportOptions::default().with_split_on("id").with_readers(3);
    let run = source.query(query).options(options).open().unwrap();
    assert!(run.plan().n_slices() > 1, "{query}: {}", run.plan().slicing());
    let mut values = BTreeMap::new();
    for row in render::rows(&collect(run)) {
        let row: Vec<String> = row.into_iter().skip(1).map(Option::unwrap).collect();
        *values.entry(row.join("|")).or_default() += 1;
    }
    assert_eq!(values.len(), 1, "{query}: {values:?}");
    values
}

/// Names, types and values are those of the functions, with microseconds, precision and time zone.
#[test]
fn every_function_of_the_time_keeps_name_type_and_value() {
    require!(Capability::Server);
    let database = database(
        "moment_types",
        "CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 5000) AS g; ANALYZE t",
    );
    let source = source(&database);
    let expressions = [
        "now()",
        "transaction_timestamp()",
        "CURRENT_TIMESTAMP",
        "current_timestamp(2)",
        "current_date",
        "current_time",
        "current_time(0)",
        "localtime",
        "localtime (3)",
        "localtimestamp",
        "Localtimestamp(1)",
        "pg_catalog.now()",
    ];
    let list = expressions
        .map(|expression| format!("{expression}, pg_typeof({expression})::text AS type"))
        .join(", ");
    let options =
        ExportOptions::default().with_split_on("id").with_readers(2).with_setting("timezone", "Asia/Kolkata");
    let sql = format!("SELECT id, {list} FROM t");
    let one = source.query(&sql).options(options.clone().with_readers(1)).open().unwrap();
    let names =
        |run: &Run| run.plan().schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    let types = |run: &Run| {
        run.plan().schema().fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>()
    };
    let (names_of_one, types_of_one) = (names(&one), types(&one));
    drop(one);
    let run = source.query(&sql).options(options).open().unwrap();
    assert!(run.plan().n_slices() > 1, "{}", run.plan().slicing());
    assert_eq!((names(&run), types(&run)), (names_of_one, types_of_one));
    assert_eq!(run.plan().warnings(), [] as [String; 0]);
    let rows: Vec<Vec<Option<String>>> = render::rows(&collect(run));
    assert!(rows.len() == 5000 && rows.iter().all(|row| row[1..] == rows[0][1..]), "one value");
    let values: Vec<&str> = rows[0][1..].iter().map(|value| value.as_deref().unwrap()).collect();
    // The server derives the other values from the first, with their types.
    let sql = format!(
        "SELECT t, t, t, t::timestamptz(2), t::date, t::timetz, t::timetz(0), t::time, t::time(3), t::timestamp, t::timestamp(1), t \
         FROM (SELECT '{}'::timestamptz AS t) AS s",
        values[0]
    );
    let mut client = oracle(&database);
    client.batch_execute("SET timezone = 'Asia/Kolkata'").unwrap();
    let expected = server_text(&mut client, &sql).remove(0);
    let types = query_lines(
        &database,
        &format!("SELECT {}", expressions.map(|e| format!("pg_typeof({e})::text")).join(", ")),
    );
    let types: Vec<&str> = types[0].split('|').collect();
    for (index, expression) in expressions.iter().enumerate() {
        let (value, expected, pg_type) =
            (values[2 * index], expected[index].as_deref().unwrap(), types[index]);
        let sql = format!("SELECT '{value}'::{pg_type} = '{expected}'::{pg_type}");
        assert_eq!(
            server_text(&mut client, &sql)[0][0].as_deref(),
            Some("t"),
            "{expression}: {value}, {expected}"
        );
        assert_eq!(values[2 * index + 1], pg_type, "{expression}");
    }
}

/// The place of a time in a query decides whether a value can replace it. If not, one connection reads.
#[test]
fn a_time_in_any_place_is_one_time() {
    require!(Capability::Server);
    let database = database(
        "moment_places",
        "CREATE TABLE t AS SELECT g AS id, now() AS at, date '2000-01-01' AS timestamptz \
                  FROM generate_series(1, 5000) AS g; ANALYZE t",
    );
    let source = source(&database);
    for query in [
        "SELECT id, now() FROM t",
        "SELECT id, x.now FROM t, (SELECT now()) AS x",
        "SELECT id, (x).current_date FROM t, (SELECT DISTINCT ON (now()) current_date, timestamptz FROM t) AS x",
        "SELECT id, date_trunc('day', now()), extract(epoch from now()), now()::text, -(now() - at) FROM t WHERE at <= now()",
        "SELECT id, x FROM t, generate_series(now() - interval '1 h', now(), '1 h') AS x WHERE x = now()",
        "WITH w AS (SELECT id, count(*) FILTER (WHERE at <= now()) OVER (ORDER BY now()) AS c, localtime FROM t) SELECT id, w.localtime FROM w",
        "SELECT id, CASE WHEN at IS DISTINCT FROM now() THEN current_timestamp ELSE now() END FROM t",
        "SELECT id, cast(now() AS text), \"now\"(), 'nowhere()'::text, at AS current_date FROM t -- now()",
    ] {
        assert_same_everywhere(&source, query);
    }
    for query in [
        "SELECT id, x FROM t, now() AS x",
        "SELECT id, d.* FROM t CROSS JOIN current_date AS d",
        "SELECT id, at current_date FROM t",
    ] {
        let export = of_one(source.query(query), "id");
        assert_eq!(export.n_rows, 5000, "{query}");
    }
}

struct One {
    n_rows: usize,
    slicing: String,
    warnings: Vec<String>,
}

/// Asserts that one connection reads an export that could be split, and that the plan says so.
#[track_caller]
fn of_one(extract: Extract, key: &str) -> One {
    let options = ExportOptions::default().with_split_on(key).with_readers(3);
    let mut run = extract.options(options).open().unwrap();
    let slicing = run.plan().slicing().to_string();
    let warnings: Vec<String> = run.plan().warnings().iter().map(ToString::to_string).collect();
    assert_eq!(run.plan().n_slices(), 1, "{slicing}");
    assert!(slicing.starts_with("one stream: ") && slicing.contains("may differ"), "{slicing}");
    assert!(warnings.iter().any(|warning| warning.contains("one connection reads")), "{warnings:?}");
    assert_eq!(run.slices().unwrap().len(), 1, "hold gives it one token");
    One { n_rows: collect(run).iter().map(RecordBatch::num_rows).sum(), slicing, warnings }
}

const THINGS: &str = "CREATE TABLE t AS SELECT g AS id, now() AS at, 'now'::text AS x FROM generate_series(1, 5000) AS g; \
    ANALYZE t; \
    CREATE VIEW recent AS SELECT * FROM t WHERE at <= now(); \
    CREATE VIEW today AS SELECT * FROM t WHERE at::date <= CURRENT_DATE; \
    CREATE VIEW late AS SELECT * FROM t WHERE at <= 'now'::text::timestamptz; \
    CREATE VIEW over_it AS SELECT r.id FROM (SELECT id FROM recent) AS r; \
    CREATE VIEW steady AS SELECT id, at, random() AS chance, current_user AS who, to_char(at, 'YYYY') AS y FROM t; \
    CREATE FUNCTION mine(int4) RETURNS int4 STABLE LANGUAGE sql AS 'SELECT $1'; \
    CREATE FUNCTION pure(int4) RETURNS int4 IMMUTABLE LANGUAGE sql AS 'SELECT $1'; \
    CREATE FUNCTION late_default(int4, timestamptz DEFAULT now()) RETURNS timestamptz IMMUTABLE LANGUAGE sql AS 'SELECT $2'; \
    CREATE FUNCTION of_row(t) RETURNS int4 VOLATILE LANGUAGE sql AS 'SELECT $1.id'; \
    CREATE OPERATOR <+> (LEFTARG = int4, RIGHTARG = int4, FUNCTION = add); \
    CREATE AGGREGATE summed(int4) (SFUNC = add, STYPE = int4); \
    CREATE TYPE own AS (a int4); CREATE CAST (int4 AS own) WITH FUNCTION to_own(int4); \
    CREATE VIEW with_function AS SELECT id, mine(id) FROM t; CREATE VIEW with_operator AS SELECT id, id <+> 1 AS s FROM t";

fn things(hint: &str) -> Database {
    let before = "CREATE FUNCTION add(int4, int4) RETURNS int4 STABLE LANGUAGE sql AS 'SELECT $1 + $2'; ";
    let things = THINGS.replace(
        "CREATE TYPE own AS (a int4); ",
        "CREATE TYPE own AS (a int4); CREATE FUNCTION to_own(int4) RETURNS own STABLE LANGUAGE sql AS 'SELECT ROW($1)::own'; ",
    );
    database(hint, &format!("{before}{things}"))
}

#[test]
fn what_differs_between_sessions_is_read_by_one() {
    require!(Capability::Server);
    let database = things("differing");
    let source = source(&database);
    for (filter, named) in [
        ("at <= clock_timestamp()", "clock_timestamp()"),
        ("at <= statement_timestamp()", "statement_timestamp()"),
        ("at <= 'now'", "'now'"),
        ("at::date <= E'\\x54oday'", "'today'"),
        ("at < $$ Tomorrow 12:00 $$::timestamp", "'tomorrow'"),
        ("at > 'yester'\n'day'::timestamptz", "'yesterday'"),
        ("at > U&'n\\006fw' OR id > 0", "U&"),
        ("age(at) < interval '1 day'", "age()"),
        ("id <> pg_backend_pid() + 1000000", "pg_backend_pid()"),
        ("id > 0 OR Pg_Catalog . txid_current() = 1", "txid_current()"),
        ("current_setting('application_name') <> ''", "application_name"),
        ("pg_relation_size('t') > 0", "pg_relation_size()"),
        ("mine(id) > 0", "mine()"),
        ("public.\"mine\" (id) > 0", "mine()"),
        ("t.of_row > 0", "of_row()"),
        ("id <+> 1 > 0", "add()"),
        ("id = (SELECT summed(1)) OR id > 0", "summed()"),
        ("(id::own).a > 0", "to_own()"),
        ("late_default(id) IS NOT NULL", "late_default()"),
        ("id IN (SELECT id FROM recent)", "now of the view recent"),
        ("id IN (SELECT id FROM public.over_it)", "now of the view recent"),
        ("EXISTS (TABLE today)", "CURRENT_DATE of the view today"),
        ("id IN (SELECT id FROM late)", "'now' of the view late"),
    ] {
        let one = of_one(source.table("t").filter(filter), "id");
        assert!(one.slicing.contains(named), "{filter}: {}", one.slicing);
        assert!(one.warnings.iter().any(|warning| warning.contains(named)), "{filter}");
        assert_eq!(one.n_rows, 5000, "{filter}");
    }
    for (view, named) in [
        ("recent", "now"),
        ("over_it", "now"),
        ("today", "CURRENT_DATE"),
        ("with_function", "mine"),
        ("with_operator", "add"),
    ] {
        assert!(of_one(source.table(view), "id").slicing.contains(named), "{view}");
        assert!(
            of_one(source.query(format!("SELECT * FROM {view}")), "id").slicing.contains(named),
            "{view}"
        );
    }
    // Also with slices by pages.
    let run = source.table("t").filter("at <= clock_timestamp()").options(parts(3)).open().unwrap();
    assert_eq!(run.plan().n_slices(), 1, "{}", run.plan().slicing());
    assert_eq!(collect(run).iter().map(RecordBatch::num_rows).sum::<usize>(), 5000);
}

/// Statements that mean the same in all sessions, or whose result is arbitrary anyway, keep several readers.
#[test]
fn what_all_sessions_share_is_read_by_several() {
    require!(Capability::Server);
    let database = things("shared");
    let source = source(&database);
    for filter in [
        "id > 0",
        "random() < 2",
        "to_char(at, 'YYYY') > '' AND current_user = session_user AND current_setting('timezone') <> ''",
        "age(at, at) = '0' AND at::date >= '2000-01-01' AND x <> 'now, this is a sentence and nothing else'",
        "pure(id) > 0 AND t.id <> 0",
        "id IN (SELECT id FROM steady WHERE y > '') -- now() 'now' clock_timestamp()",
        "\"x\" = '/* clock_timestamp() */' OR at > now() - interval '1 day'",
    ] {
        let options = ExportOptions::default().with_split_on("id").with_readers(3);
        let run = source.table("t").filter(filter).options(options).open().unwrap();
        assert!(run.plan().n_slices() > 1, "{filter}: {}", run.plan().slicing());
        assert_eq!(collect(run).iter().map(RecordBatch::num_rows).sum::<usize>(), 5000, "{filter}");
    }
    let options = ExportOptions::default().with_split_on("id").with_readers(3);
    let run = source.table("steady").options(options).open().unwrap();
    assert!(run.plan().n_slices() > 1, "{}", run.plan().slicing());
}

/// A user's own `now()`, first on the search path or outside of it, is not taken for the server's.
#[test]
fn a_function_of_the_same_name_is_not_taken_for_the_servers() {
    require!(Capability::Server);
    let database = things("shadow");
    database.execute("CREATE FUNCTION public.now() RETURNS timestamptz VOLATILE LANGUAGE sql AS $$SELECT 'infinity'::timestamptz$$");
    let source = source(&database);
    let options = ExportOptions::default().with_split_on("id").with_readers(2);
    let first = options.clone().with_setting("search_path", "public, pg_catalog");
    for (filter, options, is_one) in [
        ("at <= now()", &first, true),
        ("at <= public.now()", &options, true),
        ("at <= pg_catalog.now()", &first, false),
    ] {
        let run = source.table("public.t").filter(filter).options(options.clone()).open().unwrap();
        assert_eq!(run.plan().n_slices() == 1, is_one, "{filter}: {}", run.plan().slicing());
        assert_eq!(collect(run).iter().map(RecordBatch::num_rows).sum::<usize>(), 5000, "{filter}");
    }
}

/// For every built-in function without arguments that is not IMMUTABLE, it is known whether it is the same in
/// all sessions. A server with a new one fails the test.
#[test]
fn every_function_of_the_server_is_known() {
    /// STABLE, and the same in all sessions of one role, database, server, snapshot and settings.
    const SHARED: [&str; 33] = [
        "current_catalog",
        "current_database",
        "current_role",
        "current_schema",
        "current_user",
        "get_current_ts_config",
        "getdatabaseencoding",
        "getpgusername",
        "inet_server_addr",
        "inet_server_port",
        "json_array",
        "json_build_array",
        "json_build_object",
        "jsonb_build_array",
        "jsonb_build_object",
        "pg_available_extension_versions",
        "pg_available_extensions",
        "pg_client_encoding",
        "pg_config",
        "pg_current_snapshot",
        "pg_event_trigger_ddl_commands",
        "pg_event_trigger_dropped_objects",
        "pg_event_trigger_table_rewrite_oid",
        "pg_event_trigger_table_rewrite_reason",
        "pg_get_catalog_foreign_keys",
        "pg_get_keywords",
        "pg_numa_available",
        "pg_postmaster_start_time",
        "pg_trigger_depth",
        "session_user",
        "system_user",
        "txid_current_snapshot",
        "version",
    ];
    require!(Capability::Server);
    let database = database("functions", "");
    let known: Vec<&str> = DIFFER.into_iter().chain(SHARED).collect();
    let sql = "SELECT p.proname FROM pg_proc p WHERE pronamespace = 'pg_catalog'::regnamespace AND p.oid < 16384 \
        AND provolatile = 's' AND pronargs = pronargdefaults AND proname !~ '^pg_stat_get_' \
        AND prorettype <> ALL ('{trigger,event_trigger}'::regtype[]) ORDER BY 1";
    let unknown: Vec<String> =
        query_lines(&database, sql).into_iter().filter(|name| !known.contains(&name.as_str())).collect();
    assert_eq!(unknown, [] as [&str; 0], "the same in all sessions, or not?");
    // Functions whose result is arbitrary anyway are volatile on every server that has them, and none depends
    // on the time.
    let sql = format!(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace \
         AND proname = ANY ('{{{}}}') AND provolatile <> 'v' OR proname = ANY ('{{{}}}') AND provolatile = 'i' \
         AND proname <> 'age' AND pronamespace = 'pg_catalog'::regnamespace",
        INDIFFERENT.join(","),
        DIFFER.join(",")
    );
    assert_eq!(query_lines(&database, &sql), [] as [&str; 0]);
}
