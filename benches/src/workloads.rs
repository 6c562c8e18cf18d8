//! The tables: what is in them, and why they are there.

use crate::Result;
use crate::server::Database;

/// A table to export.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// Rows at scale 1.
    rows: u64,
    make: Make,
}

#[derive(Clone, Copy, Debug)]
enum Make {
    Lineitem,
    /// A SELECT over `generate_series(1, {rows}) i`.
    Select(&'static str),
}

/// The four tables whose limits are known, and one with what they lack.
pub(crate) const WORKLOADS: [Workload; 5] = [
    Workload { name: "lineitem", rows: 6_001_215, make: Make::Lineitem },
    Workload {
        name: "five",
        rows: 5_000_000,
        make: Make::Select(
            "SELECT i::bigint id, (random() * 1000)::float8 score, i % 2 = 0 active, 'user_' || i \"name\", \
             date '2020-01-01' + i % 1500 created",
        ),
    },
    Workload {
        name: "fixed",
        rows: 5_000_000,
        make: Make::Select(
            "SELECT i a, (i::bigint * 7 % 1000003)::int b, i::bigint * 3 c, random() d, \
             timestamptz '2026-01-01' - i * interval '1 second' e",
        ),
    },
    Workload {
        name: "text",
        rows: 2_000_000,
        make: Make::Select(
            "SELECT i id, md5(i::text) h, repeat(md5((i + 1)::text), 1 + i % 8) body, \
             CASE WHEN i % 10 = 0 THEN NULL ELSE 'tag' || i % 100 END tag",
        ),
    },
    // Not ASCII, negative and long numerics, many NULLs, scattered: real data.
    Workload {
        name: "mixed",
        rows: 2_000_000,
        make: Make::Select(
            "SELECT CASE WHEN hashint4(i) % 2 = 0 THEN i END maybe, \
             (hashint4(i)::numeric / 1000)::numeric(14, 4) delta, \
             (hashint8(i)::numeric * hashint4(i) * 1234567.8901234567)::numeric(38, 10) long, \
             CASE WHEN hashint4(i) % 3 <> 0 THEN (i * 0.01)::numeric(12, 2) END price, \
             hashint8(i)::numeric / 7 free, \
             CASE WHEN hashint4(i + 1) % 4 <> 0 THEN repeat('Grüße, 日本 🦀 ', 1 + i % 4) END note, \
             CASE WHEN i % 5 = 0 THEN 'naïve' ELSE 'plain' END word, \
             CASE WHEN hashint4(i + 2) % 10 <> 0 THEN NULL ELSE timestamp '2026-01-01' - i * interval '1 minute' END seen, \
             CASE WHEN hashint4(i + 3) % 2 = 0 THEN i % 3 = 0 END flag",
        ),
    },
];

/// One column of one type each, for decoding in memory: name, and the value as a function of `i`.
pub(crate) const TYPES: [(&str, &str); 26] = [
    ("bool", "i % 3 = 0"),
    ("int2", "(i % 30000)::int2"),
    ("int4", "i"),
    ("int8", "i::int8"),
    ("int4, half NULL", "CASE WHEN hashint4(i) % 2 = 0 THEN i END"),
    ("float4", "i::float4 / 3"),
    ("float8", "i::float8 / 3"),
    ("numeric(15,2)", "(i * 1.01)::numeric(15,2)"),
    ("numeric(15,2), negative", "(i * -1.01)::numeric(15,2)"),
    ("numeric(38,10)", "(hashint8(i)::numeric * 123456789.0123456789)::numeric(38,10)"),
    ("numeric(50,10)", "(hashint8(i)::numeric * 123456789.0123456789)::numeric(50,10)"),
    ("numeric", "hashint8(i)::numeric / 7"),
    ("money", "(i * 0.01)::numeric::money"),
    ("text, short", "'u' || i % 1000"),
    ("text, 32 bytes", "md5(i::text)"),
    ("text, 256 bytes", "repeat(md5(i::text), 8)"),
    ("text, not ASCII", "'Grüße ' || i || ' 日本'"),
    ("bytea", "decode(md5(i::text), 'hex')"),
    ("uuid", "md5(i::text)::uuid"),
    ("jsonb", "jsonb_build_object('id', i, 'name', 'x' || i)"),
    ("date", "date '2020-01-01' + i % 3000"),
    ("time", "time '00:00' + i * interval '1 second'"),
    ("timestamptz", "timestamptz '2026-01-01' - i * interval '1 second'"),
    ("interval", "i * interval '1 minute'"),
    ("inet", "'10.0.0.0'::inet + i % 1000000"),
    ("enum", "(CASE i % 3 WHEN 0 THEN 'sad' WHEN 1 THEN 'ok' ELSE 'happy' END)::bench_mood"),
];

impl Workload {
    /// The name of the table at this scale. A scale is a table of its own, so that they can stay.
    pub(crate) fn table(&self, scale: f64) -> String {
        let per_mille = (scale * 1000.0).round();
        format!("bench_{}_{per_mille}", self.name)
    }

    /// Makes the table if it is not there. Frozen and analysed, so that reading it writes nothing.
    pub(crate) fn prepare(&self, database: &mut Database, scale: f64) -> Result<()> {
        let table = self.table(scale);
        if database.value(&format!("SELECT to_regclass('{table}')::text"))?.is_some() {
            return Ok(());
        }
        println!("making {table} …");
        match self.make {
            Make::Lineitem => load_lineitem(database, &table, scale)?,
            Make::Select(select) => {
                let rows = (self.rows as f64 * scale).ceil().max(1.0);
                database.execute(&format!(
                    "SELECT setseed(0.5); CREATE TABLE {table} AS {select} FROM generate_series(1, {rows}) i"
                ))?;
            }
        }
        database.execute(&format!("VACUUM (FREEZE, ANALYZE) {table}"))
    }
}

fn load_lineitem(database: &mut Database, table: &str, scale: f64) -> Result<()> {
    use std::fmt::Write;

    use tpchgen::csv::LineItemCsv;
    use tpchgen::generators::LineItemGenerator;

    database.execute(&format!(
        "CREATE TABLE {table} (l_orderkey bigint NOT NULL, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL, \
         l_linenumber int NOT NULL, l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, \
         l_discount numeric(15,2) NOT NULL, l_tax numeric(15,2) NOT NULL, l_returnflag char(1) NOT NULL, \
         l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL, \
         l_receiptdate date NOT NULL, l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, \
         l_comment varchar(44) NOT NULL)"
    ))?;
    let mut copy = database.copy_in(&format!("COPY {table} FROM STDIN (FORMAT csv)"))?;
    let mut rows = String::new();
    for item in LineItemGenerator::new(scale, 1, 1).iter() {
        writeln!(rows, "{}", LineItemCsv::new(item))?;
        if rows.len() > 1 << 20 {
            copy.write(rows.as_bytes())?;
            rows.clear();
        }
    }
    copy.write(rows.as_bytes())?;
    copy.finish()?;
    Ok(())
}
