//! A field's metadata about its geometries: `geoarrow.wkb`, whose parameters are JSON.
//!
//! Source: <https://geoarrow.org/extension-types>.

use arrow_schema::Field;
use serde_json::Value;

/// The parameters of a field of WKB.
#[derive(Debug)]
pub(super) struct Wkb {
    pub(super) crs: Crs,
    /// Edges are great circles, or other curves on a globe.
    pub(super) is_spherical: bool,
}

/// A coordinate reference system.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Crs {
    /// Not given.
    Unsaid,
    /// By authority and code, as in `EPSG:4326`.
    Authority(String),
    /// By a description.
    Other,
}

/// `None` if the field does not name this extension.
pub(super) fn of(field: &Field) -> Option<Wkb> {
    let metadata = field.metadata();
    let name = metadata.get("ARROW:extension:name")?;
    // The names in GeoArrow and in its predecessor.
    if !matches!(name.as_str(), "geoarrow.wkb" | "ogc.wkb") {
        return None;
    }
    let parameters = metadata.get("ARROW:extension:metadata").map_or("", String::as_str);
    let parameters: Value = serde_json::from_str(parameters).unwrap_or(Value::Null);
    let is_spherical = parameters.get("edges").and_then(Value::as_str).is_some_and(|edges| edges != "planar");
    Some(Wkb { crs: crs(parameters.get("crs")), is_spherical })
}

fn crs(said: Option<&Value>) -> Crs {
    match said {
        None | Some(Value::Null) => Crs::Unsaid,
        Some(Value::String(text)) if is_name(text) => Crs::Authority(text.clone()),
        // PROJJSON, also inside a string.
        Some(Value::String(text)) => serde_json::from_str(text)
            .ok()
            .filter(Value::is_object)
            .map_or(Crs::Other, |value| crs(Some(&value))),
        Some(value) => id(value).map_or(Crs::Other, Crs::Authority),
    }
}

/// `AUTHORITY:CODE`.
fn is_name(text: &str) -> bool {
    let is_word = |word: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        !word.is_empty() && word.len() <= 64 && word.chars().all(is_plain)
    };
    text.split_once(':').is_some_and(|(authority, code)| is_word(authority) && is_word(code))
}

/// The identifier of PROJJSON: `{"id": {"authority": "EPSG", "code": 4326}}`.
fn id(value: &Value) -> Option<String> {
    let id = value.get("id")?;
    let authority = id.get("authority")?.as_str()?;
    let code = match id.get("code")? {
        Value::String(code) => code.clone(),
        Value::Number(code) => code.to_string(),
        _ => return None,
    };
    Some(format!("{authority}:{code}")).filter(|name| is_name(name))
}

/// Its number in PostGIS. The 4326 of PostGIS has the longitude first, as `OGC:CRS84` has.
pub(super) fn epsg(name: &str) -> Option<i32> {
    match name.split_once(':')? {
        (authority, code) if authority.eq_ignore_ascii_case("EPSG") => {
            code.parse().ok().filter(|srid| *srid > 0)
        }
        (authority, code) if authority.eq_ignore_ascii_case("OGC") && code.eq_ignore_ascii_case("CRS84") => {
            Some(4326)
        }
        _ => None,
    }
}
