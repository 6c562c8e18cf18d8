//! The number in the server's text of its version.

/// `15.18 (Debian 15.18-0+deb12u1)` → 150018.
pub(super) fn version_num(text: &str) -> u32 {
    let digits = text.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
    let mut parts = digits.split('.').map(|part| part.parse::<u32>().unwrap_or(0).min(9_999));
    let (major, minor, patch) =
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if major == 0 {
        return 0;
    }
    if major >= 10 { major * 10_000 + minor } else { major * 10_000 + minor.min(99) * 100 + patch.min(99) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, number) in [
            ("15.18 (Debian 15.18-0+deb12u1)", 150_018),
            ("18.1", 180_001),
            ("19beta1", 190_000),
            ("19devel", 190_000),
            ("9.6.24", 90_624),
            ("10", 100_000),
            ("", 0),
            ("PostgreSQL", 0),
            ("99999999999.1", 0),
        ] {
            assert_eq!(version_num(text), number, "{text}");
        }
    }
}
