//! Which partition each row belongs to.
//!
//! A batch of one partition, the usual case of a stream partitioned by time, is recognised without computing every row's
//! partition value. For others, the partition values become one comparable byte string a row, and rows are counted into
//! groups: the work depends on the rows, not on how many partitions are open.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch};
use arrow::compute::{cast, interleave_record_batch, max, min};
use arrow::datatypes::{
    DataType, Date32Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow::row::{RowConverter, Rows, SortField};
use frazil_catalog::from_iceberg;
use frazil_model::{Error, ErrorKind, Result};
use iceberg::arrow::{arrow_primitive_to_literal, type_to_arrow_type};
use iceberg::spec::{Literal, PartitionSpec, Schema, Struct, Transform, Type};
use iceberg::transform::{BoxedTransformFunction, TransformFunction, create_transform_function};

use crate::arrow_error;
use crate::column::extract;
use crate::create::{cannot_write, unsupported};
use crate::layout::Layout;
use crate::path;

/// A partition, numbered in the order in which it was first seen.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) values: Struct,
    /// `ts_day=2026-11-01/country=DE`
    pub(crate) path: String,
}

#[derive(Debug)]
struct Field {
    name: String,
    transform: Transform,
    function: BoxedTransformFunction,
    /// Where the source column stands; `void` has none.
    source: Option<Vec<usize>>,
    result: Type,
}

/// Rows of one partition, copied out of the batches that they came in.
pub(crate) type Group = (usize, RecordBatch);

/// Finds the partitions of rows.
#[derive(Debug)]
pub(crate) struct Partitioner {
    fields: Vec<Field>,
    converter: RowConverter,
    known: HashMap<Box<[u8]>, usize>,
    /// Rows of each partition in the batches at hand; zero between calls.
    counts: Vec<usize>,
}

impl Partitioner {
    pub(crate) fn new(spec: &PartitionSpec, schema: &Schema, layout: &Layout) -> Result<Self> {
        let positions = layout.positions();
        let mut fields = Vec::new();
        for field in spec.fields() {
            if field.transform == Transform::Unknown {
                return Err(unsupported(format!(
                    "partition field '{}' has a transform that this version does not know",
                    field.name
                )));
            }
            let source = schema.field_by_id(field.source_id);
            let result = match source {
                Some(source) => field.transform.result_type(&source.field_type).map_err(from_iceberg)?,
                // Only `void` may outlive its column.
                None if field.transform == Transform::Void => Type::Primitive(iceberg::spec::PrimitiveType::Int),
                None => {
                    return Err(Error::new(
                        ErrorKind::Schema,
                        format!("partition field '{}' has lost its source column", field.name),
                    ));
                }
            };
            if let Some(source) = source
                && let Some(reason) = cannot_write(field.transform, &source.field_type, &source.name)
            {
                return Err(unsupported(reason));
            }
            let source = match field.transform {
                Transform::Void => None,
                _ => Some(positions.get(&field.source_id).cloned().ok_or_else(|| {
                    unsupported(format!("partition field '{}' takes its value from inside a list or map", field.name))
                })?),
            };
            let function = create_transform_function(&field.transform).map_err(from_iceberg)?;
            fields.push(Field { name: field.name.clone(), transform: field.transform, function, source, result });
        }
        let keys = fields.iter().filter(|field| field.source.is_some());
        let keys = keys.map(|field| Ok(SortField::new(key_type(&field.result)?))).collect::<Result<_>>()?;
        let converter = RowConverter::new(keys).map_err(arrow_error)?;
        Ok(Partitioner { fields, converter, known: HashMap::new(), counts: Vec::new() })
    }

