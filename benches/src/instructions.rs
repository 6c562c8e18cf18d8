//! Instructions a row: other work of the machine does not change them.
//!
//! They are counted by the processor where it lets us (`perf stat -e instructions:u`), which virtual machines
//! often do not, and else by valgrind, whose processor is an older one. What is counted is work of two sizes,
//! each in a process of its own; the difference contains no start-up.

use std::path::PathBuf;
use std::process::Command;

use crate::Result;
use crate::decode::{Capture, decode_once};

/// The stream, and how often to decode it.
#[derive(Debug, clap::Args)]
pub(crate) struct StreamFlags {
    capture: PathBuf,
    times: u32,
}

/// Decodes a captured stream, and nothing else.
pub(crate) fn decode_stream(flags: &StreamFlags) -> Result<()> {
    let capture = Capture::load(&flags.capture)?;
    for _ in 0..flags.times {
        decode_once(&capture)?;
    }
    Ok(())
}

/// What counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Counter {
    Perf,
    Valgrind,
}

impl Counter {
    /// The processor's own if it can be asked, else valgrind.
    ///
    /// # Errors
    ///
    /// There is neither.
    pub(crate) fn find() -> Result<Self> {
        if Self::Perf.count(&Command::new("true")).is_ok() {
            return Ok(Self::Perf);
        }
        match Command::new("valgrind").arg("--version").output() {
            Ok(_) => Ok(Self::Valgrind),
            Err(_) => {
                Err("instructions can be counted neither by perf (this machine has no counters for it, or \
                           perf is not installed) nor by valgrind (which is not installed)"
                    .into())
            }
        }
    }

    /// A sentence about who counts.
    pub(crate) fn remark(self) -> &'static str {
        match self {
            Self::Perf => "Instructions of the user's code are counted by the processor (perf stat).",
            Self::Valgrind => {
                "The processor's counters cannot be read here (perf stat -e instructions:u), so instructions \
                 are those that valgrind counts, of all threads, without the kernel's."
            }
        }
    }

    /// The instructions of a program, from its start to its end.
    ///
    /// # Errors
    ///
    /// It fails, or they were not counted.
    pub(crate) fn count(self, command: &Command) -> Result<f64> {
        let mut counting = match self {
            Self::Perf => Command::new("perf"),
            Self::Valgrind => Command::new("valgrind"),
        };
        match self {
            Self::Perf => counting.args(["stat", "-x,", "-e", "instructions:u", "--"]),
            Self::Valgrind => counting.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]),
        };
        let output = counting.arg(command.get_program()).args(command.get_args()).output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        let count = match self {
            Self::Perf => of_perf(&text),
            Self::Valgrind => of_callgrind(&text),
        };
        match count {
            Some(count) if output.status.success() => Ok(count),
            _ => Err(format!("instructions were not counted, {}: {}", output.status, text.trim()).into()),
        }
    }
}

/// `COUNT,,instructions:u,…`, where the count may be `<not supported>`.
fn of_perf(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains(",instructions:u"))?;
    line.split(',').next()?.parse().ok()
}

/// `==PID== Collected : COUNT`.
fn of_callgrind(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.split("Collected :").nth(1))?.trim().parse().ok()
}

/// Instructions a row of decoding, as valgrind counts them.
pub(crate) fn count(capture: &Capture) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("capture");
    capture.save(&path)?;
    let instructions = |times: u32| -> Result<f64> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("decode-stream").arg(&path).arg(times.to_string());
        Counter::Valgrind.count(&command)
    };
    Ok((instructions(4)? - instructions(2)?) / (2.0 * capture.rows as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_perf_says() {
        assert_eq!(of_perf("1234567,,instructions:u,1000,100.00,,\n"), Some(1_234_567.0));
        assert_eq!(of_perf("<not supported>,,instructions:u,0,100.00,,\n"), None);
        assert_eq!(of_perf(""), None);
    }

    #[test]
    fn what_callgrind_says() {
        assert_eq!(of_callgrind("==1== Events    : Ir\n==1== Collected : 71120556\n"), Some(71_120_556.0));
        assert_eq!(of_callgrind("valgrind: no such program"), None);
    }
}
