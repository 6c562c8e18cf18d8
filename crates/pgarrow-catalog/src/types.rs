//! What types are made of: domains, arrays, composites, ranges and enums, in any nesting, and types of extensions.
//!
//! ```text
//!  TypeRef ──load──▶ pg_type rows, level by level ──resolve──▶ PgType, and a note if it is not read as what it is
//! ```
//!
//! A level costs one query, or two if there are composite types in it, however many types there are.

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
    /// `attndims`, `typndims`; 0 where nothing is declared.
    pub(crate) dimensions: u8,
}

/// Why a column is not read as its type.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TypeNote {
    /// It is read as the server's text, since nothing better is known of this type: its own, or one inside of it. As
    /// `format_type` prints it.
    Text {
        /// The type that made it so.
        because: String,
    },
    /// Types stand in one another deeper than [`DEPTH_MAX`], so only its text can be read.
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

/// Parts of a type at most, each attribute, element and bound counted wherever it stands: composites of composites
/// double with every level, in few lines of SQL.
pub const PARTS_MAX: usize = 65_536;

/// How deep types are looked at, domains counted too, which [`DEPTH_MAX`] does not. A level costs a query, so that a
/// server that always has one more would never be done with.
const LEVELS_MAX: usize = 4 * DEPTH_MAX;

/// A type, resolved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ResolvedType {
    pub(crate) pg_type: PgType,
    pub(crate) declared: DeclaredType,
    /// The declared type of an array's elements, wherever it stands on domains.
    pub(crate) element_oid: Option<u32>,
    /// The same as `format_type` prints it.
    pub(crate) element_name: Option<String>,
    pub(crate) note: Option<TypeNote>,
}

/// `pg_type`, as much of it as decides how a value is read.
#[derive(Clone, Debug)]
struct TypeRow {
    /// As `format_type` prints it.
    name: String,
    /// The type of its elements, as `format_type` prints it; of no use where it has none.
    element_name: String,
    shape: Shape,
}

/// What a type is made of.
#[derive(Clone, Debug)]
enum Shape {
    Domain(TypeRef),
    /// `array_send`: its elements' type.
    Array(u32),
    /// The relation that has its attributes.
    Composite(u32),
    Enum,
    Range(u32),
    Multirange(u32),
    /// Its input, output, receive and send functions are those of a built-in type that is text.
    Text,
    /// Its four functions are of this extension, as it is itself, and its send function is named like this in the library.
    OfExtension {
        extension: String,
        symbol: String,
    },
    /// Nothing that can be known.
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
    /// By relation.
    attributes: HashMap<u32, Vec<AttributeRow>>,
    enums: HashMap<u32, Arc<EnumType>>,
    /// Types of elements with a cast to text of their own, which need not be what the type prints.
    casts: HashSet<u32>,
    server: ServerTypes,
    /// Text of this database is converted on its way to us. `hstore_send` counts bytes before that, so nobody could
    /// find its values.
    is_converted: bool,
    /// `EPSG:4326`, by SRID.
    crs: HashMap<i32, String>,
}

/// Resolves every type, asking the server only about those that are not built in.
pub(crate) fn resolve_types(
    session: &mut Session,
    types: &[TypeRef],
) -> Result<Vec<ResolvedType>, CatalogError> {
    let loaded = load::load(session, types)?;
    Ok(types.iter().map(|ty| loaded.resolve(*ty)).collect())
}
