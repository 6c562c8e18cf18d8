//! Tables with random histories: heap pages against COPY at random moments.
//!
//! A number determines a history. Every failure names it, with all SQL so far:
//!
//! ```text
//! PGARROW_TEST_SEED       the number of the first history; default 1
//! PGARROW_TEST_HISTORIES  how many; default 24
//! ```

mod history;
mod table;

use std::env;

use pgarrow_testkit::{Capability, TestServer, require};

use crate::differential::generators::TYPES;
use history::History;

/// The number of histories without `PGARROW_TEST_HISTORIES`.
const HISTORIES: u64 = 24;

pub(crate) fn number(name: &str, default: u64) -> u64 {
    match env::var(name) {
        // The seed of other tests is any text.
        Ok(text) => text.parse().unwrap_or_else(|_| text.bytes().map(u64::from).sum()),
        Err(_) => default,
    }
}

#[test]
fn pages_and_copy_agree_at_any_moment_of_any_history() {
    require!(Capability::Superuser, Capability::Extension("pageinspect"));
    let database = TestServer::shared().fresh_database("histories");
    database.execute(TYPES);
    let has_lz4 = Capability::LzCompression.probe().is_ok();
    let (first, n_histories) = (number("PGARROW_TEST_SEED", 1), number("PGARROW_TEST_HISTORIES", HISTORIES));
    let mut sum = history::Sum::default();
    for seed in first..first + n_histories {
        let mut history = History::new(&database, seed, has_lz4);
        history.run();
        sum.add(history.sum());
        drop(history);
        database.execute(&format!("DROP TABLE IF EXISTS h{seed} CASCADE"));
        if (seed + 1 - first) % 100 == 0 {
            eprintln!("{} histories: {sum:?}", seed + 1 - first);
        }
    }
    eprintln!("{n_histories} histories from {first}: {sum:?}");
    // The test is meaningful only if enough was done and read as pages.
    assert!(sum.comparisons >= 2 * n_histories, "{sum:?}");
    assert!(sum.failed_statements * 4 < sum.statements, "{sum:?}");
    assert!(n_histories < 10 || 4 * sum.comparisons_with_pages > sum.comparisons, "{sum:?}");
    assert!(n_histories < 10 || (sum.pages > 0 && sum.copied > 0 && sum.complete > 0), "{sum:?}");
}
