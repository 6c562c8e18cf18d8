//! Loads through PgBouncer, which sees what stands behind the last row.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use pgarrow_load::{Load, LoadMode, LoadOptions};
use pgarrow_testkit::{Capability, PgBouncer, TestServer, require};

use crate::support::{database, value};

fn batch(numbers: std::ops::Range<i64>) -> RecordBatch {
    let column = Arc::new(Int64Array::from_iter_values(numbers)) as ArrayRef;
    RecordBatch::try_from_iter([("x", column)]).unwrap()
}

#[test]
fn loads_in_session_and_in_transaction_mode() {
    require!(Capability::PrivateServer, Capability::PgBouncer);
    let database = database("pooled load", "CREATE TABLE t (x int8 PRIMARY KEY CHECK (x < 5000))");
    for mode in ["session", "transaction"] {
        let settings = format!("pool_mode = {mode}\ndefault_pool_size = 2");
        let bouncer = PgBouncer::start(TestServer::shared().private().unwrap().port(), &settings);
        let load = |mode: LoadMode, numbers| {
            let batch = batch(numbers);
            let load = Load::into(&bouncer.url_of(database.url()), "t").unwrap();
            let mut loading = load.options(LoadOptions::default().with_mode(mode)).open(batch.schema())?;
            loading.write(&batch)?;
            loading.finish()
        };
        assert_eq!(load(LoadMode::Truncate, 0..1000).unwrap().rows, 1000, "{mode}");
        assert_eq!(load(LoadMode::Append, 1000..1500).unwrap().rows, 500, "{mode}");
        // The COPY fails, and so does the question behind it.
        for (numbers, code) in [(1499..1600, "23505"), (4900..5100, "23514")] {
            assert_eq!(load(LoadMode::Append, numbers).unwrap_err().sqlstate(), Some(code), "{mode}");
        }
        // Those that are there already have no other columns.
        assert_eq!(load(LoadMode::Upsert, 1400..1600).unwrap().rows, 100, "{mode}");
        assert_eq!(value(&database, "SELECT count(*)::text FROM t"), "1600", "{mode}");
    }
}
