//! The names of partitions' folders: `region=eu`, as readers of Hive's layout take them.
//!
//! Readers decode `%` and two hexadecimal digits in values, each as a byte or as a character; so what is not
//! ASCII stays as it is, but for names that would differ in nothing else than case. Not all of them decode
//! names of columns.

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

/// The folder of NULL.
pub(crate) const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Most bytes of a folder's name. File systems allow 255.
pub(super) const NAME_BYTES_MAX: usize = 230;

/// What is encoded of a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Encode {
    /// What stands for something else in paths, as Hive has it, and what some file systems do not take.
    Special,
    /// Letters of ASCII, too.
    Letters,
    /// All that is no digit.
    All,
}

/// The name of a column as it is in paths.
pub(super) fn key_name(name: &str) -> String {
    let mut encoded = String::new();
    encode(name, Encode::Special, &mut encoded);
    // Readers leave out folders whose names begin like this.
    match encoded.strip_prefix(['.', '_']) {
        Some(rest) if encoded.starts_with('_') => format!("%5F{rest}"),
        Some(rest) => format!("%2E{rest}"),
        None => encoded,
    }
}

/// A name with a value as it is in paths.
fn segment(key: &str, value: Option<&str>, how: Encode) -> String {
    let mut segment = format!("{key}=");
    match value {
        None => segment.push_str(NULL),
        Some(value) => encode(value, how, &mut segment),
    }
    segment
}

fn encode(text: &str, how: Encode, encoded: &mut String) {
    let n_chars = text.chars().count();
    for (index, c) in text.chars().enumerate() {
        let is_plain = match c {
            '0'..='9' => true,
            'a'..='z' | 'A'..='Z' => how == Encode::Special,
            // Some systems drop these at the end of a name.
            ' ' | '.' => index + 1 < n_chars && how != Encode::All,
            '-' | '_' | '+' | ',' | ';' | '@' | '(' | ')' | '~' | '!' | '$' => how != Encode::All,
            c => !c.is_ascii() && how != Encode::All,
        };
        if is_plain {
            encoded.push(c);
            continue;
        }
        let mut bytes = [0; 4];
        for byte in c.encode_utf8(&mut bytes).bytes() {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
}

/// The folders of one table's partitions.
#[derive(Debug)]
pub(super) struct Folders {
    /// Hashes of the names that were given, by hashes of the same in lower case: some file systems do not
    /// tell `A` from `a`. `None`: the place does.
    given: Option<Mutex<HashMap<u64, u64>>>,
    hashes: RandomState,
}

impl Folders {
    pub(super) fn new(tells_case: bool) -> Self {
        Self { given: (!tells_case).then(Mutex::default), hashes: RandomState::new() }
    }

    /// The folder of these values; or which of them has a name that is too long.
    pub(super) fn of(&self, keys: &[String], values: &[Option<String>]) -> Result<String, usize> {
        let mut path = String::new();
        for (index, (key, value)) in keys.iter().zip(values).enumerate() {
            let mut found = None;
            for how in [Encode::Special, Encode::Letters, Encode::All] {
                let segment = segment(key, value.as_deref(), how);
                if segment.len() > NAME_BYTES_MAX {
                    return Err(index);
                }
                let whole = format!("{path}{segment}");
                if self.is_alone(&whole) {
                    found = Some(whole);
                    break;
                }
            }
            // With all encoded, names that are alike in lower case are the same.
            path = found.unwrap_or_else(|| format!("{path}{}", segment(key, value.as_deref(), Encode::All)));
            path.push('/');
        }
        path.pop();
        Ok(path)
    }

    /// Whether no other path is the same in lower case.
    fn is_alone(&self, path: &str) -> bool {
        let Some(given) = &self.given else { return true };
        let (folded, exact) = (self.hashes.hash_one(path.to_lowercase()), self.hashes.hash_one(path));
        // Each change is complete or was not begun, even after a panic.
        let mut given = given.lock().unwrap_or_else(PoisonError::into_inner);
        *given.entry(folded).or_insert(exact) == exact
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(folders: &Folders, value: Option<&str>) -> Result<String, usize> {
        folders.of(&[key_name("k")], &[value.map(str::to_owned)])
    }

    #[test]
    fn hostile_values_are_one_name() {
        let folders = Folders::new(false);
        for (value, expected) in [
            (None, "k=__HIVE_DEFAULT_PARTITION__"),
            (Some("eu"), "k=eu"),
            (Some("../x"), "k=..%2Fx"),
            (Some(".."), "k=.%2E"),
            (Some("a=b/c\\d"), "k=a%3Db%2Fc%5Cd"),
            (Some("a\nb\u{7f}"), "k=a%0Ab%7F"),
            (Some("100%"), "k=100%25"),
            (Some("é ü"), "k=é ü"),
            (Some("x "), "k=x%20"),
            (Some("a:b*?\"<>|"), "k=a%3Ab%2A%3F%22%3C%3E%7C"),
        ] {
            let found = folder(&folders, value).unwrap();
            assert_eq!(found, expected);
            assert!(!found.contains('/'));
        }
        assert_eq!(folder(&folders, Some(&"x".repeat(228))).unwrap().len(), NAME_BYTES_MAX);
        assert_eq!(folder(&folders, Some(&"x".repeat(229))), Err(0));
        assert_eq!(folder(&folders, Some(&"/".repeat(77))), Err(0));
        assert_eq!([key_name("_a/b"), key_name(".x"), key_name("A b")], ["%5Fa%2Fb", "%2Ex", "A b"]);
    }

    #[test]
    fn values_that_differ_in_case_have_folders_that_do_not() {
        let folders = Folders::new(false);
        let names = ["EU", "eu", "Eu", "É", "é", "EU"].map(|value| folder(&folders, Some(value)).unwrap());
        assert_eq!(names, ["k=EU", "k=%65%75", "k=%45%75", "k=É", "k=%C3%A9", "k=EU"]);
        let folders = Folders::new(true);
        let names = ["EU", "eu"].map(|value| folder(&folders, Some(value)).unwrap());
        assert_eq!(names, ["k=EU", "k=eu"]);
    }

    #[test]
    fn the_same_value_below_two_others_has_the_same_name() {
        let folders = Folders::new(false);
        let keys = [key_name("a"), key_name("b")];
        let of = |a: &str, b: &str| folders.of(&keys, &[Some(a.to_owned()), Some(b.to_owned())]).unwrap();
        assert_eq!([of("x", "y"), of("X", "y"), of("x", "y")], ["a=x/b=y", "a=%58/b=y", "a=x/b=y"]);
    }
}
