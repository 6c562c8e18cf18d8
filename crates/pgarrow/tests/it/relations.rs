//! What can be read: kinds of relations, privileges, row security, and which settings hold.

use pgarrow::{ErrorKind, ExportOptions, Source};
use pgarrow_testkit::{Capability, require};

use crate::support::{
    APPLICATION, Role, assert_error, assert_table, database, oracle, query_lines, read, refusal, server_text,
    source, source_as, url, url_as, wait_until_no_sessions, with_parameter,
};

#[test]
fn a_partitioned_table_whose_partitions_order_their_columns_differently() {
    require!(Capability::Server);
    let database = database(
        "partitions",
        "CREATE TABLE e (k int4, v text) PARTITION BY RANGE (k); \
         CREATE TABLE e1 PARTITION OF e FOR VALUES FROM (0) TO (1000); \
         CREATE TABLE e2 (v text, junk int4, k int4); ALTER TABLE e2 DROP COLUMN junk; \
         ALTER TABLE e ATTACH PARTITION e2 FOR VALUES FROM (1000) TO (2000); \
         CREATE TABLE ed PARTITION OF e DEFAULT; \
         INSERT INTO e SELECT g, repeat('v', g % 50) FROM generate_series(0, 2500) AS g",
    );
    assert_eq!(assert_table(&database, "e", "*").n_rows(), 2501);
    assert_eq!(assert_table(&database, "e2", "*").n_rows(), 1000);
}

#[test]
fn an_inheritance_parent_with_its_children() {
    require!(Capability::Server);
    let database = database(
        "inherits",
        "CREATE TABLE e (a int4); CREATE TABLE child (b int4) INHERITS (e); \
         INSERT INTO e VALUES (1); INSERT INTO child VALUES (2, 3)",
    );
    assert_eq!(assert_table(&database, "e", "*").lines(), ["1", "2"]);
}

#[test]
fn a_view() {
    require!(Capability::Server);
    let sql = "CREATE TABLE e AS SELECT g AS a FROM generate_series(1, 3) AS g; \
               CREATE VIEW v AS SELECT a, a::text AS t FROM e ORDER BY a DESC";
    assert_eq!(assert_table(&database("view", sql), "v", "*").lines(), ["3|3", "2|2", "1|1"]);
}

#[test]
fn a_materialized_view_is_held_by_a_second_session() {
    require!(Capability::Server);
    let sql = "CREATE MATERIALIZED VIEW m AS SELECT g AS a FROM generate_series(1, 3) AS g";
    let database = database("matview", sql);
    let run = source(&database).table("m").open().unwrap();
    assert_eq!(database.n_sessions(APPLICATION), 2);
    let refresh = "SET lock_timeout = '100ms'; REFRESH MATERIALIZED VIEW m";
    let error = database.client().batch_execute(refresh).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "55P03", "nobody refreshes it while it is read");
    let mut n_rows = 0;
    run.for_each(|batch| {
        n_rows += batch.num_rows();
        Ok(())
    })
    .unwrap();
    assert_eq!(n_rows, 3);
    wait_until_no_sessions(&database);
    database.execute(refresh);
}

#[test]
fn a_materialized_view_that_was_never_filled() {
    require!(Capability::Server);
    let database = database("nodata", "CREATE MATERIALIZED VIEW m AS SELECT 1 AS a WITH NO DATA");
    assert_error(&refusal(source(&database).table("m")), ErrorKind::Server, Some("55000"), &["\"m\""]);
    wait_until_no_sessions(&database);
}

#[test]
fn a_foreign_table_with_its_own_values() {
    require!(Capability::Server, Capability::Superuser, Capability::Extension("file_fdw"));
    let database = database(
        "foreign",
        "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw; \
         CREATE FOREIGN TABLE f (a int4, b text) SERVER files \
           OPTIONS (program 'printf \"1,x\\n2,\\n\"', format 'csv')",
    );
    assert_eq!(read(source(&database).table("f")).unwrap().lines(), ["1|x", "2|∅"]);
}

