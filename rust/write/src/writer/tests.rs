use std::collections::BTreeSet;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Int64Type, Schema};
use futures::TryStreamExt;
use iceberg::spec::{Datum, Literal};

use super::*;
use crate::testing::{by_directory, expect_error, footer, options, read, sink, table, write};
use crate::{Fitter, testing};

fn rows(range: std::ops::Range<i64>, shards: i64) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("shard", DataType::Int64, false),
        Field::new("text", DataType::Utf8, true),
    ]);
    let texts: Vec<String> = range.clone().map(|id| format!("{:0>100}", id * 7_919)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(range.clone())),
        Arc::new(Int64Array::from_iter_values(range.map(|id| id % shards))),
        Arc::new(StringArray::from(texts)),
    ];
    RecordBatch::try_new(schema.into(), columns).unwrap()
}

async fn ids(table: &Table, files: &[DataFile]) -> Vec<i64> {
    let mut ids = Vec::new();
    for file in files {
        for batch in read(table, file).await {
            ids.extend_from_slice(batch.column(0).as_primitive::<Int64Type>().values());
        }
    }
    ids
}

#[tokio::test]
async fn metrics_of_a_mixed_schema_are_what_iceberg_expects() {
    let inner = Fields::from(vec![
        Field::new("city", DataType::Utf8, true),
        Field::new("temperature", DataType::Float64, true),
    ]);
    let schema = Schema::new(vec![
        Field::new("n", DataType::Int32, true),
        Field::new("f", DataType::Float64, true),
        Field::new("s", DataType::Utf8, true),
        Field::new("place", DataType::Struct(inner.clone()), true),
        Field::new("list", DataType::List(Field::new("element", DataType::Int32, true).into()), true),
        Field::new("price", DataType::Decimal128(9, 2), true),
        Field::new("none", DataType::Utf8, true),
    ]);
    let place = StructArray::new(
        inner,
        vec![
            Arc::new(StringArray::from(vec![Some("Oslo"), None, Some("Bern")])),
            Arc::new(Float64Array::from(vec![f64::NAN, f64::NAN, -1.5])),
        ],
        Some(NullBuffer::from(vec![true, false, true])),
    );
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    let list = ListArray::new(
        Field::new("element", DataType::Int32, true).into(),
        OffsetBuffer::new(list.offsets().inner().clone()),
        list.values().clone(),
        list.nulls().cloned(),
    );
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![Some(5), None, Some(-3)])),
        Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(2.5), Some(-0.5)])),
        Arc::new(StringArray::from(vec![Some("a string that is long"), Some("zzzzzzzzzzzzzzzzzzzz"), None])),
        Arc::new(place),
        Arc::new(list),
        Arc::new(
            arrow::array::Decimal128Array::from(vec![Some(-12_345), Some(7), None])
                .with_precision_and_scale(9, 2)
                .unwrap(),
        ),
        Arc::new(StringArray::from(vec![None::<&str>; 3])),
    ];
    let batch = RecordBatch::try_new(schema.into(), columns).unwrap();
    let table = table(&sink(&[], &[], &[]), &batch.schema());
    let written = write(&table, std::slice::from_ref(&batch)).await;
    let file = &written.files[0];
    let id = |name| table.metadata().current_schema().field_id_by_name(name).unwrap();
    let get = |map: &std::collections::HashMap<i32, u64>, name| map.get(&id(name)).copied();
    assert_eq!(file.record_count(), 3);
    assert_eq!(get(file.value_counts(), "n"), Some(3));
    assert_eq!(get(file.null_value_counts(), "n"), Some(1));
    assert_eq!(get(file.null_value_counts(), "place.city"), Some(1));
    assert_eq!(get(file.null_value_counts(), "none"), Some(3));
    assert_eq!(get(file.nan_value_counts(), "f"), Some(1));
    // The NaN below a null struct is no value.
    assert_eq!(get(file.nan_value_counts(), "place.temperature"), Some(1));
    assert_eq!(get(file.value_counts(), "list.element"), Some(4));
    assert!(!file.value_counts().contains_key(&id("place")));
    let bounds = |name| (file.lower_bounds().get(&id(name)).cloned(), file.upper_bounds().get(&id(name)).cloned());
    assert_eq!(bounds("n"), (Some(Datum::int(-3)), Some(Datum::int(5))));
    assert_eq!(bounds("f"), (Some(Datum::double(-0.5)), Some(Datum::double(2.5))));
    assert_eq!(bounds("s"), (Some(Datum::string("a string that is")), Some(Datum::string("zzzzzzzzzzzzzzz{"))));
    assert_eq!(bounds("place.city"), (Some(Datum::string("Bern")), Some(Datum::string("Oslo"))));
    assert_eq!(bounds("place.temperature").0, Some(Datum::double(-1.5)));
    let price = |unscaled: i32| {
        Datum::try_from_bytes(&unscaled.to_be_bytes(), iceberg::spec::PrimitiveType::Decimal { precision: 9, scale: 2 })
            .ok()
    };
    assert_eq!(bounds("price"), (price(-12_345), price(7)));
    assert_eq!(bounds("none"), (None, None));
    assert_eq!(bounds("list.element"), (None, None));
    assert!(file.column_sizes().len() == 8 && file.column_sizes().values().all(|size| *size > 0));
    assert_eq!((file.sort_order_id(), file.split_offsets()), (None, Some([4].as_slice())));
    let back = read(&table, file).await;
    assert_eq!(
        back[0].column(3).to_data(),
        Fitter::new(&batch.schema(), &table).unwrap().fit(&batch).unwrap().batch.column(3).to_data()
    );
}

