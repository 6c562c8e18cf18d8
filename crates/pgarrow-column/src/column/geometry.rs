//! PostGIS geometries: EWKB on the wire, ISO WKB in Arrow.
//!
//! ```text
//! geometry    byte order (0 big, 1 little) │ u32 type, with flags │ i32 SRID, if flagged │ body
//!
//! point                                     coordinates
//! line string, circular string              u32 n │ n × coordinates
//! polygon, triangle                         u32 n │ n × (u32 n │ n × coordinates)
//! multi…, collection, surfaces, curves of curves   u32 n │ n × geometry, without SRID
//!
//! coordinates   x │ y │ z, if flagged │ m, if flagged        doubles; all NaN in an empty point
//! ```
//!
//! EWKB has flags for Z, M and SRID in the high bits of the type; ISO WKB adds 1000 for Z and 2000 for M, and
//! has no SRID.
//!
//! Source: `LWGEOM_send` and `geography_send` in PostGIS's `postgis/`, `lwgeom_to_wkb_buf`, `lwgeom_wkb_type`
//! and `empty_to_wkb_buf` in `liblwgeom/lwout_wkb.c`; ISO 13249-3 for the other form.

use pgarrow_types::{DEPTH_MAX, GeometryForm, GeometryType};

use crate::column::text_form::TextForm;
use crate::error::ValueError;

/// `WKBZOFFSET`.
const HAS_Z: u32 = 0x8000_0000;
/// `WKBMOFFSET`.
const HAS_M: u32 = 0x4000_0000;
/// `WKBSRIDFLAG`.
const HAS_SRID: u32 = 0x2000_0000;

/// The SRID of a geometry without one: unknown.
const SRID_UNKNOWN: i32 = 0;
/// `SRID_DEFAULT`: the SRID of a geography without another one in its value or its declaration.
const SRID_GEOGRAPHY: i32 = 4326;

/// Byte order, type and a count: no geometry has fewer bytes.
const GEOMETRY_BYTES_MIN: usize = 9;

const ENDS_EARLY: ValueError = ValueError::Malformed("a geometry that ends early");

/// Geometries of a column. Their bytes are checked and, for [`GeometryForm::Wkb`], rewritten. Each keeps its
/// byte order.
#[derive(Debug)]
pub(crate) struct Geometry {
    form: GeometryForm,
    /// The SRID that the column declares, and that of values without one.
    srid: i32,
    srid_unsaid: i32,
}

impl Geometry {
    pub(crate) fn new(geometry: &GeometryType, form: GeometryForm) -> Self {
        let srid_unsaid = if geometry.is_geography { SRID_GEOGRAPHY } else { SRID_UNKNOWN };
        let srid = if geometry.srid == SRID_UNKNOWN { srid_unsaid } else { geometry.srid };
        Self { form, srid, srid_unsaid }
    }
}

impl TextForm for Geometry {
    const EXPANDS: bool = false;

    fn text_bytes_at_most(&self, wire: &[u8]) -> usize {
        wire.len()
    }

