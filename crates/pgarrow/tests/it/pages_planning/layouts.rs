//! How heaps store columns: dropped and added columns, base types, partitions with other layouts; and tokens.

use std::sync::atomic::{AtomicBool, Ordering};

use pgarrow::{ExportOptions, ReadMode, Slice, SliceRange};
use pgarrow_testkit::{Capability, Database, require};

use super::access::require_pages;
use super::{all_pages, assert_copied, both, by, inspected, pages, printed, read, status, superuser, vacuum};
use crate::support::{Role, source_as};

/// Asserts that a table with only all-visible pages is read by pages completely, with the server's text.
#[track_caller]
fn assert_read(database: &Database, table: &str, list: &str) {
    vacuum(database, table);
    let source = superuser(database);
    let report = both(&source, table);
    let status = status(&source, table);
    assert_eq!(all_pages(&report), status.pages, "{table}");
    assert!(status.pages > 0 && status.possible && status.why_not.is_empty(), "{status:?}");
    let (rows, _) = read(source.table(table).options(by(ReadMode::Pages))).unwrap();
    let expected = printed(database, list, table);
    assert_eq!(rows, expected, "{table}");
}

/// Types of added columns, with the default that older rows get.
const ADDED: [(&str, &str); 40] = [
    ("bool", "true"),
    ("\"char\"", "'x'"),
    ("int2", "-2"),
    ("int4", "-4"),
    ("int8", "-8000000000"),
    ("oid", "4000000000"),
    ("xid8", "'18446744073709551615'"),
    ("pg_lsn", "'16/B374D848'"),
    ("float4", "'-0'"),
    ("float8", "1e300"),
    ("numeric", "123456789012345678901234567890.123456789"),
    ("numeric(12, 2)", "-1.5"),
    ("money", "12.34"),
    ("text", "repeat('ä', 300)"),
    ("text", "''"),
    ("varchar(9)", "'v'"),
    ("char(7)", "'c'"),
    ("name", "'a_name'"),
    ("bytea", "'\\x00ff'"),
    ("uuid", "'00112233-4455-6677-8899-aabbccddeeff'"),
    ("json", "'{\"a\":  1}'"),
    ("jsonb", "'{\"b\": [1, null, \"x\"], \"a\": 1.50}'"),
    ("date", "'0044-03-15 BC'"),
    ("time", "'24:00'"),
    ("timetz", "'12:34:56.789+02:30'"),
    ("timestamp", "'1999-12-31 23:59:59.999999'"),
    ("timestamptz", "'2020-02-29 12:00+00'"),
    ("interval", "'1 mon -2 days 03:04:05.678'"),
    ("bit(9)", "'101010101'"),
    ("inet", "'10.1.2.3/8'"),
    ("cidr", "'2001:db8::/32'"),
    ("macaddr8", "'08:00:2b:01:02:03:04:05'"),
    ("mood", "'happy'"),
    ("mood[]", "'{sad,NULL,happy}'"),
    ("positive", "7"),
    ("positive[]", "'{7,8}'"),
    ("tags", "'{a,\"b c\"}'"),
    ("int4[]", "'[-1:1]={1,NULL,3}'"),
    ("box", "'(1,2),(3,4)'"),
    ("polygon", "'((0,0),(1,1),(1,0))'"),
];

const TYPES: &str = "CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN positive AS int4 CHECK (VALUE > 0); \
    CREATE DOMAIN tags AS text[]; CREATE DOMAIN shouted AS name; CREATE DOMAIN feeling AS mood; \
    CREATE DOMAIN feelings AS feeling[]";

