//! Everything that a job needs, opened and checked against each other: source, table, and the stages between.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use frazil_catalog::{Lake, from_iceberg, table_ident};
use frazil_commit::{Append, Committer};
use frazil_decode::Decoder;
use frazil_model::{
    Decode, Error, ErrorKind, Job, JobName, Kafka, Ledger, OffsetRange, OnLostOffsets, OnRollback, Positions, Ranges,
    Records, Result, Sink, Source, Start,
};
use frazil_source::{KafkaSource, SourceOptions};
use frazil_transform::Transformer;
use frazil_write::{Fitter, check_sink, table_creation};
use iceberg::TableIdent;
use iceberg::table::Table;
use uuid::Uuid;

/// A job's stages, ready to run one attempt.
pub(crate) struct Opened {
    pub(crate) lake: Lake,
    pub(crate) ident: TableIdent,
    pub(crate) name: JobName,
    pub(crate) source: KafkaSource,
    pub(crate) decoder: Decoder,
    pub(crate) transformer: Transformer,
    pub(crate) fitter: Arc<Fitter>,
    pub(crate) committer: Committer,
    pub(crate) ledger: Option<Ledger>,
    /// Offsets that the ledger needs, are gone, and may be skipped by the job's policy.
    pub(crate) skips: Ranges,
}

/// How long to wait for the first records when a schema must be inferred from them.
const SAMPLE_WAIT: Duration = Duration::from_secs(10);

/// Opens what a job names; creates the table if it may.
pub(crate) async fn open(job: &Job) -> Result<Opened> {
    let Source::Kafka(kafka) = &job.source;
    let name = job.ledger_name();
    let ident = table_ident(&job.sink.table)?;
    let lake = Lake::open(&job.lake.settings()).await?;
    let existing = load_if_there(&lake, &ident).await?;
    if let Some(table) = &existing {
        check_sink(&job.sink, table)?;
    } else if !job.sink.create {
        return Err(Error::new(ErrorKind::NotFound, "the table does not exist and sink.create is false")
            .with("table", &job.sink.table));
    }
    let source = open_source(kafka, &name, queue_bytes(job.memory.0))?;
    let table_schema = existing.as_ref().map(arrow_schema).transpose()?;
    let decoder = open_decoder(&job.decode, kafka, &name, table_schema).await?;
    let transformer = Transformer::compile(&job.transform, &decoder.schema())?;
    let table = match existing {
        Some(table) => table,
        None => create(&lake, &ident, &job.sink, &transformer.schema()).await?,
    };
    let fitter = Arc::new(Fitter::new(&transformer.schema(), &table)?);
    let mut committer = Committer::new(lake.clone(), table, name.clone());
    let ledger = committer.resume(job.errors.on_rollback).await?;
    let ledger = pin_start(kafka, &source, &mut committer, ledger, job.errors.on_rollback).await?;
    let skips = lost_offsets(&source, ledger.as_ref(), job.errors.on_lost_offsets)?;
    Ok(Opened { lake, ident, name, source, decoder, transformer, fitter, committer, ledger, skips })
}

/// librdkafka's share of the memory budget: enough to keep the lanes busy while a broker answers.
pub(crate) fn queue_bytes(memory: u64) -> usize {
    (memory / 16).clamp(8 << 20, 64 << 20) as usize
}

pub(crate) fn open_source(kafka: &Kafka, name: &JobName, queue_bytes: usize) -> Result<KafkaSource> {
    KafkaSource::open(kafka, name, SourceOptions { queue_bytes, ..SourceOptions::default() })
}

/// Opens the decoder, with a sample of the first records where it must infer a schema.
pub(crate) async fn open_decoder(
    decode: &Decode,
    kafka: &Kafka,
    name: &JobName,
    table_schema: Option<SchemaRef>,
) -> Result<Decoder> {
    let sample =
        if Decoder::needs_sample(decode, table_schema.is_some()) { Some(sample(decode, kafka, name)?) } else { None };
    Decoder::open(decode, &kafka.topics, table_schema, sample.as_ref()).await
}

