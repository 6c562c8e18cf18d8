//! Columns of strings, in whatever layout.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;

/// Strings in any of Arrow's layouts.
#[derive(Debug)]
pub(crate) enum Texts<'a> {
    Utf8(&'a arrow_array::StringArray),
    Large(&'a arrow_array::LargeStringArray),
    View(&'a arrow_array::StringViewArray),
    Dictionary(&'a arrow_array::DictionaryArray<Int32Type>, &'a arrow_array::StringArray),
}

impl<'a> Texts<'a> {
    pub(crate) fn new(array: &'a dyn Array) -> Result<Self, String> {
        let texts = array.as_string_opt().map(Self::Utf8);
        let texts = texts.or_else(|| array.as_string_opt().map(Self::Large));
        let texts = texts.or_else(|| array.as_string_view_opt().map(Self::View));
        let of_dictionary = || {
            let dictionary = array.as_dictionary_opt::<Int32Type>()?;
            Some(Self::Dictionary(dictionary, dictionary.values().as_string_opt()?))
        };
        let texts = texts.or_else(of_dictionary);
        texts.ok_or_else(|| format!("{} is not read as text", array.data_type()))
    }

    pub(crate) fn value(&self, row: usize) -> Option<&'a str> {
        match self {
            Self::Utf8(array) => array.is_valid(row).then(|| array.value(row)),
            Self::Large(array) => array.is_valid(row).then(|| array.value(row)),
            Self::View(array) => array.is_valid(row).then(|| array.value(row)),
            Self::Dictionary(dictionary, values) => {
                let key = dictionary.key(row)?;
                values.is_valid(key).then(|| values.value(key))
            }
        }
    }
}
