//! A slice as a token: a part of an export that any process can read on its own.
//!
//! ```text
//!  plan ──▶ Slice ──to_json──▶ another process, another machine ──from_json──▶ Slice ──▶ its rows
//! ```
//!
//! A token says what to read and under which snapshot, but gives no access: it holds no password. It does
//! hold the filter or the query and, for ranges of a key, values of that key.

pub(crate) mod check;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use pgarrow_catalog::{Relation, RelationKind};
use pgarrow_session::{Error, ErrorKind, Result};
use pgarrow_sink::hexadecimal;
use pgarrow_types::{NumericType, PgColumn, PgType, Structure};

use crate::options::ReadMode;
use crate::under::{SharedSnapshot, SliceSnapshot, SliceSource};

/// Bytes of a token at most. Queries may be long.
const TOKEN_BYTES_MAX: usize = 16 * 1024 * 1024;
/// One slice of an export, as another process can read it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// The version of this form: 2.
    pub version: u32,
    /// Where it was planned.
    pub source: SliceSource,
    /// The snapshot it belongs to; `None` if every slice has its own.
    pub snapshot: Option<SliceSnapshot>,
    /// What is read.
    pub subject: SliceSubject,
    /// The OIDs of all relations that its statement may open, if the subject does not name them: for a query,
    /// a view and a filter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub opens: Vec<u32>,
    /// The columns, by name, in the order of the result.
    pub columns: Vec<String>,
    /// A condition for the rows of a table, in SQL, its values already bound.
    pub filter: Option<String>,
    /// Which part of the subject.
    pub range: SliceRange,
    /// How to ask the server for rows.
    pub read_mode: ReadMode,
    /// A hash of the columns when this was planned: names, types, nullability.
    pub schema_fingerprint: String,
    /// Bytes on the server's disk, about.
    pub estimated_bytes: u64,
    /// Rows, about, if that is known.
    pub estimated_rows: Option<u64>,
    /// Which slice of the plan this is, from 0.
    pub index: u32,
    /// How many slices the plan has.
    pub of: u32,
}

/// What a slice is a part of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SliceSubject {
    /// A table, view or the like.
    Relations {
        /// The relation that the user asked for. A filter uses its name.
        table: SliceRelation,
        /// What is read for it.
        reads: Vec<SliceRead>,
    },
    /// A free query, its values already bound.
    Query(String),
}

/// A relation.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SliceRelation {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Its schema's name.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: SliceRelationKind,
}

/// A relation that is read, with or without its children.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SliceRead {
    /// Which one.
    pub relation: SliceRelation,
    /// Its own rows only, not those of its children.
    pub only: bool,
}

/// What a relation is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SliceRelationKind {
    /// An ordinary table.
    Table,
    /// A partitioned table.
    PartitionedTable,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// A foreign table.
    ForeignTable,
}

/// Which part of its subject a slice reads.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SliceRange {
    /// All of it.
    #[default]
    Whole,
    /// Pages of one heap.
    Pages {
        /// The first page.
        from: u64,
        /// The page after the last one; `None`: to the end, wherever that is.
        to: Option<u64>,
    },
    /// Values of one column.
    Key {
        /// The column: of the relation, or of the query's result.
        column: String,
        /// Its type.
        pg_type: KeyType,
        /// The first value; `None`: from the lowest. With neither `from` nor `to`, only NULL keys are read.
        from: Option<String>,
        /// The value after the last one; `None`: to the highest.
        to: Option<String>,
        /// Rows whose key is NULL belong to this slice.
        nulls: bool,
    },
}

/// A type whose values can be cut into ranges.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyType {
    /// smallint.
    Int2,
    /// integer.
    Int4,
    /// bigint.
    Int8,
    /// date.
    Date,
    /// timestamp without time zone.
    Timestamp,
    /// timestamp with time zone.
    Timestamptz,
    /// uuid.
    Uuid,
    /// text and varchar, in the column's collation.
    Text,
}

