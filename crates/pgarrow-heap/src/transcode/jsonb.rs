//! `jsonb` as it is stored.
//!
//! ```text
//! container: u32 flags and count │ count (in an object twice the count) × u32 entry │ values
//! entry:     1 bit whether the rest is an offset, 3 bits kind, 28 bits length or offset of the end
//! ```
//!
//! Values follow each other. Numbers and containers begin at the next 4 bytes, with the padding as part of
//! their length. In an object, all keys come before all values. A scalar is an array of one element with a
//! flag.
//!
//! Source: `src/include/utils/jsonb.h`; `jsonb_send`, `JsonbToCString` in `src/backend/utils/adt/jsonb.c`;
//! `escape_json` in `json.c`; `fillJsonbValue` in `jsonb_util.c`.

use crate::compressed::Corrupt;
use crate::transcode::array::varlena;
use crate::transcode::check_bytes;
use crate::transcode::numeric::Numeric;

/// The version byte of `jsonb_send`.
const VERSION: u8 = 1;

/// Levels below the root. The server sends deeper values: each level takes a frame of the stack.
const DEPTH_MAX: usize = 500;

const COUNT: u32 = 0x0fff_ffff;
const FLAGS: u32 = 0xf000_0000;
const SCALAR: u32 = 0x5000_0000;
const OBJECT: u32 = 0x2000_0000;
const ARRAY: u32 = 0x4000_0000;

const IS_OFFSET: u32 = 0x8000_0000;
const KIND: u32 = 0x7000_0000;
const END: u32 = 0x0fff_ffff;

const STRING: u32 = 0x0000_0000;
const NUMERIC: u32 = 0x1000_0000;
const FALSE: u32 = 0x2000_0000;
const TRUE: u32 = 0x3000_0000;
const NULL: u32 = 0x4000_0000;
const CONTAINER: u32 = 0x5000_0000;

/// `jsonb_send`: a version, then the text.
pub(super) fn send(stored: &[u8], out: &mut Vec<u8>) -> Result<(), Corrupt> {
    let start = out.len();
    out.push(VERSION);
    let root = Container::parse(stored)?;
    if root.flags == SCALAR {
        let mut values = root.entries(0..1, 0);
        return match (root.count, values.next()?) {
            (1, Some(value)) if value.kind != CONTAINER => Text { out, start }.value(&value, DEPTH_MAX),
            _ => Err(Corrupt("a scalar of jsonb that is none")),
        };
    }
    Text { out, start }.container(&root, DEPTH_MAX)
}

/// An array or an object.
struct Container<'a> {
    flags: u32,
    /// Elements, or pairs.
    count: usize,
    entries: &'a [[u8; 4]],
    data: &'a [u8],
}

impl<'a> Container<'a> {
    fn parse(stored: &'a [u8]) -> Result<Self, Corrupt> {
        const SHORT: Corrupt = Corrupt("a container of jsonb that is shorter than its entries");
        let (header, rest) = stored.split_first_chunk().ok_or(SHORT)?;
        let header = u32::from_le_bytes(*header);
        let flags = header & FLAGS;
        let count = usize::try_from(header & COUNT).map_err(|_| SHORT)?;
        let bytes = count.checked_mul(if flags == OBJECT { 8 } else { 4 }).ok_or(SHORT)?;
        let (entries, data) = rest.split_at_checked(bytes).ok_or(SHORT)?;
        Ok(Self { flags, count, entries: entries.as_chunks().0, data })
    }

    /// Some of its entries; the first begins at `offset`.
    fn entries(&self, range: std::ops::Range<usize>, offset: usize) -> Entries<'a> {
        Entries { entries: self.entries.get(range).unwrap_or_default(), data: self.data, offset }
    }
}

/// The remaining entries of a container.
struct Entries<'a> {
    entries: &'a [[u8; 4]],
    data: &'a [u8],
    offset: usize,
}

/// An entry, with its bytes.
struct Value<'a> {
    kind: u32,
    bytes: &'a [u8],
}

