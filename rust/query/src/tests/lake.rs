//! A small lake: three tables, written with the `iceberg` crate and committed through the catalog.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array,
};
use frazil_catalog::{Lake, table_ident};
use frazil_model::CatalogSettings;
use iceberg::arrow::{arrow_schema_to_schema, schema_to_arrow_schema};
use iceberg::spec::{
    DataFile, DataFileFormat, Literal, ManifestListWriter, ManifestWriterBuilder, NestedField, Operation, PartitionKey,
    PrimitiveType, Schema, Snapshot, SnapshotReference, SnapshotRetention, Struct, Summary, Transform, Type,
    UnboundPartitionSpec,
};
use iceberg::table::Table;
use iceberg::writer::base_writer::data_file_writer::DataFileWriterBuilder;
use iceberg::writer::base_writer::equality_delete_writer::{
    EqualityDeleteFileWriterBuilder, EqualityDeleteWriterConfig,
};
use iceberg::writer::file_writer::ParquetWriterBuilder;
use iceberg::writer::file_writer::location_generator::{DefaultFileNameGenerator, DefaultLocationGenerator};
use iceberg::writer::file_writer::rolling_writer::RollingFileWriterBuilder;
use iceberg::writer::{IcebergWriter, IcebergWriterBuilder};
use iceberg::{TableCreation, TableRequirement, TableUpdate};
use parquet::file::properties::WriterProperties;
use uuid::Uuid;

pub(super) struct Shop {
    pub(super) lake: Lake,
    /// Id and time of the snapshots of `shop.sales`.
    pub(super) snapshots: Vec<(i64, i64)>,
    _dir: tempfile::TempDir,
}

/// A table's rows, in the order of its columns.
pub(super) type Columns = Vec<ArrayRef>;

/// Two sales with the ids `first` and `first + 1`.
pub(super) fn sales(first: i64) -> Columns {
    let ids = [first, first + 1];
    let countries = ids.map(|id| match id {
        3 => None,
        4 | 6 => Some("fr"),
        _ => Some("de"),
    });
    let prices = ids.map(|id| match id {
        1 => 2.0,
        6 => f64::NAN,
        id => 5.0 * id as f64,
    });
    let times = TimestampMicrosecondArray::from_iter_values(ids.map(|id| 1_793_491_200_000_000 + id * 1_000_000));
    vec![
        Arc::new(Int64Array::from_iter_values(ids)),
        Arc::new(Int64Array::from_iter_values(ids.map(|id| if id == 6 { 3 } else { 1 + id % 2 }))),
        Arc::new(StringArray::from_iter(countries)),
        Arc::new(Float64Array::from_iter_values(prices)),
        Arc::new(times.with_timezone("+00:00")),
    ]
}

pub(super) fn people(id: i64, name: &str, city: &str) -> Columns {
    vec![
        Arc::new(Int64Array::from(vec![id])),
        Arc::new(StringArray::from(vec![name])),
        Arc::new(StringArray::from(vec![city])),
    ]
}

impl Shop {
    pub(super) async fn open() -> Shop {
        let dir = tempfile::tempdir().unwrap();
        let settings = CatalogSettings {
            catalog: dir.path().to_str().unwrap().to_owned(),
            name: CatalogSettings::default_name(),
            ..CatalogSettings::default()
        };
        let lake = Lake::open(&settings).await.unwrap();
        let mut shop = Shop { lake, snapshots: Vec::new(), _dir: dir };
        let (long, string) = (PrimitiveType::Long, PrimitiveType::String);
        let columns = [
            ("id", long.clone()),
            ("user_id", long.clone()),
            ("country", string.clone()),
            ("price", PrimitiveType::Double),
            ("ts", PrimitiveType::Timestamptz),
        ];
        shop.create("shop.sales", &columns, None).await;
        shop.create(
            "shop.people",
            &[("id", long.clone()), ("name", string.clone()), ("city", string.clone())],
            Some("city"),
        )
        .await;
        shop.create("shop.empty", &[("id", long), ("noise", string)], None).await;
        for first in [1, 3, 5] {
            let snapshot = shop.append("shop.sales", vec![sales(first)]).await;
            shop.snapshots.push(snapshot);
        }
        let paris = vec![
            Arc::new(Int64Array::from(vec![2, 4])) as ArrayRef,
            Arc::new(StringArray::from(vec!["ada", "cyd"])),
            Arc::new(StringArray::from(vec!["Paris", "Paris"])),
        ];
        shop.append("shop.people", vec![people(1, "bob", "Oslo"), paris]).await;
        shop
    }