impl KeyType {
    /// The type of a column, if it can be cut into ranges.
    #[deny(clippy::wildcard_enum_match_arm)]
    pub fn of(column: &PgColumn) -> Option<Self> {
        match column.pg_type {
            PgType::Int2 => Some(Self::Int2),
            PgType::Int4 => Some(Self::Int4),
            PgType::Int8 => Some(Self::Int8),
            PgType::Date => Some(Self::Date),
            PgType::Timestamp => Some(Self::Timestamp),
            PgType::Timestamptz => Some(Self::Timestamptz),
            PgType::Uuid => Some(Self::Uuid),
            // char(n), name and citext compare in ways of their own.
            PgType::Text
                if matches!(column.type_oid, pgarrow_types::oid::TEXT | pgarrow_types::oid::VARCHAR) =>
            {
                Some(Self::Text)
            }
            PgType::Bool
            | PgType::Oid
            | PgType::Xid8
            | PgType::PgLsn
            | PgType::Float4
            | PgType::Float8
            | PgType::Numeric(_)
            | PgType::Money { .. }
            | PgType::Text
            | PgType::Bpchar
            | PgType::Char
            | PgType::Bytea
            | PgType::Json
            | PgType::Jsonb
            | PgType::Time
            | PgType::Timetz
            | PgType::Interval { .. }
            | PgType::Bit
            | PgType::Inet
            | PgType::Macaddr
            | PgType::Macaddr8
            | PgType::Enum(_)
            | PgType::Tid
            | PgType::Point
            | PgType::Line
            | PgType::Lseg
            | PgType::Box
            | PgType::Path
            | PgType::Polygon
            | PgType::Circle
            | PgType::Hstore
            | PgType::Ltree
            | PgType::Vector { .. }
            | PgType::Halfvec { .. }
            | PgType::Sparsevec
            | PgType::Geometry(_)
            | PgType::Array(_)
            | PgType::Composite(_)
            | PgType::Range(_)
            | PgType::Multirange(_)
            | PgType::ServerText { .. } => None,
        }
    }

    /// The type in SQL, schema-qualified.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Int2 => "pg_catalog.int2",
            Self::Int4 => "pg_catalog.int4",
            Self::Int8 => "pg_catalog.int8",
            Self::Date => "pg_catalog.date",
            Self::Timestamp => "pg_catalog.timestamp",
            Self::Timestamptz => "pg_catalog.timestamptz",
            Self::Uuid => "pg_catalog.uuid",
            Self::Text => "pg_catalog.text",
        }
    }
}

impl From<&Relation> for SliceRelation {
    fn from(relation: &Relation) -> Self {
        let kind = match relation.kind {
            RelationKind::Table => SliceRelationKind::Table,
            RelationKind::PartitionedTable => SliceRelationKind::PartitionedTable,
            RelationKind::View => SliceRelationKind::View,
            RelationKind::MaterializedView => SliceRelationKind::MaterializedView,
            RelationKind::ForeignTable => SliceRelationKind::ForeignTable,
        };
        Self { oid: relation.oid, schema: relation.schema.clone(), name: relation.name.clone(), kind }
    }
}

impl From<&SliceRelation> for Relation {
    fn from(relation: &SliceRelation) -> Self {
        let kind = match relation.kind {
            SliceRelationKind::Table => RelationKind::Table,
            SliceRelationKind::PartitionedTable => RelationKind::PartitionedTable,
            SliceRelationKind::View => RelationKind::View,
            SliceRelationKind::MaterializedView => RelationKind::MaterializedView,
            SliceRelationKind::ForeignTable => RelationKind::ForeignTable,
        };
        Self { oid: relation.oid, schema: relation.schema.clone(), name: relation.name.clone(), kind }
    }
}

impl Slice {
    /// The snapshot that the slice is read under; `None` if each slice has its own.
    pub fn shared_snapshot(&self) -> Option<SharedSnapshot> {
        let snapshot = self.snapshot.clone()?;
        Some(SharedSnapshot::new(self.source.clone(), snapshot))
    }

    /// The version of the token's form. Another one is refused.
    pub const VERSION: u32 = 2;

    /// Reads a token.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] for a text that is no token, for another version, and for a token that
    /// contradicts itself. Only the filter and the query, which are the user's own, reach SQL unchecked.
    pub fn from_json(json: &str) -> Result<Self> {
        if json.len() > TOKEN_BYTES_MAX {
            return Err(refused("it is larger than 16 MiB"));
        }
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let versioned: Versioned = serde_json::from_str(json).map_err(|error| refused(&error.to_string()))?;
        if versioned.version != Self::VERSION {
            let text = format!("its version is {}, this program knows {}", versioned.version, Self::VERSION);
            return Err(refused(&text));
        }
        let slice: Self = serde_json::from_str(json).map_err(|error| refused(&error.to_string()))?;
        slice.check()?;
        Ok(slice)
    }

