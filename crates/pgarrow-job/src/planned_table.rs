//! A table of a manifest, as far as its plan and its report say it.

use pgarrow_export::{Plan, Report};
use pgarrow_sink::hexadecimal;
use sha2::{Digest, Sha256};

use crate::manifest::{ManifestColumn, ManifestTable};
use crate::subject::schema_and_table;

impl ManifestTable {
    /// The planned table, without files and without rows.
    pub(crate) fn of_plan(plan: &Plan) -> Self {
        let (schema, name) = schema_and_table(plan);
        let columns = columns_of(plan);
        Self {
            schema: schema.to_owned(),
            name: name.to_owned(),
            oid: plan.relation().map_or(0, |relation| relation.oid),
            query_sha256: None,
            only: false,
            filtered: false,
            columns_chosen: false,
            rows: 0,
            slices: plan.n_slices() as u64,
            schema_sha256: fingerprint(&columns),
            columns,
            files: Vec::new(),
            partition_by: Vec::new(),
            increments: Vec::new(),
            state: None,
            version: 1,
        }
    }

    /// Adds how values were changed while the table was read.
    pub(crate) fn add_effects(&mut self, plan: &Plan, report: &Report) {
        // Of one table, the report itself has the columns.
        let of_table = report.tables.iter().find(|table| table.table == plan.subject());
        let changed = of_table.map_or(&report.columns, |table| &table.columns);
        for column in &mut self.columns {
            if let Some(changed) = changed.iter().find(|changed| changed.name == column.name) {
                column.effects.clone_from(&changed.effects);
            }
        }
    }
}

/// The columns of a planned table.
pub(crate) fn columns_of(plan: &Plan) -> Vec<ManifestColumn> {
    let report = plan.report(None);
    let columns = report.columns.iter().zip(plan.columns());
    columns
        .map(|(reported, column)| ManifestColumn { attnum: column.number, ..ManifestColumn::from(reported) })
        .collect()
}

fn fingerprint(columns: &[ManifestColumn]) -> String {
    let mut digest = Sha256::new();
    for ManifestColumn { name, pg_type, arrow_type, nullable, .. } in columns {
        let nullable = if *nullable { "null" } else { "not null" };
        for text in [name, pg_type, arrow_type, nullable] {
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text.as_bytes());
        }
    }
    hexadecimal(&digest.finalize())
}
