//! Text that the server parses, and how the server checks that the value keeps everything the text said.
//!
//! Input functions silently round to the type's digits, cut blanks and keep one of two equal keys. So,
//! unless values may be rounded, the staging table has a CHECK: the value, printed, must equal the text. The
//! CHECK fails during COPY, so the error has the row's number. Money and intervals can be written in more
//! ways, so they have their own checks.

use pgarrow_catalog::{NAME_BYTES_MAX, quote_identifier};
use pgarrow_protocol::Session;
use pgarrow_session::Result;
use pgarrow_types::option::CONVERSIONS;
use pgarrow_types::{DeclaredType, Hint, Message, NumericType, PgType, message};

/// The CHECKs' names begin with this.
const NAME: &str = "text that would change";

/// How a text value is checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Look {
    /// The printed value equals the text.
    Printed,
    /// Each printed element equals its text.
    PrintedElements,
    /// As [`Printed`](Self::Printed), or the text is a plain number equal to the value.
    Money,
    /// The text has no digits that an interval cannot keep, and the type's modifier removes none.
    Interval,
    /// As [`Printed`](Self::Printed), if the type is built from other types. Of other server types, only
    /// their input function knows what the text means.
    IfMadeOfOthers,
}

impl Look {
    /// The check for text in a column of this type; `None` if the input function keeps all of the text or
    /// refuses it.
    pub(crate) fn at(pg_type: &PgType, declared: &DeclaredType, by_element: bool) -> Option<Self> {
        // Only the server knows what the type is, or what its elements are.
        if pg_type.server_cast().is_some() {
            return Some(Self::IfMadeOfOthers);
        }
        let look = Self::at_known(pg_type, declared)?;
        Some(if by_element { Self::PrintedElements } else { look })
    }

    /// The same for a type with a binary form, which may be a part of another. `None`: the input function
    /// refuses text that its value could not keep.
    #[deny(clippy::wildcard_enum_match_arm)]
    fn at_known(pg_type: &PgType, declared: &DeclaredType) -> Option<Self> {
        let is_exact = match pg_type {
            PgType::Bool | PgType::Int2 | PgType::Int4 | PgType::Int8 | PgType::PgLsn => true,
            PgType::Bytea | PgType::Uuid | PgType::Json | PgType::Bit | PgType::Enum(_) | PgType::Ltree => {
                true
            }
            PgType::Inet | PgType::Macaddr | PgType::Macaddr8 => true,
            PgType::Numeric(NumericType::Unconstrained) => true,
            // Without a modifier, the server cuts no blanks.
            PgType::Text => declared.type_modifier < 0,
            PgType::Array(array) => Self::at_known(&array.element, declared.part(0)).is_none(),
            PgType::Range(range) | PgType::Multirange(range) => {
                Self::at_known(&range.subtype, declared.part(0)).is_none()
            }
            PgType::Composite(composite) => {
                let mut parts = composite.attributes.iter().enumerate();
                parts.all(|(index, part)| Self::at_known(&part.pg_type, declared.part(index)).is_none())
            }
            PgType::Money { .. } => return Some(Self::Money),
            PgType::Interval { .. } => return Some(Self::Interval),
            PgType::Oid
            | PgType::Xid8
            | PgType::Float4
            | PgType::Float8
            | PgType::Numeric(NumericType::Declared { .. })
            | PgType::Bpchar
            | PgType::Char
            | PgType::Jsonb
            | PgType::Date
            | PgType::Time
            | PgType::Timetz
            | PgType::Timestamp
            | PgType::Timestamptz
            | PgType::Tid
            | PgType::Point
            | PgType::Line
            | PgType::Lseg
            | PgType::Box
            | PgType::Path
            | PgType::Polygon
            | PgType::Circle
            | PgType::Hstore
            | PgType::Vector { .. }
            | PgType::Halfvec { .. }
            | PgType::Sparsevec
            | PgType::Geometry(_)
            | PgType::ServerText { .. } => false,
        };
        (!is_exact).then_some(Self::Printed)
    }

    /// The condition on the text in the column of this name. `plain` is the type without its modifier.
    pub(crate) fn condition(self, column: &str, type_name: &str, plain: &str) -> String {
        let printed = |type_name: &str| format!("pg_catalog.format('%s', CAST({column} AS {type_name}))");
        let is_printed = || format!("{} OPERATOR(pg_catalog.=) {column}", printed(type_name));
        match self {
            Self::Printed | Self::IfMadeOfOthers => is_printed(),
            Self::PrintedElements => format!(
                "CAST(CAST({column} AS {type_name}) AS pg_catalog.text[]) OPERATOR(pg_catalog.=) {column}"
            ),
            Self::Money => format!(
                "CASE WHEN {column} OPERATOR(pg_catalog.~) '{NUMBER}' \
                 THEN CAST(CAST({column} AS {type_name}) AS pg_catalog.numeric) \
                   OPERATOR(pg_catalog.=) CAST({column} AS pg_catalog.numeric) \
                 ELSE {} END",
                is_printed()
            ),
            Self::Interval => format!(
                "{column} OPERATOR(pg_catalog.~) '{INTERVAL}' AND {} OPERATOR(pg_catalog.=) {}",
                printed(type_name),
                printed(plain)
            ),
        }
    }

    /// The column's CHECK. `index` keeps truncated names distinct.
    pub(crate) fn check(self, index: usize, name: &str, type_name: &str, plain: &str) -> String {
        let constraint = format!("{NAME} ({}): {name}", index.saturating_add(1));
        let end = constraint.floor_char_boundary(NAME_BYTES_MAX);
        let constraint = quote_identifier(constraint.get(..end).unwrap_or(NAME));
        format!(
            " CONSTRAINT {constraint} CHECK ({})",
            self.condition(&quote_identifier(name), type_name, plain)
        )
    }
}

