//! PostGIS's `LWGEOM_recv`, `geography_recv`: EWKB, from WKB in either dialect.
//!
//! ```text
//! geometry    byte order (0 big, 1 little) │ u32 type, with flags │ i32 SRID, if flagged │ body
//!
//! point                                            coordinates
//! line string, circular string                     u32 n │ n × coordinates
//! polygon, triangle                                u32 n │ n × (u32 n │ n × coordinates)
//! multi…, collection, surfaces, curves of curves   u32 n │ n × geometry
//! ```
//!
//! ISO WKB adds 1000 to a type for Z and 2000 for M. It has no SRID, so the column's is used. EWKB has flags
//! for Z, M and an SRID in the high bits. Each geometry keeps its byte order, and its doubles are copied bit
//! for bit.
//!
//! Source: `wkb_parse_state` in PostGIS's `liblwgeom/lwin_wkb.c`, `lwgeom_to_wkb_buf` in
//! `liblwgeom/lwout_wkb.c`; ISO 13249-3 for the other form.

use arrow_schema::Field;
use pgarrow_types::{DEPTH_MAX, GeometryType};

use super::crs::{self, Crs};
use super::each::each_bytes;
use super::{Encoder, refuse};
use crate::access::Bytes;
use crate::encode_target::{Conversions, TypeTarget};
use crate::error::{Refusal, RefusalKind, ValueError};
use crate::write;

/// `WKBZOFFSET`.
const HAS_Z: u32 = 0x8000_0000;
/// `WKBMOFFSET`.
const HAS_M: u32 = 0x4000_0000;
/// `WKBSRIDFLAG`.
const HAS_SRID: u32 = 0x2000_0000;

/// The SRID of a geometry without one: unknown.
const SRID_UNKNOWN: i32 = 0;
/// `SRID_DEFAULT`: the SRID of a geography without another one.
const SRID_GEOGRAPHY: i32 = 4326;

/// Byte order, type and a count: no geometry has fewer bytes.
const GEOMETRY_BYTES_MIN: usize = 9;

const ENDS_EARLY: ValueError = ValueError::Invalid("WKB that ends early");

pub(super) fn make(
    field: &Field,
    target: TypeTarget<'_>,
    geometry: &GeometryType,
) -> Result<Box<dyn Encoder>, Refusal> {
    let source = field.data_type();
    if !Bytes::is(source) {
        return Err(refuse(source, target));
    }
    let allowed = |why: &str| match target.conversions >= Conversions::Check {
        true => Ok(()),
        false => Err(Refusal::needs_check(why)),
    };
    let Some(wkb) = crs::of(field) else {
        allowed(&format!("{source} without geoarrow.wkb may not be WKB"))?;
        return Ok(encoder(geometry, None));
    };
    if wkb.is_spherical != geometry.is_geography {
        allowed("edges that are great circles, and edges that are straight, are different lines")?;
    }
    let declared = declared(geometry);
    let srid = match wkb.crs {
        Crs::Unsaid => None,
        // PostGIS has another number for this system.
        Crs::Authority(name) if geometry.crs.as_ref() == Some(&name) => None,
        Crs::Authority(name) => match crs::epsg(&name) {
            Some(srid) if declared == SRID_UNKNOWN || declared == srid => Some(srid),
            Some(srid) => {
                let why = format!("coordinates of SRID {srid}, and the column declares {declared}");
                return Err(Refusal::new(RefusalKind::Mismatch, why));
            }
            None => {
                allowed(&format!("coordinates of {name:?}, which may not be what the column declares"))?;
                None
            }
        },
        Crs::Other => {
            allowed("coordinates of a system without a name, which may not be what the column declares")?;
            None
        }
    };
    Ok(encoder(geometry, srid))
}

/// The SRID of all values of a column; 0 if each may have its own.
fn declared(geometry: &GeometryType) -> i32 {
    match geometry.srid {
        SRID_UNKNOWN if geometry.is_geography => SRID_GEOGRAPHY,
        srid => srid,
    }
}

/// `of_field`: the SRID from the field's metadata.
fn encoder(geometry: &GeometryType, of_field: Option<i32>) -> Box<dyn Encoder> {
    let declared = declared(geometry);
    let expected = of_field.unwrap_or(declared);
    let is_geography = geometry.is_geography;
    each_bytes(move |wkb, out| write::measured(out, |out| write_ewkb(wkb, expected, is_geography, out)))
}

