//! Random columns, and values for them.

use pgarrow_testkit::Chance;

use crate::differential::generators::{GENERATORS, Generator};

/// The types whose stored form is decoded, by the generators' names; others are read by COPY.
const STORED: [&str; 46] = [
    "bool",
    "\"char\"",
    "int2",
    "int4",
    "int8",
    "oid",
    "xid8",
    "pg_lsn",
    "tid",
    "regclass",
    "float4",
    "float8",
    "money",
    "text",
    "varchar(100)",
    "bpchar",
    "char(40)",
    "name",
    "bytea",
    "uuid",
    "json",
    "jsonb",
    "date",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "interval",
    "bit(13)",
    "varbit",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "point",
    "line",
    "lseg",
    "box",
    "path",
    "polygon",
    "circle",
    "mood",
    "positive",
    "price",
    "word",
    "letter",
];

/// Pairs of types: a column of the first may be altered to the second, sometimes without a rewrite, so that
/// old values stay as stored.
const ALTERED: [(&str, &str); 14] = [
    ("int2", "int4"),
    ("int4", "int8"),
    ("int4", "numeric"),
    ("int8", "text"),
    ("varchar(100)", "text"),
    ("varchar(100)", "varchar(200)"),
    ("char(40)", "text"),
    ("date", "timestamp"),
    ("timestamp", "timestamptz"),
    ("cidr", "inet"),
    ("bit(13)", "varbit"),
    ("positive", "int4"),
    ("word", "text"),
    ("json", "jsonb"),
];

/// A column in its current state.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) pg_type: String,
    /// An expression for values, over a row of [`rows`].
    random: String,
    is_array: bool,
}

impl Column {
    pub(super) fn new(chance: &mut Chance, name: String) -> Self {
        let is_stored = |generator: &Generator| {
            STORED.contains(&generator.pg_type) || generator.pg_type.starts_with("numeric")
        };
        let among: Vec<&Generator> = match chance.is(96) {
            true => GENERATORS.iter().filter(|generator| is_stored(generator)).collect(),
            false => GENERATORS.iter().filter(|generator| generator.pg_type != "xml").collect(),
        };
        let Generator { pg_type, random, .. } = among[chance.index(among.len())];
        // The name of no object is read from a number as text.
        let via = if pg_type.starts_with("reg") { "oid" } else { "text" };
        let value = format!("(({random})::{via})::{pg_type}");
        if is_stored(among[0]) && chance.is(15) {
            let array = format!(
                "(CASE g % 5 WHEN 0 THEN '{{}}' WHEN 1 THEN ARRAY[NULL::{pg_type}] WHEN 2 THEN ARRAY[{value}] \
                 ELSE ARRAY[{value}, NULL, {value}] END)"
            );
            return Self { name, pg_type: format!("{pg_type}[]"), random: array, is_array: true };
        }
        Self { name, pg_type: (*pg_type).to_owned(), random: value, is_array: false }
    }

    /// As an identifier.
    pub(super) fn quoted(&self) -> String {
        format!("\"{}\"", self.name)
    }

    /// A value for a row of [`rows`], NULL in some rows.
    pub(super) fn value(&self, chance: &mut Chance) -> String {
        let value = match self.long(chance) {
            Some(long) if chance.is(20) => {
                format!("CASE WHEN g % {} = 0 THEN {long} ELSE {} END", chance.within(1, 40), self.random)
            }
            _ => self.random.clone(),
        };
        match chance.within(0, 9) {
            0 => format!("NULL::{}", self.pg_type),
            1..=3 => format!("CASE WHEN (g * 7) % {} > 0 THEN {value} END", chance.within(2, 9)),
            _ => value,
        }
    }

