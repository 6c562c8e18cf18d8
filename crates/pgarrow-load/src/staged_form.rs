//! How values reach types without a binary form here: as text that the server parses, in the staging table
//! or in a cast.

use arrow_schema::{DataType, Field};
use pgarrow_encode::{Conversions, Encoder, TypeTarget, make_encoder};
use pgarrow_types::{ArrayType, DeclaredType, PgType, oid};

/// The form in which a value is sent for a type without a binary form here.
#[derive(Clone, Copy)]
pub(crate) enum StagedForm {
    /// Text for the type's input function.
    Text,
    /// An array of texts for the elements' input function.
    Texts,
    /// An array of this type: `int2vectorrecv` and `oidvectorrecv` refuse an empty vector, although the
    /// server sends such vectors itself.
    Numbers(&'static str),
}

impl StagedForm {
    /// The column's type in the staging table.
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Self::Text => "pg_catalog.text",
            Self::Texts => "pg_catalog.text[]",
            Self::Numbers(type_name) => type_name,
        }
    }

    /// The expression that makes the value from the column of this name.
    pub(crate) fn expression(self, name: &str, type_name: &str) -> String {
        match self {
            Self::Text | Self::Texts => format!("CAST({name} AS {type_name})"),
            Self::Numbers(_) => format!("CAST(pg_catalog.array_to_string({name}, ' ') AS {type_name})"),
        }
    }

    /// SQL before and after a parameter that makes the value.
    pub(crate) fn around(self, type_name: &str) -> (String, String) {
        let parameter_type = self.type_name();
        match self {
            Self::Text | Self::Texts => ("CAST(".to_owned(), format!("::{parameter_type} AS {type_name})")),
            Self::Numbers(_) => (
                "CAST(pg_catalog.array_to_string(".to_owned(),
                format!("::{parameter_type}, ' ') AS {type_name})"),
            ),
        }
    }
}

/// Encodes text, or an array of texts, for the server to parse.
pub(crate) fn as_text(field: &Field) -> Option<(Box<dyn Encoder>, StagedForm)> {
    let (pg_type, staged_form) = match field.data_type() {
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        // An array with its dimensions.
        | DataType::Struct(_) => {
            let (element, element_oid) = (PgType::Text, oid::TEXT);
            let array = ArrayType { element, element_oid, dimensions: 0, is_vector: false };
            (PgType::Array(array.into()), StagedForm::Texts)
        }
        _ => (PgType::Text, StagedForm::Text),
    };
    let declared = DeclaredType::new(0, -1);
    let target = TypeTarget { pg_type: &pg_type, declared: &declared, conversions: Conversions::default() };
    Some((make_encoder(field, target).ok()?, staged_form))
}
