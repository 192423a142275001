//! Columns from the Kafka record itself: topic, partition, offset, timestamp, key, headers.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Array, Int64Array, ListArray, StringArray, StringBuilder, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use arrow::error::ArrowError;
use frazil_model::{RecordField, Records};

use crate::convert::{UTC, list_of};
use crate::format::Rows;

/// The column of a record's field.
pub(crate) fn column(field: RecordField, name: &str) -> Field {
    match field {
        RecordField::Topic => Field::new(name, DataType::Utf8, false),
        RecordField::Partition => Field::new(name, DataType::Int32, false),
        RecordField::Offset => Field::new(name, DataType::Int64, false),
        RecordField::Timestamp => Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())), true),
        RecordField::Key => Field::new(name, DataType::Binary, true),
        RecordField::Headers => Field::new(name, list_of(header()), false),
    }
}

fn header() -> Field {
    Field::new("element", DataType::Struct(header_fields()), false)
}

fn header_fields() -> Fields {
    vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Binary, true)].into()
}

/// The values of a record's field for the records that became rows.
pub(crate) fn values(field: RecordField, records: &Records, rows: &Rows) -> Result<ArrayRef, ArrowError> {
    let count = match rows {
        Rows::All => records.len(),
        Rows::Some(rows) => rows.len(),
    };
    let each = || {
        (0..count).map(|at| match rows {
            Rows::All => at,
            Rows::Some(rows) => rows[at] as usize,
        })
    };
    Ok(match field {
        RecordField::Topic | RecordField::Partition => by_run(field, records, each()),
        RecordField::Offset => Arc::new(Int64Array::from_iter_values(each().map(|row| records.offset(row)))),
        RecordField::Timestamp => {
            // Milliseconds that microseconds cannot hold are no time at all; brokers only pass on what producers set.
            let micros = each().map(|row| records.timestamp(row).and_then(|millis| millis.checked_mul(1000)));
            Arc::new(TimestampMicrosecondArray::from_iter(micros).with_timezone(UTC))
        }
        RecordField::Key => {
            let mut keys = BinaryBuilder::new();
            each().for_each(|row| keys.append_option(records.key(row)));
            Arc::new(keys.finish())
        }
        RecordField::Headers => {
            let (mut keys, mut values) = (StringBuilder::new(), BinaryBuilder::new());
            let lengths: Vec<usize> = each().map(|row| records.headers(row).len()).collect();
            for (key, value) in each().flat_map(|row| records.headers(row)) {
                keys.append_value(key);
                values.append_option(value.as_deref());
            }
            let entries =
                StructArray::try_new(header_fields(), vec![Arc::new(keys.finish()), Arc::new(values.finish())], None)?;
            Arc::new(ListArray::try_new(
                Arc::new(header()),
                OffsetBuffer::from_lengths(lengths),
                Arc::new(entries),
                None,
            )?)
        }
    })
}

/// Topics and partitions; a run's rows all have the same, so the run is looked up once.
fn by_run(field: RecordField, records: &Records, rows: impl Iterator<Item = usize>) -> ArrayRef {
    let runs = records.runs();
    let mut at = 0;
    let each = rows.map(move |row| {
        while runs[at].rows.end <= row {
            at += 1;
        }
        &runs[at]
    });
    match field {
        RecordField::Topic => Arc::new(StringArray::from_iter_values(each.map(|run| run.topic.as_ref()))),
        _ => Arc::new(Int32Array::from_iter_values(each.map(|run| run.partition))),
    }
}
