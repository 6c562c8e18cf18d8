//! PostgreSQL's wire protocol, as much of it as COPY needs.
mod skeleton;
pub use skeleton::*;
