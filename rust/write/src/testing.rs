//! Tables and rows for the tests of this room.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use bytes::Bytes;
use frazil_model::{ErrorKind, Sink};
use iceberg::TableIdent;
use iceberg::io::FileIO;
use iceberg::spec::{DataFile, TableMetadataBuilder};
use iceberg::table::Table;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaData;

use crate::{Budget, Fitter, TableWriter, WriteOptions, Written, table_creation};

/// A sink for `shop.events`.
pub(crate) fn sink(partition_by: &[&str], sort_by: &[&str], properties: &[(&str, &str)]) -> Sink {
    Sink {
        table: "shop.events".into(),
        create: true,
        partition_by: partition_by.iter().map(|field| field.parse().unwrap()).collect(),
        sort_by: sort_by.iter().map(|field| field.parse().unwrap()).collect(),
        format_version: None,
        file_size: None,
        properties: properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        location: Some("memory:///lake/events".into()),
    }
}

/// A table that exists in memory only, with storage in memory.
pub(crate) fn table(sink: &Sink, schema: &Schema) -> Table {
    table_on(sink, schema, FileIO::new_with_memory())
}

pub(crate) fn table_on(sink: &Sink, schema: &Schema, file_io: FileIO) -> Table {
    let creation = table_creation(sink, schema).unwrap();
    let metadata = TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata;
    Table::builder()
        .file_io(file_io)
        .metadata(metadata)
        .metadata_location("memory:///lake/events/metadata/0.json")
        .identifier(TableIdent::from_strs(["shop", "events"]).unwrap())
        .runtime(iceberg::Runtime::current())
        .build()
        .unwrap()
}

pub(crate) fn options(bytes: usize) -> WriteOptions {
    WriteOptions { target_file_size: None, memory: Budget::new(bytes) }
}

/// Fits and writes batches, one round.
pub(crate) async fn write(table: &Table, batches: &[RecordBatch]) -> Written {
    let fitter = Fitter::new(&batches[0].schema(), table).unwrap();
    let mut writer = TableWriter::new(table, options(1 << 30)).unwrap();
    for batch in batches {
        let fitted = fitter.fit(batch).unwrap();
        assert!(fitted.rejected.is_empty(), "{:?}", fitted.rejected);
        writer.write(fitted.batch).await.unwrap();
    }
    let written = writer.finish().await.unwrap();
    assert_eq!(written.rows, batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>());
    written
}

pub(crate) async fn bytes(table: &Table, file: &DataFile) -> Bytes {
    let bytes = table.file_io().new_input(file.file_path()).unwrap().read().await.unwrap();
    assert_eq!(bytes.len() as u64, file.file_size_in_bytes());
    bytes
}

pub(crate) async fn footer(table: &Table, file: &DataFile) -> ParquetMetaData {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes(table, file).await).unwrap();
    builder.metadata().as_ref().clone()
}

pub(crate) async fn read(table: &Table, file: &DataFile) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes(table, file).await).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64, file.record_count());
    batches
}

/// Files by their partition directory.
pub(crate) fn by_directory(written: &Written) -> HashMap<String, &DataFile> {
    let directory = |file: &DataFile| {
        let (directory, _) = file.file_path().rsplit_once('/').unwrap();
        directory.rsplit_once("/data/").map(|(_, partition)| partition.to_owned()).unwrap_or_default()
    };
    written.files.iter().map(|file| (directory(file), file)).collect()
}

#[track_caller]
pub(crate) fn expect_error<T: std::fmt::Debug>(result: frazil_model::Result<T>, kind: ErrorKind, text: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(text), "{error}");
}

/// All of a file, for Iceberg's own reader.
pub(crate) fn scan_task(file: &DataFile, schema: iceberg::spec::SchemaRef) -> iceberg::scan::FileScanTask {
    iceberg::scan::FileScanTask::builder()
        .with_file_size_in_bytes(file.file_size_in_bytes())
        .with_start(0)
        .with_length(file.file_size_in_bytes())
        .with_data_file_path(file.file_path().to_owned())
        .with_data_file_format(file.file_format())
        .with_project_field_ids(schema.as_struct().fields().iter().map(|field| field.id).collect())
        .with_schema(schema)
        .with_case_sensitive(true)
        .build()
}