    async fn create(&self, name: &str, columns: &[(&str, PrimitiveType)], partition: Option<&str>) {
        let fields = columns
            .iter()
            .zip(1..)
            .map(|((name, kind), id)| Arc::new(NestedField::optional(id, *name, Type::Primitive(kind.clone()))));
        let schema = Schema::builder().with_fields(fields).build().unwrap();
        let mut spec = UnboundPartitionSpec::builder().with_spec_id(0);
        if let Some(column) = partition {
            spec = spec
                .add_partition_field(schema.field_id_by_name(column).unwrap(), column, Transform::Identity)
                .unwrap();
        }
        let ident = table_ident(name).unwrap();
        let creation =
            TableCreation::builder().name(ident.name().to_owned()).schema(schema).partition_spec(spec.build()).build();
        self.lake.create_table(ident.namespace(), creation).await.unwrap();
    }

    /// Writes one file for each batch and commits them; a partitioned table's last column is its partition.
    pub(super) async fn append(&self, name: &str, batches: Vec<Columns>) -> (i64, i64) {
        let table = self.lake.load_table(&table_ident(name).unwrap()).await.unwrap();
        let mut files = Vec::new();
        for columns in batches {
            files.extend(write(&table, columns, WriterProperties::default()).await);
        }
        self.commit(&table, files, false).await
    }

    /// Deletes the rows with these ids by an equality delete file, as Flink's upserts do.
    pub(super) async fn delete(&self, name: &str, ids: Vec<i64>) {
        let table = self.lake.load_table(&table_ident(name).unwrap()).await.unwrap();
        let config = EqualityDeleteWriterConfig::new(vec![1], table.metadata().current_schema().clone()).unwrap();
        let keys = arrow_schema_to_schema(config.projected_arrow_schema_ref()).unwrap();
        let files = rolling(&table, WriterProperties::default(), keys);
        let mut writer = EqualityDeleteFileWriterBuilder::new(files, config).build(None).await.unwrap();
        let mut columns: Columns =
            sales(1).iter().map(|column| new_null_array(column.data_type(), ids.len())).collect();
        columns[0] = Arc::new(Int64Array::from(ids));
        writer.write(rows(&table, columns)).await.unwrap();
        let files = writer.close().await.unwrap();
        self.commit(&table, files, true).await;
    }

    /// One file of about 40 MB in many row groups; gives the number of its rows, their ids counting from 0.
    pub(super) async fn append_large(&self, name: &str) -> i64 {
        let table = self.lake.load_table(&table_ident(name).unwrap()).await.unwrap();
        let rows = 500_000_i64;
        // Not compressible, so that the file is as large as it looks.
        let noise = (0..rows).map(|row| {
            let mut bits = row as u64;
            let word = std::iter::repeat_with(|| {
                bits = (bits ^ (bits >> 30)).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                format!("{bits:016x}")
            });
            Some(word.take(5).collect::<String>())
        });
        let columns: Columns =
            vec![Arc::new(Int64Array::from_iter_values(0..rows)), Arc::new(noise.collect::<StringArray>())];
        let properties =
            WriterProperties::builder().set_max_row_group_row_count(Some(30_000)).set_dictionary_enabled(false).build();
        let files = write(&table, columns, properties).await;
        assert!(files.len() == 1 && files[0].file_size_in_bytes() > 33_000_000, "{}", files[0].file_size_in_bytes());
        self.commit(&table, files, false).await;
        rows
    }

