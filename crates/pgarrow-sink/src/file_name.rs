//! Names of files for tables: any schema and table, on any file system.

use std::collections::HashMap;
use std::fmt::Write;

/// Bytes a name may have, its extension included. File systems allow 255.
const NAME_BYTES_MAX: usize = 200;

/// The file name for a table, as in `public.orders.parquet`.
///
/// Any character but an ASCII letter, digit, `_`, `.` or `-` becomes `%` and two hexadecimal digits for each
/// byte. So does a `-` in front, which commands would take for an option, a `.` or `_` in front, which would
/// hide the file from readers of whole folders, and every `.` in a schema's name, so that two tables never
/// share a name. A name of more than 200 bytes is cut and ends in a hash of the whole name.
pub fn file_name_for(schema: &str, table: &str, extension: &str) -> String {
    name_of(schema, table, extension, true)
}

/// The file names for tables of one folder, as [`file_name_for`] has them.
///
/// Some file systems do not tell `A` from `a`. If names differ only in that, their capital letters become `%`
/// and two digits, too, as in `public.%41.parquet`.
pub fn file_names_for(tables: &[(&str, &str)], extension: &str) -> Vec<String> {
    let names: Vec<_> =
        tables.iter().map(|(schema, table)| file_name_for(schema, table, extension)).collect();
    let mut counts: HashMap<String, usize> = HashMap::new();
    for name in &names {
        *counts.entry(name.to_lowercase()).or_default() += 1;
    }
    let is_alone = |name: &str| counts.get(&name.to_lowercase()).is_none_or(|count| *count == 1);
    let pairs = tables.iter().zip(names);
    pairs
        .map(|((schema, table), name)| match is_alone(&name) {
            true => name,
            false => name_of(schema, table, extension, false),
        })
        .collect()
}

/// A name as one part of a path, encoded as in [`file_name_for`], with its dots. Without `capitals`, they are
/// encoded, too, for names that differ only in them.
pub fn path_part_for(name: &str, capitals: bool) -> String {
    let mut part = String::new();
    encode(name, false, capitals, &mut part);
    cut(&mut part, NAME_BYTES_MAX);
    part
}

fn name_of(schema: &str, table: &str, extension: &str, capitals: bool) -> String {
    let mut name = String::new();
    encode(schema, false, capitals, &mut name);
    name.push('.');
    encode(table, true, capitals, &mut name);
    cut(&mut name, NAME_BYTES_MAX.saturating_sub(extension.len() + 1));
    name.push('.');
    name.push_str(extension);
    name
}

/// Cuts a name to `room` bytes, with a hash of the whole at its end.
fn cut(name: &mut String, room: usize) {
    if name.len() > room {
        let mark = format!("-{:016x}", hash(name));
        name.truncate(room.saturating_sub(mark.len()));
        name.push_str(&mark);
    }
}

fn encode(text: &str, dots: bool, capitals: bool, name: &mut String) {
    for byte in text.bytes() {
        let plain = match byte {
            b'a'..=b'z' | b'0'..=b'9' => true,
            b'A'..=b'Z' => capitals,
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

/// FNV-1a with 64 bits: the same in every version and on every machine, as a file name must be.
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
    fn names_that_differ_in_case_only() {
        let names = |tables: &[(&str, &str)]| file_names_for(tables, "parquet");
        let plain = ["S.a.parquet", "s.B.parquet"];
        assert_eq!(names(&[("S", "a"), ("s", "B")]), plain);
        let tables =
            [("s", "a"), ("s", "A"), ("s", "aB"), ("s", "AB"), ("s", "ab"), ("s", "Only"), ("S", "a")];
        let expected = ["a", "%41", "a%42", "%41%42", "ab", "Only"].map(|name| format!("s.{name}.parquet"));
        let found = names(&tables);
        assert_eq!(found[..6], expected);
        assert_eq!(found[6], "%53.a.parquet");
        // No table's name becomes a name that was made like this.
        assert_eq!(file_name_for("s", "%41", "parquet"), "s.%2541.parquet");
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
