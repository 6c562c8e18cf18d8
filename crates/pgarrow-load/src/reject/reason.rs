//! Which errors are about a row, and which reason its rejection gets.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use pgarrow_protocol::{ServerError, escape_control};

use crate::choice::REJECTED;

/// The fields added to rejected rows, and the value of their metadata.
const COLUMNS: [(&str, &str); 3] =
    [("pgarrow_row", "row"), ("pgarrow_sqlstate", "sqlstate"), ("pgarrow_reason", "reason")];

/// Errors that another row would not cause: data_exception, integrity_constraint_violation, raise_exception,
/// with_check_option_violation; and cardinality_violation, which an upsert raises for two rows with one key,
/// and never for a single row. Two states have two meanings: syntax_error is about a statement if it has a
/// position, otherwise about a tsvector, tsquery or jsonpath; insufficient_privilege means a missing right,
/// or a row that a policy refuses.
///
/// Sources: <https://www.postgresql.org/docs/current/errcodes-appendix.html>; `ExecWithCheckOptions` in
/// PostgreSQL's `src/backend/executor/execMain.c`, `prssyntaxerror` in
/// `src/backend/utils/adt/tsvector_parser.c`.
pub(crate) fn is_about_data(error: &ServerError) -> bool {
    let sqlstate = error.sqlstate.as_str();
    match sqlstate {
        "P0001" | "21000" | "44000" => true,
        "42601" => !error.is_about_statement(),
        "42501" => error.routine.as_deref() == Some("ExecWithCheckOptions"),
        _ => sqlstate.starts_with("22") || sqlstate.starts_with("23"),
    }
}

/// The server's message, including the values that it names: the receiver gets the row anyway.
pub(crate) fn reason(error: &ServerError) -> String {
    let mut reason = error.message.clone();
    if let Some(detail) = &error.detail {
        reason = format!("{reason}; {detail}");
    }
    let place = error.where_.as_deref().and_then(|text| text.lines().find(|line| line.starts_with("COPY ")));
    // `COPY t, line 1, column x: "value"`
    if let Some((_, column)) = place.and_then(|line| line.split_once(", column ")) {
        let column = column.split(':').next().unwrap_or(column);
        reason = format!("column {column}: {reason}");
    }
    escape_control(&reason).to_string()
}

/// The data's columns, followed by those that describe the rejection.
pub(crate) fn reject_schema(schema: &Schema) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
    let types = [(DataType::UInt64, false), (DataType::Utf8, true), (DataType::Utf8, false)];
    for ((name, what), (data_type, nullable)) in COLUMNS.iter().zip(types) {
        let mut name = (*name).to_owned();
        while fields.iter().any(|field| *field.name() == name) {
            name.push('_');
        }
        let metadata = HashMap::from([(REJECTED.to_owned(), (*what).to_owned())]);
        fields.push(Arc::new(Field::new(name, data_type, nullable).with_metadata(metadata)));
    }
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_data() {
        let error = |sqlstate: &str, routine: &str| {
            let mut error = ServerError::default();
            error.sqlstate = sqlstate.to_owned();
            error.routine = Some(routine.to_owned());
            error
        };
        assert!(is_about_data(&error("42501", "ExecWithCheckOptions")));
        assert!(is_about_data(&error("42601", "gettoken_tsvector")));
        for position in [1, 7] {
            let mut of_statement = error("42601", "scanner_yyerror");
            of_statement.position = Some(position);
            assert!(!is_about_data(&of_statement));
            of_statement.position = None;
            of_statement.internal_position = Some(position);
            assert!(!is_about_data(&of_statement));
        }
        for (sqlstate, expected) in [
            ("44000", true),
            ("22001", true),
            ("23505", true),
            ("P0001", true),
            ("21000", true),
            ("53100", false),
            ("57014", false),
            ("40P01", false),
            ("08006", false),
            ("42501", false),
            ("P0002", false),
        ] {
            assert_eq!(is_about_data(&error(sqlstate, "f")), expected, "{sqlstate}");
        }
    }

    #[test]
    fn names_are_unique() {
        let schema = Schema::new(vec![
            Field::new("pgarrow_row", DataType::Int8, true),
            Field::new("pgarrow_row_", DataType::Int8, true),
        ]);
        let names: Vec<_> =
            reject_schema(&schema).fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(
            names,
            ["pgarrow_row", "pgarrow_row_", "pgarrow_row__", "pgarrow_sqlstate", "pgarrow_reason"]
        );
    }
}
