//! The golden streams backwards: their decoded rows are encoded to the same bytes.
//!
//! `testdata/copy/<name>.{sql,bin,expect}`; `testdata/README.md` describes them.

use std::fs;
use std::path::{Path, PathBuf};

use pgarrow_types::{ColumnOptions, PgColumn, TypeOptions, schema};

use crate::support::{Failure, decode, encode, targets};

/// Streams whose values change by their choices, or by the default ones.
const LOSSY: [(&str, &str); 4] = [
    ("array_int4", "lower bounds are forgotten; `array_shapes` keeps them"),
    ("array_date_saturate", "infinity becomes the last date of Arrow, which is none of PostgreSQL's"),
    ("array_timestamp_null", "infinity becomes NULL"),
    ("tsrange_infinity", "infinity becomes the last timestamp of Arrow, which is none of PostgreSQL's"),
];

/// The paths of all streams, without their endings.
pub(crate) fn names() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/copy");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut names: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|ending| ending == "sql"))
        .map(|path| path.with_extension(""))
        .collect();
    names.sort();
    assert!(names.len() > 90, "{}", names.len());
    names
}

/// The columns of a stream, from `.expect` and the choices in `.sql`.
pub(crate) fn columns(name: &Path) -> Vec<PgColumn> {
    let sql = fs::read_to_string(name.with_extension("sql")).unwrap();
    let choices = sql.lines().find_map(|line| line.strip_prefix("-- choices: "));
    let choices: ColumnOptions =
        choices.map_or_else(ColumnOptions::default, |choices| choices.parse().unwrap());
    let options = choices.apply(TypeOptions::default());
    let expected = fs::read_to_string(name.with_extension("expect")).unwrap();
    let headers = expected.lines().filter(|line| line.starts_with("column\t"));
    headers.map(|header| column(header, options)).collect()
}

fn column(header: &str, options: TypeOptions) -> PgColumn {
    let [_, name, oid, modifier, type_name, _, json] = header.splitn(7, '\t').collect::<Vec<_>>()[..] else {
        panic!("no header of a column: {header}");
    };
    PgColumn {
        name: name.to_owned(),
        pg_type: serde_json::from_str(json).unwrap(),
        type_oid: oid.parse().unwrap(),
        type_modifier: modifier.parse().unwrap(),
        type_name: type_name.to_owned(),
        nullable: true,
        comment: None,
        number: 1,
        options,
    }
}

#[test]
fn every_golden_stream_is_encoded_byte_for_byte() {
    let (mut n_same, mut failures) = (0, Vec::new());
    for name in names() {
        let stem = name.file_name().unwrap().to_str().unwrap().to_owned();
        if LOSSY.iter().any(|(lossy, _)| *lossy == stem) {
            continue;
        }
        let stream = fs::read(name.with_extension("bin")).unwrap();
        let columns = columns(&name);
        let batches = decode(&columns, &stream);
        let schema = schema(&columns, Default::default());
        let fields: Vec<_> = schema.fields().iter().map(AsRef::as_ref).collect();
        match encode(&fields, &targets(&columns), &batches) {
            Ok(encoded) if encoded == stream => n_same += 1,
            Ok(encoded) => failures.push(format!("{stem}:\n{encoded:02x?} instead of\n{stream:02x?}")),
            Err(Failure::Plan(refusal)) => failures.push(format!("{stem}: {refusal}")),
            Err(Failure::Value(error)) => failures.push(format!("{stem}: {error}")),
        }
    }
    assert!(failures.is_empty(), "{n_same} are the same, and not\n{}", failures.join("\n"));
    assert!(n_same > 110, "{n_same}");
}
