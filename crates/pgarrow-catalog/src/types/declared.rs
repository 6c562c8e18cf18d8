//! From `pg_type` rows to the modifiers that receive functions get: pure.

use pgarrow_types::{DeclaredType, PgType, Structure};

use super::{Shape, TypeRef, Types};

impl Types {
    /// The modifiers of a type and of its parts, for a type that was resolved to `pg_type`.
    ///
    /// The resolved type limits depth and width here: parts of a type that is read as text are left out, and
    /// so is a type that contains itself.
    pub(super) fn declared(&self, ty: TypeRef, pg_type: &PgType) -> DeclaredType {
        let base = self.base(ty);
        let plain = |oid| TypeRef { oid, type_modifier: -1, dimensions: 0 };
        let shape = self.rows.get(&base.oid).map(|row| &row.shape);
        let parts = match (pg_type.structure(), shape) {
            (Structure::Array(array), Some(Shape::Array(element))) => {
                let element = TypeRef { type_modifier: base.type_modifier, ..plain(*element) };
                vec![self.declared(element, &array.element)]
            }
            (Structure::Composite(composite), Some(Shape::Composite(relation))) => {
                let rows = self.attributes.get(relation).into_iter().flatten();
                let pairs = rows.zip(&composite.attributes);
                pairs.map(|(row, attribute)| self.declared(row.ty, &attribute.pg_type)).collect()
            }
            (Structure::Range(range), Some(Shape::Range(subtype)))
            | (Structure::Multirange(range), Some(Shape::Multirange(subtype))) => {
                vec![self.declared(plain(*subtype), &range.subtype)]
            }
            // The type has no parts, or it is read as another type.
            (
                Structure::Plain
                | Structure::Array(_)
                | Structure::Composite(_)
                | Structure::Range(_)
                | Structure::Multirange(_),
                _,
            ) => Vec::new(),
        };
        DeclaredType { base_oid: base.oid, type_modifier: base.type_modifier, parts }
    }
}
