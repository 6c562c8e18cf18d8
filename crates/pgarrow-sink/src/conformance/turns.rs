//! Parts that wait for their turn, and the numbers that they report.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{Make, Read, batch, check_written, expected, make_file, names, rows_in_order};
use crate::error::SinkErrorKind;

const PARTS: usize = 4;
const PART_ROWS: i64 = 3000;

pub(super) fn check(make: Make<'_>, read: Read<'_>) {
    parts_land_in_the_order_of_their_turns(make, read);
    a_part_may_lose_its_turn_again(make, read);
    finishing_before_the_turn_is_an_error(make);
    dropped_while_held_leaves_nothing(make);
    a_part_accounts_for_itself(make);
}

/// The file is the same to the byte, whichever part is encoded first.
fn parts_land_in_the_order_of_their_turns(make: Make<'_>, read: Read<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let orders: [[usize; PARTS]; 3] = [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]];
    let paths = orders.map(|order| {
        let path = folder.path().join(format!("{order:?}"));
        write_in_order(make, &path, order);
        path
    });
    assert_eq!(rows_in_order(read, &paths[0]), expected(0..PARTS as i64 * PART_ROWS));
    let first = fs::read(&paths[0]).unwrap();
    assert!(paths.iter().all(|path| fs::read(path).unwrap() == first), "the order of encoding shows");
}

/// All parts encode in `order` while none has its turn; then they get it one after another.
fn write_in_order(make: Make<'_>, path: &Path, order: [usize; PARTS]) {
    let sink = make_file(make, path);
    let mut parts: Vec<_> = (0..PARTS)
        .map(|index| {
            let mut part = sink.open_part(index).unwrap();
            part.set_turn(false).unwrap();
            part
        })
        .collect();
    for index in order {
        let start = index as i64 * PART_ROWS;
        for step in 0..3 {
            parts[index].write(&batch(start + step * PART_ROWS / 3, PART_ROWS / 3)).unwrap();
        }
        parts[index].flush().unwrap();
        assert!(parts[index].held_bytes() > 0, "what is not appended is held");
    }
    for mut part in parts {
        part.set_turn(true).unwrap();
        assert_eq!(part.held_bytes(), 0, "its turn has come");
        assert_eq!(part.finish().unwrap().rows, PART_ROWS as u64);
    }
    check_written(&sink.commit().unwrap(), path, PARTS as u64 * PART_ROWS as u64);
}

fn a_part_may_lose_its_turn_again(make: Make<'_>, read: Read<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let sink = make_file(make, &path);
    let mut one = sink.open_part(0).unwrap();
    let mut two = sink.open_part(1).unwrap();
    two.set_turn(false).unwrap();
    one.write(&batch(0, 100)).unwrap();
    two.write(&batch(200, 100)).unwrap();
    one.flush().unwrap();
    one.set_turn(false).unwrap();
    two.set_turn(true).unwrap();
    two.flush().unwrap();
    one.write(&batch(300, 100)).unwrap();
    one.set_turn(true).unwrap();
    assert_eq!((one.finish().unwrap().rows, two.finish().unwrap().rows), (200, 100));
    sink.commit().unwrap();
    let ids: Vec<_> = rows_in_order(read, &path).into_iter().map(|(id, _)| id).collect();
    assert!(ids.into_iter().eq((0..100).chain(200..300).chain(300..400)));
}

fn finishing_before_the_turn_is_an_error(make: Make<'_>) {
    for rows in [0, 100] {
        let folder = tempfile::tempdir().unwrap();
        let sink = make_file(make, &folder.path().join("out"));
        let mut part = sink.open_part(0).unwrap();
        part.set_turn(false).unwrap();
        part.write(&batch(0, rows)).unwrap();
        assert_eq!(part.finish().unwrap_err().kind(), SinkErrorKind::Incomplete);
        assert_eq!(sink.commit().unwrap_err().kind(), SinkErrorKind::Incomplete);
        assert!(names(folder.path()).is_empty());
    }
}

fn dropped_while_held_leaves_nothing(make: Make<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let sink = make_file(make, &folder.path().join("out"));
    let mut part = sink.open_part(0).unwrap();
    part.set_turn(false).unwrap();
    part.write(&batch(0, 100)).unwrap();
    part.flush().unwrap();
    drop(part);
    assert_eq!(sink.commit().unwrap_err().kind(), SinkErrorKind::Incomplete);
    assert!(names(folder.path()).is_empty());
}

fn a_part_accounts_for_itself(make: Make<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let sink = make_file(make, &folder.path().join("out"));
    let mut part = sink.open_part(0).unwrap();
    assert_eq!(part.held_bytes(), 0);
    assert!(part.working_bytes(2 << 20) >= part.working_bytes(1 << 20) && part.working_bytes(1 << 20) > 0);
    part.write(&batch(0, 1000)).unwrap();
    part.flush().unwrap();
    assert_eq!(part.held_bytes(), 0, "flushed and appended");
    let times = part.times();
    assert!(times.encode > Duration::ZERO && times.write > Duration::ZERO, "{times:?}");
    // Nothing is there to flush.
    part.flush().unwrap();
    part.finish().unwrap();
    sink.commit().unwrap();
}
