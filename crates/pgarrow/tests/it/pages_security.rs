//! What `pgarrow.heap_pages` hands out, and to which roles.
//!
//! Every test has a reader, which may SELECT all of `t` and call the function, and a stranger, which may only
//! call it.

mod attacks;

use pgarrow::{ExportOptions, ReadMode, Source, install_pages_sql, remove_pages_sql};
use pgarrow_testkit::postgres::{Client, NoTls};
use pgarrow_testkit::{Capability, Database, require};

use crate::support::{assert_error, database, read, source, source_as, url_as, wait_until};

/// SQLSTATE `insufficient_privilege`.
const NO_RIGHT: &str = "42501";
/// SQLSTATE `wrong_object_type`.
const WRONG_TYPE: &str = "42809";

/// The answer for a page that may not be seen now: a header without any data of the page.
const KEPT_BACK: [u8; 24] = *b"\0\0\0\0\0\0\0\0\0\0\0\0\x18\0\0\x20\0\x20\x04\x20\0\0\0\0";

/// A database with the function installed for two roles, which are dropped with it.
struct Place {
    database: Database,
    reader: String,
    stranger: String,
}

impl Place {
    /// Runs `sql` first, in which `READER` stands for the reader's name. Then makes `t` with 500 rows on
    /// all-visible pages.
    fn new(hint: &str, sql: &str) -> Self {
        let database = database(hint, "");
        let [reader, stranger] =
            ["r", "s"].map(|kind| format!("{kind}_{}", database.name()).chars().take(60).collect::<String>());
        let place = Self { database, reader, stranger };
        place.execute(
            "CREATE ROLE \"READER\" LOGIN; CREATE ROLE \"STRANGER\" LOGIN; \
             CREATE TABLE t AS SELECT g AS id, 'value ' || g AS v FROM generate_series(1, 500) AS g; \
             GRANT SELECT ON t TO \"READER\"",
        );
        place.execute(sql);
        place.vacuum("t");
        place.database.execute(&install_pages_sql(&[&place.reader, &place.stranger]).unwrap());
        place
    }

    /// As superuser.
    fn execute(&self, sql: &str) {
        let names = [
            ("READER", self.reader.as_str()),
            ("STRANGER", &self.stranger),
            ("DATABASE DATABASE", &format!("DATABASE \"{}\"", self.database.name())),
        ];
        let sql = names.iter().fold(sql.to_owned(), |sql, (word, name)| sql.replace(word, name));
        self.database.execute(&sql);
    }

    /// Vacuums until all pages are all-visible: starting sessions of other databases can delay that.
    fn vacuum(&self, table: &str) {
        wait_until("all pages are all-visible", || {
            self.database.execute(&format!("VACUUM {table}"));
            let sql = "SELECT relallvisible = relpages FROM pg_class WHERE oid = $1::text::regclass";
            self.database.client().query_one(sql, &[&table]).unwrap().get(0)
        });
    }

    fn reader(&self) -> Client {
        client_as(&self.database, &self.reader)
    }

    fn stranger(&self) -> Client {
        client_as(&self.database, &self.stranger)
    }

    fn oid(&self, name: &str) -> u32 {
        let sql = "SELECT $1::text::regclass::oid";
        self.database.client().query_one(sql, &[&name]).unwrap().get(0)
    }

    /// The call that a client writes.
    fn call(&self, name: &str, block: i64) -> String {
        format!("pgarrow.heap_pages({}::pg_catalog.oid, {block}, {block})", self.oid(name))
    }

