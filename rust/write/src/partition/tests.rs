use arrow::array::{
    BinaryArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Int32Array, Int64Array, StringArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray,
};
use arrow::datatypes::{Field as ArrowField, Schema as ArrowSchema};
use iceberg::spec::Datum;

use super::*;
use crate::Fitter;
use crate::testing::{read, sink, table, write};

fn columns() -> Vec<(&'static str, ArrayRef)> {
    let longs = [Some(-1), None, Some(34), Some(0), Some(1_793_500_000_123_456), Some(-86_400_000_001)];
    let fixed = [Some([1_u8; 16]), None, Some([255; 16]), Some([0; 16]), Some([7; 16]), Some([9; 16])];
    vec![
        (
            "int",
            Arc::new(Int32Array::from(vec![Some(-1), None, Some(34), Some(0), Some(i32::MAX), Some(i32::MIN)]))
                as ArrayRef,
        ),
        ("long", Arc::new(Int64Array::from(longs.to_vec()))),
        (
            "decimal",
            Arc::new(
                Decimal128Array::from_iter(longs.map(|v| v.map(i128::from))).with_precision_and_scale(20, 2).unwrap(),
            ),
        ),
        ("date", Arc::new(Date32Array::from(vec![Some(-1), None, Some(20_758), Some(0), Some(365), Some(-400)]))),
        (
            "time",
            Arc::new(Time64MicrosecondArray::from(vec![
                Some(0),
                None,
                Some(1),
                Some(86_399_999_999),
                Some(2),
                Some(3),
            ])),
        ),
        ("ts", Arc::new(TimestampMicrosecondArray::from(longs.to_vec()))),
        ("tstz", Arc::new(TimestampMicrosecondArray::from(longs.to_vec()).with_timezone("UTC"))),
        ("tsns", Arc::new(TimestampNanosecondArray::from(longs.to_vec()))),
        (
            "string",
            Arc::new(StringArray::from(vec![
                Some("iceberg"),
                None,
                Some(""),
                Some("äöü"),
                Some("iceland"),
                Some("x/y"),
            ])),
        ),
        (
            "binary",
            Arc::new(BinaryArray::from(vec![
                Some(b"ab".as_slice()),
                None,
                Some(b""),
                Some(b"abcdef"),
                Some(b"\xff\xff"),
                Some(b"abd"),
            ])),
        ),
        ("fixed", Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(fixed.into_iter(), 16).unwrap())),
    ]
}

fn allowed(transform: &str, column: &str) -> bool {
    let time = ["ts", "tstz", "tsns"].contains(&column);
    match transform {
        "year" | "month" | "day" => time || column == "date",
        "hour" => time,
        "truncate" => ["int", "long", "decimal", "string", "binary"].contains(&column),
        _ => true,
    }
}

/// The partition value of one source value by Iceberg's transform of single values.
fn expected(transform: &Transform, source: &ArrayRef, row: usize, source_type: &Type) -> Option<Literal> {
    let literal = arrow_primitive_to_literal(&source.slice(row, 1), source_type).unwrap().remove(0)?;
    let primitive = source_type.as_primitive_type().unwrap().clone();
    // Through the single-value bytes: a literal has no public way into a datum.
    let datum = match literal.as_primitive_literal().unwrap() {
        iceberg::spec::PrimitiveLiteral::Int(v) => Datum::try_from_bytes(&v.to_le_bytes(), primitive),
        iceberg::spec::PrimitiveLiteral::Long(v) => Datum::try_from_bytes(&v.to_le_bytes(), primitive),
        iceberg::spec::PrimitiveLiteral::Int128(v) => Datum::try_from_bytes(&v.to_be_bytes(), primitive),
        iceberg::spec::PrimitiveLiteral::UInt128(v) => Datum::try_from_bytes(&v.to_be_bytes(), primitive),
        iceberg::spec::PrimitiveLiteral::String(v) => Datum::try_from_bytes(v.as_bytes(), primitive),
        // The crate does not truncate single binary values.
        iceberg::spec::PrimitiveLiteral::Binary(v) if matches!(transform, Transform::Truncate(_)) => {
            return Some(Literal::binary(v.into_iter().take(3)));
        }
        iceberg::spec::PrimitiveLiteral::Binary(v) => Datum::try_from_bytes(&v, primitive),
        other => panic!("{other:?}"),
    };
    let function = create_transform_function(transform).unwrap();
    function.transform_literal(&datum.unwrap()).unwrap().map(|datum| Literal::Primitive(datum.literal().clone()))
}

