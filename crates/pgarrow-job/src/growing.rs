//! A column that grows: its largest value, and the condition for rows since.
//!
//! The largest value is asked for before the snapshot is taken, so rows that come in between are read twice
//! rather than not at all. Values of the future are not asked for: whoever wrote them had a wrong clock, or a
//! plan, and all rows before them would be missed. They come with every run until their time has passed, as
//! infinite ones do.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pgarrow_export::{
    Error, ErrorKind, ExportOptions, Relation, RelationKind, Result, Source, message, option,
    quote_identifier,
};

use crate::rules::{NullRows, Overlap, TableRule};

/// What is asked about a table.
pub(crate) struct Question<'a> {
    pub(crate) relation: &'a Relation,
    /// With the filter that is in force.
    pub(crate) rule: &'a TableRule,
    /// The largest value of the run before.
    pub(crate) before: Option<&'a str>,
}

/// A column that grows, as it is now.
#[derive(Clone, Debug)]
pub(crate) struct Growing {
    kind: Kind,
    /// The largest value that is there.
    pub(crate) largest: Option<String>,
    /// It is smaller than in the run before, or there is none any more.
    pub(crate) is_smaller: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Integer,
    /// The name of the type.
    Moment(&'static str),
    Uuid,
}

impl Kind {
    fn of(type_name: &str) -> Result<Self> {
        Ok(match type_name {
            "smallint" | "integer" | "bigint" => Self::Integer,
            "timestamp without time zone" => Self::Moment("timestamp"),
            "timestamp with time zone" => Self::Moment("timestamptz"),
            "date" => Self::Moment("date"),
            "uuid" => Self::Uuid,
            other => {
                return Err(refused(&format!(
                    "its new rows cannot be found by a column of type {other}: it takes an integer, a date, a timestamp \
                     or a UUID of version 7"
                )));
            }
        })
    }

    /// A value as SQL.
    fn literal(self, value: &str) -> Result<String> {
        let is_valid = match self {
            Self::Integer => value.parse::<i128>().is_ok(),
            Self::Moment(_) => value.chars().all(|c| c.is_ascii_alphanumeric() || " +-:.".contains(c)),
            Self::Uuid => value.len() == 36 && value.chars().all(|c| c.is_ascii_hexdigit() || c == '-'),
        };
        if !is_valid {
            return Err(unreadable());
        }
        Ok(match self {
            Self::Integer => format!("'{value}'::pg_catalog.int8"),
            Self::Moment(name) => format!("'{value}'::pg_catalog.{name}"),
            Self::Uuid => format!("'{value}'::pg_catalog.uuid"),
        })
    }

    /// The condition that a value is neither infinite nor of the future.
    fn is_past(self, column: &str) -> String {
        match self {
            Self::Integer => format!("{column} IS NOT NULL"),
            Self::Moment(name) => format!(
                "{column} IS NOT NULL AND pg_catalog.isfinite({column}) \
                 AND {column} OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp()::pg_catalog.{name}"
            ),
            Self::Uuid => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let next = uuid_of(u64::try_from(now.as_millis()).unwrap_or(u64::MAX).saturating_add(1));
                format!("{column} OPERATOR(pg_catalog.<) '{next}'::pg_catalog.uuid")
            }
        }
    }
}

