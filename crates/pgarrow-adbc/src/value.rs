//! Values of options: what a caller gave, and what is given back.

use adbc_core::error::Error;
use adbc_core::options::OptionValue;

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

/// Reads a size in bytes: a number and, if any, a unit of 1024, as in `65536`, `512K`, `8M`.
pub(crate) fn size(key: &str, text: &str) -> Result<u64> {
    let unreadable = || refused(key, "write a number of bytes, with K, M or G if they are many: 64M");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits).ok_or_else(unreadable)?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(unreadable()),
    };
    let number: u64 = number.parse().map_err(|_| unreadable())?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [("1", 1), ("512K", 512 << 10), ("8m", 8 << 20), ("1GiB", 1 << 30)] {
            assert_eq!(size("k", text).unwrap(), bytes, "{text}");
        }
        for text in ["", "0", "M", "8X", "-1", "99999999999999G"] {
            assert!(size("k", text).is_err(), "{text}");
        }
    }
}