    fn print(&self, wire: &[u8], bytes: &mut Vec<u8>) -> Result<(), ValueError> {
        let mut walk = Walk { rest: wire, srid: None, iso: None };
        let srid = match self.form {
            GeometryForm::Wkb => {
                (walk.srid, walk.iso) = (Some(self.srid), Some(bytes));
                walk.geometry(DEPTH_MAX)?.unwrap_or(self.srid_unsaid)
            }
            GeometryForm::Ewkb => {
                walk.geometry(DEPTH_MAX)?;
                bytes.extend_from_slice(wire);
                self.srid
            }
        };
        if !walk.rest.is_empty() {
            return Err(ValueError::Malformed("bytes behind a geometry"));
        }
        if srid != self.srid {
            return Err(ValueError::Srid);
        }
        Ok(())
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

    fn write(self, number: u32) -> [u8; 4] {
        match self {
            Self::Big => number.to_be_bytes(),
            Self::Little => number.to_le_bytes(),
        }
    }
}

/// A walk through the bytes of a geometry.
struct Walk<'a, 'b> {
    rest: &'a [u8],
    /// The only allowed SRID.
    srid: Option<i32>,
    /// The buffer for ISO WKB.
    iso: Option<&'b mut Vec<u8>>,
}

impl Walk<'_, '_> {
    /// Reads a geometry, and all inside it. Returns its SRID, if it has one.
    fn geometry(&mut self, depth_left: usize) -> Result<Option<i32>, ValueError> {
        if depth_left == 0 {
            return Err(ValueError::Malformed("geometries too deep in one another"));
        }
        let (&[byte_order, t0, t1, t2, t3], rest) = self.rest.split_first_chunk::<5>().ok_or(ENDS_EARLY)?;
        self.rest = rest;
        let order = match byte_order {
            0 => ByteOrder::Big,
            1 => ByteOrder::Little,
            _ => return Err(ValueError::Malformed("a geometry of an unknown byte order")),
        };
        let flagged_type = order.read([t0, t1, t2, t3]);
        let (has_z, has_m) = (flagged_type & HAS_Z != 0, flagged_type & HAS_M != 0);
        let geometry_type = flagged_type & !(HAS_Z | HAS_M | HAS_SRID);
        let srid = match flagged_type & HAS_SRID {
            0 => None,
            _ => {
                let (srid, rest) = self.rest.split_first_chunk::<4>().ok_or(ENDS_EARLY)?;
                self.rest = rest;
                Some(order.read(*srid).cast_signed())
            }
        };
        if let (Some(expected), Some(found)) = (self.srid, srid)
            && expected != found
        {
            return Err(ValueError::Srid);
        }
        if let Some(iso) = &mut self.iso {
            let iso_type =
                geometry_type.wrapping_add(1000 * u32::from(has_z)).wrapping_add(2000 * u32::from(has_m));
            iso.push(byte_order);
            iso.extend_from_slice(&order.write(iso_type));
        }
        let point_bytes = 8 * (2 + usize::from(has_z) + usize::from(has_m));
        match geometry_type {
            POINT => self.copy(point_bytes)?,
            LINE_STRING | CIRCULAR_STRING => self.points(order, point_bytes)?,
            POLYGON | TRIANGLE => {
                for _ in 0..self.count(order, 4)? {
                    self.points(order, point_bytes)?;
                }
            }
            MULTI_POINT..=COLLECTION | COMPOUND_CURVE..=MULTI_SURFACE | POLYHEDRAL_SURFACE | TIN => {
                for _ in 0..self.count(order, GEOMETRY_BYTES_MIN)? {
                    self.geometry(depth_left - 1)?;
                }
            }
            _ => return Err(ValueError::Malformed("a geometry of an unknown type")),
        }
        Ok(srid)
    }

