//! Makes a data folder: `initdb`, or a copy of an earlier one, then our settings, rules and files.

use std::fs::{self, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::account::Account;
use crate::error::{Doing, ServerError};
use crate::folder::unique_name;
use crate::installation::Installation;
use crate::options::ServerOptions;

/// Makes `folder/data`.
pub(crate) fn create(
    folder: &Path,
    account: Account,
    installation: &Installation,
    options: &ServerOptions,
) -> Result<(), ServerError> {
    match (&options.cluster_cache, &options.password) {
        (Some(cache), None) => copy_or_make(cache, folder, account, installation)?,
        _ => make(folder, account, installation, options.password.as_deref())?,
    }

    let data = folder.join("data");
    append(&data.join("postgresql.conf"), &options.conf())?;
    if !options.hba.is_empty() {
        let path = data.join("pg_hba.conf");
        let rules = fs::read_to_string(&path).doing(|| format!("read {}", path.display()))?;
        // Written in place, so it keeps its owner and mode.
        fs::write(&path, format!("{}{rules}", options.hba)).doing(|| format!("write {}", path.display()))?;
    }
    for (name, contents) in &options.files {
        write_private(&data.join(name), contents, account)?;
    }
    Ok(())
}

/// Makes `folder/data` as `initdb` does.
fn make(
    folder: &Path,
    account: Account,
    installation: &Installation,
    password: Option<&str>,
) -> Result<(), ServerError> {
    let pwfile = match password {
        Some(password) => {
            write_private(&folder.join("password"), password.as_bytes(), account)?;
            Some("password")
        }
        None => None,
    };
    // C.UTF-8 sorts like C and knows letters beyond ASCII. Not every system has it.
    let created = initdb(folder, account, installation, "C.UTF-8", pwfile).or_else(|_| {
        // If it fails, initdb removes what it made.
        initdb(folder, account, installation, "C", pwfile)
    });
    if pwfile.is_some() {
        let password = folder.join("password");
        fs::remove_file(&password).doing(|| format!("remove {}", password.display()))?;
    }
    created
}

/// Makes `folder/data` from the cluster in `cache`; the first time, keeps one there.
fn copy_or_make(
    cache: &Path,
    folder: &Path,
    account: Account,
    installation: &Installation,
) -> Result<(), ServerError> {
    let mut programs = DefaultHasher::new();
    (&installation.bin, account.uid()).hash(&mut programs);
    let name = format!("cluster-{}-{:016x}", installation.version.num(), programs.finish());
    let (data, kept) = (folder.join("data"), cache.join(name));
    if kept.is_dir() {
        return copy(&kept, &data);
    }
    make(folder, account, installation, None)?;
    // Other processes see only the rename, so they never find half a cluster. A cluster that cannot be kept
    // only costs time.
    let part = cache.join(unique_name("cluster"));
    if copy(&data, &part).is_err() || fs::rename(&part, &kept).is_err() {
        let _ = fs::remove_dir_all(&part);
    }
    Ok(())
}

/// Copies a folder with owners and modes.
fn copy(from: &Path, to: &Path) -> Result<(), ServerError> {
    let doing = || format!("copy {} to {}", from.display(), to.display());
    let output = Command::new("cp").arg("-a").args([from, to]).stdin(Stdio::null()).output().doing(doing)?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(reason)).doing(doing)
}

fn initdb(
    folder: &Path,
    account: Account,
    installation: &Installation,
    locale: &str,
    pwfile: Option<&str>,
) -> Result<(), ServerError> {
    let mut command = Command::new(installation.program("initdb"));
    command
        .args(["--pgdata=data", "--username=postgres", "--encoding=UTF8", "--no-sync", "--no-instructions"])
        .arg(format!("--locale={locale}"))
        // Logs that everyone, and every test, can read.
        .arg("--lc-messages=C")
        .args(match pwfile {
            Some(file) => vec!["--auth=scram-sha-256".to_owned(), format!("--pwfile={file}")],
            None => vec!["--auth=trust".to_owned()],
        });
    prepare(&mut command, folder, account);
    let output = command
        .stdin(Stdio::null())
        .output()
        .doing(|| format!("run initdb in {}", installation.bin.display()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(ServerError::Initdb { output: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
}

/// Runs a program of the server in its folder, as its user, and without our environment's settings.
pub(crate) fn prepare(command: &mut Command, folder: &Path, account: Account) {
    // The server's user may not be able to enter our own folder.
    command.current_dir(folder);
    for (name, _) in std::env::vars_os() {
        // PGDATA, PGPORT, PGOPTIONS … are for clients, and would silently change the server.
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C");
    account.run_as(command);
}

fn append(path: &Path, text: &str) -> Result<(), ServerError> {
    OpenOptions::new()
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .doing(|| format!("write {}", path.display()))
}

fn write_private(path: &Path, contents: &[u8], account: Account) -> Result<(), ServerError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(contents))
        .doing(|| format!("write {}", path.display()))?;
    account.own(path)
}
