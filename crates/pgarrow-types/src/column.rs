//! One column of a result, as planned: everything its decoder and its Arrow field need.

use std::collections::HashMap;

use arrow_schema::{Field, Schema};

use crate::pg_type::{PgType, TypeOptions};

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
}

impl PgColumn {
    /// The column's Arrow field: type, nullability, `pg.*` metadata and extension type.
    pub fn field(&self, options: &TypeOptions) -> Field {
        let mut metadata = HashMap::from([
            ("pg.type".to_owned(), self.type_name.clone()),
            ("pg.oid".to_owned(), self.type_oid.to_string()),
        ]);
        if self.type_modifier >= 0 {
            metadata.insert("pg.typmod".to_owned(), self.type_modifier.to_string());
        }
        if let Some(comment) = &self.comment {
            metadata.insert("pg.comment".to_owned(), comment.clone());
        }
        if let Some((name, parameters)) = self.pg_type.extension() {
            metadata.insert("ARROW:extension:name".to_owned(), name.to_owned());
            metadata.insert("ARROW:extension:metadata".to_owned(), parameters.to_owned());
        }
        Field::new(&self.name, self.pg_type.data_type(options), self.nullable).with_metadata(metadata)
    }
}

/// The schema of a result. `metadata` is the schema's own (`pg.table`, `pg.server_version`).
pub fn schema(columns: &[PgColumn], options: &TypeOptions, metadata: HashMap<String, String>) -> Schema {
    let fields: Vec<Field> = columns.iter().map(|column| column.field(options)).collect();
    Schema::new_with_metadata(fields, metadata)
}
