//! The structure of types: domains, arrays, composites, ranges and enums, nested in any way, and types of
//! extensions.
//!
//! ```text
//!  TypeRef ──load──▶ pg_type rows, level by level ──resolve──▶ PgType, and a note if read as another type
//! ```
//!
//! A level costs one query, or two if it contains composite types, regardless of the number of types.

mod declared;
mod load;
mod resolve;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use pgarrow_protocol::Session;
use pgarrow_types::{DEPTH_MAX, DeclaredType, EnumType, PgType, ServerTypes};

use crate::error::CatalogError;

pub(crate) use load::dimensions;

/// A type as an attribute or a result column names it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct TypeRef {
    pub(crate) oid: u32,
    pub(crate) type_modifier: i32,
    /// `attndims`, `typndims`; 0 if nothing is declared.
    pub(crate) dimensions: u8,
}

/// Why a column is not read as its type.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TypeNote {
    /// It is read as the server's text, because this type, or one inside it, has no better form here. Named
    /// as `format_type` prints it.
    Text {
        /// The type that is the reason.
        because: String,
    },
    /// Its types are nested deeper than [`DEPTH_MAX`], so only its text can be read.
    TooDeep,
    /// It has more parts than [`PARTS_MAX`], so only its text can be read.
    TooManyParts,
}

impl fmt::Display for TypeNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { because } => write!(f, "nothing better is known of type {because}"),
            Self::TooDeep => write!(f, "its types stand in one another more than {DEPTH_MAX} deep"),
            Self::TooManyParts => write!(f, "it has more than {PARTS_MAX} parts"),
        }
    }
}

/// The most parts of a type. Each attribute, element and bound counts at every place where it occurs:
/// composites of composites double with every level, in a few lines of SQL.
pub const PARTS_MAX: usize = 65_536;

/// The most levels of types that are loaded. Domains count here, although [`DEPTH_MAX`] does not count them.
/// Each level costs a query, so a server that always has another level would never end.
const LEVELS_MAX: usize = 4 * DEPTH_MAX;

/// A resolved type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ResolvedType {
    pub(crate) pg_type: PgType,
    pub(crate) declared: DeclaredType,
    /// The declared type of an array's elements, even if the type is a domain over the array.
    pub(crate) element_oid: Option<u32>,
    /// The element type as `format_type` prints it.
    pub(crate) element_name: Option<String>,
    pub(crate) note: Option<TypeNote>,
}

/// The part of `pg_type` that decides how a value is read.
#[derive(Clone, Debug)]
struct TypeRow {
    /// As `format_type` prints it.
    name: String,
    /// The element type as `format_type` prints it; meaningless without elements.
    element_name: String,
    shape: Shape,
}

/// The structure of a type.
#[derive(Clone, Debug)]
enum Shape {
    Domain(TypeRef),
    /// Sent by `array_send`: the type of the elements.
    Array(u32),
    /// The relation with its attributes.
    Composite(u32),
    Enum,
    Range(u32),
    Multirange(u32),
    /// Its input, output, receive and send functions are those of a built-in text type.
    Text,
    /// The type and its four functions belong to this extension, and `symbol` is the send function's name in
    /// the library.
    OfExtension {
        extension: String,
        symbol: String,
    },
    /// The structure is unknown.
    Opaque,
}

/// An attribute of a composite type.
#[derive(Clone, Debug)]
struct AttributeRow {
    name: String,
    ty: TypeRef,
    type_name: String,
}

/// Everything about the types of some columns.
#[derive(Debug, Default)]
struct Types {
    rows: HashMap<u32, TypeRow>,
    /// By the composite's relation.
    attributes: HashMap<u32, Vec<AttributeRow>>,
    enums: HashMap<u32, Arc<EnumType>>,
    /// Element types with their own cast to text, which may differ from what the type prints.
    casts: HashSet<u32>,
    server: ServerTypes,
    /// The server converts this database's text for us. `hstore_send` counts bytes before the conversion, so
    /// its values cannot be located.
    is_converted: bool,
    /// `EPSG:4326`, by SRID.
    crs: HashMap<i32, String>,
}

/// Resolves every type. Only types that are not built in need queries.
pub(crate) fn resolve_types(
    session: &mut Session,
    types: &[TypeRef],
) -> Result<Vec<ResolvedType>, CatalogError> {
    let loaded = load::load(session, types)?;
    Ok(types.iter().map(|ty| loaded.resolve(*ty)).collect())
}
