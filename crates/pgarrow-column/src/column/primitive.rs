//! The common part of columns of one Arrow primitive, however their values are decoded.

use std::fmt;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{ArrayRef, PrimitiveArray};
use arrow_schema::DataType;

use crate::chunk::Chunk;
use crate::column::Column;
use crate::effect::{EffectLog, Effects};
use crate::error::RowError;
use crate::nulls::Nulls;
use crate::spare::{BufferReuse, Spare, capacity_bytes, make_room};
use crate::stored::StoredChunk;

/// The rows of the batch under construction.
pub(crate) struct Rows<N> {
    pub(crate) values: Vec<N>,
    pub(crate) nulls: Nulls,
    pub(crate) effects: EffectLog,
}

/// How a type's values become an Arrow primitive.
pub(crate) trait Decode: fmt::Debug + Send + 'static {
    type Arrow: ArrowPrimitiveType;

    /// Appends the value of every row of the chunk, and moves every cursor behind it. The caller has made
    /// room.
    ///
    /// # Errors
    ///
    /// As for [`Column::decode`].
    fn decode(
        &mut self,
        bytes: &[u8],
        cursors: &mut [u32],
        rows: &mut Rows<<Self::Arrow as ArrowPrimitiveType>::Native>,
    ) -> Result<(), RowError>;

    /// The same for stored values. False if the type does not know their form.
    fn decode_stored(
        &mut self,
        chunk: &StoredChunk<'_>,
        rows: &mut Rows<<Self::Arrow as ArrowPrimitiveType>::Native>,
    ) -> Result<bool, RowError> {
        let _ = (chunk, rows);
        Ok(false)
    }

    /// Bytes that the decoder itself keeps allocated.
    fn allocated_bytes(&self) -> usize {
        0
    }
}

type Native<D> = <<D as Decode>::Arrow as ArrowPrimitiveType>::Native;

/// A column of primitive values.
pub(crate) struct PrimitiveColumn<D: Decode> {
    decoder: D,
    data_type: DataType,
    rows: Rows<Native<D>>,
    spare: Spare<Native<D>>,
}

impl<D: Decode> fmt::Debug for PrimitiveColumn<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrimitiveColumn({:?}, {}, {} rows)", self.decoder, self.data_type, self.rows.values.len())
    }
}

impl<D: Decode> PrimitiveColumn<D> {
    pub(crate) fn new(decoder: D, data_type: DataType, rows: usize) -> Self {
        let spare = Spare::new(rows);
        let rows = Rows { values: Vec::new(), nulls: Nulls::new(), effects: EffectLog::default() };
        Self { decoder, data_type, rows, spare }
    }

    fn make_room(&mut self, rows: usize) {
        if self.rows.values.capacity() == 0 {
            self.rows.values = self.spare.take();
            self.rows.values.clear();
        }
        make_room(&mut self.rows.values, rows);
    }
}

impl<D: Decode> Column for PrimitiveColumn<D> {
    fn decode(&mut self, chunk: &mut Chunk<'_>) -> Result<(), RowError> {
        let (bytes, cursors) = chunk.parts();
        self.make_room(cursors.len());
        self.decoder.decode(bytes, cursors, &mut self.rows)
    }

    fn decode_stored(&mut self, chunk: &StoredChunk<'_>) -> Result<bool, RowError> {
        self.make_room(chunk.rows());
        self.decoder.decode_stored(chunk, &mut self.rows)
    }

    fn truncate(&mut self, rows: usize) {
        self.rows.values.truncate(rows);
        self.rows.nulls.truncate(rows);
        self.rows.effects.truncate(rows);
    }

    fn expect_rows(&mut self, rows: usize) {
        self.spare.foresee(&mut self.rows.values, rows);
    }

    fn bytes(&self) -> usize {
        size_of_val(self.rows.values.as_slice())
    }

    fn allocated_bytes(&self) -> usize {
        capacity_bytes(&self.rows.values)
            + self.rows.nulls.allocated_bytes()
            + self.rows.effects.allocated_bytes()
            + self.spare.allocated_bytes()
            + self.decoder.allocated_bytes()
    }

    fn null_bytes(&self) -> usize {
        size_of::<Native<D>>()
    }

    fn take_effects(&mut self, effects: &mut Effects) {
        self.rows.effects.take(effects);
    }

    fn recycle(&mut self, array: ArrayRef) {
        let buffer = array.as_primitive_opt::<D::Arrow>().map(|array| array.values().inner().clone());
        if let Some(buffer) = buffer {
            drop(array);
            self.spare.give(buffer);
        }
    }

    fn reuse(&self) -> BufferReuse {
        self.spare.reuse()
    }

    fn finish(&mut self) -> Result<ArrayRef, RowError> {
        self.spare.learn(self.rows.values.len());
        self.rows.effects.finish();
        let values = std::mem::take(&mut self.rows.values);
        let array = PrimitiveArray::<D::Arrow>::new(values.into(), self.rows.nulls.finish());
        Ok(Arc::new(array.with_data_type(self.data_type.clone())))
    }
}