    fn points(&mut self, order: ByteOrder, point_bytes: usize) -> Result<(), ValueError> {
        let n_points = self.count(order, point_bytes)?;
        self.copy(n_points * point_bytes)
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
        if let Some(iso) = &mut self.iso {
            iso.extend_from_slice(copied);
        }
        self.rest = rest;
        Ok(())
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Geometries as PostGIS 3.3 sent them, and the results of its `ST_AsBinary`: WKT, EWKB, ISO WKB.
    const GEOMETRIES: &str = include_str!("tests/geometries.txt");

    fn bytes(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
            .collect()
    }

    fn column(srid: i32, is_geography: bool, form: GeometryForm) -> Geometry {
        Geometry::new(&GeometryType { srid, crs: None, is_geography }, form)
    }

    fn printed(column: &Geometry, wire: &[u8]) -> Result<Vec<u8>, ValueError> {
        let mut bytes = b"before".to_vec();
        column.print(wire, &mut bytes)?;
        assert!(bytes.len() - 6 <= column.text_bytes_at_most(wire));
        Ok(bytes.split_off(6))
    }

    /// The declared SRID, EWKB, ISO WKB.
    fn geometries() -> Vec<(i32, Vec<u8>, Vec<u8>)> {
        let geometry = |line: &str| {
            let [wkt, ewkb, iso] = line.split('|').collect::<Vec<_>>().try_into().unwrap();
            let srid = wkt.strip_prefix("SRID=").map_or(0, |rest| rest[..4].parse().unwrap());
            (srid, bytes(ewkb), bytes(iso))
        };
        GEOMETRIES.lines().map(geometry).collect()
    }

    #[test]
    fn every_kind_of_geometry_becomes_what_postgis_itself_calls_iso_wkb() {
        let geometries = geometries();
        assert_eq!(geometries.len(), 26);
        for (srid, ewkb, iso) in geometries {
            assert_eq!(printed(&column(srid, false, GeometryForm::Wkb), &ewkb).unwrap(), iso);
            assert_eq!(printed(&column(0, false, GeometryForm::Ewkb), &ewkb).unwrap(), ewkb);
            // A column of any other SRID refuses it.
            let error = printed(&column(srid + 1, false, GeometryForm::Wkb), &ewkb).unwrap_err();
            assert_eq!(error, ValueError::Srid);
        }
    }

    #[test]
    fn a_geography_that_says_nothing_is_of_4326() {
        let point = |srid: Option<u32>| {
            let flags = if srid.is_some() { HAS_SRID } else { 0 };
            let mut wire = vec![0];
            wire.extend((POINT | flags).to_be_bytes());
            wire.extend(srid.map(u32::to_be_bytes).into_iter().flatten());
            wire.extend([0; 16]);
            wire
        };
        for declared in [0, 4326] {
            let column = column(declared, true, GeometryForm::Wkb);
            printed(&column, &point(None)).unwrap();
            printed(&column, &point(Some(4326))).unwrap();
            assert_eq!(printed(&column, &point(Some(4269))), Err(ValueError::Srid));
        }
        let of_4269 = column(4269, true, GeometryForm::Wkb);
        printed(&of_4269, &point(Some(4269))).unwrap();
        assert_eq!(printed(&of_4269, &point(None)), Err(ValueError::Srid));
        assert_eq!(printed(&of_4269, &point(Some(4326))), Err(ValueError::Srid));
        let undeclared = column(0, false, GeometryForm::Wkb);
        assert_eq!(printed(&undeclared, &point(Some(4326))), Err(ValueError::Srid));
    }

    #[test]
    fn either_byte_order_is_kept() {
        let coordinates: Vec<u8> = (0..24).collect();
        let of_big = [&[0, 0xa0, 0, 0, 1, 0, 0, 0x10, 0xe6], &coordinates[..]].concat();
        let of_little = [&[1, 1, 0, 0, 0xa0, 0xe6, 0x10, 0, 0], &coordinates[..]].concat();
        let column = column(4326, false, GeometryForm::Wkb);
        assert_eq!(printed(&column, &of_big).unwrap(), [&[0, 0, 0, 3, 0xe9], &coordinates[..]].concat());
        assert_eq!(printed(&column, &of_little).unwrap(), [&[1, 0xe9, 3, 0, 0], &coordinates[..]].concat());
        // One of each byte order in a collection.
        let points = [&[0, 0, 0, 0, 1], &coordinates[..16], &[1, 1, 0, 0, 0], &coordinates[..16]].concat();
        let mixed = [&[0, 0x20, 0, 0, 7, 0, 0, 0x10, 0xe6, 0, 0, 0, 2], &points[..]].concat();
        assert_eq!(printed(&column, &mixed).unwrap(), [&[0, 0, 0, 0, 7, 0, 0, 0, 2], &points[..]].concat());
    }

    #[test]
    fn malformed_geometries() {
        for form in [GeometryForm::Wkb, GeometryForm::Ewkb] {
            for (srid, good, _) in geometries() {
                let column = column(srid, false, form);
                let malformed = |wire: &[u8]| {
                    assert!(matches!(printed(&column, wire), Err(ValueError::Malformed(_))), "{wire:?}");
                };
                (0..good.len()).for_each(|end| malformed(&good[..end]));
                malformed(&[&good[..], &[0]].concat());
                malformed(&[&[2], &good[1..]].concat());
                for unknown in [0, 13, 14, 18, 0xe9, 0xff] {
                    malformed(&[&good[..1], &[unknown], &good[2..]].concat());
                }
            }
            let column = column(0, false, form);
            // Counts without their bytes, for each kind that has a count.
            for (with_count, count) in [2, 3, 4, 7, 8, 9, 12, 15, 16, 17]
                .into_iter()
                .flat_map(|t| [1, 2, 0x1000_0000, u32::MAX].map(|n| (t, n)))
            {
                let lie = [&[0, 0, 0, 0, with_count], &count.to_be_bytes()[..], &[0; 3]].concat();
                assert_eq!(printed(&column, &lie), Err(ENDS_EARLY), "{with_count} {count}");
            }
        }
    }

    #[test]
    fn geometries_stand_in_one_another_64_deep_and_no_deeper() {
        let nested = |depth: usize| {
            let collection = [0, 0, 0, 0, 7, 0, 0, 0, 1];
            [collection.repeat(depth - 1), vec![0, 0, 0, 0, 7, 0, 0, 0, 0]].concat()
        };
        for form in [GeometryForm::Wkb, GeometryForm::Ewkb] {
            let column = column(0, false, form);
            assert_eq!(printed(&column, &nested(64)).unwrap(), nested(64));
            assert!(matches!(printed(&column, &nested(65)), Err(ValueError::Malformed(_))));
            assert!(matches!(printed(&column, &nested(1_000_000)), Err(ValueError::Malformed(_))));
        }
    }
}
