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

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
    use frazil_model::{Decode, Record};
    use serde_json::json;

    use super::*;
    use crate::Decoder;

    #[test]
    fn metadata_follows_the_records_that_became_rows() {
        let decode: Decode = serde_json::from_value(json!({
            "json": {"schema": {"v": "int"}},
            "metadata": {"topic": "k_topic", "partition": "k_part", "offset": "k_off", "timestamp": "k_ts", "key": "k_key", "headers": "k_head"},
        }))
        .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut decoder = runtime.block_on(Decoder::open(&decode, &[], None, None)).unwrap();
        let mut records = Records::default();
        let header = |key: &str, value: Option<&[u8]>| (key.to_owned(), value.map(<[u8]>::to_vec));
        for (topic, partition, offset, value, timestamp, headers) in [
            ("a", 0, 5, "{\"v\": 1}", Some(-1), vec![header("x", Some(b"1")), header("x", None)]),
            ("a", 0, 9, "bad", Some(7), vec![header("lost", None)]),
            ("a", 2, 0, "{}", None, vec![]),
            ("b", 0, 1, "{\"v\": 2}", Some(i64::MAX), vec![header("y", Some(b""))]),
        ] {
            let key = (partition == 0).then_some(b"key".as_slice());
            records
                .push(
                    &topic.into(),
                    partition,
                    Record { value: Some(value.as_bytes()), key, offset, timestamp },
                    headers,
                )
                .unwrap();
        }
        let decoded = decoder.decode(&records).unwrap();
        assert_eq!(decoded.rows.as_deref(), Some([0, 2, 3].as_slice()));
        assert_eq!(decoded.batch.schema(), decoder.schema());
        let column = |name: &str| decoded.batch.column_by_name(name).unwrap().clone();
        assert_eq!(column("k_topic").as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "a", "b"]);
        assert_eq!(column("k_part").as_primitive::<Int32Type>().values(), &[0, 2, 0]);
        assert_eq!(column("k_off").as_primitive::<Int64Type>().values(), &[5, 0, 1]);
        assert_eq!(
            column("k_ts").as_primitive::<TimestampMicrosecondType>().iter().collect::<Vec<_>>(),
            [Some(-1000), None, None]
        );
        assert_eq!(
            column("k_key").as_binary::<i32>().iter().collect::<Vec<_>>(),
            [Some(b"key".as_slice()), None, Some(b"key")]
        );
        let headers = column("k_head");
        let lengths: Vec<usize> = (0..3).map(|row| headers.as_list::<i32>().value(row).len()).collect();
        assert_eq!(lengths, [2, 0, 1]);
        let first = headers.as_list::<i32>().value(0);
        assert_eq!(
            first.as_struct().column(1).as_binary::<i32>().iter().collect::<Vec<_>>(),
            [Some(b"1".as_slice()), None]
        );
    }

    #[test]
    fn a_decoder_can_be_handed_to_a_thread() {
        fn sendable<T: Send>() {}
        sendable::<Decoder>();
    }
}
