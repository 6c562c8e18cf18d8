//! Reads a table by COPY and by pages under one snapshot, and compares exactly.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use pgarrow::{ExportOptions, Extract, ReadMode, Report, Slice, SliceRange, Source, TypeOptions};
use pgarrow_testkit::compare::{first_difference, first_difference_in_any_order};
use pgarrow_testkit::{Chance, Database};

use crate::support::server_text;

/// How both read modes read a table.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// `None`: all.
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) readers: usize,
    pub(crate) is_ordered: bool,
    pub(crate) batch_rows: usize,
    /// `None`: the library's own choice.
    pub(crate) slice_bytes: Option<u64>,
    pub(crate) types: TypeOptions,
}

impl Way {
    /// All columns by one reader in batches of 65,536 rows.
    pub(crate) fn plain() -> Self {
        Self {
            columns: None,
            readers: 1,
            is_ordered: true,
            batch_rows: 65_536,
            slice_bytes: None,
            types: TypeOptions::default(),
        }
    }

    /// By three readers, in slices of a page or two.
    pub(crate) fn in_slices(is_ordered: bool) -> Self {
        Self { readers: 3, is_ordered, batch_rows: 100, slice_bytes: Some(16 << 10), ..Self::plain() }
    }

    /// A random way: some of these columns in some order, and random values for the rest.
    pub(crate) fn by_chance(chance: &mut Chance, columns: &[String], types: &[TypeOptions]) -> Self {
        const BATCH_ROWS: [usize; 6] = [1, 2, 3, 100, 1000, 65_536];
        Self {
            columns: chance.is(40).then(|| chance.some_of(columns)),
            readers: if chance.is(60) { 1 } else { 3 },
            is_ordered: chance.is(70),
            batch_rows: BATCH_ROWS[chance.index(BATCH_ROWS.len())],
            slice_bytes: chance.is(60).then(|| 8192 * chance.within(1, 6)),
            types: types[chance.index(types.len())],
        }
    }

    /// Whether the rows come in the same order in every run. (Batches are the same only with the option of
    /// order: otherwise, batches that end by bytes may have a row more or less.)
    fn has_order(&self) -> bool {
        self.is_ordered || self.readers == 1
    }

    fn options(&self, mode: ReadMode) -> ExportOptions {
        let options = ExportOptions::default()
            .with_readers(self.readers)
            .with_order(self.is_ordered)
            .with_batch_rows(self.batch_rows)
            .with_types(self.types)
            .with_read_mode(mode);
        match self.slice_bytes {
            Some(bytes) => options.with_slice_bytes(bytes),
            None => options,
        }
    }

    fn extract(&self, source: &Source, table: &str, mode: ReadMode) -> Extract {
        let extract = source.table(table).options(self.options(mode));
        match &self.columns {
            Some(columns) => extract.columns(columns),
            None => extract,
        }
    }
}

/// The results of both read modes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Compared {
    pub(crate) rows: usize,
    /// Read as pages.
    pub(crate) pages: u64,
    /// Those of them that VACUUM has not marked.
    pub(crate) judged: u64,
    /// Pages that came by COPY instead.
    pub(crate) copied: u64,
    /// Why they came by COPY, in pages.
    pub(crate) reasons: BTreeMap<String, u64>,
    /// The error with which both ended.
    pub(crate) error: Option<String>,
}

impl Compared {
    pub(crate) fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.pages += other.pages;
        self.judged += other.judged;
        self.copied += other.copied;
        for (reason, pages) in other.reasons {
            *self.reasons.entry(reason).or_default() += pages;
        }
        self.error = other.error.or(self.error.take());
    }
}

/// An export that was read: batches up to its end or its error.
struct Taken {
    batches: Vec<RecordBatch>,
    end: Result<Report, String>,
}

fn take(extract: Extract) -> Taken {
    let mut batches = Vec::new();
    let end = extract.open().and_then(|run| {
        run.for_each(|batch| {
            batches.push(batch);
            Ok(())
        })
    });
    Taken { batches, end: end.map_err(|error| error.to_string()) }
}

/// Compares both read modes for a table that no session changes. `Err` says what differs.
pub(crate) fn by_runs(source: &Source, table: &str, way: &Way) -> Result<Compared, String> {
    // Pages first: COPY prunes them.
    let pages = take(way.extract(source, table, ReadMode::Pages));
    let copy = take(way.extract(source, table, ReadMode::Copy));
    compared(&copy, &pages, way)
}

/// A planned export with a held snapshot, to be read slice by slice.
pub(crate) struct Held {
    /// Holds the snapshot, and is never read.
    _run: pgarrow::Run,
    slices: Vec<Slice>,
    way: Way,
}

