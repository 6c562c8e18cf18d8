//! Columns of one type to streams and back.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use pgarrow_column::make_column;
use pgarrow_decode::{BatchLimits, CopyDecoder, StopReason};
use pgarrow_encode::{
    Conversions, EncodeError, EncodeTarget, HEADER, Refusal, RowEncoder, TRAILER, TypeTarget, make_encoder,
};
use pgarrow_testkit::copy;
use pgarrow_types::{DeclaredType, NumericType, PgColumn, PgType, TypeOptions, schema};

/// A column of a type without a modifier.
pub(crate) fn column(pg_type: PgType, options: TypeOptions) -> PgColumn {
    PgColumn {
        name: "v".to_owned(),
        pg_type,
        type_oid: 0,
        type_modifier: -1,
        type_name: String::new(),
        nullable: true,
        comment: None,
        number: 1,
        options,
    }
}

/// A type as a column declares it, as far as the type itself knows.
pub(crate) fn declared(pg_type: &PgType, base_oid: u32, type_modifier: i32) -> DeclaredType {
    let parts = match pg_type {
        PgType::Array(array) => vec![declared(&array.element, array.element_oid, type_modifier)],
        PgType::Composite(composite) => {
            composite.attributes.iter().map(|part| declared(&part.pg_type, part.type_oid, -1)).collect()
        }
        PgType::Range(range) | PgType::Multirange(range) => vec![declared(&range.subtype, 0, -1)],
        _ => Vec::new(),
    };
    DeclaredType { parts, ..DeclaredType::new(base_oid, type_modifier) }
}

/// The targets of a load into columns like these.
pub(crate) fn targets(columns: &[PgColumn]) -> Vec<EncodeTarget> {
    let target = |column: &PgColumn| EncodeTarget {
        name: column.name.clone(),
        pg_type: column.pg_type.clone(),
        declared: declared(&column.pg_type, column.type_oid, column.type_modifier),
        type_name: column.type_name.clone(),
    };
    columns.iter().map(target).collect()
}

/// Decodes a complete stream.
pub(crate) fn decode(columns: &[PgColumn], stream: &[u8]) -> Vec<RecordBatch> {
    try_decode(columns, stream).expect("a stream that is sound")
}

/// The batches of a stream; `None` if it is refused or incomplete.
pub(crate) fn try_decode(columns: &[PgColumn], stream: &[u8]) -> Option<Vec<RecordBatch>> {
    let schema = Arc::new(schema(columns, HashMap::new()));
    let decoders = columns.iter().map(|column| make_column(&column.pg_type, &column.options, 0)).collect();
    let mut decoder = CopyDecoder::new(schema, decoders, BatchLimits::default());
    let messages = copy::frame(stream);
    let (mut at, mut batches) = (0, Vec::new());
    loop {
        let progress = decoder.decode(&messages[at..]).ok()?;
        at += progress.used_bytes;
        match progress.stop {
            StopReason::BatchFull => batches.extend(decoder.flush().ok()?),
            StopReason::LargeRow { .. } => return None,
            StopReason::NeedMore | StopReason::OtherMessage => break,
        }
    }
    batches.extend(decoder.flush().ok()?);
    (at == messages.len() && decoder.is_complete()).then_some(batches)
}

/// The whole stream of batches.
pub(crate) fn encode(
    fields: &[&Field],
    targets: &[EncodeTarget],
    batches: &[RecordBatch],
) -> Result<Vec<u8>, Failure> {
    let pairs = fields.iter().zip(targets);
    let pairs = pairs.map(|(field, target)| (*field, target.type_target(field, Conversions::Widen)));
    let encoder = RowEncoder::of_fields(pairs).map_err(|(_, refusal)| Failure::Plan(refusal))?;
    let mut stream = HEADER.to_vec();
    for batch in batches {
        let bound = encoder.bind(batch).map_err(Failure::Value)?;
        let end = bound.write_rows(0, usize::MAX, &mut stream).map_err(Failure::Value)?;
        assert_eq!(end, batch.num_rows());
    }
    stream.extend(TRAILER);
    Ok(stream)
}

/// Why nothing was encoded.
#[derive(Debug)]
pub(crate) enum Failure {
    Plan(Refusal),
    Value(EncodeError),
}

/// The target of a column: the type, its declaration, and the allowed conversions.
#[derive(Clone, Debug)]
pub(crate) struct To {
    pub(crate) pg_type: PgType,
    pub(crate) declared: DeclaredType,
    pub(crate) conversions: Conversions,
}

impl To {
    pub(crate) fn new(pg_type: PgType) -> Self {
        Self { declared: declared(&pg_type, 0, -1), pg_type, conversions: Conversions::Widen }
    }

    pub(crate) fn modifier(mut self, type_modifier: i32) -> Self {
        self.declared.type_modifier = type_modifier;
        self
    }

    pub(crate) fn check(self) -> Self {
        Self { conversions: Conversions::Check, ..self }
    }

    pub(crate) fn round(self) -> Self {
        Self { conversions: Conversions::Round, ..self }
    }

    pub(crate) fn target(&self) -> TypeTarget<'_> {
        TypeTarget { pg_type: &self.pg_type, declared: &self.declared, conversions: self.conversions }
    }

    /// The reason why there is no encoder for arrays of this type; `None` if there is one.
    pub(crate) fn refusal(&self, data_type: &arrow_schema::DataType) -> Option<Refusal> {
        make_encoder(&Field::new("v", data_type.clone(), true), self.target()).err()
    }

    /// Each value without its length; NULL is `None`.
    pub(crate) fn values(
        &self,
        array: &ArrayRef,
    ) -> Vec<Result<Option<Vec<u8>>, pgarrow_encode::ValueError>> {
        let field = Field::new("v", array.data_type().clone(), true);
        let encoder = make_encoder(&field, self.target()).expect("an encoder");
        let rows = RowEncoder::new(vec![(0, encoder)]).expect("one column");
        let schema = Arc::new(Schema::new(vec![field]));
        let batch = RecordBatch::try_new(schema, vec![Arc::clone(array)]).expect("a batch");
        let bound = rows.bind(&batch).expect("an array of that type");
        let value = |row| {
            let mut out = b"before".to_vec();
            let written = bound.write_value(row, 0, &mut out).map_err(|error| error.cause);
            let value = out.strip_prefix(b"before").expect("only appended").to_vec();
            written.map(|()| {
                let (length, value) = value.split_first_chunk::<4>().expect("a length");
                match i32::from_be_bytes(*length) {
                    -1 => None,
                    n_bytes => {
                        assert_eq!(n_bytes as usize, value.len(), "the length that is written");
                        Some(value.to_vec())
                    }
                }
            })
        };
        (0..array.len()).map(value).collect()
    }
}

/// A numeric's text, by its decoder.
pub(crate) fn text_of(wire: &[u8]) -> String {
    let columns = [column(PgType::Numeric(NumericType::Unconstrained), TypeOptions::default())];
    let stream = [&HEADER[..], &copy::tuple([Some(wire)]), &TRAILER].concat();
    let batches = decode(&columns, &stream);
    batches[0].column(0).as_string::<i32>().value(0).to_owned()
}