#[tokio::test]
async fn every_transform_groups_rows_as_icebergs_single_values_say() {
    for (column, array) in columns() {
        for transform in ["identity", "bucket", "truncate", "year", "month", "day", "hour", "void"] {
            if !allowed(transform, column) {
                continue;
            }
            let text = match transform {
                "bucket" => format!("bucket(5, {column})"),
                "truncate" => format!("truncate(3, {column})"),
                _ => format!("{transform}({column})"),
            };
            let schema = Arc::new(ArrowSchema::new(vec![
                ArrowField::new(column, array.data_type().clone(), true),
                ArrowField::new("row", DataType::Int32, false),
            ]));
            let batch = RecordBatch::try_new(schema, vec![array.clone(), Arc::new(Int32Array::from_iter_values(0..6))])
                .unwrap();
            let mut sink = sink(&[&text], &[], &[]);
            sink.format_version = Some(3);
            let table = table(&sink, &batch.schema());
            let fitted = Fitter::new(&batch.schema(), &table).unwrap().fit(&batch).unwrap().batch;
            let source_type = table.metadata().current_schema().field_by_id(1).unwrap().field_type.as_ref().clone();
            let kind = table.metadata().default_partition_spec().fields()[0].transform;
            let written = write(&table, &[batch.slice(0, 4), batch.slice(4, 2)]).await;
            let mut seen = 0;
            for file in &written.files {
                assert_eq!(file.partition().fields().len(), 1);
                for rows in read(&table, file).await {
                    for row in rows.column(1).as_primitive::<Int32Type>().values() {
                        let value = expected(&kind, fitted.column(0), *row as usize, &source_type);
                        assert_eq!(file.partition().fields()[0], value, "{text}, row {row}");
                        seen += 1;
                    }
                }
            }
            assert_eq!(seen, 6, "{text}");
            let mut values: Vec<_> = written.files.iter().map(|file| format!("{:?}", file.partition())).collect();
            values.sort();
            values.dedup();
            assert_eq!(values.len(), written.files.len(), "{text}: one file for each partition");
        }
    }
}

#[tokio::test]
async fn a_batch_of_one_partition_is_recognised_and_a_mixed_one_is_not() {
    let day = 86_400_000_000_i64;
    let schema = ArrowSchema::new(vec![ArrowField::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true)]);
    let table = table(&sink(&["day(ts)"], &[], &[]), &schema);
    let layout = Layout::new(table.metadata().current_schema()).unwrap();
    let mut partitioner =
        Partitioner::new(table.metadata().default_partition_spec(), table.metadata().current_schema(), &layout)
            .unwrap();
    let mut partitions = Vec::new();
    let mut single = |values: Vec<Option<i64>>| {
        let array = Arc::new(TimestampMicrosecondArray::from(values));
        partitioner.single(&RecordBatch::try_new(layout.arrow.clone(), vec![array]).unwrap(), &mut partitions).unwrap()
    };
    assert_eq!(single(vec![Some(day), Some(2 * day - 1), Some(day + 5)]), Some(0));
    assert_eq!(single(vec![Some(-1), Some(-day)]), Some(1));
    assert_eq!(single(vec![None, None]), Some(2));
    assert_eq!(single(vec![Some(day + 7)]), Some(0));
    assert_eq!(single(vec![Some(day - 1), Some(day)]), None);
    assert_eq!(single(vec![Some(day), None]), None);
    assert_eq!(partitions[1].path, "ts_day=1969-12-31");
    assert_eq!(partitions[2].path, "ts_day=null");
}
