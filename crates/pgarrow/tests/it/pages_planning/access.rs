//! Which roles may ask for pages, on which servers and of which tables.

use pgarrow::{ErrorKind, ExportOptions, ReadMode, Source, install_pages_sql};
use pgarrow_server::Server;
use pgarrow_testkit::{Capability, TestServer, require, server_options};

use super::{
    FUNCTION, all_pages, assert_copied, both, by, grant, inspected, pages, read, status, superuser, vacuum,
};
use crate::support::{Role, assert_error, database, lines, server_text, source_as, url};

/// Some pages, all of them all-visible.
const TABLE: &str =
    "CREATE TABLE e AS SELECT g AS id, repeat('x', 100) AS t FROM generate_series(1, 1000) AS g";

macro_rules! require_pages {
    () => {
        require!(
            Capability::Server,
            Capability::Superuser,
            Capability::VersionAtLeast(140_000),
            Capability::Extension("pageinspect")
        )
    };
}
pub(crate) use require_pages;

#[test]
fn a_superuser_needs_the_extension() {
    require_pages!();
    let large =
        "CREATE TABLE large AS SELECT g AS id, repeat('x', 100) AS t FROM generate_series(1, 20000) AS g";
    let database = database("inspect", &format!("{TABLE}; {large}"));
    vacuum(&database, "e, large");
    let source = superuser(&database);
    let status = source.pages_status::<&str>(&[]).unwrap();
    assert!(!status.possible && !status.automatic && status.source.is_none());
    assert_eq!(status.why_not, ["the extension pageinspect is not installed (CREATE EXTENSION pageinspect)"]);
    let error = read(source.table("e").options(by(ReadMode::Pages))).unwrap_err();
    assert_error(
        &error,
        ErrorKind::Options,
        None,
        &["CREATE EXTENSION pageinspect", "`Source::pages_status`"],
    );
    // If the user did not ask for pages, the report says why not, and rows come by COPY.
    let (_, report) = read(source.table("large").options(by(ReadMode::Auto))).unwrap();
    assert_eq!((pages(&report), report.read_mode), ((0, 0), ReadMode::Copy));
    assert_eq!(report.page_notes, status.why_not);
    // The server is not queried if pages would not be read anyway.
    let (_, report) = read(source.table("e").options(by(ReadMode::Auto))).unwrap();
    assert_eq!(report.page_notes, ["public.e: it is small"]);
    let filtered = source.table("large").filter("id > 4").options(by(ReadMode::Auto));
    let notes = read(filtered).unwrap().1.page_notes;
    assert_eq!(notes, ["public.large: the server applies the filter, so rows come by COPY"]);
    database.execute("CREATE VIEW v AS SELECT * FROM large");
    let (_, report) = read(source.table("v").options(by(ReadMode::Auto))).unwrap();
    assert_eq!(report.page_notes, ["public.v: public.v is a view"]);
    // With COPY as the read mode, there are no notes.
    let (_, report) = read(source.table("e").options(by(ReadMode::Copy))).unwrap();
    assert!(report.page_notes.is_empty());

    // In a schema that needs quotes, and is not on the path.
    database.execute("CREATE SCHEMA \"in'sp\"\"ect\"; CREATE EXTENSION pageinspect SCHEMA \"in'sp\"\"ect\"");
    let status = source.pages_status(&["e"]).unwrap();
    assert_eq!(
        (status.possible, status.automatic, status.source.as_deref()),
        (true, true, Some("pageinspect"))
    );
    assert!(status.why_not.is_empty());
    let report = both(&source, "e");
    let n_pages = status.tables[0].pages;
    assert!(n_pages > 10 && status.tables[0].all_visible == n_pages);
    assert_eq!((all_pages(&report), report.read_mode), (n_pages, ReadMode::Pages));
}

#[test]
fn an_old_extension_has_not_the_function() {
    require_pages!();
    let database = database("old", "CREATE EXTENSION pageinspect VERSION '1.8'");
    let status = superuser(&database).pages_status::<&str>(&[]).unwrap();
    assert!(!status.possible);
    assert!(status.why_not[0].contains("older than 1.9"), "{:?}", status.why_not);
}

