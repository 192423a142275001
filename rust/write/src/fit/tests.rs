use arrow::array::{
    Float64Array, Int32Array, Int64Array, LargeStringArray, ListArray, StringArray, StructArray,
    TimestampMillisecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{Fields, Int32Type, TimestampMicrosecondType};

use super::*;
use crate::testing::{expect_error, sink, table};

fn field(name: &str, data_type: DataType, nullable: bool) -> Field {
    Field::new(name, data_type, nullable)
}

fn point() -> Fields {
    Fields::from(vec![field("x", DataType::Int32, false), field("label", DataType::Utf8, true)])
}

fn target() -> Schema {
    Schema::new(vec![
        field("id", DataType::Int32, false),
        field("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        field("name", DataType::Utf8, true),
        field("point", DataType::Struct(point()), true),
        field("points", DataType::List(field("element", DataType::Struct(point()), true).into()), true),
        field("price", DataType::Float32, true),
    ])
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn fit(batch: &RecordBatch) -> Fitted {
    let table = table(&sink(&[], &[], &[]), &target());
    Fitter::new(&batch.schema(), &table).unwrap().fit(batch).unwrap()
}

#[tokio::test]
async fn columns_come_by_name_types_widen_and_missing_ones_are_null() {
    let fitted = fit(&batch(vec![
        ("name", Arc::new(LargeStringArray::from(vec!["a", "b"]))),
        ("id", Arc::new(Int64Array::from(vec![1, 2]))),
        ("ts", Arc::new(TimestampMillisecondArray::from(vec![Some(5), None]))),
    ]));
    assert!(fitted.rows.is_none() && fitted.rejected.is_empty());
    let batch = fitted.batch;
    assert_eq!(batch.column(0).as_primitive::<Int32Type>().values(), &[1, 2]);
    assert_eq!(batch.column(1).as_primitive::<TimestampMicrosecondType>().value(0), 5000);
    assert_eq!(batch.column(2).as_string::<i32>().value(1), "b");
    assert_eq!(batch.column(3).null_count() + batch.column(4).null_count() + batch.column(5).null_count(), 6);
    assert_eq!(batch.schema().field(0).metadata()["PARQUET:field_id"], "1");
}

#[tokio::test]
async fn rows_that_do_not_fit_are_refused_and_their_neighbours_kept() {
    let fitted = fit(&batch(vec![
        ("id", Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(1 << 40), Some(5), Some(6)]))),
        ("ts", Arc::new(TimestampNanosecondArray::from(vec![1000, 1000, 1001, 1000, i64::MAX, 2000]))),
        ("price", Arc::new(Float64Array::from(vec![0.1, 0.1, 0.1, 0.1, 0.1, 1e300]))),
    ]));
    assert_eq!(fitted.rows, Some(vec![0]));
    assert_eq!(fitted.batch.column(0).as_primitive::<Int32Type>().values(), &[1]);
    let reasons: Vec<_> = fitted.rejected.iter().map(|rejected| (rejected.row, rejected.reason.as_str())).collect();
    assert_eq!(reasons.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(reasons[0].1, "column 'id' is required but null");
    assert!(
        reasons[1].1.starts_with("column 'ts': \"1970-01-01T00:00:00.000001001\" does not fit into Timestamp"),
        "{}",
        reasons[1].1
    );
    assert_eq!(reasons[2].1, "column 'id': \"1099511627776\" does not fit into Int32");
    assert!(reasons[4].1.starts_with("column 'price': "));
    assert!(fitted.rejected.iter().all(|rejected| rejected.stage == Stage::Fit));
}

fn points(xs: Vec<Option<i64>>, nulls: Option<Vec<bool>>) -> StructArray {
    let fields = Fields::from(vec![field("x", DataType::Int64, true)]);
    StructArray::new(fields, vec![Arc::new(Int64Array::from(xs))], nulls.map(NullBuffer::from))
}

#[tokio::test]
async fn values_inside_structs_and_lists_are_checked_by_row() {
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3, 4]));
    // Row 1: a null where the struct itself is null is no fault. Row 2: a required field is null.
    let inner = points(vec![Some(1), None, None, Some(4)], Some(vec![true, false, true, true]));
    let elements = points(vec![Some(1), Some(2), Some(3), Some(1 << 40)], None);
    let element = field("item", elements.data_type().clone(), true);
    let list = ListArray::new(element.into(), OffsetBuffer::from_lengths([2, 0, 1, 1]), Arc::new(elements), None);
    let input = batch(vec![("id", ids.clone()), ("point", Arc::new(inner)), ("points", Arc::new(list))]);
    let fitted = fit(&input);
    assert_eq!(fitted.rows, Some(vec![0, 1]));
    assert_eq!(fitted.rejected[0].reason, "column 'point.x' is required but null");
    assert_eq!(fitted.rejected[1].reason, "column 'points.element.x': \"1099511627776\" does not fit into Int32");
    assert!(fitted.batch.column(3).is_null(1));
    // A slice sees its own rows only.
    let slice = fit(&input.slice(0, 2));
    assert!(slice.rejected.is_empty(), "{:?}", slice.rejected);
    assert_eq!(slice.batch.column(4).as_list::<i32>().value(0).len(), 2);
    assert_eq!(fit(&input.slice(3, 1)).rejected[0].row, 0);
}

