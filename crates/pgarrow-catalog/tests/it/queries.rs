//! What is asked about a query in one go is what the functions that ask one by one would have been told.

#![expect(clippy::unwrap_used, reason = "test code, which fails by panicking")]

use pgarrow_catalog::{
    FirstQuestions, LookUp, QueryQuestions, ask_about_query_under_locks, ask_first, explained_relations,
    locked, query_columns, server_traits, what_belongs,
};
use pgarrow_protocol::{Config, Session, TransactionStatus};
use pgarrow_testkit::{Capability, Fault, Proxy, TestServer, require};

const TABLES: &str = "
    CREATE SCHEMA \"it's {\"\"\";
    CREATE TABLE \"it's {\"\"\".\"Rela\"\"tion Name\u{7}ä\" (a int);
    CREATE TABLE plain (a int NOT NULL, b text);
    CREATE SCHEMA other;
    CREATE TABLE other.plain (a int);
    CREATE TABLE parent (a int);
    CREATE TABLE child (b int) INHERITS (parent);
    CREATE TABLE parts (a int) PARTITION BY RANGE (a);
    CREATE TABLE part1 PARTITION OF parts FOR VALUES FROM (0) TO (9);
    CREATE TABLE part2 PARTITION OF parts FOR VALUES FROM (9) TO (99);
    CREATE VIEW seen AS SELECT a FROM plain JOIN parts USING (a);
    CREATE MATERIALIZED VIEW kept AS SELECT * FROM plain;
    CREATE FUNCTION reads() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM public.parent';
    CREATE FUNCTION refuses() RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RAISE no_data_found; END';";

/// Queries, and whether this side finds out what is in their plans.
const QUERIES: [(&str, bool); 16] = [
    ("SELECT 1", true),
    ("SELECT * FROM plain", true),
    ("SELECT * FROM plain -- comment", true),
    ("SELECT * FROM plain, other.plain AS p", true),
    ("SELECT * FROM \"it's {\"\"\".\"Rela\"\"tion Name\u{7}ä\"", true),
    ("SELECT '\"Relation Name\": \"plain\", \"Schema\": \"other\"' FROM parent", true),
    ("SELECT * FROM ONLY parent", true),
    ("SELECT * FROM parent", true),
    ("SELECT * FROM parts WHERE a = 1", true),
    ("SELECT * FROM seen, kept", true),
    ("SELECT reads()", true),
    ("WITH w AS MATERIALIZED (SELECT * FROM plain) SELECT * FROM w WHERE a IN (SELECT a FROM kept)", true),
    ("SELECT d.datname, c.relname FROM pg_catalog.pg_class c, pg_catalog.pg_database d", true),
    ("SELECT * FROM information_schema.tables", true),
    ("VALUES (1)", true),
    // Its schema has another name in plans.
    ("SELECT * FROM temporary", false),
];

