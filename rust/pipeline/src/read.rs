//! Reading a source without a table: what is there up to now, as Arrow batches.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use frazil_model::{Decode, Error, ErrorKind, Errors, JobName, Kafka, Positions, Records, Rejected, Result, Transform};
use frazil_source::KafkaSource;
use frazil_transform::Transformer;

use crate::bad::BadRecords;
use crate::open::{open_decoder, open_source};
use crate::produce::brokers;
use crate::reader::{CHUNK_BYTES, CHUNK_RECORDS};
use crate::runtime::runtime;

/// Batches that are made while they are taken. Dropping it ends the reading.
pub struct BatchStream {
    schema: SchemaRef,
    batches: Receiver<Result<RecordBatch>>,
}

impl BatchStream {
    /// The schema of every batch.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

impl Iterator for BatchStream {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.recv().ok()
    }
}

/// Batches that may wait to be taken.
const WAITING: usize = 2;

/// Reads what is in the topics up to now, from `start` on. No table and no group take part, so reading again gives the
/// same. Bad records end it unless `errors` says otherwise.
///
/// # Errors
/// What opening finds wrong; what reading finds wrong comes through the stream.
pub fn read_source(kafka: &Kafka, decode: &Decode, transform: &Transform, errors: &Errors) -> Result<BatchStream> {
    let name: JobName = "read".parse()?;
    let mut source = open_source(kafka, &name, 32 << 20)?;
    let from = source.start_positions(&Positions::default())?;
    let decoder = runtime().block_on(open_decoder(decode, kafka, &name, None))?;
    let transformer = Transformer::compile(transform, &decoder.schema())?;
    let bad = BadRecords::open(errors, kafka, &name, (0, 0))?;
    source.assign_all(&from)?;
    let ends = source.high_watermarks()?;
    let schema = transformer.schema();
    let (sender, batches) = sync_channel(WAITING);
    let reading = Reading { source, decoder, transformer, bad, ends };
    std::thread::Builder::new().name("frazil-read".to_owned()).spawn(move || reading.run(&sender)).map_err(
        |error| Error::new(ErrorKind::Memory, "the operating system refused another thread").caused_by(error),
    )?;
    Ok(BatchStream { schema, batches })
}

/// Records of a topic from its beginning up to now, at most `limit` of them.
///
/// # Errors
/// `NotFound` if there is no such topic, `Source` if no broker answers.
pub fn read_topic(bootstrap: &str, topic: &str, properties: &HashMap<String, String>, limit: usize) -> Result<Records> {
    let kafka = brokers(bootstrap, properties, vec![topic.to_owned()]);
    let mut source = open_source(&kafka, &"read".parse()?, 8 << 20)?;
    source.assign_all(&Positions::default())?;
    let ends = source.high_watermarks()?;
    let mut records = Records::default();
    while records.len() < limit && !reached(&source, &ends) {
        let outcome = source.poll(&mut records, limit, usize::MAX, Duration::from_millis(100))?;
        debug_assert!(!outcome.rebalancing, "there is no group");
    }
    source.close();
    Ok(records)
}

/// Whether every partition has been read up to these offsets.
pub(crate) fn reached(source: &KafkaSource, ends: &Positions) -> bool {
    let positions = source.positions();
    ends.iter().all(|(topic, partition, end)| positions.get(topic, partition).is_some_and(|at| at >= end))
}

struct Reading {
    source: KafkaSource,
    decoder: frazil_decode::Decoder,
    transformer: Transformer,
    bad: Arc<BadRecords>,
    ends: Positions,
}

impl Reading {
    fn run(mut self, batches: &SyncSender<Result<RecordBatch>>) {
        if let Err(error) = self.read(batches) {
            // Nobody may be listening any more.
            let _ = batches.send(Err(error));
        }
        self.source.close();
    }

    fn read(&mut self, batches: &SyncSender<Result<RecordBatch>>) -> Result<()> {
        let mut records = Records::default();
        loop {
            let positions = self.source.positions();
            if self
                .ends
                .iter()
                .all(|(topic, partition, end)| positions.get(topic, partition).is_some_and(|at| at >= end))
            {
                self.bad.judge_at_the_end()?;
                return self.bad.flush(Duration::from_secs(60));
            }
            records.clear();
            self.source.poll(&mut records, CHUNK_RECORDS, CHUNK_BYTES, Duration::from_millis(100))?;
            if records.is_empty() {
                continue;
            }
            let decoded = self.decoder.decode(&records)?;
            let transformed = self.transformer.apply(&decoded.batch)?;
            let mut rejected = decoded.rejected;
            let to_record = |row: usize| decoded.rows.as_ref().map_or(row, |rows| rows[row] as usize);
            rejected.extend(transformed.rejected.into_iter().map(|bad| Rejected { row: to_record(bad.row), ..bad }));
            self.bad.take(&records, &rejected)?;
            if transformed.batch.num_rows() > 0 && batches.send(Ok(transformed.batch)).is_err() {
                return Ok(());
            }
        }
    }
}
