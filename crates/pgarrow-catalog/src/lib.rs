//! The queries that resolve relations, columns, types and rights.
//!
//! ```text
//!  "name as psql takes it" ──RelationName──▶ resolve ──▶ Relation ──▶ table_columns ─┐
//!    └ suggest: similar names
//!   ask_about_relation, ask_about_query: all these questions in one round trip
//!   free query ───────────────── Session::describe ─────────────────▶ query_columns ─┴▶ Vec<PgColumn>
//!
//!   Relation ──leaves──▶ Vec<Leaf> ──relation_sizes──▶ Vec<RelationSize>     the input for slices of a table
//!   leaves ──heap_tables──▶ Vec<HeapTable>                                    how pages store the columns
//!   Relation ──target_columns, unique_keys, write_access──▶ …                 what can be written to a table
//!   Relation ──what_belongs, opened_beside──▶ …                              that names kept their meaning
//!   key column ──statistic_bounds, quantile_bounds──▶ KeyBounds              the input for ranges of a key
//! ```
//!
//! Every statement here qualifies all names, operators included, so no `search_path` changes its meaning
//! (CVE-2018-1058). Only the user's own names are resolved on the user's path. Built-in types need no
//! queries: a catalog with many types costs nothing.

#![forbid(unsafe_code)]

mod ahead;
mod columns;
mod error;
mod explain;
mod functions;
mod key;
mod known;
mod leaves;
mod name;
mod near;
mod opened;
mod pages;
mod pattern;
mod relation;
mod server;
mod target;
mod target_ahead;
mod texts;
mod types;
mod unique;

pub use ahead::{
    Asked, EXPORT_SNAPSHOT, EndQuestions, FirstQuestions, LookUp, QUERY_BYTES_MAX, QueryQuestions,
    SliceQuestions, TableQuestions, ask_about_plan, ask_about_query, ask_about_query_under_locks,
    ask_about_relation, ask_about_slice, ask_about_tables, ask_at_end, ask_first, begin_and_ask,
};
pub use columns::{ResolvedColumn, format_types, query_columns, table_columns, table_columns_of_many};
pub use error::CatalogError;
pub use explain::{Estimate, estimate, explained_relations};
pub use functions::{
    DIFFER, INDIFFERENT, NamesOfText, UsedView, differing_functions, shadowed_functions, used_views,
};
pub use key::{KeyBounds, quantile_bounds, statistic_bounds};
pub use known::KnownTypes;
pub use leaves::{Leaf, RelationSize, leaves, relation_sizes, row_security_applies};
pub use name::{
    NAME_BYTES_MAX, NameError, RelationName, parse_column_list, parse_column_path, quote_identifier,
    quote_literal,
};
pub use near::{meant, near_schema, suggest};
pub use opened::{
    FIRST_NORMAL_OID, Member, OpenedRelation, copy_and_ask_beside, locked, opened_beside, renamed_labels,
    renamed_schemas, what_belongs,
};
pub use pages::{
    HeapGroup, HeapTable, NEWEST_KNOWN, OLDEST_BY_PAGES, PageAccess, PageSource, ask_about_pages,
    heap_tables, heap_tables_of_many, large_heap_pages, page_access,
};
pub use pattern::{NamePattern, matching, relations_of_pattern};
pub use relation::{
    Relation, RelationKind, estimated_rows, not_readable, relation, relations, relations_of_schema, resolve,
    resolve_many,
};
pub use server::{ServerTraits, is_plain as is_plain_postgres, server_traits};
pub use target::{
    Identity, NamedType, TargetColumn, WriteAccess, target_columns, type_by_name, types_by_names,
    write_access,
};
pub use target_ahead::{OfTarget, TargetQuestions, ask_about_target};
pub use types::{PARTS_MAX, TypeNote};
pub use unique::{UniqueKey, unique_keys};
