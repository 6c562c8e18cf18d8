//! GeoParquet: the footer's description of columns of WKB.
//!
//! Source: the GeoParquet specification, version 1.1, at <https://geoparquet.org/releases/v1.1.0/>; for the
//! metadata of `geoarrow.wkb`, <https://geoarrow.org/extension-types>.

use arrow_schema::{Field, Schema};
use serde_json::{Map, Value, json};

/// The key of the footer.
pub(crate) const KEY: &str = "geo";

/// The footer's description, and a warning about what it cannot say.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Geo {
    /// The value of [`KEY`], if a column has geometries.
    pub(crate) json: Option<String>,
    pub(crate) warning: Option<String>,
}

/// Describes columns of `geoarrow.wkb`, the first of them as the primary one. GeoParquet has no place for
/// columns inside lists and structs.
pub(crate) fn metadata(schema: &Schema) -> Geo {
    if schema.metadata().contains_key(KEY) {
        return Geo::default();
    }
    let mut columns = Map::new();
    let mut primary = None;
    let mut unnamed = Vec::new();
    for field in schema.fields() {
        let Some(parameters) = wkb_parameters(field) else { continue };
        // The values hold the geometries' types; an empty list says that they are unknown.
        let mut column = json!({ "encoding": "WKB", "geometry_types": [] });
        match crs(&parameters) {
            Crs::Default => {}
            Crs::Unknown => column["crs"] = Value::Null,
            Crs::Definition(projjson) => column["crs"] = projjson,
            Crs::Name(name) => {
                column["crs"] = Value::Null;
                unnamed.push(format!("{:?} ({name})", field.name()));
            }
        }
        if let Some(edges @ Value::String(_)) = parameters.get("edges") {
            column["edges"] = edges.clone();
        }
        columns.insert(field.name().clone(), column);
        primary.get_or_insert_with(|| field.name().clone());
    }
    let Some(primary) = primary else { return Geo::default() };
    let json = json!({ "version": "1.1.0", "primary_column": primary, "columns": columns });
    let warning = (!unnamed.is_empty()).then(|| {
        format!(
            "GeoParquet takes coordinate reference systems as whole definitions, and only names are known: that of {} is null \
             in its metadata, and named in the Arrow schema",
            unnamed.join(", ")
        )
    });
    Geo { json: Some(json.to_string()), warning }
}

/// Whether a column has geometries as `geoarrow.wkb`.
pub(crate) fn is_geometry(field: &Field) -> bool {
    wkb_parameters(field).is_some()
}

/// The parameters of the extension type, if it is `geoarrow.wkb`.
fn wkb_parameters(field: &Field) -> Option<Map<String, Value>> {
    (field.extension_type_name()? == "geoarrow.wkb").then(|| {
        let parameters = field.extension_type_metadata().and_then(|text| serde_json::from_str(text).ok());
        parameters.unwrap_or_default()
    })
}

/// A coordinate reference system, as far as GeoParquet can name it.
enum Crs {
    /// `OGC:CRS84`, longitude and latitude, which is the meaning of a missing `crs`. EPSG:4326 is the same
    /// for GeoParquet, whose coordinates are always in the order x, y.
    Default,
    Unknown,
    /// A definition in PROJJSON, the only form that GeoParquet allows.
    Definition(Value),
    /// Only an authority and its code are known.
    Name(String),
}

fn crs(parameters: &Map<String, Value>) -> Crs {
    match parameters.get("crs") {
        None | Some(Value::Null) => Crs::Unknown,
        Some(definition @ Value::Object(_)) => Crs::Definition(definition.clone()),
        Some(Value::String(name)) if ["EPSG:4326", "OGC:CRS84"].contains(&name.as_str()) => Crs::Default,
        Some(Value::String(name)) => Crs::Name(name.clone()),
        Some(_) => Crs::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::DataType;

    use super::*;

    fn geometry(name: &str, parameters: &str) -> Field {
        let pairs = [("ARROW:extension:name", "geoarrow.wkb"), ("ARROW:extension:metadata", parameters)];
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Field::new(name, DataType::Binary, true).with_metadata(pairs.into())
    }

    #[test]
    fn columns_of_wkb() {
        let geo = metadata(&Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            geometry("Lage", r#"{"crs":"EPSG:4326","crs_type":"authority_code"}"#),
            geometry("none", "{}"),
            geometry("round", r#"{"crs":"EPSG:4326","crs_type":"authority_code","edges":"spherical"}"#),
            geometry("web", r#"{"crs":"EPSG:3857","crs_type":"authority_code"}"#),
            geometry("whole", r#"{"crs":{"type":"GeographicCRS","name":"x"}}"#),
            geometry("broken", "not json"),
        ]));
        let json: Value = serde_json::from_str(&geo.json.unwrap()).unwrap();
        assert_eq!(
            json,
            json!({
                "version": "1.1.0",
                "primary_column": "Lage",
                "columns": {
                    "Lage": { "encoding": "WKB", "geometry_types": [] },
                    "none": { "encoding": "WKB", "geometry_types": [], "crs": null },
                    "round": { "encoding": "WKB", "geometry_types": [], "edges": "spherical" },
                    "web": { "encoding": "WKB", "geometry_types": [], "crs": null },
                    "whole": {
                        "encoding": "WKB",
                        "geometry_types": [],
                        "crs": { "type": "GeographicCRS", "name": "x" },
                    },
                    "broken": { "encoding": "WKB", "geometry_types": [], "crs": null },
                },
            })
        );
        let warning = geo.warning.unwrap();
        assert!(warning.contains("that of \"web\" (EPSG:3857) is null"), "{warning}");
    }

    #[test]
    fn what_is_no_column_of_wkb() {
        let nested = DataType::List(Arc::new(geometry("item", "{}")));
        let plain = Field::new("bytes", DataType::Binary, true);
        let schema = Schema::new(vec![plain, Field::new("nested", nested, true)]);
        assert_eq!(metadata(&schema), Geo::default());
        // A schema that has the key is not changed.
        let own = [(KEY.to_owned(), "{}".to_owned())];
        let schema = Schema::new_with_metadata(vec![geometry("g", "{}")], own.into());
        assert_eq!(metadata(&schema), Geo::default());
    }
}
