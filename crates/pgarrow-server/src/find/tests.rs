//! Searches in folders made for the test, with programs that are shell scripts.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::folder::unique_name;

struct Sandbox(PathBuf);

impl Sandbox {
    fn new() -> Self {
        let path = env::temp_dir().join(unique_name("pgarrow-find"));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Makes a folder that looks like an installation of `version`.
    fn installation(&self, folder: &str, version: &str) -> PathBuf {
        let bin = self.0.join(folder);
        fs::create_dir_all(&bin).unwrap();
        script(&bin.join("postgres"), &format!("echo 'postgres (PostgreSQL) {version}'"));
        script(&bin.join("initdb"), "exit 1");
        bin
    }

    /// Places without any PostgreSQL.
    fn places(&self) -> Places {
        Places {
            explicit: None,
            debian: self.0.join("debian"),
            path: self.0.join("path").into_os_string(),
            caches: vec![],
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn script(path: &Path, body: &str) {
    // Written elsewhere and renamed: a file cannot be run while a child that another thread just forks still
    // has it open for writing.
    let draft = path.with_extension("draft");
    fs::write(&draft, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
    let copied = Command::new("cp").arg("-p").arg(&draft).arg(path).status().unwrap();
    assert!(copied.success());
}

#[test]
fn an_explicit_folder_that_is_wrong_is_an_error_even_when_others_are_right() {
    let sandbox = Sandbox::new();
    sandbox.installation("debian/15/bin", "15.1");
    let wrong = sandbox.0.join("nowhere");
    let places = Places { explicit: Some(wrong.clone().into_os_string()), ..sandbox.places() };
    match places.find() {
        Err(ServerError::Installation { bin, .. }) => assert_eq!(bin, wrong),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_explicit_folder_comes_first() {
    let sandbox = Sandbox::new();
    sandbox.installation("debian/17/bin", "17.1");
    let bin = sandbox.installation("mine", "15.1");
    let found = Places { explicit: Some(bin.into_os_string()), ..sandbox.places() }.find().unwrap().unwrap();
    assert_eq!((found.origin, found.version.num()), (Origin::Environment, 150_001));
}

#[test]
fn the_highest_of_debians_versions_that_can_be_started() {
    let sandbox = Sandbox::new();
    sandbox.installation("debian/9.6/bin", "9.6.24");
    sandbox.installation("debian/15/bin", "15.1");
    sandbox.installation("debian/17/bin", "17.1");
    let client_only = sandbox.installation("debian/18/bin", "18.1");
    fs::remove_file(client_only.join("initdb")).unwrap();
    let found = sandbox.places().find().unwrap().unwrap();
    assert_eq!((found.origin, found.version.major()), (Origin::Debian, 17));
}

#[test]
fn pg_config_knows_the_folder() {
    let sandbox = Sandbox::new();
    let bin = sandbox.installation("opt/pg", "16.2");
    fs::create_dir(sandbox.0.join("path")).unwrap();
    script(&sandbox.0.join("path/pg_config"), &format!("echo '{}'", bin.display()));
    let found = sandbox.places().find().unwrap().unwrap();
    assert_eq!((found.origin, found.bin), (Origin::PgConfig, bin));
}

#[test]
fn a_link_on_the_path_leads_to_the_folder_with_initdb() {
    let sandbox = Sandbox::new();
    let bin = sandbox.installation("opt/pg", "16.2");
    fs::create_dir(sandbox.0.join("path")).unwrap();
    std::os::unix::fs::symlink(bin.join("postgres"), sandbox.0.join("path/postgres")).unwrap();
    let found = sandbox.places().find().unwrap().unwrap();
    assert_eq!((found.origin, found.bin), (Origin::Path, fs::canonicalize(bin).unwrap()));
}

#[test]
fn nothing_anywhere() {
    assert!(Sandbox::new().places().find().unwrap().is_none());
}