#[test]
fn another_role_needs_the_function() {
    require_pages!();
    let database = inspected("function", TABLE);
    vacuum(&database, "e");
    let role = Role::new(&database);
    database.execute(&format!("GRANT SELECT ON e TO \"{}\"", role.name));
    let source = source_as(&database, &role.name);
    let why_not = |source: &Source| {
        let status = source.pages_status(&["e"]).unwrap();
        assert!(!status.possible);
        assert!(status.tables[0].possible, "of the table itself: {status:?}");
        assert_eq!(status.why_not.len(), 1, "{status:?}");
        status.why_not[0].clone()
    };
    assert!(why_not(&source).contains("is not installed (`install_pages_sql`)"));
    let error = read(source.table("e").options(by(ReadMode::Pages))).unwrap_err();
    assert_error(&error, ErrorKind::Options, None, &["`install_pages_sql`", "`Source::pages_status`"]);

    database.execute(FUNCTION);
    assert_eq!(why_not(&source), "the role may not execute the function pgarrow.heap_page");
    database.execute("GRANT EXECUTE ON FUNCTION pgarrow.heap_page TO PUBLIC");
    assert_eq!(
        why_not(&source),
        "the role may not execute the function pgarrow.heap_page",
        "without its schema"
    );
    grant(&database, &role);
    let status = source.pages_status(&["e"]).unwrap();
    assert_eq!((status.possible, status.source.as_deref()), (true, Some("function")));
    assert!(lines(&status.advice).contains("an older version"), "{status:?}");
    let report = both(&source, "e");
    assert_eq!((all_pages(&report), report.read_mode), (status.tables[0].pages, ReadMode::Pages));
    // The next installation takes its place, also for who was granted it.
    database.execute(&install_pages_sql::<&str>(&[]).unwrap());
    let status = source.pages_status(&["e"]).unwrap();
    assert_eq!((status.possible, status.source.as_deref()), (true, Some("function")), "{status:?}");
    assert!(status.advice.is_empty(), "{status:?}");
    let report = both(&source, "e");
    assert_eq!((all_pages(&report), report.read_mode), (status.tables[0].pages, ReadMode::Pages));
    let before = "SELECT to_regprocedure('pgarrow.heap_page(oid, int8)') IS NULL";
    assert_eq!(server_text(&mut database.client(), before)[0][0].as_deref(), Some("t"));
    // Tables of less than 1 MiB come by COPY unless pages are asked for.
    let (_, report) = read(source.table("e").options(by(ReadMode::Auto))).unwrap();
    assert_eq!((pages(&report), report.page_notes), ((0, 0), vec!["public.e: it is small".into()]));
}

/// Any role that may create a schema could have made it.
#[test]
fn a_function_of_anybody_is_not_used() {
    require_pages!();
    let database = inspected("faked", TABLE);
    let role = Role::new(&database);
    database.execute(&format!("GRANT SELECT ON e TO \"{0}\"; {FUNCTION}", role.name));
    grant(&database, &role);
    let source = source_as(&database, &role.name);
    assert!(source.pages_status::<&str>(&[]).unwrap().possible);
    let refused = |change: &str, why: &str| {
        database.execute(change);
        let status = source.pages_status::<&str>(&[]).unwrap();
        assert!(!status.possible && status.why_not[0].contains(why), "{change}: {status:?}");
    };
    refused("ALTER FUNCTION pgarrow.heap_page SECURITY INVOKER", "not SECURITY DEFINER");
    database.execute("ALTER FUNCTION pgarrow.heap_page SECURITY DEFINER");
    database.execute(&format!("GRANT CREATE ON SCHEMA pgarrow TO \"{}\"", role.name));
    refused(
        &format!("ALTER FUNCTION pgarrow.heap_page OWNER TO \"{}\"", role.name),
        "not owned by a superuser",
    );
    // With other arguments or results it is another function.
    for function in [
        "heap_page(relation regclass, block bigint) RETURNS bytea LANGUAGE sql SECURITY DEFINER AS $$SELECT ''::bytea$$",
        "heap_page(relation oid, block int4) RETURNS bytea LANGUAGE sql SECURITY DEFINER AS $$SELECT ''::bytea$$",
        "heap_page(relation oid, block bigint) RETURNS text LANGUAGE sql SECURITY DEFINER AS $$SELECT ''::text$$",
        "heap_page(relation oid, block bigint) RETURNS SETOF bytea LANGUAGE sql SECURITY DEFINER AS $$SELECT ''::bytea$$",
    ] {
        refused(
            &format!("DROP FUNCTION pgarrow.heap_page; CREATE FUNCTION pgarrow.{function}"),
            "is not installed",
        );
    }
}

