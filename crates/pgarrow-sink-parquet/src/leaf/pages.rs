//! The pages of a column: compressed, behind their headers, and appended to a file.

use std::io::{self, Read};
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::errors::ParquetError;
use parquet::file::metadata::PageEncodingStats;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use zstd::bulk::Compressor;

use crate::cost::compressor_bytes;

/// What the columns of a row group share, one after the other: a page in the making, and a compressor.
#[derive(Default)]
pub(crate) struct Scratch {
    /// The page before it is compressed,
    pub(crate) page: Vec<u8>,
    /// and where in these bytes it begins.
    pub(crate) page_start: usize,
    compressed: Vec<u8>,
    compressor: Option<(i32, Compressor<'static>)>,
    /// Bytes of the largest page.
    page_bytes: usize,
}

impl Scratch {
    /// The buffer with the bytes of the page as the file has them, and where they begin.
    fn compress(&mut self, codec: Compression) -> Result<(&mut Vec<u8>, usize), ParquetError> {
        let page = self.page.get(self.page_start..).unwrap_or_default();
        self.page_bytes = self.page_bytes.max(page.len());
        let Compression::ZSTD(level) = codec else { return Ok((&mut self.page, self.page_start)) };
        let level = level.compression_level();
        let compressor = match &mut self.compressor {
            Some((known, compressor)) => {
                if *known != level {
                    compressor.set_compression_level(level)?;
                    *known = level;
                }
                compressor
            }
            none => &mut none.insert((level, Compressor::new(level)?)).1,
        };
        self.compressed.clear();
        let bytes_max = zstd::zstd_safe::compress_bound(page.len());
        if self.compressed.capacity() < bytes_max {
            // To grow would copy what is there.
            self.compressed = Vec::new();
            self.compressed.reserve_exact(bytes_max);
        }
        compressor.compress_to_buffer(page, &mut self.compressed)?;
        Ok((&mut self.compressed, 0))
    }

    pub(crate) fn held_bytes(&self) -> usize {
        let of_compressor = if self.compressor.is_some() { compressor_bytes(self.page_bytes) } else { 0 };
        self.page.capacity() + self.compressed.capacity() + of_compressor
    }
}

/// The pages of a column that are complete.
pub(crate) struct Pages {
    codec: Compression,
    dictionary: Option<Vec<u8>>,
    data: Vec<Vec<u8>>,
    /// Bytes of all pages with their headers, compressed and not.
    pub(crate) bytes: usize,
    pub(crate) plain_bytes: usize,
    /// Pages of each encoding, in the order of the file.
    stats: Vec<PageEncodingStats>,
}

impl Pages {
    pub(crate) fn new(codec: Compression) -> Self {
        Self { codec, dictionary: None, data: Vec::new(), bytes: 0, plain_bytes: 0, stats: Vec::new() }
    }

