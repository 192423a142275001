//! The table of Avro types and the Arrow types that their columns get, all of which Iceberg has.
//!
//! | Avro | Arrow | Iceberg |
//! |---|---|---|
//! | boolean, int, long, float, double, string, bytes | Boolean, Int32, Int64, Float32, Float64, Utf8, Binary | the same, `binary` for bytes |
//! | fixed(n); duration | FixedSizeBinary(n) | fixed(n) |
//! | uuid on string or fixed(16) | FixedSizeBinary(16), extension `arrow.uuid` | fixed(16) or uuid |
//! | enum | Utf8 | string |
//! | decimal(p, s) on bytes or fixed, p ≤ 38 | Decimal128(p, s) | decimal(p, s) |
//! | date | Date32 | date |
//! | time-millis, time-micros | Time64(µs) | time |
//! | timestamp-millis, timestamp-micros | Timestamp(µs, +00:00) | timestamptz |
//! | local-timestamp-millis, -micros | Timestamp(µs) | timestamp |
//! | timestamp-nanos, local-timestamp-nanos | Timestamp(ns, +00:00), Timestamp(ns) | timestamptz_ns, timestamp_ns (format version 3) |
//! | array, map, record | List, Map, Struct | list, map, struct |
//! | union of null and T, in either order | T, nullable | optional T |
//!
//! Other unions, null alone, records within themselves or without fields, and decimals of more digits are refused.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use frazil_model::{Error, ErrorKind, Result};

use super::schema::{Kind, Logical, Schema};
use crate::convert::{UTC, list_of, map_of};

/// The columns of a record.
pub(super) fn columns(schema: &Schema) -> Result<Fields> {
    match &schema.kind {
        Kind::Record(_, fields) => {
            fields.iter().map(|field| column(&field.name, &field.name, &field.schema).map(Arc::new)).collect()
        }
        _ => Err(Error::new(
            ErrorKind::Schema,
            format!("expected an Avro record, whose fields become columns, found {}", schema.describe()),
        )),
    }
}

fn column(path: &str, name: &str, schema: &Schema) -> Result<Field> {
    if let Some((_, inner)) = schema.nullable() {
        return Ok(column(path, name, inner)?.with_nullable(true));
    }
    let unsupported = |why: &str| {
        let message = format!("field '{path}': {} has no Iceberg type: {why}", schema.describe());
        Err(Error::new(ErrorKind::Unsupported, message))
    };
    let data_type = match (&schema.kind, schema.logical) {
        (_, Some(Logical::Date)) => DataType::Date32,
        (_, Some(Logical::TimeMillis | Logical::TimeMicros)) => DataType::Time64(TimeUnit::Microsecond),
        (_, Some(Logical::TimestampMillis | Logical::TimestampMicros)) => {
            DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))
        }
        (_, Some(Logical::TimestampNanos)) => DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into())),
        (_, Some(Logical::LocalTimestampMillis | Logical::LocalTimestampMicros)) => {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        }
        (_, Some(Logical::LocalTimestampNanos)) => DataType::Timestamp(TimeUnit::Nanosecond, None),
        (_, Some(Logical::Decimal { precision, scale })) if precision <= 38 => {
            DataType::Decimal128(precision, scale as i8)
        }
        (_, Some(Logical::Decimal { .. })) => return unsupported("decimals have at most 38 digits"),
        (_, Some(Logical::Uuid)) => {
            let extension = HashMap::from([("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())]);
            return Ok(Field::new(name, DataType::FixedSizeBinary(16), false).with_metadata(extension));
        }
        (Kind::Boolean, None) => DataType::Boolean,
        (Kind::Int, None) => DataType::Int32,
        (Kind::Long, None) => DataType::Int64,
        (Kind::Float, None) => DataType::Float32,
        (Kind::Double, None) => DataType::Float64,
        (Kind::String | Kind::Enum(..), None) => DataType::Utf8,
        (Kind::Bytes, None) => DataType::Binary,
        (Kind::Fixed(_, 0), None) => return unsupported("it has no bytes"),
        (Kind::Fixed(_, size), None) => {
            DataType::FixedSizeBinary(i32::try_from(*size).expect("the parser limits it to i32"))
        }
        (Kind::Array(items), None) => list_of(column(&format!("{path}.element"), "element", items)?),
        (Kind::Map(values), None) => {
            map_of(Field::new("key", DataType::Utf8, false), column(&format!("{path}.value"), "value", values)?)
        }
        (Kind::Record(_, fields), None) if fields.is_empty() => return unsupported("it has no fields"),
        (Kind::Record(_, fields), None) => {
            let fields = fields
                .iter()
                .map(|field| column(&format!("{path}.{}", field.name), &field.name, &field.schema).map(Arc::new));
            DataType::Struct(fields.collect::<Result<_>>()?)
        }
        (Kind::Union(_), None) => {
            return unsupported(
                "only unions of null and one more type can be columns; give a 'schema' without the field to leave it out",
            );
        }
        (Kind::Null, None) => {
            return unsupported("it never has a value; give a 'schema' without the field to leave it out");
        }
        (Kind::Recursive(_), None) => {
            return unsupported("a type cannot hold itself; give a 'schema' without the field to leave it out");
        }
    };
    Ok(Field::new(name, data_type, false))
}
