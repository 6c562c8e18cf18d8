//! `hstore_recv`: maps of strings, or lists of structs of two strings.
//!
//! ```text
//! i32 n_pairs │ n × (i32 key length │ key │ i32 value length, -1 for NULL │ value)
//! ```
//!
//! If a key occurs twice, the server silently keeps one of its values; here it is an error.
//!
//! Source: `hstore_recv`, `hstoreUniquePairs` in PostgreSQL's `contrib/hstore/hstore_io.c`.

use std::ops::Range;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_schema::{DataType, Field};
use pgarrow_types::PgType;

use super::list::Lists;
use super::{Bound, Encoder, Values, make_encoder, refuse};
use crate::encode_target::TypeTarget;
use crate::error::{Refusal, ValueError};
use crate::write;

const TEXT: &PgType = &PgType::Text;

pub(super) fn make(source: &DataType, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    let entries = match source {
        DataType::Map(entries, _) => Some(entries),
        _ => Lists::item(source),
    };
    let Some(DataType::Struct(fields)) = entries.map(|entries| entries.data_type()) else {
        return Err(refuse(source, target));
    };
    let [keys, values] = fields.as_ref() else { return Err(refuse(source, target)) };
    let of_text = |field: &Field, name| {
        make_encoder(field, target.part(0, TEXT)).map_err(|refusal| refusal.inside(name))
    };
    Ok(Box::new(Maps { keys: of_text(keys, "key")?, values: of_text(values, "value")? }))
}

#[derive(Debug)]
struct Maps {
    keys: Box<dyn Encoder>,
    values: Box<dyn Encoder>,
}

impl Encoder for Maps {
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        let lists = Lists::new(array)?;
        let entries = lists.items.as_struct_opt().ok_or(ValueError::WrongArray)?;
        let [keys, values] = entries.columns() else { return Err(ValueError::WrongArray) };
        Ok(Box::new(MapValues {
            lists,
            entries,
            keys: Bound::new(self.keys.as_ref(), keys.as_ref())?,
            values: Bound::new(self.values.as_ref(), values.as_ref())?,
        }))
    }
}

#[derive(Debug)]
struct MapValues<'a> {
    lists: Lists<'a>,
    entries: &'a dyn Array,
    keys: Bound<'a>,
    values: Bound<'a>,
}

impl Values for MapValues<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let range = self.lists.range(row)?;
        let mut keys = Vec::with_capacity(range.len());
        write::measured(out, |out| {
            let count = i32::try_from(range.len()).map_err(|_| ValueError::TooLarge)?;
            out.extend_from_slice(&count.to_be_bytes());
            for entry in range {
                if self.entries.is_null(entry) || self.keys.is_null(entry) {
                    return Err(ValueError::NullPart);
                }
                let start = out.len().saturating_add(4);
                self.keys.write(entry, out)?;
                keys.push(start..out.len());
                self.values.write(entry, out)?;
            }
            Ok(())
        })?;
        match is_unique(&mut keys, out) {
            true => Ok(()),
            false => Err(ValueError::DuplicateKey),
        }
    }
}

/// Whether the keys at these places all differ. Keys from an export are already sorted.
pub(super) fn is_unique(keys: &mut [Range<usize>], bytes: &[u8]) -> bool {
    let key = |range: &Range<usize>| {
        let key = bytes.get(range.clone()).unwrap_or_default();
        (key.len(), key)
    };
    let ascend = |keys: &[Range<usize>]| keys.is_sorted_by(|a, b| key(a) < key(b));
    if ascend(keys) {
        return true;
    }
    keys.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
    ascend(keys)
}
