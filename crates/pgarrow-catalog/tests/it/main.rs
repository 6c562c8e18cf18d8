//! Tests of the catalog queries: asked one by one and in one go, against servers with arbitrary answers, and
//! for tables that are written to.

mod ahead;
mod fuzz;
mod queries;
mod target;
