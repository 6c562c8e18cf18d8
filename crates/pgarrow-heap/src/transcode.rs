//! From the stored form of a value to the form that COPY sends.
//!
//! Source: the send function of each type in `src/backend/utils/adt`, named at its code.

use pgarrow_types::StoredForm;

use crate::compressed::Corrupt;

mod array;
mod jsonb;
mod numeric;
mod simple;

/// Most bytes that are made of one value: a jsonb can be 10,000 times as large as text. The server sends
/// larger values.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// Appends a value of this form as COPY sends it, without its length; nothing if the value is corrupt.
///
/// `stored` has the bytes in the page: for varlena those behind the header, decompressed; for other types
/// `attlen` bytes.
pub(crate) fn transcode(form: &StoredForm, stored: &[u8], out: &mut Vec<u8>) -> Result<(), Corrupt> {
    let start = out.len();
    let done = append(form, stored, out).and_then(|()| check_bytes(start, out));
    if done.is_err() {
        out.truncate(start);
    }
    done
}

/// As [`transcode`], but leaves the partial result of a corrupt value.
fn append(form: &StoredForm, stored: &[u8], out: &mut Vec<u8>) -> Result<(), Corrupt> {
    match form {
        StoredForm::Bytes { length, .. } => simple::bytes(*length, stored, out),
        StoredForm::Number { width } => simple::number(*width, stored, out),
        StoredForm::Name => simple::name(stored, out),
        StoredForm::Timetz => simple::timetz(stored, out),
        StoredForm::Interval => simple::interval(stored, out),
        StoredForm::Numeric => numeric::send(stored, out),
        StoredForm::Jsonb => jsonb::send(stored, out),
        StoredForm::Inet { is_cidr } => simple::inet(*is_cidr, stored, out),
        StoredForm::Bits => simple::bits(stored, out),
        StoredForm::Enum(labels) => simple::label(labels, stored, out),
        StoredForm::Tid => simple::tid(stored, out),
        StoredForm::Doubles { count } => simple::doubles(usize::from(*count), stored, out),
        StoredForm::Path => simple::path(stored, out),
        StoredForm::Polygon => simple::polygon(stored, out),
        StoredForm::Array { element, element_oid } => array::send(element, *element_oid, stored, out),
        _ => Err(Corrupt("a value of an unknown form")),
    }
}

/// Refuses a result above the limit since `start`.
fn check_bytes(start: usize, out: &[u8]) -> Result<(), Corrupt> {
    if out.len() - start > VALUE_BYTES_MAX {
        return Err(Corrupt("a value that is too large to be made here"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
