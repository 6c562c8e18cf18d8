use crate::{Attribute, CompositeType, Decimal, EnumType, RangeType};

use super::*;

fn column(pg_type: PgType, options: TypeOptions) -> PgColumn {
    PgColumn {
        name: "c".to_owned(),
        pg_type,
        type_oid: 0,
        type_modifier: -1,
        type_name: "a type".to_owned(),
        nullable: true,
        comment: None,
        number: 1,
        options,
    }
}

/// `stops: …` and so on, one line for each note.
fn said(column: &PgColumn) -> Vec<String> {
    let kind = |note: &Note| format!("{:?}", note.kind).to_lowercase();
    notes(column).iter().map(|note| format!("{}: {}", kind(note), note.what)).collect()
}

fn array(element: PgType) -> PgType {
    array_of(element, 1)
}

fn array_of(element: PgType, dimensions: u8) -> PgType {
    PgType::Array(Arc::new(ArrayType { element, element_oid: 0, dimensions, is_vector: false }))
}

#[test]
fn what_stops_and_what_changes() {
    let default = TypeOptions::default();
    let null = TypeOptions {
        infinity: InfinityPolicy::Null,
        nan: NanPolicy::Null,
        out_of_range: OutOfRangePolicy::Null,
        ..default
    };
    let decimal = PgType::Numeric(NumericType::Declared { precision: 15, scale: 2 });
    assert_eq!(said(&column(PgType::Int4, default)), Vec::<String>::new());
    assert_eq!(said(&column(PgType::Date, default)), ["stops: infinity and -infinity stop the export"]);
    assert_eq!(said(&column(PgType::Date, null)), ["changes: infinity and -infinity become NULL"]);
    assert_eq!(said(&column(decimal.clone(), default)), ["stops: NaN stops the export"]);
    let not_null = PgColumn { nullable: false, ..column(decimal, null) };
    assert_eq!(
        said(&not_null),
        ["changes: NaN becomes NULL", "tells: becomes nullable, since a policy may write NULL"]
    );
    let text = PgType::Numeric(NumericType::Unconstrained);
    assert_eq!(said(&column(text, default)), ["tells: is text, since no precision is declared"]);
    let moods = PgType::Enum(Arc::new(EnumType { labels: vec!["sad".to_owned(), "ok".to_owned()] }));
    assert!(said(&column(moods, default))[0].starts_with("tells: has 2 labels;"));
    let regclass = PgColumn { type_name: "regclass".to_owned(), ..column(PgType::Oid, default) };
    assert_eq!(notes(&regclass)[0].option, Some(Hint::column("c", "text").into()));
}

#[test]
fn arrow_types_without_metadata() {
    let attribute =
        Attribute { name: "a".to_owned(), pg_type: PgType::Uuid, type_oid: 0, type_name: "uuid".to_owned() };
    let composite = PgType::Composite(Arc::new(CompositeType { attributes: vec![attribute] }));
    let field = column(array(composite), TypeOptions::default()).field();
    assert_eq!(arrow_type(field.data_type()), r#"List(Struct("a": FixedSizeBinary(16)))"#);
}

#[test]
fn decimals_that_were_chosen() {
    let stops = |decimal: Decimal, declared: (i32, i32)| {
        let pg_type = PgType::Numeric(NumericType::Declared {
            precision: decimal.precision().into(),
            scale: decimal.scale().into(),
        });
        let options = TypeOptions { numeric: NumericForm::Decimal(decimal), ..TypeOptions::default() };
        let type_modifier = if declared.0 == 0 { -1 } else { (declared.0 << 16 | declared.1) + 4 };
        let notes = notes(&PgColumn { type_modifier, ..column(pg_type, options) });
        notes.iter().any(|note| note.what.contains("more digits"))
    };
    let decimal = Decimal::new(20, 4).unwrap();
    // Not declared; fewer digits than declared behind the point, and before it; enough digits in both places.
    assert!(stops(decimal, (0, 0)) && stops(decimal, (20, 5)) && stops(decimal, (21, 4)));
    assert!(!stops(decimal, (20, 4)) && !stops(decimal, (15, 2)));
}

/// A scan was once recommended although it was chosen, and for numerics inside other types, which it ignores.
#[test]
fn a_scan_is_recommended_where_it_helps() {
    let numeric = PgType::Numeric(NumericType::Unconstrained);
    let said = |pg_type: PgType, form| {
        let options = TypeOptions { numeric: form, arrays: ArrayForm::Shaped, ..TypeOptions::default() };
        let [note] = &notes(&column(pg_type, options))[..] else { panic!("one note") };
        (note.what.clone(), note.option.clone().unwrap())
    };
    let (all, without) = ("decimal(P,S)|float64|scan", "decimal(P,S)|float64");
    let undeclared = "is text, since no precision is declared";
    for (pg_type, form, what, option) in [
        (numeric.clone(), NumericForm::Exact, undeclared, all),
        (array(numeric.clone()), NumericForm::Exact, undeclared, without),
        (
            numeric.clone(),
            NumericForm::Scan,
            "is text, since it has values of too many digits for a decimal",
            without,
        ),
        (
            array(numeric),
            NumericForm::Scan,
            "is text: it is not scanned, since the column is not numeric itself",
            without,
        ),
    ] {
        assert_eq!(said(pg_type, form), (what.to_owned(), NUMERIC.to(option).into()));
    }
}

#[test]
fn what_stands_inside_is_looked_at_once() {
    let range = PgType::Range(Arc::new(RangeType { subtype: PgType::Timestamptz }));
    let attribute =
        |pg_type| Attribute { name: "a".to_owned(), pg_type, type_oid: 0, type_name: "a type".to_owned() };
    let attributes = vec![attribute(range), attribute(PgType::Timestamp), attribute(PgType::Time)];
    let composites = array(PgType::Composite(Arc::new(CompositeType { attributes })));
    let default = TypeOptions::default();
    assert_eq!(
        said(&column(composites.clone(), default)),
        [
            "stops: arrays of more than one dimension stop the export",
            "stops: infinity and -infinity stop the export",
            "stops: times after 294247-01-10 04:00:54.775807 stop the export",
            "changes: lower bounds other than 1 are forgotten",
            "tells: 24:00:00 stays what it is, 86400000000 microseconds, which strict readers refuse",
        ]
    );
    let shaped = TypeOptions { arrays: ArrayForm::Shaped, ..default };
    assert_eq!(said(&column(array(PgType::Text), shaped)), Vec::<String>::new());
    let nested = TypeOptions { arrays: ArrayForm::Nested, ..default };
    let found = notes(&column(array_of(PgType::Int4, 2), nested));
    assert_eq!(found[0].what, "arrays of another depth than 2 dimensions stop the export");
    assert!(notes(&column(composites, default)).iter().all(|note| note.option.is_some()));
}
