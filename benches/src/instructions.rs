//! Instructions a row, counted by valgrind: other work of the machine does not change them.
//!
//! The same stream is decoded twice and four times, each in a process of its own; the difference contains no
//! start-up.

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

/// Instructions a row.
pub(crate) fn count(capture: &Capture) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("capture");
    capture.save(&path)?;
    let instructions = |times: u32| -> Result<f64> {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(std::env::current_exe()?)
            .arg("decode-stream")
            .arg(&path)
            .arg(times.to_string())
            .output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        let count = text.lines().find_map(|line| line.split("Collected :").nth(1));
        let count = count.and_then(|count| count.trim().parse().ok());
        count.ok_or_else(|| format!("valgrind did not count: {text}").into())
    };
    Ok((instructions(4)? - instructions(2)?) / (2.0 * capture.rows as f64))
}
