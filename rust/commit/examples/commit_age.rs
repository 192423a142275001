//! What a commit costs as a table grows old: `cargo run --release -p frazil-commit --example commit_age [commits] [version] [dir]`.
//!
//! One made-up data file a commit, local files and a SQLite catalog. A third argument keeps the lake in that directory,
//! to be read by other engines. Around some ages it prints the median and the 99th percentile, beside the median of a
//! table of age 50 in the same moments; the last line is the same as JSON.

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

/// A table that grows older with each commit.
struct Aging {
    committer: Committer,
    commits: i64,
}

impl Aging {
    async fn create(lake: &Lake, name: String, version: FormatVersion) -> Result<Self, Box<dyn std::error::Error>> {
        let fields = (1..=COLUMNS)
            .map(|id| NestedField::required(id, format!("column_{id}"), Type::Primitive(PrimitiveType::Long)).into());
        let spec =
            UnboundPartitionSpec::builder().with_spec_id(0).add_partition_field(2, "day", Transform::Identity)?.build();
        let creation = TableCreation::builder()
            .name(name)
            .schema(Schema::builder().with_fields(fields).build()?)
            .partition_spec(spec)
            .format_version(version)
            .properties(HashMap::from([("write.metadata.delete-after-commit.enabled".into(), "true".into())]))
            .build();
        let table = lake.create_table(&NamespaceIdent::new("shop".to_owned()), creation).await?;
        Ok(Aging { committer: Committer::new(lake.clone(), table, "age".parse()?), commits: 0 })
    }

    /// Makes one commit; how many milliseconds it took.
    async fn commit(&mut self) -> Result<f64, Box<dyn std::error::Error>> {
        let mut ranges = Ranges::default();
        for partition in 0..4 {
            ranges.extend("events", partition, (self.commits * 250, self.commits * 250 + 250).into())?;
        }
        let append = Append {
            commit_id: Uuid::new_v4(),
            ranges,
            files: vec![data_file(1_000)],
            records: 1_000,
            rows: 1_000,
            ..Append::default()
        };
        self.commits += 1;
        let started = Instant::now();
        self.committer.append(&append).await?;
        Ok(started.elapsed().as_secs_f64() * 1e3)
    }

    async fn grow(&mut self, commits: i64) -> Result<(), Box<dyn std::error::Error>> {
        while self.commits < commits {
            self.commit().await?;
        }
        Ok(())
    }
}

/// Commits measured around each age.
const WINDOW: i64 = 100;
const YOUNG: i64 = 50;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let commits: i64 = arguments.next().map_or(Ok(2_100), |text| text.parse())?;
    let version = if arguments.next().as_deref() == Some("3") { FormatVersion::V3 } else { FormatVersion::V2 };
    let directory = tempfile::tempdir()?;
    let directory = arguments.next().map_or(directory.path().to_path_buf(), Into::into);
    let settings = CatalogSettings {
        catalog: directory.to_str().ok_or("the path is not text")?.to_owned(),
        ..CatalogSettings::default()
    };
    let lake = Lake::open(&settings).await?;
    let mut old = Aging::create(&lake, "events".to_owned(), version).await?;
    let (mut all_young, mut medians) = (Vec::new(), serde_json::Map::new());
    println!("{:>9} {:>10} {:>10} {:>16} {:>7}", "commit", "p50 ms", "p99 ms", "p50 ms of 50", "ratio");
    for age in [100, 500, 1_000, 2_000, 5_000, 10_000].into_iter().filter(|age| age + WINDOW / 2 <= commits) {
        old.grow(age - WINDOW / 2).await?;
        // Disks have moods: a young table is measured in the same moments, commit by commit.
        let mut young = Aging::create(&lake, format!("young_{age}"), version).await?;
        young.grow(YOUNG - WINDOW / 4).await?;
        let (mut of_old, mut of_young) = (Vec::new(), Vec::new());
        for turn in 0..WINDOW {
            of_old.push(old.commit().await?);
            // The young one must not grow old meanwhile: another takes its place half way.
            if turn == WINDOW / 2 {
                young.committer.finish().await;
                young = Aging::create(&lake, format!("young_{age}_again"), version).await?;
                young.grow(YOUNG - WINDOW / 4).await?;
            }
            of_young.push(young.commit().await?);
        }
        young.committer.finish().await;
        all_young.extend_from_slice(&of_young);
        let (p50, p99, base) = (share(&mut of_old, 0.5), share(&mut of_old, 0.99), share(&mut of_young, 0.5));
        println!("{age:>9} {p50:>10.2} {p99:>10.2} {base:>16.2} {:>7.2}", p50 / base);
        medians.insert(age.to_string(), p50.into());
        medians.insert(format!("{age}.ratio_to_50"), (p50 / base).into());
    }
    old.committer.finish().await;
    medians.insert(YOUNG.to_string(), share(&mut all_young, 0.5).into());
    println!("{}", serde_json::Value::Object(medians));
    Ok(())
}

/// The value that this share of the values does not exceed.
fn share(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() as f64 * share) as usize).min(values.len() - 1)]
}