/// Whether an error is about one of the CHECKs. The message contains the CHECK's name in any language.
pub(crate) fn is_broken(message: &str) -> bool {
    message.contains(NAME)
}

/// The advice for such an error.
pub(crate) fn advice() -> Message {
    message![
        "the server would keep another value than the text says: write it as PostgreSQL prints it (what has a time zone, in UTC \
         or in that of ",
        Hint::setting("TimeZone", "…"),
        "), or ",
        CONVERSIONS.to("round"),
        " takes what the server makes of it"
    ]
}

const NUMBER: &str = "^[+-]?[0-9]+([.][0-9]+)?$";

/// Only seconds may have fractions: the server spreads other fractions over smaller units, and rounds those
/// of years to months.
const INTERVAL: &str = "^(-?infinity\
    |(([+-]?[0-9]+ *(year|mon|month|week|day|hour|hr|minute|min|second|sec|millisecond|microsecond)s?\
    |[+-]?[0-9]+[.][0-9]{1,6}0* *(second|sec)s?) *)*([+-]?[0-9]+:[0-9]{2}:[0-9]{2}([.][0-9]{1,6}0*)?)?\
    |P([+-]?[0-9]+[YMWD])*(T([+-]?[0-9]+[HM])*([+-]?[0-9]+([.][0-9]{1,6}0*)?S)?)?)$";

/// Whether parsing or printing a value of the type may depend on the session's time zone.
#[deny(clippy::wildcard_enum_match_arm)]
pub(crate) fn needs_zone(pg_type: &PgType, type_oid: u32) -> bool {
    /// `FirstGenbkiObjectId` in PostgreSQL's `src/include/access/transam.h`: no type below it that is known
    /// only by its text contains a time.
    const MADE_BY_HAND: u32 = 10_000;
    match pg_type {
        PgType::Timestamptz | PgType::Timetz => true,
        PgType::ServerText { .. } => type_oid >= MADE_BY_HAND,
        PgType::Array(array) => needs_zone(&array.element, type_oid),
        PgType::Range(range) | PgType::Multirange(range) => needs_zone(&range.subtype, type_oid),
        PgType::Composite(composite) => {
            composite.attributes.iter().any(|part| needs_zone(&part.pg_type, type_oid))
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
        | PgType::Numeric(_)
        | PgType::Money { .. }
        | PgType::Text
        | PgType::Bpchar
        | PgType::Char
        | PgType::Bytea
        | PgType::Uuid
        | PgType::Json
        | PgType::Jsonb
        | PgType::Date
        | PgType::Time
        | PgType::Timestamp
        | PgType::Interval { .. }
        | PgType::Bit
        | PgType::Inet
        | PgType::Macaddr
        | PgType::Macaddr8
        | PgType::Enum(_)
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
        | PgType::Geometry(_) => false,
    }
}

/// Selects the types that are composites, ranges or multiranges, arrays of these, or domains over one of
/// them.
pub(crate) fn made_of_others(session: &mut Session, types: &[u32]) -> Result<Vec<u32>> {
    if types.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "WITH RECURSIVE part(whole, oid) AS ( \
                 SELECT t.oid, t.oid FROM pg_catalog.pg_type t \
                 WHERE t.oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) \
                 UNION \
                 SELECT p.whole, CASE t.typtype WHEN 'd'::pg_catalog.\"char\" THEN t.typbasetype ELSE t.typelem END \
                 FROM part p JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) p.oid \
                 WHERE t.typtype OPERATOR(pg_catalog.=) 'd'::pg_catalog.\"char\" \
                   OR t.typelem OPERATOR(pg_catalog.<>) 0::pg_catalog.oid) \
               SELECT DISTINCT p.whole::pg_catalog.text FROM part p \
               JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) p.oid \
               WHERE t.typtype OPERATOR(pg_catalog.=) ANY (ARRAY['c', 'r', 'm']::pg_catalog.\"char\"[])";
    let list: Vec<String> = types.iter().map(u32::to_string).collect();
    let rows = session.query(sql, &[Some(&format!("{{{}}}", list.join(",")))])?;
    Ok(rows.iter().filter_map(|row| row.text(0)?.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pgarrow_types::ArrayType;

    use super::*;

    #[test]
    fn what_is_looked_at() {
        let plain = DeclaredType::new(0, -1);
        let array = |element: PgType| {
            PgType::Array(Arc::new(ArrayType { element, element_oid: 0, dimensions: 1, is_vector: false }))
        };
        let of_two = PgType::Numeric(NumericType::Declared { precision: 10, scale: 2 });
        assert_eq!(Look::at(&PgType::Int4, &plain, false), None);
        assert_eq!(Look::at(&array(PgType::Bytea), &plain, true), None);
        assert_eq!(Look::at(&array(of_two), &plain, false), Some(Look::Printed));
        assert_eq!(Look::at(&array(PgType::Point), &plain, true), Some(Look::PrintedElements));
        assert_eq!(Look::at(&PgType::Interval { has_infinities: true }, &plain, false), Some(Look::Interval));
        let cut = DeclaredType { parts: vec![DeclaredType::new(1043, 7)], ..plain.clone() };
        assert_eq!(Look::at(&array(PgType::Text), &cut, false), Some(Look::Printed));
        assert_eq!(Look::at(&array(PgType::Text), &plain, false), None);
    }

    #[test]
    fn names_of_checks() {
        let check = Look::Printed.check(0, &"ä".repeat(31), "box", "box");
        let name = check.split('"').nth(1).unwrap();
        assert!(name.len() <= NAME_BYTES_MAX && name.starts_with("text that would change (1): ä"), "{check}");
        assert!(is_broken(name) && !is_broken("t_check"));
    }
}
