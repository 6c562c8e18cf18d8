//! Where tests may keep files between runs: cargo's own `target/tmp`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The `tmp` folder of the target directory that this test binary was built into. Created when it is missing.
pub fn target_tmp() -> PathBuf {
    let exe = env::current_exe().expect("the test binary has a path");
    let tmp = target_of(&exe).unwrap_or_else(env::temp_dir).join("tmp");
    fs::create_dir_all(&tmp).expect("target/tmp can be created");
    tmp
}

/// Files that cargo writes into a target directory: the first if it is missing, the second only into
/// directories that cargo has made itself.
const MARKS: [&str; 2] = [".rustc_info.json", "CACHEDIR.TAG"];

/// `target` of `target/debug/deps/some_test-0123`, also with a profile or a platform in between.
fn target_of(exe: &Path) -> Option<PathBuf> {
    let is_target = |folder: &Path| MARKS.iter().any(|mark| folder.join(mark).is_file());
    exe.ancestors().find(|folder| is_target(folder)).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_there() {
        let tmp = target_tmp();
        assert!(tmp.is_dir());
        assert!(tmp.ends_with("tmp"));
    }

    /// Before, if something else had made the target directory before cargo, tests kept their files in the
    /// temporary folder, and target/tmp had none.
    #[test]
    fn a_target_directory_that_cargo_did_not_make_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let exe = folder.path().join("some-target/debug/deps/some_test-0123");
        for mark in MARKS {
            let target = folder.path().join("some-target");
            fs::create_dir_all(&target).unwrap();
            fs::write(target.join(mark), "").unwrap();
            assert_eq!(target_of(&exe), Some(target.clone()), "{mark}");
            fs::remove_dir_all(target).unwrap();
        }
    }
}
