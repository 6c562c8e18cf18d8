//! Arrays that refer to their values: dictionaries, and runs of equal values.

use std::fmt;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowDictionaryKeyType, Int16Type, Int32Type, Int64Type, RunEndIndexType};
use arrow_array::{Array, DictionaryArray, RunArray, downcast_dictionary_array};
use arrow_schema::{DataType, Field};

use super::{Encoder, Values, make_encoder};
use crate::encode_target::TypeTarget;
use crate::error::{Refusal, ValueError};

/// For dictionaries: encodes the values that the keys refer to.
pub(super) fn make(
    values: &DataType,
    field: &Field,
    target: TypeTarget<'_>,
) -> Result<Box<dyn Encoder>, Refusal> {
    let of_values = field.clone().with_data_type(values.clone());
    Ok(Box::new(Dictionaries(make_encoder(&of_values, target)?)))
}

/// For runs of equal values.
pub(super) fn make_run_ends(
    values: &DataType,
    field: &Field,
    target: TypeTarget<'_>,
) -> Result<Box<dyn Encoder>, Refusal> {
    let of_values = field.clone().with_data_type(values.clone());
    Ok(Box::new(Runs(make_encoder(&of_values, target)?)))
}

#[derive(Debug)]
struct Dictionaries(Box<dyn Encoder>);

impl Encoder for Dictionaries {
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        downcast_dictionary_array!(
            array => self.bind_keys(array),
            _ => Err(ValueError::WrongArray),
        )
    }
}

impl Dictionaries {
    fn bind_keys<'a, K: ArrowDictionaryKeyType>(
        &'a self,
        array: &'a DictionaryArray<K>,
    ) -> Result<Box<dyn Values + 'a>, ValueError> {
        Ok(Box::new(DictionaryValues { array, values: self.0.bind(array.values().as_ref())? }))
    }
}

struct DictionaryValues<'a, K: ArrowDictionaryKeyType> {
    array: &'a DictionaryArray<K>,
    values: Box<dyn Values + 'a>,
}

impl<K: ArrowDictionaryKeyType> Values for DictionaryValues<'_, K> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let index = self.array.key(row).ok_or(ValueError::WrongArray)?;
        self.values.write(index, out)
    }
}

impl<K: ArrowDictionaryKeyType> fmt::Debug for DictionaryValues<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DictionaryValues").field("values", &self.values).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Runs(Box<dyn Encoder>);

impl Encoder for Runs {
    fn bind<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn Values + 'a>, ValueError> {
        if let Some(array) = array.as_run_opt::<Int16Type>() {
            return self.bind_runs(array);
        }
        if let Some(array) = array.as_run_opt::<Int32Type>() {
            return self.bind_runs(array);
        }
        self.bind_runs(array.as_run_opt::<Int64Type>().ok_or(ValueError::WrongArray)?)
    }
}

impl Runs {
    fn bind_runs<'a, R: RunEndIndexType>(
        &'a self,
        array: &'a RunArray<R>,
    ) -> Result<Box<dyn Values + 'a>, ValueError> {
        Ok(Box::new(RunValues { array, values: self.0.bind(array.values().as_ref())? }))
    }
}

struct RunValues<'a, R: RunEndIndexType> {
    array: &'a RunArray<R>,
    values: Box<dyn Values + 'a>,
}

impl<R: RunEndIndexType> Values for RunValues<'_, R> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), ValueError> {
        self.values.write(self.array.get_physical_index(row), out)
    }
}

impl<R: RunEndIndexType> fmt::Debug for RunValues<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunValues").field("values", &self.values).finish_non_exhaustive()
    }
}
