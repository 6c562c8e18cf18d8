//! Live statistics: what is there while a run reads, and that they end as its report says.

use std::sync::Arc;

use pgarrow::{ExportOptions, Memory, Progress, Report};
use pgarrow_testkit::{Capability, require};

use crate::support::{database, source};

const TABLES: &str = "CREATE TABLE a AS SELECT g AS id, repeat(md5(g::text), 8) AS t FROM generate_series(1, 20000) AS g; \
     CREATE TABLE b AS SELECT g AS id, g::text AS t FROM generate_series(1, 3000) AS g; \
     CREATE TABLE none (a int); ANALYZE";

#[track_caller]
fn assert_ends_as(progress: &Progress, report: &Report) {
    assert_eq!((progress.rows(), progress.wire_bytes()), (report.rows, report.wire_bytes));
    assert_eq!((progress.batches(), progress.slices()), (report.batches, report.slices));
    assert_eq!(progress.slices(), progress.slices_total());
    let memory = &report.memory;
    assert_eq!(progress.memory_bytes(), 0, "all of it was given back");
    assert_eq!(
        (
            progress.memory_peak_bytes(),
            progress.memory_waits(),
            progress.buffers_allocated(),
            progress.buffers_reused()
        ),
        (memory.peak_bytes, memory.waits, memory.buffers_allocated, memory.buffers_reused)
    );
    let (waits, phases) = (progress.waits(), &report.phases);
    for (live, reported) in [
        (waits.server, phases.wait_for_server),
        (waits.sink, phases.wait_for_sink),
        (waits.memory, phases.wait_for_memory),
    ] {
        // Nanoseconds are cut off, of each reader.
        assert!((live - reported).abs() < 1e-6, "{waits:?} and {phases:?}");
    }
}

#[test]
fn every_table_has_its_own_and_the_end_is_what_the_report_says() {
    require!(Capability::Server);
    let database = database("live", TABLES);
    for readers in [1, 2] {
        let options =
            ExportOptions::default().with_readers(readers).with_batch_rows(500).with_slice_bytes(1 << 20);
        let run = source(&database).tables(["a", "b", "none"]).options(options).open().unwrap();
        let progress = Arc::clone(run.progress());
        let subjects: Vec<_> = progress.tables().iter().map(|table| table.subject()).collect();
        assert_eq!(subjects, ["public.a", "public.b", "public.none"]);
        assert_eq!((progress.rows(), progress.seconds(), progress.memory_bytes()), (0, 0.0, 0));
        assert_eq!(progress.tables()[0].estimated_rows(), Some(20_000));
        assert!(progress.tables().iter().all(|table| !table.is_being_read() && table.seconds() == 0.0));
        let report = run
            .for_each_with_plan(|plan_index, batch| {
                let table = &progress.tables()[plan_index];
                assert!(table.is_being_read() && !table.is_complete() && table.seconds() > 0.0);
                assert!(table.rows() >= batch.num_rows() as u64 && table.rows() <= progress.rows());
                assert!(table.wire_bytes() > 0 && table.slices() < table.slices_total());
                assert!(progress.memory_bytes() > 0 && progress.seconds() > 0.0);
                Ok(())
            })
            .unwrap();
        assert_ends_as(&progress, &report);
        assert_eq!(report.tables.len(), 3);
        for (table, live) in report.tables.iter().zip(progress.tables()) {
            assert_eq!(
                (table.rows, table.wire_bytes, table.slices as u64, table.seconds),
                (live.rows(), live.wire_bytes(), live.slices_total(), live.seconds())
            );
            assert!(live.is_complete() && !live.is_being_read() && table.seconds <= report.seconds);
            assert!(!table.columns.is_empty() && table.files == 0 && table.file_bytes == 0);
        }
        assert_eq!([report.tables[0].rows, report.tables[1].rows, report.tables[2].rows], [20_000, 3_000, 0]);
        // Before, a reader's count began anew with each table.
        assert!(report.memory.buffers_allocated >= 4, "{:?}", report.memory);
    }
}

#[test]
fn a_report_has_samples_up_to_its_end() {
    require!(Capability::Server);
    let database = database("samples", TABLES);
    let report = source(&database).table("a").open().unwrap().for_each(|_| Ok(())).unwrap();
    let last = report.samples.last().unwrap();
    assert_eq!((last.rows, last.wire_bytes, last.memory_bytes), (report.rows, report.wire_bytes, 0));
    assert!(report.samples.len() > 1 && last.seconds == report.seconds, "{:?}", report.samples);
    for pair in report.samples.windows(2) {
        assert!(pair[0].seconds < pair[1].seconds && pair[0].rows <= pair[1].rows, "{pair:?}");
    }
}

/// Runs share a memory: who keeps the progress of one that has ended keeps none of it.
#[test]
fn a_progress_that_is_kept_holds_no_memory() {
    require!(Capability::Server);
    let database = database("kept", TABLES);
    let memory = Memory::new(64 << 20);
    let run = source(&database).with_memory(&memory).table("a").open().unwrap();
    let progress = Arc::clone(run.progress());
    run.for_each(|_| Ok(())).unwrap();
    assert!(progress.memory_peak_bytes() > 0);
    assert_eq!((memory.free(), memory.used()), (64 << 20, 0));
}
