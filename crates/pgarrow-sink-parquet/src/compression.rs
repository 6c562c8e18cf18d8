//! How pages are compressed, and its form as text: `zstd`, `zstd:3`, `none`.

use std::fmt;
use std::str::FromStr;

use parquet::basic::{BrotliLevel, Compression as Codec, GzipLevel, ZstdLevel};
use pgarrow_sink::{SinkError, SinkErrorKind};

/// How pages are compressed. Default: zstd at level 1.
///
/// As text: the name, and for some codecs a colon and a level, as in `zstd:3`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// Snappy: fast, and read by everything.
    Snappy,
    /// LZ4 in Parquet's `LZ4_RAW` form; its older `LZ4` form was never well defined.
    Lz4,
    /// Gzip at a level from 0 to 9. As text without a level: 6.
    Gzip(u8),
    /// Brotli at a level from 0 to 11. As text without a level: 1.
    Brotli(u8),
    /// Zstandard at a level from 1 to 22. As text without a level: 1.
    Zstd(u8),
}

impl Default for Compression {
    fn default() -> Self {
        Self::Zstd(1)
    }
}

impl Compression {
    /// The codec of the parquet crate.
    ///
    /// # Errors
    ///
    /// [`SinkErrorKind::Unsupported`] for a level that does not exist.
    pub(crate) fn codec(self) -> Result<Codec, SinkError> {
        let codec = match self {
            Self::None => Ok(Codec::UNCOMPRESSED),
            Self::Snappy => Ok(Codec::SNAPPY),
            Self::Lz4 => Ok(Codec::LZ4_RAW),
            Self::Gzip(level) => GzipLevel::try_new(level.into()).map(Codec::GZIP),
            Self::Brotli(level) => BrotliLevel::try_new(level.into()).map(Codec::BROTLI),
            Self::Zstd(level) => ZstdLevel::try_new(level.into()).map(Codec::ZSTD),
        };
        codec.map_err(|_| {
            let levels = match self {
                Self::Gzip(_) => "0 to 9",
                Self::Brotli(_) => "0 to 11",
                _ => "1 to 22",
            };
            let (name, _) = self.parts();
            unsupported(format!("compression {self}: no such level; {name} has levels {levels}"))
        })
    }

    fn parts(self) -> (&'static str, Option<u8>) {
        match self {
            Self::None => ("none", None),
            Self::Snappy => ("snappy", None),
            Self::Lz4 => ("lz4", None),
            Self::Gzip(level) => ("gzip", Some(level)),
            Self::Brotli(level) => ("brotli", Some(level)),
            Self::Zstd(level) => ("zstd", Some(level)),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (name, Some(level)) => write!(f, "{name}:{level}"),
            (name, None) => f.write_str(name),
        }
    }
}

impl FromStr for Compression {
    type Err = SinkError;

    fn from_str(text: &str) -> Result<Self, SinkError> {
        let (name, level_text) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level)),
            None => (text, None),
        };
        let level = |default: u8| match level_text {
            None => Ok(default),
            Some(level) => level.parse().map_err(|_| {
                unsupported(format!(
                    "compression {text:?}: {level:?} is not a level; write a number, as in {name}:{default}"
                ))
            }),
        };
        let compression = match name {
            "none" => Self::None,
            "snappy" => Self::Snappy,
            "lz4" => Self::Lz4,
            "gzip" => Self::Gzip(level(6)?),
            "brotli" => Self::Brotli(level(1)?),
            "zstd" => Self::Zstd(level(1)?),
            _ => {
                let known = "zstd, snappy, lz4, gzip, brotli or none";
                return Err(unsupported(format!("compression {text:?} is not known; choose {known}")));
            }
        };
        if level_text.is_some() && compression.parts().1.is_none() {
            return Err(unsupported(format!("compression {text:?}: {name} has no levels; write {name}")));
        }
        compression.codec()?;
        Ok(compression)
    }
}

fn unsupported(text: String) -> SinkError {
    SinkError::new(SinkErrorKind::Unsupported, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_levels() {
        for (text, expected) in [
            ("zstd", Compression::Zstd(1)),
            ("zstd:3", Compression::Zstd(3)),
            ("zstd:22", Compression::Zstd(22)),
            ("snappy", Compression::Snappy),
            ("gzip", Compression::Gzip(6)),
            ("gzip:0", Compression::Gzip(0)),
            ("brotli:4", Compression::Brotli(4)),
            ("lz4", Compression::Lz4),
            ("none", Compression::None),
        ] {
            let compression: Compression = text.parse().unwrap();
            assert_eq!(compression, expected);
            assert_eq!(compression.to_string().parse::<Compression>().unwrap(), expected);
        }
        assert_eq!(Compression::default(), "zstd".parse().unwrap());
    }

    #[test]
    fn what_is_wrong_and_what_would_be_right() {
        for (text, says) in [
            ("zstd:23", "zstd has levels 1 to 22"),
            ("zstd:0", "zstd has levels 1 to 22"),
            ("gzip:10", "gzip has levels 0 to 9"),
            ("brotli:12", "brotli has levels 0 to 11"),
            ("zstd:fast", "is not a level; write a number, as in zstd:1"),
            ("zstd:-1", "is not a level"),
            ("zstd:", "is not a level"),
            ("snappy:1", "snappy has no levels"),
            ("ZSTD", "choose zstd, snappy"),
            ("", "choose zstd, snappy"),
        ] {
            let error = text.parse::<Compression>().unwrap_err();
            assert_eq!(error.kind(), SinkErrorKind::Unsupported);
            assert!(error.to_string().contains(says), "{text:?}: {error}");
        }
    }
}