/// Iceberg's own Parquet writer, for comparison.
#[tokio::test]
async fn counts_sizes_and_bounds_agree_with_icebergs_own_writer() {
    use iceberg::writer::file_writer::{FileWriter, FileWriterBuilder, ParquetWriterBuilder};
    let table = table(&sink(&[], &[], &[("write.metadata.metrics.default", "full")]), &rows(0..10, 3).schema());
    let batch = rows(0..5000, 3);
    let written = write(&table, std::slice::from_ref(&batch)).await;
    let fitted = Fitter::new(&batch.schema(), &table).unwrap().fit(&batch).unwrap().batch;
    let output = table.file_io().new_output("memory:///other.parquet").unwrap();
    let builder = ParquetWriterBuilder::new(Default::default(), table.metadata().current_schema().clone());
    let mut other = builder.build(output).await.unwrap();
    other.write(&fitted).await.unwrap();
    let mut theirs = other.close().await.unwrap().remove(0);
    let theirs = theirs.content(iceberg::spec::DataContentType::Data).partition(Struct::empty()).build().unwrap();
    let ours = &written.files[0];
    assert_eq!(ours.record_count(), theirs.record_count());
    assert_eq!(ours.value_counts(), theirs.value_counts());
    assert_eq!(ours.null_value_counts(), theirs.null_value_counts());
    assert_eq!(ours.lower_bounds()[&1], theirs.lower_bounds()[&1]);
    assert_eq!(ours.upper_bounds()[&1], theirs.upper_bounds()[&1]);
    // Ours are of the full 100 characters; theirs leave out what Parquet has cut.
    assert_eq!(ours.upper_bounds()[&3], Datum::string(format!("{:0>100}", 4999 * 7919)));
}

#[tokio::test]
async fn metrics_modes_leave_out_what_the_table_does_not_want() {
    let modes = [
        ("write.metadata.metrics.default", "counts"),
        ("write.metadata.metrics.column.id", "none"),
        ("write.metadata.metrics.column.text", "truncate(3)"),
    ];
    let table = table(&sink(&[], &[], &modes), &rows(0..1, 1).schema());
    let file = &write(&table, &[rows(0..100, 2)]).await.files[0];
    let counted: BTreeSet<i32> = file.value_counts().keys().copied().collect();
    assert_eq!(counted, BTreeSet::from([2, 3]));
    assert_eq!(file.lower_bounds().keys().collect::<Vec<_>>(), [&3]);
    assert_eq!(file.upper_bounds()[&3], Datum::string("001"));
    assert_eq!(file.column_sizes().len(), 3);
}

#[tokio::test]
async fn rows_go_to_the_files_of_their_partitions() {
    let table = table(&sink(&["shard", "bucket(2, id)"], &[], &[]), &rows(0..1, 1).schema());
    let written = write(&table, &[rows(0..1000, 3), rows(1000..2000, 3)]).await;
    assert_eq!(written.files.len(), 6);
    let directories = by_directory(&written);
    let file = directories["shard=2/id_bucket=1"];
    assert_eq!(file.partition().fields(), [Some(Literal::long(2)), Some(Literal::int(1))]);
    for file in &written.files {
        let Some(Literal::Primitive(iceberg::spec::PrimitiveLiteral::Long(shard))) = &file.partition().fields()[0]
        else {
            panic!()
        };
        assert!(ids(&table, std::slice::from_ref(file)).await.iter().all(|id| id % 3 == *shard));
    }
    let mut all = ids(&table, &written.files).await;
    all.sort_unstable();
    assert_eq!(all, (0..2000).collect::<Vec<_>>());
}