#[test]
fn rows_that_are_older_than_a_column_have_its_default() {
    require_pages!();
    let database = inspected(
        "missing",
        &format!("{TYPES}; CREATE TABLE e AS SELECT g AS id FROM generate_series(1, 300) AS g"),
    );
    for (index, (pg_type, value)) in ADDED.iter().enumerate() {
        database.execute(&format!("ALTER TABLE e ADD COLUMN c{index} {pg_type} DEFAULT {value}"));
        // For rows of every age.
        database.execute(&format!("INSERT INTO e (id) VALUES ({index})"));
    }
    database.execute("ALTER TABLE e ADD COLUMN last text, ADD COLUMN words tsvector DEFAULT 'a'; INSERT INTO e (id) VALUES (0)");
    let source = superuser(&database);
    assert_copied(&source, "e", "column \"words\"");
    // Columns that are not wanted do not matter: not even the forms of their defaults.
    database.execute("ALTER TABLE e DROP COLUMN words; ALTER TABLE e ALTER COLUMN c3 DROP DEFAULT, ALTER COLUMN c13 SET DEFAULT 'later'; \
        INSERT INTO e (id) VALUES (-1)");
    database.execute("VACUUM e");
    let report = both(&source, "e");
    let (n_read, n_copied) = pages(&report);
    // The result of VACUUM decides whether pages are asked for.
    let is_visible = {
        let of_e = status(&source, "e");
        2 * of_e.all_visible > of_e.pages
    };
    assert!(!is_visible || n_read > n_copied, "{:?}", report.pages);
    // Each column alone: the defaults of the others are not queried.
    for (index, added) in ADDED.iter().enumerate() {
        let column = format!("c{index}");
        let by_mode =
            |mode| read(source.table("e").columns([column.as_str(), "id"]).options(by(mode))).unwrap();
        let ((by_copy, _), (by_pages, report)) = (by_mode(ReadMode::Copy), by_mode(ReadMode::Pages));
        assert_eq!(by_pages, by_copy, "{:?}", added);
        let (n_read, n_copied) = pages(&report);
        assert!(!is_visible || n_read > n_copied, "{:?}: {:?}", added, report.pages);
    }
}

#[test]
fn dropped_columns_are_passed_over() {
    require_pages!();
    let database = inspected(
        "dropped",
        "CREATE TABLE e (a int2, gone text, b int8, gone_too box, c text, gone_of_enum int4[], d numeric); \
         INSERT INTO e SELECT g, repeat('g', g % 200), g * 3, box(point(g, g), point(0, 0)), 't' || g, ARRAY[g, g], g / 7.0 \
           FROM generate_series(1, 500) AS g; \
         ALTER TABLE e DROP COLUMN gone, DROP COLUMN gone_too; ALTER TABLE e DROP COLUMN gone_of_enum; \
         INSERT INTO e SELECT g, g * 3, 't' || g, g / 7.0 FROM generate_series(501, 900) AS g; \
         ALTER TABLE e ADD COLUMN gone text DEFAULT 'again'; \
         INSERT INTO e (a) VALUES (1)",
    );
    assert_read(&database, "e", "*");
    // Only the wanted columns, in the user's order.
    let source = superuser(&database);
    let (rows, report) =
        read(source.table("e").columns(["gone", "d", "a"]).options(by(ReadMode::Pages))).unwrap();
    assert!(all_pages(&report) > 0);
    assert_eq!(rows, printed(&database, "gone, d, a", "e"));
    // A table without any column left.
    database.execute(
        "ALTER TABLE e DROP COLUMN a, DROP COLUMN b, DROP COLUMN c, DROP COLUMN d, DROP COLUMN gone",
    );
    vacuum(&database, "e");
    let report = both(&source, "e");
    assert_eq!(report.rows, 901);
}

#[test]
fn types_that_stand_on_others() {
    require_pages!();
    let database = inspected(
        "bases",
        &format!(
            "{TYPES}; CREATE TABLE e (m mood, f feeling, fs feelings, ms mood[], p positive, ps positive[], t tags, s shouted, \
               ss shouted[], n name[], i int2vector, o oidvector, r regclass, b \"char\"[], nets cidr[], u uuid[]); \
             INSERT INTO e VALUES \
               ('sad', 'happy', '{{happy,sad}}', '{{sad,NULL}}', 1, '{{1,2}}', '{{x,NULL}}', 'LOUD', '{{a,b}}', '{{n}}', '1 2', \
                '3 4', 'pg_class', '{{x}}', '{{10.0.0.0/8}}', NULL), \
               (NULL, NULL, '{{}}', NULL, NULL, '{{}}', '{{}}', NULL, NULL, '{{}}', '', '', NULL, NULL, '{{}}', '{{}}'); \
             ALTER TYPE mood ADD VALUE 'better' BEFORE 'happy'"
        ),
    );
    database.execute("INSERT INTO e (m, f, fs) VALUES ('better', 'better', '{better}')");
    // In Arrow, a regclass is a number.
    assert_read(&database, "e", "m, f, fs, ms, p, ps, t, s, ss, n, i, o, r::oid, b, nets, u");
}

