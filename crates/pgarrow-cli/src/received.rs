//! A signal, and who sent it.

use std::fmt;
use std::fs;

use pgarrow::escape_control;
use signal_hook::low_level::siginfo::{Cause, Origin};
use signal_hook::low_level::signal_name;

/// A received signal, with what the system says about its sender.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Received {
    pub(crate) number: i32,
    from: From,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum From {
    /// A process, by `kill` and its relatives.
    Process {
        pid: i32,
        uid: u32,
        /// The process's name, if the process still ran when the signal arrived.
        name: Option<String>,
    },
    /// The kernel, for a terminal's keys, or a terminal that goes away.
    Kernel,
    Unknown,
}

impl Received {
    /// Call this at once: the process that sent the signal may soon be gone.
    pub(crate) fn new(origin: &Origin) -> Self {
        let from = match (&origin.process, origin.cause) {
            (Some(process), _) => {
                let name = fs::read_to_string(format!("/proc/{}/comm", process.pid)).ok();
                let name = name.map(|name| name.trim_end().to_owned());
                From::Process { pid: process.pid, uid: process.uid, name }
            }
            (None, Cause::Kernel) => From::Kernel,
            (None, _) => From::Unknown,
        };
        Self { number: origin.signal, from }
    }

    /// A signal without a known sender.
    #[cfg(test)]
    pub(crate) fn unknown(number: i32) -> Self {
        Self { number, from: From::Unknown }
    }
}

impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match signal_name(self.number) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "signal {}", self.number)?,
        }
        match &self.from {
            // The process is in another namespace, for example outside a container.
            From::Process { pid: 0, uid, .. } => {
                write!(f, " from a process that is not seen from here, of user {uid}")
            }
            From::Process { pid, uid, name: Some(name) } => {
                write!(f, " from process {pid} ({}) of user {uid}", escape_control(name))
            }
            From::Process { pid, uid, name: None } => write!(f, " from process {pid} of user {uid}"),
            From::Kernel => f.write_str(" from the terminal"),
            From::Unknown => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_sent_it() {
        let says = |from| Received { number: 2, from }.to_string();
        let process = |pid, name: Option<&str>| From::Process { pid, uid: 7, name: name.map(str::to_owned) };
        assert_eq!(says(process(42, Some("timeout"))), "SIGINT from process 42 (timeout) of user 7");
        assert_eq!(says(process(42, Some("\u{1b}[2J"))), "SIGINT from process 42 (\\u{1b}[2J) of user 7");
        assert_eq!(says(process(42, None)), "SIGINT from process 42 of user 7");
        assert_eq!(says(process(0, None)), "SIGINT from a process that is not seen from here, of user 7");
        assert_eq!(says(From::Kernel), "SIGINT from the terminal");
        assert_eq!(says(From::Unknown), "SIGINT");
    }
}
