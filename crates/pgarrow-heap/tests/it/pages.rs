//! Pages that tests write.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use pgarrow_column::make_column;
use pgarrow_decode::{BatchLimits, CopyDecoder};
use pgarrow_heap::{Decoded, PAGE_BYTES, PageAt, PageDecoder, PageStop, Refusal, Snapshot};
use pgarrow_types::{HeapLayout, PgType, StoredAttribute, StoredForm, TypeOptions};

pub(crate) const ALL_VISIBLE: u16 = 4;
pub(crate) const VISIBLE: u16 = 0x0100 | 0x0800;

/// A page under construction.
pub(crate) struct Page {
    pub(crate) bytes: Vec<u8>,
    block: u32,
}

impl Page {
    pub(crate) fn new(block: u32) -> Self {
        let mut page = Self { bytes: vec![0; PAGE_BYTES], block };
        page.set(10, &ALL_VISIBLE.to_le_bytes());
        page.set(12, &24_u16.to_le_bytes());
        page.set(14, &8192_u16.to_le_bytes());
        page.set(16, &8192_u16.to_le_bytes());
        page.set(18, &0x2004_u16.to_le_bytes());
        page
    }

    pub(crate) fn set(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn u16_at(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    /// Adds a line pointer. Returns its position.
    pub(crate) fn pointer(&mut self, offset: u32, state: u32, length: u32) -> usize {
        let at = usize::from(self.u16_at(12));
        self.set(at, &(offset | state << 15 | length << 17).to_le_bytes());
        self.set(12, &(at as u16 + 4).to_le_bytes());
        at
    }

    /// Adds a tuple. Returns its position. `nulls` has a bit for each attribute that is not NULL, if any is
    /// NULL.
    pub(crate) fn tuple(&mut self, attributes: u16, nulls: Option<&[u8]>, data: &[u8]) -> usize {
        let bitmap = nulls.unwrap_or_default();
        let data_offset = (23 + bitmap.len()).next_multiple_of(8);
        let length = data_offset + data.len();
        let offset = (usize::from(self.u16_at(14)) - length) / 8 * 8;
        self.set(14, &(offset as u16).to_le_bytes());
        let pointer = self.pointer(offset as u32, 1, length as u32);
        let number = ((pointer - 24) / 4 + 1) as u16;
        self.set(offset + 12, &((self.block >> 16) as u16).to_le_bytes());
        self.set(offset + 14, &(self.block as u16).to_le_bytes());
        self.set(offset + 16, &number.to_le_bytes());
        self.set(offset + 18, &attributes.to_le_bytes());
        self.set(offset + 20, &(VISIBLE | u16::from(nulls.is_some())).to_le_bytes());
        self.set(offset + 22, &[data_offset as u8]);
        self.set(offset + 23, bitmap);
        self.set(offset + data_offset, data);
        offset
    }
}

/// A short varlena.
pub(crate) fn short(value: &str) -> Vec<u8> {
    let header = (value.len() as u8 + 1) << 1 | 1;
    [&[header], value.as_bytes()].concat()
}

pub(crate) fn attribute(length: i16, align: u8, form: Option<StoredForm>) -> StoredAttribute {
    StoredAttribute { length, align, form, missing: None }
}

pub(crate) fn number(width: u8) -> StoredAttribute {
    attribute(width.into(), width, Some(StoredForm::Number { width }))
}

pub(crate) fn text() -> StoredAttribute {
    attribute(-1, 4, Some(StoredForm::Bytes { length: -1, align: 4 }))
}

/// A table whose pages are decoded.
pub(crate) struct Table {
    pub(crate) layout: Arc<HeapLayout>,
    pub(crate) types: Vec<PgType>,
    pub(crate) limits: BatchLimits,
    pub(crate) snapshot: Option<Snapshot>,
}

/// The result of decoding pages: all rows as text, the rows of each batch, and refused pages with the first
/// row that was not taken.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Read {
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) batches: Vec<usize>,
    pub(crate) refused: Vec<(u32, u16)>,
    /// Why, for each of them.
    pub(crate) why: Vec<Refusal>,
    /// Pages whose rows were judged one by one.
    pub(crate) judged: usize,
}

impl Table {
    pub(crate) fn new(attributes: Vec<StoredAttribute>, columns: Vec<(usize, PgType)>) -> Self {
        let (columns, types) = columns.into_iter().unzip();
        let layout = Arc::new(HeapLayout { attributes, columns });
        Self { layout, types, limits: BatchLimits::default(), snapshot: None }
    }

    pub(crate) fn decoder(&self) -> CopyDecoder {
        let options = TypeOptions::default();
        let fields =
            self.types.iter().map(|pg_type| arrow_schema::Field::new("c", pg_type.data_type(&options), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let columns = self.types.iter().map(|pg_type| make_column(pg_type, &options, 0)).collect();
        CopyDecoder::new(schema, columns, self.limits)
    }

    /// Decodes pages that follow each other, `gap` bytes apart.
    pub(crate) fn read(&self, pages: &[Page], gap: usize) -> Read {
        self.try_read(pages, gap).unwrap()
    }

    /// The same; `None` if a batch is refused as a whole.
    pub(crate) fn try_read(&self, pages: &[Page], gap: usize) -> Option<Read> {
        let (mut bytes, mut places) = (vec![0xee; gap], Vec::new());
        for page in pages {
            places.push(PageAt { start: bytes.len(), length: page.bytes.len(), block: page.block });
            bytes.extend_from_slice(&page.bytes);
            bytes.extend(vec![0xee; gap]);
        }
        let mut decoder = self.decoder();
        let mut pages = PageDecoder::new(Arc::clone(&self.layout)).with_snapshot(self.snapshot.clone());
        let (mut read, mut done) = (Read::default(), 0);
        loop {
            let Decoded { pages: n_done, judged, stop } = pages.decode(&bytes, &places[done..], &mut decoder);
            done += n_done;
            read.judged += judged;
            match stop {
                PageStop::Done => break,
                PageStop::BatchFull => read.take(decoder.flush().ok()?),
                PageStop::Refused { from, why } => {
                    read.why.push(why);
                    read.refused.push((places[done].block, from));
                    done += 1;
                }
            }
        }
        read.take(decoder.flush().ok()?);
        assert_eq!(done, places.len());
        assert_eq!(decoder.rows(), read.rows.len() as u64);
        Some(read)
    }
}

impl Read {
    fn take(&mut self, batch: Option<RecordBatch>) {
        let Some(batch) = batch else { return };
        self.batches.push(batch.num_rows());
        for row in 0..batch.num_rows() {
            let value = |column: &arrow_array::ArrayRef| match column.is_null(row) {
                true => "NULL".to_owned(),
                false => arrow_cast::display::array_value_to_string(column, row).unwrap(),
            };
            self.rows.push(batch.columns().iter().map(value).collect());
        }
    }
}