impl Held {
    /// Plans and holds. `Err` is the error's text.
    pub(crate) fn new(source: &Source, table: &str, way: &Way) -> Result<Self, String> {
        let run = way.extract(source, table, ReadMode::Copy).open();
        let mut run = run.map_err(|error| error.to_string())?;
        let slices = run.slices().map_err(|error| error.to_string())?;
        Ok(Self { _run: run, slices, way: way.clone() })
    }

    /// Reads every slice in both modes, whatever has happened meanwhile. `is_copy_first`: COPY prunes the
    /// pages before they are read as pages.
    pub(crate) fn compare(&self, source: &Source, is_copy_first: bool) -> Result<Compared, String> {
        let mut sum = Compared::default();
        for slice in &self.slices {
            let token = |mode| {
                // A token has one slice, so more readers mean nothing.
                let options = ExportOptions::default()
                    .with_order(self.way.is_ordered)
                    .with_batch_rows(self.way.batch_rows)
                    .with_types(self.way.types)
                    .with_readers(1);
                source.slice(Slice { read_mode: mode, ..slice.clone() }).options(options)
            };
            let mut copy = is_copy_first.then(|| take(token(ReadMode::Copy)));
            let pages = take(token(ReadMode::Pages));
            let copy = copy.take().unwrap_or_else(|| take(token(ReadMode::Copy)));
            let way = Way { readers: 1, ..self.way.clone() };
            let found = compared(&copy, &pages, &way);
            sum.add(found.map_err(|text| format!("slice {} ({:?}): {text}", slice.index, slice.range))?);
        }
        Ok(sum)
    }

    /// For a single table: only the first slice, extended to the end of the table.
    pub(crate) fn into_whole(mut self) -> Self {
        let is_of_pages = |slice: &Slice| matches!(slice.range, SliceRange::Pages { .. });
        if self.slices.iter().all(is_of_pages)
            && self.slices.windows(2).all(|pair| pair[0].subject == pair[1].subject)
        {
            self.slices.truncate(1);
            self.slices.iter_mut().for_each(|slice| slice.range = SliceRange::Whole);
        }
        self
    }
}

/// An error without its place, which COPY and pages count differently. The batches before show that it is the
/// same row.
fn reason(error: &str) -> (&str, &str) {
    let (what, rest) = error.split_once(", row ").unwrap_or((error, ""));
    let why = rest.split_once(": ").map_or(rest, |(_place, why)| why);
    (
        what,
        ["; rows like it: ", "; it is this row"]
            .iter()
            .fold(why, |why, end| why.split(end).next().unwrap_or(why)),
    )
}

/// `Err` says what differs.
fn compared(copy: &Taken, pages: &Taken, way: &Way) -> Result<Compared, String> {
    let error = match (&copy.end, &pages.end) {
        (Ok(_), Ok(_)) => None,
        // Of several readers' errors, the first one is reported: which one that is varies.
        (Err(copy), Err(pages)) if reason(copy) == reason(pages) || way.readers > 1 => Some(copy.clone()),
        (copy, pages) => {
            let said = |end: &Result<Report, String>| match end {
                Ok(report) => format!("{} rows", report.rows),
                Err(error) => error.clone(),
            };
            return Err(format!("COPY: {}; pages: {}", said(copy), said(pages)));
        }
    };
    let n_rows = |taken: &Taken| taken.batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>();
    let difference = match way.has_order() {
        // With several readers, the number of batches before an error varies.
        _ if error.is_some() && way.readers > 1 => None,
        true if way.is_ordered && n_rows(copy) != n_rows(pages) => {
            Some(format!("batches of {:.200?} rows, not {:.200?}", n_rows(pages), n_rows(copy)))
        }
        true => first_difference(&copy.batches, &pages.batches),
        false => first_difference_in_any_order(&copy.batches, &pages.batches),
    };
    if let Some(difference) = difference {
        return Err(difference);
    }
    let mut compared = Compared { rows: n_rows(copy).iter().sum(), error, ..Compared::default() };
    if let (Ok(copy), Ok(pages)) = (&copy.end, &pages.end) {
        same_effects(copy, pages)?;
        if let Some(read) = &pages.pages {
            (compared.pages, compared.judged, compared.copied) = (read.read, read.judged, read.copied);
            compared.reasons.clone_from(&read.reasons);
        }
        if copy.pages.as_ref().is_some_and(|pages| pages.read > 0) {
            return Err("COPY was asked for, and pages were read".to_owned());
        }
    }
    Ok(compared)
}

