//! The job's columns → the table's columns: by name, every value checked, each row that does not fit refused by itself.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{filter_record_batch, max, min, take};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, UInt32Type};
use frazil_catalog::from_iceberg;
use frazil_model::{Error, ErrorKind, Rejected, Result, Stage};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{NestedFieldRef, Transform};
use iceberg::table::Table;

use crate::arrow_error;
use crate::names::did_you_mean;

mod convert;
mod default;
mod plan;

use convert::{Bad, convert};
use plan::Plan;

/// Brings batches of one schema into the form of a table's rows.
#[derive(Debug)]
pub struct Fitter {
    input: SchemaRef,
    schema: SchemaRef,
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    name: String,
    source: Source,
    required: bool,
    /// Partition transforms of time reach 262,000 years only; a value outside must not take its batch with it.
    calendar: bool,
}

#[derive(Debug)]
enum Source {
    Input(usize, Plan),
    /// One value for all rows: the column's default, or null.
    Constant(ArrayRef),
}

/// A batch that fits, and what did not.
#[derive(Debug)]
pub struct Fitted {
    /// The rows that fit, in the table's columns.
    pub batch: RecordBatch,
    /// Which rows of the input they are; `None` means all of them.
    pub rows: Option<Vec<u32>>,
    /// The rows that do not fit, in order, the column and reason named.
    pub rejected: Vec<Rejected>,
}

/// Microseconds from 1970 that calendar transforms can surely take: 200,000 years.
const CALENDAR_MICROS: i64 = 200_000 * 365 * 86_400 * 1_000_000;

impl Fitter {
    /// Plans how batches of the schema become rows of the table.
    ///
    /// # Errors
    /// `Schema`, listing everything that does not fit: columns that the table does not have, types that cannot become
    /// the column's, required columns that are missing.
    pub fn new(input: &Schema, table: &Table) -> Result<Fitter> {
        let metadata = table.metadata();
        let schema = Arc::new(schema_to_arrow_schema(metadata.current_schema()).map_err(from_iceberg)?);
        let fields = metadata.current_schema().as_struct().fields();
        let mut wrong = Vec::new();
        let names = || fields.iter().map(|field| field.name.as_str());
        for (index, column) in input.fields().iter().enumerate() {
            if !names().any(|name| name == column.name()) {
                wrong.push(format!(
                    "the table has no column '{}'{}",
                    column.name(),
                    did_you_mean(column.name(), names())
                ));
            } else if input.fields()[..index].iter().any(|other| other.name() == column.name()) {
                wrong.push(format!("column '{}' comes twice", column.name()));
            }
        }
        let calendar: Vec<i32> = metadata
            .default_partition_spec()
            .fields()
            .iter()
            .filter(|field| {
                matches!(field.transform, Transform::Year | Transform::Month | Transform::Day | Transform::Hour)
            })
            .map(|field| field.source_id)
            .collect();
        let mut columns = Vec::with_capacity(fields.len());
        for (field, target) in fields.iter().zip(schema.fields()) {
            match source(input, field, target) {
                Ok(source) => columns.push(Column {
                    name: field.name.clone(),
                    source,
                    required: field.required,
                    calendar: calendar.contains(&field.id)
                        && matches!(target.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _)),
                }),
                Err(mut reasons) => wrong.append(&mut reasons),
            }
        }
        if wrong.is_empty() {
            return Ok(Fitter { input: Arc::new(input.clone()), schema, columns });
        }
        let message = format!("the job's columns do not fit table {}: {}", table.identifier(), wrong.join("; "));
        Err(Error::new(ErrorKind::Schema, message))
    }

    /// The table's columns with their field ids: the schema of [`Fitted::batch`].
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Converts a batch. Rows that do not fit are left out and reported, their neighbours stay.
    ///
    /// # Errors
    /// `Schema` if the batch is not of the schema that this fitter was made for.
    pub fn fit(&self, batch: &RecordBatch) -> Result<Fitted> {
        let same = batch.num_columns() == self.input.fields().len()
            && batch
                .columns()
                .iter()
                .zip(self.input.fields())
                .all(|(column, field)| column.data_type() == field.data_type());
        if !same {
            return Err(Error::new(
                ErrorKind::Schema,
                format!("expected a batch with {}, found {}", self.input, batch.schema()),
            ));
        }
        let mut input = batch.clone();
        let mut rows: Option<Vec<u32>> = None;
        let mut rejected = Vec::new();
        // What is wrong inside a column shows only when what is wrong with its values is gone: once more for each level.
        loop {
            let mut bad = match self.convert(&input)? {
                Ok(batch) => {
                    rejected.sort_by_key(|rejected: &Rejected| rejected.row);
                    return Ok(Fitted { batch, rows, rejected });
                }
                Err(bad) => bad,
            };
            // One reason for each row: that of its first column.
            bad.sort_by_key(|bad| bad.row);
            bad.dedup_by_key(|bad| bad.row);
            let mut keep = vec![true; input.num_rows()];
            let known = rows.take().unwrap_or_else(|| (0_u32..).take(input.num_rows()).collect());
            for Bad { row, reason } in bad {
                keep[row] = false;
                rejected.push(Rejected { row: known[row] as usize, stage: Stage::Fit, reason, schema_id: None });
            }
            rows = Some(known.into_iter().zip(&keep).filter(|(_, keep)| **keep).map(|(row, _)| row).collect());
            input = filter_record_batch(&input, &BooleanArray::from(keep)).map_err(arrow_error)?;
        }
    }

    fn convert(&self, batch: &RecordBatch) -> Result<std::result::Result<RecordBatch, Vec<Bad>>> {
        let rows = batch.num_rows();
        let mut arrays = Vec::with_capacity(self.columns.len());
        let mut bad = Vec::new();
        for column in &self.columns {
            match column.convert(batch, rows)? {
                Ok(array) => arrays.push(array),
                Err(mut more) => bad.append(&mut more),
            }
        }
        if !bad.is_empty() {
            return Ok(Err(bad));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options).map(Ok).map_err(arrow_error)
    }
}

