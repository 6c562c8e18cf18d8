//! Pages of any bytes: rows of valid arrays, or a refusal; and the result does not depend on how they are
//! passed.
//!
//! ```text
//! input  = table (1 byte, modulo the number of tables) batch rows (1 byte) piece (1 byte) pages
//! pages  = 8,192 bytes each, of blocks 0, 1, …; the last may be shorter
//! piece  0: pages; otherwise the bytes are a COPY of pages, received in pieces of this many bytes
//! ```
//!
//! Pages that are not all-visible are judged by snapshots whose xmin is in the first tuple of the first page.
//!
//! The tables are those of `seeds.sql`, which makes the seeds.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use arrow_schema::{Field, Schema};
use pgarrow_column::make_column;
use pgarrow_decode::{BatchLimits, CopyDecoder};
use pgarrow_heap::{PAGE_BYTES, PageAt, PageDecoder, PageStop, PageStream, Refusal, Snapshot};
use pgarrow_types::{
    ArrayType, EnumType, HeapLayout, NumericType, PgType, StoredAttribute, StoredForm, TypeOptions, oid,
};

/// More than fit any page: see `MaxHeapTuplesPerPage`.
const TUPLES_MAX: usize = 291;

/// The OIDs of the labels of `mood` on the server that the seeds are from.
const LABELS: [(u32, &str); 3] = [(16_386, "sad"), (16_388, "ok"), (16_390, "happy")];

pub(crate) fn check(data: &[u8]) {
    let Some(([table, batch_rows, piece], bytes)) = data.split_first_chunk::<3>() else { return };
    if *piece > 0 {
        return check_stream(bytes, usize::from(*piece));
    }
    let tables = tables();
    let Some(table) = tables.get(usize::from(*table) % tables.len()) else { return };
    let pages = pages_of(bytes);
    for snapshot in [None, Some(100), Some(0)].map(|before| before.and_then(|before| snapshot(bytes, before)))
    {
        check_pages(table, bytes, &pages, usize::from(*batch_rows).max(1), snapshot.as_ref());
    }
}

/// A snapshot taken `before` transactions before the one that wrote the last tuple of the first page.
fn snapshot(bytes: &[u8], before: u64) -> Option<Snapshot> {
    let upper = bytes.get(14..16)?.try_into().ok().map(u16::from_le_bytes)?;
    let xid = bytes.get(usize::from(upper)..)?.first_chunk::<4>()?;
    let xmin = (1_u64 << 32) + u64::from(u32::from_le_bytes(*xid)).saturating_sub(before);
    Snapshot::parse(&format!("{xmin}:{}:{}", xmin + 50, xmin + 3))
}

fn check_pages(
    table: &Table,
    bytes: &[u8],
    pages: &[PageAt],
    batch_rows: usize,
    snapshot: Option<&Snapshot>,
) {
    let decode =
        |pages: &[PageAt], n_pages, batch_rows| decode(table, bytes, pages, n_pages, batch_rows, snapshot);
    let together = decode(pages, pages.len().max(1), 1 << 20);
    let one_by_one = decode(pages, 1, 1 << 20);
    match (&together, &one_by_one) {
        (Some(together), Some(one_by_one)) => {
            assert_eq!(together.refused, one_by_one.refused, "alone and among others");
            assert_eq!(rows(&together.batches), rows(&one_by_one.batches));
            if let ([one], [other]) = (together.batches.as_slice(), one_by_one.batches.as_slice()) {
                assert_eq!(one, other);
            }
        }
        // Invalid UTF-8 may be found only when the batch is complete, as in COPY.
        (None, None) => {}
        _ => panic!("together: {}, one by one: {}", together.is_some(), one_by_one.is_some()),
    }
    let small = decode(pages, pages.len().max(1), batch_rows);
    if let (Some(together), Some(small)) = (together, small) {
        // Rows of a refused page that belong to earlier batches are already out.
        let blocks = |read: &Read| read.refused.iter().map(|(block, _)| *block).collect::<Vec<_>>();
        assert_eq!(blocks(&small), blocks(&together));
        let extra = rows(&small.batches) - rows(&together.batches);
        let taken = small.refused.iter().any(|(_, from)| *from > 0);
        assert!(extra == 0 || (taken && extra <= TUPLES_MAX * small.refused.len()), "{extra} rows more");
    }
}

