//! A value that stops an export can be found: the error says where it is and has a SELECT that shows it.

use pgarrow::{ErrorKind, ExportOptions, Extract, NumericForm, ReadMode, TypeOptions};
use pgarrow_testkit::{Capability, Database, require};

use crate::pages_planning::{by, inspected, require_pages, vacuum};
use crate::support::{database, oracle, refusal, server_text, source};

/// The SELECT at the end of an error's text.
fn select(text: &str) -> &str {
    let (_, select) = text.split_once(": SELECT ").unwrap_or_else(|| panic!("no SELECT in {text}"));
    &text[text.len() - select.len() - "SELECT ".len()..]
}

/// The error of an export. Asserts that its SELECT shows the rows with these values of `id`.
fn finds(database: &Database, extract: Extract, ids: &[i64]) -> String {
    let error = refusal(extract);
    assert_eq!(error.kind(), ErrorKind::Value, "{error}");
    let text = error.to_string();
    assert!(!text.contains("secret"), "{text}");
    let select = select(&text);
    let sql = format!("SELECT id FROM ({select}) AS of_error ORDER BY id");
    let found = server_text(&mut oracle(database), &sql);
    let wanted: Vec<_> = ids.iter().map(|id| vec![Some(id.to_string())]).collect();
    assert_eq!(found, wanted, "{text}");
    text
}

fn small() -> ExportOptions {
    ExportOptions::default().with_slice_bytes(64 << 10).with_read_mode(ReadMode::Copy)
}

/// `d` is infinite in row 15,000; `late` is beyond Arrow's years in row 17,000, and `n` has too many digits
/// in row 18,000.
const TABLE: &str = "CREATE TABLE \"E\" AS SELECT g::int8 AS id, date '2020-01-01' + g AS d, \
      timestamp '2020-01-01' AS late, g::numeric AS n, 'secret' || g AS t, ARRAY[g] AS a FROM generate_series(1, 20000) AS g; \
    UPDATE \"E\" SET d = 'infinity' WHERE id = 15000; UPDATE \"E\" SET late = '294276-12-31' WHERE id = 17000; \
    UPDATE \"E\" SET n = 0.12345 WHERE id = 18000; UPDATE \"E\" SET a = '{{1,2},{3,4}}' WHERE id = 19000; VACUUM FULL \"E\"; ANALYZE \"E\"";

/// Formerly, the error said only "row 1 of its slice".
#[test]
fn a_value_in_a_slice_of_pages() {
    require!(Capability::Server);
    let database = database("refused_pages", "SELECT");
    // VACUUM cannot run in a transaction.
    TABLE.split("; ").for_each(|statement| database.execute(statement));
    let source = source(&database);
    let table = |column: &str| source.table("\"E\"").columns(["id", column]).options(small());
    let text = finds(&database, table("d"), &[15_000]);
    assert!(
        text.contains(" from ctid (")
            && text.contains("rows like it: SELECT ctid, * FROM ONLY \"public\".\"E\" WHERE ctid >= '("),
        "{text}"
    );
    assert!(text.contains("row ") && text.contains("AND NOT isfinite(\"d\") LIMIT 10"), "{text}");
    // Only the decoder knows which values do not fit, so the SELECT counts the rows before.
    let text = finds(&database, table("late"), &[17_000]);
    assert!(
        text.contains("it is this row, until something is changed: SELECT ctid, * FROM ONLY")
            && text.contains(" OFFSET "),
        "{text}"
    );
    let choice = NumericForm::Decimal(pgarrow::Decimal::new(10, 2).unwrap());
    let decimals = small().with_types(TypeOptions { numeric: choice, ..TypeOptions::default() });
    finds(&database, table("n").options(decimals), &[18_000]);
    let text = finds(&database, table("a"), &[19_000]);
    assert!(text.contains("array_ndims(\"a\") <> 1"), "{text}");
    // With one slice for the whole table, and with other read modes.
    let whole = || ExportOptions::default().with_read_mode(ReadMode::Copy);
    let text = finds(&database, table("late").options(whole()), &[17_000]);
    assert!(text.contains("row ") && text.contains(" WHERE ctid >= '(0,0)' OFFSET "), "{text}");
    for by in [ReadMode::Select, ReadMode::Cursor] {
        finds(&database, table("late").options(small().with_read_mode(by)), &[17_000]);
    }
    // With a filter, the row has another number. A filter that does not fit one line is left out if possible.
    let text = finds(&database, table("late").filter("id % 2 = 0"), &[17_000]);
    assert!(text.contains("AND (id % 2 = 0) OFFSET "), "{text}");
    let text = finds(&database, table("d").filter("id > 5 -- of all\n"), &[15_000]);
    assert!(!text.contains("of all"), "{text}");
    let text = refusal(table("late").filter("id > 5 -- of all\n")).to_string();
    assert!(!text.contains("SELECT") && text.contains(" from ctid ("), "{text}");
}

