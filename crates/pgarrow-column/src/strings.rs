//! Offsets and bytes to Arrow's string and binary arrays, in the chosen form.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{BinaryType, Utf8Type};
use arrow_array::{
    ArrayRef, BinaryArray, BinaryViewArray, GenericBinaryArray, GenericStringArray, StringViewArray,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use pgarrow_types::{EncodingPolicy, StringForm, TypeOptions};

use crate::effect::{Effect, Effects};
use crate::error::{RowError, ValueError};
use crate::raw::Values;

/// The form of strings or bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    form: StringForm,
    is_binary: bool,
    /// The replacement for a value that is not UTF-8, if it does not stop the export.
    replacement: Option<Replacement>,
}

/// The replacement for a value that is not UTF-8.
#[derive(Clone, Copy, Debug)]
enum Replacement {
    /// U+FFFD for invalid bytes, as in `String::from_utf8_lossy`.
    Lossy,
    /// The whole value is read as ISO 8859-1.
    Latin1,
}

impl Replacement {
    /// The value as text; borrowed if it is text already.
    fn text(self, value: &[u8]) -> Cow<'_, str> {
        match (self, simdutf8::basic::from_utf8(value)) {
            (_, Ok(text)) => Cow::Borrowed(text),
            (Self::Lossy, Err(_)) => Cow::Owned(String::from_utf8_lossy(value).into_owned()),
            // The first 256 characters of Unicode are those of ISO 8859-1.
            (Self::Latin1, Err(_)) => Cow::Owned(value.iter().map(|byte| char::from(*byte)).collect()),
        }
    }
}

impl Output {
    /// Text that comes from the database as it is stored.
    pub(crate) fn stored_text(options: &TypeOptions) -> Self {
        Self {
            form: options.strings,
            is_binary: options.encoding == EncodingPolicy::Binary,
            replacement: match options.encoding {
                EncodingPolicy::Replace => Some(Replacement::Lossy),
                EncodingPolicy::Latin1 => Some(Replacement::Latin1),
                EncodingPolicy::Error | EncodingPolicy::Binary => None,
            },
        }
    }

    /// Text that this crate prints.
    pub(crate) fn text(options: &TypeOptions) -> Self {
        Self { form: options.strings, is_binary: false, replacement: None }
    }

    pub(crate) fn bytes(options: &TypeOptions) -> Self {
        Self { form: options.strings, is_binary: true, replacement: None }
    }

    /// Whether the values are text that must be UTF-8 as it is.
    pub(crate) fn is_text(self) -> bool {
        !self.is_binary
    }

    /// The array of `values`. Replaced values are counted.
    ///
    /// # Errors
    ///
    /// [`ValueError::Utf8`] with the first row that is not UTF-8.
    pub(crate) fn array(
        self,
        values: Values,
        nulls: Option<NullBuffer>,
        effects: &mut Effects,
    ) -> Result<ArrayRef, RowError> {
        if self.is_binary {
            let (offsets, values) = values.into_parts();
            let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
            let array = BinaryArray::new(offsets, Buffer::from_vec(values), nulls);
            return Ok(match self.form {
                StringForm::Utf8 => Arc::new(array),
                StringForm::View => Arc::new(BinaryViewArray::from(&array)),
                StringForm::Large => {
                    let (offsets, values, nulls) = array.into_parts();
                    Arc::new(GenericBinaryArray::new(large(&offsets), values, nulls))
                }
            });
        }
        let values = match self.replacement {
            Some(replacement) if !values.is_checked() => replaced(replacement, values, effects)?,
            _ => values,
        };
        let array = values.into_text(nulls)?;
        Ok(match self.form {
            StringForm::Utf8 => Arc::new(array),
            StringForm::View => Arc::new(StringViewArray::from(&array)),
            StringForm::Large => {
                let (offsets, values, nulls) = array.into_parts();
                // Validated a second time, by safe code: large strings are chosen rarely, and on purpose.
                let array = GenericStringArray::try_new(large(&offsets), values, nulls);
                Arc::new(array.map_err(|_| RowError { row: 0, cause: ValueError::Utf8 })?)
            }
        })
    }
}

/// Offsets and values of an array of one of the default forms, which [`Spare`](crate::spare::Spare) may keep
/// once the array is dropped.
pub(crate) fn buffers_of(array: &ArrayRef) -> Option<(Buffer, Buffer)> {
    let text = array.as_bytes_opt::<Utf8Type>().map(|array| (array.offsets(), array.values()));
    let bytes = || array.as_bytes_opt::<BinaryType>().map(|array| (array.offsets(), array.values()));
    let (offsets, values) = text.or_else(bytes)?;
    Some((offsets.inner().inner().clone(), values.clone()))
}

fn large(offsets: &OffsetBuffer<i32>) -> OffsetBuffer<i64> {
    OffsetBuffer::new(offsets.iter().map(|offset| i64::from(*offset)).collect())
}

