//! The queries that resolve relations, columns, types and rights.
//!
//! ```text
//!  "name as psql takes it" ──RelationName──▶ resolve ──▶ Relation ──▶ table_columns ─┐
//!   free query ───────────────── Session::describe ─────────────────▶ query_columns ─┴▶ Vec<PgColumn>
//! ```
//!
//! Every statement here names its schema, operators included, so that no `search_path` changes what
//! it means (CVE-2018-1058); only the resolution of the user's own names follows the user's path.
//! Nothing is asked about types that are built in: a catalog with many types costs nothing.

#![forbid(unsafe_code)]

mod columns;
mod error;
mod name;
mod relation;
mod types;

pub use columns::{format_types, query_columns, table_columns};
pub use error::CatalogError;
pub use name::{NameError, RelationName, parse_column_list, quote_identifier, quote_literal};
pub use relation::{Relation, RelationKind, estimated_rows, relation, resolve};
