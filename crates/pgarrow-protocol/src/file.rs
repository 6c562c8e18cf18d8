//! Files that a connection string names: certificates, revocation lists, services.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Revocation lists of large authorities can have tens of megabytes.
const BYTES_MAX: u64 = 64 << 20;

/// Reads a plain file. Refuses pipes, which may have no writer, and devices, which may have no end.
pub(crate) fn read_plain(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no plain file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(io::Error::other("it is larger than 64 MiB"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_files_are_read() {
        assert!(read_plain(Path::new("/dev/zero")).is_err());
        assert!(read_plain(Path::new("/")).is_err());
        assert!(read_plain(Path::new("/nonexistent")).is_err());
        assert!(!read_plain(Path::new("Cargo.toml")).unwrap().is_empty());
    }
}
