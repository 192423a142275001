//! Columns inferred from the first records: integers → long, other numbers → double, true and false → boolean, text
//! (dates and times too) → string, objects → struct, arrays → list; a mix of these → string where that can be.
//!
//! A member that never has a value gets no column. Bad records are passed over here; decoding rejects them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};
use arrow::json::reader::infer_json_schema_from_iterator;
use frazil_model::{Error, ErrorKind, Records, Result};
use serde_json::Value;

use crate::convert::list_of;

/// The columns of the first `most` objects.
pub(super) fn columns(sample: &Records, most: usize) -> Result<Fields> {
    let objects = (0..sample.len())
        .filter_map(|row| serde_json::from_slice::<Value>(sample.value(row)?).ok().filter(Value::is_object))
        .take(most);
    let schema = infer_json_schema_from_iterator(objects.map(Ok)).map_err(|error| {
        Error::new(
            ErrorKind::Schema,
            "the first records do not agree on their columns: declare them in decode.json.schema",
        )
        .caused_by(error)
    })?;
    let fields: Fields = schema.fields().iter().filter_map(|field| known(field)).collect();
    if fields.is_empty() {
        let message = format!(
            "there is no JSON object with a value among the first {} records to infer columns from: declare them in decode.json.schema",
            sample.len()
        );
        return Err(Error::new(ErrorKind::Schema, message));
    }
    Ok(fields)
}

/// The field without parts whose type is not known.
fn known(field: &Field) -> Option<Field> {
    let data_type = match field.data_type() {
        DataType::Null => return None,
        DataType::List(element) => list_of(known(&Field::clone(element).with_name("element"))?),
        DataType::Struct(fields) => {
            let fields: Fields = fields.iter().filter_map(|field| known(field).map(Arc::new)).collect();
            if fields.is_empty() {
                return None;
            }
            DataType::Struct(fields)
        }
        other => other.clone(),
    };
    Some(Field::new(field.name(), data_type, true))
}