#[test]
fn partitions_and_children_have_their_own_places() {
    require_pages!();
    let database = inspected(
        "leaves",
        "CREATE TABLE p (id int4, t text, n numeric) PARTITION BY RANGE (id); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (1000); \
         CREATE TABLE p2 (gone box, n numeric, t text, id int4 NOT NULL); ALTER TABLE p2 DROP COLUMN gone; \
         ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (1000) TO (2000); \
         CREATE TABLE p3 (t text, id int4); ALTER TABLE p3 ADD COLUMN n numeric DEFAULT 0.5; \
         INSERT INTO p3 VALUES ('early', 2000); \
         ALTER TABLE p ATTACH PARTITION p3 FOR VALUES FROM (2000) TO (3000); \
         INSERT INTO p SELECT g, 't' || g, g / 3.0 FROM generate_series(0, 2999, 3) AS g; \
         CREATE TABLE parent (id int4, t text); CREATE TABLE child (extra tsvector) INHERITS (parent); \
         INSERT INTO parent VALUES (1, 'one'); INSERT INTO child VALUES (2, 'two', 'x')",
    );
    vacuum(&database, "p");
    vacuum(&database, "parent, child");
    let source = superuser(&database);
    let report = both(&source, "p");
    assert_eq!((all_pages(&report), report.rows), (status(&source, "p").pages, 1001));
    // The child's additional columns are not wanted.
    let report = both(&source, "parent");
    assert_eq!((all_pages(&report), report.rows), (2, 2));
    let status = status(&source, "p");
    assert_eq!((status.heaps, status.heaps_possible, status.possible), (3, 3, true));

    // Partitions that cannot be read by pages come by COPY; the others by pages.
    database.execute(
        "ALTER TABLE p2 SET UNLOGGED; CREATE TABLE p4 (LIKE p); ALTER TABLE p4 ENABLE ROW LEVEL SECURITY; \
        CREATE FUNCTION at_least_one() RETURNS int4 LANGUAGE sql AS 'SELECT 1'; \
        CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER elsewhere FOREIGN DATA WRAPPER nowhere; \
        CREATE FOREIGN TABLE p5 PARTITION OF p FOR VALUES FROM (4000) TO (5000) SERVER elsewhere",
    );
    let status = super::status(&source, "p");
    assert_eq!((status.heaps, status.heaps_possible, status.possible), (4, 3, false));
    assert_eq!(status.why_not.len(), 1);
    assert!(
        status.why_not[0].starts_with("public.p5: it is neither a table nor a materialized view"),
        "{status:?}"
    );
}

#[test]
fn columns_that_are_generated_when_they_are_read() {
    require_pages!();
    require!(Capability::VersionAtLeast(180_000));
    let database = inspected(
        "generated",
        "CREATE TABLE e (id int4, twice int4 GENERATED ALWAYS AS (id * 2) VIRTUAL, kept int4 GENERATED ALWAYS AS (id * 3) STORED); \
         INSERT INTO e SELECT g FROM generate_series(1, 9) AS g",
    );
    vacuum(&database, "e");
    let source = superuser(&database);
    assert_copied(&source, "e", "column \"twice\" is generated when it is read");
    let (rows, report) =
        read(source.table("e").columns(["kept", "id"]).options(by(ReadMode::Pages))).unwrap();
    assert_eq!((rows, all_pages(&report)), (printed(&database, "kept, id", "e"), 1));
}

