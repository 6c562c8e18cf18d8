//! The counts of values that policies changed equal the server's counts.

use pgarrow::{ErrorKind, ExportOptions, InfinityPolicy, Source, TypeOptions};
use pgarrow_testkit::{Capability, Fault, Proxy, TestServer, require};

use crate::choices::{options, report};
use crate::support::{assert_error, database, server_text, source, url, with_parameter};

#[test]
fn what_policies_did_is_counted_as_the_server_counts_it() {
    require!(Capability::Server);
    let database = database(
        "counted",
        "CREATE TABLE e AS SELECT g AS id, \
           CASE g % 7 WHEN 0 THEN 'infinity'::date WHEN 1 THEN '-infinity' WHEN 2 THEN NULL ELSE 'today' END AS d, \
           ARRAY['infinity'::timestamp, now()::timestamp] AS ts, \
           CASE WHEN g % 5 = 0 THEN 'NaN' ELSE '1.5' END::numeric(5,2) AS n, \
           CASE WHEN g % 3 = 0 THEN time '24:00' ELSE time '12:00' END AS t, \
           CASE WHEN g % 4 = 0 THEN '[0:1]={1,2}' ELSE '{1}' END::int4[] AS a \
         FROM generate_series(1, 3000) AS g; \
         CREATE TABLE f AS SELECT 'infinity'::date AS d; CREATE TABLE none AS SELECT 1 AS one",
    );
    let run = TypeOptions { infinity: InfinityPolicy::Null, ..TypeOptions::default() };
    let columns = [("n", "nan=null"), ("ts", "infinity=saturate")];
    let all = options(&columns).with_types(run);
    let expected = server_text(
        &mut database.client(),
        "SELECT count(*) FILTER (WHERE NOT isfinite(d)), count(*) FILTER (WHERE n = 'NaN'), \
           count(*) FILTER (WHERE t = '24:00'), count(*) FILTER (WHERE array_lower(a, 1) <> 1), count(*) FROM e",
    );
    let number = |index: usize| expected[0][index].clone().unwrap().parse::<u64>().unwrap();
    // With one reader, and with several, whose counts are added up.
    for options in [all.clone().with_readers(1), all.clone().with_readers(3).with_slice_bytes(16 << 10)] {
        let report = report(&source(&database), options);
        let effects = |name: &str| {
            let column = report.columns.iter().find(|column| column.name == name).unwrap();
            column.effects.iter().map(|(key, count)| (key.as_str(), *count)).collect::<Vec<_>>()
        };
        assert_eq!(effects("id"), []);
        assert_eq!(effects("d"), [("infinity_nulled", number(0))]);
        assert_eq!(effects("ts"), [("infinity_saturated", number(4))]);
        assert_eq!(effects("n"), [("nan_nulled", number(1))]);
        assert_eq!(effects("t"), [("end_of_day", number(2))]);
        assert_eq!(effects("a"), [("lower_bound_dropped", number(3))]);
        let text = report.effects_text();
        assert_eq!(text[0], format!("column \"d\": {} infinities became NULL", number(0)));
        assert_eq!(text.len(), 5, "{text:?}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["columns"][1]["effects"]["infinity_nulled"], number(0));
        assert!(json["columns"][0].get("effects").is_none());
        let nullable: Vec<bool> = report.columns.iter().map(|column| column.nullable).collect();
        assert_eq!(nullable, [true; 6]);
    }
    // With many tables, each has its columns.
    let options = ExportOptions::default().with_types(run);
    let source = source(&database);
    let report = source
        .tables(["f", "none"])
        .options(options)
        .open()
        .unwrap()
        .for_each_with_plan(|_, _| Ok(()))
        .unwrap();
    assert_eq!(report.effects_text(), ["public.f, column \"d\": 1 infinity became NULL"]);
    let of_tables = report.tables.iter().flat_map(|table| &table.columns);
    assert_eq!(of_tables.map(|column| column.effects.len()).collect::<Vec<_>>(), [1, 0]);
    // A choice for a column holds for every table that has it; no table has the column `x`.
    let of = |name: &str| {
        let options = ExportOptions::default().with_column(name, "infinity=null".parse().unwrap());
        source.tables(["f", "none"]).options(options).open().map(drop)
    };
    of("d").unwrap();
    assert_error(&of("x").unwrap_err(), ErrorKind::Options, None, &["column \"x\""]);
}

#[test]
fn a_slice_that_is_read_again_counts_once() {
    require!(Capability::PrivateServer);
    let database = database(
        "again",
        "CREATE TABLE e AS SELECT g AS id, 'infinity'::date AS d, repeat('x', 200) AS t \
         FROM generate_series(1, 20000) AS g",
    );
    let server = ([127, 0, 0, 1], TestServer::shared().private().unwrap().port()).into();
    // Both readers' connections fail: a reader that connects late may find nothing left to read.
    let proxy = Proxy::start_with(server, |connection| match connection {
        1 | 2 => Fault::ResetAfterServerBytes(800_000),
        _ => Fault::None,
    });
    let url = with_parameter(&proxy.url_of(&url(&database)), "sslmode=disable");
    // Few slices and small batches: some rows were handed out and counted before the fault.
    let options =
        options(&[("d", "infinity=null")]).with_readers(2).with_slice_bytes(3 << 20).with_batch_rows(500);
    let report = report(&Source::connect_blocking(&url).unwrap(), options);
    assert!(report.slices_redone > 0);
    assert_eq!((report.rows, report.columns[1].effects["infinity_nulled"]), (20_000, 20_000));
}