#[test]
fn a_superuser_never_calls_the_function() {
    require_pages!();
    let database = inspected("trap", &format!("{TABLE}; {FUNCTION}"));
    let role = Role::new(&database);
    database.execute(&format!(
        "GRANT SELECT ON e TO \"{}\"; GRANT USAGE ON SCHEMA pgarrow TO PUBLIC; \
         GRANT EXECUTE ON FUNCTION pgarrow.heap_page TO PUBLIC; ALTER EXTENSION pageinspect DROP FUNCTION \
         get_raw_page(text, text, int8)",
        role.name
    ));
    // Nor may a superuser after SET ROLE: the function checks the session's user.
    let source = superuser(&database);
    assert!(!source.pages_status::<&str>(&[]).unwrap().possible);
    let options = by(ReadMode::Pages).with_role(&role.name);
    let error = read(source.table("e").options(options)).unwrap_err();
    assert_error(&error, ErrorKind::Options, None, &["the function pgarrow.heap_page is not for superusers"]);
    // The role with a session of its own may.
    let status = source_as(&database, &role.name).pages_status::<&str>(&[]).unwrap();
    assert_eq!(status.source.as_deref(), Some("function"));
}

/// A relation, what makes it, and why its pages are not read.
const REFUSED: [(&str, &str, &str); 9] = [
    ("v", "CREATE VIEW v AS SELECT * FROM e", "public.v is a view"),
    (
        "parent",
        "CREATE TABLE parent (id int4); CREATE TABLE child () INHERITS (parent); \
        ALTER TABLE child ENABLE ROW LEVEL SECURITY; INSERT INTO parent VALUES (1)",
        "",
    ),
    (
        "words",
        "CREATE TABLE words AS SELECT 'a b'::tsvector AS v",
        "column \"v\" has the type tsvector, which is read as the server's text",
    ),
    ("pair", "CREATE TABLE pair AS SELECT int4range(1, 2) AS v", "column \"v\" has the type int4range"),
    (
        "composite",
        "CREATE TYPE two AS (a int4, b text); CREATE TABLE composite AS SELECT '(1,x)'::two AS v",
        "has the type two",
    ),
    (
        "matrix",
        "CREATE DOMAIN row_of AS int4[]; CREATE TABLE matrix AS SELECT ARRAY['{1}'::row_of] AS v",
        "stored form",
    ),
    ("documents", "CREATE TABLE documents AS SELECT NULL::xml AS v", "read as the server's text"),
    ("of_xml", "CREATE TABLE of_xml AS SELECT NULL::xml[] AS v", "stored form is not decoded"),
    ("empty", "CREATE TABLE empty ()", ""),
];

#[test]
fn tables_that_are_not_read_by_pages_say_why() {
    require_pages!();
    let database = inspected("refused", TABLE);
    let source = superuser(&database);
    for (table, sql, why) in REFUSED {
        database.execute(sql);
        match why {
            "" => drop(both(&source, table)),
            why => assert_copied(&source, table, why),
        }
    }
    // One column prevents reading the table by pages, unless that column is not wanted.
    database
        .execute("CREATE TABLE wide AS SELECT g AS id, 'a'::tsvector AS v FROM generate_series(1, 9) AS g");
    vacuum(&database, "wide");
    assert_eq!(
        status(&source, "wide").why_not,
        ["column \"v\" has the type tsvector, which is read as the server's text"]
    );
    let (rows, report) = read(source.table("wide").columns(["id"]).options(by(ReadMode::Pages))).unwrap();
    assert_eq!((rows.len(), all_pages(&report)), (9, 1));
    // The server applies a filter.
    let (rows, report) =
        read(source.table("wide").columns(["id"]).filter("id > 4").options(by(ReadMode::Pages))).unwrap();
    assert_eq!((rows.len(), pages(&report)), (5, (0, 0)));
    assert_eq!(report.page_notes, ["public.wide: the server applies the filter, so rows come by COPY"]);
    let catalog = status(&source, "pg_catalog.pg_class");
    assert!(catalog.why_not.contains(&"it is one of the system's own tables".into()), "{catalog:?}");
    // As by COPY: an error, and not an empty result.
    database.execute("CREATE MATERIALIZED VIEW later AS SELECT 1 AS v WITH NO DATA");
    let error = read(source.table("later").options(by(ReadMode::Pages))).unwrap_err();
    assert_error(&error, ErrorKind::Server, Some("55000"), &["later"]);
    assert_eq!(status(&source, "later").why_not, ["it has not been populated"]);
    database.execute("REFRESH MATERIALIZED VIEW later");
    vacuum(&database, "later");
    assert_eq!(all_pages(&both(&source, "later")), 1);
}