/// Asks about the columns of these tables, one statement for each. By the tables' OIDs.
///
/// # Errors
///
/// The server cannot be asked.
pub(crate) fn ask(
    source: &Source,
    options: &ExportOptions,
    only: bool,
    questions: &[Question<'_>],
) -> Result<HashMap<u32, Result<Growing>>> {
    let types: Vec<String> = questions.iter().map(type_question).collect();
    let types = source.query_texts_with(types.iter().map(String::as_str), options)?;
    let kinds = questions.iter().zip(types).map(|(Question { rule, .. }, answer)| {
        let name = answer?.into_iter().flatten().flatten().next();
        let column = rule.column.as_deref().unwrap_or_default();
        Kind::of(&name.ok_or_else(|| refused(&format!("it has no column {column:?} to find new rows by")))?)
    });
    let kinds: Vec<Result<Kind>> = kinds.collect();
    let mut answers = HashMap::new();
    let mut asked = Vec::new();
    for (question, kind) in questions.iter().zip(kinds) {
        let sql = kind.and_then(|kind| Ok((kind, value_question(question, kind, only)?)));
        match sql {
            Ok((kind, sql)) => asked.push((question, kind, sql)),
            Err(error) => drop(answers.insert(question.relation.oid, Err(error))),
        }
    }
    let values = source.query_texts_with(asked.iter().map(|(.., sql)| sql.as_str()), options)?;
    for ((Question { relation, rule, before }, kind, _), answer) in asked.into_iter().zip(values) {
        let growing = answer.and_then(|rows| {
            let mut texts = rows.into_iter().flatten();
            let (largest, is_smaller) = (texts.next().flatten(), texts.next().flatten());
            let is_smaller = before.is_some() && is_smaller.as_deref() != Some("false");
            Growing { kind, largest, is_smaller }.checked(rule)
        });
        answers.insert(relation.oid, growing);
    }
    Ok(answers)
}

/// The type of a column, under its domains.
fn type_question(Question { relation, rule, .. }: &Question<'_>) -> String {
    format!(
        "WITH RECURSIVE of(oid) AS ( \
           SELECT atttypid FROM pg_catalog.pg_attribute WHERE attrelid OPERATOR(pg_catalog.=) '{}'::pg_catalog.oid \
             AND attname OPERATOR(pg_catalog.=) {}::pg_catalog.name AND attnum OPERATOR(pg_catalog.>) 0 \
             AND NOT attisdropped \
           UNION ALL SELECT t.typbasetype FROM of JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) of.oid \
             WHERE t.typtype OPERATOR(pg_catalog.=) 'd') \
         SELECT pg_catalog.format_type(of.oid, NULL) FROM of \
         JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) of.oid AND t.typtype OPERATOR(pg_catalog.<>) 'd'",
        relation.oid,
        literal(rule.column.as_deref().unwrap_or_default())
    )
}

/// The largest value as JSON has it, which is ISO 8601 for moments, whatever the session's settings are; and
/// whether it is smaller than before.
fn value_question(
    Question { relation, rule, before }: &Question<'_>,
    kind: Kind,
    only: bool,
) -> Result<String> {
    let column = quote_identifier(rule.column.as_deref().unwrap_or_default());
    let from = match only && relation.kind != RelationKind::PartitionedTable {
        true => format!("ONLY {}", relation.quoted()),
        false => relation.quoted(),
    };
    let filter = rule.filter.as_ref().map(|filter| format!(" AND (\n{filter}\n)")).unwrap_or_default();
    let is_smaller = match before {
        Some(before) => format!("value OPERATOR(pg_catalog.<) {}", kind.literal(before)?),
        None => "NULL::pg_catalog.bool".to_owned(),
    };
    Ok(format!(
        "SELECT pg_catalog.to_json(value) OPERATOR(pg_catalog.#>>) '{{}}', ({is_smaller})::pg_catalog.text FROM ( \
           SELECT {column} AS value FROM {from} WHERE {}{filter} ORDER BY {column} DESC LIMIT 1) AS largest",
        kind.is_past(&column)
    ))
}

impl Growing {
    fn checked(self, rule: &TableRule) -> Result<Self> {
        match (self.kind, rule.overlap) {
            (Kind::Integer, Some(Overlap::Time(_))) => {
                return Err(refused("its column is an integer, so the overlap is a number, as in 1000"));
            }
            (Kind::Moment(_) | Kind::Uuid, Some(Overlap::Number(_))) => {
                return Err(refused("its column has moments, so the overlap is a time, as in \"10m\""));
            }
            _ => {}
        }
        // The version is the 13th digit.
        if let (Kind::Uuid, Some(uuid)) = (self.kind, &self.largest)
            && uuid.as_bytes().get(14) != Some(&b'7')
        {
            return Err(refused("its UUIDs do not grow: they are of another version than 7"));
        }
        Ok(self)
    }

    /// The condition for rows since the run that had this largest value.
    pub(crate) fn condition(&self, rule: &TableRule, largest: Option<&str>) -> Result<String> {
        let column = quote_identifier(rule.column.as_deref().unwrap_or_default());
        let Some(largest) = largest else {
            // Nothing was there: all that is there now is new.
            return Ok("true".to_owned());
        };
        let from = match self.kind {
            Kind::Integer => {
                let overlap = match rule.overlap {
                    Some(Overlap::Number(number)) => i128::from(number),
                    _ => 0,
                };
                let largest: i128 = largest.parse().map_err(|_| unreadable())?;
                self.kind.literal(&largest.saturating_sub(overlap).max(i128::from(i64::MIN)).to_string())?
            }
            Kind::Moment(name) => format!(
                "({} OPERATOR(pg_catalog.-) '{} microseconds'::pg_catalog.interval)::pg_catalog.{name}",
                self.kind.literal(largest)?,
                overlap_time(rule).as_micros()
            ),
            Kind::Uuid => self.kind.literal(&uuid_from(largest, overlap_time(rule))?)?,
        };
        let mut condition = format!("{column} OPERATOR(pg_catalog.>=) {from}");
        if let Kind::Moment(_) = self.kind {
            condition.push_str(&format!(" OR NOT pg_catalog.isfinite({column})"));
        }
        if rule.nulls.unwrap_or_default() == NullRows::Always {
            condition.push_str(&format!(" OR {column} IS NULL"));
        }
        Ok(condition)
    }
}

fn overlap_time(rule: &TableRule) -> Duration {
    match rule.overlap {
        Some(Overlap::Time(time)) => time,
        _ => Duration::ZERO,
    }
}

/// The smallest UUID of version 7 of that much time before (RFC 9562, 5.7: 48 bits of milliseconds).
fn uuid_from(uuid: &str, overlap: Duration) -> Result<String> {
    let digits: String = uuid.chars().filter(|c| *c != '-').take(12).collect();
    let millis = u64::from_str_radix(&digits, 16).map_err(|_| unreadable())?;
    Ok(uuid_of(millis.saturating_sub(u64::try_from(overlap.as_millis()).unwrap_or(u64::MAX))))
}

fn uuid_of(millis: u64) -> String {
    let digits = format!("{:012x}", millis & ((1 << 48) - 1));
    let (high, low) = digits.split_at_checked(8).unwrap_or_default();
    format!("{high}-{low}-0000-0000-000000000000")
}

fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', r"\\").replace('\'', "''"))
}