fn names(session: &mut Session, sql: &str) -> Vec<String> {
    explained_relations(session, sql).unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn queries_read_what_one_question_after_another_says() {
    require!(Capability::PrivateServer);
    let database = TestServer::shared().fresh_database("asked of queries");
    database.execute(TABLES);
    let port = TestServer::shared().private().unwrap().port();
    let proxy = Proxy::start(port, Fault::None);
    let url = proxy.url_of(database.url());
    let separator = if url.contains('?') { '&' } else { '?' };
    let url = format!("{url}{separator}sslmode=disable");
    let mut session = Session::connect(&Config::parse(Some(&url)).unwrap()).unwrap();
    session.execute("CREATE TEMPORARY TABLE temporary (a int)").unwrap();
    for (sql, is_found) in QUERIES {
        let expected = names(&mut session, sql);
        let before = proxy.n_round_trips();
        let questions = FirstQuestions {
            begin: "BEGIN",
            names: &[],
            query: Some(LookUp::Plan(sql)),
            tries_copy: true,
            tries_snapshot: false,
        };
        let answers = ask_first(&mut session, &questions).unwrap().unwrap();
        session.keep_answers(answers);
        server_traits(&mut session).unwrap();
        assert_eq!(names(&mut session, sql), expected, "{sql}");
        assert_eq!(proxy.n_round_trips() - before, if is_found { 1 } else { 2 }, "{sql}");
        let relations = explained_relations(&mut session, sql).unwrap();
        let columns = session.take_description(sql).unwrap().columns.unwrap();
        session.forget_answers();

        let oids: Vec<u32> = relations.iter().map(|relation| relation.oid).collect();
        let mut questions = QueryQuestions {
            begin: "ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ",
            snapshot: "SELECT pg_catalog.pg_backend_pid()",
            pid_index: 0,
            and_traits: true,
            sql,
            relations: &oids,
            columns: &columns,
        };
        let before = proxy.n_round_trips();
        let answers = ask_about_query_under_locks(&mut session, &questions).unwrap().unwrap();
        let pid: i32 = answers[0].rows()[0].text(0).unwrap().parse().unwrap();
        session.keep_answers(answers);
        let ask = |session: &mut Session| {
            let described = session.describe(sql).unwrap().columns.unwrap();
            let resolved = query_columns(session, &described).unwrap();
            let relations = explained_relations(session, sql).unwrap();
            let held = locked(session, &[pid]).unwrap();
            let mut roots = [&oids[..], &held].concat();
            roots.sort_unstable();
            roots.dedup();
            let members = what_belongs(session, &roots, true).unwrap();
            (described, resolved, relations, held, members)
        };
        let ahead = ask(&mut session);
        // Types of the catalogs have arrays and domains behind them.
        if is_found && !sql.contains("pg_catalog") && !sql.contains("information_schema") {
            assert_eq!(proxy.n_round_trips() - before, 1, "{sql}");
        }
        session.forget_answers();
        assert_eq!(ahead, ask(&mut session), "{sql}");
        // Other columns than those that were known.
        questions.columns = &[];
        assert!(ask_about_query_under_locks(&mut session, &questions).unwrap().is_none(), "{sql}");
        assert_eq!(session.transaction_status(), TransactionStatus::Idle);
    }
}

/// The transaction is as if the query had not been asked about, and the error is there.
#[test]
fn a_query_that_is_refused_leaves_the_look_up_transaction_open() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("asked of queries");
    database.execute(TABLES);
    let mut session = Session::connect(&Config::parse(Some(database.url())).unwrap()).unwrap();
    for (sql, state) in [
        ("SELEC", "42601"),
        ("SELECT * FROM nothing", "42P01"),
        ("SELECT 1/0", "22012"),
        ("SELECT refuses()", "P0002"),
        ("SELECT 1; SELECT 2", "42601"),
        ("COMMIT; SELECT 2", "42601"),
        ("COMMIT", "42601"),
    ] {
        let mut questions = FirstQuestions {
            begin: "BEGIN; SET LOCAL application_name = 'inside'",
            names: &[],
            query: Some(LookUp::Plan(sql)),
            tries_copy: false,
            tries_snapshot: false,
        };
        let answers = ask_first(&mut session, &questions).unwrap().unwrap();
        assert_eq!(session.transaction_status(), TransactionStatus::InTransaction, "{sql}");
        session.keep_answers(answers);
        let error = explained_relations(&mut session, sql).unwrap_err();
        assert!(
            matches!(&error, pgarrow_catalog::CatalogError::Protocol(error) if error.sqlstate() == Some(state)),
            "{sql}: {error}"
        );
        assert_eq!(session.take_description(sql), None);
        let rows = session.query("SHOW application_name", &[]).unwrap();
        assert_eq!(rows[0].text(0), Some("inside"), "{sql}");
        session.execute("ROLLBACK").unwrap();
        // Nothing is asked about a query outside of the transaction.
        questions.begin = "BEGIN; SET LOCAL ROLE \"nobody has this name\"";
        assert!(ask_first(&mut session, &questions).unwrap().is_none());
        questions.begin = "SELECT 1";
        assert!(ask_first(&mut session, &questions).unwrap().is_none());
        assert_eq!(session.transaction_status(), TransactionStatus::Idle);
    }
}
