//! One column of a result, as planned: everything its decoder and its Arrow field need.

use std::collections::HashMap;

use arrow_schema::{Field, Schema};

use crate::choices::TypeOptions;
use crate::pg_type::PgType;

/// A column of a table or query, resolved against the catalog.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PgColumn {
    /// The name in the result, exactly as the server has it.
    pub name: String,
    /// How its values arrive and what they become.
    pub pg_type: PgType,
    /// `pg_type.oid` of the declared type (of the domain, if it is one).
    pub type_oid: u32,
    /// `atttypmod`; -1 if there is none.
    pub type_modifier: i32,
    /// The type as `format_type` prints it.
    pub type_name: String,
    /// False only if the catalog proves that no value is NULL.
    pub nullable: bool,
    /// The column's comment.
    pub comment: Option<String>,
    /// `pg_attribute.attnum`, or the place in the result of a query; from 1.
    pub number: u16,
    /// The choices for this column.
    pub options: TypeOptions,
}

impl PgColumn {
    /// The column's Arrow field: type, nullability, `pg.*` metadata and extension type.
    ///
    /// The field is also nullable if a policy may write NULL.
    pub fn field(&self) -> Field {
        let nullable = self.nullable || self.pg_type.may_become_null(&self.options);
        let mut field = self.pg_type.item_field(&self.name, nullable, &self.options);
        let mut metadata = field.metadata().clone();
        metadata.insert("pg.type".to_owned(), self.type_name.clone());
        metadata.insert("pg.oid".to_owned(), self.type_oid.to_string());
        if self.type_modifier >= 0 {
            metadata.insert("pg.typmod".to_owned(), self.type_modifier.to_string());
        }
        if let Some(comment) = &self.comment {
            metadata.insert("pg.comment".to_owned(), comment.clone());
        }
        field.set_metadata(metadata);
        field
    }
}

/// The schema of a result. `metadata` is the schema's own (`pg.table`, `pg.server_version`).
pub fn schema(columns: &[PgColumn], metadata: HashMap<String, String>) -> Schema {
    let fields: Vec<Field> = columns.iter().map(PgColumn::field).collect();
    Schema::new_with_metadata(fields, metadata)
}