fn unreadable() -> Error {
    all_again("the largest value of the run before cannot be read")
}

/// What the run before has left is of no use.
pub(crate) fn all_again(why: &str) -> Error {
    refused(why).advice(message!["read all rows again (", option::FULL, ")"])
}

pub(crate) fn refused(why: &str) -> Error {
    Error::new(ErrorKind::Options, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growing(kind: &str, largest: Option<&str>) -> Growing {
        let kind = Kind::of(kind).unwrap();
        Growing { kind, largest: largest.map(str::to_owned), is_smaller: false }
    }

    #[test]
    fn an_overlap_of_uuids_goes_back_in_time() {
        let uuid = "01930000-0b00-7abc-8def-0123456789ab";
        for (millis, from) in [
            (0, "01930000-0b00-0000-0000-000000000000"),
            (1, "01930000-0aff-0000-0000-000000000000"),
            (0xb01, "0192ffff-ffff-0000-0000-000000000000"),
            (u64::MAX, "00000000-0000-0000-0000-000000000000"),
        ] {
            assert_eq!(uuid_from(uuid, Duration::from_millis(millis)).unwrap(), from);
        }
        assert!(uuid_from("no UUID at all", Duration::ZERO).is_err());
    }

    #[test]
    fn values_of_a_column_that_grows() {
        let rule = |overlap| TableRule {
            column: Some("The \"key".to_owned()),
            overlap,
            nulls: Some(NullRows::Never),
            ..TableRule::new("t")
        };
        let integers = |overlap, largest: &str| {
            growing("bigint", None).condition(&rule(Some(Overlap::Number(overlap))), Some(largest))
        };
        let condition = integers(5, "100").unwrap();
        assert_eq!(condition, "\"The \"\"key\" OPERATOR(pg_catalog.>=) '95'::pg_catalog.int8");
        assert!(integers(u64::MAX, "-9223372036854775808").unwrap().contains("'-9223372036854775808'"));
        assert!(integers(1, "x").is_err());
        let rule = rule(Some(Overlap::Time(Duration::from_millis(1500))));
        let moments = growing("timestamp with time zone", None);
        let condition = moments.condition(&rule, Some("2026-01-01T00:00:00+00:00")).unwrap();
        assert!(condition.contains("'1500000 microseconds'::pg_catalog.interval)::pg_catalog.timestamptz"));
        // A manifest that somebody else has written adds nothing to the statement.
        assert!(moments.condition(&rule, Some("x' OR true --")).is_err());
        assert!(growing("uuid", None).condition(&rule, Some("x' OR true --")).is_err());
        // Nothing was there, so all is new.
        assert_eq!(moments.condition(&rule, None).unwrap(), "true");
        let random = growing("uuid", Some("ffffffff-ffff-4fff-8fff-ffffffffffff"));
        assert!(random.checked(&TableRule::new("t")).is_err());
    }
}
