//! Writes what `COPY … TO STDOUT (FORMAT binary)` sends, whole or in pieces.
//!
//! ```text
//! stream = signature flags extension tuple* trailer
//! ```
//!
//! PostgreSQL sends a `CopyData` for each tuple, with the header before the first one and the trailer alone;
//! the protocol does not promise this. [`Packing`] cuts the same stream in other ways, all of them legal.
//!
//! Source: <https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format", and
//! `src/backend/commands/copyto.c` for how PostgreSQL cuts it.

/// The 11 bytes every stream starts with.
pub const SIGNATURE: [u8; 11] = *b"PGCOPY\n\xff\r\n\0";

/// A stream that is being built. Nothing is checked: broken streams are needed too.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct CopyWriter {
    flags: u32,
    extension: Vec<u8>,
    tuples: Vec<Vec<u8>>,
    has_trailer: bool,
}

/// How a stream is cut into `CopyData` payloads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Packing {
    /// As PostgreSQL does: header and first tuple, then one tuple each, then the trailer.
    PerTuple,
    /// Header, each tuple and trailer apart.
    HeaderAlone,
    /// This many tuples in each payload, the header with the first and the trailer with the last.
    Glued(usize),
    /// Pieces of this many bytes, cut anywhere.
    Split(usize),
    /// As [`PerTuple`](Self::PerTuple), with an empty payload before, between and after.
    WithEmpty,
    /// Everything in one payload.
    Whole,
}

impl Packing {
    /// A selection that finds most mistakes in putting pieces together again.
    pub const ALL: [Self; 9] = [
        Self::PerTuple,
        Self::HeaderAlone,
        Self::Glued(2),
        Self::Glued(1000),
        Self::Split(1),
        Self::Split(3),
        Self::Split(64),
        Self::WithEmpty,
        Self::Whole,
    ];
}

impl CopyWriter {
    /// A stream without tuples.
    pub fn new() -> Self {
        Self { has_trailer: true, ..Self::default() }
    }

    /// The flags of the header. Default: 0.
    pub fn flags(self, flags: u32) -> Self {
        Self { flags, ..self }
    }

    /// The extension of the header, without its length. Default: empty.
    pub fn extension(self, extension: impl Into<Vec<u8>>) -> Self {
        Self { extension: extension.into(), ..self }
    }

    /// Adds a tuple; `None` is null.
    ///
    /// # Panics
    ///
    /// When there are more values, or longer ones, than the format has room for.
    pub fn tuple<'a>(self, values: impl IntoIterator<Item = Option<&'a [u8]>>) -> Self {
        self.raw_tuple(tuple(values))
    }

    /// Adds any bytes in the place of a tuple.
    pub fn raw_tuple(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.tuples.push(bytes.into());
        self
    }

    /// Leaves out the trailer.
    pub fn without_trailer(self) -> Self {
        Self { has_trailer: false, ..self }
    }

    /// How many tuples there are.
    pub fn n_tuples(&self) -> usize {
        self.tuples.len()
    }

    /// The whole stream.
    pub fn stream(&self) -> Vec<u8> {
        self.pieces().concat()
    }

    /// The stream, cut into payloads.
    pub fn payloads(&self, packing: Packing) -> Vec<Vec<u8>> {
        let pieces = self.pieces();
        match packing {
            Packing::PerTuple => self.per_tuple(),
            Packing::HeaderAlone => pieces,
            Packing::Whole => vec![pieces.concat()],
            Packing::Split(n_bytes) => self.stream().chunks(n_bytes.max(1)).map(<[u8]>::to_vec).collect(),
            Packing::WithEmpty => {
                let mut payloads = vec![Vec::new()];
                for payload in self.per_tuple() {
                    payloads.push(payload);
                    payloads.push(Vec::new());
                }
                payloads
            }
            Packing::Glued(n_tuples) => {
                let mut payloads: Vec<Vec<u8>> =
                    self.tuples.chunks(n_tuples.max(1)).map(<[_]>::concat).collect();
                if payloads.is_empty() {
                    return vec![pieces.concat()];
                }
                payloads[0].splice(0..0, self.header());
                payloads.last_mut().expect("not empty").extend(self.trailer());
                payloads
            }
        }
    }

    /// The stream as `CopyData` messages, one after another.
    pub fn frames(&self, packing: Packing) -> Vec<u8> {
        self.payloads(packing).iter().flat_map(|payload| frame(payload)).collect()
    }

    fn per_tuple(&self) -> Vec<Vec<u8>> {
        let mut pieces = self.pieces();
        if pieces.len() > 1 {
            // PostgreSQL flushes at the end of a row, and the header is not one.
            let header = pieces.remove(0);
            pieces[0].splice(0..0, header);
        }
        pieces
    }

    /// Header, tuples, trailer.
    fn pieces(&self) -> Vec<Vec<u8>> {
        let mut pieces = vec![self.header()];
        pieces.extend(self.tuples.iter().cloned());
        if self.has_trailer {
            pieces.push(self.trailer());
        }
        pieces
    }

    fn header(&self) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend(self.flags.to_be_bytes());
        header.extend(u32::try_from(self.extension.len()).expect("a length in 32 bits").to_be_bytes());
        header.extend(&self.extension);
        header
    }

    fn trailer(&self) -> Vec<u8> {
        if self.has_trailer { (-1_i16).to_be_bytes().to_vec() } else { Vec::new() }
    }
}

