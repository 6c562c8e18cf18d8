//! Hashes that PostgreSQL computes, too.

use md5::{Digest as _, Md5};
use pgarrow_export::{ErrorKind, ExportOptions, Result, Source};
use sha2::Sha256;

/// A hash function of PostgreSQL.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Digest {
    /// `md5`, the faster one.
    Md5,
    /// `sha256`, where the server or the role has no `md5`, as in FIPS mode.
    Sha256,
}

/// The first 128 bits of a hash.
pub(super) type Hash = [u8; 16];

impl Digest {
    /// The one that the server has, for the role of these options.
    pub(super) fn of_server(source: &Source, options: &ExportOptions) -> Result<Self> {
        let probe = source.query("SELECT pg_catalog.md5('\\x00'::pg_catalog.bytea) AS md5");
        match probe.options(options.clone()).open().and_then(|run| run.for_each(|_| Ok(()))) {
            Ok(_) => Ok(Self::Md5),
            Err(error) if error.kind() == ErrorKind::Server => Ok(Self::Sha256),
            Err(error) => Err(error),
        }
    }

    /// SQL for the hash of an expression of type bytea, as text of 32 hexadecimal digits.
    pub(super) fn sql(self, bytes: &str) -> String {
        match self {
            Self::Md5 => format!("pg_catalog.md5({bytes})"),
            Self::Sha256 => {
                format!("pg_catalog.substr(pg_catalog.encode(pg_catalog.sha256({bytes}), 'hex'), 1, 32)")
            }
        }
    }

    /// The hash that [`sql`](Self::sql) gives.
    pub(super) fn of(self, bytes: &[u8]) -> Hash {
        match self {
            Self::Md5 => Md5::digest(bytes).into(),
            Self::Sha256 => first(&Sha256::digest(bytes)),
        }
    }
}

fn first(bytes: &[u8]) -> Hash {
    bytes.first_chunk().copied().unwrap_or_default()
}

/// SQL for what is summed of a hash: its first 60 bits. 64 would have a sign.
pub(super) fn summand_sql(hash: &str) -> String {
    format!("pg_catalog.concat('x', pg_catalog.substr({hash}, 1, 15))::pg_catalog.bit(60)::pg_catalog.int8")
}

/// The same of a hash.
pub(super) fn summand(hash: &Hash) -> u64 {
    hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)) >> 4
}
