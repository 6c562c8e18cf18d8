//! [`parse_size`]: sizes in bytes as people write them, for all programs the same.

use crate::choices::ChoiceError;

/// More is a mistake: a unit too much.
const SIZE_MAX: u64 = 1 << 50;

/// Reads a size in bytes: a number and, if any, a unit of 1024, as in `65536`, `512K`, `8M`, `8MiB`, `1G`.
///
/// # Errors
///
/// For anything else, for zero, and for more than `1024T`.
pub fn parse_size(text: &str) -> Result<u64, ChoiceError> {
    let unreadable = || ChoiceError("write a number and K, M, G or T, as in 8M".to_owned());
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return Err(unreadable()),
    };
    if number.is_empty() {
        return Err(unreadable());
    }
    match number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)) {
        Some(bytes @ 1..=SIZE_MAX) => Ok(bytes),
        _ => Err(ChoiceError("sizes go from 1 byte to 1024T".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [
            ("1", 1),
            ("65536", 65536),
            ("7b", 7),
            ("512K", 512 << 10),
            ("8m", 8 << 20),
            ("8MiB", 8 << 20),
            ("1g", 1 << 30),
            ("2GB", 2 << 30),
            ("1T", 1 << 40),
            ("1024tib", 1 << 50),
            ("1125899906842624", 1 << 50),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_sizes_are_refused() {
        for text in ["", "M", "-1", "+1", "1.5M", "8 M", " 8M", "8X", "8é", "é", "8P"] {
            assert!(parse_size(text).unwrap_err().to_string().contains("as in 8M"), "{text}");
        }
        for text in ["0", "0K", "1025T", "1125899906842625", "18446744073709551615T", "99999999999999999999"]
        {
            assert!(parse_size(text).unwrap_err().to_string().contains("to 1024T"), "{text}");
        }
    }
}