#[tokio::test]
async fn everything_that_does_not_fit_is_listed_at_once() {
    let table = table(&sink(&[], &[], &[]), &target());
    let input = Schema::new(vec![
        field("nmae", DataType::Utf8, true),
        field("ts", DataType::Utf8, true),
        field("point", DataType::Struct(vec![field("y", DataType::Int32, true)].into()), true),
    ]);
    let error = Fitter::new(&input, &table).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    for part in [
        "the table has no column 'nmae', did you mean 'name'?",
        "the required column 'id' (int) is missing",
        "column 'ts' is Utf8 and cannot become the table's timestamp",
        "the table has no column 'point.y'",
        "the required column 'point.x' (int) is missing",
    ] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
}

#[tokio::test]
async fn a_zone_is_never_guessed_and_unsigned_longs_are_decimals() {
    let table = table(&sink(&[], &[], &[]), &target());
    let zoned = Schema::new(vec![
        field("id", DataType::Int32, false),
        field("ts", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ]);
    expect_error(Fitter::new(&zoned, &table), ErrorKind::Schema, "column 'ts'");

    let unsigned = batch(vec![("n", Arc::new(UInt64Array::from(vec![u64::MAX, 0])))]);
    let table = crate::testing::table(&sink(&[], &[], &[]), &unsigned.schema());
    let fitted = Fitter::new(&unsigned.schema(), &table).unwrap().fit(&unsigned).unwrap();
    let decimals = fitted.batch.column(0).as_primitive::<arrow::datatypes::Decimal128Type>();
    assert_eq!(decimals.value(0), i128::from(u64::MAX));
}

#[tokio::test]
async fn a_date_that_no_calendar_has_does_not_take_its_batch_with_it() {
    let schema = Schema::new(vec![field("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true)]);
    let table = table(&sink(&["day(ts)"], &[], &[]), &schema);
    let values = arrow::array::TimestampMicrosecondArray::from(vec![Some(1), Some(i64::MAX), None, Some(i64::MIN)]);
    let input = RecordBatch::try_new(schema.into(), vec![Arc::new(values)]).unwrap();
    let fitted = Fitter::new(&input.schema(), &table).unwrap().fit(&input).unwrap();
    assert_eq!(fitted.rows, Some(vec![0, 2]));
}

#[tokio::test]
async fn uuids_are_parsed_and_defaults_fill_missing_columns() {
    use iceberg::spec::{Literal, NestedField, PrimitiveType, Type};
    let uuid = NestedField::optional(1, "id", Type::Primitive(PrimitiveType::Uuid));
    let default =
        NestedField::required(2, "n", Type::Primitive(PrimitiveType::Int)).with_write_default(Literal::int(7));
    let schema = iceberg::spec::Schema::builder().with_fields([uuid.into(), default.into()]).build().unwrap();
    let creation = iceberg::TableCreation::builder()
        .name("t".into())
        .location("memory:///t".into())
        .schema(schema)
        .format_version(iceberg::spec::FormatVersion::V3)
        .build();
    let metadata =
        iceberg::spec::TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata;
    let table = Table::builder()
        .file_io(iceberg::io::FileIO::new_with_memory())
        .metadata(metadata)
        .metadata_location("memory:///t/0.json")
        .identifier(iceberg::TableIdent::from_strs(["a", "t"]).unwrap())
        .runtime(iceberg::Runtime::current())
        .build()
        .unwrap();
    let input = batch(vec![(
        "id",
        Arc::new(StringArray::from(vec![Some("67e55044-10b1-426f-9247-bb680e5fe0c8"), Some("x"), None])),
    )]);
    let fitted = Fitter::new(&input.schema(), &table).unwrap().fit(&input).unwrap();
    assert_eq!(fitted.rows, Some(vec![0, 2]));
    assert_eq!(fitted.batch.column(0).as_fixed_size_binary().value(0)[0], 0x67);
    assert_eq!(fitted.batch.column(1).as_primitive::<Int32Type>().values(), &[7, 7]);
}
