//! Arrow rows as Avro records in a topic, in Confluent's wire format: for demos, tests and benchmarks.

use std::collections::HashMap;

use arrow::array::{Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use arrow_avro::schema::{FingerprintStrategy, SCHEMA_METADATA_KEY};
use arrow_avro::writer::WriterBuilder;
use arrow_avro::writer::format::AvroSoeFormat;
use frazil_model::{Error, ErrorKind, Kafka, KafkaSecurity, Result, Secret, Start};
use frazil_source::{Compression, Message, Producer};

/// Bytes that a producer may hold before it makes its caller wait.
const QUEUE_BYTES: usize = 64 << 20;

/// The brokers and further librdkafka settings, as a source without topics.
pub(crate) fn brokers(bootstrap: &str, properties: &HashMap<String, String>, topics: Vec<String>) -> Kafka {
    Kafka {
        topics,
        bootstrap: bootstrap.to_owned(),
        start: Start::Earliest,
        group: None,
        security: KafkaSecurity::default(),
        properties: properties.iter().map(|(name, value)| (name.clone(), Secret::new(value))).collect(),
    }
}

/// A producer for these brokers, with further librdkafka settings.
///
/// # Errors
/// `Config` if a setting is wrong.
pub fn open_producer(bootstrap: &str, properties: &HashMap<String, String>) -> Result<Producer> {
    Producer::open(&brokers(bootstrap, properties, Vec::new()), None, "frazil-producer", Compression::Lz4, QUEUE_BYTES)
}

/// How rows become records.
#[derive(Debug, Clone)]
pub struct AvroRows {
    /// The topic.
    pub topic: String,
    /// The Avro schema, as JSON text.
    pub schema: String,
    /// Its id in the registry.
    pub schema_id: u32,
    /// The column whose value, as text, is the record's key.
    pub key_column: Option<String>,
    /// Spoils each n-th record so that it cannot be decoded; 0 spoils none.
    pub spoil_every: u64,
}

/// Sends each row of the batches as one record; how many were sent. Returns before all have arrived: flush the producer.
///
/// # Errors
/// `Schema` if the rows do not fit the Avro schema; `Source` if the topic refuses them.
pub fn send_avro(
    producer: &Producer,
    schema: &Schema,
    batches: impl Iterator<Item = Result<RecordBatch>>,
    how: &AvroRows,
) -> Result<u64> {
    let misfit = |error: String| Error::new(ErrorKind::Schema, format!("the rows do not fit the Avro schema: {error}"));
    let mut metadata = schema.metadata().clone();
    metadata.insert(SCHEMA_METADATA_KEY.to_owned(), how.schema.clone());
    let tagged = Schema::new_with_metadata(schema.fields().clone(), metadata);
    let mut encoder = WriterBuilder::new(tagged)
        .with_fingerprint_strategy(FingerprintStrategy::Id(how.schema_id))
        .build_encoder::<AvroSoeFormat>()
        .map_err(|error| misfit(error.to_string()))?;
    let mut sent = 0;
    for batch in batches {
        let batch = batch?;
        let keys = how.key_column.as_deref().map(|name| key_texts(&batch, name)).transpose()?;
        encoder.encode(&batch).map_err(|error| misfit(error.to_string()))?;
        for (row, value) in encoder.flush().iter().enumerate() {
            sent += 1;
            let key = keys.as_ref().filter(|keys| keys.is_valid(row)).map(|keys| keys.value(row).as_bytes());
            let message = Message { topic: &how.topic, key, ..Message::default() };
            if how.spoil_every > 0 && sent % how.spoil_every == 0 {
                producer.send(Message { value: Some(&spoiled(&value, sent / how.spoil_every)), ..message })?;
            } else {
                producer.send(Message { value: Some(&value), ..message })?;
            }
        }
    }
    Ok(sent)
}

fn key_texts(batch: &RecordBatch, name: &str) -> Result<StringArray> {
    let column = batch
        .column_by_name(name)
        .ok_or_else(|| Error::new(ErrorKind::Schema, format!("there is no column '{name}' to make keys of")))?;
    let texts = cast(column, &DataType::Utf8)
        .map_err(|error| Error::new(ErrorKind::Schema, format!("column '{name}' cannot be a key")).caused_by(error))?;
    Ok(texts.as_any().downcast_ref::<StringArray>().expect("cast to Utf8 above").clone())
}

/// One of the ways in which records go bad: cut short, of an unknown schema, no Avro at all, with something behind.
fn spoiled(value: &[u8], count: u64) -> Vec<u8> {
    match count % 4 {
        0 => value[..value.len() / 2].to_vec(),
        1 => [&[0, 0x7f, 0xff, 0xff, 0xfe], &value[5.min(value.len())..]].concat(),
        2 => b"not avro at all".to_vec(),
        _ => [value, b"\x00\x01"].concat(),
    }
}
