//! The footer of a file with geometries.

use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use pgarrow_sink::{Output, Sink};
use pgarrow_sink_parquet::ParquetSink;
use pgarrow_testkit::{Capability, Python, require};

use crate::{metadata, read, write};

fn geometry(name: &str, parameters: &str) -> Field {
    let pairs = [("ARROW:extension:name", "geoarrow.wkb"), ("ARROW:extension:metadata", parameters)];
    let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Field::new(name, DataType::Binary, true).with_metadata(pairs.into())
}

/// A point in little-endian ISO WKB.
fn point(x: f64, y: f64) -> Vec<u8> {
    [&[1, 1, 0, 0, 0][..], &x.to_le_bytes(), &y.to_le_bytes()].concat()
}

const SCRIPT: &str = r#"
import json, sys, duckdb, pyarrow.parquet as pq
metadata = pq.read_metadata(sys.argv[1]).metadata
geo = json.loads(metadata[b"geo"])
print(geo["version"], geo["primary_column"], sorted(geo["columns"]), geo["columns"]["at"].get("crs", "default"))
print(geo["columns"]["web"]["crs"], sorted(metadata))
print(*duckdb.sql(f"SELECT typeof(\"at\"), typeof(web) FROM '{sys.argv[1]}'").fetchall()[0])
"#;

#[test]
fn the_footer_describes_geometries() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("geo.parquet");
    let wgs84 = r#"{"crs":"EPSG:4326","crs_type":"authority_code"}"#;
    let web = r#"{"crs":"EPSG:3857","crs_type":"authority_code"}"#;
    let metadata_of_schema = [("pg.table".to_owned(), "public.places".to_owned())];
    let schema = Arc::new(Schema::new_with_metadata(
        vec![geometry("at", wgs84), geometry("web", web)],
        metadata_of_schema.into(),
    ));
    let points: ArrayRef = Arc::new(BinaryArray::from_iter([Some(point(9.5, 48.25)), None]));
    let batch = RecordBatch::try_new(schema.clone(), vec![points.clone(), points]).unwrap();
    write(&path, std::slice::from_ref(&batch), Default::default());

    let (found, batches) = read(&path);
    assert_eq!(found.fields(), schema.fields());
    assert_eq!(batches[0].columns(), batch.columns());
    let footer = metadata(&path).file_metadata().key_value_metadata().cloned().unwrap();
    let keys: Vec<_> = footer.iter().map(|pair| pair.key.as_str()).collect();
    assert_eq!(keys, ["geo", "pg.table", "ARROW:schema"]);

    let other = Output::file(folder.path().join("other.parquet"), false).unwrap();
    let sink = ParquetSink::create(other, schema, Default::default()).unwrap();
    let warnings = sink.warnings();
    assert!(matches!(warnings.as_slice(), [one] if one.contains("\"web\" (EPSG:3857)")), "{warnings:?}");
    drop(Box::new(sink) as Box<dyn Sink>);

    require!(Capability::Python);
    let printed = Python::shared().run(SCRIPT, &[path.to_str().unwrap()]);
    assert_eq!(
        printed.lines().collect::<Vec<_>>(),
        [
            "1.1.0 at ['at', 'web'] default",
            "None [b'ARROW:schema', b'geo', b'pg.table']",
            "GEOMETRY('OGC:CRS84') GEOMETRY"
        ]
    );
}
