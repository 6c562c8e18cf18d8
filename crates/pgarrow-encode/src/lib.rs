//! Arrow arrays to the bytes that PostgreSQL's receive functions read: pure, no IO.
//!
//! ```text
//!  Field + EncodeTarget ──make_encoder()──▶ Encoder ──bind(array)──▶ Bound ──write(row)──▶ length and bytes
//!                                        └────── RowEncoder: all columns ─bind(batch)─▶ rows of binary COPY
//! ```
//!
//! The mirror image of `pgarrow-column` and `pgarrow-decode`: one file per conversion in `encoder/`, and
//! [`make_encoder`] is the one place that chooses. The written bytes depend on the *target's* types: a
//! receive function reads any bytes as its own type, so the eight bytes of an integer are a valid numeric
//! with another value. A value that the target cannot hold is refused when the load is planned, or is an
//! error that names row and column.
//!
//! Source of the forms: the `*_recv` functions in PostgreSQL's `src/backend/utils/adt/`, and
//! <https://www.postgresql.org/docs/current/sql-copy.html> for the rows.

#![forbid(unsafe_code)]

mod access;
mod encode_target;
mod encoder;
mod error;
mod row;
mod write;

pub use encode_target::{Conversions, EncodeTarget, TypeTarget};
pub use encoder::{Bound, Encoder, Values, make_encoder};
pub use error::{EncodeError, Refusal, RefusalKind, ValueError};
pub use row::{BoundBatch, HEADER, RowEncoder, TRAILER};
