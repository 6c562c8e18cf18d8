//! NULLs between values of one width, and the buffers of printed text.

use std::sync::Arc;

use super::*;

/// Bytes behind a NULL are decoded in vain, and must not stay: files of the same rows are the same.
#[test]
fn what_stands_for_a_null_does_not_depend_on_the_bytes_behind_it() {
    for (pg_type, width) in [
        (PgType::Int2, 2),
        (PgType::Int4, 4),
        (PgType::Int8, 8),
        (PgType::Float4, 4),
        (PgType::Float8, 8),
        (PgType::Money { fraction_digits: 2 }, 8),
        (PgType::Date, 4),
        (PgType::Time, 8),
        (PgType::Timestamp, 8),
        (PgType::Timestamptz, 8),
        (PgType::Oid, 4),
        (PgType::Xid8, 8),
        (PgType::Uuid, 16),
        (PgType::Bool, 1),
    ] {
        let value = |row: usize| {
            let mut value = vec![0; width - 1];
            value.push(u8::from(row.is_multiple_of(2)));
            Some(value).filter(|_| row.is_multiple_of(3))
        };
        let values: Vec<Wire> = (0..CHUNK_ROWS + 40).map(value).collect();
        let buffers = |chunk_rows, padding| {
            let array = decode_in_chunks(&pg_type, &TypeOptions::default(), &values, chunk_rows, padding);
            array.unwrap().to_data().buffers().to_vec()
        };
        // A NULL alone has no bytes behind it, so it is decoded carefully.
        let alone = buffers(1, 0);
        for chunk_rows in [1, 2, 3, CHUNK_ROWS] {
            assert_eq!(buffers(chunk_rows, 100), alone, "{pg_type:?} in chunks of {chunk_rows}");
        }
    }
}

#[test]
fn printed_text_goes_into_buffers_that_came_back() {
    let number = |row: usize| Some(numeric(&format!("{row}.5"))).filter(|_| !row.is_multiple_of(3));
    let values: Vec<Wire> = (0..300).map(number).collect();
    let batch = |column: &mut dyn Column| {
        for rows in values.chunks(100) {
            let (mut bytes, mut cursors) = (Vec::new(), Vec::new());
            for value in rows {
                cursors.push(bytes.len() as u32);
                let length = value.as_ref().map_or(-1, |value| value.len() as i32);
                bytes.extend(length.to_be_bytes());
                bytes.extend(value.iter().flatten());
            }
            column.decode(&mut Chunk::new(&bytes, &mut cursors)).unwrap();
        }
        column.finish().unwrap()
    };
    let pg_type = PgType::Numeric(NumericType::Unconstrained);
    let mut column = make_column(&pg_type, &TypeOptions::default(), 0);
    let first = batch(column.as_mut());
    let address = |array: &ArrayRef| array.as_string::<i32>().values().as_ptr() as usize;
    let first_address = address(&first);
    let copy = arrow_array::StringArray::from_iter(first.as_string::<i32>());
    // Kept by somebody, so not used again.
    column.recycle(Arc::clone(&first));
    let second = batch(column.as_mut());
    assert_eq!((first.as_string(), second.as_string()), (&copy, &copy));
    assert_ne!(address(&second), first_address);
    let address_of_second = address(&second);
    column.recycle(second);
    let third = batch(column.as_mut());
    assert_eq!((address(&third), third.as_string()), (address_of_second, &copy));
    assert_eq!(column.reuse().reused, 1);
}