fn sample(decode: &Decode, kafka: &Kafka, name: &JobName) -> Result<Records> {
    let wanted = decode.json.as_ref().map_or(1000, |json| json.infer_records);
    let mut source = open_source(kafka, name, 8 << 20)?;
    let from = source.start_positions(&Positions::default())?;
    source.assign_all(&from)?;
    let mut records = Records::default();
    let deadline = Instant::now() + SAMPLE_WAIT;
    while records.len() < wanted && Instant::now() < deadline {
        let before = records.len();
        source.poll(&mut records, wanted, 16 << 20, Duration::from_millis(500))?;
        if records.len() == before && !records.is_empty() {
            break;
        }
    }
    source.close();
    if records.is_empty() {
        return Err(Error::config(
            "decode.json.schema",
            format!(
                "there is no record in {} to infer a schema from: declare it, or create the table before",
                kafka.topics.join(", ")
            ),
        ));
    }
    Ok(records)
}

pub(crate) async fn load_if_there(lake: &Lake, ident: &TableIdent) -> Result<Option<Table>> {
    match lake.load_table(ident).await {
        Ok(table) => Ok(Some(table)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn arrow_schema(table: &Table) -> Result<SchemaRef> {
    iceberg::arrow::schema_to_arrow_schema(table.metadata().current_schema()).map(Arc::new).map_err(from_iceberg)
}

async fn create(lake: &Lake, ident: &TableIdent, sink: &Sink, schema: &SchemaRef) -> Result<Table> {
    let creation = table_creation(sink, schema)?;
    match lake.create_table(ident.namespace(), creation).await {
        // Another worker of the same job was quicker.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let table = lake.load_table(ident).await?;
            check_sink(sink, &table)?;
            Ok(table)
        }
        created => created,
    }
}

/// Writes into the ledger where the job begins in topics that it does not know yet, before anything is read. What is
/// read and not committed is then read again from there after a failure or by another worker, though `latest` may be
/// elsewhere by then. From `earliest` a job begins at the same place anyway.
async fn pin_start(
    kafka: &Kafka,
    source: &KafkaSource,
    committer: &mut Committer,
    ledger: Option<Ledger>,
    on_rollback: OnRollback,
) -> Result<Option<Ledger>> {
    let known = ledger.as_ref().map(|ledger| ledger.next.clone()).unwrap_or_default();
    let is_new = |topic: &str| known.0.get(topic).is_none_or(|partitions| partitions.is_empty());
    if kafka.start == Start::Earliest || !kafka.topics.iter().any(|topic| is_new(topic)) {
        return Ok(ledger);
    }
    let mut ranges = Ranges::default();
    for (topic, partition, at) in source.start_positions(&known)?.iter().filter(|(topic, ..)| is_new(topic)) {
        ranges.extend(topic, partition, OffsetRange { start: at, end: at })?;
    }
    match committer.append(&Append { commit_id: Uuid::new_v4(), ranges, ..Append::default() }).await {
        Ok(done) => Ok(Some(done.ledger)),
        // Another worker of the same job was quicker.
        Err(error) if error.kind() == ErrorKind::Fenced => {
            committer.reload().await?;
            committer.resume(on_rollback).await
        }
        Err(error) => Err(error),
    }
}

fn lost_offsets(source: &KafkaSource, ledger: Option<&Ledger>, policy: OnLostOffsets) -> Result<Ranges> {
    let Some(ledger) = ledger else { return Ok(Ranges::default()) };
    let lost = source.check_retained(&ledger.next)?;
    let first = lost
        .iter()
        .find(|(_, _, range)| range.start < range.end)
        .map(|(topic, partition, range)| (topic.to_owned(), partition, range));
    match (first, policy) {
        (None, _) => Ok(Ranges::default()),
        (Some(_), OnLostOffsets::Skip) => {
            for (topic, partition, range) in lost.iter() {
                log::warn!("offsets {}..{} of {topic}/{partition} are gone from Kafka and are skipped", range.start, range.end);
            }
            Ok(lost)
        }
        (Some((topic, partition, range)), OnLostOffsets::Stop) => Err(Error::new(
            ErrorKind::OffsetsLost,
            format!(
                "the table's ledger goes on at offset {}, the oldest one in Kafka is {}: {} offsets are gone; errors.on_lost_offsets: \
                 skip records the gap and goes on",
                range.start,
                range.end,
                range.end - range.start
            ),
        )
        .with("topic", topic)
        .with("partition", partition)),
    }
}