    async fn commit(&self, table: &Table, files: Vec<DataFile>, deletes: bool) -> (i64, i64) {
        let metadata = table.metadata();
        let id = (Uuid::new_v4().as_u128() >> 65) as i64;
        let output =
            |name: String| table.file_io().new_output(format!("{}/metadata/{name}", metadata.location())).unwrap();
        let mut manifests = Vec::new();
        if let Some(snapshot) = metadata.current_snapshot() {
            manifests.extend(table.manifest_list_reader(snapshot).load().await.unwrap().entries().iter().cloned());
        }
        let (schema, spec) = (metadata.current_schema().clone(), metadata.default_partition_spec().as_ref().clone());
        let writer = ManifestWriterBuilder::new(output(format!("{id}-m0.avro")), Some(id), schema, spec);
        let mut writer = if deletes { writer.build_v2_deletes() } else { writer.build_v2_data() };
        for file in files {
            writer.add_file(file, metadata.next_sequence_number()).unwrap();
        }
        manifests.push(writer.write_manifest_file().await.unwrap());
        let list = output(format!("snap-{id}.avro"));
        let path = list.location().to_owned();
        let mut writer = ManifestListWriter::v2(
            list.writer().await.unwrap(),
            id,
            metadata.current_snapshot_id(),
            metadata.next_sequence_number(),
        );
        writer.add_manifests(manifests.into_iter()).unwrap();
        writer.close().await.unwrap();
        // A second later each time, so that there are moments between the snapshots.
        let time = metadata.last_updated_ms() + 1000;
        let snapshot = Snapshot::builder()
            .with_manifest_list(path)
            .with_snapshot_id(id)
            .with_parent_snapshot_id(metadata.current_snapshot_id())
            .with_sequence_number(metadata.next_sequence_number())
            .with_summary(Summary { operation: Operation::Append, additional_properties: HashMap::new() })
            .with_schema_id(metadata.current_schema_id())
            .with_timestamp_ms(time)
            .build();
        let reference = SnapshotReference::new(id, SnapshotRetention::branch(None, None, None));
        let requirement = TableRequirement::RefSnapshotIdMatch {
            r#ref: "main".to_owned(),
            snapshot_id: metadata.current_snapshot_id(),
        };
        let updates = vec![
            TableUpdate::AddSnapshot { snapshot },
            TableUpdate::SetSnapshotRef { ref_name: "main".to_owned(), reference },
        ];
        self.lake.commit(table, vec![requirement], updates).await.unwrap();
        (id, time)
    }
}

type Files = RollingFileWriterBuilder<ParquetWriterBuilder, DefaultLocationGenerator, DefaultFileNameGenerator>;

fn rolling(table: &Table, properties: WriterProperties, schema: Schema) -> Files {
    RollingFileWriterBuilder::new_with_default_file_size(
        ParquetWriterBuilder::new(properties, Arc::new(schema)),
        table.file_io().clone(),
        DefaultLocationGenerator::new(table.metadata()).unwrap(),
        DefaultFileNameGenerator::new(Uuid::new_v4().to_string(), None, DataFileFormat::Parquet),
    )
}

fn rows(table: &Table, columns: Columns) -> RecordBatch {
    let schema = schema_to_arrow_schema(table.metadata().current_schema()).unwrap();
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

async fn write(table: &Table, columns: Columns, properties: WriterProperties) -> Vec<DataFile> {
    let metadata = table.metadata();
    let files = rolling(table, properties, metadata.current_schema().as_ref().clone());
    let spec = metadata.default_partition_spec();
    let partition = (!spec.is_unpartitioned()).then(|| {
        let city = Struct::from_iter([Some(Literal::string(columns.last().unwrap().as_string::<i32>().value(0)))]);
        PartitionKey::new(spec.as_ref().clone(), metadata.current_schema().clone(), city)
    });
    let mut writer = DataFileWriterBuilder::new(files).build(partition).await.unwrap();
    writer.write(rows(table, columns)).await.unwrap();
    writer.close().await.unwrap()
}
