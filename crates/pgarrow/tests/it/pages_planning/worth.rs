//! The cost of pages against COPY, and the cost of finding that out.

use std::time::Duration;

use pgarrow::{ReadMode, Source};
use pgarrow_testkit::{Capability, Fault, Proxy, TestServer, eventually, require};

use super::access::require_pages;
use super::{FUNCTION, all_pages, by, grant, inspected, pages, read, superuser, vacuum};
use crate::support::{Role, lines, source_as, url};

const NOT_WORTH_IT: &str = "its pages hold too little of what is wanted to be worth it";

/// Reads these columns without asking for pages. Returns whether they came by pages, and every reason why
/// not.
#[track_caller]
fn auto(source: &Source, table: &str, columns: &[&str]) -> (bool, String) {
    let mut extract = source.table(table);
    if !columns.is_empty() {
        extract = extract.columns(columns.iter().copied());
    }
    let (_, report) = read(extract.options(by(ReadMode::Auto))).unwrap();
    (pages(&report).0 > 0, lines(&report.page_notes))
}

#[test]
fn pages_that_hold_little_of_what_is_wanted_are_not_read() {
    require_pages!();
    let columns: Vec<String> = (0..121).map(|index| format!("g + {index} AS c{index}")).collect();
    let database = inspected(
        "worth",
        &format!(
            "CREATE TABLE wide AS SELECT {} FROM generate_series(1, 4000) AS g; \
             CREATE TABLE bloated AS SELECT g AS id, repeat('x', 100) AS t FROM generate_series(1, 20000) AS g; \
             CREATE TABLE counted AS SELECT * FROM bloated; CREATE TABLE uncounted WITH (autovacuum_enabled = false) AS SELECT * FROM wide; \
             DELETE FROM bloated WHERE id % 60 <> 0; {FUNCTION}",
            columns.join(", ")
        ),
    );
    vacuum(&database, "wide, bloated, counted");
    let source = superuser(&database);
    // One column of 121, a few of them, all.
    let (is_by_pages, why_not) = auto(&source, "wide", &["c7"]);
    assert!(!is_by_pages && why_not.starts_with(&format!("public.wide: {NOT_WORTH_IT}")), "{why_not}");
    assert_eq!(auto(&source, "wide", &[]), (true, String::new()));
    // After a DELETE, there are few rows.
    let (is_by_pages, why_not) = auto(&source, "bloated", &[]);
    assert!(!is_by_pages && why_not.contains(NOT_WORTH_IT), "{why_not}");
    assert_eq!(auto(&source, "counted", &[]), (true, String::new()));
    // If the user asks for pages, they are read.
    let (rows, report) = read(source.table("wide").columns(["c7"]).options(by(ReadMode::Pages))).unwrap();
    assert!(rows.len() == 4000 && all_pages(&report) > 128);
    // Without statistics, pages are asked for, even if they turn out not to be all-visible.
    let run = source.table("uncounted").columns(["c7"]).options(by(ReadMode::Auto)).open().unwrap();
    assert_eq!(run.plan().report(None).pages, ["public.uncounted"]);
    // The function costs more.
    let role = Role::new(&database);
    database.execute(&format!("GRANT SELECT ON counted, wide TO \"{}\"", role.name));
    grant(&database, &role);
    let source = source_as(&database, &role.name);
    let (is_by_pages, why_not) = auto(&source, "counted", &[]);
    assert!(!is_by_pages && why_not.contains(NOT_WORTH_IT), "{why_not}");
    assert_eq!(auto(&source, "wide", &[]), (true, String::new()));
}

/// The queries about pages run once, not for each table, and not where they do not matter.
#[test]
fn many_tables_are_asked_about_together() {
    require_pages!();
    require!(Capability::PrivateServer);
    let tables: Vec<String> = (0..20).map(|index| format!("t{index}")).collect();
    let create = tables.iter().map(|table| format!("CREATE TABLE {table} AS SELECT 1 AS id, 'x' AS t"));
    let database = inspected("many", &create.collect::<Vec<_>>().join("; "));
    let server = ([127, 0, 0, 1], TestServer::shared().private().unwrap().port()).into();
    let proxy = Proxy::start_with(server, |_| Fault::None);
    let source = Source::connect_blocking(&proxy.url_of(&url(&database))).unwrap();
    // The bytes sent to plan an export of `n_tables` tables, with the end of its sessions. Before, the bytes
    // that were on their way at the end counted for the next planning, or for none, and the differences
    // below were less than 0 on a busy machine.
    let planning_once = |n_tables: usize, read_mode| {
        let before = proxy.from_client_bytes();
        let run = source.tables(&tables[..n_tables]).options(by(read_mode)).open().unwrap();
        assert_eq!(run.plans().len(), n_tables);
        drop(run);
        eventually("the sessions have ended", || proxy.n_open() == 0);
        proxy.from_client_bytes() - before
    };
    // A planning may have to begin again, or to ask who has a lock, which tests beside this one bring about.
    let planning = |n_tables, read_mode| (0..3).map(|_| planning_once(n_tables, read_mode)).min().unwrap();
    // The bytes that pages add.
    let of_pages = |n_tables, read_mode| {
        planning(n_tables, read_mode).saturating_sub(planning(n_tables, ReadMode::Copy))
    };
    let (of_one, of_many) = (of_pages(1, ReadMode::Pages), of_pages(20, ReadMode::Pages));
    assert!(of_one > 3000, "{of_one}");
    // Some numbers for each table, but no additional statements.
    assert!(of_many < of_one + 20 * 100, "{of_one} bytes for one, {of_many} for many");
    // The tables are small, so the server is not queried.
    let of_small = of_pages(20, ReadMode::Auto);
    assert!(of_small < 200, "{of_small}");
}

/// Before, a table of some megabytes took longer by pages over such a line, for their round trips.
#[test]
fn over_a_long_line_a_small_table_is_read_by_copy() {
    require_pages!();
    require!(Capability::PrivateServer);
    let sql = "CREATE TABLE few AS SELECT g AS id, repeat('x', 100) AS t FROM generate_series(1, 20000) AS g";
    let database = inspected("long line", sql);
    vacuum(&database, "few");
    let port = TestServer::shared().private().unwrap().port();
    // An address of the loopback that counts as a network, and one that does not.
    let (remote, local) = ("[::ffff:127.0.0.1]", "127.0.0.1");
    let planned = |host: &str, fault, read_mode| {
        let proxy = Proxy::start(port, fault);
        let url = proxy.url_of(&url(&database)).replace("@127.0.0.1:", &format!("@{host}:"));
        assert!(url.contains(host), "{url}");
        let source = Source::connect_blocking(&url).unwrap();
        let run = source.table("few").options(by(read_mode)).open().unwrap();
        let report = run.plan().report(None);
        (report.pages.len(), lines(&report.page_notes))
    };
    let far = Fault::Delay(Duration::from_millis(10));
    // However busy the machine is.
    assert_eq!(planned(local, far, ReadMode::Auto), (1, String::new()));
    let (n_by_pages, why_not) = planned(remote, far, ReadMode::Auto);
    assert!(n_by_pages == 0 && why_not.contains("further round trips of this line"), "{why_not}");
    // If the user asks for pages, they are read.
    assert_eq!(planned(remote, far, ReadMode::Pages), (1, String::new()));
}
