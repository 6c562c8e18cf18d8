//! The envelope of every message the server sends after the startup: tag, length, body.
//!
//! ```text
//! tag     u8                                                     1 byte
//! length  u32, counts itself and the body but not the tag        4 bytes
//! body    whatever the tag says                                  length - 4 bytes
//! ```
//!
//! A length that cannot be true means that the two sides are out of step. Nothing after it can be trusted, so
//! it ends the session. Which lengths can be true depends on the tag:
//!
//! | tags | length at most |
//! |---|---|
//! | `d` CopyData, `D` DataRow | 0x3fff_ffff, PostgreSQL's own limit for one allocation |
//! | `T` RowDescription | 16 MiB |
//! | `E` ErrorResponse, `N` NoticeResponse, `A` NotificationResponse | 1 MiB |
//! | all others | 30,000, as in libpq |
//!
//! Before the login, no message from the server is longer than 30,000 bytes, whatever its tag.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-message-formats.html>;
//! `VALID_LONG_MESSAGE_TYPE` in PostgreSQL's `src/interfaces/libpq/fe-protocol3.c`.

/// Tag and length.
pub(crate) const HEADER_BYTES: usize = 5;

/// The longest frame there is, tag included.
pub(crate) const FRAME_BYTES_MAX: usize = 1 + LONG_MAX as usize;

const LONG_MAX: u32 = 0x3fff_ffff; // `MaxAllocSize` in src/include/utils/memutils.h
const DESCRIPTION_MAX: u32 = 16 * 1024 * 1024;
const TEXT_MAX: u32 = 1024 * 1024;
const SHORT_MAX: u32 = 30_000;

/// The first five bytes of a message, checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Header {
    pub(crate) tag: u8,
    /// Bytes of the body.
    pub(crate) body_bytes: usize,
}

impl Header {
    /// Bytes of the whole message: tag, length and body.
    pub(crate) fn frame_bytes(self) -> usize {
        HEADER_BYTES + self.body_bytes
    }

    /// A notice, a parameter or a notification: it may come at any time and is no answer.
    pub(crate) fn is_talk(self) -> bool {
        matches!(self.tag, b'N' | b'S' | b'A')
    }
}

/// The header of a message to the server; `None` if a server would refuse a body of this size:
/// `PQ_LARGE_MESSAGE_LIMIT` in PostgreSQL's `src/include/libpq/libpq.h`.
pub(crate) fn sent_header(tag: u8, body_bytes: usize) -> Option<[u8; HEADER_BYTES]> {
    let length = u32::try_from(body_bytes).ok()?.checked_add(4).filter(|length| *length < LONG_MAX)?;
    let [a, b, c, d] = length.to_be_bytes();
    Some([tag, a, b, c, d])
}

/// A length that cannot be true.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FrameError {
    pub(crate) tag: u8,
    pub(crate) length: u32,
    /// The largest length that this tag allows.
    pub(crate) length_max: u32,
}

impl FrameError {
    /// Whether the length is in fact letters: an error of the oldest form, `E` and a text.
    pub(crate) fn is_text(self) -> bool {
        self.tag == b'E'
            && self.length.to_be_bytes().iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')
    }
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "lost sync with the server: message {} claims a length of {} bytes (4 to {} are possible); a pooler that \
             ends a connection in the middle of a message leaves such bytes",
            Tag(self.tag),
            self.length,
            self.length_max
        )
    }
}

/// A message tag as people read it: `'Z'`, or `0x07` if it is no printable letter.
pub(crate) struct Tag(pub(crate) u8);

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_ascii_graphic() {
            write!(f, "'{}'", char::from(self.0))
        } else {
            write!(f, "0x{:02x}", self.0)
        }
    }
}

/// Reads the header at the front of `bytes`; `None` if fewer than five bytes are there.
pub(crate) fn header(bytes: &[u8]) -> Result<Option<Header>, FrameError> {
    bounded_header(bytes, LONG_MAX)
}

/// As [`header`], before the login, when every message is short.
pub(crate) fn startup_header(bytes: &[u8]) -> Result<Option<Header>, FrameError> {
    bounded_header(bytes, SHORT_MAX)
}

fn bounded_header(bytes: &[u8], bound: u32) -> Result<Option<Header>, FrameError> {
    let Some(&[tag, a, b, c, d]) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([a, b, c, d]);
    let length_max = length_max(tag).min(bound);
    let error = FrameError { tag, length, length_max };
    if length > length_max {
        return Err(error);
    }
    let body_bytes = length.checked_sub(4).and_then(|n_bytes| usize::try_from(n_bytes).ok());
    Ok(Some(Header { tag, body_bytes: body_bytes.ok_or(error)? }))
}

fn length_max(tag: u8) -> u32 {
    match tag {
        b'd' | b'D' => LONG_MAX,
        b'T' => DESCRIPTION_MAX,
        b'E' | b'N' | b'A' => TEXT_MAX,
        _ => SHORT_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(tag: u8, length: u32) -> [u8; 5] {
        let [a, b, c, d] = length.to_be_bytes();
        [tag, a, b, c, d]
    }

    #[test]
    fn lengths_that_cannot_be_true_for_any_tag() {
        for tag in 0..=u8::MAX {
            for length in [0, 1, 2, 3, 0x4000_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
                for read in [header, startup_header] {
                    let error = read(&bytes(tag, length)).unwrap_err();
                    assert_eq!((error.tag, error.length), (tag, length));
                }
            }
            assert_eq!(header(&bytes(tag, 4)), Ok(Some(Header { tag, body_bytes: 0 })));
        }
    }

    #[test]
    fn each_type_has_its_own_longest_length() {
        for (tag, max) in [
            (b'd', 0x3fff_ffff),
            (b'D', 0x3fff_ffff),
            (b'T', 16_777_216),
            (b'E', 1_048_576),
            (b'N', 1_048_576),
        ] {
            assert!(header(&bytes(tag, max)).is_ok());
            assert!(header(&bytes(tag, max + 1)).is_err());
        }
        for tag in (0..=u8::MAX).filter(|tag| !b"dDTENA".contains(tag)) {
            assert!(header(&bytes(tag, 30_000)).is_ok());
            assert!(header(&bytes(tag, 30_001)).is_err());
        }
    }

    #[test]
    fn before_the_login_nothing_is_long() {
        for tag in 0..=u8::MAX {
            assert!(startup_header(&bytes(tag, 30_000)).is_ok());
            let error = startup_header(&bytes(tag, 30_001)).unwrap_err();
            assert!(error.to_string().contains("4 to 30000 are possible"), "{error}");
        }
    }

    #[test]
    fn four_bytes_are_not_a_header_yet() {
        assert_eq!(header(&[]), Ok(None));
        assert_eq!(header(&[b'Z', 0, 0, 0]), Ok(None));
        let long = header(b"Z\0\0\0\x05I").unwrap().unwrap();
        assert_eq!((long.tag, long.body_bytes, long.frame_bytes()), (b'Z', 1, 6));
    }

    #[test]
    fn tags_are_shown_without_raw_control_bytes() {
        assert_eq!(Tag(b'Z').to_string(), "'Z'");
        assert_eq!(Tag(0x1b).to_string(), "0x1b");
        assert_eq!(Tag(0xff).to_string(), "0xff");
    }
}
