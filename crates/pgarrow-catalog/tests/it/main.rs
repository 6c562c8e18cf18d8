//! Tests of the catalog queries: against servers with arbitrary answers, and for tables that are written to.

mod fuzz;
mod target;
