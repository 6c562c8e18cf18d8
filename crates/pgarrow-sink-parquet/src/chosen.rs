//! The choices for single columns, held against the columns that a file has.

use parquet::basic::Compression as Codec;
use parquet::file::properties::{BloomFilterProperties, EnabledStatistics, WriterPropertiesBuilder};
use parquet::schema::types::{ColumnDescriptor, ColumnPath, SchemaDescriptor};
use pgarrow_sink::{SinkError, SinkErrorKind};

use crate::column_options::{BloomFilter, Encoding, ParquetColumnOptions, is_share};
use crate::compat;
use crate::cost::{FILTER_BYTES_MAX, filter_bytes};
use crate::options::ParquetOptions;

/// Names of columns in a message. More would hide what it says.
const NAMES_MAX: usize = 12;

/// The choices for one column of a file, checked.
#[derive(Debug)]
pub(crate) struct Chosen {
    path: ColumnPath,
    encoding: Option<parquet::basic::Encoding>,
    dictionary: Option<bool>,
    codec: Option<Codec>,
    statistics: Option<EnabledStatistics>,
    bloom: Option<BloomFilterProperties>,
    /// Bytes of its bloom filter while a row group is written.
    pub(crate) filter_bytes: usize,
}

/// The choices for all columns that have some.
///
/// # Errors
///
/// [`SinkErrorKind::Unsupported`] for a column that does not exist or has no values of its own, and for what
/// its type cannot have.
pub(crate) fn chosen(options: &ParquetOptions, parquet: &SchemaDescriptor) -> Result<Vec<Chosen>, SinkError> {
    let choose = |(path, of_column): (&Vec<String>, &ParquetColumnOptions)| {
        let column = column(path, parquet)?;
        let wrong = |text: String| unsupported(format!("column {:?}: {text}", shown(path)));
        if options.compat {
            check_compat(of_column).map_err(wrong)?;
        }
        Chosen::new(column, of_column, options.row_group_rows).map_err(wrong)
    };
    options.columns.iter().map(choose).collect()
}

/// Refuses what readers that know version 1 only cannot read.
fn check_compat(options: &ParquetColumnOptions) -> Result<(), String> {
    let dictionary = options.dictionary.filter(|is_on| *is_on).map(|_| Encoding::Dictionary);
    options.encoding.into_iter().chain(dictionary).try_for_each(compat::knows_encoding)?;
    options.compression.map_or(Ok(()), compat::knows_codec)
}

fn column<'a>(path: &[String], parquet: &'a SchemaDescriptor) -> Result<&'a ColumnDescriptor, SinkError> {
    let below: Vec<&ColumnDescriptor> = parquet
        .columns()
        .iter()
        .map(AsRef::as_ref)
        .filter(|column| column.path().parts().starts_with(path))
        .collect();
    match below.as_slice() {
        [] => Err(unsupported(no_such(path, parquet))),
        [column] if column.path().parts() == path => Ok(column),
        _ => Err(unsupported(format!(
            "column {:?} is made of others, and only those can have options of their own: {}",
            shown(path),
            names(below.iter().map(|column| column.path().parts()))
        ))),
    }
}

/// That there is no such column, and which ones there are.
pub(crate) fn no_such(path: &[String], parquet: &SchemaDescriptor) -> String {
    format!(
        "there are options for column {:?}, but no such column is written; there are {}",
        shown(path),
        names(parquet.columns().iter().map(|column| column.path().parts()))
    )
}

