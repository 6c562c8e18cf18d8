//! The user that PostgreSQL runs as: ours, or an unprivileged one if we are root.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::error::{Doing, ServerError};

/// The user that owns a server's folder and processes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Account {
    /// The user of this process.
    Own,
    /// We are root; the server runs as this user.
    Dropped { uid: u32, gid: u32 },
}

impl Account {
    /// Chooses the user for a server. `own_uid` is the effective user of this process.
    pub(crate) fn choose(own_uid: u32) -> Result<Self, ServerError> {
        if own_uid != 0 {
            return Ok(Self::Own);
        }
        let passwd = fs::read_to_string("/etc/passwd").doing(|| "read /etc/passwd".to_owned())?;
        Self::unprivileged(&passwd).ok_or(ServerError::Account)
    }

    /// `postgres` if there is one, else `nobody`.
    fn unprivileged(passwd: &str) -> Option<Self> {
        ["postgres", "nobody"].iter().find_map(|name| {
            passwd.lines().find_map(|line| {
                let mut fields = line.split(':');
                if fields.next() != Some(name) {
                    return None;
                }
                let uid = fields.nth(1)?.parse().ok()?;
                let gid = fields.next()?.parse().ok()?;
                (uid != 0).then_some(Self::Dropped { uid, gid })
            })
        })
    }

    /// The user's number. `None` means our own user.
    pub(crate) fn uid(self) -> Option<u32> {
        match self {
            Self::Own => None,
            Self::Dropped { uid, .. } => Some(uid),
        }
    }

    /// Makes `command` run as this user.
    pub(crate) fn run_as(self, command: &mut Command) {
        if let Self::Dropped { uid, gid } = self {
            // The standard library also drops root's supplementary groups here.
            command.uid(uid).gid(gid);
        }
    }

    /// Gives a file or folder to this user.
    pub(crate) fn own(self, path: &Path) -> Result<(), ServerError> {
        match self {
            Self::Own => Ok(()),
            Self::Dropped { uid, gid } => {
                chown(path, Some(uid), Some(gid)).doing(|| format!("change the owner of {}", path.display()))
            }
        }
    }
}

/// The effective user of this process: the owner of what it creates.
pub(crate) fn own_uid(of_folder: &Path) -> Result<u32, ServerError> {
    let metadata = fs::metadata(of_folder).doing(|| format!("look at {}", of_folder.display()))?;
    Ok(metadata.uid())
}

/// Whether any user may pass through every folder of `path` that exists.
pub(crate) fn is_open_to_all(path: &Path) -> bool {
    path.ancestors()
        .filter_map(|folder| fs::metadata(folder).ok())
        .all(|metadata| metadata.permissions().mode() & 0o001 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_is_preferred_to_nobody() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533:n:/:/bin/false\npostgres:x:101:104:p:/:/bin/sh\n";
        assert_eq!(Account::unprivileged(passwd), Some(Account::Dropped { uid: 101, gid: 104 }));
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533:n:/:/bin/false\n";
        assert_eq!(Account::unprivileged(passwd), Some(Account::Dropped { uid: 65534, gid: 65533 }));
    }

    #[test]
    fn no_unprivileged_user_at_all() {
        assert_eq!(Account::unprivileged("root:x:0:0:root:/root:/bin/sh\n"), None);
        assert_eq!(Account::unprivileged("postgres:x:0:0:another root:/:/bin/sh\n"), None);
        assert_eq!(Account::unprivileged("postgres:x:not-a-number"), None);
    }
}
