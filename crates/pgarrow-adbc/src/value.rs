//! Values of options: what a caller gave, and what is given back.

use adbc_core::error::Error;
use adbc_core::options::OptionValue;
use pgarrow_types::parse_size;

use crate::error::{Result, invalid_argument, not_found};

/// The value as text: numbers as they are written.
pub(crate) fn text(key: &str, value: &OptionValue) -> Result<String> {
    match value {
        OptionValue::String(text) => Ok(text.clone()),
        OptionValue::Int(number) => Ok(number.to_string()),
        OptionValue::Double(number) => Ok(number.to_string()),
        OptionValue::Bytes(bytes) => {
            String::from_utf8(bytes.clone()).map_err(|_| refused(key, "the bytes are not UTF-8"))
        }
        _ => Err(refused(key, "a value of this kind is not known")),
    }
}

/// `true` or `false`.
pub(crate) fn flag(key: &str, value: &OptionValue) -> Result<bool> {
    match text(key, value)?.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(refused(key, "write true or false")),
    }
}

/// An error about the value of an option.
pub(crate) fn refused(key: &str, why: &str) -> Error {
    invalid_argument(format!("option {key}: {why}"))
}

/// An error about an option that has no value.
pub(crate) fn unset(key: &str) -> Error {
    not_found(format!("option {key} is not known, or has no value"))
}

/// An integer of an option's text.
pub(crate) fn int(key: &str, text: &str) -> Result<i64> {
    text.parse().map_err(|_| invalid_argument(format!("option {key} is no integer")))
}

/// A number of an option's text.
pub(crate) fn double(key: &str, text: &str) -> Result<f64> {
    text.parse().map_err(|_| invalid_argument(format!("option {key} is no number")))
}

/// A size in bytes of an option's text, as the command reads sizes.
pub(crate) fn size(key: &str, text: &str) -> Result<u64> {
    parse_size(text).map_err(|why| refused(key, &why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This driver had rules of its own: no T, and no limit.
    #[test]
    fn sizes() {
        assert_eq!((size("k", "512K").unwrap(), size("k", "1T").unwrap()), (512 << 10, 1 << 40));
        for (text, why) in [("8X", "as in 8M"), ("0", "from 1 byte"), ("17179869183G", "to 1024T")] {
            let message = size("k", text).unwrap_err().message;
            assert!(message.starts_with("option k: ") && message.contains(why), "{message}");
        }
    }
}
