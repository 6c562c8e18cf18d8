//! `inet_recv`, `cidr_recv`.
//!
//! ```text
//! family (2 = IPv4, 3 = IPv6) │ prefix bits │ is cidr │ address bytes (4, 16) │ address
//! ```
//!
//! The server itself refuses bits of a cidr to the right of its prefix.
//!
//! Source: `network.c` in PostgreSQL's `src/backend/utils/adt/`; `PGSQL_AF_INET` in
//! `src/include/utils/inet.h`.

use std::net::IpAddr;

use arrow_schema::DataType;
use pgarrow_types::oid;

use super::each::each_string;
use super::{Encoder, refuse};
use crate::access::Strings;
use crate::encode_target::TypeTarget;
use crate::error::{Refusal, ValueError};
use crate::write;

const FAMILY_IPV4: u8 = 2;
const FAMILY_IPV6: u8 = 3;
const MALFORMED: ValueError =
    ValueError::Malformed("a network address is an IP address and its prefix's bits");

pub(super) fn make(source: &DataType, target: TypeTarget<'_>) -> Result<Box<dyn Encoder>, Refusal> {
    let is_cidr = target.declared.base_oid == oid::CIDR;
    match Strings::is(source) {
        true => Ok(each_string(move |value, out| write_address(value, is_cidr, out))),
        false => Err(refuse(source, target)),
    }
}

fn write_address(text: &str, is_cidr: bool, out: &mut Vec<u8>) -> Result<(), ValueError> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(parse_bits(bits).ok_or(MALFORMED)?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| MALFORMED)?;
    let (family, bits_max) = if address.is_ipv4() { (FAMILY_IPV4, 32) } else { (FAMILY_IPV6, 128) };
    let bits = bits.unwrap_or(bits_max);
    if bits > bits_max {
        return Err(MALFORMED);
    }
    write::measured(out, |out| {
        out.extend_from_slice(&[family, bits, u8::from(is_cidr), bits_max / 8]);
        match address {
            IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
            IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
        }
        Ok(())
    })
}

/// Only digits; the standard library also accepts a plus.
fn parse_bits(text: &str) -> Option<u8> {
    text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok())?
}
