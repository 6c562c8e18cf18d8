//! Notes on a column before it is read: which of its values would stop an export or change, and which option
//! decides it.

use std::sync::Arc;

use crate::hint::Hint;
use crate::hint::option::{
    ARRAYS, ENCODING, ENUMS, GEOMETRY, INFINITY, INTERVAL, LOST_DIGITS, NAN, NUMERIC, OUT_OF_RANGE,
    TIMESTAMP_UNIT, TRIM, UNKNOWN_TYPES,
};
use crate::message;
use crate::message::Message;
use arrow_schema::{DataType, Field, FieldRef};

use crate::choices::{
    ArrayForm, EncodingPolicy, EnumForm, GeometryForm, InfinityPolicy, IntervalForm, LostDigitsPolicy,
    NanPolicy, NumericForm, OutOfRangePolicy, TimestampUnit, TypeOptions,
};
use crate::column::PgColumn;
use crate::numeric::{DecimalForm, NumericType};
use crate::pg_type::{ArrayType, GeometryType, PgType};

/// One fact about a column.
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Note {
    /// Its consequence.
    pub kind: NoteKind,
    /// The end of a sentence about the column, without its full stop.
    pub what: String,
    /// Options that decide it, one of which is enough: options of the run, which also work for a single
    /// column, or a choice for the column. Without values, it was chosen, and could have been another. `None`
    /// if there is nothing to decide.
    pub option: Option<Message>,
}

/// The consequence of a [`Note`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum NoteKind {
    /// Such a value stops the export.
    Stops,
    /// Such a value changes or is lost; the report counts these values.
    Changes,
    /// No value is lost, but the result may surprise the user.
    Tells,
}

/// The notes on a column, given the choices that hold for it. They include the types inside arrays,
/// composites and ranges. Each note comes once, those that stop an export first.
pub fn notes(column: &PgColumn) -> Vec<Note> {
    let declared = NumericType::from_type_modifier(column.type_modifier);
    let is_numeric = matches!(column.pg_type, PgType::Numeric(_));
    let name = &column.name;
    let mut notes = Notes { name, options: &column.options, declared, is_numeric, notes: Vec::new() };
    // Only the server knows the names of reg* types.
    if column.pg_type == PgType::Oid && column.type_name.starts_with("reg") {
        let text = notes.as_text();
        notes.tell("is a number; the server prints it as a name", text);
    }
    notes.of(&column.pg_type);
    if !column.nullable && column.pg_type.may_become_null(&column.options) {
        notes.tell("becomes nullable, since a policy may write NULL", Message::default());
    }
    let mut notes = notes.notes;
    notes.sort_by_key(|note| note.kind);
    notes
}

/// An Arrow type in words, without the metadata of the fields inside of it.
pub fn arrow_type(data_type: &DataType) -> String {
    without_metadata(data_type).to_string()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "of Arrow's types, only these have fields with metadata")]
fn without_metadata(data_type: &DataType) -> DataType {
    let plain = |field: &FieldRef| -> FieldRef {
        Arc::new(Field::new(field.name(), without_metadata(field.data_type()), field.is_nullable()))
    };
    match data_type {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain).collect()),
        DataType::List(item) => DataType::List(plain(item)),
        DataType::LargeList(item) => DataType::LargeList(plain(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(plain(item), *size),
        DataType::Map(entries, is_sorted) => DataType::Map(plain(entries), *is_sorted),
        other => other.clone(),
    }
}

struct Notes<'a> {
    /// The column's name.
    name: &'a str,
    options: &'a TypeOptions,
    /// What the column declares, if it is a numeric or an array of it.
    declared: NumericType,
    /// The column itself is a numeric: not one inside of it.
    is_numeric: bool,
    notes: Vec<Note>,
}

