//! `inet` and `cidr`.
//!
//! ```text
//! family (2 = IPv4, 3 = IPv6) │ prefix bits │ is cidr │ address bytes (4, 16) │ address
//! ```
//!
//! Source: `network_send` and `network_out` in PostgreSQL's `src/backend/utils/adt/network.c`, and
//! `pg_inet_net_ntop` in `src/port/inet_net_ntop.c` for the shortening of IPv6.

use std::io::Write;
use std::net::Ipv4Addr;

use crate::column::text_form::TextForm;
use crate::error::ValueError;

/// `PGSQL_AF_INET`: `AF_INET` of the system on which PostgreSQL was first written.
const FAMILY_IPV4: u8 = 2;
/// `PGSQL_AF_INET6`: one more than that.
const FAMILY_IPV6: u8 = 3;

/// Printed with `/bits`, except for an inet whose prefix is the whole address.
#[derive(Debug)]
pub(crate) struct Inet;

impl TextForm for Inet {
    fn text_bytes_at_most(&self, _wire: &[u8]) -> usize {
        48 // eight words of four digits, or an IPv4 address behind six of them; and the bits
    }

    fn print(&self, wire: &[u8], text: &mut Vec<u8>) -> Result<(), ValueError> {
        let ([family, bits, is_cidr, n_bytes], address) = wire
            .split_first_chunk::<4>()
            .ok_or(ValueError::Malformed("a network address without its header"))?;
        if usize::from(*n_bytes) != address.len() {
            return Err(ValueError::Malformed("a network address of another length than it says"));
        }
        let bits_max = match (*family, <[u8; 4]>::try_from(address), <[u8; 16]>::try_from(address)) {
            (FAMILY_IPV4, Ok(v4), _) => {
                print_ipv4(v4, text);
                32
            }
            (FAMILY_IPV6, _, Ok(v6)) => {
                print_ipv6(v6, text);
                128
            }
            _ => return Err(ValueError::Malformed("a network address of an unknown family")),
        };
        if *bits > bits_max {
            return Err(ValueError::Malformed("a network address with too many prefix bits"));
        }
        if *is_cidr > 1 {
            return Err(ValueError::Malformed("a network address that is neither inet nor cidr"));
        }
        if *bits < bits_max || *is_cidr == 1 {
            // Writing to a Vec cannot fail.
            let _ = write!(text, "/{bits}");
        }
        Ok(())
    }
}

fn print_ipv4(address: [u8; 4], text: &mut Vec<u8>) {
    let _ = write!(text, "{}", Ipv4Addr::from(address));
}

/// The longest run of at least two zero words, the first of equals, becomes `::`; IPv4 inside IPv6
/// is printed with dots. The standard library's form differs in the latter.
fn print_ipv6(address: [u8; 16], text: &mut Vec<u8>) {
    let mut words = [0_u16; 8];
    for (word, bytes) in words.iter_mut().zip(address.chunks_exact(2)) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u16::from(*byte));
    }
    let (start, length) = longest_zero_run(&words);
    // `::a.b.c.d` and `::ffff:a.b.c.d`.
    let embeds_ipv4 = match (start, length, words) {
        (0, 6, _) => true,
        (0, 5, [_, _, _, _, _, fifth, ..]) => fifth == 0xffff,
        _ => false,
    };
    for (index, word) in words.iter().enumerate() {
        if (start..start + length).contains(&index) {
            if index == start {
                text.push(b':');
            }
            continue;
        }
        if index > 0 {
            text.push(b':');
        }
        if index == 6 && embeds_ipv4 {
            let [.., a, b, c, d] = address;
            print_ipv4([a, b, c, d], text);
            return;
        }
        let _ = write!(text, "{word:x}");
    }
    if length > 0 && start + length == words.len() {
        text.push(b':');
    }
}

/// Returns where the run starts and its length; (0, 0) if none has two or more words.
fn longest_zero_run(words: &[u16; 8]) -> (usize, usize) {
    let mut best = (0, 0);
    let mut run = (0, 0);
    for (index, word) in words.iter().enumerate() {
        run = match (word, run.1) {
            (0, 0) => (index, 1),
            (0, length) => (run.0, length + 1),
            _ => (0, 0),
        };
        if run.1 >= 2 && run.1 > best.1 {
            best = run;
        }
    }
    best
}
