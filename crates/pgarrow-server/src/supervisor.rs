//! The process between us and PostgreSQL, which outlives us only to clean up.
//!
//! A destructor does not run when a process is killed, and test harnesses exit without running those of
//! statics. So the server is the child of a small shell script that holds one end of a pipe of ours: however
//! we end, the system closes our end, and the script stops PostgreSQL and removes the folder.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::cluster;
use crate::error::{Doing, ServerError};
use crate::installation::Installation;

const SCRIPT: &str = include_str!("supervisor.sh");

/// How long a supervisor may take to clean up: it waits for PostgreSQL for 10 seconds.
const STOP_SECONDS: u64 = 20;

#[derive(Debug)]
pub(crate) struct Supervisor {
    child: Child,
}

impl Supervisor {
    /// Starts PostgreSQL on `port` with the data of `folder`. Does not wait until it is ready.
    pub(crate) fn start(
        folder: &Path,
        account: Account,
        installation: &Installation,
        port: u16,
    ) -> Result<Self, ServerError> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(SCRIPT).arg("pgarrow-supervisor").arg(folder);
        command.arg(installation.program("postgres")).arg("-D").arg(folder.join("data"));
        command.arg("-p").arg(port.to_string()).arg("-c").arg("listen_addresses=127.0.0.1");
        command.arg("-k").arg(folder);
        cluster::prepare(&mut command, folder, account);
        // A group of its own: Ctrl-C in the terminal reaches only us, and the pipe tells the supervisor.
        command.process_group(0);
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .doing(|| "run /bin/sh".to_owned())?;
        Ok(Self { child })
    }

    /// Whether PostgreSQL has ended and everything is cleaned up.
    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }

    /// Asks for the end. Does not wait for it.
    pub(crate) fn ask_to_stop(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits until PostgreSQL and the folder are gone, but not forever.
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(STOP_SECONDS);
        while !self.has_ended() {
            if Instant::now() > deadline {
                self.child.kill()?;
                self.child.wait()?;
                return Err(io::Error::new(io::ErrorKind::TimedOut, "PostgreSQL did not stop in time"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}