/// `expected`: the SRID of all values, or 0 if each may have its own or none.
fn write_ewkb(wkb: &[u8], expected: i32, is_geography: bool, out: &mut Vec<u8>) -> Result<(), ValueError> {
    // The SRID of EWKB is at its beginning, and holds for all inner geometries.
    let said = srid_of(wkb)?;
    if said.is_some_and(|said| expected != SRID_UNKNOWN && said != expected) {
        return Err(ValueError::Srid);
    }
    let srid = said.unwrap_or(expected);
    let mut walk = Walk { rest: wkb, srid, is_geography, out };
    walk.geometry(DEPTH_MAX, true)?;
    match walk.rest.is_empty() {
        true => Ok(()),
        false => Err(ValueError::Invalid("bytes behind a geometry")),
    }
}

fn srid_of(wkb: &[u8]) -> Result<Option<i32>, ValueError> {
    let (header, rest) = Header::read(wkb)?;
    match header.flagged_type & HAS_SRID {
        0 => Ok(None),
        _ => rest.first_chunk().map(|srid| Some(header.order.read(*srid).cast_signed())).ok_or(ENDS_EARLY),
    }
}

#[derive(Clone, Copy)]
enum ByteOrder {
    Big,
    Little,
}

impl ByteOrder {
    fn read(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Big => u32::from_be_bytes(bytes),
            Self::Little => u32::from_le_bytes(bytes),
        }
    }

    fn double(self, bytes: [u8; 8]) -> f64 {
        match self {
            Self::Big => f64::from_be_bytes(bytes),
            Self::Little => f64::from_le_bytes(bytes),
        }
    }

    fn write(self, number: u32) -> [u8; 4] {
        match self {
            Self::Big => number.to_be_bytes(),
            Self::Little => number.to_le_bytes(),
        }
    }
}

/// The part before every geometry.
struct Header {
    byte_order: u8,
    order: ByteOrder,
    flagged_type: u32,
}

impl Header {
    fn read(wkb: &[u8]) -> Result<(Self, &[u8]), ValueError> {
        let (&[byte_order, t0, t1, t2, t3], rest) = wkb.split_first_chunk::<5>().ok_or(ENDS_EARLY)?;
        let order = match byte_order {
            0 => ByteOrder::Big,
            1 => ByteOrder::Little,
            _ => return Err(ValueError::Invalid("WKB of an unknown byte order")),
        };
        Ok((Self { byte_order, order, flagged_type: order.read([t0, t1, t2, t3]) }, rest))
    }
}

/// A walk through WKB.
struct Walk<'a, 'b> {
    rest: &'a [u8],
    /// The SRID of the whole geometry.
    srid: i32,
    is_geography: bool,
    out: &'b mut Vec<u8>,
}

impl Walk<'_, '_> {
    /// Copies a geometry, and all inside it.
    fn geometry(&mut self, depth_left: usize, is_outermost: bool) -> Result<(), ValueError> {
        if depth_left == 0 {
            return Err(ValueError::Invalid("geometries too deep in one another"));
        }
        let (Header { byte_order, order, flagged_type }, rest) = Header::read(self.rest)?;
        self.rest = rest;
        if flagged_type & HAS_SRID != 0 {
            let (srid, rest) = self.rest.split_first_chunk::<4>().ok_or(ENDS_EARLY)?;
            self.rest = rest;
            if order.read(*srid).cast_signed() != self.srid {
                return Err(ValueError::Srid);
            }
        }
        let iso_type = flagged_type & !(HAS_Z | HAS_M | HAS_SRID);
        let (dimensions, geometry_type) = (iso_type / 1000, iso_type % 1000);
        if dimensions > 3 {
            return Err(UNKNOWN_TYPE);
        }
        let has_z = flagged_type & HAS_Z != 0 || dimensions & 1 != 0;
        let has_m = flagged_type & HAS_M != 0 || dimensions & 2 != 0;
        let says_srid = is_outermost && self.srid != SRID_UNKNOWN;
        let flags = [(HAS_Z, has_z), (HAS_M, has_m), (HAS_SRID, says_srid)];
        let flagged =
            flags.iter().filter(|(_, is_set)| *is_set).fold(geometry_type, |all, (flag, _)| all | flag);
        self.out.push(byte_order);
        self.out.extend_from_slice(&order.write(flagged));
        if says_srid {
            self.out.extend_from_slice(&order.write(self.srid.cast_unsigned()));
        }
        let point_bytes = 8 * (2 + usize::from(has_z) + usize::from(has_m));
        match geometry_type {
            POINT => self.coordinates(order, point_bytes, 1)?,
            LINE_STRING | CIRCULAR_STRING => self.points(order, point_bytes)?,
            POLYGON | TRIANGLE => {
                for _ in 0..self.count(order, 4)? {
                    self.points(order, point_bytes)?;
                }
            }
            MULTI_POINT..=COLLECTION | COMPOUND_CURVE..=MULTI_SURFACE | POLYHEDRAL_SURFACE | TIN => {
                for _ in 0..self.count(order, GEOMETRY_BYTES_MIN)? {
                    self.geometry(depth_left.saturating_sub(1), false)?;
                }
            }
            _ => return Err(UNKNOWN_TYPE),
        }
        Ok(())
    }

