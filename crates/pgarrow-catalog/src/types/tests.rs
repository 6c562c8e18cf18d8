//! Resolves rows as a server would have them, and some that no server can have.

use super::*;
use pgarrow_types::{ArrayType, DeclaredType, NumericType, oid};

const OWN: u32 = 20_000;

fn ty(oid: u32) -> TypeRef {
    TypeRef { oid, type_modifier: -1, dimensions: 0 }
}

fn types(shapes: Vec<Shape>) -> Types {
    let rows = shapes.into_iter().zip(OWN..).map(|(shape, oid)| {
        let name = format!("type_{oid}");
        (oid, TypeRow { name, element_name: "of_it".to_owned(), shape })
    });
    Types { rows: rows.collect(), ..Types::default() }
}

fn attribute(name: &str, oid: u32) -> AttributeRow {
    AttributeRow { name: name.to_owned(), ty: ty(oid), type_name: format!("type_{oid}") }
}

fn text_of(because: &str) -> Option<TypeNote> {
    Some(TypeNote::Text { because: because.to_owned() })
}

#[test]
fn an_array_keeps_its_domain_and_its_dimensions() {
    // A domain on an array of a domain on numeric(5,2).
    let array = TypeRef { dimensions: 2, ..ty(OWN + 1) };
    let numeric = TypeRef { type_modifier: ((5 << 16) | 2) + 4, ..ty(oid::NUMERIC) };
    let types = types(vec![Shape::Domain(array), Shape::Array(OWN + 2), Shape::Domain(numeric)]);
    let expected = ArrayType {
        element: PgType::Numeric(NumericType::Declared { precision: 5, scale: 2 }),
        element_oid: OWN + 2,
        dimensions: 2,
        is_vector: false,
    };
    let resolved = types.resolve(ty(OWN));
    assert_eq!(resolved.pg_type, PgType::Array(Arc::new(expected)));
    assert_eq!((resolved.element_oid, resolved.note), (Some(OWN + 2), None));
    assert_eq!(resolved.element_name.as_deref(), Some("of_it"));
    assert_eq!(types.resolve(ty(OWN + 2)).element_name, None);
}

#[test]
fn an_array_of_what_is_unknown_becomes_texts() {
    let types = types(vec![Shape::Array(OWN + 1), Shape::Opaque, Shape::Array(oid::XML)]);
    let resolved = types.resolve(TypeRef { dimensions: 3, ..ty(OWN) });
    let PgType::Array(array) = &resolved.pg_type else { panic!("{resolved:?}") };
    assert_eq!((array.element_oid, array.dimensions), (oid::TEXT, 3));
    assert_eq!(resolved.pg_type.server_cast(), Some("pg_catalog.text[]"));
    assert_eq!((resolved.element_oid, resolved.note), (Some(OWN + 1), text_of("type_20001")));
    // xml is a known type, but the server casts a column of it all the same.
    let xml = types.resolve(ty(oid::XML));
    assert_eq!((xml.pg_type, xml.note), (PgType::ServerText { warn: false }, None));
    let PgType::Array(array) = types.resolve(ty(OWN + 2)).pg_type else { panic!("no array") };
    assert_eq!((&array.element, array.element_oid), (&PgType::Text, oid::XML));
}

/// Regression: the cast of an array calls the cast of its elements, which may be a user's function. The
/// export got the result of that function, and not what the type prints.
#[test]
fn an_array_whose_elements_have_a_cast_of_their_own_is_printed() {
    let mut types =
        types(vec![Shape::Array(OWN + 1), Shape::Domain(ty(OWN + 2)), Shape::Opaque, Shape::Array(OWN + 2)]);
    assert_eq!(types.resolve(ty(OWN)).pg_type.server_cast(), Some("pg_catalog.text[]"));
    types.casts.insert(OWN + 2);
    for oid in [OWN, OWN + 3] {
        let resolved = types.resolve(ty(oid));
        assert_eq!(
            (resolved.pg_type, resolved.note),
            (PgType::ServerText { warn: true }, text_of("type_20002"))
        );
    }
}