    /// Forgets the partitions; numbers start again.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
        self.counts.clear();
    }

    /// The partition of all rows of a batch, if it is cheap to see that they share one.
    pub(crate) fn single(&mut self, batch: &RecordBatch, partitions: &mut Vec<Partition>) -> Result<Option<usize>> {
        for field in &self.fields {
            if !field.is_constant(batch)? {
                return Ok(None);
            }
        }
        if self.fields.iter().all(|field| field.source.is_none()) {
            return self.number(&[], &[], 0, partitions).map(Some);
        }
        let (keys, rows) = self.keys(&batch.slice(0, 1))?;
        self.number(rows.row(0).data(), &keys, 0, partitions).map(Some)
    }

    /// Copies the rows of all batches into one batch for each partition that they have.
    pub(crate) fn group(&mut self, batches: &[RecordBatch], partitions: &mut Vec<Partition>) -> Result<Vec<Group>> {
        let mut numbers = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
        let mut present = Vec::new();
        for batch in batches {
            let (keys, rows) = self.keys(batch)?;
            let mut last: Option<(usize, usize)> = None;
            for row in 0..batch.num_rows() {
                let key = rows.row(row);
                let number = match last {
                    Some((at, number)) if rows.row(at) == key => number,
                    _ => self.number(key.data(), &keys, row, partitions)?,
                };
                last = Some((row, number));
                if self.counts[number] == 0 {
                    present.push(number);
                }
                self.counts[number] += 1;
                numbers.push(number);
            }
        }
        // From counts to where each partition's rows begin among the ordered ones.
        let mut start = 0;
        let mut ranges = Vec::with_capacity(present.len());
        for number in present {
            let count = std::mem::replace(&mut self.counts[number], start);
            ranges.push((number, start..start + count));
            start += count;
        }
        let mut ordered = vec![(0, 0); numbers.len()];
        let mut numbers = numbers.into_iter();
        for (index, batch) in batches.iter().enumerate() {
            for (row, number) in numbers.by_ref().take(batch.num_rows()).enumerate() {
                ordered[self.counts[number]] = (index, row);
                self.counts[number] += 1;
            }
        }
        let sources: Vec<&RecordBatch> = batches.iter().collect();
        ranges
            .into_iter()
            .map(|(number, range)| {
                self.counts[number] = 0;
                Ok((number, interleave_record_batch(&sources, &ordered[range]).map_err(arrow_error)?))
            })
            .collect()
    }

    fn keys(&self, batch: &RecordBatch) -> Result<(Vec<ArrayRef>, Rows)> {
        let fields =
            self.fields.iter().filter_map(|field| Some(field.transformed(extract(batch, field.source.as_ref()?))));
        let columns: Vec<ArrayRef> = fields.collect::<Result<_>>()?;
        let rows = self.converter.convert_columns(&columns).map_err(arrow_error)?;
        Ok((columns, rows))
    }

    fn number(
        &mut self,
        key: &[u8],
        columns: &[ArrayRef],
        row: usize,
        partitions: &mut Vec<Partition>,
    ) -> Result<usize> {
        if let Some(number) = self.known.get(key) {
            return Ok(*number);
        }
        let number = partitions.len();
        partitions.push(self.partition(columns, row)?);
        self.known.insert(key.into(), number);
        self.counts.push(0);
        Ok(number)
    }

    fn partition(&self, columns: &[ArrayRef], row: usize) -> Result<Partition> {
        let mut columns = columns.iter();
        let mut values: Vec<Option<Literal>> = Vec::with_capacity(self.fields.len());
        let mut parts = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            let value = match &field.source {
                None => None,
                Some(_) => {
                    let column = columns.next().expect("one key column for each field that has a source");
                    let literals =
                        arrow_primitive_to_literal(&column.slice(row, 1), &field.result).map_err(from_iceberg)?;
                    literals.into_iter().next().flatten()
                }
            };
            parts.push(path::partition_field(&field.name, field.transform, &field.result, value.as_ref()));
            values.push(value);
        }
        Ok(Partition { values: Struct::from_iter(values), path: parts.join("/") })
    }
}

impl Field {
    fn transformed(&self, column: ArrayRef) -> Result<ArrayRef> {
        let found = apply(self.transform, self.function.as_ref(), column)?;
        let expected = key_type(&self.result)?;
        if *found.data_type() == expected { Ok(found) } else { cast(&found, &expected).map_err(arrow_error) }
    }

    /// Whether the transform maps rising values to rising values, so that the least and the greatest decide.
    fn rises(&self) -> bool {
        !matches!(self.transform, Transform::Bucket(_) | Transform::Void | Transform::Unknown)
    }

    /// Whether all rows have one value. It may say no where it would take long to say yes.
    fn is_constant(&self, batch: &RecordBatch) -> Result<bool> {
        let Some(source) = &self.source else { return Ok(true) };
        let column = extract(batch, source);
        if column.null_count() > 0 {
            return Ok(column.null_count() == column.len());
        }
        let ends = match column.data_type() {
            _ if column.len() == 1 => return Ok(true),
            _ if !self.rises() => None,
            DataType::Int32 => ends::<Int32Type>(&column),
            DataType::Int64 => ends::<Int64Type>(&column),
            DataType::Date32 => ends::<Date32Type>(&column),
            DataType::Timestamp(TimeUnit::Microsecond, _) => ends::<TimestampMicrosecondType>(&column),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => ends::<TimestampNanosecondType>(&column),
            _ => None,
        };
        let Some(ends) = ends else { return Ok(false) };
        let ends = self.transformed(ends)?;
        Ok(ends.slice(0, 1).as_ref() == ends.slice(1, 1).as_ref())
    }
}

/// Iceberg's transform of a column, also where the crate's function does not take the column's Arrow type.
pub(crate) fn apply(transform: Transform, function: &dyn TransformFunction, column: ArrayRef) -> Result<ArrayRef> {
    let column = match (column.data_type(), transform) {
        (DataType::LargeBinary, Transform::Truncate(_)) => cast(&column, &DataType::Binary).map_err(arrow_error)?,
        (DataType::Timestamp(TimeUnit::Nanosecond, _), Transform::Hour) => {
            let micros = column.as_primitive::<TimestampNanosecondType>();
            Arc::new(micros.unary::<_, TimestampMicrosecondType>(|nanos| nanos.div_euclid(1000)))
        }
        _ => column,
    };
    function.transform(column).map_err(from_iceberg)
}

/// An array of the least and the greatest value.
fn ends<T: ArrowPrimitiveType>(column: &ArrayRef) -> Option<ArrayRef>
where
    T::Native: PartialOrd,
{
    let typed = column.as_primitive::<T>();
    let values = vec![min(typed)?, max(typed)?];
    Some(Arc::new(PrimitiveArray::<T>::new(values.into(), None).with_data_type(column.data_type().clone())))
}

fn key_type(result: &Type) -> Result<DataType> {
    Ok(match type_to_arrow_type(result).map_err(from_iceberg)? {
        DataType::LargeBinary => DataType::Binary,
        other => other,
    })
}

#[cfg(test)]
mod tests;
