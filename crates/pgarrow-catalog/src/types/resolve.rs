//! From `pg_type` rows to `PgType`: pure.

use std::sync::Arc;

use pgarrow_types::{ArrayType, Attribute, CompositeType, DEPTH_MAX, GeometryType, PgType, RangeType, oid};

use super::{LEVELS_MAX, PARTS_MAX, ResolvedType, Shape, TypeNote, TypeRef, TypeRow, Types};

/// The SRID of geographies without a declared one: `SRID_DEFAULT` in PostGIS's `liblwgeom/liblwgeom.h.in`.
const GEOGRAPHY_SRID: i32 = 4326;

impl Types {
    /// The type that a column is read as.
    pub(super) fn resolve(&self, ty: TypeRef) -> ResolvedType {
        let base = self.base(ty);
        let mut walk = Walk { types: self, path: Vec::new(), n_parts: 0 };
        let (element_oid, element_name) = match self.rows.get(&base.oid) {
            Some(TypeRow { shape: Shape::Array(element), element_name, .. }) => {
                (Some(*element), Some(element_name.clone()))
            }
            _ => (None, None),
        };
        let (pg_type, note) = match walk.resolve(base) {
            // For a column, the text is the value: the server casts it.
            Ok(PgType::Text) if base.oid == oid::XML => (PgType::ServerText { warn: false }, None),
            Ok(pg_type) => (pg_type, None),
            Err(note) => {
                let is_castable = |element| !self.casts.contains(&self.element_base(element));
                let pg_type = match element_oid {
                    // The server casts every array to an array of texts. Each element is cast as it is
                    // printed, unless it has its own cast that does something else.
                    Some(element) if matches!(note, TypeNote::Text { .. }) && is_castable(element) => {
                        PgType::Array(Arc::new(ArrayType {
                            element: PgType::ServerText { warn: true },
                            element_oid: oid::TEXT,
                            dimensions: base.dimensions,
                            is_vector: false,
                        }))
                    }
                    _ => PgType::ServerText { warn: true },
                };
                (pg_type, Some(note))
            }
        };
        let declared = self.declared(base, &pg_type);
        ResolvedType { pg_type, declared, element_oid, element_name, note }
    }

    /// The base type of array elements, whose casts apply to them.
    pub(super) fn element_base(&self, element: u32) -> u32 {
        self.base(TypeRef { oid: element, type_modifier: -1, dimensions: 0 }).oid
    }

    /// Follows domains down to their base type. A cycle, which no server allows, ends at one of its types,
    /// and so does a chain that was not loaded completely.
    ///
    /// Source: `getBaseTypeAndTypmod` in PostgreSQL's `src/backend/utils/cache/lsyscache.c`.
    pub(super) fn base(&self, ty: TypeRef) -> TypeRef {
        let mut ty = ty;
        for _ in 0..LEVELS_MAX {
            match self.rows.get(&ty.oid).map(|row| &row.shape) {
                Some(Shape::Domain(base)) => {
                    let dimensions = if ty.dimensions > 0 { ty.dimensions } else { base.dimensions };
                    ty = TypeRef { dimensions, ..*base };
                }
                _ => break,
            }
        }
        ty
    }

    /// The SRID of a geometry or geography with this declaration; `None` for other types. 0 for geometries
    /// without a declared SRID.
    ///
    /// Source: `TYPMOD_GET_SRID` in PostGIS's `liblwgeom/liblwgeom.h.in`.
    pub(super) fn srid(&self, ty: TypeRef) -> Option<i32> {
        let is_geography = match &self.rows.get(&ty.oid)?.shape {
            Shape::OfExtension { extension, symbol } if extension == "postgis" => match symbol.as_str() {
                "LWGEOM_send" => false,
                "geography_send" => true,
                _ => return None,
            },
            _ => return None,
        };
        let typmod = ty.type_modifier;
        match ((typmod & 0x0fff_ff00) - (typmod & 0x1000_0000)) >> 8 {
            _ if typmod < 0 && is_geography => Some(GEOGRAPHY_SRID),
            _ if typmod < 0 => Some(0),
            srid => Some(srid),
        }
    }
}

/// The walk down from one column.
struct Walk<'a> {
    types: &'a Types,
    /// The types around the current one.
    path: Vec<u32>,
    n_parts: usize,
}

