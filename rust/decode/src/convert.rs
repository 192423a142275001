//! The last step from what a decoding library makes to the columns that were promised.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, Int64Array, ListArray, MapArray, StringArray, StructArray,
    make_array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type};
use arrow::error::ArrowError;

use crate::avro::Logical;

/// Arrow's name for UTC in the types that Iceberg's Rust crate makes.
pub(crate) const UTC: &str = "+00:00";

/// A list with the field name that Iceberg uses.
pub(crate) fn list_of(element: Field) -> DataType {
    DataType::List(Arc::new(element))
}

/// A map with the field names that Iceberg uses.
pub(crate) fn map_of(key: Field, value: Field) -> DataType {
    let entries = DataType::Struct(vec![key, value].into());
    DataType::Map(Arc::new(Field::new("key_value", entries, false)), false)
}

/// What is to be done with an array to make it a column.
#[derive(Debug)]
pub(crate) enum Shape {
    /// The buffers stay; only the type's name changes, if that.
    Same,
    /// Milliseconds, int or long, become microseconds.
    Millis,
    /// Positions in the writer's enum become the reader's symbols.
    Symbols(StringArray),
    /// Text becomes the bytes of a UUID.
    UuidText,
    List(Box<Shape>),
    Map(Box<Shape>),
    Struct(Vec<Shape>),
}

impl Shape {
    /// The shape of a primitive Avro type.
    pub(crate) fn of(logical: Option<Logical>) -> Shape {
        match logical {
            Some(Logical::TimeMillis | Logical::TimestampMillis | Logical::LocalTimestampMillis) => Shape::Millis,
            _ => Shape::Same,
        }
    }

    /// Makes a column of type `target`.
    pub(crate) fn apply(&self, array: ArrayRef, target: &DataType) -> Result<ArrayRef, ArrowError> {
        Ok(match (self, target) {
            (Shape::Same, _) if array.data_type() == target => array,
            (Shape::Same, _) => relabel(&array, target)?,
            (Shape::Millis, _) => {
                // The judge has seen that each value can be multiplied; what stands under a null may wrap.
                let micros: Int64Array = match array.data_type() {
                    DataType::Int32 => array.as_primitive::<Int32Type>().unary(|millis| i64::from(millis) * 1000),
                    _ => array.as_primitive::<Int64Type>().unary(|millis| millis.wrapping_mul(1000)),
                };
                relabel(&micros, target)?
            }
            (Shape::Symbols(symbols), _) => take(symbols, &array, None)?,
            (Shape::UuidText, _) => uuids(array.as_string::<i32>())?,
            (Shape::List(shape), DataType::List(field)) => {
                let (_, offsets, values, nulls) = array.as_list::<i32>().clone().into_parts();
                Arc::new(ListArray::try_new(field.clone(), offsets, shape.apply(values, field.data_type())?, nulls)?)
            }
            (Shape::Map(shape), DataType::Map(field, sorted)) => {
                let (_, offsets, entries, nulls, _) = array.as_map().clone().into_parts();
                let DataType::Struct(fields) = field.data_type() else { return Err(mismatch(&array, target)) };
                let (_, columns, _) = entries.into_parts();
                let value = shape.apply(columns[1].clone(), fields[1].data_type())?;
                let entries = StructArray::try_new(fields.clone(), vec![columns[0].clone(), value], None)?;
                Arc::new(MapArray::try_new(field.clone(), offsets, entries, nulls, *sorted)?)
            }
            (Shape::Struct(shapes), DataType::Struct(fields)) => {
                let length = array.len();
                let (_, columns, nulls) = array.as_struct().clone().into_parts();
                let columns = shapes
                    .iter()
                    .zip(columns)
                    .zip(fields)
                    .map(|((shape, column), field)| shape.apply(column, field.data_type()));
                Arc::new(StructArray::try_new_with_length(
                    fields.clone(),
                    columns.collect::<Result<_, _>>()?,
                    nulls,
                    length,
                )?)
            }
            _ => return Err(mismatch(&array, target)),
        })
    }
}

fn mismatch(array: &dyn Array, target: &DataType) -> ArrowError {
    ArrowError::SchemaError(format!("an array of {} cannot become {target}", array.data_type()))
}

fn relabel(array: &dyn Array, target: &DataType) -> Result<ArrayRef, ArrowError> {
    Ok(make_array(array.to_data().into_builder().data_type(target.clone()).build()?))
}

fn uuids(texts: &StringArray) -> Result<ArrayRef, ArrowError> {
    let mut bytes = Vec::with_capacity(16 * texts.len());
    for row in 0..texts.len() {
        let uuid = if texts.is_null(row) { Some([0; 16]) } else { crate::uuid::parse(texts.value(row).as_bytes()) };
        bytes.extend(uuid.ok_or_else(|| ArrowError::ParseError(format!("'{}' is not a UUID", texts.value(row))))?);
    }
    Ok(Arc::new(FixedSizeBinaryArray::try_new(16, bytes.into(), texts.nulls().cloned())?))
}