#[test]
fn a_foreign_table_of_another_server() {
    require!(Capability::PrivateServer, Capability::Extension("postgres_fdw"));
    let database =
        database("fdw", "CREATE TABLE far AS SELECT g AS a, g::text AS b FROM generate_series(1, 1000) AS g");
    let server = pgarrow_testkit::TestServer::shared().private().unwrap();
    database.execute(&format!(
        "CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw \
           OPTIONS (host '127.0.0.1', port '{}', dbname '{}'); \
         CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (user 'postgres'); \
         CREATE FOREIGN TABLE f (a int4 NOT NULL, b text) SERVER far OPTIONS (table_name 'far')",
        server.port(),
        database.name()
    ));
    let export = assert_table(&database, "f", "*");
    assert!(export.schema.field(0).is_nullable(), "a foreign server promises nothing");
}

#[test]
fn a_temporary_table_of_another_session_is_not_there() {
    require!(Capability::Server);
    let database = database("temporary", "");
    let mut owner = database.client();
    owner.batch_execute("CREATE TEMPORARY TABLE mine AS SELECT 1 AS a").unwrap();
    assert_error(&refusal(source(&database).table("mine")), ErrorKind::Options, None, &["mine"]);
    let schema = owner
        .query_one("SELECT nspname::text FROM pg_namespace WHERE oid = pg_my_temp_schema()", &[])
        .unwrap()
        .get::<_, String>(0);
    let error = refusal(source(&database).table(format!("{schema}.mine")));
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Server, Some("0A000")), "{error}");
    // Also with other tables.
    database.execute("CREATE TABLE e AS SELECT 1 AS a");
    let error = source(&database).tables(["e".to_owned(), format!("{schema}.mine")]).open().unwrap_err();
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Server, Some("0A000")), "{error}");
}

#[test]
fn unlogged_tables_are_tables() {
    require!(Capability::Server);
    let database = database("unlogged", "CREATE UNLOGGED TABLE e AS SELECT 1 AS a");
    assert_eq!(assert_table(&database, "e", "*").lines(), ["1"]);
}

#[test]
fn sequences_indexes_and_types_are_refused() {
    require!(Capability::Server);
    let database = database(
        "refused",
        "CREATE SEQUENCE s; CREATE TABLE e (a int4 PRIMARY KEY); CREATE TYPE c AS (a int4)",
    );
    for (name, what) in [("s", "sequence"), ("e_pkey", "index"), ("c", "composite type")] {
        assert_error(&refusal(source(&database).table(name)), ErrorKind::Options, None, &[name, what]);
    }
}

#[test]
fn a_table_that_is_not_there() {
    require!(Capability::Server);
    let database = database("missing", "CREATE SCHEMA s; CREATE TABLE s.e (a int4)");
    for name in ["e", "s.f", "t.e", "\"S\".e"] {
        let error = refusal(source(&database).table(name));
        assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Options, None), "{error}");
    }
}

#[test]
fn a_column_that_is_not_there_is_told_with_those_that_are() {
    require!(Capability::Server);
    let database = database("columns", "CREATE TABLE e (a int4, \"B b\" int4)");
    let error = refusal(source(&database).table("e").columns(["a", "c"]));
    assert_error(&error, ErrorKind::Options, None, &["public.e", "\"c\"", "\"B b\""]);
    let error = refusal(source(&database).table("e").columns(["a", "a"]));
    assert_error(&error, ErrorKind::Options, None, &["twice"]);
}

#[test]
fn a_name_without_a_schema_is_looked_up_on_the_search_path() {
    require!(Capability::Server);
    let database = database(
        "path",
        "CREATE SCHEMA s; CREATE SCHEMA \"S t\"; CREATE TABLE s.e AS SELECT 's' AS a; \
         CREATE TABLE \"S t\".e AS SELECT 'S t' AS a; CREATE TABLE e AS SELECT 'public' AS a",
    );
    let first = |path: &str| {
        let options = ExportOptions::default().with_setting("search_path", path);
        read(source(&database).table("e").options(options)).unwrap().lines()
    };
    assert_eq!(first("s, public"), ["s"]);
    assert_eq!(first("\"S t\", s"), ["S t"]);
    assert_eq!(read(source(&database).table("e")).unwrap().lines(), ["public"]);
    assert_eq!(read(source(&database).table("\"S t\".E")).unwrap().lines(), ["S t"]);
}

