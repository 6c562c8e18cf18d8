//! Names of files for tables: any schema and table, on any file system.

use std::fmt::Write;

/// Bytes a name may have, its extension included. File systems allow 255.
const NAME_BYTES_MAX: usize = 200;

/// The file name for a table, as in `public.orders.parquet`.
///
/// What is not an ASCII letter, digit, `_`, `.` or `-` becomes `%` and two hexadecimal digits for each byte; so
/// does a `-` in front, which commands would take for an option, a `.` or `_` in front, which would hide the file from
/// readers of whole folders, and every `.` in a schema's name, so that two tables never share a name. A name of more than 200 bytes is cut and
/// ends in a hash of the whole.
pub fn file_name_for(schema: &str, table: &str, extension: &str) -> String {
    let mut name = String::new();
    encode(schema, false, &mut name);
    name.push('.');
    encode(table, true, &mut name);
    let room = NAME_BYTES_MAX.saturating_sub(extension.len() + 1);
    if name.len() > room {
        let mark = format!("-{:016x}", hash(&name));
        name.truncate(room.saturating_sub(mark.len()));
        name.push_str(&mark);
    }
    name.push('.');
    name.push_str(extension);
    name
}

fn encode(text: &str, dots: bool, name: &mut String) {
    for byte in text.bytes() {
        let plain = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => true,
            b'-' | b'_' => !name.is_empty(),
            b'.' => dots && !name.is_empty(),
            _ => false,
        };
        if plain {
            name.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(name, "%{byte:02X}");
        }
    }
}

/// FNV-1a with 64 bits: the same in every version and on every machine, as a file name has to be.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tables() {
        for (schema, table, expected) in [
            ("public", "orders", "public.orders.parquet"),
            ("public", "a.b", "public.a.b.parquet"),
            ("public.a", "b", "public%2Ea.b.parquet"),
            ("-rf", "-x", "%2Drf.-x.parquet"),
            (".hidden", "..", "%2Ehidden....parquet"),
            ("_a_b", "_c", "%5Fa_b._c.parquet"),
            ("s", "100%/\\ü\n", "s.100%25%2F%5C%C3%BC%0A.parquet"),
        ] {
            assert_eq!(file_name_for(schema, table, "parquet"), expected);
        }
    }

    #[test]
    fn long_names_are_cut_and_stay_different() {
        // 63 bytes is what PostgreSQL allows by default; encoded they may take three times as many.
        let (schema, table) = ("ü".repeat(31), "ö".repeat(31));
        let name = file_name_for(&schema, &table, "parquet");
        assert_eq!(name.len(), NAME_BYTES_MAX);
        assert!(name.ends_with(".parquet"), "{name}");
        let other = file_name_for(&schema, &format!("{table}x"), "parquet");
        assert_ne!(name, other);
        assert_eq!(name.rsplit_once('-').map(|split| split.0), other.rsplit_once('-').map(|split| split.0));
        assert_eq!(file_name_for(&schema, &table, "parquet"), name);
    }
}
