//! Finds pages in `COPY (SELECT page …) TO STDOUT (FORMAT binary)`: a stream of tuples of one bytea.
//!
//! PostgreSQL puts each tuple into its own CopyData message, so pages are read where they were received. But
//! that is a habit and no promise: a tuple that spans messages is joined in a buffer.

use crate::locate::PageAt;
use crate::page::PAGE_BYTES;

/// Bytes of a message before its payload: its tag, and a length that counts itself.
const MESSAGE_HEADER_BYTES: usize = 5;
const COPY_DATA: u8 = b'd';
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags, length of the extension.
const STREAM_HEADER_BYTES: usize = 19;
/// A count of values and the length of one.
const TUPLE_HEADER_BYTES: usize = 6;

/// The COPY of the pages of some blocks, one after the other.
#[derive(Debug)]
pub struct PageStream {
    block: u32,
    end: u32,
    place: Place,
    /// Payloads, or the rest of them, that end inside a tuple.
    carried: Vec<u8>,
    /// Bytes of them that are already used.
    carried_used: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Header,
    Tuples,
    Complete,
}

/// Pages that were found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FoundPages {
    /// Bytes of whole messages that were used.
    pub used_bytes: usize,
    /// The pages are not in the given bytes, but in [`PageStream::carried`], until the next call.
    pub are_carried: bool,
}

impl PageStream {
    /// A stream of the blocks from `from` to before `to`.
    pub fn new(from: u32, to: u32) -> Self {
        Self { block: from, end: to, place: Place::Header, carried: Vec::new(), carried_used: 0 }
    }

    /// Whether the stream has ended, with a page for every block.
    pub fn is_complete(&self) -> bool {
        self.place == Place::Complete && self.block == self.end && self.carried.len() == self.carried_used
    }

    /// The block whose page comes next.
    pub fn next_block(&self) -> u32 {
        self.block
    }

    /// Bytes of the messages of all pages that are still to come, if each is whole and has a message of its
    /// own.
    pub fn bytes_to_come(&self) -> usize {
        const MESSAGE_BYTES: usize = MESSAGE_HEADER_BYTES + TUPLE_HEADER_BYTES + PAGE_BYTES;
        (self.end.saturating_sub(self.block) as usize).saturating_mul(MESSAGE_BYTES)
    }

    /// The bytes of a tuple that spans messages.
    pub fn carried(&self) -> &[u8] {
        &self.carried
    }

    /// Finds the pages of the whole CopyData messages at the start of `bytes`: at most `n_max`, or a few
    /// more.
    ///
    /// # Errors
    ///
    /// The error in the stream.
    pub fn find(
        &mut self,
        bytes: &[u8],
        n_max: usize,
        pages: &mut Vec<PageAt>,
    ) -> Result<FoundPages, &'static str> {
        pages.clear();
        self.carried.drain(..self.carried_used.min(self.carried.len()));
        self.carried_used = 0;
        let mut used_bytes = 0;
        while pages.len() < n_max
            && let Some(payload) = first_payload(bytes.get(used_bytes..).unwrap_or_default())
        {
            let payload_at = used_bytes + MESSAGE_HEADER_BYTES;
            let next = payload_at + payload.len();
            if self.carried.is_empty() {
                let used = self.parse(payload, payload_at, pages)?;
                self.carried.extend_from_slice(payload.get(used..).unwrap_or_default());
            } else if pages.is_empty() {
                self.carried.extend_from_slice(payload);
                let carried = std::mem::take(&mut self.carried);
                let used = self.parse(&carried, 0, pages);
                self.carried = carried;
                self.carried_used = used?;
                used_bytes = next;
                match pages.is_empty() {
                    false => return Ok(FoundPages { used_bytes, are_carried: true }),
                    true => {
                        self.carried.drain(..std::mem::take(&mut self.carried_used));
                        continue;
                    }
                }
            } else {
                break;
            }
            used_bytes = next;
        }
        Ok(FoundPages { used_bytes, are_carried: false })
    }

    /// Takes all whole parts of the stream from `bytes`, which start at position `at`. Returns the bytes
    /// taken.
    fn parse(&mut self, bytes: &[u8], at: usize, pages: &mut Vec<PageAt>) -> Result<usize, &'static str> {
        let mut used = 0;
        loop {
            let rest = bytes.get(used..).unwrap_or_default();
            match self.place {
                Place::Header => {
                    let Some(header) = rest.first_chunk::<STREAM_HEADER_BYTES>() else { return Ok(used) };
                    // No flags and no extension: PostgreSQL never writes any.
                    if !header.starts_with(SIGNATURE)
                        || header.iter().skip(SIGNATURE.len()).any(|byte| *byte != 0)
                    {
                        return Err("the stream of pages has another header than COPY's");
                    }
                    self.place = Place::Tuples;
                    used += STREAM_HEADER_BYTES;
                }
                Place::Tuples => {
                    if rest.starts_with(&[0xff, 0xff]) {
                        self.place = Place::Complete;
                        used += 2;
                        continue;
                    }
                    let Some([c0, c1, length @ ..]) = rest.first_chunk::<TUPLE_HEADER_BYTES>() else {
                        return Ok(used);
                    };
                    // A NULL counts as an empty page, which is refused.
                    let length = i32::from_be_bytes(*length);
                    let length = usize::try_from(length).unwrap_or(0);
                    if [*c0, *c1] != [0, 1] || length > PAGE_BYTES {
                        return Err("the stream of pages has something else than one page in a row");
                    }
                    if rest.len() < TUPLE_HEADER_BYTES + length {
                        return Ok(used);
                    }
                    if self.block >= self.end {
                        return Err("the stream of pages has more pages than were asked for");
                    }
                    pages.push(PageAt { start: at + used + TUPLE_HEADER_BYTES, length, block: self.block });
                    self.block += 1;
                    used += TUPLE_HEADER_BYTES + length;
                }
                Place::Complete if rest.is_empty() => return Ok(used),
                Place::Complete => return Err("the stream of pages goes on behind its end"),
            }
        }
    }
}

