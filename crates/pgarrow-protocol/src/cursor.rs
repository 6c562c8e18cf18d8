//! Reading a message body without overrunning it.
//!
//! ```text
//! body  ├── taken ──┼────────── rest ──────────┤
//!                   take(n) · take_array::<N>() · i16 · i32 · u32 · cstring
//! ```
//!
//! Every method either takes whole bytes from the front, or returns [`BodyError`] and takes nothing. Numbers
//! are big-endian. No number that was read causes an allocation.

use std::borrow::Cow;

/// A message body that is not what its type promises. Says what is wrong, not where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum BodyError {
    /// The body ends before the value does.
    Short,
    /// A string without its terminating zero byte.
    Unterminated,
    /// Bytes are left over after the last value. How many.
    Trailing(usize),
    /// A count or length that cannot be right, such as a negative one.
    Count(i32),
    /// A value outside the few that are allowed here.
    Value(i32),
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Short => write!(f, "the body is too short"),
            Self::Unterminated => write!(f, "a string has no terminator"),
            Self::Trailing(n_bytes) => write!(f, "{n_bytes} bytes are left over"),
            Self::Count(count) => write!(f, "impossible count {count}"),
            Self::Value(value) => write!(f, "unknown value {value}"),
        }
    }
}

/// A front of bytes not read yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Everything that is left.
    pub(crate) fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(crate) fn take(&mut self, n_bytes: usize) -> Result<&'a [u8], BodyError> {
        let (taken, rest) = self.rest.split_at_checked(n_bytes).ok_or(BodyError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn take_array<const N: usize>(&mut self) -> Result<[u8; N], BodyError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(BodyError::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, BodyError> {
        self.take_array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, BodyError> {
        self.take_array().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, BodyError> {
        self.take_array().map(i32::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, BodyError> {
        self.take_array().map(u32::from_be_bytes)
    }

    /// An `i16` that counts items of at least `item_bytes` bytes each. It cannot be negative, and the items
    /// must fit into what remains.
    pub(crate) fn count(&mut self, item_bytes: usize) -> Result<usize, BodyError> {
        let count = self.i16()?;
        let n = usize::try_from(count).map_err(|_| BodyError::Count(count.into()))?;
        if n.saturating_mul(item_bytes) > self.rest.len() {
            return Err(BodyError::Count(count.into()));
        }
        Ok(n)
    }

    /// The bytes before the next zero byte; the zero byte is taken too.
    pub(crate) fn cstring(&mut self) -> Result<&'a [u8], BodyError> {
        let n_bytes = self.rest.iter().position(|&byte| byte == 0).ok_or(BodyError::Unterminated)?;
        let text = self.take(n_bytes)?;
        self.take(1)?;
        Ok(text)
    }

    /// A zero-terminated string as text; bytes that are not UTF-8 become U+FFFD.
    pub(crate) fn text_lossy(&mut self) -> Result<Cow<'a, str>, BodyError> {
        self.cstring().map(String::from_utf8_lossy)
    }

    /// Checks that the body ends here.
    pub(crate) fn finish(&self) -> Result<(), BodyError> {
        match self.rest.len() {
            0 => Ok(()),
            n_bytes => Err(BodyError::Trailing(n_bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_stops_at_the_end() {
        for n_bytes in 0..9 {
            let bytes = vec![1_u8; n_bytes];
            assert_eq!(Cursor::new(&bytes).i16().is_ok(), n_bytes >= 2);
            assert_eq!(Cursor::new(&bytes).i32().is_ok(), n_bytes >= 4);
            assert_eq!(Cursor::new(&bytes).u32().is_ok(), n_bytes >= 4);
            assert_eq!(Cursor::new(&bytes).take(5).is_ok(), n_bytes >= 5);
            assert_eq!(Cursor::new(&bytes).cstring(), Err(BodyError::Unterminated));
        }
    }

    #[test]
    fn what_failed_takes_nothing() {
        let mut cursor = Cursor::new(&[1, 2, 3]);
        assert_eq!(cursor.i32(), Err(BodyError::Short));
        assert_eq!(cursor.take(3), Ok(&[1_u8, 2, 3][..]));
        assert_eq!(cursor.finish(), Ok(()));
    }

    #[test]
    fn counts_are_held_against_what_remains() {
        assert_eq!(Cursor::new(&[0, 2, 9, 9]).count(1), Ok(2));
        assert_eq!(Cursor::new(&[0, 3, 9, 9]).count(1), Err(BodyError::Count(3)));
        assert_eq!(Cursor::new(&[0xff, 0xff, 9, 9]).count(1), Err(BodyError::Count(-1)));
        assert_eq!(Cursor::new(&[0x7f, 0xff, 9]).count(usize::MAX), Err(BodyError::Count(0x7fff)));
    }

    #[test]
    fn strings_end_at_the_first_zero() {
        let mut cursor = Cursor::new(b"ab\0\xff\0rest");
        assert_eq!(cursor.cstring(), Ok(&b"ab"[..]));
        assert_eq!(cursor.text_lossy().as_deref(), Ok("\u{fffd}"));
        assert_eq!(cursor.finish(), Err(BodyError::Trailing(4)));
        assert_eq!(cursor.take_rest(), b"rest");
        assert_eq!(cursor.remaining(), 0);
    }
}
