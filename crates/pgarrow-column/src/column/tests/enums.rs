//! Enums of many labels. Some are found quickly and some are not.

use std::sync::Arc;

use super::*;

#[test]
fn labels_of_every_length_are_told_apart() {
    let labels: Vec<String> = (0..300_usize)
        .map(|i| format!("{}{}", i % 100, "x".repeat(i / 100 + i % 23)))
        .chain([String::new(), "ä".repeat(7), "ä".repeat(8), "x".repeat(15), "x".repeat(16)])
        .collect();
    let mut distinct: Vec<String> = Vec::new();
    for label in labels {
        if !distinct.contains(&label) {
            distinct.push(label);
        }
    }
    let pg_type = PgType::Enum(Arc::new(EnumType { labels: distinct.clone() }));
    // Each label occurs often, between labels with the same place.
    let values: Vec<Wire> = (0..3000)
        .map(|i| (i % 11 != 0).then(|| distinct[(i * i + i / 7) % distinct.len()].as_bytes().to_vec()))
        .collect();
    for chunk_rows in [CHUNK_ROWS, 1] {
        let array = decode_in_chunks(&pg_type, &TypeOptions::default(), &values, chunk_rows, 0).unwrap();
        let array = array.as_dictionary::<arrow_array::types::Int32Type>();
        let found: Vec<Option<&str>> =
            array.downcast_dict::<arrow_array::StringArray>().unwrap().into_iter().collect();
        for (found, value) in found.iter().zip(&values) {
            assert_eq!(found.map(str::as_bytes), value.as_deref());
        }
        assert_eq!(array.values().len(), distinct.len());
    }
}

#[test]
fn keys_come_back() {
    let pg_type = PgType::Enum(Arc::new(EnumType { labels: vec!["a".into(), "b".into()] }));
    let mut column = make_column(&pg_type, &TypeOptions::default(), 0);
    for _ in 0..3 {
        let bytes = [0, 0, 0, 1, b'b'].repeat(100);
        let mut cursors: Vec<u32> = (0..100).map(|row| row * 5).collect();
        column.decode(&mut Chunk::new(&bytes, &mut cursors)).unwrap();
        let array = column.finish().unwrap();
        assert!(array.as_dictionary::<Int32Type>().keys().values().iter().all(|key| *key == 1));
        column.recycle(array);
    }
    assert!(column.reuse().reused >= 2);
}