/// The same, with replacements for values that are not UTF-8.
fn replaced(replacement: Replacement, values: Values, effects: &mut Effects) -> Result<Values, RowError> {
    let (offsets, values) = values.into_parts();
    let value = |row: usize| {
        let ends = offsets.get(row).zip(offsets.get(row + 1))?;
        values.get(usize::try_from(*ends.0).ok()?..usize::try_from(*ends.1).ok()?)
    };
    let is_valid = |row| value(row).is_some_and(|value| simdutf8::basic::from_utf8(value).is_ok());
    let n_rows = offsets.len().saturating_sub(1);
    let Some(first) = (0..n_rows).find(|row| !is_valid(*row)) else {
        return Ok(Values::of(offsets, values));
    };
    let mut new_offsets = offsets.get(..=first).unwrap_or_default().to_vec();
    let mut new_values = Vec::with_capacity(values.len() + values.len() / 8);
    let kept = new_offsets.last().and_then(|end| usize::try_from(*end).ok()).unwrap_or(0);
    new_values.extend_from_slice(values.get(..kept).unwrap_or_default());
    for row in first..n_rows {
        let value = value(row).unwrap_or_default();
        let text = replacement.text(value);
        if matches!(text, Cow::Owned(_)) {
            effects.add(Effect::TextReplaced, 1);
        }
        new_values.extend_from_slice(text.as_bytes());
        let end = i32::try_from(new_values.len());
        new_offsets.push(end.map_err(|_| RowError { row, cause: ValueError::BatchTooLarge })?);
    }
    Ok(Values::of(new_offsets, new_values))
}

#[cfg(test)]
mod tests {
    use arrow_array::Array as _;
    use arrow_schema::DataType;

    use super::*;

    fn array(output: Output, values: &[&[u8]]) -> (Result<ArrayRef, RowError>, Effects) {
        let mut offsets = vec![0];
        offsets.extend(values.iter().scan(0, |end, value| {
            *end += value.len() as i32;
            Some(*end)
        }));
        let nulls = NullBuffer::from(values.iter().map(|value| *value != b"NULL").collect::<Vec<_>>());
        let mut effects = Effects::default();
        (output.array(Values::of(offsets, values.concat()), Some(nulls), &mut effects), effects)
    }

    #[test]
    fn every_form_has_the_same_values() {
        let values = ["", "short", "NULL", "longer than twelve bytes: ärger", "short"];
        let bytes = values.map(str::as_bytes);
        for (strings, text_type, bytes_type) in [
            (StringForm::Utf8, DataType::Utf8, DataType::Binary),
            (StringForm::Large, DataType::LargeUtf8, DataType::LargeBinary),
            (StringForm::View, DataType::Utf8View, DataType::BinaryView),
        ] {
            let options = TypeOptions { strings, ..TypeOptions::default() };
            let text = array(Output::text(&options), &bytes).0.unwrap();
            text.to_data().validate_full().unwrap();
            assert_eq!(text.data_type(), &text_type);
            let found: Vec<Option<String>> = match strings {
                StringForm::Utf8 => text.as_string::<i32>().iter().map(|v| v.map(str::to_owned)).collect(),
                StringForm::Large => text.as_string::<i64>().iter().map(|v| v.map(str::to_owned)).collect(),
                StringForm::View => text.as_string_view().iter().map(|v| v.map(str::to_owned)).collect(),
            };
            let expected = values.map(|value| (value != "NULL").then(|| value.to_owned()));
            assert_eq!(found, expected);
            let binary = array(Output::bytes(&options), &bytes).0.unwrap();
            binary.to_data().validate_full().unwrap();
            assert_eq!(binary.data_type(), &bytes_type);
            assert_eq!((binary.len(), binary.null_count()), (5, 1));
        }
    }

    #[test]
    fn latin_1_has_every_byte() {
        // Also the bytes of C1, where Windows-1252 has other characters; and valid UTF-8 in a value that is
        // not UTF-8 as a whole.
        let every: Vec<u8> = (0..=255).collect();
        let options = TypeOptions { encoding: EncodingPolicy::Latin1, ..TypeOptions::default() };
        let (text, effects) = array(Output::stored_text(&options), &[&every, b"\xc3\xa9\xe9"]);
        let text = text.unwrap();
        let text = text.as_string::<i32>();
        let found: Vec<u32> = text.value(0).chars().map(u32::from).collect();
        assert_eq!(found, (0..256).collect::<Vec<_>>());
        assert_eq!((text.value(1), effects.count(Effect::TextReplaced)), ("Ã©é", 2));
    }

    #[test]
    fn what_is_not_utf8_is_an_error_or_replaced_or_binary() {
        let values = [&b"ok"[..], b"caf\xe9", b"NULL", b"\xff\xfe", "é".as_bytes()];
        let with = |encoding| {
            let options = TypeOptions { encoding, ..TypeOptions::default() };
            array(Output::stored_text(&options), &values)
        };
        let error = with(EncodingPolicy::Error).0.unwrap_err();
        assert_eq!(error, RowError { row: 1, cause: ValueError::Utf8 });
        // Valid UTF-8 stays, also with bytes above 0x7f.
        for (encoding, coffee, marks) in [
            (EncodingPolicy::Replace, "caf\u{fffd}", "\u{fffd}\u{fffd}"),
            (EncodingPolicy::Latin1, "café", "ÿþ"),
        ] {
            let (replaced, effects) = with(encoding);
            let replaced = replaced.unwrap();
            let found: Vec<_> = replaced.as_bytes::<Utf8Type>().iter().collect();
            assert_eq!(found, [Some("ok"), Some(coffee), None, Some(marks), Some("é")]);
            assert_eq!(effects.count(Effect::TextReplaced), 2);
        }
        let (binary, effects) = with(EncodingPolicy::Binary);
        assert_eq!(binary.unwrap().as_binary::<i32>().value(1), b"caf\xe9");
        assert_eq!(effects, Effects::default());
    }
}
