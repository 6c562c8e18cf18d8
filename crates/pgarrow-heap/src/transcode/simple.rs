//! Values of fixed width, and simple values of varlena.

use pgarrow_types::EnumLabels;

use crate::compressed::Corrupt;

const WIDTH: Corrupt = Corrupt("a value of another width than its type has");

/// Unchanged bytes: `textsend`, `byteasend`, `uuid_send`, `boolsend` …
pub(super) fn bytes(length: i16, stored: &[u8], out: &mut Vec<u8>) -> Result<(), Corrupt> {
    if length >= 0 && usize::try_from(length) != Ok(stored.len()) {
        return Err(WIDTH);
    }
    out.extend_from_slice(stored);
    Ok(())
}

/// `pq_sendint16`, `pq_sendint32`, `pq_sendint64`, `pq_sendfloat8` …
pub(super) fn number(width: u8, stored: &[u8], out: &mut Vec<u8>) -> Result<(), Corrupt> {
    match width {
        2 => reversed::<2>(stored, out),
        4 => reversed::<4>(stored, out),
        8 => reversed::<8>(stored, out),
        _ => Err(WIDTH),
    }
}

fn reversed<const N: usize>(stored: &[u8], out: &mut Vec<u8>) -> Result<(), Corrupt> {
    let mut bytes: [u8; N] = stored.try_into().map_err(|_| WIDTH)?;
    bytes.reverse();
    out.extend_from_slice(&bytes);
    Ok(())
}

/// `namesend`: of the 64 bytes, those before the first NUL are sent.
pub(super) fn name(stored: &[u8], out: &mut Vec<u8>) -> Result<(), Corrupt> {
    let bytes: &[u8; 64] = stored.try_into().map_err(|_| WIDTH)?;
    let end = bytes.iter().position(|byte| *byte == 0).ok_or(Corrupt("a name without its end"))?;
    out.extend(bytes.iter().take(end));
    Ok(())
}

/// `timetz_send`: i64 time, i32 zone.
pub(super) fn timetz(stored: &[u8], out: &mut Vec<u8>) -> Result<(), Corrupt> {
    let (time, zone) = stored.split_first_chunk::<8>().ok_or(WIDTH)?;
    reversed::<8>(time, out)?;
    reversed::<4>(zone, out)
}

/// `interval_send`: i64 time, i32 day, i32 month.
pub(super) fn interval(stored: &[u8], out: &mut Vec<u8>) -> Result<(), Corrupt> {
    let (time, rest) = stored.split_first_chunk::<8>().ok_or(WIDTH)?;
    let (day, month) = rest.split_first_chunk::<4>().ok_or(WIDTH)?;
    reversed::<8>(time, out)?;
    reversed::<4>(day, out)?;
    reversed::<4>(month, out)
}

/// `tidsend`: the block, whose higher half is stored first; the offset.
pub(super) fn tid(stored: &[u8], out: &mut Vec<u8>) -> Result<(), Corrupt> {
    let [h0, h1, l0, l1, p0, p1] = *<&[u8; 6]>::try_from(stored).map_err(|_| WIDTH)?;
    out.extend_from_slice(&[h1, h0, l1, l0, p1, p0]);
    Ok(())
}

/// `enum_send`: the label.
pub(super) fn label(labels: &EnumLabels, stored: &[u8], out: &mut Vec<u8>) -> Result<(), Corrupt> {
    let oid = u32::from_le_bytes(stored.try_into().map_err(|_| WIDTH)?);
    // The label may be newer than the read catalog.
    let label = labels.get(&oid).ok_or(Corrupt("a label of an enum that is not known"))?;
    out.extend_from_slice(label.as_bytes());
    Ok(())
}

/// `network_send`: family, bits, whether it is a cidr, bytes of the address, address.
pub(super) fn inet(is_cidr: bool, stored: &[u8], out: &mut Vec<u8>) -> Result<(), Corrupt> {
    // `PGSQL_AF_INET` and `PGSQL_AF_INET6`. Only a server on a system that is no modern Unix could define
    // them otherwise.
    let (length, family, bits, address) = match stored {
        [family @ 2, bits @ 0..=32, address @ ..] if address.len() == 4 => (4, family, bits, address),
        [family @ 3, bits @ 0..=128, address @ ..] if address.len() == 16 => (16, family, bits, address),
        _ => return Err(Corrupt("an address of an unknown family or with another length")),
    };
    out.extend_from_slice(&[*family, *bits, u8::from(is_cidr), length]);
    out.extend_from_slice(address);
    Ok(())
}

/// `varbit_send`: i32 bits, then bytes.
pub(super) fn bits(stored: &[u8], out: &mut Vec<u8>) -> Result<(), Corrupt> {
    let (bits, bytes) = i32_of(stored)?;
    if usize::try_from(bits).map(|bits| bits.div_ceil(8)) != Ok(bytes.len()) {
        return Err(Corrupt("a string of bits with another number of bytes than it says"));
    }
    out.extend_from_slice(&bits.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// `point_send`, `line_send`, `circle_send`, `lseg_send`, `box_send`: doubles in their stored order.
pub(super) fn doubles(count: usize, stored: &[u8], out: &mut Vec<u8>) -> Result<(), Corrupt> {
    let (doubles, odd) = stored.as_chunks::<8>();
    if doubles.len() != count || !odd.is_empty() {
        return Err(WIDTH);
    }
    out.extend(doubles.iter().flat_map(|double| double.iter().rev()));
    Ok(())
}

/// `path_send`: one byte whether it is closed, i32 points, points. Stored: i32 points, i32 closed, 4 bytes.
pub(super) fn path(stored: &[u8], out: &mut Vec<u8>) -> Result<(), Corrupt> {
    let (n_points, rest) = i32_of(stored)?;
    let (closed, rest) = i32_of(rest)?;
    let (_, points) = i32_of(rest)?;
    out.push(u8::from(closed != 0));
    out.extend_from_slice(&n_points.to_be_bytes());
    doubles(n_doubles(n_points)?, points, out)
}

/// `poly_send`: i32 points, points. Stored: i32 points, a box, points.
pub(super) fn polygon(stored: &[u8], out: &mut Vec<u8>) -> Result<(), Corrupt> {
    let (n_points, rest) = i32_of(stored)?;
    let (_, points) = rest.split_at_checked(32).ok_or(WIDTH)?;
    out.extend_from_slice(&n_points.to_be_bytes());
    doubles(n_doubles(n_points)?, points, out)
}

fn n_doubles(n_points: i32) -> Result<usize, Corrupt> {
    let n_points = usize::try_from(n_points).map_err(|_| Corrupt("fewer points than none"))?;
    n_points.checked_mul(2).ok_or(WIDTH)
}

fn i32_of(stored: &[u8]) -> Result<(i32, &[u8]), Corrupt> {
    let (bytes, rest) = stored.split_first_chunk().ok_or(WIDTH)?;
    Ok((i32::from_le_bytes(*bytes), rest))
}
