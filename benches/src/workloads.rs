//! The tables: their contents, and their purpose.

use std::fmt::Write;

use tpchgen::csv::LineItemCsv;
use tpchgen::generators::LineItemGenerator;

use crate::Result;
use crate::server::Database;

/// What is exported: a table, or many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    make: Make,
}

#[derive(Clone, Copy, Debug)]
enum Make {
    /// TPC-H's lineitem.
    Lineitem,
    /// A quarter of it, in 16 partitions by hash.
    Partitioned,
    /// A SELECT over `generate_series(1, {rows}) i`, with the rows at scale 1.
    Select(f64, &'static str),
    /// 200,000 rows of 100 columns.
    Wide,
    /// A thousand tables of 100 rows.
    Tables,
}

/// Workloads whose limits are known, and workloads with what these lack.
pub(crate) const WORKLOADS: [Workload; 10] = [
    Workload { name: "lineitem", make: Make::Lineitem },
    Workload {
        name: "five",
        make: Make::Select(
            5e6,
            "SELECT i::bigint id, (random() * 1000)::float8 score, i % 2 = 0 active, 'user_' || i \"name\", \
             date '2020-01-01' + i % 1500 created",
        ),
    },
    Workload {
        name: "fixed",
        make: Make::Select(
            5e6,
            "SELECT i a, (i::bigint * 7 % 1000003)::int b, i::bigint * 3 c, random() d, \
             timestamptz '2026-01-01' - i * interval '1 second' e",
        ),
    },
    Workload {
        name: "text",
        make: Make::Select(
            2e6,
            "SELECT i id, md5(i::text) h, repeat(md5((i + 1)::text), 1 + i % 8) body, \
             CASE WHEN i % 10 = 0 THEN NULL ELSE 'tag' || i % 100 END tag",
        ),
    },
    // Like real data: not ASCII, negative and long numerics, many NULLs, scattered.
    Workload {
        name: "mixed",
        make: Make::Select(
            2e6,
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
    Workload { name: "wide", make: Make::Wide },
    // Twelve columns, four of five values NULL: the cost of a row that is almost empty.
    Workload {
        name: "nulls",
        make: Make::Select(
            2e6,
            "SELECT CASE WHEN hashint4(i) % 5 = 0 THEN i END a, \
             CASE WHEN hashint4(i + 1) % 5 = 0 THEN i::bigint * 3 END b, \
             CASE WHEN hashint4(i + 2) % 5 = 0 THEN (i % 30000)::int2 END c, \
             CASE WHEN hashint4(i + 3) % 5 = 0 THEN i::float8 / 3 END d, \
             CASE WHEN hashint4(i + 4) % 5 = 0 THEN (i * 0.01)::numeric(12, 2) END e, \
             CASE WHEN hashint4(i + 5) % 5 = 0 THEN 'name ' || i END f, \
             CASE WHEN hashint4(i + 6) % 5 = 0 THEN md5(i::text)::varchar(40) END g, \
             CASE WHEN hashint4(i + 7) % 5 = 0 THEN date '2020-01-01' + i % 3000 END h, \
             CASE WHEN hashint4(i + 8) % 5 = 0 THEN timestamptz '2026-01-01' - i * interval '1 second' END j, \
             CASE WHEN hashint4(i + 9) % 5 = 0 THEN i % 3 = 0 END k, \
             CASE WHEN hashint4(i + 10) % 5 = 0 THEN md5(i::text)::uuid END l, \
             CASE WHEN hashint4(i + 11) % 5 = 0 THEN i::float4 / 7 END m",
        ),
    },
    Workload {
        name: "arrays_jsonb",
        make: Make::Select(
            500_000.0,
            "SELECT i::bigint id, ARRAY[i, i * 2 % 1000, NULL, i % 7] ints, \
             ARRAY['red', 'tag ' || i % 100, md5(i::text)] tags, \
             jsonb_build_object('id', i, 'name', 'x' || i, 'ok', i % 2 = 0, 'list', jsonb_build_array(i, i + 1)) doc",
        ),
    },
    Workload { name: "partitioned", make: Make::Partitioned },
    Workload { name: "tables", make: Make::Tables },
];

/// A workload whose tables exist, at one scale.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) workload: String,
    /// One, except for the workload of many tables.
    pub(crate) tables: Vec<String>,
}

impl Prepared {
    /// The table, where there has to be one alone.
    pub(crate) fn table(&self) -> Result<&str> {
        match self.tables.as_slice() {
            [table] => Ok(table),
            _ => Err(format!("{} is several tables", self.workload).into()),
        }
    }
}

impl Workload {
    /// Whether it is many tables, which no rival reads in one run.
    pub(crate) fn is_many(&self) -> bool {
        matches!(self.make, Make::Tables)
    }

    /// Rows at scale 1; for lineitem, about this many.
    pub(crate) fn rows_at_1(&self) -> f64 {
        match self.make {
            Make::Lineitem => 6_001_215.0,
            Make::Partitioned => 1_500_303.0,
            Make::Select(rows, _) => rows,
            Make::Wide => 200_000.0,
            Make::Tables => 100_000.0,
        }
    }

    /// The name of the table at this scale. Each scale has a table of its own, so tables can stay.
    pub(crate) fn table(&self, scale: f64) -> String {
        let millionths = (scale * 1e6).round();
        format!("bench_{}_{millionths}", self.name)
    }

    /// Makes the table if it is missing. Frozen and analysed, so that reading it writes nothing.
    pub(crate) fn prepare(&self, database: &mut Database, scale: f64) -> Result<Prepared> {
        let table = self.table(scale);
        let tables = match self.make {
            Make::Tables => (0..rows(1000.0, scale)).map(|index| format!("{table}_{index}")).collect(),
            _ => vec![table.clone()],
        };
        let prepared = Prepared { workload: self.name.to_owned(), tables };
        let last = prepared.tables.last().ok_or("a workload without tables")?;
        if database.value(&format!("SELECT to_regclass('{last}')::text"))?.is_some() {
            return Ok(prepared);
        }
        println!("making {table} …");
        match self.make {
            Make::Lineitem => load_lineitem(database, &table, scale, "")?,
            Make::Partitioned => {
                let mut partitions = " PARTITION BY HASH (l_orderkey);".to_owned();
                for index in 0..16 {
                    write!(
                        partitions,
                        "CREATE TABLE {table}_{index} PARTITION OF {table} \
                         FOR VALUES WITH (MODULUS 16, REMAINDER {index});"
                    )?;
                }
                load_lineitem(database, &table, scale / 4.0, &partitions)?;
            }
            Make::Select(rows_at_1, select) => {
                create(database, &table, select, rows(rows_at_1, scale))?;
            }
            Make::Wide => create(database, &table, &wide_select(), rows(200_000.0, scale))?,
            Make::Tables => {
                for chunk in prepared.tables.chunks(100) {
                    database.execute(&small_tables(chunk)?)?;
                }
                let tables = prepared.tables.join(", ");
                database.execute(&format!("VACUUM (FREEZE, ANALYZE) {tables}"))?;
                return Ok(prepared);
            }
        }
        database.execute(&format!("VACUUM (FREEZE, ANALYZE) {table}"))?;
        Ok(prepared)
    }
}

/// Vacuums tables until all their pages are all-visible: a session that was just starting may have prevented
/// that.
pub(crate) fn make_visible(database: &mut Database, tables: &[String]) -> Result<()> {
    'tables: for table in tables {
        let sql = format!(
            "SELECT (sum(relpages) - sum(relallvisible))::text FROM pg_class \
             WHERE oid = '{table}'::regclass OR oid IN (SELECT relid FROM pg_partition_tree('{table}'))"
        );
        for _ in 0..20 {
            if database.value(&sql)?.as_deref() == Some("0") {
                continue 'tables;
            }
            database.execute(&format!("VACUUM (FREEZE, ANALYZE) {table}"))?;
        }
        return Err(format!("VACUUM does not make all pages of {table} all-visible").into());
    }
    Ok(())
}

/// The number of rows at a scale, at least one.
fn rows(at_1: f64, scale: f64) -> u64 {
    (at_1 * scale).ceil().max(1.0) as u64
}

fn create(database: &mut Database, table: &str, select: &str, rows: u64) -> Result<()> {
    database.execute(&format!(
        "SELECT setseed(0.5); CREATE TABLE {table} AS {select} FROM generate_series(1, {rows}) i"
    ))
}

/// Ten columns of ten types each.
fn wide_select() -> String {
    const EXPRESSIONS: [&str; 10] = [
        "i + {k}",
        "i::bigint * {k}",
        "(i * 0.01 + {k})::numeric(14, 2)",
        "'value ' || i % (100 + {k})",
        "date '2020-01-01' + i % (1000 + {k})",
        "timestamptz '2026-01-01' - (i + {k}) * interval '1 second'",
        "i / ({k} + 1.5)::float8",
        "(i + {k}) % 3 = 0",
        "CASE WHEN hashint4(i + {k}) % 2 = 0 THEN (i % 30000)::int2 END",
        "CASE WHEN hashint4(i + {k}) % 3 = 0 THEN left(md5((i + {k})::text), 12)::varchar(20) END",
    ];
    let items = (0..100).map(|k| {
        let expression = EXPRESSIONS.get(k % 10).copied().unwrap_or_default();
        format!("{} c{k}", expression.replace("{k}", &k.to_string()))
    });
    format!("SELECT {}", items.collect::<Vec<_>>().join(", "))
}

/// SQL for tables of 100 rows and eight columns.
fn small_tables(tables: &[String]) -> Result<String> {
    let mut sql = String::new();
    for (k, table) in tables.iter().enumerate() {
        write!(
            sql,
            "CREATE TABLE {table} AS SELECT i id, i::bigint * {k} key, (i * 0.01)::numeric(12, 2) price, \
             'name ' || i \"name\", date '2020-01-01' + i since, i % 2 = 0 active, \
             CASE WHEN i % 3 = 0 THEN i::float8 / 7 END score, \
             timestamptz '2026-01-01' - i * interval '1 hour' seen FROM generate_series(1, 100) i;"
        )?;
    }
    Ok(sql)
}

/// `after` is what follows the list of columns. TPC-H's generator has no tables below a thousandth.
fn load_lineitem(database: &mut Database, table: &str, scale: f64, after: &str) -> Result<()> {
    database.execute(&format!(
        "CREATE TABLE {table} (l_orderkey bigint NOT NULL, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL, \
         l_linenumber int NOT NULL, l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, \
         l_discount numeric(15,2) NOT NULL, l_tax numeric(15,2) NOT NULL, l_returnflag char(1) NOT NULL, \
         l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL, \
         l_receiptdate date NOT NULL, l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, \
         l_comment varchar(44) NOT NULL){after}"
    ))?;
    let mut copy = database.copy_in(&format!("COPY {table} FROM STDIN (FORMAT csv)"))?;
    let mut rows = String::new();
    for item in LineItemGenerator::new(scale.max(0.001), 1, 1).iter() {
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