#[test]
fn a_value_in_partitions_and_ranges_of_a_key() {
    require!(Capability::Server);
    let database = database(
        "refused_leaves",
        "CREATE TABLE p (id int8, d date, late timestamp) PARTITION BY RANGE (id); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (5000); \
         CREATE TABLE \"P 2\" PARTITION OF p FOR VALUES FROM (5000) TO (100000); \
         INSERT INTO p SELECT g, '2020-01-01', '2020-01-01' FROM generate_series(1, 9000) g; \
         UPDATE p SET d = '-infinity' WHERE id = 7000; UPDATE p SET late = '294276-12-31' WHERE id = 8000; \
         CREATE VIEW v AS SELECT * FROM p; ANALYZE p, p1, \"P 2\"",
    );
    let source = source(&database);
    let table = |name: &str, column: &str| source.table(name).columns(["id", column]);
    // Small leaves are read together, large ones by pages.
    let text = finds(&database, table("p", "d"), &[7000]);
    assert!(
        text.contains("SELECT tableoid::regclass, ctid, * FROM \"public\".\"p\" WHERE NOT isfinite"),
        "{text}"
    );
    for column in ["d", "late"] {
        let id = if column == "d" { 7000 } else { 8000 };
        let text = finds(&database, table("p", column).options(small()), &[id]);
        assert!(text.contains("\"public\".\"P 2\" AS \"p\" WHERE ctid >= "), "{text}");
        let by_key = || ExportOptions::default().with_split_on("id").with_slice_bytes(20_000).with_readers(2);
        for name in ["v", "p"] {
            let text = finds(&database, table(name, column).options(by_key()), &[id]);
            assert!(text.contains(" of those with \"id\" >= '"), "{text}");
        }
        let query = format!("select id, {column} from v order by id;");
        finds(&database, source.query(query.as_str()), &[id]);
        let query = format!("select id, {column} from v");
        let text = finds(&database, source.query(query.as_str()).options(by_key()), &[id]);
        assert!(text.contains(") AS q WHERE \"id\" >= '"), "{text}");
        // Names that occur twice cannot be used.
        let query = format!("select id, {column}, {column} from v");
        let text = refusal(source.query(query.as_str()).options(by_key())).to_string();
        assert!(text.contains(") AS q (c1, c2, c3) WHERE c1 >= '"), "{text}");
        assert_eq!(server_text(&mut oracle(&database), select(&text))[0][0], Some(id.to_string()), "{text}");
    }
    // Values that were bound to a query or a filter are not shown.
    let text = refusal(source.query("select id, d, $1::text from p").bind(Some("secret"))).to_string();
    assert!(!text.contains("SELECT"), "{text}");
    let filtered = || source.table("p").filter("id::text <> $1").bind(Some("secret"));
    let text = finds(&database, filtered().columns(["id", "d"]), &[7000]);
    assert!(!text.contains("id::text"), "{text}");
    let text = refusal(filtered().columns(["id", "late"])).to_string();
    assert!(!text.contains("secret") && !text.contains("SELECT"), "{text}");
    for (filter, is_told) in [("id::text <> $1", false), ("id > 5", true)] {
        let table = source.table("p").columns(["id", "d"]).filter(filter);
        let table = if is_told { table } else { table.bind(Some("secret")) };
        let mut run = table.open().unwrap();
        let slice = run.slices().unwrap().remove(0);
        let text = refusal(source.slice(slice)).to_string();
        assert!(!text.contains("secret") && text.contains("(id > 5)") == is_told, "{text}");
    }
}

/// Rows that pages cannot give are read by COPY from exactly that line pointer on.
#[test]
fn a_value_on_a_page() {
    require_pages!();
    let database = inspected("refused_by_pages", "SELECT");
    TABLE.split("; ").for_each(|statement| database.execute(statement));
    vacuum(&database, "\"E\"");
    let source = source(&database);
    for (column, id) in [("d", 15_000), ("late", 17_000)] {
        let table = || source.table("\"E\"").columns(["id", column]).options(by(ReadMode::Pages));
        let text = finds(&database, table(), &[id]);
        let found = server_text(&mut oracle(&database), &format!("SELECT ctid FROM \"E\" WHERE id = {id}"));
        let page = found[0][0].as_deref().unwrap().split(',').next().unwrap().to_owned();
        assert!(text.contains(&format!(" from ctid {page},")), "{text}: {page}");
    }
    // On a page that is not all-visible, rows are counted from the page's beginning.
    database.execute("UPDATE \"E\" SET t = t WHERE id = 17001");
    finds(&database, source.table("\"E\"").columns(["id", "late"]).options(by(ReadMode::Pages)), &[17_000]);
}
