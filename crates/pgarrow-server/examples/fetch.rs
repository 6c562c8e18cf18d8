//! Fetches the pinned PostgreSQL, if it was not fetched before, and prints the folder of its programs.

#![expect(clippy::print_stdout, reason = "the folder is what it is for")]

use pgarrow_server::{ServerError, fetch};

fn main() -> Result<(), ServerError> {
    println!("{}", fetch()?.bin.display());
    Ok(())
}
