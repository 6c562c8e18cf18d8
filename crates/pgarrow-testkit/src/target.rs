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

/// `target` of `target/debug/deps/some_test-0123`, also with a profile or a platform in between.
fn target_of(exe: &Path) -> Option<PathBuf> {
    exe.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file()).map(Path::to_owned)
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
}