    /// Adds the page in `scratch`, which has `n` values or NULLs.
    pub(crate) fn add(
        &mut self,
        scratch: &mut Scratch,
        n: usize,
        encoding: Encoding,
    ) -> Result<(), ParquetError> {
        let page = |buf| Page::DataPage {
            buf,
            num_values: n as u32,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let page = self.write(scratch, page)?;
        self.data.push(page);
        match self.stats.last_mut() {
            Some(last) if last.encoding == encoding => last.count += 1,
            _ => self.stats.push(PageEncodingStats { page_type: PageType::DATA_PAGE, encoding, count: 1 }),
        }
        Ok(())
    }

    /// Adds the dictionary's page in `scratch`, which has `n` values. It comes before the others.
    pub(crate) fn add_dictionary(&mut self, scratch: &mut Scratch, n: usize) -> Result<(), ParquetError> {
        let encoding = Encoding::PLAIN;
        let page = |buf| Page::DictionaryPage { buf, num_values: n as u32, encoding, is_sorted: false };
        self.dictionary = Some(self.write(scratch, page)?);
        let stats = PageEncodingStats { page_type: PageType::DICTIONARY_PAGE, encoding, count: 1 };
        self.stats.insert(0, stats);
        Ok(())
    }

    fn write(
        &mut self,
        scratch: &mut Scratch,
        page: impl FnOnce(Bytes) -> Page,
    ) -> Result<Vec<u8>, ParquetError> {
        /// About how many bytes a header takes.
        const HEADER_BYTES: usize = 32;
        let plain_bytes = scratch.page.len().saturating_sub(scratch.page_start);
        let (buffer, start) = scratch.compress(self.codec)?;
        let mut sink = TrackedWrite::new(Vec::with_capacity(buffer.len() + HEADER_BYTES));
        // The buffer is lent, and comes back: the only copy is the one behind the header.
        let lent = Bytes::from(mem::take(buffer));
        let page = CompressedPage::new(page(lent.slice(start..)), plain_bytes);
        let written = SerializedPageWriter::new(&mut sink).write_page(page)?;
        *buffer = lent.into();
        self.bytes += written.compressed_size;
        self.plain_bytes += written.uncompressed_size;
        sink.into_inner()
    }

    pub(crate) fn codec(&self) -> Compression {
        self.codec
    }

    pub(crate) fn stats(&self) -> &[PageEncodingStats] {
        &self.stats
    }

    pub(crate) fn dictionary_bytes(&self) -> Option<usize> {
        self.dictionary.as_ref().map(Vec::len)
    }

    /// Bytes of each data page with its header.
    pub(crate) fn data_bytes(&self) -> impl Iterator<Item = usize> {
        self.data.iter().map(Vec::len)
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes + self.data.capacity() * size_of::<Vec<u8>>()
    }

    /// All pages in the order of the file.
    pub(crate) fn end(self) -> Ended {
        Ended(Arc::new(self.dictionary.into_iter().chain(self.data).collect()))
    }
}

/// Pages for a file to read.
pub(crate) struct Ended(Arc<Vec<Vec<u8>>>);

impl Length for Ended {
    fn len(&self) -> u64 {
        self.0.iter().map(|page| page.len() as u64).sum()
    }
}

impl ChunkReader for Ended {
    type T = PagesReader;

    fn get_read(&self, start: u64) -> Result<PagesReader, ParquetError> {
        let mut reader = PagesReader { pages: Arc::clone(&self.0), page: 0, at: 0 };
        io::copy(&mut reader.by_ref().take(start), &mut io::sink())?;
        Ok(reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let mut bytes = vec![0; length];
        self.get_read(start)?.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// Reads pages one after the other.
pub(crate) struct PagesReader {
    pages: Arc<Vec<Vec<u8>>>,
    page: usize,
    at: usize,
}

impl Read for PagesReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(page) = self.pages.get(self.page) {
            let n = page.get(self.at..).unwrap_or_default().read(into)?;
            if n > 0 || into.is_empty() {
                self.at += n;
                return Ok(n);
            }
            (self.page, self.at) = (self.page + 1, 0);
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use parquet::basic::ZstdLevel;

    use super::*;

    /// Each page was copied once more, into memory of its own, before it was written behind its header.
    #[test]
    fn the_buffer_of_a_page_is_lent_and_comes_back() {
        for codec in [Compression::UNCOMPRESSED, Compression::ZSTD(ZstdLevel::default())] {
            let (mut pages, mut scratch) = (Pages::new(codec), Scratch::default());
            let mut buffers = Vec::new();
            for n in [50_000_u32, 3, 40_000] {
                scratch.page.clear();
                scratch.page.extend((0..n).flat_map(u32::to_le_bytes));
                pages.add(&mut scratch, n as usize, Encoding::PLAIN).unwrap();
                let buffer =
                    if codec == Compression::UNCOMPRESSED { &scratch.page } else { &scratch.compressed };
                assert!(pages.data.last().unwrap().ends_with(buffer));
                buffers.push((buffer.as_ptr(), buffer.capacity()));
            }
            assert!(buffers.iter().all(|buffer| *buffer == buffers[0]), "{buffers:?}");
        }
    }
}