#[test]
fn a_search_path_full_of_traps_changes_nothing() {
    require!(Capability::Server);
    // Functions, operators and tables with the names of those in the catalog.
    let database = database(
        "traps",
        "CREATE SCHEMA trap; \
         CREATE FUNCTION trap.format_type(oid, int4) RETURNS text LANGUAGE sql AS $$ SELECT 'trapped' $$; \
         CREATE FUNCTION trap.never(oid, oid) RETURNS bool LANGUAGE sql AS $$ SELECT false $$; \
         CREATE OPERATOR trap.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = trap.never); \
         CREATE TABLE trap.pg_class (oid oid, relname name); CREATE TABLE trap.pg_attribute (attname name); \
         CREATE TABLE trap.pg_type (oid oid); CREATE DOMAIN trap.text AS pg_catalog.text CHECK (false); \
         CREATE TYPE mood AS ENUM ('ok'); CREATE DOMAIN d AS int4; \
         CREATE TABLE e (a int4[], b mood, c d, m money); INSERT INTO e VALUES ('{1}', 'ok', 2, 3)",
    );
    let options = ExportOptions::default().with_setting("search_path", "trap, pg_catalog, public");
    let export = read(source(&database).table("e").options(options)).unwrap();
    assert_eq!(export.lines(), ["{1}|ok|2|3.00"]);
    assert_eq!(export.schema.field(0).metadata()["pg.type"], "integer[]");
}

#[test]
fn a_query_runs_under_the_users_own_search_path_and_time_zone() {
    require!(Capability::Server);
    let database = database(
        "own",
        "CREATE SCHEMA s; CREATE TABLE s.e AS SELECT '2000-01-01 12:00+00'::timestamptz AS a",
    );
    let name = database.name();
    database.execute(&format!("ALTER DATABASE \"{name}\" SET search_path = s, public"));
    database.execute(&format!("ALTER DATABASE \"{name}\" SET timezone = 'Asia/Kathmandu'"));
    let lines =
        query_lines(&database, "SELECT a, a::text, a::date::text, current_setting('TimeZone') FROM e");
    assert_eq!(lines, ["2000-01-01 12:00:00+00|2000-01-01 17:45:00+05:45|2000-01-01|Asia/Kathmandu"]);
    let filter = "a::time = '17:45' AND EXISTS (SELECT FROM e)";
    assert_eq!(read(source(&database).table("e").filter(filter)).unwrap().n_rows(), 1);
}

#[test]
fn a_filter_and_columns_of_a_table() {
    require!(Capability::Server);
    let database =
        database("filter", "CREATE TABLE e AS SELECT g AS a, g::text AS b FROM generate_series(1, 9) AS g");
    let rows =
        |filter: &str| read(source(&database).table("e").columns(["b"]).filter(filter)).unwrap().lines();
    assert_eq!(rows("a > 7"), ["8", "9"]);
    assert_eq!(rows("a = 1 OR a = 3 -- and no more"), ["1", "3"]);
    for (filter, words) in [
        ("nothing = 1", "nothing"),
        ("a > 7) OR (true", "parenthesis"),
        ("a > 7; DROP TABLE e", "more than one"),
        ("a = $1", "takes 1 parameters"),
        ("'open", "quote"),
        ("", "empty"),
        ("a", "boolean"),
    ] {
        let error = refusal(source(&database).table("e").filter(filter));
        assert!(error.to_string().contains(words) && error.to_string().contains("filter"), "{error}");
    }
    assert_eq!(query_lines(&database, "SELECT count(*) FROM e"), ["9"]);
}

#[test]
fn a_role_that_may_read_only_some_columns() {
    require!(Capability::Server, Capability::Superuser);
    let database = database("colpriv", "CREATE TABLE e (a int4, secret int4); INSERT INTO e VALUES (1, 2)");
    let role = Role::new(&database);
    database.execute(&format!("GRANT SELECT (a) ON e TO \"{}\"", role.name));
    let limited = || ExportOptions::default().with_role(&role.name);
    let export = read(source(&database).table("e").columns(["a"]).options(limited())).unwrap();
    assert_eq!(export.lines(), ["1"]);
    let error = refusal(source(&database).table("e").options(limited()));
    assert_error(&error, ErrorKind::Server, Some("42501"), &["grant SELECT", "name only columns"]);
    let error = refusal(source(&database).table("e").columns(["secret"]).options(limited()));
    assert_error(&error, ErrorKind::Server, Some("42501"), &["grant SELECT"]);
    wait_until_no_sessions(&database);
}

