//! Row groups whose batches share pages and dictionaries.

use arrow_array::{FixedSizeListArray, StringViewArray};

use super::*;

/// Regression: shared pages and dictionaries counted for each batch, although they do not shrink with its
/// rows. So a row group of 24 MB was read again and again with fewer rows, down to one row at a time.
#[test]
fn what_batches_share_does_not_make_them_small() {
    let folder = Folder::new();
    let texts = |n: i32, width: usize| (0..n).map(move |row| format!("{row:0width$}"));
    let dictionary = |n: i32, width, rows: i32| -> ArrayRef {
        let keys = Int32Array::from_iter_values((0..rows).map(|row| row % n));
        Arc::new(DictionaryArray::new(keys, Arc::new(StringArray::from_iter_values(texts(n, width)))))
    };
    let views: ArrayRef = Arc::new(StringViewArray::from_iter_values(texts(120_000, 200)));
    let element = Arc::new(Field::new("item", DataType::Utf8View, false));
    let lists = FixedSizeListArray::new(element, 1, Arc::clone(&views), None);
    for (name, column, has_dictionary) in [
        ("pages of views", Arc::clone(&views), false),
        ("a dictionary of views", views, true),
        ("views in lists", Arc::new(lists), false),
        ("a dictionary", dictionary(120_000, 200, 120_000), true),
        ("large values that come again", dictionary(2000, 10_000, 10_000), true),
    ] {
        let batch = RecordBatch::try_from_iter([("c", column)]).unwrap();
        let path = folder.write("shared.parquet", &one_page(&batch, has_dictionary));
        folder.write("unstated.parquet", &without_sizes(&path));
        // Batches of 8192 rows, or of 1024 if the file does not state sizes.
        for (file, most_batches) in [("shared.parquet", 30), ("unstated.parquet", 140)] {
            let (mut row, mut n_batches) = (0, 0);
            for read in Input::open(&[folder.0.path().join(file)], None).unwrap() {
                let read = read.unwrap();
                assert_eq!(read.column(0), &batch.column(0).slice(row, read.num_rows()), "{name}");
                (row, n_batches) = (row + read.num_rows(), n_batches + 1);
                assert!(n_batches <= most_batches, "{name}, {file}: {n_batches} batches of {row} rows");
            }
            assert_eq!(row, batch.num_rows(), "{name}");
        }
    }
}

/// A file with one row group of one page.
fn one_page(batch: &RecordBatch, has_dictionary: bool) -> Vec<u8> {
    let rows = batch.num_rows();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(rows))
        .set_dictionary_enabled(has_dictionary)
        .set_dictionary_page_size_limit(1 << 30)
        .set_data_page_size_limit(1 << 30)
        .set_data_page_row_count_limit(rows)
        .set_write_batch_size(rows)
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}