/// Compares what policies did, column by column.
fn same_effects(copy: &Report, pages: &Report) -> Result<(), String> {
    let effects = |report: &Report| report.columns.iter().map(|of| of.effects.clone()).collect::<Vec<_>>();
    match (effects(copy), effects(pages)) {
        (copy, pages) if copy == pages => Ok(()),
        (copy, pages) => Err(format!("the policies' effects: {copy:?} by COPY, {pages:?} by pages")),
    }
}

/// Installs pageinspect, which hands out pages to a superuser.
pub(crate) fn pageinspect(database: &Database) {
    database.execute("SET client_min_messages = error; CREATE EXTENSION IF NOT EXISTS pageinspect");
}

/// The server's pages of a relation and its children.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Heaps {
    pub(crate) blocks: u64,
    /// Those whose header has `PD_ALL_VISIBLE`.
    pub(crate) all_visible: u64,
    /// Those that were never used.
    pub(crate) unused: u64,
    /// All values are stored in a form that is decoded, none out of line, and all relations are heaps.
    pub(crate) are_plain: bool,
}

impl Heaps {
    /// Asks the server. The database has pageinspect afterwards.
    pub(crate) fn of(database: &Database, table: &str) -> Self {
        pageinspect(database);
        let rows = server_text(&mut database.client(), &HEAPS.replace("{table}", &table.replace('\'', "''")));
        let value = |column: usize| rows[0][column].clone().unwrap();
        Self {
            blocks: value(0).parse().unwrap(),
            all_visible: value(1).parse().unwrap(),
            are_plain: value(2) == "t",
            unused: value(3).parse().unwrap(),
        }
    }

    /// Whether every page must have been decoded as stored.
    pub(crate) fn must_all_be_read(&self) -> bool {
        self.are_plain && self.all_visible == self.blocks
    }
}

/// 18 is `"char"`, 22 and 30 are `int2vector` and `oidvector`.
///
/// Source: `PD_ALL_VISIBLE` and the place of `pd_flags` in PostgreSQL's `src/include/storage/bufpage.h`.
const HEAPS: &str = "
    WITH RECURSIVE tree AS (
        SELECT '{table}'::regclass::oid AS oid
        UNION SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = oid
    ), leaf AS (
        SELECT c.*, pg_relation_size(c.oid) / 8192 AS blocks FROM tree JOIN pg_class AS c USING (oid) WHERE relkind <> 'p'
    ), base AS (
        SELECT atttypid AS oid, false AS is_element
        FROM leaf JOIN pg_attribute ON attrelid = leaf.oid AND attnum > 0 AND NOT attisdropped
        UNION SELECT CASE WHEN typtype = 'd' THEN typbasetype ELSE typelem END, is_element OR typtype <> 'd'
            FROM base JOIN pg_type AS t USING (oid) WHERE typtype = 'd' OR (typcategory = 'A' AND typlen = -1)
    ), other AS (
        SELECT FROM base JOIN pg_type AS t USING (oid)
        WHERE NOT (typtype IN ('d', 'e') OR (typcategory = 'A' AND typlen = -1 AND NOT is_element AND t.oid NOT IN (22, 30))
            OR t.oid = 18 OR t.oid = ANY ('{bool, int2, int4, int8, oid, float4, float8, numeric, money, text, varchar, bpchar, name,
                bytea, uuid, json, jsonb, date, time, timetz, timestamp, timestamptz, interval, bit, varbit, inet, cidr, macaddr,
                macaddr8, tid, pg_lsn, xid8, point, line, lseg, box, path, polygon, circle}'::regtype[]))
    )
    SELECT coalesce(sum(blocks) FILTER (WHERE relkind IN ('r', 'm')), 0), coalesce(sum((
            SELECT count(*) FILTER (WHERE get_byte(get_raw_page(leaf.oid::regclass::text, 'main', block), 10) & 4 <> 0)
            FROM generate_series(0, blocks - 1) AS block)) FILTER (WHERE relkind IN ('r', 'm')), 0),
        bool_and(relkind IN ('r', 'm') AND relam = 2 AND relpersistence <> 't' AND leaf.oid >= 16384
            AND NOT relrowsecurity AND (reltoastrelid = 0 OR pg_relation_size(reltoastrelid) = 0))
        AND NOT EXISTS (SELECT FROM other)
        AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid IN (SELECT l.oid FROM leaf AS l) AND attgenerated = 'v'),
        coalesce(sum((SELECT count(*) FILTER (WHERE get_byte(get_raw_page(leaf.oid::regclass::text, 'main', block), 14) = 0
                AND get_byte(get_raw_page(leaf.oid::regclass::text, 'main', block), 15) = 0)
            FROM generate_series(0, blocks - 1) AS block)) FILTER (WHERE relkind IN ('r', 'm')), 0)
    FROM leaf";