#[test]
fn a_role_without_any_privilege() {
    require!(Capability::Server, Capability::Superuser);
    let database = database("nopriv", "CREATE TABLE e (a int4)");
    let role = Role::new(&database);
    let error = refusal(source(&database).table("e").options(ExportOptions::default().with_role(&role.name)));
    assert_error(&error, ErrorKind::Server, Some("42501"), &["grant SELECT"]);
}

#[test]
fn a_role_that_the_user_may_not_take() {
    require!(Capability::Server);
    let database = database("norole", "CREATE TABLE e (a int4)");
    let options = ExportOptions::default().with_role("nobody \"at\" all");
    let error = refusal(source(&database).table("e").options(options));
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Server, Some("22023")), "{error}");
}

const RLS: &str = "CREATE TABLE e AS SELECT g AS a FROM generate_series(1, 3) AS g; \
                   ALTER TABLE e ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON e USING (a = 2)";

#[test]
fn row_security_is_an_error_and_no_silent_subset() {
    require!(Capability::Server, Capability::Superuser);
    let database = database("rls", RLS);
    let role = Role::new(&database);
    database.execute(&format!("GRANT SELECT ON e TO \"{}\"", role.name));
    let limited = || ExportOptions::default().with_role(&role.name);
    let error = refusal(source(&database).table("e").options(limited()));
    assert_error(&error, ErrorKind::Server, Some("42501"), &["row_security=on"]);
    let error = refusal(source(&database).query("SELECT * FROM e").options(limited()));
    assert_error(&error, ErrorKind::Server, Some("42501"), &["row_security=on"]);
    let subset = limited().with_setting("row_security", "on");
    assert_eq!(read(source(&database).table("e").options(subset)).unwrap().lines(), ["2"]);
    assert_eq!(read(source(&database).table("e")).unwrap().n_rows(), 3, "its owner is above it");
}

#[test]
fn settings_are_in_force_and_those_that_change_values_are_refused() {
    require!(Capability::Server);
    let database = database("settings", "");
    let options =
        ExportOptions::default().with_setting("work_mem", "7MB").with_setting("my.own", "it's \\ é");
    let sql = "SELECT current_setting('work_mem'), current_setting('my.own')";
    assert_eq!(read(source(&database).query(sql).options(options)).unwrap().lines(), ["7MB|it's \\ é"]);
    for name in [
        "client_encoding",
        "DateStyle",
        "IntervalStyle",
        "extra_float_digits",
        "bytea_output",
        "standard_conforming_strings",
    ] {
        let options = ExportOptions::default().with_setting(name, "x");
        let error = refusal(source(&database).query("SELECT 1").options(options));
        assert_error(&error, ErrorKind::Options, None, &[name]);
    }
    let options = ExportOptions::default().with_setting("no_such_setting", "x");
    let error = refusal(source(&database).query("SELECT 1").options(options));
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Server, Some("42704")), "{error}");
}

#[test]
fn a_role_with_hostile_settings_reads_the_same() {
    require!(Capability::PrivateServer);
    let database = database(
        "hostile",
        "CREATE TABLE e AS SELECT g AS id, '2000-02-01 12:34:56.789'::timestamp + g * interval '1 day' AS ts, \
           now() + g * interval '1 hour' AS tz, g / 3.0::float8 AS f, interval '1 mon 2 days' * g AS i, \
           decode(md5(g::text), 'hex') AS b, 'é\\' || g AS t, array[g / 7.0::float8] AS fa, \
           daterange('2000-01-01', '2000-01-01'::date + g) AS r FROM generate_series(1, 1000) AS g",
    );
    let role = Role::new(&database);
    let name = &role.name;
    database.execute(&format!("GRANT SELECT ON e TO \"{name}\""));
    for setting in [
        "datestyle = 'German, DMY'",
        "intervalstyle = 'sql_standard'",
        "extra_float_digits = -15",
        "bytea_output = 'escape'",
        "statement_timeout = '1ms'",
        "lock_timeout = '1ms'",
        "idle_in_transaction_session_timeout = '1ms'",
        "client_encoding = 'LATIN1'",
        "search_path = 'nowhere'",
        "row_security = off",
        "timezone = 'America/Caracas'",
        "default_transaction_isolation = 'read committed'",
        "default_transaction_read_only = off",
        "standard_conforming_strings = off",
        "backslash_quote = on",
        "synchronize_seqscans = on",
    ] {
        database.execute(&format!("ALTER ROLE \"{name}\" SET {setting}"));
    }
    let expected = server_text(&mut oracle(&database), "SELECT * FROM e");
    // The statements that plan the export run outside of its transaction, under the role's own timeout.
    database.execute(&format!("ALTER ROLE \"{name}\" SET statement_timeout = '5s'"));
    let export = read(source_as(&database, name).table("public.e")).unwrap();
    export.assert_is(&expected);
}

