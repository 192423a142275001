//! Arrow types → Iceberg types of a new table.

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use frazil_model::{Error, ErrorKind, Result};
use iceberg::spec::{ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, StructType, Type};

const UUID_EXTENSION: &str = "arrow.uuid";
const EXTENSION_KEY: &str = "ARROW:extension:name";

/// Gives fresh field ids as Iceberg does for a new table: all fields of a struct first, then what is inside them.
pub(crate) struct FreshSchema {
    next_id: i32,
    nanoseconds: bool,
}

impl FreshSchema {
    /// `nanoseconds`: whether the table's format has nanosecond timestamps (version 3).
    pub(crate) fn new(nanoseconds: bool) -> Self {
        FreshSchema { next_id: 1, nanoseconds }
    }

    fn id(&mut self) -> i32 {
        self.next_id += 1;
        self.next_id - 1
    }

    pub(crate) fn fields(&mut self, fields: &Fields, path: &str) -> Result<Vec<NestedFieldRef>> {
        let ids: Vec<i32> = fields.iter().map(|_| self.id()).collect();
        fields
            .iter()
            .zip(ids)
            .map(|(field, id)| {
                let inner = if path.is_empty() { field.name().clone() } else { format!("{path}.{}", field.name()) };
                let mut nested =
                    NestedField::new(id, field.name(), self.field_type(field, &inner)?, !field.is_nullable());
                if let Some(doc) = field.metadata().get("doc") {
                    nested = nested.with_doc(doc);
                }
                Ok(nested.into())
            })
            .collect()
    }

    fn field_type(&mut self, field: &Field, path: &str) -> Result<Type> {
        if field.metadata().get(EXTENSION_KEY).is_some_and(|name| name == UUID_EXTENSION) {
            return Ok(Type::Primitive(PrimitiveType::Uuid));
        }
        Ok(match field.data_type() {
            DataType::Struct(fields) => Type::Struct(StructType::new(self.fields(fields, path)?)),
            DataType::List(element)
            | DataType::LargeList(element)
            | DataType::ListView(element)
            | DataType::LargeListView(element)
            | DataType::FixedSizeList(element, _) => {
                let id = self.id();
                let inner = self.field_type(element, &format!("{path}.element"))?;
                Type::List(ListType::new(NestedField::list_element(id, inner, !element.is_nullable()).into()))
            }
            DataType::Map(entries, _) => {
                let DataType::Struct(pair) = entries.data_type() else {
                    return Err(unsupported(path, field.data_type()));
                };
                let [key, value] = pair.as_ref() else { return Err(unsupported(path, field.data_type())) };
                let (key_id, value_id) = (self.id(), self.id());
                let key_type = self.field_type(key, &format!("{path}.key"))?;
                let value_type = self.field_type(value, &format!("{path}.value"))?;
                Type::Map(MapType::new(
                    NestedField::map_key_element(key_id, key_type).into(),
                    NestedField::map_value_element(value_id, value_type, !value.is_nullable()).into(),
                ))
            }
            DataType::Dictionary(_, values) => Type::Primitive(self.primitive(values, path)?),
            other => Type::Primitive(self.primitive(other, path)?),
        })
    }

    fn primitive(&self, data_type: &DataType, path: &str) -> Result<PrimitiveType> {
        Ok(match data_type {
            DataType::Boolean => PrimitiveType::Boolean,
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
                PrimitiveType::Int
            }
            DataType::Int64 | DataType::UInt32 => PrimitiveType::Long,
            // The smallest Iceberg type that holds every value of it.
            DataType::UInt64 => PrimitiveType::Decimal { precision: 20, scale: 0 },
            DataType::Float16 | DataType::Float32 => PrimitiveType::Float,
            DataType::Float64 => PrimitiveType::Double,
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
            | DataType::Decimal256(precision, scale)
                if *precision <= 38 && *scale >= 0 =>
            {
                PrimitiveType::Decimal { precision: u32::from(*precision), scale: scale.unsigned_abs().into() }
            }
            DataType::Date32 | DataType::Date64 => PrimitiveType::Date,
            DataType::Time32(_) | DataType::Time64(_) => PrimitiveType::Time,
            DataType::Timestamp(TimeUnit::Nanosecond, None) if self.nanoseconds => PrimitiveType::TimestampNs,
            DataType::Timestamp(TimeUnit::Nanosecond, Some(_)) if self.nanoseconds => PrimitiveType::TimestamptzNs,
            DataType::Timestamp(_, None) => PrimitiveType::Timestamp,
            DataType::Timestamp(_, Some(_)) => PrimitiveType::Timestamptz,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => PrimitiveType::String,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => PrimitiveType::Binary,
            DataType::FixedSizeBinary(width) => PrimitiveType::Fixed(width.unsigned_abs().into()),
            DataType::Null => {
                return Err(Error::new(
                    ErrorKind::Schema,
                    format!(
                        "column '{path}' is always null and so has no type: cast it in the transform, or create the table first"
                    ),
                ));
            }
            other => return Err(unsupported(path, other)),
        })
    }
}

fn unsupported(path: &str, data_type: &DataType) -> Error {
    Error::new(
        ErrorKind::Schema,
        format!("column '{path}' has type {data_type}, which Iceberg does not have: cast it in the transform"),
    )
}
