//! The command as it was at a git revision: checked out, built and kept under the target folder. Or a program
//! that is there.

use std::path::PathBuf;
use std::process::Command;

use crate::{Result, folders};

/// A revision whose command is built.
#[derive(Clone, Debug)]
pub(crate) struct Revision {
    /// The name that the user gave.
    pub(crate) name: String,
    /// The commit's hash, shortened.
    pub(crate) hash: String,
    pub(crate) program: PathBuf,
}

impl Revision {
    /// Builds the command, unless it was built before. A name with a slash that is a file is a program, not
    /// a branch.
    pub(crate) fn build(name: &str) -> Result<Self> {
        if name.contains('/') && std::path::Path::new(name).is_file() {
            return Ok(Self { name: name.to_owned(), hash: "a program".to_owned(), program: name.into() });
        }
        let hash =
            folders::output(git().args(["rev-parse", "--short=12", "--verify", "--end-of-options"]).arg(
                // The commit's hash: not a tag's own hash, and never a file's.
                format!("{name}^{{commit}}"),
            ))?;
        let folder = folders::work()?.join("compare");
        let program = folder.join(&hash).join("pgarrow");
        if !program.exists() {
            println!("building {name} ({hash}) …");
            let worktree = folder.join(&hash).join("source");
            if worktree.exists() {
                remove(&worktree)?;
            }
            std::fs::create_dir_all(folder.join(&hash))?;
            folders::output(
                git().args(["worktree", "add", "--force", "--detach"]).arg(&worktree).arg(&hash),
            )?;
            let target = folder.join("build");
            let mut cargo = Command::new("cargo");
            cargo.args(["build", "--quiet", "--release", "--locked", "-p", "pgarrow-cli", "--target-dir"]);
            let built = folders::succeed(cargo.arg(&target).current_dir(&worktree));
            remove(&worktree)?;
            built?;
            std::fs::copy(target.join("release/pgarrow"), &program)?;
        }
        Ok(Self { name: name.to_owned(), hash, program })
    }
}

fn remove(worktree: &std::path::Path) -> Result<()> {
    folders::output(git().args(["worktree", "remove", "--force"]).arg(worktree))?;
    Ok(())
}

fn git() -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(folders::source());
    git
}
