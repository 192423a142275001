//! What a commit costs as a table grows old: `cargo run --release -p frazil-commit --example commit_age [commits] [version] [dir]`.
//!
//! One made-up data file a commit, local files and a SQLite catalog, default table properties. A third argument keeps
//! the lake in that directory, to be read by other engines. Prints the median and the 99th percentile around some ages.

use std::collections::HashMap;
use std::time::Instant;

use frazil_catalog::Lake;
use frazil_commit::{Append, Committer};
use frazil_model::{CatalogSettings, Ranges};
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, FormatVersion, Literal, NestedField,
    PrimitiveType, Schema, Struct, Transform, Type, UnboundPartitionSpec,
};
use iceberg::{NamespaceIdent, TableCreation};
use uuid::Uuid;

const COLUMNS: i32 = 12;

fn data_file(rows: u64) -> DataFile {
    let each = |value: u64| (1..=COLUMNS).map(|id| (id, value)).collect::<HashMap<_, _>>();
    let bounds = |value: i64| (1..=COLUMNS).map(|id| (id, Datum::long(value))).collect::<HashMap<_, _>>();
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(format!("file:///nowhere/data/day=2026-11-01/{}.parquet", Uuid::new_v4()))
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::from_iter([Some(Literal::long(20_000))]))
        .record_count(rows)
        .file_size_in_bytes(1000 * rows)
        .column_sizes(each(100 * rows))
        .value_counts(each(rows))
        .null_value_counts(each(0))
        .lower_bounds(bounds(0))
        .upper_bounds(bounds(rows as i64))
        .split_offsets(Some(vec![4]))
        .partition_spec_id(0)
        .build()
        .expect("every field is set")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let commits: usize = arguments.next().map_or(Ok(2_100), |text| text.parse())?;
    let version = if arguments.next().as_deref() == Some("3") { FormatVersion::V3 } else { FormatVersion::V2 };
    let directory = tempfile::tempdir()?;
    let directory = arguments.next().map_or(directory.path().to_path_buf(), Into::into);
    let settings = CatalogSettings {
        catalog: directory.to_str().ok_or("the path is not text")?.to_owned(),
        name: CatalogSettings::default_name(),
        ..CatalogSettings::default()
    };
    let lake = Lake::open(&settings).await?;
    let fields = (1..=COLUMNS)
        .map(|id| NestedField::required(id, format!("column_{id}"), Type::Primitive(PrimitiveType::Long)).into());
    let spec =
        UnboundPartitionSpec::builder().with_spec_id(0).add_partition_field(2, "day", Transform::Identity)?.build();
    let creation = TableCreation::builder()
        .name("events".to_owned())
        .schema(Schema::builder().with_fields(fields).build()?)
        .partition_spec(spec)
        .format_version(version)
        .build();
    let table = lake.create_table(&NamespaceIdent::new("shop".to_owned()), creation).await?;

    let mut committer = Committer::new(lake, table, "age".parse()?);
    let mut took = Vec::with_capacity(commits);
    for number in 0..commits as i64 {
        let mut ranges = Ranges::default();
        for partition in 0..4 {
            ranges.extend("events", partition, (number * 250, number * 250 + 250).into())?;
        }
        let append = Append {
            commit_id: Uuid::new_v4(),
            ranges,
            files: vec![data_file(1_000)],
            records: 1_000,
            rows: 1_000,
            ..Append::default()
        };
        let started = Instant::now();
        committer.append(&append).await?;
        took.push(started.elapsed().as_secs_f64() * 1e3);
    }
    committer.finish().await;
    let mut base = None;
    let mut medians = serde_json::Map::new();
    println!("{:>9} {:>10} {:>10} {:>10}", "commit", "p50 ms", "p99 ms", "p50 / 50");
    for age in [50, 100, 500, 1_000, 2_000, 5_000, 10_000].into_iter().filter(|age| age + 25 <= commits) {
        let mut around = took[age - 25..age + 25].to_vec();
        around.sort_by(f64::total_cmp);
        let (p50, p99) = (around[25], around[49]);
        println!("{age:>9} {p50:>10.2} {p99:>10.2} {:>10.2}", p50 / *base.get_or_insert(p50));
        medians.insert(age.to_string(), p50.into());
    }
    println!("{}", serde_json::Value::Object(medians));
    Ok(())
}