impl Column {
    fn convert(&self, batch: &RecordBatch, rows: usize) -> Result<std::result::Result<ArrayRef, Vec<Bad>>> {
        let array = match &self.source {
            Source::Constant(value) => {
                let zeros = arrow::array::PrimitiveArray::<UInt32Type>::from_value(0, rows);
                return take(value, &zeros, None).map(Ok).map_err(arrow_error);
            }
            Source::Input(index, plan) => match convert(plan, batch.column(*index), &self.name)? {
                Ok(array) => array,
                Err(bad) => return Ok(Err(bad)),
            },
        };
        let mut bad = Vec::new();
        if self.required && array.logical_null_count() > 0 {
            bad.extend((0..rows).filter(|row| array.is_null(*row)).map(|row| Bad::null(row, &self.name)));
        }
        if self.calendar {
            bad.extend(self.outside_calendar(&array));
        }
        Ok(if bad.is_empty() { Ok(array) } else { Err(bad) })
    }

    fn outside_calendar(&self, array: &ArrayRef) -> Vec<Bad> {
        let micros = array.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().reinterpret_cast::<Int64Type>();
        let fits = |micros: i64| (-CALENDAR_MICROS..=CALENDAR_MICROS).contains(&micros);
        match (min(&micros), max(&micros)) {
            (Some(least), Some(most)) if !(fits(least) && fits(most)) => {}
            _ => return Vec::new(),
        }
        let outside = (0..micros.len()).filter(|row| micros.is_valid(*row) && !fits(micros.value(*row)));
        let reason = |row| {
            format!(
                "column '{}': {} microseconds from 1970 is no date that can be partitioned by",
                self.name,
                micros.value(row)
            )
        };
        outside.map(|row| Bad { row, reason: reason(row) }).collect()
    }
}

fn source(input: &Schema, field: &NestedFieldRef, target: &Field) -> std::result::Result<Source, Vec<String>> {
    match input.column_with_name(&field.name) {
        Some((index, found)) => Plan::new(found, target, field, &field.name).map(|plan| Source::Input(index, plan)),
        None => missing(field, target, &field.name).map(Source::Constant),
    }
}

/// The value of a column (or struct field) that the input does not have.
fn missing(field: &NestedFieldRef, target: &Field, name: &str) -> std::result::Result<ArrayRef, Vec<String>> {
    match &field.write_default {
        Some(value) => default::array(value, target.data_type())
            .ok_or_else(|| vec![format!("column '{name}' has a default of a kind that is not written")]),
        None if field.required => Err(vec![format!("the required column '{name}' ({}) is missing", field.field_type)]),
        None => Ok(new_null_array(target.data_type(), 1)),
    }
}

#[cfg(test)]
mod tests;
