//! Only new rows: by the transactions that wrote them, and by a column that grows.

use std::collections::BTreeMap;
use std::fs;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use pgarrow_testkit::{Capability, require};
use serde_json::Value;

use crate::support::{Place, batches_of, run};

/// A job for these tables, with these lines at its end.
pub(super) fn job(place: &Place, tables: &str, lines: &str) {
    let url = place.database.url();
    let job = format!(
        "[source]\nconnection = \"{url}\"\ntables = [{tables}]\n[destination]\npath = \"lake\"\n{lines}"
    );
    fs::write(place.path("job.toml"), job).unwrap();
}

pub(super) fn table(place: &Place, name: &str) -> Value {
    let manifest = place.newest();
    manifest["tables"].as_array().unwrap().iter().find(|table| table["name"] == name).unwrap().clone()
}

/// Mode and rows of each increment.
pub(super) fn increments(place: &Place, name: &str) -> Vec<(String, i64)> {
    let table = table(place, name);
    let increments = table["increments"].as_array().unwrap().iter();
    increments.map(|it| (it["mode"].as_str().unwrap().to_owned(), it["rows"].as_i64().unwrap())).collect()
}

/// The rows of a table with columns `id` and `t`: of those with one id, the one of the latest increment.
fn merged(place: &Place, name: &str) -> BTreeMap<i64, String> {
    let mut rows = BTreeMap::new();
    for file in table(place, name)["files"].as_array().unwrap() {
        for batch in batches_of(&place.path("lake").join(file["path"].as_str().unwrap())) {
            let (ids, texts) = (batch.column_by_name("id").unwrap(), batch.column_by_name("t").unwrap());
            let (ids, texts) = (ids.as_primitive::<Int64Type>(), texts.as_string::<i32>());
            rows.extend(ids.values().iter().copied().zip(texts.iter().map(|text| text.unwrap().to_owned())));
        }
    }
    rows
}

