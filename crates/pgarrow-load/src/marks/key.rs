//! Restart keys made from files: `/data/rows.parquet and 2 more 1f…-93…`.
//!
//! The first hash is that of the first file's name. The second covers everything that distinguishes the
//! load.

use std::fmt::Write;

use arrow_schema::Schema;
use pgarrow_catalog::quote_literal;
use pgarrow_protocol::Session;
use pgarrow_session::{Error, ErrorKind, Result};
use pgarrow_types::option::RESTART_KEY;
use pgarrow_types::{Hint, message};

use super::of_marks;
use crate::options::{LoadMode, LoadOptions, OnConflict};

/// Digits of a hash.
const DIGITS: usize = 32;

/// What identifies a file.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    /// The absolute path, or the URL.
    pub(crate) name: String,
    /// The time of the last write, in nanoseconds since 1970; or the version that a server names.
    pub(crate) changed: String,
    pub(crate) bytes: u64,
}

/// A restart key for a load into `target` from these files: the same for the same files with the same
/// columns, and another once a file is written again. Readable text, then two hashes of 128 bits.
pub(crate) fn restart_key(target: &str, files: &[Stamp], schema: &Schema) -> String {
    let mut text = format!("{target}\0");
    for Stamp { name, changed, bytes } in files {
        let _ = write!(text, "{name}\0{changed}\0{bytes}\0");
    }
    for field in schema.fields() {
        let _ = write!(text, "\0{}\0{}\0{}", field.name(), field.data_type(), field.is_nullable());
    }
    let first = files.first().map(|file| file.name.as_str()).unwrap_or_default();
    let shown: String = first.chars().filter(|c| !c.is_control()).take(100).collect();
    let more = if files.len() > 1 { format!(" and {} more", files.len() - 1) } else { String::new() };
    format!("{shown}{more} {:032x}-{:032x}", fnv1a(first.as_bytes()), fnv1a(text.as_bytes()))
}

/// The common part of keys whose first file has the same name: ` 1f…-`. `None` for a key not made from
/// files.
fn of_first_file(key: &str) -> Option<String> {
    let (_, hashes) = key.rsplit_once(' ')?;
    let (file, all) = hashes.split_once('-')?;
    let is_hash = |text: &str| text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hash(file) && is_hash(all)).then(|| format!(" {file}-"))
}

/// Refuses to load rows that an earlier load from a file of the same name has left in the table. It may have
/// been the same file, copied since.
///
/// Applies only to keys made from files: a user who chooses a key knows which rows it stands for. And only
/// to loads that append rows without regard to those already there.
pub(super) fn check_others(
    session: &mut Session,
    table: &str,
    key: &str,
    target: &str,
    options: &LoadOptions,
) -> Result<()> {
    let adds =
        options.mode == LoadMode::Append && matches!(options.on_conflict, None | Some(OnConflict::Error));
    let Some(file) = of_first_file(key).filter(|_| adds) else { return Ok(()) };
    let sql = format!(
        "SELECT load, rows::pg_catalog.text FROM {table} \
         WHERE target OPERATOR(pg_catalog.=) $1 AND NOT is_complete \
           AND rows OPERATOR(pg_catalog.>) 0::pg_catalog.int8 \
           AND pg_catalog.strpos(load, $2) OPERATOR(pg_catalog.>) 0 ORDER BY updated DESC LIMIT 1"
    );
    let rows = session.query(&sql, &[Some(target), Some(&file)]).map_err(|error| of_marks(error, table))?;
    let Some((other, rows)) = rows.first().and_then(|row| Some((row.text(0)?, row.text(1)?))) else {
        return Ok(());
    };
    let text = format!(
        "{target} has the first {rows} rows of a load that was not completed, from a file of the same name that was \
         written at another time, or with other files or columns"
    );
    let known = Hint::Choice { option: RESTART_KEY, values: vec![other.to_owned()] };
    Err(Error::new(ErrorKind::Options, text).advice(message![
        "if its rows are the same, go on behind these with ",
        known,
        format_args!(
            "; to load all rows, remove those that are there and the mark: DELETE FROM {table} WHERE load = {}",
            quote_literal(other).unwrap_or_default()
        )
    ]))
}

/// FNV-1a of 128 bits: the same in every version and on every machine.
///
/// Source: <http://www.isthe.com/chongo/tech/comp/fnv/>.
fn fnv1a(bytes: &[u8]) -> u128 {
    const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(OFFSET_BASIS, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use arrow_schema::{DataType, Field};

    use super::*;

    #[test]
    fn a_known_hash() {
        assert_eq!(fnv1a(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        // From the test vectors of draft-eastlake-fnv.
        assert_eq!(fnv1a(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }

    fn files(files: &[(&str, i128, u64)]) -> Vec<Stamp> {
        let stamp = |&(name, changed, bytes): &(&str, i128, u64)| Stamp {
            name: name.to_owned(),
            changed: changed.to_string(),
            bytes,
        };
        files.iter().map(stamp).collect()
    }

    #[test]
    fn keys_differ_with_whatever_differs() {
        let schema = |name: &str, data_type| Schema::new(vec![Field::new(name, data_type, true)]);
        let int = schema("x", DataType::Int32);
        let one = files(&[("a", 0, 1)]);
        let keys = [
            restart_key("public.t", &one, &int),
            restart_key("public.u", &one, &int),
            restart_key("public.t", &files(&[("a", 0, 2)]), &int),
            restart_key("public.t", &files(&[("a", 1, 1)]), &int),
            restart_key("public.t", &files(&[("b", 0, 1)]), &int),
            restart_key("public.t", &files(&[("a", 0, 1), ("b", 0, 1)]), &int),
            restart_key("public.t", &files(&[("b", 0, 1), ("a", 0, 1)]), &int),
            restart_key("public.t", &one, &schema("y", DataType::Int32)),
            restart_key("public.t", &one, &schema("x", DataType::Int64)),
        ];
        assert_eq!(keys[0], restart_key("public.t", &one, &int));
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "{key}");
            let is_of_a = of_first_file(key).is_some() && of_first_file(key) == of_first_file(&keys[0]);
            assert_eq!(is_of_a, key.starts_with("a "), "{key}");
        }
        assert!(keys[5].starts_with("a and 1 more "), "{}", keys[5]);
        assert!(restart_key("t", &files(&[("ä".repeat(5000).as_str(), 0, 1)]), &int).len() < 300);
        for key in ["key", "", "a b", "of a-b", &keys[0][..keys[0].len() - 1]] {
            assert_eq!(of_first_file(key), None, "{key}");
        }
    }
}
