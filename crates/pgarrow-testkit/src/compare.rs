//! Compares batches as sequences of rows: the borders of batches do not matter.

use std::fmt::Write;

use arrow_array::{Array, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::Schema;

/// Panics, with the first difference, unless both hold the same rows under the same schema.
///
/// Floats are compared by their bits: a NaN equals itself, and -0.0 is not 0.0. Without any batch there is no
/// schema to compare.
///
/// # Panics
///
/// When they differ.
#[track_caller]
pub fn assert_batches_equal(expected: &[RecordBatch], found: &[RecordBatch]) {
    if let Some(difference) = first_difference(expected, found) {
        panic!("batches differ: {difference}");
    }
}

/// The first difference, in words. `None` if there is none.
pub fn first_difference(expected: &[RecordBatch], found: &[RecordBatch]) -> Option<String> {
    let schemas = |batches: &[RecordBatch]| batches.iter().map(RecordBatch::schema).collect::<Vec<_>>();
    if let Some(wanted) = expected.first().map(RecordBatch::schema) {
        for schema in schemas(expected).iter().chain(&schemas(found)) {
            if let Some(difference) = schema_difference(&wanted, schema) {
                return Some(difference);
            }
        }
    }
    let mut row = 0;
    let (mut expected_cut, mut found_cut) = (Cut::new(expected), Cut::new(found));
    loop {
        match (expected_cut.n_left(), found_cut.n_left()) {
            (0, 0) => return None,
            (0, _) | (_, 0) => {
                let count =
                    |batches: &[RecordBatch]| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
                return Some(format!("{} rows expected, {} found", count(expected), count(found)));
            }
            (one, other) => {
                // The longest stretch of rows that lies in one batch on both sides.
                let n_rows = one.min(other);
                let (wanted, got) = (expected_cut.take(n_rows), found_cut.take(n_rows));
                if let Some(difference) = stretch_difference(row, &wanted, &got) {
                    return Some(difference);
                }
                row += n_rows;
            }
        }
    }
}

/// The first difference, in words, in any order of rows. `None` if there is none.
///
/// Rows are compared as text, which does not tell one NaN from another.
pub fn first_difference_in_any_order(expected: &[RecordBatch], found: &[RecordBatch]) -> Option<String> {
    let lines = |batches: &[RecordBatch]| {
        let mut lines: Vec<String> = batches.iter().flat_map(lines).collect();
        lines.sort_unstable();
        lines
    };
    if let (Some(expected), Some(found)) = (expected.first(), found.first())
        && let Some(difference) = schema_difference(&expected.schema(), &found.schema())
    {
        return Some(difference);
    }
    let (expected, found) = (lines(expected), lines(found));
    if expected.len() != found.len() {
        return Some(format!("{} rows expected, {} found", expected.len(), found.len()));
    }
    let differ = expected.iter().zip(&found).find(|(expected, found)| expected != found);
    differ.map(|(expected, found)| format!("rows in order: expected {expected:.500}, found {found:.500}"))
}

/// Every row as text, with its values separated.
fn lines(batch: &RecordBatch) -> Vec<String> {
    let value = |column: usize, row: usize| text(batch.column(column).as_ref(), row);
    let line = |row| {
        let values = (0..batch.num_columns()).map(|column| format!("{:?}", value(column, row)));
        values.collect::<Vec<_>>().join(" | ")
    };
    (0..batch.num_rows()).map(line).collect()
}

/// A place in a sequence of batches.
struct Cut<'a> {
    batches: &'a [RecordBatch],
    /// Rows of the first batch that were taken.
    n_taken: usize,
}

impl<'a> Cut<'a> {
    fn new(batches: &'a [RecordBatch]) -> Self {
        Self { batches, n_taken: 0 }
    }

    /// Rows left in the current batch; 0 only at the end of all of them.
    fn n_left(&mut self) -> usize {
        while let Some((first, rest)) = self.batches.split_first() {
            if self.n_taken < first.num_rows() {
                return first.num_rows() - self.n_taken;
            }
            (self.batches, self.n_taken) = (rest, 0);
        }
        0
    }

    fn take(&mut self, n_rows: usize) -> RecordBatch {
        let stretch = self.batches[0].slice(self.n_taken, n_rows);
        self.n_taken += n_rows;
        stretch
    }
}

fn stretch_difference(first_row: usize, expected: &RecordBatch, found: &RecordBatch) -> Option<String> {
    if expected == found {
        return None;
    }
    for row in 0..expected.num_rows() {
        for (column, field) in expected.schema().fields().iter().enumerate() {
            let (wanted, got) = (expected.column(column), found.column(column));
            if wanted.slice(row, 1).as_ref() != got.slice(row, 1).as_ref() {
                return Some(format!(
                    "row {}, column {column} ({:?}): expected {}, found {}",
                    first_row + row,
                    field.name(),
                    text(wanted.as_ref(), row),
                    text(got.as_ref(), row),
                ));
            }
        }
    }
    Some(format!("somewhere in the {} rows from row {first_row}", expected.num_rows()))
}