#[test]
fn options_of_the_connection_are_in_force() {
    require!(Capability::Server);
    let database = database("options", "CREATE SCHEMA s; CREATE TABLE s.e AS SELECT 1 AS a");
    let url = with_parameter(&url(&database), "options=-csearch_path%3Ds");
    let source = Source::connect_blocking(&url).unwrap();
    assert_eq!(read(source.table("e")).unwrap().lines(), ["1"]);
}

#[test]
fn a_user_that_does_not_exist() {
    require!(Capability::PrivateServer);
    let database = database("nouser", "");
    let error = Source::connect_blocking(&url_as(&database, "nobody")).unwrap_err();
    assert_error(&error, ErrorKind::Server, Some("28000"), &["nobody"]);
}

#[test]
fn patterns_of_psql_name_tables() {
    require!(Capability::Server);
    let sql = "CREATE SCHEMA s; CREATE TABLE s.order_1 (a int); CREATE TABLE s.order_2 (a int); \
               CREATE TABLE s.\"Order*\" (a int); CREATE TABLE s.\"a.b\" (a int); CREATE VIEW s.v AS SELECT 1 AS a; \
               CREATE TABLE s.p (a int) PARTITION BY LIST (a); CREATE TABLE s.p_1 PARTITION OF s.p DEFAULT; \
               CREATE MATERIALIZED VIEW s.m AS SELECT 1 AS a; CREATE TABLE order_3 (a int)";
    let source = source(&database("patterns", sql));
    let found = |patterns: &[&str], excluded: &[&str]| {
        let tables = patterns.iter().fold(source.tables([""; 0]), |tables, pattern| tables.pattern(*pattern));
        let tables = excluded.iter().fold(tables, |tables, pattern| tables.exclude(*pattern));
        let run = tables.open().map_err(|error| error.to_string())?;
        let subjects: Vec<_> = run.plans().iter().map(|plan| plan.subject().to_owned()).collect();
        Ok::<String, String>(subjects.join(" "))
    };
    for (patterns, excluded, expected) in [
        (&["s.*"][..], &[][..], r#"s."Order*" s."a.b" s.m s.order_1 s.order_2 s.p"#),
        (&["S.ORDER_?"], &[], "s.order_1 s.order_2"),
        (&["order_*"], &[], "public.order_3"),
        (&["s.*", "order_3"], &["s.*_1", "*.\"a.b\"", "s.m"], r#"public.order_3 s."Order*" s.order_2 s.p"#),
        (&["s.\"Order*\""], &[], r#"s."Order*""#),
        (&["s.order_[13]", "s.order_1"], &[], "s.order_1"),
        // Without a wildcard it is a name, also of a view and of a partition.
        (&["s.v", "s.p_1"], &[], "s.v s.p_1"),
        (&["s.*"], &["order*", "*.\"O\"*"], r#"s."a.b" s.m s.p"#),
    ] {
        assert_eq!(found(patterns, excluded), Ok(expected.to_owned()), "{patterns:?} {excluded:?}");
    }
    for (patterns, excluded, why) in [
        (&["x.*"][..], &[][..], "no table matches the pattern \"x.*\""),
        (&["s.z*", "x"], &[], "no table matches the pattern \"s.z*\""),
        (&["pg_catalog.*"], &[], "no table matches"),
        (&["s.*"], &["*.*"], "there are no tables to export"),
        (&["s.(*"], &[], "2201B"),
        (&["a.b.c*"], &[], "the pattern \"a.b.c*\" cannot be used"),
        (&["s.*"], &["\"x"], "a quote has no end"),
    ] {
        let error = found(patterns, excluded).unwrap_err();
        assert!(error.contains(why), "{patterns:?} {excluded:?}: {error}");
    }
}
