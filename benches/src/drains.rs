//! The limit by several connections: ctid ranges from a queue, all under one snapshot.
//!
//! ```text
//!  keeper  BEGIN, pg_export_snapshot(), sizes in pages ──▶ pieces
//!  drain 1 ─┐
//!  drain 2 ─┼─ SET TRANSACTION SNAPSHOT, then COPY of the next piece until there is none
//!  drain n ─┘  (or of its SELECT)
//! ```

use std::sync::atomic::{AtomicUsize, Ordering};

use pgarrow_protocol::Config;

use crate::Result;
use crate::drain::{Drain, DrainWay, Drained};

/// Pieces for each connection: enough that none waits long for the last, and few, since the fair drain takes
/// a millisecond to see the end of each.
const PIECES_PER_CONNECTION: u64 = 4;

/// What several connections will read under one snapshot.
#[derive(Debug)]
pub(crate) struct Drains {
    config: Config,
    /// Holds the snapshot that the others share; without others, it reads.
    keeper: Drain,
    snapshot: String,
    n: usize,
    way: DrainWay,
    /// Statements.
    pieces: Vec<String>,
}

impl Drains {
    /// Connects the keeper and cuts the tables. `select` is the list of columns to read from each.
    pub(crate) fn connect(
        config: &Config,
        tables: &[String],
        select: &str,
        n: usize,
        way: DrainWay,
    ) -> Result<Self> {
        let mut keeper = Drain::connect(config)?;
        let snapshot = keeper.query("SELECT pg_export_snapshot()")?;
        let snapshot = snapshot.first().and_then(|row| row.first()).ok_or("no snapshot")?.clone();
        let pieces = match n {
            0 | 1 => tables.iter().map(|table| Piece::whole(table)).collect(),
            _ => cut(&leaves(&mut keeper, tables)?, n as u64 * PIECES_PER_CONNECTION),
        };
        let pieces = pieces.iter().map(|piece| piece.statement(select, way)).collect();
        Ok(Self { config: config.clone(), keeper, snapshot, n, way, pieces })
    }

    /// Drains all pieces. It connects the others here, each in a thread of its own: connecting is a part of
    /// reading with several connections.
    pub(crate) fn run(&mut self) -> Result<Drained> {
        let next = AtomicUsize::new(0);
        if self.n <= 1 {
            return drain(&mut self.keeper, &self.pieces, &next, self.way);
        }
        let connect_and_drain = || -> std::result::Result<Drained, String> {
            let mut connected = self.connect_another().map_err(|error| error.to_string())?;
            drain(&mut connected, &self.pieces, &next, self.way).map_err(|error| error.to_string())
        };
        let results = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.n).map(|_| scope.spawn(connect_and_drain)).collect();
            threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
        });
        let mut sum = Drained::default();
        for result in results {
            let drained = result.map_err(|_| "a drain's thread panicked")??;
            sum.rows += drained.rows;
            sum.bytes += drained.bytes;
        }
        Ok(sum)
    }

    fn connect_another(&self) -> Result<Drain> {
        let mut drain = Drain::connect(&self.config)?;
        drain.query(&format!("SET TRANSACTION SNAPSHOT '{}'", self.snapshot))?;
        Ok(drain)
    }
}

/// Drains pieces until there is none left.
fn drain(drain: &mut Drain, pieces: &[String], next: &AtomicUsize, way: DrainWay) -> Result<Drained> {
    let mut sum = Drained::default();
    while let Some(sql) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
        let drained = drain.discard(sql, way)?;
        sum.rows += drained.rows;
        sum.bytes += drained.bytes;
    }
    Ok(sum)
}

/// Pages of a table: all of them, or from one up to before another.
#[derive(Clone, Debug, PartialEq)]
struct Piece {
    table: String,
    from_page: u64,
    /// None: to the end of the table.
    to_page: Option<u64>,
}

impl Piece {
    fn whole(table: &str) -> Self {
        Self { table: table.to_owned(), from_page: 0, to_page: None }
    }