#[test]
fn what_contradicts_pages_is_refused() {
    require_pages!();
    let database = inspected("contradicts", TABLE);
    let source = superuser(&database);
    let pages = || by(ReadMode::Pages);
    let error = read(source.query("SELECT * FROM e").options(pages())).unwrap_err();
    assert_error(&error, ErrorKind::Options, None, &["option read_mode"]);
    let error = read(source.table("e").options(pages().with_split_on("id"))).unwrap_err();
    assert_error(&error, ErrorKind::Options, None, &["option split_on"]);
    let error = read(source.table("e").options(pages().with_inconsistent(true))).unwrap_err();
    assert_error(&error, ErrorKind::Options, None, &["option inconsistent"]);
    for options in [by(ReadMode::Auto).with_split_on("id"), by(ReadMode::Auto).with_inconsistent(true)] {
        let (rows, report) = read(source.table("e").options(options)).unwrap();
        assert_eq!((rows.len(), super::pages(&report), report.page_notes.len()), (1000, (0, 0), 1));
    }
}

#[test]
fn rights_on_a_part_are_not_enough() {
    require_pages!();
    let database = inspected("rights", &format!("{TABLE}; {FUNCTION}"));
    let role = Role::new(&database);
    grant(&database, &role);
    let source = source_as(&database, &role.name);
    database.execute(&format!(
        "GRANT SELECT (id) ON e TO \"{0}\"; \
         CREATE TABLE secured AS SELECT 1 AS id; GRANT SELECT ON secured TO \"{0}\"; \
         ALTER TABLE secured ENABLE ROW LEVEL SECURITY; \
         CREATE TABLE owned AS SELECT 1 AS id; ALTER TABLE owned OWNER TO \"{0}\"; \
         ALTER TABLE owned ENABLE ROW LEVEL SECURITY; \
         CREATE SCHEMA closed; CREATE TABLE closed.t AS SELECT 1 AS id; GRANT SELECT ON closed.t TO \"{0}\"",
        role.name
    ));
    let (rows, report) = read(source.table("e").columns(["id"]).options(by(ReadMode::Pages))).unwrap();
    assert_eq!((rows.len(), pages(&report)), (1000, (0, 0)));
    assert_eq!(
        report.page_notes,
        ["public.e: the role may not read all of it; the session's user may not read all of it"]
    );
    assert!(status(&source, "secured").why_not.contains(&"row security applies to it".into()));
    // A role sees all rows of its own table, but the function hands out none of it.
    assert_copied(&source, "owned", "the installed function hands out none of it");
    // Row security does not apply to a superuser.
    vacuum(&database, "secured");
    assert_eq!(all_pages(&both(&superuser(&database), "secured")), 1);
}

#[test]
fn temporary_tables_and_those_of_other_roles() {
    require_pages!();
    let database = inspected("temporary", TABLE);
    let mut client = database.client();
    client.batch_execute("CREATE TEMPORARY TABLE theirs AS SELECT 1 AS id").unwrap();
    let schema = server_text(&mut client, "SELECT pg_my_temp_schema()::regnamespace")[0][0].clone().unwrap();
    let source = superuser(&database);
    assert_eq!(status(&source, &format!("{schema}.theirs")).why_not, ["it is a temporary table"]);
    // A superuser after SET ROLE has that role's rights.
    let role = Role::new(&database);
    database.execute(&format!("GRANT SELECT ON e TO \"{}\"", role.name));
    let options = by(ReadMode::Auto).with_role(&role.name);
    let (rows, report) = read(source.table("e").options(options)).unwrap();
    assert_eq!((rows.len(), pages(&report), report.page_notes.len()), (1000, (0, 0), 1));
}

