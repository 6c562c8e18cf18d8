//! pgarrow as a module of Python: what the package `pgarrow_engine` is built on. Its public face is written
//! in Python, in `python/pgarrow_engine`.
//!
//! ```text
//!  source  a server: reads, exports, plans ──┐
//!  loading  batches and files into tables    ├─ task   blocking work in a thread of its own
//!  held  a snapshot, and its tokens          │   └─ wait   how a thread of Python waits for it
//!  transaction  a session of the caller    ──┘        └─ signals, wake   Ctrl-C; asyncio
//!  stream  batches, by the C stream interface
//!  process, inside  forks, and the end of the interpreter
//!  errors, words  exceptions, whose texts name arguments
//! ```
//!
//! Three rules. No thread of ours enters the interpreter: what Python has to know, it asks for, while it
//! waits. Every wait looks for signals ten times a second. Nothing that was made in one process is used, or
//! ended, in a fork of it.

mod errors;
mod held;
mod inside;
mod loading;
mod memory;
mod process;
mod signals;
mod source;
mod stream;
mod task;
mod transaction;
mod wait;
mod wake;
mod words;

use pyo3::prelude::*;

// ADBC's entry points are exported from this library, too.
use pgarrow_adbc as _;

/// Batches are large buffers that come and go; the system's allocator returns each to the kernel and gets it
/// back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the package's Python code calls.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    words::install();
    signals::remember_main_thread(module.py())?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<memory::Memory>()?;
    module.add_class::<source::Source>()?;
    module.add_class::<stream::Stream>()?;
    module.add_class::<held::Held>()?;
    module.add_class::<transaction::Transaction>()?;
    module.add_class::<wake::Wake>()?;
    module.add_class::<source::Opening>()?;
    module.add_function(wrap_pyfunction!(loading::load_batches, module)?)?;
    module.add_function(wrap_pyfunction!(loading::load_files, module)?)?;
    module.add_function(wrap_pyfunction!(source::run_job, module)?)?;
    module.add_function(wrap_pyfunction!(source::verify, module)?)?;
    module.add_function(wrap_pyfunction!(source::options_of, module)?)?;
    module.add_function(wrap_pyfunction!(process::leave, module)?)?;
    module.add_function(wrap_pyfunction!(process::forked, module)?)?;
    Ok(())
}