impl Chosen {
    fn new(
        column: &ColumnDescriptor,
        options: &ParquetColumnOptions,
        row_group_rows: usize,
    ) -> Result<Self, String> {
        let physical = column.physical_type();
        let allowed = Encoding::of(physical);
        let ParquetColumnOptions { encoding, dictionary, compression, statistics, bloom } = *options;
        if let Some(encoding) = encoding
            && !allowed.contains(&encoding)
        {
            let words: Vec<_> = allowed.iter().map(|encoding| encoding.as_str()).collect();
            return Err(format!("{physical} has no encoding {encoding}; choose {}", words.join(", ")));
        }
        if dictionary == Some(true) && !allowed.contains(&Encoding::Dictionary) {
            return Err(format!("{physical} has no dictionary; leave it out"));
        }
        if encoding == Some(Encoding::Dictionary) && dictionary == Some(false) {
            return Err(
                "its encoding is dictionary, and it is to have none; leave out one of them".to_owned()
            );
        }
        let filter = bloom.map(|bloom| filter(column, bloom, row_group_rows)).transpose()?;
        let codec = compression.map(|it| it.codec().map_err(|error| error.to_string())).transpose()?;
        let of_encoding = encoding.map(|encoding| encoding == Encoding::Dictionary);
        let (bloom, filter_bytes) = filter.unzip();
        Ok(Self {
            path: column.path().clone(),
            encoding: encoding.and_then(Encoding::code),
            dictionary: dictionary.or(of_encoding),
            codec,
            statistics: statistics.map(|statistics| statistics.level()),
            bloom,
            filter_bytes: filter_bytes.unwrap_or(0),
        })
    }

    /// Adds the choices to the properties of a file or of a row group, in front of what they say already.
    pub(crate) fn apply(&self, mut properties: WriterPropertiesBuilder) -> WriterPropertiesBuilder {
        let path = || self.path.clone();
        if let Some(encoding) = self.encoding {
            properties = properties.set_column_encoding(path(), encoding);
        }
        if let Some(dictionary) = self.dictionary {
            properties = properties.set_column_dictionary_enabled(path(), dictionary);
        }
        if let Some(codec) = self.codec {
            properties = properties.set_column_compression(path(), codec);
        }
        if let Some(statistics) = self.statistics {
            properties = properties.set_column_statistics_enabled(path(), statistics);
        }
        if let Some(bloom) = &self.bloom {
            properties = properties.set_column_bloom_filter_properties(path(), bloom.clone());
        }
        properties
    }
}

/// A filter as the parquet crate takes it, and its bytes.
fn filter(
    column: &ColumnDescriptor,
    bloom: BloomFilter,
    row_group_rows: usize,
) -> Result<(BloomFilterProperties, usize), String> {
    // The two values of a boolean are in nearly every row group.
    if column.physical_type() == parquet::basic::Type::BOOLEAN {
        return Err("a boolean has no bloom filter; leave it out".to_owned());
    }
    if column.max_rep_level() > 0 {
        let text =
            "a bloom filter is for a column with one value in a row, and this one has lists; leave it out";
        return Err(text.to_owned());
    }
    if !is_share(bloom.fpp) {
        return Err("a bloom filter's false positives are a number between 0 and 1, as in 0.01".to_owned());
    }
    let values = bloom.values.unwrap_or(row_group_rows as u64).max(1);
    let bytes = filter_bytes(values, bloom.fpp).filter(|bytes| *bytes <= FILTER_BYTES_MAX).ok_or_else(|| {
        format!(
            "a bloom filter of {values} values would be larger than {} MiB, the most that one may have; allow \
             more false positives or expect fewer values",
            FILTER_BYTES_MAX >> 20
        )
    })?;
    let properties = BloomFilterProperties::builder().with_fpp(bloom.fpp).with_max_ndv(values);
    Ok((properties.try_build().map_err(|error| error.to_string())?, bytes))
}

/// A path as a message shows it.
pub(crate) fn shown(path: &[String]) -> String {
    path.join(".")
}

fn names<'a>(paths: impl Iterator<Item = &'a [String]>) -> String {
    let names: Vec<String> = paths.map(shown).collect();
    match names.get(..NAMES_MAX) {
        Some(first) if names.len() > NAMES_MAX => {
            format!("{} and {} more", first.join(", "), names.len() - NAMES_MAX)
        }
        _ => names.join(", "),
    }
}

fn unsupported(text: String) -> SinkError {
    SinkError::new(SinkErrorKind::Unsupported, text)
}