fn text(array: &dyn Array, row: usize) -> String {
    let options = FormatOptions::default().with_null("null");
    match ArrayFormatter::try_new(array, &options) {
        Ok(formatter) => formatter.value(row).try_to_string().unwrap_or_else(|cause| cause.to_string()),
        Err(_) => format!("{:?}", array.slice(row, 1)),
    }
}

fn schema_difference(expected: &Schema, found: &Schema) -> Option<String> {
    if expected == found {
        return None;
    }
    if expected.fields().len() != found.fields().len() {
        let names =
            |schema: &Schema| schema.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>().join(", ");
        return Some(format!("columns expected: {}; found: {}", names(expected), names(found)));
    }
    for (column, (wanted, got)) in expected.fields().iter().zip(found.fields()).enumerate() {
        if wanted != got {
            let mut difference = format!("field {column}: ");
            let _ = write!(
                difference,
                "expected {wanted} {:?}, found {got} {:?}",
                wanted.metadata(),
                got.metadata()
            );
            return Some(difference);
        }
    }
    Some(format!("schema metadata: expected {:?}, found {:?}", expected.metadata(), found.metadata()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Float64Array, Int32Array, ListArray, StringArray, types::Int32Type};

    use super::*;

    fn batch(numbers: Vec<Option<i32>>) -> RecordBatch {
        let words: StringArray =
            numbers.iter().map(|number| number.map(|number| format!("w{number}"))).collect();
        let numbers: ArrayRef = Arc::new(Int32Array::from(numbers));
        RecordBatch::try_from_iter_with_nullable([("n", numbers, true), ("w", Arc::new(words), true)])
            .unwrap()
    }

    #[test]
    fn boundaries_mean_nothing() {
        let whole = [batch(vec![Some(1), None, Some(3), Some(4)])];
        let cut = [batch(vec![Some(1)]), batch(vec![]), batch(vec![None, Some(3)]), batch(vec![Some(4)])];
        assert_batches_equal(&whole, &cut);
        assert_batches_equal(&cut, &whole);
        assert_batches_equal(&[], &[batch(vec![])]);
    }

    #[test]
    fn in_any_order_every_row_counts_once() {
        let rows = [batch(vec![Some(1), None, Some(3), Some(3)])];
        let same = [batch(vec![Some(3), Some(1)]), batch(vec![Some(3), None])];
        assert_eq!(first_difference_in_any_order(&rows, &same), None);
        let other = [batch(vec![Some(3), Some(1)]), batch(vec![None, None])];
        let difference = first_difference_in_any_order(&rows, &other).unwrap();
        assert_eq!(difference, r#"rows in order: expected "3" | "w3", found "null" | "null""#);
        let fewer = first_difference_in_any_order(&rows, &same[..1]).unwrap();
        assert_eq!(fewer, "4 rows expected, 2 found");
    }

    #[test]
    fn the_first_difference_is_named() {
        let expected = [batch(vec![Some(1), None]), batch(vec![Some(3)])];
        let found = [batch(vec![Some(1), None, Some(5)])];
        assert_eq!(
            first_difference(&expected, &found).unwrap(),
            "row 2, column 0 (\"n\"): expected 3, found 5"
        );
        let found = [batch(vec![Some(1), Some(2), Some(3)])];
        assert_eq!(
            first_difference(&expected, &found).unwrap(),
            "row 1, column 0 (\"n\"): expected null, found 2"
        );
    }

    #[test]
    fn more_and_fewer_rows() {
        let expected = [batch(vec![Some(1), Some(2)])];
        assert_eq!(first_difference(&expected, &[batch(vec![Some(1)])]).unwrap(), "2 rows expected, 1 found");
        assert_eq!(first_difference(&[], &expected).unwrap(), "0 rows expected, 2 found");
    }

    #[test]
    fn schemas_count() {
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
        let other = RecordBatch::try_from_iter_with_nullable([("n", floats, true)]).unwrap();
        let difference = first_difference(&[batch(vec![Some(1)])], &[other]).unwrap();
        assert_eq!(difference, "columns expected: n, w; found: n");
    }

    #[test]
    fn floats_by_their_bits() {
        let of = |value: f64| {
            let array: ArrayRef = Arc::new(Float64Array::from(vec![value]));
            [RecordBatch::try_from_iter([("f", array)]).unwrap()]
        };
        assert_batches_equal(&of(f64::NAN), &of(f64::NAN));
        assert!(first_difference(&of(0.0), &of(-0.0)).is_some());
    }

    #[test]
    fn nested_values_are_shown() {
        let of = |list: Vec<Option<i32>>| {
            let array: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(list)]));
            [RecordBatch::try_from_iter_with_nullable([("l", array, true)]).unwrap()]
        };
        let difference = first_difference(&of(vec![Some(1), None]), &of(vec![Some(1), Some(2)])).unwrap();
        assert_eq!(difference, "row 0, column 0 (\"l\"): expected [1, null], found [1, 2]");
    }
}