#[test]
fn a_plan_says_what_is_read_by_pages() {
    require_pages!();
    let database = inspected(
        "says",
        "CREATE TABLE large AS SELECT g AS id, repeat('x', 100) AS t FROM generate_series(1, 20000) AS g; \
         CREATE TABLE small AS SELECT 1 AS id; CREATE TABLE odd AS SELECT 'a'::tsvector AS v, repeat('x', 100) AS t \
           FROM generate_series(1, 20000) AS g",
    );
    vacuum(&database, "large, small, odd");
    let source = superuser(&database);
    let report = |table: &str, mode| {
        let run = source.table(table).options(by(mode)).open().unwrap();
        let report = run.plan().report(None);
        (report.pages, report.page_notes.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let none = Vec::<String>::new;
    assert_eq!(report("large", ReadMode::Auto), (vec!["public.large".to_owned()], none()));
    assert_eq!(report("large", ReadMode::Copy), (none(), none()));
    assert_eq!(report("small", ReadMode::Auto), (none(), vec!["public.small: it is small".to_owned()]));
    assert_eq!(report("small", ReadMode::Pages), (vec!["public.small".to_owned()], none()));
    let (pages, notes) = report("odd", ReadMode::Auto);
    assert!(
        pages.is_empty() && notes[0].starts_with("public.odd: column \"v\" has the type tsvector"),
        "{notes:?}"
    );
    // Many tables, each with its own decision.
    let run = source.tables(["large", "small", "odd"]).options(by(ReadMode::Auto)).open().unwrap();
    let report = run.for_each_with_plan(|_, _| Ok(())).unwrap();
    assert!(all_pages(&report) > 0);
    assert_eq!((report.read_mode, report.page_notes.len()), (ReadMode::Pages, 2));
}

#[test]
fn tokens_say_that_pages_are_to_be_read() {
    require_pages!();
    let database = inspected(
        "tokens",
        "CREATE TABLE e AS SELECT g AS id, repeat('x', 100) AS t FROM generate_series(1, 3000) AS g; CREATE TABLE saved AS SELECT id FROM e",
    );
    vacuum(&database, "e");
    let role = Role::new(&database);
    database.execute(&format!("GRANT SELECT ON e TO \"{}\"", role.name));
    let source = superuser(&database);
    let options =
        ExportOptions::default().with_read_mode(ReadMode::Pages).with_readers(2).with_slice_bytes(100_000);
    let mut run = source.table("e").options(options).open().unwrap();
    let tokens: Vec<String> = run.slices().unwrap().iter().map(|slice| slice.to_json().unwrap()).collect();
    assert!(tokens.len() > 2);
    // Later changes are in no slice.
    database.execute("DELETE FROM e WHERE id % 100 < 5; INSERT INTO e VALUES (0, 'new')");
    let is_read = AtomicBool::new(false);
    let read_all = || {
        let (mut ids, mut n_read, mut n_copied) = (Vec::new(), 0, 0);
        for token in &tokens {
            let slice = Slice::from_json(token).unwrap();
            assert_eq!(slice.read_mode, ReadMode::Pages);
            assert!(matches!(slice.range, SliceRange::Pages { .. }));
            let (rows, report) = read(superuser(&database).slice(slice)).unwrap();
            assert!(report.warnings.is_empty(), "{:?}", report.warnings);
            ids.extend(rows.into_iter().filter_map(|row| row[0].as_ref()?.parse::<i32>().ok()));
            n_read += pages(&report).0;
            n_copied += pages(&report).1;
        }
        // A role that cannot ask for pages gets the rows by COPY, with a warning.
        let slice = Slice::from_json(&tokens[0]).unwrap();
        let (rows, report) = read(source_as(&database, &role.name).slice(slice)).unwrap();
        assert_eq!((pages(&report), report.warnings.len()), ((0, 0), 1));
        assert!(
            report.warnings[0].contains("is read by COPY: the role is no superuser"),
            "{:?}",
            report.warnings
        );
        (ids, n_read, n_copied, rows.len())
    };
    let (ids, n_read, n_copied, n_by_copy) = std::thread::scope(|scope| {
        let holding = scope.spawn(|| run.hold(|| !is_read.load(Ordering::SeqCst)));
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read_all));
        is_read.store(true, Ordering::SeqCst);
        holding.join().unwrap().unwrap();
        read.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    assert_eq!(ids, (1..=3000).collect::<Vec<i32>>());
    assert!(n_by_copy > 0 && n_read + n_copied > 0, "{n_read} {n_copied}");
    // A slice that was planned by COPY is read by COPY.
    let run = source.table("e").options(by(ReadMode::Copy).with_slice_bytes(100_000).with_readers(2));
    let mut run = run.open().unwrap();
    let slice = run.slices().unwrap().remove(0);
    assert_eq!(slice.read_mode, ReadMode::Copy);
    let is_read = AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        let holding = scope.spawn(|| run.hold(|| !is_read.load(Ordering::SeqCst)));
        let read = read(source.slice(slice));
        is_read.store(true, Ordering::SeqCst);
        holding.join().unwrap().unwrap();
        read.unwrap().1
    });
    assert_eq!((pages(&report), report.page_notes.len()), ((0, 0), 0));
}