fn selected(place: &Place, name: &str) -> BTreeMap<i64, String> {
    let rows = place.database.client().query(&format!("SELECT id, t FROM {name}"), &[]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Writers whose transactions stay open across runs, also in subtransactions, whose numbers no snapshot
/// lists.
#[test]
fn by_transaction_no_commit_is_lost() {
    require!(Capability::Server);
    let place = Place::new("job_xmin");
    place.database.execute(
        "CREATE TABLE empty (id bigint, t text); \
         CREATE TABLE o (id bigint PRIMARY KEY, t text); INSERT INTO o SELECT g, repeat('a', 250) FROM generate_series(1, 40000) g; \
         CREATE TABLE p (id bigint, t text) PARTITION BY RANGE (id); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (1000); INSERT INTO p1 VALUES (1, 'a'); \
         CREATE TABLE p2 (id bigint, t text); INSERT INTO p2 VALUES (1001, 'before it was attached'); \
         CREATE TABLE c (id bigint, t text); CREATE TABLE c1 () INHERITS (c); INSERT INTO c1 VALUES (7, 'child')",
    );
    job(
        &place,
        "'o', 'p', 'c', 'empty'",
        "[[table]]\nname = '*'\nincremental = 'xmin'\n[options]\nslice_bytes = '1M'\n",
    );
    let mut open = place.database.client();
    let mut open = open.transaction().unwrap();
    open.batch_execute(
        "INSERT INTO o VALUES (-1, 'open'); SAVEPOINT s; INSERT INTO o VALUES (-2, 'sub'); RELEASE s",
    )
    .unwrap();
    // Higher numbers are committed already.
    place.database.execute("UPDATE o SET t = 'b' WHERE id <= 10");
    place.run_job(&[]).assert_success();
    assert!(merged(&place, "o") == selected(&place, "o"));
    assert_eq!(increments(&place, "o"), [("full".to_owned(), 40_000)]);

    place.database.execute(
        "UPDATE o SET t = 'c' WHERE id = 20; INSERT INTO o VALUES (50000, 'new'); \
         ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (1000) TO (2000); INSERT INTO c1 VALUES (8, 'new')",
    );
    place.run_job(&[]).assert_success();
    open.commit().unwrap();
    place.run_job(&[]).assert_said(0, "rows read now");
    for name in ["o", "p", "c"] {
        assert!(merged(&place, name) == selected(&place, name), "{name}");
    }
    let of_orders = increments(&place, "o");
    assert_eq!(of_orders.len(), 3);
    // Rows that the first run had seen come again, as they are newer than the open transaction. Transactions
    // of other databases count, too, so how many there are is not known here.
    assert!(of_orders[1].0 == "xmin" && of_orders[1].1 >= 12, "{of_orders:?}");
    assert_eq!(increments(&place, "p")[1].0, "xmin");
    // It was read by several connections.
    assert!(table(&place, "o")["slices"].as_i64().unwrap() > 5);
    run(&mut place.job(&["verify", "lake"])).assert_success();

    // Without rows, there is no file, and one increment for all such runs.
    let files = |name: &str| table(&place, name)["files"].as_array().unwrap().len();
    assert_eq!((files("empty"), increments(&place, "empty").len()), (1, 2));
    // All again, by will and by age.
    place.run_job(&["--full"]).assert_success();
    assert_eq!(increments(&place, "o"), [("full".to_owned(), 40_003)]);
    job(&place, "'o'", "[[table]]\nname = 'o'\nincremental = 'xmin'\nfull_every = '0s'\n");
    place.run_job(&[]).assert_success();
    assert_eq!(increments(&place, "o"), [("full".to_owned(), 40_003)]);
}

/// What the newest manifest says must belong to this server, or rows would be lost.
#[test]
fn a_state_of_another_server_is_refused() {
    require!(Capability::Server);
    let place = Place::new("job_other_server");
    place.database.execute("CREATE TABLE o (id bigint, t text); INSERT INTO o VALUES (1, 'a')");
    job(&place, "'o'", "[[table]]\nname = 'o'\nincremental = 'xmin'\n");
    place.run_job(&[]).assert_success();
    let path = place.manifests().pop().unwrap();
    let manifest = fs::read_to_string(&path).unwrap();
    let newest: Value = serde_json::from_str(&manifest).unwrap();
    let (snapshot, system) =
        (newest["snapshot"].as_str().unwrap(), newest["server"]["system_identifier"].as_str());
    for (was, is, says) in [
        (system.unwrap(), "1", "this is another server"),
        ("\"timeline\": \"1\"", "\"timeline\": \"2\"", "was promoted or recovered"),
        (snapshot, "99999999999:99999999999:", "was set back"),
        (snapshot, "nonsense", "cannot be read"),
    ] {
        assert!(manifest.contains(was), "{was}");
        fs::write(&path, manifest.replace(was, is)).unwrap();
        place.run_job(&[]).assert_refused(2, &["public.o: ", says, "--full"]);
    }
    // Another table of the same name is read as a whole.
    fs::write(&path, &manifest).unwrap();
    place.database.execute("DROP TABLE o; CREATE TABLE o (id bigint, t text); INSERT INTO o VALUES (2, 'b')");
    place.run_job(&[]).assert_said(0, "all rows are read, since it is another table");
    assert!(merged(&place, "o") == selected(&place, "o"));
    // So is one whose filter changed; and views have no xmin.
    job(&place, "'o'", "[[table]]\nname = 'o'\nincremental = 'xmin'\nfilter = 'id > 0'\n");
    place.run_job(&[]).assert_said(0, "all rows are read, since its filter is another one");
    place.database.execute("CREATE VIEW v AS TABLE o");
    job(&place, "'v'", "[[table]]\nname = 'v'\nincremental = 'xmin'\n");
    place.run_job(&[]).assert_refused(2, &["public.v: only tables have xmin"]);
    job(&place, "'o'", "[[table]]\nname = 'x'\nincremental = 'xmin'\n");
    place.run_job(&[]).assert_refused(2, &["[[table]] is about \"x\", and no table of the job matches it"]);
}

#[test]
fn by_a_column_with_an_overlap() {
    require!(Capability::Server);
    let place = Place::new("job_column");
    place.database.execute(
        "CREATE TABLE n (id bigint, t text); INSERT INTO n SELECT g, 'a' FROM generate_series(1, 100) g; \
         INSERT INTO n VALUES (NULL, 'none'); \
         CREATE TABLE m (id bigint, t text, at timestamptz); \
         INSERT INTO m SELECT g, 'a', timestamptz '2026-01-01 00:00Z' + g * interval '1 minute' FROM generate_series(1, 60) g; \
         INSERT INTO m VALUES (-1, 'always', 'infinity'), (-2, 'always, too', '-infinity'); \
         CREATE TABLE u (id bigint, t text, \"The key\" uuid); \
         INSERT INTO u SELECT g, 'a', ('01930000-' || lpad(to_hex(g * 1000), 4, '0') || '-7000-8000-000000000000')::uuid \
           FROM generate_series(1, 10) g",
    );
    let rules = "[[table]]\nname = 'n'\nincremental = 'column'\ncolumn = 'id'\noverlap = 5\nnulls = 'never'\n\
                 [[table]]\nname = 'm'\nincremental = 'column'\ncolumn = 'at'\noverlap = '10m'\n\
                 [[table]]\nname = 'u'\nincremental = 'column'\ncolumn = 'The key'\noverlap = '1500ms'\n\
                 [options]\ninfinity = 'saturate'\n";
    job(&place, "'n', 'm', 'u'", rules);
    place.run_job(&[]).assert_success();
    place.database.execute(
        "INSERT INTO n VALUES (101, 'new'), (NULL, 'none'); \
         INSERT INTO m VALUES (61, 'new', '2026-01-01 01:01Z'), (62, 'late', '2026-01-01 00:55Z'), (63, 'too late', '2026-01-01 00:05Z'); \
         INSERT INTO u VALUES (11, 'new', '01930000-ffff-7000-8000-000000000000')",
    );
    // How a session prints moments does not matter.
    place
        .database
        .execute(&format!("ALTER DATABASE \"{}\" SET datestyle = 'German, DMY'", place.database.name()));
    place.run_job(&[]).assert_success();
    // 95 to 101; 00:50 to 01:01, and what is infinite; the last two, and the new one.
    for (name, rows) in [("n", 7), ("m", 15), ("u", 3)] {
        assert_eq!(increments(&place, name)[1..], [("column".to_owned(), rows)], "{name}");
    }
    assert_eq!(increments(&place, "n")[0], ("full".to_owned(), 100));
    assert_eq!(merged(&place, "u"), selected(&place, "u"));
    let (mut expected, got) = (selected(&place, "m"), merged(&place, "m"));
    expected.remove(&63);
    assert_eq!(got, expected);
    // A transaction that is open for longer than the overlap is told.
    job(&place, "'n'", "[[table]]\nname = 'n'\nincremental = 'column'\ncolumn = 'id'\n");
    let mut open = place.database.client();
    let mut open = open.transaction().unwrap();
    open.batch_execute("INSERT INTO n VALUES (0, 'late')").unwrap();
    place.run_job(&[]).assert_said(0, "a transaction that has written something has been open for");
    open.rollback().unwrap();

    for (rule, says) in [
        ("column = 't'", "cannot be found by a column of type text"),
        ("column = 'x'", "public.n: it has no column \"x\""),
        ("column = 'id'\noverlap = '1s'", "its column is an integer, so the overlap is a number"),
    ] {
        job(&place, "'n'", &format!("[[table]]\nname = 'n'\nincremental = 'column'\n{rule}\n"));
        place.run_job(&[]).assert_refused(2, &[says]);
    }
    place.database.execute("INSERT INTO u VALUES (12, 'random', '01940000-0000-4fff-8fff-ffffffffffff')");
    job(&place, "'u'", "[[table]]\nname = 'u'\nincremental = 'column'\ncolumn = 'The key'\n");
    place.run_job(&[]).assert_refused(2, &["another version than 7"]);
    job(&place, "'u'", "[[table]]\nname = 'u'\nincremental = 'column'\n");
    place.run_job(&[]).assert_refused(2, &["public.u: to find new rows by a column, say which one"]);
}

#[test]
fn columns_that_change_between_runs() {
    require!(Capability::Server);
    let place = Place::new("job_schema_change");
    place.database.execute("CREATE TABLE o (id bigint, t text); INSERT INTO o VALUES (1, 'a')");
    let with = |change: &str| {
        job(
            &place,
            "'o'",
            &format!("[[table]]\nname = 'o'\nincremental = 'xmin'\non_schema_change = '{change}'\n"),
        );
    };
    with("fail");
    place.run_job(&[]).assert_success();
    place.database.execute("ALTER TABLE o ADD COLUMN n int; INSERT INTO o VALUES (2, 'b', 5)");
    place
        .run_job(&[])
        .assert_refused(2, &["public.o: it has new columns since the run before: \"n\"", "--full"]);
    let names = |place: &Place| -> Vec<String> {
        let table = table(place, "o");
        table["columns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["name"].as_str().unwrap().to_owned())
            .collect()
    };
    with("ignore");
    place.run_job(&[]).assert_said(0, "public.o: new columns are left out: \"n\"");
    assert_eq!(
        (names(&place), merged(&place, "o")),
        (vec!["id".to_owned(), "t".to_owned()], selected(&place, "o"))
    );
    with("add");
    place.database.execute("INSERT INTO o VALUES (3, 'c', 6)");
    place.run_job(&[]).assert_success();
    assert_eq!(names(&place), ["id", "t", "n"]);
    assert!(merged(&place, "o") == selected(&place, "o"));
    place.database.execute("ALTER TABLE o ADD COLUMN more int");
    with("new_version");
    place.run_job(&[]).assert_said(0, "new columns make a new version, with all rows");
    let of_orders = table(&place, "o");
    assert_eq!(
        (of_orders["version"].as_i64(), increments(&place, "o")),
        (Some(2), vec![("full".to_owned(), 3)])
    );
    assert!(of_orders["files"][0]["path"].as_str().unwrap().starts_with("public/o/version=2/part-"));
    place.database.execute("INSERT INTO o VALUES (4, 'd', 6, 7)");
    place.run_job(&[]).assert_success();
    assert_eq!((table(&place, "o")["version"].as_i64(), increments(&place, "o").len()), (Some(2), 2));
    for change in ["fail", "add", "ignore", "new_version"] {
        with(change);
        place.database.execute("ALTER TABLE o ALTER COLUMN n TYPE smallint");
        place.run_job(&[]).assert_refused(2, &["its column \"n\" was integer", "and is smallint", "--full"]);
        place.database.execute("ALTER TABLE o ALTER COLUMN n TYPE integer; ALTER TABLE o RENAME n TO gone");
        place.run_job(&[]).assert_refused(2, &["its column \"n\" is gone", "--full"]);
        place.database.execute("ALTER TABLE o RENAME gone TO n");
    }
    place.run_job(&["--full"]).assert_success();
}

/// What is read of single tables: columns, rows; for each, what the later rule says.
#[test]
fn columns_and_rows_of_single_tables() {
    require!(Capability::Server);
    let place = Place::new("job_rules");
    place.database.execute(
        "CREATE TABLE a (id bigint, t text); INSERT INTO a SELECT g, 'x' FROM generate_series(1, 10) g; \
         CREATE TABLE b (id bigint, t text, secret text); INSERT INTO b SELECT g, 'x', 'y' FROM generate_series(1, 10) g",
    );
    let rules = "[[table]]\nname = '*'\nfilter = \"id > 5 AND t = 'x'\"\n\
                 [[table]]\nname = 'public.b'\ncolumns = ['t', 'id']\nfilter = 'id <= 2'\n";
    job(&place, "'public.*'", rules);
    place.run_job(&[]).assert_success();
    assert_eq!((merged(&place, "a").len(), merged(&place, "b").len()), (5, 2));
    assert_eq!(table(&place, "b")["columns"].as_array().unwrap().len(), 2);
    run(&mut place.job(&["check", "job.toml"])).assert_success();
    for (rule, says) in [
        ("filter = 'nothing > 1'", "public.b: the filter cannot be used"),
        ("filter = 'true) OR (true'", "public.b: "),
        ("columns = ['idd']", "public.b has no column \"idd\" (did you mean \"id\"?)"),
    ] {
        job(&place, "'public.*'", &format!("[[table]]\nname = 'b'\n{rule}\n"));
        let ran = place.run_job(&[]);
        assert!(ran.code.is_some_and(|code| code != 0) && ran.stderr.contains(says), "{ran:?}");
    }
}

/// Formerly, in this order: the largest value was that of other rows than those that are read; a table that
/// was emptied, or had a row of the future, was never read again; and parts that were attached by somebody
/// who had the values already were missed.
#[test]
fn a_column_whose_values_do_not_grow_as_expected() {
    require!(Capability::Server);
    let place = Place::new("job_column_edges");
    place.database.execute(
        "CREATE TABLE o (id bigint, t text); CREATE TABLE child () INHERITS (o); \
         INSERT INTO o VALUES (1, 'a'); INSERT INTO child VALUES (1000, 'of the child'); \
         CREATE TABLE r (id bigint, t text, region text); INSERT INTO r VALUES (1, 'a', 'eu'), (900, 'a', 'us'); \
         CREATE TABLE e (id bigint GENERATED ALWAYS AS IDENTITY, t text); INSERT INTO e (t) SELECT 'a' FROM generate_series(1, 9); \
         CREATE TABLE f (id bigint, t text, at timestamptz); \
         INSERT INTO f VALUES (1, 'a', '2026-01-01'), (2, 'a wrong clock', now() + interval '10 years'); \
         CREATE TABLE p (id bigint, t text) PARTITION BY LIST (t); CREATE TABLE p1 PARTITION OF p FOR VALUES IN ('a'); \
         INSERT INTO p VALUES (100, 'a'); CREATE TABLE p2 (id bigint, t text); INSERT INTO p2 VALUES (5, 'b')",
    );
    let rules = "only = true\n[destination]\npath = \"lake\"\n\
                 [[table]]\nname = '*'\nincremental = 'column'\ncolumn = 'id'\n\
                 [[table]]\nname = 'r'\nfilter = \"region = 'eu'\"\n[[table]]\nname = 'f'\ncolumn = 'at'\n";
    job(&place, "'o', 'r', 'e', 'f', 'p'", "");
    let text = fs::read_to_string(place.path("job.toml")).unwrap();
    fs::write(place.path("job.toml"), text.replace("[destination]\npath = \"lake\"\n", rules)).unwrap();
    place.run_job(&[]).assert_success();
    place.database.execute(
        "INSERT INTO o VALUES (2, 'b'); INSERT INTO r VALUES (2, 'b', 'eu'); \
         TRUNCATE e RESTART IDENTITY; INSERT INTO e (t) VALUES ('new'); INSERT INTO f VALUES (3, 'b', '2026-01-02'); \
         ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN ('b')",
    );
    let ran = place.run_job(&[]);
    ran.assert_said(
        0,
        "public.e: all rows are read, since the largest value is smaller than in the run before",
    );
    assert_eq!(merged(&place, "o"), selected(&place, "ONLY o"));
    assert_eq!(merged(&place, "r"), selected(&place, "r WHERE region = 'eu'"));
    for name in ["e", "f", "p"] {
        assert!(merged(&place, name) == selected(&place, name), "{name}");
    }
    assert_eq!(increments(&place, "e"), [("full".to_owned(), 1)]);
}

/// Formerly, rows of foreign tables were read once and never again: they have no transactions.
#[test]
fn parts_whose_rows_carry_no_transactions_are_read_as_a_whole() {
    require!(Capability::PrivateServer, Capability::Extension("postgres_fdw"));
    let place = Place::new("job_foreign_part");
    let (database, port) = (place.database.name(), place.database.client());
    let port: String = { port }.query_one("SELECT current_setting('port')", &[]).unwrap().get(0);
    place.database.execute(&format!(
        "CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw \
           OPTIONS (host '127.0.0.1', port '{port}', dbname '{database}'); \
         CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (user 'postgres', password_required 'false'); \
         CREATE TABLE there (id bigint, t text); INSERT INTO there VALUES (1, 'far'); \
         CREATE TABLE o (id bigint, t text); CREATE FOREIGN TABLE o_far () INHERITS (o) SERVER far OPTIONS (table_name 'there'); \
         INSERT INTO o VALUES (2, 'near')"
    ));
    job(&place, "'o'", "[[table]]\nname = 'o'\nincremental = 'xmin'\n");
    place.run_job(&[]).assert_success();
    place.database.execute("INSERT INTO there VALUES (3, 'far'); INSERT INTO o VALUES (4, 'near')");
    place.run_job(&[]).assert_success();
    assert!(merged(&place, "o") == selected(&place, "o"));
}

/// What changes a table without writing its rows, and what writes its rows without changing them.
#[test]
fn by_transaction_through_maintenance() {
    require!(Capability::PrivateServer);
    let place = Place::new("job_maintenance");
    place.database.execute(
        "CREATE TABLE o (id bigint PRIMARY KEY, t text); INSERT INTO o SELECT g, 'a' FROM generate_series(1, 1000) g",
    );
    job(&place, "'o'", "[[table]]\nname = 'o'\nincremental = 'xmin'\non_schema_change = 'add'\n");
    place.run_job(&[]).assert_success();
    let mut client = place.database.client();
    let mut n_rows = 0_i64;
    for sql in
        ["VACUUM FREEZE o", "VACUUM FULL o", "CLUSTER o USING o_pkey", "ALTER TABLE o SET (fillfactor = 50)"]
    {
        client.batch_execute(sql).unwrap();
        n_rows += 1;
        client.execute("INSERT INTO o VALUES ($1, 'new')", &[&(5000 + n_rows)]).unwrap();
        place.run_job(&[]).assert_success();
        assert!(merged(&place, "o") == selected(&place, "o"), "{sql}");
        assert_eq!(increments(&place, "o").last().unwrap().0, "xmin");
    }
    // Rows of before have the default without having been written.
    client.batch_execute("ALTER TABLE o ADD COLUMN n int DEFAULT 7").unwrap();
    place.run_job(&[]).assert_said(0, "all rows are read, since older rows have got a default in \"n\"");
    client.batch_execute("ALTER TABLE o DROP COLUMN n; ALTER TABLE o ADD COLUMN n int").unwrap();
    place.run_job(&[]).assert_refused(2, &["its column \"n\" is another one than in the run before"]);
}
