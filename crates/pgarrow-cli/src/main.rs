//! The `pgarrow` program.

use std::process::ExitCode;

/// Batches are large buffers that come and go; the system's allocator returns each to the kernel and gets it
/// back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pgarrow_cli::main()
}
