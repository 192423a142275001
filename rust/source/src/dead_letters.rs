//! Records that could not go on, sent to a topic with all that is needed to send them again.

use std::time::Duration;

use frazil_model::{Header, JobName, Kafka, Records, Rejected, Result, Stage};

use crate::producer::{Compression, Message, Producer};

/// Memory of dead letters that are not delivered yet.
const QUEUE_BYTES: usize = 16 << 20;

/// How long a dead-letter topic may take to appear.
const PATIENCE: Duration = Duration::from_secs(5);

/// One record and why it could not go on.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'a> {
    /// The record's topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds.
    pub timestamp: Option<i64>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [Header],
    /// Where it was refused.
    pub stage: Stage,
    /// Why.
    pub reason: &'a str,
    /// The id of its schema, if it got that far.
    pub schema_id: Option<i32>,
    /// The job that refused it.
    pub job: &'a JobName,
}

impl<'a> Letter<'a> {
    /// The letter of a rejected record; its row is a row of `records`.
    pub fn new(records: &'a Records, rejected: &'a Rejected, job: &'a JobName) -> Self {
        let run = records.run_of(rejected.row);
        Letter {
            topic: &run.topic,
            partition: run.partition,
            offset: records.offset(rejected.row),
            timestamp: records.timestamp(rejected.row),
            key: records.key(rejected.row),
            value: records.value(rejected.row),
            headers: records.headers(rejected.row),
            stage: rejected.stage,
            reason: &rejected.reason,
            schema_id: rejected.schema_id,
            job,
        }
    }

    /// The record's headers and Frazil's own behind them. A letter that is refused a second time has two of a name: the
    /// last one counts.
    fn headers(&self) -> Vec<Header> {
        let mut headers = Vec::with_capacity(self.headers.len() + 8);
        headers.extend_from_slice(self.headers);
        let mut add = |name: &str, value: String| headers.push((name.to_owned(), Some(value.into_bytes())));
        add("frazil.stage", self.stage.name().to_owned());
        add("frazil.reason", self.reason.to_owned());
        add("frazil.topic", self.topic.to_owned());
        add("frazil.partition", self.partition.to_string());
        add("frazil.offset", self.offset.to_string());
        if let Some(timestamp) = self.timestamp {
            add("frazil.timestamp", timestamp.to_string());
        }
        if let Some(id) = self.schema_id {
            add("frazil.schema-id", id.to_string());
        }
        add("frazil.job", self.job.to_string());
        headers
    }
}

/// The dead-letter topic of a job.
pub struct DeadLetters {
    producer: Producer,
    topic: String,
}

impl DeadLetters {
    /// Connects, with the security of the source, and checks that the topic is there.
    ///
    /// # Errors
    /// `NotFound` if the topic is not there and the brokers do not create it, `Unauthorized`, `Source`, `Config`.
    pub fn open(letters: &frazil_model::DeadLetters, source: &Kafka) -> Result<Self> {
        let producer =
            Producer::open(source, letters.bootstrap.as_deref(), "frazil-dead-letters", Compression::Lz4, QUEUE_BYTES)?;
        producer.check_topic(&letters.topic, PATIENCE)?;
        Ok(DeadLetters { producer, topic: letters.topic.clone() })
    }

    /// Queues a letter; waits while the queue is full.
    ///
    /// # Errors
    /// `Source` if the queue stays full.
    pub fn send(&self, letter: Letter<'_>) -> Result<()> {
        self.producer.send(Message {
            topic: &self.topic,
            partition: None,
            key: letter.key,
            value: letter.value,
            headers: &letter.headers(),
            timestamp: None,
        })
    }

    /// Waits until every letter is delivered; the table's commit must come after.
    ///
    /// # Errors
    /// Says how many were not delivered.
    pub fn flush(&self, deadline: Duration) -> Result<()> {
        self.producer.flush(deadline)
    }
}
