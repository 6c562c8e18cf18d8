//! What a file's columns hold, from the statistics of its row groups: NULLs, smallest and largest values.

use std::cmp::Ordering;

use arrow_array::{Array, ArrayRef, BooleanArray, UInt64Array};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_ord::ord::make_comparator;
use arrow_schema::{Schema, SortOptions};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::file::metadata::RowGroupMetaData;
use parquet::schema::types::SchemaDescriptor;
use pgarrow_sink::ColumnRange;

/// The ranges of the columns that are not nested. What is not known, or was cut because it was long, is left
/// out.
pub(crate) fn ranges(
    schema: &Schema,
    parquet: &SchemaDescriptor,
    groups: &[RowGroupMetaData],
) -> Vec<ColumnRange> {
    let range = |name: &String| {
        let converter = StatisticsConverter::try_new(name, schema, parquet).ok()?;
        let converter = converter.with_missing_null_counts_as_zero(false);
        // Nested columns have statistics of their leaves only.
        converter.parquet_column_index()?;
        let nulls = converter.row_group_null_counts(groups).ok()?;
        let bound = |values: ArrayRef, is_exact: BooleanArray, wanted: Ordering| {
            extreme(&values, &is_exact, &nulls, groups, wanted)
        };
        let min = || {
            Some((
                converter.row_group_mins(groups).ok()?,
                converter.row_group_is_min_value_exact(groups).ok()?,
            ))
        };
        let max = || {
            Some((
                converter.row_group_maxes(groups).ok()?,
                converter.row_group_is_max_value_exact(groups).ok()?,
            ))
        };
        let known = nulls.null_count() == 0;
        Some(ColumnRange {
            name: name.clone(),
            nulls: known.then(|| nulls.values().iter().sum()),
            min: min().and_then(|(values, is_exact)| bound(values, is_exact, Ordering::Less)),
            max: max().and_then(|(values, is_exact)| bound(values, is_exact, Ordering::Greater)),
        })
    };
    schema.fields().iter().filter_map(|field| range(field.name())).collect()
}

/// The smallest or largest of the row groups' values, as text.
fn extreme(
    values: &ArrayRef,
    is_exact: &BooleanArray,
    nulls: &UInt64Array,
    groups: &[RowGroupMetaData],
    wanted: Ordering,
) -> Option<String> {
    let compare = make_comparator(values, values, SortOptions::default()).ok()?;
    let mut best: Option<usize> = None;
    for (index, group) in groups.iter().enumerate() {
        if values.is_null(index) {
            // A group of NULLs has no values; of any other, they are not known.
            if nulls.is_null(index) || nulls.value(index) != group.num_rows().unsigned_abs() {
                return None;
            }
            continue;
        }
        if is_exact.is_null(index) || !is_exact.value(index) {
            return None;
        }
        if best.is_none_or(|best| compare(index, best) == wanted) {
            best = Some(index);
        }
    }
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(values, &options).ok()?;
    formatter.value(best?).try_to_string().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::builder::{Int32Builder, ListBuilder};
    use arrow_array::types::Int8Type;
    use arrow_array::{
        Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int32Array, RecordBatch, StringArray,
    };
    use pgarrow_sink::{Output, SinkWriter, Stop};

    use super::*;
    use crate::{ParquetOptions, ParquetSink};

    /// A batch of three rows, which is a row group.
    fn batch(numbers: [Option<i32>; 3], floats: [f64; 3], texts: [&str; 3]) -> RecordBatch {
        let mut lists = ListBuilder::new(Int32Builder::new());
        numbers.iter().for_each(|number| lists.append_value([*number]));
        let decimals = numbers.map(|number| number.map(i128::from));
        let decimals = Decimal128Array::from(decimals.to_vec()).with_precision_and_scale(9, 2).unwrap();
        let labels: DictionaryArray<Int8Type> = texts.iter().map(|text| text.get(..1)).collect();
        let columns: [(&str, ArrayRef); 7] = [
            ("number", Arc::new(Int32Array::from(numbers.to_vec()))),
            ("date", Arc::new(Date32Array::from(numbers.to_vec()))),
            ("decimal", Arc::new(decimals)),
            ("float", Arc::new(Float64Array::from(floats.to_vec()))),
            ("text", Arc::new(StringArray::from(texts.to_vec()))),
            ("label", Arc::new(labels)),
            ("list", Arc::new(lists.finish())),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    fn ranges_of(batches: &[RecordBatch]) -> Vec<String> {
        let options = ParquetOptions::default().with_row_group_rows(3);
        let output = Output::writer(std::io::sink());
        let sink = ParquetSink::create(output, batches[0].schema(), options).unwrap();
        let writer = SinkWriter::new(Box::new(sink), Stop::default());
        let mut part = writer.open_part(0).unwrap();
        batches.iter().for_each(|batch| part.write(batch).unwrap());
        part.finish().unwrap();
        let written = writer.commit().unwrap();
        assert_eq!(written.files[0].row_groups, Some(batches.len()));
        let shown = |range: &ColumnRange| {
            let text = |bound: &Option<String>| bound.clone().unwrap_or_else(|| "?".to_owned());
            let nulls = range.nulls.map_or_else(|| "?".to_owned(), |nulls| nulls.to_string());
            format!("{} {nulls} {} {}", range.name, text(&range.min), text(&range.max))
        };
        written.files[0].ranges.iter().map(shown).collect()
    }

    #[test]
    fn ranges_are_those_of_all_row_groups() {
        let one = batch([Some(5), None, Some(-7)], [1.5, f64::NAN, -2.5], ["b", "c", "b"]);
        let two = batch([None; 3], [f64::NAN; 3], ["a", "b", "a"]);
        assert_eq!(
            ranges_of(std::slice::from_ref(&one)),
            [
                "number 1 -7 5",
                "date 1 1969-12-25 1970-01-06",
                "decimal 1 -0.07 0.05",
                "float 0 -2.5 1.5",
                "text 0 b c",
                "label 0 b c"
            ]
        );
        // A group of NULLs has no values; of one of NaN, nothing is known.
        assert_eq!(
            ranges_of(&[one.clone(), two]),
            [
                "number 4 -7 5",
                "date 4 1969-12-25 1970-01-06",
                "decimal 4 -0.07 0.05",
                "float 0 ? ?",
                "text 0 a c",
                "label 0 a c"
            ]
        );
        // Statistics are cut at 64 bytes.
        let long = "x".repeat(100);
        let cut = batch([Some(9), Some(10), Some(11)], [0.0; 3], ["a", &long, "b"]);
        let ranges = ranges_of(&[one, cut]);
        assert!(
            ranges.contains(&"text 0 a ?".to_owned()) && ranges.contains(&"number 1 -7 11".to_owned()),
            "{ranges:?}"
        );
    }
}