impl Walk<'_> {
    fn resolve(&mut self, ty: TypeRef) -> Result<PgType, TypeNote> {
        self.n_parts += 1;
        if self.n_parts > PARTS_MAX {
            return Err(TypeNote::TooManyParts);
        }
        let ty = self.types.base(ty);
        if ty.oid == oid::XML {
            return Ok(PgType::Text);
        }
        if let Some(builtin) = PgType::from_builtin_oid(ty.oid, ty.type_modifier, self.types.server) {
            return Ok(builtin);
        }
        let Some(row) = self.types.rows.get(&ty.oid) else {
            return Err(TypeNote::Text { because: format!("with the OID {}", ty.oid) });
        };
        let opaque = || TypeNote::Text { because: row.name.clone() };
        match &row.shape {
            Shape::Enum => match self.types.enums.get(&ty.oid) {
                Some(labels) => Ok(PgType::Enum(Arc::clone(labels))),
                None => Err(opaque()),
            },
            // citext, and other types that use all of text's functions.
            Shape::Text => Ok(PgType::Text),
            Shape::OfExtension { extension, symbol } => {
                self.of_extension(ty, extension, symbol).ok_or_else(opaque)
            }
            Shape::Domain(_) | Shape::Opaque => Err(opaque()),
            Shape::Array(_) | Shape::Composite(_) | Shape::Range(_) | Shape::Multirange(_) => {
                // Arrow has no recursive types.
                if self.path.contains(&ty.oid) {
                    return Err(opaque());
                }
                if self.path.len() >= DEPTH_MAX {
                    return Err(TypeNote::TooDeep);
                }
                self.path.push(ty.oid);
                let resolved = self.container(ty, &row.shape);
                self.path.pop();
                match resolved? {
                    Some(pg_type) => Ok(pg_type),
                    None => Err(opaque()),
                }
            }
        }
    }

    /// A type that consists of others; `None` for other types.
    fn container(&mut self, ty: TypeRef, shape: &Shape) -> Result<Option<PgType>, TypeNote> {
        let plain = |oid| TypeRef { oid, type_modifier: -1, dimensions: 0 };
        Ok(match shape {
            Shape::Array(element) => {
                let of_element = TypeRef { type_modifier: ty.type_modifier, ..plain(*element) };
                Some(PgType::Array(Arc::new(ArrayType {
                    element: self.resolve(of_element)?,
                    element_oid: *element,
                    dimensions: ty.dimensions,
                    is_vector: matches!(ty.oid, oid::INT2VECTOR | oid::OIDVECTOR),
                })))
            }
            Shape::Composite(relation) => {
                let types = self.types;
                // Not every format keeps the length of an Arrow struct without fields.
                let Some(rows) = types.attributes.get(relation).filter(|rows| !rows.is_empty()) else {
                    return Ok(None);
                };
                let mut attributes = Vec::with_capacity(rows.len());
                for row in rows {
                    attributes.push(Attribute {
                        name: row.name.clone(),
                        pg_type: self.resolve(row.ty)?,
                        type_oid: row.ty.oid,
                        type_name: row.type_name.clone(),
                    });
                }
                Some(PgType::Composite(Arc::new(CompositeType { attributes })))
            }
            Shape::Range(subtype) => {
                let subtype = self.resolve(plain(*subtype))?;
                Some(PgType::Range(Arc::new(RangeType { subtype })))
            }
            Shape::Multirange(subtype) => {
                let subtype = self.resolve(plain(*subtype))?;
                Some(PgType::Multirange(Arc::new(RangeType { subtype })))
            }
            _ => None,
        })
    }

    /// A type of a known extension. The library's send function determines the binary form.
    fn of_extension(&self, ty: TypeRef, extension: &str, symbol: &str) -> Option<PgType> {
        // pgvector's typmod is the number of dimensions: `vector_typmod_in` in its src/vector.c.
        let dimensions = u16::try_from(ty.type_modifier).ok().filter(|dimensions| *dimensions > 0);
        Some(match (extension, symbol) {
            ("hstore", "hstore_send") if !self.types.is_converted => PgType::Hstore,
            ("ltree", "ltree_send" | "lquery_send" | "ltxtq_send") => PgType::Ltree,
            ("vector", "vector_send") => PgType::Vector { dimensions },
            ("vector", "halfvec_send") => PgType::Halfvec { dimensions },
            ("vector", "sparsevec_send") => PgType::Sparsevec,
            ("postgis", "LWGEOM_send" | "geography_send") => {
                let srid = self.types.srid(ty)?;
                let crs = self.types.crs.get(&srid).cloned();
                let is_geography = symbol == "geography_send";
                PgType::Geometry(Arc::new(GeometryType { srid, crs, is_geography }))
            }
            _ => return None,
        })
    }
}
