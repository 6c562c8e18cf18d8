//! What callers may choose about Arrow IPC.

use std::fmt;
use std::str::FromStr;

use arrow_ipc::CompressionType;
use arrow_ipc::writer::IpcWriteOptions;
use pgarrow_sink::{SinkError, SinkErrorKind};

/// The form of Arrow IPC to write.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum IpcFormat {
    /// With a footer, for files that are mapped or read in pieces; also known as Feather 2. An enum has one
    /// dictionary for the whole file.
    #[default]
    File,
    /// Without a footer, for pipes. An enum's dictionary may be replaced on the way.
    Stream,
}

/// How the buffers of a batch are compressed. As text: `none`, `lz4`, `zstd`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum IpcCompression {
    /// Not at all: the buffers can be mapped and used as they are.
    #[default]
    None,
    /// LZ4 frames.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl IpcCompression {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for IpcCompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for IpcCompression {
    type Err = SinkError;

    fn from_str(text: &str) -> Result<Self, SinkError> {
        let known = [Self::None, Self::Lz4, Self::Zstd];
        known.into_iter().find(|compression| compression.name() == text).ok_or_else(|| {
            let text = format!("compression {text:?} is not known in arrow ipc; choose none, lz4 or zstd");
            SinkError::new(SinkErrorKind::Unsupported, text)
        })
    }
}

/// How batches are written as Arrow IPC.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[must_use]
pub struct IpcOptions {
    pub(crate) format: IpcFormat,
    pub(crate) compression: IpcCompression,
}

impl IpcOptions {
    /// File or stream. Default: [`IpcFormat::File`].
    pub fn with_format(self, format: IpcFormat) -> Self {
        Self { format, ..self }
    }

    /// How buffers are compressed. Default: [`IpcCompression::None`].
    pub fn with_compression(self, compression: IpcCompression) -> Self {
        Self { compression, ..self }
    }

    pub(crate) fn write_options(self) -> Result<IpcWriteOptions, SinkError> {
        let compression = match self.compression {
            IpcCompression::None => None,
            IpcCompression::Lz4 => Some(CompressionType::LZ4_FRAME),
            IpcCompression::Zstd => Some(CompressionType::ZSTD),
        };
        IpcWriteOptions::default().try_with_compression(compression).map_err(|e| {
            let text = format!("compression {} is not available for arrow ipc: {e}", self.compression);
            SinkError::new(SinkErrorKind::Unsupported, text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_compressions() {
        for compression in [IpcCompression::None, IpcCompression::Lz4, IpcCompression::Zstd] {
            assert_eq!(compression.to_string().parse::<IpcCompression>().unwrap(), compression);
        }
        let error = "snappy".parse::<IpcCompression>().unwrap_err();
        assert_eq!(error.kind(), SinkErrorKind::Unsupported);
        assert!(error.to_string().ends_with("choose none, lz4 or zstd"), "{error}");
    }
}