#[test]
fn what_has_something_unknown_inside_is_text_and_says_what() {
    let mut types = types(vec![
        Shape::Composite(1),
        Shape::Opaque,
        Shape::Array(OWN),
        Shape::Range(OWN + 1),
        Shape::Multirange(OWN + 1),
        Shape::Composite(2),
    ]);
    types.attributes.insert(1, vec![attribute("a", oid::INT4), attribute("b", OWN + 1)]);
    types.attributes.insert(2, vec![]);
    for oid in [OWN, OWN + 3, OWN + 4] {
        let resolved = types.resolve(ty(oid));
        assert_eq!(resolved.pg_type, PgType::ServerText { warn: true });
        assert_eq!(resolved.note, text_of("type_20001"));
    }
    assert_eq!(types.resolve(ty(OWN + 2)).pg_type.server_cast(), Some("pg_catalog.text[]"));
    // A composite type without attributes.
    assert_eq!(types.resolve(ty(OWN + 5)).note, text_of("type_20005"));
}

#[test]
fn types_that_contain_themselves_end() {
    let mut types = types(vec![Shape::Composite(1), Shape::Array(OWN), Shape::Domain(ty(OWN + 2))]);
    types.attributes.insert(1, vec![attribute("a", oid::INT4), attribute("kids", OWN + 1)]);
    assert_eq!(types.resolve(ty(OWN)).note, text_of("type_20000"));
    assert_eq!(types.resolve(ty(OWN)).pg_type, PgType::ServerText { warn: true });
    assert_eq!(types.resolve(ty(OWN + 2)).note, text_of("type_20002"));
}

#[test]
fn depth_and_breadth_end() {
    // `n` nested composites with `copies` attributes each; the innermost ones contain integers.
    let nested = |n: u32, copies: usize| {
        let mut types = types((0..n).map(Shape::Composite).collect());
        for relation in 0..n {
            let inner = if relation + 1 == n { oid::INT4 } else { OWN + relation + 1 };
            types.attributes.insert(relation, vec![attribute("a", inner); copies]);
        }
        types.resolve(ty(OWN))
    };
    let deepest = u32::try_from(DEPTH_MAX).unwrap();
    assert_eq!(nested(deepest, 1).note, None);
    let too_deep = nested(deepest + 1, 1);
    assert_eq!(
        (too_deep.pg_type, too_deep.note),
        (PgType::ServerText { warn: true }, Some(TypeNote::TooDeep))
    );
    assert_eq!(nested(10_000, 1).note, Some(TypeNote::TooDeep));
    assert_eq!(nested(15, 2).note, None);
    assert_eq!(nested(60, 2).note, Some(TypeNote::TooManyParts));
}

/// Domains on domains do not count as depth, and a chain that was not loaded completely is not followed to
/// its end.
#[test]
fn domains_end() {
    let chain = |n: u32| {
        let mut shapes: Vec<Shape> = (1..n).map(|next| Shape::Domain(ty(OWN + next))).collect();
        shapes.push(Shape::Domain(ty(oid::INT4)));
        types(shapes).resolve(ty(OWN))
    };
    assert_eq!(chain(200).pg_type, PgType::Int4);
    assert_eq!(chain(10_000).pg_type, PgType::ServerText { warn: true });
    let circle = types(vec![Shape::Domain(ty(OWN + 1)), Shape::Domain(ty(OWN))]);
    assert!(circle.resolve(ty(OWN)).note.is_some());
}

#[test]
fn only_an_extensions_own_type_is_taken_for_it() {
    let of = |extension: &str, symbol: &str| Shape::OfExtension {
        extension: extension.to_owned(),
        symbol: symbol.to_owned(),
    };
    let types = types(vec![
        of("hstore", "hstore_send"),
        of("mine", "hstore_send"),
        of("vector", "vector_send"),
        of("ltree", "ltxtq_send"),
    ]);
    assert_eq!(types.resolve(ty(OWN)).pg_type, PgType::Hstore);
    assert_eq!(types.resolve(ty(OWN + 1)).note, text_of("type_20001"));
    let with = |type_modifier| types.resolve(TypeRef { type_modifier, ..ty(OWN + 2) }).pg_type;
    assert_eq!(with(3), PgType::Vector { dimensions: Some(3) });
    assert_eq!(with(-1), PgType::Vector { dimensions: None });
    assert_eq!(types.resolve(ty(OWN + 3)).pg_type, PgType::Ltree);
}