#[tokio::test]
async fn files_are_rolled_at_their_target_size() {
    let table = table(&sink(&[], &[], &[("write.parquet.compression-codec", "uncompressed")]), &rows(0..1, 1).schema());
    let mut writer =
        TableWriter::new(&table, WriteOptions { target_file_size: Some(50_000), ..options(1 << 30) }).unwrap();
    let fitter = Fitter::new(&rows(0..1, 1).schema(), &table).unwrap();
    for start in (0..40_000).step_by(2000) {
        writer.write(fitter.fit(&rows(start..start + 2000, 1)).unwrap().batch).await.unwrap();
    }
    let written = writer.finish().await.unwrap();
    assert!(written.files.len() > 40, "{}", written.files.len());
    for file in &written.files[..written.files.len() - 1] {
        assert!((35_000..100_000).contains(&file.file_size_in_bytes()), "{}", file.file_size_in_bytes());
    }
    assert_eq!(ids(&table, &written.files).await, (0..40_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_large_file_is_sent_in_pieces_and_reads_back() {
    let settings =
        [("write.parquet.row-group-size-bytes", "6000000"), ("write.parquet.compression-codec", "uncompressed")];
    let table = table(&sink(&[], &[], &settings), &rows(0..1, 1).schema());
    let batches: Vec<_> = (0..20).map(|part| rows(part * 10_000..(part + 1) * 10_000, 1)).collect();
    let written = write(&table, &batches).await;
    assert_eq!(written.files.len(), 1);
    assert!(written.bytes > 2 * crate::upload::PIECE_BYTES as u64);
    assert!(written.files[0].split_offsets().unwrap().len() > 2);
    assert_eq!(ids(&table, &written.files).await, (0..200_000).collect::<Vec<_>>());
    assert_eq!(written.files[0].upper_bounds()[&1], Datum::long(199_999_i64));
}

#[tokio::test]
async fn a_sorted_table_gets_files_that_are_one_sorted_run() {
    let table = table(&sink(&["shard"], &["text desc", "id"], &[]), &rows(0..1, 1).schema());
    let written = write(&table, &[rows(0..30_000, 2), rows(30_000..40_000, 2)]).await;
    assert_eq!(written.files.len(), 2);
    for file in &written.files {
        assert_eq!(file.sort_order_id(), Some(1));
        let found = ids(&table, std::slice::from_ref(file)).await;
        assert_eq!(found.len(), 20_000);
        assert!(found.is_sorted_by(|a, b| a > b));
    }
}

#[tokio::test]
async fn nulls_sort_where_the_order_says() {
    for (order, expected) in
        [("v nulls last", [Some(1), Some(2), None]), ("v desc nulls first", [None, Some(2), Some(1)])]
    {
        let schema = Schema::new(vec![Field::new("v", DataType::Int32, true)]);
        let batch = RecordBatch::try_new(schema.into(), vec![Arc::new(Int32Array::from(vec![Some(2), None, Some(1)]))])
            .unwrap();
        let table = table(&sink(&[], &[order], &[]), &batch.schema());
        let written = write(&table, &[batch]).await;
        let back = read(&table, &written.files[0]).await;
        assert_eq!(back[0].column(0).as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn over_the_budget_files_close_early_and_no_row_is_lost() {
    let table = table(&sink(&["shard"], &[], &[]), &rows(0..1, 1).schema());
    let options = options(8 << 20);
    let memory = options.memory.clone();
    let mut writer = TableWriter::new(&table, options).unwrap();
    let fitter = Fitter::new(&rows(0..1, 1).schema(), &table).unwrap();
    let mut most_open = 0;
    for part in 0..40 {
        let batch = fitter.fit(&rows(part * 5000..(part + 1) * 5000, 1500)).unwrap().batch;
        writer.write(batch).await.unwrap();
        assert!(!memory.over(), "{} of {}", memory.used(), memory.limit());
        most_open = most_open.max(writer.open_files());
    }
    assert!(most_open > 1000, "{most_open}");
    let written = writer.finish().await.unwrap();
    assert_eq!((writer.open_files(), memory.used()), (0, 0));
    assert!(written.files.len() > 1500, "{}", written.files.len());
    let names: BTreeSet<&str> = written.files.iter().map(DataFile::file_path).collect();
    assert_eq!(names.len(), written.files.len());
    let mut all = ids(&table, &written.files).await;
    all.sort_unstable();
    assert_eq!(all, (0..200_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_writer_goes_on_after_a_round_with_names_of_their_own() {
    let table = table(&sink(&["shard"], &[], &[]), &rows(0..1, 1).schema());
    let fitter = Fitter::new(&rows(0..1, 1).schema(), &table).unwrap();
    let mut writer = TableWriter::new(&table, options(1 << 30)).unwrap();
    assert_eq!(writer.finish().await.unwrap().rows, 0);
    let mut names = BTreeSet::new();
    for round in 0..3 {
        writer.write(fitter.fit(&rows(round * 100..round * 100 + 100, 2)).unwrap().batch).await.unwrap();
        let written = writer.finish().await.unwrap();
        assert_eq!((written.files.len(), written.rows), (2, 100));
        names.extend(written.files.iter().map(|file| file.file_path().to_owned()));
    }
    assert_eq!(names.len(), 6);
}

#[tokio::test]
async fn an_abort_leaves_no_file_and_the_writer_usable() {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = sink(&["shard"], &[], &[("write.parquet.compression-codec", "uncompressed")]);
    sink.location = Some(directory.path().to_string_lossy().into_owned());
    let table = testing::table_on(&sink, &rows(0..1, 1).schema(), iceberg::io::FileIO::new_with_fs());
    let fitter = Fitter::new(&rows(0..1, 1).schema(), &table).unwrap();
    let options = WriteOptions { target_file_size: Some(12 << 20), ..options(1 << 30) };
    let memory = options.memory.clone();
    let mut writer = TableWriter::new(&table, options).unwrap();
    for part in 0..30 {
        writer.write(fitter.fit(&rows(part * 10_000..(part + 1) * 10_000, 1)).unwrap().batch).await.unwrap();
    }
    writer.write(fitter.fit(&rows(0..10, 5)).unwrap().batch).await.unwrap();
    writer.abort().await.unwrap();
    assert_eq!(memory.used(), 0);
    assert_eq!(count_files(directory.path()), 0);
    writer.write(fitter.fit(&rows(0..10, 5)).unwrap().batch).await.unwrap();
    let written = writer.finish().await.unwrap();
    assert_eq!((written.files.len(), count_files(directory.path())), (5, 5));
    delete_files(&table, &written.files).await;
    assert_eq!(count_files(directory.path()), 0);
}

fn count_files(directory: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { count_files(&path) } else { 1 }).sum()
}

#[tokio::test]
async fn storage_that_fails_is_an_error_of_the_round() {
    let directory = tempfile::tempdir().unwrap();
    let blocked = directory.path().join("blocked");
    std::fs::write(&blocked, "a file where a directory should be").unwrap();
    let mut sink = sink(&[], &[], &[]);
    sink.location = Some(blocked.to_string_lossy().into_owned());
    let table = testing::table_on(&sink, &rows(0..1, 1).schema(), iceberg::io::FileIO::new_with_fs());
    let fitter = Fitter::new(&rows(0..1, 1).schema(), &table).unwrap();
    let mut writer = TableWriter::new(&table, options(1 << 30)).unwrap();
    writer.write(fitter.fit(&rows(0..10, 1)).unwrap().batch).await.unwrap();
    writer.finish().await.unwrap_err();
}

#[tokio::test]
async fn rows_that_did_not_pass_the_fitter_are_refused() {
    let table = table(&sink(&[], &[], &[]), &rows(0..1, 1).schema());
    let mut writer = TableWriter::new(&table, options(1 << 30)).unwrap();
    let result = writer.write(rows(0..1, 1).project(&[0, 1]).unwrap()).await;
    expect_error(result, ErrorKind::Schema, "pass them through the table's fitter");
}

#[tokio::test]
async fn a_column_of_distinct_values_loses_its_dictionary_in_the_next_file() {
    let table = table(&sink(&[], &[], &[]), &rows(0..1, 1).schema());
    let fitter = Fitter::new(&rows(0..1, 1).schema(), &table).unwrap();
    let mut writer = TableWriter::new(&table, options(1 << 30)).unwrap();
    let mut dictionaries = Vec::new();
    for _ in 0..2 {
        writer.write(fitter.fit(&rows(0..20_000, 7)).unwrap().batch).await.unwrap();
        let written = writer.finish().await.unwrap();
        let footer = footer(&table, &written.files[0]).await;
        dictionaries.push([2, 1].map(|column| footer.row_group(0).column(column).dictionary_page_offset().is_some()));
    }
    assert_eq!(dictionaries, [[true, true], [false, true]]);
}

#[tokio::test]
async fn icebergs_own_reader_reads_the_files() {
    let table = table(&sink(&["shard"], &[], &[]), &rows(0..1, 1).schema());
    let written = write(&table, &[rows(0..1000, 2)]).await;
    let schema = table.metadata().current_schema().clone();
    let tasks: Vec<iceberg::Result<iceberg::scan::FileScanTask>> =
        written.files.iter().map(|file| Ok(testing::scan_task(file, schema.clone()))).collect();
    let reader = iceberg::arrow::ArrowReaderBuilder::new(table.file_io().clone(), iceberg::Runtime::current()).build();
    let stream = reader.read(Box::pin(futures::stream::iter(tasks))).unwrap().stream();
    let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    let mut found: Vec<i64> = Vec::new();
    for batch in &batches {
        found.extend_from_slice(batch.column(0).as_primitive::<Int64Type>().values());
    }
    found.sort_unstable();
    assert_eq!(found, (0..1000).collect::<Vec<_>>());
}