/// The payload of the message at the start of `bytes`, if it is a whole CopyData.
fn first_payload(bytes: &[u8]) -> Option<&[u8]> {
    let [tag, length @ ..] = bytes.first_chunk::<MESSAGE_HEADER_BYTES>()?;
    let length = u32::from_be_bytes(*length) as usize;
    (*tag == COPY_DATA).then(|| bytes.get(MESSAGE_HEADER_BYTES..1 + length)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(pages: &[Vec<u8>]) -> Vec<u8> {
        let mut payload = [&SIGNATURE[..], &[0; 8]].concat();
        for page in pages {
            payload.extend([0, 1]);
            payload.extend(u32::try_from(page.len()).unwrap().to_be_bytes());
            payload.extend(page);
        }
        payload.extend([0xff, 0xff]);
        payload
    }

    fn messages(payload: &[u8], cuts: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut at = 0;
        for cut in cuts.iter().copied().chain([payload.len()]) {
            let part = &payload[at..cut];
            bytes.push(COPY_DATA);
            bytes.extend(u32::try_from(part.len() + 4).unwrap().to_be_bytes());
            bytes.extend(part);
            at = cut;
        }
        bytes
    }

    fn read(mut stream: PageStream, bytes: &[u8], step: usize) -> Result<(Vec<Vec<u8>>, bool), &'static str> {
        let (mut found, mut pages, mut at, mut end) = (Vec::new(), Vec::new(), 0, 0);
        loop {
            let there = &bytes[at..end];
            let FoundPages { used_bytes, are_carried } = stream.find(there, 2, &mut pages)?;
            let source = if are_carried { stream.carried() } else { there };
            found.extend(pages.iter().map(|page| source[page.start..page.start + page.length].to_vec()));
            at += used_bytes;
            if used_bytes == 0 {
                if end == bytes.len() {
                    assert_eq!(at, end, "a message is left");
                    return Ok((found, stream.is_complete()));
                }
                end = (end + step).min(bytes.len());
            }
        }
    }

    #[test]
    fn pages_are_found_wherever_messages_end() {
        let pages = vec![vec![1; 24], vec![2; 30], vec![], vec![3; 3]];
        let payload = payload(&pages);
        for cut in 0..=payload.len() {
            for other in [cut, (cut + 7).min(payload.len())] {
                for step in [1, 50, 10_000] {
                    let bytes = messages(&payload, &[cut, other]);
                    let read = read(PageStream::new(5, 9), &bytes, step).unwrap();
                    assert_eq!(read, (pages.clone(), true), "{cut} {other} {step}");
                }
            }
        }
    }

    /// Whoever waits for so many bytes at once waits for nothing that will not come.
    #[test]
    fn what_is_to_come_is_known_to_the_byte() {
        let payload = payload(&vec![vec![7; PAGE_BYTES]; 3]);
        let ends = (0..3).map(|n| STREAM_HEADER_BYTES + n * (TUPLE_HEADER_BYTES + PAGE_BYTES));
        let bytes = messages(&payload, &ends.chain([payload.len() - 2]).collect::<Vec<_>>());
        let header_bytes = MESSAGE_HEADER_BYTES + STREAM_HEADER_BYTES;
        let end_bytes = MESSAGE_HEADER_BYTES + 2;
        let (mut stream, mut pages, mut at) = (PageStream::new(5, 8), Vec::new(), 0);
        for n_pages in 0..=3 {
            let to_come = bytes.len() - end_bytes - at.max(header_bytes);
            assert_eq!(stream.bytes_to_come(), to_come, "after {n_pages} pages");
            at += stream.find(&bytes[at..], 1, &mut pages).unwrap().used_bytes;
        }
        assert_eq!((at, stream.is_complete()), (bytes.len(), true));
        assert_eq!(PageStream::new(9, 8).bytes_to_come(), 0);
    }

    #[test]
    fn a_stream_of_something_else_is_refused() {
        let good = payload(&[vec![1; 24]]);
        let one = |bytes: &[u8]| read(PageStream::new(0, 1), &messages(bytes, &[]), 1_000);
        assert_eq!(one(&good), Ok((vec![vec![1; 24]], true)));
        assert!(one(&[&good[..], &[0]].concat()).is_err());
        assert!(one(&payload(&[vec![1; 24], vec![]])).is_err());
        assert!(one(&payload(&[vec![1; PAGE_BYTES + 1]])).is_err());
        for at in 0..SIGNATURE.len() + 8 {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            assert!(one(&bytes).is_err(), "{at}");
        }
        for end in 0..good.len() {
            let cut = one(&good[..end]);
            assert!(cut.is_err() || cut.is_ok_and(|(_, is_complete)| !is_complete), "{end}");
        }
        // Fewer pages than blocks.
        assert!(!read(PageStream::new(0, 2), &messages(&good, &[]), 1_000).unwrap().1);
    }
}
