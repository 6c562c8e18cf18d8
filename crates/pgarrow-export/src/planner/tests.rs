//! Sizes to slices, and slices to rows of real servers.

mod on_servers;
mod sizes;
mod tokens;
