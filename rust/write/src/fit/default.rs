//! Column defaults (format version 3) as arrays of one value.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Float32Array, Float64Array, Int32Array, Int64Array,
    LargeBinaryArray, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use iceberg::spec::{Literal, PrimitiveLiteral};

/// `None` for a value that is not a single one, or not of the type.
pub(super) fn array(value: &Literal, target: &DataType) -> Option<ArrayRef> {
    let Literal::Primitive(value) = value else { return None };
    let array: ArrayRef = match value {
        PrimitiveLiteral::Boolean(value) => Arc::new(BooleanArray::from(vec![*value])),
        PrimitiveLiteral::Int(value) => Arc::new(Int32Array::from(vec![*value])),
        PrimitiveLiteral::Long(value) => Arc::new(Int64Array::from(vec![*value])),
        PrimitiveLiteral::Float(value) => Arc::new(Float32Array::from(vec![value.0])),
        PrimitiveLiteral::Double(value) => Arc::new(Float64Array::from(vec![value.0])),
        PrimitiveLiteral::String(value) => Arc::new(StringArray::from(vec![value.as_str()])),
        PrimitiveLiteral::UInt128(value) => {
            Arc::new(FixedSizeBinaryArray::try_from_iter([value.to_be_bytes()].into_iter()).ok()?)
        }
        PrimitiveLiteral::Binary(value) => match target {
            DataType::FixedSizeBinary(_) => {
                Arc::new(FixedSizeBinaryArray::try_from_iter([value.as_slice()].into_iter()).ok()?)
            }
            _ => Arc::new(LargeBinaryArray::from(vec![value.as_slice()])),
        },
        PrimitiveLiteral::Int128(value) => {
            let DataType::Decimal128(precision, scale) = target else { return None };
            Arc::new(Decimal128Array::from(vec![*value]).with_precision_and_scale(*precision, *scale).ok()?)
        }
        PrimitiveLiteral::AboveMax | PrimitiveLiteral::BelowMin => return None,
    };
    if array.data_type() == target { Some(array) } else { cast(&array, target).ok() }
}
