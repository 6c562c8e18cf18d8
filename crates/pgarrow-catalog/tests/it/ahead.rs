//! What is asked about a table in one go is what the functions that ask one by one would have been told.

#![expect(clippy::unwrap_used, reason = "test code, which fails by panicking")]

use pgarrow_catalog::{
    RelationName, TableQuestions, TargetQuestions, ask_about_tables, ask_about_target, leaves, opened_beside,
    resolve, table_columns, target_columns, what_belongs,
};
use pgarrow_protocol::{Config, Session};
use pgarrow_testkit::{Capability, Database, TestServer, require};

const TABLES: &str = "
    CREATE SCHEMA \"it's\";
    CREATE DOMAIN required AS int NOT NULL;
    CREATE DOMAIN outer_one AS required;
    CREATE TABLE plain (a int NOT NULL, gone text, b text, c numeric(9,2)[] NOT NULL);
    ALTER TABLE plain DROP COLUMN gone;
    COMMENT ON COLUMN plain.b IS 'one; two';
    CREATE TABLE \"it's\".\"T\" (\"A\" int, \"b\"\"\" varchar(3) NOT NULL DEFAULT 'x');
    CREATE TABLE empty ();
    CREATE TABLE domains (a outer_one, b int);
    CREATE TABLE parent (a int NOT NULL, b int);
    CREATE TABLE child (c int) INHERITS (parent);
    ALTER TABLE child ALTER b SET NOT NULL;
    CREATE TABLE childless (a int NOT NULL);
    CREATE TABLE gone () INHERITS (childless);
    DROP TABLE gone;
    CREATE TABLE parts (a int NOT NULL, b int) PARTITION BY RANGE (a);
    CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (9);
    ALTER TABLE part ALTER b SET NOT NULL;
    CREATE TABLE partless (a int NOT NULL) PARTITION BY LIST (a);
    CREATE VIEW seen AS SELECT * FROM plain;
    CREATE MATERIALIZED VIEW kept AS SELECT * FROM plain;
    CREATE TABLE guarded (a int);
    ALTER TABLE guarded ENABLE ROW LEVEL SECURITY";

const NAMES: [&str; 13] = [
    "plain",
    "\"it's\".\"T\"",
    "empty",
    "domains",
    "parent",
    "child",
    "childless",
    "parts",
    "part",
    "partless",
    "seen",
    "kept",
    "guarded",
];

fn session(database: &Database) -> Session {
    Session::connect(&Config::parse(Some(database.url())).unwrap()).unwrap()
}

#[test]
fn tables_are_described_as_by_one_question_after_another() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("asked ahead");
    database.execute(TABLES);
    let mut session = session(&database);
    let columns_asked = ["a".to_owned()];
    let has_a = |name: &str| !["\"it's\".\"T\"", "empty"].contains(&name);
    for name in NAMES {
        // Others may be locked, too, which then are open besides.
        let (begin, and_lock) =
            ("BEGIN ISOLATION LEVEL REPEATABLE READ", "; LOCK TABLE domains IN ACCESS SHARE MODE");
        let locking = format!("{begin}{and_lock}");
        for (begin, only, columns, and_open) in [
            (begin, false, None, true),
            (begin, true, None, true),
            (&locking, false, None, true),
            (begin, false, Some(()), false),
        ] {
            let columns = columns.filter(|()| has_a(name)).map(|()| columns_asked.as_slice());
            let name = RelationName::parse(name).unwrap();
            let relation = resolve(&mut session, &name).unwrap();
            let questions = TableQuestions {
                begin,
                snapshot: "SELECT pg_catalog.pg_backend_pid()",
                pid_index: 0,
                and_traits: false,
                names: std::slice::from_ref(&name),
                relations: std::slice::from_ref(&relation),
                are_many: false,
                columns,
                only,
                and_open,
            };
            let answers = ask_about_tables(&mut session, &questions).unwrap().unwrap();
            session.keep_answers(answers);
            let mut ask = || {
                let described = table_columns(&mut session, &relation, only).unwrap();
                let all: Vec<String> = described.iter().map(|column| column.column.name.clone()).collect();
                let named = columns.unwrap_or(&all);
                let leaves = leaves(&mut session, &relation, named).unwrap();
                let members = what_belongs(&mut session, &[relation.oid], false).unwrap();
                let planned: Vec<u32> = members.iter().map(|member| member.oid).collect();
                let beside = opened_beside(&mut session, &planned).unwrap();
                session.forget_answers();
                (described, leaves, members, beside)
            };
            let ahead = ask();
            assert_eq!(ahead, ask(), "{relation}, {only}");
            if begin == locking {
                assert_eq!(ahead.3.is_empty(), relation.name == "domains", "{relation}");
            }
            session.execute("ROLLBACK").unwrap();
        }
    }
}

#[test]
fn targets_are_described_as_by_one_question_after_another() {
    require!(Capability::Server);
    let database = TestServer::shared().fresh_database("asked ahead");
    database.execute(TABLES);
    let mut session = session(&database);
    for name in NAMES {
        let name = RelationName::parse(name).unwrap();
        let questions =
            TargetQuestions { begin: "BEGIN", name: &name, lock: None, others: &[], n_resolved: 1 };
        let (relation, answers) = ask_about_target(&mut session, &questions).unwrap().unwrap();
        session.keep_answers(answers);
        let ahead = target_columns(&mut session, &relation).unwrap();
        session.forget_answers();
        assert_eq!(ahead, target_columns(&mut session, &relation).unwrap(), "{relation}");
        session.execute("ROLLBACK").unwrap();
    }
}
