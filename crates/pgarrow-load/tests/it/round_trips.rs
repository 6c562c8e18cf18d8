//! How often a load waits for the server, after the login.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use pgarrow_load::{Load, LoadMode, LoadOptions};
use pgarrow_testkit::{Capability, Database, Fault, Proxy, TestServer, require};

use crate::support::{database, eventually, value};

fn batch() -> RecordBatch {
    let x = Int64Array::from_iter_values(0..1000);
    let y = StringArray::from_iter_values((0..1000).map(|x| format!("row {x}")));
    RecordBatch::try_from_iter([("x", Arc::new(x) as ArrayRef), ("y", Arc::new(y) as ArrayRef)]).unwrap()
}

/// The round trips of a connection that does nothing, and those of a load of 1,000 rows besides.
fn trips(database: &Database, table: &str, options: LoadOptions) -> u64 {
    trips_of(database, table, options, &batch())
}

/// A proxy before the database's server, the URL of the way through it, and the round trips of a connection
/// that does nothing.
pub(crate) fn counting(database: &Database) -> (Proxy, String, u64) {
    let proxy = Proxy::start(TestServer::shared().private().unwrap().port(), Fault::None);
    let url = proxy.url_of(database.url());
    let url = format!("{url}{}sslmode=disable", if url.contains('?') { '&' } else { '?' });
    drop(pgarrow_load::Connection::connect(&url).unwrap());
    all_closed(&proxy);
    let of_login = proxy.n_round_trips();
    (proxy, url, of_login)
}

/// Waits for the ends of all connections, which count as well.
pub(crate) fn all_closed(proxy: &Proxy) {
    eventually("the connection is closed", || proxy.n_open() == 0);
}

fn trips_of(database: &Database, table: &str, options: LoadOptions, batch: &RecordBatch) -> u64 {
    let (proxy, url, of_login) = counting(database);
    let load = Load::into(&url, table).unwrap().options(options.with_analyze(false));
    let mut loading = load.open(batch.schema()).unwrap();
    loading.write(batch).unwrap();
    assert_eq!(loading.finish().unwrap().rows, 1000);
    all_closed(&proxy);
    proxy.n_round_trips() - 2 * of_login
}

#[test]
fn a_load_of_a_table_that_is_there() {
    require!(Capability::PrivateServer);
    let database = database("trips", "CREATE TABLE t (x int8, y text)");
    for mode in [LoadMode::Append, LoadMode::Truncate] {
        // What opening asks; the COPY; its end, and that names still mean the same; COMMIT.
        assert_eq!(trips(&database, "t", LoadOptions::default().with_mode(mode)), 4, "{mode:?}");
    }
    assert_eq!(value(&database, "SELECT count(*)::text FROM t"), "1000");
}

/// Before, each column took three to look up its type: 153 for these.
#[test]
fn what_types_the_metadata_means_is_asked_once() {
    require!(Capability::PrivateServer);
    let database = database("trips of types", "");
    let wide = |n: usize| {
        let columns = (0..n).map(|index| {
            let metadata = HashMap::from([("pg.type".to_owned(), "bigint".to_owned())]);
            let field = Field::new(format!("c{index}"), DataType::Int64, true).with_metadata(metadata);
            (field, Arc::new(Int64Array::from_iter_values(0..1000)) as ArrayRef)
        });
        let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.unzip();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
    };
    let options = |mode| LoadOptions::default().with_mode(mode);
    let [create, replace] = [LoadMode::Create, LoadMode::Replace].map(|mode| {
        let table = |n: usize| format!("{mode:?}_{n}").to_lowercase();
        let of = |n: usize| trips_of(&database, &table(n), options(mode), &wide(n));
        let (few, many) = (of(2), of(51));
        assert_eq!(few, many, "{mode:?}");
        many
    });
    assert!(create <= 17 && replace <= 23, "{create}, {replace}");
}

#[test]
fn a_load_of_a_table_with_partitions_asks_about_them_later() {
    require!(Capability::PrivateServer);
    let database = database(
        "trips of parts",
        "CREATE TABLE t (x int8, y text) PARTITION BY RANGE (x);
         CREATE TABLE p PARTITION OF t FOR VALUES FROM (0) TO (1000)",
    );
    // What the columns of partitions are, and what triggers they have, beyond the four of a table alone.
    assert_eq!(trips(&database, "t", LoadOptions::default()), 6);
    assert_eq!(value(&database, "SELECT count(*)::text FROM t"), "1000");
}
