//! strace's output: calls, and their places.

use std::collections::BTreeMap;

/// A call as strace writes it: `PID NAME(ARGUMENTS) = RESULT`.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) pid: u32,
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Call {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (pid, rest) = line.split_once(char::is_whitespace)?;
        let (name, text) = rest.trim_start().split_once('(')?;
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        is_name.then(|| Self { pid: pid.parse().unwrap_or(0), name: name.to_owned(), text: text.to_owned() })
    }

    /// The path of the first file descriptor.
    pub(crate) fn path(&self) -> &str {
        let first = self.text.split([',', ')']).next().unwrap_or_default();
        first.split_once('<').and_then(|(_, path)| path.strip_suffix('>')).unwrap_or_default()
    }
}

/// How often the main thread makes each call.
pub(crate) fn counts(calls: &[Call]) -> BTreeMap<&str, usize> {
    let main = calls.first().map_or(0, |call| call.pid);
    let mut counts = BTreeMap::new();
    for call in calls.iter().filter(|call| call.pid == main) {
        *counts.entry(call.name.as_str()).or_default() += 1;
    }
    counts
}

/// The call of this name of the main thread with this number, from 1.
pub(crate) fn nth<'a>(calls: &'a [Call], name: &str, k: usize) -> &'a Call {
    let main = calls[0].pid;
    calls.iter().filter(|call| call.pid == main && call.name == name).nth(k - 1).unwrap()
}
