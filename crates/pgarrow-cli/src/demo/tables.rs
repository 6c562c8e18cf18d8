//! The eight tables of TPC-H: their definitions, and their rows as COPY takes them.
//!
//! Source: TPC Benchmark H, section 1.4. Keys are bigint, so that every scale fits; no column may be null.

use std::fmt::{Display, Write as _};
use std::io::{self, Read};

use tpchgen::distribution::Distributions;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen::text::TextPool;

/// The text that comments are cut from.
///
/// `dbgen` cuts them from 300 MiB, several times the memory of an export, and the demo shows that memory. Cut
/// from less text, comments differ, but are of the same kind; everything else is `dbgen`'s to the byte.
pub(crate) struct Words(TextPool);

impl Words {
    pub(crate) fn new() -> Self {
        Self(TextPool::new(8 * 1024 * 1024, Distributions::static_default()))
    }
}

/// A table to make and to fill.
pub(crate) struct Table<'a> {
    name: &'static str,
    pub(crate) create: &'static str,
    /// Text rows for [`copy_statement`](Self::copy_statement), made while they are read.
    pub(crate) rows: Box<dyn Read + 'a>,
}

impl Table<'_> {
    pub(crate) fn copy_statement(&self) -> String {
        format!("COPY public.{} FROM STDIN (DELIMITER '|')", self.name)
    }
}

/// All tables. Rows are made when they are read.
pub(crate) fn all(scale: f64, words: &Words) -> Vec<Table<'_>> {
    let (lists, pool) = (Distributions::static_default(), &words.0);
    macro_rules! rows {
        ($generator:ident) => {
            rows($generator::new_with_distributions_and_text_pool(scale, 1, 1, lists, pool).iter())
        };
    }
    let table = |name, create, rows| Table { name, create, rows };
    vec![
        table(
            "region",
            REGION,
            rows(RegionGenerator::new_with_distributions_and_text_pool(lists, pool).iter()),
        ),
        table(
            "nation",
            NATION,
            rows(NationGenerator::new_with_distributions_and_text_pool(lists, pool).iter()),
        ),
        table("supplier", SUPPLIER, rows!(SupplierGenerator)),
        table("customer", CUSTOMER, rows!(CustomerGenerator)),
        table("part", PART, rows!(PartGenerator)),
        table("partsupp", PARTSUPP, rows(PartSuppGenerator::new_with_text_pool(scale, 1, 1, pool).iter())),
        table("orders", ORDERS, rows!(OrderGenerator)),
        table("lineitem", LINEITEM, rows!(LineItemGenerator)),
    ]
}

/// About how many rows the tables have together: an order has one to seven lineitems.
pub(crate) fn estimated_rows(scale: f64) -> u64 {
    // Suppliers, customers, parts, their partsupps, orders, lineitems; regions and nations.
    (8_661_215.0 * scale) as u64 + 30
}

fn rows<'a, T: Display>(rows: impl Iterator<Item = T> + 'a) -> Box<dyn Read + 'a> {
    Box::new(Rows { rows, chunk: String::new(), at: 0 })
}

/// Rows as `dbgen` prints them, without the `|` behind the last value. None holds a backslash.
struct Rows<I> {
    rows: I,
    chunk: String,
    at: usize,
}

/// Bytes of text made at a time.
const CHUNK_BYTES: usize = 64 * 1024;

impl<T: Display, I: Iterator<Item = T>> Read for Rows<I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            self.chunk.clear();
            self.at = 0;
            for row in self.rows.by_ref() {
                write!(self.chunk, "{row}").map_err(io::Error::other)?;
                if self.chunk.ends_with('|') {
                    self.chunk.pop();
                }
                self.chunk.push('\n');
                if self.chunk.len() >= CHUNK_BYTES {
                    break;
                }
            }
        }
        let n_bytes = self.chunk.as_bytes().get(self.at..).unwrap_or_default().read(buffer)?;
        self.at += n_bytes;
        Ok(n_bytes)
    }
}

const REGION: &str = "CREATE TABLE public.region (
    r_regionkey bigint NOT NULL, r_name char(25) NOT NULL, r_comment varchar(152) NOT NULL)";

const NATION: &str = "CREATE TABLE public.nation (
    n_nationkey bigint NOT NULL, n_name char(25) NOT NULL, n_regionkey bigint NOT NULL,
    n_comment varchar(152) NOT NULL)";

const SUPPLIER: &str = "CREATE TABLE public.supplier (
    s_suppkey bigint NOT NULL, s_name char(25) NOT NULL, s_address varchar(40) NOT NULL,
    s_nationkey bigint NOT NULL, s_phone char(15) NOT NULL, s_acctbal numeric(15,2) NOT NULL,
    s_comment varchar(101) NOT NULL)";

const CUSTOMER: &str = "CREATE TABLE public.customer (
    c_custkey bigint NOT NULL, c_name varchar(25) NOT NULL, c_address varchar(40) NOT NULL,
    c_nationkey bigint NOT NULL, c_phone char(15) NOT NULL, c_acctbal numeric(15,2) NOT NULL,
    c_mktsegment char(10) NOT NULL, c_comment varchar(117) NOT NULL)";

const PART: &str = "CREATE TABLE public.part (
    p_partkey bigint NOT NULL, p_name varchar(55) NOT NULL, p_mfgr char(25) NOT NULL,
    p_brand char(10) NOT NULL, p_type varchar(25) NOT NULL, p_size integer NOT NULL,
    p_container char(10) NOT NULL, p_retailprice numeric(15,2) NOT NULL, p_comment varchar(23) NOT NULL)";

const PARTSUPP: &str = "CREATE TABLE public.partsupp (
    ps_partkey bigint NOT NULL, ps_suppkey bigint NOT NULL, ps_availqty integer NOT NULL,
    ps_supplycost numeric(15,2) NOT NULL, ps_comment varchar(199) NOT NULL)";

const ORDERS: &str = "CREATE TABLE public.orders (
    o_orderkey bigint NOT NULL, o_custkey bigint NOT NULL, o_orderstatus char(1) NOT NULL,
    o_totalprice numeric(15,2) NOT NULL, o_orderdate date NOT NULL, o_orderpriority char(15) NOT NULL,
    o_clerk char(15) NOT NULL, o_shippriority integer NOT NULL, o_comment varchar(79) NOT NULL)";

const LINEITEM: &str = "CREATE TABLE public.lineitem (
    l_orderkey bigint NOT NULL, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL,
    l_linenumber integer NOT NULL, l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL,
    l_discount numeric(15,2) NOT NULL, l_tax numeric(15,2) NOT NULL, l_returnflag char(1) NOT NULL,
    l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL,
    l_receiptdate date NOT NULL, l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL,
    l_comment varchar(44) NOT NULL)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_a_value_for_every_column_and_come_in_any_piece() {
        for table in &mut all(0.001, &Words::new()) {
            let n_columns = table.create.matches("NOT NULL").count();
            let (mut bytes, mut piece) = (Vec::new(), [0; 7]);
            while bytes.len() < 10_000 {
                match table.rows.read(&mut piece).unwrap() {
                    0 => break,
                    n_bytes => bytes.extend_from_slice(&piece[..n_bytes]),
                }
            }
            let text = String::from_utf8(bytes).unwrap();
            let (whole, _) = text.rsplit_once('\n').unwrap();
            for line in whole.lines() {
                assert_eq!(line.split('|').count(), n_columns, "{}: {line:?}", table.name);
                assert!(!line.contains('\\'), "{line:?}");
            }
        }
    }
}
