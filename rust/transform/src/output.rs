//! The types that come out: those that Iceberg has, reached without losing anything.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column};
use frazil_model::{Error, Result};

use crate::step::Step;

/// The schema with types that Iceberg has, and the step that casts to it if there is anything to cast. A value that
/// does not fit (a `UInt64` above `i64::MAX`) makes its row a rejected one.
pub(crate) fn normalise(path: &str, schema: &SchemaRef) -> Result<(SchemaRef, Option<Step>)> {
    let mut fields: Vec<FieldRef> = Vec::with_capacity(schema.fields().len());
    let mut exprs: Vec<Arc<dyn PhysicalExpr>> = Vec::with_capacity(schema.fields().len());
    let mut changed = false;
    for (at, field) in schema.fields().iter().enumerate() {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), at));
        let found = field.data_type();
        let wanted =
            wanted(found).map_err(|why| Error::config(path, format!("the column '{}' {why}", field.name())))?;
        if wanted == *found {
            fields.push(field.clone());
            exprs.push(column);
        } else {
            changed = true;
            fields.push(Arc::new(field.as_ref().clone().with_data_type(wanted.clone())));
            exprs.push(Arc::new(CastExpr::new(column, wanted, None)));
        }
    }
    if !changed {
        return Ok((schema.clone(), None));
    }
    let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    Ok((schema.clone(), Some(Step::Project { exprs, schema })))
}

fn wanted(found: &DataType) -> Result<DataType, String> {
    use DataType as T;
    let nested = |field: &FieldRef| -> Result<FieldRef, String> {
        let inner = wanted(field.data_type())?;
        Ok(if inner == *field.data_type() {
            field.clone()
        } else {
            Arc::new(field.as_ref().clone().with_data_type(inner))
        })
    };
    Ok(match found {
        T::Utf8View => T::Utf8,
        T::BinaryView => T::Binary,
        T::Int8 | T::Int16 | T::UInt8 | T::UInt16 => T::Int32,
        T::UInt32 | T::UInt64 => T::Int64,
        T::Float16 => T::Float32,
        T::Decimal32(precision, scale) | T::Decimal64(precision, scale) => T::Decimal128(*precision, *scale),
        T::Date64 => T::Date32,
        T::Time32(_) | T::Time64(TimeUnit::Nanosecond) => T::Time64(TimeUnit::Microsecond),
        T::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, zone) => {
            T::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        T::Dictionary(_, value) => wanted(value)?,
        T::RunEndEncoded(_, value) => wanted(value.data_type())?,
        T::List(item) | T::ListView(item) => T::List(nested(item)?),
        T::LargeList(item) | T::LargeListView(item) => T::LargeList(nested(item)?),
        T::FixedSizeList(item, size) => T::FixedSizeList(nested(item)?, *size),
        T::Struct(fields) => T::Struct(fields.iter().map(nested).collect::<Result<_, _>>()?),
        T::Map(entries, sorted) => T::Map(nested(entries)?, *sorted),
        T::Null => return Err("is always null: give it a type, as in cast(null as bigint)".to_owned()),
        T::Interval(_) | T::Duration(_) => {
            return Err(format!(
                "is of type {found}, which Iceberg does not have: make it a number, as with date_part('epoch', …)"
            ));
        }
        T::Decimal256(..) | T::Union(..) => {
            return Err(format!("is of type {found}, which Iceberg does not have: cast it to one that it has"));
        }
        other => other.clone(),
    })
}