#[test]
fn srids_of_type_modifiers() {
    let of = |symbol: &str| Shape::OfExtension { extension: "postgis".to_owned(), symbol: symbol.to_owned() };
    let mut types = types(vec![of("LWGEOM_send"), of("geography_send"), Shape::Opaque]);
    types.crs.insert(4326, "EPSG:4326".to_owned());
    let geometry = |type_modifier| types.srid(TypeRef { type_modifier, ..ty(OWN) });
    // As `postgis_typmod_in` packs it: the SRID's 21 bits from bit 8 on, the type's below.
    assert_eq!(geometry((4326 << 8) | (1 << 2)), Some(4326));
    assert_eq!(geometry(0x1fff_ff00 | (1 << 2)), Some(-1));
    assert_eq!((geometry(4), geometry(-1)), (Some(0), Some(0)));
    assert_eq!(types.srid(ty(OWN + 1)), Some(4326));
    assert_eq!(types.srid(ty(OWN + 2)), None);
    let PgType::Geometry(geometry) = types.resolve(ty(OWN + 1)).pg_type else { panic!("no geometry") };
    assert_eq!((geometry.crs.as_deref(), geometry.is_geography), (Some("EPSG:4326"), true));
}

#[test]
fn modifiers_of_domains_elements_attributes_and_bounds() {
    let numeric = |precision: i32, scale: i32| ((precision << 16) | scale) + 4;
    // 0: a domain on 1; 1: an array of 2; 2: a composite of timestamp(3), domain 3 on numeric(5,2), range 4
    // of 3.
    let array = TypeRef { type_modifier: -1, dimensions: 1, oid: OWN + 1 };
    let decimal = TypeRef { type_modifier: numeric(5, 2), ..ty(oid::NUMERIC) };
    let mut types = types(vec![
        Shape::Domain(array),
        Shape::Array(OWN + 2),
        Shape::Composite(1),
        Shape::Domain(decimal),
        Shape::Range(OWN + 3),
        Shape::Array(oid::NUMERIC),
        Shape::Opaque,
        Shape::Array(OWN + 6),
    ]);
    let mut time = attribute("a", oid::TIMESTAMP);
    time.ty.type_modifier = 3;
    types.attributes.insert(1, vec![time, attribute("b", OWN + 3), attribute("c", OWN + 4)]);
    let with = |base_oid, type_modifier, parts| DeclaredType { base_oid, type_modifier, parts };
    let of_domain = || DeclaredType::new(oid::NUMERIC, numeric(5, 2));
    let composite = with(
        OWN + 2,
        -1,
        vec![DeclaredType::new(oid::TIMESTAMP, 3), of_domain(), with(OWN + 4, -1, vec![of_domain()])],
    );
    assert_eq!(types.resolve(ty(OWN)).declared, with(OWN + 1, -1, vec![composite]));
    // numeric(7,1)[]: the array has its element's modifier.
    let of_numerics = TypeRef { type_modifier: numeric(7, 1), ..ty(OWN + 5) };
    let element = DeclaredType::new(oid::NUMERIC, numeric(7, 1));
    assert_eq!(types.resolve(of_numerics).declared, with(OWN + 5, numeric(7, 1), vec![element]));
    let timestamp = TypeRef { type_modifier: 0, ..ty(oid::TIMESTAMPTZ) };
    assert_eq!(types.resolve(timestamp).declared, DeclaredType::new(oid::TIMESTAMPTZ, 0));
    // For a type that is read as text, only its own modifier.
    assert_eq!(types.resolve(ty(OWN + 6)).declared, DeclaredType::new(OWN + 6, -1));
    let texts = types.resolve(ty(OWN + 7)).declared;
    assert_eq!(texts, with(OWN + 7, -1, vec![DeclaredType::new(OWN + 6, -1)]));
}
