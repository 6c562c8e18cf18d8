//! The `pgarrow` command.
fn main() {}