/// The pages of an input.
pub(crate) fn pages_of(bytes: &[u8]) -> Vec<PageAt> {
    let starts = (0..bytes.len()).step_by(PAGE_BYTES).zip(0_u32..);
    let page = |(start, block)| PageAt { start, length: PAGE_BYTES.min(bytes.len() - start), block };
    starts.map(page).collect()
}

/// The result of decoding pages: batches, and refused blocks with the line pointer of the first row that was
/// not taken.
pub(crate) struct Read {
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) refused: Vec<(u32, u16)>,
}

pub(crate) fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// Decodes this many pages at a time; `None` if a batch is refused as a whole.
pub(crate) fn decode(
    table: &Table,
    bytes: &[u8],
    pages: &[PageAt],
    n_pages: usize,
    batch_rows: usize,
    snapshot: Option<&Snapshot>,
) -> Option<Read> {
    let options = TypeOptions::default();
    let fields = table.types.iter().map(|pg_type| Field::new("c", pg_type.data_type(&options), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = table.types.iter().map(|pg_type| make_column(pg_type, &options, 0)).collect();
    let limits = BatchLimits { rows: batch_rows, bytes: 1 << 30, exact: false };
    let mut batch = CopyDecoder::new(schema, columns, limits);
    let mut decoder = PageDecoder::new(Arc::clone(&table.layout)).with_snapshot(snapshot.cloned());
    let mut read = Read { batches: Vec::new(), refused: Vec::new() };
    for pages in pages.chunks(n_pages) {
        let mut rest = pages;
        while !rest.is_empty() {
            let decoded = decoder.decode(bytes, rest, &mut batch);
            assert!(decoded.pages <= rest.len());
            rest = rest.get(decoded.pages..).unwrap_or_default();
            match decoded.stop {
                PageStop::Done => assert!(rest.is_empty()),
                PageStop::BatchFull => read.batches.extend(batch.flush().ok()?),
                PageStop::Refused { from, why } => {
                    assert!(snapshot.is_some() || why != Refusal::Undecided, "judged without a snapshot");
                    let (page, others) = rest.split_first().expect("a page that is refused");
                    assert!(usize::from(from) <= TUPLES_MAX);
                    read.refused.push((page.block, from));
                    rest = others;
                }
            }
        }
    }
    read.batches.extend(batch.flush().ok()?);
    for batch in &read.batches {
        assert!(batch.num_rows() <= batch_rows);
        batch.columns().iter().for_each(|column| column.to_data().validate_full().expect("sound arrays"));
    }
    assert!(rows(&read.batches) <= TUPLES_MAX * pages.len());
    Some(read)
}

/// The result of a stream: its pages, and whether it was complete, or an error.
type Found = (Vec<(u32, Vec<u8>)>, Option<bool>);

/// The pages of a stream do not depend on the cuts.
fn check_stream(bytes: &[u8], piece_bytes: usize) {
    let whole = find(bytes, bytes.len().max(1));
    let cut = find(bytes, piece_bytes);
    let n_common = whole.0.len().min(cut.0.len());
    // An error in a message may come before or after the pages in front of it are handed out.
    assert_eq!(whole.0.get(..n_common), cut.0.get(..n_common));
    assert_eq!(whole.1, cut.1);
    if whole.1.is_some() {
        assert_eq!(whole.0.len(), cut.0.len());
    }
}

fn find(bytes: &[u8], piece_bytes: usize) -> Found {
    let mut stream = PageStream::new(0, 3);
    let (mut received, mut pages, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for piece in bytes.chunks(piece_bytes) {
        received.extend_from_slice(piece);
        loop {
            let Ok(step) = stream.find(&received, 2, &mut pages) else { return (found, None) };
            assert!(step.used_bytes <= received.len());
            let from = if step.are_carried { stream.carried() } else { &received };
            for page in &pages {
                let bytes = from.get(page.start..page.start + page.length).expect("pages within their bytes");
                found.push((page.block, bytes.to_vec()));
            }
            if step.used_bytes == 0 && pages.is_empty() {
                break;
            }
            received.drain(..step.used_bytes);
        }
    }
    let is_complete = stream.is_complete() && received.is_empty();
    (found, Some(is_complete))
}

pub(crate) struct Table {
    layout: Arc<HeapLayout>,
    types: Vec<PgType>,
}

impl Table {
    /// All columns, or those at these places.
    fn new(types: &[(PgType, u32)], columns: &[usize]) -> Self {
        let labels = |_| Some(Arc::new(BTreeMap::from(LABELS.map(|(oid, label)| (oid, label.to_owned())))));
        let attribute = |(place, (pg_type, oid)): (usize, &(PgType, u32))| {
            let form = StoredForm::of(pg_type, *oid, &labels).expect("a type that is decoded");
            let (length, align) = form.length_and_align();
            let form = columns.contains(&place).then_some(form);
            StoredAttribute { length, align, form, missing: None }
        };
        let attributes = types.iter().enumerate().map(attribute).collect();
        let types = columns.iter().filter_map(|place| Some(types.get(*place)?.0.clone())).collect();
        Self { layout: Arc::new(HeapLayout { attributes, columns: columns.to_vec() }), types }
    }

    fn of(types: &[(PgType, u32)]) -> Self {
        Self::new(types, &(0..types.len()).collect::<Vec<_>>())
    }
}

/// Their order is part of the seeds: add at the end, here and in `seeds.sql`.
pub(crate) fn tables() -> Vec<Table> {
    let plain = |pg_type| (pg_type, 0);
    let numeric = |precision, scale| plain(PgType::Numeric(NumericType::Declared { precision, scale }));
    let unconstrained = || plain(PgType::Numeric(NumericType::Unconstrained));
    let array = |element: PgType, element_oid| {
        let array = ArrayType { element, element_oid, dimensions: 0, is_vector: false };
        (PgType::Array(Arc::new(array)), element_oid)
    };
    let mood = EnumType { labels: LABELS.map(|(_, label)| label.to_owned()).to_vec() };
    let fixed: Vec<_> = [
        PgType::Bool,
        PgType::Int2,
        PgType::Int4,
        PgType::Int8,
        PgType::Float4,
        PgType::Float8,
        PgType::Date,
        PgType::Time,
        PgType::Timestamp,
        PgType::Timestamptz,
        PgType::Uuid,
        PgType::Char,
        PgType::Money { fraction_digits: 2 },
        PgType::Oid,
        PgType::Enum(Arc::new(mood)),
    ]
    .map(plain)
    .into();
    let texts = [
        plain(PgType::Text),
        plain(PgType::Bpchar),
        plain(PgType::Bytea),
        plain(PgType::Json),
        plain(PgType::Jsonb),
        unconstrained(),
        numeric(15, 2),
        (PgType::Text, oid::NAME),
    ];
    let others = [
        plain(PgType::Timetz),
        plain(PgType::Interval { has_infinities: true }),
        plain(PgType::Inet),
        (PgType::Inet, oid::CIDR),
        plain(PgType::Bit),
        plain(PgType::Macaddr),
        plain(PgType::Macaddr8),
        plain(PgType::Tid),
        plain(PgType::Point),
        plain(PgType::Line),
        plain(PgType::Lseg),
        plain(PgType::Box),
        plain(PgType::Path),
        plain(PgType::Polygon),
        plain(PgType::Circle),
    ];
    let arrays = [
        array(PgType::Int4, oid::INT4),
        array(PgType::Text, oid::TEXT),
        array(PgType::Numeric(NumericType::Unconstrained), oid::NUMERIC),
        array(PgType::Timestamp, oid::TIMESTAMP),
        array(PgType::Bool, oid::BOOL),
    ];
    let mut older = Table::new(&texts, &[6, 0, 4]);
    // As if two columns had been added. Older rows have the values 7 and NULL there.
    let mut layout = (*older.layout).clone();
    for missing in [Some(7_i32.to_be_bytes().to_vec()), None] {
        layout.columns.push(layout.attributes.len());
        let form = Some(StoredForm::Number { width: 4 });
        layout.attributes.push(StoredAttribute { length: 4, align: 4, form, missing });
        older.types.push(PgType::Int4);
    }
    older.layout = Arc::new(layout);
    vec![Table::of(&fixed), Table::of(&texts), Table::of(&others), Table::of(&arrays), older]
}