impl<'a> Entries<'a> {
    fn next(&mut self) -> Result<Option<Value<'a>>, Corrupt> {
        const OUTSIDE: Corrupt = Corrupt("a value of jsonb that is not inside of its container");
        let Some((entry, rest)) = self.entries.split_first() else {
            return Ok(None);
        };
        self.entries = rest;
        let entry = u32::from_le_bytes(*entry);
        let field = usize::try_from(entry & END).map_err(|_| OUTSIDE)?;
        let end = if entry & IS_OFFSET == 0 { self.offset.checked_add(field).ok_or(OUTSIDE)? } else { field };
        let kind = entry & KIND;
        let begin =
            if matches!(kind, NUMERIC | CONTAINER) { self.offset.next_multiple_of(4) } else { self.offset };
        let bytes = self.data.get(begin..end).ok_or(OUTSIDE)?;
        self.offset = end;
        Ok(Some(Value { kind, bytes }))
    }

    /// Where the entry behind the last one would begin.
    fn end(mut self) -> Result<usize, Corrupt> {
        while self.next()?.is_some() {}
        Ok(self.offset)
    }
}

/// The text of a value, from `start` on.
struct Text<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl Text<'_> {
    fn container(&mut self, container: &Container<'_>, depth_left: usize) -> Result<(), Corrupt> {
        let depth_left = depth_left.checked_sub(1).ok_or(Corrupt("jsonb of too many levels"))?;
        let count = container.count;
        match container.flags {
            ARRAY => {
                self.out.push(b'[');
                let mut values = container.entries(0..count, 0);
                let mut separator: &[u8] = b"";
                while let Some(value) = values.next()? {
                    self.out.extend_from_slice(separator);
                    separator = b", ";
                    self.value(&value, depth_left)?;
                }
                self.out.push(b']');
            }
            OBJECT => {
                self.out.push(b'{');
                let mut keys = container.entries(0..count, 0);
                let mut values = container.entries(count..2 * count, container.entries(0..count, 0).end()?);
                let mut separator: &[u8] = b"";
                while let (Some(key), Some(value)) = (keys.next()?, values.next()?) {
                    if key.kind != STRING {
                        return Err(Corrupt("a key of jsonb that is no string"));
                    }
                    self.out.extend_from_slice(separator);
                    separator = b", ";
                    self.string(key.bytes)?;
                    self.out.extend_from_slice(b": ");
                    self.value(&value, depth_left)?;
                }
                self.out.push(b'}');
            }
            _ => return Err(Corrupt("a container of jsonb that is neither array nor object")),
        }
        Ok(())
    }

    fn value(&mut self, value: &Value<'_>, depth_left: usize) -> Result<(), Corrupt> {
        match value.kind {
            STRING => self.string(value.bytes)?,
            NUMERIC => {
                let (stored, _) = varlena(value.bytes)?;
                let numeric = Numeric::parse(stored)?;
                if numeric.is_special() {
                    return Err(Corrupt("a number of jsonb that is none"));
                }
                numeric.print(self.out);
            }
            FALSE => self.out.extend_from_slice(b"false"),
            TRUE => self.out.extend_from_slice(b"true"),
            NULL => self.out.extend_from_slice(b"null"),
            CONTAINER => self.container(&Container::parse(value.bytes)?, depth_left)?,
            _ => return Err(Corrupt("a value of jsonb of an unknown kind")),
        }
        check_bytes(self.start, self.out)
    }

    fn string(&mut self, bytes: &[u8]) -> Result<(), Corrupt> {
        let is_special = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
        self.out.push(b'"');
        // Most have nothing to escape. To check all bytes at once is quicker than to find the first special
        // one.
        if !bytes.iter().fold(false, |any, byte| any | is_special(byte)) {
            self.out.extend_from_slice(bytes);
            self.out.push(b'"');
            return Ok(());
        }
        for run in bytes.split_inclusive(is_special) {
            let Some((last, plain)) = run.split_last() else {
                continue;
            };
            self.out.extend_from_slice(plain);
            match last {
                0 => return Err(Corrupt("a string of jsonb with a NUL")),
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                0x08 => self.out.extend_from_slice(b"\\b"),
                0x0c => self.out.extend_from_slice(b"\\f"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                ..b' ' => self.out.extend_from_slice(format!("\\u{last:04x}").as_bytes()),
                _ => self.out.push(*last),
            }
        }
        self.out.push(b'"');
        Ok(())
    }
}
