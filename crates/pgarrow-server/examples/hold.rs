//! Starts a server, prints where it is, and waits until standard input ends or this process is killed.

use std::io::{self, Read, Write};

use pgarrow_server::{Server, ServerError, ServerOptions};

fn main() -> Result<(), ServerError> {
    let server = Server::start(ServerOptions::new())?;
    let pid = server.postmaster_pid().unwrap_or_default();
    let said = writeln!(io::stdout(), "{}\n{pid}\n{}", server.data_dir().display(), server.url());
    // If nothing reads our output, the program that started us is gone.
    if said.and_then(|()| io::stdout().flush()).is_ok() {
        let _ = io::stdin().read(&mut [0]);
    }
    server.stop()
}
