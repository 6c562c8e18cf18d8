//! PostgreSQL types, what they become in Arrow, and the choices between the two: pure data.
//!
//! ```text
//!  pg_type row ──(pgarrow-catalog)──▶ PgType ──data_type()──▶ arrow DataType
//!  attribute   ──(pgarrow-catalog)──▶ PgColumn ──field()────▶ arrow Field, with its metadata
//! ```
//!
//! The mapping is the project's fidelity contract: a value reaches Arrow exactly, or the run stops.
//! Start at [`PgType`], then [`PgColumn`].

#![forbid(unsafe_code)]

mod column;
mod numeric;
pub mod oid;
mod pg_type;

pub use column::{PgColumn, schema};
pub use numeric::{DecimalForm, NumericType};
pub use pg_type::{EnumType, IntervalForm, PgType, TypeOptions};