    /// The token as one line of JSON.
    ///
    /// # Errors
    ///
    /// As for [`from_json`](Self::from_json): a token that could not be read is not written.
    pub fn to_json(&self) -> Result<String> {
        self.check()?;
        let json = serde_json::to_string(self).map_err(|error| refused(&error.to_string()))?;
        match json.len() > TOKEN_BYTES_MAX {
            true => Err(refused("it is larger than 16 MiB")),
            false => Ok(json),
        }
    }

    /// The relation that the user asked for, unless it is a query.
    pub(crate) fn relation(&self) -> Option<Relation> {
        match &self.subject {
            SliceSubject::Relations { table, .. } => Some(table.into()),
            SliceSubject::Query(_) => None,
        }
    }

    /// Every relation it names: the one that the user asked for, and those that are read for it.
    pub(crate) fn relations(&self) -> Vec<Relation> {
        let SliceSubject::Relations { table, reads } = &self.subject else {
            return Vec::new();
        };
        let others = reads.iter().map(|read| &read.relation).filter(|relation| relation.oid != table.oid);
        std::iter::once(table).chain(others).map(Relation::from).collect()
    }

    /// What its statement may open: the relations it names, and those the planner found besides.
    pub(crate) fn may_open(&self) -> Vec<u32> {
        let named = self.relations();
        named.iter().map(|relation| relation.oid).chain(self.opens.iter().copied()).collect()
    }

    /// Whether the columns are what they were when the slice was planned.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Options`] if they are not.
    pub(crate) fn check_columns(&self, columns: &[&PgColumn]) -> Result<()> {
        match schema_fingerprint(columns.iter().copied()) == self.schema_fingerprint {
            true => Ok(()),
            false => {
                let text = "the columns are not what they were when the slice was planned; plan again";
                Err(Error::new(ErrorKind::Options, text))
            }
        }
    }

    /// Whether it reads a table's own rows and nothing else.
    pub(crate) fn is_of_one_alone(&self) -> bool {
        match &self.subject {
            SliceSubject::Relations { table, reads } => {
                matches!(reads.as_slice(), [read] if read.only && read.relation.oid == table.oid)
            }
            SliceSubject::Query(_) => false,
        }
    }
}

/// A hash of the columns as the catalog has them: names, types, type modifiers, nullability, attributes and
/// the labels of enums, in order. Equal columns have the same hash in every process and version; choices do
/// not change it.
pub(crate) fn schema_fingerprint<'a>(columns: impl Iterator<Item = &'a PgColumn>) -> String {
    let mut hash = Sha256::new();
    let mut text = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    };
    for column in columns {
        text(&column.name);
        text(&format!("{} {} {}", column.type_oid, column.type_modifier, column.nullable));
        hash_parts(&column.pg_type, &mut text);
    }
    hexadecimal(&hash.finalize())
}

/// What the OID does not say about a type, which may be altered.
fn hash_parts(pg_type: &PgType, text: &mut impl FnMut(&str)) {
    match pg_type.structure() {
        Structure::Plain => {
            if let PgType::Enum(of) = pg_type {
                text(&of.labels.len().to_string());
                of.labels.iter().for_each(|label| text(label));
            }
        }
        Structure::Array(array) => hash_parts(&array.element, text),
        Structure::Range(range) | Structure::Multirange(range) => hash_parts(&range.subtype, text),
        Structure::Composite(composite) => {
            text(&composite.attributes.len().to_string());
            for attribute in &composite.attributes {
                text(&attribute.name);
                text(&attribute.type_oid.to_string());
                if let Some(numeric) = attribute.pg_type.numeric() {
                    text(&match numeric {
                        NumericType::Unconstrained => String::new(),
                        NumericType::Declared { precision, scale } => format!("{precision} {scale}"),
                    });
                }
                hash_parts(&attribute.pg_type, text);
            }
        }
    }
}

fn refused(why: &str) -> Error {
    Error::new(ErrorKind::Options, format!("this is not a slice that can be read: {why}"))
}