    fn page(&self, client: &mut Client, name: &str, block: i64) -> Result<Vec<u8>, Refused> {
        page(client, &format!("SELECT {}", self.call(name, block)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let sql = format!(
            "DROP OWNED BY \"{0}\", \"{1}\" CASCADE; DROP ROLE \"{0}\"; DROP ROLE \"{1}\"",
            self.reader, self.stranger
        );
        let _ = self.database.client().batch_execute(&sql);
    }
}

/// SQLSTATE and message.
#[derive(Debug, PartialEq)]
struct Refused(String, String);

fn client_as(database: &Database, user: &str) -> Client {
    Client::connect(&url_as(database, user), NoTls).unwrap()
}

/// The page that a statement returns as its only value.
fn page(client: &mut Client, sql: &str) -> Result<Vec<u8>, Refused> {
    client.query_one(sql, &[]).map(|row| row.get(0)).map_err(|error| {
        let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}"));
        Refused(error.code().code().to_owned(), error.message().to_owned())
    })
}

#[track_caller]
fn assert_refused(result: Result<Vec<u8>, Refused>, sqlstate: &str, words: &str) {
    let refused = result.map(|page| page.len()).unwrap_err();
    assert!(refused.0 == sqlstate && refused.1.contains(words), "not {sqlstate} {words:?}: {refused:?}");
}

fn is_header(page: &[u8]) -> bool {
    page.len() == 24
}

fn has(page: &[u8], bytes: &[u8]) -> bool {
    page.windows(bytes.len()).any(|window| window == bytes)
}

macro_rules! require_function {
    () => {
        require!(
            Capability::PrivateServer,
            Capability::Superuser,
            Capability::Extension("pageinspect"),
            Capability::VersionAtLeast(140_000)
        );
    };
}
pub(crate) use require_function;

#[test]
fn a_reader_has_whole_pages_and_a_stranger_none() {
    require_function!();
    let place = Place::new("pages_rights", "");
    let page = place.page(&mut place.reader(), "t", 0).unwrap();
    assert_eq!(page.len(), 8192);
    assert!(has(&page, b"value 1"));
    assert_refused(place.page(&mut place.stranger(), "t", 0), NO_RIGHT, "permission denied for pages");
    let refused = place.page(&mut place.stranger(), "t", 1 << 20);
    assert_refused(refused, NO_RIGHT, "permission denied for pages");
    // A member of a role has that role's right to read.
    place.execute("GRANT \"READER\" TO \"STRANGER\"");
    assert_eq!(place.page(&mut place.stranger(), "t", 0).unwrap().len(), 8192);
    // A revoked right is gone at once, also in a running transaction.
    let mut reader = place.reader();
    let mut transaction = reader.build_transaction().read_only(true).start().unwrap();
    let sql = format!("SELECT {}", place.call("t", 0));
    assert_eq!(transaction.query_one(&sql, &[]).unwrap().get::<_, Vec<u8>>(0).len(), 8192);
    place.execute("REVOKE SELECT ON t FROM \"READER\"");
    let error = transaction.query_one(&sql, &[]).unwrap_err();
    assert_eq!(error.code().unwrap().code(), NO_RIGHT);
}

/// The rights are asked for once for all pages of a call, and what is on them for each.
#[test]
fn some_pages_in_one_call() {
    require_function!();
    let place = Place::new(
        "pages_some",
        "CREATE TABLE s AS SELECT g AS id, repeat('x', 100) AS v FROM generate_series(1, 8000) AS g; \
         GRANT SELECT ON s TO \"READER\"",
    );
    place.vacuum("s");
    // In the middle is a page with a deleted row.
    place.execute("DELETE FROM s WHERE ctid = '(9,1)'");
    let oid = place.oid("s");
    let mut reader = place.reader();
    let mut some = |first: i64, last: i64| -> Result<Vec<Vec<u8>>, Refused> {
        let sql = format!("SELECT pgarrow.heap_pages({oid}::pg_catalog.oid, {first}, {last})");
        let rows = reader.query(&sql, &[]).map_err(|error| {
            let error = error.as_db_error().unwrap();
            Refused(error.code().code().to_owned(), error.message().to_owned())
        })?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    };
    let pages = some(1, 64).unwrap();
    assert_eq!(pages.len(), 64);
    for (block, page) in (1..).zip(&pages) {
        assert_eq!(Ok(page.clone()), place.page(&mut place.reader(), "s", block), "{block}");
        assert_eq!(is_header(page), block == 9, "{block}");
    }
    assert_eq!(some(5, 4), Ok(Vec::new()));
    for (first, last, code, words) in [
        (0, 64, "22023", "at most 64 pages"),
        (i64::MIN, i64::MAX, "22003", "out of range"),
        (100, 140, "22023", "block number"),
        (-1, 1, "22023", "block number"),
    ] {
        let refused = some(first, last).unwrap_err();
        assert!(refused.0 == code && refused.1.contains(words), "{first} {last}: {refused:?}");
    }
    assert_eq!(some(0, 63).unwrap().len(), 64);
}

#[test]
fn a_right_to_some_columns_or_without_the_schema_is_not_enough() {
    require_function!();
    let place = Place::new(
        "pages_columns",
        "GRANT SELECT (id, v), INSERT, UPDATE, DELETE ON t TO \"STRANGER\"; CREATE SCHEMA closed; \
         CREATE TABLE closed.t AS SELECT 'value' AS v; GRANT SELECT ON closed.t TO \"READER\"",
    );
    assert_refused(place.page(&mut place.stranger(), "t", 0), NO_RIGHT, "permission denied for pages");
    assert_refused(place.page(&mut place.reader(), "closed.t", 0), NO_RIGHT, "permission denied for pages");
    place.execute("GRANT USAGE ON SCHEMA closed TO \"READER\"");
    place.page(&mut place.reader(), "closed.t", 0).unwrap();
}

#[test]
fn row_security_is_refused_to_everybody() {
    require_function!();
    let place = Place::new(
        "pages_rls",
        "CREATE TABLE own AS SELECT 'value' AS v; ALTER TABLE own OWNER TO \"READER\"; \
         ALTER TABLE own ENABLE ROW LEVEL SECURITY; CREATE TABLE forced AS SELECT 'value' AS v; \
         ALTER TABLE forced OWNER TO \"READER\"; ALTER TABLE forced FORCE ROW LEVEL SECURITY",
    );
    let mut reader = place.reader();
    // Row security that is enabled after the snapshot counts, too.
    let mut transaction = reader.build_transaction().start().unwrap();
    transaction.batch_execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").unwrap();
    let sql = format!("SELECT {}", place.call("t", 0));
    assert_eq!(transaction.query_one(&sql, &[]).unwrap().get::<_, Vec<u8>>(0).len(), 8192);
    place.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY");
    assert_eq!(transaction.query_one(&sql, &[]).unwrap().get::<_, Vec<u8>>(0), KEPT_BACK);
    transaction.rollback().unwrap();
    for bypass in ["NOBYPASSRLS", "BYPASSRLS"] {
        place.execute(&format!("ALTER ROLE \"READER\" {bypass}"));
        for table in ["t", "own", "forced"] {
            assert_refused(place.page(&mut place.reader(), table, 0), NO_RIGHT, "row security");
        }
    }
}

#[test]
fn what_is_no_ordinary_heap_is_refused() {
    require_function!();
    let place = Place::new(
        "pages_kinds",
        "CREATE VIEW v AS TABLE t; CREATE MATERIALIZED VIEW m AS TABLE t; CREATE SEQUENCE q; CREATE INDEX i ON t (id); \
         CREATE TABLE parted (a int) PARTITION BY LIST (a); CREATE TABLE part PARTITION OF parted DEFAULT; \
         CREATE UNLOGGED TABLE unlogged AS TABLE t; CREATE FOREIGN DATA WRAPPER f; CREATE SERVER f FOREIGN DATA WRAPPER f; \
         CREATE FOREIGN TABLE remote (a int) SERVER f; CREATE TABLE long (v text); INSERT INTO part VALUES (1); \
         GRANT ALL ON ALL TABLES IN SCHEMA public TO \"READER\"; GRANT ALL ON q TO \"READER\"; \
         GRANT CREATE ON SCHEMA public TO \"READER\"; ALTER TABLE long OWNER TO \"READER\"; \
         ALTER TABLE t OWNER TO \"READER\"; GRANT pg_read_all_data TO \"READER\"",
    );
    let mut reader = place.reader();
    for name in ["t", "m", "unlogged", "part"] {
        assert!(place.page(&mut reader, name, 0).unwrap().len() >= 24, "{name}");
    }
    for name in ["v", "q", "i", "parted", "remote"] {
        assert_refused(place.page(&mut reader, name, 0), WRONG_TYPE, "no table or materialized view");
    }
    let toast: String = {
        let sql = "SELECT reltoastrelid::regclass::text FROM pg_class WHERE oid = 'long'::regclass";
        place.database.client().query_one(sql, &[]).unwrap().get(0)
    };
    place.execute("INSERT INTO long SELECT string_agg(md5(g::text), '') FROM generate_series(1, 1000) AS g");
    assert_refused(place.page(&mut reader, &toast, 0), WRONG_TYPE, "no table or materialized view");
    for name in ["pg_class", "pg_authid", "pg_database", "information_schema.sql_features"] {
        assert_refused(place.page(&mut reader, name, 0), NO_RIGHT, "is a catalog");
    }
    reader
        .batch_execute("CREATE TEMP TABLE mine AS SELECT 1 AS a; CREATE TEMP TABLE pg_class AS TABLE mine")
        .unwrap();
    for name in ["mine", "pg_temp.pg_class"] {
        let oid: u32 = reader.query_one("SELECT $1::text::regclass::oid", &[&name]).unwrap().get(0);
        let result = page(&mut reader, &format!("SELECT pgarrow.heap_pages({oid}::oid, 0, 0)"));
        assert_refused(result, WRONG_TYPE, "is temporary");
    }
    let refused = page(&mut reader, "SELECT pgarrow.heap_pages(4000000000::oid, 0, 0)");
    assert_refused(refused, "42P01", "there is no relation");
    for block in [-1, 1 << 20, i64::from(u32::MAX), i64::MAX, i64::MIN] {
        assert_refused(place.page(&mut reader, "t", block), "22023", "block number");
    }
}

#[test]
fn no_page_has_rows_that_were_deleted() {
    require_function!();
    let place = Place::new(
        "pages_remnants",
        "CREATE TABLE s (id int, v text) WITH (autovacuum_enabled = off); GRANT SELECT ON s TO \"READER\"; \
         INSERT INTO s SELECT g, 'secret ' || g FROM generate_series(1, 3000) AS g;",
    );
    let mut reader = place.reader();
    let mut pages = |what: &str| {
        let n_blocks: i64 = {
            let sql = "SELECT pg_relation_size('s') / 8192";
            place.database.client().query_one(sql, &[]).unwrap().get(0)
        };
        let pages: Vec<_> = (0..n_blocks).map(|block| place.page(&mut reader, "s", block).unwrap()).collect();
        assert!(!pages.is_empty(), "{what}");
        pages
    };
    assert!(pages("never vacuumed").iter().all(|page| is_header(page)));
    place.vacuum("s");
    assert!(pages("vacuumed").iter().all(|page| has(page, b"secret ")));

    // Rows are deleted or updated, but still on the page: nothing of such a page is shown.
    place
        .execute("DELETE FROM s WHERE id % 2 = 0; UPDATE s SET v = 'public' WHERE id % 3 = 0 AND id % 2 = 1");
    assert!(pages("deleted").iter().all(|page| is_header(page)));
    // A scan may prune pages: removed rows leave their bytes in the page's free space.
    for _ in 0..3 {
        place.database.execute("SET enable_indexscan = off; SELECT count(*) FROM s");
        assert!(pages("pruned").iter().all(|page| is_header(page)));
    }
    place.vacuum("s");
    // The test shows something only if the server has left bytes of removed rows.
    let sql = "SELECT count(*) FROM generate_series(0, pg_relation_size('s') / 8192 - 1) AS b, \
               pgarrow.get_raw_page('s', 'main', b) AS page, generate_series(1000, 2998, 2) AS id \
               WHERE position(('secret ' || id)::bytea IN page) > 0";
    let n_left: i64 = place.database.client().query_one(sql, &[]).unwrap().get(0);
    assert!(n_left > 0, "no page has what is left of a row");
    let pages = pages("vacuumed again");
    assert!(pages.iter().all(|page| page.len() == 8192));
    let secret = |id: u32| format!("secret {id}").into_bytes();
    // Values are gone with their line pointers: the even ones and the updated ones. Numbers of four digits do
    // not contain one another.
    for id in (1000..3000).filter(|id| id % 2 == 0 || id % 3 == 0) {
        assert!(pages.iter().all(|page| !has(page, &secret(id))), "secret {id}");
    }
    assert!((1000..3000).filter(|id| id % 6 == 1).all(|id| pages.iter().any(|page| has(page, &secret(id)))));
}

#[test]
fn both_the_user_and_the_role_need_the_right() {
    require_function!();
    let place = Place::new("pages_roles", "GRANT \"STRANGER\" TO \"READER\"");
    let mut reader = place.reader();
    assert_eq!(place.page(&mut reader, "t", 0).unwrap().len(), 8192);
    reader.batch_execute(&format!("SET ROLE \"{}\"", place.stranger)).unwrap();
    assert_refused(place.page(&mut reader, "t", 0), NO_RIGHT, "permission denied for pages");
    reader.batch_execute("RESET ROLE").unwrap();
    assert_eq!(place.page(&mut reader, "t", 0).unwrap().len(), 8192);
    // SET ROLE alone does not give the right.
    place.execute(
        "REVOKE \"STRANGER\" FROM \"READER\"; GRANT \"READER\" TO \"STRANGER\"; ALTER ROLE \"STRANGER\" NOINHERIT",
    );
    // From PostgreSQL 16 on, INHERIT is an option of the grant.
    if Capability::VersionAtLeast(160_000).probe().is_ok() {
        place.execute("GRANT \"READER\" TO \"STRANGER\" WITH INHERIT FALSE");
    }
    let mut stranger = place.stranger();
    stranger.batch_execute(&format!("SET ROLE \"{}\"", place.reader)).unwrap();
    stranger.query("SELECT FROM t", &[]).unwrap();
    assert_refused(place.page(&mut stranger, "t", 0), NO_RIGHT, "permission denied for pages");
}

#[test]
fn a_table_is_read_by_pages_and_what_others_have_made_is_not_used() {
    require_function!();
    let place = Place::new("pages_use", "");
    let options = || ExportOptions::default().with_read_mode(ReadMode::Pages).with_order(true);
    let by_copy = options().with_read_mode(ReadMode::Copy);
    let by_copy = read(source(&place.database).table("t").options(by_copy)).unwrap();
    let reader = || source_as(&place.database, &place.reader);
    assert_eq!(read(reader().table("t").options(options())).unwrap().batches, by_copy.batches);
    let n_read = |source: &Source| {
        let run = source.table("t").options(options()).open().unwrap();
        run.for_each(|_| Ok(())).unwrap().pages.map_or(0, |pages| pages.read)
    };
    assert!(n_read(&reader()) > 0);
    // The same function, but with an owner that is no superuser.
    place.execute("ALTER FUNCTION pgarrow.heap_pages(oid, int8, int8) OWNER TO \"STRANGER\"");
    let refusal = read(reader().table("t").options(options())).map(|export| export.lines()).unwrap_err();
    assert_error(&refusal, pgarrow::ErrorKind::Options, None, &["pages"]);
    // Another installation repairs it.
    place.database.execute(&install_pages_sql(&[&place.reader]).unwrap());
    assert!(n_read(&reader()) > 0);
    let refusal = read(source_as(&place.database, &place.stranger).table("t").options(options()));
    assert_eq!(refusal.unwrap_err().kind(), pgarrow::ErrorKind::Options);
    // After the removal, nothing is left, not even the schema.
    place.database.execute(remove_pages_sql());
    let sql = "SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'pgarrow') \
               + (SELECT count(*) FROM pg_extension WHERE extname = 'pageinspect')";
    assert_eq!(place.database.client().query_one(sql, &[]).unwrap().get::<_, i64>(0), 0);
    assert_eq!(read(reader().table("t")).unwrap().n_rows(), 500);
}

/// The function cannot see whether a change since the snapshot matters, and must not end the transaction.
#[test]
fn a_grant_during_an_export_makes_it_slower_and_no_other() {
    require_function!();
    let place = Place::new("pages_grant", "");
    let source = source_as(&place.database, &place.reader);
    let options = || ExportOptions::default().with_read_mode(ReadMode::Pages);
    for (grant, is_read) in [("SELECT 1", true), ("GRANT SELECT ON t TO \"STRANGER\"", false)] {
        let run = source.table("t").options(options()).open().unwrap();
        place.execute(grant);
        let mut n_rows = 0;
        let report = run.for_each(|batch| {
            n_rows += batch.num_rows();
            Ok(())
        });
        let pages = report.unwrap().pages.unwrap();
        assert_eq!((n_rows, pages.read > 0, pages.copied > 0), (500, is_read, !is_read), "{pages:?}");
    }
}
