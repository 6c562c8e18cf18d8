//! The queries that resolve relations, columns, types and rights.