    /// A long value; some compress well and some do not.
    fn long(&self, chance: &mut Chance) -> Option<String> {
        let n = chance.within(1, 400);
        let text = match chance.is(50) {
            true => format!("repeat(h || 'é', {n})"),
            false => format!("(SELECT string_agg(md5(h || i), '') FROM generate_series(1, {n}) AS i)"),
        };
        Some(match self.pg_type.as_str() {
            "text" | "bpchar" => text,
            "bytea" => format!("convert_to({text}, 'UTF8')"),
            "json" | "jsonb" => format!("to_jsonb({text})::{}", self.pg_type),
            "numeric" => format!("left(repeat(d, {}), {})::numeric", n.div_ceil(4), 100 * n.div_ceil(4)),
            "varbit" => format!("repeat('10011', {n})::varbit"),
            "path" => format!(
                "(SELECT ('[' || string_agg('(' || i || ',' || n || ')', ',') || ']')::path FROM generate_series(1, {n}) AS i)"
            ),
            // Values that stop a run, or that a policy changes.
            "date" | "timestamp" | "timestamptz" if n < 100 => format!("'infinity'::{}", self.pg_type),
            "numeric(15,2)" | "numeric(38,10)" if n < 100 => format!("'NaN'::{}", self.pg_type),
            "text[]" => format!("array_fill({text}, ARRAY[3])"),
            "int4[]" | "int8[]" | "float8[]" => {
                format!("array_fill(1::{}, ARRAY[{n}])", self.pg_type.trim_end_matches("[]"))
            }
            _ => return None,
        })
    }

    /// A constant of the type, or an expression that is evaluated for every row.
    pub(super) fn default(&self, constant: &str, is_volatile: bool) -> String {
        let literal = format!("'{}'::{}", constant.replace('\'', "''"), self.pg_type);
        match is_volatile {
            true => format!("CASE WHEN random() < 0.5 THEN {literal} END"),
            false => literal,
        }
    }

    /// A SELECT of one value as text.
    pub(super) fn constant(&self, chance: &mut Chance) -> String {
        format!("SELECT ({})::text FROM {}", self.random, rows(chance, 1))
    }

    /// Another type for the column, and the SQL that changes it.
    pub(super) fn altered(&self, chance: &mut Chance, table: &str) -> (Self, String) {
        let near: Vec<_> = ALTERED.iter().filter(|(from, _)| *from == self.pg_type).collect();
        let (name, quoted) = (self.name.clone(), self.quoted());
        match near.first() {
            Some((_, to)) if !self.is_array && chance.is(80) => {
                let altered = Self {
                    name,
                    pg_type: (*to).to_owned(),
                    random: format!("(({})::text)::{to}", self.random),
                    is_array: false,
                };
                let sql = format!(
                    "ALTER TABLE {table} ALTER {quoted} DROP DEFAULT, ALTER {quoted} TYPE {to} USING {quoted}::{to}"
                );
                (altered, sql)
            }
            _ => {
                let altered = Self::new(chance, name);
                let to = &altered.pg_type;
                let using =
                    if chance.is(50) { format!("NULL::{to}") } else { format!("{quoted}::text::{to}") };
                let sql = format!(
                    "ALTER TABLE {table} ALTER {quoted} DROP DEFAULT, ALTER {quoted} TYPE {to} USING {using}"
                );
                (altered, sql)
            }
        }
    }
}

/// Rows with the parts for values: `g` from 1 on, 32 hexadecimal digits `h`, any int8 `n`, 96 digits `d`,
/// hostile text `t`.
pub(super) fn rows(chance: &mut Chance, n_rows: u64) -> String {
    let salt = chance.next_number();
    format!(
        r#"(SELECT g, h, ('x' || h)::bit(64)::int8 AS n, translate(h || md5(h) || md5(md5(h)), 'abcdef', '012345') AS d,
           translate(left(h, g % 33), '0123456789abcdef', E'aé\u0001\t\\🦀''"€ ,({{}})[') AS t
         FROM (SELECT g, md5(g || '{salt}') AS h FROM generate_series(1, {n_rows}) AS g) AS s) AS chance"#
    )
}