    fn statement(&self, select: &str, way: DrainWay) -> String {
        let mut conditions = Vec::new();
        if self.from_page > 0 {
            conditions.push(format!("ctid >= '({},0)'", self.from_page));
        }
        if let Some(to_page) = self.to_page {
            conditions.push(format!("ctid < '({to_page},0)'"));
        }
        let filter = if conditions.is_empty() { "" } else { " WHERE " };
        let (table, conditions) = (&self.table, conditions.join(" AND "));
        let rows = format!("SELECT {select} FROM {table}{filter}{conditions}");
        match way {
            DrainWay::PlainCopy | DrainWay::FairCopy => format!("COPY ({rows}) TO STDOUT (FORMAT binary)"),
            DrainWay::Select => rows,
        }
    }
}

/// The tables, or their partitions, with the number of pages of each.
fn leaves(keeper: &mut Drain, tables: &[String]) -> Result<Vec<(String, u64)>> {
    const PAGES: &str = "pg_relation_size(oid) / current_setting('block_size')::int";
    let mut leaves = Vec::new();
    for table in tables {
        let rows = keeper.query(&format!(
            "SELECT oid::regclass::text, {PAGES} FROM pg_class WHERE oid = '{table}'::regclass AND relkind <> 'p' \
             UNION ALL SELECT oid::regclass::text, {PAGES} \
             FROM (SELECT relid AS oid FROM pg_partition_tree('{table}') WHERE isleaf) leaves"
        ))?;
        for row in rows {
            let [leaf, pages] = row.as_slice() else { return Err("no pages".into()) };
            leaves.push((leaf.clone(), pages.parse()?));
        }
    }
    Ok(leaves)
}

/// Cuts tables into about `n` pieces of the same size, at least one for each table. The last one of a table
/// has no end.
fn cut(leaves: &[(String, u64)], n: u64) -> Vec<Piece> {
    let pages: u64 = leaves.iter().map(|(_, pages)| pages).sum();
    let pages_each = pages.div_ceil(n.max(1)).max(1);
    let mut pieces = Vec::new();
    for (table, pages) in leaves {
        let n_pieces = pages.div_ceil(pages_each).max(1);
        for index in 0..n_pieces {
            let to_page = (index + 1 < n_pieces).then(|| (index + 1) * pages_each);
            pieces.push(Piece { table: table.clone(), from_page: index * pages_each, to_page });
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(leaves: &[(&str, u64)], n: u64) -> Vec<(String, u64, Option<u64>)> {
        let leaves: Vec<_> = leaves.iter().map(|(name, pages)| ((*name).to_owned(), *pages)).collect();
        cut(&leaves, n).into_iter().map(|piece| (piece.table, piece.from_page, piece.to_page)).collect()
    }

    #[test]
    fn pieces_join_and_the_last_is_open() {
        let whole = |name: &str| (name.to_owned(), 0, None);
        assert_eq!(pieces(&[("a", 0)], 16), [whole("a")]);
        assert_eq!(pieces(&[("a", 1), ("b", 1)], 1), [whole("a"), whole("b")]);
        let cut = pieces(&[("a", 100)], 16);
        assert_eq!(cut.len(), 15);
        for pair in cut.windows(2) {
            assert_eq!(pair[0].2, Some(pair[1].1));
        }
        assert_eq!(cut.last().map(|piece| piece.2), Some(None));
    }

    #[test]
    fn statements() {
        let copy = DrainWay::FairCopy;
        let whole = Piece::whole("t");
        assert_eq!(whole.statement("*", copy), "COPY (SELECT * FROM t) TO STDOUT (FORMAT binary)");
        assert_eq!(whole.statement("*", DrainWay::Select), "SELECT * FROM t");
        let piece = Piece { table: "t".to_owned(), from_page: 4, to_page: Some(8) };
        let sql = "COPY (SELECT a FROM t WHERE ctid >= '(4,0)' AND ctid < '(8,0)') TO STDOUT (FORMAT binary)";
        assert_eq!(piece.statement("a", copy), sql);
    }
}