/// One tuple of a COPY stream; also the body of a `DataRow`, which looks the same.
///
/// # Panics
///
/// When there are more values, or longer ones, than the format has room for.
pub fn tuple<'a>(values: impl IntoIterator<Item = Option<&'a [u8]>>) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    let mut n_values = 0_i16;
    for value in values {
        n_values = n_values.checked_add(1).expect("a number of values in 16 bits");
        match value {
            None => bytes.extend((-1_i32).to_be_bytes()),
            Some(value) => {
                bytes.extend(i32::try_from(value.len()).expect("a length in 32 bits").to_be_bytes());
                bytes.extend(value);
            }
        }
    }
    bytes[..2].copy_from_slice(&n_values.to_be_bytes());
    bytes
}

/// One `CopyData` message.
///
/// # Panics
///
/// When the payload is longer than a message can be.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let length = i32::try_from(payload.len() + 4).expect("a length in 32 bits");
    let mut message = vec![b'd'];
    message.extend(length.to_be_bytes());
    message.extend(payload);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> CopyWriter {
        CopyWriter::new()
            .tuple([Some(b"a".as_slice()), None])
            .tuple([Some(b"".as_slice()), None])
            .tuple([None, None])
    }

    #[test]
    fn the_bytes_of_the_documentation() {
        let stream = CopyWriter::new()
            .extension(*b"xyz")
            .flags(1 << 16)
            .tuple([Some(b"hi".as_slice()), None])
            .stream();
        let expected = b"PGCOPY\n\xff\r\n\0\0\x01\0\0\0\0\0\x03xyz\0\x02\0\0\0\x02hi\xff\xff\xff\xff\xff\xff";
        assert_eq!(stream, expected);
    }

    #[test]
    fn every_packing_is_the_same_stream() {
        for writer in
            [CopyWriter::new(), three(), three().without_trailer(), CopyWriter::new().without_trailer()]
        {
            for packing in Packing::ALL {
                assert_eq!(writer.payloads(packing).concat(), writer.stream(), "{packing:?}");
            }
        }
    }

    #[test]
    fn as_postgres_cuts_it() {
        let header_bytes = 19;
        let sizes =
            |writer: CopyWriter, packing| writer.payloads(packing).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(three(), Packing::PerTuple), [header_bytes + 11, 10, 10, 2]);
        assert_eq!(sizes(CopyWriter::new(), Packing::PerTuple), [header_bytes + 2]);
        assert_eq!(sizes(three(), Packing::HeaderAlone), [header_bytes, 11, 10, 10, 2]);
        assert_eq!(sizes(three(), Packing::Glued(2)), [header_bytes + 21, 12]);
        assert_eq!(sizes(three(), Packing::WithEmpty), [0, header_bytes + 11, 0, 10, 0, 10, 0, 2, 0]);
        assert_eq!(sizes(three(), Packing::Split(32)), [32, 20]);
    }

    #[test]
    fn a_frame_counts_its_length_but_not_its_tag() {
        assert_eq!(frame(b"abc"), b"d\0\0\0\x07abc");
        assert_eq!(frame(b""), b"d\0\0\0\x04");
        assert_eq!(CopyWriter::new().frames(Packing::Whole).len(), 5 + 19 + 2);
    }
}
