//! The catalog against servers that say anything, and what it says of tables that are written to.

mod fuzz;
mod target;
