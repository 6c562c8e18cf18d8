//! Checks the table of what can go wrong against the tests that show it: each row names tests that exist, or
//! says why there is none.

use std::collections::BTreeMap;

use crate::project::{named_tests, read};

/// Attacks, cases of the wire, faults, and what holds after each: first and last of every run of numbers.
const ROWS: [(&str, u32, u32); 11] = [
    ("A", 1, 13),
    ("A", 20, 35),
    ("A", 40, 52),
    ("A", 60, 69),
    ("W", 1, 22),
    ("F", 1, 12),
    ("F", 20, 36),
    ("F", 40, 52),
    ("F", 60, 70),
    ("F", 80, 86),
    ("G", 1, 10),
];

#[test]
fn every_row_has_its_tests_or_a_reason() {
    let table = read("testdata/reliability.tsv");
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("row\ttests\tremark"), "the columns");
    let mut rows = BTreeMap::new();
    let mut wrong = Vec::new();
    for line in lines {
        let [row, tests, remark] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("not three columns: {line}");
        };
        if rows.insert(row, ()).is_some() {
            wrong.push(format!("{row} stands there twice"));
        }
        if tests.is_empty() && remark.is_empty() {
            wrong.push(format!("{row} has neither a test nor a reason"));
        }
        let (n_tests, missing) = named_tests(tests);
        wrong.extend(missing.into_iter().map(|test| format!("{row}: {test} is no test")));
        if n_tests != tests.split_whitespace().count() {
            wrong.push(format!("{row} names something else than tests"));
        }
    }
    for (letter, first, last) in ROWS {
        for number in first..=last {
            if rows.remove(format!("{letter}-{number}").as_str()).is_none() {
                wrong.push(format!("{letter}-{number} is missing"));
            }
        }
    }
    wrong.extend(rows.into_keys().map(|row| format!("{row} is no row that is known")));
    assert!(wrong.is_empty(), "testdata/reliability.tsv:\n{}", wrong.join("\n"));
}