    fn points(&mut self, order: ByteOrder, point_bytes: usize) -> Result<(), ValueError> {
        let n_points = self.count(order, point_bytes)?;
        self.coordinates(order, point_bytes, n_points)
    }

    /// Copies the next points, which are the same in both forms. The points of a geography must be on the
    /// globe: PostGIS moves others there, and reports this only in a NOTICE.
    ///
    /// Source: `lwgeom_nudge_geodetic`, `lwgeom_force_geodetic` in PostGIS's `liblwgeom/lwgeodetic.c`.
    fn coordinates(
        &mut self,
        order: ByteOrder,
        point_bytes: usize,
        n_points: usize,
    ) -> Result<(), ValueError> {
        let n_bytes = n_points.checked_mul(point_bytes).ok_or(ENDS_EARLY)?;
        if self.is_geography {
            let points = self.rest.get(..n_bytes).ok_or(ENDS_EARLY)?.chunks_exact(point_bytes);
            for point in points {
                let (coordinates, _) = point.as_chunks::<8>();
                let [x, y, ..] = coordinates else { return Err(ENDS_EARLY) };
                // NaN is in an empty point.
                if order.double(*x).abs() > 180.0 || order.double(*y).abs() > 90.0 {
                    return Err(ValueError::Invalid("longitudes beyond ±180 or latitudes beyond ±90"));
                }
            }
        }
        self.copy(n_bytes)
    }

    /// A count of items of at least `bytes_min` bytes; that many bytes must be there.
    fn count(&mut self, order: ByteOrder, bytes_min: usize) -> Result<usize, ValueError> {
        let count = self.rest.first_chunk().map(|count| order.read(*count)).ok_or(ENDS_EARLY)?;
        self.copy(4)?;
        let count = usize::try_from(count).ok().filter(|count| *count <= self.rest.len() / bytes_min);
        count.ok_or(ENDS_EARLY)
    }

    /// Copies the next bytes, which are the same in both forms.
    fn copy(&mut self, n_bytes: usize) -> Result<(), ValueError> {
        let (copied, rest) = self.rest.split_at_checked(n_bytes).ok_or(ENDS_EARLY)?;
        self.out.extend_from_slice(copied);
        self.rest = rest;
        Ok(())
    }
}

const UNKNOWN_TYPE: ValueError = ValueError::Invalid("a geometry of an unknown type");

// `WKB_POINT_TYPE` and its kin in PostGIS's `liblwgeom/liblwgeom_internal.h`. 13 and 14 are abstract.
const POINT: u32 = 1;
const LINE_STRING: u32 = 2;
const POLYGON: u32 = 3;
const MULTI_POINT: u32 = 4;
const COLLECTION: u32 = 7;
const CIRCULAR_STRING: u32 = 8;
const COMPOUND_CURVE: u32 = 9;
const MULTI_SURFACE: u32 = 12;
const POLYHEDRAL_SURFACE: u32 = 15;
const TIN: u32 = 16;
const TRIANGLE: u32 = 17;