#[test]
fn other_servers_and_encodings() {
    require_pages!();
    let server = TestServer::shared();
    let database = database("latin", "");
    let name = format!("{}_x", database.name());
    database.execute(&format!(
        "CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    ));
    let latin = Source::connect_blocking(&server.url_for(&name)).unwrap();
    let status = latin.pages_status::<&str>(&[]).unwrap();
    drop(latin);
    database.execute(&format!("DROP DATABASE {name} WITH (FORCE)"));
    // All reasons, not only the first one.
    assert_eq!(
        status.why_not,
        [
            "the database's encoding is LATIN1, not UTF8",
            "the extension pageinspect is not installed (CREATE EXTENSION pageinspect)"
        ]
    );

    // A role that may not call pg_control_init cannot know how the server was built.
    let inspected = inspected("control", &format!("{TABLE}; {FUNCTION}"));
    let role = Role::new(&inspected);
    grant(&inspected, &role);
    inspected.execute("REVOKE EXECUTE ON FUNCTION pg_control_init FROM PUBLIC");
    let source = Source::connect_blocking(&url(&inspected)).unwrap();
    assert!(source.pages_status::<&str>(&[]).unwrap().possible, "a superuser may");
    let status = source_as(&inspected, &role.name).pages_status::<&str>(&[]).unwrap();
    assert_eq!(status.why_not, ["the role may not ask how the server was built (pg_control_init)"]);
}

/// There, VACUUM may remove rows that snapshots still see.
#[test]
fn a_server_with_old_snapshot_threshold() {
    require_pages!();
    require!(Capability::PrivateServer);
    if TestServer::shared().version_num() >= 170_000 {
        // The setting does not exist any more.
        return;
    }
    let server = Server::start(server_options().setting("old_snapshot_threshold", "60")).unwrap();
    let source = Source::connect_blocking(&server.url()).unwrap();
    source.execute("CREATE EXTENSION pageinspect").unwrap();
    let status = source.pages_status::<&str>(&[]).unwrap();
    assert_eq!(status.why_not, ["old_snapshot_threshold is 1h, not -1"]);
}

/// One connection that scans a large table leaves the server's cache as it is; pages do not, so they are not
/// chosen then.
#[test]
fn a_large_table_is_scanned_by_one_reader_and_read_by_pages_by_several() {
    require_pages!();
    let database = inspected(
        "large",
        "CREATE TABLE large AS SELECT g, repeat('x', 100) AS t FROM generate_series(1, 250000) AS g; \
         CREATE TABLE small AS SELECT * FROM large LIMIT 75000",
    );
    vacuum(&database, "large, small");
    let source = superuser(&database);
    let n_pages = status(&source, "large").pages;
    let auto = |table, readers| {
        let options = ExportOptions::default().with_readers(readers);
        let mut rows = std::sync::atomic::AtomicU64::new(0);
        let extract = source.table(table).options(options);
        let report = extract
            .open()
            .unwrap()
            .for_each_concurrently(|batch| {
                rows.fetch_add(batch.num_rows() as u64, std::sync::atomic::Ordering::Relaxed);
                Ok(())
            })
            .unwrap();
        assert_eq!(report.rows, *rows.get_mut());
        report
    };
    let report = auto("large", 1);
    assert_eq!((report.rows, pages(&report)), (250_000, (0, 0)));
    assert!(lines(&report.page_notes).contains("larger than a quarter of shared_buffers"), "{report:?}");
    let report = auto("large", 2);
    assert_eq!((report.rows, all_pages(&report)), (250_000, n_pages));
    assert_eq!(all_pages(&auto("small", 1)), status(&source, "small").pages);
    // It is possible if the user asks for it.
    let (rows, report) = read(source.table("large").options(by(ReadMode::Pages))).unwrap();
    assert_eq!((rows.len(), all_pages(&report)), (250_000, n_pages));
}
