//! Arrow arrays to what PostgreSQL's receive functions take: pure, no IO.
//!
//! ```text
//!  Field + EncodeTarget ──make_encoder()──▶ Encoder ──bind(array)──▶ Bound ──write(row)──▶ length and bytes of one value
//!                                        └────── RowEncoder: all columns ──bind(batch)──▶ rows of COPY … (FORMAT binary)
//! ```
//!
//! The mirror image of `pgarrow-column` and `pgarrow-decode`: one file per conversion in `encoder/`, and
//! [`make_encoder`] is the one place that chooses. What is written depends on the *target's* types: a receive function
//! takes whatever it gets for its own type's bytes, so that eight bytes of an integer are a valid numeric of another value.
//! What a target cannot hold is refused when the load is planned, or is an error that names row and column.
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
