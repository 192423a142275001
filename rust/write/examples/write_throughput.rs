//! CPU and memory of writing 1 KB events: a bare `ArrowWriter`, this writer with one partition, and with a thousand.
//!
//! `cargo run --release -p frazil-write --example write_throughput [GB] [bare|one|many]`

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use frazil_model::Sink;
use frazil_write::{Budget, Fitter, TableWriter, WriteOptions, table_creation};
use iceberg::io::FileIO;
use iceberg::spec::TableMetadataBuilder;
use iceberg::table::Table;
use iceberg::{Runtime, TableIdent};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 16 << 10;

fn schema() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        text("event_id"),
        Field::new("user_id", DataType::Int64, false),
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        text("country"),
        text("url"),
        text("referrer"),
        text("agent"),
        Field::new("price", DataType::Float64, true),
        Field::new("score", DataType::Float64, true),
        Field::new("shard", DataType::Int64, false),
        text("payload"),
    ]))
}

fn batch(seed: u64) -> RecordBatch {
    let mut random = SmallRng::seed_from_u64(seed);
    let countries = ["DE", "FR", "US", "IN", "BR", "JP"];
    let mut texts: Vec<Vec<String>> = (0..6).map(|_| Vec::with_capacity(ROWS)).collect();
    for _ in 0..ROWS {
        let (a, b): (u64, u64) = (random.random(), random.random());
        texts[0].push(format!("{:08x}-{:04x}-{:04x}-{:016x}", a >> 32, (a >> 16) & 0xffff, a & 0xffff, b));
        texts[1].push(countries[random.random_range(0..countries.len())].to_owned());
        texts[2].push(format!(
            "https://shop.example.com/category/{}/product/{}?session={:016x}&ref={:08x}",
            a % 500,
            b % 100_000,
            a ^ b,
            a as u32
        ));
        texts[3].push(format!("https://search.example.org/results?q={}+{}&page={}", a % 5000, b % 5000, a % 10));
        texts[4].push(format!(
            "Mozilla/5.0 (X11; Linux x86_64; rv:{}.0) Gecko/20100101 Firefox/{}.0 build {:08x}",
            a % 90,
            b % 90,
            b as u32
        ));
        let mut payload = String::with_capacity(460);
        payload.push_str("{\"items\":[");
        while payload.len() < 380 {
            let (sku, quantity, price): (u64, u8, f32) = (random.random(), random.random(), random.random());
            payload.push_str(&format!(
                "{{\"sku\":\"{sku:016x}\",\"quantity\":{},\"price\":{:.2}}},",
                quantity % 9,
                price * 100.0
            ));
        }
        payload.push_str("{}]}");
        texts[5].push(payload);
    }
    let mut texts = texts.into_iter().map(|column| Arc::new(StringArray::from(column)) as ArrayRef);
    let mut text = || texts.next().expect("six text columns");
    let day = 20_758 * 86_400_000_000_i64;
    let mut random = SmallRng::seed_from_u64(seed + 1000);
    let mut longs = |limit: i64| Int64Array::from_iter_values((0..ROWS).map(|_| random.random_range(0..limit)));
    let event_id = text();
    let user_id = Arc::new(longs(50_000_000));
    let ts: Vec<i64> = longs(86_400_000_000).values().iter().map(|micros| day + micros).collect();
    let shard = Arc::new(longs(1000));
    let mut doubles = || Arc::new(Float64Array::from_iter_values((0..ROWS).map(|_| random.random::<f64>() * 1000.0)));
    let (price, score) = (doubles(), doubles());
    let ts = Arc::new(TimestampMicrosecondArray::from(ts).with_timezone("UTC"));
    let columns: Vec<ArrayRef> =
        vec![event_id, user_id, ts, text(), text(), text(), text(), price, score, shard, text()];
    RecordBatch::try_new(schema(), columns).expect("columns as in the schema")
}

fn table(partition_by: &str, directory: &std::path::Path) -> Table {
    let sink = Sink {
        table: "bench.events".into(),
        create: true,
        partition_by: vec![partition_by.parse().expect("a partition field")],
        sort_by: vec![],
        format_version: None,
        file_size: None,
        properties: Default::default(),
        location: Some(directory.to_string_lossy().into_owned()),
    };
    let creation = table_creation(&sink, &schema()).expect("a table");
    let metadata = TableMetadataBuilder::from_table_creation(creation)
        .and_then(TableMetadataBuilder::build)
        .expect("metadata")
        .metadata;
    Table::builder()
        .file_io(FileIO::new_with_fs())
        .metadata(metadata)
        .metadata_location("none")
        .identifier(TableIdent::from_strs(["bench", "events"]).expect("a name"))
        .runtime(Runtime::current())
        .build()
        .expect("a table")
}

/// User and system time of this process in seconds.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields behind the name").split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().expect("utime") + fields[12].parse::<f64>().expect("stime");
    ticks / 100.0
}

fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("KiB") / 1024
}

fn report(name: &str, gb: f64, started: (f64, Instant), files: usize, bytes: u64) {
    let (cpu, wall) = (cpu() - started.0, started.1.elapsed().as_secs_f64());
    println!(
        "{name:5} {:.2} CPU-s/GB  {:.1} s  {files} files of {:.2} MB  peak RSS {} MiB",
        cpu / gb,
        wall,
        bytes as f64 / 1e6 / files as f64,
        memory("VmHWM")
    );
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let gb: f64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1.0);
    let what = arguments.next().unwrap_or_else(|| "bare one many".into());
    let size = batch(0).get_array_memory_size() as f64;
    let rounds = (gb * 1e9 / size).ceil() as u64;
    let gb = rounds as f64 * size / 1e9;
    // Every batch is made afresh, so that no file sees a row twice; what that costs is taken off.
    let before = cpu();
    (0..rounds).for_each(|round| drop(std::hint::black_box(batch(round))));
    let making = cpu() - before;
    println!("{rounds} batches of {ROWS} rows of {:.0} bytes", size / ROWS as f64);
    if what.contains("bare") {
        let started = (cpu() + making, Instant::now());
        let zstd = Compression::ZSTD(ZstdLevel::try_new(1).expect("a level"));
        let properties =
            WriterProperties::builder().set_compression(zstd).set_max_row_group_bytes(Some(128 << 20)).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), schema(), Some(properties)).expect("a writer");
        for round in 0..rounds {
            writer.write(&batch(round)).expect("encodes");
        }
        let bytes = writer.into_inner().expect("closes").len();
        report("bare", gb, started, 1, bytes as u64);
    }
    for (name, partition_by, budget) in [("one", "day(ts)", 1024), ("many", "shard", 700)] {
        if !what.contains(name) {
            continue;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let table = table(partition_by, directory.path());
        let started = (cpu() + making, Instant::now());
        let fitter = Fitter::new(&schema(), &table).expect("fits");
        let memory = Budget::new(budget << 20);
        let mut writer = TableWriter::new(&table, WriteOptions { target_file_size: None, memory }).expect("a writer");
        for round in 0..rounds {
            let fitted = fitter.fit(&batch(round)).expect("fits");
            writer.write(fitted.batch).await.expect("writes");
        }
        let written = writer.finish().await.expect("finishes");
        assert_eq!(written.rows, rounds * ROWS as u64);
        report(name, gb, started, written.files.len(), written.bytes);
    }
}
