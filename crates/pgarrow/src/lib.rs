//! The embedded library: PostgreSQL in, a stream of record batches out.
