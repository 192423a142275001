//! A lake in a temporary directory, made-up data files, and a catalog that loses answers.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use frazil_catalog::Lake;
use frazil_model::{CatalogSettings, Error, ErrorKind, Ranges, Result};
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, FormatVersion, Literal, ManifestEntryRef,
    ManifestFile, NestedField, PrimitiveType, Schema, SnapshotRef, Struct, Transform, Type, UnboundPartitionSpec,
};
use iceberg::table::Table;
use iceberg::{NamespaceIdent, TableCreation, TableIdent, TableRequirement, TableUpdate};
use tempfile::TempDir;
use uuid::Uuid;

use crate::lineage::assign_row_ids;
use crate::{Append, CatalogCommit, io};

/// A lake that goes away with the value.
pub(super) struct Home {
    pub(super) lake: Lake,
    pub(super) ident: TableIdent,
    _directory: TempDir,
}

/// A new lake with the table `shop.events`, partitioned by the identity of `day`.
pub(super) async fn home(version: FormatVersion, properties: &[(&str, &str)]) -> (Home, Table) {
    let directory = tempfile::tempdir().unwrap();
    let settings = CatalogSettings {
        catalog: directory.path().to_str().unwrap().to_owned(),
        name: CatalogSettings::default_name(),
        ..CatalogSettings::default()
    };
    let lake = Lake::open(&settings).await.unwrap();
    let field = |id, name: &str, kind| NestedField::required(id, name, Type::Primitive(kind)).into();
    let schema = Schema::builder()
        .with_fields([field(1, "id", PrimitiveType::Long), field(2, "day", PrimitiveType::Int)])
        .build()
        .unwrap();
    let spec =
        UnboundPartitionSpec::builder().with_spec_id(0).add_partition_field(2, "day", Transform::Identity).unwrap();
    let creation = TableCreation::builder()
        .name("events".to_owned())
        .schema(schema)
        .partition_spec(spec.build())
        .format_version(version)
        .properties(
            properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<HashMap<_, _>>(),
        )
        .build();
    let table = lake.create_table(&NamespaceIdent::new("shop".to_owned()), creation).await.unwrap();
    let ident = table.identifier().clone();
    (Home { lake, ident, _directory: directory }, table)
}

/// A data file as a writer would describe it; no such file is there.
pub(super) fn data_file(rows: u64) -> DataFile {
    data_file_in(rows, 0, Struct::from_iter([Some(Literal::int(20_000))]))
}

/// The same in any partition.
pub(super) fn data_file_in(rows: u64, spec_id: i32, partition: Struct) -> DataFile {
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(format!("file:///nowhere/{}.parquet", Uuid::new_v4()))
        .file_format(DataFileFormat::Parquet)
        .partition(partition)
        .record_count(rows)
        .file_size_in_bytes(100 * rows)
        .value_counts(HashMap::from([(1, rows), (2, rows)]))
        .null_value_counts(HashMap::from([(1, 0), (2, 0)]))
        .lower_bounds(HashMap::from([(1, Datum::long(0)), (2, Datum::int(20_000))]))
        .upper_bounds(HashMap::from([(1, Datum::long(rows as i64)), (2, Datum::int(20_000))]))
        .split_offsets(Some(vec![4]))
        .partition_spec_id(spec_id)
        .build()
        .unwrap()
}

pub(super) fn ranges(partition: i32, start: i64, end: i64) -> Ranges {
    let mut ranges = Ranges::default();
    ranges.extend("events", partition, (start, end).into()).unwrap();
    ranges
}

/// A round with one file that covers offsets of one partition, each a row.
pub(super) fn round(partition: i32, start: i64, end: i64) -> Append {
    let rows = (end - start) as u64;
    Append {
        commit_id: Uuid::new_v4(),
        ranges: ranges(partition, start, end),
        files: vec![data_file(rows)],
        records: rows,
        rows,
        ..Append::default()
    }
}

/// Every manifest and live entry of a snapshot, read from storage.
pub(super) async fn contents(table: &Table, snapshot: &SnapshotRef) -> Vec<(ManifestFile, Vec<ManifestEntryRef>)> {
    let list = io::load_list(table, snapshot).await.unwrap();
    let mut contents = Vec::new();
    for manifest in list {
        let (entries, _) = io::load_manifest(table.file_io(), &manifest).await.unwrap().into_parts();
        let entries = assign_row_ids(entries, &manifest, table.metadata().format_version());
        contents.push((manifest, entries.into_iter().filter(|entry| entry.is_alive()).collect()));
    }
    contents
}

/// Every live entry of the current snapshot.
pub(super) async fn entries(table: &Table) -> Vec<ManifestEntryRef> {
    let Some(snapshot) = table.metadata().current_snapshot() else { return Vec::new() };
    contents(table, snapshot).await.into_iter().flat_map(|(_, entries)| entries).collect()
}

/// Names of the files in the table's metadata directory that begin like this.
pub(super) fn metadata_files(table: &Table, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let directory = io::metadata_directory(table.metadata());
    let directory = directory.trim_start_matches("file://");
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| wanted(name)).collect()
}

pub(super) fn is_list(name: &str) -> bool {
    name.starts_with("snap-")
}

pub(super) fn is_manifest(name: &str) -> bool {
    name.ends_with(".avro") && !is_list(name)
}

/// What happens to the next commit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// It is applied, the answer is lost.
    LoseAnswer,
    /// It never arrives, and nobody knows.
    LoseRequest,
    /// As `LoseAnswer`, and the catalog cannot be asked for so many times.
    LoseAnswerAndStayDown(u32),
    /// As `LoseRequest`, and the catalog cannot be asked for so many times.
    LoseRequestAndStayDown(u32),
    /// The catalog is busy and says so.
    Busy,
}

/// A lake with faults in between.
#[derive(Clone)]
pub(super) struct Faulty {
    lake: Lake,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    down: Arc<Mutex<u32>>,
}

impl Faulty {
    pub(super) fn new(lake: &Lake, faults: impl IntoIterator<Item = Fault>) -> Self {
        Faulty { lake: lake.clone(), faults: Arc::new(Mutex::new(faults.into_iter().collect())), down: Arc::default() }
    }
}

impl CatalogCommit for Faulty {
    async fn load_table(&self, ident: &TableIdent) -> Result<Table> {
        {
            let mut down = self.down.lock().unwrap();
            if *down > 0 {
                *down -= 1;
                return Err(Error::new(ErrorKind::Catalog, "the catalog is down").retryable());
            }
        }
        self.lake.load_table(ident).await
    }

    async fn commit(
        &self,
        table: &Table,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<Table> {
        let fault = self.faults.lock().unwrap().pop_front().unwrap_or(Fault::None);
        let unknown = || Error::new(ErrorKind::OutcomeUnknown, "the connection was lost");
        match fault {
            Fault::None => self.lake.commit(table, requirements, updates).await,
            Fault::LoseRequest => Err(unknown()),
            Fault::LoseRequestAndStayDown(times) => {
                *self.down.lock().unwrap() = times;
                Err(unknown())
            }
            Fault::Busy => Err(Error::new(ErrorKind::Catalog, "the catalog is busy").retryable()),
            Fault::LoseAnswer => {
                self.lake.commit(table, requirements, updates).await?;
                Err(unknown())
            }
            Fault::LoseAnswerAndStayDown(times) => {
                self.lake.commit(table, requirements, updates).await?;
                *self.down.lock().unwrap() = times;
                Err(unknown())
            }
        }
    }
}
