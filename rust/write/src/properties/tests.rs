use std::sync::Arc;

use arrow::array::{Array, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use frazil_model::ErrorKind;
use parquet::basic::Compression;

use crate::TableWriter;
use crate::testing::{expect_error, footer, options, sink, table, write};

fn batch() -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("price", DataType::Float64, true),
        Field::new("url", DataType::Utf8, true),
    ]);
    let urls: Vec<String> = (0..3000).map(|row| format!("https://example.com/a/rather/long/path/{row}")).collect();
    let columns: Vec<Arc<dyn Array>> = vec![
        Arc::new(Int64Array::from_iter_values(0..3000)),
        Arc::new(Float64Array::from_iter_values((0..3000).map(f64::from))),
        Arc::new(StringArray::from(urls)),
    ];
    RecordBatch::try_new(schema.into(), columns).unwrap()
}

#[tokio::test]
async fn the_codec_of_the_table_is_the_codec_of_its_files() {
    let cases = [
        ("zstd", "ZSTD"),
        ("gzip", "GZIP"),
        ("snappy", "SNAPPY"),
        ("lz4", "LZ4_RAW"),
        ("uncompressed", "UNCOMPRESSED"),
    ];
    for (codec, expected) in cases {
        let table = table(&sink(&[], &[], &[("write.parquet.compression-codec", codec)]), &batch().schema());
        let written = write(&table, &[batch()]).await;
        let footer = footer(&table, &written.files[0]).await;
        for column in footer.row_group(0).columns() {
            let found = format!("{:?}", column.compression());
            assert!(found.starts_with(expected), "{codec}: {found}");
            assert_eq!(matches!(column.compression(), Compression::UNCOMPRESSED), codec == "uncompressed");
        }
    }
}

#[tokio::test]
async fn a_level_makes_files_smaller() {
    let mut sizes = Vec::new();
    for level in ["1", "15"] {
        let table = table(&sink(&[], &[], &[("write.parquet.compression-level", level)]), &batch().schema());
        sizes.push(write(&table, &[batch()]).await.bytes);
    }
    assert!(sizes[1] < sizes[0], "{sizes:?}");
}

#[tokio::test]
async fn row_groups_pages_bloom_filters_and_statistics_follow_the_table() {
    let settings = [
        ("write.parquet.row-group-size-bytes", "20000"),
        ("write.parquet.page-row-limit", "100"),
        ("write.parquet.bloom-filter-enabled.column.url", "true"),
        ("write.parquet.bloom-filter-max-bytes", "4096"),
        ("write.parquet.stats-enabled.column.price", "false"),
    ];
    let table = table(&sink(&[], &[], &settings), &batch().schema());
    let batches: Vec<_> = (0..30).map(|part| batch().slice(part * 100, 100)).collect();
    let written = write(&table, &batches).await;
    let file = &written.files[0];
    let footer = footer(&table, file).await;
    // The row group's size is looked at when rows arrive, and these come in one step.
    assert!(!footer.row_groups().is_empty());
    let group = footer.row_group(0);
    assert!(group.column(2).bloom_filter_offset().is_some());
    assert!(group.column(2).bloom_filter_length().unwrap() <= 4096 + 64);
    assert!(group.column(0).bloom_filter_offset().is_none());
    assert!(group.column(1).statistics().is_none());
    assert!(group.column(0).statistics().is_some());
    assert!(!file.lower_bounds().contains_key(&2) && !file.null_value_counts().contains_key(&2));
    assert_eq!(file.split_offsets().unwrap().len(), footer.num_row_groups());
    assert_eq!(file.split_offsets().unwrap()[0], 4);
}

#[tokio::test]
async fn a_setting_that_means_nothing_is_an_error() {
    let refuse = |name: &str, value: &str, kind, text: &str| {
        let table = table(&sink(&[], &[], &[(name, value)]), &batch().schema());
        expect_error(TableWriter::new(&table, options(1 << 30)), kind, text);
    };
    refuse(
        "write.parquet.compression-codec",
        "zip",
        ErrorKind::Config,
        "expected zstd, gzip, snappy, lz4 or uncompressed, found 'zip'",
    );
    refuse("write.parquet.compression-level", "high", ErrorKind::Config, "expected a whole number, found 'high'");
    refuse(
        "write.parquet.page-size-bytes",
        "1MB",
        ErrorKind::Config,
        "write.parquet.page-size-bytes: expected a whole number",
    );
    refuse(
        "write.metadata.metrics.column.url",
        "some",
        ErrorKind::Config,
        "expected none, counts, truncate(n) or full, found 'some'",
    );
    refuse(
        "write.parquet.bloom-filter-enabled.column.url",
        "yes",
        ErrorKind::Config,
        "expected true or false, found 'yes'",
    );
    refuse("write.format.default", "orc", ErrorKind::Unsupported, "only parquet is written");
    refuse("encryption.key-id", "k", ErrorKind::Unsupported, "encrypted");
}
