use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::*;
use crate::testing::{expect_error, sink, table};

fn schema() -> Schema {
    let city = Field::new("city", DataType::Utf8, true);
    Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
        Field::new("price", DataType::Float64, true),
        Field::new("address", DataType::Struct(vec![city].into()), true),
        Field::new("tags", DataType::List(Field::new("item", DataType::Utf8, true).into()), true),
        Field::new("count", DataType::UInt64, true),
    ])
}

#[tokio::test]
async fn a_new_table_has_fresh_ids_partitions_order_and_properties() {
    let asked = sink(&["day(ts)", "bucket(16, id)", "address.city"], &["price desc"], &[("a", "b")]);
    let creation = table_creation(&asked, &schema()).unwrap();
    let id = |name| creation.schema.field_id_by_name(name);
    assert_eq!(
        [id("id"), id("ts"), id("count"), id("address.city"), id("tags.element")],
        [Some(1), Some(2), Some(6), Some(7), Some(8)]
    );
    let primitive = |name| creation.schema.field_by_name(name).unwrap().field_type.as_primitive_type().unwrap().clone();
    assert_eq!(primitive("ts"), PrimitiveType::Timestamptz);
    assert_eq!(primitive("count"), PrimitiveType::Decimal { precision: 20, scale: 0 });
    assert!(creation.schema.field_by_name("id").unwrap().required);
    let spec = creation.partition_spec.clone().unwrap();
    let fields: Vec<_> =
        spec.fields().iter().map(|field| (field.source_id, field.name.as_str(), field.transform)).collect();
    assert_eq!(
        fields,
        [
            (2, "ts_day", Transform::Day),
            (1, "id_bucket", Transform::Bucket(16)),
            (7, "address.city", Transform::Identity)
        ]
    );
    let order = creation.sort_order.clone().unwrap();
    assert_eq!(
        (order.order_id, order.fields[0].direction, order.fields[0].null_order),
        (1, SortDirection::Descending, NullOrder::Last)
    );
    assert_eq!(creation.properties["write.parquet.compression-codec"], "zstd");
    assert_eq!(creation.properties["a"], "b");
    assert_eq!(creation.name, "events");
    table(&asked, &schema());
}

#[test]
fn what_does_not_fit_is_named_with_its_path() {
    let complain = |sink: &Sink, text| expect_error(table_creation(sink, &schema()), ErrorKind::Config, text);
    complain(&sink(&["day(tz)"], &[], &[]), "sink.partition_by[0]: no column 'tz', did you mean 'ts'?");
    complain(
        &sink(&["id", "day(price)"], &[], &[]),
        "sink.partition_by[1]: 'day(price)' needs a date or timestamp, but column 'price' is a double",
    );
    complain(&sink(&["bucket(4, price)"], &[], &[]), "sink.partition_by[0]: 'bucket(4, price)' needs an int, long");
    complain(&sink(&["address"], &[], &[]), "sink.partition_by[0]: 'address' needs a single value");
    complain(&sink(&[], &["idd"], &[]), "sink.sort_by[0]: no column 'idd', did you mean 'id'?");
    complain(&sink(&[], &["tags"], &[]), "sink.sort_by[0]: 'tags' is a list");
    complain(&sink(&[], &[], &[("format-version", "3")]), "use sink.format_version");
}

#[test]
fn partitions_by_a_uuid_itself_are_refused_before_a_table_is_made() {
    let uuid = Field::new("uid", DataType::FixedSizeBinary(16), true);
    let uuid = uuid.with_metadata([("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())].into());
    let schema = Schema::new(vec![uuid]);
    let refused = table_creation(&sink(&["uid"], &[], &[]), &schema);
    expect_error(refused, ErrorKind::Unsupported, "sink.partition_by[0]: partitions by the uuid 'uid' itself");
    table_creation(&sink(&["bucket(4, uid)"], &[], &[]), &schema).unwrap();
}

#[test]
fn nanoseconds_need_version_3() {
    let schema = Schema::new(vec![Field::new("ts", DataType::Timestamp(TimeUnit::Nanosecond, None), true)]);
    let mut sink = sink(&[], &[], &[]);
    let ts =
        |sink: &Sink| table_creation(sink, &schema).unwrap().schema.field_by_name("ts").unwrap().field_type.to_string();
    assert_eq!(ts(&sink), "timestamp");
    sink.format_version = Some(3);
    assert_eq!(ts(&sink), "timestamp_ns");
}

#[tokio::test]
async fn a_table_that_is_partitioned_otherwise_is_refused_with_both_sides() {
    let existing = table(&sink(&["day(ts)"], &["price desc"], &[]), &schema());
    check_sink(&sink(&["day(ts)"], &["price desc"], &[]), &existing).unwrap();
    check_sink(&sink(&[], &[], &[]), &existing).unwrap();
    let refuse = |sink: &Sink, text| expect_error(check_sink(sink, &existing), ErrorKind::Config, text);
    refuse(
        &sink(&["hour(ts)"], &[], &[]),
        "sink.partition_by: expected hour(ts), but table 'shop.events' is partitioned by day(ts)",
    );
    refuse(
        &sink(&[], &["price"], &[]),
        "expected price ascending nulls first, but table 'shop.events' is sorted by price descending nulls last",
    );
    let mut three = sink(&[], &[], &[]);
    three.format_version = Some(3);
    refuse(&three, "expected version 3, but table 'shop.events' has 2");
}
