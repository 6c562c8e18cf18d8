//! PostgreSQL types, what they become in Arrow, and the choices between the two: pure data.
//!
//! ```text
//!  pg_type row ──(pgarrow-catalog)──▶ PgType ──data_type()──▶ arrow DataType
//!  attribute   ──(pgarrow-catalog)──▶ PgColumn ──field()────▶ arrow Field, with its metadata
//! ```
//!
//! The mapping is the project's fidelity contract: a value reaches Arrow exactly, or the run stops.
//! Start at [`PgType`] and its row, [`TypeDescriptor`], then [`PgColumn`].

#![forbid(unsafe_code)]
// When a type is added, the compiler must report every place that decides about types.
#![deny(clippy::wildcard_enum_match_arm)]

mod choices;
mod column;
mod column_options;
mod declared;
mod descriptor;
mod hint;
mod message;
mod notes;
mod numeric;
pub mod oid;
mod opaque;
mod pg_type;
mod size;
mod stored;

pub use choices::{
    ArrayForm, ChoiceError, Decimal, EncodingPolicy, EnumForm, GeometryForm, InfinityPolicy, IntervalForm,
    LostDigitsPolicy, NanPolicy, NumericForm, OutOfRangePolicy, StringForm, TimestampUnit, TypeOptions,
    UnknownTypes,
};
pub use column::{PgColumn, schema};
pub use column_options::{ColumnForm, ColumnOptions};
pub use declared::DeclaredType;
pub use descriptor::{BuiltIn, Choice, Stored, TypeDescriptor, built_in_types};
pub use hint::{CallName, Hint, OptionName, call, option};
pub use message::Message;
pub use notes::{Note, NoteKind, arrow_type, notes};
pub use numeric::{DecimalForm, NumericType};
pub use opaque::{ColumnType, OpaqueColumns};
pub use pg_type::{
    ArrayType, Attribute, CompositeType, DEPTH_MAX, EnumType, GeometryType, PgType, RangeType, ServerTypes,
    Structure,
};
pub use size::parse_size;
pub use stored::{EnumLabels, HeapLayout, StoredAttribute, StoredForm};
