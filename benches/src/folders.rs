//! Paths: the suite's sources, and a folder under `target` for what it makes. Also runs programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

/// `benches/`.
pub(crate) fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder for results: `target/bench`, beside the profile that this program was built in.
pub(crate) fn work() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.parent().and_then(Path::parent).ok_or("this program is in no target folder")?;
    let folder = target.join("bench");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A copy of a program that was built, to be run where its start matters, as an installation makes one. The
/// system maps a file that a linker has written piece by piece by smaller pieces: starts take 0.4 ms longer
/// with it, and exports of few rows 1 ms.
///
/// # Errors
///
/// It cannot be copied.
pub(crate) fn installed(program: &Path) -> Result<PathBuf> {
    let folder = work()?.join("installed");
    std::fs::create_dir_all(&folder)?;
    let name = program.file_name().ok_or("a program without a name")?;
    let copy = tempfile::NamedTempFile::new_in(&folder)?.into_temp_path();
    std::fs::copy(program, &copy).map_err(|error| format!("{}: {error}", program.display()))?;
    let installed = folder.join(name);
    // A program that runs cannot be written to, but replaced.
    copy.persist(&installed)?;
    Ok(installed)
}

/// Runs a program whose output the user sees.
///
/// # Errors
///
/// It cannot be run, or it fails.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| format!("{name}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{name} failed with {status}").into()) }
}

/// Runs a program and returns its output, without space at both ends.
///
/// # Errors
///
/// It cannot be run, or it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name} failed with {}: {}", output.status, stderr.trim()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
