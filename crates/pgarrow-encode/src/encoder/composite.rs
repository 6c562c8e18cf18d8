//! `record_recv` of a named type: a struct's fields are attributes, matched by name.
//!
//! ```text
//! i32 n_attributes │ n × (u32 type OID │ i32 length │ value)
//! ```
//!
//! Source: `record_send`, `record_recv` in PostgreSQL's `src/backend/utils/adt/rowtypes.c`.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_schema::DataType;
use pgarrow_types::CompositeType;

use super::{Bound, Encoder, Values, make_encoder, refuse};
use crate::encode_target::{Conversions, TypeTarget};
use crate::error::{Refusal, RefusalKind, ValueError};
use crate::write;

pub(super) fn make<'a>(
    source: &DataType,
    target: TypeTarget<'a>,
    composite: &'a CompositeType,
) -> Result<Box<dyn Encoder>, Refusal> {
    let DataType::Struct(fields) = source else { return Err(refuse(source, target)) };
    let mismatch = |why: String| Refusal::new(RefusalKind::Mismatch, why);
    for (index, field) in fields.iter().enumerate() {
        if !composite.attributes.iter().any(|attribute| attribute.name == *field.name()) {
            return Err(mismatch(format!("the type has no attribute {:?}", field.name())));
        }
        if fields.iter().take(index).any(|before| before.name() == field.name()) {
            return Err(mismatch(format!("there are two fields {:?}", field.name())));
        }
    }
    let attribute = |(index, attribute): (usize, &'a pgarrow_types::Attribute)| {
        let (field_index, field) = fields
            .find(&attribute.name)
            .ok_or_else(|| mismatch(format!("the attribute {:?} is not in the data", attribute.name)))?;
        let mut part = target.part(index, &attribute.pg_type);
        if field.metadata().get("pg.type") == Some(&attribute.type_name) {
            part.conversions = part.conversions.max(Conversions::Check);
        }
        let encoder = make_encoder(field, part).map_err(|refusal| refusal.inside(&attribute.name))?;
        let type_oid = attribute.type_oid.to_be_bytes();
        Ok(AttributeEncoder { field_index, name: attribute.name.clone(), type_oid, encoder })
    };
    let attributes = composite.attributes.iter().enumerate().map(attribute).collect::<Result<_, _>>()?;
    Ok(Box::new(Composites { attributes }))
}

#[derive(Debug)]
struct Composites {
    attributes: Vec<AttributeEncoder>,
}

#[derive(Debug)]
struct AttributeEncoder {
    /// The field's index in the struct.
    field_index: usize,
    /// The field's name. Without it, another order of the same types would go unnoticed.
    name: String,
    type_oid: [u8; 4],
    encoder: Box<dyn Encoder>,
}

impl Encoder for Composites {
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        let array = array.as_struct_opt().ok_or(ValueError::WrongArray)?;
        let attributes = self.attributes.iter().map(|attribute| {
            let field =
                array.fields().get(attribute.field_index).filter(|field| *field.name() == attribute.name);
            let column = array.columns().get(attribute.field_index).filter(|_| field.is_some());
            let column = column.ok_or(ValueError::WrongArray)?;
            Ok((attribute.type_oid, Bound::new(attribute.encoder.as_ref(), column.as_ref())?))
        });
        Ok(Box::new(CompositeValues { attributes: attributes.collect::<Result<_, _>>()? }))
    }
}

#[derive(Debug)]
struct CompositeValues<'a> {
    attributes: Vec<([u8; 4], Bound<'a>)>,
}

impl Values for CompositeValues<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        write::measured(out, |out| {
            // Types have fewer than 1600.
            let count = i32::try_from(self.attributes.len()).map_err(|_| ValueError::TooLarge)?;
            out.extend_from_slice(&count.to_be_bytes());
            for (type_oid, attribute) in &self.attributes {
                out.extend_from_slice(type_oid);
                attribute.write(row, out)?;
            }
            Ok(())
        })
    }
}
