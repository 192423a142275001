//! The floor: a bare loop on one thread that consumes, decodes with arrow-avro and writes Parquet with arrow's writer.
//! It has no partitions, no metrics, no commits, no recovery: what no ingest can go below with these libraries.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use frazil_testkit::events;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use serde_json::{Value, json};

/// How far the loop goes.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub(crate) enum Stage {
    Consume,
    Decode,
    Write,
}

impl Stage {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "consume" => Some(Stage::Consume),
            "decode" => Some(Stage::Decode),
            "write" => Some(Stage::Write),
            _ => None,
        }
    }
}

/// The same batch size for decoding as for the writer: what serves the bare loop best.
const BATCH_ROWS: usize = 8192;

/// How long a broker may take: the first member of the first group waits until Kafka has made its own topics.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(bootstrap: &str, topic: &str, records: u64, stage: Stage) -> Result<Value, String> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", format!("floor-{}", std::process::id()))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("fetch.message.max.bytes", "8388608")
        .create()
        .map_err(|error| error.to_string())?;
    consumer.subscribe(&[topic]).map_err(|error| error.to_string())?;
    let path = std::env::temp_dir().join(format!("frazil-floor-{}.parquet", std::process::id()));
    let result = drain(&consumer, records, stage, &path);
    let _ = fs::remove_file(&path);
    result
}

fn drain(consumer: &BaseConsumer, records: u64, stage: Stage, path: &std::path::Path) -> Result<Value, String> {
    let mut writer: Option<ArrowWriter<File>> = None;
    let mut decoder: Option<Decoder> = None;
    let (mut count, mut bytes) = (0u64, 0u64);
    let (mut begun, mut last) = (Instant::now(), Instant::now());
    while count < records {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            if last.elapsed() > PATIENCE {
                return Err(format!("no record for {PATIENCE:?}, {count} of {records} were read"));
            }
            continue;
        };
        last = Instant::now();
        let message = message.map_err(|error| error.to_string())?;
        let payload = message.payload().unwrap_or_default();
        if count == 0 {
            // Joining the group is not part of the loop.
            begun = Instant::now();
            decoder = Some(open_decoder(payload)?);
        }
        count += 1;
        bytes += payload.len() as u64;
        if stage >= Stage::Decode {
            let decoder = decoder.as_mut().expect("opened with the first record");
            decoder.decode(payload).map_err(|error| error.to_string())?;
            if decoder.batch_is_full() || count == records {
                let batch = decoder.flush().map_err(|error| error.to_string())?;
                if let Some(batch) = batch.filter(|_| stage == Stage::Write) {
                    if writer.is_none() {
                        writer = Some(open_writer(&batch, path)?);
                    }
                    writer.as_mut().expect("opened above").write(&batch).map_err(|error| error.to_string())?;
                }
            }
        }
    }
    if let Some(writer) = writer {
        writer.close().map_err(|error| error.to_string())?;
    }
    Ok(json!({ "records": count, "bytes": bytes, "seconds": begun.elapsed().as_secs_f64() }))
}

fn open_decoder(first: &[u8]) -> Result<Decoder, String> {
    let id = first
        .get(1..5)
        .and_then(|id| id.try_into().ok())
        .map(u32::from_be_bytes)
        .ok_or("the first record has no schema id")?;
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    store
        .set(Fingerprint::Id(id), AvroSchema::new(events::AVRO_SCHEMA.to_owned()))
        .map_err(|error| error.to_string())?;
    ReaderBuilder::new()
        .with_writer_schema_store(store)
        .with_batch_size(BATCH_ROWS)
        .build_decoder()
        .map_err(|error| error.to_string())
}

fn open_writer(batch: &arrow::array::RecordBatch, path: &std::path::Path) -> Result<ArrowWriter<File>, String> {
    let level = ZstdLevel::try_new(1).map_err(|error| error.to_string())?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
    let file = File::create(path).map_err(|error| error.to_string())?;
    ArrowWriter::try_new(file, batch.schema(), Some(properties)).map_err(|error| error.to_string())
}