impl Notes<'_> {
    fn add(&mut self, kind: NoteKind, what: impl Into<String>, option: impl Into<Message>) {
        let option = Some(option.into()).filter(|option| !option.is_empty());
        let note = Note { kind, what: what.into(), option };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn stop(&mut self, what: impl Into<String>, option: impl Into<Message>) {
        self.add(NoteKind::Stops, what, option);
    }

    fn change(&mut self, what: impl Into<String>, option: impl Into<Message>) {
        self.add(NoteKind::Changes, what, option);
    }

    /// `option` is empty if there is nothing to decide.
    fn tell(&mut self, what: impl Into<String>, option: impl Into<Message>) {
        self.add(NoteKind::Tells, what, option);
    }

    fn as_text(&self) -> Hint {
        Hint::column(self.name, "text")
    }

    fn of(&mut self, pg_type: &PgType) {
        match pg_type {
            PgType::Numeric(numeric) => self.of_numeric(*numeric),
            PgType::Json if self.options.encoding != EncodingPolicy::Binary => self.tell(
                r"keeps escapes that are no text, such as \ud800 alone, for which DuckDB refuses a Parquet column of JSON",
                self.as_text(),
            ),
            PgType::Bpchar if self.options.trim => self.change("loses the blanks that pad it", TRIM),
            PgType::Bpchar => self.tell("keeps the blanks that pad it", TRIM),
            PgType::Date => self.of_infinity(),
            PgType::Time => self.of_end_of_day(),
            PgType::Timetz => {
                self.of_end_of_day();
                self.tell("is a struct of the time and its offset from UTC", self.as_text());
            }
            PgType::Timestamp | PgType::Timestamptz => self.of_timestamp(),
            PgType::Interval { has_infinities } => self.of_interval(*has_infinities),
            PgType::Enum(of) => self.of_enum(of.labels.len()),
            PgType::Geometry(geometry) => self.of_geometry(geometry),
            PgType::Array(array) => self.of_array(array),
            PgType::Composite(composite) => {
                composite.attributes.iter().for_each(|attribute| self.of(&attribute.pg_type));
            }
            PgType::Range(range) | PgType::Multirange(range) => {
                self.of(&range.subtype);
                if self.options.infinity == InfinityPolicy::Null
                    && range.subtype.may_become_null(self.options)
                {
                    self.change(
                        "an infinite bound can no longer be told from a missing one",
                        INFINITY.to("saturate"),
                    );
                }
            }
            PgType::ServerText { warn: true } => {
                self.tell("is not decoded: it is the server's text", UNKNOWN_TYPES.to("error"));
            }
            PgType::Bool
            | PgType::Int2
            | PgType::Int4
            | PgType::Int8
            | PgType::Oid
            | PgType::Xid8
            | PgType::PgLsn
            | PgType::Float4
            | PgType::Float8
            | PgType::Money { .. }
            | PgType::Text
            | PgType::Char
            | PgType::Bytea
            | PgType::Uuid
            | PgType::Json
            | PgType::Jsonb
            | PgType::Bit
            | PgType::Inet
            | PgType::Macaddr
            | PgType::Macaddr8
            | PgType::Tid
            | PgType::Point
            | PgType::Line
            | PgType::Lseg
            | PgType::Box
            | PgType::Path
            | PgType::Polygon
            | PgType::Circle
            | PgType::Hstore
            | PgType::Ltree
            | PgType::Vector { .. }
            | PgType::Halfvec { .. }
            | PgType::Sparsevec
            | PgType::ServerText { .. } => {}
        }
        if pg_type.is_stored_text() {
            self.of_encoding();
        }
    }

    fn of_infinity(&mut self) {
        match self.options.infinity {
            InfinityPolicy::Error => {
                self.stop("infinity and -infinity stop the export", INFINITY.to("null|saturate"));
            }
            InfinityPolicy::Null => self.change("infinity and -infinity become NULL", INFINITY),
            InfinityPolicy::Saturate => {
                self.change("infinity and -infinity become the largest and the smallest value", INFINITY);
            }
        }
    }

    /// `which` values are out of range, and another option that helps, if there is one.
    fn of_range(&mut self, which: &str, other: Option<Hint>) {
        match self.options.out_of_range {
            OutOfRangePolicy::Error => {
                let ways = [Some(OUT_OF_RANGE.to("null|saturate")), other].into_iter().flatten();
                self.stop(format!("{which} stop the export"), Message::join(ways.map(Message::from), " or "));
            }
            OutOfRangePolicy::Null => self.change(format!("{which} become NULL"), OUT_OF_RANGE),
            OutOfRangePolicy::Saturate => {
                self.change(format!("{which} become the largest or the smallest value"), OUT_OF_RANGE);
            }
        }
    }

    /// `which` values have digits that are not kept, and another option that helps.
    fn of_lost_digits(&mut self, which: &str, other: Hint) {
        match self.options.lost_digits {
            LostDigitsPolicy::Error => {
                let ways = message![LOST_DIGITS.to("round"), " or ", other];
                self.stop(format!("{which} stop the export"), ways);
            }
            LostDigitsPolicy::Round => self.change(format!("{which} are rounded"), LOST_DIGITS),
        }
    }

    fn of_numeric(&mut self, numeric: NumericType) {
        let form = numeric.form(self.options.numeric);
        match form {
            DecimalForm::Decimal128 { .. } | DecimalForm::Decimal256 { .. } => {}
            DecimalForm::Float64 => {
                self.change("is rounded to the nearest double", NUMERIC.to("exact|text"));
                self.of_range("values that no double is near to", None);
                return;
            }
            DecimalForm::Text if self.options.numeric == NumericForm::Text => return,
            DecimalForm::Text => {
                let is_scanned = self.options.numeric == NumericForm::Scan;
                let why = match (self.is_numeric, is_scanned, numeric) {
                    (true, true, _) => "is text, since it has values of too many digits for a decimal",
                    (false, true, _) => "is text: it is not scanned, since the column is not numeric itself",
                    (_, false, NumericType::Unconstrained) => "is text, since no precision is declared",
                    (_, false, NumericType::Declared { .. }) => {
                        "is text, since no decimal of Arrow has so many digits"
                    }
                };
                // A scan is for columns that are numerics themselves. A finished scan has no more to offer.
                let option = match self.is_numeric && !is_scanned {
                    true => "decimal(P,S)|float64|scan",
                    false => "decimal(P,S)|float64",
                };
                self.tell(why, NUMERIC.to(option));
                return;
            }
        }
        match self.options.nan {
            NanPolicy::Error => {
                self.stop("NaN stops the export", message![NAN.to("null"), " or ", NUMERIC.to("text")]);
            }
            NanPolicy::Null => self.change("NaN becomes NULL", NAN),
        }
        if let DecimalForm::Decimal256 { .. } = form {
            self.tell("has more than 38 digits, which many readers do not have", NUMERIC.to("text"));
        }
        if !self.holds_all(numeric) {
            self.of_range("values with more digits before the point", Some(NUMERIC.to("text")));
            self.of_lost_digits("values with more digits behind the point", NUMERIC.to("text"));
        }
    }

    /// Whether the decimal holds every finite value: true for that of a declared type and for a scanned one;
    /// a chosen one may not.
    fn holds_all(&self, numeric: NumericType) -> bool {
        let NumericForm::Decimal(chosen) = self.options.numeric else { return true };
        let (precision, scale) = (i32::from(chosen.precision()), i32::from(chosen.scale()));
        let is_chosen = match numeric {
            NumericType::Unconstrained => true,
            NumericType::Declared { precision: p, scale: s } => {
                (i32::from(p), i32::from(s)) == (precision, scale)
            }
        };
        match self.declared {
            _ if !is_chosen => numeric.decimal_form() != DecimalForm::Text,
            NumericType::Unconstrained => false,
            NumericType::Declared { precision: p, scale: s } => {
                scale >= i32::from(s) && precision - scale >= i32::from(p) - i32::from(s)
            }
        }
    }

    fn of_end_of_day(&mut self) {
        self.tell(
            "24:00:00 stays what it is, 86400000000 microseconds, which strict readers refuse",
            self.as_text(),
        );
    }

    fn of_timestamp(&mut self) {
        self.of_infinity();
        match self.options.timestamp_unit {
            TimestampUnit::Microsecond => {
                self.of_range("times after 294247-01-10 04:00:54.775807", Some(TIMESTAMP_UNIT.to("ms")));
            }
            TimestampUnit::Millisecond => {
                self.of_lost_digits("times with a fraction of a millisecond", TIMESTAMP_UNIT.to("us"));
            }
            TimestampUnit::Nanosecond => {
                self.of_range("times outside of 1677-09-21 to 2262-04-11", Some(TIMESTAMP_UNIT.to("us")));
            }
        }
    }

    fn of_interval(&mut self, has_infinities: bool) {
        if has_infinities && self.options.interval != IntervalForm::Text {
            self.of_infinity();
        }
        match self.options.interval {
            IntervalForm::MonthDayNano => {
                let other = INTERVAL.to("struct|text");
                self.of_range("hours, minutes and seconds beyond 292 years", Some(other.clone()));
                self.tell("is a struct in Parquet, which has no such type", other);
            }
            IntervalForm::Struct | IntervalForm::Text => {}
        }
    }

    fn of_enum(&mut self, n_labels: usize) {
        if self.options.enums == EnumForm::Dictionary {
            self.tell(
                format!("has {n_labels} labels; one that is added while an Arrow IPC file is written stops the export"),
                ENUMS.to("text"),
            );
        }
    }

    fn of_geometry(&mut self, geometry: &GeometryType) {
        if self.options.geometry == GeometryForm::Wkb {
            let which = match geometry.srid {
                0 => "geometries with an SRID stop the export, since the column declares none".to_owned(),
                srid => format!("geometries of another SRID than {srid} stop the export"),
            };
            self.stop(which, GEOMETRY.to("ewkb"));
            if geometry.srid != 0 && geometry.crs.is_none() {
                let text =
                    format!("SRID {} has no name in spatial_ref_sys, so the field has none", geometry.srid);
                self.tell(text, Message::default());
            }
        }
    }

    fn of_array(&mut self, array: &ArrayType) {
        match array.form(self.options) {
            _ if array.is_vector => {}
            ArrayForm::List => {
                self.stop("arrays of more than one dimension stop the export", ARRAYS.to("nested|shaped"));
                self.change("lower bounds other than 1 are forgotten", ARRAYS.to("shaped"));
            }
            ArrayForm::Nested => {
                let depth = array.depth();
                let dimensions =
                    if depth == 1 { "one dimension".to_owned() } else { format!("{depth} dimensions") };
                self.stop(
                    format!("arrays of another depth than {dimensions} stop the export"),
                    message![ARRAYS.to("shaped"), " or ", Hint::column(self.name, "TYPE[][]")],
                );
                self.change("lower bounds other than 1 are forgotten", ARRAYS.to("shaped"));
            }
            ArrayForm::Shaped => {}
        }
        self.of(&array.element);
    }

    /// A database that checks its text sends us only UTF-8. A chosen policy gets a note.
    fn of_encoding(&mut self) {
        match self.options.encoding {
            EncodingPolicy::Error => {}
            EncodingPolicy::Replace => self.change("bytes that are not UTF-8 become U+FFFD", ENCODING),
            EncodingPolicy::Latin1 => {
                self.change("text that is not UTF-8 is read as Latin-1", ENCODING);
            }
            EncodingPolicy::Binary => self.tell("is binary, in whatever encoding it has", ENCODING),
        }
    }
}

#[cfg(test)]
mod tests;
