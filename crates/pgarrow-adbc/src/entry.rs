//! The entry points of the shared library: `PgarrowDriverInit`, and `AdbcDriverInit` for driver managers that
//! are told no name. The macro of `adbc_ffi` writes C functions, which take pointers and are unsafe by
//! nature; all that they call is safe.

use crate::driver::PgarrowDriver;

adbc_ffi::export_driver!(PgarrowDriverInit, PgarrowDriver);
