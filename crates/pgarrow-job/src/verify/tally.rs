//! What the rows of a table come to: counts, and sums of hashes, which no order of rows changes.
//!
//! ```text
//!  value ─▶ hash ─▶ its first 60 bits, summed for each column
//!     └─▶ text of the row: 32 digits of each hash, - for NULL, joined ─▶ hash ─▶ summed for the table
//! ```
//!
//! A sum finds rows that are there twice. The hashes of rows find values that changed places between rows.

use arrow_array::{Array, RecordBatch};
use pgarrow_export::{Error, ErrorKind, Result};

use super::digest::{Digest, Hash, summand};
use super::form::{ComparedColumn, Values};
use super::numbers::{NumberForm, NumberTexts, Numbers};

/// What the rows of a table come to, in its files.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) rows: u64,
    row_sum: u128,
    columns: Vec<ColumnTally>,
}

#[derive(Debug)]
struct ColumnTally {
    /// Values that are not NULL.
    n_values: u64,
    sum: u128,
    numbers: Numbers,
}

/// The same as texts, from either side.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Sums {
    pub(super) rows: String,
    pub(super) row_sum: String,
    pub(super) columns: Vec<ColumnSums>,
}

/// What a column comes to. What is not compared is empty.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct ColumnSums {
    pub(super) n_values: String,
    pub(super) sum: String,
    pub(super) numbers: NumberTexts,
}

impl Tally {
    pub(super) fn new(columns: &[ComparedColumn]) -> Self {
        let column = |_: &ComparedColumn| ColumnTally { n_values: 0, sum: 0, numbers: Numbers::new() };
        Self { rows: 0, row_sum: 0, columns: columns.iter().map(column).collect() }
    }

    /// Adds the rows of a batch.
    ///
    /// # Errors
    ///
    /// As for [`hash_rows`].
    pub(super) fn add(
        &mut self,
        batch: &RecordBatch,
        columns: &[ComparedColumn],
        digest: Digest,
    ) -> Result<()> {
        for (tally, column) in self.columns.iter_mut().zip(columns) {
            let Some(array) = batch.columns().get(column.index) else { continue };
            // In dictionaries, also values that are NULL behind their key.
            let n_values = array.len().saturating_sub(array.logical_null_count());
            tally.n_values = tally.n_values.saturating_add(n_values as u64);
            if column.numbers.is_some() {
                tally.numbers.add(array);
            }
        }
        let (rows, row_sum, tallies) = (&mut self.rows, &mut self.row_sum, &mut self.columns);
        hash_rows(batch, columns, digest, |hashes, row| {
            *rows = rows.saturating_add(1);
            *row_sum = row_sum.wrapping_add(summand(&row).into());
            for (tally, hash) in tallies.iter_mut().zip(hashes) {
                tally.sum = tally.sum.wrapping_add(hash.as_ref().map_or(0, summand).into());
            }
        })
    }

    /// As texts, as the server has them.
    pub(super) fn sums(&self, columns: &[ComparedColumn]) -> Sums {
        let column = |(tally, column): (&ColumnTally, &ComparedColumn)| ColumnSums {
            n_values: tally.n_values.to_string(),
            sum: if column.form.is_ok() { tally.sum.to_string() } else { String::new() },
            numbers: column.numbers.map(|form| tally.numbers.texts(form)).unwrap_or_default(),
        };
        Sums {
            rows: self.rows.to_string(),
            row_sum: self.row_sum.to_string(),
            columns: self.columns.iter().zip(columns).map(column).collect(),
        }
    }
}

impl Sums {
    /// What the server answered to the statement of [`sums_sql`](super::sql::sums_sql).
    pub(super) fn of_answer(
        rows: Vec<Vec<Option<String>>>,
        columns: &[ComparedColumn],
        with_numbers: bool,
    ) -> Option<Self> {
        let mut items = rows.into_iter().map(|row| row.into_iter().next().flatten());
        // A sum of no rows is NULL.
        let mut sum = |is_there: bool| match is_there {
            true => items.next().map(|sum| sum.unwrap_or_else(|| "0".to_owned())),
            false => Some(String::new()),
        };
        let (rows, row_sum) = (sum(true)?, sum(true)?);
        let mut counts = Vec::with_capacity(columns.len());
        for column in columns {
            counts.push((sum(true)?, sum(column.form.is_ok())?));
        }
        let mut number = |form: Option<NumberForm>| match form {
            Some(form) => items.next().map(|number| number.map(|number| form.canonical(&number))),
            None => Some(None),
        };
        let mut found = Vec::with_capacity(columns.len());
        for (column, (n_values, sum)) in columns.iter().zip(counts) {
            let form = column.numbers.filter(|_| with_numbers);
            let numbers = NumberTexts { smallest: number(form)?, largest: number(form)?, sum: number(form)? };
            found.push(ColumnSums { n_values, sum, numbers });
        }
        items.next().is_none().then_some(Self { rows, row_sum, columns: found })
    }
}

/// Hands the hashes of each row's values, and of the row, to `each`. A value that is not compared is like
/// NULL.
///
/// # Errors
///
/// [`ErrorKind::Input`] for values that their type does not have, with the column.
pub(super) fn hash_rows(
    batch: &RecordBatch,
    columns: &[ComparedColumn],
    digest: Digest,
    mut each: impl FnMut(&[Option<Hash>], Hash),
) -> Result<()> {
    let unreadable = |column: &ComparedColumn, why: String| {
        Error::new(ErrorKind::Input, format!("column {:?}: {why}", column.name))
    };
    let mut bound: Vec<Option<Values<'_>>> = Vec::with_capacity(columns.len());
    for column in columns {
        let array = batch.columns().get(column.index);
        bound.push(match (&column.form, array) {
            (Ok(form), Some(array)) => {
                Some(form.bind(array.as_ref()).map_err(|why| unreadable(column, why))?)
            }
            _ => None,
        });
    }
    let (mut hashes, mut scratch, mut text) = (vec![None; columns.len()], Vec::new(), Vec::new());
    for row in 0..batch.num_rows() {
        text.clear();
        for ((values, hash), column) in bound.iter().zip(&mut hashes).zip(columns) {
            let Some(values) = values else { continue };
            *hash = values.hash(row, digest, &mut scratch).map_err(|why| unreadable(column, why))?;
            match hash {
                Some(hash) => append_hexadecimal(hash, &mut text),
                None => text.push(b'-'),
            }
        }
        each(&hashes, digest.of(&text));
    }
    Ok(())
}

fn append_hexadecimal(hash: &Hash, text: &mut Vec<u8>) {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    for byte in hash {
        for half in [byte >> 4, byte & 15] {
            text.push(DIGITS.get(usize::from(half)).copied().unwrap_or_default());
        }
    }
}
